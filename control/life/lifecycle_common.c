/* SPDX-License-Identifier: Apache-2.0
 *
 * What all parts of the life cycle need: waits, entries, deadlines, saving.
 */
#include "control/life/lifecycle_private.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control/names.h"
#include "control/say.h"
#include "internal/base.h"

#define SAVE_TRIES 6 /* in 63 ms */

uint64_t praas_life_realtime_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts); /* cannot fail for this clock */
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

struct praas_outcome praas_outcome_of(int rc, const char *code, const char *text)
{
	struct praas_outcome o = { .rc = rc };

	(void)snprintf(o.code, sizeof(o.code), "%s", code);
	(void)snprintf(o.text, sizeof(o.text), "%s", text);
	praas_text_whole(o.text);
	return o;
}

bool praas_life_resting(uint8_t state)
{
	return state == PRAAS_LIFE_SWAPPED || state == PRAAS_LIFE_LOST ||
	       state == PRAAS_LIFE_KILLED;
}

void praas_life_finish(struct praas_life_process *p, struct praas_life_waits *waits,
		       const struct praas_outcome *outcome,
		       struct praas_life_waits *done)
{
	struct praas_life_wait *w;

	while ((w = waits->head)) {
		waits->head = w->next;
		w->outcome = *outcome;
		w->record = p->record;
		w->next = done->head;
		done->head = w;
	}
}

void praas_life_tell(struct praas_life_waits *done)
{
	struct praas_life_wait *w;

	while ((w = done->head)) {
		done->head = w->next;
		w->done(w);
	}
}

void praas_life_add_wait(struct praas_life_process *p, struct praas_life_waits *waits,
			 struct praas_life_wait *wait)
{
	wait->next = waits->head;
	waits->head = wait;
	praas_life_arm(p);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	if (a == 0 || b == 0)
		return a | b;
	return praas_min_u64(a, b);
}

static uint64_t earliest_wait(const struct praas_life_waits *waits, uint64_t due)
{
	for (const struct praas_life_wait *w = waits->head; w; w = w->next)
		due = earlier(due, w->deadline_ns);
	return due;
}

/* NOLINTNEXTLINE(readability-function-size): the branches are utlist's macro */
void praas_life_arm(struct praas_life_process *p)
{
	struct praas_life *life = p->life;
	uint64_t due = earlier(p->phase_deadline_ns, p->leaving_due_ns);

	due = earliest_wait(&p->serving, due);
	due = earliest_wait(&p->swapped, due);
	due = earliest_wait(&p->checkpointed, due);
	due = earliest_wait(&p->ended, due);
	due = earliest_wait(&p->back, due);
	due = earliest_wait(&p->moved, due);
	if (due == 0)
		return; /* the next look takes it off the list */
	if (!p->timed) {
		p->timed = true;
		DL_APPEND(life->timed, p);
	}
	if (life->due_ns == 0 || due < life->due_ns) {
		life->due_ns = due;
		praas_link_wake(life->link);
	}
}

void praas_life_set_state(struct praas_life_process *p, enum praas_life_state state)
{
	praas_account_rest(&p->account, &p->record, praas_life_realtime_ns());
	p->record.state = (uint8_t)state;
	if (praas_life_resting(p->record.state))
		praas_life_discharge(p);
	p->record.changed_ns = praas_life_realtime_ns();
	praas_events_add(p->life->config.events, &p->record,
			 praas_life_state_text(state));
}

struct praas_owner praas_life_owner(const struct praas_life_process *p)
{
	return (struct praas_owner){ .state = p->record.state,
				     .behind = p->mail.behind,
				     .rest = p->rest_state,
				     .rounds = p->mail.rounds,
				     .epoch = p->record.epoch,
				     .to = p->move_to };
}

void praas_life_background(struct praas_life *life, struct praas_job *job)
{
	life->background++;
	praas_jobs_submit_must(life->config.jobs, job);
}

/* What fails for a moment (memory, descriptors, the disk) need not be lost. */
static int put_record(struct praas_life_process *p, struct praas_process_record *record)
{
	struct timespec pause = { .tv_nsec = 1000000 };
	int rc;

	for (int i = 0; i < SAVE_TRIES; i++) {
		rc = praas_life_put(p, record);
		if (rc != -EIO && rc != -ENOMEM && rc != -ENOSPC)
			break;
		(void)nanosleep(&pause, NULL);
		pause.tv_nsec *= 2;
	}
	return rc;
}

