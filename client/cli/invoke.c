/* SPDX-License-Identifier: Apache-2.0
 *
 * praas invoke: calls a function of a process, once or many times.
 *
 * The call goes straight to the process, over shared memory on the same host and over
 * TCP elsewhere; the control service only hands out the credential and wakes the
 * process.
 */
#include "client/cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define INFLIGHT_MAX 4096u
#define COUNT_MAX 10000000u

struct invoke {
	const char *app;
	const char *function;
	const char *pid;
	const char *data_spec;
	const char *key;
	const char *transport;
	uint64_t deadline_ns;
	uint64_t count;
	uint64_t inflight;
	bool one_way;
	bool async;
	bool timing;
	struct praas_timing parts; /* of the call, with timing */
	/* Filled on the way. */
	char process[PRAAS_NAME_MAX + 1];
	praas_connection *conn;
	struct praas_call call;
	uint64_t connect_ns;
	struct praas_trace_context trace; /* of TRACEPARENT */
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail for this clock */
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Payloads copied so far, at this end. */
static uint64_t copies_of(const praas_connection *conn)
{
	struct praas_conn_stats stats;

	praas_stats(conn, &stats);
	return stats.copies + stats.transport_copies;
}

static void print_timing(const struct invoke *v, uint64_t copies)
{
	const struct praas_timing *t = &v->parts;
	const uint64_t ns[] = { v->connect_ns, t->call_ns, t->client_ns, t->wire_ns,
				t->queue_ns,   t->run_ns,  t->state_ns };
	char text[sizeof(ns) / sizeof(ns[0])][16];

	for (size_t i = 0; i < sizeof(ns) / sizeof(ns[0]); i++)
		praas_cli_ns_text(ns[i], text[i]);
	(void)fprintf(
		stderr,
		"process %s over %s, connected in %s: call %s = client %s + wire %s "
		"+ queue %s + run %s + state %s; payloads copied at this end: %" PRIu64
		"\n",
		v->process, praas_transport(v->conn), text[0], text[1], text[2],
		text[3], text[4], text[5], text[6], copies);
}

static json_t *timing_json(const struct praas_timing *t, uint64_t copies)
{
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "call_ns",
			 (json_int_t)t->call_ns, "client_ns", (json_int_t)t->client_ns,
			 "wire_ns", (json_int_t)t->wire_ns, "queue_ns",
			 (json_int_t)t->queue_ns, "run_ns", (json_int_t)t->run_ns,
			 "state_ns", (json_int_t)t->state_ns, "copies",
			 (json_int_t)copies);
}

static void print_result(const struct praas_cli *cli, const struct invoke *v,
			 const struct praas_result *r, uint64_t call_ns,
			 uint64_t copies)
{
	json_t *answer;

	if (!cli->json) {
		if (r->view.bytes == 0)
			return;
		praas_cli_write(r->view.data, r->view.bytes);
		if (isatty(STDOUT_FILENO) &&
		    ((const char *)r->view.data)[r->view.bytes - 1] != '\n')
			(void)fputc('\n', stdout);
		return;
	}
	answer = json_pack("{s:i,s:s,s:s,s:I,s:I,s:I,s:o*}", "status", r->status, "pid",
			   v->process, "transport", praas_transport(v->conn), "call_ns",
			   (json_int_t)call_ns, "run_ns", (json_int_t)r->run_ns,
			   "connect_ns", (json_int_t)v->connect_ns, "result",
			   praas_cli_payload_json(r->view.data, r->view.bytes));
	if (answer && v->timing)
		(void)json_object_set_new(answer, "timing",
					  timing_json(&v->parts, copies));
	praas_cli_print(cli, answer);
	json_decref(answer);
}

/* Blocking, or with --async submitted and waited for. */
static int call_any(const struct invoke *v, struct praas_result *ret_result)
{
	uint64_t call = 0;
	int rc;

	if (!v->async)
		return praas_call(v->conn, &v->call, ret_result);
	rc = praas_submit(v->conn, &v->call, &call);
	if (rc == 0)
		(void)fprintf(stderr, "call %" PRIu64 " submitted\n", call);
	return rc ? rc : praas_wait_call(v->conn, call, -1, ret_result);
}

