/* SPDX-License-Identifier: Apache-2.0
 *
 * From time to time one process that serves goes to another node, when that makes the whole better
 * (control/life/balance.h decides). Off unless it is asked for; one at a time, and none while any other moves; never one that
 * has work, or has begun to serve or moved lately. All with the lock held.
 */
#include "control/life/lifecycle_private.h"

#include <stdlib.h>
#include <string.h>

#include "control/say.h"
#include "internal/base.h"

#define QUIET_NS 1000000000u /* without work, of one that may be moved */

static bool lately(const struct praas_life_process *p, uint64_t now_ns)
{
	return now_ns - praas_min_u64(p->settled_ns, now_ns) <
		       p->life->config.balance_stay ||
	       p->move_again_ns > now_ns;
}

static bool movable(const struct praas_life_process *p, uint64_t now_ns)
{
	uint64_t quiet;

	if (praas_life_not_now(p) || lately(p, now_ns) || !p->metrics_told)
		return false;
	(void)praas_life_idle(p, now_ns, &quiet);
	return quiet >= QUIET_NS;
}

/* Those that count on a node. Returns how many; UINT32_MAX one moves, or there are too many. */
static uint32_t gather(const struct praas_life *life, uint64_t now_ns,
		       struct praas_balance_process *ret_processes)
{
	const struct praas_life_process *p, *next;
	uint32_t n = 0;

	HASH_ITER(hh, life->processes, p, next)
	{
		struct praas_balance_process *one = &ret_processes[n];

		if (!p->placed)
			continue;
		if (praas_life_moves(p) || n == PRAAS_BALANCE_PROCESSES_MAX)
			return UINT32_MAX;
		*one = (struct praas_balance_process){
			.number = p->number,
			.memory_bytes = p->node_memory,
			.vcpu_milli = p->node_vcpu,
			.state_bytes = p->metrics.state_bytes,
			.node = p->node,
			.movable = movable(p, now_ns),
		};
		memcpy(one->app, p->record.app, sizeof(one->app));
		n++;
	}
	return n;
}

static void move(struct praas_life *life, const struct praas_balance_move *m)
{
	const struct praas_node *to = &life->config.nodes->node[m->to];
	struct praas_life_process *p = praas_life_find(life, m->number);
	struct praas_outcome why;

	praas_check(p);
	praas_say(PRAAS_SAY_INFO, "process %llu goes from node %s to %s: %s",
		  (unsigned long long)p->number, p->record.node, to->name,
		  praas_place_policy_text(life->config.placement));
	if (praas_life_begin_move(p, to->name, &why) == 0)
		life->stats.balance_moves++;
	else
		p->settled_ns = praas_now_ns(); /* another one the next time */
}

static void look(struct praas_life *life, uint64_t now_ns)
{
	struct praas_balance_policy policy = {
		.placement = life->config.placement,
		.gap = life->config.balance_gap,
		.full = life->config.idle.pressure ? life->config.idle.pressure : 100
	};
	struct praas_place_node nodes[PRAAS_NODES_MAX];
	struct praas_balance_process *processes =
		calloc(PRAAS_BALANCE_PROCESSES_MAX, sizeof(*processes));
	struct praas_balance_move next;
	uint32_t n;

	if (!processes)
		return; /* the next time */
	for (uint32_t i = 0; i < life->config.nodes->count; i++)
		praas_life_node_describe(life, i, &nodes[i]);
	n = gather(life, now_ns, processes);
	if (n != UINT32_MAX &&
	    praas_balance_next(&policy, nodes, life->config.nodes->count, processes, n,
			       &next))
		move(life, &next);
	free(processes);
}

uint64_t praas_life_balance_look(struct praas_life *life, uint64_t now_ns)
{
	uint64_t every = life->config.balance_ns;

	if (every == 0 || life->stopping || life->config.nodes->count < 2)
		return 0;
	if (life->balance_due_ns == 0) /* at first those that survived a restart join */
		life->balance_due_ns = now_ns + every;
	if (life->balance_due_ns <= now_ns) {
		look(life, now_ns);
		life->balance_due_ns = now_ns + every;
	}
	return life->balance_due_ns;
}
