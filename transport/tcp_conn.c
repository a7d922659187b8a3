/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/tcp_port.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/handshake.h"
#include "transport/tcp_addr.h"

/*
 * A connection's life. Upcalls are made from poll() alone, so what happens elsewhere is noted in
 * the connection, which is put into the active list.
 *
 * The end of a connection that we close in order is waited for: closing a socket with unread
 * bytes would reset it, and the peer might never see our last frame, which says why.
 */

#define LINGER_NS UINT64_C(1000000000)
#define SECURE_NS UINT64_C(5000000000) /* for the TLS handshake */
#define PROGRESS_BYTES                                                                 \
	65536u /* of a frame within the stall timeout, or it has stalled */
#define DISCARDS_MAX 16u

void praas_tcp_watch(struct praas_tcp_conn *conn)
{
	struct praas_tcp_port *port = praas_tcp_port_of(conn);

	if (conn->watched)
		return;
	conn->watched = true;
	conn->stall_since_ns = 0;
	conn->watch_prev = NULL;
	conn->watch_next = port->watch;
	if (port->watch)
		port->watch->watch_prev = conn;
	port->watch = conn;
}

void praas_tcp_unwatch(struct praas_tcp_conn *conn)
{
	struct praas_tcp_port *port = praas_tcp_port_of(conn);

	if (!conn->watched)
		return;
	conn->watched = false;
	if (conn->watch_prev)
		conn->watch_prev->watch_next = conn->watch_next;
	else
		port->watch = conn->watch_next;
	if (conn->watch_next)
		conn->watch_next->watch_prev = conn->watch_prev;
}

static struct praas_tcp_conn *slot_take(struct praas_tcp_port *port, int fd)
{
	struct praas_tcp_conn *conn = port->free_slots;
	uint32_t index;

	if (conn != NULL) {
		port->free_slots = conn->free_next;
		index = conn->index;
	} else if (port->slots_made < port->slots) {
		index = port->slots_made++;
		conn = &port->conn[index];
	} else {
		return NULL;
	}
	port->used++;
	memset(conn, 0, sizeof(*conn));
	conn->index = index;
	conn->fd = fd;
	conn->end_rc = PRAAS_TCP_GOING;
	conn->sent_turn = UINT64_MAX;
	conn->base.ops = port->base.ops;
	conn->base.port = &port->base;
	conn->base.bytes_max = port->config.handshake_bytes_max;
	praas_tcp_stream_init(&conn->stream, &port->chunks);
	return conn;
}

void praas_tcp_reap(struct praas_tcp_port *port)
{
	struct praas_tcp_conn *conn = port->zombies, *next;

	port->zombies = NULL;
	for (; conn != NULL; conn = next) {
		next = conn->free_next;
		if (conn->ops > 0 || conn->base.active) {
			conn->free_next = port->zombies;
			port->zombies = conn;
			continue;
		}
		conn->state = PRAAS_TCP_FREE;
		conn->free_next = port->free_slots;
		port->free_slots = conn;
		port->used--;
	}
}

int praas_tcp_connect(struct praas_port *base, const char *addr,
		      const struct praas_conn_events *events, void *user,
		      struct praas_conn **ret_conn)
{
	struct praas_tcp_port *port = (struct praas_tcp_port *)(void *)base;
	union praas_tcp_addr to;
	struct praas_tcp_conn *conn;
	socklen_t bytes;
	int fd, rc = praas_tcp_addr_parse(base->ops->scheme, addr, &to, &bytes);

	if (rc != 0)
		return rc;
	rc = praas_tcp_socket(to.any.sa_family, &fd);
	if (rc != 0)
		return rc;
	conn = slot_take(port, fd);
	if (conn == NULL) {
		(void)close(fd); /* not connected */
		return -ENOBUFS;
	}
	conn->state = PRAAS_TCP_CONNECTING;
	praas_conn_set_events(&conn->base, events, user);
	rc = connect(fd, &to.any, bytes) == 0 ? 0 : -errno;
	if (rc == 0)
		conn->opened_due = true;
	else if (rc == -EINPROGRESS)
		(void)praas_tcp_ring_poll(conn,
					  PRAAS_TCP_OP_POLL_OUT); /* else asked again */
	else
		conn->end_rc = rc;
	praas_tcp_watch(conn);
	praas_conn_activate(&conn->base);
	*ret_conn = &conn->base;
	return 0;
}

void praas_tcp_on_connected(struct praas_tcp_conn *conn)
{
	int error = 0;
	socklen_t bytes = sizeof(error);

	if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &bytes) != 0)
		error = errno;
	if (error != 0)
		conn->end_rc = -error;
	else
		conn->opened_due = true;
}

