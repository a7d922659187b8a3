/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdbool.h>

#include "client/connection.h"
#include "praas/client.h"
#include "tests/e2e/controller_fixture.h"

/*
 * The direct path end to end: a real controller, real workers, libpraas. Arguments:
 * praas-controller, praas-worker, the folder of the test functions, and fast or slow.
 */

#define SECOND_NS 1000000000ull
#define MS_NS 1000000ull

static void start(struct fixture *f, uint32_t workers)
{
	f->o.concurrency = workers;
	controller_start(&f->c, &f->o);
	f->conn = connect_shm(f);
}

static uint32_t function(praas_connection *conn, const char *name)
{
	struct praas_call call = { 0 };

	assert_int_equal(praas_function_lookup(conn, name, &call.function), 0);
	return call.function;
}

static struct praas_result call(praas_connection *conn, const char *name,
				const void *data, size_t bytes)
{
	struct praas_call c = { .function = function(conn, name),
				.data = data,
				.bytes = bytes };
	struct praas_result result;

	assert_int_equal(praas_call(conn, &c, &result), 0);
	return result;
}

static void echo(praas_connection *conn, const void *data, size_t bytes)
{
	struct praas_result result = call(conn, "echo", data, bytes);

	if (result.status != 0)
		fail_msg("echo: status %d %s", result.status,
			 (const char *)result.view.data);
	assert_int_equal(result.view.bytes, bytes);
	if (bytes)
		assert_memory_equal(result.view.data, data, bytes);
	praas_result_release(conn, &result);
}

static uint64_t direct_calls(praas_connection *conn)
{
	struct praas_conn_stats stats;

	praas_stats(conn, &stats);
	return stats.direct;
}

/* Until a route is there on which the next call goes. */
static void settle(praas_connection *conn)
{
	uint64_t end = praas_now_ns() + 10 * SECOND_NS;

	while (praas_now_ns() < end) {
		if (conn->hot && conn->hot->state == PRAAS_SHM_ROUTE_OPEN &&
		    conn->hot->outstanding == 0)
			return;
		echo(conn, "x", 1);
		(void)sched_yield();
	}
	fail_msg("there is no direct route");
}

/* Submits a call and returns when a worker has taken it from our ring: it is not withdrawn any more,
 * and the controller knows nothing of it. */
static uint64_t submit_direct(praas_connection *conn, const char *name,
			      const void *data, size_t bytes, uint64_t timeout_ns)
{
	struct praas_call c = { .function = function(conn, name),
				.data = data,
				.bytes = bytes,
				.timeout_ns = timeout_ns };
	uint64_t id, end = praas_now_ns() + 10 * SECOND_NS;
	struct praas_shm_route *r;
	struct praas_entry *e;

	settle(conn);
	assert_int_equal(praas_submit(conn, &c, &id), 0);
	e = praas_entry_find(conn, id);
	assert_non_null(e);
	assert_true(e->via >= 0);
	r = conn->shm->route[e->via];
	while (atomic_load(&r->channel.tx.tail->read) <= e->position &&
	       !praas_direct_ready_any(conn) && praas_now_ns() < end)
		(void)sched_yield();
	return id;
}

static struct praas_result await(praas_connection *conn, uint64_t id)
{
	struct praas_result result;
	int rc = praas_wait_call(conn, id, 20 * (int64_t)SECOND_NS, &result);

	if (rc != 0)
		fail_msg("no result: %d %s", rc, praas_error());
	return result;
}

static void await_status(praas_connection *conn, uint64_t id, int status)
{
	struct praas_result result = await(conn, id);

	if (result.status != status)
		fail_msg("status %d instead of %d: %s", result.status, status,
			 result.view.bytes ? (const char *)result.view.data : "");
	praas_result_release(conn, &result);
}

/* Another worker, and the direct way to it, are there. */
static void expect_recovery(praas_connection *conn)
{
	settle(conn);
	await_status(conn, submit_direct(conn, "echo", "y", 1, 0), 0);
}

static void test_direct_results_of_all_sizes(void **state)
{
	static uint8_t data[200000];
	struct fixture *f = *state;
	uint64_t before;

	start(f, 2);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 13);
	settle(f->conn);
	before = direct_calls(f->conn);
	for (size_t bytes = 0; bytes <= sizeof(data); bytes = bytes * 3 + 1)
		for (unsigned i = 0; i < 20; i++)
			echo(f->conn, data, bytes);
	assert_true(direct_calls(f->conn) > before);
}

/* Larger than what a worker has for replies: shown by reference, and let go. */
static void test_direct_large_results_are_shown(void **state)
{
	const uint64_t bytes = 3000000;
	struct fixture *f = *state;

	start(f, 1);
	for (unsigned i = 0; i < 150; i++) { /* more often than a worker has segments */
		uint64_t id = submit_direct(f->conn, "big", &bytes, sizeof(bytes), 0);
		struct praas_result result = await(f->conn, id);

		if (result.status != 0)
			fail_msg("%u: status %d %s", i, result.status,
				 (const char *)result.view.data);
		assert_int_equal(result.view.bytes, bytes);
		for (uint64_t at = 0; at < bytes; at += 4096)
			assert_int_equal(((const uint8_t *)result.view.data)[at],
					 (uint8_t)(at / 4096));
		praas_result_release(f->conn, &result);
	}
}

