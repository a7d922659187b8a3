/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <xxhash.h>

#include "internal/base.h"
#include "internal/bytes.h"

/*
 * Collecting and writing snapshots. Values are packed in the order of the records, so that a
 * reader that takes them in this order reads each chunk from its beginning to its end.
 */

#define BLOCK_BYTES (256u * 1024u)
#define COMPACT_BYTES                                                                  \
	(8u << 20) /* of values not in memory that one snapshot writes anew */

/* Memory of keys: they must not move while records point to them. */
struct praas_snapshot_text {
	struct praas_snapshot_text *next;
	size_t used, room;
	alignas(16) char text[];
};

static struct praas_snapshot_text *add_block(struct praas_snapshot *s, size_t room)
{
	struct praas_snapshot_text *b = malloc(sizeof(*b) + room);

	if (!b)
		return NULL;
	b->next = s->blocks;
	b->used = 0;
	b->room = room;
	s->blocks = b;
	return b;
}

static int add_key(struct praas_snapshot *s, const char *key, size_t bytes,
		   const char **ret_key)
{
	struct praas_snapshot_text *b = s->blocks;

	if (!b || b->room - b->used < bytes + 1)
		b = add_block(s, BLOCK_BYTES);
	if (!b)
		return -ENOMEM;
	if (bytes > 0)
		memcpy(b->text + b->used, key, bytes);
	b->text[b->used + bytes] = '\0';
	*ret_key = b->text + b->used;
	b->used += bytes + 1;
	return 0;
}

