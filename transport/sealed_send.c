/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/sealed_port.h"

#include <errno.h>
#include <string.h>

/*
 * From frames to records. The payload is encrypted from where it lies into memory of the transport
 * below: that is the one copy. What that transport has no room for is kept as it is, since its
 * number is spent; nothing else is sealed until it has left.
 */

static uint64_t head_bytes(const struct praas_frame *f)
{
	return PRAAS_FRAME_BYTES + praas_frame_meta_bytes(f);
}

static bool is_large(const struct praas_frame *f)
{
	return f->bytes > PRAAS_SEALED_RECORD_MAX ||
	       head_bytes(f) + f->bytes + PRAAS_SEAL_TAG_BYTES >
		       PRAAS_SEALED_RECORD_MAX;
}

/* The record goes to the transport below. False: it waits, or the connection fails. */
static bool give(struct praas_sealed_conn *conn, struct praas_buf *record)
{
	int rc = conn->inner->ops->send(conn->inner, record);

	conn->stuck = NULL;
	if (praas_likely(rc == 0)) {
		conn->progress++;
		return true;
	}
	if (rc == -EAGAIN) {
		conn->stuck = record;
		return false;
	}
	praas_buf_release(record);
	praas_sealed_fail(conn, rc);
	return false;
}

/* Memory for a record of so many bytes and a tag. False: later, or the connection fails. */
static bool take(struct praas_sealed_conn *conn, uint64_t bytes,
		 struct praas_buf **ret_record)
{
	int rc = conn->inner->ops->alloc(conn->inner, bytes + PRAAS_SEAL_TAG_BYTES,
					 ret_record);

	if (praas_likely(rc == 0))
		return true;
	if (rc == -ENOBUFS)
		praas_conn_activate(&conn->base); /* again with the next turn */
	else
		praas_sealed_fail(conn, rc);
	return false;
}

/* Seals bytes of the record, those behind `here` from elsewhere when from is there. */
static bool emit(struct praas_sealed_conn *conn, struct praas_buf *record,
		 enum praas_sealed_type type, uint64_t bytes, uint64_t here,
		 const uint8_t *from)
{
	uint8_t head = (uint8_t)type;
	struct praas_seal_packet packet = { .number = conn->number_out,
					    .head = &head,
					    .head_bytes = 1,
					    .data = record->data,
					    .bytes = (uint32_t)bytes,
					    .tag = record->data + bytes,
					    .here = (uint32_t)here,
					    .from = from };
	bool welcome = type == PRAAS_SEALED_FRAME && conn->unsent.first &&
		       conn->unsent.first->head.kind == PRAAS_FRAME_WELCOME;
	int rc = praas_seal_close(conn->seal_out, &packet);

	if (praas_unlikely(rc != 0)) {
		praas_buf_release(record);
		praas_sealed_fail(conn, rc);
		return false;
	}
	conn->number_out++;
	praas_sealed_port_of(conn)->stats.records_out++;
	record->head = (struct praas_frame){
		/* The transport below is to know that the handshake is over. */
		.kind = welcome ? PRAAS_FRAME_WELCOME : PRAAS_FRAME_SEALED,
		.aux = type,
		.bytes = bytes + PRAAS_SEAL_TAG_BYTES
	};
	if (praas_unlikely(welcome)) /* before, the peer may not say as much */
		conn->inner->bytes_max = PRAAS_SEALED_RECORD_MAX;
	return give(conn, record);
}

static bool send_empty(struct praas_sealed_conn *conn, enum praas_sealed_type type)
{
	struct praas_buf *record;

	return take(conn, 0, &record) && emit(conn, record, type, 0, 0, NULL);
}

/* Header and meta block of buf, and its payload too unless that comes in pieces. */
static bool send_head(struct praas_sealed_conn *conn, const struct praas_buf *buf,
		      bool large)
{
	uint64_t head = head_bytes(&buf->head);
	uint64_t bytes = large ? head : head + buf->head.bytes;
	struct praas_buf *record;

	if (!take(conn, bytes, &record))
		return false;
	praas_frame_encode(&buf->head, record->data);
	if (head > PRAAS_FRAME_BYTES)
		(void)praas_frame_meta_encode(&buf->head, buf->trace, buf->key,
					      record->data + PRAAS_FRAME_BYTES);
	return emit(conn, record, large ? PRAAS_SEALED_LARGE : PRAAS_SEALED_FRAME,
		    bytes, head, bytes > head ? buf->data : NULL);
}

static void pop(struct praas_sealed_conn *conn)
{
	struct praas_sealed_port *port = praas_sealed_port_of(conn);
	struct praas_buf *buf = praas_send_pop(&conn->unsent);

	conn->unsent.bytes -= praas_frame_wire_bytes(&buf->head);
	port->base.frames_out++;
	port->base.bytes_out += buf->head.bytes;
	port->copies += buf->head.bytes > 0;
	conn->announced = false;
	conn->granted = false;
	conn->large_out = 0;
	praas_send_push(&conn->left, buf, 0);
	praas_conn_activate(&conn->base);
}

