/* SPDX-License-Identifier: Apache-2.0
 * One suite for every transport: what transport/transport.h promises, whatever carries it.
 * A new transport is a line in schemes.c. */
#include "suite.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"
#include "praas/client.h"

const struct scheme *scheme;
struct rig rig;

/* Both sides open once; identity, rights and limits are those of the ticket. */
static void test_transport_connects(void **state)
{
	struct praas_ticket t = rig_ticket();

	(void)state;
	t.bytes_max = 1u << 20;
	rig_start(&rig, scheme, NULL);
	rig_connect_begin(&rig, &rig.client, &t);
	rig_until(&rig, &rig.client.opened, 1);
	rig_until(&rig, &rig.server.opened, 1);
	assert_int_equal(rig.server.conn->peer_source, RIG_SOURCE);
	assert_int_equal(rig.server.conn->peer_rights,
			 PRAAS_RIGHT_INVOKE | PRAAS_RIGHT_SEND);
	assert_int_equal(rig.server.conn->bytes_max, 1u << 20);
	assert_int_equal(rig.client.conn->bytes_max, 1u << 20);
	assert_int_equal(rig.client.conn->peer_source, 5);
	assert_int_equal(rig.client.welcome.inflight_max, 64);
	assert_int_equal(rig.client.welcome.functions_count, 2);
	assert_string_equal(rig.client.function, "echo");
	assert_int_equal(rig.client.closed + rig.server.closed, 0);
	rig_stop(&rig);
}

/* Nobody there: closed once with a reason, never opened. */
static void test_transport_refused(void **state)
{
	struct praas_conn *conn;
	char addr[PRAAS_ADDR_MAX];
	int rc;

	(void)state;
	rig_start(&rig, scheme, NULL);
	rig_address(scheme->nowhere, rig.folder, addr);
	rc = rig.ops->connect(rig.client_port, addr, &rig_side_events, &rig.client,
			      &conn);
	if (rc == 0) {
		rig_until(&rig, &rig.client.closed, 1);
		rc = rig.client.closed_rc;
	}
	assert_true(scheme->nobody ? rc == scheme->nobody
				   : rc == -ECONNREFUSED || rc == -ENOENT);
	rig_run_ms(&rig, 5);
	assert_int_equal(rig.client.opened, 0);
	assert_true(rig.client.closed <= 1);
	assert_int_equal(rig.ops->connect(rig.client_port, "nonsense", &rig_side_events,
					  &rig.client, &conn),
			 -EINVAL);
	rig_stop(&rig);
}

/* Closed before it was connected: no upcall ever. */
static void test_transport_cancelled_while_connecting(void **state)
{
	struct praas_conn *conn;

	(void)state;
	rig_start(&rig, scheme, NULL);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(rig.ops->connect(rig.client_port, rig.addr,
						  &rig_side_events, &rig.client, &conn),
				 0);
		if (i % 2)
			(void)rig.ops->poll(rig.server_port, 64);
		rig.ops->close(conn, i % 4 < 2);
	}
	rig_run_ms(&rig, 20);
	assert_int_equal(rig.client.opened + rig.client.closed, 0);
	rig_connect(&rig, &rig.client);
	rig_stop(&rig);
}

/* Payloads of every size class come back as they were, aligned, with key and trace. */
static void test_transport_echoes_all_sizes(void **state)
{
	static const uint64_t sizes[] = { 0,     1,     63,    64,    65,     255,
					  256,   1024,  1025,  3711,  3712,   3713,
					  4095,  4096,  4097,  16384, 65471,  65472,
					  65473, 65535, 65536, 65537, 200000, 1048577 };

	(void)state;
	rig_start(&rig, scheme, NULL);
	rig_connect(&rig, &rig.client);
	rig.server.echo = true;
	rig.client.keep = true;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		rig_invoke_wait(&rig, rig.client.conn, i + 1, sizes[i]);
		rig_until(&rig, &rig.client.frames, i + 1);
		assert_int_equal(rig.client.kept->head.kind, PRAAS_FRAME_RESULT);
		assert_int_equal(rig.client.kept->head.id, i + 1);
		assert_int_equal(rig.client.kept->head.bytes, sizes[i]);
		assert_true(rig_pattern_is(rig.client.kept));
	}
	assert_int_equal(rig.client.order_errors, 0);
	rig_stop(&rig);
}

