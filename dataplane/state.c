/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects, the table that finds them, and its published twin: slot i of the one is entry i of the
 * other. Linear probing; removal closes the gap, so that chains stay short for ever.
 */
#include "dataplane/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "dataplane/key_hash.h"
#include "shm/pages.h"

uint64_t praas_state_now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts); /* cannot fail for this clock */
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

const char *praas_state_key(const struct praas_state *s, const struct praas_object *o)
{
	return praas_keys_at(&s->keys, o->cell);
}

/* ---- publishing ---- */

/* Until end_change() readers wait: they see all that happens in between, or nothing. */
static void begin_change(struct praas_state *s)
{
	if (s->changing++ == 0)
		/* Ordered before the entries' release stores, which show it to readers. */
		atomic_store_explicit(&s->header->sequence, ++s->sequence,
				      memory_order_relaxed);
}

static void end_change(struct praas_state *s)
{
	if (--s->changing == 0)
		/* state.R5, pairs with state.A4: everything that changed is visible. */
		atomic_store_explicit(&s->header->sequence, ++s->sequence,
				      memory_order_release);
}

static uint32_t cells_per_chunk(uint32_t class)
{
	return PRAAS_KEY_CHUNK / praas_key_cell_bytes(class);
}

/* Where the published copy of a key lies in the segment. */
static uint64_t published_key(const struct praas_state *s, uint32_t cell)
{
	uint32_t class = praas_key_class(cell);
	uint32_t index = praas_key_index(cell);
	uint32_t n = cells_per_chunk(class);

	return s->chunks[class][index / n] +
	       (uint64_t)(index % n) * praas_key_cell_bytes(class);
}

/* Copies a key to where readers find it. 0; -ENOSPC. */
static int publish_key(struct praas_state *s, uint32_t cell, uint32_t key_bytes)
{
	uint32_t class = praas_key_class(cell);
	uint64_t *chunk =
		&s->chunks[class][praas_key_index(cell) / cells_per_chunk(class)];
	const char *key = praas_keys_at(&s->keys, cell);
	_Atomic uint64_t *words;

	if (*chunk == 0 && praas_pool_alloc(s->pool, PRAAS_KEY_CHUNK, chunk) != 0) {
		*chunk = 0;
		return -ENOSPC;
	}
	words = (_Atomic uint64_t *)(void *)(s->segment->base + published_key(s, cell));
	for (uint32_t i = 0; i < (key_bytes + 7) / 8; i++) {
		uint64_t w;

		memcpy(&w, key + (size_t)i * 8, 8);
		/* state.R4, pairs with state.A3: the cell's old entry has changed before. */
		atomic_store_explicit(&words[i], w, memory_order_release);
	}
	return 0;
}

/* A word of an entry, while its sequence is odd. */
static void store_word(_Atomic uint64_t *word, uint64_t value)
{
	/* state.R3, pairs with state.A2: with any of these the odd sequence is visible. */
	atomic_store_explicit(word, value, memory_order_release);
}

/* Entry `slot` says what o is, or (NULL) that the slot is free. */
static void write_entry(struct praas_state *s, uint32_t slot,
			const struct praas_object *o)
{
	struct praas_state_entry *e = &s->entries[slot];
	uint64_t sequence = s->slots[slot].sequence;
	uint64_t flags = o ? (o->torn ? PRAAS_STATE_TORN : 0u) |
					 (o->late || o->rest ? PRAAS_STATE_LATE : 0u)
			   : 0;

	/* Odd; ordered before the stores below, which are releases. */
	atomic_store_explicit(&e->sequence, sequence + 1, memory_order_relaxed);
	store_word(&e->hash, o ? o->hash : 0);
	if (o) {
		store_word(&e->key, published_key(s, o->cell) << 8 | o->key_bytes);
		store_word(&e->segment, o->value.segment | flags << 32);
		store_word(&e->offset, o->value.offset);
		store_word(&e->bytes, o->value.bytes);
		store_word(&e->version, o->version);
		store_word(&e->modified_ns, o->modified_ns);
	}
	/* state.R0, pairs with state.A0: the entry is whole, its value is written. */
	atomic_store_explicit(&e->sequence, sequence + 2, memory_order_release);
	s->slots[slot].sequence = sequence + 2;
}

void praas_state_publish(struct praas_state *s, const struct praas_object *o)
{
	write_entry(s, o->slot, o);
}

/* ---- the table ---- */

static struct praas_object *find_hash(const struct praas_state *s, const char *key,
				      uint32_t key_bytes, uint64_t hash)
{
	uint64_t i = hash & s->mask;

	for (; s->slots[i].object; i = (i + 1) & s->mask) {
		struct praas_object *o;

		if (s->slots[i].tag != (uint32_t)(hash >> 32))
			continue;
		o = &s->objects[s->slots[i].object - 1];
		if (o->hash == hash && o->key_bytes == key_bytes &&
		    memcmp(praas_state_key(s, o), key, key_bytes) == 0)
			return o;
	}
	return NULL;
}

