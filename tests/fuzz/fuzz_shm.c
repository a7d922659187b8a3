/* SPDX-License-Identifier: Apache-2.0
 *
 * The shm transport, one end of which is anybody's: descriptors, returned buffers, words in all the memory that
 * it writes, datagrams with and without descriptors; before the handshake, as a client, as a server. What must
 * hold: the honest end reads nothing outside of what it was shown and ends at most that one connection, with a
 * reason; another connection of the same port is served.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/shm.h"
#include "transport/shm_conn.h"

#define BYTES_MAX 65536u
#define HELD_MAX 8u
#define TURNS_MAX 100000u

/* One end of a connection. */
struct end {
	struct praas_port *port;
	struct praas_conn *conn;
	bool server, welcomed, closed;
	int rc; /* of closed */
	unsigned frames;
	struct praas_buf *held[HELD_MAX];
	unsigned held_count;
	uint64_t sum; /* of what was read, so that it is */
};

/* A client's end and the server's for it. */
struct pair {
	struct end client, server;
};

static char dir[] = "/tmp/praas-fuzz-XXXXXX";
static char addr[96], liar[96];
static struct pair good, bad;
static struct pair *accepting; /* whose server the next one is that connects */
static struct praas_port *server_port;
static struct praas_segment
	spare; /* of the size of a direct route's, for who offers one */

static const struct praas_shm_config small = { .workers = 2,
					       .ring_slots = 8,
					       .client_pool_bytes = 16384,
					       .reply_pool_bytes = 16384,
					       .direct_pool_bytes = 4096,
					       .big_bytes_max = 4 * BYTES_MAX };
static const struct praas_channel_geometry route = { .blocks = 1,
						     .ring_slots = 8,
						     .pool_bytes = 4096 };

static const uint8_t *input;
static size_t left;

static void must(bool ok)
{
	if (!ok)
		abort();
}

static uint8_t next(void)
{
	if (left == 0)
		return 0;
	left--;
	return *input++;
}

static uint64_t next64(void)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < 8; i++)
		value = value << 8 | next();
	return value;
}

/* ---- the honest layer above ----------------------------------------------------------------- */

static void send_kind(struct end *e, uint8_t kind)
{
	struct praas_buf *buf;

	if (e->conn->ops->alloc(e->conn, 0, &buf) != 0)
		return;
	buf->head.kind = kind;
	if (e->conn->ops->send(e->conn, buf) != 0)
		praas_buf_release(buf);
}

static void on_opened(void *user, struct praas_conn *conn)
{
	struct end *e = user ? user : &accepting->server;

	praas_conn_set_events(conn, conn->events, e);
	e->conn = conn;
	if (!e->server)
		send_kind(e, PRAAS_FRAME_HELLO);
}

static void on_frame(void *user, struct praas_conn *conn, struct praas_buf *buf)
{
	struct end *e = user;

	must(conn == e->conn && !e->closed);
	must(buf->head.bytes <= PRAAS_SHM_WELCOME_MAX);
	must(strlen(buf->key) <= buf->head.key_bytes);
	for (uint64_t i = 0; i < buf->head.bytes; i++)
		e->sum += buf->data[i];
	if (!e->welcomed && buf->head.kind == PRAAS_FRAME_HELLO && e->server) {
		e->welcomed = true;
		send_kind(e, PRAAS_FRAME_WELCOME);
	} else if (buf->head.kind == PRAAS_FRAME_WELCOME && !e->server) {
		e->welcomed = true;
	} else {
		e->frames++;
		if (e->held_count < HELD_MAX) {
			e->held[e->held_count++] = buf;
			return;
		}
	}
	praas_buf_release(buf);
}

static void on_sent(void *user, struct praas_conn *conn, struct praas_buf *buf, int rc)
{
	(void)user;
	(void)conn;
	(void)buf;
	(void)rc;
}

static void on_closed(void *user, struct praas_conn *conn, int rc)
{
	struct end *e = user;

	must(conn == e->conn && !e->closed && rc <= 0);
	e->closed = true;
	e->rc = rc;
	e->conn = NULL;
}

static const struct praas_conn_events events = {
	.opened = on_opened, .frame = on_frame, .sent = on_sent, .closed = on_closed
};

static void poll_end(const struct end *e)
{
	(void)e->port->ops->poll(e->port, 64);
}

/* A port looks at its sockets once in so many turns. */
static void poll_sockets(const struct end *e)
{
	for (unsigned i = 0; i < 64; i++)
		poll_end(e);
}

