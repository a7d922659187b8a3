/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes that nobody needs are swapped out (control/life/idle.h decides which): for want of work, because
 * their node is drained or short of memory. Who needs one while it drains gets it back, if its release is not
 * committed yet. All with the lock held.
 */
#include "control/life/lifecycle_private.h"

#include <stdlib.h>

#include "internal/base.h"

#define LOOK_MIN_NS 100000000ull
#define LOOK_MAX_NS 5000000000ull
#define DRAIN_NS 1000000000ull /* without work, on a node that is drained */
#define STRAIN_NS 500000000ull /* between two looks at one that is drained or short */
#define CANDIDATES_MAX 4096u

static struct praas_idle_policy policy_of(const struct praas_life_process *p)
{
	struct praas_idle_policy policy = p->life->config.idle;

	if (!praas_life_drain_left(p))
		return policy;
	policy.calls_max = 0;
	policy.swap_ns =
		policy.swap_ns ? praas_min_u64(policy.swap_ns, DRAIN_NS) : DRAIN_NS;
	return policy;
}

enum praas_idle praas_life_idle(const struct praas_life_process *p, uint64_t now_ns,
				uint64_t *ret_quiet_ns)
{
	const struct praas_life_view *m = &p->metrics;
	struct praas_idle_policy policy = policy_of(p);
	struct praas_idle_input in = {
		.serving = p->record.state == PRAAS_LIFE_ACTIVE && p->joined &&
			   !p->want_kill && !p->want_swap && p->check_id == 0,
		.now_ns = now_ns,
		.since_ns = p->active_ns,
		.told_ns = p->metrics_told ? p->metrics_ns : 0,
		.idle_ns = m->idle_ns,
		.running = m->running,
		/* What waits without anybody waiting for it sleeps as well in the store. */
		.queued = m->queued - praas_min_u64(m->dormant, m->queued),
		.calls = p->calls,
		.waiting = p->serving.head != NULL,
		.window_ns = p->window_ns ? now_ns - p->window_ns : 0,
		.window_calls = m->invocations - p->window_calls,
	};

	return praas_idle_decide(&policy, &in, ret_quiet_ns);
}

void praas_life_count_calls(struct praas_life_process *p)
{
	const struct praas_idle_policy *policy = &p->life->config.idle;
	uint64_t calls = p->metrics.invocations;

	/* Another epoch counts from 0, and each window that had more than is as none. */
	if (p->window_ns == 0 || calls < p->window_calls ||
	    calls - p->window_calls > policy->calls_max) {
		p->window_ns = p->metrics_ns;
		p->window_calls = calls;
	}
}

/* For how long there must have been no work when it gets the request. */
static void swap_idle(struct praas_life_process *p, uint64_t quiet_ns)
{
	p->idle_ms =
		praas_max_u64(quiet_ns / 1000000, 1); /* 0 would mean: in any case */
	praas_life_begin_swap(p, true);
}

/* ---- nodes that are short of memory ------------------------------------------------ */

static bool is_short(const struct praas_life *life, uint32_t node)
{
	struct praas_idle_candidate any = { .memory_bytes = UINT64_MAX };

	return praas_idle_relieve(&life->config.idle,
				  life->config.nodes->node[node].memory_bytes,
				  life->nodes[node].memory_bytes, &any, 1) > 0;
}

/* Those of a node that are idle. What is on its way out counts as out. */
static uint32_t gather(struct praas_life *life, uint32_t node, uint64_t now_ns,
		       struct praas_idle_candidate *ret_candidates,
		       uint64_t *used_bytes)
{
	struct praas_life_process *p, *next;
	uint32_t n = 0;

	HASH_ITER(hh, life->processes, p, next)
	{
		struct praas_idle_candidate c = { .number = p->number,
						  .memory_bytes = p->node_memory };

		if (!p->placed || p->node != node)
			continue;
		if (p->record.state == PRAAS_LIFE_DRAINING)
			*used_bytes -= praas_min_u64(p->node_memory, *used_bytes);
		else if (n < CANDIDATES_MAX &&
			 praas_life_idle(p, now_ns, &c.quiet_ns) == PRAAS_IDLE_IDLE)
			ret_candidates[n++] = c;
	}
	return n;
}

static void relieve(struct praas_life *life, uint32_t node, uint64_t now_ns)
{
	struct praas_idle_candidate *c = calloc(CANDIDATES_MAX, sizeof(*c));
	uint64_t used = life->nodes[node].memory_bytes;
	uint32_t n;

	if (!c)
		return; /* at the next look */
	n = gather(life, node, now_ns, c, &used);
	n = praas_idle_relieve(&life->config.idle,
			       life->config.nodes->node[node].memory_bytes, used, c, n);
	for (uint32_t i = 0; i < n; i++)
		swap_idle(praas_life_find(life, c[i].number),
			  life->config.idle.after_ns);
	free(c);
}

/* ---- from the tick ----------------------------------------------------------------- */

static void look_at(struct praas_life_process *p, uint64_t now_ns)
{
	uint64_t quiet;

	switch (praas_life_idle(p, now_ns, &quiet)) {
	case PRAAS_IDLE_SWAP:
		swap_idle(p, policy_of(p).swap_ns);
		break;
	case PRAAS_IDLE_SLOW:
		swap_idle(p, 0);
		break;
	case PRAAS_IDLE_BUSY:
	case PRAAS_IDLE_IDLE:
	default:
		break;
	}
}

uint64_t praas_life_idle_look(struct praas_life *life, uint64_t now_ns)
{
	uint32_t nodes = life->config.nodes->count;
	uint64_t every = life->config.idle.swap_ns / 4;
	struct praas_life_process *p, *next;
	bool strain = false;

	for (uint32_t i = 0; i < nodes; i++)
		strain = strain || is_short(life, i) ||
			 (life->nodes[i].drained && life->nodes[i].processes > 0);
	if ((life->config.idle.swap_ns == 0 && !strain) || life->stopping)
		return 0;
	if (life->idle_due_ns > now_ns)
		return life->idle_due_ns;
	HASH_ITER(hh, life->processes, p, next)
	{
		look_at(p, now_ns);
	}
	for (uint32_t i = 0; i < nodes; i++)
		if (is_short(life, i))
			relieve(life, i, now_ns);
	every = praas_min_u64(praas_max_u64(every, LOOK_MIN_NS), LOOK_MAX_NS);
	if (strain)
		every = life->config.idle.swap_ns ? praas_min_u64(every, STRAIN_NS)
						  : STRAIN_NS;
	life->idle_due_ns = now_ns + every;
	return life->idle_due_ns;
}

void praas_life_idle_soon(struct praas_life *life)
{
	life->idle_due_ns = 0;
	praas_link_wake(life->link);
}

void praas_life_idle_taken(struct praas_life *life, uint32_t node)
{
	if (is_short(life, node))
		praas_life_idle_soon(life);
}

void praas_life_needed(struct praas_life_process *p)
{
	if (p->record.state != PRAAS_LIFE_DRAINING || !p->idle_swap ||
	    p->swapped.head || p->back.head)
		return; /* somebody wants it swapped out: first that, then a new epoch */
	p->idle_swap = false;
	praas_life_request(p, "cancel-swap-out", p->swap_id);
}
