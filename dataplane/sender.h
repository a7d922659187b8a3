/* SPDX-License-Identifier: Apache-2.0
 *
 * The sending side of messages to one process (docs/protocols.md): an ordered window of what has not
 * been acknowledged, and the path it takes. Pure: no clock, no I/O, no memory of its own.
 *
 *            append: queued                        moved            connected
 *   WAITING ────────────────▶ ASKING (append) ──────────▶ CONNECTING ─────────▶ DIRECT
 *      ▲   retry after back-off  │ refused, silent           │ refused             │ refused, moved,
 *      └─────────────────────────┴───────────────────────────┴─────────────────────┘ closed, silent
 *
 * Whatever ends a path, all that is not acknowledged goes the next one in its order under the
 * same places. Each message names the predecessor without which it must not be accepted, so neither
 * a refusal in the middle of the window nor an open gate of an epoch that is over can
 * change the order.
 *
 * The driver calls praas_sender_poll() after each event until it says NONE, and at
 * praas_sender_due_ns(). A reply or event of another attempt than the current one is ignored.
 */
#ifndef PRAAS_DATAPLANE_SENDER_H
#define PRAAS_DATAPLANE_SENDER_H

#include <stdbool.h>
#include <stdint.h>

#include "internal/seq.h"

#define PRAAS_SENDER_WINDOW_MAX 4096u

/* How safe a message is when it is reported done. */
enum praas_sender_level {
	PRAAS_SENDER_MEMORY = 1, /* in the memory of an epoch of the receiver */
	PRAAS_SENDER_DURABLE     /* in its backup queue */
};

enum praas_sender_path {
	PRAAS_SENDER_WAITING = 0, /* nothing to send, or backing off */
	PRAAS_SENDER_ASKING,      /* an append is under way: it also tells the way */
	PRAAS_SENDER_CONNECTING,
	PRAAS_SENDER_DIRECT,
	PRAAS_SENDER_GONE /* the receiver was deleted; final */
};

struct praas_sender_slot {
	struct praas_seq seq;
	uint64_t token;       /* the caller's: where the message is */
	uint64_t deadline_ns; /* 0: none */
	bool tried;           /* it may have been accepted somewhere */
	bool over;            /* to be reported and removed */
	uint8_t level;        /* over, rc 0: enum praas_sender_level */
	int32_t rc;
};

struct praas_sender_config {
	struct praas_sender_slot *slots; /* the caller's, kept; window of them */
	uint32_t window;                 /* unacknowledged at once; a power of two */
	uint32_t batch;                  /* of them in one append */
	uint32_t epoch;                  /* of the sender; not 0 */
	uint64_t backoff_min_ns, backoff_max_ns;
	uint64_t silence_ns; /* without an answer for so long a path is given up */
};

struct praas_sender {
	struct praas_sender_config config;
	struct praas_seq last;    /* given out */
	struct praas_seq durable; /* last that is in the backup queue, or was */
	uint32_t head, count;     /* the window: praas_sender_at(0 … count) */
	uint32_t sent;            /* of them, on this attempt */
	uint32_t over;            /* of them, to be reported */
	enum praas_sender_path path;
	uint32_t attempt;    /* number of the path; names all that belongs to it */
	uint32_t epoch;      /* of the receiver, on CONNECTING and DIRECT */
	bool connect, close; /* to be told by poll() */
	bool held;
	uint32_t close_attempt;
	uint64_t retry_ns; /* WAITING: not before */
	uint64_t backoff_ns;
	uint64_t heard_ns;    /* last answer, or begin of waiting for one */
	uint64_t deadline_ns; /* none is earlier; 0: none at all */
};

enum praas_sender_action_kind {
	PRAAS_SENDER_NONE = 0,
	PRAAS_SENDER_DONE,    /* token, rc, level: the message is the caller's again */
	PRAAS_SENDER_APPEND,  /* attempt, count: so many from the first on, to the
			       * control service, in one piece */
	PRAAS_SENDER_CONNECT, /* attempt, epoch: to where the append was told */
	PRAAS_SENDER_SEND,    /* attempt, epoch, seq, after, token: on the connection */
	PRAAS_SENDER_CLOSE    /* attempt: the connection is not needed any more */
};

