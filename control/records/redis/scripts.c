/* SPDX-License-Identifier: Apache-2.0 */
#include "control/records/redis/scripts.h"

#include <stdbool.h>

PRAAS_REDIS_TEXT(common);
PRAAS_REDIS_TEXT(run);
PRAAS_REDIS_TEXT(own);
PRAAS_REDIS_TEXT(apps);
PRAAS_REDIS_TEXT(processes);
PRAAS_REDIS_TEXT(items);
PRAAS_REDIS_TEXT(memos);
PRAAS_REDIS_TEXT(queue);

static const char *const texts[PRAAS_REDIS_CONCEPTS] = {
	[PRAAS_REDIS_OWN] = praas_lua_own,
	[PRAAS_REDIS_APPS] = praas_lua_apps,
	[PRAAS_REDIS_PROCESSES] = praas_lua_processes,
	[PRAAS_REDIS_ITEMS] = praas_lua_items,
	[PRAAS_REDIS_MEMOS] = praas_lua_memos,
	[PRAAS_REDIS_QUEUE] = praas_lua_queue,
};

static int make(enum praas_redis_concept concept, enum praas_redis_kind kind,
		struct praas_redis_script *script)
{
	bool alone = concept == PRAAS_REDIS_OWN;
	const char *const parts[3] = { alone ? "" : praas_lua_common, texts[concept],
				       alone ? "" : praas_lua_run };

	return praas_redis_script_make(script, kind, parts);
}

int praas_redis_scripts_make(struct praas_redis_scripts *scripts)
{
	int rc = 0;

	*scripts = (struct praas_redis_scripts){ 0 };
	for (int c = 0; rc == 0 && c < PRAAS_REDIS_CONCEPTS; c++)
		for (int k = 0; rc == 0 && k < PRAAS_REDIS_KINDS; k++)
			rc = make((enum praas_redis_concept)c, (enum praas_redis_kind)k,
				  &scripts->all[c][k]);
	if (rc)
		praas_redis_scripts_free(scripts);
	return rc;
}

void praas_redis_scripts_free(struct praas_redis_scripts *scripts)
{
	for (int c = 0; c < PRAAS_REDIS_CONCEPTS; c++)
		for (int k = 0; k < PRAAS_REDIS_KINDS; k++)
			praas_redis_script_free(&scripts->all[c][k]);
	*scripts = (struct praas_redis_scripts){ 0 };
}
