/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controller/store/s3_private.h"
#include "controller/store/slot_log.h"

/*
 * The S3 store on a real server behind tests/s3/proxy.py, which lets one thing go wrong at a time, and then all of
 * them by chance. usage: with moto --faults -- faults URL [ROUNDS]
 */

#define LARGE (6u * 1024u * 1024u) /* two parts */

static const char *url;
static unsigned rounds = 20;
static int orders = -1;

static void order(const char *format, ...)
{
	char line[128], answer[64] = "";
	va_list list;
	int n;

	va_start(list, format);
	n = vsnprintf(line, sizeof(line) - 1, format, list);
	va_end(list);
	line[n++] = '\n';
	assert_int_equal(write(orders, line, (size_t)n), n);
	assert_true(read(orders, answer, sizeof(answer) - 1) > 0);
}

static int open_store(void **state)
{
	struct praas_store *s = NULL;

	order("clear");
	assert_int_equal(praas_store_open(url, &s), 0);
	*state = s;
	return 0;
}

static int close_store(void **state)
{
	order("clear");
	praas_store_free(*state);
	return 0;
}

static const struct praas_s3_stats *stats(struct praas_store *s)
{
	return praas_s3_stats(praas_s3_store_of(s)->client);
}

static const char *key(const char *what)
{
	static char text[64];
	static unsigned number;

	(void)snprintf(text, sizeof(text), "f/%s-%u", what, number++);
	return text;
}

static void expect(struct praas_store *s, const char *name, const char *wanted)
{
	char data[64] = "";
	size_t got = 0;

	assert_int_equal(s->ops->get(s, name, 0, data, sizeof(data), &got), 0);
	assert_int_equal(got, strlen(wanted));
	assert_memory_equal(data, wanted, got);
}

/* Whatever happens once to a creation, its caller learns that it is the creator. */
static void test_faults_creation_is_repeated(void **state)
{
	static const char *const faults[] = {
		"reset PUT 1",
		"lost PUT 1",
		"cut PUT 1",
		"status PUT 2 500:InternalError",
		"status PUT 2 503:SlowDown",
		"status PUT 1 409:ConditionalRequestConflict",
		"status PUT 1 429",
		"damaged PUT 1",
		"lost PUT 3"
	};
	struct praas_store *s = *state;

	for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
		const char *name = key("create");
		int rc;

		order("%s", faults[i]);
		rc = s->ops->put_if_absent(s, name, "mine", 4);
		if (rc != 0)
			fail_msg("%s: %d %s", faults[i], rc, s->why);
		order("clear");
		expect(s, name, "mine");
		assert_int_equal(s->ops->put_if_absent(s, name, "other", 5), -EEXIST);
	}
	assert_true(stats(s)->retries >= sizeof(faults) / sizeof(*faults));
}

/* An answer was lost, but somebody else had been there before: that is not ours. */
static void test_faults_lost_race_is_told(void **state)
{
	struct praas_store *s = *state;
	const char *name = key("race");

	assert_int_equal(s->ops->put_if_absent(s, name, "theirs", 6), 0);
	order("lost PUT 1");
	assert_int_equal(s->ops->put_if_absent(s, name, "mine", 4), -EEXIST);
	expect(s, name, "theirs");
}

/* A request that lands after it was given up, and the repetition before it: one of both is the creation. */
static void test_faults_late_request_is_ours(void **state)
{
	struct praas_store *s = *state;

	for (unsigned ms = 1; ms < 200; ms += 40) {
		const char *name = key("late");

		order("late PUT 1 %u", ms);
		assert_int_equal(s->ops->put_if_absent(s, name, "mine", 4), 0);
		expect(s, name, "mine");
	}
}

