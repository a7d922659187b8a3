/* SPDX-License-Identifier: Apache-2.0
 *
 * What functions in workers ask for: messages, state, updates, calls. A question is copied, checked
 * and handed to the process (dataplane/process_fn.h); its answer goes back by the ring.
 */
#include <errno.h>
#include <string.h>

#include "dataplane/worker_private.h"

#define NO_DELETE (~(uint64_t)0)
#define FEW                                                                            \
	4u /* an arena this many times larger than what it cannot hold is to be emptied */

void wx_push(struct wx_worker *w, const struct praas_frame *f, uint32_t segment,
	     uint64_t offset)
{
	struct praas_desc d;

	praas_frame_to_desc(f, (uint16_t)segment, offset, &d);
	/* It has at most one question, its calls and a few notes under way: an honest worker's ring
	 * has room. */
	if (praas_channel_push(&w->channel, &d) != 0)
		wx_violation(w);
}

void wx_reply(struct wx_worker *w, uint64_t id, int rc, uint64_t aux)
{
	const struct praas_frame f = {
		.kind = PRAAS_FRAME_REPLY, .id = id, .status = rc, .aux = aux
	};

	wx_push(w, &f, 0, 0);
}

/* ---- loans ---- */

int wx_loan_add(struct wx_worker *w, struct praas_value *value, struct praas_buf *buf)
{
	struct wx_loan *loan;

	if (w->loans_count == WX_LOANS_MAX)
		return -ENOBUFS;
	loan = &w->loans[w->loans_count++];
	*loan = (struct wx_loan){ .buf = buf, .depth = w->depth };
	if (value) {
		loan->token = (uint64_t)value->segment << 48 | value->offset;
		loan->value = praas_value_take(value);
	} else {
		loan->token = (uint64_t)buf->segment << 48 | buf->offset;
	}
	return 0;
}

static void loan_end(struct wx_loan *loan)
{
	if (loan->buf)
		praas_buf_release(loan->buf);
	else
		praas_value_release(&loan->value);
}

int wx_take_returns(struct wx_worker *w)
{
	uint64_t token;

	for (uint32_t turn = 0; turn < WX_LOANS_MAX; turn++) {
		int rc = praas_channel_take_return(&w->channel, &token);
		struct wx_region *r;
		uint32_t i = w->loans_count;

		if (rc != 0)
			return rc == -EAGAIN ? 0 : rc;
		while (i > 0 && w->loans[i - 1].token != token)
			i--;
		if (i > 0) {
			struct wx_loan loan = w->loans[i - 1];

			w->loans[i - 1] = w->loans[--w->loans_count];
			loan_end(&loan);
			continue;
		}
		/* A big buffer that it did not use after all. Anything else: it gave back twice, or
		 * something that its invocation's end gave back already. */
		r = wx_region_named(w, (uint32_t)(token >> 48), 0, 0);
		if (r && !r->arena && r->held == 0)
			wx_region_free(r);
	}
	return 0;
}

bool wx_wait_alone(const struct wx_worker *w)
{
	return w->waiting && (w->wait_kind == PRAAS_WORKER_UPDATE_BEGIN ||
			      w->wait_kind == PRAAS_WORKER_STATE_LOAD ||
			      w->wait_kind == PRAAS_FRAME_SEND);
}

void wx_wait_cancel(struct wx_worker *w)
{
	if (w->waiting && w->wait_kind != PRAAS_WORKER_WAIT)
		praas_process_fn_wait_cancel(w->ex->base.process, &w->wait);
	if (w->waiting && w->wait_kind == PRAAS_FRAME_SEND)
		praas_value_release(&w->send.value);
	w->waiting = false;
}

void wx_calls_end(struct wx_worker *w)
{
	wx_wait_cancel(w);
	/* Those of what lies below stay. */
	for (uint32_t i = w->loans_count; i > 0; i--) {
		struct wx_loan loan = w->loans[i - 1];

		if (loan.depth < w->depth)
			continue;
		w->loans[i - 1] = w->loans[--w->loans_count];
		loan_end(&loan);
	}
}

