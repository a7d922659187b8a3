/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/inet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "internal/base.h"

/*
 * All numbers are big-endian here. A frame is looked at as bytes, each length before what it covers.
 */

#define ETHER_IPV4 0x0800u
#define ETHER_ARP 0x0806u
#define ETHER_IPV6 0x86ddu
#define PROTOCOL_UDP 17u
#define PROTOCOL_ICMP6 58u
#define HOPS 64u
#define ND_ASK 135u
#define ND_TELL 136u
#define ARP_BYTES 28u
#define ND_BYTES 32u /* with one option: a link address */

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t ip_bytes(const struct praas_inet_ip *ip)
{
	return ip->v6 ? 16 : 4;
}

bool praas_inet_ip_equal(const struct praas_inet_ip *a, const struct praas_inet_ip *b)
{
	return a->v6 == b->v6 && memcmp(a->byte, b->byte, PRAAS_INET_IP_BYTES) == 0;
}

bool praas_inet_ip_is_none(const struct praas_inet_ip *ip)
{
	static const uint8_t none[PRAAS_INET_IP_BYTES];

	return memcmp(ip->byte, none, sizeof(none)) == 0;
}

static struct praas_inet_ip ip_at(const uint8_t *p, bool v6)
{
	struct praas_inet_ip ip = { .v6 = v6 };

	memcpy(ip.byte, p, ip_bytes(&ip));
	return ip;
}

const struct praas_inet_ip *praas_inet_next_hop(const struct praas_inet_self *self,
						const struct praas_inet_ip *ip)
{
	unsigned whole = self->prefix / 8u, rest = self->prefix % 8u;

	if (ip->v6 != self->ip.v6)
		return NULL;
	if (memcmp(ip->byte, self->ip.byte, whole) == 0 &&
	    (rest == 0 || (ip->byte[whole] ^ self->ip.byte[whole]) >> (8u - rest) == 0))
		return ip;
	return praas_inet_ip_is_none(&self->gateway) ? NULL : &self->gateway;
}

int praas_inet_ip_parse(const char *text, struct praas_inet_ip *ret_ip,
			uint8_t *ret_prefix)
{
	const char *slash = strchr(text, '/');
	size_t bytes = slash ? (size_t)(slash - text) : strlen(text);
	struct praas_inet_ip ip = { .v6 = strchr(text, ':') != NULL };
	unsigned prefix = ip.v6 ? 128 : 32, given = 0;
	char host[INET6_ADDRSTRLEN];

	if (bytes >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, bytes);
	host[bytes] = '\0';
	if (inet_pton(ip.v6 ? AF_INET6 : AF_INET, host, ip.byte) != 1)
		return -EINVAL;
	if (slash) {
		const char *p = slash + 1;

		for (; *p >= '0' && *p <= '9' && given <= 128; p++)
			given = given * 10 + (unsigned)(*p - '0');
		if (p == slash + 1 || *p != '\0' || given > prefix)
			return -EINVAL;
		prefix = given;
	}
	*ret_ip = ip;
	*ret_prefix = (uint8_t)prefix;
	return 0;
}

/* One's complement sum (RFC 1071), not yet folded; an odd byte is the first of a pair. */
static uint64_t sum(uint64_t s, const uint8_t *p, uint32_t bytes)
{
	uint32_t i = 0;

	for (; i + 4 <= bytes; i += 4)
		s += (uint64_t)get16(p + i) << 16 | get16(p + i + 2);
	for (; i + 2 <= bytes; i += 2)
		s += get16(p + i);
	if (i < bytes)
		s += (uint64_t)p[i] << 8;
	return s;
}

static uint16_t fold(uint64_t s)
{
	while (s >> 16 != 0)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)~s;
}

/* With the pseudo header; both addresses are at ip. */
static uint16_t sum_with(const uint8_t *ip, bool v6, uint8_t protocol,
			 const uint8_t *data, uint32_t bytes)
{
	uint64_t s = sum((uint64_t)protocol + bytes, ip, v6 ? 32 : 8);

	return fold(sum(s, data, bytes));
}

/* ---- What comes ---- */

