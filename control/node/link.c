/* SPDX-License-Identifier: Apache-2.0 */
#include "control/node/link_private.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/json.h"
#include "control/limits.h"
#include "control/named_socket.h"
#include "control/say.h"
#include "control/table.h"
#include "internal/base.h"

/* Unsent, of one connection: an answer with a raw part, and lines. */
#define OUT_BYTES_MAX (PRAAS_LIMIT_RAW_BYTES + PRAAS_LIMIT_LINE_BYTES + 256u * 1024)
#define EVENTS 64
#define LAST_WORDS_ROUNDS 8
#define KIND_SHIFT 62 /* of an epoll tag: what its lower bits name */

enum kind { KIND_OWN = 0, KIND_CONN = 1, KIND_WATCH = 2 };
enum own { OWN_LISTEN = 0, OWN_WAKE = 1, OWN_TIMER = 2 };

struct conn {
	uint64_t id;
	UT_hash_handle hh;
	int fd;
	pid_t peer;
	_Atomic bool closing;    /* by us: nothing more is taken; closed() follows */
	struct praas_link_in in; /* of the link thread */
	char *out;               /* unsent; under the lock */
	size_t out_bytes;
};

struct watch {
	uint64_t tag;
	UT_hash_handle hh;
	int fd; /* a duplicate of ours: the owner may close its own at any time */
};

struct praas_link {
	const struct praas_link_events *events;
	void *user;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct praas_named_socket named;
	int epoll_fd, wake_fd, timer_fd;
	pthread_t thread;
	bool running;
	pthread_mutex_t lock; /* of conns, watches, what is unsent, and stopping */
	struct conn *conns;
	struct watch *watches;
	uint64_t id_last;
	size_t raw_bytes; /* that are being received; of the link thread */
	uint32_t conns_count;
	bool stopping;
};

static uint64_t tag_of(enum kind kind, uint64_t value)
{
	return (uint64_t)kind << KIND_SHIFT | value;
}

static int poll_set(struct praas_link *l, int op, int fd, uint32_t events, uint64_t tag)
{
	struct epoll_event e = { .events = events, .data.u64 = tag };

	return epoll_ctl(l->epoll_fd, op, fd, &e) ? -errno : 0;
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static struct conn *find_locked(struct praas_link *l, uint64_t id)
{
	struct conn *c;

	HASH_FIND(hh, l->conns, &id, sizeof(id), c);
	return c;
}

/* Link thread only. */
/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static void drop(struct praas_link *l, struct conn *c)
{
	uint64_t id = c->id;

	(void)pthread_mutex_lock(&l->lock);
	HASH_DEL(l->conns, c);
	l->conns_count--;
	(void)pthread_mutex_unlock(&l->lock);
	(void)close(c->fd);
	praas_link_in_release(&c->in);
	free(c->out);
	free(c);
	l->events->closed(l->user, id);
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static void accept_one(struct praas_link *l, int fd)
{
	struct ucred cred = { 0 };
	socklen_t bytes = sizeof(cred);
	struct conn *c;
	bool kept;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) ||
	    (cred.uid != geteuid() && cred.uid != 0) ||
	    l->conns_count >= PRAAS_LIMIT_LINKS) {
		(void)close(fd);
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c || praas_link_in_init(&c->in, &l->raw_bytes)) {
		free(c);
		(void)close(fd);
		return;
	}
	c->fd = fd;
	c->peer = cred.pid;
	(void)pthread_mutex_lock(&l->lock);
	c->id = ++l->id_last;
	HASH_ADD(hh, l->conns, id, sizeof(c->id), c);
	kept = PRAAS_TABLE_HAS(hh, c);
	l->conns_count += kept;
	(void)pthread_mutex_unlock(&l->lock);
	if (!kept) { /* it connects again */
		(void)close(fd);
		praas_link_in_release(&c->in);
		free(c);
		return;
	}
	if (poll_set(l, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP,
		     tag_of(KIND_CONN, c->id)))
		drop(l, c);
}

