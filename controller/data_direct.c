/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "controller/data_private.h"
#include "dataplane/worker_executor.h"
#include "internal/base.h"
#include "transport/shm.h"
#include "transport/ticket.h"

/*
 * The direct path: each client on this host gets channels to the workers. Granted when it connects,
 * and again when a worker has been started anew; taken back while the process is drained. A client's
 * number is free again only when no worker has its memory mapped any more.
 */

#define GRANTS_MAX 4u /* workers that one client gets: each costs a segment */

static uint64_t bit(uint32_t i)
{
	return UINT64_C(1) << i;
}

/* One data thread in a program: the process's events have no room for another user. */
static struct praas_data *the_data;

static void want(struct praas_data *d)
{
	d->direct_wanted = true;
}

static void grant(struct praas_data *d, uint32_t client, uint32_t worker)
{
	struct praas_direct_client *c = &d->direct[client];
	struct praas_shm_grant g;
	int rc = praas_shm_grant(c->conn, worker, client, &g);

	if (rc != 0) {
		if (rc == -EINVAL || rc == -EAGAIN || rc == -EEXIST)
			want(d); /* not switched to rings yet, or it does not read: later */
		return;
	}
	rc = praas_worker_executor_attach(d->executor, worker, &g.attach, g.fds);
	for (unsigned i = 0; i < PRAAS_DIRECT_FDS; i++)
		(void)close(g.fds[i]); /* the worker has its own */
	if (rc != 0) {
		(void)praas_shm_gone(c->conn, worker,
				     PRAAS_OK); /* it was granted just now */
		want(d);
		return;
	}
	c->attached |= bit(worker);
}

void praas_data_direct_poll(struct praas_data *d)
{
	uint32_t workers = d->config.config->concurrency;

	d->direct_wanted = false;
	if (!d->direct_open)
		return;
	for (uint32_t i = 0; i < PRAAS_DIRECT_CLIENTS; i++) {
		struct praas_direct_client *c = &d->direct[i];

		for (uint32_t k = 0; c->conn && k < workers && k < GRANTS_MAX; k++) {
			/* Different clients begin with different workers. */
			uint32_t worker = (i + k) % workers;

			if (!(c->attached & bit(worker)))
				grant(d, i, worker);
		}
	}
}

/* Stop the direct path of everybody; praas_data_direct_quiet() says when it has. */
static void revoke_all(struct praas_data *d)
{
	for (uint32_t i = 0; i < PRAAS_DIRECT_CLIENTS; i++) {
		struct praas_direct_client *c = &d->direct[i];

		for (uint32_t worker = 0; worker < PRAAS_WORKERS_MAX; worker++) {
			if (!(c->attached & bit(worker)))
				continue;
			if (c->conn)
				(void)praas_shm_revoke(c->conn,
						       worker); /* known, or gone */
			(void)praas_worker_executor_detach(d->executor, worker, i,
							   false);
		}
	}
}

void praas_data_direct_open(struct praas_data *d, bool open)
{
	if (d->direct_open == open || !d->direct_events.frame)
		return;
	/* What is done past us is in no log. */
	if (open && d->config.config->durability != PRAAS_DURABILITY_SWAP)
		return;
	d->direct_open = open;
	if (open)
		want(d);
	else
		revoke_all(d);
}

bool praas_data_direct_quiet(const struct praas_data *d)
{
	for (uint32_t i = 0; i < PRAAS_DIRECT_CLIENTS; i++)
		if (d->direct[i].attached != 0)
			return false;
	return true;
}

bool praas_data_direct_goes_on(struct praas_data *d)
{
	uint64_t seen = d->direct_seen;

	if (!d->config.spawner)
		return false;
	d->direct_seen = praas_worker_executor_direct_calls(d->executor);
	return d->direct_seen != seen;
}

void praas_data_direct_count(struct praas_data *d, struct praas_process_stats *stats)
{
	struct praas_worker_executor_stats s;

	if (!d->config.spawner)
		return;
	praas_worker_executor_stats(d->executor, &s);
	/* A process that is called directly only is not idle. */
	if (s.direct_calls != d->direct_calls || s.direct_busy != 0)
		d->direct_last_ns = praas_now_ns();
	d->direct_calls = s.direct_calls;
	stats->invocations += s.direct_calls;
	stats->failures += s.direct_failures;
	stats->running += s.direct_busy;
	stats->bytes_in += s.direct_in;
	stats->bytes_out += s.direct_out;
	stats->last_activity_ns =
		praas_max_u64(stats->last_activity_ns, d->direct_last_ns);
}

