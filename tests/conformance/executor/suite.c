/* SPDX-License-Identifier: Apache-2.0
 *
 * The tests that each executor passes. A test is a conversation: frames in, answers out; between
 * them the process gets its turns until the answer is there.
 */
#include "conformance/executor/table.h"

/* Nothing in, nothing out, many times. */
static void test_noop(void **state)
{
	struct table *t = *state;

	for (int i = 0; i < 1000; i++)
		expect(t, submit(t, "noop", NULL, NULL, 0), 0, NULL, 0);
	assert_true(praas_process_quiet(t->f.p));
}

/* Payloads of all sizes come back as they went, copied and by view. */
static void test_echo_sizes(void **state)
{
	static const uint64_t sizes[] = { 0,   1,   63,   64,    65,
					  255, 256, 4096, 65536, 1 << 20 };
	struct table *t = *state;
	uint8_t *data = malloc(1 << 20);

	for (uint32_t i = 0; i < 1 << 20; i++)
		data[i] = (uint8_t)(i * 31 + i / 251);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		expect(t, submit(t, "echo", NULL, data, sizes[i]), 0, data, sizes[i]);
		expect(t, submit(t, "echo_view", NULL, data, sizes[i]), 0, data,
		       sizes[i]);
	}
	free(data);
}

/* Own codes, own text; a negative return becomes the positive code. */
static void test_failures(void **state)
{
	struct table *t = *state;

	expect(t, submit(t, "fail", NULL, NULL, 0), 42, "it does not please me", 22);
	expect(t, submit(t, "negative", NULL, NULL, 0), EINVAL, NULL, 0);
	expect(t, submit(t, "too_large", NULL, NULL, 0), 0, NULL, 0);
	expect(t, submit(t, "input_bounds", NULL, NULL, 0), 0, NULL, 0);
}

/* The input handed on as the result can still be replaced, changed and refused. */
static void test_view_then(void **state)
{
	struct table *t = *state;

	expect(t, submit(t, "view_then", NULL, "fail", 4), 9, "no view", 8);
	expect(t, submit(t, "view_then", NULL, "resize", 6), 0, "!esize.", 7);
	expect(t, submit(t, "view_then", NULL, "output", 6), 0, "utput", 5);
	expect(t, submit(t, "view_then", NULL, "part", 4), 0, "par", 3);
	expect(t, submit(t, "echo_view", NULL, "whole", 5), 0, "whole", 5);
}

/* What was written stays through growing and shrinking. */
static void test_resize(void **state)
{
	struct table *t = *state;

	expect(t, submit(t, "resize", NULL, NULL, 0), 0, "0123456789!!", 12);
}

/* The function knows its id, caller, process, epoch, name, key and trace. */
static void test_info(void **state)
{
	struct table *t = *state;
	struct praas_frame head = { .kind = PRAAS_FRAME_INVOKE,
				    .function = number("info"),
				    .id = 99 };
	struct praas_buf *buf;
	uint64_t n[5];

	fake_frame(t->c, &head, "the-key", NULL, 0);
	buf = answer(t);
	assert_int_equal(buf->head.status, 0);
	memcpy(n, buf->data, sizeof(n));
	assert_int_equal(n[0], 99);
	assert_int_equal(n[1], PRAAS_CLIENT | 1);
	assert_int_equal(n[2], FIXTURE_PID);
	assert_int_equal(n[3], FIXTURE_EPOCH);
	assert_int_equal(n[4], 1);
	assert_string_equal((char *)buf->data + sizeof(n), "info");
	assert_string_equal((char *)buf->data + sizeof(n) + 100, "the-key");
	praas_buf_release(buf);
}

