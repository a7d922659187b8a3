/* SPDX-License-Identifier: Apache-2.0
 *
 * `invoke`, `throughput`, `chain`: calls, beside the bare ring and the bare socket.
 */
#include "perf/call.h"
#include "perf/pair.h"

static const struct praas_perf_call shm_direct = { .app = "worker",
						   .process = "direct",
						   .transport = "shm",
						   .direct = true,
						   .function = "noop" };
static const struct praas_perf_call shm_direct_echo = { .app = "worker",
							.process = "direct",
							.transport = "shm",
							.direct = true,
							.function = "echo" };
static const struct praas_perf_call shm_inline = {
	.app = "inline", .process = "inline", .transport = "shm", .function = "noop"
};
static const struct praas_perf_call shm_controller = {
	.app = "worker", .process = "relay", .transport = "shm", .function = "noop"
};
static const struct praas_perf_call tcp_inline = {
	.app = "inline", .process = "inline", .transport = "tcp", .function = "echo"
};
static const struct praas_perf_call tcp_worker = {
	.app = "worker", .process = "relay", .transport = "tcp", .function = "echo"
};
static const struct praas_perf_call tls_inline = {
	.app = "inline", .process = "inline", .transport = "tls", .function = "echo"
};
static const struct praas_perf_call tls_worker = {
	.app = "worker", .process = "relay", .transport = "tls", .function = "echo"
};

static void invoke_local(uint64_t size)
{
	struct praas_contender c[8];
	/* The echo writes its result: of 100 MiB each takes tens of milliseconds. */
	uint64_t echo_ops = size <= 65536 ? 200000 : (200000ull << 16) / size;
	unsigned n = 0;

	praas_floor_ring(&c[n++], "invoke", size);
	praas_floor_ring_3party(&c[n++], "invoke", size);
	praas_perf_call_contender(&c[n++], "invoke", "shm-direct", &shm_direct, size,
				  200000);
	c[n - 1].versus = "ring";
	praas_perf_call_contender(&c[n++], "invoke", "shm-direct-echo",
				  &shm_direct_echo, size, echo_ops);
	c[n - 1].versus = "ring";
	praas_perf_call_contender(&c[n++], "invoke", "shm-inline", &shm_inline, size,
				  200000);
	c[n - 1].versus = "ring";
	praas_perf_call_contender(&c[n++], "invoke", "shm-controller", &shm_controller,
				  size, 20000);
	c[n - 1].versus = "ring-3party-yield";
	praas_bench_run(c, n);
}

static void invoke_remote(uint64_t size)
{
	struct praas_contender c[6];
	uint64_t ops = size <= 4096      ? 10000
		       : size <= 131072  ? 2000
		       : size <= 2097152 ? 200
					 : 40;
	unsigned n = 0;

	praas_floor_tcp(&c[n++], "invoke", size, true);
	if (size >= 65536) /* where blocking sockets may be the faster ones */
		praas_floor_tcp(&c[n++], "invoke", size, false);
	praas_perf_call_contender(&c[n++], "invoke", "tcp-inline", &tcp_inline, size,
				  ops);
	praas_perf_call_contender(&c[n++], "invoke", "tcp-worker", &tcp_worker, size,
				  ops);
	praas_perf_call_contender(&c[n++], "invoke", "tls-inline", &tls_inline, size,
				  ops);
	praas_perf_call_contender(&c[n++], "invoke", "tls-worker", &tls_worker, size,
				  ops);
	praas_bench_run(c, n);
}

static bool wanted(uint64_t size)
{
	return praas_options.size_only == ~0ull || praas_options.size_only == size;
}

void praas_bench_invoke(void)
{
	static const uint64_t local[] = { 64, 1024, 65536, 1 << 20, 100 << 20 };
	static const uint64_t remote[] = { 64, 1024, 65536, 1 << 20, 5 << 20 };

	for (unsigned i = 0; i < sizeof local / sizeof local[0]; i++)
		if (wanted(local[i]))
			invoke_local(local[i]);
	for (unsigned i = 0; i < sizeof remote / sizeof remote[0]; i++)
		if (wanted(remote[i]))
			invoke_remote(remote[i]);
}

