/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of libpraas: a connection and its table of invocations. One thread at a time.
 *
 * An invocation under way is an entry. Its id on the wire ends in the entry's index when we made it
 * up, so a result finds its entry with a mask and a compare; ids of the caller's own are looked
 * for when that fails. Requests (messages, state) use the same table.
 */
#ifndef PRAAS_CLIENT_CONNECTION_H
#define PRAAS_CLIENT_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "praas/client.h"
#include "shm/doorbell.h"
#include "transport/memory.h"
#include "transport/moved.h"
#include "transport/session.h"
#include "transport/shm_conn.h"
#include "transport/transport.h"

#define PRAAS_INFLIGHT_DEFAULT 256u
#define PRAAS_INFLIGHT_MAX 65536u
#define PRAAS_CONNECT_TIMEOUT_NS 5000000000ull
#define PRAAS_EVENTS_KEPT 16u
#define PRAAS_ENTRY_NONE UINT32_MAX
#define PRAAS_VIA_CONTROLLER (-1)
/* A service time up to this is short: several calls may wait in one worker's ring. */
#define PRAAS_SHORT_RUN_NS 5000u
#define PRAAS_DIRECT_DEPTH 64u
/* How long after a deadline the peer's own answer is waited for. */
#define PRAAS_DEADLINE_GRACE_NS 100000000u
/* A direct call not taken after so long goes the other way. */
#define PRAAS_WITHDRAW_NS 100000u
#define PRAAS_SCRATCH_BYTES 16384u

enum praas_entry_state {
	PRAAS_ENTRY_FREE = 0,
	PRAAS_ENTRY_PENDING, /* sent, no answer yet */
	PRAAS_ENTRY_REROUTE, /* taken back from a worker, not yet sent again */
	PRAAS_ENTRY_DONE,    /* answered, not yet taken by the caller */
	PRAAS_ENTRY_ABANDONED /* the caller has been told DEADLINE; the answer is dropped */
};

#define PRAAS_ENTRY_TEMPORARY 0x1u /* direct: the payload's memory is ours to free */
#define PRAAS_ENTRY_TIMED 0x2u     /* timing is to be filled */

struct praas_entry {
	struct praas_frame head; /* what was sent; deadline absolute */
	enum praas_entry_state state;
	int32_t via;       /* worker of the direct route, or PRAAS_VIA_CONTROLLER */
	bool request;      /* REPLY wanted, taken by who asked, never by praas_poll() */
	uint8_t extra;     /* PRAAS_ENTRY_…: what to do more when it is answered */
	bool marked;       /* direct: the withdraw mark is set */
	bool cancelled;    /* withdraw, then end it instead of sending it again */
	uint64_t position; /* direct: message number in the route's ring */
	uint64_t ref;      /* direct: payload and meta block; PRAAS_SHM_NO_REF none */
	uint32_t next, prev;        /* free list (next) or list of those done */
	struct praas_result result; /* DONE */
	uint64_t aux;               /* DONE, requests: of the REPLY */
	uint64_t order; /* in which it was sent first, from 1; 0: it has not been yet */
	struct praas_kept *kept; /* to be sent again, if the process moves; NULL */
	struct praas_timing
		*timing; /* TIMED: the caller's; has notes until it is filled */
};

struct praas_function_info {
	char name[PRAAS_NAME_MAX + 1];
	uint8_t flags;   /* PRAAS_FUNCTION_… */
	uint32_t run_ns; /* moving average of what results told; 0 unknown */
};

/* A registered buffer of a transport without segments. */
struct praas_registered {
	struct praas_buf shadow; /* first: what is sent; its release only notes it */
	struct praas_buf *buf;   /* whose memory it is */
	bool under_way;          /* the transport has the shadow */
	bool freed; /* by the caller; goes when the transport has done with it */
	struct praas_registered *next;
};

/* An invocation as it left, until it is answered. */
struct praas_kept {
	struct praas_buf shadow; /* first: what is sent; its release only notes it */
	struct praas_buf
		*buf; /* whose memory it is; NULL: copy, or registered memory */
	uint8_t *copy;
	bool under_way; /* the transport has the shadow */
	bool over;      /* answered: goes when the transport has done with it */
	struct praas_connection *conn;
	struct praas_kept *next; /* free list */
};

struct praas_left; /* left.c */
struct praas_ticket_json;

struct praas_connection {
	const struct praas_transport_ops *ops;
	struct praas_port *port;
	struct praas_conn *link; /* NULL: ended */
	struct praas_shm_conn
		*shm; /* the same when the transport is shm; kept until close */
	struct praas_heap *heap; /* memory of the other transports */
	const char *transport;   /* its scheme */
	bool opened, direct_allowed;
	bool follows,
		following; /* it goes along when the process moves; it is about to */
	bool no_direct, no_follow, members; /* as the caller wants it */
	int closed_rc;                      /* why link is NULL */
	int close_status;                   /* as the peer's last frame said */
	uint64_t bytes_max;
	uint32_t epoch;
	uint64_t pid;
	uint32_t inflight_limit; /* as the process told; 0 none */

