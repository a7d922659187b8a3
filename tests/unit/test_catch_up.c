/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>

#include "controller/sm_activate.h"
#include "controller/sm_catch_up.h"
#include "controller/sm_lease.h"
#include "controller/store/slot_log.h"

/* One event, its actions' kinds as digits: 1 READ_LOG, 2 PUT_ACT, 3 LOAD, 4 ADMIT, 5 SERVE,
 * 6 SETTLED, 7 FAIL. The clean flag of a SERVE. */
static unsigned queued(struct praas_activate *a, struct praas_activate_event e,
		       bool *ret_clean)
{
	struct praas_activate_action actions[PRAAS_ACTIVATE_ACTIONS_MAX];
	unsigned n = praas_activate_step(a, &e, actions), kinds = 0;

	for (unsigned i = 0; i < n; i++) {
		kinds = kinds * 10 + (unsigned)actions[i].kind;
		if (actions[i].kind == PRAAS_ACTIVATE_SERVE)
			*ret_clean = actions[i].clean;
	}
	return kinds;
}

/* With a backup queue a process serves only when it has caught up, and knows whether its
 * snapshot was the last that happened. */
static void test_catch_up_before_serving(void **state)
{
	static const struct praas_activate_event start = { .kind = PRAAS_ACTIVATE_START,
							   .epoch = 5,
							   .queue = true };
	struct praas_activate_event read = { .kind = PRAAS_ACTIVATE_LOG_READ,
					     .epoch = 4,
					     .slot = 3 };
	struct praas_activate_event loaded = { .kind = PRAAS_ACTIVATE_LOADED,
					       .released = true };
	struct praas_activate_event put = { .kind = PRAAS_ACTIVATE_ACT_PUT, .slot = 3 };
	struct praas_activate_event admitted = { .kind = PRAAS_ACTIVATE_ADMITTED };
	bool clean;

	(void)state;
	for (uint64_t act = 4; act < 6; act++) {
		struct praas_activate a = { 0 };

		put.act_slot = act;
		assert_int_equal(queued(&a, start, &clean), 1);
		assert_int_equal(queued(&a, admitted, &clean), 0);
		assert_int_equal(queued(&a, read, &clean), 32);
		assert_int_equal(queued(&a, put, &clean), 0);
		assert_int_equal(queued(&a, loaded, &clean), 4);
		assert_int_equal(queued(&a, admitted, &clean), 56);
		assert_int_equal(clean,
				 act == 4); /* else somebody's ACT lies between */
		assert_int_equal(queued(&a, admitted, &clean), 0);
	}
}

/* A fresh one catches up while ACT is put; refused, it fails. */
static void test_catch_up_of_a_fresh_process(void **state)
{
	struct praas_activate_event start = { .kind = PRAAS_ACTIVATE_START,
					      .epoch = 1,
					      .queue = true };
	struct praas_activate_event read = { .kind = PRAAS_ACTIVATE_LOG_READ,
					     .slot = PRAAS_SLOT_NONE };
	struct praas_activate_event put = { .kind = PRAAS_ACTIVATE_ACT_PUT,
					    .slot = PRAAS_SLOT_NONE };
	struct praas_activate_event admitted = { .kind = PRAAS_ACTIVATE_ADMITTED };
	struct praas_activate a = { 0 }, b = { 0 };
	bool clean = true;

	(void)state;
	assert_int_equal(queued(&a, start, &clean), 1);
	assert_int_equal(queued(&a, read, &clean), 42);
	assert_int_equal(queued(&a, admitted, &clean), 5);
	assert_false(clean);
	assert_int_equal(queued(&a, put, &clean), 6);
	assert_int_equal(queued(&b, start, &clean), 1);
	assert_int_equal(queued(&b, read, &clean), 42);
	admitted.rc = -ESTALE;
	assert_int_equal(queued(&b, admitted, &clean), 7);
	assert_int_equal(queued(&b, put, &clean), 0);
}

/* ---- catching up, lease ---- */

static struct praas_catch_up_action caught(struct praas_catch_up *c,
					   enum praas_catch_up_event_kind kind, int rc,
					   uint64_t position, bool more)
{
	struct praas_catch_up_event e = {
		.kind = kind, .rc = rc, .position = position, .more = more
	};

	return praas_catch_up_step(c, &e);
}