void wx_reply_value(struct wx_worker *w, struct praas_frame *f,
		    struct praas_value *value)
{
	uint32_t segment = value->segment;
	uint64_t offset = value->offset;
	int rc = 0;

	f->bytes = value->bytes;
	if (value->bytes != 0 && wx_show(w, segment) != 0) {
		struct praas_value copy;
		uint8_t *room;

		rc = praas_process_value_new(w->ex->base.process, value->bytes, &copy,
					     &room);
		if (rc == 0) {
			memcpy(room, value->data, value->bytes);
			w->ex->stats.copies++;
			praas_value_release(value);
			*value = copy;
			segment = value->segment;
			offset = value->offset;
		}
	}
	if (rc == 0 && value->bytes != 0)
		rc = wx_loan_add(w, value, NULL);
	if (rc != 0) {
		praas_value_release(value);
		wx_reply(w, f->id, -ENOSPC, 0);
		return;
	}
	wx_push(w, f, segment, offset);
}

/* ---- messages ---- */

void wx_reply_message(struct wx_worker *w, uint64_t id, struct praas_message *message)
{
	struct praas_frame f = { .kind = PRAAS_FRAME_REPLY,
				 .id = id,
				 .aux = message->source,
				 .deadline_ns = message->sequence };

	if (praas_unlikely(message->traced)) {
		f.flags = PRAAS_FRAME_TRACE;
		memcpy(w->order->message_trace, message->trace, sizeof(message->trace));
	}
	wx_reply_value(w, &f, &message->value);
}

static void reply_grant(struct wx_worker *w, uint64_t id,
			const struct praas_update_grant *g)
{
	const struct praas_frame f = { .kind = PRAAS_FRAME_REPLY,
				       .id = id,
				       .bytes = g->bytes,
				       .aux = g->version,
				       .deadline_ns = g->lease };

	/* Where it cannot look it could not update: never so for what was published. */
	if (g->segment != 0 && g->bytes != 0 && wx_show(w, g->segment) != 0) {
		wx_reply(w, id, -ENOSPC, 0);
		return;
	}
	wx_push(w, &f, g->segment, g->offset);
}

static void on_waited(struct praas_fn_wait *wait, int rc)
{
	struct wx_worker *w = wait->user;

	w->waiting = false;
	if (w->wait_kind == PRAAS_FRAME_SEND)
		wx_on_room(w, rc);
	else if (rc != 0)
		wx_reply(w, w->wait_id, rc, 0);
	else if (w->wait_kind == PRAAS_FRAME_RECV)
		wx_reply_message(w, w->wait_id, &wait->message);
	else if (w->wait_kind == PRAAS_WORKER_MEMBERS_WAIT)
		wx_reply(w, w->wait_id, 0,
			 praas_process_members_version(w->ex->base.process));
	else if (w->wait_kind == PRAAS_WORKER_STATE_LOAD)
		wx_reply(w, w->wait_id, 0, 0);
	else
		reply_grant(w, w->wait_id, &wait->grant);
}

void wx_wait_begin(struct wx_worker *w, const struct praas_frame *f)
{
	memset(&w->wait, 0, sizeof(w->wait));
	w->wait.done = on_waited;
	w->wait.user = w;
	/* 1 is how a worker says: look once. */
	w->wait.deadline_ns = f->deadline_ns == 1 ? 0 : f->deadline_ns;
	w->wait_id = f->id;
	w->wait_kind = f->kind;
}

void wx_wait_begun(struct wx_worker *w, int rc)
{
	if (rc != -EINPROGRESS) {
		on_waited(&w->wait, rc);
		return;
	}
	w->waiting = true;
	wx_ahead_withdraw(w); /* what it waits for may be among them */
}

