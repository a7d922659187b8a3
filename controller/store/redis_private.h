/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the store in Redis share (docs/redis-store.md).
 */
#ifndef PRAAS_CONTROLLER_STORE_REDIS_PRIVATE_H
#define PRAAS_CONTROLLER_STORE_REDIS_PRIVATE_H

#include <errno.h>
#include <stdio.h>

#include "controller/store/redis.h"
#include "controller/store/store.h"
#include "redis/lane.h"

#define PRAAS_REDIS_STORE_MS 10000u /* for a command, with all that is tried again */
#define PRAAS_REDIS_STORE_PIECE                                                        \
	(1u << 20) /* bytes that are sent or asked for at once */
#define PRAAS_REDIS_STORE_KEY_MAX                                                      \
	(PRAAS_NAME_MAX + 32u + PRAAS_REDIS_BELOW_MAX + PRAAS_STORE_KEY_MAX)

struct praas_store_redis {
	struct praas_store base;
	struct praas_redis_url url;
	struct praas_redis_way way;
	struct praas_redis_lane lane;
	struct praas_redis_script changes, frees;
	char stores[PRAAS_REDIS_STORE_KEY_MAX + 1], /* names of what is in the Redis */
		names[PRAAS_REDIS_STORE_KEY_MAX + 1],
		done[PRAAS_REDIS_STORE_KEY_MAX + 1],
		pieces[PRAAS_REDIS_STORE_KEY_MAX + 1];
	uint64_t turn,
		turn_ns; /* the last change that was answered, and when; 0: none is known */
	char last[PRAAS_REDIS_STORE_KEY_MAX +
		  1]; /* the last object that was created; "": it is deleted */
	bool lost;    /* what was acknowledged is not all there */
};

/* A change, of redis.lua. */
struct praas_redis_change {
	const char *op;
	const char *key;   /* of the object; NULL: none */
	const char *other; /* in the Redis; NULL: none */
	const struct praas_redis_script *script;
	uint64_t number;
	const void *data;
	size_t bytes;
};

static inline struct praas_store_redis *praas_store_redis_of(struct praas_store *s)
{
	return (struct praas_store_redis *)(void *)s;
}

/* What an object is called in the Redis. 0; -EINVAL. */
int praas_redis_store_key(const struct praas_store_redis *s, const char *key,
			  char ret_name[PRAAS_REDIS_STORE_KEY_MAX + 1]);
/* A command of texts that changes nothing; the reply is no error. 0; as the store says it, with base.why. */
int praas_redis_store_ask(struct praas_store_redis *s, const char *const *words,
			  int count, redisReply **ret_reply);
/* 0; -EEXIST; -ENOENT; as above. */
int praas_redis_store_change(struct praas_store_redis *s,
			     const struct praas_redis_change *change);

/* A failure as stores have it, with its reason. */
static inline int praas_redis_store_fails(struct praas_store_redis *s, int rc,
					  const char *why)
{
	(void)snprintf(s->base.why, sizeof(s->base.why), "Redis: %.230s", why);
	if (rc == -EINVAL) /* what the server is, or a file of the address */
		return -EOPNOTSUPP;
	return rc == -ENOSPC || rc == -EACCES || rc == -ENOMEM || rc == -EMSGSIZE
		       ? rc
		       : -EIO;
}

/* praas_store_ops.put_if_absent, .put and .list */
int praas_redis_put_if_absent(struct praas_store *store, const char *key,
			      const void *data, size_t bytes);
int praas_redis_put(struct praas_store *store, const struct praas_store_source *source);
int praas_redis_list(struct praas_store *store, const char *prefix, const char *after,
		     praas_store_list_fn fn, void *user);

/* The text of a list that follows `last`, a path of at most max bytes or "". 0; -EPROTO it is none, or does not
 * follow. */
int praas_redis_listed(const redisReply *reply, size_t at, const char *last, size_t max,
		       const char **ret_text);

#endif
