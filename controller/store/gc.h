/* SPDX-License-Identifier: Apache-2.0
 *
 * Collecting what nobody needs in the store of a process, without owning it: chunks and manifests that no kept
 * snapshot refers to, entries of the log that nobody reads any more, and all that is left of a process that is
 * deleted (docs/snapshot-format.md, "What is collected").
 *
 * Two looks: what the first one finds unneeded, and the second one, a grace later, finds unneeded still, goes. The
 * grace is longer than an upload may take (PRAAS_GC_UPLOADS times over): a writer whose upload takes longer does not
 * commit it. So what is on its way at the first look has been committed at the second, or never will be.
 *
 * The control service runs it for every store there is, resting or active, beside controllers that sweep.
 */
#ifndef PRAAS_CONTROLLER_STORE_GC_H
#define PRAAS_CONTROLLER_STORE_GC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/store/refs.h"
#include "controller/store/slot_log.h"

#define PRAAS_GC_UPLOADS 2u /* the grace is so many times the longest upload */
#define PRAAS_GC_GRACE_S 3600u
#define PRAAS_GC_NAMES_MAX 65536u /* of one look: the rest is another's turn */

/* What one look has found. Zeroed: none was taken. */
struct praas_gc_look {
	uint64_t looked_ns;        /* a clock that also runs while the machine sleeps */
	uint64_t log_from, log_to; /* entries [from, to) are needed by nobody */
	bool tomb;                 /* the process is deleted: all of it goes */
	size_t count;
	char (*names)[PRAAS_REFS_NAME_BYTES]; /* malloc'd, sorted */
};

struct praas_gc_result {
	uint64_t objects,
		entries; /* that were removed: chunks and manifests; of the log */
	bool deleted; /* the process is: the store may be removed as a whole (whole.h) */
};

/* CLOCK_BOOTTIME. */
uint64_t praas_gc_now_ns(void);

/* The first look. log: just read. 0; -EPROTO, -ENOENT a kept snapshot or a name is damaged: it is not known what it
 * needs, and nothing of the store is collected; -ENOMEM; or what the store says. */
int praas_gc_look(struct praas_slot_log *log, uint64_t now_ns,
		  struct praas_gc_look *ret_look);
/* The second one, at least grace_ns after the first, and what goes. log: just read. 0; -EAGAIN it is too early; as
 * above. *look is then the first look of the next time. */
int praas_gc_collect(struct praas_slot_log *log, uint64_t now_ns, uint64_t grace_ns,
		     struct praas_gc_look *look, struct praas_gc_result *ret_result);
/* A zeroed one is allowed. */
void praas_gc_look_release(struct praas_gc_look *look);

/* The oldest entry that is needed: of the last two snapshots, of what was agreed before a rollback, and of each
 * name. From it on the log has no gap. 0; -EPROTO; or what the store says. */
int praas_gc_log_floor(const struct praas_slot_log *log, uint64_t *ret_slot);

#endif
