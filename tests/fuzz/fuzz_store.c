/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "controller/store/check.h"
#include "controller/store/gc.h"
#include "controller/store/sealed.h"
#include "internal/bytes.h"
#include "tests/fuzz/fuzz.h"

/*
 * Who looks after stores that are not his own reads what anybody may have put there. The first byte chooses: the
 * rest is a manifest in an entry of the log, with right sizes and checksums put in, looked at and collected; or a
 * sealed object, looked at from everywhere.
 */

static const struct praas_slot_id id = { .pid = 1 };

static void found(void *user, enum praas_check_kind kind, const char *key,
		  const char *why)
{
	*(size_t *)user += strlen(key) + strlen(why) + strlen(praas_check_word(kind));
}

static void as_manifest(const uint8_t *data, size_t bytes, struct praas_store *store)
{
	static struct praas_slot_entry entry;
	struct praas_check_report report;
	struct praas_gc_result result;
	struct praas_gc_look look = { 0 };
	struct praas_slot_log log;
	size_t sum = 0;

	if (bytes < PRAAS_SNAPSHOT_HASH_BYTES + 24 || bytes > PRAAS_SLOT_BODY_MAX ||
	    praas_slot_log_open(store, &id, &log) != 0)
		return;
	memset(&entry, 0, offsetof(struct praas_slot_entry, body));
	entry.kind = PRAAS_SLOT_SNAP;
	entry.epoch = 1;
	entry.body_bytes = (uint32_t)bytes;
	memcpy(entry.body, data, bytes);
	praas_put_le(entry.body, PRAAS_SNAPSHOT_MAGIC, 8);
	praas_put_le(entry.body + 16, bytes, 8);
	praas_snapshot_hash(entry.body, bytes - PRAAS_SNAPSHOT_HASH_BYTES,
			    entry.body + bytes - PRAAS_SNAPSHOT_HASH_BYTES);
	(void)praas_store_put_bytes(store, "chunk/0-0", data, bytes);
	if (praas_slot_log_put(&log, &entry) != 0)
		return;
	(void)praas_check_store(store, found, &sum, &report);
	if (praas_gc_look(&log, 1, &look) == 0)
		(void)praas_gc_collect(&log, 2, 1, &look, &result);
	praas_gc_look_release(&look);
}

static void as_object(const uint8_t *data, size_t bytes, struct praas_store **store)
{
	static const char text[] =
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
	static struct praas_seal_keys keys;
	static uint8_t copy[1 << 16], back[4096];
	uint64_t size = 0;
	const char *why;
	size_t got = 0;

	if (bytes > sizeof(copy) ||
	    praas_seal_keys_parse(text, sizeof(text) - 1, &keys, &why) != 0)
		return;
	if (bytes >= PRAAS_SEAL_HEAD_BYTES) { /* as far as it goes without the key */
		memcpy(copy, data, bytes);
		praas_put_le(copy, 0x4c41455353415250ull, 8);
		praas_put_le(copy + 8, 1, 4);
		praas_put_le(copy + 12, PRAAS_SEAL_SEGMENT_BYTES, 4);
		praas_put_le(copy + 16, keys.key[0].id, 8);
		memset(copy + 48, 0, 32);
		praas_put_le(copy + 64, 1, 8);
		data = copy;
	}
	(void)praas_store_put_bytes(*store, "log/1", data, bytes);
	if (praas_store_seal(*store, &keys, &id, store) != 0)
		abort();
	for (uint64_t at = 0; at < 3 * PRAAS_SEAL_SEGMENT_BYTES; at += 30000) {
		int rc = (*store)->ops->get(*store, "log/1", at, back, sizeof(back),
					    &got);

		if (rc == 0 && data == copy && at < praas_get_le(copy + 40, 8))
			abort(); /* nobody has sealed it */
	}
	(void)(*store)->ops->stat(*store, "log/1", &size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct praas_store *store;

	if (bytes < 1 || praas_store_memory_open(&store) != 0)
		return 0;
	if (data[0] % 2 == 0)
		as_manifest(data + 1, bytes - 1, store);
	else
		as_object(data + 1, bytes - 1, &store);
	praas_store_free(store);
	return 0;
}
