/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/ofi_port.h"

#include <errno.h>
#include <string.h>

#include "transport/handshake.h"

/*
 * From packets to frames. Counted packets wait in the connection's window until those before them
 * have come, whatever the order in which the provider completes them, and until there is memory;
 * the others are dealt with at once.
 *
 * A frame in one packet is handed up where it lies, or copied when receive buffers run short, so
 * that frames which are kept above never stop the others.
 */

#define SHORT_PART 4u /* a quarter posted is short */

static struct praas_ofi_slot **place(struct praas_ofi_conn *conn, uint32_t number)
{
	return &conn->window[number % PRAAS_OFI_WINDOW];
}

/* ---- one counted packet, in its turn ------------------------------------------------------ */

static int in_place(struct praas_ofi_conn *conn, struct praas_ofi_slot *slot,
		    struct praas_buf **ret_buf)
{
	struct praas_buf *buf = &slot->buf;
	const uint8_t *payload;
	int rc = praas_ofi_frame_decode(&slot->packet, conn->base.bytes_max, buf,
					&payload);

	if (rc != 0)
		return rc;
	buf->offset = slot->offset + (uint64_t)(payload - slot->wire);
	memcpy(&buf->data, &payload, sizeof(payload)); /* our own memory */
	slot->port->held++;
	*ret_buf = buf;
	return 0;
}

static int copied(struct praas_ofi_conn *conn, struct praas_ofi_slot *slot,
		  struct praas_buf **ret_buf)
{
	const struct praas_memory *memory = slot->port->config.memory;
	const struct praas_buf *in = &slot->buf;
	const uint8_t *payload;
	struct praas_buf *buf;
	int rc = praas_ofi_frame_decode(&slot->packet, conn->base.bytes_max, &slot->buf,
					&payload);

	if (rc == 0)
		rc = memory->alloc(memory->user, in->head.bytes, &buf);
	if (rc != 0)
		return rc;
	buf->head = in->head;
	memcpy(buf->trace, in->trace, sizeof(buf->trace));
	memcpy(buf->key, in->key, sizeof(buf->key));
	if (buf->head.bytes > 0)
		memcpy(buf->data, payload, buf->head.bytes);
	slot->port->base.copies++;
	praas_ofi_slot_post(slot);
	*ret_buf = buf;
	return 0;
}

/* The first part: memory for the whole is taken after its size was checked. */
static int begin_big(struct praas_ofi_conn *conn, struct praas_ofi_slot *slot)
{
	const struct praas_memory *memory = slot->port->config.memory;
	const struct praas_buf *in = &slot->buf;
	const struct praas_ofi_packet *p = &slot->packet;
	const uint8_t *payload;
	struct praas_buf *buf;
	int rc = praas_ofi_frame_decode(p, conn->base.bytes_max, &slot->buf, &payload);

	if (rc == 0)
		rc = memory->alloc(memory->user, in->head.bytes, &buf);
	if (rc != 0)
		return rc;
	buf->head = in->head;
	memcpy(buf->trace, in->trace, sizeof(buf->trace));
	memcpy(buf->key, in->key, sizeof(buf->key));
	conn->big = buf;
	conn->big_at = (uint64_t)(p->body + p->body_bytes - payload);
	memcpy(buf->data, payload, conn->big_at);
	slot->port->base.copies++;
	praas_ofi_slot_post(slot);
	return 0;
}

static int more_big(struct praas_ofi_conn *conn, struct praas_ofi_slot *slot,
		    struct praas_buf **ret_buf)
{
	const struct praas_ofi_packet *p = &slot->packet;
	struct praas_buf *buf = conn->big;

	if (buf == NULL || p->body_bytes > buf->head.bytes - conn->big_at)
		return -EPROTO;
	memcpy(buf->data + conn->big_at, p->body, p->body_bytes);
	conn->big_at += p->body_bytes;
	praas_ofi_slot_post(slot);
	if (conn->big_at < buf->head.bytes)
		return 0;
	conn->big = NULL;
	*ret_buf = buf;
	return 0;
}

static int offered(struct praas_ofi_conn *conn, struct praas_ofi_slot *slot,
		   struct praas_buf **ret_buf)
{
	int rc = slot->fetch ? praas_ofi_fetch_run(slot->fetch)
			     : praas_ofi_fetch_begin(conn, slot);

	if (rc != 0)
		return rc;
	if (!praas_ofi_fetch_done(slot->fetch))
		return -EAGAIN;
	*ret_buf = praas_ofi_fetch_take(slot->fetch);
	slot->fetch = NULL;
	praas_ofi_slot_post(slot);
	conn->wants |= PRAAS_OFI_WANT_ACK; /* the peer's memory is free again */
	return 0;
}

