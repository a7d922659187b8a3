/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls over RDMA verbs and over libfabric on the same device, next to bare queue pairs, libfabric's
 * messages and TCP on the same machine. In tests/rdma/vm the device is emulated by a kernel that is
 * emulated too: only ratios within one run mean anything there.
 */
#include "perf/verbs.h"

#include <stdlib.h>

#include "perf/call.h"
#include "perf/fabric.h"

/* NOLINTBEGIN(bugprone-macro-parentheses): they are members of an initializer */
#define CALL(isolation, over)                                                          \
	{                                                                              \
		.app = isolation, .process = "verbs", .transport = over,               \
		.function = "echo"                                                     \
	}
#define MANY(in, over, count)                                                          \
	{                                                                              \
		.app = "inline", .process = in, .transport = over, .function = "echo", \
		.inflight = count                                                      \
	}
/* NOLINTEND(bugprone-macro-parentheses) */

static const struct praas_perf_call verbs_inline = CALL("inline", "verbs");
static const struct praas_perf_call verbs_worker = CALL("worker", "verbs");
static const struct praas_perf_call sealed_inline = CALL("inline", "verbs+sealed");
static const struct praas_perf_call tcp_inline = CALL("inline", "tcp");
#ifdef PRAAS_HAVE_OFI
static const struct praas_perf_call ofi_inline = {
	.app = "inline", .process = "fabric", .transport = "ofi", .function = "echo"
};
static const struct praas_perf_call ofi_worker = {
	.app = "worker", .process = "fabric", .transport = "ofi", .function = "echo"
};
static const struct praas_perf_call ofi_sealed = { .app = "inline",
						   .process = "fabric",
						   .transport = "ofi+sealed",
						   .function = "echo" };
#endif

const char *praas_perf_verbs_host(void)
{
	return getenv("PRAAS_PERF_VERBS"); /* one thread, at the start */
}

static void ours(struct praas_contender *c, const char *variant,
		 const struct praas_perf_call *call, uint64_t size, uint64_t ops,
		 const char *versus)
{
	praas_perf_call_contender(c, "verbs", variant, call, size, ops);
	c->versus = versus;
}

static void one_size(uint64_t size)
{
	uint64_t ops = size <= 4096 ? 1000 : size <= 65536 ? 200 : 20;
	struct praas_contender c[12];
	unsigned n = 0;

	praas_floor_verbs(&c[n++], "verbs", "verbs-send", size, ops);
	praas_floor_verbs(&c[n++], "verbs", "verbs-write-imm", size, ops);
	praas_floor_verbs(&c[n++], "verbs", "verbs-write", size, ops);
	ours(&c[n++], "verbs-inline", &verbs_inline, size, ops, "verbs-send");
	ours(&c[n++], "verbs-worker", &verbs_worker, size, ops / 4, "verbs-send");
	ours(&c[n++], "verbs-sealed-inline", &sealed_inline, size, ops, "verbs-send");
#ifdef PRAAS_HAVE_OFI
	praas_floor_fabric(&c[n++], "verbs", size, ops);
	ours(&c[n++], "ofi-inline", &ofi_inline, size, ops, "ofi");
	ours(&c[n++], "ofi-worker", &ofi_worker, size, ops / 4, "ofi");
	ours(&c[n++], "ofi-sealed-inline", &ofi_sealed, size, ops, "ofi");
#endif
	praas_floor_tcp(&c[n], "verbs", size, true);
	c[n++].n = ops;
	ours(&c[n++], "tcp-inline", &tcp_inline, size, ops, "tcp-spin");
	praas_bench_run(c, n);
}

/* Several calls of 64 bytes under way. */
static const struct {
	unsigned inflight;
	const char *send, *verbs, *ofi, *tcp_spin, *tcp;
	struct praas_perf_call over[3];
} streams[] = {
#define STREAM(k)                                                                      \
	{                                                                              \
		k, "verbs-send-" #k, "verbs-inline-" #k, "ofi-inline-" #k,             \
			"tcp-spin-" #k, "tcp-inline-" #k,                              \
		{                                                                      \
			MANY("verbs", "verbs", k), MANY("fabric", "ofi", k),           \
				MANY("verbs", "tcp", k)                                \
		}                                                                      \
	}
	STREAM(1), STREAM(4), STREAM(16), STREAM(64)
};

static void one_stream(unsigned i)
{
	unsigned k = streams[i].inflight, n = 0;
	uint64_t ops = k == 1 ? 1000 : 4000;
	struct praas_contender c[5];

	praas_floor_verbs_stream(&c[n++], "verbs", streams[i].send, 64, k, ops);
	praas_perf_pipeline_contender(&c[n], "verbs", streams[i].verbs,
				      &streams[i].over[0], 64, ops);
	c[n++].versus = streams[i].send;
#ifdef PRAAS_HAVE_OFI
	praas_perf_pipeline_contender(&c[n], "verbs", streams[i].ofi,
				      &streams[i].over[1], 64, ops);
	c[n++].versus = streams[i].send;
#endif
	praas_floor_tcp_stream(&c[n], "verbs", 64, k);
	c[n].variant = streams[i].tcp_spin;
	c[n++].n = ops;
	praas_perf_pipeline_contender(&c[n], "verbs", streams[i].tcp,
				      &streams[i].over[2], 64, ops);
	c[n++].versus = streams[i].tcp_spin;
	praas_bench_run(c, n);
	for (unsigned j = 0; j < n; j++)
		praas_bench_per_second(&c[j], k);
}

static bool size_wanted(uint64_t size)
{
	return praas_options.size_only == ~0ull || praas_options.size_only == size;
}

void praas_bench_verbs(void)
{
	static const uint64_t sizes[] = { 64, 4096, 65536, 1 << 20 };

	if (!praas_perf_verbs_host()) {
		praas_bench_skip("verbs", "verbs-inline",
				 "PRAAS_PERF_VERBS names no device's address");
		return;
	}
	/* Other processes first: a device that is open does not go into a child. */
#ifdef PRAAS_HAVE_OFI
	praas_floor_fabric_begin();
#endif
	praas_floor_verbs_begin();
	praas_options.device = praas_floor_verbs_device();
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		if (size_wanted(sizes[i]))
			one_size(sizes[i]);
	for (unsigned i = 0; i < sizeof(streams) / sizeof(streams[0]); i++)
		if (size_wanted(64))
			one_stream(i);
	praas_options.device = NULL;
	praas_floor_verbs_end();
#ifdef PRAAS_HAVE_OFI
	praas_floor_fabric_end();
#endif
}
