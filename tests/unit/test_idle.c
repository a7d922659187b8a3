/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "control/life/idle.h"

#define S 1000000000ull

/* after 10 s IDLE, after 60 s swapped out; now is 1000 s. */
static const struct praas_idle_policy policy = { .after_ns = 10 * S,
						 .swap_ns = 60 * S };
/* The same, and 3 calls in 60 s are as none. */
static const struct praas_idle_policy slow = { .after_ns = 10 * S,
					       .swap_ns = 60 * S,
					       .calls_max = 3 };

static const struct {
	const char *what;
	struct praas_idle_input in;
	enum praas_idle expect;
	uint64_t quiet_ns;
} table[] = {
	{ "it does not serve", { .since_ns = 1 * S }, PRAAS_IDLE_BUSY, 0 },
	{ "it has served for a moment",
	  { .serving = true, .since_ns = 995 * S },
	  PRAAS_IDLE_BUSY,
	  5 * S },
	{ "nothing came, nothing was told",
	  { .serving = true, .since_ns = 990 * S },
	  PRAAS_IDLE_IDLE,
	  10 * S },
	{ "just before the limit",
	  { .serving = true, .since_ns = 940 * S + 1 },
	  PRAAS_IDLE_IDLE,
	  60 * S - 1 },
	{ "at the limit",
	  { .serving = true, .since_ns = 940 * S },
	  PRAAS_IDLE_SWAP,
	  60 * S },
	{ "something runs",
	  { .serving = true, .since_ns = 1 * S, .told_ns = 999 * S, .running = 1 },
	  PRAAS_IDLE_BUSY,
	  0 },
	{ "something is queued",
	  { .serving = true, .since_ns = 1 * S, .told_ns = 999 * S, .queued = 1 },
	  PRAAS_IDLE_BUSY,
	  0 },
	{ "a call through REST is under way",
	  { .serving = true, .since_ns = 1 * S, .calls = 1 },
	  PRAAS_IDLE_BUSY,
	  0 },
	{ "somebody waits for it",
	  { .serving = true, .since_ns = 1 * S, .waiting = 1 },
	  PRAAS_IDLE_BUSY,
	  0 },
	{ "it told of work on the data plane 6 s ago, 3 s before it told",
	  { .serving = true, .since_ns = 1 * S, .told_ns = 997 * S, .idle_ns = 3 * S },
	  PRAAS_IDLE_BUSY,
	  6 * S },
	{ "it told of none for longer than the limit",
	  { .serving = true, .since_ns = 1 * S, .told_ns = 999 * S, .idle_ns = 59 * S },
	  PRAAS_IDLE_SWAP,
	  60 * S },
	{ "it was asked for something since it told",
	  { .serving = true,
	    .since_ns = 998 * S,
	    .told_ns = 990 * S,
	    .idle_ns = 500 * S },
	  PRAAS_IDLE_BUSY,
	  2 * S },
	{ "it tells nonsense: never more than it has lived",
	  { .serving = true,
	    .since_ns = 999 * S,
	    .told_ns = 990 * S,
	    .idle_ns = ~0ull },
	  PRAAS_IDLE_BUSY,
	  1 * S },
	{ "a time in the future",
	  { .serving = true, .since_ns = 2000 * S },
	  PRAAS_IDLE_BUSY,
	  0 },
};

/* Every row of the table. */
static void test_idle_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		struct praas_idle_input in = table[i].in;
		uint64_t quiet = 7;
		enum praas_idle got;

		in.now_ns = 1000 * S;
		got = praas_idle_decide(&policy, &in, &quiet);
		if (got != table[i].expect || quiet != table[i].quiet_ns)
			fail_msg("%s: %d after %llu ns", table[i].what, (int)got,
				 (unsigned long long)quiet);
	}
}

/* 0 is never. */
static void test_idle_never(void **state)
{
	const struct praas_idle_policy never = { 0 }, shown = { .after_ns = S };
	struct praas_idle_input in = { .serving = true,
				       .since_ns = 1,
				       .now_ns = 1000 * S };
	uint64_t quiet;

	(void)state;
	assert_int_equal(praas_idle_decide(&never, &in, &quiet), PRAAS_IDLE_BUSY);
	assert_int_equal(praas_idle_decide(&shown, &in, &quiet), PRAAS_IDLE_IDLE);
}

/* Each worked a moment ago; calls were counted since. */
static const struct {
	const char *what;
	struct praas_idle_input in;
	enum praas_idle expect;
} slow_table[] = {
	{ "as many as are allowed, for long enough",
	  { .window_ns = 60 * S, .window_calls = 3 },
	  PRAAS_IDLE_SLOW },
	{ "one more", { .window_ns = 60 * S, .window_calls = 4 }, PRAAS_IDLE_BUSY },
	{ "not for long enough",
	  { .window_ns = 60 * S - 1, .window_calls = 0 },
	  PRAAS_IDLE_BUSY },
	{ "not counted yet", { .window_ns = 0, .window_calls = 0 }, PRAAS_IDLE_BUSY },
	{ "something runs", { .window_ns = 90 * S, .running = 1 }, PRAAS_IDLE_BUSY },
	{ "something is queued",
	  { .window_ns = 90 * S, .queued = 1 },
	  PRAAS_IDLE_BUSY },
	{ "a call through REST", { .window_ns = 90 * S, .calls = 1 }, PRAAS_IDLE_BUSY },
	{ "somebody waits", { .window_ns = 90 * S, .waiting = 1 }, PRAAS_IDLE_BUSY },
};

