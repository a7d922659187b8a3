/* SPDX-License-Identifier: Apache-2.0
 *
 * A cut: what a process is at one moment, collected by the data thread between two turns and
 * written by the admin thread while the data thread goes on. State objects and messages are
 * immutable, so a value in the pool needs only a reference that keeps its memory; what lies
 * elsewhere is copied.
 */
#ifndef PRAAS_CONTROLLER_CUT_H
#define PRAAS_CONTROLLER_CUT_H

#include <stdint.h>

#include "controller/snapshot.h"
#include "shm/pool.h"

struct praas_cut {
	struct praas_snapshot snapshot; /* the admin thread's while it has the cut */
	/* The data thread's. */
	struct praas_pool *pool;
	const struct praas_segment *segment;
	uint64_t *held; /* buffers of the pool */
	uint64_t held_count, held_room;
	uint8_t **copies;
	uint64_t copies_count, copies_room;
	uint64_t copied_bytes;
};

/* Data thread. 0; -ENOMEM; -E2BIG. */
int praas_cut_take(struct praas_process *p, struct praas_pool *pool,
		   const struct praas_segment *segment, struct praas_cut **ret_cut);
/* Data thread. NULL is allowed. */
void praas_cut_drop(struct praas_cut *cut);

#endif
