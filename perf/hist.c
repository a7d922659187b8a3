/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/hist.h"

/* Middle of a bucket's range. */
static double bucket_value(unsigned i)
{
	unsigned octave;

	if (i < PRAAS_HIST_SUB)
		return (double)i;
	octave = i / PRAAS_HIST_SUB - 1;
	return ((double)(PRAAS_HIST_SUB + i % PRAAS_HIST_SUB) + 0.5) *
		       (double)(1ull << octave) -
	       0.5;
}

double praas_hist_quantile(const struct praas_hist *h, double q)
{
	uint64_t rank = (uint64_t)(q * (double)h->count);
	uint64_t seen = 0;

	if (h->count == 0)
		return 0;
	if (rank >= h->count)
		rank = h->count - 1;
	for (unsigned i = 0; i < PRAAS_HIST_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen > rank)
			return bucket_value(i);
	}
	return (double)h->max;
}

void praas_hist_merge(struct praas_hist *into, const struct praas_hist *from)
{
	into->count += from->count;
	if (from->max > into->max)
		into->max = from->max;
	for (unsigned i = 0; i < PRAAS_HIST_BUCKETS; i++)
		into->bucket[i] += from->bucket[i];
}
