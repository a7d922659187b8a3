/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "tests/e2e/faults.h"

/* In the steady state a local call costs no system call and no allocation: in the client, in the
 * controller (inline) and in the worker (direct). Everybody polls, since waiting is not what is
 * measured; strace counts the calls of all threads of all of them, while few calls are made and
 * while many are. What does not depend on the calls (the clock of the admin thread, strace's own
 * arrival) is in both. */

#define FEW 1000u
#define MANY 50000u
#define STRAY                                                                          \
	2000u /* admin thread, calls taken back when a core is taken away: below 4 in 100 */
#define TRIES 5u

static _Atomic uint64_t *counted(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	void *at;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	(void)close(fd);
	return at;
}

static pid_t trace_start(pid_t pid, const char *path)
{
	char number[16], word[] = "strace", out[] = "-o", all[] = "-fqqc", at[] = "-p",
			 file[128];
	char *argv[] = { word, all, out, file, at, number, NULL };
	char status[64], line[128];
	pid_t child;

	(void)snprintf(number, sizeof(number), "%d", (int)pid);
	(void)snprintf(file, sizeof(file), "%s", path);
	assert_int_equal(posix_spawnp(&child, "strace", NULL, NULL, argv, environ), 0);
	(void)snprintf(status, sizeof(status), "/proc/%d/status", (int)pid);
	for (unsigned i = 0; i < 2000; i++) {
		FILE *f = fopen(status, "r");
		int tracer = 0;

		assert_non_null(f);
		while (fgets(line, sizeof(line), f))
			(void)sscanf(line, "TracerPid: %d", &tracer);
		(void)fclose(f);
		if (tracer != 0)
			break;
		(void)usleep(1000);
	}
	(void)usleep(50000); /* its other threads */
	return child;
}

/* System calls counted until now, but for those of waiting. */
static uint64_t trace_stop(pid_t tracer, const char *path)
{
	char line[256];
	uint64_t calls = 0, total = 0;
	int status;
	FILE *f;

	assert_int_equal(kill(tracer, SIGINT), 0);
	assert_int_equal(waitpid(tracer, &status, 0), tracer);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		const char *name = strrchr(line, ' ');

		/* The policy of waiting is not what is measured: who polls gives its core to others
		 * (sched_yield), and the shm port looks at its sockets once in 64 polls without work
		 * and in 1024 of all (epoll_wait). */
		if (name && sscanf(line, "%*f %*f %*u %" SCNu64, &calls) == 1 &&
		    strcmp(name, " total\n") != 0 &&
		    strcmp(name, " sched_yield\n") != 0 &&
		    strcmp(name, " epoll_wait\n") != 0)
			total += calls;
	}
	(void)fclose(f);
	return total;
}

static void calls(praas_connection *conn, const void *data, unsigned count)
{
	struct praas_call call = { .function = fault_function(conn, "echo"),
				   .data = data,
				   .bytes = 64 };

	for (unsigned i = 0; i < count; i++) {
		struct praas_result result;

		assert_int_equal(praas_call(conn, &call, &result), 0);
		assert_int_equal(result.status, 0);
		praas_result_release(conn, &result);
	}
}

static cpu_set_t allowed; /* processors; main() has seen that there are two */

/* Caller and worker on a processor each: while they share one, each gives it away to hear of the other,
 * and a machine with little else to do may leave them there. */
static void part(pid_t worker)
{
	cpu_set_t one;
	size_t cpu = 0;

	for (unsigned i = 0; i < 2; i++) {
		while (!CPU_ISSET(cpu, &allowed))
			cpu++;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		assert_int_equal(
			sched_setaffinity(i == 0 ? 0 : worker, sizeof(one), &one), 0);
		cpu++;
	}
}

/* Its processes take over where we may run. */
static void start(struct fixture *f)
{
	assert_int_equal(sched_setaffinity(0, sizeof(allowed), &allowed), 0);
	controller_start(&f->c, &f->o);
}

/* System calls in a few calls and in many. What a call needs shows each time: the best try counts,
 * because in the others somebody else may have had a processor. */
static void count_calls(praas_connection *conn, const void *data, pid_t pid,
			const char *file, unsigned party)
{
	uint64_t spent[2] = { 0, 0 };

	for (unsigned try = 0; try < TRIES; try++) {
		for (unsigned k = 0; k < 2; k++) {
			pid_t tracer = trace_start(pid, file);

			calls(conn, data, k ? MANY : FEW);
			spent[k] = trace_stop(tracer, file);
		}
		if (spent[1] <= spent[0] + STRAY)
			return;
	}
	fail_msg("party %u: %d system calls in %u calls, %d in %u", party,
		 (int)spent[0], FEW, (int)spent[1], MANY);
}

