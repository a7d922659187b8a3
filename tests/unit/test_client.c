/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "praas/client.h"
#include "tests/unit/client_server.h"

/* libpraas against a process in a thread, over shm and over tcp. */

struct fixture {
	struct server server;
	praas_connection *conn;
	const char *transport;
};

static int setup(void **state, const char *transport, bool connect)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct praas_connect_config config = { .transport = transport };

	f->transport = transport;
	server_start(&f->server, 64u << 20);
	if (connect)
		assert_int_equal(
			praas_connect_ticket(f->server.ticket_json, &config, &f->conn),
			0);
	*state = f;
	return 0;
}

static int setup_shm(void **state)
{
	return setup(state, "shm", true);
}

static int setup_tcp(void **state)
{
	return setup(state, "tcp", true);
}

static int setup_none(void **state)
{
	return setup(state, "auto", false);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	praas_close(f->conn);
	server_stop(&f->server);
	free(f);
	return 0;
}

/* A blocking call returns what the function returned; nothing leaks over many. */
static void test_client_call_echoes(void **state)
{
	struct fixture *f = *state;
	struct praas_call call = { .function = FN_ECHO };
	struct praas_result result;
	struct praas_conn_stats stats;
	char data[600];

	assert_string_equal(praas_transport(f->conn), f->transport);
	for (unsigned i = 0; i < 3000; i++) {
		memset(data, (int)i, sizeof(data));
		call.data = data;
		call.bytes = i % sizeof(data);
		assert_int_equal(praas_call(f->conn, &call, &result), 0);
		assert_int_equal(result.status, 0);
		assert_int_equal(result.view.bytes, call.bytes);
		assert_memory_equal(result.view.data, data, call.bytes);
		assert_int_equal(result.run_ns, 1000);
		praas_result_release(f->conn, &result);
	}
	praas_stats(f->conn, &stats);
	assert_int_equal(stats.calls, 3000);
}

/* From a registered buffer there is no copy: the function sees the same memory. */
static void test_client_registered_buffer_is_not_copied(void **state)
{
	struct fixture *f = *state;
	struct praas_call call = { .function = FN_ECHO, .bytes = 5000 };
	struct praas_conn_stats before, after;
	struct praas_result result;
	void *data;

	assert_int_equal(praas_buffer_alloc(f->conn, 5000, &data), 0);
	assert_int_equal((uintptr_t)data % 64, 0);
	memset(data, 0x42, 5000);
	call.data = data;
	praas_stats(f->conn, &before);
	for (unsigned i = 0; i < 10; i++) {
		uint64_t id;

		assert_int_equal(praas_call(f->conn, &call, &result), 0);
		assert_memory_equal(result.view.data, data, 5000);
		praas_result_release(f->conn, &result);
		assert_int_equal(praas_submit(f->conn, &call, &id), 0);
		assert_int_equal(praas_wait_call(f->conn, id, -1, &result), 0);
		praas_result_release(f->conn, &result);
	}
	praas_stats(f->conn, &after);
	assert_int_equal(after.copies, before.copies);
	praas_buffer_free(f->conn, data);
}

/* Many at once, taken in any order; one more than allowed is refused. */
static void test_client_many_in_flight(void **state)
{
	struct fixture *f = *state;
	struct praas_result results[64];
	struct praas_call call = { .function = FN_ECHO };
	uint64_t ids[256], id;
	uint32_t taken = 0;

	for (unsigned i = 0; i < 256; i++) {
		call.data = &i;
		call.bytes = sizeof(i);
		assert_int_equal(praas_submit(f->conn, &call, &ids[i]), 0);
	}
	assert_int_equal(praas_submit(f->conn, &call, &id), -ENOBUFS);
	assert_int_equal(praas_wait_call(f->conn, ids[200], -1, &results[0]), 0);
	assert_int_equal(*(const unsigned *)results[0].view.data, 200);
	praas_result_release(f->conn, &results[0]);
	while (taken < 255) {
		int n = praas_poll(f->conn, results, 64);

		assert_true(n >= 0);
		for (int i = 0; i < n; i++) {
			unsigned which = *(const unsigned *)results[i].view.data;

			assert_int_equal(results[i].call, ids[which]);
			praas_result_release(f->conn, &results[i]);
		}
		taken += (uint32_t)n;
		(void)sched_yield();
	}
	assert_int_equal(praas_poll(f->conn, results, 64), 0);
	assert_int_equal(praas_wait_call(f->conn, ids[0], 0, &results[0]), -EINVAL);
}

