/* SPDX-License-Identifier: Apache-2.0
 *
 * The process and callers that ask too often, do not read, send nonsense, or end while they are
 * answered; and what keeps a process from being quiet.
 */
#include "unit/process_fixture.h"

/* Inputs that wait for a trigger do not keep a process from being swapped out; behind a closed
 * gate none fires. What is queued to run is told. */
static void test_process_quiet_with_inputs(void **state)
{
	struct table *t = *state;

	invoke(t->c, JOINED, 1, "join", 0);
	assert_true(praas_process_quiet(t->f.p));
	for (uint64_t i = 2; i <= 5; i++)
		invoke(t->c, i < 4 ? PLAIN : SERIAL, i, NULL, 0);
	praas_process_gate(t->f.p, false);
	assert_int_equal(t->m->count, 2);
	t->m->capacity = 0; /* stopped */
	end_one(&t->f, t->m, PRAAS_INTERRUPTED, NULL);
	end_one(&t->f, t->m, PRAAS_INTERRUPTED, NULL);
	assert_false(praas_process_quiet(t->f.p));
	praas_process_interrupt(t->f.p);
	assert_true(praas_process_quiet(t->f.p));
	for (uint64_t i = 2; i <= 5; i++)
		expect(t->c, i, PRAAS_INTERRUPTED, NULL);
	assert_false(fake_has(t->c));
}

/* ---- hostile callers ---- */

/* However often it is asked for: the executor hears of it once. */
static void test_process_cancels_once(void **state)
{
	struct table *t = *state;

	invoke(t->c, PLAIN, 1, NULL, 0);
	for (unsigned i = 0; i < 1000; i++)
		frame(t->c, PRAAS_FRAME_CANCEL, 1, NULL, NULL, 0);
	assert_int_equal(t->m->cancels, 1);
	end_one(&t->f, t->m, PRAAS_CANCELLED, NULL);
	expect(t->c, 1, PRAAS_CANCELLED, NULL);
}

static unsigned told_closed;

static void count_closed(void *user, struct praas_conn *conn, int rc)
{
	assert_true(rc < 0);
	assert_false(
		((struct fake_conn *)conn)->closed); /* it may still be looked at */
	told_closed++;
	praas_process_conn_events()->closed(user, conn, rc);
}

/* A connection that we end is told to whoever stands before the process. */
static void test_process_tells_of_drops(void **state)
{
	struct table *t = *state;
	struct praas_conn_events events = *praas_process_conn_events();
	struct fake_conn *b = fake_conn_new(&t->f, 2);

	events.closed = count_closed;
	told_closed = 0;
	praas_conn_set_events(&t->c->base, &events, t->f.p);
	frame(t->c, PRAAS_FRAME_RESULT, 1, NULL, NULL, 0); /* not a client's to send */
	assert_true(t->c->closed);
	assert_int_equal(told_closed, 1);
	/* One that never reads: closed when it has its share, and others still have room. */
	praas_conn_set_events(&b->base, &events, t->f.p);
	b->send_rc = -EAGAIN;
	for (uint64_t i = 1; i <= 64 && !b->closed; i++)
		frame(b, PRAAS_FRAME_PING, i, NULL, NULL, 0);
	assert_true(b->closed);
	assert_int_equal(told_closed, 2);
	fake_conn_free(t->c);
	fake_conn_free(b);
	t->c = fake_conn_new(&t->f, 1);
}

/* A message that one receiver cannot take goes to the next, whose timer ends with it. */
static void test_process_passes_messages_on(void **state)
{
	struct table *t = *state;
	struct fake_conn *b = fake_conn_new(&t->f, 2);
	struct praas_frame head = { .kind = PRAAS_FRAME_RECV,
				    .id = 1,
				    .aux = PRAAS_ANY,
				    .deadline_ns = praas_now_ns() + 20000000 };
	struct praas_timer *timer;

	fake_frame(t->c, &head, "k", NULL, 0);
	head.id = 2;
	fake_frame(b, &head, "k", NULL, 0);
	t->c->alloc_rc = -ENOBUFS;
	frame(b, PRAAS_FRAME_SEND, 3, "k", "text", 0);
	expect(b, 2, 0, "text");
	expect(b, 3, 0, NULL);
	timer = praas_timers_take(&t->f.p->timers, UINT64_MAX);
	assert_null(timer);
	t->c->alloc_rc = 0;
	(void)praas_process_poll(t->f.p, 16);
	expect(t->c, 1, PRAAS_OVERLOADED, NULL);
	fake_conn_free(b);
}

/* The answer to a receiver ends its connection: the receiver is free once, not twice. */
static void test_process_receiver_dropped(void **state)
{
	struct table *t = *state;
	struct fake_conn *b = fake_conn_new(&t->f, 2);
	struct praas_frame head = { .kind = PRAAS_FRAME_RECV,
				    .id = 1,
				    .aux = PRAAS_ANY,
				    .deadline_ns = PRAAS_DEADLINE_NEVER };
	unsigned free_ones = 0;

	fake_frame(b, &head, "k", NULL, 0);
	b->send_rc = -EAGAIN;
	for (uint64_t i = 0; i < t->f.p->pending_max / 2; i++)
		frame(b, PRAAS_FRAME_PING, 2 + i, NULL, NULL, 0);
	assert_false(b->closed);
	frame(t->c, PRAAS_FRAME_SEND, 1, "k", "text", 0);
	assert_true(b->closed);
	expect(t->c, 1, 0, NULL);
	for (struct praas_receiver *r = t->f.p->receivers_free; r && free_ones < 100;
	     r = r->next)
		free_ones++;
	assert_int_equal(free_ones,
			 t->f.p->receivers_made); /* others were never used */
	fake_conn_free(b);
}

/* A result that is larger than the ticket allows is an answer too. */
static void test_process_result_too_large(void **state)
{
	struct table *t = *state;

	t->c->base.bytes_max = 3;
	invoke(t->c, PLAIN, 1, NULL, 0);
	end_one(&t->f, t->m, 0, "four");
	expect(t->c, 1, PRAAS_TOO_LARGE, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(test_process_##name, setup, teardown)
		T(cancels_once),     T(tells_of_drops),   T(passes_messages_on),
		T(receiver_dropped), T(result_too_large), T(quiet_with_inputs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
