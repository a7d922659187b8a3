/* SPDX-License-Identifier: Apache-2.0
 *
 * Lanes are told apart by a 64-bit key (function number and a hash of the key): two keys with the
 * same hash would share a lane, which is harmless.
 */
#include "dataplane/lanes.h"

#include <errno.h>

#include "shm/pages.h"

int praas_lanes_init(struct praas_lanes *l, uint32_t invocations_max)
{
	uint32_t buckets = 16;

	while (buckets < invocations_max)
		buckets *= 2;
	*l = (struct praas_lanes){ .mask = buckets - 1,
				   .count = invocations_max,
				   .free = 1 };
	l->lane = praas_pages_new((size_t)invocations_max * sizeof(*l->lane));
	l->buckets = praas_pages_new((size_t)buckets * sizeof(*l->buckets));
	if (!l->lane || !l->buckets) {
		praas_lanes_release(l);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i + 1 < invocations_max; i++)
		l->lane[i].next = i + 2;
	return 0;
}

void praas_lanes_release(struct praas_lanes *l)
{
	praas_pages_free(l->lane);
	praas_pages_free(l->buckets);
	*l = (struct praas_lanes){ 0 };
}

static uint32_t *bucket_of(const struct praas_lanes *l, uint64_t key)
{
	uint64_t h = key * 0x9e3779b97f4a7c15ull;

	return &l->buckets[(h >> 32) & l->mask];
}

bool praas_lanes_enter(struct praas_lanes *l, struct praas_invocation *inv)
{
	uint32_t *bucket = bucket_of(l, inv->lane_key);
	struct praas_lane *lane;
	uint32_t i;

	for (i = *bucket; i != 0 && l->lane[i - 1].key != inv->lane_key;)
		i = l->lane[i - 1].next;
	if (i == 0) {
		i = l->free;
		praas_check(i != 0);
		lane = &l->lane[i - 1];
		l->free = lane->next;
		*lane = (struct praas_lane){ .key = inv->lane_key,
					     .next = *bucket,
					     .holder = inv };
		*bucket = i;
		inv->lane = i;
		return true;
	}
	lane = &l->lane[i - 1];
	inv->lane = i;
	inv->next = NULL;
	inv->prev = lane->last;
	if (lane->last)
		lane->last->next = inv;
	else
		lane->first = inv;
	lane->last = inv;
	lane->waiting++;
	return false;
}

void praas_lanes_remove(struct praas_lanes *l, struct praas_invocation *inv)
{
	struct praas_lane *lane = &l->lane[inv->lane - 1];

	if (inv->prev)
		inv->prev->next = inv->next;
	else
		lane->first = inv->next;
	if (inv->next)
		inv->next->prev = inv->prev;
	else
		lane->last = inv->prev;
	inv->next = NULL;
	inv->prev = NULL;
	inv->lane = 0;
	lane->waiting--;
}

struct praas_invocation *praas_lanes_holder(const struct praas_lanes *l,
					    const struct praas_invocation *inv)
{
	return l->lane[inv->lane - 1].holder;
}

struct praas_invocation *praas_lanes_leave(struct praas_lanes *l,
					   struct praas_invocation *inv)
{
	uint32_t i = inv->lane;
	struct praas_lane *lane = &l->lane[i - 1];
	struct praas_invocation *first = lane->first;
	uint32_t *at;

	inv->lane = 0;
	if (first) {
		praas_lanes_remove(l, first);
		first->lane = i;
		lane->holder = first;
		return first;
	}
	at = bucket_of(l, lane->key);
	while (*at != i)
		at = &l->lane[*at - 1].next;
	*at = lane->next;
	lane->next = l->free;
	l->free = i;
	return NULL;
}
