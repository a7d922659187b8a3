/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions that wait for functions while no worker is free: who waits runs what it waits for, and a
 * wait that cannot end is told so.
 */
#include "unit/worker_fixture.h"

#include <errno.h>

#include "dataplane/worker_proto.h"

static const char *const names[] = {
	"tree",       "chain",   "selfish", "left",  "right",
	"hears",      "tells",   "asks",    "dies",  "waits_for_death",
	"writes",     "loses",   "has",     "keeps", "long_one",
	"waits_long", "confused"
};
#define NAMES (sizeof(names) / sizeof(names[0]))

static void begin(struct worker_fixture *w, uint32_t workers, uint32_t concurrency)
{
	const struct wf_options options = { .library = PRAAS_TEST_FUNCTIONS,
					    .names = names,
					    .count = NAMES,
					    .workers = workers,
					    .concurrency = concurrency,
					    .memory_bytes = PRAAS_TEST_MEMORY,
					    .allow_weak = true };
	char text[PRAAS_ERROR_TEXT_MAX] = "";

	if (!wf_init(w, &options, text))
		fail_msg("workers are not ready: %s", text);
}

static uint64_t number_of(struct praas_buf *buf)
{
	uint64_t n = 0;

	if (buf->head.status != 0)
		fail_msg("status %d: %s", buf->head.status,
			 buf->head.bytes ? (const char *)buf->data : "");
	assert_int_equal(buf->head.bytes, sizeof(n));
	memcpy(&n, buf->data, sizeof(n));
	praas_buf_release(buf);
	return n;
}

static uint64_t call_with(struct worker_fixture *w, const char *name, uint64_t input)
{
	return number_of(wf_call(w, name, &input, sizeof(input)));
}

/* A tree of calls runs in a single worker, and in two, and leaves nothing behind. */
static void test_nested_tree_in_few_workers(void **state)
{
	(void)state;
	for (uint32_t workers = 1; workers <= 2; workers++) {
		struct worker_fixture w;

		begin(&w, workers, PRAAS_PARALLEL);
		for (int i = 0; i < 20; i++) {
			assert_int_equal(call_with(&w, "tree", 1), 3);
			assert_int_equal(call_with(&w, "tree", 3), 15);
		}
		wf_release(&w);
	}
}

/* More callers than workers, all of which wait at once. */
static void test_nested_all_workers_wait(void **state)
{
	struct worker_fixture w;
	uint64_t depth = 3;

	(void)state;
	begin(&w, 2, PRAAS_PARALLEL);
	for (int i = 0; i < 8; i++)
		(void)wf_submit(&w, "tree", &depth, sizeof(depth), 0);
	for (int i = 0; i < 8; i++)
		assert_int_equal(number_of(wf_answer(&w)), 15);
	wf_release(&w);
}

/* At the depth limit the last wait fails, and what waits for it does not. */
static void test_nested_depth_limit_ends_the_wait(void **state)
{
	struct worker_fixture w;

	(void)state;
	begin(&w, 1, PRAAS_PARALLEL);
	assert_int_equal(call_with(&w, "chain", 8), 9);
	assert_int_equal(call_with(&w, "chain", 30), PRAAS_WORKER_LEVELS_MAX);
	assert_int_equal(call_with(&w, "tree", 2), 7);
	wf_release(&w);
}

/* Who waits for itself is told, whether other workers are free or not. */
static void test_nested_serial_circle(void **state)
{
	struct worker_fixture w;

	(void)state;
	for (uint32_t workers = 1; workers <= 3; workers += 2) {
		begin(&w, workers, PRAAS_SERIAL);
		assert_int_equal(call_with(&w, "selfish", 0), EDEADLK);
		assert_int_equal(call_with(&w, "selfish", 1), 7);
		assert_int_equal(call_with(&w, "left", 0), EDEADLK);
		assert_int_equal(call_with(&w, "right", 0), EDEADLK);
		wf_release(&w);
	}
}

