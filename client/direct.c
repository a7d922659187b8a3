/* SPDX-License-Identifier: Apache-2.0 */
#include "client/connection.h"

#include <errno.h>
#include <string.h>

#include "internal/base.h"

/* The direct path, client's end: choosing a worker, sending, results, taking calls back, and
 * routes that the controller revokes (transport/shm_direct.h has the protocol). */

#define BURST 64u

struct praas_shm_route *praas_route_choose(struct praas_connection *conn,
					   uint32_t function)
{
	struct praas_shm_route *r = conn->hot, *best = NULL;
	const struct praas_function_info *f = &conn->functions[function];

	if (!conn->direct_allowed || !(f->flags & PRAAS_FUNCTION_DIRECT))
		return NULL;
	if (praas_unlikely(conn->shm->routes_changed != conn->routes_seen))
		(void)praas_routes_tend(conn);
	if (praas_likely(r && r->state == PRAAS_SHM_ROUTE_OPEN && r->outstanding == 0))
		return r;
	for (uint32_t w = 0; w < conn->shm->routes; w++) {
		r = conn->shm->route[w];
		if (!r || r->state != PRAAS_SHM_ROUTE_OPEN || r->stalled)
			continue;
		if (!best || r->outstanding < best->outstanding)
			best = r;
	}
	if (!best)
		return NULL;
	/* Nobody waits behind a function that takes long, or for how long nobody knows. */
	if (best->outstanding != 0 &&
	    (f->run_ns == 0 || f->run_ns > PRAAS_SHORT_RUN_NS ||
	     best->outstanding >= PRAAS_DIRECT_DEPTH))
		return NULL;
	conn->hot = best;
	return best;
}

static void write_meta(const struct praas_call *call, const struct praas_frame *head,
		       uint8_t *data)
{
	uint8_t *meta = data - praas_frame_meta_bytes(head);

	if (call->trace) {
		praas_trace_block(call, meta);
		meta += PRAAS_TRACE_BYTES;
	}
	if (call->key)
		memcpy(meta, call->key, head->key_bytes);
}

/* Payload in our own segment: workers map no other. -EAGAIN: the controller's path. */
static int place(struct praas_connection *conn, const struct praas_call *call,
		 struct praas_entry *e)
{
	struct praas_shm_conn *shm = conn->shm;
	uint64_t capacity;
	uint8_t *data;

	if (call->bytes == 0 && !call->key && !call->trace)
		return 0;
	if (call->bytes != 0 && praas_shm_find(shm, call->data, &e->ref) == 0) {
		if (praas_shm_ref_segment(e->ref) != shm->mine.id)
			goto err_again;
		data = shm->mine.base + praas_shm_ref_offset(e->ref);
		if (praas_unlikely(call->key || call->trace))
			write_meta(call, &e->head, data);
		return 0;
	}
	if (call->bytes + PRAAS_SHM_HEADROOM > shm->my_geometry.pool_bytes / 2 ||
	    praas_shm_memory_alloc(shm, call->bytes, &e->ref, &data, &capacity) != 0)
		goto err_again;
	e->extra |= PRAAS_ENTRY_TEMPORARY;
	if (call->bytes != 0) {
		memcpy(data, call->data, call->bytes);
		conn->stats.copies++;
	}
	write_meta(call, &e->head, data);
	return 0;
err_again:
	e->ref = PRAAS_SHM_NO_REF;
	return -EAGAIN;
}

int praas_direct_send(struct praas_connection *conn, struct praas_shm_route *r,
		      const struct praas_call *call, struct praas_entry *e)
{
	struct praas_desc d;
	uint64_t ref;
	int rc = place(conn, call, e);

	if (praas_unlikely(rc != 0))
		return rc;
	ref = e->ref == PRAAS_SHM_NO_REF ? 0 : e->ref;
	praas_frame_to_desc(&e->head, (uint16_t)praas_shm_ref_segment(ref),
			    praas_shm_ref_offset(ref), &d);
	e->position = r->channel.tx.head;
	rc = praas_channel_push(&r->channel, &d);
	if (praas_unlikely(rc != 0)) {
		if (rc == -EPROTO) /* a worker that forges is of no use to us */
			praas_direct_lied(conn, r);
		if (e->extra & PRAAS_ENTRY_TEMPORARY)
			praas_shm_memory_free(conn->shm, e->ref);
		e->extra &= (uint8_t)~PRAAS_ENTRY_TEMPORARY;
		e->ref = PRAAS_SHM_NO_REF;
		return -EAGAIN;
	}
	e->via = (int32_t)r->worker;
	e->order = ++conn->order;
	r->outstanding++;
	conn->direct_pending++;
	conn->withdrawn = false;
	conn->stats.calls++;
	conn->stats.direct++;
	conn->stats.bytes_out += call->bytes;
	return 0;
}

