/* SPDX-License-Identifier: Apache-2.0
 *
 * The process with an executor that does what the test says: queue, overload, deadlines,
 * cancellation, lost connections, retries, serial functions, the gate; and what clients ask beside
 * invocations; and export and import.
 */
#include "unit/process_fixture.h"

/* ---- invocations ---- */

/* What the executor cannot take is queued, in order; beyond the limit it is refused, with a time
 * after which to come again. */
static void test_process_queue_and_overload(void **state)
{
	struct table *t = *state;
	struct praas_process_stats stats;

	for (uint64_t i = 1; i <= 8; i++)
		invoke(t->c, PLAIN, i, NULL, 0);
	praas_process_stats(t->f.p, &stats);
	assert_int_equal(stats.running, 2);
	assert_int_equal(stats.queued, 6);
	invoke(t->c, PLAIN, 9, NULL, 0);
	assert_int_equal(expect(t->c, 9, PRAAS_OVERLOADED, NULL), PRAAS_RETRY_AFTER_NS);
	for (uint64_t i = 1; i <= 8; i++) {
		assert_int_equal(t->m->running[0]->id, i);
		end_one(&t->f, t->m, 0, "out");
		assert_int_equal(expect(t->c, i, 0, "out"), 1234);
	}
	assert_true(praas_process_quiet(t->f.p));
	/* What was refused has not run: its id is free. */
	invoke(t->c, PLAIN, 9, NULL, 0);
	end_one(&t->f, t->m, 0, NULL);
	expect(t->c, 9, 0, NULL);
}

/* A deadline is answered when it passes, in the queue and in the function. */
static void test_process_deadlines(void **state)
{
	struct table *t = *state;
	uint64_t soon = praas_now_ns() + 2000000;
	int wake_fd;
	uint64_t wake;

	invoke(t->c, PLAIN, 1, NULL, soon);
	invoke(t->c, PLAIN, 2, NULL, 0);
	invoke(t->c, PLAIN, 3, NULL, soon + 1);
	invoke(t->c, PLAIN, 4, NULL, 1ull << 62);
	assert_int_equal(praas_process_arm(t->f.p, &wake_fd, &wake), 0);
	assert_int_equal(wake, soon);
	while (t->c->sent_count < 2)
		(void)praas_process_poll(t->f.p, 16);
	expect(t->c, 1, PRAAS_DEADLINE, NULL);
	expect(t->c, 3, PRAAS_DEADLINE, NULL);
	assert_int_equal(t->m->cancels, 1);
	/* The function ends all the same; a retry learns what came of it. */
	end_one(&t->f, t->m, 0, "late");
	assert_false(fake_has(t->c));
	invoke(t->c, PLAIN, 1, NULL, 0);
	expect(t->c, 1, 0, "late");
	end_one(&t->f, t->m, 0, NULL);
	end_one(&t->f, t->m, 0, NULL);
	expect(t->c, 2, 0, NULL);
	expect(t->c, 4, 0, NULL);
}

/* Cancelled in the queue: at once. Running: what the executor makes of it. Only by its caller. */
static void test_process_cancel(void **state)
{
	struct table *t = *state;
	struct fake_conn *other = fake_conn_new(&t->f, 2);

	for (uint64_t i = 1; i <= 3; i++)
		invoke(t->c, PLAIN, i, NULL, 0);
	frame(other, PRAAS_FRAME_CANCEL, 3, NULL, NULL, 0);
	frame(t->c, PRAAS_FRAME_CANCEL, 77, NULL, NULL, 0);
	assert_false(fake_has(t->c));
	frame(t->c, PRAAS_FRAME_CANCEL, 3, NULL, NULL, 0);
	expect(t->c, 3, PRAAS_CANCELLED, NULL);
	frame(t->c, PRAAS_FRAME_CANCEL, 1, NULL, NULL, 0);
	assert_int_equal(t->m->cancels, 1);
	assert_false(fake_has(t->c));
	end_one(&t->f, t->m, PRAAS_CANCELLED, NULL);
	expect(t->c, 1, PRAAS_CANCELLED, NULL);
	end_one(&t->f, t->m, 0, NULL);
	expect(t->c, 2, 0, NULL);
	fake_conn_free(other);
}