/* The function's own code and its text, NUL-terminated; then the next call works. */
static void test_client_error_of_the_function(void **state)
{
	struct fixture *f = *state;
	struct praas_call call = { .function = FN_FAIL };
	struct praas_result result;

	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(praas_call(f->conn, &call, &result), 0);
		assert_int_equal(result.status, 7);
		assert_string_equal(result.view.data, "no luck");
		praas_result_release(f->conn, &result);
	}
}

/* Keys, one-way, own ids, unknown functions. */
static void test_client_key_id_and_one_way(void **state)
{
	struct fixture *f = *state;
	struct praas_call call = { .function = FN_KEY, .key = "some key", .id = 4711 };
	struct praas_result result;
	uint64_t id;

	assert_int_equal(praas_call(f->conn, &call, &result), 0);
	assert_int_equal(result.call, 4711);
	assert_int_equal(result.view.bytes, 8);
	assert_memory_equal(result.view.data, "some key", 8);
	praas_result_release(f->conn, &result);

	call = (struct praas_call){ .function = FN_NEVER, .id = 5 };
	assert_int_equal(praas_submit(f->conn, &call, &id), 0);
	assert_int_equal(praas_submit(f->conn, &call, &id), -EINVAL);

	call = (struct praas_call){ .function = FN_ECHO,
				    .flags = PRAAS_CALL_ONE_WAY,
				    .bytes = 3,
				    .data = "abc" };
	assert_int_equal(praas_submit(f->conn, &call, &id), 0);
	assert_int_equal(praas_call(f->conn, &call, &result), 0);
	while (atomic_load(&f->server.one_ways) < 2)
		(void)sched_yield();
	assert_int_equal(atomic_load(&f->server.one_ways), 2);

	assert_int_equal(praas_function_lookup(f->conn, "late", &call.function), 0);
	assert_int_equal(call.function, FN_LATE);
	assert_int_equal(praas_function_lookup(f->conn, "none", &call.function),
			 -ENOENT);
	call.function = 1000;
	assert_int_equal(praas_call(f->conn, &call, &result), -EINVAL);
	assert_string_not_equal(praas_error(), "");
}

/* Results out of order: a call that is answered late does not hold up another. */
static void test_client_out_of_order(void **state)
{
	struct fixture *f = *state;
	struct praas_call late = { .function = FN_LATE },
			  noop = { .function = FN_NOOP };
	struct praas_result result;
	uint64_t id;

	assert_int_equal(praas_submit(f->conn, &late, &id), 0);
	assert_int_equal(praas_wait_call(f->conn, id, 1000000, &result), -EAGAIN);
	assert_int_equal(praas_call(f->conn, &noop, &result), 0);
	praas_result_release(f->conn, &result);
	assert_int_equal(praas_wait_call(f->conn, id, -1, &result), 0);
	assert_memory_equal(result.view.data, "late", 4);
	praas_result_release(f->conn, &result);
}

/* Calls that say that more follow all arrive, whoever is waited for, and as soon as we look. */
static void test_client_more_follow(void **state)
{
	struct fixture *f = *state;
	struct praas_call call = {
		.function = FN_ECHO, .flags = PRAAS_CALL_MORE, .bytes = 3, .data = "abc"
	};
	struct praas_result result;
	uint64_t ids[40];

	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(praas_submit(f->conn, &call, &ids[i]), 0);
	for (unsigned i = 40; i-- > 0;) {
		assert_int_equal(praas_wait_call(f->conn, ids[i], -1, &result), 0);
		assert_int_equal(result.status, 0);
		assert_int_equal(result.view.bytes, 3);
		praas_result_release(f->conn, &result);
	}
	assert_int_equal(praas_call(f->conn, &call, &result), 0);
	praas_result_release(f->conn, &result);
	call.flags |= PRAAS_CALL_ONE_WAY; /* handed over when submit returns */
	assert_int_equal(praas_submit(f->conn, &call, NULL), 0);
	while (atomic_load(&f->server.one_ways) < 1)
		(void)sched_yield();
	assert_int_equal(atomic_load(&f->server.one_ways), 1);
}

