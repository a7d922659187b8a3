/* SPDX-License-Identifier: Apache-2.0
 *
 * Floors through the kernel: POSIX message queue, UNIX stream, TCP (blocking, spinning,
 * pipelined).
 */
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "perf/bench.h"
#include "perf/clock.h"
#include "perf/floor_peer.h"

struct floor {
	struct praas_floor_peer peer;
	int fd[2];    /* sockets: ours, the peer's */
	mqd_t mq[2];  /* queues: there, back */
	uint8_t *buf; /* size bytes (times the window when pipelined) */
	uint64_t size;
	bool spin;
	unsigned inflight;
};

static int start_common(struct praas_contender *c, bool spin, struct floor **ret_f)
{
	struct floor *f = calloc(1, sizeof *f);

	if (!f)
		return -ENOMEM;
	f->size = c->size ? c->size : 1;
	f->spin = spin;
	f->inflight = (unsigned)(uintptr_t)c->arg;
	f->fd[0] = f->fd[1] = -1;
	f->mq[0] = f->mq[1] = (mqd_t)-1;
	f->buf = malloc(f->size * (f->inflight ? f->inflight : 1));
	if (!f->buf) {
		free(f);
		return -ENOMEM;
	}
	memset(f->buf, 1, f->size * (f->inflight ? f->inflight : 1));
	c->data = f;
	*ret_f = f;
	return 0;
}

static void teardown(struct praas_contender *c)
{
	struct floor *f = c->data;

	if (!f)
		return;
	praas_floor_peer_stop(&f->peer);
	for (unsigned i = 0; i < 2; i++) {
		if (f->fd[i] >= 0)
			(void)close(f->fd[i]);
		if (f->mq[i] != (mqd_t)-1)
			(void)mq_close(f->mq[i]);
	}
	free(f->buf);
	free(f);
	c->data = NULL;
}

/* ---- message queue ---- */

static int open_queue(unsigned i, uint64_t size, mqd_t *ret_mq)
{
	struct mq_attr attr = { .mq_maxmsg = 4, .mq_msgsize = (long)size };
	char name[64];

	(void)snprintf(name, sizeof name, "/praas-perf-%d-%u", (int)getpid(), i);
	*ret_mq = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	if (*ret_mq == (mqd_t)-1)
		return -errno;
	(void)mq_unlink(name); /* both hold it open */
	return 0;
}

static void mq_body(void *data, uint64_t n)
{
	struct floor *f = data;

	while (n-- && mq_receive(f->mq[0], (char *)f->buf, f->size, NULL) >= 0)
		if (mq_send(f->mq[1], (const char *)f->buf, f->size, 0) != 0)
			return;
}

static int setup_mq(struct praas_contender *c)
{
	struct floor *f;
	int rc = start_common(c, false, &f);

	for (unsigned i = 0; rc == 0 && i < 2; i++)
		rc = open_queue(i, f->size, &f->mq[i]);
	/* On one core: there a hand-over costs least. */
	return rc ? rc
		  : praas_floor_peer_start(&f->peer, praas_options.cpu_client, mq_body,
					   f);
}

static int round_mq(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct floor *f = c->data;
	int rc = praas_floor_peer_go(&f->peer, n);

	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		uint64_t t0 = praas_perf_ticks();

		if (mq_send(f->mq[0], (const char *)f->buf, f->size, 0) != 0 ||
		    mq_receive(f->mq[1], (char *)f->buf, f->size, NULL) < 0)
			return -errno;
		praas_hist_add(h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0));
	}
	return rc;
}

void praas_floor_mq(struct praas_contender *c, const char *bench, uint64_t size)
{
	*c = (struct praas_contender){ .bench = bench,
				       .variant = "mq",
				       .role = PRAAS_ROLE_FLOOR,
				       .waits = "block",
				       .size = size,
				       .n = 10000,
				       .setup = setup_mq,
				       .round = round_mq,
				       .teardown = teardown };
}

/* ---- streams ---- */

