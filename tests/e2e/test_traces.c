/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/e2e/faults.h"

/* The W3C trace of calls and messages through libpraas: what goes in comes out, with its flags, and without
 * them by the calls that do not know of any. */

#define SAID 52u /* trace, span, flags as text */

static const struct praas_trace_context traced = {
	.trace_id = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 },
	.span_id = { 21, 22, 23, 24, 25, 26, 27, 28 },
	.flags = 0x83 /* also bits that mean nothing yet */
};

/* What the function sees of a call with those flags. */
static void call_as(praas_connection *conn, uint32_t flags, const char *want_flags)
{
	struct praas_call call = { .function = fault_function(conn, "says"),
				   .flags = flags,
				   .data = "6words",
				   .bytes = 6,
				   .trace = (const uint8_t *)&traced };
	struct praas_timing timing;
	struct praas_result result;
	char want[SAID + 1];

	call.timing = &timing;
	(void)snprintf(want, sizeof(want),
		       "0102030405060708090a0b0c0d0e0f10-15161718191a1b1c-%s",
		       want_flags);
	assert_int_equal(praas_call(conn, &call, &result), 0);
	assert_int_equal(result.status, 0);
	assert_int_equal(result.view.bytes, SAID);
	assert_memory_equal(result.view.data, want, SAID);
	praas_result_release(conn, &result);
}

/* Fills ret_trace with that of the message that comes out. */
static void receive(praas_connection *conn, struct praas_trace_context *ret_trace)
{
	praas_pid_t source = 0;
	size_t bytes;
	void *data;

	assert_int_equal(praas_msg_recv_context(conn, "k", -1, &data, &bytes, &source,
						ret_trace),
			 0);
	assert_int_equal(bytes, 1);
	assert_true(source & PRAAS_CLIENT);
	free(data);
}

/* It is held, listed, and gone when it is taken. */
static void by_held(praas_connection *conn)
{
	struct praas_msg_held held;
	struct praas_msg_info info;
	uint32_t count;
	size_t bytes;
	void *data;

	assert_int_equal(praas_msg_hold(conn, "k", 0, &data, &bytes, &held), -EAGAIN);
	assert_int_equal(praas_msg_send_context(conn, "k", "m", 1, &traced), 0);
	assert_int_equal(praas_msg_hold(conn, "k", 0, &data, &bytes, &held), 0);
	assert_int_equal(bytes, 1);
	assert_true(held.source & PRAAS_CLIENT);
	assert_memory_equal(&held.trace, &traced, sizeof(traced));
	free(data);
	assert_int_equal(praas_msg_enumerate(conn, "k", 0, &info, 1, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(praas_msg_taken(conn, &held), 0);
	assert_int_equal(praas_msg_taken(conn, &held), -ENOENT);
	assert_int_equal(praas_msg_enumerate(conn, "k", 0, &info, 1, &count), 0);
	assert_int_equal(count, 0);
}

static void by_message(praas_connection *conn)
{
	const uint8_t *bytes24 = (const uint8_t *)&traced;
	struct praas_trace_context got, want = traced;
	struct praas_msg_origin origin;
	size_t bytes;
	void *data;

	assert_int_equal(praas_msg_send_context(conn, "k", "m", 1, &traced), 0);
	receive(conn, &got);
	assert_memory_equal(&got, &want, sizeof(got));
	assert_int_equal(praas_msg_send_traced(conn, "k", "m", 1, bytes24), 0);
	receive(conn, &got);
	want.flags = 0;
	assert_memory_equal(&got, &want, sizeof(got));
	assert_int_equal(praas_msg_send_context(conn, "k", "m", 1, NULL), 0);
	receive(conn, &got);
	memset(&want, 0, sizeof(want));
	assert_memory_equal(&got, &want, sizeof(got));
	assert_int_equal(praas_msg_send_context(conn, "k", "m", 1, &traced), 0);
	assert_int_equal(praas_msg_recv_traced(conn, "k", -1, &data, &bytes, &origin),
			 0);
	assert_memory_equal(origin.trace, bytes24, sizeof(origin.trace));
	free(data);
	by_held(conn);
}

static void by_all(struct fixture *f, const struct praas_connect_config *config)
{
	praas_connection *conn;

	controller_start(&f->c, &f->o);
	conn = fault_connect_as(f, config);
	for (unsigned i = 0; i < 2; i++) {
		call_as(conn, PRAAS_CALL_TRACE_FLAGS, "83");
		call_as(conn, PRAAS_CALL_TRACE_FLAGS | PRAAS_CALL_TIMING, "83");
		call_as(conn, 0, "00");
		if (i == 0 && fault_workers() && !config->no_direct &&
		    strcmp(config->transport, "shm") == 0)
			assert_true(fault_warm(conn));
	}
	by_message(conn);
	praas_close(conn);
}

static void test_traces_shm(void **state)
{
	const struct praas_connect_config config = { .transport = "shm" };

	by_all(*state, &config);
}

static void test_traces_shm_through_the_controller(void **state)
{
	const struct praas_connect_config config = { .transport = "shm",
						     .no_direct = true };

	by_all(*state, &config);
}

static void test_traces_tcp(void **state)
{
	const struct praas_connect_config config = { .transport = "tcp" };

	by_all(*state, &config);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		FAULT_TEST(test_traces_shm),
		FAULT_TEST(test_traces_shm_through_the_controller),
		FAULT_TEST(test_traces_tcp),
	};

	if (fault_arguments(argc, argv) != 0)
		return 2;
	return cmocka_run_group_tests_name(argv[4], tests, NULL, NULL);
}
