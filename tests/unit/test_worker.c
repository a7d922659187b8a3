/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker executor with real praas-worker processes: what functions may do, and what happens
 * when they crash, hang, exit, or take too much.
 */
#include "unit/worker_fixture.h"

#include <signal.h>
#include <sys/wait.h>

static const char *const names[] = {
	"echo",         "pass",       "where",        "crash",      "aborts", "exits",
	"hang",         "obedient",   "oom",          "big",        "fails",  "count",
	"put_crash",    "put_commit", "cas_conflict", "get_large",  "list",   "update",
	"update_crash", "mail",       "wait_mail",    "nested",     "logs",   "member",
	"busy",         "scribble",   "mail_many",    "busy_update"
};
#define NAMES (sizeof(names) / sizeof(names[0]))

static const struct wf_options usual = { .library = PRAAS_TEST_FUNCTIONS,
					 .names = names,
					 .count = NAMES,
					 .workers = 2,
					 .memory_bytes = PRAAS_TEST_MEMORY,
					 .allow_weak = true };

static void begin(struct worker_fixture *w, const struct wf_options *o)
{
	char text[PRAAS_ERROR_TEXT_MAX] = "";

	if (!wf_init(w, o, text))
		fail_msg("workers are not ready: %s", text);
}

/* Any size from nothing to more than an arena comes back as it was. */
static void test_worker_echo_of_every_size(void **state)
{
	static const uint64_t sizes[] = { 0, 1, 63, 64, 4096, 1 << 20 };
	static uint8_t data[1 << 20];
	struct worker_fixture w;

	(void)state;
	begin(&w, &usual);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (int k = 0; k < 2; k++) {
			struct praas_buf *buf =
				wf_call(&w, k ? "pass" : "echo", data, sizes[i]);

			assert_int_equal(buf->head.status, 0);
			assert_int_equal(buf->head.bytes, sizes[i]);
			if (sizes[i])
				assert_memory_equal(buf->data, data, sizes[i]);
			praas_buf_release(buf);
		}
	}
	wf_release(&w);
}

/* Many calls, one after the other and at once; buffers do not get lost. */
static void test_worker_many_calls(void **state)
{
	struct worker_fixture w;
	struct praas_worker_executor_stats stats;

	(void)state;
	begin(&w, &usual);
	for (int round = 0; round < 200; round++) {
		uint64_t sum = 0, want = 0;

		for (uint64_t i = 0; i < 8; i++)
			want += wf_submit(&w, "echo", &i, sizeof(i), 0);
		for (int i = 0; i < 8; i++) {
			struct praas_buf *buf = wf_answer(&w);

			assert_int_equal(buf->head.status, 0);
			sum += buf->head.id;
			praas_buf_release(buf);
		}
		assert_int_equal(sum, want);
	}
	praas_worker_executor_stats(w.ex, &stats);
	assert_int_equal(stats.calls, 1600);
	assert_int_equal(stats.deaths, 0);
	assert_int_equal(stats.copies, 0);
	wf_release(&w);
}

static void count_going(void *user, const struct praas_region *region)
{
	(void)region;
	(*(unsigned *)user)++;
}

/* The function sees the very bytes that were received: same place of the same segment. */
static void test_worker_input_is_not_copied(void **state)
{
	struct worker_fixture w;
	struct praas_buf *buf;
	unsigned gone = 0;
	struct praas_region_watch watch = { .going = count_going, .user = &gone };
	uint64_t first = 0, second = 0;

	(void)state;
	begin(&w, &usual);
	buf = wf_call(&w, "where", "x", 1);
	memcpy(&first, buf->data, sizeof(first));
	/* The result is where the worker wrote it. */
	assert_int_not_equal(buf->segment, w.f.segment.id);
	/* A device may send from there: it is lent until the worker's memory goes. */
	assert_non_null(buf->lent);
	assert_true(buf->data >= buf->lent->region.base);
	assert_true(buf->data + buf->capacity <=
		    buf->lent->region.base + buf->lent->region.bytes);
	praas_region_watch_set(&buf->lent->watches, &watch, true);
	praas_buf_release(buf);
	assert_int_equal(gone, 0);
	/* Another buffer moves it by as much as it moved in the pool. */
	buf = wf_call(&w, "where", "y", 1);
	memcpy(&second, buf->data, sizeof(second));
	praas_buf_release(buf);
	assert_int_equal(first & 63, 0);
	assert_true(first - second < w.f.segment.bytes ||
		    second - first < w.f.segment.bytes);
	wf_release(&w);
	assert_int_equal(gone, 1);
}

