/* SPDX-License-Identifier: Apache-2.0
 *
 * Pipelines that go on in another process, over swaps, moves and losses of both: what has run does not run again. And their
 * records: what a process takes, and what a manifest may say.
 */
#include "unit/stage_away_fixture.h"

#include "dataplane/remote_private.h"

/* The first one is swapped out while the second works: it asks again with the same id, and is told. */
static void test_stage_swap_first_swapped(void **state)
{
	(void)state;
	go(AWAY, 1);
	go(AWAY, 2);
	assert_int_equal(runs(B), 2);
	assert_true(praas_process_quiet(w->node[A].f.p));
	rest(A);
	ends(B, 0, "one"); /* nobody is there to take it: remembered */
	wake(A);
	assert_int_equal(runs(B), 1);
	assert_int_equal(w->node[B].f.p->sums[PLAIN].calls, 1);
	invoke(client(A), AWAY, 1, "k", 0);
	expect(client(A), 1, 0, "one");
	rest(A); /* and once more */
	wake(A);
	invoke(client(A), AWAY, 2, "k", 0);
	assert_int_equal(runs(A) + runs(B), 1);
	ends(B, 0, "two");
	expect(client(A), 2, 0, "two");
	assert_int_equal(w->node[B].f.p->sums[PLAIN].calls, 2);
}

/* A swap-out waits for it for a while, a move takes it along at once. */
static void test_stage_swap_waited_for(void **state)
{
	struct praas_process *p = w->node[A].f.p;

	(void)state;
	go(AWAY, 1);
	w->node[B].gone = true;
	know(A);
	go(AWAY, 2); /* not called yet */
	praas_process_gate(p, false);
	assert_true(praas_process_quiet(p));
	assert_int_equal(praas_process_away(p), 1);
	praas_process_gate(p, true);
	praas_process_park(p);
	assert_true(praas_process_quiet(p));
	assert_int_equal(praas_process_away(p), 0);
	praas_process_gate(p, true);
	ends(B, 0, "end");
	expect(client(A), 1, 0, "end");
	assert_int_equal(p->stages.called, 0);
}

/* Swapped before it was sent, before the other one was known, and after the cut nothing is sent. */
static void test_stage_swap_not_sent(void **state)
{
	(void)state;
	praas_process_stages_hold(w->node[A].f.p, true);
	go(AWAY, 1);
	assert_int_equal(runs(B), 0);
	w->node[B].gone = true;
	know(A);
	go(AWAY, 2);
	rest(A);
	assert_int_equal(w->node[A].f.p->stages.count, 2);
	know(A); /* not before the gate opens */
	settle();
	assert_int_equal(runs(B), 0);
	w->node[B].gone = false;
	wake(A);
	assert_int_equal(runs(B), 2);
	/* A swap-out that is called off. */
	praas_process_gate(w->node[A].f.p, false);
	praas_process_stages_hold(w->node[A].f.p, true);
	praas_process_stages_hold(w->node[A].f.p, false);
	praas_process_gate(w->node[A].f.p, true);
	ends(B, 0, "x");
	ends(B, 0, "x");
	for (uint64_t id = 1; id <= 2; id++) {
		invoke(client(A), AWAY, id, "k", 0);
		expect(client(A), id, 0, "x");
	}
}

/* Who was joined to it is in the snapshot, too. */
static void test_stage_swap_joined_swapped(void **state)
{
	(void)state;
	invoke(client(A), AWAY_PACK, 1, "k", 0);
	invoke(client(A), AWAY_PACK, 2, "k", 0);
	ends(A, 0, "middle");
	rest(A);
	wake(A);
	invoke(client(A), AWAY_PACK, 1, "k", 0);
	invoke(client(A), AWAY_PACK, 2, "k", 0);
	assert_int_equal(runs(A), 0);
	assert_int_equal(w->node[A].f.p->triggers.waiting, 0);
	invoke(client(B), JOINED, 1, "k", 0);
	ends(B, 0, "both");
	expect(client(A), 2, 0, "both");
	expect(client(A), 1, 0, "both");
}

