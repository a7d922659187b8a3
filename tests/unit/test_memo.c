/* SPDX-License-Identifier: Apache-2.0
 *
 * What comes of requests with an Idempotency-Key, on each store: once, the same answer, the day's
 * end, the restart, the limit.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/records/memo.h"
#include "tests/unit/redis_fixture.h"

#define DAY (PRAAS_LIMIT_MEMO_S * 1000000000ull)
#define START (100 * DAY)

struct fixture {
	struct praas_records *r;
	struct praas_memos *m;
	char dir[64], url[128];
};

static void open_all(struct fixture *f)
{
	char text[256];

	assert_int_equal(praas_records_open(f->url, NULL, &f->r, text), 0);
	assert_int_equal(praas_memos_new(f->r, &f->m), 0);
}

static int setup(void **state, const char *kind)
{
	struct fixture *f = calloc(1, sizeof(*f));

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/praas-memo-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	(void)snprintf(f->url, sizeof(f->url), "sqlite://%s/r.db", f->dir);
	if (!strcmp(kind, "memory"))
		strcpy(f->url, "memory:");
	else if (!strcmp(kind, "redis"))
		redis_url(f->url);
	*state = f;
	open_all(f);
	return 0;
}

static int setup_sqlite(void **state)
{
	return setup(state, "sqlite");
}

static int setup_redis(void **state)
{
	return setup(state, "redis");
}

static int setup_memory(void **state)
{
	return setup(state, "memory");
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	praas_memos_free(f->m);
	f->r->ops->close(f->r);
	(void)snprintf(command, sizeof(command), "rm -r %s", f->dir);
	if (system(command)) /* our own folder */
		return -1;
	free(f);
	return 0;
}

static struct praas_memo request(const char *tenant, const char *key, char what)
{
	struct praas_memo memo = { 0 };

	(void)snprintf(memo.tenant, sizeof(memo.tenant), "%s", tenant);
	praas_memo_id(tenant, key, memo.id);
	memset(memo.request, what, sizeof(memo.request));
	return memo;
}

static int begin(struct fixture *f, struct praas_memo *memo, bool again, uint64_t now)
{
	struct praas_memo there;
	int rc = praas_memo_begin(f->m, memo, again, now, &there);

	free(there.answer);
	return rc;
}

static void end(struct fixture *f, struct praas_memo *memo, uint32_t status,
		const char *answer)
{
	memo->status = status;
	memo->answer = (void *)(uintptr_t)answer;
	memo->answer_bytes = (uint32_t)strlen(answer);
	praas_memo_end(f->m, memo);
}

/* The first begins; who comes meanwhile waits; who comes later is told the same. */
static void test_memo_is_told_again(void **state)
{
	struct praas_memo a = request("t", "k", 1), b = a, other = request("t", "k", 2),
			  there;
	struct fixture *f = *state;

	assert_int_equal(begin(f, &a, false, START), 0);
	assert_int_equal(begin(f, &b, false, START), -EINPROGRESS);
	assert_int_equal(begin(f, &b, true, START), -EINPROGRESS);
	assert_int_equal(begin(f, &other, true, START), -EKEYREJECTED);
	end(f, &a, 201, "made");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(praas_memo_begin(f->m, &b, false, START + 1, &there),
				 -EEXIST);
		assert_int_equal(there.status, 201);
		assert_int_equal(there.answer_bytes, 4);
		assert_memory_equal(there.answer, "made", 4);
		free(there.answer);
	}
	assert_int_equal(begin(f, &other, true, START), -EKEYREJECTED);
}

/* A key is its tenant's; a slash in it does not make it another's. */
static void test_memo_tenants_apart(void **state)
{
	struct praas_memo a = request("t", "k", 1), b = request("u", "k", 2),
			  c = request("t", "u/k", 3);
	struct fixture *f = *state;

	assert_int_equal(begin(f, &a, false, START), 0);
	assert_int_equal(begin(f, &b, false, START), 0);
	assert_int_equal(begin(f, &c, false, START), 0);
}

