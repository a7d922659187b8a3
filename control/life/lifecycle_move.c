/* SPDX-License-Identifier: Apache-2.0
 *
 * A process that serves goes on in another controller (docs/protocols.md, "Moving"). The two decide it between them, by
 * slot n of the process's log; what is here starts the second one, tells the first, and makes the record follow.
 */
#include "control/life/lifecycle_private.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "control/json.h"
#include "control/names.h"
#include "control/say.h"
#include "internal/base.h"

#define MOVE_NS UINT64_C(120000000000) /* then the destination is ended */

void praas_life_end_taker(struct praas_life_process *p)
{
	if (p->has_taker)
		praas_life_end(&p->taker);
}

bool praas_life_is_taker(const struct praas_life_process *p, uint64_t epoch)
{
	struct praas_owner owner = praas_life_owner(p);

	return epoch <= UINT32_MAX &&
	       praas_owner_moved(&owner, (uint32_t)epoch, 0) == 0;
}

void praas_life_taken(struct praas_life_process *p, uint32_t epoch)
{
	struct praas_instance source = p->instance;
	bool had = p->has_instance;

	praas_life_forget_controller(p);
	if (had) {
		p->leaving = source;
		p->leaving_due_ns = praas_now_ns() + PRAAS_LIFE_LEAVE_NS;
	}
	p->instance = p->taker;
	p->has_instance = p->has_taker;
	p->taker = (struct praas_instance){ .pidfd = -1 };
	p->has_taker = false;
	p->move_id = 0;
	p->record.epoch = epoch;
	p->record.counted = (struct praas_usage){ 0 };
	p->rest_state = PRAAS_LIFE_LOST; /* what it is is in its memory only */
	praas_account_epoch(&p->account);
	praas_functions_epoch(&p->functions_told);
	praas_life_drain_moved(p, NULL);
	praas_life_node_moved(p);
	p->told_swapped = false;
	p->begun_ns = 0;
	praas_life_set_state(p, PRAAS_LIFE_ACTIVATING);
	praas_life_arm(p);
}

void praas_life_kept(struct praas_life_process *p, const char *why,
		     struct praas_life_waits *done)
{
	struct praas_outcome failed = praas_outcome_of(-EIO, "move_failed", why),
			     fine = { 0 };
	struct praas_owner owner = praas_life_owner(p);

	if (praas_owner_kept(&owner, p->record.epoch) != 0)
		return;
	praas_say(PRAAS_SAY_WARNING, "process %llu stays in epoch %u: %s",
		  (unsigned long long)p->number, p->record.epoch, why);
	p->life->stats.move_failures++;
	praas_life_drain_moved(p, why);
	praas_life_node_stays(p);
	p->move_id = 0;
	p->phase_deadline_ns = 0;
	praas_life_end_taker(p);
	praas_life_finish(p, &p->moved, &failed, done);
	praas_life_set_state(p, PRAAS_LIFE_DRAINING);
	praas_life_drain_over(p);
	if (p->record.state == PRAAS_LIFE_ACTIVE) {
		praas_life_finish(p, &p->serving, &fine, done);
		if (p->want_swap || p->life->stopping)
			praas_life_begin_swap(p, false);
	}
	praas_life_save(p);
}

void praas_life_moves_on(struct praas_life_process *p, uint64_t conn,
			 const char *endpoints)
{
	praas_life_bind(p, conn);
	(void)snprintf(p->record.endpoints, sizeof(p->record.endpoints), "%s",
		       endpoints);
	p->joined = true;
	p->recovered = false;
	p->phase_deadline_ns = praas_now_ns() + MOVE_NS;
	praas_life_arm(p);
	praas_life_ask(p, json_pack("{s:s}", "t", "ok"));
}

bool praas_life_on_move_answer(struct praas_life_process *p, uint64_t id, bool ok,
			       const json_t *message, struct praas_life_waits *done)
{
	/* After a restart of ours the request was another service's. */
	if (p->record.state != PRAAS_LIFE_MIGRATING || id == 0 ||
	    (p->move_id != 0 && id != p->move_id) || id == p->check_id)
		return false;
	p->move_id = 0;
	if (!ok) /* else the destination joins, or ends */
		praas_life_kept(
			p, praas_json_text_or(message, "message", "no reason was told"),
			done);
	return true;
}

void praas_life_on_moved(struct praas_life_process *p, const json_t *message)
{
	struct praas_life_stats *stats = &p->life->stats;
	uint64_t ns = praas_json_number_or(message, "pause_ns", 0);

	if (!praas_life_is_taker(p, praas_json_number_or(message, "epoch", 0)))
		return;
	stats->moves++;
	stats->move_pause_sum_ns += ns;
	stats->move_pause_max_ns = praas_max_u64(stats->move_pause_max_ns, ns);
}

