/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "client/connection.h"
#include "praas/client.h"
#include "tests/unit/client_server.h"

/* A connection of libpraas goes along when its process moves: from one server in a thread to another one. */

#define CALLS 40u

struct fixture {
	struct server from, to;
	praas_connection *conn;
	const char *transport;
	_Atomic uint64_t ran[4 * CALLS];
	_Atomic uint32_t ran_count;
};

static void note_ran(void *user, const struct praas_frame *head)
{
	struct fixture *f = user;
	uint32_t at = atomic_load(&f->ran_count);

	if (at < 4 * CALLS)
		atomic_store(&f->ran[at], head->id);
	atomic_store(&f->ran_count, at + 1);
}

static int setup(void **state, const char *transport)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct praas_connect_config config = { .transport = transport,
					       .timeout_ns = 2000000000u };

	f->transport = transport;
	server_start(&f->from, 8u << 20);
	f->to = (struct server){
		.bytes_max = 8u << 20, .epoch = 4, .ran = note_ran, .ran_user = f
	};
	server_launch(&f->to);
	f->from.moved_to = 4;
	f->from.where.endpoints_count = 2;
	(void)snprintf(f->from.where.endpoints[0], PRAAS_ADDR_MAX, "%s",
		       f->to.shm_addr);
	(void)snprintf(f->from.where.endpoints[1], PRAAS_ADDR_MAX, "%s",
		       f->to.tcp_addr);
	assert_int_equal(praas_connect_ticket(f->from.ticket_json, &config, &f->conn),
			 0);
	*state = f;
	return 0;
}

static int setup_shm(void **state)
{
	return setup(state, "shm");
}

static int setup_tcp(void **state)
{
	return setup(state, "tcp");
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	praas_close(f->conn);
	server_stop(&f->to);
	server_stop(&f->from);
	free(f);
	return 0;
}

static void expect_event(struct fixture *f, enum praas_event_kind kind, uint32_t epoch)
{
	struct praas_event event;

	assert_int_equal(praas_event_poll(f->conn, &event), 0);
	assert_int_equal(event.kind, kind);
	assert_int_equal(event.epoch, epoch);
}

/* What was not answered is sent again, with its id, its payload and its key, and in its order. */
static void test_follow_sends_again_in_order(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[CALLS];
	uint8_t data[5000];
	void *registered;
	struct praas_result result;
	struct praas_event event;

	assert_int_equal(praas_buffer_alloc(f->conn, sizeof(data), &registered), 0);
	memset(registered, 0x77, sizeof(data));
	atomic_store(&f->from.deaf, true);
	for (unsigned i = 0; i < CALLS; i++) {
		struct praas_call call = {
			.function = i % 5 == 4 ? FN_KEY : FN_ECHO,
			.data = i == 7 ? registered : data,
			.bytes = i == 9 ? 0 : sizeof(data) - 100 * i,
			.key = i % 5 >= 3 ? "key" : NULL,
			/* Ids of the caller's own are in no order. */
			.id = i % 4 == 1 ? 1000000 - i : 0,
			.flags = i % 3 == 0 ? PRAAS_CALL_MORE : 0
		};

		memset(data, (int)i, sizeof(data));
		assert_int_equal(praas_submit(f->conn, &call, &ids[i]), 0);
	}
	assert_int_equal(server_order(&f->from, SERVER_MOVED, 0), 0);
	for (unsigned i = CALLS; i-- > 0;) {
		assert_int_equal(praas_wait_call(f->conn, ids[i], -1, &result), 0);
		assert_int_equal(result.status, 0);
		memset(data, i == 7 ? 0x77 : (int)i, sizeof(data));
		if (i % 5 == 4) {
			assert_int_equal(result.view.bytes, 3);
			assert_memory_equal(result.view.data, "key", 3);
		} else {
			assert_int_equal(result.view.bytes,
					 i == 9 ? 0 : sizeof(data) - 100 * i);
			assert_memory_equal(result.view.data, data, result.view.bytes);
		}
		praas_result_release(f->conn, &result);
	}
	for (unsigned i = 0, at = 0; i < CALLS; i++)
		if (i % 5 != 4)
			assert_int_equal(f->ran[at++], ids[i]);
	assert_int_equal(f->ran_count, CALLS / 5 * 4);
	assert_string_equal(praas_transport(f->conn), f->transport);
	expect_event(f, PRAAS_EVENT_MOVED, 4);
	assert_int_equal(praas_event_poll(f->conn, &event), -EAGAIN);
	praas_buffer_free(f->conn, registered);
}