/* Every field of a frame travels; the source is the ticket's, whatever the sender wrote. */
static void test_transport_carries_all_fields(void **state)
{
	struct praas_buf *buf;
	const struct praas_frame *got;
	uint64_t deadline_ns = praas_now_ns() + UINT64_C(60000000000);

	(void)state;
	rig_start(&rig, scheme, NULL);
	rig_connect(&rig, &rig.client);
	rig.server.keep = true;
	assert_int_equal(rig.ops->alloc(rig.client.conn, 100, &buf), 0);
	buf->head = (struct praas_frame){ .kind = PRAAS_FRAME_INVOKE,
					  .flags = PRAAS_FRAME_FLAGS,
					  .key_bytes = PRAAS_KEY_MAX,
					  .function = 1,
					  .epoch = 3,
					  .source = 0xbad,
					  .id = 1,
					  .deadline_ns = deadline_ns,
					  .bytes = 100,
					  .aux = 0x123456789abcdef0 };
	memset(buf->key, 'k', PRAAS_KEY_MAX);
	buf->key[PRAAS_KEY_MAX] = '\0';
	memset(buf->trace, 9, 24);
	memset(buf->trace + 24, 0, 8);
	memset(buf->data, 0x5a, 100);
	assert_int_equal(rig.ops->send(rig.client.conn, buf), 0);
	rig_until(&rig, &rig.server.frames, 1);
	got = &rig.server.kept->head;
	assert_int_equal(got->flags, PRAAS_FRAME_FLAGS);
	assert_int_equal(got->key_bytes, PRAAS_KEY_MAX);
	assert_int_equal(strlen(rig.server.kept->key), PRAAS_KEY_MAX);
	assert_int_equal(got->function, 1);
	assert_true(got->source == RIG_SOURCE || got->source == 0);
	assert_int_equal(got->aux, 0x123456789abcdef0);
	assert_int_equal(rig.server.kept->trace[0], 9);
	assert_int_equal(rig.server.kept->trace[23], 9);
	assert_true(got->deadline_ns >= deadline_ns - UINT64_C(1000000));
	assert_true(got->deadline_ns < deadline_ns + UINT64_C(30000000000));
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(rig.server.kept->data[i], 0x5a);
	rig_stop(&rig);
}

/* Sends count frames, as the queue has room; all turns are the rig's. */
static void send_all(unsigned count, uint64_t bytes)
{
	for (uint64_t id = 1; id <= count; id++)
		rig_invoke_wait(&rig, rig.client.conn, id, bytes);
}

/* Many small frames keep their order and are each told as sent once. */
static void test_transport_many_small_in_order(void **state)
{
	(void)state;
	rig_start(&rig, scheme, NULL);
	rig_connect(&rig, &rig.client);
	rig.server.echo = true;
	for (unsigned round = 1; round <= 4; round++) {
		rig.client.next_id = 0;
		rig.server.next_id = 0;
		send_all(1000, 64);
		rig_until(&rig, &rig.server.frames, round * 1000);
		rig_until(&rig, &rig.client.frames,
			  round * 1000 - rig.server.refused_echoes);
	}
	rig_until(&rig, &rig.client.sent, 4000);
	rig_run_ms(&rig, 5);
	assert_int_equal(rig.client.sent, 4000);
	assert_int_equal(rig.client.sent_bad, 0);
	assert_int_equal(rig.server.order_errors, 0);
	if (rig.server.refused_echoes == 0)
		assert_int_equal(rig.client.order_errors, 0);
	rig_stop(&rig);
}