static void drop_held(struct end *e)
{
	for (unsigned i = 0; i < e->held_count; i++)
		praas_buf_release(e->held[i]);
	e->held_count = 0;
}

/* A frame with a payload and a key, so that something is lent. */
static void post(struct end *e, uint8_t kind, uint64_t id, uint64_t bytes)
{
	struct praas_buf *buf;

	if (!e->conn || e->conn->ops->alloc(e->conn, bytes, &buf) != 0)
		return;
	buf->head.kind = kind;
	buf->head.id = id;
	buf->head.key_bytes = 1;
	memcpy(buf->key, "k", 2);
	if (bytes != 0)
		memset(buf->data, 1, bytes);
	if (e->conn->ops->send(e->conn, buf) != 0)
		praas_buf_release(buf);
}

static void pair_connect(struct pair *p)
{
	struct praas_port *mine = p->client.port;

	*p = (struct pair){ .client = { .port = mine },
			    .server = { .port = server_port, .server = true } };
	accepting = p;
	must(mine->ops->connect(mine, addr, &events, &p->client, &p->client.conn) == 0);
	for (unsigned i = 0; i < TURNS_MAX && !p->client.welcomed; i++) {
		poll_end(&p->client);
		poll_end(&p->server);
	}
	must(p->client.welcomed && p->server.conn);
	p->client.conn->bytes_max = BYTES_MAX;
	p->server.conn->bytes_max = BYTES_MAX;
}

static void end_close(struct end *e)
{
	drop_held(e);
	if (e->conn)
		e->conn->ops->close(e->conn, false);
	e->conn = NULL;
}

/* The other connection has noticed nothing. */
static void still_served(void)
{
	unsigned before = good.server.frames;

	drop_held(&good.server);
	post(&good.client, PRAAS_FRAME_SEND, 1, 100);
	for (unsigned i = 0; i < TURNS_MAX && good.server.frames == before; i++) {
		poll_end(&good.client);
		poll_end(&good.server);
	}
	must(good.server.frames == before + 1 && !good.server.closed);
	drop_held(&good.server);
	poll_end(&good.client);
}

/* ---- the other end --------------------------------------------------------------------------- */

static struct praas_shm_conn *shm(struct end *e)
{
	return praas_shm_conn_of(e->conn);
}

/* An offset in or near the buffer area of who says it. */
static uint64_t some_offset(const struct praas_shm_conn *c)
{
	uint64_t from = praas_channel_pool_offset(&c->my_geometry);
	uint64_t to = from + c->my_geometry.pool_bytes;
	uint8_t how = next();
	const uint64_t offsets[] = { from + 512, from + how / 8u * 64u,
				     from + how, to - 64,
				     to,         0,
				     how,        next64() };

	return offsets[how % 8];
}

static uint32_t some_segment(const struct praas_shm_conn *c)
{
	uint8_t how = next();
	uint32_t big = 0;

	for (unsigned i = 0; i < PRAAS_SHM_BIG_MAX; i++)
		if (c->big[i])
			big = c->big[i]->segment.id;
	switch (how % 8) {
	case 0:
		return 0;
	case 1:
		return c->peer.id;
	case 2:
		return 0x1000u + how / 8u;
	case 3:
		return big;
	default:
		return c->mine.id;
	}
}

static uint64_t some_bytes(void)
{
	uint8_t how = next();

	return how < 32 ? next64() : how < 64 ? BYTES_MAX + how : how;
}

static void do_descriptor(struct praas_shm_conn *c)
{
	struct praas_frame f = { .kind = next(), .flags = next(), .id = next() };
	uint8_t how = next();
	struct praas_desc d;

	if (how & 1) /* mostly what may be */
		f.kind = (uint8_t)(PRAAS_FRAME_INVOKE + f.kind % 24u);
	if (how & 2)
		f.flags &= PRAAS_FRAME_ONE_WAY | PRAAS_FRAME_TRACE;
	f.key_bytes = how & 4 ? next() : 0;
	f.bytes = some_bytes();
	f.aux = how & 8 ? next64() : 0;
	praas_frame_to_desc(&f, (uint16_t)some_segment(c), some_offset(c), &d);
	if (how > 240)
		d.word[how % 7] ^= next64();
	(void)praas_channel_push(&c->channel, &d);
}

