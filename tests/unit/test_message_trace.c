/* SPDX-License-Identifier: Apache-2.0
 *
 * The trace of a message: from who sends to who receives, and over a snapshot. What functions make of
 * it is in the executors' conformance suite.
 */
#include "unit/swap_fixture.h"

#include <stdio.h>

static const uint8_t trace[PRAAS_TRACE_BYTES] = {
	1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, /* trace */
	21, 22, 23, 24, 25, 26, 27, 28,                                /* span */
	1                                                              /* flags */
};

/* A frame with a trace, as if it came by c. */
static void traced_frame(struct fake_conn *c, uint8_t kind, uint16_t function,
			 uint64_t id, const char *key)
{
	struct praas_frame head = { .kind = kind, .function = function, .id = id };

	fake_frame_traced(c, &head, key, "in", 2, trace);
}

/* The next answer is that message, with a trace or without. */
static void expect_message(struct fake_conn *c, const char *text, bool traced)
{
	struct praas_buf *buf = fake_take(c);

	assert_int_equal(buf->head.kind, PRAAS_FRAME_REPLY);
	assert_int_equal(buf->head.status, 0);
	assert_int_equal(buf->head.bytes, strlen(text));
	assert_memory_equal(buf->data, text, strlen(text));
	assert_int_equal(buf->head.flags, traced ? PRAAS_FRAME_TRACE : 0);
	if (traced)
		assert_memory_equal(buf->trace, trace, sizeof(trace));
	praas_buf_release(buf);
}

static void receive(struct table *t, uint64_t id, const char *key, uint64_t deadline_ns)
{
	struct praas_frame head = { .kind = PRAAS_FRAME_RECV,
				    .id = id,
				    .deadline_ns = deadline_ns,
				    .aux = PRAAS_ANY };

	fake_frame(t->c, &head, key, NULL, 0);
}

/* Each message has its own trace or none, whoever had its place in the table before. */
static void test_trace_comes_with_its_message(void **state)
{
	struct table *t = *state;

	for (unsigned i = 0; i < 3; i++) {
		traced_frame(t->c, PRAAS_FRAME_SEND, 0, 1, "k");
		frame(t->c, PRAAS_FRAME_SEND, 2, "k", "plain", 0);
		expect(t->c, 1, 0, NULL);
		expect(t->c, 2, 0, NULL);
		frame(t->c, PRAAS_FRAME_PEEK, 3, "k", NULL, PRAAS_ANY);
		expect_message(t->c, "in", true);
		receive(t, 4, "k", 0);
		expect_message(t->c, "in", true);
		receive(t, 5, "k", 0);
		expect_message(t->c, "plain", false);
		/* The places are given out in the other order. */
		frame(t->c, PRAAS_FRAME_SEND, 6, "k", "plain", 0);
		expect(t->c, 6, 0, NULL);
		receive(t, 7, "k", 0);
		expect_message(t->c, "plain", false);
	}
}

/* Who waits gets it as who comes later does. */
static void test_trace_comes_to_who_waits(void **state)
{
	struct table *t = *state;

	receive(t, 1, "k", PRAAS_DEADLINE_NEVER);
	receive(t, 2, "k", PRAAS_DEADLINE_NEVER);
	traced_frame(t->c, PRAAS_FRAME_SEND, 0, 3, "k");
	expect_message(t->c, "in", true);
	expect(t->c, 3, 0, NULL);
	frame(t->c, PRAAS_FRAME_SEND, 4, "k", "plain", 0);
	expect_message(t->c, "plain", false);
	expect(t->c, 4, 0, NULL);
}

