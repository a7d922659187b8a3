/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/life/balance.h"
#include "control/node/nodes.h"

#define G (1ull << 30)
#define NODES 3u
#define PROCESSES 6u
#define NONE 0u /* no process has that number */
#define STAYS (-1)

/* A process of the table: where, whose, how large; its number is its place in the row and 1. */
struct one {
	uint32_t node;
	char app; /* 0: the row ends here */
	uint64_t memory_g, vcpu_milli;
	int busy;
	uint64_t state_bytes;
};

static const struct row {
	const char *what;
	uint64_t memory_g[NODES]; /* of the nodes; 0: not counted */
	uint64_t vcpu_milli[NODES];
	int drained; /* a node; STAYS: none */
	struct one p[PROCESSES];
	struct {
		uint64_t number; /* NONE: nothing moves */
		uint32_t to;
	} expect[PRAAS_PLACE_POLICIES]; /* neighbours, spread, consolidate */
} table[] = {
	{ "one alone is where it is; a node with nothing on it takes nothing in to be "
	  "emptied into",
	  { 8, 8, 8 },
	  { 0 },
	  STAYS,
	  { { 0, 'a', 1, 0, 0, 0 } },
	  { { NONE, 0 }, { NONE, 0 }, { NONE, 0 } } },
	{ "two that are neighbours come together, the one with less state; that leaves "
	  "a node empty",
	  { 8, 8, 8 },
	  { 0 },
	  STAYS,
	  { { 0, 'a', 1, 0, 0, 900 }, { 1, 'a', 1, 0, 0, 100 } },
	  { { 2, 0 }, { NONE, 0 }, { 2, 0 } } },
	{ "to where more are, also if that is fuller",
	  { 8, 8, 8 },
	  { 0 },
	  STAYS,
	  { { 0, 'a', 1, 0, 0, 0 },
	    { 1, 'a', 1, 0, 0, 0 },
	    { 1, 'a', 1, 0, 0, 0 },
	    { 1, 'b', 3, 0, 0, 0 } },
	  { { 1, 1 }, { 4, 2 }, { 1, 1 } } },
	{ "who works stays, also if others would gain",
	  { 8, 8, 8 },
	  { 0 },
	  STAYS,
	  { { 0, 'a', 1, 0, 1, 0 }, { 1, 'a', 7, 0, 1, 0 } },
	  { { NONE, 0 }, { NONE, 0 }, { NONE, 0 } } },
	{ "of two neighbours one works: the other one comes to it; a node is not "
	  "emptied of half",
	  { 8, 8, 8 },
	  { 0 },
	  STAYS,
	  { { 0, 'a', 1, 0, 1, 0 }, { 1, 'a', 1, 0, 0, 0 } },
	  { { 2, 0 }, { NONE, 0 }, { 2, 0 } } },
	{ "where the neighbours are it would be more than 90 percent",
	  { 10, 10, 10 },
	  { 0 },
	  STAYS,
	  { { 0, 'a', 1, 0, 0, 0 }, { 1, 'a', 8, 0, 1, 0 }, { 1, 'a', 1, 0, 1, 0 } },
	  { { NONE, 0 }, { NONE, 0 }, { NONE, 0 } } },
	{ "to 90 percent, and no further",
	  { 10, 10, 10 },
	  { 0 },
	  STAYS,
	  { { 0, 'a', 1, 0, 0, 0 }, { 1, 'a', 8, 0, 1, 0 } },
	  { { 1, 1 }, { NONE, 0 }, { 1, 1 } } },
	{ "a full node gives off what relieves it most; among strangers neighbours are "
	  "as any",
	  { 10, 10, 10 },
	  { 0 },
	  STAYS,
	  { { 0, 'a', 5, 0, 0, 0 }, { 0, 'b', 3, 0, 0, 0 }, { 0, 'c', 1, 0, 0, 0 } },
	  { { 1, 1 }, { 1, 1 }, { NONE, 0 } } },
	{ "the same of one application: apart only to spread",
	  { 10, 10, 10 },
	  { 0 },
	  STAYS,
	  { { 0, 'a', 5, 0, 0, 0 }, { 0, 'a', 3, 0, 0, 0 }, { 0, 'a', 1, 0, 0, 0 } },
	  { { NONE, 0 }, { 1, 1 }, { NONE, 0 } } },
	{ "a gap of 20 percent is one",
	  { 10, 10, 0 },
	  { 0 },
	  STAYS,
	  { { 0, 'a', 1, 0, 0, 0 }, { 0, 'b', 3, 0, 0, 0 }, { 1, 'c', 2, 0, 0, 0 } },
	  { { 1, 1 }, { 1, 1 }, { 3, 0 } } },
	{ "a gap of less is none",
	  { 100, 100, 0 },
	  { 0 },
	  STAYS,
	  { { 0, 'a', 9, 0, 0, 0 }, { 0, 'b', 30, 0, 0, 0 }, { 1, 'c', 20, 0, 0, 0 } },
	  { { NONE, 0 }, { NONE, 0 }, { 3, 0 } } },
	{ "who would only carry the load from one to another stays",
	  { 10, 10, 10 },
	  { 0 },
	  STAYS,
	  { { 0, 'a', 8, 0, 0, 0 } },
	  { { NONE, 0 }, { NONE, 0 }, { NONE, 0 } } },
	{ "processors count as memory does",
	  { 10, 10, 0 },
	  { 4000, 4000, 0 },
	  STAYS,
	  { { 0, 'a', 1, 1000, 0, 0 }, { 0, 'b', 1, 2000, 0, 0 } },
	  { { 1, 1 }, { 1, 1 }, { NONE, 0 } } },
	{ "nothing is counted: neighbours only",
	  { 0 },
	  { 0 },
	  STAYS,
	  { { 0, 'a', 1, 1000, 0, 0 },
	    { 0, 'b', 1, 2000, 0, 0 },
	    { 0, 'c', 1, 0, 0, 0 },
	    { 1, 'c', 1, 0, 0, 5 } },
	  { { 3, 1 }, { NONE, 0 }, { NONE, 0 } } },
	{ "a drained node gets nothing, and others see to what is there",
	  { 8, 8, 8 },
	  { 0 },
	  1,
	  { { 0, 'a', 1, 0, 0, 0 }, { 1, 'a', 1, 0, 0, 0 }, { 1, 'a', 1, 0, 0, 0 } },
	  { { NONE, 0 }, { NONE, 0 }, { NONE, 0 } } },
	{ "all of the emptiest node fit on the others, the largest first, to the "
	  "fullest",
	  { 10, 10, 10 },
	  { 0 },
	  STAYS,
	  { { 0, 'a', 1, 0, 0, 0 },
	    { 0, 'b', 2, 0, 0, 0 },
	    { 1, 'c', 7, 0, 0, 0 },
	    { 2, 'd', 5, 0, 0, 0 } },
	  { { NONE, 0 }, { NONE, 0 }, { 2, 1 } } },
	{ "not all fit: it is left as it is",
	  { 10, 10, 10 },
	  { 0 },
	  STAYS,
	  { { 0, 'a', 3, 0, 0, 0 },
	    { 0, 'b', 1, 0, 0, 0 },
	    { 1, 'c', 7, 0, 0, 0 },
	    { 2, 'd', 7, 0, 0, 0 } },
	  { { NONE, 0 }, { NONE, 0 }, { NONE, 0 } } },
	{ "the emptiest has one that works: the next one is emptied, but not into it",
	  { 10, 10, 10 },
	  { 0 },
	  STAYS,
	  { { 0, 'a', 1, 0, 1, 0 }, { 1, 'b', 2, 0, 0, 0 }, { 2, 'c', 3, 0, 0, 0 } },
	  { { NONE, 0 }, { NONE, 0 }, { 2, 2 } } },
	{ "more is taken than there is, after a restart with less",
	  { 2, 10, 0 },
	  { 0 },
	  STAYS,
	  { { 0, 'a', 4, 0, 0, 0 }, { 0, 'b', 3, 0, 0, 0 } },
	  { { 1, 1 }, { 1, 1 }, { NONE, 0 } } },
};

