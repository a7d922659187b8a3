/* SPDX-License-Identifier: Apache-2.0
 *
 * The connection on which a process moves (docs/control-link.md, "Moving"): the source listens on a UNIX socket, the
 * destination comes with the secret that the control service gave to both. What goes over it are the objects that a
 * snapshot would have put into the store, and what its entry would have said. Blocking, each step for at most 10 s;
 * any thread, one per connection.
 */
#ifndef PRAAS_CONTROLLER_HAND_OVER_H
#define PRAAS_CONTROLLER_HAND_OVER_H

#include "controller/snapshot.h"
#include "transport/ticket.h"

#define PRAAS_HAND_TEXT_MAX 4096u
#define PRAAS_HAND_TOKEN_BYTES 64u
#define PRAAS_HAND_SECRET_BYTES 32u

/* What comes first. */
struct praas_hand_head {
	uint64_t slot;  /* n: the one that decides */
	uint32_t epoch; /* of the source */
	bool log;       /* its redo log has all that is handed over, durable */
	char token[PRAAS_HAND_TOKEN_BYTES +
		   1]; /* what it is known by to the control service: hex digits */
};

/* What a source hands over; all borrowed, as of praas_snapshot_write(). */
struct praas_hand_what {
	struct praas_hand_head head;
	struct praas_snapshot *snapshot;
	const struct praas_function *functions;
	uint32_t functions_count;
	const struct praas_snapshot *base;
};

/* path: absolute, at most 107 bytes; what is there is removed. 0 and a descriptor that does not block; or an errno. */
int praas_hand_listen(const char *path, int *ret_fd);
/* Who is there, if it knows the secret and is of that epoch. 0; -EAGAIN nobody; -EACCES; -EPROTO. */
int praas_hand_accept(int listen_fd, const uint8_t secret[PRAAS_HAND_SECRET_BYTES],
		      uint32_t epoch, int *ret_fd);
/* 0; -ENOENT, -ECONNREFUSED not there (yet); or an errno. */
int praas_hand_connect(const char *path, const uint8_t secret[PRAAS_HAND_SECRET_BYTES],
		       uint32_t epoch, int *ret_fd);

/**
 * The whole of a snapshot: values that lie in its base, in the store, stay there, all others are sent. As
 * praas_snapshot_write(); entry is used for its body. *ret_bytes: sent. *ret_left: also on failure, whether the last
 * part may have left. 0; -EPIPE, -ECONNRESET, -ETIMEDOUT the destination; or as praas_snapshot_write().
 */
int praas_hand_send(int fd, const struct praas_hand_what *what,
		    struct praas_slot_entry *entry, uint64_t *ret_bytes,
		    bool *ret_left);
/**
 * The other end of it. *ret_store: has what was sent, and gives what else is asked for out of under, which is kept until
 * it is freed. entry gets kind and body. bytes_max: in all. 0; -EPROTO not whole, or not what was sent; -EMSGSIZE;
 * -ENOMEM; -ECONNRESET; -ETIMEDOUT.
 */
int praas_hand_receive(int fd, uint64_t bytes_max, struct praas_store *under,
		       struct praas_hand_head *ret_head, struct praas_store **ret_store,
		       struct praas_slot_entry *ret_entry);

/* Whether something has begun to come, or the other end has gone. Never waits. */
bool praas_hand_comes(int fd);
/* What the destination says: rc 0, it is taken, text: its endpoints, a line each; else why not. */
int praas_hand_tell(int fd, int rc, const char *text);
/* Waits for it only when it has begun to come. 0 and *ret_rc; -EAGAIN nothing; -ECONNRESET it is gone; -EPROTO. */
int praas_hand_hear(int fd, int *ret_rc, char ret_text[PRAAS_HAND_TEXT_MAX]);

#endif
