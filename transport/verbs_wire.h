/* SPDX-License-Identifier: Apache-2.0
 *
 * What verbs peers say to each other beside frames (docs/transports.md): the greeting in the private
 * data of a connection request and of its answer, and the words in front of every message. Pure.
 */
#ifndef PRAAS_TRANSPORT_VERBS_WIRE_H
#define PRAAS_TRANSPORT_VERBS_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/frame.h"

#define PRAAS_VERBS_GREETING_BYTES 44u
#define PRAAS_VERBS_TOKEN_BYTES 16u
#define PRAAS_VERBS_WORDS_BYTES 16u
/* Limits of what a peer may announce. */
#define PRAAS_VERBS_SLOTS_MIN 8u
#define PRAAS_VERBS_SLOTS_MAX 4096u
#define PRAAS_VERBS_SLOT_BYTES_MIN 1024u
#define PRAAS_VERBS_SLOT_BYTES_MAX (1u << 20)
#define PRAAS_VERBS_PIECE_BYTES_MIN 4096u
#define PRAAS_VERBS_PIECE_BYTES_MAX (1u << 30)

struct praas_verbs_greeting {
	bool bulk;            /* of the second queue pair */
	uint32_t slots;       /* receive slots of who says it */
	uint32_t slot_bytes;  /* largest message into one */
	uint32_t piece_bytes; /* in which large payloads are cut */
	uint32_t refused;     /* enum praas_close_reason, in a refusal; else 0 */
	/* Chosen by who accepts; shown when the second queue pair connects. */
	uint8_t token[PRAAS_VERBS_TOKEN_BYTES];
};

void praas_verbs_greeting_encode(const struct praas_verbs_greeting *g,
				 uint8_t ret_wire[PRAAS_VERBS_GREETING_BYTES]);
/* bytes may be more: devices pad private data. 0; -EPROTO. */
int praas_verbs_greeting_decode(const uint8_t *wire, uint64_t bytes,
				struct praas_verbs_greeting *ret_g);

enum praas_verbs_kind {
	PRAAS_VERBS_FRAME = 1, /* header, meta block, payload */
	PRAAS_VERBS_OFFER, /* header, meta block; the payload comes by the bulk path */
	PRAAS_VERBS_TELL,  /* the words alone */
	PRAAS_VERBS_BYE    /* the last message of this direction */
};

struct praas_verbs_words {
	uint8_t kind;    /* enum praas_verbs_kind */
	uint32_t slots;  /* that the sender of this has ever posted */
	uint32_t pieces; /* of bulk payloads, the same */
};

void praas_verbs_words_encode(const struct praas_verbs_words *w,
			      uint8_t ret_wire[PRAAS_VERBS_WORDS_BYTES]);
/* Of a message of bytes. 0; -EPROTO. */
int praas_verbs_words_decode(const uint8_t *wire, uint64_t bytes,
			     struct praas_verbs_words *ret_w);

/* The frame behind the words of a FRAME or an OFFER: wire has bytes in all, ret_at says where the
 * payload is or would be. trace and key as praas_frame_meta_decode(). 0; -EPROTO; -EMSGSIZE. */
int praas_verbs_frame_decode(const uint8_t *wire, uint64_t bytes, bool offer,
			     uint64_t bytes_max, struct praas_frame *ret_f,
			     uint8_t ret_trace[PRAAS_TRACE_BYTES],
			     char ret_key[PRAAS_KEY_MAX + 1], uint64_t *ret_at);

#endif
