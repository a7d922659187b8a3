/* SPDX-License-Identifier: Apache-2.0
 *
 * What clients ask beside invocations: messages and state, each answered with one REPLY
 * (docs/dataplane.md). Clients that wait in RECV or HOLD, or hold a message, stand in a fixed table.
 */
#include <errno.h>
#include <string.h>

#include "dataplane/process_private.h"

static struct praas_frame reply_head(const struct praas_buf *request, uint64_t aux)
{
	return (struct praas_frame){ .kind = PRAAS_FRAME_REPLY,
				     .id = request->head.id,
				     .aux = aux };
}

/* The end of a request: refused with rc's status, or answered with aux alone. */
static void finish(struct praas_process *p, struct praas_conn *conn,
		   struct praas_buf *buf, int rc, uint64_t aux)
{
	struct praas_frame head = reply_head(buf, aux);

	if (rc != 0) {
		if (rc == -ENOBUFS || rc == -EBUSY || rc == -EREMOTEIO)
			aux = PRAAS_RETRY_AFTER_NS;
		praas_reply_refuse(p, conn, buf, praas_status_of(rc), aux);
		return;
	}
	if (!(buf->head.flags & PRAAS_FRAME_ONE_WAY))
		praas_reply_send(p, conn, &head, NULL);
	praas_buf_release(buf);
}

/* ---- messages ---- */

static void on_send(struct praas_process *p, struct praas_conn *conn,
		    struct praas_buf *buf)
{
	struct praas_frame head = buf->head;
	bool traced = (head.flags & PRAAS_FRAME_TRACE) != 0;
	uint8_t trace[PRAAS_TRACE_BYTES];
	struct praas_value value;
	char key[PRAAS_KEY_MAX + 1];
	uint64_t sequence = 0;
	int32_t status = praas_route_check(p, head.epoch);
	int rc;

	if (status != 0) {
		praas_reply_refuse(p, conn, buf, status, 0);
		return;
	}
	if (head.aux != PRAAS_SELF && head.aux != p->config.pid) {
		finish(p, conn, buf, -ENOENT, 0);
		return;
	}
	memcpy(key, buf->key, (size_t)head.key_bytes + 1);
	if (praas_unlikely(traced))
		memcpy(trace, buf->trace, sizeof(trace));
	rc = praas_process_value_from_buf(p, buf, &value);
	if (rc != 0) {
		finish(p, conn, buf, rc, 0);
		return;
	}
	/* The buffer is gone: what the answer needs is in head. */
	rc = praas_process_message_put(p, conn->peer_source, key, head.key_bytes,
				       &value, traced ? trace : NULL, &sequence);
	if (rc != 0)
		praas_value_release(&value);
	if (head.flags & PRAAS_FRAME_ONE_WAY)
		return;
	head = (struct praas_frame){ .kind = PRAAS_FRAME_REPLY, .id = head.id };
	head.status = praas_status_of(rc);
	head.aux = rc == 0 ? sequence : rc == -ENOBUFS ? PRAAS_RETRY_AFTER_NS : 0;
	praas_reply_send(p, conn, &head, NULL);
}

static void receiver_free(struct praas_process *p, struct praas_receiver *r)
{
	r->conn = NULL;
	r->held = 0;
	r->next = p->receivers_free;
	p->receivers_free = r;
}

/* A message that cannot be handed over goes back to where it was: it is the newest. */
static void put_back(struct praas_process *p, const char *key, uint32_t key_bytes,
		     struct praas_message *m)
{
	struct praas_fn_wait *next = NULL;
	int rc = praas_mailbox_put(&p->mailbox, m->source, key, key_bytes, m->sequence,
				   &m->value, &next);

	if (rc != 0)
		praas_value_release(&m->value);
	else if (m->traced)
		praas_mailbox_trace(&p->mailbox, next, m->trace);
	if (praas_unlikely(p->changes != NULL) && rc == 0 && (!next || next->held))
		praas_process_changed_mail(p);
	if (next)
		praas_process_wait_over(next, 0);
}

