/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "tests/unit/shm_pair.h"

/* A client that has authenticated and then writes what it likes into all that it can write: its
 * segment and its socket. The server ends that connection with -EPROTO, and serves others. */

static int setup(void **state)
{
	struct praas_shm_config config = { .workers = 1,
					   .big_bytes_max = 16u << 20,
					   .big_total_max = 24u << 20 };
	struct pair *p = calloc(1, sizeof(*p));

	pair_ports(p, &config);
	pair_connect(p);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	pair_free(*state);
	free(*state);
	return 0;
}

static struct praas_shm_conn *client(struct pair *p)
{
	return praas_shm_conn_of(p->c.conn);
}

/* The server has ended it, with the right reason; a new client is served. */
static void refused(struct pair *p)
{
	for (unsigned i = 0; i < 100000 && p->s.closed == 0; i++)
		(void)p->s.port->ops->poll(p->s.port, 64);
	assert_int_equal(p->s.closed, 1);
	assert_int_equal(p->s.closed_rc, -EPROTO);
	assert_true(p->s.port->protocol_errors > 0);
	if (p->c.conn)
		p->c.conn->ops->close(p->c.conn, false);
	p->s.welcomed = false;
	p->c.welcomed = false;
	pair_connect(p);
	p->s.frames = 0;
	assert_int_equal(side_post(&p->c, PRAAS_FRAME_SEND, 1, "k", 100, 1), 0);
	PAIR_UNTIL(p, p->s.frames == 1);
	p->s.closed = 0;
}

static void push(struct pair *p, const struct praas_frame *f, uint32_t segment,
		 uint64_t offset)
{
	struct praas_desc d;

	praas_frame_to_desc(f, (uint16_t)segment, offset, &d);
	assert_int_equal(praas_channel_push(&client(p)->channel, &d), 0);
}

/* Payloads that do not lie in the client's buffer area. */
static void test_shm_hostile_offsets(void **state)
{
	struct pair *p = *state;

	for (unsigned i = 0; i < 9; i++) {
		struct praas_shm_conn *c = client(p);
		struct praas_frame f = { .kind = PRAAS_FRAME_SEND,
					 .id = 1,
					 .bytes = 100 };
		uint64_t from = praas_channel_pool_offset(&c->my_geometry);
		uint64_t to = from + c->my_geometry.pool_bytes;
		const struct {
			uint32_t segment;
			uint64_t offset, bytes;
			uint8_t key_bytes;
		} bad[9] = {
			{ 0, from + 512, 100, 0 },            /* no such segment */
			{ c->peer.id, from + 512, 100, 0 },   /* the server's own */
			{ 0xffff, from + 512, 100, 0 },       /* unknown */
			{ c->mine.id, from + 1, 100, 0 },     /* misaligned */
			{ c->mine.id, from - 64, 100, 0 },    /* rings, not buffers */
			{ c->mine.id, to - 64, 100, 0 },      /* beyond the end */
			{ c->mine.id, ~63ull, 100, 0 },       /* wraps */
			{ c->mine.id, from + 512, ~0ull, 0 }, /* wraps */
			{ c->mine.id, from, 100, 9 }, /* its key lies before the area */
		};

		f.bytes = bad[i].bytes;
		f.key_bytes = bad[i].key_bytes;
		push(p, &f, bad[i].segment, bad[i].offset);
		refused(p);
	}
}

