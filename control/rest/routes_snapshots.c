/* SPDX-License-Identifier: Apache-2.0
 *
 * Named snapshots of a process.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/json.h"
#include "control/names.h"
#include "control/rest/page.h"
#include "control/rest/request.h"
#include "internal/base.h"

#define SAVE_NS (300 * 1000000000ull) /* for a checkpoint of any size */

static json_t *snapshot_json(const struct praas_named *n)
{
	if (n->slot == PRAAS_SLOT_NONE)
		return json_pack("{s:s,s:b}", "name", n->name, "damaged", 1);
	return json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:I}", "name", n->name, "slot",
			 (json_int_t)n->slot, "epoch", (json_int_t)n->epoch, "taken_s",
			 (json_int_t)(n->taken_ns / 1000000000u), "named_s",
			 (json_int_t)(n->named_ns / 1000000000u), "bytes",
			 (json_int_t)n->bytes, "records", (json_int_t)n->records);
}

/* The name that a body has under `member`; NULL: answered with what is wrong. */
static const char *name_in(struct praas_request *rq, const char *member)
{
	const char *known[] = { member, NULL };
	struct praas_json_error error;
	const char *name = NULL;

	if (!praas_json_known(rq->json, known, &error) ||
	    !praas_json_text(rq->json, member, 4096, &name, &error)) {
		praas_reply_error(rq, 400, "invalid", "see docs/rest.md", "%s",
				  error.text);
		return NULL;
	}
	if (name && praas_name_valid(name))
		return name;
	/* With the answer the request is gone, and its body. */
	if (!name)
		praas_reply_error(rq, 400, "invalid", "see docs/rest.md",
				  "\"%s\" is required", member);
	else
		praas_reply_error(rq, 400, "invalid_name",
				  "names are [A-Za-z0-9._-]{1,64}",
				  "\"%s\" is not a name", member);
	return NULL;
}

/* All that it did before the request is in its last snapshot. */
static void give_name(struct praas_request *rq)
{
	const char *name = json_string_value(json_object_get(rq->json, "name"));
	struct praas_outcome why;
	struct praas_named named;

	if (rq->wait.outcome.rc) {
		praas_reply_outcome(rq, &rq->wait.outcome);
		return;
	}
	if (praas_life_snapshot_give(rq->service->life, &rq->app, rq->match.pid, name,
				     &named, &why))
		praas_reply_outcome(rq, &why);
	else
		praas_reply_json(rq, 201, snapshot_json(&named));
}

void praas_route_snapshots_create(struct praas_request *rq)
{
	struct praas_named named;
	struct praas_outcome why;
	const char *name;

	if (!praas_request_app(rq))
		return;
	name = name_in(rq, "name");
	if (!name)
		return;
	praas_receipts_settle(rq);
	(void)snprintf(rq->made, sizeof(rq->made), "%s", name);
	if (praas_tenants_check(rq->service->tenants, rq->caller.tenant,
				PRAAS_QUOTA_STATE)) {
		praas_reply_quota(rq, PRAAS_QUOTA_STATE);
		return;
	}
	/* A name that is taken need not cost a checkpoint. */
	if (praas_life_snapshot_get(rq->service->life, &rq->app, rq->match.pid, name,
				    &named, &why) == 0) {
		why = (struct praas_outcome){ .rc = -EEXIST,
					      .code = "exists",
					      .text = "a snapshot has that name" };
		praas_reply_outcome(rq, &why);
		return;
	}
	praas_life_saved(rq->service->life, &rq->app, rq->match.pid,
			 praas_request_await(rq, give_name, praas_now_ns() + SAVE_NS));
}

void praas_route_snapshots_list(struct praas_request *rq)
{
	struct praas_named *all;
	struct praas_outcome why;
	struct praas_page page;
	uint32_t n = 0;
	json_t *list;
	bool more;

	if (!praas_page_parse(rq, &page) || !praas_request_app(rq))
		return;
	all = calloc(PRAAS_NAMED_MAX + 1, sizeof(*all));
	if (!all) {
		praas_reply_errno(rq, -ENOMEM, "snapshots");
		return;
	}
	page.limit = (uint32_t)praas_min_u64(page.limit, PRAAS_NAMED_MAX);
	if (praas_life_snapshot_list(rq->service->life, &rq->app, rq->match.pid,
				     page.after, page.limit + 1, all, &n, &why)) {
		free(all);
		praas_reply_outcome(rq, &why);
		return;
	}
	more = praas_page_more(&page, &n);
	list = json_array();
	for (uint32_t i = 0; list && i < n; i++)
		(void)json_array_append_new(list, snapshot_json(&all[i]));
	praas_reply_json(
		rq, 200,
		praas_page_json("snapshots", list, more ? all[n - 1].name : NULL));
	free(all);
}

