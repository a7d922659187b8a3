/* SPDX-License-Identifier: Apache-2.0
 *
 * One table for every transport. A *port* is one polling endpoint of one thread: it listens,
 * connects, and carries *connections*. Frames arrive whole and checked (header, lengths, kind);
 * nothing here knows what they mean, except that a connection begins with the handshake frames
 * and that sending WELCOME ends it: a transport with a faster path (shm) switches there.
 * transport/session.h does the handshake over any transport.
 *
 * A transport can be written from these comments alone; tests/conformance/ checks it.
 */
#ifndef PRAAS_TRANSPORT_TRANSPORT_H
#define PRAAS_TRANSPORT_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "praas/types.h"
#include "shm/pool.h"
#include "transport/frame.h"

struct praas_port;
struct praas_conn;
struct praas_buf;
struct praas_ticket_secret;
struct praas_lent;

/* A frame and the memory of its payload. Handles come from fixed arrays; one owner at a time. */
struct praas_buf {
	struct praas_frame head;
	uint8_t *data; /* payload, 64-byte aligned; may be NULL when head.bytes is 0 */
	/* Bytes that may be written at data; 0: memory shared with other frames, which is copied by
	 * who wants to keep it. */
	uint64_t capacity;
	/* Where the payload lies, for who passes it on by reference; segment 0: private memory. */
	uint32_t segment;
	uint64_t offset;
	struct praas_lent *lent; /* NULL, or memory that is not the port's own */
	/* Copied before it is looked at, so that nobody changes it under us. */
	uint8_t trace[PRAAS_TRACE_BYTES]; /* valid when head.flags has TRACE */
	char key[PRAAS_KEY_MAX +
		 1]; /* head.key_bytes long, NUL-terminated; no NUL inside */
	/* Gives the memory and the handle back; set by whoever made the buffer. */
	void (*release)(struct praas_buf *buf);
	void *owner;            /* of release() */
	uint64_t cookie;        /* of release() */
	struct praas_buf *next; /* free list or queue of the owner */
};

static inline void praas_buf_release(struct praas_buf *buf)
{
	if (buf)
		buf->release(buf);
}

/* Upcalls, all from poll() on the port's own thread; a handler may send and close, but must not
 * poll. Per connection: opened once, then frames, then closed once (also when it never opened).*/
struct praas_conn_events {
	/* Connected (we) or accepted (they); frames may be sent. Not authenticated yet. */
	void (*opened)(void *user, struct praas_conn *conn);
	/* buf is given: release it (or send it on). head is checked; head.source is peer_source,
	 * whatever the peer wrote; head.deadline_ns is CLOCK_MONOTONIC. With capacity 0 the
	 * memory is received into again once buf is released, whatever references a pool may
	 * count. */
	void (*frame)(void *user, struct praas_conn *conn, struct praas_buf *buf);
	/* A buf given to send() is done: rc 0 sent, or why not. buf is released after return. */
	void (*sent)(void *user, struct praas_conn *conn, struct praas_buf *buf,
		     int rc);
	/* rc: 0 the peer closed in order; -ECONNRESET, -EPROTO, -ETIMEDOUT, … The conn is gone
	 * after return. */
	void (*closed)(void *user, struct praas_conn *conn, int rc);
};

/* Common head of every transport's connection. */
struct praas_conn {
	const struct praas_transport_ops *ops;
	struct praas_port *port;
	const struct praas_conn_events *events;
	void *user;           /* of events */
	uint64_t bytes_max;   /* largest payload accepted; set after the handshake */
	uint64_t peer_source; /* identity that the ticket proved; 0 before */
	uint64_t peer_rights; /* enum praas_right bits; 0 before */
	bool peer_follows;    /* it goes along when the process moves; false before */
	uint64_t sends;       /* sequence of the last frame sent */
	/* Of a client, for a transport that encrypts: what it shows and proves. Borrowed until
	 * opened(), set before the poll after connect(); NULL: it has none. */
	const struct praas_ticket_secret *secret;
	/* One observer of the connection's end, whoever ends it (NULL: none); it must not use
	 * the connection. Set by transport/session.c, called by praas_conn_end(). */
	void (*ended)(void *watcher);
	void *watcher; /* of ended */
	/* Of transports that keep a list of connections with something to do (transport/port.h). */
	struct praas_conn *active_next;
	bool active;
};

