/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rest/authorise.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define ADMIN "admin" /* no id of a key: those are hex */
#define PRAAS_ALL_SCOPES (PRAAS_TOKEN_SCOPES | 1u << PRAAS_SCOPE_OPERATOR)

/* Whose key text is. 0; -EACCES; -EKEYEXPIRED. */
static int identify(const struct praas_keys *keys, struct praas_tokens *tokens,
		    const char *text, uint64_t now_s, struct praas_caller *ret_caller)
{
	struct praas_token token;
	int rc;

	if (strnlen(text, PRAAS_TOKEN_MAX + 1) > PRAAS_TOKEN_MAX)
		return -EACCES;
	if (praas_keys_admin(keys, text)) {
		strcpy(ret_caller->tenant, PRAAS_TENANT_DEFAULT);
		strcpy(ret_caller->key, ADMIN);
		ret_caller->scopes = PRAAS_ALL_SCOPES;
		return 0;
	}
	if (!tokens)
		return -EACCES;
	rc = praas_tokens_verify(tokens, text, now_s, &token);
	if (rc)
		return rc;
	memcpy(ret_caller->tenant, token.tenant, sizeof(token.tenant));
	memcpy(ret_caller->key, token.id, sizeof(token.id));
	memcpy(ret_caller->app, token.app, sizeof(token.app));
	ret_caller->scopes = token.scopes;
	if (token.scopes & 1u << PRAAS_SCOPE_ADMIN &&
	    !strcmp(token.tenant, PRAAS_TENANT_DEFAULT))
		ret_caller->scopes |= 1u << PRAAS_SCOPE_OPERATOR;
	return 0;
}

int praas_authorise(const struct praas_keys *keys, struct praas_tokens *tokens,
		    const char *authorization, const struct praas_match *match,
		    uint64_t now_s, struct praas_caller *ret_caller)
{
	static const char scheme[] = "Bearer ";
	const struct praas_route *route = match->route;
	int rc;

	memset(ret_caller, 0, sizeof(*ret_caller));
	if (route && route->scope == PRAAS_SCOPE_OPEN)
		return 0;
	if (!authorization ||
	    strncasecmp(authorization, scheme, sizeof(scheme) - 1) != 0)
		return -EACCES;
	rc = identify(keys, tokens, authorization + sizeof(scheme) - 1, now_s,
		      ret_caller);
	if (rc || !route)
		return rc;
	if (!(ret_caller->scopes & 1u << route->scope))
		return -EPERM;
	if (!ret_caller->app[0])
		return 0;
	if (!match->app[0])
		return -EXDEV;
	return strcmp(ret_caller->app, match->app) == 0 ? 0 : -ENOENT;
}

bool praas_caller_valid(struct praas_tokens *tokens, const struct praas_caller *caller,
			uint64_t now_s)
{
	return !strcmp(caller->key, ADMIN) ||
	       praas_tokens_valid(tokens, caller->key, now_s);
}
