/* SPDX-License-Identifier: Apache-2.0
 *
 * Invocations of functions that are not plain. A stage of such a one is
 *
 *   enter ──trigger──▶ fired, with all inputs ──lane──▶ run ──▶ the result is the caller's,
 *     ▲     └ waits for more       └ waits for its turn   │      and that of all who are joined to it
 *     └───────────────── its function's `then` ───────────┴──▶ in another process (stage_away.c)
 *
 * The same invocation goes through all stages of a pipeline: its id, caller and deadline stay, so it is
 * answered, cancelled, remembered and asked for again as any other.
 *
 * *Kept*: what waits for others, or has gone on from a stage that has committed, cannot be told
 * INTERRUPTED, which says that nothing has happened. An interruption puts it back; it is in the
 * snapshot, and goes on when the gate opens again, here or after a wake-up.
 */
#include <string.h>

#include "dataplane/key_hash.h"
#include "dataplane/process_private.h"

static const struct praas_function *function_of(const struct praas_process *p,
						const struct praas_invocation *inv)
{
	return &p->config.functions[inv->function];
}

/* ---- enter ---- */

/* NOLINTNEXTLINE(misc-no-recursion): a pipeline has an end */
static void go_by_lane(struct praas_process *p, struct praas_invocation *inv)
{
	const struct praas_function *f = function_of(p, inv);
	const struct praas_buf *in = praas_invocation_input(inv, 0);

	if (f->concurrency == PRAAS_PARALLEL) {
		praas_invoke_go(p, inv);
		return;
	}
	inv->lane_key = (uint64_t)inv->function + 1;
	if (f->concurrency == PRAAS_SERIAL_PER_KEY && in)
		inv->lane_key ^= praas_key_hash(in->key, in->head.key_bytes, 0);
	if (praas_lanes_enter(&p->lanes, inv)) {
		praas_invoke_go(p, inv);
		return;
	}
	p->queued++;
	inv->queue = PRAAS_QUEUE_LANE;
	praas_invoke_arm(p, inv);
}

static void hold(struct praas_process *p, struct praas_invocation *inv)
{
	praas_process_changed_inputs(p);
	inv->state = PRAAS_INVOCATION_QUEUED;
	inv->queue = PRAAS_QUEUE_HELD;
	inv->next = NULL;
	inv->prev = p->held_last;
	if (p->held_last)
		p->held_last->next = inv;
	else
		p->held_first = inv;
	p->held_last = inv;
	p->held++;
	p->queued++;
	praas_invoke_arm(p, inv);
}

void praas_stage_unhold(struct praas_process *p, struct praas_invocation *inv)
{
	praas_process_changed_inputs(p);
	if (inv->prev)
		inv->prev->next = inv->next;
	else
		p->held_first = inv->next;
	if (inv->next)
		inv->next->prev = inv->prev;
	else
		p->held_last = inv->prev;
	inv->next = NULL;
	inv->prev = NULL;
	inv->queue = PRAAS_QUEUE_NONE;
	p->held--;
}

/* What has fired runs: the leader waits no more, the others do until it has ended. */
/* NOLINTNEXTLINE(misc-no-recursion): a pipeline has an end */
static void go_fired(struct praas_process *p, struct praas_invocation *leader,
		     bool later)
{
	praas_process_changed_inputs(p);
	p->queued -= leader->inputs_count;
	for (struct praas_invocation *i = leader->join; i; i = i->next)
		i->queue = PRAAS_QUEUE_JOINED;
	leader->queue = PRAAS_QUEUE_NONE;
	if (later)
		hold(p, leader);
	else
		go_by_lane(p, leader);
}

/* later: what fires is held. */
/* NOLINTNEXTLINE(misc-no-recursion): a pipeline has an end */
static void go_by_trigger(struct praas_process *p, struct praas_invocation *inv,
			  bool later)
{
	const struct praas_buf *in = inv->inputs[0];
	struct praas_invocation *fired;
	struct praas_accumulator *armed;

	praas_process_changed_inputs(p);
	p->queued++;
	inv->queue = PRAAS_QUEUE_TRIGGER;
	praas_invoke_arm(p, inv); /* its own, whoever leads */
	praas_triggers_put(&p->triggers, inv,
			   praas_key_hash(in->key, in->head.key_bytes, 0),
			   praas_now_ns(), &fired, &armed);
	if (fired) {
		if (armed)
			praas_timers_remove(&p->timers, &armed->timer);
		go_fired(p, fired, later);
	} else if (armed) {
		praas_check(praas_timers_put(&p->timers, &armed->timer) == 0);
	}
}

