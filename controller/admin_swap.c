/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "controller/admin_private.h"
#include "controller/journal.h"
#include "controller/places.h"
#include "controller/snapshot_late.h"
#include "internal/base.h"

/*
 * Shells around the state machines: they do what an action says and report. What blocks is the
 * store alone, and only this thread.
 */

#define PUT_BACKOFF_MIN_NS 50000000u
#define PUT_BACKOFF_MAX_NS 2000000000u
#define EVENTS_MAX 8u
#define STOP_AGAIN_NS 2000000000u
#define STOP_PATIENCE_NS 10000000000u /* beside what running functions get */
#define SWEEP_AFTER_NS 1000000000u    /* not while the first calls wait */
#define LATE_AFTER_NS 20000000u       /* nor what they may not need */
#define ROOM_AGAIN_NS 1000000000u     /* a checkpoint that was not committed */
#define LATE_STEP_BYTES (8u << 20)    /* then the link and the others have their turn */

const char *praas_admin_code(int rc)
{
	switch (rc) {
	case -ENOSPC:
		return "STORE_FULL";
	case -EROFS:
		return "STORE_READ_ONLY";
	case -EACCES:
		return "STORE_DENIED";
	case -ENOENT:
	case -EIO:
		return "STORE_FAILED";
	case -ETIME:
		return "STORE_SLOW";
	case -ENOKEY:
		return "STORE_KEY";
	case -EBUSY:
		return "BUSY";
	case -ECANCELED:
		return "CANCELLED";
	case -ESTALE:
		return "FENCED";
	case -ENOMEM:
	case -E2BIG:
	case -EMSGSIZE:
		return "TOO_LARGE";
	case -ESHUTDOWN:
		return "ENDING";
	default:
		return "FAILED";
	}
}

/* In the store's words, where it has some. */
static const char *store_words(const struct praas_admin *a, int rc)
{
	if (rc == -EPROTO && (!a->store || a->store->why[0] == '\0'))
		return "damaged";
	if (rc == -ETIME)
		return "it took longer than half of what --collect-seconds says";
	return a->store && a->store->why[0] != '\0' ? a->store->why : strerror(-rc);
}

/* ---- activation ---- */

int praas_admin_open_log(struct praas_admin *a)
{
	const struct praas_config *c = a->config;
	struct praas_slot_id id = { .pid = c->pid, .generation = c->generation };
	int rc;

	memcpy(id.tenant, c->tenant, sizeof(id.tenant));
	rc = praas_slot_log_open(a->store, &id, &a->log);
	if (rc != 0)
		(void)snprintf(a->failure, sizeof(a->failure),
			       "slot log: entry %" PRIu64 ": %s", a->log.cursor,
			       store_words(a, rc));
	return rc;
}

static void read_log(struct praas_admin *a, struct praas_activate_event *ret_event)
{
	int rc = praas_admin_open_log(a);

	*ret_event = (struct praas_activate_event){ .kind = PRAAS_ACTIVATE_LOG_READ,
						    .rc = rc,
						    .epoch = a->log.epoch_max,
						    .tomb = a->log.tomb,
						    .slot = a->log.snapshot_slot };
}

static void put_act(struct praas_admin *a, struct praas_activate_event *ret_event)
{
	struct praas_slot_entry *e = a->entry;
	int rc;

	memset(e->nonce, 0, sizeof(e->nonce));
	e->epoch = a->config->epoch;
	e->kind = PRAAS_SLOT_ACT;
	e->body_bytes = 0;
	rc = praas_slot_log_put(&a->log, e);
	if (rc != 0)
		(void)snprintf(a->failure, sizeof(a->failure), "cannot write ACT: %s",
			       store_words(a, rc));
	*ret_event = (struct praas_activate_event){ .kind = PRAAS_ACTIVATE_ACT_PUT,
						    .rc = rc,
						    .slot = a->log.snapshot_slot,
						    .act_slot = e->slot };
}

