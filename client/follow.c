/* SPDX-License-Identifier: Apache-2.0 */
#include "client/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/ticket_json.h"
#include "internal/base.h"

/*
 * The process has moved, and the connection goes along. What the controller that it has left accepted it has answered
 * before it told us; so what is unanswered now has not been accepted, and is sent again where the process goes on, with
 * its id and in the order in which it was sent first. The caller learns of it by an event.
 */

#define FOLLOWS_MAX 8u /* in one go, of a process that moves on and on */

bool praas_follow_take(struct praas_connection *conn, const struct praas_buf *buf)
{
	struct praas_moved *move;

	if (!conn->follows)
		return false;
	move = calloc(1, sizeof(*move));
	if (!move)
		return false;
	if (praas_moved_decode(buf->data, buf->head.bytes, conn->session_key, move) !=
	    0) {
		free(move);
		return false;
	}
	praas_follow_forget(conn);
	conn->move = move;
	return true;
}

void praas_follow_forget(struct praas_connection *conn)
{
	if (conn->move)
		explicit_bzero(conn->move, sizeof(*conn->move));
	free(conn->move);
	conn->move = NULL;
}

/* ---- leaving ---- */

/* Where its payload lies in shared memory of ours; NULL: it has none. */
static const uint8_t *payload_of(struct praas_shm_conn *shm,
				 const struct praas_entry *e)
{
	uint64_t ref = e->ref;
	const struct praas_shm_big *big;

	if (e->head.bytes == 0 && praas_frame_meta_bytes(&e->head) == 0)
		return NULL;
	if (ref == PRAAS_SHM_NO_REF && praas_shm_loan_find(shm, e->head.id, &ref) != 0)
		return NULL;
	if (praas_shm_ref_segment(ref) == shm->mine.id)
		return shm->mine.base + praas_shm_ref_offset(ref);
	big = praas_shm_big_find(shm, praas_shm_ref_segment(ref));
	return big ? big->segment.base + praas_shm_ref_offset(ref) : NULL;
}

/* Out of the memory that we leave. */
static void carry(struct praas_connection *conn, struct praas_entry *e)
{
	const uint8_t *data = payload_of(conn->shm, e);

	if ((!data && (e->head.bytes != 0 || praas_frame_meta_bytes(&e->head) != 0)) ||
	    praas_keep_copy(conn, e, data) != 0) {
		praas_entry_end(conn, e, PRAAS_UNKNOWN);
		return;
	}
	if (e->extra & PRAAS_ENTRY_TEMPORARY)
		praas_shm_memory_free(conn->shm, e->ref);
	e->extra &= (uint8_t)~PRAAS_ENTRY_TEMPORARY;
	e->ref = PRAAS_SHM_NO_REF;
}

static void pack(struct praas_connection *conn, struct praas_entry *e)
{
	if (e->state == PRAAS_ENTRY_ABANDONED || e->cancelled) {
		praas_entry_end(conn, e, PRAAS_CANCELLED);
	} else if (e->via != PRAAS_VIA_CONTROLLER) { /* a worker has it, and is gone */
		praas_entry_end(conn, e, PRAAS_UNKNOWN);
	} else if (e->request) {
		praas_entry_end(conn, e, PRAAS_MOVED); /* who asks, asks again */
	} else {
		if (e->state == PRAAS_ENTRY_REROUTE)
			conn->reroutes--;
		e->state = PRAAS_ENTRY_PENDING;
		if (conn->shm && !e->kept)
			carry(conn, e);
	}
}

static void leave(struct praas_connection *conn, struct praas_left *left)
{
	if (conn->shm && conn->direct_pending != 0)
		praas_last_results(conn);
	for (uint32_t i = 0; i <= conn->mask; i++) {
		struct praas_entry *e = &conn->entries[i];

		if (e->order != 0 && (e->state == PRAAS_ENTRY_PENDING ||
				      e->state == PRAAS_ENTRY_REROUTE ||
				      e->state == PRAAS_ENTRY_ABANDONED))
			pack(conn, e);
	}
	if (conn->link)
		conn->link->ops->close(conn->link, false);
	conn->link = NULL;
	conn->hot = NULL;
	conn->routes_seen = 0;
	conn->routes_closing = false;
	conn->copies_before += conn->port->copies;
	if (conn->shm) {
		praas_left_add(conn, left);
	} else {
		conn->ops->free(conn->port);
		conn->port = NULL;
		free(left);
	}
}

