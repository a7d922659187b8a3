/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/clock.h"

double praas_perf_ns_per_tick = 1.0;

void praas_perf_clock_init(void)
{
	uint64_t ns0 = praas_now_ns();
	uint64_t t0 = praas_perf_ticks();

	while (praas_now_ns() - ns0 < 20000000u)
		praas_pause();
	praas_perf_ns_per_tick =
		(double)(praas_now_ns() - ns0) / (double)(praas_perf_ticks() - t0);
}
