/* SPDX-License-Identifier: Apache-2.0
 *
 * A stream of frames, cut at places that the input chooses, with frames kept by the layer above
 * and memory that runs out: what comes out is what a parser with all the bytes at hand finds,
 * and every buffer comes back. The input: one byte of choices, one seed of cuts, then the stream,
 * in which headers get their magic and sequence when the choices say so.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"
#include "transport/memory.h"
#include "transport/tcp_stream.h"

#define STREAM_MAX 300000u
#define KEPT_MAX 40u
#define PAYLOAD_MAX 200000u

static uint8_t stream[STREAM_MAX];

static void require(bool ok)
{
	if (!ok)
		abort();
}

/* Frames from the input, four bytes each: kind, flags and key, payload size; filled with a
 * pattern. Returns bytes of the stream. */
static size_t build(const uint8_t *data, size_t bytes, bool honest)
{
	size_t at = 0;
	uint64_t sequence = 0;

	for (; bytes >= 4; data += 4, bytes -= 4) {
		struct praas_frame f = { .kind = data[0] & 0x3f,
					 .flags = data[1] & (honest ? 6 : 15),
					 .key_bytes = data[1] >> 2,
					 .sequence = ++sequence + (data[0] == 0xff),
					 .id = at,
					 .bytes = data[2] | (uint64_t)data[3] << 8 };
		uint64_t total;

		if (honest)
			f.kind = PRAAS_FRAME_INVOKE;
		if (data[0] & 0x80)
			f.bytes *= 3; /* beyond a chunk, and beyond the limit */
		total = PRAAS_FRAME_BYTES + praas_frame_body_bytes(&f);
		if (at + total > STREAM_MAX)
			break;
		praas_frame_encode(&f, stream + at);
		memset(stream + at + PRAAS_FRAME_BYTES, (int)(sequence | 1),
		       total - PRAAS_FRAME_BYTES);
		if (f.flags & PRAAS_FRAME_TRACE)
			memset(stream + at + PRAAS_FRAME_BYTES + 25, 0, 7);
		if (!honest && (data[0] & 0x40))
			stream[at + data[3] % total] ^= data[2];
		at += total;
	}
	return at;
}

/* The oracle: the frame at *at of the whole stream. */
static int expect_next(size_t *at, size_t bytes, uint64_t *sequence,
		       struct praas_frame *ret_f, const uint8_t **ret_data)
{
	uint8_t trace[PRAAS_TRACE_BYTES];
	char key[PRAAS_KEY_MAX + 1];
	int rc;

	if (bytes - *at < PRAAS_FRAME_BYTES)
		return -EAGAIN;
	rc = praas_frame_decode(stream + *at, PAYLOAD_MAX, ret_f);
	if (rc != 0)
		return rc;
	if (ret_f->sequence != *sequence + 1)
		return -EPROTO;
	if (bytes - *at - PRAAS_FRAME_BYTES < praas_frame_body_bytes(ret_f))
		return -EAGAIN;
	if (praas_frame_meta_decode(ret_f, stream + *at + PRAAS_FRAME_BYTES, trace,
				    key) != 0)
		return -EPROTO;
	*ret_data = stream + *at + PRAAS_FRAME_BYTES + praas_frame_meta_bytes(ret_f);
	*at += PRAAS_FRAME_BYTES + praas_frame_body_bytes(ret_f);
	(*sequence)++;
	return 0;
}

static bool same(const struct praas_frame *a, const struct praas_frame *b)
{
	uint8_t x[PRAAS_FRAME_BYTES], y[PRAAS_FRAME_BYTES];

	praas_frame_encode(a, x);
	praas_frame_encode(b, y);
	return memcmp(x, y, sizeof(x)) == 0;
}

struct run {
	struct praas_heap *heap;
	struct praas_tcp_chunks chunks;
	struct praas_tcp_stream s;
	struct praas_buf *kept[KEPT_MAX];
	unsigned kept_count, keep;
	size_t at; /* of the oracle */
	size_t bytes;
	uint64_t sequence;
	uint64_t random;
};

static uint64_t draw(struct run *r)
{
	r->random = r->random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return r->random >> 33;
}

static void drop_kept(struct run *r)
{
	for (unsigned i = 0; i < r->kept_count; i++)
		praas_buf_release(r->kept[i]);
	r->kept_count = 0;
}

