/* SPDX-License-Identifier: Apache-2.0 */
#include "control/records/redis/scripts.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "control/names.h"

#define SHA_BYTES 20u

/* The files, put here by the assembler. */
#define TEXT(name)                                                                     \
	__asm__(".pushsection .rodata\n"                                               \
		".local praas_lua_" #name "\n"                                         \
		"praas_lua_" #name ": .incbin \"" PRAAS_REDIS_LUA "/" #name ".lua\"\n" \
		".byte 0\n"                                                            \
		".popsection");                                                        \
	extern const char praas_lua_##name[]

TEXT(common);
TEXT(run);
TEXT(own);
TEXT(apps);
TEXT(processes);
TEXT(items);
TEXT(memos);
TEXT(queue);

static const char *const texts[PRAAS_REDIS_CONCEPTS] = {
	[PRAAS_REDIS_OWN] = praas_lua_own,
	[PRAAS_REDIS_APPS] = praas_lua_apps,
	[PRAAS_REDIS_PROCESSES] = praas_lua_processes,
	[PRAAS_REDIS_ITEMS] = praas_lua_items,
	[PRAAS_REDIS_MEMOS] = praas_lua_memos,
	[PRAAS_REDIS_QUEUE] = praas_lua_queue,
};

static const char *const heads[PRAAS_REDIS_KINDS] = {
	[PRAAS_REDIS_READS] = "#!lua flags=no-writes\n",
	[PRAAS_REDIS_CHANGES] = "#!lua\n",
	[PRAAS_REDIS_FREES] = "#!lua flags=allow-oom\n",
};

static int make(enum praas_redis_concept concept, enum praas_redis_kind kind,
		struct praas_redis_script *script)
{
	bool alone = concept == PRAAS_REDIS_OWN;
	unsigned char sha[EVP_MAX_MD_SIZE];
	int n = asprintf(&script->text, "%s%s%s%s", heads[kind],
			 alone ? "" : praas_lua_common, texts[concept],
			 alone ? "" : praas_lua_run);

	if (n < 0) {
		script->text = NULL; /* is undefined then */
		return -ENOMEM;
	}
	script->bytes = (size_t)n;
	if (EVP_Digest(script->text, script->bytes, sha, NULL, EVP_sha1(), NULL) != 1)
		return -ENOMEM;
	praas_hex_encode(sha, SHA_BYTES, script->sha);
	return 0;
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
			free(scripts->all[c][k].text);
	*scripts = (struct praas_redis_scripts){ 0 };
}
