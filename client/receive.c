/* SPDX-License-Identifier: Apache-2.0 */
#include "client/connection.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"

/* What comes from the controller: results, replies, events, the end. */

void praas_learn(struct praas_connection *conn, uint32_t function, uint64_t run_ns)
{
	struct praas_function_info *f;
	uint32_t ns = run_ns < UINT32_MAX ? (uint32_t)run_ns : UINT32_MAX;

	if (function >= conn->functions_count || ns == 0)
		return;
	f = &conn->functions[function];
	/* Over eight calls: one hiccup does not make a function long. */
	f->run_ns = f->run_ns == 0 ? ns : f->run_ns - f->run_ns / 8 + ns / 8;
}

/* What a status says; of a connection that has ended, why it has. */
static const char *status_words(const struct praas_connection *conn, int status,
				char ret_room[PRAAS_ERROR_TEXT_MAX])
{
	if (status != PRAAS_UNKNOWN || conn->closed_rc == 0)
		return praas_status_text(status);
	(void)snprintf(ret_room, PRAAS_ERROR_TEXT_MAX, "the connection has ended: %s",
		       strerror(-conn->closed_rc)); /* fits */
	return ret_room;
}

void praas_result_text(struct praas_connection *conn, struct praas_result *result)
{
	char why[PRAAS_ERROR_TEXT_MAX];
	const char *words = status_words(conn, result->status, why);
	size_t bytes = strlen(words) + 1;
	struct praas_result source = *result;
	char *text = aligned_alloc(PRAAS_FRAME_ALIGN, PRAAS_ERROR_TEXT_MAX);

	if (result->view.bytes != 0 && result->view.data) {
		words = result->view.data;
		bytes = result->view.bytes;
	}
	if (bytes > PRAAS_ERROR_TEXT_MAX)
		bytes = PRAAS_ERROR_TEXT_MAX;
	if (text) {
		memcpy(text, words, bytes);
		if (text[bytes - 1] != '\0') {
			if (bytes == PRAAS_ERROR_TEXT_MAX)
				bytes--;
			text[bytes++] = '\0';
		}
		result->view = (struct praas_view){ .data = text,
						    .bytes = strlen(text),
						    .token = (uintptr_t)text |
							     PRAAS_TOKEN_TEXT };
	} else {
		result->view = (struct praas_view){ .data = "", .bytes = 0 };
	}
	praas_result_release(conn, &source);
}

void praas_event_add(struct praas_connection *conn, enum praas_event_kind kind,
		     int status, uint32_t epoch)
{
	uint32_t at;

	/* One is as good as many, and they push nothing else out. */
	for (uint32_t i = 0; kind == PRAAS_EVENT_MEMBERS && i < conn->events_count; i++)
		if (conn->events[(conn->events_head + i) % PRAAS_EVENTS_KEPT].kind ==
		    kind)
			return;
	if (conn->events_count == PRAAS_EVENTS_KEPT) { /* the oldest goes */
		conn->events_head = (conn->events_head + 1) % PRAAS_EVENTS_KEPT;
		conn->events_count--;
	}
	at = (conn->events_head + conn->events_count++) % PRAAS_EVENTS_KEPT;
	conn->events[at] =
		(struct praas_event){ .kind = kind, .status = status, .epoch = epoch };
}

int praas_event_poll(praas_connection *conn, struct praas_event *ret_event)
{
	(void)praas_turn(conn);
	if (conn->events_count == 0)
		return -EAGAIN;
	*ret_event = conn->events[conn->events_head];
	conn->events_head = (conn->events_head + 1) % PRAAS_EVENTS_KEPT;
	conn->events_count--;
	return 0;
}

/* A call that was direct leaves the books of direct calls. */
static void leave_direct(struct praas_connection *conn, struct praas_entry *e,
			 const struct praas_frame *result)
{
	if (praas_likely(e->via == PRAAS_VIA_CONTROLLER && !e->extra))
		return;
	if (e->via != PRAAS_VIA_CONTROLLER)
		conn->direct_pending--;
	if (e->extra)
		praas_entry_extra(conn, e, result);
	e->ref = PRAAS_SHM_NO_REF;
}

void praas_entry_end(struct praas_connection *conn, struct praas_entry *e, int status)
{
	if (e->state == PRAAS_ENTRY_REROUTE)
		conn->reroutes--;
	leave_direct(conn, e, NULL);
	if (e->state == PRAAS_ENTRY_ABANDONED) {
		praas_entry_free(conn, e);
		return;
	}
	e->aux = 0;
	e->result = (struct praas_result){ .call = e->head.id, .status = status };
	praas_result_text(conn, &e->result);
	praas_entry_done(conn, e);
}

static void on_answer(struct praas_connection *conn, struct praas_buf *buf)
{
	struct praas_entry *e = praas_entry_find(conn, buf->head.id);
	bool reply = buf->head.kind == PRAAS_FRAME_REPLY;

	if (praas_unlikely(!e || e->request != reply || e->state == PRAAS_ENTRY_DONE)) {
		praas_buf_release(
			buf); /* withdrawn and answered twice, or never asked */
		return;
	}
	if (e->state == PRAAS_ENTRY_REROUTE)
		conn->reroutes--;
	leave_direct(conn, e, &buf->head);
	if (e->state == PRAAS_ENTRY_ABANDONED) {
		praas_entry_free(conn, e);
		praas_buf_release(buf);
		return;
	}
	conn->stats.bytes_in += buf->head.bytes;
	e->aux = buf->head.aux;
	e->result = (struct praas_result){
		.call = buf->head.id,
		.status = buf->head.status,
		.view = { .data = buf->data,
			  .bytes = buf->head.bytes,
			  .token = (uintptr_t)buf | PRAAS_TOKEN_BUF },
	};
	if (praas_unlikely(buf->head.status == PRAAS_OVERLOADED))
		e->result.retry_ns = buf->head.aux;
	else if (!reply)
		e->result.run_ns = buf->head.aux;
	if (praas_unlikely(buf->head.status != 0))
		praas_result_text(conn, &e->result);
	else if (!reply)
		praas_learn(conn, e->head.function, buf->head.aux);
	praas_entry_done(conn, e);
}