/* Given up before it began to wait: nobody would tell it again. */
bool wx_given_up(struct wx_worker *w, const struct praas_frame *f)
{
	struct wx_direct_run run;
	bool up;

	if (f->deadline_ns == 1)
		return false;
	/* What lies on top of a direct call is not one. */
	w->wait_direct = w->depth == 0 && wx_direct_running(w, &run);
	up = w->wait_direct ? atomic_load_explicit(&w->order->direct_cancel,
						   memory_order_relaxed) >= run.number
			    : w->inv && w->inv->cancelled;
	if (up)
		wx_reply(w, f->id, -ECANCELED, 0);
	return up;
}

void wx_wait_give_up(struct wx_worker *w)
{
	wx_wait_cancel(w);
	wx_reply(w, w->wait_id, -ECANCELED, 0);
}

static int on_recv(struct wx_worker *w, const struct praas_frame *f, const char *key)
{
	int rc = wx_asks(w, f);

	if (rc != 0)
		return rc;
	if (wx_given_up(w, f))
		return 0;
	wx_wait_begin(w, f);
	wx_wait_begun(w, praas_process_fn_recv(w->ex->base.process, f->aux, key,
					       f->key_bytes, &w->wait));
	if (w->waiting)
		wx_wait_began(w);
	return 0;
}

static int on_update_begin(struct wx_worker *w, const struct praas_frame *f,
			   const char *key)
{
	if (w->waiting || f->status < 0 || f->status >= (int32_t)PRAAS_WORKER_LEASES)
		return -EPROTO;
	if (wx_given_up(w, f))
		return 0;
	wx_wait_begin(w, f);
	w->wait.word = &w->line->lease[f->status];
	w->wait.ended = &w->order->lease_ended[f->status];
	wx_wait_begun(w,
		      praas_process_fn_update_begin(w->ex->base.process, w->index, key,
						    f->key_bytes, f->aux, &w->wait));
	return 0;
}

static int on_update_commit(struct wx_worker *w, const struct praas_frame *f,
			    uint32_t segment, uint64_t offset, const char *key)
{
	struct praas_value moved = { 0 };
	struct wx_region *r;
	uint64_t version = 0;
	bool kept = false;
	int rc;

	if (f->bytes != 0) {
		/* By reference whatever its size: the next update shall find it there. */
		r = wx_region_named(w, segment, offset, f->bytes);
		if (!r)
			return -EPROTO;
		rc = wx_value_here(w, r, offset, f->bytes, &moved);
		if (rc != 0)
			return rc;
	}
	rc = praas_process_fn_update_commit(w->ex->base.process, w->index, key,
					    f->key_bytes, f->bytes ? &moved : NULL,
					    f->aux == 1, &kept, &version);
	if (rc != 0)
		praas_value_release(&moved);
	if (!(f->flags & PRAAS_FRAME_ONE_WAY))
		wx_reply(w, f->id, rc, version << 1 | (kept ? 1 : 0));
	return 0;
}

/* ---- state ---- */

/* Records are read once, into memory of ours, and checked there. */
static int take_writes(struct wx_worker *w, const uint8_t *from, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct praas_state_write *write = &w->ex->writes[i];
		struct praas_commit_record r;
		int rc = 0;

		memcpy(&r, from + i * sizeof(r), sizeof(r));
		write->expect = r.expect;
		write->erase = r.offset == NO_DELETE;
		write->key_bytes = r.key_bytes;
		memcpy(write->key, r.key, sizeof(write->key));
		write->key[r.key_bytes] = '\0';
		write->value = (struct praas_value){ 0 };
		if (!write->erase)
			rc = wx_value(w, r.segment, r.offset, r.bytes, &write->value);
		if (rc == 0)
			continue;
		for (uint32_t k = 0; k < i; k++)
			praas_value_release(&w->ex->writes[k].value);
		return rc;
	}
	return 0;
}

