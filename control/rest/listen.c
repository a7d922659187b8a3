/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rest/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control/names.h"
#include "control/patience.h"

int praas_listen_parse(const char *text, struct sockaddr_storage *ret_addr,
		       socklen_t *ret_bytes)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC,
				  .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
	struct addrinfo *found;
	const char *colon = strrchr(text, ':');
	uint64_t port;
	char host[64];
	size_t n;

	if (!colon || praas_number_parse(colon + 1, 65535, &port))
		return -EINVAL;
	n = (size_t)(colon - text);
	if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
	}
	if (n == 0 || n >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, n);
	host[n] = 0;
	if (getaddrinfo(host, colon + 1, &hints, &found))
		return -EINVAL;
	memcpy(ret_addr, found->ai_addr, found->ai_addrlen);
	*ret_bytes = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

bool praas_listen_loopback(const struct sockaddr_storage *addr)
{
	if (addr->ss_family == AF_INET) {
		const struct sockaddr_in *four =
			(const struct sockaddr_in *)(const void *)addr;

		return ntohl(four->sin_addr.s_addr) >> 24 == 127;
	}
	if (addr->ss_family == AF_INET6) {
		const struct sockaddr_in6 *six =
			(const struct sockaddr_in6 *)(const void *)addr;

		return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
	}
	return false;
}

static int try_to_listen(const struct sockaddr_storage *addr, socklen_t bytes)
{
	int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, rc = 0;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)(const void *)addr, bytes) ||
	    listen(fd, SOMAXCONN))
		rc = -errno;
	if (rc) {
		(void)close(fd);
		return rc;
	}
	return fd;
}

int praas_listen_open(const struct sockaddr_storage *addr, socklen_t bytes)
{
	struct praas_patience patience = { 0 };
	int fd;

	do
		fd = try_to_listen(addr, bytes);
	while (fd == -EADDRINUSE && praas_patience_left(&patience));
	return fd;
}

void praas_listen_url(int fd, bool tls, char *ret_url, size_t bytes_max)
{
	struct sockaddr_storage addr = { 0 };
	socklen_t bytes = sizeof(addr);
	char host[64] = "", port[8] = "";

	if (getsockname(fd, (struct sockaddr *)&addr, &bytes) == 0)
		(void)getnameinfo((struct sockaddr *)&addr, bytes, host, sizeof(host),
				  port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
	(void)snprintf(ret_url, bytes_max,
		       addr.ss_family == AF_INET6 ? "http%s://[%s]:%s"
						  : "http%s://%s:%s",
		       tls ? "s" : "", host, port);
}
