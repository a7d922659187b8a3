/* SPDX-License-Identifier: Apache-2.0
 *
 * Who asks, and may he? Decided here alone, from the credential, the route and the names in the
 * path, before anything is looked up. What is looked up afterwards is found by the caller's tenant
 * as well as by its name, so what is another's does not exist for him (docs/security.md).
 */
#ifndef PRAAS_CONTROL_AUTHORISE_H
#define PRAAS_CONTROL_AUTHORISE_H

#include <stdbool.h>
#include <stdint.h>

#include "control/rest/router.h"
#include "control/tenants/keys.h"
#include "control/tenants/tokens.h"

/* Whose request it is. */
struct praas_caller {
	char tenant[PRAAS_NAME_MAX + 1]; /* "": nobody's */
	char key[PRAAS_NAME_MAX +
		 1]; /* id of his key; "admin" for the administrator's */
	char app[PRAAS_NAME_MAX + 1]; /* the only one he may name; "" all */
	uint32_t scopes;              /* bits 1 << enum praas_scope */
};

/* authorization: value of that header, may be NULL. match: its route is NULL when there is none of
 * that path or method; then only who he is is asked. 0; -EACCES no key; -EKEYEXPIRED it was one; -EPERM its scopes do
 * not allow it; -EXDEV it is for one application and this route for all; -ENOENT it is for another
 * application. *ret_caller is filled in as far as he is known. Any thread, no disk. */
int praas_authorise(const struct praas_keys *keys, struct praas_tokens *tokens,
		    const char *authorization, const struct praas_match *match,
		    uint64_t now_s, struct praas_caller *ret_caller);

/* Whether he who was found to ask still has a key, for answers without an end. Any thread, no disk. */
bool praas_caller_valid(struct praas_tokens *tokens, const struct praas_caller *caller,
			uint64_t now_s);

#endif
