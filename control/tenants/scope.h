/* SPDX-License-Identifier: Apache-2.0
 *
 * What a credential must allow, and its names. Pure; any thread.
 */
#ifndef PRAAS_CONTROL_SCOPE_H
#define PRAAS_CONTROL_SCOPE_H

enum praas_scope {
	PRAAS_SCOPE_OPERATOR, /* what a route needs that says nothing: tenants, the service;
			       * admin in the tenant "default" */
	PRAAS_SCOPE_ADMIN,  /* keys of the tenant */
	PRAAS_SCOPE_DEPLOY, /* applications, and the life of processes */
	PRAAS_SCOPE_INVOKE, /* calls, state, messages, tickets */
	PRAAS_SCOPE_READ,
	PRAAS_SCOPE_OPEN, /* none is asked for */
	PRAAS_SCOPES
};
/* "invoke"; NULL for open. */
const char *praas_scope_text(enum praas_scope scope);
/* Of those that a key may have (admin … read); text may be NULL. 0; -EINVAL. */
int praas_scope_parse(const char *text, enum praas_scope *ret_scope);

#endif
