/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/named.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "internal/bytes.h"

/*
 * 192 bytes, little-endian:
 *    0 magic u64          8 version u32        12 epoch u32       16 pid u64
 *   24 generation u64    32 slot u64           40 named ns u64    48 taken ns u64
 *   56 bytes u64         64 records u64        72 nonce u64       80 tenant 16
 *   96 nonce of the entry 16                  112 name, zeros 64 176 XXH3-128 of the bytes before
 */

#define MAGIC 0x314d414e53415250ull /* "PRASNAM1" */
#define VERSION 1u
#define FOLDER "named/"
#define PREFIX FOLDER "n." /* a name may begin with a dot, an object's may not */
#define GIVE_TRIES 8u

void praas_named_encode(const struct praas_slot_id *id, const struct praas_named *n,
			uint8_t ret_data[PRAAS_NAMED_BYTES])
{
	uint8_t *d = ret_data;

	memset(d, 0, PRAAS_NAMED_BYTES);
	praas_put_le(d, MAGIC, 8);
	praas_put_le(d + 8, VERSION, 4);
	praas_put_le(d + 12, n->epoch, 4);
	praas_put_le(d + 16, id->pid, 8);
	praas_put_le(d + 24, id->generation, 8);
	praas_put_le(d + 32, n->slot, 8);
	praas_put_le(d + 40, n->named_ns, 8);
	praas_put_le(d + 48, n->taken_ns, 8);
	praas_put_le(d + 56, n->bytes, 8);
	praas_put_le(d + 64, n->records, 8);
	praas_put_le(d + 72, n->nonce, 8);
	memcpy(d + 80, id->tenant, 16);
	memcpy(d + 96, n->entry_nonce, PRAAS_SLOT_NONCE_BYTES);
	memcpy(d + 112, n->name, strnlen(n->name, PRAAS_NAME_MAX));
	praas_snapshot_hash(d, 176, d + 176);
}

int praas_named_decode(const struct praas_slot_id *id, const char *name,
		       const uint8_t *d, size_t bytes, struct praas_named *ret_named)
{
	uint8_t sum[PRAAS_SNAPSHOT_HASH_BYTES];
	struct praas_named n = { 0 };
	size_t name_bytes = strlen(name);

	if (bytes != PRAAS_NAMED_BYTES || praas_get_le(d, 8) != MAGIC ||
	    praas_get_le(d + 8, 4) != VERSION)
		return -EPROTO;
	praas_snapshot_hash(d, 176, sum);
	if (name_bytes > PRAAS_NAME_MAX)
		return -EPROTO;
	memcpy(n.name, name, name_bytes);
	if (memcmp(sum, d + 176, sizeof(sum)) != 0 ||
	    praas_get_le(d + 16, 8) != id->pid ||
	    praas_get_le(d + 24, 8) != id->generation ||
	    memcmp(d + 80, id->tenant, 16) != 0 ||
	    memcmp(d + 112, n.name, PRAAS_NAME_MAX) != 0)
		return -EPROTO;
	n.epoch = (uint32_t)praas_get_le(d + 12, 4);
	n.slot = praas_get_le(d + 32, 8);
	n.named_ns = praas_get_le(d + 40, 8);
	n.taken_ns = praas_get_le(d + 48, 8);
	n.bytes = praas_get_le(d + 56, 8);
	n.records = praas_get_le(d + 64, 8);
	n.nonce = praas_get_le(d + 72, 8);
	memcpy(n.entry_nonce, d + 96, PRAAS_SLOT_NONCE_BYTES);
	*ret_named = n;
	return 0;
}

_Static_assert(PRAAS_NAME_MAX == 64, "room of the name");

int praas_named_key(const char *name, char ret_key[PRAAS_STORE_KEY_MAX + 1])
{
	if (name[0] == '\0' || strlen(name) > PRAAS_NAME_MAX || strchr(name, '/'))
		return -EINVAL;
	(void)snprintf(ret_key, PRAAS_STORE_KEY_MAX + 1, PREFIX "%s", name); /* fits */
	return 0;
}

static int read_key(const struct praas_slot_log *log, const char *key,
		    struct praas_named *ret_named)
{
	uint8_t data[PRAAS_NAMED_BYTES + 1];
	size_t bytes = 0;
	int rc = log->store->ops->get(log->store, key, 0, data, sizeof(data), &bytes);

	return rc != 0 ? rc
		       : praas_named_decode(&log->id, key + sizeof(PREFIX) - 1, data,
					    bytes, ret_named);
}

int praas_named_get(const struct praas_slot_log *log, const char *name,
		    struct praas_named *ret_named)
{
	char key[PRAAS_STORE_KEY_MAX + 1];
	int rc = praas_named_key(name, key);

	return rc != 0 ? -ENOENT : read_key(log, key, ret_named);
}

int praas_named_entry(const struct praas_slot_log *log, const struct praas_named *named,
		      struct praas_slot_entry *ret_entry)
{
	int rc = praas_slot_log_read(log, named->slot, ret_entry);

	if (rc == 0 && (!praas_slot_has_snapshot(ret_entry->kind) ||
			memcmp(ret_entry->nonce, named->entry_nonce,
			       sizeof(named->entry_nonce)) != 0))
		return -EPROTO;
	return rc;
}

/* ---- listing ---- */

struct listing {
	const struct praas_slot_log *log;
	struct praas_named *to;
	unsigned count, max;
};

#define FULL 1 /* ends a walk */