/* What was refused before it was done leaves the key as new. */
static void test_memo_dropped(void **state)
{
	struct praas_memo a = request("t", "k", 1), b = request("t", "k", 2);
	struct fixture *f = *state;

	assert_int_equal(begin(f, &a, false, START), 0);
	end(f, &a, 0, "");
	assert_int_equal(begin(f, &b, false, START), 0);
	end(f, &b, 204, "");
	assert_int_equal(begin(f, &b, false, START), -EEXIST);
}

/* After a day, to the nanosecond, the key is as new. */
static void test_memo_expires(void **state)
{
	struct praas_memo a = request("t", "k", 1), b = a, c = request("t", "c", 1);
	struct fixture *f = *state;

	assert_int_equal(begin(f, &a, false, START), 0);
	end(f, &a, 200, "x");
	assert_int_equal(begin(f, &b, false, START + DAY), -EEXIST);
	assert_int_equal(begin(f, &c, false, START + DAY + 60000000000ull), 0);
	assert_int_equal(begin(f, &b, false, START + DAY + 60000000000ull), 0);
}

/* A restart keeps what was answered. What was under way may or may not have happened: it is begun
 * again, by one, only where that does no harm. */
static void test_memo_restart(void **state)
{
	struct praas_memo a = request("t", "a", 1), b = request("t", "b", 1),
			  c = request("t", "c", 1), there;
	struct fixture *f = *state;

	assert_int_equal(begin(f, &a, false, START), 0);
	end(f, &a, 200, "done");
	assert_int_equal(begin(f, &b, false, START), 0);
	assert_int_equal(begin(f, &c, true, START), 0);
	praas_memos_free(f->m);
	if (strcmp(f->url, "memory:") != 0) {
		f->r->ops->close(f->r);
		open_all(f);
	} else {
		assert_int_equal(praas_memos_new(f->r, &f->m), 0);
	}
	assert_int_equal(praas_memo_begin(f->m, &a, false, START, &there), -EEXIST);
	assert_memory_equal(there.answer, "done", 4);
	free(there.answer);
	assert_int_equal(begin(f, &b, false, START), -EUNATCH);
	assert_int_equal(begin(f, &b, false, START), -EUNATCH);
	assert_int_equal(begin(f, &c, true, START), 0);
	assert_int_equal(begin(f, &c, true, START), -EINPROGRESS);
	end(f, &c, 204, "");
	assert_int_equal(begin(f, &c, true, START), -EEXIST);
}

/* A tenant keeps so much and no more; another is not touched by that; the day's end makes room, and
 * the count survives a restart. */
static void test_memo_limit(void **state)
{
	static char answer[PRAAS_LIMIT_MEMO_BYTES + 1];
	struct praas_memo memo, other = request("u", "k", 1);
	struct fixture *f = *state;
	uint32_t n = 0;
	char key[16];

	memset(answer, 'x', sizeof(answer) - 1);
	for (int rc = 0; rc == 0; n++) {
		(void)snprintf(key, sizeof(key), "%u", n);
		memo = request("t", key, 1);
		rc = begin(f, &memo, false, START);
		if (rc == 0)
			end(f, &memo, 200, answer);
		else
			assert_int_equal(rc, -EDQUOT);
	}
	assert_int_equal(n - 1, PRAAS_LIMIT_MEMOS_BYTES /
					(PRAAS_LIMIT_MEMO_BYTES + PRAAS_MEMO_BYTES));
	assert_int_equal(begin(f, &other, false, START), 0);
	praas_memos_free(f->m);
	assert_int_equal(praas_memos_new(f->r, &f->m), 0);
	assert_int_equal(begin(f, &memo, false, START), -EDQUOT);
	assert_int_equal(begin(f, &memo, false, START + 2 * DAY), 0);
}

/* ---- sums --------------------------------------------------------------------------- */

#define TENANTS 3u
#define KEYS 40u
#define UNDER_WAY 12u
#define STEPS 4000u

static const struct praas_memos_ops *sound; /* the store's own */
static struct praas_memos_ops failing;
static unsigned fail_in; /* so many more succeed; 0: none fails */
static unsigned left;    /* could not be stored or removed: they stay under way */

static bool fails(void)
{
	return fail_in > 0 && --fail_in == 0;
}

static int set_or_fail(struct praas_records *r, const struct praas_memo *memo,
		       const uint8_t *run)
{
	if (!fails())
		return sound->set(r, memo, run);
	left += memo->status != 0;
	return -EIO;
}

