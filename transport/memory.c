/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"

/*
 * A buffer and its handle are one block: handle first, payload at the next multiple of 64. Free
 * blocks lie in one list per class. Large blocks come from mmap through malloc and are given back
 * at once when the kept bytes are at their limit.
 */

#define CLASS_MIN_SHIFT 8u
#define CLASSES 56u
#define KEPT_DEFAULT (16u << 20)

#define HANDLE_BYTES ((sizeof(struct praas_buf) + 63u) & ~(size_t)63)

struct praas_heap {
	struct praas_memory memory;
	struct praas_heap_config config;
	struct praas_heap_stats stats;
	struct praas_buf *free[CLASSES]; /* of 256 << i bytes */
	struct praas_region_watch *watches;
};

void praas_region_watch_set(struct praas_region_watch **list,
			    struct praas_region_watch *watch, bool on)
{
	while (*list && *list != watch)
		list = &(*list)->next;
	if (on && !*list) {
		watch->next = NULL;
		*list = watch;
	} else if (!on && *list) {
		*list = watch->next;
	}
}

void praas_region_going(struct praas_region_watch *list,
			const struct praas_region *region)
{
	struct praas_region_watch *next;

	for (; list; list = next) {
		next = list->next; /* it may leave */
		list->going(list->user, region);
	}
}

static unsigned class_of(uint64_t bytes)
{
	unsigned shift;

	if (bytes <= 1u << CLASS_MIN_SHIFT)
		return 0;
	shift = 64u - (unsigned)__builtin_clzll(bytes - 1);
	return shift - CLASS_MIN_SHIFT;
}

/* A block is a region: the kept ones are taken again, so a device soon knows those in use. offset: how
 * far from the block's begin what is used of it lies now. */
static struct praas_region region_of(const struct praas_buf *buf)
{
	uint64_t bytes = UINT64_C(1) << (buf->cookie + CLASS_MIN_SHIFT);

	return (struct praas_region){ .base = buf->data - buf->offset - HANDLE_BYTES,
				      .bytes = HANDLE_BYTES + bytes };
}

static void block_free(struct praas_heap *heap, struct praas_buf *buf)
{
	struct praas_region region = region_of(buf);

	praas_region_going(heap->watches, &region);
	free(buf);
}

static void give_back(struct praas_buf *buf)
{
	struct praas_heap *heap = buf->owner;
	unsigned class = (unsigned)buf->cookie;
	uint64_t bytes = UINT64_C(1) << (class + CLASS_MIN_SHIFT);

	heap->stats.bytes_used -= bytes;
	heap->stats.buffers--;
	if (heap->stats.bytes_kept + bytes > heap->config.kept_max) {
		block_free(heap, buf);
		return;
	}
	heap->stats.bytes_kept += bytes;
	buf->next = heap->free[class];
	heap->free[class] = buf;
}

static int take(void *user, uint64_t bytes, struct praas_buf **ret_buf)
{
	struct praas_heap *heap = user;
	struct praas_buf *buf;
	uint64_t capacity;
	unsigned class;

	if (bytes >
	    (heap->config.buffer_max ? heap->config.buffer_max : UINT64_C(1) << 46))
		return -EMSGSIZE;
	class = class_of(bytes);
	capacity = UINT64_C(1) << (class + CLASS_MIN_SHIFT);
	if (heap->config.bytes_max != 0 &&
	    (capacity > heap->config.bytes_max ||
	     heap->stats.bytes_used > heap->config.bytes_max - capacity))
		return -ENOBUFS;
	buf = heap->free[class];
	if (buf != NULL) {
		heap->free[class] = buf->next;
		heap->stats.bytes_kept -= capacity;
	} else {
		buf = aligned_alloc(64, HANDLE_BYTES + capacity);
		if (buf == NULL)
			return -ENOBUFS;
	}
	memset(&buf->head, 0, sizeof(buf->head));
	buf->data = (uint8_t *)buf + HANDLE_BYTES;
	buf->capacity = capacity;
	buf->segment = 0;
	buf->offset = 0;
	buf->lent = NULL;
	buf->key[0] = '\0';
	buf->release = give_back;
	buf->owner = heap;
	buf->cookie = class;
	buf->next = NULL;
	heap->stats.bytes_used += capacity;
	heap->stats.buffers++;
	*ret_buf = buf;
	return 0;
}

static bool find_region(void *user, const struct praas_buf *buf,
			struct praas_region *ret_region)
{
	/* Whoever passes it on may have put a release of its own into the handle, or into a copy of it. */
	if (buf->owner != user)
		return false;
	*ret_region = region_of(buf);
	return true;
}

static void watch_heap(void *user, struct praas_region_watch *watch, bool on)
{
	struct praas_heap *heap = user;

	praas_region_watch_set(&heap->watches, watch, on);
}

int praas_heap_new(const struct praas_heap_config *config, struct praas_heap **ret_heap)
{
	struct praas_heap *heap = calloc(1, sizeof(*heap));

	if (heap == NULL)
		return -ENOMEM;
	if (config != NULL)
		heap->config = *config;
	if (heap->config.kept_max == 0)
		heap->config.kept_max = KEPT_DEFAULT;
	heap->memory = (struct praas_memory){
		.alloc = take, .region = find_region, .watch = watch_heap, .user = heap
	};
	*ret_heap = heap;
	return 0;
}

void praas_heap_free(struct praas_heap *heap)
{
	if (heap == NULL)
		return;
	praas_check(heap->stats.buffers == 0);
	for (unsigned i = 0; i < CLASSES; i++) {
		while (heap->free[i] != NULL) {
			struct praas_buf *buf = heap->free[i];

			heap->free[i] = buf->next;
			block_free(heap, buf);
		}
	}
	free(heap);
}

const struct praas_memory *praas_heap_memory(struct praas_heap *heap)
{
	return &heap->memory;
}

void praas_heap_stats(const struct praas_heap *heap, struct praas_heap_stats *ret_stats)
{
	*ret_stats = heap->stats;
}