/* Functions call functions; errors of the called reach the caller. */
static void test_calls(void **state)
{
	struct table *t = *state;
	uint8_t depth = (uint8_t)under_test->depth;

	expect(t, submit(t, "call", NULL, "echo hello", 10), 0, "hello", 5);
	expect(t, submit(t, "call", NULL, "fail", 4), 42, NULL, 0);
	expect(t, submit(t, "call", NULL, "nobody", 6), ENOENT, NULL, 0);
	expect(t, submit(t, "deep", NULL, &depth, 1), 0, &depth, 1);
	expect(t, submit(t, "forks", NULL, NULL, 0), 0, "onetwo", 6);
	/* A serial function that waits for itself is told, and the one that it started is gone. */
	expect(t, submit(t, "serial", NULL, "invoke serial put a x\n", 22), 0, "-35\n",
	       4);
	expect(t, submit(t, "serial", NULL, "get a\n", 6), 0, "-2\n", 3);
	run(t, "invoke echo one\ninvoke fail\ninvoke none\ninvoke script get x\n",
	    "0 one\n42 it does not please me\n-2\n0 -2\n\n");
	assert_true(praas_process_quiet(t->f.p));
}

/* Own writes are seen at once, by others after the entry has returned 0. */
static void test_state_put_get(void **state)
{
	struct table *t = *state;

	run(t,
	    "get a\nput a one\nget a\nversion a\nput a two\nget a\nbput b three\nget "
	    "b\n",
	    "-2\n0\n0 one\n0 0\n0\n0 two\n0\n0 three\n");
	run(t,
	    "get a\nget b\nversion a\nversion b\ndel a\nget a\ndel a\nput a again\nget "
	    "a\n",
	    "0 two\n0 three\n0 1\n0 1\n0\n-2\n-2\n0\n0 again\n");
	run(t, "get a\nversion a\nversion b\ndel a\ndel b\n",
	    "0 again\n0 2\n0 1\n0\n0\n");
	run(t, "get a\nget b\nput c 1\ndel c\ndel c\nget c\nget \n",
	    "-2\n-2\n0\n0\n-2\n-2\n-22\n");
	run(t, "get c\n", "-2\n");
}

/* A view stays as it was until the entry returns, whatever is committed meanwhile. */
static void test_state_view_stays(void **state)
{
	struct table *t = *state;

	run(t, "put a first\n", "0\n");
	for (int i = 0; i < 100; i++)
		run(t, "getputlook a second\ngetputlook a third\nput a first\n",
		    "0 first\n0 second\n0\n");
	run(t, "get a\n", "0 first\n");
}

/* An entry that fails leaves nothing of what it did not commit itself. */
static void test_state_undone_by_failure(void **state)
{
	struct table *t = *state;

	run(t, "put a one\n", "0\n");
	run_status(t, "put a two\nput b two\nfail\n", 7);
	run(t, "get a\nget b\n", "0 one\n-2\n");
	run_status(t, "put a two\ncommit\nput b two\nfail\n", 7);
	run(t, "get a\nget b\n", "0 two\n-2\n");
}

/* Compare-and-swap: at the end for the caller, at a commit for the function. */
static void test_state_cas(void **state)
{
	struct table *t = *state;

	run(t, "cas a one\n", "0\n");
	run(t, "cas a two\n", "0\n");
	run_status(t, "put b x\ncasbad a three\n", PRAAS_CONFLICT);
	run(t, "get a\nget b\n", "0 two\n-2\n");
	run(t, "put b x\ncasbad a three\ncommit\nget a\nget b\n",
	    "0\n0\n-116\n0 two\n-2\n");
}

/* By prefix, in order, in pages. */
static void test_state_list(void **state)
{
	struct table *t = *state;

	run(t, "put k9 1\nput k10 22\nput k1 333\nput j 1\nput l 1\n",
	    "0\n0\n0\n0\n0\n");
	run(t, "list k\nlist k k1\nlist k k9\nlist\nlist zz\n",
	    "3\n3 k1\n2 k10\n1 k9\n2\n2 k10\n1 k9\n0\n5\n1 j\n3 k1\n2 k10\n1 k9\n1 "
	    "l\n0\n");
	run(t, "listed k9\nput k9 again\ncommit\nlisted k9\n", "0\n0\n0\n0\n");
}