void praas_route_snapshots_show(struct praas_request *rq)
{
	struct praas_outcome why;
	struct praas_named named;

	if (!praas_request_app(rq))
		return;
	if (praas_life_snapshot_get(rq->service->life, &rq->app, rq->match.pid,
				    rq->match.id, &named, &why))
		praas_reply_outcome(rq, &why);
	else
		praas_reply_json(rq, 200, snapshot_json(&named));
}

void praas_route_snapshots_delete(struct praas_request *rq)
{
	struct praas_outcome why;

	if (!praas_request_app(rq))
		return;
	if (praas_life_snapshot_take(rq->service->life, &rq->app, rq->match.pid,
				     rq->match.id, &why))
		praas_reply_outcome(rq, &why);
	else
		praas_reply_empty(rq, 204);
}

static void tell_process(struct praas_request *rq)
{
	if (rq->wait.outcome.rc)
		praas_reply_outcome(rq, &rq->wait.outcome);
	else
		praas_reply_json(rq, 200, praas_process_json(rq, &rq->wait.record));
}

void praas_route_rollback(struct praas_request *rq)
{
	const char *name;

	if (!praas_request_app(rq))
		return;
	name = name_in(rq, "snapshot");
	if (!name)
		return;
	(void)snprintf(rq->made, sizeof(rq->made), "%s", name);
	praas_life_rollback(
		rq->service->life, &rq->app, rq->match.pid, name,
		praas_request_await(rq, tell_process, praas_now_ns() + SAVE_NS));
}

/* ---- fork --------------------------------------------------------------------------- */

/* A name that may be left out. false: answered with what is wrong. */
static bool take_name(struct praas_request *rq, const char *member,
		      const char **ret_name)
{
	struct praas_json_error error;

	if (!praas_json_text(rq->json, member, 4096, ret_name, &error))
		praas_reply_error(rq, 400, "invalid", "see docs/rest.md", "%s",
				  error.text);
	else if (*ret_name && !praas_name_valid(*ret_name))
		praas_reply_error(rq, 400, "invalid_name",
				  "names are [A-Za-z0-9._-]{1,64}",
				  "\"%s\" is not a name", member);
	else
		return true;
	return false;
}

static void fork_now(struct praas_request *rq)
{
	const char *pid = json_string_value(json_object_get(rq->json, "pid"));
	const char *snapshot = json_string_value(json_object_get(rq->json, "snapshot"));
	struct praas_process_record record;
	struct praas_outcome why;

	if (rq->wait.outcome.rc) {
		praas_reply_outcome(rq, &rq->wait.outcome);
		return;
	}
	if (praas_life_fork(rq->service->life, &rq->app, rq->match.pid, snapshot, pid,
			    &record, &why)) {
		praas_reply_outcome(rq, &why);
		return;
	}
	(void)snprintf(rq->made, sizeof(rq->made), "%s", record.name);
	praas_reply_json(rq, 201, praas_process_json(rq, &record));
}

void praas_route_fork(struct praas_request *rq)
{
	static const char *const known[] = { "pid", "snapshot", NULL };
	const char *pid = NULL, *snapshot = NULL;
	struct praas_json_error error;
	struct praas_life_wait *wait;

	if (!praas_request_app(rq))
		return;
	if (!praas_json_known(rq->json, known, &error)) {
		praas_reply_error(rq, 400, "invalid", "see docs/rest.md", "%s",
				  error.text);
		return;
	}
	if (!take_name(rq, "pid", &pid) || !take_name(rq, "snapshot", &snapshot))
		return;
	if (praas_tenants_check(rq->service->tenants, rq->caller.tenant,
				PRAAS_QUOTA_STATE)) {
		praas_reply_quota(rq, PRAAS_QUOTA_STATE);
		return;
	}
	wait = praas_request_await(rq, fork_now, praas_now_ns() + SAVE_NS);
	if (snapshot)
		fork_now(rq);
	else
		praas_life_saved(rq->service->life, &rq->app, rq->match.pid, wait);
}