static int on_fin(struct praas_ofi_conn *conn, struct praas_ofi_slot *slot)
{
	praas_ofi_slot_post(slot);
	conn->peer_gone = true;
	conn->wants |= PRAAS_OFI_WANT_ACK; /* it waits for that */
	praas_ofi_fail(conn, 0);
	return 0;
}

/* 0: consumed, with a frame or without; -EAGAIN not yet; -ENOBUFS; -EPROTO; -EMSGSIZE; … */
static int consume(struct praas_ofi_conn *conn, struct praas_ofi_slot *slot,
		   struct praas_buf **ret_buf)
{
	const struct praas_ofi_port *port = slot->port;
	uint8_t type = slot->packet.type;

	conn->received += slot->packet.body_bytes;
	if (type == PRAAS_OFI_FIN)
		return on_fin(conn, slot);
	if (conn->state != PRAAS_OFI_OPEN) { /* nobody reads it */
		praas_ofi_slot_post(slot);
		conn->wants |= PRAAS_OFI_WANT_ACK;
		return 0;
	}
	if (conn->big != NULL && type != PRAAS_OFI_MORE)
		return -EPROTO;
	switch (type) {
	case PRAAS_OFI_FRAME:
		return port->posted < port->receives / SHORT_PART
			       ? copied(conn, slot, ret_buf)
			       : in_place(conn, slot, ret_buf);
	case PRAAS_OFI_OFFER:
		return offered(conn, slot, ret_buf);
	case PRAAS_OFI_BEGIN:
		return begin_big(conn, slot);
	default:
		return more_big(conn, slot, ret_buf);
	}
}

/* ---- a connection's window ---------------------------------------------------------------- */

/* What the wire does not say as the layer above wants it. */
static void complete(struct praas_ofi_conn *conn, struct praas_buf *buf)
{
	struct praas_port *port = conn->base.port;

	buf->head.source = conn->base.peer_source;
	buf->head.sequence = ++conn->frames;
	praas_frame_arrives(&buf->head);
	port->frames_in++;
	port->bytes_in += buf->head.bytes;
}

/* Reading of what is offered further on begins, in order, so that the one that is due is never the one
 * without memory. */
static void read_ahead(struct praas_ofi_conn *conn)
{
	for (uint32_t n = conn->rx_next; n - conn->rx_next < PRAAS_OFI_WINDOW; n++) {
		struct praas_ofi_slot *slot = *place(conn, n);
		int rc = 0;

		if (slot == NULL)
			return;
		if (slot->packet.type == PRAAS_OFI_OFFER && slot->fetch == NULL)
			rc = praas_ofi_fetch_begin(conn, slot);
		if (rc == -ENOBUFS)
			return;
		if (rc != 0) {
			praas_ofi_fail(conn, rc);
			return;
		}
	}
}

static void after_run(struct praas_ofi_conn *conn, bool more)
{
	uint32_t untold = conn->rx_next - 1 - conn->ack_told;

	if (conn->window_used > 0 && conn->state == PRAAS_OFI_OPEN)
		read_ahead(conn);
	if (untold >= PRAAS_OFI_WINDOW / 2)
		conn->wants |= PRAAS_OFI_WANT_ACK;
	if (more || conn->starved || conn->wants != 0)
		praas_conn_activate(&conn->base);
}

unsigned praas_ofi_recv_run(struct praas_ofi_conn *conn, unsigned budget)
{
	unsigned done = 0;

	conn->starved = false;
	while (conn->window_used > 0 && done < budget) {
		struct praas_ofi_slot *slot = *place(conn, conn->rx_next);
		struct praas_buf *buf = NULL;
		int rc = slot ? consume(conn, slot, &buf) : -EAGAIN;

		if (rc == -EAGAIN)
			break;
		if (rc == -ENOBUFS) {
			conn->starved = true;
			break;
		}
		if (praas_unlikely(rc != 0)) {
			praas_ofi_fail(conn, rc);
			break;
		}
		*place(conn, conn->rx_next++) = NULL;
		conn->window_used--;
		if (buf == NULL)
			continue;
		done++;
		complete(conn, buf);
		conn->base.events->frame(conn->base.user, &conn->base, buf);
		if (praas_unlikely(conn->state != PRAAS_OFI_OPEN))
			return done;
	}
	after_run(conn, done == budget && conn->window_used > 0);
	return done;
}

void praas_ofi_stop_receiving(struct praas_ofi_conn *conn)
{
	for (uint32_t i = 0; conn->window_used > 0 && i < PRAAS_OFI_WINDOW; i++) {
		struct praas_ofi_slot *slot = conn->window[i];

		if (slot == NULL)
			continue;
		slot->fetch = NULL;
		if (conn->state != PRAAS_OFI_DEAD)
			continue;
		conn->window[i] = NULL;
		conn->window_used--;
		praas_ofi_slot_post(slot);
	}
	for (unsigned i = 0; conn->work != NULL && i < PRAAS_OFI_FETCHES; i++)
		praas_ofi_fetch_drop(&conn->work->fetch[i]);
	praas_buf_release(conn->big);
	conn->big = NULL;
	conn->starved = false;
}

