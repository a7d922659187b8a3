/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shm/pages.h"

#define BYTES ((size_t)1 << 20)
#define PAGE 4096u

/* Pages of a table, its first one apart, that are in memory. */
static unsigned resident(const uint8_t *pages)
{
	unsigned char in[BYTES / PAGE];
	uintptr_t from = ((uintptr_t)pages + PAGE) & ~(uintptr_t)(PAGE - 1);
	unsigned n = 0;

	assert_int_equal(mincore((void *)from, BYTES - PAGE, in), 0);
	for (size_t i = 0; i < BYTES / PAGE - 1; i++)
		n += in[i] & 1;
	return n;
}

/* Zero and not there, also when one of that size was used and freed before. */
static void test_pages_are_zero_and_not_touched(void **state)
{
	(void)state;
	assert_int_equal(sysconf(_SC_PAGESIZE), PAGE);
	for (unsigned turn = 0; turn < 4; turn++) {
		uint8_t *pages = praas_pages_new(BYTES);

		assert_non_null(pages);
		assert_int_equal((uintptr_t)pages % 64, 0);
		assert_int_equal(resident(pages), 0);
		for (size_t i = 0; i < BYTES; i += 511)
			assert_int_equal(pages[i], 0);
		memset(pages, 0xa5, BYTES);
		assert_int_equal(resident(pages), BYTES / PAGE - 1);
		praas_pages_free(pages);
	}
}

/* More than there can be is refused; nothing can be freed. */
static void test_pages_limits(void **state)
{
	void *pages = praas_pages_new(0);

	(void)state;
	assert_null(praas_pages_new(SIZE_MAX));
	assert_null(praas_pages_new(SIZE_MAX / 2));
	assert_non_null(pages);
	praas_pages_free(pages);
	praas_pages_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pages_are_zero_and_not_touched),
		cmocka_unit_test(test_pages_limits),
	};

	return cmocka_run_group_tests_name("pages", tests, NULL, NULL);
}