/* Updates in place: made zeroed, kept, exclusive, ended with the entry at the latest. */
static void test_state_update(void **state)
{
	struct table *t = *state;

	run(t, "add n\nadd n\nadd n leave\n", "0 1\n0 2\n0 3\n");
	run(t, "add n\nadd m leave\n", "0 4\n0 1\n");
	run_status(t, "add n\nfail\n", 7);
	run(t, "add n\nadd m\nput n 12345678\n", "0 6\n0 2\n0\n");
	run(t, "get n\nput n short\n", "0 12345678\n0\n");
	run(t, "add n\n", "-116\n");
}

/* Messages keep their order; none is -EAGAIN; looking does not take. */
static void test_messages(void **state)
{
	struct table *t = *state;

	run(t,
	    "recv k\nsend k one\nsend k two\nsend j other\nrecv k p\nrecv k\nrecv k "
	    "s\nrecv k\n",
	    "-11\n0\n0\n0\n0 one\n0 one\n0 two\n-11\n");
	run(t, "recv j\nsend  x\nsendto k x\n", "0 other\n-22\n-2\n");
}

/* A script asked with that trace (NULL: none); its output as text. */
static void run_traced(struct table *t, const uint8_t *trace, const char *script,
		       char ret_text[512])
{
	struct praas_frame head = { .kind = PRAAS_FRAME_INVOKE,
				    .function = number("script"),
				    .id = ++t->id,
				    .epoch = FIXTURE_EPOCH };
	struct praas_buf *buf;

	fake_frame_traced(t->c, &head, NULL, script, strlen(script), trace);
	buf = answer(t);
	assert_int_equal(buf->head.id, head.id);
	assert_int_equal(buf->head.status, 0);
	assert_true(buf->head.bytes < 512);
	memcpy(ret_text, buf->data, buf->head.bytes);
	ret_text[buf->head.bytes] = '\0';
	praas_buf_release(buf);
}

#define ONE "00010101010101010101010101010101"
#define TWO "00020202020202020202020202020202"
#define NONE "00000000000000000000000000000000-0000000000000000/00"

/* What a traced function sends and calls has its trace and, as the parent, a span of its own. Who has no
 * trace goes on in that of a message that it receives; who has one keeps it. */
static void test_traces(void **state)
{
	struct table *t = *state;
	uint8_t one[PRAAS_TRACE_BYTES] = { 0 }, two[PRAAS_TRACE_BYTES] = { 0 };
	char text[512], span[17] = "", want[512];

	memset(one + 1, 1, 23);
	memset(two + 1, 2, 23);
	one[24] = 1;
	two[24] = 0x82; /* also bits that mean nothing yet */
	run_traced(t, one, "traced\nsend k one\ninvoke script traced\n", text);
	assert_memory_equal(text, "0 " ONE "-0101010101010101/01\n0\n0 0 " ONE "-",
			    sizeof("0 " ONE "-0101010101010101/01\n0\n0 0 " ONE "-") -
				    1);
	assert_string_equal(strrchr(text, '/'), "/01\n\n");
	memcpy(span, strrchr(text, '-') + 1, 16);
	assert_string_not_equal(span, "0101010101010101");
	assert_string_not_equal(span, "0000000000000000");
	run_traced(t, NULL,
		   "send k two\ntraced\ntold k p\ntraced\ntold k\ntraced\n"
		   "told k\ntraced\n",
		   text);
	(void)snprintf(want, sizeof(want),
		       "0\n0 " NONE "\n0 " ONE "-%s/01\n0 " NONE "\n0 " ONE
		       "-%s/01\n0 " ONE "-%s/01\n-2\n0 " ONE "-%s/01\n",
		       span, span, span, span);
	assert_string_equal(text, want);
	run_traced(t, one, "send k three\n", text);
	run_traced(t, two, "told k\ntraced\n", text);
	assert_memory_equal(text, "0 " ONE "-", 35);
	assert_string_equal(strchr(text, '\n'), "\n0 " TWO "-0202020202020202/82\n");
	/* One that was sent without has none, by whatever it is received. */
	run_traced(t, NULL, "send k four\n", text);
	run_traced(t, two, "told k\n", text);
	assert_string_equal(text, "-2\n");
}

