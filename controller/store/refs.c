/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/refs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "internal/bytes.h"

void praas_snapshot_hash(const void *data, uint64_t bytes,
			 uint8_t ret_hash[PRAAS_SNAPSHOT_HASH_BYTES])
{
	XXH128_canonical_t sum;

	XXH128_canonicalFromHash(&sum, XXH3_128bits(data, (size_t)bytes));
	memcpy(ret_hash, sum.digest, PRAAS_SNAPSHOT_HASH_BYTES);
}

void praas_snapshot_chunk_key(const struct praas_snapshot_chunk *chunk,
			      char ret_key[PRAAS_STORE_KEY_MAX + 1])
{
	static const char digits[] = "0123456789abcdef";
	char hash[2 * PRAAS_SNAPSHOT_HASH_BYTES + 1] = "";

	for (unsigned i = 0; i < PRAAS_SNAPSHOT_HASH_BYTES; i++) {
		hash[2 * i] = digits[chunk->hash[i] >> 4];
		hash[2 * i + 1] = digits[chunk->hash[i] & 15];
	}
	(void)snprintf(ret_key, PRAAS_STORE_KEY_MAX + 1, "chunk/%s-%016" PRIx64, hash,
		       chunk->nonce); /* fits */
}

/* ---- reading ---- */

/* The manifest that a body refers to. */
static int read_object(struct praas_store *store, const uint8_t *body,
		       uint8_t **ret_data, uint64_t *ret_bytes,
		       char ret_object[PRAAS_STORE_KEY_MAX + 1])
{
	uint8_t *data = NULL;
	size_t bytes = 0;
	int rc;

	if (praas_get_le(body + 24, 8) != 0)
		return -EPROTO;
	(void)snprintf(ret_object, PRAAS_STORE_KEY_MAX + 1, "manifest/%016" PRIx64,
		       praas_get_le(body + 8, 8)); /* fits */
	rc = praas_store_get_all(store, ret_object, PRAAS_SNAPSHOT_MANIFEST_MAX, &data,
				 &bytes);
	if (rc != 0)
		return rc == -EMSGSIZE ? -EPROTO : rc;
	if (bytes != praas_get_le(body + 16, 8) || bytes < PRAAS_SNAPSHOT_HASH_BYTES ||
	    memcmp(data + bytes - PRAAS_SNAPSHOT_HASH_BYTES, body + 32,
		   PRAAS_SNAPSHOT_HASH_BYTES) != 0) {
		free(data);
		return -EPROTO;
	}
	*ret_data = data;
	*ret_bytes = bytes;
	return 0;
}

int praas_refs_read(struct praas_store *store, const struct praas_slot_entry *entry,
		    uint8_t **ret_data, uint64_t *ret_bytes,
		    char ret_object[PRAAS_STORE_KEY_MAX + 1])
{
	if (!praas_slot_has_snapshot(entry->kind))
		return -EPROTO;
	if (entry->body_bytes == PRAAS_SNAPSHOT_REF_BYTES &&
	    praas_get_le(entry->body, 8) == PRAAS_SNAPSHOT_REF_MAGIC)
		return read_object(store, entry->body, ret_data, ret_bytes, ret_object);
	*ret_data = malloc(entry->body_bytes + 1u);
	if (!*ret_data)
		return -ENOMEM;
	memcpy(*ret_data, entry->body, entry->body_bytes);
	*ret_bytes = entry->body_bytes;
	ret_object[0] = '\0';
	return 0;
}

