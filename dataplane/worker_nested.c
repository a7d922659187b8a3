/* SPDX-License-Identifier: Apache-2.0
 *
 * Workers that wait help. A function that waits for a call of its own, or for a message, holds its
 * worker; when all workers are held so, nobody would run what they wait for. So a worker that waits
 * may be given a queued invocation, which it runs in place, on top of who waits.
 *
 * What it is given is what it waits for, or who holds the serial lane before that: the bottom could
 * not go on before the top has ended anyway, so nothing new can wait in a circle. Only when every
 * worker waits, and none can be helped in this way, the oldest queued one goes to the least deep.
 *
 * A wait that cannot end is told so (-EDEADLK): a circle of serial functions, or every worker waits at
 * the depth limit.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/circle.h"
#include "dataplane/worker_private.h"

/* ---- the stack ---- */

uint32_t wx_level_next(const struct wx_worker *w)
{
	return w->inv ? w->level + 1 : 0;
}

bool wx_frame_push(struct wx_worker *w)
{
	if (!w->waiting || wx_wait_alone(w))
		return false;
	w->below[w->depth++] = (struct wx_frame){ .inv = w->inv,
						  .number = w->number,
						  .level = w->level };
	return true;
}

void wx_frame_pop(struct wx_worker *w)
{
	const struct wx_frame *f;

	w->inv = NULL;
	w->deadline_ns = 0;
	if (w->depth == 0)
		return;
	f = &w->below[--w->depth];
	w->inv = f->inv;
	w->number = f->number;
	w->level = f->level;
	/* It could not look while something lay on top: its grace begins now. */
	if (w->inv && w->inv->deadline_ns != 0)
		w->deadline_ns = praas_max_u64(w->inv->deadline_ns, praas_now_ns());
}

static void mark(struct wx_worker *w, uint32_t level, uint64_t number)
{
	_Atomic uint64_t *word =
		level == 0 ? &w->order->cancel : &w->order->nested_cancel[level - 1];

	atomic_store_explicit(word, number, memory_order_relaxed);
}

bool wx_cancel_mark(struct wx_worker *w, const struct praas_invocation *inv)
{
	if (w->state != WX_BUSY || !inv)
		return false;
	if (w->inv == inv) {
		mark(w, w->level, w->number);
		return true;
	}
	for (uint32_t i = 0; i < w->depth; i++) {
		if (w->below[i].inv != inv)
			continue;
		mark(w, w->below[i].level, w->below[i].number);
		return true;
	}
	return false;
}

/* Who waited below has done nothing wrong, and is told what did. */
void wx_end_stack(struct wx_worker *w, int32_t status, const char *text)
{
	const struct praas_function *functions = w->ex->config.functions;
	const char *top = w->inv ? functions[w->inv->function].name : "";
	char longer[PRAAS_ERROR_TEXT_MAX];

	if (w->inv)
		wx_complete(w, wx_outcome(status, w->commit_rc > 0),
			    wx_text(w->ex, text), 0);
	while (w->inv) {
		uint64_t deadline_ns = w->inv->deadline_ns;
		bool late = deadline_ns != 0 && praas_now_ns() >= deadline_ns;

		if (status != PRAAS_INTERRUPTED)
			status = late ? PRAAS_DEADLINE : PRAAS_CRASHED;
		(void)snprintf(
			longer, sizeof(longer),
			"function %s waited in a worker that ended while it ran %s: "
			"%.300s",
			functions[w->inv->function].name, top, text);
		wx_complete(w, status, wx_text(w->ex, longer), 0);
	}
}

/* ---- questions ---- */

int wx_asks(struct wx_worker *w, const struct praas_frame *f)
{
	w->asks_direct = (f->status & PRAAS_WORKER_IN_DIRECT) != 0;
	w->asks_depth = (uint32_t)f->status & (PRAAS_WORKER_IN_DIRECT - 1);
	/* A direct call is at the bottom, and what is above it is not direct. */
	if (w->waiting || (w->asks_direct && w->depth != 0))
		return -EPROTO;
	return w->inv || w->asks_direct ? 0 : -EPROTO;
}

static void answer(struct wx_worker *w, int rc)
{
	const struct praas_frame f = { .kind = PRAAS_FRAME_REPLY,
				       .id = w->wait_id,
				       .status = rc };

	if (w->wait_kind != PRAAS_WORKER_WAIT)
		praas_process_fn_wait_cancel(w->ex->base.process, &w->wait);
	w->waiting = false;
	wx_push(w, &f, 0, 0);
}

void wx_wait_interrupt(struct wx_worker *w)
{
	answer(w, -EINTR);
}

void wx_wait_began(struct wx_worker *w)
{
	/* Sent to a worker that seemed idle: it lies there behind the direct call that asks. */
	if (!w->asks_direct || !w->inv)
		return;
	w->below[w->depth++] = (struct wx_frame){ 0 };
	wx_wait_interrupt(w);
}

int wx_on_wait(struct wx_worker *w, const struct praas_frame *f)
{
	struct wx_call *call = NULL;
	int rc = wx_asks(w, f);

	if (rc != 0)
		return rc;
	if (wx_given_up(w, f))
		return 0;
	for (uint32_t i = 0; i < WX_CALLS_MAX; i++)
		if (w->calls[i].used && w->calls[i].life == w->life &&
		    w->calls[i].id == f->aux)
			call = &w->calls[i];
	memset(&w->wait, 0, sizeof(w->wait));
	w->wait_id = f->id;
	w->wait_kind = PRAAS_WORKER_WAIT;
	w->wait_call = call;
	w->wait_until_ns = f->deadline_ns;
	w->wait_endless = ((uint32_t)f->status & PRAAS_WORKER_IN_ENDLESS) != 0;
	w->wait_nonce = 0;
	w->ask_ns = 0;
	w->waiting = true;
	if (!call) {
		answer(w, 0);
		return 0;
	}
	wx_ahead_withdraw(w); /* what it waits for may be among them */
	wx_wait_began(w);
	return 0;
}

