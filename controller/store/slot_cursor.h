/* SPDX-License-Identifier: Apache-2.0
 *
 * The cursor rule of the slot log (slot_log.h) as a pure machine: what a writer makes of each answer
 * of the store. praas_slot_log_put() drives it against a real store; the simulator drives it
 * with answers that are late, lost, or about another's entry.
 */
#ifndef PRAAS_CONTROLLER_STORE_SLOT_CURSOR_H
#define PRAAS_CONTROLLER_STORE_SLOT_CURSOR_H

#include "controller/store/slot_log.h"

/* What a writer of epoch e that wanted to write `nonce` into a slot makes of the entry that it
 * finds there. */
enum praas_slot_verdict {
	PRAAS_SLOT_PASS,  /* an older epoch's: go on to the next slot */
	PRAAS_SLOT_OURS,  /* our own write: it had succeeded */
	PRAAS_SLOT_FENCED /* stop for ever */
};
enum praas_slot_verdict praas_slot_judge(uint32_t epoch,
					 const uint8_t nonce[PRAAS_SLOT_NONCE_BYTES],
					 const struct praas_slot_entry *found);

/* The entry at the cursor is known: our knowledge follows, the cursor passes it. */
void praas_slot_account(struct praas_slot_log *log,
			const struct praas_slot_entry *entry);

enum praas_slot_step_kind {
	PRAAS_SLOT_STEP_PUT = 1, /* the entry into slot log->cursor → write_put_done */
	PRAAS_SLOT_STEP_LOOK,    /* read slot log->cursor → write_looked */
	PRAAS_SLOT_STEP_DONE     /* rc, as praas_slot_log_put() */
};

struct praas_slot_step {
	enum praas_slot_step_kind kind;
	int rc;
};

/* One entry on its way into the log. */
struct praas_slot_write {
	struct praas_slot_log *log;     /* borrowed until DONE, as entry */
	struct praas_slot_entry *entry; /* nonce set */
	unsigned failures;
	bool here; /* into the slot that it began with, or into none */
};

struct praas_slot_step praas_slot_write_begin(struct praas_slot_write *w,
					      struct praas_slot_log *log,
					      struct praas_slot_entry *entry);
/* The same into the cursor's slot or into none: whoever else has it, the writer has lost, and is fenced. */
struct praas_slot_step praas_slot_write_begin_here(struct praas_slot_write *w,
						   struct praas_slot_log *log,
						   struct praas_slot_entry *entry);
/* rc: 0; -EEXIST; -EIO and -ETIMEDOUT not known; other: not done. */
struct praas_slot_step praas_slot_write_put_done(struct praas_slot_write *w, int rc);
struct praas_slot_step praas_slot_write_looked(struct praas_slot_write *w, int rc,
					       const struct praas_slot_entry *found);

#endif
