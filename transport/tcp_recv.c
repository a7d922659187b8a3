/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/tcp_port.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/*
 * From bytes to upcalls. A handler may close its connection or others, so after every upcall the
 * state is looked at again; slots are not reused before the next poll.
 */

#define READS_MAX 16u      /* system calls per hot connection and poll */
#define COLD_POLLS 4096u   /* empty ones until a hot connection cools down */
#define STREAK_FREE 2u     /* receives until a connection takes a free hot place */
#define STREAK_REPLACE 16u /* … until it takes the place of one that is quiet */
#define QUIET_POLLS 256u

int64_t praas_tcp_io_recv(struct praas_tcp_conn *conn, void *data, uint64_t bytes)
{
	int64_t n = conn->tls != NULL
			    ? praas_tls_recv(conn->tls, data, bytes)
			    : (int64_t)recv(conn->fd, data, bytes, MSG_DONTWAIT);

	if (praas_likely(n > 0)) {
		conn->received += (uint64_t)n;
		return n;
	}
	if (n == 0 || conn->tls != NULL)
		return n;
	return errno == EWOULDBLOCK || errno == EINTR ? -EAGAIN : -errno;
}

/* conn takes the place of a hot one that has long been quiet. False: there is none. */
static bool replace_quiet(struct praas_tcp_port *port, struct praas_tcp_conn *conn)
{
	for (uint32_t i = 0; i < port->hot_count; i++) {
		if (port->hot[i]->cold > QUIET_POLLS) {
			praas_tcp_make_cold(port->hot[i]);
			praas_tcp_make_hot(conn);
			return true;
		}
	}
	return false;
}

void praas_tcp_on_bytes(struct praas_tcp_conn *conn, struct praas_tcp_chunk *chunk,
			uint32_t fill)
{
	struct praas_tcp_port *port = praas_tcp_port_of(conn);

	conn->received += fill;
	chunk->fill = fill;
	chunk->at = 0;
	chunk->next = NULL;
	if (conn->rx_last)
		conn->rx_last->next = chunk;
	else
		conn->rx_first = chunk;
	conn->rx_last = chunk;
	praas_conn_activate(&conn->base);
	conn->streak++;
	if (conn->streak < STREAK_FREE || conn->recv_cancelling)
		return;
	if (port->hot_count < PRAAS_TCP_HOT_MAX)
		praas_tcp_make_hot(conn);
	else if (conn->streak >= STREAK_REPLACE && !replace_quiet(port, conn))
		conn->streak = STREAK_FREE; /* asks again after some more */
}

void praas_tcp_on_recv_end(struct praas_tcp_conn *conn, int res)
{
	if (conn->state == PRAAS_TCP_DEAD)
		return;
	if (res == 0)
		conn->eof = true;
	else if (res == -ECANCELED && conn->state == PRAAS_TCP_OPEN)
		praas_tcp_make_hot(conn);
	else if (res == -EINVAL) /* no multishot receive before Linux 6.0 */
		praas_tcp_port_of(conn)->multishot = false;
	else if (res < 0 && res != -ENOBUFS && res != -ECANCELED)
		conn->end_rc = res;
	praas_conn_activate(&conn->base);
}

void praas_tcp_make_hot(struct praas_tcp_conn *conn)
{
	struct praas_tcp_port *port = praas_tcp_port_of(conn);

	if (conn->hot || conn->state != PRAAS_TCP_OPEN || conn->eof)
		return;
	if (conn->recv_armed) {
		/* Goes on in praas_tcp_on_recv_end(). */
		if (!conn->recv_cancelling)
			conn->recv_cancelling =
				praas_tcp_ring_cancel(conn, PRAAS_TCP_OP_RECV);
		return;
	}
	conn->readable = true;
	if (port->hot_count == port->hot_max)
		return; /* read once, then waits again */
	conn->hot = true;
	conn->cold = 0;
	port->hot[port->hot_count++] = conn;
}

static void leave_hot(struct praas_tcp_conn *conn)
{
	struct praas_tcp_port *port = praas_tcp_port_of(conn);

	for (uint32_t i = 0; i < port->hot_count; i++) {
		if (port->hot[i] == conn)
			port->hot[i] = port->hot[--port->hot_count];
	}
	conn->hot = false;
	conn->streak = 0;
}

