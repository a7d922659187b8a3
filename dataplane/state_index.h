/* SPDX-License-Identifier: Apache-2.0
 *
 * The published index of the state, in the pool segment: written by the controller alone, read
 * by workers without a lock and without a message (docs/dataplane.md, section "State").
 *
 * An open-addressed table, one cache line an entry. A writer makes the entry's sequence odd,
 * changes it, and makes it even again; a reader that saw it odd or changed tries again. When
 * several entries change together (a commit of many writes, entries that close a gap) the
 * header's sequence is odd meanwhile, so that a reader sees all of it or nothing. The reader
 * believes nothing: bounds are checked, probes and retries are counted.
 *
 * What is replaced is freed only after every reader has passed: a reader publishes the epoch
 * it entered in (0: outside), in a line of its own memory. The store of that line and the
 * reader's later loads must not be reordered: the controller fences all readers with
 * membarrier(2) before it looks, so enter() costs a load and a store.
 */
#ifndef PRAAS_DATAPLANE_STATE_INDEX_H
#define PRAAS_DATAPLANE_STATE_INDEX_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#include "praas/types.h"
#include "shm/doorbell.h"
#include "shm/segment.h"

#define PRAAS_STATE_MAGIC 0x7365746174537250ull
#define PRAAS_STATE_TORN 0x1u /* flag of an entry: an update of it died */
#define PRAAS_STATE_LATE 0x2u /* not in memory yet: PRAAS_WORKER_STATE_LOAD brings it */

struct praas_state_header {
	uint64_t magic;
	uint64_t slots;     /* power of two; constant */
	uint64_t hash_seed; /* of the keys' hashes; constant */
	uint64_t entries;   /* offset of the table in the segment; constant */
	uint64_t pad[4];
	alignas(64) _Atomic uint64_t epoch; /* of reclamation; from 1 */
	_Atomic uint64_t sequence; /* odd while several entries change together */
	uint64_t pad2[6];
};

struct praas_state_entry {
	_Atomic uint64_t sequence; /* odd while it changes */
	_Atomic uint64_t hash;     /* of the key; 0: free */
	_Atomic uint64_t
		key; /* offset of the key's bytes in segment 1 << 8 | its bytes */
	_Atomic uint64_t segment; /* id of the value's segment | flags << 32 */
	_Atomic uint64_t offset;  /* of the value there */
	_Atomic uint64_t bytes;
	_Atomic uint64_t version; /* 0: there is no such object (it is being made) */
	_Atomic uint64_t modified_ns;
};

_Static_assert(sizeof(struct praas_state_header) == 128, "shared layout");
_Static_assert(sizeof(struct praas_state_entry) == 64, "one cache line an entry");

/* In the reader's own segment, written by the reader alone. */
struct praas_state_reader_line {
	alignas(64) _Atomic uint64_t epoch; /* that it entered in; 0 outside */
	uint64_t pad[7];
};

/* A reader's private view of the index. */
struct praas_state_reader {
	const struct praas_state_header *header;
	const struct praas_state_entry *entries;
	const struct praas_segment *pool;
	struct praas_state_reader_line *line; /* NULL: does not protect what it finds */
	uint64_t mask;
	uint64_t seed;
};

/* What a reader found. Check the segment before following it. */
struct praas_state_found {
	uint64_t version, modified_ns, bytes, offset;
	uint32_t segment;
	uint32_t flags;
};

/* pool is borrowed for the reader's life. 0; -EPROTO the index does not fit into the segment. */
int praas_state_reader_init(struct praas_state_reader *r,
			    const struct praas_segment *pool, uint64_t index_offset,
			    struct praas_state_reader_line *line);

/* 0; -ENOENT; -EINVAL key; -EPROTO what is there makes no sense, or never holds still. */
int praas_state_reader_get(const struct praas_state_reader *r, const char *key,
			   uint32_t key_bytes, struct praas_state_found *ret_found);

/* Up to infos_max keys that begin with prefix and come after `after`, in order: one pass over
 * the table, no memory but ret_infos. 0; -EPROTO. Cost grows with the table: for large ones
 * ask the controller (STATE_LIST), which keeps the order. */
int praas_state_reader_list(const struct praas_state_reader *r, const char *prefix,
			    const char *after, struct praas_state_info *ret_infos,
			    uint32_t infos_max, uint32_t *ret_count);

/* A full fence; where the kernel has no membarrier(2). */
void praas_state_fence(void);

/* Around each invocation (or anything that follows what get() found). */
static inline void praas_state_reader_enter(const struct praas_state_reader *r)
{
	uint64_t epoch = atomic_load_explicit(&r->header->epoch, memory_order_relaxed);

	/* state.R1, pairs with state.A1: the controller sees that we are inside, or we see
	 * everything that it did before it looked. The fence is the controller's. */
	atomic_store_explicit(&r->line->epoch, epoch ? epoch : 1, memory_order_relaxed);
	if (praas_unlikely(praas_doorbell_fences))
		praas_state_fence();
	else /* the compiler keeps the order; the controller's fence makes the processor do */
		atomic_signal_fence(memory_order_seq_cst);
}

static inline void praas_state_reader_leave(const struct praas_state_reader *r)
{
	/* state.R2, pairs with state.A1: all reads of values are done. */
	atomic_store_explicit(&r->line->epoch, 0, memory_order_release);
}

#endif
