/* SPDX-License-Identifier: Apache-2.0
 *
 * Pipelines that go on in another process: a function's `then` names it.
 *
 *   ended there ──▶ NAMED ──its number is known──▶ CALLED ──RESULT──▶ the caller's
 *                     │ itself: a stage here          │
 *                     └ no such process, no room ─────┴──▶ an error, with the name of the stage
 *
 * The invocation waits here, in no function's lane and in no worker; its place is one of PRAAS_STAGES_AWAY_MAX. What is called
 * is as any call of another process (remote.h), but its id is in the snapshot: the next epoch asks again with the same
 * one, and is told what came of it. So a swap-out need not wait for its end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/process_private.h"

#define LOOK_NS 50000000u     /* names that are not known are looked up again */
#define UNKNOWN_NS 200000000u /* one that was made just now comes within that */
#define LIST_NS 2000000000u   /* so long it may take until there is a list */

/* ---- places ---- */

int praas_stage_calls_init(struct praas_process *p)
{
	p->stages.calls = calloc(PRAAS_STAGES_AWAY_MAX, sizeof(*p->stages.calls));
	p->stages.timer.kind = PRAAS_TIMER_STAGES;
	return p->stages.calls ? 0 : -ENOMEM;
}

void praas_stage_calls_release(struct praas_process *p)
{
	free(p->stages.calls);
}

/* inv waits from now on. NULL: there is no place for it. */
static struct praas_stage_call *take_place(struct praas_process *p,
					   struct praas_invocation *inv)
{
	struct praas_stages *s = &p->stages;
	struct praas_stage_call *c = s->free;

	if (c)
		s->free = c->next;
	else if (s->made < PRAAS_STAGES_AWAY_MAX)
		c = &s->calls[s->made++];
	else
		return NULL;
	*c = (struct praas_stage_call){
		.inv = inv, .process = p, .prev = s->last, .since_ns = praas_now_ns()
	};
	*(s->last ? &s->last->next : &s->first) = c;
	s->last = c;
	s->count++;
	p->queued++;
	inv->state = PRAAS_INVOCATION_QUEUED;
	inv->queue = PRAAS_QUEUE_AWAY;
	inv->trigger = c;
	praas_process_changed_inputs(p);
	praas_invoke_arm(p, inv);
	return c;
}

/* Its invocation waits no more. */
static void leave_place(struct praas_stage_call *c)
{
	struct praas_process *p = c->process;
	struct praas_stages *s = &p->stages;

	praas_check(c->inv != NULL); /* it is not free */
	praas_process_changed_inputs(p);
	c->inv->queue = PRAAS_QUEUE_NONE;
	c->inv->trigger = NULL;
	*(c->prev ? &c->prev->next : &s->first) = c->next;
	*(c->next ? &c->next->prev : &s->last) = c->prev;
	s->called -= c->id != 0;
	c->inv = NULL;
	c->next = s->free;
	s->free = c;
	s->count--;
	p->queued--;
}

/* ---- the end ---- */

/* An error, and where, in memory of the caller's. NULL: there is none. */
static struct praas_buf *say_where(const struct praas_process *p,
				   const struct praas_invocation *inv,
				   uint16_t function, const char *process,
				   const char *why)
{
	const struct praas_invocation_caller *caller = &inv->caller;
	char text[PRAAS_ERROR_TEXT_MAX];
	struct praas_buf *buf;
	size_t bytes;

	(void)snprintf(text, sizeof(text), "stage %s in process %s: %.360s",
		       p->config.functions[function].name, process, why); /* cut */
	bytes = strlen(text) + 1;
	if (caller->alloc(caller->user, bytes, &buf) != 0)
		return NULL;
	memcpy(buf->data, text, bytes);
	buf->head.bytes = bytes;
	return buf;
}

/* Before it is called. */
static void fail(struct praas_stage_call *c, int32_t status, const char *why)
{
	struct praas_process *p = c->process;
	struct praas_invocation *inv = c->inv;
	struct praas_buf *text = say_where(p, inv, c->function, c->name, why);

	leave_place(c);
	praas_stage_over(p, inv, status, text, 0);
}