/* Takes what is there; compares. False when the stream has ended in an error. */
static bool take(struct run *r)
{
	for (;;) {
		struct praas_buf *buf;
		const uint8_t *data = NULL;
		struct praas_frame f;
		int rc = praas_tcp_stream_next(&r->s, PAYLOAD_MAX, &buf);

		if (rc == -ENOBUFS) {
			require(r->kept_count > 0);
			drop_kept(r); /* the layer above lets go */
			continue;
		}
		if (rc == -EAGAIN)
			return true;
		if (rc != 0) {
			int want =
				expect_next(&r->at, r->bytes, &r->sequence, &f, &data);

			/* A meta block may be refused before the payload is there. */
			require(want == rc || want == -EAGAIN);
			return false;
		}
		require(expect_next(&r->at, r->bytes, &r->sequence, &f, &data) == 0);
		require(same(&f, &buf->head));
		require((uintptr_t)buf->data % 64 == 0 || f.bytes == 0);
		require(f.bytes == 0 || memcmp(buf->data, data, f.bytes) == 0);
		if (r->keep > 0 && r->kept_count < KEPT_MAX && draw(r) % r->keep != 0)
			r->kept[r->kept_count++] = buf;
		else
			praas_buf_release(buf);
		if (r->kept_count == KEPT_MAX)
			drop_kept(r);
	}
}

/* One receive of up to n bytes, in one of the ways there are. Returns how many it took. */
static size_t receive(struct run *r, const uint8_t *from, size_t n)
{
	struct praas_tcp_chunk *chunk = NULL;
	uint64_t room;
	uint8_t *to;
	int rc;

	if (praas_tcp_stream_idle(&r->s) && draw(r) % 2)
		chunk = praas_tcp_chunk_take(&r->chunks);
	if (chunk != NULL) {
		n = praas_min_u64(n, PRAAS_TCP_CHUNK_BYTES);
		memcpy(chunk->data, from, n);
		praas_tcp_stream_adopt(&r->s, chunk, (uint32_t)n);
		return n;
	}
	if (draw(r) % 4 == 0)
		praas_tcp_stream_park(&r->s);
	rc = praas_tcp_stream_space(&r->s, &to, &room);
	if (rc == -ENOBUFS) {
		require(r->kept_count > 0);
		drop_kept(r);
		return 0;
	}
	require(rc == 0 && room > 0);
	n = praas_min_u64(n, room);
	memcpy(to, from, n);
	praas_tcp_stream_filled(&r->s, n);
	return n;
}

/* What there is no memory for is refused, and leaves nothing behind. */
static void no_memory(struct praas_tcp_chunks *chunks)
{
	struct praas_tcp_slice *slice;
	uint32_t before = chunks->slices_free;

	require(praas_tcp_slice_alloc(chunks, UINT64_MAX, false, &slice) == -EMSGSIZE);
	require(praas_tcp_slice_alloc(chunks, UINT64_C(1) << 50, true, &slice) != 0);
	require(chunks->slices_free == before);
	require(praas_tcp_slice_alloc(chunks, 10, true, &slice) == 0);
	require(praas_tcp_slice_has_headroom(&slice->buf));
	praas_buf_release(&slice->buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct praas_heap_config config = { .bytes_max = 4u << 20 };
	struct run r = { .sequence = 0 };
	uint64_t cut_max;
	size_t at = 0;

	if (bytes < 2)
		return 0;
	r.random = data[1];
	r.keep = data[0] & 3;
	cut_max = UINT64_C(1) << ((data[0] >> 2 & 7) * 2 + 3);
	r.bytes = build(data + 2, bytes - 2, data[0] >> 7);
	require(praas_heap_new(&config, &r.heap) == 0);
	require(praas_tcp_chunks_init(&r.chunks, praas_heap_memory(r.heap), 6, 48) ==
		0);
	no_memory(&r.chunks);
	praas_tcp_stream_init(&r.s, &r.chunks);
	while (at < r.bytes) {
		at += receive(&r, stream + at,
			      praas_min_u64(1 + draw(&r) % cut_max, r.bytes - at));
		if (!take(&r))
			break;
	}
	drop_kept(&r);
	praas_tcp_stream_release(&r.s);
	require(praas_tcp_chunks_release(&r.chunks));
	praas_heap_free(r.heap); /* checks that all came back */
	return 0;
}
