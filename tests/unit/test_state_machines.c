/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "controller/sm_activate.h"
#include "controller/sm_lifecycle.h"
#include "controller/sm_swap_out.h"
#include "controller/store/slot_log.h"

/* ---- life cycle ---- */

/* The transitions of the paper's figure exist. */
static void test_life_figure_of_the_paper(void **state)
{
	static const struct {
		enum praas_life from;
		enum praas_life_event event;
		enum praas_life to;
	} figure[] = {
		{ PRAAS_LIFE_ACTIVE, PRAAS_LIFE_INVOCATION, PRAAS_LIFE_ACTIVE },
		{ PRAAS_LIFE_ACTIVE, PRAAS_LIFE_IDLE_PERIOD, PRAAS_LIFE_IDLE },
		{ PRAAS_LIFE_IDLE, PRAAS_LIFE_INVOCATION, PRAAS_LIFE_ACTIVE },
		{ PRAAS_LIFE_IDLE, PRAAS_LIFE_SWAP_OUT, PRAAS_LIFE_DRAINING },
		{ PRAAS_LIFE_DRAINING, PRAAS_LIFE_COMMITTED, PRAAS_LIFE_SWAPPED },
		{ PRAAS_LIFE_SWAPPED, PRAAS_LIFE_SWAP_IN, PRAAS_LIFE_ACTIVATING },
		{ PRAAS_LIFE_ACTIVATING, PRAAS_LIFE_ACTIVATED, PRAAS_LIFE_ACTIVE },
		{ PRAAS_LIFE_ACTIVE, PRAAS_LIFE_KILL, PRAAS_LIFE_KILLED },
		{ PRAAS_LIFE_SWAPPED, PRAAS_LIFE_REMOVE, PRAAS_LIFE_KILLED },
		{ PRAAS_LIFE_NONE, PRAAS_LIFE_CREATE, PRAAS_LIFE_ACTIVATING },
	};
	enum praas_life to;

	(void)state;
	for (size_t i = 0; i < sizeof(figure) / sizeof(*figure); i++) {
		assert_int_equal(praas_life_next(figure[i].from, figure[i].event, &to),
				 0);
		assert_int_equal(to, figure[i].to);
	}
}

/* Killed is final; every other state can be killed; every state has a name. */
static void test_life_killed_is_final(void **state)
{
	enum praas_life to;

	(void)state;
	for (int s = 0; s < PRAAS_LIFE_COUNT; s++) {
		assert_string_not_equal(praas_life_name((enum praas_life)s), "?");
		if (s != PRAAS_LIFE_KILLED)
			assert_int_equal(praas_life_next((enum praas_life)s,
							 PRAAS_LIFE_KILL, &to),
					 0);
		for (int e = 0; e < PRAAS_LIFE_EVENTS; e++)
			if (s == PRAAS_LIFE_KILLED)
				assert_int_equal(
					praas_life_next((enum praas_life)s,
							(enum praas_life_event)e, &to),
					-EINVAL);
	}
	assert_int_equal(praas_life_next(PRAAS_LIFE_COUNT, PRAAS_LIFE_KILL, &to),
			 -EINVAL);
	assert_string_equal(praas_life_name(PRAAS_LIFE_COUNT), "?");
}

/* ---- activation ---- */

/* What its driver knows: what was asked for and not reported yet. */
struct activation {
	struct praas_activate a;
	bool reading, putting, loading, served, settled, failed, act_in;
	uint64_t loaded, act_slot;
	bool loaded_ok;
};

static void activate(struct activation *x, const struct praas_activate_event *e)
{
	struct praas_activate_action actions[PRAAS_ACTIVATE_ACTIONS_MAX];
	unsigned n = praas_activate_step(&x->a, e, actions);

	assert_true(n <= PRAAS_ACTIVATE_ACTIONS_MAX);
	if (n > 0)
		assert_false(x->failed);
	for (unsigned i = 0; i < n; i++) {
		switch (actions[i].kind) {
		case PRAAS_ACTIVATE_READ_LOG:
			x->reading = true;
			break;
		case PRAAS_ACTIVATE_PUT_ACT:
			assert_false(x->putting);
			x->putting = true;
			break;
		case PRAAS_ACTIVATE_LOAD:
			assert_false(x->loading);
			assert_false(x->served);
			x->loading = true;
			x->loaded = actions[i].slot;
			x->loaded_ok = false;
			break;
		case PRAAS_ACTIVATE_SERVE:
			assert_false(x->served);
			assert_false(x->loading);
			x->served = true;
			break;
		case PRAAS_ACTIVATE_SETTLED:
			assert_true(x->served);
			assert_true(x->act_in);
			assert_false(x->settled);
			/* What is served is the last snapshot before our ACT. */
			assert_int_equal(x->loaded, x->act_slot);
			x->settled = true;
			break;
		case PRAAS_ACTIVATE_FAIL:
			assert_int_not_equal(actions[i].rc, 0);
			x->failed = true;
			break;
		}
	}
}

