/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys: made, listed, revoked. A key may give no more than its maker has.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/json.h"
#include "control/names.h"
#include "control/rest/page.h"
#include "control/rest/request.h"

static json_t *token_json(const struct praas_token *t)
{
	json_t *scopes = json_array(), *object;

	for (unsigned s = PRAAS_SCOPE_ADMIN; s <= PRAAS_SCOPE_READ; s++)
		if (t->scopes & 1u << s)
			(void)json_array_append_new(
				scopes,
				json_string(praas_scope_text((enum praas_scope)s)));
	object = json_pack("{s:s,s:s,s:s,s:o,s:I}", "id", t->id, "tenant", t->tenant,
			   "label", t->label, "scopes", scopes, "created_s",
			   (json_int_t)t->created_s);
	if (object && t->app[0])
		(void)json_object_set_new(object, "app", json_string(t->app));
	if (object && t->expires_s)
		(void)json_object_set_new(object, "expires_s",
					  json_integer((json_int_t)t->expires_s));
	return object;
}

static bool operator(const struct praas_request *rq)
{
	return rq->caller.scopes & 1u << PRAAS_SCOPE_OPERATOR;
}

static bool take_name(const json_t *object, const char *member,
		      char ret_name[PRAAS_NAME_MAX + 1], struct praas_json_error *error)
{
	const char *text = NULL;

	if (!praas_json_text(object, member, PRAAS_NAME_MAX, &text, error))
		return false;
	if (text && !praas_name_valid(text)) {
		(void)snprintf(error->text, sizeof(error->text),
			       "\"%s\" must be [A-Za-z0-9._-]{1,64}", member);
		return false;
	}
	if (text)
		memcpy(ret_name, text, strlen(text) + 1);
	return true;
}

static bool take_scopes(const json_t *list, uint32_t *ret_scopes,
			struct praas_json_error *error)
{
	uint32_t scopes = 0;

	for (size_t i = 0; i < json_array_size(list); i++) {
		enum praas_scope scope;

		if (praas_scope_parse(json_string_value(json_array_get(list, i)),
				      &scope)) {
			scopes = 0;
			break;
		}
		scopes |= 1u << scope;
	}
	*ret_scopes = scopes;
	if (!scopes)
		strcpy(error->text,
		       "\"scopes\" is a list of read, invoke, deploy, admin");
	return scopes != 0;
}

static bool take_token(const struct praas_request *rq, struct praas_token *t,
		       struct praas_json_error *error)
{
	static const char *const known[] = { "tenant", "label", "app",
					     "scopes", "ttl_s", NULL };
	uint64_t ttl = 0;

	if (!praas_json_known(rq->json, known, error) ||
	    !take_name(rq->json, "tenant", t->tenant, error) ||
	    !take_name(rq->json, "label", t->label, error) ||
	    !take_name(rq->json, "app", t->app, error) ||
	    !take_scopes(json_object_get(rq->json, "scopes"), &t->scopes, error) ||
	    !praas_json_number(rq->json, "ttl_s", 1, PRAAS_LIMIT_TOKEN_TTL_S, &ttl,
			       error))
		return false;
	if (t->app[0] && t->scopes & 1u << PRAAS_SCOPE_ADMIN) {
		strcpy(error->text, "a key for one application has no scope admin");
		return false;
	}
	t->expires_s = ttl ? (uint64_t)time(NULL) + ttl : 0;
	return true;
}

/* What the caller may not give. true: answered. */
static bool refused(struct praas_request *rq, const struct praas_token *t)
{
	struct praas_tenant tenant;

	if (strcmp(t->tenant, rq->caller.tenant) != 0 &&
	    (!operator(rq) ||
	     praas_tenants_get(rq->service->tenants, t->tenant, &tenant)))
		praas_reply_error(rq, 404, "not_found",
				  "POST /v1/tenants creates one (operators only)",
				  "no such tenant");
	else if (t->scopes & ~rq->caller.scopes)
		praas_reply_error(rq, 403, "denied",
				  "ask somebody whose key has those scopes",
				  "a key may not give more than its maker has");
	else
		return false;
	return true;
}

