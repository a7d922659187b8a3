/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/verbs_port.h"

#include <errno.h>
#include <string.h>

#include "praas/client.h"

/*
 * A connection's life. Upcalls are made from poll() alone, so what happens elsewhere is noted in
 * the connection, which is put into the active list.
 *
 * Its end, in this order: nothing more is posted; the queue pairs are destroyed, after which the
 * device reads and writes nothing for them; then the buffers they worked on are given back. What the
 * completion queue still has of them carries a generation that is no more.
 */

#define LINGER_NS UINT64_C(1000000000)
#define DRAIN_NS UINT64_C(500000000) /* for what came before a disconnect */

void praas_verbs_pending(struct praas_verbs_conn *conn, int change)
{
	conn->pending = (uint8_t)(conn->pending + change);
	praas_verbs_port_of(conn)->pending += (uint32_t)change;
}

int praas_verbs_conn_new(struct praas_verbs_port *port, struct praas_verbs_conn **ret_c)
{
	struct praas_verbs_conn *conn;
	uint32_t index = 0;

	if (port->used == port->slots)
		return -ENOBUFS;
	conn = calloc(1, sizeof(*conn));
	if (!conn)
		return -ENOMEM;
	while (port->by_index[index])
		index++;
	port->by_index[index] = conn;
	port->used++;
	conn->index = (uint16_t)index;
	conn->generation = ++port->generation[index];
	conn->state = PRAAS_VERBS_CONNECTING;
	conn->end_rc = PRAAS_VERBS_GOING;
	conn->base.ops = port->base.ops;
	conn->base.port = &port->base;
	conn->base.bytes_max = port->config.handshake_bytes_max;
	/* Memory is for those that have it to themselves; many share it. */
	conn->slots = port->used <= PRAAS_VERBS_CONNS_RICH ? PRAAS_VERBS_SLOTS
							   : PRAAS_VERBS_SLOTS_FEW;
	conn->sends = port->used <= PRAAS_VERBS_CONNS_RICH ? PRAAS_VERBS_SENDS
							   : PRAAS_VERBS_SENDS_FEW;
	for (uint32_t i = 0; i < PRAAS_VERBS_SLOTS; i++) {
		conn->slot[i].conn = conn;
		conn->slot[i].buf.release = praas_verbs_slot_release;
	}
	conn->next = port->conns;
	if (conn->next)
		conn->next->prev = conn;
	port->conns = conn;
	praas_verbs_pending(conn, 1);
	*ret_c = conn;
	return 0;
}

static int take_memory(struct praas_verbs_conn *conn, uint64_t bytes,
		       struct praas_buf **ret_buf, uint32_t *ret_lkey)
{
	const struct praas_memory *m = praas_verbs_port_of(conn)->config.memory;
	int rc = m->alloc(m->user, bytes, ret_buf);

	return rc == 0 ? praas_verbs_lkey(conn->device, *ret_buf, ret_lkey) : rc;
}

int praas_verbs_conn_prepare(struct praas_verbs_conn *conn, struct rdma_cm_id *id)
{
	int rc = praas_verbs_device_get(praas_verbs_port_of(conn), id->verbs,
					&conn->device);

	if (rc == 0) {
		rc = praas_verbs_group_take(conn->device, &conn->group);
		if (rc != 0)
			conn->device = NULL;
	}
	if (rc == 0)
		rc = take_memory(conn, conn->slots * PRAAS_VERBS_SLOT_BYTES,
				 &conn->rx_memory, &conn->rx_lkey);
	if (rc == 0)
		rc = take_memory(conn, conn->sends * PRAAS_VERBS_TX_BYTES,
				 &conn->tx_memory, &conn->tx_lkey);
	if (rc == 0)
		rc = praas_verbs_qp_new(conn, id, false);
	if (rc == 0) {
		conn->id = id; /* posts need it */
		for (uint32_t i = 0; i < conn->slots; i++)
			conn->free_slot[conn->free_slots++] = (uint8_t)i;
		rc = praas_verbs_slots_post(conn);
	}
	conn->told = conn->posted; /* in the greeting */
	return rc;
}

void praas_verbs_fail(struct praas_verbs_conn *conn, int rc)
{
	if (conn->end_rc == PRAAS_VERBS_GOING)
		conn->end_rc = rc;
	if (conn->state != PRAAS_VERBS_DEAD)
		praas_conn_activate(&conn->base);
}

static void unlink_conn(struct praas_verbs_conn *conn)
{
	struct praas_verbs_port *port = praas_verbs_port_of(conn);

	if (conn->prev)
		conn->prev->next = conn->next;
	else
		port->conns = conn->next;
	if (conn->next)
		conn->next->prev = conn->prev;
}

void praas_verbs_reap(struct praas_verbs_conn *conn)
{
	struct praas_verbs_port *port = praas_verbs_port_of(conn);

	if (conn->state != PRAAS_VERBS_DEAD || conn->slots_out > 0 ||
	    conn->base.active || conn->running)
		return;
	praas_buf_release(conn->rx_memory);
	unlink_conn(conn);
	free(conn);
	if (port->freed && !port->conns)
		free(port);
}

static void id_destroy(struct rdma_cm_id **id)
{
	if (!*id)
		return;
	if ((*id)->qp) {
		(void)rdma_disconnect(*id); /* or was never connected */
		rdma_destroy_qp(*id);
	}
	(void)rdma_destroy_id(*id); /* its events were acknowledged */
	*id = NULL;
}

