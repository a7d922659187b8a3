/* SPDX-License-Identifier: Apache-2.0
 *
 * Buffer pool over the buffer area of a segment that we write. All bookkeeping is
 * private memory: who holds a buffer, how often, and its generation; nothing is
 * believed from shared memory. Size classes are powers of two from 256 B; buffers are
 * 64-byte aligned.
 *
 * Ownership: a buffer has a reference count. alloc gives one reference; ref and unref
 * change it; lend remembers that peer holds one, give_back ends that loan, and reclaim
 * ends all loans of a peer that died. One thread. No system call, no allocation after
 * init.
 */
#ifndef PRAAS_SHM_POOL_H
#define PRAAS_SHM_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/segment.h"

#define PRAAS_POOL_CLASS_MIN 256u
#define PRAAS_POOL_PEERS_MAX 64u /* loans are a bit mask */

struct praas_pool;

struct praas_pool_stats {
	uint64_t bytes_used; /* in classes handed out */
	uint64_t bytes_total;
	uint64_t allocs, frees, failures, violations;
};

/**
 * A pool over segment[offset, offset + bytes); both multiples of 64. segment is
 * borrowed until free. Returns 0; -ENOMEM; -EINVAL too small, or above 512 GiB. Private
 * memory: 32 B for each 256 B of the area, touched only where buffers begin.
 */
int praas_pool_new(const struct praas_segment *segment, uint64_t offset, uint64_t bytes,
		   struct praas_pool **ret_pool);
void praas_pool_free(struct praas_pool *pool);

/* A buffer of at least bytes (0: the smallest); its offset in the segment. One
 * reference. Returns 0; -ENOBUFS none of that size now; -EMSGSIZE larger than the pool
 * can ever give. About 40 instructions when one of its size was freed before. */
int praas_pool_alloc(struct praas_pool *pool, uint64_t bytes, uint64_t *ret_offset);

/* Usable bytes of the buffer at offset; 0 when there is none. */
uint64_t praas_pool_capacity(const struct praas_pool *pool, uint64_t offset);

/* Where a held buffer begins, for any offset inside it. 0; -ENOENT. For what a peer
 * names. */
int praas_pool_find(const struct praas_pool *pool, uint64_t inner,
		    uint64_t *ret_offset);

/* How often the memory of a held buffer has been given out before: tells it from a
 * former one at the same offset. */
uint32_t praas_pool_generation(const struct praas_pool *pool, uint64_t offset);

/* References of the caller's. A buffer that is not held is the caller's mistake: it
 * aborts. */
void praas_pool_ref(struct praas_pool *pool, uint64_t offset);
void praas_pool_unref(struct praas_pool *pool, uint64_t offset);

/* True when peer holds the buffer at offset. */
bool praas_pool_lent(const struct praas_pool *pool, uint64_t offset, unsigned peer);
/* peer (0 … 63) holds a reference from now on: the caller's reference becomes the
 * peer's. A peer can hold a buffer once; to lend it again before it came back is the
 * caller's mistake. */
void praas_pool_lend(struct praas_pool *pool, uint64_t offset, unsigned peer);
/* End one loan. 0; -EPROTO the peer holds no such buffer (its mistake; nothing
 * changed). */
int praas_pool_give_back(struct praas_pool *pool, uint64_t offset, unsigned peer);
/* End all loans of a peer that died; returns how many. Cold: walks the blocks. */
unsigned praas_pool_reclaim(struct praas_pool *pool, unsigned peer);

void praas_pool_stats(const struct praas_pool *pool,
		      struct praas_pool_stats *ret_stats);

#endif
