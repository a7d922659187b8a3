/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS to a Redis: 1.3 and nothing older, the server's certificate verified, a certificate of ours where
 * one is named. Over a non-blocking socket; never raises SIGPIPE.
 */
#ifndef PRAAS_REDIS_TLS_H
#define PRAAS_REDIS_TLS_H

#include <sys/types.h>

#include "redis/url.h"

struct praas_redis_tls;
struct praas_redis_tls_context;

/* With what the URL names; its files are read once. 0; -EINVAL, and why in ret_text (256 bytes); -ENOMEM. */
int praas_redis_tls_context_new(const struct praas_redis_url *url,
				struct praas_redis_tls_context **ret_context,
				char *ret_text);
void praas_redis_tls_context_free(struct praas_redis_tls_context *context);

/* For a connected socket that stays the caller's. -ENOMEM. */
int praas_redis_tls_new(struct praas_redis_tls_context *context, int fd,
			struct praas_redis_tls **ret_tls);
void praas_redis_tls_free(struct praas_redis_tls *tls);
/* As recv() and send() on a non-blocking socket, but -errno; handshakes on the way. *ret_events: of -EAGAIN, what
 * to poll for. -EACCES the certificate is not believed; -ECONNREFUSED another fault of TLS. */
ssize_t praas_redis_tls_read(struct praas_redis_tls *tls, void *data, size_t bytes,
			     short *ret_events);
ssize_t praas_redis_tls_write(struct praas_redis_tls *tls, const void *data,
			      size_t bytes, short *ret_events);
/* Why it failed last; "": it did not. */
const char *praas_redis_tls_why(const struct praas_redis_tls *tls);

#endif
