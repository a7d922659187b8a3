/* SPDX-License-Identifier: Apache-2.0
 *
 * What is the sealed transport's own beside the suite: a wire that changes what goes over it. The transport
 * below is tcp, whose frames are looked at and changed as they are sent. Peers that hold the keys:
 * sealed_peer.c.
 */
#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"
#include "transport/sealed_port.h"
#include "transport/tcp.h"

/* ---- the wire --------------------------------------------------------------------------------- */

enum harm {
	HARM_NONE,
	HARM_BIT,    /* of the data */
	HARM_TYPE,   /* what kind of record it is */
	HARM_SHORT,  /* a byte less */
	HARM_TINY,   /* no room for a tag */
	HARM_DROP,   /* not sent */
	HARM_TWICE,  /* sent again */
	HARM_SWAP,   /* behind the next one */
	HARM_SPLICE, /* instead of it, the one of that number of another connection */
	HARM_KIND    /* in clear, as another kind of frame */
};

static struct {
	enum harm harm;
	unsigned at;   /* of the records that the client sends, that one */
	unsigned seen; /* so far */
	uint64_t bit;
	struct praas_buf *kept;
	const char *canary; /* looked for in all that is sent */
	unsigned betrayed;
	uint64_t hello_aux; /* added to the client's HELLO */
} wire;

static struct rig rig;
extern const struct praas_transport_ops sealed_evil_ops;

static bool holds(const uint8_t *data, uint64_t bytes, const char *text)
{
	return memmem(data, bytes, text, strlen(text)) != NULL;
}

static int again(struct praas_conn *conn, const struct praas_buf *buf)
{
	struct praas_buf *copy;

	assert_int_equal(praas_tcp_transport_ops.alloc(conn, buf->head.bytes, &copy),
			 0);
	copy->head = buf->head;
	memcpy(copy->data, buf->data, buf->head.bytes);
	return praas_tcp_transport_ops.send(conn, copy);
}

static int harmed(struct praas_conn *conn, struct praas_buf *buf)
{
	switch (wire.harm) {
	case HARM_BIT:
		buf->data[wire.bit / 8] ^= (uint8_t)(1u << wire.bit % 8);
		break;
	case HARM_TYPE:
		buf->head.aux ^= wire.bit;
		break;
	case HARM_SHORT:
		buf->head.bytes--;
		break;
	case HARM_TINY:
		buf->head.bytes = PRAAS_SEAL_TAG_BYTES - 1;
		break;
	case HARM_DROP:
		praas_buf_release(buf);
		return 0;
	case HARM_TWICE:
		assert_int_equal(again(conn, buf), 0);
		break;
	case HARM_SWAP:
	case HARM_SPLICE:
		wire.kept = buf; /* goes on later */
		return 0;
	case HARM_KIND:
		buf->head.kind = PRAAS_FRAME_INVOKE;
		break;
	case HARM_NONE:
		break;
	}
	return praas_tcp_transport_ops.send(conn, buf);
}

static int evil_send(struct praas_conn *conn, struct praas_buf *buf)
{
	const struct praas_sealed_conn *outer = conn->user;
	bool client = !outer->accepted;

	if (wire.canary && buf->head.bytes > 0)
		wire.betrayed += holds(buf->data, buf->head.bytes, wire.canary);
	if (client && buf->head.kind == PRAAS_FRAME_HELLO)
		buf->head.aux += wire.hello_aux;
	if (client && buf->head.kind == PRAAS_FRAME_SEALED) {
		struct praas_buf *kept = wire.kept;
		int rc;

		if (++wire.seen == wire.at)
			return harmed(conn, buf);
		wire.kept = NULL;
		rc = praas_tcp_transport_ops.send(conn, buf);
		if (kept)
			assert_int_equal(praas_tcp_transport_ops.send(conn, kept), 0);
		return rc;
	}
	return praas_tcp_transport_ops.send(conn, buf);
}

static struct praas_transport_ops evil_ops;

static int evil_open(const struct praas_port_config *config,
		     struct praas_port **ret_port)
{
	int rc = praas_tcp_transport_ops.open(config, ret_port);

	if (rc == 0)
		(*ret_port)->ops = &evil_ops; /* its connections have it from there */
	return rc;
}

