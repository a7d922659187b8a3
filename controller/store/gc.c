/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/gc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "controller/store/named.h"
#include "internal/base.h"

#define SECOND_NS 1000000000ull
#define ENTRIES_MAX 4096u /* of the log that go in one turn */

uint64_t praas_gc_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_BOOTTIME, &now); /* cannot fail for this clock */
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

void praas_gc_look_release(struct praas_gc_look *look)
{
	free(look->names);
	*look = (struct praas_gc_look){ 0 };
}

/* ---- what is needed ---- */

struct needed {
	struct praas_slot_entry entry;
	struct praas_named names[PRAAS_NAMED_MAX + 1];
	struct praas_refs refs[PRAAS_NAMED_MAX + 2];
	const struct praas_refs *keep[PRAAS_NAMED_MAX + 2];
	unsigned count;
};

static void needed_free(struct needed *n)
{
	for (unsigned i = 0; i < n->count; i++)
		praas_refs_release(&n->refs[i]);
	free(n);
}

/* absent: it may have gone already, with all that it needed. */
static int need_slot(const struct praas_slot_log *log, uint64_t slot, bool absent,
		     struct needed *n)
{
	int rc;

	if (slot == PRAAS_SLOT_NONE)
		return 0;
	rc = praas_slot_log_read(log, slot, &n->entry);
	if (rc == 0)
		rc = praas_refs_open(log->store, &n->entry, &n->refs[n->count]);
	if (rc == 0) {
		n->keep[n->count] = &n->refs[n->count];
		n->count++;
	}
	return rc == -ENOENT && absent ? 0 : rc;
}

static int need_names(const struct praas_slot_log *log, struct needed *n)
{
	unsigned count = 0;
	int rc = praas_named_list(log, NULL, PRAAS_NAMED_MAX + 1, n->names, &count);

	if (rc == 0 && count > PRAAS_NAMED_MAX)
		rc = -E2BIG;
	for (unsigned i = 0; rc == 0 && i < count; i++)
		rc = n->names[i].slot == PRAAS_SLOT_NONE
			     ? -EPROTO /* it is not known what it keeps */
			     : need_slot(log, n->names[i].slot, false, n);
	return rc;
}

/* Names first: one that is given meanwhile is of a snapshot that is among the last two, which are read after. */
static int find_needed(struct praas_slot_log *log, struct needed *n)
{
	int rc = need_names(log, n);

	if (rc == 0)
		rc = praas_slot_log_refresh(log);
	if (rc == 0)
		rc = need_slot(log, log->snapshot_slot, false, n);
	if (rc == 0)
		rc = need_slot(log, log->previous_slot, true, n);
	return rc;
}

/* ---- the log ---- */

/* A rollback goes on with what the process's own snapshot before it had agreed upon. */
static int own_snapshot(const struct praas_slot_log *log, uint64_t slot,
			struct praas_slot_entry *entry, uint64_t *ret_slot)
{
	for (;; slot--) {
		int rc = praas_slot_log_read(log, slot, entry);

		if (rc == -ENOENT) { /* it was let go before */
			*ret_slot = slot + 1;
			return 0;
		}
		if (rc != 0)
			return rc;
		if (entry->kind == PRAAS_SLOT_SNAP || entry->kind == PRAAS_SLOT_REL ||
		    slot == 0)
			break;
	}
	*ret_slot = slot;
	return 0;
}

static int log_floor(const struct praas_slot_log *log, struct praas_slot_entry *entry,
		     struct praas_named *names, uint64_t *ret_slot)
{
	unsigned count = 0;
	uint64_t slot = 0;
	int rc = 0;

	if (log->previous_slot == PRAAS_SLOT_NONE) { /* who opens it reads it all */
		*ret_slot = 0;
		return 0;
	}
	rc = own_snapshot(log, log->previous_slot, entry, &slot);
	if (rc == 0)
		rc = praas_named_list(log, NULL, PRAAS_NAMED_MAX + 1, names, &count);
	for (unsigned i = 0; rc == 0 && i < count; i++) {
		if (names[i].slot == PRAAS_SLOT_NONE)
			return -EPROTO;
		slot = praas_min_u64(slot, names[i].slot);
	}
	*ret_slot = slot;
	return rc;
}

int praas_gc_log_floor(const struct praas_slot_log *log, uint64_t *ret_slot)
{
	struct needed *n = calloc(1, sizeof(*n));
	int rc = n ? log_floor(log, &n->entry, n->names, ret_slot) : -ENOMEM;

	free(n);
	return rc;
}

struct first {
	uint64_t slot;
};