/* result is given. */
static void over(struct praas_stage_call *c, int32_t status, struct praas_buf *result,
		 uint64_t run_ns)
{
	struct praas_process *p = c->process;
	struct praas_invocation *inv = c->inv;

	if (status != 0) {
		char why[PRAAS_ERROR_TEXT_MAX];

		if (result && result->head.bytes != 0)
			(void)snprintf(
				why, sizeof(why), "%.*s",
				(int)praas_min_u64(result->head.bytes, sizeof(why)),
				(const char *)result->data); /* cut */
		else
			(void)snprintf(why, sizeof(why), "it ended with status %d",
				       (int)status);
		praas_buf_release(result);
		result = say_where(p, inv, c->function, c->name, why);
	}
	leave_place(c);
	praas_stage_over(p, inv, status, result, run_ns);
}

static void on_done(void *user, struct praas_invocation *inv, int32_t status,
		    struct praas_buf *result, uint64_t run_ns)
{
	(void)inv; /* ours is known by its place */
	over(user, status, result, run_ns);
}

/* Where the caller wants it, else anywhere: it may be slow to give its results back. */
static int on_alloc(void *user, uint64_t bytes, struct praas_buf **ret_buf)
{
	const struct praas_stage_call *c = user;
	const struct praas_memory *memory = c->process->config.memory;
	const struct praas_invocation_caller *caller = &c->inv->caller;
	int rc = caller->alloc(caller->user, bytes, ret_buf);

	return rc == -ENOBUFS ? memory->alloc(memory->user, bytes, ret_buf) : rc;
}

/* ---- the call ---- */

/* What leaves has one. */
static struct praas_buf *input_of(const struct praas_invocation *inv)
{
	praas_check(inv->inputs != NULL);
	praas_check(inv->inputs[0] != NULL);
	return inv->inputs[0];
}

static void call(struct praas_stage_call *c, uint64_t receiver)
{
	struct praas_process *p = c->process;
	struct praas_invocation *inv = c->inv;
	struct praas_buf *in = input_of(inv);
	const struct praas_fn_call away = {
		.destination = receiver,
		.source = p->config.pid,
		.deadline_ns = inv->deadline_ns,
		.function = c->function,
		.key = in->key,
		.key_bytes = in->head.key_bytes,
		.input = in,
		.trace = in->head.flags & PRAAS_FRAME_TRACE ? in->trace : NULL,
		.caller = { .done = on_done, .alloc = on_alloc, .user = c }
	};

	if (praas_remote_invoke(p->remote, &away, p->config.functions[c->function].name,
				&c->kept, &c->id) != 0) {
		c->id = 0;
		fail(c, PRAAS_OVERLOADED,
		     "too many calls of other processes are under way");
		return;
	}
	inv->inputs[0] = NULL;
	c->input = in;
	c->receiver = receiver;
	p->stages.called++;
	p->activity++;
	praas_process_changed_inputs(p);
}

/* It is this process itself. */
/* NOLINTNEXTLINE(misc-no-recursion): a pipeline has an end */
static void stay(struct praas_stage_call *c)
{
	struct praas_process *p = c->process;
	struct praas_invocation *inv = c->inv;
	uint16_t function = c->function;

	leave_place(c);
	praas_stage_next(p, inv, function);
}

static void look_later(struct praas_process *p)
{
	struct praas_timer *timer = &p->stages.timer;

	if (timer->position)
		return;
	timer->deadline_ns = praas_now_ns() + LOOK_NS;
	/* The heap has room for it. */
	praas_check(praas_timers_put(&p->timers, timer) == 0);
}

/* NOLINTNEXTLINE(misc-no-recursion): a pipeline has an end */
static void look_up(struct praas_stage_call *c)
{
	struct praas_process *p = c->process;
	uint64_t receiver = c->receiver, waited_ns = praas_now_ns() - c->since_ns;
	int rc = receiver ? 0
			  : praas_process_fn_member(
				    p, c->name, (uint32_t)strlen(c->name), &receiver);

	if (rc == 0 && receiver == p->config.pid)
		stay(c);
	else if (rc == 0)
		call(c, receiver);
	else if (rc == -E2BIG)
		fail(c, PRAAS_NOT_FOUND,
		     "the application has too many processes to find one by its name");
	else if (rc == -ENOENT && waited_ns >= UNKNOWN_NS)
		fail(c, PRAAS_NOT_FOUND, "there is no such process");
	else if (rc == -EAGAIN && (!p->members_ask || waited_ns >= LIST_NS))
		fail(c, PRAAS_NOT_FOUND, "it is not known which processes there are");
	else
		look_later(p);
}

