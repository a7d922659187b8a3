/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/frame.h"

#include <errno.h>

/*
 * The header of docs/wire-format.md, field by field with explicit shifts: compilers make plain
 * loads and stores of it on little-endian machines, and it stays right on the others.
 */

/* Kinds that may come from a peer; a set bit is a known number. */
#define KIND(k) (UINT64_C(1) << (k))
static const uint64_t kinds =
	KIND(PRAAS_FRAME_HELLO) | KIND(PRAAS_FRAME_CHALLENGE) |
	KIND(PRAAS_FRAME_PROOF) | KIND(PRAAS_FRAME_WELCOME) | KIND(PRAAS_FRAME_INVOKE) |
	KIND(PRAAS_FRAME_RESULT) | KIND(PRAAS_FRAME_CANCEL) | KIND(PRAAS_FRAME_PROBE) |
	KIND(PRAAS_FRAME_SEND) | KIND(PRAAS_FRAME_RECV) | KIND(PRAAS_FRAME_PEEK) |
	KIND(PRAAS_FRAME_LIST) | KIND(PRAAS_FRAME_REPLY) | KIND(PRAAS_FRAME_HOLD) |
	KIND(PRAAS_FRAME_TAKEN) | KIND(PRAAS_FRAME_MAIL) | KIND(PRAAS_FRAME_STATE_GET) |
	KIND(PRAAS_FRAME_STATE_PUT) | KIND(PRAAS_FRAME_STATE_DELETE) |
	KIND(PRAAS_FRAME_STATE_LIST) | KIND(PRAAS_FRAME_EVENT) |
	KIND(PRAAS_FRAME_PING) | KIND(PRAAS_FRAME_PONG) | KIND(PRAAS_FRAME_CLOSE) |
	KIND(PRAAS_FRAME_SEALED);

void praas_frame_encode(const struct praas_frame *f,
			uint8_t ret_wire[PRAAS_FRAME_BYTES])
{
	ret_wire[0] = (uint8_t)(PRAAS_FRAME_MAGIC & 0xff);
	ret_wire[1] = (uint8_t)(PRAAS_FRAME_MAGIC >> 8);
	ret_wire[2] = PRAAS_FRAME_VERSION;
	ret_wire[3] = f->kind;
	ret_wire[4] = f->flags;
	ret_wire[5] = f->key_bytes;
	praas_put_u16(ret_wire + 6, f->function);
	praas_put_u32(ret_wire + 8, f->epoch);
	praas_put_u32(ret_wire + 12, (uint32_t)f->status);
	praas_put_u64(ret_wire + 16, f->source);
	praas_put_u64(ret_wire + 24, f->sequence);
	praas_put_u64(ret_wire + 32, f->id);
	praas_put_u64(ret_wire + 40, f->deadline_ns);
	praas_put_u64(ret_wire + 48, f->bytes);
	praas_put_u64(ret_wire + 56, f->aux);
}

int praas_frame_decode(const uint8_t wire[PRAAS_FRAME_BYTES], uint64_t bytes_max,
		       struct praas_frame *ret_f)
{
	uint64_t bytes = praas_get_u64(wire + 48);
	uint8_t kind = wire[3];

	if (praas_get_u16(wire) != PRAAS_FRAME_MAGIC || wire[2] != PRAAS_FRAME_VERSION)
		return -EPROTO;
	if (kind > PRAAS_FRAME_KIND_MAX || (kinds >> kind & 1) == 0)
		return -EPROTO;
	if ((wire[4] & ~PRAAS_FRAME_FLAGS) != 0)
		return -EPROTO;
	/* The second limit keeps every sum with header and padding inside 64 bits. */
	if (bytes > bytes_max || bytes > PRAAS_FRAME_PAYLOAD_MAX)
		return -EMSGSIZE;
	ret_f->kind = kind;
	ret_f->flags = wire[4];
	ret_f->key_bytes = wire[5];
	ret_f->function = praas_get_u16(wire + 6);
	ret_f->epoch = praas_get_u32(wire + 8);
	ret_f->status = (int32_t)praas_get_u32(wire + 12);
	ret_f->source = praas_get_u64(wire + 16);
	ret_f->sequence = praas_get_u64(wire + 24);
	ret_f->id = praas_get_u64(wire + 32);
	ret_f->deadline_ns = praas_get_u64(wire + 40);
	ret_f->bytes = bytes;
	ret_f->aux = praas_get_u64(wire + 56);
	return 0;
}

int praas_frame_meta_decode(const struct praas_frame *f, const uint8_t *meta,
			    uint8_t ret_trace[PRAAS_TRACE_BYTES],
			    char ret_key[PRAAS_KEY_MAX + 1])
{
	const uint8_t *key = meta;

	if (f->flags & PRAAS_FRAME_TRACE) {
		for (unsigned i = PRAAS_TRACE_BYTES - PRAAS_TRACE_RESERVED;
		     i < PRAAS_TRACE_BYTES; i++) {
			if (meta[i] != 0)
				return -EPROTO;
		}
		memcpy(ret_trace, meta, PRAAS_TRACE_BYTES);
		key += PRAAS_TRACE_BYTES;
	}
	if (f->key_bytes > 0 && memchr(key, 0, f->key_bytes) != NULL)
		return -EPROTO;
	memcpy(ret_key, key, f->key_bytes);
	ret_key[f->key_bytes] = '\0';
	return 0;
}

uint64_t praas_frame_meta_encode(const struct praas_frame *f,
				 const uint8_t trace[PRAAS_TRACE_BYTES],
				 const char *key, uint8_t *ret_meta)
{
	uint64_t bytes = praas_frame_meta_bytes(f), at = 0;

	if (f->flags & PRAAS_FRAME_TRACE) {
		memcpy(ret_meta, trace, PRAAS_TRACE_BYTES);
		at = PRAAS_TRACE_BYTES;
	}
	memcpy(ret_meta + at, key, f->key_bytes);
	at += f->key_bytes;
	memset(ret_meta + at, 0, bytes - at);
	return bytes;
}
