/* SPDX-License-Identifier: Apache-2.0
 *
 * Applications, and who belongs to one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/json.h"
#include "control/names.h"
#include "control/rest/app_body.h"
#include "control/rest/page.h"
#include "control/rest/request.h"

#define MEMORY_DEFAULT (256ull << 20)
#define BYTES_MAX_DEFAULT (1ull << 30)

void praas_app_refuse(struct praas_request *rq, const struct praas_json_error *error)
{
	praas_reply_error(rq, 400, "invalid", "see docs/rest.md, POST /v1/apps", "%s",
			  error->text);
}

/* false: answered. */
bool praas_app_durable(struct praas_request *rq, const struct praas_app_record *app)
{
	if (app->checkpoint_ms < PRAAS_CHECKPOINT_JOURNAL ||
	    praas_life_journals(rq->service->life))
		return true;
	praas_reply_error(
		rq, 409, "no_journal",
		"use swap or checkpoint:T, or a service whose --snapshots is a "
		"folder and not sealed",
		"\"durability\": the log of a process needs a folder");
	return false;
}

bool praas_app_state(struct praas_request *rq, const struct praas_app_record *app)
{
	uint64_t least = praas_life_state_memory(rq->service->life);

	if (app->state_bytes == 0 || app->memory_bytes >= least)
		return true;
	praas_reply_error(
		rq, 400, "memory_too_small",
		"give it more memory, or leave \"state_bytes\" out",
		"\"state_bytes\" needs \"memory_bytes\" of at least %llu with the "
		"addresses that processes listen at here",
		(unsigned long long)least);
	return false;
}

static bool code_good(struct praas_request *rq, const char *code)
{
	char text[400];
	int rc = praas_app_code_check(code, false, text, sizeof(text));

	if (rc == -EINVAL)
		praas_reply_error(
			rq, 400, "invalid_code",
			"give the absolute path of a folder with praas.json and its "
			"libraries",
			"%s", text);
	else if (rc)
		praas_reply_errno(rq, rc, "praas.json cannot be read");
	return rc == 0;
}

void praas_route_apps_create(struct praas_request *rq)
{
	struct praas_app_record app = { .memory_bytes = MEMORY_DEFAULT,
					.bytes_max = BYTES_MAX_DEFAULT,
					.concurrency = 1 };
	static const char *const known[] = { "name",       "code", "resources",
					     "isolation",  "wait", "allow_weak_sandbox",
					     "durability", NULL };
	struct praas_records *records = rq->service->records;
	struct praas_json_error error;
	struct timespec now;
	int rc;

	if (json_object_get(rq->json, "triggers")) {
		praas_reply_error(rq, 400, "invalid", "write them into praas.json",
				  "triggers are those of the code's manifest");
		return;
	}
	if (!praas_app_take(rq->json, known, &app, &error)) {
		praas_app_refuse(rq, &error);
		return;
	}
	if (!praas_app_durable(rq, &app) || !praas_app_state(rq, &app) ||
	    !code_good(rq, app.code))
		return;
	memcpy(app.tenant, rq->caller.tenant, sizeof(app.tenant));
	praas_random(app.id, sizeof(app.id));
	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
	app.created_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	if (praas_tenants_take(rq->service->tenants, app.tenant, PRAAS_QUOTA_APPS, 1)) {
		praas_reply_quota(rq, PRAAS_QUOTA_APPS);
		return;
	}
	memcpy(rq->made, app.name, sizeof(app.name));
	rc = records->ops->app_put(records, &app);
	if (rc)
		praas_tenants_give(rq->service->tenants, app.tenant, PRAAS_QUOTA_APPS,
				   1);
	if (rc == -EEXIST)
		praas_reply_error(rq, 409, "exists",
				  "choose another name, or delete it first",
				  "there is an application of that name");
	else if (rc == -ENOSPC)
		praas_reply_error(rq, 409, "limit_apps",
				  "delete applications that are not "
				  "needed",
				  "there may be %u applications", PRAAS_LIMIT_APPS);
	else if (rc)
		praas_reply_unstored(rq, rc, "the record cannot be written");
	else
		praas_reply_json(rq, 201, praas_app_json(&app));
}