/* One of 12 events; the driver's knowledge follows only what can really be reported. */
static void activation_event(struct activation *x, unsigned choice)
{
	struct praas_activate_event e = { .slot = PRAAS_SLOT_NONE };

	switch (choice) {
	case 0:
		e = (struct praas_activate_event){ .kind = PRAAS_ACTIVATE_START,
						   .epoch = 5 };
		break;
	case 1:
	case 2:
	case 3:
	case 4:
	case 5:
	case 6:
		if (!x->reading)
			return;
		x->reading = false;
		e.kind = PRAAS_ACTIVATE_LOG_READ;
		e.epoch = choice == 1 ? 0 : choice == 4 ? 5 : 4;
		e.slot = choice == 2 ? 3 : PRAAS_SLOT_NONE;
		e.tomb = choice == 5;
		e.rc = choice == 6 ? -EIO : 0;
		break;
	case 7:
	case 8:
	case 9:
		if (!x->putting)
			return;
		x->putting = false;
		e.kind = PRAAS_ACTIVATE_ACT_PUT;
		e.rc = choice == 9 ? -ESTALE : 0;
		/* 8: a snapshot slipped in; else the one that was read. */
		e.slot = choice == 8 ? 7 : x->loaded;
		x->act_in = e.rc == 0;
		x->act_slot = e.slot;
		break;
	default:
		if (!x->loading)
			return;
		x->loading = false;
		e.kind = PRAAS_ACTIVATE_LOADED;
		e.rc = choice == 11 ? -EPROTO : 0;
		x->loaded_ok = e.rc == 0;
		break;
	}
	activate(x, &e);
}

/* All orders of seven events: never two serves, never a settled epoch without its ACT or with
 * another snapshot than the last; nothing after a failure. */
static void test_activate_all_orders(void **state)
{
	enum { EVENTS = 12, LENGTH = 6 };
	uint64_t sequences = 1, settled = 0, failed = 0;

	(void)state;
	for (unsigned i = 0; i < LENGTH; i++)
		sequences *= EVENTS;
	for (uint64_t s = 0; s < sequences; s++) {
		struct activation x = { .loaded = PRAAS_SLOT_NONE };
		uint64_t rest = s;

		activation_event(&x, 0);
		for (unsigned i = 0; i < LENGTH; i++, rest /= EVENTS)
			activation_event(&x, (unsigned)(rest % EVENTS));
		settled += x.settled;
		failed += x.failed;
	}
	assert_true(settled > 0);
	assert_true(failed > 0);
}

/* A new process serves before its ACT is in; a known one does not. */
static void test_activate_new_process_serves_at_once(void **state)
{
	struct activation x = { .loaded = PRAAS_SLOT_NONE };
	struct activation y = { .loaded = PRAAS_SLOT_NONE };

	(void)state;
	activation_event(&x, 0);
	activation_event(&x, 1);
	assert_true(x.served);
	assert_false(x.settled);
	activation_event(&x, 7);
	assert_true(x.settled);
	activation_event(&y, 0);
	activation_event(&y, 2);
	assert_false(y.served);
	activation_event(&y, 8); /* another snapshot slipped in */
	activation_event(&y, 10);
	assert_false(y.served);
	assert_true(y.loading);
	assert_int_equal(y.loaded, 7);
	activation_event(&y, 10);
	assert_true(y.settled);
}

/* ---- swap-out ---- */

struct swapping {
	struct praas_swap s;
	bool gate_closed, waits_quiet, interrupting, cutting, has_cut, writing, putting;
	bool put_final, unknown, over, settled, handing;
	unsigned asked, answered;
};

