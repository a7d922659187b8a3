/* SPDX-License-Identifier: Apache-2.0
 *
 * Start and stop of the life cycle, what was there before a restart, and deletion.
 */
#include "control/life/lifecycle_private.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/say.h"
#include "internal/base.h"

#define PAGE 256u
#define END_NS 5000000000ull /* for controllers to be gone after SIGKILL */

static void run_erase(struct praas_job *job)
{
	struct praas_life_process *p =
		(struct praas_life_process *)(void *)((char *)job -
						      offsetof(
							      struct praas_life_process,
							      erase_job));
	struct praas_life *life = p->life;
	struct praas_records *records = life->config.records;
	struct praas_outcome ok = { 0 };
	struct praas_outcome gone =
		praas_outcome_of(-ENOENT, "not_found", "it was deleted");
	struct praas_life_waits done = { NULL };
	struct praas_process_record record;
	bool stored;
	int rc;

	(void)pthread_mutex_lock(&life->lock);
	while (p->saving || p->holds > 0 || praas_life_mail_busy(p))
		(void)pthread_cond_wait(&life->changed, &life->lock);
	p->starting = true; /* nobody writes the record any more */
	if (p->fresh && p->failure.rc)
		gone = p->failure; /* why it never served */
	record = p->record;
	stored = p->doomed && praas_usage_none(&p->account.pending);
	(void)pthread_mutex_unlock(&life->lock);
	/* First that it is to go, so that a restart of ours goes on with it. */
	rc = stored ? 0 : praas_life_put(p, &record);
	if (rc == 0)
		rc = praas_life_erase_store(p, &record);
	if (rc == 0)
		rc = records->ops->process_delete(records, record.number);
	(void)pthread_mutex_lock(&life->lock);
	praas_life_finish(p, &p->serving, &gone, &done);
	praas_life_finish(p, &p->swapped, &gone, &done);
	praas_life_finish(p, &p->checkpointed, &gone, &done);
	praas_life_finish(p, &p->back, &gone, &done);
	praas_life_finish(p, &p->moved, &gone, &done);
	if (rc == 0 || rc == -ENOENT) {
		praas_life_finish(p, &p->ended, &ok, &done);
		praas_life_give_erased(p);
		p->record.changed_ns = praas_life_realtime_ns();
		praas_events_add(life->config.events, &p->record, "DELETED");
		praas_life_forget(p);
	} else {
		struct praas_outcome why =
			praas_outcome_of(rc, "store_failed",
					 "what it stored cannot be removed; it is gone "
					 "for use; asking again tries again");

		p->erase_failed = true;
		praas_life_finish(p, &p->ended, &why, &done);
	}
	life->background--;
	(void)pthread_cond_broadcast(&life->changed);
	(void)pthread_mutex_unlock(&life->lock);
	praas_life_tell(&done);
}

void praas_life_begin_erase(struct praas_life_process *p)
{
	if (praas_life_runs(p))
		return; /* the end of its last controller leads here again */
	p->erase_failed = false;
	p->erase_job.run = run_erase;
	praas_life_background(p->life, &p->erase_job);
}

/* ---- restart ------------------------------------------------------------------------ */

/* No controller of it is left: what the slot log says is true. */
static void settle(struct praas_life_process *p)
{
	struct praas_owner_log log = { 0 };
	struct praas_owner owner;
	int rc = praas_life_read_log(p, &log);

	p->epoch_seen = log.epoch;
	/* If a controller of that epoch is still there, it only has to end. */
	p->told_swapped = rc == 0 && log.released && log.epoch == p->record.epoch;
	p->rest_state = PRAAS_LIFE_LOST; /* of one that was being activated, too */
	if (p->record.state == PRAAS_LIFE_MIGRATING)
		praas_life_move_recover(p, &log);
	owner = praas_life_owner(p);
	if (praas_owner_ended(&owner, p->record.epoch, &log, true, 0) == 0)
		p->rest_state = owner.state;
	p->recovered = true;
}

void praas_life_not_back(struct praas_life_process *p)
{
	if (p->recovered && p->rest_state == PRAAS_LIFE_LOST)
		p->record.lost_epoch = p->record.epoch;
	p->recovered = false;
}

