/* SPDX-License-Identifier: Apache-2.0 */
#include "control/life/back.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "control/life/ownership.h"

#define PUT_TRIES 4  /* others got in between, or the store did not say */
#define FIND_TRIES 4 /* it is saved and swept meanwhile */
#define SHARE_TRIES                                                                    \
	4 /* the last snapshot is swept while it is shared: then there is a later one */

/* All that an entry stands for is there. */
static int check(const struct praas_slot_log *log, const struct praas_slot_entry *entry,
		 struct praas_refs *ret_refs)
{
	int rc = praas_refs_open(log->store, entry, ret_refs);

	return rc == 0 ? praas_refs_check(log->store, ret_refs) : rc;
}

/* What a name stands for, whole. */
static int find_named(const struct praas_slot_log *log, const char *snapshot,
		      struct praas_slot_entry *ret_entry, struct praas_refs *ret_refs)
{
	struct praas_named named;
	int rc = praas_named_get(log, snapshot, &named);

	if (rc)
		return rc;
	rc = praas_named_entry(log, &named, ret_entry);
	if (rc == 0)
		rc = check(log, ret_entry, ret_refs);
	return rc == -ENOENT ? -EPROTO : rc;
}

/* The entry's snapshot is the process's last, in an epoch above all that were. */
static int put(struct praas_slot_log *log, uint32_t epoch,
	       struct praas_slot_entry *entry)
{
	struct praas_owner owner = { .epoch = epoch };
	bool unknown = false;
	int rc = -ESTALE;

	entry->kind = PRAAS_SLOT_BACK;
	for (unsigned i = 0; i < PUT_TRIES && (rc == -ESTALE || rc == -EIO); i++) {
		struct praas_owner_log seen = { .epoch = log->epoch_max };

		if (rc == -ESTALE) {
			struct praas_slot_log again;

			rc = praas_slot_log_open(log->store, &log->id, &again);
			if (rc)
				return rc;
			*log = again;
			seen.epoch = log->epoch_max;
			memset(entry->nonce, 0, sizeof(entry->nonce));
			entry->epoch = praas_owner_next_epoch(&owner, &seen);
		}
		rc = praas_slot_log_put(log,
					entry); /* after -EIO: the same once more */
		/* Refused, but an earlier try may have succeeded. */
		if (unknown && rc != 0 && rc != -ESTALE)
			rc = -EIO;
		unknown = rc == -EIO;
	}
	return rc;
}

int praas_back_put(struct praas_slot_log *log, const char *snapshot, uint32_t epoch,
		   struct praas_slot_entry *ret_entry)
{
	struct praas_refs refs = { 0 };
	int rc = find_named(log, snapshot, ret_entry, &refs);

	praas_refs_release(&refs);
	return rc == 0 ? put(log, epoch, ret_entry) : rc;
}

/* -EAGAIN: it was swept while it was looked at, for a later one. */
static int find_last(struct praas_fork *f, struct praas_slot_log *from)
{
	uint64_t slot;
	int rc = praas_slot_log_refresh(from);

	slot = from->snapshot_slot;
	if (rc == 0 && slot == PRAAS_SLOT_NONE)
		return -ENODATA;
	if (rc == 0)
		rc = praas_slot_log_read(from, slot, f->entry);
	if (rc == 0)
		rc = check(from, f->entry, &f->refs);
	if (rc != -ENOENT)
		return rc;
	rc = praas_slot_log_refresh(from);
	if (rc == 0)
		rc = from->snapshot_slot != slot ? -EAGAIN : -EPROTO;
	return rc;
}

int praas_fork_find(struct praas_fork *f, struct praas_slot_log *from)
{
	int rc = -EAGAIN;

	for (int i = 0; rc == -EAGAIN && i < FIND_TRIES; i++) {
		praas_refs_release(&f->refs);
		rc = f->snapshot ? find_named(from, f->snapshot, f->entry, &f->refs)
				 : find_last(f, from);
	}
	return rc;
}

static int share_once(const struct praas_fork *f, struct praas_store *from,
		      struct praas_store *to)
{
	char key[PRAAS_STORE_KEY_MAX + 1];
	int rc = f->refs.object[0] ? praas_store_share(to, from, f->refs.object) : 0;

	for (uint32_t i = 0; rc == 0 && i < f->refs.chunks_count; i++) {
		praas_snapshot_chunk_key(&f->refs.chunks[i], key);
		rc = praas_store_share(to, from, key);
	}
	return rc;
}

int praas_fork_share(struct praas_fork *f, struct praas_slot_log *from,
		     struct praas_store *to)
{
	int rc = share_once(f, from->store, to);

	for (int i = 1; rc == -ENOENT && i < SHARE_TRIES; i++) {
		rc = praas_fork_find(f, from);
		if (rc == 0)
			rc = share_once(f, from->store, to);
	}
	return rc == -ENOENT ? -EPROTO : rc;
}

int praas_fork_put(struct praas_fork *f, struct praas_slot_log *to, uint32_t epoch)
{
	memset(f->entry->nonce, 0, sizeof(f->entry->nonce));
	f->entry->kind = PRAAS_SLOT_BACK;
	f->entry->epoch = epoch;
	return praas_slot_log_put(to, f->entry);
}
