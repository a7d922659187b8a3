/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

#include "tests/e2e/faults.h"
#include "transport/frame.h"
#include "transport/handshake.h"

/* Tickets that do not open the door, and frames of which each header field in turn is not as it
 * should be: a clear end for that connection, while another client's calls go on. */

struct spoil {
	const char *what;
	void (*change)(struct praas_ticket *t);
	int rc; /* of the connect */
};

static void none(struct praas_ticket *t)
{
	(void)t;
}

static void tenant(struct praas_ticket *t)
{
	t->tenant[0] ^= 1;
}

static void app(struct praas_ticket *t)
{
	t->app[15] ^= 1;
}

static void other_controller(struct praas_ticket *t)
{
	t->controller[3] ^= 1;
}

static void pid(struct praas_ticket *t)
{
	t->pid++;
}

static void epoch(struct praas_ticket *t)
{
	t->epoch++;
}

static void expired(struct praas_ticket *t)
{
	t->not_before_s -= 1000;
	t->expires_s = t->not_before_s + 100;
}

static void early(struct praas_ticket *t)
{
	t->not_before_s += 1000;
	t->expires_s += 1000;
}

static struct praas_ticket ticket_of(const struct fixture *f)
{
	struct praas_ticket t = { .pid = 7,
				  .epoch = f->c.epoch,
				  .source = PRAAS_CLIENT | 77,
				  .rights = PRAAS_RIGHT_ALL,
				  .not_before_s = (uint64_t)time(NULL),
				  .expires_s = (uint64_t)time(NULL) + 300 };

	memset(t.tenant, 0x11, sizeof(t.tenant));
	memset(t.app, 0x22, sizeof(t.app));
	memset(t.controller, 0x33, sizeof(t.controller));
	return t;
}

/* Connects with these very bytes; the outcome. */
static int knock(const struct fixture *f, const char *transport,
		 const uint8_t wire[PRAAS_TICKET_BYTES],
		 const uint8_t key[PRAAS_KEY_BYTES])
{
	char wire_hex[2 * PRAAS_TICKET_BYTES + 1], key_hex[2 * PRAAS_KEY_BYTES + 1];
	char *good = controller_ticket(&f->c, transport), *text;
	json_t *json = json_loads(good, 0, NULL);
	praas_connection *conn = NULL;
	int rc;

	controller_hex(wire, PRAAS_TICKET_BYTES, wire_hex);
	controller_hex(key, PRAAS_KEY_BYTES, key_hex);
	assert_int_equal(json_object_set_new(json, "ticket", json_string(wire_hex)), 0);
	assert_int_equal(json_object_set_new(json, "session_key", json_string(key_hex)),
			 0);
	text = json_dumps(json, JSON_COMPACT);
	rc = praas_connect_ticket(text, NULL, &conn);
	if (rc == 0)
		praas_close(conn);
	else
		assert_int_not_equal(praas_error()[0], '\0');
	json_decref(json);
	free(text);
	free(good);
	return rc;
}

static void refuse_all(struct fixture *f, const char *transport)
{
	static const struct spoil spoils[] = {
		{ "nothing", none, 0 },
		{ "tenant", tenant, -EACCES },
		{ "application", app, -EACCES },
		{ "controller", other_controller, -EACCES },
		{ "process", pid, -EACCES },
		{ "epoch", epoch, -ESTALE },
		{ "expired", expired, -EKEYEXPIRED },
		{ "not yet valid", early, -EKEYEXPIRED },
	};
	uint8_t wire[PRAAS_TICKET_BYTES], key[PRAAS_KEY_BYTES];
	struct praas_ticket t;
	praas_connection *other;
	uint64_t n = 0;

	controller_start(&f->c, &f->o);
	other = fault_connect(f, "tcp");
	for (size_t i = 0; i < sizeof(spoils) / sizeof(*spoils); i++) {
		int rc;

		t = ticket_of(f);
		spoils[i].change(&t);
		assert_int_equal(praas_ticket_issue(controller_key, &t, wire, key), 0);
		rc = knock(f, transport, wire, key);
		if (rc != spoils[i].rc)
			fail_msg("%s, %s: %d \"%s\"", transport, spoils[i].what, rc,
				 praas_error());
		assert_int_equal(fault_count(other), ++n);
	}
	/* Forged: any byte of it changed; or the session key is not the ticket's. */
	t = ticket_of(f);
	assert_int_equal(praas_ticket_issue(controller_key, &t, wire, key), 0);
	for (size_t i = 0; i < sizeof(wire); i += 3) {
		wire[i] ^= 0x10;
		assert_int_not_equal(knock(f, transport, wire, key), 0);
		wire[i] ^= 0x10;
	}
	key[5] ^= 1;
	assert_int_equal(knock(f, transport, wire, key), -EACCES);
	assert_int_equal(fault_count(other), ++n);
	praas_close(other);
}

static void test_tickets_refused_over_tcp(void **state)
{
	refuse_all(*state, "tcp");
}

static void test_tickets_refused_over_tls(void **state)
{
	refuse_all(*state, "tls");
}

static void test_tickets_refused_over_shm(void **state)
{
	refuse_all(*state, "shm");
}

/* ---- frames, by hand ---- */

