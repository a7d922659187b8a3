/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/pool.h"

#include <errno.h>
#include <stdlib.h>

#include "internal/base.h"
#include "shm/pages.h"

/* A binary buddy allocator whose books are private memory. The area is counted in units
 * of 256 B; a block of order k is 2^k units, at a multiple of its size from the area's
 * begin. Freed blocks wait on a short stack of their order, unmerged, so that the usual
 * alloc and free are a pop and a push (perf/micro/pool.c); they are merged when a
 * larger one is wanted or the stack is full. One thread.
 */

#define NONE UINT32_MAX
#define ORDERS 32u
#define KEPT_MAX 64u  /* blocks that wait unmerged, per order, … */
#define KEPT_SHARE 8u /* … and at most 1/8 of the area in bytes */

enum block_state {
	INSIDE = 0, /* not the first unit of a block */
	FREE,       /* in its order's list; may be merged */
	KEPT,       /* on its order's stack; free, but not merged yet */
	USED        /* handed out */
};

/* One per unit; only that of a block's first unit counts. */
struct block {
	uint32_t next, prev; /* in its list; NONE at the end */
	uint32_t refs;       /* loans included */
	uint32_t generation; /* how often it was freed */
	uint64_t loans;      /* bit p: peer p holds one of the refs */
	uint8_t order;
	uint8_t state; /* enum block_state */
	uint8_t lent;  /* bits set in loans */
	uint8_t pad[5];
};

struct praas_pool {
	uint64_t offset; /* of the area in the segment */
	uint32_t units;
	uint32_t order_max;    /* of the largest block there can be */
	uint32_t free_orders;  /* bit k: free[k] is not empty */
	uint32_t free[ORDERS]; /* lists */
	uint32_t kept[ORDERS]; /* stacks, through next */
	uint32_t kept_count[ORDERS];
	uint32_t kept_max[ORDERS];
	uint32_t loans_of[PRAAS_POOL_PEERS_MAX]; /* how many each peer holds */
	struct praas_pool_stats stats;
	struct block block[];
};

static void list_add(struct praas_pool *p, uint32_t unit, uint32_t order)
{
	struct block *b = &p->block[unit];

	b->state = FREE;
	b->order = (uint8_t)order;
	b->prev = NONE;
	b->next = p->free[order];
	if (b->next != NONE)
		p->block[b->next].prev = unit;
	p->free[order] = unit;
	p->free_orders |= 1u << order;
}

static void list_remove(struct praas_pool *p, uint32_t unit)
{
	struct block *b = &p->block[unit];

	if (b->prev != NONE)
		p->block[b->prev].next = b->next;
	else
		p->free[b->order] = b->next;
	if (b->next != NONE)
		p->block[b->next].prev = b->prev;
	if (p->free[b->order] == NONE)
		p->free_orders &= ~(1u << b->order);
}

/* Put a block into its list, merged with its buddy as often as that is free too. */
static void merge(struct praas_pool *p, uint32_t unit)
{
	uint32_t order = p->block[unit].order;

	for (; order < p->order_max; order++) {
		uint32_t buddy = unit ^ (1u << order);

		if (buddy >= p->units || p->block[buddy].state != FREE ||
		    p->block[buddy].order != order)
			break;
		list_remove(p, buddy);
		p->block[unit > buddy ? unit : buddy].state = INSIDE;
		unit = unit < buddy ? unit : buddy;
	}
	list_add(p, unit, order);
}

/* Merge all that waits; true when there was any. */
static bool merge_kept(struct praas_pool *p)
{
	bool any = false;

	for (uint32_t order = 0; order <= p->order_max; order++) {
		while (p->kept[order] != NONE) {
			uint32_t unit = p->kept[order];

			p->kept[order] = p->block[unit].next;
			merge(p, unit);
			any = true;
		}
		p->kept_count[order] = 0;
	}
	return any;
}

int praas_pool_new(const struct praas_segment *segment, uint64_t offset, uint64_t bytes,
		   struct praas_pool **ret_pool)
{
	uint64_t units = bytes / PRAAS_POOL_CLASS_MIN;
	struct praas_pool *p;
	uint32_t unit = 0;