static int note_first(void *user, const char *key)
{
	struct first *f = user;
	char *end;
	unsigned long long slot = strtoull(key + 4, &end, 10);

	if (strlen(key) != 24 || *end != '\0')
		return 0;
	f->slot = slot;
	return -ECANCELED; /* they come in order */
}

static int first_slot(const struct praas_slot_log *log, uint64_t *ret_slot)
{
	struct first f = { .slot = log->cursor };
	int rc = log->store->ops->list(log->store, "log/", NULL, note_first, &f);

	*ret_slot = f.slot;
	return rc == -ECANCELED ? 0 : rc;
}

/* ---- looking ---- */

static int note_name(void *user, const char *key)
{
	struct praas_gc_look *look = user;

	if (look->count == PRAAS_GC_NAMES_MAX)
		return -ECANCELED;
	memcpy(look->names[look->count++], key, strlen(key) + 1); /* shorter */
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int look_at_names(struct praas_slot_log *log, const struct needed *n,
			 struct praas_gc_look *look)
{
	void *fit;
	int rc;

	look->names = malloc(PRAAS_GC_NAMES_MAX * sizeof(*look->names));
	if (!look->names)
		return -ENOMEM;
	rc = praas_refs_unneeded(log->store, n->keep, n->count, note_name, look);
	if (rc != 0 && rc != -ECANCELED)
		return rc;
	if (look->count > 1)
		qsort(look->names, look->count, sizeof(*look->names), by_name);
	fit = realloc(look->names, (look->count + 1) * sizeof(*look->names));
	if (fit)
		look->names = fit;
	return 0;
}

int praas_gc_look(struct praas_slot_log *log, uint64_t now_ns,
		  struct praas_gc_look *ret_look)
{
	struct praas_gc_look look = { .looked_ns = now_ns, .tomb = log->tomb };
	struct needed *n = calloc(1, sizeof(*n));
	int rc = n ? 0 : -ENOMEM;

	if (rc == 0 && !look.tomb)
		rc = find_needed(log, n);
	if (rc == 0)
		rc = look_at_names(log, n, &look);
	if (rc == 0 && !look.tomb)
		rc = first_slot(log, &look.log_from);
	if (rc == 0 && !look.tomb)
		rc = log_floor(log, &n->entry, n->names, &look.log_to);
	look.log_to = praas_max_u64(look.log_to, look.log_from);
	if (n)
		needed_free(n);
	if (rc != 0)
		praas_gc_look_release(&look);
	else
		*ret_look = look;
	return rc;
}

/* ---- removing ---- */

/* What both looks have found; the rest stays in now, for the next time. */
static int remove_names(struct praas_store *store, const struct praas_gc_look *before,
			struct praas_gc_look *now, struct praas_gc_result *result)
{
	size_t kept = 0;
	int rc = 0;

	for (size_t i = 0; i < now->count; i++) {
		bool both = before->count > 0 &&
			    bsearch(now->names[i], before->names, before->count,
				    sizeof(*before->names), by_name);

		if (rc == 0 && both) {
			rc = store->ops->delete (store, now->names[i]);
			result->objects += rc == 0;
		}
		if (rc != 0 || !both)
			memmove(now->names[kept++], now->names[i], sizeof(*now->names));
	}
	now->count = kept;
	return rc;
}

/* The lowest first: an entry whose predecessor is there was never removed (praas_slot_log_put()). */
static int remove_entries(struct praas_store *store, const struct praas_gc_look *before,
			  const struct praas_gc_look *now,
			  struct praas_gc_result *result)
{
	uint64_t to = praas_min_u64(before->log_to, now->log_to);
	char key[PRAAS_STORE_KEY_MAX + 1];
	int rc = 0;

	for (uint64_t slot = now->log_from;
	     rc == 0 && slot < to && result->entries < ENTRIES_MAX; slot++) {
		praas_slot_key(slot, key);
		rc = store->ops->delete (store, key);
		result->entries += rc == 0;
	}
	return rc;
}

int praas_gc_collect(struct praas_slot_log *log, uint64_t now_ns, uint64_t grace_ns,
		     struct praas_gc_look *look, struct praas_gc_result *ret_result)
{
	struct praas_gc_look now;
	int rc;

	*ret_result = (struct praas_gc_result){ 0 };
	if (now_ns - look->looked_ns < grace_ns)
		return -EAGAIN;
	rc = praas_gc_look(log, now_ns, &now);
	if (rc != 0)
		return rc;
	ret_result->deleted = look->tomb && now.tomb;
	if (!ret_result->deleted) {
		rc = remove_names(log->store, look, &now, ret_result);
		if (rc == 0)
			rc = remove_entries(log->store, look, &now, ret_result);
	}
	praas_gc_look_release(look);
	*look = now;
	return rc;
}