static int invoke_once(const struct praas_cli *cli, const struct invoke *v)
{
	struct praas_result result = { 0 };
	uint64_t start = now_ns();
	uint64_t ns, copies = copies_of(v->conn);
	uint64_t call = 0;
	int rc = v->one_way ? praas_submit(v->conn, &v->call, &call)
			    : call_any(v, &result);

	ns = now_ns() - start;
	copies = copies_of(v->conn) - copies;
	if (rc != 0)
		return praas_cli_fail_call(cli, rc, "invoke the function");
	if (v->timing)
		print_timing(v, copies);
	if (v->one_way)
		return PRAAS_EXIT_DONE;
	if (result.status == 0)
		print_result(cli, v, &result, ns, copies);
	else
		rc = praas_cli_fail_status(v->function, result.status, &result.view);
	praas_result_release(v->conn, &result);
	return rc;
}

/* ---- many calls
 * ----------------------------------------------------------------------- */

struct run {
	uint64_t *ns;      /* latency of each finished call */
	uint64_t *started; /* by slot of what is in flight */
	uint64_t *calls;   /* by slot: its id; valid when started is not 0 */
	uint64_t submitted, done;
	struct praas_cli_progress progress;
	int exit_code; /* of the first failure */
};

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void take_result(struct invoke *v, struct run *run, struct praas_result *r)
{
	uint64_t now = now_ns();

	for (uint64_t i = 0; i < v->inflight; i++) {
		if (run->started[i] == 0 || run->calls[i] != r->call)
			continue;
		run->ns[run->done++] = now - run->started[i];
		praas_cli_progress(&run->progress, 1, 0);
		run->started[i] = 0;
		break;
	}
	if (r->status != 0 && run->exit_code == 0)
		run->exit_code =
			praas_cli_fail_status(v->function, r->status, &r->view);
	praas_result_release(v->conn, r);
}

/* Fills the free slots; 0 or an errno. */
static int submit_more(struct invoke *v, struct run *run)
{
	for (uint64_t i = 0; i < v->inflight && run->submitted < v->count; i++) {
		int rc;

		if (run->started[i] != 0)
			continue;
		run->started[i] = now_ns();
		rc = praas_submit(v->conn, &v->call, &run->calls[i]);
		if (rc != 0) {
			run->started[i] = 0;
			return rc == -ENOBUFS && run->submitted > run->done ? 0 : rc;
		}
		run->submitted++;
	}
	return 0;
}

/* Waits for the first call in flight. 0 or an errno. */
static int wait_any(struct invoke *v, const struct run *run,
		    struct praas_result *ret_result)
{
	for (uint64_t i = 0; i < v->inflight; i++)
		if (run->started[i] != 0)
			return praas_wait_call(v->conn, run->calls[i], -1, ret_result);
	return -EINVAL; /* nothing is in flight: not called then */
}

/* Several in flight: fill the free slots, take what is done, wait when nothing is. */
static int run_pipelined(struct invoke *v, struct run *run)
{
	struct praas_result results[64];

	while (run->done < v->count && run->exit_code == 0) {
		int n;
		int rc = submit_more(v, run);

		if (rc != 0)
			return rc;
		n = praas_poll(v->conn, results, 64);
		if (n == 0) {
			rc = wait_any(v, run, &results[0]);
			n = rc == 0 ? 1 : rc;
		}
		if (n < 0)
			return n;
		for (int i = 0; i < n; i++)
			take_result(v, run, &results[i]);
	}
	return 0;
}

/* One after the other, as a program does that needs each result. */
static int run_calls(struct invoke *v, struct run *run)
{
	while (run->done < v->count && run->exit_code == 0) {
		struct praas_result result = { 0 };
		uint64_t start = now_ns();
		int rc = praas_call(v->conn, &v->call, &result);

		if (rc != 0)
			return rc;
		run->ns[run->done++] = now_ns() - start;
		praas_cli_progress(&run->progress, 1, 0);
		if (result.status != 0)
			run->exit_code = praas_cli_fail_status(
				v->function, result.status, &result.view);
		praas_result_release(v->conn, &result);
	}
	return 0;
}

static void print_run(const struct praas_cli *cli, const struct invoke *v,
		      struct run *run, uint64_t total_ns)
{
	uint64_t p50;
	uint64_t p99;
	uint64_t n = run->done;
	double rate = total_ns ? (double)n * 1e9 / (double)total_ns : 0;
	char text[4][16];

