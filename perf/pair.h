/* SPDX-License-Identifier: Apache-2.0
 *
 * Contenders of ours that need two processes: one asks, measured by itself; the other answers.
 */
#ifndef PRAAS_PERF_PAIR_H
#define PRAAS_PERF_PAIR_H

#include "perf/bench.h"

enum praas_pair_kind {
	PRAAS_PAIR_MESSAGE, /* a message there and one back, halved */
	PRAAS_PAIR_INVOKE   /* a function of the other process, by its result */
};

/* Both processes have workers. Neighbours of one node, who share memory; or (far) of two nodes on this machine, which have
 * TCP alone. */
struct praas_perf_pair {
	enum praas_pair_kind kind;
	bool far;
};

/* size: of a message, or of an input (the result has none); pair is kept until the end of the run. */
void praas_perf_pair_contender(struct praas_contender *c, const char *bench,
			       const char *variant, const struct praas_perf_pair *pair,
			       uint64_t size, uint64_t n);

/* Makes the application of neighbours have that many members, of which all but a few rest. 0 or negative errno. */
int praas_perf_pair_members(unsigned count);

#endif