/* A deadline ends a call that nobody answers; a cancel does too. */
static void test_client_deadline_and_cancel(void **state)
{
	struct fixture *f = *state;
	struct praas_call call = { .function = FN_NEVER, .timeout_ns = 20000000 };
	struct praas_result result;
	uint64_t id;

	assert_int_equal(praas_call(f->conn, &call, &result), 0);
	assert_int_equal(result.status, PRAAS_DEADLINE);
	assert_string_not_equal(result.view.data, "");
	praas_result_release(f->conn, &result);
	call.timeout_ns = 0;
	assert_int_equal(praas_submit(f->conn, &call, &id), 0);
	assert_int_equal(praas_cancel(f->conn, id), 0);
	assert_int_equal(praas_wait_call(f->conn, id, -1, &result), 0);
	assert_int_equal(result.status, PRAAS_CANCELLED);
	praas_result_release(f->conn, &result);
	assert_int_equal(praas_cancel(f->conn, id), -ENOENT);
	/* And the connection is as good as before. */
	call.function = FN_NOOP;
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(praas_call(f->conn, &call, &result), 0);
		assert_int_equal(result.status, 0);
		praas_result_release(f->conn, &result);
	}
}

/* Large payloads, registered and not, both ways. */
static void test_client_large_payloads(void **state)
{
	struct fixture *f = *state;
	size_t bytes = 20u << 20;
	struct praas_call call = { .function = FN_ECHO, .bytes = bytes };
	struct praas_result result;
	void *data, *own = malloc(bytes);

	assert_int_equal(praas_buffer_alloc(f->conn, bytes, &data), 0);
	memset(data, 0x11, bytes);
	memset(own, 0x22, bytes);
	for (unsigned i = 0; i < 2; i++) {
		call.data = i == 0 ? data : own;
		assert_int_equal(praas_call(f->conn, &call, &result), 0);
		assert_int_equal(result.status, 0);
		assert_int_equal(result.view.bytes, bytes);
		assert_memory_equal(result.view.data, call.data, bytes);
		praas_result_release(f->conn, &result);
	}
	call.bytes = (64u << 20) + 1;
	assert_int_equal(praas_call(f->conn, &call, &result), -EMSGSIZE);
	assert_int_equal(praas_buffer_alloc(f->conn, (64u << 20) + 1, &own), -EMSGSIZE);
	praas_buffer_free(f->conn, data);
	free((void *)(uintptr_t)call.data);
}

/* Messages and state. */
static void test_client_messages_and_state(void **state)
{
	struct fixture *f = *state;
	struct praas_state_info infos[4];
	praas_pid_t source;
	uint64_t version;
	uint32_t count;
	size_t bytes;
	void *data;

	assert_int_equal(praas_msg_send(f->conn, "k", "data", 4), 0);
	assert_int_equal(praas_msg_send(f->conn, "", "data", 4), -EINVAL);
	assert_int_equal(praas_msg_recv(f->conn, "k", 0, &data, &bytes, &source), 0);
	assert_int_equal(bytes, 3);
	assert_string_equal(data, "msg");
	assert_int_equal(source, 1000);
	free(data);
	assert_int_equal(praas_msg_recv(f->conn, "empty", 0, &data, &bytes, &source),
			 -EAGAIN);
	assert_int_equal(praas_state_read(f->conn, "k", &data, &bytes, &version), 0);
	assert_string_equal(data, "value");
	assert_int_equal(version, 1000);
	free(data);
	assert_int_equal(praas_state_write(f->conn, "k", "v", 1), 0);
	assert_int_equal(praas_state_remove(f->conn, "missing"), -ENOENT);
	assert_int_equal(praas_state_enumerate(f->conn, "", NULL, infos, 4, &count), 0);
	assert_int_equal(count, 2);
	assert_string_equal(infos[0].key, "abc");
	assert_int_equal(infos[0].version, 5);
	assert_int_equal(infos[0].bytes, 7);
	assert_string_equal(infos[1].key, "z");
}