static void on_accept(struct praas_link *l)
{
	for (int i = 0; i < EVENTS; i++) {
		int fd = accept4(l->named.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			return; /* none, or no descriptors: they wait in the backlog */
		accept_one(l, fd);
	}
}

static bool closing(const struct conn *c)
{
	return atomic_load_explicit(&c->closing, memory_order_relaxed);
}

/* Hands complete messages up. false: the peer broke the format. */
static bool take_messages(struct praas_link *l, struct conn *c)
{
	struct praas_link_raw raw;
	json_t *message;
	int rc;

	while (!closing(c) && (rc = praas_link_in_next(&c->in, &message, &raw)) != 0) {
		if (rc < 0)
			return false;
		l->events->message(l->user, c->id, c->peer, message, &raw);
		json_decref(message);
		free(raw.data);
	}
	return true;
}

/* Reads until there is nothing more. false: the connection is over. */
static bool on_readable(struct praas_link *l, struct conn *c)
{
	for (;;) {
		char ignored[512]; /* of a connection that we end */
		void *to = ignored;
		size_t room = sizeof(ignored);
		ssize_t n;

		if (!closing(c))
			praas_link_in_room(&c->in, &to, &room);
		n = recv(c->fd, to, room, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		if (n == 0)
			return false;
		if (to == ignored)
			continue;
		praas_link_in_took(&c->in, (size_t)n);
		if (!take_messages(l, c)) {
			praas_say(PRAAS_SAY_WARNING,
				  "link: process %d sent what is not "
				  "a line of JSON",
				  (int)c->peer);
			return false;
		}
	}
}

/* Sends what is left. false: the connection is over. */
static bool flush_locked(struct praas_link *l, struct conn *c)
{
	ssize_t n;

	if (c->out_bytes == 0)
		return true;
	n = send(c->fd, c->out, c->out_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->out_bytes -= (size_t)n;
	memmove(c->out, c->out + n, c->out_bytes);
	if (c->out_bytes == 0) {
		(void)poll_set(l, EPOLL_CTL_MOD, c->fd, EPOLLIN | EPOLLRDHUP,
			       tag_of(KIND_CONN, c->id));
		if (closing(c))
			(void)shutdown(c->fd, SHUT_RDWR);
	}
	return true;
}

static void on_conn(struct praas_link *l, uint64_t id, uint32_t events)
{
	struct conn *c;
	bool alive = true;

	(void)pthread_mutex_lock(&l->lock);
	c = find_locked(l, id);
	if (c && (events & EPOLLOUT))
		alive = flush_locked(l, c);
	(void)pthread_mutex_unlock(&l->lock);
	if (!c)
		return;
	if (alive)
		alive = on_readable(l, c);
	if (!alive)
		drop(l, c);
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static void on_watch(struct praas_link *l, uint64_t tag)
{
	struct watch *w;

	(void)pthread_mutex_lock(&l->lock);
	HASH_FIND(hh, l->watches, &tag, sizeof(tag), w);
	if (w)
		HASH_DEL(l->watches, w);
	(void)pthread_mutex_unlock(&l->lock);
	if (!w)
		return;
	(void)epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd,
			NULL); /* the file lives on */
	(void)close(w->fd);
	free(w);
	l->events->ended(l->user, tag);
}

static void set_timer(struct praas_link *l, uint64_t at_ns)
{
	struct itimerspec t = { .it_value = { .tv_sec = (time_t)(at_ns / 1000000000u),
					      .tv_nsec =
						      (long)(at_ns % 1000000000u) } };

	(void)timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &t,
			      NULL); /* zero disarms */
}

static void on_own(struct praas_link *l, enum own which)
{
	uint64_t count;

	if (which == OWN_LISTEN)
		on_accept(l);
	else /* emptied; a tick follows every round */
		(void)!read(which == OWN_WAKE ? l->wake_fd : l->timer_fd, &count,
			    sizeof(count));
}

/* All but the ends of controllers. Returns whether there was anything. */
static bool dispatch_talk(struct praas_link *l, const struct epoll_event *events,
			  int count)
{
	bool any = false;

	for (int i = 0; i < count; i++) {
		uint64_t value = events[i].data.u64 & ((1ull << KIND_SHIFT) - 1);
		enum kind kind = (enum kind)(events[i].data.u64 >> KIND_SHIFT);

		if (kind == KIND_CONN)
			on_conn(l, value, events[i].events);
		else if (kind == KIND_OWN)
			on_own(l, (enum own)value);
		any = any || kind != KIND_WATCH;
	}
	return any;
}

/* The ends, after all that was said before. */
static void dispatch_ends(struct praas_link *l, const struct epoll_event *events,
			  int count)
{
	for (int i = 0; i < count; i++) {
		if (events[i].data.u64 >> KIND_SHIFT != KIND_WATCH)
			continue;
		on_watch(l, events[i].data.u64 & ((1ull << KIND_SHIFT) - 1));
	}
}

static bool has_ends(const struct epoll_event *events, int count)
{
	for (int i = 0; i < count; i++)
		if (events[i].data.u64 >> KIND_SHIFT == KIND_WATCH)
			return true;
	return false;
}

/* A controller's last words come before the news of its end. They are there when the end is, but
 * may need an accept and a read, each of which is found in a round of its own. */
static void one_round(struct praas_link *l)
{
	struct epoll_event events[EVENTS], more[EVENTS];
	int n = epoll_wait(l->epoll_fd, events, EVENTS, -1);
	bool ends = n > 0 && has_ends(events, n);

	(void)dispatch_talk(l, events, n);
	for (int i = 0; ends && i < LAST_WORDS_ROUNDS; i++)
		if (!dispatch_talk(l, more, epoll_wait(l->epoll_fd, more, EVENTS, 0)))
			break;
	dispatch_ends(l, events, n);
	set_timer(l, l->events->tick(l->user, praas_now_ns()));
}

static void *thread_main(void *arg)
{
	struct praas_link *l = arg;
	bool stopping = false;

	while (!stopping) {
		one_round(l);
		(void)pthread_mutex_lock(&l->lock);
		stopping = l->stopping;
		(void)pthread_mutex_unlock(&l->lock);
	}
	return NULL;
}

static int new_link(const char *path, const struct praas_link_events *events,
		    void *user, bool replace, struct praas_link **ret_link)
{
	struct praas_link *l;
	int rc;

	if (strlen(path) >= sizeof(l->path))
		return -ENAMETOOLONG;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->events = events;
	l->user = user;
	(void)snprintf(l->path, sizeof(l->path), "%s", path);
	(void)pthread_mutex_init(&l->lock, NULL);
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	l->named.fd = -1;
	rc = praas_named_socket_open(path, replace, &l->named);
	if (l->epoll_fd < 0 || l->wake_fd < 0 || l->timer_fd < 0)
		rc = -EMFILE;
	if (rc == 0)
		rc = poll_set(l, EPOLL_CTL_ADD, l->named.fd, EPOLLIN,
			      tag_of(KIND_OWN, OWN_LISTEN));
	if (rc == 0)
		rc = poll_set(l, EPOLL_CTL_ADD, l->wake_fd, EPOLLIN,
			      tag_of(KIND_OWN, OWN_WAKE));
	if (rc == 0)
		rc = poll_set(l, EPOLL_CTL_ADD, l->timer_fd, EPOLLIN,
			      tag_of(KIND_OWN, OWN_TIMER));
	if (rc) {
		praas_link_free(l);
		return rc;
	}
	*ret_link = l;
	return 0;
}

int praas_link_new(const char *path, const struct praas_link_events *events, void *user,
		   struct praas_link **ret_link)
{
	return new_link(path, events, user, false, ret_link);
}

int praas_link_replace(const char *path, const struct praas_link_events *events,
		       void *user, struct praas_link **ret_link)
{
	return new_link(path, events, user, true, ret_link);
}

int praas_link_start(struct praas_link *link)
{
	int rc = pthread_create(&link->thread, NULL, thread_main, link);

	link->running = rc == 0;
	return -rc;
}

void praas_link_stop(struct praas_link *link)
{
	if (!link || !link->running)
		return;
	(void)pthread_mutex_lock(&link->lock);
	link->stopping = true;
	(void)pthread_mutex_unlock(&link->lock);
	praas_link_wake(link);
	(void)pthread_join(link->thread, NULL);
	link->running = false;
}

static void close_if_open(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
void praas_link_free(struct praas_link *link)
{
	struct conn *c, *next_c;
	struct watch *w, *next_w;

	if (!link)
		return;
	praas_check(!link->running);
	HASH_ITER(hh, link->conns, c, next_c)
	{
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): HASH_DEL() moved the head on */
		HASH_DEL(link->conns, c);
		(void)close(c->fd);
		praas_link_in_release(&c->in);
		free(c->out);
		free(c);
	}
	HASH_ITER(hh, link->watches, w, next_w)
	{
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): HASH_DEL() moved the head on */
		HASH_DEL(link->watches, w);
		(void)close(w->fd);
		free(w);
	}
	praas_named_socket_close(&link->named, link->path);
	close_if_open(link->epoll_fd);
	close_if_open(link->wake_fd);
	close_if_open(link->timer_fd);
	(void)pthread_mutex_destroy(&link->lock);
	free(link);
}

/* Keeps what the socket did not take. */
static int keep_locked(struct praas_link *l, struct conn *c, const char *data,
		       size_t bytes)
{
	char *more;

	more = realloc(c->out, c->out_bytes + bytes);
	if (!more)
		return -ENOBUFS;
	memcpy(more + c->out_bytes, data, bytes);
	c->out = more;
	c->out_bytes += bytes;
	return poll_set(l, EPOLL_CTL_MOD, c->fd, EPOLLIN | EPOLLRDHUP | EPOLLOUT,
			tag_of(KIND_CONN, c->id));
}

static int send_locked(struct praas_link *l, struct conn *c, const char *data,
		       size_t bytes)
{
	ssize_t n = 0;

	if (bytes == 0)
		return 0;
	if (c->out_bytes == 0)
		n = send(c->fd, data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN)
		return -ENOTCONN;
	if (n < 0)
		n = 0;
	if ((size_t)n == bytes)
		return 0;
	return keep_locked(l, c, data + n, bytes - (size_t)n);
}

static void close_locked(struct conn *c)
{
	if (closing(c))
		return;
	atomic_store_explicit(&c->closing, true, memory_order_relaxed);
	(void)shutdown(c->fd, c->out_bytes ? SHUT_RD : SHUT_RDWR);
}

/* All of it, or nothing more on this connection: what follows half a message would be taken for its rest. */
static int send_both_locked(struct praas_link *l, struct conn *c, const char *line,
			    size_t line_bytes, const void *raw, size_t raw_bytes)
{
	int rc;

	if (c->out_bytes + line_bytes + raw_bytes > OUT_BYTES_MAX)
		return -ENOBUFS;
	rc = send_locked(l, c, line, line_bytes);
	if (rc == 0)
		rc = send_locked(l, c, raw, raw_bytes);
	if (rc)
		close_locked(c);
	return rc;
}

int praas_link_send(struct praas_link *link, uint64_t conn, const json_t *message)
{
	return praas_link_send_raw(link, conn, message, NULL, 0);
}

int praas_link_send_raw(struct praas_link *link, uint64_t conn, const json_t *message,
			const void *raw, size_t bytes)
{
	char *text = praas_json_dump(message);
	struct conn *c;
	size_t line;
	int rc;

	if (!text)
		return -ENOBUFS;
	line = strlen(text);
	text[line++] = '\n'; /* in place of the zero */
	(void)pthread_mutex_lock(&link->lock);
	c = find_locked(link, conn);
	rc = c && !closing(c) ? send_both_locked(link, c, text, line, raw, bytes)
			      : -ENOTCONN;
	(void)pthread_mutex_unlock(&link->lock);
	free(text);
	return rc;
}

void praas_link_close(struct praas_link *link, uint64_t conn)
{
	struct conn *c;

	(void)pthread_mutex_lock(&link->lock);
	c = find_locked(link, conn);
	if (c)
		close_locked(c);
	(void)pthread_mutex_unlock(&link->lock);
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
int praas_link_watch(struct praas_link *link, int pidfd, uint64_t tag)
{
	struct watch *w = calloc(1, sizeof(*w)), *old;
	int rc;

	if (!w)
		return -ENOMEM;
	w->tag = tag;
	w->fd = fcntl(pidfd, F_DUPFD_CLOEXEC, 0);
	if (w->fd < 0) {
		rc = -errno;
		free(w);
		return rc;
	}
	(void)pthread_mutex_lock(&link->lock);
	HASH_FIND(hh, link->watches, &tag, sizeof(tag), old);
	praas_check(!old);
	HASH_ADD(hh, link->watches, tag, sizeof(w->tag), w);
	rc = PRAAS_TABLE_HAS(hh, w) ? poll_set(link, EPOLL_CTL_ADD, w->fd, EPOLLIN,
					       tag_of(KIND_WATCH, tag))
				    : -ENOMEM;
	if (rc) {
		if (PRAAS_TABLE_HAS(hh, w))
			HASH_DEL(link->watches, w);
		(void)close(w->fd);
		free(w);
	}
	(void)pthread_mutex_unlock(&link->lock);
	return rc;
}

void praas_link_wake(struct praas_link *link)
{
	uint64_t one = 1;

	(void)!write(link->wake_fd, &one, sizeof(one)); /* full: it is awake anyway */
}
