/* SPDX-License-Identifier: Apache-2.0
 *
 * Access of requests: who asks and whether he may (authorise.h), what his tenant may still use
 * (tenants.h), and the answers to who may not.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/names.h"
#include "control/rest/request.h"
#include "internal/base.h"

static void refuse_key(struct praas_request *rq, const char *message)
{
	praas_reply_header(rq, "WWW-Authenticate", "Bearer");
	praas_reply_error(
		rq, 401, "unauthorized",
		"send Authorization: Bearer KEY (of praas token create, or admin.token "
		"in the data folder)",
		"%s", message);
}

static void refuse(struct praas_request *rq, int rc)
{
	switch (rc) {
	case -EKEYEXPIRED:
		refuse_key(rq, "the key has expired");
		break;
	case -EPERM:
		praas_reply_error(rq, 403, "denied",
				  "ask for a key with that scope: praas token create",
				  "the key has no scope \"%s\"",
				  praas_scope_text(rq->match.route->scope));
		break;
	case -EXDEV:
		praas_reply_error(
			rq, 403, "denied", "ask for a key for all: praas token create",
			"the key is for application %s alone", rq->caller.app);
		break;
	case -ENOENT: /* as what is not there */
		praas_reply_no_app(rq);
		break;
	default:
		refuse_key(rq, "the key is missing or wrong");
	}
}

void praas_reply_no_app(struct praas_request *rq)
{
	praas_reply_error(rq, 404, "not_found", "POST /v1/apps creates one",
			  "no such application");
}

void praas_reply_quota(struct praas_request *rq, enum praas_quota quota)
{
	const struct praas_quota_row *row = &praas_quota_rows[quota];
	struct praas_tenant tenant;

	if (praas_tenants_get(rq->service->tenants, rq->caller.tenant, &tenant)) {
		refuse_key(rq, "the tenant is gone");
		return;
	}
	if (row->status == 429)
		praas_reply_header(rq, "Retry-After", "1");
	praas_reply_error(rq, row->status, row->code, row->hint,
			  "the tenant's limit of %s is %llu", row->name,
			  (unsigned long long)tenant.limits[quota]);
}

bool praas_request_authorise(struct praas_request *rq)
{
	struct praas_service *s = rq->service;
	int rc = praas_authorise(&s->keys, rq->alone ? NULL : s->tokens,
				 praas_request_header(rq, "Authorization"), &rq->match,
				 (uint64_t)time(NULL), &rq->caller);

	if (rc == 0 && !rq->alone && rq->caller.tenant[0] &&
	    praas_tenants_rate(s->tenants, rq->caller.tenant, praas_now_ns())) {
		praas_reply_quota(rq, PRAAS_QUOTA_RATE);
		return false;
	}
	if (rc)
		refuse(rq, rc);
	return rc == 0;
}

/* Whether it may make the state larger. */
static bool grows_state(const struct praas_route *route)
{
	return route->scope == PRAAS_SCOPE_INVOKE && route->effect != PRAAS_READS &&
	       (route->method == PRAAS_POST || route->method == PRAAS_PUT);
}

bool praas_request_admit(struct praas_request *rq)
{
	struct praas_tenants *tenants = rq->service->tenants;

	if (!rq->caller.tenant[0] || rq->alone)
		return true; /* an open route, or nobody to count him */
	if (grows_state(rq->match.route) &&
	    praas_tenants_check(tenants, rq->caller.tenant, PRAAS_QUOTA_STATE)) {
		praas_reply_quota(rq, PRAAS_QUOTA_STATE);
		return false;
	}
	if (praas_tenants_take(tenants, rq->caller.tenant, PRAAS_QUOTA_CALLS, 1)) {
		praas_reply_quota(rq, PRAAS_QUOTA_CALLS);
		return false;
	}
	rq->admitted = true;
	return true;
}

void praas_request_leave(struct praas_request *rq)
{
	if (rq->admitted)
		praas_tenants_give(rq->service->tenants, rq->caller.tenant,
				   PRAAS_QUOTA_CALLS, 1);
	rq->admitted = false;
}

const struct praas_trace *praas_request_trace(struct praas_request *rq)
{
	static const uint8_t none[sizeof(rq->trace.id)];

	if (memcmp(rq->trace.id, none, sizeof(none)) == 0)
		praas_trace_begin(praas_request_header(rq, "traceparent"), &rq->trace);
	return &rq->trace;
}

void praas_request_audit(struct praas_request *rq, const char *from)
{
	const struct praas_route *route = rq->match.route;
	char trace[33];
	struct praas_audit_entry entry = {
		.key = rq->caller.key,
		.tenant = rq->caller.tenant,
		.from = from,
		.app = rq->match.app,
		.pid = rq->match.pid[0] ? rq->match.pid : rq->wait.record.name,
		.id = rq->match.id[0] ? rq->match.id : rq->made,
		.code = rq->code,
		.trace = trace,
		.status = rq->status,
	};

	if (!route || (route->effect == PRAAS_READS && route->method == PRAAS_GET))
		return;
	entry.method = praas_method_text(route->method);
	entry.route = route->pattern;
	entry.ns = praas_now_ns() - rq->began_ns;
	praas_hex_encode(praas_request_trace(rq)->id, sizeof(rq->trace.id), trace);
	if (rq->audit_lines)
		praas_audit_add(rq->service->audit, rq->audit_lines, &entry);
	else
		praas_audit_write(rq->service->audit, &entry);
}
