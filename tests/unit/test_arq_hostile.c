/* SPDX-License-Identifier: Apache-2.0
 * The reliable protocol against a peer that proves who it is and is wrong all the same. */
#include "arq_pair.h"

static const struct praas_arq_ack good_ack = { .limit = PRAAS_ARQ_WINDOW, .pieces = 1 };
static const struct praas_arq_piece good_piece = { .total = 100,
						   .bytes = 164,
						   .head = 1 };

static int wrong(const struct praas_arq_ack *ack, const struct praas_arq_piece *piece,
		 uint32_t cut)
{
	uint8_t body[PRAAS_ARQ_ACK_BYTES + PRAAS_ARQ_PIECE_BYTES + 4096] = { 0 };
	struct praas_frame f = { .kind = PRAAS_FRAME_SEND,
				 .sequence = 1,
				 .bytes = 100 };
	uint32_t at = praas_arq_ack_encode(ack, body);
	struct praas_arq_packet in = { b->seen_max + 1, body, 0 };

	praas_arq_piece_encode(piece, body + at);
	praas_frame_encode(&f, body + at + PRAAS_ARQ_PIECE_BYTES);
	in.bytes = at + PRAAS_ARQ_PIECE_BYTES + piece->bytes - cut;
	return praas_arq_input(b, &in, now_ns);
}

#define WRONG_ACK(want, ...)                                                           \
	do {                                                                           \
		struct praas_arq_ack ack = good_ack;                                   \
		__VA_ARGS__;                                                           \
		assert_int_equal(wrong(&ack, &good_piece, 0), want);                   \
	} while (0)
#define WRONG_PIECE(want, ...)                                                         \
	do {                                                                           \
		struct praas_arq_piece piece = good_piece;                             \
		__VA_ARGS__;                                                           \
		assert_int_equal(wrong(&good_ack, &piece, 0), want);                   \
	} while (0)

/* Each thing that cannot be is refused, and nothing has changed by it. */
static void test_arq_impossible_packets(void **state)
{
	(void)state;
	praas_arq_limit(b, 1000);
	WRONG_ACK(-EPROTO, ack.largest = 1);        /* nothing was sent */
	WRONG_ACK(-EPROTO, ack.next = 1);           /* the same */
	WRONG_ACK(-EPROTO, ack.limit = 1025);       /* more than the window */
	WRONG_ACK(-EPROTO, ack.pieces = 0);         /* something is left */
	WRONG_ACK(-EPROTO, ack.flags = 4);          /* unknown */
	WRONG_PIECE(-EPROTO, piece.segment = 1024); /* beyond the limit */
	WRONG_PIECE(-EPROTO, piece.index = 1);      /* begins before the first */
	WRONG_PIECE(-EPROTO, piece.bytes = 0);
	WRONG_PIECE(-EPROTO, piece.bytes = 163);
	WRONG_PIECE(-EPROTO, piece.head = 7); /* longer than a meta block can be */
	WRONG_PIECE(-EPROTO, piece.head = 2;
		    piece.bytes = 228); /* the header says otherwise */
	WRONG_PIECE(-EPROTO, piece.total = 101; piece.bytes = 165);
	WRONG_PIECE(-EMSGSIZE, piece.total = 1001);
	assert_int_equal(wrong(&good_ack, &good_piece, 1), -EPROTO);
	assert_int_equal(b->base, 0);
	WRONG_ACK(-EPROTO, ack.pieces = 2); /* there is one */
}

/* Two stories about one frame. */
static void test_arq_contradictions(void **state)
{
	struct praas_arq_piece p = { .segment = 1,
				     .index = 1,
				     .total = 600,
				     .bytes = 664 - SEGMENT,
				     .head = 1 };

	(void)state;
	assert_int_equal(wrong(&good_ack, &p, 0), 0);
	p.segment = 2; /* index 1 of a frame that begins at 1: inside the first */
	assert_int_equal(wrong(&good_ack, &p, 0), 0);
	WRONG_PIECE(-EPROTO,
		    piece.segment = 0); /* of another size than its second half said */
	p = good_piece;
	p.head = 0;
	p.total = 0;
	p.bytes = 0;
	p.segment = 9;
	assert_int_equal(wrong(&good_ack, &p, 0), 0); /* the last of all is 9 */
	p.segment = 8;
	assert_int_equal(wrong(&good_ack, &p, 0), -EPROTO);
	WRONG_PIECE(-EPROTO, piece.segment = 10);
}

/* Frames begun all over the window cannot take more memory than two windows. */
static void test_arq_memory_is_bounded(void **state)
{
	struct praas_heap_stats stats;
	int rc = 0;

	(void)state;
	for (uint64_t first = 1; rc == 0 && first < PRAAS_ARQ_WINDOW / 2; first++) {
		struct praas_arq_piece p = { .segment = first + 1,
					     .index = 1,
					     .total = 500 * SEGMENT,
					     .bytes = SEGMENT,
					     .head = 1 };

		rc = wrong(&good_ack, &p, 0);
	}
	assert_int_equal(rc, -EPROTO);
	praas_heap_stats(heap, &stats);
	assert_in_range(stats.bytes_used, 0, 5 * PRAAS_ARQ_WINDOW * SEGMENT);
}

/* A configuration that cannot be. */
static void test_arq_bad_configs(void **state)
{
	static const uint32_t bad[] = { 0, 384, 449, PRAAS_ARQ_SEGMENT_MAX + 64 };
	struct praas_arq_config config = { .memory = praas_heap_memory(heap) };
	struct praas_arq *c;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		config.segment_bytes = bad[i];
		assert_int_equal(praas_arq_new(&config, 0, &c), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_arq_impossible_packets),
		TEST(test_arq_contradictions),
		TEST(test_arq_memory_is_bounded),
		TEST(test_arq_bad_configs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