/* Blocking calls and requests, which are under way when it moves. */
static void test_follow_blocking(void **state)
{
	static const uint8_t kinds[] = { PRAAS_FRAME_INVOKE, PRAAS_FRAME_SEND,
					 PRAAS_FRAME_STATE_GET, PRAAS_FRAME_RECV };
	struct praas_result result;
	struct praas_call call = { .function = FN_ECHO, .data = "abc", .bytes = 3 };
	praas_pid_t source;
	size_t bytes;
	void *data;

	for (unsigned i = 0; i < sizeof(kinds); i++) {
		struct fixture *f = *state;

		atomic_store(&f->from.moves_at, kinds[i]);
		atomic_store(&f->from.deaf, true);
		if (i == 0) {
			assert_int_equal(praas_call(f->conn, &call, &result), 0);
			assert_int_equal(result.status, 0);
			assert_memory_equal(result.view.data, "abc", 3);
			praas_result_release(f->conn, &result);
		} else if (i == 1) {
			assert_int_equal(praas_msg_send(f->conn, "k", "x", 1), 0);
		} else if (i == 2) {
			assert_int_equal(
				praas_state_read(f->conn, "k", &data, &bytes, NULL), 0);
			assert_int_equal(bytes, 5);
			free(data);
		} else {
			assert_int_equal(praas_msg_recv(f->conn, "k", -1, &data, &bytes,
							&source),
					 0);
			assert_int_equal(bytes, 3);
			free(data);
		}
		expect_event(f, PRAAS_EVENT_MOVED, 4);
		assert_int_equal(praas_call(f->conn, &call, &result), 0);
		praas_result_release(f->conn, &result);
		teardown(state);
		setup(state, i % 2 ? "tcp" : "shm");
	}
}

/* What the caller has of before stays where it is until it is given back; and there and back many times. */
static void test_follow_what_is_held(void **state)
{
	struct fixture *f = *state;
	struct praas_call call = { .function = FN_ECHO, .bytes = 3000 };
	struct praas_result held[3], result;
	uint8_t data[3000];
	void *registered;
	uint64_t id;

	memset(data, 0x31, sizeof(data));
	call.data = data;
	assert_int_equal(praas_buffer_alloc(f->conn, 3000, &registered), 0);
	memset(registered, 0x32, 3000);
	assert_int_equal(praas_call(f->conn, &call, &held[0]), 0);
	assert_int_equal(praas_submit(f->conn, &call, &id), 0);
	assert_int_equal(praas_wait_call(f->conn, id, -1, &held[1]), 0);
	assert_int_equal(praas_submit(f->conn, &call, &id), 0);
	while (praas_poll(f->conn, &held[2], 1) == 0)
		;
	assert_int_equal(server_order(&f->from, SERVER_MOVED, 0), 0);
	memset(data, 0x33, sizeof(data));
	assert_int_equal(praas_call(f->conn, &call, &result), 0);
	assert_memory_equal(result.view.data, data, 3000);
	praas_result_release(f->conn, &result);
	call.data = registered;
	assert_int_equal(praas_call(f->conn, &call, &result), 0);
	memset(data, 0x32, sizeof(data));
	assert_memory_equal(result.view.data, data, 3000);
	praas_result_release(f->conn, &result);
	praas_buffer_free(f->conn, registered);
	memset(data, 0x31, sizeof(data));
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(held[i].view.bytes, 3000);
		assert_memory_equal(held[i].view.data, data, 3000);
		praas_result_release(f->conn, &held[i]);
	}
	expect_event(f, PRAAS_EVENT_MOVED, 4);
}

/* Cancelled, or its time is over: it has not run, and does not any more. */
static void test_follow_given_up(void **state)
{
	struct fixture *f = *state;
	struct praas_call call = { .function = FN_ECHO, .data = "x", .bytes = 1 };
	struct praas_result result;
	uint64_t cancelled;

	atomic_store(&f->from.deaf, true);
	call.timeout_ns = 1000000;
	assert_int_equal(praas_call(f->conn, &call, &result), 0);
	assert_int_equal(result.status, PRAAS_DEADLINE);
	praas_result_release(f->conn, &result);
	call.timeout_ns = 0;
	assert_int_equal(praas_submit(f->conn, &call, &cancelled), 0);
	assert_int_equal(praas_cancel(f->conn, cancelled), 0);
	assert_int_equal(server_order(&f->from, SERVER_MOVED, 0), 0);
	assert_int_equal(praas_wait_call(f->conn, cancelled, -1, &result), 0);
	assert_int_equal(result.status, PRAAS_CANCELLED);
	praas_result_release(f->conn, &result);
	assert_int_equal(praas_call(f->conn, &call, &result), 0);
	assert_int_equal(result.status, 0);
	praas_result_release(f->conn, &result);
	assert_int_equal(f->ran_count, 1);
}

