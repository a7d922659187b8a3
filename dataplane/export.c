/* SPDX-License-Identifier: Apache-2.0
 *
 * What a snapshot holds of a process, record by record, and back.
 */
#include <errno.h>
#include <string.h>

#include "dataplane/export_private.h"
#include "internal/bytes.h"

static int export_state(struct praas_export_walk *w)
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
			r.data = NULL; /* so is that of an object that is out */
		r.key = praas_state_key(s, o);
		rc = w->fn(w->user, &r);
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* Where other kinds of records have a number, a version and a time. */
void praas_export_trace(const uint8_t *trace, struct praas_export_record *r,
			uint64_t *number)
{
	r->status = PRAAS_EXPORT_TRACED | trace[24];
	*number = praas_get_u64(trace);
	r->version = praas_get_u64(trace + 8);
	r->modified_ns = praas_get_u64(trace + 16);
}

void praas_import_trace(const struct praas_export_record *r, uint64_t number,
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
	struct praas_export_walk *w = user;
	struct praas_export_record r = { .kind = PRAAS_EXPORT_MESSAGE,
					 .key = key,
					 .key_bytes = (uint8_t)key_bytes,
					 .source = mail->source,
					 .sequence = mail->sequence,
					 .data = mail->value.data,
					 .bytes = mail->value.bytes };

	if (praas_unlikely(mail->traced))
		praas_export_trace(praas_mailbox_trace_of(&w->p->mailbox, mail), &r,
				   &r.id);
	return w->fn(w->user, &r);
}

void praas_process_export_mail(struct praas_process *p, struct praas_mail *mail,
			       const char *key, uint32_t key_bytes,
			       struct praas_changes *changes)
{
	struct praas_export_walk w = { .p = p,
				       .fn = praas_changes_add,
				       .user = changes };

	(void)export_mail(&w, mail, key, key_bytes); /* changes say so */
}

static int export_memos(struct praas_export_walk *w)
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

/* ---- messages with other processes ---- */

static int export_source(void *user, const struct praas_dedup_source *source)
{
	struct praas_export_walk *w = user;
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
	struct praas_export_walk *w = user;
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
	struct praas_export_walk *w = user;
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
static int export_mails(struct praas_export_walk *w)
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
	struct praas_export_walk w = { .p = p, .fn = fn, .user = user };
	int rc;

	if (!praas_lease_freeze(&p->state))
		return -EBUSY;
	rc = export_state(&w);
	if (rc == 0)
		rc = praas_mailbox_each(&p->mailbox, export_mail, &w);
	if (rc == 0)
		rc = export_memos(&w);
	if (rc == 0)
		rc = praas_export_inputs(&w);
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
	if (r->place) {
		ret_value->bytes = r->bytes;
		ret_value->charge = praas_align_up(r->bytes, PRAAS_POOL_CLASS_MIN);
		return 0;
	}
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
	if (rc == 0 && r->place)
		praas_overflow_import(&p->state,
				      praas_state_find(&p->state, r->key, r->key_bytes),
				      r->place);
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
	if (rc == 0 && (r->status & PRAAS_EXPORT_TRACED)) {
		praas_import_trace(r, r->id, trace);
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
	if (record->place && (record->kind != PRAAS_EXPORT_STATE ||
			      record->bytes < PRAAS_PLACE_BYTES_MIN || record->late ||
			      !p->state.overflow))
		return -EINVAL;
	if (record->kind == PRAAS_EXPORT_TRIGGER ||
	    record->kind == PRAAS_EXPORT_JOINED ||
	    record->kind == PRAAS_EXPORT_TIMEOUT || record->kind == PRAAS_EXPORT_STAGE)
		return praas_import_inputs(p, record);
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
	case PRAAS_EXPORT_STAGE:
	default:
		rc = -EINVAL;
		break;
	}
	if (rc != 0)
		praas_process_value_disown(p, record->data, &value);
	return rc == -ENOBUFS ? -ENOSPC : rc;
}