static void test_worker_failures_have_reasons(void **state)
{
	struct worker_fixture w;
	struct praas_worker_executor_stats stats;

	(void)state;
	begin(&w, &usual);
	wf_expect(&w, "fails", 42, "no such luck");
	wf_expect(&w, "crash", PRAAS_CRASHED, "SIGSEGV");
	wf_expect(&w, "exits", PRAAS_CRASHED, "code 7");
	wf_expect(&w, "aborts", PRAAS_CRASHED, "SIGABRT");
	wf_wait_ready(&w);
	wf_expect(&w, "echo", 0, NULL);
	praas_worker_executor_stats(w.ex, &stats);
	assert_int_equal(stats.deaths, 3);
	wf_release(&w);
}

static void test_worker_out_of_memory(void **state)
{
	struct worker_fixture w;
	struct praas_buf *buf;

	(void)state;
	begin(&w, &usual);
	buf = wf_call(&w, "oom", NULL, 0);
	assert_true(buf->head.status == PRAAS_NO_MEMORY ||
		    buf->head.status == PRAAS_CRASHED);
	if (buf->head.status == PRAAS_NO_MEMORY)
		assert_non_null(strstr((const char *)buf->data, "memory limit"));
	praas_buf_release(buf);
	wf_expect(&w, "echo", 0, NULL);
	wf_release(&w);
}

/* Who does not return is ended; who does when asked, is not. */
static void test_worker_deadline(void **state)
{
	struct worker_fixture w;
	struct praas_worker_executor_stats stats;
	struct praas_buf *buf;

	(void)state;
	begin(&w, &usual);
	(void)wf_submit(&w, "hang", NULL, 0, 20000000);
	buf = wf_answer(&w);
	assert_int_equal(buf->head.status, PRAAS_DEADLINE);
	praas_buf_release(buf);
	(void)wf_submit(&w, "obedient", NULL, 0, 20000000);
	buf = wf_answer(&w);
	assert_int_equal(buf->head.status, PRAAS_DEADLINE);
	praas_buf_release(buf);
	do {
		wf_turn(&w);
		praas_worker_executor_stats(w.ex, &stats);
	} while (stats.busy != 0);
	wf_wait_ready(&w);
	praas_worker_executor_stats(w.ex, &stats);
	assert_int_equal(stats.hangs, 1);
	assert_int_equal(stats.deaths, 1);
	wf_release(&w);
}

static void cancel(struct worker_fixture *w, uint64_t id)
{
	const struct praas_frame head = { .kind = PRAAS_FRAME_CANCEL, .id = id };

	fake_frame(w->conn, &head, NULL, NULL, 0);
}

static void test_worker_cancel_reaches_the_function(void **state)
{
	struct worker_fixture w;
	struct praas_buf *buf;
	uint64_t id;

	(void)state;
	begin(&w, &usual);
	id = wf_submit(&w, "obedient", NULL, 0, 0);
	for (int i = 0; i < 10; i++)
		wf_turn(&w);
	cancel(&w, id);
	buf = wf_answer(&w);
	assert_true(buf->head.status == 5 || buf->head.status == PRAAS_CANCELLED);
	praas_buf_release(buf);
	id = wf_submit(&w, "wait_mail", NULL, 0, 0);
	for (int i = 0; i < 1000; i++)
		wf_turn(&w);
	cancel(&w, id);
	buf = wf_answer(&w);
	assert_true(buf->head.status == 8 || buf->head.status == PRAAS_CANCELLED);
	praas_buf_release(buf);
	wf_release(&w);
}

