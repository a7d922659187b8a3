/* SPDX-License-Identifier: Apache-2.0
 *
 * Large state of a snapshot that is read after the process has begun to serve
 * (docs/snapshot-format.md, docs/lifecycle.md): on demand by the data thread, all the rest by the
 * admin thread. What is small, or no state, is loaded before as ever.
 */
#ifndef PRAAS_CONTROLLER_SNAPSHOT_LATE_H
#define PRAAS_CONTROLLER_SNAPSHOT_LATE_H

#include "controller/snapshot.h"
#include "dataplane/late.h"

/* With less state than this in its chunks a snapshot is loaded whole: it takes a few ms. */
#define PRAAS_SNAPSHOT_LATE_BYTES (4ull << 20)
/* A smaller value comes at once: its place would take as much memory, and a read of its own. */
#define PRAAS_SNAPSHOT_LATE_VALUE_MIN 4096u

struct praas_snapshot_late;

/**
 * What of the snapshot can come later. The snapshot may go afterwards; the store is kept for what
 * is read on demand. NULL in *ret_late: nothing. 0; -ENOMEM; -ENOENT or -EPROTO a chunk is missing
 * or short; or what the store says. Data thread, as the store.
 */
int praas_snapshot_late_new(struct praas_store *store,
			    const struct praas_snapshot *snapshot,
			    struct praas_snapshot_late **ret_late);
/* After the last value has been released. NULL is allowed. */
void praas_snapshot_late_free(struct praas_snapshot_late *late);

/* True when this record comes later. */
bool praas_snapshot_late_is(const struct praas_snapshot_record *record);
/* Of the records that come later, in their order: number i from 0. */
struct praas_late *praas_snapshot_late_at(struct praas_snapshot_late *late, uint64_t i);

/* Reads on in the background, up to about bytes_max, from a store of the caller's own. 0; -ENODATA
 * all has been read. One thread. */
int praas_snapshot_late_step(struct praas_snapshot_late *late,
			     struct praas_store *store, uint64_t bytes_max);
/* How many values cannot be had, so far as step() has come. */
uint64_t praas_snapshot_late_failed(const struct praas_snapshot_late *late);

#endif
