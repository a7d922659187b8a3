/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/shm_conn.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal/base.h"
#include "shm/pages.h"

/* Direct routes: the server grants them and takes them back; the client keeps its ends.
 *
 *   grant    server: makes the reply segment and the wake sockets, tells the client; its caller
 *            tells the worker
 *   revoke   the client pushes nothing more, withdraws what is not taken
 *   gone     the worker answers no more: the client unmaps when no view is held
 */

#define SEGMENT_KIND_DIRECT 5u

/* ---- server ------------------------------------------------------------------------------ */

static int make_reply(struct praas_shm_conn *c, const struct praas_channel_geometry *g,
		      struct praas_segment *ret_segment)
{
	uint64_t bytes = praas_align_up(praas_channel_segment_bytes(g), 4096);
	uint32_t id;
	int rc = praas_shm_segment_id(c->port, &id);

	if (rc != 0)
		return rc;
	rc = praas_segment_create("praas direct", bytes, id, PRAAS_SEGMENT_POPULATE,
				  ret_segment);
	if (rc != 0)
		return rc;
	praas_channel_format(ret_segment, g, SEGMENT_KIND_DIRECT);
	praas_shm_segment_known(c->port, ret_segment, true);
	return 0;
}

static void drop_grant(struct praas_shm_conn *c, uint32_t worker)
{
	struct praas_shm_granted *g = &c->granted[worker];

	if (!g->reply.base)
		return;
	praas_shm_segment_known(c->port, &g->reply, false);
	praas_segment_release(&g->reply);
	*g = (struct praas_shm_granted){ .busy = true };
}

void praas_shm_grants_release(struct praas_shm_conn *c)
{
	for (uint32_t w = 0; w < PRAAS_SHM_WORKERS_MAX; w++)
		drop_grant(c, w);
}

/* Descriptors for the worker: client segment (ro), reply segment (rw), wake socket. */
static int worker_fds(struct praas_shm_conn *c, const struct praas_segment *reply,
		      int wake, int ret_fds[PRAAS_DIRECT_FDS])
{
	int client_fd, reply_fd;
	int rc = praas_segment_read_only_fd(&c->peer, &client_fd);

	if (rc != 0)
		return rc;
	reply_fd = dup(reply->fd);
	if (reply_fd < 0) {
		rc = -errno;
		(void)close(client_fd);
		return rc;
	}
	ret_fds[0] = client_fd;
	ret_fds[1] = reply_fd;
	ret_fds[2] = wake;
	return 0;
}

static int tell_grant(struct praas_shm_conn *c, uint32_t worker,
		      const struct praas_channel_geometry *g,
		      const struct praas_segment *reply, int wake)
{
	struct praas_shm_msg msg = { .kind = PRAAS_SHM_GRANT,
				     .worker = worker,
				     .segment = reply->id,
				     .reply = *g };
	int fds[2] = { -1, wake };
	int rc = praas_segment_read_only_fd(reply, &fds[0]);

	if (rc != 0)
		return rc;
	rc = praas_shm_tell(c, &msg, fds, 2);
	(void)close(fds[0]);
	return rc;
}

/* What the worker must know of the channel. */
static struct praas_direct_attach attach_of(const struct praas_shm_conn *c,
					    uint32_t worker, uint32_t client,
					    const struct praas_channel_geometry *g,
					    uint32_t reply)
{
	return (struct praas_direct_attach){
		.client = client,
		.block = 1 + worker,
		.source = c->base.peer_source,
		.bytes_max = c->base.bytes_max,
		.client_geometry = c->peer_geometry,
		.reply_geometry = *g,
		.client_segment = c->peer.id,
		.reply_segment = reply,
	};
}

int praas_shm_grant(struct praas_conn *conn, uint32_t worker, uint32_t client,
		    struct praas_shm_grant *ret_grant)
{
	struct praas_shm_conn *c = praas_shm_conn_of(conn);
	struct praas_channel_geometry g = {
		.blocks = 1,
		.ring_slots = c->port->shm.ring_slots,
		.pool_bytes = praas_align_up(c->port->shm.direct_pool_bytes, 4096),
	};
	struct praas_segment reply;
	int fds[PRAAS_DIRECT_FDS] = { -1, -1, -1 };
	int wake[2];
	int rc;

