/* SPDX-License-Identifier: Apache-2.0
 *
 * The way of a call to a worker: which one, what it is told; and calls that are sent ahead, into
 * the ring of a busy worker, and taken back when that was a mistake.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/worker_private.h"

/* Where worker w can see it; copied when it cannot. */
static int input_prepare(struct wx_worker *w, struct praas_buf **buf,
			 struct praas_worker_input *ret_in)
{
	int rc = wx_readable(w, buf);

	if (rc != 0)
		return rc;
	*ret_in = (struct praas_worker_input){ 0 };
	if (*buf) {
		ret_in->bytes = (*buf)->head.bytes;
		ret_in->source = (*buf)->head.source;
		ret_in->sequence = (*buf)->head.sequence;
		ret_in->segment = ret_in->bytes ? (*buf)->segment : 0;
		ret_in->offset = ret_in->bytes ? (*buf)->offset : 0;
	}
	return 0;
}

static PRAAS_COLD void call_flagged(const struct praas_invocation *inv,
				    const struct praas_buf *first,
				    struct praas_frame *f,
				    struct praas_worker_call *call)
{
	if (f->flags & PRAAS_FRAME_TRACE)
		memcpy(call->trace, first->trace, sizeof(call->trace));
	/* It is the invocation's: a retry may ask for it, and not the call before. */
	f->flags &= (uint8_t)(inv->flags | PRAAS_FRAME_TRACE);
	call->arrived_ns = inv->arrived_ns;
}

/* Inputs of a trigger, key and trace: what the descriptor has no room for. */
static int call_fill(struct wx_worker *w, struct praas_invocation *inv, uint32_t level,
		     struct praas_frame *f, struct praas_worker_input *ret_first)
{
	struct praas_buf **bufs = inv->inputs_more ? inv->inputs_more : inv->inputs;
	struct praas_worker_call *call =
		(void *)((uint8_t *)w->call + level * PRAAS_WORKER_CALL_BYTES);
	const struct praas_buf *first;
	int rc = input_prepare(w, &bufs[0], ret_first);

	for (uint32_t i = 1; rc == 0 && i < inv->inputs_count; i++)
		rc = input_prepare(w, &bufs[i], &call->inputs[i]);
	if (rc != 0)
		return rc;
	if (inv->inputs_count > 1)
		call->inputs[0] = *ret_first;
	first = bufs[0];
	if (!first)
		return 0;
	f->key_bytes = first->head.key_bytes;
	if (f->key_bytes)
		memcpy(call->key, first->key, f->key_bytes + 1u);
	f->flags = first->head.flags & (PRAAS_FRAME_TRACE | PRAAS_FRAME_TIMING);
	if (f->flags)
		call_flagged(inv, first, f, call);
	return 0;
}

/* The one that ran last, when it is free and not with a direct client; else any such; else any. */
static struct wx_worker *choose(struct wx *ex)
{
	struct wx_worker *any = NULL;

	for (uint32_t i = 0; i < ex->config.workers; i++) {
		struct wx_worker *w = &ex->workers[(ex->last + i) % ex->config.workers];

		if (w->state != WX_IDLE)
			continue;
		if (atomic_load_explicit(&w->line->reader.epoch,
					 memory_order_relaxed) == 0)
			return w;
		any = w;
	}
	return any;
}

/* Degraded, and nobody there: fails at once, with the reason. */
static int fail_fast(struct wx *ex, struct praas_invocation *inv)
{
	char text[PRAAS_ERROR_TEXT_MAX + 64];

	(void)snprintf(
		text, sizeof(text),
		"the process is degraded: its workers died 5 times within a minute; "
		"last: %.400s",
		ex->failure[0] ? ex->failure : ex->last_death);
	praas_process_complete(ex->base.process, inv, PRAAS_CRASHED, wx_text(ex, text),
			       0);
	return 0;
}

static void dispatch(struct wx_worker *w, struct praas_invocation *inv)
{
	uint32_t level = wx_level_next(w);

	/* It waits: with what it asked for on top, it asks again. */
	if (wx_frame_push(w))
		wx_wait_interrupt(w);
	if (w->state == WX_IDLE)
		w->ex->idle--;
	w->state = WX_BUSY;
	w->inv = inv;
	w->level = level;
	w->number = ++w->dispatches;
	w->commit_rc = 0;
	w->ahead_held = false;
	w->deadline_ns = inv->deadline_ns;
}

