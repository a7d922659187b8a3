/* SPDX-License-Identifier: Apache-2.0
 *
 * `swap`, `wake`, `allocate`: the life cycle, through REST as users meet it.
 */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "perf/call.h"
#include "perf/clock.h"
#include "perf/redis.h"
#include "perf/target.h"

extern char **environ;

#define OBJECT_BYTES (1u << 20)
#define CROWD 1000u
#define CROWD_NS 10000000000u /* after which no more of it are started */

struct life {
	struct praas_target *target;
	char name[32];
	uint32_t seed;
	uint32_t crowd; /* other processes that live meanwhile */
};

/* arg of a contender: which service; NULL: the plain one. */
static const enum praas_target_kind prewarmed = PRAAS_TARGET_PREWARMED,
				    in_bucket = PRAAS_TARGET_S3;

static int start(struct praas_contender *c)
{
	const enum praas_target_kind *kind = c->arg;
	static unsigned serial;
	struct life *k = calloc(1, sizeof *k);

	if (!k)
		return -ENOMEM;
	c->data = k;
	(void)snprintf(k->name, sizeof k->name, "life-%u", serial++);
	return praas_target_start(kind ? *kind : PRAAS_TARGET_PLAIN, &k->target);
}

static void teardown(struct praas_contender *c)
{
	struct life *k = c->data;

	if (k && k->target)
		(void)praas_process_delete(k->target->control, "inline", k->name);
	free(k);
	c->data = NULL;
}

/* New contents for the whole state, so that nothing of an earlier snapshot can be
 * re-used. */
static int refill(struct life *k, uint64_t bytes)
{
	struct praas_loop loop = { .n = (uint32_t)(bytes / OBJECT_BYTES),
				   .batch = ++k->seed,
				   .bytes = OBJECT_BYTES,
				   .key = "part" };
	praas_connection *conn;
	int rc =
		praas_target_connect(k->target, "inline", k->name, "shm", false, &conn);

	if (rc != 0)
		return rc;
	rc = praas_perf_call_once(conn, "fill", &loop, sizeof loop);
	praas_close(conn);
	return rc;
}

static void time_add(struct praas_hist *h, uint64_t t0)
{
	praas_hist_add(h, praas_now_ns() - t0);
}

static int setup_swap(struct praas_contender *c)
{
	struct life *k;
	int rc = start(c);

	k = c->data;
	return rc ? rc : praas_target_process(k->target, "inline", k->name);
}

static int round_out(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct life *k = c->data;
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		uint64_t t0;

		rc = refill(k, c->size);
		t0 = praas_now_ns();
		if (rc == 0)
			rc = praas_process_swap_out(k->target->control, "inline",
						    k->name);
		time_add(h, t0);
		if (rc == 0)
			rc = praas_process_swap_in(k->target->control, "inline",
						   k->name);
	}
	return rc;
}

static int round_in(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct life *k = c->data;
	int rc = k->seed ? 0 : refill(k, c->size);

	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		uint64_t t0;

		rc = praas_process_swap_out(k->target->control, "inline", k->name);
		t0 = praas_now_ns();
		if (rc == 0)
			rc = praas_process_swap_in(k->target->control, "inline",
						   k->name);
		time_add(h, t0);
	}
	return rc;
}

static void ours(struct praas_contender *c, const char *bench, const char *variant,
		 uint64_t size, int (*setup)(struct praas_contender *),
		 int (*round)(struct praas_contender *, uint64_t, struct praas_hist *))
{
	*c = (struct praas_contender){ .bench = bench,
				       .variant = variant,
				       .role = PRAAS_ROLE_OURS,
				       .waits = "adaptive",
				       .size = size,
				       .n = 1,
				       .setup = setup,
				       .round = round,
				       .teardown = teardown };
}

static int call_noop(struct life *k)
{
	struct praas_connect_config config = { .transport = "shm" };
	praas_connection *conn;
	int rc = praas_connect(k->target->control, "inline", k->name, &config, &conn);

	if (rc != 0)
		return rc;
	rc = praas_perf_call_once(conn, "noop", NULL, 0);
	praas_close(conn);
	return rc;
}

/* From the last answer before a swap-out to the first one after it: somebody calls while it is on its way, and
 * that wakes it. */
static int round_gap(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct life *k = c->data;
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		uint64_t t0;

		rc = refill(k, c->size);
		t0 = praas_now_ns();
		if (rc == 0)
			rc = praas_process_swap_out(k->target->control, "inline",
						    k->name);
		if (rc == 0)
			rc = call_noop(k);
		time_add(h, t0);
	}
	return rc;
}

