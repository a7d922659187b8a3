/* SPDX-License-Identifier: Apache-2.0
 *
 * praas-perf: runs the benchmarks and prints JSON lines (docs/performance.md). perf/run
 * starts it with the right folders; by itself it needs --bin and --functions.
 */
#include <argp.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "perf/bench.h"
#include "perf/clock.h"
#include "perf/fabric.h"
#include "perf/plot.h"
#include "perf/redis.h"
#include "perf/target.h"
#include "perf/verbs.h"

static const struct {
	const char *name;
	void (*run)(void);
} benches[] = {
	{ "floor", praas_bench_floor },
	{ "invoke", praas_bench_invoke },
#ifdef PRAAS_HAVE_OFI
	{ "fabric", praas_bench_invoke_fabric },
#endif
	{ "throughput", praas_bench_throughput },
	{ "chain", praas_bench_chain },
	{ "message", praas_bench_message },
	{ "state", praas_bench_state },
	{ "reduce", praas_bench_reduce },
	{ "durable", praas_bench_durable },
	{ "swap", praas_bench_swap },
	{ "wake", praas_bench_wake },
	{ "allocate", praas_bench_allocate },
	{ "rest", praas_bench_rest },
	{ "idle", praas_bench_idle },
	{ "growth", praas_bench_growth },
	{ "verbs", praas_bench_verbs },
};

#define LIMIT_MAX_S 86400u

enum {
	OPT_QUICK = 256,
	OPT_ONLY,
	OPT_JSON,
	OPT_PLOTS,
	OPT_BIN,
	OPT_FUNCTIONS,
	OPT_ROUNDS,
	OPT_LIMIT,
	OPT_WORK,
	OPT_SIZE,
	OPT_S3,
	OPT_VARIANT,
	OPT_TABLE
};

static const struct argp_option options[] = {
	{ "quick", OPT_QUICK, NULL, 0, "a tenth of the operations, 3 rounds", 0 },
	{ "only", OPT_ONLY, "NAME,…", 0, "these benchmarks alone", 0 },
	{ "json", OPT_JSON, "FILE", 0, "write the lines to FILE too", 0 },
	{ "plots", OPT_PLOTS, "DIR", 0, "draw SVG plots of the lines into DIR", 0 },
	{ "rounds", OPT_ROUNDS, "N", 0, "turns per contender, 1 to 64 (7)", 0 },
	{ "limit", OPT_LIMIT, "SECONDS", 0,
	  "of a contender's turns together: fewer operations, then fewer turns", 0 },
	{ "size", OPT_SIZE, "BYTES", 0, "of invoke and swap: this payload size alone",
	  0 },
	{ "s3", OPT_S3, "s3://…", 0,
	  "an empty store in a bucket; perf/run: moto or rgw", 0 },
	{ "variant", OPT_VARIANT, "NAME", 0,
	  "of what is ours, this variant alone (for a profile)", 0 },
	{ "table", OPT_TABLE, NULL, 0, "lines for people instead of JSON", 0 },
	{ "bin", OPT_BIN, "DIR", 0, "folder of the programs", 0 },
	{ "functions", OPT_FUNCTIONS, "DIR", 0, "folder of the benchmark functions",
	  0 },
	{ "work", OPT_WORK, "DIR", 0, "where to put data (TMPDIR or /tmp)", 0 },
	{ 0 }
};

static const char *json_path, *plots_dir;

