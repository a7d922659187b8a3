/* SPDX-License-Identifier: Apache-2.0
 *
 * What a process has accepted from each sender, so that a message counts once, in its order, by
 * whichever path it comes (docs/protocols.md). Pure; no memory after init. The table is part of
 * the snapshot: it must roll back with the effects of the messages.
 *
 * For each of the last PRAAS_DEDUP_EPOCHS epochs of a sender: the highest number accepted. Each
 * message names its predecessor, and is refused while that has not come: so there is never a gap,
 * and one number is enough. What comes from an epoch before those counts as seen: a sender
 * would have to crash four times while its messages wait in the backup queue.
 */
#ifndef PRAAS_DATAPLANE_DEDUP_H
#define PRAAS_DATAPLANE_DEDUP_H

#include <stdbool.h>
#include <stdint.h>

#include "internal/seq.h"

#define PRAAS_DEDUP_EPOCHS 4u
#define PRAAS_DEDUP_SOURCES_MAX (1u << 24)

enum praas_dedup_verdict {
	PRAAS_DEDUP_NEW = 1, /* apply it, then praas_dedup_accept() */
	PRAAS_DEDUP_SEEN,    /* it counts already: acknowledge it again */
	PRAAS_DEDUP_GAP,  /* its predecessor is missing: refuse it and what follows */
	PRAAS_DEDUP_STALE /* of an epoch of the sender that is over: refuse it */
};

struct praas_dedup_source {
	uint64_t source;
	struct praas_seq
		highest[PRAAS_DEDUP_EPOCHS]; /* newest epoch first; none: unused */
	uint32_t next; /* of the hash chain or free list, index + 1 */
	uint32_t pad;
};

struct praas_dedup {
	struct praas_dedup_source *sources;
	uint32_t *buckets;
	uint32_t sources_max, used, free, count, mask;
};

/* 0; -ENOMEM; -EINVAL 0 or more than PRAAS_DEDUP_SOURCES_MAX. */
int praas_dedup_init(struct praas_dedup *d, uint32_t sources_max);
void praas_dedup_release(struct praas_dedup *d);

/**
 * What to do with a message that came directly. after: the place of the last message of this
 * sender that must have come before it; none: it has no predecessor. Changes nothing.
 */
enum praas_dedup_verdict praas_dedup_judge(const struct praas_dedup *d, uint64_t source,
					   struct praas_seq seq,
					   struct praas_seq after);
/* The same of one read from the backup queue: acknowledged there, so it counts even when its
 * sender has a later epoch by now; NEW or SEEN. */
enum praas_dedup_verdict praas_dedup_judge_queued(const struct praas_dedup *d,
						  uint64_t source,
						  struct praas_seq seq);
/* A message of that sender could be accepted: it is known, or there is room for one more. */
bool praas_dedup_admits(const struct praas_dedup *d, uint64_t source);
/* It counts from here on. 0; -ENOBUFS too many senders (nothing changed). Also for import. */
int praas_dedup_accept(struct praas_dedup *d, uint64_t source, struct praas_seq seq);
/* The sender was deleted and never sends again. */
void praas_dedup_forget(struct praas_dedup *d, uint64_t source);
/* Every sender, in no order. Non-zero ends the walk and is returned. */
int praas_dedup_each(const struct praas_dedup *d,
		     int (*fn)(void *user, const struct praas_dedup_source *source),
		     void *user);

#endif