	if (n == 0)
		return;
	qsort(run->ns, n, sizeof(*run->ns), compare_u64);
	p50 = run->ns[n / 2];
	p99 = run->ns[n * 99 / 100];
	if (cli->json) {
		json_t *answer = json_pack(
			"{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:f}", "pid", v->process,
			"transport", praas_transport(v->conn), "n", (json_int_t)n,
			"inflight", (json_int_t)v->inflight, "min_ns",
			(json_int_t)run->ns[0], "p50_ns", (json_int_t)p50, "p99_ns",
			(json_int_t)p99, "max_ns", (json_int_t)run->ns[n - 1], "per_s",
			rate);

		praas_cli_print(cli, answer);
		json_decref(answer);
		return;
	}
	praas_cli_ns_text(run->ns[0], text[0]);
	praas_cli_ns_text(p50, text[1]);
	praas_cli_ns_text(p99, text[2]);
	praas_cli_ns_text(run->ns[n - 1], text[3]);
	(void)printf("%" PRIu64 " calls of %s over %s, %" PRIu64
		     " in flight: min %s, p50 %s, "
		     "p99 %s, max %s, %.0f calls/s\n",
		     n, v->function, praas_transport(v->conn), v->inflight, text[0],
		     text[1], text[2], text[3], rate);
}

static int invoke_many(const struct praas_cli *cli, struct invoke *v)
{
	struct run run = { 0 };
	uint64_t start;
	int rc = -ENOMEM;

	run.ns = calloc(v->count, sizeof(*run.ns));
	run.started = calloc(v->inflight, sizeof(*run.started));
	run.calls = calloc(v->inflight, sizeof(*run.calls));
	if (run.ns && run.started && run.calls) {
		run.progress.total = v->count;
		start = now_ns();
		rc = v->inflight == 1 ? run_calls(v, &run) : run_pipelined(v, &run);
		praas_cli_progress_end(&run.progress);
		print_run(cli, v, &run, now_ns() - start);
	}
	free(run.ns);
	free(run.started);
	free(run.calls);
	return rc ? praas_cli_fail_call(cli, rc, "invoke the function") : run.exit_code;
}

/* ---- the verb
 * -------------------------------------------------------------------------- */

/* Connects, looks the function up, puts the data where it is sent without a copy. */
static int prepare(struct praas_cli *cli, struct invoke *v, const void *data,
		   size_t bytes)
{
	struct praas_connect_config config = { .transport = v->transport };
	uint64_t start = now_ns();
	void *buffer = NULL;
	int rc;

	while (config.inflight_max < v->inflight)
		config.inflight_max =
			config.inflight_max ? config.inflight_max * 2 : 256;
	rc = praas_cli_connect_any(cli, v->app, v->pid, &config, v->process, &v->conn);
	if (rc != 0)
		return rc;
	v->connect_ns = now_ns() - start;
	rc = praas_function_lookup(v->conn, v->function, &v->call.function);
	if (rc == -ENOENT)
		return praas_cli_fail(
			PRAAS_EXIT_NOT_FOUND,
			"application %s has no function %s; praas.json names them: "
			"praas app show %s",
			v->app, v->function, v->app);
	if (rc != 0)
		return praas_cli_fail_call(cli, rc, "look the function up");
	/* A buffer of the connection is for one call at a time; many calls share plain
	 * memory. */
	if (v->count == 1 && bytes > 0)
		rc = praas_buffer_alloc(v->conn, bytes, &buffer);
	if (rc == -EMSGSIZE)
		return praas_cli_fail(
			PRAAS_EXIT_FAILED,
			"the payload of %zu bytes is over the limit of process %s",
			bytes, v->process);
	if (rc != 0)
		return praas_cli_fail_call(cli, rc, "get a buffer");
	if (buffer)
		memcpy(buffer, data, bytes);
	v->call.data = buffer ? buffer : data;
	v->call.bytes = bytes;
	v->call.key = v->key;
	v->call.timeout_ns = v->deadline_ns;
	v->call.flags = (v->one_way ? PRAAS_CALL_ONE_WAY : 0u) |
			(v->timing ? PRAAS_CALL_TIMING : 0u);
	v->call.timing = &v->parts;
	if (praas_cli_trace(&v->trace)) {
		v->call.trace = (const uint8_t *)&v->trace;
		v->call.flags |= PRAAS_CALL_TRACE_FLAGS;
	}
	return PRAAS_EXIT_DONE;
}

