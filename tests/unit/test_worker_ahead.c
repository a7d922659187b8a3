/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls that are sent to a worker while it is busy: they run once, in order, and none of them is
 * held up by one that waits, takes long or crashes.
 */
#include "unit/worker_fixture.h"

#define FEW 20
#define SHORT_NS 100000000u /* however much a sanitizer slows it down */
#define SLEEP_NS 500000000u /* of act('s') */

static const char *const names[] = { "act", "count" };

static const struct wf_options one = { .library = PRAAS_TEST_FUNCTIONS,
				       .names = names,
				       .count = 2,
				       .workers = 1,
				       .memory_bytes = PRAAS_TEST_MEMORY,
				       .ahead_short_ns = SHORT_NS,
				       .allow_weak = true };
static const struct wf_options two = { .library = PRAAS_TEST_FUNCTIONS,
				       .names = names,
				       .count = 2,
				       .workers = 2,
				       .memory_bytes = PRAAS_TEST_MEMORY,
				       .ahead_short_ns = SHORT_NS,
				       .allow_weak = true };

/* Begins, and lets the executor learn that the function is short. */
static void begin(struct worker_fixture *w, const struct wf_options *o)
{
	char text[PRAAS_ERROR_TEXT_MAX] = "";

	if (!wf_init(w, o, text))
		fail_msg("workers are not ready: %s", text);
	for (uint64_t i = 1; i <= 60; i++)
		assert_int_equal(wf_number(w, "act"), i);
}

static struct praas_worker_executor_stats stats_of(struct worker_fixture *w)
{
	struct praas_worker_executor_stats stats;

	praas_worker_executor_stats(w->ex, &stats);
	return stats;
}

/* The number in the next answer, whose status must be 0; and its id. */
static uint64_t take(struct worker_fixture *w, uint64_t *ret_id)
{
	struct praas_buf *buf = wf_answer(w);
	uint64_t n = 0;

	if (buf->head.status != 0)
		fail_msg("status %d: %s", buf->head.status,
			 buf->head.bytes ? (const char *)buf->data : "");
	memcpy(&n, buf->data, sizeof(n));
	*ret_id = buf->head.id;
	praas_buf_release(buf);
	return n;
}

static void take_status(struct worker_fixture *w, uint64_t id, int32_t status)
{
	struct praas_buf *buf = wf_answer(w);

	assert_int_equal(buf->head.id, id);
	assert_int_equal(buf->head.status, status);
	praas_buf_release(buf);
}

static uint64_t submit_few(struct worker_fixture *w)
{
	uint64_t first = wf_submit(w, "act", NULL, 0, 0);

	for (int i = 1; i < FEW; i++)
		(void)wf_submit(w, "act", NULL, 0, 0);
	return first;
}

/* Each finds what the one before it has written, though nobody waited for its commit. */
static void test_ahead_runs_in_order(void **state)
{
	struct worker_fixture w;
	uint64_t id, last = 60;

	(void)state;
	begin(&w, &one);
	for (int round = 0; round < 50; round++) {
		uint64_t first = submit_few(&w);

		for (uint64_t i = 0; i < FEW; i++) {
			assert_int_equal(take(&w, &id), ++last);
			assert_int_equal(id, first + i);
		}
	}
	assert_true(stats_of(&w).sent_ahead != 0);
	assert_int_equal(stats_of(&w).deaths, 0);
	wf_release(&w);
}

/* The rest goes to the other worker; with one only, on top of the one that waits. */
static void behind_one_that_waits(const struct wf_options *o)
{
	const struct praas_frame send = { .kind = PRAAS_FRAME_SEND, .id = 100000 };
	struct worker_fixture w;
	uint64_t id, waits;

	begin(&w, o);
	waits = wf_submit(&w, "act", "w", 1, 0);
	(void)submit_few(&w);
	for (int i = 0; i < FEW; i++) {
		(void)take(&w, &id);
		assert_int_not_equal(id, waits);
	}
	fake_frame(w.conn, &send, "go", "x", 1);
	for (int i = 0; i < 2; i++) {
		struct praas_buf *buf = wf_answer(&w);

		assert_int_equal(buf->head.status, 0);
		assert_true(buf->head.id == waits || buf->head.id == send.id);
		praas_buf_release(buf);
	}
	assert_int_equal(stats_of(&w).deaths, 0);
	wf_release(&w);
}

