/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections to receivers: made when there is something to send, by the best endpoint that works, and
 * each of one attempt of its sender. They carry MAIL, each answered by a REPLY with its place.
 */
#include <errno.h>
#include <string.h>

#include <praas/client.h>

#include "dataplane/outbox_private.h"
#include "internal/base.h"

static const struct praas_conn_events peer_events;

/* From p->endpoint on. */
static void connect_next(struct praas_peer *p)
{
	const struct praas_outbox_host *host = &p->outbox->config.host;

	while (p->way && p->endpoint < p->way->endpoints_count)
		if (host->connect(host->user, p->way->endpoints[p->endpoint++],
				  &p->way->secret, &peer_events, NULL, p,
				  &p->conn) == 0)
			return;
	p->conn = NULL;
	praas_peer_forget_way(p);
	praas_peer_lost(p, p->conn_attempt);
}

void praas_peer_connect(struct praas_peer *p, uint32_t attempt)
{
	praas_peer_close(p);
	p->conn_attempt = attempt;
	p->endpoint = 0;
	connect_next(p);
}

void praas_peer_close(struct praas_peer *p)
{
	struct praas_conn *conn = p->conn;

	p->conn = NULL;
	p->open = p->stalled = false;
	if (conn)
		conn->ops->close(conn, false);
}

int praas_peer_send(struct praas_peer *p, const struct praas_sender_action *a,
		    struct praas_outbox_message *m)
{
	struct praas_conn *conn = p->conn;
	int rc;

	if (!conn || !p->open || a->attempt != p->conn_attempt)
		return 0; /* the sender has been told, or will be */
	if (m->lent)
		return -EAGAIN; /* an earlier connection still reads it */
	m->buf.head.epoch = a->epoch;
	m->buf.head.bytes = m->value.bytes;
	m->buf.head.deadline_ns = 0;
	praas_frame_place_put(&m->buf.head, a->seq, a->after);
	/* Only read, whatever the type says; segment 0: the transport copies it where it must. */
	m->buf.data = (uint8_t *)(uintptr_t)m->value.data;
	m->buf.capacity = 0;
	rc = conn->ops->send(conn, &m->buf);
	if (rc == 0) {
		m->lent = true;
		p->used_ns = praas_now_ns();
		return 0;
	}
	if (rc == -EAGAIN)
		return rc;
	praas_peer_close(p);
	praas_peer_lost(p, a->attempt);
	return 0;
}

/* ---- upcalls ---- */

static void on_opened(void *user, struct praas_conn *conn)
{
	const struct praas_outbox_host *host;
	struct praas_peer *p = user;

	host = &p->outbox->config.host;
	if (host->opened && host->opened(host->user, conn) != 0) {
		praas_peer_close(p);
		praas_peer_lost(p, p->conn_attempt);
		return;
	}
	p->open = true;
	p->used_ns = praas_now_ns();
	praas_sender_connected(&p->sender, p->conn_attempt, p->used_ns);
	praas_outbox_kick(p->outbox);
}

static void on_reply(struct praas_peer *p, const struct praas_frame *f)
{
	struct praas_seq seq = { .number = f->id, .epoch = (uint32_t)f->aux };

	if (f->status == 0) {
		p->used_ns = praas_now_ns();
		praas_sender_acked(&p->sender, p->conn_attempt, seq, p->used_ns);
		praas_outbox_kick(p->outbox);
		return;
	}
	/* A full mailbox will have room again; all else the control service knows better. */
	if (f->status != PRAAS_OVERLOADED && f->status != PRAAS_NO_MEMORY)
		praas_peer_forget_way(p);
	praas_peer_lost(p, p->conn_attempt);
}

static void on_event(struct praas_peer *p, const struct praas_frame *f)
{
	if (f->aux != PRAAS_EVENT_DRAINING && f->aux != PRAAS_EVENT_REAUTH)
		return;
	praas_peer_forget_way(p);
	praas_peer_lost(p, p->conn_attempt);
}

static void on_frame(void *user, struct praas_conn *conn, struct praas_buf *buf)
{
	struct praas_peer *p = user;
	const struct praas_frame f = buf->head;

	(void)conn;
	praas_buf_release(buf);
	if (f.kind == PRAAS_FRAME_REPLY)
		on_reply(p, &f);
	else if (f.kind == PRAAS_FRAME_EVENT)
		on_event(p, &f);
}

static void on_sent(void *user, struct praas_conn *conn, struct praas_buf *buf, int rc)
{
	(void)user;
	(void)conn;
	(void)buf;
	(void)rc; /* what counts is its REPLY */
}

static void on_closed(void *user, struct praas_conn *conn, int rc)
{
	struct praas_peer *p = user;
	bool open = p->open;

	(void)conn;
	p->conn = NULL;
	p->open = p->stalled = false;
	if (rc == -ESTALE || rc == -EACCES || rc == -EKEYEXPIRED)
		praas_peer_forget_way(p); /* no other endpoint would do better */
	if (!open) {
		connect_next(p);
		return;
	}
	praas_peer_lost(p, p->conn_attempt);
}

static const struct praas_conn_events peer_events = {
	.opened = on_opened,
	.frame = on_frame,
	.sent = on_sent,
	.closed = on_closed,
};

/* ---- nobody to ask ---- */

static int refuse_all(void *user, const struct praas_outbox_question *question)
{
	(void)user;
	(void)question;
	return -ENOTCONN;
}

static int no_way(void *user, const char *address,
		  const struct praas_ticket_secret *secret,
		  const struct praas_conn_events *events,
		  void (*welcome)(void *user, const struct praas_welcome *welcome),
		  void *events_user, struct praas_conn **ret_conn)
{
	(void)welcome;
	(void)user;
	(void)address;
	(void)secret;
	(void)events;
	(void)events_user;
	*ret_conn = NULL;
	return -EPROTONOSUPPORT;
}

static void forget(void *user, uint64_t receiver, int rc)
{
	(void)user;
	(void)receiver;
	(void)rc;
}

const struct praas_outbox_host praas_outbox_no_host = { .ask = refuse_all,
							.connect = no_way,
							.dropped = forget };
