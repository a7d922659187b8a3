/* SPDX-License-Identifier: Apache-2.0
 *
 * What a log says, put into the snapshot that it follows (docs/journal.md): then that is as if it had
 * been made at the log's end. Pure; nothing of the data plane is needed.
 */
#ifndef PRAAS_CONTROLLER_REDO_EDIT_H
#define PRAAS_CONTROLLER_REDO_EDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/snapshot.h"

struct praas_redo_edit;

/* Of snapshot, which is not touched by others until the end. 0; -ENOMEM. */
int praas_redo_edit_begin(struct praas_snapshot *snapshot,
			  struct praas_redo_edit **ret_edit);

/* The changes of a turn (dataplane/changes.h); copied. agreed: only what was agreed with other processes counts
 * (of a turn that a rollback has undone). 0; -EPROTO; -ENOMEM; -E2BIG. After an error the snapshot
 * is of no use. */
int praas_redo_edit_turn(struct praas_redo_edit *edit, bool agreed, const uint8_t *data,
			 uint64_t bytes);

/* How many turns there were. */
uint64_t praas_redo_edit_turns(const struct praas_redo_edit *edit);

/* The snapshot is whole. 0; -ENOMEM; -EPROTO who is joined to an input is not followed by one. edit is gone; NULL is
 * allowed. */
int praas_redo_edit_end(struct praas_redo_edit *edit);

#endif
