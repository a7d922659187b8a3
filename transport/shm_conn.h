/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the shm transport: ports, connections, big segments, and the client's end of
 * the direct path. For transport/shm_*.c, and for the client library's fast path.
 *
 * A *ref* names a buffer in 64 bits: segment id << 48 | offset of the payload. Refs travel in
 * return rings; each side checks what it gets against its own books.
 */
#ifndef PRAAS_TRANSPORT_SHM_CONN_H
#define PRAAS_TRANSPORT_SHM_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/channel.h"
#include "shm/pool.h"
#include "transport/handshake.h"
#include "transport/shm.h"
#include "transport/shm_proto.h"

/* In front of every payload: room for the largest meta block (trace and key). */
#define PRAAS_SHM_HEADROOM 320u
#define PRAAS_SHM_NO_REF (~(uint64_t)0)
#define PRAAS_SHM_BIG_MAX 16u /* big segments of one connection, both ways */
#define PRAAS_SHM_LOANS                                                                \
	4096u /* invocations whose payload the server holds; power of two */
#define PRAAS_SHM_BURST 64u          /* frames of one connection in one turn */
#define PRAAS_SHM_BURST_CLIENT 4096u /* datagrams that a client reads in one go */
#define PRAAS_SHM_SEGMENTS 65536u
#define PRAAS_SHM_FIRST_SEGMENT 0x1000u

_Static_assert(PRAAS_SHM_HEADROOM >= PRAAS_TRACE_BYTES + PRAAS_KEY_MAX,
	       "meta block fits");
_Static_assert(PRAAS_SHM_HEADROOM % PRAAS_FRAME_ALIGN == 0, "payload stays aligned");

static inline uint64_t praas_shm_ref(uint32_t segment, uint64_t offset)
{
	return (uint64_t)segment << 48 | offset;
}
static inline uint32_t praas_shm_ref_segment(uint64_t ref)
{
	return (uint32_t)(ref >> 48);
}
static inline uint64_t praas_shm_ref_offset(uint64_t ref)
{
	return ref & ((1ull << 48) - 1);
}

struct praas_shm_port;
struct praas_shm_conn;

/* What an epoll event is about. */
enum praas_shm_source_kind {
	PRAAS_SHM_SOURCE_LISTEN,
	PRAAS_SHM_SOURCE_CONN,
	PRAAS_SHM_SOURCE_ROUTE /* wake socket of a direct route */
};
struct praas_shm_source {
	enum praas_shm_source_kind kind;
	int fd;
	struct praas_shm_conn *conn;
};

/*  CONNECTING ─poll▶ HANDSHAKE ─WELCOME▶ OPEN ─end of peer, error, close()▶ ENDED ─▶ freed when
 *  the last buffer is released. */
enum praas_shm_state {
	PRAAS_SHM_CONNECTING, /* client: the outcome is told by the next poll */
	PRAAS_SHM_HANDSHAKE,  /* frames over the socket */
	PRAAS_SHM_OPEN,       /* frames in rings */
	PRAAS_SHM_ENDED       /* no upcall any more; buffers may be out */
};

/* A big segment, as one connection knows it. */
enum praas_shm_big_state {
	PRAAS_SHM_BIG_FREE,   /* written by us, to be used again */
	PRAAS_SHM_BIG_HELD,   /* written by us: a buffer not sent yet */
	PRAAS_SHM_BIG_LENT,   /* written by us, at the peer until it gives it back */
	PRAAS_SHM_BIG_LOANED, /* the same, until the RESULT of the INVOKE that took it */
	PRAAS_SHM_BIG_READ    /* written by the peer, or by a worker and shared */
};
struct praas_shm_big {
	struct praas_segment segment; /* base NULL on the server for shared ones */
	enum praas_shm_big_state state;
	uint32_t users;    /* READ: buffers that point into it */
	bool announced;    /* the peer has it mapped */
	bool dropped;      /* READ: gone as soon as users is 0 */
	bool shared;       /* made by praas_shm_share(): one use, then DROP */
	bool drop_pending; /* client: DROP could not be sent yet */
	bool kept;         /* registered buffer of the library's caller: never FREE */
	void (*released)(void *user, uint32_t segment);
	void *user;
};

/* A queue of buffers of the peer's that its return ring had no room for. */
struct praas_shm_backlog {
	uint64_t *ref;
	uint32_t head, count, capacity;
};

