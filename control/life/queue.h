/* SPDX-License-Identifier: Apache-2.0
 *
 * The backup queue of a process: messages that came while nobody served, in the order of their
 * arrival (docs/protocols.md). This one lives in memory, and is what the simulator runs;
 * the service's is in the records (control/records/queued.h).
 *
 * One thread at a time.
 */
#ifndef PRAAS_CONTROL_QUEUE_H
#define PRAAS_CONTROL_QUEUE_H

#include <stdint.h>

#include "internal/seq.h"

struct praas_queue_message {
	uint64_t position; /* from 1, without a gap; never given twice */
	uint64_t source;   /* of the sender, as its credential says */
	struct praas_seq seq;
	uint8_t *data; /* NULL when bytes is 0 */
	uint32_t bytes;
};

struct praas_queue {
	struct praas_queue_message *messages; /* a ring */
	uint32_t room, first, count;
	uint32_t messages_max;
	uint64_t bytes, bytes_max;
	uint64_t tail;    /* position of the last message ever appended; 0 none */
	uint64_t trimmed; /* all up to here are gone */
};

/* 0; -EINVAL. */
int praas_queue_init(struct praas_queue *q, uint32_t messages_max, uint64_t bytes_max);
/* A zeroed one is allowed. */
void praas_queue_release(struct praas_queue *q);

/* A copy at the end. 0; -ENOSPC too many messages or bytes; -ENOMEM. */
int praas_queue_append(struct praas_queue *q, uint64_t source, struct praas_seq seq,
		       const void *data, uint32_t bytes);

/* The first message after a position; valid until the next append or trim. 0; -EAGAIN there is
 * none; -ESTALE messages after it have been trimmed: whoever asks is not who counts any more. */
int praas_queue_next(const struct praas_queue *q, uint64_t position,
		     const struct praas_queue_message **ret_message);

/* Whoever reads has seen positions up to this one, which is above the tail: what is there gets new ones
 * above it. Else nothing. */
void praas_queue_lift(struct praas_queue *q, uint64_t position);

/* All up to position go: only ever up to the queue cut of a committed snapshot. */
void praas_queue_trim(struct praas_queue *q, uint64_t position);

#endif
