/* SPDX-License-Identifier: Apache-2.0
 *
 * The threads of HTTP, each with a daemon of libmicrohttpd of its own on the one listening socket. A
 * thread that has just answered looks at its sockets for a moment without sleeping: who asks for one
 * thing after the other asks again soon, and to wake a thread takes longer than to serve most requests.
 */
#ifndef PRAAS_CONTROL_HTTP_THREADS_H
#define PRAAS_CONTROL_HTTP_THREADS_H

#include <stdbool.h>
#include <stdint.h>

#define PRAAS_HTTP_THREADS_MAX 4u

struct MHD_Connection;
struct MHD_Daemon;
struct praas_http_thread;
struct praas_http_threads;

/* ---- when a thread looks without sleeping: no clock, no system call ---------------------- */

/* What it has learned; zeros to begin with. Of one thread. */
struct praas_linger {
	uint64_t until_ns; /* 0: it sleeps */
	uint32_t credit;   /* what lingering brought lately, 0 … 16 */
	uint32_t skipped;  /* times that it was not tried */
	bool began;        /* has learned anything yet */
};

/* Something was done at now_ns. */
void praas_linger_work(struct praas_linger *linger, uint64_t now_ns);
/* Nothing was there at now_ns: true: look again. */
bool praas_linger_idle(struct praas_linger *linger, uint64_t now_ns);

/* ---- the threads ------------------------------------------------------------------------- */

/* One daemon, without a thread of its own (MHD_USE_EPOLL), with MHD_ALLOW_SUSPEND_RESUME; NULL: it cannot
 * be made. `share`: of how many it is one. */
typedef struct MHD_Daemon *(*praas_http_daemon_fn)(void *user, unsigned share);

/* count: 1 … PRAAS_HTTP_THREADS_MAX. 0; -ENOMEM; -EIO no daemon; an errno. */
int praas_http_threads_start(unsigned count, praas_http_daemon_fn make, void *user,
			     struct praas_http_threads **ret_threads);
/* Ends the threads, then their daemons with all connections: none may be suspended. NULL is allowed. */
void praas_http_threads_stop(struct praas_http_threads *threads);

/* The thread that runs a daemon's handler, and has work now. From the handler. */
struct praas_http_thread *praas_http_thread_works(void);
/* MHD_resume_connection() of a connection that this thread serves: libmicrohttpd wakes no thread that
 * is not its own. Any thread. */
void praas_http_resume(struct praas_http_thread *thread,
		       struct MHD_Connection *connection);

#endif
