/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/shm_conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal/base.h"

/* Ports of the shm transport: accepting, polling, sleeping, ending. A turn looks at the rings of
 * all *hot* connections (a load each) and now and then at the sockets. A connection without
 * frames for a while becomes *cold*: its doorbell word is set, so its client writes the
 * socket when it comes back, and a turn costs nothing for it. */

#define CONNS_MAX 1024u
#define UNAUTHENTICATED_MAX 64u
#define HANDSHAKE_BYTES_MAX 4096u
#define EVENTS 32
#define TURNS_IDLE 64u    /* without work, before the sockets are looked at */
#define TURNS_SHAKING 16u /* while somebody has not proved who he is */
#define TURNS_BUSY                                                                     \
	1024u /* the same in all; a client's port, which is told by its ring */
#define SOCKETS_NS 100000u /* a port with work does not look at them more often */
#define ROUND_NS 1000000u  /* housekeeping */
#define COLD_ROUNDS 20u    /* of it without frames */
#define RING_SLOTS 256u
#define CLIENT_POOL (4ull << 20)
#define REPLY_POOL (2ull << 20)
#define DIRECT_POOL (1ull << 20)

/* ---- segments by id ---------------------------------------------------------------------- */

int praas_shm_segment_id(struct praas_shm_port *p, uint32_t *ret_id)
{
	for (uint32_t i = p->shm.first_segment; i < PRAAS_SHM_SEGMENTS; i++) {
		uint32_t id = p->next_segment++;

		if (p->next_segment >= PRAAS_SHM_SEGMENTS)
			p->next_segment = p->shm.first_segment;
		if (!p->segments[id]) {
			*ret_id = id;
			return 0;
		}
	}
	return -ENOBUFS;
}

void praas_shm_segment_known(struct praas_shm_port *p, const struct praas_segment *s,
			     bool known)
{
	p->segments[s->id] = known ? s : NULL;
}

void praas_shm_segment_told(struct praas_shm_port *p, const struct praas_segment *s,
			    bool known)
{
	if (p->shm.segment)
		p->shm.segment(p->shm.user, s, known);
}

const struct praas_segment *praas_shm_segment(const struct praas_port *port,
					      uint32_t id)
{
	const struct praas_shm_port *p =
		(const struct praas_shm_port *)(const void *)port;

	return id < PRAAS_SHM_SEGMENTS && p->segments ? p->segments[id] : NULL;
}

/* ---- opening ------------------------------------------------------------------------------ */

int praas_shm_watch(struct praas_shm_port *p, struct praas_shm_source *source)
{
	struct epoll_event ev = { .events = EPOLLIN, .data = { .ptr = source } };

	return epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, source->fd, &ev) == 0 ? 0 : -errno;
}

void praas_shm_unwatch(struct praas_shm_port *p, const struct praas_shm_source *source)
{
	/* Closing would not do: a worker that is being started holds a copy of the descriptor for
	 * a moment, and epoll goes by what is open, not by our number for it. */
	(void)epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, source->fd,
			NULL); /* not watched: fine */
}

static void set_defaults(struct praas_shm_port *p)
{
	struct praas_port_config *c = &p->config;

	c->conns_max = c->conns_max ? c->conns_max : CONNS_MAX;
	c->unauthenticated_max =
		c->unauthenticated_max ? c->unauthenticated_max : UNAUTHENTICATED_MAX;
	c->handshake_bytes_max =
		c->handshake_bytes_max ? c->handshake_bytes_max : HANDSHAKE_BYTES_MAX;
	p->shm = (struct praas_shm_config){ .ring_slots = RING_SLOTS,
					    .client_pool_bytes = CLIENT_POOL,
					    .reply_pool_bytes = REPLY_POOL,
					    .direct_pool_bytes = DIRECT_POOL,
					    .first_segment = PRAAS_SHM_FIRST_SEGMENT,
					    .uid = geteuid() };
	p->next_segment = p->shm.first_segment;
}