static void test_worker_state(void **state)
{
	struct worker_fixture w;
	struct praas_buf *buf;
	uint64_t large[2];

	(void)state;
	begin(&w, &usual);
	for (uint64_t i = 1; i <= 20; i++)
		assert_int_equal(wf_number(&w, "count"), i);
	wf_expect(&w, "fails", 42, NULL);
	wf_expect(&w, "put_crash", PRAAS_CRASHED, "SIGSEGV");
	assert_int_equal(wf_number(&w, "count"), 21);
	wf_expect(&w, "cas_conflict", PRAAS_CONFLICT, NULL);
	wf_expect(&w, "list", 0, NULL);
	wf_expect(&w, "put_commit", 42, NULL);
	/* What lies in the arena of a worker outlives it, and others see it. */
	for (int i = 0; i < 3; i++) {
		buf = wf_call(&w, "get_large", NULL, 0);
		assert_int_equal(buf->head.status, 0);
		memcpy(large, buf->data, sizeof(large));
		praas_buf_release(buf);
		assert_int_equal(large[0], 100000);
		assert_int_equal(large[1], 'v');
		if (i == 0)
			wf_expect(&w, "crash", PRAAS_CRASHED, NULL);
		if (i == 1)
			wf_expect(&w, "exits", PRAAS_CRASHED, NULL);
	}
	wf_release(&w);
}

static void test_worker_update(void **state)
{
	struct worker_fixture w;

	(void)state;
	begin(&w, &usual);
	for (uint64_t i = 1; i <= 20; i++)
		assert_int_equal(wf_number(&w, "update"), i);
	/* Two workers at the same object: each has the lease for a while, nothing is lost. */
	for (uint64_t last = 20; last < 2020; last += 20) {
		for (int i = 0; i < 20; i++)
			(void)wf_submit(&w, i % 5 ? "update" : "busy_update", NULL, 0,
					0);
		for (int i = 0; i < 20; i++) {
			struct praas_buf *buf = wf_answer(&w);

			assert_int_equal(buf->head.status, 0);
			praas_buf_release(buf);
		}
	}
	assert_int_equal(wf_number(&w, "update"), 2021);
	wf_expect(&w, "update_crash", PRAAS_CRASHED, NULL);
	wf_expect(&w, "update", 1, NULL); /* torn */
	wf_release(&w);
}

static void test_worker_messages_and_calls(void **state)
{
	struct worker_fixture w;
	struct praas_buf *buf;
	const struct praas_frame send = { .kind = PRAAS_FRAME_SEND, .id = 1000 };
	struct praas_member_info peer = { .pid = 99,
					  .state = PRAAS_MEMBER_ACTIVE,
					  .name = "peer" };
	struct praas_members *list;

	(void)state;
	begin(&w, &usual);
	assert_int_equal(praas_members_apply(NULL, &peer, 1, 1, &list), 0);
	praas_process_members_give(w.f.p, list);
	for (int i = 0; i < 20; i++) {
		wf_expect(&w, "mail", 0, NULL);
		wf_expect(&w, "nested", 0, NULL);
	}
	assert_int_equal(wf_number(&w, "member"), 99);
	(void)wf_submit(&w, "wait_mail", NULL, 0, 0);
	for (int i = 0; i < 1000; i++)
		wf_turn(&w);
	fake_frame(w.conn, &send, "mail", "hello", 5);
	for (int i = 0; i < 2; i++) {
		buf = wf_answer(&w);
		assert_int_equal(buf->head.status, 0);
		if (buf->head.id != 1000)
			assert_memory_equal(buf->data, "hello", 5);
		praas_buf_release(buf);
	}
	wf_expect(&w, "logs", 0, NULL);
	for (int i = 0; i < 1000 && !w.logged[0]; i++)
		wf_turn(&w);
	assert_string_equal(w.logged, "logs/3/a line of the log");
	assert_int_equal(w.logged_trace, 0);
	wf_release(&w);
}

/* What a function gives back is free again, also when it lies in its own arena. */
static void test_worker_large_messages_are_given_back(void **state)
{
	struct worker_fixture w;

	(void)state;
	begin(&w, &usual);
	wf_expect(&w, "mail_many", 0, NULL);
	wf_release(&w);
}

