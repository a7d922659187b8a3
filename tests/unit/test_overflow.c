/* SPDX-License-Identifier: Apache-2.0
 *
 * State beyond memory: what goes, what comes back, what must stay; and random histories against a model.
 */
#include "unit/overflow_fixture.h"

#define BYTES 60000u /* of an object: a buffer of 64 KiB */
#define MANY 64u     /* of them: four times the limit */

static uint64_t used(const struct ov *o)
{
	return praas_overflow_used(&o->f.p->state);
}

/* Writes MANY objects, with a checkpoint when one is wanted. */
static void write_many(struct ov *o)
{
	for (uint32_t i = 0; i < MANY; i++) {
		uint32_t before = o->wanted;

		assert_int_equal(ov_put(o, i, BYTES, i), 0);
		assert_true(used(o) <= OV_LIMIT_BYTES);
		if (o->wanted != before)
			ov_checkpoint(o);
	}
}

/* Four times of what there is memory for is written and read back, and the limit holds. */
static void test_overflow_reads_back_all(void **state)
{
	struct ov *o = *state;
	uint64_t bytes;

	write_many(o);
	assert_true(o->wanted >= 4);
	assert_true(o->f.p->state.overflow->evictions > MANY / 2);
	assert_int_equal(o->f.p->state.count, MANY);
	for (uint32_t turn = 0; turn < 3; turn++)
		for (uint32_t i = 0; i < MANY; i++) {
			assert_int_equal(ov_get(o, i, &bytes, i), 0);
			assert_int_equal(bytes, BYTES);
			assert_true(used(o) <= OV_LIMIT_BYTES);
			(void)praas_process_poll(o->f.p, 16);
		}
	assert_true(o->f.p->state.overflow->fetches >= 2 * (MANY - 20));
}

/* What is used stays, what is not goes. */
static void test_overflow_the_coldest_go(void **state)
{
	struct ov *o = *state;
	uint64_t bytes;

	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(ov_put(o, i, BYTES, i), 0);
	ov_checkpoint(o);
	assert_int_equal(ov_get(o, 0, &bytes, 0), 0);
	for (uint32_t i = 8; i < 17; i++)
		assert_int_equal(ov_put(o, i, BYTES, i), 0);
	assert_int_equal(ov_object(o, 0)->rest, PRAAS_REST_HERE);
	assert_int_equal(ov_object(o, 1)->rest, PRAAS_REST_OUT);
	/* The next to go are marked, so that readers ask. */
	assert_int_equal(ov_object(o, 2)->rest, PRAAS_REST_RESTING);
	assert_int_equal(ov_get(o, 2, &bytes, 2), 0);
	assert_int_equal(ov_object(o, 2)->rest, PRAAS_REST_HERE);
	assert_int_equal(o->f.p->state.overflow->fetches, 0);
}

/* Without a checkpoint nothing can go: writes are refused, with nothing lost, and the checkpoint is asked for once. */
static void test_overflow_refuses_without_a_checkpoint(void **state)
{
	struct ov *o = *state;
	uint64_t bytes;
	uint32_t n = 0;

	while (ov_put(o, n, BYTES, n) == 0)
		n++;
	assert_in_range(n, 14, 16);
	assert_int_equal(ov_put(o, n, BYTES, n), -EBUSY);
	assert_int_equal(o->wanted, 1);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(ov_get(o, i, &bytes, i), 0);
	/* What is there may be replaced, and one that never fits says so. */
	assert_int_equal(ov_put(o, 0, BYTES, 100), 0);
	assert_int_equal(ov_put(o, 99, OV_LIMIT_BYTES + 1, 0), -ENOSPC);
	ov_checkpoint(o);
	assert_int_equal(ov_put(o, n, BYTES, n), 0);
	assert_int_equal(ov_get(o, 0, &bytes, 100), 0);
}

