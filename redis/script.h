/* SPDX-License-Identifier: Apache-2.0
 *
 * A script that the server runs, as text and by its SHA-1.
 */
#ifndef PRAAS_REDIS_SCRIPT_H
#define PRAAS_REDIS_SCRIPT_H

#include <stddef.h>

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

/* The text NAME.lua in the folder PRAAS_REDIS_LUA, put into the program by the assembler: praas_lua_NAME. */
#define PRAAS_REDIS_TEXT(name)                                                         \
	__asm__(".pushsection .rodata\n"                                               \
		".local praas_lua_" #name "\n"                                         \
		"praas_lua_" #name ": .incbin \"" PRAAS_REDIS_LUA "/" #name ".lua\"\n" \
		".byte 0\n"                                                            \
		".popsection");                                                        \
	extern const char praas_lua_##name[]

/* Of up to three parts, one behind the other; "": none. -ENOMEM. */
int praas_redis_script_make(struct praas_redis_script *script,
			    enum praas_redis_kind kind, const char *const parts[3]);
/* A zeroed one is allowed. */
void praas_redis_script_free(struct praas_redis_script *script);

#endif
