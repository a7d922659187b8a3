/* SPDX-License-Identifier: Apache-2.0
 *
 * Invocations from admission to reply. The straight way, for a plain function and an executor
 * that takes it at once: one slot, one remembered id, start(), complete(), reply.
 */
#include <errno.h>
#include <string.h>

#include "dataplane/key_hash.h"
#include "dataplane/process_private.h"

/* ---- who gets the result: the connection that asked ---- */

/* Where its time went. One that no executor measured by itself has waited, or runs. */
static void tell_timing(const struct praas_invocation *inv, struct praas_frame *head)
{
	struct praas_frame_timing timing = { .queue_ns = inv->arrived_ns,
					     .run_ns = head->aux,
					     .state_ns = inv->state_ns };

	if (!inv->measured) {
		uint64_t since = praas_now_ns() - inv->arrived_ns;

		if (inv->state == PRAAS_INVOCATION_RUNNING)
			timing.run_ns = since;
		timing.run_ns = praas_min_u64(timing.run_ns, since);
		timing.queue_ns = since - timing.run_ns;
	}
	praas_frame_timing_put(head, &timing);
}

/* True: nobody is to be told. */
static PRAAS_COLD bool done_specially(const struct praas_invocation *inv,
				      struct praas_frame *head)
{
	if (inv->flags & PRAAS_FRAME_TIMING)
		tell_timing(inv, head);
	return inv->flags & PRAAS_FRAME_ONE_WAY;
}

static void conn_done(void *user, struct praas_invocation *inv, int32_t status,
		      struct praas_buf *result, uint64_t run_ns)
{
	struct praas_conn *conn = user;
	struct praas_frame head = { .kind = PRAAS_FRAME_RESULT,
				    .status = status,
				    .id = inv->id,
				    .aux = run_ns };

	if (praas_unlikely(inv->flags & (PRAAS_FRAME_ONE_WAY | PRAAS_FRAME_TIMING)) &&
	    done_specially(inv, &head)) {
		praas_buf_release(result);
		return;
	}
	praas_reply_send(conn->user, conn, &head, result);
}

static int conn_alloc(void *user, uint64_t bytes, struct praas_buf **ret_buf)
{
	struct praas_conn *conn = user;

	return conn->ops->alloc(conn, bytes, ret_buf);
}

void praas_invoke_caller_conn(struct praas_invocation *inv, struct praas_conn *conn)
{
	inv->conn = conn;
	inv->caller = (struct praas_invocation_caller){ .done = conn_done,
							.alloc = conn_alloc,
							.user = conn };
}

/* ---- the list of those that are ready ---- */

void praas_invoke_ready_append(struct praas_process *p, struct praas_invocation *inv)
{
	inv->queue = PRAAS_QUEUE_READY;
	inv->next = NULL;
	inv->prev = p->ready_last;
	if (p->ready_last)
		p->ready_last->next = inv;
	else
		p->ready_first = inv;
	p->ready_last = inv;
}

static void ready_prepend(struct praas_process *p, struct praas_invocation *inv)
{
	inv->queue = PRAAS_QUEUE_READY;
	inv->prev = NULL;
	inv->next = p->ready_first;
	if (p->ready_first)
		p->ready_first->prev = inv;
	else
		p->ready_last = inv;
	p->ready_first = inv;
}

void praas_invoke_ready_remove(struct praas_process *p, struct praas_invocation *inv)
{
	if (inv->prev)
		inv->prev->next = inv->next;
	else
		p->ready_first = inv->next;
	if (inv->next)
		inv->next->prev = inv->prev;
	else
		p->ready_last = inv->prev;
	inv->next = NULL;
	inv->prev = NULL;
	inv->queue = PRAAS_QUEUE_NONE;
}

void praas_invoke_arm(struct praas_process *p, struct praas_invocation *inv)
{
	if (inv->deadline_ns == 0 || inv->deadline_ns >= PRAAS_DEADLINE_NEVER ||
	    inv->timer.position)
		return;
	inv->timer.deadline_ns = inv->deadline_ns;
	inv->timer.kind = PRAAS_TIMER_INVOCATION;
	/* The heap has room for every slot. */
	praas_check(praas_timers_put(&p->timers, &inv->timer) == 0);
}