/* What waits in a mailbox, in as many parts as the process sends; never more than asked for; a
 * record that ends too early is refused. */
static void test_client_lists_messages(void **state)
{
	struct fixture *f = *state;
	struct praas_msg_info infos[4];
	uint32_t count;

	assert_int_equal(praas_msg_enumerate(f->conn, NULL, 0, infos, 4, &count), 0);
	assert_int_equal(count, 2);
	assert_string_equal(infos[0].key, "abc");
	assert_int_equal(infos[0].sequence, 5);
	assert_int_equal(infos[0].source, 6);
	assert_int_equal(infos[0].bytes, 7);
	assert_string_equal(infos[1].key, "z");
	assert_int_equal(infos[1].sequence, 1);
	assert_int_equal(praas_msg_enumerate(f->conn, "", 0, infos, 1, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(praas_msg_enumerate(f->conn, "cut", 0, infos, 4, &count),
			 -EPROTO);
}

/* The process goes: what is under way may or may not have run, and that is said. */
static void test_client_connection_lost(void **state)
{
	struct fixture *f = *state;
	struct praas_call call = { .function = FN_NEVER };
	struct praas_result result;
	struct praas_event event;
	void *data;
	uint64_t id;

	assert_int_equal(praas_buffer_alloc(f->conn, 100, &data), 0);
	assert_int_equal(praas_submit(f->conn, &call, &id), 0);
	assert_int_equal(praas_wait_call(f->conn, id, 5000000, &result), -EAGAIN);
	atomic_store(&f->server.drop_all, true);
	assert_int_equal(praas_wait_call(f->conn, id, -1, &result), 0);
	assert_int_equal(result.status, PRAAS_UNKNOWN);
	assert_true(result.retry_ns != 0); /* the process knows it by its id */
	praas_result_release(f->conn, &result);
	assert_int_equal(praas_event_poll(f->conn, &event), 0);
	assert_int_equal(event.kind, PRAAS_EVENT_CLOSED);
	assert_int_equal(praas_event_poll(f->conn, &event), -EAGAIN);
	assert_int_equal(praas_poll(f->conn, &result, 1), -ENOTCONN);
	assert_int_equal(praas_call(f->conn, &call, &result), -ENOTCONN);
	assert_int_equal(praas_msg_send(f->conn, "k", NULL, 0), -ENOTCONN);
	memset(data, 1, 100); /* still the caller's */
	praas_buffer_free(f->conn, data);
}

/* The convenient form. */
static void test_client_invoke_simple(void **state)
{
	struct fixture *f = *state;
	char out[8];
	size_t bytes;
	int status;

	assert_int_equal(praas_invoke_simple(f->conn, "echo", "hello", 5, out,
					     sizeof(out), &bytes, &status),
			 0);
	assert_int_equal(bytes, 5);
	assert_memory_equal(out, "hello", 5);
	assert_int_equal(praas_invoke_simple(f->conn, "echo", "longer than that", 16,
					     out, sizeof(out), &bytes, &status),
			 -EMSGSIZE);
	assert_int_equal(bytes, 16);
	assert_int_equal(
		praas_invoke_simple(f->conn, "nothing", NULL, 0, NULL, 0, NULL, NULL),
		-ENOENT);
}

/* Sleeping and spinning clients get their results too. */
static void test_client_waiting_policies(void **state)
{
	struct fixture *f = *state;
	struct praas_call call = { .function = FN_ECHO, .data = "x", .bytes = 1 };
	static const char *const transports[] = { "shm", "tcp" };

	for (unsigned t = 0; t < 2; t++) {
		for (int wait = PRAAS_WAIT_ADAPTIVE; wait <= PRAAS_WAIT_BLOCK; wait++) {
			struct praas_connect_config config = {
				.transport = transports[t],
				.wait = (enum praas_wait_policy)wait
			};
			struct praas_result result;
			praas_connection *conn;

			assert_int_equal(praas_connect_ticket(f->server.ticket_json,
							      &config, &conn),
					 0);
			for (unsigned i = 0; i < 200; i++) {
				assert_int_equal(praas_call(conn, &call, &result), 0);
				assert_int_equal(result.status, 0);
				praas_result_release(conn, &result);
			}
			praas_close(conn);
		}
	}
}

/* Where the process offers TLS, nobody is led to talk in clear text by a port that does not answer. */
static void test_client_never_leaves_tls(void **state)
{
	const struct fixture *f = *state;
	struct praas_connect_config config = { .transport = "tls" };
	const char *list = strstr(f->server.ticket_json, "[\""), *rest;
	praas_connection *conn;
	char json[2200];

	assert_int_equal(praas_connect_ticket(f->server.ticket_json, &config, &conn),
			 -EOPNOTSUPP);
	assert_non_null(list);
	rest = strchr(list, ',');
	assert_non_null(rest);
	(void)snprintf(json, sizeof(json), "%.*s[\"tls://127.0.0.1:1\"%s",
		       (int)(list - f->server.ticket_json), f->server.ticket_json,
		       rest);
	assert_int_equal(praas_connect_ticket(json, NULL, &conn), -ECONNREFUSED);
	assert_int_equal(praas_connect_ticket(json, &config, &conn), -ECONNREFUSED);
	config.transport = "tcp"; /* asked for by name */
	assert_int_equal(praas_connect_ticket(json, &config, &conn), 0);
	praas_close(conn);
}

/* The best that is there; and every mistake in a ticket is told. */
static void test_client_connect(void **state)
{
	struct fixture *f = *state;
	struct praas_connect_config config = { .transport = "carrier pigeon" };
	struct praas_event event;
	praas_connection *conn;
	char json[2048], lost[2048];
	char *at;

	assert_int_equal(praas_connect_ticket(f->server.ticket_json, NULL, &conn), 0);
	assert_string_equal(praas_transport(conn), "shm");
	praas_close(conn);
	praas_close(NULL);
	assert_int_equal(praas_connect_ticket(f->server.ticket_json, &config, &conn),
			 -EOPNOTSUPP);
	config = (struct praas_connect_config){ .inflight_max = 3 };
	assert_int_equal(praas_connect_ticket(f->server.ticket_json, &config, &conn),
			 -EINVAL);
	assert_int_equal(praas_connect_ticket("{}", NULL, &conn), -EINVAL);
	assert_int_equal(praas_connect_ticket("not json", NULL, &conn), -EINVAL);
	assert_int_equal(praas_connect_ticket(NULL, NULL, &conn), -EINVAL);
	/* Who comes after a crash is told which epoch was lost. */
	(void)snprintf(lost, sizeof(lost), "{\"lost_epoch\":6,%s",
		       f->server.ticket_json + 1);
	assert_int_equal(praas_connect_ticket(lost, NULL, &conn), 0);
	assert_int_equal(praas_event_poll(conn, &event), 0);
	assert_int_equal(event.kind, PRAAS_EVENT_EPOCH_LOST);
	assert_int_equal(event.epoch, 6);
	assert_int_equal(praas_event_poll(conn, &event), -EAGAIN);
	praas_close(conn);
	(void)snprintf(lost, sizeof(lost), "{\"lost_epoch\":-1,%s",
		       f->server.ticket_json + 1);
	assert_int_equal(praas_connect_ticket(lost, NULL, &conn), -EINVAL);
	/* A forged ticket is refused, over both. */
	(void)snprintf(json, sizeof(json), "%s", f->server.ticket_json);
	at = strstr(json, "\"ticket\":\"") + 100;
	*at = *at == '0' ? '1' : '0';
	assert_int_equal(praas_connect_ticket(json, NULL, &conn), -EACCES);
	/* No socket there: tcp takes over. */
	(void)snprintf(json, sizeof(json), "%s", f->server.ticket_json);
	at = strstr(json, "/s\",\"tcp");
	at[1] = 'x';
	assert_int_equal(praas_connect_ticket(json, NULL, &conn), 0);
	assert_string_equal(praas_transport(conn), "tcp");
	praas_close(conn);
}

/* Words for every status. */
static void test_client_status_text(void **state)
{
	(void)state;
	for (int s = PRAAS_INTERNAL; s <= PRAAS_CRASHED; s++)
		assert_string_not_equal(praas_status_text(s), "unknown status");
	assert_string_equal(praas_status_text(PRAAS_OK), "done");
	assert_string_equal(praas_status_text(-5), "unknown status");
	assert_string_equal(praas_status_text(PRAAS_NOT_FOUND),
			    "no such key or message");
}

/* The parts that the process tells and ours come to the whole; a lie does not make them more; what
 * ends without a result has no parts of the process's. */
static void test_client_timing(void **state)
{
	struct fixture *f = *state;
	struct praas_timing t = { 0 };
	struct praas_call call = { .function = FN_ECHO,
				   .flags = PRAAS_CALL_TIMING,
				   .data = "abc",
				   .bytes = 3,
				   .timing = &t };
	struct praas_result result;

	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(praas_call(f->conn, &call, &result), 0);
		praas_result_release(f->conn, &result);
		/* Little, for all that a process tells has to fit into the call. */
		assert_int_equal(t.queue_ns, 20);
		assert_int_equal(t.run_ns, 100);
		assert_int_equal(t.state_ns, 30);
		assert_int_equal(t.client_ns + t.wire_ns + 150, t.call_ns);
	}
	call.function = FN_FAIL;
	assert_int_equal(praas_call(f->conn, &call, &result), 0);
	praas_result_release(f->conn, &result);
	assert_int_equal(t.run_ns, t.call_ns);
	/* Given up: the caller's memory is his again, whatever comes later. */
	call.function = FN_LATE;
	call.timeout_ns = 1000000;
	assert_int_equal(praas_call(f->conn, &call, &result), 0);
	assert_int_equal(result.status, PRAAS_DEADLINE);
	praas_result_release(f->conn, &result);
	assert_true(t.call_ns >= call.timeout_ns);
	assert_int_equal(t.run_ns + t.queue_ns + t.state_ns, 0);
	memset(&t, 0x5a, sizeof(t));
	call = (struct praas_call){ .function = FN_NOOP };
	assert_int_equal(praas_call(f->conn, &call, &result), 0); /* answers both */
	praas_result_release(f->conn, &result);
	assert_int_equal(praas_call(f->conn, &call, &result), 0);
	praas_result_release(f->conn, &result);
	assert_int_equal(t.call_ns, 0x5a5a5a5a5a5a5a5a);
}

int main(void)
{
#define SHM(name)                                                                      \
	{                                                                              \
		"shm: " #name, name, setup_shm, teardown, NULL                         \
	}
#define TCP(name)                                                                      \
	{                                                                              \
		"tcp: " #name, name, setup_tcp, teardown, NULL                         \
	}
#define BOTH(name) SHM(name), TCP(name)
	const struct CMUnitTest tests[] = {
		BOTH(test_client_call_echoes),
		BOTH(test_client_registered_buffer_is_not_copied),
		BOTH(test_client_many_in_flight),
		BOTH(test_client_error_of_the_function),
		BOTH(test_client_key_id_and_one_way),
		BOTH(test_client_out_of_order),
		BOTH(test_client_more_follow),
		BOTH(test_client_deadline_and_cancel),
		BOTH(test_client_large_payloads),
		BOTH(test_client_timing),
		BOTH(test_client_messages_and_state),
		BOTH(test_client_lists_messages),
		BOTH(test_client_connection_lost),
		BOTH(test_client_invoke_simple),
		{ "test_client_waiting_policies", test_client_waiting_policies,
		  setup_none, teardown, NULL },
		{ "test_client_never_leaves_tls", test_client_never_leaves_tls,
		  setup_none, teardown, NULL },
		{ "test_client_connect", test_client_connect, setup_none, teardown,
		  NULL },
		cmocka_unit_test(test_client_status_text),
	};

	return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}