/* The circle is named to who asked, and does not last until the deadline. */
static void test_nested_circle_named(void **state)
{
	static const char circle[] = "it would wait for itself: confused (pid 77) -> "
				     "confused (pid 77)";
	struct worker_fixture w;
	struct praas_buf *buf;
	uint64_t began;

	(void)state;
	begin(&w, 2, PRAAS_SERIAL);
	wf_expect(&w, "confused", EDEADLK, circle);
	began = praas_now_ns();
	(void)wf_submit(&w, "confused", NULL, 0, 60000000000);
	buf = wf_answer(&w);
	assert_int_equal(buf->head.status, EDEADLK);
	assert_string_equal((const char *)buf->data, circle);
	assert_true(praas_now_ns() - began < 30000000000u);
	praas_buf_release(buf);
	wf_release(&w);
}

/* A message from a function that could not run but on top of its receiver. */
static void test_nested_while_receiving(void **state)
{
	struct worker_fixture w;
	uint64_t id;

	(void)state;
	begin(&w, 1, PRAAS_PARALLEL);
	assert_int_equal(wf_number(&w, "asks"), 77);
	assert_int_equal(wf_number(&w, "hears"), 77); /* the second word */
	id = wf_submit(&w, "hears", NULL, 0, 0);
	(void)wf_submit(&w, "tells", NULL, 0, 0);
	for (int i = 0; i < 2; i++) {
		struct praas_buf *buf = wf_answer(&w);

		assert_int_equal(buf->head.status, 0);
		assert_int_equal(buf->head.bytes, buf->head.id == id ? 8 : 0);
		praas_buf_release(buf);
	}
	wf_release(&w);
}

/* All on the stack of a worker that dies end, each with its own reason. */
static void test_nested_crash_fails_the_stack(void **state)
{
	struct worker_fixture w;

	(void)state;
	begin(&w, 1, PRAAS_PARALLEL);
	wf_expect(&w, "waits_for_death", PRAAS_CRASHED,
		  "function waits_for_death waited in a worker that ended while it ran "
		  "dies");
	wf_wait_ready(&w);
	assert_int_equal(call_with(&w, "tree", 2), 7);
	wf_release(&w);
	begin(&w, 2, PRAAS_PARALLEL);
	assert_int_equal(wf_number(&w, "waits_for_death"), 1); /* it was another's */
	wf_release(&w);
}

/* Each commits on its own. */
static void test_nested_writes_are_their_own(void **state)
{
	struct worker_fixture w;

	(void)state;
	begin(&w, 1, PRAAS_PARALLEL);
	wf_expect(&w, "loses", 6, "on purpose");
	assert_int_equal(wf_number(&w, "has"), 2);
	wf_release(&w);
}

static void test_nested_keeps_what_the_waiting_holds(void **state)
{
	struct worker_fixture w;
	struct praas_frame head = { .kind = PRAAS_FRAME_INVOKE, .id = 1 };

	(void)state;
	begin(&w, 1, PRAAS_PARALLEL);
	head.function = wf_function(&w, "keeps");
	head.key_bytes = 5;
	fake_frame(w.conn, &head, "outer", NULL, 0);
	assert_int_equal(number_of(wf_answer(&w)), 1);
	wf_release(&w);
}

/* The deadline goes along: what runs on top is asked to end, and so is who waits. */
static void test_nested_deadline(void **state)
{
	struct worker_fixture w;
	struct praas_worker_executor_stats stats;
	struct praas_buf *buf;

	(void)state;
	begin(&w, 1, PRAAS_PARALLEL);
	(void)wf_submit(&w, "waits_long", NULL, 0, 30000000);
	buf = wf_answer(&w);
	assert_int_equal(buf->head.status, PRAAS_DEADLINE);
	praas_buf_release(buf);
	assert_int_equal(call_with(&w, "tree", 2), 7);
	praas_worker_executor_stats(w.ex, &stats);
	assert_int_equal(stats.ready, 1);
	wf_release(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nested_tree_in_few_workers),
		cmocka_unit_test(test_nested_all_workers_wait),
		cmocka_unit_test(test_nested_depth_limit_ends_the_wait),
		cmocka_unit_test(test_nested_serial_circle),
		cmocka_unit_test(test_nested_circle_named),
		cmocka_unit_test(test_nested_while_receiving),
		cmocka_unit_test(test_nested_crash_fails_the_stack),
		cmocka_unit_test(test_nested_writes_are_their_own),
		cmocka_unit_test(test_nested_keeps_what_the_waiting_holds),
		cmocka_unit_test(test_nested_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