/* What the controller has to decide does not go past it; writes by either way are one history. */
static void test_direct_state_and_serial_functions(void **state)
{
	struct fixture *f = *state;
	uint64_t before, n = 0;
	void *value = NULL;
	size_t bytes = 0;

	start(f, 2);
	settle(f->conn);
	before = direct_calls(f->conn);
	for (unsigned i = 0; i < 50; i++) {
		struct praas_result result = call(f->conn, "busy_serial", NULL, 0);

		assert_int_equal(result.status, 0);
		praas_result_release(f->conn, &result);
	}
	assert_int_equal(direct_calls(f->conn), before);
	for (uint64_t i = 1; i <= 100; i++) {
		uint64_t id = submit_direct(f->conn, "count", NULL, 0, 0);
		struct praas_result result = await(f->conn, id);

		assert_int_equal(result.status, 0);
		memcpy(&n, result.view.data, sizeof(n));
		assert_int_equal(n, i);
		praas_result_release(f->conn, &result);
	}
	assert_int_equal(praas_state_read(f->conn, "n", &value, &bytes, NULL), 0);
	assert_int_equal(bytes, sizeof(n));
	memcpy(&n, value, sizeof(n));
	assert_int_equal(n, 100);
	free(value);
	for (uint64_t i = 1; i <= 20; i++)
		await_status(f->conn, submit_direct(f->conn, "update", NULL, 0, 0), 0);
	await_status(f->conn, submit_direct(f->conn, "mail", NULL, 0, 0), 0);
	await_status(f->conn, submit_direct(f->conn, "nested", NULL, 0, 0), 0);
}

/* One worker, a long call in it: another client's call is withdrawn, waits with the controller, and
 * comes out right; one with a deadline ends at it, and costs the long one nothing. */
static void test_direct_two_clients_on_one_worker(void **state)
{
	const uint64_t long_ns = 300 * MS_NS;
	struct fixture *f = *state;
	struct praas_call short_call = { .timeout_ns = 50 * MS_NS };
	struct praas_result result;
	praas_connection *other;
	uint64_t id;

	start(f, 1);
	other = connect_shm(f);
	settle(other);
	short_call.function = function(other, "busy");
	for (unsigned i = 0; i < 3; i++) {
		id = submit_direct(f->conn, "busy", &long_ns, sizeof(long_ns), 0);
		assert_int_equal(praas_call(other, &short_call, &result), 0);
		if (result.status != 0)
			assert_int_equal(result.status, PRAAS_DEADLINE);
		praas_result_release(other, &result);
		echo(other, "behind", 6);
		await_status(f->conn, id, 0);
	}
	assert_false(controller_logged(&f->c, "was ended"));
	praas_close(other);
}

static void test_direct_deaths_have_reasons(void **state)
{
	struct fixture *f = *state;
	struct praas_result result;

	start(f, 1);
	await_status(f->conn, submit_direct(f->conn, "crash", NULL, 0, 0),
		     PRAAS_CRASHED);
	expect_recovery(f->conn);
	await_status(f->conn, submit_direct(f->conn, "exits", NULL, 0, 0),
		     PRAAS_CRASHED);
	expect_recovery(f->conn);
	/* Where the limit cannot be set by a control group the function kills itself. */
	result = await(f->conn, submit_direct(f->conn, "oom", NULL, 0, 0));
	assert_true(result.status == PRAAS_NO_MEMORY || result.status == PRAAS_CRASHED);
	praas_result_release(f->conn, &result);
	expect_recovery(f->conn);
	await_status(f->conn, submit_direct(f->conn, "fails", NULL, 0, 0), 42);
}

/* A call that waits behind one that crashes the worker runs in the next one. */
static void test_direct_crash_spares_who_waits(void **state)
{
	const uint64_t later_ns = 100 * MS_NS;
	struct fixture *f = *state;
	praas_connection *other;
	uint64_t id;

	start(f, 1);
	other = connect_shm(f);
	settle(other);
	id = submit_direct(f->conn, "crash_late", &later_ns, sizeof(later_ns), 0);
	echo(other, "spared", 6);
	await_status(f->conn, id, PRAAS_CRASHED);
	praas_close(other);
}

/* It never returns: the caller is told in time, the worker is ended, and another takes over. */
static void test_direct_hang_ends_at_its_deadline(void **state)
{
	struct fixture *f = *state;
	uint64_t begin;

	start(f, 1);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t id = submit_direct(f->conn, "hang", NULL, 0, 150 * MS_NS);

		begin = praas_now_ns();
		await_status(f->conn, id, PRAAS_DEADLINE);
		assert_true(praas_now_ns() - begin < 5 * SECOND_NS);
		expect_recovery(f->conn);
	}
}

