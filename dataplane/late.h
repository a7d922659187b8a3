/* SPDX-License-Identifier: Apache-2.0
 *
 * State that comes later: after a swap-in a process serves before its large objects have been read.
 * Such an object has its memory, which is filled when somebody first wants it (data thread) or by
 * a loader in the background (another thread), whoever claims it first.
 *
 *   WAITING ──claim──▶ LOADING ──done──▶ THERE or FAILED
 *      └─────drop─────▶ DROPPED
 */
#ifndef PRAAS_DATAPLANE_LATE_H
#define PRAAS_DATAPLANE_LATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/value.h"

enum praas_late_state {
	PRAAS_LATE_WAITING = 0,
	PRAAS_LATE_LOADING, /* data belongs to who claimed it */
	PRAAS_LATE_THERE,   /* data is the value, checked */
	PRAAS_LATE_FAILED,  /* it cannot be had */
	PRAAS_LATE_DROPPED  /* nobody wants it any more */
};

struct praas_late {
	_Atomic uint32_t state; /* enum praas_late_state */
	uint8_t *data;          /* set by the import; NULL: not imported */
	uint64_t bytes;
	struct praas_value home; /* what holds the memory; set by the import */
	/* Fills data and checks it, blocking. Called by the data thread between claim and done.
	 * 0; anything else: it cannot be had. */
	int (*load)(struct praas_late *late);
};

/* True: the caller fills data and then calls done. Any thread. */
bool praas_late_claim(struct praas_late *late);
void praas_late_done(struct praas_late *late, int rc);

/* Loads it, or waits for who does. 0; -EIO. Data thread. */
int praas_late_get(struct praas_late *late);
/* True when data is the value. */
bool praas_late_there(struct praas_late *late);
/* Gives its memory home to *value, whose release also ends the loading. Data thread. */
void praas_late_bind(struct praas_late *late, struct praas_value *value);

#endif
