/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rest/peers.h"

#include <errno.h>
#include <linux/tcp.h> /* glibc's tcp_info ends before the bytes received */
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "internal/base.h"

#define LOOK_NS 1000000000ull
#define CLOSE_WAIT 8 /* of a TCP connection, as the kernel numbers it */
#define BATCH 128u   /* looked at under one hold of the lock */
#define ADDRESSES 4096u

struct praas_peer {
	_Atomic uint64_t since_ns; /* its phase */
	_Atomic uint64_t bytes;
	_Atomic uint32_t phase;
	/* under the lock */
	int fd; /* -1: free */
	uint32_t next_free;
	struct praas_peer *same_next,
		**same_at; /* whose addresses have the same hash */
	/* of the looking thread, for one since_ns */
	uint64_t looked_ns; /* when received was counted; 0 not yet */
	uint64_t looked_since_ns;
	uint64_t received;
	uint64_t began_ns; /* something of a head came; 0 no */
	uint64_t taken;    /* of a body, at the last look */
	char from[PRAAS_PEER_FROM_BYTES];
};

struct praas_peers {
	struct praas_peers_config config;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t stop;
	struct praas_peer *all;
	uint32_t high; /* beyond it none was ever used */
	uint32_t free; /* first, config.max: none */
	uint32_t open;
	uint64_t cut, refused;
	bool stopping;
	struct praas_peer *same[ADDRESSES];
};

/* FNV-1a; who can choose addresses freely has no need of collisions. */
static struct praas_peer **chain_of(struct praas_peers *s, const char *from)
{
	uint32_t hash = 2166136261u;

	for (; *from; from++)
		hash = (hash ^ (uint8_t)*from) * 16777619u;
	return &s->same[hash % ADDRESSES];
}

/* At most as many as there may be from one address, and what shares its hash. */
static uint32_t count_from(struct praas_peers *s, const char *from)
{
	uint32_t count = 0;

	for (const struct praas_peer *p = *chain_of(s, from); p; p = p->same_next)
		count += strcmp(p->from, from) == 0;
	return count;
}

static void chain_in(struct praas_peers *s, struct praas_peer *p)
{
	struct praas_peer **first = chain_of(s, p->from);

	p->same_next = *first;
	p->same_at = first;
	if (*first)
		(*first)->same_at = &p->same_next;
	*first = p;
}

static void chain_out(struct praas_peer *p)
{
	*p->same_at = p->same_next;
	if (p->same_next)
		p->same_next->same_at = p->same_at;
}

static struct tcp_info tcp_of(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t bytes = sizeof(info);

	(void)getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes); /* else zeros */
	return info;
}

/* A head that has begun must end; that it has is seen by what was received between two looks. */
static bool head_slow(const struct praas_peers *s, struct praas_peer *p,
		      uint64_t since_ns, uint64_t now_ns)
{
	uint64_t head_ns = s->config.head_ns;
	struct tcp_info tcp;

	if (p->looked_since_ns != since_ns) {
		p->looked_since_ns = since_ns;
		p->looked_ns = 0;
		p->began_ns = 0;
	}
	if (now_ns - since_ns < head_ns ||
	    (p->looked_ns && now_ns - p->looked_ns < head_ns / 2))
		return false;
	/* With few places left, who asks for nothing makes room. */
	if (s->open > s->config.max / 4 * 3 || now_ns - since_ns > s->config.idle_ns)
		return true;
	tcp = tcp_of(p->fd);
	if (p->looked_ns && tcp.tcpi_bytes_received != p->received && !p->began_ns)
		p->began_ns = now_ns;
	p->received = tcp.tcpi_bytes_received;
	p->looked_ns = now_ns;
	/* libmicrohttpd 0.9.75 may overlook an end that comes with the last of what is there. */
	return tcp.tcpi_state == CLOSE_WAIT ||
	       (p->began_ns && now_ns - p->began_ns >= head_ns);
}

static bool body_abandoned(struct praas_peer *p, uint64_t bytes)
{
	bool moved = p->taken != bytes;

	p->taken = bytes;
	return !moved && tcp_of(p->fd).tcpi_state == CLOSE_WAIT;
}

static bool too_slow(const struct praas_peers *s, struct praas_peer *p, uint64_t now_ns)
{
	uint64_t since = atomic_load_explicit(&p->since_ns, memory_order_relaxed);
	uint64_t bytes = atomic_load_explicit(&p->bytes, memory_order_relaxed);
	uint64_t allowed = s->config.head_ns + bytes * 1000000000u / s->config.rate;

	if (since >= now_ns)
		return false;
	switch (atomic_load_explicit(&p->phase, memory_order_relaxed)) {
	case PRAAS_PEER_HEAD:
		return head_slow(s, p, since, now_ns);
	case PRAAS_PEER_BODY:
		return now_ns - since > allowed ||
		       (now_ns - since > LOOK_NS && body_abandoned(p, bytes));
	case PRAAS_PEER_ANSWER:
		return now_ns - since > allowed;
	default:
		return false;
	}
}

static void look_at(struct praas_peers *s, uint32_t from, uint32_t to, uint64_t now_ns)
{
	for (uint32_t i = from; i < to; i++) {
		struct praas_peer *p = &s->all[i];

		if (p->fd < 0 || !too_slow(s, p, now_ns))
			continue;
		/* libmicrohttpd finds the end and closes it; until then the fd is its own. */
		(void)shutdown(p->fd, SHUT_RDWR);
		atomic_store_explicit(&p->since_ns, UINT64_MAX, memory_order_relaxed);
		s->cut++;
	}
}

