/* SPDX-License-Identifier: Apache-2.0
 *
 * Durations for Prometheus: counts by upper bound, from any thread, without a lock.
 */
#ifndef PRAAS_CONTROL_HISTOGRAM_H
#define PRAAS_CONTROL_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

/* Upper bounds in ns; what is longer goes into one more bucket. */
#define PRAAS_HISTOGRAM_BOUNDS                                                         \
	{                                                                              \
		100000, 250000, 1000000, 2500000, 10000000, 25000000, 100000000,       \
			250000000, 1000000000, 2500000000, 10000000000, 60000000000    \
	}
#define PRAAS_HISTOGRAM_BUCKETS 13u

struct praas_histogram {
	_Atomic uint64_t count[PRAAS_HISTOGRAM_BUCKETS]; /* of each bucket alone */
	_Atomic uint64_t sum_ns;
};

static inline void praas_histogram_add(struct praas_histogram *h, uint64_t ns)
{
	static const uint64_t bounds[] = PRAAS_HISTOGRAM_BOUNDS;
	unsigned i = 0;

	while (i < PRAAS_HISTOGRAM_BUCKETS - 1 && ns > bounds[i])
		i++;
	atomic_fetch_add_explicit(&h->count[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&h->sum_ns, ns, memory_order_relaxed);
}

#endif