/* What was held is there for the next one, in its place. */
static void let_go(struct praas_process *p, uint32_t held)
{
	struct praas_fn_wait *next;

	praas_mailbox_let_go(&p->mailbox, held, &next);
	if (next)
		praas_process_wait_over(next, 0);
}

/* Its message finds no room in the connection, or is more than its ticket allows: rc. Another
 * receiver may have it. */
static PRAAS_COLD void hand_back(struct praas_process *p, struct praas_receiver *r,
				 struct praas_conn *conn, int rc)
{
	struct praas_message m = r->wait.message;
	struct praas_frame head = { .kind = PRAAS_FRAME_REPLY,
				    .id = r->id,
				    .status = praas_status_of(rc),
				    .aux = rc == -ENOBUFS ? PRAAS_RETRY_AFTER_NS : 0 };
	char key[PRAAS_KEY_MAX + 1];
	uint32_t key_bytes = r->key_bytes;
	uint32_t held = r->held;

	memcpy(key, r->key, key_bytes + 1u);
	receiver_free(p, r);
	/* First: what follows may end this connection. */
	praas_reply_send(p, conn, &head, NULL);
	if (held)
		let_go(p, held);
	else
		put_back(p, key, key_bytes, &m);
}

/* A message with all that is known of it. Errors as praas_reply_copy(). */
static int answer_message(struct praas_process *p, struct praas_conn *conn,
			  struct praas_frame *head, const struct praas_message *m)
{
	if (m->value.bytes > conn->bytes_max)
		return -EMSGSIZE; /* not taken, then */
	head->aux = m->source;
	if (m->traced)
		head->flags |= PRAAS_FRAME_TRACE;
	return praas_reply_copy(p, conn, head, m->value.data, m->value.bytes,
				m->traced ? m->trace : NULL);
}

/* A client's RECV or HOLD has come to its end. */
static void on_received(struct praas_fn_wait *wait, int rc)
{
	struct praas_receiver *r = wait->user;
	struct praas_process *p = r->process;
	struct praas_message *m = &wait->message;
	struct praas_frame head = { .kind = PRAAS_FRAME_REPLY,
				    .id = r->id,
				    .status = praas_status_of(rc) };
	struct praas_conn *conn = r->conn;
	uint32_t held = wait->held;
	bool holds = r->holds;

	r->parked = rc == -ESHUTDOWN && p->parking && conn->peer_follows;
	if (r->parked)
		return;
	if (rc != 0) {
		receiver_free(p, r);
		praas_reply_send(p, conn, &head, NULL);
		return;
	}
	r->held = held;
	/* Sending may end the connection, which frees all that is of it: what is held on as well, but
	 * not what this one takes. */
	if (!holds)
		r->conn = NULL;
	rc = answer_message(p, conn, &head, m);
	if (rc != 0)
		hand_back(p, r, conn, rc);
	if (rc != 0 || holds)
		return;
	if (held)
		praas_mailbox_drop(&p->mailbox, held);
	else
		praas_value_release(&m->value);
	receiver_free(p, r);
}

/* Copies the oldest match into an answer. -EAGAIN none; -ENOBUFS no memory for the answer. */
static int answer_peek(struct praas_process *p, struct praas_conn *conn,
		       const struct praas_buf *buf)
{
	struct praas_frame head;
	struct praas_message m;
	int rc = praas_process_fn_peek(p, buf->head.aux, buf->key, buf->head.key_bytes,
				       &m);

	if (rc != 0)
		return rc;
	head = reply_head(buf, 0);
	return answer_message(p, conn, &head, &m);
}

static void on_peek(struct praas_process *p, struct praas_conn *conn,
		    struct praas_buf *buf)
{
	int rc = answer_peek(p, conn, buf);

	if (rc != 0)
		finish(p, conn, buf, rc, 0);
	else
		praas_buf_release(buf);
}