PRAAS_SEALED_TRANSPORT(sealed_evil_ops, "tcp+sealed", evil_ops);

static const struct scheme evil = { .name = "evil",
				    .listen = "tcp+sealed://127.0.0.1:0",
				    .nowhere = "",
				    .ops = &sealed_evil_ops };

static void start(const struct rig_config *config)
{
	evil_ops = praas_tcp_transport_ops;
	evil_ops.open = evil_open;
	evil_ops.send = evil_send;
	memset(&wire, 0, sizeof(wire));
	rig_start(&rig, &evil, config);
}

static uint64_t forged(void)
{
	struct praas_sealed_stats stats;

	praas_sealed_port_stats(rig.server_port, &stats);
	return stats.forged;
}

/* Connects; the harm is done to the client's record `at` from now on, of two frames of bytes. The server
 * ends the connection, or has what came before; what it had is right. */
static void harm(enum harm what, unsigned at, uint64_t bit, uint64_t bytes, int want)
{
	unsigned closed = rig.server.closed;

	rig.client.next_id = 0;
	rig.server.next_id = 0;
	rig.server.frames = 0;
	rig.server.keep = true;
	rig_connect(&rig, &rig.client);
	wire.harm = what;
	wire.bit = bit;
	wire.seen = 0;
	wire.at = at;
	assert_int_equal(rig_invoke(rig.client.conn, 1, bytes), 0);
	assert_int_equal(rig_invoke(rig.client.conn, 2, bytes), 0);
	rig_until(&rig, &rig.server.closed, closed + 1);
	wire.at = 0;
	assert_int_equal(rig.server.closed_rc, want);
	assert_int_equal(rig.server.order_errors, 0);
	assert_true(rig.server.frames < 2);
	assert_true(!rig.server.kept || rig_pattern_is(rig.server.kept));
	side_drop_kept(&rig.server);
	rig_until(&rig, &rig.client.closed, rig.client.opened);
}

/* ---- tests ------------------------------------------------------------------------------------ */

/* Every bit of a record: header, payload, tag. */
static void test_sealed_every_bit_counts(void **state)
{
	uint64_t bits = 8 * (PRAAS_FRAME_BYTES + 16 + PRAAS_SEAL_TAG_BYTES);

	(void)state;
	start(NULL);
	for (uint64_t bit = 0; bit < bits; bit++)
		harm(HARM_BIT, 1, bit, 16, -EBADMSG);
	assert_int_equal(forged(), bits);
	rig_stop(&rig);
}

static void test_sealed_left_out_repeated_moved(void **state)
{
	(void)state;
	start(NULL);
	for (unsigned i = 0; i < 20; i++) {
		uint64_t bytes = i % 2 ? 64 : 100000;

		harm(HARM_DROP, 1, 0, bytes, -EBADMSG);
		harm(HARM_TWICE, 1, 0, bytes, -EBADMSG);
		harm(HARM_SWAP, 1, 0, bytes, -EBADMSG);
		harm(HARM_SHORT, 1, 0, bytes, -EBADMSG);
		harm(HARM_TINY, 1, 0, bytes, -EPROTO);
		harm(HARM_KIND, 1, 0, bytes, -EPROTO);
	}
	rig_stop(&rig);
}

/* A record is opened as what it was sealed as. */
static void test_sealed_type_is_authentic(void **state)
{
	(void)state;
	start(NULL);
	for (uint64_t bit = 1; bit < 256; bit <<= 1)
		harm(HARM_TYPE, 1, bit, 64,
		     (PRAAS_SEALED_FRAME ^ bit) == PRAAS_SEALED_PIECE ? -EPROTO
								      : -EBADMSG);
	harm(HARM_TYPE, 1, 256, 64, -EPROTO);
	harm(HARM_TYPE, 1, UINT64_C(1) << 63, 64, -EPROTO);
	rig_stop(&rig);
}