/* ---- events ---- */

static void on_opened(void *user, struct praas_conn *conn)
{
	struct praas_data *d = the_data;

	praas_process_conn_events()->opened(user, conn);
	if (strcmp(conn->ops->scheme, "shm") != 0 ||
	    !(conn->peer_rights & PRAAS_RIGHT_INVOKE))
		return;
	for (uint32_t i = 0; i < PRAAS_DIRECT_CLIENTS; i++) {
		if (d->direct[i].conn || d->direct[i].attached)
			continue;
		d->direct[i].conn = conn;
		want(d);
		return;
	}
	/* More clients than numbers: this one goes through the controller. */
}

static void on_closed(void *user, struct praas_conn *conn, int rc)
{
	struct praas_data *d = the_data;

	for (uint32_t i = 0; i < PRAAS_DIRECT_CLIENTS; i++) {
		struct praas_direct_client *c = &d->direct[i];

		if (c->conn != conn)
			continue;
		c->conn = NULL;
		for (uint32_t worker = 0; worker < PRAAS_WORKERS_MAX; worker++)
			if (c->attached & bit(worker))
				(void)praas_worker_executor_detach(d->executor, worker,
								   i, true);
	}
	praas_process_conn_events()->closed(user, conn, rc);
}

static void on_detached(void *user, uint32_t worker, uint32_t client, int32_t status)
{
	struct praas_data *d = user;
	struct praas_direct_client *c = &d->direct[client];

	c->attached &= ~bit(worker);
	if (c->conn)
		(void)praas_shm_gone(c->conn, worker,
				     status); /* granted, so it is known */
	want(d);
}

static void on_released(void *user, uint32_t segment)
{
	praas_worker_executor_unshare(((struct praas_data *)user)->executor, segment);
}

static int on_share(void *user, uint32_t client, const struct praas_segment *segment)
{
	struct praas_data *d = user;
	struct praas_conn *conn = d->direct[client].conn;

	return conn ? praas_shm_share(conn, segment, on_released, d) : -ENOTCONN;
}

static void on_segment(void *user, const struct praas_segment *segment, bool added)
{
	struct praas_data *d = user;

	if (added)
		(void)praas_worker_executor_segment_add(
			d->executor, segment->id, segment->bytes,
			segment->fd); /* refused: payloads in it are copied */
	else
		praas_worker_executor_segment_remove(d->executor, segment->id);
}

int praas_data_big_segment(void *user, const struct praas_segment *segment, bool added)
{
	struct praas_data *d = user;

	if (added)
		return praas_worker_executor_segment_add(d->executor, segment->id,
							 segment->bytes, segment->fd);
	praas_worker_executor_segment_remove(d->executor, segment->id);
	return 0;
}

static struct praas_shm_config shm_config(struct praas_data *d)
{
	return (struct praas_shm_config){
		.workers = d->config.spawner ? d->config.config->concurrency : 0,
		.big_total_max = d->config.config->memory_bytes,
		.first_segment = PRAAS_DATA_CLIENT_SEGMENTS,
		.segment = d->config.spawner ? on_segment : NULL,
		.user = d,
	};
}

int praas_data_direct_configure(struct praas_data *d, struct praas_port *port)
{
	struct praas_shm_config sc = shm_config(d);
	int rc = praas_shm_configure(port, &sc);

	if (rc == 0 && d->spare) {
		praas_shm_spare_give(port, d->spare);
		d->spare = NULL;
	}
	return rc;
}

void praas_data_direct_prepare(struct praas_data *d)
{
	struct praas_shm_config sc = shm_config(d);

	(void)praas_shm_spare_new(&sc, &d->spare); /* else made when it is needed */
}

static const struct praas_worker_direct_ops direct_ops = { .detached = on_detached,
							   .share = on_share };

const struct praas_conn_events *praas_data_direct_events(struct praas_data *d)
{
	if (!d->config.spawner)
		return praas_process_conn_events();
	the_data = d;
	memset(d->direct, 0, sizeof(d->direct));
	d->direct_events =
		*praas_process_conn_events(); /* frames go straight to the process */
	d->direct_events.opened = on_opened;
	d->direct_events.closed = on_closed;
	praas_worker_executor_direct_set(d->executor, &direct_ops, d);
	return &d->direct_events;
}
