/* SPDX-License-Identifier: Apache-2.0
 *
 * Pipelines that go on in another process: one that works, fails, is not known, is given up. Nothing runs twice, each
 * caller is told once.
 */
#include "unit/stage_away_fixture.h"

/* The other process runs the function with the result, and the caller gets what that gives, once. */
static void test_stage_away_there(void **state)
{
	(void)state;
	go(AWAY, 1);
	assert_int_equal(runs(A), 0);
	input_is(B, PLAIN, "middle");
	assert_int_equal(w->node[B].ex->m.running[0]->source, pid_of(A));
	invoke(client(A), AWAY, 1, "k", 0); /* again, meanwhile */
	assert_int_equal(runs(A), 0);
	ends(B, 0, "end");
	expect(client(A), 1, 0, "end");
	assert_false(fake_has(client(A)));
	invoke(client(A), AWAY, 1, "k", 0);
	expect(client(A), 1, 0, "end");
	go(AWAY, 2);
	ends(B, 0, NULL);
	expect(client(A), 2, 0, NULL);
	assert_true(praas_process_quiet(w->node[A].f.p));
	assert_int_equal(w->node[A].f.p->queued, 0);
	/* Each function counts where it runs. */
	assert_int_equal(w->node[A].f.p->sums[AWAY].calls, 2);
	assert_int_equal(w->node[A].f.p->sums[PLAIN].calls, 0);
	assert_int_equal(w->node[B].f.p->sums[PLAIN].calls, 2);
}

/* Under the same trace; what is told of its time is the last function's. */
static void test_stage_away_trace_and_timing(void **state)
{
	static const uint8_t trace[PRAAS_TRACE_BYTES] = { 1, 2, 3, [24] = 1 };
	const struct praas_frame head = { .kind = PRAAS_FRAME_INVOKE,
					  .function = AWAY,
					  .id = 1,
					  .flags = PRAAS_FRAME_TIMING };
	const struct praas_buf *in;
	struct praas_frame_timing timing;
	struct praas_buf *buf;

	(void)state;
	fake_frame_traced(client(A), &head, "k", "in", 2, trace);
	ends(A, 0, "middle");
	assert_int_equal(runs(B), 1);
	in = w->node[B].ex->m.running[0]->inputs[0];
	assert_true(in->head.flags & PRAAS_FRAME_TRACE);
	assert_memory_equal(in->trace, trace, PRAAS_TRACE_USED);
	ends(B, 0, "end");
	buf = fake_take(client(A));
	timing = praas_frame_timing_get(&buf->head);
	assert_int_equal(timing.run_ns, 1234);
	assert_true(timing.queue_ns > 0);
	praas_buf_release(buf);
}

/* Through a second process to a third one. */
static void test_stage_away_far(void **state)
{
	(void)state;
	go(AWAY_FIRST, 1);
	input_is(B, AWAY_SECOND, "middle");
	ends(B, 0, "more");
	input_is(C, SERIAL, "more");
	ends(C, 9, "no");
	told_error(client(A), 1, 9,
		   "stage away_second in process b: stage serial in process c: no");
}

/* An error ends it, with the name of the stage; one without words, too. */
static void test_stage_away_failure(void **state)
{
	(void)state;
	go(AWAY, 1);
	ends(B, 7, "no");
	told_error(client(A), 1, 7, "stage plain in process b: no");
	go(AWAY, 2);
	ends(B, PRAAS_CRASHED, NULL);
	told_error(client(A), 2, PRAAS_CRASHED,
		   "stage plain in process b: it ended with status -1001");
	invoke(client(A), AWAY, 3, "k", 0);
	ends(A, 8, "first"); /* that of the first is its own */
	expect(client(A), 3, 8, "first");
	assert_int_equal(runs(B), 0);
	assert_int_equal(w->node[A].f.p->stats.failures, 3);
}