enum praas_shm_route_state {
	PRAAS_SHM_ROUTE_NONE,
	PRAAS_SHM_ROUTE_OPEN,
	PRAAS_SHM_ROUTE_REVOKED, /* nothing new; taken calls are still answered */
	PRAAS_SHM_ROUTE_BROKEN, /* the worker lies: it is not listened to, until GONE */
	PRAAS_SHM_ROUTE_GONE /* no answer comes any more; unmapped when no view is held */
};

/* The client's end of a direct channel. Calls on it are the client library's. */
struct praas_shm_route {
	struct praas_channel channel;
	struct praas_segment reply; /* read-only */
	uint64_t reply_from, reply_to;
	struct praas_shm_source wake; /* our end of the wake socket */
	uint32_t worker;
	uint32_t outstanding; /* calls pushed and not answered; the library counts */
	bool stalled; /* it left a call in the ring for too long; until its next answer */
	int32_t gone_status; /* GONE: what calls that it took and did not answer come to; 0: crashed */
	uint32_t views; /* results in reply that the caller holds; the library counts */
	enum praas_shm_route_state state;
	struct praas_shm_backlog backlog;
};

/* The server's record of a grant. */
struct praas_shm_granted {
	struct praas_segment reply; /* base NULL: none */
	bool revoked;
	bool busy; /* gone, but the client has not cleared its block yet */
};

struct praas_shm_loan {
	uint64_t id; /* 0: free */
	uint64_t ref;
};

struct praas_shm_conn {
	struct praas_conn base;
	struct praas_shm_port *port;
	enum praas_shm_state state;
	bool server; /* we accepted it */
	bool eof;    /* the peer is gone; what is in its ring is still to be read */
	bool bye;    /* it said so */
	bool active; /* frames since the last housekeeping */
	bool cold; /* not polled: its doorbell word is set, it will write the socket */
	bool in_table; /* of the port */
	bool switched; /* ended after the switch */
	uint32_t at;   /* index in that table */
	bool failing;  /* error is to be told */
	int error;     /* for closed(), when failing or eof */
	uint32_t idle_rounds;
	uint32_t epoch;    /* as WELCOME's header told it */
	uint64_t received; /* frames from the ring */
	struct praas_shm_conn *next_dead;
	uint32_t bufs_out; /* handles given out that are not released */
	uint32_t bufs_max;
	struct praas_shm_source source;
	struct praas_channel channel;
	struct praas_segment mine, peer;
	struct praas_channel_geometry my_geometry, peer_geometry;
	uint64_t peer_from, peer_to; /* the peer's buffer area */
	uint64_t my_from;            /* the first payload that may begin in ours */
	struct praas_pool *pool;     /* over our buffer area */
	struct praas_buf *sent_head, *sent_tail;
	struct praas_shm_backlog backlog;
	struct praas_shm_big *big[PRAAS_SHM_BIG_MAX];
	uint64_t big_bytes;
	/* client */
	struct praas_shm_loan *loans; /* payloads of INVOKEs under way */
	uint32_t loans_count;
	bool want_pending;
	int want_status;
	struct praas_shm_route
		*route[PRAAS_SHM_WORKERS_MAX]; /* client; NULL: never granted */
	uint32_t routes;                       /* entries of route[] in use, from 0 */
	uint32_t
		routes_changed; /* counts grants, revokes, ends: the library looks again */
	/* server */
	struct praas_shm_granted granted[PRAAS_SHM_WORKERS_MAX];
};

struct praas_shm_port {
	struct praas_port base;
	struct praas_port_config config;
	struct praas_shm_config shm;
	char *path; /* of our socket; NULL: connects only */
	int epoll_fd;
	struct praas_shm_source listen;
	struct praas_shm_conn **conns; /* all, in any order */
	uint32_t conns_count, conns_capacity;
	uint32_t handshaking;              /* of these, not OPEN */
	const struct praas_shm_conn *last; /* had frames last; it may have ended */
	struct praas_shm_conn *busy; /* alone had frames lately; NULL: not one alone */
	uint32_t next;               /* whose turn it is first */
	uint32_t turns;              /* since the sockets were looked at */
	bool worked;                 /* there were frames in one of these */
	uint64_t sockets_ns;         /* when they were looked at */
	uint64_t round_ns;           /* last housekeeping */
	bool armed, announced;
	bool failed;  /* some connection has failing set */
	bool polling; /* ended connections are destroyed at its end */
	struct praas_shm_conn *dead;
	uint32_t refs; /* connections that are not destroyed, and who opened it */
	struct praas_buf *free_bufs;
	struct praas_buf_chunk *chunks;
	uint8_t *datagram; /* receive buffer of PRAAS_SHM_WELCOME_MAX bytes */
	const struct praas_segment **segments; /* by id; server */
	uint64_t big_bytes;                    /* of big segments of all connections */
	uint32_t next_segment;
	struct praas_shm_spare *spare; /* for the next client; NULL */
};

