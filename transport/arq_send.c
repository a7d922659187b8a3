/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/arq_state.h"

#include <string.h>

/*
 * From frames to packets. Frames are cut when there is room to send, so a segment costs nothing while
 * its frame waits. One packet holds consecutive segments: the next new ones, of several small
 * frames, or lost ones, which go first. Every packet acknowledges what has come.
 */

/* What goes into one packet. */
struct run {
	uint64_t first;
	uint32_t count;
	uint32_t bytes; /* pieces' heads included */
	uint8_t flags;  /* of the packet */
};

static uint32_t piece_bytes(const struct praas_arq *a, const struct praas_arq_out *out)
{
	uint64_t at;

	if (out->buf == NULL)
		return 0;
	at = (uint64_t)out->index * a->config.segment_bytes;
	return (uint32_t)praas_min_u64(praas_arq_wire_bytes(out->buf) - at,
				       a->config.segment_bytes);
}

/* Is there a new segment to cut? The limit apart. */
static bool has_new(const struct praas_arq *a)
{
	if (a->tx_cut == NULL)
		return a->finishing && a->fin == UINT64_MAX;
	/* One larger than the window begins alone (arq_recv.c says why). */
	return a->tx_index > 0 || a->una == a->next_out ||
	       praas_arq_count(a, praas_arq_wire_bytes(a->tx_cut)) <= PRAAS_ARQ_WINDOW;
}

bool praas_arq_has_segments(const struct praas_arq *a)
{
	return a->lost > 0 || (a->next_out < a->limit && has_new(a));
}

bool praas_arq_is_blocked(const struct praas_arq *a)
{
	return a->next_out >= a->limit && has_new(a);
}

/* The next new segment; not yet on its way. */
static struct praas_arq_out next_new(const struct praas_arq *a)
{
	struct praas_arq_out out = { .buf = a->tx_cut, .index = a->tx_index };

	if (out.buf != NULL)
		out.last = (uint64_t)out.index + 1 ==
			   praas_arq_count(a, praas_arq_wire_bytes(out.buf));
	return out;
}

static void choose_new(struct praas_arq *a, uint32_t room, struct run *run)
{
	run->first = a->next_out;
	while (a->next_out < a->limit && has_new(a)) {
		struct praas_arq_out out = next_new(a);
		uint32_t bytes = PRAAS_ARQ_PIECE_BYTES + piece_bytes(a, &out);

		if (bytes > room - run->bytes)
			break;
		*praas_arq_out(a, a->next_out) = out;
		if (out.buf == NULL)
			a->fin = a->next_out;
		a->tx_index++;
		if (out.last) {
			a->tx_cut = a->tx_cut->next;
			a->tx_index = 0;
		}
		a->next_out++;
		run->count++;
		run->bytes += bytes;
	}
}

static void choose_lost(struct praas_arq *a, uint32_t room, struct run *run)
{
	uint64_t i = praas_max_u64(a->una, a->lost_low);

	while (i < a->next_out && praas_arq_out(a, i)->state != PRAAS_ARQ_OUT_LOST)
		i++;
	run->first = i;
	for (; i < a->next_out; i++) {
		const struct praas_arq_out *out = praas_arq_out(a, i);
		uint32_t bytes = PRAAS_ARQ_PIECE_BYTES + piece_bytes(a, out);

		if (out->state != PRAAS_ARQ_OUT_LOST || bytes > room - run->bytes)
			break;
		run->count++;
		run->bytes += bytes;
	}
	a->lost -= run->count;
	a->lost_low = a->lost > 0 ? i : UINT64_MAX;
	a->stats.segments_again += run->count;
}

static void put_data(const struct praas_arq *a, const struct praas_arq_out *out,
		     uint8_t *to, uint32_t bytes)
{
	const struct praas_buf *buf = out->buf;
	uint64_t head = PRAAS_FRAME_BYTES + praas_frame_meta_bytes(&buf->head);

	if (out->index > 0) {
		uint64_t at = (uint64_t)out->index * a->config.segment_bytes - head;

		memcpy(to, buf->data + at, bytes);
		return;
	}
	praas_frame_encode(&buf->head, to);
	if (head > PRAAS_FRAME_BYTES)
		(void)praas_frame_meta_encode(&buf->head, buf->trace, buf->key,
					      to + PRAAS_FRAME_BYTES);
	if (bytes > head)
		memcpy(to + head, buf->data, bytes - head);
}

