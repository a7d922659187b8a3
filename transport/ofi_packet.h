/* SPDX-License-Identifier: Apache-2.0
 *
 * Packets of the libfabric transport (docs/wire-format.md): what travels in one message of the
 * fabric. Pure. A FRAME packet is a frame whose `source` and `sequence`, which a receiver never
 * believes, carry the packet's own numbers; all others have a header of their own, of the same size.
 */
#ifndef PRAAS_TRANSPORT_OFI_PACKET_H
#define PRAAS_TRANSPORT_OFI_PACKET_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/frame.h"
#include "transport/transport.h"

#define PRAAS_OFI_PACKET_BYTES 16384u /* the largest */
#define PRAAS_OFI_WINDOW 32u          /* counted packets not yet consumed by the peer */
#define PRAAS_OFI_VERSION 1u
/* A payload up to this travels in its frame's packet. */
#define PRAAS_OFI_EAGER_MAX                                                            \
	(PRAAS_OFI_PACKET_BYTES - PRAAS_FRAME_BYTES - PRAAS_META_MAX)
#define PRAAS_OFI_PART_MAX (PRAAS_OFI_PACKET_BYTES - PRAAS_FRAME_BYTES)

enum praas_ofi_type {
	PRAAS_OFI_FRAME = 0, /* counted: a whole frame */
	PRAAS_OFI_OFFER =
		1, /* counted: a frame whose payload is to be read: addr, key */
	PRAAS_OFI_BEGIN = 2,   /* counted: a frame and the first part of its payload */
	PRAAS_OFI_MORE = 3,    /* counted: the next part */
	PRAAS_OFI_FIN = 4,     /* counted: the last */
	PRAAS_OFI_CONNECT = 5, /* from; body: the endpoint's name */
	PRAAS_OFI_ACCEPT = 6,  /* from */
	PRAAS_OFI_REFUSE = 7,  /* reason: enum praas_close_reason */
	PRAAS_OFI_ACK = 8,     /* addr: bytes read out of the receiver's memory, ever */
	PRAAS_OFI_PING = 9,    /* an ACK is wanted */
	PRAAS_OFI_RESET = 10,  /* the connection is gone */
	PRAAS_OFI_TYPES
};

struct praas_ofi_packet {
	uint8_t type;    /* enum praas_ofi_type */
	uint32_t reason; /* REFUSE */
	uint32_t number; /* of a counted packet, from 1, without a gap, modulo 2³² */
	uint32_t ack;    /* number of the last packet that the sender has consumed */
	uint64_t to;     /* the receiver's connection; 0 in CONNECT */
	uint64_t from;   /* CONNECT, ACCEPT: the sender's connection, never 0 */
	uint64_t addr, key;  /* OFFER: where the payload is read */
	const uint8_t *body; /* after the header */
	uint32_t body_bytes;
};

static inline bool praas_ofi_counted(uint8_t type)
{
	return type <= PRAAS_OFI_FIN;
}

/* Of any type but FRAME; returns PRAAS_FRAME_BYTES. The body follows. */
uint64_t praas_ofi_packet_encode(const struct praas_ofi_packet *p,
				 uint8_t ret_wire[PRAAS_FRAME_BYTES]);
/* Header and meta block of a frame; as a FRAME packet's when p is given. At most
 * PRAAS_FRAME_BYTES + PRAAS_META_MAX bytes; returns how many. */
uint64_t praas_ofi_frame_encode(const struct praas_buf *buf,
				const struct praas_ofi_packet *p, uint8_t *ret_wire);
/* 0; -EPROTO. ret_p->body points into wire. What a frame says is not looked at yet. */
int praas_ofi_packet_decode(const uint8_t *wire, uint64_t bytes,
			    struct praas_ofi_packet *ret_p);
/* The frame in the body of a FRAME, OFFER or BEGIN packet: fills head, trace and key of buf. What is
 * left behind it is payload: all of it (FRAME), none (OFFER), less than all but some (BEGIN).
 * 0; -EPROTO; -EMSGSIZE above bytes_max. */
int praas_ofi_frame_decode(const struct praas_ofi_packet *p, uint64_t bytes_max,
			   struct praas_buf *ret_buf, const uint8_t **ret_payload);

#endif