/* Descriptors that mean nothing: kinds, flags, reserved bits, a NUL in the key. */
static void test_shm_hostile_descriptors(void **state)
{
	static const uint64_t word0[] = { 0,
					  1,
					  PRAAS_FRAME_WELCOME,
					  63,
					  PRAAS_FRAME_KIND_MAX + 1,
					  255,
					  PRAAS_FRAME_SEND | 0x80u << 8,
					  PRAAS_FRAME_SEND | 1u << 24 };
	struct pair *p = *state;
	struct praas_desc d;

	for (unsigned i = 0; i < sizeof(word0) / sizeof(word0[0]); i++) {
		d = (struct praas_desc){ .word = { word0[i] } };
		assert_int_equal(praas_channel_push(&client(p)->channel, &d), 0);
		refused(p);
	}
	d = (struct praas_desc){ .word = { PRAAS_FRAME_SEND, 1ull << 32 } };
	assert_int_equal(praas_channel_push(&client(p)->channel, &d), 0);
	refused(p);
	{
		struct praas_shm_conn *c = client(p);
		uint64_t from = praas_channel_pool_offset(&c->my_geometry);
		struct praas_frame f = { .kind = PRAAS_FRAME_SEND,
					 .id = 1,
					 .key_bytes = 5 };

		memset(c->mine.base + from, 0, 64);
		push(p, &f, c->mine.id, from + 64);
		refused(p);
	}
}

/* Ring words that cannot be. */
static void test_shm_hostile_ring(void **state)
{
	struct pair *p = *state;
	struct praas_shm_conn *c = client(p);

	atomic_store(&c->channel.tx.slot[c->channel.tx.head & c->channel.tx.mask].seq,
		     77777);
	refused(p);
	c = client(p);
	/* A read position beyond what the server ever wrote: seen when its ring looks full. */
	atomic_store(&c->channel.rx.tail->read, 1u << 20);
	for (unsigned i = 0; i < 1000 && p->s.conn; i++)
		if (side_post(&p->s, PRAAS_FRAME_EVENT, 1, NULL, 0, 0) == -ENOTCONN)
			break;
	refused(p);
}

/* Buffers given back that were never lent, or twice. */
static void test_shm_hostile_returns(void **state)
{
	struct pair *p = *state;
	const uint64_t refs[] = { 0, 4096, ~1ull, praas_shm_ref(0x1001, 64),
				  praas_shm_ref(9, 9) };
	struct praas_buf *got;
	uint64_t ref;

	for (unsigned i = 0; i < sizeof(refs) / sizeof(refs[0]); i++) {
		assert_int_equal(praas_channel_return(&client(p)->channel, refs[i]), 0);
		refused(p);
	}
	p->c.keep = true;
	assert_int_equal(side_post(&p->s, PRAAS_FRAME_EVENT, 1, NULL, 100, 0), 0);
	PAIR_UNTIL(p, p->c.queued == 1);
	got = p->c.queue[0];
	ref = praas_shm_ref(got->segment, got->offset);
	assert_int_equal(praas_channel_return(&client(p)->channel, ref), 0);
	assert_int_equal(praas_channel_return(&client(p)->channel, ref), 0);
	side_release(&p->c);
	refused(p);
	/* The head of the return ring runs away. */
	atomic_store(client(p)->channel.returns_tx.head, 1u << 30);
	refused(p);
}

/* One buffer again and again, and nothing taken back: no more is kept than it has buffers. */
static void test_shm_hostile_reuse(void **state)
{
	struct pair *p = *state;
	struct praas_shm_conn *c = client(p);
	uint64_t from = praas_channel_pool_offset(&c->my_geometry);
	struct praas_frame f = { .kind = PRAAS_FRAME_CANCEL, .id = 1, .bytes = 8 };
	unsigned long sent = 0,
		      limit = 4ul * praas_shm_conn_of(p->s.conn)->backlog.capacity;

	while (p->s.closed == 0 && sent < limit) {
		struct praas_desc d;

		praas_frame_to_desc(&f, (uint16_t)c->mine.id, from + 512, &d);
		if (praas_channel_push(&c->channel, &d) == 0)
			sent++;
		else
			(void)p->s.port->ops->poll(p->s.port, 64);
	}
	refused(p);
}

static void datagram(struct pair *p, const void *data, size_t bytes, const int *fds,
		     unsigned count)
{
	struct iovec iov = { (void *)(uintptr_t)data, bytes };

	assert_int_equal(praas_shm_sock_send(client(p)->source.fd, &iov, 1, fds, count),
			 0);
}

