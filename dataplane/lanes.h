/* SPDX-License-Identifier: Apache-2.0
 *
 * Lanes: what must not overlap. A serial function has one lane, a serial-per-key function one
 * for each key in use. The first invocation in a lane goes on, the others wait in it.
 */
#ifndef PRAAS_DATAPLANE_LANES_H
#define PRAAS_DATAPLANE_LANES_H

#include <stdint.h>

#include "dataplane/invocation.h"

struct praas_lane {
	uint64_t key;
	uint32_t next;    /* of the hash chain or free list, index + 1 */
	uint32_t waiting; /* how many wait */
	struct praas_invocation *holder;
	struct praas_invocation *first, *last; /* waiting, oldest first */
};

struct praas_lanes {
	struct praas_lane *lane;
	uint32_t *buckets;
	uint32_t mask, free, count;
};

/* As many lanes as there can be invocations: one is always free. 0; -ENOMEM. */
int praas_lanes_init(struct praas_lanes *l, uint32_t invocations_max);
void praas_lanes_release(struct praas_lanes *l);

/* inv->lane_key says which. True: it may go on and holds the lane; false: it waits there. */
bool praas_lanes_enter(struct praas_lanes *l, struct praas_invocation *inv);
/* The holder has ended: returns who may go on now (it holds the lane), or NULL. */
struct praas_invocation *praas_lanes_leave(struct praas_lanes *l,
					   struct praas_invocation *inv);
/* Whom it waits for: who holds its lane. */
struct praas_invocation *praas_lanes_holder(const struct praas_lanes *l,
					    const struct praas_invocation *inv);
/* A waiting one gives up. */
void praas_lanes_remove(struct praas_lanes *l, struct praas_invocation *inv);

#endif