/* The record of it was made, whether it has left or is stuck. */
static bool was_made(const struct praas_sealed_conn *conn, uint64_t number)
{
	return conn->number_out != number;
}

/* The next step of a large frame. False: not now. */
static bool send_large(struct praas_sealed_conn *conn, const struct praas_buf *buf)
{
	uint64_t bytes = praas_min_u64(buf->head.bytes - conn->large_out,
				       PRAAS_SEALED_PIECE_BYTES);
	uint64_t number = conn->number_out;
	struct praas_buf *record;
	bool gone;

	if (!conn->announced) {
		gone = send_head(conn, buf, true);
		conn->announced = was_made(conn, number);
		return gone;
	}
	if (!conn->granted || conn->pieces_out == PRAAS_SEALED_PIECES ||
	    !take(conn, bytes, &record))
		return false;
	gone = emit(conn, record, PRAAS_SEALED_PIECE, bytes, 0,
		    buf->data + conn->large_out);
	if (!was_made(conn, number))
		return false;
	conn->pieces_out++;
	conn->large_out += bytes;
	if (conn->large_out == buf->head.bytes)
		pop(conn);
	return gone;
}

static bool send_first(struct praas_sealed_conn *conn)
{
	const struct praas_buf *buf = conn->unsent.first;
	uint64_t number = conn->number_out;
	bool gone;

	if (praas_unlikely(is_large(&buf->head)))
		return send_large(conn, buf);
	gone = send_head(conn, buf, false);
	if (was_made(conn, number))
		pop(conn);
	return gone;
}

void praas_sealed_flush(struct praas_sealed_conn *conn)
{
	bool more =
		conn->inner && conn->seal_out && conn->end_rc == 0 && !conn->end_out;

	while (more) {
		if (praas_unlikely(conn->stuck)) {
			more = give(conn, conn->stuck);
		} else if (praas_unlikely(conn->grant_due)) {
			uint64_t number = conn->number_out;

			more = send_empty(conn, PRAAS_SEALED_GRANT);
			conn->grant_due = !was_made(conn, number);
		} else if (conn->unsent.first) {
			more = send_first(conn);
		} else {
			break;
		}
	}
	if (conn->state == PRAAS_SEALED_FLUSHING && more && !conn->end_out) {
		uint64_t number = conn->number_out;

		(void)send_empty(conn, PRAAS_SEALED_END);
		conn->end_out = was_made(conn, number);
	}
	if (praas_unlikely(conn->stuck && conn->end_out))
		(void)give(conn, conn->stuck);
}

void praas_sealed_on_sent(struct praas_sealed_conn *conn, const struct praas_buf *buf)
{
	if (buf->head.aux == PRAAS_SEALED_PIECE)
		conn->pieces_out--;
	if (conn->stuck || conn->unsent.first || conn->state == PRAAS_SEALED_FLUSHING)
		praas_conn_activate(&conn->base);
}

int praas_sealed_send(struct praas_conn *base, struct praas_buf *buf)
{
	struct praas_sealed_conn *conn = praas_sealed_conn_of(base);
	uint64_t bytes = praas_frame_wire_bytes(&buf->head);

	if (praas_unlikely(conn->state > PRAAS_SEALED_LIVE || !conn->inner ||
			   conn->end_rc != 0 || conn->end_in))
		return -ENOTCONN;
	if (praas_unlikely(conn->state == PRAAS_SEALED_HELLO)) {
		int rc = praas_sealed_look_out(conn, buf);

		return rc == 0 ? conn->inner->ops->send(conn->inner, buf) : rc;
	}
	if (praas_unlikely(praas_send_full(
		    conn->unsent.first != NULL, conn->unsent.bytes, bytes,
		    praas_sealed_port_of(conn)->config.send_queue_max)))
		return -EAGAIN;
	praas_frame_leaves(&buf->head, ++base->sends);
	praas_send_push(&conn->unsent, buf, bytes);
	praas_sealed_flush(conn);
	return 0;
}

int praas_sealed_alloc(struct praas_conn *base, uint64_t bytes,
		       struct praas_buf **ret_buf)
{
	struct praas_sealed_conn *conn = praas_sealed_conn_of(base);

	if (praas_unlikely(!conn->inner))
		return -ENOTCONN;
	return conn->inner->ops->alloc(conn->inner, bytes, ret_buf);
}

void praas_sealed_tell_all(struct praas_sealed_conn *conn, int rc)
{
	praas_send_tell_left(&conn->base, &conn->quiet, &conn->left);
	for (struct praas_buf *buf = conn->unsent.first; buf; buf = buf->next)
		praas_send_tell(&conn->base, conn->quiet, buf, rc);
}

void praas_sealed_send_drop(struct praas_sealed_conn *conn)
{
	praas_send_tell_left(&conn->base, &conn->quiet, &conn->left);
	while (conn->unsent.first)
		praas_buf_release(praas_send_pop(&conn->unsent));
	praas_buf_release(conn->stuck);
	conn->stuck = NULL;
	conn->unsent.bytes = 0;
}
