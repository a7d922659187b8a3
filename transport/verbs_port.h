/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the verbs transport share: the port, its devices and connections.
 *
 *   verbs.c         the table: open, poll, arm, free
 *   verbs_device.c  devices, completion queues, registered regions
 *   verbs_cm.c      the connection manager: who connects, who is refused, who is gone
 *   verbs_conn.c    a connection's life and memory
 *   verbs_recv.c    from completions to upcalls; receive slots and credits
 *   verbs_send.c    the send queue; bulk payloads on their way out
 *   verbs_wire.c    what peers say, without devices
 *
 *   CONNECTING ──▶ OPEN ──close(after_flush)──▶ FLUSHING ──all sent──▶ LINGERING ──▶ DEAD ──▶ freed
 *        └───────────┴── error, peer's end, close() ──────────────────────────────▶┘
 * DEAD: the queue pairs are destroyed, so the device touches nothing of it any more; it waits for
 * the layer above to give back frames that lie in its slots.
 *
 * Two queue pairs: the first carries messages into slots, the second, made when it is first wanted,
 * large payloads into buffers that were made for them. A message needs a credit: a slot of the
 * peer's that is posted. The last few are for messages that tell credits, and with each two of them
 * the peer tells in turn, so credits never run out on both sides.
 */
#ifndef PRAAS_TRANSPORT_VERBS_PORT_H
#define PRAAS_TRANSPORT_VERBS_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include "internal/base.h"
#include "transport/port.h"
#include "transport/regions.h"
#include "transport/verbs.h"
#include "transport/verbs_wire.h"

#define PRAAS_VERBS_SLOTS 32u    /* receive slots of a connection; power of two */
#define PRAAS_VERBS_SLOTS_FEW 8u /* … of one that a port has above so many: */
#define PRAAS_VERBS_CONNS_RICH 64u
#define PRAAS_VERBS_RESERVE 4u       /* of the peer's, for telling credits alone */
#define PRAAS_VERBS_SLOT_BYTES 8192u /* each; a message lies PRAAS_VERBS_SLOT_SKIP in */
/* The words end where the header begins, at a multiple of 64. */
#define PRAAS_VERBS_SLOT_SKIP (PRAAS_FRAME_ALIGN - PRAAS_VERBS_WORDS_BYTES)
#define PRAAS_VERBS_MESSAGE_MAX (PRAAS_VERBS_SLOT_BYTES - PRAAS_VERBS_SLOT_SKIP)
#define PRAAS_VERBS_SENDS 64u     /* send work requests of a queue pair; power of two */
#define PRAAS_VERBS_SENDS_FEW 16u /* … of a connection with few slots */
#define PRAAS_VERBS_SIGNALS 16u   /* one in so many says when it is done */
#define PRAAS_VERBS_TX_BYTES 1024u /* words, header, meta block, small payload */
#define PRAAS_VERBS_PIECE_BYTES (1u << 20) /* of a bulk payload */
#define PRAAS_VERBS_PIECES 16u             /* posted at once, either way */
#define PRAAS_VERBS_OFFERS 32u /* bulk payloads under way out; power of two */
#define PRAAS_VERBS_BATCH 32u  /* work requests given to the device at once */
#define PRAAS_VERBS_REPOST_PART                                                        \
	4u /* free slots wait for a quarter of all before they are posted */
#define PRAAS_VERBS_GROUP 64u /* connections of one completion queue */
#define PRAAS_VERBS_GROUP_CQES                                                         \
	(PRAAS_VERBS_GROUP *                                                           \
	 (PRAAS_VERBS_SLOTS + PRAAS_VERBS_SENDS + 2 * PRAAS_VERBS_PIECES))
#define PRAAS_VERBS_GROUPS 16u
#define PRAAS_VERBS_ASKS_SHIFT                                                         \
	4u                  /* half a stall timeout of silence, doubled so often */
#define PRAAS_VERBS_GOING 1 /* end_rc of a connection that is not to be ended */

