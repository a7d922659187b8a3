/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/verbs_port.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "transport/tcp_addr.h"

/*
 * The port. One turn: take what the devices have finished, look after connections with something to
 * do. The devices' queues are read in memory; the connection manager is asked, which is a system
 * call, when somebody is connecting and now and then.
 */

#define CONNS_MAX 65536u
#define CM_TURNS 256u                /* looks for events of connections every so many */
#define CHECK_NS UINT64_C(10000000)  /* how often stalls are looked for */
#define STARVED_NS UINT64_C(1000000) /* sleeps no longer when memory is wanted */
#define TIMER_NS UINT64_C(100000000)

static struct praas_verbs_port *port_of(struct praas_port *base)
{
	return (struct praas_verbs_port *)(void *)base;
}

static void release_fds(struct praas_verbs_port *port)
{
	if (port->listener)
		(void)rdma_destroy_id(port->listener); /* its requests were answered */
	port->listener = NULL;
	praas_verbs_devices_free(port);
	if (port->cm)
		rdma_destroy_event_channel(port->cm);
	if (port->timer_fd >= 0)
		(void)close(port->timer_fd); /* only a timer */
	if (port->epoll_fd >= 0)
		(void)close(port->epoll_fd); /* holds nothing of its own */
	free(port->by_index);
	free(port->generation);
}

