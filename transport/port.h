/* SPDX-License-Identifier: Apache-2.0
 *
 * What transports that carry frames over a wire do alike: what a configuration leaves open, what waits
 * to be sent, and what becomes of a frame's header when it leaves one machine and arrives at another.
 */
#ifndef PRAAS_TRANSPORT_PORT_H
#define PRAAS_TRANSPORT_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "internal/base.h"
#include "transport/transport.h"

/* Copies config and fills in what it leaves open, as transport.h says. No more than conns_max
 * connections, the most that this transport can number. */
void praas_port_config_set(struct praas_port_config *c,
			   const struct praas_port_config *config, uint32_t conns_max);

/* ---- connections with something to do ---- */

/* Upcalls are made from poll() alone, so what happens elsewhere is noted in the connection, which is put behind
 * the others of its port, once. */
static inline void praas_conn_activate(struct praas_conn *conn)
{
	struct praas_port *port = conn->port;

	if (conn->active)
		return;
	conn->active = true;
	conn->active_next = NULL;
	if (port->active_last)
		port->active_last->active_next = conn;
	else
		port->active_first = conn;
	port->active_last = conn;
}

/* Takes the first out; there is one. */
static inline struct praas_conn *praas_conn_take_active(struct praas_port *port)
{
	struct praas_conn *conn = port->active_first;

	port->active_first = conn->active_next;
	if (port->active_first == NULL)
		port->active_last = NULL;
	conn->active = false;
	return conn;
}

/* run() for each that is in the list now; those that come in meanwhile have the next turn. */
static inline unsigned praas_port_run_active(struct praas_port *port, unsigned budget,
					     unsigned (*run)(struct praas_conn *conn,
							     unsigned budget))
{
	const struct praas_conn *last = port->active_last;
	bool more = last != NULL;
	unsigned done = 0;

	while (more) {
		struct praas_conn *conn = praas_conn_take_active(port);

		more = conn != last; /* it may be gone after its turn */
		done += run(conn, budget > done ? budget - done : 0);
	}
	return done;
}

/* ---- what waits to be sent ---- */

struct praas_send_queue {
	struct praas_buf *first, *last;
	uint64_t bytes; /* as the transport counts them; who takes out subtracts */
};

/* Whether a frame of so many bytes has to wait for -EAGAIN. One alone always fits. */
static inline bool praas_send_full(bool waiting, uint64_t queued, uint64_t bytes,
				   uint64_t max)
{
	return waiting && (bytes > max || queued > max - bytes);
}

static inline void praas_send_push(struct praas_send_queue *q, struct praas_buf *buf,
				   uint64_t bytes)
{
	buf->next = NULL;
	if (q->last)
		q->last->next = buf;
	else
		q->first = buf;
	q->last = buf;
	q->bytes += bytes;
}

/* Takes the first out; there is one. */
static inline struct praas_buf *praas_send_pop(struct praas_send_queue *q)
{
	struct praas_buf *buf = q->first;

	q->first = buf->next;
	if (q->first == NULL)
		q->last = NULL;
	return buf;
}

/* sent() of one frame. The handshake's frames are nobody's but the session's; quiet: nobody listens. */
static inline void praas_send_tell(struct praas_conn *conn, bool quiet,
				   struct praas_buf *buf, int rc)
{
	if (!quiet && buf->head.kind > PRAAS_FRAME_WELCOME)
		conn->events->sent(conn->user, conn, buf, rc);
}

/* Of all that have left, which are then given back. A handler may close the connection, and with that
 * make it quiet. */
static inline void praas_send_tell_left(struct praas_conn *conn, const bool *quiet,
					struct praas_send_queue *sent)
{
	while (sent->first) {
		struct praas_buf *buf = praas_send_pop(sent);

		praas_send_tell(conn, *quiet, buf, 0);
		praas_buf_release(buf);
	}
}

/* ---- a header on its way ---- */

/* No clock is common to two machines: a deadline travels as the time that is left. */
static inline bool praas_deadline_travels(const struct praas_frame *head)
{
	return head->deadline_ns != 0 && head->kind != PRAAS_FRAME_RESULT;
}

/* sequence: of the connection's frames. */
static inline void praas_frame_leaves(struct praas_frame *head, uint64_t sequence)
{
	head->source = 0; /* who sends is known by the connection */
	head->sequence = sequence;
	if (praas_deadline_travels(head)) {
		uint64_t now_ns = praas_now_ns();

		/* Passed already: the least that is not "none". */
		head->deadline_ns =
			head->deadline_ns > now_ns ? head->deadline_ns - now_ns : 1;
	}
}

/* Longer than a century is none. */
static inline void praas_frame_arrives(struct praas_frame *head)
{
	if (praas_deadline_travels(head))
		head->deadline_ns = head->deadline_ns >= (UINT64_C(1) << 62)
					    ? 0
					    : praas_now_ns() + head->deadline_ns;
}

#endif