/* ---- results ----------------------------------------------------------------------------- */

/* Where a worker's result lies. 0; -EPROTO. */
static int locate(struct praas_connection *conn, struct praas_shm_route *r,
		  uint32_t segment, uint64_t offset, uint64_t bytes,
		  struct praas_view *ret_view)
{
	struct praas_shm_big *big;

	if (offset % PRAAS_FRAME_ALIGN != 0)
		return -EPROTO;
	if (praas_likely(segment == r->reply.id)) {
		if (offset < r->reply_from || offset > r->reply_to ||
		    bytes > r->reply_to - offset)
			return -EPROTO;
		*ret_view = (struct praas_view){ .data = r->reply.base + offset,
						 .bytes = bytes,
						 .token = (uint64_t)r->worker << 48 |
							  offset | PRAAS_TOKEN_DIRECT };
		r->views++;
		return 0;
	}
	big = praas_shm_big_find(conn->shm, segment);
	if (!big &&
	    conn->link) { /* the controller has announced it through the socket */
		(void)praas_shm_socket_poll(conn->shm);
		big = praas_shm_big_find(conn->shm, segment);
	}
	if (!big || !big->shared || big->state != PRAAS_SHM_BIG_READ ||
	    !praas_segment_holds(&big->segment, offset, bytes))
		return -EPROTO;
	big->users++;
	*ret_view = (struct praas_view){ .data = big->segment.base + offset,
					 .bytes = bytes,
					 .token = (uint64_t)segment << 48 |
						  PRAAS_TOKEN_BIG };
	return 0;
}

/* The call is ours again: it goes through the controller, or ends when it was cancelled. */
static void take_back(struct praas_connection *conn, struct praas_entry *e)
{
	conn->direct_pending--;
	e->via = PRAAS_VIA_CONTROLLER;
	if (e->state == PRAAS_ENTRY_ABANDONED || e->cancelled) {
		praas_entry_end(conn, e, PRAAS_CANCELLED);
		return;
	}
	e->state = PRAAS_ENTRY_REROUTE;
	conn->reroutes++;
}

int praas_direct_result(struct praas_connection *conn, struct praas_shm_route *r,
			const struct praas_desc *d)
{
	struct praas_view view = { 0 };
	struct praas_frame f;
	struct praas_entry *e;
	struct praas_result result;
	uint16_t segment;
	uint64_t offset;

	if (praas_frame_from_desc(d, &f, &segment, &offset) != 0 ||
	    f.kind != PRAAS_FRAME_RESULT || r->outstanding == 0 ||
	    f.bytes > conn->bytes_max)
		return -EPROTO;
	if (f.bytes != 0 && locate(conn, r, segment, offset, f.bytes, &view) != 0)
		return -EPROTO;
	r->outstanding--;
	r->stalled = false;
	result = (struct praas_result){
		.call = f.id, .status = f.status, .view = view, .run_ns = f.aux
	};
	e = praas_entry_find(conn, f.id);
	if (!e || e->via != (int32_t)r->worker || e->state == PRAAS_ENTRY_DONE) {
		praas_result_release(conn, &result); /* was taken back in time */
		return 0;
	}
	if (f.aux == PRAAS_DIRECT_WITHDRAWN) {
		take_back(conn, e);
		return 0;
	}
	if (e->state == PRAAS_ENTRY_ABANDONED) {
		praas_result_release(conn, &result);
		praas_entry_end(conn, e, PRAAS_OK); /* only frees it */
		return 0;
	}
	conn->direct_pending--;
	e->via = PRAAS_VIA_CONTROLLER;
	if (e->extra)
		praas_entry_extra(conn, e, &f);
	conn->stats.bytes_in += f.bytes;
	e->result = result;
	if (praas_unlikely(f.status != 0))
		praas_result_text(conn, &e->result);
	else
		praas_learn(conn, e->head.function, f.aux);
	praas_entry_done(conn, e);
	return 0;
}

void praas_direct_lied(struct praas_connection *conn, struct praas_shm_route *r)
{
	/* The controller says when its memory is out of use: only then it is closed. */
	if (r->state != PRAAS_SHM_ROUTE_GONE)
		r->state = PRAAS_SHM_ROUTE_BROKEN;
	conn->shm->routes_changed++;
}

/* Takes what has come back over one route, a burst of it at most. */
static unsigned poll_route(struct praas_connection *conn, struct praas_shm_route *r)
{
	unsigned done = 0;

	while (r->outstanding != 0 && done < BURST) {
		struct praas_desc d;
		int rc = praas_ring_pop(&r->channel.rx, &d);

		if (rc == 0)
			rc = praas_direct_result(conn, r, &d);
		if (rc == -EAGAIN)
			break;
		if (rc != 0) {
			praas_direct_lied(conn, r);
			break;
		}
		done++;
	}
	return done;
}

