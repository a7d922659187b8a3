/* SPDX-License-Identifier: Apache-2.0
 *
 * What controllers say and how they end. All on the link thread. What a controller says
 * is checked like any input: it harms its own process at most.
 */
#include "control/life/lifecycle_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/json.h"
#include "control/names.h"
#include "control/say.h"
#include "internal/base.h"

#define EXIT_REFUSED 2
#define EXIT_FENCED 3
#define EXIT_SNAPSHOT 4
#define EXIT_START 5
#define EPOCH_MAX 0xfffffff0u

static void save_joined(struct praas_life *life, uint64_t conn)
{
	struct praas_life_process *p;

	(void)pthread_mutex_lock(&life->lock);
	p = praas_life_find_conn(life, conn);
	if (p)
		praas_life_save(p);
	(void)pthread_mutex_unlock(&life->lock);
}

/* `failed` names no process but has its token. */
static void on_failed(struct praas_life *life, const json_t *message)
{
	uint8_t token[PRAAS_KEY_BYTES], hash[PRAAS_HASH_BYTES];
	struct praas_life_process *p, *next;

	if (praas_hex_decode(praas_json_text_or(message, "token", ""), token,
			     sizeof(token)))
		return;
	praas_hash(token, sizeof(token), hash);
	HASH_ITER(hh, life->processes, p, next)
	{
		uint64_t epoch = praas_json_number_or(message, "epoch", 0);

		if (p->record.state != PRAAS_LIFE_ACTIVATING ||
		    !praas_equal_constant(hash, p->record.join_hash, sizeof(hash)))
			continue;
		p->failure = praas_outcome_of(
			-EIO, praas_json_text_or(message, "code", "FAILED"),
			praas_json_text_or(message, "message", ""));
		if (epoch <= EPOCH_MAX && epoch > p->epoch_seen)
			p->epoch_seen = (uint32_t)epoch;
		return;
	}
}

static void count_circles(struct praas_life_process *p, const json_t *message)
{
	uint64_t told = praas_json_number_or(message, "circles", 0);

	if (p->circles_told < told)
		p->life->stats.circles += told - p->circles_told;
	p->circles_told = told;
}

static void on_metrics(struct praas_life_process *p, const json_t *message)
{
	struct praas_life_view *m = &p->metrics;

	m->invocations = praas_json_number_or(message, "invocations", m->invocations);
	m->running = praas_json_number_or(message, "running", 0);
	m->queued = praas_json_number_or(message, "queued", 0);
	m->dormant = praas_json_number_or(message, "dormant", 0);
	m->mailbox_depth = praas_json_number_or(message, "mailbox_depth", 0);
	m->state_keys = praas_json_number_or(message, "state_keys", 0);
	m->state_bytes = praas_json_number_or(message, "state_bytes", 0);
	praas_life_count_state(p, m->state_bytes);
	m->state_out_keys = praas_json_number_or(message, "state_out_keys", 0);
	m->state_out_bytes = praas_json_number_or(message, "state_out_bytes", 0);
	m->state_fetches = praas_json_number_or(message, "state_fetches", 0);
	m->state_evictions = praas_json_number_or(message, "state_evictions", 0);
	m->state_fetch_failures =
		praas_json_number_or(message, "state_fetch_failures", 0);
	m->idle_ns = praas_json_number_or(message, "idle_ns", 0);
	m->cpu_ns = praas_json_number_or(message, "cpu_ns", m->cpu_ns);
	p->metrics_ns = praas_now_ns();
	p->metrics_told = true;
	praas_life_count_calls(p);
	count_circles(p, message);
	praas_life_used(p, message);
}

static int64_t slot_of(const json_t *message)
{
	return (int64_t)praas_json_number_or(message, "slot", 0);
}

static void note_exit(struct praas_life_process *p, const struct praas_exit *e,
		      const char *text)
{
	char *to = p->metrics.last_exit;

	if (text)
		(void)snprintf(to, PRAAS_LIFE_EXIT_BYTES, "%.199s", text);
	else if (e->signal)
		(void)snprintf(to, PRAAS_LIFE_EXIT_BYTES, "ended by signal %d",
			       e->signal);
	else if (e->known)
		(void)snprintf(to, PRAAS_LIFE_EXIT_BYTES, "left with code %d", e->code);
	else
		(void)snprintf(to, PRAAS_LIFE_EXIT_BYTES, "gone");
	praas_text_whole(to);
}

/* A controller that served has gone: swapped, killed or lost. */
void praas_life_ended_serving(struct praas_life_process *p, const struct praas_exit *e,
			      struct praas_life_waits *done)
{
	struct praas_life *life = p->life;
	struct praas_outcome ok = { 0 }, why;