static void on_opened(void *user, struct praas_conn *link)
{
	struct praas_connection *conn = user;

	conn->link = link;
	conn->opened = true;
}

/* Nothing comes behind where the process has moved to. If it does, what was done was done. */
static bool counts_still(const struct praas_frame *f)
{
	return (f->kind == PRAAS_FRAME_RESULT || f->kind == PRAAS_FRAME_REPLY) &&
	       f->status != PRAAS_MOVED && f->status != PRAAS_DRAINING;
}

static void on_frame(void *user, struct praas_conn *link, struct praas_buf *buf)
{
	struct praas_connection *conn = user;
	struct praas_frame pong = { .kind = PRAAS_FRAME_PONG, .id = buf->head.id };

	(void)link;
	if (praas_unlikely(conn->move != NULL) && !counts_still(&buf->head)) {
		praas_buf_release(buf); /* it is left behind */
		return;
	}
	switch (buf->head.kind) {
	case PRAAS_FRAME_RESULT:
	case PRAAS_FRAME_REPLY:
		on_answer(conn, buf);
		return;
	case PRAAS_FRAME_EVENT:
		if (buf->head.aux == PRAAS_EVENT_MOVED && praas_follow_take(conn, buf))
			break; /* told when we are there */
		if (buf->head.epoch != 0)
			conn->epoch = buf->head.epoch;
		praas_event_add(conn, (enum praas_event_kind)buf->head.aux,
				buf->head.status, conn->epoch);
		break;
	case PRAAS_FRAME_PING:
		(void)praas_frame_send(conn, &pong, NULL, NULL,
				       NULL); /* the peer asks again */
		break;
	case PRAAS_FRAME_CLOSE:
		conn->close_status = buf->head.status;
		break;
	default:
		break; /* an answer to nothing we ask */
	}
	praas_buf_release(buf);
}

static void on_sent(void *user, struct praas_conn *link, struct praas_buf *buf, int rc)
{
	struct praas_connection *conn = user;

	(void)link;
	(void)buf;
	(void)rc; /* what was lost is ended by on_closed() */
	conn->unsent--;
}

#define LAST_NS 20000000u /* for results of those that workers have */

void praas_last_results(struct praas_connection *conn)
{
	uint64_t until = praas_now_ns() + LAST_NS;

	(void)praas_direct_withdraw(conn);
	while (conn->direct_pending != 0) {
		if (praas_direct_poll(conn) == 0)
			(void)sched_yield(); /* its core may be ours; cannot fail */
		if (praas_now_ns() >= until)
			break;
	}
}

/* Every invocation under way may or may not have run. The process knows of those that went to it, and none
 * knows of those that no worker has taken: they can be sent again. */
void praas_end_all(struct praas_connection *conn)
{
	if (conn->direct_pending != 0 && conn->shm)
		praas_last_results(conn);
	for (uint32_t i = 0; i <= conn->mask && conn->entries; i++) {
		struct praas_entry *e = &conn->entries[i];

		bool again = e->via == PRAAS_VIA_CONTROLLER && !e->request;
		bool wanted = e->state != PRAAS_ENTRY_ABANDONED;

		if (e->state != PRAAS_ENTRY_PENDING &&
		    e->state != PRAAS_ENTRY_ABANDONED &&
		    e->state != PRAAS_ENTRY_REROUTE)
			continue;
		praas_entry_end(conn, e,
				conn->close_status == PRAAS_MOVED ? PRAAS_MOVED
								  : PRAAS_UNKNOWN);
		if (wanted && again && e->result.status == PRAAS_UNKNOWN)
			e->result.retry_ns = 1;
	}
}

static void on_closed(void *user, struct praas_conn *link, int rc)
{
	struct praas_connection *conn = user;

	(void)link;
	conn->closed_rc = rc != 0 ? rc : -ECONNRESET;
	if (conn->opened && !conn->move) {
		praas_end_all(conn);
		praas_event_add(conn, PRAAS_EVENT_CLOSED, conn->close_status,
				conn->epoch);
	}
	conn->link = NULL;
}

const struct praas_conn_events praas_client_events = {
	.opened = on_opened,
	.frame = on_frame,
	.sent = on_sent,
	.closed = on_closed,
};

void praas_result_release(praas_connection *conn, struct praas_result *result)
{
	uint64_t token = result->view.token;
	uint64_t value = token & ~(uint64_t)PRAAS_TOKEN_MASK;

	switch (token & PRAAS_TOKEN_MASK) {
	case PRAAS_TOKEN_BUF:
		praas_buf_release((struct praas_buf *)(uintptr_t)value);
		if (praas_unlikely(conn->left != NULL))
			praas_left_tend(conn);
		break;
	case PRAAS_TOKEN_TEXT:
		free((void *)(uintptr_t)value);
		break;
	case PRAAS_TOKEN_REF:
	case PRAAS_TOKEN_DIRECT:
	case PRAAS_TOKEN_BIG:
		if (praas_likely(!conn->left) ||
		    !praas_left_release(conn, result->view.data, token))
			praas_direct_release(conn, token);
		break;
	default:
		break;
	}
	result->view = (struct praas_view){ 0 };
}
