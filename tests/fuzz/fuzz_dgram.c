/* SPDX-License-Identifier: Apache-2.0
 *
 * The datagram transport on a wire that the input owns: a server and a client on devices in memory, each
 * step as the input says: polls, time, connects, sends, closes; frames lost, doubled, changed, replayed
 * and made up, with good headers or none. Whatever comes: who has no key opens nothing, what is handed up
 * is what was sent, each connection ends once, and all memory comes back. One kind of step is a peer that
 * has the key and lies: only then may other frames come out.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "internal/bytes.h"
#include "transport/arq_state.h"
#include "transport/dgram_port.h"
#include "transport/memory.h"

#define RING 32u
#define FRAME_MAX 1600u
#define KEPT 8u
#define CONNS 6u
#define BYTES_MAX 3000u

struct frame {
	uint32_t bytes;
	uint8_t data[FRAME_MAX];
};

struct end {
	struct praas_netdev dev;
	struct praas_port *port;
	struct frame in[RING];
	uint32_t head, tail;
	uint32_t full; /* so often there is no room */
	uint8_t room[FRAME_MAX];
};

/* One connection, as one side sees it. */
struct side {
	struct praas_conn *conn; /* NULL: over */
	bool server;
	unsigned opened, closed;
};

static struct praas_heap *heap;
static struct end ends[2]; /* client, server */
static struct side clients[CONNS], servers[CONNS];
static struct praas_ticket_secret secrets[3]; /* good, wrong key, no such ticket */
static struct frame kept[KEPT];
static uint32_t kept_count;
static const uint8_t *input;
static size_t left;
static bool lied, running;
static uint64_t now_ns, random_state;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_ts);
int __real_clock_gettime(clockid_t clock, struct timespec *ret_ts);
ssize_t __wrap_getrandom(void *data, size_t bytes, unsigned flags);
ssize_t __real_getrandom(void *data, size_t bytes, unsigned flags);

/* The transport's time is the input's, and its chance. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_ts)
{
	if (!running)
		return __real_clock_gettime(clock, ret_ts);
	ret_ts->tv_sec = (time_t)(now_ns / 1000000000u);
	ret_ts->tv_nsec = (long)(now_ns % 1000000000u);
	return 0;
}

ssize_t __wrap_getrandom(void *data, size_t bytes, unsigned flags)
{
	uint8_t *to = data;

	if (!running)
		return __real_getrandom(data, bytes, flags);
	for (size_t i = 0; i < bytes; i++) {
		random_state = random_state * UINT64_C(6364136223846793005) + 1;
		to[i] = (uint8_t)(random_state >> 56);
	}
	return (ssize_t)bytes;
}

static void require(bool ok)
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

/* ---- the wire ---- */

static void put(struct end *e, const uint8_t *data, uint32_t bytes)
{
	struct frame *f = &e->in[e->head % RING];

	if (e->head - e->tail == RING || bytes > FRAME_MAX)
		return;
	f->bytes = bytes;
	memcpy(f->data, data, bytes);
	e->head++;
}

static unsigned dev_receive(struct praas_netdev *dev,
			    struct praas_netdev_frame frames[PRAAS_NETDEV_BURST])
{
	struct end *e = (struct end *)(void *)dev;
	unsigned count = 0;

	for (uint32_t i = e->tail; i != e->head && count < PRAAS_NETDEV_BURST; i++) {
		frames[count].data = e->in[i % RING].data;
		frames[count++].bytes = e->in[i % RING].bytes;
	}
	return count;
}

static void dev_recycle(struct praas_netdev *dev, struct praas_netdev_frame *frames,
			unsigned count)
{
	(void)frames;
	((struct end *)(void *)dev)->tail += count;
}

static uint8_t *dev_room(struct praas_netdev *dev)
{
	struct end *e = (struct end *)(void *)dev;

	if (e->full == 0)
		return e->room;
	e->full--;
	return NULL;
}