/* A failed checkpoint changes nothing: what could go still can, what could not still cannot. */
static void test_overflow_failed_checkpoint(void **state)
{
	struct ov *o = *state;
	uint32_t n = 0;

	assert_int_equal(ov_put(o, 50, BYTES, 50), 0);
	ov_checkpoint(o);
	while (ov_put(o, n, BYTES, n) == 0)
		n++;
	assert_int_equal(ov_object(o, 50)->rest, PRAAS_REST_OUT);
	assert_int_equal(ov_cut(o), 0);
	ov_commit(o, -EIO);
	assert_int_equal(ov_put(o, n, BYTES, n), -EBUSY);
	ov_checkpoint(o);
	assert_int_equal(ov_put(o, n, BYTES, n), 0);
}

/* Changed between cut and commit: that version is nowhere else, and stays. */
static void test_overflow_changed_after_the_cut_stays(void **state)
{
	struct ov *o = *state;
	uint64_t bytes;

	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(ov_put(o, i, BYTES, i), 0);
	assert_int_equal(ov_cut(o), 0);
	assert_int_equal(ov_put(o, 1, BYTES, 200), 0);
	assert_int_equal(ov_erase(o, 2), 0);
	ov_commit(o, 0);
	(void)praas_overflow_relieve(&o->f.p->state, OV_LIMIT_BYTES);
	assert_int_equal(ov_object(o, 0)->rest, PRAAS_REST_OUT);
	assert_int_equal(ov_object(o, 1)->rest, PRAAS_REST_HERE);
	assert_int_equal(ov_get(o, 1, &bytes, 200), 0);
	assert_int_equal(ov_get(o, 2, &bytes, 2), -ENOENT);
	assert_int_equal(ov_get(o, 3, &bytes, 3), 0);
}

/* ---- who waits ---- */

struct waiter {
	struct praas_fn_wait wait;
	unsigned told;
	int rc;
};

static void on_done(struct praas_fn_wait *wait, int rc)
{
	struct waiter *w = wait->user;

	w->told++;
	w->rc = rc;
}

static int bring(struct ov *o, uint32_t n, struct waiter *w)
{
	char key[PRAAS_KEY_MAX + 1];
	uint32_t key_bytes = ov_key(n, key);

	*w = (struct waiter){ .wait = { .done = on_done } };
	w->wait.user = w;
	return praas_process_fn_state_bring(o->f.p, key, key_bytes, &w->wait);
}

/* Objects 0 … 3 are out. */
static void four_out(struct ov *o)
{
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(ov_put(o, i, BYTES, i), 0);
	ov_checkpoint(o);
	assert_int_equal(praas_overflow_relieve(&o->f.p->state, OV_LIMIT_BYTES),
			 4 * 65536);
}

/* Several that wait for one are told once each; the value is read once. */
static void test_overflow_all_who_wait_are_told(void **state)
{
	struct ov *o = *state;
	struct waiter w[3];
	uint64_t bytes;

	four_out(o);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(bring(o, 1, &w[i]), -EINPROGRESS);
	assert_int_equal(ov_coming(o), 1);
	praas_process_fn_wait_cancel(o->f.p, &w[1].wait);
	assert_int_equal(ov_end_all(o), 1);
	assert_int_equal(w[0].told, 1);
	assert_int_equal(w[1].told, 0);
	assert_int_equal(w[2].told, 1);
	assert_int_equal(w[2].rc, 0);
	assert_int_equal(ov_object(o, 1)->rest, PRAAS_REST_HERE);
	assert_int_equal(bring(o, 1, &w[0]), 0);
	assert_int_equal(ov_get(o, 1, &bytes, 1), 0);
}