struct praas_object *praas_state_find(const struct praas_state *s, const char *key,
				      uint32_t key_bytes)
{
	return find_hash(s, key, key_bytes, praas_key_hash(key, key_bytes, s->seed));
}

/* An object that is in no table yet; NULL: none left. */
static struct praas_object *object_new(struct praas_state *s)
{
	uint32_t i = s->free;

	if (i)
		s->free = s->objects[i - 1].right;
	else if (s->used < s->objects_max)
		i = ++s->used;
	else
		return NULL;
	s->objects[i - 1] = (struct praas_object){ 0 };
	return &s->objects[i - 1];
}

static void object_free(struct praas_state *s, struct praas_object *o)
{
	o->live = false;
	o->right = s->free;
	s->free = (uint32_t)(o - s->objects) + 1;
}

struct praas_object *praas_state_object_get(struct praas_state *s, const char *key,
					    uint32_t key_bytes)
{
	uint64_t hash = praas_key_hash(key, key_bytes, s->seed);
	struct praas_object *o = find_hash(s, key, key_bytes, hash);
	uint64_t i = hash & s->mask;

	if (o)
		return o;
	o = object_new(s);
	if (!o)
		return NULL;
	o->hash = hash;
	o->key_bytes = (uint8_t)key_bytes;
	if (praas_keys_put(&s->keys, key, key_bytes, &o->cell) != 0) {
		object_free(s, o);
		return NULL;
	}
	if (publish_key(s, o->cell, key_bytes) != 0) {
		praas_keys_remove(&s->keys, o->cell);
		object_free(s, o);
		return NULL;
	}
	while (s->slots[i].object)
		i = (i + 1) & s->mask;
	o->slot = (uint32_t)i;
	o->live = true;
	s->slots[i].object = (uint32_t)(o - s->objects) + 1;
	s->slots[i].tag = (uint32_t)(hash >> 32);
	praas_state_order_put(s, o);
	praas_state_publish(s, o);
	return o;
}

void praas_state_object_drop(struct praas_state *s, struct praas_object *o)
{
	uint64_t gap = o->slot;

	begin_change(s);
	for (uint64_t i = (gap + 1) & s->mask; s->slots[i].object;
	     i = (i + 1) & s->mask) {
		struct praas_object *x = &s->objects[s->slots[i].object - 1];

		/* It may move to the gap unless its chain begins after it. */
		if (((i - x->hash) & s->mask) < ((i - gap) & s->mask))
			continue;
		s->slots[gap].object = s->slots[i].object;
		s->slots[gap].tag = s->slots[i].tag;
		x->slot = (uint32_t)gap;
		write_entry(s, x->slot, x);
		gap = i;
	}
	s->slots[gap].object = 0;
	write_entry(s, (uint32_t)gap, NULL);
	end_change(s);
	praas_state_order_remove(s, o);
	praas_keys_remove(&s->keys, o->cell);
	object_free(s, o);
}

/* ---- commit ---- */

void praas_state_replace(struct praas_state *s, struct praas_object *o,
			 struct praas_value *value, uint64_t version, uint64_t now_ns)
{
	if (praas_unlikely(s->overflow != NULL))
		praas_overflow_drop(s, o);
	s->bytes -= o->value.charge;
	s->count += o->version == 0;
	praas_state_retire(s, &o->value);
	o->value = praas_value_take(value);
	s->bytes += o->value.charge;
	o->version = version;
	o->modified_ns = now_ns;
	o->torn = false;
	o->late = NULL;
	if (praas_unlikely(s->overflow != NULL))
		praas_overflow_put(s, o);
	praas_state_publish(s, o);
	if (praas_unlikely(s->changes != NULL))
		praas_state_changed(s, o);
}

PRAAS_COLD int praas_state_settle(struct praas_state *s, struct praas_object *o)
{
	int rc = praas_late_get(o->late);

	if (rc != 0)
		return rc;
	o->late = NULL;
	praas_state_publish(s, o);
	return 0;
}

static void erase(struct praas_state *s, struct praas_object *o)
{
	if (o->version == 0)
		return;
	if (praas_unlikely(s->overflow != NULL))
		praas_overflow_drop(s, o);
	s->bytes -= o->value.charge;
	s->count--;
	praas_state_retire(s, &o->value);
	o->version = 0;
	o->torn = false;
	o->late = NULL;
	if (praas_unlikely(s->changes != NULL))
		praas_state_changed(s, o);
	praas_state_lease_replaced(s, o);
	if (o->lease)
		praas_state_publish(s, o);
	else
		praas_state_object_drop(s, o);
}

