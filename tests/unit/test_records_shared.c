/* SPDX-License-Identifier: Apache-2.0
 *
 * Records in a real Redis that several services share: who waits is given them when the owner has ended, or is not heard
 * of any more; who has lost them is told, can change nothing, and knew before anybody else had them that it was in doubt.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "control/records/lease.h"
#include "control/records/records.h"
#include "internal/base.h"
#include "tests/lib/redis_server.h"

#define MS 1000000u
#define LEASE_MS 800
#define ONE "0000000000000001"
#define TWO "0000000000000002"

static const char *const always[] = { "--appendonly", "yes", "--appendfsync", "always",
				      NULL };

/* One service: its lease, and what it was asked and told. */
struct one {
	struct praas_lease lease;
	struct praas_test_redis *redis;
	struct praas_records *r;
	unsigned asked, unanswered, asks_max;
	int says; /* when it was asked so often */
	char owner[256];
	_Atomic unsigned lost;
};

struct fixture {
	struct praas_test_redis redis;
	struct one a, b;
};

static void pause_ms(unsigned ms)
{
	struct timespec span = { .tv_sec = ms / 1000,
				 .tv_nsec = (long)(ms % 1000) * MS };

	(void)nanosleep(&span, NULL);
}

static int on_busy(void *user, const char *owner, const char *why)
{
	struct one *s = user;

	assert_true(strlen(why) > 0);
	s->asked++;
	s->unanswered += owner == NULL;
	(void)snprintf(s->owner, sizeof(s->owner), "%s", owner ? owner : "");
	if (s->asks_max > 0 && s->asked >= s->asks_max)
		return s->says;
	pause_ms(20);
	return PRAAS_LEASE_AGAIN;
}

static void on_lost(void *user)
{
	struct one *s = user;

	atomic_fetch_add(&s->lost, 1);
}

static int open_one(struct one *s, const char *place)
{
	char text[256] = "";

	s->lease.ms = LEASE_MS;
	s->lease.busy = on_busy;
	s->lease.lost = on_lost;
	s->lease.user = s;
	return praas_records_open_shared(s->redis->url, place, &s->lease, &s->r, text);
}

static int put_app(struct one *s, const char *name)
{
	struct praas_app_record app = { .memory_bytes = 1,
					.tenant = "t",
					.code = "/c" };

	(void)snprintf(app.name, sizeof(app.name), "%s", name);
	memcpy(app.id, name, strlen(name));
	return s->r->ops->app_put(s->r, &app);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	praas_test_redis_start(&f->redis, always);
	f->a.redis = f->b.redis = &f->redis;
	assert_int_equal(open_one(&f->a, ONE), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->a.r)
		f->a.r->ops->close(f->a.r);
	if (f->b.r)
		f->b.r->ops->close(f->b.r);
	praas_test_redis_end(&f->redis);
	free(f);
	return 0;
}

static uint64_t term_of(struct one *s)
{
	return atomic_load(&s->lease.term);
}

/* Who knows that the owner has ended takes the records at once; the fence is up, and the owner is told. */
static void test_shared_taken(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(term_of(&f->a), 1);
	assert_int_equal(put_app(&f->a, "before"), 0);
	f->b.asks_max = 3;
	f->b.says = PRAAS_LEASE_ENDED;
	assert_int_equal(open_one(&f->b, TWO), 0);
	assert_int_equal(f->b.asked, 3);
	assert_memory_equal(f->b.owner, ONE ":", sizeof(ONE));
	assert_int_equal(term_of(&f->b), 2);
	assert_int_equal(put_app(&f->b, "one"), 0);
	assert_int_equal(put_app(&f->a, "two"), -EIO);
	assert_int_equal(atomic_load(&f->a.lost), 1); /* once */
	assert_int_equal(put_app(&f->a, "two"), -EIO);
	pause_ms(LEASE_MS);
	assert_int_equal(atomic_load(&f->a.lost), 1);
	assert_int_equal(atomic_load(&f->b.lost), 0);
	assert_false(praas_lease_holds(&f->a.lease, praas_now_ns()));
	assert_true(praas_lease_holds(&f->b.lease, praas_now_ns()));
}

/* One who changes nothing is told by its own renewal. */
static void test_shared_lost_is_told(void **state)
{
	struct fixture *f = *state;

	f->b.asks_max = 1;
	f->b.says = PRAAS_LEASE_ENDED;
	assert_int_equal(open_one(&f->b, TWO), 0);
	for (int i = 0; i < 200 && atomic_load(&f->a.lost) == 0; i++)
		pause_ms(10);
	assert_int_equal(atomic_load(&f->a.lost), 1);
}