static int watch_fd(struct praas_verbs_port *port, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(port->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static int make_fds(struct praas_verbs_port *port)
{
	int flags, rc;

	port->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	port->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (port->epoll_fd < 0 || port->timer_fd < 0)
		return -errno;
	port->cm = rdma_create_event_channel();
	if (!port->cm)
		return -errno;
	flags = fcntl(port->cm->fd, F_GETFL);
	if (flags < 0 || fcntl(port->cm->fd, F_SETFL, flags | O_NONBLOCK) != 0)
		return -errno;
	rc = watch_fd(port, port->cm->fd);
	return rc == 0 ? watch_fd(port, port->timer_fd) : rc;
}

static int port_open(const struct praas_port_config *config,
		     struct praas_port **ret_port)
{
	struct praas_verbs_port *port;
	int rc;

	if (config->memory == NULL || config->conns_max > CONNS_MAX ||
	    (config->listen && config->accept_events == NULL))
		return -EINVAL;
	port = calloc(1, sizeof(*port));
	if (!port)
		return -ENOMEM;
	praas_port_config_set(&port->config, config, CONNS_MAX);
	port->base.ops = &praas_verbs_transport_ops;
	port->epoll_fd = -1;
	port->timer_fd = -1;
	port->slots = port->config.conns_max;
	port->by_index = calloc(port->slots, sizeof(struct praas_verbs_conn *));
	port->generation = calloc(port->slots, sizeof(*port->generation));
	rc = port->by_index && port->generation ? make_fds(port) : -ENOMEM;
	if (rc == 0 && config->listen)
		rc = praas_verbs_listen(port, config->listen);
	/* What the device must know of our memory is too much for it, or not: it is known now. */
	if (rc == 0 && port->listener && port->listener->verbs)
		rc = praas_verbs_device_try(port, port->listener->verbs);
	if (rc != 0) {
		release_fds(port);
		free(port);
		return rc;
	}
	*ret_port = &port->base;
	return 0;
}

static int port_address(const struct praas_port *base, char ret_addr[PRAAS_ADDR_MAX])
{
	const struct praas_verbs_port *port =
		(const struct praas_verbs_port *)(const void *)base;
	union praas_tcp_addr addr = { 0 };
	const struct sockaddr *local;

	if (!port->listener)
		return -ENOTCONN;
	local = rdma_get_local_addr(port->listener);
	memcpy(&addr, local,
	       local->sa_family == AF_INET6 ? sizeof(addr.v6) : sizeof(addr.v4));
	praas_tcp_addr_format("verbs", &addr, ret_addr);
	return 0;
}

/* Closed by us: what is left to send, then until the peer has gone. */
static void run_ending(struct praas_verbs_conn *conn)
{
	praas_verbs_tell_sent(conn);
	praas_verbs_discard(conn);
	praas_verbs_flush(conn);
	if (conn->disconnected || conn->end_rc != PRAAS_VERBS_GOING ||
	    (conn->peer_bye && conn->bye_sent && conn->tx_head == conn->tx_tail)) {
		praas_verbs_destroy(conn);
		return;
	}
	if (conn->state == PRAAS_VERBS_FLUSHING && conn->bye_sent) {
		conn->state = PRAAS_VERBS_LINGERING;
		conn->since_ns = 0;
	}
}

/* All that the peer has sent has been seen. */
static bool drained(const struct praas_verbs_conn *conn)
{
	return conn->disconnected && !conn->starved && conn->received == conn->posted &&
	       conn->pieces_in_flight == 0;
}

/* One connection of the active list. */
static unsigned run(struct praas_verbs_conn *conn, unsigned budget)
{
	unsigned done = 0;

	if (conn->state == PRAAS_VERBS_FLUSHING ||
	    conn->state == PRAAS_VERBS_LINGERING) {
		run_ending(conn);
		return 0;
	}
	if (conn->state == PRAAS_VERBS_CONNECTING && conn->opened_due) {
		conn->state = PRAAS_VERBS_OPEN;
		praas_verbs_pending(conn, -1);
		done++;
		conn->base.events->opened(conn->base.user, &conn->base);
	}
	conn->starved = false;
	if (conn->state == PRAAS_VERBS_OPEN && conn->left.first)
		praas_verbs_tell_sent(conn);
	if (conn->state == PRAAS_VERBS_OPEN) {
		praas_verbs_grant(conn);
		done += praas_verbs_hand_up(conn, budget > done ? budget - done : 1);
	}
	if (conn->state == PRAAS_VERBS_OPEN)
		praas_verbs_flush(conn);
	if (conn->state != PRAAS_VERBS_OPEN && conn->state != PRAAS_VERBS_CONNECTING)
		return done;
	if (conn->end_rc != PRAAS_VERBS_GOING) {
		praas_verbs_end(conn, conn->end_rc);
		return done + 1;
	}
	if (conn->disconnected && drained(conn) &&
	    (done == 0 || conn->order_head == conn->order_tail)) {
		praas_verbs_end(conn, -ECONNRESET);
		return done + 1;
	}
	if (conn->starved || conn->left.first)
		praas_conn_activate(&conn->base);
	return done;
}

static unsigned run_one(struct praas_conn *base, unsigned budget)
{
	struct praas_verbs_conn *conn = praas_verbs_conn_of(base);
	unsigned done = 0;

	conn->running = true;
	if (conn->state != PRAAS_VERBS_DEAD)
		done = run(conn, budget);
	conn->running = false;
	if (conn->state == PRAAS_VERBS_DEAD)
		praas_verbs_reap(conn);
	return done;
}

static unsigned run_active(struct praas_verbs_port *port, unsigned budget)
{
	return praas_port_run_active(&port->base, budget, run_one);
}

static void wake_up(struct praas_verbs_port *port)
{
	uint64_t ignored;

	port->armed = false;
	praas_verbs_devices_awake(port);
	(void)!read(port->timer_fd, &ignored, sizeof(ignored)); /* if it has run out */
}

static unsigned port_poll(struct praas_port *base, unsigned budget)
{
	struct praas_verbs_port *port = port_of(base);
	bool awoken = port->armed;
	unsigned done = 0;

	if (praas_unlikely(awoken))
		wake_up(port);
	port->turn++;
	if (praas_unlikely(port->pending > 0 || awoken || port->turn % CM_TURNS == 0)) {
		uint64_t now = praas_now_ns();

		praas_verbs_cm_poll(port);
		if (now - port->check_ns >= CHECK_NS) {
			port->check_ns = now;
			praas_verbs_check_stalls(port, now);
		}
	}
	/* First what waits to leave. */
	if (port->base.active_first)
		done = run_active(port, budget);
	if (praas_verbs_devices_take(port) > 0 && port->base.active_first)
		done += run_active(port, budget > done ? budget - done : 0);
	return done;
}

/* Connections that only wait for memory do not keep us awake. */
static bool has_work(const struct praas_verbs_port *port, bool *ret_starved)
{
	*ret_starved = false;
	for (struct praas_conn *c = port->base.active_first; c; c = c->active_next) {
		if (!praas_verbs_conn_of(c)->starved)
			return true;
		*ret_starved = true;
	}
	return false;
}

static int port_arm(struct praas_port *base, int *ret_fd)
{
	struct praas_verbs_port *port = port_of(base);
	struct itimerspec timer = { 0 };
	uint64_t wake_ns = 0;
	bool starved;

	if (has_work(port, &starved))
		return -EAGAIN;
	if (!port->listener && port->used == 0) {
		*ret_fd = -1;
		return 0;
	}
	if (praas_verbs_devices_arm(port))
		return -EAGAIN;
	if (port->used > 0) /* silence is looked into */
		wake_ns = praas_max_u64(port->config.stall_timeout_ns / 2, TIMER_NS);
	for (const struct praas_verbs_conn *c = port->conns; c && wake_ns != TIMER_NS;
	     c = c->next)
		if (praas_verbs_is_busy(c))
			wake_ns = TIMER_NS;
	if (starved)
		wake_ns = STARVED_NS;
	timer.it_value.tv_sec = (time_t)(wake_ns / 1000000000u);
	timer.it_value.tv_nsec = (long)(wake_ns % 1000000000u);
	if (timerfd_settime(port->timer_fd, 0, &timer, NULL) != 0)
		return -EAGAIN; /* rather polls */
	port->armed = true;
	port->stats.sleeps++;
	*ret_fd = port->epoll_fd;
	return 0;
}

static void port_free(struct praas_port *base)
{
	struct praas_verbs_port *port = port_of(base);
	struct praas_verbs_conn *conn = port->conns, *next;

	for (; conn; conn = next) {
		next = conn->next;
		conn->base.active = false;
		if (conn->state == PRAAS_VERBS_OPEN ||
		    conn->state == PRAAS_VERBS_CONNECTING)
			praas_verbs_close(&conn->base, false);
		else if (conn->state == PRAAS_VERBS_DEAD)
			praas_verbs_reap(conn);
		else
			praas_verbs_destroy(conn);
	}
	release_fds(port);
	port->freed = true;
	if (!port->conns)
		free(port); /* else with the last frame that is still out */
}

void praas_verbs_port_stats(const struct praas_port *port,
			    struct praas_verbs_stats *ret_stats)
{
	*ret_stats = ((const struct praas_verbs_port *)(const void *)port)->stats;
}

const struct praas_transport_ops praas_verbs_transport_ops = {
	.scheme = "verbs",
	.open = port_open,
	.address = port_address,
	.connect = praas_verbs_connect,
	.alloc = praas_verbs_alloc,
	.send = praas_verbs_send,
	.poll = port_poll,
	.arm = port_arm,
	.close = praas_verbs_close,
	.free = port_free,
};
