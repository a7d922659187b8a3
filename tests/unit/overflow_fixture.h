/* SPDX-License-Identifier: Apache-2.0
 *
 * A process whose state is beyond its memory, its snapshots in a store in memory, and fetches that end when the test
 * says so.
 */
#ifndef PRAAS_TESTS_OVERFLOW_FIXTURE_H
#define PRAAS_TESTS_OVERFLOW_FIXTURE_H

#include "unit/dataplane_fixture.h"

#include <stdio.h>

#include "controller/cut.h"
#include "controller/places.h"
#include "dataplane/executor.h"
#include "dataplane/overflow.h"
#include "dataplane/process_private.h"

#define OV_POOL_BYTES (8u << 20)
#define OV_LIMIT_BYTES (1u << 20)
#define OV_ALL_BYTES (2u << 20)
#define OV_STATE_BYTES (64u << 20)
#define OV_KEYS 96u

/* A fetch under way. */
struct ov_order {
	struct praas_place place;
	char key[PRAAS_STORE_KEY_MAX + 1]; /* of its chunk */
	uint8_t *data;
	bool busy;
};

struct ov {
	struct fixture f;
	struct praas_store *store;
	struct praas_snapshot current, previous;
	struct praas_slot_entry entry;
	struct praas_places *places;
	struct ov_order order[PRAAS_FETCHES_MAX];
	struct praas_cut *cut; /* taken, and not written yet */
	struct praas_snapshot_result result;
	uint32_t wanted; /* how often a checkpoint was */
	int fail;        /* what fetches come to; 0: they read */
};

static void ov_fetch(void *user, uint32_t number, const struct praas_place *place,
		     uint8_t *data)
{
	struct ov *o = user;

	assert_true(number < PRAAS_FETCHES_MAX);
	assert_false(o->order[number].busy);
	o->order[number] =
		(struct ov_order){ .place = *place, .data = data, .busy = true };
	praas_snapshot_chunk_key(&o->places->chunks[place->chunk],
				 o->order[number].key);
}

/* What the thread that reads would do. */
static int ov_read(struct ov *o, uint32_t number)
{
	struct ov_order *order = &o->order[number];
	const struct praas_place *place = &order->place;
	uint8_t hash[PRAAS_SNAPSHOT_HASH_BYTES];
	size_t got = 0;

	assert_true(order->busy);
	order->busy = false;
	if (o->fail)
		return o->fail;
	if (o->store->ops->get(o->store, order->key, place->offset, order->data,
			       place->bytes, &got) != 0 ||
	    got != place->bytes)
		return -EIO;
	praas_snapshot_hash(order->data, got, hash);
	return memcmp(hash, place->hash, sizeof(hash)) == 0 ? 0 : -EIO;
}

static int ov_await(void *user, uint32_t number)
{
	return ov_read(user, number);
}

static void ov_want(void *user)
{
	((struct ov *)user)->wanted++;
}

/* Ends the fetch of that number, or all. */
static inline void ov_end(struct ov *o, uint32_t number)
{
	praas_process_fetched(o->f.p, number, ov_read(o, number));
}

static inline unsigned ov_end_all(struct ov *o)
{
	unsigned ended = 0;

	for (uint32_t i = 0; i < PRAAS_FETCHES_MAX; i++) {
		if (!o->order[i].busy)
			continue;
		ov_end(o, i);
		ended++;
	}
	return ended;
}

static inline unsigned ov_coming(const struct ov *o)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < PRAAS_FETCHES_MAX; i++)
		count += o->order[i].busy;
	return count;
}

/* ---- contents ---- */

