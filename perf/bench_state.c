/* SPDX-License-Identifier: Apache-2.0
 *
 * `message`, `state`, `reduce`: what functions do with a process's memory, beside
 * Redis.
 */
#include <errno.h>
#include <string.h>

#include "perf/call.h"
#include "perf/clock.h"
#include "perf/pair.h"
#include "perf/redis.h"

void praas_bench_message(void)
{
	static const uint64_t sizes[] = { 10, 1024, 10240, 102400, 1 << 20, 5 << 20 };
	static const struct praas_perf_call worker = { .app = "worker",
						       .process = "message",
						       .transport = "shm",
						       .direct = true,
						       .function = "loop_message",
						       .loop = { .batch = 1,
								 .key = "mail" } };
	static const struct praas_perf_call in_line = { .app = "inline",
							.process = "message",
							.transport = "shm",
							.function = "loop_message",
							.loop = { .batch = 16,
								  .key = "mail" } };

	static const struct praas_perf_pair near = { .kind = PRAAS_PAIR_MESSAGE };
	static const struct praas_perf_pair far = { .kind = PRAAS_PAIR_MESSAGE,
						    .far = true };

	for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct praas_contender c[7];
		uint64_t n = sizes[i] < 65536 ? 5000 : 200;

		praas_floor_ring(&c[0], "message", sizes[i]);
		praas_perf_loop_contender(&c[1], "message", "process", &worker,
					  sizes[i], n);
		praas_perf_loop_contender(&c[2], "message", "process-inline", &in_line,
					  sizes[i], n);
		praas_perf_pair_contender(&c[3], "message", "node", &near, sizes[i], n);
		praas_perf_pair_contender(&c[4], "message", "tcp", &far, sizes[i], n);
		praas_redis_message(&c[5], "message", sizes[i], true);
		praas_redis_message(&c[6], "message", sizes[i], false);
		praas_bench_run(c, 7);
	}
}

/* Opens a process, puts the state that the loops read, and leaves it. */
static int prepare(const struct praas_perf_call *call, uint64_t bytes)
{
	struct praas_loop loop = { .n = 1, .batch = 1, .bytes = bytes };
	praas_connection *conn;
	uint32_t fn;
	int rc = praas_perf_call_open(call, &conn, &fn);

	if (rc != 0)
		return rc;
	memcpy(loop.key, "hot", sizeof "hot");
	rc = praas_perf_call_once(conn, "fill", &loop, sizeof loop);
	praas_close(conn);
	return rc;
}

static const struct praas_perf_call get[] = {
	{ .app = "worker",
	  .process = "state",
	  .transport = "shm",
	  .direct = true,
	  .function = "loop_get",
	  .loop = { .batch = 64, .key = "hot-0" } },
	{ .app = "inline",
	  .process = "state",
	  .transport = "shm",
	  .function = "loop_get",
	  .loop = { .batch = 64, .key = "hot-0" } }
};

static const struct praas_perf_call put[] = { { .app = "worker",
						.process = "state",
						.transport = "shm",
						.direct = true,
						.function = "loop_put",
						.loop = { .batch = 4, .key = "put" } },
					      { .app = "inline",
						.process = "state",
						.transport = "shm",
						.function = "loop_put",
						.loop = { .batch = 16,
							  .key = "put" } } };

/* Controller and worker each on a core, while the client that started the loop sleeps. */
static const struct praas_perf_call put_apart = { .app = "worker",
						  .process = "state-apart",
						  .transport = "shm",
						  .direct = true,
						  .apart = true,
						  .function = "loop_put",
						  .loop = { .batch = 16,
							    .key = "put" } };

static const struct praas_perf_call update[] = {
	{ .app = "worker",
	  .process = "state",
	  .transport = "shm",
	  .direct = true,
	  .function = "loop_update",
	  .loop = { .batch = 4, .key = "upd" } },
	{ .app = "inline",
	  .process = "state",
	  .transport = "shm",
	  .function = "loop_update",
	  .loop = { .batch = 16, .key = "upd" } }
};

void praas_bench_state(void)
{
	struct praas_contender c[5];

	if (prepare(&get[0], 64) != 0 || prepare(&get[1], 64) != 0) {
		praas_bench_skip("state", "get", "the process cannot be prepared");
		return;
	}
	praas_perf_loop_contender(&c[0], "state", "get", &get[0], 64, 5000);
	praas_perf_loop_contender(&c[1], "state", "get-inline", &get[1], 64, 5000);
	praas_redis_get(&c[2], "state", 64);
	praas_bench_run(c, 3);
	praas_floor_ring(&c[0], "state", 64);
	praas_perf_loop_contender(&c[1], "state", "put", &put[0], 64, 5000);
	praas_perf_loop_contender(&c[2], "state", "put-inline", &put[1], 64, 5000);
	praas_perf_loop_contender(&c[3], "state", "put-apart", &put_apart, 64, 20000);
	praas_redis_set(&c[4], "state", 64);
	praas_bench_run(c, 5);
	praas_perf_loop_contender(&c[1], "state", "update", &update[0], 64, 5000);
	praas_perf_loop_contender(&c[2], "state", "update-inline", &update[1], 64,
				  5000);
	praas_floor_ring(&c[0], "state", 64);
	praas_bench_run(c, 3);
}

/* ---- reduce ---- */

void praas_bench_reduce(void)
{
	static const uint64_t sizes[] = { 1024, 10240, 102400, 1 << 20 };
	static struct praas_perf_call calls[4][2];
	static char names[4][2][16];

	for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct praas_contender c[7];
		uint64_t n = sizes[i] < 65536 ? 20000 : 2000;
		unsigned count = 0;

		for (unsigned k = 0; k < 2; k++) {
			(void)memcpy(names[i][k], "reduce-0", 9);
			names[i][k][7] = (char)('0' + i);
			calls[i][k] = (struct praas_perf_call){ .app = k ? "inline"
									 : "worker",
								.process = names[i][k],
								.transport = "shm",
								.direct = k == 0,
								.function = "reduce",
								.fill = true };
		}
		praas_floor_reduce(&c[count++], sizes[i], false);
		praas_floor_reduce(&c[count++], sizes[i], true);
		praas_floor_ring(&c[count++], "reduce", sizes[i]);
		praas_perf_call_contender(&c[count++], "reduce", "elements",
					  &calls[i][0], sizes[i], n);
		c[count - 1].versus = "copy-add-2cores";
		praas_perf_call_contender(&c[count++], "reduce", "elements-inline",
					  &calls[i][1], sizes[i], n);
		c[count - 1].versus = "copy-add-2cores";
		praas_redis_getset(&c[count++], "reduce", sizes[i]);
		if (sizes[i] <= 102400)
			praas_redis_script(&c[count++], "reduce", sizes[i]);
		praas_bench_run(c, count);
	}
}
