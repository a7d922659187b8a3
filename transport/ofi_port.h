/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the libfabric transport share: the port, its connections, and who does what.
 *
 *   ofi.c         the table: open, poll, arm, free
 *   ofi_fabric.c  libfabric's objects
 *   ofi_conn.c    a connection's life: connect, accept, refuse, close
 *   ofi_watch.c   its dates: stalls, silence, what is left of dead ones
 *   ofi_recv.c    from packets to frames
 *   ofi_fetch.c   reading what a peer offers
 *   ofi_send.c    the send queue, control packets
 *   ofi_slots.c   receive memory
 *   ofi_addr.c, ofi_packet.c   parsing, without libfabric
 *
 *   CONNECTING ──▶ OPEN ──close(after_flush)──▶ FLUSHING ──all sent, FIN──▶ LINGERING ──acked──▶ DEAD ──▶ FREE
 *        └───────────┴── error, peer's FIN or RESET, close() ─────────────────────────────────▶┘
 * DEAD tells the peer, and waits until the provider has let go of all memory.
 *
 * Everything that libfabric gives back is told by a pointer of ours, `struct praas_ofi_op`.
 */
#ifndef PRAAS_TRANSPORT_OFI_PORT_H
#define PRAAS_TRANSPORT_OFI_PORT_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "internal/base.h"
#include "transport/ofi.h"
#include "transport/ofi_fabric.h"
#include "transport/ofi_packet.h"
#include "transport/port.h"
#include "transport/regions.h"

struct praas_ofi_conn;
struct praas_ofi_port;

enum praas_ofi_state {
	PRAAS_OFI_FREE = 0,
	PRAAS_OFI_CONNECTING, /* no upcall yet */
	PRAAS_OFI_OPEN,
	PRAAS_OFI_FLUSHING,  /* closed by us; what is queued is still sent */
	PRAAS_OFI_LINGERING, /* FIN sent; until the peer has consumed it */
	PRAAS_OFI_DEAD
};

enum praas_ofi_op_kind {
	PRAAS_OFI_OP_RECV = 1, /* struct praas_ofi_slot */
	PRAAS_OFI_OP_SEND,     /* struct praas_ofi_send */
	PRAAS_OFI_OP_READ      /* struct praas_ofi_piece */
};

/* What libfabric knows an operation by. */
struct praas_ofi_op {
	struct fi_context2 context; /* the provider's, from post to completion */
	uint8_t kind;               /* enum praas_ofi_op_kind */
};

/* A receive buffer: posted, or holding a packet. */
struct praas_ofi_slot {
	struct praas_ofi_op op;
	struct praas_buf buf; /* of the frame that is handed up where it lies */
	struct praas_ofi_port *port;
	uint8_t *wire;
	uint64_t offset;                /* of wire, in the segment */
	void *desc;                     /* of wire, where memory is registered */
	struct praas_ofi_packet packet; /* while it waits in a window */
	struct praas_ofi_fetch *fetch;  /* OFFER: reading has begun */
	struct praas_ofi_slot *next;    /* to be posted */
};

/* A frame on its way out; parts of it in several packets when it is large. */
struct praas_ofi_frame {
	struct praas_buf *buf; /* NULL: free */
	uint64_t done;     /* bytes of the payload handed to the provider in parts */
	uint32_t number;   /* OFFER: of its packet */
	uint32_t pending;  /* packets not completed */
	bool offered;      /* until the peer has consumed it */
	bool whole;        /* nothing more is to be handed over */
	bool told;         /* sent() */
	struct fid_mr *mr; /* of the payload alone, or NULL */
	void *desc; /* of its memory, for the provider; NULL where none is needed */
	struct praas_ofi_frame *next;
};

/* A packet on its way out. */
struct praas_ofi_send {
	struct praas_ofi_op op;
	struct praas_ofi_conn *conn;
	struct praas_ofi_frame *frame; /* NULL: control */
	uint8_t type;
	uint8_t *scratch; /* headers, and small payloads */
	struct praas_ofi_send *next;
};

