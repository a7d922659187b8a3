/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/data_private.h"
#include "controller/snapshot_late.h"
#include "controller/spawn.h"
#include "dataplane/executor.h"
#include "dataplane/worker_executor.h"
#include "internal/base.h"
#include "transport/mac.h"

/*
 * What the data thread owns is made and ended on the data thread itself: an io_uring belongs to
 * the thread that made it.
 */

#define MIB (1ull << 20)
#define POPULATE_BYTES                                                                 \
	(MIB / 4) /* what the first calls need; the rest when it is used */
#define ARENA_BYTES_MIN (4 * MIB)
#define ARENA_BYTES_MAX (64 * MIB)
#define CONNS_MAX 1024u
#define CONNS_MAX_TCP                                                                  \
	16384u /* one that is idle has no memory but its place in a table */
#define INFLIGHT_MAX 1024u

static int failed(struct praas_data *d, int rc, const char *what)
{
	(void)snprintf(d->text, sizeof(d->text), "%s: %s", what, strerror(-rc));
	return rc;
}

static int build_memory(struct praas_data *d)
{
	const struct praas_config *c = d->config.config;
	struct praas_pool_memory_config mc = {
		.pool_bytes = praas_align_up(c->memory_bytes, 4096),
		.populate_bytes = POPULATE_BYTES,
		.bytes_max = c->bytes_max,
		.big_bytes_max = c->memory_bytes,
		.pool_segment = PRAAS_SEGMENT_POOL,
		.big_first = PRAAS_DATA_BIG_SEGMENTS,
		.big_count = PRAAS_DATA_BIG_COUNT,
		.big = d->config.spawner ? praas_data_big_segment : NULL,
		.user = d,
	};
	int rc = praas_pool_memory_new(&mc, &d->memory);

	return rc == 0 ? 0 : failed(d, rc, "cannot make the pool of memory_bytes");
}

static int build_workers(struct praas_data *d)
{
	const struct praas_config *c = d->config.config;
	struct praas_worker_executor_config wc = {
		.workers = c->concurrency,
		.functions = d->config.manifest->functions,
		.functions_count = d->config.manifest->count,
		.pool_segment = praas_pool_memory_segment(d->memory),
		.memory = praas_pool_memory_table(d->memory),
		.arena_bytes = c->memory_bytes / 4 / c->concurrency,
		.bytes_max = c->bytes_max,
		.big_bytes_max = c->memory_bytes,
		.wait_mode = c->wait,
		.host = praas_spawner_host(),
		.host_user = d->config.spawner,
	};
	int rc;

	wc.arena_bytes = praas_max_u64(wc.arena_bytes, ARENA_BYTES_MIN);
	wc.arena_bytes = praas_min_u64(wc.arena_bytes, ARENA_BYTES_MAX) & ~(MIB - 1);
	rc = praas_worker_executor_new(&wc, &d->executor);
	if (rc != 0)
		return failed(d, rc, "cannot make the executor of the workers");
	praas_spawner_event_fd_set(d->config.spawner,
				   praas_worker_executor_event_fd(d->executor));
	return 0;
}

static int build_executor(struct praas_data *d)
{
	const struct praas_manifest *m = d->config.manifest;
	int rc;

	if (d->config.spawner)
		return build_workers(d);
	rc = praas_executor_inline_new(m->functions, m->count, &d->executor);
	return rc == 0 ? 0 : failed(d, rc, "cannot load the functions");
}

static int build_process(struct praas_data *d)
{
	const struct praas_config *c = d->config.config;
	struct praas_process_config pc = {
		.functions = d->config.manifest->functions,
		.functions_count = d->config.manifest->count,
		.state_bytes_max = c->state_bytes ? c->state_bytes : c->memory_bytes,
		.bytes_max = c->bytes_max,
		.pool = praas_pool_memory_pool(d->memory),
		.pool_segment = praas_pool_memory_segment(d->memory),
		.memory = praas_pool_memory_table(d->memory),
		.executor = d->executor,
	};
	int rc = praas_process_new(&pc, &d->process);

	if (rc != 0) {
		d->executor->ops->free(d->executor);
		d->executor = NULL;
		return failed(d, rc, "cannot make the tables of the process");
	}
	praas_process_gate(d->process, false);
	praas_data_mail_host(d);
	rc = praas_data_overflow_build(d);
	return rc == 0 ? 0 : failed(d, rc, "cannot make what brings state back");
}

static void want_members(void *user)
{
	praas_process_members_want(user);
}

static int build_sessions(struct praas_data *d)
{
	const struct praas_config *c = d->config.config;
	const struct praas_manifest *m = d->config.manifest;
	struct praas_session_server_config sc = {
		.expect = { .pid = c->pid, .epoch = c->epoch },
		.welcome = { .pid = c->pid,
			     .epoch = c->epoch,
			     .bytes_max = c->bytes_max,
			     .inflight_max = INFLIGHT_MAX,
			     .functions_count = m->count },
		.events = praas_data_log_events(d, praas_data_direct_events(d)),
		.user = d->process,
		.members = want_members,
	};
	int rc;

	d->names = calloc(m->count, sizeof(*d->names));
	d->function_flags = calloc(m->count, 1);
	if (!d->names || !d->function_flags)
		return failed(d, -ENOMEM, "names of the functions");
	for (uint32_t i = 0; i < m->count; i++) {
		const struct praas_function *f = &m->functions[i];

		memcpy(d->names[i], f->name, sizeof(d->names[i]));
		/* What may run anywhere at any time needs nobody to decide. */
		if (d->config.spawner && praas_function_plain(f) &&
		    c->durability == PRAAS_DURABILITY_SWAP && c->state_bytes == 0)
			d->function_flags[i] = PRAAS_FUNCTION_DIRECT;
	}
	sc.welcome.function_flags = d->function_flags;
	sc.welcome.functions = (const char(*)[PRAAS_NAME_MAX + 1]) d->names;
	memcpy(sc.controller_key, c->controller_key, sizeof(sc.controller_key));
	memcpy(sc.expect.tenant, c->tenant, sizeof(sc.expect.tenant));
	memcpy(sc.expect.app, c->app_id, sizeof(sc.expect.app));
	memcpy(sc.expect.controller, c->controller_id, sizeof(sc.expect.controller));
	rc = praas_session_server_new(&sc, &d->sessions);
	explicit_bzero(&sc, sizeof(sc));
	return rc == 0 ? 0 : failed(d, rc, "cannot make the sessions");
}