/* Of another connection of the same client to the same process, with the same number and content. */
static void test_sealed_connections_differ(void **state)
{
	static struct side other;
	struct praas_buf *taken, *buf;

	(void)state;
	start(NULL);
	memset(&other, 0, sizeof(other));
	rig_connect(&rig, &other);
	rig_connect(&rig, &rig.client);
	wire.harm = HARM_SPLICE;
	wire.seen = 0;
	wire.at = 1;
	assert_int_equal(rig_invoke(other.conn, 1, 64), 0);
	taken = wire.kept;
	wire.kept = NULL;
	wire.at = 0;
	assert_non_null(taken);
	{
		struct praas_conn *below = praas_sealed_conn_of(rig.client.conn)->inner;

		assert_int_equal(
			praas_tcp_transport_ops.alloc(below, taken->head.bytes, &buf),
			0);
		buf->head = taken->head;
		memcpy(buf->data, taken->data, taken->head.bytes);
		assert_int_equal(praas_tcp_transport_ops.send(below, buf), 0);
	}
	rig_until(&rig, &rig.server.closed, 1);
	assert_int_equal(rig.server.closed_rc, -EBADMSG);
	assert_int_equal(rig.server.frames, 0);
	praas_buf_release(taken);
	rig_stop(&rig);
}

/* Each piece of a large payload. */
static void test_sealed_pieces(void **state)
{
	struct rig_config config = { .send_queue_max = 16u << 20 };
	uint64_t bytes = 3 * PRAAS_SEALED_PIECE_BYTES + 5;

	(void)state;
	start(&config);
	for (unsigned at = 1; at <= 5; at++) { /* 1: what announces it */
		harm(HARM_BIT, at, 8 * (at == 5 ? 4 : 60), bytes, -EBADMSG);
		if (at > 1) /* without that nothing goes on */
			harm(HARM_DROP, at, 0, bytes, at == 4 ? -EPROTO : -EBADMSG);
		harm(HARM_TWICE, at, 0, bytes, at < 4 ? -EBADMSG : -EPROTO);
		harm(HARM_SHORT, at, 0, bytes, at == 1 ? -EBADMSG : -EPROTO);
	}
	rig_stop(&rig);
}

/* What the client says in clear before there are keys is in the keys. */
static void test_sealed_hello_is_authentic(void **state)
{
	(void)state;
	start(NULL);
	wire.hello_aux = 2; /* "tell me of members" */
	rig_connect_begin(&rig, &rig.client, NULL);
	rig_until(&rig, &rig.client.closed, 1);
	assert_int_equal(rig.client.opened, 0);
	assert_int_equal(rig.server.opened, 0);
	wire.hello_aux = 0;
	rig_connect(&rig, &rig.client);
	rig_stop(&rig);
}

/* Anybody on the way can end the connection below in order: that is not the end of what was said. */
static void test_sealed_cut_off(void **state)
{
	struct praas_sealed_conn *conn;
	struct praas_conn *below;

	(void)state;
	start(NULL);
	rig_connect(&rig, &rig.client);
	assert_int_equal(rig_invoke(rig.client.conn, 1, 64), 0);
	rig_until(&rig, &rig.server.frames, 1);
	conn = praas_sealed_conn_of(rig.client.conn);
	below = conn->inner;
	conn->inner = NULL;
	below->ops->close(below, true);
	rig_until(&rig, &rig.server.closed, 1);
	assert_int_equal(rig.server.closed_rc, -ECONNRESET);
	assert_int_equal(rig_invoke(rig.client.conn, 2, 64), -ENOTCONN);
	rig_stop(&rig);
}

/* Nothing of a frame is to be read on the wire: payload, key, trace, whole or in pieces, either way. */
static void test_sealed_hides(void **state)
{
	static const char canary[] = "the canary that is to be seen nowhere";

	(void)state;
	start(NULL);
	rig_connect(&rig, &rig.client);
	wire.canary = canary;
	rig.server.echo = true;
	for (unsigned i = 1; i <= 3; i++) {
		uint64_t bytes = i == 3 ? 3u << 20 : i * 50000u;
		struct praas_buf *buf;

		assert_int_equal(rig.ops->alloc(rig.client.conn, bytes, &buf), 0);
		buf->head = (struct praas_frame){ .kind = PRAAS_FRAME_INVOKE,
						  .flags = PRAAS_FRAME_TRACE,
						  .id = i,
						  .key_bytes = sizeof(canary) - 1,
						  .bytes = bytes };
		memset(buf->trace, 0, sizeof(buf->trace));
		memcpy(buf->key, canary, sizeof(canary));
		for (uint64_t at = 0; at < bytes; at++)
			buf->data[at] = (uint8_t)canary[at % (sizeof(canary) - 1)];
		assert_true(holds(buf->data, bytes, canary));
		assert_int_equal(rig.ops->send(rig.client.conn, buf), 0);
		rig_until(&rig, &rig.client.frames, i);
	}
	assert_int_equal(wire.betrayed, 0);
	rig_stop(&rig);
}