void praas_bench_throughput(void)
{
	static const struct praas_perf_call direct = { .app = "worker",
						       .process = "direct",
						       .transport = "shm",
						       .direct = true,
						       .function = "noop",
						       .inflight = 64 };
	static const struct praas_perf_call in_line = { .app = "inline",
							.process = "inline",
							.transport = "shm",
							.function = "noop",
							.inflight = 64 };
	static const struct praas_perf_call tcp = { .app = "inline",
						    .process = "inline",
						    .transport = "tcp",
						    .function = "echo",
						    .inflight = 64 };
	static const struct praas_perf_call relay = { .app = "worker",
						      .process = "relay",
						      .transport = "tcp",
						      .function = "echo",
						      .inflight = 64 };
	static const struct praas_perf_call tls = { .app = "inline",
						    .process = "inline",
						    .transport = "tls",
						    .function = "echo",
						    .inflight = 64 };
	static const struct praas_perf_call tls_relay = { .app = "worker",
							  .process = "relay",
							  .transport = "tls",
							  .function = "echo",
							  .inflight = 64 };
	struct praas_contender c[5];

	praas_floor_ring_stream(&c[0], "throughput");
	praas_perf_pipeline_contender(&c[1], "throughput", "shm-direct", &direct, 64,
				      1000000);
	praas_perf_pipeline_contender(&c[2], "throughput", "shm-inline", &in_line, 64,
				      1000000);
	praas_bench_run(c, 3);
	for (unsigned i = 0; i < 3; i++)
		praas_bench_per_second(&c[i], 64);
	/* The floor echoes payloads alone; ours have 64 bytes of header each. */
	praas_floor_tcp_stream(&c[0], "throughput", 64, 64);
	praas_perf_pipeline_contender(&c[1], "throughput", "tcp-inline", &tcp, 64,
				      200000);
	praas_perf_pipeline_contender(&c[2], "throughput", "tcp-worker", &relay, 64,
				      200000);
	praas_perf_pipeline_contender(&c[3], "throughput", "tls-inline", &tls, 64,
				      200000);
	praas_perf_pipeline_contender(&c[4], "throughput", "tls-worker", &tls_relay, 64,
				      200000);
	praas_bench_run(c, 5);
	for (unsigned i = 0; i < 5; i++)
		praas_bench_per_second(&c[i], 64);
}

void praas_bench_chain(void)
{
	static const struct praas_perf_call chain = { .app = "worker",
						      .process = "chain",
						      .transport = "shm",
						      .direct = true,
						      .function = "loop_chain",
						      .loop = { .batch = 16,
								.key = "noop" } };
	static const struct praas_perf_call in_line = { .app = "inline",
							.process = "chain",
							.transport = "shm",
							.function = "loop_chain",
							.loop = { .batch = 16,
								  .key = "noop" } };
	static const struct praas_perf_pair near = { .kind = PRAAS_PAIR_INVOKE };
	static const struct praas_perf_pair far = { .kind = PRAAS_PAIR_INVOKE,
						    .far = true };
	struct praas_contender c[6];

	praas_floor_ring(&c[0], "chain", 64);
	praas_floor_mq(&c[1], "chain", 64);
	praas_perf_loop_contender(&c[2], "chain", "local", &chain, 64, 5000);
	praas_perf_loop_contender(&c[3], "chain", "local-inline", &in_line, 64, 5000);
	praas_perf_pair_contender(&c[4], "chain", "remote", &near, 64, 2000);
	praas_perf_pair_contender(&c[5], "chain", "remote-tcp", &far, 64, 2000);
	for (unsigned i = 2; i < 6; i++)
		c[i].versus = "ring";
	praas_bench_run(c, 6);
}
