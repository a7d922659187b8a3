/* SPDX-License-Identifier: Apache-2.0
 *
 * What the command line makes of words, settings and payloads, without any service.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/cli/cli.h"

static uint64_t number(enum praas_cli_kind kind, const char *text)
{
	const char *why = "";
	uint64_t value = 0;

	assert_int_equal(praas_cli_value(kind, NULL, text, &value, &why), 0);
	return value;
}

static void refused(enum praas_cli_kind kind, const char *arg, const char *text)
{
	const char *why = NULL;
	uint64_t value = 77;

	assert_int_equal(praas_cli_value(kind, arg, text, &value, &why), -EINVAL);
	assert_non_null(why);
	assert_true(value == 77); /* left as it was */
}

/* Sizes, times, counts and fractions: what is a number of that kind, and what is not.
 */
static void test_cli_value_numbers(void **state)
{
	(void)state;
	assert_true(number(PRAAS_CLI_SIZE, "0") == 0);
	assert_true(number(PRAAS_CLI_SIZE, "4096") == 4096);
	assert_true(number(PRAAS_CLI_SIZE, "64K") == 65536);
	assert_true(number(PRAAS_CLI_SIZE, "2G") == 2147483648u);
	assert_true(number(PRAAS_CLI_DURATION, "1500us") == 1500000);
	assert_true(number(PRAAS_CLI_DURATION, "2s") == 2000000000u);
	assert_true(number(PRAAS_CLI_DURATION, "2d") == 172800000000000u);
	assert_true(number(PRAAS_CLI_COUNT, "1") == 1);
	assert_true(number(PRAAS_CLI_MILLI, "1") == 1000);
	assert_true(number(PRAAS_CLI_MILLI, "0.5") == 500);
	assert_true(number(PRAAS_CLI_MILLI, "2.025") == 2025);
	for (const char *const *t =
		     (const char *const[]){ "", "-1", "+1", " 1", "1 ", "1k", "0x10",
					    "1.5M", "M", "1MM", "18446744073709551616",
					    "16777216T", NULL };
	     *t; t++)
		refused(PRAAS_CLI_SIZE, NULL, *t);
	for (const char *const *t = (const char *const[]){ "", "5", "-2s", "2 s", "1w",
							   "6000000h", NULL };
	     *t; t++)
		refused(PRAAS_CLI_DURATION, NULL, *t);
	refused(PRAAS_CLI_COUNT, NULL, "0");
	refused(PRAAS_CLI_COUNT, NULL, "1K");
	for (const char *const *t =
		     (const char *const[]){ "0", "0.0", ".5", "1.", "1.2345", "1e3",
					    "9999999", "1.-5", NULL };
	     *t; t++)
		refused(PRAAS_CLI_MILLI, NULL, *t);
}

/* Names, keys and choices. */
static void test_cli_value_texts(void **state)
{
	char key[PRAAS_KEY_MAX + 2];
	const char *value = NULL;
	const char *why = NULL;

	(void)state;
	memset(key, 'k', sizeof(key));
	key[sizeof(key) - 1] = '\0';
	refused(PRAAS_CLI_KEY, NULL, key);
	refused(PRAAS_CLI_KEY, NULL, "");
	assert_int_equal(praas_cli_value(PRAAS_CLI_KEY, NULL, key + 1, &value, &why),
			 0);
	assert_ptr_equal(value, key + 1);
	assert_int_equal(praas_cli_value(PRAAS_CLI_NAME, NULL, "a.B-9_", &value, &why),
			 0);
	for (const char *const *t = (const char *const[]){ "", ".", "..", "a/b", "a b",
							   "ä", "../x", "a%2f", NULL };
	     *t; t++)
		refused(PRAAS_CLI_NAME, NULL, *t);
	refused(PRAAS_CLI_NAME, NULL, key); /* longer than 64 */
	assert_int_equal(
		praas_cli_value(PRAAS_CLI_CHOICE, "shm|tcp", "tcp", &value, &why), 0);
	refused(PRAAS_CLI_CHOICE, "shm|tcp", "t");
	refused(PRAAS_CLI_CHOICE, "shm|tcp", "");
	refused(PRAAS_CLI_CHOICE, "shm|tcp", "shm|tcp");
}

/* Parses words as a verb does, in a child: a mistake ends the program. Returns its exit
 * code. */
