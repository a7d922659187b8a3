/* SPDX-License-Identifier: Apache-2.0
 *
 * The states of a record against the life cycle of the paper's figure: whatever the control services
 * do, a record moves only along the figure's arrows.
 */
#include <stdbool.h>

#include "controller/sm_lifecycle.h"

bool check_life(unsigned from, unsigned to);

/* As enum praas_life_state numbers them, which cannot be included beside the figure's. */
static const enum praas_life states[] = {
	PRAAS_LIFE_NONE,      PRAAS_LIFE_SWAPPED,  PRAAS_LIFE_ACTIVATING,
	PRAAS_LIFE_ACTIVE,    PRAAS_LIFE_DRAINING, PRAAS_LIFE_LOST,
	PRAAS_LIFE_KILLED, /* 6: its controller was */
	PRAAS_LIFE_KILLED, /* 7: being erased */
	PRAAS_LIFE_MIGRATING,
};

bool check_life(unsigned from, unsigned to)
{
	enum praas_life next;

	if (from >= sizeof(states) / sizeof(*states) ||
	    to >= sizeof(states) / sizeof(*states))
		return false;
	/* An activation that failed, and a release that its owner was quicker to write than to tell. */
	if (states[from] == PRAAS_LIFE_ACTIVATING && states[to] == PRAAS_LIFE_SWAPPED)
		return true;
	if (states[from] == PRAAS_LIFE_ACTIVE && states[to] == PRAAS_LIFE_SWAPPED)
		return true;
	for (unsigned e = 0; e < PRAAS_LIFE_EVENTS; e++)
		if (praas_life_next(states[from], (enum praas_life_event)e, &next) ==
			    0 &&
		    next == states[to])
			return true;
	return false;
}
