/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/crowd.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "perf/rest.h"

#define ROUND_NS 1000000000l /* between two bytes of a slow one */

struct praas_crowd {
	const char *url;
	unsigned idle, slow;
	int *fds; /* the idle ones, then the slow */
	pthread_t thread;
	bool running;
	_Atomic bool over;
	_Atomic unsigned cut;
};

static int connect_one(const char *url, bool slow)
{
	static const char begin[] = "GET /healthz HTTP/1.1\r\nX-Slow: ";
	struct praas_rest_client c;
	int rc = praas_rest_connect(&c, url);

	free(c.data);
	if (rc != 0) {
		if (c.fd >= 0)
			(void)close(c.fd);
		return rc;
	}
	if (slow)
		(void)!send(c.fd, begin, sizeof begin - 1, MSG_NOSIGNAL);
	return c.fd;
}

/* One byte more; in place of one that was cut a new one. */
static void trickle(struct praas_crowd *c, int *fd)
{
	char end;

	if (*fd >= 0 && recv(*fd, &end, 1, MSG_DONTWAIT) != 0 &&
	    send(*fd, "y", 1, MSG_NOSIGNAL) == 1)
		return;
	atomic_fetch_add_explicit(&c->cut, 1, memory_order_relaxed);
	if (*fd >= 0)
		(void)close(*fd);
	*fd = connect_one(c->url, true);
}

static void *thread_main(void *arg)
{
	struct praas_crowd *c = arg;
	unsigned i = 0;

	while (!atomic_load_explicit(&c->over, memory_order_relaxed)) {
		struct timespec pause = { .tv_nsec = ROUND_NS / (long)c->slow };

		trickle(c, &c->fds[c->idle + i++ % c->slow]);
		(void)nanosleep(&pause, NULL);
	}
	return NULL;
}

static int raise_limit(unsigned wanted)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return -errno;
	limit.rlim_cur = limit.rlim_max;
	if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < wanted)
		return -EMFILE;
	return setrlimit(RLIMIT_NOFILE, &limit) != 0 ? -errno : 0;
}

int praas_crowd_start(const char *url, unsigned idle, unsigned slow,
		      struct praas_crowd **ret_crowd)
{
	struct praas_crowd *c = calloc(1, sizeof *c);
	int rc = c ? raise_limit(idle + slow + 256) : -ENOMEM;

	if (rc != 0) {
		free(c);
		return rc;
	}
	c->url = url;
	c->slow = slow;
	c->fds = calloc(idle + slow, sizeof *c->fds);
	for (; c->fds && rc == 0 && c->idle < idle + slow; c->idle++) {
		c->fds[c->idle] = connect_one(url, c->idle >= idle);
		if (c->fds[c->idle] < 0)
			rc = c->fds[c->idle];
	}
	c->idle -= c->idle > slow ? slow : c->idle;
	if (rc == 0 && c->fds)
		rc = -pthread_create(&c->thread, NULL, thread_main, c);
	c->running = rc == 0 && c->fds;
	if (rc != 0) {
		praas_crowd_stop(c);
		return rc;
	}
	*ret_crowd = c;
	return 0;
}

unsigned praas_crowd_cut(const struct praas_crowd *crowd)
{
	return atomic_load_explicit(&crowd->cut, memory_order_relaxed);
}

void praas_crowd_stop(struct praas_crowd *crowd)
{
	if (!crowd)
		return;
	atomic_store_explicit(&crowd->over, true, memory_order_relaxed);
	if (crowd->running)
		(void)pthread_join(crowd->thread, NULL);
	for (unsigned i = 0; crowd->fds && i < crowd->idle + crowd->slow; i++)
		if (crowd->fds[i] > 0)
			(void)close(crowd->fds[i]);
	free(crowd->fds);
	free(crowd);
}