static int listen_on(struct praas_shm_port *p, const char *addr)
{
	const char *path;
	int rc = praas_shm_path(addr, &path);

	if (rc != 0)
		return rc;
	p->path = strdup(path);
	p->segments = calloc(PRAAS_SHM_SEGMENTS, sizeof(*p->segments));
	if (!p->path || !p->segments)
		return -ENOMEM;
	rc = praas_shm_sock_listen(path, 0600, &p->listen.fd);
	if (rc != 0)
		return rc;
	return praas_shm_watch(p, &p->listen);
}

static void free_port(struct praas_port *port);

static int open_port(const struct praas_port_config *config,
		     struct praas_port **ret_port)
{
	struct praas_shm_port *p = calloc(1, sizeof(*p));
	int rc = -ENOMEM;

	if (!p)
		return rc;
	p->base.ops = &praas_shm_transport_ops;
	p->config = *config;
	p->refs = 1;
	p->listen =
		(struct praas_shm_source){ .kind = PRAAS_SHM_SOURCE_LISTEN, .fd = -1 };
	set_defaults(p);
	(void)praas_doorbell_setup(); /* always 0 */
	p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	p->datagram = aligned_alloc(64, PRAAS_SHM_WELCOME_MAX);
	if (p->epoll_fd < 0)
		rc = -errno;
	else if (p->datagram)
		rc = config->listen ? listen_on(p, config->listen) : 0;
	if (rc != 0) {
		if (p->listen.fd < 0) { /* not our file */
			free(p->path);
			p->path = NULL;
		}
		free_port(&p->base);
		return rc;
	}
	*ret_port = &p->base;
	return 0;
}

void praas_shm_defaults(struct praas_shm_config *config)
{
	struct praas_shm_config *s = config;

	s->ring_slots = s->ring_slots ? s->ring_slots : RING_SLOTS;
	s->client_pool_bytes =
		s->client_pool_bytes ? s->client_pool_bytes : CLIENT_POOL;
	s->reply_pool_bytes = s->reply_pool_bytes ? s->reply_pool_bytes : REPLY_POOL;
	s->direct_pool_bytes =
		s->direct_pool_bytes ? s->direct_pool_bytes : DIRECT_POOL;
	s->first_segment =
		s->first_segment ? s->first_segment : PRAAS_SHM_FIRST_SEGMENT;
	s->uid = s->uid ? s->uid : geteuid();
}

void praas_shm_geometry(const struct praas_shm_config *config,
			struct praas_channel_geometry *ret_client,
			struct praas_channel_geometry *ret_reply)
{
	*ret_client = (struct praas_channel_geometry){
		.blocks = 1 + config->workers,
		.ring_slots = config->ring_slots,
		.pool_bytes = praas_align_up(config->client_pool_bytes, 4096),
	};
	*ret_reply = (struct praas_channel_geometry){
		.blocks = 1,
		.ring_slots = config->ring_slots,
		.pool_bytes = praas_align_up(config->reply_pool_bytes, 4096),
	};
}

int praas_shm_configure(struct praas_port *port, const struct praas_shm_config *config)
{
	struct praas_shm_port *p = praas_shm_port_of(port);
	struct praas_shm_config s = *config;
	struct praas_channel_geometry g, reply;

	praas_shm_defaults(&s);
	praas_shm_geometry(&s, &g, &reply);
	if (s.workers > PRAAS_SHM_WORKERS_MAX ||
	    s.first_segment >= PRAAS_SHM_SEGMENTS || p->conns_count != 0 ||
	    praas_channel_geometry_check(&g) != 0)
		return -EINVAL;
	if (p->path && s.uid != geteuid() && chmod(p->path, 0666) != 0)
		return -errno;
	p->shm = s;
	p->next_segment = s.first_segment;
	return 0;
}

static int address(const struct praas_port *port, char ret_addr[PRAAS_ADDR_MAX])
{
	const struct praas_shm_port *p =
		(const struct praas_shm_port *)(const void *)port;

	if (!p->path)
		return -ENOTCONN;
	(void)snprintf(ret_addr, PRAAS_ADDR_MAX, "shm://%s",
		       p->path); /* path is < 108 */
	return 0;
}