static void swap_action(struct swapping *x, const struct praas_swap_action *a)
{
	assert_false(x->over);
	switch (a->kind) {
	case PRAAS_SWAP_CLOSE_GATE:
		assert_false(x->gate_closed);
		x->gate_closed = true;
		break;
	case PRAAS_SWAP_OPEN_GATE:
		assert_true(x->gate_closed);
		assert_false(x->unknown && x->put_final); /* no way back */
		x->gate_closed = false;
		x->waits_quiet = false;
		break;
	case PRAAS_SWAP_WAIT_QUIET:
		assert_true(x->gate_closed);
		x->waits_quiet = true;
		break;
	case PRAAS_SWAP_INTERRUPT:
		assert_true(x->gate_closed);
		x->interrupting = true;
		break;
	case PRAAS_SWAP_CUT:
		assert_false(x->cutting || x->has_cut || x->writing || x->putting);
		assert_true(x->settled); /* nothing is committed before ACT */
		x->cutting = true;
		break;
	case PRAAS_SWAP_WRITE:
		assert_true(x->has_cut);
		x->writing = true;
		break;
	case PRAAS_SWAP_PUT:
		assert_true(x->has_cut);
		assert_int_equal(a->final, x->gate_closed);
		x->putting = true;
		x->put_final = a->final;
		break;
	case PRAAS_SWAP_HAND_OVER:
		assert_true(x->has_cut && x->gate_closed);
		x->handing = true;
		break;
	case PRAAS_SWAP_HAND_OFF:
		assert_true(x->handing);
		break;
	case PRAAS_SWAP_DROP:
		assert_false(x->writing || x->putting || x->handing);
		x->has_cut = false;
		break;
	case PRAAS_SWAP_ANSWER:
		x->answered++;
		assert_true(x->answered <= x->asked);
		break;
	case PRAAS_SWAP_EXIT:
		assert_true(a->rc == 0 || a->rc == -ESTALE);
		x->over = true;
		break;
	}
}

/* The event of that number; *ret_wanted: what has to have been asked for, NULL: nothing. */
static struct praas_swap_event swap_choose(struct swapping *x, unsigned choice,
					   bool **ret_wanted)
{
	static const struct {
		enum praas_swap_event_kind kind;
		int rc;
	} events[] = {
		{ PRAAS_SWAP_ASK_SWAP, 0 },       { PRAAS_SWAP_ASK_CHECKPOINT, 0 },
		{ PRAAS_SWAP_ASK_CANCEL, 0 },     { PRAAS_SWAP_QUIET, 0 },
		{ PRAAS_SWAP_TIMEOUT, 0 },        { PRAAS_SWAP_CUT_DONE, 0 },
		{ PRAAS_SWAP_CUT_DONE, -ENOMEM }, { PRAAS_SWAP_WRITTEN, 0 },
		{ PRAAS_SWAP_WRITTEN, -ENOSPC },  { PRAAS_SWAP_PUT_DONE, 0 },
		{ PRAAS_SWAP_PUT_DONE, -EIO },    { PRAAS_SWAP_PUT_DONE, -ENOSPC },
		{ PRAAS_SWAP_PUT_DONE, -ESTALE }, { PRAAS_SWAP_SETTLED, 0 },
		{ PRAAS_SWAP_ASK_MOVE, 0 },       { PRAAS_SWAP_HANDED, 0 },
		{ PRAAS_SWAP_HANDED, -EPIPE },    { PRAAS_SWAP_HANDED, -ESTALE },
	};
	struct praas_swap_event e = { .kind = events[choice].kind,
				      .rc = events[choice].rc };
	bool *wanted[] = { [PRAAS_SWAP_QUIET] = &x->waits_quiet,
			   [PRAAS_SWAP_CUT_DONE] = &x->cutting,
			   [PRAAS_SWAP_WRITTEN] = &x->writing,
			   [PRAAS_SWAP_PUT_DONE] = &x->putting,
			   [PRAAS_SWAP_HANDED] = &x->handing };

	*ret_wanted = wanted[e.kind];
	if (e.kind == PRAAS_SWAP_ASK_SWAP || e.kind == PRAAS_SWAP_ASK_CHECKPOINT ||
	    e.kind == PRAAS_SWAP_ASK_MOVE)
		e.id = ++x->asked;
	x->settled |= e.kind == PRAAS_SWAP_SETTLED;
	return e;
}

/* 1: the event was possible. */
static bool swap_event(struct swapping *x, unsigned choice)
{
	struct praas_swap_action actions[PRAAS_SWAP_ACTIONS_MAX];
	bool *wanted;
	struct praas_swap_event e = swap_choose(x, choice, &wanted);
	unsigned n;

	if (x->over || (wanted && !*wanted))
		return false;
	if (wanted)
		*wanted = false;
	if (e.kind == PRAAS_SWAP_CUT_DONE)
		x->has_cut = e.rc == 0;
	if (e.kind == PRAAS_SWAP_PUT_DONE)
		x->unknown = e.rc == -EIO || (x->unknown && e.rc == -ENOSPC);
	n = praas_swap_step(&x->s, &e, actions);
	assert_true(n <= PRAAS_SWAP_ACTIONS_MAX);
	for (unsigned i = 0; i < n; i++)
		swap_action(x, &actions[i]);
	return true;
}

/* Random orders of events, a hundred thousand times: the rules of swap_action() hold, and when
 * everything that was asked for is reported, every request has its one answer. */
