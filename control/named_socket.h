/* SPDX-License-Identifier: Apache-2.0
 *
 * UNIX sockets that a control service listens on. Their names are taken over: from one that a crash left, or from
 * one whose owner only stands still. He keeps his socket, but nobody finds it any more.
 */
#ifndef PRAAS_CONTROL_NAMED_SOCKET_H
#define PRAAS_CONTROL_NAMED_SOCKET_H

#include <stdbool.h>
#include <sys/types.h>

struct praas_named_socket {
	int fd;      /* listens; does not block */
	ino_t inode; /* of the name */
};

/* path has at most 100 bytes if it replaces, else 107. A stale socket there goes; so does one on which somebody
 * listens, at the moment that ours is there, if replace is said. Mode 0600. 0; -EADDRINUSE somebody listens; an errno. */
int praas_named_socket_open(const char *path, bool replace,
			    struct praas_named_socket *ret_socket);
/* Closes it; the name goes if it is still ours. fd -1: nothing. */
void praas_named_socket_close(const struct praas_named_socket *socket,
			      const char *path);

#endif
