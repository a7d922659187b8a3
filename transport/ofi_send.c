/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/ofi_port.h"

#include <errno.h>
#include <string.h>

/*
 * The send queue. What a frame needs depends on its payload:
 *   up to 1 KiB      it is copied behind its header and is sent when the provider has taken it
 *   up to a packet   header and payload are gathered; the payload stays until that completes
 *   above            the payload is offered where it lies and stays until the peer has consumed
 *                    the frame; without remote reads it is sent in parts
 * A provider that takes nothing now (-FI_EAGAIN) is asked again by the next poll.
 */

/* Up to this, parts are faster than an offer (docs/performance.md). */
#define OFFER_MIN 65536u

static void sent(struct praas_ofi_conn *conn, struct praas_buf *buf)
{
	struct praas_port *port = conn->base.port;

	port->frames_out++;
	port->bytes_out += buf->head.bytes;
	conn->unsent.bytes -=
		praas_min_u64(conn->unsent.bytes, praas_frame_wire_bytes(&buf->head));
	praas_send_push(&conn->left, buf, 0);
	praas_conn_activate(&conn->base);
}

static struct praas_buf *dequeue(struct praas_ofi_conn *conn)
{
	struct praas_buf *buf = praas_send_pop(&conn->unsent);

	buf->next = NULL;
	return buf;
}

/* The frame's memory is nobody's any more. */
static struct praas_buf *frame_free(struct praas_ofi_conn *conn,
				    struct praas_ofi_frame *frame)
{
	struct praas_buf *buf = frame->buf;

	if (frame->mr != NULL)
		(void)fi_close(&frame->mr->fid); /* no packet refers to it */
	*frame = (struct praas_ofi_frame){ .next = conn->frames_free };
	conn->frames_free = frame;
	return buf;
}

/* A packet completed, or the peer consumed it. */
static void frame_settle(struct praas_ofi_conn *conn, struct praas_ofi_frame *frame)
{
	bool told = frame->told;
	struct praas_buf *buf;

	if (frame->pending > 0 || frame->offered || !frame->whole)
		return;
	buf = frame_free(conn, frame);
	if (told)
		praas_buf_release(buf);
	else
		sent(conn, buf);
}

/* ---- packets ------------------------------------------------------------------------------ */

static struct praas_ofi_packet next_packet(struct praas_ofi_conn *conn, uint8_t type)
{
	return (struct praas_ofi_packet){ .type = type,
					  .to = conn->peer_id,
					  .from = conn->id,
					  .number = conn->tx_number + 1,
					  .ack = conn->rx_next - 1 };
}

/* Gives the provider head_bytes of scratch and a part of frame's payload. 0; -EAGAIN; errno. */
static int post(struct praas_ofi_send *send, uint64_t head_bytes, const uint8_t *data,
		uint64_t bytes)
{
	struct praas_ofi_conn *conn = send->conn;
	struct praas_ofi_fabric *f = &praas_ofi_port_of(conn)->fabric;
	struct fid_mr *mr = conn->work->mr;
	void *desc[2] = { mr ? fi_mr_desc(mr) : NULL, NULL };
	struct iovec iov[2] = { { .iov_base = send->scratch, .iov_len = head_bytes },
				{ .iov_len = bytes } };

	if (bytes == 0)
		return praas_ofi_errno(fi_send(f->ep, send->scratch, head_bytes,
					       desc[0], conn->peer->addr, send));
	desc[1] = send->frame->desc;
	memcpy(&iov[1].iov_base, &data, sizeof(data)); /* is only read */
	return praas_ofi_errno(fi_sendv(f->ep, iov, desc, 2, conn->peer->addr, send));
}

/* The provider has it. */
static void posted(struct praas_ofi_send *send, uint8_t type)
{
	struct praas_ofi_conn *conn = send->conn;

	conn->sends_free = send->next;
	conn->ops++;
	send->type = type;
	if (send->frame != NULL)
		send->frame->pending++;
}

/* A counted packet is out; it has told what we have consumed. */
static void counted(struct praas_ofi_conn *conn)
{
	conn->tx_number++;
	conn->ack_told = conn->rx_next - 1;
	conn->wants &= (uint8_t)~PRAAS_OFI_WANT_ACK;
}

/* ---- frames ------------------------------------------------------------------------------- */