static void dev_submit(struct praas_netdev *dev, uint32_t bytes)
{
	struct end *e = (struct end *)(void *)dev;
	struct frame *k = &kept[kept_count++ % KEPT];

	require(bytes <= dev->mtu + PRAAS_INET_ETHER_BYTES);
	k->bytes = bytes;
	memcpy(k->data, e->room, bytes);
	put(e == &ends[0] ? &ends[1] : &ends[0], e->room, bytes);
}

static void dev_flush(struct praas_netdev *dev)
{
	(void)dev;
}

static int dev_fd(struct praas_netdev *dev)
{
	(void)dev;
	return -1;
}

static const struct praas_netdev_ops dev_ops = { dev_receive, dev_recycle, dev_room,
						 dev_submit,  dev_flush,   NULL,
						 dev_fd,      dev_flush };

/* ---- the layer above ---- */

static void on_opened(void *user, struct praas_conn *conn)
{
	struct side *s = user;

	require(s->opened++ == 0 && s->closed == 0);
	conn->bytes_max = BYTES_MAX;
}

static void on_frame(void *user, struct praas_conn *conn, struct praas_buf *buf)
{
	struct side *s = user;
	uint64_t bytes = buf->head.bytes;

	require(s->opened == 1 && s->closed == 0 && bytes <= BYTES_MAX);
	for (uint64_t i = 0; !lied && i < bytes; i++)
		require(buf->data[i] == (uint8_t)buf->head.id);
	if (bytes == 77) { /* closes in the upcall */
		conn->ops->close(conn, true);
		s->conn = NULL;
	}
	praas_buf_release(buf);
}

static void on_sent(void *user, struct praas_conn *conn, struct praas_buf *buf, int rc)
{
	const struct side *s = user;

	(void)conn;
	require(s->closed == 0 && buf && rc <= 0);
}

static void on_closed(void *user, struct praas_conn *conn, int rc)
{
	struct side *s = user;

	(void)conn;
	require(s->closed++ == 0 && rc <= 0);
	s->conn = NULL;
}

static const struct praas_conn_events events = { on_opened, on_frame, on_sent,
						 on_closed };

/* A connection that was accepted has no side of ours yet. */
static void on_accepted(void *user, struct praas_conn *conn)
{
	(void)user;
	for (unsigned i = 0; i < CONNS; i++) {
		if (servers[i].conn)
			continue;
		servers[i] = (struct side){ .conn = conn, .server = true };
		praas_conn_set_events(conn, &events, &servers[i]);
		on_opened(&servers[i], conn);
		return;
	}
	conn->ops->close(conn, false);
}

static void on_refused(void *user, struct praas_conn *conn, int rc)
{
	(void)user;
	(void)conn;
	require(rc <= 0);
}

static const struct praas_conn_events accept_events = { on_accepted, on_frame, on_sent,
							on_refused };

static int accept_key(void *user, const uint8_t *ticket, uint8_t *ret_key)
{
	(void)user;
	if (ticket[0] != 1)
		return -EACCES;
	memset(ret_key, 0x11, PRAAS_KEY_BYTES);
	return 0;
}

static const struct praas_transport_ops fuzz_ops = {
	.scheme = "wire",
	.address = praas_dgram_address,
	.connect = praas_dgram_connect,
	.alloc = praas_dgram_alloc,
	.send = praas_dgram_send,
	.poll = praas_dgram_poll,
	.arm = praas_dgram_arm,
	.close = praas_dgram_close,
	.free = praas_dgram_free,
};

/* ---- steps ---- */

static struct side *any_side(uint8_t which)
{
	return which & 0x80 ? &servers[which % CONNS] : &clients[which % CONNS];
}

static void poll_end(struct end *e, unsigned times)
{
	for (unsigned i = 0; i <= times; i++) {
		now_ns += 1000;
		(void)e->port->ops->poll(e->port, 1 + times);
	}
}

