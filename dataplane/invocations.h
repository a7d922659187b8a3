/* SPDX-License-Identifier: Apache-2.0
 *
 * The invocation table: fixed slots, and the ids that are running or were finished lately, so
 * that a retry with the same id never runs twice (docs/dataplane.md, "Retries").
 */
#ifndef PRAAS_DATAPLANE_INVOCATIONS_H
#define PRAAS_DATAPLANE_INVOCATIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/invocation.h"
#include "dataplane/value.h"

#define PRAAS_MEMO_INLINE 64u     /* results up to here are kept beside the memo */
#define PRAAS_MEMO_COPY_MAX 4096u /* up to here they are worth a copy on the hot path */

enum praas_memo_kept {
	PRAAS_MEMO_NOTHING = 0, /* the result is gone: a retry gets PRAAS_DUPLICATE */
	PRAAS_MEMO_HERE,        /* in its text */
	PRAAS_MEMO_VALUE        /* in the table's values */
};

/* A remembered id. Each call uses the memo that has rested longest, so all of them pass through the
 * cache again and again: they are small, and what few calls need lies elsewhere. */
struct praas_memo {
	uint64_t source, id;
	uint32_t next; /* of the hash chain, index + 1 */
	uint32_t slot; /* of the running invocation + 1; 0: finished */
	int32_t status;
	uint8_t kept;  /* enum praas_memo_kept */
	uint8_t bytes; /* of its text */
	bool timed;    /* it has a run_ns, which else is 0 */
	uint8_t pad;
};

_Static_assert(sizeof(struct praas_memo) == 32, "half a cache line");

struct praas_memo_text {
	uint8_t data[PRAAS_MEMO_INLINE];
};

struct praas_invocations {
	struct praas_invocation *slots;
	uint32_t *free_slots;
	uint32_t free_count, slots_count;
	struct praas_memo *memos;
	struct praas_memo_text *texts; /* of the memos, by their index */
	uint64_t *run_ns;              /* the same */
	uint32_t *value_of;            /* the same: place in values[] when kept there */
	uint32_t *buckets;             /* heads of chains, index + 1 */
	uint32_t *free_memos;
	uint32_t *finished;         /* ring of finished memos, oldest first */
	struct praas_value *values; /* ring of kept results, oldest first */
	uint32_t *value_memos;      /* whose they are */
	uint64_t rest;              /* what of an id the row of its bucket depends on */
	uint32_t mask, shift;       /* of a bucket's number */
	uint32_t free_memos_count;
	uint32_t memos_count, finished_max; /* a power of two */
	uint64_t finished_head, finished_tail;
	uint64_t values_head, values_tail;
	uint64_t bytes, bytes_max; /* of kept values */
};

/* slots: running and queued. remembered: finished ids. bytes_max: of results kept outside the memos.
 * 0; -ENOMEM. */
int praas_invocations_init(struct praas_invocations *t, uint32_t slots,
			   uint32_t remembered, uint64_t bytes_max);
void praas_invocations_release(struct praas_invocations *t);

/* A zeroed slot, state QUEUED; NULL: all are in use. */
struct praas_invocation *praas_invocations_alloc(struct praas_invocations *t);
void praas_invocations_free(struct praas_invocations *t, struct praas_invocation *inv);

/* The memo of an id; NULL: never seen, or forgotten. */
struct praas_memo *praas_invocations_find(struct praas_invocations *t, uint64_t source,
					  uint64_t id);
/* Remember that inv runs; it is not remembered yet. The oldest finished one is forgotten. */
void praas_invocations_remember(struct praas_invocations *t,
				struct praas_invocation *inv);
/* inv has ended so; its memo stays. Then keep_text() or keep_value() for the result. */
struct praas_memo *praas_invocations_finish(struct praas_invocations *t,
					    struct praas_invocation *inv,
					    int32_t status, uint64_t run_ns);
/* Forget inv's id: it never ran. */
void praas_invocations_forget(struct praas_invocations *t,
			      struct praas_invocation *inv);
/* The memo of one that runs and is remembered. */
static inline struct praas_memo *praas_invocations_memo(
	const struct praas_invocations *t, const struct praas_invocation *inv)
{
	return &t->memos[inv->memo - 1];
}
/* Keep up to PRAAS_MEMO_INLINE bytes; before finish() or after it. */
void praas_invocations_keep_text(struct praas_invocations *t, struct praas_memo *memo,
				 const uint8_t *data, uint64_t bytes);
/* Keep a value (given on success). 0; -ENOSPC: over the limit, forget the result instead. */
int praas_invocations_keep_value(struct praas_invocations *t, struct praas_memo *memo,
				 struct praas_value *value);
/* How long a finished one ran, as finish() was told. */
static inline uint64_t praas_invocations_run_ns(const struct praas_invocations *t,
						const struct praas_memo *memo)
{
	return memo->timed ? t->run_ns[memo - t->memos] : 0;
}
/* What is kept of a finished one. */
void praas_invocations_kept(const struct praas_invocations *t,
			    const struct praas_memo *memo, const uint8_t **ret_data,
			    uint64_t *ret_bytes);
/* Adds a finished id (import). */
struct praas_memo *praas_invocations_import(struct praas_invocations *t,
					    uint64_t source, uint64_t id,
					    int32_t status);
/* Finished ids, oldest first: index 0 … count. */
static inline uint32_t praas_invocations_finished(const struct praas_invocations *t)
{
	return (uint32_t)(t->finished_tail - t->finished_head);
}
static inline struct praas_memo *praas_invocations_finished_at(
	const struct praas_invocations *t, uint32_t index)
{
	return &t->memos[t->finished[(t->finished_head + index) &
				     (t->finished_max - 1)]];
}

#endif
