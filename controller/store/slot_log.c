/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/slot_log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <xxhash.h>

#include "controller/store/slot_cursor.h"
#include "internal/bytes.h"

/*
 * Entry: a header of 128 bytes, little-endian, and the body.
 *    0 magic u64           8 version u32      12 kind u32       16 pid u64
 *   24 generation u64     32 slot u64         40 epoch u32      44 body bytes u32
 *   48 tenant 16          64 nonce 16         80 key id u64 (0: not sealed)   88 zero u64
 *   96 XXH3-128 of the body                  112 XXH3-128 of the bytes before
 */

#define MAGIC 0x31474f4c53415250ull /* "PRASLOG1" */
#define VERSION 1u
#define FORWARD_MAX 1000000u /* slots that one refresh reads */

bool praas_slot_has_snapshot(uint8_t kind)
{
	return kind == PRAAS_SLOT_SNAP || praas_slot_releases(kind);
}

bool praas_slot_releases(uint8_t kind)
{
	return kind == PRAAS_SLOT_REL || kind == PRAAS_SLOT_BACK;
}

static void checksum(const uint8_t *data, size_t bytes, uint8_t ret_sum[16])
{
	XXH128_canonical_t sum;

	XXH128_canonicalFromHash(&sum, XXH3_128bits(data, bytes));
	memcpy(ret_sum, sum.digest, 16);
}

size_t praas_slot_encode(const struct praas_slot_id *id,
			 const struct praas_slot_entry *entry, uint8_t *ret_data)
{
	uint8_t *h = ret_data;

	memset(h, 0, PRAAS_SLOT_HEADER_BYTES);
	praas_put_le(h, MAGIC, 8);
	praas_put_le(h + 8, VERSION, 4);
	praas_put_le(h + 12, entry->kind, 4);
	praas_put_le(h + 16, id->pid, 8);
	praas_put_le(h + 24, id->generation, 8);
	praas_put_le(h + 32, entry->slot, 8);
	praas_put_le(h + 40, entry->epoch, 4);
	praas_put_le(h + 44, entry->body_bytes, 4);
	memcpy(h + 48, id->tenant, 16);
	memcpy(h + 64, entry->nonce, 16);
	memcpy(h + PRAAS_SLOT_HEADER_BYTES, entry->body, entry->body_bytes);
	checksum(h + PRAAS_SLOT_HEADER_BYTES, entry->body_bytes, h + 96);
	checksum(h, 112, h + 112);
	return PRAAS_SLOT_HEADER_BYTES + entry->body_bytes;
}

int praas_slot_decode(const struct praas_slot_id *id, uint64_t slot,
		      const uint8_t *data, size_t bytes,
		      struct praas_slot_entry *ret_entry)
{
	uint8_t sum[16];
	uint64_t kind, body_bytes;

	if (bytes < PRAAS_SLOT_HEADER_BYTES)
		return -EPROTO;
	checksum(data, 112, sum);
	if (memcmp(sum, data + 112, 16) != 0 || praas_get_le(data, 8) != MAGIC ||
	    praas_get_le(data + 8, 4) != VERSION)
		return -EPROTO;
	kind = praas_get_le(data + 12, 4);
	body_bytes = praas_get_le(data + 44, 4);
	if (kind < PRAAS_SLOT_ACT || kind > PRAAS_SLOT_BACK ||
	    body_bytes > PRAAS_SLOT_BODY_MAX ||
	    body_bytes != bytes - PRAAS_SLOT_HEADER_BYTES)
		return -EPROTO;
	if (praas_get_le(data + 16, 8) != id->pid ||
	    praas_get_le(data + 24, 8) != id->generation ||
	    praas_get_le(data + 32, 8) != slot ||
	    memcmp(data + 48, id->tenant, 16) != 0 || praas_get_le(data + 80, 8) != 0 ||
	    praas_get_le(data + 88, 8) != 0)
		return -EPROTO;
	checksum(data + PRAAS_SLOT_HEADER_BYTES, (size_t)body_bytes, sum);
	if (memcmp(sum, data + 96, 16) != 0)
		return -EPROTO;
	ret_entry->slot = slot;
	ret_entry->epoch = (uint32_t)praas_get_le(data + 40, 4);
	ret_entry->kind = (uint8_t)kind;
	memcpy(ret_entry->nonce, data + 64, 16);
	ret_entry->body_bytes = (uint32_t)body_bytes;
	memcpy(ret_entry->body, data + PRAAS_SLOT_HEADER_BYTES, (size_t)body_bytes);
	return 0;
}