int praas_refs_head(const uint8_t *data, uint64_t bytes, struct praas_refs *r)
{
	uint8_t hash[PRAAS_SNAPSHOT_HASH_BYTES];
	uint64_t wanted = PRAAS_SNAPSHOT_HEAD_BYTES + PRAAS_SNAPSHOT_HASH_BYTES;

	if (bytes < wanted || bytes > PRAAS_SNAPSHOT_MANIFEST_MAX ||
	    praas_get_le(data, 8) != PRAAS_SNAPSHOT_MAGIC ||
	    praas_get_le(data + 8, 4) - 1 >= PRAAS_SNAPSHOT_VERSION ||
	    praas_get_le(data + 12, 4) != 0 || praas_get_le(data + 16, 8) != bytes ||
	    praas_get_le(data + 56, 8) != 0)
		return -EPROTO;
	praas_snapshot_hash(data, bytes - PRAAS_SNAPSHOT_HASH_BYTES, hash);
	if (memcmp(hash, data + bytes - PRAAS_SNAPSHOT_HASH_BYTES, sizeof(hash)) != 0)
		return -EPROTO;
	*r = (struct praas_refs){ .chunks_count = (uint32_t)praas_get_le(data + 24, 4),
				  .functions_count =
					  (uint32_t)praas_get_le(data + 28, 4),
				  .records_count = praas_get_le(data + 32, 8),
				  .value_bytes = praas_get_le(data + 40, 8),
				  .created_ns = praas_get_le(data + 48, 8) };
	if (r->chunks_count > PRAAS_SNAPSHOT_CHUNKS_MAX ||
	    r->functions_count > PRAAS_SNAPSHOT_FUNCTIONS_MAX ||
	    r->records_count > PRAAS_SNAPSHOT_RECORDS_MAX)
		return -EPROTO;
	wanted += (uint64_t)r->chunks_count * PRAAS_SNAPSHOT_CHUNK_ENTRY_BYTES +
		  (uint64_t)r->functions_count * PRAAS_SNAPSHOT_FUNCTION_BYTES +
		  r->records_count * PRAAS_SNAPSHOT_RECORD_BYTES;
	return wanted <= bytes ? 0 : -EPROTO;
}

int praas_refs_decode(const uint8_t *data, uint64_t bytes, struct praas_refs *ret_refs)
{
	const uint8_t *at = data + PRAAS_SNAPSHOT_HEAD_BYTES;
	struct praas_refs r;
	int rc = praas_refs_head(data, bytes, &r);

	if (rc != 0)
		return rc;
	r.chunks = calloc((size_t)r.chunks_count + 1, sizeof(*r.chunks));
	if (!r.chunks)
		return -ENOMEM;
	for (uint32_t i = 0; i < r.chunks_count; i++) {
		memcpy(r.chunks[i].hash, at, PRAAS_SNAPSHOT_HASH_BYTES);
		r.chunks[i].nonce = praas_get_le(at + 16, 8);
		r.chunks[i].bytes = praas_get_le(at + 24, 8);
		at += PRAAS_SNAPSHOT_CHUNK_ENTRY_BYTES;
		if (r.chunks[i].bytes > PRAAS_SNAPSHOT_VALUE_MAX) {
			free(r.chunks);
			return -EPROTO;
		}
	}
	*ret_refs = r;
	return 0;
}

int praas_refs_open(struct praas_store *store, const struct praas_slot_entry *entry,
		    struct praas_refs *ret_refs)
{
	char object[PRAAS_STORE_KEY_MAX + 1];
	uint8_t *data;
	uint64_t bytes;
	int rc = praas_refs_read(store, entry, &data, &bytes, object);

	if (rc != 0)
		return rc;
	rc = praas_refs_decode(data, bytes, ret_refs);
	if (rc == 0)
		memcpy(ret_refs->object, object, sizeof(object));
	free(data);
	return rc;
}

void praas_refs_release(struct praas_refs *refs)
{
	free(refs->chunks);
	*refs = (struct praas_refs){ 0 };
}

int praas_refs_check(struct praas_store *store, const struct praas_refs *refs)
{
	char key[PRAAS_STORE_KEY_MAX + 1];
	uint64_t bytes = 0;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < refs->chunks_count; i++) {
		praas_snapshot_chunk_key(&refs->chunks[i], key);
		rc = store->ops->stat(store, key, &bytes);
		if (rc == 0 && bytes < refs->chunks[i].bytes)
			rc = -EPROTO;
	}
	return rc;
}

