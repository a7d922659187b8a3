/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/arq_state.h"

#include <errno.h>

/*
 * Loss and congestion, as RFC 9002 has them (which has RFC 6298's estimate of the round trip and
 * NewReno's window, RFC 6582), with three differences: a segment has its own number, so the peer's
 * `next` settles segments even when the packets that brought them are forgotten; the number of
 * packets that may overtake one grows when it has proved too small, and the window that was
 * halved for it is given back; the least time-out is half a millisecond, as suits a machine room.
 *
 * Why NewReno: round trips here are tens of microseconds, so the window that it keeps under 1 %
 * loss still fills a link, it is fair to TCP on the same links, and it has no model of the path that
 * could be wrong when the peer is a thread that was not scheduled for a while.
 */

#define REORDER_FIRST 3u
#define REORDER_MAX 64u
#define PERSISTENT 6u /* unanswered probes until the window starts anew; some 30 ms */
#define OVERTAKEN_NS UINT64_C(16000) /* least time that a packet may come later */

static uint64_t window_min(const struct praas_arq *a)
{
	return 2 * (uint64_t)a->config.segment_bytes;
}

static void sample(struct praas_arq *a, uint64_t rtt_ns, uint64_t delay_ns)
{
	uint64_t off;

	if (a->rtt_min_ns == 0 || rtt_ns < a->rtt_min_ns)
		a->rtt_min_ns = rtt_ns;
	delay_ns = praas_min_u64(delay_ns, PRAAS_ARQ_GRAIN_NS);
	if (rtt_ns - a->rtt_min_ns >= delay_ns)
		rtt_ns -= delay_ns;
	if (a->rtt_ns == 0) {
		a->rtt_ns = praas_max_u64(rtt_ns, 1);
		a->rtt_var_ns = rtt_ns / 2;
		return;
	}
	off = a->rtt_ns > rtt_ns ? a->rtt_ns - rtt_ns : rtt_ns - a->rtt_ns;
	a->rtt_var_ns = (3 * a->rtt_var_ns + off) / 4;
	a->rtt_ns = praas_max_u64((7 * a->rtt_ns + rtt_ns) / 8, 1);
}

uint64_t praas_arq_probe_ns(const struct praas_arq *a)
{
	uint64_t ns = a->rtt_ns == 0 ? 2 * PRAAS_ARQ_FIRST_RTT_NS
				     : a->rtt_ns +
					       praas_max_u64(4 * a->rtt_var_ns,
							     PRAAS_ARQ_GRAIN_NS) +
					       PRAAS_ARQ_FOR_ACK_NS;

	ns <<= a->probes < 20 ? a->probes : 20;
	return praas_min_u64(ns, PRAAS_ARQ_PROBE_MAX_NS);
}

uint64_t praas_arq_silence_ns(const struct praas_arq *a)
{
	if (a->resetting || (a->flight == 0 && !praas_arq_is_blocked(a)))
		return UINT64_MAX;
	return a->asking_ns + praas_arq_probe_ns(a);
}

static void grow(struct praas_arq *a, const struct praas_arq_sent *s, uint64_t number)
{
	uint64_t max = (uint64_t)PRAAS_ARQ_WINDOW * a->config.segment_bytes;

	/* Not while it was not used, nor for what left before the last congestion. */
	if (number < a->recovery_packet || a->flight + s->bytes < a->window / 2)
		return;
	if (a->window < a->threshold)
		a->window += s->bytes;
	else
		a->window += praas_max_u64(
			(uint64_t)a->config.segment_bytes * s->bytes / a->window, 1);
	a->window = praas_min_u64(a->window, max);
}

static void on_congestion(struct praas_arq *a, uint64_t number)
{
	if (number < a->recovery_packet)
		return; /* of the same event */
	a->stats.congestions++;
	a->window_before = a->window;
	a->threshold_before = a->threshold;
	a->cut_packet = number;
	a->recovery_packet = a->next_packet;
	a->threshold = praas_max_u64(a->window / 2, window_min(a));
	a->window = a->threshold;
}

