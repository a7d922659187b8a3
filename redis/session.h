/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection that was let in: authenticated, its database chosen, its server looked at.
 */
#ifndef PRAAS_REDIS_SESSION_H
#define PRAAS_REDIS_SESSION_H

#include "redis/link.h"
#include "redis/server.h"

struct praas_redis_session_config {
	const struct praas_redis_url *url;
	struct praas_redis_tls_context *tls; /* NULL: none */
};

/* 0, and what the server says of itself. -EAGAIN … it may go another time; -EACCES it does not let us
 * in. Why not in ret_text (256 bytes). */
int praas_redis_session_open(const struct praas_redis_session_config *config,
			     uint64_t deadline_ns, struct praas_redis_link **ret_link,
			     struct praas_redis_server *ret_server, char *ret_text);

#endif