/* ---- ahead ---- */

/*
 * A worker that is busy with a short function gets more calls into its ring: it goes on without
 * the controller, which on few cores has to get one first. What such a call needs is all in its
 * descriptor, since the room for more is that of the one that runs.
 */

static bool is_short(const struct wx *ex, const struct praas_invocation *inv)
{
	return ex->run_ns[inv->function] < ex->config.ahead_short_ns;
}

/* What was taken back lies in its ring still, until the worker comes to it: one that is kept from
 * running must not have its ring filled by that. Its own word: who lies fills its own ring. */
static bool has_room(const struct wx_worker *w)
{
	return w->dispatches -
		       atomic_load_explicit(&w->line->taken, memory_order_relaxed) <=
	       WX_AHEAD_MAX;
}

static struct wx_worker *choose_ahead(struct wx *ex, const struct praas_invocation *inv)
{
	const struct praas_buf *in = inv->inputs[0];
	struct wx_worker *best = NULL;

	if (ex->stopping || inv->inputs_count > 1 || inv->inputs_more ||
	    !is_short(ex, inv) ||
	    (in && (in->head.key_bytes != 0 ||
		    (in->head.flags & (PRAAS_FRAME_TRACE | PRAAS_FRAME_TIMING)))))
		return NULL;
	for (uint32_t i = 0; i < ex->config.workers; i++) {
		struct wx_worker *w = &ex->workers[i];

		if (w->state != WX_BUSY || w->depth != 0 || w->waiting ||
		    w->ahead_held || w->ahead_count == WX_AHEAD_MAX ||
		    !is_short(ex, w->inv) || !has_room(w))
			continue;
		if (!best || w->ahead_count < best->ahead_count)
			best = w;
	}
	return best;
}

static void append(struct wx_worker *w, struct praas_invocation *inv)
{
	uint32_t at = (w->ahead_first + w->ahead_count) % WX_AHEAD_MAX;

	w->ex->stats.sent_ahead++;
	if (w->ahead_count++ == 0)
		w->ahead_ns = praas_now_ns();
	w->ahead[at] = (struct wx_ahead){ .inv = inv, .number = ++w->dispatches };
}

void wx_ahead_next(struct wx_worker *w)
{
	const struct wx_ahead *a = &w->ahead[w->ahead_first];

	if (w->inv || w->depth != 0 || w->ahead_count == 0)
		return;
	w->ahead_first = (w->ahead_first + 1) % WX_AHEAD_MAX;
	if (--w->ahead_count != 0)
		w->ahead_ns = praas_now_ns();
	/* Below the mark it may not begin after all, and goes back with those behind it. */
	w->ahead_held = a->number <= atomic_load_explicit(&w->order->withdrawn,
							  memory_order_relaxed);
	w->inv = a->inv;
	w->number = a->number;
	w->level = 0;
	w->commit_rc = 0;
	w->deadline_ns = a->inv->deadline_ns;
}

void wx_ahead_learn(struct wx *ex, uint32_t function, uint64_t run_ns)
{
	uint32_t now = (uint32_t)praas_min_u64(run_ns, UINT32_MAX / 2);
	uint32_t *average = &ex->run_ns[function];

	if (*average == UINT32_MAX)
		*average = now;
	else
		*average = (uint32_t)(((uint64_t)*average * 7 + now) / 8);
}

/* It has not begun. */
static void give_back(struct wx_worker *w, struct praas_invocation *inv)
{
	struct praas_process *p = w->ex->base.process;

	w->ex->stats.taken_back++;
	if (inv->cancelled || inv->answered)
		praas_process_unstarted(p, inv, PRAAS_CANCELLED);
	else
		praas_process_requeue(p, inv);
}

/* The one that w is taken to run has not begun: a direct call is before it, or it was withdrawn. */
static void give_back_top(struct wx_worker *w)
{
	struct praas_invocation *inv = w->inv;

	w->inv = NULL;
	w->deadline_ns = 0;
	wx_ahead_next(w);
	if (!w->inv && w->state == WX_BUSY) {
		w->state = WX_IDLE;
		w->ex->idle++;
	}
	give_back(w, inv);
}

