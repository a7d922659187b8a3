/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/ofi_port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

/*
 * The port. One turn: take what the provider has finished, then look after the connections that
 * have something to do. The endpoint is made when it is known for which provider: when listening at
 * once, else by the first connect().
 */

#define CONNS_MAX 32768u
#define REFUSALS 8u /* connections beyond the limit that can be told so at a time */
#define RECEIVES_SMALL 64u
#define RECEIVES_LARGE 256u
#define CONNS_SMALL 8u
#define ENTRIES 16u
#define CLOCK_TURNS 64u /* looks at the clock every so many */
#define PACE_MIN_NS UINT64_C(50000)
#define PACE_MAX_NS UINT64_C(1000000)
#define END_NS UINT64_C(50000000) /* of free(), for the last packets to leave */

static struct praas_ofi_port *port_of(struct praas_port *base)
{
	return (struct praas_ofi_port *)(void *)base;
}

static int make_slots(struct praas_ofi_port *port)
{
	port->slots = port->config.conns_max + REFUSALS;
	port->conn = calloc(port->slots, sizeof(*port->conn));
	port->peer = calloc(port->slots, sizeof(*port->peer));
	if (port->conn == NULL || port->peer == NULL)
		return -ENOMEM;
	for (uint32_t i = port->slots; i-- > 0;) {
		port->conn[i].index = i;
		port->conn[i].base.port = &port->base;
		port->conn[i].free_next = port->free_conns;
		port->free_conns = &port->conn[i];
	}
	return 0;
}