/* ---- arriving ---- */

/* Numbers that the caller has looked up mean the same. */
static bool same_functions(const struct praas_connection *conn,
			   const struct praas_function_info *before, uint32_t count)
{
	if (conn->functions_count < count)
		return false;
	for (uint32_t i = 0; i < count; i++)
		if (strcmp(conn->functions[i].name, before[i].name) != 0)
			return false;
	return true;
}

static int arrive(struct praas_connection *conn, uint64_t until_ns)
{
	struct praas_function_info *before = conn->functions;
	struct praas_ticket_json ticket = { .endpoints_count =
						    conn->move->endpoints_count };
	uint32_t count = conn->functions_count;
	int rc;

	_Static_assert(PRAAS_ENDPOINTS_MAX >= PRAAS_MOVED_ENDPOINTS_MAX, "they fit");
	memcpy(ticket.endpoints, conn->move->endpoints, sizeof(conn->move->endpoints));
	memcpy(ticket.ticket, conn->move->secret.ticket, sizeof(ticket.ticket));
	memcpy(ticket.session_key, conn->move->secret.session_key,
	       sizeof(ticket.session_key));
	praas_follow_forget(conn);
	conn->functions = NULL;
	conn->functions_count = 0;
	conn->close_status = 0;
	rc = praas_connect_scheme(conn, conn->transport, &ticket, until_ns);
	explicit_bzero(&ticket, sizeof(ticket));
	if (rc == 0 && !same_functions(conn, before, count))
		rc = -ESTALE;
	if (rc == 0)
		rc = praas_connect_tables(conn);
	if (rc == 0) {
		for (uint32_t i = 0; i < count; i++)
			conn->functions[i].run_ns = before[i].run_ns;
		free(before);
		return 0;
	}
	free(conn->functions);
	conn->functions = before;
	conn->functions_count = count;
	return rc;
}

/* ---- going on ---- */

struct again {
	uint64_t order;
	struct praas_entry *e;
};

static int by_order(const void *a, const void *b)
{
	const struct again *x = a, *y = b;

	return x->order < y->order ? -1 : x->order > y->order;
}

static uint32_t collect(const struct praas_connection *conn, struct again *list)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i <= conn->mask; i++) {
		struct praas_entry *e = &conn->entries[i];

		if (e->order != 0 && e->state == PRAAS_ENTRY_PENDING)
			list[count++] = (struct again){ .order = e->order, .e = e };
	}
	qsort(list, count, sizeof(*list), by_order);
	return count;
}

/* Those that do not come to be sent end. */
static void send_all(struct praas_connection *conn)
{
	struct again *list = calloc((size_t)conn->mask + 1, sizeof(*list));
	uint32_t count = list ? collect(conn, list) : 0;

	for (uint32_t i = 0; i < count && conn->link && !conn->move; i++) {
		struct praas_entry *e = list[i].e;

		/* While one waits for room others may be answered. */
		if (e->order != list[i].order || e->state != PRAAS_ENTRY_PENDING)
			continue;
		if ((!e->kept || praas_kept_send(conn, e) != 0) && conn->link &&
		    !conn->move)
			praas_entry_end(conn, e, PRAAS_UNKNOWN);
	}
	if (!list)
		praas_end_all(conn);
	free(list);
}

static void fail(struct praas_connection *conn, int rc)
{
	conn->closed_rc = rc;
	praas_follow_forget(conn);
	if (conn->link)
		conn->link->ops->close(conn->link, false);
	conn->link = NULL;
	praas_end_all(conn);
	praas_event_add(conn, PRAAS_EVENT_CLOSED, PRAAS_MOVED, conn->epoch);
}

unsigned praas_follow(struct praas_connection *conn)
{
	uint64_t until = praas_now_ns() + conn->timeout_ns;
	struct praas_left *left;
	int rc = 0;

	conn->following = true;
	for (unsigned i = 0; conn->move && rc == 0; i++) {
		rc = i < FOLLOWS_MAX ? praas_left_prepare(&left) : -ELOOP;
		if (rc != 0)
			break;
		conn->moves++;
		leave(conn, left);
		rc = arrive(conn, until);
		if (rc != 0)
			break;
		praas_event_add(conn, PRAAS_EVENT_MOVED, 0, conn->epoch);
		send_all(conn);
	}
	if (rc != 0)
		fail(conn, rc);
	conn->following = false;
	return 1;
}