static void test_steady_calls_enter_no_kernel_and_allocate_nothing(void **state)
{
	struct praas_connect_config config = { .transport = "shm",
					       .wait = PRAAS_WAIT_SPIN };
	struct fixture *f = *state;
	_Atomic uint64_t *in_controller, *in_worker = counted(PRAAS_TEST_WORKER_COUNT);
	char file[96], counts[96];
	praas_connection *conn;
	pid_t pids[3] = { getpid(), 0, 0 }, children[8];
	unsigned who = 2;
	void *data;

	(void)snprintf(counts, sizeof(counts), "%s/allocations", f->c.dir);
	(void)snprintf(file, sizeof(file), "%s/strace", f->c.dir);
	in_controller = counted(counts);
	f->o.worker = PRAAS_TEST_COUNTED_WORKER;
	f->o.concurrency = 1;
	f->o.wait = "spin";
	assert_int_equal(setenv("PRAAS_TEST_ALLOCATIONS", counts, 1), 0);
	assert_int_equal(setenv("LD_PRELOAD", PRAAS_TEST_PRELOAD, 1), 0);
	start(f);
	(void)unsetenv("LD_PRELOAD");
	pids[1] = f->c.pid;
	if (fault_workers()) {
		assert_int_equal(fault_children(f->c.pid, children, 8), 1);
		pids[who++] = children[0];
		part(children[0]);
	}
	conn = fault_connect_as(f, &config);
	if (fault_workers())
		assert_true(fault_warm(conn));
	assert_int_equal(praas_buffer_alloc(conn, 64, &data), 0);
	memset(data, 1, 64);
	calls(conn, data, FEW);
	for (unsigned i = 0; i < who; i++)
		count_calls(conn, data, pids[i], file, i);
	assert_true(atomic_load(in_controller) > 0);
	if (fault_workers())
		assert_true(atomic_load(in_worker) > 0);
	/* The admin thread reports every second, and allocates for that. */
	uint64_t controller_had = atomic_load(in_controller),
		 worker_had = atomic_load(in_worker);

	calls(conn, data, MANY);
	assert_in_range(atomic_load(in_controller) - controller_had, 0, STRAY);
	assert_int_equal(atomic_load(in_worker), worker_had);
	praas_buffer_free(conn, data);
	praas_close(conn);
}

/* ---- exactly none ---------------------------------------------------------------------- */

#define WINDOW 100u /* calls: some 25 us, so that most windows see no disturbance */
#define WINDOWS_NONE 10u /* seen without any, of each party, and it is shown */
#define WINDOWS_S 30     /* in so much time */

/* A counter of the kernel's own (tracepoint raw_syscalls:sys_enter) of one thread: unlike a tracer
 * it does not disturb who is counted. -1: not to be had here. */
static int counter_open(pid_t thread)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_TRACEPOINT,
					.size = sizeof(attr) };
	FILE *f = fopen("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id", "r");
	unsigned long long id = 0;

	if (!f)
		return -1;
	if (fscanf(f, "%llu", &id) != 1)
		id = 0;
	(void)fclose(f);
	attr.config = id;
	return id ? (int)syscall(SYS_perf_event_open, &attr, thread, -1, -1,
				 PERF_FLAG_FD_CLOEXEC)
		  : -1;
}

static uint64_t counter_read(int fd)
{
	uint64_t value = 0;

	assert_int_equal(read(fd, &value, sizeof(value)), sizeof(value));
	return value;
}

/* Of any kind, waiting included. A call that needed one would show in every window, a hundred
 * times; so windows without any, of the caller and of the worker, show that a call needs none. Those
 * that have some saw a processor taken away: how many they are is the machine's affair. */
static void count_windows(praas_connection *conn, const void *data, int caller,
			  int worker)
{
	unsigned none_caller = 0, none_worker = 0, windows = 0;
	time_t until = time(NULL) + WINDOWS_S;

	while ((none_caller < WINDOWS_NONE || none_worker < WINDOWS_NONE) &&
	       time(NULL) < until) {
		uint64_t w = counter_read(worker), c = counter_read(caller);

		calls(conn, data, WINDOW);
		/* Our own read() is one. */
		none_caller += counter_read(caller) - c == 1;
		none_worker += counter_read(worker) - w == 0;
		windows++;
	}
	print_message("windows of %u calls without any system call: caller %u, "
		      "worker %u of %u\n",
		      WINDOW, none_caller, none_worker, windows);
	assert_true(none_caller >= WINDOWS_NONE);
	assert_true(none_worker >= WINDOWS_NONE);
}

