/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/arq_state.h"

#include <errno.h>
#include <string.h>

/*
 * From packets to frames. Every segment says which frame it is of, how large that is and where in it
 * the segment belongs, so its bytes go at once to where they will be read, in any order. The peer
 * is authentic but may be wrong or hostile: nothing it says is used before it fits what is known.
 *
 * Memory: the frame at `base` may have the size that the connection allows. Frames behind it must lie
 * within the window, so all of them together cannot take more than two windows; a frame larger
 * than a window may begin only when all before it has arrived.
 */

static bool bit_get(const struct praas_arq *a, uint64_t segment)
{
	uint64_t i = segment % PRAAS_ARQ_WINDOW;

	return a->in_bits[i / 64] >> (i % 64) & 1;
}

static void bit_flip(struct praas_arq *a, uint64_t segment)
{
	uint64_t i = segment % PRAAS_ARQ_WINDOW;

	a->in_bits[i / 64] ^= UINT64_C(1) << (i % 64);
}

bool praas_arq_is_fresh(const struct praas_arq *a, uint64_t number)
{
	if (number == 0)
		return false;
	if (number > a->seen_max)
		return true;
	if (a->seen_max - number >= PRAAS_ARQ_SEEN)
		return false;
	return !(a->seen[number / 64 % PRAAS_ARQ_SEEN_WORDS] >> (number % 64) & 1);
}

/* Remembers a number that is fresh. */
static void see(struct praas_arq *a, uint64_t number, uint64_t now_ns)
{
	uint64_t word = number / 64;

	if (number > a->seen_max) {
		uint64_t last = a->seen_max / 64;
		uint64_t gone = praas_min_u64(word - last, PRAAS_ARQ_SEEN_WORDS);

		for (uint64_t i = 1; i <= gone; i++)
			a->seen[(last + i) % PRAAS_ARQ_SEEN_WORDS] = 0;
		a->seen_max = number;
		a->seen_ns = now_ns;
	}
	a->seen[word % PRAAS_ARQ_SEEN_WORDS] |= UINT64_C(1) << (number % 64);
}

uint64_t praas_arq_seen_word(const struct praas_arq *a, uint64_t below)
{
	uint64_t low, word, shift, bits;

	if (below < 64) /* then so is the highest, nearly: all are remembered */
		return below == 0 ? 0 : a->seen[0] << (64 - below);
	low = below - 64;
	word = low / 64;
	shift = low % 64;
	bits = a->seen[word % PRAAS_ARQ_SEEN_WORDS] >> shift;
	if (shift != 0)
		bits |= a->seen[(word + 1) % PRAAS_ARQ_SEEN_WORDS] << (64 - shift);
	return bits;
}

void praas_arq_raise_limit(struct praas_arq *a)
{
	uint64_t limit =
		a->base + PRAAS_ARQ_WINDOW - praas_min_u64(a->ready, PRAAS_ARQ_WINDOW);

	a->in_limit = praas_max_u64(a->in_limit, limit);
	/* The peer may be waiting for it. */
	if (a->in_limit - a->in_limit_told >= PRAAS_ARQ_WINDOW / 4)
		a->ack_now = true;
}

/* Bytes of the wire form that a segment of this frame has. */
static uint64_t bytes_of(const struct praas_arq *a, const struct praas_arq_piece *p)
{
	uint64_t wire = (uint64_t)p->head * 64 + p->total;
	uint64_t at = (uint64_t)p->index * a->config.segment_bytes;

	return at >= wire ? 0 : praas_min_u64(wire - at, a->config.segment_bytes);
}

static int check(const struct praas_arq *a, const struct praas_arq_piece *p)
{
	if (p->segment >= a->in_limit || p->segment > a->in_fin)
		return -EPROTO;
	if (p->head == 0) /* the last of all */
		return p->total == 0 && p->index == 0 && p->bytes == 0 ? 0 : -EPROTO;
	if (p->head > (PRAAS_FRAME_BYTES + PRAAS_META_MAX) / 64)
		return -EPROTO;
	if (p->total > a->bytes_max)
		return -EMSGSIZE;
	if (p->index > p->segment || p->bytes == 0 || p->bytes != bytes_of(a, p))
		return -EPROTO;
	return 0;
}

