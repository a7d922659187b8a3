/* SPDX-License-Identifier: Apache-2.0
 *
 * What a rollback and a fork do to slot logs and stores: the steps of docs/lifecycle.md that count when the
 * service is killed between two of them, or others write meanwhile. The life cycle around them is elsewhere
 * (lifecycle_back.c, lifecycle_fork.c); the simulator runs these (tests/sim/named.c).
 */
#ifndef PRAAS_CONTROL_LIFE_BACK_H
#define PRAAS_CONTROL_LIFE_BACK_H

#include <stdint.h>

#include "controller/store/named.h"

/*
 * Puts a named snapshot in place of the last one, by an entry BACK in an epoch above `epoch` and all that the
 * log has. ret_entry: that entry. 0; -ENOENT no such name; -EPROTO the snapshot is damaged or gone; -ESTALE
 * overtaken again and again; -EIO the store did not say; or what it says.
 */
int praas_back_put(struct praas_slot_log *log, const char *snapshot, uint32_t epoch,
		   struct praas_slot_entry *ret_entry);

/* A fork on its way. */
struct praas_fork {
	const char *snapshot;           /* name; NULL: the last */
	struct praas_slot_entry *entry; /* the caller's memory */
	struct praas_refs refs;
};

/* What is forked, found whole: entry and refs. 0; -ENOENT no such name; -ENODATA there is no snapshot; -EPROTO
 * damaged or gone; -EAGAIN overtaken by one snapshot after the other. */
int praas_fork_find(struct praas_fork *f, struct praas_slot_log *from);
/* Its chunks and manifest in the new store, too. The last snapshot may be swept meanwhile: then there is a
 * later one, which is found and taken. Errors as find(). */
int praas_fork_share(struct praas_fork *f, struct praas_slot_log *from,
		     struct praas_store *to);
/* Then the first entry of the new log; its slot is in f->entry. As praas_slot_log_put(). */
int praas_fork_put(struct praas_fork *f, struct praas_slot_log *to, uint32_t epoch);

#endif
