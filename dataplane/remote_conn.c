/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections to processes whose functions are called: INVOKE there, RESULT back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <praas/client.h>

#include "dataplane/remote_private.h"
#include "internal/base.h"
#include "transport/session.h"

/* ---- sending ---- */

static int number_of(const struct praas_remote_link *l, const char *function,
		     uint16_t *ret_number)
{
	for (uint32_t i = 0; i < l->functions_count; i++) {
		if (strcmp(l->functions[i], function) != 0)
			continue;
		*ret_number = (uint16_t)i;
		return 0;
	}
	return -ENOENT;
}

/* 0; -EAGAIN later. c may have ended. */
static int call_send(struct praas_remote_link *l, struct praas_remote_call *c)
{
	struct praas_conn *conn = l->conn;
	uint16_t number;
	int rc;

	/* An epoch that was swapped out hands its ids on: what ran there is answered, what did not runs. */
	if (c->epoch != 0 && c->epoch <= l->way->lost_epoch) {
		praas_remote_fail(l, c, PRAAS_UNKNOWN,
				  "its epoch is over; it may have run");
		return 0;
	}
	if (number_of(l, c->function, &number) != 0) {
		praas_remote_fail(l, c, PRAAS_NO_FUNCTION,
				  "that process has no such function");
		return 0;
	}
	if (c->lent)
		return -EAGAIN; /* an earlier connection still reads it */
	c->out.head.function = number;
	c->out.head.id = c->wire_id;
	c->out.head.epoch = l->way->epoch;
	c->out.head.deadline_ns = c->deadline_ns;
	c->out.head.bytes = c->input ? c->input->head.bytes : 0;
	c->out.data = c->input ? c->input->data : NULL;
	rc = conn->ops->send(conn, &c->out);
	if (rc == 0) {
		c->lent = true;
		c->state = PRAAS_REMOTE_SENT;
		c->epoch = l->way->epoch;
		l->remote->kept_sent |= c->kept;
		l->used_ns = praas_now_ns();
		return 0;
	}
	if (rc == -EMSGSIZE) {
		praas_remote_fail(l, c, PRAAS_TOO_LARGE,
				  "larger than that process takes");
		return 0;
	}
	if (rc != -EAGAIN)
		praas_remote_lost(l);
	return -EAGAIN;
}

void praas_remote_send_all(struct praas_remote_link *l)
{
	struct praas_remote_call *c = l->first, *next;

	for (; c && l->open; c = next) {
		next = c->next;
		if (c->state != PRAAS_REMOTE_QUEUED || (c->kept && l->remote->hold))
			continue;
		if (call_send(l, c) != 0)
			return;
	}
}

/* ---- connections ---- */

static const struct praas_conn_events link_events;

static void on_welcome(void *user, const struct praas_welcome *welcome)
{
	struct praas_remote_link *l = user;
	size_t bytes = welcome->functions_count * sizeof(*l->functions);
	void *names = malloc(bytes ? bytes : 1);

	l->probes = welcome->probes;
	free(l->functions);
	l->functions = names;
	l->functions_count = names ? welcome->functions_count : 0;
	if (names && bytes != 0)
		memcpy(names, welcome->functions, bytes);
}

/* From l->endpoint on. */
void praas_remote_connect(struct praas_remote_link *l)
{
	const struct praas_outbox_host *host = &l->remote->host;

	l->wait_ns = praas_now_ns();
	while (l->way && l->endpoint < l->way->endpoints_count)
		if (host->connect(host->user, l->way->endpoints[l->endpoint++],
				  &l->way->secret, &link_events, on_welcome, l,
				  &l->conn) == 0)
			return;
	l->conn = NULL;
	praas_remote_forget_way(l);
	praas_remote_lost(l);
}

static void on_opened(void *user, struct praas_conn *conn)
{
	struct praas_remote_link *l = user;
	const struct praas_outbox_host *host = &l->remote->host;

	if (host->opened && host->opened(host->user, conn) != 0) {
		l->conn = NULL;
		conn->ops->close(conn, false);
		praas_remote_lost(l);
		return;
	}
	l->open = true;
	l->backoff_ns = 0;
	l->used_ns = praas_now_ns();
	praas_remote_kick(l->remote);
}

static struct praas_remote_call *sent_call(const struct praas_remote_link *l,
					   uint64_t wire_id)
{
	for (struct praas_remote_call *c = l->first; c; c = c->next)
		if (c->wire_id == wire_id && c->state == PRAAS_REMOTE_SENT)
			return c;
	return NULL;
}

/* The result in memory of the caller's. */
static void on_result(struct praas_remote_link *l, struct praas_buf *buf)
{
	struct praas_remote_call *c = sent_call(l, buf->head.id);
	struct praas_buf *result = NULL;
	int32_t status = buf->head.status;

	if (!c)
		return;
	l->used_ns = praas_now_ns();
	if (status == PRAAS_DRAINING || status == PRAAS_MOVED ||
	    (status == PRAAS_INTERRUPTED && c->kept)) {
		/* It did not run, or nothing of it is left. Others may, and are answered by this connection. */
		if (status == PRAAS_INTERRUPTED)
			c->begun_ns = praas_now_ns();
		c->epoch = 0;
		c->state = PRAAS_REMOTE_QUEUED;
		praas_remote_forget_way(l);
		praas_remote_back_off(l);
		return;
	}
	if (buf->head.bytes != 0 &&
	    c->caller.alloc(c->caller.user, buf->head.bytes, &result) == 0) {
		memcpy(result->data, buf->data, buf->head.bytes);
		result->head.bytes = buf->head.bytes;
	} else if (buf->head.bytes != 0 && status == 0) {
		status = PRAAS_NO_MEMORY;
	}
	praas_remote_end(l, c, status, result, buf->head.aux);
}

static void on_frame(void *user, struct praas_conn *conn, struct praas_buf *buf)
{
	struct praas_remote_link *l = user;

	(void)conn;
	if (buf->head.kind == PRAAS_FRAME_RESULT)
		on_result(l, buf);
	else if (buf->head.kind == PRAAS_FRAME_EVENT &&
		 (buf->head.aux == PRAAS_EVENT_DRAINING ||
		  buf->head.aux == PRAAS_EVENT_REAUTH))
		praas_remote_forget_way(
			l); /* what is under way ends there; the next one asks */
	praas_buf_release(buf);
}

static void on_sent(void *user, struct praas_conn *conn, struct praas_buf *buf, int rc)
{
	(void)user;
	(void)conn;
	(void)buf;
	(void)rc; /* what counts is its RESULT */
}

static void on_closed(void *user, struct praas_conn *conn, int rc)
{
	struct praas_remote_link *l = user;
	bool open = l->open;

	(void)conn;
	l->conn = NULL;
	l->open = false;
	if (rc == -ESTALE || rc == -EACCES || rc == -EKEYEXPIRED)
		praas_remote_forget_way(l); /* no other endpoint would do better */
	if (!open && l->way)
		praas_remote_connect(l);
	else
		praas_remote_lost(l);
}

static const struct praas_conn_events link_events = {
	.opened = on_opened,
	.frame = on_frame,
	.sent = on_sent,
	.closed = on_closed,
};