static int send_small(struct praas_ofi_conn *conn, struct praas_ofi_send *send)
{
	struct praas_ofi_fabric *f = &praas_ofi_port_of(conn)->fabric;
	struct praas_ofi_packet packet = next_packet(conn, PRAAS_OFI_FRAME);
	const struct praas_buf *buf = conn->unsent.first;
	uint64_t bytes = praas_ofi_frame_encode(buf, &packet, send->scratch);
	int rc;

	if (buf->head.bytes > 0) {
		memcpy(send->scratch + bytes, buf->data, buf->head.bytes);
		bytes += buf->head.bytes;
		conn->base.port->copies++;
	}
	send->frame = NULL;
	if (bytes <= f->inject) {
		rc = praas_ofi_errno(
			fi_inject(f->ep, send->scratch, bytes, conn->peer->addr));
	} else {
		rc = post(send, bytes, NULL, 0);
		if (rc == 0)
			posted(send, PRAAS_OFI_FRAME);
	}
	if (rc != 0)
		return rc;
	counted(conn);
	sent(conn, dequeue(conn));
	return 0;
}

/* What the first of the queue needs to have its payload under way. */
static int frame_begin(struct praas_ofi_conn *conn)
{
	struct praas_ofi_port *port = praas_ofi_port_of(conn);
	struct praas_ofi_frame *frame = conn->frames_free;
	struct praas_buf *buf = conn->unsent.first;
	bool offer =
		buf->head.bytes > OFFER_MIN && port->fabric.rma && !port->packets_only;
	int rc = 0;

	if (frame == NULL)
		return -EAGAIN;
	/* A key is for one payload: who holds it reads nothing else. */
	if (offer)
		rc = praas_ofi_register(&port->fabric, buf->data, buf->head.bytes,
					FI_REMOTE_READ, &frame->mr);
	else
		rc = praas_ofi_local(port, buf, buf->head.bytes, &frame->mr,
				     &frame->desc);
	if (rc != 0)
		return rc;
	conn->frames_free = frame->next;
	frame->next = NULL;
	frame->buf = buf;
	frame->offered = offer;
	conn->current = frame;
	return 0;
}

/* The provider has the last of it. */
static void frame_end(struct praas_ofi_conn *conn)
{
	struct praas_ofi_frame *frame = conn->current;

	frame->whole = true;
	conn->current = NULL;
	(void)dequeue(conn);
}

static int send_offer(struct praas_ofi_conn *conn, struct praas_ofi_send *send)
{
	struct praas_ofi_fabric *f = &praas_ofi_port_of(conn)->fabric;
	struct praas_ofi_packet packet = next_packet(conn, PRAAS_OFI_OFFER);
	struct praas_ofi_frame *frame = conn->current;
	uint64_t bytes;
	int rc;

	packet.addr = f->virtual ? (uint64_t)(uintptr_t)frame->buf->data : 0;
	packet.key = fi_mr_key(frame->mr);
	bytes = praas_ofi_packet_encode(&packet, send->scratch);
	bytes += praas_ofi_frame_encode(frame->buf, NULL, send->scratch + bytes);
	send->frame = NULL;
	rc = post(send, bytes, NULL, 0);
	if (rc != 0)
		return rc;
	posted(send, PRAAS_OFI_OFFER);
	counted(conn);
	frame->number = conn->tx_number;
	if (conn->offers_last)
		conn->offers_last->next = frame;
	else
		conn->offers = frame;
	conn->offers_last = frame;
	frame_end(conn);
	return 0;
}

/* A packet with the frame and all of its payload, or the first or next part of it. */
static int send_part(struct praas_ofi_conn *conn, struct praas_ofi_send *send)
{
	struct praas_ofi_frame *frame = conn->current;
	const struct praas_buf *buf = frame->buf;
	uint64_t left = buf->head.bytes - frame->done, bytes, room;
	bool eager = buf->head.bytes <= PRAAS_OFI_EAGER_MAX;
	uint8_t type = frame->done > 0 ? PRAAS_OFI_MORE
		       : eager         ? PRAAS_OFI_FRAME
				       : PRAAS_OFI_BEGIN;
	struct praas_ofi_packet packet = next_packet(conn, type);
	int rc;

	bytes = eager ? 0 : praas_ofi_packet_encode(&packet, send->scratch);
	if (type != PRAAS_OFI_MORE)
		bytes += praas_ofi_frame_encode(buf, eager ? &packet : NULL,
						send->scratch + bytes);
	room = praas_min_u64(left, PRAAS_OFI_PACKET_BYTES - bytes);
	send->frame = frame;
	rc = post(send, bytes, buf->data + frame->done, room);
	if (rc != 0)
		return rc;
	posted(send, type);
	counted(conn);
	frame->done += room;
	if (frame->done == buf->head.bytes)
		frame_end(conn);
	return 0;
}