/* Nobody is there, in another epoch, or has other functions: the connection ends, in time, as it did before. */
static void test_follow_in_vain(void **state)
{
	struct fixture *f = *state;
	struct praas_call call = { .function = FN_ECHO, .data = "x", .bytes = 1 };
	struct praas_result result;
	struct praas_event event;
	uint64_t id, begin;
	uint32_t function;

	atomic_store(&f->from.deaf, true);
	assert_int_equal(praas_submit(f->conn, &call, &id), 0);
	f->from.moved_to = 5;
	begin = praas_now_ns();
	assert_int_equal(server_order(&f->from, SERVER_MOVED, 0), 0);
	assert_int_equal(praas_wait_call(f->conn, id, -1, &result), 0);
	assert_in_range(praas_now_ns() - begin, 0, 3000000000u);
	assert_int_equal(result.status, PRAAS_UNKNOWN);
	assert_int_not_equal(result.retry_ns, 0);
	praas_result_release(f->conn, &result);
	assert_int_equal(praas_call(f->conn, &call, &result), -ENOTCONN);
	assert_int_equal(praas_function_lookup(f->conn, "late", &function), 0);
	assert_int_equal(function, FN_LATE);
	assert_int_equal(praas_msg_send(f->conn, "k", "x", 1), -ENOTCONN);
	assert_int_equal(praas_event_poll(f->conn, &event), 0);
	assert_int_equal(event.kind, PRAAS_EVENT_CLOSED);
	assert_int_equal(praas_event_poll(f->conn, &event), -EAGAIN);
}

/* Who does not want to go along is not told, and its connection goes on as long as it is there. */
static void test_follow_not_wanted(void **state)
{
	struct fixture *f = *state;
	struct praas_connect_config config = { .transport = f->transport,
					       .no_follow = true };
	struct praas_call call = { .function = FN_ECHO, .data = "x", .bytes = 1 };
	struct praas_connection *conn;
	struct praas_result result;
	struct praas_event event;

	assert_int_equal(praas_connect_ticket(f->from.ticket_json, &config, &conn), 0);
	assert_int_equal(server_order(&f->from, SERVER_MOVED, 0), 0);
	assert_int_equal(praas_call(conn, &call, &result), 0);
	assert_int_equal(result.status, 0);
	praas_result_release(conn, &result);
	assert_int_equal(praas_event_poll(conn, &event), -EAGAIN);
	praas_close(conn);
	assert_int_equal(f->ran_count, 0);
}

/* Changes of the members that nobody has looked at are one event, and push no other out. */
static void test_follow_members_are_one_event(void **state)
{
	struct fixture *f = *state;
	struct praas_event event;

	praas_event_add(f->conn, PRAAS_EVENT_DRAINING, 0, 1);
	for (unsigned i = 0; i < 3 * PRAAS_EVENTS_KEPT; i++)
		praas_event_add(f->conn, PRAAS_EVENT_MEMBERS, 0, 1);
	assert_int_equal(praas_event_poll(f->conn, &event), 0);
	assert_int_equal(event.kind, PRAAS_EVENT_DRAINING);
	assert_int_equal(praas_event_poll(f->conn, &event), 0);
	assert_int_equal(event.kind, PRAAS_EVENT_MEMBERS);
	assert_int_equal(praas_event_poll(f->conn, &event), -EAGAIN);
	praas_event_add(f->conn, PRAAS_EVENT_MEMBERS, 0, 1);
	assert_int_equal(praas_event_poll(f->conn, &event), 0);
	assert_int_equal(event.kind, PRAAS_EVENT_MEMBERS);
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
		BOTH(test_follow_sends_again_in_order),
		BOTH(test_follow_blocking),
		BOTH(test_follow_what_is_held),
		BOTH(test_follow_given_up),
		BOTH(test_follow_in_vain),
		BOTH(test_follow_not_wanted),
		TCP(test_follow_members_are_one_event),
	};

	return cmocka_run_group_tests_name("follow", tests, NULL, NULL);
}
