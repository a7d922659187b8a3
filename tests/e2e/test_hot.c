/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "internal/base.h"
#include "tests/e2e/faults.h"

/* One client calls over shared memory without a break, and the controller looks at his ring alone most of
 * the time. Others are seen all the same, soon: how many of his calls fit into one of theirs is
 * counted. Many do when the machine gives somebody's core away; the least of several tries tells
 * how long the controller itself makes them wait. */

#define TRIES 40u
#define MEANWHILE 50000u /* of his calls: a hundred times what is due */
#define TIMEOUT_NS UINT64_C(20000000000)

struct hammer {
	praas_connection *conn;
	pthread_t thread;
	_Atomic bool stop;
	_Atomic uint64_t calls;
	int status;
};

static void *hammer_body(void *user)
{
	struct hammer *h = user;
	uint64_t n = 0;

	while (h->status == 0 &&
	       !atomic_load_explicit(&h->stop, memory_order_relaxed)) {
		h->status =
			fault_call(h->conn, "echo", &n, sizeof(n), TIMEOUT_NS, NULL, 0);
		atomic_store_explicit(&h->calls, ++n, memory_order_relaxed);
	}
	return NULL;
}

static uint64_t calls_of(struct hammer *h)
{
	return atomic_load_explicit(&h->calls, memory_order_relaxed);
}

static void hammer_start(struct hammer *h, struct fixture *f)
{
	controller_start(&f->c, &f->o);
	h->conn = fault_connect(f, "shm");
	assert_int_equal(pthread_create(&h->thread, NULL, hammer_body, h), 0);
	while (calls_of(h) < 2000)
		sched_yield();
}

static void hammer_stop(struct hammer *h)
{
	atomic_store_explicit(&h->stop, true, memory_order_relaxed);
	assert_int_equal(pthread_join(h->thread, NULL), 0);
	assert_int_equal(h->status, 0);
	praas_close(h->conn);
}

static void call(praas_connection *conn)
{
	uint64_t n = 3, back = 0;

	assert_int_equal(fault_call(conn, "echo", &n, sizeof(n), TIMEOUT_NS, &back,
				    sizeof(back)),
			 0);
	assert_int_equal(back, n);
}

/* A call over TCP, after a rest: nobody had anything for that port lately. */
static void test_hot_tcp_is_served(void **state)
{
	struct hammer h = { 0 };
	praas_connection *conn;
	uint64_t least = UINT64_MAX;

	hammer_start(&h, *state);
	conn = fault_connect(*state, "tcp");
	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t before;

		(void)usleep(2000);
		before = calls_of(&h);
		call(conn);
		least = praas_min_u64(least, calls_of(&h) - before);
	}
	assert_in_range(least, 0, MEANWHILE);
	praas_close(conn);
	hammer_stop(&h);
}

/* Somebody new, whose socket is looked at between two of the other's calls. */
static void test_hot_newcomer_is_let_in(void **state)
{
	struct hammer h = { 0 };
	uint64_t least = UINT64_MAX;

	hammer_start(&h, *state);
	for (unsigned i = 0; i < TRIES / 4; i++) {
		uint64_t before = calls_of(&h);
		praas_connection *conn = fault_connect(*state, "shm");

		call(conn);
		least = praas_min_u64(least, calls_of(&h) - before);
		praas_close(conn);
	}
	assert_in_range(least, 0, 10 * MEANWHILE);
	hammer_stop(&h);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		FAULT_TEST(test_hot_tcp_is_served),
		FAULT_TEST(test_hot_newcomer_is_let_in),
	};

	if (fault_arguments(argc, argv) != 0)
		return 2;
	return cmocka_run_group_tests_name(argv[4], tests, NULL, NULL);
}