static int dial(const struct fixture *f)
{
	json_t *all = json_object_get(f->c.join, "endpoints");
	struct sockaddr_in addr = { .sin_family = AF_INET };
	struct timeval limit = { .tv_sec = 10 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (size_t i = 0; i < json_array_size(all); i++) {
		const char *address = json_string_value(json_array_get(all, i));

		if (strncmp(address, "tcp", 3) == 0)
			addr.sin_port =
				htons((uint16_t)atoi(strrchr(address, ':') + 1));
	}
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)),
			 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void put(int fd, const struct praas_frame *f, const void *data)
{
	uint8_t bytes[4096] = { 0 };
	size_t count = PRAAS_FRAME_BYTES + praas_frame_body_bytes(f);

	praas_frame_encode(f, bytes);
	if (f->bytes)
		memcpy(bytes + PRAAS_FRAME_BYTES, data, f->bytes);
	assert_int_equal(send(fd, bytes, count, MSG_NOSIGNAL), (ssize_t)count);
}

/* All of them, whatever interrupts: with a time limit set, recv() ends early for the sake of the
 * io_uring of the client library in this process. */
static bool receive(int fd, void *data, size_t bytes)
{
	size_t at = 0;

	while (at < bytes) {
		ssize_t n = recv(fd, (uint8_t *)data + at, bytes - at, 0);

		if (n > 0)
			at += (size_t)n;
		else if (n == 0 || errno != EINTR)
			return false;
	}
	return true;
}

/* The next frame; false: the end. */
static bool get(int fd, struct praas_frame *ret_f, uint8_t *data, size_t room)
{
	uint8_t head[PRAAS_FRAME_BYTES];
	size_t body;

	if (!receive(fd, head, sizeof(head)))
		return false;
	assert_int_equal(praas_frame_decode(head, room, ret_f), 0);
	body = praas_frame_body_bytes(ret_f);
	assert_true(body <= room);
	return receive(fd, data, body);
}

static int dial_in(const struct fixture *f)
{
	static uint8_t data[PRAAS_WELCOME_MAX + 64];
	uint8_t proof[PRAAS_KEY_BYTES], hello[PRAAS_HELLO_BYTES];
	struct praas_ticket t = ticket_of(f);
	struct praas_handshake h = { 0 };
	struct praas_frame frame = { .kind = PRAAS_FRAME_HELLO,
				     .sequence = 1,
				     .bytes = PRAAS_HELLO_BYTES };
	int fd = dial(f);

	assert_int_equal(
		praas_ticket_issue(controller_key, &t, h.ticket, h.session_key), 0);
	assert_int_equal(praas_handshake_nonce(h.client_nonce), 0);
	praas_hello_encode(&h, hello);
	put(fd, &frame, hello);
	assert_true(get(fd, &frame, data, sizeof(data)));
	assert_int_equal(frame.kind, PRAAS_FRAME_CHALLENGE);
	memcpy(h.server_nonce, data, sizeof(h.server_nonce));
	assert_int_equal(praas_handshake_proof(&h, false, proof), 0);
	frame = (struct praas_frame){ .kind = PRAAS_FRAME_PROOF,
				      .sequence = 2,
				      .bytes = sizeof(proof) };
	put(fd, &frame, proof);
	assert_true(get(fd, &frame, data, sizeof(data)));
	assert_int_equal(frame.kind, PRAAS_FRAME_WELCOME);
	return fd;
}

/* Each byte of an INVOKE's header, changed in several ways: an answer with that id, or a CLOSE, or
 * the end of the connection. Never silence, and the other client is served. */
static void test_tickets_every_header_byte_changed(void **state)
{
	static const uint8_t masks[] = { 0x01, 0x80, 0xff };
	struct fixture *f = *state;
	struct praas_frame invoke = { .kind = PRAAS_FRAME_INVOKE,
				      .sequence = 3,
				      .id = 1 };
	praas_connection *other;
	unsigned answered = 0, ended = 0;
	uint64_t n = 0;

	controller_start(&f->c, &f->o);
	other = fault_connect(f, "shm");
	invoke.function = (uint16_t)fault_function(other, "total");
	invoke.epoch = f->c.epoch;
	for (unsigned i = 0; i < PRAAS_FRAME_BYTES * 3; i++) {
		uint8_t bytes[PRAAS_FRAME_BYTES], data[4096];
		struct praas_frame answer;
		int fd = dial_in(f);

		invoke.id = i + 1;
		praas_frame_encode(&invoke, bytes);
		bytes[i / 3] ^= masks[i % 3];
		assert_int_equal(send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL),
				 sizeof(bytes));
		/* Nothing more comes: who waits for a key or a payload learns it. */
		assert_int_equal(shutdown(fd, SHUT_WR), 0);
		if (get(fd, &answer, data, sizeof(data)) &&
		    answer.kind != PRAAS_FRAME_CLOSE)
			answered++;
		else
			ended++;
		(void)close(fd);
		if (i % 16 == 0)
			assert_int_equal(fault_count(other), ++n);
	}
	/* Source, status, aux and the like mean nothing in an INVOKE; magic, version, kind, flags,
	 * sequence and lengths do. */
	assert_true(answered > 20);
	assert_true(ended > 40);
	assert_int_equal(kill(f->c.pid, 0), 0);
	praas_close(other);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		FAULT_TEST(test_tickets_refused_over_tcp),
		FAULT_TEST(test_tickets_refused_over_tls),
		FAULT_TEST(test_tickets_refused_over_shm),
		FAULT_TEST(test_tickets_every_header_byte_changed),
	};

	if (fault_arguments(argc, argv) != 0)
		return 2;
	return cmocka_run_group_tests_name(argv[4], tests, NULL, NULL);
}
