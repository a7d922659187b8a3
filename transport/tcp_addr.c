/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/tcp_addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG 1024
/* A dead host is noticed after 5 + 3 × 5 s (seconds, seconds, probes). */
#define KEEP_IDLE_S 5
#define KEEP_INTERVAL_S 5
#define KEEP_COUNT 3
/* The same for what was sent: keep-alive says nothing while something is not acknowledged, and left to itself the
 * kernel sends that again for a quarter of an hour. It counts for a peer whose window is shut, too. */
#define UNACKNOWLEDGED_MS 20000

static int parse_port(const char *text, in_port_t *ret_port)
{
	unsigned long value = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9' && p - text < 6; p++)
		value = value * 10 + (unsigned long)(*p - '0');
	if (p == text || *p != '\0' || value > 65535)
		return -EINVAL;
	*ret_port = htons((uint16_t)value);
	return 0;
}

int praas_tcp_addr_parse(const char *scheme, const char *text,
			 union praas_tcp_addr *ret_addr, socklen_t *ret_bytes)
{
	char host[INET6_ADDRSTRLEN];
	union praas_tcp_addr addr;
	const char *end;
	size_t bytes = strlen(scheme);
	bool v6;
	int rc;

	if (strncmp(text, scheme, bytes) != 0 || strncmp(text + bytes, "://", 3) != 0)
		return -EINVAL;
	text += bytes + 3;
	v6 = *text == '[';
	text += v6;
	end = strchr(text, v6 ? ']' : ':');
	if (end == NULL || (v6 && end[1] != ':'))
		return -EINVAL;
	bytes = (size_t)(end - text);
	if (bytes >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, bytes);
	host[bytes] = '\0';
	memset(&addr, 0, sizeof(addr));
	if (v6) {
		addr.v6.sin6_family = AF_INET6;
		if (inet_pton(AF_INET6, host, &addr.v6.sin6_addr) != 1)
			return -EINVAL;
		rc = parse_port(end + 2, &addr.v6.sin6_port);
	} else {
		addr.v4.sin_family = AF_INET;
		if (inet_pton(AF_INET, host, &addr.v4.sin_addr) != 1)
			return -EINVAL;
		rc = parse_port(end + 1, &addr.v4.sin_port);
	}
	if (rc != 0)
		return rc;
	*ret_addr = addr;
	*ret_bytes = v6 ? sizeof(addr.v6) : sizeof(addr.v4);
	return 0;
}

void praas_tcp_addr_format(const char *scheme, const union praas_tcp_addr *addr,
			   char ret_text[PRAAS_ADDR_MAX])
{
	char host[INET6_ADDRSTRLEN] = "";

	if (addr->any.sa_family == AF_INET6) {
		(void)inet_ntop(AF_INET6, &addr->v6.sin6_addr, host,
				sizeof(host)); /* fits */
		(void)snprintf(ret_text, PRAAS_ADDR_MAX, "%s://[%s]:%u", scheme, host,
			       ntohs(addr->v6.sin6_port));
	} else {
		(void)inet_ntop(AF_INET, &addr->v4.sin_addr, host,
				sizeof(host)); /* fits */
		(void)snprintf(ret_text, PRAAS_ADDR_MAX, "%s://%s:%u", scheme, host,
			       ntohs(addr->v4.sin_port));
	}
}

static int set_option(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) == 0 ? 0 : -errno;
}

int praas_tcp_socket(int family, int *ret_fd)
{
	int fd =
		socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	int rc;

	if (fd < 0)
		return -errno;
	rc = set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (rc == 0)
		rc = set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	if (rc == 0)
		rc = set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S);
	if (rc == 0)
		rc = set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL_S);
	if (rc == 0)
		rc = set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEP_COUNT);
	if (rc == 0)
		rc = set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS);
	if (rc != 0) {
		(void)close(fd); /* nothing was sent */
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

int praas_tcp_listen(const char *scheme, const char *text, int *ret_fd)
{
	union praas_tcp_addr addr;
	socklen_t bytes;
	int fd = -1, rc = praas_tcp_addr_parse(scheme, text, &addr, &bytes);

	if (rc != 0)
		return rc;
	/* Accepted sockets inherit its options. */
	rc = praas_tcp_socket(addr.any.sa_family, &fd);
	if (rc != 0)
		return rc;
	rc = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (rc == 0 && addr.any.sa_family == AF_INET6)
		rc = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (rc == 0 && bind(fd, &addr.any, bytes) != 0)
		rc = -errno;
	if (rc == 0 && listen(fd, BACKLOG) != 0)
		rc = -errno;
	if (rc != 0) {
		(void)close(fd); /* nothing was sent */
		return rc;
	}
	*ret_fd = fd;
	return 0;
}
