/* SPDX-License-Identifier: Apache-2.0
 *
 * `idle` and `growth`: what a process costs that does nothing, and how latency grows
 * with the number of connections and keys.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "perf/call.h"
#include "perf/clock.h"
#include "perf/pair.h"
#include "perf/target.h"

#define IDLE_PROCESSES 10u
#define POINTS_MAX 8u
#define MEMBERS_MAX 1000u
#define CONNECTIONS_OWN 1000u
#define CONNECTIONS_MAX                                                                \
	10000u /* the others are held by programs that do nothing else */
#define HOLDERS 3u
#define CONNECTION_FDS 3u /* of one at the client: socket, io_uring, eventfd */

/* CPU time of an OS process in clock ticks, its threads included. */
static uint64_t cpu_ticks(int pid)
{
	uint64_t ticks = 0;
	char path[64], buf[600], *at;
	size_t n = 0;
	FILE *f;

	(void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (f) {
		n = fread(buf, 1, sizeof buf - 1, f);
		(void)fclose(f);
	}
	buf[n] = '\0';
	/* Behind the name, which may hold anything: the 12th word is user time, the 13th system. */
	at = strrchr(buf, ')');
	for (int word = 0; at && word <= 13; word++) {
		if (word >= 12)
			ticks += strtoull(at, NULL, 10);
		at = strchr(at + 1, ' ');
	}
	return ticks;
}

/* Private bytes of an OS process. */
static uint64_t private_bytes(int pid)
{
	unsigned long long sum = 0;
	char path[64], text[256];
	FILE *f;

	(void)snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
	f = fopen(path, "re");
	while (f && fgets(text, sizeof text, f))
		if (strncmp(text, "Private_", 8) == 0 && strchr(text, ':'))
			sum += strtoull(strchr(text, ':') + 1, NULL, 10);
	if (f)
		(void)fclose(f);
	return sum * 1024u;
}

void praas_bench_idle(void)
{
	struct praas_target *t;
	int pids[IDLE_PROCESSES];
	double memory[IDLE_PROCESSES];
	uint64_t before = 0, after = 0, t0;
	double seconds;

	if (praas_target_start(PRAAS_TARGET_PLAIN, &t) != 0) {
		praas_bench_skip("idle", "cpu", "the service does not start");
		return;
	}
	for (unsigned i = 0; i < IDLE_PROCESSES; i++) {
		char name[16];

		(void)snprintf(name, sizeof name, "idle-%u", i);
		if (praas_target_process(t, "inline", name) != 0)
			return;
		pids[i] = praas_target_os_pid(t, "inline", name);
	}
	(void)sleep(2); /* until the pollers sleep */
	for (unsigned i = 0; i < IDLE_PROCESSES; i++)
		before += cpu_ticks(pids[i]);
	t0 = praas_now_ns();
	(void)sleep(praas_options.quick ? 3 : 10);
	seconds = (double)(praas_now_ns() - t0) / 1e9;
	for (unsigned i = 0; i < IDLE_PROCESSES; i++) {
		after += cpu_ticks(pids[i]);
		memory[i] = (double)private_bytes(pids[i]);
	}
	praas_bench_line(
		"idle", "cpu", "\"unit\":\"percent\",\"processes\":%u,\"p50\":%.4f",
		IDLE_PROCESSES,
		100.0 * (double)(after - before) / (double)sysconf(_SC_CLK_TCK) /
			seconds / IDLE_PROCESSES);
	praas_bench_line("idle", "memory",
			 "\"unit\":\"bytes\",\"processes\":%u,\"p50\":%.0f",
			 IDLE_PROCESSES, praas_bench_median(memory, IDLE_PROCESSES));
	for (unsigned i = 0; i < IDLE_PROCESSES; i++) {
		char name[16];

		(void)snprintf(name, sizeof name, "idle-%u", i);
		(void)praas_process_delete(t->control, "inline", name);
	}
}

/* ---- growth ---- */

struct points {
	unsigned count;
	double n[POINTS_MAX], p50[POINTS_MAX];
};

/* Slope of log p50 over log n, least squares: 0 is flat, 1 is proportional. */
static double slope(const struct points *p)
{
	double sx = 0, sy = 0, sxx = 0, sxy = 0, k = p->count;

	for (unsigned i = 0; i < p->count; i++) {
		double x = log(p->n[i]), y = log(p->p50[i]);

		sx += x;
		sy += y;
		sxx += x * x;
		sxy += x * y;
	}
	return k * sxx - sx * sx > 0 ? (k * sxy - sx * sy) / (k * sxx - sx * sx) : 0;
}

static void print_points(const char *variant, const struct points *p)
{
	char text[400];
	int at = 0;

	for (unsigned i = 0; i < p->count; i++)
		at += snprintf(text + at, sizeof text - (size_t)at, "%s[%.0f,%.1f]",
			       i ? "," : "", p->n[i], p->p50[i]);
	praas_bench_line("growth", variant,
			 "\"unit\":\"ns\",\"slope\":%.4f,\"points\":[%s]", slope(p),
			 text);
}

/* Median of the samples that a measuring function returns. */
static int measure(praas_connection *conn, const char *function,
		   const struct praas_loop *loop, double *ret_p50)
{
	static struct praas_hist h;
	struct praas_call call = { .data = loop, .bytes = sizeof *loop };
	struct praas_result r;
	int rc = praas_function_lookup(conn, function, &call.function);

	if (rc == 0)
		rc = praas_call(conn, &call, &r);
	if (rc != 0)
		return rc;
	memset(&h, 0, sizeof h);
	for (size_t i = 0; r.status == 0 && i < r.view.bytes / sizeof(uint32_t); i++)
		praas_hist_add(&h, ((const uint32_t *)r.view.data)[i]);
	rc = r.status ? -EIO : 0;
	praas_result_release(conn, &r);
	*ret_p50 = praas_hist_quantile(&h, 0.5);
	return rc;
}

/* Keys from 1 to keys_max: fill up to n, then measure one of them. */
static void growth_keys(const char *variant, const char *fill, const char *function,
			uint32_t batch, uint32_t keys_max)
{
	static const struct praas_perf_call open = { .app = "inline",
						     .process = "growth",
						     .transport = "shm",
						     .function = "noop" };
	struct points p = { 0 };
	praas_connection *conn;
	uint32_t fn, have = 0;
	int rc = praas_perf_call_open(&open, &conn, &fn);

	for (uint32_t n = 1; rc == 0 && n <= keys_max && p.count < POINTS_MAX;
	     n *= 10) {
		while (rc == 0 && have < n) {
			uint32_t more = n - have > 10000 ? 10000 : n - have;
			struct praas_loop loop = { .n = more,
						   .batch = have,
						   .bytes = 16 };

			/* State keys start anew at 0: one prefix a piece. */
			(void)snprintf(loop.key, sizeof loop.key, "g%u", have);
			rc = praas_perf_call_once(conn, fill, &loop, sizeof loop);
			have += more;
		}
		if (rc == 0) {
			struct praas_loop loop = {
				.n = 2000, .batch = batch, .bytes = 16, .key = "g0-0"
			};

			rc = measure(conn, function, &loop, &p.p50[p.count]);
			p.n[p.count++] = n;
		}
	}
	if (rc != 0)
		praas_bench_skip("growth", variant, "at %u keys: %s", have,
				 strerror(-rc));
	else
		print_points(variant, &p);
	if (have)
		praas_close(conn);
}

/* A program that has connections and asks for nothing. */
struct holder {
	pid_t pid;
	int ready, end; /* tells that all are there; goes when this is closed */
};

static void hold(const struct praas_target *t, const struct praas_perf_call *call,
		 unsigned count, int ready, int end)
{
	struct praas_connect_config config = { .transport = call->transport };
	struct praas_control *control;
	praas_connection *conn;
	char byte = 0;
	int rc = praas_control_open(t->url, t->token, &control);

	for (unsigned i = 0; rc == 0 && i < count; i++)
		rc = praas_connect(control, call->app, call->process, &config, &conn);
	if (rc != 0)
		(void)fprintf(stderr, "praas-perf: growth: %s\n", praas_error());
	else if (write(ready, &byte, 1) == 1)
		(void)!read(end, &byte, 1); /* the end is all that comes */
	_exit(0);
}

static int holder_start(const struct praas_perf_call *call, unsigned count,
			struct holder *ret_holder)
{
	int ready[2], end[2];
	struct praas_target *t;
	int rc = praas_target_start(PRAAS_TARGET_PLAIN, &t);

	if (rc != 0 || pipe2(ready, O_CLOEXEC) != 0)
		return rc ? rc : -errno;
	if (pipe2(end, O_CLOEXEC) != 0) {
		rc = -errno;
		(void)close(ready[0]);
		(void)close(ready[1]);
		return rc;
	}
	ret_holder->ready = ready[0];
	ret_holder->end = end[1];
	ret_holder->pid = fork();
	if (ret_holder->pid == 0) {
		(void)close(end[1]);
		hold(t, call, count, ready[1], end[0]);
	}
	(void)close(ready[1]);
	(void)close(end[0]);
	return 0;
}

static void holder_stop(const struct holder *h)
{
	(void)close(h->ready);
	(void)close(h->end);
	if (h->pid > 0)
		(void)waitpid(h->pid, NULL, 0);
}

/* All that are missing, by so many programs. */
static int holders_start(const struct praas_perf_call *call, struct holder *holders,
			 unsigned *count)
{
	char byte;
	int rc = 0;

	while (rc == 0 && *count < HOLDERS) {
		rc = holder_start(call, (CONNECTIONS_MAX - CONNECTIONS_OWN) / HOLDERS,
				  &holders[*count]);
		*count += rc == 0;
	}
	for (unsigned i = 0; rc == 0 && i < *count; i++)
		rc = read(holders[i].ready, &byte, 1) == 1 ? 0 : -EMFILE;
	return rc;
}

/* Of calls by the first of them. */
static int point(praas_connection *conn, uint32_t function, uint32_t n,
		 struct points *p)
{
	static struct praas_hist h;
	struct praas_call call = { .function = function };
	struct praas_result r;
	int rc = 0;

	memset(&h, 0, sizeof h);
	for (unsigned i = 0; rc == 0 && i < 3000; i++) {
		uint64_t t0 = praas_perf_ticks();

		rc = praas_call(conn, &call, &r);
		if (rc == 0)
			praas_result_release(conn, &r);
		praas_hist_add(&h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0));
	}
	p->n[p->count] = n;
	p->p50[p->count++] = praas_hist_quantile(&h, 0.5);
	return rc;
}

