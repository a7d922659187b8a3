/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames: the 64-byte header of docs/wire-format.md, decoded and encoded; and the same facts
 * in the 56 bytes of a ring descriptor. Little-endian whatever the host.
 */
#ifndef PRAAS_TRANSPORT_FRAME_H
#define PRAAS_TRANSPORT_FRAME_H

#include <stdint.h>
#include <string.h>

#include "internal/bytes.h"
#include "internal/seq.h"
#include "praas/types.h"
#include "shm/ring.h"

#define PRAAS_FRAME_BYTES 64u
#define PRAAS_FRAME_MAGIC 0x5250u /* "PR" */
#define PRAAS_FRAME_VERSION 1u
#define PRAAS_FRAME_ALIGN 64u
#define PRAAS_TRACE_BYTES 32u /* of the trace block in front of the key, when flagged */
#define PRAAS_TRACE_RESERVED 7u /* zeros at its end */
#define PRAAS_TRACE_USED (PRAAS_TRACE_BYTES - PRAAS_TRACE_RESERVED)
#define PRAAS_META_MAX 320u /* trace and the longest key, padded */
/* By format; keeps sums with header, meta block and padding inside 64 bits. */
#define PRAAS_FRAME_PAYLOAD_MAX (UINT64_MAX - 65535u)

/* What a frame is. The numbers are on the wire. Direction: c client, s controller. */
enum praas_frame_kind {
	PRAAS_FRAME_HELLO = 1,     /* c→s: ticket and nonce */
	PRAAS_FRAME_CHALLENGE = 2, /* s→c: nonce and the server's proof */
	PRAAS_FRAME_PROOF = 3,     /* c→s: the client's proof */
	PRAAS_FRAME_WELCOME = 4,   /* s→c: limits, functions; ends the handshake */
	PRAAS_FRAME_INVOKE =
		8, /* run a function: id, function, key, deadline, payload */
	PRAAS_FRAME_RESULT = 9,  /* its outcome: id, status, payload or error text */
	PRAAS_FRAME_CANCEL = 10, /* give invocation id up */
	PRAAS_FRAME_PROBE =
		12, /* of a process that waits for invocation id: does that wait for it? */
	PRAAS_FRAME_SEND =
		16, /* a message for the mailbox: key, payload; id for its ack */
	PRAAS_FRAME_RECV = 17, /* take a message: key, aux = source, deadline */
	PRAAS_FRAME_PEEK = 18,
	PRAAS_FRAME_LIST = 19, /* what waits in the mailbox */
	PRAAS_FRAME_REPLY =
		20, /* outcome of SEND … STATE_LIST: id, status, aux, payload */
	/* RECV, but the message stays in the mailbox, shown to nobody else, until TAKEN (aux = the HOLD's id)
	 * or the end of the connection, which lets it go. */
	PRAAS_FRAME_HOLD = 21,
	PRAAS_FRAME_TAKEN = 22,
	PRAAS_FRAME_MAIL =
		23, /* a message of another process, with its place (below): key, payload */
	PRAAS_FRAME_STATE_GET = 24, /* key */
	PRAAS_FRAME_STATE_PUT =
		25, /* key, payload; aux = expected version + 1, 0: any */
	PRAAS_FRAME_STATE_DELETE = 26,
	PRAAS_FRAME_STATE_LIST = 27, /* key = prefix; payload = "after" key */
	PRAAS_FRAME_EVENT = 32,      /* s→c: aux = enum praas_event_kind */
	PRAAS_FRAME_PING = 33,       /* answered with PONG, same id */
	PRAAS_FRAME_PONG = 34,
	PRAAS_FRAME_CLOSE = 35,  /* last frame of this direction; status says why */
	PRAAS_FRAME_SEALED = 40, /* a record of transport/sealed.h; aux = its type */
	PRAAS_FRAME_KIND_MAX = 63
};

#define PRAAS_FRAME_ONE_WAY 0x01u /* no RESULT or REPLY wanted */
#define PRAAS_FRAME_TRACE 0x02u   /* a trace block precedes the key */
#define PRAAS_FRAME_TIMING 0x04u  /* INVOKE: measure it in full; RESULT: tells that */
#define PRAAS_FRAME_FLAGS 0x07u   /* all that exist; others are refused */

