/* SPDX-License-Identifier: Apache-2.0 */
#include "control/tenants/scope.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

const char *praas_scope_text(enum praas_scope scope)
{
	static const char *const texts[PRAAS_SCOPES] = {
		[PRAAS_SCOPE_READ] = "read",         [PRAAS_SCOPE_INVOKE] = "invoke",
		[PRAAS_SCOPE_DEPLOY] = "deploy",     [PRAAS_SCOPE_ADMIN] = "admin",
		[PRAAS_SCOPE_OPERATOR] = "operator",
	};

	return texts[scope];
}

int praas_scope_parse(const char *text, enum praas_scope *ret_scope)
{
	for (unsigned s = PRAAS_SCOPE_ADMIN; text && s <= PRAAS_SCOPE_READ; s++) {
		if (strcmp(text, praas_scope_text((enum praas_scope)s)) != 0)
			continue;
		*ret_scope = (enum praas_scope)s;
		return 0;
	}
	return -EINVAL;
}
