/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread that collects what nobody needs in the stores of all processes (controller/store/gc.h): it walks them
 * again and again, and removes what it found unneeded a grace ago and finds unneeded still. It asks the stores
 * alone, so also those are looked after whose process is deleted, or that a crash has left.
 */
#ifndef PRAAS_CONTROL_COLLECT_H
#define PRAAS_CONTROL_COLLECT_H

#include <stdint.h>

#include "controller/store/seal_keys.h"

struct praas_collect;

struct praas_collect_stats {
	uint64_t walks;    /* that came to their end */
	uint64_t objects;  /* chunks and manifests that went */
	uint64_t entries;  /* of logs that went */
	uint64_t stores;   /* of deleted processes that went */
	uint64_t failures; /* stores that could not be looked at */
};

/* store_url: of the service; copied. keys: that stores are sealed with; borrowed. grace_s: at least, between two looks at a store; 0: nothing is collected, *ret_collect is NULL. 0; -ENOMEM; -EAGAIN. */
int praas_collect_start(const char *store_url, const struct praas_seal_keys *keys,
			uint64_t grace_s, struct praas_collect **ret_collect);
/* Waits for the store that is being looked at. NULL is allowed. */
void praas_collect_stop(struct praas_collect *collect);
/* Any thread. NULL: all 0. */
void praas_collect_stats(struct praas_collect *collect,
			 struct praas_collect_stats *ret_stats);

#endif