/* Put or deleted while it comes: who waits sees that, and the old value goes. */
static void test_overflow_replaced_while_it_comes(void **state)
{
	struct ov *o = *state;
	struct waiter w[2];
	uint64_t bytes;

	four_out(o);
	assert_int_equal(bring(o, 1, &w[0]), -EINPROGRESS);
	assert_int_equal(bring(o, 2, &w[1]), -EINPROGRESS);
	assert_int_equal(ov_put(o, 1, 300, 77), 0);
	assert_int_equal(ov_erase(o, 2), 0);
	assert_int_equal(ov_end_all(o), 2);
	assert_int_equal(w[0].rc, 0);
	assert_int_equal(w[1].rc, 0);
	assert_int_equal(ov_get(o, 1, &bytes, 77), 0);
	assert_int_equal(bytes, 300);
	assert_int_equal(ov_get(o, 2, &bytes, 2), -ENOENT);
}

/* A store that fails: an error for who asks, and the next one gets it. */
static void test_overflow_store_fails_and_comes_back(void **state)
{
	struct ov *o = *state;
	struct waiter w;
	uint64_t bytes;

	four_out(o);
	o->fail = -EREMOTEIO;
	assert_int_equal(ov_get(o, 0, &bytes, 0), -EREMOTEIO);
	assert_int_equal(bring(o, 1, &w), -EINPROGRESS);
	assert_int_equal(ov_end_all(o), 1);
	assert_int_equal(w.rc, -EREMOTEIO);
	assert_int_equal(ov_object(o, 1)->rest, PRAAS_REST_OUT);
	o->fail = 0;
	assert_int_equal(ov_get(o, 0, &bytes, 0), 0);
	assert_int_equal(bring(o, 1, &w), -EINPROGRESS);
	assert_int_equal(ov_end_all(o), 1);
	assert_int_equal(w.rc, 0);
}

/* Read from a chunk that a later snapshot has given up: once more, from where it lies now. */
static void test_overflow_chunk_moved_meanwhile(void **state)
{
	struct ov *o = *state;
	struct waiter w;

	four_out(o);
	assert_int_equal(bring(o, 1, &w), -EINPROGRESS);
	ov_checkpoint(o);
	o->fail = -EIO;
	ov_end_all(o);
	assert_int_equal(w.told, 0);
	assert_int_equal(ov_coming(o), 1);
	o->fail = 0;
	ov_end_all(o);
	assert_int_equal(w.told, 1);
	assert_int_equal(w.rc, 0);
}

/* No more than so many at once; one that finds no place is told. */
static void test_overflow_too_many_at_once(void **state)
{
	static struct waiter w[PRAAS_FETCHES_MAX + 1];
	struct ov *o = *state;

	for (uint32_t i = 0; i <= PRAAS_FETCHES_MAX; i++)
		assert_int_equal(ov_put(o, i, 1000, i), 0);
	ov_checkpoint(o);
	(void)praas_overflow_relieve(&o->f.p->state, OV_LIMIT_BYTES);
	for (uint32_t i = 0; i < PRAAS_FETCHES_MAX; i++)
		assert_int_equal(bring(o, i, &w[i]), -EINPROGRESS);
	assert_int_equal(bring(o, PRAAS_FETCHES_MAX, &w[PRAAS_FETCHES_MAX]), -ENOBUFS);
	assert_int_equal(ov_end_all(o), PRAAS_FETCHES_MAX);
	assert_int_equal(bring(o, PRAAS_FETCHES_MAX, &w[PRAAS_FETCHES_MAX]),
			 -EINPROGRESS);
	ov_end_all(o);
	for (uint32_t i = 0; i <= PRAAS_FETCHES_MAX; i++)
		assert_int_equal(w[i].rc, 0);
}

/* A reader inside sees what it has found: that memory does not come free, and a fetch waits, then fails; later it is had. */
static void test_overflow_nothing_comes_free(void **state)
{
	struct ov *o = *state;
	uint64_t bytes;
	uint32_t n = 0;
	int rc = 0;

	write_many(o);
	praas_process_hold(o->f.p);
	while (n < MANY && (rc = ov_get(o, n, &bytes, n)) == 0)
		n++;
	assert_int_equal(rc, -ENOSPC);
	assert_true(n >= 8);
	assert_int_equal(ov_object(o, n)->rest, PRAAS_REST_OUT);
	praas_process_unhold(o->f.p);
	assert_int_equal(ov_get(o, n, &bytes, n), 0);
}

