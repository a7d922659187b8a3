/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/pool_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "internal/base.h"
#include "shm/segment.h"

#define HANDLES_MAX 65536u
#define HANDLES_STEP 128u /* made at once */
#define PAGE_BYTES 4096u

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

struct block {
	struct block *next;
	struct praas_buf bufs[HANDLES_STEP];
};

struct praas_pool_memory {
	struct praas_pool_memory_config config;
	struct praas_memory table;
	struct praas_segment segment;
	struct praas_pool *pool;
	struct praas_buf *free;
	struct block *blocks;
	uint32_t handles;
	/* Big ones. */
	struct praas_segment *big; /* config.big_count; bytes 0: free */
	uint64_t big_bytes;
	uint32_t big_next;
	struct praas_region_watch *watches;
};

/* More handles, a block at a time: a busy process soon has all that it will ever need. */
static int more_handles(struct praas_pool_memory *m)
{
	struct block *b;

	if (m->handles + HANDLES_STEP > HANDLES_MAX)
		return -ENOBUFS;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOBUFS;
	b->next = m->blocks;
	m->blocks = b;
	for (unsigned i = 0; i < HANDLES_STEP; i++) {
		b->bufs[i].next = m->free;
		m->free = &b->bufs[i];
	}
	m->handles += HANDLES_STEP;
	return 0;
}

static struct praas_buf *take_handle(struct praas_pool_memory *m)
{
	struct praas_buf *buf;

	if (praas_unlikely(!m->free) && more_handles(m) != 0)
		return NULL;
	buf = m->free;
	m->free = buf->next;
	buf->next = NULL;
	buf->head = (struct praas_frame){ 0 };
	buf->key[0] = '\0';
	buf->owner = m;
	return buf;
}

static void put_handle(struct praas_pool_memory *m, struct praas_buf *buf)
{
	buf->next = m->free;
	m->free = buf;
}

static void release_pooled(struct praas_buf *buf)
{
	struct praas_pool_memory *m = buf->owner;

	praas_pool_unref(m->pool, buf->cookie);
	put_handle(m, buf);
}

static void release_big(struct praas_buf *buf)
{
	struct praas_pool_memory *m = buf->owner;
	struct praas_segment *s = &m->big[buf->cookie];
	struct praas_region region = { .base = s->base, .bytes = s->bytes };

	praas_region_going(m->watches, &region);
	if (m->config.big)
		(void)m->config.big(m->config.user, s,
				    false); /* going cannot be refused */
	m->big_bytes -= s->bytes;
	praas_segment_release(s);
	*s = (struct praas_segment){ 0 };
	put_handle(m, buf);
}

/* A segment of its own for a payload that the pool cannot hold. About 1 ms per MiB. */
static PRAAS_COLD int alloc_big(struct praas_pool_memory *m, uint64_t bytes,
				struct praas_buf **ret_buf)
{
	uint64_t room = m->config.big_bytes_max - m->big_bytes;
	uint64_t size = praas_segment_payload_bytes(praas_max_u64(bytes, 1), room);
	struct praas_segment *s = NULL;
	struct praas_buf *buf;
	uint32_t i;
	int rc;

	if (bytes > m->config.bytes_max)
		return -EMSGSIZE;
	if (size > room)
		return -ENOBUFS;
	for (i = 0; i < m->config.big_count && !s; i++) {
		uint32_t at = m->big_next++ % m->config.big_count;

		if (m->big[at].bytes == 0)
			s = &m->big[at];
	}
	if (!s)
		return -ENOBUFS;
	buf = take_handle(m);
	if (!buf)
		return -ENOBUFS;
	buf->cookie = (uint64_t)(s - m->big);
	rc = praas_segment_create("praas-big", size,
				  m->config.big_first + (uint32_t)buf->cookie,
				  PRAAS_SEGMENT_HUGE, s);
	if (rc == 0 && m->config.big) {
		rc = m->config.big(m->config.user, s, true);
		if (rc != 0)
			praas_segment_release(s);
	}
	if (rc != 0) {
		*s = (struct praas_segment){ 0 };
		put_handle(m, buf);
		return -ENOBUFS;
	}
	m->big_bytes += s->bytes;
	buf->data = s->base;
	buf->capacity = s->bytes;
	buf->segment = s->id;
	buf->offset = 0;
	buf->release = release_big;
	*ret_buf = buf;
	return 0;
}