void praas_verbs_destroy(struct praas_verbs_conn *conn)
{
	struct praas_verbs_port *port = praas_verbs_port_of(conn);

	conn->quiet = true;
	conn->state = PRAAS_VERBS_DEAD;
	praas_verbs_pending(conn, -conn->pending);
	if (conn->accepted && !conn->authenticated)
		port->unauthenticated--;
	id_destroy(&conn->bulk_id);
	id_destroy(&conn->id);
	praas_verbs_tell_sent(conn);
	praas_verbs_send_drop(conn);
	praas_verbs_recv_drop(conn);
	praas_buf_release(conn->tx_memory);
	conn->tx_memory = NULL;
	if (conn->device)
		conn->device->cq_conns[conn->group]--;
	port->by_index[conn->index] = NULL;
	port->used--;
	praas_verbs_reap(conn);
}

/* From here on the layer above is done with it; what is queued still goes out. */
static void begin_flush(struct praas_verbs_conn *conn)
{
	praas_verbs_tell_all(conn, 0);
	conn->quiet = true;
	conn->state = PRAAS_VERBS_FLUSHING;
	conn->since_ns = 0;
	praas_conn_activate(&conn->base);
}

void praas_verbs_end(struct praas_verbs_conn *conn, int rc)
{
	bool flush = rc == 0 && !praas_verbs_sent_all(conn) && !conn->disconnected;

	praas_verbs_tell_sent(conn);
	if (conn->state != PRAAS_VERBS_OPEN && conn->state != PRAAS_VERBS_CONNECTING)
		return; /* a handler has closed it */
	/* Sends fail from here on, and a close() in a handler does nothing. */
	conn->state = PRAAS_VERBS_FLUSHING;
	if (flush)
		begin_flush(conn);
	else
		praas_verbs_tell_all(conn, rc == 0 ? -ENOTCONN : rc);
	conn->base.events->closed(conn->base.user, &conn->base, rc);
	praas_conn_end(&conn->base);
	if (!flush)
		praas_verbs_destroy(conn);
}

void praas_verbs_close(struct praas_conn *base, bool after_flush)
{
	struct praas_verbs_conn *conn = praas_verbs_conn_of(base);
	bool connected = conn->state == PRAAS_VERBS_OPEN;

	if (!connected && conn->state != PRAAS_VERBS_CONNECTING)
		return;
	conn->state = PRAAS_VERBS_FLUSHING; /* handlers below cannot send */
	praas_verbs_tell_sent(conn);
	if (after_flush && connected && conn->end_rc == PRAAS_VERBS_GOING &&
	    !conn->disconnected) {
		begin_flush(conn);
		praas_conn_end(base);
		return;
	}
	praas_verbs_tell_all(conn, -ECANCELED);
	praas_conn_end(base);
	praas_verbs_destroy(conn);
}

bool praas_verbs_is_busy(const struct praas_verbs_conn *conn)
{
	const struct praas_verbs_slot *first =
		&conn->slot[conn->order[conn->order_head % PRAAS_VERBS_SLOTS]];

	if (conn->state == PRAAS_VERBS_DEAD)
		return false;
	return conn->state != PRAAS_VERBS_OPEN || conn->disconnected ||
	       conn->pending > 0 || conn->asking || !praas_verbs_sent_all(conn) ||
	       (conn->order_head != conn->order_tail && !conn->starved &&
		first->kind == PRAAS_VERBS_OFFER);
}

/* Nothing is under way. A message that only tells makes the device try to reach the peer, and say when it
 * cannot. A peer that lives but does not look (a client between two calls) is asked ever more seldom. */
static void look_idle(struct praas_verbs_conn *conn, uint64_t now_ns)
{
	uint64_t half_ns = praas_verbs_port_of(conn)->config.stall_timeout_ns / 2;

	conn->since_ns = 0;
	if (conn->asked_ns == 0 || conn->heard != conn->received) {
		conn->asked_ns = now_ns;
		conn->heard = conn->received;
		conn->asks = 0;
	} else if (now_ns - conn->asked_ns >= half_ns << conn->asks) {
		conn->asked_ns = now_ns;
		if (conn->asks < PRAAS_VERBS_ASKS_SHIFT)
			conn->asks++;
		conn->ask = true;
		praas_conn_activate(&conn->base);
	}
}

void praas_verbs_check_stalls(struct praas_verbs_port *port, uint64_t now_ns)
{
	struct praas_verbs_conn *conn = port->conns, *next;

	for (; conn; conn = next) {
		uint64_t timeout = port->config.stall_timeout_ns;

		next = conn->next;
		if (!praas_verbs_is_busy(conn)) {
			look_idle(conn, now_ns);
			continue;
		}
		/* A lost goodbye is sent again by the device, if there is still a queue pair. */
		if (conn->state == PRAAS_VERBS_LINGERING &&
		    conn->tx_head == conn->tx_tail)
			timeout = praas_min_u64(timeout, LINGER_NS);
		if (conn->disconnected)
			timeout = praas_min_u64(timeout, DRAIN_NS);
		if (conn->since_ns == 0 || conn->progress != conn->progress_then) {
			conn->since_ns = now_ns;
			conn->progress_then = conn->progress;
		} else if (now_ns - conn->since_ns > timeout) {
			if (conn->state == PRAAS_VERBS_OPEN ||
			    conn->state == PRAAS_VERBS_CONNECTING)
				praas_verbs_fail(conn, conn->disconnected ? -ECONNRESET
									  : -ETIMEDOUT);
			else
				praas_verbs_destroy(conn);
		}
	}
}