/* Its name is that of the process itself: it goes on here. */
static void test_stage_away_itself(void **state)
{
	(void)state;
	invoke(client(B), AWAY, 1, "k", 0);
	ends(B, 0, "middle");
	input_is(B, PLAIN, "middle");
	assert_int_equal(w->node[B].f.p->stages.count, 0);
	ends(B, 0, "end");
	expect(client(B), 1, 0, "end");
	assert_int_equal(w->node[B].f.p->sums[PLAIN].calls, 1);
}

/* All who are joined to it get the result, or why there is none. */
static void test_stage_away_joined(void **state)
{
	struct fake_conn *other = fake_conn_new(&w->node[A].f, 2);

	(void)state;
	invoke(client(A), AWAY_PACK, 1, "k", 0);
	invoke(other, AWAY_PACK, 1, "k", 0);
	ends(A, 0, "middle");
	assert_int_equal(w->node[B].f.p->triggers.waiting, 1);
	invoke(client(B), JOINED, 1, "k", 0);
	assert_int_equal(runs(B), 1);
	ends(B, 0, "both");
	expect(client(B), 1, 0, "both");
	expect(client(A), 1, 0, "both");
	expect(other, 1, 0, "both");
	invoke(client(A), AWAY_PACK, 2, "k", 0);
	invoke(other, AWAY_PACK, 2, "k", 0);
	ends(A, 0, "middle");
	frame(client(A), PRAAS_FRAME_CANCEL, 2, NULL, NULL, 0);
	expect(client(A), 2, PRAAS_CANCELLED, NULL); /* the other one waits on */
	settle();
	assert_int_equal(w->node[B].f.p->triggers.waiting, 1);
	invoke(client(B), JOINED, 2, "k", 0);
	ends(B, 5, "why");
	told_error(other, 2, 5, "stage joined in process b: why");
	fake_conn_free(other);
}

/* Nobody of that name: told soon, with the name; or it comes in time. */
static void test_stage_away_unknown(void **state)
{
	uint64_t began;

	(void)state;
	w->node[B].gone = true;
	know(A);
	began = praas_now_ns();
	go(AWAY, 1);
	assert_false(fake_has(client(A)));
	until(client(A));
	assert_true(praas_now_ns() - began >= 200000000);
	told_error(client(A), 1, PRAAS_NOT_FOUND,
		   "stage plain in process b: there is no such process");
	go(AWAY, 2);
	w->node[B].gone = false; /* it was made a moment ago */
	know(A);
	settle();
	input_is(B, PLAIN, "middle");
	ends(B, 0, "end");
	expect(client(A), 2, 0, "end");
}

static int ask_for_list(void *user)
{
	++*(unsigned *)user;
	return 0;
}

/* The list is not here yet: it is asked for, and comes, or does not. Without anybody to ask: told at once. */
static void test_stage_away_list(void **state)
{
	struct praas_process *p = w->node[A].f.p;
	struct praas_members *none;
	unsigned asked = 0;

	(void)state;
	go(AWAY, 1);
	told_error(client(A), 1, PRAAS_NOT_FOUND,
		   "stage plain in process b: it is not known which processes there "
		   "are");
	praas_process_members_host_set(p, ask_for_list, &asked);
	go(AWAY, 2);
	until(client(A));
	told_error(client(A), 2, PRAAS_NOT_FOUND,
		   "stage plain in process b: it is not known which processes there "
		   "are");
	assert_int_equal(asked, 1);
	go(AWAY, 3);
	go(AWAY, 4);
	frame(client(A), PRAAS_FRAME_CANCEL, 3, NULL, NULL, 0);
	told_error(client(A), 3, PRAAS_CANCELLED,
		   "stage plain in process b: it was not called yet");
	know(A);
	settle();
	assert_int_equal(runs(B), 1);
	ends(B, 0, "end");
	expect(client(A), 4, 0, "end");
	assert_int_equal(praas_members_apply(NULL, NULL, 0, 2, &none), 0);
	none->too_many = true;
	praas_process_members_give(p, none);
	go(AWAY, 5);
	told_error(client(A), 5, PRAAS_NOT_FOUND,
		   "stage plain in process b: the application has too many processes "
		   "to find one by its name");
}