/* ---- leases ---- */

/* An object under update stays; one that is out comes first, and the update begins then. */
static void test_overflow_updates(void **state)
{
	struct ov *o = *state;
	struct waiter w = { .wait = { .done = on_done } };
	struct praas_fn_wait wait = { .deadline_ns = 0 };
	uint64_t bytes, version;
	bool kept;

	w.wait.user = &w;
	four_out(o);
	assert_int_equal(praas_process_fn_update_begin(o->f.p, 3, "k1", 2, 0, &w.wait),
			 -EINPROGRESS);
	ov_end_all(o);
	assert_int_equal(w.told, 1);
	assert_int_equal(w.rc, 0);
	assert_true(ov_is(w.wait.grant.data, BYTES, 1));
	(void)praas_overflow_relieve(&o->f.p->state, OV_LIMIT_BYTES);
	assert_int_equal(ov_object(o, 1)->rest, PRAAS_REST_HERE);
	ov_fill(o->f.segment.base + w.wait.grant.offset, BYTES, 55);
	assert_int_equal(praas_process_fn_update_commit(o->f.p, 3, "k1", 2, NULL, false,
							&kept, &version),
			 0);
	/* It is another one now, which only the next snapshot has. */
	(void)praas_overflow_relieve(&o->f.p->state, OV_LIMIT_BYTES);
	assert_int_equal(ov_object(o, 1)->rest, PRAAS_REST_HERE);
	assert_int_equal(ov_get(o, 1, &bytes, 55), 0);
	ov_checkpoint(o);
	(void)praas_overflow_relieve(&o->f.p->state, OV_LIMIT_BYTES);
	assert_int_equal(ov_object(o, 1)->rest, PRAAS_REST_OUT);
	/* On this thread it is waited for. */
	assert_int_equal(praas_process_fn_update_begin(o->f.p, PRAAS_HOLDER_PROCESS,
						       "k1", 2, 0, &wait),
			 0);
	assert_true(ov_is(wait.grant.data, BYTES, 55));
	assert_int_equal(praas_process_fn_update_commit(o->f.p, PRAAS_HOLDER_PROCESS,
							"k1", 2, NULL, false, &kept,
							&version),
			 0);
}

/* ---- over snapshots ---- */

/* What is out is not read for a snapshot, nor written again; a new process has it. */
static void test_overflow_swapped_out_and_in(void **state)
{
	struct ov *o = *state;
	uint64_t bytes, read;

	write_many(o);
	ov_checkpoint(o);
	read = o->store->bytes_read;
	ov_checkpoint(o);
	assert_int_equal(o->result.bytes_written, 0);
	assert_int_equal(o->result.bytes_reused, (uint64_t)MANY * BYTES);
	assert_int_equal(o->store->bytes_read, read);
	ov_stop(o);
	ov_start(o);
	ov_load(o);
	assert_true(o->store->bytes_read < read + BYTES); /* the manifest */
	assert_int_equal(used(o), 0);
	for (uint32_t i = 0; i < MANY; i++)
		assert_int_equal(ov_get(o, i, &bytes, i), 0);
	assert_true(used(o) <= OV_LIMIT_BYTES);
}

