/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "controller/store/named.h"
#include "internal/base.h"
#include "internal/bytes.h"

#define PIECE_BYTES (4u << 20)
#define INSIDE ((uint32_t)~0u) /* chunk number of a value that is in the manifest */
#define SEEN_MIN 1024u

struct place {
	uint64_t chunk, offset; /* nonce of the chunk; 0, 0: nobody */
};

struct checking {
	struct praas_store *store;
	struct praas_slot_log log;
	struct praas_slot_entry entry;
	struct praas_check_report *report;
	praas_check_fn fn;
	void *user;
	uint8_t *piece;
	XXH3_state_t *hash;
	struct place *seen; /* values that were compared, hashed by place */
	size_t seen_count, seen_room;
	struct praas_refs kept[PRAAS_NAMED_MAX + 2];
	const struct praas_refs *keep[PRAAS_NAMED_MAX + 2];
	unsigned kept_count;
};

const char *praas_check_word(enum praas_check_kind kind)
{
	static const char *const words[] = { "unreadable", "missing", "corrupt",
					     "unneeded" };

	return words[kind];
}

static void found(struct checking *c, enum praas_check_kind kind, const char *key,
		  const char *why)
{
	uint64_t *const counts[] = { &c->report->unreadable, &c->report->missing,
				     &c->report->corrupt, &c->report->orphans };

	++*counts[kind];
	c->fn(c->user, kind, key, why);
}

/* ---- the log ---- */

struct slots {
	struct checking *c;
	uint64_t next;
	bool any;
	int rc;
};

/* 0: goes on; else it cannot be looked at. */
static int judge(struct checking *c, int rc, const char *key, const char *why)
{
	if (rc == -EPROTO)
		found(c, PRAAS_CHECK_UNREADABLE, key, why);
	return rc == -EPROTO ? 0 : rc;
}

static int check_entry(void *user, const char *key)
{
	struct slots *s = user;
	struct checking *c = s->c;
	char *end, before[PRAAS_STORE_KEY_MAX + 1];
	uint64_t slot = strtoull(key + 4, &end, 10);
	int rc;

	if (strlen(key) != 24 || *end != '\0')
		return 0;
	for (; s->any && s->next < slot; s->next++) {
		praas_slot_key(s->next, before);
		found(c, PRAAS_CHECK_MISSING, before,
		      "there are older and newer entries");
	}
	s->any = true;
	s->next = slot + 1;
	c->report->entries++;
	rc = praas_slot_log_read(&c->log, slot, &c->entry);
	if (rc == -ENOENT) /* it was collected just now */
		return 0;
	if (rc == 0 && c->entry.kind == PRAAS_SLOT_TOMB)
		c->report->deleted = true;
	return judge(c, rc, key, "it is no entry of this log");
}

/* ---- values ---- */

/* False: it was there. Offset 0 of the chunk with nonce 0 is never remembered. */
static bool seen_put(struct place *all, size_t room, struct place p)
{
	size_t i = room ? (size_t)(XXH3_64bits(&p, sizeof(p)) & (room - 1)) : 0;

	for (size_t n = 0; n < room; n++, i = (i + 1) & (room - 1)) {
		if (all[i].chunk == 0 && all[i].offset == 0) {
			all[i] = p;
			return true;
		}
		if (all[i].chunk == p.chunk && all[i].offset == p.offset)
			return false;
	}
	return room == 0;
}

/* Half of it stays free. Without memory for that some values are compared twice. */
static void seen_grow(struct checking *c)
{
	size_t room = c->seen_room ? c->seen_room * 2 : SEEN_MIN;
	struct place *more = calloc(room, sizeof(*more));

	if (!more)
		return;
	for (size_t i = 0; i < c->seen_room; i++)
		if (c->seen[i].chunk != 0 || c->seen[i].offset != 0)
			(void)seen_put(more, room, c->seen[i]); /* there is room */
	free(c->seen);
	c->seen = more;
	c->seen_room = room;
}

static bool seen_add(struct checking *c, struct place p)
{
	if (c->seen_count * 2 >= c->seen_room)
		seen_grow(c);
	if (!seen_put(c->seen, c->seen_room, p))
		return false;
	c->seen_count++;
	return true;
}

/* A value, piece by piece. -EPROTO: it ends too early, or has another hash. */
static int compare(struct checking *c, const char *key, uint64_t offset, uint64_t bytes,
		   const uint8_t *hash)
{
	XXH128_canonical_t sum;

	(void)XXH3_128bits_reset(c->hash); /* not NULL: no error */
	for (uint64_t at = 0; at < bytes;) {
		size_t n = (size_t)praas_min_u64(PIECE_BYTES, bytes - at), got = 0;
		int rc = c->store->ops->get(c->store, key, offset + at, c->piece, n,
					    &got);

		if (rc != 0)
			return rc;
		if (got != n)
			return -EPROTO;
		(void)XXH3_128bits_update(c->hash, c->piece, n);
		at += n;
	}
	XXH128_canonicalFromHash(&sum, XXH3_128bits_digest(c->hash));
	c->report->values++;
	c->report->bytes += bytes;
	return memcmp(sum.digest, hash, sizeof(sum.digest)) == 0 ? 0 : -EPROTO;
}

