/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "controller/store/sealed.h"
#include "controller/store/store.h"
#include "tests/lib/redis_server.h"

/*
 * What every object store must do. The address of a fresh, empty store is the argument.
 */

static const char *url;

int __real_fsync(int fd);
int __wrap_fsync(int fd);

/* Of folders, by the file store. */
static unsigned folder_syncs, folder_failures;

int __wrap_fsync(int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || !S_ISDIR(st.st_mode))
		return __real_fsync(fd);
	folder_syncs++;
	if (folder_failures == 0)
		return __real_fsync(fd);
	folder_failures--;
	errno = EIO;
	return -1;
}

#define SEAL_KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

/* With "sealed" as the second argument. */
static bool seals;
static struct praas_seal_keys seal_keys;
static const struct praas_slot_id seal_id = { .pid = 1, .generation = 1 };

static int open_store(void **state)
{
	struct praas_store *s = NULL;

	assert_int_equal(praas_store_open(url, &s), 0);
	if (seals)
		assert_int_equal(praas_store_seal(s, &seal_keys, &seal_id, &s), 0);
	*state = s;
	return 0;
}

static int close_store(void **state)
{
	praas_store_free(*state);
	return 0;
}

/* Exactly one creator wins and its content stays. */
static void test_store_put_if_absent_second_is_refused(void **state)
{
	struct praas_store *s = *state;
	char data[16];
	size_t got = 0;

	assert_int_equal(s->ops->put_if_absent(s, "log/1", "first", 5), 0);
	assert_int_equal(s->ops->put_if_absent(s, "log/1", "other", 5), -EEXIST);
	assert_int_equal(s->ops->get(s, "log/1", 0, data, sizeof(data), &got), 0);
	assert_int_equal(got, 5);
	assert_memory_equal(data, "first", 5);
}

/* The name is there but may not survive a crash, since its folder could not be synced: who is told
 * that it exists, and builds on that, must be able to. */
static void test_store_what_exists_is_durable(void **state)
{
	struct praas_store *s = *state;
	unsigned before;

	assert_int_equal(s->ops->put_if_absent(s, "sync/0", "x", 1), 0);
	folder_failures = 1;
	if (s->ops->put_if_absent(s, "sync/1", "first", 5) == 0) {
		folder_failures = 0;
		skip(); /* a store without folders */
	}
	folder_failures = 0;
	before = folder_syncs;
	assert_int_equal(s->ops->put_if_absent(s, "sync/1", "first", 5), -EEXIST);
	assert_int_equal(folder_syncs, before + 1);
	folder_failures = 1;
	assert_int_equal(s->ops->put_if_absent(s, "sync/1", "first", 5), -EIO);
}

/* An empty object is an object. */
static void test_store_empty_object_exists(void **state)
{
	struct praas_store *s = *state;
	uint64_t bytes = 1;
	size_t got = 1;
	char data[1];

	assert_int_equal(s->ops->put_if_absent(s, "empty", NULL, 0), 0);
	assert_int_equal(s->ops->stat(s, "empty", &bytes), 0);
	assert_int_equal(bytes, 0);
	assert_int_equal(s->ops->get(s, "empty", 0, data, 1, &got), 0);
	assert_int_equal(got, 0);
	assert_int_equal(praas_store_put_bytes(s, "empty-too", NULL, 0), 0);
	assert_int_equal(s->ops->stat(s, "empty-too", &bytes), 0);
}

/* What is not there says so. */
static void test_store_missing_is_enoent(void **state)
{
	struct praas_store *s = *state;
	uint64_t bytes;
	size_t got;
	char data[4];

	assert_int_equal(s->ops->get(s, "no/such", 0, data, 4, &got), -ENOENT);
	assert_int_equal(s->ops->stat(s, "no/such", &bytes), -ENOENT);
	assert_int_equal(s->ops->delete (s, "no/such"), 0);
	assert_int_equal(s->ops->stat(s, "log", &bytes),
			 -ENOENT); /* a folder at most */
}

/* Names that could leave the store, or that two systems read differently, are refused by all. */
static void test_store_names_are_checked(void **state)
{
	static const char *const bad[] = { "",     "/",    "/a",       "a/",
					   "a//b", "..",   "../a",     "a/../b",
					   ".a",   "a/.b", "a b",      "a\\b",
					   "a\nb", "a*",   "\xc3\xa9", "a%2fb" };
	struct praas_store *s = *state;
	char longest[PRAAS_STORE_KEY_MAX + 2], data[4];
	uint64_t bytes;
	size_t got;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(s->ops->put_if_absent(s, bad[i], "x", 1), -EINVAL);
		assert_int_equal(praas_store_put_bytes(s, bad[i], "x", 1), -EINVAL);
		assert_int_equal(s->ops->get(s, bad[i], 0, data, 4, &got), -EINVAL);
		assert_int_equal(s->ops->stat(s, bad[i], &bytes), -EINVAL);
		assert_int_equal(s->ops->delete (s, bad[i]), -EINVAL);
	}
	memset(longest, 'a', sizeof(longest));
	longest[PRAAS_STORE_KEY_MAX + 1] = '\0';
	assert_int_equal(s->ops->put_if_absent(s, longest, "x", 1), -EINVAL);
	longest[PRAAS_STORE_KEY_MAX] = '\0';
	assert_int_equal(s->ops->put_if_absent(s, longest, "x", 1), 0);
	assert_int_equal(s->ops->delete (s, longest), 0);
}

