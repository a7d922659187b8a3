/* SPDX-License-Identifier: Apache-2.0
 *
 * Operations that REST asks for.
 */
#include "control/life/lifecycle_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "control/names.h"
#include "internal/base.h"

#define ACQUIRE_TRIES 50 /* of 100 ms: another request creates it right now */
#define ACQUIRE_NS 100000000ull
#define NAME_BYTES 6u /* of randomness in a made-up name */

static void wait_changed(struct praas_life *life)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until); /* cannot fail */
	until.tv_nsec += (long)ACQUIRE_NS;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	(void)pthread_cond_timedwait(&life->changed, &life->lock, &until);
}

/* It is as good as gone; what could not be removed is tried again. Lock held. */
static int deleting(struct praas_life_process *p)
{
	if (!p->erase_failed)
		return -ENOENT;
	praas_life_begin_erase(p);
	return -EBUSY;
}

int praas_life_acquire(struct praas_life *life, const struct praas_app_record *app,
		       const char *name, struct praas_life_process **ret_p)
{
	struct praas_records *records = life->config.records;
	struct praas_process_record record;

	for (int i = 0; i < ACQUIRE_TRIES; i++) {
		int rc = records->ops->process_get(records, app->id, name, &record);

		if (rc)
			return rc;
		(void)pthread_mutex_lock(&life->lock);
		*ret_p = praas_life_find(life, record.number);
		if (!*ret_p && praas_life_resting(record.state))
			*ret_p = praas_life_entry(life, &record, app);
		if (*ret_p ? praas_life_renew(*ret_p, app) != 0
			   : praas_life_resting(record.state))
			rc = -ENOMEM;
		else if (*ret_p && (*ret_p)->record.state == PRAAS_LIFE_DELETING)
			rc = deleting(*ret_p);
		else if (life->stopping)
			rc = -ESHUTDOWN;
		else if (*ret_p)
			return 0;
		else
			wait_changed(life);
		(void)pthread_mutex_unlock(&life->lock);
		if (rc)
			return rc;
	}
	return -EBUSY;
}

struct praas_outcome praas_life_acquire_failed(int rc)
{
	switch (rc) {
	case -ENOENT:
		return praas_outcome_of(rc, "not_found", "no such process");
	case -ESHUTDOWN:
		return praas_outcome_of(rc, "shutting_down",
					"the control service is stopping");
	case -EBUSY:
		return praas_outcome_of(rc, "busy",
					"the process is being created or deleted");
	default:
		return praas_outcome_of(rc, "store_failed",
					"the records cannot be read");
	}
}

static void tell_acquire(struct praas_life_wait *wait, int rc)
{
	wait->outcome = praas_life_acquire_failed(rc);
	wait->done(wait);
}

/* Lock held; wait is told when p serves. */
void praas_life_want_serving(struct praas_life_process *p, struct praas_life_wait *wait,
			     struct praas_life_waits *done)
{
	struct praas_outcome ok = { 0 };

	praas_life_add_wait(p, &p->serving, wait);
	if (p->record.state == PRAAS_LIFE_ACTIVE && p->joined && !p->want_kill)
		praas_life_finish(p, &p->serving, &ok, done);
	else if (!praas_life_resting(p->record.state))
		praas_life_needed(p);
	else if (!p->backing)
		praas_life_begin_activation(p);
	p->active_ns = praas_now_ns();
	/* else: it is on its way there, or will be started again when it is down */
}

/* node: where, if it does not serve; NULL: one is chosen. */
static void activate_on(struct praas_life *life, const struct praas_app_record *app,
			const char *name, const char *node,
			struct praas_life_wait *wait)
{
	struct praas_life_waits done = { NULL };
	struct praas_life_process *p;
	int rc = praas_life_acquire(life, app, name, &p);

