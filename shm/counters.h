/* SPDX-License-Identifier: Apache-2.0
 *
 * Counters: a page of 64-bit numbers in a segment, each written by one thread, read by
 * whoever maps the segment; behind it their names. To count is a load, an add and a
 * store. A reader may not trust the writer: numbers are just numbers, and names are
 * copied and made printable.
 */
#ifndef PRAAS_SHM_COUNTERS_H
#define PRAAS_SHM_COUNTERS_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/segment.h"

#define PRAAS_COUNTERS_MAX 256u
#define PRAAS_COUNTER_NAME_BYTES 32u /* the zero included */

/* In shared memory; one writer process. Threads of it use counters of different groups
 * of 8 (one cache line), so that they do not disturb each other. */
struct praas_counters_shared {
	alignas(64) _Atomic uint64_t count; /* names given out; written last */
	uint64_t pad[7];
	alignas(64) _Atomic uint64_t value[PRAAS_COUNTERS_MAX];
	alignas(64) _Atomic uint64_t
		name[PRAAS_COUNTERS_MAX][PRAAS_COUNTER_NAME_BYTES / sizeof(uint64_t)];
};

#define PRAAS_COUNTERS_BYTES 12288u /* of a segment, at a multiple of 64 */

_Static_assert(sizeof(struct praas_counters_shared) <= PRAAS_COUNTERS_BYTES,
	       "three pages");
_Static_assert(offsetof(struct praas_counters_shared, value) == 64, "shared layout");
_Static_assert(offsetof(struct praas_counters_shared, name) == 2112, "shared layout");

/* The writer's handle of one counter. */
struct praas_counter {
	_Atomic uint64_t *value; /* ours alone */
};

/* segment[offset, offset + PRAAS_COUNTERS_BYTES), zeroed at the start. NULL: does not
 * fit. */
struct praas_counters_shared *praas_counters_at(const struct praas_segment *segment,
						uint64_t offset);

/* The writer: name the next counter; group: begin a new cache line (a new writer
 * thread). 0; -ENOBUFS all are given out; -EINVAL name empty or too long. Before the
 * threads start. */
int praas_counter_add(struct praas_counters_shared *shared, const char *name,
		      bool group, struct praas_counter *ret_counter);

/* Its thread only. */
static inline void praas_counter_count(struct praas_counter counter, uint64_t n)
{
	uint64_t value = atomic_load_explicit(counter.value, memory_order_relaxed);

	atomic_store_explicit(counter.value, value + n, memory_order_relaxed);
}

static inline void praas_counter_set(struct praas_counter counter, uint64_t value)
{
	atomic_store_explicit(counter.value, value, memory_order_relaxed);
}

/* The reader: how many there are (gaps between groups included), never above the
 * maximum. */
uint32_t praas_counters_count(const struct praas_counters_shared *shared);
/* Name and value of counter index, below the count. 0; -ENOENT a gap. */
int praas_counters_read(const struct praas_counters_shared *shared, uint32_t index,
			char ret_name[PRAAS_COUNTER_NAME_BYTES], uint64_t *ret_value);

#endif
