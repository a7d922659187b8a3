/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rest/dataclient.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "control/json.h"
#include "control/life/endpoints.h"
#include "internal/base.h"

#define IDLE_MAX 64u                 /* connections kept, of all processes */
#define IDLE_NS (60 * 1000000000ull) /* one is kept for so long without use */
#define TICKET_TTL_S                                                                   \
	86400u /* its end closes the connection; the next call makes another */
#define CONNECT_NS (5 * 1000000000ull)

struct idle {
	praas_connection *conn;
	uint64_t number;
	uint64_t used_ns;
	uint32_t epoch;
	bool quick;
};

struct praas_data {
	const struct praas_keys *keys;
	const struct praas_nodes *nodes;
	praas_pid_t
		source; /* who we are to all processes, on every connection: they know our calls by it */
	pthread_mutex_t lock;
	struct idle idle[IDLE_MAX];
	uint32_t count;
};

int praas_data_new(const struct praas_keys *keys, const struct praas_nodes *nodes,
		   struct praas_data **ret_data)
{
	struct praas_data *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->keys = keys;
	d->nodes = nodes;
	d->source = praas_keys_source();
	(void)pthread_mutex_init(&d->lock, NULL);
	*ret_data = d;
	return 0;
}

void praas_data_free(struct praas_data *data)
{
	if (!data)
		return;
	for (uint32_t i = 0; i < data->count; i++)
		praas_close(data->idle[i].conn);
	(void)pthread_mutex_destroy(&data->lock);
	free(data);
}

/* Takes the newest that fits, and moves those whose time is over to ret_old. */
static praas_connection *take(struct praas_data *d,
			      const struct praas_process_record *process, bool fresh,
			      struct idle ret_old[IDLE_MAX], uint32_t *ret_old_count)
{
	praas_connection *found = NULL;
	uint64_t now = praas_now_ns();
	uint32_t kept = 0, old = 0;

	(void)pthread_mutex_lock(&d->lock);
	for (uint32_t i = 0; i < d->count; i++) {
		struct idle *it = &d->idle[i];
		bool same = it->number == process->number;

		if (now - it->used_ns > IDLE_NS ||
		    (same && (fresh || it->epoch != process->epoch)))
			ret_old[old++] = *it;
		else if (same && !found)
			found = it->conn;
		else
			d->idle[kept++] = *it;
	}
	d->count = kept;
	(void)pthread_mutex_unlock(&d->lock);
	*ret_old_count = old;
	return found;
}

static int connect_new(struct praas_data *d, const struct praas_app_record *app,
		       const struct praas_process_record *process,
		       praas_connection **ret_conn)
{
	struct praas_connect_config config = { .timeout_ns = CONNECT_NS,
					       .wait = PRAAS_WAIT_ADAPTIVE,
					       /* Each belongs to an epoch, here. */
					       .no_follow = true };
	struct praas_grant grant = { .rights = PRAAS_RIGHT_ALL,
				     .ttl_s = TICKET_TTL_S,
				     .source = d->source };
	char there[PRAAS_ENDPOINTS_BYTES];
	json_t *endpoints, *ticket = NULL;
	char *text = NULL;
	int rc;

	memcpy(there, process->endpoints, sizeof(there));
	if (!praas_nodes_same(d->nodes, process->node, ""))
		praas_endpoints_far(there);
	endpoints = json_loads(there, 0, NULL);
	if (!endpoints)
		return -ECONNREFUSED; /* not serving: the record has none */
	rc = praas_keys_ticket(d->keys, app, process, endpoints, &grant, &ticket);
	json_decref(endpoints);
	if (rc)
		return rc;
	text = praas_json_dump(ticket);
	json_decref(ticket);
	if (!text)
		return -ENOMEM;
	rc = praas_connect_ticket(text, &config, ret_conn);
	if (rc == -EINVAL)
		rc = -ENOMEM; /* it is right: there was no memory to read it */
	explicit_bzero(text, strlen(text));
	free(text);
	return rc;
}

int praas_data_lease(struct praas_data *data, const struct praas_app_record *app,
		     const struct praas_process_record *process, bool fresh,
		     praas_connection **ret_conn)
{
	struct idle old[IDLE_MAX];
	uint32_t old_count;
	praas_connection *conn = take(data, process, fresh, old, &old_count);

	for (uint32_t i = 0; i < old_count; i++)
		praas_close(old[i].conn);
	if (conn) {
		*ret_conn = conn;
		return 0;
	}
	return connect_new(data, app, process, ret_conn);
}

praas_connection *praas_data_quick(struct praas_data *data,
				   const struct praas_process_record *process)
{
	praas_connection *conn = NULL;

	(void)pthread_mutex_lock(&data->lock);
	for (uint32_t i = data->count; i-- > 0 && !conn;) {
		const struct idle *it = &data->idle[i];

		if (!it->quick || it->number != process->number ||
		    it->epoch != process->epoch)
			continue;
		conn = it->conn;
		data->idle[i] = data->idle[--data->count];
	}
	(void)pthread_mutex_unlock(&data->lock);
	return conn;
}

void praas_data_return(struct praas_data *data,
		       const struct praas_process_record *process,
		       praas_connection *conn, bool good, bool quick)
{
	uint64_t now = praas_now_ns();

	(void)pthread_mutex_lock(&data->lock);
	if (good && data->count < IDLE_MAX) {
		data->idle[data->count++] = (struct idle){ .conn = conn,
							   .number = process->number,
							   .used_ns = now,
							   .epoch = process->epoch,
							   .quick = quick };
		conn = NULL;
	}
	(void)pthread_mutex_unlock(&data->lock);
	praas_close(conn); /* NULL is allowed */
}
