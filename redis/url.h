/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a Redis is, and how to be let in:
 *
 *   redis://[USER@]HOST[:PORT][/DB][?OPTIONS]      over TCP
 *   rediss://…                                     the same over TLS
 *   redis+unix:///SOCKET[?OPTIONS]                 through a UNIX socket
 *
 * OPTIONS, parted by "&": prefix=NAME (praas), user=NAME, password-file=FILE, ca=FILE, cert=FILE, key=FILE, db=N,
 * below=NAMES (of a store of objects, joined by "/"). A password is never in the URL: everybody on the machine can
 * read a command line.
 */
#ifndef PRAAS_REDIS_URL_H
#define PRAAS_REDIS_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "praas/types.h"

#define PRAAS_REDIS_PATH_BYTES 1024u
#define PRAAS_REDIS_BELOW_MAX 400u

struct praas_redis_url {
	bool tls, local;
	uint32_t db;
	char host[256], port[6];                    /* not local */
	char socket[108];                           /* local */
	char user[PRAAS_NAME_MAX + 1];              /* "": the default user */
	char prefix[PRAAS_NAME_MAX + 1];            /* of our keys */
	char below[PRAAS_REDIS_BELOW_MAX + 1];      /* "": all of the prefix */
	char password_file[PRAAS_REDIS_PATH_BYTES]; /* "": none */
	char ca[PRAAS_REDIS_PATH_BYTES];            /* "": the system's */
	char cert[PRAAS_REDIS_PATH_BYTES], key[PRAAS_REDIS_PATH_BYTES]; /* "": none */
};

/* Is it one of the three kinds? */
bool praas_redis_url_is(const char *text);
/* 0; -EINVAL, and why in ret_text (256 bytes). */
int praas_redis_url_parse(const char *text, struct praas_redis_url *ret_url,
			  char *ret_text);

#endif