static int check_value(struct checking *c, const struct praas_refs *refs,
		       const bool *absent, const uint8_t *record)
{
	uint32_t chunk = (uint32_t)praas_get_le(record + 8, 4);
	uint64_t offset = praas_get_le(record + 56, 8);
	uint64_t bytes = praas_get_le(record + 64, 8);
	char key[PRAAS_STORE_KEY_MAX + 1], why[PRAAS_STORE_WHY_BYTES];
	const struct praas_snapshot_chunk *in;
	int rc;

	if (chunk == INSIDE || absent[chunk])
		return 0;
	in = &refs->chunks[chunk];
	if (!seen_add(c, (struct place){ in->nonce, offset }))
		return 0;
	praas_snapshot_chunk_key(in, key);
	rc = compare(c, key, offset, bytes, record + 80);
	if (rc == -EPROTO) {
		(void)snprintf(why, sizeof(why),
			       "the value of \"%.*s\", %" PRIu64 " bytes at %" PRIu64
			       ", is not what was written",
			       (int)record[1],
			       (const char *)record + PRAAS_SNAPSHOT_RECORD_BYTES,
			       bytes, offset);
		found(c, PRAAS_CHECK_CORRUPT, key, why);
		return 0;
	}
	return rc == -ENOENT
		       ? 0
		       : rc; /* it was swept meanwhile: told by who asked for it */
}

/* Bytes of a record with all that follows it; 0: it is none, or too long. */
static uint64_t record_bytes(const struct praas_refs *refs, const uint8_t *at,
			     uint64_t left)
{
	uint64_t bytes, offset, value;
	uint32_t chunk;

	if (left < PRAAS_SNAPSHOT_RECORD_BYTES)
		return 0;
	chunk = (uint32_t)praas_get_le(at + 8, 4);
	offset = praas_get_le(at + 56, 8);
	value = praas_get_le(at + 64, 8);
	bytes = PRAAS_SNAPSHOT_RECORD_BYTES + at[1];
	if (chunk == INSIDE) {
		if (value > left)
			return 0;
		bytes += value;
	} else if (chunk >= refs->chunks_count || value > refs->chunks[chunk].bytes ||
		   offset > refs->chunks[chunk].bytes - value) {
		return 0;
	}
	bytes = praas_align_up(bytes, 8);
	return bytes <= left ? bytes : 0;
}

static int check_records(struct checking *c, const struct praas_refs *refs,
			 const bool *absent, const uint8_t *data, uint64_t bytes)
{
	uint64_t at = PRAAS_SNAPSHOT_HEAD_BYTES +
		      (uint64_t)refs->chunks_count * PRAAS_SNAPSHOT_CHUNK_ENTRY_BYTES +
		      (uint64_t)refs->functions_count * PRAAS_SNAPSHOT_FUNCTION_BYTES;
	uint64_t end = bytes - PRAAS_SNAPSHOT_HASH_BYTES;
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < refs->records_count; i++) {
		uint64_t n = record_bytes(refs, data + at, end - at);

		if (n == 0)
			return -EPROTO;
		rc = check_value(c, refs, absent, data + at);
		at += n;
	}
	return rc == 0 && at != end ? -EPROTO : rc;
}

/* ---- snapshots ---- */

/* What is not there may have been replaced while we looked. */
static int is_kept(struct checking *c, uint64_t slot, bool named, bool *ret_kept)
{
	int rc = praas_slot_log_refresh(&c->log);

	*ret_kept =
		named || slot == c->log.snapshot_slot || slot == c->log.previous_slot;
	return rc == -ESTALE ? 0 : rc;
}

static int check_chunks(struct checking *c, const struct praas_refs *refs,
			uint64_t slot, bool named, bool *absent)
{
	char key[PRAAS_STORE_KEY_MAX + 1], why[64];
	uint64_t bytes = 0;
	bool kept = true;
	int rc = 0;

	(void)snprintf(why, sizeof(why), "the snapshot in slot %" PRIu64 " needs it",
		       slot);
	for (uint32_t i = 0; rc == 0 && i < refs->chunks_count; i++) {
		praas_snapshot_chunk_key(&refs->chunks[i], key);
		c->report->chunks++;
		rc = c->store->ops->stat(c->store, key, &bytes);
		absent[i] = rc == -ENOENT;
		if (rc == -ENOENT) {
			rc = is_kept(c, slot, named, &kept);
			if (rc == 0 && kept)
				found(c, PRAAS_CHECK_MISSING, key, why);
		} else if (rc == 0 && bytes < refs->chunks[i].bytes) {
			found(c, PRAAS_CHECK_CORRUPT, key, "it is too short");
			absent[i] = true;
		}
	}
	return rc;
}

