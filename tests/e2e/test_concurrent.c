/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "tests/e2e/faults.h"

/* Many clients, several workers: each gets its own answers, nobody waits behind somebody who takes
 * long while a worker is idle, and what was counted is there after swap-outs under load. */

#define CLIENTS 8u

struct client {
	pthread_t thread;
	struct fixture *f;
	unsigned index, calls;
	praas_connection *conn;
	uint64_t done, unknown, wrong;
	int status; /* of what went wrong */
};

static const char *transport_of(unsigned index)
{
	return index % 2 ? "shm" : "tcp";
}

/* Short ones, of 1 ms, of 50 ms; each with a number that nobody else sends. */
static void *mixed_body(void *user)
{
	static const uint64_t ns[] = { 0, 0, 0, 0, 0, 0, 0, 1000000, 0, 50000000 };
	struct client *c = user;

	for (unsigned i = 0; i < c->calls; i++) {
		uint64_t sent[2] = { ns[(i + c->index) % 10],
				     (uint64_t)c->index << 32 | i },
			 back[2];
		int status = fault_call(c->conn, "busy", sent, sizeof(sent), 0, back,
					sizeof(back));

		if (status != 0 || memcmp(sent, back, sizeof(sent)) != 0) {
			c->wrong++;
			c->status = status;
		}
		c->done++;
	}
	return NULL;
}

static void test_concurrent_answers_do_not_cross(void **state)
{
	struct fixture *f = *state;
	struct client clients[CLIENTS] = { 0 };

	f->o.concurrency = 4;
	controller_start(&f->c, &f->o);
	for (unsigned i = 0; i < CLIENTS; i++) {
		/* Opened here, used there: a connection belongs to no thread. */
		clients[i] =
			(struct client){ .index = i,
					 .calls = 60,
					 .conn = fault_connect(f, transport_of(i)) };
		assert_int_equal(pthread_create(&clients[i].thread, NULL, mixed_body,
						&clients[i]),
				 0);
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		assert_int_equal(pthread_join(clients[i].thread, NULL), 0);
		if (clients[i].wrong)
			fail_msg("client %u: %d wrong, status %d", i,
				 (int)clients[i].wrong, clients[i].status);
		assert_int_equal(clients[i].done, 60);
		praas_close(clients[i].conn);
	}
}

static void await_message(praas_connection *conn, const char *key)
{
	praas_pid_t source;
	size_t bytes;
	void *data;

	assert_int_equal(praas_msg_recv(conn, key, 10000000000, &data, &bytes, &source),
			 0);
	free(data);
}

/* Three of four workers are with functions that end only when told. All short calls, over either
 * transport and both paths, are answered before that. */
static void test_concurrent_nobody_waits_behind_the_long(void **state)
{
	struct fixture *f = *state;
	praas_connection *lender, *conns[2];
	uint64_t calls[3];

	f->o.concurrency = 4;
	controller_start(&f->c, &f->o);
	lender = fault_connect(f, "shm");
	conns[0] = fault_connect(f, "shm");
	conns[1] = fault_connect(f, "tcp");
	(void)fault_warm(conns[0]);
	for (unsigned i = 0; i < 3; i++) {
		struct praas_call call = { .function = fault_function(lender,
								      "until_told") };

		assert_int_equal(praas_submit(lender, &call, &calls[i]), 0);
		await_message(conns[1], "runs");
	}
	for (uint64_t i = 0; i < 400; i++) {
		uint64_t back = 0;

		assert_int_equal(fault_call(conns[i % 2], "echo", &i, sizeof(i), 0,
					    &back, sizeof(back)),
				 0);
		assert_int_equal(back, i);
	}
	for (unsigned i = 0; i < 3; i++) {
		struct praas_result result;

		assert_int_equal(praas_wait_call(lender, calls[i], 0, &result),
				 -EAGAIN);
	}
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(praas_msg_send(conns[1], "ended", "e", 1), 0);
	for (unsigned i = 0; i < 3; i++) {
		struct praas_result result;

		assert_int_equal(
			praas_wait_call(lender, calls[i], 10000000000, &result), 0);
		assert_int_equal(result.status, 0);
		praas_result_release(lender, &result);
	}
	praas_close(lender);
	praas_close(conns[0]);
	praas_close(conns[1]);
}

