/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal/base.h"
#include "praas/client.h"
#include "transport/handshake.h"
#include "transport/mac.h"

/*
 * The server's half. A session exists as long as its connection and is freed when the transport
 * says that the connection ended, whoever ended it. Pending and authenticated sessions are in one
 * list; tick() walks it only when the earliest date in it has come.
 *
 *   HELLO ──ticket good──▶ PROOF ──proof good──▶ LIVE ──ticket expired──▶ GRACE ──10 s──▶ end
 *     └────────────── wrong, or out of time: CLOSE, end ──┘
 */

#define HANDSHAKE_TIMEOUT_NS UINT64_C(5000000000)
#define GRACE_NS UINT64_C(10000000000)
#define SECOND_NS UINT64_C(1000000000)
#define UNTOLD_NS UINT64_C(5000000) /* a queue that was full is tried again after */
#define NEVER UINT64_MAX

enum session_state {
	STATE_HELLO, /* waits for the ticket */
	STATE_PROOF, /* waits for the client's proof */
	STATE_LIVE,  /* events belong to the layer above */
	STATE_GRACE  /* the same, told to get a new ticket */
};

struct session {
	struct praas_session_server *server;
	struct praas_conn *conn;
	struct session *prev, *next;
	enum session_state state;
	bool follows;    /* as HELLO said */
	bool members;    /* the same */
	bool untold;     /* of the last change of the members: there was no room */
	bool told;       /* where the process has moved to */
	uint64_t due_ns; /* handshake must be done; ticket ends; grace ends */
	struct praas_ticket ticket;    /* verified, from PROOF on */
	struct praas_handshake secret; /* wiped when LIVE */
};

struct praas_session_server {
	struct praas_session_server_config config;
	struct praas_mac *mac; /* keyed with the controller's key */
	struct session *first;
	uint64_t next_due_ns;
	uint8_t welcome[PRAAS_WELCOME_MAX];
	uint64_t welcome_bytes;
	bool members_known, members_wanted;
	bool moved; /* the process lives elsewhere: */
	uint32_t moved_epoch;
	struct praas_moved where;
};

static void schedule(struct session *s, uint64_t due_ns)
{
	s->due_ns = due_ns;
	s->server->next_due_ns = praas_min_u64(s->server->next_due_ns, due_ns);
}

/* The connection is gone: of the session nothing is left. */
static void on_ended(void *watcher)
{
	struct session *s = watcher;

	if (s->prev)
		s->prev->next = s->next;
	else
		s->server->first = s->next;
	if (s->next)
		s->next->prev = s->prev;
	praas_mac_wipe(&s->secret, sizeof(s->secret));
	free(s);
}

static bool is_live(const struct session *s)
{
	return s->state == STATE_LIVE || s->state == STATE_GRACE;
}

/* Sends one frame of ours. 0, or why it could not be. */
static int reply(struct session *s, const struct praas_frame *head, const void *data)
{
	struct praas_buf *buf;
	int rc = s->conn->ops->alloc(s->conn, head->bytes, &buf);

	if (rc != 0)
		return rc;
	buf->head = *head;
	buf->head.epoch = s->server->config.welcome.epoch;
	if (data)
		memcpy(buf->data, data, head->bytes);
	return praas_conn_send_or_release(s->conn, buf);
}

static void tell_close(struct session *s, int why)
{
	enum praas_close_reason reason = praas_close_reason_of(why);
	struct praas_frame head = { .kind = PRAAS_FRAME_CLOSE,
				    .status = praas_close_status(reason),
				    .aux = reason };

	(void)reply(s, &head, NULL); /* the connection ends anyway */
}

/* Refuses an unauthenticated connection; s is gone after it. */
static PRAAS_COLD void refuse(struct session *s, int why)
{
	tell_close(s, why);
	s->conn->ops->close(s->conn, true);
}

