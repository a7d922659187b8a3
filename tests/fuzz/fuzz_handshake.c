/* SPDX-License-Identifier: Apache-2.0
 *
 * Payloads of the handshake from anybody; a server's and a client's session fed with frames of any
 * kind in any order: no credential, no entry; and an honest handshake in which the input changes
 * one byte on the way. And what is told of a move.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "praas/client.h"
#include "transport/handshake.h"
#include "transport/mac.h"
#include "transport/memory.h"

#define QUEUE_MAX 16u

/* A connection whose frames go into a queue. */
struct end {
	struct praas_conn conn;
	struct praas_buf *queue[QUEUE_MAX];
	unsigned queued;
	bool closed, full; /* full: nothing can be sent */
	unsigned opened;
	int closed_rc;
	int32_t last_status; /* of a CLOSE that was sent */
};

static char functions[PRAAS_FUNCTIONS_MAX][PRAAS_NAME_MAX + 1];
static struct praas_heap *heap;
static struct end client, server_end;

static void require(bool ok)
{
	if (!ok)
		abort();
}

static struct end *end_of(struct praas_conn *c)
{
	return c == &client.conn ? &client : &server_end;
}

static int null_alloc(struct praas_conn *c, uint64_t bytes, struct praas_buf **ret_buf)
{
	const struct praas_memory *memory = praas_heap_memory(heap);

	(void)c;
	return memory->alloc(memory->user, bytes, ret_buf);
}

static int null_send(struct praas_conn *c, struct praas_buf *buf)
{
	struct end *e = end_of(c);

	if (buf->head.kind == PRAAS_FRAME_CLOSE)
		e->last_status = buf->head.status;
	if (e->queued == QUEUE_MAX || e->full)
		return -EAGAIN;
	e->queue[e->queued++] = buf;
	return 0;
}

static void null_close(struct praas_conn *c, bool after_flush)
{
	(void)after_flush;
	end_of(c)->closed = true;
	praas_conn_end(c);
}

static int null_connect(struct praas_port *port, const char *addr,
			const struct praas_conn_events *events, void *user,
			struct praas_conn **ret_conn)
{
	(void)port;
	(void)addr;
	praas_conn_set_events(&client.conn, events, user);
	*ret_conn = &client.conn;
	return 0;
}

static const struct praas_transport_ops null_ops = {
	.scheme = "null",
	.connect = null_connect,
	.alloc = null_alloc,
	.send = null_send,
	.close = null_close,
};

static struct praas_port null_port = { .ops = &null_ops };

static void on_opened(void *user, struct praas_conn *c)
{
	(void)user;
	end_of(c)->opened++;
}

static void on_frame(void *user, struct praas_conn *c, struct praas_buf *buf)
{
	(void)user;
	(void)c;
	praas_buf_release(buf);
}

static void on_sent(void *user, struct praas_conn *c, struct praas_buf *buf, int rc)
{
	(void)user;
	(void)c;
	(void)buf;
	(void)rc;
}

static void on_closed(void *user, struct praas_conn *c, int rc)
{
	(void)user;
	require(rc < 0 && end_of(c)->closed_rc == 0);
	end_of(c)->closed_rc = rc;
}

static const struct praas_conn_events upper = { on_opened, on_frame, on_sent,
						on_closed };

static void drop_queue(struct end *e)
{
	for (unsigned i = 0; i < e->queued; i++)
		praas_buf_release(e->queue[i]);
	e->queued = 0;
}

static void new_end(struct end *e)
{
	drop_queue(e);
	*e = (struct end){ .conn = { .ops = &null_ops, .port = &null_port } };
}

static unsigned members_asked;

static void want_members(void *user)
{
	(void)user;
	members_asked++;
}

static struct praas_session_server *new_server(uint32_t functions_count,
					       uint64_t bytes_max)
{
	static const char names[2][PRAAS_NAME_MAX + 1] = { "one", "two" };
	struct praas_session_server_config config = {
		.expect = { .pid = 9, .epoch = 2 },
		.welcome = { .pid = 9,
			     .epoch = 2,
			     .bytes_max = bytes_max,
			     .functions_count = functions_count,
			     .functions = names },
		.events = &upper,
		.members = want_members,
	};
	struct praas_session_server *server;

	members_asked = 0;

	config.controller_key[0] = 1;
	require(praas_session_server_new(&config, &server) == 0);
	new_end(&server_end);
	praas_conn_set_events(&server_end.conn, praas_session_server_events(), server);
	server_end.conn.events->opened(server_end.conn.user, &server_end.conn);
	return server;
}