/* ---- the end ---- */

/* A result larger than a memo holds: kept by reference, or by a copy when it is small or when
 * nobody is there to take it; else only its id is remembered. */
static PRAAS_COLD void keep_large(struct praas_process *p, struct praas_memo *memo,
				  const struct praas_buf *result, bool orphan)
{
	struct praas_value value;
	uint64_t bytes = result->head.bytes;
	uint8_t *data;

	if (bytes > p->invocations.bytes_max)
		return;
	if (praas_process_value_ref(p, result, &value) != 0) {
		if (!orphan && bytes > PRAAS_MEMO_COPY_MAX)
			return;
		if (praas_process_value_new(p, bytes, &value, &data) != 0)
			return;
		memcpy(data, result->data, bytes);
	}
	if (praas_invocations_keep_value(&p->invocations, memo, &value) != 0)
		praas_value_release(&value);
}

/* The id is finished. Its result was kept before (keep_small()), or is too large for that and
 * still there. */
void praas_invoke_remember(struct praas_process *p, struct praas_invocation *inv,
			   int32_t status, const struct praas_buf *result,
			   uint64_t run_ns)
{
	struct praas_memo *memo;

	if (praas_unlikely(status == PRAAS_INTERRUPTED)) {
		/* Its writes are undone: a retry may run. */
		praas_invocations_forget(&p->invocations, inv);
		return;
	}
	memo = praas_invocations_finish(&p->invocations, inv, status, run_ns);
	if (praas_unlikely(result != NULL && result->head.bytes > PRAAS_MEMO_INLINE))
		keep_large(p, memo, result, inv->conn == NULL);
	if (praas_unlikely(p->changes != NULL))
		praas_process_changed_memo(p, memo);
}

/* A small result goes beside the memo, so that the answer can leave before the books are closed.
 * False: too large, it must be remembered while we have it. */
bool praas_invoke_keep_small(struct praas_process *p,
			     const struct praas_invocation *inv,
			     const struct praas_buf *result)
{
	uint64_t bytes = result ? result->head.bytes : 0;

	if (praas_unlikely(bytes > PRAAS_MEMO_INLINE))
		return false;
	praas_invocations_keep_text(&p->invocations,
				    praas_invocations_memo(&p->invocations, inv),
				    result ? result->data : NULL, bytes);
	return true;
}

/* Its slot goes back; the caller has its answer. */
void praas_invoke_release(struct praas_process *p, struct praas_invocation *inv)
{
	praas_timers_remove(&p->timers, &inv->timer);
	praas_buf_release(inv->inputs[0]);
	praas_invocations_free(&p->invocations, inv);
}

void praas_invoke_end_unstarted(struct praas_process *p, struct praas_invocation *inv,
				int32_t status)
{
	inv->state = PRAAS_INVOCATION_DONE;
	p->queued--;
	praas_invoke_count_end(p, inv, status, NULL, 0);
	praas_invocations_forget(&p->invocations, inv);
	if (!inv->answered)
		inv->caller.done(inv->caller.user, inv, status, NULL, 0);
	praas_invoke_release(p, inv);
}

PRAAS_COLD void praas_invoke_leave_lane(struct praas_process *p,
					struct praas_invocation *inv)
{
	struct praas_invocation *next = praas_lanes_leave(&p->lanes, inv);

	if (next)
		praas_invoke_ready_append(p, next);
}

