/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/slot_cursor.h"

#include <errno.h>
#include <string.h>

enum praas_slot_verdict praas_slot_judge(uint32_t epoch,
					 const uint8_t nonce[PRAAS_SLOT_NONCE_BYTES],
					 const struct praas_slot_entry *found)
{
	if (memcmp(found->nonce, nonce, PRAAS_SLOT_NONCE_BYTES) == 0)
		return PRAAS_SLOT_OURS;
	/* A second writer of our own epoch is as bad as a later one; our own earlier entries
	 * lie behind the cursor. */
	if (found->kind == PRAAS_SLOT_TOMB || found->epoch >= epoch)
		return PRAAS_SLOT_FENCED;
	return PRAAS_SLOT_PASS;
}

void praas_slot_account(struct praas_slot_log *log,
			const struct praas_slot_entry *entry)
{
	if (praas_slot_has_snapshot(entry->kind)) {
		log->previous_slot = log->snapshot_slot;
		log->snapshot_slot = entry->slot;
	}
	if (entry->kind == PRAAS_SLOT_TOMB)
		log->tomb = true;
	if (entry->epoch > log->epoch_max) {
		log->epoch_before = log->epoch_max;
		log->epoch_max = entry->epoch;
	}
	log->last_kind = entry->kind;
	log->cursor = entry->slot + 1;
}

static struct praas_slot_step done(int rc)
{
	return (struct praas_slot_step){ .kind = PRAAS_SLOT_STEP_DONE, .rc = rc };
}

static struct praas_slot_step put(struct praas_slot_write *w)
{
	w->entry->slot = w->log->cursor;
	return (struct praas_slot_step){ .kind = PRAAS_SLOT_STEP_PUT };
}

/* The store did not say. Bounded: then the caller decides when to go on. */
static struct praas_slot_step failed(struct praas_slot_write *w, int rc)
{
	if ((rc == -EIO || rc == -ETIMEDOUT) && ++w->failures < PRAAS_SLOT_TRIES)
		return put(w);
	return done(rc);
}

struct praas_slot_step praas_slot_write_begin(struct praas_slot_write *w,
					      struct praas_slot_log *log,
					      struct praas_slot_entry *entry)
{
	*w = (struct praas_slot_write){ .log = log, .entry = entry };
	if (log->fenced || log->tomb || log->epoch_max > entry->epoch ||
	    (entry->kind == PRAAS_SLOT_ACT && log->epoch_max == entry->epoch))
		return done(-ESTALE);
	return put(w);
}

struct praas_slot_step praas_slot_write_begin_here(struct praas_slot_write *w,
						   struct praas_slot_log *log,
						   struct praas_slot_entry *entry)
{
	struct praas_slot_step step = praas_slot_write_begin(w, log, entry);

	w->here = true;
	return step;
}

struct praas_slot_step praas_slot_write_put_done(struct praas_slot_write *w, int rc)
{
	if (rc == -EEXIST)
		return (struct praas_slot_step){ .kind = PRAAS_SLOT_STEP_LOOK };
	/* This try was refused, but an earlier one may have succeeded. */
	if (rc != 0 && rc != -ETIMEDOUT && w->failures > 0)
		rc = -EIO;
	if (rc != 0)
		return failed(w, rc);
	praas_slot_account(w->log, w->entry);
	return done(0);
}

struct praas_slot_step praas_slot_write_looked(struct praas_slot_write *w, int rc,
					       const struct praas_slot_entry *found)
{
	if (rc != 0)
		return failed(w, rc);
	switch (praas_slot_judge(w->entry->epoch, w->entry->nonce, found)) {
	case PRAAS_SLOT_OURS:
		praas_slot_account(w->log, w->entry);
		return done(0);
	case PRAAS_SLOT_PASS:
		if (w->here)
			break;
		/* Each pass is an entry of an older epoch, and each of their writers is fenced
		 * when it next looks: so this ends. */
		praas_slot_account(w->log, found);
		return put(w);
	case PRAAS_SLOT_FENCED:
		break;
	}
	w->log->fenced = true;
	return done(-ESTALE);
}
