/* SPDX-License-Identifier: Apache-2.0
 *
 * usage: praas-named-sim [--seeds N] [--from N] [--repeat] [--trace SEED]
 *
 * Runs seeds of the simulator of named snapshots (named.h). One that shows a violation is run again with fewer
 * kinds of faults: what is printed is the least set that still shows it.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/named.h"

static void report(struct world *w, uint64_t seed)
{
	unsigned faults = FAULT_ALL;

	(void)printf("seed %" PRIu64 ": %s\n", seed, w->why);
	for (unsigned f = 1; f <= FAULT_ALL; f *= 2)
		if (!world_run(w, seed, faults & ~f))
			faults &= ~f;
	(void)world_run(w, seed, faults);
	(void)printf("least plan (%d of %u): %s\n", __builtin_popcount(faults),
		     FAULT_KINDS, w->why);
}

static int campaign(struct world *w, uint64_t from, uint64_t seeds, bool repeat)
{
	uint64_t seed = from;
	bool idle;

	for (; seed < from + seeds; seed++) {
		uint64_t hash;

		if (!world_run(w, seed, FAULT_ALL)) {
			report(w, seed);
			return 1;
		}
		hash = w->hash;
		if (repeat && (!world_run(w, seed, FAULT_ALL) || w->hash != hash)) {
			(void)printf("seed %" PRIu64 ": two runs differ\n", seed);
			return 1;
		}
	}
	(void)printf("%" PRIu64 " seeds: %" PRIu64 " commits, %" PRIu64
		     " names given, %" PRIu64 " taken, %" PRIu64 " refused, %" PRIu64
		     " rollbacks, %" PRIu64 " forks, %" PRIu64
		     " chunks removed, %" PRIu64 " fenced, %" PRIu64 " crashes\n",
		     seeds, w->commits, w->gives, w->takes, w->refused, w->backs,
		     w->forked, w->swept, w->fenced, w->crashes);
	idle = w->commits < seeds || w->gives < seeds || w->takes < seeds / 4 ||
	       w->backs < seeds / 4 || w->forked < seeds / 2 || w->swept < seeds ||
	       w->fenced < seeds / 50 || w->crashes < seeds / 4;
	if (seeds >= 1000 && idle)
		(void)printf("too little happens\n");
	return seeds >= 1000 && idle;
}

int main(int argc, char **argv)
{
	static struct world w;
	uint64_t from = 1, seeds = 1000, trace = 0;
	bool repeat = false;
	int rc;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--repeat") == 0)
			repeat = true;
		else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc)
			seeds = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--from") == 0 && i + 1 < argc)
			from = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--trace") == 0 && i + 1 < argc)
			trace = strtoull(argv[++i], NULL, 10);
		else
			return 2;
	}
	/* Memory is asked for and given back all the time. */
	(void)mallopt(M_TRIM_THRESHOLD, 64 << 20);
	(void)mallopt(M_MMAP_THRESHOLD, 64 << 20);
	if (!world_begin(&w))
		return 1;
	w.verbose = trace != 0;
	rc = trace ? !world_run(&w, trace, FAULT_ALL)
		   : campaign(&w, from, seeds, repeat);
	world_end(&w);
	return rc;
}
