/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/hist.h"

#include "perf/clock.h"

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

/* Half of what a value in bucket i stands for: of the bucket, or of the clock's step. */
static double half_step(unsigned i)
{
	unsigned octave = i < PRAAS_HIST_SUB ? 0 : i / PRAAS_HIST_SUB - 1;
	double width = (double)(1ull << octave);

	return (width > praas_perf_clock_step ? width : praas_perf_clock_step) / 2;
}

/* The nearest value that occurs on one side of bucket i, by steps of by; own when there is none. */
static double neighbour(const struct praas_hist *h, unsigned i, int by, double own)
{
	for (unsigned k = i + (unsigned)by; k < PRAAS_HIST_BUCKETS; k += (unsigned)by)
		if (h->bucket[k])
			return bucket_value(k);
	return own;
}

/* A reading stands for all times that would have given it, evenly: what lies between two steps of
 * the clock shows in how many readings are on either. */
static double between(const struct praas_hist *h, unsigned i, double part)
{
	double value = bucket_value(i), half = half_step(i);
	double low = (value + neighbour(h, i, -1, value - 2 * half)) / 2;
	double high = (value + neighbour(h, i, 1, value + 2 * half)) / 2;

	low = low < value - half ? value - half : low;
	high = high > value + half ? value + half : high;
	return low + part * (high - low);
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
		if (seen + h->bucket[i] > rank)
			return between(h, i,
				       ((double)(rank - seen) + 0.5) /
					       (double)h->bucket[i]);
		seen += h->bucket[i];
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
