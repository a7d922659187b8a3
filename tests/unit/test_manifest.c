/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/manifest.h"

static int parse(const char *text, struct praas_manifest *ret, char *error)
{
	return praas_manifest_parse(text, strlen(text), "/code", ret, error);
}

/* The example of the header, and everything that may be left out. */
static void test_manifest_reads_what_it_may_hold(void **state)
{
	static const char text[] = "{\"description\": \"d\", \"functions\": {"
				   " \"reduce\": {\"library\": \"sub/libreduce.so\", "
				   "\"symbol\": \"reduce_it\","
				   "  \"trigger\": {\"type\": \"multi-source\", "
				   "\"count\": 4, \"timeout_ms\": 1000},"
				   "  \"concurrency\": \"serial\"},"
				   " \"echo\": {\"library\": \"libecho.so\"}}}";
	struct praas_manifest m = { 0 };
	char error[PRAAS_JSON_ERROR_MAX];

	(void)state;
	assert_int_equal(parse(text, &m, error), 0);
	assert_int_equal(m.count, 2);
	assert_string_equal(m.functions[0].name, "echo");
	assert_string_equal(m.functions[0].symbol, "echo");
	assert_string_equal(m.functions[0].library, "/code/libecho.so");
	assert_int_equal(m.functions[0].trigger, PRAAS_TRIGGER_STANDARD);
	assert_int_equal(m.functions[0].concurrency, PRAAS_PARALLEL);
	assert_string_equal(m.functions[1].symbol, "reduce_it");
	assert_int_equal(m.functions[1].trigger, PRAAS_TRIGGER_MULTI_SOURCE);
	assert_int_equal(m.functions[1].trigger_count, 4);
	assert_int_equal(m.functions[1].trigger_timeout_ns, 1000000000);
	assert_int_equal(m.functions[1].concurrency, PRAAS_SERIAL);
	praas_manifest_release(&m);
}

/* Names of what follows become the numbers that the sorted functions have. */
static void test_manifest_then(void **state)
{
	static const char text[] = "{\"functions\": {"
				   "\"c\": {\"library\": \"l.so\", \"then\": \"a\"},"
				   "\"b\": {\"library\": \"l.so\", \"then\": \"c\"},"
				   "\"a\": {\"library\": \"l.so\"}}}";
	struct praas_manifest m = { 0 };
	char error[PRAAS_JSON_ERROR_MAX];

	(void)state;
	assert_int_equal(parse(text, &m, error), 0);
	assert_int_equal(m.functions[0].then, 0);
	assert_int_equal(m.functions[1].then, 3);
	assert_int_equal(m.functions[2].then, 1);
	praas_manifest_release(&m);
}

/* In another process, whose name is kept as it is. */
static void test_manifest_then_away(void **state)
{
	static const char text[] =
		"{\"functions\": {"
		"\"a\": {\"library\": \"l.so\", \"then\": {\"function\": \"b\", "
		"\"process\": \"p-1.x\", \"description\": \"d\"}},"
		"\"b\": {\"library\": \"l.so\", \"then\": \"c\"},"
		"\"c\": {\"library\": \"l.so\", \"then\": \"\"}}}";
	struct praas_manifest m = { 0 };
	char error[PRAAS_JSON_ERROR_MAX];

	(void)state;
	assert_int_equal(parse(text, &m, error), 0);
	assert_int_equal(m.functions[0].then, 2);
	assert_string_equal(m.functions[0].then_process, "p-1.x");
	assert_false(praas_function_plain(&m.functions[0]));
	assert_int_equal(m.functions[1].then, 3);
	assert_string_equal(m.functions[1].then_process, "");
	assert_int_equal(m.functions[2].then, 0);
	praas_manifest_release(&m);
}

