/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "control/node/ready.h"

static int32_t next_pid;

/* Does what is said until it is enough; returns how many were ended. */
static uint32_t settle(struct praas_ready *r)
{
	struct praas_ready_one one;
	uint32_t ended = 0, place;

	for (unsigned turn = 0; turn < 3 * PRAAS_READY_MAX; turn++) {
		switch (praas_ready_next(r, &one, &place)) {
		case PRAAS_READY_ENOUGH:
			return ended;
		case PRAAS_READY_MAKE:
			one.os_pid = ++next_pid;
			praas_ready_made(r, place, &one);
			break;
		case PRAAS_READY_END:
			free(one.shape);
			ended++;
			break;
		}
	}
	fail_msg("it does not settle");
	return 0;
}

static uint32_t count(const struct praas_ready *r, const char *shape)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < PRAAS_READY_MAX; i++) {
		const struct praas_ready_one *o = &r->one[i];

		if (o->used && o->shape && shape)
			n += strcmp(o->shape, shape) == 0;
		else if (o->used)
			n += !o->shape && !shape;
	}
	return n;
}

static void end(struct praas_ready *r)
{
	struct praas_ready_one one;

	while (praas_ready_drain(r, &one))
		free(one.shape);
	praas_ready_release(r);
}

/* Without a capacity nothing is made, whatever is used. */
static void test_ready_none_wanted(void **state)
{
	struct praas_ready r = { 0 };
	struct praas_ready_one one;

	(void)state;
	assert_int_equal(settle(&r), 0);
	assert_int_equal(praas_ready_note(&r, "a"), 0);
	assert_int_equal(settle(&r), 0);
	assert_int_equal(praas_ready_count(&r), 0);
	assert_false(praas_ready_take(&r, "a", &one));
	end(&r);
}

/* Before an application is known: for none. Each serves once. */
static void test_ready_blank_is_for_whoever_comes(void **state)
{
	struct praas_ready r = { .capacity = 2 };
	struct praas_ready_one one;

	(void)state;
	assert_int_equal(settle(&r), 0);
	assert_int_equal(count(&r, NULL), 2);
	assert_true(praas_ready_take(&r, "a", &one));
	assert_null(one.shape);
	assert_true(praas_ready_take(&r, "b", &one));
	assert_false(praas_ready_take(&r, "a", &one));
	end(&r);
}

/* The capacity is shared by what was used last; the last one has what is left over; what is not
 * used any more goes, the blank ones too. */
static void test_ready_is_shared_by_recent_shapes(void **state)
{
	struct praas_ready r = { .capacity = 5 };
	struct praas_ready_one one;

	(void)state;
	assert_int_equal(settle(&r), 0);
	assert_int_equal(praas_ready_note(&r, "a"), 0);
	assert_int_equal(settle(&r), 5);
	assert_int_equal(count(&r, "a"), 5);
	assert_int_equal(praas_ready_note(&r, "b"), 0);
	assert_int_equal(settle(&r), 3);
	assert_int_equal(count(&r, "a"), 2);
	assert_int_equal(count(&r, "b"), 3);
	assert_int_equal(praas_ready_note(&r, "a"), 0);
	assert_int_equal(settle(&r), 1);
	assert_int_equal(count(&r, "a"), 3);
	assert_true(praas_ready_take(&r, "a", &one));
	assert_string_equal(one.shape, "a");
	free(one.shape);
	assert_false(praas_ready_take(&r, "c", &one)); /* never one of another */
	end(&r);
}

/* More shapes than places, and than are remembered. */
static void test_ready_old_shapes_are_forgotten(void **state)
{
	struct praas_ready r = { .capacity = 3 };
	struct praas_ready_one one;
	char name[] = "a";

	(void)state;
	for (; name[0] < 'a' + 2 * (char)PRAAS_READY_SHAPES; name[0]++) {
		assert_int_equal(praas_ready_note(&r, name), 0);
		(void)settle(&r);
		assert_int_equal(praas_ready_count(&r), 3);
		assert_int_equal(count(&r, name),
				 1 + (name[0] == 'a' ? 2 : name[0] == 'b'));
	}
	assert_false(praas_ready_take(&r, "a", &one));
	end(&r);
}

/* One that is being made counts, and is not there yet; one that cannot be made leaves its place. */
static void test_ready_being_made(void **state)
{
	struct praas_ready r = { .capacity = 1 };
	struct praas_ready_one one, other;
	uint32_t place, place2;

	(void)state;
	assert_int_equal(praas_ready_note(&r, "a"), 0);
	assert_int_equal(praas_ready_next(&r, &one, &place), PRAAS_READY_MAKE);
	assert_int_equal(praas_ready_next(&r, &other, &place2), PRAAS_READY_ENOUGH);
	assert_false(praas_ready_take(&r, "a", &other));
	assert_int_equal(praas_ready_count(&r), 0);
	free(one.shape);
	praas_ready_made(&r, place, NULL);
	assert_int_equal(praas_ready_next(&r, &one, &place), PRAAS_READY_MAKE);
	one.os_pid = 7;
	praas_ready_made(&r, place, &one);
	assert_int_equal(praas_ready_count(&r), 1);
	end(&r);
}

/* Who was made last may not be done with itself: each is taken in its turn, whatever place it has. */
static void test_ready_oldest_goes_first(void **state)
{
	struct praas_ready r = { .capacity = 2 };
	struct praas_ready_one one;
	int32_t first;

	(void)state;
	assert_int_equal(praas_ready_note(&r, "a"), 0);
	assert_int_equal(settle(&r), 0);
	first = next_pid - 1;
	for (int32_t i = 0; i < 5; i++) {
		assert_true(praas_ready_take(&r, "a", &one));
		assert_int_equal(one.os_pid, first + i);
		free(one.shape);
		assert_int_equal(settle(&r), 0);
	}
	end(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ready_none_wanted),
		cmocka_unit_test(test_ready_blank_is_for_whoever_comes),
		cmocka_unit_test(test_ready_is_shared_by_recent_shapes),
		cmocka_unit_test(test_ready_old_shapes_are_forgotten),
		cmocka_unit_test(test_ready_being_made),
		cmocka_unit_test(test_ready_oldest_goes_first),
	};

	return cmocka_run_group_tests_name("ready", tests, NULL, NULL);
}