/* A decoded header. */
struct praas_frame {
	uint8_t kind;      /* enum praas_frame_kind */
	uint8_t flags;     /* PRAAS_FRAME_… */
	uint8_t key_bytes; /* of the key in the meta block */
	uint16_t function; /* INVOKE: its number, as WELCOME told */
	uint32_t epoch;    /* of the process addressed; 0 in HELLO */
	int32_t status; /* RESULT, REPLY, CLOSE: enum praas_status or the function's code */
	uint64_t
		source; /* sender, stamped by the receiving side from the credential; 0 on the wire */
	uint64_t sequence; /* per connection and direction, from 1 */
	uint64_t
		id; /* of the invocation or request, chosen by who asks; never 0 there */
	/* INVOKE, RECV; 0 none. CLOCK_MONOTONIC everywhere in memory (praas_buf, descriptor);
	 * on the wire of tcp the nanoseconds left, converted by the transport. */
	uint64_t deadline_ns;
	uint64_t bytes; /* of the payload */
	uint64_t aux;   /* by kind: version, source, event, run time in ns (RESULT) */
};

/* Where the time of an invocation went, at the process. Beside it, a RESULT with TIMING tells two
 * more numbers in fields that it has no other use for, 40 bits (18 minutes) each: deadline_ns has
 * the first and the lower 24 of the second, function its upper 16. */
struct praas_frame_timing {
	uint64_t queue_ns; /* from its arrival until the function began */
	uint64_t run_ns;   /* in the function; aux of the RESULT */
	uint64_t state_ns; /* from its return until what it wrote was committed */
};
#define PRAAS_FRAME_TIMING_BITS 40u
#define PRAAS_FRAME_TIMING_MAX ((UINT64_C(1) << PRAAS_FRAME_TIMING_BITS) - 1)

static inline void praas_frame_timing_put(struct praas_frame *f,
					  const struct praas_frame_timing *timing)
{
	uint64_t queue = praas_min_u64(timing->queue_ns, PRAAS_FRAME_TIMING_MAX);
	uint64_t state = praas_min_u64(timing->state_ns, PRAAS_FRAME_TIMING_MAX);

	f->flags |= PRAAS_FRAME_TIMING;
	f->aux = timing->run_ns;
	f->deadline_ns = queue | state << PRAAS_FRAME_TIMING_BITS;
	f->function = (uint16_t)(state >> (64 - PRAAS_FRAME_TIMING_BITS));
}

/* Of a RESULT; zeros without the flag. */
static inline struct praas_frame_timing praas_frame_timing_get(
	const struct praas_frame *f)
{
	struct praas_frame_timing timing = { 0 };

	if (!(f->flags & PRAAS_FRAME_TIMING))
		return timing;
	timing.run_ns = f->aux;
	timing.queue_ns = f->deadline_ns & PRAAS_FRAME_TIMING_MAX;
	timing.state_ns = f->deadline_ns >> PRAAS_FRAME_TIMING_BITS |
			  (uint64_t)f->function << (64 - PRAAS_FRAME_TIMING_BITS);
	return timing;
}

/* MAIL has its place, and the place of the message without which it must not be accepted, in fields
 * that it has no other use for: id, status (the epoch of the sender), aux, and function, which
 * tells how many epochs lie between the two. So many or more: there is no predecessor. A message
 * that was queued so long ago is in the state of whoever serves: the queue is applied first.
 * Its REPLY has the place in id and aux (the epoch). */
#define PRAAS_FRAME_NO_PREDECESSOR 0xffffu

static inline void praas_frame_place_put(struct praas_frame *f, struct praas_seq seq,
					 struct praas_seq after)
{
	uint32_t epochs = seq.epoch - after.epoch;

	f->id = seq.number;
	f->status = (int32_t)seq.epoch;
	f->function = PRAAS_FRAME_NO_PREDECESSOR;
	f->aux = 0;
	if (praas_seq_none(after) || epochs >= PRAAS_FRAME_NO_PREDECESSOR)
		return;
	f->function = (uint16_t)epochs;
	f->aux = after.number;
}

/* 0; -EPROTO it has no place, or one that is not behind its predecessor. */
static inline int praas_frame_place_get(const struct praas_frame *f,
					struct praas_seq *ret_seq,
					struct praas_seq *ret_after)
{
	*ret_seq = (struct praas_seq){ .number = f->id, .epoch = (uint32_t)f->status };
	*ret_after = (struct praas_seq){ 0 };
	if (f->function != PRAAS_FRAME_NO_PREDECESSOR) {
		ret_after->number = f->aux;
		ret_after->epoch = ret_seq->epoch - f->function;
		if (f->function >= ret_seq->epoch || f->aux == 0)
			return -EPROTO;
	}
	return praas_seq_none(*ret_seq) || f->id == 0 ||
			       praas_seq_compare(*ret_seq, *ret_after) <= 0
		       ? -EPROTO
		       : 0;
}

