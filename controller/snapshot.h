/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots: what a process is while it is swapped out (docs/snapshot-format.md). A *manifest*
 * lists every state object, unread message, remembered result and waiting trigger input, and
 * says where its value lies: in the manifest itself, or in a *chunk*, an object of the store that
 * holds many values. Values that have not changed since the snapshot before stay where
 * they are: the manifest names the old chunk.
 *
 * A snapshot is untrusted input: every length is bounded and checked, every value has a checksum.
 * One thread at a time per store.
 */
#ifndef PRAAS_CONTROLLER_SNAPSHOT_H
#define PRAAS_CONTROLLER_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/store/refs.h"
#include "controller/store/slot_log.h"
#include "dataplane/process.h"

#define PRAAS_SNAPSHOT_INLINE_MAX 256u /* values up to here in the manifest */
#define PRAAS_SNAPSHOT_ALIGN 64u       /* of values in chunks */
#define PRAAS_SNAPSHOT_CHUNK_BYTES (256ull << 20) /* a chunk is closed above this */
#define PRAAS_SNAPSHOT_INLINE ((uint32_t)~0u)     /* chunk number of a value inside */

struct praas_snapshot_record {
	struct praas_export_record
		record; /* data: NULL unless inside, or while writing */
	uint8_t hash[PRAAS_SNAPSHOT_HASH_BYTES]; /* of the value; zero when inside */
	uint32_t chunk;                          /* or PRAAS_SNAPSHOT_INLINE */
	uint64_t offset;                         /* in the chunk */
};

struct praas_snapshot_text;
struct praas_snapshot_late;
struct praas_places;

/* A snapshot as we know it: decoded, or being written. Owns all it points to but values. */
struct praas_snapshot {
	struct praas_snapshot_chunk *chunks;
	uint32_t chunks_count;
	char (*functions)[PRAAS_NAME_MAX + 1]; /* names by the numbers in the records */
	uint32_t functions_count;
	struct praas_snapshot_record *records;
	uint64_t records_count, records_room;
	uint64_t value_bytes; /* sum over the records */
	uint64_t created_ns;  /* CLOCK_REALTIME */
	bool rewrite; /* as a base: values that are in memory are written anew, wherever they lie */
	bool compact; /* as a base: so are some that are not, from chunks that are more than half garbage */
	uint8_t *text; /* decoded: keys and values inside point here */
	struct praas_snapshot_text *blocks; /* collected: keys point here */
	struct praas_snapshot_late
		*late;               /* borrowed: what comes later (snapshot_late.h) */
	struct praas_places *places; /* borrowed: what stays in the store (places.h) */
	char object[PRAAS_STORE_KEY_MAX +
		    1]; /* of the manifest; "" when it is in the entry */
};

/* ---- records that say something of the input that follows ---- */

static inline bool praas_snapshot_opens(enum praas_export_kind kind)
{
	return kind == PRAAS_EXPORT_STAGE || kind == PRAAS_EXPORT_JOINED;
}
/* Whether one of that kind may stand there; open: behind such a one. Where a pipeline goes on comes first. */
static inline bool praas_snapshot_follows(bool open, enum praas_export_kind kind)
{
	return !open || kind == PRAAS_EXPORT_JOINED || kind == PRAAS_EXPORT_TRIGGER;
}

/* ---- collecting ---- */

/* Add a record: a praas_export_fn whose user is a zeroed struct praas_snapshot. The key is copied,
 * the value only referred to: it must stay until the snapshot is written. -ENOMEM; -E2BIG. */
int praas_snapshot_add(void *snapshot, const struct praas_export_record *record);

/* Memory that lives as long as the snapshot; NULL: there is none. */
uint8_t *praas_snapshot_room(struct praas_snapshot *snapshot, uint64_t bytes);
/* What of other was made by add() and room() lives on with snapshot; other is released. */
void praas_snapshot_adopt(struct praas_snapshot *snapshot,
			  struct praas_snapshot *other);
/* Up to which record of its log all is in it; 0: there is none. */
uint64_t praas_snapshot_log(const struct praas_snapshot *snapshot);

/* ---- writing ---- */

struct praas_snapshot_result {
	uint64_t bytes_written; /* of chunks and manifest */
	uint64_t bytes_reused;  /* values that stayed where they were */
};

/**
 * Write chunks and manifest of a collected snapshot, durably, and make the body of the slot-log
 * entry that will commit it. functions: of the process, by number. base: the snapshot before, whose
 * values may be reused; NULL: none. After success snapshot describes what was written
 * (its values are no longer referred to). On failure some chunks may be left: garbage.
 */
int praas_snapshot_write(struct praas_store *store, struct praas_snapshot *snapshot,
			 const struct praas_function *functions,
			 uint32_t functions_count, const struct praas_snapshot *base,
			 struct praas_slot_entry *entry,
			 struct praas_snapshot_result *ret_result);

/* ---- reading ---- */

/* Decode a manifest. 0; -EPROTO; -ENOMEM. data is copied. */
int praas_snapshot_decode(const uint8_t *data, uint64_t bytes,
			  struct praas_snapshot *ret_snapshot);
/* The manifest that a SNAP or REL entry stands for. 0; -EPROTO damaged; -ENOENT it is gone; or
 * what the store says. */
int praas_snapshot_open(struct praas_store *store, const struct praas_slot_entry *entry,
			struct praas_snapshot *ret_snapshot);

/* Of the snapshot of a BACK entry: only what the process itself was. What it had answered, and had agreed
 * upon with others, is of another time. */
void praas_snapshot_keep_own(struct praas_snapshot *snapshot);
/* What it has agreed upon with others since stands in last, its own snapshot before that entry: which places of
 * messages it has accepted and given out. Added; messages of last's outbox are not. 0; -ENOMEM; -E2BIG. */
int praas_snapshot_keep_agreed(struct praas_snapshot *snapshot,
			       const struct praas_snapshot *last);

/**
 * Read all values, check them, and hand the records over in their order. functions: of the
 * process; numbers are translated by name. With snapshot->late large state is handed over
 * without its value. 0; -EPROTO a value is damaged; -ENOENT a chunk is
 * gone, or a function that a record needs; or what fn or the store says.
 */
int praas_snapshot_load(struct praas_store *store,
			const struct praas_snapshot *snapshot,
			const struct praas_function *functions,
			uint32_t functions_count, praas_export_fn fn, void *user);

/* What it refers to; borrowed from it. */
struct praas_refs praas_snapshot_refs(const struct praas_snapshot *snapshot);

/* A zeroed one is allowed. */
void praas_snapshot_release(struct praas_snapshot *snapshot);

/* ---- shared by the parts of this module ---- */

/* malloc'd, the caller's. -EMSGSIZE; -ENOMEM. */
int praas_snapshot_encode(const struct praas_snapshot *snapshot, uint8_t **ret_data,
			  uint64_t *ret_bytes);

#endif
