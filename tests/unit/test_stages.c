/* SPDX-License-Identifier: Apache-2.0
 *
 * Invocations of functions that are not plain, from one stage to the next, and over a swap: none is
 * lost, none counts twice.
 */
#include "unit/swap_fixture.h"

#include <sched.h>

static const struct praas_invocation *running(const struct table *t, uint16_t function,
					      uint32_t inputs)
{
	assert_true(t->m->count > 0);
	assert_int_equal(t->m->running[0]->function, function);
	assert_int_equal(t->m->running[0]->inputs_count, inputs);
	return t->m->running[0];
}

static void check_input(const struct praas_invocation *inv, uint32_t index,
			const char *text, const char *key)
{
	const struct praas_buf *in = praas_invocation_input(inv, index);

	assert_int_equal(in->head.bytes, strlen(text));
	assert_memory_equal(in->data, text, strlen(text));
	assert_string_equal(in->key, key);
}

static void end(struct table *t)
{
	fake_conn_free(t->c);
	fixture_release(&t->f);
}

/* The worker's way of being stopped for a swap. */
static void interrupt(struct table *t)
{
	praas_process_gate(t->f.p, false);
	t->m->capacity = 0;
	praas_process_interrupt(t->f.p);
	while (t->m->count > 0)
		end_one(&t->f, t->m, PRAAS_INTERRUPTED, NULL);
	assert_true(praas_process_quiet(t->f.p));
}

static void wait_for(struct table *t, unsigned count)
{
	uint64_t until = praas_now_ns() + 10000000000u;

	while (t->m->count < count && praas_now_ns() < until) {
		(void)praas_process_poll(t->f.p, 16);
		(void)sched_yield();
	}
	assert_int_equal(t->m->count, count);
}

/* A result is the next one's input, under the same key; the caller gets the last one's, once. */
static void test_stages_pipeline(void **state)
{
	struct table *t = *state;

	invoke(t->c, FIRST, 1, "k", 0);
	check_input(running(t, FIRST, 1), 0, "in", "k");
	invoke(t->c, FIRST, 1, "k", 0); /* again, meanwhile */
	end_one(&t->f, t->m, 0, "middle");
	assert_false(fake_has(t->c));
	check_input(running(t, PLAIN, 1), 0, "middle", "k");
	invoke(t->c, FIRST, 1, "k", 0);
	assert_int_equal(t->m->count, 1);
	end_one(&t->f, t->m, 0, "end");
	expect(t->c, 1, 0, "end");
	assert_false(fake_has(t->c));
	invoke(t->c, FIRST, 1, "k", 0);
	expect(t->c, 1, 0, "end");
	/* Nothing is an input, too. */
	invoke(t->c, FIRST, 2, "k", 0);
	end_one(&t->f, t->m, 0, NULL);
	check_input(running(t, PLAIN, 1), 0, "", "k");
	end_one(&t->f, t->m, 0, NULL);
	expect(t->c, 2, 0, NULL);
	assert_true(praas_process_quiet(t->f.p));
}

/* One that fails is the last one. */
static void test_stages_failure_ends(void **state)
{
	struct table *t = *state;

	invoke(t->c, FIRST, 1, "k", 0);
	end_one(&t->f, t->m, 7, "no");
	expect(t->c, 1, 7, "no");
	assert_int_equal(t->m->count, 0);
	invoke(t->c, FIRST, 2, "k", 0);
	end_one(&t->f, t->m, 0, "middle");
	end_one(&t->f, t->m, 8, "neither");
	expect(t->c, 2, 8, "neither");
	assert_true(praas_process_quiet(t->f.p));
}

/* Results of several meet in one: each caller gets what it makes of them. */
static void test_stages_meet(void **state)
{
	struct table *t = *state;
	struct fake_conn *b = fake_conn_new(&t->f, 2);

	invoke(t->c, MAP, 1, "k", 0);
	invoke(b, MAP, 1, "k", 0);
	end_one(&t->f, t->m, 0, "one");
	assert_int_equal(t->m->count, 1);
	end_one(&t->f, t->m, 0, "two");
	check_input(running(t, JOINED, 2), 0, "one", "k");
	check_input(running(t, JOINED, 2), 1, "two", "k");
	assert_int_equal(praas_invocation_input(t->m->running[0], 1)->head.source,
			 PRAAS_CLIENT | 2);
	end_one(&t->f, t->m, 0, "both");
	expect(t->c, 1, 0, "both");
	expect(b, 1, 0, "both");
	assert_true(praas_process_quiet(t->f.p));
	fake_conn_free(b);
}