	praas_check(segment->writable);
	if (offset % PRAAS_CACHE_LINE != 0 || bytes % PRAAS_CACHE_LINE != 0 ||
	    !praas_segment_holds(segment, offset, bytes))
		return -EINVAL;
	if (units == 0 || units >= 1u << (ORDERS - 1))
		return -EINVAL;
	/* The books of blocks never cut stay untouched, and cost no memory. */
	p = praas_pages_new(sizeof(*p) + units * sizeof(p->block[0]));
	if (!p)
		return -ENOMEM;
	p->offset = offset;
	p->units = (uint32_t)units;
	p->order_max = 31u - (uint32_t)__builtin_clz(p->units);
	p->stats.bytes_total = units * PRAAS_POOL_CLASS_MIN;
	for (uint32_t k = 0; k < ORDERS; k++) {
		uint64_t fit = (units >> k) / KEPT_SHARE;

		p->free[k] = NONE;
		p->kept[k] = NONE;
		p->kept_max[k] = (uint32_t)praas_min_u64(fit, KEPT_MAX);
	}
	/* The binary digits of units, largest first, are the blocks to begin with. */
	for (uint32_t k = p->order_max + 1; k-- > 0;) {
		if (p->units & 1u << k) {
			list_add(p, unit, k);
			unit += 1u << k;
		}
	}
	*ret_pool = p;
	return 0;
}

void praas_pool_free(struct praas_pool *pool)
{
	praas_pages_free(pool);
}

/* The smallest order that holds bytes; 0 < bytes. */
static uint32_t order_of(uint64_t bytes)
{
	if (bytes <= PRAAS_POOL_CLASS_MIN)
		return 0;
	return 64u - (uint32_t)__builtin_clzll((bytes - 1) / PRAAS_POOL_CLASS_MIN);
}

/* Cut a block of that order out of the smallest free one that is large enough. NONE:
 * none. */
static PRAAS_COLD uint32_t cut(struct praas_pool *p, uint32_t order)
{
	uint32_t fits = p->free_orders >> order << order;
	uint32_t unit, from;

	if (fits == 0 && merge_kept(p))
		fits = p->free_orders >> order << order;
	if (fits == 0)
		return NONE;
	from = (uint32_t)__builtin_ctz(fits);
	unit = p->free[from];
	list_remove(p, unit);
	while (from > order) {
		from--;
		list_add(p, unit + (1u << from), from);
	}
	p->block[unit].order = (uint8_t)order;
	return unit;
}

int praas_pool_alloc(struct praas_pool *pool, uint64_t bytes, uint64_t *ret_offset)
{
	uint32_t order, unit;

	if (praas_unlikely(bytes > (uint64_t)PRAAS_POOL_CLASS_MIN << pool->order_max)) {
		pool->stats.failures++;
		return -EMSGSIZE;
	}
	order = order_of(bytes);
	unit = pool->kept[order];
	if (praas_likely(unit != NONE)) {
		pool->kept[order] = pool->block[unit].next;
		pool->kept_count[order]--;
	} else {
		unit = cut(pool, order);
		if (unit == NONE) {
			pool->stats.failures++;
			return -ENOBUFS;
		}
	}
	pool->block[unit].state = USED;
	pool->block[unit].refs = 1;
	pool->stats.bytes_used += (uint64_t)PRAAS_POOL_CLASS_MIN << order;
	pool->stats.allocs++;
	*ret_offset = pool->offset + (uint64_t)unit * PRAAS_POOL_CLASS_MIN;
	return 0;
}

/* The used block that begins at offset, or NULL. Offset may be a peer's. */
static inline struct block *used_at(const struct praas_pool *p, uint64_t offset)
{
	uint64_t inner = offset - p->offset; /* huge when offset is smaller */
	const struct block *b;

	if (praas_unlikely(inner / PRAAS_POOL_CLASS_MIN >= p->units) ||
	    praas_unlikely(inner % PRAAS_POOL_CLASS_MIN != 0))
		return NULL;
	b = &p->block[inner / PRAAS_POOL_CLASS_MIN];
	return b->state == USED ? (struct block *)(uintptr_t)b : NULL;
}

/* The same for an offset of ours: it must be there. */
static inline struct block *ours_at(const struct praas_pool *p, uint64_t offset)
{
	struct block *b = used_at(p, offset);

	praas_check(b != NULL);
	return b;
}

