/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes read back from a log, and put into a snapshot: what is undone, what comes again, what is hostile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "controller/redo_turn.h"
#include "dataplane/changes.h"

static const struct praas_function functions[] = { { .name = "joined" } };

/* After a rollback nothing of the log counts but what was agreed with others. */
static void test_edit_after_a_rollback(void **state)
{
	const struct praas_export_record state_record = { .kind = PRAAS_EXPORT_STATE,
							  .key = "k",
							  .key_bytes = 1,
							  .version = 9,
							  .data = "new",
							  .bytes = 3 };
	const struct praas_export_record accepted = {
		.kind = PRAAS_EXPORT_ACCEPTED, .source = 7, .id = 1, .sequence = 20
	};
	struct praas_export_record old = { .kind = PRAAS_EXPORT_ACCEPTED,
					   .key = "",
					   .source = 7,
					   .id = 1,
					   .sequence = 10 };
	struct praas_changes c = { 0 };
	struct praas_redo_edit *edit;
	struct praas_snapshot s = { 0 };

	(void)state;
	assert_int_equal(praas_snapshot_add(&s, &old), 0);
	assert_int_equal(praas_changes_add(&c, &state_record), 0);
	assert_int_equal(praas_changes_add(&c, &accepted), 0);
	assert_int_equal(praas_redo_edit_begin(&s, &edit), 0);
	assert_int_equal(praas_redo_edit_turn(edit, true, c.data, c.bytes), 0);
	assert_int_equal(praas_redo_edit_end(edit), 0);
	assert_int_equal(s.records_count, 1);
	assert_int_equal(s.records[0].record.sequence, 20);
	praas_snapshot_release(&s);
	praas_changes_release(&c);
}

/* A result that is there again is the newest one; a value that is written again takes no more room. */
static void test_edit_results_in_order(void **state)
{
	struct praas_export_record r = { .kind = PRAAS_EXPORT_DEDUP,
					 .source = 1,
					 .sequence = 1,
					 .data = "r",
					 .bytes = 1 };
	static const uint64_t ids[] = { 1, 2, 3, 1 }, left[] = { 2, 3, 1 };
	struct praas_changes c = { 0 };
	struct praas_snapshot s = { 0 };
	struct praas_redo_edit *edit;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		r.id = ids[i];
		assert_int_equal(praas_changes_add(&c, &r), 0);
	}
	assert_int_equal(praas_redo_edit_begin(&s, &edit), 0);
	assert_int_equal(praas_redo_edit_turn(edit, false, c.data, c.bytes), 0);
	assert_int_equal(praas_redo_edit_end(edit), 0);
	assert_int_equal(s.records_count, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(s.records[i].record.id, left[i]);
	praas_snapshot_release(&s);
	praas_changes_release(&c);
}

/* More records than there may be in a snapshot, most of which are gone: the holes are closed meanwhile. */
static void test_edit_many(void **state)
{
	struct praas_export_record r = { .kind = PRAAS_EXPORT_MESSAGE,
					 .key = "k",
					 .key_bytes = 1 };
	struct praas_changes c = { 0 };
	struct praas_snapshot s = { 0 };
	struct praas_redo_edit *edit;

	(void)state;
	assert_int_equal(praas_redo_edit_begin(&s, &edit), 0);
	for (uint64_t i = 1; i <= 600000; i++) {
		r.sequence = i;
		assert_int_equal(praas_changes_add(&c, &r), 0);
		if (i > 10) {
			r.sequence = i - 10;
			praas_changes_gone(&c, &r);
		}
		if (i % 1000 != 0)
			continue;
		assert_int_equal(praas_redo_edit_turn(edit, false, c.data, c.bytes), 0);
		praas_changes_clear(&c);
		assert_true(s.records_count <= 300000);
	}
	assert_int_equal(praas_redo_edit_end(edit), 0);
	assert_int_equal(s.records_count, 10);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(s.records[i].record.sequence, 599991 + i);
	praas_snapshot_release(&s);
	praas_changes_release(&c);
}

/* Each byte wrong, each length: refused, or read as something sound. */
static void test_edit_hostile(void **state)
{
	const struct praas_export_record r = { .kind = PRAAS_EXPORT_TRIGGER,
					       .key = "key",
					       .key_bytes = 3,
					       .function = 0,
					       .deadline_ns = 5,
					       .data = "data",
					       .bytes = 4 };
	struct praas_changes c = { .functions = functions, .functions_count = 1 };

	(void)state;
	assert_int_equal(praas_changes_add(&c, &r), 0);
	for (uint64_t cut = 1; cut < c.bytes; cut++) {
		const uint8_t *at = c.data;
		uint64_t left = cut;
		struct praas_change change;

		assert_int_equal(praas_changes_next(&at, &left, &change), -EPROTO);
	}
	for (uint64_t i = 0; i < c.bytes * 8; i++) {
		struct praas_redo_edit *edit;
		struct praas_snapshot s = { 0 };
		int rc;

		c.data[i / 8] ^= (uint8_t)(1u << i % 8);
		assert_int_equal(praas_redo_edit_begin(&s, &edit), 0);
		rc = praas_redo_edit_turn(edit, false, c.data, c.bytes);
		assert_true(rc == 0 || rc == -EPROTO);
		assert_int_equal(praas_redo_edit_end(edit), 0);
		praas_snapshot_release(&s);
		c.data[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	praas_changes_release(&c);
}

/* A record in the middle of a turn whose beginning is not there. */
static void test_edit_turn_without_beginning(void **state)
{
	struct praas_redo_record r = { .kind = PRAAS_REDO_TURN_NEXT };
	struct praas_redo_turns turns = { 0 };
	struct praas_snapshot s = { 0 };

	(void)state;
	assert_int_equal(praas_redo_edit_begin(&s, &turns.edit), 0);
	assert_int_equal(praas_redo_turns_record(&turns, &r), -EPROTO);
	r.kind = 77;
	assert_int_equal(praas_redo_turns_record(&turns, &r), -EPROTO);
	assert_int_equal(praas_redo_edit_end(turns.edit), 0);
	praas_redo_turns_release(&turns);
	praas_snapshot_release(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edit_after_a_rollback),
		cmocka_unit_test(test_edit_results_in_order),
		cmocka_unit_test(test_edit_many),
		cmocka_unit_test(test_edit_hostile),
		cmocka_unit_test(test_edit_turn_without_beginning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
