/* SPDX-License-Identifier: Apache-2.0
 *
 * Receive memory of a TCP port: *chunks* of 64 KiB taken from the port's praas_memory at open, and
 * *slices*, the buffer handles for frames that lie in a chunk or in memory of their own. A chunk
 * returns to the free list when its last reference ends. One thread, as the port.
 */
#ifndef PRAAS_TRANSPORT_TCP_CHUNKS_H
#define PRAAS_TRANSPORT_TCP_CHUNKS_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/transport.h"

#define PRAAS_TCP_CHUNK_BYTES 65536u
#define PRAAS_TCP_HEADROOM (PRAAS_FRAME_BYTES + PRAAS_META_MAX)
/* A payload up to this gets its header right in front when we allocate it for sending. */
#define PRAAS_TCP_HEADROOM_MAX (4096u - PRAAS_TCP_HEADROOM)

struct praas_tcp_chunk {
	struct praas_buf *memory; /* where it lies */
	uint8_t *data;
	struct praas_tcp_chunk *next; /* free list, or queue of a connection */
	uint32_t fill;                /* received bytes, while queued */
	uint32_t at;                  /* of these already used, while queued */
	uint32_t refs;                /* stream, queue or ring, and every slice */
	uint16_t index;
};

/* A handle. At most one of chunk and memory is set while it is out. */
struct praas_tcp_slice {
	struct praas_buf buf;
	struct praas_tcp_chunk *chunk;
	struct praas_buf *memory;
	bool headroom; /* PRAAS_TCP_HEADROOM writable bytes before data */
};

struct praas_tcp_chunks {
	const struct praas_memory *memory;
	struct praas_tcp_chunk *chunk;
	struct praas_tcp_chunk *free;
	struct praas_tcp_slice *slice;
	struct praas_buf *slice_free;
	uint32_t count, free_count;
	uint32_t slices, slices_free, slices_made;
	uint64_t copies; /* payloads copied */
	bool freed;      /* a chunk or a slice came back since this was last cleared */
	void (*idle)(struct praas_tcp_chunks
			     *c); /* when set: called when the last is back */
};

/* count chunks, at least 4, or as many as there is memory for. 0; -ENOMEM; -ENOBUFS. */
int praas_tcp_chunks_init(struct praas_tcp_chunks *c, const struct praas_memory *memory,
			  uint32_t count, uint32_t slices);
/* False when some are still out: then nothing is freed, and it may be called again. */
bool praas_tcp_chunks_release(struct praas_tcp_chunks *c);

/* A chunk with one reference, or NULL. */
struct praas_tcp_chunk *praas_tcp_chunk_take(struct praas_tcp_chunks *c);
void praas_tcp_chunk_unref(struct praas_tcp_chunks *c, struct praas_tcp_chunk *chunk);

/* A handle for bytes that lie at data in chunk (which gets a reference), or NULL. */
struct praas_tcp_slice *praas_tcp_slice_of_chunk(struct praas_tcp_chunks *c,
						 struct praas_tcp_chunk *chunk,
						 uint8_t *data);
/* A handle with memory of its own for a payload of bytes, its padding included; headroom when
 * asked for and the payload is small. 0; -ENOBUFS; -EMSGSIZE. */
int praas_tcp_slice_alloc(struct praas_tcp_chunks *c, uint64_t bytes, bool headroom,
			  struct praas_tcp_slice **ret_slice);
/* Is buf a handle of ours with headroom? */
bool praas_tcp_slice_has_headroom(const struct praas_buf *buf);

#endif