/* NOLINTNEXTLINE(misc-no-recursion): a pipeline has an end */
PRAAS_COLD void praas_stage_enter(struct praas_process *p, struct praas_invocation *inv)
{
	inv->special = true;
	if (function_of(p, inv)->trigger == PRAAS_TRIGGER_STANDARD)
		go_by_lane(p, inv);
	else
		go_by_trigger(p, inv, false);
}

void praas_stage_due(struct praas_process *p, struct praas_accumulator *a)
{
	go_fired(p, praas_triggers_expire(&p->triggers, a), false);
}

/* ---- the end ---- */

/* One of them gets its own, where somebody will read it. 0; an error: no memory. */
static int copy_result(const struct praas_invocation *inv,
		       const struct praas_buf *result, struct praas_buf **ret_copy)
{
	uint64_t bytes = result ? result->head.bytes : 0;
	int rc;

	if (bytes == 0 || inv->answered || (inv->flags & PRAAS_FRAME_ONE_WAY))
		return 0;
	rc = inv->caller.alloc(inv->caller.user, bytes, ret_copy);
	if (rc != 0)
		return rc;
	memcpy((*ret_copy)->data, result->data, bytes);
	(*ret_copy)->head.bytes = bytes;
	return 0;
}

/* What it comes to is known: remembered, while result is there. */
static void remember(struct praas_process *p, struct praas_invocation *inv,
		     int32_t status, const struct praas_buf *result, uint64_t run_ns)
{
	inv->state = PRAAS_INVOCATION_DONE;
	if (!inv->memo)
		return;
	/* Else the next line keeps it. */
	(void)praas_invoke_keep_small(p, inv, result);
	praas_invoke_remember(p, inv, status, result, run_ns);
}

/* And told; result is given. */
static void tell(struct praas_process *p, struct praas_invocation *inv, int32_t status,
		 struct praas_buf *result, uint64_t run_ns)
{
	if (inv->answered)
		praas_buf_release(result);
	else
		inv->caller.done(inv->caller.user, inv, status, result, run_ns);
	praas_invoke_release(p, inv);
}

/* Those who are joined to it get a copy of its result each. */
static void end_joined(struct praas_process *p, struct praas_invocation *leader,
		       int32_t status, const struct praas_buf *result, uint64_t run_ns)
{
	struct praas_invocation *inv = leader->join, *next;

	leader->join = NULL;
	for (; inv; inv = next) {
		struct praas_buf *copy = NULL;
		int32_t outcome = status;

		next = inv->next;
		if (copy_result(inv, result, &copy) != 0)
			outcome = PRAAS_NO_MEMORY;
		remember(p, inv, status, result, run_ns);
		tell(p, inv, outcome, copy, run_ns);
	}
}

void praas_stage_over(struct praas_process *p, struct praas_invocation *inv,
		      int32_t status, struct praas_buf *result, uint64_t run_ns)
{
	p->stats.failures += status != 0;
	end_joined(p, inv, status, result, run_ns);
	remember(p, inv, status, result, run_ns);
	tell(p, inv, status, result, run_ns);
}

static void release_inputs(struct praas_process *p, struct praas_invocation *inv)
{
	if (inv->inputs_more)
		praas_triggers_done(&p->triggers, inv);
	praas_buf_release(inv->inputs[0]);
	inv->inputs[0] = NULL;
}

/* Its result becomes the input of the next function, under the same key, in the same trace. 0; -ENOBUFS.
 * result is given on success. */
static int hand_on(struct praas_process *p, struct praas_invocation *inv,
		   struct praas_buf *result)
{
	/* Without an input of its own any more it has made that the result: its key is there. */
	const struct praas_buf *in = praas_invocation_input(inv, 0);
	int rc;

