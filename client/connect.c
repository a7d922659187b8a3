/* SPDX-License-Identifier: Apache-2.0 */
#include "client/connection.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ticket_json.h"
#include "internal/base.h"

/* Making and ending connections. Each has a port of its own: connections share nothing, so
 * each may be another thread's. */

#define SCHEME_BYTES 32u /* of a transport's name, and more */

static const struct praas_connect_config config_default = { .transport = "auto" };

/* ---- what the handshake tells ------------------------------------------------------------ */

static void on_welcome(void *user, const struct praas_welcome *welcome)
{
	struct praas_connection *conn = user;

	conn->pid = welcome->pid;
	conn->epoch = welcome->epoch;
	conn->bytes_max = welcome->bytes_max;
	conn->inflight_limit = welcome->inflight_max;
	free(conn->functions);
	conn->functions_count = 0;
	conn->functions =
		calloc((size_t)welcome->functions_count + 1, sizeof(*conn->functions));
	if (!conn->functions)
		return; /* opened() is followed by a check */
	conn->functions_count = welcome->functions_count;
	for (uint32_t i = 0; i < welcome->functions_count; i++) {
		memcpy(conn->functions[i].name, welcome->functions[i],
		       PRAAS_NAME_MAX + 1);
		if (welcome->function_flags)
			conn->functions[i].flags = welcome->function_flags[i];
	}
}

/* ---- one endpoint ------------------------------------------------------------------------- */

static void close_port(struct praas_connection *conn)
{
	if (conn->port)
		conn->ops->free(conn->port);
	conn->port = NULL;
	conn->link = NULL;
}

static int open_port(struct praas_connection *conn, const char *addr)
{
	struct praas_port_config config = { .conns_max = 1 };
	int rc;

	conn->ops = praas_transport_find(addr);
	if (!conn->ops)
		return -EOPNOTSUPP;
	conn->transport = conn->ops->scheme;
	if (strcmp(conn->transport, "shm") != 0) {
		rc = conn->heap ? 0 : praas_heap_new(NULL, &conn->heap);
		if (rc != 0)
			return rc;
		config.memory = praas_heap_memory(conn->heap);
	}
	rc = conn->ops->open(&config, &conn->port);
	if (rc != 0)
		close_port(conn);
	return rc;
}

/* Polls until the handshake has ended, well or badly. */
static int handshake(struct praas_connection *conn, uint64_t until_ns)
{
	while (!conn->opened && conn->closed_rc == 0) {
		struct pollfd fd = { .events = POLLIN };
		uint64_t now;

		if (conn->ops->poll(conn->port, 16) != 0)
			continue;
		now = praas_now_ns();
		if (now >= until_ns)
			return -ETIMEDOUT;
		if (conn->ops->arm(conn->port, &fd.fd) == 0)
			(void)poll(&fd, 1,
				   1); /* short: it is polling, once a connection */
	}
	return conn->closed_rc; /* it may have opened and ended in one poll */
}

/* What is sent over the others is not kept. */
static bool can_follow(const char *scheme)
{
	return strcmp(scheme, "shm") == 0 || strcmp(scheme, "tcp") == 0 ||
	       strcmp(scheme, "tls") == 0;
}

static int try_endpoint(struct praas_connection *conn, const char *addr,
			const struct praas_ticket_json *ticket, uint64_t until_ns)
{
	struct praas_session_client_config config = { .events = &praas_client_events,
						      .user = conn,
						      .welcome = on_welcome };
	struct praas_conn *link;
	int rc = open_port(conn, addr);

	if (rc != 0)
		return rc;
	memcpy(config.ticket, ticket->ticket, sizeof(config.ticket));
	memcpy(config.session_key, ticket->session_key, sizeof(config.session_key));
	memcpy(conn->session_key, ticket->session_key, sizeof(conn->session_key));
	conn->follows = !conn->no_follow && can_follow(conn->transport);
	config.follows = conn->follows;
	config.members = conn->members;
	conn->closed_rc = 0;
	conn->opened = false; /* that was the endpoint before */
	rc = praas_session_connect(conn->port, addr, &config, &link);
	explicit_bzero(&config, sizeof(config));
	if (rc == 0)
		rc = handshake(conn, until_ns);
	if (rc == 0 && !conn->functions)
		rc = -ENOMEM;
	if (rc != 0)
		close_port(conn);
	return rc;
}

/* What the process itself has said; another road leads to the same. */
static bool is_answer(int rc)
{
	return rc == 0 || rc == -EACCES || rc == -ESTALE || rc == -EKEYEXPIRED;
}

