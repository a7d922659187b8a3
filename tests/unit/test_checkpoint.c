/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "control/life/checkpoint.h"
#include "control/records/records.h"

#define S 1000000000ull

static const struct {
	const char *text;
	uint32_t ms;
	const char *again; /* how it is written; NULL: it is refused */
} texts[] = {
	{ "swap", 0, "swap" },
	{ "checkpoint:100ms", 100, "checkpoint:100ms" },
	{ "checkpoint:1500ms", 1500, "checkpoint:1500ms" },
	{ "checkpoint:1000ms", 1000, "checkpoint:1s" },
	{ "checkpoint:10s", 10000, "checkpoint:10s" },
	{ "checkpoint:5m", 300000, "checkpoint:5m" },
	{ "checkpoint:90s", 90000, "checkpoint:90s" },
	{ "checkpoint:0024h", 86400000, "checkpoint:24h" },
	{ "checkpoint:86400001ms", 0, NULL },
	{ "checkpoint:25h", 0, NULL },
	{ "checkpoint:99ms", 0, NULL },
	{ "checkpoint:0s", 0, NULL },
	{ "checkpoint:18446744073709551617s", 0, NULL },
	{ "checkpoint:99999999999999999999999s", 0, NULL },
	{ "checkpoint:-1s", 0, NULL },
	{ "checkpoint: 1s", 0, NULL },
	{ "checkpoint:1.5s", 0, NULL },
	{ "checkpoint:1", 0, NULL },
	{ "checkpoint:1sec", 0, NULL },
	{ "checkpoint:s", 0, NULL },
	{ "checkpoint:", 0, NULL },
	{ "checkpoint", 0, NULL },
	{ "swap ", 0, NULL },
	{ "Swap", 0, NULL },
	{ "journal", PRAAS_CHECKPOINT_JOURNAL, "journal" },
	{ "gate", PRAAS_CHECKPOINT_GATE, "gate" },
	{ "journals", 0, NULL },
	{ "gate:1s", 0, NULL },
	{ "", 0, NULL },
};

static void test_checkpoint_texts(void **state)
{
	char again[PRAAS_DURABILITY_BYTES];
	uint32_t ms;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		print_message("%s\n", texts[i].text);
		assert_int_equal(praas_durability_parse(texts[i].text, &ms),
				 texts[i].again != NULL);
		if (!texts[i].again)
			continue;
		assert_int_equal(ms, texts[i].ms);
		praas_durability_text(ms, again);
		assert_string_equal(again, texts[i].again);
	}
}

/* Every 10 s; the last is of second 100. */
#define READY .joined = true, .ready = true, .every_ms = 10000, .kept_ns = 100 * S
static const struct {
	const char *what;
	struct praas_checkpoint_input in;
	bool due;
	uint64_t next_ns;
} table[] = {
	{ "nobody wants any",
	  { .joined = true,
	    .ready = true,
	    .kept_ns = 1,
	    .now_ns = 999 * S,
	    .running = true },
	  false,
	  0 },
	{ "it rests",
	  { .every_ms = 10000, .kept_ns = 100 * S, .now_ns = 999 * S, .running = true },
	  false,
	  0 },
	{ "too early",
	  { READY, .now_ns = 110 * S - 1, .told_ns = 109 * S, .running = true },
	  false,
	  110 * S },
	{ "it has worked",
	  { READY, .now_ns = 110 * S, .told_ns = 109 * S, .idle_ns = S },
	  true,
	  120 * S },
	{ "it has worked before the last only",
	  { READY, .now_ns = 110 * S, .told_ns = 109 * S, .idle_ns = 9 * S },
	  false,
	  120 * S },
	{ "just behind it",
	  { READY, .now_ns = 110 * S, .told_ns = 109 * S, .idle_ns = 9 * S - 1 },
	  true,
	  120 * S },
	{ "nothing was told since",
	  { READY, .now_ns = 500 * S, .told_ns = 99 * S },
	  false,
	  510 * S },
	{ "nothing was ever told", { READY, .now_ns = 500 * S }, false, 510 * S },
	{ "idle for longer than the clock",
	  { READY, .now_ns = 110 * S, .told_ns = 109 * S, .idle_ns = UINT64_MAX },
	  false,
	  120 * S },
	{ "a function has run since before the last",
	  { READY, .now_ns = 110 * S, .told_ns = 99 * S, .running = true },
	  true,
	  120 * S },
	{ "it is on its way out, or moves: perhaps it stays",
	  { .joined = true,
	    .every_ms = 10000,
	    .kept_ns = 100 * S,
	    .now_ns = 110 * S,
	    .told_ns = 109 * S },
	  false,
	  120 * S },
};

static void test_checkpoint_due(void **state)
{
	uint64_t next;

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		print_message("%s\n", table[i].what);
		assert_int_equal(praas_checkpoint_due(&table[i].in, &next),
				 table[i].due);
		assert_int_equal(next, table[i].next_ns);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_checkpoint_texts),
		cmocka_unit_test(test_checkpoint_due),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
