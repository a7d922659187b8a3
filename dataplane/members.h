/* SPDX-License-Identifier: Apache-2.0
 *
 * The processes of an application, as one of them knows them: a list with a version, made once and never
 * changed. What changes makes another list of it.
 */
#ifndef PRAAS_DATAPLANE_MEMBERS_H
#define PRAAS_DATAPLANE_MEMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "praas/types.h"

#define PRAAS_MEMBERS_MAX 8192u

struct praas_members {
	uint64_t version;
	size_t bytes; /* of all of it */
	uint32_t count;
	bool too_many; /* there are more than a list can have: it is empty */
	struct praas_member_info
		items[]; /* by number; behind them their places by name */
};

/* Another list: old (NULL: an empty one) with these changes, of which one with state 0 takes a member out. Sorts
 * changes. malloc'd. 0; -EINVAL a number comes twice; -E2BIG; -ENOMEM. */
int praas_members_apply(const struct praas_members *old,
			struct praas_member_info *changes, uint32_t count,
			uint64_t version, struct praas_members **ret_list);
/* NULL: no memory. */
struct praas_members *praas_members_copy(const struct praas_members *list);

/* NULL: there is none. Of several with one name (there are none for long) the youngest. */
const struct praas_member_info *praas_members_named(const struct praas_members *list,
						    const char *name,
						    uint32_t name_bytes);
/* The place of the first one whose number is above. */
uint32_t praas_members_after(const struct praas_members *list, uint64_t number);

#endif
