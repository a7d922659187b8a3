/* SPDX-License-Identifier: Apache-2.0
 *
 * Where REST listens.
 */
#ifndef PRAAS_CONTROL_LISTEN_H
#define PRAAS_CONTROL_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/* "HOST:PORT" or "[HOST]:PORT" with a numeric host. 0; -EINVAL. */
int praas_listen_parse(const char *text, struct sockaddr_storage *ret_addr,
		       socklen_t *ret_bytes);
bool praas_listen_loopback(const struct sockaddr_storage *addr);
/* A socket that listens, or an errno. */
int praas_listen_open(const struct sockaddr_storage *addr, socklen_t bytes);
/* "http://127.0.0.1:41234", or "https://…" */
void praas_listen_url(int fd, bool tls, char *ret_url, size_t bytes_max);

#endif
