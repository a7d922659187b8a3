/* SPDX-License-Identifier: Apache-2.0
 *
 * The scripts that the server runs (the .lua files beside this one).
 */
#ifndef PRAAS_CONTROL_REDIS_SCRIPTS_H
#define PRAAS_CONTROL_REDIS_SCRIPTS_H

#include "redis/script.h"

enum praas_redis_concept {
	PRAAS_REDIS_OWN, /* own.lua, on its own; the others have common.lua before and run.lua behind */
	PRAAS_REDIS_APPS,
	PRAAS_REDIS_PROCESSES,
	PRAAS_REDIS_ITEMS,
	PRAAS_REDIS_MEMOS,
	PRAAS_REDIS_QUEUE,
	PRAAS_REDIS_CONCEPTS
};

struct praas_redis_scripts {
	struct praas_redis_script all[PRAAS_REDIS_CONCEPTS][PRAAS_REDIS_KINDS];
};

int praas_redis_scripts_make(struct praas_redis_scripts *scripts); /* -ENOMEM */
void praas_redis_scripts_free(struct praas_redis_scripts *scripts);

#endif