	if (!c->server || c->state != PRAAS_SHM_OPEN || c->eof ||
	    worker >= c->port->shm.workers)
		return -EINVAL;
	if (c->granted[worker].reply.base)
		return -EEXIST;
	if (c->granted[worker].busy)
		return -EAGAIN;
	rc = make_reply(c, &g, &reply);
	if (rc != 0)
		return rc;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		       wake) != 0) {
		rc = -errno;
		goto err_reply;
	}
	rc = worker_fds(c, &reply, wake[1], fds);
	if (rc != 0)
		goto err_wake;
	rc = tell_grant(c, worker, &g, &reply, wake[0]);
	if (rc != 0)
		goto err_fds;
	(void)close(wake[0]);
	praas_segment_close_fd(&reply);
	c->granted[worker] = (struct praas_shm_granted){ .reply = reply };
	ret_grant->attach = attach_of(c, worker, client, &g, reply.id);
	for (unsigned i = 0; i < PRAAS_DIRECT_FDS; i++)
		ret_grant->fds[i] = fds[i];
	return 0;
err_fds:
	(void)close(fds[0]);
	(void)close(fds[1]);
err_wake:
	(void)close(wake[0]);
	(void)close(wake[1]);
err_reply:
	praas_shm_segment_known(c->port, &reply, false);
	praas_segment_release(&reply);
	return rc;
}

int praas_shm_revoke(struct praas_conn *conn, uint32_t worker)
{
	struct praas_shm_conn *c = praas_shm_conn_of(conn);
	struct praas_shm_msg msg = { .kind = PRAAS_SHM_REVOKE, .worker = worker };

	if (worker >= PRAAS_SHM_WORKERS_MAX || !c->granted[worker].reply.base)
		return -ENOENT;
	if (c->granted[worker].revoked)
		return 0;
	c->granted[worker].revoked = true;
	return praas_shm_tell(c, &msg, NULL, 0) == -EAGAIN ? -EAGAIN : 0;
}

int praas_shm_gone(struct praas_conn *conn, uint32_t worker, int32_t status)
{
	struct praas_shm_conn *c = praas_shm_conn_of(conn);
	struct praas_shm_msg msg = { .kind = PRAAS_SHM_GONE,
				     .worker = worker,
				     .status = status };

	if (worker >= PRAAS_SHM_WORKERS_MAX || !c->granted[worker].reply.base)
		return -ENOENT;
	drop_grant(c, worker);
	/* A client that does not read its socket cannot be told that its calls are lost: it
	 * would wait for ever. */
	if (c->state == PRAAS_SHM_OPEN && praas_shm_tell(c, &msg, NULL, 0) == -EAGAIN)
		praas_shm_conn_fail(c, -ETIMEDOUT);
	return 0;
}

int praas_shm_direct_counts(const struct praas_conn *conn, uint32_t worker,
			    struct praas_shm_direct_counts *ret_counts)
{
	const struct praas_shm_conn *c =
		(const struct praas_shm_conn *)(const void *)conn;
	const struct praas_direct_counters *s;

	if (worker >= PRAAS_SHM_WORKERS_MAX || !c->granted[worker].reply.base)
		return -ENOENT;
	s = (const void *)(c->granted[worker].reply.base +
			   PRAAS_DIRECT_COUNTERS_OFFSET);
	/* Statistics: no order between them is needed. */
	*ret_counts = (struct praas_shm_direct_counts){
		.calls = atomic_load_explicit(&s->calls, memory_order_relaxed),
		.failures = atomic_load_explicit(&s->failures, memory_order_relaxed),
		.withdrawn = atomic_load_explicit(&s->withdrawn, memory_order_relaxed),
		.copies = atomic_load_explicit(&s->copies, memory_order_relaxed),
		.bytes_in = atomic_load_explicit(&s->bytes_in, memory_order_relaxed),
		.bytes_out = atomic_load_explicit(&s->bytes_out, memory_order_relaxed),
		.run_ns = atomic_load_explicit(&s->run_ns, memory_order_relaxed),
	};
	return 0;
}

/* Server: the client has cleared its block of a route that was gone. */
int praas_shm_on_freed(struct praas_shm_conn *c, const struct praas_shm_msg *msg)
{
	if (msg->worker >= PRAAS_SHM_WORKERS_MAX || !c->granted[msg->worker].busy)
		return -EPROTO;
	c->granted[msg->worker].busy = false;
	return 0;
}

/* ---- client ------------------------------------------------------------------------------ */

static void release_route(struct praas_shm_route *r)
{
	if (r->wake.fd >= 0) {
		if (r->wake.conn)
			praas_shm_unwatch(r->wake.conn->port, &r->wake);
		(void)close(r->wake.fd);
	}
	if (r->reply.base)
		praas_segment_release(&r->reply);
	praas_pages_free(r->backlog.ref);
	r->wake.fd = -1;
	r->reply = (struct praas_segment){ 0 };
	r->backlog = (struct praas_shm_backlog){ 0 };
	r->state = PRAAS_SHM_ROUTE_NONE;
}

void praas_shm_routes_release(struct praas_shm_conn *c)
{
	for (uint32_t w = 0; w < PRAAS_SHM_WORKERS_MAX; w++) {
		if (!c->route[w])
			continue;
		release_route(c->route[w]);
		free(c->route[w]);
		c->route[w] = NULL;
	}
}

