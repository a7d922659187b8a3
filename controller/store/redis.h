/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects in a Redis: for small snapshots, and where a Redis is there already. docs/redis-store.md.
 */
#ifndef PRAAS_CONTROLLER_STORE_REDIS_H
#define PRAAS_CONTROLLER_STORE_REDIS_H

#include <stdbool.h>
#include <stddef.h>

#include "controller/store/store.h"

#define PRAAS_REDIS_OBJECT_MAX (64ull << 20) /* a larger one is refused */
#define PRAAS_REDIS_CHUNK_BYTES                                                        \
	(16ull << 20) /* above it a chunk of a snapshot is closed */

/* Is it an address of such a store, by its beginning? */
bool praas_redis_store_is(const char *url);
/* 0; -EINVAL, and why in ret_why: static, of this thread, until the next call. */
int praas_redis_store_check(const char *url, const char **ret_why);
/* As praas_store_url_below(). */
int praas_redis_store_below(const char *url, const char *parts, char *ret_url,
			    size_t room);
/* Nothing is asked yet. 0; -EINVAL; -ENOMEM. */
int praas_store_redis_open(const char *url, struct praas_store **ret_store);

/* What all stores of this kind in the program have asked so far. Any thread. */
struct praas_redis_store_stats {
	uint64_t
		requests; /* commands that were sent, those of a new connection not counted */
	uint64_t retries;                    /* after a failure */
	uint64_t failures;                   /* that no repetition helped */
	uint64_t bytes_sent, bytes_received; /* of words and values */
};
void praas_redis_store_totals(struct praas_redis_store_stats *ret_totals);

/* Of a store of this kind: tells where each store of two parts is below it, in order; "": it is one itself. 0; what
 * fn returned; or what the store says. */
int praas_redis_store_walk(struct praas_store *store, praas_store_list_fn fn,
			   void *user);

#endif