/* While the owner renews its lease nobody is given the records; handed back, they are there at once. */
static void test_shared_handed_back(void **state)
{
	struct fixture *f = *state;

	f->b.asks_max = 2 * LEASE_MS / 20;
	f->b.says = -ECANCELED;
	assert_int_equal(open_one(&f->b, TWO), -ECANCELED);
	assert_int_equal(f->b.asked, f->b.asks_max);
	assert_true(praas_lease_holds(&f->a.lease, praas_now_ns()));
	f->a.r->ops->close(f->a.r);
	f->a.r = NULL;
	f->b.asked = 0;
	assert_int_equal(open_one(&f->b, TWO), 0);
	assert_int_equal(f->b.asked, 0);
	assert_int_equal(atomic_load(&f->a.lost), 0);
}

/* One that is not heard of: its lease is over for itself before Redis gives the records to another. The owner is one that
 * only Redis knows, so that nothing renews its lease. */
static void test_shared_runs_out(void **state)
{
	struct fixture *f = *state;
	uint64_t began_ns;
	char text[256];

	praas_test_redis_say(&f->redis, "HSET {praas}:meta owner ffff:00", text);
	began_ns = praas_now_ns();
	praas_test_redis_say(&f->redis, "SET {praas}:heard ffff:00 PX 600", text);
	assert_string_equal(text, "+OK");
	assert_int_equal(open_one(&f->b, TWO), 0);
	assert_true(praas_now_ns() - began_ns >= 590ull * MS);
	assert_true(f->b.asked > 5);
	assert_string_equal(f->b.owner, "ffff:00");
}

/* While Redis does not answer it is in doubt who has them; when it is back the owner has. */
static void test_shared_in_doubt(void **state)
{
	struct fixture *f = *state;
	uint64_t until_ns = atomic_load(&f->a.lease.until_ns);

	assert_true(until_ns > praas_now_ns());
	praas_test_redis_kill(&f->redis, SIGKILL);
	pause_ms(LEASE_MS + 100);
	assert_false(praas_lease_holds(&f->a.lease, praas_now_ns()));
	assert_true(praas_lease_holds(NULL, praas_now_ns()));
	praas_test_redis_again(&f->redis, always);
	for (int i = 0; i < 1000 && !praas_lease_holds(&f->a.lease, praas_now_ns());
	     i++)
		pause_ms(10);
	assert_true(praas_lease_holds(&f->a.lease, praas_now_ns()));
	assert_int_equal(atomic_load(&f->a.lost), 0);
	assert_int_equal(put_app(&f->a, "again"), 0);
}

/* Who waits for a Redis that does not answer says so, and may give up. */
static void test_shared_no_answer(void **state)
{
	struct fixture *f = *state;

	praas_test_redis_kill(&f->redis, SIGKILL);
	f->b.asks_max = 2;
	f->b.says = -ESHUTDOWN;
	assert_int_equal(open_one(&f->b, TWO), -ESHUTDOWN);
	assert_int_equal(f->b.unanswered, 2);
}

struct emptied {
	struct one *s;
	unsigned asked;
};

/* Empties Redis when it is asked for the second time. */
static int empty_it(void *user, const char *owner, const char *why)
{
	struct emptied *e = user;
	char text[256];

	(void)owner;
	(void)why;
	if (++e->asked == 2)
		praas_test_redis_say(e->s->redis, "FLUSHALL", text);
	return e->asked < 100 ? PRAAS_LEASE_AGAIN : -ETIMEDOUT;
}

/* Others that are in their place are not what was waited for; their owner stops using them, and is not told to end: who
 * would come after him would find nothing. */
static void test_shared_emptied(void **state)
{
	struct fixture *f = *state;
	struct emptied e = { .s = &f->b };
	char text[256] = "";

	f->b.lease.ms = LEASE_MS;
	f->b.lease.busy = empty_it;
	f->b.lease.lost = on_lost;
	f->b.lease.user = &e;
	assert_int_equal(praas_records_open_shared(f->redis.url, TWO, &f->b.lease,
						   &f->b.r, text),
			 -EPROTO);
	assert_non_null(strstr(text, "are gone"));
	assert_int_equal(put_app(&f->a, "x"), -EIO);
	pause_ms(LEASE_MS);
	assert_int_equal(atomic_load(&f->a.lost), 0);
	assert_false(praas_lease_holds(&f->a.lease, praas_now_ns()));
}

/* Only what several can reach can be shared. */
static void test_shared_refused(void **state)
{
	struct praas_lease lease = { .ms = LEASE_MS };
	struct praas_records *r = NULL;
	char text[256] = "";

	(void)state;
	assert_false(praas_records_shareable("memory:"));
	assert_false(praas_records_shareable("sqlite:///x"));
	assert_true(praas_records_shareable("rediss://h"));
	assert_int_equal(praas_records_open_shared("memory:", ONE, &lease, &r, text),
			 -EINVAL);
	assert_non_null(strstr(text, "shared"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_shared_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shared_lost_is_told, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_shared_handed_back, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_shared_runs_out, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shared_in_doubt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shared_no_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shared_emptied, setup, teardown),
		cmocka_unit_test(test_shared_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