/* 64 MiB there and back. */
static void test_transport_huge(void **state)
{
	(void)state;
	rig_start(&rig, scheme, NULL);
	rig_connect(&rig, &rig.client);
	rig.server.echo = true;
	rig.client.keep = true;
	rig_invoke_wait(&rig, rig.client.conn, 1, 64u << 20);
	rig_until(&rig, &rig.client.frames, 1);
	assert_int_equal(rig.client.kept->head.bytes, 64u << 20);
	assert_true(rig_pattern_is(rig.client.kept));
	rig_stop(&rig);
}

/* Many connections at once, each with its own frames. */
static void test_transport_many_connections(void **state)
{
	enum { COUNT = 40 };
	static struct side sides[COUNT];

	(void)state;
	rig_start(&rig, scheme, NULL);
	memset(sides, 0, sizeof(sides));
	rig.server.echo = true;
	for (unsigned i = 0; i < COUNT; i++)
		rig_connect_begin(&rig, &sides[i], NULL);
	for (unsigned i = 0; i < COUNT; i++)
		rig_until(&rig, &sides[i].opened, 1);
	for (unsigned round = 1; round <= 20; round++) {
		for (unsigned i = 0; i < COUNT; i++)
			assert_int_equal(rig_invoke(sides[i].conn, round, 64 + i), 0);
		for (unsigned i = 0; i < COUNT; i++)
			rig_until(&rig, &sides[i].frames, round);
	}
	for (unsigned i = 0; i < COUNT; i++) {
		assert_int_equal(sides[i].order_errors, 0);
		assert_int_equal(sides[i].closed, 0);
		assert_int_equal(sides[i].bytes, 20 * (64 + i));
	}
	rig_stop(&rig);
}

/* A peer that does not read: send says so, loses nothing, and goes on when the peer does. */
static void test_transport_back_pressure(void **state)
{
	struct rig_config config = { .send_queue_max = 1u << 20 };
	unsigned accepted = 0;
	int rc = 0;

	(void)state;
	rig_start(&rig, scheme, &config);
	rig_connect(&rig, &rig.client);
	rig.server_paused = true;
	for (unsigned i = 0; i < 100000; i++) {
		rc = rig_invoke(rig.client.conn, accepted + 1, 16384);
		if (rc != 0) {
			rig_turn(&rig);
			rc = rig_invoke(rig.client.conn, accepted + 1, 16384);
		}
		if (rc != 0)
			break;
		accepted++;
	}
	assert_true(rc == -EAGAIN || rc == -ENOBUFS);
	assert_true(accepted > 8);
	rig.server_paused = false;
	rig.server_budget = 1; /* a slow reader */
	rig_until(&rig, &rig.server.frames, accepted);
	rig_until(&rig, &rig.client.sent, accepted);
	assert_int_equal(rig.server.order_errors, 0);
	rig_invoke_wait(&rig, rig.client.conn, accepted + 1, 16384);
	rig_until(&rig, &rig.server.frames, accepted + 1);
	rig_stop(&rig);
}

/* The members change while a client takes nothing: it hears of it when it does again. */
static void test_transport_members_reach_the_slow(void **state)
{
	struct rig_config config = { .send_queue_max = 1u << 20 };
	uint64_t until = praas_now_ns() + UINT64_C(20000000000);
	unsigned accepted = 0;

	(void)state;
	rig_start(&rig, scheme, &config);
	rig.members = true;
	rig_connect(&rig, &rig.client);
	assert_int_equal(rig.members_asked, 1);
	/* Until there is no room for a frame without a payload, which is what the event is; they count
	 * in the queue as well, or a slow peer could have them fill the memory. */
	for (uint64_t bytes = 16384;; bytes = 0) {
		while (rig_invoke(rig.server.conn, accepted + 1, bytes) == 0 ||
		       (rig.ops->poll(rig.server_port, 64),
			rig_invoke(rig.server.conn, accepted + 1, bytes)) == 0)
			assert_true(++accepted < 200000);
		if (bytes == 0)
			break;
	}
	praas_session_server_members(rig.session);
	while (rig.client.events == 0 && praas_now_ns() < until) {
		praas_session_server_tick(rig.session, praas_now_ns());
		rig_turn(&rig);
	}
	assert_int_equal(rig.client.events, 1);
	assert_int_equal(rig.client.last_aux, PRAAS_EVENT_MEMBERS);
	assert_int_equal(rig.client.frames, accepted);
	rig.members = false;
	rig_stop(&rig);
}

