/* SPDX-License-Identifier: Apache-2.0
 *
 * Doorbell and waiting. One doorbell per consumer: a word in the consumer's own segment that
 * says whether it sleeps, and an eventfd that wakes it. A producer looks at the word after
 * each push (a load that hits its cache while the consumer is awake) and writes the eventfd
 * only when it must.
 *
 * The store of a message and the load of the word must not be reordered, nor the store of the
 * word and the last look at the rings. The sleeper pays for both: membarrier(2) with the
 * GLOBAL_EXPEDITED command runs a full fence on every registered producer, so that the
 * producer's side needs only to keep the compiler from reordering. Where the kernel lacks it
 * producers fence (docs/memory-order.md). Nobody ever waits on a word that a peer writes.
 */
#ifndef PRAAS_SHM_DOORBELL_H
#define PRAAS_SHM_DOORBELL_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "internal/base.h"

/* In the consumer's segment, written by it alone. */
struct praas_doorbell_shared {
	alignas(64) _Atomic uint32_t sleeping; /* 1 while it sleeps or is about to */
	uint32_t pad[15];
};

enum praas_wait_mode {
	PRAAS_WAIT_MODE_ADAPTIVE = 0, /* poll → poll with sched_yield → sleep */
	PRAAS_WAIT_MODE_SPIN,         /* never sleeps; yields when cores are short */
	PRAAS_WAIT_MODE_BLOCK         /* sleeps at once */
};

/* Once per process image, before the first doorbell is used: registers for membarrier. */
int praas_doorbell_setup(void);

/* True when producers must fence themselves (no membarrier). Set by setup. */
extern bool praas_doorbell_fences;

/* The consumer's side. */
struct praas_doorbell {
	struct praas_doorbell_shared *shared;
	int event_fd; /* non-blocking eventfd; borrowed */
};

/* The producer's side. */
struct praas_bell {
	const struct praas_doorbell_shared *shared; /* peer's, read-only */
	int event_fd;
};

PRAAS_COLD void praas_bell_wake(const struct praas_bell *bell);

/* After a push: wake the consumer if it sleeps. One load in the common case. */
static inline void praas_bell_ring(const struct praas_bell *bell)
{
	if (praas_unlikely(praas_doorbell_fences))
		atomic_thread_fence(memory_order_seq_cst);
	else
		atomic_signal_fence(memory_order_seq_cst);
	/* doorbell.A0, pairs with doorbell.R0 (and the fence the sleeper sends us). */
	if (praas_unlikely(atomic_load_explicit(&bell->shared->sleeping,
						memory_order_relaxed) != 0))
		praas_bell_wake(bell);
}

/* Say that we sleep and fence everybody; then look at all rings once more, and sleep only if
 * nothing is there; praas_doorbell_awake() in either case. */
void praas_doorbell_prepare(struct praas_doorbell *bell);
void praas_doorbell_awake(struct praas_doorbell *bell);

/* The waiting policy of one polling loop; private memory. */
struct praas_waiter {
	enum praas_wait_mode mode;
	uint32_t idle;          /* empty turns since the last work */
	uint64_t idle_since_ns; /* 0 while busy */
	uint64_t spin_ns;       /* how long to poll before the first yield; learned */
	uint64_t yield_ns;      /* how long to yield before sleeping; learned */
	uint64_t sleeps;        /* counter */
};

enum praas_wait_step {
	PRAAS_WAIT_POLL, /* look again */
	PRAAS_WAIT_SLEEP /* it is time to prepare and sleep */
};

void praas_waiter_init(struct praas_waiter *w, enum praas_wait_mode mode);
/* There was work. */
static inline void praas_waiter_busy(struct praas_waiter *w)
{
	w->idle = 0;
}
PRAAS_COLD enum praas_wait_step praas_waiter_idle_slow(struct praas_waiter *w);
/* There was none: pauses or yields, and says when to sleep. */
static inline enum praas_wait_step praas_waiter_idle(struct praas_waiter *w)
{
	if (praas_likely(++w->idle & 63u) && w->mode != PRAAS_WAIT_MODE_BLOCK) {
		praas_pause();
		return PRAAS_WAIT_POLL;
	}
	return praas_waiter_idle_slow(w);
}

/* Sleep until one of fds is readable (the doorbell's eventfd is added and drained) or
 * timeout_ns passed (negative: none). Returns 0 or -ETIMEDOUT, -EINTR. */
int praas_doorbell_sleep(struct praas_doorbell *bell, const int *fds, unsigned fds_count,
			 int64_t timeout_ns);

#endif