/* What is left, out, of a chunk that is mostly garbage is read and written anew by a checkpoint. */
static void test_overflow_sparse_chunks_are_given_up(void **state)
{
	struct ov *o = *state;
	struct praas_snapshot_chunk chunk;
	uint64_t bytes;

	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(ov_put(o, i, BYTES, i), 0);
	ov_checkpoint(o);
	assert_int_equal(o->current.chunks_count, 1);
	chunk = o->current.chunks[0];
	(void)praas_overflow_relieve(&o->f.p->state, OV_LIMIT_BYTES);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(ov_put(o, i, BYTES, 100 + i), 0);
	ov_checkpoint(o);
	assert_int_equal(o->current.chunks_count, 2); /* more than half is alive */
	for (uint32_t i = 3; i < 5; i++)
		assert_int_equal(ov_put(o, i, BYTES, 100 + i), 0);
	assert_int_equal(ov_object(o, 5)->rest, PRAAS_REST_OUT);
	ov_checkpoint(o);
	for (uint32_t i = 0; i < o->current.chunks_count; i++)
		assert_memory_not_equal(o->current.chunks[i].hash, chunk.hash,
					sizeof(chunk.hash));
	assert_int_equal(ov_object(o, 5)->rest, PRAAS_REST_OUT);
	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(ov_get(o, i, &bytes, i < 5 ? 100 + i : i), 0);
}

/* A snapshot that goes to where nothing can be read, as over a move, takes over what it would read. */
static void test_overflow_handed_over(void **state)
{
	struct ov *o = *state;
	const struct praas_store_ops *ops = o->store->ops;
	struct praas_store_ops no_get = *ops;
	struct praas_snapshot_result result;

	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(ov_put(o, i, BYTES, i), 0);
	ov_checkpoint(o);
	(void)praas_overflow_relieve(&o->f.p->state, OV_LIMIT_BYTES);
	for (uint32_t i = 0; i < 6; i++)
		assert_int_equal(ov_erase(o, i), 0);
	assert_int_equal(ov_cut(o), 0);
	no_get.get = NULL;
	o->store->ops = &no_get;
	o->current.compact = true; /* as a checkpoint that failed leaves it */
	assert_int_equal(praas_snapshot_write(o->store, &o->cut->snapshot, NULL, 0,
					      &o->current, &o->entry, &result),
			 0);
	o->store->ops = ops;
	assert_int_equal(result.bytes_written, 0);
	assert_int_equal(result.bytes_reused, 2 * BYTES);
}

/* Listed as any other. */
static void test_overflow_is_listed(void **state)
{
	struct ov *o = *state;
	uint8_t records[4096];
	uint64_t bytes, count;

	four_out(o);
	assert_int_equal(praas_process_fn_state_list(o->f.p, "k", 1, "", 0, records,
						     sizeof(records), &bytes, &count),
			 0);
	assert_int_equal(count, 4);
	memcpy(&bytes, records + 16, sizeof(bytes));
	assert_int_equal(bytes, BYTES);
	assert_int_equal(ov_coming(o), 0);
}

/* ---- clients ---- */

static struct praas_buf *ask(struct fake_conn *c, uint8_t kind, uint64_t id,
			     const char *key, const void *data, uint64_t bytes)
{
	const struct praas_frame head = { .kind = kind, .id = id };

	fake_frame(c, &head, key, data, bytes);
	return fake_has(c) ? fake_take(c) : NULL;
}

/* A client's read waits without holding others up; its connection may end meanwhile. */
static void test_overflow_client_reads(void **state)
{
	struct ov *o = *state;
	struct fake_conn *c = fake_conn_new(&o->f, 1), *d = fake_conn_new(&o->f, 2);
	struct praas_buf *answer;

	four_out(o);
	assert_null(ask(c, PRAAS_FRAME_STATE_GET, 1, "k1", NULL, 0));
	assert_null(ask(c, PRAAS_FRAME_STATE_GET, 2, "k2", NULL, 0));
	assert_null(ask(d, PRAAS_FRAME_STATE_GET, 3, "k1", NULL, 0));
	answer = ask(c, PRAAS_FRAME_STATE_GET, 4, "none", NULL, 0);
	assert_int_equal(answer->head.status, PRAAS_NOT_FOUND);
	praas_buf_release(answer);
	fake_conn_free(d);
	ov_end_all(o);
	for (uint32_t i = 1; i <= 2; i++) {
		answer = fake_take(c);
		assert_int_equal(answer->head.id, i);
		assert_int_equal(answer->head.status, 0);
		assert_int_equal(answer->head.bytes, BYTES);
		assert_true(ov_is(answer->data, BYTES, i));
		praas_buf_release(answer);
	}
	o->fail = -EREMOTEIO;
	assert_null(ask(c, PRAAS_FRAME_STATE_GET, 5, "k3", NULL, 0));
	ov_end_all(o);
	answer = fake_take(c);
	assert_int_equal(answer->head.status, PRAAS_OVERLOADED);
	assert_int_not_equal(answer->head.aux, 0);
	praas_buf_release(answer);
	fake_conn_free(c);
}

