/* SPDX-License-Identifier: Apache-2.0
 *
 * usage: sim [--seeds N] [--from N] [--repeat] [--expect-failure] [--trace SEED]
 *
 * Runs seeds FROM … FROM + N - 1. A seed that shows a violation is shrunk: what is printed is the least
 * plan that still shows it, and the exit code is 1. --repeat runs each seed twice and compares the
 * traces. --expect-failure turns the exit code around (for mutants). --trace prints one seed
 * event by event.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/sim.h"

struct options {
	uint64_t seeds, from, trace;
	bool repeat, expect_failure;
};

static int usage(void)
{
	(void)fprintf(stderr, "usage: sim [--seeds N] [--from N] [--repeat] "
			      "[--expect-failure] [--trace SEED]\n");
	return 2;
}

static int parse(int argc, char **argv, struct options *ret_options)
{
	for (int i = 1; i < argc; i++) {
		uint64_t *number = NULL;

		if (!strcmp(argv[i], "--repeat"))
			ret_options->repeat = true;
		else if (!strcmp(argv[i], "--expect-failure"))
			ret_options->expect_failure = true;
		else if (!strcmp(argv[i], "--seeds"))
			number = &ret_options->seeds;
		else if (!strcmp(argv[i], "--from"))
			number = &ret_options->from;
		else if (!strcmp(argv[i], "--trace"))
			number = &ret_options->trace;
		else
			return -1;
		if (number && ++i == argc)
			return -1;
		if (number)
			*number = strtoull(argv[i], NULL, 10);
	}
	return 0;
}

static void report(struct sim *s, uint64_t seed)
{
	unsigned count = s->plan.count, left;

	(void)printf("seed %" PRIu64 ": %s\n", seed, s->why);
	left = plan_shrink(s, seed);
	(void)printf("least plan (%u of %u): %s\n", left, count, s->why);
	plan_print(&s->plan);
}

static bool same_again(struct sim *s, uint64_t seed)
{
	uint64_t hash = s->hash;

	(void)sim_run(s, seed);
	if (s->hash == hash)
		return true;
	(void)printf("seed %" PRIu64 ": two runs differ: %016" PRIx64 " %016" PRIx64
		     "\n",
		     seed, hash, s->hash);
	return false;
}

static void sum(const struct sim *s, uint64_t seeds, double seconds)
{
	(void)printf("%" PRIu64 " seeds, %" PRIu64 " events, %.1f s: %" PRIu64
		     " commits, %" PRIu64 " fenced, %" PRIu64 " epochs lost, %" PRIu64
		     " released, %" PRIu64 " queued, %" PRIu64 " direct, %" PRIu64
		     " moved, %" PRIu64 " refused, %" PRIu64 " gaps, %" PRIu64
		     " resumed, %" PRIu64 " deleted, %" PRIu64 " moves, %" PRIu64
		     " called off\n",
		     seeds, s->events_run, seconds, s->commits, s->fenced, s->lost,
		     s->released, s->queued, s->direct, s->moved, s->refused, s->gaps,
		     s->resumed, s->deleted, s->migrated, s->kept);
}

/* The campaign is worth something only if all of this happens. */
static bool idle(const struct sim *s, uint64_t seeds)
{
	return seeds >= 1000 &&
	       (s->commits < seeds || s->fenced < seeds / 100 || s->lost < seeds / 10 ||
		s->queued < seeds || s->direct < seeds || s->moved < seeds ||
		s->gaps < seeds / 50 || s->resumed < seeds / 50 ||
		s->deleted < seeds / 50 || s->migrated < seeds / 5 ||
		s->kept < seeds / 50);
}

static int run(struct sim *s, const struct options *o)
{
	struct timespec begin, now;
	bool violated = false;
	uint64_t seed;

	(void)clock_gettime(CLOCK_MONOTONIC, &begin);
	for (seed = o->from; seed < o->from + o->seeds && !violated; seed++) {
		plan_make(&s->plan, seed);
		if (!sim_run(s, seed)) {
			violated = true;
			report(s, seed);
		} else if (o->repeat && !same_again(s, seed)) {
			return 1;
		}
	}
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	sum(s, seed - o->from,
	    (double)(now.tv_sec - begin.tv_sec) +
		    (double)(now.tv_nsec - begin.tv_nsec) / 1e9);
	if (!violated && !o->repeat && idle(s, o->seeds)) {
		(void)printf("too little happens\n");
		return 1;
	}
	return violated != o->expect_failure;
}

int main(int argc, char **argv)
{
	struct options o = { .seeds = 1000, .from = 1 };
	struct sim *s;
	int rc;

	if (parse(argc, argv, &o))
		return usage();
	s = sim_new();
	if (!s)
		return 1;
	if (o.trace) {
		s->verbose = true;
		plan_make(&s->plan, o.trace);
		plan_print(&s->plan);
		rc = !sim_run(s, o.trace);
	} else {
		rc = run(s, &o);
	}
	sim_free(s);
	return rc;
}