	if (rc) {
		tell_acquire(wait, rc);
		return;
	}
	if (node)
		rc = praas_life_node_want(p, node, &wait->outcome);
	if (rc == 0)
		praas_life_want_serving(p, wait, &done);
	(void)pthread_mutex_unlock(&life->lock);
	if (rc)
		wait->done(wait);
	praas_life_tell(&done);
}

void praas_life_activate(struct praas_life *life, const struct praas_app_record *app,
			 const char *name, struct praas_life_wait *wait)
{
	activate_on(life, app, name, NULL, wait);
}

void praas_life_made_up_name(char ret_name[PRAAS_NAME_MAX + 1])
{
	uint8_t random[NAME_BYTES];

	praas_random(random, sizeof(random));
	ret_name[0] = 'p';
	praas_hex_encode(random, sizeof(random), ret_name + 1);
}

/* Another request creates one of that name right now. Lock held. */
static struct praas_life_process *unborn_of(const struct praas_life *life,
					    const struct praas_app_record *app,
					    const char *name)
{
	struct praas_life_process *p = life->unborn;

	while (p && (memcmp(p->record.app, app->id, sizeof(app->id)) != 0 ||
		     strcmp(p->record.name, name) != 0))
		p = p->unborn_next;
	return p;
}

/* A process that is to be. */
struct wish {
	const char *name, *node; /* node NULL: one is chosen */
	struct praas_life_wait *wait;
	bool *created;
	struct praas_outcome why;
};

/* Lock held; nobody waits for it yet. 0; -EDQUOT no node for it, and why; p is gone then. */
static int place_new(struct praas_life_process *p, struct wish *wish)
{
	int rc = wish->node ? praas_life_node_want(p, wish->node, &wish->why) : 0;

	if (rc == 0)
		rc = praas_life_node_take(p, &wish->why);
	if (rc)
		praas_life_forget(p);
	return rc ? -EDQUOT : 0;
}

/* The entry of a process whose record is still to be stored: found by its number alone. -EALREADY another request
 * creates it, and who waits is told when that one serves; -ESHUTDOWN. */
static int begin_new(struct praas_life *life, const struct praas_app_record *app,
		     struct praas_process_record *record, struct wish *wish,
		     struct praas_life_process **ret_p)
{
	struct praas_life_process *p;
	int rc = -ENOMEM;

	(void)pthread_mutex_lock(&life->lock);
	p = unborn_of(life, app, record->name);
	if (p) {
		*wish->created = false;
		praas_life_add_wait(p, &p->serving, wish->wait);
		rc = -EALREADY;
	} else if (life->stopping) {
		rc = -ESHUTDOWN; /* nobody would wait for its end */
	} else {
		p = praas_life_entry(life, record, app);
	}
	if (p && rc != -EALREADY)
		rc = place_new(p, wish);
	if (rc == 0) {
		memcpy(record->node, p->record.node, sizeof(record->node));
		praas_life_add_wait(p, &p->serving, wish->wait);
		p->charged = true;
		p->starting = true;
		p->fresh = true;
		p->rest_state = PRAAS_LIFE_SWAPPED;
		p->begun_ns = praas_now_ns();
		p->phase_deadline_ns = p->begun_ns + life->config.activate_ns;
		p->unborn_next = life->unborn;
		life->unborn = p;
		*ret_p = p;
	}
	(void)pthread_mutex_unlock(&life->lock);
	return rc;
}

static int make_record(struct praas_life *life, const struct praas_app_record *app,
		       const char *name, struct praas_process_record *ret_record,
		       uint8_t ret_token[PRAAS_KEY_BYTES])
{
	struct praas_records *records = life->config.records;

	*ret_record = (struct praas_process_record){ .generation = 1,
						     .slot = -1,
						     .state = PRAAS_LIFE_ACTIVATING };
	memcpy(ret_record->app, app->id, sizeof(app->id));
	(void)snprintf(ret_record->name, sizeof(ret_record->name), "%s", name);
	ret_record->revision = app->revision;
	ret_record->created_ns = praas_life_realtime_ns();
	ret_record->changed_ns = ret_record->used_ns = ret_record->created_ns;
	ret_record->number = records->ops->process_number(records);
	if (ret_record->number == 0)
		return -EIO;
	praas_life_new_epoch(ret_record, 1, ret_token);
	return praas_life_new_generation(life, ret_record);
}

