/* SPDX-License-Identifier: Apache-2.0
 *
 * Which process gets an invocation that names none. A pure function: no time, no I/O.
 */
#ifndef PRAAS_CONTROL_PLACE_H
#define PRAAS_CONTROL_PLACE_H

#include <stdbool.h>
#include <stdint.h>

struct praas_place_candidate {
	uint64_t number;      /* of the process */
	uint32_t load;        /* invocations running, queued or on their way there */
	uint32_t concurrency; /* that it runs at once, at least 1 */
	uint8_t state;        /* enum praas_life_state */
	bool leaves;          /* its node is drained: it is to come to have no work */
};

enum praas_place_choice {
	PRAAS_PLACE_USE,    /* ret_number */
	PRAAS_PLACE_CREATE, /* all that serve are busy: one more */
	PRAAS_PLACE_FULL /* all are busy far beyond their queues, and no more may be made */
};

/* Consolidates: the fullest process that still has a free worker, of a drained node last; then one that is starting; then a
 * new one while there are fewer than processes_max; then the one with the shortest queue. A
 * swapped process is never chosen: its owner names it. */
enum praas_place_choice praas_place_invoke(
	const struct praas_place_candidate *candidates, uint32_t count,
	uint32_t processes_max, uint32_t queue_max, uint64_t *ret_number);

#endif