static int watch_fd(const struct praas_ofi_port *port, int fd, uint32_t how)
{
	struct epoll_event event = { .events = EPOLLIN | how, .data = { .fd = fd } };

	return epoll_ctl(port->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static int make_fds(struct praas_ofi_port *port)
{
	port->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (port->epoll_fd < 0)
		return -errno;
	port->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (port->timer_fd < 0)
		return -errno;
	return watch_fd(port, port->timer_fd, 0);
}

static void close_fd(int fd)
{
	if (fd >= 0)
		(void)close(fd); /* nothing was written */
}

/* All but what frames that are still out lie in. */
static void stop(struct praas_ofi_port *port)
{
	if (port->fabric.ep != NULL)
		(void)fi_close(&port->fabric.ep->fid); /* ends all operations */
	port->fabric.ep = NULL;
	for (uint32_t i = 0; i < port->slots && port->conn != NULL; i++) {
		struct praas_ofi_conn *conn = &port->conn[i];

		if (conn->state != PRAAS_OFI_FREE)
			praas_ofi_conn_drop(conn);
		if (conn->work != NULL && conn->work->mr != NULL)
			(void)fi_close(&conn->work->mr->fid); /* as above */
		free(conn->work);
	}
	praas_ofi_slots_unregister(port);
	praas_ofi_fabric_close(&port->fabric);
	free(port->conn);
	free(port->peer);
	close_fd(port->epoll_fd);
	close_fd(port->timer_fd);
}

void praas_ofi_port_last(struct praas_ofi_port *port)
{
	praas_ofi_slots_release(port);
	free(port);
}

int praas_ofi_port_start(struct praas_ofi_port *port, const struct praas_ofi_addr *addr,
			 bool listen)
{
	int rc;

	port->receives =
		port->config.conns_max > CONNS_SMALL ? RECEIVES_LARGE : RECEIVES_SMALL;
	rc = praas_ofi_fabric_open(&port->fabric, addr, listen, &port->receives);
	if (rc != 0)
		return rc;
	if (port->fabric.wait_fd >= 0)
		rc = watch_fd(port, port->fabric.wait_fd, EPOLLET); /* may_wait() */
	if (rc == 0)
		rc = praas_ofi_slots_init(port);
	if (rc != 0) {
		if (port->fabric.ep != NULL)
			(void)fi_close(&port->fabric.ep->fid); /* as above */
		port->fabric.ep = NULL;
		praas_ofi_slots_unregister(port);
		praas_ofi_fabric_close(&port->fabric);
		praas_ofi_slots_release(port);
		port->unposted = NULL;
		return rc;
	}
	port->opened = true;
	return 0;
}

static int port_open(const struct praas_port_config *config,
		     struct praas_port **ret_port)
{
	struct praas_ofi_addr addr;
	struct praas_ofi_port *port;
	int rc = config->listen ? praas_ofi_addr_parse(config->listen, &addr) : 0;

	if (rc != 0)
		return rc;
	if (config->memory == NULL || (config->listen && config->accept_events == NULL))
		return -EINVAL;
	port = calloc(1, sizeof(*port));
	if (port == NULL)
		return -ENOMEM;
	praas_port_config_set(&port->config, config, CONNS_MAX);
	port->base.ops = &praas_ofi_transport_ops;
	port->listening = config->listen != NULL;
	port->epoll_fd = -1;
	port->timer_fd = -1;
	port->fabric.wait_fd = -1;
	port->pace_ns = PACE_MIN_NS;
	rc = make_slots(port);
	if (rc == 0)
		rc = make_fds(port);
	if (rc == 0 && port->listening)
		rc = praas_ofi_port_start(port, &addr, true);
	if (rc != 0) {
		stop(port);
		praas_ofi_port_last(port);
		return rc;
	}
	*ret_port = &port->base;
	return 0;
}

static int port_address(const struct praas_port *base, char ret_addr[PRAAS_ADDR_MAX])
{
	const struct praas_ofi_port *port =
		(const struct praas_ofi_port *)(const void *)base;

	return port->listening ? praas_ofi_fabric_address(&port->fabric, ret_addr)
			       : -ENOTCONN;
}

/* ---- completions -------------------------------------------------------------------------- */

static PRAAS_COLD void on_error(struct praas_ofi_port *port)
{
	struct fi_cq_err_entry entry = { .err = 0 };
	struct praas_ofi_op *op;
	int rc;

	if (fi_cq_readerr(port->fabric.cq, &entry, 0) <= 0)
		return;
	op = entry.op_context;
	rc = entry.err > 0 && entry.err < 256 ? -entry.err : -EIO;
	if (op == NULL)
		return; /* of an injected packet: its connection will time out */
	if (op->kind == PRAAS_OFI_OP_RECV) {
		/* Too long for a packet, most likely; nobody knows whose it was. */
		port->posted--;
		port->base.protocol_errors++;
		praas_ofi_slot_post((struct praas_ofi_slot *)(void *)op);
	} else if (op->kind == PRAAS_OFI_OP_SEND) {
		praas_ofi_on_send((struct praas_ofi_send *)(void *)op, rc);
	} else {
		praas_ofi_on_read((struct praas_ofi_piece *)(void *)op, rc);
	}
}

static unsigned on_entry(struct praas_ofi_port *port, const struct fi_cq_msg_entry *e)
{
	struct praas_ofi_op *op = e->op_context;

	switch ((enum praas_ofi_op_kind)op->kind) {
	case PRAAS_OFI_OP_RECV:
		port->posted--;
		return praas_ofi_on_packet((struct praas_ofi_slot *)(void *)op, e->len);
	case PRAAS_OFI_OP_SEND:
		praas_ofi_on_send((struct praas_ofi_send *)(void *)op, 0);
		return 0;
	case PRAAS_OFI_OP_READ:
		praas_ofi_on_read((struct praas_ofi_piece *)(void *)op, 0);
		return 0;
	}
	return 0;
}

/* Makes progress, and takes at most budget completions. */
static unsigned take(struct praas_ofi_port *port, unsigned budget)
{
	struct fi_cq_msg_entry entry[ENTRIES] PRAAS_UNINITIALIZED;
	unsigned left = budget, done = 0;

	while (left > 0) {
		unsigned want = left < ENTRIES ? left : ENTRIES;
		ssize_t n = fi_cq_read(port->fabric.cq, entry, want);

		if (n == -FI_EAVAIL) {
			on_error(port);
			left--;
			continue;
		}
		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++)
			done += on_entry(port, &entry[i]);
		left -= (unsigned)n;
		if ((unsigned)n < want)
			break;
	}
	port->moved = left < budget;
	return done;
}

/* ---- connections with something to do ----------------------------------------------------- */

static void run_ending(struct praas_ofi_conn *conn)
{
	if (conn->state == PRAAS_OFI_OPEN || conn->state == PRAAS_OFI_CONNECTING)
		praas_ofi_end(conn, conn->end_rc);
	else if (conn->state != PRAAS_OFI_DEAD)
		praas_ofi_destroy(conn);
}

/* FLUSHING and LINGERING. */
static void run_leaving(struct praas_ofi_conn *conn)
{
	if (conn->state == PRAAS_OFI_FLUSHING && conn->unsent.first == NULL &&
	    conn->tx_number - conn->tx_acked < PRAAS_OFI_WINDOW)
		conn->wants |= PRAAS_OFI_WANT_FIN;
	praas_ofi_send_run(conn);
	if (conn->state == PRAAS_OFI_LINGERING && conn->tx_acked == conn->tx_number) {
		conn->peer_gone = true; /* it has seen all */
		praas_ofi_destroy(conn);
	}
}

static unsigned run(struct praas_ofi_conn *conn, unsigned budget)
{
	unsigned done = 0;

	if (conn->opened_due && conn->end_rc == PRAAS_OFI_GOING &&
	    conn->state <= PRAAS_OFI_OPEN) {
		conn->opened_due = false;
		conn->state = PRAAS_OFI_OPEN;
		conn->since_ns = 0;
		conn->base.events->opened(conn->base.user, &conn->base);
		done++;
	}
	if (conn->state == PRAAS_OFI_OPEN && conn->left.first)
		praas_ofi_tell_sent(conn);
	if (conn->state >= PRAAS_OFI_OPEN && conn->state <= PRAAS_OFI_LINGERING &&
	    conn->window_used > 0)
		done += praas_ofi_recv_run(conn, budget);
	/* What came before the end is handed up first. */
	if (conn->end_rc != PRAAS_OFI_GOING && (!conn->base.active || conn->overdue))
		run_ending(conn);
	if (conn->state == PRAAS_OFI_FLUSHING || conn->state == PRAAS_OFI_LINGERING)
		run_leaving(conn);
	else
		praas_ofi_send_run(conn);
	if (conn->state != PRAAS_OFI_OPEN)
		praas_ofi_tell_sent(conn); /* quiet: gives the buffers back */
	return done;
}

static unsigned run_one(struct praas_conn *base, unsigned budget)
{
	return run(praas_ofi_conn_of(base), budget);
}

static unsigned run_active(struct praas_ofi_port *port, unsigned budget)
{
	return praas_port_run_active(&port->base, budget, run_one);
}

static unsigned port_poll(struct praas_port *base, unsigned budget)
{
	struct praas_ofi_port *port = port_of(base);
	unsigned done;

	if (!port->opened)
		return 0;
	port->turn++;
	if (port->unposted)
		praas_ofi_slots_run(port);
	done = take(port, budget);
	if (port->base.active_first)
		done += run_active(port, budget > done ? budget - done : 0);
	if (port->dead)
		praas_ofi_reap(port);
	if (praas_unlikely(port->turn % CLOCK_TURNS == 0)) {
		port->now_ns = praas_now_ns();
		praas_ofi_watch(port);
	}
	if (done > 0)
		port->pace_ns = PACE_MIN_NS;
	return done;
}

/* ---- sleeping ----------------------------------------------------------------------------- */

/* Those that wait for the provider or for memory do not keep us awake. */
static bool has_work(const struct praas_ofi_port *port)
{
	for (struct praas_conn *at = port->base.active_first; at;
	     at = at->active_next) {
		const struct praas_ofi_conn *c = praas_ofi_conn_of(at);

		if (!c->starved && !c->blocked)
			return true;
	}
	return port->moved;
}

/* A provider's descriptor may stay readable by what was read long ago (net, 1.17). So only what is new
 * counts: that is put out, then the provider is asked once more. */
static bool may_wait(const struct praas_ofi_port *port)
{
	struct fid *queue = &port->fabric.cq->fid;
	struct fi_cq_msg_entry none;
	struct epoll_event event[2];

	(void)epoll_wait(port->epoll_fd, event, 2, 0); /* what, does not matter */
	return fi_trywait(port->fabric.fabric, &queue, 1) == 0 &&
	       fi_cq_read(port->fabric.cq, &none, 0) == -FI_EAGAIN;
}

static int port_arm(struct praas_port *base, int *ret_fd)
{
	struct praas_ofi_port *port = port_of(base);
	uint64_t due_ns = praas_ofi_due_ns(port);
	struct itimerspec timer = { .it_value = { .tv_sec = 0 } };

	if (!port->opened || (!port->listening && port->used == 0)) {
		*ret_fd = -1;
		return 0;
	}
	if (has_work(port))
		return -EAGAIN;
	if (port->fabric.wait_fd < 0) {
		due_ns = praas_min_u64(due_ns, port->pace_ns);
		port->pace_ns = praas_min_u64(PACE_MAX_NS, port->pace_ns * 2);
	}
	if (due_ns != UINT64_MAX) {
		timer.it_value.tv_sec = (time_t)(due_ns / 1000000000u);
		timer.it_value.tv_nsec = (long)(due_ns % 1000000000u);
	}
	if (timerfd_settime(port->timer_fd, 0, &timer, NULL) != 0)
		return -EAGAIN;        /* rather awake than asleep for ever */
	port->turn |= CLOCK_TURNS - 1; /* the next poll looks at the clock */
	if (port->fabric.wait_fd >= 0 && !may_wait(port))
		return -EAGAIN;
	*ret_fd = port->epoll_fd;
	return 0;
}

/* ---- the end ------------------------------------------------------------------------------ */

static void port_free(struct praas_port *base)
{
	struct praas_ofi_port *port = port_of(base);
	uint64_t until_ns = praas_now_ns() + END_NS;

	port->stopping = true;
	for (uint32_t i = 0; i < port->slots; i++) {
		struct praas_ofi_conn *conn = &port->conn[i];

		if (conn->state == PRAAS_OFI_OPEN ||
		    conn->state == PRAAS_OFI_CONNECTING)
			praas_ofi_close(&conn->base, false);
		else if (conn->state == PRAAS_OFI_FLUSHING ||
			 conn->state == PRAAS_OFI_LINGERING)
			praas_ofi_destroy(conn);
		conn->awaits_accept = false;
	}
	/* Peers hear it, if it takes no long time; all that they have said is heard first. */
	while (port->used > 0 && praas_now_ns() < until_ns)
		(void)port_poll(base, UINT32_MAX);
	stop(port);
	if (port->held == 0)
		praas_ofi_port_last(port);
}

void praas_ofi_port_set_packets_only(struct praas_port *port)
{
	port_of(port)->packets_only = true;
}

void praas_ofi_port_set_registers(struct praas_port *port)
{
	port_of(port)->registers = true;
}

uint64_t praas_ofi_port_registrations(const struct praas_port *port)
{
	return ((const struct praas_ofi_port *)(const void *)port)->registrations;
}

const struct praas_transport_ops praas_ofi_transport_ops = {
	.scheme = "ofi",
	.open = port_open,
	.probe = praas_ofi_providers,
	.address = port_address,
	.connect = praas_ofi_connect,
	.alloc = praas_ofi_alloc,
	.send = praas_ofi_send,
	.poll = port_poll,
	.arm = port_arm,
	.close = praas_ofi_close,
	.free = port_free,
};