/* A message that a client could not be given goes back with its trace; an answer that says so has none. */
static void test_trace_goes_back_with_its_message(void **state)
{
	struct table *t = *state;
	struct fake_conn *other = fake_conn_new(&t->f, 2);
	struct praas_buf *buf;

	receive(t, 1, "k", PRAAS_DEADLINE_NEVER);
	t->c->alloc_rc = -ENOMEM;
	traced_frame(other, PRAAS_FRAME_SEND, 0, 2, "k");
	t->c->alloc_rc = 0;
	while (fake_has(t->c))
		praas_buf_release(fake_take(t->c));
	expect(other, 2, 0, NULL);
	receive(t, 3, "k", 0);
	expect_message(t->c, "in", true);
	/* Too large for this client: told so, without what was in the buffer. */
	traced_frame(other, PRAAS_FRAME_SEND, 0, 4, "k");
	expect(other, 4, 0, NULL);
	t->c->base.bytes_max = 1;
	receive(t, 5, "k", 0);
	buf = fake_take(t->c);
	assert_int_equal(buf->head.status, PRAAS_TOO_LARGE);
	assert_int_equal(buf->head.flags, 0);
	praas_buf_release(buf);
	fake_conn_free(other);
}

/* ---- snapshots ---- */

static void end(struct table *t)
{
	fake_conn_free(t->c);
	fixture_release(&t->f);
}

/* Unread messages keep their traces over a swap, and those without have none. */
static void test_trace_outlives_a_swap(void **state)
{
	struct table *t = *state, to;

	traced_frame(t->c, PRAAS_FRAME_SEND, 0, 1, "k");
	frame(t->c, PRAAS_FRAME_SEND, 2, "k", "plain", 0);
	traced_frame(t->c, PRAAS_FRAME_SEND, 0, 3, "k");
	swap(t, &to);
	receive(&to, 4, "k", 0);
	expect_message(to.c, "in", true);
	receive(&to, 5, "k", 0);
	expect_message(to.c, "plain", false);
	receive(&to, 6, "k", 0);
	expect_message(to.c, "in", true);
	end(&to);
}

/* So does an input that waits for others: what it triggers runs in its trace. */
static void test_trace_of_an_input_outlives_a_swap(void **state)
{
	struct table *t = *state, to;
	const struct praas_buf *in;

	traced_frame(t->c, PRAAS_FRAME_INVOKE, JOINED, 1, "j");
	swap(t, &to);
	invoke(to.c, JOINED, 2, "j", 0);
	assert_int_equal(to.m->count, 1);
	in = praas_invocation_input(to.m->running[0], 0);
	assert_int_equal(in->head.flags, PRAAS_FRAME_TRACE);
	assert_memory_equal(in->trace, trace, sizeof(trace));
	in = praas_invocation_input(to.m->running[0], 1);
	assert_int_equal(in->head.flags, 0);
	end_one(&to.f, to.m, 0, "both");
	end(&to);
}

/* A manifest that was written before messages had traces. */
static void test_trace_is_none_in_an_old_snapshot(void **state)
{
	struct table *t = *state;
	struct praas_snapshot back;
	uint8_t data[4096];
	FILE *file = fopen(PRAAS_TEST_DATA "/snapshot-v1.manifest", "rb");
	size_t bytes;

	assert_non_null(file);
	bytes = fread(data, 1, sizeof(data), file);
	(void)fclose(file);
	praas_process_gate(t->f.p, false);
	assert_int_equal(praas_snapshot_decode(data, bytes, &back), 0);
	assert_int_equal(
		praas_snapshot_load(NULL, &back, functions, FUNCTIONS, import, t->f.p),
		0);
	praas_snapshot_release(&back);
	praas_process_gate(t->f.p, true);
	receive(t, 1, "letter", 0);
	expect_message(t->c, "hello", false);
	receive(t, 2, "letter", 0);
	expect_message(t->c, "again", false);
	/* Numbers go on from where they were. */
	frame(t->c, PRAAS_FRAME_SEND, 3, "letter", "new", 0);
	assert_int_equal(expect(t->c, 3, 0, NULL), 5);
	invoke(t->c, JOINED, 4, "j", 0);
	assert_int_equal(t->m->count, 1);
	assert_int_equal(praas_invocation_input(t->m->running[0], 0)->head.flags, 0);
	end_one(&t->f, t->m, 0, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) { #name, test_##name, setup, teardown, NULL }
		T(trace_comes_with_its_message),
		T(trace_comes_to_who_waits),
		T(trace_goes_back_with_its_message),
		T(trace_outlives_a_swap),
		T(trace_of_an_input_outlives_a_swap),
		T(trace_is_none_in_an_old_snapshot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