/* Fills in what is 0. */
void praas_shm_defaults(struct praas_shm_config *config);
/* Of a client's segment and of ours for it. */
void praas_shm_geometry(const struct praas_shm_config *config,
			struct praas_channel_geometry *ret_client,
			struct praas_channel_geometry *ret_reply);
/* A segment made ahead, if there is one of that size. */
bool praas_shm_spare_take(struct praas_shm_port *port, bool client, uint64_t bytes,
			  uint32_t id, struct praas_segment *ret_segment);

static inline struct praas_shm_conn *praas_shm_conn_of(struct praas_conn *conn)
{
	return (struct praas_shm_conn *)(void *)conn;
}
static inline struct praas_shm_port *praas_shm_port_of(struct praas_port *port)
{
	return (struct praas_shm_port *)(void *)port;
}

/* ---- shm_port.c */
int praas_shm_watch(struct praas_shm_port *p, struct praas_shm_source *source);
/* Before its descriptor is closed. */
void praas_shm_unwatch(struct praas_shm_port *p, const struct praas_shm_source *source);
int praas_shm_segment_id(struct praas_shm_port *p, uint32_t *ret_id);
/* Enters a segment under its id, or takes it out. */
void praas_shm_segment_known(struct praas_shm_port *p, const struct praas_segment *s,
			     bool known);
/* The same, and tells who asked for it in the configuration: payloads of clients lie there. */
void praas_shm_segment_told(struct praas_shm_port *p, const struct praas_segment *s,
			    bool known);

/* ---- shm_conn.c: life of a connection */
struct praas_shm_conn *praas_shm_conn_new(struct praas_shm_port *p, int fd,
					  bool server);
/* The connection is unusable: told, and ended, at the end of this turn. */
void praas_shm_conn_fail(struct praas_shm_conn *c, int rc);
void praas_shm_conn_tell_closed(struct praas_shm_conn *c);
/* Takes it off the port: no upcall any more. What it holds goes with its last buffer. */
void praas_shm_conn_end(struct praas_shm_conn *c);
/* The table's close(). */
void praas_shm_conn_close(struct praas_conn *conn, bool after_flush);
/* Drops what an ended connection holds once no buffer is out. */
void praas_shm_conn_unref(struct praas_shm_conn *c);
/* Frees the connections that ended in this turn. */
void praas_shm_bury(struct praas_shm_port *p);
void praas_shm_port_unref(struct praas_shm_port *p);

/* ---- shm_buf.c: handles and memory */
struct praas_buf *praas_shm_handle_get(struct praas_shm_conn *c);
void praas_shm_handles_free(struct praas_shm_port *p);
int praas_shm_alloc(struct praas_conn *conn, uint64_t bytes,
		    struct praas_buf **ret_buf);
int praas_shm_alloc_heap(struct praas_shm_conn *c, uint64_t bytes,
			 struct praas_buf **ret_buf);
/* Memory that we write: 0; -ENOBUFS; -EMSGSIZE. */
int praas_shm_memory_alloc(struct praas_shm_conn *c, uint64_t bytes, uint64_t *ret_ref,
			   uint8_t **ret_data, uint64_t *ret_capacity);
void praas_shm_memory_free(struct praas_shm_conn *c, uint64_t ref);
/* The handle is given up, its memory is not: it is the peer's now, or the caller's. */
void praas_shm_handle_put(struct praas_buf *buf);
/* A handle for memory of ours that its caller keeps: sending takes it along, and what ends the
 * loan gives it back to the caller, not to the pool. NULL: no memory for a handle. */
struct praas_buf *praas_shm_adopt(struct praas_shm_conn *c, uint64_t ref,
				  uint8_t *data);
