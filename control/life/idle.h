/* SPDX-License-Identifier: Apache-2.0
 *
 * When a process counts as idle, and when it is to be swapped out: because it has had nothing to do, or next
 * to nothing, or because others need its memory more. Pure functions: no clock, no I/O. One that works is
 * never chosen, and the controller has the last word: it refuses when it has worked meanwhile.
 */
#ifndef PRAAS_CONTROL_IDLE_H
#define PRAAS_CONTROL_IDLE_H

#include <stdbool.h>
#include <stdint.h>

struct praas_idle_policy {
	uint64_t after_ns;  /* without work: it is called IDLE; 0 never */
	uint64_t swap_ns;   /* without work: it is swapped out; 0 never */
	uint64_t calls_max; /* at most so many within swap_ns are as none */
	uint32_t
		pressure; /* percent of a node's memory above which idle ones make room; 0 never */
};

struct praas_idle_input {
	bool serving;             /* ACTIVE, and nothing else is asked for */
	uint64_t now_ns;          /* CLOCK_MONOTONIC, as all of these */
	uint64_t since_ns;        /* it serves, or was last asked for something */
	uint64_t told_ns;         /* when its metrics came; 0 never */
	uint64_t idle_ns;         /* of these */
	uint64_t running, queued; /* of these */
	uint32_t calls, waiting;  /* through REST, and for it to serve */
	uint64_t window_ns;       /* how long invocations have been counted */
	uint64_t window_calls;    /* how many there were, of the data plane too */
};

enum praas_idle {
	PRAAS_IDLE_BUSY, /* works, has worked lately, or does not serve */
	PRAAS_IDLE_IDLE, /* has had nothing for after_ns */
	PRAAS_IDLE_SWAP, /* has had nothing for swap_ns: may be swapped out */
	PRAAS_IDLE_SLOW /* has had at most calls_max in swap_ns, and nothing right now: the same */
};

/* ret_quiet_ns: how long it has had nothing to do, as far as known. */
enum praas_idle praas_idle_decide(const struct praas_idle_policy *policy,
				  const struct praas_idle_input *input,
				  uint64_t *ret_quiet_ns);

/* An idle process on a node that is short of memory. */
struct praas_idle_candidate {
	uint64_t quiet_ns, memory_bytes;
	uint64_t number; /* of the process */
};

/**
 * Which are to be swapped out so that no more than policy's share of a node's memory is used: those that have had
 * nothing to do for longest (the larger one among equals), and no more of them than it takes.
 *
 * memory_bytes  of the node; 0: not counted, so nothing is short
 * used_bytes    without what is being swapped out already
 * candidates    that have had nothing for policy's after_ns; brought into the order in which they go
 *
 * Returns how many go, from the first on.
 */
uint32_t praas_idle_relieve(const struct praas_idle_policy *policy,
			    uint64_t memory_bytes, uint64_t used_bytes,
			    struct praas_idle_candidate *candidates, uint32_t count);

#endif