/* A batch whose result joins others: all four callers of it get the last result. */
static void test_stages_meet_twice(void **state)
{
	struct table *t = *state;

	for (uint64_t id = 1; id <= 2; id++)
		invoke(t->c, PACK, id, "k", 0);
	running(t, PACK, 2);
	end_one(&t->f, t->m, 0, "first pack");
	for (uint64_t id = 3; id <= 4; id++)
		invoke(t->c, PACK, id, "k", 0);
	end_one(&t->f, t->m, 0, "second pack");
	check_input(running(t, JOINED, 2), 1, "second pack", "k");
	end_one(&t->f, t->m, 0, "all");
	for (unsigned i = 0; i < 4; i++) {
		struct praas_buf *buf = fake_take(t->c);

		assert_int_equal(buf->head.status, 0);
		assert_int_equal(buf->head.bytes, 3);
		praas_buf_release(buf);
	}
	assert_false(fake_has(t->c));
	assert_true(praas_process_quiet(t->f.p));
}

/* Serial functions one after the other: the lane of the first is free while the second runs. */
static void test_stages_lanes(void **state)
{
	struct table *t = *state;

	invoke(t->c, QUEUE, 1, "k", 0);
	invoke(t->c, QUEUE, 2, "k", 0);
	assert_int_equal(t->m->count, 1);
	end_one(&t->f, t->m, 0, "one");
	assert_int_equal(t->m->count, 2);
	assert_int_equal(t->m->running[0]->function + t->m->running[1]->function,
			 QUEUE + SERIAL);
	while (t->m->count > 0)
		end_one(&t->f, t->m, 0, "x");
	expect(t->c, 1, 0, "x");
	expect(t->c, 2, 0, "x");
	assert_true(praas_process_quiet(t->f.p));
}

/* Given up between two stages: what runs ends, and nothing follows. */
static void test_stages_cancel(void **state)
{
	struct table *t = *state;

	invoke(t->c, FIRST, 1, "k", 0);
	frame(t->c, PRAAS_FRAME_CANCEL, 1, NULL, NULL, 0);
	assert_int_equal(t->m->cancels, 1);
	end_one(&t->f, t->m, 0, "middle");
	expect(t->c, 1, PRAAS_CANCELLED, NULL);
	assert_int_equal(t->m->count, 0);
	/* One that waits for others between two stages leaves them. */
	invoke(t->c, MAP, 2, "k", 0);
	end_one(&t->f, t->m, 0, "gone");
	frame(t->c, PRAAS_FRAME_CANCEL, 2, NULL, NULL, 0);
	expect(t->c, 2, PRAAS_CANCELLED, NULL);
	assert_true(praas_process_quiet(t->f.p));
	assert_int_equal(t->f.p->triggers.waiting, 0);
}

/* Who is joined is told when its time is over, also the one that came last; the run has the time of all. */
static void test_stages_deadlines_of_joined(void **state)
{
	struct table *t = *state;
	uint64_t soon = praas_now_ns() + 20000000, later = soon + 3600000000000u;

	invoke(t->c, JOINED, 1, "k", later);
	invoke(t->c, JOINED, 2, "k", soon);
	assert_int_equal(running(t, JOINED, 2)->deadline_ns, later);
	while (!fake_has(t->c))
		(void)praas_process_poll(t->f.p, 16);
	expect(t->c, 2, PRAAS_DEADLINE, NULL);
	assert_int_equal(t->m->cancels, 0);
	end_one(&t->f, t->m, 0, "both");
	expect(t->c, 1, 0, "both");
	assert_false(fake_has(t->c));
	/* One without end makes the run endless. */
	invoke(t->c, JOINED, 3, "k", soon + 60000000000u);
	invoke(t->c, JOINED, 4, "k", 0);
	assert_int_equal(running(t, JOINED, 2)->deadline_ns, 0);
	end_one(&t->f, t->m, 0, NULL);
	expect(t->c, 4, 0, NULL);
	expect(t->c, 3, 0, NULL);
}