/* A place for who asks, out of the free ones; NULL: all are in use. */
static struct praas_receiver *receiver_new(struct praas_process *p,
					   struct praas_conn *conn,
					   const struct praas_buf *buf)
{
	struct praas_receiver *r;

	if (!p->receivers_free && p->receivers_made < p->config.receivers_max)
		receiver_free(p, &p->receivers[p->receivers_made++]);
	r = p->receivers_free;
	if (!r)
		return NULL;
	p->receivers_free = r->next;
	r->conn = conn;
	r->process = p;
	r->id = buf->head.id;
	r->source = buf->head.aux;
	r->deadline_ns = buf->head.deadline_ns;
	r->parked = false;
	r->holds = buf->head.kind == PRAAS_FRAME_HOLD;
	r->key_bytes = buf->head.key_bytes;
	memcpy(r->key, buf->key, (size_t)r->key_bytes + 1);
	return r;
}

/* -EINPROGRESS it waits; else the place is free again. */
static int wait_for(struct praas_process *p, struct praas_receiver *r,
		    const struct praas_buf *buf)
{
	int rc;

	r->wait = (struct praas_fn_wait){ .done = on_received,
					  .user = r,
					  .deadline_ns = buf->head.deadline_ns,
					  .holds = r->holds ? PRAAS_HOLDS_ALL
							    : PRAAS_HOLDS_PLACE };
	rc = praas_process_fn_recv(p, buf->head.aux, r->key, r->key_bytes, &r->wait);
	if (rc != -EINPROGRESS)
		receiver_free(p, r);
	return rc;
}

/* 0 it is answered; else as wait_for(). */
static int take_one(struct praas_process *p, struct praas_conn *conn,
		    const struct praas_buf *buf, uint64_t source)
{
	struct praas_receiver *r;
	struct praas_message m;
	/* The answer first, then the message goes: it is not lost when there is no memory. */
	int rc = answer_peek(p, conn, buf);

	if (rc == 0) {
		if (praas_mailbox_take(&p->mailbox, source, buf->key,
				       buf->head.key_bytes, &m) == 0)
			praas_value_release(&m.value);
		p->stats.messages_out++;
		p->activity++;
	}
	if (rc != -EAGAIN)
		return rc;
	r = receiver_new(p, conn, buf);
	return r ? wait_for(p, r, buf) : -ENOBUFS;
}

/* The same for HOLD. */
static int hold_one(struct praas_process *p, struct praas_conn *conn,
		    const struct praas_buf *buf, uint64_t source)
{
	struct praas_frame head = reply_head(buf, 0);
	struct praas_receiver *r;
	struct praas_message m;
	int rc = praas_key_check(buf->key, buf->head.key_bytes);

	if (rc != 0)
		return rc;
	r = receiver_new(p, conn, buf);
	if (!r)
		return -ENOBUFS;
	r->held =
		praas_mailbox_hold(&p->mailbox, source, buf->key, buf->head.key_bytes);
	if (!r->held)
		return wait_for(p, r, buf);
	p->activity++;
	praas_mailbox_look(&p->mailbox, praas_mailbox_held(&p->mailbox, r->held), &m);
	rc = answer_message(p, conn, &head, &m); /* 0: conn and r may be gone */
	if (rc != 0) {
		uint32_t held = r->held;

		receiver_free(p, r);
		let_go(p, held);
	}
	return rc;
}

static void on_recv(struct praas_process *p, struct praas_conn *conn,
		    struct praas_buf *buf)
{
	int32_t status = praas_route_check(p, buf->head.epoch);
	uint64_t source = buf->head.aux == PRAAS_SELF ? p->config.pid : buf->head.aux;
	int rc;

	if (status != 0) {
		praas_reply_refuse(p, conn, buf, status, 0);
		return;
	}
	if (buf->head.id == 0 || (buf->head.flags & PRAAS_FRAME_ONE_WAY)) {
		finish(p, conn, buf, -EINVAL, 0);
		return;
	}
	rc = buf->head.kind == PRAAS_FRAME_HOLD ? hold_one(p, conn, buf, source)
						: take_one(p, conn, buf, source);
	if (rc == 0 || rc == -EINPROGRESS)
		praas_buf_release(buf);
	else
		finish(p, conn, buf, rc, 0);
}

