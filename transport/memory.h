/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory for ports that have no pool of a process: clients, tests. Buffers of size classes (powers
 * of two from 256 B) on the heap; free ones are kept for the next
 * of that size, up to a limit, so that a steady state allocates nothing. One thread.
 */
#ifndef PRAAS_TRANSPORT_MEMORY_H
#define PRAAS_TRANSPORT_MEMORY_H

#include <stdint.h>

#include "transport/transport.h"

struct praas_heap;

struct praas_heap_config {
	uint64_t bytes_max; /* of all buffers handed out; more: -ENOBUFS. 0: no limit */
	uint64_t buffer_max; /* of one buffer; larger: -EMSGSIZE. 0: no limit */
	uint64_t kept_max;   /* bytes of free buffers kept. 0: 16 MiB */
};

struct praas_heap_stats {
	uint64_t bytes_used; /* capacity of buffers handed out */
	uint64_t bytes_kept; /* of free ones */
	uint64_t buffers;    /* handed out */
};

/* config may be NULL. 0; -ENOMEM. */
int praas_heap_new(const struct praas_heap_config *config,
		   struct praas_heap **ret_heap);
/* All buffers have been released before. NULL is allowed. */
void praas_heap_free(struct praas_heap *heap);
/* For praas_port_config.memory; lives as long as the heap. */
const struct praas_memory *praas_heap_memory(struct praas_heap *heap);
void praas_heap_stats(const struct praas_heap *heap,
		      struct praas_heap_stats *ret_stats);

#endif
