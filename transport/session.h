/* SPDX-License-Identifier: Apache-2.0
 *
 * The handshake over any transport: HELLO (ticket, client nonce), CHALLENGE (server nonce,
 * server's proof), PROOF (client's proof), WELCOME (what the process offers). Both proofs are
 * HMACs under the session key over both nonces and the ticket (docs/wire-format.md), so each side
 * knows that the other holds the key, now. When it is done the connection's events are those of
 * the layer above, directly: a session costs nothing per frame. It also ends connections whose
 * ticket has expired (REAUTH event first, then close after a grace of 10 s).
 */
#ifndef PRAAS_TRANSPORT_SESSION_H
#define PRAAS_TRANSPORT_SESSION_H

#include <stdint.h>

#include "transport/moved.h"
#include "transport/ticket.h"
#include "transport/transport.h"

#define PRAAS_NONCE_BYTES 32u
#define PRAAS_FUNCTIONS_MAX 1024u

/* What WELCOME tells; encoded as in docs/wire-format.md. */
struct praas_welcome {
	uint64_t pid;
	uint32_t epoch;
	uint64_t bytes_max;    /* largest payload either way */
	uint32_t inflight_max; /* invocations this connection may have under way */
	uint32_t functions_count;
	const char (*functions)[PRAAS_NAME_MAX + 1]; /* names by number; borrowed */
	/* By number: PRAAS_FUNCTION_…, one byte a function, travels with the name. Borrowed;
	 * NULL: all 0. */
	const uint8_t *function_flags;
	bool probes; /* as a client: the other side knows PROBE */
};
#define PRAAS_FUNCTION_DIRECT                                                          \
	0x01u /* may be called past the controller (transport/shm.h) */

struct praas_session_server; /* accepts for one process */
struct praas_session_server_config {
	uint8_t controller_key[PRAAS_KEY_BYTES];
	struct praas_ticket_expect expect; /* now_s is filled in by the session */
	struct praas_welcome welcome;
	uint64_t handshake_timeout_ns; /* 0: 5 s */
	/* Of authenticated connections. opened() is called after WELCOME was handed to the
	 * transport; conn->peer_source, peer_rights, bytes_max are set. When the ticket has
	 * ended, closed(-EKEYEXPIRED) is the last call: sent() is not told for what is queued
	 * then. Buffers that the layer above did not send are not its business in sent(). */
	const struct praas_conn_events *events;
	void *user;
	/* Somebody wants to hear of the members: praas_session_server_members() is to be called when they
	 * are known, and when they change. Called again until then. NULL: nobody does that. */
	void (*members)(void *user);
};
int praas_session_server_new(const struct praas_session_server_config *config,
			     struct praas_session_server **ret_server);
/* accept_events and accept_key for the ports that serve this process; the server is accept_user. */
const struct praas_conn_events *praas_session_server_events(void);
int praas_session_server_key(void *server, const uint8_t *ticket, uint8_t *ret_key);
/* Tells all authenticated connections that the process is being swapped out; who cannot take it now
 * is not told. moves: it moves, and those that follow learn of it when it has. */
void praas_session_server_draining(struct praas_session_server *server, bool moves);
/* The members of the application are known, or others than before: those that want to hear of it do. Who
 * cannot take it now is told when it can. */
void praas_session_server_members(struct praas_session_server *server);
/* It has moved: those that follow are told where to, with tickets for that epoch, behind all that was sent to them
 * before. Who cannot take it now is closed. The secret in where is not looked at. */
void praas_session_server_moved(struct praas_session_server *server, uint32_t epoch,
				const struct praas_moved *where);
/* Somebody who was told so is still here. */
bool praas_session_server_left(const struct praas_session_server *server);
/* Timeouts and expiry; call now and then (every 10 ms is plenty). */
void praas_session_server_tick(struct praas_session_server *server, uint64_t now_ns);
/* When tick() has something to do next, CLOCK_MONOTONIC; UINT64_MAX: never. */
uint64_t praas_session_server_due_ns(const struct praas_session_server *server);
void praas_session_server_free(struct praas_session_server *server);

struct praas_session_client_config {
	uint8_t ticket[PRAAS_TICKET_BYTES];
	uint8_t session_key[PRAAS_KEY_BYTES];
	bool follows; /* the process's move (EVENT MOVED, transport/moved.h) */
	bool members; /* wants EVENT MEMBERS */
	/* opened(): authenticated; closed(): -EACCES refused, -ESTALE epoch, … */
	const struct praas_conn_events *events;
	void *user;
	/* Called before opened() with the welcome; functions are borrowed for the call. */
	void (*welcome)(void *user, const struct praas_welcome *welcome);
};
/* Connects through ops->connect and does the handshake. As connect in its outcome. */
int praas_session_connect(struct praas_port *port, const char *addr,
			  const struct praas_session_client_config *config,
			  struct praas_conn **ret_conn);

#endif