static void run_save(struct praas_job *job)
{
	struct praas_life_process *p =
		(struct praas_life_process *)(void *)((char *)job -
						      offsetof(
							      struct praas_life_process,
							      save_job));
	struct praas_life *life = p->life;
	struct praas_life_waits done;

	(void)pthread_mutex_lock(&life->lock);
	do {
		struct praas_process_record record = p->record;
		int rc;

		p->dirty = false;
		(void)pthread_mutex_unlock(&life->lock);
		rc = put_record(p, &record);
		(void)pthread_mutex_lock(&life->lock);
		if (rc == 0)
			p->record.version = record.version;
		else
			praas_say(PRAAS_SAY_WARNING, "record of process %llu: %s",
				  (unsigned long long)p->number, strerror(-rc));
		p->doomed = rc == 0 && record.state == PRAAS_LIFE_DELETING;
	} while (p->dirty);
	p->saving = false;
	if (p->record.state == PRAAS_LIFE_DELETING && p->has_instance)
		praas_life_end(&p->instance);
	if (p->record.state == PRAAS_LIFE_DELETING)
		praas_life_end_taker(p);
	done = p->settled;
	p->settled.head = NULL;
	life->background--;
	(void)pthread_cond_broadcast(&life->changed);
	(void)pthread_mutex_unlock(&life->lock);
	praas_life_tell(&done);
}

static void run_prepare(struct praas_job *job)
{
	struct praas_life *life =
		(struct praas_life *)(void *)((char *)job -
					      offsetof(struct praas_life, prepare_job));
	const struct praas_nodes *nodes = life->config.nodes;

	for (uint32_t i = 0; i < nodes->count; i++)
		nodes->node[i].backend->ops->prepare(nodes->node[i].backend);
	(void)pthread_mutex_lock(&life->lock);
	life->preparing = false;
	life->background--;
	(void)pthread_cond_broadcast(&life->changed);
	(void)pthread_mutex_unlock(&life->lock);
}

void praas_life_prepare_soon(struct praas_life *life)
{
	life->prepare_due_ns = praas_now_ns() + PRAAS_LIFE_PREPARE_NS;
	if (life->due_ns == 0 || life->prepare_due_ns < life->due_ns) {
		life->due_ns = life->prepare_due_ns;
		praas_link_wake(life->link);
	}
}

void praas_life_prepare_due(struct praas_life *life, uint64_t now_ns)
{
	if (life->prepare_due_ns == 0 || life->stopping)
		return;
	if (life->prepare_due_ns > now_ns || life->preparing) {
		uint64_t next = life->preparing ? now_ns + PRAAS_LIFE_PREPARE_NS
						: life->prepare_due_ns;

		life->due_ns = earlier(life->due_ns, next);
		return;
	}
	life->prepare_due_ns = 0;
	life->preparing = true;
	life->prepare_job.run = run_prepare;
	praas_life_background(life, &life->prepare_job);
}

