/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/ring.h"

/* Batches of the ring in ring.h: the look at the peer is paid once for many. Any
 * thread, one per side. */

int praas_ring_push_batch(struct praas_ring_tx *tx, const struct praas_desc *d,
			  unsigned n, unsigned *ret_done)
{
	struct praas_ring_slot *slots = tx->slot;
	uint64_t head = tx->head, mask = tx->mask, room;
	unsigned done = 0;
	int rc = 0;

	if (praas_ring_tx_room(tx) < n)
		rc = praas_ring_tx_refresh(tx);
	/* Some may fit though not all. */
	room = rc == -EPROTO ? 0 : praas_ring_tx_room(tx);
	n = (unsigned)praas_min_u64(n, room);
	while (done < n) {
		struct praas_ring_slot *slot = &slots[head++ & mask];

		praas_ring_slot_store(slot, &d[done++]);
		/* ring.R0 for each, so that the consumer begins with the first at once. */
		atomic_store_explicit(&slot->seq, head, memory_order_release);
	}
	tx->head = head;
	*ret_done = done;
	return done ? 0 : rc;
}

int praas_ring_pop_batch(struct praas_ring_rx *rx, struct praas_desc *ret_d, unsigned n,
			 unsigned *ret_done)
{
	const struct praas_ring_slot *slots = rx->slot;
	uint64_t next = rx->next, mask = rx->mask;
	unsigned done = 0;
	int rc = 0;

	while (done < n) {
		const struct praas_ring_slot *slot = &slots[next & mask];

		/* ring.A0, as in praas_ring_pop(). */
		if (atomic_load_explicit(&slot->seq, memory_order_acquire) != next + 1)
			break;
		praas_ring_slot_load(slot, &ret_d[done++]);
		next++;
	}
	rx->next = next;
	if (next - rx->published >= rx->step)
		praas_ring_rx_publish(rx);
	if (done == 0 && n > 0) { /* why; or one came just now */
		rc = praas_ring_pop(rx, ret_d);
		done = rc == 0;
	}
	*ret_done = done;
	return rc;
}