static void parse_udp(const uint8_t *frame, uint32_t at, uint32_t bytes,
		      struct praas_inet_packet *p)
{
	uint32_t length;

	if (bytes < 8)
		return;
	length = get16(frame + at + 4);
	if (length < 8 || length > bytes)
		return;
	p->from_port = get16(frame + at);
	p->to_port = get16(frame + at + 2);
	p->at = at + 8;
	p->bytes = length - 8;
	p->kind = PRAAS_INET_UDP;
}

static void parse4(const struct praas_inet_self *self, const uint8_t *frame,
		   uint32_t bytes, struct praas_inet_packet *p)
{
	const uint8_t *ip = frame + PRAAS_INET_ETHER_BYTES;
	uint32_t length;

	if (bytes < PRAAS_INET_ETHER_BYTES + 20 || ip[0] != 0x45)
		return;
	length = get16(ip + 2);
	if (length < 20 || length > bytes - PRAAS_INET_ETHER_BYTES ||
	    (get16(ip + 6) & 0x3fff) != 0 || ip[9] != PROTOCOL_UDP ||
	    fold(sum(0, ip, 20)) != 0)
		return;
	if (self->ip.v6 || memcmp(ip + 16, self->ip.byte, 4) != 0)
		return;
	p->from_ip = ip_at(ip + 12, false);
	parse_udp(frame, PRAAS_INET_ETHER_BYTES + 20, length - 20, p);
}

static void parse_arp(const struct praas_inet_self *self, const uint8_t *frame,
		      uint32_t bytes, struct praas_inet_packet *p)
{
	static const uint8_t ours[6] = { 0, 1, 8, 0, 6, 4 };
	const uint8_t *arp = frame + PRAAS_INET_ETHER_BYTES;
	uint16_t what;

	if (bytes < PRAAS_INET_ETHER_BYTES + ARP_BYTES ||
	    memcmp(arp, ours, sizeof(ours)) != 0 || self->ip.v6)
		return;
	what = get16(arp + 6);
	memcpy(p->from_mac, arp + 8, PRAAS_INET_MAC_BYTES);
	p->from_ip = ip_at(arp + 14, false);
	if (what == 1 && memcmp(arp + 24, self->ip.byte, 4) == 0)
		p->kind = PRAAS_INET_ASKS;
	else if (what == 2)
		p->kind = PRAAS_INET_TELLS;
}

/* The link address in an option of the given kind. */
static bool link_option(const uint8_t *option, uint32_t bytes, uint8_t kind,
			uint8_t ret_mac[PRAAS_INET_MAC_BYTES])
{
	while (bytes >= 8 && option[1] != 0 && option[1] * 8u <= bytes) {
		if (option[0] == kind && option[1] == 1) {
			memcpy(ret_mac, option + 2, PRAAS_INET_MAC_BYTES);
			return true;
		}
		bytes -= option[1] * 8u;
		option += option[1] * 8u;
	}
	return false;
}

static void parse_nd(const struct praas_inet_self *self, const uint8_t *ip,
		     uint32_t bytes, struct praas_inet_packet *p)
{
	const uint8_t *nd = ip + 40;

	/* 255 hops: nobody beyond the link has sent it. */
	if (bytes < 24 || ip[7] != 255 || nd[1] != 0 ||
	    sum_with(ip + 8, true, PROTOCOL_ICMP6, nd, bytes) != 0)
		return;
	p->from_ip = ip_at(ip + 8, true);
	if (nd[0] == ND_ASK && memcmp(nd + 8, self->ip.byte, 16) == 0 &&
	    !praas_inet_ip_is_none(&p->from_ip)) {
		(void)link_option(nd + 24, bytes - 24, 1, p->from_mac); /* else the
									 * frame's */
		p->kind = PRAAS_INET_ASKS;
	} else if (nd[0] == ND_TELL) {
		p->from_ip = ip_at(nd + 8, true);
		(void)link_option(nd + 24, bytes - 24, 2, p->from_mac); /* the same */
		p->kind = PRAAS_INET_TELLS;
	}
}

