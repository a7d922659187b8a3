/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "controller/snapshot.h"
#include "controller/store/named.h"

/*
 * A store may hold anything. The first byte chooses: the rest is a slot-log entry or a manifest, as
 * it is or with right sizes and checksums put in, so that the parser is reached behind them.
 */

static const struct praas_slot_id id = { .pid = 1 };
static const struct praas_function functions[] = { { .name = "a" }, { .name = "b" } };

static int use(void *user, const struct praas_export_record *r)
{
	uint64_t *sum = user;
	const uint8_t *data = r->data;

	for (uint64_t i = 0; i < r->bytes; i++)
		*sum += data[i];
	for (uint32_t i = 0; i < r->key_bytes; i++)
		*sum += (uint8_t)r->key[i];
	return 0;
}

static void manifest(const uint8_t *data, size_t bytes, struct praas_store *store)
{
	const struct praas_refs *all[1];
	struct praas_snapshot s = { 0 };
	struct praas_refs refs;
	uint8_t *again;
	uint64_t again_bytes, sum = 0;

	if (praas_snapshot_decode(data, bytes, &s) != 0)
		return;
	/* What was accepted is written back byte for byte, apart from padding. */
	if (praas_snapshot_encode(&s, &again, &again_bytes) != 0 ||
	    again_bytes != bytes)
		__builtin_trap();
	free(again);
	(void)praas_snapshot_load(store, &s, functions, 2, use, &sum);
	refs = praas_snapshot_refs(&s);
	all[0] = &refs;
	(void)praas_refs_check(store, &refs);
	(void)praas_refs_sweep(store, all, 1, NULL, NULL);
	praas_snapshot_release(&s);
}

static void entry(const uint8_t *data, size_t bytes, struct praas_store *store)
{
	static struct praas_slot_entry e;
	struct praas_snapshot s = { 0 };

	if (praas_slot_decode(&id, 0, data, bytes, &e) != 0)
		return;
	if (praas_snapshot_open(store, &e, &s) == 0)
		praas_snapshot_release(&s);
}

/* The object of a name, as it is and with a right checksum: what was accepted is written back the same. */
static void named(const uint8_t *data, size_t bytes)
{
	uint8_t copy[PRAAS_NAMED_BYTES] = { 0 }, again[PRAAS_NAMED_BYTES];
	struct praas_named n;

	(void)praas_named_decode(&id, "a", data, bytes, &n);
	memcpy(copy, data, bytes < sizeof(copy) ? bytes : sizeof(copy));
	memcpy(copy, "PRASNAM1\1\0\0\0", 12);
	praas_snapshot_hash(copy, 176, copy + 176);
	if (praas_named_decode(&id, "a", copy, sizeof(copy), &n) != 0)
		return;
	praas_named_encode(&id, &n, again);
	if (memcmp(copy, again, sizeof(again)) != 0)
		__builtin_trap();
}

/* Make what a checksum guards consistent. */
static void repair(uint8_t *data, size_t bytes, uint8_t version)
{
	uint64_t size = bytes;

	if (bytes < 64 + PRAAS_SNAPSHOT_HASH_BYTES)
		return;
	memcpy(data, "PRASMAN1\0\0\0\0\0\0\0\0", 16);
	data[8] = version;
	memcpy(data + 16, &size, 8); /* little-endian hosts, like all that fuzz */
	praas_snapshot_hash(data, bytes - PRAAS_SNAPSHOT_HASH_BYTES,
			    data + bytes - PRAAS_SNAPSHOT_HASH_BYTES);
}

/* A store that holds the chunk and the manifest that seeds and lucky inputs name. */
static struct praas_store *small_store(const uint8_t *data, size_t bytes)
{
	struct praas_store *store = NULL;
	struct praas_snapshot_chunk chunk = { 0 };
	char key[PRAAS_STORE_KEY_MAX + 1];

	if (praas_store_memory_open(&store) != 0)
		abort();
	praas_snapshot_chunk_key(&chunk, key);
	(void)praas_store_put_bytes(store, key, data, bytes);
	(void)praas_store_put_bytes(store, "manifest/0000000000000000", data, bytes);
	return store;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct praas_store *store;
	uint8_t *copy, choice;

	if (bytes < 1)
		return 0;
	choice = *data++;
	bytes--;
	copy = malloc(bytes + 1);
	if (!copy)
		return 0;
	if (bytes > 0)
		memcpy(copy, data, bytes);
	store = small_store(copy, bytes);
	named(copy, bytes);
	if (choice & 1)
		repair(copy, bytes, choice & 16 ? 4 : choice & 8 ? 2 : 1);
	if (choice & 2)
		entry(copy, bytes, store);
	else
		manifest(copy, bytes, store);
	if (choice & 4 && bytes <= PRAAS_SLOT_BODY_MAX) {
		static struct praas_slot_entry e;
		struct praas_snapshot s = { 0 };

		e.kind = PRAAS_SLOT_REL;
		e.body_bytes = (uint32_t)bytes;
		memcpy(e.body, copy, bytes);
		if (praas_snapshot_open(store, &e, &s) == 0)
			praas_snapshot_release(&s);
	}
	praas_store_free(store);
	free(copy);
	return 0;
}
