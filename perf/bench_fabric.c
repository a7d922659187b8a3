/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/fabric.h"

#include "perf/call.h"

/* Invocations over libfabric: the floor is a round trip of messages of the payload's size. */

static const struct praas_perf_call in_line = {
	.app = "inline", .process = "inline", .transport = "ofi", .function = "echo"
};
static const struct praas_perf_call worker = {
	.app = "worker", .process = "relay", .transport = "ofi", .function = "echo"
};

static const struct praas_perf_call sealed = { .app = "inline",
					       .process = "inline",
					       .transport = "ofi+sealed",
					       .function = "echo" };

static void invoke(uint64_t size)
{
	struct praas_contender c[4];
	uint64_t ops = size <= 4096 ? 5000 : size <= 131072 ? 1000 : 100;

	praas_floor_fabric(&c[0], "invoke", size, ops);
	praas_perf_call_contender(&c[1], "invoke", "ofi-inline", &in_line, size, ops);
	praas_perf_call_contender(&c[2], "invoke", "ofi-worker", &worker, size, ops);
	praas_perf_call_contender(&c[3], "invoke", "ofi-sealed-inline", &sealed, size,
				  ops);
	praas_bench_run(c, 4);
}

void praas_bench_invoke_fabric(void)
{
	static const uint64_t sizes[] = { 64, 4096, 65536, 1 << 20 };

	for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
		if (praas_options.size_only == ~0ull ||
		    praas_options.size_only == sizes[i])
			invoke(sizes[i]);
	praas_floor_fabric_end();
}
