/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers. A connection whose queue is full has its answers kept here, in a bounded ring, until
 * it takes them; when even that is full the connection is closed, since an answer dropped in
 * silence would leave its caller waiting.
 */
#include "dataplane/process_private.h"

#include <errno.h>
#include <string.h>

static void set_head(const struct praas_process *p, struct praas_buf *buf,
		     const struct praas_frame *head)
{
	uint64_t bytes = buf->head.bytes;

	buf->head = *head;
	buf->head.epoch = p->epoch;
	buf->head.bytes = bytes;
}

/* 0; -EAGAIN, -ENOBUFS later; other: never. *buf is gone unless later. */
static int try_send(struct praas_process *p, struct praas_conn *conn,
		    const struct praas_frame *head, struct praas_buf **buf)
{
	int rc;

	if (praas_likely(!*buf) && praas_likely(conn->ops->send_head != NULL))
		return conn->ops->send_head(conn, head);
	if (!*buf) {
		rc = conn->ops->alloc(conn, 0, buf);
		if (rc != 0)
			return rc;
		(*buf)->head.bytes = 0;
	}
	set_head(p, *buf, head);
	rc = conn->ops->send(conn, *buf);
	if (praas_unlikely(rc != 0 && rc != -EAGAIN && rc != -ENOBUFS)) {
		praas_buf_release(*buf);
		*buf = NULL;
	}
	return rc;
}

/* A client that does not read has no more than half of the room: the others are served on. */
static bool has_its_share(const struct praas_process *p, const struct praas_conn *conn)
{
	uint32_t kept = 0;

	for (uint64_t i = p->pending_head; i != p->pending_tail; i++)
		kept += p->pending[i & (p->pending_max - 1)].conn == conn;
	return kept >= p->pending_max / 2;
}

static PRAAS_COLD void keep(struct praas_process *p, struct praas_conn *conn,
			    const struct praas_frame *head, struct praas_buf *buf)
{
	struct praas_pending_reply *r;

	if (p->pending_tail - p->pending_head == p->pending_max ||
	    has_its_share(p, conn)) {
		praas_buf_release(buf);
		praas_process_drop_conn(conn, -ENOBUFS);
		return;
	}
	r = &p->pending[p->pending_tail++ & (p->pending_max - 1)];
	*r = (struct praas_pending_reply){ .conn = conn, .head = *head, .buf = buf };
	p->away = 1;
}

static void send_or_keep(struct praas_process *p, struct praas_conn *conn,
			 const struct praas_frame *head, struct praas_buf *buf)
{
	int rc = try_send(p, conn, head, &buf);

	if (praas_unlikely(rc == -EAGAIN || rc == -ENOBUFS))
		keep(p, conn, head, buf);
}

/* More than its ticket allows: an answer that says so, not none. */
static PRAAS_COLD void send_too_large(struct praas_process *p, struct praas_conn *conn,
				      const struct praas_frame *head,
				      struct praas_buf *buf)
{
	struct praas_frame large = *head;

	praas_buf_release(buf);
	large.status = PRAAS_TOO_LARGE;
	large.flags &= (uint8_t)~PRAAS_FRAME_TRACE; /* it was in the buffer */
	send_or_keep(p, conn, &large, NULL);
}

void praas_reply_send(struct praas_process *p, struct praas_conn *conn,
		      const struct praas_frame *head, struct praas_buf *buf)
{
	if (praas_unlikely(buf && buf->head.bytes > conn->bytes_max)) {
		send_too_large(p, conn, head, buf);
		return;
	}
	p->stats.bytes_out += buf ? buf->head.bytes : 0;
	send_or_keep(p, conn, head, buf);
}

int praas_reply_copy(struct praas_process *p, struct praas_conn *conn,
		     const struct praas_frame *head, const void *data, uint64_t bytes,
		     const uint8_t *trace)
{
	struct praas_buf *buf = NULL;
	int rc = conn->ops->alloc(conn, bytes, &buf);

	if (rc != 0)
		return rc;
	if (bytes)
		memcpy(buf->data, data, bytes);
	if (praas_unlikely(trace != NULL))
		memcpy(buf->trace, trace, sizeof(buf->trace));
	buf->head.bytes = bytes;
	praas_reply_send(p, conn, head, buf);
	return 0;
}

void praas_reply_refuse(struct praas_process *p, struct praas_conn *conn,
			struct praas_buf *buf, int32_t status, uint64_t aux)
{
	bool invoke = buf->head.kind == PRAAS_FRAME_INVOKE;
	bool wanted = !(buf->head.flags & PRAAS_FRAME_ONE_WAY);
	struct praas_frame head = { .kind = invoke ? PRAAS_FRAME_RESULT
						   : PRAAS_FRAME_REPLY,
				    .id = buf->head.id,
				    .status = status,
				    .aux = aux };

	if (praas_unlikely(p->parking) && status == PRAAS_DRAINING &&
	    conn->peer_follows && praas_park(p, conn, buf))
		return;
	/* It was sent before its client read that we have moved: an answer would end it, and it is asked there. */
	wanted = wanted && !(p->moved && conn->peer_follows);
	praas_buf_release(buf);
	if (wanted)
		praas_reply_send(p, conn, &head, NULL);
}

unsigned praas_reply_flush(struct praas_process *p)
{
	uint64_t end = p->pending_tail;
	unsigned done = 0;

	/* Each one is tried once; those that still cannot go stand at the end again. */
	while (p->pending_head != end) {
		struct praas_pending_reply r =
			p->pending[p->pending_head++ & (p->pending_max - 1)];
		int rc = r.conn ? try_send(p, r.conn, &r.head, &r.buf) : 0;

		if (rc == -EAGAIN || rc == -ENOBUFS)
			p->pending[p->pending_tail++ & (p->pending_max - 1)] = r;
		else
			done++;
	}
	return done;
}

void praas_reply_forget_conn(struct praas_process *p, const struct praas_conn *conn)
{
	for (uint64_t i = p->pending_head; i != p->pending_tail; i++) {
		struct praas_pending_reply *r = &p->pending[i & (p->pending_max - 1)];

		if (r->conn != conn)
			continue;
		praas_buf_release(r->buf);
		r->buf = NULL;
		r->conn = NULL;
	}
}
