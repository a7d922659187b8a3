/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "tests/unit/shm_pair.h"

/* The shm transport beyond what the conformance suite asks of every transport. */

static int setup(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));

	pair_ports(p, NULL);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	pair_free(*state);
	free(*state);
	return 0;
}

/* Payload, key and head arrive; the payload is not copied. */
static void test_shm_transport_frame_arrives_by_reference(void **state)
{
	struct pair *p = *state;
	struct praas_shm_conn *s;
	struct praas_buf *got;

	pair_connect(p);
	p->s.keep = true;
	assert_int_equal(side_post(&p->c, PRAAS_FRAME_SEND, 7, "the key", 1000, 0x5a),
			 0);
	PAIR_UNTIL(p, p->s.queued == 1);
	got = p->s.queue[0];
	s = praas_shm_conn_of(p->s.conn);
	assert_int_equal(got->head.kind, PRAAS_FRAME_SEND);
	assert_int_equal(got->head.id, 7);
	assert_int_equal(got->head.bytes, 1000);
	assert_string_equal(got->key, "the key");
	assert_true(got->data >= s->peer.base);
	assert_true(got->data + 1000 <= s->peer.base + s->peer.bytes);
	assert_int_equal((uintptr_t)got->data % 64, 0);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(got->data[i], 0x5a);
	assert_int_equal(got->segment, s->peer.id);
	assert_ptr_equal(praas_shm_segment(p->s.port, got->segment), &s->peer);
	assert_int_equal(p->s.port->copies + p->c.port->copies, 0);
	PAIR_UNTIL(p, p->c.sent == 2); /* HELLO and this */
}

/* A released buffer comes back through the return ring; an invocation's with its result. */
static void test_shm_transport_buffers_come_back(void **state)
{
	struct pair *p = *state;
	struct praas_pool_stats st;
	struct praas_shm_conn *c;

	pair_connect(p);
	c = praas_shm_conn_of(p->c.conn);
	p->s.keep = true;
	assert_int_equal(side_post(&p->c, PRAAS_FRAME_SEND, 1, NULL, 100, 1), 0);
	assert_int_equal(side_post(&p->c, PRAAS_FRAME_INVOKE, 2, NULL, 100, 2), 0);
	PAIR_UNTIL(p, p->s.queued == 2);
	side_release(&p->s);
	PAIR_UNTIL(p, (praas_pool_stats(c->pool, &st), st.frees == 1));
	assert_int_equal(c->loans_count, 1);
	assert_int_equal(side_post(&p->s, PRAAS_FRAME_RESULT, 2, NULL, 10, 3), 0);
	PAIR_UNTIL(p, p->c.frames == 1);
	praas_pool_stats(c->pool, &st);
	assert_int_equal(st.frees, 2);
	assert_int_equal(st.bytes_used, 0);
	assert_int_equal(c->loans_count, 0);
	/* And the result's buffer goes back to the server. */
	PAIR_UNTIL(p, (praas_pool_stats(praas_shm_conn_of(p->s.conn)->pool, &st),
		       st.bytes_used == 0));
}

/* More frames than the ring has slots, in both directions, none lost, in order. */
static void test_shm_transport_back_pressure_then_all_arrive(void **state)
{
	struct pair *p = *state;
	uint64_t sent = 0;
	bool full = false;

	pair_connect(p);
	p->s.keep = true;
	while (sent < 1000) {
		int rc = side_post(&p->c, PRAAS_FRAME_SEND, sent + 1, NULL, 64,
				   (uint8_t)sent);

		if (rc == 0) {
			sent++;
			continue;
		}
		assert_int_equal(rc, -EAGAIN);
		full = true;
		PAIR_UNTIL(p, p->s.queued > 0);
		for (unsigned i = 0; i < p->s.queued; i++)
			assert_int_equal(p->s.queue[i]->data[0],
					 (uint8_t)(p->s.queue[i]->head.id - 1));
		side_release(&p->s);
	}
	assert_true(full);
	PAIR_UNTIL(p, p->s.frames == 1000);
	assert_int_equal(p->s.queued == 0 ? 1000 : p->s.queue[p->s.queued - 1]->head.id,
			 1000);
}

/* A payload from memory that is not the connection's costs one copy, which is counted. */
static void release_nothing(struct praas_buf *buf)
{
	buf->cookie++;
}

