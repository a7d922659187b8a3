/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

#include "shm/pool.h"

/* The buffer pool under a peer that names any offset, next to a model of it: an array of what is held.
 * What must hold: buffers never overlap, a peer's word alone frees nothing that it does not hold, and
 * the books agree with the model at all times. Only what the caller promises is kept to. */

#define AREA_AT 256u
#define AREA_BYTES (64u * PRAAS_POOL_CLASS_MIN + 64u) /* the rest is no unit */
#define HELD_MAX 64u
#define PEERS 3u

struct held {
	uint64_t offset, bytes;
	uint32_t refs; /* of the caller's */
	uint32_t lent; /* bit per peer */
	uint32_t generation;
};

static struct praas_pool *pool;
static struct held held[HELD_MAX];
static unsigned held_count;
static uint64_t violations;

static const uint8_t *input;
static size_t input_left;

static uint8_t next_byte(void)
{
	if (input_left == 0)
		return 0;
	input_left--;
	return *input++;
}

static void must(bool cond)
{
	if (!cond)
		__builtin_trap();
}

static void forget(struct held *h)
{
	if (h->refs == 0 && h->lent == 0)
		*h = held[--held_count];
}

static void do_alloc(void)
{
	uint64_t bytes = (uint64_t)next_byte() << next_byte() % 12, offset = 0,
		 capacity;
	int rc;

	if (held_count == HELD_MAX)
		return;
	rc = praas_pool_alloc(pool, bytes, &offset);
	if (rc != 0) {
		must(rc == -ENOBUFS || rc == -EMSGSIZE);
		must(rc != -EMSGSIZE || bytes > 64u * PRAAS_POOL_CLASS_MIN);
		return;
	}
	capacity = praas_pool_capacity(pool, offset);
	must(capacity >= bytes && capacity >= PRAAS_POOL_CLASS_MIN);
	must(offset % 64 == 0 && offset >= AREA_AT &&
	     offset + capacity <= AREA_AT + AREA_BYTES);
	for (unsigned i = 0; i < held_count; i++)
		must(offset + capacity <= held[i].offset ||
		     held[i].offset + held[i].bytes <= offset);
	held[held_count++] =
		(struct held){ .offset = offset,
			       .bytes = capacity,
			       .refs = 1,
			       .generation = praas_pool_generation(pool, offset) };
}

static void do_refs(struct held *h, uint8_t op)
{
	unsigned peer = op / 4 % PEERS;

	if (op % 4 == 0) {
		praas_pool_ref(pool, h->offset);
		h->refs++;
	} else if (op % 4 == 1 && h->refs > 0) {
		praas_pool_unref(pool, h->offset);
		h->refs--;
		forget(h);
	} else if (op % 4 >= 2 && h->refs > 0 && (h->lent >> peer & 1) == 0) {
		praas_pool_lend(pool, h->offset, peer);
		h->refs--;
		h->lent |= 1u << peer;
	}
}

/* A peer's word: an offset near something, or anything. */
static uint64_t peer_offset(void)
{
	uint8_t what = next_byte();
	uint64_t near = held_count > 0 ? held[what / 4 % held_count].offset : 0;

	switch (what % 4) {
	case 0:
		return near;
	case 1:
		return near + next_byte();
	case 2:
		return AREA_AT + (uint64_t)next_byte() * 64;
	default:
		return ((uint64_t)next_byte() << 56) - next_byte();
	}
}

static void do_give_back(unsigned peer)
{
	uint64_t offset = peer_offset();
	struct held *h = NULL;

	for (unsigned i = 0; i < held_count; i++)
		if (held[i].offset == offset)
			h = &held[i];
	must(praas_pool_lent(pool, offset, peer) == (h && (h->lent >> peer & 1)));
	if (praas_pool_give_back(pool, offset, peer) != 0) {
		violations++;
		must(!h || (h->lent >> peer & 1) == 0);
		return;
	}
	must(h && (h->lent >> peer & 1));
	h->lent &= ~(1u << peer);
	forget(h);
}

static void do_find(void)
{
	uint64_t inner = peer_offset(), offset = 0;
	const struct held *h = NULL;
	int rc = praas_pool_find(pool, inner, &offset);

	for (unsigned i = 0; i < held_count; i++)
		if (inner >= held[i].offset && inner - held[i].offset < held[i].bytes)
			h = &held[i];
	must(rc == (h ? 0 : -ENOENT));
	must(!h || offset == h->offset);
}

static void do_reclaim(unsigned peer)
{
	unsigned wanted = 0;

	for (unsigned i = held_count; i > 0; i--) {
		if ((held[i - 1].lent >> peer & 1) == 0)
			continue;
		held[i - 1].lent &= ~(1u << peer);
		forget(&held[i - 1]);
		wanted++;
	}
	must(praas_pool_reclaim(pool, peer) == wanted);
}

static void check(void)
{
	struct praas_pool_stats stats;
	uint64_t used = 0;

	praas_pool_stats(pool, &stats);
	for (unsigned i = 0; i < held_count; i++) {
		must(praas_pool_capacity(pool, held[i].offset) == held[i].bytes);
		must(praas_pool_generation(pool, held[i].offset) == held[i].generation);
		used += held[i].bytes;
	}
	must(stats.bytes_used == used && used <= stats.bytes_total);
	must(stats.violations == violations);
	must(stats.allocs - stats.frees == held_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static alignas(64) uint8_t memory[AREA_AT + AREA_BYTES];
	struct praas_segment segment = { .base = memory,
					 .bytes = sizeof(memory),
					 .writable = true };
	uint64_t refused = 64 * (uint64_t)(bytes > 0 ? data[0] : 0);

	/* An area that is none is refused. */
	must(praas_pool_new(&segment, AREA_AT + 64, AREA_BYTES + refused, &pool) ==
	     -EINVAL);
	must(praas_pool_new(&segment, AREA_AT, 64, &pool) == -EINVAL);
	must(praas_pool_new(&segment, AREA_AT, AREA_BYTES, &pool) == 0);
	input = data;
	input_left = bytes;
	held_count = 0;
	violations = 0;
	while (input_left > 0) {
		uint8_t op = next_byte();

		switch (op % 8) {
		case 0:
		case 1:
			do_alloc();
			break;
		case 2:
		case 3:
			if (held_count > 0)
				do_refs(&held[op / 8 % held_count], next_byte());
			break;
		case 4:
		case 5:
			do_give_back(op / 8 % PEERS);
			break;
		case 6:
			do_find();
			break;
		default:
			do_reclaim(op / 8 % PEERS);
			break;
		}
		check();
	}
	praas_pool_free(pool);
	return 0;
}