/* The registered buffer that begins at data: 0; -ENOENT. */
int praas_shm_find(struct praas_shm_conn *c, const void *data, uint64_t *ret_ref);
/* True for a buffer that came from praas_shm_alloc() of this open connection. */
bool praas_shm_is_ours(const struct praas_shm_conn *c, const struct praas_buf *buf);
int praas_shm_backlog_init(struct praas_shm_backlog *b, uint32_t capacity);
/* Gives a buffer of the peer's back, now or when there is room. 0; -EPROTO. */
int praas_shm_give_back(struct praas_channel *ch, struct praas_shm_backlog *b,
			uint64_t ref);
int praas_shm_backlog_flush(struct praas_channel *ch, struct praas_shm_backlog *b);

/* ---- shm_frame.c: rings */
int praas_shm_send(struct praas_conn *conn, struct praas_buf *buf);
/* The table's send_head(). */
int praas_shm_send_head(struct praas_conn *conn, const struct praas_frame *head);
/* Pops frames and returns; gives them up. Returns frames. */
unsigned praas_shm_conn_poll(struct praas_shm_conn *c, unsigned budget);
/* One frame that was popped elsewhere (the library's fast path). 0; negative: c has failed. */
int praas_shm_conn_deliver(struct praas_shm_conn *c, const struct praas_desc *d);
void praas_shm_flush_sent(struct praas_shm_conn *c, int rc);
/* Where a payload that a peer names lies: 0; -EPROTO. */
int praas_shm_locate(struct praas_shm_conn *c, uint32_t segment, uint64_t offset,
		     uint64_t meta, uint64_t bytes, uint8_t **ret_data);

/* Client: where the payload of an INVOKE lies that is not answered. 0; -ENOENT: it has none. */
int praas_shm_loan_find(const struct praas_shm_conn *c, uint64_t id, uint64_t *ret_ref);

/* ---- shm_link.c: the switch and the socket */
int praas_shm_switch(struct praas_shm_conn *c, struct praas_buf *welcome);
/* A handshake frame; msg and two fds in front of it when not NULL. 0; -EAGAIN; … */
int praas_shm_socket_send(struct praas_shm_conn *c, const struct praas_buf *buf,
			  const struct praas_shm_msg *msg, const int *fds);
/* Tells a client that has just connected why it may not stay, and closes. */
void praas_shm_refuse(int fd, enum praas_close_reason reason);
/* A control message, announced in the ring too, so that a busy peer reads it. */
int praas_shm_tell(struct praas_shm_conn *c, const struct praas_shm_msg *msg,
		   const int *fds, unsigned fds_count);
/* Reads the socket until it is empty. Returns work done. */
unsigned praas_shm_socket_poll(struct praas_shm_conn *c);

/* ---- shm_big.c */
int praas_shm_big_alloc(struct praas_shm_conn *c, uint64_t bytes,
			struct praas_shm_big **ret);
int praas_shm_big_announce(struct praas_shm_conn *c, struct praas_shm_big *b);
struct praas_shm_big *praas_shm_big_find(struct praas_shm_conn *c, uint32_t id);
void praas_shm_big_free(struct praas_shm_conn *c, struct praas_shm_big *b);
/* A reader's buffer in it is released. */
void praas_shm_big_unuse(struct praas_shm_conn *c, struct praas_shm_big *b);
/* Tells the server what could not be told before. */
void praas_shm_big_retry(struct praas_shm_conn *c);
int praas_shm_on_want(struct praas_shm_conn *c, const struct praas_shm_msg *msg);
int praas_shm_on_segment(struct praas_shm_conn *c, const struct praas_shm_msg *msg,
			 struct praas_shm_datagram *d);
int praas_shm_on_drop(struct praas_shm_conn *c, const struct praas_shm_msg *msg);
void praas_shm_big_release_all(struct praas_shm_conn *c);

/* ---- shm_grant.c */
int praas_shm_on_grant(struct praas_shm_conn *c, const struct praas_shm_msg *msg,
		       struct praas_shm_datagram *d);
int praas_shm_on_revoke(struct praas_shm_conn *c, const struct praas_shm_msg *msg,
			bool gone);
int praas_shm_on_freed(struct praas_shm_conn *c, const struct praas_shm_msg *msg);
/* The library is done with a route that is GONE: no call, no view. 0; -EAGAIN try again. */
int praas_shm_route_close(struct praas_shm_conn *c, struct praas_shm_route *r);
void praas_shm_grants_release(struct praas_shm_conn *c);
void praas_shm_routes_release(struct praas_shm_conn *c);

#endif