/* True when one of the writes before number `end` puts that key. */
static bool put_before(const struct praas_state_write *writes, uint32_t end)
{
	const struct praas_state_write *w = &writes[end];

	for (uint32_t i = 0; i < end; i++)
		if (!writes[i].erase && writes[i].key_bytes == w->key_bytes &&
		    memcmp(writes[i].key, w->key, w->key_bytes) == 0)
			return true;
	return false;
}

/* Versions, number and memory; changes nothing. *ret_version: what is there, with -ESTALE. */
static int check(struct praas_state *s, const struct praas_state_write *writes,
		 uint32_t count, uint64_t *ret_version)
{
	uint64_t added = 0;
	uint64_t freed = 0;
	uint64_t keys = s->count;
	int rc = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct praas_state_write *w = &writes[i];
		struct praas_object *o = praas_state_find(s, w->key, w->key_bytes);
		uint64_t version = o ? o->version : 0;

		s->scratch[i] = o ? (uint32_t)(o - s->objects) + 1 : 0;
		if (w->expect && w->expect - 1 != version) {
			*ret_version = version;
			rc = -ESTALE;
		} else if (w->erase && version == 0 && !put_before(writes, i)) {
			rc = -ENOENT;
		}
		if (o && !o->seen) {
			o->seen = true;
			freed += o->value.charge;
			keys -= w->erase && version != 0;
		}
		keys += !w->erase && version == 0;
		added += w->value.charge;
		if (rc != 0) {
			count = i + 1;
			break;
		}
	}
	for (uint32_t i = 0; i < count; i++)
		if (s->scratch[i])
			s->objects[s->scratch[i] - 1].seen = false;
	if (rc == 0 && s->bytes - freed + added > s->bytes_max && added > freed)
		rc = -ENOSPC;
	if (rc == 0 && keys > s->keys_max && keys > s->count)
		rc = -ENOBUFS;
	if (rc == 0 && praas_unlikely(s->overflow != NULL))
		rc = praas_overflow_room(s, added, count);
	return rc;
}

/* Objects for all keys that are put; new ones are not live yet. All or none. */
static int make_objects(struct praas_state *s, const struct praas_state_write *writes,
			uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct praas_object *o;

		if (writes[i].erase || s->scratch[i])
			continue;
		o = praas_state_object_get(s, writes[i].key, writes[i].key_bytes);
		if (o) {
			s->scratch[i] = (uint32_t)(o - s->objects) + 1;
			continue;
		}
		while (i-- > 0) {
			o = s->scratch[i] ? &s->objects[s->scratch[i] - 1] : NULL;
			if (o && o->live && o->version == 0 && o->lease == 0)
				praas_state_object_drop(s, o);
		}
		return s->used == s->objects_max && s->free == 0 ? -ENOBUFS : -ENOSPC;
	}
	return 0;
}

static void apply(struct praas_state *s, struct praas_state_write *w, uint64_t now)
{
	struct praas_object *o;

	if (w->erase) {
		o = praas_state_find(s, w->key, w->key_bytes);
		if (o)
			erase(s, o);
		return;
	}
	/* An erase earlier in this commit may have dropped the object. */
	o = praas_state_object_get(s, w->key, w->key_bytes);
	praas_check(o != NULL);
	praas_state_replace(s, o, &w->value, s->version, now);
	praas_state_lease_replaced(s, o);
}

int praas_objects_commit(struct praas_state *s, struct praas_state_write *writes,
			 uint32_t count, uint64_t *ret_version)
{
	uint64_t now;
	int rc;

	/* Versions are compared and given: they must be those of the last updates. */
	for (uint32_t i = 0; praas_unlikely(s->words != 0) && i < count; i++) {
		struct praas_object *o =
			praas_state_find(s, writes[i].key, writes[i].key_bytes);

		if (o)
			(void)praas_lease_settle(s, o);
	}
	rc = check(s, writes, count, ret_version);
	if (rc == 0)
		rc = praas_state_retire_room(s, count);
	if (rc == 0)
		rc = make_objects(s, writes, count);
	if (rc != 0)
		return rc;
	now = praas_state_now();
	s->version++;
	if (count > 1)
		begin_change(s);
	for (uint32_t i = 0; i < count; i++)
		apply(s, &writes[i], now);
	if (count > 1)
		end_change(s);
	if (praas_unlikely(s->overflow != NULL))
		praas_overflow_look(s);
	*ret_version = s->version;
	return 0;
}

int praas_state_import(struct praas_state *s, const char *key, uint32_t key_bytes,
		       uint64_t version, uint64_t modified_ns,
		       struct praas_value *value)
{
	struct praas_object *o = praas_state_find(s, key, key_bytes);

