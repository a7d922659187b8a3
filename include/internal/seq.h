/* SPDX-License-Identifier: Apache-2.0
 *
 * The place of a message among those of one sender to one receiver (docs/protocols.md). It is given
 * once and never changes, however often and by whichever path the message is sent.
 */
#ifndef PRAAS_INTERNAL_SEQ_H
#define PRAAS_INTERNAL_SEQ_H

#include <stdbool.h>
#include <stdint.h>

struct praas_seq {
	uint64_t number; /* from 1 within its epoch */
	uint32_t
		epoch; /* of the sender, when the message was made; 0: before the first */
	uint32_t pad;
};

/* Negative, 0, positive: a comes before b, is b, comes after b. */
static inline int praas_seq_compare(struct praas_seq a, struct praas_seq b)
{
	if (a.epoch != b.epoch)
		return a.epoch < b.epoch ? -1 : 1;
	return (a.number > b.number) - (a.number < b.number);
}

static inline bool praas_seq_none(struct praas_seq s)
{
	return s.epoch == 0;
}

#endif
