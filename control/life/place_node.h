/* SPDX-License-Identifier: Apache-2.0
 *
 * Which node a process is started on. A pure function: no time, no I/O.
 */
#ifndef PRAAS_CONTROL_PLACE_NODE_H
#define PRAAS_CONTROL_PLACE_NODE_H

#include <stdbool.h>
#include <stdint.h>

enum praas_place_policy {
	PRAAS_PLACE_NEIGHBOURS,  /* where most of its application are; else as SPREAD */
	PRAAS_PLACE_SPREAD,      /* where most is left */
	PRAAS_PLACE_CONSOLIDATE, /* where least is left and it still fits */
	PRAAS_PLACE_POLICIES
};
/* "neighbours", … */
const char *praas_place_policy_text(enum praas_place_policy policy);
/* 0; -EINVAL. */
int praas_place_policy_parse(const char *text, enum praas_place_policy *ret_policy);

struct praas_place_node {
	uint64_t memory_bytes, memory_used; /* bytes 0: not counted */
	uint64_t vcpu_milli, vcpu_used;     /* milli 0: not counted */
	uint32_t processes;                 /* that have a controller there */
	uint32_t neighbours;                /* of these, of the same application */
	bool drained;                       /* gets nothing new */
	bool last;                          /* the process was there the last time */
};

struct praas_place_need {
	uint64_t memory_bytes;
	uint64_t vcpu_milli; /* 0: as much as there is, not counted */
};

/* Whether a process fits there, drained or not. */
bool praas_place_node_room(const struct praas_place_node *node,
			   const struct praas_place_need *need);

/**
 * What is left is the smaller of what is left of memory and of processors, as a share of what there is. Among
 * equals: more neighbours (SPREAD: fewer), fewer processes (CONSOLIDATE: more), where it was the last
 * time, the first.
 *
 * 0; -ENOSPC no node has room; -EBUSY all are drained (or there are none).
 */
int praas_place_node(enum praas_place_policy policy,
		     const struct praas_place_node *nodes, uint32_t count,
		     const struct praas_place_need *need, uint32_t *ret_index);

#endif
