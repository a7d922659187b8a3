/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/process_fixture.h"

/* While a process moves, what clients that follow it ask is neither done nor refused. */

static int setup_follows(void **state)
{
	int rc = setup(state);
	struct table *t = *state;

	t->c->base.peer_follows = true;
	return rc;
}

/* Called off: all is done, in its order. */
static void test_park_called_off(void **state)
{
	struct table *t = *state;
	struct praas_frame recv = { .kind = PRAAS_FRAME_RECV,
				    .id = 1,
				    .aux = PRAAS_ANY,
				    .deadline_ns = PRAAS_DEADLINE_NEVER };

	fake_frame(t->c, &recv, "k", NULL, 0);
	praas_process_park(t->f.p);
	invoke(t->c, PLAIN, 2, NULL, 0);
	invoke(t->c, PLAIN, 3, NULL, 0);
	frame(t->c, PRAAS_FRAME_SEND, 4, "other", "one", 0);
	frame(t->c, PRAAS_FRAME_STATE_PUT, 5, "s", "x", 0);
	frame(t->c, PRAAS_FRAME_RECV, 6, "other", NULL, PRAAS_ANY);
	assert_false(fake_has(t->c));
	assert_int_equal(t->m->count, 0);
	assert_true(praas_process_quiet(t->f.p));
	praas_process_gate(t->f.p, true);
	assert_int_equal(t->m->count, 2);
	assert_int_equal(t->m->running[0]->id, 2);
	expect(t->c, 4, 0, NULL);
	expect(t->c, 5, 0, NULL);
	expect(t->c, 6, 0, "one");
	end_one(&t->f, t->m, 0, "r");
	expect(t->c, 2, 0, "r");
	end_one(&t->f, t->m, 0, "r");
	expect(t->c, 3, 0, "r");
	assert_false(fake_has(t->c));
	frame(t->c, PRAAS_FRAME_SEND, 7, "k", "waited for", 0);
	expect(t->c, 1, 0, "waited for");
	expect(t->c, 7, 0, NULL);
}

/* Moved: nothing was done, and nobody is told, nor of what comes later; who does not follow is refused. */
static void test_park_moved(void **state)
{
	struct table *t = *state;
	struct fake_conn *b = fake_conn_new(&t->f, 2);
	struct praas_frame hold = { .kind = PRAAS_FRAME_HOLD,
				    .id = 1,
				    .aux = PRAAS_ANY,
				    .deadline_ns = PRAAS_DEADLINE_NEVER };

	fake_frame(t->c, &hold, "k", NULL, 0);
	praas_process_park(t->f.p);
	invoke(t->c, PLAIN, 2, NULL, 0);
	frame(t->c, PRAAS_FRAME_SEND, 3, "k", "one", 0);
	praas_process_moved(t->f.p, true);
	(void)praas_process_poll(t->f.p, 16);
	assert_false(fake_has(t->c));
	assert_int_equal(t->m->count, 0);
	frame(t->c, PRAAS_FRAME_SEND, 4, "k", "two", 0);
	invoke(t->c, PLAIN, 5, NULL, 0);
	assert_false(fake_has(t->c));
	frame(b, PRAAS_FRAME_SEND, 6, "k", "three", 0);
	expect(b, 6, PRAAS_MOVED, NULL);
	fake_conn_free(b);
}

/* Others are refused; so is what has no room; reading goes on. */
static void test_park_others(void **state)
{
	struct table *t = *state;
	struct fake_conn *b = fake_conn_new(&t->f, 2);

	praas_process_park(t->f.p);
	frame(b, PRAAS_FRAME_SEND, 1, "k", "one", 0);
	expect(b, 1, PRAAS_DRAINING, NULL);
	invoke(b, PLAIN, 2, NULL, 0);
	expect(b, 2, PRAAS_DRAINING, NULL);
	frame(t->c, PRAAS_FRAME_STATE_GET, 3, "k", NULL, 0);
	expect(t->c, 3, PRAAS_NOT_FOUND, NULL);
	t->f.p->parked_bytes_max = 5;
	frame(t->c, PRAAS_FRAME_SEND, 4, "k", "one", 0);
	frame(t->c, PRAAS_FRAME_SEND, 5, "k", "two", 0);
	expect(t->c, 5, PRAAS_DRAINING, NULL);
	frame(t->c, PRAAS_FRAME_SEND, 6, "k", "2", 0);
	assert_false(fake_has(t->c));
	for (uint64_t id = 100; id < 100 + 4096 - 2; id++)
		frame(t->c, PRAAS_FRAME_SEND, id, "k", NULL, 0);
	assert_false(fake_has(t->c));
	frame(t->c, PRAAS_FRAME_SEND, 7, "k", NULL, 0);
	expect(t->c, 7, PRAAS_DRAINING, NULL);
	fake_conn_free(b);
}

/* Given up, or its connection has gone. */
static void test_park_forgotten(void **state)
{
	struct table *t = *state;
	struct fake_conn *b = fake_conn_new(&t->f, 2);
	struct praas_frame recv = { .kind = PRAAS_FRAME_RECV,
				    .aux = PRAAS_ANY,
				    .deadline_ns = PRAAS_DEADLINE_NEVER };

	b->base.peer_follows = true;
	for (recv.id = 1; recv.id <= 4; recv.id++)
		fake_frame(recv.id % 2 ? t->c : b, &recv, "k", NULL, 0);
	praas_process_park(t->f.p);
	invoke(t->c, PLAIN, 11, NULL, 0);
	invoke(b, PLAIN, 12, NULL, 0);
	invoke(t->c, PLAIN, 13, NULL, 0);
	frame(t->c, PRAAS_FRAME_CANCEL, 11, NULL, NULL, 0);
	expect(t->c, 11, PRAAS_CANCELLED, NULL);
	frame(t->c, PRAAS_FRAME_CANCEL, 1, NULL, NULL, 0);
	expect(t->c, 1, PRAAS_CANCELLED, NULL);
	fake_conn_free(b);
	praas_process_gate(t->f.p, true);
	assert_int_equal(t->m->count, 1);
	end_one(&t->f, t->m, 0, NULL);
	expect(t->c, 13, 0, NULL);
	frame(t->c, PRAAS_FRAME_SEND, 14, "k", "one", 0);
	expect(t->c, 3, 0, "one");
	expect(t->c, 14, 0, NULL);
	frame(t->c, PRAAS_FRAME_SEND, 15, "k", "two", 0);
	expect(t->c, 15, 0, NULL);
	assert_false(fake_has(t->c));
}

/* The process ends with what is kept. */
static void test_park_end(void **state)
{
	struct table *t = *state;

	praas_process_park(t->f.p);
	invoke(t->c, PLAIN, 1, NULL, 0);
	frame(t->c, PRAAS_FRAME_SEND, 2, "k", "x", 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_follows, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_park_called_off), TEST(test_park_moved),
		TEST(test_park_others),     TEST(test_park_forgotten),
		TEST(test_park_end),
	};

	return cmocka_run_group_tests_name("park", tests, NULL, NULL);
}
