/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/clock.h"

#define LOOKS 1000u

double praas_perf_ns_per_tick = 1.0;
double praas_perf_clock_step = 1.0;

/* Ticks that every difference of readings is a multiple of. */
static uint64_t step_ticks(void)
{
	uint64_t step = 0;

	for (unsigned i = 0; i < LOOKS; i++) {
		uint64_t before = praas_perf_ticks();
		uint64_t apart = praas_perf_ticks() - before;

		while (apart != 0) {
			uint64_t rest = step % apart;

			step = apart;
			apart = rest;
		}
	}
	return step;
}

void praas_perf_clock_init(void)
{
	uint64_t ns0 = praas_now_ns();
	uint64_t t0 = praas_perf_ticks();

	while (praas_now_ns() - ns0 < 20000000u)
		praas_pause();
	praas_perf_ns_per_tick =
		(double)(praas_now_ns() - ns0) / (double)(praas_perf_ticks() - t0);
	praas_perf_clock_step = (double)step_ticks() * praas_perf_ns_per_tick;
}
