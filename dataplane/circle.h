/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions that wait for one another in a circle through several processes: a serial function that calls another
 * process, which calls it, or two callers that hold what the other one wants. Nobody sees all of such a circle. So
 * who waits for a call in another process, as long as it takes, asks: a PROBE goes the way of the waiting, from the
 * call to the invocation that it waits for (itself, or who holds its serial lane), to the call that this one waits
 * for, to the next process. Each waits for one thing at a time, so the way has no branches; where somebody works
 * it ends. What comes back to who asks is a circle, and stays one: of all the calls there the one that began last is
 * withdrawn, and who waits for it told so (-EDEADLK, with the way in words).
 *
 * Nothing is said, and nothing kept, of calls that are answered within PRAAS_CIRCLE_FIRST_NS.
 * Data thread.
 */
#ifndef PRAAS_DATAPLANE_CIRCLE_H
#define PRAAS_DATAPLANE_CIRCLE_H

#include <stdint.h>

#include "dataplane/executor.h"
#include "dataplane/process.h"

#define PRAAS_CIRCLE_FIRST_NS                                                          \
	5000000u /* a wait goes on for so long before it asks, … */
#define PRAAS_CIRCLE_LAST_NS                                                           \
	1000000000u /* … then twice as long, up to here, before it does again */

/* For executors: inv waits so, and asks. */
void praas_circle_ask(struct praas_process *p, const struct praas_invocation *inv,
		      const struct praas_executor_wait *wait);
/* A number for struct praas_executor_wait that nobody knows; 0: there is none now. */
uint64_t praas_circle_nonce(void);
/* A wait is a part of a circle, and told so: counts it. */
void praas_circle_found(struct praas_process *p);
/* A PROBE; buf is given. */
void praas_circle_frame(struct praas_process *p, struct praas_conn *conn,
			struct praas_buf *buf);

#endif