static void step_connect(uint8_t how)
{
	static const char *const wrong[] = {
		"wire://10.0.0.1:1",  "wire://[fd00::1]:1", "wire://10.0.0.1:",
		"tcp://10.0.0.1:7",   "wire://10.9.0.1:7",  "wire://[fd00::1:7",
		"wire://10.0.0.1:7x", "wire://1.2.3:7",     "wire://10.0.0.99:70",
		"wire://[::1]:99999"
	};
	struct side *s = &clients[how % CONNS];
	char addr[PRAAS_ADDR_MAX];
	struct praas_conn *conn;

	if (s->conn)
		return;
	require(praas_dgram_address(ends[1].port, addr) == 0);
	require(praas_dgram_address(ends[0].port, addr) == -ENOTCONN);
	*s = (struct side){ .conn = NULL };
	if (praas_dgram_connect(ends[0].port, how & 0x40 ? wrong[how % 10] : addr,
				&events, s, &conn) != 0)
		return;
	s->conn = conn;
	if ((how >> 4 & 3) < 3)
		conn->secret = &secrets[how >> 4 & 3];
}

static void step_send(struct side *s, uint8_t id)
{
	uint64_t bytes = next() | (uint64_t)(next() % 12) << 8;
	struct praas_buf *buf;

	if (!s->conn || s->opened == 0 || praas_dgram_alloc(s->conn, bytes, &buf) != 0)
		return;
	buf->head =
		(struct praas_frame){ .kind = id == 3 && s->server ? PRAAS_FRAME_WELCOME
								   : PRAAS_FRAME_SEND,
				      .id = id,
				      .bytes = bytes };
	memset(buf->data, id, bytes);
	if (praas_dgram_send(s->conn, buf) != 0)
		praas_buf_release(buf);
}

static void step_close(struct side *s, bool after_flush)
{
	struct praas_conn *conn = s->conn;

	s->conn = NULL;
	if (conn)
		conn->ops->close(conn, after_flush);
}

/* A frame on its way: changed, lost, twice. */
static void step_spoil(struct end *e, uint8_t how)
{
	struct frame *f = &e->in[(e->head - 1 - how % 8) % RING];
	uint32_t at;

	if (e->head == e->tail || f->bytes == 0)
		return;
	at = (uint32_t)next() | (uint32_t)next() << 8;
	if (how & 0x80)
		f->data[at % f->bytes] ^= (uint8_t)(1u << at % 8);
	else if (how & 0x40)
		put(e, f->data, f->bytes);
	else if (how & 0x20)
		f->bytes = at % f->bytes;
	else
		e->head--;
}

static const struct praas_dgram_conn *dgram_of(const struct side *s)
{
	return s->conn ? (const struct praas_dgram_conn *)(const void *)s->conn : NULL;
}

/* A datagram with good headers of the link and of IP; behind them what the input wants, with or without
 * a good header of ours. */
static void step_forge(bool to_server, uint8_t how)
{
	struct end *from = &ends[!to_server], *to = &ends[to_server];
	const struct praas_dgram_conn *conn =
		dgram_of(to_server ? &servers[how % CONNS] : &clients[how % CONNS]);
	struct praas_dgram_head head = { .kind = (enum praas_dgram_kind)(1 + how % 4) };
	uint32_t heads = praas_inet_udp_bytes(from->dev.self.ip.v6);
	struct praas_inet_to where = {
		.ip = to->dev.self.ip,
		.from_port =
			((const struct praas_dgram_port *)(void *)from->port)->number,
		.to_port = ((const struct praas_dgram_port *)(void *)to->port)->number,
		.sum = true
	};
	uint8_t frame[FRAME_MAX] = { 0 };
	uint32_t bytes = next() + (how & 0x10 ? PRAAS_DGRAM_OPEN_BYTES : 0u);

	memcpy(where.mac, to->dev.self.mac, PRAAS_INET_MAC_BYTES);
	if (head.kind != PRAAS_DGRAM_OPEN)
		head.connection =
			conn ? (to_server ? conn->open.server : conn->open.client)
			     : next() + 1u;
	head.number = head.kind == PRAAS_DGRAM_DATA ? next() + 1u : 0;
	for (uint32_t i = 0; i < bytes; i++)
		frame[heads + i] = next();
	if (how & 0x20)
		praas_dgram_head_encode(&head, frame + heads);
	if (how & 0x40 && head.kind == PRAAS_DGRAM_REFUSE && conn)
		memcpy(frame + heads + 24, conn->open.client_nonce,
		       PRAAS_DGRAM_NONCE_BYTES);
	praas_inet_udp_build(&from->dev.self, &where, frame, bytes);
	put(to, frame, heads + bytes);
}

