/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/sealed_port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/mac.h"

/*
 * A connection's life. The handshake's first two frames go as they are; who hands them on looks at
 * what is in them: the ticket, with which a server finds the session key, and the nonces. With
 * CHALLENGE both sides have the keys. That the other side has them too is shown by its proof, and
 * by each record.
 */

static const char label[] = "praas sealed 1";

int praas_sealed_conn_new(struct praas_sealed_port *port,
			  struct praas_sealed_conn **ret_conn)
{
	struct praas_sealed_conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return -ENOMEM;
	conn->base.ops = port->base.ops;
	conn->base.port = &port->base;
	conn->base.bytes_max = port->config.handshake_bytes_max;
	conn->state = PRAAS_SEALED_HELLO;
	conn->next = port->conns;
	if (conn->next)
		conn->next->prev = conn;
	port->conns = conn;
	*ret_conn = conn;
	return 0;
}

static void unlink_conn(struct praas_sealed_conn *conn)
{
	struct praas_sealed_port *port = praas_sealed_port_of(conn);

	if (conn->prev)
		conn->prev->next = conn->next;
	else
		port->conns = conn->next;
	if (conn->next)
		conn->next->prev = conn->prev;
}

void praas_sealed_conn_drop(struct praas_sealed_conn *conn)
{
	unlink_conn(conn);
	free(conn);
}

void praas_sealed_fail(struct praas_sealed_conn *conn, int rc)
{
	if (conn->end_rc == 0)
		conn->end_rc = rc;
	praas_conn_activate(&conn->base);
}

/* ---- its end ---- */

/* Nothing more is told of it. The connection below is closed, in order or not. */
static void bury(struct praas_sealed_conn *conn, bool in_order)
{
	struct praas_sealed_port *port = praas_sealed_port_of(conn);
	struct praas_conn *inner = conn->inner;

	if (conn->state == PRAAS_SEALED_DEAD)
		return;
	conn->quiet = true;
	conn->state = PRAAS_SEALED_DEAD;
	conn->inner = NULL;
	if (inner)
		inner->ops->close(inner, in_order);
	praas_sealed_send_drop(conn);
	praas_buf_release(conn->held);
	praas_buf_release(conn->large);
	conn->held = NULL;
	conn->large = NULL;
	praas_seal_free(conn->seal_out);
	praas_seal_free(conn->seal_in);
	conn->seal_out = NULL;
	conn->seal_in = NULL;
	praas_mac_wipe(&conn->secret, sizeof(conn->secret));
	unlink_conn(conn);
	conn->prev = NULL;
	conn->next = port->dead;
	port->dead = conn;
}

void praas_sealed_end(struct praas_sealed_conn *conn, int rc)
{
	bool shown = conn->state < PRAAS_SEALED_FLUSHING;

	if (shown) {
		conn->state =
			PRAAS_SEALED_FLUSHING; /* handlers cannot send, nor close */
		praas_sealed_tell_all(conn, rc == 0 ? -ENOTCONN : rc);
		conn->base.events->closed(conn->base.user, &conn->base, rc);
		praas_conn_end(&conn->base);
	}
	bury(conn, false);
}

/* The last record goes out; then the connection below is closed. */
static void finish(struct praas_sealed_conn *conn)
{
	praas_sealed_flush(conn);
	if (conn->end_rc != 0 || !conn->inner)
		bury(conn, false);
	else if (conn->end_out && !conn->stuck)
		bury(conn, true);
}

void praas_sealed_close(struct praas_conn *base, bool after_flush)
{
	struct praas_sealed_conn *conn = praas_sealed_conn_of(base);
	bool live = conn->state == PRAAS_SEALED_LIVE;

	if (conn->state >= PRAAS_SEALED_FLUSHING)
		return;
	if (!live && after_flush && conn->inner) { /* a refusal may be on its way */
		struct praas_conn *inner = conn->inner;

		conn->inner = NULL;
		inner->ops->close(inner, true);
	}
	conn->state = PRAAS_SEALED_FLUSHING; /* handlers below cannot send */
	after_flush = after_flush && live && conn->end_rc == 0 && !conn->end_in;
	praas_sealed_tell_all(conn, after_flush ? 0 : -ECANCELED);
	conn->quiet = true;
	praas_conn_end(base);
	if (after_flush)
		finish(conn);
	else
		bury(conn, false);
}

