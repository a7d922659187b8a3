/* SPDX-License-Identifier: Apache-2.0
 * What only tcp can be asked: a peer that is a bare socket and does everything wrong. */
#include "rig.h"

#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal/base.h"
#include "transport/handshake.h"
#include "transport/tcp.h"
#include "transport/tcp_addr.h"

static const struct scheme tcp4 = { .name = "tcp4",
				    .listen = "tcp://127.0.0.1:0",
				    .nowhere = "tcp://127.0.0.1:1",
				    .multishot = true };
static struct rig rig;

static int raw_connect(void)
{
	union praas_tcp_addr addr;
	socklen_t bytes;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(praas_tcp_addr_parse("tcp", rig.addr, &addr, &bytes), 0);
	assert_int_equal(connect(fd, &addr.any, bytes), 0);
	return fd;
}

static void raw_send(int fd, const void *data, size_t bytes)
{
	assert_int_equal(send(fd, data, bytes, MSG_NOSIGNAL), bytes);
}

/* Reads exactly bytes while the server's port turns. False: the end came first. */
static bool raw_recv(int fd, void *data, size_t bytes)
{
	uint64_t end_ns = praas_now_ns() + UINT64_C(10000000000);
	size_t at = 0;

	while (at < bytes) {
		ssize_t n = recv(fd, (uint8_t *)data + at, bytes - at, MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EAGAIN))
			return false;
		if (n > 0)
			at += (size_t)n;
		rig_turn(&rig);
		sched_yield();
		if (praas_now_ns() > end_ns)
			fail_msg("the server says nothing");
	}
	return true;
}

/* Turns until the peer has closed; what it says before is read away. */
static void raw_until_closed(int fd)
{
	uint8_t byte;

	while (raw_recv(fd, &byte, 1))
		;
}

static void raw_frame(int fd, const struct praas_frame *f, const void *data)
{
	uint8_t wire[PRAAS_FRAME_BYTES + 4096] = { 0 };

	praas_frame_encode(f, wire);
	if (f->bytes > 0)
		memcpy(wire + PRAAS_FRAME_BYTES, data, f->bytes);
	raw_send(fd, wire, PRAAS_FRAME_BYTES + praas_align_up(f->bytes, 64));
}

/* The client's handshake by hand; sequences 1 and 2 are used up. */
static void raw_handshake(int fd)
{
	struct praas_handshake h;
	struct praas_ticket t = rig_ticket();
	struct praas_frame f = { .kind = PRAAS_FRAME_HELLO,
				 .sequence = 1,
				 .bytes = PRAAS_HELLO_BYTES };
	uint8_t hello[PRAAS_HELLO_BYTES], wire[192], proof[PRAAS_KEY_BYTES];

	assert_int_equal(
		praas_ticket_issue(rig.controller_key, &t, h.ticket, h.session_key), 0);
	memset(h.client_nonce, 7, sizeof(h.client_nonce));
	praas_hello_encode(&h, hello);
	raw_frame(fd, &f, hello);
	assert_true(raw_recv(fd, wire, PRAAS_FRAME_BYTES + PRAAS_CHALLENGE_BYTES));
	assert_int_equal(wire[3], PRAAS_FRAME_CHALLENGE);
	memcpy(h.server_nonce, wire + PRAAS_FRAME_BYTES, PRAAS_NONCE_BYTES);
	assert_int_equal(
		praas_handshake_check(&h, true,
				      wire + PRAAS_FRAME_BYTES + PRAAS_NONCE_BYTES),
		0);
	assert_int_equal(praas_handshake_proof(&h, false, proof), 0);
	f = (struct praas_frame){ .kind = PRAAS_FRAME_PROOF,
				  .sequence = 2,
				  .bytes = PRAAS_PROOF_BYTES };
	raw_frame(fd, &f, proof);
	assert_true(raw_recv(fd, wire,
			     PRAAS_FRAME_BYTES + 64)); /* WELCOME of two functions */
	assert_int_equal(wire[3], PRAAS_FRAME_WELCOME);
}

