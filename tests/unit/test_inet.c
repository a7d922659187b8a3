/* SPDX-License-Identifier: Apache-2.0
 * Ethernet, ARP, neighbour discovery, IP, UDP: what one end builds the other understands; bytes as the
 * standards have them; damage is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "transport/inet.h"

static struct praas_inet_self self_of(const char *ip, uint8_t last)
{
	struct praas_inet_self self = { .mac = { 2, 0, 0, 0, 0, last } };

	assert_int_equal(praas_inet_ip_parse(ip, &self.ip, &self.prefix), 0);
	return self;
}

static const char *const address[2][2] = { { "10.1.2.3/24", "10.1.2.4/24" },
					   { "fd00::1:3/112", "fd00::1:4/112" } };

/* A datagram there, with every size of payload. */
static void test_inet_udp_round_trip(void **state)
{
	uint8_t frame[1514];

	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct praas_inet_self a = self_of(address[v6][0], 1);
		struct praas_inet_self b = self_of(address[v6][1], 2);
		struct praas_inet_to to = {
			.ip = b.ip, .from_port = 1000, .to_port = 2000, .sum = true
		};
		uint32_t heads = praas_inet_udp_bytes(v6);

		memcpy(to.mac, b.mac, sizeof(to.mac));
		for (uint32_t bytes = 0; bytes <= 1514 - heads; bytes++) {
			struct praas_inet_packet p;

			memset(frame + heads, (int)bytes, bytes);
			praas_inet_udp_build(&a, &to, frame, bytes);
			praas_inet_parse(&b, frame, heads + bytes, &p);
			assert_int_equal(p.kind, PRAAS_INET_UDP);
			assert_true(praas_inet_ip_equal(&p.from_ip, &a.ip));
			assert_memory_equal(p.from_mac, a.mac, 6);
			assert_int_equal(p.from_port, 1000);
			assert_int_equal(p.to_port, 2000);
			assert_int_equal(p.at, heads);
			assert_int_equal(p.bytes, bytes);
			assert_true(praas_inet_udp_is_whole(frame, &p));
			if (bytes > 0) {
				frame[heads + bytes / 2] ^= 1;
				assert_false(praas_inet_udp_is_whole(frame, &p));
			}
		}
	}
}

/* Byte by byte, the checksum worked out by hand (RFC 1071). */
static void test_inet_ipv4_bytes(void **state)
{
	static const uint8_t want[42] = { 2,    0, 0,  0,  0,    2,    2,    0,    0, 0,
					  0,    1, 8,  0,  0x45, 0,    0,    28,   0, 0,
					  0x40, 0, 64, 17, 0x22, 0xc9, 10,   1,    2, 3,
					  10,   1, 2,  4,  0x03, 0xe8, 0x07, 0xd0, 0, 8,
					  0,    0 };
	struct praas_inet_self a = self_of("10.1.2.3/24", 1);
	struct praas_inet_self b = self_of("10.1.2.4/24", 2);
	struct praas_inet_to to = { .ip = b.ip, .from_port = 1000, .to_port = 2000 };
	uint8_t frame[42];

	(void)state;
	memcpy(to.mac, b.mac, sizeof(to.mac));
	praas_inet_udp_build(&a, &to, frame, 0);
	assert_memory_equal(frame, want, sizeof(want));
}

/* Asked who has an address, only its owner answers, and the answer is understood. */
static void test_inet_link_addresses(void **state)
{
	uint8_t frame[PRAAS_INET_ASK_BYTES], answer[PRAAS_INET_ASK_BYTES];

	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct praas_inet_self a = self_of(address[v6][0], 1);
		struct praas_inet_self b = self_of(address[v6][1], 2);
		struct praas_inet_self c = self_of(v6 ? "fd00::1:5" : "10.1.2.5", 3);
		struct praas_inet_packet p;
		uint32_t bytes = praas_inet_ask_build(&a, &b.ip, frame);

		praas_inet_parse(&c, frame, bytes, &p);
		assert_int_equal(p.kind, PRAAS_INET_OTHER);
		praas_inet_parse(&b, frame, bytes - 1, &p);
		assert_true(p.kind == PRAAS_INET_OTHER);
		praas_inet_parse(&b, frame, bytes, &p);
		assert_int_equal(p.kind, PRAAS_INET_ASKS);
		bytes = praas_inet_answer_build(&b, &p, answer);
		praas_inet_parse(&a, answer, bytes, &p);
		assert_int_equal(p.kind, PRAAS_INET_TELLS);
		assert_true(praas_inet_ip_equal(&p.from_ip, &b.ip));
		assert_memory_equal(p.from_mac, b.mac, 6);
		if (v6) { /* neighbour discovery has a checksum */
			answer[60] ^= 1;
			praas_inet_parse(&a, answer, bytes, &p);
			assert_int_equal(p.kind, PRAAS_INET_OTHER);
		}
	}
}

