/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"
#include "transport/handshake.h"
#include "transport/mac.h"

/*
 * The client's half of the handshake. The object lives from connect to WELCOME, or to the
 * connection's end; then the connection's events are the caller's own.
 */

struct client {
	struct praas_session_client_config config;
	struct praas_handshake secret;
	struct praas_ticket_secret shown; /* to a transport that encrypts */
	bool challenged;                  /* the server has proved itself */
	char functions[PRAAS_FUNCTIONS_MAX][PRAAS_NAME_MAX + 1];
	uint8_t flags[PRAAS_FUNCTIONS_MAX];
};

static void client_free(void *watcher)
{
	struct client *c = watcher;

	praas_mac_wipe(&c->secret, sizeof(c->secret));
	praas_mac_wipe(&c->shown, sizeof(c->shown));
	praas_mac_wipe(c->config.session_key, PRAAS_KEY_BYTES);
	free(c);
}

static int say(struct praas_conn *conn, uint8_t kind, uint64_t aux, const uint8_t *data,
	       uint64_t bytes)
{
	struct praas_buf *buf;
	int rc = conn->ops->alloc(conn, bytes, &buf);

	if (rc != 0)
		return rc;
	buf->head = (struct praas_frame){ .kind = kind, .bytes = bytes, .aux = aux };
	memcpy(buf->data, data, bytes);
	return praas_conn_send_or_release(conn, buf);
}

/* Ends the connection; the caller hears it once. */
static void fail(struct client *c, struct praas_conn *conn, int rc)
{
	c->config.events->closed(c->config.user, conn, rc);
	conn->ops->close(conn, false);
}

static void on_opened(void *user, struct praas_conn *conn)
{
	struct client *c = user;
	uint8_t hello[PRAAS_HELLO_BYTES];
	int rc;

	conn->secret = NULL;
	praas_mac_wipe(&c->shown, sizeof(c->shown));
	conn->bytes_max = PRAAS_WELCOME_MAX;
	rc = praas_handshake_nonce(c->secret.client_nonce);
	if (rc == 0) {
		praas_hello_encode(&c->secret, hello);
		rc = say(conn, PRAAS_FRAME_HELLO,
			 (c->config.follows ? PRAAS_HELLO_FOLLOWS : 0) |
				 (c->config.members ? PRAAS_HELLO_MEMBERS : 0),
			 hello, sizeof(hello));
	}
	if (rc != 0)
		fail(c, conn, rc);
}

static int on_challenge(struct client *c, struct praas_conn *conn,
			const struct praas_buf *buf)
{
	uint8_t proof[PRAAS_KEY_BYTES];
	int rc;

	if (buf->head.bytes != PRAAS_CHALLENGE_BYTES)
		return -EPROTO;
	memcpy(c->secret.server_nonce, buf->data, PRAAS_NONCE_BYTES);
	rc = praas_handshake_check(&c->secret, true, buf->data + PRAAS_NONCE_BYTES);
	if (rc != 0)
		return rc;
	c->challenged = true;
	rc = praas_handshake_proof(&c->secret, false, proof);
	if (rc != 0)
		return rc;
	return say(conn, PRAAS_FRAME_PROOF, 0, proof, sizeof(proof));
}

static int on_welcome(struct client *c, struct praas_conn *conn,
		      const struct praas_buf *buf)
{
	struct praas_session_client_config config = c->config;
	struct praas_welcome welcome;
	int rc = praas_welcome_decode(buf->data, buf->head.bytes, c->functions,
				      c->flags, &welcome);

	if (rc != 0)
		return rc;
	conn->bytes_max = welcome.bytes_max;
	conn->peer_source = welcome.pid;
	welcome.probes = (buf->head.aux & PRAAS_WELCOME_PROBES) != 0;
	if (config.welcome)
		config.welcome(config.user, &welcome);
	praas_mac_wipe(config.session_key, sizeof(config.session_key));
	praas_conn_set_events(conn, config.events, config.user);
	conn->ended = NULL;
	client_free(c);
	config.events->opened(config.user, conn);
	return 0;
}

static void on_frame(void *user, struct praas_conn *conn, struct praas_buf *buf)
{
	struct client *c = user;
	int rc = -EPROTO;

	if (buf->head.kind == PRAAS_FRAME_CHALLENGE && !c->challenged)
		rc = on_challenge(c, conn, buf);
	else if (buf->head.kind == PRAAS_FRAME_WELCOME && c->challenged)
		rc = on_welcome(c, conn, buf);
	else if (buf->head.kind == PRAAS_FRAME_CLOSE)
		rc = praas_close_errno(buf->head.aux);
	praas_buf_release(buf);
	if (rc != 0)
		fail(c, conn, rc);
}

static void on_sent(void *user, struct praas_conn *conn, struct praas_buf *buf, int rc)
{
	(void)user;
	(void)conn;
	(void)buf;
	(void)rc; /* the transport will close if it cannot send */
}

static void on_closed(void *user, struct praas_conn *conn, int rc)
{
	struct client *c = user;

	/* In order, but before the handshake was done: not what was asked for. */
	c->config.events->closed(c->config.user, conn, rc == 0 ? -ECONNRESET : rc);
}

static const struct praas_conn_events client_events = {
	.opened = on_opened,
	.frame = on_frame,
	.sent = on_sent,
	.closed = on_closed,
};

int praas_session_connect(struct praas_port *port, const char *addr,
			  const struct praas_session_client_config *config,
			  struct praas_conn **ret_conn)
{
	struct client *c = calloc(1, sizeof(*c));
	struct praas_conn *conn;
	int rc;

	if (c == NULL)
		return -ENOMEM;
	c->config = *config;
	memcpy(c->secret.ticket, config->ticket, PRAAS_TICKET_BYTES);
	memcpy(c->secret.session_key, config->session_key, PRAAS_KEY_BYTES);
	memcpy(c->shown.ticket, config->ticket, PRAAS_TICKET_BYTES);
	memcpy(c->shown.session_key, config->session_key, PRAAS_KEY_BYTES);
	rc = port->ops->connect(port, addr, &client_events, c, &conn);
	if (rc != 0) {
		client_free(c);
		return rc;
	}
	conn->secret = &c->shown;
	conn->ended = client_free;
	conn->watcher = c;
	*ret_conn = conn;
	return 0;
}