/* The connection goes while the function runs: the result waits for the retry. */
static void test_process_lost_connection(void **state)
{
	struct table *t = *state;
	struct fake_conn *lost = fake_conn_new(&t->f, 9);
	struct fake_conn *again;
	char large[9000];

	memset(large, 'z', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	invoke(lost, PLAIN, 1, NULL, 0);
	invoke(lost, PLAIN, 2, NULL, 0);
	fake_conn_free(lost);
	end_one(&t->f, t->m, 0, large);
	again = fake_conn_new(&t->f, 9);
	invoke(again, PLAIN, 1, NULL, 0);
	expect(again, 1, 0, large);
	/* Asked again while it still runs: one run, one answer, to who asked last. */
	invoke(again, PLAIN, 2, NULL, 0);
	assert_int_equal(t->m->count, 1);
	end_one(&t->f, t->m, 5, "code");
	expect(again, 2, 5, "code");
	assert_false(fake_has(again));
	fake_conn_free(again);
}

/* Results go when newer ones need the room; their ids are known longer; then they are strangers. */
static void test_process_forgets_in_order(void **state)
{
	struct table *t = *state;
	char large[300000];

	memset(large, 'z', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	for (uint64_t i = 1; i <= 4; i++) {
		invoke(t->c, PLAIN, i, NULL, 0);
		end_one(&t->f, t->m, 0, large);
		expect(t->c, i, 0, large);
	}
	invoke(t->c, PLAIN, 1, NULL, 0);
	expect(t->c, 1, PRAAS_DUPLICATE, NULL);
	invoke(t->c, PLAIN, 4, NULL, 0);
	expect(t->c, 4, 0, large);
	for (uint64_t i = 5; i <= 16; i++) {
		invoke(t->c, PLAIN, i, NULL, 0);
		end_one(&t->f, t->m, 0, "small");
		expect(t->c, i, 0, "small");
	}
	invoke(t->c, PLAIN, 17, NULL, 0);
	end_one(&t->f, t->m, 0, NULL);
	expect(t->c, 17, 0, NULL);
	assert_int_equal(t->m->count, 0);
	invoke(t->c, PLAIN, 1, NULL, 0); /* seventeen ids ago */
	assert_int_equal(t->m->count, 1);
	end_one(&t->f, t->m, 0, NULL);
	expect(t->c, 1, 0, NULL);
}

/* Interrupted ones may run again. */
static void test_process_interrupted_may_retry(void **state)
{
	struct table *t = *state;

	invoke(t->c, PLAIN, 1, NULL, 0);
	end_one(&t->f, t->m, PRAAS_INTERRUPTED, NULL);
	expect(t->c, 1, PRAAS_INTERRUPTED, NULL);
	invoke(t->c, PLAIN, 1, NULL, 0);
	assert_int_equal(t->m->count, 1);
	end_one(&t->f, t->m, 0, NULL);
	expect(t->c, 1, 0, NULL);
}

/* One at a time, per function or per key; others pass by. */
static void test_process_serial(void **state)
{
	struct table *t = *state;

	t->m->capacity = 8;
	invoke(t->c, SERIAL, 1, "a", 0);
	invoke(t->c, SERIAL, 2, "b", 0);
	invoke(t->c, PER_KEY, 3, "a", 0);
	invoke(t->c, PER_KEY, 4, "a", 0);
	invoke(t->c, PER_KEY, 5, "b", 0);
	invoke(t->c, SERIAL, 6, "c", 0);
	assert_int_equal(t->m->count, 3); /* 1, 3, 5 */
	frame(t->c, PRAAS_FRAME_CANCEL, 2, NULL, NULL, 0);
	expect(t->c, 2, PRAAS_CANCELLED, NULL);
	end_one(&t->f, t->m, 0, NULL);
	expect(t->c, 1, 0, NULL);
	assert_int_equal(t->m->running[2]->id, 6);
	end_one(&t->f, t->m, 0, NULL);
	expect(t->c, 3, 0, NULL);
	assert_int_equal(t->m->running[2]->id, 4);
	for (int i = 0; i < 3; i++) {
		end_one(&t->f, t->m, 0, NULL);
		praas_buf_release(fake_take(t->c));
	}
	assert_true(praas_process_quiet(t->f.p));
}

/* A function's calls: by number, cancelled by id, refused when there is no room. */
static int32_t call_status;
static unsigned calls_done;
static void call_done(void *user, struct praas_invocation *inv, int32_t status,
		      struct praas_buf *result, uint64_t run_ns)
{
	(void)user;
	(void)inv;
	(void)run_ns;
	call_status = status;
	calls_done++;
	praas_buf_release(result);
}

static void test_process_calls_of_functions(void **state)
{
	struct table *t = *state;
	struct praas_fn_call call = {
		.function = PLAIN,
		.source = FIXTURE_PID,
		.key = "k",
		.key_bytes = 1,
		.caller = { .done = call_done, .alloc = fixture_alloc, .user = &t->f }
	};
	uint64_t id[9];
	uint32_t number;

	calls_done = 0;
	assert_int_equal(praas_process_function(t->f.p, "per_key", &number), 0);
	assert_int_equal(number, PER_KEY);
	assert_int_equal(praas_process_function(t->f.p, "nobody", &number), -ENOENT);
	call.destination = 5;
	assert_int_equal(praas_process_fn_invoke(t->f.p, &call, id), -ENOENT);
	call.destination = PRAAS_SELF;
	for (int i = 0; i < 8; i++)
		assert_int_equal(praas_process_fn_invoke(t->f.p, &call, &id[i]), 0);
	assert_int_equal(praas_process_fn_invoke(t->f.p, &call, &id[8]), -ENOBUFS);
	assert_string_equal(t->m->running[0]->inputs[0]->key, "k");
	assert_int_equal(praas_process_fn_cancel(t->f.p, 1, id[7]), -ENOENT);
	assert_int_equal(praas_process_fn_cancel(t->f.p, FIXTURE_PID, id[7]), 0);
	assert_int_equal(calls_done, 1);
	assert_int_equal(call_status, PRAAS_CANCELLED);
	assert_int_equal(praas_process_fn_cancel(t->f.p, FIXTURE_PID, id[7]), -ENOENT);
	for (int i = 0; i < 7; i++)
		end_one(&t->f, t->m, 3, "r");
	assert_int_equal(calls_done, 8);
	assert_int_equal(call_status, 3);
	praas_process_gate(t->f.p, false);
	assert_int_equal(praas_process_fn_invoke(t->f.p, &call, id), -ESHUTDOWN);
}

/* ---- messages and state, by frames ---- */

/* SEND and RECV meet in either order; sources are told apart. */
static void test_process_messages_by_frames(void **state)
{
	struct table *t = *state;
	struct fake_conn *b = fake_conn_new(&t->f, 2);
	struct praas_frame head = { .kind = PRAAS_FRAME_RECV,
				    .id = 50,
				    .aux = PRAAS_CLIENT | 1 };
	bool told;

	frame(t->c, PRAAS_FRAME_SEND, 1, "k", "one", 0);
	assert_int_equal(expect(t->c, 1, 0, NULL), 1);
	frame(b, PRAAS_FRAME_SEND, 2, "k", "two", FIXTURE_PID);
	assert_int_equal(expect(b, 2, 0, NULL), 2);
	frame(b, PRAAS_FRAME_PEEK, 3, "k", NULL, PRAAS_CLIENT | 2);
	assert_int_equal(expect(b, 3, 0, "two"), PRAAS_CLIENT | 2);
	frame(b, PRAAS_FRAME_RECV, 4, "k", NULL, PRAAS_ANY);
	assert_int_equal(expect(b, 4, 0, "one"), PRAAS_CLIENT | 1);
	frame(b, PRAAS_FRAME_RECV, 5, "k", NULL, PRAAS_CLIENT | 1);
	expect(b, 5, PRAAS_NOT_FOUND, NULL);
	frame(b, PRAAS_FRAME_RECV, 6, "", NULL, PRAAS_ANY);
	expect(b, 6, PRAAS_INVALID, NULL);
	frame(b, PRAAS_FRAME_SEND, 7, "k", "x", 99);
	expect(b, 7, PRAAS_NOT_FOUND, NULL);
	head.deadline_ns = praas_now_ns() + 1000000;
	fake_frame(b, &head, "k", NULL, 0);
	told = fake_has(b);
	assert_false(told && praas_now_ns() < head.deadline_ns);
	while (!fake_has(b))
		(void)praas_process_poll(t->f.p, 16);
	expect(b, 50, PRAAS_NOT_FOUND, NULL);
	head.deadline_ns = PRAAS_DEADLINE_NEVER;
	fake_frame(b, &head, "k", NULL, 0);
	frame(t->c, PRAAS_FRAME_SEND, 8, "k", "three", 0);
	expect(b, 50, 0, "three");
	assert_int_equal(expect(t->c, 8, 0, NULL), 3);
	fake_conn_free(b);
}

/* Waiting receivers are bounded, can be cancelled, and go with their connection or the gate. */
static void test_process_waiting_receivers(void **state)
{
	struct table *t = *state;
	struct fake_conn *b = fake_conn_new(&t->f, 2);
	struct praas_frame head = { .kind = PRAAS_FRAME_RECV,
				    .aux = PRAAS_ANY,
				    .deadline_ns = PRAAS_DEADLINE_NEVER };

	for (head.id = 1; head.id <= 4; head.id++)
		fake_frame(head.id % 2 ? t->c : b, &head, "k", NULL, 0);
	fake_frame(t->c, &head, "k", NULL, 0);
	assert_int_equal(expect(t->c, 5, PRAAS_OVERLOADED, NULL), PRAAS_RETRY_AFTER_NS);
	frame(t->c, PRAAS_FRAME_CANCEL, 1, NULL, NULL, 0);
	expect(t->c, 1, PRAAS_CANCELLED, NULL);
	fake_conn_free(b); /* 2 and 4 */
	b = fake_conn_new(&t->f, 2);
	/* No memory for the answer: the message stays. */
	t->c->alloc_rc = -ENOBUFS;
	frame(b, PRAAS_FRAME_SEND, 6, "k", "kept", 0);
	expect(b, 6, 0, NULL);
	t->c->alloc_rc = 0;
	(void)praas_process_poll(t->f.p, 16);
	expect(t->c, 3, PRAAS_OVERLOADED, NULL);
	frame(t->c, PRAAS_FRAME_RECV, 7, "k", NULL, PRAAS_ANY);
	expect(t->c, 7, 0, "kept");
	head.id = 8;
	fake_frame(t->c, &head, "k", NULL, 0);
	praas_process_gate(t->f.p, false);
	expect(t->c, 8, PRAAS_DRAINING, NULL);
	frame(t->c, PRAAS_FRAME_SEND, 9, "k", "x", 0);
	expect(t->c, 9, PRAAS_DRAINING, NULL);
	frame(t->c, PRAAS_FRAME_STATE_PUT, 10, "k", "x", 0);
	expect(t->c, 10, PRAAS_DRAINING, NULL);
	frame(t->c, PRAAS_FRAME_STATE_GET, 11, "k", NULL, 0);
	expect(t->c, 11, PRAAS_NOT_FOUND, NULL);
	fake_conn_free(b);
}

/* State by frames: versions, conflicts, lists. */
static void test_process_state_by_frames(void **state)
{
	struct table *t = *state;
	struct praas_buf *buf;
	uint64_t words[4];

	frame(t->c, PRAAS_FRAME_STATE_GET, 1, "k", NULL, 0);
	expect(t->c, 1, PRAAS_NOT_FOUND, NULL);
	frame(t->c, PRAAS_FRAME_STATE_PUT, 2, "k", "one", 1);
	assert_int_equal(expect(t->c, 2, 0, NULL), 1);
	frame(t->c, PRAAS_FRAME_STATE_PUT, 3, "k", "two", 1);
	assert_int_equal(expect(t->c, 3, PRAAS_CONFLICT, NULL), 1);
	frame(t->c, PRAAS_FRAME_STATE_PUT, 4, "k", "two", 2);
	assert_int_equal(expect(t->c, 4, 0, NULL), 2);
	frame(t->c, PRAAS_FRAME_STATE_PUT, 5, "kk", NULL, 0);
	assert_int_equal(expect(t->c, 5, 0, NULL), 3);
	frame(t->c, PRAAS_FRAME_STATE_GET, 6, "k", NULL, 0);
	assert_int_equal(expect(t->c, 6, 0, "two"), 2);
	frame(t->c, PRAAS_FRAME_STATE_LIST, 7, "k", "k", 0);
	buf = fake_take(t->c);
	assert_int_equal(buf->head.aux, 1);
	assert_int_equal(buf->head.bytes, 40);
	memcpy(words, buf->data, sizeof(words));
	assert_int_equal(words[0], 3);
	assert_int_equal(words[2], 0);
	assert_int_equal(words[3], 2);
	assert_memory_equal(buf->data + 32, "kk\0\0\0\0\0", 8);
	praas_buf_release(buf);
	frame(t->c, PRAAS_FRAME_STATE_DELETE, 8, "k", NULL, 7);
	assert_int_equal(expect(t->c, 8, PRAAS_CONFLICT, NULL), 2);
	frame(t->c, PRAAS_FRAME_STATE_DELETE, 9, "k", NULL, 0);
	assert_int_equal(expect(t->c, 9, 0, NULL), 4);
	frame(t->c, PRAAS_FRAME_STATE_DELETE, 10, "k", NULL, 0);
	expect(t->c, 10, PRAAS_NOT_FOUND, NULL);
	t->c->base.peer_rights = PRAAS_RIGHT_STATE_READ;
	frame(t->c, PRAAS_FRAME_STATE_PUT, 11, "k", "x", 0);
	expect(t->c, 11, PRAAS_DENIED, NULL);
	frame(t->c, PRAAS_FRAME_SEND, 12, "k", "x", 0);
	expect(t->c, 12, PRAAS_DENIED, NULL);
	frame(t->c, PRAAS_FRAME_RECV, 13, "k", NULL, PRAAS_ANY);
	expect(t->c, 13, PRAAS_DENIED, NULL);
	frame(t->c, PRAAS_FRAME_LIST, 14, "", NULL, 0);
	expect(t->c, 14, PRAAS_DENIED, NULL);
	t->c->base.peer_rights = PRAAS_RIGHT_RECV;
	frame(t->c, PRAAS_FRAME_LIST, 15, "", NULL, 0);
	assert_int_equal(expect(t->c, 15, 0, NULL), 0);
	frame(t->c, PRAAS_FRAME_STATE_LIST, 16, "", NULL, 0);
	expect(t->c, 16, PRAAS_DENIED, NULL);
}

/* ---- export and import ---- */

struct copy {
	struct praas_export_record r[64];
	char keys[64][PRAAS_KEY_MAX + 1];
	void *data[64];
	uint32_t count;
};

static int keep_record(void *user, const struct praas_export_record *r)
{
	struct copy *c = user;
	uint32_t i = c->count++;

	assert_true(i < 64);
	c->r[i] = *r;
	if (r->key)
		memcpy(c->keys[i], r->key, r->key_bytes);
	c->data[i] = malloc(r->bytes + 1);
	if (r->bytes)
		memcpy(c->data[i], r->data, r->bytes);
	c->r[i].key = c->keys[i];
	c->r[i].data = c->data[i];
	return 0;
}

static int stop_at_once(void *user, const struct praas_export_record *r)
{
	(void)user;
	(void)r;
	return -EINTR;
}

static void free_copy(struct copy *c)
{
	for (uint32_t i = 0; i < c->count; i++)
		free(c->data[i]);
	free(c);
}

static void fill(struct table *t)
{
	char large[5000];
	struct praas_frame put = { .kind = PRAAS_FRAME_STATE_PUT };

	memset(large, 'q', sizeof(large));
	for (uint64_t i = 1; i <= 5; i++) {
		char key[20];

		(void)snprintf(key, sizeof(key), "state-%d", (int)i);
		put.id = 100 + i;
		fake_frame(t->c, &put, key, large, i * 900);
		expect(t->c, put.id, 0, NULL);
		frame(t->c, PRAAS_FRAME_SEND, i, i % 2 ? "odd" : "even", "message", 0);
		expect(t->c, i, 0, NULL);
	}
	frame(t->c, PRAAS_FRAME_RECV, 6, "odd", NULL, PRAAS_ANY);
	expect(t->c, 6, 0, "message");
	invoke(t->c, PLAIN, 20, NULL, 0);
	end_one(&t->f, t->m, 0, "result");
	expect(t->c, 20, 0, "result");
	invoke(t->c, PLAIN, 21, NULL, 0);
	large[3000] = '\0';
	end_one(&t->f, t->m, 9, large);
	expect(t->c, 21, 9, large);
	invoke(t->c, JOINED, 22, "join", 0);
}

static void assert_same_record(const struct praas_export_record *x,
			       const struct praas_export_record *y)
{
	assert_int_equal(x->kind, y->kind);
	assert_int_equal(x->status, y->status);
	assert_int_equal(x->source, y->source);
	assert_int_equal(x->sequence, y->sequence);
	assert_int_equal(x->id, y->id);
	assert_int_equal(x->version, y->version);
	assert_int_equal(x->modified_ns, y->modified_ns);
	assert_int_equal(x->function, y->function);
	assert_int_equal(x->bytes, y->bytes);
	assert_string_equal(x->key, y->key);
	assert_memory_equal(x->data, y->data, x->bytes);
}

/* What is exported, imported elsewhere and exported again is the same; and it works there. */
static void test_process_export_import(void **state)
{
	struct table *a = *state;
	struct table *b = calloc(1, sizeof(*b));
	struct praas_process_config changes = { .invocations_max = 8,
						.dedup_entries = 16,
						.receivers_max = 4 };
	struct copy *one = calloc(1, sizeof(*one));
	struct copy *two = calloc(1, sizeof(*two));

	fill(a);
	praas_process_gate(a->f.p, false);
	assert_int_equal(praas_process_export(a->f.p, keep_record, one), 0);
	assert_int_equal(one->count, 5 + 4 + 2 + 1);
	assert_int_equal(praas_process_export(a->f.p, stop_at_once, NULL), -EINTR);
	start(b, &changes);
	assert_int_equal(praas_process_import(b->f.p, &one->r[0]),
			 -EINVAL); /* the gate is open */
	praas_process_gate(b->f.p, false);
	for (uint32_t i = 0; i < one->count; i++)
		assert_int_equal(praas_process_import(b->f.p, &one->r[i]), 0);
	for (uint32_t i = 0; i < one->count; i++)
		assert_true(praas_process_import(b->f.p, &one->r[i]) < 0);
	assert_int_equal(praas_process_export(b->f.p, keep_record, two), 0);
	assert_int_equal(two->count, one->count);
	for (uint32_t i = 0; i < one->count; i++)
		assert_same_record(&one->r[i], &two->r[i]);
	praas_process_gate(b->f.p, true);
	invoke(b->c, PLAIN, 20, NULL, 0);
	expect(b->c, 20, 0, "result");
	invoke(b->c, JOINED, 22, "join",
	       0); /* the retry of an input that was accepted */
	invoke(b->c, JOINED, 23, "join", 0);
	assert_int_equal(b->m->running[0]->inputs_count, 2);
	end_one(&b->f, b->m, 0, "both");
	expect(b->c, 23, 0, "both");
	expect(b->c, 22, 0, "both");
	frame(b->c, PRAAS_FRAME_SEND, 30, "even", "next", 0);
	assert_int_equal(expect(b->c, 30, 0, NULL), 6);
	frame(b->c, PRAAS_FRAME_STATE_PUT, 31, "state-1", "x", 0);
	assert_int_equal(expect(b->c, 31, 0, NULL), 6);
	fake_conn_free(b->c);
	fixture_release(&b->f);
	free(b);
	free_copy(one);
	free_copy(two);
}

/* While held, what export gave out stays, whatever is written. */
static void test_process_hold_keeps_values(void **state)
{
	struct table *t = *state;
	const uint8_t *first;
	struct praas_pool_stats before;
	struct praas_pool_stats after;
	const struct praas_value *value;
	uint64_t version;

	frame(t->c, PRAAS_FRAME_STATE_PUT, 1, "k", "old", 0);
	expect(t->c, 1, 0, NULL);
	praas_pool_stats(t->f.pool, &before);
	praas_process_hold(t->f.p);
	assert_int_equal(praas_process_fn_state_get(t->f.p, "k", 1, &value, &version),
			 0);
	first = value->data;
	for (uint64_t i = 2; i < 50; i++) {
		frame(t->c, PRAAS_FRAME_STATE_PUT, i, "k", "new", 0);
		expect(t->c, i, 0, NULL);
		(void)praas_process_poll(t->f.p, 1);
	}
	assert_memory_equal(first, "old", 3);
	praas_process_unhold(t->f.p);
	praas_pool_stats(t->f.pool, &after);
	assert_int_equal(after.bytes_used, before.bytes_used);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(test_process_##name, setup, teardown)
		T(queue_and_overload),
		T(deadlines),
		T(cancel),
		T(lost_connection),
		T(forgets_in_order),
		T(interrupted_may_retry),
		T(serial),
		T(calls_of_functions),
		T(messages_by_frames),
		T(waiting_receivers),
		T(state_by_frames),
		T(export_import),
		T(hold_keeps_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
