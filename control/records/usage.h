/* SPDX-License-Identifier: Apache-2.0
 *
 * What a process has used: numbers that only grow, and their arithmetic. Pure. Nothing here
 * overflows: what is more than PRAAS_USAGE_MAX is told as that.
 */
#ifndef PRAAS_CONTROL_USAGE_H
#define PRAAS_CONTROL_USAGE_H

#include <stdbool.h>
#include <stdint.h>

#define PRAAS_USAGE_MAX (1ull << 62) /* of a counter */
/* Of one row: a thousand of them add up to less than a 64-bit number holds. */
#define PRAAS_USAGE_ROW_MAX (1ull << 53)

struct praas_usage {
	uint64_t cpu_ns;  /* of the controller and its workers */
	uint64_t wall_ns; /* that a controller served */
	uint64_t
		calls; /* invocations begun; those in place within a call are not counted */
	uint64_t bytes_in, bytes_out; /* payloads from and to clients */
	/* State × time, in byte seconds; never negative, never infinite. */
	double resident; /* in the memory of a controller */
	double stored;   /* in the store, while there is no controller */
};

/* Row of the table of usage: what a process used in an interval. */
struct praas_usage_row {
	uint64_t from_ns, to_ns; /* CLOCK_REALTIME; from before to */
	struct praas_usage used;
};

bool praas_usage_none(const struct praas_usage *used);
void praas_usage_add(struct praas_usage *to, const struct praas_usage *more);
/* What now has more than before had; nothing where it has less. */
struct praas_usage praas_usage_since(const struct praas_usage *now,
				     const struct praas_usage *before);
/* The larger of each. */
struct praas_usage praas_usage_largest(const struct praas_usage *a,
				       const struct praas_usage *b);
/* The part of a row that lies in since … until, as if it was used evenly. */
struct praas_usage praas_usage_share(const struct praas_usage_row *row,
				     uint64_t since_ns, uint64_t until_ns);
/* bytes that were held for so long, in byte seconds. */
double praas_usage_held(uint64_t bytes, uint64_t ns);

#endif
