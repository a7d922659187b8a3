/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a process writes down what has changed of it, for a log (changes.h): the same records as in its
 * snapshot, one by one.
 */
#include "dataplane/changes.h"
#include "dataplane/outbox_private.h"
#include "dataplane/process_private.h"

/* ---- state ---- */

void praas_state_changed(const struct praas_state *s, const struct praas_object *o)
{
	struct praas_export_record r = { .kind = PRAAS_EXPORT_STATE,
					 .key = praas_state_key(s, o),
					 .key_bytes = o->key_bytes,
					 .version = o->version,
					 .modified_ns = o->modified_ns,
					 .status = o->torn ? PRAAS_CRASHED : 0,
					 .data = o->value.data,
					 .bytes = o->value.bytes };

	if (o->version == 0)
		praas_changes_gone(s->changes, &r);
	else
		(void)praas_changes_add(s->changes, &r); /* it says so itself */
}

/* ---- messages ---- */

void praas_mailbox_changed_gone(const struct praas_mailbox *m,
				const struct praas_mail *mail)
{
	const struct praas_export_record r = { .kind = PRAAS_EXPORT_MESSAGE,
					       .sequence = mail->sequence };

	praas_changes_gone(m->changes, &r);
}

void praas_process_changed_mail(struct praas_process *p)
{
	struct praas_mailbox *m = &p->mailbox;
	struct praas_mail *mail = &m->mails[m->last - 1];
	const struct praas_mail_key *k = &m->by_key[mail->key - 1];

	praas_process_export_mail(p, mail, praas_keys_at(&m->keys, k->cell),
				  k->key_bytes, p->changes);
}

/* ---- remembered results ---- */

void praas_process_memo_record(struct praas_process *p, const struct praas_memo *memo,
			       struct praas_export_record *ret_record)
{
	bool kept = memo->kept != PRAAS_MEMO_NOTHING;
	const uint8_t *data = NULL;
	uint64_t bytes = 0;

	if (kept)
		praas_invocations_kept(&p->invocations, memo, &data, &bytes);
	*ret_record = (struct praas_export_record){ .kind = PRAAS_EXPORT_DEDUP,
						    .status = memo->status,
						    .source = memo->source,
						    .id = memo->id,
						    .sequence = kept,
						    .data = data,
						    .bytes = bytes };
}

void praas_process_changed_memo(struct praas_process *p, const struct praas_memo *memo)
{
	struct praas_export_record r;

	praas_process_memo_record(p, memo, &r);
	(void)praas_changes_add(p->changes, &r); /* it says so itself */
}

/* ---- messages with other processes ---- */

void praas_process_changed_accepted(struct praas_process *p, uint64_t source,
				    struct praas_seq seq)
{
	const struct praas_export_record r = { .kind = PRAAS_EXPORT_ACCEPTED,
					       .source = source,
					       .id = seq.epoch,
					       .sequence = seq.number };

	(void)praas_changes_add(p->changes, &r); /* it says so itself */
}

void praas_process_changed_cut(struct praas_process *p)
{
	const struct praas_export_record r = { .kind = PRAAS_EXPORT_QUEUE,
					       .id = p->inbox.cut };

	(void)praas_changes_add(p->changes, &r); /* it says so itself */
}

void praas_outbox_changed_peer(struct praas_outbox *o, const struct praas_peer *p)
{
	const struct praas_sender *s = &p->sender;
	const struct praas_export_record r = { .kind = PRAAS_EXPORT_SENT,
					       .source = p->pid,
					       .id = s->last.epoch,
					       .sequence = s->last.number,
					       .status = (int32_t)s->durable.epoch,
					       .version = s->durable.number };

	if (s->path == PRAAS_SENDER_GONE)
		praas_changes_gone(o->changes, &r);
	else
		(void)praas_changes_add(o->changes, &r); /* it says so itself */
}

void praas_outbox_changed(struct praas_outbox *o, const struct praas_peer *p,
			  const struct praas_outbox_message *m, bool gone)
{
	const struct praas_export_record r = { .kind = PRAAS_EXPORT_OUTBOX,
					       .source = p->pid,
					       .id = m->seq.epoch,
					       .sequence = m->seq.number,
					       .key = m->buf.key,
					       .key_bytes = m->buf.head.key_bytes,
					       .data = m->value.data,
					       .bytes = m->value.bytes };

	if (gone)
		praas_changes_gone(o->changes, &r);
	else
		(void)praas_changes_add(o->changes, &r); /* it says so itself */
}

void praas_outbox_changed_place(struct praas_outbox *o, const struct praas_peer *p,
				const struct praas_outbox_message *m,
				struct praas_seq was)
{
	const struct praas_export_record old = { .kind = PRAAS_EXPORT_OUTBOX,
						 .source = p->pid,
						 .id = was.epoch,
						 .sequence = was.number };

	praas_changes_gone(o->changes, &old);
	praas_outbox_changed_peer(o, p);
	praas_outbox_changed(o, p, m, false);
}

/* ---- the process ---- */

void praas_process_changes_set(struct praas_process *p, struct praas_changes *changes)
{
	if (changes) {
		changes->functions = p->config.functions;
		changes->functions_count = p->functions_count;
	}
	p->changes = changes;
	p->state.changes = changes;
	p->mailbox.changes = changes;
	p->outbox->changes = changes;
}

void praas_process_changes_end(struct praas_process *p)
{
	const struct praas_export_record none = { .kind = PRAAS_EXPORT_TRIGGER };

	if (praas_likely(!p->changes->inputs))
		return;
	p->changes->inputs = false;
	praas_changes_gone(p->changes, &none);
	praas_process_export_inputs(p, p->changes);
}
