/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/arq_state.h"

#include <errno.h>
#include <stdlib.h>

/*
 * A connection's life and its clocks. Everything that waits has a date: an acknowledgement, a packet
 * that may be lost, an answer, the peer's sign of life, progress at all. due_ns() is the earliest.
 */

#define STALL_DEFAULT_NS UINT64_C(10000000000)
#define KEEPALIVE_DEFAULT_NS UINT64_C(5000000000)
#define KEEPALIVE_COUNT 4u /* times the silence until the peer is given up */
#define WINDOW_FIRST 10u   /* segments (RFC 6928) */
#define REORDER_FIRST 3u   /* packets (RFC 9002) */

int praas_arq_new(const struct praas_arq_config *config, uint64_t now_ns,
		  struct praas_arq **ret_arq)
{
	struct praas_arq *a;

	if (config->segment_bytes < PRAAS_ARQ_SEGMENT_MIN ||
	    config->segment_bytes > PRAAS_ARQ_SEGMENT_MAX ||
	    config->segment_bytes % 64 != 0 || config->memory == NULL)
		return -EINVAL;
	a = calloc(1, sizeof(*a));
	if (a == NULL)
		return -ENOMEM;
	a->config = *config;
	if (a->config.stall_ns == 0)
		a->config.stall_ns = STALL_DEFAULT_NS;
	if (a->config.keepalive_ns == 0)
		a->config.keepalive_ns = KEEPALIVE_DEFAULT_NS;
	a->heard_ns = now_ns;
	a->asked_ns = now_ns;
	a->progress_ns = now_ns;
	a->asking_ns = now_ns;
	a->limit = PRAAS_ARQ_WINDOW;
	a->in_limit = PRAAS_ARQ_WINDOW;
	a->in_limit_told = PRAAS_ARQ_WINDOW;
	a->lost_low = UINT64_MAX;
	a->fin = UINT64_MAX;
	a->in_fin = UINT64_MAX;
	a->next_packet = 1;
	a->packet_low = 1;
	a->spurious_low = UINT64_MAX;
	a->reorder = REORDER_FIRST;
	a->window = (uint64_t)WINDOW_FIRST * config->segment_bytes;
	a->threshold = UINT64_MAX;
	a->loss_ns = UINT64_MAX;
	a->ack_due_ns = UINT64_MAX;
	a->end_rc = -EAGAIN;
	*ret_arq = a;
	return 0;
}

static void release_all(struct praas_buf **first, struct praas_buf **last)
{
	struct praas_buf *buf;

	while ((buf = praas_arq_remove(first, last)) != NULL)
		praas_buf_release(buf);
}

void praas_arq_free(struct praas_arq *a)
{
	if (a == NULL)
		return;
	release_all(&a->tx_first, &a->tx_last);
	release_all(&a->done_first, &a->done_last);
	release_all(&a->ready_first, &a->ready_last);
	praas_buf_release(a->at_base.buf);
	for (unsigned i = 0; i < PRAAS_ARQ_WINDOW; i++)
		praas_buf_release(a->in[i].buf);
	free(a);
}

void praas_arq_limit(struct praas_arq *a, uint64_t bytes_max)
{
	a->bytes_max = praas_min_u64(bytes_max, PRAAS_FRAME_PAYLOAD_MAX);
}

/* Something of ours that the peer does not have? */
static bool is_waiting(const struct praas_arq *a)
{
	return a->tx_first != NULL || (a->finishing && !praas_arq_finished(a));
}

void praas_arq_push(struct praas_arq *a, struct praas_buf *buf, uint64_t now_ns)
{
	if (!is_waiting(a))
		a->progress_ns = now_ns;
	praas_arq_append(&a->tx_first, &a->tx_last, buf);
	a->tx_bytes += praas_arq_wire_bytes(buf);
	if (a->tx_cut == NULL) {
		a->tx_cut = buf;
		a->tx_index = 0;
	}
}

uint64_t praas_arq_queued(const struct praas_arq *a)
{
	return a->tx_bytes;
}

struct praas_buf *praas_arq_done(struct praas_arq *a)
{
	return praas_arq_remove(&a->done_first, &a->done_last);
}

const struct praas_buf *praas_arq_waiting(const struct praas_arq *a)
{
	return a->tx_first;
}

struct praas_buf *praas_arq_drop(struct praas_arq *a)
{
	struct praas_buf *buf = praas_arq_remove(&a->tx_first, &a->tx_last);

