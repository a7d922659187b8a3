/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/shm_conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"
#include "shm/pages.h"

/* Handles (struct praas_buf) and the memory behind them. Handles come in chunks that a port
 * keeps: after the first calls nothing is allocated. */

#define CHUNK 64u

struct praas_buf_chunk {
	struct praas_buf_chunk *next;
	struct praas_buf buf[CHUNK];
};

static int add_chunk(struct praas_shm_port *p)
{
	struct praas_buf_chunk *chunk = calloc(1, sizeof(*chunk));

	if (!chunk)
		return -ENOMEM;
	chunk->next = p->chunks;
	p->chunks = chunk;
	for (unsigned i = 0; i < CHUNK; i++) {
		chunk->buf[i].next = p->free_bufs;
		p->free_bufs = &chunk->buf[i];
	}
	return 0;
}

struct praas_buf *praas_shm_handle_get(struct praas_shm_conn *c)
{
	struct praas_shm_port *p = c->port;
	struct praas_buf *buf = p->free_bufs;

	if (praas_unlikely(!buf)) {
		if (add_chunk(p) != 0)
			return NULL;
		buf = p->free_bufs;
	}
	p->free_bufs = buf->next;
	buf->next = NULL;
	buf->owner = c;
	c->bufs_out++;
	return buf;
}

void praas_shm_handle_put(struct praas_buf *buf)
{
	struct praas_shm_conn *c = buf->owner;

	buf->next = c->port->free_bufs;
	c->port->free_bufs = buf;
	c->bufs_out--;
	if (praas_unlikely(c->state == PRAAS_SHM_ENDED))
		praas_shm_conn_unref(c);
}

void praas_shm_handles_free(struct praas_shm_port *p)
{
	while (p->chunks) {
		struct praas_buf_chunk *chunk = p->chunks;

		p->chunks = chunk->next;
		free(chunk);
	}
}

/* ---- what we write ---------------------------------------------------------------------- */

int praas_shm_memory_alloc(struct praas_shm_conn *c, uint64_t bytes, uint64_t *ret_ref,
			   uint8_t **ret_data, uint64_t *ret_capacity)
{
	struct praas_shm_big *big;
	uint64_t offset;
	int rc;

	if (bytes > c->base.bytes_max)
		return -EMSGSIZE;
	if (praas_likely(bytes + PRAAS_SHM_HEADROOM <= c->my_geometry.pool_bytes / 2)) {
		rc = praas_pool_alloc(c->pool, bytes + PRAAS_SHM_HEADROOM, &offset);
		if (rc != 0)
			return -ENOBUFS;
		*ret_capacity =
			praas_pool_capacity(c->pool, offset) - PRAAS_SHM_HEADROOM;
		offset += PRAAS_SHM_HEADROOM;
		*ret_ref = praas_shm_ref(c->mine.id, offset);
		*ret_data = c->mine.base + offset;
		return 0;
	}
	rc = praas_shm_big_alloc(c, bytes + PRAAS_SHM_HEADROOM, &big);
	if (rc != 0)
		return rc;
	*ret_capacity = big->segment.bytes - PRAAS_SHM_HEADROOM;
	*ret_ref = praas_shm_ref(big->segment.id, PRAAS_SHM_HEADROOM);
	*ret_data = big->segment.base + PRAAS_SHM_HEADROOM;
	return 0;
}

void praas_shm_memory_free(struct praas_shm_conn *c, uint64_t ref)
{
	if (praas_likely(praas_shm_ref_segment(ref) == c->mine.id)) {
		praas_pool_unref(c->pool,
				 praas_shm_ref_offset(ref) - PRAAS_SHM_HEADROOM);
	} else {
		struct praas_shm_big *big =
			praas_shm_big_find(c, praas_shm_ref_segment(ref));

		praas_check(big != NULL);
		praas_shm_big_free(c, big);
	}
}

static void release_unsent(struct praas_buf *buf)
{
	struct praas_shm_conn *c = buf->owner;

	if (buf->cookie != PRAAS_SHM_NO_REF)
		praas_shm_memory_free(c, buf->cookie);
	praas_shm_handle_put(buf);
}

/* As unsent, for memory that stays the caller's. */
static void release_adopted(struct praas_buf *buf)
{
	release_unsent(buf);
}

bool praas_shm_is_ours(const struct praas_shm_conn *c, const struct praas_buf *buf)
{
	return buf->owner == c &&
	       (buf->release == release_unsent || buf->release == release_adopted);
}

struct praas_buf *praas_shm_adopt(struct praas_shm_conn *c, uint64_t ref, uint8_t *data)
{
	struct praas_buf *buf = praas_shm_handle_get(c);

	if (praas_unlikely(!buf))
		return NULL;
	/* The loan's own reference. A big segment has none to count: its flag kept does. */
	if (praas_shm_ref_segment(ref) == c->mine.id)
		praas_pool_ref(c->pool, praas_shm_ref_offset(ref) - PRAAS_SHM_HEADROOM);
	buf->head = (struct praas_frame){ 0 };
	buf->data = data;
	buf->cookie = ref;
	buf->segment = praas_shm_ref_segment(ref);
	buf->offset = praas_shm_ref_offset(ref);
	buf->capacity = UINT64_MAX; /* the caller has checked */
	buf->key[0] = '\0';
	buf->release = release_adopted;
	return buf;
}