int praas_snapshot_add(void *snapshot, const struct praas_export_record *record)
{
	struct praas_snapshot *s = snapshot;
	struct praas_snapshot_record *r;
	const char *key;
	int rc;

	if (s->records_count == s->records_room) {
		uint64_t room = praas_min_u64(praas_max_u64(s->records_room * 2, 256),
					      PRAAS_SNAPSHOT_RECORDS_MAX);
		struct praas_snapshot_record *more;

		if (s->records_count >= room)
			return -E2BIG;
		more = realloc(s->records, (size_t)room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		s->records = more;
		s->records_room = room;
	}
	rc = add_key(s, record->key, record->key_bytes, &key);
	if (rc != 0)
		return rc;
	r = &s->records[s->records_count++];
	*r = (struct praas_snapshot_record){ .record = *record,
					     .chunk = PRAAS_SNAPSHOT_INLINE };
	r->record.key = key;
	s->value_bytes += record->bytes;
	return 0;
}

uint8_t *praas_snapshot_room(struct praas_snapshot *s, uint64_t bytes)
{
	struct praas_snapshot_text *b = s->blocks;
	size_t at;

	if (!b || b->room - b->used < bytes)
		b = add_block(s, (size_t)praas_max_u64(bytes, BLOCK_BYTES));
	if (!b)
		return NULL;
	at = b->used;
	b->used += (size_t)bytes;
	return (uint8_t *)b->text + at;
}

void praas_snapshot_adopt(struct praas_snapshot *s, struct praas_snapshot *other)
{
	struct praas_snapshot_text **end = &other->blocks;

	while (*end)
		end = &(*end)->next;
	*end = s->blocks;
	s->blocks = other->blocks;
	other->blocks = NULL;
	praas_snapshot_release(other);
}

uint64_t praas_snapshot_log(const struct praas_snapshot *s)
{
	for (uint64_t i = 0; i < s->records_count; i++)
		if (s->records[i].record.kind == PRAAS_EXPORT_LOG)
			return s->records[i].record.id;
	return 0;
}

void praas_snapshot_release(struct praas_snapshot *s)
{
	struct praas_snapshot_text *b = s->blocks, *next;

	for (; b; b = next) {
		next = b->next;
		free(b);
	}
	free(s->chunks);
	free(s->functions);
	free(s->records);
	free(s->text);
	*s = (struct praas_snapshot){ 0 };
}

struct praas_refs praas_snapshot_refs(const struct praas_snapshot *s)
{
	struct praas_refs refs = { .chunks = s->chunks,
				   .chunks_count = s->chunks_count,
				   .functions_count = s->functions_count,
				   .records_count = s->records_count,
				   .value_bytes = s->value_bytes,
				   .created_ns = s->created_ns };

	memcpy(refs.object, s->object, sizeof(refs.object));
	return refs;
}

/* ---- what can stay where it is ---- */

static int by_key(const void *a, const void *b)
{
	const struct praas_snapshot_record *const *x = a, *const *y = b;
	size_t m = (*x)->record.key_bytes, n = (*y)->record.key_bytes;
	int order = memcmp((*x)->record.key, (*y)->record.key, m < n ? m : n);

	if (order != 0)
		return order;
	return m < n ? -1 : m > n;
}

struct loaded {
	struct loaded *next;
	alignas(16) uint8_t data[];
};

/* State objects of the base in chunks, sorted by key; and which chunks are worth keeping. */
struct reuse {
	const struct praas_snapshot *base;
	struct praas_store *store;
	struct loaded *loaded; /* values to be written that nobody has in memory */
	uint64_t loaded_bytes;
	const struct praas_snapshot_record **sorted;
	size_t sorted_count;
	uint64_t *live;     /* bytes still used, by the base's chunk number */
	uint32_t *renumber; /* the base's chunk number → ours; ~0: not taken over */
};

static void reuse_release(struct reuse *u)
{
	struct loaded *l = u->loaded, *next;

	for (; l; l = next) {
		next = l->next;
		free(l);
	}
	free(u->sorted);
	free(u->live);
	free(u->renumber);
}

static int reuse_init(struct reuse *u, struct praas_store *store,
		      const struct praas_snapshot *base)
{
	*u = (struct reuse){ .base = base, .store = store };
	if (!base)
		return 0;
	u->sorted = calloc((size_t)base->records_count + 1, sizeof(*u->sorted));
	u->live = calloc((size_t)base->chunks_count + 1, sizeof(*u->live));
	u->renumber = malloc(((size_t)base->chunks_count + 1) * sizeof(*u->renumber));
	if (!u->sorted || !u->live || !u->renumber) {
		reuse_release(u);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < base->chunks_count; i++)
		u->renumber[i] = ~0u;
	for (uint64_t i = 0; i < base->records_count; i++) {
		const struct praas_snapshot_record *r = &base->records[i];

		if (r->record.kind == PRAAS_EXPORT_STATE &&
		    r->chunk != PRAAS_SNAPSHOT_INLINE)
			u->sorted[u->sorted_count++] = r;
	}
	if (u->sorted_count > 1)
		qsort(u->sorted, u->sorted_count, sizeof(*u->sorted), by_key);
	return 0;
}

/* Where the same version of the same object lies in the base. */
static const struct praas_snapshot_record *reuse_find(
	const struct reuse *u, const struct praas_snapshot_record *r)
{
	const struct praas_snapshot_record *const *found;

	if (u->sorted_count == 0 || r->record.kind != PRAAS_EXPORT_STATE)
		return NULL;
	found = bsearch(&r, u->sorted, u->sorted_count, sizeof(*u->sorted), by_key);
	if (!found || (*found)->record.version != r->record.version ||
	    (*found)->record.bytes != r->record.bytes)
		return NULL;
	return *found;
}

static int add_chunk(struct praas_snapshot *s, const struct praas_snapshot_chunk *chunk)
{
	struct praas_snapshot_chunk *more;

	if (s->chunks_count >= PRAAS_SNAPSHOT_CHUNKS_MAX)
		return -EMSGSIZE;
	more = realloc(s->chunks, (s->chunks_count + 1u) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	s->chunks = more;
	s->chunks[s->chunks_count++] = *chunk;
	return 0;
}

/* Reads a value of a chunk that is to be given up. What cannot be had stays there. */
static void load_old(struct reuse *u, const struct praas_snapshot_record *old,
		     struct praas_snapshot_record *r)
{
	size_t bytes = (size_t)old->record.bytes, got = 0;
	uint8_t hash[PRAAS_SNAPSHOT_HASH_BYTES];
	char key[PRAAS_STORE_KEY_MAX + 1];
	struct loaded *l;

	/* What is handed over to another controller is written to no store that could be read. */
	if (!u->base->compact || !u->store->ops->get ||
	    u->loaded_bytes + bytes > COMPACT_BYTES)
		return;
	l = malloc(sizeof(*l) + bytes);
	if (!l)
		return;
	l->next = u->loaded;
	u->loaded = l;
	praas_snapshot_chunk_key(&u->base->chunks[old->chunk], key);
	if (u->store->ops->get(u->store, key, old->offset, l->data, bytes, &got) != 0 ||
	    got != bytes)
		return;
	praas_snapshot_hash(l->data, bytes, hash);
	if (memcmp(hash, old->hash, sizeof(hash)) != 0)
		return;
	u->loaded_bytes += bytes;
	r->record.data = l->data;
}

/* Take over places of unchanged values, but from chunks that are more than half garbage: what is
 * left of these is written anew, so that the store holds at most twice what is alive. */
static int reuse_apply(struct reuse *u, struct praas_snapshot *s, uint64_t *ret_bytes)
{
	for (uint64_t i = 0; u->base && i < s->records_count; i++) {
		const struct praas_snapshot_record *old = reuse_find(u, &s->records[i]);

		if (old)
			u->live[old->chunk] += old->record.bytes;
	}
	for (uint64_t i = 0; u->base && i < s->records_count; i++) {
		struct praas_snapshot_record *r = &s->records[i];
		const struct praas_snapshot_record *old = reuse_find(u, r);
		bool sparse = old && u->live[old->chunk] <
					     u->base->chunks[old->chunk].bytes / 2;

		if (sparse && !r->record.data)
			load_old(u, old, r);
		/* What is not in memory stays in any case. */
		if (!old || (r->record.data && (u->base->rewrite || sparse)))
			continue;
		if (u->renumber[old->chunk] == ~0u) {
			int rc = add_chunk(s, &u->base->chunks[old->chunk]);

			if (rc != 0)
				return rc;
			u->renumber[old->chunk] = s->chunks_count - 1;
		}
		r->chunk = u->renumber[old->chunk];
		r->offset = old->offset;
		memcpy(r->hash, old->hash, sizeof(r->hash));
		*ret_bytes += r->record.bytes;
	}
	return 0;
}

/* Whatever is to be written is here. */
static int check_values(const struct praas_snapshot *s)
{
	for (uint64_t i = 0; i < s->records_count; i++) {
		const struct praas_snapshot_record *r = &s->records[i];

		if (r->chunk == PRAAS_SNAPSHOT_INLINE && r->record.bytes > 0 &&
		    !r->record.data)
			return -EIO;
	}
	return 0;
}

/* ---- packing ---- */

/* One chunk on its way: the values from record next on that carry its number. */
struct packing {
	struct praas_store *store;
	struct praas_snapshot *s;
	uint64_t next;       /* record */
	uint32_t number;     /* of the chunk */
	uint64_t at;         /* bytes of the chunk filled */
	uint64_t value_at;   /* bytes of the current value filled */
	XXH3_state_t *value; /* hash of the current value */
	XXH3_state_t *chunk; /* hash over the hashes */
	uint64_t nonce;
	bool named; /* the hashes were made before: nothing may have changed since */
	int rc;
};

static void value_done(struct packing *p, struct praas_snapshot_record *r)
{
	XXH128_canonical_t sum;

	XXH128_canonicalFromHash(&sum, XXH3_128bits_digest(p->value));
	if (p->named && memcmp(r->hash, sum.digest, sizeof(r->hash)) != 0)
		p->rc = -EIO;
	memcpy(r->hash, sum.digest, sizeof(r->hash));
	(void)XXH3_128bits_update(p->chunk, r->hash,
				  sizeof(r->hash)); /* not NULL: no error */
	(void)XXH3_128bits_reset(p->value);
	p->value_at = 0;
	p->next++;
}

/* The next piece, of at most bytes: of padding, or of the value whose turn it is. */
static size_t pack_piece(struct packing *p, uint8_t *data, size_t bytes)
{
	struct praas_snapshot_record *r;
	size_t n;

	while (p->s->records[p->next].chunk != p->number)
		p->next++; /* ends: pack_fill() is asked for no more than belongs here */
	r = &p->s->records[p->next];
	if (p->at < r->offset) {
		n = (size_t)praas_min_u64(r->offset - p->at, bytes);
		memset(data, 0, n);
		p->at += n;
		return n;
	}
	n = (size_t)praas_min_u64(r->record.bytes - p->value_at, bytes);
	memcpy(data, (const uint8_t *)r->record.data + p->value_at, n);
	(void)XXH3_128bits_update(p->value, data, n); /* not NULL: no error */
	p->at += n;
	p->value_at += n;
	if (p->value_at == r->record.bytes)
		value_done(p, r);
	return n;
}

/* praas_store_source.fill: copies values, each to its aligned place, and hashes them meanwhile. */
static int pack_fill(void *user, uint8_t *data, size_t bytes)
{
	struct packing *p = user;
	size_t done = 0;

	while (done < bytes)
		done += pack_piece(p, data + done, bytes - done);
	return p->rc;
}

/* All hashes at once: the store wants the name before the bytes. */
static void pack_hash(struct packing *p)
{
	for (uint64_t i = p->next; i < p->s->records_count; i++) {
		struct praas_snapshot_record *r = &p->s->records[i];

		if (r->chunk != p->number)
			continue;
		praas_snapshot_hash(r->record.data, r->record.bytes, r->hash);
		(void)XXH3_128bits_update(p->chunk, r->hash,
					  sizeof(r->hash)); /* not NULL: no error */
	}
	p->named = true;
}

static int pack_name(void *user, char ret_key[PRAAS_STORE_KEY_MAX + 1])
{
	struct packing *p = user;
	struct praas_snapshot_chunk *chunk = &p->s->chunks[p->number];
	XXH128_canonical_t sum;

	if (p->at < chunk->bytes)
		pack_hash(p);
	XXH128_canonicalFromHash(&sum, XXH3_128bits_digest(p->chunk));
	memcpy(chunk->hash, sum.digest, sizeof(chunk->hash));
	chunk->nonce = p->nonce;
	if (p->store->blind && p->store->blind(p->store, chunk->hash) != 0)
		return -ENOMEM;
	praas_snapshot_chunk_key(chunk, ret_key);
	return 0;
}

/* Give records from first on their places in one new chunk: state objects (state) or all else.
 * Returns the record after the last; *ret_bytes 0: nothing was left. */
static uint64_t place_values(struct praas_snapshot *s, bool state, uint64_t first,
			     uint64_t most, uint64_t *ret_bytes)
{
	uint64_t bytes = 0, i = first;

	for (; i < s->records_count && bytes < most; i++) {
		struct praas_snapshot_record *r = &s->records[i];

		if (r->chunk != PRAAS_SNAPSHOT_INLINE ||
		    r->record.bytes <= PRAAS_SNAPSHOT_INLINE_MAX ||
		    (r->record.kind == PRAAS_EXPORT_STATE) != state)
			continue;
		bytes = praas_align_up(bytes, PRAAS_SNAPSHOT_ALIGN);
		r->chunk = s->chunks_count;
		r->offset = bytes;
		bytes += r->record.bytes;
	}
	*ret_bytes = bytes;
	return i;
}

/* State has chunks of its own, since it may stay for many snapshots, and messages do not. */
static int write_chunks(struct praas_store *store, struct praas_snapshot *s, bool state,
			struct packing *p, uint64_t *ret_written)
{
	uint64_t first = 0;
	uint64_t most =
		store->chunk_bytes ? store->chunk_bytes : PRAAS_SNAPSHOT_CHUNK_BYTES;

	while (first < s->records_count) {
		struct praas_store_source source = { .fill = pack_fill,
						     .name = pack_name,
						     .user = p };
		struct praas_snapshot_chunk chunk = { 0 };
		uint64_t end = place_values(s, state, first, most, &source.bytes);
		int rc;

		if (source.bytes == 0)
			break;
		chunk.bytes = source.bytes;
		rc = add_chunk(s, &chunk);
		if (rc != 0)
			return rc;
		p->next = first;
		p->number = s->chunks_count - 1;
		p->at = 0;
		p->value_at = 0;
		p->named = false;
		p->rc = 0;
		(void)XXH3_128bits_reset(p->value); /* not NULL: no error */
		(void)XXH3_128bits_reset(p->chunk);
		rc = store->ops->put(store, &source);
		if (rc != 0)
			return rc;
		*ret_written += source.bytes;
		first = end;
	}
	return 0;
}

/* The manifest: in the entry when it fits, else an object of its own that the entry names. */
static int write_manifest(struct praas_store *store, struct praas_snapshot *s,
			  uint64_t nonce, struct praas_slot_entry *entry,
			  uint64_t *ret_written)
{
	uint8_t *data, *body = entry->body;
	uint64_t bytes;
	int rc = praas_snapshot_encode(s, &data, &bytes);

	if (rc != 0)
		return rc;
	if (bytes <= PRAAS_SLOT_BODY_MAX) {
		memcpy(body, data, (size_t)bytes);
		entry->body_bytes = (uint32_t)bytes;
		free(data);
		return 0;
	}
	(void)snprintf(s->object, sizeof(s->object), "manifest/%016" PRIx64,
		       nonce); /* fits */
	rc = praas_store_put_bytes(store, s->object, data, (size_t)bytes);
	if (rc == 0) {
		praas_put_u64(body, PRAAS_SNAPSHOT_REF_MAGIC);
		praas_put_u64(body + 8, nonce);
		praas_put_u64(body + 16, bytes);
		praas_put_u64(body + 24, 0);
		memcpy(body + 32, data + bytes - PRAAS_SNAPSHOT_HASH_BYTES,
		       PRAAS_SNAPSHOT_HASH_BYTES);
		entry->body_bytes = PRAAS_SNAPSHOT_REF_BYTES;
		*ret_written += bytes;
	}
	free(data);
	return rc;
}

static int add_functions(struct praas_snapshot *s,
			 const struct praas_function *functions, uint32_t count)
{
	s->functions = calloc((size_t)count + 1, sizeof(*s->functions));
	if (!s->functions)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++)
		memcpy(s->functions[i], functions[i].name, sizeof(s->functions[i]));
	s->functions_count = count;
	return 0;
}

/* What does not refer to the base any more: chunks, manifest. */
static int write_all(struct praas_store *store, struct praas_snapshot *s,
		     struct praas_slot_entry *entry,
		     struct praas_snapshot_result *result)
{
	struct packing p = { .store = store, .s = s };
	struct timespec now;
	int rc;

	if (getrandom(&p.nonce, sizeof(p.nonce), 0) != (ssize_t)sizeof(p.nonce))
		return -EIO;
	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
	s->created_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	p.value = XXH3_createState();
	p.chunk = XXH3_createState();
	rc = p.value && p.chunk ? 0 : -ENOMEM;
	if (rc == 0)
		rc = write_chunks(store, s, true, &p, &result->bytes_written);
	if (rc == 0)
		rc = write_chunks(store, s, false, &p, &result->bytes_written);
	if (rc == 0)
		rc = write_manifest(store, s, p.nonce, entry, &result->bytes_written);
	(void)XXH3_freeState(p.value); /* NULL is allowed */
	(void)XXH3_freeState(p.chunk);
	return rc;
}

int praas_snapshot_write(struct praas_store *store, struct praas_snapshot *s,
			 const struct praas_function *functions,
			 uint32_t functions_count, const struct praas_snapshot *base,
			 struct praas_slot_entry *entry,
			 struct praas_snapshot_result *ret_result)
{
	struct praas_snapshot_result result = { 0 };
	struct reuse u;
	int rc = add_functions(s, functions, functions_count);

	if (rc == 0)
		rc = reuse_init(&u, store, base);
	if (rc != 0)
		return rc;
	rc = reuse_apply(&u, s, &result.bytes_reused);
	if (rc == 0)
		rc = check_values(s);
	if (rc == 0)
		rc = write_all(store, s, entry, &result);
	/* The values are the process's, who goes on; as a base for the next snapshot this one
	 * needs its places only. */
	for (uint64_t i = 0; i < s->records_count; i++)
		s->records[i].record.data = NULL;
	reuse_release(&u);
	if (rc == 0)
		*ret_result = result;
	return rc;
}