static void drop(struct praas_pool *p, struct block *b)
{
	uint32_t unit = (uint32_t)(b - p->block);
	uint32_t order = b->order;

	if (--b->refs > 0)
		return;
	b->generation++;
	p->stats.frees++;
	p->stats.bytes_used -= (uint64_t)PRAAS_POOL_CLASS_MIN << order;
	if (praas_unlikely(p->kept_count[order] >= p->kept_max[order])) {
		merge(p, unit);
		return;
	}
	b->state = KEPT;
	b->next = p->kept[order];
	p->kept[order] = unit;
	p->kept_count[order]++;
}

uint64_t praas_pool_capacity(const struct praas_pool *pool, uint64_t offset)
{
	const struct block *b = used_at(pool, offset);

	return b ? (uint64_t)PRAAS_POOL_CLASS_MIN << b->order : 0;
}

uint32_t praas_pool_generation(const struct praas_pool *pool, uint64_t offset)
{
	return ours_at(pool, offset)->generation;
}

int praas_pool_find(const struct praas_pool *pool, uint64_t inner, uint64_t *ret_offset)
{
	uint64_t at = (inner - pool->offset) / PRAAS_POOL_CLASS_MIN;

	if (inner < pool->offset || at >= pool->units)
		return -ENOENT;
	/* The block of order k around a unit can begin in one place only. */
	for (uint32_t k = 0; k <= pool->order_max; k++) {
		uint32_t unit = (uint32_t)at >> k << k;
		const struct block *b = &pool->block[unit];

		if (b->state == USED && b->order == k) {
			*ret_offset =
				pool->offset + (uint64_t)unit * PRAAS_POOL_CLASS_MIN;
			return 0;
		}
	}
	return -ENOENT;
}

void praas_pool_ref(struct praas_pool *pool, uint64_t offset)
{
	struct block *b = ours_at(pool, offset);

	praas_check(b->refs < UINT32_MAX);
	b->refs++;
}

void praas_pool_unref(struct praas_pool *pool, uint64_t offset)
{
	struct block *b = ours_at(pool, offset);

	/* The loans' references are not the caller's to drop. */
	praas_check(b->refs > b->lent);
	drop(pool, b);
}

bool praas_pool_lent(const struct praas_pool *pool, uint64_t offset, unsigned peer)
{
	const struct block *b = used_at(pool, offset);

	return b && peer < PRAAS_POOL_PEERS_MAX && (b->loans >> peer & 1u) != 0;
}

void praas_pool_lend(struct praas_pool *pool, uint64_t offset, unsigned peer)
{
	struct block *b = ours_at(pool, offset);

	praas_check(peer < PRAAS_POOL_PEERS_MAX);
	praas_check((b->loans >> peer & 1u) == 0);
	praas_check(b->refs > b->lent);
	b->loans |= 1ull << peer;
	b->lent++;
	pool->loans_of[peer]++;
}

static void end_loan(struct praas_pool *p, struct block *b, unsigned peer)
{
	b->loans &= ~(1ull << peer);
	b->lent--;
	p->loans_of[peer]--;
	drop(p, b);
}

int praas_pool_give_back(struct praas_pool *pool, uint64_t offset, unsigned peer)
{
	struct block *b = used_at(pool, offset);

	praas_check(peer < PRAAS_POOL_PEERS_MAX);
	if (praas_unlikely(!b || (b->loans >> peer & 1u) == 0)) {
		pool->stats.violations++;
		return -EPROTO;
	}
	end_loan(pool, b, peer);
	return 0;
}

unsigned praas_pool_reclaim(struct praas_pool *pool, unsigned peer)
{
	unsigned ended = 0;
	uint32_t unit = 0;

	praas_check(peer < PRAAS_POOL_PEERS_MAX);
	/* From block to block; a block's order is read before its end may merge it
	 * away. The next block still begins where this one ended: merging takes whole
	 * free blocks, and a block behind this one that it took is walked over as the
	 * units that it was. */
	while (pool->loans_of[peer] > 0 && unit < pool->units) {
		struct block *b = &pool->block[unit];

		unit += b->state == INSIDE ? 1u : 1u << b->order;
		if (b->state == USED && (b->loans >> peer & 1u) != 0) {
			end_loan(pool, b, peer);
			ended++;
		}
	}
	return ended;
}

void praas_pool_stats(const struct praas_pool *pool, struct praas_pool_stats *ret_stats)
{
	*ret_stats = pool->stats;
}