/* The key changes; whole frames and empty ones. */
static void test_sealed_many_records(void **state)
{
	unsigned count = (2u << PRAAS_SEALED_EPOCH_SHIFT) + 100;

	(void)state;
	start(NULL);
	rig_connect(&rig, &rig.client);
	for (unsigned id = 1; id <= count; id++)
		rig_invoke_wait(&rig, rig.client.conn, id, id % 3);
	rig_until(&rig, &rig.server.frames, count);
	assert_int_equal(rig.server.order_errors, 0);
	assert_int_equal(rig.server.closed + rig.client.closed, 0);
	rig_stop(&rig);
}

/* A large frame for which there is no memory waits for it, and the other direction does not. */
static void test_sealed_waits_for_memory(void **state)
{
	struct rig_config config = { .server_memory = 64u << 20,
				     .send_queue_max = 64u << 20 };

	(void)state;
	start(&config);
	rig_connect(&rig, &rig.client);
	rig.server.hold = 1;
	rig_invoke_wait(&rig, rig.client.conn, 1, 20u << 20);
	rig_until(&rig, &rig.server.holds, 1);
	rig_invoke_wait(&rig, rig.client.conn, 2, 20u << 20);
	rig_invoke_wait(&rig, rig.client.conn, 3, 64);
	rig_run_ms(&rig, 50);
	assert_int_equal(rig.server.frames, 1);
	assert_int_equal(rig_invoke(rig.server.conn, 1, 64), 0);
	rig_until(&rig, &rig.client.frames, 1);
	assert_true(rig_pattern_is(rig.server.held[0]));
	side_drop_held(&rig.server);
	rig_until(&rig, &rig.server.frames, 3);
	assert_int_equal(rig.server.order_errors, 0);
	assert_int_equal(rig.server.closed + rig.client.closed, 0);
	rig_stop(&rig);
}

/* … and a peer that never grants what was announced is given up. */
static void test_sealed_stalls(void **state)
{
	struct rig_config config = { .server_memory = 64u << 20,
				     .stall_timeout_ns = UINT64_C(300000000) };

	(void)state;
	start(&config);
	rig_connect(&rig, &rig.client);
	rig_invoke_wait(&rig, rig.client.conn, 1, 80u << 20);
	rig_until(&rig, &rig.client.closed, 1);
	assert_int_equal(rig.client.closed_rc, -ETIMEDOUT);
	assert_int_equal(rig.client.sent_bad, 1);
	rig_until(&rig, &rig.server.closed, 1);
	rig_stop(&rig);
}

/* Large frames both ways at once: grants wait for nothing. */
static void test_sealed_large_both_ways(void **state)
{
	(void)state;
	start(NULL);
	rig_connect(&rig, &rig.client);
	for (unsigned i = 1; i <= 8; i++) {
		rig_invoke_wait(&rig, rig.client.conn, i, 5u << 20);
		rig_invoke_wait(&rig, rig.server.conn, i, 5u << 20);
	}
	rig_until(&rig, &rig.client.frames, 8);
	rig_until(&rig, &rig.server.frames, 8);
	assert_int_equal(rig.client.order_errors + rig.server.order_errors, 0);
	rig_stop(&rig);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sealed_every_bit_counts),
		cmocka_unit_test(test_sealed_left_out_repeated_moved),
		cmocka_unit_test(test_sealed_type_is_authentic),
		cmocka_unit_test(test_sealed_connections_differ),
		cmocka_unit_test(test_sealed_pieces),
		cmocka_unit_test(test_sealed_hello_is_authentic),
		cmocka_unit_test(test_sealed_cut_off),
		cmocka_unit_test(test_sealed_hides),
		cmocka_unit_test(test_sealed_many_records),
		cmocka_unit_test(test_sealed_waits_for_memory),
		cmocka_unit_test(test_sealed_stalls),
		cmocka_unit_test(test_sealed_large_both_ways),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