/* A word of rings and positions, or of a key in the buffer area. */
static void do_scribble(struct praas_shm_conn *c)
{
	uint64_t words = (praas_channel_pool_offset(&c->my_geometry) - 4096) / 8;
	uint64_t *at = (uint64_t *)(void *)(c->mine.base + 4096);
	uint8_t how = next();
	uint64_t value = how & 1 ? next64() : how & 2 ? ~0ull : next();

	if (how & 4)
		memset(c->mine.base + praas_channel_pool_offset(&c->my_geometry), how,
		       1024);
	else
		__atomic_store_n(at + (next() * 256u + next()) % words, value,
				 __ATOMIC_RELAXED);
}

/* Descriptors that may go along: rights to nothing, to memory of that size, to a socket. */
static unsigned some_fds(struct praas_shm_conn *c, int fds[2])
{
	uint8_t how = next();
	unsigned count = how % 4u == 3 ? 0 : how % 4u;

	for (unsigned i = 0; i < count; i++, how >>= 2) {
		if ((how >> 2) % 4 == 0)
			fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
		else if ((how >> 2) % 4 == 1)
			fds[i] = dup(c->source.fd);
		else
			must(praas_segment_read_only_fd(&spare, &fds[i]) == 0);
		must(fds[i] >= 0);
	}
	return count;
}

static void do_datagram(struct praas_shm_conn *c)
{
	struct praas_shm_msg msg = { .magic = PRAAS_SHM_MSG_MAGIC };
	struct iovec iov = { &msg, sizeof(msg) };
	uint8_t how = next();
	int fds[2];
	unsigned count = some_fds(c, fds);

	msg.kind = next() % 12u;
	msg.segment = some_segment(c);
	msg.worker = how & 8 ? next() : how % 3u;
	msg.writable = how & 1;
	msg.status = how & 2 ? (int8_t)next() : 0;
	msg.bytes = how & 4 ? spare.bytes : some_bytes();
	msg.reply = route;
	msg.client = route;
	if (how & 16) {
		msg.reply.ring_slots = next();
		msg.reply.blocks = next();
		msg.reply.pool_bytes = some_bytes();
	}
	if (how > 230) {
		iov.iov_len = next() % sizeof(msg);
		(void)praas_shm_sock_send(c->source.fd, &iov, 1, NULL, 0);
	}
	(void)praas_shm_tell(c, &msg, fds, count); /* the socket is read at once */
	for (unsigned i = 0; i < count; i++)
		(void)close(fds[i]);
}

static void do_return(struct praas_shm_conn *c)
{
	uint64_t lent = c->peer_from + PRAAS_SHM_HEADROOM;
	uint64_t ref = praas_shm_ref(next() & 1 ? c->peer.id : some_segment(c),
				     next() & 1 ? lent : some_offset(c));

	(void)praas_channel_return(&c->channel, ref);
}

/* What the honest end does meanwhile. */
static void do_honest(struct end *victim)
{
	uint8_t how = next();

	if (how % 4 == 0)
		drop_held(victim);
	else if (how % 4 == 1)
		post(victim, victim->server ? PRAAS_FRAME_RESULT : PRAAS_FRAME_INVOKE,
		     how / 64u + 1, how);
	else
		post(victim, victim->server ? PRAAS_FRAME_EVENT : PRAAS_FRAME_SEND, 1,
		     how % 8 < 6 ? how : BYTES_MAX / 2);
}

static void attack(struct end *from, struct end *victim)
{
	while (left > 0 && from->conn && victim->conn && !victim->closed) {
		switch (next() % 8) {
		case 0:
		case 1:
		case 2:
			do_descriptor(shm(from));
			break;
		case 3:
			do_scribble(shm(from));
			break;
		case 4:
			do_return(shm(from));
			break;
		case 5:
			do_honest(victim);
			break;
		default:
			do_datagram(shm(from));
			break;
		}
		poll_end(victim);
	}
	must(!victim->closed || !victim->server || victim->rc == 0 ||
	     victim->rc == -EPROTO || victim->rc == -ECONNRESET);
}

/* ---- before there is a connection ------------------------------------------------------------- */