/* What this connection holds since that HOLD was received. */
static void on_taken(struct praas_process *p, struct praas_conn *conn,
		     struct praas_buf *buf)
{
	int32_t status = praas_route_check(p, buf->head.epoch);
	struct praas_receiver *r = p->receivers;
	struct praas_receiver *end = r + p->receivers_made;

	/* While it is being swapped out too: the message is in the snapshot, maybe. */
	if (status != 0) {
		praas_reply_refuse(p, conn, buf, status, 0);
		return;
	}
	while (r != end && (r->conn != conn || !r->held || r->id != buf->head.aux))
		r++;
	if (r == end) {
		finish(p, conn, buf, -ENOENT, 0);
		return;
	}
	praas_mailbox_drop(&p->mailbox, r->held);
	receiver_free(p, r);
	p->stats.messages_out++;
	p->activity++;
	finish(p, conn, buf, 0, 0);
}

bool praas_requests_cancel(struct praas_process *p, const struct praas_conn *conn,
			   uint64_t id)
{
	for (uint32_t i = 0; i < p->receivers_made; i++) {
		struct praas_receiver *r = &p->receivers[i];

		if (r->conn != conn || r->id != id || r->held)
			continue;
		if (!r->parked)
			praas_process_fn_wait_cancel(p, &r->wait);
		on_received(&r->wait, -ECANCELED);
		return true;
	}
	return false;
}

void praas_requests_forget_conn(struct praas_process *p, const struct praas_conn *conn)
{
	for (uint32_t i = 0; i < p->receivers_made; i++) {
		struct praas_receiver *r = &p->receivers[i];

		if (r->conn != conn || r->held)
			continue;
		if (!r->parked)
			praas_process_fn_wait_cancel(p, &r->wait);
		receiver_free(p, r);
	}
	/* Nothing of it waits any more: who gets what it holds is another one. */
	for (uint32_t i = 0; i < p->receivers_made; i++) {
		struct praas_receiver *r = &p->receivers[i];
		uint32_t held = r->held;

		if (r->conn != conn || !held)
			continue;
		receiver_free(p, r);
		let_go(p, held);
	}
}

/* Of a frame that is not one: it has nothing to give back. */
static void release_nothing(struct praas_buf *buf)
{
	(void)buf;
}

void praas_requests_unpark(struct praas_process *p, bool serve)
{
	for (uint32_t i = 0; i < p->receivers_made; i++) {
		struct praas_receiver *r = &p->receivers[i];
		struct praas_conn *conn = r->conn;
		struct praas_buf buf = { .head = { .kind = r->holds ? PRAAS_FRAME_HOLD
								    : PRAAS_FRAME_RECV,
						   .key_bytes = r->key_bytes,
						   .id = r->id,
						   .aux = r->source,
						   .deadline_ns = r->deadline_ns },
					 .release = release_nothing };

		if (!conn || !r->parked)
			continue;
		memcpy(buf.key, r->key, sizeof(buf.key));
		r->parked = false;
		receiver_free(p, r);
		if (serve)
			on_recv(p, conn, &buf);
	}
}

int praas_requests_init(struct praas_process *p)
{
	p->receivers = calloc(p->config.receivers_max, sizeof(*p->receivers));
	return p->receivers ? praas_park_init(p) : -ENOMEM;
}

/* ---- lists ---- */

static void on_list(struct praas_process *p, struct praas_conn *conn,
		    struct praas_buf *buf)
{
	struct praas_frame head = reply_head(buf, 0);
	struct praas_buf *reply = NULL;
	uint64_t bytes = 0;
	int rc = conn->ops->alloc(conn, PRAAS_LIST_BYTES_MAX, &reply);

