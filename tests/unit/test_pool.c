/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/pool.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "internal/base.h"

/* The buffer pool: against a simple model of it, and each rule of ownership by itself.
 */

#define UNIT ((uint64_t)PRAAS_POOL_CLASS_MIN)
#define AREA_AT 64u
#define UNITS 300u /* no power of two: blocks of 256, 32, 8 and 4 units */
#define AREA_BYTES (UNITS * UNIT)

struct fixture {
	struct praas_segment segment;
	struct praas_pool *pool;
};

static int setup_of(void **state, uint64_t units)
{
	struct fixture *f = calloc(1, sizeof(*f));
	uint64_t bytes = praas_align_up(AREA_AT + units * UNIT, 4096);

	if (!f || praas_segment_create("pool", bytes, 1, 0, &f->segment) != 0 ||
	    praas_pool_new(&f->segment, AREA_AT, units * UNIT, &f->pool) != 0)
		return -1;
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return setup_of(state, UNITS);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	praas_pool_free(f->pool);
	praas_segment_release(&f->segment);
	free(f);
	return 0;
}

static uint64_t alloc(struct fixture *f, uint64_t bytes)
{
	uint64_t offset;

	assert_int_equal(praas_pool_alloc(f->pool, bytes, &offset), 0);
	return offset;
}

static uint64_t used(const struct fixture *f)
{
	struct praas_pool_stats stats;

	praas_pool_stats(f->pool, &stats);
	return stats.bytes_used;
}

/* All memory is one piece again: the largest block can be had. */
static void assert_whole(struct fixture *f)
{
	uint64_t offset;

	assert_int_equal(used(f), 0);
	assert_int_equal(praas_pool_alloc(f->pool, 256 * UNIT, &offset), 0);
	praas_pool_unref(f->pool, offset);
}

/* Sizes are rounded up to powers of two from 256 B, buffers aligned to 64 B at least.
 */
static void test_pool_classes_are_powers_of_two(void **state)
{
	struct fixture *f = *state;
	const uint64_t sizes[][2] = { { 0, 256 },     { 1, 256 },      { 256, 256 },
				      { 257, 512 },   { 512, 512 },    { 4097, 8192 },
				      { 8192, 8192 }, { 32769, 65536 } };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t offset = alloc(f, sizes[i][0]);

		assert_int_equal(praas_pool_capacity(f->pool, offset), sizes[i][1]);
		assert_int_equal(offset % 64, 0);
		assert_int_equal(used(f), sizes[i][1]);
		praas_pool_unref(f->pool, offset);
		assert_int_equal(praas_pool_capacity(f->pool, offset), 0);
	}
	assert_whole(f);
}

/* Too large for ever and none left now are different errors, and are counted. */
static void test_pool_full_and_too_large_differ(void **state)
{
	struct fixture *f = *state;
	struct praas_pool_stats stats;
	uint64_t offset[UNITS], more;

	assert_int_equal(praas_pool_alloc(f->pool, 256 * UNIT + 1, &more), -EMSGSIZE);
	assert_int_equal(praas_pool_alloc(f->pool, UINT64_MAX, &more), -EMSGSIZE);
	for (unsigned i = 0; i < UNITS; i++)
		offset[i] = alloc(f, 1);
	assert_int_equal(used(f), AREA_BYTES);
	assert_int_equal(praas_pool_alloc(f->pool, 1, &more), -ENOBUFS);
	praas_pool_stats(f->pool, &stats);
	assert_int_equal(stats.failures, 3);
	assert_int_equal(stats.bytes_total, AREA_BYTES);
	assert_int_equal(stats.allocs, UNITS);
	for (unsigned i = 0; i < UNITS; i++)
		praas_pool_unref(f->pool, offset[i]);
	assert_whole(f);
	praas_pool_stats(f->pool, &stats);
	assert_int_equal(stats.frees, UNITS + 1);
}

/* The same size is had again without cutting: the buffer freed last, still in the
 * cache. */
static void test_pool_reuses_the_last_freed(void **state)
{
	struct fixture *f = *state;
	uint64_t a = alloc(f, 1000), b = alloc(f, 1000);

	praas_pool_unref(f->pool, a);
	praas_pool_unref(f->pool, b);
	assert_int_equal(alloc(f, 1000), b);
	assert_int_equal(alloc(f, 1000), a);
	praas_pool_unref(f->pool, a);
	praas_pool_unref(f->pool, b);
}