	if (version == 0)
		return -EINVAL;
	if (o)
		return -EEXIST;
	if (s->bytes + value->charge > s->bytes_max)
		return -ENOSPC;
	if (s->count == s->keys_max)
		return -ENOBUFS;
	o = praas_state_object_get(s, key, key_bytes);
	if (!o)
		return -ENOSPC;
	praas_state_replace(s, o, value, version, modified_ns);
	s->version = praas_max_u64(s->version, version);
	return 0;
}

/* ---- life ---- */

static int init_index(struct praas_state *s, uint64_t slots)
{
	s->mask = slots - 1;
	if (praas_pool_alloc(s->pool, sizeof(*s->header), &s->header_offset) != 0)
		return -ENOSPC;
	s->header = (struct praas_state_header *)(void *)(s->segment->base +
							  s->header_offset);
	if (praas_pool_alloc(s->pool, slots * sizeof(*s->entries),
			     &s->entries_offset) != 0)
		return -ENOSPC;
	s->entries = (struct praas_state_entry *)(void *)(s->segment->base +
							  s->entries_offset);
	memset(s->header, 0, sizeof(*s->header));
	praas_segment_zero(s->segment, s->entries_offset, slots * sizeof(*s->entries));
	s->header->slots = slots;
	s->header->hash_seed = s->seed;
	s->header->entries = s->entries_offset;
	s->epoch = 1;
	atomic_store_explicit(&s->header->epoch, s->epoch, memory_order_relaxed);
	s->header->magic = PRAAS_STATE_MAGIC;
	return 0;
}

static int init_memory(struct praas_state *s, uint64_t slots)
{
	uint32_t keys_max = s->objects_max;
	int rc = praas_keys_init(&s->keys, keys_max);

	if (rc != 0)
		return rc;
	s->objects = praas_pages_new((size_t)keys_max * sizeof(*s->objects));
	s->slots = praas_pages_new((size_t)slots * sizeof(*s->slots));
	s->retired = praas_pages_new(PRAAS_RETIRED_MAX * sizeof(*s->retired));
	s->leases = calloc(PRAAS_LEASES_MAX, sizeof(*s->leases));
	s->scratch = calloc(PRAAS_WRITES_MAX, sizeof(*s->scratch));
	if (!s->objects || !s->slots || !s->retired || !s->leases || !s->scratch)
		return -ENOMEM;
	for (uint32_t c = 0; c < PRAAS_KEY_CLASSES; c++) {
		s->chunks_max[c] = keys_max / cells_per_chunk(c) + 1;
		s->chunks[c] = praas_pages_new((size_t)s->chunks_max[c] *
					       sizeof(*s->chunks[c]));
		if (!s->chunks[c])
			return -ENOMEM;
	}
	return 0;
}

int praas_state_init(struct praas_state *s, struct praas_pool *pool,
		     const struct praas_segment *segment, uint32_t keys_max,
		     uint64_t bytes_max)
{
	uint64_t slots = 64;
	int rc;

	*s = (struct praas_state){
		.pool = pool,
		.segment = segment,
		.keys_max = keys_max,
		.objects_max = keys_max + 1 +
			       (uint32_t)praas_min_u64(keys_max / 4, PRAAS_WRITES_MAX),
		.bytes_max = bytes_max
	};
	/* At most three quarters full, but in the middle of a commit. */
	while (slots < (uint64_t)keys_max + keys_max / 3 + 1)
		slots *= 2;
	if (getrandom(&s->seed, sizeof(s->seed), 0) != sizeof(s->seed))
		return -EIO;
	rc = init_memory(s, slots);
	if (rc == 0)
		rc = init_index(s, slots);
	if (rc != 0)
		praas_state_release(s);
	return rc;
}

void praas_state_release(struct praas_state *s)
{
	if (s->retired)
		praas_state_reclaim_all(s);
	for (uint32_t i = 0; s->objects && i < s->used; i++)
		if (s->objects[i].live)
			praas_value_release(&s->objects[i].value);
	for (uint32_t c = 0; c < PRAAS_KEY_CLASSES; c++) {
		for (uint32_t i = 0; s->chunks[c] && i < s->chunks_max[c]; i++)
			if (s->chunks[c][i])
				praas_pool_unref(s->pool, s->chunks[c][i]);
		praas_pages_free(s->chunks[c]);
	}
	if (s->entries)
		praas_pool_unref(s->pool, s->entries_offset);
	if (s->header)
		praas_pool_unref(s->pool, s->header_offset);
	praas_keys_release(&s->keys);
	praas_pages_free(s->objects);
	praas_pages_free(s->slots);
	praas_pages_free(s->retired);
	free(s->leases);
	free(s->scratch);
	*s = (struct praas_state){ 0 };
}
