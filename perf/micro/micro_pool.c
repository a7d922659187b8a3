/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/micro/micro.h"
#include "shm/pool.h"

/* The buffer pool as calls use it. */

#define AREA_BYTES (16u << 20)
#define HELD 8u

static struct praas_segment segment;
static struct praas_pool *pool;

static void check(int rc)
{
	if (rc != 0)
		abort();
}

static void start(void)
{
	check(praas_segment_create("micro", AREA_BYTES, 1, 0, &segment));
	check(praas_pool_new(&segment, 0, AREA_BYTES, &pool));
}

static void alloc_free(uint64_t count)
{
	uint64_t offset;

	start();
	for (uint64_t i = 0; i < count; i++) {
		check(praas_pool_alloc(pool, 1024, &offset));
		praas_pool_unref(pool, offset);
	}
}

/* A buffer that a peer gets and gives back. */
static void lend_back(uint64_t count)
{
	uint64_t offset;

	start();
	for (uint64_t i = 0; i < count; i++) {
		check(praas_pool_alloc(pool, 1024, &offset));
		praas_pool_lend(pool, offset, 5);
		check(praas_pool_give_back(pool, offset, 5));
	}
}

/* Some held at a time, sizes from 256 B to 64 KiB. */
static void mixed(uint64_t count)
{
	uint64_t offset[HELD];
	uint32_t random = 1;

	start();
	for (unsigned k = 0; k < HELD; k++)
		check(praas_pool_alloc(pool, 256, &offset[k]));
	for (uint64_t i = 0; i < count; i++) {
		random = random * 1664525u + 1013904223u;
		praas_pool_unref(pool, offset[i % HELD]);
		check(praas_pool_alloc(pool, 256u << (random >> 24) % 9,
				       &offset[i % HELD]));
	}
}

/* Large ones, which are cut and merged each time. */
static void large(uint64_t count)
{
	uint64_t offset;

	start();
	for (uint64_t i = 0; i < count; i++) {
		check(praas_pool_alloc(pool, 4u << 20, &offset));
		praas_pool_unref(pool, offset);
	}
}

static void find_inner(uint64_t count)
{
	uint64_t offset, begin;

	start();
	check(praas_pool_alloc(pool, 16384, &offset));
	for (uint64_t i = 0; i < count; i++)
		check(praas_pool_find(pool, offset + 9000, &begin));
}

int main(int argc, char **argv)
{
	static const struct praas_micro table[] = {
		{ "alloc_free", alloc_free }, { "lend_back", lend_back },
		{ "mixed", mixed },           { "large", large },
		{ "find_inner", find_inner },
	};

	return praas_micro_main(argc, argv, table, sizeof(table) / sizeof(table[0]));
}