/* NOLINTNEXTLINE(misc-no-recursion): praas_invoke_pump() stops a second round */
void praas_process_complete(struct praas_process *p, struct praas_invocation *inv,
			    int32_t status, struct praas_buf *result, uint64_t run_ns)
{
	bool late;

	praas_check_hot(inv->state == PRAAS_INVOCATION_RUNNING);
	if (praas_unlikely(inv->special) &&
	    !praas_stage_ended(p, inv, &status, &result, run_ns))
		return;
	inv->state = PRAAS_INVOCATION_DONE;
	p->running--;
	praas_invoke_count_end(p, inv, status, result, run_ns);
	/* The answer leaves first; its caller works on while we keep the books. Nothing comes in
	 * before we return: a retry cannot slip between. */
	late = inv->memo != 0 && praas_invoke_keep_small(p, inv, result);
	if (praas_unlikely(inv->memo != 0 && !late))
		praas_invoke_remember(p, inv, status, result, run_ns);
	if (praas_unlikely(inv->answered))
		praas_buf_release(result);
	else
		inv->caller.done(inv->caller.user, inv, status, result, run_ns);
	if (praas_likely(late))
		praas_invoke_remember(p, inv, status, NULL, run_ns);
	if (praas_unlikely(inv->lane != 0))
		praas_invoke_leave_lane(p, inv);
	praas_invoke_release(p, inv);
	if (praas_unlikely(p->ready_first != NULL))
		praas_invoke_pump(p);
}

void praas_process_requeue(struct praas_process *p, struct praas_invocation *inv)
{
	praas_check_hot(inv->state == PRAAS_INVOCATION_RUNNING);
	inv->state = PRAAS_INVOCATION_QUEUED;
	p->running--;
	p->queued++;
	ready_prepend(p, inv);
}

void praas_process_unstarted(struct praas_process *p, struct praas_invocation *inv,
			     int32_t status)
{
	praas_check_hot(inv->state == PRAAS_INVOCATION_RUNNING);
	inv->state = PRAAS_INVOCATION_QUEUED;
	p->running--;
	p->queued++;
	if (inv->lane)
		praas_invoke_leave_lane(p, inv);
	praas_invoke_end_unstarted(p, inv, status);
}

/* ---- the beginning ---- */

/* Gives inv to the executor. 0: it runs or has ended; -EAGAIN: it could not be taken. */
/* NOLINTNEXTLINE(misc-no-recursion): praas_invoke_pump() stops a second round */
static int launch(struct praas_process *p, struct praas_invocation *inv)
{
	uint32_t generation = inv->generation;
	int rc;

	inv->state = PRAAS_INVOCATION_RUNNING;
	p->running++;
	rc = p->executor->ops->start(p->executor, inv);
	if (praas_likely(rc == 0)) {
		/* Inline functions have ended by now, and the slot may serve another one. */
		if (praas_unlikely(inv->generation == generation &&
				   inv->state == PRAAS_INVOCATION_RUNNING))
			praas_invoke_arm(p, inv);
		return 0;
	}
	if (rc != -EAGAIN) {
		praas_process_complete(p, inv, PRAAS_INTERNAL, NULL, 0);
		return 0;
	}
	p->running--;
	inv->state = PRAAS_INVOCATION_QUEUED;
	return rc;
}

/* NOLINTNEXTLINE(misc-no-recursion): the first line ends it */
void praas_invoke_pump(struct praas_process *p)
{
	if (p->pumping)
		return; /* the one on the stack goes on */
	if (praas_unlikely(p->interrupted)) {
		praas_process_interrupt(p);
		return;
	}
	p->pumping = true;
	while (p->ready_first) {
		struct praas_invocation *inv = p->ready_first;

		praas_invoke_ready_remove(p, inv);
		p->queued--;
		if (launch(p, inv) != 0) {
			p->queued++;
			ready_prepend(p, inv);
			break;
		}
	}
	p->pumping = false;
}

int praas_process_start_queued(struct praas_process *p, struct praas_invocation *inv)
{
	int rc;

	praas_check(inv->queue == PRAAS_QUEUE_READY);
	praas_invoke_ready_remove(p, inv);
	p->queued--;
	rc = launch(p, inv);
	if (rc != 0) {
		p->queued++;
		ready_prepend(p, inv);
	}
	return rc;
}