/* The queue is bounded: what comes beyond it is refused, with a time after which to come again; what was
 * accepted runs. */
struct flood {
	praas_connection *conn[64];
	uint32_t asked, done, refused;
};

static void flood_take(struct flood *l)
{
	struct praas_result result;

	for (unsigned i = 0; i < 64; i++) {
		while (praas_poll(l->conn[i], &result, 1) == 1) {
			if (result.status == PRAAS_OVERLOADED) {
				assert_in_range(result.retry_ns, 1, 1000000000);
				assert_int_equal(result.run_ns, 0);
				l->refused++;
			} else {
				assert_int_equal(result.status, 0);
				assert_int_equal(result.retry_ns, 0);
				l->done++;
			}
			praas_result_release(l->conn[i], &result);
		}
	}
}

static void flood_call(struct flood *l, unsigned i, const char *function)
{
	struct praas_call call = { .function = fault_function(l->conn[i], function) };
	uint64_t name;
	int rc = praas_submit(l->conn[i], &call, &name);

	if (rc != -ENOBUFS) { /* of a full connection: the next one has room */
		assert_int_equal(rc, 0);
		l->asked++;
	}
}

static void test_concurrent_overload_says_when_to_retry(void **state)
{
	struct fixture *f = *state;
	struct flood l = { 0 };

	f->o.concurrency = 1;
	controller_start(&f->c, &f->o);
	for (unsigned i = 0; i < 64; i++)
		l.conn[i] = fault_connect(f, "tcp");
	flood_call(&l, 0, "until_told");
	await_message(l.conn[1], "runs");
	for (unsigned n = 0; n < 20000 && l.refused == 0; n++) {
		flood_call(&l, n % 64, "echo");
		if (n % 64 == 63)
			flood_take(&l);
	}
	assert_in_range(l.refused, 1, l.asked);
	assert_int_equal(praas_msg_send(l.conn[1], "ended", "e", 1), 0);
	while (l.done + l.refused < l.asked)
		flood_take(&l);
	for (unsigned i = 0; i < 64; i++)
		praas_close(l.conn[i]);
}

/* Counts until the process goes down: then the call ends with a word that says so. */
static void *counting_body(void *user)
{
	struct client *c = user;

	for (;;) {
		int status = fault_call(c->conn, "count", NULL, 0, 0, NULL, 0);

		if (status == 0) {
			c->done++;
			(void)sched_yield();
			continue;
		}
		/* It may have run, and that was not told. */
		if (status == PRAAS_UNKNOWN)
			c->unknown++;
		else if (status != PRAAS_DRAINING && status != PRAAS_MOVED &&
			 status != PRAAS_INTERRUPTED && status != -ENOTCONN)
			c->wrong++;
		c->status = status;
		return NULL;
	}
}

static void test_concurrent_swap_out_under_load_loses_no_count(void **state)
{
	struct fixture *f = *state;
	uint64_t done = 0, unknown = 0, n = 0;
	praas_connection *conn;

	f->o.concurrency = 2;
	for (unsigned round = 0; round < 3; round++) {
		struct client clients[4] = { 0 };

		f->o.epoch = round + 1;
		controller_start(&f->c, &f->o);
		for (unsigned i = 0; i < 4; i++) {
			clients[i].conn = fault_connect(f, transport_of(i));
			assert_int_equal(pthread_create(&clients[i].thread, NULL,
							counting_body, &clients[i]),
					 0);
		}
		(void)usleep(100000);
		assert_int_equal(controller_stop(&f->c, SIGTERM), 0);
		for (unsigned i = 0; i < 4; i++) {
			assert_int_equal(pthread_join(clients[i].thread, NULL), 0);
			if (clients[i].wrong)
				fail_msg("round %u, client %u: status %d", round, i,
					 clients[i].status);
			done += clients[i].done;
			unknown += clients[i].unknown;
			praas_close(clients[i].conn);
		}
	}
	f->o.epoch = 4;
	controller_start(&f->c, &f->o);
	conn = fault_connect(f, "tcp");
	assert_int_equal(fault_call(conn, "total", NULL, 0, 0, &n, sizeof(n)), 0);
	if (n < done || n > done + unknown)
		fail_msg("%d counted, %d done, %d unknown", (int)n, (int)done,
			 (int)unknown);
	praas_close(conn);
}