void praas_route_tokens_create(struct praas_request *rq)
{
	struct praas_token token = { 0 };
	struct praas_json_error error;
	char text[PRAAS_TOKEN_TEXT];
	json_t *object;
	int rc;

	memcpy(token.tenant, rq->caller.tenant, sizeof(token.tenant));
	if (!take_token(rq, &token, &error)) {
		praas_reply_error(rq, 400, "invalid",
				  "see docs/rest.md, POST /v1/tokens", "%s",
				  error.text);
		return;
	}
	if (refused(rq, &token))
		return;
	rc = praas_tokens_create(rq->service->tokens, &token, text);
	if (rc == -EDQUOT || rc == -ENOSPC) {
		praas_reply_error(rq, 409, "limit_tokens",
				  "revoke keys that are not needed",
				  "there may be %u keys of a tenant and %u of all",
				  PRAAS_LIMIT_TOKENS_PER_TENANT, PRAAS_LIMIT_TOKENS);
		return;
	}
	if (rc) {
		praas_reply_unstored(rq, rc, "the key cannot be stored");
		return;
	}
	memcpy(rq->made, token.id, sizeof(token.id));
	object = token_json(&token);
	if (object && json_object_set_new(object, "token", json_string(text))) {
		json_decref(object);
		object = NULL;
	}
	explicit_bzero(text, sizeof(text));
	if (!object) /* nobody will ever know it */
		(void)praas_tokens_revoke(rq->service->tokens, NULL, token.id);
	praas_reply_json(rq, 201, object);
}

/* The tenant that a list is asked of. false: answered. */
static bool tenant_asked(struct praas_request *rq, char ret_tenant[PRAAS_NAME_MAX + 1])
{
	int rc = praas_request_query_text(rq, "tenant", ret_tenant, PRAAS_NAME_MAX + 1);

	if (rc == -ENOENT) {
		memcpy(ret_tenant, rq->caller.tenant, sizeof(rq->caller.tenant));
		return true;
	}
	if (rc == 0 && (operator(rq) || !strcmp(ret_tenant, rq->caller.tenant)))
		return true;
	praas_reply_error(rq, 404, "not_found", "leave it out for your own",
			  "no such tenant");
	return false;
}

void praas_route_tokens_list(struct praas_request *rq)
{
	char tenant[PRAAS_NAME_MAX + 1];
	struct praas_token *tokens;
	struct praas_page page;
	json_t *list, *reply;
	uint32_t count = 0;
	bool more;
	int rc;

	if (!praas_page_parse(rq, &page) || !tenant_asked(rq, tenant))
		return;
	tokens = calloc(page.limit + 1, sizeof(*tokens));
	list = json_array();
	rc = tokens && list ? 0 : -ENOMEM;
	if (rc == 0)
		rc = praas_tokens_list(rq->service->tokens, tenant, page.after,
				       page.limit + 1, tokens, &count);
	more = praas_page_more(&page, &count);
	for (uint32_t i = 0; rc == 0 && i < count; i++)
		if (json_array_append_new(list, token_json(&tokens[i])))
			rc = -ENOMEM;
	reply = praas_page_json("tokens", list, more ? tokens[count - 1].id : NULL);
	free(tokens);
	praas_reply_list(rq, rc, "keys", reply);
}

void praas_route_tokens_delete(struct praas_request *rq)
{
	int rc = praas_tokens_revoke(
		rq->service->tokens, operator(rq) ? NULL : rq->caller.tenant,
		rq->match.id);

	praas_events_review(rq->service->events);
	if (rc == -ENOENT)
		praas_reply_error(rq, 404, "not_found", "GET /v1/tokens lists them",
				  "no such key");
	else if (rc)
		praas_reply_unstored(rq, rc, "the key cannot be removed");
	else
		praas_reply_empty(rq, 204);
}
