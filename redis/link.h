/* SPDX-License-Identifier: Apache-2.0
 *
 * One connection to a Redis: a command, its reply, until a deadline. hiredis 0.14 has no timeout for a command
 * and no TLS; of it only what does no I/O is used. One thread at a time.
 */
#ifndef PRAAS_REDIS_LINK_H
#define PRAAS_REDIS_LINK_H

#include "redis/reply.h"
#include "redis/tls.h"
#include "redis/url.h"

#define PRAAS_REDIS_ARGS (32u + 2u * 64u) /* of one command; each text below 2 MiB */

struct praas_redis_args {
	int count;
	const char *argv[PRAAS_REDIS_ARGS];
	size_t bytes[PRAAS_REDIS_ARGS];
};

struct praas_redis_link;

/* 0; -errno, and why in ret_text (256 bytes). tls: NULL where the URL has none. */
int praas_redis_link_open(const struct praas_redis_url *url,
			  struct praas_redis_tls_context *tls, uint64_t deadline_ns,
			  struct praas_redis_link **ret_link, char *ret_text);
void praas_redis_link_free(struct praas_redis_link *link);
/* After any failure the connection is good for nothing: whether the command was done is not known.
 * -ETIMEDOUT; -ECONNRESET …; -EPROTO; -ENOMEM. Why is in ret_text (256 bytes). */
int praas_redis_link_ask(struct praas_redis_link *link,
			 const struct praas_redis_args *args, uint64_t deadline_ns,
			 redisReply **ret_reply, char *ret_text);

#endif
