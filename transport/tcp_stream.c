/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/tcp_stream.h"

#include <errno.h>
#include <string.h>

#include "internal/base.h"

/*
 * Headers, meta blocks and padded payloads are multiples of 64 and chunks are aligned, so `at` is
 * always a multiple of 64 and so is every payload's address. A header never crosses the end of a
 * chunk. When few chunks are left, because the layer above keeps frames, small ones are
 * copied out so that a kept message of 64 bytes does not hold 64 KiB.
 */

#define PINNED_PART 4u /* copy out when less than one in so many chunks is free */
#define COPY_OUT_MAX PRAAS_TCP_BIG_MIN

void praas_tcp_stream_init(struct praas_tcp_stream *s, struct praas_tcp_chunks *chunks)
{
	*s = (struct praas_tcp_stream){ .chunks = chunks };
}

void praas_tcp_stream_release(struct praas_tcp_stream *s)
{
	if (s->chunk)
		praas_tcp_chunk_unref(s->chunks, s->chunk);
	if (s->big)
		praas_buf_release(&s->big->buf);
	if (s->parked)
		praas_buf_release(&s->parked->buf);
	s->chunk = NULL;
	s->big = NULL;
	s->parked = NULL;
	s->at = 0;
	s->fill = 0;
}

/* Bytes that complete the header begun at `at`, or its meta block; 0: both are there. */
static uint64_t wanted(const struct praas_tcp_stream *s)
{
	uint64_t have = s->fill - s->at, want = PRAAS_FRAME_BYTES;

	if (have >= PRAAS_FRAME_BYTES) {
		const uint8_t *wire = s->chunk->data + s->at;
		struct praas_frame f = { .flags = wire[4], .key_bytes = wire[5] };

		want += praas_frame_meta_bytes(&f);
	}
	return want > have ? want - have : 0;
}

void praas_tcp_stream_park(struct praas_tcp_stream *s)
{
	uint32_t have = s->fill - s->at;
	struct praas_tcp_slice *slice;

	if (s->chunk == NULL)
		return;
	if (have > 0) {
		/* At most a header, a meta block and a small payload: the rest is `big`. */
		if (praas_tcp_slice_alloc(s->chunks, have, false, &slice) != 0)
			return;
		memcpy(slice->buf.data, s->chunk->data + s->at, have);
		s->chunks->copies += have > PRAAS_FRAME_BYTES;
		s->parked = slice;
		s->parked_bytes = have;
	}
	praas_tcp_chunk_unref(s->chunks, s->chunk);
	s->chunk = NULL;
	s->at = 0;
	s->fill = 0;
}

/* Into the fresh chunk. */
static PRAAS_COLD void unpark(struct praas_tcp_stream *s)
{
	memcpy(s->chunk->data, s->parked->buf.data, s->parked_bytes);
	s->fill = s->parked_bytes;
	praas_buf_release(&s->parked->buf);
	s->parked = NULL;
}

int praas_tcp_stream_space(struct praas_tcp_stream *s, uint8_t **ret_data,
			   uint64_t *ret_bytes)
{
	uint64_t room;

	if (s->big) {
		*ret_data = s->big->buf.data + s->big_at;
		*ret_bytes = s->big_end - s->big_at;
		return *ret_bytes > 0 ? 0 : -EAGAIN;
	}
	if (s->chunk == NULL) {
		s->chunk = praas_tcp_chunk_take(s->chunks);
		if (s->chunk == NULL)
			return -ENOBUFS;
		s->at = 0;
		s->fill = 0;
		if (praas_unlikely(s->parked != NULL))
			unpark(s);
	}
	room = PRAAS_TCP_CHUNK_BYTES - s->fill;
	if (room == 0)
		return -EAGAIN;
	if (s->header_first) {
		uint64_t want = wanted(s);

		if (want > 0)
			room = praas_min_u64(room, want);
	}
	*ret_data = s->chunk->data + s->fill;
	*ret_bytes = room;
	return 0;
}

void praas_tcp_stream_filled(struct praas_tcp_stream *s, uint64_t bytes)
{
	if (s->big)
		s->big_at += bytes;
	else
		s->fill += (uint32_t)bytes;
}

void praas_tcp_stream_adopt(struct praas_tcp_stream *s, struct praas_tcp_chunk *chunk,
			    uint32_t fill)
{
	praas_check_hot(praas_tcp_stream_idle(s));
	if (s->chunk)
		praas_tcp_chunk_unref(s->chunks, s->chunk);
	s->chunk = chunk;
	s->at = 0;
	s->fill = fill;
}

/* Nothing unread: the chunk goes back if no frame in it is in use (the next one taken is the
 * same, still in the cache), or when it is full. */
static void drop_chunk(struct praas_tcp_stream *s)
{
	if (s->chunk == NULL || (s->chunk->refs > 1 && s->fill < PRAAS_TCP_CHUNK_BYTES))
		return;
	praas_tcp_chunk_unref(s->chunks, s->chunk);
	s->chunk = NULL;
	s->at = 0;
	s->fill = 0;
}

/* The unread bytes move to the start of a fresh chunk. 0; -ENOBUFS. */
static int relocate(struct praas_tcp_stream *s)
{
	uint32_t have = s->fill - s->at;
	struct praas_tcp_chunk *chunk;

	if (s->chunk->refs == 1) {
		memmove(s->chunk->data, s->chunk->data + s->at, have);
	} else {
		chunk = praas_tcp_chunk_take(s->chunks);
		if (chunk == NULL)
			return -ENOBUFS;
		memcpy(chunk->data, s->chunk->data + s->at, have);
		praas_tcp_chunk_unref(s->chunks, s->chunk);
		s->chunk = chunk;
	}
	s->chunks->copies += have > PRAAS_FRAME_BYTES;
	s->at = 0;
	s->fill = have;
	return 0;
}