static void parse6(const struct praas_inet_self *self, const uint8_t *frame,
		   uint32_t bytes, struct praas_inet_packet *p)
{
	const uint8_t *ip = frame + PRAAS_INET_ETHER_BYTES;
	uint32_t length;

	if (bytes < PRAAS_INET_ETHER_BYTES + 40 || ip[0] >> 4 != 6 || !self->ip.v6)
		return;
	length = get16(ip + 4);
	if (length > bytes - PRAAS_INET_ETHER_BYTES - 40)
		return;
	if (ip[6] == PROTOCOL_ICMP6) {
		parse_nd(self, ip, length, p);
	} else if (ip[6] == PROTOCOL_UDP && memcmp(ip + 24, self->ip.byte, 16) == 0) {
		p->from_ip = ip_at(ip + 8, true);
		parse_udp(frame, PRAAS_INET_ETHER_BYTES + 40, length, p);
	}
}

void praas_inet_parse(const struct praas_inet_self *self, const uint8_t *frame,
		      uint32_t bytes, struct praas_inet_packet *ret_packet)
{
	struct praas_inet_packet p = { 0 };

	*ret_packet = p;
	if (bytes < PRAAS_INET_ETHER_BYTES)
		return;
	/* To us, or to many. */
	if ((frame[0] & 1) == 0 && memcmp(frame, self->mac, PRAAS_INET_MAC_BYTES) != 0)
		return;
	memcpy(p.from_mac, frame + 6, PRAAS_INET_MAC_BYTES);
	switch (get16(frame + 12)) {
	case ETHER_IPV4:
		parse4(self, frame, bytes, &p);
		break;
	case ETHER_IPV6:
		parse6(self, frame, bytes, &p);
		break;
	case ETHER_ARP:
		parse_arp(self, frame, bytes, &p);
		break;
	default:
		break;
	}
	*ret_packet = p;
}

bool praas_inet_udp_is_whole(const uint8_t *frame, const struct praas_inet_packet *p)
{
	const uint8_t *ip = frame + PRAAS_INET_ETHER_BYTES, *udp = frame + p->at - 8;
	bool v6 = p->from_ip.v6;

	if (get16(udp + 6) == 0)
		return !v6;
	return sum_with(ip + (v6 ? 8 : 12), v6, PROTOCOL_UDP, udp, p->bytes + 8) == 0;
}

/* ---- What goes ---- */

static void put_ether(const struct praas_inet_self *self, const uint8_t *to_mac,
		      uint16_t type, uint8_t *frame)
{
	memcpy(frame, to_mac, PRAAS_INET_MAC_BYTES);
	memcpy(frame + 6, self->mac, PRAAS_INET_MAC_BYTES);
	put16(frame + 12, type);
}

static void put_ip6(const struct praas_inet_self *self, const uint8_t *to,
		    uint8_t protocol, uint32_t bytes, uint8_t *ip)
{
	memset(ip, 0, 4);
	ip[0] = 0x60;
	put16(ip + 4, bytes);
	ip[6] = protocol;
	ip[7] = protocol == PROTOCOL_ICMP6 ? 255 : HOPS;
	memcpy(ip + 8, self->ip.byte, 16);
	memcpy(ip + 24, to, 16);
}

