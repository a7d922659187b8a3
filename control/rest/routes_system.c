/* SPDX-License-Identifier: Apache-2.0
 *
 * Routes about the service itself.
 */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "control/rest/openapi.h"
#include "control/rest/pass.h"
#include "control/rest/request.h"
#include "controller/store/store.h"
#include "internal/base.h"

#define READY_ROOM_BYTES 16777216u /* of the disk: below it nothing can be relied on */

#define METRICS_BYTES 16384

/* What it is among several; NULL: it is the only one. */
static json_t *role_of(const struct praas_request *rq)
{
	if (!rq->service->lease)
		return NULL;
	return json_string(rq->alone ? "standby" : "active");
}

void praas_route_healthz(struct praas_request *rq)
{
	praas_reply_json(rq, 200,
			 json_pack("{s:s,s:o*}", "status", "ok", "role", role_of(rq)));
}

void praas_route_openapi(struct praas_request *rq)
{
	praas_reply_json(rq, 200, praas_openapi(praas_routes));
}

static void not_ready(struct praas_request *rq, const char *why, int rc)
{
	praas_reply_header(rq, "Retry-After", "1");
	praas_reply_error(rq, 503, "not_ready", "see the log of the control service",
			  "%s: %s", why, strerror(-rc));
}

/* The folder can be written, and has room for more than nothing. 0; an errno. */
static int look_at_folder(const char *folder)
{
	struct statvfs st;

	if (access(folder, W_OK | X_OK) != 0 || statvfs(folder, &st) != 0)
		return -errno;
	return (uint64_t)st.f_bavail * st.f_frsize < READY_ROOM_BYTES ? -ENOSPC : 0;
}

/* It answers, and takes our keys; what is asked for is never there. 0; an errno. */
static int look_at_store(const char *url, bool *ret_durable)
{
	static const char file[] = "file://";
	struct praas_store *store;
	uint8_t byte = 0;
	size_t got;
	int rc;

	*ret_durable = true;
	if (strncmp(url, file, sizeof(file) - 1) == 0)
		return look_at_folder(url + sizeof(file) - 1);
	rc = praas_store_open(url, &store);
	if (rc)
		return rc;
	rc = store->ops->get(store, "probe/ready", 0, &byte, 1, &got);
	*ret_durable = store->weak[0] == '\0';
	praas_store_free(store);
	return rc == -ENOENT ? 0 : rc;
}

/* One who stands by can do what the active one can, if there is one. */
static void ready_to_pass(struct praas_request *rq)
{
	if (praas_passes_reach(rq->service->passes))
		praas_reply_json(rq, 200,
				 json_pack("{s:s,s:o*}", "status", "ready", "role",
					   role_of(rq)));
	else
		not_ready(rq, "no control service is active", -ENOTCONN);
}

/* Ready: a process that somebody wants could be made, and swapped out again. */
void praas_route_readyz(struct praas_request *rq)
{
	struct praas_service *s = rq->service;
	uint32_t count;
	bool durable;
	int rc;

	if (rq->alone) {
		ready_to_pass(rq);
		return;
	}
	if (!praas_lease_holds(s->lease, praas_now_ns())) {
		not_ready(rq, "it is in doubt whether it is the active one", -ESTALE);
		return;
	}
	rc = s->records->ops->app_list(s->records, NULL, NULL, 1, &rq->app, &count);
	if (rc) {
		not_ready(rq, "the records cannot be read", rc);
		return;
	}
	rc = look_at_store(s->store_url, &durable);
	if (rc) {
		not_ready(rq, "the store of snapshots cannot be written", rc);
		return;
	}
	rc = look_at_folder(s->log_dir);
	if (rc) {
		not_ready(rq, "the folder of logs cannot be written", rc);
		return;
	}
	praas_reply_json(rq, 200,
			 json_pack("{s:s,s:b,s:o*}", "status", "ready", "durable",
				   durable && s->records->ops->durable(s->records),
				   "role", role_of(rq)));
}
