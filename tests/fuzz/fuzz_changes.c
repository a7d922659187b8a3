/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "controller/redo_edit.h"
#include "dataplane/changes.h"

/* A log may say anything. What is accepted is what a process writes, byte for byte, and leaves a snapshot whose sums
 * are right. */

static void same_again(const uint8_t *data, uint64_t bytes)
{
	struct praas_function function = { 0 };
	struct praas_changes again = { .functions = &function, .functions_count = 1 };
	const uint8_t *at = data;
	uint64_t left = bytes;
	struct praas_change c;

	while (praas_changes_next(&at, &left, &c) == 0) {
		memcpy(function.name, c.function, c.function_bytes);
		function.name[c.function_bytes] = '\0';
		/* The rest of one that is gone is nobody's, and not written. */
		if (c.gone)
			praas_changes_gone(&again, &c.record);
		else
			(void)praas_changes_add(&again,
						&c.record); /* it says so itself */
	}
	if (again.lost || again.bytes != (uint64_t)(at - data) ||
	    (again.bytes > 0 && memcmp(again.data, data, again.bytes) != 0))
		__builtin_trap();
	praas_changes_release(&again);
}

static void base(struct praas_snapshot *s)
{
	static const struct praas_export_record records[] = {
		{ .kind = PRAAS_EXPORT_STATE,
		  .key = "k",
		  .key_bytes = 1,
		  .version = 1,
		  .data = "v",
		  .bytes = 1 },
		{ .kind = PRAAS_EXPORT_MESSAGE,
		  .key = "k",
		  .key_bytes = 1,
		  .sequence = 1,
		  .data = "m",
		  .bytes = 1 },
		{ .kind = PRAAS_EXPORT_TRIGGER, .key = "", .source = 1, .id = 1 },
		{ .kind = PRAAS_EXPORT_LOG, .key = "", .id = 1 },
	};

	s->functions = calloc(1, sizeof(*s->functions));
	if (!s->functions)
		abort();
	strcpy(s->functions[0], "f");
	s->functions_count = 1;
	for (unsigned i = 0; i < sizeof(records) / sizeof(records[0]); i++)
		if (praas_snapshot_add(s, &records[i]) != 0)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct praas_snapshot s = { 0 };
	struct praas_redo_edit *edit;
	uint64_t sum = 0;
	bool agreed;
	int rc;

	if (bytes < 1)
		return 0;
	agreed = *data++ & 1;
	bytes--;
	same_again(data, bytes);
	base(&s);
	if (praas_redo_edit_begin(&s, &edit) != 0)
		abort();
	rc = praas_redo_edit_turn(edit, agreed, data, bytes);
	if (rc == 0)
		rc = praas_redo_edit_turn(edit, agreed, data, bytes);
	if (praas_redo_edit_end(edit) !=
	    0) { /* nobody to be joined to: never of a process */
		praas_snapshot_release(&s);
		return 0;
	}
	for (uint64_t i = 0; i < s.records_count; i++)
		sum += s.records[i].record.bytes;
	if (sum != s.value_bytes)
		__builtin_trap();
	praas_snapshot_release(&s);
	return 0;
}