/* A frame of which nothing was here: memory for it. */
static int begin(struct praas_arq *a, struct praas_arq_in *in,
		 const struct praas_arq_piece *p)
{
	uint64_t first = p->segment - p->index;
	uint64_t count = praas_arq_count(a, (uint64_t)p->head * 64 + p->total);
	uint64_t two_windows = UINT64_C(2) * PRAAS_ARQ_WINDOW * a->config.segment_bytes;
	struct praas_buf *buf;
	int rc;

	if (first < a->base) /* in the middle of another one */
		return -EPROTO;
	if (first != a->base &&
	    (count > PRAAS_ARQ_WINDOW || a->in_bytes + p->total > two_windows))
		return -EPROTO;
	rc = a->config.memory->alloc(a->config.memory->user, p->total, &buf);
	if (rc != 0)
		return rc;
	*in = (struct praas_arq_in){ .buf = buf,
				     .first = first,
				     .count = count,
				     .total = p->total,
				     .head = p->head };
	a->in_bytes += p->total;
	a->in_partial++;
	return 0;
}

/* The frame that p belongs to. */
static int find(struct praas_arq *a, const struct praas_arq_piece *p,
		struct praas_arq_in **ret_in)
{
	uint64_t first = p->segment - p->index;
	struct praas_arq_in *in = &a->in[first % PRAAS_ARQ_WINDOW];
	int rc = 0;

	if (a->at_base.buf != NULL && a->at_base.first == first)
		in = &a->at_base;
	else if (in->buf == NULL)
		rc = begin(a, in, p);
	if (rc != 0)
		return rc;
	if (in->first != first || in->total != p->total || in->head != p->head)
		return -EPROTO;
	*ret_in = in;
	return 0;
}

/* Header and meta block, which the first segment has whole. */
static int open_head(const struct praas_arq *a, const struct praas_arq_in *in,
		     const uint8_t *data)
{
	struct praas_buf *buf = in->buf;
	int rc = praas_frame_decode(data, a->bytes_max, &buf->head);

	if (rc != 0)
		return rc;
	if (buf->head.bytes != in->total ||
	    PRAAS_FRAME_BYTES + praas_frame_meta_bytes(&buf->head) !=
		    (uint64_t)in->head * 64)
		return -EPROTO;
	buf->key[0] = '\0';
	if (in->head == 1)
		return 0;
	return praas_frame_meta_decode(&buf->head, data + PRAAS_FRAME_BYTES, buf->trace,
				       buf->key);
}

static int place(struct praas_arq *a, struct praas_arq_in *in,
		 const struct praas_arq_piece *p)
{
	uint64_t head = (uint64_t)in->head * 64;
	uint64_t at = (uint64_t)p->index * a->config.segment_bytes;
	int rc = 0;

	if (p->index == 0) {
		rc = open_head(a, in, p->data);
		if (rc == 0 && p->bytes > head)
			memcpy(in->buf->data, p->data + head, p->bytes - head);
	} else {
		memcpy(in->buf->data + (at - head), p->data, p->bytes);
	}
	return rc;
}

/* The frame at base is whole. */
static int deliver(struct praas_arq *a)
{
	struct praas_arq_in *in = &a->at_base;
	struct praas_buf *buf = in->buf;

	if (in->got != in->count || buf->head.sequence != a->in_sequence + 1)
		return -EPROTO;
	a->in_sequence++;
	a->in_partial--;
	a->ready += in->count;
	in->buf = NULL;
	praas_arq_append(&a->ready_first, &a->ready_last, buf);
	return 0;
}