/* More than an arena holds comes in a segment of its own; more than the limit is refused. */
static void test_worker_big_results(void **state)
{
	struct wf_options o = usual;
	struct worker_fixture w;
	struct praas_buf *buf;
	uint64_t bytes = 24u << 20;

	(void)state;
	o.bytes_max = 32u << 20;
	begin(&w, &o);
	for (int i = 0; i < 4; i++) {
		buf = wf_call(&w, "big", &bytes, sizeof(bytes));
		assert_int_equal(buf->head.status, 0);
		assert_int_equal(buf->head.bytes, bytes);
		for (uint64_t k = 0; k < bytes; k += 4096)
			assert_int_equal(buf->data[k], (uint8_t)(k / 4096));
		praas_buf_release(buf);
	}
	bytes = 33u << 20;
	buf = wf_call(&w, "big", &bytes, sizeof(bytes));
	assert_int_equal(buf->head.status, 9);
	praas_buf_release(buf);
	wf_release(&w);
}

/* Noise over everything that it can write: that worker goes, unless the noise happened to hit
 * nothing that is looked at; the others and the state stay. */
static void test_worker_scribbles(void **state)
{
	struct worker_fixture w;
	struct praas_buf *buf;

	(void)state;
	begin(&w, &usual);
	assert_int_equal(wf_number(&w, "count"), 1);
	buf = wf_call(&w, "scribble", "x", 1);
	assert_true(buf->head.status == PRAAS_CRASHED || buf->head.status == 0);
	praas_buf_release(buf);
	assert_int_equal(wf_number(&w, "count"), 2);
	wf_wait_ready(&w);
	assert_int_equal(wf_number(&w, "count"), 3);
	wf_release(&w);
}

/* Killed from outside in the middle of a call. */
static void test_worker_killed(void **state)
{
	struct wf_options o = usual;
	struct worker_fixture w;
	struct praas_buf *buf;
	uint64_t ns = 5000000000u;

	(void)state;
	o.workers = 1;
	begin(&w, &o);
	(void)wf_submit(&w, "busy", &ns, sizeof(ns), 0);
	for (int i = 0; i < 100; i++)
		wf_turn(&w);
	assert_int_equal(kill(praas_spawner_pid(w.spawner, 0), SIGKILL), 0);
	buf = wf_answer(&w);
	assert_int_equal(buf->head.status, PRAAS_CRASHED);
	assert_non_null(strstr((const char *)buf->data, "SIGKILL"));
	praas_buf_release(buf);
	wf_expect(&w, "echo", 0, NULL);
	wf_release(&w);
}

/* After each crash the next life waits twice as long, from 10 ms on. After 5 crashes in a minute what finds no
 * worker fails at once, and says why; a life begins once a second. */
static void test_worker_degrades(void **state)
{
	struct wf_options o = usual;
	struct worker_fixture w;
	struct praas_worker_executor_stats stats;
	uint64_t began;

	(void)state;
	o.workers = 1;
	begin(&w, &o);
	began = praas_now_ns();
	for (int i = 0; i < 5; i++)
		wf_expect(&w, "crash", PRAAS_CRASHED, "SIGSEGV");
	assert_true(praas_now_ns() - began >= (10u + 20 + 40 + 80) * 1000000u);
	began = praas_now_ns();
	praas_worker_executor_stats(w.ex, &stats);
	assert_true(stats.degraded);
	wf_expect(&w, "echo", PRAAS_CRASHED, "degraded");
	wf_wait_ready(&w);
	assert_true(praas_now_ns() - began >= 900000000u);
	wf_expect(&w, "echo", 0, NULL);
	wf_release(&w);
}

static void test_worker_library_is_missing(void **state)
{
	struct wf_options o = usual;
	struct worker_fixture w;
	char text[PRAAS_ERROR_TEXT_MAX] = "";

	(void)state;
	o.library = PRAAS_TEST_CODE "/none.so";
	o.workers = 1;
	assert_false(wf_init(&w, &o, text));
	assert_non_null(strstr(text, "none.so"));
	wf_release(&w);
}

