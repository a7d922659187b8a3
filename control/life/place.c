/* SPDX-License-Identifier: Apache-2.0 */
#include "control/life/place.h"

#include <stdbool.h>
#include <stddef.h>

#include "control/records/records.h"

#define WITH_ROOM 3 /* ranks below it have some */
#define NOT_TO_BE_USED 5

/* Lower is better; compared before the load is. */
static int rank(const struct praas_place_candidate *c)
{
	bool room = c->load < c->concurrency;

	if (c->state == PRAAS_LIFE_ACTIVE)
		return !room ? WITH_ROOM : c->leaves ? 1 : 0;
	if (c->state == PRAAS_LIFE_ACTIVATING)
		return room ? 2 : WITH_ROOM + 1;
	return NOT_TO_BE_USED;
}

/* With room: the fuller one (the others can be swapped out); without: the shorter queue. */
static bool better(const struct praas_place_candidate *a,
		   const struct praas_place_candidate *b)
{
	int ra = rank(a), rb = rank(b);

	if (ra != rb)
		return ra < rb;
	if (a->load != b->load)
		return ra < WITH_ROOM ? a->load > b->load : a->load < b->load;
	return a->number < b->number;
}

enum praas_place_choice praas_place_invoke(
	const struct praas_place_candidate *candidates, uint32_t count,
	uint32_t processes_max, uint32_t queue_max, uint64_t *ret_number)
{
	const struct praas_place_candidate *best = NULL;
	uint32_t usable = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (rank(&candidates[i]) == NOT_TO_BE_USED)
			continue;
		usable++;
		if (!best || better(&candidates[i], best))
			best = &candidates[i];
	}
	if (best && rank(best) < WITH_ROOM) {
		*ret_number = best->number;
		return PRAAS_PLACE_USE;
	}
	if (usable < processes_max)
		return PRAAS_PLACE_CREATE;
	if (!best || best->load - best->concurrency >= queue_max)
		return PRAAS_PLACE_FULL;
	*ret_number = best->number;
	return PRAAS_PLACE_USE;
}