static void end_client(void)
{
	if (client.closed)
		return;
	client.conn.events->closed(client.conn.user, &client.conn, -ECONNRESET);
	praas_conn_end(&client.conn);
}

static void check_heap(void)
{
	struct praas_heap_stats stats;

	drop_queue(&client);
	drop_queue(&server_end);
	praas_heap_stats(heap, &stats);
	require(stats.buffers == 0);
}

/* Frames as the input says: kind, size (2 bytes), payload; again and again. */
static void feed(struct end *e, const uint8_t *data, size_t bytes)
{
	while (bytes >= 3 && !e->closed) {
		size_t n = (size_t)data[1] | (size_t)(data[2] & 0x0f) << 8;
		struct praas_buf *buf;

		if (n > bytes - 3)
			n = bytes - 3;
		require(null_alloc(&e->conn, n, &buf) == 0);
		buf->head = (struct praas_frame){ .kind = data[0] & 0x3f,
						  .bytes = n,
						  .aux = data[0] >> 6 };
		memcpy(buf->data, data + 3, n);
		e->conn.events->frame(e->conn.user, &e->conn, buf);
		data += 3 + n;
		bytes -= 3 + n;
	}
}

static void try_server(const uint8_t *data, size_t bytes)
{
	struct praas_session_server *server = new_server(0, 1000);

	/* What a transport may say at any time changes nothing. */
	server_end.conn.events->opened(server_end.conn.user, &server_end.conn);
	server_end.conn.events->sent(server_end.conn.user, &server_end.conn, NULL, 0);
	feed(&server_end, data, bytes);
	require(server_end.opened == 0 && server_end.conn.peer_source == 0 &&
		server_end.conn.peer_rights == 0);
	if (!server_end.closed && bytes % 4 == 0) {
		server_end.conn.events->closed(server_end.conn.user, &server_end.conn,
					       -ECONNRESET);
		null_close(&server_end.conn, false);
	} else {
		if (!server_end.closed)
			praas_session_server_tick(server, UINT64_MAX - 1);
		require(server_end.closed && server_end.last_status != 0);
	}
	praas_session_server_free(server);
	check_heap();
}

/* A frame before the transport has said that the connection is open; and one that stays pending. */
static void try_early(void)
{
	struct praas_session_server *server = new_server(0, 1000);
	struct praas_buf *buf;

	praas_session_server_free(server);
	require(server_end.closed);
	server = new_server(0, 1000);
	new_end(&client); /* stands for a second connection */
	praas_conn_set_events(&client.conn, praas_session_server_events(), server);
	require(null_alloc(&client.conn, 0, &buf) == 0);
	client.conn.events->frame(client.conn.user, &client.conn, buf);
	require(client.closed);
	praas_session_server_free(server);
	check_heap();
}

static void try_client(const uint8_t *data, size_t bytes)
{
	struct praas_session_client_config config = { .events = &upper };
	struct praas_conn *c;

	new_end(&client);
	require(praas_session_connect(&null_port, "null://", &config, &c) == 0);
	client.conn.events->opened(client.conn.user, &client.conn);
	feed(&client, data, bytes);
	require(client.opened == 0); /* nobody could prove anything */
	end_client();
	check_heap();
}

/* The frames of one end go to the other; the one that spoil names has a byte changed. */
static void pass(struct end *from, struct end *to, unsigned *number,
		 const uint8_t *spoil)
{
	struct praas_buf *queue[QUEUE_MAX];
	unsigned count = from->queued;

	memcpy(queue, from->queue, sizeof(queue));
	from->queued = 0;
	for (unsigned i = 0; i < count; i++, (*number)++) {
		struct praas_buf *buf = queue[i];

		if (*number == spoil[0] && buf->head.bytes > 0)
			buf->data[spoil[1] % buf->head.bytes] ^= spoil[2];
		if (to->closed)
			praas_buf_release(buf);
		else
			to->conn.events->frame(to->conn.user, &to->conn, buf);
	}
}

