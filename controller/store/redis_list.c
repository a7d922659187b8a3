/* SPDX-License-Identifier: Apache-2.0
 *
 * What is in a store, and which stores there are: pages of sorted sets, whose order is that of bytes. No command goes
 * through all keys of the Redis.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "controller/store/redis_private.h"

#define PAGE 1000u
#define PAGES_MAX 100000u
#define RANGE_BYTES (PRAAS_REDIS_BELOW_MAX + PRAAS_STORE_KEY_MAX + 4u)

int praas_redis_listed(const redisReply *reply, size_t at, const char *last, size_t max,
		       const char **ret_text)
{
	const redisReply *text = praas_redis_text(reply, at);

	if (!text || strlen(text->str) != text->len || strcmp(text->str, last) <= 0 ||
	    praas_store_path_check(text->str, max))
		return -EPROTO;
	*ret_text = text->str;
	return 0;
}

/* A page of what begins with prefix and comes after `last`. */
static int ask_page(struct praas_store_redis *s, const char *set, const char *prefix,
		    const char *last, redisReply **ret_reply)
{
	char from[RANGE_BYTES + 4], to[RANGE_BYTES + 4], page[16];
	const char *words[8] = { "ZRANGE", set, from, to, "BYLEX", "LIMIT", "0", page };
	bool inside = strcmp(last, prefix) >= 0 && last[0] != '\0';

	(void)snprintf(from, sizeof(from), "%c%s", inside ? '(' : '[',
		       inside ? last : prefix); /* fits */
	(void)snprintf(to, sizeof(to), "(%s\xff", prefix);
	(void)snprintf(page, sizeof(page), "%u", PAGE);
	return praas_redis_store_ask(s, words, 8, ret_reply);
}

struct pages {
	struct praas_store_redis *s;
	const char *set, *prefix;
	size_t max;              /* bytes of a text */
	praas_store_list_fn one; /* asked of each text that begins with prefix */
	void *user;
};

static int take_page(const struct pages *p, const redisReply *reply, char *last,
		     size_t room)
{
	const char *text = NULL;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < reply->elements; i++) {
		rc = praas_redis_listed(reply, i, last, p->max, &text);
		if (rc || strncmp(text, p->prefix, strlen(p->prefix)) != 0)
			return praas_redis_store_fails(p->s, -EIO,
						       "a list of something else");
		(void)snprintf(last, room, "%s", text); /* fits */
		rc = p->one(p->user, text);
	}
	return rc;
}

static int all_pages(const struct pages *p, const char *after)
{
	char last[RANGE_BYTES];
	size_t found = PAGE;
	int rc = 0;

	(void)snprintf(last, sizeof(last), "%s", after);
	for (unsigned n = 0; rc == 0 && found == PAGE && n < PAGES_MAX; n++) {
		redisReply *reply = NULL;

		rc = ask_page(p->s, p->set, p->prefix, last, &reply);
		if (rc)
			return rc;
		found = reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0;
		if (reply->type != REDIS_REPLY_ARRAY || found > PAGE)
			rc = praas_redis_store_fails(p->s, -EIO, "no list");
		else
			rc = take_page(p, reply, last, sizeof(last));
		freeReplyObject(reply);
	}
	return rc;
}

/* ---- objects ---- */

struct listing {
	size_t skip;
	praas_store_list_fn fn;
	void *user;
};

static int one_object(void *user, const char *key)
{
	const struct listing *l = user;

	return strchr(key + l->skip, '/') ? 0 : l->fn(l->user, key);
}

int praas_redis_list(struct praas_store *store, const char *prefix, const char *after,
		     praas_store_list_fn fn, void *user)
{
	struct praas_store_redis *s = praas_store_redis_of(store);
	struct listing l = { .skip = strlen(prefix), .fn = fn, .user = user };
	const struct pages p = { .s = s,
				 .set = s->names,
				 .prefix = prefix,
				 .max = PRAAS_STORE_KEY_MAX,
				 .one = one_object,
				 .user = &l };

	if (l.skip > PRAAS_STORE_KEY_MAX)
		return 0;
	if (!after || strcmp(after, prefix) < 0)
		after = "";
	return strlen(after) > PRAAS_STORE_KEY_MAX ? -EINVAL : all_pages(&p, after);
}

/* ---- stores ---- */

static int one_store(void *user, const char *below)
{
	const struct listing *l = user;
	const char *rest = below + l->skip, *slash = strchr(rest, '/');

	return slash && !strchr(slash + 1, '/') ? l->fn(l->user, rest) : 0;
}

static int is_one(void *user, const char *key)
{
	(void)key;
	*(bool *)user = true;
	return -ECANCELED; /* one is enough */
}

int praas_redis_store_walk(struct praas_store *store, praas_store_list_fn fn,
			   void *user)
{
	struct praas_store_redis *s = praas_store_redis_of(store);
	char prefix[PRAAS_REDIS_BELOW_MAX + 2];
	bool one = false;
	struct listing l = { .fn = fn, .user = user };
	const struct pages p = { .s = s,
				 .set = s->stores,
				 .prefix = prefix,
				 .max = PRAAS_REDIS_BELOW_MAX,
				 .one = one_store,
				 .user = &l };
	int rc = praas_redis_list(store, "log/", NULL, is_one, &one);

	if (one)
		return fn(user, "");
	if (rc)
		return rc;
	(void)snprintf(prefix, sizeof(prefix), "%s%s", s->url.below,
		       s->url.below[0] ? "/" : ""); /* fits */
	l.skip = strlen(prefix);
	/* Without a name of its own the whole prefix is first in order, and is none of its parts. */
	return all_pages(&p, prefix[0] ? "" : "-");
}