static unsigned swap_in_folder(struct praas_contender *c, uint64_t bytes)
{
	praas_floor_file(&c[0], "swap", bytes, true);
	praas_floor_file(&c[1], "swap", bytes, false);
	ours(&c[2], "swap", "out-file", bytes, setup_swap, round_out);
	c[2].versus = "file-write-fsync";
	ours(&c[3], "swap", "in-file", bytes, setup_swap, round_in);
	c[3].versus = "file-read";
	ours(&c[4], "swap", "in-file-prewarmed", bytes, setup_swap, round_in);
	c[4].versus = "file-read";
	c[4].arg = &prewarmed;
	praas_bench_store(&c[5], bytes, true, PRAAS_BENCH_FOLDER);
	praas_bench_store(&c[6], bytes, false, PRAAS_BENCH_FOLDER);
	ours(&c[7], "swap", "gap-file", bytes, setup_swap, round_gap);
	c[7].versus = "file-write-fsync";
	praas_bench_store(&c[8], bytes, true, PRAAS_BENCH_SEALED);
	praas_bench_store(&c[9], bytes, false, PRAAS_BENCH_SEALED);
	return 10;
}

static unsigned swap_in_bucket(struct praas_contender *c, uint64_t bytes)
{
	praas_floor_curl(&c[0], "swap", bytes, true);
	praas_floor_curl(&c[1], "swap", bytes, false);
	ours(&c[2], "swap", "out-s3", bytes, setup_swap, round_out);
	c[2].versus = "curl-put";
	ours(&c[3], "swap", "in-s3", bytes, setup_swap, round_in);
	c[3].versus = "curl-get";
	praas_bench_store(&c[4], bytes, true, PRAAS_BENCH_BUCKET);
	praas_bench_store(&c[5], bytes, false, PRAAS_BENCH_BUCKET);
	ours(&c[6], "swap", "gap-s3", bytes, setup_swap, round_gap);
	c[6].versus = "curl-put";
	c[2].arg = c[3].arg = c[6].arg = &in_bucket;
	return 7;
}

/* For small states: what it keeps is in its memory. */
static unsigned store_in_redis(struct praas_contender *c, uint64_t bytes)
{
	if (!praas_options.redis || bytes > 10u << 20)
		return 0;
	praas_redis_durable(&c[0], "swap", bytes, true);
	praas_redis_durable(&c[1], "swap", bytes, false);
	praas_bench_store(&c[2], bytes, true, PRAAS_BENCH_REDIS);
	praas_bench_store(&c[3], bytes, false, PRAAS_BENCH_REDIS);
	return 4;
}

static void no_bucket(const char *bench, const char *variant)
{
	praas_bench_skip(bench, variant, "no bucket: --s3 moto, rgw or s3://…");
}

void praas_bench_swap(void)
{
	static const uint64_t mib[] = { 1, 5, 10, 50, 100, 200, 400 };
	struct praas_contender c[21];

	for (unsigned i = 0; i < (praas_options.quick ? 4 : 7); i++) {
		uint64_t bytes = mib[i] << 20;
		unsigned count;

		if (praas_options.size_only != ~0ull &&
		    praas_options.size_only != bytes)
			continue;
		count = swap_in_folder(c, bytes);
		if (praas_options.s3)
			count += swap_in_bucket(c + count, bytes);
		count += store_in_redis(c + count, bytes);
		praas_bench_run(c, count);
	}
	if (!praas_options.s3)
		no_bucket("swap", "out-s3");
}

/* ---- wake: an invocation on a swapped process, to its reply ---- */

static int round_wake(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct life *k = c->data;
	int rc = k->seed ? 0 : refill(k, c->size);

	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		/* Until the controller before is gone, the state of the others is in memory, and
		 * another controller stands ready: a process that rests, not one on its way. */
		struct timespec rest = { .tv_nsec = 400000000 };
		uint64_t t0;

		rc = praas_process_swap_out(k->target->control, "inline", k->name);
		(void)nanosleep(&rest, NULL);
		t0 = praas_now_ns();
		if (rc == 0)
			rc = call_noop(k);
		time_add(h, t0);
	}
	return rc;
}