/* One datagram of a stranger: a frame's head or a message, and what the input says. */
static void say(int fd, bool as_server)
{
	uint8_t data[sizeof(struct praas_shm_msg) + PRAAS_FRAME_BYTES + 256] = { 0 };
	struct praas_shm_msg msg = { .magic = PRAAS_SHM_MSG_MAGIC,
				     .kind = PRAAS_SHM_SWITCH,
				     .client = route,
				     .reply = route,
				     .client_segment = next(),
				     .reply_segment = next() };
	struct praas_frame f = { .kind = next() % 8u, .sequence = 1 };
	uint8_t how = next();
	size_t at = 0;
	int fds[2] = { -1, -1 };
	struct iovec iov = { data, 0 };
	unsigned count = as_server && (how & 1) ? 2 : 0;

	if (how & 2)
		msg.client.ring_slots = next();
	if (how & 4)
		msg.reply.pool_bytes = some_bytes();
	if (as_server && (how & 8)) {
		memcpy(data, &msg, sizeof(msg));
		at = sizeof(msg);
	}
	f.bytes = how % 64u;
	f.key_bytes = how & 64 ? next() % 64u : 0;
	f.flags = how & 128 ? PRAAS_FRAME_TRACE : 0;
	praas_frame_encode(&f, data + at);
	at += PRAAS_FRAME_BYTES;
	iov.iov_len = at + praas_frame_meta_bytes(&f) + f.bytes;
	for (; at < iov.iov_len; at++)
		data[at] = next();
	if (next() > 200)
		data[next()] ^= next();
	if (count) {
		fds[0] = dup(spare.fd);
		must(praas_segment_read_only_fd(&spare, &fds[1]) == 0);
	}
	(void)praas_shm_sock_send(fd, &iov, 1, fds, count);
	for (unsigned i = 0; i < count; i++)
		(void)close(fds[i]);
}

static void stranger(void)
{
	int fd = -1;

	bad.server = (struct end){ .port = server_port, .server = true };
	accepting = &bad;
	must(praas_shm_sock_connect(addr + 6, &fd) == 0);
	for (unsigned i = 0; i < TURNS_MAX && !bad.server.conn; i++)
		poll_end(&bad.server);
	must(bad.server.conn);
	while (left > 0 && !bad.server.closed) {
		say(fd, false);
		poll_sockets(&bad.server);
	}
	(void)close(fd);
	end_close(&bad.server);
	poll_end(&bad.server);
}

static void false_server(void)
{
	struct praas_port *mine = bad.client.port;
	int listen_fd = -1, fd;

	bad.client = (struct end){ .port = mine };
	must(praas_shm_sock_listen(liar + 6, 0600, &listen_fd) == 0);
	must(mine->ops->connect(mine, liar, &events, &bad.client, &bad.client.conn) ==
	     0);
	poll_end(&bad.client);
	fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	must(fd >= 0);
	while (left > 0 && bad.client.conn) {
		say(fd, true);
		poll_sockets(&bad.client);
	}
	end_close(&bad.client);
	(void)close(fd);
	(void)close(listen_fd);
	(void)unlink(liar + 6);
	poll_end(&bad.client);
}

/* ---- */

static void at_exit(void)
{
	end_close(&good.client);
	end_close(&good.server);
	server_port->ops->free(server_port);
	good.client.port->ops->free(good.client.port);
	bad.client.port->ops->free(bad.client.port);
	praas_segment_release(&spare);
	(void)rmdir(dir);
}

static void start(void)
{
	struct praas_port_config server = { .listen = addr, .accept_events = &events };
	struct praas_port_config none = { .listen = NULL };
	uint64_t bytes = praas_align_up(praas_channel_segment_bytes(&route), 4096);

	must(mkdtemp(dir) != NULL);
	(void)snprintf(addr, sizeof(addr), "shm://%s/s", dir);
	(void)snprintf(liar, sizeof(liar), "shm://%s/l", dir);
	must(praas_shm_transport_ops.open(&server, &server_port) == 0);
	must(praas_shm_configure(server_port, &small) == 0);
	must(praas_shm_transport_ops.open(&none, &good.client.port) == 0);
	must(praas_shm_transport_ops.open(&none, &bad.client.port) == 0);
	must(praas_segment_create("fuzz", bytes, 1, 0, &spare) == 0);
	praas_channel_format(&spare, &route, 0);
	pair_connect(&good);
	(void)atexit(at_exit);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	uint8_t who;

	if (!server_port)
		start();
	input = data;
	left = bytes;
	who = next();
	if (who % 8 == 0) {
		stranger();
	} else if (who % 8 == 1) {
		false_server();
	} else {
		pair_connect(&bad);
		if (who & 1)
			attack(&bad.client, &bad.server);
		else
			attack(&bad.server, &bad.client);
		end_close(&bad.client);
		end_close(&bad.server);
		poll_end(&bad.client);
	}
	still_served();
	return 0;
}
