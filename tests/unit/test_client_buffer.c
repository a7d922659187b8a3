/* SPDX-License-Identifier: Apache-2.0
 * Registered buffers of libpraas, over shm and over tcp: what is copied is counted, and who has the memory
 * last. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "praas/client.h"
#include "tests/unit/client_server.h"

static struct server server;
static praas_connection *conn;

static void begin(const char *transport)
{
	struct praas_connect_config config = { .transport = transport };

	server_start(&server, 64u << 20);
	assert_int_equal(praas_connect_ticket(server.ticket_json, &config, &conn), 0);
	assert_string_equal(praas_transport(conn), transport);
}

static void end(void)
{
	praas_close(conn);
	server_stop(&server);
}

static struct praas_conn_stats call_with(const void *data, size_t bytes)
{
	struct praas_call call = { .function = FN_ECHO, .data = data, .bytes = bytes };
	struct praas_conn_stats before, after;
	struct praas_result result;

	praas_stats(conn, &before);
	assert_int_equal(praas_call(conn, &call, &result), 0);
	assert_int_equal(result.view.bytes, bytes);
	assert_memory_equal(result.view.data, data, bytes);
	praas_result_release(conn, &result);
	praas_stats(conn, &after);
	after.copies -= before.copies;
	after.transport_copies -= before.transport_copies;
	return after;
}

/* Memory of the caller's costs one copy of ours, registered memory none; over shm no other is made, over
 * tcp a small payload is copied next to its header, which is told as the transport's. */
static void copies(const char *transport)
{
	bool tcp = strcmp(transport, "tcp") == 0;
	static uint8_t own[5000];
	struct praas_conn_stats told;
	void *data;

	begin(transport);
	assert_int_equal(praas_buffer_alloc(conn, sizeof(own), &data), 0);
	memset(data, 0x42, sizeof(own));
	for (unsigned i = 0; i < 10; i++) {
		told = call_with(own, sizeof(own));
		assert_int_equal(told.copies, 1);
		told = call_with(data, sizeof(own));
		assert_int_equal(told.copies, 0);
		told = call_with(data, 100);
		assert_int_equal(told.copies, 0);
		if (tcp)
			assert_true(told.transport_copies >= 1);
		else
			assert_int_equal(told.transport_copies, 0);
	}
	praas_buffer_free(conn, data);
	end();
}

static void test_client_buffer_copies_are_told_shm(void **state)
{
	(void)state;
	copies("shm");
}

static void test_client_buffer_copies_are_told_tcp(void **state)
{
	(void)state;
	copies("tcp");
}

/* The connection may be closed while the transport has the memory still: freed once, when it lets go
 * (AddressSanitizer sees both). */
static void test_client_buffer_outlives_its_connection(void **state)
{
	struct praas_call call = { .function = FN_NEVER, .bytes = 48u << 20 };
	void *data;

	(void)state;
	begin("tcp");
	assert_int_equal(praas_buffer_alloc(conn, call.bytes, &data), 0);
	memset(data, 1, call.bytes);
	call.data = data;
	assert_int_equal(praas_submit(conn, &call, NULL), 0);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_client_buffer_copies_are_told_shm),
		cmocka_unit_test(test_client_buffer_copies_are_told_tcp),
		cmocka_unit_test(test_client_buffer_outlives_its_connection),
	};

	return cmocka_run_group_tests_name("client_buffer", tests, NULL, NULL);
}