static int on_hello(struct session *s, const struct praas_buf *buf)
{
	struct praas_session_server *server = s->server;
	struct praas_ticket_expect expect = server->config.expect;
	uint8_t challenge[PRAAS_CHALLENGE_BYTES];
	struct praas_frame head = { .kind = PRAAS_FRAME_CHALLENGE,
				    .bytes = sizeof(challenge) };
	struct timespec now;
	int rc = praas_hello_decode(buf->data, buf->head.bytes, &s->secret);

	if (rc != 0)
		return rc;
	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
	expect.now_s = (uint64_t)now.tv_sec;
	rc = praas_ticket_verify_keyed(server->mac, s->secret.ticket,
				       PRAAS_TICKET_BYTES, &expect, &s->ticket,
				       s->secret.session_key);
	if (rc != 0)
		return rc;
	rc = praas_handshake_nonce(s->secret.server_nonce);
	if (rc != 0)
		return rc;
	memcpy(challenge, s->secret.server_nonce, PRAAS_NONCE_BYTES);
	rc = praas_handshake_proof(&s->secret, true, challenge + PRAAS_NONCE_BYTES);
	if (rc != 0)
		return rc;
	s->follows = (buf->head.aux & PRAAS_HELLO_FOLLOWS) != 0;
	s->members = (buf->head.aux & PRAAS_HELLO_MEMBERS) != 0;
	s->state = STATE_PROOF;
	return reply(s, &head, challenge);
}

/* When, on the monotonic clock, the ticket ends. */
static uint64_t expiry_ns(const struct praas_ticket *ticket)
{
	struct timespec now;
	uint64_t left_s, now_ns = praas_now_ns();

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
	if (ticket->expires_s <= (uint64_t)now.tv_sec)
		return now_ns; /* within the allowed skew */
	left_s = ticket->expires_s - (uint64_t)now.tv_sec;
	/* A hundred years: beyond that, never. */
	return left_s > UINT64_C(3155760000) ? NEVER : now_ns + left_s * SECOND_NS;
}

static const struct praas_conn_events pending_events;

/* The same rights for as long, in another epoch. */
static int say_moved(struct session *s)
{
	struct praas_session_server *server = s->server;
	struct praas_frame head = { .kind = PRAAS_FRAME_EVENT,
				    .aux = PRAAS_EVENT_MOVED };
	uint8_t old[PRAAS_TICKET_BYTES], key[PRAAS_KEY_BYTES];
	uint8_t data[PRAAS_MOVED_BYTES_MAX], random[PRAAS_NONCE_BYTES];
	struct praas_moved moved = server->where;
	struct praas_ticket ticket = s->ticket;
	int rc = praas_handshake_nonce(random);

	ticket.epoch = server->moved_epoch;
	memcpy(ticket.jti, random, sizeof(ticket.jti));
	if (rc == 0) /* its key was wiped, and is found again */
		rc = praas_ticket_issue_keyed(server->mac, &s->ticket, old, key);
	if (rc == 0)
		rc = praas_ticket_issue_keyed(server->mac, &ticket, moved.secret.ticket,
					      moved.secret.session_key);
	if (rc == 0)
		rc = praas_moved_encode(&moved, key, data, &head.bytes);
	praas_mac_wipe(key, sizeof(key));
	praas_mac_wipe(&moved.secret, sizeof(moved.secret));
	return rc == 0 ? reply(s, &head, data) : rc;
}

/* Who cannot be told is closed: s is gone then. */
static void tell_moved(struct session *s)
{
	struct praas_conn *conn = s->conn;

	s->told = say_moved(s) == 0;
	if (s->told)
		return;
	conn->events->closed(conn->user, conn, -ESTALE);
	praas_conn_set_events(conn, &pending_events, NULL);
	conn->ops->close(conn, true);
}

static void tell_members(struct session *s)
{
	struct praas_frame head = { .kind = PRAAS_FRAME_EVENT,
				    .aux = PRAAS_EVENT_MEMBERS };

	s->untold = reply(s, &head, NULL) != 0;
	if (praas_unlikely(s->untold))
		s->server->next_due_ns = praas_min_u64(s->server->next_due_ns,
						       praas_now_ns() + UNTOLD_NS);
}

/* What there is now is told, too: who looks after that misses nothing. */
static PRAAS_COLD void want_members(struct session *s)
{
	struct praas_session_server *server = s->server;

	if (!server->config.members)
		return;
	if (server->members_known)
		tell_members(s);
	else
		server->config.members(server->config.user);
	server->members_wanted = true;
}

