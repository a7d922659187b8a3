/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/sealed_port.h"

#include <errno.h>
#include <string.h>

/*
 * From records to frames. Nothing of a record is looked at before it has been opened; what has been
 * opened comes from a peer that holds the session key, and is still checked like any frame.
 */

/* Header and meta block of a record with so many bytes in the open; with its payload, or announced. 0;
 * -EPROTO; -EMSGSIZE. */
static int decode(const struct praas_sealed_conn *conn, struct praas_buf *buf,
		  uint64_t bytes, bool large, uint64_t *ret_at)
{
	struct praas_frame f;
	uint64_t at = PRAAS_FRAME_BYTES;
	int rc;

	if (bytes < at)
		return -EPROTO;
	rc = praas_frame_decode(buf->data, conn->base.bytes_max, &f);
	if (rc != 0)
		return rc;
	at += praas_frame_meta_bytes(&f);
	if (f.kind == PRAAS_FRAME_SEALED || f.sequence != conn->sequence + 1 ||
	    bytes < at || bytes - at != (large ? 0 : f.bytes) ||
	    (large && f.bytes == 0))
		return -EPROTO;
	buf->key[0] = '\0';
	if (at > PRAAS_FRAME_BYTES)
		rc = praas_frame_meta_decode(&f, buf->data + PRAAS_FRAME_BYTES,
					     buf->trace, buf->key);
	if (rc != 0)
		return rc;
	buf->head = f;
	*ret_at = at;
	return 0;
}

static void hand_up(struct praas_sealed_conn *conn, struct praas_buf *buf)
{
	struct praas_sealed_port *port = praas_sealed_port_of(conn);

	if (praas_unlikely(conn->state != PRAAS_SEALED_LIVE)) {
		praas_buf_release(buf); /* nobody wants it any more */
		return;
	}
	buf->head.source = conn->base.peer_source;
	praas_frame_arrives(&buf->head);
	port->base.frames_in++;
	port->base.bytes_in += buf->head.bytes;
	conn->base.events->frame(conn->base.user, &conn->base, buf);
}

/* A frame that is all there: handed up in the memory that it was received in. */
static int on_frame(struct praas_sealed_conn *conn, struct praas_buf *buf,
		    uint64_t bytes)
{
	uint64_t at;
	int rc = decode(conn, buf, bytes, false, &at);

	if (praas_unlikely(rc != 0 || conn->held || conn->large)) {
		praas_buf_release(buf);
		return rc != 0 ? rc : -EPROTO;
	}
	conn->sequence++;
	buf->data += at;
	buf->offset += at;
	buf->capacity -= praas_min_u64(buf->capacity, at);
	hand_up(conn, buf);
	return 0;
}

void praas_sealed_try_held(struct praas_sealed_conn *conn)
{
	const struct praas_memory *m = praas_sealed_port_of(conn)->config.memory;
	struct praas_buf *held = conn->held;
	int rc;

	if (!held || conn->state != PRAAS_SEALED_LIVE)
		return;
	rc = m->alloc(m->user, held->head.bytes, &conn->large);
	if (rc == -ENOBUFS) {
		praas_conn_activate(&conn->base); /* again with the next turn */
		return;
	}
	conn->held = NULL;
	if (rc == 0) {
		conn->large->head = held->head;
		memcpy(conn->large->trace, held->trace, sizeof(held->trace));
		memcpy(conn->large->key, held->key, sizeof(held->key));
		conn->large_in = 0;
		conn->grant_due = true;
		praas_conn_activate(&conn->base);
	} else {
		conn->large = NULL;
		praas_sealed_fail(conn, rc);
	}
	praas_buf_release(held);
}

