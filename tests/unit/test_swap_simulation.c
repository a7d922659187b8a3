/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/sm_activate.h"
#include "controller/sm_swap_out.h"
#include "controller/store/slot_log.h"

/*
 * Several controllers of one process, each with a later epoch, over one store: the production state
 * machines and the production slot log, one action at a time, in an order that a seed decides.
 * Controllers stop for ever at any point (crash), wait for long (pause) and go on, operations of
 * the store fail before or after they were done. The "state" is a number, raised by one by each
 * epoch at each commit; the snapshot holds it.
 *
 * What must hold: epochs do not decrease along the log; whoever serves loaded exactly the
 * last snapshot before its ACT; a commit that was reported is in the log, and one that was denied
 * is not; so the number in the log never skips and never goes back.
 */

#define CONTROLLERS 4u
#define STEPS 200u
#define EVENTS 8u

static const struct praas_slot_id id = { .pid = 1, .generation = 1 };

struct sim;

struct controller {
	struct sim *sim;
	uint32_t epoch;
	bool started, crashed, serving, over;
	struct praas_slot_log log;
	struct praas_activate activate;
	struct praas_swap swap;
	struct praas_slot_entry act, commit;
	uint64_t value, next_value;
	/* Actions not done yet: done one by one in random order of controllers. */
	struct {
		bool swap;
		int kind;
		bool final;
		uint64_t slot;
	} due[EVENTS];
	unsigned due_count;
};

struct sim {
	struct praas_store *store;
	uint64_t random;
	unsigned fault_percent;
	struct controller c[CONTROLLERS];
	uint64_t commits, fenced, loads;
};

static uint64_t next_random(struct sim *s)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return s->random >> 20;
}

static int fault(void *user, const char *op, const char *key, int done)
{
	struct sim *s = user;

	(void)key;
	(void)done;
	if (strcmp(op, "put_if_absent") != 0)
		return 0; /* reads are tried again by whoever needs them */
	return next_random(s) % 100 < s->fault_percent ? -EIO : 0;
}

static void add_due(struct controller *c, bool swap, int kind, bool final,
		    uint64_t slot)
{
	assert_true(c->due_count < EVENTS);
	c->due[c->due_count].swap = swap;
	c->due[c->due_count].kind = kind;
	c->due[c->due_count].final = final;
	c->due[c->due_count++].slot = slot;
}

static void activate(struct controller *c, struct praas_activate_event e)
{
	struct praas_activate_action actions[PRAAS_ACTIVATE_ACTIONS_MAX];
	unsigned n = praas_activate_step(&c->activate, &e, actions);

	for (unsigned i = 0; i < n; i++)
		add_due(c, false, (int)actions[i].kind, false, actions[i].slot);
}

static void swap(struct controller *c, struct praas_swap_event e)
{
	struct praas_swap_action actions[PRAAS_SWAP_ACTIONS_MAX];
	unsigned n = praas_swap_step(&c->swap, &e, actions);

	for (unsigned i = 0; i < n; i++)
		add_due(c, true, (int)actions[i].kind, actions[i].final, 0);
}

static uint64_t value_of(const struct praas_slot_entry *e)
{
	uint64_t value;

	assert_int_equal(e->body_bytes, sizeof(value));
	memcpy(&value, e->body, sizeof(value));
	return value;
}

static void do_activate(struct controller *c, int kind, uint64_t slot)
{
	struct praas_activate_event e = { 0 };

	switch ((enum praas_activate_action_kind)kind) {
	case PRAAS_ACTIVATE_READ_LOG:
		e.kind = PRAAS_ACTIVATE_LOG_READ;
		e.rc = praas_slot_log_open(c->sim->store, &id, &c->log);
		e.epoch = c->log.epoch_max;
		e.tomb = c->log.tomb;
		e.slot = c->log.snapshot_slot;
		activate(c, e);
		break;
	case PRAAS_ACTIVATE_PUT_ACT:
		c->act.epoch = c->epoch;
		c->act.kind = PRAAS_SLOT_ACT;
		e.kind = PRAAS_ACTIVATE_ACT_PUT;
		e.rc = praas_slot_log_put(&c->log, &c->act);
		e.slot = c->log.snapshot_slot;
		activate(c, e);
		break;
	case PRAAS_ACTIVATE_LOAD:
		e.kind = PRAAS_ACTIVATE_LOADED;
		e.rc = praas_slot_log_read(&c->log, slot, &c->commit);
		assert_int_equal(e.rc, 0);
		c->value = value_of(&c->commit);
		c->sim->loads++;
		activate(c, e);
		break;
	case PRAAS_ACTIVATE_SERVE:
		c->serving = true;
		break;
	case PRAAS_ACTIVATE_SETTLED:
		swap(c, (struct praas_swap_event){ .kind = PRAAS_SWAP_SETTLED });
		break;
	case PRAAS_ACTIVATE_FAIL:
		c->over = true;
		break;
	}
}

static void do_put(struct controller *c, bool final)
{
	struct praas_swap_event e = { .kind = PRAAS_SWAP_PUT_DONE };

	c->commit.kind = final ? PRAAS_SLOT_REL : PRAAS_SLOT_SNAP;
	e.rc = praas_slot_log_put(&c->log, &c->commit);
	if (e.rc == 0) {
		c->sim->commits++;
		c->value = c->next_value;
	}
	swap(c, e);
}