int praas_connect_scheme(struct praas_connection *conn, const char *scheme,
			 const struct praas_ticket_json *ticket, uint64_t until_ns)
{
	size_t length = strlen(scheme);
	int rc = -EOPNOTSUPP;

	for (uint32_t i = 0; i < ticket->endpoints_count && rc != 0; i++) {
		const char *addr = ticket->endpoints[i];

		if (strncmp(addr, scheme, length) != 0 ||
		    strncmp(addr + length, "://", 3) != 0)
			continue;
		rc = try_endpoint(conn, addr, ticket, until_ns);
		if (is_answer(rc))
			break;
	}
	return rc;
}

static bool has_scheme(const struct praas_ticket_json *ticket, const char *scheme)
{
	size_t length = strlen(scheme);

	for (uint32_t i = 0; i < ticket->endpoints_count; i++)
		if (strncmp(ticket->endpoints[i], scheme, length) == 0 &&
		    strncmp(ticket->endpoints[i] + length, "://", 3) == 0)
			return true;
	return false;
}

/* The first transport from index on that is offered and may be chosen, or the end. */
static unsigned next_offered(const struct praas_ticket_json *ticket, unsigned index)
{
	/* Where there is a way in TLS there is no way in the clear. */
	bool sealed = has_scheme(ticket, "tls");
	const struct praas_transport_ops *ops;

	for (; (ops = praas_transport_at(index)) != NULL; index++)
		if ((ops->sealed || !sealed) && has_scheme(ticket, ops->scheme))
			break;
	return index;
}

/* Who says "verbs" takes it sealed from a process that offers it in no other way. */
static const char *variant_of(const char *scheme,
			      const struct praas_ticket_json *ticket,
			      char ret_sealed[SCHEME_BYTES])
{
	int n = snprintf(ret_sealed, SCHEME_BYTES, "%s+sealed", scheme);

	return n < (int)SCHEME_BYTES && !has_scheme(ticket, scheme) &&
			       has_scheme(ticket, ret_sealed)
		       ? ret_sealed
		       : scheme;
}

static int choose(struct praas_connection *conn,
		  const struct praas_connect_config *config,
		  const struct praas_ticket_json *ticket)
{
	uint64_t until = praas_now_ns() + conn->timeout_ns;
	unsigned index = next_offered(ticket, 0), after;
	char sealed[SCHEME_BYTES];
	int rc = -EOPNOTSUPP;

	if (config->transport && strcmp(config->transport, "auto") != 0)
		return praas_connect_scheme(
			conn, variant_of(config->transport, ticket, sealed), ticket,
			until);
	for (; praas_transport_at(index) != NULL && !is_answer(rc); index = after) {
		uint64_t now = praas_now_ns(), part = until;

		after = next_offered(ticket, index + 1);
		/* A device that does not answer leaves time for the next. */
		if (praas_transport_at(after) != NULL && now < until)
			part = now + (until - now) / 2;
		rc = praas_connect_scheme(conn, praas_transport_at(index)->scheme,
					  ticket, part);
	}
	return rc;
}

/* What of the caller's is named in it the caller knows. */
static void tell_why(const struct praas_connection *conn,
		     const struct praas_connect_config *config,
		     const struct praas_ticket_json *ticket, int rc)
{
	char there[128] = "none";
	size_t at = 0;

	if (rc != -EOPNOTSUPP) {
		(void)praas_fail_with(rc, "%s",
				      conn->ops ? praas_transport_why(conn->ops, rc)
						: strerror(-rc));
		return;
	}
	for (uint32_t i = 0; i < ticket->endpoints_count && at < sizeof(there); i++)
		at += (size_t)snprintf(
			there + at, sizeof(there) - at, "%s%.*s", i ? ", " : "",
			(int)strcspn(ticket->endpoints[i], ":"), ticket->endpoints[i]);
	(void)praas_fail_with(rc, "no endpoint of transport '%s', the process has %s",
			      config->transport ? config->transport : "auto", there);
}

/* ---- the connection ------------------------------------------------------------------------ */

int praas_connect_tables(struct praas_connection *conn)
{
	uint64_t capacity;

	if (conn->ops != &praas_shm_transport_ops)
		return 0;
	/* The caller's buffers and results stay mapped until praas_close(), whatever the peer
	 * does: a connection with a buffer out is not taken apart. */
	conn->shm = praas_shm_conn_of(conn->link);
	conn->shm->bufs_out++;
	conn->direct_allowed = !conn->no_direct;
	return praas_shm_memory_alloc(
		conn->shm, praas_min_u64(PRAAS_SCRATCH_BYTES, conn->bytes_max),
		&conn->scratch_ref, &conn->scratch, &capacity);
}