void wx_wait_over(struct wx_worker *w, const struct wx_call *call)
{
	if (w->waiting && w->wait_kind == PRAAS_WORKER_WAIT && w->wait_call == call)
		answer(w, 0);
}

/* ---- help ---- */

static bool can_help(const struct wx_worker *w)
{
	return w->waiting && !wx_wait_alone(w) &&
	       (w->state == WX_BUSY || w->state == WX_IDLE) &&
	       w->asks_depth + 1 < PRAAS_WORKER_DEPTH_MAX &&
	       wx_level_next(w) < PRAAS_WORKER_LEVELS_MAX &&
	       w->depth < PRAAS_WORKER_LEVELS_MAX;
}

static unsigned start_on(struct wx_worker *w, struct praas_invocation *inv)
{
	struct wx *ex = w->ex;
	int rc;

	ex->helper = w;
	rc = praas_process_start_queued(ex->base.process, inv);
	ex->helper = NULL;
	return rc == 0;
}

/* What w waits for, when it is queued and nobody is free. */
static unsigned help_wait(struct wx_worker *w)
{
	struct praas_invocation *inv;

	if (w->wait_kind != PRAAS_WORKER_WAIT || !can_help(w) || w->ex->idle != 0 ||
	    praas_process_fn_needs(w->ex->base.process, w->wait_call->inv_id, &inv) !=
		    0)
		return 0;
	return start_on(w, inv);
}

/* Its question is answered with -EDEADLK, and why. */
static void answer_why(struct wx_worker *w, const char *text)
{
	struct praas_frame f = { .kind = PRAAS_FRAME_REPLY,
				 .id = w->wait_id,
				 .status = -EDEADLK };
	struct praas_buf *buf = wx_text(w->ex, text);

	if (!buf || wx_readable(w, &buf) != 0 || wx_loan_add(w, NULL, buf) != 0) {
		praas_buf_release(buf);
		answer(w, -EDEADLK); /* nothing to say it with */
		return;
	}
	f.bytes = buf->head.bytes;
	w->waiting = false;
	wx_push(w, &f, buf->segment, buf->offset);
}

void wx_wait_withdraw(struct wx_worker *w, const char *text)
{
	uint64_t id = w->wait_call->inv_id;

	answer_why(w, text);
	/* Its outcome goes to nobody, for w forgets it with the answer. */
	(void)praas_process_fn_cancel(w->ex->base.process, w->ex->config.pid, id);
}

/* Every worker waits: ret_helper is the least deep that has room, NULL: none has. */
static bool all_wait(struct wx *ex, struct wx_worker **ret_helper)
{
	struct wx_worker *helper = NULL;

	for (uint32_t i = 0; i < ex->config.workers; i++) {
		struct wx_worker *w = &ex->workers[i];

		if (!w->waiting)
			return false;
		if (can_help(w) && (!helper || w->asks_depth < helper->asks_depth))
			helper = w;
	}
	*ret_helper = helper;
	return true;
}

unsigned wx_help(struct wx *ex)
{
	struct praas_process *p = ex->base.process;
	struct praas_invocation *inv;
	struct wx_worker *helper;
	unsigned done = 0;

	for (uint32_t i = 0; i < ex->config.workers; i++)
		if (ex->workers[i].waiting)
			done += help_wait(&ex->workers[i]);
	if (done != 0 || ex->idle != 0 || !praas_process_first_queued(p) ||
	    !all_wait(ex, &helper))
		return done;
	if (helper)
		return start_on(helper, praas_process_first_queued(p));
	for (uint32_t i = 0; i < ex->config.workers; i++) {
		struct wx_worker *w = &ex->workers[i];

		if (w->wait_kind != PRAAS_WORKER_WAIT ||
		    w->wait_until_ns < PRAAS_DEADLINE_NEVER ||
		    praas_process_fn_needs(p, w->wait_call->inv_id, &inv) != 0)
			continue;
		wx_wait_withdraw(w, "it cannot run: every worker waits");
		return 1;
	}
	return 0;
}

/* ---- time ---- */

void wx_wait_timers(struct wx *ex, uint64_t now)
{
	char text[PRAAS_ERROR_TEXT_MAX];

	for (uint32_t i = 0; i < ex->config.workers; i++) {
		struct wx_worker *w = &ex->workers[i];

		if (!w->waiting || w->wait_kind != PRAAS_WORKER_WAIT)
			continue;
		if (now >= w->wait_until_ns) {
			answer(w, -EAGAIN);
		} else if (wx_wait_away(w)) {
			wx_wait_ask(w, now);
		} else if (wx_in_circle(w, text)) {
			praas_circle_found(ex->base.process);
			wx_wait_withdraw(w, text);
		}
	}
}

uint64_t wx_wait_due(const struct wx_worker *w)
{
	uint64_t due = UINT64_MAX;

	if (!w->waiting || w->wait_kind != PRAAS_WORKER_WAIT)
		return due;
	if (w->wait_until_ns < PRAAS_DEADLINE_NEVER)
		due = w->wait_until_ns;
	return wx_wait_away(w) ? praas_min_u64(due, praas_max_u64(w->ask_ns, 1)) : due;
}
