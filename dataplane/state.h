/* SPDX-License-Identifier: Apache-2.0
 *
 * The state: private truth of the data thread, and the writer of the published index. Objects,
 * keys, their order, leases and sizes are private; what is published is never read back.
 */
#ifndef PRAAS_DATAPLANE_STATE_H
#define PRAAS_DATAPLANE_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/keys.h"
#include "dataplane/late.h"
#include "dataplane/overflow.h"
#include "dataplane/process_fn.h"
#include "dataplane/state_index.h"
#include "dataplane/value.h"
#include "dataplane/worker_proto.h"
#include "shm/pool.h"

struct praas_changes;

#define PRAAS_LEASES_MAX 1024u
#define PRAAS_RETIRED_MAX                                                              \
	65536u /* values that wait for readers; far more than one commit's */
#define PRAAS_KEY_CHUNK 4096u /* bytes of published keys taken from the pool at once */

struct praas_object {
	struct praas_value value;
	uint64_t version; /* 0: being made, or kept for its lease only */
	uint64_t modified_ns;
	uint64_t hash;
	uint32_t cell;
	uint32_t slot; /* in the table */
	uint32_t left,
		right;  /* in the order of keys, + 1; right also of the free list */
	uint32_t lease; /* + 1; 0: none */
	struct praas_late *late; /* its value is not there yet; NULL: it is */
	/* Of state beyond memory (overflow.h). */
	uint32_t place;          /* of this version in the store, + 1; 0: none known */
	uint32_t colder, warmer; /* in the order of use, + 1; place is known */
	uint32_t fetch;          /* that brings it, + 1; 0: none */
	uint8_t rest;            /* enum praas_rest */
	uint8_t key_bytes;
	bool torn;
	bool live; /* in the table */
	bool seen; /* by the checks of the commit under way */
};

/* A slot of the table: ours, and the sequence that we last published in it. */
struct praas_state_slot {
	uint32_t object; /* + 1; 0: free */
	uint32_t tag;    /* low bits of its hash */
	uint64_t sequence;
};

enum praas_lease_state {
	PRAAS_LEASE_ACTIVE = 1, /* an update is under way */
	PRAAS_LEASE_KEPT,       /* none, as far as we know: the holder need not ask */
	PRAAS_LEASE_RECALLED    /* the holder has been told to end it */
};

struct praas_lease {
	uint32_t object; /* + 1; 0: this lease is free */
	uint32_t next;   /* free list, + 1 */
	uint32_t holder;
	uint8_t state; /* enum praas_lease_state */
	bool replaced; /* the object was put or deleted meanwhile: the update came before that */
	/* Of a holder that updates without asking while the lease is kept: see praas_fn_wait. */
	const _Atomic uint64_t *word; /* NULL: it asks or tells each time */
	_Atomic uint64_t *ended;
	uint64_t number; /* ended >= number: it is over */
	uint64_t count;  /* of its updates that we know */
	uint64_t
		version; /* of the object with these; before the first one: what it will be */
	struct praas_fn_wait *wait_first, *wait_last;
};

struct praas_retired {
	struct praas_value value;
	uint64_t epoch;
};

struct praas_state {
	/* Looked at in every read and write. */
	struct praas_state_slot *slots;
	struct praas_object *objects;
	uint64_t mask;
	uint64_t seed;
	struct praas_state_header *header; /* published */
	struct praas_state_entry *entries; /* published */
	uint64_t sequence;                 /* of the header, as published */
	uint32_t changing;                 /* depth of changes that are seen together */
	uint64_t version;
	uint64_t count, bytes, bytes_max;
	uint32_t holds; /* > 0: nothing is released */
	uint32_t readers_count;

	struct praas_keys keys;
	uint64_t *chunks[PRAAS_KEY_CLASSES]; /* offsets in the pool of published keys */
	uint32_t chunks_max[PRAAS_KEY_CLASSES];
	uint32_t keys_max;
	uint32_t objects_max; /* some more: a commit makes before it deletes */
	uint32_t used, free;
	uint32_t root; /* of the order of keys */
	struct praas_pool *pool;
	const struct praas_segment *segment;
	uint64_t header_offset, entries_offset;

	struct praas_retired *retired; /* ring, PRAAS_RETIRED_MAX */
	uint64_t retired_head, retired_tail, retired_bytes;
	uint64_t epoch; /* as published */
	const struct praas_state_reader_line *readers[PRAAS_WORKERS_MAX];

	struct praas_lease *leases;
	uint32_t leases_used, leases_free;
	uint32_t words;              /* leases whose holder does not ask */
	struct praas_fn_wait *waits; /* all that wait for leases */
	praas_recall_fn recall;
	void *recall_user;
	uint32_t *scratch; /* objects of the commit under way, PRAAS_WRITES_MAX */
	struct praas_changes *changes;   /* NULL: nobody wants them */
	struct praas_overflow *overflow; /* NULL: all of it is in memory */
};

