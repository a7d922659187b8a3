/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/shm_direct_fixture.h"

/* Calls go to the worker, and are counted where the controller sees it. */
static void test_shm_direct_calls_pass_the_controller(void **state)
{
	struct fixture *f = *state;
	struct praas_shm_direct_counts counts;
	struct praas_conn_stats stats;
	struct praas_call fail = { .function = FN_DIRECT, .key = "fail" };
	struct praas_result result;

	worker_start(f, 0, false);
	until_routes(f, 1);
	for (uint32_t i = 0; i < 2000; i++)
		call_echo(f, i);
	assert_int_equal(praas_call(f->conn, &fail, &result), 0);
	/* The controller's echo, when the machine was too busy for the direct path. */
	assert_true(result.status == 9 || result.status == 0);
	if (result.status != 0)
		assert_string_not_equal(result.view.data, "");
	praas_result_release(f->conn, &result);
	praas_stats(f->conn, &stats);
	assert_true(stats.direct > 0);
	for (uint32_t i = 0; i < 2000; i++)
		assert_int_equal(f->runs[i], 1);
	until_direct(f);
	assert_int_equal(praas_shm_direct_counts(f->server.last, 0, &counts), 0);
	assert_int_equal(counts.run_ns, counts.calls * 500);
	assert_int_equal(praas_shm_direct_counts(f->server.last, 1, &counts), -ENOENT);
}

/* Another function stays with the controller; so do all with no_direct. */
static void test_shm_direct_only_where_allowed(void **state)
{
	struct fixture *f = *state;
	struct praas_call call = { .function = FN_ECHO, .data = "abc", .bytes = 3 };
	struct praas_conn_stats stats;
	struct praas_result result;

	worker_start(f, 0, false);
	until_routes(f, 1);
	assert_int_equal(praas_call(f->conn, &call, &result), 0);
	praas_result_release(f->conn, &result);
	f->conn->direct_allowed = false;
	call.function = FN_DIRECT;
	assert_int_equal(praas_call(f->conn, &call, &result), 0);
	praas_result_release(f->conn, &result);
	praas_stats(f->conn, &stats);
	assert_int_equal(stats.direct, 0);
}

/* A worker that does not take the call: it is withdrawn and comes through the controller; the
 * worker does not run it later. */
static void test_shm_direct_untaken_call_is_withdrawn(void **state)
{
	struct fixture *f = *state;
	struct praas_shm_direct_counts counts = { 0 };

	worker_start(f, 0, true);
	until_routes(f, 1);
	for (uint32_t i = 0; i < 3; i++)
		call_echo(f, i);
	atomic_store(&f->worker.idle, false);
	while (counts.withdrawn == 0) {
		assert_int_equal(praas_shm_direct_counts(f->server.last, 0, &counts),
				 0);
		(void)praas_turn(f->conn);
		(void)sched_yield();
	}
	assert_int_equal(counts.withdrawn, 1); /* the others saw that it is busy */
	assert_int_equal(counts.calls, 0);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(f->runs[i], 1);
	while (f->conn->shm->route[0]->outstanding != 0)
		(void)praas_turn(f->conn);
	/* And it is used again. */
	until_direct(f);
}

