/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/dgram_port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>

/*
 * The port. One turn: connections with something to send; what the device has received; connections
 * that thereby got something to do. What they submit leaves the device together.
 */

#define CONNS_MAX 65535u /* the slot is 16 bits of a connection's number */
#define CLOCK_TURNS 16u
#define NUMBER_FIRST 49152u /* of ports taken by chance */
#define NUMBER_TRIES 64u
#define BLIND_NS UINT64_C(500000) /* sleep before a device that cannot wake us */

static struct praas_dgram_port *port_of(struct praas_port *base)
{
	return (struct praas_dgram_port *)(void *)base;
}

int praas_dgram_addr_parse(const char *scheme, const char *text,
			   struct praas_inet_ip *ret_ip, uint16_t *ret_port)
{
	char host[INET6_ADDRSTRLEN];
	size_t bytes = strlen(scheme);
	unsigned long number = 0;
	const char *end, *p;
	uint8_t prefix;
	bool v6;

	if (strncmp(text, scheme, bytes) != 0 || strncmp(text + bytes, "://", 3) != 0)
		return -EINVAL;
	text += bytes + 3;
	v6 = *text == '[';
	text += v6;
	end = strchr(text, v6 ? ']' : ':');
	if (end == NULL || (v6 && end[1] != ':') ||
	    (size_t)(end - text) >= sizeof(host))
		return -EINVAL;
	bytes = (size_t)(end - text);
	memcpy(host, text, bytes);
	host[bytes] = '\0';
	p = end + 1 + v6;
	end = p;
	for (; *p >= '0' && *p <= '9' && p - end < 6; p++)
		number = number * 10 + (unsigned long)(*p - '0');
	if (p == end || *p != '\0' || number > 65535 || strchr(host, '/') != NULL ||
	    praas_inet_ip_parse(host, ret_ip, &prefix) != 0 || ret_ip->v6 != v6)
		return -EINVAL;
	*ret_port = (uint16_t)number;
	return 0;
}

int praas_dgram_address(const struct praas_port *base, char ret_addr[PRAAS_ADDR_MAX])
{
	const struct praas_dgram_port *port =
		(const struct praas_dgram_port *)(const void *)base;
	const struct praas_inet_ip *ip = &port->dev->self.ip;
	char host[INET6_ADDRSTRLEN] = "";

	if (!port->listens)
		return -ENOTCONN;
	(void)inet_ntop(ip->v6 ? AF_INET6 : AF_INET, ip->byte, host,
			sizeof(host)); /* fits */
	(void)snprintf(ret_addr, PRAAS_ADDR_MAX, ip->v6 ? "%s://[%s]:%u" : "%s://%s:%u",
		       base->ops->scheme, host, port->number);
	return 0;
}

/* Takes one by chance that is free on the device. */
static int take_number(struct praas_dgram_port *port)
{
	struct praas_netdev *dev = port->dev;
	uint16_t random;
	int rc = -EADDRINUSE;

	for (unsigned i = 0; i < NUMBER_TRIES && rc == -EADDRINUSE; i++) {
		if (getrandom(&random, sizeof(random), 0) != sizeof(random))
			return -EIO;
		port->number =
			(uint16_t)(NUMBER_FIRST + random % (65536u - NUMBER_FIRST));
		rc = dev->ops->claim ? dev->ops->claim(dev, port->number) : 0;
	}
	return rc;
}

/* Its own address and number, and what fits into its packets. */
static int set_address(struct praas_dgram_port *port, const char *listen)
{
	uint32_t heads = praas_inet_udp_bytes(port->dev->self.ip.v6) -
			 PRAAS_INET_ETHER_BYTES + PRAAS_DGRAM_HEAD_BYTES +
			 PRAAS_SEAL_TAG_BYTES + PRAAS_ARQ_BODY_MIN(0);
	struct praas_inet_ip ip;
	uint16_t number;
	int rc;

	if (port->dev->mtu < heads + PRAAS_ARQ_SEGMENT_MIN)
		return -EINVAL;
	port->segment_bytes =
		(uint32_t)praas_min_u64(port->dev->mtu - heads, PRAAS_ARQ_SEGMENT_MAX) &
		~63u;
	if (listen == NULL)
		return take_number(port);
	rc = praas_dgram_addr_parse(port->base.ops->scheme, listen, &ip, &number);
	if (rc != 0)
		return rc;
	if (!praas_inet_ip_equal(&ip, &port->dev->self.ip))
		return -EADDRNOTAVAIL;
	port->listens = true;
	if (number == 0)
		return take_number(port);
	port->number = number;
	return port->dev->ops->claim ? port->dev->ops->claim(port->dev, number) : 0;
}

static int make_slots(struct praas_dgram_port *port)
{
	port->slots = port->config.conns_max;
	port->conn = calloc(port->slots, sizeof(*port->conn));
	if (port->conn == NULL)
		return -ENOMEM;
	for (uint32_t i = port->slots; i-- > 0;) {
		port->conn[i].index = i;
		port->conn[i].free_next = port->free_slots;
		port->free_slots = &port->conn[i];
	}
	return 0;
}

/* What is waited for while asleep. */
static int make_waiting(struct praas_dgram_port *port)
{
	struct epoll_event in = { .events = EPOLLIN };
	int fd = port->dev->ops->fd(port->dev);

	port->wait_fd = epoll_create1(EPOLL_CLOEXEC);
	port->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (port->wait_fd < 0 || port->timer_fd < 0 ||
	    epoll_ctl(port->wait_fd, EPOLL_CTL_ADD, port->timer_fd, &in) != 0 ||
	    (fd >= 0 && epoll_ctl(port->wait_fd, EPOLL_CTL_ADD, fd, &in) != 0))
		return -errno;
	return 0;
}

