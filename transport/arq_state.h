/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the reliable protocol share (docs/arq.md):
 *
 *   arq.c        a connection's life, its timers
 *   arq_wire.c   the body of a packet
 *   arq_send.c   from frames to packets
 *   arq_loss.c   acknowledgements, round trips, losses, the congestion window
 *   arq_recv.c   from packets to frames
 *
 * Segments are numbered from 0, packets from 1. A segment keeps its number when it is sent again,
 * a packet's number is never used again, so an acknowledgement always says which sending it means.
 */
#ifndef PRAAS_TRANSPORT_ARQ_STATE_H
#define PRAAS_TRANSPORT_ARQ_STATE_H

#include "internal/base.h"
#include "transport/arq.h"
#include "transport/frame.h"

#define PRAAS_ARQ_SENT 2048u /* packets remembered; a power of two */
#define PRAAS_ARQ_SEEN_WORDS 16u
#define PRAAS_ARQ_SEEN ((PRAAS_ARQ_SEEN_WORDS - 1) * 64u) /* packets told apart */
#define PRAAS_ARQ_RESETS 4u                               /* times a reset is told */
#define PRAAS_ARQ_FOR_ACK_NS UINT64_C(200000) /* an acknowledgement may wait */
#define PRAAS_ARQ_GRAIN_NS UINT64_C(300000)   /* least slack of a time-out */
#define PRAAS_ARQ_PROBE_MAX_NS UINT64_C(1000000000)
#define PRAAS_ARQ_FIRST_RTT_NS UINT64_C(10000000) /* until there is a sample */

#define PRAAS_ARQ_FLAG_ASKS 0x01u  /* wants an acknowledgement */
#define PRAAS_ARQ_FLAG_RESET 0x02u /* the connection is over */

/* A packet's first bytes. */
struct praas_arq_ack {
	uint64_t largest;  /* highest packet number received, 0: none */
	uint64_t next;     /* first segment not received */
	uint64_t limit;    /* segments below it may be sent */
	uint32_t delay_us; /* from the largest's arrival until this was sent */
	uint8_t flags;
	uint8_t words;
	uint16_t pieces;
	/* Bit i of word w: packet largest - 64 * (w + 1) + i was received. */
	uint64_t word[PRAAS_ARQ_WORDS_MAX];
};

/* A segment in it. */
struct praas_arq_piece {
	uint64_t segment;
	uint64_t total; /* payload bytes of its frame */
	uint32_t index; /* in its frame */
	uint16_t bytes;
	uint8_t head; /* header and meta block of its frame / 64; 0: the last of all, empty */
	const uint8_t *data;
};

enum praas_arq_out_state {
	PRAAS_ARQ_OUT_NONE = 0,
	PRAAS_ARQ_OUT_FLIGHT, /* sent, not known to have arrived */
	PRAAS_ARQ_OUT_LOST,   /* to be sent again */
	PRAAS_ARQ_OUT_HAD     /* the peer has it, but not all before it */
};

/* A segment on its way. */
struct praas_arq_out {
	struct praas_buf *buf; /* NULL: the last of all */
	uint64_t packet;       /* that carried it last */
	uint32_t index;
	uint8_t state;
	bool last; /* of its frame */
};

enum praas_arq_sent_state {
	PRAAS_ARQ_SENT_NONE = 0, /* asks nothing, or was acknowledged */
	PRAAS_ARQ_SENT_FLIGHT,
	PRAAS_ARQ_SENT_LOST
};

/* A packet sent. */
struct praas_arq_sent {
	uint64_t sent_ns;
	uint64_t first; /* segments first … first + count - 1 */
	uint16_t count;
	uint16_t bytes;
	uint8_t state;
};

/* A frame being received. */
struct praas_arq_in {
	struct praas_buf *buf;
	uint64_t first, count; /* segments */
	uint64_t got;
	uint64_t total;
	uint8_t head;
};

struct praas_arq {
	struct praas_arq_config config;
	struct praas_arq_stats stats;
	uint64_t bytes_max;
	uint64_t heard_ns,
		asked_ns; /* last packet from the peer; last question for its own sake */

	/* Sending. una ≤ next_out ≤ limit ≤ una + WINDOW. */
	struct praas_buf *tx_first, *tx_last; /* pushed, not acknowledged */
	struct praas_buf *tx_cut;             /* of these, being cut into segments */
	uint32_t tx_index;                    /* its next segment */
	struct praas_buf *done_first, *done_last;
	uint64_t tx_bytes;
	uint64_t una, next_out, limit;
	uint64_t lost, lost_low; /* segments to be sent again; none lies below */
	uint64_t fin; /* number of the last of all, UINT64_MAX: not yet sent */
	bool finishing, ping, resetting;
	uint8_t resets_left;
	uint64_t reset_ns;    /* the next telling of it */
	uint64_t progress_ns; /* una moved, or something began to wait */
	struct praas_arq_out out[PRAAS_ARQ_WINDOW];