/* Fills what a handle says beside its memory; meta lies in front of the payload. */
static int describe(struct praas_tcp_stream *s, struct praas_tcp_slice *slice,
		    const struct praas_frame *f, const uint8_t *meta)
{
	int rc = 0;

	slice->buf.head = *f;
	if ((f->flags & PRAAS_FRAME_TRACE) != 0 || f->key_bytes != 0)
		rc = praas_frame_meta_decode(f, meta, slice->buf.trace, slice->buf.key);
	if (rc != 0)
		praas_buf_release(&slice->buf);
	else
		s->sequence = f->sequence;
	return rc;
}

/* A large frame whose header and meta block are there: memory of its own. */
static int begin_big(struct praas_tcp_stream *s, const struct praas_frame *f)
{
	uint64_t head = PRAAS_FRAME_BYTES + praas_frame_meta_bytes(f);
	const uint8_t *from = s->chunk->data + s->at;
	struct praas_tcp_slice *slice;
	uint64_t have;
	int rc = praas_tcp_slice_alloc(s->chunks, f->bytes, false, &slice);

	if (rc != 0)
		return rc;
	rc = describe(s, slice, f, from + PRAAS_FRAME_BYTES);
	if (rc != 0)
		return rc;
	s->big_end = praas_align_up(f->bytes, PRAAS_FRAME_ALIGN);
	have = praas_min_u64(s->fill - s->at - head, s->big_end);
	memcpy(slice->buf.data, from + head, have);
	s->chunks->copies += have > 0;
	s->at += (uint32_t)(head + have);
	if (s->at == s->fill) {
		/* The next header comes to an aligned place again. */
		s->at = (uint32_t)praas_align_up(s->at, PRAAS_FRAME_ALIGN);
		s->fill = s->at;
		drop_chunk(s);
	}
	s->big = slice;
	s->big_at = have;
	s->header_first = true;
	return 0;
}

static int finish_big(struct praas_tcp_stream *s, struct praas_buf **ret_buf)
{
	if (s->big == NULL || s->big_at < s->big_end)
		return -EAGAIN;
	*ret_buf = &s->big->buf;
	s->big = NULL;
	return 0;
}

/* A whole frame at `at`: a handle on it, or on a copy when chunks are scarce. */
static int hand_out(struct praas_tcp_stream *s, const struct praas_frame *f,
		    struct praas_buf **ret_buf)
{
	uint8_t *from = s->chunk->data + s->at;
	uint8_t *data = from + PRAAS_FRAME_BYTES + praas_frame_meta_bytes(f);
	struct praas_tcp_slice *slice;
	int rc;

	if (praas_unlikely(s->chunks->free_count < s->chunks->count / PINNED_PART &&
			   f->bytes <= COPY_OUT_MAX)) {
		rc = praas_tcp_slice_alloc(s->chunks, f->bytes, false, &slice);
		if (rc != 0)
			return rc;
		if (f->bytes > 0) {
			memcpy(slice->buf.data, data, f->bytes);
			s->chunks->copies++;
		}
	} else {
		slice = praas_tcp_slice_of_chunk(s->chunks, s->chunk, data);
		if (slice == NULL)
			return -ENOBUFS;
	}
	rc = describe(s, slice, f, from + PRAAS_FRAME_BYTES);
	if (rc != 0)
		return rc;
	s->at += (uint32_t)(PRAAS_FRAME_BYTES + praas_frame_body_bytes(f));
	s->header_first = false;
	*ret_buf = &slice->buf;
	return 0;
}

/* A frame that is not all there: see that what is missing has a place. 0: it is big now. */
static int not_whole(struct praas_tcp_stream *s, const struct praas_frame *f)
{
	uint64_t have = s->fill - s->at, room = PRAAS_TCP_CHUNK_BYTES - s->at;
	uint64_t head = PRAAS_FRAME_BYTES + praas_frame_meta_bytes(f);
	bool big = f->bytes > PRAAS_TCP_BIG_MIN;
	int rc;

	if (big && have >= head)
		return begin_big(s, f);
	if ((big ? head : PRAAS_FRAME_BYTES + praas_frame_body_bytes(f)) > room) {
		rc = relocate(s);
		if (rc != 0)
			return rc;
	}
	return -EAGAIN;
}

int praas_tcp_stream_next(struct praas_tcp_stream *s, uint64_t bytes_max,
			  struct praas_buf **ret_buf)
{
	struct praas_frame f;
	int rc;

	if (s->big)
		return finish_big(s, ret_buf);
	if (s->at == s->fill) {
		drop_chunk(s);
		return -EAGAIN;
	}
	if (s->fill - s->at < PRAAS_FRAME_BYTES)
		return -EAGAIN;
	rc = praas_frame_decode(s->chunk->data + s->at, bytes_max, &f);
	if (rc != 0)
		return rc;
	if (f.sequence != s->sequence + 1)
		return -EPROTO;
	if (praas_frame_body_bytes(&f) <= s->fill - s->at - PRAAS_FRAME_BYTES)
		return hand_out(s, &f, ret_buf);
	rc = not_whole(s, &f);
	return rc == 0 ? finish_big(s, ret_buf) : rc;
}