/* Nothing goes any more: an error within the time, and no more than that. */
static void test_faults_deadline_ends_all(void **state)
{
	static const char *const faults[] = { "stall * 99", "reset * 99999",
					      "status * 99999 500" };
	char short_url[PRAAS_STORE_URL_MAX + 16], data[4];
	struct praas_store *s = NULL;
	uint64_t bytes;
	size_t got;

	(void)state;
	(void)snprintf(short_url, sizeof(short_url), "%s", url);
	strstr(short_url, "&timeout=")[9] = '1'; /* second */
	assert_int_equal(praas_store_open(short_url, &s), 0);
	for (size_t i = 0; i < 3; i++) {
		order("%s", faults[i]);
		assert_int_equal(s->ops->put_if_absent(s, key("dead"), "x", 1), -EIO);
		assert_true(s->why[0] != '\0');
		assert_int_equal(s->ops->get(s, "f/none", 0, data, 4, &got), -EIO);
		order("clear");
	}
	order("stall * 99");
	assert_int_equal(s->ops->stat(s, "f/none", &bytes), -EIO);
	order("clear");
	assert_int_equal(s->ops->stat(s, "f/none", &bytes), -ENOENT);
	praas_store_free(s);
}

/* No one but the server says that something is there or not. */
static void test_faults_refusals_are_final(void **state)
{
	struct praas_store *s = *state;
	uint64_t before = stats(s)->requests;
	char data[4];
	size_t got;

	order("status PUT 1 403:AccessDenied");
	assert_int_equal(s->ops->put_if_absent(s, key("refused"), "x", 1), -EACCES);
	assert_non_null(strstr(s->why, "403 AccessDenied"));
	order("status PUT 1 403:QuotaExceeded");
	assert_int_equal(s->ops->put_if_absent(s, key("full"), "x", 1), -ENOSPC);
	order("status PUT 1 507");
	assert_int_equal(s->ops->put_if_absent(s, key("full"), "x", 1), -ENOSPC);
	order("status PUT 1 501:NotImplemented");
	assert_int_equal(s->ops->put_if_absent(s, key("never"), "x", 1), -EIO);
	order("status GET 1 404:NoSuchBucket");
	assert_int_equal(s->ops->get(s, "f/none", 0, data, 4, &got), -EACCES);
	assert_int_equal(stats(s)->requests - before, 5);
}

static uint8_t byte_at(uint64_t at)
{
	return (uint8_t)(at * 31 + (at >> 8) * 7 + (at >> 20));
}

struct source {
	uint64_t at;
	char name[64];
};

static int fill(void *user, uint8_t *data, size_t bytes)
{
	struct source *p = user;

	for (size_t i = 0; i < bytes; i++)
		data[i] = byte_at(p->at + i);
	p->at += bytes;
	return 0;
}

static int give_name(void *user, char ret_key[PRAAS_STORE_KEY_MAX + 1])
{
	const struct source *p = user;

	(void)snprintf(ret_key, PRAAS_STORE_KEY_MAX + 1, "%s", p->name);
	return 0;
}

static int put(struct praas_store *s, const char *name, uint64_t bytes)
{
	struct source p = { 0 };
	const struct praas_store_source source = {
		.bytes = bytes, .fill = fill, .name = give_name, .user = &p
	};

	(void)snprintf(p.name, sizeof(p.name), "%s", name);
	return s->ops->put(s, &source);
}

/* 0, or what get() said; the bytes must be right. */
static int check(struct praas_store *s, const char *name, uint64_t bytes)
{
	uint8_t *data = malloc(bytes);
	size_t got = 0;
	int rc;

	assert_non_null(data);
	rc = s->ops->get(s, name, 0, data, bytes, &got);
	if (rc == 0)
		assert_int_equal(got, bytes);
	for (uint64_t i = 0; rc == 0 && i < bytes; i++) {
		if (data[i] != byte_at(i))
			fail_msg("%s: byte %" PRIu64 " differs", name, i);
	}
	free(data);
	return rc;
}

/* Each step of a large upload and download goes wrong once. */
static void test_faults_large_objects_survive(void **state)
{
	static const char *const faults[] = {
		"lost POST 1",      "cut POST 1",  "status POST 1 500:InternalError",
		"reset PUT 2",      "lost PUT 1",  "damaged PUT 1",
		"status PUT 3 503", "reset GET 2", "cut GET 3",
		"status GET 2 500", "stall PUT 1", "stall GET 1"
	};
	struct praas_store *s = *state;

	for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
		const char *name = key("large");
		int rc;

		order("%s", faults[i]);
		rc = put(s, name, LARGE);
		if (rc == 0)
			rc = check(s, name, LARGE);
		if (rc != 0)
			fail_msg("%s: %d %s", faults[i], rc, s->why);
		order("clear");
	}
	/* The end of an upload, whose answer is lost. */
	order("delay POST 1 1");
	order("lost POST 1");
	assert_int_equal(put(s, key("end"), LARGE), 0);
}

