/* SPDX-License-Identifier: Apache-2.0
 *
 * What functions did that ran in place: told by the worker in its arena, and believed no further than it
 * can be.
 */
#include "unit/worker_fixture.h"

#include "dataplane/worker_private.h"

static const char *const names[] = { "tree" };

static void begin(struct worker_fixture *w)
{
	const struct wf_options options = { .library = PRAAS_TEST_FUNCTIONS,
					    .names = names,
					    .count = 1,
					    .memory_bytes = PRAAS_TEST_MEMORY,
					    .allow_weak = true };
	char text[PRAAS_ERROR_TEXT_MAX] = "";

	if (!wf_init(w, &options, text))
		fail_msg("workers are not ready: %s", text);
}

/* A tree of 7 calls: one by the controller, the others in place or by it; each counts once. */
static void tree(struct worker_fixture *w, uint64_t calls)
{
	const struct praas_function_sums *c = praas_process_sums(w->f.p);
	uint64_t depth = 2, end = praas_now_ns() + 10000000000u;
	struct praas_buf *buf = wf_call(w, "tree", &depth, sizeof(depth));

	assert_int_equal(buf->head.status, 0);
	praas_buf_release(buf);
	while (c->calls != calls && praas_now_ns() < end) {
		wf_turn(w);
		praas_worker_executor_count(w->ex);
	}
	assert_int_equal(c->calls, calls);
}

static void test_worker_counts_each_call_once(void **state)
{
	struct worker_fixture w;
	const struct praas_function_sums *c;

	(void)state;
	begin(&w);
	c = praas_process_sums(w.f.p);
	for (unsigned i = 1; i <= 10; i++)
		tree(&w, 7ull * i);
	assert_int_equal(c->errors, 0);
	assert_int_equal(c->bytes_in, 70 * sizeof(uint64_t));
	assert_int_equal(c->bytes_out, 70 * sizeof(uint64_t));
	wf_release(&w);
}

static void forge(struct wx_worker *w, uint64_t value)
{
	struct praas_function_counts *c = (void *)(uintptr_t)w->counts;

	atomic_store(&c->calls, value);
	atomic_store(&c->errors, value);
	atomic_store(&c->bytes_in, value);
	atomic_store(&c->bytes_out, value);
	atomic_store(&c->run_ns, value);
}

/* A worker that writes what it likes into its line: no count becomes smaller or goes round, and none is more than a
 * worker of that age can have done. */
static void test_worker_counts_forged(void **state)
{
	static const uint64_t values[] = { UINT64_MAX,      0, 1, UINT64_MAX / 2,
					   UINT64_MAX - 10, 5, 0, UINT64_MAX };
	struct worker_fixture w;
	const struct praas_function_sums *c;
	struct wx_worker *worker;
	uint64_t began = praas_now_ns(), before[5] = { 0 };

	(void)state;
	begin(&w);
	worker = &((struct wx *)(void *)w.ex)->workers[0];
	c = praas_process_sums(w.f.p);
	for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		uint64_t lived;

		forge(worker, values[i]);
		praas_worker_executor_count(w.ex);
		lived = praas_now_ns() - began;
		assert_true(c->calls >= before[0] && c->calls <= lived / 10);
		assert_true(c->errors >= before[1] && c->errors <= c->calls);
		assert_true(c->bytes_in >= before[2]);
		assert_true(c->bytes_out >= before[3]);
		assert_true(c->run_ns >= before[4] &&
			    c->run_ns <= lived * PRAAS_WORKER_DEPTH_MAX);
		before[0] = c->calls;
		before[1] = c->errors;
		before[2] = c->bytes_in;
		before[3] = c->bytes_out;
		before[4] = c->run_ns;
	}
	assert_true(before[2] <= UINT64_MAX / 2);
	/* What it says of a call that it dies in: a function that there is not. */
	atomic_store(&worker->line->direct_function, UINT64_MAX);
	atomic_store(&worker->line->direct_call, UINT64_MAX);
	wx_counts_last(worker);
	worker->clients = 1;
	atomic_store(&worker->line->direct_call, 1u << 8 | 1);
	wx_counts_last(worker);
	atomic_store(&worker->line->direct_function, 0);
	before[0] = c->calls;
	before[1] = c->errors;
	forge(worker, 0);
	wx_counts_last(worker);
	assert_int_equal(c->calls, before[0] + 1);
	assert_int_equal(c->errors, before[1] + 1);
	atomic_store(&worker->line->direct_call, 0);
	worker->clients = 0;
	wf_release(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_worker_counts_each_call_once),
		cmocka_unit_test(test_worker_counts_forged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