static int on_proof(struct session *s, const struct praas_buf *buf)
{
	const struct praas_session_server_config *config = &s->server->config;
	struct praas_frame head = { .kind = PRAAS_FRAME_WELCOME,
				    .aux = PRAAS_WELCOME_PROBES,
				    .bytes = s->server->welcome_bytes };
	struct praas_conn *conn = s->conn;
	uint64_t bytes_max = config->welcome.bytes_max;
	int rc;

	if (buf->head.bytes != PRAAS_PROOF_BYTES)
		return -EPROTO;
	rc = praas_handshake_check(&s->secret, false, buf->data);
	if (rc != 0)
		return rc;
	praas_mac_wipe(&s->secret, sizeof(s->secret));
	if (s->ticket.bytes_max != 0)
		bytes_max = praas_min_u64(bytes_max, s->ticket.bytes_max);
	/* The client is told its own limit, not the process's. */
	praas_put_u64(s->server->welcome + 16, bytes_max);
	conn->bytes_max = bytes_max;
	conn->peer_source = s->ticket.source;
	conn->peer_rights = s->ticket.rights;
	/* What it would be told must fit. */
	conn->peer_follows = s->follows && bytes_max >= PRAAS_MOVED_BYTES_MAX;
	s->state = STATE_LIVE;
	schedule(s, expiry_ns(&s->ticket));
	rc = reply(s, &head, s->server->welcome);
	if (rc != 0)
		return rc;
	praas_conn_set_events(conn, config->events, config->user);
	config->events->opened(config->user, conn);
	if (praas_unlikely(s->members))
		want_members(s);
	if (praas_unlikely(s->server->moved) && conn->peer_follows)
		tell_moved(s); /* it came too late */
	return 0;
}

static void on_frame(void *user, struct praas_conn *conn, struct praas_buf *buf)
{
	struct session *s = user;
	int rc = -EPROTO;

	(void)conn;
	if (s->state == STATE_HELLO && buf->head.kind == PRAAS_FRAME_HELLO)
		rc = on_hello(s, buf);
	else if (s->state == STATE_PROOF && buf->head.kind == PRAAS_FRAME_PROOF)
		rc = on_proof(s, buf);
	praas_buf_release(buf);
	if (rc != 0)
		refuse(s, rc);
}

static void on_sent(void *user, struct praas_conn *conn, struct praas_buf *buf, int rc)
{
	(void)user;
	(void)conn;
	(void)buf;
	(void)rc; /* a connection that cannot send will be closed, or time out */
}

static void on_closed(void *user, struct praas_conn *conn, int rc)
{
	(void)user;
	(void)conn;
	(void)rc; /* the session is freed by on_ended */
}

static void on_reopened(void *user, struct praas_conn *conn)
{
	(void)user;
	(void)conn;
}

static const struct praas_conn_events pending_events = {
	.opened = on_reopened,
	.frame = on_frame,
	.sent = on_sent,
	.closed = on_closed,
};

static void on_accepted(void *user, struct praas_conn *conn)
{
	struct praas_session_server *server = user;
	struct session *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		conn->ops->close(conn, false);
		return;
	}
	s->server = server;
	s->conn = conn;
	s->next = server->first;
	if (s->next)
		s->next->prev = s;
	server->first = s;
	conn->ended = on_ended;
	conn->watcher = s;
	praas_conn_set_events(conn, &pending_events, s);
	schedule(s, praas_now_ns() + server->config.handshake_timeout_ns);
}

/* Before on_accepted() nothing comes; after it the events are others. */
static void on_early_frame(void *user, struct praas_conn *conn, struct praas_buf *buf)
{
	(void)user;
	praas_buf_release(buf);
	conn->ops->close(conn, false);
}

static const struct praas_conn_events accept_events = {
	.opened = on_accepted,
	.frame = on_early_frame,
	.sent = on_sent,
	.closed = on_closed,
};

const struct praas_conn_events *praas_session_server_events(void)
{
	return &accept_events;
}

/* Any ticket of ours opens the channel; HELLO in it verifies what it says, and the answer says what
 * is wrong with it. */
int praas_session_server_key(void *server, const uint8_t *ticket, uint8_t *ret_key)
{
	struct praas_session_server *s = server;

	return praas_ticket_session_key(s->mac, ticket, PRAAS_TICKET_BYTES, ret_key);
}

int praas_session_server_new(const struct praas_session_server_config *config,
			     struct praas_session_server **ret_server)
{
	struct praas_session_server *server;
	int rc;

