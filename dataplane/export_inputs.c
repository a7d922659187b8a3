/* SPDX-License-Identifier: Apache-2.0
 *
 * What a snapshot holds of invocations that wait: for others of their trigger, for the gate, for the end of
 * their pipeline in another process. Out and back.
 */
#include <errno.h>
#include <string.h>

#include "dataplane/export_private.h"
#include "dataplane/key_hash.h"

/* A time of ours in that of everybody, or back: at least 1. 0 stays. */
static uint64_t wall_of(uint64_t monotonic_ns)
{
	return monotonic_ns == 0 ? 0
				 : monotonic_ns - praas_now_ns() + praas_state_now();
}

static uint64_t monotonic_of(uint64_t wall_ns)
{
	uint64_t now = praas_state_now();

	if (wall_ns == 0)
		return 0;
	return praas_now_ns() + (wall_ns > now ? wall_ns - now : 0);
}

/* Who gets the result of the input behind them: in the list after its own invocation. */
static int export_joined(const struct praas_export_walk *w,
			 const struct praas_invocation *inv)
{
	int rc = 0;

	for (; rc == 0 && inv && inv->inputs_count == 0; inv = inv->next) {
		struct praas_export_record r = { .kind = PRAAS_EXPORT_JOINED,
						 .source = inv->source,
						 .id = inv->id };

		if (inv->memo) /* else nobody can ask for it */
			rc = w->fn(w->user, &r);
	}
	return rc;
}

/* in: what inv brought. Its deadline is that of its timer: inv may lead others. */
static int export_one(const struct praas_export_walk *w,
		      const struct praas_invocation *inv, const struct praas_buf *in,
		      uint16_t function)
{
	struct praas_export_record r = {
		.kind = PRAAS_EXPORT_TRIGGER,
		.key = in->key,
		.key_bytes = in->head.key_bytes,
		.function = function,
		.source = inv->source,
		.id = inv->id,
		.deadline_ns =
			inv->timer.position ? wall_of(inv->timer.deadline_ns) : 0,
		.data = in->data,
		.bytes = in->head.bytes
	};

	if (praas_unlikely(in->head.flags & PRAAS_FRAME_TRACE))
		praas_export_trace(in->trace, &r, &r.sequence);
	return w->fn(w->user, &r);
}

static int export_input(void *user, const struct praas_invocation *inv)
{
	int rc = export_joined(user, inv->join);

	return rc == 0 ? export_one(user, inv, inv->inputs[0], inv->function) : rc;
}

static int export_timeout(void *user, const struct praas_accumulator *a)
{
	const struct praas_export_walk *w = user;
	struct praas_export_record r = { .kind = PRAAS_EXPORT_TIMEOUT,
					 .key = a->key,
					 .key_bytes = a->key_bytes,
					 .function = a->function };

	if (a->timer.position == 0)
		return 0;
	r.deadline_ns = wall_of(a->timer.deadline_ns);
	return w->fn(w->user, &r);
}

/* What had fired is taken apart: it fires again. */
static int export_held(const struct praas_export_walk *w,
		       const struct praas_invocation *leader)
{
	const struct praas_invocation *inv = leader, *next = leader->join;
	uint32_t index = 0;
	int rc = 0;

	while (rc == 0 && inv) {
		rc = export_joined(w, next);
		if (rc == 0)
			rc = export_one(w, inv, praas_invocation_input(leader, index++),
					leader->function);
		for (inv = next; inv && inv->inputs_count == 0;)
			inv = inv->next;
		next = inv ? inv->next : NULL;
	}
	return rc;
}

/* Where it goes on, who gets what comes of it, and its input. */
static int export_away(const struct praas_export_walk *w,
		       const struct praas_stage_call *c)
{
	const struct praas_invocation *inv = c->inv;
	struct praas_export_record r;
	int rc;

	praas_stage_call_record(w->p, c, &r);
	rc = w->fn(w->user, &r);
	if (rc == 0)
		rc = export_joined(w, inv->join);
	return rc == 0 ? export_one(w, inv, c->input ? c->input : inv->inputs[0],
				    c->function)
		       : rc;
}

int praas_export_inputs(struct praas_export_walk *w)
{
	const struct praas_triggers_visitor v = { .input = export_input,
						  .end = export_timeout,
						  .user = w };
	const struct praas_invocation *inv = w->p->held_first;
	int rc = praas_triggers_each(&w->p->triggers, &v);

	for (; rc == 0 && inv; inv = inv->next)
		rc = export_held(w, inv);
	for (const struct praas_stage_call *c = w->p->stages.first; rc == 0 && c;
	     c = c->next)
		rc = export_away(w, c);
	return rc;
}