/* Every transport calls it once per connection: after closed() returned, or in close(). */
static inline void praas_conn_end(struct praas_conn *conn)
{
	void (*ended)(void *) = conn->ended;

	conn->ended = NULL;
	if (ended)
		ended(conn->watcher);
}

static inline void praas_conn_set_events(struct praas_conn *conn,
					 const struct praas_conn_events *events,
					 void *user)
{
	conn->events = events;
	conn->user = user;
}

/* A stretch of memory that stays where it is while it is there. */
struct praas_region {
	uint8_t *base;
	uint64_t bytes;
};

/* Who has told a device about regions hears before one goes. */
struct praas_region_watch {
	void (*going)(void *user, const struct praas_region *region);
	void *user;
	struct praas_region_watch *next; /* of the memory */
};

/* Memory that buffers given to any port may lie in, though it is not that port's: who owns it lends it
 * (a worker's arena). It goes with praas_region_going(watches, &region), when no buffer in it is out. */
struct praas_lent {
	struct praas_region region;
	struct praas_region_watch *watches;
};

/* Memory that a port receives into and may send from. Implemented by the owner of the pools. */
struct praas_memory {
	/* A buffer of at least bytes in memory that workers can map; -ENOBUFS, -EMSGSIZE. */
	int (*alloc)(void *user, uint64_t bytes, struct praas_buf **ret_buf);
	/* The region that buf lies in: one for many buffers where that can be, to be registered with
	 * a device once; buf is not lent. It goes by buf's owner, not by who releases it. False: buf is
	 * of other memory. NULL: there are none. */
	bool (*region)(void *user, const struct praas_buf *buf,
		       struct praas_region *ret_region);
	/* watch is kept until it is called again with on = false; before the memory ends. Not NULL
	 * where region is not. */
	void (*watch)(void *user, struct praas_region_watch *watch, bool on);
	void *user;
};

/* For owners of memory: their list of watches. */
void praas_region_watch_set(struct praas_region_watch **list,
			    struct praas_region_watch *watch, bool on);
void praas_region_going(struct praas_region_watch *list,
			const struct praas_region *region);

struct praas_port_config {
	const char *listen; /* address, NULL: connects only */
	const struct praas_memory *memory;
	const struct praas_conn_events *accept_events; /* of accepted connections */
	void *accept_user;
	/* A transport that encrypts: the session key of a ticket, of accept_user. 0; an error:
	 * refused. */
	int (*accept_key)(void *user, const uint8_t *ticket, uint8_t *ret_key);
	uint32_t conns_max;           /* more are refused; 0: 1024 */
	uint32_t unauthenticated_max; /* of those without handshake; 0: 64 */
	uint64_t handshake_bytes_max; /* payload limit before authentication; 0: 4096 */
	uint64_t
		send_queue_max; /* bytes queued per connection before -EAGAIN; 0: 1 MiB */
	uint64_t
		stall_timeout_ns; /* a partial frame or a full send queue may last; 0: 10 s */
};

#define PRAAS_ADDR_MAX 128u

struct praas_transport_ops {
	const char *scheme; /* "tcp", "tls", "shm" */
	/* What goes over it cannot be read or changed on its way. Where a process offers TLS, a
	 * client does not choose one that is not so by itself. */
	bool sealed;