static int on_commit(struct wx_worker *w, const struct praas_frame *f, uint32_t segment,
		     uint64_t offset)
{
	struct wx *ex = w->ex;
	struct wx_region *r = wx_region_named(w, segment, offset, f->bytes);
	uint64_t version = 0;
	int rc;

	if (!r || f->aux == 0 || f->aux > PRAAS_WRITES_MAX ||
	    f->bytes != f->aux * sizeof(struct praas_commit_record))
		return -EPROTO;
	r->held++;
	rc = take_writes(w, r->segment.base + offset, (uint32_t)f->aux);
	wx_region_release(r, offset);
	if (rc == -EPROTO)
		return rc;
	if (rc == 0) {
		rc = praas_process_fn_commit(ex->base.process, ex->writes,
					     (uint32_t)f->aux, &version);
		for (uint32_t i = 0; rc != 0 && i < f->aux; i++)
			praas_value_release(&ex->writes[i].value);
	}
	/* To a function the number of objects is a limit as their memory is. */
	if (rc == -ENOBUFS)
		rc = -ENOSPC;
	if (!(f->flags & PRAAS_FRAME_ONE_WAY)) {
		if (rc == 0)
			wx_direct_committed(w);
		wx_reply(w, f->id, rc, version);
		return 0;
	}
	w->commit_rc = rc != 0 ? rc : 1;
	/* commit.R0, pairs with commit.A0: who sees the number sees the writes in the index. */
	atomic_store_explicit(&w->order->commits, ++w->commits, memory_order_release);
	return 0;
}

static int on_state_load(struct wx_worker *w, const struct praas_frame *f,
			 const char *key)
{
	const struct praas_value *value;
	uint64_t version = 0;
	int rc;

	if (w->waiting)
		return -EPROTO;
	wx_wait_begin(w, f);
	w->wait.deadline_ns = 0;
	rc = praas_process_fn_state_bring(w->ex->base.process, key, f->key_bytes,
					  &w->wait);
	if (rc == 0) /* what comes by this thread has come then */
		rc = praas_process_fn_state_get(w->ex->base.process, key, f->key_bytes,
						&value, &version);
	wx_wait_begun(w, rc);
	return 0;
}

static int on_list(struct wx_worker *w, const struct praas_frame *f, uint32_t segment,
		   uint64_t offset, const char *key)
{
	struct praas_process *p = w->ex->base.process;
	struct praas_frame answer = { .kind = PRAAS_FRAME_REPLY, .id = f->id };
	char after[PRAAS_KEY_MAX + 1] = "";
	struct praas_value value = { 0 };
	uint8_t *room;
	int rc;

	if (f->bytes > PRAAS_KEY_MAX)
		return -EPROTO;
	if (f->bytes != 0) {
		struct wx_region *r = wx_region_named(w, segment, offset, f->bytes);

		if (!r)
			return -EPROTO;
		memcpy(after, r->segment.base + offset, f->bytes);
		r->held++;
		wx_region_release(r, offset);
	}
	rc = praas_process_value_new(p, PRAAS_LIST_BYTES_MAX, &value, &room);
	if (rc == 0)
		rc = praas_process_fn_state_list(
			p, key, f->key_bytes, after, (uint32_t)f->bytes, room,
			PRAAS_LIST_BYTES_MAX, &value.bytes, &answer.aux);
	if (rc == 0 && value.bytes != 0) {
		wx_reply_value(w, &answer, &value);
		return 0;
	}
	praas_value_release(&value);
	wx_reply(w, f->id, rc, 0);
	return 0;
}

/* ---- the rest ---- */

/* How large one more may be: their memory is ours to pay for, and a worker that starts needs a place too. */
static uint64_t segment_room(const struct wx *ex)
{
	uint64_t sum = 0;
	uint32_t count = 0;

	for (uint32_t i = 0; i < WX_REGIONS_MAX; i++) {
		const struct wx_region *r = &ex->regions[i];

		if (!r->segment.base || r->arena)
			continue;
		sum += r->segment.bytes;
		count++;
	}
	if (count >= WX_REGIONS_MAX - PRAAS_WORKERS_MAX)
		return 0;
	return ex->config.big_bytes_max > sum ? ex->config.big_bytes_max - sum : 0;
}

