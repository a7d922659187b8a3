/* SPDX-License-Identifier: Apache-2.0
 *
 * What a snapshot refers to: the objects of the store that its slot-log entry stands for, known from the
 * head of its manifest without reading what the manifest says of the process (docs/snapshot-format.md). For
 * whoever keeps, removes or copies snapshots as they are.
 */
#ifndef PRAAS_CONTROLLER_STORE_REFS_H
#define PRAAS_CONTROLLER_STORE_REFS_H

#include <stdint.h>

#include "controller/store/slot_log.h"

#define PRAAS_SNAPSHOT_VERSION                                                         \
	4u /* the highest that is known; each manifest has the lowest that will do */
#define PRAAS_SNAPSHOT_HASH_BYTES 16u
#define PRAAS_SNAPSHOT_MANIFEST_MAX (1ull << 30)
#define PRAAS_SNAPSHOT_CHUNKS_MAX 65536u
#define PRAAS_SNAPSHOT_FUNCTIONS_MAX 65535u
#define PRAAS_SNAPSHOT_RECORDS_MAX (1u << 22)
#define PRAAS_SNAPSHOT_VALUE_MAX (1ull << 46)

/* Bytes of a manifest's parts, in their order; a record is followed by its key and a value inside. */
#define PRAAS_SNAPSHOT_HEAD_BYTES 64u
#define PRAAS_SNAPSHOT_CHUNK_ENTRY_BYTES 32u
#define PRAAS_SNAPSHOT_FUNCTION_BYTES 72u
#define PRAAS_SNAPSHOT_RECORD_BYTES 96u

#define PRAAS_SNAPSHOT_MAGIC 0x314e414d53415250ull /* "PRASMAN1" */
/* Body of an entry whose manifest is an object of its own. */
#define PRAAS_SNAPSHOT_REF_MAGIC 0x3146455253415250ull /* "PRASREF1" */
#define PRAAS_SNAPSHOT_REF_BYTES 48u

#define PRAAS_REFS_NAME_BYTES 64u /* "chunk/", 32 digits, "-", 16 digits, and more */

struct praas_snapshot_chunk {
	uint8_t hash[PRAAS_SNAPSHOT_HASH_BYTES]; /* of the hashes of what is in it */
	uint64_t nonce; /* of the writer: the rest of its name */
	uint64_t bytes;
};

struct praas_refs {
	struct praas_snapshot_chunk *chunks; /* malloc'd */
	uint32_t chunks_count, functions_count;
	uint64_t records_count;
	uint64_t value_bytes; /* sum over the records */
	uint64_t created_ns;  /* CLOCK_REALTIME */
	char object[PRAAS_STORE_KEY_MAX +
		    1]; /* of the manifest; "" when it is in the entry */
};

/* Name of a chunk. */
void praas_snapshot_chunk_key(const struct praas_snapshot_chunk *chunk,
			      char ret_key[PRAAS_STORE_KEY_MAX + 1]);
void praas_snapshot_hash(const void *data, uint64_t bytes,
			 uint8_t ret_hash[PRAAS_SNAPSHOT_HASH_BYTES]);

/* The manifest that an entry stands for, whole, malloc'd; and the name of its object. 0; -EPROTO; -ENOENT
 * it is gone; or what the store says. */
int praas_refs_read(struct praas_store *store, const struct praas_slot_entry *entry,
		    uint8_t **ret_data, uint64_t *ret_bytes,
		    char ret_object[PRAAS_STORE_KEY_MAX + 1]);

/* Head and checksum of a manifest, without its chunks. Nothing is to be allocated on the word of a
 * manifest before these are right, and then no more than its own size justifies. 0; -EPROTO. */
int praas_refs_head(const uint8_t *data, uint64_t bytes, struct praas_refs *ret_refs);
/* The chunks, too. 0; -EPROTO; -ENOMEM. */
int praas_refs_decode(const uint8_t *data, uint64_t bytes, struct praas_refs *ret_refs);
/* The same of an entry. As praas_refs_read(). */
int praas_refs_open(struct praas_store *store, const struct praas_slot_entry *entry,
		    struct praas_refs *ret_refs);
/* A zeroed one is allowed. */
void praas_refs_release(struct praas_refs *refs);

/* Whether all chunks are there and long enough: damage that shows without reading. 0; -ENOENT; -EPROTO. */
int praas_refs_check(struct praas_store *store, const struct praas_refs *refs);

/* Tells fn of every chunk and manifest in the store that none of keep refers to. What fn returns ends it. */
int praas_refs_unneeded(struct praas_store *store, const struct praas_refs *const *keep,
			unsigned keep_count, praas_store_list_fn fn, void *user);

/* Delete every chunk and manifest in the store that none of keep refers to. Only for who owns the current
 * epoch: `still`, asked when it is known what is to go and before anything does, says by 0 that he does (NULL: nobody else is
 * there). */
int praas_refs_sweep(struct praas_store *store, const struct praas_refs *const *keep,
		     unsigned keep_count, int (*still)(void *user), void *user);
/* Delete what dead refers to and none of keep does. For anybody. */
int praas_refs_remove(struct praas_store *store, const struct praas_refs *dead,
		      const struct praas_refs *const *keep, unsigned keep_count);

#endif
