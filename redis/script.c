/* SPDX-License-Identifier: Apache-2.0 */
#include "redis/script.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>

#include "internal/text.h"

#define SHA_BYTES 20u

static const char *const heads[PRAAS_REDIS_KINDS] = {
	[PRAAS_REDIS_READS] = "#!lua flags=no-writes\n",
	[PRAAS_REDIS_CHANGES] = "#!lua\n",
	[PRAAS_REDIS_FREES] = "#!lua flags=allow-oom\n",
};

int praas_redis_script_make(struct praas_redis_script *script,
			    enum praas_redis_kind kind, const char *const parts[3])
{
	unsigned char sha[EVP_MAX_MD_SIZE];
	int n = asprintf(&script->text, "%s%s%s%s", heads[kind], parts[0], parts[1],
			 parts[2]);

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

void praas_redis_script_free(struct praas_redis_script *script)
{
	free(script->text);
	*script = (struct praas_redis_script){ .text = NULL };
}