void praas_life_save(struct praas_life_process *p)
{
	if (p->saving || p->starting) {
		p->dirty = true; /* whoever writes it looks again */
		return;
	}
	p->saving = true;
	p->save_job.run = run_save;
	praas_life_background(p->life, &p->save_job);
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
void praas_life_bind(struct praas_life_process *p, uint64_t conn)
{
	struct praas_life *life = p->life;

	if (p->conn) {
		if (PRAAS_TABLE_HAS(hh_conn, p))
			HASH_DELETE(hh_conn, life->by_conn, p);
		else
			life->unindexed--;
		if (p->conn != conn)
			praas_link_close(life->link, p->conn);
	}
	p->conn = conn;
	if (conn) {
		HASH_ADD(hh_conn, life->by_conn, conn, sizeof(p->conn), p);
		life->unindexed += !PRAAS_TABLE_HAS(hh_conn, p); /* no memory */
	}
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
struct praas_life_process *praas_life_find_conn(struct praas_life *life, uint64_t conn)
{
	struct praas_life_process *p, *next;

	HASH_FIND(hh_conn, life->by_conn, &conn, sizeof(conn), p);
	if (p || life->unindexed == 0)
		return p;
	HASH_ITER(hh, life->processes, p, next)
	{
		if (p->conn == conn)
			return p;
	}
	return NULL;
}

/* Two controllers of one process may run for a moment, of different epochs. */
#define TAG_EPOCH_BITS 16

uint64_t praas_life_tag(const struct praas_instance *instance)
{
	return instance->number << TAG_EPOCH_BITS |
	       (instance->epoch & ((1u << TAG_EPOCH_BITS) - 1));
}

uint64_t praas_life_tag_number(uint64_t tag)
{
	return tag >> TAG_EPOCH_BITS;
}

int praas_life_watch(struct praas_life *life, const struct praas_instance *instance)
{
	return praas_link_watch(life->link, instance->pidfd, praas_life_tag(instance));
}

void praas_life_end(const struct praas_instance *instance)
{
	instance->backend->ops->kill(instance->backend, instance);
}

void praas_life_reap(struct praas_life *life, struct praas_instance *instance,
		     struct praas_exit *ret_exit)
{
	char path[PRAAS_LIFE_PATH_BYTES + 48];

	(void)snprintf(path, sizeof(path), "%s/" PRAAS_LIFE_SOCKET, life->run_dir,
		       (unsigned long long)instance->number, instance->epoch);
	instance->backend->ops->reap(instance->backend, instance, ret_exit);
	(void)unlink(path); /* most are gone */
	(void)snprintf(path, sizeof(path), PRAAS_LIFE_MEETING, life->run_dir,
		       (unsigned long long)instance->number, instance->epoch);
	(void)unlink(path); /* nearly all are */
}

bool praas_life_runs(const struct praas_life_process *p)
{
	return p->has_instance || p->has_taker || p->leaving_due_ns != 0;
}

/* What cannot be sent (NULL: no memory) ends the connection: the controller connects again and is asked
 * again (praas_life_send_pending()). Takes message. */
void praas_life_ask(struct praas_life_process *p, json_t *message)
{
	if (p->conn && (!message || praas_link_send(p->life->link, p->conn, message)))
		praas_link_close(p->life->link, p->conn);
	json_decref(message);
}

/* Sends {"t": what, "id": id} when its controller is connected. */
void praas_life_request(struct praas_life_process *p, const char *what, uint64_t id)
{
	praas_life_ask(p, json_pack("{s:s,s:I}", "t", what, "id", (json_int_t)id));
}

/* One for want of work is refused by a controller that has had some meanwhile. */
static void send_swap(struct praas_life_process *p)
{
	json_t *message =
		json_pack("{s:s,s:I}", "t", "swap-out", "id", (json_int_t)p->swap_id);

	if (message && p->idle_swap &&
	    json_object_set_new(message, "idle_ms",
				json_integer((json_int_t)p->idle_ms))) {
		json_decref(message); /* not without its condition */
		message = NULL;
	}
	praas_life_ask(p, message);
}

void praas_life_send_pending(struct praas_life_process *p)
{
	if (p->record.state == PRAAS_LIFE_DRAINING && p->swap_id)
		send_swap(p);
	if (p->check_id) /* it did not live to hear of it, or to answer */
		praas_life_request(p, "checkpoint", p->check_id);
	else if (p->checkpointed.head)
		praas_life_begin_check(p);
}

void praas_life_begin_swap(struct praas_life_process *p, bool idle)
{
	p->want_swap = false;
	p->told_swapped = false;
	p->swap_id = ++p->life->request_last;
	p->idle_swap = idle;
	praas_life_set_state(p, PRAAS_LIFE_DRAINING);
	send_swap(p);
}

void praas_life_begin_kill(struct praas_life_process *p)
{
	p->want_kill = true;
	praas_life_end_taker(p);
	if (p->has_instance && p->joined && p->conn) {
		praas_life_request(p, "kill", ++p->life->request_last);
		p->phase_deadline_ns = praas_now_ns() + PRAAS_LIFE_KILL_NS;
		praas_life_arm(p);
	} else if (p->has_instance) {
		praas_life_end(&p->instance);
	}
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
struct praas_life_process *praas_life_find(struct praas_life *life, uint64_t number)
{
	struct praas_life_process *p;

	HASH_FIND(hh, life->processes, &number, sizeof(number), p);
	return p;
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
struct praas_life_process *praas_life_entry(struct praas_life *life,
					    const struct praas_process_record *record,
					    const struct praas_app_record *app)
{
	struct praas_life_process *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->life = life;
	p->number = record->number;
	p->record = *record;
	p->app = *app;
	p->instance.pidfd = -1;
	p->leaving.pidfd = p->taker.pidfd = -1;
	p->row_ns = praas_now_ns();
	praas_account_open(&p->account, record);
	HASH_ADD(hh, life->processes, number, sizeof(p->number), p);
	if (!PRAAS_TABLE_HAS(hh, p)) {
		free(p);
		return NULL;
	}
	(void)pthread_cond_broadcast(&life->changed);
	return p;
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
void praas_life_forget(struct praas_life_process *p)
{
	struct praas_life *life = p->life;

	praas_check(!praas_life_runs(p));
	praas_check(!p->serving.head && !p->swapped.head && !p->ended.head &&
		    !p->moved.head);
	praas_life_bind(p, 0);
	praas_life_node_leave(p);
	if (p->timed)
		DL_DELETE(life->timed, p);
	HASH_DEL(life->processes, p);
	free(p->app_next);
	praas_functions_epoch(&p->functions_told);
	free(p);
}
