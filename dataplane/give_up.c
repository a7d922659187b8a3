/* SPDX-License-Identifier: Apache-2.0
 *
 * Invocations whose caller gave up, went away, came again, or whose time has passed.
 */
#include <errno.h>

#include "dataplane/process_private.h"

/* The result reaches nobody: it was kept for a retry where that is possible. */
static void orphan_done(void *user, struct praas_invocation *inv, int32_t status,
			struct praas_buf *result, uint64_t run_ns)
{
	(void)user;
	(void)inv;
	(void)status;
	(void)run_ns;
	praas_buf_release(result);
}

static int orphan_alloc(void *user, uint64_t bytes, struct praas_buf **ret_buf)
{
	const struct praas_process *p = user;

	return p->config.memory->alloc(p->config.memory->user, bytes, ret_buf);
}

void praas_invoke_caller_none(struct praas_process *p, struct praas_invocation *inv)
{
	inv->conn = NULL;
	inv->caller = (struct praas_invocation_caller){ .done = orphan_done,
							.alloc = orphan_alloc,
							.user = p };
}

/* Tells the caller before the invocation has ended; what it comes to is dropped. */
static void answer_now(struct praas_process *p, struct praas_invocation *inv,
		       int32_t status)
{
	struct praas_invocation_caller caller = inv->caller;

	if (inv->answered)
		return;
	praas_invoke_caller_none(p, inv);
	inv->answered = true;
	caller.done(caller.user, inv, status, NULL, 0);
}

static void leave_queue(struct praas_process *p, struct praas_invocation *inv)
{
	struct praas_accumulator *empty;

	if (inv->queue == PRAAS_QUEUE_READY) {
		praas_invoke_ready_remove(p, inv);
		if (inv->lane)
			praas_invoke_leave_lane(p, inv);
	} else if (inv->queue == PRAAS_QUEUE_LANE) {
		praas_lanes_remove(&p->lanes, inv);
	} else if (inv->queue == PRAAS_QUEUE_TRIGGER) {
		praas_process_changed_inputs(p);
		empty = praas_triggers_remove(&p->triggers, inv);
		if (empty)
			praas_timers_remove(&p->timers, &empty->timer);
	} else if (inv->queue == PRAAS_QUEUE_HELD) {
		praas_stage_unhold(p, inv);
	}
}

void praas_invoke_give_up(struct praas_process *p, struct praas_invocation *inv,
			  int32_t status)
{
	bool shared = inv->inputs_more || inv->join || inv->queue == PRAAS_QUEUE_JOINED;

	if (shared) {
		answer_now(p, inv, status); /* others need the run: it goes on */
	} else if (inv->queue == PRAAS_QUEUE_AWAY) {
		praas_stage_call_give_up(p, inv, status);
	} else if (inv->state == PRAAS_INVOCATION_RUNNING) {
		/* A deadline is answered at once, however long the function goes on; what a
		 * cancelled one comes to, its caller learns from the executor. */
		bool asked = inv->cancelled;

		inv->cancelled = true;
		if (status == PRAAS_DEADLINE)
			answer_now(p, inv, status);
		/* Once: a caller could fill its worker's ring with such wishes. */
		if (!asked)
			p->executor->ops->cancel(p->executor, inv);
	} else {
		inv->cancelled = true;
		leave_queue(p, inv);
		praas_invoke_end_unstarted(p, inv, status);
	}
}

void praas_invoke_cancel_frame(struct praas_process *p, struct praas_conn *conn,
			       struct praas_buf *buf)
{
	uint64_t id = buf->head.id;
	struct praas_memo *memo =
		praas_invocations_find(&p->invocations, conn->peer_source, id);
	struct praas_invocation *inv;

	praas_buf_release(buf);
	if (praas_requests_cancel(p, conn, id) || praas_park_cancel(p, conn, id) ||
	    (p->slowed && praas_slow_cancel(p, conn, id)))
		return;
	if (!memo && p->executor->ops->cancel_direct)
		p->executor->ops->cancel_direct(p->executor, conn->peer_source, id);
	if (!memo || memo->slot == 0)
		return; /* unknown or finished: its result is on its way */
	inv = &p->invocations.slots[memo->slot - 1];
	if (inv->conn == conn)
		praas_invoke_give_up(p, inv, PRAAS_CANCELLED);
}

void praas_invoke_retry(struct praas_process *p, struct praas_conn *conn,
			struct praas_buf *buf, const struct praas_memo *memo)
{
	struct praas_frame head = { .kind = PRAAS_FRAME_RESULT,
				    .id = memo->id,
				    .status = memo->status,
				    .aux = praas_invocations_run_ns(&p->invocations,
								    memo) };
	bool one_way = buf->head.flags & PRAAS_FRAME_ONE_WAY;
	const uint8_t *data;
	uint64_t bytes;

	p->stats.duplicates++;
	if (memo->slot) {
		struct praas_invocation *inv = &p->invocations.slots[memo->slot - 1];

		/* Still under way: the result goes to who asked last, once. */
		if (!one_way) {
			inv->answered = false;
			inv->flags = buf->head.flags;
			inv->arrived_ns = praas_now_ns();
			praas_invoke_caller_conn(inv, conn);
		}
		praas_buf_release(buf);
		return;
	}
	if (memo->kept == PRAAS_MEMO_NOTHING) {
		praas_reply_refuse(p, conn, buf, PRAAS_DUPLICATE, 0);
		return;
	}
	praas_invocations_kept(&p->invocations, memo, &data, &bytes);
	if (!one_way && praas_reply_copy(p, conn, &head, data, bytes, NULL) != 0)
		praas_reply_refuse(p, conn, buf, PRAAS_OVERLOADED,
				   PRAAS_RETRY_AFTER_NS);
	else
		praas_buf_release(buf);
}

void praas_invoke_forget_conn(struct praas_process *p, const struct praas_conn *conn)
{
	for (uint32_t i = 0; i < p->invocations.slots_count; i++) {
		struct praas_invocation *inv = &p->invocations.slots[i];

		if (inv->state != PRAAS_INVOCATION_FREE && inv->conn == conn)
			praas_invoke_caller_none(p, inv);
	}
}

void praas_invoke_drop_all(struct praas_process *p)
{
	for (uint32_t i = 0; i < p->invocations.slots_count; i++) {
		struct praas_invocation *inv = &p->invocations.slots[i];

		if (inv->state == PRAAS_INVOCATION_FREE)
			continue;
		praas_timers_remove(&p->timers, &inv->timer);
		if (inv->inputs_more)
			praas_triggers_done(&p->triggers, inv);
		praas_buf_release(inv->inputs[0]);
		inv->state = PRAAS_INVOCATION_FREE;
	}
}