enum praas_verbs_state {
	PRAAS_VERBS_CONNECTING = 1,
	PRAAS_VERBS_OPEN,
	PRAAS_VERBS_FLUSHING,
	PRAAS_VERBS_LINGERING,
	PRAAS_VERBS_DEAD
};

/* What a work request is; with the connection's place it is the wr_id. */
enum praas_verbs_op {
	PRAAS_VERBS_OP_RECV = 1,  /* argument: slot */
	PRAAS_VERBS_OP_SEND,      /* … position of the send */
	PRAAS_VERBS_OP_PIECE_IN,  /* … slot of its offer */
	PRAAS_VERBS_OP_PIECE_OUT, /* … number of its offer */
	PRAAS_VERBS_OP_QUESTION
};

struct praas_verbs_device {
	struct praas_verbs_port *port;
	struct ibv_context *context;
	struct ibv_pd *pd;
	struct ibv_comp_channel *channel;
	struct ibv_cq *cq[PRAAS_VERBS_GROUPS];
	uint32_t cq_conns[PRAAS_VERBS_GROUPS]; /* connections of each */
	uint32_t cqs;
	int cqe;                       /* of each */
	uint32_t inline_max;           /* asked for; learned */
	struct praas_regions *regions; /* struct ibv_mr */
	struct praas_verbs_device *next;
	bool local; /* a SEND is done when it has left, not when it has arrived (iWARP) */
};

struct praas_verbs_slot {
	struct praas_buf buf; /* first: release() finds the slot by it */
	struct praas_verbs_conn *conn;
	uint32_t bytes;         /* of the message in it */
	uint8_t kind;           /* enum praas_verbs_kind */
	bool out;               /* handed up, not released */
	bool begun;             /* offer: bulk is there */
	struct praas_buf *bulk; /* offer: where the payload goes */
	uint32_t bulk_lkey;
	uint64_t pieces, pieces_posted, pieces_done;
};

struct praas_verbs_tx {
	struct praas_buf *buf;  /* released when it is done; NULL */
	struct praas_buf *copy; /* of its payload, in memory that the device knows */
};

struct praas_verbs_offer {
	struct praas_buf *buf, *copy;
	const uint8_t *data;
	uint64_t bytes;
	uint32_t lkey;
	uint64_t posted, done; /* pieces */
};

/* Work requests that are to be given to one queue pair together. */
struct praas_verbs_batch {
	struct ibv_qp *qp;
	struct ibv_send_wr wr[PRAAS_VERBS_BATCH];
	struct ibv_sge sge[PRAAS_VERBS_BATCH][2];
	uint32_t count;
	bool signal; /* one of them wants to be told of */
};

struct praas_verbs_conn {
	struct praas_conn base;
	struct praas_verbs_device *device;
	uint32_t group; /* of the completion queue */
	struct rdma_cm_id *id, *bulk_id;
	struct sockaddr_storage to; /* of who connected: for the bulk path */
	uint16_t index, generation;
	uint8_t state; /* enum praas_verbs_state */
	bool accepted, authenticated, quiet, opened_due, starved;
	bool running;   /* in its turn: not freed under it */
	bool bulk_open; /* the second queue pair */
	bool bye_sent;  /* we have said our last word */
	bool peer_bye;  /* the peer its own, and nobody waits for it */
	bool disconnected;
	uint8_t pending; /* answers that the connection manager owes */
	int end_rc;      /* why it is to be ended when its frames are handed up */
	uint8_t token[PRAAS_VERBS_TOKEN_BYTES];
	uint32_t inline_max;

	/* Receiving. */
	uint32_t slots, sends; /* that it has; sends: a power of two */
	struct praas_buf *rx_memory, *tx_memory;
	uint32_t rx_lkey, tx_lkey;
	struct praas_verbs_slot slot[PRAAS_VERBS_SLOTS];
	uint8_t order[PRAAS_VERBS_SLOTS]; /* slots in the order of arrival */
	uint32_t order_head, order_tail;
	uint32_t slots_out;                   /* handed up */
	uint8_t free_slot[PRAAS_VERBS_SLOTS]; /* to be posted again */
	uint32_t free_slots;
	uint32_t posted, received, told; /* slots: ever; ever used; as the peer knows */
	uint32_t told_of; /* slots used since then by messages that only tell */
	uint32_t pieces_in, pieces_told; /* bulk: ever posted; as the peer knows */
	uint32_t pieces_in_flight;       /* posted and not done */
	uint64_t sequence;               /* of the last frame handed up */