static void growth_connections(void)
{
	static const struct praas_perf_call open = { .app = "inline",
						     .process = "growth-conn",
						     .transport = "tcp",
						     .function = "noop" };
	static praas_connection *conns[CONNECTIONS_OWN];
	struct holder holders[HOLDERS];
	struct points p = { 0 };
	struct rlimit limit = { 0 };
	uint32_t fn = 0, have = 0;
	unsigned held = 0;
	int rc = 0;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit); /* as many as there may be */
	}
	for (uint32_t n = 1; rc == 0 && n <= CONNECTIONS_OWN; n *= 10) {
		while (rc == 0 && have < n) {
			rc = praas_perf_call_open(&open, &conns[have], &fn);
			have += rc == 0;
		}
		if (rc == 0)
			rc = point(conns[0], fn, n, &p);
	}
	/* A process's port has a descriptor for each; a holder has three. */
	if (rc == 0 && !praas_options.quick && limit.rlim_cur > CONNECTIONS_MAX + 256 &&
	    limit.rlim_cur > CONNECTION_FDS * CONNECTIONS_MAX / HOLDERS + 256) {
		rc = holders_start(&open, holders, &held);
		if (rc == 0)
			rc = point(conns[0], fn, CONNECTIONS_MAX, &p);
	}
	if (rc != 0)
		praas_bench_skip("growth", "connections", "at %u: %s", have,
				 strerror(-rc));
	else
		print_points("connections", &p);
	while (held)
		holder_stop(&holders[--held]);
	while (have)
		praas_close(conns[--have]);
}

