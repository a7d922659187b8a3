/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/gate.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "internal/base.h"

#define UNKNOWN UINT64_MAX /* of this turn: it is not over */

/* ops first: a connection's table leads to it. Until a frame goes its number stands in head.sequence, which belongs
 * to the transport from then on. */
struct praas_gate_conn {
	struct praas_transport_ops ops;
	const struct praas_transport_ops *real;
	struct praas_gate *gate;
	struct praas_conn *conn;
	struct praas_gate_conn *next, **at;
	struct praas_buf *first, *last;
	struct praas_buf *fresh; /* the first of this turn */
	uint64_t bytes;
	/* Who else watches the connection's end. */
	void (*ended)(void *watcher);
	void *watcher;
};

static struct praas_gate_conn *of(const struct praas_conn *conn)
{
	return (struct praas_gate_conn *)(void *)((uintptr_t)conn->ops -
						  offsetof(struct praas_gate_conn,
							   ops));
}

static bool waits(const struct praas_gate_conn *c, const struct praas_buf *buf)
{
	/* In a queue of one connection nothing but a result overtakes. */
	return c->gate->all || buf->head.kind == PRAAS_FRAME_REPLY ||
	       (c->first && buf->head.kind != PRAAS_FRAME_RESULT);
}

static int gate_send(struct praas_conn *conn, struct praas_buf *buf)
{
	struct praas_gate_conn *c = of(conn);
	uint64_t bytes = praas_frame_wire_bytes(&buf->head);

	if (!waits(c, buf))
		return c->real->send(conn, buf);
	if (c->first && c->bytes + bytes > PRAAS_GATE_BYTES_MAX)
		return -EAGAIN;
	buf->head.sequence = UNKNOWN;
	buf->next = NULL;
	if (c->last)
		c->last->next = buf;
	else
		c->first = buf;
	c->last = buf;
	if (!c->fresh)
		c->fresh = buf;
	c->bytes += bytes;
	c->gate->frames++;
	c->gate->fresh = true;
	return 0;
}

static struct praas_buf *take(struct praas_gate_conn *c)
{
	struct praas_buf *buf = c->first;

	c->first = buf->next;
	if (!c->first)
		c->last = NULL;
	if (c->fresh == buf)
		c->fresh = c->first;
	buf->next = NULL;
	c->bytes -= praas_frame_wire_bytes(&buf->head);
	c->gate->frames--;
	return buf;
}

/* tell: as the transport would, of what it had in its queue. */
static void drop(struct praas_gate_conn *c, bool tell)
{
	while (c->first) {
		struct praas_buf *buf = take(c);

		if (tell && c->conn->events->sent)
			c->conn->events->sent(c->conn->user, c->conn, buf, -ECANCELED);
		praas_buf_release(buf);
	}
}

static void on_ended(void *watcher)
{
	struct praas_gate_conn *c = watcher;
	void (*ended)(void *) = c->ended;
	void *whose = c->watcher;

	drop(c, false);
	*c->at = c->next;
	if (c->next)
		c->next->at = c->at;
	free(c);
	if (ended)
		ended(whose);
}

static void gate_close(struct praas_conn *conn, bool after_flush)
{
	struct praas_gate_conn *c = of(conn);

	conn->ops = c->real;
	drop(c, true);                       /* nobody was promised what has not left */
	conn->ops->close(conn, after_flush); /* on_ended() */
}

int praas_gate_add(struct praas_gate *gate, struct praas_conn *conn)
{
	struct praas_gate_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->real = conn->ops;
	c->ops = *conn->ops;
	c->ops.send = gate_send;
	c->ops.send_head = NULL;
	c->ops.close = gate_close;
	c->gate = gate;
	c->conn = conn;
	c->ended = conn->ended;
	c->watcher = conn->watcher;
	conn->ended = on_ended;
	conn->watcher = c;
	conn->ops = &c->ops;
	c->next = gate->conns;
	c->at = &gate->conns;
	if (c->next)
		c->next->at = &c->next;
	gate->conns = c;
	return 0;
}

/* What may go, as far as the connection takes it. */
static unsigned let_go(struct praas_gate_conn *c, uint64_t durable)
{
	unsigned n = 0;

	while (c->first && c->first->head.sequence <= durable) {
		struct praas_buf *buf = take(c);
		int rc = c->real->send(c->conn, buf);

		if (rc == -EAGAIN || rc == -ENOBUFS) {
			buf->head.sequence = 0; /* durable it is */
			buf->next = c->first;
			c->first = buf;
			if (!c->last)
				c->last = buf;
			c->bytes += praas_frame_wire_bytes(&buf->head);
			c->gate->frames++;
			c->gate->due++;
			break;
		}
		if (rc != 0)
			praas_buf_release(buf); /* the connection is at its end */
		n++;
	}
	return n;
}

unsigned praas_gate_turn(struct praas_gate *gate, uint64_t last, uint64_t durable)
{
	struct praas_gate_conn *next;
	unsigned n = 0;

	gate->due = 0;
	gate->fresh = false;
	if (gate->frames == 0)
		return 0;
	for (struct praas_gate_conn *c = gate->conns; c; c = next) {
		next = c->next;
		for (struct praas_buf *buf = c->fresh; buf; buf = buf->next)
			buf->head.sequence = last;
		c->fresh = NULL;
		n += let_go(c, durable);
	}
	return n;
}

uint64_t praas_gate_first(const struct praas_gate *gate)
{
	uint64_t first = UINT64_MAX;

	for (const struct praas_gate_conn *c = gate->conns; c; c = c->next)
		if (c->first && c->first->head.sequence != 0)
			first = praas_min_u64(first, c->first->head.sequence);
	return first;
}
