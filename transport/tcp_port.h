/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the TCP transport share: the port, its connections, and who does what.
 *
 *   tcp.c         the table: open, poll, arm, free
 *   tcp_conn.c    a connection's life: connect, accept, close
 *   tcp_recv.c    from bytes to upcalls; hot and idle connections
 *   tcp_send.c    the send queue
 *   tcp_ring.c    io_uring
 *   tcp_stream.c, tcp_chunks.c   parsing and memory, without system calls
 *
 *   CONNECTING ──▶ OPEN ──close(after_flush)──▶ FLUSHING ──all sent──▶ LINGERING ──▶ DEAD ──▶ FREE
 *        └───────────┴── error, peer's end, close() ────────────────────────────────▶┘
 * DEAD waits for the kernel to let go of what was begun on the socket.
 *
 * TLS: the bytes of a connection pass praas_tcp_io_recv() and praas_tcp_io_send(), nothing else
 * touches the socket's data; there, with a port of "tls://", the record layer (transport/tls.h)
 * stands. Such a port has no multishot receive. What TLS has received and not given out is work
 * (praas_tcp_unread()), since the socket does not become readable by it.
 */
#ifndef PRAAS_TRANSPORT_TCP_PORT_H
#define PRAAS_TRANSPORT_TCP_PORT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <liburing.h>

#include "internal/base.h"
#include "transport/port.h"
#include "transport/tcp.h"
#include "transport/tcp_chunks.h"
#include "transport/tcp_stream.h"
#include "transport/tls.h"

enum praas_tcp_state {
	PRAAS_TCP_FREE = 0,
	PRAAS_TCP_CONNECTING, /* no upcall yet */
	PRAAS_TCP_OPEN,
	PRAAS_TCP_FLUSHING,  /* closed by us; what is queued is still sent */
	PRAAS_TCP_LINGERING, /* all sent and shut down; until the peer has seen it */
	PRAAS_TCP_DEAD       /* socket closed; operations may be outstanding */
};

/* What an io_uring operation is; with the connection's index it is the user_data. */
enum praas_tcp_op {
	PRAAS_TCP_OP_RECV = 1, /* multishot into provided buffers */
	PRAAS_TCP_OP_POLL_IN,  /* one-shot readiness */
	PRAAS_TCP_OP_POLL_OUT,
	PRAAS_TCP_OP_CANCEL,
	PRAAS_TCP_OP_ACCEPT, /* of the port */
	PRAAS_TCP_OP_TIMER   /* of the port */
};

struct praas_tcp_conn {
	struct praas_conn base;
	int fd;
	uint32_t index;
	uint8_t state; /* enum praas_tcp_state */
	uint8_t ops;   /* io_uring operations outstanding */
	bool recv_armed, recv_cancelling, poll_in_armed, poll_out_armed;
	bool hot;           /* read by plain recv every poll */
	bool watched;       /* in the port's watch list */
	bool corked;        /* more frames to hand up: answers wait */
	bool accepted;      /* by us, not connected */
	bool authenticated; /* WELCOME was sent */
	bool eof;           /* the peer will send no more */
	bool readable;      /* polled to be so; not hot */
	bool starved;       /* waits for memory of ours */
	bool quiet;         /* the layer above hears nothing more */
	bool opened_due;    /* opened() has not been told yet */
	int end_rc; /* why it will be ended when its frames are handed up, or PRAAS_TCP_GOING */
	uint32_t cold;       /* empty polls while hot */
	uint64_t sent_turn;  /* port turn of the last send() */
	uint32_t turn_sends; /* sends in that turn */
	bool burst;          /* there were several in the one before: wait for more */

	struct praas_tls *tls; /* NULL: none, or not begun */
	struct praas_tcp_stream stream;
	struct praas_tcp_chunk *rx_first,
		*rx_last; /* received by io_uring, not parsed yet */

	struct praas_send_queue unsent; /* to send; bytes: of these, on the wire */
	uint64_t tx_done;               /* of the first, already sent */
	struct praas_send_queue left;   /* sent, sent() not told yet */