/* The other one drains: refused, or interrupted, it runs there again, in its next epoch. */
static void test_stage_swap_second_swapped(void **state)
{
	(void)state;
	praas_process_gate(w->node[B].f.p, false);
	go(AWAY, 1);
	assert_int_equal(runs(B), 0);
	praas_process_gate(w->node[B].f.p, true);
	while (runs(B) == 0)
		settle();
	praas_process_gate(w->node[B].f.p, false);
	ends(B, PRAAS_INTERRUPTED, NULL);
	assert_false(fake_has(client(A)));
	rest(B);
	wake(B);
	while (runs(B) == 0)
		settle();
	input_is(B, PLAIN, "middle");
	ends(B, 0, "end");
	expect(client(A), 1, 0, "end");
	/* It had run when the process was swapped out: it does not run again. */
	go(AWAY, 2);
	w->link[A][B].deaf = true;
	ends(B, 0, "once");
	w->link[A][B].deaf = false;
	rest(B);
	wake(B);
	until(client(A));
	expect(client(A), 2, 0, "once");
	assert_int_equal(runs(B), 0);
}

/* Killed, it is told that nobody knows, also when the first one rested meanwhile; deleted, that it is no more. */
static void test_stage_swap_second_lost(void **state)
{
	(void)state;
	go(AWAY, 1);
	lose(B);
	until(client(A));
	told_error(client(A), 1, PRAAS_UNKNOWN,
		   "stage plain in process b: its epoch is over; it may have run");
	assert_int_equal(runs(B), 0);
	go(AWAY, 2);
	rest(A);
	lose(B);
	wake(A);
	invoke(client(A), AWAY, 2, "k", 0);
	until(client(A));
	told_error(client(A), 2, PRAAS_UNKNOWN,
		   "stage plain in process b: its epoch is over; it may have run");
	go(AWAY, 3);
	rest(A);
	w->node[B].gone = true;
	wake(A);
	invoke(client(A), AWAY, 3, "k", 0);
	until(client(A));
	told_error(client(A), 3, PRAAS_NOT_FOUND,
		   "stage plain in process b: there is no such process");
}

/* Its connection breaks after it has run for long: it is asked for again, not given up. */
static void test_stage_swap_broken_late(void **state)
{
	struct link *l = &w->link[A][B];

	(void)state;
	go(AWAY, 1);
	assert_int_equal(runs(B), 1);
	w->node[A].f.p->remote->calls[0].begun_ns -= 31000000000u;
	link_end(l);
	l->events->closed(l->user, &l->conn, -ECONNRESET);
	while (!l->far)
		settle();
	assert_false(fake_has(client(A)));
	ends(B, 0, "end");
	until(client(A));
	expect(client(A), 1, 0, "end");
	assert_int_equal(w->node[B].f.p->sums[PLAIN].calls, 1);
}

/* ---- records ---- */

static int import_one(const struct praas_export_record *r)
{
	return praas_process_import(w->node[0].f.p, r);
}

/* Records that no process writes are refused, each with its error. */
static void test_stage_swap_bad(void **state)
{
	static const struct praas_export_record bad[] = {
		{ .key = "", .key_bytes = 0 },
		{ .key = "b\0b", .key_bytes = 3 },
		{ .key = "b", .key_bytes = 1, .source = 2 },
		{ .key = "b", .key_bytes = 1, .id = 2 },
		{ .key = "b", .key_bytes = 1, .sequence = 2 },
		{ .key = "b",
		  .key_bytes = 1,
		  .source = 2,
		  .id = 2,
		  .sequence = UINT64_C(1) << 32 },
		{ .key = "b", .key_bytes = 1, .data = "x", .bytes = 1 },
		{ .key = "b", .key_bytes = 1, .deadline_ns = 1 },
	};
	struct praas_export_record good = { .kind = PRAAS_EXPORT_STAGE,
					    .key = "b",
					    .key_bytes = 1,
					    .source = 2,
					    .id = 2 };
	struct praas_export_record input = { .kind = PRAAS_EXPORT_TRIGGER,
					     .key = "k",
					     .key_bytes = 1,
					     .function = PLAIN,
					     .source = PRAAS_CLIENT | 1 };

	(void)state;
	assert_int_equal(import_one(&good), -EINVAL); /* the gate is open */
	praas_process_gate(w->node[0].f.p, false);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct praas_export_record r = bad[i];

		r.kind = PRAAS_EXPORT_STAGE;
		assert_int_equal(import_one(&r), -EINVAL);
	}
	assert_int_equal(import_one(&good), 0);
	assert_int_equal(import_one(&good), -EINVAL); /* two of one input */
	input.id = 1;
	assert_int_equal(import_one(&input), 0);
	assert_int_equal(import_one(&good), -EEXIST); /* the same call */
	for (uint64_t id = 2; id <= PRAAS_STAGES_AWAY_MAX; id++) {
		good.id = id + 1;
		input.id = id;
		assert_int_equal(import_one(&good), 0);
		assert_int_equal(import_one(&input), 0);
	}
	good.id++;
	assert_int_equal(import_one(&good), -ENOSPC);
	assert_int_equal(w->node[0].f.p->stages.count, PRAAS_STAGES_AWAY_MAX);
}

