/* SPDX-License-Identifier: Apache-2.0
 *
 * What controllers tell of functions, and the rows that come of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/life/functions.h"

struct fixture {
	struct praas_functions *f;
	struct praas_functions_told *told;
};

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	x->f = praas_functions_new();
	assert_non_null(x->f);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	praas_functions_epoch(&x->told);
	praas_functions_free(x->f);
	free(x);
	return 0;
}

static void tell_app(struct fixture *x, const char *tenant, const char *app,
		     const char *text)
{
	json_t *message = json_loads(text, 0, NULL);

	assert_non_null(message);
	praas_functions_told(x->f, tenant, app, &x->told, message);
	json_decref(message);
}

static void tell(struct fixture *x, const char *text)
{
	tell_app(x, "t", "a", text);
}

/* Calls of a function; "": of the row without names. */
static uint64_t calls_of(struct fixture *x, const char *app, const char *function,
			 struct praas_function_totals *ret_sums)
{
	struct praas_function_row *rows;
	uint32_t count;
	uint64_t calls = 0;

	assert_int_equal(praas_functions_rows(x->f, &rows, &count), 0);
	for (uint32_t i = 0; i < count; i++) {
		if (strcmp(rows[i].app, app) != 0 ||
		    strcmp(rows[i].function, function) != 0)
			continue;
		calls = rows[i].sums.calls;
		if (ret_sums)
			*ret_sums = rows[i].sums;
	}
	free(rows);
	return calls;
}

/* Sums of an epoch count once, however often they are told; the next epoch begins with nothing. */
static void test_functions_count_once(void **state)
{
	struct fixture *x = *state;
	struct praas_function_totals sums = { 0 };

	tell(x, "{\"seq\":1,\"rows\":[[\"f\",10,1,100,200,7],[\"g\",1,0,0,0,1]]}");
	tell(x, "{\"seq\":2,\"rows\":[[\"f\",10,1,100,200,7]]}");
	tell(x, "{\"seq\":3,\"rows\":[[\"f\",15,2,150,220,9]]}");
	assert_int_equal(calls_of(x, "a", "f", &sums), 15);
	assert_int_equal(sums.errors, 2);
	assert_int_equal(sums.bytes_in, 150);
	assert_int_equal(sums.bytes_out, 220);
	assert_int_equal(sums.run_ns, 9);
	assert_int_equal(calls_of(x, "a", "g", NULL), 1);
	praas_functions_epoch(&x->told);
	tell(x, "{\"seq\":1,\"rows\":[[\"f\",4,0,1,1,1]]}");
	assert_int_equal(calls_of(x, "a", "f", NULL), 19);
}

/* What was told before, and is told again to a service that has forgotten it, does not count; to one that
 * has not, what got lost on the way does. */
static void test_functions_again(void **state)
{
	struct fixture *x = *state;

	tell(x, "{\"seq\":7,\"again\":true,\"rows\":[[\"f\",10,0,0,0,0]]}");
	assert_int_equal(calls_of(x, "a", "f", NULL), 0);
	tell(x, "{\"seq\":8,\"again\":false,\"rows\":[[\"f\",12,0,0,0,0]]}");
	assert_int_equal(calls_of(x, "a", "f", NULL), 2);
	tell(x, "{\"seq\":9,\"again\":true,\"rows\":[[\"f\",15,0,0,0,0]]}");
	assert_int_equal(calls_of(x, "a", "f", NULL), 5);
}

