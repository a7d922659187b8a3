/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/life/place.h"
#include "control/records/records.h"

static struct praas_place_candidate of(uint64_t number, enum praas_life_state state,
				       uint32_t load)
{
	return (struct praas_place_candidate){ .number = number,
					       .state = (uint8_t)state,
					       .load = load,
					       .concurrency = 2 };
}

/* Nothing serves: a process is made, swapped ones are not touched. */
static void test_place_nothing_serves_creates(void **state)
{
	struct praas_place_candidate c[] = { of(1, PRAAS_LIFE_SWAPPED, 0),
					     of(2, PRAAS_LIFE_KILLED, 0) };
	uint64_t number;

	(void)state;
	assert_int_equal(praas_place_invoke(c, 0, 4, 8, &number), PRAAS_PLACE_CREATE);
	assert_int_equal(praas_place_invoke(c, 2, 4, 8, &number), PRAAS_PLACE_CREATE);
}

/* Consolidation: the fullest one with a free worker. */
static void test_place_room_takes_the_fullest(void **state)
{
	struct praas_place_candidate c[] = { of(1, PRAAS_LIFE_ACTIVE, 0),
					     of(2, PRAAS_LIFE_ACTIVE, 1),
					     of(3, PRAAS_LIFE_ACTIVE, 2) };
	uint64_t number = 0;

	(void)state;
	assert_int_equal(praas_place_invoke(c, 3, 4, 8, &number), PRAAS_PLACE_USE);
	assert_int_equal(number, 2);
}

/* On a node that is drained it gets what no other has room for, and no other has to be made. */
static void test_place_drained_is_the_last(void **state)
{
	struct praas_place_candidate c[] = { of(1, PRAAS_LIFE_ACTIVE, 1),
					     of(2, PRAAS_LIFE_ACTIVE, 0),
					     of(3, PRAAS_LIFE_ACTIVATING, 1) };
	uint64_t number = 0;

	(void)state;
	c[0].leaves = true;
	assert_int_equal(praas_place_invoke(c, 3, 4, 8, &number), PRAAS_PLACE_USE);
	assert_int_equal(number, 2);
	c[1].load = 2;
	assert_int_equal(praas_place_invoke(c, 3, 4, 8, &number), PRAAS_PLACE_USE);
	assert_int_equal(number, 1);
	c[0].load = 3;
	c[1].load = 9;
	c[2].load = 9;
	assert_int_equal(praas_place_invoke(c, 3, 3, 8, &number), PRAAS_PLACE_USE);
	assert_int_equal(number, 1);
}

/* One that is starting is better than one more. */
static void test_place_starting_is_used_before_creating(void **state)
{
	struct praas_place_candidate c[] = { of(1, PRAAS_LIFE_ACTIVE, 5),
					     of(2, PRAAS_LIFE_ACTIVATING, 1) };
	uint64_t number = 0;

	(void)state;
	assert_int_equal(praas_place_invoke(c, 2, 4, 8, &number), PRAAS_PLACE_USE);
	assert_int_equal(number, 2);
}

/* At the limit the shortest queue gets it, until all are full. */
static void test_place_limit_queues_then_refuses(void **state)
{
	struct praas_place_candidate c[] = { of(1, PRAAS_LIFE_ACTIVE, 7),
					     of(2, PRAAS_LIFE_ACTIVE, 4) };
	uint64_t number = 0;

	(void)state;
	assert_int_equal(praas_place_invoke(c, 2, 2, 8, &number), PRAAS_PLACE_USE);
	assert_int_equal(number, 2);
	c[0].load = c[1].load = 10;
	assert_int_equal(praas_place_invoke(c, 2, 2, 8, &number), PRAAS_PLACE_FULL);
	assert_int_equal(praas_place_invoke(c, 2, 3, 8, &number), PRAAS_PLACE_CREATE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_place_nothing_serves_creates),
		cmocka_unit_test(test_place_room_takes_the_fullest),
		cmocka_unit_test(test_place_drained_is_the_last),
		cmocka_unit_test(test_place_starting_is_used_before_creating),
		cmocka_unit_test(test_place_limit_queues_then_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
