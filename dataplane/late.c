/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/late.h"

#include <errno.h>
#include <sched.h>

bool praas_late_claim(struct praas_late *late)
{
	uint32_t waiting = PRAAS_LATE_WAITING;

	/* Nothing is handed over by this: what the import has set came by the exchange. */
	return atomic_compare_exchange_strong_explicit(
		&late->state, &waiting, PRAAS_LATE_LOADING, memory_order_relaxed,
		memory_order_relaxed);
}

void praas_late_done(struct praas_late *late, int rc)
{
	/* late.R0, pairs with late.A0: the value is whole, nobody writes it any more. */
	atomic_store_explicit(&late->state,
			      rc == 0 ? PRAAS_LATE_THERE : PRAAS_LATE_FAILED,
			      memory_order_release);
}

/* Ends when the loader has read the one value that it is at. */
static uint32_t settled(struct praas_late *late)
{
	uint32_t state;

	/* late.A0, pairs with late.R0: what the loader wrote is visible. */
	while ((state = atomic_load_explicit(&late->state, memory_order_acquire)) ==
	       PRAAS_LATE_LOADING)
		(void)sched_yield(); /* cannot fail */
	return state;
}

int praas_late_get(struct praas_late *late)
{
	if (praas_late_claim(late))
		praas_late_done(late, late->load(late));
	return settled(late) == PRAAS_LATE_THERE ? 0 : -EIO;
}

bool praas_late_there(struct praas_late *late)
{
	/* late.A0, pairs with late.R0: as in settled(). */
	return atomic_load_explicit(&late->state, memory_order_acquire) ==
	       PRAAS_LATE_THERE;
}

static void release(struct praas_value *value)
{
	struct praas_late *late = value->owner;

	if (praas_late_claim(late))
		atomic_store_explicit(&late->state, PRAAS_LATE_DROPPED,
				      memory_order_relaxed);
	(void)settled(late); /* nobody writes there any more */
	praas_value_release(&late->home);
}

void praas_late_bind(struct praas_late *late, struct praas_value *value)
{
	late->home = *value;
	late->data = (uint8_t *)(uintptr_t)value->data;
	late->bytes = value->bytes;
	value->release = release;
	value->owner = late;
}