/* The last reference frees, and the generation tells the next holder from the last. */
static void test_pool_references_are_counted(void **state)
{
	struct fixture *f = *state;
	uint64_t a = alloc(f, 1);
	uint32_t generation = praas_pool_generation(f->pool, a);

	praas_pool_ref(f->pool, a);
	praas_pool_ref(f->pool, a);
	praas_pool_unref(f->pool, a);
	praas_pool_unref(f->pool, a);
	assert_int_equal(praas_pool_capacity(f->pool, a), 256);
	assert_int_equal(praas_pool_generation(f->pool, a), generation);
	praas_pool_unref(f->pool, a);
	assert_int_equal(praas_pool_capacity(f->pool, a), 0);
	assert_int_equal(alloc(f, 1), a);
	assert_int_equal(praas_pool_generation(f->pool, a), generation + 1);
	praas_pool_unref(f->pool, a);
}

/* Any offset inside a held buffer leads to its begin; others lead nowhere. */
static void test_pool_find_by_inner_offset(void **state)
{
	struct fixture *f = *state;
	uint64_t small = alloc(f, 1), large = alloc(f, 16 * UNIT), begin;

	for (uint64_t i = 0; i < 16 * UNIT; i += 77) {
		assert_int_equal(praas_pool_find(f->pool, large + i, &begin), 0);
		assert_int_equal(begin, large);
	}
	assert_int_equal(praas_pool_find(f->pool, small + 255, &begin), 0);
	assert_int_equal(begin, small);
	praas_pool_unref(f->pool, large);
	begin = 5;
	assert_int_equal(praas_pool_find(f->pool, large, &begin), -ENOENT);
	assert_int_equal(praas_pool_find(f->pool, 0, &begin), -ENOENT);
	assert_int_equal(praas_pool_find(f->pool, small + 256, &begin), -ENOENT);
	assert_int_equal(praas_pool_find(f->pool, small ^ 256, &begin), -ENOENT);
	assert_int_equal(praas_pool_find(f->pool, AREA_AT - 1, &begin), -ENOENT);
	assert_int_equal(praas_pool_find(f->pool, AREA_AT + AREA_BYTES, &begin),
			 -ENOENT);
	assert_int_equal(praas_pool_find(f->pool, UINT64_MAX, &begin), -ENOENT);
	assert_int_equal(begin, 5);
	praas_pool_unref(f->pool, small);
}

/* A peer gives back what it holds, once; everything else it says is a violation and is
 * counted. */
static void test_pool_loans_are_checked(void **state)
{
	struct fixture *f = *state;
	uint64_t a = alloc(f, 1000), b = alloc(f, 1);
	struct praas_pool_stats stats;

	praas_pool_ref(f->pool, a);
	praas_pool_lend(f->pool, a, 3);
	assert_true(praas_pool_lent(f->pool, a, 3));
	assert_false(praas_pool_lent(f->pool, a, 4));
	assert_false(praas_pool_lent(f->pool, a, 64));
	assert_false(praas_pool_lent(f->pool, a + 1, 3));

	assert_int_equal(praas_pool_give_back(f->pool, a, 4),
			 -EPROTO); /* not its own */
	assert_int_equal(praas_pool_give_back(f->pool, b, 3), -EPROTO); /* not lent */
	assert_int_equal(praas_pool_give_back(f->pool, a + 64, 3),
			 -EPROTO); /* inside */
	assert_int_equal(praas_pool_give_back(f->pool, a + 256, 3),
			 -EPROTO); /* inside */
	assert_int_equal(praas_pool_give_back(f->pool, 0, 3), -EPROTO);
	assert_int_equal(praas_pool_give_back(f->pool, UINT64_MAX, 3), -EPROTO);
	assert_int_equal(praas_pool_give_back(f->pool, AREA_AT + AREA_BYTES, 3),
			 -EPROTO);
	assert_int_equal(praas_pool_give_back(f->pool, a, 3), 0);
	assert_int_equal(praas_pool_give_back(f->pool, a, 3), -EPROTO); /* twice */
	praas_pool_stats(f->pool, &stats);
	assert_int_equal(stats.violations, 8);

	assert_int_equal(praas_pool_capacity(f->pool, a),
			 1024); /* our reference holds it */
	praas_pool_unref(f->pool, a);
	praas_pool_unref(f->pool, b);
	assert_whole(f);
}

/* What a dead peer held comes back; what others hold of the same stays. */
static void test_pool_reclaim_ends_the_loans_of_one_peer(void **state)
{
	struct fixture *f = *state;
	uint64_t only = alloc(f, 1), both = alloc(f, 5000), other = alloc(f, 300);

	praas_pool_lend(f->pool, only, 0);
	praas_pool_ref(f->pool, both);
	praas_pool_lend(f->pool, both, 0);
	praas_pool_lend(f->pool, both, 63);
	praas_pool_lend(f->pool, other, 63);
	assert_int_equal(praas_pool_reclaim(f->pool, 0), 2);
	assert_int_equal(praas_pool_reclaim(f->pool, 0), 0);
	assert_int_equal(praas_pool_capacity(f->pool, only), 0);
	assert_true(praas_pool_lent(f->pool, both, 63));
	assert_int_equal(praas_pool_give_back(f->pool, both, 0), -EPROTO);
	assert_int_equal(praas_pool_reclaim(f->pool, 63), 2);
	assert_whole(f);
}

