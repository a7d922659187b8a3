/* SPDX-License-Identifier: Apache-2.0
 *
 * The world of the simulator of named snapshots: randomness, whose turn it is, a seed from its beginning to
 * its end (named.h).
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "control/life/ownership.h"
#include "tests/sim/named.h"

/* ThreadSanitizer has to be told of every change of contexts: each is a fiber to it. */
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#else
#define __tsan_get_current_fiber() NULL
#define __tsan_create_fiber(flags) NULL
#define __tsan_destroy_fiber(fiber) (void)(fiber)
#define __tsan_switch_to_fiber(fiber, flags) (void)(fiber)
#endif

#define STACK_BYTES (256u * 1024u)
#define TURNS 24u     /* of the control service, with faults */
#define TURN_STEPS 50 /* on average, between two of them */

static struct world *the_world;

/* Nonces are of the seed, too. */
ssize_t getrandom(void *data, size_t bytes, unsigned flags)
{
	uint8_t *to = data;

	(void)flags;
	for (size_t i = 0; i < bytes; i++)
		to[i] = (uint8_t)(world_random(the_world) >> 32);
	return (ssize_t)bytes;
}

uint64_t world_random(struct world *w)
{
	uint64_t z = w->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t world_below(struct world *w, uint64_t below)
{
	return world_random(w) % below;
}

void world_mix(struct world *w, uint64_t x)
{
	w->hash = (w->hash ^ x) * UINT64_C(0x100000001b3);
	w->hash ^= w->hash >> 29;
}

void world_violation(struct world *w, const char *format, ...)
{
	va_list args;

	if (w->failed)
		return;
	w->failed = true;
	va_start(args, format);
	(void)vsnprintf(w->why, sizeof(w->why), format, args);
	va_end(args);
	world_trace(w, "VIOLATION: %s", w->why);
}

void world_trace(const struct world *w, const char *format, ...)
{
	static const char *const jobs[] = { "controller", "give", "take", "back",
					    "fork" };
	va_list args;

	if (!w->verbose)
		return;
	if (w->current)
		(void)printf("%6u %s %u: ", w->steps, jobs[w->current->job],
			     w->current->job == JOB_CONTROLLER ? w->current->epoch
							       : w->current->name);
	va_start(args, format);
	(void)vprintf(format, args);
	va_end(args);
	(void)printf("\n");
}

/* It goes on itself, without a change of contexts. */
static bool goes_on(struct world *w)
{
	unsigned alive = 0;

	if (w->budget == 0 || !w->current->alive)
		return false;
	for (unsigned i = 0; i < ACTORS; i++)
		alive += w->actors[i].alive;
	if (world_below(w, alive) != 0)
		return false;
	w->budget--;
	w->steps++;
	return true;
}

void world_yield(struct world *w)
{
	struct actor *a = w->current;

	if (w->steps > STEPS_MAX) {
		world_violation(w, "%u steps and no end", w->steps);
		a->dead = true;
	}
	if (goes_on(w))
		return;
	__tsan_switch_to_fiber(w->main_fiber, 0);
	if (swapcontext(&a->context, &w->main) != 0)
		abort();
}

/* ---- turns ---- */

static void run_actor(void)
{
	struct world *w = the_world;
	struct actor *a = w->current;

	actor_run(w, a);
	a->alive = false;
	world_yield(w);
}

static void context_begin(struct actor *a)
{
	if (getcontext(&a->context) != 0)
		abort();
	if (a->fiber)
		__tsan_destroy_fiber(a->fiber);
	a->fiber = __tsan_create_fiber(0);
	a->context.uc_stack.ss_sp = a->stack;
	a->context.uc_stack.ss_size = STACK_BYTES;
	makecontext(&a->context, run_actor, 0);
}

static struct actor *start(struct world *w, enum job job)
{
	for (unsigned i = 0; i < ACTORS; i++) {
		struct actor *a = &w->actors[i];
		uint8_t *stack = a->stack;
		void *fiber = a->fiber;

		if (a->alive)
			continue;
		memset(a, 0, sizeof(*a));
		a->stack = stack;
		a->fiber = fiber;
		a->world = w;
		a->job = job;
		a->alive = true;
		context_begin(a);
		return a;
	}
	return NULL;
}

static void resume(struct world *w, struct actor *a)
{
	w->current = a;
	w->steps++;
	world_mix(w, (uint64_t)(a - w->actors));
	__tsan_switch_to_fiber(a->fiber, 0);
	if (swapcontext(&w->main, &a->context) != 0)
		abort();
	w->current = NULL;
}

static struct actor *find(struct world *w, bool controllers)
{
	for (unsigned i = 0; i < ACTORS; i++)
		if (w->actors[i].alive &&
		    (w->actors[i].job == JOB_CONTROLLER) == controllers)
			return &w->actors[i];
	return NULL;
}

/* Of whom the record says that it owns the process. */
static struct actor *owner(struct world *w)
{
	for (unsigned i = 0; i < ACTORS; i++)
		if (w->actors[i].alive && w->actors[i].job == JOB_CONTROLLER &&
		    w->actors[i].epoch == w->epoch)
			return &w->actors[i];
	return NULL;
}

/* It rests: nobody owns it. Or the owner is taken for gone, and is not. */
static bool rests(struct world *w)
{
	const struct actor *a = owner(w);

	if (a && (w->faults & FAULT_ZOMBIE) && w->faulty && world_below(w, 6) == 0)
		return true;
	return !a;
}

static void wake(struct world *w)
{
	const struct praas_owner o = { .epoch = w->epoch };
	struct praas_owner_log seen = { 0 };
	struct actor *a;

	if (w->process.count > 0)
		seen.epoch = w->process.slots[w->process.count - 1].epoch;
	a = start(w, JOB_CONTROLLER);
	if (!a)
		return;
	w->epoch = a->epoch = praas_owner_next_epoch(&o, &seen);
	w->swap_wanted = false;
}

/* One that is there, as a rule, or any. */
static unsigned a_name(struct world *w, bool there)
{
	unsigned name = (unsigned)world_below(w, NAMES);

	for (unsigned i = 0; there && i < NAMES && world_below(w, 8) != 0; i++) {
		if (w->names[name].there)
			break;
		name = (name + 1) % NAMES;
	}
	return name;
}

/* One thing after the other is done to the snapshots of a process. */
static void turn(struct world *w)
{
	enum job job = (enum job)(JOB_GIVE + world_below(w, 4));
	struct actor *a;

	if (w->back_wanted && rests(w)) {
		job = JOB_BACK;
	} else if (world_below(w, 3) == 0) {
		if (rests(w))
			wake(w);
		else if (world_below(w, 2) == 0)
			w->swap_wanted = true;
		return;
	}
	if (job == JOB_BACK && !w->back_wanted && !rests(w)) {
		w->back_wanted = w->swap_wanted = true;
		return;
	}
	if (job == JOB_FORK && w->forks_count == FORKS)
		job = JOB_GIVE;
	a = find(w, false) ? NULL : start(w, job);
	if (!a)
		return;
	w->back_wanted &= job != JOB_BACK;
	a->name = a_name(w, job != JOB_GIVE);
	a->last = job == JOB_FORK && world_below(w, 2) == 0;
}

/* Whoever is there goes on; nobody comes. False: nobody is. */
static bool step(struct world *w)
{
	unsigned first = (unsigned)world_below(w, ACTORS);

	for (unsigned i = 0; i < ACTORS; i++) {
		struct actor *a = &w->actors[(first + i) % ACTORS];

		if (!a->alive)
			continue;
		resume(w, a);
		return true;
	}
	return false;
}

/* ---- a seed ---- */

/* All come to their end. */
static void settle(struct world *w)
{
	w->swap_wanted = true;
	do
		w->budget = STEPS_MAX;
	while (step(w));
}

static void end_checks(struct world *w)
{
	struct content c;

	for (unsigned i = 0; i < w->forks_count; i++)
		if (sim_store_content(w->forks[i].inner, &w->forks[i].id, 0, &c) != 0 ||
		    memcmp(&c, &w->fork_content[i], sizeof(c)) != 0)
			world_violation(w, "fork %u is not what it was", i);
	sim_store_check_garbage(w, &w->process);
}

/* Without faults: it wakes, saves and rests; wakes once more and sweeps, and nothing is left that nobody
 * needs. */
static void finish(struct world *w)
{
	w->faulty = false;
	settle(w);
	wake(w);
	settle(w);
	w->tidy = true;
	wake(w);
	settle(w);
	if (!w->failed && w->process.slots[w->process.count - 1].kind != PRAAS_SLOT_ACT)
		world_violation(w, "it does not serve");
	if (!w->failed)
		end_checks(w);
}

bool world_begin(struct world *w)
{
	the_world = w;
	w->main_fiber = __tsan_get_current_fiber();
	for (unsigned i = 0; i < ACTORS; i++) {
		w->actors[i].stack = malloc(STACK_BYTES);
		if (!w->actors[i].stack)
			return false;
	}
	return true;
}

void world_end(struct world *w)
{
	for (unsigned i = 0; i < ACTORS; i++) {
		if (w->actors[i].fiber)
			__tsan_destroy_fiber(w->actors[i].fiber);
		free(w->actors[i].stack);
	}
}

bool world_run(struct world *w, uint64_t seed, unsigned faults)
{
	w->random = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
	w->hash = UINT64_C(0xcbf29ce484222325);
	w->faults = faults;
	w->faulty = true;
	/* Now and then a store that can hardly be written. */
	w->trouble = world_below(w, 8) == 0 ? 700 : 30;
	w->failed = w->swap_wanted = w->back_wanted = w->tidy = false;
	w->why[0] = '\0';
	w->steps = w->forks_count = 0;
	w->epoch = w->values = 0;
	memset(w->names, 0, sizeof(w->names));
	if (!sim_store_open(w, &w->process, 7))
		abort();
	for (unsigned i = 0; i < TURNS && !w->failed; i++) {
		turn(w);
		w->budget = (unsigned)world_below(w, 2 * TURN_STEPS);
		while (w->budget > 0 && step(w))
			w->budget -= w->budget > 0;
	}
	finish(w);
	for (unsigned i = 0; i < w->forks_count; i++)
		sim_store_close(&w->forks[i]);
	sim_store_close(&w->process);
	return !w->failed;
}