/* Given up, it is given up there; what it comes to is what its caller learns. */
static void test_stage_away_cancel(void **state)
{
	(void)state;
	go(AWAY, 1);
	frame(client(A), PRAAS_FRAME_CANCEL, 1, NULL, NULL, 0);
	frame(client(A), PRAAS_FRAME_CANCEL, 1, NULL, NULL, 0);
	settle();
	assert_int_equal(w->node[B].ex->m.cancels, 1);
	assert_false(fake_has(client(A)));
	ends(B, PRAAS_CANCELLED, NULL);
	told_error(client(A), 1, PRAAS_CANCELLED,
		   "stage plain in process b: it ended with status -1003");
	/* Behind another one there, it never runs. */
	go(AWAY_SERIAL, 2);
	go(AWAY_SERIAL, 3);
	frame(client(A), PRAAS_FRAME_CANCEL, 3, NULL, NULL, 0);
	settle();
	assert_int_equal(w->node[B].f.p->queued, 0);
	told_error(client(A), 3, PRAAS_CANCELLED,
		   "stage serial in process b: it ended with status -1003");
	ends(B, 0, "end");
	expect(client(A), 2, 0, "end");
}

/* The deadline goes along; when it passes the caller is told where. */
static void test_stage_away_deadline(void **state)
{
	(void)state;
	invoke(client(A), AWAY, 1, "k", praas_now_ns() + 100000000);
	ends(A, 0, "middle");
	assert_int_equal(runs(B), 1);
	assert_true(w->node[B].ex->m.running[0]->deadline_ns != 0);
	w->link[A][B].deaf = true; /* what is answered there is not heard here */
	until(client(A));
	told_error(client(A), 1, PRAAS_DEADLINE,
		   "stage plain in process b: the deadline passed before the result");
	w->link[A][B].deaf = false;
	ends(B, 0, "late");
	assert_false(fake_has(client(A)));
	invoke(client(A), AWAY, 1, "k", 0);
	told_error(client(A), 1, PRAAS_DEADLINE,
		   "stage plain in process b: the deadline passed before the result");
}

/* So many at once, and no more. */
static void test_stage_away_limit(void **state)
{
	uint64_t id = 0;

	(void)state;
	while (id < PRAAS_STAGES_AWAY_MAX) {
		invoke(client(A), AWAY_SERIAL, ++id, "k", 0);
		end_one(&w->node[A].f, &w->node[A].ex->m, 0, "middle");
		if (id % 32 == 0)
			settle();
	}
	settle();
	assert_int_equal(w->node[A].f.p->stages.count, PRAAS_STAGES_AWAY_MAX);
	go(AWAY, ++id);
	told_error(client(A), id, PRAAS_OVERLOADED,
		   "stage plain in process b: too many pipelines go on in other "
		   "processes");
	ends(B, 0, "end");
	expect(client(A), 1, 0, "end");
	go(AWAY, ++id);
	assert_int_equal(w->node[A].f.p->stages.count, PRAAS_STAGES_AWAY_MAX);
	assert_false(fake_has(client(A)));
}

int main(void)
{
#define T(name)                                                                        \
	cmocka_unit_test_setup_teardown(test_stage_away_##name, setup_known,           \
					teardown_world)
	const struct CMUnitTest tests[] = {
		T(there),
		T(trace_and_timing),
		T(far),
		T(failure),
		T(itself),
		T(joined),
		T(unknown),
		cmocka_unit_test_setup_teardown(test_stage_away_list, setup_world,
						teardown_world),
		T(cancel),
		T(deadline),
		T(limit),
	};
#undef T
	return cmocka_run_group_tests(tests, NULL, NULL);
}
