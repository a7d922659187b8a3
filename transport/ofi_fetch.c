/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/ofi_port.h"

#include <errno.h>
#include <string.h>

/*
 * Rendezvous: the peer offers a payload where it lies, we read it into the buffer that is handed up.
 * In pieces, so that a large one is seen to move, and some pieces at a time. The memory
 * taken belongs to the provider until all of them have completed, whatever becomes of the
 * connection.
 */

#define PIECE_BYTES (UINT64_C(4) << 20)

static struct praas_ofi_fetch *fetch_free_one(struct praas_ofi_conn *conn)
{
	for (unsigned i = 0; i < PRAAS_OFI_FETCHES; i++) {
		if (conn->work->fetch[i].buf == NULL)
			return &conn->work->fetch[i];
	}
	return NULL;
}

int praas_ofi_fetch_begin(struct praas_ofi_conn *conn, struct praas_ofi_slot *slot)
{
	struct praas_ofi_port *port = praas_ofi_port_of(conn);
	const struct praas_memory *memory = port->config.memory;
	struct praas_ofi_fetch *fetch = fetch_free_one(conn);
	struct praas_buf head, *buf;
	const uint8_t *none;
	int rc;

	if (fetch == NULL)
		return -ENOBUFS;
	if (!port->fabric.rma)
		return -EPROTO;
	rc = praas_ofi_frame_decode(&slot->packet, conn->base.bytes_max, &head, &none);
	if (rc == 0)
		rc = memory->alloc(memory->user, head.head.bytes, &buf);
	if (rc != 0)
		return rc;
	rc = praas_ofi_local(port, buf, head.head.bytes, &fetch->mr, &fetch->desc);
	if (rc != 0) {
		praas_buf_release(buf);
		return rc;
	}
	buf->head = head.head;
	memcpy(buf->trace, head.trace, sizeof(buf->trace));
	memcpy(buf->key, head.key, sizeof(buf->key));
	fetch->conn = conn;
	fetch->buf = buf;
	fetch->addr = slot->packet.addr;
	fetch->key = slot->packet.key;
	fetch->asked = 0;
	fetch->read = 0;
	slot->fetch = fetch;
	return praas_ofi_fetch_run(fetch);
}

int praas_ofi_fetch_run(struct praas_ofi_fetch *fetch)
{
	struct praas_ofi_conn *conn = fetch->conn;
	struct praas_ofi_port *port = praas_ofi_port_of(conn);

	for (unsigned i = 0; i < PRAAS_OFI_PIECES; i++) {
		struct praas_ofi_piece *piece = &fetch->piece[i];
		uint64_t left = fetch->buf->head.bytes - fetch->asked;
		ssize_t rc;

		if (left == 0 || piece->busy)
			continue;
		piece->bytes = praas_min_u64(left, PIECE_BYTES);
		piece->op.kind = PRAAS_OFI_OP_READ;
		piece->fetch = fetch;
		rc = fi_read(port->fabric.ep, fetch->buf->data + fetch->asked,
			     piece->bytes, fetch->desc, conn->peer->addr,
			     fetch->addr + fetch->asked, fetch->key, piece);
		if (rc == -FI_EAGAIN) {
			conn->blocked = true;
			praas_conn_activate(&conn->base);
			return 0;
		}
		if (rc != 0)
			return praas_ofi_errno(rc);
		piece->busy = true;
		fetch->busy++;
		conn->ops++;
		fetch->asked += piece->bytes;
	}
	return 0;
}

struct praas_buf *praas_ofi_fetch_take(struct praas_ofi_fetch *fetch)
{
	struct praas_buf *buf = fetch->buf;

	if (fetch->mr != NULL)
		(void)fi_close(&fetch->mr->fid); /* no read is under way */
	fetch->mr = NULL;
	fetch->buf = NULL;
	return buf;
}

void praas_ofi_fetch_drop(struct praas_ofi_fetch *fetch)
{
	if (fetch->buf != NULL && fetch->busy == 0)
		praas_buf_release(praas_ofi_fetch_take(fetch));
}

void praas_ofi_on_read(struct praas_ofi_piece *piece, int rc)
{
	struct praas_ofi_fetch *fetch = piece->fetch;
	struct praas_ofi_conn *conn = fetch->conn;

	piece->busy = false;
	fetch->busy--;
	conn->ops--;
	if (conn->state != PRAAS_OFI_OPEN) {
		praas_ofi_fetch_drop(fetch);
		return;
	}
	if (rc == 0) {
		fetch->read += piece->bytes;
		conn->fetched += piece->bytes;
		rc = praas_ofi_fetch_run(fetch);
	}
	if (rc != 0)
		praas_ofi_fail(conn, rc);
	praas_conn_activate(&conn->base);
}
