/* SPDX-License-Identifier: Apache-2.0
 *
 * A channel: two parties, two segments, each written by one of them. A party's segment
 * holds, for each of its peers, a *block*: its outgoing ring, its return ring (buffers
 * of the peer's that it gives back), and its read positions of the peer's two; then its
 * buffer area. A client's segment has a block for the controller and for each worker;
 * theirs have one for it. Geometry is agreed in the handshake and never read from
 * shared memory (docs/shm-layout.md).
 */
#ifndef PRAAS_SHM_CHANNEL_H
#define PRAAS_SHM_CHANNEL_H

#include <stddef.h>
#include <stdint.h>

#include "shm/doorbell.h"
#include "shm/ring.h"
#include "shm/segment.h"

#define PRAAS_CHANNEL_MAGIC 0x6863736161727031ull
#define PRAAS_CHANNEL_VERSION 1u

/* First page of a segment with channels. For people and debuggers: nobody's code trusts
 * it. */
struct praas_channel_header {
	uint64_t magic;
	uint32_t version;
	uint32_t kind;
	uint64_t bytes;
	uint32_t blocks;
	uint32_t ring_slots;
	uint64_t blocks_offset;
	uint64_t pool_offset;
	uint64_t pool_bytes;
	uint64_t pad;
	struct praas_doorbell_shared doorbell; /* this party's; offset 64 */
	uint8_t own[4096 - 128];               /* lines of this party's; offset 128 */
};

_Static_assert(sizeof(struct praas_channel_header) == 4096, "one page");
_Static_assert(offsetof(struct praas_channel_header, pool_bytes) == 48,
	       "shared layout");
_Static_assert(offsetof(struct praas_channel_header, doorbell) == 64, "shared layout");

/* Return ring: offsets of the peer's buffers that are given back; 8 bytes an entry, off
 * the hot path of a call, as many entries as the descriptor ring has slots. An entry is
 * offset + 1, so that memory never written cannot pass for one. Each struct is one
 * side's private memory. */
struct praas_returns_tx {
	_Atomic uint64_t *slot; /* ours */
	_Atomic uint64_t *head; /* ours: entries ever written */
	const struct praas_ring_tail *tail;
	uint64_t mask, next, seen;
};
struct praas_returns_rx {
	const _Atomic uint64_t *slot;
	const _Atomic uint64_t *head;
	struct praas_ring_tail *tail;
	uint64_t mask, next;
};

struct praas_channel_geometry {
	uint32_t blocks;     /* peers this segment serves, 1 … 64 */
	uint32_t ring_slots; /* power of two, 4 … 65536; the same on both sides */
	uint64_t pool_bytes; /* buffer area, multiple of 4096 */
};

/* Bytes that a segment of that geometry needs; where its parts are. */
uint64_t praas_channel_segment_bytes(const struct praas_channel_geometry *g);
uint64_t praas_channel_pool_offset(const struct praas_channel_geometry *g);
/* -EINVAL when a number is outside its range (geometry from a peer). */
int praas_channel_geometry_check(const struct praas_channel_geometry *g);
/* The creator fills the header of a zeroed segment. kind is the caller's, for
 * debuggers. */
void praas_channel_format(const struct praas_segment *segment,
			  const struct praas_channel_geometry *g, uint32_t kind);

struct praas_channel {
	struct praas_ring_tx tx;
	struct praas_ring_rx rx;
	struct praas_returns_tx returns_tx; /* we give the peer's buffers back */
	struct praas_returns_rx returns_rx; /* the peer gives ours back */
	struct praas_bell bell;             /* wakes the peer */
};

/* Join two mapped segments. mine/peer geometry and blocks as agreed; peer_event_fd
 * wakes it. Both segments stay mapped as long as the channel is used. 0; -EINVAL what
 * was agreed does not fit together or into the segments (nothing changed). */
int praas_channel_init(struct praas_channel *ch, const struct praas_segment *mine,
		       const struct praas_channel_geometry *my_geometry,
		       uint32_t my_block, const struct praas_segment *peer,
		       const struct praas_channel_geometry *peer_geometry,
		       uint32_t peer_block, int peer_event_fd);

/* The line of a block for the read position of the peer's log ring (shm/log_ring.h). */
struct praas_ring_tail *praas_channel_log_tail(const struct praas_segment *segment,
					       const struct praas_channel_geometry *g,
					       uint32_t block);

static inline struct praas_doorbell_shared *praas_channel_doorbell(
	const struct praas_segment *s)
{
	return &((struct praas_channel_header *)(void *)s->base)->doorbell;
}

/* Push and wake. 0; -EAGAIN; -EPROTO. */
static inline int praas_channel_push(struct praas_channel *ch,
				     const struct praas_desc *d)
{
	int rc = praas_ring_push(&ch->tx, d);

	if (praas_likely(rc == 0))
		praas_bell_ring(&ch->bell);
	return rc;
}

/* Give a buffer of the peer's back. 0; -EAGAIN full (keep it and try later); -EPROTO.
 */
int praas_channel_return(struct praas_channel *ch, uint64_t offset);
/* Take one of our buffers that the peer gave back. 0; -EAGAIN; -EPROTO. */
int praas_channel_take_return(struct praas_channel *ch, uint64_t *ret_offset);

#endif