/* Withdrawals race with a lazy worker: every call is run exactly once, by one of the two. */
static void test_shm_direct_withdraw_race(void **state)
{
	struct fixture *f = *state;
	uint64_t until = praas_now_ns() + 1200000000u;
	uint32_t sent = 0, taken = 0;

	worker_start(f, 0, false);
	atomic_store(&f->worker.lazy, 5);
	until_routes(f, 1);
	while (taken < CALLS_MAX && (sent != taken || praas_now_ns() < until)) {
		struct praas_call call = { .function = FN_DIRECT,
					   .data = &sent,
					   .bytes = 4 };
		struct praas_result results[16];
		int n;

		if (sent < CALLS_MAX && praas_now_ns() < until &&
		    sent - taken < 1 + sent % 9 &&
		    praas_submit(f->conn, &call, NULL) == 0)
			sent++;
		if (sent % 3 == 0) /* as if about to sleep */
			(void)praas_direct_withdraw(f->conn);
		n = praas_poll(f->conn, results, 16);
		assert_true(n >= 0);
		for (int i = 0; i < n; i++) {
			assert_int_equal(results[i].status, 0);
			praas_result_release(f->conn, &results[i]);
		}
		taken += (uint32_t)n;
		if (n == 0)
			(void)sched_yield();
	}
	assert_int_equal(taken, sent);
	assert_true(sent > 20);
	for (uint32_t i = 0; i < sent; i++)
		assert_int_equal(f->runs[i], 1);
	assert_int_equal(atomic_load(&f->worker.error), 0);
}

/* A worker that dies: what it had taken ends CRASHED, what it had not comes through the
 * controller; its number can be granted again, and begins anew. */
static void test_shm_direct_worker_dies_and_is_replaced(void **state)
{
	struct fixture *f = *state;
	uint32_t numbers[3] = { 1, 2, 3 }, taken;
	struct praas_result result;
	uint64_t ids[3];
	int rc = -EAGAIN;

	worker_start(f, 1, false);
	until_routes(f, 1);
	until_direct(f);
	taken = atomic_load(&f->worker.taken);
	f->conn->functions[FN_DIRECT].run_ns = 100; /* short: they may queue */
	atomic_store(&f->worker.hold, true);
	for (unsigned i = 0; i < 3; i++) {
		struct praas_call call = { .function = FN_DIRECT,
					   .data = &numbers[i],
					   .bytes = 4 };

		assert_int_equal(praas_submit(f->conn, &call, &ids[i]), 0);
	}
	while (atomic_load(&f->worker.taken) == taken)
		(void)sched_yield();
	worker_stop(f);
	assert_int_equal(server_order(&f->server, SERVER_GONE, 1), 0);
	assert_int_equal(praas_wait_call(f->conn, ids[0], -1, &result), 0);
	assert_int_equal(result.status, PRAAS_CRASHED);
	praas_result_release(f->conn, &result);
	for (unsigned i = 1; i < 3; i++) {
		assert_int_equal(praas_wait_call(f->conn, ids[i], -1, &result), 0);
		assert_int_equal(result.status, 0);
		praas_result_release(f->conn, &result);
	}
	assert_int_equal(f->runs[1], 0);
	assert_int_equal(f->runs[2], 1);
	while (rc == -EAGAIN) {
		(void)praas_turn(f->conn);
		rc = server_order(&f->server, SERVER_GRANT, 1);
	}
	assert_int_equal(rc, 0);
	f->worker = (struct worker){ .idle = false };
	assert_int_equal(praas_direct_open(&f->worker.direct, &f->server.granted.attach,
					   f->server.granted.fds),
			 0);
	assert_int_equal(pthread_create(&f->worker.thread, NULL, work, &f->worker), 0);
	until_routes(f, 3);
	for (uint32_t i = 200; i < 400; i++)
		call_echo(f, i);
	for (uint32_t i = 200; i < 400; i++)
		assert_int_equal(f->runs[i], 1);
	until_direct(f);
}

/* Taken back when there is no room for it on the other way, and nothing will tell of room. */
static void test_shm_direct_withdrawn_waits_for_room(void **state)
{
	struct fixture *f = *state;
	struct praas_ring_tx *tx = &f->conn->shm->channel.tx;
	struct praas_call one_way = { .function = FN_NOOP,
				      .flags = PRAAS_CALL_ONE_WAY };
	struct praas_result result;

	worker_start(f, 0, true);
	until_routes(f, 1);
	atomic_store(&f->server.hold, true);
	while (praas_ring_tx_refresh(tx) == 0)
		assert_int_equal(praas_call(f->conn, &one_way, &result), 0);
	call_echo(f, 5);
	assert_false(atomic_load(&f->server.hold));
	assert_int_equal(f->runs[5], 1);
}

