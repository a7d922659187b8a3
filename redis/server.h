/* SPDX-License-Identifier: Apache-2.0
 *
 * What a Redis says of itself, and whether what it is given is safe with it.
 */
#ifndef PRAAS_REDIS_SERVER_H
#define PRAAS_REDIS_SERVER_H

#include <stdbool.h>
#include <stddef.h>

struct praas_redis_server {
	unsigned major, minor;
	bool primary, cluster, evicts;
	bool loading;        /* it does not have all yet */
	bool logs;           /* has an append-only file, and could write it last time */
	bool always;         /* each change is on the disk before it is answered */
	bool always_unknown; /* it may not be asked for */
};

/* The reply of INFO. Of what it does not say nothing good is assumed. */
void praas_redis_server_parse(const char *info, size_t bytes,
			      struct praas_redis_server *ret_server);
/* 0; -EINVAL it must not be used, and why in ret_text (256 bytes). */
int praas_redis_server_check(const struct praas_redis_server *server, char *ret_text);
/* What has been acknowledged is kept, whatever crashes. Else ret_text (256 bytes) says what is missing. */
bool praas_redis_server_durable(const struct praas_redis_server *server,
				char *ret_text);

#endif