static bool window_open(const struct praas_ofi_conn *conn)
{
	return conn->tx_number - conn->tx_acked < PRAAS_OFI_WINDOW;
}

static int send_next(struct praas_ofi_conn *conn)
{
	struct praas_ofi_send *send = conn->sends_free;
	int rc = 0;

	if (send == NULL)
		return -EAGAIN;
	if (conn->current == NULL &&
	    conn->unsent.first->head.bytes <= PRAAS_OFI_COPY_MAX)
		return send_small(conn, send);
	if (conn->current == NULL)
		rc = frame_begin(conn);
	if (rc != 0)
		return rc;
	return conn->current->offered ? send_offer(conn, send) : send_part(conn, send);
}

/* ---- control ------------------------------------------------------------------------------ */

static const struct {
	uint8_t want, type;
} controls[] = {
	{ PRAAS_OFI_WANT_CONNECT, PRAAS_OFI_CONNECT },
	{ PRAAS_OFI_WANT_ACCEPT, PRAAS_OFI_ACCEPT },
	{ PRAAS_OFI_WANT_REFUSE, PRAAS_OFI_REFUSE },
	{ PRAAS_OFI_WANT_ACK, PRAAS_OFI_ACK },
	{ PRAAS_OFI_WANT_PING, PRAAS_OFI_PING },
	{ PRAAS_OFI_WANT_FIN, PRAAS_OFI_FIN },
	{ PRAAS_OFI_WANT_RESET, PRAAS_OFI_RESET },
};

static int send_control(struct praas_ofi_conn *conn, uint8_t type)
{
	struct praas_ofi_fabric *f = &praas_ofi_port_of(conn)->fabric;
	struct praas_ofi_packet packet = next_packet(conn, type);
	struct praas_ofi_send *send = conn->sends_free;
	uint64_t bytes;
	int rc;

	if (send == NULL)
		return -EAGAIN;
	if (!praas_ofi_counted(type))
		packet.number = 0;
	packet.reason = conn->reason;
	packet.addr = type == PRAAS_OFI_ACK ? conn->fetched : 0;
	bytes = praas_ofi_packet_encode(&packet, send->scratch);
	if (type == PRAAS_OFI_CONNECT) {
		memcpy(send->scratch + bytes, f->name, f->name_bytes);
		bytes += f->name_bytes;
	}
	send->frame = NULL;
	rc = post(send, bytes, NULL, 0);
	if (rc == 0)
		posted(send, type);
	return rc;
}

static int send_wanted(struct praas_ofi_conn *conn)
{
	for (size_t i = 0; i < sizeof(controls) / sizeof(controls[0]); i++) {
		int rc;

		if ((conn->wants & controls[i].want) == 0)
			continue;
		rc = send_control(conn, controls[i].type);
		if (rc != 0)
			return rc;
		conn->wants &= (uint8_t)~controls[i].want;
		if (controls[i].type == PRAAS_OFI_ACK)
			conn->ack_told = conn->rx_next - 1;
		if (controls[i].type == PRAAS_OFI_FIN) {
			counted(conn);
			conn->state = PRAAS_OFI_LINGERING;
			conn->since_ns = praas_now_ns();
		}
	}
	return 0;
}

void praas_ofi_send_run(struct praas_ofi_conn *conn)
{
	int rc = conn->wants ? send_wanted(conn) : 0;

	while (rc == 0 && conn->unsent.first != NULL && window_open(conn) &&
	       (conn->state == PRAAS_OFI_OPEN || conn->state == PRAAS_OFI_FLUSHING))
		rc = send_next(conn);
	conn->blocked = rc == -EAGAIN;
	if (conn->blocked)
		praas_conn_activate(&conn->base);
	else if (rc != 0)
		praas_ofi_fail(conn, rc);
}

/* ---- the queue ---------------------------------------------------------------------------- */

int praas_ofi_alloc(struct praas_conn *base, uint64_t bytes, struct praas_buf **ret_buf)
{
	const struct praas_memory *memory =
		praas_ofi_port_of(praas_ofi_conn_of(base))->config.memory;

	return memory->alloc(memory->user, bytes, ret_buf);
}

