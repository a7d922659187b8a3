/* SPDX-License-Identifier: Apache-2.0
 *
 * Records that several control services share, one of which has them at a time: a lease, renewed by who has them
 * and taken by another when it has run out or was handed back. What fences him who lost it is the store: each
 * script that changes something looks whether the caller's name, which is never used again, is the owner's. Here is
 * what the holder itself has to know: until when nobody else can have them, by its own clock.
 */
#ifndef PRAAS_CONTROL_LEASE_H
#define PRAAS_CONTROL_LEASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define PRAAS_LEASE_AGAIN 0 /* of busy(): asked once more, now */
#define PRAAS_LEASE_ENDED                                                              \
	1 /* of busy(): that owner has ended for certain; its lease need not run out */

struct praas_lease {
	uint64_t ms; /* how long it lasts; by the caller, as the next three */
	/* Another has them, or (owner NULL) the store does not answer; why says so. Waits as long as it likes. Returns
	 * one of the above, or a negative errno with which to give up. From praas_records_open_shared(). */
	int (*busy)(void *user, const char *owner, const char *why);
	/* They are another's now, or what was acknowledged is not there. Any thread; with no lock held. */
	void (*lost)(void *user);
	void *user;
	_Atomic uint64_t
		until_ns;      /* CLOCK_MONOTONIC; by who renews it. 0: not had yet */
	_Atomic uint64_t term; /* how many had them, this one counted */
};

/* Whether nobody else can have the records; NULL: they are not shared. Any thread. */
static inline bool praas_lease_holds(const struct praas_lease *lease, uint64_t now_ns)
{
	return !lease ||
	       now_ns < atomic_load_explicit(&lease->until_ns, memory_order_relaxed);
}

#endif
