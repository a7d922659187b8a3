/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/tcp_port.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/pages.h"
#include "transport/tcp_addr.h"

/*
 * The port. One turn: take what the kernel has finished, look after connections with something to do,
 * read the hot ones, and look after those that thereby got something to do. Idle connections are
 * in none of these lists.
 */

#define CHUNKS_SMALL 8u
#define CHUNKS_LARGE 64u
#define CLOCK_TURNS 64u              /* looks at the clock every so many */
#define STARVED_NS UINT64_C(1000000) /* sleeps no longer when memory is wanted */
#define TIMER_MAX_NS UINT64_C(500000000)
#define END_TURNS 1000u /* of free(), for operations to end */

static struct praas_tcp_port *port_of(struct praas_port *base)
{
	return (struct praas_tcp_port *)(void *)base;
}

static int make_slots(struct praas_tcp_port *port)
{
	port->slots = port->config.conns_max;
	port->conn = praas_pages_new((size_t)port->slots * sizeof(*port->conn));
	port->scratch = aligned_alloc(64, PRAAS_TCP_SCRATCH_BYTES);
	if (port->conn == NULL || port->scratch == NULL)
		return -ENOMEM;
	return 0; /* what is never used is not touched: it would be most of an idle process */
}

static void free_memory(struct praas_tcp_port *port)
{
	praas_tls_context_free(port->tls);
	praas_pages_free(port->conn);
	free(port->scratch);
	free(port);
}

static int open_kind(const struct praas_port_config *config,
		     const struct praas_transport_ops *ops,
		     struct praas_port **ret_port)
{
	struct praas_tcp_port *port;
	bool large;
	int rc;