int praas_ofi_send(struct praas_conn *base, struct praas_buf *buf)
{
	struct praas_ofi_conn *conn = praas_ofi_conn_of(base);
	struct praas_ofi_port *port = praas_ofi_port_of(conn);
	uint64_t bytes = praas_frame_wire_bytes(&buf->head);

	if (praas_unlikely(conn->state != PRAAS_OFI_OPEN ||
			   conn->end_rc != PRAAS_OFI_GOING))
		return -ENOTCONN;
	if (praas_unlikely(praas_send_full(conn->unsent.first != NULL,
					   conn->unsent.bytes, bytes,
					   port->config.send_queue_max)))
		return -EAGAIN;
	praas_frame_leaves(&buf->head, ++base->sends);
	if (buf->head.kind == PRAAS_FRAME_WELCOME && conn->accepted &&
	    !conn->authenticated) {
		conn->authenticated = true;
		port->unauthenticated--;
	}
	praas_send_push(&conn->unsent, buf, bytes);
	if (conn->unsent.first == buf && !conn->blocked)
		praas_ofi_send_run(conn);
	return 0;
}

/* Nothing will be heard of the frame: what became of its packet is told by the peer, or by the end. */
void praas_ofi_on_send(struct praas_ofi_send *send, int rc)
{
	struct praas_ofi_conn *conn = send->conn;
	struct praas_ofi_frame *frame = send->frame;

	conn->ops--;
	send->next = conn->sends_free;
	conn->sends_free = send;
	send->frame = NULL;
	if (frame != NULL) {
		frame->pending--;
		frame_settle(conn, frame);
	}
	if (rc != 0 && send->type == PRAAS_OFI_CONNECT)
		rc = -ECONNREFUSED;
	if (rc != 0)
		praas_ofi_fail(conn, rc);
}

int praas_ofi_on_ack(struct praas_ofi_conn *conn, uint32_t ack)
{
	uint32_t ahead = ack - conn->tx_acked;

	if (ahead > conn->tx_number - conn->tx_acked)
		return -EPROTO;
	if (ahead == 0)
		return 0;
	conn->tx_acked = ack;
	conn->acked += ahead;
	while (conn->offers != NULL && (int32_t)(ack - conn->offers->number) >= 0) {
		struct praas_ofi_frame *frame = conn->offers;

		conn->offers = frame->next;
		if (conn->offers == NULL)
			conn->offers_last = NULL;
		frame->offered = false;
		frame_settle(conn, frame);
	}
	if (conn->unsent.first != NULL || conn->state > PRAAS_OFI_OPEN)
		praas_conn_activate(&conn->base);
	return 0;
}

/* ---- the end ------------------------------------------------------------------------------ */

void praas_ofi_tell_sent(struct praas_ofi_conn *conn)
{
	praas_send_tell_left(&conn->base, &conn->quiet, &conn->left);
}

void praas_ofi_tell_queue(struct praas_ofi_conn *conn, int rc)
{
	struct praas_buf *buf, *next;

	for (unsigned i = 0; conn->work != NULL && i < PRAAS_OFI_FRAMES; i++) {
		struct praas_ofi_frame *frame = &conn->work->frame[i];

		if (frame->buf == NULL || frame->told || frame == conn->current)
			continue;
		frame->told = true;
		praas_send_tell(&conn->base, conn->quiet, frame->buf, rc);
	}
	for (buf = conn->unsent.first; buf != NULL; buf = next) {
		next = buf->next;
		praas_send_tell(&conn->base, conn->quiet, buf, rc);
		if (rc == 0)
			continue;
		if (conn->current == NULL || buf != conn->current->buf)
			praas_buf_release(buf);
	}
	if (rc == 0)
		return;
	conn->unsent.first = NULL;
	conn->unsent.last = NULL;
	if (conn->current != NULL) {
		/* Parts of it are with the provider. */
		struct praas_ofi_frame *frame = conn->current;

		conn->current = NULL;
		frame->told = true;
		frame->whole = true;
		frame_settle(conn, frame);
	}
}

void praas_ofi_offers_withdraw(struct praas_ofi_conn *conn)
{
	for (struct praas_ofi_frame *f = conn->offers; f != NULL; f = f->next) {
		(void)fi_close(&f->mr->fid); /* the peer's reads fail from here on */
		f->mr = NULL;
	}
}

void praas_ofi_frames_drop(struct praas_ofi_conn *conn)
{
	conn->offers = NULL;
	conn->offers_last = NULL;
	conn->current = NULL;
	for (unsigned i = 0; conn->work != NULL && i < PRAAS_OFI_FRAMES; i++) {
		struct praas_ofi_frame *frame = &conn->work->frame[i];

		if (frame->buf != NULL)
			praas_buf_release(frame_free(conn, frame));
	}
}