	if (rc == 0 && buf->head.kind == PRAAS_FRAME_LIST)
		rc = praas_process_fn_list(p, buf->key, buf->head.key_bytes,
					   buf->head.aux, reply->data,
					   PRAAS_LIST_BYTES_MAX, &bytes, &head.aux);
	else if (rc == 0)
		rc = praas_process_fn_state_list(
			p, buf->key, buf->head.key_bytes, (const char *)buf->data,
			(uint32_t)praas_min_u64(buf->head.bytes, PRAAS_KEY_MAX + 1),
			reply->data, PRAAS_LIST_BYTES_MAX, &bytes, &head.aux);
	if (rc != 0) {
		praas_buf_release(reply);
		finish(p, conn, buf, rc, 0);
		return;
	}
	praas_buf_release(buf);
	reply->head.bytes = bytes;
	praas_reply_send(p, conn, &head, reply);
}

/* ---- state ---- */

void praas_requests_refuse(struct praas_process *p, struct praas_conn *conn,
			   struct praas_buf *buf, int rc)
{
	finish(p, conn, buf, rc, 0);
}

void praas_requests_state_get(struct praas_process *p, struct praas_conn *conn,
			      struct praas_buf *buf)
{
	const struct praas_value *value;
	struct praas_frame head = reply_head(buf, 0);
	int rc = praas_process_fn_state_get(p, buf->key, buf->head.key_bytes, &value,
					    &head.aux);

	if (rc == 0)
		rc = praas_reply_copy(p, conn, &head, value->data, value->bytes, NULL);
	if (rc != 0)
		finish(p, conn, buf, rc, 0);
	else
		praas_buf_release(buf);
}

static void on_state_write(struct praas_process *p, struct praas_conn *conn,
			   struct praas_buf *buf)
{
	struct praas_state_write *w = &p->client_write;
	struct praas_frame head = buf->head;
	struct praas_frame answer = { .kind = PRAAS_FRAME_REPLY, .id = head.id };
	int32_t status = praas_route_check(p, head.epoch);
	uint64_t version = 0;
	int rc = 0;

	if (status != 0) {
		praas_reply_refuse(p, conn, buf, status, 0);
		return;
	}
	w->erase = head.kind == PRAAS_FRAME_STATE_DELETE;
	w->expect = head.aux;
	w->key_bytes = head.key_bytes;
	memcpy(w->key, buf->key, (size_t)head.key_bytes + 1);
	w->value = (struct praas_value){ 0 };
	if (w->erase)
		praas_buf_release(buf);
	else
		rc = praas_process_value_from_buf(p, buf, &w->value);
	if (rc != 0) {
		finish(p, conn, buf, rc, 0);
		return;
	}
	rc = praas_process_fn_commit(p, w, 1, &version);
	if (rc != 0)
		praas_value_release(&w->value);
	if (head.flags & PRAAS_FRAME_ONE_WAY)
		return;
	answer.status = praas_status_of(rc);
	answer.aux = rc == -ENOBUFS || rc == -EBUSY ? PRAAS_RETRY_AFTER_NS : version;
	praas_reply_send(p, conn, &answer, NULL);
}

bool praas_requests_frame(struct praas_process *p, struct praas_conn *conn,
			  struct praas_buf *buf)
{
	switch (buf->head.kind) {
	case PRAAS_FRAME_SEND:
		on_send(p, conn, buf);
		return true;
	case PRAAS_FRAME_RECV:
	case PRAAS_FRAME_HOLD:
		on_recv(p, conn, buf);
		return true;
	case PRAAS_FRAME_TAKEN:
		on_taken(p, conn, buf);
		return true;
	case PRAAS_FRAME_PEEK:
		on_peek(p, conn, buf);
		return true;
	case PRAAS_FRAME_LIST:
	case PRAAS_FRAME_STATE_LIST:
		on_list(p, conn, buf);
		return true;
	case PRAAS_FRAME_STATE_GET:
		if (praas_unlikely(p->overflows) && praas_slow_get(p, conn, buf))
			return true;
		praas_requests_state_get(p, conn, buf);
		return true;
	case PRAAS_FRAME_STATE_PUT:
	case PRAAS_FRAME_STATE_DELETE:
		on_state_write(p, conn, buf);
		return true;
	default:
		return false;
	}
}
