/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/verbs_wire.h"

#include <errno.h>
#include <string.h>

#include "internal/bytes.h"

#define MAGIC 0x56725250u /* "PRrV" */
#define VERSION 1u

void praas_verbs_greeting_encode(const struct praas_verbs_greeting *g,
				 uint8_t ret_wire[PRAAS_VERBS_GREETING_BYTES])
{
	praas_put_u32(ret_wire, MAGIC);
	praas_put_u32(ret_wire + 4, VERSION | (g->bulk ? 0x10000u : 0));
	praas_put_u32(ret_wire + 8, g->slots);
	praas_put_u32(ret_wire + 12, g->slot_bytes);
	praas_put_u32(ret_wire + 16, g->piece_bytes);
	praas_put_u32(ret_wire + 20, g->refused);
	praas_put_u32(ret_wire + 24, 0);
	memcpy(ret_wire + 28, g->token, PRAAS_VERBS_TOKEN_BYTES);
}

static bool within(uint32_t value, uint32_t min, uint32_t max)
{
	return value >= min && value <= max;
}

int praas_verbs_greeting_decode(const uint8_t *wire, uint64_t bytes,
				struct praas_verbs_greeting *ret_g)
{
	struct praas_verbs_greeting g = { 0 };
	uint32_t version;

	if (bytes < PRAAS_VERBS_GREETING_BYTES || praas_get_u32(wire) != MAGIC)
		return -EPROTO;
	version = praas_get_u32(wire + 4);
	g.bulk = (version & 0x10000u) != 0;
	g.slots = praas_get_u32(wire + 8);
	g.slot_bytes = praas_get_u32(wire + 12);
	g.piece_bytes = praas_get_u32(wire + 16);
	g.refused = praas_get_u32(wire + 20);
	memcpy(g.token, wire + 28, PRAAS_VERBS_TOKEN_BYTES);
	if ((version & ~0x10000u) != VERSION || praas_get_u32(wire + 24) != 0 ||
	    !within(g.slots, PRAAS_VERBS_SLOTS_MIN, PRAAS_VERBS_SLOTS_MAX) ||
	    !within(g.slot_bytes, PRAAS_VERBS_SLOT_BYTES_MIN,
		    PRAAS_VERBS_SLOT_BYTES_MAX) ||
	    !within(g.piece_bytes, PRAAS_VERBS_PIECE_BYTES_MIN,
		    PRAAS_VERBS_PIECE_BYTES_MAX))
		return -EPROTO;
	*ret_g = g;
	return 0;
}

void praas_verbs_words_encode(const struct praas_verbs_words *w,
			      uint8_t ret_wire[PRAAS_VERBS_WORDS_BYTES])
{
	praas_put_u32(ret_wire, w->kind);
	praas_put_u32(ret_wire + 4, w->slots);
	praas_put_u32(ret_wire + 8, w->pieces);
	praas_put_u32(ret_wire + 12, 0);
}

int praas_verbs_words_decode(const uint8_t *wire, uint64_t bytes,
			     struct praas_verbs_words *ret_w)
{
	uint32_t kind;

	if (bytes < PRAAS_VERBS_WORDS_BYTES)
		return -EPROTO;
	kind = praas_get_u32(wire);
	if (!within(kind, PRAAS_VERBS_FRAME, PRAAS_VERBS_BYE) ||
	    praas_get_u32(wire + 12) != 0 ||
	    (kind > PRAAS_VERBS_OFFER && bytes != PRAAS_VERBS_WORDS_BYTES))
		return -EPROTO;
	*ret_w = (struct praas_verbs_words){ .kind = (uint8_t)kind,
					     .slots = praas_get_u32(wire + 4),
					     .pieces = praas_get_u32(wire + 8) };
	return 0;
}

int praas_verbs_frame_decode(const uint8_t *wire, uint64_t bytes, bool offer,
			     uint64_t bytes_max, struct praas_frame *ret_f,
			     uint8_t ret_trace[PRAAS_TRACE_BYTES],
			     char ret_key[PRAAS_KEY_MAX + 1], uint64_t *ret_at)
{
	uint64_t at = PRAAS_VERBS_WORDS_BYTES + PRAAS_FRAME_BYTES, meta;
	struct praas_frame f;
	int rc;

	if (bytes < at)
		return -EPROTO;
	rc = praas_frame_decode(wire + PRAAS_VERBS_WORDS_BYTES, bytes_max, &f);
	if (rc != 0)
		return rc;
	meta = praas_frame_meta_bytes(&f);
	if (bytes - at < meta || (offer && f.bytes == 0) ||
	    bytes - at - meta != (offer ? 0 : f.bytes))
		return -EPROTO;
	ret_key[0] = '\0';
	if (meta != 0)
		rc = praas_frame_meta_decode(&f, wire + at, ret_trace, ret_key);
	if (rc != 0)
		return rc;
	*ret_f = f;
	*ret_at = at + meta;
	return 0;
}