/* Not 0: the service must not begin, for nobody would ever end or wake the process. */
static int recover_one(struct praas_life *life,
		       const struct praas_process_record *record,
		       const struct praas_app_record *app)
{
	struct praas_backend *backend;
	struct praas_life_process *p = praas_life_entry(life, record, app);
	struct praas_records *records = life->config.records;
	struct praas_queue_state queue;
	int rc;

	if (!p)
		return -ENOMEM;
	rc = records->queue->state(records, record->number, &queue);
	if (rc)
		return rc;
	praas_life_mail_known(p, &queue);
	p->circles_told = UINT64_MAX;
	praas_life_charge_running(p);
	/* The first that tried what was being deployed: it goes back, as the application did. */
	p->want_swap = record->revision > app->revision;
	backend = praas_life_backend(p);
	rc = backend->ops->adopt(backend, record->os_pid, record->os_start,
				 record->number, record->epoch, &p->instance);
	p->has_instance = rc == 0;
	life->instances += rc == 0;
	if (rc == 0)
		rc = praas_life_watch(life, &p->instance);
	if (rc && rc != -ESRCH)
		return rc; /* it runs, or may: it must not be taken for lost */
	if (record->state == PRAAS_LIFE_DELETING) {
		p->doomed = true;
		if (p->has_instance)
			praas_life_end(&p->instance);
		else
			praas_life_begin_erase(p);
		return 0;
	}
	settle(p);
	if (p->has_instance || p->record.os_pid == 0 ||
	    p->record.state == PRAAS_LIFE_MIGRATING) {
		p->phase_deadline_ns = praas_now_ns() + life->config.rejoin_ns;
		praas_life_arm(p);
		return 0;
	}
	praas_life_not_back(p);
	praas_life_set_state(p, (enum praas_life_state)p->rest_state);
	p->record.os_pid = 0;
	p->record.endpoints[0] = 0;
	praas_life_save(p);
	return 0;
}

/* All applications; the caller frees. 0; -ENOMEM; -EIO. */
static int all_apps(struct praas_records *records, struct praas_app_record **ret_apps,
		    uint32_t *ret_count)
{
	struct praas_app_record *apps = NULL;
	char after[2 * PRAAS_NAME_MAX + 2];
	uint32_t count = 0, n;

	do {
		struct praas_app_record *more =
			reallocarray(apps, count + PAGE, sizeof(*apps));
		int rc = -ENOMEM;

		if (more) {
			apps = more;
			if (count)
				(void)snprintf(after, sizeof(after), "%s/%s",
					       apps[count - 1].tenant,
					       apps[count - 1].name);
			rc = records->ops->app_list(records, NULL, count ? after : NULL,
						    PAGE, apps + count, &n);
		}
		if (rc) {
			free(apps);
			return rc;
		}
		count += n;
	} while (n == PAGE);
	*ret_apps = apps;
	*ret_count = count;
	return 0;
}

const struct praas_app_record *praas_life_app_of(const struct praas_app_record *apps,
						 uint32_t count, const uint8_t *id)
{
	for (uint32_t i = 0; i < count; i++)
		if (!memcmp(apps[i].id, id, sizeof(apps[i].id)))
			return &apps[i];
	return NULL;
}

int praas_life_recover(struct praas_life *life)
{
	struct praas_records *records = life->config.records;
	struct praas_process_record *page = calloc(PAGE, sizeof(*page));
	struct praas_app_record *apps = NULL;
	uint32_t apps_count = 0, n = 0;
	char after[24] = "0";
	int rc = page ? all_apps(records, &apps, &apps_count) : -ENOMEM;

	while (rc == 0) {
		rc = records->ops->process_list(records, NULL, after, PAGE, page, &n);
		if (rc || n == 0)
			break;
		(void)pthread_mutex_lock(&life->lock);
		for (uint32_t i = 0; rc == 0 && i < n; i++) {
			const struct praas_app_record *app =
				praas_life_app_of(apps, apps_count, page[i].app);

			if (app && !praas_life_resting(page[i].state))
				rc = recover_one(life, &page[i], app);
		}
		(void)pthread_mutex_unlock(&life->lock);
		(void)snprintf(after, sizeof(after), "%llu",
			       (unsigned long long)page[n - 1].number);
	}
	if (rc == 0)
		praas_life_code_recover(life, apps, apps_count);
	free(apps);
	free(page);
	return rc;
}

/* ---- start and stop ----------------------------------------------------------------- */

static int copy_text(char *ret_text, size_t bytes, const char *text)
{
	int n = snprintf(ret_text, bytes, "%s", text ? text : "");

	return n < 0 || (size_t)n >= bytes ? -ENAMETOOLONG : 0;
}

