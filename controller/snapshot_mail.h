/* SPDX-License-Identifier: Apache-2.0
 *
 * What a snapshot holds of the messages between its process and others (docs/protocols.md): how far the
 * backup queue has been read, what was accepted from each sender, and for each receiver what it
 * has not acknowledged. It must be cut together with the state: they roll back together.
 */
#ifndef PRAAS_CONTROLLER_SNAPSHOT_MAIL_H
#define PRAAS_CONTROLLER_SNAPSHOT_MAIL_H

#include "controller/snapshot.h"
#include "dataplane/dedup.h"
#include "dataplane/sender.h"

/* All below: 0; -ENOMEM; -E2BIG. */

int praas_snapshot_add_queue(struct praas_snapshot *s, uint64_t position);
int praas_snapshot_add_dedup(struct praas_snapshot *s, const struct praas_dedup *dedup);

/* Fills in key, key_bytes, data and bytes of the message that a token stands for; they are
 * referred to until the snapshot is written. */
typedef void (*praas_snapshot_message_fn)(void *user, uint64_t token,
					  struct praas_export_record *ret_record);
int praas_snapshot_add_sender(struct praas_snapshot *s, uint64_t receiver,
			      const struct praas_sender *sender,
			      praas_snapshot_message_fn message, void *user);

/* ---- the reverse, for records of praas_snapshot_load() ---- */

/* ACCEPTED. 0; -ENOBUFS too many senders. */
int praas_snapshot_restore_accepted(struct praas_dedup *dedup,
				    const struct praas_export_record *record);
/* SENT, before the OUTBOX records of the same receiver: for a fresh sender. */
void praas_snapshot_restore_sent(struct praas_sender *sender,
				 const struct praas_export_record *record, bool clean);
/* OUTBOX; token: where the caller has put the message. 0; -EAGAIN; -EINVAL. */
int praas_snapshot_restore_outbox(struct praas_sender *sender,
				  const struct praas_export_record *record,
				  uint64_t token);

#endif
