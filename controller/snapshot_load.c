/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/snapshot.h"
#include "controller/snapshot_late.h"
#include "internal/base.h"

/*
 * Reading snapshots back, and removing what no snapshot needs any more.
 */

#define WINDOW_MIN (256u * 1024u)
#define WINDOW_MAX (8u * 1024u * 1024u)

static uint64_t get_u64(const uint8_t *from)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < 8; i++)
		value |= (uint64_t)from[i] << (8 * i);
	return value;
}

/* The manifest that a body refers to. */
static int open_object(struct praas_store *store, const uint8_t *body,
		       struct praas_snapshot *ret_snapshot)
{
	char key[PRAAS_STORE_KEY_MAX + 1];
	uint8_t *data = NULL;
	size_t bytes = 0;
	int rc;

	if (get_u64(body + 24) != 0)
		return -EPROTO;
	(void)snprintf(key, sizeof(key), "manifest/%016" PRIx64,
		       get_u64(body + 8)); /* fits */
	rc = praas_store_get_all(store, key, PRAAS_SNAPSHOT_MANIFEST_MAX, &data,
				 &bytes);
	if (rc != 0)
		return rc == -EMSGSIZE ? -EPROTO : rc;
	if (bytes != get_u64(body + 16) || bytes < PRAAS_SNAPSHOT_HASH_BYTES ||
	    memcmp(data + bytes - PRAAS_SNAPSHOT_HASH_BYTES, body + 32,
		   PRAAS_SNAPSHOT_HASH_BYTES) != 0)
		rc = -EPROTO;
	if (rc == 0)
		rc = praas_snapshot_decode(data, bytes, ret_snapshot);
	if (rc == 0)
		memcpy(ret_snapshot->object, key, strlen(key) + 1);
	free(data);
	return rc;
}

int praas_snapshot_open(struct praas_store *store, const struct praas_slot_entry *entry,
			struct praas_snapshot *ret_snapshot)
{
	if (entry->kind != PRAAS_SLOT_SNAP && entry->kind != PRAAS_SLOT_REL)
		return -EPROTO;
	if (entry->body_bytes == PRAAS_SNAPSHOT_REF_BYTES &&
	    get_u64(entry->body) == PRAAS_SNAPSHOT_REF_MAGIC)
		return open_object(store, entry->body, ret_snapshot);
	return praas_snapshot_decode(entry->body, entry->body_bytes, ret_snapshot);
}

/* What has been read of a chunk: the values of consecutive records mostly lie side by side. */
struct window {
	struct praas_store *store;
	const struct praas_snapshot *s;
	uint8_t *data;
	uint64_t room;
	uint32_t chunk;
	uint64_t offset, bytes;
	uint64_t wanted; /* how much to read next */
};

static int window_room(struct window *w, uint64_t bytes)
{
	w->bytes = 0;
	if (bytes <= w->room)
		return 0;
	free(w->data);
	w->room = 0;
	w->data = malloc((size_t)bytes);
	if (!w->data)
		return -ENOMEM;
	w->room = bytes;
	return 0;
}

/* The value's bytes, valid until the next call. */
static int window_get(struct window *w, const struct praas_snapshot_record *r,
		      const uint8_t **ret_data)
{
	const struct praas_snapshot_chunk *chunk = &w->s->chunks[r->chunk];
	char key[PRAAS_STORE_KEY_MAX + 1];
	uint64_t bytes = r->record.bytes;
	size_t got = 0;
	bool follows = r->chunk == w->chunk && r->offset >= w->offset &&
		       r->offset <= w->offset + w->bytes + PRAAS_SNAPSHOT_ALIGN;
	int rc;

	if (follows && r->offset + bytes <= w->offset + w->bytes) {
		*ret_data = w->data + (r->offset - w->offset);
		return 0;
	}
	/* Read ahead more and more while the values come in order. */
	w->wanted = follows ? praas_min_u64(w->wanted * 2, WINDOW_MAX) : WINDOW_MIN;
	bytes = praas_min_u64(praas_max_u64(bytes, w->wanted),
			      chunk->bytes - r->offset);
	rc = window_room(w, bytes);
	if (rc != 0)
		return rc;
	praas_snapshot_chunk_key(chunk, key);
	rc = w->store->ops->get(w->store, key, r->offset, w->data, (size_t)bytes, &got);
	if (rc != 0)
		return rc;
	if (got < r->record.bytes)
		return -EPROTO; /* the chunk is shorter than the manifest says */
	w->chunk = r->chunk;
	w->offset = r->offset;
	w->bytes = got;
	*ret_data = w->data;
	return 0;
}

