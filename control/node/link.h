/* SPDX-License-Identifier: Apache-2.0
 *
 * The link's server end (docs/control-link.md): a UNIX socket, lines of JSON, some with raw bytes
 * behind them, and the descriptors that tell of a controller's end. One thread, the link thread; it makes all upcalls, holds no lock
 * while it does, and must not be made to wait.
 */
#ifndef PRAAS_CONTROL_LINK_H
#define PRAAS_CONTROL_LINK_H

#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

struct praas_link;

/* What follows a line, as its member "bytes" says. */
struct praas_link_raw {
	uint8_t *
		data; /* malloc'd; NULL with bytes > 0: there was no room for it, it is lost */
	uint32_t bytes;
};

struct praas_link_events {
	/* A line came: an object, borrowed, and its raw part, whole. Who wants that keeps raw->data and
	 * puts NULL there. peer is the OS process on the other end. */
	void (*message)(void *user, uint64_t conn, pid_t peer, json_t *message,
			struct praas_link_raw *raw);
	/* No more messages of this connection. */
	void (*closed)(void *user, uint64_t conn);
	/* A watched pidfd became readable; it is watched no more. */
	void (*ended)(void *user, uint64_t tag);
	/* Called at the time it last asked for (and whenever woken). Returns when to call next,
	 * CLOCK_MONOTONIC ns, 0: not needed. */
	uint64_t (*tick)(void *user, uint64_t now_ns);
};

/* path is at most 107 bytes; a stale socket there is replaced. 0; -EADDRINUSE somebody listens;
 * -ENAMETOOLONG; an errno. Nothing is accepted before praas_link_start(). */
int praas_link_new(const char *path, const struct praas_link_events *events, void *user,
		   struct praas_link **ret_link);
/* The same, but who listens there loses the name to us: the caller knows that it is ours. */
int praas_link_replace(const char *path, const struct praas_link_events *events,
		       void *user, struct praas_link **ret_link);
int praas_link_start(struct praas_link *link);
/* The thread ends; no upcall after return. */
void praas_link_stop(struct praas_link *link);
void praas_link_free(struct praas_link *link);

/* Any thread. Sends one line; never waits. -ENOTCONN it is gone; -ENOBUFS it does not read. */
int praas_link_send(struct praas_link *link, uint64_t conn, const json_t *message);
/* The same with a raw part behind the line, of at most PRAAS_LIMIT_RAW_BYTES; message says "bytes". */
int praas_link_send_raw(struct praas_link *link, uint64_t conn, const json_t *message,
			const void *raw, size_t bytes);
/* Ends a connection after what was sent; closed() is still called. */
void praas_link_close(struct praas_link *link, uint64_t conn);
/* Any thread. ended(tag) will be called when pidfd is readable, once. 0; an errno. */
int praas_link_watch(struct praas_link *link, int pidfd, uint64_t tag);
/* Any thread: tick() is called soon. */
void praas_link_wake(struct praas_link *link);

#endif