	/* Sending. */
	struct praas_verbs_greeting peer;
	uint32_t peer_posted, sent;       /* peer's slots: ever; ever used by us */
	uint32_t peer_pieces, pieces_out; /* bulk: ever granted; ever used */
	uint32_t pieces_out_flight;
	struct praas_send_queue unsent; /* not posted yet; bytes: queued, and offered */
	uint64_t sent_turn;             /* of the last send() outside of poll() */
	uint32_t turn_sends;            /* in that turn */
	bool burst;                     /* there were several in the turn before it */
	struct praas_verbs_tx tx[PRAAS_VERBS_SENDS];
	uint32_t tx_head, tx_tail; /* posted; done */
	struct praas_verbs_offer offer[PRAAS_VERBS_OFFERS];
	uint32_t offer_head, offer_tail, offer_post; /* made; done; being sent */
	struct praas_send_queue left;                /* done, sent() not told yet */

	uint64_t progress, progress_then, since_ns; /* for stalls */
	/* A connection on which nothing moves does not notice that its peer is gone: it is asked. */
	uint64_t asked_ns;
	uint32_t heard; /* received, when last looked at */
	uint8_t asks;   /* since something came; at most PRAAS_VERBS_ASKS_SHIFT */
	bool ask,
		asking; /* to be posted; posted, and the device has not said that it arrived */
	struct praas_verbs_conn *prev, *next; /* of the port */
};

struct praas_verbs_port {
	struct praas_port base;
	struct praas_port_config config;
	struct rdma_event_channel *cm;
	struct rdma_cm_id *listener;
	int epoll_fd, timer_fd;
	bool armed, freed;
	struct praas_verbs_device *devices;
	struct praas_verbs_conn **by_index;
	uint16_t *generation; /* by index */
	uint32_t slots;       /* places in by_index */
	uint32_t used, unauthenticated, pending;
	struct praas_verbs_conn *conns; /* all, the dead too */
	uint64_t turn, check_ns;
	struct praas_verbs_batch batch; /* empty but within praas_verbs_flush() */
	struct praas_verbs_stats stats;
};

static inline struct praas_verbs_port *praas_verbs_port_of(
	const struct praas_verbs_conn *conn)
{
	return (struct praas_verbs_port *)(void *)conn->base.port;
}

static inline struct praas_verbs_conn *praas_verbs_conn_of(struct praas_conn *conn)
{
	return (struct praas_verbs_conn *)(void *)conn;
}

static inline uint64_t praas_verbs_wr(const struct praas_verbs_conn *conn,
				      enum praas_verbs_op op, uint32_t argument)
{
	return (uint64_t)conn->index << 48 | (uint64_t)conn->generation << 32 |
	       (uint64_t)op << 24 | argument;
}

/* ---- verbs_device.c ---- */
/* The port's device of context, made when it is new. 0; errno. */
int praas_verbs_device_get(struct praas_verbs_port *port, struct ibv_context *context,
			   struct praas_verbs_device **ret_device);
void praas_verbs_devices_free(struct praas_verbs_port *port);
/* A completion queue with room for one more connection. 0; -ENOBUFS; errno. */
int praas_verbs_group_take(struct praas_verbs_device *device, uint32_t *ret_group);
/* Makes a queue pair for id. The largest inline payload is what the device grants. 0; errno. */
int praas_verbs_qp_new(struct praas_verbs_conn *conn, struct rdma_cm_id *id, bool bulk);
/* The key of the region that buf lies in. 0; -ENOENT memory that is not the port's; errno. */
int praas_verbs_lkey(struct praas_verbs_device *device, const struct praas_buf *buf,
		     uint32_t *ret_lkey);
