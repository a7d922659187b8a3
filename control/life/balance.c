/* SPDX-License-Identifier: Apache-2.0 */
#include "control/life/balance.h"

#include <stdlib.h>
#include <string.h>

#include "control/node/nodes.h"
#include "internal/base.h"

#define ALL UINT64_C(1000000) /* a whole node */

/* What is looked at: nodes, and the same filled to policy's limit. */
struct view {
	const struct praas_balance_policy *policy;
	const struct praas_place_node *nodes;
	uint32_t count;
	struct praas_place_node limit[PRAAS_NODES_MAX];
	uint64_t share[PRAAS_NODES_MAX];
};

/* A move that could be made; `worth` is comparable within one policy. */
struct choice {
	const struct praas_balance_process *process; /* NULL: none */
	uint32_t to;
	uint64_t worth, room; /* more is better */
};

static uint64_t part(uint64_t of, uint64_t percent)
{
	return of / 100 * percent + of % 100 * percent / 100;
}

/* Of ALL, at most twice that. */
static uint64_t taken(uint64_t all, uint64_t used)
{
	if (all == 0)
		return 0;
	return used >= 2 * all ? 2 * ALL
			       : (uint64_t)((double)ALL * ((double)used / (double)all));
}

static uint64_t share_of(const struct praas_place_node *n, uint64_t memory_used,
			 uint64_t vcpu_used)
{
	return praas_max_u64(taken(n->memory_bytes, memory_used),
			     taken(n->vcpu_milli, vcpu_used));
}

static bool counted(const struct praas_place_node *n)
{
	return n->memory_bytes > 0 || n->vcpu_milli > 0;
}

static void begin(struct view *v, const struct praas_balance_policy *policy,
		  const struct praas_place_node *nodes, uint32_t count)
{
	*v = (struct view){ .policy = policy, .nodes = nodes, .count = count };
	for (uint32_t i = 0; i < count; i++) {
		const struct praas_place_node *n = &nodes[i];

		v->limit[i] = *n;
		if (n->memory_bytes)
			v->limit[i].memory_bytes =
				praas_max_u64(part(n->memory_bytes, policy->full), 1);
		if (n->vcpu_milli)
			v->limit[i].vcpu_milli =
				praas_max_u64(part(n->vcpu_milli, policy->full), 1);
		v->share[i] = share_of(n, n->memory_used, n->vcpu_used);
	}
}

static struct praas_place_need need_of(const struct praas_balance_process *p)
{
	return (struct praas_place_need){ .memory_bytes = p->memory_bytes,
					  .vcpu_milli = p->vcpu_milli };
}

static bool may_go(const struct view *v, const struct praas_balance_process *p,
		   uint32_t to)
{
	struct praas_place_need need = need_of(p);

	return to != p->node && !v->nodes[to].drained &&
	       praas_place_node_room(&v->limit[to], &need);
}

static uint64_t share_with(const struct view *v, uint32_t to,
			   const struct praas_balance_process *p)
{
	const struct praas_place_node *n = &v->nodes[to];

	return share_of(n, n->memory_used + p->memory_bytes,
			n->vcpu_used + p->vcpu_milli);
}

static uint64_t share_without(const struct view *v,
			      const struct praas_balance_process *p)
{
	const struct praas_place_node *n = &v->nodes[p->node];

	return share_of(n,
			n->memory_used - praas_min_u64(p->memory_bytes, n->memory_used),
			n->vcpu_used - praas_min_u64(p->vcpu_milli, n->vcpu_used));
}

static bool better(const struct choice *a, const struct choice *b)
{
	if (!b->process)
		return true;
	if (a->worth != b->worth)
		return a->worth > b->worth;
	if (a->room != b->room)
		return a->room > b->room;
	if (a->process->state_bytes != b->process->state_bytes)
		return a->process->state_bytes < b->process->state_bytes;
	return a->process->number < b->process->number;
}

static void offer(struct choice *best, const struct choice *c)
{
	if (c->worth > 0 && better(c, best))
		*best = *c;
}

/* ---- neighbours, and spreading ------------------------------------------------------- */

static int by_app(const void *a, const void *b)
{
	const struct praas_balance_process *x = a, *y = b;
	int order = memcmp(x->app, y->app, sizeof(x->app));

	return order ? order : (x->number > y->number) - (x->number < y->number);
}

/* By how much the larger one of two shares falls; 0: it does not, or they are near each other. */
static uint64_t relief(const struct view *v, const struct praas_balance_process *p,
		       uint32_t to)
{
	uint64_t now = v->share[p->node], after;

	if (!counted(&v->nodes[p->node]) || !counted(&v->nodes[to]) ||
	    now < v->share[to] + v->policy->gap * (ALL / 100))
		return 0;
	after = praas_max_u64(share_without(v, p), share_with(v, to, p));
	return now > after ? now - after : 0;
}

