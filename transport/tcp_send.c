/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/tcp_port.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/*
 * The send queue. A buffer of ours has room for its header in front of the payload: it leaves as one
 * piece. For a foreign one the header is put into the port's scratch memory, next to a copy of
 * the payload when that is small; a large payload is gathered where it lies. Many queued frames
 * leave in one call. A frame that was sent in part is encoded again, to the same bytes.
 */

#define IOVS_MAX 128u
#define COPY_MAX 1024u /* a foreign payload up to this is copied next to its header */
#define JOIN_MAX 256u  /* one of ours, when it leaves with others */
#define FLUSH_BYTES 32768u /* queued: do not wait for the poll */

static const uint8_t zeros[PRAAS_FRAME_ALIGN];

struct gather {
	struct iovec iov[IOVS_MAX];
	unsigned count;
	uint64_t bytes;
	uint64_t scratch; /* used of the port's */
};

int64_t praas_tcp_io_send(struct praas_tcp_conn *conn, const struct iovec *iov,
			  unsigned count)
{
	ssize_t n;

	if (conn->tls != NULL) {
		int64_t bytes = praas_tls_send(conn->tls, iov, count);

		conn->sent += bytes > 0 ? (uint64_t)bytes : 0;
		return bytes;
	}
	if (count == 1) {
		n = send(conn->fd, iov->iov_base, iov->iov_len,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
	} else {
		struct msghdr msg = { .msg_iovlen = count };

		memcpy(&msg.msg_iov, &iov, sizeof(iov)); /* the kernel only reads it */
		n = sendmsg(conn->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	if (praas_likely(n >= 0)) {
		conn->sent += (uint64_t)n;
		return n;
	}
	return errno == EWOULDBLOCK || errno == EINTR || errno == ENOBUFS ? -EAGAIN
									  : -errno;
}

void praas_tcp_io_end(struct praas_tcp_conn *conn)
{
	if (conn->tls != NULL)
		praas_tls_end(conn->tls);
	(void)shutdown(conn->fd, SHUT_WR); /* fails when the peer is gone: seen later */
}

static uint8_t *encode_head(const struct praas_buf *buf, uint8_t *to)
{
	praas_frame_encode(&buf->head, to);
	to += PRAAS_FRAME_BYTES;
	if ((buf->head.flags & PRAAS_FRAME_TRACE) != 0 || buf->head.key_bytes != 0)
		to += praas_frame_meta_encode(&buf->head, buf->trace, buf->key, to);
	return to;
}

static void add(struct gather *g, const void *data, uint64_t bytes)
{
	struct iovec *last = g->count > 0 ? &g->iov[g->count - 1] : NULL;

	if (bytes == 0)
		return;
	g->bytes += bytes;
	if (last && (const uint8_t *)last->iov_base + last->iov_len == data) {
		last->iov_len += bytes;
		return;
	}
	last = &g->iov[g->count++];
	memcpy(&last->iov_base, &data, sizeof(data)); /* the kernel only reads it */
	last->iov_len = bytes;
}

/* Room for one more frame of any kind? */
static bool has_room(const struct gather *g)
{
	return g->count + 3 <= IOVS_MAX &&
	       g->scratch + PRAAS_TCP_HEADROOM + COPY_MAX <= PRAAS_TCP_SCRATCH_BYTES;
}

/* lone: no other frame leaves with it. Of several, small ones are copied together: a piece more
 * costs the kernel more than it costs us to copy some bytes. */
static void add_frame(struct praas_tcp_port *port, struct gather *g,
		      const struct praas_buf *buf, bool lone)
{
	uint8_t *at = port->scratch + g->scratch, *end;
	uint64_t padding =
		praas_align_up(buf->head.bytes, PRAAS_FRAME_ALIGN) - buf->head.bytes;

	if (praas_tcp_slice_has_headroom(buf) && (lone || buf->head.bytes > JOIN_MAX)) {
		uint64_t bytes = praas_frame_wire_bytes(&buf->head);
		uint64_t head = PRAAS_FRAME_BYTES + praas_frame_meta_bytes(&buf->head);

		(void)encode_head(buf, buf->data - head);
		memset(buf->data + buf->head.bytes, 0, padding);
		add(g, buf->data - head, bytes);
		return;
	}
	end = encode_head(buf, at);
	if (buf->head.bytes > 0 && buf->head.bytes <= COPY_MAX) {
		memcpy(end, buf->data, buf->head.bytes);
		memset(end + buf->head.bytes, 0, padding);
		end += buf->head.bytes + padding;
		port->chunks.copies++;
		add(g, at, (uint64_t)(end - at));
	} else {
		add(g, at, (uint64_t)(end - at));
		add(g, buf->data, buf->head.bytes);
		add(g, zeros, padding);
	}
	g->scratch += (uint64_t)(end - at);
}

/* What has gone out already of the first frame: less than the whole, so skip stays within. */
static void trim(struct gather *g, uint64_t bytes)
{
	unsigned skip = 0;

	g->bytes -= bytes;
	/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): see above */
	while (bytes >= g->iov[skip].iov_len && bytes > 0)
		bytes -= g->iov[skip++].iov_len;
	g->iov[skip].iov_base = (uint8_t *)g->iov[skip].iov_base + bytes;
	g->iov[skip].iov_len -= bytes;
	g->count -= skip;
	memmove(g->iov, g->iov + skip, g->count * sizeof(g->iov[0]));
}

/* bytes more have left. */
static void advance(struct praas_tcp_conn *conn, uint64_t bytes)
{
	struct praas_port *port = conn->base.port;

	conn->tx_done += bytes;
	while (conn->unsent.first) {
		const struct praas_buf *buf = conn->unsent.first;
		uint64_t whole = praas_frame_wire_bytes(&buf->head);

		if (conn->tx_done < whole)
			break;
		conn->tx_done -= whole;
		conn->unsent.bytes -= whole;
		port->frames_out++;
		port->bytes_out += buf->head.bytes;
		praas_send_push(&conn->left, praas_send_pop(&conn->unsent), 0);
	}
	if (conn->left.first)
		praas_conn_activate(&conn->base);
}

static PRAAS_COLD void wait_writable(struct praas_tcp_conn *conn)
{
	praas_tcp_watch(conn);
	if (!conn->poll_out_armed && !praas_tcp_ring_poll(conn, PRAAS_TCP_OP_POLL_OUT))
		praas_conn_activate(
			&conn->base); /* no place in the ring: tries again next turn */
}

int praas_tcp_flush(struct praas_tcp_conn *conn)
{
	struct praas_tcp_port *port = praas_tcp_port_of(conn);

	while (conn->unsent.first && !conn->poll_out_armed) {
		const struct praas_buf *buf;
		struct gather g PRAAS_UNINITIALIZED;
		int64_t n;

		g.count = 0;
		g.bytes = 0;
		g.scratch = 0;
		for (buf = conn->unsent.first; buf != NULL && has_room(&g);
		     buf = buf->next)
			add_frame(port, &g, buf,
				  conn->unsent.first == conn->unsent.last);
		if (conn->tx_done > 0)
			trim(&g, conn->tx_done);
		n = praas_tcp_io_send(conn, g.iov, g.count);
		if (n < 0 && n != -EAGAIN)
			return (int)n;
		if (n > 0)
			advance(conn, (uint64_t)n);
		if (n < 0 || (uint64_t)n < g.bytes) {
			wait_writable(conn);
			break;
		}
	}
	return 0;
}

int praas_tcp_alloc(struct praas_conn *base, uint64_t bytes, struct praas_buf **ret_buf)
{
	struct praas_tcp_slice *slice;
	int rc = praas_tcp_slice_alloc(
		&praas_tcp_port_of(praas_tcp_conn_of(base))->chunks, bytes, true,
		&slice);

	if (rc != 0)
		return rc;
	memset(&slice->buf.head, 0, sizeof(slice->buf.head));
	*ret_buf = &slice->buf;
	return 0;
}

/* A lone frame does. One of several between two polls waits for the others; whether there will be
 * several is guessed from the last time. */
static bool goes_at_once(struct praas_tcp_conn *conn)
{
	uint64_t turn = praas_tcp_port_of(conn)->turn;

	if (conn->sent_turn != turn) {
		conn->burst = conn->turn_sends > 1;
		conn->turn_sends = 0;
		conn->sent_turn = turn;
	}
	conn->turn_sends++;
	return (conn->turn_sends == 1 && !conn->corked && !conn->burst) ||
	       conn->unsent.bytes >= FLUSH_BYTES;
}

int praas_tcp_send(struct praas_conn *base, struct praas_buf *buf)
{
	struct praas_tcp_conn *conn = praas_tcp_conn_of(base);
	struct praas_tcp_port *port = praas_tcp_port_of(conn);
	uint64_t bytes = praas_frame_wire_bytes(&buf->head);
	int rc;

	if (praas_unlikely(conn->state != PRAAS_TCP_OPEN ||
			   conn->end_rc != PRAAS_TCP_GOING))
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
	if (!goes_at_once(conn)) {
		praas_conn_activate(&conn->base);
		return 0;
	}
	rc = praas_tcp_flush(conn);
	if (praas_unlikely(rc != 0)) {
		conn->end_rc = rc; /* told by the next poll */
		praas_conn_activate(&conn->base);
	}
	return 0;
}

void praas_tcp_tell_sent(struct praas_tcp_conn *conn)
{
	praas_send_tell_left(&conn->base, &conn->quiet, &conn->left);
}

void praas_tcp_tell_queue(struct praas_tcp_conn *conn, int rc)
{
	struct praas_buf *buf = conn->unsent.first, *next;

	if (rc != 0)
		conn->unsent = (struct praas_send_queue){ 0 };
	for (; buf != NULL; buf = next) {
		next = buf->next;
		praas_send_tell(&conn->base, conn->quiet, buf, rc);
		if (rc != 0)
			praas_buf_release(buf);
	}
}
