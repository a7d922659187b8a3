/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/places.h"
#include "controller/snapshot.h"
#include "controller/snapshot_late.h"
#include "internal/base.h"

/*
 * Reading snapshots back.
 */

#define WINDOW_MIN (256u * 1024u)
#define WINDOW_MAX (8u * 1024u * 1024u)

int praas_snapshot_open(struct praas_store *store, const struct praas_slot_entry *entry,
			struct praas_snapshot *ret_snapshot)
{
	char object[PRAAS_STORE_KEY_MAX + 1];
	uint8_t *data;
	uint64_t bytes;
	int rc = praas_refs_read(store, entry, &data, &bytes, object);

	if (rc != 0)
		return rc;
	rc = praas_snapshot_decode(data, bytes, ret_snapshot);
	if (rc == 0)
		memcpy(ret_snapshot->object, object, sizeof(object));
	free(data);
	return rc;
}

void praas_snapshot_keep_own(struct praas_snapshot *s)
{
	uint64_t kept = 0;

	for (uint64_t i = 0; i < s->records_count; i++) {
		struct praas_snapshot_record *r = &s->records[i];

		/* A call of another time: it is made anew, by whoever has the name then. */
		if (r->record.kind == PRAAS_EXPORT_STAGE)
			r->record.source = r->record.id = r->record.sequence = 0;
		if (r->record.kind == PRAAS_EXPORT_STATE ||
		    r->record.kind == PRAAS_EXPORT_MESSAGE ||
		    r->record.kind == PRAAS_EXPORT_TRIGGER ||
		    r->record.kind == PRAAS_EXPORT_JOINED ||
		    r->record.kind == PRAAS_EXPORT_TIMEOUT ||
		    r->record.kind == PRAAS_EXPORT_STAGE)
			s->records[kept++] = *r;
		else
			s->value_bytes -= r->record.bytes;
	}
	s->records_count = kept;
}

int praas_snapshot_keep_agreed(struct praas_snapshot *s,
			       const struct praas_snapshot *last)
{
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < last->records_count; i++) {
		const struct praas_export_record *r = &last->records[i].record;

		if (r->kind == PRAAS_EXPORT_QUEUE || r->kind == PRAAS_EXPORT_ACCEPTED ||
		    r->kind == PRAAS_EXPORT_SENT || r->kind == PRAAS_EXPORT_LOG)
			rc = praas_snapshot_add(s, r);
	}
	return rc;
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
	uint32_t places_next = 0;
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < s->records_count; i++) {
		struct praas_export_record record = s->records[i].record;

		if (record.kind == PRAAS_EXPORT_LOG)
			continue; /* no part of the process */
		if (record.kind == PRAAS_EXPORT_TRIGGER ||
		    record.kind == PRAAS_EXPORT_TIMEOUT)
			rc = translate(s, functions, functions_count, record.function,
				       &record.function);
		if (s->places && praas_places_has(s->places, &s->records[i]))
			record.place = ++places_next;
		else if (s->late && praas_snapshot_late_is(&s->records[i]))
			record.late = praas_snapshot_late_at(s->late, late_next++);
		else if (rc == 0)
			rc = load_value(&w, &s->records[i], &record.data);
		if (rc == 0)
			rc = fn(user, &record);
	}
	free(w.data);
	return rc;
}
