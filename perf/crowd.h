/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections that are a burden: many that ask for nothing, and some that send a byte of a request
 * now and then, and come again when they are cut.
 */
#ifndef PRAAS_PERF_CROWD_H
#define PRAAS_PERF_CROWD_H

struct praas_crowd;

/* 0 or negative errno: -EMFILE there may not be so many descriptors. */
int praas_crowd_start(const char *url, unsigned idle, unsigned slow,
		      struct praas_crowd **ret_crowd);
/* How many slow ones were cut so far. */
unsigned praas_crowd_cut(const struct praas_crowd *crowd);
void praas_crowd_stop(struct praas_crowd *crowd);

#endif
