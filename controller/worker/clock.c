/* SPDX-License-Identifier: Apache-2.0
 *
 * The clock of run times, and what the worker tells of them without a message.
 */
#include "controller/worker/worker.h"

void worker_clock_start(struct worker *w)
{
	w->tsc_start = worker_ticks();
	w->ns_start = praas_now_ns();
	w->ns_per_tick = 1.0;
}

void worker_clock_learn(struct worker *w)
{
	uint64_t ticks = worker_ticks() - w->tsc_start;
	uint64_t ns = praas_now_ns() - w->ns_start;

	if (ticks != 0 && ns != 0)
		w->ns_per_tick = (double)ns / (double)ticks;
}

void worker_tell_counters(struct worker *w)
{
	struct praas_worker_line *line = w->end.line;

	atomic_store_explicit(&line->calls, w->runs, memory_order_relaxed);
	atomic_store_explicit(&line->direct_calls, w->direct_runs,
			      memory_order_relaxed);
	atomic_store_explicit(&line->direct_failures, w->direct_failures,
			      memory_order_relaxed);
	atomic_store_explicit(&line->direct_in, w->direct_in, memory_order_relaxed);
	atomic_store_explicit(&line->direct_out, w->direct_out, memory_order_relaxed);
	atomic_store_explicit(&line->nested_calls, w->nested_runs,
			      memory_order_relaxed);
	atomic_store_explicit(&line->busy_ns, w->busy_ns, memory_order_relaxed);
	atomic_store_explicit(&line->copies, w->copies, memory_order_relaxed);
}
