/* SPDX-License-Identifier: Apache-2.0
 *
 * The little of Ethernet, ARP, IPv4, IPv6, neighbour discovery and UDP that a port on a bare device
 * needs (transport/dgram.h): pure, from bytes to facts and back. No fragments, no options, no
 * extension headers, no VLAN. The UDP checksum of what comes is looked at only where it is asked for: a
 * sealed packet carries a better one.
 */
#ifndef PRAAS_TRANSPORT_INET_H
#define PRAAS_TRANSPORT_INET_H

#include <stdbool.h>
#include <stdint.h>

#define PRAAS_INET_MAC_BYTES 6u
#define PRAAS_INET_IP_BYTES 16u
#define PRAAS_INET_ETHER_BYTES 14u
#define PRAAS_INET_ASK_BYTES 86u /* the longest frame of neighbour discovery */

/* An address; IPv4 in the first four bytes, zeros behind. */
struct praas_inet_ip {
	uint8_t byte[PRAAS_INET_IP_BYTES];
	bool v6;
};

/* Whom we are on the link. */
struct praas_inet_self {
	uint8_t mac[PRAAS_INET_MAC_BYTES];
	struct praas_inet_ip ip;
	uint8_t prefix;               /* bits of ip that are the network's */
	struct praas_inet_ip gateway; /* zeros: none */
	bool device_sums; /* the device completes checksums of UDP over IPv6 */
};

enum praas_inet_kind {
	PRAAS_INET_OTHER = 0, /* nothing for us */
	PRAAS_INET_UDP,
	PRAAS_INET_ASKS, /* who has our address? answer() */
	PRAAS_INET_TELLS /* from_ip is at from_mac */
};

struct praas_inet_packet {
	enum praas_inet_kind kind;
	uint8_t from_mac[PRAAS_INET_MAC_BYTES];
	struct praas_inet_ip from_ip;
	uint16_t from_port, to_port;
	uint32_t at, bytes; /* of the UDP payload in the frame */
};

bool praas_inet_ip_equal(const struct praas_inet_ip *a, const struct praas_inet_ip *b);
bool praas_inet_ip_is_none(const struct praas_inet_ip *ip);
/* Whom to ask for the way to ip: itself on the same network, else the gateway; NULL: no way. */
const struct praas_inet_ip *praas_inet_next_hop(const struct praas_inet_self *self,
						const struct praas_inet_ip *ip);
/* "1.2.3.4/24", "fd00::1/64"; without a length the whole address is the network. 0; -EINVAL. */
int praas_inet_ip_parse(const char *text, struct praas_inet_ip *ret_ip,
			uint8_t *ret_prefix);

/* What a frame is. */
void praas_inet_parse(const struct praas_inet_self *self, const uint8_t *frame,
		      uint32_t bytes, struct praas_inet_packet *ret_packet);

/* False: a datagram's checksum is wrong. One without it is believed. */
bool praas_inet_udp_is_whole(const uint8_t *frame,
			     const struct praas_inet_packet *packet);

/* Bytes in front of the payload, Ethernet's included. */
static inline uint32_t praas_inet_udp_bytes(bool v6)
{
	return PRAAS_INET_ETHER_BYTES + (v6 ? 40u : 20u) + 8u;
}

/* To whom a datagram goes. */
struct praas_inet_to {
	uint8_t mac[PRAAS_INET_MAC_BYTES];
	struct praas_inet_ip ip;
	uint16_t from_port, to_port;
	bool sum; /* with a checksum, which IPv4 does not need */
};

/* Where the device completes checksums there is, in that of UDP over IPv6, the sum over addresses, length and
 * protocol only, as devices want it. Writes the headers in front of `bytes` of payload, which is there already (at
 * frame + praas_inet_udp_bytes()). */
void praas_inet_udp_build(const struct praas_inet_self *self,
			  const struct praas_inet_to *to, uint8_t *frame,
			  uint32_t bytes);
/* A question for ip, to all on the link; the answer to a packet of kind ASKS. Bytes written, at most
 * PRAAS_INET_ASK_BYTES. */
uint32_t praas_inet_ask_build(const struct praas_inet_self *self,
			      const struct praas_inet_ip *ip, uint8_t *frame);
uint32_t praas_inet_answer_build(const struct praas_inet_self *self,
				 const struct praas_inet_packet *asked, uint8_t *frame);

#endif