/* Any part of an object can be read. */
static void test_store_get_reads_ranges(void **state)
{
	struct praas_store *s = *state;
	char data[8];
	size_t got;

	assert_int_equal(s->ops->put_if_absent(s, "range", "0123456789", 10), 0);
	assert_int_equal(s->ops->get(s, "range", 4, data, 3, &got), 0);
	assert_int_equal(got, 3);
	assert_memory_equal(data, "456", 3);
	assert_int_equal(s->ops->get(s, "range", 8, data, 8, &got), 0);
	assert_int_equal(got, 2);
	assert_int_equal(s->ops->get(s, "range", 10, data, 8, &got), 0);
	assert_int_equal(got, 0);
	assert_int_equal(s->ops->get(s, "range", UINT64_C(1) << 40, data, 8, &got), 0);
	assert_int_equal(got, 0);
}

struct names {
	unsigned count;
	char name[32][32];
};

static int collect(void *user, const char *key)
{
	struct names *n = user;

	assert_true(n->count < 32);
	(void)snprintf(n->name[n->count++], sizeof(n->name[0]), "%s", key);
	return 0;
}

static int stop_at_second(void *user, const char *key)
{
	unsigned *count = user;

	(void)key;
	return ++*count == 2 ? -ECANCELED : 0;
}

/* Listing is in order, by prefix, after a name, and does not go into folders. */
static void test_store_list_in_order(void **state)
{
	struct praas_store *s = *state;
	struct names n = { 0 };
	unsigned count = 0;

	for (int i = 12; i > 0; i--) {
		char key[32];

		(void)snprintf(key, sizeof(key), "list/n%02d", i);
		assert_int_equal(s->ops->put_if_absent(s, key, "", 0), 0);
	}
	assert_int_equal(s->ops->put_if_absent(s, "list/deep/x", "", 0), 0);
	assert_int_equal(s->ops->list(s, "list/", NULL, collect, &n), 0);
	assert_int_equal(n.count, 12);
	for (unsigned i = 1; i < n.count; i++)
		assert_true(strcmp(n.name[i - 1], n.name[i]) < 0);
	n.count = 0;
	assert_int_equal(s->ops->list(s, "list/n1", "list/n10", collect, &n), 0);
	assert_int_equal(n.count, 2);
	assert_string_equal(n.name[0], "list/n11");
	n.count = 0;
	assert_int_equal(s->ops->list(s, "nothing/", "", collect, &n), 0);
	assert_int_equal(n.count, 0);
	assert_int_equal(s->ops->list(s, "list/", NULL, stop_at_second, &count),
			 -ECANCELED);
	assert_int_equal(count, 2);
}

/* After delete it is gone, and the name is free again. */
static void test_store_delete_frees_the_name(void **state)
{
	struct praas_store *s = *state;
	uint64_t bytes;

	assert_int_equal(s->ops->put_if_absent(s, "gone", "x", 1), 0);
	assert_int_equal(s->ops->delete (s, "gone"), 0);
	assert_int_equal(s->ops->stat(s, "gone", &bytes), -ENOENT);
	assert_int_equal(s->ops->put_if_absent(s, "gone", "y", 1), 0);
}

/* A source of many bytes that can be checked at any offset. */
struct pattern {
	uint64_t at, fail_at;
	char key[64];
};

static uint8_t pattern_byte(uint64_t at)
{
	return (uint8_t)(at * 31 + (at >> 8) * 7 + (at >> 20));
}

static int pattern_fill(void *user, uint8_t *data, size_t bytes)
{
	struct pattern *p = user;

	for (size_t i = 0; i < bytes; i++)
		data[i] = pattern_byte(p->at + i);
	p->at += bytes;
	return p->fail_at != 0 && p->at >= p->fail_at ? -ECANCELED : 0;
}

static int pattern_name(void *user, char ret_key[PRAAS_STORE_KEY_MAX + 1])
{
	struct pattern *p = user;

	(void)snprintf(ret_key, PRAAS_STORE_KEY_MAX + 1, "%s", p->key);
	return 0;
}

static void put_pattern(struct praas_store *s, uint64_t bytes)
{
	struct pattern p = { 0 };
	struct praas_store_source source = {
		.bytes = bytes, .fill = pattern_fill, .name = pattern_name, .user = &p
	};
	uint64_t there = 0;
	uint8_t *data = malloc(bytes);
	size_t got;

	assert_non_null(data);
	(void)snprintf(p.key, sizeof(p.key), "chunk/%" PRIu64, bytes);
	assert_int_equal(s->ops->put(s, &source), 0);
	assert_int_equal(p.at, bytes);
	assert_int_equal(s->ops->stat(s, p.key, &there), 0);
	assert_int_equal(there, bytes);
	assert_int_equal(s->ops->get(s, p.key, 0, data, bytes, &got), 0);
	assert_int_equal(got, bytes);
	for (uint64_t i = 0; i < bytes; i++) {
		if (data[i] != pattern_byte(i))
			fail_msg("byte %" PRIu64 " of %" PRIu64 " differs", i, bytes);
	}
	free(data);
}