unsigned praas_direct_poll(struct praas_connection *conn)
{
	unsigned done = 0;

	for (uint32_t w = 0; w < conn->shm->routes; w++) {
		struct praas_shm_route *r = conn->shm->route[w];

		if (!r || r->state == PRAAS_SHM_ROUTE_NONE)
			continue;
		done += poll_route(conn, r);
		if (praas_unlikely(r->backlog.count != 0))
			(void)praas_shm_backlog_flush(&r->channel,
						      &r->backlog); /* or later */
	}
	return done;
}

bool praas_direct_ready_any(const struct praas_connection *conn)
{
	for (uint32_t w = 0; w < conn->shm->routes; w++) {
		const struct praas_shm_route *r = conn->shm->route[w];

		if (r && r->state != PRAAS_SHM_ROUTE_NONE && r->outstanding != 0 &&
		    praas_ring_ready(&r->channel.rx))
			return true;
	}
	return false;
}

/* ---- taking calls back --------------------------------------------------------------------- */

/* A position that cannot be, as a worker out of its mind leaves it, does not show that it was not. */
static bool taken(const struct praas_shm_route *r, uint64_t position)
{
	uint64_t answered = r->channel.rx.next, sent = r->channel.tx.head;
	/* ring.A1, pairs with ring.R1: what the worker did before it said so is visible. */
	uint64_t read =
		atomic_load_explicit(&r->channel.tx.tail->read, memory_order_acquire);

	return read > position || read < answered || read > sent;
}

static void mark(struct praas_shm_route *r, struct praas_entry *e)
{
	struct praas_ring_slot *slot =
		&r->channel.tx.slot[e->position & r->channel.tx.mask];
	uint64_t word = atomic_load_explicit(&slot->word[0], memory_order_relaxed);

	/* direct.A0, pairs with direct.R0: the fence after it makes the mark visible before we
	 * look at the worker's position. */
	atomic_store_explicit(&slot->word[0], word | PRAAS_DIRECT_MARK,
			      memory_order_relaxed);
	e->marked = true;
}

unsigned praas_direct_withdraw(struct praas_connection *conn)
{
	unsigned marks = 0, back = 0;

	conn->withdrawn = true;
	if (conn->direct_pending == 0)
		return 0;
	for (uint32_t i = 0; i <= conn->mask; i++) {
		struct praas_entry *e = &conn->entries[i];

		if (e->state != PRAAS_ENTRY_PENDING || e->via == PRAAS_VIA_CONTROLLER ||
		    e->marked || taken(conn->shm->route[e->via], e->position))
			continue;
		mark(conn->shm->route[e->via], e);
		marks++;
	}
	if (marks == 0)
		return 0;
	praas_doorbell_fence_producers();
	for (uint32_t i = 0; i <= conn->mask; i++) {
		struct praas_entry *e = &conn->entries[i];

		if (e->state != PRAAS_ENTRY_PENDING || e->via == PRAAS_VIA_CONTROLLER ||
		    !e->marked || taken(conn->shm->route[e->via], e->position))
			continue; /* its answer tells whether it saw the mark */
		conn->shm->route[e->via]->stalled = true;
		take_back(conn, e);
		back++;
	}
	return back;
}

/* Sends a call that was taken back. 0; -EAGAIN not now. */
static int send_again(struct praas_connection *conn, struct praas_entry *e)
{
	struct praas_shm_conn *shm = conn->shm;
	uint64_t meta = praas_frame_meta_bytes(&e->head);
	struct praas_buf *buf;
	int rc = 0;

	if (e->ref == PRAAS_SHM_NO_REF) {
		rc = conn->ops->alloc(conn->link, 0, &buf);
	} else {
		uint8_t *data = shm->mine.base + praas_shm_ref_offset(e->ref);
		const uint8_t *at = data - meta;

		buf = praas_shm_adopt(shm, e->ref, data);
		rc = buf ? 0 : -EAGAIN;
		if (buf && (e->head.flags & PRAAS_FRAME_TRACE)) {
			memcpy(buf->trace, at, PRAAS_TRACE_BYTES);
			at += PRAAS_TRACE_BYTES;
		}
		if (buf)
			memcpy(buf->key, at, e->head.key_bytes);
	}
	if (rc != 0)
		return -EAGAIN;
	buf->head = e->head;
	buf->head.epoch = conn->epoch;
	buf->key[e->head.key_bytes] = '\0';
	rc = conn->ops->send(conn->link, buf);
	if (rc != 0) {
		praas_buf_release(buf);
		return rc;
	}
	conn->unsent++;
	if (e->extra & PRAAS_ENTRY_TEMPORARY) /* the loan holds it now */
		praas_shm_memory_free(shm, e->ref);
	e->extra &= (uint8_t)~PRAAS_ENTRY_TEMPORARY;
	e->ref = PRAAS_SHM_NO_REF;
	e->state = PRAAS_ENTRY_PENDING;
	conn->reroutes--;
	return 0;
}

