/* SPDX-License-Identifier: Apache-2.0
 *
 * When a process counts as idle, and when it is to be swapped out for that. A pure function: no clock,
 * no I/O. The controller has the last word: it refuses when it has worked meanwhile.
 */
#ifndef PRAAS_CONTROL_IDLE_H
#define PRAAS_CONTROL_IDLE_H

#include <stdbool.h>
#include <stdint.h>

struct praas_idle_policy {
	uint64_t after_ns; /* without work: it is called IDLE; 0 never */
	uint64_t swap_ns;  /* without work: it is swapped out; 0 never */
};

struct praas_idle_input {
	bool serving;             /* ACTIVE, and nothing else is asked for */
	uint64_t now_ns;          /* CLOCK_MONOTONIC, as all of these */
	uint64_t since_ns;        /* it serves, or was last asked for something */
	uint64_t told_ns;         /* when its metrics came; 0 never */
	uint64_t idle_ns;         /* of these */
	uint64_t running, queued; /* of these */
	uint32_t calls, waiting;  /* through REST, and for it to serve */
};

enum praas_idle {
	PRAAS_IDLE_BUSY, /* works, has worked lately, or does not serve */
	PRAAS_IDLE_IDLE, /* has had nothing for after_ns */
	PRAAS_IDLE_SWAP  /* has had nothing for swap_ns: may be swapped out */
};

/* ret_quiet_ns: how long it has had nothing to do, as far as known. */
enum praas_idle praas_idle_decide(const struct praas_idle_policy *policy,
				  const struct praas_idle_input *input,
				  uint64_t *ret_quiet_ns);

#endif
