/* SPDX-License-Identifier: Apache-2.0
 * What the datagram transport promises beyond the suite of all transports: that nobody on the wire can
 * do more than lose packets. Packets are caught, changed, repeated and made up on the way. */
#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "internal/base.h"
#include "internal/bytes.h"
#include "tests/lib/wire.h"
#include "transport/dgram.h"
#include "transport/dgram_open.h"

#define HEADS 42u /* Ethernet, IPv4, UDP */
#define KEPT 64u

static const struct scheme wire4 = { .name = "wire4",
				     .listen = "wire://10.0.0.1:0",
				     .nowhere = "wire://10.0.0.1:1",
				     .ops = &wire_transport_ops };
static struct rig rig;

/* What went by. */
struct caught {
	bool to_server;
	uint32_t bytes;
	uint8_t data[9100];
};
static struct caught kept[KEPT];
static unsigned count, lose;
static unsigned kinds[5];

static unsigned watch(void *user, bool to_server, uint8_t *data, uint32_t *bytes)
{
	(void)user;
	if (data[12] == 8 && data[13] == 0)
		kinds[data[HEADS + 3] % 5]++;
	if (count < KEPT) {
		kept[count].to_server = to_server;
		kept[count].bytes = *bytes;
		memcpy(kept[count++].data, data, *bytes);
	}
	if (lose == 0)
		return 1;
	lose--;
	return 0;
}

static void start(void)
{
	count = 0;
	lose = 0;
	memset(kinds, 0, sizeof(kinds));
	rig_start(&rig, &wire4, NULL);
	wire_set_tap(watch, NULL);
}

static struct praas_dgram_stats stats_of(const struct praas_port *port)
{
	struct praas_dgram_stats stats;

	praas_dgram_port_stats(port, &stats);
	return stats;
}

/* Still what it was? */
static void check_alive(unsigned id)
{
	rig.server.echo = true;
	rig_invoke_wait(&rig, rig.client.conn, id, 1000);
	rig_until(&rig, &rig.client.frames, id);
	assert_int_equal(rig.client.closed + rig.server.closed, 0);
}

/* Everything that opened a connection and went over it, once more and again: nothing happens twice, no
 * connection comes of it. */
static void test_dgram_replay(void **state)
{
	struct praas_dgram_stats s;
	unsigned packets;

	(void)state;
	start();
	rig_connect(&rig, &rig.client);
	check_alive(1);
	packets = count;
	assert_in_range(packets, 8, KEPT);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < packets; i++) {
			wire_inject(kept[i].to_server, kept[i].data, kept[i].bytes);
			rig_run_ms(&rig, 1);
		}
	}
	assert_int_equal(rig.server.frames, 1);
	assert_int_equal(rig.client.frames, 1);
	assert_int_equal(rig.server.opened, 1);
	s = stats_of(rig.server_port);
	assert_true(s.replayed >= 9);
	assert_int_equal(s.forged, 0);
	check_alive(2);
	rig_stop(&rig);
	/* The same packets to a server that has forgotten: a ticket is good, but opens nothing without
	 * its key; then it is forgotten again. */
	start();
	for (unsigned i = 0; i < packets; i++)
		wire_inject(kept[i].to_server, kept[i].data, kept[i].bytes);
	rig_run_ms(&rig, 20);
	assert_int_equal(rig.server.opened, 0);
	rig_connect(&rig, &rig.client);
	check_alive(1);
	rig_stop(&rig);
}

/* Each byte of packets of every kind, changed: at most the packet is lost. */
static void test_dgram_every_byte_counts(void **state)
{
	static struct caught packet[KEPT];
	unsigned packets;

	(void)state;
	start();
	rig_connect(&rig, &rig.client);
	rig.server.echo = true;
	packets = count;
	memcpy(packet, kept, sizeof(packet));
	for (unsigned i = 0; i < packets; i++) {
		for (uint32_t at = HEADS; at < packet[i].bytes; at++) {
			packet[i].data[at] ^= 0x20;
			wire_inject(packet[i].to_server, packet[i].data,
				    packet[i].bytes);
			packet[i].data[at] ^= 0x20;
			if (at % 16 == 0)
				rig_turn(&rig);
		}
	}
	rig_run_ms(&rig, 5);
	assert_int_equal(rig.server.opened, 1);
	assert_true(stats_of(rig.server_port).forged +
			    stats_of(rig.server_port).replayed +
			    stats_of(rig.server_port).unknown >
		    100);
	check_alive(1);
	rig_stop(&rig);
}

