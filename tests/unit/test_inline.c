/* SPDX-License-Identifier: Apache-2.0
 *
 * One process with the inline executor: what a call sees, returns and leaves behind.
 */
#include "unit/dataplane_fixture.h"

static struct praas_function functions[] = {
	{ .name = "noop", .symbol = "noop" },
	{ .name = "echo", .symbol = "echo" },
	{ .name = "where", .symbol = "where" },
	{ .name = "fail", .symbol = "fail" },
	{ .name = "gather",
	  .symbol = "gather",
	  .trigger = PRAAS_TRIGGER_MULTI_SOURCE,
	  .trigger_count = 3 },
	{ .name = "batch",
	  .symbol = "gather",
	  .trigger = PRAAS_TRIGGER_BATCH,
	  .trigger_count = 3,
	  .trigger_timeout_ns = 1000000 },
};
#define FUNCTIONS (sizeof(functions) / sizeof(functions[0]))
enum { NOOP, ECHO, WHERE, FAIL, GATHER, BATCH };

static int setup_with(void **state, struct praas_process_config *changes)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct praas_process_config config;

	fixture_init(f, 8 << 20);
	for (size_t i = 0; i < FUNCTIONS; i++)
		strcpy(functions[i].library, PRAAS_TEST_FUNCTIONS);
	config = fixture_config(f, functions, FUNCTIONS);
	if (changes) {
		config.invocations_max = changes->invocations_max;
		config.dedup_entries = changes->dedup_entries;
	}
	assert_int_equal(
		praas_executor_inline_new(functions, FUNCTIONS, &config.executor), 0);
	fixture_start(f, &config);
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, NULL);
}

static int teardown(void **state)
{
	fixture_release(*state);
	free(*state);
	return 0;
}

static void invoke(struct fake_conn *conn, uint16_t function, uint64_t id,
		   const char *key, const void *data, uint64_t bytes)
{
	struct praas_frame head = { .kind = PRAAS_FRAME_INVOKE,
				    .function = function,
				    .id = id,
				    .epoch = FIXTURE_EPOCH };

	fake_frame(conn, &head, key, data, bytes);
}

static void expect(struct fake_conn *conn, uint64_t id, int32_t status,
		   const void *data, uint64_t bytes)
{
	struct praas_buf *buf = fake_take(conn);

	assert_int_equal(buf->head.kind, PRAAS_FRAME_RESULT);
	assert_int_equal(buf->head.id, id);
	assert_int_equal(buf->head.status, status);
	assert_int_equal(buf->head.epoch, FIXTURE_EPOCH);
	assert_int_equal(buf->head.bytes, bytes);
	if (bytes)
		assert_memory_equal(buf->data, data, bytes);
	praas_buf_release(buf);
}

/* A call runs and is answered before frame() returns. */
static void test_inline_call_answers(void **state)
{
	struct fake_conn *c = fake_conn_new(*state, 1);

	invoke(c, NOOP, 1, NULL, NULL, 0);
	expect(c, 1, 0, NULL, 0);
	invoke(c, ECHO, 2, "k", "hello", 5);
	expect(c, 2, 0, "hello", 5);
	fake_conn_free(c);
}

/* The function sees the receive buffer itself. */
static void test_inline_input_is_not_copied(void **state)
{
	struct fixture *f = *state;
	struct fake_conn *c = fake_conn_new(f, 1);
	struct praas_buf *buf = NULL;
	const void *seen;
	struct praas_buf *result;
	uint8_t *data;

	assert_int_equal(fixture_alloc(f, 100, &buf), 0);
	buf->head = (struct praas_frame){
		.kind = PRAAS_FRAME_INVOKE, .function = WHERE, .id = 9, .bytes = 100
	};
	data = buf->data;
	c->base.events->frame(f->p, &c->base, buf);
	result = fake_take(c);
	memcpy(&seen, result->data, sizeof(seen));
	assert_ptr_equal(seen, data);
	praas_buf_release(result);
	fake_conn_free(c);
}

/* A failing function gives its code and text, not its result. */
static void test_inline_failure_carries_text(void **state)
{
	struct fake_conn *c = fake_conn_new(*state, 1);

	invoke(c, FAIL, 1, NULL, NULL, 0);
	expect(c, 1, 42, "it does not please me", 22);
	fake_conn_free(c);
}