static error_t parse(int key, char *arg, struct argp_state *state)
{
	double seconds;
	char *end;

	switch (key) {
	case OPT_QUICK:
		praas_options.quick = true;
		praas_options.rounds = 3;
		return 0;
	case OPT_ONLY:
		praas_options.only = arg;
		return 0;
	case OPT_JSON:
		json_path = arg;
		return 0;
	case OPT_PLOTS:
		plots_dir = arg;
		return 0;
	case OPT_BIN:
		praas_options.bin = arg;
		return 0;
	case OPT_FUNCTIONS:
		praas_options.functions = arg;
		return 0;
	case OPT_WORK:
		praas_options.work = arg;
		return 0;
	case OPT_TABLE:
		praas_options.table = true;
		return 0;
	case OPT_S3:
		praas_options.s3 = arg;
		return 0;
	case OPT_VARIANT:
		praas_options.variant = arg;
		return 0;
	case OPT_SIZE:
		praas_options.size_only = strtoull(arg, &end, 10);
		if (*end || !*arg)
			argp_error(state, "--size takes a number of bytes");
		return 0;
	case OPT_ROUNDS:
		praas_options.rounds = (unsigned)strtoul(arg, &end, 10);
		if (*end || praas_options.rounds < 1 ||
		    praas_options.rounds > PRAAS_ROUNDS_MAX)
			argp_error(state, "--rounds takes 1 to %u", PRAAS_ROUNDS_MAX);
		return 0;
	case OPT_LIMIT:
		seconds = strtod(arg, &end);
		if (*end || !*arg || !(seconds > 0 && seconds <= LIMIT_MAX_S))
			argp_error(state, "--limit takes seconds, up to %u",
				   LIMIT_MAX_S);
		praas_options.limit_ns = (uint64_t)(seconds * 1e9);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static bool known(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof benches / sizeof benches[0]; i++)
		if (strlen(benches[i].name) == len &&
		    memcmp(benches[i].name, name, len) == 0)
			return true;
	return false;
}

/* Every name in --only must exist: a typo must not look like a short run. */
static int check_only(void)
{
	const char *p = praas_options.only;

	while (p && *p) {
		size_t len = strcspn(p, ",");

		if (!known(p, len)) {
			(void)fprintf(
				stderr,
				"praas-perf: there is no benchmark '%.*s'; they are:",
				(int)len, p);
			for (size_t i = 0; i < sizeof benches / sizeof benches[0]; i++)
				(void)fprintf(stderr, " %s", benches[i].name);
			(void)fputc('\n', stderr);
			return -EINVAL;
		}
		p += len + (p[len] == ',');
	}
	return 0;
}

static bool wanted(const char *name)
{
	size_t n = strlen(name);

	for (const char *p = praas_options.only; p && *p;) {
		size_t len = strcspn(p, ",");

		if (len == n && memcmp(p, name, n) == 0)
			return true;
		p += len + (p[len] == ',');
	}
	return praas_options.only == NULL;
}

/* The service wants absolute paths. NULL: there is no such folder. */
static const char *absolute(const char *path, const char *option)
{
	const char *p = path ? realpath(path, NULL) : NULL; /* kept to the end */

	if (!p)
		(void)fprintf(stderr,
			      "praas-perf: %s %s: %s; perf/run knows the folders\n",
			      option, path ? path : "",
			      path ? strerror(errno) : "is missing");
	return p;
}

static void choose_cpus(void)
{
	cpu_set_t set;
	int found[2] = { 0, 0 }, n = 0;

	if (sched_getaffinity(0, sizeof set, &set) != 0)
		return;
	for (int cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++)
		if (CPU_ISSET((size_t)cpu, &set))
			found[n++] = cpu;
	praas_options.cpu_client = found[0];
	praas_options.cpu_server = n == 2 ? found[1] : found[0];
}

static pid_t self;

/* Ctrl-C, or told to end: what was started is ended, and what was made is removed. */
static void on_signal(int number)
{
	if (getpid() == self) { /* not a floor's other side, which was forked */
		praas_target_abandon();
		praas_redis_stop();
	}
	_exit(128 + number);
}

static void catch_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = on_signal }, was;

	self = getpid();
	(void)sigfillset(&action.sa_mask);
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
		if (sigaction(signals[i], NULL, &was) == 0 && was.sa_handler != SIG_IGN)
			(void)sigaction(signals[i], &action, NULL);
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		options, parse,
		NULL,    "Measures PraaS beside the floors and peers of the same run.",
		NULL,    NULL,
		NULL
	};
	FILE *json = NULL;

	if (argc == 2 && strcmp(argv[1], "--ready") == 0) /* the floor of "allocate" */
		return write(STDOUT_FILENO, "", 1) == 1 ? 0 : 1;
	argp_err_exit_status = 2;
	praas_options = (struct praas_bench_options){ .rounds = 7, .size_only = ~0ull };
	if (argp_parse(&argp, argc, argv, 0, NULL, NULL) != 0 || check_only() != 0)
		return 2;
	praas_options.bin = absolute(praas_options.bin, "--bin");
	praas_options.functions = absolute(praas_options.functions, "--functions");
	if (!praas_options.bin || !praas_options.functions)
		return 2;
	if (!praas_options.work)
		praas_options.work = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
	if (json_path && (json = fopen(json_path, "we")) == NULL) {
		(void)fprintf(stderr, "praas-perf: %s: %s\n", json_path,
			      strerror(errno));
		return 1;
	}
	praas_bench_output(json);
	praas_perf_clock_init();
	praas_options.redis =
		getenv("PRAAS_REDIS") ? getenv("PRAAS_REDIS") : "redis-server";
	choose_cpus();
	catch_signals();
	praas_bench_pin(praas_options.cpu_client);
	for (size_t i = 0; i < sizeof benches / sizeof benches[0]; i++)
		if (wanted(benches[i].name))
			benches[i].run();
	if (json && fclose(json) != 0) {
		(void)fprintf(stderr, "praas-perf: %s: %s\n", json_path,
			      strerror(errno));
		return 1;
	}
	return plots_dir && json_path && praas_plot(json_path, plots_dir) != 0 ? 1 : 0;
}