/* Our block is zeroed as at the start: the next worker's rings begin anew. */
static void clear_block(struct praas_channel *ch)
{
	for (uint64_t i = 0; i <= ch->tx.mask; i++) {
		atomic_store_explicit(&ch->tx.slot[i].seq, 0, memory_order_relaxed);
		atomic_store_explicit(&ch->returns_tx.slot[i], 0, memory_order_relaxed);
	}
	atomic_store_explicit(ch->returns_tx.head, 0, memory_order_relaxed);
	atomic_store_explicit(&ch->rx.tail->read, 0, memory_order_relaxed);
	/* No order needed: the message that follows orders all. */
	atomic_store_explicit(&ch->returns_rx.tail->read, 0, memory_order_relaxed);
}

int praas_shm_route_close(struct praas_shm_conn *c, struct praas_shm_route *r)
{
	struct praas_shm_msg msg = { .kind = PRAAS_SHM_FREED, .worker = r->worker };
	int rc;

	praas_check(r->state == PRAAS_SHM_ROUTE_GONE);
	clear_block(&r->channel);
	rc = praas_shm_tell(c, &msg, NULL, 0);
	if (rc != 0)
		return rc;
	release_route(r);
	return 0;
}

static int open_route(struct praas_shm_conn *c, struct praas_shm_route *r,
		      const struct praas_shm_msg *msg, struct praas_shm_datagram *d)
{
	uint64_t bytes = praas_align_up(praas_channel_segment_bytes(&msg->reply), 4096);
	int rc = praas_segment_attach(d->fds[0], bytes, msg->segment, false, &r->reply);

	if (rc != 0)
		return rc;
	d->fds[0] = -1;
	praas_segment_populate(&r->reply);
	praas_segment_close_fd(&r->reply);
	r->wake = (struct praas_shm_source){ .kind = PRAAS_SHM_SOURCE_ROUTE,
					     .fd = d->fds[1],
					     .conn = c };
	d->fds[1] = -1;
	rc = praas_channel_init(&r->channel, &c->mine, &c->my_geometry, 1 + msg->worker,
				&r->reply, &msg->reply, 0, r->wake.fd);
	if (rc != 0)
		return -EPROTO;
	r->reply_from = praas_channel_pool_offset(&msg->reply);
	r->reply_to = r->reply_from + msg->reply.pool_bytes;
	rc = praas_shm_backlog_init(
		&r->backlog,
		(uint32_t)(msg->reply.pool_bytes / PRAAS_POOL_CLASS_MIN) + 1);
	if (rc != 0)
		return rc;
	return praas_shm_watch(c->port, &r->wake);
}

int praas_shm_on_grant(struct praas_shm_conn *c, const struct praas_shm_msg *msg,
		       struct praas_shm_datagram *d)
{
	uint32_t w = msg->worker;
	struct praas_shm_route *r;
	int rc;

	if (d->fds_count != 2 || w >= PRAAS_SHM_WORKERS_MAX ||
	    1 + w >= c->my_geometry.blocks || msg->segment == 0 ||
	    msg->segment >= PRAAS_SHM_SEGMENTS ||
	    praas_channel_geometry_check(&msg->reply) != 0)
		return -EPROTO;
	r = c->route[w];
	if (!r) {
		r = calloc(1, sizeof(*r));
		if (!r)
			return -ENOMEM;
		r->wake.fd = -1;
		c->route[w] = r;
	}
	if (r->state != PRAAS_SHM_ROUTE_NONE)
		return -EPROTO; /* not gone before the next grant */
	rc = open_route(c, r, msg, d);
	if (rc != 0) {
		release_route(r);
		return rc;
	}
	r->worker = w;
	r->stalled = false; /* that was the one before */
	r->gone_status = 0;
	r->state = PRAAS_SHM_ROUTE_OPEN;
	c->routes = c->routes > w + 1 ? c->routes : w + 1;
	c->routes_changed++;
	return 0;
}

int praas_shm_on_revoke(struct praas_shm_conn *c, const struct praas_shm_msg *msg,
			bool gone)
{
	struct praas_shm_route *r;

	if (msg->worker >= PRAAS_SHM_WORKERS_MAX || !c->route[msg->worker])
		return -EPROTO;
	r = c->route[msg->worker];
	if (r->state == PRAAS_SHM_ROUTE_OPEN ||
	    (gone && (r->state == PRAAS_SHM_ROUTE_REVOKED ||
		      r->state == PRAAS_SHM_ROUTE_BROKEN))) {
		r->state = gone ? PRAAS_SHM_ROUTE_GONE : PRAAS_SHM_ROUTE_REVOKED;
		r->gone_status = msg->status;
		c->routes_changed++;
	}
	return 0;
}