/* After a rollback in that slot: what others rely on is as the process's own last snapshot says. Without one that can
 * be read messages to it may wait until their senders begin a new epoch. */
static int keep_agreed(struct praas_admin *a, uint64_t slot)
{
	struct praas_snapshot last = { 0 };
	int rc = -ENOENT;

	while (slot > 0) {
		rc = praas_slot_log_read(&a->log, --slot, a->entry);
		if (rc != 0 || a->entry->kind == PRAAS_SLOT_SNAP ||
		    a->entry->kind == PRAAS_SLOT_REL)
			break;
		rc = -ENOENT;
	}
	if (rc == 0)
		rc = praas_snapshot_open(a->store, a->entry, &last);
	if (rc == 0)
		rc = praas_snapshot_keep_agreed(&a->current, &last);
	praas_snapshot_release(&last);
	if (rc != 0 && rc != -ENOENT)
		praas_journal(PRAAS_LOG_WARNING,
			      "what was agreed with other processes cannot be read: %s",
			      strerror(-rc));
	return rc == -ENOMEM ? rc : 0;
}

/* The manifest here, the values on the data thread. Non-zero: it ends here. */
static int order_load(struct praas_admin *a, uint64_t slot)
{
	bool any = slot != PRAAS_SLOT_NONE;
	uint32_t back = 0;
	int rc = any ? praas_slot_log_read(&a->log, slot, a->entry) : 0;

	praas_snapshot_release(&a->current);
	a->late = NULL;
	a->released = any && a->entry->kind == PRAAS_SLOT_REL;
	a->whole = false;
	if (any && rc == 0 && a->entry->kind == PRAAS_SLOT_BACK)
		back = a->entry->epoch;
	if (rc == 0 && any)
		rc = praas_snapshot_open(a->store, a->entry, &a->current);
	if (rc == 0 && back != 0) {
		praas_snapshot_keep_own(&a->current);
		rc = keep_agreed(a, slot);
	}
	if (rc != 0) {
		(void)snprintf(a->failure, sizeof(a->failure),
			       "snapshot in slot %" PRIu64 ": %s", slot,
			       store_words(a, rc));
		return rc;
	}
	a->redo_number = praas_snapshot_log(&a->current);
	if (a->activate.act_first)
		rc = praas_admin_log_open(a, back);
	if (rc != 0)
		return rc;
	return praas_admin_load(a, a->load_store, &a->current, false);
}

int praas_admin_load(struct praas_admin *a, struct praas_store *store,
		     const struct praas_snapshot *snapshot, bool whole)
{
	a->load = (struct praas_data_load){ .redo = a->redo,
					    .store = store,
					    .snapshot = snapshot,
					    .whole = whole,
					    .fetch_store = a->load_store,
					    .base = whole ? &a->current : NULL };
	return praas_exchange_order(a->exchange, PRAAS_ORDER_LOAD,
				    (uint64_t)(uintptr_t)&a->load, 0);
}

void praas_admin_late(struct praas_admin *a, uint64_t now_ns)
{
	/* A swap-out does not wait for it: what has not come stays in the store as it is. */
	if (a->swap.final) {
		a->late_due_ns = now_ns + LATE_AFTER_NS;
		return;
	}
	a->late_due_ns = now_ns;
	if (praas_snapshot_late_step(a->late, a->store, LATE_STEP_BYTES) == 0)
		return;
	a->late_due_ns = 0;
	if (praas_snapshot_late_failed(a->late) == 0)
		praas_journal(PRAAS_LOG_INFO, "all of the state is in memory");
	else
		praas_journal(PRAAS_LOG_ERROR,
			      "%" PRIu64
			      " state objects are damaged in, or gone from, %s",
			      praas_snapshot_late_failed(a->late), a->config->store);
}

