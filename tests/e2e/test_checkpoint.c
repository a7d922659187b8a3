/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal/base.h"
#include "praas/client.h"
#include "tests/e2e/controller_fixture.h"

/*
 * Snapshots of objects that are updated in place by direct calls, of which the controller is told
 * nothing. Arguments: praas-controller, praas-worker, the folder of the test functions.
 */

#define NUMBERS 16
#define ASLEEP_US 300000 /* the controller has nothing to do for that long: it sleeps */
#define BEGUN_US 50000   /* of the 100 ms of slow_update() */

static void start(struct fixture *f)
{
	f->o.concurrency = 1;
	f->o.epoch++;
	controller_start(&f->c, &f->o);
	f->conn = connect_shm(f);
}

/* As the machine would end it. What the connection says after that is not of interest. */
static void crash_and_wake(struct fixture *f)
{
	assert_int_equal(controller_stop(&f->c, SIGKILL), -SIGKILL);
	praas_close(f->conn);
	f->conn = NULL;
	start(f);
}

static uint64_t update(struct fixture *f)
{
	struct praas_call call = { 0 };
	struct praas_result result;
	uint64_t n = 0;

	assert_int_equal(praas_function_lookup(f->conn, "update", &call.function), 0);
	assert_int_equal(praas_call(f->conn, &call, &result), 0);
	assert_int_equal(result.status, 0);
	assert_int_equal(result.view.bytes, sizeof(n));
	memcpy(&n, result.view.data, sizeof(n));
	praas_result_release(f->conn, &result);
	return n;
}

static uint64_t direct_calls(const struct fixture *f)
{
	struct praas_conn_stats stats;

	praas_stats(f->conn, &stats);
	return stats.direct;
}

/* Until updates go by the worker alone. Returns how many there were. */
static uint64_t settle(struct fixture *f)
{
	uint64_t end = praas_now_ns() + 10000000000u, n = 0, direct = direct_calls(f);

	while (direct_calls(f) < direct + 8 && praas_now_ns() < end)
		n = update(f);
	assert_true(direct_calls(f) >= direct + 8);
	return n;
}

/* All numbers of the object, which are the same unless half an update is in it. */
static uint64_t number(struct fixture *f)
{
	uint64_t *numbers = NULL, first, version;
	size_t bytes = 0;

	assert_int_equal(
		praas_state_read(f->conn, "sum", (void **)&numbers, &bytes, &version),
		0);
	assert_int_equal(bytes, NUMBERS * sizeof(*numbers));
	first = numbers[0];
	for (int i = 1; i < NUMBERS; i++)
		assert_int_equal(numbers[i], first);
	free(numbers);
	return first;
}

/* An update that takes long is under way when this returns. */
static uint64_t update_slowly(struct fixture *f, const char *input)
{
	struct praas_call call = { .data = input, .bytes = strlen(input) };
	uint64_t id;

	assert_int_equal(praas_function_lookup(f->conn, "slow_update", &call.function),
			 0);
	assert_int_equal(praas_submit(f->conn, &call, &id), 0);
	(void)usleep(BEGUN_US);
	return id;
}

/* The controller sleeps while workers update: what it answers a checkpoint with holds all of it,
 * and so does the next one, though nothing else has changed. */
static void test_checkpoint_has_direct_updates(void **state)
{
	struct fixture *f = *state;
	uint64_t last, direct;

	start(f);
	last = settle(f);
	for (int round = 0; round < 3; round++) {
		(void)usleep(ASLEEP_US);
		direct = direct_calls(f);
		for (int i = 0; i < 500; i++)
			assert_int_equal(update(f), ++last);
		/* All but a few: the worker slept, and calls that waited went the other way. */
		assert_true(direct_calls(f) >= direct + 450);
		controller_expect(&f->c, "checkpoint", NULL);
		last = settle(f); /* not in it; and a lease is kept again */
		controller_expect(&f->c, "checkpoint", NULL);
		(void)update(f); /* lost with the controller */
		crash_and_wake(f);
		assert_int_equal(number(f), last);
		last = settle(f);
	}
}

static void test_swap_out_has_direct_updates(void **state)
{
	struct fixture *f = *state;
	uint64_t last;

	start(f);
	last = settle(f);
	(void)usleep(ASLEEP_US);
	for (int i = 0; i < 500; i++)
		assert_int_equal(update(f), ++last);
	assert_int_equal(controller_stop(&f->c, SIGTERM), 0);
	praas_close(f->conn);
	f->conn = NULL;
	start(f);
	assert_int_equal(number(f), last);
}

/* A checkpoint in the middle of an update has all of it. */
static void test_checkpoint_never_has_half_an_update(void **state)
{
	struct fixture *f = *state;
	struct praas_result result;
	uint64_t last, id;

	start(f);
	for (int round = 0; round < 4; round++) {
		last = settle(f);
		id = update_slowly(f, "");
		controller_expect(&f->c, "checkpoint", NULL);
		assert_int_equal(praas_wait_call(f->conn, id, -1, &result), 0);
		assert_int_equal(result.status, 0);
		praas_result_release(f->conn, &result);
		crash_and_wake(f);
		assert_int_equal(number(f), last + 1);
	}
}

/* One that takes longer than a checkpoint waits: it says so, and the one before stays. */
static void test_checkpoint_gives_up_on_a_long_update(void **state)
{
	struct fixture *f = *state;
	struct praas_result result;
	uint64_t last, id;

	start(f);
	last = settle(f);
	controller_expect(&f->c, "checkpoint", NULL);
	id = update_slowly(f, "long");
	controller_expect(&f->c, "checkpoint", "BUSY");
	assert_int_equal(praas_wait_call(f->conn, id, -1, &result), 0);
	assert_int_equal(result.status, 0);
	praas_result_release(f->conn, &result);
	controller_expect(&f->c, "checkpoint", NULL);
	crash_and_wake(f);
	assert_int_equal(number(f), last + 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_checkpoint_has_direct_updates),
		TEST(test_swap_out_has_direct_updates),
		TEST(test_checkpoint_never_has_half_an_update),
		TEST(test_checkpoint_gives_up_on_a_long_update),
	};

	if (argc != 4)
		return 2;
	base = (struct controller_options){ .program = argv[1],
					    .worker = argv[2],
					    .code = argv[3],
					    .isolation = "worker" };
	return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}
