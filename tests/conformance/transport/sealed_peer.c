/* SPDX-License-Identifier: Apache-2.0
 *
 * A peer that holds the keys of its connection and says in records what it likes: an end with the right
 * reason, never more, and the next connection is served.
 */
#include "rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"
#include "transport/sealed_port.h"
#include "transport/tcp.h"

static struct rig rig;

struct said {
	uint64_t type;
	struct praas_frame head;
	uint64_t
		bytes; /* of the record in the open; ANY_HEAD: header, meta block, payload */
	int want;
};
#define ANY_HEAD UINT64_MAX

static void say(uint64_t type, const uint8_t *data, uint64_t bytes)
{
	struct praas_sealed_conn *conn = praas_sealed_conn_of(rig.client.conn);
	struct praas_conn *below = conn->inner;
	uint8_t head = (uint8_t)type;
	struct praas_seal_packet packet = { .number = conn->number_out++,
					    .head = &head,
					    .head_bytes = 1,
					    .bytes = (uint32_t)bytes };
	struct praas_buf *buf;

	assert_int_equal(praas_tcp_transport_ops.alloc(
				 below, bytes + PRAAS_SEAL_TAG_BYTES, &buf),
			 0);
	if (bytes > 0)
		memcpy(buf->data, data, bytes);
	packet.data = buf->data;
	packet.tag = buf->data + bytes;
	assert_int_equal(praas_seal_close(conn->seal_out, &packet), 0);
	buf->head = (struct praas_frame){ .kind = PRAAS_FRAME_SEALED,
					  .aux = type,
					  .bytes = bytes + PRAAS_SEAL_TAG_BYTES };
	assert_int_equal(praas_tcp_transport_ops.send(below, buf), 0);
}

static void say_frame(const struct said *s)
{
	static uint8_t data[1u << 20];
	uint64_t bytes = s->bytes;

	memset(data, 0, 4096);
	praas_frame_encode(&s->head, data);
	if (bytes == ANY_HEAD)
		bytes = PRAAS_FRAME_BYTES + praas_frame_meta_bytes(&s->head) +
			(s->type == PRAAS_SEALED_FRAME ? s->head.bytes : 0);
	say(s->type, data, bytes);
}

/* The first frame of a client is its proof, so the next has sequence 2. */
#define SEND(n, b)                                                                     \
	{                                                                              \
		.kind = PRAAS_FRAME_SEND, .sequence = (n), .id = 1, .bytes = (b)       \
	}

static const struct said first = { PRAAS_SEALED_LARGE, SEND(2, 2u << 20), ANY_HEAD, 0 };

/* One record that must not be, behind `before` if that is there. */
static void refuse(const struct said *before, const struct said *bad)
{
	unsigned closed = rig.server.closed, frames = rig.server.frames;

	rig_connect(&rig, &rig.client);
	if (before)
		say_frame(before);
	/* What its own end of the connection would know, had it said it. */
	praas_sealed_conn_of(rig.client.conn)->announced =
		before && before->type == PRAAS_SEALED_LARGE;
	if (before && before->type == PRAAS_SEALED_LARGE)
		rig_run_ms(&rig, 2); /* granted */
	say_frame(bad);
	rig_until(&rig, &rig.server.closed, closed + 1);
	assert_int_equal(rig.server.closed_rc, bad->want);
	assert_int_equal(rig.server.frames, frames);
	rig_until(&rig, &rig.client.closed, rig.client.opened);
}

