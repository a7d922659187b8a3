/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rest/http_threads.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <microhttpd.h>

#include "internal/base.h"

/* Longer than a client on this machine takes to be woken and to ask again. */
#define LINGER_NS 150000u
#define CREDIT_MAX 16u
#define CREDIT_FOUND 4u /* what one that paid is worth; one that did not costs one */
#define TRY_AGAIN 64u   /* without credit, each so manieth time is a try */

struct praas_http_thread {
	struct praas_http_threads *threads;
	int wake_fd;
	struct MHD_Daemon *daemon;
	struct praas_linger linger;
	pthread_t id;
};

struct praas_http_threads {
	atomic_bool stopping;
	atomic_uint resuming; /* in praas_http_resume() */
	unsigned count;
	struct praas_http_thread all[PRAAS_HTTP_THREADS_MAX];
};

static _Thread_local struct praas_http_thread *self;
static _Thread_local bool worked;

void praas_linger_work(struct praas_linger *linger, uint64_t now_ns)
{
	if (linger->until_ns) /* it was worth it */
		linger->credit = (uint32_t)praas_min_u64(linger->credit + CREDIT_FOUND,
							 CREDIT_MAX);
	if (!linger->began) {
		linger->began = true;
		linger->credit = CREDIT_MAX;
	}
	linger->until_ns = 0;
	if (linger->credit == 0 && ++linger->skipped < TRY_AGAIN)
		return;
	linger->skipped = 0;
	linger->until_ns = now_ns + LINGER_NS;
}

bool praas_linger_idle(struct praas_linger *linger, uint64_t now_ns)
{
	if (linger->until_ns == 0)
		return false;
	if (now_ns < linger->until_ns)
		return true;
	linger->until_ns = 0;
	linger->credit -= linger->credit > 0;
	return false;
}

struct praas_http_thread *praas_http_thread_works(void)
{
	worked = true;
	return self;
}

void praas_http_resume(struct praas_http_thread *thread,
		       struct MHD_Connection *connection)
{
	struct praas_http_threads *threads = thread->threads;

	/* Seen by praas_http_threads_stop(), which comes after the end of the request and so after
	 * the lock of libmicrohttpd under which it is resumed. */
	atomic_fetch_add_explicit(&threads->resuming, 1, memory_order_relaxed);
	MHD_resume_connection(connection);
	(void)eventfd_write(thread->wake_fd, 1); /* it is never full */
	/* http_threads.R0, pairs with http_threads.A0: nothing of `thread` is used any more. */
	atomic_fetch_sub_explicit(&threads->resuming, 1, memory_order_release);
}

/* Until something happens at one of its sockets, is resumed, or times out, or the end comes. */
static void sleep_on(const struct praas_http_thread *t, int epoll_fd)
{
	struct pollfd fds[2] = { { .fd = epoll_fd, .events = POLLIN },
				 { .fd = t->wake_fd, .events = POLLIN } };
	MHD_UNSIGNED_LONG_LONG ms;
	eventfd_t times;
	int timeout = -1;

	if (MHD_get_timeout(t->daemon, &ms) == MHD_YES)
		timeout = (int)praas_min_u64(ms, INT_MAX);
	if (timeout != 0 && poll(fds, 2, timeout) > 0 && fds[1].revents)
		(void)eventfd_read(t->wake_fd, &times); /* before libmicrohttpd looks */
}

static void *thread_main(void *arg)
{
	struct praas_http_thread *t = arg;
	int epoll_fd =
		MHD_get_daemon_info(t->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;

	self = t;
	while (!atomic_load_explicit(&t->threads->stopping, memory_order_relaxed)) {
		worked = false;
		(void)MHD_run_wait(t->daemon, 0);
		if (worked)
			praas_linger_work(&t->linger, praas_now_ns());
		else if (praas_linger_idle(&t->linger, praas_now_ns()))
			(void)sched_yield();
		else
			sleep_on(t, epoll_fd);
	}
	return NULL;
}

static int start_thread(struct praas_http_thread *t)
{
	sigset_t all, old;
	int rc;

	/* Signals are main's; a client that is gone is an error, and no SIGPIPE. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = -pthread_create(&t->id, NULL, thread_main, t);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

static int start_one(struct praas_http_thread *t, praas_http_daemon_fn make, void *user,
		     unsigned share)
{
	int rc;

	t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->wake_fd < 0)
		return -errno;
	t->daemon = make(user, share);
	rc = t->daemon ? start_thread(t) : -EIO;
	if (rc == 0)
		return 0;
	if (t->daemon)
		MHD_stop_daemon(t->daemon);
	(void)close(t->wake_fd);
	return rc;
}

int praas_http_threads_start(unsigned count, praas_http_daemon_fn make, void *user,
			     struct praas_http_threads **ret_threads)
{
	struct praas_http_threads *threads = calloc(1, sizeof(*threads));
	int rc = 0;

	if (!threads)
		return -ENOMEM;
	while (rc == 0 && threads->count < count) {
		threads->all[threads->count].threads = threads;
		rc = start_one(&threads->all[threads->count], make, user, count);
		threads->count += rc == 0;
	}
	if (rc) {
		praas_http_threads_stop(threads);
		return rc;
	}
	*ret_threads = threads;
	return 0;
}

void praas_http_threads_stop(struct praas_http_threads *threads)
{
	if (!threads)
		return;
	atomic_store_explicit(&threads->stopping, true, memory_order_relaxed);
	for (unsigned i = 0; i < threads->count; i++)
		(void)eventfd_write(threads->all[i].wake_fd, 1);
	for (unsigned i = 0; i < threads->count; i++)
		(void)pthread_join(threads->all[i].id, NULL);
	/* http_threads.A0, pairs with http_threads.R0: who resumed the last ones is done. */
	while (atomic_load_explicit(&threads->resuming, memory_order_acquire) > 0)
		(void)sched_yield();
	for (unsigned i = 0; i < threads->count; i++) {
		MHD_stop_daemon(threads->all[i].daemon);
		(void)close(threads->all[i].wake_fd);
	}
	free(threads);
}
