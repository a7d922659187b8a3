/* SPDX-License-Identifier: Apache-2.0
 *
 * Single-producer single-consumer ring of 64-byte descriptors, the sequence number in
 * the slot: a hand-over moves one cache line and no index. The slots lie in the
 * producer's segment, which the consumer maps read-only; the consumer tells how far it
 * has read through one word in its own segment, which the producer reads only when the
 * ring looks full. So each side writes its own memory alone (docs/shm-layout.md).
 *
 * The peer may be hostile: every word of it is loaded once, into a local, and checked
 * there. What cannot be is -EPROTO and leaves our own state as it was.
 */
#ifndef PRAAS_SHM_RING_H
#define PRAAS_SHM_RING_H

#include <errno.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#include "internal/base.h"

/* What a descriptor says; the ring itself looks at no word of it. 56 bytes. */
#define PRAAS_DESC_WORDS 7u /* with the sequence number, a cache line */

struct praas_desc {
	uint64_t word[PRAAS_DESC_WORDS];
};

/* In shared memory, written by the producer. seq of slot i is k * slots + i + 1 once
 * message number k * slots + i is in it: zeroed memory is an empty ring. */
struct praas_ring_slot {
	alignas(64) _Atomic uint64_t seq;
	_Atomic uint64_t word[PRAAS_DESC_WORDS];
};

_Static_assert(sizeof(struct praas_ring_slot) == 64, "one cache line a slot");

/* In shared memory, written by the consumer: how many slots it has read and released.
 */
struct praas_ring_tail {
	alignas(64) _Atomic uint64_t read;
};

/* The producer's private side. */
struct praas_ring_tx {
	struct praas_ring_slot *slot;       /* ours, in our segment */
	const struct praas_ring_tail *tail; /* the peer's, in its segment, read-only */
	uint64_t mask; /* slots - 1; from our config, never from shm */
	uint64_t head; /* messages ever pushed */
	uint64_t seen; /* the peer's tail when we last looked */
};

/* The consumer's private side. */
struct praas_ring_rx {
	const struct praas_ring_slot *slot; /* the peer's, read-only */
	struct praas_ring_tail *tail;       /* ours */
	uint64_t mask;
	uint64_t next;      /* messages ever popped */
	uint64_t published; /* what tail says */
	uint64_t step;      /* the tail is published every so many pops */
};

/* The words of a slot, each once. gcc leaves a loop over atomics a loop, which costs 60
 * instructions more a push and a pop than these (perf/micro). */
static inline void praas_ring_slot_store(struct praas_ring_slot *slot,
					 const struct praas_desc *d)
{
	atomic_store_explicit(&slot->word[0], d->word[0], memory_order_relaxed);
	atomic_store_explicit(&slot->word[1], d->word[1], memory_order_relaxed);
	atomic_store_explicit(&slot->word[2], d->word[2], memory_order_relaxed);
	atomic_store_explicit(&slot->word[3], d->word[3], memory_order_relaxed);
	atomic_store_explicit(&slot->word[4], d->word[4], memory_order_relaxed);
	atomic_store_explicit(&slot->word[5], d->word[5], memory_order_relaxed);
	atomic_store_explicit(&slot->word[6], d->word[6], memory_order_relaxed);
}

static inline void praas_ring_slot_load(const struct praas_ring_slot *slot,
					struct praas_desc *ret_d)
{
	ret_d->word[0] = atomic_load_explicit(&slot->word[0], memory_order_relaxed);
	ret_d->word[1] = atomic_load_explicit(&slot->word[1], memory_order_relaxed);
	ret_d->word[2] = atomic_load_explicit(&slot->word[2], memory_order_relaxed);
	ret_d->word[3] = atomic_load_explicit(&slot->word[3], memory_order_relaxed);
	ret_d->word[4] = atomic_load_explicit(&slot->word[4], memory_order_relaxed);
	ret_d->word[5] = atomic_load_explicit(&slot->word[5], memory_order_relaxed);
	ret_d->word[6] = atomic_load_explicit(&slot->word[6], memory_order_relaxed);
}

