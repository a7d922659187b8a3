/* SPDX-License-Identifier: Apache-2.0
 *
 * Rollback: a process that rests gets an epoch without a controller, which puts what a named snapshot was in
 * place of its last one (PRAAS_SLOT_BACK). The slot log decides: the entry is in it, or nothing happened.
 */
#include "control/life/lifecycle_private.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/life/back.h"
#include "controller/store/store.h"
#include "internal/base.h"

/* No lock. On success record has its epoch and slot. */
static int back_to(struct praas_life *life, const char *tenant, const char *snapshot,
		   struct praas_process_record *record)
{
	struct praas_slot_entry *entry = malloc(sizeof(*entry));
	struct praas_store *store;
	struct praas_slot_log log;
	int rc = entry ? praas_life_open_log(life, record, tenant, &store, &log)
		       : -ENOMEM;

	if (rc) {
		free(entry);
		return rc;
	}
	rc = praas_back_put(&log, snapshot, record->epoch, entry);
	if (rc == 0) {
		record->lost_epoch = record->epoch; /* its clients are told so */
		record->epoch = entry->epoch;
		record->slot = (int64_t)entry->slot;
	}
	praas_store_free(store);
	free(entry);
	return rc;
}

/* Lock held, given up meanwhile: the first of those who wait. */
static void one_back(struct praas_life_process *p, struct praas_life_waits *done)
{
	struct praas_life *life = p->life;
	struct praas_life_waits one = { p->back.head };
	struct praas_process_record record = p->record;
	char snapshot[PRAAS_NAME_MAX + 1];
	struct praas_outcome outcome;
	int rc;

	p->back.head = one.head->next;
	one.head->next = NULL;
	(void)snprintf(snapshot, sizeof(snapshot), "%s", one.head->snapshot);
	(void)pthread_mutex_unlock(&life->lock);
	rc = back_to(life, p->app.tenant, snapshot, &record);
	(void)pthread_mutex_lock(&life->lock);
	outcome = praas_life_snapshot_why(rc);
	if (rc) {
		praas_life_finish(p, &one, &outcome, done);
		return;
	}
	life->stats.rollbacks++;
	p->record.lost_epoch = record.lost_epoch;
	p->record.epoch = record.epoch;
	p->record.slot = record.slot;
	if (p->record.state != PRAAS_LIFE_DELETING) {
		praas_life_set_state(p, PRAAS_LIFE_SWAPPED);
		praas_life_save(p);
		praas_life_finish(p, &one, &outcome, &p->settled);
	} else {
		praas_life_finish(p, &one, &outcome, done);
	}
}

static void run_back(struct praas_job *job)
{
	struct praas_life_process *p =
		(struct praas_life_process *)(void *)((char *)job -
						      offsetof(
							      struct praas_life_process,
							      back_job));
	struct praas_life_waits done = { NULL };
	struct praas_life *life = p->life;

	(void)pthread_mutex_lock(&life->lock);
	while (p->held)
		(void)pthread_cond_wait(&life->changed, &life->lock);
	p->held = true;
	while (p->back.head && p->record.state != PRAAS_LIFE_DELETING)
		one_back(p, &done);
	p->held = false;
	p->holds--;
	p->backing = false;
	if (p->serving.head && praas_life_resting(p->record.state) && !life->stopping)
		praas_life_begin_activation(p);
	life->background--;
	(void)pthread_cond_broadcast(&life->changed);
	(void)pthread_mutex_unlock(&life->lock);
	praas_life_tell(&done);
}

bool praas_life_begin_back(struct praas_life_process *p)
{
	if (p->backing || !p->back.head)
		return p->backing;
	p->backing = true;
	p->holds++;
	p->back_job.run = run_back;
	praas_life_background(p->life, &p->back_job);
	return true;
}

void praas_life_rollback(struct praas_life *life, const struct praas_app_record *app,
			 const char *name, const char *snapshot,
			 struct praas_life_wait *wait)
{
	struct praas_life_process *p;
	int rc = praas_life_acquire(life, app, name, &p);

	if (rc) {
		wait->outcome = praas_life_acquire_failed(rc);
		wait->done(wait);
		return;
	}
	wait->snapshot = snapshot;
	praas_life_add_wait(p, &p->back, wait);
	if (praas_life_resting(p->record.state))
		(void)praas_life_begin_back(p);
	else if (praas_life_can_swap(p))
		praas_life_begin_swap(p, false);
	else if (p->record.state != PRAAS_LIFE_DRAINING)
		p->want_swap = true;
	(void)pthread_mutex_unlock(&life->lock);
}