static struct praas_frame good_frame(void)
{
	return (struct praas_frame){
		.kind = PRAAS_FRAME_INVOKE, .sequence = 3, .id = 1, .bytes = 8
	};
}

/* One byte of a header changed: the frame is refused and the connection ended, or, where any value
 * is allowed, the frame arrives. Others are served all the while. */
static void test_tcp_every_header_byte_mutated(void **state)
{
	struct rig_config config = { .bytes_max = 4096, .stall_timeout_ns = 50000000 };
	unsigned closed = 0, frames = 0;

	(void)state;
	rig_start(&rig, &tcp4, &config);
	for (unsigned i = 0; i < PRAAS_FRAME_BYTES; i++) {
		struct praas_frame f = good_frame();
		uint8_t wire[192] = { 0 };
		bool any = (i >= 6 && i < 24) || (i >= 32 && i < 48) || i >= 56;
		int fd = raw_connect();

		raw_handshake(fd);
		praas_frame_encode(&f, wire);
		wire[i] ^= 0xa4; /* for flags, key and sizes too an impossible value */
		if (i == 5)
			wire[i] = 1; /* a key of one byte, which is a NUL */
		raw_send(fd, wire, i == 5 ? 192 : 128);
		if (any) {
			rig_until(&rig, &rig.server.frames, ++frames);
			(void)shutdown(fd, SHUT_WR);
		}
		rig_until(&rig, &rig.server.closed, ++closed);
		if (any)
			assert_int_equal(rig.server.closed_rc, 0);
		else if (i == 48)
			assert_true(rig.server.closed_rc ==
				    -ETIMEDOUT); /* 172 bytes announced */
		else if (i > 48)
			assert_int_equal(rig.server.closed_rc, -EMSGSIZE);
		else
			assert_int_equal(rig.server.closed_rc, -EPROTO);
		raw_until_closed(fd);
		(void)close(fd);
	}
	assert_int_equal(rig.server.frames, frames);
	rig_connect(&rig, &rig.client);
	rig.server.echo = true;
	assert_int_equal(rig_invoke(rig.client.conn, 1, 64), 0);
	rig_until(&rig, &rig.client.frames, 1);
	rig_stop(&rig);
}

/* Before the handshake only its frames, in order and of their sizes, are heard. */
static void test_tcp_handshake_out_of_order(void **state)
{
	static const struct {
		uint8_t kind;
		uint64_t bytes;
	} bad[] = { { PRAAS_FRAME_INVOKE, 8 },   { PRAAS_FRAME_PROOF, 32 },
		    { PRAAS_FRAME_WELCOME, 32 }, { PRAAS_FRAME_CHALLENGE, 64 },
		    { PRAAS_FRAME_HELLO, 0 },    { PRAAS_FRAME_HELLO, 183 },
		    { PRAAS_FRAME_HELLO, 185 },  { PRAAS_FRAME_CLOSE, 0 },
		    { PRAAS_FRAME_HELLO, 184 } };
	uint8_t data[4096] = { 1 };

	(void)state;
	rig_start(&rig, &tcp4, NULL);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct praas_frame f = { .kind = bad[i].kind,
					 .sequence = 1,
					 .bytes = bad[i].bytes };
		uint8_t wire[PRAAS_FRAME_BYTES];
		int fd = raw_connect();

		raw_frame(fd, &f, data);
		assert_true(raw_recv(fd, wire, sizeof(wire)));
		assert_int_equal(wire[3], PRAAS_FRAME_CLOSE);
		assert_true(wire[56] == PRAAS_CLOSE_PROTOCOL ||
			    wire[56] == PRAAS_CLOSE_DENIED);
		raw_until_closed(fd);
		(void)close(fd);
	}
	assert_int_equal(rig.server.opened, 0);
	rig_stop(&rig);
}