/* base moves over what has arrived. */
static int advance(struct praas_arq *a)
{
	while (a->base < a->in_limit && bit_get(a, a->base)) {
		struct praas_arq_in *in = &a->in[a->base % PRAAS_ARQ_WINDOW];
		int rc = 0;

		bit_flip(a, a->base);
		if (a->base == a->in_fin) {
			if (a->at_base.buf != NULL)
				return -EPROTO;
			a->end_rc = 0;
			a->base++;
			return 0;
		}
		if (a->at_base.buf == NULL) {
			if (in->buf == NULL || in->first != a->base)
				return -EPROTO;
			a->at_base = *in;
			in->buf = NULL;
			a->in_bytes -= a->at_base.total;
		}
		a->base++;
		if (a->base == a->at_base.first + a->at_base.count)
			rc = deliver(a);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int take_in(struct praas_arq *a, const struct praas_arq_piece *p,
		   uint64_t now_ns)
{
	struct praas_arq_in *in;
	int rc = check(a, p);

	if (rc != 0)
		return rc;
	if (p->segment < a->base || bit_get(a, p->segment)) {
		a->stats.segments_twice++;
		a->ack_now = true; /* the peer does not know */
		return 0;
	}
	if (p->head == 0) {
		if (a->in_fin != UINT64_MAX)
			return -EPROTO;
		a->in_fin = p->segment;
	} else {
		rc = find(a, p, &in);
		if (rc == 0)
			rc = place(a, in, p);
		if (rc != 0)
			return rc;
		in->got++;
	}
	bit_flip(a, p->segment);
	a->in_ns = now_ns;
	if (p->segment != a->base)
		return 0;
	rc = advance(a);
	praas_arq_raise_limit(a);
	return rc;
}

static int pieces(struct praas_arq *a, const struct praas_arq_ack *ack,
		  const uint8_t *data, uint32_t bytes, uint64_t now_ns)
{
	for (unsigned i = 0; i < ack->pieces; i++) {
		struct praas_arq_piece p;
		uint32_t used = praas_arq_piece_decode(data, bytes, &p);
		int rc = used == 0 ? -EPROTO : take_in(a, &p, now_ns);

		if (rc != 0)
			return rc;
		data += used;
		bytes -= used;
	}
	return bytes == 0 ? 0 : -EPROTO;
}

/* What the packet asks for. */
static void note_asking(struct praas_arq *a, const struct praas_arq_ack *ack,
			uint64_t number, uint64_t now_ns)
{
	bool in_order = number == a->seen_max + 1;

	see(a, number, now_ns);
	if (!(ack->flags & PRAAS_ARQ_FLAG_ASKS))
		return;
	a->asks++;
	if (!in_order || a->asks >= 2 || ack->pieces == 0 || a->end_rc == 0)
		a->ack_now = true;
	a->ack_due_ns = praas_min_u64(a->ack_due_ns, now_ns + PRAAS_ARQ_FOR_ACK_NS);
}

int praas_arq_input(struct praas_arq *a, const struct praas_arq_packet *packet,
		    uint64_t now_ns)
{
	struct praas_arq_ack ack;
	uint32_t used;
	int rc;

	if (!praas_arq_is_fresh(a, packet->number))
		return 0;
	used = praas_arq_ack_decode(packet->data, packet->bytes, &ack);
	if (used == 0)
		return -EPROTO;
	a->stats.packets_in++;
	a->heard_ns = now_ns;
	if (ack.flags & PRAAS_ARQ_FLAG_RESET) {
		if (!a->resetting) {
			a->resetting = true; /* one answer, so that it need not go on */
			a->resets_left = 1;
			a->end_rc = -ECONNRESET;
		} else {
			a->resets_left = 0;
		}
		return 0;
	}
	if (a->resetting)
		return 0;
	rc = praas_arq_on_ack(a, &ack, now_ns);
	if (rc != 0)
		return rc;
	rc = pieces(a, &ack, packet->data + used, packet->bytes - used, now_ns);
	if (rc == -ENOBUFS) {
		a->stats.no_memory++;
		return rc; /* as if it had not come */
	}
	if (rc != 0)
		return rc;
	note_asking(a, &ack, packet->number, now_ns);
	return 0;
}