static void expire(struct praas_session_server *server)
{
	struct timespec now;
	uint64_t now_ns;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	now_ns = (uint64_t)now.tv_sec * 1000000000u;
	praas_session_server_tick(server, now_ns + UINT64_C(70000000000));
	require(!server_end.closed && server_end.queued == 1);
	praas_session_server_tick(server, now_ns + UINT64_C(81000000000));
	require(server_end.closed && server_end.closed_rc == -EKEYEXPIRED);
}

/* Who said that it wants to hear of members does, and others do not. */
static void hear_of_members(struct praas_session_server *server, bool wanted)
{
	require(members_asked == wanted);
	praas_session_server_members(server);
	require(server_end.queued == wanted);
	require(!wanted || server_end.queue[0]->head.aux == PRAAS_EVENT_MEMBERS);
	drop_queue(&server_end);
}

static void try_both(const uint8_t *spoil, bool ends)
{
	struct praas_session_client_config config = { .events = &upper,
						      .members = spoil[1] & 1 };
	uint8_t key[PRAAS_KEY_BYTES] = { 1 };
	uint64_t now_s = (uint64_t)time(NULL);
	struct praas_ticket t = { .pid = 9,
				  .epoch = 2,
				  .source = PRAAS_CLIENT | 1,
				  .rights = PRAAS_RIGHT_SEND,
				  .bytes_max = 500,
				  .not_before_s = now_s,
				  .expires_s = ends ? now_s + 60 : UINT64_MAX };
	struct praas_session_server *server = new_server(2, 1000);
	struct praas_conn *c;
	unsigned number = 0;

	require(praas_ticket_issue(key, &t, config.ticket, config.session_key) == 0);
	new_end(&client);
	require(praas_session_connect(&null_port, "null://", &config, &c) == 0);
	client.conn.events->opened(client.conn.user, &client.conn);
	for (unsigned i = 0; i < 4; i++) {
		pass(&client, &server_end, &number, spoil);
		pass(&server_end, &client, &number, spoil);
	}
	if (spoil[0] >= 4 || spoil[2] == 0) {
		require(client.opened == 1 && server_end.opened == 1);
		require(client.conn.bytes_max == 500 &&
			server_end.conn.bytes_max == 500);
		require(server_end.conn.peer_source == (PRAAS_CLIENT | 1));
	} else if (spoil[0] < 3) { /* the last is no proof of anything */
		require(client.opened == 0 && server_end.opened == 0);
	}
	require(praas_session_server_due_ns(server) > 0);
	if (server_end.opened)
		hear_of_members(server, spoil[1] & 1);
	if (server_end.opened && ends)
		expire(server);
	else if (server_end.opened) {
		praas_session_server_draining(server, false);
		require(server_end.queued == 1);
	}
	end_client();
	praas_session_server_free(server);
	check_heap();
}

/* What a follower was told is for him alone, and as it was said. */
static void check_told(const uint8_t key[PRAAS_KEY_BYTES],
		       const struct praas_moved *where, const uint8_t *spoil)
{
	struct praas_buf *buf = server_end.queue[server_end.queued - 1];
	struct praas_moved told;

	require(buf->head.kind == PRAAS_FRAME_EVENT &&
		buf->head.aux == PRAAS_EVENT_MOVED);
	require(praas_moved_decode(buf->data, buf->head.bytes, key, &told) == 0);
	require(told.endpoints_count == where->endpoints_count);
	for (uint32_t i = 0; i < told.endpoints_count; i++)
		require(strcmp(told.endpoints[i], where->endpoints[i]) == 0);
	if (spoil[1] == 0)
		return;
	buf->data[spoil[0] % buf->head.bytes] ^= spoil[1];
	require(praas_moved_decode(buf->data, buf->head.bytes, key, &told) != 0);
}

