/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/tcp_chunks.h"

#include <errno.h>
#include <stdlib.h>

#include "internal/base.h"

#define CHUNKS_MIN 4u
#define CHUNKS_TOUCHED                                                                 \
	8u /* faulted in at open, their first page; the others when used */

static void slice_give_back(struct praas_buf *buf)
{
	struct praas_tcp_chunks *c = buf->owner;
	struct praas_tcp_slice *s = (struct praas_tcp_slice *)buf;

	if (s->chunk)
		praas_tcp_chunk_unref(c, s->chunk);
	praas_buf_release(s->memory);
	s->chunk = NULL;
	s->memory = NULL;
	buf->next = c->slice_free;
	c->slice_free = buf;
	c->slices_free++;
	c->freed = true;
	if (praas_unlikely(c->idle != NULL && c->slices_free == c->slices))
		c->idle(c);
}

static int take_chunks(struct praas_tcp_chunks *c, uint32_t count)
{
	for (; c->count < count; c->count++) {
		struct praas_tcp_chunk *chunk = &c->chunk[c->count];
		int rc = c->memory->alloc(c->memory->user, PRAAS_TCP_CHUNK_BYTES,
					  &chunk->memory);

		if (rc != 0)
			return rc;
		chunk->data = chunk->memory->data;
		chunk->index = (uint16_t)c->count;
		chunk->next = c->free;
		c->free = chunk;
		c->free_count++;
		/* What the first frames need; all of them would be most of an idle process. */
		if (c->count < CHUNKS_TOUCHED)
			chunk->data[0] = 0;
	}
	return 0;
}

int praas_tcp_chunks_init(struct praas_tcp_chunks *c, const struct praas_memory *memory,
			  uint32_t count, uint32_t slices)
{
	int rc;

	*c = (struct praas_tcp_chunks){ .memory = memory };
	c->chunk = calloc(count, sizeof(*c->chunk));
	c->slice = calloc(slices, sizeof(*c->slice));
	if (c->chunk == NULL || c->slice == NULL) {
		free(c->chunk);
		free(c->slice);
		return -ENOMEM;
	}
	rc = take_chunks(c, count);
	c->slices = slices;
	c->slices_free = slices;
	if (c->count >= CHUNKS_MIN)
		return 0; /* fewer than asked for, but enough */
	praas_check(praas_tcp_chunks_release(c));
	return rc;
}

bool praas_tcp_chunks_release(struct praas_tcp_chunks *c)
{
	if (c->slices_free != c->slices || c->free_count != c->count)
		return false;
	for (uint32_t i = 0; i < c->count; i++)
		praas_buf_release(c->chunk[i].memory);
	free(c->chunk);
	free(c->slice);
	*c = (struct praas_tcp_chunks){ 0 };
	return true;
}

struct praas_tcp_chunk *praas_tcp_chunk_take(struct praas_tcp_chunks *c)
{
	struct praas_tcp_chunk *chunk = c->free;

	if (chunk == NULL)
		return NULL;
	c->free = chunk->next;
	c->free_count--;
	chunk->next = NULL;
	chunk->refs = 1;
	return chunk;
}

void praas_tcp_chunk_unref(struct praas_tcp_chunks *c, struct praas_tcp_chunk *chunk)
{
	praas_check_hot(chunk->refs > 0);
	if (--chunk->refs > 0)
		return;
	chunk->next = c->free;
	c->free = chunk;
	c->free_count++;
	c->freed = true;
}

/* One that was never used: most ports never need them all, and so never touch them. */
static PRAAS_COLD struct praas_buf *slice_new(struct praas_tcp_chunks *c)
{
	struct praas_buf *buf;

	if (c->slices_made == c->slices)
		return NULL;
	buf = &c->slice[c->slices_made++].buf;
	buf->owner = c;
	buf->release = slice_give_back;
	buf->next = NULL;
	return buf;
}

static struct praas_tcp_slice *slice_take(struct praas_tcp_chunks *c)
{
	struct praas_buf *buf = c->slice_free;

	if (praas_unlikely(buf == NULL))
		buf = slice_new(c);
	if (buf == NULL)
		return NULL;
	c->slice_free = buf->next;
	c->slices_free--;
	buf->next = NULL;
	buf->key[0] = '\0';
	return (struct praas_tcp_slice *)buf;
}

struct praas_tcp_slice *praas_tcp_slice_of_chunk(struct praas_tcp_chunks *c,
						 struct praas_tcp_chunk *chunk,
						 uint8_t *data)
{
	struct praas_tcp_slice *s = slice_take(c);

	if (s == NULL)
		return NULL;
	s->chunk = chunk;
	s->headroom = false;
	chunk->refs++;
	s->buf.data = data;
	s->buf.capacity = 0; /* received memory is not written to */
	s->buf.segment = chunk->memory->segment;
	s->buf.offset = chunk->memory->offset + (uint64_t)(data - chunk->data);
	return s;
}

int praas_tcp_slice_alloc(struct praas_tcp_chunks *c, uint64_t bytes, bool headroom,
			  struct praas_tcp_slice **ret_slice)
{
	uint64_t room =
		headroom && bytes <= PRAAS_TCP_HEADROOM_MAX ? PRAAS_TCP_HEADROOM : 0;
	uint64_t padded = praas_align_up(bytes, PRAAS_FRAME_ALIGN);
	struct praas_tcp_slice *s;
	int rc;

	if (padded < bytes)
		return -EMSGSIZE;
	s = slice_take(c);
	if (s == NULL)
		return -ENOBUFS;
	s->headroom = room > 0;
	s->buf.data = NULL;
	s->buf.capacity = padded;
	s->buf.segment = 0;
	s->buf.offset = 0;
	if (room + padded > 0) {
		rc = c->memory->alloc(c->memory->user, room + padded, &s->memory);
		if (rc != 0) {
			s->memory = NULL;
			slice_give_back(&s->buf);
			return rc;
		}
		s->buf.data = s->memory->data + room;
		s->buf.segment = s->memory->segment;
		s->buf.offset = s->memory->offset + room;
	}
	*ret_slice = s;
	return 0;
}

bool praas_tcp_slice_has_headroom(const struct praas_buf *buf)
{
	return buf->release == slice_give_back &&
	       ((const struct praas_tcp_slice *)(const void *)buf)->headroom;
}