/* What hangs is asked a second time beside the first, long before it would be given up. */
static void test_faults_tail_is_hedged(void **state)
{
	struct praas_store *s = *state;
	const char *name = key("hedge");
	uint64_t before;

	assert_int_equal(s->ops->put_if_absent(s, name, "mine", 4), 0);
	for (int i = 0; i < 10; i++)
		expect(s, name, "mine");
	before = stats(s)->hedges;
	order("stall GET 1");
	expect(s, name, "mine");
	assert_int_equal(stats(s)->hedges, before + 1);
	assert_int_equal(stats(s)->failures, 0);
}

/* All of it by chance: one creator, whole objects, and what was told to be there is there. */
static void test_faults_chaos_keeps_the_contract(void **state)
{
	struct praas_store *s = *state, *other = NULL;
	unsigned created = 0, unknown = 0;

	assert_int_equal(praas_store_open(url, &other), 0);
	order("chaos 20 %u", 20260131u + rounds);
	for (unsigned i = 0; i < rounds; i++) {
		const char *name = key("chaos");
		uint64_t bytes = i % 8 == 0 ? LARGE : 1000 + i, there = 0;
		int a = s->ops->put_if_absent(s, name, "aaaa", 4);
		int b = other->ops->put_if_absent(other, name, "bbbb", 4);

		assert_true(a == 0 || a == -EIO || a == -EEXIST);
		assert_true(b == 0 || b == -EIO || b == -EEXIST);
		assert_false(a == 0 && b == 0);
		assert_false(a == -EEXIST); /* nobody was before */
		created += a == 0 || b == 0;
		unknown += a == -EIO || b == -EIO;
		if (a == 0 || b == 0) {
			char data[8] = "";
			size_t got = 0;
			int rc = s->ops->get(s, name, 0, data, 8, &got);

			assert_true(rc == 0 || rc == -EIO);
			if (rc == 0)
				assert_memory_equal(data, a == 0 ? "aaaa" : "bbbb", 4);
		}
		name = key("object");
		if (put(s, name, bytes) == 0) {
			int rc = check(other, name, bytes);

			assert_true(rc == 0 || rc == -EIO);
			rc = s->ops->stat(s, name, &there);
			assert_true(rc == -EIO || (rc == 0 && there == bytes));
		}
	}
	order("clear");
	print_message("%u created, %u not known, of %u; %" PRIu64 " requests, %" PRIu64
		      " repeated, %" PRIu64 " twice\n",
		      created, unknown, rounds, stats(s)->requests, stats(s)->retries,
		      stats(s)->hedges);
	assert_true(created > rounds / 2);
	praas_store_free(other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_store, close_store)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_faults_creation_is_repeated),
		TEST(test_faults_lost_race_is_told),
		TEST(test_faults_late_request_is_ours),
		TEST(test_faults_deadline_ends_all),
		TEST(test_faults_refusals_are_final),
		TEST(test_faults_large_objects_survive),
		TEST(test_faults_tail_is_hedged),
		TEST(test_faults_chaos_keeps_the_contract),
	};
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	const char *port = getenv("PRAAS_S3_PROXY");
	static char address[PRAAS_STORE_URL_MAX];

	if (argc < 2 || !port)
		return 2;
	(void)snprintf(address, sizeof(address), "%s&timeout=4", argv[1]);
	url = address;
	if (argc > 2)
		rounds = (unsigned)strtoul(argv[2], NULL, 10);
	to.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
	orders = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (orders < 0 || connect(orders, (struct sockaddr *)&to, sizeof(to)) != 0) {
		perror("proxy");
		return 1;
	}
	return cmocka_run_group_tests_name("s3_faults", tests, NULL, NULL);
}
