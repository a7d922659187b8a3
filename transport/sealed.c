/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/sealed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/sealed_port.h"

/*
 * The port: that of the transport below, and connections with something left to do, which are looked
 * after behind each of its polls.
 */

#define CHECK_NS UINT64_C(10000000) /* how often stalls are looked for */
#define CHECK_TURNS 256u /* … at most: the clock is not asked in each turn */
#define SUFFIX "+sealed"

static struct praas_sealed_port *port_of(struct praas_port *base)
{
	return (struct praas_sealed_port *)(void *)base;
}

/* Addresses here and below: "verbs+sealed://x" and "verbs://x". */
static int address_below(const char *addr, char ret_addr[PRAAS_ADDR_MAX])
{
	const char *mark = strstr(addr, SUFFIX "://");

	if (!mark || strlen(addr) >= PRAAS_ADDR_MAX)
		return -EINVAL;
	(void)snprintf(ret_addr, PRAAS_ADDR_MAX, "%.*s%s", (int)(mark - addr), addr,
		       mark + strlen(SUFFIX));
	return 0;
}

int praas_sealed_open(const struct praas_transport_ops *ops,
		      const struct praas_transport_ops *inner,
		      const struct praas_port_config *config,
		      struct praas_port **ret_port)
{
	struct praas_port_config below = *config;
	char listen[PRAAS_ADDR_MAX];
	struct praas_sealed_port *port;
	int rc = 0;

	if (config->memory == NULL ||
	    (config->listen &&
	     (config->accept_events == NULL || config->accept_key == NULL)))
		return -EINVAL;
	if (config->listen)
		rc = address_below(config->listen, listen);
	if (rc != 0)
		return rc;
	port = calloc(1, sizeof(*port));
	if (!port)
		return -ENOMEM;
	praas_port_config_set(&port->config, config, UINT32_MAX);
	port->base.ops = ops;
	port->below = inner;
	below.listen = config->listen ? listen : NULL;
	below.accept_events = &praas_sealed_accept_events;
	below.accept_user = port;
	below.accept_key = NULL;
	rc = inner->open(&below, &port->inner);
	if (rc != 0) {
		free(port);
		return rc;
	}
	*ret_port = &port->base;
	return 0;
}

int praas_sealed_address(const struct praas_port *base, char ret_addr[PRAAS_ADDR_MAX])
{
	const struct praas_sealed_port *port =
		(const struct praas_sealed_port *)(const void *)base;
	char below[PRAAS_ADDR_MAX];
	size_t scheme = strlen(port->below->scheme);
	int rc = port->below->address(port->inner, below);

	if (rc != 0)
		return rc;
	if (strlen(below) + strlen(SUFFIX) >= PRAAS_ADDR_MAX)
		return -EMSGSIZE;
	(void)snprintf(ret_addr, PRAAS_ADDR_MAX, "%s" SUFFIX "%.*s",
		       port->below->scheme,
		       (int)(PRAAS_ADDR_MAX - scheme - sizeof(SUFFIX)), below + scheme);
	return 0;
}

int praas_sealed_connect(struct praas_port *base, const char *addr,
			 const struct praas_conn_events *events, void *user,
			 struct praas_conn **ret_conn)
{
	struct praas_sealed_port *port = port_of(base);
	struct praas_sealed_conn *conn;
	char below[PRAAS_ADDR_MAX];
	int rc = address_below(addr, below);

	if (rc == 0)
		rc = praas_sealed_conn_new(port, &conn);
	if (rc != 0)
		return rc;
	praas_conn_set_events(&conn->base, events, user);
	rc = port->below->connect(port->inner, below, &praas_sealed_inner_events, conn,
				  &conn->inner);
	if (rc != 0) {
		praas_sealed_conn_drop(conn);
		return rc;
	}
	*ret_conn = &conn->base;
	return 0;
}

static void free_dead(struct praas_sealed_port *port)
{
	struct praas_sealed_conn *conn = port->dead, *next, *kept = NULL;

	for (; conn; conn = next) {
		next = conn->next;
		if (conn->base.active) { /* still in the list of those */
			conn->next = kept;
			kept = conn;
		} else {
			free(conn);
		}
	}
	port->dead = kept;
}

static unsigned run_one(struct praas_conn *base, unsigned budget)
{
	(void)budget; /* it hands up nothing */
	return praas_sealed_run(praas_sealed_conn_of(base));
}

unsigned praas_sealed_poll(struct praas_port *base, unsigned budget)
{
	struct praas_sealed_port *port = port_of(base);
	unsigned done = port->below->poll(port->inner, budget);
	bool awoken = port->armed;

	port->armed = false;
	if (base->active_first)
		done += praas_port_run_active(base, budget, run_one);
	if (praas_unlikely(awoken || ++port->turns % CHECK_TURNS == 0)) {
		uint64_t now_ns = praas_now_ns();

		if (now_ns - port->check_ns >= CHECK_NS) {
			port->check_ns = now_ns;
			praas_sealed_check_stalls(port, now_ns);
		}
	}
	if (praas_unlikely(port->dead))
		free_dead(port);
	base->copies = port->copies + port->inner->copies;
	return done;
}

/* Who waits for memory is tried again and again: no descriptor tells of it. */
int praas_sealed_arm(struct praas_port *base, int *ret_fd)
{
	struct praas_sealed_port *port = port_of(base);
	int rc = base->active_first ? -EAGAIN : port->below->arm(port->inner, ret_fd);

	port->armed = rc == 0;
	return rc;
}

void praas_sealed_free(struct praas_port *base)
{
	struct praas_sealed_port *port = port_of(base);
	struct praas_sealed_conn *conn = port->conns, *next;

	for (; conn; conn = next) {
		next = conn->next;
		if (conn->state == PRAAS_SEALED_FLUSHING)
			praas_sealed_end(conn, -ECANCELED);
		else
			praas_sealed_close(&conn->base, false);
	}
	while (base->active_first)
		(void)praas_conn_take_active(base);
	free_dead(port);
	port->below->free(port->inner);
	free(port);
}

void praas_sealed_port_stats(const struct praas_port *port,
			     struct praas_sealed_stats *ret_stats)
{
	*ret_stats = ((const struct praas_sealed_port *)(const void *)port)->stats;
}