	/* Open a port; config is copied, what it points to is kept until free. Addresses:
	 * "tcp://127.0.0.1:0", "tcp://[::1]:7000", "shm:///run/praas/x.sock".
	 * Returns 0; -EINVAL address; -EADDRINUSE; … Nothing is left on failure. */
	int (*open)(const struct praas_port_config *config,
		    struct praas_port **ret_port);
	/* NULL, or why the last open() of this thread failed, in words; "" when its result says it. */
	const char *(*why)(void);
	/* NULL, or in words what this machine has for it ("2 devices: …"), whatever open() would
	 * need; cold, up to seconds. 0; -ENODEV nothing; -EPROTONOSUPPORT a library is missing;
	 * -EINVAL what is said of it is wrong. Words are written in any case. */
	int (*probe)(char *ret_text, size_t bytes);
	/* Where it listens, with the port number the kernel chose. 0; -ENOTCONN. */
	int (*address)(const struct praas_port *port, char ret_addr[PRAAS_ADDR_MAX]);
	/* Start connecting; the outcome is opened or closed, exactly once, unless close() is
	 * called first. *ret_conn is valid from now on. */
	int (*connect)(struct praas_port *port, const char *addr,
		       const struct praas_conn_events *events, void *user,
		       struct praas_conn **ret_conn);
	/* A buffer that this connection sends without copying. 0; -ENOBUFS (now), -EMSGSIZE. */
	int (*alloc)(struct praas_conn *conn, uint64_t bytes,
		     struct praas_buf **ret_buf);
	/* 0: buf is given, until sent() (exactly once, from poll) after which the transport
	 * releases it; head.sequence and head.deadline_ns are changed here. It may wait for the
	 * next poll() to leave. -EAGAIN the queue is full: it is still the caller's.
	 * -ENOTCONN. buf may come from any memory; a foreign one may cost a copy. */
	int (*send)(struct praas_conn *conn, struct praas_buf *buf);
	/* NULL, or a shorter way to send a frame without payload, key or trace: nothing is allocated
	 * and sent() is not told. For transports whose frames carry no epoch: head's is not looked
	 * at. Errors as send(). */
	int (*send_head)(struct praas_conn *conn, const struct praas_frame *head);
	/* NULL, or one cheap look. False: one connection alone had frames in the last turns, and
	 * has none now, so poll() is hardly worth its price; else true. */
	bool (*ready)(const struct praas_port *port);
	/* At most budget units of work (frames, accepts); returns those done. Never blocks. */
	unsigned (*poll)(struct praas_port *port, unsigned budget);
	/* NULL, or the first half of arm(), for who sleeps on several parts: all of them are announced,
	 * then praas_doorbell_fence_producers() once for all, which interrupts other cores, then each
	 * is armed. */
	void (*announce)(struct praas_port *port);
	/* About to sleep: -EAGAIN there is work; 0: *ret_fd becomes readable when there is, and
	 * the next poll() undoes the arming. -1 in ret_fd: nothing to wait for. What was not announced
	 * before is, and fenced. */
	int (*arm)(struct praas_port *port, int *ret_fd);
	/* No upcall for conn after return, but sent(-ECANCELED) for queued buffers before it.
	 * after_flush: what is queued is sent first, in the background, within stall_timeout;
	 * sent(0) is told for it now. */
	void (*close)(struct praas_conn *conn, bool after_flush);
	void (*free)(struct praas_port *port);
};

/* The base of every port. */
struct praas_port {
	const struct praas_transport_ops *ops;
	uint64_t copies; /* payloads copied by us */
	uint64_t frames_in, frames_out, bytes_in, bytes_out, protocol_errors;
	struct praas_conn *active_first, *active_last; /* praas_conn_activate() */
};

/* All of this build, in the order in which a client tries them; NULL behind the last. */
const struct praas_transport_ops *praas_transport_at(unsigned index);
/* By address ("tcp://…") or scheme. NULL: no such transport in this build. */
const struct praas_transport_ops *praas_transport_find(const char *addr_or_scheme);

/* Why ops->open() in this thread returned rc, in words; valid until the next. */
const char *praas_transport_why(const struct praas_transport_ops *ops, int rc);

/* Sends buf or releases it: for replies that nobody can retry. */
static inline int praas_conn_send_or_release(struct praas_conn *conn,
					     struct praas_buf *buf)
{
	int rc = conn->ops->send(conn, buf);

	if (praas_unlikely(rc != 0))
		praas_buf_release(buf);
	return rc;
}

#endif
