/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a message or a state object lies, and how its memory goes back: the pool, a
 * worker's arena, a big segment. A value is moved, never shared: exactly one owner.
 */
#ifndef PRAAS_DATAPLANE_VALUE_H
#define PRAAS_DATAPLANE_VALUE_H

#include <stdint.h>

#include "internal/base.h"

struct praas_value {
	const uint8_t *data; /* as this process maps it; may be NULL when bytes is 0 */
	uint64_t bytes;      /* of the content */
	uint64_t offset;     /* in its segment, as readers find it */
	uint32_t
		segment; /* id; 0: private memory of the data thread, never published */
	uint32_t pad;
	uint64_t charge; /* bytes of memory that it holds, for the limits */
	/* Gives the memory back; NULL: there is none. Data thread. */
	void (*release)(struct praas_value *value);
	void *owner;     /* of release() */
	uint64_t cookie; /* of release() */
};

/* Ends a value; a zeroed one is allowed. */
static inline void praas_value_release(struct praas_value *value)
{
	if (value->release)
		value->release(value);
	*value = (struct praas_value){ 0 };
}

/* Moves it out of its place, which is empty afterwards. */
static inline struct praas_value praas_value_take(struct praas_value *value)
{
	struct praas_value v = *value;

	*value = (struct praas_value){ 0 };
	return v;
}

#endif