/* A process moves to where the input says, before a client is known or after, who can be told or not. */
static void try_moves(const uint8_t *data, size_t bytes)
{
	static const uint8_t whole[] = { 255, 0, 0 };
	struct praas_session_client_config config = { .events = &upper,
						      .follows = true };
	struct praas_ticket t = { .pid = 9,
				  .epoch = 2,
				  .source = PRAAS_CLIENT | 1,
				  .rights = PRAAS_RIGHT_SEND,
				  .bytes_max = 2 * PRAAS_MOVED_BYTES_MAX,
				  .expires_s = UINT64_MAX };
	uint8_t key[PRAAS_KEY_BYTES] = { 1 };
	struct praas_session_server *server = new_server(0, 2 * PRAAS_MOVED_BYTES_MAX);
	struct praas_moved where = { .endpoints_count = 0 };
	bool late = (data[2] & 1) != 0, full = (data[2] & 2) != 0;
	char text[300] = "tcp://127.0.0.1:1\n"; /* one is always there */
	size_t said = strlen(text);
	struct praas_conn *c;
	unsigned number = 0;

	memcpy(text + said, data,
	       bytes < sizeof(text) - said ? bytes : sizeof(text) - said - 1);
	praas_moved_endpoints(text, &where);
	require(praas_ticket_issue(key, &t, config.ticket, config.session_key) == 0);
	new_end(&client);
	require(praas_session_connect(&null_port, "null://", &config, &c) == 0);
	client.conn.events->opened(client.conn.user, &client.conn);
	if (late)
		praas_session_server_moved(server, 3, &where);
	for (unsigned i = 0; i < 2; i++) {
		pass(&client, &server_end, &number, whole);
		if (i == 0)
			pass(&server_end, &client, &number, whole);
	}
	require(server_end.opened == 1 && server_end.conn.peer_follows);
	if (!late) {
		drop_queue(&server_end);
		praas_session_server_draining(server, true);
		require(server_end.queued == 0 && !praas_session_server_left(server));
		server_end.full = full;
		praas_session_server_moved(server, 3, &where);
	}
	if (full && !late) {
		require(server_end.closed && server_end.closed_rc == -ESTALE);
	} else {
		require(praas_session_server_left(server));
		check_told(config.session_key, &where, data);
	}
	end_client();
	praas_session_server_free(server);
	check_heap();
}

static void try_payloads(const uint8_t *data, size_t bytes)
{
	static uint8_t again[PRAAS_WELCOME_MAX], flags[PRAAS_FUNCTIONS_MAX];
	struct praas_handshake h;
	struct praas_welcome w;
	uint8_t hello[PRAAS_HELLO_BYTES];

	if (praas_hello_decode(data, bytes, &h) == 0) {
		praas_hello_encode(&h, hello);
		require(memcmp(hello, data, sizeof(hello)) == 0);
	}
	if (praas_welcome_decode(data, bytes, functions, flags, &w) == 0) {
		require(praas_welcome_bytes(&w) == bytes);
		praas_welcome_encode(&w, again);
		require(memcmp(again, data, bytes) == 0);
	}
	if (bytes > 0) {
		int rc = praas_close_errno(data[0]);
		enum praas_close_reason reason = praas_close_reason_of(rc);

		require(rc < 0 && praas_close_status(reason) <= 0);
	}
}

/* As it is, and with a proof that makes it ours: what is read of it is what was said. */
static void try_moved(const uint8_t *data, size_t bytes)
{
	static const char label[] = "praas moved proof 1";
	static const uint8_t key[PRAAS_KEY_BYTES] = { 5 };
	const struct praas_mac_part parts[] = { { label, sizeof(label) - 1 },
						{ data, bytes } };
	uint8_t again[PRAAS_MOVED_BYTES_MAX];
	struct praas_moved moved;
	uint64_t again_bytes;
	uint8_t *whole;

	require(praas_moved_decode(data, bytes, key, &moved) != 0);
	whole = malloc(bytes + PRAAS_KEY_BYTES);
	require(whole != NULL);
	if (bytes != 0)
		memcpy(whole, data, bytes);
	require(praas_mac_once(key, parts, 2, whole + bytes) == 0);
	if (praas_moved_decode(whole, bytes + PRAAS_KEY_BYTES, key, &moved) == 0) {
		require(praas_moved_encode(&moved, key, again, &again_bytes) == 0);
		require(again_bytes == bytes + PRAAS_KEY_BYTES);
		require(memcmp(again, whole, again_bytes) == 0);
	}
	free(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	if (heap == NULL)
		require(praas_heap_new(NULL, &heap) == 0);
	try_payloads(data, bytes);
	try_moved(data, bytes);
	try_server(data, bytes);
	try_client(data, bytes);
	if (bytes % 16 == 0)
		try_early();
	if (bytes >= 4) {
		try_both(data, data[3] & 1);
		try_moves(data, bytes);
	}
	return 0;
}
