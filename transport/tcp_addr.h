/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses and sockets of TCP.
 */
#ifndef PRAAS_TRANSPORT_TCP_ADDR_H
#define PRAAS_TRANSPORT_TCP_ADDR_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "transport/transport.h"

union praas_tcp_addr {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* "tcp://1.2.3.4:5", "tcp://[::1]:5" for scheme "tcp". 0; -EINVAL. */
int praas_tcp_addr_parse(const char *scheme, const char *text,
			 union praas_tcp_addr *ret_addr, socklen_t *ret_bytes);
/* The reverse. */
void praas_tcp_addr_format(const char *scheme, const union praas_tcp_addr *addr,
			   char ret_text[PRAAS_ADDR_MAX]);
/* A non-blocking socket, options set. 0; errno. */
int praas_tcp_socket(int family, int *ret_fd);
/* A listening one, bound to text. 0; -EINVAL; -EADDRINUSE; … */
int praas_tcp_listen(const char *scheme, const char *text, int *ret_fd);

#endif
