/* SPDX-License-Identifier: Apache-2.0
 * Regions: what memory tells those who register it with a device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controller/pool_memory.h"
#include "transport/memory.h"

struct watcher {
	struct praas_region_watch watch;
	unsigned gone;
	struct praas_region last;
};

static void on_going(void *user, const struct praas_region *region)
{
	struct watcher *w = user;

	w->gone++;
	w->last = *region;
}

static bool holds(const struct praas_region *region, const struct praas_buf *buf)
{
	return buf->data >= region->base &&
	       buf->data + buf->capacity <= region->base + region->bytes;
}

/* A block of the heap is a region until it is freed, kept or not; all watches hear of it. */
static void test_regions_heap_blocks_come_and_go(void **state)
{
	struct praas_heap_config config = { .kept_max = 4096 };
	struct watcher w[2] = { { .watch = { .going = on_going, .user = &w[0] } },
				{ .watch = { .going = on_going, .user = &w[1] } } };
	struct praas_region region, again;
	const struct praas_memory *m;
	struct praas_heap *heap, *other;
	struct praas_buf *buf;

	(void)state;
	assert_int_equal(praas_heap_new(&config, &heap), 0);
	assert_int_equal(praas_heap_new(&config, &other), 0);
	m = praas_heap_memory(heap);
	m->watch(m->user, &w[0].watch, true);
	m->watch(m->user, &w[1].watch, true);
	assert_int_equal(m->alloc(m->user, 1000, &buf), 0);
	assert_true(m->region(m->user, buf, &region));
	assert_true(holds(&region, buf));
	assert_false(m->region(other, buf, &again)); /* not of its memory */
	praas_buf_release(buf);
	assert_int_equal(w[0].gone + w[1].gone, 0); /* kept */
	assert_int_equal(m->alloc(m->user, 900, &buf), 0);
	assert_true(m->region(m->user, buf, &again));
	assert_ptr_equal(again.base, region.base);
	m->watch(m->user, &w[0].watch, false);
	praas_buf_release(buf);
	assert_int_equal(m->alloc(m->user, 100000, &buf), 0);
	assert_true(m->region(m->user, buf, &again));
	praas_buf_release(buf); /* too large to be kept */
	assert_int_equal(w[0].gone, 0);
	assert_int_equal(w[1].gone, 1);
	assert_ptr_equal(w[1].last.base, again.base);
	praas_heap_free(heap);
	assert_int_equal(w[1].gone, 2);
	assert_ptr_equal(w[1].last.base, region.base);
	praas_heap_free(other);
}

/* All of a pool is one region that stays; a big segment goes with its buffer. */
static void test_regions_pool_is_one(void **state)
{
	struct praas_pool_memory_config config = { .pool_bytes = 8u << 20,
						   .bytes_max = 1u << 30,
						   .big_bytes_max = 1u << 30,
						   .pool_segment = 1,
						   .big_first = 0x1000,
						   .big_count = 16 };
	struct watcher w = { .watch = { .going = on_going, .user = &w } };
	struct praas_region region, again;
	struct praas_buf *buf, foreign = { .segment = 0x2000 };
	const struct praas_memory *m;
	struct praas_pool_memory *pool;

	(void)state;
	assert_int_equal(praas_pool_memory_new(&config, &pool), 0);
	m = praas_pool_memory_table(pool);
	m->watch(m->user, &w.watch, true);
	assert_false(m->region(m->user, &foreign, &region));
	for (uint64_t bytes = 1; bytes <= 1u << 20; bytes *= 16) {
		assert_int_equal(m->alloc(m->user, bytes, &buf), 0);
		assert_true(m->region(m->user, buf, &region));
		assert_ptr_equal(region.base, praas_pool_memory_segment(pool)->base);
		assert_int_equal(region.bytes, config.pool_bytes);
		assert_true(holds(&region, buf));
		praas_buf_release(buf);
	}
	assert_int_equal(w.gone, 0);
	assert_int_equal(m->alloc(m->user, 16u << 20, &buf), 0);
	assert_true(m->region(m->user, buf, &again));
	assert_true(holds(&again, buf));
	assert_ptr_not_equal(again.base, region.base);
	praas_buf_release(buf);
	assert_int_equal(w.gone, 1);
	assert_ptr_equal(w.last.base, again.base);
	m->watch(m->user, &w.watch, false);
	praas_pool_memory_free(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_regions_heap_blocks_come_and_go),
		cmocka_unit_test(test_regions_pool_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
