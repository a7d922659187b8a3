/* SPDX-License-Identifier: Apache-2.0
 *
 * What is TLS's own beside the suite: who gets in, what is on the wire, other implementations.
 */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "internal/base.h"
#include "transport/handshake.h"
#include "transport/tcp_addr.h"
#include "transport/tls.h"

extern char **environ;

static const struct scheme tls4 = { .name = "tls4",
				    .listen = "tls://127.0.0.1:0",
				    .nowhere = "" };
static const struct scheme tcp4 = {
	.name = "tcp4", .listen = "tcp://127.0.0.1:0", .nowhere = "", .multishot = true
};
static struct rig rig;

/* A bare connect with this secret ends; how. 0: it opened. */
static int enter(const struct praas_ticket_secret *secret)
{
	unsigned opened = rig.client.opened, closed = rig.client.closed;
	struct praas_conn *conn;

	assert_int_equal(rig.ops->connect(rig.client_port, rig.addr, &rig_side_events,
					  &rig.client, &conn),
			 0);
	conn->secret = secret;
	for (unsigned i = 0; i < 1000000; i++) {
		rig_turn(&rig);
		if (rig.client.closed > closed)
			return rig.client.closed_rc;
		if (rig.client.opened > opened) {
			rig.ops->close(conn, false);
			return 0;
		}
	}
	fail_msg("neither open nor closed");
	return -EIO;
}