static void look(struct praas_peers *s)
{
	uint64_t now = praas_now_ns();

	for (uint32_t i = 0; i < s->high && !s->stopping; i += BATCH) {
		look_at(s, i, (uint32_t)praas_min_u64(i + BATCH, s->high), now);
		(void)pthread_mutex_unlock(
			&s->lock); /* who comes or goes need not wait */
		(void)pthread_mutex_lock(&s->lock);
	}
}

static void *thread_main(void *arg)
{
	struct praas_peers *s = arg;

	(void)pthread_mutex_lock(&s->lock);
	while (!s->stopping) {
		uint64_t due = praas_now_ns() + LOOK_NS;
		struct timespec until = { .tv_sec = (time_t)(due / 1000000000u),
					  .tv_nsec = (long)(due % 1000000000u) };

		if (s->open > 0)
			(void)pthread_cond_timedwait(&s->stop, &s->lock, &until);
		else
			(void)pthread_cond_wait(&s->stop, &s->lock);
		look(s);
		(void)pthread_mutex_unlock(&s->lock);
		s->config.look(s->config.user, praas_now_ns());
		(void)pthread_mutex_lock(&s->lock);
	}
	(void)pthread_mutex_unlock(&s->lock);
	return NULL;
}

int praas_peers_new(const struct praas_peers_config *config,
		    struct praas_peers **ret_peers)
{
	struct praas_peers *s = calloc(1, sizeof(*s));
	pthread_condattr_t attr;
	int rc;

	if (!s)
		return -ENOMEM;
	s->config = *config;
	s->free = config->max;
	s->all = calloc(config->max, sizeof(*s->all));
	if (!s->all) {
		free(s);
		return -ENOMEM;
	}
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&s->stop, &attr);
	(void)pthread_condattr_destroy(&attr);
	rc = pthread_create(&s->thread, NULL, thread_main, s);
	if (rc) {
		(void)pthread_cond_destroy(&s->stop);
		(void)pthread_mutex_destroy(&s->lock);
		free(s->all);
		free(s);
		return -EAGAIN;
	}
	*ret_peers = s;
	return 0;
}

void praas_peers_free(struct praas_peers *peers)
{
	if (!peers)
		return;
	(void)pthread_mutex_lock(&peers->lock);
	peers->stopping = true;
	(void)pthread_cond_signal(&peers->stop);
	(void)pthread_mutex_unlock(&peers->lock);
	(void)pthread_join(peers->thread, NULL);
	(void)pthread_cond_destroy(&peers->stop);
	(void)pthread_mutex_destroy(&peers->lock);
	free(peers->all);
	free(peers);
}

bool praas_peers_room(struct praas_peers *peers, const char *from)
{
	bool room;

	if (peers->config.per_address == 0)
		return true;
	(void)pthread_mutex_lock(&peers->lock);
	room = count_from(peers, from) < peers->config.per_address;
	peers->refused += !room;
	(void)pthread_mutex_unlock(&peers->lock);
	return room;
}

struct praas_peer *praas_peer_add(struct praas_peers *peers, int fd, const char *from)
{
	struct praas_peer *p = NULL;

	(void)pthread_mutex_lock(&peers->lock);
	if (peers->free < peers->config.max) {
		p = &peers->all[peers->free];
		peers->free = p->next_free;
	} else if (peers->high < peers->config.max) {
		p = &peers->all[peers->high++];
	} else {
		peers->refused++;
	}
	if (p) {
		praas_peer_phase(p, PRAAS_PEER_HEAD, 0);
		p->fd = fd;
		(void)snprintf(p->from, sizeof(p->from), "%s", from);
		chain_in(peers, p);
		if (peers->open++ == 0)
			(void)pthread_cond_signal(&peers->stop);
	}
	(void)pthread_mutex_unlock(&peers->lock);
	return p;
}

void praas_peer_drop(struct praas_peers *peers, struct praas_peer *peer)
{
	if (!peer)
		return;
	(void)pthread_mutex_lock(&peers->lock);
	peer->fd = -1;
	chain_out(peer);
	peer->next_free = peers->free;
	peers->free = (uint32_t)(peer - peers->all);
	peers->open--;
	(void)pthread_mutex_unlock(&peers->lock);
}

void praas_peer_phase(struct praas_peer *peer, enum praas_peer_phase phase,
		      uint64_t bytes)
{
	if (!peer)
		return;
	atomic_store_explicit(&peer->since_ns, praas_now_ns(), memory_order_relaxed);
	atomic_store_explicit(&peer->bytes, bytes, memory_order_relaxed);
	atomic_store_explicit(&peer->phase, (uint32_t)phase, memory_order_relaxed);
}

void praas_peer_bytes(struct praas_peer *peer, uint64_t bytes)
{
	if (peer)
		atomic_store_explicit(&peer->bytes, bytes, memory_order_relaxed);
}

const char *praas_peer_from(const struct praas_peer *peer)
{
	return peer ? peer->from : "";
}

void praas_peers_stats(struct praas_peers *peers, struct praas_peers_stats *ret_stats)
{
	(void)pthread_mutex_lock(&peers->lock);
	ret_stats->open = peers->open;
	ret_stats->cut = peers->cut;
	ret_stats->refused = peers->refused;
	(void)pthread_mutex_unlock(&peers->lock);
}