void praas_bench_wake(void)
{
	static const uint64_t mib[] = { 1, 50, 200 };
	struct praas_contender c[8];
	unsigned count = 5;

	for (unsigned i = 0; i < 3; i++)
		ours(&c[i], "wake", "file", mib[i] << 20, setup_swap, round_wake);
	for (unsigned i = 0; i < 2; i++) {
		ours(&c[3 + i], "wake", "file-prewarmed", mib[2 * i] << 20, setup_swap,
		     round_wake);
		c[3 + i].arg = &prewarmed;
	}
	for (unsigned i = 0; praas_options.s3 && i < 3; i++, count++) {
		ours(&c[count], "wake", "s3", mib[i] << 20, setup_swap, round_wake);
		c[count].arg = &in_bucket;
	}
	for (unsigned i = 0; i < count; i++)
		c[i].n = 2;
	praas_bench_run(c, count);
	if (!praas_options.s3)
		no_bucket("wake", "s3");
}

/* ---- allocate: REST create to the data plane's first answer ---- */

static int round_allocate(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct life *k = c->data;
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		struct timespec refill = { .tv_nsec = 60000000 };
		uint64_t t0;

		if (c->arg) /* until another controller stands ready */
			(void)nanosleep(&refill, NULL);
		t0 = praas_now_ns();
		rc = praas_process_create(k->target->control, "inline", k->name, NULL);
		if (rc == 0)
			rc = call_noop(k);
		time_add(h, t0);
		if (rc == 0)
			rc = praas_process_delete(k->target->control, "inline",
						  k->name);
	}
	return rc;
}

/* A program of ours, started, until it says that it runs. */
static int round_spawn(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	char exe[600];
	char *argv[] = { exe, (char[]){ "--ready" }, NULL };

	(void)c;
	(void)snprintf(exe, sizeof exe, "%s/praas-perf", praas_options.bin);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t t0 = praas_now_ns();
		posix_spawn_file_actions_t fa;
		int out[2], rc;
		char byte;
		pid_t pid;

		if (pipe(out) != 0)
			return -errno;
		(void)posix_spawn_file_actions_init(&fa);
		(void)posix_spawn_file_actions_adddup2(&fa, out[1], STDOUT_FILENO);
		rc = -posix_spawn(&pid, exe, &fa, NULL, argv, environ);
		(void)posix_spawn_file_actions_destroy(&fa);
		(void)close(out[1]);
		if (rc == 0 && read(out[0], &byte, 1) != 1)
			rc = -EPROTO;
		time_add(h, t0);
		(void)close(out[0]);
		if (rc != 0)
			return rc;
		(void)waitpid(pid, NULL, 0);
	}
	return 0;
}

/* ---- the same, while many live ---- */

static void crowd_name(uint32_t i, char ret_name[32])
{
	(void)snprintf(ret_name, 32, "crowd-%u", i);
}

static int setup_crowd(struct praas_contender *c)
{
	uint32_t wanted = praas_options.quick ? CROWD / 10 : CROWD;
	uint64_t begun_ns = praas_now_ns();
	struct life *k = calloc(1, sizeof *k);
	char name[32];
	int rc;

	if (!k)
		return -ENOMEM;
	c->data = k;
	(void)snprintf(k->name, sizeof k->name, "one-more");
	rc = praas_target_start(PRAAS_TARGET_CROWDED, &k->target);
	while (rc == 0 && k->crowd < wanted && praas_now_ns() - begun_ns < CROWD_NS) {
		crowd_name(k->crowd, name);
		rc = praas_target_process(k->target, "inline", name);
		k->crowd += rc == 0;
	}
	c->live = k->crowd;
	return rc;
}

static void teardown_crowd(struct praas_contender *c)
{
	struct life *k = c->data;
	char name[32];

	while (k && k->crowd > 0) {
		crowd_name(--k->crowd, name);
		(void)praas_process_delete(k->target->control, "inline", name);
	}
	teardown(c);
}

/* Two services in turns: of the one nothing lives, of the other many do. */
static void allocate_in_a_crowd(void)
{
	struct praas_contender c[2];

	ours(&c[0], "allocate", "alone", 0, start, round_allocate);
	c[0].role = PRAAS_ROLE_FLOOR;
	ours(&c[1], "allocate", "local-crowd", 0, setup_crowd, round_allocate);
	c[1].teardown = teardown_crowd;
	c[0].n = c[1].n = 20;
	praas_bench_run(c, 2);
}

void praas_bench_allocate(void)
{
	struct praas_contender c[3];

	c[0] = (struct praas_contender){ .bench = "allocate",
					 .variant = "vfork-exec",
					 .role = PRAAS_ROLE_FLOOR,
					 .waits = "block",
					 .n = 50,
					 .round = round_spawn };
	ours(&c[1], "allocate", "local", 0, start, round_allocate);
	ours(&c[2], "allocate", "local-prewarmed", 0, start, round_allocate);
	c[2].arg = &prewarmed;
	c[1].n = c[2].n = 20;
	praas_bench_run(c, 3);
	allocate_in_a_crowd();
}