/* Each that is not called is looked up once. That may change the list: from the front each time. */
void praas_stage_calls_look(struct praas_process *p)
{
	uint32_t round = ++p->stages.round;
	struct praas_stage_call *c = p->stages.first;

	while (c) {
		if (c->id != 0 || c->asleep || c->round == round) {
			c = c->next;
			continue;
		}
		c->round = round;
		look_up(c);
		c = p->stages.first;
	}
}

/* NOLINTNEXTLINE(misc-no-recursion): a pipeline has an end */
PRAAS_COLD void praas_stage_leave(struct praas_process *p, struct praas_invocation *inv,
				  uint16_t function, const char *process)
{
	struct praas_stage_call *c = take_place(p, inv);

	if (!c) {
		praas_stage_over(
			p, inv, PRAAS_OVERLOADED,
			say_where(p, inv, function, process,
				  "too many pipelines go on in other processes"),
			0);
		return;
	}
	c->function = function;
	memcpy(c->name, process, strnlen(process, PRAAS_NAME_MAX) + 1);
	look_up(c);
}

void praas_stage_call_give_up(struct praas_process *p, struct praas_invocation *inv,
			      int32_t status)
{
	struct praas_stage_call *c = inv->trigger;
	bool asked = inv->cancelled;

	if (c->id == 0) {
		inv->cancelled = true;
		fail(c, status, "it was not called yet");
		return;
	}
	/* The call has the same deadline, and more to say when it passes. */
	if (status == PRAAS_DEADLINE)
		return;
	inv->cancelled = true;
	if (!asked) /* a caller could send one for each of its own */
		praas_check(praas_remote_cancel(p->remote, c->id) == 0);
}

void praas_process_stages_hold(struct praas_process *p, bool hold)
{
	praas_remote_hold(p->remote, hold);
}

/* ---- snapshots ---- */

void praas_stage_call_record(const struct praas_process *p,
			     const struct praas_stage_call *c,
			     struct praas_export_record *ret_record)
{
	struct praas_remote_kept kept =
		c->id ? praas_remote_keep(p->remote, c->id) : c->kept;

	*ret_record =
		(struct praas_export_record){ .kind = PRAAS_EXPORT_STAGE,
					      .key = c->name,
					      .key_bytes = (uint8_t)strlen(c->name),
					      .source = c->receiver,
					      .id = kept.wire_id,
					      .sequence = kept.epoch };
}

int praas_stage_call_import(struct praas_process *p,
			    const struct praas_export_record *r)
{
	struct praas_stage_call *to = &p->stages.importing;

	if (!praas_export_stage_sound(r) || memchr(r->key, '\0', r->key_bytes) ||
	    to->name[0] != '\0' || p->importing)
		return -EINVAL;
	if (p->stages.count == PRAAS_STAGES_AWAY_MAX)
		return -ENOSPC;
	/* Two with one id would be one call, and have one answer. */
	for (const struct praas_stage_call *c = p->stages.first; c && r->id;
	     c = c->next)
		if (c->receiver == r->source && c->kept.wire_id == r->id)
			return -EEXIST;
	to->receiver = r->source;
	to->kept.wire_id = r->id;
	to->kept.epoch = (uint32_t)r->sequence;
	memcpy(to->name, r->key, r->key_bytes);
	to->name[r->key_bytes] = '\0';
	return 0;
}

void praas_stage_call_import_input(struct praas_process *p,
				   struct praas_invocation *inv)
{
	struct praas_stage_call *from = &p->stages.importing;
	struct praas_stage_call *c = take_place(p, inv);

	praas_check(c != NULL); /* there was one when its record came */
	c->function = inv->function;
	c->receiver = from->receiver;
	c->kept = from->kept;
	c->asleep = true;
	memcpy(c->name, from->name, sizeof(c->name));
	*from = (struct praas_stage_call){ 0 };
	inv->special = true;
	inv->staged = true;
	for (struct praas_invocation *i = inv->join; i; i = i->next)
		i->queue = PRAAS_QUEUE_JOINED;
}

PRAAS_COLD void praas_stage_calls_resume(struct praas_process *p)
{
	for (struct praas_stage_call *c = p->stages.first; c; c = c->next) {
		if (c->asleep)
			c->since_ns = praas_now_ns();
		c->asleep = false;
	}
	praas_stage_calls_look(p);
}