static int parse_in_child(int argc, const char *const *words)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		struct praas_cli cli = { .command = "praas test verb" };
		const char *app = NULL;
		const char *pid_name = NULL;
		bool flag = false;
		uint64_t size = 0;
		static char copies[8][32];
		char *argv[9] = { NULL };
		const struct praas_cli_option options[] = {
			{ .kind = PRAAS_CLI_NAME, .value = &app, .arg = "APP" },
			{ .kind = PRAAS_CLI_NAME,
			  .value = &pid_name,
			  .arg = "PID",
			  .optional = true },
			{ .name = "flag", .key = 'f', .value = &flag, .help = "flag" },
			{ .name = "size",
			  .kind = PRAAS_CLI_SIZE,
			  .value = &size,
			  .arg = "SIZE",
			  .help = "size" },
			{ 0 },
		};

		for (int i = 0; i < argc && i < 8; i++) {
			(void)snprintf(copies[i], sizeof(copies[i]), "%s", words[i]);
			argv[i] = copies[i];
		}
		if (!freopen("/dev/null", "w", stderr) ||
		    !freopen("/dev/null", "w", stdout))
			_exit(99);
		praas_cli_parse(&cli, "Test.", options, argc, argv);
		_exit(app && cli.url ? 100 + (flag ? 1 : 0) + (size == 4096 ? 2 : 0) +
					       (pid_name ? 4 : 0)
				     : 99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Options and positions in any order; each mistake is wrong usage, exit 2; help is not.
 */
static void test_cli_parse_is_strict(void **state)
{
	(void)state;
	assert_int_equal(setenv("PRAAS_URL", "http://127.0.0.1:1", 1), 0);
	assert_int_equal(parse_in_child(2, (const char *const[]){ "v", "app" }), 100);
	assert_int_equal(
		parse_in_child(4, (const char *const[]){ "v", "-f", "app", "pid" }),
		105);
	assert_int_equal(parse_in_child(4, (const char *const[]){ "v", "app",
								  "--size=4K", "-f" }),
			 103);
	assert_int_equal(
		parse_in_child(3, (const char *const[]){ "v", "app", "--json" }), 100);
	assert_int_equal(parse_in_child(1, (const char *const[]){ "v" }), 2);
	assert_int_equal(parse_in_child(4, (const char *const[]){ "v", "a", "b", "c" }),
			 2);
	assert_int_equal(parse_in_child(3, (const char *const[]){ "v", "a", "--nope" }),
			 2);
	assert_int_equal(
		parse_in_child(3, (const char *const[]){ "v", "a", "--size=x" }), 2);
	assert_int_equal(parse_in_child(3, (const char *const[]){ "v", "a", "--size" }),
			 2);
	assert_int_equal(parse_in_child(2, (const char *const[]){ "v", "a/b" }), 2);
	assert_int_equal(parse_in_child(2, (const char *const[]){ "v", "--help" }), 0);
}

/* The section that is asked for, else the one that the file names; a line number for
 * nonsense. */
static void test_cli_settings_choose_a_context(void **state)
{
	static const char file[] =
		"# mine\n context = home \n\n[home]\nurl = http://a:1\n"
		"token=t1\r\n[far]\nurl=https://b\nca = /c.pem\n";
	struct praas_cli_context c = { NULL, NULL, NULL };
	unsigned line = 0;
	char text[256];

	(void)state;
	memcpy(text, file, sizeof(file));
	assert_int_equal(praas_cli_settings_parse(text, NULL, &c, &line), 0);
	assert_string_equal(c.url, "http://a:1");
	assert_string_equal(c.token, "t1");
	memcpy(text, file, sizeof(file));
	assert_int_equal(praas_cli_settings_parse(text, "far", &c, &line), 0);
	assert_string_equal(c.url, "https://b");
	assert_null(c.token);
	assert_string_equal(c.ca, "/c.pem");
	memcpy(text, file, sizeof(file));
	assert_int_equal(praas_cli_settings_parse(text, "gone", &c, &line), -ENOENT);
	memcpy(text, "url = x\n[a]\nurl\n", 17);
	assert_int_equal(praas_cli_settings_parse(text, "a", &c, &line), -EINVAL);
	assert_int_equal(line, 3);
	memcpy(text, "[a]\nuri = x\n", 13);
	assert_int_equal(praas_cli_settings_parse(text, "a", &c, &line), -EINVAL);
	assert_int_equal(line, 2);
}

static void expect_payload(const char *data, size_t bytes, const char *member,
			   const char *value)
{
	json_t *object = praas_cli_payload_json(data, bytes);

	assert_string_equal(json_string_value(json_object_get(object, member)), value);
	json_decref(object);
}

/* Text stays text; bytes that are none become base64 of every length. */
static void test_cli_payload_json(void **state)
{
	(void)state;
	expect_payload("", 0, "text", "");
	expect_payload("grüß", 6, "text", "grüß");
	expect_payload("\0", 1, "base64", "AA==");
	expect_payload("\xff\0", 2, "base64", "/wA=");
	expect_payload("\xff\xfe\xfd", 3, "base64", "//79");
}

/* Numbers for people. */
static void test_cli_texts_of_numbers(void **state)
{
	char text[16];

	(void)state;
	praas_cli_bytes_text(0, text);
	assert_string_equal(text, "0");
	praas_cli_bytes_text(1536, text);
	assert_string_equal(text, "1.5K");
	praas_cli_bytes_text(UINT64_MAX, text);
	assert_string_equal(text, "16777215T");
	praas_cli_ns_text(999, text);
	assert_string_equal(text, "999ns");
	praas_cli_ns_text(2000000000, text);
	assert_string_equal(text, "2s");
	praas_cli_ns_text(128500, text);
	assert_string_equal(text, "128us");
}

/* -d: text, a file, a missing file. */
static void test_cli_data(void **state)
{
	char path[] = "/tmp/praas-cli-XXXXXX";
	char spec[32];
	void *data = NULL;
	size_t bytes = 0;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "a\0b", 3), 3);
	assert_int_equal(close(fd), 0);
	(void)snprintf(spec, sizeof(spec), "@%s", path);
	assert_int_equal(praas_cli_data(spec, &data, &bytes), PRAAS_EXIT_DONE);
	assert_int_equal(bytes, 3);
	assert_memory_equal(data, "a\0b", 3);
	free(data);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(praas_cli_data(spec, &data, &bytes), PRAAS_EXIT_FAILED);
	assert_int_equal(praas_cli_data("x", &data, &bytes), PRAAS_EXIT_DONE);
	assert_int_equal(bytes, 1);
	free(data);
	assert_int_equal(praas_cli_data(NULL, &data, &bytes), PRAAS_EXIT_DONE);
	assert_int_equal(bytes, 0);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cli_value_numbers),
		cmocka_unit_test(test_cli_value_texts),
		cmocka_unit_test(test_cli_parse_is_strict),
		cmocka_unit_test(test_cli_settings_choose_a_context),
		cmocka_unit_test(test_cli_payload_json),
		cmocka_unit_test(test_cli_texts_of_numbers),
		cmocka_unit_test(test_cli_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