unsigned praas_sealed_run(struct praas_sealed_conn *conn)
{
	unsigned done = conn->left.first != NULL;

	praas_send_tell_left(&conn->base, &conn->quiet, &conn->left);
	praas_sealed_try_held(conn);
	if (conn->state == PRAAS_SEALED_FLUSHING) {
		finish(conn);
	} else if (conn->state < PRAAS_SEALED_FLUSHING) {
		praas_sealed_flush(conn);
		if (conn->end_rc != 0)
			praas_sealed_end(conn, conn->end_rc);
	}
	return done;
}

void praas_sealed_check_stalls(struct praas_sealed_port *port, uint64_t now_ns)
{
	struct praas_sealed_conn *conn = port->conns, *next;

	for (; conn; conn = next) {
		bool waits = conn->unsent.first || conn->stuck ||
			     conn->state == PRAAS_SEALED_FLUSHING;

		next = conn->next;
		if (!waits || conn->since_ns == 0 ||
		    conn->progress != conn->progress_then) {
			conn->since_ns = waits ? now_ns : 0;
			conn->progress_then = conn->progress;
		} else if (now_ns - conn->since_ns > port->config.stall_timeout_ns) {
			praas_sealed_fail(conn, -ETIMEDOUT);
		}
	}
}

/* ---- keys ---- */

/* A direction's key: of all that both sides have said. */
static int seal_of(const struct praas_sealed_conn *conn, const char *direction,
		   struct praas_seal **ret_seal)
{
	uint8_t info[sizeof(label) - 1 + 3 + 2 * PRAAS_NONCE_BYTES + 8], *at = info;
	uint8_t key[PRAAS_SEAL_KEY_BYTES];
	int rc;

	memcpy(at, label, sizeof(label) - 1);
	at += sizeof(label) - 1;
	memcpy(at, direction, 3);
	memcpy(at + 3, conn->secret.client_nonce, PRAAS_NONCE_BYTES);
	at += 3 + PRAAS_NONCE_BYTES;
	memcpy(at, conn->secret.server_nonce, PRAAS_NONCE_BYTES);
	praas_put_u64(at + PRAAS_NONCE_BYTES, conn->hello_aux);
	rc = praas_mac_derive(conn->secret.session_key, info, sizeof(info), key);
	if (rc == 0)
		rc = praas_seal_new(key, false, PRAAS_SEALED_EPOCH_SHIFT, ret_seal);
	praas_mac_wipe(key, sizeof(key));
	return rc;
}

/* Both nonces are known. */
static int make_keys(struct praas_sealed_conn *conn)
{
	int rc = conn->has_key ? 0 : -EPROTO;

	if (rc == 0)
		rc = seal_of(conn, conn->accepted ? "s2c" : "c2s", &conn->seal_out);
	if (rc == 0)
		rc = seal_of(conn, conn->accepted ? "c2s" : "s2c", &conn->seal_in);
	praas_mac_wipe(&conn->secret, sizeof(conn->secret));
	conn->has_key = false;
	return rc;
}

int praas_sealed_look_out(struct praas_sealed_conn *conn, const struct praas_buf *buf)
{
	int rc = 0;

	if (buf->head.kind == PRAAS_FRAME_HELLO && !conn->accepted) {
		/* Of one's own: the ticket is known already. */
		conn->hello_aux = buf->head.aux;
		rc = praas_hello_decode(buf->data, buf->head.bytes, &conn->secret);
	} else if (buf->head.kind == PRAAS_FRAME_CHALLENGE && conn->accepted) {
		memcpy(conn->secret.server_nonce, buf->data, PRAAS_NONCE_BYTES);
		rc = make_keys(conn);
		if (rc == 0)
			conn->state = PRAAS_SEALED_LIVE;
	} else if (buf->head.kind != PRAAS_FRAME_CLOSE) {
		rc = -EPROTO;
	}
	return rc;
}