bool praas_life_moves(const struct praas_life_process *p)
{
	return p->record.state == PRAAS_LIFE_MIGRATING &&
	       (p->has_taker || p->holds > 0 || p->phase_deadline_ns != 0);
}

bool praas_life_half_ended(struct praas_life_process *p)
{
	if (p->want_kill && !p->has_instance)
		return false;
	if (p->has_instance) { /* it keeps the process; at once, if it is told so */
		praas_life_ask(p, json_pack("{s:s}", "t", "cancel-swap-out"));
		p->phase_deadline_ns = 0;
		praas_life_drain_silent(p);
		return true;
	}
	if (p->has_taker) {
		/* It may have everything, and the slot. */
		p->phase_deadline_ns = praas_now_ns() + p->life->config.activate_ns;
		praas_life_arm(p);
		return true;
	}
	/* Whatever the destination has written: its number is given out, and may have served. */
	if (p->move_to > p->record.epoch)
		p->record.epoch = p->move_to;
	return false;
}

void praas_life_move_recover(struct praas_life_process *p,
			     const struct praas_owner_log *log)
{
	struct praas_owner owner = praas_life_owner(p);

	if (praas_owner_moved(&owner, log->epoch, 0) != 0)
		return; /* not decided: whoever joins tells */
	if (p->has_instance) {
		p->leaving = p->instance;
		p->leaving_due_ns = praas_now_ns() + PRAAS_LIFE_LEAVE_NS;
		p->instance = (struct praas_instance){ .pidfd = -1 };
		p->has_instance = false;
	}
	p->record.epoch = log->epoch;
	p->record.os_pid = 0; /* its join tells */
	p->record.counted = (struct praas_usage){ 0 };
	praas_account_epoch(&p->account);
	praas_functions_epoch(&p->functions_told);
	praas_life_set_state(p, PRAAS_LIFE_ACTIVATING);
	praas_life_save(p);
}

/* ---- the beginning ---- */

/* No lock. */
static int start_destination(const struct praas_life_process *p, json_t *config,
			     const struct praas_process_record *record,
			     struct praas_instance *ret_instance)
{
	struct praas_backend *backend = praas_life_node_of_taker(p)->backend;

	return backend->ops->start(backend, config, record->number, record->epoch,
				   ret_instance);
}

/* record: of the destination. *ret_ask: what the source is told. No lock. */
static int spawn_destination(struct praas_life_process *p,
			     const struct praas_process_record *record,
			     struct praas_instance *ret_instance, json_t **ret_ask)
{
	uint8_t token[PRAAS_KEY_BYTES], secret[PRAAS_KEY_BYTES];
	char at[PRAAS_LIFE_PATH_BYTES + 48], text[2 * PRAAS_KEY_BYTES + 1];
	struct praas_life *life = p->life;
	json_t *config, *move;
	int rc = -ENOMEM;

	praas_random(token, sizeof(token)); /* the source gives it its own */
	praas_random(secret, sizeof(secret));
	praas_hex_encode(secret, sizeof(secret), text);
	(void)snprintf(at, sizeof(at), PRAAS_LIFE_MEETING, life->run_dir,
		       (unsigned long long)record->number, record->epoch);
	config = praas_life_config_of(p, record, praas_life_node_of_taker(p), token);
	move = json_pack("{s:s,s:s}", "at", at, "secret", text);
	*ret_ask = json_pack("{s:s,s:I,s:s,s:s}", "t", "move", "epoch",
			     (json_int_t)record->epoch, "at", at, "secret", text);
	explicit_bzero(text, sizeof(text));
	explicit_bzero(secret, sizeof(secret));
	if (config && *ret_ask && json_object_set_new(config, "move", move) == 0)
		rc = start_destination(p, config, record, ret_instance);
	json_decref(config);
	return rc;
}

/* The record says MIGRATING, rc 0, and the destination runs, or does not. Lock held; message is taken. */
static void ask_source(struct praas_life_process *p, struct praas_instance *instance,
		       int rc, json_t *message, struct praas_life_waits *done)
{
	struct praas_life *life = p->life;
	struct praas_exit gone;
	char why[200];
	bool wanted = p->record.state == PRAAS_LIFE_MIGRATING && !p->want_kill;
	bool runs = rc == 0;

	if (runs && wanted) /* one that is reaped here must not be watched */
		rc = praas_life_watch(life, instance);
	if (rc == 0 && wanted) {
		p->taker = *instance;
		p->has_taker = true;
		life->instances++;
		p->move_id = ++life->request_last;
		p->phase_deadline_ns = praas_now_ns() + MOVE_NS;
		praas_life_arm(p);
		if (json_object_set_new(message, "id",
					json_integer((json_int_t)p->move_id)) == 0) {
			praas_life_ask(p, message);
			return;
		}
		rc = -ENOMEM;
	} else if (runs) {
		praas_life_end(instance);
		praas_life_reap(life, instance, &gone);
	}
	json_decref(message);
	(void)snprintf(why, sizeof(why), "no other controller can be started: %s",
		       strerror(rc ? -rc : ECANCELED));
	praas_life_kept(p, why, done);
}

