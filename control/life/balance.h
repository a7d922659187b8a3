/* SPDX-License-Identifier: Apache-2.0
 *
 * Which process that serves goes to another node, so that the whole is better: one at a time. Pure functions: no
 * clock, no I/O. Nothing ever goes back and forth: of unchanged processes each move brings the whole nearer to where
 * no more are made, whatever the order (tests/unit/test_balance.c tries it from random beginnings).
 */
#ifndef PRAAS_CONTROL_BALANCE_H
#define PRAAS_CONTROL_BALANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "control/life/place_node.h"
#include "control/records/records.h"

#define PRAAS_BALANCE_PROCESSES_MAX 16384u /* as many controllers as can be linked */

struct praas_balance_policy {
	enum praas_place_policy placement;
	uint32_t
		gap; /* percent of a node between two, from which one is spread; at least 1 */
	uint32_t full; /* percent that a node is filled to at most; 1 … 100 */
};

struct praas_balance_process {
	uint64_t number;
	uint64_t memory_bytes, vcpu_milli; /* as it counts on its node */
	uint64_t state_bytes;              /* that a move has to carry */
	uint8_t app[PRAAS_RECORD_ID_BYTES];
	uint32_t node; /* an index */
	bool movable;  /* serves, has no work, and has been there for long enough */
};

struct praas_balance_move {
	uint64_t number;
	uint32_t to; /* a node */
};

/**
 * The one move that is worth most; the share of a node is the larger one of what is taken of its memory and of its
 * processors. A node of which nothing is counted is neither spread to nor from, emptied nor filled.
 *
 * NEIGHBOURS    to where more of its application are than where it is (the most more); when there is none, as SPREAD
 *               among nodes with as many of its application
 * SPREAD        from a node to one of which `gap` percent less is taken, if the larger one of the two shares falls by
 *               that: the one by which it falls most
 * CONSOLIDATE   from the node with the smallest share of which all processes are movable and fit on nodes of larger
 *               ones: the largest of them, to where least is left
 * Among equals: the least state, then the lowest number. Drained nodes are left alone: others see to them.
 *
 * nodes      count, at most PRAAS_NODES_MAX; neighbours and last are not looked at
 * processes  all that have a controller; brought into another order
 *
 * Returns whether there is one.
 */
bool praas_balance_next(const struct praas_balance_policy *policy,
			const struct praas_place_node *nodes, uint32_t count,
			struct praas_balance_process *processes,
			uint32_t processes_count, struct praas_balance_move *ret_move);

#endif
