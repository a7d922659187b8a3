/* SPDX-License-Identifier: Apache-2.0
 *
 * The scripts that the server runs (the .lua files beside this one), as texts and by their SHA-1.
 */
#ifndef PRAAS_CONTROL_REDIS_SCRIPTS_H
#define PRAAS_CONTROL_REDIS_SCRIPTS_H

#include <stddef.h>

enum praas_redis_concept {
	PRAAS_REDIS_OWN, /* own.lua, on its own; the others have common.lua before and run.lua behind */
	PRAAS_REDIS_APPS,
	PRAAS_REDIS_PROCESSES,
	PRAAS_REDIS_ITEMS,
	PRAAS_REDIS_MEMOS,
	PRAAS_REDIS_QUEUE,
	PRAAS_REDIS_CONCEPTS
};

/* What a script may do; the server sees to it. */
enum praas_redis_kind {
	PRAAS_REDIS_READS,
	PRAAS_REDIS_CHANGES, /* not when the memory is full: then nothing of it is done */
	PRAAS_REDIS_FREES,   /* also then */
	PRAAS_REDIS_KINDS
};

struct praas_redis_script {
	char *text;
	size_t bytes;
	char sha[41];
};

struct praas_redis_scripts {
	struct praas_redis_script all[PRAAS_REDIS_CONCEPTS][PRAAS_REDIS_KINDS];
};

int praas_redis_scripts_make(struct praas_redis_scripts *scripts); /* -ENOMEM */
void praas_redis_scripts_free(struct praas_redis_scripts *scripts);

#endif