/* slots: a power of two, at least 4. The memory behind slot and tail is zeroed. */
static inline void praas_ring_tx_init(struct praas_ring_tx *tx,
				      struct praas_ring_slot *slot,
				      const struct praas_ring_tail *tail,
				      uint64_t slots)
{
	*tx = (struct praas_ring_tx){ .slot = slot, .tail = tail, .mask = slots - 1 };
}

static inline void praas_ring_rx_init(struct praas_ring_rx *rx,
				      const struct praas_ring_slot *slot,
				      struct praas_ring_tail *tail, uint64_t slots)
{
	*rx = (struct praas_ring_rx){
		.slot = slot, .tail = tail, .mask = slots - 1, .step = slots / 4
	};
}

/* Looks at the peer's tail again. 0 there is room; -EAGAIN full; -EPROTO impossible. */
static inline int praas_ring_tx_refresh(struct praas_ring_tx *tx)
{
	/* ring.A1, pairs with ring.R1: the consumer's reads of the slots it gives back
	 * are complete before we overwrite them. */
	uint64_t read = atomic_load_explicit(&tx->tail->read, memory_order_acquire);

	if (read < tx->seen || read > tx->head)
		return -EPROTO; /* tx->seen keeps the last sane value */
	tx->seen = read;
	return tx->head - read > tx->mask ? -EAGAIN : 0;
}

/* How many may be pushed now without looking at the peer. */
static inline uint64_t praas_ring_tx_room(const struct praas_ring_tx *tx)
{
	return tx->mask + 1 - (tx->head - tx->seen);
}

/* Append one descriptor. 0; -EAGAIN full; -EPROTO the peer's index is impossible. */
static inline int praas_ring_push(struct praas_ring_tx *tx, const struct praas_desc *d)
{
	struct praas_ring_slot *slot = &tx->slot[tx->head & tx->mask];

	if (praas_unlikely(tx->head - tx->seen > tx->mask)) {
		int rc = praas_ring_tx_refresh(tx);

		if (rc != 0)
			return rc;
	}
	praas_ring_slot_store(slot, d);
	tx->head++;
	/* ring.R0, pairs with ring.A0: the descriptor, and the payload it names, are
	 * visible before its sequence number is. */
	atomic_store_explicit(&slot->seq, tx->head, memory_order_release);
	return 0;
}

/* True when a pop would succeed or find the peer's mistake; one load, usually a hit. */
static inline bool praas_ring_ready(const struct praas_ring_rx *rx)
{
	return atomic_load_explicit(&rx->slot[rx->next & rx->mask].seq,
				    memory_order_relaxed) > rx->next;
}

/* Tells the producer how far we have read. Called by pop; call it before sleeping. */
static inline void praas_ring_rx_publish(struct praas_ring_rx *rx)
{
	rx->published = rx->next;
	/* ring.R1, pairs with ring.A1: our copies are complete; the slots are free. */
	atomic_store_explicit(&rx->tail->read, rx->next, memory_order_release);
}

/* Take the oldest descriptor. 0; -EAGAIN empty; -EPROTO the sequence is impossible. */
static inline int praas_ring_pop(struct praas_ring_rx *rx, struct praas_desc *ret_d)
{
	const struct praas_ring_slot *slot = &rx->slot[rx->next & rx->mask];
	/* ring.A0, pairs with ring.R0: see the descriptor that the sequence announces.
	 */
	uint64_t seq = atomic_load_explicit(&slot->seq, memory_order_acquire);

	if (seq != rx->next + 1) {
		/* The slot's last lap is what an honest empty slot holds. */
		bool empty = seq == (rx->next <= rx->mask ? 0 : rx->next - rx->mask);

		return empty ? -EAGAIN : -EPROTO;
	}
	praas_ring_slot_load(slot, ret_d);
	rx->next++;
	if (praas_unlikely(rx->next - rx->published >= rx->step))
		praas_ring_rx_publish(rx);
	return 0;
}

/* Batches: push or pop up to n; the count done is returned through ret_done. 0 when at
 * least one was done, else the reason as above. */
int praas_ring_push_batch(struct praas_ring_tx *tx, const struct praas_desc *d,
			  unsigned n, unsigned *ret_done);
int praas_ring_pop_batch(struct praas_ring_rx *rx, struct praas_desc *ret_d, unsigned n,
			 unsigned *ret_done);

#endif
