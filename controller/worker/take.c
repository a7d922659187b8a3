/* SPDX-License-Identifier: Apache-2.0
 *
 * What a worker does before it runs the next call: take it, unless the controller has taken it
 * back, and see to it that the writes of the last one count.
 */
#include <errno.h>

#include "controller/worker/worker.h"

static bool settled(const struct worker *w)
{
	/* commit.A0, pairs with commit.R0: the index shows what was committed. */
	return atomic_load_explicit(&w->end.order->commits, memory_order_acquire) >=
	       w->commits;
}

void worker_settle(struct worker *w)
{
	struct praas_waiter waiter;

	if (praas_likely(settled(w)))
		return;
	praas_waiter_init(&waiter, PRAAS_WAIT_MODE_SPIN);
	waiter.idle = waiter.pauses; /* the controller may need this core */
	while (!settled(w) && !w->end.stopped)
		praas_worker_end_idle(&w->end, &waiter, false); /* never sleeps */
}

/* True: the controller has taken it back. */
static bool withdrawn(struct worker *w)
{
	/* ahead.A1, pairs with ahead.R1: our number is visible before we look at the mark; the
	 * controller's membarrier between its two makes one of us see the other. */
	atomic_store_explicit(&w->end.line->taken, ++w->dispatches,
			      memory_order_relaxed);
	if (praas_unlikely(praas_doorbell_fences))
		praas_doorbell_fence();
	else /* the compiler keeps the order; the controller's fence makes the processor do */
		atomic_signal_fence(memory_order_seq_cst);
	return praas_unlikely(
		atomic_load_explicit(&w->end.order->withdrawn, memory_order_relaxed) >=
		w->dispatches);
}

int worker_take(struct worker *w, struct praas_worker_frame *ret_frame)
{
	for (;;) {
		struct praas_frame f = { .kind = PRAAS_WORKER_SKIPPED };
		int rc = praas_worker_end_next(&w->end, ret_frame);

		if (rc != 0)
			return rc;
		if (ret_frame->head.kind != PRAAS_FRAME_INVOKE)
			return -EPROTO;
		if (!withdrawn(w))
			return 0;
		f.id = ret_frame->head.id;
		f.aux = w->dispatches;
		if (praas_worker_end_push(&w->end, &f, NULL, 0, 0) != 0)
			worker_fatal(w, "cannot say that a call was skipped");
	}
}