/* Reclaiming all blocks, each of which merges with the last, finds every one. */
static void test_pool_reclaim_survives_merging(void **state)
{
	struct fixture *f = *state;
	unsigned lent = 0;
	uint64_t offset;

	for (unsigned order = 0; order < 6; order++) {
		for (unsigned i = 0; i < 8; i++) {
			if (praas_pool_alloc(f->pool, UNIT << order, &offset) != 0)
				continue;
			praas_pool_lend(f->pool, offset, 9);
			lent++;
		}
	}
	while (praas_pool_alloc(f->pool, 1, &offset) == 0) {
		praas_pool_lend(f->pool, offset, 9);
		lent++;
	}
	assert_int_equal(praas_pool_reclaim(f->pool, 9), lent);
	assert_whole(f);
}

/* A pool is made only of what lies in the segment and is aligned. */
static void test_pool_new_refuses_bad_areas(void **state)
{
	struct fixture *f = *state;
	struct praas_pool *p = NULL;
	uint64_t bytes = f->segment.bytes;

	assert_int_equal(praas_pool_new(&f->segment, 0, 0, &p), -EINVAL);
	assert_int_equal(praas_pool_new(&f->segment, 0, 192, &p), -EINVAL);
	assert_int_equal(praas_pool_new(&f->segment, 32, 4096, &p), -EINVAL);
	assert_int_equal(praas_pool_new(&f->segment, 0, 4096 + 32, &p), -EINVAL);
	assert_int_equal(praas_pool_new(&f->segment, 64, bytes, &p), -EINVAL);
	assert_int_equal(praas_pool_new(&f->segment, bytes + 64, 64, &p), -EINVAL);
	assert_int_equal(praas_pool_new(&f->segment, 0, UINT64_MAX - 63, &p), -EINVAL);
	assert_null(p);
	praas_pool_free(NULL);
}

/* The smallest pool has one buffer. */
static void test_pool_of_one_unit(void **state)
{
	struct fixture *f = *state;
	struct praas_pool *p;
	uint64_t a, b;

	assert_int_equal(praas_pool_new(&f->segment, 128, UNIT + 64, &p), 0);
	assert_int_equal(praas_pool_alloc(p, 257, &a), -EMSGSIZE);
	assert_int_equal(praas_pool_alloc(p, 256, &a), 0);
	assert_int_equal(a, 128);
	assert_int_equal(praas_pool_alloc(p, 1, &b), -ENOBUFS);
	praas_pool_unref(p, a);
	assert_int_equal(praas_pool_alloc(p, 1, &b), 0);
	praas_pool_free(p);
}

/* Our own mistakes end the program: a buffer dropped twice, or lent away and used on.
 */
static bool aborts(void (*mistake)(struct praas_pool *pool), struct praas_pool *pool)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		(void)signal(SIGABRT, SIG_DFL);
		(void)close(STDERR_FILENO);
		mistake(pool);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void unref_twice(struct praas_pool *pool)
{
	uint64_t a = 0;

	(void)praas_pool_alloc(pool, 1, &a);
	praas_pool_unref(pool, a);
	praas_pool_unref(pool, a);
}

static void unref_a_loan(struct praas_pool *pool)
{
	uint64_t a = 0;

	(void)praas_pool_alloc(pool, 1, &a);
	praas_pool_lend(pool, a, 1);
	praas_pool_unref(pool, a);
}

static void lend_twice(struct praas_pool *pool)
{
	uint64_t a = 0;

	(void)praas_pool_alloc(pool, 1, &a);
	praas_pool_ref(pool, a);
	praas_pool_lend(pool, a, 1);
	praas_pool_lend(pool, a, 1);
}

static void ref_nothing(struct praas_pool *pool)
{
	praas_pool_ref(pool, AREA_AT);
}

static void test_pool_own_mistakes_abort(void **state)
{
	struct fixture *f = *state;

	assert_true(aborts(unref_twice, f->pool));
	assert_true(aborts(unref_a_loan, f->pool));
	assert_true(aborts(lend_twice, f->pool));
	assert_true(aborts(ref_nothing, f->pool));
}

/* ---- against a model
 * ------------------------------------------------------------------ */