/* Bytes of the meta block (trace and key, padded to 64) between header and payload. */
static inline uint64_t praas_frame_meta_bytes(const struct praas_frame *f)
{
	uint64_t n = ((f->flags & PRAAS_FRAME_TRACE) ? PRAAS_TRACE_BYTES : 0u) +
		     f->key_bytes;

	return praas_align_up(n, PRAAS_FRAME_ALIGN);
}

/* Bytes on the wire after the header: meta block and payload, padded to 64. */
static inline uint64_t praas_frame_body_bytes(const struct praas_frame *f)
{
	return praas_frame_meta_bytes(f) + praas_align_up(f->bytes, PRAAS_FRAME_ALIGN);
}

/* Bytes on the wire. What waits to be sent is counted in them, so that frames without a payload are
 * not for nothing: a peer that takes nothing could have its events fill the memory. */
static inline uint64_t praas_frame_wire_bytes(const struct praas_frame *f)
{
	return PRAAS_FRAME_BYTES + praas_frame_body_bytes(f);
}

void praas_frame_encode(const struct praas_frame *f,
			uint8_t ret_wire[PRAAS_FRAME_BYTES]);

/* 0; -EPROTO magic, version, kind, flags or reserved bits; -EMSGSIZE payload above bytes_max. */
int praas_frame_decode(const uint8_t wire[PRAAS_FRAME_BYTES], uint64_t bytes_max,
		       struct praas_frame *ret_f);

/* The meta block of praas_frame_meta_bytes(f) bytes, copied out of meta. trace is written when
 * flagged. 0; -EPROTO a NUL in the key, or reserved bytes of the trace not zero. */
int praas_frame_meta_decode(const struct praas_frame *f, const uint8_t *meta,
			    uint8_t ret_trace[PRAAS_TRACE_BYTES],
			    char ret_key[PRAAS_KEY_MAX + 1]);
/* The reverse, padded; returns praas_frame_meta_bytes(f). */
uint64_t praas_frame_meta_encode(const struct praas_frame *f,
				 const uint8_t trace[PRAAS_TRACE_BYTES],
				 const char *key, uint8_t *ret_meta);

/* A frame as a ring descriptor. segment and offset say where the payload lies (its meta block
 * right before it). source, sequence and epoch are the channel's and do not travel;
 * deadline_ns is absolute CLOCK_MONOTONIC here. */
static inline void praas_frame_to_desc(const struct praas_frame *f, uint16_t segment,
				       uint64_t offset, struct praas_desc *ret_d)
{
	ret_d->word[0] = (uint64_t)f->kind | (uint64_t)f->flags << 8 |
			 (uint64_t)f->key_bytes << 16 | (uint64_t)f->function << 32 |
			 (uint64_t)segment << 48;
	ret_d->word[1] = (uint32_t)f->status;
	ret_d->word[2] = f->id;
	ret_d->word[3] = offset;
	ret_d->word[4] = f->bytes;
	ret_d->word[5] = f->deadline_ns;
	ret_d->word[6] = f->aux;
}

/* The reverse; the caller checks segment, offset and bytes against what it has mapped.
 * 0; -EPROTO kind, flags or reserved bits. */
static inline int praas_frame_from_desc(const struct praas_desc *d,
					struct praas_frame *ret_f,
					uint16_t *ret_segment, uint64_t *ret_offset)
{
	uint64_t w = d->word[0];

	if ((uint8_t)w > PRAAS_FRAME_KIND_MAX ||
	    (uint8_t)(w >> 8) & ~PRAAS_FRAME_FLAGS || (uint8_t)(w >> 24) != 0 ||
	    d->word[1] >> 32 != 0)
		return -EPROTO;
	*ret_f = (struct praas_frame){ .kind = (uint8_t)w,
				       .flags = (uint8_t)(w >> 8),
				       .key_bytes = (uint8_t)(w >> 16),
				       .function = (uint16_t)(w >> 32),
				       .status = (int32_t)(uint32_t)d->word[1],
				       .id = d->word[2],
				       .bytes = d->word[4],
				       .deadline_ns = d->word[5],
				       .aux = d->word[6] };
	*ret_segment = (uint16_t)(w >> 48);
	*ret_offset = d->word[3];
	return 0;
}

#endif