void praas_admin_activation_failed(struct praas_admin *a, int rc)
{
	const char *why = a->failure[0] != '\0' ? a->failure : strerror(-rc);

	if (rc == -ESTALE)
		praas_admin_end(a, PRAAS_EXIT_FENCED, "FENCED",
				"a later epoch owns this process");
	else if (rc == -EIDRM)
		praas_admin_end(a, PRAAS_EXIT_FENCED, "DELETED",
				"the process was deleted");
	else if (rc == -EBADMSG || rc == -ENOSPC)
		praas_admin_end(a, PRAAS_EXIT_SNAPSHOT, "SNAPSHOT", why);
	else
		praas_admin_end(a, PRAAS_EXIT_START, "STORE", why);
}

void praas_admin_settled(struct praas_admin *a)
{
	a->settled = true;
	praas_admin_log_settled(a);
	a->late_due_ns = a->late ? praas_now_ns() + LATE_AFTER_NS : 0;
	a->sweep_due_ns = praas_now_ns() + SWEEP_AFTER_NS;
	praas_admin_swap_event(a, PRAAS_SWAP_SETTLED, 0, 0);
}

/* True: event is to be given to the machine. */
static bool activate_do(struct praas_admin *a,
			const struct praas_activate_action *action,
			struct praas_activate_event *ret_event)
{
	switch (action->kind) {
	case PRAAS_ACTIVATE_READ_LOG:
		read_log(a, ret_event);
		return true;
	case PRAAS_ACTIVATE_PUT_ACT:
		a->act_waits = a->activate.serving && !a->serving;
		if (a->act_waits)
			return false; /* the control service need not wait for it */
		put_act(a, ret_event);
		return true;
	case PRAAS_ACTIVATE_LOAD:
		*ret_event = (struct praas_activate_event){
			.kind = PRAAS_ACTIVATE_LOADED, .rc = order_load(a, action->slot)
		};
		return ret_event->rc != 0;
	case PRAAS_ACTIVATE_SERVE:
		(void)praas_exchange_order(a->exchange, PRAAS_ORDER_SERVE,
					   action->clean,
					   0); /* never full: the first orders */
		return false;
	case PRAAS_ACTIVATE_SETTLED:
		praas_admin_settled(a);
		return false;
	case PRAAS_ACTIVATE_FAIL:
		praas_admin_activation_failed(a, action->rc);
		return false;
	}
	return false;
}

/* NOLINTNEXTLINE(readability-function-size): praas_check() is the deep part */
void praas_admin_activate_event(struct praas_admin *a,
				const struct praas_activate_event *event)
{
	struct praas_activate_event queue[EVENTS_MAX];
	unsigned next = 0, count = 1;

	queue[0] = *event;
	while (next < count && !a->over) {
		struct praas_activate_action actions[PRAAS_ACTIVATE_ACTIONS_MAX];
		unsigned n = praas_activate_step(&a->activate, &queue[next++], actions);

		for (unsigned i = 0; i < n && !a->over; i++) {
			praas_check(count < EVENTS_MAX);
			if (activate_do(a, &actions[i], &queue[count]))
				count++;
		}
	}
}

void praas_admin_act(struct praas_admin *a)
{
	struct praas_activate_event put;

	if (!a->act_waits || a->over)
		return;
	a->act_waits = false;
	put_act(a, &put);
	praas_admin_activate_event(a, &put);
}

/* ---- swap ---- */

/* What a late object's reader on the other thread counts meanwhile may be missed: the next snapshot sees it. */
static bool reads_clear(struct praas_store *store)
{
	return atomic_load_explicit(&store->clear_reads, memory_order_relaxed) > 0;
}