static const struct said bad[] = {
	{ 0, SEND(2, 0), 64, -EPROTO },
	{ 6, SEND(2, 0), 64, -EPROTO },
	{ 255, SEND(2, 0), 64, -EPROTO },
	{ PRAAS_SEALED_FRAME, SEND(2, 0), 0, -EPROTO },
	{ PRAAS_SEALED_FRAME, SEND(2, 0), 63, -EPROTO },
	{ PRAAS_SEALED_FRAME, SEND(2, 0), 65, -EPROTO },
	{ PRAAS_SEALED_FRAME, SEND(2, 100), 64, -EPROTO },
	{ PRAAS_SEALED_FRAME, SEND(2, UINT64_MAX), 64, -EMSGSIZE },
	{ PRAAS_SEALED_FRAME, SEND(3, 0), 64, -EPROTO },
	{ PRAAS_SEALED_FRAME, SEND(0, 0), 64, -EPROTO },
	{ PRAAS_SEALED_FRAME, { .kind = 63, .sequence = 2 }, 64, -EPROTO },
	{ PRAAS_SEALED_FRAME,
	  { .kind = PRAAS_FRAME_SEALED, .sequence = 2 },
	  64,
	  -EPROTO },
	{ PRAAS_SEALED_FRAME, /* a key of NULs */
	  { .kind = PRAAS_FRAME_SEND, .sequence = 2, .key_bytes = 9 },
	  128,
	  -EPROTO },
	{ PRAAS_SEALED_FRAME, /* a key that is not there */
	  { .kind = PRAAS_FRAME_SEND, .sequence = 2, .key_bytes = 200 },
	  128,
	  -EPROTO },
	{ PRAAS_SEALED_LARGE, SEND(2, 0), ANY_HEAD, -EPROTO },
	{ PRAAS_SEALED_LARGE, SEND(3, 1u << 20), ANY_HEAD, -EPROTO },
	{ PRAAS_SEALED_LARGE, SEND(2, 1u << 20), 65, -EPROTO },
	{ PRAAS_SEALED_LARGE, SEND(2, RIG_BYTES_MAX + 1), ANY_HEAD, -EMSGSIZE },
	{ PRAAS_SEALED_PIECE, SEND(2, 0), 64, -EPROTO },
	{ PRAAS_SEALED_PIECE, SEND(2, 0), 0, -EPROTO },
	{ PRAAS_SEALED_GRANT, SEND(2, 0), 0, -EPROTO },
	{ PRAAS_SEALED_GRANT, SEND(2, 0), 1, -EPROTO },
	{ PRAAS_SEALED_END, SEND(2, 0), 1, -EPROTO },
};
static const struct said behind_large[] = {
	{ PRAAS_SEALED_FRAME, SEND(3, 0), ANY_HEAD, -EPROTO },
	{ PRAAS_SEALED_LARGE, SEND(3, 1u << 20), ANY_HEAD, -EPROTO },
	{ PRAAS_SEALED_PIECE, SEND(2, 0), 64, -EPROTO },
	{ PRAAS_SEALED_PIECE, SEND(2, 0), 0, -EPROTO },
	{ PRAAS_SEALED_PIECE, SEND(2, 0), PRAAS_SEALED_PIECE_BYTES - 1, -EPROTO },
	{ PRAAS_SEALED_END, SEND(2, 0), 0, -EPROTO },
};
static const struct said end = { PRAAS_SEALED_END, SEND(2, 0), 0, 0 };
static const struct said behind_end = { PRAAS_SEALED_FRAME, SEND(2, 0), 64, -EPROTO };

static void test_sealed_hostile_peer(void **state)
{
	(void)state;
	rig_start(&rig, scheme_find("sealed.tcp4"), NULL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refuse(NULL, &bad[i]);
	for (size_t i = 0; i < sizeof(behind_large) / sizeof(behind_large[0]); i++)
		refuse(&first, &behind_large[i]);
	refuse(&end, &behind_end);
	rig.server.next_id = 0;
	rig_connect(&rig, &rig.client);
	assert_int_equal(rig_invoke(rig.client.conn, 1, 64), 0);
	rig_until(&rig, &rig.server.frames, 1);
	rig_stop(&rig);
}

/* Records of chance, each in its own connection or behind others: an end, never more. */
static void test_sealed_records_of_chance(void **state)
{
	static uint8_t data[600];
	uint32_t x = 1;

	(void)state;
	rig_start(&rig, scheme_find("sealed.tcp4"), NULL);
	for (unsigned round = 0; round < 3000; round++) {
		unsigned closed = rig.server.closed;

		if (!rig.client.conn)
			rig_connect(&rig, &rig.client);
		for (size_t i = 0; i < sizeof(data); i++) {
			x = x * 1664525u + 1013904223u;
			data[i] = (uint8_t)(x >> 24);
		}
		if (x & 0x10000) { /* nearly a frame */
			struct praas_frame head = {
				.kind = data[70] % 48,
				.flags = data[71] % 8,
				.key_bytes = data[72],
				.sequence = 2 + data[73] % 2,
				.bytes = data[74] % 4 ? data[75]
						      : UINT64_C(1) << data[75] % 40
			};

			praas_frame_encode(&head, data);
		}
		rig.server.next_id = 0;
		say(1 + data[76] % 5, data, (x >> 8) % sizeof(data));
		for (unsigned i = 0; i < 200000 && rig.client.conn &&
				     rig.server.closed == closed && i < 200;
		     i++)
			rig_turn(&rig);
		if (rig.server.closed > closed)
			rig_until(&rig, &rig.client.closed, rig.client.opened);
	}
	assert_true(rig.server.closed > 1000);
	rig_stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sealed_hostile_peer),
		cmocka_unit_test(test_sealed_records_of_chance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