/* The queue keeps its order: the last goes back first. */
static void give_back_after(struct wx_worker *w, uint64_t taken)
{
	while (w->ahead_count != 0) {
		uint32_t last = (w->ahead_first + w->ahead_count - 1) % WX_AHEAD_MAX;

		if (w->ahead[last].number <= taken)
			return;
		w->ahead_count--;
		give_back(w, w->ahead[last].inv);
	}
	if (w->inv && w->depth == 0 && w->number > taken)
		give_back_top(w);
}

void wx_ahead_withdraw(struct wx_worker *w)
{
	if (praas_likely(w->ahead_count == 0))
		return;
	w->ahead_held = true;
	/* ahead.R1, pairs with ahead.A1: with the fence after it, either the worker sees the mark
	 * or we see below that it has begun. */
	atomic_store_explicit(&w->order->withdrawn, w->dispatches,
			      memory_order_relaxed);
	praas_doorbell_fence_producers();
	give_back_after(w, atomic_load_explicit(&w->line->taken, memory_order_relaxed));
}

void wx_ahead_lost(struct wx_worker *w)
{
	if (w->ahead_count != 0)
		give_back_after(
			w, atomic_load_explicit(&w->line->taken, memory_order_relaxed));
}

bool wx_ahead_cancel(struct wx *ex, const struct praas_invocation *inv)
{
	for (uint32_t i = 0; i < ex->config.workers; i++) {
		struct wx_worker *w = &ex->workers[i];

		for (uint32_t k = 0; k < w->ahead_count; k++) {
			const struct wx_ahead a =
				w->ahead[(w->ahead_first + k) % WX_AHEAD_MAX];

			if (a.inv != inv)
				continue;
			/* All of them: a mark says up to where. If it has begun after all,
			 * everything before it has ended: only it is told. */
			wx_ahead_withdraw(w);
			if (a.number <=
			    atomic_load_explicit(&w->line->taken, memory_order_relaxed))
				atomic_store_explicit(&w->order->cancel, a.number,
						      memory_order_relaxed);
			return true;
		}
	}
	return false;
}

uint64_t wx_ahead_due(const struct wx_worker *w)
{
	return w->ahead_count == 0 ? UINT64_MAX : w->ahead_ns + WX_AHEAD_LATE_NS;
}

void wx_ahead_watch(struct wx_worker *w, uint64_t now)
{
	if (now >= wx_ahead_due(w)) {
		wx_ahead_withdraw(w);
		w->ahead_ns = now; /* of what it had begun */
	}
}

int wx_on_skipped(struct wx_worker *w, const struct praas_frame *f)
{
	if (f->aux == 0 ||
	    f->aux > atomic_load_explicit(&w->order->withdrawn, memory_order_relaxed))
		return -EPROTO;
	/* Given back when it was withdrawn, or only now: it had seemed to have begun. Then those
	 * behind it are below the mark too (none is sent while it is in doubt) and go with it: one by
	 * one, as each is told, they would come into the queue the wrong way round. */
	if (w->inv && w->depth == 0 && w->number == f->aux)
		give_back_after(w, f->aux - 1);
	return 0;
}

/* ---- a call goes out ---- */

int wx_start(struct praas_executor *base, struct praas_invocation *inv)
{
	struct wx *ex = wx_of(base);
	struct wx_worker *w = ex->helper ? ex->helper : choose(ex);
	struct wx_worker *ahead = w ? NULL : choose_ahead(ex, inv);
	struct praas_frame f = { .kind = PRAAS_FRAME_INVOKE,
				 .function = inv->function,
				 .id = inv->id,
				 .status = (int32_t)inv->inputs_count,
				 .deadline_ns = inv->deadline_ns,
				 .aux = inv->source };
	struct praas_worker_input first;
	uint32_t level;
	int rc;

	w = w ? w : ahead;
	if (!w)
		return ex->degraded && !ex->stopping ? fail_fast(ex, inv) : -EAGAIN;
	level = ahead ? 0 : wx_level_next(w);
	if (f.status == 0)
		f.status = 1;
	rc = call_fill(w, inv, level, &f, &first);
	if (rc != 0)
		return -EAGAIN; /* no buffer for a copy now */
	f.bytes = first.bytes;
	f.status |= (int32_t)(level << 16);
	if (ahead)
		append(w, inv);
	else
		dispatch(w, inv);
	wx_push(w, &f, first.segment, first.offset);
	return 0;
}