/* Requests that cannot run are refused, each with its own status. */
static void test_inline_refusals(void **state)
{
	struct fixture *f = *state;
	struct fake_conn *c = fake_conn_new(f, 1);
	struct praas_frame head = { .kind = PRAAS_FRAME_INVOKE, .id = 4 };

	invoke(c, FUNCTIONS, 1, NULL, NULL, 0);
	expect(c, 1, PRAAS_NO_FUNCTION, NULL, 0);
	invoke(c, NOOP, 0, NULL, NULL, 0);
	expect(c, 0, PRAAS_INVALID, NULL, 0);
	c->base.peer_rights = PRAAS_RIGHT_SEND;
	invoke(c, NOOP, 2, NULL, NULL, 0);
	expect(c, 2, PRAAS_DENIED, NULL, 0);
	c->base.peer_rights = PRAAS_RIGHT_ALL;
	praas_process_gate(f->p, false);
	invoke(c, NOOP, 3, NULL, NULL, 0);
	expect(c, 3, PRAAS_DRAINING, NULL, 0);
	praas_process_moved(f->p, true);
	praas_process_gate(f->p, true);
	invoke(c, NOOP, 3, NULL, NULL, 0);
	expect(c, 3, PRAAS_MOVED, NULL, 0);
	praas_process_moved(f->p, false);
	praas_process_gate(f->p, true);
	head.epoch = FIXTURE_EPOCH - 1;
	fake_frame(c, &head, NULL, NULL, 0);
	expect(c, 4, PRAAS_MOVED, NULL, 0);
	head.epoch = FIXTURE_EPOCH;
	head.deadline_ns = 1;
	fake_frame(c, &head, NULL, NULL, 0);
	expect(c, 4, PRAAS_DEADLINE, NULL, 0);
	fake_conn_free(c);
}

/* A retry is answered from memory; the function does not run again. */
static void test_inline_retry_runs_once(void **state)
{
	struct fixture *f = *state;
	struct fake_conn *c = fake_conn_new(f, 1);
	struct fake_conn *again = fake_conn_new(f, 1);
	struct fake_conn *other = fake_conn_new(f, 2);
	struct praas_process_stats stats;
	char large[3000];

	memset(large, 'x', sizeof(large));
	invoke(c, ECHO, 5, NULL, "one", 3);
	expect(c, 5, 0, "one", 3);
	invoke(again, ECHO, 5, NULL, "two", 3);
	expect(again, 5, 0, "one", 3);
	invoke(other, ECHO, 5, NULL, "three", 5);
	expect(other, 5, 0, "three", 5);
	invoke(c, ECHO, 6, NULL, large, sizeof(large));
	expect(c, 6, 0, large, sizeof(large));
	invoke(again, ECHO, 6, NULL, NULL, 0);
	expect(again, 6, 0, large, sizeof(large));
	praas_process_stats(f->p, &stats);
	assert_int_equal(stats.invocations, 3);
	assert_int_equal(stats.duplicates, 2);
	fake_conn_free(c);
	fake_conn_free(again);
	fake_conn_free(other);
}

/* Replies that a full connection cannot take wait for it, in order; none is lost. */
static void test_inline_full_connection_gets_its_replies_later(void **state)
{
	struct fixture *f = *state;
	struct fake_conn *c = fake_conn_new(f, 1);

	c->send_rc = -EAGAIN;
	for (uint64_t i = 1; i <= 100; i++)
		invoke(c, ECHO, i, NULL, &i, sizeof(i));
	assert_false(fake_has(c));
	assert_int_equal(praas_process_poll(f->p, 64), 0);
	c->send_rc = 0;
	c->alloc_rc = -ENOBUFS;
	(void)praas_process_poll(f->p, 64);
	for (uint64_t i = 1; i <= 100; i++)
		expect(c, i, 0, &i, sizeof(i));
	invoke(c, NOOP, 101, NULL, NULL, 0);
	assert_false(fake_has(c));
	c->alloc_rc = 0;
	(void)praas_process_poll(f->p, 64);
	expect(c, 101, 0, NULL, 0);
	fake_conn_free(c);
}