/* One read of a part of an offered payload. */
struct praas_ofi_piece {
	struct praas_ofi_op op;
	struct praas_ofi_fetch *fetch;
	uint64_t bytes;
	bool busy;
};

#define PRAAS_OFI_PIECES 4u
struct praas_ofi_fetch {
	struct praas_ofi_conn *conn;
	struct praas_buf *buf; /* head, key and trace are there; NULL: free */
	struct fid_mr *mr;     /* of buf alone, or NULL */
	void *desc;            /* as of a frame */
	uint64_t addr, key;
	uint64_t asked, read; /* bytes */
	uint32_t busy;        /* pieces */
	struct praas_ofi_piece piece[PRAAS_OFI_PIECES];
};

/* An endpoint that connections lead to; several may lead to one. */
struct praas_ofi_peer {
	fi_addr_t addr;
	uint32_t refs;
	uint32_t bytes;
	uint8_t name[PRAAS_OFI_NAME_MAX];
};

/* Control packets to be sent: bits of conn.wants. */
#define PRAAS_OFI_WANT_CONNECT 0x01u
#define PRAAS_OFI_WANT_ACCEPT 0x02u
#define PRAAS_OFI_WANT_REFUSE 0x04u
#define PRAAS_OFI_WANT_ACK 0x08u
#define PRAAS_OFI_WANT_PING 0x10u
#define PRAAS_OFI_WANT_FIN 0x20u
#define PRAAS_OFI_WANT_RESET 0x40u

#define PRAAS_OFI_GOING 1    /* end_rc of a connection that is not to be ended */
#define PRAAS_OFI_SENDS 40u  /* packets under way: a window, and control */
#define PRAAS_OFI_FRAMES 40u /* frames under way */
#define PRAAS_OFI_FETCHES 4u
#define PRAAS_OFI_COPY_MAX 1024u /* a payload up to this is copied behind its header */
#define PRAAS_OFI_SCRATCH_BYTES                                                        \
	(PRAAS_FRAME_BYTES * 2u + PRAAS_META_MAX + PRAAS_OFI_COPY_MAX)

/* What a connection needs to have things under way; kept with its slot once made. */
struct praas_ofi_work {
	struct praas_ofi_send send[PRAAS_OFI_SENDS];
	struct praas_ofi_frame frame[PRAAS_OFI_FRAMES];
	struct praas_ofi_fetch fetch[PRAAS_OFI_FETCHES];
	struct fid_mr *mr; /* of scratch, where needed */
	uint8_t scratch[PRAAS_OFI_SENDS][PRAAS_OFI_SCRATCH_BYTES];
};

/* A number that grows while all is well, and since when it has not grown enough. */
struct praas_ofi_mark {
	uint64_t value;
	uint64_t since_ns; /* 0: not yet looked at */
};

struct praas_ofi_conn {
	struct praas_conn base;
	uint64_t id, peer_id; /* connection ids, ours and the peer's */
	struct praas_ofi_peer *peer;
	struct praas_ofi_work *work;
	uint32_t index;
	uint8_t state;   /* enum praas_ofi_state */
	uint8_t wants;   /* PRAAS_OFI_WANT_… */
	uint32_t reason; /* of REFUSE */
	bool accepted, authenticated;
	bool quiet;         /* the layer above hears nothing more */
	bool opened_due;    /* opened() has not been told yet */
	bool starved;       /* waits for memory of ours */
	bool blocked;       /* the provider took nothing when last asked */
	bool peer_gone;     /* nothing need be told any more */
	bool awaits_accept; /* DEAD, and the peer shall know when it answers */
	int end_rc;         /* why it is to be ended, or PRAAS_OFI_GOING */

	/* sending */
	struct praas_send_queue
		unsent; /* to send; bytes: of these and the unacknowledged offers */
	uint32_t tx_number, tx_acked;                  /* counted packets */
	struct praas_send_queue left;                  /* sent, sent() not told yet */
	struct praas_ofi_frame *frames_free, *current; /* current: of unsent.first */
	struct praas_ofi_frame *offers, *offers_last;  /* until acknowledged */
	struct praas_ofi_send *sends_free;
	uint32_t ops; /* sends and reads that the provider has */

