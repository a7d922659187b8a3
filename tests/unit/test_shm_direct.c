/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "client/connection.h"
#include "praas/client.h"
#include "tests/unit/client_server.h"

/* The direct path: libpraas on one end, the worker's half of transport/shm_direct.h on the other,
 * a server thread for the controller's. */

#define CALLS_MAX 4096u

struct worker {
	struct praas_direct direct;
	pthread_t thread;
	_Atomic bool stop;
	_Atomic bool idle; /* takes nothing */
	_Atomic bool
		hold; /* takes, but does not answer: as if it died in the function */
	_Atomic uint32_t taken;
	_Atomic uint32_t lazy; /* sleeps now and then, of so many turns; 0 never */
	_Atomic uint32_t big_segment; /* answer from it when not 0 */
	_Atomic int lie; /* enum lie: what it answers instead of a result */
	_Atomic int error;
};

enum lie { LIE_NONE, LIE_KIND, LIE_PLACE, LIE_WITHDRAWN };

struct fixture {
	struct server server;
	praas_connection *conn;
	struct worker worker;
	uint32_t granted; /* its number */
	_Atomic uint32_t
		runs[CALLS_MAX]; /* how often call number n was run, by anybody */
};

static struct fixture *current;

static void count_run(const void *data, uint64_t bytes)
{
	uint32_t n;

	if (bytes < sizeof(n) || !current)
		return;
	memcpy(&n, data, sizeof(n));
	if (n < CALLS_MAX)
		atomic_fetch_add(&current->runs[n], 1);
}

static void ran_by_controller(void *user, const struct praas_frame *head)
{
	struct fixture *f = user;

	count_run(atomic_load(&f->server.seen), head->bytes);
}

static void lie(struct worker *w, const struct praas_direct_call *call)
{
	int what = atomic_load(&w->lie);
	struct praas_frame f = {
		.kind = what == LIE_KIND ? PRAAS_FRAME_REPLY : PRAAS_FRAME_RESULT,
		.id = call->head.id,
		.bytes = what == LIE_PLACE ? 64 : 0,
		.aux = what == LIE_WITHDRAWN ? PRAAS_DIRECT_WITHDRAWN : 500
	};
	struct praas_desc d;

	praas_frame_to_desc(&f, (uint16_t)w->direct.reply.id,
			    what == LIE_PLACE ? UINT64_C(1) << 40 : 0, &d);
	praas_check(praas_channel_push(&w->direct.channel, &d) == 0);
}

static void answer(struct worker *w, const struct praas_direct_call *call)
{
	struct praas_direct_reply reply = { .id = call->head.id,
					    .offset = PRAAS_DIRECT_NO_BUFFER,
					    .run_ns = 500 };
	uint32_t big = atomic_load(&w->big_segment);
	void *out;

	if (atomic_load(&w->lie) != LIE_NONE) {
		lie(w, call);
		return;
	}
	if (big != 0) {
		reply.segment = big;
		reply.offset = 64;
		reply.bytes = 1000;
	} else if (call->head.bytes != 0) {
		praas_check(praas_direct_alloc(&w->direct, call->head.bytes,
					       &reply.offset, &out) == 0);
		memcpy(out, call->data, call->head.bytes);
		reply.bytes = call->head.bytes;
	}
	if (strcmp(call->key, "fail") == 0)
		reply.status = 9;
	count_run(call->data, call->head.bytes);
	praas_check(praas_direct_reply(&w->direct, &reply) == 0);
}

static void *work(void *user)
{
	struct worker *w = user;
	uint32_t turns = 0;

	while (!atomic_load(&w->stop)) {
		uint32_t lazy = atomic_load(&w->lazy);
		struct praas_direct_call call;
		int rc;

		if (lazy != 0 && ++turns % lazy == 0)
			(void)usleep(turns % 3 == 0 ? 300 : 50);
		rc = atomic_load(&w->idle) ? -EAGAIN
					   : praas_direct_take(&w->direct, &call);
		if (rc == 0) {
			atomic_fetch_add(&w->taken, 1);
			if (atomic_load(&w->hold))
				atomic_store(&w->idle, true);
			else
				answer(w, &call);
			continue;
		}
		if (rc != -EAGAIN) {
			atomic_store(&w->error, rc);
			break;
		}
		(void)sched_yield();
	}
	return NULL;
}