/* Reading goes on until the tail that was read is the tail; what is not known is asked again. */
static void test_catch_up_story(void **state)
{
	struct praas_catch_up c = { 0 };
	struct praas_catch_up_action a;

	(void)state;
	a = caught(&c, PRAAS_CATCH_UP_COMMITTED, 0, 0, false);
	assert_int_equal(a.kind, PRAAS_CATCH_UP_NOTHING);
	a = caught(&c, PRAAS_CATCH_UP_START, 0, 4, false);
	assert_int_equal(a.kind, PRAAS_CATCH_UP_READ);
	assert_int_equal(a.position, 4);
	a = caught(&c, PRAAS_CATCH_UP_READ_DONE, 0, 8, true);
	assert_int_equal(a.kind, PRAAS_CATCH_UP_READ);
	assert_int_equal(a.position, 8);
	a = caught(&c, PRAAS_CATCH_UP_READ_DONE, -EIO, 0, false);
	assert_int_equal(a.kind, PRAAS_CATCH_UP_READ);
	assert_int_equal(a.position, 8);
	assert_true(a.again);
	a = caught(&c, PRAAS_CATCH_UP_READ_DONE, 0, 9, false);
	assert_int_equal(a.kind, PRAAS_CATCH_UP_COMMIT);
	a = caught(&c, PRAAS_CATCH_UP_COMMITTED, -EAGAIN, 0, false);
	assert_int_equal(a.kind, PRAAS_CATCH_UP_READ);
	assert_int_equal(a.position, 9);
	a = caught(&c, PRAAS_CATCH_UP_READ_DONE, 0, 10, false);
	assert_int_equal(a.position, 10);
	a = caught(&c, PRAAS_CATCH_UP_COMMITTED, -ETIMEDOUT, 0, false);
	assert_int_equal(a.kind, PRAAS_CATCH_UP_COMMIT);
	assert_true(a.again);
	a = caught(&c, PRAAS_CATCH_UP_COMMITTED, 0, 0, false);
	assert_int_equal(a.kind, PRAAS_CATCH_UP_END);
	assert_int_equal(a.rc, 0);
	assert_int_equal(c.position, 10);
}

/* Whose time is over stops, and a drain stops it, whatever is under way. */
static void test_catch_up_stops(void **state)
{
	struct praas_catch_up c = { 0 };
	struct praas_catch_up_action a;

	(void)state;
	(void)caught(&c, PRAAS_CATCH_UP_START, 0, 0, false);
	a = caught(&c, PRAAS_CATCH_UP_READ_DONE, -ESTALE, 0, false);
	assert_int_equal(a.kind, PRAAS_CATCH_UP_END);
	assert_int_equal(a.rc, -ESTALE);
	(void)caught(&c, PRAAS_CATCH_UP_START, 0, 0, false);
	(void)caught(&c, PRAAS_CATCH_UP_READ_DONE, 0, 1, false);
	a = caught(&c, PRAAS_CATCH_UP_COMMITTED, -ESTALE, 0, false);
	assert_int_equal(a.rc, -ESTALE);
	(void)caught(&c, PRAAS_CATCH_UP_START, 0, 1, false);
	a = caught(&c, PRAAS_CATCH_UP_STOP, 0, 0, false);
	assert_int_equal(a.kind, PRAAS_CATCH_UP_NOTHING);
	a = caught(&c, PRAAS_CATCH_UP_READ_DONE, 0, 5, false);
	assert_int_equal(a.kind, PRAAS_CATCH_UP_NOTHING);
	assert_int_equal(c.position, 1);
}

/* A lease counts from when it was asked for, and only the last request counts. */
static void test_lease_counts_from_the_request(void **state)
{
	struct praas_lease l = { 0 };
	uint64_t length = PRAAS_LEASE_NS - PRAAS_LEASE_MARGIN_NS;
	uint32_t first, second;

	(void)state;
	assert_false(praas_lease_valid(&l, 0));
	first = praas_lease_ask(&l, 1000);
	assert_int_equal(praas_lease_due_ns(&l), 1000 + PRAAS_LEASE_NS / 3);
	second = praas_lease_ask(&l, 2000);
	praas_lease_granted(&l, first);
	assert_false(praas_lease_valid(&l, 2000));
	praas_lease_granted(&l, second);
	assert_true(praas_lease_valid(&l, 2000 + length - 1));
	assert_false(praas_lease_valid(&l, 2000 + length));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_catch_up_before_serving),
		cmocka_unit_test(test_catch_up_of_a_fresh_process),
		cmocka_unit_test(test_catch_up_story),
		cmocka_unit_test(test_catch_up_stops),
		cmocka_unit_test(test_lease_counts_from_the_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
