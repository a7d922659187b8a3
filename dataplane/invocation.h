/* SPDX-License-Identifier: Apache-2.0
 *
 * An invocation: one run of a function, from admission to its result.
 *
 *   ADMITTED ──start──▶ RUNNING ──result──▶ DONE ──reply sent──▶ (kept for dedup)
 *      │  queue full: never admitted, OVERLOADED     │
 *      └──cancel, deadline, drain──▶ DONE            └─ crash, deadline, cancel ▶ DONE
 */
#ifndef PRAAS_DATAPLANE_INVOCATION_H
#define PRAAS_DATAPLANE_INVOCATION_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/timers.h"
#include "praas/types.h"
#include "transport/transport.h"

#define PRAAS_INPUTS_MAX 256u /* messages that one trigger can join */

enum praas_invocation_state {
	PRAAS_INVOCATION_FREE = 0,
	PRAAS_INVOCATION_QUEUED,  /* admitted, waits for an executor */
	PRAAS_INVOCATION_RUNNING, /* with the executor, which alone may end it */
	PRAAS_INVOCATION_DONE     /* result known */
};

struct praas_invocation;

/* Who gets the result. Called once, from the data thread. result may be NULL (empty) and is given.
 * run_ns: time in the function. */
struct praas_invocation_caller {
	void (*done)(void *user, struct praas_invocation *inv, int32_t status,
		     struct praas_buf *result, uint64_t run_ns);
	/* A result buffer that reaches the caller without a copy; -ENOBUFS, -EMSGSIZE. */
	int (*alloc)(void *user, uint64_t bytes, struct praas_buf **ret_buf);
	void *user;
};

struct praas_invocation {
	uint64_t id;     /* chosen by the caller; unique with source within an epoch */
	uint64_t source; /* stamped: process, or client */
	uint64_t deadline_ns; /* CLOCK_MONOTONIC, 0 none */
	uint64_t arrived_ns;  /* with TIMING: when; measured: how long it waited */
	uint16_t function;
	uint8_t state;  /* enum praas_invocation_state; written by the process */
	uint8_t flags;  /* PRAAS_FRAME_…, as it came */
	bool cancelled; /* the caller gave up, or the deadline passed */
	bool answered;  /* the caller has its answer already; what comes is dropped */
	bool special; /* private: its function is not plain, or was not in a stage before */
	bool measured; /* with TIMING: the executor did */
	uint32_t inputs_count;
	uint32_t slot; /* in the invocation table */
	/* One; or, when several run together, NULL, and the leader has inputs_more[0 … inputs_count). */
	struct praas_buf *inputs[1];
	struct praas_buf **inputs_more;
	struct praas_invocation_caller caller;
	struct praas_invocation *next; /* of the queue that holds it */
	uint64_t state_ns;             /* measured: its commit */
	/* Private to the process from here. */
	struct praas_conn *conn;       /* that the call came by, or NULL */
	struct praas_timer timer;      /* its deadline */
	struct praas_invocation *prev; /* of the queue that holds it */
	struct praas_invocation *join; /* others whose inputs this one runs with */
	void *trigger;                 /* accumulator that holds it */
	uint64_t lane_key;             /* of a serial function: what must not overlap */
	uint32_t memo;                 /* remembered id + 1; 0: not remembered */
	uint32_t generation;           /* of the slot: increases with each use */
	uint32_t lane;  /* lane + 1 that it is in or waits for; 0: none */
	uint32_t queue; /* enum praas_invocation_queue */
	bool staged;    /* a function before this one has handed it on */
};

/* Input number index; NULL: an empty one. */
static inline struct praas_buf *praas_invocation_input(
	const struct praas_invocation *inv, uint32_t index)
{
	return inv->inputs_more ? inv->inputs_more[index] : inv->inputs[index];
}

#endif