/* The first use of OpenSSL takes a millisecond: it looks its algorithms up and makes its tables. */
static void warm_crypto(void)
{
	static const uint8_t none[PRAAS_MAC_BYTES];
	const struct praas_mac_part part = { .data = none, .bytes = sizeof(none) };
	uint8_t mac[PRAAS_MAC_BYTES];

	(void)praas_mac_once(none, &part, 1, mac); /* else who needs it is told */
}

int praas_data_build(struct praas_data *d)
{
	int rc = build_memory(d);

	if (rc == 0)
		rc = build_executor(d);
	if (rc == 0)
		rc = build_process(d);
	if (rc == 0 && d->config.config->prepare && !d->spare) {
		praas_data_direct_prepare(d);
		warm_crypto();
	}
	return rc;
}

int praas_data_identify(struct praas_data *d)
{
	const struct praas_config *c = d->config.config;

	praas_process_identify(d->process, c->pid, c->epoch);
	if (d->config.spawner)
		praas_worker_executor_identify(d->executor, c->pid, c->epoch);
	return build_sessions(d);
}

void praas_data_unbuild(struct praas_data *d)
{
	if (d->process)
		praas_process_disconnect(d->process);
	for (unsigned i = 0; i < d->ports_count; i++)
		d->ports[i]->ops->free(d->ports[i]);
	d->ports_count = 0;
	d->hot_turns = 0;
	d->direct_open = false;
	praas_session_server_free(d->sessions);
	praas_data_log_end(d);
	d->sessions = NULL;
	praas_data_overflow_end(d);     /* nobody writes into what it has */
	praas_process_free(d->process); /* and the executor */
	d->process = NULL;
	praas_snapshot_late_free(d->late); /* no value refers to it any more */
	d->late = NULL;
	praas_places_free(d->places);
	d->places = NULL;
	d->executor = NULL;
	praas_pool_memory_free(d->memory);
	d->memory = NULL;
	free(d->names);
	free(d->function_flags);
	d->names = NULL;
	d->function_flags = NULL;
}

int praas_data_ready(struct praas_data *d)
{
	char text[PRAAS_ERROR_TEXT_MAX] = "";
	int rc;

	if (!d->config.spawner)
		return 1;
	rc = praas_worker_executor_ready(d->executor, text);
	if (rc < 0)
		(void)snprintf(d->text, sizeof(d->text),
			       "cannot start the workers: %.440s", text);
	if (rc > 0)
		(void)snprintf(
			d->layers, sizeof(d->layers), "%s",
			praas_worker_executor_layers(d->executor)); /* may be cut */
	return rc;
}

static int open_port(struct praas_data *d, const char *listen)
{
	const struct praas_transport_ops *ops = praas_transport_find(listen);
	struct praas_port_config pc = {
		.listen = listen,
		.memory = praas_pool_memory_table(d->memory),
		.accept_events = praas_session_server_events(),
		.accept_user = d->sessions,
		.accept_key = praas_session_server_key,
		.conns_max = CONNS_MAX,
	};
	struct praas_port *port;
	int rc;

	if (ops && strcmp(ops->scheme, "tcp") == 0)
		pc.conns_max = CONNS_MAX_TCP;
	rc = ops ? ops->open(&pc, &port) : -EPROTONOSUPPORT;
	if (rc != 0) {
		(void)snprintf(
			d->text, sizeof(d->text), "cannot listen at %s: %s", listen,
			ops ? praas_transport_why(ops, rc) : "no such transport");
		return rc;
	}
	if (strcmp(ops->scheme, "shm") == 0)
		rc = praas_data_direct_configure(d, port);
	if (rc == 0)
		rc = ops->address(port, d->endpoints[d->ports_count]);
	d->ports[d->ports_count++] = port;
	return rc == 0 ? 0 : failed(d, rc, "settings of a port");
}

int praas_data_open_ports(struct praas_data *d)
{
	const struct praas_config *c = d->config.config;
	int rc = 0;

	for (unsigned i = 0; !d->ports_tried && rc == 0 && i < c->listen_count; i++) {
		unsigned before = d->ports_count;

		rc = open_port(d, c->listen[i]);
		if (rc != 0 && (c->listen_weak >> i & 1) && d->ports_count == before) {
			(void)snprintf(d->left_out[i], sizeof(d->left_out[i]), "%s",
				       d->text);
			rc = 0;
		}
	}
	if (!d->ports_tried)
		d->ports_rc = rc;
	d->ports_tried = true;
	return d->ports_rc;
}

const char *praas_data_left_out(const struct praas_data *d, unsigned i)
{
	return d->left_out[i][0] != '\0' ? d->left_out[i] : NULL;
}

int praas_data_listen(struct praas_data *d)
{
	int rc = praas_data_ready(d);

	if (rc <= 0)
		return rc;
	rc = praas_data_open_ports(d);
	return rc == 0 ? 1 : rc;
}