static int send_all(const struct floor *f, int fd, uint64_t bytes)
{
	int flags = MSG_NOSIGNAL | (f->spin ? MSG_DONTWAIT : 0);

	for (uint64_t at = 0; at < bytes;) {
		ssize_t k = send(fd, f->buf + at, bytes - at, flags);

		if (k > 0)
			at += (uint64_t)k;
		else if (k < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
	}
	return 0;
}

static int recv_all(const struct floor *f, int fd, uint64_t bytes)
{
	int flags = f->spin ? MSG_DONTWAIT : 0;

	for (uint64_t at = 0; at < bytes;) {
		ssize_t k = recv(fd, f->buf + at, bytes - at, flags);

		if (k > 0)
			at += (uint64_t)k;
		else if (k == 0)
			return -ECONNRESET;
		else if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
	return 0;
}

static void stream_body(void *data, uint64_t n)
{
	struct floor *f = data;

	while (n-- && recv_all(f, f->fd[1], f->size) == 0)
		if (send_all(f, f->fd[1], f->size) != 0)
			return;
}

static int tcp_pair(int ret_fd[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (l < 0)
		return -errno;
	ret_fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(l, (struct sockaddr *)&a, len) != 0 || listen(l, 1) != 0 ||
	    getsockname(l, (struct sockaddr *)&a, &len) != 0 ||
	    connect(ret_fd[0], (struct sockaddr *)&a, len) != 0) {
		int rc = -errno;

		(void)close(l);
		return rc;
	}
	ret_fd[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	(void)close(l);
	for (unsigned i = 0; i < 2; i++)
		(void)setsockopt(ret_fd[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return ret_fd[1] < 0 ? -errno : 0;
}

static int setup_tcp(struct praas_contender *c)
{
	struct floor *f;
	int rc = start_common(c, strcmp(c->waits, "spin") == 0, &f);

	if (rc == 0)
		rc = tcp_pair(f->fd);
	return rc ? rc
		  : praas_floor_peer_start(&f->peer, praas_options.cpu_server,
					   stream_body, f);
}

static int setup_unix(struct praas_contender *c)
{
	struct floor *f;
	int rc = start_common(c, false, &f);

	if (rc == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, f->fd) != 0)
		rc = -errno;
	return rc ? rc
		  : praas_floor_peer_start(&f->peer, praas_options.cpu_client,
					   stream_body, f);
}

static int round_stream_pingpong(struct praas_contender *c, uint64_t n,
				 struct praas_hist *h)
{
	struct floor *f = c->data;
	int rc = praas_floor_peer_go(&f->peer, n);

	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		uint64_t t0 = praas_perf_ticks();

		rc = send_all(f, f->fd[0], f->size);
		if (rc == 0)
			rc = recv_all(f, f->fd[0], f->size);
		praas_hist_add(h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0));
	}
	return rc;
}

void praas_floor_unix(struct praas_contender *c, const char *bench, uint64_t size)
{
	*c = (struct praas_contender){ .bench = bench,
				       .variant = "unix",
				       .role = PRAAS_ROLE_FLOOR,
				       .waits = "block",
				       .size = size,
				       .n = 5000,
				       .setup = setup_unix,
				       .round = round_stream_pingpong,
				       .teardown = teardown };
}

static uint64_t rounds_for(uint64_t size)
{
	return size <= 4096      ? 10000
	       : size <= 131072  ? 2000
	       : size <= 2097152 ? 200
				 : 40;
}

void praas_floor_tcp(struct praas_contender *c, const char *bench, uint64_t size,
		     bool spin)
{
	*c = (struct praas_contender){ .bench = bench,
				       .variant = spin ? "tcp-spin" : "tcp-block",
				       .role = PRAAS_ROLE_FLOOR,
				       .waits = spin ? "spin" : "block",
				       .size = size,
				       .n = rounds_for(size),
				       .setup = setup_tcp,
				       .round = round_stream_pingpong,
				       .teardown = teardown };
}

/* ---- pipelined echo: the peer sends back whatever came, as it came ---- */

static void pipeline_body(void *data, uint64_t n)
{
	struct floor *f = data;
	uint64_t left = n * f->size;

	while (left > 0) {
		ssize_t k = recv(f->fd[1], f->buf, f->size * f->inflight, MSG_DONTWAIT);

		if (k == 0 || (k < 0 && errno != EAGAIN && errno != EINTR))
			return;
		if (k > 0 && send_all(f, f->fd[1], (uint64_t)k) == 0)
			left -= (uint64_t)k;
	}
}

static int setup_pipeline(struct praas_contender *c)
{
	struct floor *f;
	int rc = start_common(c, true, &f);

	if (rc == 0)
		rc = tcp_pair(f->fd);
	return rc ? rc
		  : praas_floor_peer_start(&f->peer, praas_options.cpu_server,
					   pipeline_body, f);
}

static int round_pipeline(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct floor *f = c->data;
	uint64_t total, sent = 0, got = 0, window = f->size * f->inflight, t0;
	int rc;

	total = n * f->size;
	rc = praas_floor_peer_go(&f->peer, n);
	t0 = praas_perf_ticks();
	while (rc == 0 && got < total) {
		uint64_t room = praas_min_u64(window - (sent - got), total - sent);
		ssize_t k;

		if (room > 0) {
			k = send(f->fd[0], f->buf, room, MSG_DONTWAIT | MSG_NOSIGNAL);
			sent += k > 0 ? (uint64_t)k : 0;
		}
		k = recv(f->fd[0], f->buf, window, MSG_DONTWAIT);
		if (k == 0 || (k < 0 && errno != EAGAIN && errno != EINTR))
			return -ECONNRESET;
		got += k > 0 ? (uint64_t)k : 0;
	}
	praas_hist_add(h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0) * 1000u / n);
	return rc;
}

void praas_floor_tcp_stream(struct praas_contender *c, const char *bench, uint64_t size,
			    unsigned inflight)
{
	*c = (struct praas_contender){ .bench = bench,
				       .variant = "tcp-spin",
				       .role = PRAAS_ROLE_FLOOR,
				       .waits = "spin",
				       .size = size,
				       .n = 500000,
				       .scale = 0.001,
				       .arg = (const void *)(uintptr_t)inflight,
				       .setup = setup_pipeline,
				       .round = round_pipeline,
				       .teardown = teardown };
}