/* Copy or share by flag, for state and for messages. */
static void test_copy_and_share(void **state)
{
	struct table *t = *state;

	run(t, "flags k\ncopies k\n", "0\n0\n");
	run(t, "copies k\n", "0\n");
}

/* A full mailbox says so, and has lost nothing. */
static void test_mailbox_full(void **state)
{
	struct table *t = *state;

	for (int i = 0; i < 100; i++)
		run(t, "send k x\n", "0\n");
	run(t, "send k y\nrecv k\nsend k y\n", "-105\n0 x\n0\n");
}

/* Who waits gets the message that comes later. */
static void test_recv_waits(void **state)
{
	struct table *t = *state;
	struct praas_frame head = { .kind = PRAAS_FRAME_SEND, .id = 1000000 };
	struct praas_buf *buf;
	uint64_t id;

	if (!under_test->waits)
		return; /* inline never waits: docs/dataplane.md */
	id = submit(t, "script", NULL, "recv later w\n", 13);
	for (int i = 0; i < 100; i++) {
		turn(t);
		(void)sched_yield();
	}
	fake_frame(t->c, &head, "later", "here", 4);
	for (int i = 0; i < 2; i++) {
		buf = answer(t);
		assert_int_equal(buf->head.status, 0);
		if (buf->head.id == id)
			assert_memory_equal(buf->data, "0 here\n", 7);
		praas_buf_release(buf);
	}
}

/* Members are known by name. */
static void test_members(void **state)
{
	struct table *t = *state;

	run(t, "member other\nmember nobody\n", "4711\n-2\n");
	run(t, "members\nmembers 6\nmembers 7\n",
	    "0 first:12:2:1 other:4711:4:3 of 2, version 7\n"
	    "0 first:12:2:1 other:4711:4:3 of 2, version 7\n"
	    "-11 first:12:2:1 other:4711:4:3 of 2, version 7\n");
}

/* Many at once: each caller gets its own answer. */
static void test_pipelined(void **state)
{
	struct table *t = *state;
	uint64_t seen = 0;

	for (uint64_t i = 0; i < 200; i++) {
		uint64_t content = t->id + 1;

		(void)submit(t, "echo", NULL, &content, 8);
	}
	for (uint64_t i = 0; i < 200; i++) {
		struct praas_buf *buf = answer(t);

		assert_int_equal(buf->head.status, 0);
		assert_memory_equal(buf->data, &buf->head.id, 8);
		seen += buf->head.id;
		praas_buf_release(buf);
	}
	assert_int_equal(seen, 200 * 201 / 2);
}

/* A serial function's runs do not overlap: each sees what the one before committed. */
static void test_serial(void **state)
{
	struct table *t = *state;

	for (int i = 0; i < 50; i++)
		(void)submit(t, "serial", NULL, "cas a x\n", 8);
	for (int i = 0; i < 50; i++) {
		struct praas_buf *buf = answer(t);

		assert_int_equal(buf->head.status, 0);
		praas_buf_release(buf);
	}
}

/* Inputs that run together. */
static void test_gather(void **state)
{
	struct table *t = *state;
	static const char *const in[] = { "a", "", "ccc" };

	for (int i = 0; i < 3; i++)
		(void)submit(t, "gather", "k", in[i], strlen(in[i]));
	for (int i = 0; i < 3; i++) {
		struct praas_buf *buf = answer(t);

		assert_int_equal(buf->head.status, 0);
		assert_int_equal(buf->head.bytes, 6);
		assert_memory_equal(buf->data, "a,,ccc", 6);
		praas_buf_release(buf);
	}
}

