/* SPDX-License-Identifier: Apache-2.0
 *
 * Names in a Redis: stores that are apart, are found as they are and leave nothing; more names than one answer has;
 * addresses.
 */
#include "tests/unit/store_redis_fixture.h"

#include "controller/store/walk.h"
#include "controller/store/whole.h"

struct told {
	unsigned count;
	char all[1024];
};

static int tell(void *user, const char *below)
{
	struct told *t = user;

	t->count++;
	(void)strncat(t->all, below, sizeof(t->all) - strlen(t->all) - 1);
	(void)strncat(t->all, " ", sizeof(t->all) - strlen(t->all) - 1);
	return 0;
}

static void walk(const struct fixture *f, const char *options, const char *all)
{
	struct told told = { 0 };
	char url[300], why[PRAAS_STORE_WHY_BYTES];

	(void)snprintf(url, sizeof(url), "%s?%s", f->redis.url, options);
	assert_int_equal(praas_store_walk(url, tell, &told, why), 0);
	assert_string_equal(told.all, all);
}

/* Stores are apart, are found as they are, and leave nothing; what is another's is not touched. */
static void test_store_redis_apart(void **state)
{
	struct fixture *f = *state;
	struct praas_store *other = open_at(f, "below=a/1-1&prefix=other"),
			   *next = open_at(f, "below=a/10-1"),
			   *deep = open_at(f, "below=a/1-1/log");
	struct told told = { 0 };
	bool there = true;

	say(f, "SET {praas}:meta x", "+OK");
	walk(f, "", "");
	assert_int_equal(create(f->s, "log/1"), 0);
	assert_int_equal(create(other, "log/1"), 0);
	assert_int_equal(create(next, "log/1"), 0);
	assert_int_equal(create(deep, "1"), 0);
	assert_int_equal(create(deep, "2"), 0);
	assert_int_equal(f->s->ops->list(f->s, "", NULL, tell, &told), 0);
	assert_int_equal(f->s->ops->list(f->s, "log/", NULL, tell, &told), 0);
	assert_string_equal(told.all, "log/1 ");
	is_gone(f->s, "log/2");
	walk(f, "", "a/1-1 a/10-1 ");
	walk(f, "prefix=other", "a/1-1 ");
	walk(f, "below=a/1-1", " ");
	walk(f, "below=b", "");
	assert_int_equal(f->s->ops->delete (f->s, "log/1"), 0);
	has(other, "log/1");
	has(next, "log/1");
	walk(f, "", "a/10-1 ");
	assert_int_equal(next->ops->share(next, other, "log/1"), 0);
	assert_int_equal(next->ops->share(f->s, other, "log/1"), 0);
	has(f->s, "log/1");
	assert_int_equal(next->ops->share(f->s, other, "log/9"), -ENOENT);
	praas_store_free(other);
	praas_store_free(next);
	praas_store_free(deep);
	for (int i = 0; i < 2; i++) {
		char url[300];

		(void)snprintf(url, sizeof(url), "%s?below=a/1%s-1", f->redis.url,
			       i ? "0" : "");
		assert_int_equal(praas_store_exists(url, &there), 0);
		assert_true(there);
		assert_int_equal(praas_store_remove(url), 0);
		assert_int_equal(praas_store_exists(url, &there), 0);
		assert_false(there);
	}
	walk(f, "", "");
	say(f, "GET {praas}:meta", "$1");
}

/* More names than one answer has, in order; whoever is told may use the store. */
static int drop(void *user, const char *key)
{
	struct fixture *f = user;
	static char last[32];

	if (strcmp(last, key) >= 0)
		return -EPROTO;
	(void)snprintf(last, sizeof(last), "%s", key);
	return f->s->ops->delete (f->s, key);
}

static void test_store_redis_pages(void **state)
{
	struct fixture *f = *state;
	struct told told = { 0 };
	char key[32];

	say(f, "CONFIG SET appendfsync no", "+OK");
	for (unsigned i = 0; i < 2300; i++) {
		(void)snprintf(key, sizeof(key), "log/%04u", i);
		assert_int_equal(create(f->s, key), 0);
	}
	assert_int_equal(f->s->ops->list(f->s, "log/", NULL, tell, &told), 0);
	assert_int_equal(told.count, 2300);
	told.count = 0;
	assert_int_equal(f->s->ops->list(f->s, "log/", "log/1234", tell, &told), 0);
	assert_int_equal(told.count, 2300 - 1235);
	assert_int_equal(f->s->ops->list(f->s, "log/", NULL, drop, f), 0);
	told.count = 0;
	assert_int_equal(f->s->ops->list(f->s, "log/", NULL, tell, &told), 0);
	assert_int_equal(told.count, 0);
}

/* Addresses: what stands below one, and what is none. */
static void test_store_redis_addresses(void **state)
{
	static const struct {
		const char *url, *below;
	} good[] = {
		{ "redis://h", "redis://h?below=a/1-1" },
		{ "redis://h:1/2", "redis://h:1/2?below=a/1-1" },
		{ "rediss://h?prefix=p", "rediss://h?prefix=p&below=a/1-1" },
		{ "redis+unix:///s?below=x&db=1",
		  "redis+unix:///s?below=x/a/1-1&db=1" },
		{ "redis+unix:///s?db=1&below=x/y",
		  "redis+unix:///s?db=1&below=x/y/a/1-1" },
	};
	static const char *const bad[] = {
		"redis://h?below=/a", "redis://h?below=a/",    "redis://h?below=a/../b",
		"redis://h?below=.a", "redis://h?below=a%0Ab", "redis://u:secret@h",
		"redis://h?prefix=.", "redis://h?size=1",
	};
	struct praas_store *s = NULL;
	char url[PRAAS_STORE_URL_MAX + 1];
	const char *why = "";

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(praas_store_url_check(good[i].url, &why), 0);
		assert_int_equal(
			praas_store_url_below(good[i].url, "a/1-1", url, sizeof(url)),
			0);
		assert_string_equal(url, good[i].below);
		assert_int_equal(praas_store_open(url, &s), 0);
		praas_store_free(s);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(praas_store_url_check(bad[i], &why), -EINVAL);
		assert_true(why[0] != 0);
		assert_int_equal(praas_store_open(bad[i], &s), -EINVAL);
	}
	(void)snprintf(url, sizeof(url), "redis://h?below=%0321d", 0);
	assert_int_equal(praas_store_url_check(url, &why), -EINVAL);
	assert_non_null(strstr(why, "320"));
	assert_int_equal(praas_store_url_below("redis://h", "a/1-1", url, 12),
			 -ENAMETOOLONG);
}

int main(void)
{
#define WITH(test, how) cmocka_unit_test_setup_teardown(test, how, end)
	const struct CMUnitTest tests[] = {
		WITH(test_store_redis_apart, start_always),
		WITH(test_store_redis_pages, start_without_log),
		cmocka_unit_test(test_store_redis_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