/* Few calls are as none, while nothing is under way; only where that is wanted. */
static void test_idle_few_calls(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(slow_table) / sizeof(*slow_table); i++) {
		struct praas_idle_input in = slow_table[i].in;
		uint64_t quiet;

		in.serving = true;
		in.now_ns = 1000 * S;
		in.since_ns = 999 * S;
		if (praas_idle_decide(&slow, &in, &quiet) != slow_table[i].expect)
			fail_msg("%s", slow_table[i].what);
		assert_int_equal(praas_idle_decide(&policy, &in, &quiet),
				 PRAAS_IDLE_BUSY);
		in.serving = false;
		assert_int_equal(praas_idle_decide(&slow, &in, &quiet),
				 PRAAS_IDLE_BUSY);
	}
}

#define CANDIDATES 4u

static const struct {
	const char *what;
	uint32_t pressure;
	uint64_t after_ns, memory, used;
	struct praas_idle_candidate of[CANDIDATES];
	uint32_t count;
	uint64_t expect
		[CANDIDATES]; /* numbers, in the order in which they go; 0: no more */
} pressure_table[] = {
	{ "nothing is short", 90, S, 1000, 900, { { S, 100, 1 } }, 1, { 0 } },
	{ "one byte is too much", 90, S, 1000, 901, { { S, 100, 1 } }, 1, { 1 } },
	{ "the one that has waited for longest, and no more of them",
	  90,
	  S,
	  1000,
	  950,
	  { { 5 * S, 60, 1 }, { 9 * S, 60, 2 }, { 7 * S, 60, 3 } },
	  3,
	  { 2 } },
	{ "two are needed",
	  50,
	  S,
	  1000,
	  600,
	  { { 5 * S, 60, 1 }, { 9 * S, 60, 2 }, { 7 * S, 60, 3 } },
	  3,
	  { 2, 3 } },
	{ "among equals the larger, then the older",
	  50,
	  S,
	  1000,
	  1000,
	  { { S, 10, 4 }, { S, 90, 3 }, { S, 10, 2 } },
	  3,
	  { 3, 2, 4 } },
	{ "all do not suffice",
	  1,
	  S,
	  1000,
	  900,
	  { { S, 1, 1 }, { S, 1, 2 } },
	  2,
	  { 1, 2 } },
	{ "nobody is idle", 90, S, 1000, 1000, { { 0 } }, 0, { 0 } },
	{ "memory is not counted", 90, S, 0, 1000, { { S, 100, 1 } }, 1, { 0 } },
	{ "never", 0, S, 1000, 1000, { { S, 100, 1 } }, 1, { 0 } },
	{ "no process ever counts as idle",
	  90,
	  0,
	  1000,
	  1000,
	  { { S, 100, 1 } },
	  1,
	  { 0 } },
	{ "all of it may be used", 100, S, 1000, 1000, { { S, 100, 1 } }, 1, { 0 } },
	{ "more is used than there is",
	  100,
	  S,
	  1000,
	  1001,
	  { { S, 100, 1 } },
	  1,
	  { 1 } },
	{ "the largest numbers",
	  90,
	  S,
	  UINT64_MAX,
	  UINT64_MAX,
	  { { S, UINT64_MAX, 1 }, { S, UINT64_MAX, 2 } },
	  2,
	  { 1 } },
};

/* Who makes room on a node that is short of memory. */
static void test_idle_pressure_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(pressure_table) / sizeof(*pressure_table); i++) {
		struct praas_idle_candidate c[CANDIDATES];
		const struct praas_idle_policy p = {
			.after_ns = pressure_table[i].after_ns,
			.pressure = pressure_table[i].pressure
		};
		uint32_t n;

		memcpy(c, pressure_table[i].of, sizeof(c));
		n = praas_idle_relieve(&p, pressure_table[i].memory,
				       pressure_table[i].used, c,
				       pressure_table[i].count);
		for (uint32_t k = 0; k < CANDIDATES; k++)
			if ((k < n ? c[k].number : 0) != pressure_table[i].expect[k])
				fail_msg("%s: %u go", pressure_table[i].what, n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle_table),
		cmocka_unit_test(test_idle_never),
		cmocka_unit_test(test_idle_few_calls),
		cmocka_unit_test(test_idle_pressure_table),
	};

	return cmocka_run_group_tests_name("idle", tests, NULL, NULL);
}