	p->recovered = false;
	if (p->told_swapped) {
		praas_life_set_state(p, PRAAS_LIFE_SWAPPED);
		note_exit(p, e, "swapped out");
		/* The slot log has it; the record is an index. */
		praas_life_finish(p, &p->swapped, &ok, done);
		life->stats.swaps++;
	} else if (p->want_kill) {
		praas_life_set_state(p, PRAAS_LIFE_KILLED);
		note_exit(p, e, "killed on request");
		p->record.lost_epoch = p->record.epoch;
		life->stats.kills++;
	} else {
		praas_life_set_state(p, PRAAS_LIFE_LOST);
		note_exit(p, e, NULL);
		p->record.lost_epoch = p->record.epoch;
		life->stats.lost++;
		praas_say(PRAAS_SAY_WARNING,
			  "epoch %u of process %llu is lost (code %d, "
			  "signal %d)",
			  p->record.epoch, (unsigned long long)p->number, e->code,
			  e->signal);
	}
	why = praas_outcome_of(-EIO, p->want_kill ? "killed" : "lost",
			       "the process ended before that was done");
	p->want_kill = false;
	p->want_swap = false;
	praas_life_finish(p, &p->swapped, &why, done);
	praas_life_finish(p, &p->moved, &why, done);
	praas_life_finish(p, &p->checkpointed, &why, done);
	praas_life_finish(p, &p->ended, &ok, &p->settled);
	if (praas_life_begin_back(p)) {
		praas_life_save(p);
		return;
	}
	if (p->serving.head && !life->stopping) {
		praas_life_begin_activation(p); /* somebody asked while it went down */
		return;
	}
	praas_life_finish(p, &p->serving, &why, done);
	praas_life_save(p);
}

void praas_life_forget_controller(struct praas_life_process *p)
{
	p->has_instance = false;
	p->joined = false;
	p->metrics_told = false;
	p->circles_told = 0;
	p->window_ns = 0;
	p->metrics.running = 0;
	p->metrics.queued = 0;
	p->metrics.dormant = 0;
	p->swap_id = 0;
	p->check_id = 0;
	p->phase_deadline_ns = 0;
	p->record.os_pid = 0;
	p->record.endpoints[0] = 0;
	praas_life_mail_forget(p);
	praas_life_bind(p, 0);
}

/* Its release is committed: the process is swapped, and may be activated again, while its
 * controller still ends. */
static void released(struct praas_life_process *p, struct praas_life_waits *done)
{
	struct praas_exit unknown = { 0 };

	p->told_swapped = true;
	if (!p->has_instance || p->leaving_due_ns)
		return; /* it counts when that one has ended */
	p->leaving = p->instance;
	p->leaving_due_ns = praas_now_ns() + PRAAS_LIFE_LEAVE_NS;
	p->instance = (struct praas_instance){ .pidfd = -1 };
	praas_life_forget_controller(p);
	praas_life_ended_serving(p, &unknown, done);
	praas_life_arm(p);
}

static void on_swap_answer(struct praas_life_process *p, const json_t *message, bool ok,
			   struct praas_life_waits *done)
{
	struct praas_outcome fine = { 0 }, why;

	p->swap_id = 0;
	if (ok) {
		p->record.slot = slot_of(message);
		praas_life_on_cut(p, message);
		released(p, done);
		return;
	}
	why = praas_outcome_of(
		-EIO, "swap_failed",
		praas_json_text_or(message, "message", "no reason was told"));
	p->active_ns = praas_now_ns();
	if (p->idle_swap && (p->swapped.head || p->back.head)) {
		praas_life_set_state(p, PRAAS_LIFE_ACTIVE);
		praas_life_begin_swap(p, false); /* it is wanted in any case */
		return;
	}
	praas_life_drain_over(p);
	praas_life_finish(p, &p->swapped, &why, done);
	praas_life_finish(p, &p->back, &why, done);
	if (p->record.state == PRAAS_LIFE_ACTIVE)
		praas_life_finish(p, &p->serving, &fine, done);
}

static void on_done(struct praas_life_process *p, const json_t *message,
		    struct praas_life_waits *done)
{
	uint64_t id = praas_json_number_or(message, "id", 0);
	bool ok = json_is_true(json_object_get(message, "ok"));

	/* After a restart of ours: it drains for a service that was, and that has failed. */
	bool old = p->swap_id == 0 && !p->mail.behind && !ok && id != p->check_id;

	if (praas_life_on_move_answer(p, id, ok, message, done))
		return;
	if (id != 0 && (id == p->swap_id || old) &&
	    p->record.state == PRAAS_LIFE_DRAINING) {
		on_swap_answer(p, message, ok, done);
	} else if (id != 0 && id == p->check_id) {
		praas_life_on_checked(p, ok, message, done);
	}
}