/* A peer that has the key and says what it likes. */
static void step_lie(uint8_t how)
{
	const struct praas_dgram_conn *c = dgram_of(&clients[how % CONNS]);
	uint32_t heads = praas_inet_udp_bytes(ends[0].dev.self.ip.v6);
	struct praas_dgram_head head = { .kind = PRAAS_DGRAM_DATA };
	struct praas_seal_packet packet = { .head_bytes = PRAAS_DGRAM_HEAD_BYTES };
	uint8_t frame[FRAME_MAX] = { 0 };

	if (!c || !c->seal_out || !c->arq)
		return;
	lied = true;
	head.connection = c->open.server;
	head.number = packet.number = c->arq->next_packet + how % 3;
	packet.bytes = next();
	packet.head = frame + heads;
	packet.data = frame + heads + PRAAS_DGRAM_HEAD_BYTES;
	packet.tag = packet.data + packet.bytes;
	for (uint32_t i = 0; i < packet.bytes; i++)
		packet.data[i] = next();
	praas_dgram_head_encode(&head, frame + heads);
	if (praas_seal_close(c->seal_out, &packet) != 0)
		return;
	packet.bytes += PRAAS_DGRAM_HEAD_BYTES + PRAAS_SEAL_TAG_BYTES;
	praas_inet_udp_build(&ends[0].dev.self, &c->to, frame, packet.bytes);
	put(&ends[1], frame, heads + packet.bytes);
}

static void step_raw(struct end *to)
{
	uint8_t frame[FRAME_MAX];
	uint32_t bytes = next();

	for (uint32_t i = 0; i < bytes; i++)
		frame[i] = next();
	put(to, frame, bytes);
}

static void step_replay(uint8_t which)
{
	const struct frame *k = &kept[which % KEPT];

	put(&ends[which >> 7], k->data, k->bytes);
}

static void step_arm(struct end *e)
{
	int fd, rc = e->port->ops->arm(e->port, &fd);

	require(rc == 0 || rc == -EAGAIN);
}

static void step(void)
{
	uint8_t op = next(), how = next();
	struct end *e = &ends[how >> 7];

	switch (op % 14) {
	case 0:
	case 1:
		poll_end(e, how % 4);
		break;
	case 2:
	case 3:
		for (unsigned i = 0; i <= how % 8; i++) {
			poll_end(&ends[0], 0);
			poll_end(&ends[1], 0);
		}
		break;
	case 4:
		now_ns += UINT64_C(1000) << how % 23;
		break;
	case 5:
		step_connect(how);
		break;
	case 6:
		step_send(any_side(how), op / 14);
		break;
	case 7:
		step_close(any_side(how), op & 0x40);
		break;
	case 8:
		step_spoil(e, op / 14 * 16);
		break;
	case 9:
		step_forge(op & 0x80, how);
		break;
	case 10:
		step_lie(how);
		break;
	case 11:
		step_raw(e);
		break;
	case 12:
		step_replay(how);
		break;
	default:
		if (how & 0x40)
			step_arm(e);
		else
			e->full = how % 32;
		break;
	}
}