static int on_large(struct praas_sealed_conn *conn, struct praas_buf *buf,
		    uint64_t bytes)
{
	uint64_t at;
	int rc = decode(conn, buf, bytes, true, &at);

	if (praas_unlikely(rc != 0 || conn->held || conn->large)) {
		praas_buf_release(buf);
		return rc != 0 ? rc : -EPROTO;
	}
	conn->sequence++;
	conn->held = buf;
	praas_sealed_try_held(conn);
	return 0;
}

static void on_piece(struct praas_sealed_conn *conn, uint64_t bytes)
{
	struct praas_buf *buf = conn->large;

	conn->large_in += bytes;
	if (conn->large_in < buf->head.bytes)
		return;
	conn->large = NULL;
	praas_sealed_port_of(conn)->copies++;
	hand_up(conn, buf);
}

/* Whether a piece of so many bytes is the one that must come. */
static bool is_next_piece(const struct praas_sealed_conn *conn, uint64_t bytes)
{
	return conn->large && !conn->grant_due &&
	       bytes == praas_min_u64(conn->large->head.bytes - conn->large_in,
				      PRAAS_SEALED_PIECE_BYTES);
}

/* What has been opened, of bytes; buf is given. 0; errno. */
static int on_opened(struct praas_sealed_conn *conn, enum praas_sealed_type type,
		     struct praas_buf *buf, uint64_t bytes)
{
	int rc = -EPROTO;

	if (praas_likely(type == PRAAS_SEALED_FRAME))
		return on_frame(conn, buf, bytes);
	if (type == PRAAS_SEALED_LARGE)
		return on_large(conn, buf, bytes);
	praas_buf_release(buf);
	if (type == PRAAS_SEALED_PIECE) {
		on_piece(conn, bytes);
		rc = 0;
	} else if (type == PRAAS_SEALED_GRANT && bytes == 0 && conn->announced &&
		   !conn->granted) {
		conn->granted = true;
		praas_conn_activate(&conn->base);
		rc = 0;
	} else if (type == PRAAS_SEALED_END && bytes == 0 && !conn->held &&
		   !conn->large) {
		conn->end_in = true;
		rc = 0;
	}
	return rc;
}

/* Opens it in place, or a piece to where it belongs. 0; -EBADMSG; -EPROTO; -EIO. */
static int open_record(struct praas_sealed_conn *conn, const struct praas_buf *buf,
		       uint64_t *ret_bytes)
{
	uint8_t type = (uint8_t)buf->head.aux;
	struct praas_seal_packet packet = { .number = conn->number_in,
					    .head = &type,
					    .head_bytes = 1,
					    .data = buf->data };
	uint64_t bytes;

	if (buf->head.aux != type || buf->head.bytes < PRAAS_SEAL_TAG_BYTES ||
	    buf->head.bytes > PRAAS_SEALED_RECORD_MAX)
		return -EPROTO;
	bytes = buf->head.bytes - PRAAS_SEAL_TAG_BYTES;
	packet.bytes = (uint32_t)bytes;
	packet.tag = buf->data + bytes;
	if (type == PRAAS_SEALED_PIECE) {
		if (!is_next_piece(conn, bytes))
			return -EPROTO;
		packet.to = conn->large->data + conn->large_in;
	}
	*ret_bytes = bytes;
	return praas_seal_open(conn->seal_in, &packet);
}

void praas_sealed_on_record(struct praas_sealed_conn *conn, struct praas_buf *buf)
{
	struct praas_sealed_port *port = praas_sealed_port_of(conn);
	uint64_t bytes = 0;
	int rc = conn->end_in ? -EPROTO : open_record(conn, buf, &bytes);

	if (praas_likely(rc == 0)) {
		conn->number_in++;
		conn->progress++;
		port->stats.records_in++;
		rc = on_opened(conn, (enum praas_sealed_type)buf->head.aux, buf, bytes);
	} else {
		port->stats.forged += rc == -EBADMSG;
		praas_buf_release(buf);
	}
	if (praas_unlikely(rc != 0)) {
		port->base.protocol_errors++;
		praas_sealed_end(conn, rc);
	}
}