struct praas_sender_action {
	enum praas_sender_action_kind kind;
	int rc; /* DONE: 0; -ENOENT deleted; -ETIMEDOUT not known whether it was accepted;
		 * -ECANCELED deadline, and it was never sent */
	uint8_t level;
	uint32_t attempt, epoch, count;
	uint64_t token;
	struct praas_seq seq, after;
};

/* 0; -EINVAL. */
int praas_sender_init(struct praas_sender *s, const struct praas_sender_config *config);

/* Give a message; its place is *ret_seq. 0; -EAGAIN the window is full; -ENOENT deleted. */
int praas_sender_push(struct praas_sender *s, uint64_t token, uint64_t deadline_ns,
		      struct praas_seq *ret_seq);

/* The message at a place of the window, the oldest at 0. */
static inline struct praas_sender_slot *praas_sender_at(const struct praas_sender *s,
							uint32_t index)
{
	return &s->config.slots[(s->head + index) & (s->config.window - 1)];
}

/* What to do next. */
void praas_sender_poll(struct praas_sender *s, uint64_t now_ns,
		       struct praas_sender_action *ret_action);

/* Somebody says that the receiver serves as this epoch (a ticket, the list of members): tried
 * before the control service is asked. Only a hint: who serves no more refuses. */
void praas_sender_route(struct praas_sender *s, uint32_t epoch, uint64_t now_ns);

/* ---- answers to APPEND ---- */

/* All up to this place are in the backup queue. */
void praas_sender_queued(struct praas_sender *s, uint32_t attempt, struct praas_seq seq,
			 uint64_t now_ns);
/* The receiver serves as this epoch. Also from the receiver itself, on a connection, when it
 * knows where it has moved. */
void praas_sender_moved(struct praas_sender *s, uint32_t attempt, uint32_t epoch,
			uint64_t now_ns);
/* It is deleted: all ends. */
void praas_sender_gone(struct praas_sender *s, uint32_t attempt);

/* ---- the connection ---- */

void praas_sender_connected(struct praas_sender *s, uint32_t attempt, uint64_t now_ns);
/* All up to this place are accepted. */
void praas_sender_acked(struct praas_sender *s, uint32_t attempt, struct praas_seq seq,
			uint64_t now_ns);

/* An append or a message was refused (busy, full, gate closed, gap), the connection did not come
 * about or has ended: another path, after a back-off. */
void praas_sender_lost(struct praas_sender *s, uint32_t attempt, uint64_t now_ns);

/* When poll() has something to do though nothing happens; 0: never. */
uint64_t praas_sender_due_ns(const struct praas_sender *s);

/* Held, nothing is sent or reported: from the final cut of a swap-out on, for what is sent then
 * could make what the snapshot still has to send look like something old. Let go when the
 * swap-out fails. */
void praas_sender_hold(struct praas_sender *s, bool held);

/* ---- swap: last, durable and the unacknowledged messages are the outbox of a snapshot ---- */

/**
 * A fresh sender goes on from a snapshot. clean: nothing was sent after it (it was the last act
 * of its epoch), so numbering goes on, and each message counts once. Else what was sent and
 * acknowledged since is not known: all messages get new places, of config.epoch, and may count
 * twice. (Under its old place one could be taken for seen that the receiver has lost since, by a
 * crash of its own.) Then praas_sender_restore_message() for each, in order.
 */
void praas_sender_restore(struct praas_sender *s, struct praas_seq last,
			  struct praas_seq durable, bool clean);
/* 0; -EAGAIN the window is full; -EINVAL not in order. */
int praas_sender_restore_message(struct praas_sender *s, struct praas_seq seq,
				 uint64_t token);

#endif
