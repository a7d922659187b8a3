/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/cutting_proxy.h"

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PAIRS 64
#define TICK_MS 20

struct praas_cutting_proxy {
	int listen;
	char server[108];
	pthread_t thread;
	int pairs[PAIRS][2];  /* client, server; -1 none */
	pthread_mutex_t lock; /* of all below */
	bool ends, armed;
	unsigned after, bytes, cuts;
};

static void fail(const char *what)
{
	perror(what);
	abort();
}

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	return address;
}

static void drop(struct praas_cutting_proxy *p, int i)
{
	for (int k = 0; k < 2; k++) {
		if (p->pairs[i][k] >= 0)
			(void)close(p->pairs[i][k]);
		p->pairs[i][k] = -1;
	}
}

static void accept_one(struct praas_cutting_proxy *p)
{
	struct sockaddr_un address = address_of(p->server);
	int client = accept(p->listen, NULL, NULL);
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int i = 0;

	while (i < PAIRS && p->pairs[i][0] >= 0)
		i++;
	if (client < 0 || server < 0 || i == PAIRS)
		fail("proxy");
	p->pairs[i][0] = client;
	p->pairs[i][1] = server;
	if (connect(server, (const struct sockaddr *)(const void *)&address,
		    sizeof(address)))
		drop(p, i); /* the server does not run */
}

/* How much of an answer goes on; less than all: then it is cut. */
static size_t allowed(struct praas_cutting_proxy *p, size_t bytes)
{
	size_t some = bytes;

	(void)pthread_mutex_lock(&p->lock);
	if (p->armed && p->after-- == 0) {
		p->armed = false;
		p->cuts++;
		some = p->bytes < bytes ? p->bytes : bytes - 1;
	}
	(void)pthread_mutex_unlock(&p->lock);
	return some;
}

static void pass_on(struct praas_cutting_proxy *p, int i, int from)
{
	static char data[1 << 18];
	ssize_t n = recv(p->pairs[i][from], data, sizeof(data), MSG_DONTWAIT);
	size_t some;

	if (n <= 0) {
		drop(p, i);
		return;
	}
	some = from == 1 ? allowed(p, (size_t)n) : (size_t)n;
	for (size_t at = 0; at < some;) {
		ssize_t sent =
			send(p->pairs[i][!from], data + at, some - at, MSG_NOSIGNAL);

		if (sent <= 0)
			break;
		at += (size_t)sent;
	}
	if (some < (size_t)n)
		drop(p, i);
}

static void *run(void *arg)
{
	struct praas_cutting_proxy *p = arg;
	struct pollfd fds[1 + 2 * PAIRS];
	bool ends = false;

	while (!ends) {
		fds[0] = (struct pollfd){ .fd = p->listen, .events = POLLIN };
		for (int i = 0; i < 2 * PAIRS; i++)
			fds[i + 1] = (struct pollfd){ .fd = p->pairs[i / 2][i % 2],
						      .events = POLLIN };
		if (poll(fds, 1 + 2 * PAIRS, TICK_MS) < 0)
			fail("poll");
		for (int i = 0; i < 2 * PAIRS; i++)
			if (fds[i + 1].revents && p->pairs[i / 2][i % 2] >= 0)
				pass_on(p, i / 2, i % 2);
		if (fds[0].revents)
			accept_one(p);
		(void)pthread_mutex_lock(&p->lock);
		ends = p->ends;
		(void)pthread_mutex_unlock(&p->lock);
	}
	return NULL;
}

struct praas_cutting_proxy *praas_cutting_proxy_start(const char *listen_path,
						      const char *server)
{
	struct praas_cutting_proxy *p = calloc(1, sizeof(*p));
	struct sockaddr_un address = address_of(listen_path);

	if (!p)
		fail("proxy");
	for (int i = 0; i < PAIRS; i++)
		p->pairs[i][0] = p->pairs[i][1] = -1;
	(void)pthread_mutex_init(&p->lock, NULL);
	(void)snprintf(p->server, sizeof(p->server), "%s", server);
	p->listen = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (p->listen < 0 ||
	    bind(p->listen, (const struct sockaddr *)(const void *)&address,
		 sizeof(address)) ||
	    listen(p->listen, PAIRS) || pthread_create(&p->thread, NULL, run, p))
		fail("proxy");
	return p;
}

void praas_cutting_proxy_cut(struct praas_cutting_proxy *proxy, unsigned after,
			     unsigned bytes)
{
	(void)pthread_mutex_lock(&proxy->lock);
	proxy->armed = true;
	proxy->after = after;
	proxy->bytes = bytes;
	(void)pthread_mutex_unlock(&proxy->lock);
}

unsigned praas_cutting_proxy_cuts(struct praas_cutting_proxy *proxy)
{
	unsigned cuts;

	(void)pthread_mutex_lock(&proxy->lock);
	cuts = proxy->cuts;
	(void)pthread_mutex_unlock(&proxy->lock);
	return cuts;
}

void praas_cutting_proxy_end(struct praas_cutting_proxy *proxy)
{
	(void)pthread_mutex_lock(&proxy->lock);
	proxy->ends = true;
	(void)pthread_mutex_unlock(&proxy->lock);
	(void)pthread_join(proxy->thread, NULL);
	for (int i = 0; i < PAIRS; i++)
		drop(proxy, i);
	(void)close(proxy->listen);
	(void)pthread_mutex_destroy(&proxy->lock);
	free(proxy);
}