	a->tx_cut = NULL;
	a->tx_bytes = 0;
	/* Its segments that are on their way name it: they are neither looked after nor sent again. */
	a->una = a->next_out;
	a->lost = 0;
	a->lost_low = UINT64_MAX;
	return buf;
}

struct praas_buf *praas_arq_take(struct praas_arq *a)
{
	struct praas_buf *buf = praas_arq_remove(&a->ready_first, &a->ready_last);

	if (buf != NULL) {
		a->ready -= praas_arq_count(a, praas_arq_wire_bytes(buf));
		praas_arq_raise_limit(a);
	}
	return buf;
}

void praas_arq_finish(struct praas_arq *a, uint64_t now_ns)
{
	if (!is_waiting(a))
		a->progress_ns = now_ns;
	a->finishing = true;
}

bool praas_arq_finished(const struct praas_arq *a)
{
	return a->una > a->fin && a->fin != UINT64_MAX;
}

void praas_arq_reset(struct praas_arq *a)
{
	if (a->resetting)
		return;
	a->resetting = true;
	a->resets_left = PRAAS_ARQ_RESETS;
	a->reset_ns = 0;
}

bool praas_arq_reset_done(const struct praas_arq *a)
{
	return a->resetting && a->resets_left == 0;
}

int praas_arq_ended(const struct praas_arq *a)
{
	return a->end_rc == 0 && a->ready_first != NULL ? -EAGAIN : a->end_rc;
}

void praas_arq_ping(struct praas_arq *a)
{
	a->ping = true;
}

unsigned praas_arq_unanswered(const struct praas_arq *a)
{
	return a->probes;
}

bool praas_arq_hurry(struct praas_arq *a)
{
	if (a->ack_due_ns != UINT64_MAX)
		a->ack_now = true;
	return a->ack_now;
}

uint64_t praas_arq_due_ns(const struct praas_arq *a)
{
	uint64_t due_ns = praas_min_u64(a->ack_due_ns, a->loss_ns);

	if (a->resetting)
		return a->resets_left > 0 ? a->reset_ns : UINT64_MAX;
	if (a->ack_now || a->ping ||
	    (praas_arq_has_segments(a) &&
	     (a->probes_due > 0 || a->flight == 0 ||
	      a->flight + a->config.segment_bytes <= a->window)))
		return 0;
	due_ns = praas_min_u64(due_ns, praas_arq_silence_ns(a));
	due_ns = praas_min_u64(due_ns, praas_max_u64(a->heard_ns, a->asked_ns) +
					       a->config.keepalive_ns);
	if (is_waiting(a))
		due_ns = praas_min_u64(due_ns, a->progress_ns + a->config.stall_ns);
	if (a->in_partial > 0)
		due_ns = praas_min_u64(due_ns, a->in_ns + a->config.stall_ns);
	return due_ns;
}

static bool is_late(uint64_t since_ns, uint64_t now_ns, uint64_t allowed_ns)
{
	return now_ns > since_ns && now_ns - since_ns >= allowed_ns;
}

int praas_arq_tick(struct praas_arq *a, uint64_t now_ns)
{
	uint64_t keepalive_ns = a->config.keepalive_ns;

	if (a->resetting)
		return 0;
	if (a->ack_due_ns <= now_ns) {
		a->ack_due_ns = UINT64_MAX;
		a->ack_now = true;
	}
	if (a->loss_ns <= now_ns)
		praas_arq_find_losses(a, now_ns);
	if (praas_arq_silence_ns(a) <= now_ns)
		praas_arq_on_silence(a, now_ns);
	if (is_late(praas_max_u64(a->heard_ns, a->asked_ns), now_ns, keepalive_ns)) {
		a->ping = true;
		a->asked_ns = now_ns;
	}
	if (is_late(a->heard_ns, now_ns, KEEPALIVE_COUNT * keepalive_ns))
		return -ETIMEDOUT;
	if (is_waiting(a) && is_late(a->progress_ns, now_ns, a->config.stall_ns))
		return -ETIMEDOUT;
	if (a->in_partial > 0 && is_late(a->in_ns, now_ns, a->config.stall_ns))
		return -ETIMEDOUT;
	return 0;
}

const struct praas_arq_stats *praas_arq_stats(const struct praas_arq *a)
{
	return &a->stats;
}

uint64_t praas_arq_window_bytes(const struct praas_arq *a)
{
	return a->window;
}

uint64_t praas_arq_rtt_ns(const struct praas_arq *a)
{
	return a->rtt_ns;
}