/* Control messages that a client may not send, or that make no sense. */
static void test_shm_hostile_socket(void **state)
{
	struct pair *p = *state;
	struct praas_shm_msg msg = { .magic = PRAAS_SHM_MSG_MAGIC };
	uint8_t junk[200];
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	memset(junk, 0xa5, sizeof(junk));
	for (unsigned bytes = 1; bytes < sizeof(junk); bytes += 33) {
		datagram(p, junk, bytes, NULL, 0);
		refused(p);
	}
	for (uint32_t kind = 0; kind < 12; kind++) {
		if (kind == PRAAS_SHM_WANT || kind == PRAAS_SHM_BYE)
			continue;
		msg.kind = kind;
		msg.worker = kind % 2 ? 0 : UINT32_MAX;
		datagram(p, &msg, sizeof(msg), NULL, 0);
		refused(p);
	}
	/* Descriptors: nothing that a client offers is mapped or kept. */
	msg.kind = PRAAS_SHM_WANT;
	datagram(p, &msg, sizeof(msg), &fd, 1);
	refused(p);
	(void)close(fd);
}

/* Wants more than there is: told so, and not served. */
static void test_shm_hostile_wants(void **state)
{
	struct pair *p = *state;
	struct praas_shm_msg msg = { .magic = PRAAS_SHM_MSG_MAGIC,
				     .kind = PRAAS_SHM_WANT,
				     .bytes = ~0ull };
	uint64_t held = 0;

	datagram(p, &msg, sizeof(msg), NULL, 0);
	PAIR_UNTIL(p, client(p)->want_status == -EMSGSIZE);
	msg.bytes = 4u << 20;
	for (unsigned i = 0; i < 10; i++) {
		datagram(p, &msg, sizeof(msg), NULL, 0);
		for (unsigned k = 0; k < 50; k++)
			pair_turn(p);
	}
	assert_int_equal(client(p)->want_status, -ENOBUFS);
	held = praas_shm_conn_of(p->s.conn)->big_bytes;
	assert_true(held <= 16u << 20);
	assert_true(held >= 12u << 20);
}

/* Asks for segments of 4 MiB until there are no more. Returns the bytes of it. */
static uint64_t want_all(struct pair *p)
{
	const struct praas_shm_msg msg = { .magic = PRAAS_SHM_MSG_MAGIC,
					   .kind = PRAAS_SHM_WANT,
					   .bytes = 4u << 20 };

	client(p)->want_status = 0;
	for (unsigned i = 0; i < 10 && client(p)->want_status == 0; i++) {
		datagram(p, &msg, sizeof(msg), NULL, 0);
		for (unsigned k = 0; k < 50; k++)
			pair_turn(p);
	}
	assert_int_equal(client(p)->want_status, -ENOBUFS);
	return praas_shm_conn_of(p->s.conn)->big_bytes;
}

/* Many that take all they can get: together they stay below the port's limit, and who has nothing
 * yet still gets something. What one leaves is there for others. */
static void test_shm_hostile_wants_of_many(void **state)
{
	struct pair *p = *state;
	struct praas_conn *greedy = p->c.conn, *greedy_server = p->s.conn;
	uint64_t held = want_all(p), again;
	struct praas_shm_conn *last;

	for (unsigned i = 0; i < 4; i++) {
		p->s.welcomed = false;
		p->c.welcomed = false;
		pair_connect(p);
		again = want_all(p);
		held += again;
		if (i == 0)
			assert_true(again >= 4u << 20);
	}
	assert_true(held <= 24u << 20);
	last = praas_shm_conn_of(p->s.conn);
	assert_int_equal(last->port->big_bytes, held);
	again = praas_shm_conn_of(greedy_server)->big_bytes;
	greedy->ops->close(greedy, false);
	PAIR_UNTIL(p, last->port->big_bytes == held - again);
	p->s.conn = &last->base; /* the fixture has forgotten it with the other one */
	held = last->big_bytes;
	assert_true(want_all(p) > held);
}

