/* SPDX-License-Identifier: Apache-2.0
 *
 * State beyond memory: an object that has not changed since the last committed snapshot lies there,
 * and its memory can go. What goes is what has not been used for longest; it comes back when it is
 * wanted (docs/dataplane.md, "State beyond memory").
 *
 *   HERE ──cools──▶ RESTING ──goes──▶ OUT ──wanted──▶ COMING
 *     ▲──────used──────┘                               │
 *     └─────────────────────came───────────────────────┘
 *
 * Data thread only. Where a value lies in the store only the host knows.
 */
#ifndef PRAAS_DATAPLANE_OVERFLOW_H
#define PRAAS_DATAPLANE_OVERFLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/value.h"
#include "praas/types.h"

struct praas_object;
struct praas_state;
struct praas_fn_wait;

#define PRAAS_FETCHES_MAX 64u /* objects that come at once */
#define PRAAS_PLACE_BYTES_MIN                                                          \
	257u /* a smaller value lies in the manifest, and stays in memory */

enum praas_rest {
	PRAAS_REST_HERE = 0, /* in memory */
	PRAAS_REST_RESTING, /* the same; but readers ask, so that we see whether it is used */
	PRAAS_REST_OUT,   /* in the store only */
	PRAAS_REST_COMING /* the same, and it is being read */
};

/* Where a value lies in the store. */
struct praas_place {
	const char *key; /* of the object; borrowed while places are taken in */
	uint64_t version, bytes;
	uint64_t offset; /* in the chunk */
	uint32_t chunk;  /* number, of the host's */
	uint8_t key_bytes;
	uint8_t hash[16]; /* of the value */
};

struct praas_overflow_host {
	/* Begins to read a value to data, whose hash is compared; praas_process_fetched() says what came of it, once and
	 * never from within. number is below PRAAS_FETCHES_MAX, and no other of that number is under way. */
	void (*fetch)(void *user, uint32_t number, const struct praas_place *place,
		      uint8_t *data);
	/* Waits for that one, and returns what is said of it otherwise. For a function that runs on this thread. */
	int (*await)(void *user, uint32_t number);
	/* Much has changed: a checkpoint is wanted. Not said again before one is committed. */
	void (*wanted)(void *user);
	void *user;
};

/* An object on its way. */
struct praas_fetch {
	uint32_t object;   /* + 1; 0: nobody wants it any more */
	uint32_t next;     /* free list, + 1 */
	uint64_t set;      /* of places, that it is read from */
	uint64_t until_ns; /* so long memory for it is waited for; 0: it has some */
	struct praas_value value;
	uint8_t *data;
	struct praas_fn_wait *wait_first, *wait_last;
	bool busy; /* not in the free list */
	uint8_t key_bytes;
	char key[PRAAS_KEY_MAX + 1];
};

struct praas_overflow {
	struct praas_overflow_host host;
	const struct praas_place *places; /* the host's; by the objects' place - 1 */
	uint64_t set;                     /* how often they have been exchanged */
	uint64_t bytes_max;               /* of memory for objects */
	uint64_t
		all_max; /* the same, with what readers of former values may still see */
	uint64_t out_bytes; /* charged to objects that have none */
	uint64_t out_count;
	uint64_t idle_bytes; /* of objects that could go: those in the order of use */
	uint32_t idle_count;
	uint32_t coldest, warmest; /* + 1 */
	uint64_t small_bytes;      /* of objects below PRAAS_PLACE_BYTES_MIN */
	bool wanted;               /* a checkpoint, and it was told */
	bool stalled;              /* none came in time: nobody is held up for it */
	uint32_t starving;         /* fetches that wait for memory */
	bool hungry;      /* one waited in vain: no other waits before there is some */
	uint64_t look_ns; /* when it is looked for next */
	uint64_t coming_bytes;                 /* memory of the fetches */
	uint64_t fetches, failures, evictions; /* counters */
	uint32_t fetch_free, fetch_used;
	struct praas_fetch fetch[PRAAS_FETCHES_MAX];
};

/* 0; -ENOMEM. No limit yet: praas_overflow_limit(). */
int praas_overflow_new(const struct praas_overflow_host *host,
		       struct praas_overflow **ret_overflow);

/* Bytes of memory that objects have, or those that are coming. */
uint64_t praas_overflow_used(const struct praas_state *s);
/* Of these, what has changed since the last committed snapshot, and so has to stay. */
uint64_t praas_overflow_fresh(const struct praas_state *s);

/* o is used now. False: its value is not here. Its place is known. */
bool praas_overflow_use(struct praas_state *s, struct praas_object *o);
/* Its value goes, or is another from now on (put() follows). */
void praas_overflow_drop(struct praas_state *s, struct praas_object *o);
void praas_overflow_put(struct praas_state *s, struct praas_object *o);
/* It was updated in place. Its place is known. */
void praas_overflow_changed(struct praas_state *s, struct praas_object *o);
/* An imported object is out; its value says how many bytes it has. place: + 1. */
void praas_overflow_import(struct praas_state *s, struct praas_object *o,
			   uint32_t place);
/* Its value has come. */
void praas_overflow_came(struct praas_state *s, struct praas_object *o,
			 struct praas_value *value);

/* Makes room for so many bytes beside what is there; of the commit whose objects are in scratch (count, 0: none) the
 * old values will go. 0; -EBUSY when a checkpoint is committed, or readers leave; -ENOSPC never. */
int praas_overflow_room(struct praas_state *s, uint64_t bytes, uint32_t count);
/* Memory of the coldest goes, of at least so many bytes if there is as much. Returns how many. */
uint64_t praas_overflow_relieve(struct praas_state *s, uint64_t bytes);
/* Something was changed: perhaps a checkpoint is wanted. */
void praas_overflow_look(struct praas_state *s);
/* So much has changed that others should wait for a checkpoint. */
bool praas_overflow_full(const struct praas_state *s);
/* A snapshot is committed: what lies where. places stay until the next call; their keys need not. */
void praas_overflow_places(struct praas_state *s, const struct praas_place *places,
			   uint64_t count);

#endif
