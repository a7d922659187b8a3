/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls over RDMA verbs. In tests/rdma/vm the device is emulated by a kernel that is emulated too:
 * only ratios within one run mean anything there.
 */
#include "perf/verbs.h"

#include <stdlib.h>

#include "perf/call.h"

static const struct praas_perf_call verbs_inline = {
	.app = "inline", .process = "verbs", .transport = "verbs", .function = "echo"
};
static const struct praas_perf_call verbs_worker = {
	.app = "worker", .process = "verbs", .transport = "verbs", .function = "echo"
};
static const struct praas_perf_call tcp_inline = {
	.app = "inline", .process = "verbs", .transport = "tcp", .function = "echo"
};
static const struct praas_perf_call verbs_many = { .app = "inline",
						   .process = "verbs",
						   .transport = "verbs",
						   .function = "echo",
						   .inflight = 64 };
static const struct praas_perf_call tcp_many = { .app = "inline",
						 .process = "verbs",
						 .transport = "tcp",
						 .function = "echo",
						 .inflight = 64 };

const char *praas_perf_verbs_host(void)
{
	return getenv("PRAAS_PERF_VERBS"); /* one thread, at the start */
}

static void one_size(uint64_t size)
{
	struct praas_contender c[7];
	uint64_t ops = size <= 4096 ? 2000 : size <= 65536 ? 300 : 40;
	unsigned n = 0;

	praas_floor_verbs(&c[n++], "verbs", "verbs-send", size, ops);
	praas_floor_verbs(&c[n++], "verbs", "verbs-write-imm", size, ops);
	praas_floor_verbs(&c[n++], "verbs", "verbs-write", size, ops);
	praas_floor_tcp(&c[n], "verbs", size, true);
	c[n++].n = ops;
	praas_perf_call_contender(&c[n], "verbs", "verbs-inline", &verbs_inline, size,
				  ops);
	c[n++].versus = "verbs-send";
	praas_perf_call_contender(&c[n], "verbs", "verbs-worker", &verbs_worker, size,
				  ops);
	c[n++].versus = "verbs-send";
	praas_perf_call_contender(&c[n], "verbs", "tcp-inline", &tcp_inline, size, ops);
	c[n++].versus = "tcp-spin";
	praas_bench_run(c, n);
}

void praas_bench_verbs(void)
{
	static const uint64_t sizes[] = { 64, 4096, 65536, 1 << 20 };
	struct praas_contender c[2];

	if (!praas_perf_verbs_host()) {
		praas_bench_skip("verbs", "verbs-inline",
				 "PRAAS_PERF_VERBS names no device's address");
		return;
	}
	praas_floor_verbs_begin();
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		one_size(sizes[i]);
	praas_perf_pipeline_contender(&c[0], "verbs", "verbs-inline-64", &verbs_many,
				      64, 4000);
	praas_perf_pipeline_contender(&c[1], "verbs", "tcp-inline-64", &tcp_many, 64,
				      4000);
	praas_bench_run(c, 2);
	praas_floor_verbs_end();
}