	if (config->memory == NULL ||
	    (config->listen && config->accept_events == NULL) ||
	    (config->listen && ops == &praas_tls_transport_ops &&
	     config->accept_key == NULL))
		return -EINVAL;
	port = calloc(1, sizeof(*port));
	if (port == NULL)
		return -ENOMEM;
	praas_port_config_set(&port->config, config, UINT32_MAX);
	port->base.ops = ops;
	port->listen_fd = -1;
	port->spare_fd = -1;
	large = port->config.conns_max > CHUNKS_SMALL;
	rc = make_slots(port);
	if (rc == 0 && ops == &praas_tls_transport_ops)
		rc = praas_tls_context_new(config->accept_key, config->accept_user,
					   &port->tls);
	if (rc != 0)
		goto err_memory;
	rc = praas_tcp_chunks_init(&port->chunks, port->config.memory,
				   large ? CHUNKS_LARGE : CHUNKS_SMALL,
				   large ? 4096 : 1024);
	if (rc != 0)
		goto err_memory;
	port->hot_max =
		(uint32_t)praas_min_u64(PRAAS_TCP_HOT_ALL, port->chunks.count / 4);
	port->chunks.freed = true; /* the first poll provides some */
	rc = praas_tcp_ring_init(port);
	if (rc != 0)
		goto err_chunks;
	if (config->listen) {
		rc = praas_tcp_listen(ops->scheme, config->listen, &port->listen_fd);
		if (rc != 0)
			goto err_ring;
		port->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
	*ret_port = &port->base;
	return 0;

err_ring:
	praas_tcp_ring_release(port);
err_chunks:
	praas_check(praas_tcp_chunks_release(&port->chunks));
err_memory:
	free_memory(port);
	return rc;
}

static int port_open(const struct praas_port_config *config,
		     struct praas_port **ret_port)
{
	return open_kind(config, &praas_tcp_transport_ops, ret_port);
}

static int port_open_tls(const struct praas_port_config *config,
			 struct praas_port **ret_port)
{
	return open_kind(config, &praas_tls_transport_ops, ret_port);
}

static int port_address(const struct praas_port *base, char ret_addr[PRAAS_ADDR_MAX])
{
	const struct praas_tcp_port *port =
		(const struct praas_tcp_port *)(const void *)base;
	union praas_tcp_addr addr;
	socklen_t bytes = sizeof(addr);

	if (port->listen_fd < 0)
		return -ENOTCONN;
	if (getsockname(port->listen_fd, &addr.any, &bytes) != 0)
		return -errno;
	praas_tcp_addr_format(base->ops->scheme, &addr, ret_addr);
	return 0;
}

/* One connection of the active list. */
static unsigned run(struct praas_tcp_conn *conn, unsigned budget)
{
	unsigned done = 0;
	int rc;

	if (conn->state == PRAAS_TCP_FLUSHING || conn->state == PRAAS_TCP_LINGERING) {
		praas_tcp_flush_out(conn);
		return 0;
	}
	if (conn->state == PRAAS_TCP_CONNECTING) {
		if (conn->end_rc != PRAAS_TCP_GOING) {
			praas_tcp_end(conn, conn->end_rc);
			return 1;
		}
		if (!conn->opened_due) {
			if (!conn->poll_out_armed)
				(void)praas_tcp_ring_poll(conn, PRAAS_TCP_OP_POLL_OUT);
			return 0;
		}
		conn->state = PRAAS_TCP_OPEN;
	}
	if (conn->state == PRAAS_TCP_OPEN && conn->opened_due) {
		rc = conn->end_rc == PRAAS_TCP_GOING ? praas_tcp_secure(conn)
						     : conn->end_rc;
		if (rc == -EAGAIN)
			return 0;
		if (rc != 0) {
			praas_tcp_end(conn, rc);
			return 1;
		}
		conn->opened_due = false;
		done++;
		conn->base.events->opened(conn->base.user, &conn->base);
	}
	if (conn->state == PRAAS_TCP_OPEN && conn->left.first)
		praas_tcp_tell_sent(conn);
	if (conn->state == PRAAS_TCP_OPEN)
		done += praas_tcp_recv_run(conn, budget);
	if (conn->state == PRAAS_TCP_OPEN && conn->unsent.first) {
		rc = praas_tcp_flush(conn);
		if (rc != 0 && conn->end_rc == PRAAS_TCP_GOING) {
			conn->end_rc = rc;
			praas_conn_activate(&conn->base);
		}
	}
	return done;
}

static unsigned run_one(struct praas_conn *base, unsigned budget)
{
	return run(praas_tcp_conn_of(base), budget);
}

static unsigned run_active(struct praas_tcp_port *port, unsigned budget)
{
	return praas_port_run_active(&port->base, budget, run_one);
}

static unsigned run_hot(struct praas_tcp_port *port, unsigned budget)
{
	unsigned done = 0;

	/* From the end, since one that cools down is replaced by the last. */
	for (uint32_t i = port->hot_count; i-- > 0 && done < budget;) {
		if (i < port->hot_count)
			done += praas_tcp_recv_hot(port->hot[i], budget - done);
	}
	return done;
}

static unsigned port_poll(struct praas_port *base, unsigned budget)
{
	struct praas_tcp_port *port = port_of(base);
	unsigned done = 0;

	if (praas_unlikely(!port->started) && praas_tcp_ring_start(port) != 0)
		return 0; /* another thread than the one that began */
	if (praas_unlikely(port->event_armed))
		praas_tcp_ring_awake(port);
	port->turn++;
	if (port->zombies)
		praas_tcp_reap(port);
	if (port->chunks.freed) {
		port->chunks.freed = false;
		praas_tcp_ring_provide(port);
	}
	if (praas_unlikely(port->listen_fd >= 0 && !port->accept_armed))
		(void)praas_tcp_ring_accept(port); /* else next turn */
	praas_tcp_ring_turn(port);
	if (port->base.active_first)
		done += run_active(port, budget);
	if (port->hot_count > 0 && done < budget)
		done += run_hot(port, budget - done);
	if (port->base.active_first)
		done += run_active(port, budget > done ? budget - done : 0);
	if (praas_unlikely(port->watch != NULL && port->turn % CLOCK_TURNS == 0)) {
		port->now_ns = praas_now_ns();
		praas_tcp_check_stalls(port);
	}
	base->copies = port->chunks.copies;
	praas_tcp_ring_submit(port);
	return done;
}

/* Connections that only wait for memory do not keep us awake. */
static bool has_work(const struct praas_tcp_port *port)
{
	for (struct praas_conn *c = port->base.active_first; c; c = c->active_next) {
		if (!praas_tcp_conn_of(c)->starved)
			return true;
	}
	return port->base.active_first != NULL && port->chunks.freed;
}

static int port_arm(struct praas_port *base, int *ret_fd)
{
	struct praas_tcp_port *port = port_of(base);
	uint64_t wake_ns = TIMER_MAX_NS;

	if (!port->started || has_work(port) || praas_tcp_ring_ready(port))
		return -EAGAIN;
	if (port->listen_fd < 0 && port->used == 0) {
		*ret_fd = -1;
		return 0;
	}
	for (uint32_t i = 0; i < port->hot_count; i++) {
		if (praas_tcp_unread(port->hot[i]))
			return -EAGAIN;
		if (!port->hot[i]->poll_in_armed &&
		    !praas_tcp_ring_poll(port->hot[i], PRAAS_TCP_OP_POLL_IN))
			return -EAGAIN;
	}
	if (port->base.active_first)
		wake_ns = STARVED_NS;
	else if (port->watch)
		wake_ns = praas_min_u64(wake_ns, port->config.stall_timeout_ns / 2 + 1);
	if ((port->base.active_first || port->watch) && !port->timer_armed)
		(void)praas_tcp_ring_timer(port, wake_ns); /* a late look at most */
	praas_tcp_ring_sleep(port);
	praas_tcp_ring_submit(port);
	if (praas_tcp_ring_ready(port))
		return -EAGAIN;
	/* The next poll looks at the clock. */
	port->turn |= CLOCK_TURNS - 1;
	*ret_fd = port->event_fd;
	return 0;
}

/* The last buffer of a port that was freed before has come back. */
static void on_chunks_idle(struct praas_tcp_chunks *chunks)
{
	struct praas_tcp_port *port =
		(struct praas_tcp_port *)(void *)((uint8_t *)chunks -
						  offsetof(struct praas_tcp_port,
							   chunks));

	if (praas_tcp_chunks_release(chunks))
		free_memory(port);
}

static void port_free(struct praas_port *base)
{
	struct praas_tcp_port *port = port_of(base);

	for (uint32_t i = 0; i < port->slots_made; i++) {
		struct praas_tcp_conn *conn = &port->conn[i];

		if (conn->state == PRAAS_TCP_OPEN ||
		    conn->state == PRAAS_TCP_CONNECTING)
			praas_tcp_close(&conn->base, false);
		else if (conn->state == PRAAS_TCP_FLUSHING ||
			 conn->state == PRAAS_TCP_LINGERING)
			praas_tcp_destroy(conn);
	}
	if (port->listen_fd >= 0)
		(void)close(port->listen_fd); /* was not written to */
	if (port->spare_fd >= 0)
		(void)close(port->spare_fd); /* of /dev/null */
	/* The kernel lets go of our memory before it is freed. Another thread cannot see to that;
	 * there the end of the ring cancels what is left before it touches memory again. */
	for (unsigned i = 0;
	     i < END_TURNS && port->used > 0 && praas_tcp_ring_is_owner(port); i++) {
		praas_tcp_ring_turn(port);
		while (port->base.active_first)
			(void)praas_conn_take_active(&port->base);
		praas_tcp_reap(port);
	}
	praas_tcp_ring_release(port);
	if (praas_tcp_chunks_release(&port->chunks)) {
		free_memory(port);
		return;
	}
	port->chunks.idle = on_chunks_idle; /* a buffer is still out */
}

const struct praas_transport_ops praas_tcp_transport_ops = {
	.scheme = "tcp",
	.open = port_open,
	.address = port_address,
	.connect = praas_tcp_connect,
	.alloc = praas_tcp_alloc,
	.send = praas_tcp_send,
	.poll = port_poll,
	.arm = port_arm,
	.close = praas_tcp_close,
	.free = port_free,
};

const struct praas_transport_ops praas_tls_transport_ops = {
	.scheme = "tls",
	.sealed = true,
	.open = port_open_tls,
	.address = port_address,
	.connect = praas_tcp_connect,
	.alloc = praas_tcp_alloc,
	.send = praas_tcp_send,
	.poll = port_poll,
	.arm = port_arm,
	.close = praas_tcp_close,
	.free = port_free,
};
