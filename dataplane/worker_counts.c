/* SPDX-License-Identifier: Apache-2.0
 *
 * What functions did without the controller: direct calls, and those that ran in place. A worker writes
 * a line for each function in its arena; the data thread adds what has been added there to the counts of
 * the process, now and then.
 *
 * A worker's word: what it tells never makes a count smaller, and is believed no further than a worker
 * can have come since it began to live.
 */
#include <string.h>

#include "dataplane/worker_private.h"

#define CALL_NS_MIN 10u          /* no call is faster */
#define SUM_MAX (UINT64_MAX / 4) /* no word goes round, however many lives lie */
#define ERROR_BYTES_MAX 4096u    /* an error text is a result, too */

void wx_counts_begin(struct wx_worker *w)
{
	struct wx *ex = w->ex;

	w->counts =
		(const void *)(w->arena->segment.base + w->arena->data_from -
			       praas_worker_counts_bytes(ex->config.functions_count));
	w->life_ns = praas_now_ns();
	memset(w->counted, 0, ex->config.functions_count * sizeof(*w->counted));
}

/* What it can have come to until now, at most. */
static struct wx_counts most(const struct wx_worker *w, uint64_t now_ns)
{
	uint64_t lived_ns = now_ns - w->life_ns, bytes;
	struct wx_counts m = { .calls = lived_ns / CALL_NS_MIN,
			       .errors = lived_ns / CALL_NS_MIN,
			       .run_ns = lived_ns * PRAAS_WORKER_DEPTH_MAX };

	bytes = praas_max_u64(w->ex->config.bytes_max, ERROR_BYTES_MAX);
	m.bytes_in = m.calls > SUM_MAX / bytes ? SUM_MAX : m.calls * bytes;
	m.bytes_out = m.bytes_in;
	return m;
}

static void fold_word(uint64_t *sum, uint64_t *counted, const _Atomic uint64_t *told,
		      uint64_t max)
{
	uint64_t value =
		praas_min_u64(atomic_load_explicit(told, memory_order_relaxed), max);

	if (value <= *counted || *sum > SUM_MAX)
		return;
	*sum += value - *counted;
	*counted = value;
}

static void fold(struct wx_worker *w)
{
	struct praas_function_sums *sums = praas_process_sums(w->ex->base.process);
	struct wx_counts m = most(w, praas_now_ns());

	for (uint32_t i = 0; i < w->ex->config.functions_count; i++) {
		struct praas_function_sums *to = &sums[i];
		const struct praas_function_counts *from = &w->counts[i];
		struct wx_counts *c = &w->counted[i];

		fold_word(&to->calls, &c->calls, &from->calls, m.calls);
		/* No more of them than calls. */
		fold_word(&to->errors, &c->errors, &from->errors, c->calls);
		fold_word(&to->bytes_in, &c->bytes_in, &from->bytes_in, m.bytes_in);
		fold_word(&to->bytes_out, &c->bytes_out, &from->bytes_out, m.bytes_out);
		fold_word(&to->run_ns, &c->run_ns, &from->run_ns, m.run_ns);
	}
}

void wx_counts_last(struct wx_worker *w)
{
	struct praas_function_sums *sums;
	struct wx_direct_run run;
	uint64_t function;

	if (!w->line)
		return;
	fold(w);
	function =
		atomic_load_explicit(&w->line->direct_function, memory_order_relaxed);
	if (function >= w->ex->config.functions_count || !wx_direct_running(w, &run))
		return;
	/* It did not come to its end. */
	sums = &praas_process_sums(w->ex->base.process)[function];
	sums->calls++;
	sums->errors++;
}

void praas_worker_executor_count(struct praas_executor *base)
{
	struct wx *ex = wx_of(base);

	for (uint32_t i = 0; i < ex->config.workers; i++)
		if (ex->workers[i].line)
			fold(&ex->workers[i]);
}