/* A stream cut anywhere arrives as one that was not. */
static void test_tcp_byte_by_byte(void **state)
{
	struct praas_frame f = good_frame();
	uint8_t wire[PRAAS_FRAME_BYTES + 6464] = { 0 };
	int fd;

	(void)state;
	rig_start(&rig, &tcp4, NULL);
	rig.server.keep = true;
	fd = raw_connect();
	raw_handshake(fd);
	for (unsigned round = 1; round <= 40; round++) {
		uint64_t x = round * UINT64_C(0x9e3779b97f4a7c15);

		f.sequence = 2 + round;
		f.id = round;
		f.bytes = round % 4 ? round * 3
				    : 6401; /* also those that get their own memory */
		praas_frame_encode(&f, wire);
		for (uint64_t i = 0; i < f.bytes;
		     i += 8, x += UINT64_C(0x9e3779b97f4a7c15))
			memcpy(wire + PRAAS_FRAME_BYTES + i, &x,
			       praas_min_u64(8, f.bytes - i));
		for (size_t at = 0;
		     at < PRAAS_FRAME_BYTES + praas_align_up(f.bytes, 64);) {
			size_t n = praas_min_u64(
				1 + (at * 7 + round) % (round % 3 ? 23 : 997),
				PRAAS_FRAME_BYTES + praas_align_up(f.bytes, 64) - at);

			raw_send(fd, wire + at, n);
			at += n;
			rig_turn(&rig);
		}
		rig_until(&rig, &rig.server.frames, round);
		assert_int_equal(rig.server.kept->head.bytes, f.bytes);
		assert_true(rig_pattern_is(rig.server.kept));
		memset(wire, 0, sizeof(wire));
	}
	assert_int_equal(rig.server.order_errors, 0);
	(void)close(fd);
	rig_until(&rig, &rig.server.closed, 1);
	rig_stop(&rig);
}

/* The peer ends its direction: what it asked is answered, then the end is told as orderly. */
static void test_tcp_half_close(void **state)
{
	struct praas_frame f = good_frame();
	uint8_t wire[128];
	int fd;

	(void)state;
	rig_start(&rig, &tcp4, NULL);
	rig.server.echo = true;
	fd = raw_connect();
	raw_handshake(fd);
	for (unsigned i = 0; i < 50; i++) {
		raw_frame(fd, &f, "12345678");
		f.sequence++;
	}
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	for (unsigned i = 0; i < 50; i++) {
		assert_true(raw_recv(fd, wire, sizeof(wire)));
		assert_int_equal(wire[3], PRAAS_FRAME_RESULT);
	}
	rig_until(&rig, &rig.server.closed, 1);
	assert_int_equal(rig.server.closed_rc, 0);
	raw_until_closed(fd);
	(void)close(fd);
	rig_stop(&rig);
}

/* The end in the middle of a frame is not orderly. */
static void test_tcp_cut_frame(void **state)
{
	struct praas_frame f = good_frame();
	uint8_t wire[PRAAS_FRAME_BYTES];
	int fd;

	(void)state;
	rig_start(&rig, &tcp4, NULL);
	for (unsigned i = 1; i <= 3; i++) {
		f.bytes = i == 3 ? 100000 : 8;
		praas_frame_encode(&f, wire);
		fd = raw_connect();
		raw_handshake(fd);
		raw_send(fd, wire, i == 1 ? 10 : sizeof(wire));
		(void)close(fd);
		rig_until(&rig, &rig.server.closed, i);
		assert_int_equal(rig.server.closed_rc, -ECONNRESET);
	}
	rig_stop(&rig);
}