static void test_ahead_behind_one_that_waits(void **state)
{
	(void)state;
	behind_one_that_waits(&one);
	behind_one_that_waits(&two);
}

static void test_ahead_behind_one_that_takes_long(void **state)
{
	struct worker_fixture w;
	uint64_t id, end = praas_now_ns() + 10000000000u;

	(void)state;
	begin(&w, &one);
	(void)wf_submit(&w, "act", "s", 1, 0);
	(void)submit_few(&w);
	/* Taken back, for any worker that becomes free, long before it has ended. */
	while (stats_of(&w).taken_back < FEW && praas_now_ns() < end)
		wf_turn(&w);
	assert_true(stats_of(&w).taken_back >= FEW);
	for (int i = 0; i < FEW + 1; i++)
		(void)take(&w, &id);
	assert_int_equal(stats_of(&w).deaths, 0);
	wf_release(&w);
}

/* Only the one that crashed has failed; what had not begun runs in the next life, once. */
static void test_ahead_behind_one_that_crashes(void **state)
{
	struct worker_fixture w;
	uint64_t id, crashes, last = 60;

	(void)state;
	begin(&w, &one);
	crashes = wf_submit(&w, "act", "c", 1, 0);
	(void)submit_few(&w);
	take_status(&w, crashes, PRAAS_CRASHED);
	for (int i = 0; i < FEW; i++)
		assert_int_equal(take(&w, &id), ++last);
	assert_true(stats_of(&w).taken_back != 0);
	assert_int_equal(stats_of(&w).deaths, 1);
	wf_release(&w);
}

static void test_ahead_given_up_does_not_run(void **state)
{
	struct praas_frame cancel = { .kind = PRAAS_FRAME_CANCEL };
	struct worker_fixture w;
	uint64_t id, first, late;

	(void)state;
	begin(&w, &one);
	(void)wf_submit(&w, "act", "s", 1, 0);
	first = submit_few(&w);
	late = wf_submit(&w, "act", NULL, 0, SLEEP_NS / 4);
	cancel.id = first + FEW / 2;
	fake_frame(w.conn, &cancel, NULL, NULL, 0);
	take_status(&w, cancel.id, PRAAS_CANCELLED);
	take_status(&w, late, PRAAS_DEADLINE);
	for (int i = 0; i < FEW; i++) /* all others, and the one that slept */
		(void)take(&w, &id);
	assert_int_equal(wf_number(&w, "count"), 60 + FEW + 1);
	wf_release(&w);
}

/* When the process stops, what has not begun is interrupted and may be tried again. */
static void test_ahead_interrupted(void **state)
{
	struct worker_fixture w;
	uint64_t first;

	(void)state;
	begin(&w, &one);
	(void)wf_submit(&w, "act", "w", 1, 0);
	first = submit_few(&w);
	w.ex->ops->stop(w.ex, praas_now_ns());
	praas_process_interrupt(w.f.p);
	for (uint64_t i = 0; i <= FEW; i++) {
		struct praas_buf *buf = wf_answer(&w);

		assert_int_equal(buf->head.status, PRAAS_INTERRUPTED);
		assert_true(buf->head.id + 1 >= first);
		praas_buf_release(buf);
	}
	wf_release(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ahead_runs_in_order),
		cmocka_unit_test(test_ahead_behind_one_that_waits),
		cmocka_unit_test(test_ahead_behind_one_that_takes_long),
		cmocka_unit_test(test_ahead_behind_one_that_crashes),
		cmocka_unit_test(test_ahead_given_up_does_not_run),
		cmocka_unit_test(test_ahead_interrupted),
	};

	return cmocka_run_group_tests_name("worker_ahead", tests, NULL, NULL);
}
