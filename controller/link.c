/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/link.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "internal/base.h"

struct praas_link {
	char path[108];
	const struct praas_link_events *events;
	void *user;
	int fd;              /* -1: not connected */
	uint64_t due_ns;     /* when to connect again; 0: no control service */
	uint64_t backoff_ns; /* after the next failure */
	bool looks;
	uint64_t look_ns; /* when to look at the socket's name; while connected */
	dev_t device;     /* of the socket that we connected to */
	ino_t inode;
	char *queue; /* what is not sent yet */
	size_t queued, queue_room;
	json_t *waits; /* a line whose raw part is still to come; NULL: none */
	uint8_t *raw;  /* of it */
	size_t raw_bytes, raw_filled;
	size_t filled; /* of line */
	char line[PRAAS_LINK_LINE_MAX];
};

int praas_link_new(const char *path, const struct praas_link_events *events, void *user,
		   struct praas_link **ret_link)
{
	struct praas_link *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->events = events;
	l->user = user;
	l->fd = -1;
	l->backoff_ns = PRAAS_LINK_BACKOFF_MIN_NS;
	praas_link_target(l, path);
	*ret_link = l;
	return 0;
}

void praas_link_target(struct praas_link *l, const char *path)
{
	(void)snprintf(l->path, sizeof(l->path), "%s",
		       path); /* the config has checked it */
	l->due_ns = path[0] != '\0' ? 1 : 0;
}

static void end_raw(struct praas_link *l)
{
	json_decref(l->waits);
	free(l->raw);
	l->waits = NULL;
	l->raw = NULL;
	l->raw_bytes = l->raw_filled = 0;
}

void praas_link_free(struct praas_link *l)
{
	if (!l)
		return;
	if (l->fd >= 0)
		(void)close(l->fd); /* flushed before, or of no use */
	end_raw(l);
	free(l->queue);
	free(l);
}

/* What was not sent is lost: a new connection begins with a join, which says all that counts. */
static void broken(struct praas_link *l)
{
	if (l->fd >= 0)
		(void)close(l->fd); /* broken anyway */
	l->fd = -1;
	l->queued = 0;
	l->filled = 0;
	end_raw(l);
	l->due_ns = praas_now_ns() + l->backoff_ns;
	l->backoff_ns = praas_min_u64(l->backoff_ns * 2, PRAAS_LINK_BACKOFF_MAX_NS);
}

/* Which socket has the name now: before we connect, so that one which takes its place meanwhile is seen. */
static void note_socket(struct praas_link *l)
{
	struct stat st = { .st_ino = 0 };

	(void)stat(l->path, &st); /* zeros: the next look finds another one */
	l->device = st.st_dev;
	l->inode = st.st_ino;
	l->look_ns = praas_now_ns() + PRAAS_LINK_LOOK_NS;
}

static void look(struct praas_link *l, uint64_t now_ns)
{
	struct stat st;

	l->look_ns = now_ns + PRAAS_LINK_LOOK_NS;
	if (stat(l->path, &st) == 0 &&
	    (st.st_dev != l->device || st.st_ino != l->inode))
		broken(l);
}

/* A UNIX socket connects at once, or not. */
static void try_connect(struct praas_link *l)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	memcpy(addr.sun_path, l->path, sizeof(l->path));
	note_socket(l);
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0 ||
	    connect(l->fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0) {
		broken(l);
		return;
	}
	l->due_ns = 0;
	l->events->connected(l->user);
}

static void write_out(struct praas_link *l)
{
	while (l->fd >= 0 && l->queued > 0) {
		ssize_t n = send(l->fd, l->queue, l->queued, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			broken(l);
			return;
		}
		l->queued -= (size_t)n;
		memmove(l->queue, l->queue + n, l->queued);
	}
}

static void tell(struct praas_link *l, const json_t *message, const uint8_t *raw,
		 size_t bytes)
{
	l->backoff_ns = PRAAS_LINK_BACKOFF_MIN_NS;
	l->events->message(l->user, message, raw, bytes);
}

/* A part of the queue has the messages themselves behind it. false: it cannot be. */
static bool begin_raw(struct praas_link *l, json_t *message)
{
	const char *type = json_string_value(json_object_get(message, "t"));
	const json_t *bytes = json_object_get(message, "bytes");

	if (!bytes || !type || strcmp(type, "queue") != 0)
		return true;
	if (!json_is_integer(bytes) || json_integer_value(bytes) < 0 ||
	    json_integer_value(bytes) > (json_int_t)PRAAS_LINK_RAW_MAX)
		return false;
	l->raw_bytes = (size_t)json_integer_value(bytes);
	if (l->raw_bytes == 0)
		return true;
	l->raw = malloc(l->raw_bytes);
	l->waits = json_incref(message);
	return l->raw != NULL;
}

/* One whole line. What is no object ends the connection: the peer is not what we think. */
static void on_line(struct praas_link *l, const char *text, size_t bytes)
{
	json_t *message = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, NULL);

	if (!json_is_object(message) || !begin_raw(l, message))
		broken(l);
	else if (!l->waits)
		tell(l, message, NULL, 0);
	json_decref(message);
}