/* Interrupted: the call ends, the process is quiet. */
static void test_worker_stop(void **state)
{
	struct worker_fixture w;
	struct praas_buf *buf;

	(void)state;
	begin(&w, &usual);
	(void)wf_submit(&w, "hang", NULL, 0, 0);
	for (int i = 0; i < 10; i++)
		wf_turn(&w);
	w.ex->ops->stop(w.ex, praas_now_ns() + 10000000);
	buf = wf_answer(&w);
	assert_int_equal(buf->head.status, PRAAS_INTERRUPTED);
	praas_buf_release(buf);
	assert_true(praas_process_quiet(w.f.p));
	wf_release(&w);
}

/* What workers have beside their arenas has a limit of its own. */
static void test_worker_big_limit(void **state)
{
	struct wf_options o = usual;
	struct worker_fixture w;
	struct praas_buf *first, *buf;
	uint64_t bytes = 24u << 20;

	(void)state;
	o.bytes_max = 32u << 20;
	o.big_bytes_max = 40u << 20;
	begin(&w, &o);
	first = wf_call(&w, "big", &bytes, sizeof(bytes));
	assert_int_equal(first->head.status, 0);
	buf = wf_call(&w, "big", &bytes, sizeof(bytes));
	assert_int_not_equal(buf->head.status, 0);
	praas_buf_release(buf);
	praas_buf_release(first);
	buf = wf_call(&w, "big", &bytes, sizeof(bytes));
	assert_int_equal(buf->head.status, 0);
	praas_buf_release(buf);
	wf_release(&w);
}

/* Interrupted with calls still queued: all are told, and when the swap-out comes to nothing the
 * workers are there again, and not blamed. */
static void test_worker_stop_and_go_on(void **state)
{
	struct worker_fixture w;
	struct praas_worker_executor_stats stats;
	struct praas_buf *buf;

	(void)state;
	begin(&w, &usual);
	for (int i = 0; i < 6; i++)
		(void)wf_submit(&w, "hang", NULL, 0, 0);
	for (int i = 0; i < 10; i++)
		wf_turn(&w);
	for (int round = 0; round < 6; round++) {
		praas_process_gate(w.f.p, false);
		w.ex->ops->stop(w.ex, praas_now_ns());
		praas_process_interrupt(w.f.p);
		assert_true(praas_process_quiet(w.f.p));
		w.ex->ops->stop(w.ex, 0);
		praas_process_gate(w.f.p, true);
		wf_wait_ready(&w);
	}
	for (int i = 0; i < 6; i++) {
		buf = wf_answer(&w);
		assert_int_equal(buf->head.status, PRAAS_INTERRUPTED);
		praas_buf_release(buf);
	}
	praas_worker_executor_stats(w.ex, &stats);
	assert_false(stats.degraded);
	buf = wf_call(&w, "echo", "x", 1);
	assert_int_equal(buf->head.status, 0);
	praas_buf_release(buf);
	wf_release(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_worker_echo_of_every_size),
		cmocka_unit_test(test_worker_many_calls),
		cmocka_unit_test(test_worker_input_is_not_copied),
		cmocka_unit_test(test_worker_failures_have_reasons),
		cmocka_unit_test(test_worker_out_of_memory),
		cmocka_unit_test(test_worker_deadline),
		cmocka_unit_test(test_worker_cancel_reaches_the_function),
		cmocka_unit_test(test_worker_state),
		cmocka_unit_test(test_worker_update),
		cmocka_unit_test(test_worker_messages_and_calls),
		cmocka_unit_test(test_worker_large_messages_are_given_back),
		cmocka_unit_test(test_worker_big_results),
		cmocka_unit_test(test_worker_scribbles),
		cmocka_unit_test(test_worker_killed),
		cmocka_unit_test(test_worker_degrades),
		cmocka_unit_test(test_worker_library_is_missing),
		cmocka_unit_test(test_worker_stop),
		cmocka_unit_test(test_worker_big_limit),
		cmocka_unit_test(test_worker_stop_and_go_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
