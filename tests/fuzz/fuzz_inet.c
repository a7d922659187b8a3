/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames from anybody on the link, to IPv4 and IPv6 addresses: what is found lies in the frame, what
 * is answered is right, and what opens a connection is told from what does not.
 */
#include <stdlib.h>
#include <string.h>

#include "transport/dgram_open.h"
#include "transport/inet.h"

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void try_open(const uint8_t *data, uint32_t bytes)
{
	struct praas_dgram_open open = { .segment_bytes = 1344 }, o;
	struct praas_dgram_head head;

	if (praas_dgram_head_decode(data, bytes, &head) != 0)
		return;
	if (praas_dgram_open_decode(data, bytes, &o) == 0)
		require(o.segment_bytes >= 448 &&
			praas_dgram_open_check(&o, data) != 0);
	/* Nobody without the key makes either. */
	require(praas_dgram_accept_decode(data, bytes, &open) != 0);
	open.client_nonce[0] = 1;
	(void)praas_dgram_refuse_decode(data, bytes, &open);
}

static void try_frame(struct praas_inet_self *self, const uint8_t *data, uint32_t bytes)
{
	uint8_t answer[PRAAS_INET_ASK_BYTES];
	struct praas_inet_packet p, q;
	uint32_t n;

	praas_inet_parse(self, data, bytes, &p);
	if (p.kind == PRAAS_INET_UDP) {
		require(p.at <= bytes && p.bytes <= bytes - p.at);
		(void)praas_inet_udp_is_whole(data, &p);
		try_open(data + p.at, p.bytes);
	} else if (p.kind == PRAAS_INET_ASKS) {
		struct praas_inet_self other = *self;

		n = praas_inet_answer_build(self, &p, answer);
		require(n <= sizeof(answer));
		memcpy(other.mac, p.from_mac, sizeof(other.mac));
		other.ip = p.from_ip;
		praas_inet_parse(&other, answer, n, &q);
		require(q.kind == PRAAS_INET_TELLS &&
			praas_inet_ip_equal(&q.from_ip, &self->ip));
	}
}

/* The rest of the input behind good headers. */
static void try_payload(const struct praas_inet_self *self, const uint8_t *data,
			uint32_t bytes)
{
	struct praas_inet_to to = { .ip = self->ip, .from_port = 1, .to_port = 2 };
	uint32_t heads = praas_inet_udp_bytes(self->ip.v6);
	uint8_t *frame = malloc(heads + bytes);
	struct praas_inet_packet p;

	require(frame != NULL);
	memcpy(to.mac, self->mac, sizeof(to.mac));
	memcpy(frame + heads, data, bytes);
	to.sum = bytes % 2;
	praas_inet_udp_build(self, &to, frame, bytes);
	praas_inet_parse(self, frame, heads + bytes, &p);
	require(p.kind == PRAAS_INET_UDP && p.bytes == bytes);
	require(praas_inet_udp_is_whole(frame, &p));
	try_open(frame + p.at, p.bytes);
	free(frame);
}

/* Good frames of each kind in which the input changes bytes: three each, where and by what. */
static void try_spoiled(struct praas_inet_self *self, const uint8_t *data, size_t bytes)
{
	struct praas_inet_self peer = *self;
	struct praas_inet_packet p = { .from_ip = self->ip };
	uint8_t frame[PRAAS_INET_ETHER_BYTES + 48 + PRAAS_DGRAM_OPEN_BYTES] = { 0 };
	uint32_t heads = praas_inet_udp_bytes(self->ip.v6), n;
	struct praas_dgram_open open = { .client = 1,
					 .session_key = { 1 },
					 .segment_bytes = 1344 };
	struct praas_inet_to to = { .ip = self->ip, .sum = true };

	if (bytes < 1)
		return;
	peer.ip.byte[3] ^= 3;
	memcpy(to.mac, self->mac, sizeof(to.mac));
	memcpy(p.from_mac, self->mac, sizeof(p.from_mac));
	switch (data[0] % 4) {
	case 0:
		n = praas_inet_ask_build(&peer, &self->ip, frame);
		break;
	case 1:
		n = praas_inet_answer_build(&peer, &p, frame);
		break;
	case 2:
		n = PRAAS_DGRAM_OPEN_BYTES;
		require(praas_dgram_open_encode(&open, frame + heads) == 0);
		praas_inet_udp_build(&peer, &to, frame, n);
		n += heads;
		break;
	default:
		n = PRAAS_DGRAM_REFUSE_BYTES;
		praas_dgram_refuse_encode(&open, PRAAS_DGRAM_LIMIT, frame + heads);
		praas_inet_udp_build(&peer, &to, frame, n);
		n += heads;
		break;
	}
	for (size_t i = 1; i + 2 < bytes; i += 3)
		frame[(data[i] | (unsigned)data[i + 1] << 8) % n] ^= data[i + 2];
	try_frame(self, frame, n - data[0] / 4 % 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const char *const addresses[2] = { "10.0.0.1/24", "fd00::1/64" };
	char text[64] = { 0 };
	struct praas_inet_ip ip;
	uint8_t prefix;

	if (bytes > 2000)
		return 0;
	for (unsigned i = 0; i < 2; i++) {
		struct praas_inet_self self = { .mac = { 2, 0, 0, 0, 0, 1 } };

		require(praas_inet_ip_parse(addresses[i], &self.ip, &self.prefix) == 0);
		try_frame(&self, data, (uint32_t)bytes);
		try_payload(&self, data, (uint32_t)bytes);
		try_spoiled(&self, data, bytes);
		(void)praas_inet_ask_build(&self, &self.ip,
					   (uint8_t[PRAAS_INET_ASK_BYTES]){ 0 });
		self.prefix = bytes > 0 ? data[0] % 129 : 0;
		if (!self.ip.v6)
			self.prefix %= 33;
		(void)praas_inet_ip_parse("10.0.3.9", &ip, &prefix);
		(void)praas_inet_next_hop(&self, &ip);
	}
	memcpy(text, data, bytes < sizeof(text) ? bytes : sizeof(text) - 1);
	if (praas_inet_ip_parse(text, &ip, &prefix) == 0)
		require(prefix <= 128);
	return 0;
}
