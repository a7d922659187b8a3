/* SPDX-License-Identifier: Apache-2.0
 *
 * HOLD and TAKEN: a message that its receiver has not got safely is there for the next one.
 */
#include "unit/process_fixture.h"

static void hold(struct fake_conn *c, uint64_t id, uint64_t deadline_ns)
{
	struct praas_frame head = { .kind = PRAAS_FRAME_HOLD,
				    .id = id,
				    .aux = PRAAS_ANY,
				    .deadline_ns = deadline_ns };

	fake_frame(c, &head, "k", NULL, 0);
}

static void post(struct fake_conn *c, const char *text)
{
	frame(c, PRAAS_FRAME_SEND, 99, "k", text, 0);
	expect(c, 99, 0, NULL);
}

static void recv_expect(struct fake_conn *c, const char *text)
{
	frame(c, PRAAS_FRAME_RECV, 98, "k", NULL, PRAAS_ANY);
	expect(c, 98, text ? 0 : PRAAS_NOT_FOUND, text);
}

static int count_message(void *user, const struct praas_export_record *record)
{
	*(unsigned *)user += record->kind == PRAAS_EXPORT_MESSAGE;
	return 0;
}

/* What is held is nobody else's, is in a snapshot, and goes when its holder, and only he, has taken it. */
static void test_held_is_taken_once(void **state)
{
	struct table *t = *state;
	struct fake_conn *b = fake_conn_new(&t->f, 2);
	unsigned messages = 0;

	post(t->c, "one");
	hold(t->c, 1, 0);
	assert_int_equal(expect(t->c, 1, 0, "one"), PRAAS_CLIENT | 1);
	recv_expect(b, NULL);
	frame(b, PRAAS_FRAME_PEEK, 2, "k", NULL, PRAAS_ANY);
	expect(b, 2, PRAAS_NOT_FOUND, NULL);
	frame(b, PRAAS_FRAME_TAKEN, 3, NULL, NULL, 1);
	expect(b, 3, PRAAS_NOT_FOUND, NULL);
	frame(t->c, PRAAS_FRAME_CANCEL, 1, NULL, NULL, 0); /* it has been answered */
	assert_int_equal(praas_process_export(t->f.p, count_message, &messages), 0);
	assert_int_equal(messages, 1);
	frame(t->c, PRAAS_FRAME_TAKEN, 4, NULL, NULL, 1);
	expect(t->c, 4, 0, NULL);
	frame(t->c, PRAAS_FRAME_TAKEN, 5, NULL, NULL, 1);
	expect(t->c, 5, PRAAS_NOT_FOUND, NULL);
	assert_int_equal(t->f.p->mailbox.count, 0);
	assert_int_equal(t->f.p->stats.messages_out, 1);
	hold(t->c, 6, 0);
	expect(t->c, 6, PRAAS_NOT_FOUND, NULL);
	fake_conn_free(b);
}

/* The end of the connection lets go, in order; who waits gets it, and can hold it in turn. */
static void test_held_goes_back_with_its_connection(void **state)
{
	struct table *t = *state;
	struct fake_conn *b = fake_conn_new(&t->f, 2);

	post(t->c, "one");
	post(t->c, "two");
	hold(b, 1, 0);
	expect(b, 1, 0, "one");
	hold(b, 2, 0);
	expect(b, 2, 0, "two");
	hold(t->c, 3, PRAAS_DEADLINE_NEVER);
	fake_conn_free(b);
	expect(t->c, 3, 0, "one");
	recv_expect(t->c, "two");
	frame(t->c, PRAAS_FRAME_TAKEN, 4, NULL, NULL, 3);
	expect(t->c, 4, 0, NULL);
	recv_expect(t->c, NULL);
}

