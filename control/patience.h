/* SPDX-License-Identifier: Apache-2.0
 *
 * For an address that is taken at the start: a child of a control service that was killed has its
 * descriptors from fork to exec. That is over in a moment, another service is not.
 */
#ifndef PRAAS_CONTROL_PATIENCE_H
#define PRAAS_CONTROL_PATIENCE_H

#include <stdbool.h>
#include <time.h>

#define PRAAS_PATIENCE_TRIES 50u
#define PRAAS_PATIENCE_NS (10L * 1000 * 1000)

struct praas_patience {
	unsigned tries;
};

/* Waits 10 ms. false: half a second of that is enough. */
static inline bool praas_patience_left(struct praas_patience *patience)
{
	const struct timespec pause = { .tv_nsec = PRAAS_PATIENCE_NS };

	if (++patience->tries > PRAAS_PATIENCE_TRIES)
		return false;
	(void)nanosleep(&pause, NULL);
	return true;
}

#endif
