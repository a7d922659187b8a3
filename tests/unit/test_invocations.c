/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/invocations.h"

/* The invocation table by itself: what is remembered of an id, for how long, and that ids are found
 * without long chains however they are made up. */

#define SLOTS 64u
#define REMEMBERED 4096u
#define CHAIN_MAX 16u

static int setup(void **state)
{
	struct praas_invocations *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	assert_int_equal(praas_invocations_init(t, SLOTS, REMEMBERED, 1 << 20), 0);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct praas_invocations *t = *state;

	praas_invocations_release(t);
	free(t);
	return 0;
}

/* One call, from its beginning to its end. */
static void run(struct praas_invocations *t, uint64_t source, uint64_t id,
		int32_t status, uint64_t run_ns, const char *text)
{
	struct praas_invocation *inv = praas_invocations_alloc(t);
	struct praas_memo *memo;

	assert_non_null(inv);
	inv->source = source;
	inv->id = id;
	praas_invocations_remember(t, inv);
	memo = praas_invocations_finish(t, inv, status, run_ns);
	praas_invocations_keep_text(t, memo, (const uint8_t *)text, strlen(text));
	praas_invocations_free(t, inv);
}

/* Status, time and text are those of the id, also when the memo had served others before. */
static void test_invocations_finished_is_remembered(void **state)
{
	struct praas_invocations *t = *state;

	for (uint64_t id = 1; id <= 3 * REMEMBERED; id++) {
		const char *text = id % 2 ? "odd" : "";

		run(t, 7, id, (int32_t)(id % 5), id % 3 == 0 ? id : 0, text);
	}
	for (uint64_t id = 2 * REMEMBERED + 1; id <= 3 * REMEMBERED; id++) {
		struct praas_memo *memo = praas_invocations_find(t, 7, id);
		const uint8_t *data;
		uint64_t bytes;

		assert_non_null(memo);
		assert_int_equal(memo->status, id % 5);
		assert_int_equal(memo->slot, 0);
		assert_int_equal(praas_invocations_run_ns(t, memo),
				 id % 3 == 0 ? id : 0);
		praas_invocations_kept(t, memo, &data, &bytes);
		assert_int_equal(bytes, id % 2 ? 3 : 0);
		assert_memory_equal(data, "odd", bytes);
		assert_null(praas_invocations_find(t, 8, id)); /* another source */
	}
}

/* As many as were asked for are remembered, and the oldest goes first. */
static void test_invocations_oldest_is_forgotten(void **state)
{
	struct praas_invocations *t = *state;

	for (uint64_t id = 1; id <= REMEMBERED; id++)
		run(t, 7, id, 0, 0, "");
	assert_non_null(praas_invocations_find(t, 7, 1));
	run(t, 7, REMEMBERED + 1, 0, 0, "");
	assert_null(praas_invocations_find(t, 7, 1));
	assert_non_null(praas_invocations_find(t, 7, 2));
	assert_int_equal(praas_invocations_finished(t), REMEMBERED);
}

static uint32_t longest_chain(const struct praas_invocations *t)
{
	uint32_t longest = 0;

	for (uint32_t i = 0; i <= t->mask; i++) {
		uint32_t n = 0;

		for (uint32_t m = t->buckets[i]; m != 0; m = t->memos[m - 1].next)
			n++;
		longest = n > longest ? n : longest;
	}
	return longest;
}

/* Rows of ids with any step between them, and of several sources, as they come: no chain is long. */
static void test_invocations_chains_stay_short(void **state)
{
	static const uint64_t steps[] = { 1,
					  2,
					  3,
					  16,
					  255,
					  256,
					  257,
					  4096,
					  65536,
					  65537,
					  1 << 22,
					  UINT64_C(1) << 32,
					  UINT64_C(1) << 40,
					  UINT64_C(1) << 51 };
	struct praas_invocations *t = *state;

	for (unsigned s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
		for (uint64_t i = 0; i < REMEMBERED; i++)
			run(t, 1000 + s * 10 + i % 4,
			    UINT64_C(0x123456789abcdef1) * (s + 1) + i / 4 * steps[s],
			    0, 0, "");
		assert_in_range(longest_chain(t), 1, CHAIN_MAX);
	}
}

/* A client's own ids, one after the other: hardly any finds another in its bucket. */
static void test_invocations_own_ids_are_alone(void **state)
{
	struct praas_invocations *t = *state;
	uint32_t used = 0;

	for (uint64_t i = 0; i < REMEMBERED; i++)
		run(t, 7, UINT64_C(0x5ca1ab1e) << 20 | i << 8 | 0xff, 0, 0, "");
	for (uint32_t i = 0; i <= t->mask; i++)
		used += t->buckets[i] != 0;
	assert_in_range(used, REMEMBERED - REMEMBERED / 8, REMEMBERED);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_invocations_finished_is_remembered),
		T(test_invocations_oldest_is_forgotten),
		T(test_invocations_chains_stay_short),
		T(test_invocations_own_ids_are_alone),
	};

	return cmocka_run_group_tests_name("invocations", tests, NULL, NULL);
}