/* ---- one input ---- */

static void open_end(bool server, uint8_t how)
{
	struct end *e = &ends[server];
	bool v6 = how & 1;
	struct praas_dgram_config config = {
		.port = { .listen = !server ? NULL
				    : v6    ? "wire://[fd00::1]:0"
					    : "wire://10.0.0.1:7000",
			  .memory = praas_heap_memory(heap),
			  .accept_events = &accept_events,
			  .accept_key = accept_key,
			  .conns_max = CONNS - 1,
			  .unauthenticated_max = 3 },
		.ops = &fuzz_ops,
		.dev = &e->dev,
		.clear = how & 2,
	};
	uint8_t prefix;

	*e = (struct end){ .dev = { .ops = &dev_ops, .mtu = how & 4 ? 1280 : 1500 } };
	e->dev.self.mac[0] = 2;
	e->dev.self.mac[5] = server ? 1 : 2;
	e->dev.self.prefix = v6 ? 64 : 24;
	require(praas_inet_ip_parse(v6 ? (server ? "fd00::1" : "fd00::2")
				       : (server ? "10.0.0.1" : "10.0.0.2"),
				    &e->dev.self.ip, &prefix) == 0);
	if (server && how & 8) { /* what cannot be opened */
		struct praas_dgram_config bad = config;
		struct praas_port *port;

		bad.port.listen = "wire://10.0.0.9:1";
		require(praas_dgram_open(&bad, &port) == -EADDRNOTAVAIL);
		bad.port.listen = "wire://here";
		require(praas_dgram_open(&bad, &port) == -EINVAL);
		bad.port.accept_key = NULL;
		require(praas_dgram_open(&bad, &port) == -EINVAL);
		e->dev.mtu = 100;
		require(praas_dgram_open(&config, &port) == -EINVAL);
		e->dev.mtu = 1500;
	}
	require(praas_dgram_open(&config, &e->port) == 0);
}

static void begin(uint8_t how)
{
	if (heap == NULL)
		require(praas_heap_new(NULL, &heap) == 0);
	now_ns = UINT64_C(1000000000);
	random_state = 1;
	running = true;
	lied = false;
	kept_count = 0;
	memset(kept, 0, sizeof(kept));
	memset(clients, 0, sizeof(clients));
	memset(servers, 0, sizeof(servers));
	for (unsigned i = 0; i < 3; i++) {
		secrets[i].ticket[0] = i == 2 ? 9 : 1;
		memset(secrets[i].session_key, i == 1 ? 0x22 : 0x11, PRAAS_KEY_BYTES);
	}
	open_end(true, how);
	open_end(false, how);
}

static void end_all(void)
{
	struct praas_heap_stats stats;
	struct praas_dgram_stats counted;

	for (unsigned i = 0; i < 2; i++)
		praas_dgram_port_stats(ends[i].port, &counted);
	for (unsigned i = 0; i < CONNS; i++) {
		const struct praas_dgram_conn *c = dgram_of(&clients[i]);

		if (c && clients[i].opened)
			(void)praas_dgram_conn_stats(&c->base);
		/* Without the key nobody is let in, whatever happens on the wire. */
		require(clients[i].opened == 0 || !c || c->base.secret == &secrets[0]);
	}
	ends[0].port->ops->free(ends[0].port);
	ends[1].port->ops->free(ends[1].port);
	running = false;
	praas_heap_stats(heap, &stats);
	require(stats.buffers == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	input = data;
	left = bytes;
	begin(next());
	/* Honest ones first, mostly, so that there is something to spoil. */
	for (uint8_t n = next() % 4; n > 0; n--) {
		step_connect((uint8_t)(n - 1));
		for (unsigned i = 0; i < 6; i++) {
			poll_end(&ends[0], 0);
			poll_end(&ends[1], 0);
		}
	}
	while (left > 0)
		step();
	end_all();
	return 0;
}
