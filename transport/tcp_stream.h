/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames out of a stream of bytes: pure, no system call. Bytes are placed where space() says and
 * told with filled(); or a whole chunk is adopted; next() hands frames out where they lie. A
 * frame that lies whole in a chunk is never copied. A large one that does not gets memory of its
 * own, into which the rest is received directly. Memory is taken only after sizes are checked.
 */
#ifndef PRAAS_TRANSPORT_TCP_STREAM_H
#define PRAAS_TRANSPORT_TCP_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/tcp_chunks.h"

/* A payload above this that is not all there is given memory of its own. */
#define PRAAS_TCP_BIG_MIN 4096u

struct praas_tcp_stream {
	struct praas_tcp_chunks *chunks;
	struct praas_tcp_chunk *chunk; /* being filled and read; may be NULL */
	uint32_t at, fill;             /* in chunk: first unread byte, first free one */
	struct praas_tcp_slice *big;   /* frame being received to its own memory */
	uint64_t big_at, big_end; /* bytes of its padded payload received, in all */
	struct praas_tcp_slice
		*parked; /* beginning of a frame, moved out of its chunk */
	uint32_t parked_bytes;
	uint64_t sequence; /* of the last frame */
	bool header_first; /* large frames are likely: read headers alone */
};

void praas_tcp_stream_init(struct praas_tcp_stream *s, struct praas_tcp_chunks *chunks);
void praas_tcp_stream_release(struct praas_tcp_stream *s);

/* Where the next bytes of the stream belong, and how many may be put there, at least one.
 * 0; -EAGAIN whole frames must be taken with next() first; -ENOBUFS no memory now. */
int praas_tcp_stream_space(struct praas_tcp_stream *s, uint8_t **ret_data,
			   uint64_t *ret_bytes);
void praas_tcp_stream_filled(struct praas_tcp_stream *s, uint64_t bytes);

/* At a frame boundary, with nothing unread? Then adopt() may be called: chunk (its reference is
 * given) holds the next `fill` bytes. */
static inline bool praas_tcp_stream_idle(const struct praas_tcp_stream *s)
{
	return s->at == s->fill && s->big == NULL && s->parked == NULL;
}
void praas_tcp_stream_adopt(struct praas_tcp_stream *s, struct praas_tcp_chunk *chunk,
			    uint32_t fill);

/* It may be long until more comes: the chunk is given back. The beginning of a frame goes to a small
 * buffer; when there is none, the chunk stays. After next() has said -EAGAIN. */
void praas_tcp_stream_park(struct praas_tcp_stream *s);

/* The next frame; the buffer is the caller's. deadline_ns as on the wire. 0; -EAGAIN more bytes are
 * needed; -ENOBUFS no memory or handle now, try again; -EPROTO; -EMSGSIZE. */
int praas_tcp_stream_next(struct praas_tcp_stream *s, uint64_t bytes_max,
			  struct praas_buf **ret_buf);

/* True when bytes after those handed out hold at least another header. */
static inline bool praas_tcp_stream_more(const struct praas_tcp_stream *s)
{
	return s->fill - s->at >= PRAAS_FRAME_BYTES;
}

#endif