void praas_tcp_make_cold(struct praas_tcp_conn *conn)
{
	leave_hot(conn);
	praas_conn_activate(&conn->base); /* which arms a receive */
}

void praas_tcp_stop_receiving(struct praas_tcp_conn *conn)
{
	struct praas_tcp_port *port = praas_tcp_port_of(conn);

	if (conn->hot)
		leave_hot(conn);
	while (conn->rx_first) {
		struct praas_tcp_chunk *chunk = conn->rx_first;

		conn->rx_first = chunk->next;
		praas_tcp_chunk_unref(&port->chunks, chunk);
	}
	conn->rx_last = NULL;
	praas_tcp_stream_release(&conn->stream);
	conn->readable = false;
	conn->starved = false;
}

/* More of what io_uring has received goes into the stream. 0; -EAGAIN there is none; -ENOBUFS. */
static int refill(struct praas_tcp_conn *conn)
{
	struct praas_tcp_port *port = praas_tcp_port_of(conn);
	struct praas_tcp_chunk *chunk = conn->rx_first;
	uint64_t bytes;
	uint8_t *to;
	int rc;

	if (chunk == NULL)
		return -EAGAIN;
	if (chunk->at == 0 && praas_tcp_stream_idle(&conn->stream)) {
		conn->rx_first = chunk->next;
		praas_tcp_stream_adopt(&conn->stream, chunk, chunk->fill);
	} else {
		/* A frame was cut in two: its end must lie behind its beginning. */
		rc = praas_tcp_stream_space(&conn->stream, &to, &bytes);
		if (rc != 0)
			return rc;
		bytes = praas_min_u64(bytes, chunk->fill - chunk->at);
		memcpy(to, chunk->data + chunk->at, bytes);
		praas_tcp_stream_filled(&conn->stream, bytes);
		port->chunks.copies++;
		chunk->at += (uint32_t)bytes;
		if (chunk->at == chunk->fill) {
			conn->rx_first = chunk->next;
			praas_tcp_chunk_unref(&port->chunks, chunk);
		}
	}
	if (conn->rx_first == NULL)
		conn->rx_last = NULL;
	return 0;
}

/* What the wire does not say as the layer above wants it. */
static void complete(struct praas_tcp_conn *conn, struct praas_buf *buf)
{
	struct praas_port *port = conn->base.port;

	buf->head.source = conn->base.peer_source;
	praas_frame_arrives(&buf->head);
	conn->frames++;
	port->frames_in++;
	port->bytes_in += buf->head.bytes;
}

/* The peer's stream makes no sense; the first reason is the one that counts. */
static PRAAS_COLD void on_bad_stream(struct praas_tcp_conn *conn, int rc)
{
	if (conn->end_rc != PRAAS_TCP_GOING)
		return;
	praas_tcp_port_of(conn)->base.protocol_errors++;
	conn->end_rc = rc;
}

/* Upcalls for up to budget frames. The connection may be closed after it. */
static unsigned hand_up(struct praas_tcp_conn *conn, unsigned budget)
{
	unsigned done = 0;

	while (done < budget) {
		struct praas_buf *buf;
		int rc = praas_tcp_stream_next(&conn->stream, conn->base.bytes_max,
					       &buf);

		if (rc == -EAGAIN) {
			rc = refill(conn);
			if (rc == 0)
				continue;
		}
		conn->starved = rc == -ENOBUFS;
		if (rc == -EAGAIN || rc == -ENOBUFS)
			break;
		if (praas_unlikely(rc != 0)) {
			on_bad_stream(conn, rc);
			break;
		}
		complete(conn, buf);
		conn->corked =
			praas_tcp_stream_more(&conn->stream) || conn->rx_first != NULL;
		done++;
		conn->base.events->frame(conn->base.user, &conn->base, buf);
		if (praas_unlikely(conn->state != PRAAS_TCP_OPEN))
			return done;
	}
	conn->corked = false;
	if (praas_unlikely(!praas_tcp_stream_idle(&conn->stream)))
		praas_tcp_watch(conn);
	if (!conn->hot && done < budget && !conn->starved &&
	    conn->end_rc == PRAAS_TCP_GOING)
		praas_tcp_stream_park(&conn->stream); /* the idle hold no chunk */
	if (done == budget || conn->starved)
		praas_conn_activate(&conn->base);
	return done;
}