static int on_segment(struct wx_worker *w, const struct praas_frame *f)
{
	struct wx *ex = w->ex;
	struct wx_region *r;
	struct praas_worker_segment seg;
	uint64_t bytes, room;
	int rc;

	if (f->aux == 0 || f->aux > ex->config.bytes_max) {
		wx_reply(w, f->id, -EMSGSIZE, 0);
		return 0;
	}
	/* Its arena is full of small things: they move to the pool. */
	if (f->aux <= ex->config.arena_bytes / FEW)
		(void)praas_process_evacuate(ex->base.process, w->arena->segment.id);
	room = segment_room(ex);
	bytes = praas_segment_payload_bytes(f->aux, room);
	rc = bytes <= room ? wx_region_new(ex, w->index, bytes, false, &r) : -ENOSPC;
	if (rc == 0) {
		seg = (struct praas_worker_segment){ .id = r->segment.id,
						     .writable = 1,
						     .bytes = bytes };
		rc = wx_socket_send(w, PRAAS_WORKER_MSG_SEGMENT, &seg, sizeof(seg),
				    &r->segment.fd, 1);
		if (rc == 0) {
			r->shown |= 1u << w->index;
			w->segments++;
		} else {
			wx_region_free(r);
		}
	}
	wx_reply(w, f->id, rc ? -ENOSPC : 0, rc ? 0 : seg.id);
	return 0;
}

static int on_timing(const struct wx_worker *w, const struct praas_frame *f)
{
	if (!w->inv || f->id != w->inv->id || !(w->inv->flags & PRAAS_FRAME_TIMING))
		return -EPROTO;
	w->inv->arrived_ns = f->aux;
	w->inv->state_ns = f->deadline_ns;
	w->inv->measured = true;
	return 0;
}

int wx_on_call(struct wx_worker *w, const struct praas_frame *f, uint32_t segment,
	       uint64_t offset, const char *key)
{
	w->ex->base.asked++;
	switch ((uint32_t)f->kind) {
	case PRAAS_FRAME_SEND:
		return wx_on_send(w, f, segment, offset, key);
	case PRAAS_FRAME_RECV:
		return on_recv(w, f, key);
	case PRAAS_WORKER_WAIT:
		return wx_on_wait(w, f);
	case PRAAS_FRAME_PEEK:
		return wx_on_peek(w, f, key);
	case PRAAS_FRAME_INVOKE:
		return wx_on_invoke(w, f, segment, offset, key);
	case PRAAS_FRAME_STATE_LIST:
		return on_list(w, f, segment, offset, key);
	case PRAAS_WORKER_STATE_LOAD:
		return on_state_load(w, f, key);
	case PRAAS_WORKER_COMMIT:
		return on_commit(w, f, segment, offset);
	case PRAAS_WORKER_UPDATE_BEGIN:
		return on_update_begin(w, f, key);
	case PRAAS_WORKER_UPDATE_COMMIT:
		return on_update_commit(w, f, segment, offset, key);
	case PRAAS_WORKER_MEMBER:
		wx_on_member(w, f, key);
		return 0;
	case PRAAS_WORKER_MEMBERS:
		wx_on_members(w, f);
		return 0;
	case PRAAS_WORKER_MEMBERS_WAIT:
		return wx_on_members_wait(w, f);
	case PRAAS_WORKER_SEGMENT:
		return on_segment(w, f);
	case PRAAS_WORKER_TIMING:
		return on_timing(w, f);
	case PRAAS_WORKER_SKIPPED:
		return wx_on_skipped(w, f);
	case PRAAS_WORKER_DETACHED:
		return wx_on_detached(w, f);
	case PRAAS_WORKER_SHARE:
		return wx_on_share(w, f);
	default:
		return -EPROTO;
	}
}
