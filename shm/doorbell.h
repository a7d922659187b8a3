/* SPDX-License-Identifier: Apache-2.0
 *
 * Doorbell and waiting. One doorbell per consumer: a word in the consumer's own segment
 * that says whether it sleeps, and an eventfd that wakes it. A producer looks at the
 * word after each push (a load that hits its cache while the consumer is awake) and
 * writes the eventfd only when it must.
 *
 * The store of a message and the load of the word must not be reordered, nor the store
 * of the word and the last look at the rings. The sleeper pays for both: membarrier(2)
 * with the GLOBAL_EXPEDITED command runs a full fence on every registered producer, so
 * that the producer's side needs only to keep the compiler from reordering. Where the
 * kernel lacks it producers fence (docs/memory-order.md). Nobody ever waits on a word
 * that a peer writes.
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
	/* 0 awake; else it sleeps or is about to, and the number tells this sleep from
	 * the last, so that a producer rings once a sleep and not once a message. */
	alignas(64) _Atomic uint32_t sleeping;
	uint32_t pad[15];
};

enum praas_wait_mode {
	PRAAS_WAIT_MODE_ADAPTIVE = 0, /* poll → poll with sched_yield → sleep */
	PRAAS_WAIT_MODE_SPIN,         /* never sleeps; yields when cores are short */
	PRAAS_WAIT_MODE_BLOCK         /* sleeps at once */
};

#define PRAAS_DOORBELL_FDS_MAX 80u /* that one sleep can watch beside the doorbell */

/* Before the first doorbell is used: registers for membarrier and counts the cores, once per
 * process image, whichever thread comes first; later calls change nothing. Always 0: without membarrier producers
 * fence themselves. All processes of a host must be allowed membarrier(2), or none. */
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
	int event_fd;                               /* borrowed */
	uint32_t rung;                              /* the sleep that we ended last */
	bool is_socket;                             /* event_fd is one */
};

/* event_fd wakes the peer: an eventfd, or our end of a socket pair. The flags of an
 * eventfd are shared with all who hold it: where the peer may be hostile and we must
 * never wait, take a socket (a peer could fill an eventfd's count and make our write
 * wait). */
void praas_bell_init(struct praas_bell *bell,
		     const struct praas_doorbell_shared *shared, int event_fd);

/* Out of line for what is rare: a full fence; the eventfd of the sleep numbered
 * sleeping. */
PRAAS_COLD void praas_doorbell_fence(void);
PRAAS_COLD void praas_bell_wake(struct praas_bell *bell, uint32_t sleeping);

/* After a push: wake the consumer if it sleeps. One load in the common case. */
static inline void praas_bell_ring(struct praas_bell *bell)
{
	uint32_t sleeping;

	/* The sleeper's membarrier fences us; only the compiler is to be kept in order.
	 */
	if (praas_unlikely(praas_doorbell_fences))
		praas_doorbell_fence();
	else
		atomic_signal_fence(memory_order_seq_cst);
	/* doorbell.A0, pairs with doorbell.R0 (and the fence the sleeper sends us):
	 * either we see that it sleeps, or it sees what we pushed. */
	sleeping = atomic_load_explicit(&bell->shared->sleeping, memory_order_relaxed);
	if (praas_unlikely(sleeping != 0))
		praas_bell_wake(bell, sleeping);
}

/* Say that we sleep and fence everybody; then look at all rings once more, and sleep
 * only if nothing is there; praas_doorbell_awake() in either case, before the next
 * prepare. */
void praas_doorbell_prepare(struct praas_doorbell *bell);
void praas_doorbell_awake(struct praas_doorbell *bell);

/* prepare() in two, for who sleeps on several doorbells at once (one a peer, one
 * eventfd for all): announce each, then fence everybody once. */
void praas_doorbell_announce(struct praas_doorbell *bell);
void praas_doorbell_fence_producers(void);

/* The waiting policy of one polling loop; private memory, one thread. It learns two
 * numbers. pauses: polling only pays while nobody else wants the core, or while what we
 * wait for comes from another core; a yield that took long says that somebody wants it, a
 * row of waits that ended while pausing says where the partner is. yield_ns: polling on pays when work comes soon; a
 * long sleep says it does not. */
struct praas_waiter {
	enum praas_wait_mode mode;
	uint32_t idle;          /* empty turns since the last work */
	uint32_t pauses;        /* so many of them only pause; learned */
	uint32_t hits;          /* waits in a row that ended while it only paused */
	uint32_t misses;        /* waits that went on to yield */
	bool asleep;            /* SLEEP was said and no work has come since */
	bool crowded;           /* the last yield gave the core to somebody */
	uint64_t idle_since_ns; /* 0 while busy, and while it only pauses */
	uint64_t last_ns;       /* last look at the clock */
	uint64_t alone_ns;      /* a yield that finds nobody takes so long */
	uint64_t yield_ns;      /* polls so long before it sleeps; learned */
	uint64_t
		crowded_ns; /* and no longer while somebody else wants the core; set by who waits */
	uint64_t sleeps; /* counter */
};

enum praas_wait_step {
	PRAAS_WAIT_POLL, /* look again */
	PRAAS_WAIT_SLEEP /* it is time to prepare and sleep */
};

void praas_waiter_init(struct praas_waiter *w, enum praas_wait_mode mode);

PRAAS_COLD void praas_waiter_busy_slow(struct praas_waiter *w);
PRAAS_COLD enum praas_wait_step praas_waiter_idle_slow(struct praas_waiter *w);

/* There was work. */
static inline void praas_waiter_busy(struct praas_waiter *w)
{
	w->hits += w->idle != 0;
	w->idle = 0;
	if (praas_unlikely(w->idle_since_ns != 0))
		praas_waiter_busy_slow(w);
}

/* There was none: pauses or yields, and says when to sleep. */
static inline enum praas_wait_step praas_waiter_idle(struct praas_waiter *w)
{
	if (praas_likely(w->idle < w->pauses)) {
		w->idle++;
		praas_pause();
		return PRAAS_WAIT_POLL;
	}
	return praas_waiter_idle_slow(w);
}

/* Sleep until the doorbell rings (it is drained), one of fds is readable or timeout_ns
 * passed (negative: none). fds_count is at most PRAAS_DOORBELL_FDS_MAX; negative fds
 * are skipped. Returns 0, perhaps for nothing: look again; -ETIMEDOUT; -EINTR. Between
 * prepare and awake, or with a timeout: then only that and fds end it. */
int praas_doorbell_sleep(struct praas_doorbell *bell, const int *fds,
			 unsigned fds_count, int64_t timeout_ns);

#endif
