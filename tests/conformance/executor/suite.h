/* SPDX-License-Identifier: Apache-2.0
 *
 * What every executor must do. An executor is added by one line in run.c.
 */
#ifndef PRAAS_TESTS_EXECUTOR_SUITE_H
#define PRAAS_TESTS_EXECUTOR_SUITE_H

#include "unit/dataplane_fixture.h"

struct executor_case {
	const char *name;
	/* Makes the executor for these functions (their libraries are set); f has a pool segment and
	 * a pool. config is what the process will be made with: it may be changed. 0: made;
	 * 77: cannot be had here (said on stderr). */
	int (*make)(struct fixture *f, const struct praas_function *functions,
		    uint32_t count, struct praas_process_config *config);
	/* Called when the process exists, before the first call; NULL: nothing to do. */
	void (*started)(struct fixture *f);
	/* Called with each turn of the process; NULL: it needs nothing. */
	void (*turn)(struct fixture *f);
	bool waits;     /* functions may wait for messages that come later */
	uint32_t depth; /* calls in calls that it can run */
};

/* Runs all tests for this executor; returns how many failed. */
int executor_suite(const struct executor_case *c);

#endif