#define HELD_MAX 200u
#define PEERS 4u

struct held {
	uint64_t offset, bytes;
	unsigned refs; /* ours */
	uint32_t loans;
};

static uint32_t seed = 1;

static uint32_t random_below(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)seed * n >> 32);
}

/* No two buffers overlap, and the pool and the model agree about every one. */
static void compare(const struct fixture *f, const struct held *held, unsigned count)
{
	static uint8_t owner[UNITS];
	uint64_t bytes = 0;

	memset(owner, 0, sizeof(owner));
	for (unsigned i = 0; i < count; i++) {
		uint64_t first = (held[i].offset - AREA_AT) / UNIT;

		assert_int_equal(praas_pool_capacity(f->pool, held[i].offset),
				 held[i].bytes);
		for (uint64_t u = first; u < first + held[i].bytes / UNIT; u++) {
			assert_true(u < UNITS);
			assert_int_equal(owner[u], 0);
			owner[u] = 1;
		}
		bytes += held[i].bytes;
	}
	assert_int_equal(used(f), bytes);
}

static void forget_if_free(struct held *held, unsigned *count, unsigned i)
{
	if (held[i].refs == 0 && held[i].loans == 0)
		held[i] = held[--*count];
}

static void one_step(struct fixture *f, struct held *held, unsigned *count)
{
	unsigned i = *count ? random_below(*count) : 0;
	unsigned peer = random_below(PEERS);
	struct held *h = &held[i];
	uint32_t what = random_below(8);

	if (*count < HELD_MAX && (what < 3 || *count == 0)) {
		uint64_t wanted = random_below((uint32_t)UNIT << random_below(8)),
			 offset;

		if (praas_pool_alloc(f->pool, wanted, &offset) == 0)
			held[(*count)++] = (struct held){ .offset = offset,
							  .bytes = praas_pool_capacity(
								  f->pool, offset),
							  .refs = 1 };
	} else if (what < 5 && h->refs > 0) {
		praas_pool_unref(f->pool, h->offset);
		h->refs--;
		forget_if_free(held, count, i);
	} else if (what == 5 && h->refs > 0) {
		praas_pool_ref(f->pool, h->offset);
		h->refs++;
	} else if (what == 6 && h->refs > 0 && (h->loans & 1u << peer) == 0) {
		praas_pool_lend(f->pool, h->offset, peer);
		h->refs--;
		h->loans |= 1u << peer;
	} else {
		bool has = (h->loans & 1u << peer) != 0;

		assert_int_equal(praas_pool_give_back(f->pool, h->offset, peer),
				 has ? 0 : -EPROTO);
		h->loans &= ~(1u << peer);
		forget_if_free(held, count, i);
	}
}

static void reclaim_all_of(struct fixture *f, struct held *held, unsigned *count,
			   unsigned peer)
{
	unsigned expected = 0;

	for (unsigned i = *count; i-- > 0;) {
		if ((held[i].loans & 1u << peer) == 0)
			continue;
		expected++;
		held[i].loans &= ~(1u << peer);
		forget_if_free(held, count, i);
	}
	assert_int_equal(praas_pool_reclaim(f->pool, peer), expected);
}

/* Random use agrees with the model at every step, and all memory comes back in one
 * piece. */
static void test_pool_agrees_with_a_model(void **state)
{
	struct fixture *f = *state;
	struct held held[HELD_MAX];
	unsigned count = 0;

	for (unsigned round = 0; round < 20; round++) {
		seed = round + 1;
		for (unsigned step = 0; step < 1500; step++) {
			one_step(f, held, &count);
			if (step % 16 == 0)
				compare(f, held, count);
			if (step % 500 == 499)
				reclaim_all_of(f, held, &count, random_below(PEERS));
		}
		for (unsigned peer = 0; peer < PEERS; peer++)
			reclaim_all_of(f, held, &count, peer);
		while (count > 0) {
			praas_pool_unref(f->pool, held[0].offset);
			held[0].refs--;
			forget_if_free(held, &count, 0);
		}
		assert_whole(f);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_pool_classes_are_powers_of_two),
		TEST(test_pool_full_and_too_large_differ),
		TEST(test_pool_reuses_the_last_freed),
		TEST(test_pool_references_are_counted),
		TEST(test_pool_find_by_inner_offset),
		TEST(test_pool_loans_are_checked),
		TEST(test_pool_reclaim_ends_the_loans_of_one_peer),
		TEST(test_pool_reclaim_survives_merging),
		TEST(test_pool_new_refuses_bad_areas),
		TEST(test_pool_of_one_unit),
		TEST(test_pool_own_mistakes_abort),
		TEST(test_pool_agrees_with_a_model),
	};

	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
