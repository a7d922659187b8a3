/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS from anybody: an identity; bytes that come instead of a handshake: no entry; and an honest
 * connection in which the input changes bytes on the way: what comes out is a beginning of what was
 * sent, or nothing. The first byte of the input chooses.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal/base.h"
#include "transport/tls.h"

#define MESSAGE_BYTES 40000u
#define TURNS 400u

static const uint8_t the_key[PRAAS_KEY_BYTES] = { 1, 2, 3 };
static struct praas_tls_context *server, *client;
static uint8_t message[MESSAGE_BYTES], got[MESSAGE_BYTES];

static void require(bool ok)
{
	if (!ok)
		abort();
}

static int key_of(void *user, const uint8_t ticket[PRAAS_TICKET_BYTES],
		  uint8_t ret_key[PRAAS_KEY_BYTES])
{
	(void)user;
	if (ticket[0] != 7)
		return -EACCES;
	memcpy(ret_key, the_key, PRAAS_KEY_BYTES);
	return 0;
}

static void identity(const uint8_t *data, size_t bytes)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t ticket[PRAAS_TICKET_BYTES];

	if (praas_tls_identity_decode(data, bytes, ticket) != 0)
		return;
	require(bytes == 2u * PRAAS_TICKET_BYTES);
	for (size_t i = 0; i < bytes; i++)
		require(data[i] ==
			(uint8_t)digits[ticket[i / 2] >> (i % 2 ? 0 : 4) & 15]);
}

static void pair(int ret_fd[2])
{
	require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
			   ret_fd) == 0);
}

static void stranger(const uint8_t *data, size_t bytes)
{
	struct praas_tls *tls;
	bool write;
	int fd[2], rc = -EAGAIN;

	pair(fd);
	require(praas_tls_new(server, fd[0], NULL, &tls) == 0);
	(void)send(fd[1], data, bytes, MSG_NOSIGNAL);
	(void)shutdown(fd[1], SHUT_WR);
	for (unsigned i = 0; i < TURNS && rc == -EAGAIN; i++)
		rc = praas_tls_handshake(tls, &write);
	require(rc != 0 && rc != -EAGAIN);
	require(praas_tls_recv(tls, got, sizeof(got)) < 0);
	praas_tls_end(tls);
	praas_tls_free(tls);
	(void)close(fd[0]);
	(void)close(fd[1]);
}

/* Bytes from one socket to another; those at places of the input are changed. */
static void carry(int from, int to, uint64_t *at, const uint8_t *changes, size_t bytes)
{
	uint8_t buf[2048];
	ssize_t n = recv(from, buf, sizeof(buf), MSG_DONTWAIT);

	if (n <= 0)
		return;
	for (size_t i = 0; i + 3 <= bytes; i += 3) {
		uint64_t place = changes[i] | (uint64_t)changes[i + 1] << 8;

		if (place >= *at && place < *at + (uint64_t)n)
			buf[place - *at] ^= changes[i + 2];
	}
	*at += (uint64_t)n;
	(void)send(to, buf, (size_t)n, MSG_NOSIGNAL);
}

struct ends {
	struct praas_tls *tls[2]; /* client, server */
	int rc[2];                /* of the handshakes */
};

/* One step of both ends; returns what the server has got so far, or an error. */
static int64_t step(struct ends *e, uint64_t *sent, uint64_t received)
{
	bool write;
	int64_t n;

	for (unsigned i = 0; i < 2; i++)
		if (e->rc[i] == -EAGAIN)
			e->rc[i] = praas_tls_handshake(e->tls[i], &write);
	if (e->rc[0] == 0 && *sent < MESSAGE_BYTES) {
		struct iovec iov[2] = { { message + *sent, 1 },
					{ message + *sent + 1,
					  MESSAGE_BYTES - *sent - 1 } };

		n = praas_tls_send(e->tls[0], iov, 2);
		*sent += n > 0 ? (uint64_t)n : 0;
	}
	if (e->rc[1] != 0)
		return e->rc[1] == -EAGAIN ? (int64_t)received : e->rc[1];
	n = praas_tls_recv(e->tls[1], got + received, MESSAGE_BYTES - received);
	return n == -EAGAIN ? (int64_t)received
	       : n <= 0     ? -EPIPE
			    : n + (int64_t)received;
}

static void connection(const uint8_t *data, size_t bytes)
{
	struct praas_ticket_secret secret = { .ticket = { 7 } };
	struct ends e = { .rc = { -EAGAIN, -EAGAIN } };
	uint64_t at[2] = { 0, 0 }, sent = 0;
	int64_t received = 0;
	int c[2], s[2];

	memcpy(secret.session_key, the_key, sizeof(the_key));
	pair(c);
	pair(s);
	require(praas_tls_new(client, c[0], &secret, &e.tls[0]) == 0);
	require(praas_tls_new(server, s[0], NULL, &e.tls[1]) == 0);
	for (unsigned i = 0; i < TURNS && received >= 0 && received < MESSAGE_BYTES;
	     i++) {
		received = step(&e, &sent, (uint64_t)received);
		carry(c[1], s[1], &at[0], data, bytes);
		carry(s[1], c[1], &at[1], NULL, 0);
		if (received > 0)
			require(memcmp(got, message, (size_t)received) == 0);
	}
	/* Without a change it all arrives. */
	require(bytes >= 3 || received == MESSAGE_BYTES);
	for (unsigned i = 0; i < 2; i++) {
		praas_tls_end(e.tls[i]);
		praas_tls_free(e.tls[i]);
		(void)close(c[i]);
		(void)close(s[i]);
	}
}

static void set_up(void)
{
	require(praas_tls_context_new(key_of, NULL, &server) == 0);
	require(praas_tls_context_new(NULL, NULL, &client) == 0);
	for (size_t i = 0; i < MESSAGE_BYTES; i++)
		message[i] = (uint8_t)(i * 31 + i / 251);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	if (bytes == 0)
		return 0;
	if (!server)
		set_up();
	if (data[0] % 4 == 0)
		identity(data + 1, bytes - 1);
	else if (data[0] % 4 == 1)
		stranger(data + 1, bytes - 1);
	else
		connection(data + 1, bytes - 1);
	return 0;
}