/* Sizes around every border that an implementation may have. */
static void test_store_put_any_size(void **state)
{
	static const uint64_t sizes[] = { 1,       511,     512,    4095,    4096,
					  4097,    262143,  262144, 1048575, 1048576,
					  1048577, 8388608, 9437185 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		put_pattern(*state, sizes[i]);
}

/* An object that is there already stays as it is: names are of contents. */
static void test_store_put_again_is_no_error(void **state)
{
	struct praas_store *s = *state;
	char data[8];
	size_t got;

	assert_int_equal(praas_store_put_bytes(s, "chunk/same", "abc", 3), 0);
	assert_int_equal(praas_store_put_bytes(s, "chunk/same", "abc", 3), 0);
	assert_int_equal(s->ops->get(s, "chunk/same", 0, data, 8, &got), 0);
	assert_int_equal(got, 3);
}

/* A source that fails leaves nothing behind. */
static void test_store_put_failing_source_leaves_nothing(void **state)
{
	struct praas_store *s = *state;
	struct pattern p = { .fail_at = 1500000, .key = "chunk/failed" };
	struct praas_store_source source = {
		.bytes = 3000000, .fill = pattern_fill, .name = pattern_name, .user = &p
	};
	struct names n = { 0 };
	uint64_t bytes;

	assert_int_equal(s->ops->put(s, &source), -ECANCELED);
	assert_int_equal(s->ops->stat(s, "chunk/failed", &bytes), -ENOENT);
	assert_int_equal(s->ops->list(s, "chunk/f", NULL, collect, &n), 0);
	assert_int_equal(n.count, 0);
}

/* A whole object, bounded. */
static void test_store_get_all_is_bounded(void **state)
{
	struct praas_store *s = *state;
	uint8_t *data = NULL;
	size_t bytes = 0;

	assert_int_equal(s->ops->put_if_absent(s, "whole", "0123456789", 10), 0);
	assert_int_equal(praas_store_get_all(s, "whole", 9, &data, &bytes), -EMSGSIZE);
	assert_int_equal(praas_store_get_all(s, "whole", 10, &data, &bytes), 0);
	assert_int_equal(bytes, 10);
	assert_memory_equal(data, "0123456789", 10);
	free(data);
	assert_int_equal(praas_store_get_all(s, "nowhole", 10, &data, &bytes), -ENOENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_store, close_store)

/* In a real one, with a place of its own in it. */
static int run_in_redis(const struct CMUnitTest *tests, size_t count)
{
	static const char *const always[] = { "--appendonly", "yes", "--appendfsync",
					      "always", NULL };
	struct praas_test_redis redis;
	char redis_url[160];
	int rc;

	praas_test_redis_start(&redis, always);
	(void)snprintf(redis_url, sizeof(redis_url), "%s?prefix=suite&below=a/1-1",
		       redis.url);
	url = redis_url;
	rc = _cmocka_run_group_tests("redis", tests, count, NULL, NULL);
	praas_test_redis_end(&redis);
	return rc;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_store_put_if_absent_second_is_refused),
		TEST(test_store_what_exists_is_durable),
		TEST(test_store_empty_object_exists),
		TEST(test_store_missing_is_enoent),
		TEST(test_store_names_are_checked),
		TEST(test_store_get_reads_ranges),
		TEST(test_store_list_in_order),
		TEST(test_store_delete_frees_the_name),
		TEST(test_store_put_any_size),
		TEST(test_store_put_again_is_no_error),
		TEST(test_store_put_failing_source_leaves_nothing),
		TEST(test_store_get_all_is_bounded),
	};
	char dir[64] = "/tmp/praas-store-XXXXXX", command[128], file_url[96];
	const char *why;
	int rc;

	seals = argc > 2 && strcmp(argv[2], "sealed") == 0;
	if (seals &&
	    praas_seal_keys_parse(SEAL_KEY, strlen(SEAL_KEY), &seal_keys, &why) != 0)
		return 1;
	if (argc > 1 && strcmp(argv[1], "redis") == 0)
		return run_in_redis(tests, sizeof(tests) / sizeof(*tests));
	if (argc > 1 && strcmp(argv[1], "file") != 0) {
		url = argv[1];
		return cmocka_run_group_tests_name(url, tests, NULL, NULL);
	}
	if (!mkdtemp(dir)) {
		perror(dir);
		return 1;
	}
	(void)snprintf(file_url, sizeof(file_url), "file://%s/a/b", dir);
	url = file_url;
	rc = cmocka_run_group_tests_name("file", tests, NULL, NULL);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command) != 0 || rc != 0;
}
