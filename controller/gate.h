/* SPDX-License-Identifier: Apache-2.0
 *
 * The output gate (docs/journal.md): what a process says to others waits until all that it may follow from
 * is durable. A connection in it has another send(): frames stand in a queue of their own, in their order,
 * each with the number of the log's record that must be durable first. Data thread only.
 */
#ifndef PRAAS_CONTROLLER_GATE_H
#define PRAAS_CONTROLLER_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/transport.h"

#define PRAAS_GATE_BYTES_MAX                                                           \
	(16u << 20) /* that wait for one connection; then -EAGAIN */

struct praas_gate_conn;

struct praas_gate {
	bool all; /* everything waits; else replies alone: what was put or sent is acknowledged by them */
	struct praas_gate_conn *conns; /* all that are in it */
	uint64_t frames;               /* that wait */
	bool fresh;                    /* some of this turn, which is not over */
	uint64_t due; /* of these: may go, but their connections have no room */
};

/* From now on conn sends through the gate, until it ends. Once opened. 0; -ENOMEM. */
int praas_gate_add(struct praas_gate *gate, struct praas_conn *conn);

/* A turn is over: what was sent in it waits for record number last; what waits for no more than durable
 * goes. Returns the frames that went. */
unsigned praas_gate_turn(struct praas_gate *gate, uint64_t last, uint64_t durable);

/* The least number that a frame waits for; UINT64_MAX: none does. Not of those that are due. */
uint64_t praas_gate_first(const struct praas_gate *gate);

#endif