/* Clients that wait for nothing are told, too: first that the process goes down, then that the
 * connection has ended. */
static void test_concurrent_swap_out_is_told_to_idle_clients(void **state)
{
	struct fixture *f = *state;
	praas_connection *conns[2];
	struct praas_event event;

	controller_start(&f->c, &f->o);
	for (unsigned i = 0; i < 2; i++)
		conns[i] = fault_connect(f, transport_of(i));
	assert_int_equal(praas_event_poll(conns[0], &event), -EAGAIN);
	assert_int_equal(controller_stop(&f->c, SIGTERM), 0);
	for (unsigned i = 0; i < 2; i++) {
		enum praas_event_kind kinds[2] = { 0 };

		for (unsigned n = 0; n < 2; n++) {
			for (unsigned k = 0; k < 5000; k++) {
				if (praas_event_poll(conns[i], &event) == 0)
					break;
				event.kind = 0;
				(void)usleep(1000);
			}
			kinds[n] = event.kind;
		}
		assert_int_equal(kinds[0], PRAAS_EVENT_DRAINING);
		assert_int_equal(kinds[1], PRAAS_EVENT_CLOSED);
		praas_close(conns[i]);
	}
}

/* The controller is killed under its clients: each is told, none hangs. */
static void test_concurrent_kill_is_told_to_clients(void **state)
{
	struct fixture *f = *state;
	struct client clients[4] = { 0 };

	controller_start(&f->c, &f->o);
	for (unsigned i = 0; i < 4; i++) {
		clients[i].conn = fault_connect(f, transport_of(i));
		assert_int_equal(pthread_create(&clients[i].thread, NULL, counting_body,
						&clients[i]),
				 0);
	}
	(void)usleep(50000);
	assert_int_equal(controller_stop(&f->c, SIGKILL), -SIGKILL);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(clients[i].thread, NULL), 0);
		/* Direct: its worker went with the controller. */
		if (clients[i].wrong && clients[i].status != PRAAS_CRASHED)
			fail_msg("client %u: status %d", i, clients[i].status);
		assert_int_not_equal(clients[i].status, 0);
		praas_close(clients[i].conn);
	}
}

#define CROWD 1100u /* more than other ports take */
#define CROWD_FDS (3 * CROWD + 256)

/* Connections over TCP that ask for nothing: the first and the last are served as if they were alone. */
static void test_concurrent_crowd_that_rests(void **state)
{
	static praas_connection *conns[CROWD];
	struct fixture *f = *state;
	struct rlimit limit, wide;

	if (FAULT_SANITIZED)
		skip_because("a thousand clients in one sanitizer take minutes");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	wide = limit;
	wide.rlim_cur = wide.rlim_max;
	if (wide.rlim_max < CROWD_FDS)
		skip_because("needs more file descriptors than are allowed here");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &wide), 0);
	controller_start(&f->c, &f->o);
	for (uint64_t i = 0; i < CROWD; i++) {
		conns[i] = fault_connect(f, "tcp");
		assert_int_equal(fault_count(conns[i]), i + 1);
	}
	assert_int_equal(fault_count(conns[0]), CROWD + 1);
	assert_int_equal(fault_count(conns[CROWD - 1]), CROWD + 2);
	for (unsigned i = 0; i < CROWD; i++)
		praas_close(conns[i]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		FAULT_TEST(test_concurrent_answers_do_not_cross),
		FAULT_TEST(test_concurrent_nobody_waits_behind_the_long),
		FAULT_TEST(test_concurrent_overload_says_when_to_retry),
		FAULT_TEST(test_concurrent_swap_out_under_load_loses_no_count),
		FAULT_TEST(test_concurrent_swap_out_is_told_to_idle_clients),
		FAULT_TEST(test_concurrent_kill_is_told_to_clients),
		FAULT_TEST(test_concurrent_crowd_that_rests),
	};

	if (fault_arguments(argc, argv) != 0)
		return 2;
	return cmocka_run_group_tests_name(argv[4], tests, NULL, NULL);
}