/* Up to bytes of the raw part that is waited for. Returns how many. */
static size_t take_raw(struct praas_link *l, const char *from, size_t bytes)
{
	size_t n = praas_min_u64(bytes, l->raw_bytes - l->raw_filled);

	memcpy(l->raw + l->raw_filled, from, n);
	l->raw_filled += n;
	if (l->raw_filled == l->raw_bytes) {
		json_t *message = l->waits;
		uint8_t *raw = l->raw;

		/* Whoever hears it may end the connection. */
		l->waits = NULL;
		l->raw = NULL;
		tell(l, message, raw, l->raw_bytes);
		json_decref(message);
		free(raw);
		end_raw(l);
	}
	return n;
}

static void split_lines(struct praas_link *l)
{
	size_t start = 0;

	while (l->fd >= 0 && start < l->filled) {
		char *end;

		if (l->waits) {
			start += take_raw(l, l->line + start, l->filled - start);
			continue;
		}
		end = memchr(l->line + start, '\n', l->filled - start);
		if (!end)
			break;
		on_line(l, l->line + start, (size_t)(end - l->line) - start);
		start = (size_t)(end - l->line) + 1;
	}
	if (l->fd < 0)
		return;
	l->filled -= start;
	memmove(l->line, l->line + start, l->filled);
	if (l->filled == sizeof(l->line))
		broken(l); /* a line over the limit */
}

static void read_in(struct praas_link *l)
{
	while (l->fd >= 0) {
		ssize_t n = recv(l->fd, l->line + l->filled,
				 sizeof(l->line) - l->filled, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			broken(l);
			return;
		}
		l->filled += (size_t)n;
		split_lines(l);
	}
}

void praas_link_poll(struct praas_link *l, uint64_t now_ns)
{
	if (l->fd < 0 && l->due_ns != 0 && l->due_ns <= now_ns)
		try_connect(l);
	if (l->fd >= 0 && l->looks && l->look_ns <= now_ns)
		look(l, now_ns);
	if (l->fd >= 0)
		read_in(l);
	write_out(l);
}

int praas_link_fd(const struct praas_link *l)
{
	return l->fd;
}

short praas_link_wants(const struct praas_link *l)
{
	return (short)(POLLIN | (l->queued > 0 ? POLLOUT : 0));
}

uint64_t praas_link_due_ns(const struct praas_link *l)
{
	if (l->fd < 0)
		return l->due_ns;
	return l->looks ? l->look_ns : 0;
}

bool praas_link_connected(const struct praas_link *l)
{
	return l->fd >= 0;
}

static int append(struct praas_link *l, const void *data, size_t bytes)
{
	if (l->queued + bytes > l->queue_room) {
		char *more = realloc(l->queue, l->queued + bytes + 4096);

		if (!more)
			return -ENOBUFS;
		l->queue = more;
		l->queue_room = l->queued + bytes + 4096;
	}
	memcpy(l->queue + l->queued, data, bytes);
	l->queued += bytes;
	return 0;
}

/* All of it, or nothing. */
static int enqueue(struct praas_link *l, const char *text, const void *raw,
		   size_t bytes)
{
	size_t queued = l->queued, n = strlen(text);
	int rc;

	if (n + 1 > PRAAS_LINK_LINE_MAX || bytes > PRAAS_LINK_RAW_MAX)
		return -EMSGSIZE;
	if (queued + n + 1 + bytes > PRAAS_LINK_QUEUE_MAX)
		return -ENOBUFS;
	rc = append(l, text, n);
	if (rc == 0)
		rc = append(l, "\n", 1);
	if (rc == 0 && bytes != 0)
		rc = append(l, raw, bytes);
	if (rc != 0)
		l->queued = queued;
	return rc;
}

int praas_link_send_raw(struct praas_link *l, json_t *message, const void *raw,
			size_t bytes)
{
	char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
	int rc = -ENOTCONN;

	json_decref(message);
	if (!text)
		return -ENOBUFS;
	if (l->fd >= 0)
		rc = enqueue(l, text, raw, bytes);
	free(text);
	write_out(l);
	return rc;
}

int praas_link_send(struct praas_link *l, json_t *message)
{
	return praas_link_send_raw(l, message, NULL, 0);
}

void praas_link_renew(struct praas_link *l)
{
	if (l->fd >= 0)
		broken(l);
}

void praas_link_look(struct praas_link *l)
{
	l->looks = true;
}

void praas_link_flush(struct praas_link *l, uint64_t timeout_ns)
{
	uint64_t end = praas_now_ns() + timeout_ns;

	while (l->fd >= 0 && l->queued > 0 && praas_now_ns() < end) {
		struct pollfd p = { .fd = l->fd, .events = POLLOUT };

		(void)poll(&p, 1, 10); /* looks again in any case */
		write_out(l);
	}
}