/* Revoked in order: nothing is lost, results that are held stay readable, then it is closed. */
static void test_shm_direct_revoke_in_order(void **state)
{
	struct fixture *f = *state;
	uint32_t n = 7;
	struct praas_call call = { .function = FN_DIRECT, .data = &n, .bytes = 4 };
	struct praas_result held;
	struct praas_conn_stats before, after;

	worker_start(f, 0, false);
	until_routes(f, 1);
	for (unsigned i = 0; i < 50; i++)
		call_echo(f, 50 + i);
	assert_int_equal(praas_call(f->conn, &call, &held), 0);
	assert_int_equal(server_order(&f->server, SERVER_REVOKE, 0), 0);
	until_routes(f, 2);
	praas_stats(f->conn, &before);
	call_echo(f, 8);
	praas_stats(f->conn, &after);
	assert_int_equal(before.direct, after.direct);
	worker_stop(f);
	assert_int_equal(server_order(&f->server, SERVER_GONE, 0), 0);
	assert_int_equal(server_order(&f->server, SERVER_GONE, 0), -ENOENT);
	until_routes(f, 3);
	call_echo(f, 9);
	if (f->conn->shm->route[0]->views !=
	    0) /* else a busy machine sent it the other way */
		assert_int_equal(server_order(&f->server, SERVER_GRANT, 0), -EAGAIN);
	assert_memory_equal(held.view.data, &n, 4);
	praas_result_release(f->conn, &held);
	(void)praas_turn(f->conn);
	assert_int_equal(f->conn->shm->route[0]->state, PRAAS_SHM_ROUTE_NONE);
	for (unsigned i = 7; i < 10; i++)
		assert_int_equal(f->runs[i], 1);
}

/* A result larger than the reply area lies in a segment that the controller shares. */
static void test_shm_direct_big_result_is_shared(void **state)
{
	struct fixture *f = *state;
	struct praas_call call = { .function = FN_DIRECT };
	struct praas_result result;

	worker_start(f, 0, false);
	until_routes(f, 1);
	assert_int_equal(
		praas_segment_create("test big", 8192, 0x7000, 0, &f->server.big), 0);
	memset(f->server.big.base + 64, 0x3c, 1000);
	assert_int_equal(server_order(&f->server, SERVER_SHARE, 0), 0);
	atomic_store(&f->worker.big_segment, 0x7000);
	f->conn->waiter.pauses =
		1000000; /* do not withdraw it: the controller has no such */
	assert_int_equal(praas_call(f->conn, &call, &result), 0);
	assert_int_equal(result.status, 0);
	if (result.view.bytes !=
	    0) { /* else the machine was too busy for the direct path */
		assert_int_equal(result.view.bytes, 1000);
		assert_int_equal(((const uint8_t *)result.view.data)[999], 0x3c);
		praas_result_release(f->conn, &result);
		while (atomic_load(&f->server.shared_back) == 0)
			(void)sched_yield();
		assert_int_equal(atomic_load(&f->server.shared_back), 1);
	}
	praas_close(f->conn);
	f->conn = NULL;
	worker_stop(f);
	for (unsigned i = 0; i < 100000 && atomic_load(&f->server.shared_back) == 0;
	     i++)
		(void)usleep(100);
	praas_segment_release(&f->server.big);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_shm_direct_calls_pass_the_controller),
		T(test_shm_direct_only_where_allowed),
		T(test_shm_direct_untaken_call_is_withdrawn),
		T(test_shm_direct_withdraw_race),
		T(test_shm_direct_worker_dies_and_is_replaced),
		T(test_shm_direct_withdrawn_waits_for_room),
		T(test_shm_direct_revoke_in_order),
		T(test_shm_direct_big_result_is_shared),
	};

	return cmocka_run_group_tests_name("shm_direct", tests, NULL, NULL);
}
