/* SPDX-License-Identifier: Apache-2.0
 *
 * Looks whether the store of a process is whole: every entry of its log, every snapshot that is kept (the last two
 * and named ones), every chunk that they refer to, read to its end and compared with the hashes of its values; and
 * what nobody refers to. Nothing is changed. A controller may serve meanwhile: what it replaces while it is looked at
 * is not called missing.
 */
#ifndef PRAAS_CONTROLLER_STORE_CHECK_H
#define PRAAS_CONTROLLER_STORE_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/store/slot_log.h"

enum praas_check_kind {
	PRAAS_CHECK_UNREADABLE, /* an entry of the log, a name, a manifest: not what was written */
	PRAAS_CHECK_MISSING, /* what a kept snapshot refers to; an entry between two others */
	PRAAS_CHECK_CORRUPT, /* a chunk is too short, or a value has another hash */
	PRAAS_CHECK_ORPHAN   /* nobody refers to it: left over, or on its way */
};

struct praas_check_report {
	uint64_t entries, snapshots, chunks, values, bytes; /* that were looked at */
	uint64_t unreadable, missing, corrupt, orphans, orphan_bytes;
	bool deleted; /* there is a tombstone: the rest is left over */
};

/* key: of the object. why: in words. */
typedef void (*praas_check_fn)(void *user, enum praas_check_kind kind, const char *key,
			       const char *why);

/* 0 whatever was found; -ENOENT there is no log; -EPROTO no entry of it says whose it is; -ENOMEM; or what the store says:
 * then it could not be looked at. */
int praas_check_store(struct praas_store *store, praas_check_fn fn, void *user,
		      struct praas_check_report *ret_report);

/* "unreadable", … */
const char *praas_check_word(enum praas_check_kind kind);

#endif
