/* SPDX-License-Identifier: Apache-2.0
 *
 * What is kept of a process without being asked for: "durability" of its application (docs/rest.md). Its last
 * snapshot, "swap"; at most so much older a one while it serves, "checkpoint:T"; or all that was acknowledged, by a log, "journal" and "gate" (docs/journal.md).
 * Pure functions: no clock, no I/O.
 */
#ifndef PRAAS_CONTROL_CHECKPOINT_H
#define PRAAS_CONTROL_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#define PRAAS_DURABILITY_BYTES 32u

/* "swap", "journal", "gate" (PRAAS_CHECKPOINT_…), or "checkpoint:" and a whole number of ms, s, m or h from PRAAS_LIMIT_CHECKPOINT_MIN_MS to
 * PRAAS_LIMIT_CHECKPOINT_MS. ret_ms: T in milliseconds; 0 never. False: it is none of these. */
bool praas_durability_parse(const char *text, uint32_t *ret_ms);

/* The text of which praas_durability_parse() makes ms. */
void praas_durability_text(uint32_t ms, char ret_text[PRAAS_DURABILITY_BYTES]);

struct praas_checkpoint_input {
	bool joined;     /* it serves, or is about to end or to move */
	bool ready;      /* ACTIVE, and nothing else is asked for */
	bool running;    /* a function does, by its metrics */
	uint64_t now_ns; /* CLOCK_MONOTONIC, as all of these */
	uint64_t
		kept_ns; /* when it was last asked for a snapshot that was made, or began to serve */
	uint64_t told_ns;  /* when its metrics came; 0 never */
	uint64_t idle_ns;  /* of these */
	uint32_t every_ms; /* T; 0 never */
};

/* Whether one is due. It is not while nothing was done since the last: a process that rests is not written
 * again and again. ret_next_ns: when to look again; 0 never. */
bool praas_checkpoint_due(const struct praas_checkpoint_input *input,
			  uint64_t *ret_next_ns);

#endif
