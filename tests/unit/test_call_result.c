/* SPDX-License-Identifier: Apache-2.0
 *
 * Where an invocation's result goes: in the place of the body when there is room, else to memory of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/rest/request.h"

#define ROOM 64u

struct fixture {
	struct praas_request *rq;
	char *body;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->rq = calloc(1, sizeof(*f->rq));
	f->body = calloc(1, ROOM);
	f->rq->body = f->body;
	f->rq->body_room = ROOM;
	f->rq->body_bytes = 4;
	memcpy(f->body, "body", 5);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (!f->rq->result.lent)
		free(f->rq->result.data);
	free(f->body);
	free(f->rq);
	free(f);
	return 0;
}

/* What the double of libpraas releases is freed. */
static void take(struct praas_request *rq, int status, const char *text, size_t bytes)
{
	char *data = bytes ? malloc(bytes) : NULL;
	struct praas_result result = { .status = status,
				       .view = { .data = data, .bytes = bytes } };

	if (bytes)
		memcpy(data, text, bytes);
	praas_call_take(rq, NULL, &result);
}

static void test_result_that_fits_takes_the_bodys_place(void **state)
{
	struct fixture *f = *state;
	char text[ROOM];

	memset(text, 'r', sizeof(text));
	take(f->rq, 0, text, sizeof(text)); /* to its last byte */
	assert_int_equal(f->rq->result.rc, 0);
	assert_true(f->rq->result.lent);
	assert_ptr_equal(f->rq->result.data, f->body);
	assert_int_equal(f->rq->result.bytes, sizeof(text));
	assert_memory_equal(f->body, text, sizeof(text));
	assert_int_equal(f->rq->body_bytes, 0);
}

static void test_larger_result_has_memory_of_its_own(void **state)
{
	struct fixture *f = *state;
	char text[ROOM + 1];

	memset(text, 'r', sizeof(text));
	take(f->rq, 0, text, sizeof(text));
	assert_int_equal(f->rq->result.rc, 0);
	assert_false(f->rq->result.lent);
	assert_ptr_not_equal(f->rq->result.data, f->body);
	assert_int_equal(f->rq->result.bytes, sizeof(text));
	assert_memory_equal(f->rq->result.data, text, sizeof(text));
}

static void test_result_without_a_body(void **state)
{
	struct fixture *f = *state;

	f->rq->body = NULL;
	f->rq->body_room = f->rq->body_bytes = 0;
	take(f->rq, 0, "r", 1);
	assert_false(f->rq->result.lent);
	assert_memory_equal(f->rq->result.data, "r", 1);
}

static void test_empty_result(void **state)
{
	struct fixture *f = *state;

	take(f->rq, 0, "", 0);
	assert_int_equal(f->rq->result.rc, 0);
	assert_false(f->rq->result.lent);
	assert_null(f->rq->result.data);
	assert_int_equal(f->rq->result.bytes, 0);
}

/* It may be sent once more, with its body. */
static void test_body_stays_when_there_is_no_good_result(void **state)
{
	static const int statuses[] = { PRAAS_DRAINING, PRAAS_MOVED, PRAAS_UNKNOWN, 7 };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		take(f->rq, statuses[i], "why", 3);
		assert_int_equal(f->rq->result.status, statuses[i]);
		assert_string_equal(f->rq->result.text, "why");
		assert_false(f->rq->result.lent);
		assert_null(f->rq->result.data);
		assert_int_equal(f->rq->body_bytes, 4);
		assert_string_equal(f->rq->body, "body");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_result_that_fits_takes_the_bodys_place, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_larger_result_has_memory_of_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(test_result_without_a_body, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_empty_result, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_body_stays_when_there_is_no_good_result, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