	if (config->welcome.functions_count > PRAAS_FUNCTIONS_MAX)
		return -EINVAL;
	for (uint32_t i = 0; i < config->welcome.functions_count; i++) {
		size_t n = strnlen(config->welcome.functions[i], PRAAS_NAME_MAX + 1);

		if (n == 0 || n > PRAAS_NAME_MAX)
			return -EINVAL;
	}
	server = calloc(1, sizeof(*server));
	if (server == NULL)
		return -ENOMEM;
	server->config = *config;
	server->next_due_ns = NEVER;
	if (server->config.handshake_timeout_ns == 0)
		server->config.handshake_timeout_ns = HANDSHAKE_TIMEOUT_NS;
	rc = praas_mac_new(config->controller_key, &server->mac);
	if (rc != 0) {
		free(server);
		return rc;
	}
	praas_mac_wipe(server->config.controller_key, PRAAS_KEY_BYTES);
	server->welcome_bytes = praas_welcome_bytes(&config->welcome);
	praas_welcome_encode(&config->welcome, server->welcome);
	server->config.welcome.functions = NULL; /* encoded; borrowed no longer */
	server->config.welcome.function_flags = NULL;
	*ret_server = server;
	return 0;
}

/* The ticket has ended and so has the grace. */
static PRAAS_COLD void expire(struct session *s)
{
	struct praas_conn *conn = s->conn;

	tell_close(s, -EKEYEXPIRED);
	conn->events->closed(conn->user, conn, -EKEYEXPIRED);
	praas_conn_set_events(conn, &pending_events, NULL);
	conn->ops->close(conn, true);
}

void praas_session_server_draining(struct praas_session_server *server, bool moves)
{
	struct praas_frame head = { .kind = PRAAS_FRAME_EVENT,
				    .aux = PRAAS_EVENT_DRAINING };
	struct session *s, *next;

	for (s = server->first; s; s = next) {
		next = s->next;
		if (is_live(s) && !(moves && s->conn->peer_follows))
			(void)reply(s, &head, NULL); /* only a word in time */
	}
}

void praas_session_server_members(struct praas_session_server *server)
{
	struct session *s, *next;

	server->members_known = true;
	for (s = server->first; server->members_wanted && s; s = next) {
		next = s->next;
		if (is_live(s) && s->members && !s->told)
			tell_members(s);
	}
}

void praas_session_server_moved(struct praas_session_server *server, uint32_t epoch,
				const struct praas_moved *where)
{
	struct session *s, *next;

	server->moved = true;
	server->moved_epoch = epoch;
	server->where = *where;
	for (s = server->first; s; s = next) {
		next = s->next;
		if (is_live(s) && s->conn->peer_follows)
			tell_moved(s);
	}
}

bool praas_session_server_left(const struct praas_session_server *server)
{
	for (const struct session *s = server->first; s; s = s->next)
		if (s->told)
			return true;
	return false;
}

static void on_due(struct session *s, uint64_t now_ns)
{
	struct praas_frame head = { .kind = PRAAS_FRAME_EVENT,
				    .aux = PRAAS_EVENT_REAUTH };

	switch (s->state) {
	case STATE_HELLO:
	case STATE_PROOF:
		refuse(s, -ETIMEDOUT);
		break;
	case STATE_LIVE:
		(void)reply(s, &head,
			    NULL); /* only a warning; the end comes all the same */
		s->state = STATE_GRACE;
		schedule(s, now_ns + GRACE_NS);
		break;
	case STATE_GRACE:
		expire(s);
		break;
	}
}

void praas_session_server_tick(struct praas_session_server *server, uint64_t now_ns)
{
	struct session *s, *next;

	if (praas_unlikely(server->members_wanted && !server->members_known))
		server->config.members(server->config.user);
	if (praas_likely(now_ns < server->next_due_ns))
		return;
	server->next_due_ns = NEVER;
	for (s = server->first; s != NULL; s = next) {
		next = s->next; /* on_due() may free s, and no other */
		if (praas_unlikely(s->untold) && is_live(s) && !s->told)
			tell_members(s);
		if (s->due_ns <= now_ns)
			on_due(s, now_ns);
		else
			server->next_due_ns =
				praas_min_u64(server->next_due_ns, s->due_ns);
	}
}

uint64_t praas_session_server_due_ns(const struct praas_session_server *server)
{
	return server->first != NULL ? server->next_due_ns : NEVER;
}

void praas_session_server_free(struct praas_session_server *server)
{
	if (server == NULL)
		return;
	/* Connections that outlive the server are nobody's business any more. */
	while (server->first != NULL) {
		/* on_ended() has unlinked the one before: the first has no prev. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): see above */
		server->first->conn->ended = NULL;
		if (server->first->state < STATE_LIVE)
			server->first->conn->ops->close(server->first->conn, false);
		on_ended(server->first);
	}
	praas_mac_free(server->mac);
	praas_mac_wipe(server, sizeof(*server));
	free(server);
}