/* One side at a time: ticket → what the client is told. */
static void refuse(void (*spoil)(struct praas_ticket *), int want)
{
	struct praas_ticket t = rig_ticket();
	unsigned before = rig.client.closed;

	spoil(&t);
	rig_connect_begin(&rig, &rig.client, &t);
	rig_until(&rig, &rig.client.closed, before + 1);
	assert_int_equal(rig.client.closed_rc, want);
	assert_int_equal(rig.client.opened, 0);
	assert_int_equal(rig.server.opened, 0);
}

static void spoil_pid(struct praas_ticket *t)
{
	t->pid++;
}

static void spoil_tenant(struct praas_ticket *t)
{
	t->tenant[0] ^= 1;
}

static void spoil_epoch(struct praas_ticket *t)
{
	t->epoch--;
}

static void spoil_expiry(struct praas_ticket *t)
{
	t->not_before_s -= 1000;
	t->expires_s = t->not_before_s + 1;
}

/* Foreign, stale and expired tickets are refused, each with its own reason. */
static void test_transport_bad_tickets(void **state)
{
	(void)state;
	rig_start(&rig, scheme, NULL);
	refuse(spoil_pid, -EACCES);
	refuse(spoil_tenant, -EACCES);
	refuse(spoil_epoch, -ESTALE);
	refuse(spoil_expiry, -EKEYEXPIRED);
	rig.controller_key[0] ^= 1; /* forged: made with another key */
	refuse(spoil_expiry, -EACCES);
	rig.controller_key[0] ^= 1;
	rig_connect(&rig, &rig.client);
	rig_stop(&rig);
}

/* A right ticket without the session key proves nothing, to either side. */
static void test_transport_bad_session_key(void **state)
{
	struct praas_session_client_config c = { .events = &rig_side_events,
						 .user = &rig.client };
	struct praas_ticket t = rig_ticket();
	struct praas_conn *conn;

	(void)state;
	rig_start(&rig, scheme, NULL);
	assert_int_equal(
		praas_ticket_issue(rig.controller_key, &t, c.ticket, c.session_key), 0);
	c.session_key[31] ^= 1;
	assert_int_equal(praas_session_connect(rig.client_port, rig.addr, &c, &conn),
			 0);
	rig_until(&rig, &rig.client.closed, 1);
	assert_int_equal(rig.client.closed_rc, -EACCES);
	rig_run_ms(&rig, 5);
	assert_int_equal(rig.server.opened, 0);
	rig_stop(&rig);
}

/* Connected, but no handshake: ended when its time is over. */
static void test_transport_handshake_timeout(void **state)
{
	struct praas_ticket_secret secret;

	(void)state;
	rig_start(&rig, scheme, NULL);
	rig_connect_bare(&rig, &rig.client, &secret);
	rig_until(&rig, &rig.client.opened, 1);
	/* Turns, not time: the server must have taken it on before its clock is moved. */
	for (unsigned i = 0; i < 2000; i++)
		rig_turn(&rig);
	rig_run_ms(&rig, 20);
	praas_session_server_tick(rig.session, praas_now_ns() + UINT64_C(4000000000));
	rig_run_ms(&rig, 5);
	assert_int_equal(rig.client.closed, 0);
	praas_session_server_tick(rig.session, praas_now_ns() + UINT64_C(6000000000));
	rig_until(&rig, &rig.client.closed, 1);
	assert_int_equal(rig.server.opened, 0);
	rig_stop(&rig);
}

