/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "controller/store/named.h"

/*
 * What named snapshots keep, and what goes with a name.
 */

static int refs_of_slot(const struct praas_slot_log *log, uint64_t slot,
			struct praas_refs *ret_refs)
{
	struct praas_slot_entry *entry = malloc(sizeof(*entry));
	int rc;

	if (!entry)
		return -ENOMEM;
	rc = praas_slot_log_read(log, slot, entry);
	if (rc == 0)
		rc = praas_refs_open(log->store, entry, ret_refs);
	free(entry);
	return rc;
}

static int see(struct praas_named_set *set, const struct praas_slot_log *log,
	       uint64_t slot)
{
	int rc;

	for (unsigned i = 0; i < set->count; i++) {
		if (set->all[i].slot == slot) {
			set->all[i].seen = true;
			return 0;
		}
	}
	if (set->count == PRAAS_NAMED_MAX)
		return -E2BIG;
	rc = refs_of_slot(log, slot, &set->all[set->count].refs);
	if (rc != 0)
		return rc;
	set->all[set->count].slot = slot;
	set->all[set->count++].seen = true;
	return 0;
}

static void drop_unseen(struct praas_named_set *set)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < set->count; i++) {
		if (set->all[i].seen)
			set->all[kept++] = set->all[i];
		else
			praas_refs_release(&set->all[i].refs);
	}
	set->count = kept;
}

int praas_named_set_read(struct praas_named_set *set, const struct praas_slot_log *log)
{
	struct praas_named *names = calloc(PRAAS_NAMED_MAX + 1, sizeof(*names));
	unsigned count = 0;
	int rc;

	if (!names)
		return -ENOMEM;
	rc = praas_named_list(log, NULL, PRAAS_NAMED_MAX + 1, names, &count);
	for (unsigned i = 0; i < set->count; i++) {
		set->all[i].seen = false;
		for (unsigned k = 0; k < count; k++)
			set->all[i].seen |= names[k].slot == set->all[i].slot;
	}
	if (rc == 0)
		drop_unseen(set);
	for (unsigned i = 0; rc == 0 && i < count; i++)
		rc = names[i].slot == PRAAS_SLOT_NONE ? -EPROTO
						      : see(set, log, names[i].slot);
	free(names);
	return rc;
}

void praas_named_set_release(struct praas_named_set *set)
{
	for (unsigned i = 0; i < set->count; i++)
		praas_refs_release(&set->all[i].refs);
	set->count = 0;
}

/*
 * No epoch has begun since the last entry that log knows: so all that was listed before is of that epoch or an
 * older one, and what comes later refers to new objects and to what the last snapshot needs. An owner that was
 * taken for gone would remove the next one's chunks otherwise.
 */
static int still_owner(void *user)
{
	struct praas_slot_log *log = user;
	uint32_t epoch = log->epoch_max;
	int rc = praas_slot_log_refresh(log);

	if (rc == 0 && (log->epoch_max != epoch || log->tomb))
		rc = -ESTALE;
	return rc;
}

int praas_named_sweep(struct praas_slot_log *log, struct praas_named_set *set,
		      const struct praas_refs last[2])
{
	const struct praas_refs *keep[PRAAS_NAMED_MAX + 2] = { &last[0], &last[1] };
	unsigned count = 2;
	int rc = praas_named_set_read(set, log);

	for (unsigned i = 0; i < set->count; i++)
		keep[count++] = &set->all[i].refs;
	return rc == 0 ? praas_refs_sweep(log->store, keep, count, still_owner, log)
		       : rc;
}

/* ---- taking ---- */

/* dead: of a name that is gone. */
static int remove_dead(struct praas_slot_log *log, const struct praas_refs *dead)
{
	const struct praas_refs *keep[PRAAS_NAMED_MAX + 2];
	struct praas_named_set *set = calloc(1, sizeof(*set));
	struct praas_refs last[2] = { 0 };
	unsigned count = 0;
	int rc = set ? praas_named_set_read(set, log) : -ENOMEM;

	/* Read after the name went: what comes later refers to what the last one does, or to new chunks. */
	if (rc == 0)
		rc = praas_slot_log_refresh(log);
	if (rc == 0 && log->snapshot_slot != PRAAS_SLOT_NONE) {
		rc = refs_of_slot(log, log->snapshot_slot, &last[0]);
		keep[count++] = &last[0];
	}
	if (rc == 0 && log->previous_slot != PRAAS_SLOT_NONE) {
		rc = refs_of_slot(log, log->previous_slot, &last[1]);
		if (rc == -ENOENT)
			rc = 0; /* it was not kept */
		keep[count++] = &last[1];
	}
	for (unsigned i = 0; rc == 0 && i < set->count; i++)
		keep[count++] = &set->all[i].refs;
	if (rc == 0)
		rc = praas_refs_remove(log->store, dead, keep, count);
	praas_refs_release(&last[0]);
	praas_refs_release(&last[1]);
	if (set)
		praas_named_set_release(set);
	free(set);
	return rc;
}

int praas_named_take(struct praas_slot_log *log, const char *name)
{
	struct praas_refs dead = { 0 };
	struct praas_named named;
	char key[PRAAS_STORE_KEY_MAX + 1];
	int rc = praas_named_get(log, name, &named), known;

	if (rc != 0 && rc != -EPROTO)
		return rc;
	known = rc == 0 ? refs_of_slot(log, named.slot, &dead) : rc;
	rc = praas_named_key(name, key);
	if (rc == 0)
		rc = log->store->ops->delete (log->store, key);
	if (rc == 0 && known == 0)
		(void)remove_dead(log, &dead); /* else the next sweep does it */
	praas_refs_release(&dead);
	return rc;
}
