/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader of the published index, for any process that maps the pool. Whatever the memory holds
 * and however it changes, a read ends, stays inside the segment, and crashes nothing.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "dataplane/key_hash.h"
#include "dataplane/state_index.h"

#define TRIES_MAX                                                                      \
	(1u << 18)     /* of one read, before the index is called broken: above 0.1 s */
#define TRIES_SPIN 64u /* then the writer may need our core to finish */
#define KEY_WORDS ((PRAAS_KEY_MAX + 1) / 8)

/* A key as the index stores it: padded with zeros to whole words. */
struct padded_key {
	uint64_t word[KEY_WORDS];
	uint32_t bytes;
	uint32_t words;
};

void praas_state_fence(void)
{
	static _Atomic uint64_t word;

	/* A locked instruction: a full fence that ThreadSanitizer knows, too. */
	(void)atomic_fetch_add_explicit(&word, 1, memory_order_seq_cst);
}

int praas_state_reader_init(struct praas_state_reader *r,
			    const struct praas_segment *pool, uint64_t index_offset,
			    struct praas_state_reader_line *line)
{
	const struct praas_state_header *h;
	uint64_t slots;
	uint64_t entries;

	if (index_offset % PRAAS_CACHE_LINE ||
	    !praas_segment_holds(pool, index_offset, sizeof(*h)))
		return -EPROTO;
	h = (const struct praas_state_header *)(const void *)(pool->base +
							      index_offset);
	slots = h->slots;
	entries = h->entries;
	if (h->magic != PRAAS_STATE_MAGIC || slots == 0 || (slots & (slots - 1)) ||
	    slots > pool->bytes / sizeof(struct praas_state_entry) ||
	    entries % PRAAS_CACHE_LINE ||
	    !praas_segment_holds(pool, entries,
				 slots * sizeof(struct praas_state_entry)))
		return -EPROTO;
	*r = (struct praas_state_reader){
		.header = h,
		.entries = (const struct praas_state_entry *)(const void *)(pool->base +
									    entries),
		.pool = pool,
		.line = line,
		.mask = slots - 1,
		.seed = h->hash_seed
	};
	return 0;
}

/* Between two tries of one read. False: enough. */
static bool again(uint32_t *tries)
{
	if (++*tries > TRIES_MAX)
		return false;
	if (*tries > TRIES_SPIN)
		(void)sched_yield(); /* cannot fail */
	else
		praas_pause();
	return true;
}

/* An entry as it was at one moment. */
struct entry_copy {
	uint64_t hash, key, segment, offset, bytes, version, modified_ns;
	uint64_t sequence;
};

/* A word of an entry that may be changing. */
static uint64_t load_word(const _Atomic uint64_t *word)
{
	/* state.A2, pairs with state.R3: whoever sees a word of a later change sees that change's
	 * odd sequence after it. */
	return atomic_load_explicit(word, memory_order_acquire);
}

/* 0; -EAGAIN it changed meanwhile. */
static int copy_entry(const struct praas_state_entry *e, struct entry_copy *ret)
{
	/* state.A0, pairs with state.R0: an even sequence shows a whole entry, and the value that
	 * it points to. */
	ret->sequence = atomic_load_explicit(&e->sequence, memory_order_acquire);
	if (praas_unlikely(ret->sequence & 1))
		return -EAGAIN;
	ret->hash = load_word(&e->hash);
	ret->key = load_word(&e->key);
	ret->segment = load_word(&e->segment);
	ret->offset = load_word(&e->offset);
	ret->bytes = load_word(&e->bytes);
	ret->version = load_word(&e->version);
	ret->modified_ns = load_word(&e->modified_ns);
	return atomic_load_explicit(&e->sequence, memory_order_relaxed) == ret->sequence
		       ? 0
		       : -EAGAIN;
}