/* The ticket ends: a warning, ten seconds, then the connection ends with that reason. */
static void test_transport_ticket_expires(void **state)
{
	uint64_t now_ns;

	(void)state;
	rig_start(&rig, scheme, NULL);
	rig_connect(&rig, &rig.client);
	now_ns = praas_now_ns();
	praas_session_server_tick(rig.session, now_ns + UINT64_C(298000000000));
	rig_run_ms(&rig, 5);
	assert_int_equal(rig.client.events, 0);
	praas_session_server_tick(rig.session, now_ns + UINT64_C(301000000000));
	rig_until(&rig, &rig.client.events, 1);
	assert_int_equal(rig.client.last_aux, 4);
	praas_session_server_tick(rig.session, now_ns + UINT64_C(310000000000));
	rig_run_ms(&rig, 5);
	assert_int_equal(rig.server.closed + rig.client.closed, 0);
	praas_session_server_tick(rig.session, now_ns + UINT64_C(311100000000));
	assert_int_equal(rig.server.closed, 1);
	assert_int_equal(rig.server.closed_rc, -EKEYEXPIRED);
	rig_until(&rig, &rig.client.closed, 1);
	assert_int_equal(rig.client.closes, 1);
	assert_int_equal(rig.client.last_aux, 3);
	rig_stop(&rig);
}

/* Signals (DPDK's tap sends one for each packet) only begin it again. */
static int sleep_on(struct pollfd *p, int ms)
{
	int rc;

	do
		rc = poll(p, 1, ms);
	while (rc < 0 && errno == EINTR);
	return rc;
}

/* An armed port is woken by a frame, and is not by nothing. */
static void test_transport_armed_port_wakes(void **state)
{
	struct pollfd p = { .events = POLLIN };
	int rc = -EAGAIN;

	(void)state;
	rig_start(&rig, scheme, NULL);
	rig_connect(&rig, &rig.client);
	for (unsigned round = 1; round <= 30; round++) {
		for (unsigned i = 0; i < 100000; i++) {
			rig_turn(&rig);
			rc = rig.ops->arm(rig.server_port, &p.fd);
			if (rc == 0)
				break;
		}
		assert_int_equal(rc, 0);
		assert_true(p.fd >= 0);
		if (round % 8 == 0 && !scheme->paced)
			assert_int_equal(sleep_on(&p, 5), 0);
		assert_int_equal(
			rig_invoke(rig.client.conn, round, round % 2 ? 64 : 100000), 0);
		(void)rig.ops->poll(rig.client_port, 64);
		assert_int_equal(sleep_on(&p, 5000), 1);
		rig_until(&rig, &rig.server.frames, round);
	}
	rig_stop(&rig);
}

/* Frames kept by the layer above do not stop the others. */
static void test_transport_kept_frames(void **state)
{
	(void)state;
	rig_start(&rig, scheme, NULL);
	rig_connect(&rig, &rig.client);
	rig.server.keep = true;
	for (unsigned i = 1; i <= 300; i++) {
		assert_int_equal(rig_invoke(rig.client.conn, i, 1000), 0);
		rig_until(&rig, &rig.server.frames, i);
		assert_true(rig_pattern_is(rig.server.kept));
	}
	rig_stop(&rig);
}

static atomic_bool threads_stop;

static void *serve(void *arg)
{
	(void)arg;
	while (!atomic_load_explicit(&threads_stop, memory_order_relaxed))
		rig_poll_or_sleep(&rig, rig.server_port);
	return NULL;
}

/* Each port in a thread of its own, both sleeping when there is nothing to do: no wake-up is
 * lost. The server's port was opened by another thread than the one that polls it. */