/* A packet given up has arrived after all: its segments were sent for nothing. */
static void on_spurious(struct praas_arq *a, uint64_t number)
{
	uint64_t behind = a->acked_packet - number;

	a->stats.spurious++;
	if (behind >= a->reorder)
		a->reorder = (uint32_t)praas_min_u64(behind + 1, REORDER_MAX);
	if (a->cut_packet == number && a->window < a->window_before) {
		a->window = a->window_before;
		a->threshold = a->threshold_before;
		a->cut_packet = 0;
	}
}

/* The peer has packet `number`. */
static void on_had(struct praas_arq *a, uint64_t number)
{
	struct praas_arq_sent *s = praas_arq_sent(a, number);

	if (s->state == PRAAS_ARQ_SENT_NONE)
		return;
	if (s->state == PRAAS_ARQ_SENT_LOST) {
		on_spurious(a, number);
	} else {
		a->flight -= s->bytes;
		grow(a, s, number);
	}
	s->state = PRAAS_ARQ_SENT_NONE;
	for (uint64_t i = s->first; i < s->first + s->count; i++) {
		struct praas_arq_out *out = praas_arq_out(a, i);

		if (i < a->una || out->state == PRAAS_ARQ_OUT_NONE)
			continue;
		if (out->state == PRAAS_ARQ_OUT_LOST)
			a->lost--;
		out->state = PRAAS_ARQ_OUT_HAD;
	}
}

/* Everything below next has arrived. */
static void settle(struct praas_arq *a, uint64_t next, uint64_t now_ns)
{
	if (next > a->una) {
		a->progress_ns = now_ns;
		a->probes = 0;
	}
	for (; a->una < next; a->una++) {
		struct praas_arq_out *out = praas_arq_out(a, a->una);

		if (out->state == PRAAS_ARQ_OUT_LOST)
			a->lost--;
		out->state = PRAAS_ARQ_OUT_NONE;
		if (!out->last)
			continue;
		a->tx_bytes -= praas_arq_wire_bytes(a->tx_first);
		praas_arq_append(&a->done_first, &a->done_last,
				 praas_arq_remove(&a->tx_first, &a->tx_last));
	}
}

/* The bitmap: packets below the largest. */
static void on_bitmap(struct praas_arq *a, const struct praas_arq_ack *ack)
{
	uint64_t low = praas_min_u64(a->packet_low, a->spurious_low);

	if (a->next_packet > PRAAS_ARQ_SENT) /* older ones have no record */
		low = praas_max_u64(low, a->next_packet - PRAAS_ARQ_SENT);
	for (unsigned w = 0; w < ack->words; w++) {
		uint64_t above = (uint64_t)64 * w, bits = ack->word[w];

		if (ack->largest <= above || ack->largest - above <= low)
			return;
		while (bits != 0) {
			unsigned i = 63u - (unsigned)__builtin_clzll(bits);
			uint64_t back = above + 64 - i;

			bits ^= UINT64_C(1) << i;
			if (ack->largest <= back || ack->largest - back < low)
				break;
			on_had(a, ack->largest - back);
		}
	}
}

static bool give_up(struct praas_arq *a, uint64_t number)
{
	struct praas_arq_sent *s = praas_arq_sent(a, number);
	bool lost = false;

	if (s->state != PRAAS_ARQ_SENT_FLIGHT)
		return false;
	a->flight -= s->bytes;
	s->state = PRAAS_ARQ_SENT_LOST;
	for (uint64_t i = s->first; i < s->first + s->count; i++) {
		struct praas_arq_out *out = praas_arq_out(a, i);

		if (i < a->una || out->state == PRAAS_ARQ_OUT_HAD)
			continue;
		lost = true;
		if (out->state == PRAAS_ARQ_OUT_LOST || out->packet != number)
			continue; /* is sent again, or was */
		out->state = PRAAS_ARQ_OUT_LOST;
		a->lost++;
		a->lost_low = praas_min_u64(a->lost_low, i);
	}
	if (!lost) { /* all of it came by other packets, or it only asked */
		s->state = PRAAS_ARQ_SENT_NONE;
		return false;
	}
	a->stats.losses++;
	a->spurious_low = praas_min_u64(a->spurious_low, number);
	return true;
}

