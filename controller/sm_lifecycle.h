/* SPDX-License-Identifier: Apache-2.0
 *
 * The life cycle of a cloud process (paper, Fig 5; docs/lifecycle.md has the table for people).
 * Pure: a table and nothing else.
 *
 *           create            invocation
 *   NONE ──▶ ACTIVATING ──▶ ACTIVE ◀────────▶ IDLE
 *               ▲             │ ▲ idle period   │        ACTIVE, IDLE ◀──▶ MIGRATING
 *        swap in│     swap out│                 │swap out
 *               │             ▼                 │
 *   KILLED ◀─ SWAPPED ◀──── DRAINING ◀──────────┘
 *     ▲ remove    ▲ last snapshot
 *     │           └── LOST ◀── crash          kill: from anywhere
 */
#ifndef PRAAS_CONTROLLER_SM_LIFECYCLE_H
#define PRAAS_CONTROLLER_SM_LIFECYCLE_H

enum praas_life {
	PRAAS_LIFE_NONE = 0, /* does not exist yet */
	PRAAS_LIFE_ACTIVATING, /* a controller starts; not reachable; messages are queued */
	PRAAS_LIFE_ACTIVE,     /* serves */
	PRAAS_LIFE_IDLE,       /* serves, but nothing came for the idle period */
	PRAAS_LIFE_DRAINING, /* accepts nothing new; running functions finish; snapshot is written */
	PRAAS_LIFE_MIGRATING, /* as DRAINING, but a second controller is to go on with it */
	PRAAS_LIFE_SWAPPED, /* in the store only */
	PRAAS_LIFE_LOST,    /* crashed: its last snapshot is what is left */
	PRAAS_LIFE_KILLED,  /* for good */
	PRAAS_LIFE_COUNT
};

enum praas_life_event {
	PRAAS_LIFE_CREATE = 0,  /* by a user or by an invocation */
	PRAAS_LIFE_ACTIVATED,   /* its epoch is in the slot log and it serves */
	PRAAS_LIFE_INVOCATION,  /* anything came over the data plane */
	PRAAS_LIFE_IDLE_PERIOD, /* nothing came for that long */
	PRAAS_LIFE_SWAP_OUT,    /* asked for */
	PRAAS_LIFE_MOVE,        /* asked for */
	PRAAS_LIFE_MOVED,       /* the other controller's epoch is in the slot log */
	PRAAS_LIFE_DRAIN_CANCEL, /* new demand, or the snapshot could not be written, or the move
				  * failed */
	PRAAS_LIFE_COMMITTED, /* REL is in the slot log */
	PRAAS_LIFE_SWAP_IN,   /* asked for, or an invocation of a swapped process */
	PRAAS_LIFE_CRASH,     /* the controller ended without REL */
	PRAAS_LIFE_KILL,      /* by its user, without swap */
	PRAAS_LIFE_REMOVE,    /* its swapped state is deleted */
	PRAAS_LIFE_EVENTS
};

/* The state after an event. 0; -EINVAL when that cannot happen now (nothing changes). */
int praas_life_next(enum praas_life state, enum praas_life_event event,
		    enum praas_life *ret_state);

/* "ACTIVE" and so on; static. */
const char *praas_life_name(enum praas_life state);

#endif