static void free_port(struct praas_dgram_port *port)
{
	if (port->wait_fd >= 0)
		(void)close(port->wait_fd); /* of epoll */
	if (port->timer_fd >= 0)
		(void)close(port->timer_fd); /* of a timer */
	port->dev->ops->close(port->dev);
	free(port->conn);
	free(port);
}

int praas_dgram_open(const struct praas_dgram_config *config,
		     struct praas_port **ret_port)
{
	const struct praas_port_config *c = &config->port;
	struct praas_dgram_port *port = calloc(1, sizeof(*port));
	int rc = 0;

	if (port == NULL) {
		config->dev->ops->close(config->dev);
		return -ENOMEM;
	}
	port->base.ops = config->ops;
	port->dev = config->dev;
	port->clear = config->clear;
	port->wait_fd = -1;
	port->timer_fd = -1;
	if (c->memory == NULL ||
	    (c->listen && (c->accept_events == NULL || c->accept_key == NULL)))
		rc = -EINVAL;
	praas_port_config_set(&port->config, c, CONNS_MAX);
	if (rc == 0)
		rc = set_address(port, c->listen);
	if (rc == 0)
		rc = make_slots(port);
	if (rc == 0)
		rc = make_waiting(port);
	if (rc != 0) {
		free_port(port);
		return rc;
	}
	*ret_port = &port->base;
	return 0;
}

void praas_dgram_port_stats(const struct praas_port *base,
			    struct praas_dgram_stats *ret_stats)
{
	*ret_stats = ((const struct praas_dgram_port *)(const void *)base)->stats;
}

static unsigned run_one(struct praas_conn *base, unsigned budget)
{
	return praas_dgram_run(praas_dgram_conn_of(base), budget);
}

static unsigned run_active(struct praas_dgram_port *port, unsigned budget)
{
	return praas_port_run_active(&port->base, budget, run_one);
}

/* Connections whose time has come. */
static void run_due(struct praas_dgram_port *port)
{
	uint64_t due_ns = UINT64_MAX;

	for (uint32_t i = 0; i < port->slots && port->used > 0; i++) {
		struct praas_dgram_conn *conn = &port->conn[i];

		if (conn->state == PRAAS_DGRAM_FREE)
			continue;
		if (conn->due_ns <= port->now_ns)
			praas_conn_activate(&conn->base);
		else
			due_ns = praas_min_u64(due_ns, conn->due_ns);
	}
	port->due_ns = due_ns;
}

static PRAAS_COLD void wake_up(struct praas_dgram_port *port)
{
	const struct itimerspec none = { 0 };

	port->armed = false;
	port->now_ns = praas_now_ns();
	(void)timerfd_settime(port->timer_fd, 0, &none, NULL); /* cannot fail so */
}

unsigned praas_dgram_poll(struct praas_port *base, unsigned budget)
{
	struct praas_dgram_port *port = port_of(base);
	unsigned done = 0;

	if (praas_unlikely(port->armed))
		wake_up(port);
	/* A turn in which nothing happens need not know the time: it is half of such a turn. */
	if (port->base.active_first || ++port->idle_turns % CLOCK_TURNS == 0)
		port->now_ns = praas_now_ns();
	if (port->base.active_first) {
		done = run_active(port, budget);
		port->dev->ops->flush(port->dev);
	}
	(void)praas_dgram_receive(port);
	if (praas_unlikely(port->due_ns <= port->now_ns))
		run_due(port);
	if (port->base.active_first && done < budget)
		done += run_active(port, budget - done);
	port->dev->ops->flush(port->dev);
	return done;
}

int praas_dgram_arm(struct praas_port *base, int *ret_fd)
{
	struct praas_dgram_port *port = port_of(base);
	uint64_t due_ns = UINT64_MAX, now_ns = praas_now_ns();
	struct itimerspec at = { 0 };

	for (uint32_t i = 0; i < port->slots && port->used > 0; i++) {
		struct praas_dgram_conn *conn = &port->conn[i];

		/* Better now than by a timer. */
		if (conn->arq != NULL && praas_arq_hurry(conn->arq))
			praas_conn_activate(&conn->base);
		if (conn->state != PRAAS_DGRAM_FREE)
			due_ns = praas_min_u64(due_ns, conn->due_ns);
	}
	if (port->base.active_first)
		return -EAGAIN;
	if (!port->listens && port->used == 0) {
		*ret_fd = -1;
		return 0;
	}
	port->due_ns = due_ns;
	if (port->dev->ops->fd(port->dev) < 0)
		due_ns = praas_min_u64(due_ns, now_ns + BLIND_NS);
	if (due_ns <= now_ns)
		return -EAGAIN;
	if (due_ns != UINT64_MAX) {
		at.it_value.tv_sec = (time_t)(due_ns / 1000000000u);
		at.it_value.tv_nsec = (long)(due_ns % 1000000000u);
	}
	if (timerfd_settime(port->timer_fd, TFD_TIMER_ABSTIME, &at, NULL) != 0)
		return -EAGAIN;
	port->armed = true;
	*ret_fd = port->wait_fd;
	return 0;
}

void praas_dgram_free(struct praas_port *base)
{
	struct praas_dgram_port *port = port_of(base);

	for (uint32_t i = 0; i < port->slots; i++) {
		struct praas_dgram_conn *conn = &port->conn[i];

		if (conn->state == PRAAS_DGRAM_OPENED ||
		    conn->state == PRAAS_DGRAM_OPENING)
			praas_dgram_close(&conn->base, false);
		if (conn->arq != NULL)
			praas_dgram_emit(conn);
		if (conn->state != PRAAS_DGRAM_FREE)
			praas_dgram_destroy(conn);
	}
	port->dev->ops->flush(port->dev);
	free_port(port);
}