	struct praas_entry *entries;
	uint32_t mask; /* inflight_max - 1 */
	uint32_t free_head;
	uint32_t under_way; /* entries that are not free */
	uint32_t done_head, done_tail;
	uint32_t own_ids;        /* entries whose id does not tell their index */
	uint32_t unsent;         /* frames that the transport has not reported sent */
	uint32_t reroutes;       /* entries in state REROUTE */
	uint32_t direct_pending; /* entries PENDING on a direct route */
	uint32_t held;           /* calls with PRAAS_CALL_MORE since the last turn */
	uint64_t sequence;       /* of made-up ids; random at the start */

	struct praas_shm_route *hot; /* route used last; NULL: none open */
	uint32_t routes_seen;        /* shm->routes_changed that we acted on */
	bool routes_closing;         /* some route is GONE and not yet closed */
	bool withdrawn;       /* nothing was sent directly since the last withdrawal */
	uint64_t scratch_ref; /* payload memory of the one call of the fast path */
	uint8_t *scratch;     /* in use only while nothing else is under way */

	struct praas_function_info *functions;
	uint32_t functions_count;

	struct praas_registered *registered;
	struct praas_kept *kept_free;

	/* When the process moves (follow.c). */
	uint64_t timeout_ns;      /* for connect and handshake */
	uint64_t order;           /* of the entry sent last */
	uint64_t copies_before;   /* by ports that were left */
	struct praas_moved *move; /* where to; NULL: it is there */
	struct praas_left
		*left; /* where it was, as far as the caller has memory there */
	uint32_t moves;
	uint32_t turns_deep; /* the port is being polled: it must not go */
	uint32_t refs; /* results in the controller's segment that the caller holds */
	uint32_t buffers; /* registered buffers in shared memory */
	uint8_t session_key[PRAAS_KEY_BYTES];

	struct praas_waiter waiter;
	struct praas_conn_stats stats;
	struct praas_event events[PRAAS_EVENTS_KEPT];
	uint32_t events_head, events_count;
};

/* Kinds of result memory, in the low bits of praas_view.token; the rest is an address or a ref. */
#define PRAAS_TOKEN_NONE 0u
#define PRAAS_TOKEN_BUF 1u    /* struct praas_buf of the transport */
#define PRAAS_TOKEN_TEXT 2u   /* malloc'd error text */
#define PRAAS_TOKEN_REF 3u    /* ref in the controller's segment */
#define PRAAS_TOKEN_DIRECT 4u /* offset in a route's segment, worker << 48 */
#define PRAAS_TOKEN_BIG 5u    /* shared big segment, id << 48 */
#define PRAAS_TOKEN_MASK 7u