void praas_process_export_inputs(struct praas_process *p, struct praas_changes *changes)
{
	struct praas_export_walk w = { .p = p,
				       .fn = praas_changes_add,
				       .user = changes };

	(void)praas_export_inputs(&w); /* changes say so */
}

/* ---- import ---- */

/* What had been accepted; its caller is gone, a retry may ask for it. */
static int import_accepted(struct praas_process *p, const struct praas_export_record *r,
			   struct praas_invocation **ret_inv)
{
	/* Calls by the process itself are not asked for again. */
	bool known = r->id != 0 && r->source != p->config.pid;
	struct praas_invocation *inv;

	if (known && praas_invocations_find(&p->invocations, r->source, r->id))
		return -EEXIST;
	inv = praas_invocations_alloc(&p->invocations);
	if (!inv)
		return -ENOSPC;
	inv->id = r->id;
	inv->source = r->source;
	inv->special = true;
	praas_invoke_caller_none(p, inv);
	if (known)
		praas_invocations_remember(&p->invocations, inv);
	*ret_inv = inv;
	return 0;
}

static int import_joined(struct praas_process *p, const struct praas_export_record *r)
{
	struct praas_invocation *inv;
	int rc = import_accepted(p, r, &inv);

	if (rc != 0)
		return rc;
	inv->queue = PRAAS_QUEUE_JOINED;
	inv->next = p->importing;
	p->importing = inv;
	return 0;
}

static int import_buf(struct praas_process *p, const struct praas_export_record *r,
		      struct praas_buf **ret_buf)
{
	struct praas_buf *buf;

	if (p->config.memory->alloc(p->config.memory->user, r->bytes, &buf) != 0)
		return -ENOSPC;
	buf->head = (struct praas_frame){ .kind = PRAAS_FRAME_INVOKE,
					  .key_bytes = r->key_bytes,
					  .bytes = r->bytes };
	if (r->key_bytes)
		memcpy(buf->key, r->key, r->key_bytes);
	buf->key[r->key_bytes] = '\0';
	if (r->bytes)
		memcpy(buf->data, r->data, r->bytes);
	if (r->status & PRAAS_EXPORT_TRACED) {
		buf->head.flags = PRAAS_FRAME_TRACE;
		praas_import_trace(r, r->sequence, buf->trace);
	}
	*ret_buf = buf;
	return 0;
}

static int import_input(struct praas_process *p, const struct praas_export_record *r)
{
	struct praas_invocation *inv;
	struct praas_buf *buf;
	int rc;

	if (r->function >= p->functions_count)
		return -EINVAL;
	rc = import_buf(p, r, &buf);
	if (rc != 0)
		return rc;
	rc = import_accepted(p, r, &inv);
	if (rc != 0) {
		praas_buf_release(buf);
		return rc;
	}
	inv->function = r->function;
	inv->inputs_count = 1;
	inv->inputs[0] = buf;
	inv->deadline_ns = monotonic_of(r->deadline_ns);
	inv->join = p->importing;
	p->importing = NULL;
	if (p->stages.importing.name[0] != '\0')
		praas_stage_call_import_input(p, inv);
	else
		praas_stage_import(p, inv);
	return 0;
}

/* The function may have another trigger now, or none: then there is nothing to wait for. */
static int import_timeout(struct praas_process *p, const struct praas_export_record *r)
{
	struct praas_accumulator *a;
	uint64_t latest;

	if (r->function >= p->functions_count)
		return -EINVAL;
	if (p->triggers.waiting == 0 ||
	    p->config.functions[r->function].trigger == PRAAS_TRIGGER_STANDARD)
		return 0;
	a = praas_triggers_find(&p->triggers, r->function,
				praas_key_hash(r->key, r->key_bytes, 0), r->key,
				r->key_bytes);
	if (!a || a->timer.position == 0)
		return 0;
	/* Never later than if it had come now, whatever the clocks of two hosts say. */
	latest = a->timer.deadline_ns;
	praas_timers_remove(&p->timers, &a->timer);
	a->timer.deadline_ns = praas_min_u64(monotonic_of(r->deadline_ns), latest);
	praas_check(praas_timers_put(&p->timers, &a->timer) == 0);
	return 0;
}

int praas_import_inputs(struct praas_process *p, const struct praas_export_record *r)
{
	if (r->kind == PRAAS_EXPORT_STAGE)
		return praas_stage_call_import(p, r);
	if (r->kind == PRAAS_EXPORT_JOINED)
		return import_joined(p, r);
	if (r->kind == PRAAS_EXPORT_TRIGGER)
		return import_input(p, r);
	return import_timeout(p, r);
}
