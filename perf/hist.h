/* SPDX-License-Identifier: Apache-2.0
 *
 * Log-linear histogram of nanoseconds (HDR style): exact to 64 ns, then 64 steps an
 * octave, so that a quantile is within 1.6 % of the truth. Fixed size, no allocation.
 */
#ifndef PRAAS_PERF_HIST_H
#define PRAAS_PERF_HIST_H

#include <stdint.h>

#define PRAAS_HIST_SUB 64u
#define PRAAS_HIST_BUCKETS (PRAAS_HIST_SUB * 40u)

struct praas_hist {
	uint64_t count;
	uint64_t max;
	uint64_t bucket[PRAAS_HIST_BUCKETS];
};

static inline unsigned praas_hist_index(uint64_t ns)
{
	unsigned octave;

	if (ns < PRAAS_HIST_SUB)
		return (unsigned)ns;
	octave = 63u - (unsigned)__builtin_clzll(ns) - 6u;
	if (octave > 38)
		octave = 38;
	return (octave + 1) * PRAAS_HIST_SUB +
	       (unsigned)((ns >> octave) & (PRAAS_HIST_SUB - 1));
}

static inline void praas_hist_add(struct praas_hist *h, uint64_t ns)
{
	h->count++;
	h->bucket[praas_hist_index(ns)]++;
	if (ns > h->max)
		h->max = ns;
}

/* The value at quantile q, 0 … 1, in ns, between the steps of the clock; 0 when empty. */
double praas_hist_quantile(const struct praas_hist *h, double q);

void praas_hist_merge(struct praas_hist *into, const struct praas_hist *from);

#endif
