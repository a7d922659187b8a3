/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/shm_conn.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "shm/pages.h"

/* Life of a connection of the shm transport: made, failed, ended, and freed when the last buffer
 * that was given out has come back. The port's thread. */

void praas_shm_port_unref(struct praas_shm_port *p)
{
	if (--p->refs != 0)
		return;
	praas_shm_handles_free(p);
	free(p->conns);
	free(p->segments);
	free(p->datagram);
	free(p);
}

static void destroy(struct praas_shm_conn *c)
{
	struct praas_shm_port *p = c->port;

	praas_shm_big_release_all(c);
	praas_shm_grants_release(c);
	praas_shm_routes_release(c);
	praas_pool_free(c->pool);
	if (c->server && c->peer.base) {
		if (c->switched)
			praas_shm_segment_told(p, &c->peer, false);
		praas_shm_segment_known(p, &c->peer, false);
	}
	if (c->server && c->mine.base)
		praas_shm_segment_known(p, &c->mine, false);
	praas_segment_release(&c->mine);
	praas_segment_release(&c->peer);
	praas_pages_free(c->backlog.ref);
	praas_pages_free(c->loans);
	free(c);
	praas_shm_port_unref(p);
}

void praas_shm_bury(struct praas_shm_port *p)
{
	while (p->dead) {
		struct praas_shm_conn *c = p->dead;

		p->dead = c->next_dead;
		destroy(c);
	}
}

/* An ended connection lost a buffer, or has just ended. */
void praas_shm_conn_unref(struct praas_shm_conn *c)
{
	struct praas_shm_port *p = c->port;

	if (c->bufs_out != 0 || c->in_table)
		return;
	c->next_dead = p->dead;
	p->dead = c;
	/* An epoll event at hand may still name it: not inside a turn. */
	if (!p->polling)
		praas_shm_bury(p);
}

void praas_shm_conn_fail(struct praas_shm_conn *c, int rc)
{
	if (c->failing || c->state == PRAAS_SHM_ENDED)
		return;
	if (rc == -EPROTO)
		c->port->base.protocol_errors++;
	c->failing = true;
	c->error = rc;
	c->port->failed = true;
}

static int table_add(struct praas_shm_port *p, struct praas_shm_conn *c)
{
	if (p->conns_count == p->conns_capacity) {
		uint32_t capacity = p->conns_capacity ? 2 * p->conns_capacity : 16;
		struct praas_shm_conn **conns =
			realloc(p->conns, capacity * sizeof(*conns));

		if (!conns)
			return -ENOMEM;
		p->conns = conns;
		p->conns_capacity = capacity;
	}
	c->at = p->conns_count;
	p->conns[p->conns_count++] = c;
	c->in_table = true;
	p->refs++;
	return 0;
}

static void table_remove(struct praas_shm_port *p, struct praas_shm_conn *c)
{
	struct praas_shm_conn *last = p->conns[--p->conns_count];

	p->conns[c->at] = last;
	last->at = c->at;
	c->in_table = false;
	if (p->busy == c)
		p->busy = NULL;
}

struct praas_shm_conn *praas_shm_conn_new(struct praas_shm_port *p, int fd, bool server)
{
	struct praas_shm_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->base.ops = &praas_shm_transport_ops;
	c->base.port = &p->base;
	c->base.bytes_max = p->config.handshake_bytes_max;
	c->port = p;
	c->server = server;
	c->source = (struct praas_shm_source){ .kind = PRAAS_SHM_SOURCE_CONN,
					       .fd = fd,
					       .conn = c };
	if (table_add(p, c) != 0) {
		free(c);
		return NULL;
	}
	p->handshaking++;
	return c;
}

/* Takes it off the port: no upcall any more. What it holds goes with its last buffer. */
void praas_shm_conn_end(struct praas_shm_conn *c)
{
	struct praas_shm_port *p = c->port;

	if (c->state != PRAAS_SHM_OPEN)
		p->handshaking--;
	else
		c->switched = true;
	c->state = PRAAS_SHM_ENDED;
	if (c->source.fd >= 0) {
		praas_shm_unwatch(p, &c->source);
		(void)close(c->source.fd);
	}
	c->source.fd = -1;
	praas_conn_end(&c->base);
	table_remove(p, c);
	praas_shm_conn_unref(c);
}

void praas_shm_conn_tell_closed(struct praas_shm_conn *c)
{
	praas_shm_flush_sent(c, c->error != 0 ? c->error : -ECONNRESET);
	c->base.events->closed(c->base.user, &c->base, c->error);
	praas_shm_conn_end(c);
}

void praas_shm_conn_close(struct praas_conn *conn, bool after_flush)
{
	struct praas_shm_conn *c = praas_shm_conn_of(conn);
	struct praas_shm_msg bye = { .kind = PRAAS_SHM_BYE };

	(void)after_flush; /* what was sent is in the ring, and stays readable for the peer */
	if (c->state == PRAAS_SHM_ENDED)
		return;
	praas_shm_flush_sent(c, c->failing ? -ECANCELED : 0);
	if (c->source.fd >= 0 && !c->failing)
		(void)praas_shm_tell(c, &bye, NULL, 0); /* else the peer sees a reset */
	praas_shm_conn_end(c);
}