/* NOLINTNEXTLINE(misc-no-recursion): what ends in here finds p->pumping set */
void praas_process_interrupt(struct praas_process *p)
{
	/* What runs still makes others ready when it ends: these end, too. */
	p->interrupted = true;
	/* Ending one may make the next of its lane ready: none of them is started. */
	p->pumping = true;
	while (p->ready_first) {
		struct praas_invocation *inv = p->ready_first;

		praas_invoke_ready_remove(p, inv);
		p->queued--;
		p->running++;
		inv->state = PRAAS_INVOCATION_RUNNING;
		praas_process_complete(p, inv, PRAAS_INTERRUPTED, NULL, 0);
	}
	p->pumping = false;
}

/* NOLINTNEXTLINE(misc-no-recursion): a chain of functions has an end */
void praas_invoke_go(struct praas_process *p, struct praas_invocation *inv)
{
	if (praas_likely(p->ready_first == NULL) && praas_likely(launch(p, inv) == 0))
		return;
	p->queued++;
	praas_invoke_ready_append(p, inv);
	praas_invoke_arm(p, inv);
}

static PRAAS_COLD bool late(struct praas_process *p, struct praas_invocation *inv)
{
	if (inv->deadline_ns > praas_now_ns())
		return false;
	p->stats.deadlines++;
	p->queued++;
	praas_invoke_end_unstarted(p, inv, PRAAS_DEADLINE);
	return true;
}

void praas_invoke_submit(struct praas_process *p, struct praas_invocation *inv)
{
	p->activity++;
	p->stats.invocations++;
	if (praas_unlikely(inv->deadline_ns != 0) && late(p, inv))
		return;
	if (praas_likely(p->plain[inv->function]))
		praas_invoke_go(p, inv);
	else
		praas_stage_enter(p, inv);
}

/* ---- from the wire ---- */

static PRAAS_COLD void refuse(struct praas_process *p, struct praas_conn *conn,
			      struct praas_buf *buf, int32_t status)
{
	bool overloaded = status == PRAAS_OVERLOADED;

	p->stats.overloaded += overloaded;
	praas_reply_refuse(p, conn, buf, status, overloaded ? PRAAS_RETRY_AFTER_NS : 0);
}

/* Why not; 0: it may run. */
static int32_t check_invoke(const struct praas_process *p, const struct praas_frame *f)
{
	int32_t status = praas_route_check(p, f->epoch);

	if (praas_unlikely(status != 0))
		return status;
	if (praas_unlikely(f->function >= p->functions_count))
		return PRAAS_NO_FUNCTION;
	if (praas_unlikely(f->bytes > p->config.bytes_max))
		return PRAAS_TOO_LARGE;
	return 0;
}

void praas_invoke_frame(struct praas_process *p, struct praas_conn *conn,
			struct praas_buf *buf)
{
	const struct praas_frame *f = &buf->head;
	struct praas_invocation *inv;
	struct praas_memo *memo;
	int32_t status;

	if (praas_unlikely(f->id == 0)) {
		refuse(p, conn, buf, PRAAS_INVALID);
		return;
	}
	memo = praas_invocations_find(&p->invocations, conn->peer_source, f->id);
	if (praas_unlikely(memo != NULL)) {
		praas_invoke_retry(p, conn, buf, memo);
		return;
	}
	status = check_invoke(p, f);
	inv = status == 0 ? praas_invocations_alloc(&p->invocations) : NULL;
	if (praas_unlikely(!inv)) {
		refuse(p, conn, buf, status ? status : PRAAS_OVERLOADED);
		return;
	}
	inv->id = f->id;
	inv->source = conn->peer_source;
	inv->deadline_ns = f->deadline_ns;
	inv->function = f->function;
	inv->flags = f->flags;
	if (praas_unlikely(f->flags & PRAAS_FRAME_TIMING))
		inv->arrived_ns = praas_now_ns();
	inv->inputs_count = 1;
	inv->inputs[0] = buf;
	p->sums[f->function].bytes_in += f->bytes;
	praas_invoke_caller_conn(inv, conn);
	praas_invocations_remember(&p->invocations, inv);
	praas_invoke_submit(p, inv);
}