static int connect_to(struct praas_port *port, const char *addr,
		      const struct praas_conn_events *events, void *user,
		      struct praas_conn **ret_conn)
{
	struct praas_shm_port *p = praas_shm_port_of(port);
	struct praas_shm_conn *c;
	const char *path;
	int fd = -1;
	int rc = praas_shm_path(addr, &path);
	int error;

	if (rc != 0)
		return rc;
	if (p->conns_count >= p->config.conns_max)
		return -ENOBUFS;
	error = praas_shm_sock_connect(path, &fd);
	c = praas_shm_conn_new(p, fd, false);
	if (!c) {
		if (fd >= 0)
			(void)close(fd);
		return -ENOMEM;
	}
	praas_conn_set_events(&c->base, events, user);
	c->base.bytes_max = PRAAS_SHM_WELCOME_MAX;
	if (error == 0)
		error = praas_shm_watch(p, &c->source);
	p->failed = true; /* the outcome is told by the next poll */
	if (error != 0)
		praas_shm_conn_fail(c, error);
	*ret_conn = &c->base;
	return 0;
}

/* Whom we let in: our own user, root, and the one that was configured. */
static bool peer_allowed(const struct praas_shm_port *p, int fd)
{
	struct ucred cred;
	socklen_t bytes = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) != 0)
		return false;
	return cred.uid == geteuid() || cred.uid == 0 || cred.uid == p->shm.uid;
}

static void accept_one(struct praas_shm_port *p, int fd)
{
	bool allowed = peer_allowed(p, fd);
	bool full = p->conns_count >= p->config.conns_max ||
		    p->handshaking >= p->config.unauthenticated_max;
	struct praas_shm_conn *c;

	if (full || !allowed) {
		praas_shm_refuse(fd, allowed ? PRAAS_CLOSE_LIMIT : PRAAS_CLOSE_USER);
		return;
	}
	c = praas_shm_conn_new(p, fd, true);
	if (!c) {
		praas_shm_refuse(fd, PRAAS_CLOSE_INTERNAL);
		return;
	}
	praas_conn_set_events(&c->base, p->config.accept_events, p->config.accept_user);
	if (praas_shm_watch(p, &c->source) != 0) {
		praas_shm_conn_end(c);
		return;
	}
	c->state = PRAAS_SHM_HANDSHAKE;
	c->base.events->opened(c->base.user, &c->base);
}

/* ---- polling ------------------------------------------------------------------------------ */

static void warm(struct praas_shm_conn *c)
{
	struct praas_doorbell bell;

	if (!c->cold)
		return;
	bell = (struct praas_doorbell){ .shared = praas_channel_doorbell(&c->mine) };
	praas_doorbell_awake(&bell);
	c->cold = false;
	c->idle_rounds = 0;
}

static void drain_wake(int fd)
{
	uint64_t wakes[8];

	for (unsigned i = 0; i < PRAAS_SHM_BURST; i++)
		if (recv(fd, wakes, sizeof(wakes), MSG_DONTWAIT) <= 0)
			return;
}

static unsigned accept_some(struct praas_shm_port *p)
{
	unsigned n;

	for (n = 0; n < EVENTS; n++) {
		int fd =
			accept4(p->listen.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			break;
		accept_one(p, fd);
	}
	return n;
}

static unsigned poll_sockets(struct praas_shm_port *p)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(p->epoll_fd, events, EVENTS, 0);
	unsigned done = 0;

	p->turns = 0;
	for (int i = 0; i < n; i++) {
		struct praas_shm_source *s = events[i].data.ptr;

		if (s->kind == PRAAS_SHM_SOURCE_LISTEN) {
			done += accept_some(p);
		} else if (s->kind == PRAAS_SHM_SOURCE_ROUTE) {
			drain_wake(s->fd);
		} else if (s->conn->state != PRAAS_SHM_ENDED &&
			   s->conn->state != PRAAS_SHM_CONNECTING) {
			warm(s->conn);
			done += praas_shm_socket_poll(s->conn);
		}
	}
	return done;
}