/* ---- removing ---- */

#define NAME_BYTES PRAAS_REFS_NAME_BYTES

/* Names, in order once they are sorted. */
struct names {
	char (*names)[NAME_BYTES];
	size_t count, room;
};

static int add_name(struct names *n, const char *name)
{
	size_t bytes = strnlen(name, NAME_BYTES - 1); /* shorter, as all of ours */

	if (n->count == n->room) {
		size_t room = n->room ? n->room * 2 : 16;
		void *more = realloc(n->names, room * sizeof(*n->names));

		if (!more)
			return -ENOMEM;
		n->names = more;
		n->room = room;
	}
	memcpy(n->names[n->count], name, bytes);
	n->names[n->count++][bytes] = '\0';
	return 0;
}

static int add_refs(struct names *n, const struct praas_refs *refs)
{
	char key[PRAAS_STORE_KEY_MAX + 1];
	int rc = refs->object[0] != '\0' ? add_name(n, refs->object) : 0;

	for (uint32_t i = 0; rc == 0 && i < refs->chunks_count; i++) {
		praas_snapshot_chunk_key(&refs->chunks[i], key);
		rc = add_name(n, key);
	}
	return rc;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int add_kept(struct names *n, const struct praas_refs *const *keep,
		    unsigned keep_count)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < keep_count; i++)
		rc = add_refs(n, keep[i]);
	if (rc == 0 && n->count > 1)
		qsort(n->names, n->count, sizeof(*n->names), by_name);
	return rc;
}

static bool has_name(const struct names *n, const char *name)
{
	return n->count > 0 &&
	       bsearch(name, n->names, n->count, sizeof(*n->names), by_name) != NULL;
}

struct looking {
	struct names kept;
	praas_store_list_fn fn;
	void *user;
};

static int look_at(void *user, const char *key)
{
	struct looking *l = user;

	/* A longer name is none of ours. */
	if (strlen(key) >= NAME_BYTES || has_name(&l->kept, key))
		return 0;
	return l->fn(l->user, key);
}

int praas_refs_unneeded(struct praas_store *store, const struct praas_refs *const *keep,
			unsigned keep_count, praas_store_list_fn fn, void *user)
{
	struct looking l = { .fn = fn, .user = user };
	int rc = add_kept(&l.kept, keep, keep_count);

	if (rc == 0)
		rc = store->ops->list(store, "chunk/", NULL, look_at, &l);
	if (rc == 0)
		rc = store->ops->list(store, "manifest/", NULL, look_at, &l);
	free(l.kept.names);
	return rc;
}

static int note_dead(void *user, const char *key)
{
	return add_name(user, key);
}

static int delete_dead(struct praas_store *store, const struct names *dead)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < dead->count; i++)
		rc = store->ops->delete (store, dead->names[i]);
	return rc;
}

int praas_refs_sweep(struct praas_store *store, const struct praas_refs *const *keep,
		     unsigned keep_count, int (*still)(void *user), void *user)
{
	struct names dead = { 0 };
	int rc = praas_refs_unneeded(store, keep, keep_count, note_dead, &dead);

	if (rc == 0 && still && dead.count > 0)
		rc = still(user);
	if (rc == 0)
		rc = delete_dead(store, &dead);
	free(dead.names);
	return rc;
}

int praas_refs_remove(struct praas_store *store, const struct praas_refs *dead,
		      const struct praas_refs *const *keep, unsigned keep_count)
{
	struct names all = { 0 }, gone = { 0 };
	struct looking l = { .fn = note_dead, .user = &gone };
	int rc = add_kept(&l.kept, keep, keep_count);

	if (rc == 0)
		rc = add_refs(&all, dead);
	for (size_t i = 0; rc == 0 && i < all.count; i++)
		rc = look_at(&l, all.names[i]);
	if (rc == 0)
		rc = delete_dead(store, &gone);
	free(all.names);
	free(l.kept.names);
	free(gone.names);
	return rc;
}