/* 0; -ENOMEM; -ENOSPC the pool has no room for the index. */
int praas_state_init(struct praas_state *s, struct praas_pool *pool,
		     const struct praas_segment *segment, uint32_t keys_max,
		     uint64_t bytes_max);
void praas_state_release(struct praas_state *s);

/* ---- state.c ---- */

/* The object of a key, also a dead one that is kept for its lease; NULL: none. */
struct praas_object *praas_state_find(const struct praas_state *s, const char *key,
				      uint32_t key_bytes);
/* praas_process_fn_commit(), but the checks of keys and sizes. sequence 0. */
int praas_objects_commit(struct praas_state *s, struct praas_state_write *writes,
			 uint32_t count, uint64_t *ret_version);
/* Adds an object that is not there yet, as it was (import). 0; -EEXIST; -ENOSPC; -ENOBUFS. */
int praas_state_import(struct praas_state *s, const char *key, uint32_t key_bytes,
		       uint64_t version, uint64_t modified_ns,
		       struct praas_value *value);
/* An object that is not live, found or made; NULL: too many keys, or no memory. */
struct praas_object *praas_state_object_get(struct praas_state *s, const char *key,
					    uint32_t key_bytes);
/* Away with an object that is not live and has no lease. */
void praas_state_object_drop(struct praas_state *s, struct praas_object *o);
/* Writes o as it is into the published index. */
void praas_state_publish(struct praas_state *s, const struct praas_object *o);
/* o is this value from now on (given), of the next version, and is published. */
void praas_state_replace(struct praas_state *s, struct praas_object *o,
			 struct praas_value *value, uint64_t version, uint64_t now_ns);
/* Brings the value of an object with late set. 0; -EIO it cannot be had (until it is put). */
int praas_state_settle(struct praas_state *s, struct praas_object *o);
const char *praas_state_key(const struct praas_state *s, const struct praas_object *o);
uint64_t praas_state_now(void);

/* ---- process_changes.c ---- */

/* o is another one now (version 0: gone). With changes only. */
PRAAS_COLD void praas_state_changed(const struct praas_state *s,
				    const struct praas_object *o);

/* ---- state_order.c ---- */

void praas_state_order_put(struct praas_state *s, struct praas_object *o);
void praas_state_order_remove(struct praas_state *s, struct praas_object *o);
/* The first object whose key is above (or, with equal, at) that key; NULL: none. */
struct praas_object *praas_state_order_after(const struct praas_state *s,
					     const char *key, uint32_t key_bytes,
					     bool equal);
/* Records of docs/dataplane.md. */
void praas_objects_list(const struct praas_state *s, const char *prefix,
			uint32_t prefix_bytes, const char *after, uint32_t after_bytes,
			uint8_t *ret_data, uint64_t bytes_max, uint64_t *ret_bytes,
			uint64_t *ret_count);

/* ---- state_reclaim.c ---- */

/* The value is out of the index: released once no reader can see it. There is room. */
void praas_state_retire(struct praas_state *s, struct praas_value *value);
/* A value that was never in the index, but that somebody of this thread may still look at: the
 * same, and released at once when there is no room. */
void praas_state_retire_now(struct praas_state *s, struct praas_value *value);
/* Room for so many retired values, made if need be. 0; -ENOSPC. */
int praas_state_retire_room(struct praas_state *s, uint32_t count);
/* Release what no reader can see. now: also when there is little to gain. */
void praas_state_reclaim(struct praas_state *s, bool now);
/* Without looking at readers: nobody is left. */
void praas_state_reclaim_all(struct praas_state *s);

/* ---- lease.c ---- */

int praas_lease_begin(struct praas_state *s, uint32_t holder, const char *key,
		      uint32_t key_bytes, uint64_t bytes, struct praas_fn_wait *wait);
int praas_lease_commit(struct praas_state *s, uint32_t holder, const char *key,
		       uint32_t key_bytes, struct praas_value *moved, bool keep,
		       bool *ret_kept, uint64_t *ret_version);
void praas_state_holder_died(struct praas_state *s, uint32_t holder,
			     uint64_t updating_offset);
/* Updates of kept leases that nobody was told of come to be known: versions are right after it. */
void praas_lease_sync(struct praas_state *s, struct praas_object *o);
void praas_lease_sync_all(struct praas_state *s);
/* Kept leases end, so that nothing is updated in place until the next one is granted. False: an update
 * is under way still; to be tried again. */
bool praas_lease_freeze(struct praas_state *s);
/* A kept lease ends, if its holder is not just updating. True: o has none that is active. */
bool praas_lease_settle(struct praas_state *s, struct praas_object *o);
/* o was put or deleted: its lease, if any, is told. */
void praas_state_lease_replaced(struct praas_state *s, struct praas_object *o);
/* In the order of waiting; the lease is not there yet. 0; -ENOBUFS. */
void praas_state_wait_remove(struct praas_state *s, struct praas_fn_wait *wait);

#endif
