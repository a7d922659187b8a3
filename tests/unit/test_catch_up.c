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

/* One event, its actions' kinds as digits: 1 READ_LOG, 2 PUT_ACT, 3 LOAD, 4 SERVE, 5 SETTLED,
 * 6 FAIL. The clean flag of a SERVE. */
static unsigned stepped(struct praas_activate *a, struct praas_activate_event e,
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

/* A process knows whether its snapshot was the last that happened. */
static void test_clean_release(void **state)
{
	static const struct praas_activate_event start = { .kind = PRAAS_ACTIVATE_START,
							   .epoch = 5 };
	struct praas_activate_event read = { .kind = PRAAS_ACTIVATE_LOG_READ,
					     .epoch = 4,
					     .slot = 3 };
	struct praas_activate_event loaded = { .kind = PRAAS_ACTIVATE_LOADED };
	struct praas_activate_event put = { .kind = PRAAS_ACTIVATE_ACT_PUT, .slot = 3 };

	(void)state;
	for (uint64_t act = 4; act < 6; act++) {
		for (int what = 0; what < 4; what++) {
			struct praas_activate a = { 0 };
			bool released = what % 2 == 1, whole = what / 2 == 1;
			bool clean = !released && !whole;

			put.act_slot = act;
			loaded.released = released;
			loaded.whole = whole;
			assert_int_equal(stepped(&a, start, &clean), 1);
			assert_int_equal(stepped(&a, read, &clean), 32);
			assert_int_equal(stepped(&a, put, &clean), 0);
			assert_int_equal(stepped(&a, loaded, &clean), 45);
			/* Else somebody's ACT lies between, or he went on; unless a log has it all. */
			assert_int_equal(clean, whole || (act == 4 && released));
		}
	}
}

/* A fresh one serves while ACT is put, and has nothing to go on from. */
static void test_fresh_is_not_clean(void **state)
{
	struct praas_activate_event start = { .kind = PRAAS_ACTIVATE_START,
					      .epoch = 1 };
	struct praas_activate_event read = { .kind = PRAAS_ACTIVATE_LOG_READ,
					     .slot = PRAAS_SLOT_NONE };
	struct praas_activate_event put = { .kind = PRAAS_ACTIVATE_ACT_PUT,
					    .slot = PRAAS_SLOT_NONE };
	struct praas_activate a = { 0 };
	bool clean = true;

	(void)state;
	assert_int_equal(stepped(&a, start, &clean), 1);
	assert_int_equal(stepped(&a, read, &clean), 42);
	assert_false(clean);
	assert_int_equal(stepped(&a, put, &clean), 5);
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

/* A mailbox that is full: recorded as active once, then read on as there is room; after more has come, again. */
static void test_catch_up_full(void **state)
{
	struct praas_catch_up c = { 0 };
	struct praas_catch_up_action a;

	(void)state;
	(void)caught(&c, PRAAS_CATCH_UP_START, 0, 4, false);
	for (unsigned i = 0; i < 2; i++) {
		a = caught(&c, PRAAS_CATCH_UP_READ_DONE, -ENOBUFS, 4, true);
		assert_int_equal(a.kind, PRAAS_CATCH_UP_OPEN);
		assert_int_equal(a.position, 4);
		assert_false(a.again);
		a = caught(&c, PRAAS_CATCH_UP_COMMITTED, -ETIMEDOUT, 0, false);
		assert_int_equal(a.kind, PRAAS_CATCH_UP_OPEN);
		assert_true(a.again);
		a = caught(&c, PRAAS_CATCH_UP_COMMITTED, 0, 0, false);
		assert_int_equal(a.kind, PRAAS_CATCH_UP_READ);
		assert_true(a.again);
		a = caught(&c, PRAAS_CATCH_UP_READ_DONE, -ENOBUFS, 4, true);
		assert_int_equal(a.kind, PRAAS_CATCH_UP_READ);
		assert_true(a.again);
		(void)caught(&c, PRAAS_CATCH_UP_READ_DONE, 0, 4, false);
		a = caught(&c, PRAAS_CATCH_UP_COMMITTED, -EAGAIN, 0, false);
		assert_int_equal(a.kind, PRAAS_CATCH_UP_READ);
	}
	(void)caught(&c, PRAAS_CATCH_UP_READ_DONE, -ENOBUFS, 4, true);
	a = caught(&c, PRAAS_CATCH_UP_COMMITTED, -ESTALE, 0, false);
	assert_int_equal(a.kind, PRAAS_CATCH_UP_END);
	assert_int_equal(a.rc, -ESTALE);
	/* A drain ends it, whatever is answered later. */
	(void)caught(&c, PRAAS_CATCH_UP_START, 0, 4, false);
	(void)caught(&c, PRAAS_CATCH_UP_READ_DONE, -ENOBUFS, 4, true);
	(void)caught(&c, PRAAS_CATCH_UP_STOP, 0, 0, false);
	a = caught(&c, PRAAS_CATCH_UP_COMMITTED, 0, 0, false);
	assert_int_equal(a.kind, PRAAS_CATCH_UP_NOTHING);
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
		cmocka_unit_test(test_clean_release),
		cmocka_unit_test(test_fresh_is_not_clean),
		cmocka_unit_test(test_catch_up_story),
		cmocka_unit_test(test_catch_up_full),
		cmocka_unit_test(test_catch_up_stops),
		cmocka_unit_test(test_lease_counts_from_the_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