static int alloc(void *user, uint64_t bytes, struct praas_buf **ret_buf)
{
	struct praas_pool_memory *m = user;
	struct praas_buf *buf;
	uint64_t offset;
	int rc = praas_pool_alloc(m->pool, bytes, &offset);

	if (praas_unlikely(rc == -EMSGSIZE))
		return alloc_big(m, bytes, ret_buf);
	if (praas_unlikely(rc != 0))
		return rc;
	buf = take_handle(m);
	if (praas_unlikely(!buf)) {
		praas_pool_unref(m->pool, offset);
		return -ENOBUFS;
	}
	buf->data = m->segment.base + offset;
	buf->capacity = praas_pool_capacity(m->pool, offset);
	buf->segment = m->segment.id;
	buf->offset = offset;
	buf->cookie = offset;
	buf->release = release_pooled;
	*ret_buf = buf;
	return 0;
}

/* The pool is one region; a big segment is one of its own, which comes and goes. */
static bool find_region(void *user, const struct praas_buf *buf,
			struct praas_region *ret_region)
{
	const struct praas_pool_memory *m = user;
	const struct praas_segment *s = NULL;

	if (buf->segment == m->segment.id)
		s = &m->segment;
	else if (buf->segment - m->config.big_first < m->config.big_count)
		s = &m->big[buf->segment - m->config.big_first];
	if (!s || s->bytes == 0)
		return false;
	*ret_region = (struct praas_region){ .base = s->base, .bytes = s->bytes };
	return true;
}

static void watch_memory(void *user, struct praas_region_watch *watch, bool on)
{
	struct praas_pool_memory *m = user;

	praas_region_watch_set(&m->watches, watch, on);
}

int praas_pool_memory_new(const struct praas_pool_memory_config *config,
			  struct praas_pool_memory **ret_m)
{
	struct praas_pool_memory *m = calloc(1, sizeof(*m));
	uint64_t populate = praas_min_u64(config->populate_bytes, config->pool_bytes);
	int rc;

	if (!m)
		return -ENOMEM;
	m->config = *config;
	m->big = calloc(config->big_count ? config->big_count : 1, sizeof(*m->big));
	rc = m->big ? more_handles(m) : -ENOMEM;
	if (rc != 0)
		goto err_free;
	rc = praas_segment_create("praas-pool", config->pool_bytes,
				  config->pool_segment,
				  PRAAS_SEGMENT_OWN | PRAAS_SEGMENT_LAZY, &m->segment);
	if (rc != 0)
		goto err_free;
	if (populate > 0)
		(void)madvise(m->segment.base, (size_t)populate,
			      MADV_POPULATE_WRITE); /* else at the first touch */
	rc = praas_pool_new(&m->segment, 0, config->pool_bytes, &m->pool);
	if (rc != 0)
		goto err_free;
	m->table = (struct praas_memory){
		.alloc = alloc, .region = find_region, .watch = watch_memory, .user = m
	};
	*ret_m = m;
	return 0;

err_free:
	praas_pool_memory_free(m);
	return rc == -ENOBUFS ? -ENOMEM : rc;
}

void praas_pool_memory_free(struct praas_pool_memory *m)
{
	struct block *b, *next;

	if (!m)
		return;
	praas_pool_free(m->pool);
	for (uint32_t i = 0; m->big && i < m->config.big_count; i++)
		if (m->big[i].bytes != 0)
			praas_segment_release(&m->big[i]);
	if (m->segment.bytes != 0)
		praas_segment_release(&m->segment);
	for (b = m->blocks; b; b = next) {
		next = b->next;
		free(b);
	}
	free(m->big);
	free(m);
}

const struct praas_memory *praas_pool_memory_table(struct praas_pool_memory *m)
{
	return &m->table;
}

struct praas_pool *praas_pool_memory_pool(struct praas_pool_memory *m)
{
	return m->pool;
}

const struct praas_segment *praas_pool_memory_segment(const struct praas_pool_memory *m)
{
	return &m->segment;
}