static void worker_start(struct fixture *f, uint32_t number, bool idle)
{
	struct worker *w = &f->worker;

	*w = (struct worker){ .idle = idle };
	f->granted = number;
	assert_int_equal(server_order(&f->server, SERVER_GRANT, number), 0);
	assert_int_equal(f->server.granted.attach.client, 5);
	assert_int_equal(f->server.granted.attach.source, PRAAS_CLIENT | 99);
	assert_int_equal(praas_direct_open(&w->direct, &f->server.granted.attach,
					   f->server.granted.fds),
			 0);
	assert_int_equal(pthread_create(&w->thread, NULL, work, w), 0);
}

static void worker_stop(struct fixture *f)
{
	if (!f->worker.direct.reply.base)
		return;
	atomic_store(&f->worker.stop, true);
	(void)pthread_join(f->worker.thread, NULL);
	praas_direct_close(&f->worker.direct);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct praas_connect_config config = { .transport = "shm" };

	server_start(&f->server, 64u << 20);
	f->server.ran = ran_by_controller;
	f->server.ran_user = f;
	current = f;
	assert_int_equal(praas_connect_ticket(f->server.ticket_json, &config, &f->conn),
			 0);
	while (!atomic_load(&f->server.last))
		(void)sched_yield();
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	praas_close(f->conn);
	worker_stop(f);
	server_stop(&f->server);
	current = NULL;
	free(f);
	return 0;
}

/* Polls until the library has seen what the server told it. */
static void until_routes(struct fixture *f, uint32_t changes)
{
	while (f->conn->shm->routes_changed < changes) {
		(void)praas_turn(f->conn);
		(void)sched_yield();
	}
}

static void call_echo(struct fixture *f, uint32_t n)
{
	struct praas_call call = { .function = FN_DIRECT,
				   .data = &n,
				   .bytes = sizeof(n) };
	struct praas_result result;

	assert_int_equal(praas_call(f->conn, &call, &result), 0);
	assert_int_equal(result.status, 0);
	assert_int_equal(result.view.bytes, sizeof(n));
	assert_memory_equal(result.view.data, &n, sizeof(n));
	praas_result_release(f->conn, &result);
}

/* Calls until the worker has answered one more, and nothing is under way: on a busy machine calls
 * are withdrawn while the worker waits for its turn, and go the other way. */
static void until_direct(struct fixture *f)
{
	struct praas_shm_direct_counts counts;
	uint64_t before;

	assert_int_equal(praas_shm_direct_counts(f->server.last, f->granted, &counts),
			 0);
	before = counts.calls;
	do {
		call_echo(f, CALLS_MAX);
		(void)praas_turn(f->conn);
		(void)sched_yield();
		assert_int_equal(
			praas_shm_direct_counts(f->server.last, f->granted, &counts),
			0);
	} while (counts.calls == before || f->conn->direct_pending != 0 ||
		 f->conn->shm->route[f->granted]->outstanding != 0);
}

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

/* What a hostile client may write: the worker refuses each, and stays as it was. */
static void test_shm_direct_hostile_client(void **state)
{
	struct fixture *f = *state;
	struct praas_frame good = { .kind = PRAAS_FRAME_INVOKE, .id = 3, .bytes = 10 };
	struct praas_shm_route *r;
	struct praas_shm_conn *shm = f->conn->shm;
	uint64_t from = praas_channel_pool_offset(&shm->my_geometry);
	uint64_t to = from + shm->my_geometry.pool_bytes;
	struct {
		struct praas_frame frame;
		uint32_t segment;
		uint64_t offset;
	} bad[] = {
		{ good, shm->peer.id, from + 512 },
		{ good, 0, from + 512 },
		{ good, shm->mine.id, from + 513 },
		{ good, shm->mine.id, from - 64 },
		{ good, shm->mine.id, to },
		{ good, shm->mine.id, UINT64_MAX - 63 },
		{ good, shm->mine.id, from },
		{ good, shm->mine.id, from + 512 },
		{ good, shm->mine.id, from + 512 },
	};

	bad[6].frame.key_bytes = 5; /* its key would lie before the area */
	bad[7].frame.bytes = UINT64_MAX;
	bad[8].frame.kind = PRAAS_FRAME_SEND;
	worker_start(f, 0, true);
	until_routes(f, 1);
	r = shm->route[0];
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct praas_direct_call call;
		struct praas_desc d;

		praas_frame_to_desc(&bad[i].frame, (uint16_t)bad[i].segment,
				    bad[i].offset, &d);
		assert_int_equal(praas_channel_push(&r->channel, &d), 0);
		assert_int_equal(praas_direct_take(&f->worker.direct, &call), -EPROTO);
	}
	/* A give-back of what was never lent. */
	assert_int_equal(praas_channel_return(&r->channel, 12345), 0);
	assert_int_equal(
		praas_direct_take(&f->worker.direct, &(struct praas_direct_call){ 0 }),
		-EPROTO);
	/* A sequence that cannot be. */
	atomic_store(&r->channel.tx.slot[r->channel.tx.head & r->channel.tx.mask].seq,
		     1u << 30);
	assert_int_equal(
		praas_direct_take(&f->worker.direct, &(struct praas_direct_call){ 0 }),
		-EPROTO);
}

