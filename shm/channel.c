/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/channel.h"

#include <stddef.h>

/* Where the parts of a channel lie, and the return rings. A block, all written by the
 * segment's writer (each part on a pair of lines of its own: cores fetch lines in
 * pairs):
 *
 *      0  tail of the peer's descriptor ring
 *    128  tail of the peer's return ring
 *    256  tail of the peer's log ring, where it has one
 *    384  head of our return ring
 *    512  slots of our return ring, 8 bytes each
 *      …  slots of our descriptor ring, 64 bytes each
 */
#define HEADER_BYTES 4096u
#define PAIR 128u
#define TAIL_AT 0u
#define RETURNS_TAIL_AT 128u
#define LOG_TAIL_AT 256u
#define RETURNS_HEAD_AT 384u
#define RETURNS_AT 512u

#define BLOCKS_MAX 64u
#define SLOTS_MIN 4u
#define SLOTS_MAX 65536u
#define POOL_BYTES_MAX (1ull << 46)

static uint64_t slots_at(const struct praas_channel_geometry *g)
{
	return RETURNS_AT + praas_align_up(g->ring_slots * sizeof(uint64_t), PAIR);
}

static uint64_t block_bytes(const struct praas_channel_geometry *g)
{
	return slots_at(g) + g->ring_slots * sizeof(struct praas_ring_slot);
}

uint64_t praas_channel_pool_offset(const struct praas_channel_geometry *g)
{
	return praas_align_up(HEADER_BYTES + g->blocks * block_bytes(g), HEADER_BYTES);
}

uint64_t praas_channel_segment_bytes(const struct praas_channel_geometry *g)
{
	return praas_channel_pool_offset(g) + g->pool_bytes;
}

int praas_channel_geometry_check(const struct praas_channel_geometry *g)
{
	if (g->blocks < 1 || g->blocks > BLOCKS_MAX)
		return -EINVAL;
	if (g->ring_slots < SLOTS_MIN || g->ring_slots > SLOTS_MAX)
		return -EINVAL;
	if ((g->ring_slots & (g->ring_slots - 1)) != 0)
		return -EINVAL;
	if (g->pool_bytes % HEADER_BYTES != 0 || g->pool_bytes > POOL_BYTES_MAX)
		return -EINVAL;
	return 0;
}

void praas_channel_format(const struct praas_segment *segment,
			  const struct praas_channel_geometry *g, uint32_t kind)
{
	struct praas_channel_header *h = (void *)segment->base;

	praas_check(segment->writable);
	praas_check(praas_channel_geometry_check(g) == 0);
	praas_check(segment->bytes >= praas_channel_segment_bytes(g));
	h->magic = PRAAS_CHANNEL_MAGIC;
	h->version = PRAAS_CHANNEL_VERSION;
	h->kind = kind;
	h->bytes = segment->bytes;
	h->blocks = g->blocks;
	h->ring_slots = g->ring_slots;
	h->blocks_offset = HEADER_BYTES;
	h->pool_offset = praas_channel_pool_offset(g);
	h->pool_bytes = g->pool_bytes;
}

static uint8_t *block_at(const struct praas_segment *segment,
			 const struct praas_channel_geometry *g, uint32_t block)
{
	praas_check(block < g->blocks);
	return segment->base + HEADER_BYTES + block * block_bytes(g);
}

struct praas_ring_tail *praas_channel_log_tail(const struct praas_segment *segment,
					       const struct praas_channel_geometry *g,
					       uint32_t block)
{
	return (void *)(block_at(segment, g, block) + LOG_TAIL_AT);
}

int praas_channel_init(struct praas_channel *ch, const struct praas_segment *mine,
		       const struct praas_channel_geometry *my_geometry,
		       uint32_t my_block, const struct praas_segment *peer,
		       const struct praas_channel_geometry *peer_geometry,
		       uint32_t peer_block, int peer_event_fd)
{
	uint64_t slots = my_geometry->ring_slots;
	uint8_t *ours, *theirs;

	if (praas_channel_geometry_check(my_geometry) != 0 ||
	    praas_channel_geometry_check(peer_geometry) != 0)
		return -EINVAL;
	if (slots != peer_geometry->ring_slots || my_block >= my_geometry->blocks ||
	    peer_block >= peer_geometry->blocks)
		return -EINVAL;
	if (mine->bytes < praas_channel_segment_bytes(my_geometry) ||
	    peer->bytes < praas_channel_segment_bytes(peer_geometry) || !mine->writable)
		return -EINVAL;

	ours = block_at(mine, my_geometry, my_block);
	theirs = block_at(peer, peer_geometry, peer_block);
	praas_ring_tx_init(&ch->tx, (void *)(ours + slots_at(my_geometry)),
			   (const void *)(theirs + TAIL_AT), slots);
	praas_ring_rx_init(&ch->rx, (const void *)(theirs + slots_at(peer_geometry)),
			   (void *)(ours + TAIL_AT), slots);
	ch->returns_tx = (struct praas_returns_tx){
		.slot = (void *)(ours + RETURNS_AT),
		.head = (void *)(ours + RETURNS_HEAD_AT),
		.tail = (const void *)(theirs + RETURNS_TAIL_AT),
		.mask = slots - 1,
	};
	ch->returns_rx = (struct praas_returns_rx){
		.slot = (const void *)(theirs + RETURNS_AT),
		.head = (const void *)(theirs + RETURNS_HEAD_AT),
		.tail = (void *)(ours + RETURNS_TAIL_AT),
		.mask = slots - 1,
	};
	praas_bell_init(&ch->bell, praas_channel_doorbell(peer), peer_event_fd);
	return 0;
}

int praas_channel_return(struct praas_channel *ch, uint64_t offset)
{
	struct praas_returns_tx *tx = &ch->returns_tx;

	if (tx->next - tx->seen > tx->mask) {
		/* returns.A1, pairs with returns.R1: the peer's reads of the entries it
		 * gives back are complete before we overwrite them. */
		uint64_t read =
			atomic_load_explicit(&tx->tail->read, memory_order_acquire);

		if (read < tx->seen || read > tx->next)
			return -EPROTO; /* tx->seen keeps the last sane value */
		tx->seen = read;
		if (tx->next - read > tx->mask)
			return -EAGAIN;
	}
	atomic_store_explicit(&tx->slot[tx->next & tx->mask], offset + 1,
			      memory_order_relaxed);
	tx->next++;
	/* returns.R0, pairs with returns.A0: the entry is visible before it is counted,
	 * and our reads of the buffer are complete before its owner can write there
	 * again. */
	atomic_store_explicit(tx->head, tx->next, memory_order_release);
	return 0;
}

int praas_channel_take_return(struct praas_channel *ch, uint64_t *ret_offset)
{
	struct praas_returns_rx *rx = &ch->returns_rx;
	/* returns.A0, pairs with returns.R0: see the entries counted, and the peer's
	 * reads of the buffers are over. */
	uint64_t head = atomic_load_explicit(rx->head, memory_order_acquire);
	uint64_t entry;

	if (head == rx->next)
		return -EAGAIN;
	if (head - rx->next > rx->mask + 1) /* or it went back */
		return -EPROTO;
	entry = atomic_load_explicit(&rx->slot[rx->next & rx->mask],
				     memory_order_relaxed);
	if (entry == 0)
		return -EPROTO;
	rx->next++;
	/* returns.R1, pairs with returns.A1: our copy is complete; the entry is free.
	 */
	atomic_store_explicit(&rx->tail->read, rx->next, memory_order_release);
	*ret_offset = entry - 1;
	return 0;
}
