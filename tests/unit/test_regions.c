/* SPDX-License-Identifier: Apache-2.0
 * Regions: what memory tells those who register it with a device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "controller/pool_memory.h"
#include "transport/memory.h"
#include "transport/regions.h"

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

/* A device that counts. */
struct device {
	unsigned known, added;
	int refuses;
};

static int device_add(void *user, const struct praas_region *region, void **ret_handle)
{
	struct device *d = user;

	if (d->refuses)
		return d->refuses;
	d->known++;
	d->added++;
	*ret_handle = region->base;
	return 0;
}

static void device_remove(void *user, void *handle)
{
	struct device *d = user;

	assert_non_null(handle);
	d->known--;
}

static struct praas_regions *regions_of(struct device *d, const struct praas_memory *m)
{
	struct praas_regions_config config = {
		.memory = m, .add = device_add, .remove = device_remove, .user = d
	};
	struct praas_regions *regions;

	assert_int_equal(praas_regions_new(&config, &regions), 0);
	return regions;
}

static void other_release(struct praas_buf *buf)
{
	(void)buf;
}

/* A region is told to the device once; a handle of somebody else's for the same memory finds it; it is
 * forgotten when it goes, and when the table does. */
static void test_regions_are_registered_once(void **state)
{
	struct praas_heap_config config = { .kept_max = 4096 };
	struct device d = { 0 };
	struct praas_regions *regions;
	const struct praas_memory *m;
	struct praas_heap *heap;
	struct praas_buf *buf, *big, handle, foreign = { 0 };
	void *first, *again;

	(void)state;
	assert_int_equal(praas_heap_new(&config, &heap), 0);
	m = praas_heap_memory(heap);
	regions = regions_of(&d, m);
	assert_int_equal(m->alloc(m->user, 1000, &buf), 0);
	assert_int_equal(m->alloc(m->user, 100000, &big), 0);
	d.refuses = -ENOMEM;
	assert_int_equal(praas_regions_find(regions, buf, &first), -ENOMEM);
	d.refuses = 0;
	assert_int_equal(praas_regions_find(regions, buf, &first), 0);
	handle = *buf;
	handle.release = other_release;
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(praas_regions_find(regions, &handle, &again), 0);
		assert_ptr_equal(again, first);
		assert_int_equal(praas_regions_find(regions, big, &again), 0);
		assert_ptr_not_equal(again, first);
	}
	assert_int_equal(d.added, 2);
	assert_int_equal(praas_regions_find(regions, &foreign, &again), -ENOENT);
	praas_buf_release(big); /* too large to be kept */
	assert_int_equal(d.known, 1);
	assert_int_equal(praas_regions_count(regions), 2);
	praas_regions_free(regions);
	assert_int_equal(d.known, 0);
	praas_buf_release(buf);
	praas_heap_free(heap); /* nobody listens any more */
	assert_int_equal(d.known, 0);
}

static struct praas_lent lent_at(uintptr_t n)
{
	return (struct praas_lent){ .region = { .base = (uint8_t *)(n * 64),
						.bytes = 64 } };
}

/* Lent memory tells by itself when it goes; several devices may know it; it may outlive them. */
static void test_regions_of_lent_memory(void **state)
{
	struct device d[2] = { { 0 }, { 0 } };
	struct praas_regions *regions[2];
	struct praas_lent lent[2] = { lent_at(1), lent_at(2) };
	struct praas_heap *heap;
	void *handle;

	(void)state;
	assert_int_equal(praas_heap_new(NULL, &heap), 0);
	for (unsigned i = 0; i < 2; i++) {
		regions[i] = regions_of(&d[i], praas_heap_memory(heap));
		for (unsigned k = 0; k < 2; k++) {
			struct praas_buf buf = { .lent = &lent[k] };

			assert_int_equal(praas_regions_find(regions[i], &buf, &handle),
					 0);
			assert_ptr_equal(handle, lent[k].region.base);
		}
	}
	praas_region_going(lent[0].watches, &lent[0].region);
	assert_null(lent[0].watches);
	assert_int_equal(d[0].known, 1);
	assert_int_equal(d[1].known, 1);
	praas_regions_free(regions[0]);
	assert_non_null(lent[1].watches);
	praas_regions_free(regions[1]);
	assert_null(lent[1].watches);
	assert_int_equal(d[0].known + d[1].known, 0);
	praas_heap_free(heap);
}

/* PRAAS_REGIONS_MAX at once are known, one more is refused; places of those that went are used again. */
static void test_regions_are_limited(void **state)
{
	static struct praas_lent lent[PRAAS_REGIONS_MAX + 1];
	struct device d = { 0 };
	struct praas_regions *regions;
	struct praas_heap *heap;
	struct praas_buf buf = { 0 };
	void *handle;

	(void)state;
	assert_int_equal(praas_heap_new(NULL, &heap), 0);
	regions = regions_of(&d, praas_heap_memory(heap));
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i <= PRAAS_REGIONS_MAX; i++) {
			lent[i] = lent_at(1 + i + round * 100000);
			buf.lent = &lent[i];
			assert_int_equal(praas_regions_find(regions, &buf, &handle),
					 i < PRAAS_REGIONS_MAX ? 0 : -ENOBUFS);
		}
		for (unsigned i = 0; i < PRAAS_REGIONS_MAX; i++) {
			buf.lent = &lent[i];
			assert_int_equal(praas_regions_find(regions, &buf, &handle), 0);
			assert_ptr_equal(handle, lent[i].region.base);
		}
		assert_int_equal(d.known, PRAAS_REGIONS_MAX);
		assert_int_equal(d.added, PRAAS_REGIONS_MAX * (round + 1));
		for (unsigned i = 0; i < PRAAS_REGIONS_MAX; i++)
			praas_region_going(lent[i].watches, &lent[i].region);
		assert_int_equal(d.known, 0);
	}
	praas_regions_free(regions);
	praas_heap_free(heap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_regions_heap_blocks_come_and_go),
		cmocka_unit_test(test_regions_pool_is_one),
		cmocka_unit_test(test_regions_are_registered_once),
		cmocka_unit_test(test_regions_of_lent_memory),
		cmocka_unit_test(test_regions_are_limited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