/* True when the entry has not changed since it was copied. */
static bool still(const struct praas_state_entry *e, const struct entry_copy *copy)
{
	return atomic_load_explicit(&e->sequence, memory_order_relaxed) ==
	       copy->sequence;
}

/* The words of the entry's key in the segment; NULL: they cannot be there. */
static const _Atomic uint64_t *key_words(const struct praas_state_reader *r,
					 uint64_t key)
{
	uint64_t offset = key >> 8;

	if (offset % 8 ||
	    !praas_segment_holds(r->pool, offset, praas_align_up(key & 0xff, 8)))
		return NULL;
	return (const _Atomic uint64_t *)(const void *)(r->pool->base + offset);
}

static bool same_key(const struct praas_state_reader *r, const struct entry_copy *e,
		     const struct padded_key *key)
{
	const _Atomic uint64_t *words = key_words(r, e->key);

	if ((e->key & 0xff) != key->bytes || !words)
		return false;
	for (uint32_t i = 0; i < key->words; i++)
		/* state.A3, pairs with state.R4: another key's words show a changed entry. */
		if (atomic_load_explicit(&words[i], memory_order_acquire) !=
		    key->word[i])
			return false;
	return true;
}

static void pad_key(struct padded_key *k, const char *key, uint32_t key_bytes)
{
	k->bytes = key_bytes;
	k->words = (key_bytes + 7) / 8;
	k->word[k->words - 1] = 0;
	memcpy(k->word, key, key_bytes);
}

/* One pass over the chain. 0; -ENOENT; -EAGAIN something moved. Long chains count as tries. */
static int probe(const struct praas_state_reader *r, uint64_t hash,
		 const struct padded_key *key, uint32_t *tries, struct entry_copy *ret)
{
	for (uint64_t n = 0; n <= r->mask; n++) {
		const struct praas_state_entry *e = &r->entries[(hash + n) & r->mask];
		/* A stranger's entry needs no more than its hash. */
		uint64_t found = atomic_load_explicit(&e->hash, memory_order_relaxed);

		if (found == 0)
			return -ENOENT;
		if (praas_unlikely(n >= TRIES_SPIN))
			(*tries)++;
		if (found != hash)
			continue;
		if (copy_entry(e, ret) != 0)
			return -EAGAIN;
		if (ret->hash == hash && same_key(r, ret, key))
			return still(e, ret) ? 0 : -EAGAIN;
		if (!still(e, ret))
			return -EAGAIN;
	}
	return -ENOENT;
}

int praas_state_reader_get(const struct praas_state_reader *r, const char *key,
			   uint32_t key_bytes, struct praas_state_found *ret_found)
{
	struct padded_key padded;
	struct entry_copy e;
	uint32_t tries = 0;
	uint64_t hash;
	int rc;

	if (key_bytes == 0 || key_bytes > PRAAS_KEY_MAX)
		return -EINVAL;
	pad_key(&padded, key, key_bytes);
	hash = praas_key_hash(key, key_bytes, r->seed);
	do {
		/* state.A4, pairs with state.R5: what changes together is seen together. */
		uint64_t before = atomic_load_explicit(&r->header->sequence,
						       memory_order_acquire);

		rc = before & 1 ? -EAGAIN : probe(r, hash, &padded, &tries, &e);
		if (praas_likely(rc != -EAGAIN) &&
		    praas_likely(atomic_load_explicit(&r->header->sequence,
						      memory_order_relaxed) == before))
			break;
		rc = -EPROTO;
	} while (again(&tries));
	if (rc != 0)
		return rc;
	if (e.version == 0)
		return -ENOENT;
	*ret_found = (struct praas_state_found){ .version = e.version,
						 .modified_ns = e.modified_ns,
						 .bytes = e.bytes,
						 .offset = e.offset,
						 .segment = (uint32_t)e.segment,
						 .flags = (uint32_t)(e.segment >> 32) };
	return 0;
}

/* ---- list ---- */

