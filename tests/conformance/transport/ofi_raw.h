/* SPDX-License-Identifier: Apache-2.0
 *
 * A peer of an ofi port that is a bare endpoint: sends what it likes, when it likes.
 */
#ifndef PRAAS_TEST_TRANSPORT_OFI_RAW_H
#define PRAAS_TEST_TRANSPORT_OFI_RAW_H

#include "rig.h"

#include "transport/ofi_fabric.h"
#include "transport/ofi_packet.h"

#define RAW_RECEIVES 32u

/* An endpoint without a transport. */
struct raw {
	struct praas_ofi_fabric fabric;
	fi_addr_t server;
	uint8_t in[RAW_RECEIVES][PRAAS_OFI_PACKET_BYTES];
	struct fi_context2 context[RAW_RECEIVES], sending;
	uint8_t last[PRAAS_OFI_PACKET_BYTES]; /* the packet that was waited for */
	uint8_t kept[PRAAS_OFI_TYPES][512];   /* the last of each type, its beginning */
	bool came[PRAAS_OFI_TYPES];
	uint64_t peer_id;
	uint32_t number, ack;
	bool busy; /* a send is under way */
};
extern struct raw raw;

/* An endpoint from which rig's server is reached; rig is turned while it waits. */
void raw_open(struct rig *rig);
void raw_close(void);
/* Turns until a packet of this type has come since it was last waited for; it is in last. */
void raw_until(unsigned type);
/* One message; returns when it has left. */
void raw_send(const void *wire, size_t bytes);
/* The next packet of the connection, for raw_packet(). */
struct praas_ofi_packet raw_packet_of(uint8_t type);
void raw_packet(const struct praas_ofi_packet *p, const void *body, size_t bytes);
void raw_frame(const struct praas_frame *head, const void *data);
/* CONNECT and ACCEPT. */
void raw_connect(void);
/* … and the client's handshake by hand. */
void raw_handshake(void);

#endif