static void test_direct_cancel_reaches_the_function(void **state)
{
	struct fixture *f = *state;
	uint64_t id;

	start(f, 1);
	id = submit_direct(f->conn, "obedient", NULL, 0, 0);
	assert_int_equal(praas_cancel(f->conn, id), 0);
	await_status(f->conn, id, 5);
	/* One that waits for the controller's answer. */
	id = submit_direct(f->conn, "wait_mail", NULL, 0, 0);
	assert_int_equal(praas_cancel(f->conn, id), 0);
	await_status(f->conn, id, 8);
	/* One with a deadline gives up at it. */
	id = submit_direct(f->conn, "wait_mail", NULL, 0, 50 * MS_NS);
	await_status(f->conn, id, PRAAS_DEADLINE);
	echo(f->conn, "alive", 5);
}

/* A drain waits for the direct call that runs. */
static void test_direct_drain_waits(void **state)
{
	const uint64_t long_ns = 200 * MS_NS;
	struct fixture *f = *state;
	uint64_t id;

	start(f, 1);
	id = submit_direct(f->conn, "busy", &long_ns, sizeof(long_ns), 0);
	assert_int_equal(kill(f->c.pid, SIGTERM), 0);
	await_status(f->conn, id, 0);
	assert_int_equal(controller_wait(&f->c), 0);
}

/* Calls that the controller does not see are in what it tells. */
static void test_direct_calls_are_counted(void **state)
{
	struct fixture *f = *state;
	uint64_t counted = 0, wanted;

	start(f, 1);
	for (unsigned i = 0; i < 200; i++)
		await_status(f->conn, submit_direct(f->conn, "fails", NULL, 0, 0), 42);
	wanted = direct_calls(f->conn);
	assert_true(wanted >= 200);
	for (unsigned i = 0; i < 10 && counted < 200; i++) {
		json_t *metrics = controller_await(&f->c, "metrics");

		assert_non_null(metrics);
		counted = (uint64_t)json_integer_value(
			json_object_get(metrics, "invocations"));
		json_decref(metrics);
		echo(f->conn, "x", 1); /* something changed */
	}
	assert_true(counted >= 200);
}

/* A client goes away; its function hangs and has no deadline: the worker is ended all the same. */
static void test_direct_orphan_that_hangs_is_ended(void **state)
{
	struct fixture *f = *state;
	praas_connection *other;

	start(f, 1);
	other = connect_shm(f);
	(void)submit_direct(other, "hang", NULL, 0, 0);
	praas_close(other);
	echo(f->conn, "after", 5); /* behind it, in the only worker */
	expect_recovery(f->conn);
}

/* The first child of a process; 0: none. */
static pid_t child_of(pid_t pid)
{
	char path[64];
	int child = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid,
		       (int)pid);
	f = fopen(path, "r");
	if (f && fscanf(f, "%d", &child) != 1)
		child = 0;
	if (f)
		(void)fclose(f);
	return child;
}

/* It may stay as a zombie where nobody reaps orphans. */
static bool is_dead(pid_t pid)
{
	char path[64], state = 'Z';
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "r");
	if (!f)
		return true;
	if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = 'Z';
	(void)fclose(f);
	return state == 'Z' || state == 'X';
}

/* A controller is killed: its worker ends too, whatever it does, and the next controller removes the
 * control groups that were left. */
static void test_direct_killed_controller_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t end = praas_now_ns() + 10 * SECOND_NS;
	char command[128];
	pid_t worker, old;

	start(f, 1);
	worker = child_of(f->c.pid);
	assert_true(worker > 0);
	(void)submit_direct(f->conn, "hang", NULL, 0, 0);
	old = f->c.pid;
	assert_int_equal(controller_stop(&f->c, SIGKILL), -SIGKILL);
	while (!is_dead(worker) && praas_now_ns() < end)
		(void)usleep(1000);
	assert_true(is_dead(worker));
	praas_close(f->conn);
	f->o.epoch = 2;
	start(f, 1);
	echo(f->conn, "next", 4);
	(void)snprintf(
		command, sizeof(command),
		"! find /sys/fs/cgroup -name 'praas-%d-worker-*' 2>/dev/null | grep .",
		(int)old);
	assert_int_equal(system(command), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest fast[] = {
		TEST(test_direct_results_of_all_sizes),
		TEST(test_direct_large_results_are_shown),
		TEST(test_direct_state_and_serial_functions),
		TEST(test_direct_two_clients_on_one_worker),
		TEST(test_direct_deaths_have_reasons),
		TEST(test_direct_crash_spares_who_waits),
		TEST(test_direct_hang_ends_at_its_deadline),
		TEST(test_direct_cancel_reaches_the_function),
		TEST(test_direct_drain_waits),
		TEST(test_direct_calls_are_counted),
		TEST(test_direct_killed_controller_leaves_nothing),
	};
	const struct CMUnitTest slow[] = { TEST(
		test_direct_orphan_that_hangs_is_ended) };

	if (argc != 5)
		return 2;
	base = (struct controller_options){ .program = argv[1],
					    .worker = argv[2],
					    .code = argv[3],
					    .isolation = "worker" };
	return strcmp(argv[4], "slow") == 0
		       ? cmocka_run_group_tests_name("direct-slow", slow, NULL, NULL)
		       : cmocka_run_group_tests_name("direct", fast, NULL, NULL);
}