/* here: of each node, how many of p's application are there, with p. */
static void offer_all(const struct view *v, const struct praas_balance_process *p,
		      const uint32_t here[PRAAS_NODES_MAX], struct choice *together,
		      struct choice *apart)
{
	for (uint32_t to = 0; to < v->count; to++) {
		uint32_t others = here[p->node] - 1;
		struct choice c = { .process = p, .to = to };

		if (!may_go(v, p, to))
			continue;
		c.room = 2 * ALL - praas_min_u64(share_with(v, to, p), 2 * ALL);
		c.worth = here[to] > others ? here[to] - others : 0;
		offer(together, &c);
		if (v->policy->placement == PRAAS_PLACE_NEIGHBOURS && here[to] < others)
			continue;
		c.worth = relief(v, p, to);
		offer(apart, &c);
	}
}

static struct choice spread(const struct view *v,
			    struct praas_balance_process *processes, uint32_t count)
{
	struct choice together = { NULL }, apart = { NULL };
	uint32_t end;

	qsort(processes, count, sizeof(*processes), by_app);
	for (uint32_t i = 0; i < count; i = end) {
		uint32_t here[PRAAS_NODES_MAX] = { 0 };

		for (end = i;
		     end < count && memcmp(processes[end].app, processes[i].app,
					   sizeof(processes[i].app)) == 0;
		     end++)
			here[processes[end].node]++;
		for (uint32_t k = i; k < end; k++)
			if (processes[k].movable &&
			    !v->nodes[processes[k].node].drained)
				offer_all(v, &processes[k], here, &together, &apart);
	}
	return v->policy->placement == PRAAS_PLACE_NEIGHBOURS && together.process
		       ? together
		       : apart;
}

/* ---- emptying a node ----------------------------------------------------------------- */

/* The largest of a node first. */
static int by_size(const void *a, const void *b)
{
	const struct praas_balance_process *x = a, *y = b;

	if (x->node != y->node)
		return x->node < y->node ? -1 : 1;
	if (x->memory_bytes != y->memory_bytes)
		return x->memory_bytes > y->memory_bytes ? -1 : 1;
	if (x->vcpu_milli != y->vcpu_milli)
		return x->vcpu_milli > y->vcpu_milli ? -1 : 1;
	return by_app(a, b);
}

/* Whether a is to be emptied before b. An order of all nodes: what goes, goes up in it. */
static bool before(const struct view *v, uint32_t a, uint32_t b)
{
	if (v->share[a] != v->share[b])
		return v->share[a] < v->share[b];
	if (v->nodes[a].processes != v->nodes[b].processes)
		return v->nodes[a].processes < v->nodes[b].processes;
	return a > b;
}

static bool in_use(const struct view *v, uint32_t node)
{
	return counted(&v->nodes[node]) && !v->nodes[node].drained &&
	       v->nodes[node].processes > 0;
}

/* Whether all of a node (those processes) fit on nodes after it in the order; and where the first goes. */
static bool empties(const struct view *v, uint32_t node,
		    const struct praas_balance_process *processes, uint32_t count,
		    uint32_t *ret_to)
{
	struct praas_place_node left[PRAAS_NODES_MAX];

	for (uint32_t i = 0; i < v->count; i++) {
		left[i] = v->limit[i];
		left[i].drained = i == node || !in_use(v, i) || before(v, i, node);
		left[i].neighbours = 0;
		left[i].last = false;
	}
	for (uint32_t i = 0; i < count; i++) {
		struct praas_place_need need = need_of(&processes[i]);
		uint32_t to;

		if (!processes[i].movable ||
		    praas_place_node(PRAAS_PLACE_CONSOLIDATE, left, v->count, &need,
				     &to))
			return false;
		left[to].memory_used += need.memory_bytes;
		left[to].vcpu_used += need.vcpu_milli;
		left[to].processes++;
		if (i == 0)
			*ret_to = to;
	}
	return count > 0;
}

static struct choice consolidate(const struct view *v,
				 struct praas_balance_process *processes,
				 uint32_t count)
{
	struct choice best = { NULL };
	uint32_t end, to = 0;

	qsort(processes, count, sizeof(*processes), by_size);
	for (uint32_t i = 0; i < count; i = end) {
		uint32_t node = processes[i].node;

		for (end = i; end < count && processes[end].node == node; end++)
			;
		if (!in_use(v, node) ||
		    (best.process && before(v, best.process->node, node)) ||
		    !empties(v, node, &processes[i], end - i, &to))
			continue;
		best = (struct choice){ .process = &processes[i], .to = to };
	}
	return best;
}

bool praas_balance_next(const struct praas_balance_policy *policy,
			const struct praas_place_node *nodes, uint32_t count,
			struct praas_balance_process *processes,
			uint32_t processes_count, struct praas_balance_move *ret_move)
{
	struct choice best;
	struct view v;

	praas_check(count <= PRAAS_NODES_MAX);
	for (uint32_t i = 0; i < processes_count; i++)
		praas_check(processes[i].node < count);
	if (count < 2 || processes_count == 0)
		return false;
	begin(&v, policy, nodes, count);
	best = policy->placement == PRAAS_PLACE_CONSOLIDATE
		       ? consolidate(&v, processes, processes_count)
		       : spread(&v, processes, processes_count);
	if (!best.process)
		return false;
	*ret_move = (struct praas_balance_move){ .number = best.process->number,
						 .to = best.to };
	return true;
}