	if (!result) {
		rc = p->config.memory->alloc(p->config.memory->user, 0, &result);
		if (rc != 0)
			return rc;
		result->head.bytes = 0;
	}
	if (in) {
		result->head.flags = in->head.flags & PRAAS_FRAME_TRACE;
		memcpy(result->trace, in->trace, sizeof(result->trace));
		result->head.key_bytes = in->head.key_bytes;
		memcpy(result->key, in->key, (size_t)in->head.key_bytes + 1);
	}
	release_inputs(p, inv);
	for (struct praas_invocation *i = inv->join; i; i = i->next)
		i->inputs_count = 0;
	inv->inputs[0] = result;
	inv->inputs_count = 1;
	return 0;
}

/* NOLINTNEXTLINE(misc-no-recursion): a pipeline has an end */
void praas_stage_next(struct praas_process *p, struct praas_invocation *inv,
		      uint16_t function)
{
	inv->function = function;
	praas_invoke_count_input(p, inv);
	praas_stage_enter(p, inv);
}

/* NOLINTNEXTLINE(misc-no-recursion): a pipeline has an end */
static void next_stage(struct praas_process *p, struct praas_invocation *inv)
{
	const struct praas_function *f = function_of(p, inv);
	uint16_t then = (uint16_t)(f->then - 1);

	inv->staged = true;
	inv->measured = false;
	if (inv->flags & PRAAS_FRAME_TIMING)
		inv->arrived_ns = praas_now_ns(); /* what is told is the last stage's */
	inv->state = PRAAS_INVOCATION_QUEUED;
	p->running--;
	if (inv->lane)
		praas_invoke_leave_lane(p, inv);
	if (f->then_process[0] != '\0')
		praas_stage_leave(p, inv, then, f->then_process);
	else
		praas_stage_next(p, inv, then);
	praas_invoke_pump(p);
}

static bool is_kept(const struct praas_process *p, const struct praas_invocation *inv)
{
	return inv->staged || function_of(p, inv)->trigger != PRAAS_TRIGGER_STANDARD;
}

static void keep(struct praas_process *p, struct praas_invocation *inv)
{
	p->running--;
	if (inv->lane)
		praas_invoke_leave_lane(p, inv);
	hold(p, inv);
	praas_invoke_pump(p);
}

/* NOLINTNEXTLINE(misc-no-recursion): a pipeline has an end */
PRAAS_COLD bool praas_stage_ended(struct praas_process *p, struct praas_invocation *inv,
				  int32_t *status, struct praas_buf **result,
				  uint64_t run_ns)
{
	if (*status == PRAAS_INTERRUPTED && is_kept(p, inv) && !inv->cancelled) {
		praas_buf_release(*result);
		keep(p, inv);
		return false;
	}
	if (*status == 0 && function_of(p, inv)->then != 0) {
		uint64_t bytes = *result ? (*result)->head.bytes : 0;

		if (!inv->cancelled && hand_on(p, inv, *result) == 0) {
			praas_invoke_count_end(p, inv, 0, NULL, run_ns);
			p->sums[inv->function].bytes_out += bytes;
			next_stage(p, inv);
			return false;
		}
		*status = inv->cancelled ? PRAAS_CANCELLED : PRAAS_NO_MEMORY;
		praas_buf_release(*result);
		*result = NULL;
	}
	if (inv->inputs_more)
		praas_triggers_done(&p->triggers, inv);
	end_joined(p, inv, *status, *result, run_ns);
	return true;
}

/* ---- kept ---- */

void praas_stage_import(struct praas_process *p, struct praas_invocation *inv)
{
	inv->special = true;
	for (struct praas_invocation *i = inv->join; i; i = i->next)
		i->queue = PRAAS_QUEUE_JOINED;
	if (function_of(p, inv)->trigger != PRAAS_TRIGGER_STANDARD) {
		go_by_trigger(p, inv, true);
		return;
	}
	inv->staged = true;
	hold(p, inv);
}

PRAAS_COLD void praas_stage_resume(struct praas_process *p)
{
	/* As many as there are now: one that is interrupted again goes to the end. */
	for (uint32_t left = p->held; left != 0; left--) {
		struct praas_invocation *inv = p->held_first;

		praas_stage_unhold(p, inv);
		p->queued--;
		go_by_lane(p, inv);
	}
}
