/* SPDX-License-Identifier: Apache-2.0
 *
 * The audit log: lines that stay lines whatever is written, files that are renamed in time.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "control/tenants/audit.h"

struct fixture {
	char dir[64], file[128];
	struct praas_audit *audit;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct praas_audit_config config = { .bytes_max = 4096, .files_max = 3 };

	strcpy(f->dir, "/tmp/praas-audit-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	(void)snprintf(f->file, sizeof(f->file), "%s/audit", f->dir);
	config.file = f->file;
	*state = f;
	return praas_audit_open(&config, &f->audit);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	praas_audit_close(f->audit);
	(void)snprintf(command, sizeof(command), "rm -r %s", f->dir);
	if (system(command)) /* our own folder */
		return -1;
	free(f);
	return 0;
}

/* Reads every line of a file as JSON; returns how many. */
static unsigned lines_of(const char *file, json_t **ret_last)
{
	char line[4096];
	unsigned n = 0;
	FILE *f = fopen(file, "r");

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		json_t *one = json_loads(line, JSON_REJECT_DUPLICATES, NULL);

		if (!one)
			fail_msg("not JSON: %s", line);
		json_decref(*ret_last);
		*ret_last = one;
		n++;
	}
	(void)fclose(f);
	return n;
}

static const char *text_of(const json_t *line, const char *member)
{
	return json_string_value(json_object_get(line, member));
}

/* What it is told is what it says; what it is not told is not there. */
static void test_audit_says_who_and_what(void **state)
{
	struct fixture *f = *state;
	struct praas_audit_entry e = { .key = "k1",
				       .tenant = "t",
				       .method = "POST",
				       .route = "/v1/apps/{app}",
				       .app = "a",
				       .pid = "",
				       .status = 409,
				       .code = "exists",
				       .ns = 1500000 };
	json_t *line = NULL;
	struct stat st;

	praas_audit_write(f->audit, &e);
	assert_int_equal(lines_of(f->file, &line), 1);
	assert_string_equal(text_of(line, "key"), "k1");
	assert_string_equal(text_of(line, "tenant"), "t");
	assert_string_equal(text_of(line, "route"), "/v1/apps/{app}");
	assert_string_equal(text_of(line, "code"), "exists");
	assert_int_equal(json_integer_value(json_object_get(line, "status")), 409);
	assert_int_equal(json_integer_value(json_object_get(line, "us")), 1500);
	assert_int_equal(strlen(text_of(line, "time")),
			 strlen("2026-01-01T00:00:00.000Z"));
	assert_null(json_object_get(line, "pid"));
	assert_null(json_object_get(line, "from"));
	json_decref(line);
	assert_int_equal(stat(f->file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

/* No text ends a string or a line, and none is without end. */
static void test_audit_hostile_text_stays_one_line(void **state)
{
	struct fixture *f = *state;
	char longest[5000];
	struct praas_audit_entry e = { .app = "\"}\n{\"key\":\"admin\"",
				       .pid = "\\\t\x01\xff\xc3",
				       .route = longest,
				       .id = longest,
				       .from = longest,
				       .key = longest,
				       .tenant = longest,
				       .code = longest,
				       .method = longest,
				       .trace = longest };
	json_t *line = NULL;

	memset(longest, '\n', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	praas_audit_write(f->audit, &e);
	e = (struct praas_audit_entry){ .app = "\"}\n{\"key\":\"admin\"",
					.pid = "\\\t\x01\xff\xc3" };
	praas_audit_write(f->audit, &e);
	(void)lines_of(f->file, &line);
	assert_string_equal(text_of(line, "app"), "\"}\n{\"key\":\"admin\"");
	assert_null(text_of(line, "key"));
	json_decref(line);
}

/* A file that is full becomes .1, that .2, the last goes; no line is lost of those that are kept. */
static void test_audit_rotates(void **state)
{
	struct fixture *f = *state;
	struct praas_audit_entry e = { .app = "a", .status = 200 };
	char file[160];
	json_t *line = NULL;
	struct stat st;
	unsigned n = 0;

	for (unsigned i = 0; i < 1000; i++)
		praas_audit_write(f->audit, &e);
	for (unsigned i = 0; i <= 3; i++) {
		(void)snprintf(file, sizeof(file), i ? "%s.%u" : "%s", f->file, i);
		assert_int_equal(stat(file, &st), 0);
		assert_in_range(st.st_size, 1, 4096);
		assert_true(i == 0 || st.st_size > 4096 - 200);
		n += lines_of(file, &line);
	}
	assert_true(n > 100);
	(void)snprintf(file, sizeof(file), "%s.4", f->file);
	assert_int_equal(access(file, F_OK), -1);
	json_decref(line);
	assert_int_equal(praas_audit_failures(f->audit), 0);
}

/* Lines that wait for others are written together, whole and in their order; when there is no room for
 * another one, without being asked. */
static void test_audit_lines_together(void **state)
{
	struct fixture *f = *state;
	struct praas_audit_entry e = { .app = "a", .status = 200 };
	static struct praas_audit_lines lines;
	json_t *line = NULL;
	unsigned n = 0;

	for (unsigned i = 0; i < 3; i++)
		praas_audit_add(f->audit, &lines, &e);
	assert_int_equal(lines_of(f->file, &line), 0);
	praas_audit_flush(f->audit, &lines);
	praas_audit_flush(f->audit, &lines); /* nothing */
	assert_int_equal(lines_of(f->file, &line), 3);
	assert_string_equal(json_string_value(json_object_get(line, "app")), "a");
	assert_int_equal(lines.count, 0);
	do {
		praas_audit_add(f->audit, &lines, &e);
		n++;
	} while (lines.count > 0 && n < 10000);
	assert_true(n > 10 && n < 10000);
	json_decref(line);
	assert_int_equal(praas_audit_failures(f->audit), 0);
}

/* A disk that is full: counted, and it goes on when there is room. */
static void test_audit_failures_counted(void **state)
{
	struct praas_audit_config config = { .file = "/dev/full" };
	struct praas_audit_entry e = { .app = "a" };
	static struct praas_audit_lines lines;
	struct praas_audit *full;

	(void)state;
	assert_int_equal(praas_audit_open(&config, &full), 0);
	praas_audit_write(full, &e);
	praas_audit_write(full, &e);
	assert_int_equal(praas_audit_failures(full), 2);
	for (unsigned i = 0; i < 3; i++)
		praas_audit_add(full, &lines, &e);
	praas_audit_flush(full, &lines);
	assert_int_equal(praas_audit_failures(full), 5);
	praas_audit_close(full);
	config.file = "/none/audit";
	assert_int_equal(praas_audit_open(&config, &full), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_audit_says_who_and_what, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_audit_hostile_text_stays_one_line,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_audit_rotates, setup, teardown),
		cmocka_unit_test_setup_teardown(test_audit_lines_together, setup,
						teardown),
		cmocka_unit_test(test_audit_failures_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
