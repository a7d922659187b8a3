/* SPDX-License-Identifier: Apache-2.0
 *
 * The admin thread's part of a journal (docs/journal.md): opens the log when our ACT is in, puts what it says into
 * the snapshot that is loaded, and has snapshots made that it can begin anew from.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "controller/admin_private.h"
#include "controller/journal.h"
#include "controller/redo_turn.h"
#include "internal/base.h"

#define AGAIN_NS 1000000000u
#define HAND_NS UINT64_C(10000000000) /* for the disk, before the process goes */
#define SOON_NS 1000000000u /* after an activation: not while the first calls wait */

bool praas_admin_log_wanted(struct praas_admin *a)
{
	const char *folder = praas_store_folder(a->config->store);

	if (a->config->durability != PRAAS_DURABILITY_SWAP)
		return true;
	/* Of an epoch that kept one: what it promised is in there. */
	return folder && praas_redo_exists(folder);
}

/* From the log's own thread. */
static void wake_data(void *user)
{
	praas_bell_ring(user);
}

/* The snapshot goes on in the log behind record *ret_from; whole: there must be something. */
static void place_of(const struct praas_snapshot *s, uint64_t *ret_from,
		     bool *ret_whole)
{
	*ret_from = 0;
	*ret_whole = false;
	for (uint64_t i = 0; i < s->records_count; i++) {
		const struct praas_export_record *r = &s->records[i].record;

		if (r->kind != PRAAS_EXPORT_LOG)
			continue;
		*ret_from = r->id;
		*ret_whole = r->sequence != 0;
	}
}

struct reading {
	struct praas_admin *a;
	const struct praas_redo_turns *turns;
};

/* In the heads of an epoch's files: with what it began, and what the log has of it, it is all that anybody has seen. */
#define NOTE_WHOLE 1u

/* Whether it is so for us: the epoch before says it of itself, there was none, or it has ended in order. */
static uint32_t note(void *user, uint32_t epoch, uint32_t said)
{
	const struct reading *r = user;
	struct praas_admin *a = r->a;
	const struct praas_activate *at = &a->activate;
	bool known = a->log.epoch_before == 0 ||
		     (a->released && praas_redo_edit_turns(r->turns->edit) == 0 &&
		      at->loaded_slot + 1 == at->act_slot);

	a->whole = said == NOTE_WHOLE && epoch == a->log.epoch_before &&
		   r->turns->undone == 0;
	known = a->whole || (known && r->turns->undone == 0);
	return known && a->config->durability == PRAAS_DURABILITY_GATE ? NOTE_WHOLE : 0;
}

static int replay(struct praas_admin *a, const char *folder, uint32_t back)
{
	struct praas_redo_turns turns = { .undone = back };
	struct reading reading = { a, &turns };
	struct praas_redo_config rc = { .folder = folder,
					.id = a->log.id,
					.epoch = a->config->epoch,
					.loose = back,
					.replay = praas_redo_turns_record,
					.replay_user = &turns,
					.note = note,
					.note_user = &reading,
					.notify = wake_data,
					.notify_user = &a->redo_bell };
	uint64_t damaged = 0;
	int error = praas_redo_edit_begin(&a->current, &turns.edit), ended;

	if (error != 0)
		return error;
	place_of(&a->current, &rc.from, &rc.whole);
	error = praas_redo_open(&rc, &a->redo, &damaged);
	a->replayed = praas_redo_edit_turns(turns.edit);
	ended = praas_redo_edit_end(turns.edit);
	praas_redo_turns_release(&turns);
	if (error == 0)
		error = ended;
	if (error == -EPROTO)
		(void)snprintf(a->failure, sizeof(a->failure),
			       "log: record %" PRIu64 " is damaged, or gone", damaged);
	else if (error != 0)
		(void)snprintf(a->failure, sizeof(a->failure), "log in %.200s: %s",
			       folder, strerror(-error));
	return error;
}