/* Connections that connect() began, and those that failed. */
static unsigned settle(struct praas_shm_port *p)
{
	unsigned done = 0;

	for (uint32_t i = p->conns_count; i-- > 0;) {
		struct praas_shm_conn *c;

		if (i >= p->conns_count)
			continue; /* a handler closed others */
		c = p->conns[i];
		if (c->failing) {
			praas_shm_conn_tell_closed(c);
			done++;
		} else if (c->state == PRAAS_SHM_CONNECTING) {
			c->state = PRAAS_SHM_HANDSHAKE;
			c->base.events->opened(c->base.user, &c->base);
			done++;
		}
	}
	return done;
}

/* Makes connections cold that were idle for long: one fence for all of them. */
static void cool(struct praas_shm_port *p)
{
	bool any = false;

	for (uint32_t i = 0; i < p->conns_count; i++) {
		struct praas_shm_conn *c = p->conns[i];
		struct praas_doorbell bell;

		if (c->state == PRAAS_SHM_OPEN)
			praas_shm_big_retry(c);
		c->idle_rounds = c->active ? 0 : c->idle_rounds + 1;
		c->active = false;
		if (!c->server || c->state != PRAAS_SHM_OPEN || c->cold || c->eof ||
		    c->idle_rounds < COLD_ROUNDS)
			continue;
		bell = (struct praas_doorbell){ .shared = praas_channel_doorbell(
							&c->mine) };
		praas_doorbell_announce(&bell);
		c->cold = true;
		c->idle_rounds = 0;
		any = true;
	}
	if (!any)
		return;
	praas_doorbell_fence_producers();
	for (uint32_t i = 0; i < p->conns_count; i++) {
		struct praas_shm_conn *c = p->conns[i];

		if (c->cold && praas_ring_ready(&c->channel.rx))
			warm(c);
	}
}

static void disarm(struct praas_shm_port *p)
{
	p->armed = p->announced = false;
	for (uint32_t i = 0; i < p->conns_count; i++) {
		struct praas_shm_conn *c = p->conns[i];

		if (c->state == PRAAS_SHM_OPEN && !c->cold) {
			struct praas_doorbell bell = { .shared = praas_channel_doorbell(
							       &c->mine) };

			praas_doorbell_awake(&bell);
		}
	}
}

static bool sockets_due(struct praas_shm_port *p, unsigned done)
{
	p->turns++;
	p->worked |= done != 0;
	if (p->handshaking != 0)
		return p->listen.fd < 0 || p->turns >= TURNS_SHAKING;
	/* A system call costs as much as several calls of a client who polls: such a port makes
	 * one now and then, between two of his calls. */
	if (p->listen.fd >= 0 && done == 0 && p->turns >= TURNS_IDLE)
		return !p->worked || praas_now_ns() - p->sockets_ns >= SOCKETS_NS;
	if (p->listen.fd < 0 && done != 0)
		p->turns = 0; /* its ring tells when the socket has something */
	return p->turns >= TURNS_BUSY;
}

static unsigned poll_rings(struct praas_shm_port *p, unsigned budget)
{
	unsigned done = 0;
	uint32_t count = p->conns_count;

	p->next = p->next + 1 < count ? p->next + 1 : 0;
	for (uint32_t i = 0, at = p->next;
	     i < count && at < p->conns_count && done < budget; i++) {
		struct praas_shm_conn *c = p->conns[at];
		unsigned left = budget - done, frames;

		at = at + 1 < count ? at + 1 : 0;
		if (c->sent_head)
			praas_shm_flush_sent(c, 0);
		if (c->state != PRAAS_SHM_OPEN || c->cold || c->failing)
			continue;
		frames = praas_shm_conn_poll(
			c, left < PRAAS_SHM_BURST ? left : PRAAS_SHM_BURST);
		done += frames;
		if (frames != 0) {
			p->busy = c == p->last && c->in_table ? c : NULL;
			p->last = c;
		}
	}
	return done;
}