/* A frame that is begun and trickles in: cut, though a byte comes now and then. */
static void test_tcp_partial_frame_stalls(void **state)
{
	struct rig_config config = { .stall_timeout_ns = UINT64_C(60000000) };
	struct praas_frame f = good_frame();
	uint8_t wire[PRAAS_FRAME_BYTES];
	uint64_t end_ns;
	int fd;

	(void)state;
	rig_start(&rig, &tcp4, &config);
	fd = raw_connect();
	raw_handshake(fd);
	rig_run_ms(&rig, 150); /* idle is no stall */
	assert_int_equal(rig.server.closed, 0);
	f.bytes = 1 << 20;
	praas_frame_encode(&f, wire);
	raw_send(fd, wire, sizeof(wire));
	end_ns = praas_now_ns() + UINT64_C(5000000000);
	while (rig.server.closed == 0 && praas_now_ns() < end_ns) {
		(void)send(fd, "x", 1,
			   MSG_NOSIGNAL | MSG_DONTWAIT); /* may be cut already */
		rig_run_ms(&rig, 10);
	}
	assert_int_equal(rig.server.closed, 1);
	assert_int_equal(rig.server.closed_rc, -ETIMEDOUT);
	(void)close(fd);
	rig_stop(&rig);
}

/* A peer that asks and never reads the answers is cut. */
static void test_tcp_reader_stalls(void **state)
{
	struct rig_config config = { .stall_timeout_ns = UINT64_C(60000000) };
	unsigned i;
	int fd, rc;

	(void)state;
	rig_start(&rig, &tcp4, &config);
	fd = raw_connect();
	raw_handshake(fd);
	for (i = 0; i < 10000; i++) {
		struct praas_buf *buf;

		rc = rig.ops->alloc(rig.server.conn, 65536, &buf);
		assert_int_equal(rc, 0);
		buf->head = (struct praas_frame){ .kind = PRAAS_FRAME_RESULT,
						  .bytes = 65536 };
		memset(buf->data, 0, 65536);
		if (praas_conn_send_or_release(rig.server.conn, buf) != 0)
			break;
		rig_turn(&rig);
	}
	assert_true(i < 10000);
	rig_until(&rig, &rig.server.closed, 1);
	assert_int_equal(rig.server.closed_rc, -ETIMEDOUT);
	assert_int_equal(rig.server.sent + rig.server.sent_bad, i);
	assert_true(rig.server.sent_bad > 0);
	(void)close(fd);
	rig_stop(&rig);
}

/* Connections beyond the limits are told so and closed; those below are not disturbed. */
static void test_tcp_too_many(void **state)
{
	struct rig_config config = { .conns_max = 6, .unauthenticated_max = 3 };
	int fds[8];
	uint8_t wire[PRAAS_FRAME_BYTES];

	(void)state;
	rig_start(&rig, &tcp4, &config);
	for (unsigned i = 0; i < 4; i++)
		fds[i] = raw_connect();
	assert_true(raw_recv(fds[3], wire, sizeof(wire)));
	assert_int_equal(wire[3], PRAAS_FRAME_CLOSE);
	assert_int_equal(wire[56], PRAAS_CLOSE_LIMIT);
	raw_until_closed(fds[3]);
	(void)close(fds[3]);
	/* Authenticated ones do not count against the first limit. */
	for (unsigned i = 0; i < 3; i++)
		raw_handshake(fds[i]);
	for (unsigned i = 3; i < 6; i++) {
		fds[i] = raw_connect();
		raw_handshake(fds[i]);
	}
	fds[6] = raw_connect();
	assert_true(raw_recv(fds[6], wire, sizeof(wire)));
	assert_int_equal(wire[56], PRAAS_CLOSE_LIMIT);
	for (unsigned i = 0; i < 7; i++)
		(void)close(fds[i]);
	rig_until(&rig, &rig.server.closed, 6);
	rig_run_ms(&rig, 5);
	rig_connect(&rig, &rig.client);
	rig_stop(&rig);
}