/* A packet made up by one who knows the connection's numbers but not its key. */
static void test_dgram_forged(void **state)
{
	struct praas_dgram_stats before, after;
	struct caught *last = NULL;

	(void)state;
	start();
	rig_connect(&rig, &rig.client);
	check_alive(1);
	for (unsigned i = 0; i < count; i++) {
		if (kept[i].to_server && kept[i].data[HEADS + 3] == PRAAS_DGRAM_DATA)
			last = &kept[i];
	}
	assert_non_null(last);
	before = stats_of(rig.server_port);
	for (unsigned i = 0; i < 500; i++) {
		praas_put_u64(last->data + HEADS + 16, 1000 + i); /* fresh numbers */
		wire_inject(true, last->data, last->bytes);
		if (i % 16 == 0)
			rig_turn(&rig);
	}
	rig_run_ms(&rig, 2);
	after = stats_of(rig.server_port);
	assert_int_equal(after.forged - before.forged, 500);
	assert_int_equal(rig.server.frames, 1);
	check_alive(2);
	rig_stop(&rig);
}

/* A genuine packet from another address, or a REFUSE that did not see the nonce: not believed. */
static void test_dgram_foreign(void **state)
{
	struct praas_dgram_open open = { .client = 0 };
	struct praas_dgram_head head;
	struct praas_ticket_secret secret;
	uint8_t frame[200];

	(void)state;
	start();
	lose = 2; /* the question, the answer */
	rig_connect_bare(&rig, &rig.client, &secret);
	rig_run_ms(&rig, 400);
	assert_true(kinds[PRAAS_DGRAM_OPEN] >= 1);
	for (unsigned i = 0; i < count; i++) {
		if (kept[i].data[12] == 8 && kept[i].data[13] == 0 &&
		    kept[i].data[HEADS + 3] == PRAAS_DGRAM_ACCEPT) {
			memcpy(frame, kept[i].data, kept[i].bytes);
			assert_int_equal(praas_dgram_head_decode(frame + HEADS,
								 kept[i].bytes - HEADS,
								 &head),
					 0);
			open.client = head.connection;
			break;
		}
	}
	assert_true(open.client != 0);
	rig_stop(&rig);
	start();
	rig_connect(&rig, &rig.client);
	praas_dgram_refuse_encode(&open, PRAAS_DGRAM_TICKET, frame + HEADS);
	wire_inject(false, frame, HEADS + PRAAS_DGRAM_REFUSE_BYTES);
	frame[29] ^= 1; /* another sender */
	wire_inject(false, frame, HEADS + PRAAS_DGRAM_REFUSE_BYTES);
	rig_run_ms(&rig, 2);
	check_alive(1);
	rig_stop(&rig);
}

/* Whoever opens and shows nothing more takes no place for long, nor all places. */
static void test_dgram_half_open(void **state)
{
	struct rig_config config = { .unauthenticated_max = 4 };
	struct praas_dgram_open open = { .segment_bytes = 1344 };
	struct praas_ticket_secret secret;
	uint8_t frame[HEADS + PRAAS_DGRAM_OPEN_BYTES];
	struct praas_inet_self self = { .mac = { 2, 0, 0, 0, 0, 9 }, .prefix = 24 };
	struct praas_inet_to to = { .mac = { 2, 0, 0, 0, 0, 1 }, .from_port = 9 };
	uint16_t port;
	uint8_t prefix;

	(void)state;
	start();
	rig_stop(&rig);
	rig_start(&rig, &wire4, &config);
	assert_int_equal(praas_inet_ip_parse("10.0.0.9", &self.ip, &prefix), 0);
	assert_int_equal(praas_dgram_addr_parse("wire", rig.addr, &to.ip, &port), 0);
	to.to_port = port;
	rig_secret(&rig, NULL, &secret);
	memcpy(open.ticket, secret.ticket, sizeof(open.ticket));
	memcpy(open.session_key, secret.session_key, sizeof(open.session_key));
	for (unsigned i = 1; i <= 10; i++) {
		open.client = i;
		open.client_nonce[0] = (uint8_t)i;
		assert_int_equal(praas_dgram_open_encode(&open, frame + HEADS), 0);
		praas_inet_udp_build(&self, &to, frame, PRAAS_DGRAM_OPEN_BYTES);
		wire_inject(true, frame, sizeof(frame));
		wire_inject(true, frame, sizeof(frame)); /* the same again: one place */
		rig_turn(&rig);
	}
	rig_run_ms(&rig, 5);
	assert_int_equal(rig.server.opened, 0);
	assert_in_range(stats_of(rig.server_port).refused, 6, 12);
	rig_run_ms(&rig, 1100); /* old enough to be displaced */
	rig_connect(&rig, &rig.client);
	check_alive(1);
	rig_stop(&rig);
}

