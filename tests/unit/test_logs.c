/* SPDX-License-Identifier: Apache-2.0 */
#include "control/node/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* Reading a log that is written and rotated meanwhile. */

static char folder[64];

static void path_of(const char *name, char ret_path[128])
{
	(void)snprintf(ret_path, 128, "%s/%s", folder, name);
}

static void add(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	path_of(name, path);
	f = fopen(path, "ae");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void expect(struct praas_logs_cursor *cursor, size_t max, const char *wanted)
{
	char *text;
	size_t bytes;

	assert_int_equal(praas_logs_read(folder, 7, 10, max, cursor, &text, &bytes), 0);
	assert_string_equal(text, wanted);
	assert_int_equal(bytes, strlen(wanted));
	free(text);
}

static int setup(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/praas-logs-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf -- %s", folder);
	return system(command); /* NOLINT(cert-env33-c,concurrency-mt-unsafe): a test */
}

/* None yet: nothing; then the last bytes from the start of a line; then what is added, whole
 * lines only. */
static void test_logs_go_on(void **state)
{
	struct praas_logs_cursor c = { 0 };

	(void)state;
	expect(&c, 100, "");
	add("7.log", "first line\nsecond\nthird\n");
	expect(&c, 100, "third\n");
	expect(&c, 100, "");
	add("7.log", "half of");
	expect(&c, 100, "");
	add("7.log", " it\nmore\n");
	expect(&c, 12, "half of it\n");
	expect(&c, 100, "more\n");
	/* A line that is longer than all that may be sent comes in pieces. */
	add("7.log", "0123456789\n");
	expect(&c, 4, "0123");
	expect(&c, 100, "456789\n");
}

/* A file that changes its name loses nothing; one that is gone begins with the oldest there is. */
static void test_logs_are_rotated(void **state)
{
	struct praas_logs_cursor c = { 0 };
	char from[128], to[128];

	(void)state;
	add("7.log", "one\n");
	expect(&c, 100, "one\n");
	add("7.log", "two\n");
	path_of("7.log", from);
	path_of("7.log.1", to);
	assert_int_equal(rename(from, to), 0);
	add("7.log", "three\n");
	expect(&c, 100, "two\n");
	expect(&c, 100, "three\n");
	assert_int_equal(rename(from, to), 0);
	add("7.log", "four\n");
	assert_int_equal(rename(from, to), 0);
	add("7.log", "five\n");
	expect(&c, 100, "five\n");
}

/* Only files of that name are read. */
static void test_logs_refuse_what_is_no_file(void **state)
{
	struct praas_logs_cursor c = { 0 };
	char path[128], *text;
	size_t bytes;

	(void)state;
	path_of("7.log", path);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(praas_logs_read(folder, 7, 10, 100, &c, &text, &bytes),
			 -ELOOP);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(praas_logs_read(folder, 7, 10, 100, &c, &text, &bytes), -EIO);
}

/* A cursor is read as it was written, and nothing else is one. */
static void test_logs_cursors(void **state)
{
	static const char *const wrong[] = { "",
					     "-",
					     "1",
					     "1-",
					     "-1",
					     "g-1",
					     "1-1-",
					     "1-1 ",
					     "A-1",
					     "11111111111111111-1",
					     "1-11111111111111111" };
	struct praas_logs_cursor c = { .file = UINT64_MAX, .offset = 16 }, back;
	char text[PRAAS_LOGS_CURSOR_BYTES];

	(void)state;
	praas_logs_cursor_text(&c, text);
	assert_int_equal(praas_logs_cursor_parse(text, &back), 0);
	assert_int_equal(back.file, c.file);
	assert_int_equal(back.offset, 16);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(praas_logs_cursor_parse(wrong[i], &back), -EINVAL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_logs_go_on),
		TEST(test_logs_are_rotated),
		TEST(test_logs_refuse_what_is_no_file),
		TEST(test_logs_cursors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