static int load_value(struct window *w, const struct praas_snapshot_record *r,
		      const void **ret_data)
{
	uint8_t hash[PRAAS_SNAPSHOT_HASH_BYTES];
	const uint8_t *data = NULL;
	int rc;

	if (r->chunk == PRAAS_SNAPSHOT_INLINE) {
		*ret_data = r->record.data;
		return 0;
	}
	rc = window_get(w, r, &data);
	if (rc != 0)
		return rc;
	praas_snapshot_hash(data, r->record.bytes, hash);
	if (memcmp(hash, r->hash, sizeof(hash)) != 0)
		return -EPROTO;
	*ret_data = data;
	return 0;
}

/* The number that a function of the snapshot has now. */
static int translate(const struct praas_snapshot *s,
		     const struct praas_function *functions, uint32_t functions_count,
		     uint16_t old, uint16_t *ret_new)
{
	for (uint32_t i = 0; i < functions_count; i++) {
		if (strcmp(functions[i].name, s->functions[old]) == 0) {
			*ret_new = (uint16_t)i;
			return 0;
		}
	}
	return -ENOENT;
}

int praas_snapshot_load(struct praas_store *store, const struct praas_snapshot *s,
			const struct praas_function *functions,
			uint32_t functions_count, praas_export_fn fn, void *user)
{
	struct window w = { .store = store, .s = s, .chunk = PRAAS_SNAPSHOT_INLINE };
	uint64_t late_next = 0;
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < s->records_count; i++) {
		struct praas_export_record record = s->records[i].record;

		if (record.kind == PRAAS_EXPORT_TRIGGER)
			rc = translate(s, functions, functions_count, record.function,
				       &record.function);
		if (s->late && praas_snapshot_late_is(&s->records[i]))
			record.late = praas_snapshot_late_at(s->late, late_next++);
		else if (rc == 0)
			rc = load_value(&w, &s->records[i], &record.data);
		if (rc == 0)
			rc = fn(user, &record);
	}
	free(w.data);
	return rc;
}

/* ---- garbage ---- */

struct sweep {
	struct praas_store *store;
	const struct praas_snapshot *const *snapshots;
	unsigned count;
	char (*dead)[PRAAS_STORE_KEY_MAX + 1];
	size_t dead_count, dead_room;
};

static bool needed(const struct sweep *w, const char *key)
{
	char chunk[PRAAS_STORE_KEY_MAX + 1];

	for (unsigned i = 0; i < w->count; i++) {
		if (strcmp(w->snapshots[i]->object, key) == 0)
			return true;
		for (uint32_t k = 0; k < w->snapshots[i]->chunks_count; k++) {
			praas_snapshot_chunk_key(&w->snapshots[i]->chunks[k], chunk);
			if (strcmp(chunk, key) == 0)
				return true;
		}
	}
	return false;
}

static int look_at(void *user, const char *key)
{
	struct sweep *w = user;

	if (needed(w, key))
		return 0;
	if (w->dead_count == w->dead_room) {
		size_t room = w->dead_room ? w->dead_room * 2 : 16;
		void *more = realloc(w->dead, room * sizeof(*w->dead));

		if (!more)
			return -ENOMEM;
		w->dead = more;
		w->dead_room = room;
	}
	(void)snprintf(w->dead[w->dead_count++], sizeof(*w->dead), "%s",
		       key); /* checked */
	return 0;
}

int praas_snapshot_collect_garbage(struct praas_store *store,
				   const struct praas_snapshot *const *snapshots,
				   unsigned snapshots_count)
{
	struct sweep w = { .store = store,
			   .snapshots = snapshots,
			   .count = snapshots_count };
	int rc = store->ops->list(store, "chunk/", NULL, look_at, &w);

	if (rc == 0)
		rc = store->ops->list(store, "manifest/", NULL, look_at, &w);
	for (size_t i = 0; rc == 0 && i < w.dead_count; i++)
		rc = store->ops->delete (store, w.dead[i]);
	free(w.dead);
	return rc;
}
