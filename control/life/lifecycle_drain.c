/* SPDX-License-Identifier: Apache-2.0
 *
 * A drained node is emptied: those of its processes that serve go to other nodes, a few at a time, first who has no
 * work, then, when they have had time for it, the others. Who finds no place, or does not get there in some tries, is
 * left to control/life/lifecycle_idle.c, which swaps it out as soon as it has no work; meanwhile it is tried again.
 * All with the lock held.
 */
#include "control/life/lifecycle_private.h"

#include <stdio.h>

#include "internal/base.h"

#define LOOK_NS 500000000u   /* between two looks at who is still there */
#define AGAIN_NS 1000000000u /* until one is tried again; twice that at each failure */
#define AGAIN_DOUBLED_MAX 6u /* at most a minute or so */
#define TRIES_MAX 3u         /* that failed, before it may be swapped out */

static const struct praas_life_node *drained_node(const struct praas_life_process *p)
{
	const struct praas_life_node *node = &p->life->nodes[p->node];

	return p->placed && node->drained ? node : NULL;
}

bool praas_life_drain_left(const struct praas_life_process *p)
{
	const struct praas_life_node *node = drained_node(p);

	return node && (node->swap_out || p->stuck);
}

/* Something is done there, as far as known. */
static bool works(const struct praas_life_process *p)
{
	const struct praas_life_view *m = &p->metrics;

	/* After a restart of ours nothing is known until it is told. */
	return !p->metrics_told || p->calls > 0 || m->running > 0 ||
	       m->queued > praas_min_u64(m->dormant, m->queued);
}

static bool has_time(const struct praas_life_process *p,
		     const struct praas_life_node *node, uint64_t now_ns)
{
	return works(p) && now_ns - node->drain_ns < p->life->config.drain_ns;
}

static void note(struct praas_life_process *p, const char *why)
{
	(void)snprintf(p->life->nodes[p->node].why, PRAAS_LIFE_WHY_BYTES,
		       "%.64s: %.120s", p->record.name, why);
}

/* True: it moves. */
static bool send_away(struct praas_life_process *p, uint64_t now_ns)
{
	struct praas_life *life = p->life;
	struct praas_outcome why;
	uint32_t to;

	if (praas_life_node_elsewhere(p, &to, &why) == 0 &&
	    praas_life_begin_move(p, life->config.nodes->node[to].name, &why) == 0) {
		life->stats.drain_moves++;
		return true;
	}
	note(p, why.text);
	p->stuck = true;
	p->move_again_ns = now_ns + AGAIN_NS;
	return false;
}

static bool look_at(struct praas_life_process *p, uint64_t now_ns)
{
	const struct praas_life_node *node = drained_node(p);

	if (!node || node->swap_out || p->move_again_ns > now_ns ||
	    has_time(p, node, now_ns))
		return false;
	return !praas_life_not_now(p) && send_away(p, now_ns);
}

static uint32_t under_way(const struct praas_life *life)
{
	const struct praas_life_process *p, *next;
	uint32_t n = 0;

	HASH_ITER(hh, life->processes, p, next)
	{
		n += praas_life_moves(p) && drained_node(p);
	}
	return n;
}

static bool any_to_move(const struct praas_life *life)
{
	for (uint32_t i = 0; i < life->config.nodes->count; i++)
		if (life->nodes[i].drained && !life->nodes[i].swap_out &&
		    life->nodes[i].processes > 0)
			return true;
	return false;
}

uint64_t praas_life_drain_look(struct praas_life *life, uint64_t now_ns)
{
	struct praas_life_process *p, *next;
	uint32_t moves;

	if (life->stopping || !any_to_move(life))
		return 0;
	if (life->drain_due_ns > now_ns)
		return life->drain_due_ns;
	moves = under_way(life);
	HASH_ITER(hh, life->processes, p, next)
	{
		if (moves >= life->config.drain_moves)
			break;
		moves += look_at(p, now_ns);
	}
	life->drain_due_ns = now_ns + LOOK_NS;
	return life->drain_due_ns;
}

static void soon(struct praas_life *life)
{
	life->drain_due_ns = 0;
	praas_link_wake(life->link);
}

void praas_life_drain_moved(struct praas_life_process *p, const char *why)
{
	struct praas_life_node *node = &p->life->nodes[p->node];
	bool drained = drained_node(p) != NULL;
	uint64_t now_ns = praas_now_ns();

	p->settled_ns = now_ns;
	if (!why) {
		p->move_tries = 0;
		p->move_failed = 0;
		p->move_again_ns = 0;
		p->stuck = false;
		node->moved += drained && p->node_moves != 0;
	} else {
		p->move_again_ns = now_ns + ((uint64_t)AGAIN_NS << praas_min_u64(
						     p->move_tries, AGAIN_DOUBLED_MAX));
		if (p->move_tries < UINT8_MAX)
			p->move_tries++;
		p->move_failed = p->node_moves;
		p->stuck = drained && p->move_tries >= TRIES_MAX;
		if (drained)
			note(p, why);
	}
	if (drained)
		soon(p->life);
}

void praas_life_drain_silent(struct praas_life_process *p)
{
	if (!drained_node(p))
		return;
	note(p, "the move is over, but its controller does not answer");
	p->stuck = true;
	soon(p->life);
}

void praas_life_drain_anew(struct praas_life *life, uint32_t node)
{
	struct praas_life_process *p, *next;

	life->nodes[node].why[0] = 0;
	HASH_ITER(hh, life->processes, p, next)
	{
		if (!p->placed || p->node != node)
			continue;
		p->stuck = false;
		p->move_tries = 0;
		p->move_failed = 0;
		p->move_again_ns = 0;
	}
	soon(life);
	praas_life_idle_soon(life); /* those without work may be swapped out */
}

void praas_life_drain_count(struct praas_life *life, uint32_t node,
			    struct praas_life_node_view *view)
{
	const struct praas_life_process *p, *next;
	uint64_t now_ns = praas_now_ns();

	HASH_ITER(hh, life->processes, p, next)
	{
		if (!p->placed || p->node != node)
			continue;
		if (praas_life_moves(p))
			view->moving++;
		else if (p->stuck)
			view->stuck++;
		else if (has_time(p, &view->use, now_ns))
			view->busy++;
	}
}