/* A flood of wakes and of frames does not keep the port from its other connections. */
static void test_shm_hostile_flood(void **state)
{
	struct pair *p = *state;
	const uint64_t wake = 1;
	struct praas_frame f = { .kind = PRAAS_FRAME_PING, .id = 1 };

	for (unsigned i = 0; i < 3000; i++) {
		struct praas_desc d;

		(void)send(client(p)->source.fd, &wake, sizeof(wake),
			   MSG_DONTWAIT | MSG_NOSIGNAL);
		praas_frame_to_desc(&f, 0, 0, &d);
		(void)praas_channel_push(&client(p)->channel, &d);
		if (i % 16 == 0) /* bounded work a turn */
			assert_true(p->s.port->ops->poll(p->s.port, 64) <=
				    64 + 32 * 64);
	}
	assert_int_equal(side_post(&p->s, PRAAS_FRAME_EVENT, 1, NULL, 0, 0), 0);
	PAIR_UNTIL(p, p->c.frames == 1);
	assert_int_equal(p->s.closed, 0);
}

/* Before the handshake has ended: everything but a frame of the handshake is refused. */
static void test_shm_hostile_stranger(void **state)
{
	struct pair *p = *state;
	struct praas_shm_msg msg = { .magic = PRAAS_SHM_MSG_MAGIC,
				     .kind = PRAAS_SHM_WANT };
	static uint8_t large[8192];
	const char *path = p->addr + 6;
	unsigned closed = p->s.closed;
	struct iovec iov;
	int fd;

	for (unsigned i = 0; i < 4; i++) {
		iov = i == 0   ? (struct iovec){ &msg, sizeof(msg) }
		      : i == 1 ? (struct iovec){ large, sizeof(large) }
		      : i == 2 ? (struct iovec){ large, 8 }
			       : (struct iovec){ large, 64 };
		assert_int_equal(praas_shm_sock_connect(path, &fd), 0);
		assert_int_equal(praas_shm_sock_send(fd, &iov, 1, NULL, 0), 0);
		PAIR_UNTIL(p, p->s.closed == closed + 1 + i);
		assert_int_equal(p->s.closed_rc, -EPROTO);
		(void)close(fd);
	}
	/* Too many that say nothing: the first stay, the rest are turned away. */
	for (unsigned i = 0; i < 100; i++) {
		int rc = praas_shm_sock_connect(path, &fd);

		if (rc == 0 && i >= 64)
			(void)close(fd); /* the others are closed when the test ends */
		(void)p->s.port->ops->poll(p->s.port, 64);
	}
	assert_true(praas_shm_port_of(p->s.port)->handshaking <= 64);
}

/* A server that lies to its client ends the connection there; nothing is mapped or read. */
static void test_shm_hostile_server(void **state)
{
	struct pair *p = *state;
	struct praas_shm_conn *s = praas_shm_conn_of(p->s.conn);
	struct praas_frame f = { .kind = PRAAS_FRAME_RESULT, .id = 1, .bytes = 100 };
	struct praas_desc d;

	praas_frame_to_desc(&f, (uint16_t)s->mine.id, 64, &d);
	assert_int_equal(praas_channel_push(&s->channel, &d), 0);
	PAIR_UNTIL(p, p->c.closed == 1);
	assert_int_equal(p->c.closed_rc, -EPROTO);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_shm_hostile_offsets),       T(test_shm_hostile_descriptors),
		T(test_shm_hostile_ring),          T(test_shm_hostile_returns),
		T(test_shm_hostile_socket),        T(test_shm_hostile_wants),
		T(test_shm_hostile_flood),         T(test_shm_hostile_stranger),
		T(test_shm_hostile_server),        T(test_shm_hostile_reuse),
		T(test_shm_hostile_wants_of_many),
	};

	return cmocka_run_group_tests_name("shm_hostile", tests, NULL, NULL);
}