static int check_manifest(struct checking *c, const uint8_t *data, uint64_t bytes,
			  uint64_t slot, bool named, const char *object)
{
	struct praas_refs *refs = &c->kept[c->kept_count];
	bool *absent;
	int rc = praas_refs_decode(data, bytes, refs);

	if (rc != 0)
		return rc;
	memcpy(refs->object, object, PRAAS_STORE_KEY_MAX + 1);
	c->keep[c->kept_count] = refs;
	c->kept_count++;
	c->report->snapshots++;
	absent = calloc((size_t)refs->chunks_count + 1, sizeof(*absent));
	if (!absent)
		return -ENOMEM;
	rc = check_chunks(c, refs, slot, named, absent);
	if (rc == 0)
		rc = check_records(c, refs, absent, data, bytes);
	free(absent);
	return rc;
}

static int check_snapshot(struct checking *c, uint64_t slot, bool named)
{
	char key[PRAAS_STORE_KEY_MAX + 1], object[PRAAS_STORE_KEY_MAX + 1] = "";
	uint8_t *data = NULL;
	uint64_t bytes = 0;
	bool kept = true;
	int rc;

	if (slot == PRAAS_SLOT_NONE)
		return 0;
	praas_slot_key(slot, key);
	rc = praas_slot_log_read(&c->log, slot, &c->entry);
	if (rc == -EPROTO)
		return 0; /* told with the log */
	if (rc == 0)
		rc = praas_refs_read(c->store, &c->entry, &data, &bytes, object);
	if (rc == 0)
		rc = check_manifest(c, data, bytes, slot, named, object);
	free(data);
	if (rc == -ENOENT) {
		rc = is_kept(c, slot, named, &kept);
		if (rc == 0 && kept)
			found(c, PRAAS_CHECK_MISSING, object[0] != '\0' ? object : key,
			      "a kept snapshot needs it");
		return rc;
	}
	return judge(c, rc, object[0] != '\0' ? object : key, "it is no manifest");
}

static int check_names(struct checking *c)
{
	struct praas_named *names = calloc(PRAAS_NAMED_MAX, sizeof(*names));
	char key[PRAAS_STORE_KEY_MAX + 1];
	unsigned count = 0;
	int rc = names ? praas_named_list(&c->log, NULL, PRAAS_NAMED_MAX, names, &count)
		       : -ENOMEM;

	for (unsigned i = 0; rc == 0 && i < count; i++) {
		if (names[i].slot != PRAAS_SLOT_NONE) {
			rc = check_snapshot(c, names[i].slot, true);
			continue;
		}
		if (praas_named_key(names[i].name, key) == 0)
			found(c, PRAAS_CHECK_UNREADABLE, key,
			      "it does not say which snapshot it is of");
	}
	free(names);
	return rc;
}

/* ---- what nobody needs ---- */

static int check_orphan(void *user, const char *key)
{
	struct checking *c = user;
	uint64_t bytes = 0;
	int rc = c->store->ops->stat(c->store, key, &bytes);

	if (rc != 0)
		return rc == -ENOENT ? 0 : rc;
	c->report->orphan_bytes += bytes;
	found(c, PRAAS_CHECK_ORPHAN, key, "no kept snapshot refers to it");
	return 0;
}

static int run(struct checking *c)
{
	struct slots s = { .c = c };
	struct praas_slot_log *log = &c->log;
	int rc = c->store->ops->list(c->store, "log/", NULL, check_entry, &s);

	if (rc == 0)
		rc = praas_slot_log_open(c->store, &c->log.id, log);
	if (rc == -EPROTO) /* told above: what it would have led to is not known */
		return 0;
	if (rc != 0 || log->tomb)
		return rc;
	rc = check_names(c);
	if (rc == 0 && log->previous_slot != PRAAS_SLOT_NONE)
		rc = check_snapshot(c, log->previous_slot, false);
	if (rc == 0)
		rc = check_snapshot(c, log->snapshot_slot, false);
	/* While something cannot be read it is not known what it needs. */
	if (rc == 0 && c->report->unreadable == 0)
		rc = praas_refs_unneeded(c->store, c->keep, c->kept_count, check_orphan,
					 c);
	return rc;
}

int praas_check_store(struct praas_store *store, praas_check_fn fn, void *user,
		      struct praas_check_report *ret_report)
{
	struct checking *c = calloc(1, sizeof(*c));
	struct praas_slot_id id;
	int rc;

	*ret_report = (struct praas_check_report){ 0 };
	if (!c)
		return -ENOMEM;
	c->store = store;
	c->report = ret_report;
	c->fn = fn;
	c->user = user;
	c->piece = malloc(PIECE_BYTES);
	c->hash = XXH3_createState();
	rc = c->piece && c->hash ? praas_slot_log_identify(store, &id) : -ENOMEM;
	if (rc == 0) {
		c->log = (struct praas_slot_log){ .store = store, .id = id };
		rc = run(c);
	}
	for (unsigned i = 0; i < c->kept_count; i++)
		praas_refs_release(&c->kept[i]);
	free(c->piece);
	(void)XXH3_freeState(c->hash); /* NULL is allowed */
	free(c->seen);
	free(c);
	return rc;
}