static void do_swap(struct controller *c, int kind, bool final)
{
	struct praas_swap_event e = { 0 };

	switch ((enum praas_swap_action_kind)kind) {
	case PRAAS_SWAP_CUT:
		c->next_value = c->value + 1;
		e.kind = PRAAS_SWAP_CUT_DONE;
		swap(c, e);
		break;
	case PRAAS_SWAP_WRITE:
		memset(&c->commit, 0, sizeof(c->commit));
		c->commit.epoch = c->epoch;
		c->commit.body_bytes = sizeof(c->next_value);
		memcpy(c->commit.body, &c->next_value, sizeof(c->next_value));
		e.kind = PRAAS_SWAP_WRITTEN;
		e.rc = next_random(c->sim) % 10 == 0 ? -ENOSPC : 0;
		swap(c, e);
		break;
	case PRAAS_SWAP_PUT:
		do_put(c, final);
		break;
	case PRAAS_SWAP_WAIT_QUIET:
		e.kind = PRAAS_SWAP_QUIET;
		swap(c, e);
		break;
	case PRAAS_SWAP_EXIT:
		c->over = true;
		break;
	case PRAAS_SWAP_CLOSE_GATE:
	case PRAAS_SWAP_OPEN_GATE:
	case PRAAS_SWAP_INTERRUPT:
	case PRAAS_SWAP_DROP:
	case PRAAS_SWAP_ANSWER:
		break;
	}
}

/* One action of one controller, or a new request for it. */
static void step(struct controller *c)
{
	struct sim *s = c->sim;

	if (!c->started) {
		c->started = true;
		activate(c, (struct praas_activate_event){ .kind = PRAAS_ACTIVATE_START,
							   .epoch = c->epoch });
	} else if (c->due_count > 0) {
		int kind = c->due[0].kind;
		bool final = c->due[0].final, is_swap = c->due[0].swap;
		uint64_t slot = c->due[0].slot;

		c->due_count--;
		memmove(c->due, c->due + 1, c->due_count * sizeof(*c->due));
		if (is_swap)
			do_swap(c, kind, final);
		else
			do_activate(c, kind, slot);
	} else if (c->serving) {
		swap(c, (struct praas_swap_event){
				.kind = next_random(s) % 4 ? PRAAS_SWAP_ASK_CHECKPOINT
							   : PRAAS_SWAP_ASK_SWAP,
				.id = 1 });
	}
	if (next_random(s) % 60 == 0)
		c->crashed = true;
}

static void check_log(struct sim *s)
{
	struct praas_slot_entry *e = calloc(1, sizeof(*e));
	struct praas_slot_log log;
	uint64_t value = 0;
	uint32_t epoch = 0;

	assert_non_null(e);
	praas_store_memory_faults(s->store, NULL, NULL);
	assert_int_equal(praas_slot_log_open(s->store, &id, &log), 0);
	for (uint64_t slot = 0; slot < log.cursor; slot++) {
		assert_int_equal(praas_slot_log_read(&log, slot, e), 0);
		assert_true(e->epoch >= epoch);
		if (e->epoch > epoch)
			assert_int_equal(e->kind, PRAAS_SLOT_ACT);
		epoch = e->epoch;
		if (e->kind == PRAAS_SLOT_ACT)
			continue;
		assert_int_equal(value_of(e), value + 1);
		value++;
	}
	/* Every commit that was reported is there; one whose response was lost may be, too. */
	assert_true(value >= s->commits);
	assert_true(value <= s->commits + CONTROLLERS);
	free(e);
}

static void simulate(uint64_t seed, struct sim *s)
{
	memset(s, 0, sizeof(*s));
	s->random = seed * 2654435761u + 88172645463325252u;
	s->fault_percent = (unsigned)(seed % 3) * 20;
	assert_int_equal(praas_store_memory_open(&s->store), 0);
	praas_store_memory_faults(s->store, fault, s);
	for (unsigned i = 0; i < CONTROLLERS; i++) {
		s->c[i].sim = s;
		s->c[i].epoch = i + 1;
	}
	for (unsigned i = 0; i < STEPS; i++) {
		/* Later epochs begin later; earlier ones go on, however late. */
		unsigned alive = 1 + i * CONTROLLERS / STEPS;
		struct controller *c = &s->c[next_random(s) % alive];

		if (!c->crashed && !c->over)
			step(c);
	}
	for (unsigned i = 0; i < CONTROLLERS; i++)
		s->fenced += s->c[i].log.fenced;
	check_log(s);
	praas_store_free(s->store);
}

/* Thousands of seeds. PRAAS_SEEDS runs more. */
static void test_swap_simulation_one_epoch_commits(void **state)
{
	const char *more = getenv("PRAAS_SEEDS");
	uint64_t seeds = more ? strtoull(more, NULL, 10) : 3000;
	uint64_t commits = 0, fenced = 0, loads = 0;
	struct sim *s = malloc(sizeof(*s));

	(void)state;
	assert_non_null(s);
	for (uint64_t seed = 1; seed <= seeds; seed++) {
		simulate(seed, s);
		commits += s->commits;
		fenced += s->fenced;
		loads += s->loads;
	}
	free(s);
	/* The simulation does something. */
	assert_true(commits > seeds);
	assert_true(fenced > seeds / 10);
	assert_true(loads > seeds / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_swap_simulation_one_epoch_commits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