/* Messages between two neighbours, of an application with more and more members. */
static void growth_members(void)
{
	static const struct praas_perf_pair near = { .kind = PRAAS_PAIR_MESSAGE };
	struct points p = { 0 };
	struct praas_contender c;
	int rc;

	praas_perf_pair_contender(&c, "growth", "members", &near, 64, 2000);
	rc = c.setup(&c);
	for (uint32_t n = 1; rc == 0 && n <= MEMBERS_MAX; n *= 10) {
		memset(&c.hist, 0, sizeof c.hist);
		rc = praas_perf_pair_members(n);
		if (rc == 0)
			rc = c.round(&c, c.n, &c.hist);
		p.n[p.count] = n;
		p.p50[p.count++] = praas_hist_quantile(&c.hist, 0.5) / 2; /* one way */
	}
	if (rc != 0)
		praas_bench_skip("growth", "members", "at %.0f: %s",
				 p.count ? p.n[p.count - 1] : 0, strerror(-rc));
	else
		print_points("members", &p);
	c.teardown(&c);
}

void praas_bench_growth(void)
{
	uint32_t keys = praas_options.quick ? 10000 : 1000000;

	growth_members();
	growth_connections();
	growth_keys("state-keys", "fill", "loop_get", 64, keys);
	growth_keys("mailbox-keys", "fill_mail", "loop_message", 16, keys);
}