static unsigned send_all_again(struct praas_connection *conn)
{
	unsigned done = 0;

	for (uint32_t i = 0; conn->reroutes != 0 && conn->link && i <= conn->mask;
	     i++) {
		struct praas_entry *e = &conn->entries[i];

		if (e->state != PRAAS_ENTRY_REROUTE)
			continue;
		if (send_again(conn, e) != 0)
			break;
		done++;
	}
	return done;
}

/* ---- routes that end ------------------------------------------------------------------------ */

/* No answer comes any more: what was taken has ended, or nobody knows (the worker lied, and may go on);
 * what was not goes another way. Returns how many: who waits for one of them must not sleep. */
static unsigned end_calls(struct praas_connection *conn, struct praas_shm_route *r)
{
	int32_t status =
		r->state == PRAAS_SHM_ROUTE_BROKEN ? PRAAS_UNKNOWN : PRAAS_CRASHED;
	unsigned done = 0;

	if (r->gone_status < 0)
		status = r->gone_status;

	for (uint32_t i = 0; i <= conn->mask; i++) {
		struct praas_entry *e = &conn->entries[i];

		if (e->via != (int32_t)r->worker || (e->state != PRAAS_ENTRY_PENDING &&
						     e->state != PRAAS_ENTRY_ABANDONED))
			continue;
		if (taken(r, e->position))
			praas_entry_end(conn, e, status);
		else
			take_back(conn, e);
		done++;
	}
	r->outstanding = 0;
	if (conn->hot == r)
		conn->hot = NULL;
	return done;
}

static unsigned on_gone(struct praas_connection *conn, struct praas_shm_route *r)
{
	unsigned done = 0;
	struct praas_desc d;

	/* What was answered counts. */
	for (; r->outstanding != 0 && praas_ring_pop(&r->channel.rx, &d) == 0; done++)
		if (praas_direct_result(conn, r, &d) != 0)
			break;
	conn->routes_closing = true;
	return done + end_calls(conn, r);
}

static void close_gone(struct praas_connection *conn)
{
	conn->routes_closing = false;
	for (uint32_t w = 0; w < conn->shm->routes; w++) {
		struct praas_shm_route *r = conn->shm->route[w];

		if (!r || r->state != PRAAS_SHM_ROUTE_GONE)
			continue;
		if (r->views != 0 || praas_shm_route_close(conn->shm, r) != 0)
			conn->routes_closing = true; /* later */
	}
}

unsigned praas_routes_tend(struct praas_connection *conn)
{
	struct praas_shm_conn *shm = conn->shm;
	unsigned done = 0;

	if (praas_unlikely(shm->routes_changed != conn->routes_seen)) {
		conn->routes_seen = shm->routes_changed;
		for (uint32_t w = 0; w < shm->routes; w++) {
			struct praas_shm_route *r = shm->route[w];

			if (r && r->state == PRAAS_SHM_ROUTE_REVOKED)
				done += praas_direct_withdraw(conn);
			else if (r && r->state == PRAAS_SHM_ROUTE_BROKEN)
				done += end_calls(conn, r);
			else if (r && r->state == PRAAS_SHM_ROUTE_GONE)
				done += on_gone(conn, r);
		}
	}
	if (praas_unlikely(conn->routes_closing) && conn->link)
		close_gone(conn);
	if (praas_unlikely(conn->reroutes != 0))
		done += send_all_again(conn);
	return done;
}

void praas_direct_release(struct praas_connection *conn, uint64_t token)
{
	struct praas_shm_conn *shm = conn->shm;
	uint64_t value = token & ~(uint64_t)PRAAS_TOKEN_MASK;
	uint32_t high = (uint32_t)(value >> 48);
	uint64_t offset = praas_shm_ref_offset(value);
	struct praas_shm_route *r;

	switch (token & PRAAS_TOKEN_MASK) {
	case PRAAS_TOKEN_DIRECT:
		r = shm->route[high];
		r->views--;
		if (r->state < PRAAS_SHM_ROUTE_BROKEN &&
		    praas_shm_give_back(&r->channel, &r->backlog,
					praas_shm_ref(r->reply.id, offset)) != 0)
			praas_direct_lied(conn, r); /* it forges positions */
		break;
	case PRAAS_TOKEN_REF:
		conn->refs--;
		if (shm->state == PRAAS_SHM_OPEN &&
		    praas_shm_give_back(&shm->channel, &shm->backlog, value) != 0)
			praas_shm_conn_fail(shm, -EPROTO);
		break;
	default:
		praas_shm_big_unuse(shm, praas_shm_big_find(shm, high));
		break;
	}
}