static void run_move(struct praas_job *job)
{
	struct praas_life_process *p =
		(struct praas_life_process *)(void *)((char *)job -
						      offsetof(
							      struct praas_life_process,
							      move_job));
	struct praas_life *life = p->life;
	struct praas_life_waits done = { NULL };
	struct praas_instance instance = { .pidfd = -1 };
	struct praas_process_record record;
	json_t *ask = NULL;
	bool dirty;
	int rc;

	(void)pthread_mutex_lock(&life->lock);
	while (p->saving)
		(void)pthread_cond_wait(&life->changed, &life->lock);
	p->saving = true;
	p->dirty = false;
	record = p->record;
	(void)pthread_mutex_unlock(&life->lock);
	/* First that it moves: a service that begins after us looks at the log. */
	rc = praas_life_put(p, &record);
	(void)pthread_mutex_lock(&life->lock);
	p->saving = false;
	if (rc == 0)
		p->record.version = record.version;
	dirty = p->dirty;
	record.epoch = p->move_to;
	(void)pthread_cond_broadcast(&life->changed);
	(void)pthread_mutex_unlock(&life->lock);
	if (rc == 0)
		rc = spawn_destination(p, &record, &instance, &ask);
	(void)pthread_mutex_lock(&life->lock);
	ask_source(p, &instance, rc, ask, &done);
	if (dirty)
		praas_life_save(p);
	p->holds--;
	life->background--;
	(void)pthread_cond_broadcast(&life->changed);
	(void)pthread_mutex_unlock(&life->lock);
	praas_life_tell(&done);
}

const char *praas_life_not_now(const struct praas_life_process *p)
{
	if (p->record.state == PRAAS_LIFE_MIGRATING)
		return "it moves already";
	if (p->record.state == PRAAS_LIFE_DRAINING && p->swap_id)
		return "it is being swapped out";
	if (!p->joined || !p->conn || p->record.state != PRAAS_LIFE_ACTIVE)
		return "it does not serve yet";
	if (p->want_kill || p->want_swap || p->back.head || p->life->stopping)
		return "it is being ended";
	if (p->leaving_due_ns || p->has_taker || p->mail.behind || p->holds > 0)
		return "what was before is not over yet";
	return NULL;
}

int praas_life_begin_move(struct praas_life_process *p, const char *node,
			  struct praas_outcome *ret_why)
{
	struct praas_owner owner = praas_life_owner(p);
	const char *not_now = praas_life_not_now(p);
	int rc;

	if (not_now || praas_owner_move(&owner) != 0) {
		*ret_why = praas_outcome_of(-EBUSY, "busy",
					    not_now ? not_now : "it catches up");
		return -EBUSY;
	}
	rc = node ? praas_life_node_move(p, node, ret_why) : 0;
	if (rc)
		return rc;
	p->move_to = owner.to;
	p->move_id = 0;
	p->settled_ns = praas_now_ns();
	praas_life_set_state(p, PRAAS_LIFE_MIGRATING);
	p->holds++;
	p->move_job.run = run_move;
	praas_life_background(p->life, &p->move_job);
	return 0;
}

void praas_life_move(struct praas_life *life, const struct praas_app_record *app,
		     const char *name, const char *node, struct praas_life_wait *wait)
{
	struct praas_outcome why = praas_outcome_of(
		-ESTALE, "not_active",
		"the process rests: it is activated wherever there is room");
	struct praas_life_waits done = { NULL }, now = { NULL };
	struct praas_life_process *p;
	int rc = praas_life_acquire(life, app, name, &p);

	if (rc) {
		wait->outcome = praas_life_acquire_failed(rc);
		wait->done(wait);
		return;
	}
	if (praas_life_resting(p->record.state) ||
	    praas_life_begin_move(p, node, &why)) {
		praas_life_add_wait(p, &now, wait);
		praas_life_finish(p, &now, &why, &done);
	} else {
		praas_life_add_wait(p, &p->moved, wait);
	}
	(void)pthread_mutex_unlock(&life->lock);
	praas_life_tell(&done);
}