/* Sixteen functions one after the other, and no more. */
static void test_manifest_stages_limit(void **state)
{
	char error[PRAAS_JSON_ERROR_MAX];

	(void)state;
	for (int count = PRAAS_MANIFEST_STAGES_MAX;
	     count <= (int)PRAAS_MANIFEST_STAGES_MAX + 1; count++) {
		struct praas_manifest m = { 0 };
		char text[4096];
		int at = snprintf(text, sizeof(text), "{\"functions\": {");

		for (int i = 1; i < count; i++)
			at += snprintf(text + at, sizeof(text) - (size_t)at,
				       "\"f%d\": {\"library\": \"l\", \"then\": "
				       "\"f%d\"},",
				       i, i + 1);
		(void)snprintf(text + at, sizeof(text) - (size_t)at,
			       "\"f%d\": {\"library\": \"l\"}}}", count);
		if (count == (int)PRAAS_MANIFEST_STAGES_MAX) {
			assert_int_equal(parse(text, &m, error), 0);
			praas_manifest_release(&m);
		} else {
			assert_int_equal(parse(text, &m, error), -EINVAL);
			assert_non_null(strstr(error, "f1.then: leads in a circle"));
		}
	}
}

/* What is wrong, and what the error must say. */
static const struct {
	const char *text, *says;
} mistakes[] = {
	{ "", "line" },
	{ "[]", "object" },
	{ "{}", "functions" },
	{ "{\"functions\": {}}", "1 to" },
	{ "{\"functions\": []}", "functions" },
	{ "{\"functions\": {\"f\": {}}}", "functions.f.library: is missing" },
	{ "{\"functions\": {\"f\": 3}}", "object" },
	{ "{\"functions\": {\"f\": {\"library\": 3}}}", "must be a string" },
	{ "{\"functions\": {\"f\": {\"library\": \"/abs\"}}}", "inside" },
	{ "{\"functions\": {\"f\": {\"library\": \"../x\"}}}", "inside" },
	{ "{\"functions\": {\"f\": {\"library\": \"a/../../x\"}}}", "inside" },
	{ "{\"functions\": {\"f\": {\"library\": \"a/..\"}}}", "inside" },
	{ "{\"functions\": {\"f\": {\"library\": \"a//b\"}}}", "inside" },
	{ "{\"functions\": {\"f\": {\"library\": \"\"}}}", "inside" },
	{ "{\"functions\": {\"..\": {\"library\": \"a\"}}}", "name" },
	{ "{\"functions\": {\"a b\": {\"library\": \"a\"}}}", "name" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"symbol\": \"1a\"}}}", "C" },
	{ "{\"functions\": {\"f-g\": {\"library\": \"a\"}}}", "C" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"symbl\": \"x\"}}}", "known" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\"}}, \"x\": 1}", "known" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"library\": \"b\"}}}",
	  "duplicate" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"concurrency\": "
	  "\"no\"}}}",
	  "concurrency" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"then\": \"g\"}}}",
	  "functions.f.then: there is no function g" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"then\": 1}}}", "string" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"then\": \"f\"}}}",
	  "functions.f.then: leads in a circle" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"then\": \"g\"},"
	  " \"g\": {\"library\": \"a\", \"then\": \"f\"}}}",
	  "leads in a circle" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"then\": "
	  "[\"g\"]}, \"g\": {\"library\": \"a\"}}}",
	  "functions.f.then: must be a string or an object" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"then\": "
	  "true}, \"g\": {\"library\": \"a\"}}}",
	  "must be a string or an object" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"then\": "
	  "{}}, \"g\": {\"library\": \"a\"}}}",
	  "functions.f.then.function: is missing" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"then\": "
	  "{\"function\": \"g\"}}, \"g\": {\"library\": \"a\"}}}",
	  "functions.f.then.process: is missing" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"then\": "
	  "{\"process\": \"p\"}}, \"g\": {\"library\": \"a\"}}}",
	  "functions.f.then.function: is missing" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"then\": "
	  "{\"function\": \"\", \"process\": \"p\"}}, \"g\": {\"library\": \"a\"}}}",
	  "then.function: must be the name" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"then\": "
	  "{\"function\": 1, \"process\": \"p\"}}, \"g\": {\"library\": \"a\"}}}",
	  "then.function: must be a string" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"then\": "
	  "{\"function\": \"g\", \"process\": 7}}, \"g\": {\"library\": \"a\"}}}",
	  "then.process: must be a string" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"then\": "
	  "{\"function\": \"g\", \"process\": \"\"}}, \"g\": {\"library\": \"a\"}}}",
	  "then.process: is no name of a process" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"then\": "
	  "{\"function\": \"g\", \"process\": \"a/b\"}}, \"g\": {\"library\": \"a\"}}}",
	  "then.process: is no name of a process" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"then\": "
	  "{\"function\": \"g\", \"process\": \"..\"}}, \"g\": {\"library\": \"a\"}}}",
	  "then.process: is no name of a process" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"then\": "
	  "{\"function\": \"g\", \"process\": \"p\", \"node\": \"n\"}}, \"g\": "
	  "{\"library\": \"a\"}}}",
	  "known" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"then\": "
	  "{\"function\": \"h\", \"process\": \"p\"}}, \"g\": {\"library\": \"a\"}}}",
	  "functions.f.then: there is no function h" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"then\": "
	  "{\"function\": \"f\", \"process\": \"p\"}}, \"g\": {\"library\": \"a\"}}}",
	  "functions.f.then: leads in a circle" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"trigger\": {}}}}", "type" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"trigger\": "
	  "{\"type\": "
	  "\"batch\"}}}}",
	  "count: is missing" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"trigger\": "
	  "{\"type\": "
	  "\"batch\", \"count\": 257}}}}",
	  "from 1 to 256" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"trigger\": "
	  "{\"type\": "
	  "\"batch\", \"count\": -1}}}}",
	  "from 1 to 256" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"trigger\": "
	  "{\"type\": "
	  "\"batch\", \"count\": 2, \"timeout_ms\": 1.5}}}}",
	  "timeout_ms" },
	{ "{\"functions\": {\"f\": {\"library\": \"a\", \"trigger\": "
	  "{\"type\": "
	  "\"standard\", \"count\": 2}}}}",
	  "known" },
};