int praas_admin_log_open(struct praas_admin *a, uint32_t back)
{
	const char *folder = praas_store_folder(a->config->store);
	bool sealed = a->config->seal_keys.count > 0;
	int rc;

	/* One that is there is read in any case. */
	if (!folder || (sealed && a->config->durability != PRAAS_DURABILITY_SWAP)) {
		(void)snprintf(
			a->failure, sizeof(a->failure),
			"a journal needs a store in a folder that is not sealed");
		return -EOPNOTSUPP;
	}
	praas_redo_close(a->redo);
	a->redo = NULL;
	praas_bell_init(&a->redo_bell, a->exchange->data_bell.shared,
			a->exchange->data_bell.event_fd);
	rc = replay(a, folder, back);
	if (rc != 0)
		return rc;
	if (a->replayed > 0) {
		praas_journal(PRAAS_LOG_INFO,
			      "%" PRIu64
			      " turns of the log replayed, up to record %" PRIu64
			      ": %s",
			      a->replayed, praas_redo_last(a->redo),
			      a->whole ? "all that anybody has seen"
				       : "what was acknowledged");
		a->released = false;
	}
	a->redo_number = praas_redo_last(a->redo);
	a->log_due = a->replayed > 0 || back != 0;
	return 0;
}

void praas_admin_log_settled(struct praas_admin *a)
{
	if (a->log_due)
		a->redo_due_ns = praas_now_ns() + SOON_NS;
}

int praas_admin_log_cut(struct praas_admin *a, struct praas_cut *cut, bool final)
{
	struct praas_export_record r = { .kind = PRAAS_EXPORT_LOG,
					 .id = cut->log ? cut->log : a->redo_number,
					 .sequence = cut->log != 0 && !final };

	if (r.id == 0)
		return 0;
	return praas_snapshot_add(&cut->snapshot, &r);
}

bool praas_admin_log_kept(const struct praas_admin *a)
{
	return a->redo && a->config->durability != PRAAS_DURABILITY_SWAP;
}

int praas_admin_log_hand(struct praas_admin *a)
{
	const struct praas_cut *cut = a->cut;

	if (!praas_admin_log_kept(a))
		return 0;
	/* A snapshot stands in for records that there are not: what comes behind them would have nothing before it. */
	if (cut->covers != cut->log)
		return -EIO;
	return praas_redo_wait(a->redo, cut->log, HAND_NS);
}

static uint32_t note_moved(void *user, uint32_t epoch, uint32_t said)
{
	const struct praas_admin *a = user;

	return said == NOTE_WHOLE && epoch == a->move.from &&
			       a->config->durability == PRAAS_DURABILITY_GATE
		       ? NOTE_WHOLE
		       : 0;
}

int praas_admin_log_take(struct praas_admin *a)
{
	struct praas_redo_config rc = { .folder = praas_store_folder(a->config->store),
					.id = a->log.id,
					.epoch = a->config->epoch,
					.from = a->redo_number,
					.moved = true,
					.note = note_moved,
					.note_user = a,
					.notify = wake_data,
					.notify_user = &a->redo_bell };
	int error;

	if (a->config->durability == PRAAS_DURABILITY_SWAP)
		return 0;
	praas_bell_init(&a->redo_bell, a->exchange->data_bell.shared,
			a->exchange->data_bell.event_fd);
	error = praas_redo_open(&rc, &a->redo, NULL);
	if (error != 0)
		(void)snprintf(a->failure, sizeof(a->failure), "log in %.200s: %s",
			       rc.folder, strerror(-error));
	a->log_due = true; /* then it begins with a snapshot, as others do */
	return error;
}

void praas_admin_log_committed(struct praas_admin *a)
{
	if (!a->redo)
		return;
	a->redo_due_ns = 0;
	praas_redo_trim(a->redo, praas_snapshot_log(&a->current));
	(void)praas_exchange_order(a->exchange, PRAAS_ORDER_KEPT, a->cut->covers,
				   0); /* never full: one for each cut */
}

void praas_admin_log_failed(struct praas_admin *a, int rc)
{
	if (rc != 0)
		praas_journal(PRAAS_LOG_ERROR,
			      "the log cannot be written (%s: %s): snapshots stand in "
			      "for it",
			      praas_admin_code(rc), strerror(-rc));
	a->redo_due_ns = praas_now_ns();
}

void praas_admin_log_due(struct praas_admin *a, uint64_t now_ns)
{
	a->redo_due_ns = now_ns + AGAIN_NS; /* until one is committed */
	praas_admin_swap_event(a, PRAAS_SWAP_ASK_CHECKPOINT, 0, 0);
}