/* Without the key's second half hidden: only authenticated, when both sides want it; and hidden when
 * one does not. */
static void test_dgram_clear(void **state)
{
	(void)state;
	for (unsigned clear = 0; clear < 2; clear++) {
		bool seen = false;

		wire_set_clear(clear);
		start();
		rig_connect(&rig, &rig.client);
		count = 0;
		check_alive(1);
		for (unsigned i = 0; i < count; i++) {
			for (uint32_t at = 0; at + 2 < kept[i].bytes; at++)
				seen |= memcmp(kept[i].data + at, "PR\1\10", 4) == 0;
		}
		assert_int_equal(seen, clear);
		rig_stop(&rig);
	}
	wire_set_clear(false);
}

/* Large packets, where the device has them; the smaller of both ends counts. */
static void test_dgram_jumbo(void **state)
{
	(void)state;
	wire_set_mtu(9000);
	start();
	wire_set_mtu(0);
	rig_connect(&rig, &rig.client);
	rig.server.echo = true;
	rig.client.keep = true;
	rig_invoke_wait(&rig, rig.client.conn, 1, 1000000);
	rig_until(&rig, &rig.client.frames, 1);
	assert_true(rig_pattern_is(rig.client.kept));
	assert_in_range(praas_dgram_conn_stats(rig.client.conn)->segments_out, 100,
			200);
	rig_stop(&rig);
}

/* No word from the other side any more: both ends learn it. */
static void test_dgram_cut_wire(void **state)
{
	struct rig_config config = { .stall_timeout_ns = UINT64_C(300000000) };

	(void)state;
	rig_start(&rig, &wire4, &config);
	wire_set_tap(watch, NULL);
	rig_connect(&rig, &rig.client);
	lose = UINT32_MAX;
	assert_int_equal(rig_invoke(rig.client.conn, 1, 100), 0);
	rig_until(&rig, &rig.client.closed, 1);
	assert_int_equal(rig.client.closed_rc, -ETIMEDOUT);
	assert_int_equal(rig.client.sent_bad, 1);
	lose = 0;
	rig_stop(&rig);
}

/* Link addresses in ARP answers, spoiled on the way: nothing there has a checksum. */
static unsigned spoil_answers(void *user, bool to_server, uint8_t *data,
			      uint32_t *bytes)
{
	unsigned *left = user;

	(void)to_server;
	(void)bytes;
	if (data[12] == 8 && data[13] == 6 && data[21] == 2 && *left > 0) {
		data[22] ^= 4;
		--*left;
	}
	return 1;
}

/* A wrong link address is learnt: what stays without an answer asks for it again. */
static void test_dgram_wrong_link_address(void **state)
{
	unsigned left = 2;

	(void)state;
	start();
	wire_set_tap(spoil_answers, &left);
	rig_connect(&rig, &rig.client);
	assert_int_equal(left, 0);
	check_alive(1);
	rig_stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dgram_replay),
		cmocka_unit_test(test_dgram_every_byte_counts),
		cmocka_unit_test(test_dgram_forged),
		cmocka_unit_test(test_dgram_foreign),
		cmocka_unit_test(test_dgram_half_open),
		cmocka_unit_test(test_dgram_clear),
		cmocka_unit_test(test_dgram_jumbo),
		cmocka_unit_test(test_dgram_cut_wire),
		cmocka_unit_test(test_dgram_wrong_link_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