/* A swap that is called off: what was interrupted runs again, with all its inputs. */
static void test_stages_kept_when_interrupted(void **state)
{
	struct table *t = *state;

	invoke(t->c, JOINED, 1, "k", 0);
	invoke(t->c, JOINED, 2, "k", 0);
	invoke(t->c, FIRST, 3, "f", 0);
	end_one(&t->f, t->m, 0, "ran before");
	expect(t->c, 2, 0, "ran before");
	expect(t->c, 1, 0, "ran before");
	end_one(&t->f, t->m, 0, "middle");
	invoke(t->c, JOINED, 4, "k", 0);
	invoke(t->c, JOINED, 5, "k", 0);
	invoke(t->c, PLAIN, 6, "k", 0);
	interrupt(t);
	expect(t->c, 6, PRAAS_INTERRUPTED, NULL); /* a plain one is told */
	assert_false(fake_has(t->c));
	t->m->capacity = 2;
	praas_process_gate(t->f.p, true);
	assert_int_equal(t->m->count, 2);
	for (unsigned i = 0; i < 2; i++)
		end_one(&t->f, t->m, 0, "again");
	for (unsigned i = 0; i < 3; i++) {
		struct praas_buf *buf = fake_take(t->c);

		assert_int_equal(buf->head.status, 0);
		praas_buf_release(buf);
	}
	assert_true(praas_process_quiet(t->f.p));
}

/* Who waits behind a serial function that is interrupted is told as well. */
static void test_stages_interrupted_lane(void **state)
{
	struct table *t = *state;

	for (uint64_t id = 1; id <= 3; id++)
		invoke(t->c, SERIAL, id, "k", 0);
	assert_int_equal(t->m->count, 1);
	interrupt(t);
	for (uint64_t id = 1; id <= 3; id++)
		expect(t->c, id, PRAAS_INTERRUPTED, NULL);
	t->m->capacity = 2;
	praas_process_gate(t->f.p, true);
	invoke(t->c, SERIAL, 1, "k", 0); /* it may be asked for again */
	end_one(&t->f, t->m, 0, NULL);
	expect(t->c, 1, 0, NULL);
}

/* Interrupted in its second stage, and the process sleeps: the second stage runs after the wake-up, not
 * the first one again, and who asks again gets its result. */
static void test_stages_outlive_a_swap(void **state)
{
	struct table *t = *state, to;

	invoke(t->c, FIRST, 1, "k", 0);
	end_one(&t->f, t->m, 0, "middle");
	interrupt(t);
	swap(t, &to);
	check_input(running(&to, PLAIN, 1), 0, "middle", "k");
	invoke(to.c, FIRST, 1, "k", 0);
	assert_int_equal(to.m->count, 1);
	end_one(&to.f, to.m, 0, "end");
	expect(to.c, 1, 0, "end");
	assert_true(praas_process_quiet(to.f.p));
	end(&to);
}

/* What had fired and was interrupted fires again, with those who were joined in a stage before. */
static void test_stages_joined_outlive_a_swap(void **state)
{
	struct table *t = *state, to;

	for (uint64_t id = 1; id <= 4; id++) {
		invoke(t->c, PACK, id, "k", 0);
		if (id % 2 == 0)
			end_one(&t->f, t->m, 0, id == 2 ? "first" : "second");
	}
	running(t, JOINED, 2);
	interrupt(t);
	swap(t, &to);
	check_input(running(&to, JOINED, 2), 0, "first", "k");
	check_input(running(&to, JOINED, 2), 1, "second", "k");
	for (uint64_t id = 1; id <= 4; id++) /* none of them counts again */
		invoke(to.c, PACK, id, "k", 0);
	assert_int_equal(to.m->count, 1);
	assert_int_equal(to.f.p->triggers.waiting, 0);
	end_one(&to.f, to.m, 0, "all");
	for (unsigned i = 0; i < 4; i++) {
		struct praas_buf *buf = fake_take(to.c);

		assert_int_equal(buf->head.status, 0);
		assert_int_equal(buf->head.bytes, 3);
		praas_buf_release(buf);
	}
	end(&to);
}

/* Half full, swapped twice, filled: an input that is sent again is the same one, be it of a client or of
 * another process. */