static void put_down(const struct row *r, struct praas_place_node nodes[NODES],
		     struct praas_balance_process p[PROCESSES], uint32_t *ret_count)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < NODES; i++)
		nodes[i] =
			(struct praas_place_node){ .memory_bytes = r->memory_g[i] * G,
						   .vcpu_milli = r->vcpu_milli[i],
						   .drained = r->drained == (int)i };
	for (; n < PROCESSES && r->p[n].app; n++) {
		const struct one *o = &r->p[n];

		p[n] = (struct praas_balance_process){ .number = n + 1,
						       .memory_bytes = o->memory_g * G,
						       .vcpu_milli = o->vcpu_milli,
						       .state_bytes = o->state_bytes,
						       .app = { (uint8_t)o->app },
						       .node = o->node,
						       .movable = !o->busy };
		nodes[o->node].memory_used += p[n].memory_bytes;
		nodes[o->node].vcpu_used += p[n].vcpu_milli;
		nodes[o->node].processes++;
	}
	*ret_count = n;
}

/* What moves, under each policy. */
static void test_balance_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		for (int k = 0; k < PRAAS_PLACE_POLICIES; k++) {
			struct praas_balance_policy policy = {
				.placement = (enum praas_place_policy)k,
				.gap = 20,
				.full = 90
			};
			struct praas_balance_process p[PROCESSES];
			struct praas_balance_move move = { .number = NONE, .to = 0 };
			struct praas_place_node nodes[NODES];
			uint32_t count;

			put_down(&table[i], nodes, p, &count);
			(void)praas_balance_next(&policy, nodes, NODES, p, count,
						 &move);
			if (move.number != table[i].expect[k].number ||
			    move.to != table[i].expect[k].to)
				fail_msg("%s: %s: process %d to node %d, not %d to %d",
					 praas_place_policy_text(policy.placement),
					 table[i].what, (int)move.number, (int)move.to,
					 (int)table[i].expect[k].number,
					 (int)table[i].expect[k].to);
		}
}