/* Half-sent frames of many strangers do not take the memory that others need. */
static void test_tcp_partial_frames_hold_little(void **state)
{
	enum { COUNT = 200 };
	struct rig_config config = { .unauthenticated_max = COUNT + 8 };
	struct praas_frame f = { .kind = PRAAS_FRAME_HELLO,
				 .sequence = 1,
				 .bytes = 184 };
	uint8_t wire[PRAAS_FRAME_BYTES];
	int fds[COUNT];

	(void)state;
	rig_start(&rig, &tcp4, &config);
	praas_frame_encode(&f, wire);
	for (unsigned i = 0; i < COUNT; i++) {
		fds[i] = raw_connect();
		raw_send(fds[i], wire, i % 2 ? sizeof(wire) : 1);
		rig_turn(&rig);
	}
	rig_run_ms(&rig, 10);
	rig_connect(&rig, &rig.client);
	rig.server.echo = true;
	for (unsigned i = 1; i <= 100; i++) {
		assert_int_equal(rig_invoke(rig.client.conn, i, 1000), 0);
		rig_until(&rig, &rig.client.frames, i);
	}
	for (unsigned i = 0; i < COUNT; i++)
		(void)close(fds[i]);
	rig_stop(&rig);
}

/* A result goes from the server's buffer to the wire, a request from the wire to the handler,
 * without a copy of ours: the handler's pointer lies in the port's receive memory. */
static void test_tcp_copies_nothing(void **state)
{
	uint64_t server, client;

	(void)state;
	rig_start(&rig, &tcp4, NULL);
	rig_connect(&rig, &rig.client);
	rig.server.echo = true;
	for (unsigned i = 1; i <= 20; i++) {
		assert_int_equal(rig_invoke(rig.client.conn, i, 64), 0);
		rig_until(&rig, &rig.client.frames, i);
	}
	server = rig.server_port->copies;
	client = rig.client_port->copies;
	for (unsigned i = 21; i <= 300; i++) {
		assert_int_equal(rig_invoke(rig.client.conn, i, i % 2 ? 64 : 3000), 0);
		rig_until(&rig, &rig.client.frames, i);
	}
	assert_int_equal(rig.server_port->copies, server);
	assert_int_equal(rig.client_port->copies, client);
	rig_stop(&rig);
}

/* Addresses that are none are refused before anything is opened. */
static void test_tcp_addresses(void **state)
{
	static const char *const bad[] = { "tcp://",
					   "tcp://1.2.3.4",
					   "tcp://1.2.3.4:",
					   "tcp://1.2.3.4:x",
					   "tcp://1.2.3.4:65536",
					   "tcp://1.2.3.4:123456",
					   "tcp://[::1]",
					   "tcp://[::1]7",
					   "tcp://[::1:7",
					   "tcp://localhost:7",
					   "tcp://1.2.3:7",
					   "tcp://[1.2.3.4]:7",
					   "udp://1.2.3.4:5",
					   "tcp://1.2.3.4:7 " };
	union praas_tcp_addr addr;
	char text[PRAAS_ADDR_MAX];
	socklen_t bytes;

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(praas_tcp_addr_parse("tcp", bad[i], &addr, &bytes),
				 -EINVAL);
	assert_int_equal(
		praas_tcp_addr_parse("tcp", "tcp://[fe80::1]:65535", &addr, &bytes), 0);
	praas_tcp_addr_format("tcp", &addr, text);
	assert_string_equal(text, "tcp://[fe80::1]:65535");
	assert_int_equal(
		praas_tcp_addr_parse("tcp", "tcp://127.0.0.1:0", &addr, &bytes), 0);
	praas_tcp_addr_format("tcp", &addr, text);
	assert_string_equal(text, "tcp://127.0.0.1:0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tcp_addresses),
		cmocka_unit_test(test_tcp_every_header_byte_mutated),
		cmocka_unit_test(test_tcp_handshake_out_of_order),
		cmocka_unit_test(test_tcp_byte_by_byte),
		cmocka_unit_test(test_tcp_half_close),
		cmocka_unit_test(test_tcp_cut_frame),
		cmocka_unit_test(test_tcp_partial_frame_stalls),
		cmocka_unit_test(test_tcp_reader_stalls),
		cmocka_unit_test(test_tcp_too_many),
		cmocka_unit_test(test_tcp_partial_frames_hold_little),
		cmocka_unit_test(test_tcp_copies_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