/* A process that nobody has: its record is committed while its controller starts. 0 and -EALREADY: who waits was
 * told, or will be. -EEXIST there is one of that name; -EDQUOT and why. */
static int create_new(struct praas_life *life, const struct praas_app_record *app,
		      struct wish *wish)
{
	struct praas_records *records = life->config.records;
	struct praas_process_record record;
	uint8_t token[PRAAS_KEY_BYTES];
	struct praas_life_process *p;
	int rc = records->ops->process_get(records, app->id, wish->name, &record);

	if (rc != -ENOENT)
		return rc ? rc : -EEXIST;
	rc = praas_life_take_new(life, app, &wish->why);
	if (rc)
		return rc;
	rc = make_record(life, app, wish->name, &record, token);
	if (rc == 0)
		rc = begin_new(life, app, &record, wish, &p);
	if (rc)
		praas_life_give_new(life, app);
	else
		praas_life_start_new(p, &record, token, wish->wait, wish->created);
	explicit_bzero(token, sizeof(token));
	return rc;
}

struct praas_outcome praas_life_create_failed(int rc)
{
	switch (rc) {
	case -ENOENT:
		return praas_outcome_of(rc, "not_found", "no such application");
	case -ENOSPC:
		return praas_outcome_of(rc, "limit_processes",
					"the application has too many processes");
	case -ESHUTDOWN:
		return praas_life_acquire_failed(rc);
	default:
		return praas_outcome_of(rc, "store_failed",
					"the record cannot be written");
	}
}

void praas_life_create(struct praas_life *life, const struct praas_app_record *app,
		       const char *name, const char *node, struct praas_life_wait *wait,
		       bool *ret_created)
{
	char made_up[PRAAS_NAME_MAX + 1];
	struct wish wish = { .name = name ? name : made_up,
			     .node = node,
			     .wait = wait,
			     .created = ret_created };
	bool stopping;
	int rc;

	(void)pthread_mutex_lock(&life->lock);
	stopping = life->stopping;
	(void)pthread_mutex_unlock(&life->lock);
	if (stopping) {
		tell_acquire(wait, -ESHUTDOWN);
		return;
	}
	praas_life_made_up_name(made_up);
	*ret_created = true; /* before wait may be told */
	rc = create_new(life, app, &wish);
	switch (rc) {
	case 0:
	case -EALREADY:
		return;
	case -EEXIST:
		*ret_created = false;
		activate_on(life, app, wish.name, node, wait);
		return;
	case -EDQUOT:
		break;
	default:
		wish.why = praas_life_create_failed(rc);
	}
	wait->outcome = wish.why;
	wait->done(wait);
}

void praas_life_swap_out(struct praas_life *life, const struct praas_app_record *app,
			 const char *name, struct praas_life_wait *wait)
{
	struct praas_outcome lost = praas_outcome_of(
		-ESTALE, "not_active", "the process has no state in memory");
	struct praas_life_waits done = { NULL };
	struct praas_outcome ok = { 0 };
	struct praas_life_process *p;
	int rc = praas_life_acquire(life, app, name, &p);

	if (rc) {
		tell_acquire(wait, rc);
		return;
	}
	praas_life_add_wait(p, &p->swapped, wait);
	if (p->record.state == PRAAS_LIFE_SWAPPED)
		praas_life_finish(p, &p->swapped, &ok, &done);
	else if (praas_life_resting(p->record.state))
		praas_life_finish(p, &p->swapped, &lost, &done);
	else if (praas_life_can_swap(p))
		praas_life_begin_swap(p, false);
	else if (p->record.state != PRAAS_LIFE_DRAINING)
		p->want_swap = true;
	(void)pthread_mutex_unlock(&life->lock);
	praas_life_tell(&done);
}

