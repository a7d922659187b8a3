/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "internal/base.h"
#include "tests/e2e/faults.h"

/* PRAAS_CALL_TIMING: the parts of a call add up to the whole, and each lies where the time went. Times
 * are compared with one another, never with a number of seconds that this machine should need. What would be
 * wrong only because somebody else had the core is tried again: one of TRIES calls must show it. */

#define RUN_NS UINT64_C(30000000)
#define CALLS 40u
#define TRIES 10u

static void check_sum(const struct praas_timing *t, uint64_t outside_ns)
{
	assert_int_equal(t->client_ns + t->wire_ns + t->queue_ns + t->run_ns +
				 t->state_ns,
			 t->call_ns);
	assert_true(t->call_ns <= outside_ns);
	assert_true(t->call_ns > 0);
}

/* One call with all of it measured, also by who asks. */
static struct praas_timing timed(praas_connection *conn, const char *function,
				 const void *data, size_t bytes, const char *key,
				 const uint8_t *trace)
{
	struct praas_timing t = { .call_ns = 1, .client_ns = UINT64_MAX };
	struct praas_call call = { .function = fault_function(conn, function),
				   .flags = PRAAS_CALL_TIMING,
				   .data = data,
				   .bytes = bytes,
				   .key = key,
				   .trace = trace,
				   .timing = &t };
	struct praas_result result;
	uint64_t start = praas_now_ns();

	assert_int_equal(praas_call(conn, &call, &result), 0);
	check_sum(&t, praas_now_ns() - start);
	assert_int_equal(result.status, 0);
	praas_result_release(conn, &result);
	return t;
}

/* What is spun is in run, and nowhere else; every call is measured, not one in eight. */
static void by_run(praas_connection *conn)
{
	const uint8_t trace[24] = { 1, [16] = 2 };
	uint64_t ns = RUN_NS, least = UINT64_MAX;
	struct praas_timing t;
	bool elsewhere = true;

	for (unsigned i = 0; i < TRIES && elsewhere; i++) {
		t = timed(conn, "busy", &ns, sizeof(ns), NULL, NULL);
		assert_true(t.run_ns >= RUN_NS);
		elsewhere = t.queue_ns >= RUN_NS || t.state_ns >= RUN_NS / 2;
	}
	assert_false(elsewhere);
	t = timed(conn, "busy", &ns, sizeof(ns), "key", trace);
	assert_true(t.run_ns >= RUN_NS);
	for (uint64_t i = 1; i <= CALLS; i++) {
		ns = i * 20000;
		t = timed(conn, "busy", &ns, sizeof(ns), NULL, NULL);
		assert_true(t.run_ns >= ns);
		ns = 0;
		t = timed(conn, "busy", &ns, sizeof(ns), NULL, NULL);
		least = praas_min_u64(least, t.run_ns);
	}
	assert_true(least < RUN_NS);
}

/* A commit is in state: more there with one than without. */
static void by_state(praas_connection *conn)
{
	uint64_t with = UINT64_MAX, without = UINT64_MAX;

	for (unsigned i = 0; i < CALLS; i++) {
		struct praas_timing t = timed(conn, "stores", NULL, 0, NULL, NULL);

		with = praas_min_u64(with, t.state_ns);
		t = timed(conn, "echo", NULL, 0, NULL, NULL);
		without = praas_min_u64(without, t.state_ns);
	}
	assert_true(with > without);
}

/* A call behind a long one. */
static struct praas_timing behind(praas_connection *conn)
{
	uint64_t ns = RUN_NS, first;
	struct praas_timing t = { 0 };
	struct praas_call call = { .function = fault_function(conn, "busy"),
				   .data = &ns,
				   .bytes = sizeof(ns) };
	struct praas_result result;
	uint64_t second, start;

	assert_int_equal(praas_submit(conn, &call, &first), 0);
	start = praas_now_ns();
	call = (struct praas_call){ .function = fault_function(conn, "echo"),
				    .flags = PRAAS_CALL_TIMING,
				    .timing = &t };
	assert_int_equal(praas_submit(conn, &call, &second), 0);
	assert_int_equal(praas_wait_call(conn, first, -1, &result), 0);
	praas_result_release(conn, &result);
	assert_int_equal(praas_wait_call(conn, second, -1, &result), 0);
	assert_int_equal(result.status, 0);
	check_sum(&t, praas_now_ns() - start);
	praas_result_release(conn, &result);
	return t;
}

/* It waits in its queue, or, when the process runs functions on the thread that reads, unread. Never in
 * its run. */
static void by_queue(praas_connection *conn)
{
	bool waited = false;

	for (unsigned i = 0; i < TRIES && !waited; i++) {
		struct praas_timing t = behind(conn);

		waited = t.run_ns < RUN_NS / 2 &&
			 (fault_workers() ? t.queue_ns : t.queue_ns + t.wire_ns) >
				 t.call_ns / 2;
	}
	assert_true(waited);
}

/* A call that does not come to its end tells what it spent, and where. */
static void by_deadline(praas_connection *conn)
{
	uint64_t ns = RUN_NS;
	struct praas_timing t = { 0 };
	struct praas_call call = { .function = fault_function(conn, "busy"),
				   .flags = PRAAS_CALL_TIMING,
				   .data = &ns,
				   .bytes = sizeof(ns),
				   .timeout_ns = RUN_NS / 10,
				   .timing = &t };
	struct praas_result result;
	uint64_t start = praas_now_ns();

	assert_int_equal(praas_call(conn, &call, &result), 0);
	check_sum(&t, praas_now_ns() - start);
	assert_true(t.call_ns >= RUN_NS / 10);
	praas_result_release(conn, &result);
}

static void by_all(struct fixture *f, const struct praas_connect_config *config)
{
	struct praas_call call = { .flags = PRAAS_CALL_TIMING };
	struct praas_timing t;
	praas_connection *conn;

	f->o.concurrency = 1;
	controller_start(&f->c, &f->o);
	conn = fault_connect_as(f, config);
	by_run(conn);
	by_state(conn);
	by_queue(conn);
	by_deadline(conn);
	assert_int_equal(praas_submit(conn, &call, NULL), -EINVAL); /* no place */
	call.timing = &t;
	call.flags |= PRAAS_CALL_ONE_WAY;
	assert_int_equal(praas_submit(conn, &call, NULL), -EINVAL);
	praas_close(conn);
}

static void test_timing_shm(void **state)
{
	const struct praas_connect_config config = { .transport = "shm" };

	by_all(*state, &config);
}

static void test_timing_shm_through_the_controller(void **state)
{
	const struct praas_connect_config config = { .transport = "shm",
						     .no_direct = true };

	by_all(*state, &config);
}

static void test_timing_tcp(void **state)
{
	const struct praas_connect_config config = { .transport = "tcp" };

	by_all(*state, &config);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		FAULT_TEST(test_timing_shm),
		FAULT_TEST(test_timing_shm_through_the_controller),
		FAULT_TEST(test_timing_tcp),
	};

	if (fault_arguments(argc, argv) != 0)
		return 2;
	return cmocka_run_group_tests_name(argv[4], tests, NULL, NULL);
}
