/* SPDX-License-Identifier: Apache-2.0
 *
 * What each function of a process did since its epoch began. Written in three places, by one thread each:
 * by the data thread in memory of its own, which costs a call no more than additions (struct
 * praas_function_sums); by it again, now and then, for the admin thread to read; and by a worker, in its
 * arena, of calls that the controller does not see (both: struct praas_function_counts).
 */
#ifndef PRAAS_DATAPLANE_FUNCTION_COUNTS_H
#define PRAAS_DATAPLANE_FUNCTION_COUNTS_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

struct praas_function_sums {
	alignas(64) uint64_t calls; /* that have ended; inputs that a trigger joined are
				     * one */
	uint64_t errors;            /* of them, with a status that is not 0 */
	uint64_t bytes_in;          /* of all inputs that were accepted */
	uint64_t bytes_out;         /* of results and error texts */
	uint64_t run_ns;            /* in the function */
};

/* The same, where somebody else reads it. */
struct praas_function_counts {
	alignas(64) _Atomic uint64_t calls;
	_Atomic uint64_t errors, bytes_in, bytes_out, run_ns;
	uint64_t pad[3];
};
_Static_assert(sizeof(struct praas_function_counts) == 64, "shared layout");

/* Its one writer only. */
static inline void praas_function_add(_Atomic uint64_t *word, uint64_t n)
{
	atomic_store_explicit(word,
			      atomic_load_explicit(word, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

#endif
