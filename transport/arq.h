/* SPDX-License-Identifier: Apache-2.0
 *
 * Reliable frames over packets that may be lost, doubled, reordered or late (docs/arq.md): one
 * connection's two halves. Pure: no system call, no clock, no key; it is told the time, what came,
 * and asked what to send. All memory is taken in new(), but for the frames received, which go
 * into the port's memory: each payload is put where it will be read, piece by piece, in whatever
 * order the pieces come.
 *
 * One thread. Frames come out in the order in which they were pushed at the other end, each once.
 */
#ifndef PRAAS_TRANSPORT_ARQ_H
#define PRAAS_TRANSPORT_ARQ_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/transport.h"

#define PRAAS_ARQ_WINDOW 1024u     /* segments that may be on their way; by format */
#define PRAAS_ARQ_ACK_BYTES 32u    /* in front of every packet's body */
#define PRAAS_ARQ_PIECE_BYTES 24u  /* in front of every segment in it */
#define PRAAS_ARQ_SEGMENT_MIN 448u /* a header and the longest meta block fit */
#define PRAAS_ARQ_SEGMENT_MAX                                                          \
	16320u                 /* of a packet that an IPv4 or IPv6 datagram holds */
#define PRAAS_ARQ_WORDS_MAX 4u /* of the bitmap of packets received */
/* Room that emit() is given: one whole segment; acknowledgements and bitmap. */
#define PRAAS_ARQ_BODY_MIN(segment_bytes)                                              \
	((segment_bytes) + PRAAS_ARQ_PIECE_BYTES + PRAAS_ARQ_ACK_BYTES)

struct praas_arq;

struct praas_arq_config {
	const struct praas_memory *memory; /* for frames received; kept */
	uint32_t segment_bytes;            /* multiple of 64, the same at both ends */
	uint64_t stall_ns; /* without progress while something waits; 0: 10 s */
	uint64_t
		keepalive_ns; /* silence until the peer is asked; it is given up after four
				 * times that. 0: 5 s */
};

/* Counters; all only grow. */
struct praas_arq_stats {
	uint64_t packets_out, packets_in;
	uint64_t segments_out;   /* sent, first time or again */
	uint64_t segments_again; /* of these, sent again */
	uint64_t segments_twice; /* received though we had them */
	uint64_t losses;         /* packets given up as lost */
	uint64_t spurious;       /* of these, acknowledged later */
	uint64_t probes;         /* time-outs that asked the peer */
	uint64_t congestions;    /* times the window was halved */
	uint64_t no_memory;      /* packets dropped for want of a buffer */
};

/* A packet's body, authentic. */
struct praas_arq_packet {
	uint64_t number; /* from 1, never used twice by the sender */
	const uint8_t *data;
	uint32_t bytes;
};

/* 0; -EINVAL segment_bytes; -ENOMEM. */
int praas_arq_new(const struct praas_arq_config *config, uint64_t now_ns,
		  struct praas_arq **ret_arq);
/* Buffers are released that were not taken back before. NULL is allowed. */
void praas_arq_free(struct praas_arq *a);
/* The largest payload accepted from now on. */
void praas_arq_limit(struct praas_arq *a, uint64_t bytes_max);

/* buf is given, until done() or drop() hands it back; its header and payload stay as they are. */
void praas_arq_push(struct praas_arq *a, struct praas_buf *buf, uint64_t now_ns);
/* Bytes of frames pushed and not yet acknowledged, headers included. */
uint64_t praas_arq_queued(const struct praas_arq *a);
/* The next frame that the peer has wholly; NULL. */
struct praas_buf *praas_arq_done(struct praas_arq *a);
/* The oldest frame pushed that the peer is not known to have; the others follow by next. */
const struct praas_buf *praas_arq_waiting(const struct praas_arq *a);
/* Takes a frame back that it has not, oldest first; NULL when there is none. What of them is
 * on its way is not sent again, so after it only reset() or answering the peer's end makes sense. */
struct praas_buf *praas_arq_drop(struct praas_arq *a);
/* The next frame received; NULL. deadline_ns and source as on the wire. */
struct praas_buf *praas_arq_take(struct praas_arq *a);

/* Nothing more will be pushed: the peer learns it after all that was. */
void praas_arq_finish(struct praas_arq *a, uint64_t now_ns);
/* finish() was called, and the peer has everything. */
bool praas_arq_finished(const struct praas_arq *a);
/* Ends it at once; emit() tells the peer a few times. */
void praas_arq_reset(struct praas_arq *a);
/* The telling is over: the peer has answered, or was told often enough. */
bool praas_arq_reset_done(const struct praas_arq *a);
/* The peer has finished and everything was taken: 0. -ECONNRESET: it has reset. -EAGAIN: it goes on. */
int praas_arq_ended(const struct praas_arq *a);

/* Makes the next packet carry a question, so that an answer comes. */
void praas_arq_ping(struct praas_arq *a);
/* Time-outs since the peer last answered. */
unsigned praas_arq_unanswered(const struct praas_arq *a);
/* What may wait a little need not: acknowledgements go now. True: there are some. */
bool praas_arq_hurry(struct praas_arq *a);
/* False: a packet of this number has been received, or may have been. */
bool praas_arq_is_fresh(const struct praas_arq *a, uint64_t number);
/* Takes a packet in. 0; -ENOBUFS: there was no memory for it, it will come again; -EPROTO,
 * -EMSGSIZE: the connection is to be ended. */
int praas_arq_input(struct praas_arq *a, const struct praas_arq_packet *packet,
		    uint64_t now_ns);
/* The body of the next packet to send, written to `to`, which has room for at least
 * PRAAS_ARQ_BODY_MIN() bytes. Returns its bytes, 0: nothing to send now; *ret_number is its. */
uint32_t praas_arq_emit(struct praas_arq *a, uint64_t now_ns, uint8_t *to,
			uint32_t room, uint64_t *ret_number);
/* When tick() has something to do, or a packet is to be emitted, UINT64_MAX: never. */
uint64_t praas_arq_due_ns(const struct praas_arq *a);
/* 0; -ETIMEDOUT: the peer is gone, or does not take what we send, or stopped within a frame. */
int praas_arq_tick(struct praas_arq *a, uint64_t now_ns);

const struct praas_arq_stats *praas_arq_stats(const struct praas_arq *a);
/* Bytes that may be on their way, smoothed round trip; for those who look. */
uint64_t praas_arq_window_bytes(const struct praas_arq *a);
uint64_t praas_arq_rtt_ns(const struct praas_arq *a);

#endif