static void test_swap_random_orders(void **state)
{
	enum { CHOICES = 18 };
	uint64_t seed = 88172645463325252u, exits = 0;

	(void)state;
	for (unsigned run = 0; run < 100000; run++) {
		struct swapping x = { 0 };

		for (unsigned i = 0; i < 40 && !x.over; i++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			(void)swap_event(&x, (unsigned)(seed >> 33) % CHOICES);
		}
		/* Report success to all that is under way until nothing is. */
		(void)swap_event(&x, 13);
		for (unsigned i = 0; i < 50 && !x.over; i++) {
			static const unsigned good[] = { 3, 5, 7, 9, 15 };

			(void)swap_event(&x, good[i % 5]);
		}
		assert_int_equal(x.answered, x.asked);
		exits += x.over;
	}
	assert_true(exits > 0);
}

/* All orders of the first six events. */
static void test_swap_all_orders(void **state)
{
	enum { CHOICES = 18, LENGTH = 6 };
	static const unsigned first[] = { 0, 1, 14 };
	uint64_t sequences = 1;

	(void)state;
	for (unsigned i = 1; i < LENGTH; i++)
		sequences *= CHOICES;
	for (uint64_t s = 0; s < sequences; s++) {
		struct swapping x = { 0 };
		uint64_t rest = s;

		(void)swap_event(&x, 13);
		(void)swap_event(&x, first[s % 3]);
		for (unsigned i = 1; i < LENGTH; i++, rest /= CHOICES)
			if (!swap_event(&x, (unsigned)(rest % CHOICES)))
				break;
	}
}

/* The plain stories, step by step. */
static void test_swap_stories(void **state)
{
	struct swapping x = { 0 };

	(void)state;
	assert_true(swap_event(&x, 13));
	assert_true(swap_event(&x, 1)); /* checkpoint */
	assert_true(swap_event(&x, 5) && swap_event(&x, 7) && swap_event(&x, 9));
	assert_int_equal(x.answered, 1);
	assert_false(x.gate_closed);
	assert_true(swap_event(&x, 0)); /* swap-out, called off */
	assert_true(x.gate_closed);
	assert_true(swap_event(&x, 2));
	assert_false(x.gate_closed);
	assert_int_equal(x.answered, 2);
	assert_true(swap_event(&x, 0)); /* swap-out, store full */
	assert_true(swap_event(&x, 3) && swap_event(&x, 5) && swap_event(&x, 8));
	assert_false(x.gate_closed);
	assert_true(
		swap_event(&x, 0)); /* swap-out, functions interrupted, response lost */
	assert_true(swap_event(&x, 4));
	assert_true(x.interrupting);
	assert_true(swap_event(&x, 3) && swap_event(&x, 5) && swap_event(&x, 7));
	assert_true(swap_event(&x, 10));
	assert_true(x.putting && !x.over);
	assert_true(swap_event(&x, 9));
	assert_true(x.over);
	assert_int_equal(x.answered, 4);
}

/* A move: to its end, and called off at each step; what is asked for meanwhile is answered. */
static void test_swap_move_stories(void **state)
{
	struct swapping x = { 0 };

	(void)state;
	assert_true(swap_event(&x, 13) && swap_event(&x, 14));
	assert_true(x.gate_closed);
	assert_true(swap_event(&x, 2)); /* called off while functions run */
	assert_false(x.gate_closed);
	assert_true(swap_event(&x, 14) && swap_event(&x, 3) && swap_event(&x, 5));
	assert_true(x.handing && !x.writing && !x.putting);
	assert_true(swap_event(&x, 0)); /* a swap-out has to come again */
	assert_int_equal(x.answered, 2);
	assert_true(swap_event(&x, 2)); /* called off: whoever hands over decides */
	assert_true(x.handing && x.gate_closed);
	assert_true(swap_event(&x, 16));
	assert_false(x.gate_closed || x.over);
	assert_int_equal(x.answered, 3);
	assert_true(swap_event(&x, 1) && swap_event(&x, 14)); /* behind a checkpoint */
	assert_false(x.gate_closed);
	assert_true(swap_event(&x, 5) && swap_event(&x, 7) && swap_event(&x, 9));
	assert_true(x.gate_closed);
	assert_true(swap_event(&x, 3) && swap_event(&x, 5) && x.handing);
	assert_true(swap_event(&x, 15));
	assert_true(x.over);
	assert_int_equal(x.answered, x.asked);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life_figure_of_the_paper),
		cmocka_unit_test(test_life_killed_is_final),
		cmocka_unit_test(test_activate_all_orders),
		cmocka_unit_test(test_activate_new_process_serves_at_once),
		cmocka_unit_test(test_swap_random_orders),
		cmocka_unit_test(test_swap_all_orders),
		cmocka_unit_test(test_swap_stories),
		cmocka_unit_test(test_swap_move_stories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
