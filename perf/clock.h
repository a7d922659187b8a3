/* SPDX-License-Identifier: Apache-2.0
 *
 * Time stamps of the benchmarks: the time-stamp counter, calibrated once against
 * CLOCK_MONOTONIC (about 20 ns a reading pair, included in what is measured).
 */
#ifndef PRAAS_PERF_CLOCK_H
#define PRAAS_PERF_CLOCK_H

#include <stdint.h>

#include "internal/base.h"

/* Nanoseconds per tick; set by praas_perf_clock_init(). */
extern double praas_perf_ns_per_tick;

/* Nanoseconds between two readings that can differ: 10 on processors whose counter goes on by so much
 * at once. Set by praas_perf_clock_init(). */
extern double praas_perf_clock_step;

/* Calibrates for about 20 ms. */
void praas_perf_clock_init(void);

static inline uint64_t praas_perf_ticks(void)
{
#if defined(__x86_64__)
	uint32_t aux;

	return __builtin_ia32_rdtscp(&aux);
#else
	return praas_now_ns();
#endif
}

static inline uint64_t praas_perf_ticks_to_ns(uint64_t ticks)
{
	return (uint64_t)((double)ticks * praas_perf_ns_per_tick);
}

#endif