static void begin_checkpoint(struct praas_life_process *p, struct praas_life_wait *wait)
{
	praas_life_add_wait(p, &p->checkpointed, wait);
	praas_life_begin_check(p);
}

void praas_life_checkpoint(struct praas_life *life, const struct praas_app_record *app,
			   const char *name, struct praas_life_wait *wait)
{
	struct praas_outcome idle =
		praas_outcome_of(-ESTALE, "not_active",
				 "only an active process has something "
				 "to save");
	struct praas_life_waits done = { NULL };
	struct praas_life_process *p;
	int rc = praas_life_acquire(life, app, name, &p);

	if (rc) {
		tell_acquire(wait, rc);
		return;
	}
	/* One that served before us, and has not connected to us yet, is asked when it does. */
	if (p->record.state != PRAAS_LIFE_ACTIVE || (!p->joined && !p->recovered)) {
		praas_life_add_wait(p, &p->checkpointed, wait);
		praas_life_finish(p, &p->checkpointed, &idle, &done);
	} else {
		begin_checkpoint(p, wait);
	}
	(void)pthread_mutex_unlock(&life->lock);
	praas_life_tell(&done);
}

void praas_life_saved(struct praas_life *life, const struct praas_app_record *app,
		      const char *name, struct praas_life_wait *wait)
{
	struct praas_life_waits done = { NULL }, now = { NULL };
	struct praas_outcome ok = { 0 };
	struct praas_life_process *p;
	int rc = praas_life_acquire(life, app, name, &p);

	if (rc) {
		tell_acquire(wait, rc);
		return;
	}
	if (p->record.state == PRAAS_LIFE_DRAINING && p->swap_id) {
		praas_life_add_wait(p, &p->swapped, wait);
	} else if (!praas_life_resting(p->record.state)) {
		begin_checkpoint(p, wait); /* perhaps as soon as it has joined */
	} else { /* it has done nothing since its last snapshot, or what it did is lost */
		praas_life_add_wait(p, &now, wait);
		praas_life_finish(p, &now, &ok, &done);
	}
	(void)pthread_mutex_unlock(&life->lock);
	praas_life_tell(&done);
}

void praas_life_kill(struct praas_life *life, const struct praas_app_record *app,
		     const char *name, struct praas_life_wait *wait)
{
	struct praas_life_waits done = { NULL };
	struct praas_outcome ok = { 0 };
	struct praas_life_process *p;
	int rc = praas_life_acquire(life, app, name, &p);

	if (rc) {
		tell_acquire(wait, rc);
		return;
	}
	praas_life_add_wait(p, &p->ended, wait);
	if (praas_life_resting(p->record.state)) {
		praas_life_set_state(p, PRAAS_LIFE_KILLED);
		praas_life_finish(p, &p->ended, &ok, &p->settled);
		praas_life_save(p);
	} else if (!p->want_kill) {
		praas_life_begin_kill(p);
	}
	(void)pthread_mutex_unlock(&life->lock);
	praas_life_tell(&done);
}

void praas_life_delete(struct praas_life *life, const struct praas_app_record *app,
		       const char *name, struct praas_life_wait *wait)
{
	struct praas_life_process *p;
	int rc = praas_life_acquire(life, app, name, &p);

	if (rc) {
		tell_acquire(wait, rc);
		return;
	}
	praas_life_add_wait(p, &p->ended, wait);
	praas_life_set_state(p, PRAAS_LIFE_DELETING);
	if (p->has_instance) {
		/* Its controller ends when that is stored: a restart of ours goes on with it, and
		 * does not find a process that lost its state for nothing. */
		praas_life_save(p);
	} else if (!p->starting) {
		praas_life_end_taker(p);
		praas_life_begin_erase(p);
	}
	(void)pthread_mutex_unlock(&life->lock);
}