void praas_arq_give_up(struct praas_arq *a, uint64_t number)
{
	if (give_up(a, number))
		on_congestion(a, number);
	praas_arq_sent(a, number)->state = PRAAS_ARQ_SENT_NONE;
	a->packet_low = praas_max_u64(a->packet_low, number + 1);
	a->spurious_low = praas_max_u64(a->spurious_low, number + 1);
}

/* Packet n, sent before one that was acknowledged: true while it may still come. */
static bool may_come(struct praas_arq *a, uint64_t n, uint64_t now_ns)
{
	uint64_t wait = praas_max_u64(a->rtt_ns, OVERTAKEN_NS);
	uint64_t until_ns;

	wait += wait / 8 * (a->reorder - REORDER_FIRST + 1);
	until_ns = praas_arq_sent(a, n)->sent_ns + wait;
	if (a->acked_packet - n >= a->reorder || now_ns >= until_ns)
		return false;
	a->loss_ns = praas_min_u64(a->loss_ns, until_ns);
	return true;
}

void praas_arq_find_losses(struct praas_arq *a, uint64_t now_ns)
{
	bool settled = true;

	a->loss_ns = UINT64_MAX;
	for (uint64_t n = a->packet_low; n < a->acked_packet; n++) {
		if (praas_arq_sent(a, n)->state == PRAAS_ARQ_SENT_FLIGHT) {
			if (may_come(a, n, now_ns))
				settled = false;
			else if (give_up(a, n))
				on_congestion(a, n);
		}
		if (settled)
			a->packet_low = n + 1;
	}
	/* A packet that late is not looked for any more. */
	if (a->spurious_low < a->packet_low &&
	    a->packet_low - a->spurious_low > 64 * PRAAS_ARQ_WORDS_MAX)
		a->spurious_low = UINT64_MAX;
}

int praas_arq_on_ack(struct praas_arq *a, const struct praas_arq_ack *ack,
		     uint64_t now_ns)
{
	const struct praas_arq_sent *s = praas_arq_sent(a, ack->largest);
	bool recorded = ack->largest + PRAAS_ARQ_SENT >= a->next_packet;

	if (ack->largest >= a->next_packet || ack->next > a->next_out ||
	    ack->limit < ack->next || ack->limit - ack->next > PRAAS_ARQ_WINDOW)
		return -EPROTO;
	settle(a, ack->next, now_ns);
	a->limit = praas_max_u64(a->limit, ack->limit);
	if (ack->largest == 0)
		return 0;
	if (recorded && s->state == PRAAS_ARQ_SENT_FLIGHT) {
		if (ack->largest > a->acked_packet)
			sample(a, now_ns - s->sent_ns, (uint64_t)ack->delay_us * 1000);
		a->probes = 0;
	}
	a->acked_packet = praas_max_u64(a->acked_packet, ack->largest);
	if (recorded)
		on_had(a, ack->largest);
	on_bitmap(a, ack);
	praas_arq_find_losses(a, now_ns);
	return 0;
}

void praas_arq_on_silence(struct praas_arq *a, uint64_t now_ns)
{
	uint64_t oldest = UINT64_MAX;

	a->stats.probes++;
	a->probes++;
	a->probes_due = 2;
	a->asking_ns = now_ns;
	a->ping = true;
	for (uint64_t i = a->una; i < a->next_out; i++) {
		struct praas_arq_out *out = praas_arq_out(a, i);

		/* The peer may have thrown away what it had out of order (RFC 2018). */
		if (out->state == PRAAS_ARQ_OUT_FLIGHT ||
		    (out->state == PRAAS_ARQ_OUT_HAD && a->probes >= PERSISTENT)) {
			out->state = PRAAS_ARQ_OUT_LOST;
			a->lost++;
			a->lost_low = praas_min_u64(a->lost_low, i);
			oldest = praas_min_u64(oldest, i);
		}
		if (oldest != UINT64_MAX && a->probes < PERSISTENT)
			break; /* one is enough to get an answer */
	}
	if (a->probes >= PERSISTENT) {
		a->window = window_min(a);
		a->recovery_packet = a->next_packet;
	}
}