	/* receiving */
	struct praas_ofi_slot *window[PRAAS_OFI_WINDOW]; /* by number */
	uint32_t window_used;
	uint32_t rx_next;      /* number of the packet that is due */
	uint32_t ack_told;     /* the peer knows */
	struct praas_buf *big; /* received in parts */
	uint64_t big_at;
	uint64_t frames;        /* handed up */
	uint64_t received;      /* bytes, in packets */
	uint64_t read, fetched; /* bytes the peer read of us, and we of it */

	uint64_t heard, acked; /* packets ever */
	struct praas_ofi_mark in, out, life;
	uint64_t since_ns; /* when it became CONNECTING, LINGERING or DEAD */
	uint64_t pinged_ns, fetched_told;
	bool overdue; /* ended for its stalling: nothing more is waited for */
	struct praas_ofi_conn *free_next;
};

struct praas_ofi_port {
	struct praas_port base;
	struct praas_port_config config;
	struct praas_ofi_fabric fabric;
	bool opened; /* fabric is there */
	bool listening;
	bool moved;        /* the provider had something in this turn */
	bool packets_only; /* no offers */
	bool registers;    /* memory for our own use, whether it is asked for or not */
	bool stopping;     /* in free() */

	struct praas_ofi_conn *conn; /* slots */
	uint32_t slots, used, unauthenticated;
	struct praas_ofi_conn *free_conns, *dead;
	struct praas_ofi_peer *peer; /* as many as slots */

	struct praas_ofi_slot *slot;     /* receive buffers */
	uint32_t receives, posted, held; /* held: handed up */
	struct praas_ofi_slot *unposted;
	struct praas_buf **block; /* memory that they lie in */
	struct fid_mr **block_mr;
	uint32_t blocks;
	struct praas_regions
		*regions;       /* struct fid_mr, for our own use; NULL: none yet */
	uint64_t registrations; /* of payloads, ever: of regions and of single ones */

	int epoll_fd, timer_fd;
	uint64_t turn, now_ns, looked_ns;
	uint64_t pace_ns; /* of looking, where nothing can be waited for */
};

static inline struct praas_ofi_port *praas_ofi_port_of(
	const struct praas_ofi_conn *conn)
{
	return (struct praas_ofi_port *)(void *)conn->base.port;
}

static inline struct praas_ofi_conn *praas_ofi_conn_of(struct praas_conn *conn)
{
	return (struct praas_ofi_conn *)(void *)conn;
}

/* ---- ofi.c ---- */
/* Makes the endpoint: where it listens, or from where addr is reached. */
int praas_ofi_port_start(struct praas_ofi_port *port, const struct praas_ofi_addr *addr,
			 bool listen);
/* The last buffer of a port that was freed before has come back. */
void praas_ofi_port_last(struct praas_ofi_port *port);
/* errno of what libfabric says. */
static inline int praas_ofi_errno(ssize_t rc)
{
	return rc > -256 ? (int)rc : -EIO;
}

/* ---- ofi_conn.c ---- */
int praas_ofi_connect(struct praas_port *base, const char *addr,
		      const struct praas_conn_events *events, void *user,
		      struct praas_conn **ret_conn);
void praas_ofi_close(struct praas_conn *base, bool after_flush);
void praas_ofi_on_connect(struct praas_ofi_port *port,
			  const struct praas_ofi_packet *packet);
/* Queued buffers get sent(rc), the layer above closed(rc); then it is DEAD. */
void praas_ofi_end(struct praas_ofi_conn *conn, int rc);
/* It is to be ended for this reason, if there was none before. */
void praas_ofi_fail(struct praas_ofi_conn *conn, int rc);
/* DEAD from here on. */
void praas_ofi_destroy(struct praas_ofi_conn *conn);
/* Puts dead connections of which nothing is left back into use. */
void praas_ofi_reap(struct praas_ofi_port *port);
/* Nothing of it is under way, or the endpoint is closed: what it holds is given back. */
void praas_ofi_conn_drop(struct praas_ofi_conn *conn);