/* Foreign, cut, fragmented, with options, spoiled: nothing for us. */
static void test_inet_refuses(void **state)
{
	struct praas_inet_self a = self_of("10.1.2.3/24", 1);
	struct praas_inet_self b = self_of("10.1.2.4/24", 2);
	struct praas_inet_to to = { .ip = b.ip, .from_port = 1000, .to_port = 2000 };
	static const struct {
		unsigned at;
		uint8_t value;
	} bad[] = { { 0, 4 },    { 12, 9 },    { 14, 0x46 }, { 14, 0x65 },
		    { 17, 200 }, { 20, 0x20 }, { 21, 1 },    { 23, 6 },
		    { 24, 0 },   { 33, 9 },    { 38, 9 },    { 39, 200 } };
	uint8_t frame[60] = { 0 };
	struct praas_inet_packet p;

	(void)state;
	memcpy(to.mac, b.mac, sizeof(to.mac));
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		praas_inet_udp_build(&a, &to, frame, 10);
		praas_inet_parse(&b, frame, 60, &p); /* padded, as short frames are */
		assert_int_equal(p.kind, PRAAS_INET_UDP);
		assert_int_equal(p.bytes, 10);
		frame[bad[i].at] = bad[i].value;
		praas_inet_parse(&b, frame, 60, &p);
		assert_int_equal(p.kind, PRAAS_INET_OTHER);
	}
	praas_inet_udp_build(&a, &to, frame, 10);
	for (uint32_t bytes = 0; bytes < 52; bytes++) {
		praas_inet_parse(&b, frame, bytes, &p);
		assert_int_equal(p.kind, PRAAS_INET_OTHER);
	}
}

/* What a device does that completes checksums: the sum of what is there, with what is there for it. */
static void complete(uint8_t *udp, uint32_t bytes)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < bytes; i++)
		sum += i % 2 ? udp[i] : (uint32_t)udp[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	udp[6] = (uint8_t)(~sum >> 8);
	udp[7] = (uint8_t)~sum;
}

/* Over IPv6 the device may complete the checksum: then it is what we would have written. Over IPv4 it need not. */
static void test_inet_device_sums(void **state)
{
	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct praas_inet_self a =
			self_of(v6 ? "fd00::1/64" : "10.0.0.1/24", 1);
		struct praas_inet_self b =
			self_of(v6 ? "fd00::2/64" : "10.0.0.2/24", 2);
		struct praas_inet_to to = {
			.ip = b.ip, .from_port = 1, .to_port = 2, .sum = true
		};
		uint32_t heads = praas_inet_udp_bytes(v6);
		uint8_t ours[200], devices[200];

		memcpy(to.mac, b.mac, sizeof(to.mac));
		for (uint32_t bytes = 0; bytes < 100; bytes++) {
			memset(ours, (int)(bytes * 7), sizeof(ours));
			memcpy(devices, ours, sizeof(ours));
			praas_inet_udp_build(&a, &to, ours, bytes);
			a.device_sums = true;
			praas_inet_udp_build(&a, &to, devices, bytes);
			a.device_sums = false;
			if (v6) {
				assert_memory_not_equal(ours, devices, heads);
				complete(devices + heads - 8, bytes + 8);
			}
			assert_memory_equal(ours, devices, heads + bytes);
		}
	}
}

/* The way to an address: itself on the network, else the gateway, else none. */
static void test_inet_next_hop(void **state)
{
	struct praas_inet_self self = self_of("10.1.2.3/22", 1);
	struct praas_inet_ip near, far, six;
	uint8_t prefix;

	(void)state;
	assert_int_equal(praas_inet_ip_parse("10.1.3.9", &near, &prefix), 0);
	assert_int_equal(praas_inet_ip_parse("10.1.4.1", &far, &prefix), 0);
	assert_int_equal(praas_inet_ip_parse("fd00::1", &six, &prefix), 0);
	assert_int_equal(prefix, 128);
	assert_ptr_equal(praas_inet_next_hop(&self, &near), &near);
	assert_null(praas_inet_next_hop(&self, &far));
	assert_null(praas_inet_next_hop(&self, &six));
	self.gateway = near;
	assert_ptr_equal(praas_inet_next_hop(&self, &far), &self.gateway);
}

static void test_inet_bad_addresses(void **state)
{
	static const char *const bad[] = { "",           "10.1.2",
					   "10.1.2.3/",  "10.1.2.3/33",
					   "10.1.2.3/x", "fd00::1/129",
					   "fd00::g",    "10.1.2.3/24 " };
	struct praas_inet_ip ip;
	uint8_t prefix;

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(praas_inet_ip_parse(bad[i], &ip, &prefix), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inet_udp_round_trip),
		cmocka_unit_test(test_inet_ipv4_bytes),
		cmocka_unit_test(test_inet_link_addresses),
		cmocka_unit_test(test_inet_refuses),
		cmocka_unit_test(test_inet_device_sums),
		cmocka_unit_test(test_inet_next_hop),
		cmocka_unit_test(test_inet_bad_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