static void test_shm_transport_foreign_buffer_is_copied(void **state)
{
	struct pair *p = *state;
	uint8_t data[200];
	struct praas_buf foreign = {
		.head = { .kind = PRAAS_FRAME_SEND, .id = 1, .bytes = 200 },
		.data = data,
		.release = release_nothing
	};

	memset(data, 9, sizeof(data));
	pair_connect(p);
	p->s.keep = true;
	assert_int_equal(p->c.conn->ops->send(p->c.conn, &foreign), 0);
	PAIR_UNTIL(p, p->s.queued == 1);
	assert_memory_equal(p->s.queue[0]->data, data, sizeof(data));
	assert_int_equal(p->c.port->copies, 1);
	PAIR_UNTIL(p, foreign.cookie == 1);
}

/* Larger than half the area: own segments, both ways, used again for the next. */
static void test_shm_transport_big_payloads(void **state)
{
	struct pair *p = *state;
	uint64_t bytes = 9u << 20;

	pair_connect(p);
	p->s.keep = true;
	p->c.keep = true;
	for (unsigned round = 0; round < 3; round++) {
		int rc = -ENOBUFS;

		for (unsigned i = 0; i < 100000 && rc == -ENOBUFS; i++) {
			rc = side_post(&p->c, PRAAS_FRAME_INVOKE, round + 1, "k", bytes,
				       0x33);
			pair_turn(p);
		}
		assert_int_equal(rc, 0);
		PAIR_UNTIL(p, p->s.queued == 1);
		assert_int_equal(p->s.queue[0]->head.bytes, bytes);
		assert_int_equal(p->s.queue[0]->data[bytes - 1], 0x33);
		assert_string_equal(p->s.queue[0]->key, "k");
		side_release(&p->s);
		assert_int_equal(side_post(&p->s, PRAAS_FRAME_RESULT, round + 1, NULL,
					   bytes, 0x44),
				 0);
		PAIR_UNTIL(p, p->c.queued == 1);
		assert_int_equal(p->c.queue[0]->data[bytes - 1], 0x44);
		side_release(&p->c);
	}
	assert_int_equal(p->c.port->copies + p->s.port->copies, 0);
	/* One segment each way was enough. */
	assert_true(praas_shm_conn_of(p->s.conn)->big_bytes < 3 * bytes);
}

/* Over the limit is refused at the sender, with its own error. */
static void test_shm_transport_too_large_is_refused(void **state)
{
	struct pair *p = *state;
	struct praas_buf *buf;

	p->bytes_max = 1u << 20;
	pair_connect(p);
	assert_int_equal(p->c.conn->ops->alloc(p->c.conn, (1u << 20) + 1, &buf),
			 -EMSGSIZE);
	assert_int_equal(side_post(&p->c, PRAAS_FRAME_SEND, 1, NULL, 1u << 20, 1), 0);
}

/* Armed, a port's descriptor becomes readable when a frame comes. */
static void test_shm_transport_arm_wakes(void **state)
{
	struct pair *p = *state;
	struct pollfd fd = { .events = POLLIN };
	int rc = -EAGAIN;

	pair_connect(p);
	for (unsigned i = 0; i < 1000 && rc == -EAGAIN; i++) {
		pair_turn(p);
		rc = p->s.port->ops->arm(p->s.port, &fd.fd);
	}
	assert_int_equal(rc, 0);
	assert_int_equal(poll(&fd, 1, 0), 0);
	assert_int_equal(side_post(&p->c, PRAAS_FRAME_SEND, 1, NULL, 1, 1), 0);
	assert_int_equal(poll(&fd, 1, 1000), 1);
	PAIR_UNTIL(p, p->s.frames == 1);
	/* What is there already is not slept over. */
	assert_int_equal(side_post(&p->c, PRAAS_FRAME_SEND, 1, NULL, 1, 1), 0);
	assert_int_equal(p->s.port->ops->arm(p->s.port, &fd.fd), -EAGAIN);
}

/* Who sleeps on several ports announces all, fences once, and arms each: what came in between is
 * seen, what comes later wakes, and polling undoes both halves. */