/* Large payloads wait for a direct receive, whatever else is hot. */
static void favour_big(struct praas_tcp_conn *conn)
{
	if (conn->stream.big != NULL && !conn->hot)
		praas_tcp_make_hot(conn);
}

/* One read to where the stream wants it. True when there may be more to read. */
static bool read_once(struct praas_tcp_conn *conn)
{
	uint64_t room;
	uint8_t *to;
	int64_t n;
	int rc = praas_tcp_stream_space(&conn->stream, &to, &room);

	if (praas_unlikely(rc != 0)) {
		conn->starved = rc == -ENOBUFS;
		praas_conn_activate(&conn->base);
		return false;
	}
	n = praas_tcp_io_recv(conn, to, room);
	if (n == -EAGAIN) {
		conn->cold++;
		return false;
	}
	if (n <= 0) {
		if (n == 0)
			conn->eof = true;
		else if (n == -EPROTO)
			on_bad_stream(conn, (int)n);
		else
			conn->end_rc = (int)n;
		praas_conn_activate(&conn->base);
		return false;
	}
	conn->cold = 0;
	praas_tcp_stream_filled(&conn->stream, (uint64_t)n);
	return (uint64_t)n == room || praas_tcp_unread(conn);
}

unsigned praas_tcp_recv_hot(struct praas_tcp_conn *conn, unsigned budget)
{
	unsigned done = 0;
	bool more = true;

	conn->readable = false;
	/* What a full budget, or want of memory, has left. */
	if (praas_unlikely(conn->base.active))
		return 0; /* its turn comes with the active ones */
	for (unsigned i = 0; i < READS_MAX && more && done < budget; i++) {
		uint64_t before = conn->received;

		more = read_once(conn);
		if (conn->received == before)
			break;
		done += hand_up(conn, budget - done);
		if (conn->state != PRAAS_TCP_OPEN || conn->end_rc != PRAAS_TCP_GOING ||
		    conn->starved)
			break;
	}
	if (praas_unlikely(conn->state != PRAAS_TCP_OPEN))
		return done;
	if (praas_unlikely(conn->end_rc != PRAAS_TCP_GOING))
		praas_conn_activate(&conn->base);
	else if (praas_unlikely(conn->cold > COLD_POLLS) && conn->hot)
		praas_tcp_make_cold(conn);
	return done;
}

unsigned praas_tcp_recv_run(struct praas_tcp_conn *conn, unsigned budget)
{
	struct praas_tcp_port *port = praas_tcp_port_of(conn);
	unsigned done = hand_up(conn, budget);
	bool armed;

	if (conn->state != PRAAS_TCP_OPEN)
		return done;
	favour_big(conn);
	if (conn->end_rc != PRAAS_TCP_GOING && !conn->base.active) {
		praas_tcp_end(conn, conn->end_rc);
		return done;
	}
	if (conn->eof && !conn->base.active && conn->rx_first == NULL) {
		praas_tcp_end(conn,
			      praas_tcp_stream_idle(&conn->stream) ? 0 : -ECONNRESET);
		return done;
	}
	if (conn->hot || conn->eof || conn->recv_armed ||
	    conn->end_rc != PRAAS_TCP_GOING)
		return done;
	if ((conn->readable || praas_tcp_unread(conn)) && done < budget &&
	    !conn->base.active) {
		conn->readable = false;
		if (read_once(conn))
			conn->readable = true;
		praas_conn_activate(&conn->base);
		return done;
	}
	if (port->multishot && conn->stream.big == NULL)
		armed = port->provided_count > 0 && praas_tcp_ring_recv(conn);
	else
		armed = conn->poll_in_armed ||
			praas_tcp_ring_poll(conn, PRAAS_TCP_OP_POLL_IN);
	conn->starved = !armed;
	if (!armed)
		praas_conn_activate(&conn->base);
	return done;
}
