/* SPDX-License-Identifier: Apache-2.0
 *
 * Names, escapes, numbers, JSON, routes and keys: what comes from outside.
 */
#include <errno.h>
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

#include "control/json.h"
#include "control/names.h"
#include "control/rest/router.h"
#include "control/tenants/keys.h"

static void test_names_only_the_alphabet(void **state)
{
	char longest[66];

	(void)state;
	memset(longest, 'x', sizeof(longest));
	longest[64] = 0;
	assert_true(praas_name_valid(longest));
	longest[64] = 'x';
	longest[65] = 0;
	assert_false(praas_name_valid(longest));
	assert_true(praas_name_valid("A-z_0.9"));
	assert_true(praas_name_valid("..."));
	assert_false(praas_name_valid(NULL));
	assert_false(praas_name_valid(""));
	assert_false(praas_name_valid("."));
	assert_false(praas_name_valid(".."));
	assert_false(praas_name_valid("a/b"));
	assert_false(praas_name_valid("a\n"));
	assert_false(praas_name_valid("\xc3\xa4"));
}

/* Wherever a text is cut it is UTF-8 again afterwards, and keeps every whole character. */
static void test_text_cut_within_a_character_loses_only_that(void **state)
{
	static const char text[] = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z";
	static const size_t whole[] = { 0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11 };

	(void)state;
	for (size_t n = 0; n < sizeof(whole) / sizeof(whole[0]); n++) {
		char cut[sizeof(text)];

		(void)snprintf(cut, sizeof(cut), "%.*s", (int)n, text);
		praas_text_whole(cut);
		assert_int_equal(strlen(cut), whole[n]);
		assert_memory_equal(cut, text, whole[n]);
	}
}

static void test_numbers_whole_and_in_range(void **state)
{
	uint64_t v = 0;

	(void)state;
	assert_int_equal(praas_number_parse("18446744073709551620", UINT64_MAX, &v),
			 -ERANGE);
	assert_int_equal(praas_number_parse("99999999999999999999999", UINT64_MAX, &v),
			 -ERANGE);
	assert_int_equal(praas_number_parse("65536", 65535, &v), -ERANGE);
	assert_int_equal(praas_number_parse("65535", 65535, &v), 0);
	assert_int_equal(v, 65535);
	assert_int_equal(praas_number_parse("", 9, &v), -EINVAL);
	assert_int_equal(praas_number_parse("+1", 9, &v), -EINVAL);
	assert_int_equal(praas_number_parse("1 ", 9, &v), -EINVAL);
	assert_int_equal(v, 65535); /* written on success only */
}

static void test_escapes_decoded_once(void **state)
{
	uint8_t id[2] = { 0 };
	char text[8];

	(void)state;
	assert_int_equal(praas_percent_decode("a%2Fb%25", 8, text, sizeof(text)), 0);
	assert_string_equal(text, "a/b%");
	assert_int_equal(praas_percent_decode("%00", 3, text, sizeof(text)), -EINVAL);
	assert_int_equal(praas_percent_decode("%0a", 3, text, sizeof(text)), -EINVAL);
	assert_int_equal(praas_percent_decode("%2", 2, text, sizeof(text)), -EINVAL);
	assert_int_equal(praas_percent_decode("%g0", 3, text, sizeof(text)), -EINVAL);
	assert_int_equal(praas_percent_decode("12345678", 8, text, sizeof(text)),
			 -EMSGSIZE);
	assert_int_equal(praas_hex_decode("aB01", id, 2), 0);
	assert_int_equal(id[0], 0xab);
	assert_int_equal(praas_hex_decode("aB0", id, 2), -EINVAL);
	assert_int_equal(praas_hex_decode("aB012", id, 2), -EINVAL);
	assert_int_equal(praas_hex_decode("aB0x", id, 2), -EINVAL);
}

static void test_json_strict(void **state)
{
	struct praas_json_error error;
	json_t *object;

	(void)state;
	assert_null(praas_json_parse("{\"a\":1,\"a\":2}", 13, &error));
	assert_null(praas_json_parse("[1]", 3, &error));
	assert_string_equal(error.text, "an object is wanted");
	assert_null(praas_json_parse("{\"a\":[[[[[[[[1]]]]]]]]}", 23, &error));
	assert_string_equal(error.text, "nested deeper than 8");
	object = praas_json_parse("{\"a\":\"[[[[[[[[[[[[\\\"[[\"}", 24, &error);
	assert_non_null(object);
	json_decref(object);
}