/* Makes the device of context and has it register memory of the port, to see that it can. */
int praas_verbs_device_try(struct praas_verbs_port *port, struct ibv_context *context);
/* Asks for events. True: there were completions, which have been taken. */
bool praas_verbs_devices_arm(struct praas_verbs_port *port);
void praas_verbs_devices_awake(struct praas_verbs_port *port);
/* Takes what is done, at most some; returns how many. */
unsigned praas_verbs_devices_take(struct praas_verbs_port *port);

/* ---- verbs_cm.c ---- */
int praas_verbs_listen(struct praas_verbs_port *port, const char *text);
int praas_verbs_connect(struct praas_port *base, const char *addr,
			const struct praas_conn_events *events, void *user,
			struct praas_conn **ret_conn);
/* Events of the connection manager. */
void praas_verbs_cm_poll(struct praas_verbs_port *port);
/* Who connected connects the second queue pair. */
void praas_verbs_bulk_connect(struct praas_verbs_conn *conn);

/* ---- verbs_conn.c ---- */
/* A connection in state CONNECTING. 0; -ENOBUFS too many; -ENOMEM. */
int praas_verbs_conn_new(struct praas_verbs_port *port,
			 struct praas_verbs_conn **ret_c);
/* Its device is known: memory, queue pair, receive slots posted. */
int praas_verbs_conn_prepare(struct praas_verbs_conn *conn, struct rdma_cm_id *id);
/* More, or fewer, answers are awaited of the connection manager. */
void praas_verbs_pending(struct praas_verbs_conn *conn, int change);
/* Ended as soon as what has come is handed up. */
void praas_verbs_fail(struct praas_verbs_conn *conn, int rc);
void praas_verbs_end(struct praas_verbs_conn *conn, int rc);
void praas_verbs_close(struct praas_conn *base, bool after_flush);
/* Without upcalls. */
void praas_verbs_destroy(struct praas_verbs_conn *conn);
/* Frees what is dead and has nothing out. */
void praas_verbs_reap(struct praas_verbs_conn *conn);
void praas_verbs_check_stalls(struct praas_verbs_port *port, uint64_t now_ns);
/* Something must happen within the stall timeout. */
bool praas_verbs_is_busy(const struct praas_verbs_conn *conn);

/* ---- verbs_recv.c ---- */
void praas_verbs_on_completion(struct praas_verbs_port *port, const struct ibv_wc *wc);
/* Gives all free slots to the device. 0; errno. */
int praas_verbs_slots_post(struct praas_verbs_conn *conn);
void praas_verbs_slot_release(struct praas_buf *buf);
/* Hands up what has come; at most budget frames. */
unsigned praas_verbs_hand_up(struct praas_verbs_conn *conn, unsigned budget);
/* Buffers for payloads that were offered. */
void praas_verbs_grant(struct praas_verbs_conn *conn);
/* Of a connection that hands up no more: slots go on being posted for what still comes. */
void praas_verbs_discard(struct praas_verbs_conn *conn);
/* Gives back what incoming payloads were to fill: when the queue pairs are gone. */
void praas_verbs_recv_drop(struct praas_verbs_conn *conn);

/* ---- verbs_send.c ---- */
int praas_verbs_alloc(struct praas_conn *base, uint64_t bytes,
		      struct praas_buf **ret_buf);
int praas_verbs_send(struct praas_conn *base, struct praas_buf *buf);
/* Posts what can be posted; credits too when the peer may lack them. */
void praas_verbs_flush(struct praas_verbs_conn *conn);
void praas_verbs_on_sent(struct praas_verbs_conn *conn, uint32_t position);
void praas_verbs_on_piece_sent(struct praas_verbs_conn *conn, uint32_t number);
void praas_verbs_tell_sent(struct praas_verbs_conn *conn);
/* sent(rc) for all that is queued or under way, unless quiet. */
void praas_verbs_tell_all(struct praas_verbs_conn *conn, int rc);
/* Gives all of that back: when the queue pairs are gone. */
void praas_verbs_send_drop(struct praas_verbs_conn *conn);
/* Nothing queued and nothing under way but what is copied. */
bool praas_verbs_sent_all(const struct praas_verbs_conn *conn);

#endif