static int check(const struct invoke *v)
{
	if (v->inflight > INFLIGHT_MAX)
		return praas_cli_fail(PRAAS_EXIT_USAGE, "--concurrency is at most %u",
				      INFLIGHT_MAX);
	if (v->count > COUNT_MAX)
		return praas_cli_fail(PRAAS_EXIT_USAGE, "--count is at most %u",
				      COUNT_MAX);
	if (v->one_way && (v->count > 1 || v->async))
		return praas_cli_fail(
			PRAAS_EXIT_USAGE,
			"--one-way has no result to wait for: leave --count and "
			"--async out");
	if (v->timing && (v->one_way || v->count > 1))
		return praas_cli_fail(PRAAS_EXIT_USAGE,
				      "--timing is of one call with a result: leave "
				      "--one-way and --count out");
	if (v->inflight > v->count)
		return praas_cli_fail(PRAAS_EXIT_USAGE,
				      "--concurrency %" PRIu64
				      " needs --count of at least as "
				      "many",
				      v->inflight);
	return PRAAS_EXIT_DONE;
}

/* What the command was told; the program runs one verb. */
static struct invoke asked = { .count = 1, .inflight = 1 };

static const struct praas_cli_option options[] = {
	{ .kind = PRAAS_CLI_NAME, .value = &asked.app, .arg = "APP" },
	{ .kind = PRAAS_CLI_NAME, .value = &asked.function, .arg = "FUNCTION" },
	{ .name = "pid",
	  .key = 'p',
	  .kind = PRAAS_CLI_NAME,
	  .value = &asked.pid,
	  .arg = "PID",
	  .help = "Process, made when missing; one is chosen without it" },
	{ .name = "data",
	  .key = 'd',
	  .kind = PRAAS_CLI_TEXT,
	  .value = &asked.data_spec,
	  .arg = "TEXT|@FILE|-",
	  .help = "The input; empty when missing" },
	{ .name = "key",
	  .key = 'k',
	  .kind = PRAAS_CLI_KEY,
	  .value = &asked.key,
	  .arg = "KEY",
	  .help = "Key of the invocation" },
	{ .name = "deadline",
	  .kind = PRAAS_CLI_DURATION,
	  .value = &asked.deadline_ns,
	  .above_zero = true,
	  .arg = "TIME",
	  .help = "Give up after that time, also in the function" },
	{ .name = "one-way",
	  .value = &asked.one_way,
	  .help = "Do not wait for a result" },
	{ .name = "async", .value = &asked.async, .help = "Submit, then wait" },
	{ .name = "timing",
	  .value = &asked.timing,
	  .help = "Say where the call's time went" },
	{ .name = "transport",
	  .kind = PRAAS_CLI_CHOICE,
	  .value = &asked.transport,
	  .arg = "auto|shm|verbs|verbs+sealed|ofi|ofi+sealed|dpdk|tls|tcp",
	  .help = "How to reach the process" },
	{ .name = "count",
	  .key = 'n',
	  .kind = PRAAS_CLI_COUNT,
	  .value = &asked.count,
	  .arg = "N",
	  .help = "Call it N times and print latencies" },
	{ .name = "concurrency",
	  .key = 'c',
	  .kind = PRAAS_CLI_COUNT,
	  .value = &asked.inflight,
	  .arg = "N",
	  .help = "Calls in flight with --count" },
	{ 0 },
};

static int invoke(struct praas_cli *cli, int argc, char **argv)
{
	struct invoke *v = &asked;
	void *data = NULL;
	size_t bytes = 0;
	int rc;

	praas_cli_parse(cli,
			"Invoke a function and write its result to standard output.",
			options, argc, argv);
	rc = check(v);
	if (rc == 0)
		rc = praas_cli_data(v->data_spec, &data, &bytes);
	if (rc == 0)
		rc = prepare(cli, v, data, bytes);
	if (rc == 0)
		rc = v->count > 1 ? invoke_many(cli, v) : invoke_once(cli, v);
	praas_close(v->conn);
	free(data);
	return rc;
}

const struct praas_cli_verb praas_cli_invoke_verbs[] = {
	{ "invoke", NULL, invoke, "APP FUNCTION [-d DATA]", "call a function" },
	{ 0 },
};
