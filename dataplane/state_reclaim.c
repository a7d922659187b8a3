/* SPDX-License-Identifier: Apache-2.0
 *
 * Quiescent-state reclamation. A value that left the index is stamped with the epoch; it is
 * released when every reader is outside or entered in a later epoch. Readers publish their epoch
 * without a fence; before it looks at them the controller fences them all with membarrier(2),
 * once for many values.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dataplane/state.h"

#define RECLAIM_COUNT 64u /* values that are worth a pass … */
#define RECLAIM_SHARE 64u /* … or this part of the memory limit */

static bool nobody_reads(const struct praas_state *s)
{
	return s->holds == 0 && s->readers_count == 0;
}

void praas_state_retire(struct praas_state *s, struct praas_value *value)
{
	struct praas_retired *r;

	if (!value->release) {
		*value = (struct praas_value){ 0 };
		return;
	}
	if (nobody_reads(s) && s->retired_head == s->retired_tail) {
		praas_value_release(value);
		return;
	}
	praas_check(s->retired_tail - s->retired_head < PRAAS_RETIRED_MAX);
	r = &s->retired[s->retired_tail++ % PRAAS_RETIRED_MAX];
	s->retired_bytes += value->charge;
	r->value = praas_value_take(value);
	r->epoch = s->epoch;
}

void praas_state_retire_now(struct praas_state *s, struct praas_value *value)
{
	if (s->retired_tail - s->retired_head == PRAAS_RETIRED_MAX)
		praas_value_release(value);
	else
		praas_state_retire(s, value);
}

/* Every reader that was inside before this is seen inside, or sees what we did before this. */
static void fence_readers(void)
{
	if (praas_doorbell_fences) {
		/* They fence themselves; so do we. */
		praas_state_fence();
		return;
	}
	/* Registered at start (praas_doorbell_setup): cannot fail. */
	(void)syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
}

/* The earliest epoch in which a reader is inside. */
static uint64_t oldest_epoch(const struct praas_state *s)
{
	uint64_t oldest = UINT64_MAX;

	if (s->readers_count == 0)
		return oldest;
	for (uint32_t i = 0; i < PRAAS_WORKERS_MAX; i++) {
		uint64_t e;

		if (!s->readers[i])
			continue;
		/* state.A1, pairs with state.R1 and state.R2: a reader that is outside has
		 * done its reads. */
		e = atomic_load_explicit(&s->readers[i]->epoch, memory_order_acquire);
		if (e != 0 && e < oldest)
			oldest = e;
	}
	return oldest;
}

void praas_state_reclaim(struct praas_state *s, bool now)
{
	uint64_t count = s->retired_tail - s->retired_head;
	uint64_t oldest;

	if (count == 0 || s->holds)
		return;
	if (!now && s->readers_count && count < RECLAIM_COUNT &&
	    s->retired_bytes < s->bytes_max / RECLAIM_SHARE)
		return;
	if (s->readers_count) {
		s->epoch++;
		/* state.R6, pairs with the load in enter(): those who enter in this epoch find
		 * nothing that was retired before it. */
		atomic_store_explicit(&s->header->epoch, s->epoch,
				      memory_order_release);
		fence_readers();
	}
	oldest = oldest_epoch(s);
	while (s->retired_head != s->retired_tail) {
		struct praas_retired *r =
			&s->retired[s->retired_head % PRAAS_RETIRED_MAX];

		if (r->epoch >= oldest)
			break;
		s->retired_head++;
		s->retired_bytes -= r->value.charge;
		praas_value_release(&r->value);
	}
}

int praas_state_retire_room(struct praas_state *s, uint32_t count)
{
	if (nobody_reads(s) && s->retired_head == s->retired_tail)
		return 0;
	if (PRAAS_RETIRED_MAX - (s->retired_tail - s->retired_head) >= count)
		return 0;
	praas_state_reclaim(s, true);
	return PRAAS_RETIRED_MAX - (s->retired_tail - s->retired_head) >= count
		       ? 0
		       : -ENOSPC;
}

void praas_state_reclaim_all(struct praas_state *s)
{
	while (s->retired_head != s->retired_tail)
		praas_value_release(
			&s->retired[s->retired_head++ % PRAAS_RETIRED_MAX].value);
	s->retired_bytes = 0;
}
