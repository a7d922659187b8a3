/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/shm_direct_fixture.h"

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
	assert_int_equal(result.status, what == LIE_WITHDRAWN ? 0 : PRAAS_UNKNOWN);
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

/* Who waits has gone to sleep when the lie comes, and no frame tells of the end of the call. */
static void test_shm_direct_lie_to_a_sleeper(void **state)
{
	struct fixture *f = *state;
	struct praas_call call = { .function = FN_DIRECT };
	struct praas_result result;
	uint32_t tries = 0;

	worker_start(f, 0, false);
	until_routes(f, 1);
	until_direct(f);
	atomic_store(&f->worker.lie, LIE_ASLEEP);
	do { /* until the worker has got one before it was withdrawn */
		f->conn->waiter.pauses = 100000; /* gives it time */
		assert_int_equal(praas_call(f->conn, &call, &result), 0);
		praas_result_release(f->conn, &result);
	} while (result.status == 0 && tries++ < 10000);
	assert_int_equal(result.status, PRAAS_UNKNOWN);
}

/* It writes nonsense over how far it has read: what it runs is not sent the other way, to be run again. */
static void lies_of_position(struct fixture *f, uint64_t read)
{
	uint32_t n = 1, taken;
	struct praas_call call = { .function = FN_DIRECT,
				   .data = &n,
				   .bytes = sizeof(n) };
	struct praas_result result;
	uint64_t id;

	worker_start(f, 0, false);
	until_routes(f, 1);
	until_direct(f);
	taken = atomic_load(&f->worker.taken);
	atomic_store(&f->worker.hold, true);
	do {
		assert_int_equal(praas_submit(f->conn, &call, &id), 0);
		for (unsigned i = 0; i < 1000 && atomic_load(&f->worker.taken) == taken;
		     i++)
			(void)sched_yield();
		if (atomic_load(&f->worker.taken) != taken)
			break;
		/* It was not given its turn in time. */
		assert_int_equal(praas_wait_call(f->conn, id, -1, &result), 0);
		praas_result_release(f->conn, &result);
	} while (atomic_load(&f->worker.taken) == taken);
	atomic_store(&f->runs[n], 0);
	atomic_store(&f->worker.direct.channel.rx.tail->read, read);
	assert_int_equal(server_order(&f->server, SERVER_REVOKE, 0), 0);
	until_routes(f, 2);
	for (unsigned i = 0; i < 1000; i++)
		(void)praas_turn(f->conn);
	worker_stop(f);
	assert_int_equal(server_order(&f->server, SERVER_GONE, 0), 0);
	assert_int_equal(praas_wait_call(f->conn, id, -1, &result), 0);
	assert_int_equal(result.status, PRAAS_CRASHED);
	praas_result_release(f->conn, &result);
	assert_int_equal(f->runs[n], 0);
}

static void test_shm_direct_lie_of_position_back(void **state)
{
	lies_of_position(*state, 0);
}

static void test_shm_direct_lie_of_position_ahead(void **state)
{
	lies_of_position(*state, UINT64_MAX);
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
		T(test_shm_direct_lie_to_a_sleeper),
		T(test_shm_direct_lie_of_position_back),
		T(test_shm_direct_lie_of_position_ahead),
		T(test_shm_direct_lie_of_kind),
		T(test_shm_direct_lie_of_place),
		T(test_shm_direct_lie_of_withdrawal),
		T(test_shm_direct_hostile_client),
		T(test_shm_direct_attach_is_checked),
	};

	return cmocka_run_group_tests_name("shm_direct_hostile", tests, NULL, NULL);
}