static int take_out_or_fail(struct praas_records *r, const uint8_t *id)
{
	if (!fails())
		return sound->take_out(r, id);
	left++;
	return -EIO;
}

static int put_or_fail(struct praas_records *r, const struct praas_memo *memo)
{
	return fails() ? -EIO : sound->put(r, memo);
}

/* What each tenant is held to keep is what another count finds. */
static void compare(struct fixture *f, unsigned open)
{
	uint64_t stored = 0, reserved = 0, counted = 0, s, r;
	struct praas_memos *other;
	char name[2] = "a";

	assert_int_equal(praas_memos_new(f->r, &other), 0);
	for (unsigned t = 0; t < TENANTS; t++, name[0]++) {
		praas_memos_use(f->m, name, &s, &r);
		stored += s;
		reserved += r;
		praas_memos_use(other, name, &s, &r);
		counted += s;
		assert_int_equal(r, 0);
	}
	praas_memos_free(other);
	assert_int_equal(reserved, open * (PRAAS_MEMO_BYTES + PRAAS_LIMIT_MEMO_BYTES));
	/* To another run what is under way is a row without an answer. */
	assert_int_equal(stored + (open + left) * PRAAS_MEMO_BYTES, counted);
}

static void end_any(struct fixture *f, struct praas_memo *open, unsigned *count)
{
	static char answer[4000];
	unsigned i = (unsigned)rand() % *count;

	memset(answer, 'y', sizeof(answer));
	answer[rand() % (int)sizeof(answer)] = 0;
	answer[sizeof(answer) - 1] = 0;
	fail_in = rand() % 20 == 0;
	end(f, &open[i], rand() % 3 ? 200 : 0, answer);
	fail_in = 0;
	open[i] = open[--*count];
}

/* All that are under way are forgotten, as by a crash: they are the next run's to find. */
static void crash(struct fixture *f, unsigned *count)
{
	praas_memos_free(f->m);
	assert_int_equal(praas_memos_new(f->r, &f->m), 0);
	*count = 0;
	left = 0;
}

/* Whatever begins, ends, fails, expires, is begun again after a crash: at any time the sums are those
 * of a recount, also while requests are under way. */
static void test_memo_sums_are_those_of_a_recount(void **state)
{
	struct praas_memo open[UNDER_WAY], memo;
	struct fixture *f = *state;
	uint64_t now = START;
	unsigned count = 0;

	sound = f->r->memos;
	failing = *sound;
	failing.set = set_or_fail;
	failing.take_out = take_out_or_fail;
	failing.put = put_or_fail;
	f->r->memos = &failing;
	left = 0;
	srand(1);
	for (unsigned i = 0; i < STEPS; i++) {
		char tenant[2] = { (char)('a' + rand() % (int)TENANTS), 0 }, key[8];

		now += (uint64_t)(rand() % 120) * 1000000000u;
		(void)snprintf(key, sizeof(key), "%d", rand() % (int)KEYS);
		memo = request(tenant, key, (char)(rand() % 2));
		fail_in = rand() % 30 == 0;
		if (count < UNDER_WAY && begin(f, &memo, rand() % 2, now) == 0)
			open[count++] = memo;
		fail_in = 0;
		if (count > 0 && rand() % 2)
			end_any(f, open, &count);
		if (rand() % 500 == 0)
			crash(f, &count);
		if (i % 16 == 0)
			compare(f, count);
	}
	while (count > 0)
		end_any(f, open, &count);
	compare(f, 0);
	f->r->memos = sound;
}

int main(void)
{
#define ALL(test)                                                                      \
	cmocka_unit_test_setup_teardown(test, setup_redis, teardown),                  \
		cmocka_unit_test_setup_teardown(test, setup_sqlite, teardown),         \
		cmocka_unit_test_setup_teardown(test, setup_memory, teardown)
	const struct CMUnitTest tests[] = {
		ALL(test_memo_is_told_again),
		ALL(test_memo_tenants_apart),
		ALL(test_memo_dropped),
		ALL(test_memo_expires),
		ALL(test_memo_restart),
		ALL(test_memo_sums_are_those_of_a_recount),
		cmocka_unit_test_setup_teardown(test_memo_limit, setup_memory,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