void praas_inet_udp_build(const struct praas_inet_self *self,
			  const struct praas_inet_to *to, uint8_t *frame,
			  uint32_t bytes)
{
	uint8_t *ip = frame + PRAAS_INET_ETHER_BYTES;
	uint8_t *udp = ip + (self->ip.v6 ? 40 : 20);

	put_ether(self, to->mac, self->ip.v6 ? ETHER_IPV6 : ETHER_IPV4, frame);
	put16(udp, to->from_port);
	put16(udp + 2, to->to_port);
	put16(udp + 4, bytes + 8);
	put16(udp + 6, 0); /* none, which IPv4 allows */
	if (self->ip.v6) {
		put_ip6(self, to->ip.byte, PROTOCOL_UDP, bytes + 8, ip);
	} else {
		memset(ip, 0, 12);
		ip[0] = 0x45;
		put16(ip + 2, bytes + 28);
		ip[6] = 0x40; /* not to be cut into fragments */
		ip[8] = HOPS;
		ip[9] = PROTOCOL_UDP;
		memcpy(ip + 12, self->ip.byte, 4);
		memcpy(ip + 16, to->ip.byte, 4);
		put16(ip + 10, fold(sum(0, ip, 20)));
	}
	if (self->device_sums && self->ip.v6) {
		uint64_t s = sum((uint64_t)PROTOCOL_UDP + bytes + 8, ip + 8, 32);

		put16(udp + 6, (uint16_t)~fold(s));
	} else if (self->ip.v6 || to->sum) {
		uint16_t check = sum_with(ip + (self->ip.v6 ? 8 : 12), self->ip.v6,
					  PROTOCOL_UDP, udp, bytes + 8);

		put16(udp + 6, check == 0 ? 0xffff : check);
	}
}

static uint32_t put_arp(const struct praas_inet_self *self, uint16_t what,
			const uint8_t *to_mac, const uint8_t *to_ip, uint8_t *frame)
{
	static const uint8_t begin[6] = { 0, 1, 8, 0, 6, 4 };
	uint8_t *arp = frame + PRAAS_INET_ETHER_BYTES;

	put_ether(self, to_mac, ETHER_ARP, frame);
	memcpy(arp, begin, sizeof(begin));
	put16(arp + 6, what);
	memcpy(arp + 8, self->mac, PRAAS_INET_MAC_BYTES);
	memcpy(arp + 14, self->ip.byte, 4);
	memcpy(arp + 18, to_mac, PRAAS_INET_MAC_BYTES);
	memcpy(arp + 24, to_ip, 4);
	return PRAAS_INET_ETHER_BYTES + ARP_BYTES;
}

/* target: whose link address is asked, or told. */
static uint32_t put_nd(const struct praas_inet_self *self, uint8_t what,
		       const uint8_t *to_ip, const uint8_t *target, uint8_t *frame)
{
	uint8_t *ip = frame + PRAAS_INET_ETHER_BYTES, *nd = ip + 40;

	put_ip6(self, to_ip, PROTOCOL_ICMP6, ND_BYTES, ip);
	memset(nd, 0, ND_BYTES);
	nd[0] = what;
	nd[4] = what == ND_TELL ? 0x60 : 0; /* asked for; replaces what was known */
	memcpy(nd + 8, target, 16);
	nd[24] = what == ND_TELL ? 2 : 1;
	nd[25] = 1;
	memcpy(nd + 26, self->mac, PRAAS_INET_MAC_BYTES);
	put16(nd + 2, sum_with(ip + 8, true, PROTOCOL_ICMP6, nd, ND_BYTES));
	return PRAAS_INET_ETHER_BYTES + 40 + ND_BYTES;
}

uint32_t praas_inet_ask_build(const struct praas_inet_self *self,
			      const struct praas_inet_ip *ip, uint8_t *frame)
{
	static const uint8_t all[PRAAS_INET_MAC_BYTES] = { 0xff, 0xff, 0xff,
							   0xff, 0xff, 0xff };
	uint8_t many[16] = { 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff };
	uint8_t many_mac[PRAAS_INET_MAC_BYTES] = { 0x33, 0x33, 0xff };

	if (!ip->v6)
		return put_arp(self, 1, all, ip->byte, frame);
	memcpy(many + 13, ip->byte + 13, 3);
	memcpy(many_mac + 3, ip->byte + 13, 3);
	put_ether(self, many_mac, ETHER_IPV6, frame);
	return put_nd(self, ND_ASK, many, ip->byte, frame);
}

uint32_t praas_inet_answer_build(const struct praas_inet_self *self,
				 const struct praas_inet_packet *asked, uint8_t *frame)
{
	if (!asked->from_ip.v6)
		return put_arp(self, 2, asked->from_mac, asked->from_ip.byte, frame);
	put_ether(self, asked->from_mac, ETHER_IPV6, frame);
	return put_nd(self, ND_TELL, asked->from_ip.byte, self->ip.byte, frame);
}