/* A batch takes any key, and runs with what it has when its time is over. */
static void test_batch(void **state)
{
	struct table *t = *state;

	for (int i = 0; i < 3; i++)
		(void)submit(t, "batch", i ? "k" : "j", "x", 1);
	for (int i = 0; i < 3; i++)
		praas_buf_release(answer(t));
	expect(t, submit(t, "batch", "k", "alone", 5), 0, "alone", 5);
	assert_true(praas_process_quiet(t->f.p));
}

/* Each input says who sent it. */
static void test_senders(void **state)
{
	struct table *t = *state;
	struct fake_conn *other = fake_conn_new(&t->f, 2);
	struct praas_frame head = { .kind = PRAAS_FRAME_INVOKE,
				    .function = number("senders"),
				    .id = 1,
				    .epoch = FIXTURE_EPOCH };
	uint64_t who[2] = { PRAAS_CLIENT | 1, PRAAS_CLIENT | 2 };
	uint64_t id = submit(t, "senders", NULL, "a", 1);

	fake_frame(other, &head, "key", "b", 1);
	expect(t, id, 0, who, sizeof(who));
	fake_conn_free(other);
}

/* Functions one after the other, as they are declared: the last one answers, or the first that fails. */
static void test_pipeline(void **state)
{
	static const char *const in[] = { "one", "", "three" };
	struct table *t = *state;

	for (int i = 0; i < 3; i++)
		(void)submit(t, i == 1 ? "map" : "twice", "k", in[i], strlen(in[i]));
	for (int i = 0; i < 3; i++) {
		struct praas_buf *buf = answer(t);

		char text[11] = { 0 };

		/* Workers run them in any order. */
		assert_int_equal(buf->head.status, 0);
		assert_int_equal(buf->head.bytes, 10);
		memcpy(text, buf->data, 10);
		assert_non_null(strstr("one,,three;,one,three;one,three,;"
				       "three,,one;,three,one;three,one,",
				       text));
		praas_buf_release(buf);
	}
	expect(t, submit(t, "broken", "k", NULL, 0), 42, "it does not please me", 22);
	assert_true(praas_process_quiet(t->f.p));
}

/* Runs with one key do not overlap: each sees what the one before committed. */
static void test_serial_per_key(void **state)
{
	struct table *t = *state;

	for (int i = 0; i < 60; i++)
		(void)submit(t, "per_key", i % 2 ? "odd" : "even",
			     i % 2 ? "cas a x\n" : "cas b x\n", 8);
	for (int i = 0; i < 60; i++) {
		struct praas_buf *buf = answer(t);

		assert_int_equal(buf->head.status, 0);
		praas_buf_release(buf);
	}
}

/* The memory limit of the state is the function's caller's to know. */
static void test_state_limit(void **state)
{
	struct table *t = *state;
	char script[400];

	memset(script, 'x', sizeof(script));
	for (int i = 0; i < 1100; i++) {
		int n = snprintf(script, sizeof(script), "put key%d value", i);

		assert_true(n > 0);
		if (i < 1024)
			run(t, script, "0\n");
		else
			run_status(t, script, PRAAS_NO_MEMORY);
	}
	run(t, "del key5\nput key5b v\n", "0\n0\n");
}

int executor_suite(const struct executor_case *c)
{
	const struct CMUnitTest tests[] = {
#define T(name) { #name, test_##name, setup, teardown, NULL }
		T(noop),
		T(echo_sizes),
		T(failures),
		T(resize),
		T(view_then),
		T(info),
		T(calls),
		T(state_put_get),
		T(state_view_stays),
		T(state_undone_by_failure),
		T(state_cas),
		T(state_list),
		T(state_update),
		T(messages),
		T(traces),
		T(copy_and_share),
		T(mailbox_full),
		T(recv_waits),
		T(members),
		T(pipelined),
		T(serial),
		T(gather),
		T(batch),
		T(senders),
		T(pipeline),
		T(serial_per_key),
		T(state_limit),
	};

	under_test = c;
	return cmocka_run_group_tests_name(c->name, tests, NULL, NULL);
}
