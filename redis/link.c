/* SPDX-License-Identifier: Apache-2.0 */
#include "redis/link.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "internal/base.h"

#define ERROR_TEXT 256u
#define READ_BYTES (64u * 1024)

struct praas_redis_link {
	int fd;
	struct praas_redis_tls *tls; /* NULL: none */
	struct praas_redis_reader reader;
	char data[READ_BYTES];
};

/* 0; -ETIMEDOUT. */
static int wait_for(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd p = { .fd = fd, .events = events };
	uint64_t now = praas_now_ns();
	int n;

	do {
		if (now >= deadline_ns)
			return -ETIMEDOUT;
		n = poll(&p, 1, (int)((deadline_ns - now) / 1000000 + 1));
		now = praas_now_ns();
	} while (n == 0 || (n < 0 && errno == EINTR));
	return n < 0 ? -errno : 0;
}

static int connect_to(const struct sockaddr *address, socklen_t bytes,
		      uint64_t deadline_ns, int *ret_fd)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			0);
	int one = 1, error = 0, rc = fd < 0 ? -errno : 0;
	socklen_t error_bytes = sizeof(error);

	if (rc)
		return rc;
	if (connect(fd, address, bytes)) {
		/* A UNIX socket whose backlog is full says EAGAIN: it is tried again. */
		rc = errno == EINPROGRESS ? wait_for(fd, POLLOUT, deadline_ns) : -errno;
		if (rc == 0 &&
		    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_bytes))
			rc = -errno;
		rc = rc ? rc : -error;
	}
	if (rc == 0 && address->sa_family != AF_UNIX) {
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	}
	if (rc)
		(void)close(fd);
	else
		*ret_fd = fd;
	return rc;
}

static int connect_local(const char *path, uint64_t deadline_ns, int *ret_fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	return connect_to((const struct sockaddr *)(const void *)&address,
			  sizeof(address), deadline_ns, ret_fd);
}

/* The addresses of a name one after the other, each for its part of the time: the first may be one that says nothing.
 */
static int connect_host(const struct praas_redis_url *url, uint64_t deadline_ns,
			int *ret_fd)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *all = NULL;
	int rc = -EHOSTUNREACH, found = getaddrinfo(url->host, url->port, &hints, &all);
	unsigned left = 0;

	if (found)
		return found == EAI_AGAIN ? -EAGAIN : -EHOSTUNREACH;
	for (const struct addrinfo *one = all; one; one = one->ai_next)
		left++;
	for (const struct addrinfo *one = all; one && rc; one = one->ai_next, left--) {
		uint64_t now = praas_now_ns();
		uint64_t span = (deadline_ns - praas_min_u64(now, deadline_ns)) / left;

		rc = connect_to(one->ai_addr, one->ai_addrlen, now + span, ret_fd);
	}
	freeaddrinfo(all);
	return rc;
}

int praas_redis_link_open(const struct praas_redis_url *url,
			  struct praas_redis_tls_context *tls, uint64_t deadline_ns,
			  struct praas_redis_link **ret_link, char *ret_text)
{
	struct praas_redis_link *link = calloc(1, sizeof(*link));
	int rc = link ? 0 : -ENOMEM;

	if (link) {
		link->fd = -1;
		rc = url->local ? connect_local(url->socket, deadline_ns, &link->fd)
				: connect_host(url, deadline_ns, &link->fd);
	}
	if (rc == 0 && tls)
		rc = praas_redis_tls_new(tls, link->fd, &link->tls);
	if (rc == 0)
		rc = praas_redis_reader_open(&link->reader);
	if (rc) {
		(void)snprintf(ret_text, ERROR_TEXT,
			       "no connection to %.150s%s%.5s: %s",
			       url->local ? url->socket : url->host,
			       url->local ? "" : ":", url->local ? "" : url->port,
			       rc == -EHOSTUNREACH ? "no such host, or no way there"
						   : strerror(-rc));
		praas_redis_link_free(link);
		return rc;
	}
	*ret_link = link;
	return 0;
}

void praas_redis_link_free(struct praas_redis_link *link)
{
	if (!link)
		return;
	praas_redis_reader_close(&link->reader);
	praas_redis_tls_free(link->tls);
	if (link->fd >= 0)
		(void)close(link->fd);
	free(link);
}

static ssize_t write_some(struct praas_redis_link *link, const char *data, size_t bytes,
			  short *ret_events)
{
	ssize_t n;

	*ret_events = POLLOUT;
	if (link->tls)
		return praas_redis_tls_write(link->tls, data, bytes, ret_events);
	n = send(link->fd, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
	return n < 0 ? -errno : n;
}

static ssize_t read_some(struct praas_redis_link *link, short *ret_events)
{
	ssize_t n;

	*ret_events = POLLIN;
	if (link->tls)
		return praas_redis_tls_read(link->tls, link->data, sizeof(link->data),
					    ret_events);
	n = recv(link->fd, link->data, sizeof(link->data), MSG_DONTWAIT);
	return n < 0 ? -errno : n;
}

static int send_all(struct praas_redis_link *link, const char *data, size_t bytes,
		    uint64_t deadline_ns)
{
	size_t at = 0;
	int rc = 0;

	while (rc == 0 && at < bytes) {
		short events;
		ssize_t n = write_some(link, data + at, bytes - at, &events);

		if (n > 0)
			at += (size_t)n;
		else if (n == -EAGAIN || n == -EINTR)
			rc = wait_for(link->fd, events, deadline_ns);
		else
			rc = n == 0 ? -ECONNRESET : (int)n;
	}
	return rc;
}

static int receive(struct praas_redis_link *link, uint64_t deadline_ns,
		   redisReply **ret_reply)
{
	int rc = praas_redis_reader_feed(&link->reader, NULL, 0, ret_reply);

	while (rc == 0 && !*ret_reply) {
		short events;
		ssize_t n = read_some(link, &events);

		if (n > 0)
			rc = praas_redis_reader_feed(&link->reader, link->data,
						     (size_t)n, ret_reply);
		else if (n == -EAGAIN || n == -EINTR)
			rc = wait_for(link->fd, events, deadline_ns);
		else
			rc = n == 0 ? -ECONNRESET : (int)n;
	}
	return rc;
}

int praas_redis_link_ask(struct praas_redis_link *link,
			 const struct praas_redis_args *args, uint64_t deadline_ns,
			 redisReply **ret_reply, char *ret_text)
{
	const char *argv[PRAAS_REDIS_ARGS];
	char *command = NULL;
	int bytes, rc;

	memcpy(argv, args->argv,
	       sizeof(argv)); /* hiredis changes nothing, and does not say so */
	bytes = redisFormatCommandArgv(&command, args->count, argv, args->bytes);
	rc = bytes < 0 ? -ENOMEM : send_all(link, command, (size_t)bytes, deadline_ns);
	if (bytes >= 0)
		redisFreeCommand(command);
	if (rc == 0)
		rc = receive(link, deadline_ns, ret_reply);
	if (rc && link->tls && praas_redis_tls_why(link->tls)[0])
		(void)snprintf(ret_text, ERROR_TEXT, "%.250s",
			       praas_redis_tls_why(link->tls));
	else if (rc)
		(void)snprintf(ret_text, ERROR_TEXT, "%s",
			       rc == -EPROTO ? "it does not speak the protocol of Redis"
					     : strerror(-rc));
	return rc;
}