static inline void ov_fill(uint8_t *data, uint64_t bytes, uint32_t seed)
{
	for (uint64_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(seed * 31 + i * 13 + (i >> 7));
}

static inline bool ov_is(const uint8_t *data, uint64_t bytes, uint32_t seed)
{
	for (uint64_t i = 0; i < bytes; i++)
		if (data[i] != (uint8_t)(seed * 31 + i * 13 + (i >> 7)))
			return false;
	return true;
}

static inline uint8_t ov_key(uint32_t n, char key[PRAAS_KEY_MAX + 1])
{
	return (uint8_t)snprintf(key, 16, "k%u", n);
}

/* 0, or what the commit says; then nothing has moved. */
static inline int ov_put(struct ov *o, uint32_t n, uint64_t bytes, uint32_t seed)
{
	struct praas_state_write w = { .erase = false };
	uint64_t version;
	uint8_t *to = NULL;
	int rc;

	w.key_bytes = ov_key(n, w.key);
	rc = bytes ? praas_process_value_new(o->f.p, bytes, &w.value, &to) : 0;
	if (rc != 0)
		return rc;
	if (bytes)
		ov_fill(to, bytes, seed);
	rc = praas_process_fn_commit(o->f.p, &w, 1, &version);
	if (rc != 0)
		praas_value_release(&w.value);
	return rc;
}

static inline int ov_erase(struct ov *o, uint32_t n)
{
	struct praas_state_write w = { .erase = true };
	uint64_t version;

	w.key_bytes = ov_key(n, w.key);
	return praas_process_fn_commit(o->f.p, &w, 1, &version);
}

/* As a function on the data thread reads. */
static inline int ov_get(struct ov *o, uint32_t n, uint64_t *ret_bytes, uint32_t seed)
{
	char key[PRAAS_KEY_MAX + 1];
	const struct praas_value *value;
	uint64_t version;
	uint32_t key_bytes = ov_key(n, key);
	int rc = praas_process_fn_state_get(o->f.p, key, key_bytes, &value, &version);

	if (rc != 0)
		return rc;
	*ret_bytes = value->bytes;
	return ov_is(value->data, value->bytes, seed) ? 0 : -EBADMSG;
}

static inline struct praas_object *ov_object(struct ov *o, uint32_t n)
{
	char key[PRAAS_KEY_MAX + 1];
	uint32_t key_bytes = ov_key(n, key);

	return praas_state_find(&o->f.p->state, key, key_bytes);
}

/* ---- snapshots ---- */

static inline int ov_cut(struct ov *o)
{
	return praas_cut_take(o->f.p, o->f.pool, &o->f.segment, false, &o->cut);
}

static int ov_sweep_key(void *user, const char *key)
{
	struct ov *o = user;
	const struct praas_snapshot *keep[2] = { &o->current, &o->previous };
	char name[PRAAS_STORE_KEY_MAX + 1];

	for (unsigned k = 0; k < 2; k++)
		for (uint32_t i = 0; i < keep[k]->chunks_count; i++) {
			praas_snapshot_chunk_key(&keep[k]->chunks[i], name);
			if (strcmp(name, key) == 0)
				return 0;
		}
	/* One at a time: the list may not be walked on. */
	assert_int_equal(o->store->ops->delete (o->store, key), 0);
	return 1;
}

/* Writes the cut and commits it, or fails with rc: then nothing has changed. What only older snapshots need goes. */
static inline void ov_commit(struct ov *o, int rc)
{
	struct praas_places *before = o->places;

	assert_non_null(o->cut);
	if (rc == 0) {
		o->current.compact = true;
		rc = praas_snapshot_write(o->store, &o->cut->snapshot, NULL, 0,
					  &o->current, &o->entry, &o->result);
		assert_int_equal(rc, 0);
		praas_snapshot_release(&o->previous);
		o->previous = o->current;
		o->current = o->cut->snapshot;
		o->cut->snapshot = (struct praas_snapshot){ 0 };
		assert_int_equal(praas_places_new(&o->current, NULL, &o->places), 0);
		praas_process_places(o->f.p, o->places->place, o->places->count);
		praas_places_free(before);
		while (o->store->ops->list(o->store, "chunk/", NULL, ov_sweep_key, o) ==
		       1)
			continue;
	}
	praas_cut_drop(o->cut);
	o->cut = NULL;
}

static inline void ov_checkpoint(struct ov *o)
{
	assert_int_equal(ov_cut(o), 0);
	ov_commit(o, 0);
}

/* ---- life ---- */

static inline void ov_start(struct ov *o)
{
	static const struct praas_function none[1];
	const struct praas_overflow_host host = {
		.fetch = ov_fetch, .await = ov_await, .wanted = ov_want, .user = o
	};
	struct praas_process_config c;

	fixture_init(&o->f, OV_POOL_BYTES);
	c = fixture_config(&o->f, none, 0);
	c.state_bytes_max = OV_STATE_BYTES;
	c.state_keys_max = 1024;
	c.bytes_max = 4u << 20;
	assert_int_equal(praas_executor_inline_new(none, 0, &c.executor), 0);
	fixture_start(&o->f, &c);
	praas_process_gate(o->f.p, false);
	assert_int_equal(praas_process_overflow_set(o->f.p, &host), 0);
}

static int ov_import(void *user, const struct praas_export_record *record)
{
	return praas_process_import(user, record);
}

/* What the current snapshot has, in a new process. */
static inline void ov_load(struct ov *o)
{
	struct praas_snapshot s;

	if (o->current.records_count > 0) { /* as whoever wakes it finds it */
		praas_snapshot_release(&o->current);
		assert_int_equal(praas_snapshot_open(o->store, &o->entry, &o->current),
				 0);
	}
	s = o->current;
	assert_int_equal(praas_places_new(&o->current, NULL, &o->places), 0);
	praas_process_overflow_from(o->f.p, o->places->place);
	s.places = o->places;
	assert_int_equal(praas_snapshot_load(o->store, &s, NULL, 0, ov_import, o->f.p),
			 0);
	praas_process_overflow_limit(o->f.p, OV_LIMIT_BYTES, OV_ALL_BYTES);
	praas_process_gate(o->f.p, true);
}

static int ov_setup(void **state)
{
	struct ov *o = calloc(1, sizeof(*o));

	assert_non_null(o);
	assert_int_equal(praas_store_memory_open(&o->store), 0);
	o->entry.kind = PRAAS_SLOT_SNAP;
	ov_start(o);
	ov_load(o);
	*state = o;
	return 0;
}

static inline void ov_stop(struct ov *o)
{
	praas_cut_drop(o->cut);
	o->cut = NULL;
	memset(o->order, 0, sizeof(o->order)); /* the thread has ended */
	fixture_release(&o->f);
	praas_places_free(o->places);
	o->places = NULL;
}

static int ov_teardown(void **state)
{
	struct ov *o = *state;

	ov_stop(o);
	praas_snapshot_release(&o->current);
	praas_snapshot_release(&o->previous);
	praas_store_free(o->store);
	free(o);
	return 0;
}

#endif