static void test_shm_transport_announced_then_armed(void **state)
{
	struct pair *p = *state;
	const struct praas_transport_ops *ops = p->s.port->ops;
	struct pollfd fd = { .events = POLLIN };
	int rc = -EAGAIN;

	pair_connect(p);
	for (unsigned i = 0; i < 1000 && rc == -EAGAIN; i++) {
		pair_turn(p);
		ops->announce(p->s.port);
		praas_doorbell_fence_producers();
		rc = ops->arm(p->s.port, &fd.fd);
	}
	assert_int_equal(rc, 0);
	assert_int_equal(poll(&fd, 1, 0), 0);
	assert_int_equal(side_post(&p->c, PRAAS_FRAME_SEND, 1, NULL, 1, 1), 0);
	assert_int_equal(poll(&fd, 1, 1000), 1);
	PAIR_UNTIL(p, p->s.frames == 1);
	ops->announce(p->s.port);
	praas_doorbell_fence_producers();
	assert_int_equal(side_post(&p->c, PRAAS_FRAME_SEND, 1, NULL, 1, 1), 0);
	assert_int_equal(ops->arm(p->s.port, &fd.fd), -EAGAIN);
	PAIR_UNTIL(p, p->s.frames == 2);
	/* Announced, but not armed in the end: the next arm() is a whole one. */
	ops->announce(p->s.port);
	pair_turn(p);
	for (rc = -EAGAIN; rc == -EAGAIN;) {
		pair_turn(p);
		rc = ops->arm(p->s.port, &fd.fd);
	}
	assert_int_equal(side_post(&p->c, PRAAS_FRAME_SEND, 1, NULL, 1, 1), 0);
	assert_int_equal(poll(&fd, 1, 1000), 1);
	PAIR_UNTIL(p, p->s.frames == 3);
}

/* An idle connection is not polled any more, and comes back by itself. */
static void test_shm_transport_cold_connection_comes_back(void **state)
{
	struct pair *p = *state;

	pair_connect(p);
	for (unsigned i = 0; i < 2000 && !praas_shm_conn_of(p->s.conn)->cold; i++) {
		for (unsigned k = 0; k < 70; k++)
			(void)p->s.port->ops->poll(p->s.port, 64);
		(void)usleep(200);
	}
	assert_true(praas_shm_conn_of(p->s.conn)->cold);
	assert_int_equal(side_post(&p->c, PRAAS_FRAME_SEND, 1, NULL, 1, 1), 0);
	PAIR_UNTIL(p, p->s.frames == 1);
	assert_false(praas_shm_conn_of(p->s.conn)->cold);
}

/* A peer that closes is told with 0 after its last frames; one that vanishes is not. */
static void test_shm_transport_close_in_order(void **state)
{
	struct pair *p = *state;

	pair_connect(p);
	assert_int_equal(side_post(&p->c, PRAAS_FRAME_SEND, 1, NULL, 5000, 1), 0);
	p->c.conn->ops->close(p->c.conn, true);
	PAIR_UNTIL(p, p->s.closed == 1);
	assert_int_equal(p->s.closed_rc, 0);
	assert_int_equal(p->s.frames, 1);
	assert_int_equal(p->c.closed, 0);
	assert_int_equal(p->c.sent, 2);
}

static void test_shm_transport_vanished_peer_is_a_reset(void **state)
{
	struct pair *p = *state;

	pair_connect(p);
	(void)shutdown(praas_shm_conn_of(p->c.conn)->source.fd, 2 /* SHUT_RDWR */);
	PAIR_UNTIL(p, p->s.closed == 1);
	assert_int_equal(p->s.closed_rc, -ECONNRESET);
	PAIR_UNTIL(p, p->c.closed == 1);
}

/* Buffers stay readable after their connection is gone. */
static void test_shm_transport_buffer_outlives_connection(void **state)
{
	struct pair *p = *state;

	pair_connect(p);
	p->s.keep = true;
	assert_int_equal(side_post(&p->c, PRAAS_FRAME_SEND, 1, NULL, 5000, 0x77), 0);
	PAIR_UNTIL(p, p->s.queued == 1);
	p->c.conn->ops->close(p->c.conn, false);
	PAIR_UNTIL(p, p->s.closed == 1);
	assert_int_equal(p->s.queue[0]->data[4999], 0x77);
	side_release(&p->s);
}

/* Nobody listens: closed, once, with the reason. */
static void test_shm_transport_refused(void **state)
{
	struct pair *p = *state;
	struct praas_conn *conn;
	char addr[200];

	(void)snprintf(addr, sizeof(addr), "shm://%s/nobody", p->dir);
	assert_int_equal(
		p->c.port->ops->connect(p->c.port, addr, &side_events, &p->c, &conn),
		0);
	PAIR_UNTIL(p, p->c.closed == 1);
	assert_int_equal(p->c.closed_rc, -ECONNREFUSED);
	assert_int_equal(p->c.opened, 0);
	assert_int_equal(p->c.port->ops->connect(p->c.port, "shm://relative",
						 &side_events, &p->c, &conn),
			 -EINVAL);
}