static unsigned poll_port(struct praas_port *port, unsigned budget)
{
	struct praas_shm_port *p = praas_shm_port_of(port);
	bool was_armed = p->armed;
	unsigned done;

	p->polling = true;
	if (praas_unlikely(was_armed))
		disarm(p);
	done = poll_rings(p, budget);
	if (praas_unlikely(was_armed || sockets_due(p, done))) {
		uint64_t now = praas_now_ns();

		p->sockets_ns = now;
		p->worked = false;
		done += poll_sockets(p);
		if (now - p->round_ns >= ROUND_NS) {
			p->round_ns = now;
			cool(p);
		}
	}
	if (praas_unlikely(p->failed)) {
		p->failed = false;
		done += settle(p);
	}
	p->polling = false;
	if (praas_unlikely(p->dead != NULL))
		praas_shm_bury(p);
	return done;
}

static bool ready(const struct praas_port *port)
{
	const struct praas_shm_conn *c =
		((const struct praas_shm_port *)(const void *)port)->busy;

	return !c || praas_ring_ready(&c->channel.rx);
}

static bool has_work(const struct praas_shm_port *p)
{
	bool work = p->failed;

	for (uint32_t i = 0; i < p->conns_count; i++) {
		const struct praas_shm_conn *c = p->conns[i];

		work = work || c->sent_head || c->failing || c->eof ||
		       c->backlog.count != 0 || c->state == PRAAS_SHM_CONNECTING;
	}
	return work;
}

static void announce(struct praas_port *port)
{
	struct praas_shm_port *p = praas_shm_port_of(port);

	for (uint32_t i = 0; i < p->conns_count; i++) {
		struct praas_shm_conn *c = p->conns[i];
		struct praas_doorbell bell;

		if (c->state != PRAAS_SHM_OPEN || c->cold)
			continue;
		bell = (struct praas_doorbell){ .shared = praas_channel_doorbell(
							&c->mine) };
		praas_doorbell_announce(&bell);
	}
	p->armed = p->announced = true;
}

static int arm(struct praas_port *port, int *ret_fd)
{
	struct praas_shm_port *p = praas_shm_port_of(port);
	bool work = has_work(p);

	if (!work) {
		if (!p->announced) {
			announce(port);
			praas_doorbell_fence_producers();
		}
		for (uint32_t i = 0; i < p->conns_count && !work; i++) {
			struct praas_shm_conn *c = p->conns[i];

			work = c->state == PRAAS_SHM_OPEN &&
			       c->bufs_out < c->bufs_max &&
			       praas_ring_ready(&c->channel.rx);
		}
	}
	p->announced = false;
	if (work) {
		disarm(p);
		return -EAGAIN;
	}
	*ret_fd = p->epoll_fd;
	return 0;
}

static void free_port(struct praas_port *port)
{
	struct praas_shm_port *p = praas_shm_port_of(port);

	if (!p)
		return;
	while (p->conns_count != 0)
		praas_shm_conn_close(&p->conns[p->conns_count - 1]->base, false);
	praas_shm_bury(p);
	if (p->listen.fd >= 0)
		(void)close(p->listen.fd);
	if (p->path)
		(void)unlink(p->path); /* ours; gone already is as good */
	free(p->path);
	if (p->epoll_fd >= 0)
		(void)close(p->epoll_fd);
	praas_shm_spare_give(port, NULL);
	praas_shm_port_unref(p);
}

const struct praas_transport_ops praas_shm_transport_ops = {
	.scheme = "shm",
	.sealed = true,
	.open = open_port,
	.address = address,
	.connect = connect_to,
	.alloc = praas_shm_alloc,
	.send = praas_shm_send,
	.send_head = praas_shm_send_head,
	.ready = ready,
	.poll = poll_port,
	.announce = announce,
	.arm = arm,
	.close = praas_shm_conn_close,
	.free = free_port,
};