/* The machine orders it only when a cut was made, and drops that only later. */
static int write_cut(struct praas_admin *a)
{
	struct praas_snapshot_result result = { 0 };
	uint64_t begin = praas_now_ns();
	int rc;

	memset(a->entry->nonce, 0, sizeof(a->entry->nonce));
	a->entry->epoch = a->config->epoch;
	/* What was stored in clear before there were keys is sealed as soon as it is in memory. */
	a->current.rewrite = reads_clear(a->store) || reads_clear(a->load_store);
	a->current.compact = a->config->state_bytes > 0 && !a->swap.final;
	rc = praas_snapshot_write(a->store, &a->cut->snapshot, a->manifest->functions,
				  a->manifest->count, &a->current, a->entry, &result);
	/* What has been on its way for longer may have been collected meanwhile (store/gc.h). */
	if (rc == 0 && a->config->upload_s > 0 &&
	    praas_now_ns() - begin > a->config->upload_s * 1000000000u)
		rc = -ETIME;
	if (rc != 0) {
		(void)snprintf(
			a->failure, sizeof(a->failure),
			"cannot write the snapshot to %.200s: %s; the process goes on",
			a->config->store, store_words(a, rc));
		praas_journal(PRAAS_LOG_ERROR, "%s", a->failure);
		return rc;
	}
	a->written_bytes = result.bytes_written + a->entry->body_bytes;
	praas_journal(
		PRAAS_LOG_INFO,
		"snapshot: %" PRIu64 " records, %" PRIu64 " bytes written, %" PRIu64
		" reused, %" PRIu64 " us",
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): see above */
		a->cut->snapshot.records_count, a->written_bytes, result.bytes_reused,
		(praas_now_ns() - begin) / 1000);
	return 0;
}

void praas_admin_sweep(struct praas_admin *a)
{
	struct praas_refs last[2];
	int rc = 0;

	a->sweep_due_ns = 0;
	if (a->previous.records == NULL && a->log.previous_slot != PRAAS_SLOT_NONE &&
	    praas_slot_log_read(&a->log, a->log.previous_slot, a->entry) == 0)
		rc = praas_snapshot_open(a->store, a->entry, &a->previous);
	if (rc == -ENOENT) /* it was not kept either */
		rc = 0;
	last[0] = praas_snapshot_refs(&a->current);
	last[1] = praas_snapshot_refs(&a->previous);
	if (rc == 0)
		rc = praas_named_sweep(&a->log, &a->named, last);
	if (rc != 0)
		praas_journal(PRAAS_LOG_WARNING, "cannot remove old chunks: %s",
			      strerror(-rc));
}

void praas_admin_room_due(struct praas_admin *a, uint64_t now_ns)
{
	a->room_due_ns = now_ns + ROOM_AGAIN_NS; /* until one is committed */
	praas_admin_swap_event(a, PRAAS_SWAP_ASK_CHECKPOINT, 0, 0);
}

/* Objects that have not changed since may go. Their keys stay until two more are committed; before each of these the data
 * thread makes a cut, behind this. */
static void tell_places(struct praas_admin *a)
{
	struct praas_places *places = NULL;
	int rc;

	if (a->config->state_bytes == 0)
		return;
	rc = praas_places_new(&a->current, NULL, &places);
	if (rc == 0)
		rc = praas_exchange_order(a->exchange, PRAAS_ORDER_PLACES,
					  (uint64_t)(uintptr_t)places,
					  (uint64_t)(uintptr_t)a->load_store);
	if (rc == 0) {
		a->room_due_ns = 0;
		return;
	}
	praas_places_free(places);
	praas_journal(PRAAS_LOG_ERROR, "where the state lies is not known: %s",
		      strerror(-rc)); /* the next checkpoint says it */
}

/* What was written is what the next one starts from; what only older ones need may go. */
static void committed(struct praas_admin *a, bool final)
{
	praas_snapshot_release(&a->previous);
	a->previous = a->current;
	a->queue_cut = a->cut->queue_cut;
	a->current = a->cut->snapshot;
	a->cut->snapshot = (struct praas_snapshot){ 0 };
	praas_admin_log_committed(a);
	if (!final)
		tell_places(a);
	if (!final) /* else who comes next sweeps */
		a->sweep_due_ns = praas_now_ns() + SWEEP_AFTER_NS;
}