	uint32_t streak; /* receives by io_uring since it was last hot */
	uint64_t received, received_then; /* bytes ever, and when stall_since was set */
	uint64_t sent, sent_then;
	uint64_t frames, frames_then; /* handed up */
	uint64_t stall_since_ns;      /* 0: not yet looked at */
	struct praas_tcp_conn *watch_prev, *watch_next;
	struct praas_tcp_conn *free_next; /* free slots, or zombies */
};

#define PRAAS_TCP_HOT_MAX 4u /* beside those that receive a large payload */
#define PRAAS_TCP_HOT_ALL 64u
#define PRAAS_TCP_SCRATCH_BYTES 65536u
#define PRAAS_TCP_GOING 1 /* end_rc of a connection that is not to be ended */

struct praas_tcp_port {
	struct praas_port base;
	struct praas_port_config config;
	struct praas_tcp_chunks chunks;
	struct praas_tls_context *tls; /* NULL: clear */

	struct io_uring ring;
	int event_fd;     /* what the kernel tells while we sleep */
	bool event_armed; /* it shall tell */
	int owner;        /* thread that polls, or did last; 0 before */
	bool pinned;      /* only that thread may */
	bool started;     /* enabled, by the thread that polls */
	bool task_flag;   /* the kernel tells by a flag when it has work for us */
	bool multishot;   /* provided buffers work */
	bool timer_armed;
	struct __kernel_timespec timer;
	struct io_uring_buf_ring *provided;
	uint32_t provided_entries;               /* power of two */
	uint32_t provided_count;                 /* chunks in it */
	struct praas_tcp_chunk **provided_chunk; /* by buffer id */

	int listen_fd;
	int spare_fd; /* given up to refuse a connection when descriptors run out */
	bool accept_armed;

	struct praas_tcp_conn *conn; /* slots */
	uint32_t slots, used, unauthenticated;
	uint32_t slots_made; /* those before were used once */
	struct praas_tcp_conn *free_slots, *zombies;
	struct praas_tcp_conn *watch;
	struct praas_tcp_conn *hot[PRAAS_TCP_HOT_ALL];
	uint32_t hot_count, hot_max;

	uint64_t turn;   /* polls */
	uint64_t now_ns; /* when it was last looked at */
	uint8_t *
		scratch; /* headers and small payloads on their way out; bytes to discard */
};

static inline struct praas_tcp_port *praas_tcp_port_of(
	const struct praas_tcp_conn *conn)
{
	return (struct praas_tcp_port *)(void *)conn->base.port;
}

static inline struct praas_tcp_conn *praas_tcp_conn_of(struct praas_conn *conn)
{
	return (struct praas_tcp_conn *)(void *)conn;
}

/* ---- tcp_ring.c ---- */
/* From now on event_fd becomes readable with the next completion; and back. */
void praas_tcp_ring_sleep(struct praas_tcp_port *port);
void praas_tcp_ring_awake(struct praas_tcp_port *port);
int praas_tcp_ring_init(struct praas_tcp_port *port);
void praas_tcp_ring_release(struct praas_tcp_port *port);
/* Enables the ring for the calling thread, once. 0; errno. */
int praas_tcp_ring_start(struct praas_tcp_port *port);
/* Gives the kernel what is queued and takes what is done. */
void praas_tcp_ring_turn(struct praas_tcp_port *port);
void praas_tcp_ring_submit(struct praas_tcp_port *port);
/* May the calling thread poll? */
bool praas_tcp_ring_is_owner(const struct praas_tcp_port *port);
/* True when the next turn would find something. */
bool praas_tcp_ring_ready(const struct praas_tcp_port *port);
/* Free chunks go to the kernel. */
void praas_tcp_ring_provide(struct praas_tcp_port *port);
bool praas_tcp_ring_accept(struct praas_tcp_port *port);
bool praas_tcp_ring_timer(struct praas_tcp_port *port, uint64_t ns);
bool praas_tcp_ring_recv(struct praas_tcp_conn *conn);
bool praas_tcp_ring_poll(struct praas_tcp_conn *conn, enum praas_tcp_op op);
bool praas_tcp_ring_cancel(struct praas_tcp_conn *conn, enum praas_tcp_op op);
/* All that is outstanding on the socket; submitted at once, so that it may be closed. */
void praas_tcp_ring_cancel_all(struct praas_tcp_conn *conn);

