/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/snapshot_late.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"

/*
 * Each value is read straight to its place, and its hash is compared before anybody is shown it.
 */

struct item {
	struct praas_late late;
	struct praas_snapshot_late *set;
	uint64_t offset;
	uint32_t chunk;
	uint8_t hash[PRAAS_SNAPSHOT_HASH_BYTES];
};

struct praas_snapshot_late {
	struct praas_store *store; /* the data thread's */
	struct praas_snapshot_chunk *chunks;
	uint64_t count;
	uint64_t next, failed; /* of step() */
	struct item items[];
};

bool praas_snapshot_late_is(const struct praas_snapshot_record *r)
{
	return r->record.kind == PRAAS_EXPORT_STATE &&
	       r->chunk != PRAAS_SNAPSHOT_INLINE &&
	       r->record.bytes >= PRAAS_SNAPSHOT_LATE_VALUE_MIN;
}

/* 0; -EPROTO: it is not what was written. */
static int read_item(const struct item *item, struct praas_store *store)
{
	const struct praas_late *late = &item->late;
	uint8_t hash[PRAAS_SNAPSHOT_HASH_BYTES];
	char key[PRAAS_STORE_KEY_MAX + 1];
	size_t got = 0;
	int rc;

	praas_snapshot_chunk_key(&item->set->chunks[item->chunk], key);
	rc = store->ops->get(store, key, item->offset, late->data, (size_t)late->bytes,
			     &got);
	if (rc != 0)
		return rc;
	if (got != late->bytes)
		return -EPROTO;
	praas_snapshot_hash(late->data, late->bytes, hash);
	return memcmp(hash, item->hash, sizeof(hash)) == 0 ? 0 : -EPROTO;
}

static int load(struct praas_late *late)
{
	const struct item *item =
		(const struct item *)(const void *)((const char *)late -
						    offsetof(struct item, late));

	return read_item(item, item->set->store);
}

int praas_snapshot_late_new(struct praas_store *store, const struct praas_snapshot *s,
			    struct praas_snapshot_late **ret_late)
{
	struct praas_snapshot_late *late;
	const struct praas_refs refs = praas_snapshot_refs(s);
	uint64_t count = 0, bytes = 0, at = 0;
	int rc;

	*ret_late = NULL;
	for (uint64_t i = 0; i < s->records_count; i++) {
		if (!praas_snapshot_late_is(&s->records[i]))
			continue;
		count++;
		bytes += s->records[i].record.bytes;
	}
	if (bytes < PRAAS_SNAPSHOT_LATE_BYTES)
		return 0;
	/* Damage that shows without reading is the whole snapshot's, and shows now. */
	rc = praas_refs_check(store, &refs);
	if (rc != 0)
		return rc;
	late = calloc(1, sizeof(*late) + (size_t)count * sizeof(late->items[0]));
	if (!late)
		return -ENOMEM;
	late->chunks = malloc((size_t)s->chunks_count * sizeof(*late->chunks));
	if (!late->chunks) {
		free(late);
		return -ENOMEM;
	}
	memcpy(late->chunks, s->chunks,
	       (size_t)s->chunks_count * sizeof(*late->chunks));
	late->store = store;
	late->count = count;
	for (uint64_t i = 0; i < s->records_count; i++) {
		const struct praas_snapshot_record *r = &s->records[i];
		struct item *item = &late->items[at];

		if (!praas_snapshot_late_is(r))
			continue;
		at++;
		item->late.load = load;
		item->set = late;
		item->offset = r->offset;
		item->chunk = r->chunk;
		memcpy(item->hash, r->hash, sizeof(item->hash));
	}
	*ret_late = late;
	return 0;
}

void praas_snapshot_late_free(struct praas_snapshot_late *late)
{
	if (!late)
		return;
	free(late->chunks);
	free(late);
}

struct praas_late *praas_snapshot_late_at(struct praas_snapshot_late *late, uint64_t i)
{
	return i < late->count ? &late->items[i].late : NULL;
}

int praas_snapshot_late_step(struct praas_snapshot_late *late,
			     struct praas_store *store, uint64_t bytes_max)
{
	uint64_t bytes = 0;

	while (late->next < late->count && bytes < bytes_max) {
		struct item *item = &late->items[late->next++];
		int rc;

		if (!item->late.data || !praas_late_claim(&item->late))
			continue;
		rc = read_item(item, store);
		late->failed += rc != 0;
		praas_late_done(&item->late, rc);
		bytes += item->late.bytes +
			 4096; /* a small one costs a look-up as well */
	}
	return late->next < late->count ? 0 : -ENODATA;
}

uint64_t praas_snapshot_late_failed(const struct praas_snapshot_late *late)
{
	return late->failed;
}