int praas_tcp_secure(struct praas_tcp_conn *conn)
{
	struct praas_tcp_port *port = praas_tcp_port_of(conn);
	enum praas_tcp_op op = PRAAS_TCP_OP_POLL_IN;
	bool write = false;
	int rc = 0;

	if (port->tls == NULL)
		return 0;
	if (conn->tls == NULL && !conn->accepted && conn->base.secret == NULL)
		return -EACCES;
	if (conn->tls == NULL)
		rc = praas_tls_new(port->tls, conn->fd,
				   conn->accepted ? NULL : conn->base.secret,
				   &conn->tls);
	if (rc == 0)
		rc = praas_tls_handshake(conn->tls, &write);
	if (rc == -EPROTO || rc == -EACCES)
		port->base.protocol_errors++;
	if (rc != -EAGAIN)
		return rc;
	if (write)
		op = PRAAS_TCP_OP_POLL_OUT;
	if (!(write ? conn->poll_out_armed : conn->poll_in_armed) &&
	    !praas_tcp_ring_poll(conn, op))
		praas_conn_activate(
			&conn->base); /* no place in the ring: again next turn */
	return -EAGAIN;
}

/* Too many: the peer is told, as far as that is possible without waiting. */
static PRAAS_COLD void refuse(const struct praas_tcp_port *port, int fd)
{
	struct praas_frame f = { .kind = PRAAS_FRAME_CLOSE,
				 .status = PRAAS_OVERLOADED,
				 .sequence = 1,
				 .aux = PRAAS_CLOSE_LIMIT };
	uint8_t wire[PRAAS_FRAME_BYTES];

	praas_frame_encode(&f, wire);
	if (port->tls == NULL) /* nothing in clear text there */
		(void)send(fd, wire, sizeof(wire),
			   MSG_DONTWAIT | MSG_NOSIGNAL); /* a courtesy */
	(void)shutdown(fd, SHUT_WR);                     /* as above */
	(void)close(fd);                                 /* as above */
}

