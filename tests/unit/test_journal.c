/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/journal.h"

#define BYTES_MAX 4096u

static uint64_t size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* In a process of its own: what stdout and stderr are is changed for good. */
static int write_lines(const char *path, unsigned lines)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		int rc = praas_journal_file(path, BYTES_MAX);

		praas_journal_setup(7, 1);
		for (unsigned i = 0; rc == 0 && i < lines; i++)
			praas_journal(PRAAS_LOG_INFO, "line %u", i);
		(void)dprintf(STDOUT_FILENO, "by somebody else\n");
		_exit(rc == 0 ? 0 : 1);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

/* Files have the size given and not much more, there are four at most, the newest line is in the
 * newest, and what others write to stdout is there too. */
static void test_journal_turns_its_file(void **state)
{
	char dir[] = "/tmp/praas-journal-XXXXXX", path[64], old[80],
	     text[2 * BYTES_MAX];
	size_t n;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/1.log", dir);
	assert_int_equal(write_lines(path, 1000), 0);
	assert_in_range(size_of(path), 1, BYTES_MAX + 512);
	for (unsigned i = 1; i < PRAAS_JOURNAL_FILES_MAX; i++) {
		(void)snprintf(old, sizeof(old), "%s.%u", path, i);
		assert_in_range(size_of(old), BYTES_MAX, BYTES_MAX + 512);
	}
	(void)snprintf(old, sizeof(old), "%s.%u", path, PRAAS_JOURNAL_FILES_MAX);
	assert_int_equal(size_of(old), 0);
	f = fopen(path, "re");
	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	(void)fclose(f);
	text[n] = '\0';
	assert_non_null(strstr(text, "line 999"));
	assert_non_null(strstr(text, "by somebody else"));
	for (unsigned i = 0; i < PRAAS_JOURNAL_FILES_MAX; i++) {
		(void)snprintf(old, sizeof(old), i ? "%s.%u" : "%s", path, i);
		(void)unlink(old);
	}
	assert_int_equal(rmdir(dir), 0);
}

/* It goes on where it ended; a place that cannot be is an error, and words still come out. */
static void test_journal_appends_or_refuses(void **state)
{
	char dir[] = "/tmp/praas-journal-XXXXXX", path[64];
	uint64_t before;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/1.log", dir);
	assert_int_equal(write_lines(path, 3), 0);
	before = size_of(path);
	assert_int_equal(write_lines(path, 3), 0);
	assert_in_range(size_of(path), before + 100, BYTES_MAX);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(write_lines(path, 3), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_journal_turns_its_file),
		cmocka_unit_test(test_journal_appends_or_refuses),
	};

	return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
