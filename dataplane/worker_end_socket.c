/* SPDX-License-Identifier: Apache-2.0
 *
 * The control socket of a worker: how it starts, and what is mapped and unmapped later.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/worker_end.h"
#include "internal/base.h"

#define BODY_MAX 1024u
#define START_FDS 5u
#define FDS_MAX 8u

struct message {
	struct praas_worker_msg head;
	uint8_t body[BODY_MAX];
	int fds[FDS_MAX];
	unsigned fds_count;
};

static void message_close(struct message *m)
{
	for (unsigned i = 0; i < m->fds_count; i++)
		if (m->fds[i] >= 0)
			(void)close(m->fds[i]); /* not taken over */
	m->fds_count = 0;
}

/* 0; -EAGAIN; -ESHUTDOWN the other end is closed; -EPROTO. */
static int message_read(struct message *m, bool wait)
{
	union {
		struct cmsghdr head;
		uint8_t space[CMSG_SPACE(sizeof(int) * FDS_MAX)];
	} control;
	struct iovec iov[2] = { { .iov_base = &m->head, .iov_len = sizeof(m->head) },
				{ .iov_base = m->body, .iov_len = sizeof(m->body) } };
	struct msghdr msg = { .msg_iov = iov,
			      .msg_iovlen = 2,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	ssize_t n;

	memset(m, 0, sizeof(*m));
	do {
		n = recvmsg(PRAAS_WORKER_SOCKET_FD, &msg,
			    MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : -ESHUTDOWN;
	if (n == 0)
		return -ESHUTDOWN;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		size_t bytes = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(m->fds, CMSG_DATA(c), bytes);
		m->fds_count = (unsigned)(bytes / sizeof(int));
	}
	if ((size_t)n < sizeof(m->head) ||
	    (size_t)n != sizeof(m->head) + m->head.bytes ||
	    (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		message_close(m);
		return -EPROTO;
	}
	return 0;
}

/* ---- later: segments and direct clients ---- */

static int on_segment(struct praas_worker_end *end, struct message *m)
{
	const struct praas_worker_segment *seg = (const void *)m->body;
	uint32_t i = 0;
	int rc;

	if (m->fds_count != 1 || m->head.bytes != sizeof(*seg))
		return -EPROTO;
	while (i < end->others_count && end->others[i].base)
		i++;
	if (i == PRAAS_WORKER_SEGMENTS_MAX)
		return -EPROTO; /* the controller counts too */
	rc = praas_segment_attach(m->fds[0], seg->bytes, seg->id, seg->writable != 0,
				  &end->others[i]);
	if (rc != 0)
		return rc;
	praas_segment_close_fd(&end->others[i]);
	m->fds[0] = -1;
	end->others_count = (uint32_t)praas_max_u64(end->others_count, i + 1);
	return 0;
}

static void on_unmap(struct praas_worker_end *end, uint32_t id)
{
	for (uint32_t i = 0; i < end->others_count; i++)
		if (end->others[i].base && end->others[i].id == id)
			praas_segment_release(&end->others[i]);
}

static int on_attach(struct praas_worker_end *end, struct message *m)
{
	struct praas_direct_attach attach;
	struct praas_direct *d;
	int rc;

	if (m->head.bytes != sizeof(attach) || m->fds_count != PRAAS_DIRECT_FDS)
		return -EPROTO;
	memcpy(&attach, m->body, sizeof(attach));
	if (attach.client >= PRAAS_WORKER_DIRECT_MAX || end->direct[attach.client])
		return -EPROTO;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	rc = praas_direct_open(d, &attach, m->fds);
	if (rc != 0) {
		free(d);
		return rc;
	}
	m->fds_count = 0; /* given */
	end->direct[attach.client] = d;
	end->direct_count =
		(uint32_t)praas_max_u64(end->direct_count, (uint64_t)attach.client + 1);
	return 0;
}

/* The client whose call is running is let go when the call has ended. */
static int on_detach(struct praas_worker_end *end, const struct message *m)
{
	struct praas_frame f = { .kind = PRAAS_WORKER_DETACHED };
	struct praas_worker_detach detach;
	struct praas_direct *d;

	if (m->head.bytes != sizeof(detach))
		return -EPROTO;
	memcpy(&detach, m->body, sizeof(detach));
	if (detach.client >= PRAAS_WORKER_DIRECT_MAX)
		return -EPROTO;
	if (end->in_direct == (int32_t)detach.client) {
		end->detach_later = true;
		return 0;
	}
	d = end->direct[detach.client];
	if (d) {
		praas_direct_close(d);
		free(d);
		end->direct[detach.client] = NULL;
	}
	f.aux = detach.client;
	return praas_worker_end_push(end, &f, NULL, 0, 0);
}

int praas_worker_end_detach_now(struct praas_worker_end *end, uint32_t client)
{
	struct message m = { .head = { .bytes = sizeof(struct praas_worker_detach) } };
	struct praas_worker_detach detach = { .client = client };

	end->detach_later = false;
	memcpy(m.body, &detach, sizeof(detach));
	return on_detach(end, &m);
}

static int on_message(struct praas_worker_end *end, struct message *m)
{
	struct praas_worker_segment seg;

	switch (m->head.kind) {
	case PRAAS_WORKER_MSG_SEGMENT:
		return on_segment(end, m);
	case PRAAS_WORKER_MSG_UNMAP:
		if (m->head.bytes != sizeof(seg))
			return -EPROTO;
		memcpy(&seg, m->body, sizeof(seg));
		on_unmap(end, seg.id);
		return 0;
	case PRAAS_WORKER_MSG_ATTACH:
		return on_attach(end, m);
	case PRAAS_WORKER_MSG_DETACH:
		return on_detach(end, m);
	case PRAAS_WORKER_MSG_STOP:
		end->stopped = true;
		return 0;
	default:
		return -EPROTO;
	}
}

int praas_worker_end_socket(struct praas_worker_end *end)
{
	struct message m;

	for (;;) {
		int rc = message_read(&m, false);

		if (rc == -EAGAIN)
			return 0;
		if (rc == -ESHUTDOWN)
			end->stopped = true;
		if (rc != 0)
			return rc;
		rc = on_message(end, &m);
		message_close(&m);
		if (rc != 0)
			return rc;
	}
}

/* ---- start ---- */

static int read_functions(struct praas_worker_end *end)
{
	struct message m;
	uint32_t count = end->start.functions_count;

	end->functions = calloc(count ? count : 1, sizeof(*end->functions));
	if (!end->functions)
		return -ENOMEM;
	for (uint32_t i = 0; i <= count; i++) {
		int rc = message_read(&m, true);
		uint32_t kind =
			i < count ? PRAAS_WORKER_MSG_FUNCTION : PRAAS_WORKER_MSG_GO;

		if (rc == 0 && m.head.kind == PRAAS_WORKER_MSG_SEGMENT) {
			rc = on_segment(end, &m);
			i--; /* arenas of others may come in between; the socket bounds them */
		} else if (rc == 0 &&
			   (m.head.kind != kind ||
			    (i < count && m.head.bytes != sizeof(*end->functions)))) {
			rc = -EPROTO;
		} else if (rc == 0 && i < count) {
			memcpy(&end->functions[i], m.body, sizeof(*end->functions));
		}
		message_close(&m);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int map_all(struct praas_worker_end *end, struct message *m)
{
	const struct praas_worker_start *s = &end->start;
	struct {
		struct praas_segment *segment;
		uint64_t bytes;
		uint32_t id;
		bool writable;
	} maps[START_FDS - 1] = {
		{ &end->pool_segment, s->pool_bytes, PRAAS_SEGMENT_POOL, false },
		{ &end->control, praas_channel_segment_bytes(&s->control),
		  PRAAS_SEGMENT_CONTROL, false },
		{ &end->arena, praas_channel_segment_bytes(&s->arena), s->arena_segment,
		  true },
		{ &end->log, s->log_bytes, PRAAS_SEGMENT_CONTROL, true },
	};

	if (m->fds_count != START_FDS)
		return -EPROTO;
	for (unsigned i = 0; i < START_FDS - 1; i++) {
		int rc = praas_segment_attach(m->fds[i], maps[i].bytes, maps[i].id,
					      maps[i].writable, maps[i].segment);

		if (rc != 0)
			return rc;
		m->fds[i] = -1;
		praas_segment_close_fd(
			maps[i].segment); /* a function has no use for it */
	}
	if (m->fds[START_FDS - 1] == PRAAS_WORKER_WAKE_FD)
		m->fds[START_FDS - 1] = -1;
	else if (dup2(m->fds[START_FDS - 1], PRAAS_WORKER_WAKE_FD) < 0)
		return -errno;
	end->wake_fd = PRAAS_WORKER_WAKE_FD;
	return 0;
}

static int join(struct praas_worker_end *end)
{
	const struct praas_worker_start *s = &end->start;
	uint64_t keys = praas_worker_keys_bytes(s->arena.ring_slots);
	uint64_t counts = praas_worker_counts_bytes(s->functions_count);
	uint64_t area = praas_channel_pool_offset(&s->arena);
	int rc = praas_channel_init(&end->channel, &end->arena, &s->arena, 0,
				    &end->control, &s->control, 0, end->wake_fd);

	if (rc == 0)
		rc = praas_log_tx_init(
			&end->log_tx, &end->log, s->log_bytes,
			praas_channel_log_tail(&end->control, &s->control, 0));
	if (rc == 0)
		rc = praas_pool_new(&end->arena, area + keys + counts,
				    s->arena.pool_bytes - keys - counts, &end->pool);
	if (rc != 0)
		return rc;
	end->keys = end->arena.base + area;
	end->counts = (void *)(end->arena.base + area + keys);
	end->line = (void *)(end->arena.base + PRAAS_WORKER_LINE_OFFSET);
	end->order = (const void *)(end->control.base + PRAAS_WORKER_LINE_OFFSET);
	end->call = (const void *)(end->control.base +
				   praas_channel_pool_offset(&s->control));
	end->doorbell =
		(struct praas_doorbell){ .shared = praas_channel_doorbell(&end->arena),
					 .event_fd = end->wake_fd };
	return 0;
}

int praas_worker_end_open(struct praas_worker_end *end, char *ret_text)
{
	const char *step = "reading the start message";
	struct message m;
	int rc;

	memset(end, 0, sizeof(*end));
	end->in_direct = -1;
	rc = message_read(&m, true);
	if (rc == 0 && (m.head.kind != PRAAS_WORKER_MSG_START ||
			m.head.bytes != sizeof(end->start))) {
		message_close(&m);
		rc = -EPROTO;
	}
	if (rc == 0) {
		step = "mapping segments";
		memcpy(&end->start, m.body, sizeof(end->start));
		rc = end->start.version == 1 ? map_all(end, &m) : -EPROTO;
		message_close(&m);
	}
	if (rc == 0) {
		step = "joining the rings";
		rc = join(end);
	}
	if (rc == 0) {
		step = "reading the functions";
		rc = read_functions(end);
	}
	if (rc != 0)
		(void)snprintf(ret_text, PRAAS_ERROR_TEXT_MAX, "%s: %s", step,
			       strerror(-rc));
	return rc;
}

void praas_worker_end_failed(const char *text)
{
	struct praas_worker_msg head = { .kind = PRAAS_WORKER_MSG_FAILED,
					 .bytes = (uint32_t)strnlen(text, BODY_MAX) };
	char copy[BODY_MAX];
	struct iovec iov[2] = { { .iov_base = &head, .iov_len = sizeof(head) },
				{ .iov_base = copy, .iov_len = head.bytes } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	memcpy(copy, text, head.bytes);
	/* Nobody listens any more: there is nobody to tell that. */
	(void)!sendmsg(PRAAS_WORKER_SOCKET_FD, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}
