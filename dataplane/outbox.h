/* SPDX-License-Identifier: Apache-2.0
 *
 * What a process sends to other processes and they have not acknowledged yet (docs/protocols.md): one
 * sender (dataplane/sender.h) a receiver, the messages themselves, and the connections they go by. What
 * only the control service knows, the way to a receiver, and its backup queue are asked for through the
 * host. Data thread only; memory is taken at new(), and once for each receiver.
 *
 * A message is the outbox's from praas_outbox_send() on until its receiver, or the backup queue, has it:
 * it is in the snapshot of its sender, so it is lost only with the sender's epoch.
 */
#ifndef PRAAS_DATAPLANE_OUTBOX_H
#define PRAAS_DATAPLANE_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/sender.h"
#include "dataplane/value.h"
#include "transport/ticket.h"
#include "transport/transport.h"

#define PRAAS_OUTBOX_WINDOW 256u        /* messages to one receiver */
#define PRAAS_OUTBOX_MESSAGES_MAX 4096u /* to all of them */
#define PRAAS_OUTBOX_PEERS_MAX 4096u    /* receivers */
#define PRAAS_OUTBOX_APPEND_MAX 64u     /* messages of one question */
#define PRAAS_OUTBOX_APPEND_BYTES                                                      \
	1048576u /* payloads of one question: a larger message waits until its
					    * receiver serves */
#define PRAAS_WAY_ENDPOINTS_MAX 8u

struct praas_outbox;
struct praas_welcome;

/* A message in a question; all of it is borrowed. */
struct praas_outbox_item {
	struct praas_seq seq;
	const char *key;
	const uint8_t *data;
	const uint8_t *trace; /* a block as in frames; NULL: none */
	uint64_t bytes;
	uint8_t key_bytes;
};

/* "These to that receiver's backup queue, or the way to it". count 0: only the way; it is to be woken if
 * need be. The answer is praas_outbox_way() with that attempt. */
struct praas_outbox_question {
	uint64_t receiver;
	uint32_t attempt;
	uint32_t count;
	struct praas_outbox_item items[PRAAS_OUTBOX_APPEND_MAX];
};

enum praas_way_kind {
	PRAAS_WAY_QUEUED = 1, /* all up to seq are in the queue */
	PRAAS_WAY_MOVED, /* it serves as epoch, at these endpoints, for who has the ticket */
	PRAAS_WAY_BUSY, /* not now */
	PRAAS_WAY_GONE  /* there is no such process */
};

struct praas_way {
	enum praas_way_kind kind;
	uint32_t attempt;
	uint64_t receiver;
	struct praas_seq seq;
	uint32_t epoch;
	uint32_t
		lost_epoch; /* the last that ended without a snapshot of its end; 0: none */
	uint32_t endpoints_count;
	char endpoints[PRAAS_WAY_ENDPOINTS_MAX][PRAAS_ADDR_MAX]; /* best first */
	struct praas_ticket_secret secret;
};

struct praas_outbox_host {
	/* 0; an error: as if it was answered BUSY. */
	int (*ask)(void *user, const struct praas_outbox_question *question);
	/* A connection as praas_session_connect() makes it: its opened() means that both sides are proved. An
	 * error, of those and -EPROTONOSUPPORT: the next endpoint is tried. welcome: as there; may be NULL. */
	int (*connect)(void *user, const char *address,
		       const struct praas_ticket_secret *secret,
		       const struct praas_conn_events *events,
		       void (*welcome)(void *user, const struct praas_welcome *welcome),
		       void *events_user, struct praas_conn **ret_conn);
	/* NULL, or a connection that was asked for is open: before anything is sent over it. An error: it is closed. */
	int (*opened)(void *user, struct praas_conn *conn);
	/* A message will not be delivered: -ENOENT its receiver is gone. */
	void (*dropped)(void *user, uint64_t receiver, int rc);
	void *user;
};

struct praas_outbox_config {
	struct praas_outbox_host host;
	uint64_t bytes_max; /* of all messages together */
};

/* *wanted is set whenever praas_outbox_poll() has something to do, or will have; cleared by who polls. 0; -ENOMEM. */
int praas_outbox_new(uint64_t *wanted, struct praas_outbox **ret_o);
/* Ends all connections: before their ports end. Nothing is sent any more. */
void praas_outbox_disconnect(struct praas_outbox *o);
/* NULL is allowed. Disconnected, and the ports have given back all that they were given. */
void praas_outbox_free(struct praas_outbox *o);
/* Before the first message, and before import. epoch: of this process, not 0. */
void praas_outbox_configure(struct praas_outbox *o,
			    const struct praas_outbox_config *config);
void praas_outbox_identify(struct praas_outbox *o, uint32_t epoch);

/**
 * A message. value is given on success; key and trace (NULL: none) are copied. 0; -EAGAIN no room now: 256 messages to
 * that receiver, 4,096 to all, or as many or as much to that one as is left for all others; -ENOSPC more bytes than
 * there can be room for; -ENOBUFS too many receivers; -ENOENT the receiver is gone.
 */
int praas_outbox_send(struct praas_outbox *o, uint64_t receiver, const char *key,
		      uint32_t key_bytes, struct praas_value *value,
		      const uint8_t *trace);

/* Whether a message of so many bytes would not be refused with -EAGAIN. */
bool praas_outbox_has_room(struct praas_outbox *o, uint64_t receiver, uint64_t bytes);

/* The answer to a question; copied. */
void praas_outbox_way(struct praas_outbox *o, const struct praas_way *way);

/* Sends, asks, connects. Returns whether there was anything to do. */
unsigned praas_outbox_poll(struct praas_outbox *o);
/* When there will be even if nothing happens, CLOCK_MONOTONIC; 0: never. */
uint64_t praas_outbox_due_ns(const struct praas_outbox *o);

/* Messages that nobody has acknowledged. */
static inline uint64_t praas_outbox_count(const struct praas_outbox *o);

/* As praas_sender_hold(), for all receivers. */
void praas_outbox_hold(struct praas_outbox *o, bool held);

/* ---- snapshots ---- */

/* What there is of one receiver: its numbers, then its messages in order. */
struct praas_outbox_visitor {
	int (*receiver)(void *user, uint64_t pid, struct praas_seq last,
			struct praas_seq durable);
	int (*message)(void *user, uint64_t pid, const struct praas_outbox_item *item);
	void *user;
};
/* Non-zero ends it and is returned. */
int praas_outbox_each(struct praas_outbox *o, const struct praas_outbox_visitor *v);
/* The reverse. 0; -ENOBUFS, -EINVAL. Nothing is sent before praas_outbox_begin(). */
int praas_outbox_import_receiver(struct praas_outbox *o, uint64_t pid,
				 struct praas_seq last, struct praas_seq durable);
int praas_outbox_import_message(struct praas_outbox *o, uint64_t pid,
				struct praas_seq seq, const char *key,
				uint32_t key_bytes, struct praas_value *value);
/* clean: of praas_sender_restore(). Once, before the gate opens; also without anything imported. */
void praas_outbox_begin(struct praas_outbox *o, bool clean);

/* Its head, for the inline function above. */
struct praas_outbox_counts {
	uint64_t messages, bytes;
};
static inline uint64_t praas_outbox_count(const struct praas_outbox *o)
{
	return ((const struct praas_outbox_counts *)(const void *)o)->messages;
}

#endif