static int open_tables(struct praas_connection *conn,
		       const struct praas_connect_config *config)
{
	uint32_t inflight =
		config->inflight_max ? config->inflight_max : PRAAS_INFLIGHT_DEFAULT;
	int rc;

	while (conn->inflight_limit != 0 && inflight > conn->inflight_limit &&
	       inflight > 1)
		inflight /= 2;
	rc = praas_table_init(conn, inflight);
	return rc == 0 ? praas_connect_tables(conn) : rc;
}

static int check_config(const struct praas_connect_config *config)
{
	uint32_t n = config->inflight_max;

	if ((n & (n - 1)) != 0 || n > PRAAS_INFLIGHT_MAX)
		return praas_fail_with(-EINVAL,
				       "inflight_max is a power of two up to %u",
				       PRAAS_INFLIGHT_MAX);
	if ((unsigned)config->wait > PRAAS_WAIT_BLOCK)
		return praas_fail_with(-EINVAL, "unknown waiting policy");
	return 0;
}

int praas_connect_ticket(const char *ticket_json,
			 const struct praas_connect_config *config,
			 praas_connection **ret_conn)
{
	const struct praas_connect_config *c = config ? config : &config_default;
	struct praas_ticket_json ticket;
	struct praas_connection *conn;
	int rc = check_config(c);

	if (rc != 0)
		return rc;
	rc = praas_ticket_json_decode(ticket_json, &ticket);
	if (rc != 0)
		return rc;
	conn = calloc(1, sizeof(*conn));
	if (!conn) {
		rc = -ENOMEM;
		goto err_wipe;
	}
	(void)praas_doorbell_setup(); /* always 0 */
	praas_waiter_init(&conn->waiter, (enum praas_wait_mode)c->wait);
	conn->timeout_ns = c->timeout_ns ? c->timeout_ns : PRAAS_CONNECT_TIMEOUT_NS;
	conn->no_direct = c->no_direct;
	conn->no_follow = c->no_follow;
	conn->members = c->members;
	rc = choose(conn, c, &ticket);
	if (rc != 0) {
		tell_why(conn, c, &ticket, rc);
		goto err_conn;
	}
	rc = open_tables(conn, c);
	if (rc != 0)
		goto err_conn;
	if (ticket.lost_epoch != 0)
		praas_event_add(conn, PRAAS_EVENT_EPOCH_LOST, 0, ticket.lost_epoch);
	explicit_bzero(&ticket, sizeof(ticket));
	*ret_conn = conn;
	return 0;
err_conn:
	praas_close(conn);
err_wipe:
	explicit_bzero(&ticket, sizeof(ticket));
	return rc;
}

int praas_transport_probe(const char *scheme, char *ret_text, size_t bytes)
{
	const struct praas_transport_ops *ops = praas_transport_find(scheme);

	if (bytes == 0)
		return -EINVAL;
	ret_text[0] = '\0';
	if (!ops)
		return -EOPNOTSUPP;
	return ops->probe ? ops->probe(ret_text, bytes) : 0;
}

/* Results that were not taken. */
static void release_done(struct praas_connection *conn)
{
	while (conn->entries && conn->done_head != PRAAS_ENTRY_NONE) {
		struct praas_entry *e = &conn->entries[conn->done_head];

		praas_result_release(conn, &e->result);
		praas_entry_undone(conn, e);
	}
	for (uint32_t i = 0; conn->entries && i <= conn->mask; i++)
		if (conn->entries[i].kept)
			praas_kept_drop(&conn->entries[i]);
}

void praas_close(praas_connection *conn)
{
	if (!conn)
		return;
	release_done(conn);
	praas_follow_forget(conn);
	praas_left_free_all(conn);
	if (conn->link)
		conn->link->ops->close(conn->link, true);
	conn->link = NULL;
	praas_registered_free_all(conn);
	if (conn->shm) {
		conn->shm->bufs_out--;
		praas_shm_conn_unref(conn->shm);
	}
	close_port(conn);
	praas_kept_free_all(conn);
	praas_heap_free(conn->heap);
	free(conn->entries);
	free(conn->functions);
	explicit_bzero(conn->session_key, sizeof(conn->session_key));
	free(conn);
}

const char *praas_transport(const praas_connection *conn)
{
	return conn->transport;
}

int praas_function_lookup(praas_connection *conn, const char *function,
			  uint32_t *ret_function)
{
	for (uint32_t i = 0; i < conn->functions_count; i++) {
		if (strcmp(conn->functions[i].name, function) == 0) {
			*ret_function = i;
			return 0;
		}
	}
	return praas_fail_with(-ENOENT, "the process has no function '%s'", function);
}

void praas_stats(const praas_connection *conn, struct praas_conn_stats *ret_stats)
{
	*ret_stats = conn->stats;
	ret_stats->transport_copies =
		conn->copies_before + (conn->port ? conn->port->copies : 0);
}