/* Each mistake is refused and named. */
static void test_manifest_mistakes_are_named(void **state)
{
	char error[PRAAS_JSON_ERROR_MAX];
	struct praas_manifest m;

	(void)state;
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(*mistakes); i++) {
		assert_int_equal(parse(mistakes[i].text, &m, error), -EINVAL);
		if (!strstr(error, mistakes[i].says))
			fail_msg("%s gave: %s", mistakes[i].text, error);
	}
}

/* A folder without a manifest says which file is missing. */
static void test_manifest_missing_file_is_named(void **state)
{
	char error[PRAAS_JSON_ERROR_MAX];
	struct praas_manifest m;

	(void)state;
	assert_int_equal(praas_manifest_load("/nonexistent", &m, error), -EINVAL);
	assert_non_null(strstr(error, "/nonexistent/praas.json"));
}

/* A pipe that nobody writes to, where a file should be, holds nobody up. */
static void test_manifest_pipe_is_refused(void **state)
{
	char folder[] = "/tmp/praas-manifest-XXXXXX", path[64];
	char error[PRAAS_JSON_ERROR_MAX];
	struct praas_manifest m;

	(void)state;
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/praas.json", folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(praas_manifest_load(folder, &m, error), -EINVAL);
	assert_non_null(strstr(error, path));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_manifest_reads_what_it_may_hold),
		cmocka_unit_test(test_manifest_then),
		cmocka_unit_test(test_manifest_then_away),
		cmocka_unit_test(test_manifest_stages_limit),
		cmocka_unit_test(test_manifest_mistakes_are_named),
		cmocka_unit_test(test_manifest_missing_file_is_named),
		cmocka_unit_test(test_manifest_pipe_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