static int put_entry(struct praas_admin *a, bool final)
{
	int rc;

	a->entry->kind = final ? PRAAS_SLOT_REL : PRAAS_SLOT_SNAP;
	rc = praas_slot_log_put(&a->log, a->entry);
	if (rc == 0) {
		committed(a, final);
		return 0;
	}
	(void)snprintf(a->failure, sizeof(a->failure), "cannot commit to %.200s: %s",
		       a->config->store, store_words(a, rc));
	praas_journal(PRAAS_LOG_ERROR, "%s", a->failure);
	return rc;
}

static void drop_cut(struct praas_admin *a)
{
	if (!a->cut)
		return;
	(void)praas_exchange_order(a->exchange, PRAAS_ORDER_CUT_DROP,
				   (uint64_t)(uintptr_t)a->cut,
				   0); /* never full: one answer per report */
	a->cut = NULL;
}

static void swap_exit(struct praas_admin *a, int rc)
{
	if (rc == 0 && a->swap.moving) {
		praas_journal(PRAAS_LOG_INFO, "moved to epoch %u", a->move.to);
		praas_admin_end(a, PRAAS_EXIT_DONE, NULL, NULL);
	} else if (rc == 0) {
		praas_journal(PRAAS_LOG_INFO, "swapped out: slot %" PRIu64,
			      a->log.snapshot_slot);
		praas_admin_metrics_now(a);
		(void)praas_link_send(
			a->link,
			json_pack("{ss sI sI sI sI}", "t", "swapped", "epoch",
				  (json_int_t)a->config->epoch, "slot",
				  (json_int_t)a->log.snapshot_slot, "bytes",
				  (json_int_t)a->written_bytes, "cut",
				  (json_int_t)a->queue_cut)); /* the log tells */
		praas_admin_end(a, PRAAS_EXIT_DONE, NULL, NULL);
	} else {
		praas_admin_end(a, PRAAS_EXIT_FENCED, "FENCED",
				"a later epoch owns this process");
	}
}

static void order(struct praas_admin *a, enum praas_exchange_order kind, uint64_t arg)
{
	int rc = praas_exchange_order(a->exchange, kind, arg, 0);

	if (rc != 0)
		praas_journal(PRAAS_LOG_ERROR,
			      "the data thread does not take its orders");
}

/* True: kind and rc are to be given to the machine. */
static bool swap_do(struct praas_admin *a, const struct praas_swap_action *action,
		    struct praas_swap_event *ret_event)
{
	switch (action->kind) {
	case PRAAS_SWAP_CLOSE_GATE:
		praas_admin_mail_stop(a);
		order(a, PRAAS_ORDER_GATE_CLOSE, a->swap.moving);
		return false;
	case PRAAS_SWAP_OPEN_GATE:
		a->drain_due_ns = 0;
		order(a, PRAAS_ORDER_GATE_OPEN, 0);
		return false;
	case PRAAS_SWAP_WAIT_QUIET:
		a->drain_due_ns = praas_now_ns() + a->config->drain_ms * 1000000u + 1;
		order(a, PRAAS_ORDER_WAIT_QUIET, 0);
		return false;
	case PRAAS_SWAP_INTERRUPT:
		order(a, PRAAS_ORDER_INTERRUPT, 0);
		return false;
	case PRAAS_SWAP_CUT:
		a->drain_due_ns = 0;
		a->failure[0] = '\0';
		order(a, PRAAS_ORDER_CUT, a->swap.final);
		return false;
	case PRAAS_SWAP_WRITE:
		*ret_event = (struct praas_swap_event){ .kind = PRAAS_SWAP_WRITTEN,
							.rc = write_cut(a) };
		return true;
	case PRAAS_SWAP_PUT:
		if (a->swap.unknown) {
			a->put_backoff_ns =
				praas_min_u64(praas_max_u64(2 * a->put_backoff_ns,
							    PUT_BACKOFF_MIN_NS),
					      PUT_BACKOFF_MAX_NS);
			a->put_due_ns = praas_now_ns() + a->put_backoff_ns;
			return false;
		}
		*ret_event =
			(struct praas_swap_event){ .kind = PRAAS_SWAP_PUT_DONE,
						   .rc = put_entry(a, action->final) };
		return true;
	case PRAAS_SWAP_HAND_OVER:
	case PRAAS_SWAP_HAND_OFF:
		*ret_event = (struct praas_swap_event){ .kind = PRAAS_SWAP_HANDED };
		return praas_admin_hand(a, action->kind == PRAAS_SWAP_HAND_OVER,
					&ret_event->rc);
	case PRAAS_SWAP_DROP:
		drop_cut(a);
		return false;
	case PRAAS_SWAP_ANSWER:
		praas_admin_answer(a, action->id, action->rc);
		if (action->id != 0 && action->id == a->move.id)
			praas_admin_move_over(a);
		return false;
	case PRAAS_SWAP_EXIT:
		swap_exit(a, action->rc);
		return false;
	}
	return false;
}

