/* SPDX-License-Identifier: Apache-2.0
 *
 * `floor`: what this machine can do without us.
 */
#include "perf/bench.h"

void praas_bench_floor(void)
{
	struct praas_contender c[12];
	unsigned n = 0;

	praas_floor_ring(&c[n++], "floor", 64);
	praas_floor_ring_3party(&c[n++], "floor", 64);
	praas_floor_futex(&c[n++], "floor", 64);
	praas_floor_mq(&c[n++], "floor", 64);
	praas_floor_unix(&c[n++], "floor", 64);
	praas_floor_tcp(&c[n++], "floor", 64, true);
	praas_floor_tcp(&c[n++], "floor", 64, false);
	praas_floor_memcpy(&c[n++], "floor", 64);
	praas_floor_memcpy(&c[n++], "floor", 1 << 20);
	praas_floor_file(&c[n++], "floor", 1 << 20, true);
	praas_bench_run(c, n);
}