static int list_one(void *user, const char *key)
{
	struct listing *l = user;
	struct praas_named *n = &l->to[l->count];
	const char *name = key + sizeof(PREFIX) - 1;
	int rc;

	if (strncmp(key, PREFIX, sizeof(PREFIX) - 1) != 0 ||
	    strlen(name) > PRAAS_NAME_MAX)
		return 0;
	if (l->count == l->max)
		return FULL;
	rc = read_key(l->log, key, n);
	if (rc == -ENOENT)
		return 0; /* it was just taken */
	if (rc == -EPROTO) {
		*n = (struct praas_named){ .slot = PRAAS_SLOT_NONE };
		(void)snprintf(n->name, sizeof(n->name), "%s", name); /* fits */
		rc = 0;
	}
	l->count += rc == 0;
	return rc;
}

int praas_named_list(const struct praas_slot_log *log, const char *after, unsigned max,
		     struct praas_named *ret_named, unsigned *ret_count)
{
	struct listing l = { .log = log, .to = ret_named, .max = max };
	char from[PRAAS_STORE_KEY_MAX + 1] = "";
	int rc = after && after[0] ? praas_named_key(after, from) : 0;

	if (rc == 0)
		rc = log->store->ops->list(log->store, FOLDER, from, list_one, &l);
	*ret_count = l.count;
	return rc == FULL ? 0 : rc;
}

static int count_one(void *user, const char *key)
{
	unsigned *count = user;

	*count += strncmp(key, PREFIX, sizeof(PREFIX) - 1) == 0;
	return 0;
}

/* ---- giving ---- */

/* What the last snapshot is, as it will be told. */
static int describe(const struct praas_slot_log *log, struct praas_slot_entry *entry,
		    struct praas_named *n)
{
	struct praas_refs refs = { 0 };
	int rc = praas_slot_log_read(log, log->snapshot_slot, entry);

	if (rc == 0)
		rc = praas_refs_open(log->store, entry, &refs);
	if (rc != 0)
		return rc;
	n->slot = entry->slot;
	n->epoch = entry->epoch;
	memcpy(n->entry_nonce, entry->nonce, sizeof(n->entry_nonce));
	n->taken_ns = refs.created_ns;
	n->bytes = refs.value_bytes;
	n->records = refs.records_count;
	rc = praas_refs_check(log->store, &refs);
	praas_refs_release(&refs);
	return rc;
}

/* A lost response is found out by the nonce, as in the slot log. */
static int put(const struct praas_slot_log *log, const char *key,
	       const struct praas_named *n)
{
	struct praas_store *store = log->store;
	uint8_t data[PRAAS_NAMED_BYTES];
	struct praas_named found;
	int rc = -EIO;

	praas_named_encode(&log->id, n, data);
	for (unsigned i = 0; rc == -EIO && i < PRAAS_SLOT_TRIES; i++)
		rc = store->ops->put_if_absent(store, key, data, sizeof(data));
	if (rc == -EEXIST && read_key(log, key, &found) == 0 && found.nonce == n->nonce)
		rc = 0;
	return rc;
}

/*
 * The name must be there before a sweep begins that would not keep the snapshot for being one of the last
 * two. If it still is one of these after the name was put, it was all the time: then no sweep so far could
 * remove any of it, and each that begins later sees the name.
 */
static int give_once(struct praas_slot_log *log, const char *key,
		     struct praas_slot_entry *entry, struct praas_named *n)
{
	uint64_t slot = log->snapshot_slot;
	int rc = describe(log, entry, n), gone;

	if (rc == -ENOENT) {
		rc = praas_slot_log_refresh(log);
		if (rc == 0) /* swept since the log was read, for a later one */
			rc = log->snapshot_slot != slot ? -EAGAIN : -ENOENT;
	}
	if (rc == 0)
		rc = put(log, key, n);
	if (rc != 0)
		return rc;
	rc = praas_slot_log_refresh(log);
	if (rc == 0 && (n->slot == log->snapshot_slot || n->slot == log->previous_slot))
		return 0;
	/* Else it is there, and is not to be taken for what the next try puts. */
	gone = log->store->ops->delete (log->store, key);
	if (gone != 0)
		return gone;
	return rc != 0 ? rc : -EAGAIN;
}

int praas_named_give(struct praas_slot_log *log, const char *name, uint64_t now_ns,
		     struct praas_named *ret_named)
{
	struct praas_named n = { .named_ns = now_ns };
	char key[PRAAS_STORE_KEY_MAX + 1];
	struct praas_slot_entry *entry;
	unsigned count = 0;
	int rc = praas_named_key(name, key);

	if (rc == 0)
		rc = log->store->ops->list(log->store, FOLDER, NULL, count_one, &count);
	if (rc != 0)
		return rc;
	if (read_key(log, key, ret_named) != -ENOENT)
		return -EEXIST;
	if (count >= PRAAS_NAMED_MAX)
		return -EMFILE;
	if (log->snapshot_slot == PRAAS_SLOT_NONE)
		return -ENODATA;
	if (getrandom(&n.nonce, sizeof(n.nonce), 0) != (ssize_t)sizeof(n.nonce))
		return -EIO;
	entry = malloc(sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	(void)snprintf(n.name, sizeof(n.name), "%s", name); /* fits */
	rc = -EAGAIN;
	for (unsigned i = 0; rc == -EAGAIN && i < GIVE_TRIES; i++)
		rc = give_once(log, key, entry, &n);
	free(entry);
	*ret_named = n;
	return rc;
}
