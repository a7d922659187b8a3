/* SPDX-License-Identifier: Apache-2.0
 *
 * Tenants: made, limited, shown, deleted.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/json.h"
#include "control/names.h"
#include "control/rest/page.h"
#include "control/rest/request.h"

static json_t *numbers_json(const uint64_t numbers[PRAAS_QUOTAS], bool usage)
{
	json_t *object = json_object();

	for (int q = 0; q < PRAAS_QUOTAS; q++)
		if (!usage || q != PRAAS_QUOTA_RATE)
			(void)json_object_set_new(object, praas_quota_rows[q].name,
						  json_integer((json_int_t)numbers[q]));
	return object;
}

static json_t *tenant_json(const struct praas_tenant *t)
{
	return json_pack("{s:s,s:o,s:o}", "name", t->name, "limits",
			 numbers_json(t->limits, false), "used",
			 numbers_json(t->used, true));
}

/* Those of `limits` that are said. */
static bool take_limits(const struct praas_request *rq, struct praas_tenant *t,
			struct praas_json_error *error)
{
	json_t *limits = json_object_get(rq->json, "limits");
	const char *known[PRAAS_QUOTAS + 1] = { NULL };

	if (limits && !json_is_object(limits)) {
		strcpy(error->text, "\"limits\" must be an object");
		return false;
	}
	for (int q = 0; q < PRAAS_QUOTAS; q++)
		known[q] = praas_quota_rows[q].name;
	if (!praas_json_known(limits, known, error))
		return false;
	for (int q = 0; q < PRAAS_QUOTAS; q++)
		if (!praas_json_number(limits, known[q], 0, praas_quota_rows[q].most,
				       &t->limits[q], error))
			return false;
	return true;
}

static void tell(struct praas_request *rq, int status, const char *name)
{
	struct praas_tenant tenant;

	if (praas_tenants_get(rq->service->tenants, name, &tenant))
		praas_reply_error(rq, 404, "not_found", "GET /v1/tenants lists them",
				  "no such tenant");
	else
		praas_reply_json(rq, status, tenant_json(&tenant));
}

static void put(struct praas_request *rq, const struct praas_tenant *tenant,
		bool create)
{
	int rc = praas_tenants_put(rq->service->tenants, tenant, create);

	memcpy(rq->made, tenant->name, sizeof(tenant->name));
	if (rc == -EEXIST)
		praas_reply_error(rq, 409, "exists", "choose another name",
				  "there is a tenant of that name");
	else if (rc == -ENOSPC)
		praas_reply_error(rq, 409, "limit_tenants",
				  "delete tenants that are not needed",
				  "there may be %u tenants", PRAAS_LIMIT_TENANTS);
	else if (rc && rc != -ENOENT)
		praas_reply_unstored(rq, rc, "the tenant cannot be stored");
	else
		tell(rq, create ? 201 : 200, tenant->name);
}

static void refuse(struct praas_request *rq, const struct praas_json_error *error)
{
	praas_reply_error(rq, 400, "invalid", "see docs/rest.md, POST /v1/tenants",
			  "%s", error->text);
}

void praas_route_tenants_create(struct praas_request *rq)
{
	static const char *const known[] = { "name", "limits", NULL };
	struct praas_tenant tenant = { 0 };
	struct praas_json_error error;
	const char *name = "";

	for (int q = 0; q < PRAAS_QUOTAS; q++)
		tenant.limits[q] = praas_quota_rows[q].normal;
	strcpy(error.text, "\"name\" must be [A-Za-z0-9._-]{1,64}");
	if (!praas_json_known(rq->json, known, &error) ||
	    !praas_json_text(rq->json, "name", 4096, &name, &error) ||
	    !praas_name_valid(name) || !take_limits(rq, &tenant, &error)) {
		refuse(rq, &error);
		return;
	}
	memcpy(tenant.name, name, strlen(name) + 1);
	put(rq, &tenant, true);
}

void praas_route_tenants_set(struct praas_request *rq)
{
	static const char *const known[] = { "limits", NULL };
	struct praas_json_error error;
	struct praas_tenant tenant;

	if (praas_tenants_get(rq->service->tenants, rq->match.id, &tenant))
		tell(rq, 404, rq->match.id);
	else if (!praas_json_known(rq->json, known, &error) ||
		 !take_limits(rq, &tenant, &error))
		refuse(rq, &error);
	else
		put(rq, &tenant, false);
}

void praas_route_tenants_show(struct praas_request *rq)
{
	tell(rq, 200, rq->match.id);
}

void praas_route_limits(struct praas_request *rq)
{
	tell(rq, 200, rq->caller.tenant);
}

void praas_route_tenants_list(struct praas_request *rq)
{
	struct praas_tenant *tenants;
	struct praas_page page;
	json_t *list, *reply;
	uint32_t count = 0;
	bool more;
	int rc;

	if (!praas_page_parse(rq, &page))
		return;
	tenants = calloc(page.limit + 1, sizeof(*tenants));
	list = json_array();
	rc = tenants && list ? 0 : -ENOMEM;
	if (rc == 0)
		rc = praas_tenants_list(rq->service->tenants, page.after,
					page.limit + 1, tenants, &count);
	more = praas_page_more(&page, &count);
	for (uint32_t i = 0; rc == 0 && i < count; i++)
		if (json_array_append_new(list, tenant_json(&tenants[i])))
			rc = -ENOMEM;
	reply = praas_page_json("tenants", list, more ? tenants[count - 1].name : NULL);
	free(tenants);
	praas_reply_list(rq, rc, "tenants", reply);
}

void praas_route_tenants_delete(struct praas_request *rq)
{
	struct praas_service *s = rq->service;
	int rc = praas_tenants_delete(s->tenants, rq->match.id);

	if (rc == 0)
		rc = praas_tokens_revoke_all(s->tokens, rq->match.id);
	praas_events_review(s->events);
	if (rc == -ENOTEMPTY)
		praas_reply_error(rq, 409, "not_empty", "delete its applications first",
				  "the tenant has applications");
	else if (rc == -EPERM)
		praas_reply_error(rq, 409, "not_empty",
				  "its limits may be set: PUT /v1/tenants/default",
				  "the tenant \"default\" is always there");
	else if (rc == -ENOENT)
		praas_reply_error(rq, 404, "not_found", "GET /v1/tenants lists them",
				  "no such tenant");
	else if (rc)
		praas_reply_unstored(rq, rc, "the tenant cannot be removed");
	else
		praas_reply_empty(rq, 204);
}