/* No descriptors left: the one kept for this takes the connection, to end it. */
static PRAAS_COLD void refuse_without_fd(struct praas_tcp_port *port)
{
	int fd;

	if (port->spare_fd >= 0)
		(void)close(port->spare_fd); /* of /dev/null */
	fd = accept4(port->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0)
		refuse(port, fd);
	port->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void praas_tcp_on_accept(struct praas_tcp_port *port, int res)
{
	struct praas_tcp_conn *conn;

	if (res == -EMFILE || res == -ENFILE)
		refuse_without_fd(port);
	if (res < 0)
		return; /* a connection that was gone again, or a cancelled accept */
	conn = port->unauthenticated < port->config.unauthenticated_max
		       ? slot_take(port, res)
		       : NULL;
	if (conn == NULL) {
		refuse(port, res);
		return;
	}
	conn->state = PRAAS_TCP_OPEN;
	conn->accepted = true;
	conn->opened_due = true;
	port->unauthenticated++;
	praas_conn_set_events(&conn->base, port->config.accept_events,
			      port->config.accept_user);
	if (port->tls)
		praas_tcp_watch(conn); /* a handshake may stall */
	praas_conn_activate(&conn->base);
}

void praas_tcp_destroy(struct praas_tcp_conn *conn)
{
	struct praas_tcp_port *port = praas_tcp_port_of(conn);

	conn->quiet = true;
	praas_tcp_tell_sent(conn);
	praas_tcp_tell_queue(conn, -ECANCELED);
	conn->state = PRAAS_TCP_DEAD;
	praas_tcp_stop_receiving(conn);
	praas_tcp_unwatch(conn);
	if (conn->accepted && !conn->authenticated)
		port->unauthenticated--;
	praas_tcp_ring_cancel_all(conn);
	praas_tcp_io_end(conn);
	praas_tls_free(conn->tls);
	conn->tls = NULL;
	(void)shutdown(conn->fd, SHUT_RDWR); /* ends what could not be cancelled */
	(void)close(conn->fd);               /* nothing more is to be known */
	conn->fd = -1;
	conn->free_next = port->zombies;
	port->zombies = conn;
}

/* From here on the layer above is done with it; what is queued still goes out. */
static void begin_flush(struct praas_tcp_conn *conn)
{
	praas_tcp_tell_queue(conn, 0);
	conn->quiet = true;
	conn->state = PRAAS_TCP_FLUSHING;
	praas_tcp_stop_receiving(conn);
	if (conn->recv_armed && !conn->recv_cancelling)
		conn->recv_cancelling = praas_tcp_ring_cancel(conn, PRAAS_TCP_OP_RECV);
	praas_tcp_watch(conn);
	conn->stall_since_ns = 0;
	praas_conn_activate(&conn->base);
}

void praas_tcp_end(struct praas_tcp_conn *conn, int rc)
{
	bool flush = rc == 0 && conn->unsent.first != NULL;

	praas_tcp_tell_sent(conn);
	if (conn->state != PRAAS_TCP_OPEN && conn->state != PRAAS_TCP_CONNECTING)
		return; /* a handler has closed it */
	/* Sends fail from here on, and a close() in a handler does nothing. */
	conn->state = PRAAS_TCP_FLUSHING;
	if (!flush)
		praas_tcp_tell_queue(conn, rc == 0 ? -ENOTCONN : rc);
	else
		begin_flush(conn);
	conn->base.events->closed(conn->base.user, &conn->base, rc);
	praas_conn_end(&conn->base);
	if (!flush)
		praas_tcp_destroy(conn);
}

void praas_tcp_close(struct praas_conn *base, bool after_flush)
{
	struct praas_tcp_conn *conn = praas_tcp_conn_of(base);
	bool connected = conn->state == PRAAS_TCP_OPEN && !conn->opened_due;

	if (conn->state != PRAAS_TCP_OPEN && conn->state != PRAAS_TCP_CONNECTING)
		return;
	conn->state = PRAAS_TCP_FLUSHING; /* handlers below cannot send */
	praas_tcp_tell_sent(conn);
	if (after_flush && connected && conn->end_rc == PRAAS_TCP_GOING) {
		begin_flush(conn);
		praas_conn_end(base);
		return;
	}
	praas_tcp_tell_queue(conn, -ECANCELED);
	praas_conn_end(base);
	praas_tcp_destroy(conn);
}

static void linger(struct praas_tcp_conn *conn)
{
	struct praas_tcp_port *port = praas_tcp_port_of(conn);

	if (conn->recv_armed)
		return; /* being cancelled; comes back then */
	for (unsigned i = 0; i < DISCARDS_MAX && !conn->eof; i++) {
		int64_t n =
			praas_tcp_io_recv(conn, port->scratch, PRAAS_TCP_SCRATCH_BYTES);

		if (n == -EAGAIN) {
			if (!conn->poll_in_armed &&
			    !praas_tcp_ring_poll(conn, PRAAS_TCP_OP_POLL_IN))
				praas_conn_activate(&conn->base);
			return;
		}
		conn->eof = n <= 0;
	}
	if (conn->eof)
		praas_tcp_destroy(conn);
	else
		praas_conn_activate(&conn->base);
}

void praas_tcp_flush_out(struct praas_tcp_conn *conn)
{
	if (conn->state == PRAAS_TCP_FLUSHING) {
		int rc = praas_tcp_flush(conn);

		praas_tcp_tell_sent(conn); /* quiet: gives the buffers back */
		if (rc != 0) {
			praas_tcp_destroy(conn);
			return;
		}
		if (conn->unsent.first != NULL)
			return; /* until it is writable */
		praas_tcp_io_end(conn);
		conn->state = PRAAS_TCP_LINGERING;
		conn->stall_since_ns = 0;
	}
	linger(conn);
}

/* Has it stalled? Looks at what moved since the last time it had moved. */
static bool stalled(struct praas_tcp_conn *conn, uint64_t now_ns, uint64_t timeout_ns)
{
	bool partial = !praas_tcp_stream_idle(&conn->stream);
	bool moved_in = conn->frames != conn->frames_then ||
			conn->received - conn->received_then >= PROGRESS_BYTES;
	bool moved_out = conn->sent - conn->sent_then >= PROGRESS_BYTES;

	if (conn->state == PRAAS_TCP_LINGERING)
		timeout_ns = praas_min_u64(timeout_ns, LINGER_NS);
	else if (conn->opened_due)
		timeout_ns = praas_min_u64(timeout_ns, SECURE_NS);
	if (conn->stall_since_ns != 0 && now_ns - conn->stall_since_ns < timeout_ns)
		return false;
	/* Waiting for memory of ours is not the peer's fault. */
	if (conn->stall_since_ns != 0 && !conn->starved &&
	    ((partial && !moved_in) || (conn->unsent.first != NULL && !moved_out) ||
	     conn->state == PRAAS_TCP_CONNECTING || conn->opened_due ||
	     conn->state == PRAAS_TCP_LINGERING))
		return true;
	conn->stall_since_ns = now_ns;
	conn->frames_then = conn->frames;
	conn->received_then = conn->received;
	conn->sent_then = conn->sent;
	return false;
}

void praas_tcp_check_stalls(struct praas_tcp_port *port)
{
	struct praas_tcp_conn *conn = port->watch, *next;

	for (; conn != NULL; conn = next) {
		next = conn->watch_next;
		if (conn->state == PRAAS_TCP_OPEN && !conn->opened_due &&
		    conn->unsent.first == NULL &&
		    praas_tcp_stream_idle(&conn->stream)) {
			praas_tcp_unwatch(conn);
			continue;
		}
		if (!stalled(conn, port->now_ns, port->config.stall_timeout_ns))
			continue;
		if (conn->state == PRAAS_TCP_OPEN ||
		    conn->state == PRAAS_TCP_CONNECTING) {
			praas_tcp_end(conn, -ETIMEDOUT);
			next = port->watch; /* handlers may have ended others */
		} else {
			praas_tcp_destroy(conn);
		}
	}
}
