/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory of a process for ports and executors: buffers of the pool segment, which workers can
 * map, and for payloads that the pool cannot hold a segment each. Data thread only.
 */
#ifndef PRAAS_CONTROLLER_POOL_MEMORY_H
#define PRAAS_CONTROLLER_POOL_MEMORY_H

#include <stdint.h>

#include "shm/pool.h"
#include "transport/transport.h"

struct praas_pool_memory;

struct praas_pool_memory_config {
	uint64_t pool_bytes;           /* of the pool segment */
	uint64_t populate_bytes;       /* of it, faulted in at once */
	uint64_t bytes_max;            /* of one payload */
	uint64_t big_bytes_max;        /* of all segments beside the pool together */
	uint32_t pool_segment;         /* its id */
	uint32_t big_first, big_count; /* ids for big segments */
	/* A big segment came (the descriptor is in segment->fd) or went. May be NULL. 0 or why it
	 * cannot be used. */
	int (*big)(void *user, const struct praas_segment *segment, bool added);
	void *user;
};

/* Creates the pool segment. 0; -ENOMEM; … */
int praas_pool_memory_new(const struct praas_pool_memory_config *config,
			  struct praas_pool_memory **ret_m);
/* Buffers that are still out become invalid. NULL is allowed. */
void praas_pool_memory_free(struct praas_pool_memory *m);

const struct praas_memory *praas_pool_memory_table(struct praas_pool_memory *m);
struct praas_pool *praas_pool_memory_pool(struct praas_pool_memory *m);
const struct praas_segment *praas_pool_memory_segment(
	const struct praas_pool_memory *m);

#endif
