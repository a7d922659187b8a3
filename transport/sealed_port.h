/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the sealed transport share.
 *
 *   HELLO ──CHALLENGE: keys──▶ LIVE ──close(after_flush)──▶ FLUSHING ──END given to inner──▶ DEAD
 *     └───────────────────────┴──── error, peer's end, close() ──────────────────────────────┘
 * DEAD: the connection below is closed or gone; freed at the end of a poll.
 *
 * A frame that fits is one record, sealed behind its header and opened where it was received. A
 * larger one is announced (LARGE), granted by who has the memory for it, and comes in pieces
 * which are opened straight into that memory. A grant is not waited for by anything else.
 */
#ifndef PRAAS_TRANSPORT_SEALED_PORT_H
#define PRAAS_TRANSPORT_SEALED_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "internal/base.h"
#include "transport/handshake.h"
#include "transport/port.h"
#include "transport/seal.h"
#include "transport/sealed.h"

/* With the words of who carries it a record stays below a size class of a pool. */
#define PRAAS_SEALED_RECORD_MAX ((1u << 20) - 1024u)
#define PRAAS_SEALED_PIECE_BYTES (PRAAS_SEALED_RECORD_MAX - PRAAS_SEAL_TAG_BYTES)
#define PRAAS_SEALED_PIECES 4u       /* given to the transport below and not sent */
#define PRAAS_SEALED_EPOCH_SHIFT 18u /* records of a key; each may be a MiB */

/* On the wire. */
enum praas_sealed_type {
	PRAAS_SEALED_FRAME = 1, /* header, meta block, payload */
	PRAAS_SEALED_LARGE = 2, /* header and meta block; the payload comes in pieces */
	PRAAS_SEALED_PIECE = 3, /* of it */
	PRAAS_SEALED_GRANT = 4, /* empty: there is memory for what was announced */
	PRAAS_SEALED_END = 5    /* empty: the last record of this direction */
};

enum praas_sealed_state {
	PRAAS_SEALED_HELLO = 1, /* no keys: the handshake's frames as they are */
	PRAAS_SEALED_LIVE,
	PRAAS_SEALED_FLUSHING, /* closed by the layer above; what is queued goes out */
	PRAAS_SEALED_DEAD
};

struct praas_sealed_port;

struct praas_sealed_conn {
	struct praas_conn base;
	struct praas_conn *inner; /* NULL: gone */
	uint8_t state;            /* enum praas_sealed_state */
	bool accepted, quiet;
	bool end_in;                   /* the peer has said its last record */
	bool end_out;                  /* we have */
	int end_rc;                    /* not 0: to be ended with it */
	struct praas_handshake secret; /* until there are keys; then wiped */
	bool has_key;                  /* secret.session_key is there */
	uint64_t hello_aux;
	struct praas_seal *seal_out, *seal_in;
	uint64_t number_out, number_in; /* of the next record */
	uint64_t sequence;              /* of the last frame handed up */

	/* Sending. */
	struct praas_send_queue unsent,
		left; /* as they were given; done, sent() not told */
	struct praas_buf
		*stuck; /* a record for which the transport below had no room */
	bool granted, announced; /* of the first of unsent, a large one */
	uint64_t large_out;      /* its bytes that are sealed */
	uint32_t pieces_out;     /* records with pieces that the transport below has */
	bool grant_due;

	/* Receiving. */
	struct praas_buf *held;  /* an announcement that waits for memory, opened */
	struct praas_buf *large; /* what is being filled */
	uint64_t large_in;

	uint64_t progress, progress_then, since_ns; /* for stalls */
	struct praas_sealed_conn *prev, *next;      /* of the port */
};

struct praas_sealed_port {
	struct praas_port base;
	const struct praas_transport_ops *below;
	struct praas_port *inner;
	struct praas_port_config config;
	struct praas_sealed_conn *conns; /* all but the dead */
	struct praas_sealed_conn *dead;  /* by next */
	uint64_t check_ns, turns, copies;
	bool armed; /* since the last poll */
	struct praas_sealed_stats stats;
};

static inline struct praas_sealed_port *praas_sealed_port_of(
	const struct praas_sealed_conn *conn)
{
	return (struct praas_sealed_port *)(void *)conn->base.port;
}

static inline struct praas_sealed_conn *praas_sealed_conn_of(struct praas_conn *conn)
{
	return (struct praas_sealed_conn *)(void *)conn;
}

/* ---- sealed_conn.c ---- */
extern const struct praas_conn_events praas_sealed_inner_events;  /* of a connection */
extern const struct praas_conn_events praas_sealed_accept_events; /* of a port */
/* A connection without one below. 0; -ENOMEM. */
int praas_sealed_conn_new(struct praas_sealed_port *port,
			  struct praas_sealed_conn **ret_conn);
/* Of what was made and never shown to anybody. */
void praas_sealed_conn_drop(struct praas_sealed_conn *conn);
/* Ended with the next poll. */
void praas_sealed_fail(struct praas_sealed_conn *conn, int rc);
/* Ends it now, with closed(rc). */
void praas_sealed_end(struct praas_sealed_conn *conn, int rc);
/* All of the handshake's frames that are sent, before they are. 0; errno. */
int praas_sealed_look_out(struct praas_sealed_conn *conn, const struct praas_buf *buf);
/* One turn of an active connection; returns units of work. */
unsigned praas_sealed_run(struct praas_sealed_conn *conn);
void praas_sealed_check_stalls(struct praas_sealed_port *port, uint64_t now_ns);

/* ---- sealed_send.c ---- */
/* Seals and gives on what can be. */
void praas_sealed_flush(struct praas_sealed_conn *conn);
/* The transport below is done with a record. */
void praas_sealed_on_sent(struct praas_sealed_conn *conn, const struct praas_buf *buf);
/* sent(rc) for all that waits, unless quiet. */
void praas_sealed_tell_all(struct praas_sealed_conn *conn, int rc);
/* Gives all of that back. */
void praas_sealed_send_drop(struct praas_sealed_conn *conn);

/* ---- sealed_recv.c ---- */
/* A record, which is given. The connection may be dead after it. */
void praas_sealed_on_record(struct praas_sealed_conn *conn, struct praas_buf *buf);
/* Tries again to find memory for what was announced. */
void praas_sealed_try_held(struct praas_sealed_conn *conn);

#endif