/* NOLINTNEXTLINE(readability-function-size): praas_check() is the deep part */
static void swap_pump(struct praas_admin *a, const struct praas_swap_event *event)
{
	struct praas_swap_event queue[EVENTS_MAX];
	unsigned next = 0, count = 1;

	queue[0] = *event;
	while (next < count && !a->over) {
		struct praas_swap_action actions[PRAAS_SWAP_ACTIONS_MAX];
		unsigned n = praas_swap_step(&a->swap, &queue[next++], actions);

		for (unsigned i = 0; i < n && !a->over; i++) {
			praas_check(count < EVENTS_MAX);
			if (swap_do(a, &actions[i], &queue[count]))
				count++;
		}
	}
}

void praas_admin_swap_event(struct praas_admin *a, enum praas_swap_event_kind kind,
			    int rc, uint64_t id)
{
	struct praas_swap_event event = { .kind = kind, .rc = rc, .id = id };

	swap_pump(a, &event);
}

void praas_admin_stop(struct praas_admin *a, uint64_t now_ns)
{
	if (a->stop_end_ns == 0)
		a->stop_end_ns =
			now_ns + a->config->drain_ms * 1000000u + STOP_PATIENCE_NS;
	a->stop_due_ns = now_ns + STOP_AGAIN_NS;
	praas_admin_swap_event(a, PRAAS_SWAP_ASK_SWAP, 0, 0);
}

void praas_admin_stop_again(struct praas_admin *a, uint64_t now_ns)
{
	bool failed = a->swap.phase == PRAAS_SWAP_SERVING;
	bool control = praas_link_connected(a->link);
	char why[sizeof(a->failure) + 128];

	a->stop_due_ns = now_ns + STOP_AGAIN_NS;
	if (control && failed) { /* it can ask again, or kill us */
		a->stop_due_ns = a->stop_end_ns = 0;
	} else if (!control && now_ns >= a->stop_end_ns) {
		(void)snprintf(why, sizeof(why),
			       "ends without being swapped out, and without a control "
			       "service; what is not in the last snapshot is lost: %s",
			       a->failure[0] ? a->failure : "it takes too long");
		praas_admin_end(a, PRAAS_EXIT_START, "STORE", why);
	} else if (failed) {
		praas_admin_swap_event(a, PRAAS_SWAP_ASK_SWAP, 0, 0);
	}
}

void praas_admin_put_again(struct praas_admin *a)
{
	struct praas_swap_event event = { .kind = PRAAS_SWAP_PUT_DONE };

	a->put_due_ns = 0;
	event.rc = put_entry(a, a->swap.final);
	swap_pump(a, &event);
}