/* While too much has changed clients' writes wait, in their order, until a checkpoint is committed. */
static void test_overflow_client_writes_wait(void **state)
{
	static uint8_t data[BYTES];
	struct ov *o = *state;
	struct fake_conn *c = fake_conn_new(&o->f, 1), *d = fake_conn_new(&o->f, 2);
	struct praas_buf *answer;
	uint32_t n = 0;
	uint64_t bytes;

	ov_fill(data, BYTES, 7);
	while (!praas_overflow_full(&o->f.p->state))
		assert_int_equal(ov_put(o, n++, BYTES, 0), 0);
	assert_null(ask(c, PRAAS_FRAME_STATE_PUT, 1, "k90", data, BYTES));
	assert_null(ask(c, PRAAS_FRAME_STATE_DELETE, 2, "k0", NULL, 0));
	assert_null(ask(d, PRAAS_FRAME_STATE_PUT, 3, "k91", data, BYTES));
	(void)praas_process_poll(o->f.p, 16);
	assert_null(ov_object(o, 90));
	fake_conn_free(d);
	ov_checkpoint(o);
	for (uint32_t i = 1; i <= 2; i++) {
		answer = fake_take(c);
		assert_int_equal(answer->head.id, i);
		assert_int_equal(answer->head.status, 0);
		praas_buf_release(answer);
	}
	assert_int_equal(ov_get(o, 90, &bytes, 7), 0);
	assert_null(ov_object(o, 0));
	assert_null(ov_object(o, 91));
	fake_conn_free(c);
}

/* When the gate closes what waits for a checkpoint is refused, and nothing is left. */
static void test_overflow_gate_closes(void **state)
{
	static uint8_t data[BYTES];
	struct ov *o = *state;
	struct fake_conn *c = fake_conn_new(&o->f, 1);
	struct praas_buf *answer;
	uint32_t n = 0;

	while (!praas_overflow_full(&o->f.p->state))
		assert_int_equal(ov_put(o, n++, BYTES, 0), 0);
	assert_null(ask(c, PRAAS_FRAME_STATE_PUT, 1, "k90", data, BYTES));
	praas_process_gate(o->f.p, false);
	answer = fake_take(c);
	assert_int_equal(answer->head.status, PRAAS_DRAINING);
	praas_buf_release(answer);
	fake_conn_free(c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, ov_setup, ov_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_overflow_reads_back_all),
		TEST(test_overflow_the_coldest_go),
		TEST(test_overflow_refuses_without_a_checkpoint),
		TEST(test_overflow_failed_checkpoint),
		TEST(test_overflow_changed_after_the_cut_stays),
		TEST(test_overflow_all_who_wait_are_told),
		TEST(test_overflow_replaced_while_it_comes),
		TEST(test_overflow_store_fails_and_comes_back),
		TEST(test_overflow_chunk_moved_meanwhile),
		TEST(test_overflow_too_many_at_once),
		TEST(test_overflow_nothing_comes_free),
		TEST(test_overflow_updates),
		TEST(test_overflow_swapped_out_and_in),
		TEST(test_overflow_sparse_chunks_are_given_up),
		TEST(test_overflow_handed_over),
		TEST(test_overflow_is_listed),
		TEST(test_overflow_client_reads),
		TEST(test_overflow_client_writes_wait),
		TEST(test_overflow_gate_closes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