static void test_steady_direct_call_enters_the_kernel_never(void **state)
{
	struct praas_connect_config config = { .transport = "shm",
					       .wait = PRAAS_WAIT_SPIN };
	struct fixture *f = *state;
	int caller, worker;
	pid_t children[8];
	praas_connection *conn;
	void *data;

	if (!fault_workers())
		return; /* the data thread looks at its sockets now and then: above */
	f->o.concurrency = 1;
	f->o.wait = "spin";
	start(f);
	assert_int_equal(fault_children(f->c.pid, children, 8), 1);
	conn = fault_connect_as(f, &config);
	assert_true(fault_warm(conn));
	assert_int_equal(praas_buffer_alloc(conn, 64, &data), 0);
	memset(data, 1, 64);
	calls(conn, data, MANY);
	caller = counter_open(gettid());
	worker = counter_open(children[0]);
	if (caller < 0 || worker < 0) {
		print_message("SKIPPED: exact counts: no tracepoints here (%s)\n",
			      strerror(errno));
	} else {
		part(children[0]);
		count_windows(conn, data, caller, worker);
	}
	(void)close(caller);
	(void)close(worker);
	praas_buffer_free(conn, data);
	praas_close(conn);
}

/* ---- switches -------------------------------------------------------------------------- */

#define PUTS 2000u
#define SWITCHES_MAX                                                                   \
	5u /* of the worker for a call that puts: 2 that it needs, and some */

/* How often a thread has given its processor away, or lost it. */
static uint64_t switches(pid_t thread)
{
	char path[64], line[128];
	uint64_t sum = 0, n;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)thread);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (strstr(line, "ctxt_switches:") &&
		    sscanf(strchr(line, ':') + 1, "%" SCNu64, &n) == 1)
			sum += n;
	(void)fclose(f);
	return sum;
}

static void pin_threads(pid_t pid, const cpu_set_t *cpus)
{
	char path[64];
	struct dirent *e;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	assert_non_null(dir);
	while ((e = readdir(dir)) != NULL)
		if (e->d_name[0] != '.')
			assert_int_equal(
				sched_setaffinity((pid_t)strtol(e->d_name, NULL, 10),
						  sizeof(*cpus), cpus),
				0);
	(void)closedir(dir);
}

/* A function that was called past the controller asks it for something, on its own core: each look that
 * finds nothing is a switch of the core for both. */
static void test_steady_controller_hears_a_direct_call(void **state)
{
	struct praas_connect_config config = { .transport = "shm",
					       .wait = PRAAS_WAIT_SPIN };
	struct praas_call call = { .data = "8 bytes", .bytes = 8 };
	struct fixture *f = *state;
	praas_connection *conn;
	pid_t children[8];
	uint64_t before = 0;
	cpu_set_t one;

	if (!fault_workers())
		return; /* nobody is past it */
	f->o.concurrency = 1;
	start(f);
	assert_int_equal(fault_children(f->c.pid, children, 8), 1);
	conn = fault_connect_as(f, &config);
	assert_true(fault_warm(conn));
	part(children[0]);
	assert_int_equal(sched_getaffinity(children[0], sizeof(one), &one), 0);
	pin_threads(f->c.pid, &one);
	call.function = fault_function(conn, "count");
	for (unsigned i = 0; i < 2 * PUTS; i++) {
		struct praas_result result;

		if (i == PUTS)
			before = switches(children[0]);
		assert_int_equal(praas_call(conn, &call, &result), 0);
		assert_int_equal(result.status, 0);
		praas_result_release(conn, &result);
	}
	assert_in_range(switches(children[0]) - before, 1, SWITCHES_MAX * PUTS);
	praas_close(conn);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		FAULT_TEST(test_steady_calls_enter_no_kernel_and_allocate_nothing),
		FAULT_TEST(test_steady_direct_call_enters_the_kernel_never),
		FAULT_TEST(test_steady_controller_hears_a_direct_call),
	};

	if (fault_arguments(argc, argv) != 0)
		return 2;
	if (FAULT_SANITIZED)
		return skip_all(
			"sanitizers make system calls and allocations of their own");
	if (geteuid() != 0 || system("strace -V >/dev/null 2>&1") != 0)
		return skip_all("needs root and strace");
	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0 ||
	    CPU_COUNT(&allowed) < 2)
		return skip_all("needs two processors: whoever polls alone on one "
				"gives it away");
	return cmocka_run_group_tests_name(argv[4], tests, NULL, NULL);
}