int praas_life_new(const struct praas_life_config *config, struct praas_life **ret_life)
{
	struct praas_life *life = calloc(1, sizeof(*life));
	pthread_condattr_t attr;
	int rc;

	if (!life)
		return -ENOMEM;
	life->config = *config;
	(void)pthread_mutex_init(&life->place_lock, NULL);
	(void)pthread_mutex_init(&life->usage_lock, NULL);
	(void)pthread_mutex_init(&life->drain_lock, NULL);
	(void)pthread_mutex_init(&life->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&life->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
	rc = copy_text(life->link_path, sizeof(life->link_path), config->link_path);
	if (rc == 0)
		rc = copy_text(life->run_dir, sizeof(life->run_dir), config->run_dir);
	if (rc == 0)
		rc = copy_text(life->code_dir, sizeof(life->code_dir),
			       config->code_dir);
	if (rc == 0)
		rc = copy_text(life->store_url, sizeof(life->store_url),
			       config->store_url);
	if (rc == 0)
		rc = copy_text(life->data_listen, sizeof(life->data_listen),
			       config->data_listen);
	if (rc == 0)
		rc = copy_text(life->worker, sizeof(life->worker), config->worker);
	if (rc == 0)
		rc = (config->lease ? praas_link_replace : praas_link_new)(
			life->link_path, &praas_life_link_events, life, &life->link);
	if (rc == 0)
		rc = praas_life_members_new(life);
	life->functions = praas_functions_new();
	if (rc == 0 && !life->functions)
		rc = -ENOMEM;
	if (rc) {
		praas_life_free(life);
		return rc;
	}
	*ret_life = life;
	return 0;
}

int praas_life_start(struct praas_life *life)
{
	int rc = praas_life_nodes_load(life);

	if (rc == 0)
		rc = praas_life_recover(life);
	if (rc == 0)
		rc = praas_link_start(life->link);
	if (rc == 0)
		praas_link_wake(life->link); /* for what is due without an event */
	return rc;
}

/* Until no controller, none that is being started, and no job of ours is left; false: not in time. */
static bool wait_ended(struct praas_life *life, uint64_t deadline_ns)
{
	struct timespec until = { .tv_sec = (time_t)(deadline_ns / 1000000000u),
				  .tv_nsec = (long)(deadline_ns % 1000000000u) };

	while (life->instances > 0 || life->background > 0 || life->unborn)
		if (pthread_cond_timedwait(&life->changed, &life->lock, &until) ==
		    ETIMEDOUT)
			return false;
	return true;
}

static void swap_all(struct praas_life *life)
{
	struct praas_life_process *p, *next;

	HASH_ITER(hh, life->processes, p, next)
	{
		if (praas_life_can_swap(p))
			praas_life_begin_swap(p, false);
		/* else: it ends, or is asked as soon as it serves */
	}
}

static void kill_all(struct praas_life *life)
{
	struct praas_life_process *p, *next;

	HASH_ITER(hh, life->processes, p, next)
	{
		if (p->leaving_due_ns)
			praas_life_end(&p->leaving);
		praas_life_end_taker(p);
		if (!p->has_instance)
			continue;
		praas_say(PRAAS_SAY_WARNING,
			  "process %llu was not swapped out in time "
			  "and is "
			  "killed",
			  (unsigned long long)p->number);
		praas_life_end(&p->instance);
	}
}

static void tell_all(struct praas_life *life, struct praas_life_waits *done)
{
	struct praas_outcome why = praas_outcome_of(-ESHUTDOWN, "shutting_down",
						    "the control service is stopping");
	struct praas_life_process *p, *next;

	HASH_ITER(hh, life->processes, p, next)
	{
		praas_life_finish(p, &p->serving, &why, done);
		praas_life_finish(p, &p->swapped, &why, done);
		praas_life_finish(p, &p->checkpointed, &why, done);
		praas_life_finish(p, &p->back, &why, done);
		praas_life_finish(p, &p->moved, &why, done);
		praas_life_finish(p, &p->ended, &why, done);
	}
}

void praas_life_stop(struct praas_life *life, uint64_t deadline_ns)
{
	struct praas_life_waits done = { NULL };

	(void)pthread_mutex_lock(&life->lock);
	life->stopping = true;
	swap_all(life);
	if (!wait_ended(life, deadline_ns)) {
		kill_all(life);
		(void)wait_ended(life, praas_now_ns() + END_NS);
	}
	tell_all(life, &done);
	(void)pthread_mutex_unlock(&life->lock);
	praas_life_tell(&done);
	praas_link_stop(life->link);
}

void praas_life_leave(struct praas_life *life)
{
	struct praas_life_waits done = { NULL };

	(void)pthread_mutex_lock(&life->lock);
	life->stopping = true;
	(void)pthread_mutex_unlock(&life->lock);
	praas_link_stop(life->link); /* nobody joins any more, no end is told */
	(void)pthread_mutex_lock(&life->lock);
	life->instances = 0;
	(void)wait_ended(life, praas_now_ns() + END_NS); /* our own jobs */
	tell_all(life, &done);
	(void)pthread_mutex_unlock(&life->lock);
	praas_life_tell(&done);
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
void praas_life_free(struct praas_life *life)
{
	struct praas_life_process *p, *next;

	if (!life)
		return;
	praas_link_stop(life->link);
	praas_life_members_free(life);
	HASH_CLEAR(hh_conn, life->by_conn); /* who is still connected is freed below */
	HASH_ITER(hh, life->processes, p, next)
	{
		p->has_instance = p->has_taker = false;
		p->leaving_due_ns = 0;
		p->conn = 0;
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): HASH_DEL() moved the head on */
		HASH_DEL(life->processes, p);
		free(p->app_next);
		praas_functions_epoch(&p->functions_told);
		free(p);
	}
	praas_link_free(life->link);
	(void)pthread_cond_destroy(&life->changed);
	(void)pthread_mutex_destroy(&life->lock);
	(void)pthread_mutex_destroy(&life->drain_lock);
	(void)pthread_mutex_destroy(&life->usage_lock);
	(void)pthread_mutex_destroy(&life->place_lock);
	praas_functions_free(life->functions);
	free(life);
}