/* ---- ofi_watch.c ---- */
/* Looks at all dates, if it is time for that. */
void praas_ofi_watch(struct praas_ofi_port *port);
/* In how long something may be due. */
uint64_t praas_ofi_due_ns(const struct praas_ofi_port *port);

/* ---- ofi_recv.c ---- */
/* A packet of bytes has come into slot. Returns frames handed up. */
unsigned praas_ofi_on_packet(struct praas_ofi_slot *slot, uint64_t bytes);
/* Hands up what is due; at most budget frames. The connection may be closed after it. */
unsigned praas_ofi_recv_run(struct praas_ofi_conn *conn, unsigned budget);
/* Nothing more is handed up: gives back what was begun; and what came, when it is DEAD. */
void praas_ofi_stop_receiving(struct praas_ofi_conn *conn);

/* ---- ofi_fetch.c ---- */
/* Begins to read what the packet in slot offers. 0; -ENOBUFS later; -EPROTO; -EMSGSIZE; … */
int praas_ofi_fetch_begin(struct praas_ofi_conn *conn, struct praas_ofi_slot *slot);
/* Asks for more, as far as the provider takes it. 0; errno. */
int praas_ofi_fetch_run(struct praas_ofi_fetch *fetch);
static inline bool praas_ofi_fetch_done(const struct praas_ofi_fetch *fetch)
{
	return fetch->busy == 0 && fetch->read == fetch->buf->head.bytes;
}
/* The buffer is the caller's, the fetch is free again. */
struct praas_buf *praas_ofi_fetch_take(struct praas_ofi_fetch *fetch);
void praas_ofi_on_read(struct praas_ofi_piece *piece, int rc);
/* Gives the buffer back if no read is under way. */
void praas_ofi_fetch_drop(struct praas_ofi_fetch *fetch);

/* ---- ofi_send.c ---- */
int praas_ofi_alloc(struct praas_conn *base, uint64_t bytes,
		    struct praas_buf **ret_buf);
int praas_ofi_send(struct praas_conn *base, struct praas_buf *buf);
/* Sends what is wanted and queued as far as the provider and the window take it. */
void praas_ofi_send_run(struct praas_ofi_conn *conn);
void praas_ofi_on_send(struct praas_ofi_send *send, int rc);
/* The peer has consumed so far. 0; -EPROTO. */
int praas_ofi_on_ack(struct praas_ofi_conn *conn, uint32_t ack);
/* Tells sent() for what has been sent, unless quiet. */
void praas_ofi_tell_sent(struct praas_ofi_conn *conn);
/* sent(rc) for everything not yet told, unless quiet; what is queued is released when rc is not 0. */
void praas_ofi_tell_queue(struct praas_ofi_conn *conn, int rc);
/* Nobody may read what we offered any more. */
void praas_ofi_offers_withdraw(struct praas_ofi_conn *conn);
/* Nothing is under way any more: all memory is given back. */
void praas_ofi_frames_drop(struct praas_ofi_conn *conn);

/* ---- ofi_slots.c ---- */
/* What the provider wants to be told of buf's memory, to send from it or read into it: of its region,
 * which stays registered, or (then *ret_mr is set) of these bytes alone. 0; errno. */
int praas_ofi_local(struct praas_ofi_port *port, const struct praas_buf *buf,
		    uint64_t bytes, struct fid_mr **ret_mr, void **ret_desc);
/* 0; -ENOMEM; -ENOBUFS; errno. */
int praas_ofi_slots_init(struct praas_ofi_port *port);
/* After the endpoint is closed: the provider knows the memory no longer; it is given back. */
void praas_ofi_slots_unregister(struct praas_ofi_port *port);
void praas_ofi_slots_release(struct praas_ofi_port *port);
/* Receives into it again. */
void praas_ofi_slot_post(struct praas_ofi_slot *slot);
/* Those that the provider did not take before. */
void praas_ofi_slots_run(struct praas_ofi_port *port);

#endif
