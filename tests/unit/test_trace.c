/* SPDX-License-Identifier: Apache-2.0 */
#include "control/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define GOOD "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

/* What came is continued: same trace and flags, a span of our own, told in the same form. */
static void test_trace_is_continued(void **state)
{
	char text[PRAAS_TRACEPARENT_BYTES];
	struct praas_trace one, two;

	(void)state;
	praas_trace_begin(GOOD, &one);
	praas_trace_text(&one, text);
	assert_int_equal(strlen(text), strlen(GOOD));
	assert_memory_equal(text, GOOD, 36);
	assert_memory_not_equal(text + 36, GOOD + 36, 16);
	assert_string_equal(text + 52, "-01");
	praas_trace_begin(text, &two);
	assert_memory_equal(one.id, two.id, sizeof(one.id));
	assert_memory_not_equal(one.span, two.span, sizeof(one.span));
	/* A version to come may have more behind. */
	praas_trace_begin(
		"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-what", &one);
	assert_memory_equal(one.id, two.id, sizeof(one.id));
	assert_int_equal(one.flags, 0);
}

/* What is not of the form begins a trace of its own, each time another. */
static void test_trace_begins_anew(void **state)
{
	static const char *const wrong[] = {
		NULL,
		"",
		"00",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01",
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
		"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
		"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"00-0af7651916cd43dd8448eb211c80319cx-7ad6b7169203331-01",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
	};
	struct praas_trace given, before, now;

	(void)state;
	praas_trace_begin(GOOD, &given);
	praas_trace_begin(NULL, &before);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		praas_trace_begin(wrong[i], &now);
		assert_memory_not_equal(now.id, given.id, sizeof(now.id));
		assert_memory_not_equal(now.id, before.id, sizeof(now.id));
		assert_int_equal(now.flags, 0);
		before = now;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trace_is_continued),
		cmocka_unit_test(test_trace_begins_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