/* Copies what is at e, if it is a live object of that prefix after `after`. */
static int copy_info(const struct praas_state_reader *r,
		     const struct praas_state_entry *e,
		     struct praas_state_info *ret_info)
{
	struct entry_copy copy;
	const _Atomic uint64_t *words;
	uint32_t bytes;

	if (atomic_load_explicit(&e->hash, memory_order_relaxed) == 0)
		return -ENOENT;
	if (copy_entry(e, &copy) != 0)
		return -EAGAIN;
	if (copy.hash == 0 || copy.version == 0)
		return -ENOENT;
	bytes = copy.key & 0xff;
	words = key_words(r, copy.key);
	if (bytes == 0 || !words)
		return -EPROTO;
	for (uint32_t i = 0; i < (bytes + 7) / 8; i++) {
		/* state.A3, pairs with state.R4: as in same_key(). */
		uint64_t w = atomic_load_explicit(&words[i], memory_order_acquire);

		memcpy(ret_info->key + (size_t)i * 8, &w, 8);
	}
	ret_info->key[bytes] = '\0';
	ret_info->bytes = copy.bytes;
	ret_info->version = copy.version;
	ret_info->modified_ns = copy.modified_ns;
	return still(e, &copy) ? 0 : -EAGAIN;
}

/* Puts info into the sorted array of at most max, if it is small enough; returns the count. */
static uint32_t insert_sorted(struct praas_state_info *infos, uint32_t count,
			      uint32_t max, const struct praas_state_info *info)
{
	uint32_t low = 0;
	uint32_t high = count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (strcmp(infos[mid].key, info->key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == max)
		return count;
	/* An entry that moved while we walked may come twice. */
	if (low < count && strcmp(infos[low].key, info->key) == 0)
		return count;
	if (count == max)
		count--;
	memmove(&infos[low + 1], &infos[low], (count - low) * sizeof(*infos));
	infos[low] = *info;
	return count + 1;
}

static int list_pass(const struct praas_state_reader *r, const char *prefix,
		     const char *after, struct praas_state_info *infos, uint32_t max,
		     uint32_t *ret_count)
{
	size_t prefix_bytes = strlen(prefix);
	struct praas_state_info info;
	uint32_t tries = 0;
	uint32_t count = 0;

	for (uint64_t i = 0; i <= r->mask; i++) {
		int rc;

		do
			rc = copy_info(r, &r->entries[i], &info);
		while (rc == -EAGAIN && again(&tries));
		if (rc == -EAGAIN || rc == -EPROTO)
			return -EPROTO;
		if (rc != 0 || strncmp(info.key, prefix, prefix_bytes) != 0 ||
		    (*after && strcmp(info.key, after) <= 0))
			continue;
		count = insert_sorted(infos, count, max, &info);
	}
	*ret_count = count;
	return 0;
}

int praas_state_reader_list(const struct praas_state_reader *r, const char *prefix,
			    const char *after, struct praas_state_info *ret_infos,
			    uint32_t infos_max, uint32_t *ret_count)
{
	uint32_t tries = 0;

	*ret_count = 0;
	if (infos_max == 0)
		return 0;
	for (;;) {
		/* state.A4, pairs with state.R5: as in get(). */
		uint64_t before = atomic_load_explicit(&r->header->sequence,
						       memory_order_acquire);
		int rc = before & 1 ? 0
				    : list_pass(r, prefix ? prefix : "",
						after ? after : "", ret_infos,
						infos_max, ret_count);

		if (rc != 0)
			return rc;
		if (!(before & 1) &&
		    atomic_load_explicit(&r->header->sequence, memory_order_relaxed) ==
			    before)
			return 0;
		/* A table that never holds still is answered as it was in the last pass. */
		if (tries++ >= 8 && !(before & 1))
			return 0;
		if (tries > TRIES_MAX)
			return -EPROTO;
		(void)sched_yield(); /* cannot fail */
	}
}