/* Attach with numbers that do not fit, or the wrong descriptors. */
static void test_shm_direct_attach_is_checked(void **state)
{
	struct fixture *f = *state;
	struct praas_direct_attach good, bad;
	struct praas_direct d;
	int fds[3];

	assert_int_equal(server_order(&f->server, SERVER_GRANT, 0), 0);
	assert_int_equal(server_order(&f->server, SERVER_GRANT, 0), -EEXIST);
	assert_int_equal(server_order(&f->server, SERVER_GRANT, 2), -EINVAL);
	good = f->server.granted.attach;
	memcpy(fds, f->server.granted.fds, sizeof(fds));
	bad = good;
	bad.block = 99;
	assert_int_equal(praas_direct_open(&d, &bad, fds), -EPROTO);
	bad = good;
	bad.client_geometry.pool_bytes += 4096;
	assert_int_equal(praas_direct_open(&d, &bad, fds), -EPROTO);
	bad = good;
	bad.reply_geometry.ring_slots = 3;
	assert_int_equal(praas_direct_open(&d, &bad, fds), -EPROTO);
	assert_int_equal(
		praas_direct_open(&d, &good, (int[3]){ fds[1], fds[0], fds[2] }),
		-EPROTO);
	assert_int_equal(praas_direct_open(&d, &good, fds), 0);
	praas_direct_close(&d);
	praas_direct_close(&d);
}

/* A worker that answers what is no answer: the call ends with a reason, and what comes after it goes
 * the other way. One that says it has not begun is believed: the call goes there whole. */
static void lies(struct fixture *f, int what)
{
	uint32_t n = 7, tries = 0;
	struct praas_call call = { .function = FN_DIRECT,
				   .data = &n,
				   .bytes = sizeof(n) };
	struct praas_result result;

	worker_start(f, 0, false);
	until_routes(f, 1);
	until_direct(f);
	atomic_store(&f->worker.lie, what);
	do { /* until the worker has got one before it was withdrawn */
		assert_int_equal(praas_call(f->conn, &call, &result), 0);
		if (result.status == 0) {
			assert_int_equal(result.view.bytes, sizeof(n));
			assert_memory_equal(result.view.data, &n, sizeof(n));
		}
		praas_result_release(f->conn, &result);
		(void)praas_turn(f->conn);
		(void)sched_yield();
	} while (result.status == 0 && what != LIE_WITHDRAWN && tries++ < 100000);
	assert_int_equal(result.status, what == LIE_WITHDRAWN ? 0 : PRAAS_CRASHED);
	for (uint32_t i = 0; i < 100; i++)
		call_echo(f, i);
	if (what == LIE_WITHDRAWN)
		return;
	/* It is closed when the controller has its memory back; the next worker is heard again. */
	assert_int_equal(f->conn->shm->route[0]->state, PRAAS_SHM_ROUTE_BROKEN);
	worker_stop(f);
	assert_int_equal(server_order(&f->server, SERVER_GONE, 0), 0);
	while (f->conn->shm->route[0]->state != PRAAS_SHM_ROUTE_NONE)
		(void)praas_turn(f->conn);
	worker_start(f, 0, false);
	until_routes(f, f->conn->routes_seen + 1);
	until_direct(f);
}

static void test_shm_direct_lie_of_kind(void **state)
{
	lies(*state, LIE_KIND);
}

static void test_shm_direct_lie_of_place(void **state)
{
	lies(*state, LIE_PLACE);
}

static void test_shm_direct_lie_of_withdrawal(void **state)
{
	lies(*state, LIE_WITHDRAWN);
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
		T(test_shm_direct_revoke_in_order),
		T(test_shm_direct_big_result_is_shared),
		T(test_shm_direct_lie_of_kind),
		T(test_shm_direct_lie_of_place),
		T(test_shm_direct_lie_of_withdrawal),
		T(test_shm_direct_hostile_client),
		T(test_shm_direct_attach_is_checked),
	};

	return cmocka_run_group_tests_name("shm_direct", tests, NULL, NULL);
}
