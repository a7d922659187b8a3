/* SPDX-License-Identifier: Apache-2.0
 *
 * Fork: a new process that begins with a snapshot of another one of its application. Its store gets the chunks
 * (the same bytes on the disk where the store can do that, under its own names), and a log of its own whose
 * first entry is the snapshot. Until that is done its record says DELETING: a restart of ours removes what is
 * there.
 */
#include "control/life/lifecycle_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/life/back.h"
#include "controller/store/store.h"

struct fork {
	struct praas_life *life;
	const struct praas_app_record *app;
	struct praas_process_record from, to;
	struct praas_fork fork;
};

/* The new store: chunks, then the log's first entry. */
static int fill(struct fork *f, struct praas_slot_log *from)
{
	struct praas_slot_log log;
	struct praas_store *to;
	int rc = praas_life_open_store(f->life, &f->to, f->app->tenant, &to);

	if (rc)
		return rc;
	rc = praas_fork_share(&f->fork, from, to);
	praas_store_free(to);
	if (rc)
		return rc;
	rc = praas_life_open_log(f->life, &f->to, f->app->tenant, &to, &log);
	if (rc)
		return rc;
	rc = praas_fork_put(&f->fork, &log, f->to.epoch);
	f->to.slot = (int64_t)f->fork.entry->slot;
	praas_store_free(to);
	return rc;
}

/* Removes what there is, now or, if that fails, when somebody comes or we start again. */
static void undo(struct fork *f)
{
	struct praas_life *life = f->life;
	struct praas_life_process *p;

	(void)pthread_mutex_lock(&life->lock);
	p = praas_life_entry(life, &f->to, f->app);
	if (p) {
		p->doomed = true;
		praas_life_begin_erase(p);
	}
	(void)pthread_mutex_unlock(&life->lock);
}

/* Its record is there, and says DELETING. */
static int make(struct fork *f, struct praas_slot_log *from)
{
	struct praas_records *records = f->life->config.records;
	struct praas_process_record done;
	int rc = praas_life_new_generation(f->life, &f->to);

	if (rc == 0)
		rc = fill(f, from);
	done = f->to;
	done.state = PRAAS_LIFE_SWAPPED;
	done.state_bytes = f->fork.refs.value_bytes;
	if (rc == 0)
		rc = records->ops->process_put(records, &done);
	if (rc) {
		undo(f);
		return rc;
	}
	f->to = done;
	praas_tenants_count(f->life->config.tenants, f->app->tenant, PRAAS_QUOTA_STATE,
			    0, done.state_bytes);
	(void)pthread_mutex_lock(&f->life->lock);
	f->life->stats.forks++;
	praas_events_add(f->life->config.events, &done,
			 praas_life_state_text(PRAAS_LIFE_SWAPPED));
	(void)pthread_cond_broadcast(&f->life->changed);
	(void)pthread_mutex_unlock(&f->life->lock);
	return 0;
}

static int create(struct fork *f, const char *name, struct praas_slot_log *from,
		  struct praas_outcome *ret_why)
{
	struct praas_records *records = f->life->config.records;
	int rc = praas_fork_find(&f->fork, from);

	if (rc) {
		*ret_why = praas_life_snapshot_why(rc);
		return rc;
	}
	rc = praas_life_take_process(f->life, f->app, ret_why);
	if (rc)
		return rc;
	f->to = (struct praas_process_record){
		.generation = 1, .epoch = 1, .slot = -1, .state = PRAAS_LIFE_DELETING
	};
	memcpy(f->to.app, f->app->id, sizeof(f->to.app));
	(void)snprintf(f->to.name, sizeof(f->to.name), "%s", name);
	f->to.created_ns = praas_life_realtime_ns();
	f->to.changed_ns = f->to.created_ns;
	f->to.used_ns = f->to.created_ns;
	rc = records->ops->process_put(records, &f->to);
	if (rc) {
		praas_tenants_give(f->life->config.tenants, f->app->tenant,
				   PRAAS_QUOTA_PROCESSES, 1);
		*ret_why = rc == -EEXIST ? praas_outcome_of(rc, "exists",
							    "a process has that name")
			   : rc == -ENOSPC
				   ? praas_outcome_of(rc, "limit_processes",
						      "the application has too many "
						      "processes")
				   : praas_outcome_of(rc, "store_failed",
						      "the record cannot be written");
		return rc;
	}
	rc = make(f, from);
	*ret_why = praas_life_snapshot_why(rc);
	return rc;
}

int praas_life_fork(struct praas_life *life, const struct praas_app_record *app,
		    const char *name, const char *snapshot, const char *new_name,
		    struct praas_process_record *ret_record,
		    struct praas_outcome *ret_why)
{
	struct fork f = { .life = life, .app = app, .fork = { .snapshot = snapshot } };
	char made_up[PRAAS_NAME_MAX + 1];
	struct praas_life_process *p;
	struct praas_store *store;
	struct praas_slot_log log;
	int rc = praas_life_hold(life, app, name, &p, &f.from);

	if (rc) {
		*ret_why = praas_life_acquire_failed(rc);
		return rc;
	}
	praas_life_made_up_name(made_up);
	f.fork.entry = malloc(sizeof(*f.fork.entry));
	rc = f.fork.entry
		     ? praas_life_open_log(life, &f.from, app->tenant, &store, &log)
		     : -ENOMEM;
	if (rc == 0) {
		rc = create(&f, new_name ? new_name : made_up, &log, ret_why);
		praas_store_free(store);
	} else {
		*ret_why = praas_life_snapshot_why(rc == -ENOENT && !snapshot ? -ENODATA
									      : rc);
	}
	praas_life_release(p);
	praas_refs_release(&f.fork.refs);
	free(f.fork.entry);
	*ret_record = f.to;
	return rc;
}