static void test_stages_half_full_over_swaps(void **state)
{
	struct table *t = *state, to, last;
	struct fake_conn *peer = fake_conn_new(&t->f, 5);

	peer->base.peer_source = 4711;
	invoke(t->c, JOINED, 1, "a", 0);
	invoke(peer, JOINED, 1, "b", 0);
	fake_conn_free(peer);
	swap(t, &to);
	peer = fake_conn_new(&to.f, 5);
	peer->base.peer_source = 4711;
	invoke(to.c, JOINED, 1, "a", 0);
	invoke(peer, JOINED, 1, "b", 0);
	assert_int_equal(to.m->count, 0);
	fake_conn_free(peer);
	swap(&to, &last);
	end(&to);
	peer = fake_conn_new(&last.f, 5);
	peer->base.peer_source = 4711;
	invoke(peer, JOINED, 1, "b", 0);
	assert_int_equal(last.m->count, 0);
	invoke(last.c, JOINED, 2, "b", 0);
	assert_int_equal(
		praas_invocation_input(running(&last, JOINED, 2), 0)->head.source,
		4711);
	end_one(&last.f, last.m, 0, "two");
	expect(peer, 1, 0, "two");
	expect(last.c, 2, 0, "two");
	invoke(last.c, JOINED, 1, "a", 0);
	invoke(last.c, JOINED, 3, "a", 0);
	running(&last, JOINED, 2);
	end_one(&last.f, last.m, 0, NULL);
	expect(last.c, 3, 0, NULL);
	expect(last.c, 1, 0, NULL);
	assert_true(praas_process_quiet(last.f.p));
	fake_conn_free(peer);
	end(&last);
}

/* A time-out goes on over a swap: it does not begin anew. So does an input's deadline. */
static void test_stages_times_over_a_swap(void **state)
{
	struct table *t = *state, to;
	const struct praas_accumulator *a;
	uint64_t began, half;

	invoke(t->c, PACK, 1, "k", 0);
	began = praas_now_ns();
	half = began + functions[PACK].trigger_timeout_ns / 2;
	invoke(t->c, JOINED, 2, "late", half);
	while (praas_now_ns() < half)
		(void)sched_yield();
	swap(t, &to);
	a = praas_triggers_find(&to.f.p->triggers, PACK, 0, "", 0);
	assert_non_null(a);
	assert_true(a->timer.deadline_ns < half + functions[PACK].trigger_timeout_ns);
	wait_for(&to, 1);
	running(&to, PACK, 1);
	end_one(&to.f, to.m, 0, "alone");
	/* The other one has given up: two more are needed. */
	invoke(to.c, JOINED, 3, "late", 0);
	assert_int_equal(to.m->count, 0);
	invoke(to.c, JOINED, 4, "late", 0);
	running(&to, JOINED, 2);
	end(&to);
}

/* A process may rest with inputs that nobody waits for; not with those of callers, or that have a time. */
static void test_stages_dormant(void **state)
{
	struct table *t = *state;
	struct fake_conn *gone = fake_conn_new(&t->f, 2);
	struct praas_process_stats s;

	invoke(t->c, JOINED, 1, "a", 0);
	invoke(gone, JOINED, 1, "b", 0);
	praas_process_stats(t->f.p, &s);
	assert_int_equal(s.queued, 2);
	assert_int_equal(s.dormant, 0);
	gone->base.events->closed(t->f.p, &gone->base, 0);
	praas_process_stats(t->f.p, &s);
	assert_int_equal(s.dormant, 1);
	invoke(t->c, PACK, 2, "c", 0);
	frame(t->c, PRAAS_FRAME_CANCEL, 1, NULL, NULL, 0);
	expect(t->c, 1, PRAAS_CANCELLED, NULL);
	praas_process_stats(t->f.p, &s);
	assert_int_equal(s.queued, 2);
	assert_int_equal(s.dormant, 1);
	fake_conn_free(gone);
}

/* The code was changed while the process slept: what had waited for others runs when nothing is waited
 * for any more, and when fewer are. */
static void test_stages_changed_trigger(void **state)
{
	struct table *t = *state, to;

	invoke(t->c, JOINED, 1, "k", 0);
	functions[JOINED].trigger = PRAAS_TRIGGER_STANDARD;
	swap(t, &to);
	functions[JOINED].trigger = PRAAS_TRIGGER_MULTI_SOURCE;
	running(&to, JOINED, 1);
	invoke(to.c, JOINED, 1, "k", 0);
	end_one(&to.f, to.m, 0, "alone");
	expect(to.c, 1, 0, "alone");
	end(&to);
	functions[JOINED].trigger_count = 1;
	swap(t, &to);
	functions[JOINED].trigger_count = 2;
	running(&to, JOINED, 1);
	end(&to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) { #name, test_stages_##name, setup, teardown, NULL }
		T(pipeline),
		T(failure_ends),
		T(meet),
		T(meet_twice),
		T(lanes),
		T(cancel),
		T(deadlines_of_joined),
		T(kept_when_interrupted),
		T(interrupted_lane),
		T(outlive_a_swap),
		T(joined_outlive_a_swap),
		T(half_full_over_swaps),
		T(times_over_a_swap),
		T(dormant),
		T(changed_trigger),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
