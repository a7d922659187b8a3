/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/snapshot_mail.h"

int praas_snapshot_add_queue(struct praas_snapshot *s, uint64_t position)
{
	struct praas_export_record r = { .kind = PRAAS_EXPORT_QUEUE, .id = position };

	return praas_snapshot_add(s, &r);
}

static int add_source(void *user, const struct praas_dedup_source *source)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < PRAAS_DEDUP_EPOCHS; i++) {
		struct praas_export_record r = { .kind = PRAAS_EXPORT_ACCEPTED,
						 .source = source->source,
						 .id = source->highest[i].epoch,
						 .sequence =
							 source->highest[i].number };

		if (!praas_seq_none(source->highest[i]))
			rc = praas_snapshot_add(user, &r);
	}
	return rc;
}

int praas_snapshot_add_dedup(struct praas_snapshot *s, const struct praas_dedup *dedup)
{
	return praas_dedup_each(dedup, add_source, s);
}

int praas_snapshot_add_sender(struct praas_snapshot *s, uint64_t receiver,
			      const struct praas_sender *sender,
			      praas_snapshot_message_fn message, void *user)
{
	struct praas_export_record sent = {
		.kind = PRAAS_EXPORT_SENT,
		.source = receiver,
		.id = sender->last.epoch,
		.sequence = sender->last.number,
		.status = (int32_t)sender->durable.epoch,
		.version = sender->durable.number,
	};
	int rc = praas_snapshot_add(s, &sent);

	for (uint32_t i = 0; rc == 0 && i < sender->count; i++) {
		const struct praas_sender_slot *slot = praas_sender_at(sender, i);
		struct praas_export_record r = { .kind = PRAAS_EXPORT_OUTBOX,
						 .source = receiver,
						 .id = slot->seq.epoch,
						 .sequence = slot->seq.number };

		if (slot->over)
			continue; /* acknowledged, or given up */
		message(user, slot->token, &r);
		rc = praas_snapshot_add(s, &r);
	}
	return rc;
}

static struct praas_seq place(const struct praas_export_record *r)
{
	return (struct praas_seq){ .epoch = (uint32_t)r->id, .number = r->sequence };
}

int praas_snapshot_restore_accepted(struct praas_dedup *dedup,
				    const struct praas_export_record *record)
{
	return praas_dedup_accept(dedup, record->source, place(record));
}

void praas_snapshot_restore_sent(struct praas_sender *sender,
				 const struct praas_export_record *record, bool clean)
{
	struct praas_seq durable = { .epoch = (uint32_t)record->status,
				     .number = record->version };

	praas_sender_restore(sender, place(record), durable, clean);
}

int praas_snapshot_restore_outbox(struct praas_sender *sender,
				  const struct praas_export_record *record,
				  uint64_t token)
{
	return praas_sender_restore_message(sender, place(record), token);
}