/* The bytes of a manifest with these records, if it may say so in that version. */
static int through(const struct praas_export_record *records, unsigned count,
		   uint8_t version, struct praas_snapshot *ret_back)
{
	char names[1][PRAAS_NAME_MAX + 1] = { "plain" };
	struct praas_snapshot s = { 0 };
	uint8_t *data;
	uint64_t bytes;
	int rc;

	for (unsigned i = 0; i < count; i++)
		assert_int_equal(praas_snapshot_add(&s, &records[i]), 0);
	s.functions = names;
	s.functions_count = 1;
	assert_int_equal(praas_snapshot_encode(&s, &data, &bytes), 0);
	s.functions = NULL;
	assert_int_equal(data[8], 4);
	data[8] = version;
	praas_snapshot_hash(data, bytes - PRAAS_SNAPSHOT_HASH_BYTES,
			    data + bytes - PRAAS_SNAPSHOT_HASH_BYTES);
	rc = praas_snapshot_decode(data, bytes, ret_back);
	free(data);
	praas_snapshot_release(&s);
	return rc;
}

/* It stands before its input and who is joined to it, and needs version 4; a rollback calls anew. */
static void test_stage_swap_manifest(void **state)
{
	static const struct praas_export_record records[] = {
		{ .kind = PRAAS_EXPORT_STAGE,
		  .key = "b",
		  .key_bytes = 1,
		  .source = 7,
		  .id = 8,
		  .sequence = 9 },
		{ .kind = PRAAS_EXPORT_JOINED, .key = "", .source = 1, .id = 2 },
		{ .kind = PRAAS_EXPORT_TRIGGER, .key = "k", .key_bytes = 1, .id = 3 },
	};
	struct praas_export_record twisted[] = { records[1], records[0], records[2] };
	struct praas_snapshot back = { 0 };
	const struct praas_export_record *r;

	(void)state;
	assert_int_equal(through(records, 3, 3, &back), -EPROTO);
	assert_int_equal(through(records, 3, 5, &back), -EPROTO);
	assert_int_equal(through(records, 2, 4, &back), -EPROTO); /* of no input */
	assert_int_equal(through(twisted, 3, 4, &back), -EPROTO);
	assert_int_equal(through(records, 3, 4, &back), 0);
	r = &back.records[0].record;
	assert_int_equal(r->source, 7);
	assert_int_equal(r->id, 8);
	assert_int_equal(r->sequence, 9);
	praas_snapshot_keep_own(&back);
	assert_int_equal(back.records_count, 3);
	assert_int_equal(r->kind, PRAAS_EXPORT_STAGE);
	assert_int_equal(r->source + r->id + r->sequence, 0);
	assert_int_equal(r->key[0], 'b');
	praas_snapshot_release(&back);
}

int main(void)
{
#define T(name)                                                                        \
	cmocka_unit_test_setup_teardown(test_stage_swap_##name, setup_known,           \
					teardown_world)
	const struct CMUnitTest tests[] = {
		T(first_swapped),
		T(waited_for),
		T(not_sent),
		T(joined_swapped),
		T(second_swapped),
		T(second_lost),
		T(broken_late),
		T(bad),
		cmocka_unit_test(test_stage_swap_manifest),
	};
#undef T
	return cmocka_run_group_tests(tests, NULL, NULL);
}
