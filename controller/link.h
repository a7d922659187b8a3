/* SPDX-License-Identifier: Apache-2.0
 *
 * The controller's end of the control link (docs/control-link.md): lines of JSON over a UNIX socket, some with
 * raw bytes behind them, connected again with back-off when it breaks. Admin thread; nothing blocks but
 * praas_link_flush().
 */
#ifndef PRAAS_CONTROLLER_LINK_H
#define PRAAS_CONTROLLER_LINK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define PRAAS_LINK_LINE_MAX 65536u
#define PRAAS_LINK_RAW_MAX (1024u * 1024u + 65536u) /* bytes behind a line */
#define PRAAS_LINK_QUEUE_MAX                                                           \
	(4096u * 1024u) /* bytes not sent yet; more: the line is dropped */
#define PRAAS_LINK_BACKOFF_MIN_NS 50000000u
#define PRAAS_LINK_BACKOFF_MAX_NS 2000000000u
#define PRAAS_LINK_LOOK_NS 2000000000u /* between two looks at the socket's name */

struct praas_link;

struct praas_link_events {
	/* The socket is connected, for the first time or again. */
	void (*connected)(void *user);
	/* A line came: an object, and the raw part behind it if it has one. Borrowed. */
	void (*message)(void *user, const json_t *message, const uint8_t *raw,
			uint64_t raw_bytes);
};

/* path "": there is no control service; all calls then do nothing. 0; -ENOMEM. */
int praas_link_new(const char *path, const struct praas_link_events *events, void *user,
		   struct praas_link **ret_link);
/* One that was made with "" gets its path. */
void praas_link_target(struct praas_link *link, const char *path);
/* NULL is allowed. */
void praas_link_free(struct praas_link *link);

/* What to poll(2): the descriptor, or -1; and for what. */
int praas_link_fd(const struct praas_link *link);
short praas_link_wants(const struct praas_link *link);
/* When poll() must be called even if nothing happens; 0: never. */
uint64_t praas_link_due_ns(const struct praas_link *link);
/* Connect, read, write, as far as it goes. */
void praas_link_poll(struct praas_link *link, uint64_t now_ns);

bool praas_link_connected(const struct praas_link *link);
/* Takes the reference. 0; -ENOTCONN; -ENOBUFS; -EMSGSIZE. */
int praas_link_send(struct praas_link *link, json_t *message);
/* The same with a raw part, which message tells of as "bytes"; copied. */
int praas_link_send_raw(struct praas_link *link, json_t *message, const void *raw,
			size_t bytes);
/* Ends the connection because something that had to be said could not be: the next one begins with a join,
 * upon which control asks again for all that it waits for. */
void praas_link_renew(struct praas_link *link);
/* From now on it is looked every PRAAS_LINK_LOOK_NS whether the socket of that name is still the one that we are
 * connected to; else it connects to the one that is. For a service whose place another may take while it stands still,
 * so that the connection does not break. */
void praas_link_look(struct praas_link *link);
/* Before the end: wait until all is sent, connecting if need be, at most timeout_ns. */
void praas_link_flush(struct praas_link *link, uint64_t timeout_ns);

#endif