static const struct praas_route routes[] = {
	{ .method = PRAAS_GET, .pattern = "/v1/apps" },
	{ .method = PRAAS_POST, .pattern = "/v1/apps" },
	{ .method = PRAAS_GET,
	  .pattern = "/v1/apps/{app}/processes/{pid}/state/{key}" },
	{ .pattern = NULL },
};

static void test_routes_by_method_and_path(void **state)
{
	struct praas_match m;

	(void)state;
	assert_int_equal(praas_route_match(routes, PRAAS_POST, "/v1/apps", &m), 0);
	assert_ptr_equal(m.route, &routes[1]);
	assert_int_equal(praas_route_match(routes, PRAAS_PUT, "/v1/apps", &m),
			 -EOPNOTSUPP);
	assert_int_equal(m.allowed,
			 1u << PRAAS_GET | 1u << PRAAS_POST | PRAAS_HEAD_ALLOWED);
	assert_int_equal(praas_route_match(routes, PRAAS_GET, "/v1/apps/", &m),
			 -ENOENT);
	assert_int_equal(praas_route_match(routes, PRAAS_GET, "v1/apps", &m), -ENOENT);
	assert_int_equal(praas_route_match(routes, PRAAS_GET, "", &m), -ENOENT);
	assert_int_equal(praas_route_match(routes, PRAAS_GET,
					   "/v1/apps/a/processes/p/state/x%2Fy", &m),
			 0);
	assert_string_equal(m.app, "a");
	assert_string_equal(m.pid, "p");
	assert_string_equal(m.key, "x/y");
	assert_int_equal(praas_route_match(routes, PRAAS_GET,
					   "/v1/apps/a/processes/%2e%2e/state/x", &m),
			 -EINVAL);
	assert_int_equal(praas_route_match(routes, PRAAS_GET,
					   "/v1/apps/a/processes//state/x", &m),
			 -ENOENT);
}

/* Keys are made once, are nobody else's to read, and the token is compared whole. */
static void test_keys_made_once_and_private(void **state)
{
	char dir[] = "/tmp/praas-keys-XXXXXX", text[256], path[64], token[128];
	struct praas_keys one, two;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(unsetenv("PRAAS_ADMIN_TOKEN"), 0);
	assert_int_equal(praas_keys_open(dir, NULL, &one, text), 0);
	assert_int_equal(praas_keys_open(dir, NULL, &two, text), 0);
	assert_memory_equal(&one, &two, sizeof(one));
	(void)snprintf(path, sizeof(path), "%s/admin.token", dir);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_non_null(fgets(token, sizeof(token), f));
	(void)fclose(f);
	token[strcspn(token, "\n")] = 0;
	assert_true(praas_keys_admin(&one, token));
	token[0] ^= 1;
	assert_false(praas_keys_admin(&one, token));
	assert_false(praas_keys_admin(&one, ""));
	assert_int_equal(setenv("PRAAS_ADMIN_TOKEN", "short", 1), 0);
	assert_int_equal(praas_keys_open(dir, NULL, &two, text), -EINVAL);
	assert_int_equal(setenv("PRAAS_ADMIN_TOKEN", "long enough to be one", 1), 0);
	assert_int_equal(praas_keys_open(dir, NULL, &two, text), 0);
	assert_true(praas_keys_admin(&two, "long enough to be one"));
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(praas_keys_open(dir, path, &two, text), -EPERM);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(praas_keys_open(dir, path, &two, text), -ENOENT);
	(void)snprintf(path, sizeof(path), "%s/root.key", dir);
	assert_int_equal(truncate(path, 31), 0);
	assert_int_equal(praas_keys_open(dir, NULL, &two, text), -EINVAL);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_only_the_alphabet),
		cmocka_unit_test(test_text_cut_within_a_character_loses_only_that),
		cmocka_unit_test(test_numbers_whole_and_in_range),
		cmocka_unit_test(test_escapes_decoded_once),
		cmocka_unit_test(test_json_strict),
		cmocka_unit_test(test_routes_by_method_and_path),
		cmocka_unit_test(test_keys_made_once_and_private),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
