/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls through REST: which process gets one, how many it has; and what is known of processes.
 */
#include "control/life/lifecycle_private.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "control/life/place.h"
#include "internal/base.h"

#define AUTO_PROCESSES_MAX 16u /* that invocations without a pid spread over */
#define CANDIDATES_MAX 4096u

static uint32_t waiting(const struct praas_life_waits *waits)
{
	uint32_t n = 0;

	for (const struct praas_life_wait *w = waits->head; w; w = w->next)
		n++;
	return n;
}

static void refuse(struct praas_life_wait *wait, int rc, const char *code,
		   const char *text)
{
	wait->outcome = praas_outcome_of(rc, code, text);
	wait->done(wait);
}

static uint32_t gather(struct praas_life *life, const struct praas_app_record *app,
		       struct praas_place_candidate *ret_candidates)
{
	struct praas_life_process *p, *next;
	uint32_t n = 0;

	HASH_ITER(hh, life->processes, p, next)
	{
		uint64_t load = p->metrics.running + p->metrics.queued;

		if (n == CANDIDATES_MAX ||
		    memcmp(p->record.app, app->id, sizeof(app->id)) != 0)
			continue;
		load = praas_max_u64(load, p->calls) + waiting(&p->serving);
		ret_candidates[n++] = (struct praas_place_candidate){
			.number = p->number,
			.load = (uint32_t)praas_min_u64(load, UINT32_MAX),
			.concurrency = p->app.concurrency ? p->app.concurrency : 1,
			.state = p->want_kill ? PRAAS_LIFE_KILLED : p->record.state,
			.leaves = p->placed && life->nodes[p->node].drained,
		};
	}
	return n;
}

void praas_life_place(struct praas_life *life, const struct praas_app_record *app,
		      struct praas_life_wait *wait)
{
	struct praas_place_candidate *candidates =
		calloc(CANDIDATES_MAX, sizeof(*candidates));
	struct praas_life_waits done = { NULL };
	enum praas_place_choice choice;
	struct praas_life_process *p = NULL;
	uint64_t number = 0;
	bool created;

	if (!candidates) {
		refuse(wait, -ENOMEM, "no_memory", "out of memory");
		return;
	}
	(void)pthread_mutex_lock(&life->place_lock);
	(void)pthread_mutex_lock(&life->lock);
	choice = praas_place_invoke(candidates, gather(life, app, candidates),
				    AUTO_PROCESSES_MAX, PRAAS_LIMIT_CALLS_PER_PROCESS,
				    &number);
	if (choice == PRAAS_PLACE_USE)
		p = praas_life_find(life, number);
	if (p)
		praas_life_want_serving(p, wait, &done);
	(void)pthread_mutex_unlock(&life->lock);
	if (choice == PRAAS_PLACE_CREATE)
		praas_life_create(life, app, NULL, NULL, wait, &created);
	(void)pthread_mutex_unlock(&life->place_lock);
	free(candidates);
	if (choice == PRAAS_PLACE_FULL)
		refuse(wait, -EAGAIN, "overloaded", "all processes are busy");
	praas_life_tell(&done);
}

int praas_life_call_begin(struct praas_life *life, uint64_t number)
{
	struct praas_life_process *p;
	int rc = -ENOENT;

	(void)pthread_mutex_lock(&life->lock);
	p = praas_life_find(life, number);
	if (p)
		rc = p->calls >= PRAAS_LIMIT_CALLS_PER_PROCESS ? -EAGAIN : 0;
	if (rc == 0)
		p->calls++;
	(void)pthread_mutex_unlock(&life->lock);
	return rc;
}

int praas_life_call_quick(struct praas_life *life, struct praas_process_record *process)
{
	struct praas_life_process *p;
	int rc = -ENOENT;

	(void)pthread_mutex_lock(&life->lock);
	p = praas_life_find(life, process->number);
	if (p && p->record.state == PRAAS_LIFE_ACTIVE && p->joined && !p->want_kill &&
	    !p->want_swap)
		rc = p->calls >= PRAAS_LIMIT_CALLS_PER_PROCESS ? -EAGAIN : 0;
	if (rc == 0) {
		p->calls++;
		*process = p->record;
	}
	(void)pthread_mutex_unlock(&life->lock);
	return rc;
}

void praas_life_call_end(struct praas_life *life, uint64_t number, uint32_t count)
{
	struct praas_life_process *p;

	(void)pthread_mutex_lock(&life->lock);
	p = praas_life_find(life, number);
	if (p) /* it may have ended and begun anew since */
		p->calls -= p->calls < count ? p->calls : count;
	if (p && count > 0)
		p->active_ns = praas_now_ns();
	(void)pthread_mutex_unlock(&life->lock);
}

void praas_life_view(struct praas_life *life, const struct praas_process_record *record,
		     struct praas_life_view *ret_view)
{
	const size_t told = offsetof(struct praas_life_view, connected);
	struct praas_life_process *p;

	(void)pthread_mutex_lock(&life->lock);
	p = praas_life_find(life, record->number);
	if (p) {
		ret_view->record = p->record;
		/* What it told, and how the last one ended. */
		memcpy((uint8_t *)ret_view + told, (const uint8_t *)&p->metrics + told,
		       sizeof(*ret_view) - told);
		ret_view->connected = p->conn != 0;
		ret_view->metrics = p->metrics_told;
		ret_view->calls = p->calls;
		ret_view->idle =
			praas_life_idle(p, praas_now_ns(), &ret_view->quiet_ns) !=
			PRAAS_IDLE_BUSY;
	}
	(void)pthread_mutex_unlock(&life->lock);
	if (!p)
		*ret_view = (struct praas_life_view){ .record = *record };
}

void praas_life_stats(struct praas_life *life, struct praas_life_stats *ret_stats)
{
	struct praas_life_process *p, *next;

	(void)pthread_mutex_lock(&life->lock);
	*ret_stats = life->stats;
	ret_stats->used = life->used;
	HASH_ITER(hh, life->processes, p, next)
	{
		if (p->record.state <= PRAAS_LIFE_MIGRATING)
			ret_stats->states[p->record.state]++;
	}
	(void)pthread_mutex_unlock(&life->lock);
}

int praas_life_functions(struct praas_life *life, struct praas_function_row **ret_rows,
			 uint32_t *ret_count)
{
	int rc;

	(void)pthread_mutex_lock(&life->lock);
	rc = praas_functions_rows(life->functions, ret_rows, ret_count);
	(void)pthread_mutex_unlock(&life->lock);
	return rc;
}