/* ---- packets ------------------------------------------------------------------------------ */

static struct praas_ofi_conn *conn_of(struct praas_ofi_port *port, uint64_t id)
{
	uint32_t index = (uint32_t)(id & 0xffff);

	if (index >= port->slots || port->conn[index].id != id ||
	    port->conn[index].state == PRAAS_OFI_FREE)
		return NULL; /* of a connection that was, or of none */
	return &port->conn[index];
}

static int on_accept(struct praas_ofi_conn *conn, const struct praas_ofi_packet *p)
{
	if (conn->peer_id != 0)
		return -EPROTO;
	conn->peer_id = p->from;
	if (conn->state == PRAAS_OFI_CONNECTING) {
		conn->opened_due = true;
	} else {
		conn->awaits_accept = false; /* closed meanwhile */
		conn->wants |= PRAAS_OFI_WANT_RESET;
	}
	praas_conn_activate(&conn->base);
	return 0;
}

static int on_refuse(struct praas_ofi_conn *conn, const struct praas_ofi_packet *p)
{
	if (conn->peer_id != 0)
		return -EPROTO;
	conn->peer_gone = true;
	conn->awaits_accept = false;
	return p->reason == PRAAS_CLOSE_NONE ? -ECONNREFUSED
					     : praas_close_errno(p->reason);
}

static int on_control(struct praas_ofi_conn *conn, const struct praas_ofi_packet *p)
{
	switch ((enum praas_ofi_type)p->type) {
	case PRAAS_OFI_ACCEPT:
		return on_accept(conn, p);
	case PRAAS_OFI_REFUSE:
		return on_refuse(conn, p);
	case PRAAS_OFI_ACK:
		conn->read = p->addr;
		return 0;
	case PRAAS_OFI_PING:
		conn->wants |= PRAAS_OFI_WANT_ACK;
		praas_conn_activate(&conn->base);
		return 0;
	case PRAAS_OFI_RESET:
		conn->peer_gone = true;
		if (conn->offers == NULL) /* it need not be told, and may be gone */
			conn->wants &= (uint8_t)~PRAAS_OFI_WANT_RESET;
		return -ECONNRESET;
	case PRAAS_OFI_FRAME:
	case PRAAS_OFI_OFFER:
	case PRAAS_OFI_BEGIN:
	case PRAAS_OFI_MORE:
	case PRAAS_OFI_FIN:
	case PRAAS_OFI_CONNECT:
	case PRAAS_OFI_TYPES:
		break;
	}
	return -EPROTO;
}

/* Into the window. 0; -EPROTO out of it, or there already. */
static int keep(struct praas_ofi_conn *conn, struct praas_ofi_slot *slot)
{
	uint32_t number = slot->packet.number;

	if (number - conn->rx_next >= PRAAS_OFI_WINDOW || *place(conn, number) != NULL)
		return -EPROTO;
	slot->fetch = NULL;
	*place(conn, number) = slot;
	conn->window_used++;
	return 0;
}

unsigned praas_ofi_on_packet(struct praas_ofi_slot *slot, uint64_t bytes)
{
	struct praas_ofi_port *port = slot->port;
	const struct praas_ofi_packet *p = &slot->packet;
	struct praas_ofi_conn *conn = NULL;
	bool kept = false;
	int rc = praas_ofi_packet_decode(slot->wire, bytes, &slot->packet);

	if (praas_unlikely(rc != 0))
		port->base.protocol_errors++; /* nobody knows whose it was */
	else if (praas_unlikely(p->type == PRAAS_OFI_CONNECT))
		praas_ofi_on_connect(port, p);
	else
		conn = conn_of(port, p->to);
	if (conn == NULL) {
		praas_ofi_slot_post(slot);
		return 0;
	}
	conn->heard++;
	if (praas_likely(p->type < PRAAS_OFI_ACCEPT || p->type > PRAAS_OFI_REFUSE))
		rc = praas_ofi_on_ack(conn, p->ack);
	if (praas_likely(praas_ofi_counted(p->type) && conn->state != PRAAS_OFI_DEAD)) {
		rc = rc ? rc : keep(conn, slot);
		kept = rc == 0;
	} else if (rc == 0 && !praas_ofi_counted(p->type)) {
		rc = on_control(conn, p);
	}
	if (!kept)
		praas_ofi_slot_post(slot);
	if (praas_unlikely(rc != 0))
		praas_ofi_fail(conn, rc);
	if (praas_unlikely(!kept || conn->state == PRAAS_OFI_CONNECTING))
		return 0;
	if (praas_unlikely(conn->base.active || conn->opened_due)) {
		praas_conn_activate(&conn->base);
		return 0; /* its turn comes with the active ones */
	}
	return praas_ofi_recv_run(conn, 1);
}
