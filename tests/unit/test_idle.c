/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/life/idle.h"

#define S 1000000000ull

/* after 10 s IDLE, after 60 s swapped out; now is 1000 s. */
static const struct praas_idle_policy policy = { .after_ns = 10 * S,
						 .swap_ns = 60 * S };

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle_table),
		cmocka_unit_test(test_idle_never),
	};

	return cmocka_run_group_tests_name("idle", tests, NULL, NULL);
}
