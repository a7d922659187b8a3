/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/counters.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Counters in a segment: names, groups, limits, and a hostile writer. */

static struct praas_segment segment;
static struct praas_counters_shared *shared;

static int setup(void **state)
{
	(void)state;
	if (praas_segment_create("counters", 16384, 1, 0, &segment) != 0)
		return -1;
	shared = praas_counters_at(&segment, 4096);
	return shared ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	praas_segment_release(&segment);
	return 0;
}

/* What is counted is read under its name; groups begin on a cache line, gaps have no
 * name. */
static void test_counters_count_under_their_names(void **state)
{
	struct praas_counter a, b;
	char name[PRAAS_COUNTER_NAME_BYTES];
	uint64_t value;

	(void)state;
	assert_int_equal(praas_counters_count(shared), 0);
	assert_int_equal(praas_counter_add(shared, "calls", false, &a), 0);
	assert_int_equal(
		praas_counter_add(shared, "a_name_of_thirty_one_characters", true, &b),
		0);
	assert_int_equal((uintptr_t)b.value % 64, 0);
	praas_counter_count(a, 3);
	praas_counter_count(a, 4);
	praas_counter_set(b, 99);
	assert_int_equal(praas_counters_count(shared), 9);
	assert_int_equal(praas_counters_read(shared, 0, name, &value), 0);
	assert_string_equal(name, "calls");
	assert_int_equal(value, 7);
	assert_int_equal(praas_counters_read(shared, 5, name, &value), -ENOENT);
	assert_int_equal(praas_counters_read(shared, 8, name, &value), 0);
	assert_string_equal(name, "a_name_of_thirty_one_characters");
	assert_int_equal(value, 99);
}

/* Each limit has its error. */
static void test_counters_limits(void **state)
{
	struct praas_counter c;
	char name[16];

	(void)state;
	assert_int_equal(praas_counter_add(shared, "", false, &c), -EINVAL);
	assert_int_equal(praas_counter_add(shared, "a_name_of_thirty_two_characters_",
					   false, &c),
			 -EINVAL);
	for (unsigned i = 0; i < PRAAS_COUNTERS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "c%u", i);
		assert_int_equal(praas_counter_add(shared, name, false, &c), 0);
	}
	assert_int_equal(praas_counter_add(shared, "more", false, &c), -ENOBUFS);
	assert_int_equal(praas_counters_count(shared), PRAAS_COUNTERS_MAX);
	assert_null(praas_counters_at(&segment, 4097));
	assert_null(praas_counters_at(&segment, 8192));
	assert_null(praas_counters_at(&segment, UINT64_MAX - 63));
}

/* A writer may say any count and any name: the reader stays inside and prints no
 * control bytes. */
static void test_counters_hostile_writer(void **state)
{
	char name[PRAAS_COUNTER_NAME_BYTES];
	uint64_t value;

	(void)state;
	atomic_store(&shared->count, UINT64_MAX);
	assert_int_equal(praas_counters_count(shared), PRAAS_COUNTERS_MAX);
	for (unsigned i = 0; i < PRAAS_COUNTER_NAME_BYTES / 8; i++)
		atomic_store(&shared->name[255][i], 0xff0a1b2041424344ull);
	assert_int_equal(praas_counters_read(shared, 255, name, &value), 0);
	assert_int_equal(strlen(name), PRAAS_COUNTER_NAME_BYTES - 1);
	for (char *c = name; *c; c++)
		assert_true(*c > 0x20 && *c < 0x7f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_counters_count_under_their_names),
		TEST(test_counters_limits),
		TEST(test_counters_hostile_writer),
	};

	return cmocka_run_group_tests_name("counters", tests, NULL, NULL);
}