int praas_shm_find(struct praas_shm_conn *c, const void *data, uint64_t *ret_ref)
{
	uint64_t at = (uint64_t)((const uint8_t *)data - c->mine.base);

	if (praas_likely(at >= c->my_from && at < c->mine.bytes)) {
		if (at % PRAAS_FRAME_ALIGN != 0 ||
		    praas_pool_capacity(c->pool, at - PRAAS_SHM_HEADROOM) == 0)
			return -ENOENT;
		*ret_ref = praas_shm_ref(c->mine.id, at);
		return 0;
	}
	for (unsigned i = 0; i < PRAAS_SHM_BIG_MAX; i++) {
		const struct praas_shm_big *b = c->big[i];

		if (!b || !b->kept ||
		    (const uint8_t *)data != b->segment.base + PRAAS_SHM_HEADROOM)
			continue;
		*ret_ref = praas_shm_ref(b->segment.id, PRAAS_SHM_HEADROOM);
		return 0;
	}
	return -ENOENT;
}

/* Before the switch there is no shared memory: the heap, and handles too. */
static void release_heap(struct praas_buf *buf)
{
	free(buf->data);
	buf->data = NULL;
	praas_shm_handle_put(buf);
}

int praas_shm_alloc_heap(struct praas_shm_conn *c, uint64_t bytes,
			 struct praas_buf **ret_buf)
{
	uint64_t capacity = praas_align_up(bytes + 1, PRAAS_FRAME_ALIGN);
	uint8_t *data;
	struct praas_buf *buf;

	if (bytes > PRAAS_SHM_WELCOME_MAX)
		return -EMSGSIZE;
	data = aligned_alloc(PRAAS_FRAME_ALIGN, capacity);
	if (!data)
		return -ENOBUFS;
	buf = praas_shm_handle_get(c);
	if (!buf) {
		free(data);
		return -ENOBUFS;
	}
	buf->data = data;
	buf->capacity = capacity;
	buf->segment = 0;
	buf->offset = 0;
	buf->cookie = PRAAS_SHM_NO_REF;
	buf->release = release_heap;
	*ret_buf = buf;
	return 0;
}

int praas_shm_alloc(struct praas_conn *conn, uint64_t bytes, struct praas_buf **ret_buf)
{
	struct praas_shm_conn *c = praas_shm_conn_of(conn);
	struct praas_buf *buf;
	int rc;

	if (praas_unlikely(c->state != PRAAS_SHM_OPEN)) {
		rc = praas_shm_alloc_heap(c, bytes, &buf);
		if (rc != 0)
			return rc;
	} else {
		buf = praas_shm_handle_get(c);
		if (praas_unlikely(!buf))
			return -ENOBUFS;
		rc = bytes == 0 ? 0
				: praas_shm_memory_alloc(c, bytes, &buf->cookie,
							 &buf->data, &buf->capacity);
		if (praas_unlikely(rc != 0)) {
			praas_shm_handle_put(buf);
			return rc;
		}
		if (bytes == 0) { /* an answer without words: no memory at all */
			buf->cookie = PRAAS_SHM_NO_REF;
			buf->data = NULL;
			buf->capacity = 0;
			buf->segment = 0;
			buf->offset = 0;
		} else {
			buf->segment = praas_shm_ref_segment(buf->cookie);
			buf->offset = praas_shm_ref_offset(buf->cookie);
		}
		buf->release = release_unsent;
	}
	buf->head = (struct praas_frame){ 0 };
	buf->head.bytes = bytes;
	buf->key[0] = '\0';
	*ret_buf = buf;
	return 0;
}

/* ---- what the peer writes ----------------------------------------------------------------- */

int praas_shm_backlog_init(struct praas_shm_backlog *b, uint32_t capacity)
{
	b->ref = praas_pages_new(capacity * sizeof(*b->ref));
	b->capacity = capacity;
	b->head = 0;
	b->count = 0;
	return b->ref ? 0 : -ENOMEM;
}

int praas_shm_backlog_flush(struct praas_channel *ch, struct praas_shm_backlog *b)
{
	while (b->count != 0) {
		int rc = praas_channel_return(ch, b->ref[b->head]);

		if (rc != 0)
			return rc == -EAGAIN ? 0 : rc;
		b->head = b->head + 1 == b->capacity ? 0 : b->head + 1;
		b->count--;
	}
	return 0;
}

int praas_shm_give_back(struct praas_channel *ch, struct praas_shm_backlog *b,
			uint64_t ref)
{
	uint32_t at;
	int rc = b->count == 0 ? praas_channel_return(ch, ref) : -EAGAIN;

	if (praas_likely(rc != -EAGAIN))
		return rc;
	/* As many entries as the peer has buffers: when they are used up it sent some again
	 * before it took them back. */
	if (praas_unlikely(b->count == b->capacity))
		return -EPROTO;
	at = b->head + b->count;
	b->ref[at >= b->capacity ? at - b->capacity : at] = ref;
	b->count++;
	return 0;
}
