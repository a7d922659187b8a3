/* SPDX-License-Identifier: Apache-2.0
 *
 * Named snapshots of a process. They are in its store, beside the controller that may be serving
 * (controller/store/named.h); what is done to those of one process is done one after the other.
 */
#include "control/life/lifecycle_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/store/store.h"

struct praas_outcome praas_life_snapshot_why(int rc)
{
	static const struct {
		int rc;
		const char *code, *text;
	} rows[] = {
		{ -ENOENT, "not_found", "the process has no snapshot of that name" },
		{ -EEXIST, "exists", "a snapshot has that name" },
		{ -ENODATA, "no_snapshot", "nothing of the process was saved yet" },
		{ -EMFILE, "limit_snapshots", "the process has 64 named snapshots" },
		{ -EPROTO, "snapshot_damaged",
		  "an entry, manifest or chunk of the snapshot is damaged or gone" },
		{ -EAGAIN, "busy", "it was saved again and again meanwhile" },
		{ -ENOSPC, "store_failed", "the store is full" },
	};

	if (rc == 0)
		return (struct praas_outcome){ 0 };
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].rc == rc)
			return praas_outcome_of(rc, rows[i].code, rows[i].text);
	return praas_outcome_of(rc, "store_failed", strerror(-rc));
}

/* ---- one at a time ------------------------------------------------------------------ */

int praas_life_hold(struct praas_life *life, const struct praas_app_record *app,
		    const char *name, struct praas_life_process **ret_p,
		    struct praas_process_record *ret_record)
{
	struct praas_life_process *p;
	int rc = praas_life_acquire(life, app, name, &p);

	if (rc)
		return rc;
	p->holds++;
	while (p->held)
		(void)pthread_cond_wait(&life->changed, &life->lock);
	if (p->record.state == PRAAS_LIFE_DELETING) {
		p->holds--;
		(void)pthread_cond_broadcast(&life->changed);
		(void)pthread_mutex_unlock(&life->lock);
		return -ENOENT;
	}
	p->held = true;
	*ret_p = p;
	*ret_record = p->record;
	(void)pthread_mutex_unlock(&life->lock);
	return 0;
}

void praas_life_release(struct praas_life_process *p)
{
	struct praas_life *life = p->life;

	(void)pthread_mutex_lock(&life->lock);
	p->held = false;
	p->holds--;
	(void)pthread_cond_broadcast(&life->changed);
	(void)pthread_mutex_unlock(&life->lock);
}

/* ---- names -------------------------------------------------------------------------- */

/* What all of them have: counted anew each time, so that it is right again after a crash in between. */
static int sum(const struct praas_slot_log *log, uint64_t *ret_bytes)
{
	struct praas_named *all = calloc(PRAAS_NAMED_MAX, sizeof(*all));
	unsigned count = 0;
	int rc = all ? praas_named_list(log, NULL, PRAAS_NAMED_MAX, all, &count)
		     : -ENOMEM;

	*ret_bytes = 0;
	for (unsigned i = 0; i < count; i++)
		*ret_bytes += all[i].bytes;
	free(all);
	return rc;
}

static void count(struct praas_life_process *p, const struct praas_slot_log *log,
		  bool given)
{
	struct praas_life *life = p->life;
	uint64_t bytes;

	if (sum(log, &bytes))
		return; /* the next one counts */
	(void)pthread_mutex_lock(&life->lock);
	life->stats.snapshots += given;
	praas_life_count_named(p, bytes);
	praas_life_save(p);
	(void)pthread_mutex_unlock(&life->lock);
}

int praas_life_snapshot_give(struct praas_life *life,
			     const struct praas_app_record *app, const char *name,
			     const char *snapshot, struct praas_named *ret_named,
			     struct praas_outcome *ret_why)
{
	struct praas_process_record record;
	struct praas_life_process *p;
	struct praas_store *store;
	struct praas_slot_log log;
	int rc = praas_life_hold(life, app, name, &p, &record);

	if (rc) {
		*ret_why = praas_life_acquire_failed(rc);
		return rc;
	}
	rc = praas_life_open_log(life, &record, app->tenant, &store, &log);
	if (rc == 0) {
		rc = praas_named_give(&log, snapshot, praas_life_realtime_ns(),
				      ret_named);
		if (rc == -ENOENT)
			rc = -EPROTO; /* a chunk is gone */
		if (rc == 0)
			count(p, &log, true);
		praas_store_free(store);
	} else if (rc == -ENOENT) {
		rc = -ENODATA;
	}
	praas_life_release(p);
	*ret_why = praas_life_snapshot_why(rc);
	return rc;
}

int praas_life_snapshot_take(struct praas_life *life,
			     const struct praas_app_record *app, const char *name,
			     const char *snapshot, struct praas_outcome *ret_why)
{
	struct praas_process_record record;
	struct praas_life_process *p;
	struct praas_store *store;
	struct praas_slot_log log;
	int rc = praas_life_hold(life, app, name, &p, &record);

	if (rc) {
		*ret_why = praas_life_acquire_failed(rc);
		return rc;
	}
	rc = praas_life_open_log(life, &record, app->tenant, &store, &log);
	if (rc == 0) {
		rc = praas_named_take(&log, snapshot);
		if (rc == 0 ||
		    rc == -ENOENT) /* who asks again: it may have been a crash */
			count(p, &log, false);
		praas_store_free(store);
	}
	praas_life_release(p);
	*ret_why = praas_life_snapshot_why(rc);
	return rc;
}

/* ---- looking: whoever writes them meanwhile -------------------------------------------- */

static int look(struct praas_life *life, const struct praas_app_record *app,
		const char *name, struct praas_store **ret_store,
		struct praas_slot_log *ret_log, struct praas_outcome *ret_why)
{
	struct praas_records *records = life->config.records;
	struct praas_process_record record;
	int rc = records->ops->process_get(records, app->id, name, &record);

	if (rc) {
		*ret_why = praas_life_acquire_failed(rc);
		return rc;
	}
	rc = praas_life_open_log(life, &record, app->tenant, ret_store, ret_log);
	if (rc)
		*ret_why = praas_life_snapshot_why(rc);
	return rc == -ENOENT ? -ENODATA : rc;
}

int praas_life_snapshot_list(struct praas_life *life,
			     const struct praas_app_record *app, const char *name,
			     const char *after, unsigned max,
			     struct praas_named *ret_named, unsigned *ret_count,
			     struct praas_outcome *ret_why)
{
	struct praas_store *store;
	struct praas_slot_log log;
	int rc = look(life, app, name, &store, &log, ret_why);

	*ret_count = 0;
	if (rc)
		return rc == -ENODATA ? 0 : rc;
	rc = praas_named_list(&log, after, max, ret_named, ret_count);
	praas_store_free(store);
	*ret_why = praas_life_snapshot_why(rc);
	return rc;
}

int praas_life_snapshot_get(struct praas_life *life, const struct praas_app_record *app,
			    const char *name, const char *snapshot,
			    struct praas_named *ret_named,
			    struct praas_outcome *ret_why)
{
	struct praas_store *store;
	struct praas_slot_log log;
	int rc = look(life, app, name, &store, &log, ret_why);

	if (rc)
		return rc;
	rc = praas_named_get(&log, snapshot, ret_named);
	praas_store_free(store);
	*ret_why = praas_life_snapshot_why(rc);
	return rc;
}