/* Every bit of the ticket and of the key; a ticket of another controller; none. */
static void test_tls_refuses_what_is_not_ours(void **state)
{
	struct praas_ticket_secret good, bad;
	struct praas_ticket t = rig_ticket();
	uint8_t foreign[PRAAS_KEY_BYTES] = { 9 };

	(void)state;
	rig_start(&rig, &tls4, NULL);
	rig_secret(&rig, NULL, &good);
	assert_int_equal(enter(&good), 0);
	for (unsigned bit = 0; bit < 8 * PRAAS_TICKET_BYTES; bit++) {
		bad = good;
		bad.ticket[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(enter(&bad), -EACCES);
	}
	for (unsigned bit = 0; bit < 8 * PRAAS_KEY_BYTES; bit++) {
		bad = good;
		bad.session_key[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(enter(&bad), -EACCES);
	}
	assert_int_equal(praas_ticket_issue(foreign, &t, bad.ticket, bad.session_key),
			 0);
	assert_int_equal(enter(&bad), -EACCES);
	assert_int_equal(enter(NULL), -EACCES);
	assert_int_equal(rig.client.opened, 1);
	assert_int_equal(enter(&good), 0);
	rig_stop(&rig);
}

/* A connected socket to the rig's port. */
static int plain_socket(const char *addr)
{
	union praas_tcp_addr to;
	socklen_t bytes;
	int fd;

	assert_int_equal(praas_tcp_addr_parse(rig.ops->scheme, addr, &to, &bytes), 0);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, &to.any, bytes), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

/* A HELLO frame as it would be in clear text. */
static size_t hello_frame(uint8_t wire[PRAAS_FRAME_BYTES + 192])
{
	struct praas_frame f = { .kind = PRAAS_FRAME_HELLO,
				 .sequence = 1,
				 .bytes = PRAAS_HELLO_BYTES };
	struct praas_ticket_secret secret;

	memset(wire, 0, PRAAS_FRAME_BYTES + 192);
	rig_secret(&rig, NULL, &secret);
	praas_frame_encode(&f, wire);
	memcpy(wire + PRAAS_FRAME_BYTES, secret.ticket, PRAAS_TICKET_BYTES);
	return PRAAS_FRAME_BYTES + 192;
}

/* All that the port says until it closes. */
static size_t read_all(int fd, uint8_t *data, size_t bytes)
{
	size_t got = 0;

	for (unsigned i = 0; i < 1000000; i++) {
		ssize_t n = recv(fd, data + got, bytes - got, MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EAGAIN))
			return got;
		got += n > 0 ? (size_t)n : 0;
		rig_turn(&rig);
	}
	fail_msg("it does not close");
	return 0;
}

/* A port of TLS says nothing in clear text, whatever comes; nor does it to one too many. */
static void test_tls_port_never_talks_clear(void **state)
{
	static const struct rig_config one = { .unauthenticated_max = 1 };
	uint8_t wire[PRAAS_FRAME_BYTES + 192], back[4096];
	size_t n;
	int fd, other;

	(void)state;
	rig_start(&rig, &tls4, &one);
	fd = plain_socket(rig.addr);
	(void)hello_frame(wire);
	assert_int_equal(send(fd, wire, sizeof(wire), MSG_NOSIGNAL), sizeof(wire));
	n = read_all(fd, back, sizeof(back));
	/* An alert, 21, or nothing. */
	assert_true(n == 0 || back[0] == 21);
	(void)close(fd);
	fd = plain_socket(rig.addr);
	for (unsigned i = 0; i < 1000; i++)
		rig_turn(&rig);
	other = plain_socket(rig.addr);
	assert_int_equal(read_all(other, back, sizeof(back)), 0);
	(void)close(other);
	(void)close(fd);
	assert_int_equal(rig.server.opened, 0);
	rig_stop(&rig);
}

/* Neither does a client that wants TLS: a clear port gets no frame from it and it gives up. */
static void test_tls_client_never_falls_back(void **state)
{
	struct praas_session_client_config c = { .events = &rig_side_events,
						 .user = &rig.client };
	struct praas_ticket t = rig_ticket();
	struct praas_port_config p = { 0 };
	struct praas_port *port;
	struct praas_conn *conn;
	char addr[PRAAS_ADDR_MAX];

	(void)state;
	rig_start(&rig, &tcp4, NULL);
	p.memory = praas_heap_memory(rig.client_heap);
	p.conns_max = 4;
	assert_int_equal(praas_transport_find("tls")->open(&p, &port), 0);
	(void)snprintf(addr, sizeof(addr), "tls%.100s", rig.addr + 3);
	assert_int_equal(
		praas_ticket_issue(rig.controller_key, &t, c.ticket, c.session_key), 0);
	assert_int_equal(port->ops->connect(port, rig.addr, &rig_side_events,
					    &rig.client, &conn),
			 -EINVAL);
	assert_int_equal(praas_session_connect(port, addr, &c, &conn), 0);
	for (unsigned i = 0; i < 1000000 && rig.client.closed == 0; i++) {
		(void)port->ops->poll(port, 64);
		rig_turn(&rig);
	}
	assert_int_equal(rig.client.closed, 1);
	assert_true(rig.client.closed_rc == -EPROTO ||
		    rig.client.closed_rc == -ECONNRESET);
	assert_int_equal(rig.client.opened + rig.server.opened, 0);
	assert_true(rig.server_port->protocol_errors > 0);
	port->ops->free(port);
	rig_stop(&rig);
}

/* Connected and silent: it does not hold its place for ever. */
static void test_tls_handshake_stalls(void **state)
{
	static const struct rig_config quick = { .stall_timeout_ns = 100000000 };
	uint8_t back[64];
	ssize_t rc = -1;
	int fd;

	(void)state;
	rig_start(&rig, &tls4, &quick);
	fd = plain_socket(rig.addr);
	assert_int_equal(send(fd, "\x16\x03\x01", 3, MSG_NOSIGNAL), 3);
	for (unsigned i = 0; i < 200 && rc < 0; i++) {
		rig_run_ms(&rig, 50);
		rc = recv(fd, back, sizeof(back), MSG_DONTWAIT);
	}
	assert_int_equal(rc, 0);
	(void)close(fd);
	rig_stop(&rig);
}

/* ---- a man in the middle ---- */

struct relay {
	int listen, client, server;
	uint64_t forward;  /* bytes from client to server so far */
	uint64_t flip_at;  /* of these, one to change; 0 none */
	uint64_t block_at; /* nothing beyond is passed on; 0 no end */
};

static void relay_open(struct relay *r, char addr[PRAAS_ADDR_MAX])
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t bytes = sizeof(a);

	*r = (struct relay){ .client = -1, .server = -1 };
	r->listen = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(r->listen, (struct sockaddr *)&a, bytes), 0);
	assert_int_equal(listen(r->listen, 4), 0);
	assert_int_equal(getsockname(r->listen, (struct sockaddr *)&a, &bytes), 0);
	(void)snprintf(addr, PRAAS_ADDR_MAX, "tls://127.0.0.1:%u", ntohs(a.sin_port));
	r->server = plain_socket(rig.addr);
}

