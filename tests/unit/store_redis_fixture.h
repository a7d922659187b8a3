/* SPDX-License-Identifier: Apache-2.0
 *
 * A store in a Redis of a test's own.
 */
#ifndef PRAAS_TESTS_STORE_REDIS_FIXTURE_H
#define PRAAS_TESTS_STORE_REDIS_FIXTURE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controller/store/store.h"
#include "tests/lib/redis_server.h"

static const char *const always[] = { "--appendonly", "yes", "--appendfsync", "always",
				      NULL };
static const char *const nothing[] = { "--appendonly", "no", NULL };

struct fixture {
	struct praas_test_redis redis;
	struct praas_store *s;
};

static struct praas_store *open_at(const struct fixture *f, const char *options)
{
	struct praas_store *s = NULL;
	char url[400];

	(void)snprintf(url, sizeof(url), "%s?%s", f->redis.url, options);
	assert_int_equal(praas_store_open(url, &s), 0);
	return s;
}

static void say(struct fixture *f, const char *words, const char *answer)
{
	char text[256];

	praas_test_redis_say(&f->redis, words, text);
	assert_string_equal(text, answer);
}

static inline void end_connections(struct fixture *f)
{
	char text[256];

	praas_test_redis_say(&f->redis, "CLIENT KILL TYPE normal", text);
	assert_true(text[0] == ':'); /* ours, and any that has not ended yet */
}

static int start(void **state, const char *const *options)
{
	struct fixture *f = calloc(1, sizeof(*f));

	praas_test_redis_start(&f->redis, options);
	f->s = open_at(f, "below=a/1-1");
	*state = f;
	return 0;
}

static int start_always(void **state)
{
	return start(state, always);
}

static int start_without_log(void **state)
{
	return start(state, nothing);
}

static int end(void **state)
{
	struct fixture *f = *state;

	praas_store_free(f->s);
	praas_test_redis_end(&f->redis);
	free(f);
	return 0;
}

static int create(struct praas_store *s, const char *key)
{
	return s->ops->put_if_absent(s, key, key, strlen(key));
}

static inline void has(struct praas_store *s, const char *key)
{
	char data[64] = "";
	size_t got = 0;

	assert_int_equal(s->ops->get(s, key, 0, data, sizeof(data) - 1, &got), 0);
	assert_string_equal(data, key);
}

static void is_gone(struct praas_store *s, const char *key)
{
	uint64_t bytes;

	assert_int_equal(s->ops->stat(s, key, &bytes), -ENOENT);
}

#endif
