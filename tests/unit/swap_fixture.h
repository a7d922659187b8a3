/* SPDX-License-Identifier: Apache-2.0
 *
 * A process that is swapped: out of one table, through the bytes of a manifest, into another one.
 */
#ifndef PRAAS_TESTS_SWAP_FIXTURE_H
#define PRAAS_TESTS_SWAP_FIXTURE_H

#include "unit/process_fixture.h"

#include "controller/snapshot.h"

static inline int import(void *user, const struct praas_export_record *record)
{
	return praas_process_import(user, record);
}

/* What t has, through the bytes of a manifest, into a process of its own. */
static inline void swap(struct table *t, struct table *ret_to)
{
	struct praas_process_config changes = { .invocations_max = 8,
						.dedup_entries = 16,
						.receivers_max = 4 };
	struct praas_snapshot s = { 0 }, back;
	char names[FUNCTIONS][PRAAS_NAME_MAX + 1] = { 0 };
	uint8_t *data;
	uint64_t bytes;

	for (unsigned i = 0; i < FUNCTIONS; i++)
		strcpy(names[i], functions[i].name);

	praas_process_gate(t->f.p, false);
	assert_true(praas_process_quiet(t->f.p));
	assert_int_equal(praas_process_export(t->f.p, praas_snapshot_add, &s), 0);
	s.functions = names;
	s.functions_count = FUNCTIONS;
	assert_int_equal(praas_snapshot_encode(&s, &data, &bytes), 0);
	s.functions = NULL;
	assert_int_equal(praas_snapshot_decode(data, bytes, &back), 0);
	start(ret_to, &changes);
	praas_process_gate(ret_to->f.p, false);
	assert_int_equal(praas_snapshot_load(NULL, &back, functions, FUNCTIONS, import,
					     ret_to->f.p),
			 0);
	praas_process_gate(ret_to->f.p, true);
	praas_snapshot_release(&s);
	praas_snapshot_release(&back);
	free(data);
}

#endif
