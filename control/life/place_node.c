/* SPDX-License-Identifier: Apache-2.0 */
#include "control/life/place_node.h"

#include <errno.h>
#include <string.h>

#define ALL 1e9 /* a share of one; finer than a byte of a GiB */

static const char *const texts[PRAAS_PLACE_POLICIES] = { "neighbours", "spread",
							 "consolidate" };

const char *praas_place_policy_text(enum praas_place_policy policy)
{
	return policy < PRAAS_PLACE_POLICIES ? texts[policy] : "?";
}

int praas_place_policy_parse(const char *text, enum praas_place_policy *ret_policy)
{
	for (int i = 0; i < PRAAS_PLACE_POLICIES; i++) {
		if (strcmp(text, texts[i]) != 0)
			continue;
		*ret_policy = (enum praas_place_policy)i;
		return 0;
	}
	return -EINVAL;
}

static bool fits(uint64_t all, uint64_t used, uint64_t need)
{
	return all == 0 || (used <= all && need <= all - used);
}

bool praas_place_node_room(const struct praas_place_node *node,
			   const struct praas_place_need *need)
{
	return fits(node->memory_bytes, node->memory_used, need->memory_bytes) &&
	       fits(node->vcpu_milli, node->vcpu_used, need->vcpu_milli);
}

/* Of ALL; what is not counted is all left. */
static uint64_t left(uint64_t all, uint64_t used)
{
	if (all == 0)
		return (uint64_t)ALL;
	return used >= all ? 0 : (uint64_t)(ALL * ((double)(all - used) / (double)all));
}

static uint64_t room(const struct praas_place_node *n)
{
	uint64_t memory = left(n->memory_bytes, n->memory_used);
	uint64_t vcpus = left(n->vcpu_milli, n->vcpu_used);

	return memory < vcpus ? memory : vcpus;
}

/* Above 0: a is better. */
static int compare(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int better(enum praas_place_policy policy, const struct praas_place_node *a,
		  const struct praas_place_node *b)
{
	bool dense = policy == PRAAS_PLACE_CONSOLIDATE;
	int by_room = dense ? compare(room(b), room(a)) : compare(room(a), room(b));
	int by_neighbours = policy == PRAAS_PLACE_SPREAD
				    ? compare(b->neighbours, a->neighbours)
				    : compare(a->neighbours, b->neighbours);
	int by_processes = dense ? compare(a->processes, b->processes)
				 : compare(b->processes, a->processes);
	int order[] = { by_room, by_neighbours, by_processes,
			compare(a->last, b->last) };

	if (policy == PRAAS_PLACE_NEIGHBOURS) {
		order[0] = by_neighbours;
		order[1] = by_room;
	}
	for (unsigned i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		if (order[i])
			return order[i];
	return 0;
}

int praas_place_node(enum praas_place_policy policy,
		     const struct praas_place_node *nodes, uint32_t count,
		     const struct praas_place_need *need, uint32_t *ret_index)
{
	const struct praas_place_node *best = NULL;
	int rc = -EBUSY;

	for (uint32_t i = 0; i < count; i++) {
		if (nodes[i].drained)
			continue;
		rc = -ENOSPC;
		if (praas_place_node_room(&nodes[i], need) &&
		    (!best || better(policy, &nodes[i], best) > 0))
			best = &nodes[i];
	}
	if (!best)
		return rc;
	*ret_index = (uint32_t)(best - nodes);
	return 0;
}