/* ---- error.c */
/* Keeps the words for praas_error() and returns rc. */
int praas_fail_with(int rc, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- table.c */
int praas_table_init(struct praas_connection *conn, uint32_t inflight_max);
/* id 0: made up. NULL: inflight_max are under way, or the id is. */
struct praas_entry *praas_entry_new(struct praas_connection *conn, uint64_t id);
struct praas_entry *praas_entry_find(struct praas_connection *conn, uint64_t id);
void praas_entry_free(struct praas_connection *conn, struct praas_entry *e);
/* Puts it at the end of the list of those done. */
void praas_entry_done(struct praas_connection *conn, struct praas_entry *e);
void praas_entry_undone(struct praas_connection *conn, struct praas_entry *e);
uint64_t praas_id_next(struct praas_connection *conn);

/* ---- connect.c */
/* Tries the endpoints of a scheme, in their order. 0: conn->link is open. */
int praas_connect_scheme(struct praas_connection *conn, const char *scheme,
			 const struct praas_ticket_json *ticket, uint64_t until_ns);
/* What an open link needs beside the table of invocations. 0; -ENOBUFS. */
int praas_connect_tables(struct praas_connection *conn);

/* ---- follow.c */
/* Where the process has moved to, as a frame says; false: it is not believed, or not gone along with. */
bool praas_follow_take(struct praas_connection *conn, const struct praas_buf *buf);
void praas_follow_forget(struct praas_connection *conn);
/* Goes there. Not from an upcall. Returns work done. */
unsigned praas_follow(struct praas_connection *conn);

/* ---- kept.c */
/* Keeps what is sent until e is answered; returns what is to be sent in place of buf. */
struct praas_buf *praas_keep(struct praas_connection *conn, struct praas_entry *e,
			     struct praas_buf *buf);
/* The same of one that was sent, by a copy. data: behind its meta block; NULL: there is neither. 0; -ENOMEM. */
int praas_keep_copy(struct praas_connection *conn, struct praas_entry *e,
		    const uint8_t *data);
void praas_kept_drop(struct praas_entry *e);
void praas_kept_free_all(struct praas_connection *conn);

/* ---- left.c */
int praas_left_prepare(struct praas_left **ret_left);
/* conn's shared memory, which conn has no more. left is given. */
void praas_left_add(struct praas_connection *conn, struct praas_left *left);
/* What nobody needs any more goes. */
void praas_left_tend(struct praas_connection *conn);
/* A result that lies in such memory is given back; false: it does not. */
bool praas_left_release(struct praas_connection *conn, const void *data,
			uint64_t token);
bool praas_left_buffer_free(struct praas_connection *conn, const void *data);
void praas_left_free_all(struct praas_connection *conn);

/* ---- submit.c */
/* Sends what is kept of e. 0; or why not. */
int praas_kept_send(struct praas_connection *conn, struct praas_entry *e);
int praas_entry_send(struct praas_connection *conn, const struct praas_call *call,
		     struct praas_entry *e);
/* The trace of a call as a frame has it; there is one. */
void praas_trace_block(const struct praas_call *call,
		       uint8_t ret_block[PRAAS_TRACE_BYTES]);
/* Sends a frame with a copied payload. trace: with flag TRACE a block as of a frame;
 * else NULL. */
int praas_frame_send(struct praas_connection *conn, const struct praas_frame *head,
		     const char *key, const void *data, const uint8_t *trace);
int praas_call_check(struct praas_connection *conn, const struct praas_call *call);
/* A call that waits for its result gets an entry and leaves. */
int praas_submit_entry(struct praas_connection *conn, const struct praas_call *call,
		       struct praas_entry **ret_entry);
/* Fills head from call. */
void praas_call_head(const struct praas_call *call, struct praas_frame *ret_head);

/* ---- buffer.c */
/* Whether buf is one of a registered buffer. */
bool praas_is_registered(const struct praas_buf *buf);
/* All registered memory of a transport without segments goes, as soon as the transport lets go. */
void praas_registered_free_all(struct praas_connection *conn);

/* ---- timing.c */
/* praas_submit() of a call with PRAAS_CALL_TIMING. */
int praas_submit_timed(struct praas_connection *conn, const struct praas_call *call,
		       uint64_t *ret_call);
/* Fills the timing of one, by its result or (NULL) without. */
void praas_timing_end(struct praas_entry *e, const struct praas_frame *result);
/* It is answered, by result or (NULL) without: what PRAAS_ENTRY_… asks for. */
void praas_entry_extra(struct praas_connection *conn, struct praas_entry *e,
		       const struct praas_frame *result);

/* ---- receive.c */
extern const struct praas_conn_events praas_client_events;
/* An outcome that we know without the peer. */
void praas_entry_end(struct praas_connection *conn, struct praas_entry *e, int status);
/* Makes a result's words NUL-terminated memory of its own. */
void praas_result_text(struct praas_connection *conn, struct praas_result *result);
/* For praas_event_poll(). */
void praas_event_add(struct praas_connection *conn, enum praas_event_kind kind,
		     int status, uint32_t epoch);
/* The rings outlive the socket: what a worker has taken ends there, unless it is gone or long. */
void praas_last_results(struct praas_connection *conn);
/* The connection has ended: so has all that is under way. */
void praas_end_all(struct praas_connection *conn);
void praas_learn(struct praas_connection *conn, uint32_t function, uint64_t run_ns);

/* ---- wait.c */
/* One look at everything; returns work done. */
unsigned praas_turn(struct praas_connection *conn);
/* Nothing was done: pause, yield or sleep, not beyond until_ns (0: no limit). */
void praas_idle(struct praas_connection *conn, uint64_t until_ns);

/* ---- direct.c */
/* A route for this function now; NULL: the controller's path. */
struct praas_shm_route *praas_route_choose(struct praas_connection *conn,
					   uint32_t function);
int praas_direct_send(struct praas_connection *conn, struct praas_shm_route *r,
		      const struct praas_call *call, struct praas_entry *e);
unsigned praas_direct_poll(struct praas_connection *conn);
/* One result popped from a route. 0; -EPROTO. */
int praas_direct_result(struct praas_connection *conn, struct praas_shm_route *r,
			const struct praas_desc *d);
/* A worker has said what cannot be: nothing more from it. Its calls end with the next turn. */
void praas_direct_lied(struct praas_connection *conn, struct praas_shm_route *r);
bool praas_direct_ready_any(const struct praas_connection *conn);
/* Takes back what no worker has taken. Returns how many calls. */
unsigned praas_direct_withdraw(struct praas_connection *conn);
/* Result memory of a route, of the controller's segment, or of a shared big segment. */
void praas_direct_release(struct praas_connection *conn, uint64_t token);
/* Revoked and lost routes; calls to be sent again. Returns work done. */
unsigned praas_routes_tend(struct praas_connection *conn);

/* ---- fast.c */
/* The single outstanding call: 0; -EAGAIN not for this call: use the table. */
int praas_fast_call(struct praas_connection *conn, const struct praas_call *call,
		    struct praas_result *ret_result);

/* ---- request.c */
/* Waits for an entry; takes it. until_ns: 0 no limit. 0; -EAGAIN. */
int praas_entry_wait(struct praas_connection *conn, struct praas_entry *e,
		     uint64_t until_ns);

#endif