	/* Packets sent. Those below packet_low are settled. */
	uint64_t next_packet, packet_low, acked_packet;
	uint64_t spurious_low; /* none given up below it is still looked for */
	uint64_t flight, window, threshold; /* bytes; slow start ends at threshold */
	uint64_t window_before, threshold_before; /* the last congestion */
	uint64_t recovery_packet; /* a loss above it is a new congestion */
	uint64_t cut_packet;      /* window_before counts until this is settled */
	uint32_t reorder;         /* packets by which one may be overtaken */
	uint64_t rtt_ns, rtt_var_ns, rtt_min_ns;
	uint64_t loss_ns;    /* when the next packet will count as lost; UINT64_MAX */
	uint64_t asking_ns;  /* when the last packet in flight left */
	uint32_t probes;     /* in a row, without an answer */
	uint32_t probes_due; /* packets that may leave whatever the window says */
	struct praas_arq_sent sent[PRAAS_ARQ_SENT];

	/* Receiving. */
	uint64_t seen_max; /* highest packet number */
	uint64_t seen_ns;  /* when it came */
	uint64_t seen[PRAAS_ARQ_SEEN_WORDS];
	uint64_t ack_due_ns;
	uint32_t asks; /* packets that want an acknowledgement and have none */
	bool ack_now;
	uint64_t base, in_limit,
		in_limit_told; /* first segment not received; what we allow */
	uint64_t in_fin;       /* number of the peer's last of all */
	uint64_t in_bytes;     /* of frames behind the one at base */
	uint64_t in_partial;   /* frames begun */
	uint64_t in_ns;        /* last segment that was new */
	uint64_t in_sequence;
	struct praas_arq_in at_base; /* the frame that base is in; buf NULL: none */
	struct praas_buf *ready_first, *ready_last;
	uint64_t ready; /* segments of these */
	int end_rc;     /* -EAGAIN; the peer has finished: 0; -ECONNRESET */
	uint64_t in_bits[PRAAS_ARQ_WINDOW / 64];
	struct praas_arq_in in[PRAAS_ARQ_WINDOW]; /* by first segment */
};

static inline uint64_t praas_arq_wire_bytes(const struct praas_buf *buf)
{
	return PRAAS_FRAME_BYTES + praas_frame_meta_bytes(&buf->head) + buf->head.bytes;
}

/* Segments of a frame. */
static inline uint64_t praas_arq_count(const struct praas_arq *a, uint64_t wire_bytes)
{
	return (wire_bytes + a->config.segment_bytes - 1) / a->config.segment_bytes;
}

static inline struct praas_arq_out *praas_arq_out(struct praas_arq *a, uint64_t segment)
{
	return &a->out[segment % PRAAS_ARQ_WINDOW];
}

static inline struct praas_arq_sent *praas_arq_sent(struct praas_arq *a,
						    uint64_t number)
{
	return &a->sent[number % PRAAS_ARQ_SENT];
}

static inline void praas_arq_append(struct praas_buf **first, struct praas_buf **last,
				    struct praas_buf *buf)
{
	buf->next = NULL;
	if (*last)
		(*last)->next = buf;
	else
		*first = buf;
	*last = buf;
}

static inline struct praas_buf *praas_arq_remove(struct praas_buf **first,
						 struct praas_buf **last)
{
	struct praas_buf *buf = *first;

	if (buf == NULL)
		return NULL;
	*first = buf->next;
	if (*first == NULL)
		*last = NULL;
	buf->next = NULL;
	return buf;
}

/* ---- arq_wire.c ---- */
uint32_t praas_arq_ack_encode(const struct praas_arq_ack *ack, uint8_t *to);
/* Returns its bytes; 0: the body is none. */
uint32_t praas_arq_ack_decode(const uint8_t *data, uint32_t bytes,
			      struct praas_arq_ack *ret_ack);
void praas_arq_piece_encode(const struct praas_arq_piece *piece, uint8_t *to);
/* Returns bytes used, data included; 0: there is none. */
uint32_t praas_arq_piece_decode(const uint8_t *data, uint32_t bytes,
				struct praas_arq_piece *ret_piece);

/* ---- arq_loss.c ---- */
int praas_arq_on_ack(struct praas_arq *a, const struct praas_arq_ack *ack,
		     uint64_t now_ns);
/* Packets that were overtaken by enough others, or for long enough, are given up. */
void praas_arq_find_losses(struct praas_arq *a, uint64_t now_ns);
/* The time-out for an answer. */
uint64_t praas_arq_probe_ns(const struct praas_arq *a);
/* No answer for too long: asks for one, and sends the oldest again. */
void praas_arq_on_silence(struct praas_arq *a, uint64_t now_ns);
/* When on_silence() is due; UINT64_MAX. */
uint64_t praas_arq_silence_ns(const struct praas_arq *a);
/* The record of a packet is about to be used again. */
void praas_arq_give_up(struct praas_arq *a, uint64_t number);

/* ---- arq_send.c ---- */
/* There are segments to send, and the peer would take them. */
bool praas_arq_has_segments(const struct praas_arq *a);
/* There are, but the peer's limit forbids it. */
bool praas_arq_is_blocked(const struct praas_arq *a);

/* ---- arq_recv.c ---- */
void praas_arq_raise_limit(struct praas_arq *a);
/* 64 numbers below `below`: bit i says that below - 64 + i was received. */
uint64_t praas_arq_seen_word(const struct praas_arq *a, uint64_t below);

#endif