static uint32_t put_run(struct praas_arq *a, const struct run *run, uint8_t *to)
{
	uint8_t *at = to;

	for (uint64_t i = run->first; i < run->first + run->count; i++) {
		struct praas_arq_out *out = praas_arq_out(a, i);
		uint32_t bytes = piece_bytes(a, out);
		struct praas_arq_piece p = { .segment = i,
					     .index = out->index,
					     .bytes = (uint16_t)bytes };

		if (out->buf != NULL) {
			p.total = out->buf->head.bytes;
			p.head = (uint8_t)(1 + praas_frame_meta_bytes(&out->buf->head) /
						       64);
		}
		praas_arq_piece_encode(&p, at);
		at += PRAAS_ARQ_PIECE_BYTES;
		if (out->buf != NULL)
			put_data(a, out, at, bytes);
		at += bytes;
		out->state = PRAAS_ARQ_OUT_FLIGHT;
		out->packet = a->next_packet;
	}
	return (uint32_t)(at - to);
}

/* What has come, and what may. `room` for the bitmap. */
static uint32_t put_ack(const struct praas_arq *a, const struct run *run,
			uint64_t now_ns, uint8_t *to, uint32_t room)
{
	struct praas_arq_ack ack = { .largest = a->seen_max,
				     .next = a->base,
				     .limit = a->in_limit,
				     .flags = run->flags,
				     .pieces = (uint16_t)run->count };
	uint64_t words = praas_min_u64(room / 8, PRAAS_ARQ_WORDS_MAX);

	if (a->seen_max > 0 && now_ns > a->seen_ns)
		ack.delay_us = (uint32_t)praas_min_u64((now_ns - a->seen_ns) / 1000,
						       UINT32_MAX);
	words = praas_min_u64(words, (a->seen_max + 62) / 64);
	for (; ack.words < words; ack.words++)
		ack.word[ack.words] =
			praas_arq_seen_word(a, a->seen_max - (uint64_t)64 * ack.words);
	return praas_arq_ack_encode(&ack, to);
}

static uint64_t number_next(struct praas_arq *a)
{
	uint64_t number = a->next_packet;

	if (number > PRAAS_ARQ_SENT)
		praas_arq_give_up(a, number - PRAAS_ARQ_SENT);
	a->stats.packets_out++;
	return number;
}

static void record(struct praas_arq *a, const struct run *run, uint32_t bytes,
		   bool asks, uint64_t now_ns)
{
	*praas_arq_sent(a, a->next_packet) = (struct praas_arq_sent){
		.sent_ns = now_ns,
		.first = run->first,
		.count = (uint16_t)run->count,
		.bytes = (uint16_t)bytes,
		.state = asks ? PRAAS_ARQ_SENT_FLIGHT : PRAAS_ARQ_SENT_NONE,
	};
	a->next_packet++;
	a->stats.segments_out += run->count;
	if (!asks)
		return;
	a->flight += bytes;
	a->asking_ns = now_ns;
	a->ping = false;
	if (a->probes_due > 0)
		a->probes_due--;
}

static uint32_t emit_reset(struct praas_arq *a, uint64_t now_ns, uint8_t *to,
			   uint64_t *ret_number)
{
	struct run none = { .flags = PRAAS_ARQ_FLAG_RESET };

	if (a->resets_left == 0 || now_ns < a->reset_ns)
		return 0;
	a->resets_left--;
	a->reset_ns =
		now_ns + (praas_arq_probe_ns(a) << (PRAAS_ARQ_RESETS - a->resets_left));
	*ret_number = number_next(a);
	a->next_packet++;
	return put_ack(a, &none, now_ns, to, 0);
}

uint32_t praas_arq_emit(struct praas_arq *a, uint64_t now_ns, uint8_t *to,
			uint32_t room, uint64_t *ret_number)
{
	struct run run = { 0 };
	uint32_t ack_bytes, bytes;
	bool asks;

	if (praas_unlikely(a->resetting))
		return emit_reset(a, now_ns, to, ret_number);
	*ret_number = a->next_packet;
	if (a->probes_due > 0 || a->flight == 0 ||
	    a->flight + a->config.segment_bytes <= a->window) {
		if (a->lost > 0)
			choose_lost(a, room - PRAAS_ARQ_ACK_BYTES, &run);
		else
			choose_new(a, room - PRAAS_ARQ_ACK_BYTES, &run);
	}
	asks = run.count > 0 || a->ping;
	if (!asks && !a->ack_now)
		return 0;
	(void)number_next(a);
	run.flags = asks ? PRAAS_ARQ_FLAG_ASKS : 0;
	ack_bytes =
		put_ack(a, &run, now_ns, to, room - PRAAS_ARQ_ACK_BYTES - run.bytes);
	bytes = ack_bytes + put_run(a, &run, to + ack_bytes);
	record(a, &run, bytes, asks, now_ns);
	a->asks = 0;
	a->ack_now = false;
	a->ack_due_ns = UINT64_MAX;
	a->in_limit_told = a->in_limit;
	return bytes;
}