/* A receiver that waits and then cannot take what was let go: it is in its place again. */
static void test_held_goes_on_in_its_place(void **state)
{
	struct table *t = *state;
	struct fake_conn *b = fake_conn_new(&t->f, 2);
	struct fake_conn *c = fake_conn_new(&t->f, 3);
	struct praas_frame head = { .kind = PRAAS_FRAME_RECV,
				    .id = 1,
				    .aux = PRAAS_ANY,
				    .deadline_ns = PRAAS_DEADLINE_NEVER };

	post(t->c, "one");
	hold(b, 1, 0);
	expect(b, 1, 0, "one");
	fake_frame(c, &head, "k", NULL, 0);
	c->alloc_rc = -ENOBUFS;
	fake_conn_free(b);
	post(t->c, "two");
	c->alloc_rc = 0;
	(void)praas_process_poll(t->f.p, 16);
	expect(c, 1, PRAAS_OVERLOADED, NULL);
	fake_conn_free(c);
	recv_expect(t->c, "one");
	recv_expect(t->c, "two");
}

/* One that waits holds what comes; it is in the mailbox meanwhile. */
static void test_held_from_its_arrival(void **state)
{
	struct table *t = *state;
	struct fake_conn *b = fake_conn_new(&t->f, 2);

	hold(b, 1, PRAAS_DEADLINE_NEVER);
	post(t->c, "one");
	expect(b, 1, 0, "one");
	assert_int_equal(t->f.p->mailbox.count, 1);
	recv_expect(t->c, NULL);
	fake_conn_free(b);
	recv_expect(t->c, "one");
}

/* No memory for the answer, and more than the ticket allows: it stays, for HOLD and for RECV. */
static void test_held_not_when_it_cannot_be_told(void **state)
{
	struct table *t = *state;
	struct fake_conn *b = fake_conn_new(&t->f, 2);

	post(t->c, "one");
	b->alloc_rc = -ENOBUFS;
	hold(b, 1, 0);
	b->alloc_rc = 0;
	(void)praas_process_poll(t->f.p, 16);
	expect(b, 1, PRAAS_OVERLOADED, NULL);
	b->base.bytes_max = 2;
	hold(b, 2, 0);
	expect(b, 2, PRAAS_TOO_LARGE, NULL);
	frame(b, PRAAS_FRAME_RECV, 3, "k", NULL, PRAAS_ANY);
	expect(b, 3, PRAAS_TOO_LARGE, NULL);
	frame(b, PRAAS_FRAME_TAKEN, 4, NULL, NULL, 2);
	expect(b, 4, PRAAS_NOT_FOUND, NULL);
	recv_expect(t->c, "one");
	/* The same for one that waits. */
	hold(b, 5, PRAAS_DEADLINE_NEVER);
	post(t->c, "two");
	expect(b, 5, PRAAS_TOO_LARGE, NULL);
	recv_expect(t->c, "two");
	fake_conn_free(b);
}

/* Places are bounded and come back; swapped out with the process, the message is not taken any more. */
static void test_held_ends_with_the_gate(void **state)
{
	struct table *t = *state;

	for (uint64_t id = 1; id <= 4; id++) {
		post(t->c, "m");
		hold(t->c, id, 0);
		expect(t->c, id, 0, "m");
	}
	hold(t->c, 5, PRAAS_DEADLINE_NEVER);
	expect(t->c, 5, PRAAS_OVERLOADED, NULL);
	frame(t->c, PRAAS_FRAME_TAKEN, 6, NULL, NULL, 2);
	expect(t->c, 6, 0, NULL);
	hold(t->c, 7, PRAAS_DEADLINE_NEVER);
	praas_process_gate(t->f.p, false);
	expect(t->c, 7, PRAAS_DRAINING, NULL);
	frame(t->c, PRAAS_FRAME_TAKEN, 8, NULL, NULL, 1);
	expect(t->c, 8, PRAAS_DRAINING, NULL);
	assert_int_equal(t->f.p->mailbox.count, 3);
	praas_process_gate(t->f.p, true);
	frame(t->c, PRAAS_FRAME_TAKEN, 9, NULL, NULL, 1);
	expect(t->c, 9, 0, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(test_held_##name, setup, teardown)
		T(is_taken_once),
		T(goes_back_with_its_connection),
		T(goes_on_in_its_place),
		T(from_its_arrival),
		T(not_when_it_cannot_be_told),
		T(ends_with_the_gate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
