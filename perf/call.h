/* SPDX-License-Identifier: Apache-2.0
 *
 * Contenders of ours that call a function of a process over a connection.
 */
#ifndef PRAAS_PERF_CALL_H
#define PRAAS_PERF_CALL_H

#include <praas/client.h>

#include "perf/bench.h"
#include "perf/functions/loop.h"

/* Which process, how reached, which function: the arg of a contender made here. */
struct praas_perf_call {
	const char *app;       /* "inline" or "worker" */
	const char *process;   /* made when missing */
	const char *transport; /* "shm", "tcp" */
	bool direct;           /* shm: past the controller where possible */
	bool apart; /* the controller on the client's core, its workers not */
	const char *function;
	unsigned inflight;      /* 0 or 1: one call after the other */
	struct praas_loop loop; /* for functions that measure by themselves */
	bool fill; /* the whole payload is written before each call, in its time */
};

/* Each operation is a call of size bytes; call is kept until the end of the run. */
void praas_perf_call_contender(struct praas_contender *c, const char *bench,
			       const char *variant, const struct praas_perf_call *call,
			       uint64_t size, uint64_t n);

/* Pipelined: inflight calls under way; a round adds one value, 1000 × ns per call. */
void praas_perf_pipeline_contender(struct praas_contender *c, const char *bench,
				   const char *variant,
				   const struct praas_perf_call *call, uint64_t size,
				   uint64_t n);

/* The function measures: n samples come back with its result. */
void praas_perf_loop_contender(struct praas_contender *c, const char *bench,
			       const char *variant, const struct praas_perf_call *call,
			       uint64_t size, uint64_t n);

/* Opens the connection of a call (and makes its process). */
int praas_perf_call_open(const struct praas_perf_call *call,
			 praas_connection **ret_conn, uint32_t *ret_function);

/* One call of function with that input; the function's error is said on stderr. */
int praas_perf_call_once(praas_connection *conn, const char *function, const void *data,
			 size_t bytes);

#endif
