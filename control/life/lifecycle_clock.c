/* SPDX-License-Identifier: Apache-2.0
 *
 * What is due at a time: those who wait too long, what takes too long, idle processes. All on the link
 * thread.
 */
#include "control/life/lifecycle_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/records/lease.h"
#include "internal/base.h"

#define DOUBT_NS 100000000u          /* before it is looked again whether we may */
#define BACKEND_AGAIN_NS 1000000000u /* to remove what was left */

/* Those of waits whose time has come. */
static void expire(struct praas_life_process *p, struct praas_life_waits *waits,
		   uint64_t now_ns, struct praas_life_waits *done)
{
	struct praas_outcome late =
		praas_outcome_of(-ETIMEDOUT, "timeout", "it was not done in time");
	struct praas_life_wait **at = &waits->head;

	while (*at) {
		struct praas_life_waits one = { *at };

		if ((*at)->deadline_ns == 0 || (*at)->deadline_ns > now_ns) {
			at = &(*at)->next;
			continue;
		}
		*at = one.head->next;
		one.head->next = NULL;
		praas_life_finish(p, &one, &late, done);
	}
}

/* An activation from before a restart of ours: no controller of it came back. It was not
 * acknowledged; whoever asks for it now gets another. */
static void activation_undone(struct praas_life_process *p,
			      struct praas_life_waits *done)
{
	struct praas_outcome ok = { 0 }, why;

	why = praas_outcome_of(-ESTALE, "not_active",
			       "the process has no state in memory");
	praas_life_set_state(p, (enum praas_life_state)p->rest_state);
	praas_life_finish(p, &p->swapped,
			  p->rest_state == PRAAS_LIFE_SWAPPED ? &ok : &why, done);
	praas_life_finish(p, &p->checkpointed, &why, done);
	praas_life_finish(p, &p->ended, &ok, &p->settled);
	p->want_swap = false;
	p->want_kill = false;
	if (praas_life_begin_back(p) || !p->serving.head || p->life->stopping)
		praas_life_save(p);
	else
		praas_life_begin_activation(p);
}

/* What was under way takes too long. */
static void phase_over(struct praas_life_process *p, struct praas_life_waits *done)
{
	struct praas_exit unknown = { 0 };

	p->phase_deadline_ns = 0;
	if (p->record.state == PRAAS_LIFE_ACTIVATING && p->recovered &&
	    !p->has_instance) {
		praas_life_not_back(p);
		activation_undone(p, done);
		return;
	}
	if (p->record.state == PRAAS_LIFE_ACTIVATING && !p->failure.rc)
		p->failure = praas_outcome_of(-ETIMEDOUT, "TIMEOUT",
					      "it did not join in time");
	if (p->record.state == PRAAS_LIFE_MIGRATING && p->has_taker) {
		praas_life_end_taker(p); /* its source sees that, or has gone, too */
		return;
	}
	if (p->has_instance)
		praas_life_end(&p->instance); /* the rest follows from its end */
	else if (p->record.state == PRAAS_LIFE_ACTIVATING && !p->starting)
		praas_life_ended_starting(p, &unknown, done);
	else if (p->record.state == PRAAS_LIFE_ACTIVE ||
		 p->record.state == PRAAS_LIFE_DRAINING ||
		 p->record.state == PRAAS_LIFE_MIGRATING)
		praas_life_ended_serving(p, &unknown, done);
}

static void leave_now(struct praas_life_process *p, uint64_t now_ns)
{
	p->leaving_due_ns = now_ns + PRAAS_LIFE_LEAVE_NS;
	praas_life_end(&p->leaving);
}

/* The next look is at that time, if it is not before; 0: never. */
static void due_by(struct praas_life *life, uint64_t at_ns)
{
	if (at_ns != 0 && (life->due_ns == 0 || at_ns < life->due_ns))
		life->due_ns = at_ns;
}

/* When the back ends are to try again to remove what is left; 0: nothing is. */
static uint64_t backend_due(struct praas_life *life, uint64_t now_ns)
{
	const struct praas_nodes *nodes = life->config.nodes;
	bool left = false;

	if (life->backend_due_ns > now_ns)
		return life->backend_due_ns;
	for (uint32_t i = 0; i < nodes->count; i++) {
		struct praas_backend *backend = nodes->node[i].backend;

		left = backend->ops->tidy(backend) || left;
	}
	life->backend_due_ns = left ? now_ns + BACKEND_AGAIN_NS : 0;
	return life->backend_due_ns;
}

/* NOLINTNEXTLINE(readability-function-size): the branches are utlist's macros */
uint64_t praas_life_tick(void *user, uint64_t now_ns)
{
	struct praas_life_waits done = { NULL };
	struct praas_life_process *p, *next, *last;
	struct praas_life *life = user;
	uint64_t due;

	/* After a time in which we stood still: what was due then is perhaps another's to do. */
	if (!praas_lease_holds(life->config.lease, now_ns))
		return now_ns + DOUBT_NS;
	(void)pthread_mutex_lock(&life->lock);
	if (life->due_ns != 0 && life->due_ns <= now_ns) {
		life->due_ns = 0;
		last = life->timed ? life->timed->prev : NULL;
		DL_FOREACH_SAFE(life->timed, p, next)
		{
			DL_DELETE(life->timed, p);
			p->timed = false;
			expire(p, &p->serving, now_ns, &done);
			expire(p, &p->swapped, now_ns, &done);
			expire(p, &p->checkpointed, now_ns, &done);
			expire(p, &p->ended, now_ns, &done);
			expire(p, &p->back, now_ns, &done);
			expire(p, &p->moved, now_ns, &done);
			if (p->phase_deadline_ns && p->phase_deadline_ns <= now_ns)
				phase_over(p, &done);
			if (p->leaving_due_ns && p->leaving_due_ns <= now_ns)
				leave_now(p, now_ns);
			praas_life_arm(p);
			if (p == last)
				break; /* behind it are those armed again just now */
		}
		praas_life_prepare_due(life, now_ns);
	}
	due_by(life, praas_life_idle_look(life, now_ns));
	due_by(life, praas_life_drain_look(life, now_ns));
	due_by(life, praas_life_balance_look(life, now_ns));
	due_by(life, praas_life_check_look(life, now_ns));
	due_by(life, praas_life_tidy_due(life, now_ns));
	due_by(life, backend_due(life, now_ns));
	due_by(life, praas_life_members_due(life, now_ns));
	due = life->due_ns;
	(void)pthread_mutex_unlock(&life->lock);
	praas_life_tell(&done);
	return due;
}
