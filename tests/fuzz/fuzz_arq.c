/* SPDX-License-Identifier: Apache-2.0
 *
 * The reliable protocol against a peer that proves who it is and is hostile: the input is what it says,
 * packet by packet, while we send, tick and take. And an honest pair between which the input
 * loses, doubles, delays and swaps packets: nothing but order and whole frames comes out.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/arq_state.h"
#include "transport/memory.h"

#define SEGMENT 448u
#define ROOM (PRAAS_ARQ_BODY_MIN(SEGMENT) + 32)
#define BYTES_MAX 3000u

static struct praas_heap *heap;
static uint64_t now_ns;

static void require(bool ok)
{
	if (!ok)
		abort();
}

static struct praas_arq *new_arq(void)
{
	struct praas_arq_config config = { .memory = praas_heap_memory(heap),
					   .segment_bytes = SEGMENT };
	struct praas_arq *a;

	require(praas_arq_new(&config, now_ns, &a) == 0);
	praas_arq_limit(a, BYTES_MAX);
	return a;
}

static void push(struct praas_arq *a, uint64_t id, uint64_t bytes)
{
	const struct praas_memory *memory = praas_heap_memory(heap);
	struct praas_buf *buf;

	require(memory->alloc(memory->user, bytes, &buf) == 0);
	buf->head = (struct praas_frame){ .kind = PRAAS_FRAME_SEND,
					  .sequence = id,
					  .id = id,
					  .key_bytes = (uint8_t)(id % 2 * 70),
					  .bytes = bytes };
	memset(buf->key, 'k', 70);
	memset(buf->data, (int)id, bytes);
	praas_arq_push(a, buf, now_ns);
}

static void release(struct praas_buf *(*next)(struct praas_arq *), struct praas_arq *a)
{
	struct praas_buf *buf;

	while ((buf = next(a)) != NULL) {
		require(buf->head.bytes <= BYTES_MAX);
		praas_buf_release(buf);
	}
}

static void check(void)
{
	struct praas_heap_stats stats;

	praas_heap_stats(heap, &stats);
	require(stats.buffers == 0);
}

/* A body of an acknowledgement and pieces as the input wants them, a good header where one belongs. */
static uint32_t make(const struct praas_arq *a, const uint8_t *data, size_t bytes,
		     uint8_t *body)
{
	struct praas_arq_ack ack = { .largest = a->next_packet - 1 - (data[1] & 7),
				     .next = a->una + (data[2] & 3),
				     .limit = a->una + PRAAS_ARQ_WINDOW - (data[3] & 1),
				     .flags = data[4] & 3,
				     .words = data[5] & 3,
				     .word = { data[6], ~UINT64_C(0) } };
	struct praas_arq_piece p = { .segment = a->base + (data[7] & 15),
				     .total = data[8] * 8u,
				     .index = data[9] & 3,
				     .head = data[10] % 8 };
	struct praas_frame f = { .kind = PRAAS_FRAME_SEND,
				 .sequence = a->in_sequence + 1 + (data[11] & 1),
				 .key_bytes = p.head == 2 ? 9 : 0,
				 .bytes = p.total };
	uint64_t wire = p.head * 64u + p.total, at = (uint64_t)p.index * SEGMENT;
	uint32_t n;

	if (ack.largest >= UINT64_MAX - 8)
		ack.largest = 0;
	ack.pieces = data[0] & 1;
	n = praas_arq_ack_encode(&ack, body);
	if (ack.pieces == 0)
		return n;
	p.bytes = (uint16_t)(at < wire ? praas_min_u64(wire - at, SEGMENT) : bytes % 3);
	praas_arq_piece_encode(&p, body + n);
	memset(body + n + PRAAS_ARQ_PIECE_BYTES, 'k', p.bytes);
	if (p.bytes >= PRAAS_FRAME_BYTES)
		praas_frame_encode(&f, body + n + PRAAS_ARQ_PIECE_BYTES);
	return n + PRAAS_ARQ_PIECE_BYTES + p.bytes;
}

/* One step of the hostile peer. False: the connection is to be ended. */
static bool hostile_step(struct praas_arq *a, const uint8_t *data, size_t bytes)
{
	uint8_t body[ROOM + 64], out[ROOM];
	struct praas_arq_packet in = { a->seen_max + 1 + data[12] % 3, body, 0 };
	uint64_t number;
	int rc;

	if (data[0] & 2) { /* raw */
		in.data = data;
		in.bytes = (uint32_t)praas_min_u64(bytes, ROOM);
	} else {
		in.bytes = make(a, data, bytes, body);
	}
	if (praas_arq_is_fresh(a, in.number)) {
		rc = praas_arq_input(a, &in, now_ns);
		require(rc == 0 || rc == -EPROTO || rc == -EMSGSIZE);
		if (rc != 0)
			return false;
	}
	now_ns += (uint64_t)data[13] << (data[14] & 31);
	rc = praas_arq_tick(a, now_ns);
	if (rc != 0)
		return false;
	while (praas_arq_emit(a, now_ns, out, sizeof(out), &number) > 0)
		require(praas_arq_window_bytes(a) <= PRAAS_ARQ_WINDOW * SEGMENT);
	require(praas_arq_due_ns(a) > 0 || a->resetting);
	if (data[15] & 2)
		praas_arq_ping(a);
	if (data[15] & 4)
		(void)praas_arq_hurry(a);
	if ((data[15] & 0x78) == 0x78)
		praas_arq_reset(a);
	if (data[15] & 1)
		release(praas_arq_take, a);
	release(praas_arq_done, a);
	return true;
}