static void on_swapped(struct praas_life_process *p, const json_t *message,
		       struct praas_life_waits *done)
{
	if (praas_json_number_or(message, "epoch", 0) != p->record.epoch)
		return;
	p->record.slot = slot_of(message);
	praas_life_on_cut(p, message);
	if (p->record.state == PRAAS_LIFE_ACTIVE || /* SIGTERM, from somebody */
	    p->record.state == PRAAS_LIFE_DRAINING || p->mail.behind)
		released(p, done);
}

static bool join_pending(const struct praas_life *life, uint64_t conn)
{
	const struct praas_life_process *p, *next;

	HASH_ITER(hh, life->processes, p, next)
	{
		if (p->pending_conn == conn)
			return true;
	}
	return false;
}

/* What a controller that has joined says. false: no controller says that. *ret_save: it is to be saved. */
static bool on_word(struct praas_life_process *p, uint64_t conn, json_t *message,
		    struct praas_link_raw *raw, struct praas_life_waits *done,
		    bool *ret_save)
{
	const char *type = praas_json_text_or(message, "t", "");

	if (!strcmp(type, "metrics"))
		on_metrics(p, message);
	else if (!strcmp(type, "functions"))
		praas_functions_told(p->life->functions, p->app.tenant, p->app.name,
				     &p->functions_told, message);
	else if (!strcmp(type, "done"))
		on_done(p, message, done);
	else if (!strcmp(type, "swapped"))
		on_swapped(p, message, done);
	else if (!strcmp(type, "moved"))
		praas_life_on_moved(p, message);
	else if (!strcmp(type, "append"))
		return praas_life_on_append(p, conn, message, raw);
	else if (!strcmp(type, "queue-read"))
		return praas_life_on_read(p, conn, message);
	else if (!strcmp(type, "serve"))
		return praas_life_on_serve(p, conn, message, done, ret_save);
	else if (!strcmp(type, "members"))
		return praas_life_on_members(p, conn, message);
	/* else: from a newer controller */
	return true;
}

