/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/sm_lifecycle.h"

#include <errno.h>
#include <stdint.h>

/* One more than the next state; 0: cannot happen. */
#define TO(state) (PRAAS_LIFE_##state + 1)

static const uint8_t table[PRAAS_LIFE_COUNT][PRAAS_LIFE_EVENTS] = {
	[PRAAS_LIFE_NONE] = {
		[PRAAS_LIFE_CREATE] = TO(ACTIVATING),
		[PRAAS_LIFE_KILL] = TO(KILLED),
	},
	[PRAAS_LIFE_ACTIVATING] = {
		[PRAAS_LIFE_ACTIVATED] = TO(ACTIVE),
		[PRAAS_LIFE_CRASH] = TO(LOST),
		[PRAAS_LIFE_KILL] = TO(KILLED),
	},
	[PRAAS_LIFE_ACTIVE] = {
		[PRAAS_LIFE_INVOCATION] = TO(ACTIVE),
		[PRAAS_LIFE_IDLE_PERIOD] = TO(IDLE),
		[PRAAS_LIFE_SWAP_OUT] = TO(DRAINING),
		[PRAAS_LIFE_MOVE] = TO(MIGRATING),
		[PRAAS_LIFE_CRASH] = TO(LOST),
		[PRAAS_LIFE_KILL] = TO(KILLED),
	},
	[PRAAS_LIFE_IDLE] = {
		[PRAAS_LIFE_INVOCATION] = TO(ACTIVE),
		[PRAAS_LIFE_IDLE_PERIOD] = TO(IDLE),
		[PRAAS_LIFE_SWAP_OUT] = TO(DRAINING),
		[PRAAS_LIFE_MOVE] = TO(MIGRATING),
		[PRAAS_LIFE_CRASH] = TO(LOST),
		[PRAAS_LIFE_KILL] = TO(KILLED),
	},
	[PRAAS_LIFE_DRAINING] = {
		[PRAAS_LIFE_DRAIN_CANCEL] = TO(ACTIVE),
		[PRAAS_LIFE_COMMITTED] = TO(SWAPPED),
		[PRAAS_LIFE_CRASH] = TO(LOST),
		[PRAAS_LIFE_KILL] = TO(KILLED),
	},
	[PRAAS_LIFE_MIGRATING] = {
		[PRAAS_LIFE_ACTIVATED] = TO(ACTIVE),
		[PRAAS_LIFE_MOVED] = TO(ACTIVATING),
		[PRAAS_LIFE_DRAIN_CANCEL] = TO(DRAINING), /* until it has caught up */
		[PRAAS_LIFE_COMMITTED] = TO(SWAPPED),
		[PRAAS_LIFE_CRASH] = TO(LOST),
		[PRAAS_LIFE_KILL] = TO(KILLED),
	},
	[PRAAS_LIFE_SWAPPED] = {
		[PRAAS_LIFE_SWAP_IN] = TO(ACTIVATING),
		[PRAAS_LIFE_KILL] = TO(KILLED),
		[PRAAS_LIFE_REMOVE] = TO(KILLED),
	},
	[PRAAS_LIFE_LOST] = {
		[PRAAS_LIFE_SWAP_IN] = TO(ACTIVATING),
		[PRAAS_LIFE_COMMITTED] = TO(SWAPPED), /* REL was found in the log after all */
		[PRAAS_LIFE_KILL] = TO(KILLED),
		[PRAAS_LIFE_REMOVE] = TO(KILLED),
	},
	[PRAAS_LIFE_KILLED] = { 0 },
};

int praas_life_next(enum praas_life state, enum praas_life_event event,
		    enum praas_life *ret_state)
{
	uint8_t to;

	if ((unsigned)state >= PRAAS_LIFE_COUNT || (unsigned)event >= PRAAS_LIFE_EVENTS)
		return -EINVAL;
	to = table[state][event];
	if (to == 0)
		return -EINVAL;
	*ret_state = (enum praas_life)(to - 1);
	return 0;
}

const char *praas_life_name(enum praas_life state)
{
	static const char *const names[PRAAS_LIFE_COUNT] = {
		"NONE",      "ACTIVATING", "ACTIVE", "IDLE",   "DRAINING",
		"MIGRATING", "SWAPPED",    "LOST",   "KILLED",
	};

	return (unsigned)state < PRAAS_LIFE_COUNT ? names[state] : "?";
}