static void try_hostile(const uint8_t *data, size_t bytes)
{
	struct praas_arq *a = new_arq();
	uint64_t id = 0;

	while (bytes >= 16) {
		if (data[0] & 4 && !a->finishing)
			push(a, ++id, data[1] * 11u);
		if (data[0] & 8)
			praas_arq_finish(a, now_ns);
		if (!hostile_step(a, data, bytes))
			break;
		if (praas_arq_ended(a) != -EAGAIN)
			break;
		data += 16;
		bytes -= 16;
	}
	require(praas_arq_stats(a)->losses <= praas_arq_stats(a)->packets_out);
	require(praas_arq_unanswered(a) == 0 || praas_arq_stats(a)->probes > 0);
	require((praas_arq_waiting(a) == NULL) == (praas_arq_queued(a) == 0));
	(void)praas_arq_rtt_ns(a);
	(void)praas_arq_finished(a);
	(void)praas_arq_reset_done(a);
	if (bytes % 2)
		release(praas_arq_drop, a);
	praas_arq_free(a);
	check();
}

/* Packets between an honest pair, each with a byte of the input that says what becomes of it. */
static void carry(struct praas_arq *from, struct praas_arq *to, const uint8_t **data,
		  size_t *bytes)
{
	static uint8_t held[ROOM];
	static struct praas_arq_packet held_packet;
	static struct praas_arq *held_to;
	uint8_t body[ROOM];
	struct praas_arq_packet p = { .data = body };

	while ((p.bytes = praas_arq_emit(from, now_ns, body, ROOM, &p.number)) > 0) {
		uint8_t fate = *bytes > 0 ? **data : 0xff;

		*data += *bytes > 0;
		*bytes -= *bytes > 0;
		if (fate % 8 == 0)
			continue;
		if (fate % 8 == 1) { /* later, in place of the one held so far */
			memcpy(held, body, p.bytes);
			held_packet =
				(struct praas_arq_packet){ p.number, held, p.bytes };
			held_to = to;
			continue;
		}
		require(praas_arq_input(to, &p, now_ns) == 0);
		if (fate % 8 == 2)
			require(praas_arq_input(to, &p, now_ns) == 0);
		if (fate % 8 == 3 && held_to == to) {
			require(praas_arq_input(to, &held_packet, now_ns) == 0);
			held_to = NULL;
		}
	}
	if (held_to == to)
		held_to = NULL;
}

static void try_pair(const uint8_t *data, size_t bytes)
{
	struct praas_arq *a = new_arq(), *b = new_arq();
	uint64_t want = 0, calm_ns = 0;
	unsigned frames = 8;
	int rc = 0;

	for (unsigned i = 1; i <= frames; i++)
		push(a, i, (i * 379) % BYTES_MAX);
	praas_arq_finish(a, now_ns);
	while (rc == 0 && praas_arq_ended(b) != 0) {
		struct praas_buf *buf;

		if (bytes == 0 && calm_ns == 0)
			calm_ns = now_ns;
		require(calm_ns == 0 || now_ns < calm_ns + UINT64_C(5000000000));

		carry(a, b, &data, &bytes);
		carry(b, a, &data, &bytes);
		while ((buf = praas_arq_take(b)) != NULL) {
			require(buf->head.id == ++want);
			for (uint64_t i = 0; i < buf->head.bytes; i++)
				require(buf->data[i] == (uint8_t)want);
			praas_buf_release(buf);
		}
		/* To the next thing that has a date. */
		now_ns = praas_max_u64(
			now_ns + 1000,
			praas_min_u64(praas_arq_due_ns(a), praas_arq_due_ns(b)));
		rc = praas_arq_tick(a, now_ns);
		if (rc == 0)
			rc = praas_arq_tick(b, now_ns);
	}
	/* Lost so often that it was given up; else all of it came. */
	require(rc == -ETIMEDOUT || (rc == 0 && want == frames));
	praas_arq_free(a);
	praas_arq_free(b);
	check();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	if (heap == NULL)
		require(praas_heap_new(NULL, &heap) == 0);
	now_ns = UINT64_C(1000000000);
	if (bytes > 4096)
		return 0;
	try_hostile(data, bytes);
	if (bytes < 400)
		try_pair(data, bytes);
	return 0;
}