static void end_conn(struct praas_life_process *p, uint64_t conn)
{
	praas_say(PRAAS_SAY_WARNING,
		  "link: process %llu sent a request that is none; its connection is "
		  "ended",
		  (unsigned long long)p->number);
	praas_link_close(p->life->link, conn);
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static void on_message(void *user, uint64_t conn, pid_t peer, json_t *message,
		       struct praas_link_raw *raw)
{
	const char *type = praas_json_text_or(message, "t", "");
	struct praas_life_waits done = { NULL };
	struct praas_life *life = user;
	struct praas_life_process *p;
	bool save = false;

	(void)pthread_mutex_lock(&life->lock);
	p = praas_life_find_conn(life, conn);
	if (!strcmp(type, "join"))
		save = praas_life_on_join(life, conn, peer, message, &done);
	else if (!strcmp(type, "failed"))
		on_failed(life, message);
	else if (!p && !join_pending(life, conn))
		praas_life_refuse(life, conn, "it has not joined");
	else if (!p)
		; /* its start is still being recorded: only its join counts */
	else if (!on_word(p, conn, message, raw, &done, &save))
		end_conn(p, conn);
	(void)pthread_mutex_unlock(&life->lock);
	praas_life_tell(&done);
	if (save)
		save_joined(life, conn);
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static void on_closed(void *user, uint64_t conn)
{
	struct praas_life *life = user;
	struct praas_life_process *p;

	(void)pthread_mutex_lock(&life->lock);
	p = praas_life_find_conn(life, conn);
	if (p)
		praas_life_bind(p, 0); /* it serves on, and connects again */
	(void)pthread_mutex_unlock(&life->lock);
	praas_life_members_left(life, conn);
}

static struct praas_outcome describe_exit(const struct praas_life_process *p,
					  const struct praas_exit *e)
{
	static const char *const meaning[] = {
		[EXIT_REFUSED] = "refused its configuration",
		[EXIT_FENCED] = "was fenced by another epoch",
		[EXIT_SNAPSHOT] = "cannot load the snapshot",
		[EXIT_START] = "cannot start (addresses, workers or sandbox)",
	};
	char text[400];

	if (p->failure.rc)
		(void)snprintf(text, sizeof(text), "the controller: %s: %s",
			       p->failure.code, p->failure.text);
	else if (e->signal)
		(void)snprintf(text, sizeof(text),
			       "the controller was ended by signal %d", e->signal);
	else if (e->known && e->code >= EXIT_REFUSED && e->code <= EXIT_START)
		(void)snprintf(text, sizeof(text), "the controller %s",
			       meaning[e->code]);
	else if (e->known)
		(void)snprintf(text, sizeof(text), "the controller left with code %d",
			       e->code);
	else
		(void)snprintf(text, sizeof(text), "the controller has gone");
	return praas_outcome_of(-EIO, "start_failed", text);
}

/* An activation's controller has gone without serving. */
void praas_life_ended_starting(struct praas_life_process *p, const struct praas_exit *e,
			       struct praas_life_waits *done)
{
	struct praas_outcome why = describe_exit(p, e);
	bool fenced = (e->known && e->code == EXIT_FENCED) ||
		      !strcmp(p->failure.code, "FENCED");

	/* One that stood ready may have died before it was told anything. */
	bool stale = e->start != PRAAS_START_COLD && e->signal && !p->failure.rc;

	if (p->want_kill) {
		why = praas_outcome_of(-ECANCELED, "killed", "the process was killed");
		p->life->stats.kills++;
	} else if ((fenced || stale) && p->retries < PRAAS_LIFE_RETRIES &&
		   !p->life->stopping) {
		p->retries++; /* our record was behind the slot log; it is an index only */
		p->fresh = p->fresh && !fenced;
		praas_life_begin_activation(p);
		return;
	}
	note_exit(p, e, why.text);
	praas_life_start_failed(p, &why, done);
}

/* Without the lock: p stays, for its controller still counts. */
static bool released_silently(const struct praas_life_process *p,
			      struct praas_owner owner)
{
	struct praas_owner_log log;

	return praas_life_read_log(p, &log) == 0 &&
	       praas_owner_ended(&owner, owner.epoch, &log, true, 0) == 0 &&
	       owner.state == PRAAS_LIFE_SWAPPED;
}

/* A controller that served and has gone without a word may have committed its release first:
 * the slot log knows. */
static void look_for_release(struct praas_life *life, uint64_t tag)
{
	struct praas_life_process *p;
	struct praas_owner owner;
	bool look;

	(void)pthread_mutex_lock(&life->lock);
	p = praas_life_find(life, praas_life_tag_number(tag));
	praas_check(p && praas_life_runs(p));
	owner = praas_life_owner(p);
	look = !p->told_swapped && !p->leaving_due_ns &&
	       (owner.state == PRAAS_LIFE_ACTIVE ||
		owner.state == PRAAS_LIFE_DRAINING ||
		owner.state == PRAAS_LIFE_MIGRATING) &&
	       !p->has_taker;
	(void)pthread_mutex_unlock(&life->lock);
	if (!look || !released_silently(p, owner))
		return;
	(void)pthread_mutex_lock(&life->lock);
	p->told_swapped = true;
	(void)pthread_mutex_unlock(&life->lock);
}

static void on_ended(void *user, uint64_t tag)
{
	struct praas_life_waits done = { NULL };
	struct praas_life *life = user;
	struct praas_life_process *p;
	struct praas_exit e;
	bool deleting;

	look_for_release(life, tag);
	(void)pthread_mutex_lock(&life->lock);
	p = praas_life_find(life, praas_life_tag_number(tag));
	praas_check(p && praas_life_runs(p));
	deleting = p->record.state == PRAAS_LIFE_DELETING;
	life->instances--;
	if (p->leaving_due_ns && praas_life_tag(&p->leaving) == tag) {
		praas_life_reap(life, &p->leaving, &e);
		p->leaving_due_ns = 0;
	} else if (p->has_taker && praas_life_tag(&p->taker) == tag) {
		praas_life_reap(life, &p->taker, &e);
		p->has_taker = false;
		if (p->record.state == PRAAS_LIFE_MIGRATING &&
		    !praas_life_half_ended(p))
			praas_life_ended_serving(p, &e, &done);
	} else {
		praas_life_reap(life, &p->instance, &e);
		praas_life_forget_controller(p);
		if (p->record.state == PRAAS_LIFE_ACTIVATING)
			praas_life_ended_starting(p, &e, &done);
		else if (!deleting && !(p->record.state == PRAAS_LIFE_MIGRATING &&
					praas_life_half_ended(p)))
			praas_life_ended_serving(p, &e, &done);
	}
	if (deleting && !p->starting)
		praas_life_begin_erase(p);
	(void)pthread_cond_broadcast(&life->changed);
	(void)pthread_mutex_unlock(&life->lock);
	praas_life_tell(&done);
}

const struct praas_link_events praas_life_link_events = {
	.message = on_message,
	.closed = on_closed,
	.ended = on_ended,
	.tick = praas_life_tick,
};