void praas_slot_key(uint64_t slot, char ret_key[PRAAS_STORE_KEY_MAX + 1])
{
	(void)snprintf(ret_key, PRAAS_STORE_KEY_MAX + 1, "log/%020" PRIu64,
		       slot); /* fits */
}

/* In one request: how long an entry is is not asked for before. */
int praas_slot_log_read(const struct praas_slot_log *log, uint64_t slot,
			struct praas_slot_entry *ret_entry)
{
	const size_t room = PRAAS_SLOT_HEADER_BYTES + PRAAS_SLOT_BODY_MAX + 1;
	char key[PRAAS_STORE_KEY_MAX + 1];
	uint8_t *data = malloc(room);
	size_t bytes = 0;
	int rc;

	if (!data)
		return -ENOMEM;
	praas_slot_key(slot, key);
	rc = log->store->ops->get(log->store, key, 0, data, room, &bytes);
	if (rc == 0)
		rc = praas_slot_decode(&log->id, slot, data, bytes, ret_entry);
	free(data);
	return rc;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_BOOTTIME, &now); /* cannot fail for this clock */
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Whether an end of the log that was found to be at `slot` is its end: else the slots from there on were taken and
 * removed, and this one's predecessor with them. since: when it was the end for certain. */
static int is_end(struct praas_slot_log *log, uint64_t slot, uint64_t since)
{
	char key[PRAAS_STORE_KEY_MAX + 1];
	uint64_t bytes, now = now_ns();
	int rc = 0;

	if (slot > 0 && now - since > PRAAS_SLOT_TRUST_NS) {
		praas_slot_key(slot - 1, key);
		rc = log->store->ops->stat(log->store, key, &bytes);
	}
	if (rc == -ENOENT) {
		log->fenced = true;
		return -ESTALE;
	}
	if (rc == 0)
		log->seen_ns = now;
	return rc;
}

static int forward(struct praas_slot_log *log, struct praas_slot_entry *entry)
{
	uint64_t since = log->seen_ns;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < FORWARD_MAX; i++) {
		rc = praas_slot_log_read(log, log->cursor, entry);
		if (rc == 0)
			praas_slot_account(log, entry);
	}
	return rc == -ENOENT ? is_end(log, log->cursor, since) : rc;
}

/* The last slot that has a name of the right form. */
static int note_last(void *user, const char *key)
{
	uint64_t *last = user;
	char *end;
	unsigned long long slot = strtoull(key + 4, &end, 10);

	if (strlen(key) == 24 && *end == '\0')
		*last = slot;
	return 0;
}

/*
 * Epochs do not decrease along the log and there is no gap: so what matters of the past is the
 * last entry and the last two snapshots, found by reading backward from the last name listed;
 * from there on the log is read forward, slot by slot.
 */
static int find_snapshots(struct praas_slot_log *log, uint64_t last,
			  struct praas_slot_entry *entry)
{
	int rc = 0;

	log->cursor = last;
	for (uint64_t slot = last; rc == 0; slot--) {
		rc = praas_slot_log_read(log, slot, entry);
		if (rc != 0) {
			log->cursor = slot;
			return rc == -ENOENT ? -EPROTO : rc; /* a gap */
		}
		if (slot == last) {
			log->epoch_max = entry->epoch;
			log->last_kind = entry->kind;
			log->tomb = entry->kind == PRAAS_SLOT_TOMB;
		}
		if (praas_slot_has_snapshot(entry->kind)) {
			if (log->snapshot_slot == PRAAS_SLOT_NONE)
				log->snapshot_slot = slot;
			else
				log->previous_slot = slot;
		}
		if (log->previous_slot != PRAAS_SLOT_NONE || slot == 0)
			break;
	}
	log->cursor = last + 1;
	return rc;
}

int praas_slot_log_open(struct praas_store *store, const struct praas_slot_id *id,
			struct praas_slot_log *ret_log)
{
	struct praas_slot_entry *entry = malloc(sizeof(*entry));
	uint64_t last = PRAAS_SLOT_NONE;
	int rc;

	if (!entry)
		return -ENOMEM;
	*ret_log = (struct praas_slot_log){ .store = store,
					    .id = *id,
					    .snapshot_slot = PRAAS_SLOT_NONE,
					    .previous_slot = PRAAS_SLOT_NONE,
					    .seen_ns = now_ns() };
	rc = store->ops->list(store, "log/", NULL, note_last, &last);
	if (rc == 0 && last != PRAAS_SLOT_NONE)
		rc = find_snapshots(ret_log, last, entry);
	if (rc == 0)
		rc = forward(ret_log, entry);
	free(entry);
	return rc;
}