/* A frame of the handshake has come. 0; errno. */
static int look_in(struct praas_sealed_conn *conn, const struct praas_buf *buf)
{
	struct praas_sealed_port *port = praas_sealed_port_of(conn);
	int rc = 0;

	if (buf->head.kind == PRAAS_FRAME_SEALED)
		return -EPROTO;
	if (buf->head.kind == PRAAS_FRAME_HELLO && conn->accepted && !conn->has_key) {
		conn->hello_aux = buf->head.aux;
		/* What is wrong with it the layer above says. */
		conn->has_key = praas_hello_decode(buf->data, buf->head.bytes,
						   &conn->secret) == 0 &&
				port->config.accept_key(port->config.accept_user,
							conn->secret.ticket,
							conn->secret.session_key) == 0;
	} else if (buf->head.kind == PRAAS_FRAME_CHALLENGE && !conn->accepted &&
		   buf->head.bytes == PRAAS_CHALLENGE_BYTES) {
		memcpy(conn->secret.server_nonce, buf->data, PRAAS_NONCE_BYTES);
		rc = make_keys(conn);
		if (rc == 0) {
			conn->state = PRAAS_SEALED_LIVE;
			conn->inner->bytes_max = PRAAS_SEALED_RECORD_MAX;
		}
	}
	return rc;
}

/* ---- what the transport below says ---- */

static void on_opened(void *user, struct praas_conn *inner)
{
	struct praas_sealed_conn *conn = user;

	(void)inner;
	if (conn->base.secret) {
		memcpy(conn->secret.session_key, conn->base.secret->session_key,
		       PRAAS_KEY_BYTES);
		conn->has_key = true;
	}
	conn->base.events->opened(conn->base.user, &conn->base);
}

static void on_frame(void *user, struct praas_conn *inner, struct praas_buf *buf)
{
	struct praas_sealed_conn *conn = user;
	int rc;

	(void)inner;
	if (praas_likely(conn->seal_in)) {
		if (buf->head.kind == PRAAS_FRAME_SEALED ||
		    (buf->head.kind == PRAAS_FRAME_WELCOME && !conn->accepted)) {
			praas_sealed_on_record(conn, buf);
			return;
		}
		rc = -EPROTO;
	} else {
		rc = look_in(conn, buf);
	}
	if (rc != 0) {
		praas_sealed_port_of(conn)->base.protocol_errors++;
		praas_buf_release(buf);
		praas_sealed_end(conn, rc);
		return;
	}
	buf->head.source = conn->base.peer_source;
	conn->base.events->frame(conn->base.user, &conn->base, buf);
}

static void on_sent(void *user, struct praas_conn *inner, struct praas_buf *buf, int rc)
{
	struct praas_sealed_conn *conn = user;

	(void)inner;
	if (buf->head.kind == PRAAS_FRAME_SEALED)
		praas_sealed_on_sent(conn, buf);
	else
		praas_send_tell(&conn->base, conn->quiet, buf, rc);
}

static void on_closed(void *user, struct praas_conn *inner, int rc)
{
	struct praas_sealed_conn *conn = user;

	(void)inner;
	conn->inner = NULL;
	if (rc == 0 && conn->seal_in && !conn->end_in)
		rc = -ECONNRESET; /* anybody could have said that this is the end */
	praas_sealed_end(conn, rc);
}

const struct praas_conn_events praas_sealed_inner_events = {
	.opened = on_opened,
	.frame = on_frame,
	.sent = on_sent,
	.closed = on_closed,
};

/* ---- accepting ---- */

static void on_accepted(void *user, struct praas_conn *inner)
{
	struct praas_sealed_port *port = user;
	struct praas_sealed_conn *conn;

	if (praas_sealed_conn_new(port, &conn) != 0) {
		inner->ops->close(inner, false);
		return;
	}
	conn->accepted = true;
	conn->inner = inner;
	praas_conn_set_events(&conn->base, port->config.accept_events,
			      port->config.accept_user);
	praas_conn_set_events(inner, &praas_sealed_inner_events, conn);
	conn->base.events->opened(conn->base.user, &conn->base);
}

/* Before it opened nothing comes, and nobody was told of it. */
static void on_early_frame(void *user, struct praas_conn *inner, struct praas_buf *buf)
{
	(void)user;
	praas_buf_release(buf);
	inner->ops->close(inner, false);
}

static void on_early_sent(void *user, struct praas_conn *inner, struct praas_buf *buf,
			  int rc)
{
	(void)user;
	(void)inner;
	(void)buf;
	(void)rc;
}

static void on_early_closed(void *user, struct praas_conn *inner, int rc)
{
	(void)user;
	(void)inner;
	(void)rc;
}

const struct praas_conn_events praas_sealed_accept_events = {
	.opened = on_accepted,
	.frame = on_early_frame,
	.sent = on_early_sent,
	.closed = on_early_closed,
};