/* ---- tcp_conn.c ---- */
int praas_tcp_connect(struct praas_port *base, const char *addr,
		      const struct praas_conn_events *events, void *user,
		      struct praas_conn **ret_conn);
void praas_tcp_close(struct praas_conn *base, bool after_flush);
void praas_tcp_on_accept(struct praas_tcp_port *port, int res);
void praas_tcp_on_connected(struct praas_tcp_conn *conn);
/* Before opened(): the TLS handshake. 0 done, or none needed; -EAGAIN; why not. */
int praas_tcp_secure(struct praas_tcp_conn *conn);
/* Queued buffers get sent(rc), the layer above closed(rc), the socket is closed. */
void praas_tcp_end(struct praas_tcp_conn *conn, int rc);
/* FLUSHING and LINGERING: goes on as far as it can. */
void praas_tcp_flush_out(struct praas_tcp_conn *conn);
void praas_tcp_destroy(struct praas_tcp_conn *conn);
/* Puts dead connections without outstanding operations back into use. */
void praas_tcp_reap(struct praas_tcp_port *port);
void praas_tcp_watch(struct praas_tcp_conn *conn);
void praas_tcp_unwatch(struct praas_tcp_conn *conn);
/* Ends connections that have not moved for the stall timeout. */
void praas_tcp_check_stalls(struct praas_tcp_port *port);

/* ---- tcp_recv.c ---- */
/* The record layer has bytes for which the socket does not become readable. */
static inline bool praas_tcp_unread(const struct praas_tcp_conn *conn)
{
	return conn->tls != NULL && praas_tls_unread(conn->tls);
}
/* -EAGAIN nothing there; 0 the peer's end; bytes > 0; errno. */
int64_t praas_tcp_io_recv(struct praas_tcp_conn *conn, void *data, uint64_t bytes);
/* io_uring has received fill bytes into chunk, which is given. */
void praas_tcp_on_bytes(struct praas_tcp_conn *conn, struct praas_tcp_chunk *chunk,
			uint32_t fill);
void praas_tcp_on_recv_end(struct praas_tcp_conn *conn, int res);
/* Reads a hot connection once and hands up what came; at most budget frames. */
unsigned praas_tcp_recv_hot(struct praas_tcp_conn *conn, unsigned budget);
/* Hands up what is there; then sees to it that more will come. */
unsigned praas_tcp_recv_run(struct praas_tcp_conn *conn, unsigned budget);
void praas_tcp_make_hot(struct praas_tcp_conn *conn);
void praas_tcp_make_cold(struct praas_tcp_conn *conn);
/* Nothing more is received: gives back all memory of the receiving side. */
void praas_tcp_stop_receiving(struct praas_tcp_conn *conn);

/* ---- tcp_send.c ---- */
/* Says that we send no more. */
void praas_tcp_io_end(struct praas_tcp_conn *conn);
/* As recv. */
int64_t praas_tcp_io_send(struct praas_tcp_conn *conn, const struct iovec *iov,
			  unsigned count);
int praas_tcp_alloc(struct praas_conn *base, uint64_t bytes,
		    struct praas_buf **ret_buf);
int praas_tcp_send(struct praas_conn *base, struct praas_buf *buf);
/* Sends what is queued as far as the socket takes it. 0; errno: the connection is to be ended. */
int praas_tcp_flush(struct praas_tcp_conn *conn);
/* Tells sent() for what has been sent, unless quiet. */
void praas_tcp_tell_sent(struct praas_tcp_conn *conn);
/* sent(rc) for everything queued, unless quiet; releases it when rc is not 0. */
void praas_tcp_tell_queue(struct praas_tcp_conn *conn, int rc);

#endif