struct identifying {
	struct praas_store *store;
	struct praas_slot_id *id;
	bool any, known;
};

/* An entry that says of itself whose it is, and is whole. */
static int identify_by(void *user, const char *key)
{
	struct identifying *i = user;
	uint8_t head[PRAAS_SLOT_HEADER_BYTES], sum[16];
	size_t bytes = 0;
	int rc = i->store->ops->get(i->store, key, 0, head, sizeof(head), &bytes);

	if (rc != 0)
		return rc == -ENOENT ? 0 : rc;
	i->any = true;
	checksum(head, 112, sum);
	if (bytes != sizeof(head) || memcmp(sum, head + 112, 16) != 0 ||
	    praas_get_le(head, 8) != MAGIC)
		return 0;
	memcpy(i->id->tenant, head + 48, sizeof(i->id->tenant));
	i->id->pid = praas_get_le(head + 16, 8);
	i->id->generation = praas_get_le(head + 24, 8);
	i->known = true;
	return -ECANCELED; /* one is enough */
}

int praas_slot_log_identify(struct praas_store *store, struct praas_slot_id *ret_id)
{
	struct identifying i = { .store = store, .id = ret_id };
	char key[PRAAS_STORE_KEY_MAX + 1];
	uint64_t last = PRAAS_SLOT_NONE;
	int rc = store->ops->list(store, "log/", NULL, note_last, &last);

	if (rc != 0)
		return rc;
	if (last == PRAAS_SLOT_NONE)
		return -ENOENT;
	praas_slot_key(last, key);
	rc = identify_by(&i, key);
	if (rc == 0) /* else any other */
		rc = store->ops->list(store, "log/", NULL, identify_by, &i);
	if (i.known)
		return 0;
	if (rc != 0)
		return rc;
	return i.any ? -EPROTO : -ENOENT;
}

int praas_slot_log_refresh(struct praas_slot_log *log)
{
	struct praas_slot_entry *entry = malloc(sizeof(*entry));
	int rc;

	if (!entry)
		return -ENOMEM;
	rc = forward(log, entry);
	free(entry);
	return rc;
}

static bool is_zero(const uint8_t *data, size_t bytes)
{
	uint8_t any = 0;

	for (size_t i = 0; i < bytes; i++)
		any |= data[i];
	return any == 0;
}

static int put_at_cursor(struct praas_slot_log *log,
			 const struct praas_slot_entry *entry, uint8_t *data)
{
	char key[PRAAS_STORE_KEY_MAX + 1];
	size_t bytes = praas_slot_encode(&log->id, entry, data);

	praas_slot_key(log->cursor, key);
	return log->store->ops->put_if_absent(log->store, key, data, bytes);
}

static int log_put(struct praas_slot_log *log, struct praas_slot_entry *entry,
		   bool here)
{
	struct praas_slot_write w;
	struct praas_slot_step step;
	uint8_t *data;
	struct praas_slot_entry *found;
	const struct praas_slot_log before = *log;
	int rc;

	if (entry->body_bytes > PRAAS_SLOT_BODY_MAX)
		return -EMSGSIZE;
	if (is_zero(entry->nonce, sizeof(entry->nonce)) &&
	    getrandom(entry->nonce, sizeof(entry->nonce), 0) !=
		    (ssize_t)sizeof(entry->nonce))
		return -EIO;
	data = malloc(PRAAS_SLOT_HEADER_BYTES + PRAAS_SLOT_BODY_MAX);
	found = malloc(sizeof(*found));
	if (!data || !found) {
		free(data);
		free(found);
		return -ENOMEM;
	}
	step = (here ? praas_slot_write_begin_here : praas_slot_write_begin)(&w, log,
									     entry);
	while (step.kind != PRAAS_SLOT_STEP_DONE) {
		if (step.kind == PRAAS_SLOT_STEP_PUT)
			step = praas_slot_write_put_done(
				&w, put_at_cursor(log, entry, data));
		else
			step = praas_slot_write_looked(
				&w, praas_slot_log_read(log, log->cursor, found),
				found);
	}
	free(data);
	free(found);
	if (step.rc != 0)
		return step.rc;
	rc = is_end(log, entry->slot, before.seen_ns);
	if (rc != 0 && rc != -ESTALE) { /* it is found again by its nonce */
		*log = before;
		rc = -EIO;
	}
	return rc;
}

int praas_slot_log_put(struct praas_slot_log *log, struct praas_slot_entry *entry)
{
	return log_put(log, entry, false);
}

int praas_slot_log_put_here(struct praas_slot_log *log, struct praas_slot_entry *entry)
{
	return log_put(log, entry, true);
}