/* What is older than the last one, goes back, or is not a row changes nothing. */
static void test_functions_nonsense(void **state)
{
	static const char *const rows[] = {
		"[\"f\",1,0,0,0]",
		"[\"f\",1,0,0,0,0,0]",
		"[\"f\",-1,0,0,0,0]",
		"[\"f\",1.5,0,0,0,0]",
		"[\"f\",\"1\",0,0,0,0]",
		"[\"f\\\"} 1\\n\",1,0,0,0,0]",
		"[\"\",1,0,0,0,0]",
		"[7,1,0,0,0,0]",
		"{}",
		"null",
		"[]",
	};
	struct fixture *x = *state;
	char text[256];

	tell(x, "{\"seq\":5,\"rows\":[[\"f\",10,0,0,0,0]]}");
	tell(x, "{\"seq\":5,\"rows\":[[\"f\",11,0,0,0,0]]}");
	tell(x, "{\"seq\":4,\"rows\":[[\"f\",12,0,0,0,0]]}");
	tell(x, "{\"seq\":6,\"rows\":[[\"f\",3,0,0,0,0]]}");
	tell(x, "{\"seq\":-1,\"rows\":[[\"f\",13,0,0,0,0]]}");
	tell(x, "{\"rows\":[[\"f\",13,0,0,0,0]]}");
	tell(x, "{\"seq\":7}");
	tell(x, "{\"seq\":8,\"rows\":7}");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		(void)snprintf(text, sizeof(text), "{\"seq\":%zu,\"rows\":[%s]}",
			       10 + i, rows[i]);
		tell(x, text);
	}
	assert_int_equal(calls_of(x, "a", "f", NULL), 10);
	/* Numbers as large as there are do not make the sum go round. */
	for (unsigned i = 0; i < 20; i++) {
		praas_functions_epoch(&x->told);
		tell(x, "{\"seq\":1,\"rows\":[[\"f\",4611686018427387903,0,0,0,0]]}");
		assert_true(calls_of(x, "a", "f", NULL) >= 10);
	}
}

static void tell_many(struct fixture *x, const char *tenant, unsigned apps)
{
	char app[32], text[64];

	for (unsigned i = 0; i < apps; i++) {
		praas_functions_epoch(&x->told);
		(void)snprintf(app, sizeof(app), "%s%u", tenant, i);
		(void)snprintf(text, sizeof(text),
			       "{\"seq\":1,\"rows\":[[\"f\",1,0,0,0,0]]}");
		tell_app(x, tenant, app, text);
	}
}

/* There are so many rows, and one tenant has a quarter of them; others are counted together. */
static void test_functions_bounded(void **state)
{
	struct fixture *x = *state;
	struct praas_function_row *rows;
	uint32_t count;

	tell_many(x, "t", PRAAS_FUNCTIONS_TENANT_MAX + 10);
	assert_int_equal(calls_of(x, "", "", NULL), 10);
	tell_many(x, "u", 5);
	assert_int_equal(calls_of(x, "u4", "f", NULL), 1);
	tell_many(x, "v", PRAAS_FUNCTIONS_TENANT_MAX);
	tell_many(x, "w", PRAAS_FUNCTIONS_TENANT_MAX);
	tell_many(x, "z", PRAAS_FUNCTIONS_TENANT_MAX);
	assert_int_equal(calls_of(x, "", "", NULL), 15);
	assert_int_equal(praas_functions_rows(x->f, &rows, &count), 0);
	assert_int_equal(count, PRAAS_FUNCTIONS_ROWS_MAX + 1);
	free(rows);
}

/* One process names no more functions than a manifest may have. */
static void test_functions_of_one_process_bounded(void **state)
{
	struct fixture *x = *state;
	char text[64];

	for (unsigned i = 0; i < PRAAS_FUNCTIONS_TOLD_MAX + 50; i++) {
		(void)snprintf(text, sizeof(text),
			       "{\"seq\":%u,\"rows\":[[\"f%u\",1,0,0,0,0]]}", i + 1, i);
		tell(x, text);
	}
	assert_int_equal(calls_of(x, "a", "f0", NULL), 1);
	assert_int_equal(calls_of(x, "", "", NULL),
			 PRAAS_FUNCTIONS_TOLD_MAX - PRAAS_FUNCTIONS_TENANT_MAX);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_functions_count_once),
		T(test_functions_again),
		T(test_functions_nonsense),
		T(test_functions_bounded),
		T(test_functions_of_one_process_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