/* A reader that never reads is closed when even the memory for its replies is full. */
static void test_inline_stuck_reader_is_closed(void **state)
{
	struct fixture *f = *state;
	struct fake_conn *c = fake_conn_new(f, 1);

	c->send_rc = -EAGAIN;
	for (uint64_t i = 1; i < 5000 && !c->closed; i++)
		invoke(c, NOOP, i, NULL, NULL, 0);
	assert_true(c->closed);
	(void)praas_process_poll(f->p, 64);
	fake_conn_free(c);
}

/* PING is answered; what no client may send ends the connection. */
static void test_inline_ping_and_nonsense(void **state)
{
	struct fake_conn *c = fake_conn_new(*state, 1);
	struct praas_frame head = { .kind = PRAAS_FRAME_PING, .id = 7 };
	struct praas_buf *buf;

	fake_frame(c, &head, NULL, NULL, 0);
	buf = fake_take(c);
	assert_int_equal(buf->head.kind, PRAAS_FRAME_PONG);
	assert_int_equal(buf->head.id, 7);
	praas_buf_release(buf);
	head.kind = PRAAS_FRAME_RESULT;
	fake_frame(c, &head, NULL, NULL, 0);
	assert_true(c->closed);
	fake_conn_free(c);
}

/* Three inputs with one key run together; each caller gets the result. */
static void test_inline_multi_source_joins_by_key(void **state)
{
	struct fixture *f = *state;
	struct fake_conn *a = fake_conn_new(f, 1);
	struct fake_conn *b = fake_conn_new(f, 2);

	invoke(a, GATHER, 1, "k1", "a1", 2);
	invoke(b, GATHER, 1, "k1", "b1", 2);
	invoke(a, GATHER, 2, "k2", "a2", 2);
	assert_true(praas_process_quiet(f->p)); /* they are in a snapshot */
	assert_false(fake_has(a));
	invoke(a, GATHER, 3, "k1", "a3", 2);
	expect(a, 3, 0, "a1,b1,a3", 8);
	expect(b, 1, 0, "a1,b1,a3", 8);
	expect(a, 1, 0, "a1,b1,a3", 8);
	assert_false(fake_has(a));
	fake_conn_free(a);
	fake_conn_free(b);
}

/* A batch fires with what it has when its time is over. */
static void test_inline_batch_fires_on_timeout(void **state)
{
	struct fixture *f = *state;
	struct fake_conn *c = fake_conn_new(f, 1);

	invoke(c, BATCH, 1, "x", "1", 1);
	invoke(c, BATCH, 2, "y", "2", 1);
	while (!fake_has(c))
		(void)praas_process_poll(f->p, 64);
	expect(c, 2, 0, "1,2", 3);
	expect(c, 1, 0, "1,2", 3);
	assert_true(praas_process_quiet(f->p));
	fake_conn_free(c);
}

/* A waiting input can be cancelled and has a deadline; what is left fires without it. */
static void test_inline_trigger_input_gives_up(void **state)
{
	struct fixture *f = *state;
	struct fake_conn *c = fake_conn_new(f, 1);
	struct praas_frame head = { .kind = PRAAS_FRAME_CANCEL, .id = 1 };

	invoke(c, GATHER, 1, "k", "1", 1);
	invoke(c, GATHER, 2, "k", "2", 1);
	fake_frame(c, &head, NULL, NULL, 0);
	expect(c, 1, PRAAS_CANCELLED, NULL, 0);
	head = (struct praas_frame){ .kind = PRAAS_FRAME_INVOKE,
				     .function = GATHER,
				     .id = 3,
				     .deadline_ns = praas_now_ns() + 1000000 };
	fake_frame(c, &head, "k", "3", 1);
	while (!fake_has(c))
		(void)praas_process_poll(f->p, 64);
	expect(c, 3, PRAAS_DEADLINE, NULL, 0);
	invoke(c, GATHER, 4, "k", "4", 1);
	invoke(c, GATHER, 5, "k", "5", 1);
	expect(c, 4, 0, "2,4,5", 5);
	expect(c, 5, 0, "2,4,5", 5);
	expect(c, 2, 0, "2,4,5", 5);
	fake_conn_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(test_inline_##name, setup, teardown)
		T(call_answers),
		T(input_is_not_copied),
		T(failure_carries_text),
		T(refusals),
		T(retry_runs_once),
		T(full_connection_gets_its_replies_later),
		T(stuck_reader_is_closed),
		T(ping_and_nonsense),
		T(multi_source_joins_by_key),
		T(batch_fires_on_timeout),
		T(trigger_input_gives_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