static void test_transport_two_threads(void **state)
{
	pthread_t thread;

	(void)state;
	rig_start(&rig, scheme, NULL);
	rig.server.echo = true;
	atomic_store(&threads_stop, false);
	assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
	rig_connect_begin(&rig, &rig.client, NULL);
	while (rig.client.opened == 0 && rig.client.closed == 0)
		rig_poll_or_sleep(&rig, rig.client_port);
	assert_int_equal(rig.client.opened, 1);
	for (unsigned i = 1; i <= 400; i++) {
		while (rig_invoke(rig.client.conn, i, i % 10 ? 64 : 70000) != 0)
			rig_poll_or_sleep(&rig, rig.client_port);
		while (rig.client.frames < i && rig.client.closed == 0)
			rig_poll_or_sleep(&rig, rig.client_port);
	}
	assert_int_equal(rig.client.frames, 400);
	assert_int_equal(rig.client.order_errors, 0);
	atomic_store(&threads_stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	rig_stop(&rig);
}

/* More than 32 bits of payload, in a run of its own: it takes memory and time. */
static void test_transport_over_four_gib(void **state)
{
	uint64_t bytes = (UINT64_C(1) << 32) + 1;

	(void)state;
	rig_start(&rig, scheme, NULL);
	rig.patience_ns = UINT64_C(500000000000);
	rig_connect(&rig, &rig.client);
	rig.server.keep = true;
	rig_invoke_wait(&rig, rig.client.conn, 1, bytes);
	rig_until(&rig, &rig.server.frames, 1);
	assert_int_equal(rig.server.kept->head.bytes, bytes);
	assert_true(rig_pattern_is(rig.server.kept));
	rig_stop(&rig);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_transport_connects),
		cmocka_unit_test(test_transport_refused),
		cmocka_unit_test(test_transport_cancelled_while_connecting),
		cmocka_unit_test(test_transport_echoes_all_sizes),
		cmocka_unit_test(test_transport_carries_all_fields),
		cmocka_unit_test(test_transport_many_small_in_order),
		cmocka_unit_test(test_transport_huge),
		cmocka_unit_test(test_transport_many_connections),
		cmocka_unit_test(test_transport_back_pressure),
		cmocka_unit_test(test_transport_members_reach_the_slow),
		cmocka_unit_test(test_transport_close_during_send),
		cmocka_unit_test(test_transport_close_after_flush),
		cmocka_unit_test(test_transport_half_close),
		cmocka_unit_test(test_transport_answers_before_the_end),
		cmocka_unit_test(test_transport_reconnects),
		cmocka_unit_test(test_transport_bad_tickets),
		cmocka_unit_test(test_transport_bad_session_key),
		cmocka_unit_test(test_transport_handshake_timeout),
		cmocka_unit_test(test_transport_ticket_expires),
		cmocka_unit_test(test_transport_armed_port_wakes),
		cmocka_unit_test(test_transport_kept_frames),
		cmocka_unit_test(test_transport_two_threads),
	};
	const struct CMUnitTest giant[] = { cmocka_unit_test(
		test_transport_over_four_gib) };
	const char *missing;

	if (argc < 2) {
		(void)fprintf(stderr, "usage: %s SCHEME [giant | [-]PATTERN]\n",
			      argv[0]);
		return 2;
	}
	scheme = scheme_find(argv[1]);
	if (scheme == NULL)
		return 2;
	missing = scheme_missing(scheme);
	if (missing != NULL) {
		(void)printf("SKIPPED: %s: %s\n", scheme->name, missing);
		return 77;
	}
	if (argc > 2 && strcmp(argv[2], "giant") == 0)
		return cmocka_run_group_tests_name(scheme->name, giant, NULL, NULL);
	if (argc > 2 && argv[2][0] == '-')
		cmocka_set_skip_filter(argv[2] + 1);
	else if (argc > 2)
		cmocka_set_test_filter(argv[2]);
	return cmocka_run_group_tests_name(scheme->name, tests, NULL, NULL);
}
