/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of routes as JSON, for tests that ask every route something.
 */
#include <stdio.h>

#include <jansson.h>

#include "control/rest/request.h"

int main(void)
{
	static const char *const bodies[] = { "none", "json", "raw" };
	static const char *const effects[] = { "reads", "sets", "adds" };
	json_t *list = json_array();

	for (const struct praas_route *r = praas_routes; r->pattern; r++)
		(void)json_array_append_new(
			list,
			json_pack("{s:s,s:s,s:s?,s:s,s:s,s:s,s:s}", "method",
				  praas_method_text(r->method), "pattern", r->pattern,
				  "scope", praas_scope_text(r->scope), "body",
				  bodies[r->body], "effect", effects[r->effect], "id",
				  r->id, "gives", r->gives));
	if (json_dumpf(list, stdout, JSON_INDENT(1)))
		return 1;
	json_decref(list);
	return 0;
}