static void relay_turn(struct relay *r)
{
	uint8_t data[4096];
	uint64_t most = sizeof(data);
	ssize_t n;

	if (r->client < 0) {
		r->client =
			accept4(r->listen, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		return;
	}
	n = recv(r->server, data, sizeof(data), MSG_DONTWAIT);
	if (n > 0)
		(void)send(r->client, data, (size_t)n, MSG_NOSIGNAL);
	if (r->block_at)
		most = praas_min_u64(most, r->block_at - r->forward);
	n = most ? recv(r->client, data, most, MSG_DONTWAIT) : -1;
	if (n <= 0)
		return;
	if (r->flip_at > r->forward && r->flip_at <= r->forward + (uint64_t)n)
		data[r->flip_at - r->forward - 1] ^= 1;
	r->forward += (uint64_t)n;
	(void)send(r->server, data, (size_t)n, MSG_NOSIGNAL);
}

static void relay_close(struct relay *r)
{
	(void)close(r->listen);
	(void)close(r->client);
	(void)close(r->server);
}

static void relay_run(struct relay *r, const unsigned *counter, unsigned value)
{
	for (unsigned i = 0; i < 1000000 && *counter < value; i++) {
		relay_turn(r);
		rig_turn(&rig);
	}
	assert_int_equal(*counter, value);
}

static void relay_connect(struct relay *r)
{
	struct praas_session_client_config c = { .events = &rig_side_events,
						 .user = &rig.client };
	struct praas_ticket t = rig_ticket();
	struct praas_conn *conn;
	char addr[PRAAS_ADDR_MAX];

	relay_open(r, addr);
	rig.client.rig = &rig;
	assert_int_equal(
		praas_ticket_issue(rig.controller_key, &t, c.ticket, c.session_key), 0);
	assert_int_equal(praas_session_connect(rig.client_port, addr, &c, &conn), 0);
	relay_run(r, &rig.client.opened, 1);
	relay_run(r, &rig.server.opened, 1);
}

/* One changed byte of a record: the frame never arrives and the connection ends, with its error. */
static void test_tls_changed_record(void **state)
{
	struct relay r;

	(void)state;
	for (unsigned at = 1; at < 200; at += 17) {
		rig_start(&rig, &tls4, NULL);
		relay_connect(&r);
		r.flip_at = r.forward + at;
		assert_int_equal(rig_invoke(rig.client.conn, 1, 200), 0);
		relay_run(&r, &rig.server.closed, 1);
		assert_int_equal(rig.server.closed_rc, -EPROTO);
		assert_int_equal(rig.server.frames, 0);
		assert_true(rig.server_port->protocol_errors > 0);
		relay_close(&r);
		rig_stop(&rig);
	}
}

/* Cut off by somebody on the way: not an end in order, though all frames were whole. */
static void test_tls_cut_off(void **state)
{
	struct relay r;

	(void)state;
	rig_start(&rig, &tls4, NULL);
	relay_connect(&r);
	assert_int_equal(rig_invoke(rig.client.conn, 1, 200), 0);
	relay_run(&r, &rig.server.frames, 1);
	(void)shutdown(r.server, SHUT_WR);
	relay_run(&r, &rig.server.closed, 1);
	assert_int_equal(rig.server.closed_rc, -ECONNRESET);
	relay_close(&r);
	rig_stop(&rig);
}

/* What goes over the wire is not what was sent. */
static void test_tls_wire_is_not_clear(void **state)
{
	uint8_t secret[] = "a word that nobody on the way shall read", data[8192];
	struct relay r;
	struct praas_buf *buf;
	ssize_t n = 0;

	(void)state;
	rig_start(&rig, &tls4, NULL);
	relay_connect(&r);
	assert_int_equal(rig.ops->alloc(rig.client.conn, sizeof(secret), &buf), 0);
	buf->head = (struct praas_frame){ .kind = PRAAS_FRAME_SEND,
					  .id = 1,
					  .bytes = sizeof(secret) };
	memcpy(buf->data, secret, sizeof(secret));
	assert_int_equal(rig.ops->send(rig.client.conn, buf), 0);
	for (unsigned i = 0; i < 1000 && n <= 0; i++) {
		rig_turn(&rig);
		n = recv(r.client, data, sizeof(data), MSG_DONTWAIT);
	}
	assert_true(n > (ssize_t)sizeof(secret));
	assert_int_equal(data[0], 23); /* application data */
	assert_null(memmem(data, (size_t)n, secret, 8));
	assert_null(memmem(data, (size_t)n, "PR\1", 3));
	relay_close(&r);
	rig_stop(&rig);
}

/* ---- steady state ---- */

/* OpenSSL's memory goes through us from the start; its headers are the record layer's alone. */
int CRYPTO_set_mem_functions(void *(*alloc)(size_t, const char *, int),
			     void *(*again)(void *, size_t, const char *, int),
			     void (*release)(void *, const char *, int));
static uint64_t openssl_allocations, openssl_frees;

static void *count_alloc(size_t bytes, const char *file, int line)
{
	(void)file;
	(void)line;
	openssl_allocations++;
	return malloc(bytes);
}

static void *count_again(void *data, size_t bytes, const char *file, int line)
{
	(void)file;
	(void)line;
	openssl_allocations += data == NULL;
	return realloc(data, bytes);
}

static void count_free(void *data, const char *file, int line)
{
	(void)file;
	(void)line;
	openssl_frees += data != NULL;
	free(data);
}

static void echo_some(unsigned count)
{
	static const uint64_t sizes[] = { 0, 64, 1000, 5000, 100000 };

	for (unsigned i = 0; i < count; i++) {
		unsigned frames = rig.client.frames;

		rig_invoke_wait(&rig, rig.client.conn, rig.client.next_id + 1,
				sizes[i % 5]);
		rig_until(&rig, &rig.client.frames, frames + 1);
	}
}

/* What OpenSSL takes for a record, four small pieces in all, it gives back with it. */
static void test_tls_steady_memory(void **state)
{
	(void)state;
	rig_start(&rig, &tls4, NULL);
	rig_connect(&rig, &rig.client);
	rig.server.echo = true;
	assert_true(openssl_allocations > 0);
	echo_some(50);
	openssl_allocations = 0;
	openssl_frees = 0;
	echo_some(500); /* five sizes there and back: 2 × (1 + 1 + 1 + 1 + 7) records */
	assert_int_equal(openssl_allocations, openssl_frees);
	assert_true(openssl_allocations <= 100u * 22 * 4);
	rig_stop(&rig);
}

/* ---- another implementation's client ---- */

static void hex(const uint8_t *data, size_t bytes, char *ret_text)
{
	for (size_t i = 0; i < bytes; i++)
		(void)snprintf(ret_text + 2 * i, 3, "%02x", data[i]);
}

/* openssl s_client with these words more; 1: the server answers our HELLO in it, 0: it ended. */
static int openssl_client(const char *key, const char *identity, const char *version,
			  const char *alpn)
{
	const char *argv[20] = {
		"openssl", "s_client", "-quiet", "-connect", strrchr(rig.addr, '/') + 1,
		version
	};
	unsigned argc = 6;
	posix_spawn_file_actions_t fa;
	uint8_t wire[PRAAS_FRAME_BYTES + 192], back[256];
	int in[2], out[2], status, answered = 0;
	size_t got = 0, bytes = hello_frame(wire);
	pid_t pid;

	if (alpn) {
		argv[argc++] = "-alpn";
		argv[argc++] = alpn;
	}
	if (key) {
		argv[argc++] = "-psk";
		argv[argc++] = key;
		argv[argc++] = "-psk_identity";
		argv[argc++] = identity;
	}
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	(void)posix_spawn_file_actions_init(&fa);
	(void)posix_spawn_file_actions_adddup2(&fa, in[0], 0);
	(void)posix_spawn_file_actions_adddup2(&fa, out[1], 1);
	(void)posix_spawn_file_actions_addopen(&fa, 2, "/dev/null", O_WRONLY, 0);
	if (posix_spawnp(&pid, "openssl", &fa, NULL, (char **)(uintptr_t)argv,
			 environ) != 0)
		skip();
	(void)posix_spawn_file_actions_destroy(&fa);
	(void)close(in[0]);
	(void)close(out[1]);
	assert_int_equal(fcntl(out[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(write(in[1], wire, bytes), (ssize_t)bytes);
	for (unsigned i = 0; i < 20000 && got < 128; i++) {
		ssize_t n = read(out[0], back + got, sizeof(back) - got);
		struct pollfd p = { .fd = out[0], .events = POLLIN };

		if (n == 0)
			break;
		got += n > 0 ? (size_t)n : 0;
		rig_turn(&rig);
		if (n < 0)
			(void)poll(&p, 1, 1);
	}
	/* CHALLENGE: a frame in order. */
	answered = got == 128 && memcmp(back, "PR\1\2", 4) == 0;
	(void)kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	(void)close(in[1]);
	(void)close(out[0]);
	rig_run_ms(&rig, 5);
	return answered;
}

static void test_tls_openssl_client(void **state)
{
	char key[2 * PRAAS_KEY_BYTES + 1], identity[PRAAS_TLS_IDENTITY_BYTES + 1];
	struct praas_ticket_secret secret;

	(void)state;
	(void)signal(SIGPIPE, SIG_IGN);
	rig_start(&rig, &tls4, NULL);
	rig_secret(&rig, NULL, &secret);
	hex(secret.session_key, PRAAS_KEY_BYTES, key);
	hex(secret.ticket, PRAAS_TICKET_BYTES, identity);
	assert_int_equal(openssl_client(key, identity, "-tls1_3", "praas/1"), 1);
	assert_int_equal(openssl_client(key, identity, "-tls1_3", "http/1.1,praas/1"),
			 1);
	assert_int_equal(openssl_client(key, identity, "-tls1_3", NULL), 0);
	assert_int_equal(openssl_client(key, identity, "-tls1_3", "http/1.1"), 0);
	assert_int_equal(openssl_client(key, identity, "-tls1_2", "praas/1"), 0);
	assert_int_equal(openssl_client(NULL, NULL, "-tls1_3", "praas/1"), 0);
	assert_int_equal(openssl_client(key, "somebody", "-tls1_3", "praas/1"), 0);
	key[0] = key[0] == '0' ? '1' : '0';
	assert_int_equal(openssl_client(key, identity, "-tls1_3", "praas/1"), 0);
	rig_stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tls_refuses_what_is_not_ours),
		cmocka_unit_test(test_tls_port_never_talks_clear),
		cmocka_unit_test(test_tls_client_never_falls_back),
		cmocka_unit_test(test_tls_handshake_stalls),
		cmocka_unit_test(test_tls_changed_record),
		cmocka_unit_test(test_tls_cut_off),
		cmocka_unit_test(test_tls_wire_is_not_clear),
		cmocka_unit_test(test_tls_steady_memory),
		cmocka_unit_test(test_tls_openssl_client),
	};

	if (CRYPTO_set_mem_functions(count_alloc, count_again, count_free) != 1)
		return 2;
	return cmocka_run_group_tests_name("tls", tests, NULL, NULL);
}