/* A second listener on a living socket is refused; a dead socket file is replaced. */
static void test_shm_transport_address_in_use(void **state)
{
	struct pair *p = *state;
	struct praas_port_config config = { .listen = p->addr,
					    .accept_events = &side_events };
	struct praas_port *other;
	char addr[PRAAS_ADDR_MAX];
	struct stat st;

	assert_int_equal(praas_shm_transport_ops.open(&config, &other), -EADDRINUSE);
	assert_int_equal(p->s.port->ops->address(p->s.port, addr), 0);
	assert_string_equal(addr, p->addr);
	assert_int_equal(stat(p->addr + 6, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

/* A deadline is a point of the clock that both ends share, and stays as it is. */
static void test_shm_transport_deadline_travels(void **state)
{
	struct pair *p = *state;
	struct praas_buf *buf;

	pair_connect(p);
	p->s.keep = true;
	assert_int_equal(p->c.conn->ops->alloc(p->c.conn, 0, &buf), 0);
	buf->head.kind = PRAAS_FRAME_INVOKE;
	buf->head.id = 3;
	buf->head.deadline_ns = 123456789;
	assert_int_equal(p->c.conn->ops->send(p->c.conn, buf), 0);
	PAIR_UNTIL(p, p->s.queued == 1);
	assert_int_equal(p->s.queue[0]->head.deadline_ns, 123456789);
}

/* Heads alone go the shorter way: in order with the others, nothing is told or allocated. */
static void test_shm_transport_heads_alone(void **state)
{
	struct pair *p = *state;
	struct praas_frame head = { .kind = PRAAS_FRAME_RESULT,
				    .status = -3,
				    .aux = 9 };
	const struct praas_transport_ops *ops;
	uint64_t n = 0;
	int rc;

	assert_int_equal(p->s.port->ops->ready(p->s.port),
			 1); /* nobody is looked at alone */
	pair_connect(p);
	ops = p->s.conn->ops;
	p->c.keep = true;
	do {
		head.id = ++n;
		rc = ops->send_head(p->s.conn, &head);
	} while (rc == 0);
	assert_int_equal(rc, -EAGAIN);
	assert_true(n > 8);
	PAIR_UNTIL(p, p->c.queued == n - 1);
	assert_int_equal(side_post(&p->s, PRAAS_FRAME_RESULT, n, NULL, 0, 0), 0);
	PAIR_UNTIL(p, p->c.queued == n);
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(p->c.queue[i]->head.id, i + 1);
	assert_int_equal(p->c.queue[0]->head.status, -3);
	assert_int_equal(p->c.queue[0]->head.aux, 9);
	assert_int_equal(p->c.queue[0]->head.bytes, 0);
	PAIR_UNTIL(p, p->s.sent == 2); /* WELCOME and the last one */
	ops->close(p->c.conn, false);
	PAIR_UNTIL(p,
		   p->s.closed == 1 || ops->send_head(p->s.conn, &head) == -ENOTCONN);
}

/* Who alone had frames lately is looked at; nobody after it has gone. */
static void test_shm_transport_ready(void **state)
{
	struct pair *p = *state;
	const struct praas_port *port;

	pair_connect(p);
	port = p->s.port;
	for (uint64_t i = 1; i <= 2; i++) {
		assert_int_equal(side_post(&p->c, PRAAS_FRAME_SEND, i, NULL, 8, 1), 0);
		assert_true(port->ops->ready(port));
		PAIR_UNTIL(p, p->s.frames == i);
	}
	assert_false(port->ops->ready(port));
	assert_int_equal(side_post(&p->c, PRAAS_FRAME_SEND, 3, NULL, 8, 1), 0);
	assert_true(port->ops->ready(port));
	PAIR_UNTIL(p, p->s.frames == 3);
	assert_false(port->ops->ready(port));
	p->c.conn->ops->close(p->c.conn, false);
	PAIR_UNTIL(p, p->s.closed == 1);
	assert_true(port->ops->ready(port));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_shm_transport_frame_arrives_by_reference),
		T(test_shm_transport_buffers_come_back),
		T(test_shm_transport_back_pressure_then_all_arrive),
		T(test_shm_transport_foreign_buffer_is_copied),
		T(test_shm_transport_big_payloads),
		T(test_shm_transport_too_large_is_refused),
		T(test_shm_transport_arm_wakes),
		T(test_shm_transport_announced_then_armed),
		T(test_shm_transport_cold_connection_comes_back),
		T(test_shm_transport_close_in_order),
		T(test_shm_transport_vanished_peer_is_a_reset),
		T(test_shm_transport_buffer_outlives_connection),
		T(test_shm_transport_refused),
		T(test_shm_transport_address_in_use),
		T(test_shm_transport_deadline_travels),
		T(test_shm_transport_heads_alone),
		T(test_shm_transport_ready),
	};

	return cmocka_run_group_tests_name("shm_transport", tests, NULL, NULL);
}
