/* SPDX-License-Identifier: Apache-2.0
 *
 * The clock of run times, and what the worker tells of them without a message.
 */
#include "controller/worker/worker.h"

#define LOOKS 8u          /* at most, for two clocks read at the same time */
#define CLOSE_PARTS 1000u /* of the time measured: by so little may they be apart */

/* Both clocks at once: who loses the core between two readings looks again. Returns by how many
 * ticks they may be apart. */
static uint64_t read_both(uint64_t *ret_ticks, uint64_t *ret_ns)
{
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < LOOKS; i++) {
		uint64_t before = worker_ticks();
		uint64_t ns = praas_now_ns();
		uint64_t apart = worker_ticks() - before;

		if (apart < best) {
			best = apart;
			*ret_ticks = before;
			*ret_ns = ns;
		}
	}
	return best;
}

void worker_clock_start(struct worker *w)
{
	w->tsc_apart = read_both(&w->tsc_start, &w->ns_start);
	w->ns_per_tick = 1.0;
}

void worker_clock_learn(struct worker *w)
{
	uint64_t ticks, ns;
	uint64_t apart = read_both(&ticks, &ns) + w->tsc_apart;

	ticks -= w->tsc_start;
	ns -= w->ns_start;
	/* A short time measured by clocks that are far apart would make every run time wrong, and a
	 * worker that is never idle does not learn again. */
	if (ns != 0 && apart <= ticks / CLOSE_PARTS)
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