void praas_route_apps_list(struct praas_request *rq)
{
	struct praas_records *records = rq->service->records;
	struct praas_app_record *apps;
	struct praas_page page;
	json_t *list, *reply;
	uint32_t count = 0;
	bool more;
	int rc;

	if (!praas_page_parse(rq, &page))
		return;
	apps = calloc(page.limit + 1, sizeof(*apps));
	list = json_array();
	rc = apps && list ? records->ops->app_list(records, rq->caller.tenant,
						   page.after[0] ? page.after : NULL,
						   page.limit + 1, apps, &count)
			  : -ENOMEM;
	more = praas_page_more(&page, &count);
	for (uint32_t i = 0; rc == 0 && i < count; i++)
		if (json_array_append_new(list, praas_app_json(&apps[i])))
			rc = -ENOMEM;
	reply = praas_page_json("apps", list, more ? apps[count - 1].name : NULL);
	free(apps);
	praas_reply_list(rq, rc, "applications", reply);
}

/* What its functions did since the service began: those that did something. */
static json_t *functions_json(struct praas_request *rq)
{
	json_t *list = json_array();
	struct praas_function_row *rows;
	uint32_t count;

	if (!list || praas_life_functions(rq->service->life, &rows, &count) != 0)
		return list;
	for (uint32_t i = 0; i < count; i++) {
		const struct praas_function_row *r = &rows[i];
		const struct praas_function_totals *s = &r->sums;

		if (strcmp(r->tenant, rq->app.tenant) != 0 ||
		    strcmp(r->app, rq->app.name) != 0)
			continue;
		(void)json_array_append_new(
			list, json_pack("{s:s,s:I,s:I,s:I,s:I,s:I}", "function",
					r->function, "calls", (json_int_t)s->calls,
					"errors", (json_int_t)s->errors, "bytes_in",
					(json_int_t)s->bytes_in, "bytes_out",
					(json_int_t)s->bytes_out, "run_ns",
					(json_int_t)s->run_ns));
	}
	free(rows);
	return list;
}

void praas_route_apps_show(struct praas_request *rq)
{
	json_t *app, *functions;

	if (!praas_request_app(rq))
		return;
	app = praas_app_json(&rq->app);
	functions = functions_json(rq);
	if (app && json_array_size(functions) > 0)
		(void)json_object_set(app, "functions", functions);
	json_decref(functions);
	praas_reply_json(rq, 200, app);
}

void praas_route_apps_delete(struct praas_request *rq)
{
	struct praas_records *records = rq->service->records;
	int rc;

	if (!praas_request_app(rq))
		return;
	rc = records->ops->app_delete(records, rq->app.id);
	if (rc == 0)
		praas_tenants_give(rq->service->tenants, rq->app.tenant,
				   PRAAS_QUOTA_APPS, 1);
	if (rc == 0)
		praas_life_code_remove(rq->service->life, &rq->app);
	if (rc == -ENOTEMPTY)
		praas_reply_error(rq, 409, "not_empty", "delete its processes first",
				  "the application has processes");
	else if (rc)
		praas_reply_errno(rq, rc, "application");
	else
		praas_reply_empty(rq, 204);
}

static json_t *member_json(struct praas_request *rq,
			   const struct praas_process_record *p)
{
	struct praas_life_view view;

	praas_life_view(rq->service->life, p, &view);
	return json_pack(
		"{s:s,s:I,s:s,s:I}", "pid", view.record.name, "number",
		(json_int_t)view.record.number, "state",
		praas_life_state_text((enum praas_life_state)view.record.state),
		"epoch", (json_int_t)view.record.epoch);
}

void praas_route_members(struct praas_request *rq)
{
	char version[PRAAS_EVENT_ID_BYTES];
	json_t *reply;
	int rc;

	praas_events_now(rq->service->events, version); /* before what is read */
	rc = praas_page_processes(rq, "members", member_json, &reply);
	if (rc > 0)
		return; /* answered */
	if (reply && (json_object_set_new(reply, "app", json_string(rq->app.name)) ||
		      json_object_set_new(reply, "version", json_string(version))))
		rc = -ENOMEM;
	praas_reply_list(rq, rc, "members", reply);
}