/* ---- from anywhere --------------------------------------------------------------------- */

#define MANY 24u
#define TRIES 3000
#define MOVES_MAX (MANY * 8)

static uint64_t seed = 88172645463325252u;

static uint32_t chance(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 33) % below;
}

static void throw(struct praas_place_node * nodes, uint32_t count,
		  struct praas_balance_process *p, uint32_t *ret_count)
{
	uint32_t n = 1 + chance(MANY);

	for (uint32_t i = 0; i < count; i++)
		nodes[i] = (struct praas_place_node){
			.memory_bytes = chance(5) ? (4 + chance(60)) * G : 0,
			.vcpu_milli = chance(3) ? 0 : 1000 * (1 + chance(16)),
			.drained = chance(8) == 0
		};
	for (uint32_t i = 0; i < n; i++) {
		p[i] = (struct praas_balance_process){
			.number = i + 1,
			.memory_bytes = (1 + chance(4)) * G,
			.vcpu_milli = chance(3) ? 0 : 500 * chance(4),
			.state_bytes = chance(3),
			.app = { (uint8_t)chance(5) },
			.node = chance(count),
			.movable = chance(5) != 0
		};
		nodes[p[i].node].memory_used += p[i].memory_bytes;
		nodes[p[i].node].vcpu_used += p[i].vcpu_milli;
		nodes[p[i].node].processes++;
	}
	*ret_count = n;
}

