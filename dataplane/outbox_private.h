/* SPDX-License-Identifier: Apache-2.0
 *
 * What outbox.c (messages and receivers) and outbox_conn.c (connections) share.
 */
#ifndef PRAAS_DATAPLANE_OUTBOX_PRIVATE_H
#define PRAAS_DATAPLANE_OUTBOX_PRIVATE_H

#include "dataplane/outbox.h"

#define PRAAS_OUTBOX_NONE 0u /* indices are + 1 */

/* A message. Connections are given its buf, whose memory is the value's. */
struct praas_outbox_message {
	struct praas_buf buf;
	struct praas_value value;
	struct praas_seq seq;
	struct praas_outbox *outbox;
	uint32_t next; /* of the free list, or of those imported for a receiver */
	bool lent;     /* a transport has buf */
	bool over;     /* the sender has let go of it */
};

/* A receiver. */
struct praas_peer {
	struct praas_outbox *outbox;
	uint64_t pid;
	struct praas_sender sender;
	struct praas_sender_slot *slots;
	struct praas_way *way; /* to its epoch; NULL: not known */
	struct praas_conn *conn;
	uint32_t conn_attempt; /* of the sender, that conn is for */
	uint32_t endpoint;     /* of way, that is tried */
	bool open;             /* conn is authenticated */
	bool stalled;          /* `next` did not fit into the connection */
	struct praas_sender_action next;
	uint64_t bytes;   /* of its messages */
	uint64_t used_ns; /* a message was sent or acknowledged last */
	uint32_t hash_next;
	uint32_t imported_first, imported_last;
	struct praas_seq last, durable; /* imported */
};

struct praas_outbox {
	struct praas_outbox_counts counts; /* first: see outbox.h */
	struct praas_outbox_config config;
	struct praas_outbox_message *messages;
	uint32_t messages_used, messages_free;
	struct praas_peer *peers;
	uint32_t peers_count;
	uint32_t *buckets;
	uint32_t epoch;
	bool begun, held, ended;
	bool kicked;      /* something happened: look at all */
	uint64_t due_ns;  /* 0: never */
	uint64_t *wanted; /* of who polls */
	uint32_t turns;
	struct praas_changes *changes; /* NULL: nobody wants them */
};

/* ---- process_changes.c; with changes only ---- */

/* Places were given out to that receiver, or are durable now; or it is gone. */
PRAAS_COLD void praas_outbox_changed_peer(struct praas_outbox *o,
					  const struct praas_peer *p);
PRAAS_COLD void praas_outbox_changed(struct praas_outbox *o, const struct praas_peer *p,
				     const struct praas_outbox_message *m, bool gone);
/* It was there under another place. */
PRAAS_COLD void praas_outbox_changed_place(struct praas_outbox *o,
					   const struct praas_peer *p,
					   const struct praas_outbox_message *m,
					   struct praas_seq was);

/* Look at all receivers soon. */
static inline void praas_outbox_kick(struct praas_outbox *o)
{
	o->kicked = true;
	*o->wanted = 1;
}

/* The sender's attempt has no connection any more, or gets none. */
void praas_peer_lost(struct praas_peer *p, uint32_t attempt);
/* What is known of the way is of no use. */
void praas_peer_forget_way(struct praas_peer *p);

/* ---- outbox_conn.c ---- */

/* Before there is one. */
extern const struct praas_outbox_host praas_outbox_no_host;

/* A connection for that attempt, or praas_peer_lost(). */
void praas_peer_connect(struct praas_peer *p, uint32_t attempt);
void praas_peer_close(struct praas_peer *p);
/* 0; -EAGAIN later. A connection that fails is told by its events. */
int praas_peer_send(struct praas_peer *p, const struct praas_sender_action *a,
		    struct praas_outbox_message *m);

#endif
