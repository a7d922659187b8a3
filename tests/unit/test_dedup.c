/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "dataplane/dedup.h"

static const struct praas_seq none;

static struct praas_seq at(uint32_t epoch, uint64_t number)
{
	return (struct praas_seq){ .epoch = epoch, .number = number };
}

/* Judge a direct message and, when it is new, accept it. */
static enum praas_dedup_verdict take(struct praas_dedup *d, uint64_t source,
				     struct praas_seq seq, struct praas_seq after)
{
	enum praas_dedup_verdict v = praas_dedup_judge(d, source, seq, after);

	if (v == PRAAS_DEDUP_NEW)
		assert_int_equal(praas_dedup_accept(d, source, seq), 0);
	return v;
}

/* A message counts once; its repetition is told apart, for every sender by itself. */
static void test_dedup_repetition_is_seen(void **state)
{
	struct praas_dedup d;

	(void)state;
	assert_int_equal(praas_dedup_init(&d, 4), 0);
	assert_int_equal(take(&d, 1, at(1, 1), none), PRAAS_DEDUP_NEW);
	assert_int_equal(take(&d, 1, at(1, 1), none), PRAAS_DEDUP_SEEN);
	assert_int_equal(take(&d, 2, at(1, 1), none), PRAAS_DEDUP_NEW);
	assert_int_equal(take(&d, 1, at(1, 2), at(1, 1)), PRAAS_DEDUP_NEW);
	assert_int_equal(take(&d, 1, at(1, 1), none), PRAAS_DEDUP_SEEN);
	/* What was given up leaves a hole, and is too late afterwards. */
	assert_int_equal(take(&d, 1, at(1, 5), at(1, 2)), PRAAS_DEDUP_NEW);
	assert_int_equal(take(&d, 1, at(1, 4), at(1, 2)), PRAAS_DEDUP_SEEN);
	praas_dedup_release(&d);
}

/* Without its predecessor a message is refused, and so is all that follows it. */
static void test_dedup_gap_is_refused(void **state)
{
	struct praas_dedup d;

	(void)state;
	assert_int_equal(praas_dedup_init(&d, 4), 0);
	assert_int_equal(take(&d, 1, at(1, 2), at(1, 1)), PRAAS_DEDUP_GAP);
	assert_int_equal(take(&d, 1, at(1, 3), at(1, 2)), PRAAS_DEDUP_GAP);
	assert_int_equal(take(&d, 1, at(1, 1), none), PRAAS_DEDUP_NEW);
	assert_int_equal(take(&d, 1, at(1, 3), at(1, 2)), PRAAS_DEDUP_GAP);
	assert_int_equal(take(&d, 1, at(1, 2), at(1, 1)), PRAAS_DEDUP_NEW);
	assert_int_equal(take(&d, 1, at(1, 3), at(1, 2)), PRAAS_DEDUP_NEW);
	praas_dedup_release(&d);
}

/* A later epoch of the sender ends the one before, but not what waits of it in the queue. */
static void test_dedup_epochs_of_a_sender(void **state)
{
	struct praas_dedup d;

	(void)state;
	assert_int_equal(praas_dedup_init(&d, 4), 0);
	assert_int_equal(take(&d, 1, at(1, 1), none), PRAAS_DEDUP_NEW);
	assert_int_equal(take(&d, 1, at(3, 1), at(1, 2)), PRAAS_DEDUP_GAP);
	assert_int_equal(take(&d, 1, at(3, 1), at(1, 1)), PRAAS_DEDUP_NEW);
	assert_int_equal(take(&d, 1, at(1, 2), at(1, 1)), PRAAS_DEDUP_STALE);
	assert_int_equal(praas_dedup_judge_queued(&d, 1, at(1, 2)), PRAAS_DEDUP_NEW);
	assert_int_equal(praas_dedup_accept(&d, 1, at(1, 2)), 0);
	assert_int_equal(praas_dedup_judge_queued(&d, 1, at(1, 2)), PRAAS_DEDUP_SEEN);
	assert_int_equal(praas_dedup_judge_queued(&d, 1, at(2, 9)), PRAAS_DEDUP_NEW);
	assert_int_equal(take(&d, 1, at(3, 2), at(3, 1)), PRAAS_DEDUP_NEW);
	/* Four epochs are told apart; what is older counts as seen. */
	assert_int_equal(praas_dedup_accept(&d, 1, at(4, 1)), 0);
	assert_int_equal(praas_dedup_accept(&d, 1, at(5, 1)), 0);
	assert_int_equal(praas_dedup_judge_queued(&d, 1, at(1, 3)), PRAAS_DEDUP_NEW);
	assert_int_equal(praas_dedup_accept(&d, 1, at(6, 1)), 0);
	assert_int_equal(praas_dedup_judge_queued(&d, 1, at(1, 3)), PRAAS_DEDUP_SEEN);
	assert_int_equal(praas_dedup_accept(&d, 1, at(1, 3)), 0);
	assert_int_equal(praas_dedup_judge_queued(&d, 1, at(3, 3)), PRAAS_DEDUP_NEW);
	praas_dedup_release(&d);
}

static int copy(void *user, const struct praas_dedup_source *s)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < PRAAS_DEDUP_EPOCHS; i++)
		if (!praas_seq_none(s->highest[i]))
			rc = praas_dedup_accept(user, s->source, s->highest[i]);
	return rc;
}

/* Full is an error that changes nothing; a forgotten sender makes room; an exported and imported
 * table judges as before. */
static void test_dedup_limit_forget_and_export(void **state)
{
	struct praas_dedup d, e;

	(void)state;
	assert_int_equal(praas_dedup_init(&d, 0), -EINVAL);
	assert_int_equal(praas_dedup_init(&d, PRAAS_DEDUP_SOURCES_MAX + 1), -EINVAL);
	assert_int_equal(praas_dedup_init(&d, 100), 0);
	for (uint64_t s = 1; s <= 100; s++)
		assert_int_equal(praas_dedup_accept(&d, s, at(2, s)), 0);
	assert_int_equal(praas_dedup_accept(&d, 101, at(1, 1)), -ENOBUFS);
	assert_int_equal(d.count, 100);
	for (uint64_t s = 1; s <= 100; s += 2)
		praas_dedup_forget(&d, s);
	praas_dedup_forget(&d, 999);
	assert_int_equal(d.count, 50);
	assert_int_equal(praas_dedup_judge_queued(&d, 1, at(2, 1)), PRAAS_DEDUP_NEW);
	assert_int_equal(praas_dedup_accept(&d, 101, at(7, 1)), 0);
	assert_int_equal(praas_dedup_accept(&d, 101, at(9, 4)), 0);
	assert_int_equal(praas_dedup_init(&e, 100), 0);
	assert_int_equal(praas_dedup_each(&d, copy, &e), 0);
	assert_int_equal(e.count, d.count);
	for (uint64_t s = 1; s <= 101; s++)
		for (uint32_t epoch = 1; epoch < 11; epoch++)
			for (uint64_t n = 1; n < 6; n++)
				assert_int_equal(
					praas_dedup_judge(&d, s, at(epoch, n), none),
					praas_dedup_judge(&e, s, at(epoch, n), none));
	praas_dedup_release(&d);
	praas_dedup_release(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dedup_repetition_is_seen),
		cmocka_unit_test(test_dedup_gap_is_refused),
		cmocka_unit_test(test_dedup_epochs_of_a_sender),
		cmocka_unit_test(test_dedup_limit_forget_and_export),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