/* A move that is right, made. */
static void make(struct praas_place_node *nodes, uint32_t count,
		 struct praas_balance_process *p, uint32_t n,
		 const struct praas_balance_move *move)
{
	struct praas_balance_process *q = p;
	struct praas_place_need need;

	while (q < p + n && q->number != move->number)
		q++;
	assert_true(q < p + n);
	assert_true(q->movable);
	assert_true(move->to < count && move->to != q->node);
	assert_false(nodes[move->to].drained || nodes[q->node].drained);
	need = (struct praas_place_need){ q->memory_bytes, q->vcpu_milli };
	assert_true(praas_place_node_room(&nodes[move->to], &need));
	nodes[q->node].memory_used -= q->memory_bytes;
	nodes[q->node].vcpu_used -= q->vcpu_milli;
	nodes[q->node].processes--;
	q->node = move->to;
	nodes[q->node].memory_used += q->memory_bytes;
	nodes[q->node].vcpu_used += q->vcpu_milli;
	nodes[q->node].processes++;
}

/* From any beginning the moves come to an end, soon; each is one that may be made. */
static void test_balance_ends(void **state)
{
	uint32_t longest = 0;

	(void)state;
	for (int i = 0; i < TRIES; i++) {
		struct praas_balance_policy policy = {
			.placement = (enum praas_place_policy)chance(3),
			.gap = 1 + chance(30),
			.full = 50 + chance(51)
		};
		struct praas_place_node nodes[8];
		struct praas_balance_process p[MANY];
		struct praas_balance_move move;
		uint32_t count = 2 + chance(7), n, moves = 0;

		throw(nodes, count, p, &n);
		while (praas_balance_next(&policy, nodes, count, p, n, &move)) {
			make(nodes, count, p, n, &move);
			if (++moves > MOVES_MAX)
				fail_msg("%s: it never ends",
					 praas_place_policy_text(policy.placement));
		}
		if (moves > longest)
			longest = moves;
	}
	assert_true(longest > 3); /* else nothing was tried */
}

/* Whoever asks twice gets the same answer, whatever the order of processes. */
static void test_balance_order(void **state)
{
	(void)state;
	for (int i = 0; i < TRIES; i++) {
		struct praas_balance_policy policy = {
			.placement = (enum praas_place_policy)chance(3),
			.gap = 10,
			.full = 100
		};
		struct praas_place_node nodes[5];
		struct praas_balance_process p[MANY];
		struct praas_balance_move a = { .number = NONE }, b = a;
		uint32_t n;
		bool one, two;

		throw(nodes, 5, p, &n);
		one = praas_balance_next(&policy, nodes, 5, p, n, &a);
		for (uint32_t k = n; k > 1; k--) {
			struct praas_balance_process swap = p[k - 1];
			uint32_t other = chance(k);

			p[k - 1] = p[other];
			p[other] = swap;
		}
		two = praas_balance_next(&policy, nodes, 5, p, n, &b);
		assert_int_equal(one, two);
		assert_int_equal(a.number, b.number);
		assert_int_equal(a.to, b.to);
	}
}

/* Nothing to choose from is no move. */
static void test_balance_nothing(void **state)
{
	struct praas_balance_policy policy = { .gap = 20, .full = 90 };
	struct praas_place_node one = { .memory_bytes = G, .memory_used = G };
	struct praas_balance_process p = { .number = 1,
					   .memory_bytes = G,
					   .movable = true };
	struct praas_balance_move move;

	(void)state;
	for (int k = 0; k < PRAAS_PLACE_POLICIES; k++) {
		policy.placement = (enum praas_place_policy)k;
		assert_false(praas_balance_next(&policy, &one, 1, &p, 1, &move));
		assert_false(praas_balance_next(&policy, &one, 1, &p, 0, &move));
		assert_false(praas_balance_next(&policy, &one, 0, &p, 0, &move));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_balance_table),
		cmocka_unit_test(test_balance_ends),
		cmocka_unit_test(test_balance_order),
		cmocka_unit_test(test_balance_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
