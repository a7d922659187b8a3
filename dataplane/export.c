/* SPDX-License-Identifier: Apache-2.0
 *
 * What a snapshot holds of a process, record by record, and back.
 */
#include <errno.h>
#include <string.h>

#include "dataplane/key_hash.h"
#include "dataplane/process_private.h"
#include "internal/bytes.h"

#define TRACED 0x100 /* in the status of messages and inputs, with the trace flags */

struct walk {
	struct praas_process *p;
	praas_export_fn fn;
	void *user;
};

static int export_state(struct walk *w)
{
	const struct praas_state *s = &w->p->state;

	for (uint32_t i = 0; i < s->used; i++) {
		const struct praas_object *o = &s->objects[i];
		struct praas_export_record r = { .kind = PRAAS_EXPORT_STATE,
						 .key_bytes = o->key_bytes,
						 .version = o->version,
						 .modified_ns = o->modified_ns,
						 .status = o->torn ? PRAAS_CRASHED : 0,
						 .data = o->value.data,
						 .bytes = o->value.bytes };
		int rc;

		if (!o->live || o->version == 0)
			continue;
		if (o->late && !praas_late_there(o->late))
			r.data = NULL;
		r.key = praas_state_key(s, o);
		rc = w->fn(w->user, &r);
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* A trace stands where other kinds of records have a number, a version and a time. */
static PRAAS_COLD void trace_out(const uint8_t *trace, struct praas_export_record *r,
				 uint64_t *number)
{
	r->status = TRACED | trace[24];
	*number = praas_get_u64(trace);
	r->version = praas_get_u64(trace + 8);
	r->modified_ns = praas_get_u64(trace + 16);
}

static PRAAS_COLD void trace_in(const struct praas_export_record *r, uint64_t number,
				uint8_t ret_trace[PRAAS_TRACE_BYTES])
{
	memset(ret_trace, 0, PRAAS_TRACE_BYTES);
	praas_put_u64(ret_trace, number);
	praas_put_u64(ret_trace + 8, r->version);
	praas_put_u64(ret_trace + 16, r->modified_ns);
	ret_trace[24] = (uint8_t)r->status;
}

static int export_mail(void *user, struct praas_mail *mail, const char *key,
		       uint32_t key_bytes)
{
	struct walk *w = user;
	struct praas_export_record r = { .kind = PRAAS_EXPORT_MESSAGE,
					 .key = key,
					 .key_bytes = (uint8_t)key_bytes,
					 .source = mail->source,
					 .sequence = mail->sequence,
					 .data = mail->value.data,
					 .bytes = mail->value.bytes };

	if (praas_unlikely(mail->traced))
		trace_out(praas_mailbox_trace_of(&w->p->mailbox, mail), &r, &r.id);
	return w->fn(w->user, &r);
}

void praas_process_export_mail(struct praas_process *p, struct praas_mail *mail,
			       const char *key, uint32_t key_bytes,
			       struct praas_changes *changes)
{
	struct walk w = { .p = p, .fn = praas_changes_add, .user = changes };

	(void)export_mail(&w, mail, key, key_bytes); /* changes say so */
}

static int export_memos(struct walk *w)
{
	const struct praas_invocations *t = &w->p->invocations;

	for (uint32_t i = 0; i < praas_invocations_finished(t); i++) {
		struct praas_export_record r;
		int rc;

		praas_process_memo_record(w->p, praas_invocations_finished_at(t, i),
					  &r);
		rc = w->fn(w->user, &r);
		if (rc != 0)
			return rc;
	}
	return 0;
}

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
static int export_joined(const struct walk *w, const struct praas_invocation *inv)
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
static int export_one(const struct walk *w, const struct praas_invocation *inv,
		      const struct praas_buf *in, uint16_t function)
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
		trace_out(in->trace, &r, &r.sequence);
	return w->fn(w->user, &r);
}

static int export_input(void *user, const struct praas_invocation *inv)
{
	int rc = export_joined(user, inv->join);

	return rc == 0 ? export_one(user, inv, inv->inputs[0], inv->function) : rc;
}

static int export_timeout(void *user, const struct praas_accumulator *a)
{
	const struct walk *w = user;
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
static int export_held(const struct walk *w, const struct praas_invocation *leader)
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

static int export_inputs(struct walk *w)
{
	const struct praas_triggers_visitor v = { .input = export_input,
						  .end = export_timeout,
						  .user = w };
	const struct praas_invocation *inv = w->p->held_first;
	int rc = praas_triggers_each(&w->p->triggers, &v);

	for (; rc == 0 && inv; inv = inv->next)
		rc = export_held(w, inv);
	return rc;
}

void praas_process_export_inputs(struct praas_process *p, struct praas_changes *changes)
{
	struct walk w = { .p = p, .fn = praas_changes_add, .user = changes };

	(void)export_inputs(&w); /* changes say so */
}

/* ---- messages with other processes ---- */

static int export_source(void *user, const struct praas_dedup_source *source)
{
	struct walk *w = user;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < PRAAS_DEDUP_EPOCHS; i++) {
		struct praas_export_record r = { .kind = PRAAS_EXPORT_ACCEPTED,
						 .source = source->source,
						 .id = source->highest[i].epoch,
						 .sequence =
							 source->highest[i].number };

		if (!praas_seq_none(source->highest[i]))
			rc = w->fn(w->user, &r);
	}
	return rc;
}

static int export_receiver(void *user, uint64_t pid, struct praas_seq last,
			   struct praas_seq durable)
{
	struct walk *w = user;
	struct praas_export_record r = { .kind = PRAAS_EXPORT_SENT,
					 .source = pid,
					 .id = last.epoch,
					 .sequence = last.number,
					 .status = (int32_t)durable.epoch,
					 .version = durable.number };

	return w->fn(w->user, &r);
}

static int export_sent(void *user, uint64_t pid, const struct praas_outbox_item *item)
{
	struct walk *w = user;
	struct praas_export_record r = { .kind = PRAAS_EXPORT_OUTBOX,
					 .source = pid,
					 .id = item->seq.epoch,
					 .sequence = item->seq.number,
					 .key = item->key,
					 .key_bytes = item->key_bytes,
					 .data = item->data,
					 .bytes = item->bytes };

	return w->fn(w->user, &r);
}

/* All of it rolls back with the state: what was sent, and what was accepted. */
static int export_mails(struct walk *w)
{
	const struct praas_outbox_visitor v = { .receiver = export_receiver,
						.message = export_sent,
						.user = w };
	struct praas_export_record r = { .kind = PRAAS_EXPORT_QUEUE,
					 .id = w->p->inbox.cut };
	int rc = r.id != 0 ? w->fn(w->user, &r) : 0;

	if (rc == 0)
		rc = praas_dedup_each(&w->p->inbox.dedup, export_source, w);
	if (rc == 0)
		rc = praas_outbox_each(w->p->outbox, &v);
	return rc;
}

int praas_process_export(struct praas_process *p, praas_export_fn fn, void *user)
{
	struct walk w = { .p = p, .fn = fn, .user = user };
	int rc;

	if (!praas_lease_freeze(&p->state))
		return -EBUSY;
	rc = export_state(&w);
	if (rc == 0)
		rc = praas_mailbox_each(&p->mailbox, export_mail, &w);
	if (rc == 0)
		rc = export_memos(&w);
	if (rc == 0)
		rc = export_inputs(&w);
	if (rc == 0)
		rc = export_mails(&w);
	return rc;
}

/* ---- import ---- */

/* The record's data as a value: what lies in the pool already is taken over. */
static int import_value(struct praas_process *p, const struct praas_export_record *r,
			struct praas_value *ret_value)
{
	const uint8_t *data = r->data;
	uint8_t *copy;
	int rc;

	*ret_value = (struct praas_value){ 0 };
	if (r->bytes == 0)
		return 0;
	if (r->bytes > p->config.bytes_max)
		return -EINVAL;
	if (!r->late && praas_process_value_adopt(p, data, r->bytes, ret_value) == 0)
		return 0;
	rc = praas_process_value_new(p, r->bytes, ret_value, &copy);
	if (rc != 0)
		return -ENOSPC;
	if (r->late) {
		praas_late_bind(r->late, ret_value);
		return 0;
	}
	memcpy(copy, data, r->bytes);
	return 0;
}

static int import_state(struct praas_process *p, const struct praas_export_record *r,
			struct praas_value *value)
{
	int rc = praas_state_import(&p->state, r->key, r->key_bytes, r->version,
				    r->modified_ns, value);

	if (rc == 0 && (r->status != 0 || r->late)) {
		struct praas_object *o =
			praas_state_find(&p->state, r->key, r->key_bytes);

		o->torn = r->status != 0;
		o->late = r->late;
		praas_state_publish(&p->state, o);
	}
	return rc;
}

static int import_message(struct praas_process *p, const struct praas_export_record *r,
			  struct praas_value *value)
{
	uint8_t trace[PRAAS_TRACE_BYTES];
	struct praas_fn_wait *wait;
	int rc;

	if (r->sequence <= p->mailbox.sequence)
		return r->sequence == p->mailbox.sequence ? -EEXIST : -EINVAL;
	rc = praas_mailbox_put(&p->mailbox, r->source, r->key, r->key_bytes,
			       r->sequence, value, &wait);
	if (rc == 0 && (r->status & TRACED)) {
		trace_in(r, r->id, trace);
		praas_mailbox_trace(&p->mailbox, wait, trace);
	}
	return rc;
}

static int import_memo(struct praas_process *p, const struct praas_export_record *r,
		       struct praas_value *value)
{
	struct praas_memo *m;

	if (praas_invocations_find(&p->invocations, r->source, r->id))
		return -EEXIST;
	m = praas_invocations_import(&p->invocations, r->source, r->id, r->status);
	if (!r->sequence) {
		praas_value_release(value);
		return 0;
	}
	if (r->bytes <= PRAAS_MEMO_INLINE) {
		praas_invocations_keep_text(&p->invocations, m, r->data, r->bytes);
		praas_value_release(value);
	} else if (praas_invocations_keep_value(&p->invocations, m, value) != 0) {
		praas_value_release(value); /* the id alone is remembered */
	}
	return 0;
}

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
	if (r->status & TRACED) {
		buf->head.flags = PRAAS_FRAME_TRACE;
		trace_in(r, r->sequence, buf->trace);
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

static int import_waiting(struct praas_process *p, const struct praas_export_record *r)
{
	if (r->kind == PRAAS_EXPORT_JOINED)
		return import_joined(p, r);
	if (r->kind == PRAAS_EXPORT_TRIGGER)
		return import_input(p, r);
	return import_timeout(p, r);
}

static struct praas_seq place(const struct praas_export_record *r)
{
	return (struct praas_seq){ .epoch = (uint32_t)r->id, .number = r->sequence };
}

/* Of messages with other processes, what has no value. */
static int import_numbers(struct praas_process *p, const struct praas_export_record *r)
{
	struct praas_seq durable = { .epoch = (uint32_t)r->status,
				     .number = r->version };

	if (r->kind == PRAAS_EXPORT_QUEUE) {
		p->inbox.cut = r->id;
		return 0;
	}
	if (r->kind == PRAAS_EXPORT_ACCEPTED)
		return praas_dedup_accept(&p->inbox.dedup, r->source, place(r)) == 0
			       ? 0
			       : -ENOSPC;
	return praas_outbox_import_receiver(p->outbox, r->source, place(r), durable);
}

int praas_process_import(struct praas_process *p,
			 const struct praas_export_record *record)
{
	bool keyed = record->kind == PRAAS_EXPORT_STATE ||
		     record->kind == PRAAS_EXPORT_MESSAGE ||
		     record->kind == PRAAS_EXPORT_OUTBOX;
	struct praas_value value;
	int rc;

	if (p->open || (keyed && praas_key_check(record->key, record->key_bytes) != 0))
		return -EINVAL;
	if (record->late && (record->kind != PRAAS_EXPORT_STATE || record->bytes == 0))
		return -EINVAL;
	if (record->kind == PRAAS_EXPORT_TRIGGER ||
	    record->kind == PRAAS_EXPORT_JOINED || record->kind == PRAAS_EXPORT_TIMEOUT)
		return import_waiting(p, record);
	if (record->kind == PRAAS_EXPORT_QUEUE ||
	    record->kind == PRAAS_EXPORT_ACCEPTED || record->kind == PRAAS_EXPORT_SENT)
		return import_numbers(p, record);
	rc = import_value(p, record, &value);
	if (rc != 0)
		return rc;
	switch (record->kind) {
	case PRAAS_EXPORT_STATE:
		rc = import_state(p, record, &value);
		break;
	case PRAAS_EXPORT_MESSAGE:
		rc = import_message(p, record, &value);
		break;
	case PRAAS_EXPORT_DEDUP:
		rc = import_memo(p, record, &value);
		break;
	case PRAAS_EXPORT_OUTBOX:
		rc = praas_outbox_import_message(p->outbox, record->source,
						 place(record), record->key,
						 record->key_bytes, &value);
		break;
	case PRAAS_EXPORT_TRIGGER:
	case PRAAS_EXPORT_QUEUE:
	case PRAAS_EXPORT_ACCEPTED:
	case PRAAS_EXPORT_SENT:
	case PRAAS_EXPORT_JOINED:
	case PRAAS_EXPORT_TIMEOUT:
	case PRAAS_EXPORT_LOG:
	default:
		rc = -EINVAL;
		break;
	}
	if (rc != 0)
		praas_process_value_disown(p, record->data, &value);
	return rc == -ENOBUFS ? -ENOSPC : rc;
}
