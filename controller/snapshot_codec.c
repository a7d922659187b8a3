/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "controller/snapshot.h"
#include "internal/base.h"
#include "internal/bytes.h"

/*
 * The manifest as bytes (docs/snapshot-format.md), little-endian:
 *   head 64 · chunks 32 each · functions 72 each · records 96 each + key + value inside, padded
 *   to 8 · XXH3-128 of all before
 */

#define HEAD_BYTES PRAAS_SNAPSHOT_HEAD_BYTES
#define CHUNK_BYTES PRAAS_SNAPSHOT_CHUNK_ENTRY_BYTES
#define FUNCTION_BYTES PRAAS_SNAPSHOT_FUNCTION_BYTES
#define RECORD_BYTES PRAAS_SNAPSHOT_RECORD_BYTES

_Static_assert(FUNCTION_BYTES >= PRAAS_NAME_MAX + 2, "length, name, zero");

struct cursor {
	const uint8_t *at;
	uint64_t left;
	uint32_t version;
};

static uint64_t record_bytes(const struct praas_snapshot_record *r)
{
	uint64_t inside = r->chunk == PRAAS_SNAPSHOT_INLINE ? r->record.bytes : 0;

	return praas_align_up(RECORD_BYTES + r->record.key_bytes + inside, 8);
}

static uint8_t *encode_record(const struct praas_snapshot_record *r, uint8_t *to)
{
	const struct praas_export_record *e = &r->record;

	praas_put_le(to, e->kind, 1);
	praas_put_le(to + 1, e->key_bytes, 1);
	praas_put_le(to + 2, e->function, 2);
	praas_put_le(to + 4, (uint32_t)e->status, 4);
	praas_put_le(to + 8, r->chunk, 4);
	praas_put_le(to + 16, e->source, 8);
	praas_put_le(to + 24, e->sequence, 8);
	praas_put_le(to + 32, e->id, 8);
	praas_put_le(to + 40, e->version, 8);
	praas_put_le(to + 48, e->modified_ns, 8);
	praas_put_le(to + 56, r->offset, 8);
	praas_put_le(to + 64, e->bytes, 8);
	praas_put_le(to + 72, e->deadline_ns, 8);
	memcpy(to + 80, r->hash, PRAAS_SNAPSHOT_HASH_BYTES);
	if (e->key_bytes > 0)
		memcpy(to + RECORD_BYTES, e->key, e->key_bytes);
	if (r->chunk == PRAAS_SNAPSHOT_INLINE && e->bytes > 0)
		memcpy(to + RECORD_BYTES + e->key_bytes, e->data, (size_t)e->bytes);
	return to + record_bytes(r);
}

/* What version 1 cannot say. */
static bool is_new(const struct praas_export_record *e)
{
	return e->kind > PRAAS_EXPORT_OUTBOX || e->deadline_ns != 0;
}

/* The version that can say it. */
static uint32_t version_for(const struct praas_export_record *e)
{
	if (e->kind == PRAAS_EXPORT_STAGE)
		return 4;
	return e->kind == PRAAS_EXPORT_LOG ? 3 : is_new(e) ? 2 : 1;
}

static uint32_t version_of(const struct praas_snapshot *s)
{
	uint32_t version = 1;

	for (uint64_t i = 0; i < s->records_count; i++)
		version = version_for(&s->records[i].record) > version
				  ? version_for(&s->records[i].record)
				  : version;
	return version;
}

static void encode_head(const struct praas_snapshot *s, uint64_t bytes, uint8_t *to)
{
	praas_put_le(to, PRAAS_SNAPSHOT_MAGIC, 8);
	praas_put_le(to + 8, version_of(s), 4);
	praas_put_le(to + 16, bytes, 8);
	praas_put_le(to + 24, s->chunks_count, 4);
	praas_put_le(to + 28, s->functions_count, 4);
	praas_put_le(to + 32, s->records_count, 8);
	praas_put_le(to + 40, s->value_bytes, 8);
	praas_put_le(to + 48, s->created_ns, 8);
}

int praas_snapshot_encode(const struct praas_snapshot *s, uint8_t **ret_data,
			  uint64_t *ret_bytes)
{
	uint64_t bytes = HEAD_BYTES + (uint64_t)s->chunks_count * CHUNK_BYTES +
			 (uint64_t)s->functions_count * FUNCTION_BYTES;
	uint8_t *data, *to;

	for (uint64_t i = 0; i < s->records_count; i++)
		bytes += record_bytes(&s->records[i]);
	bytes += PRAAS_SNAPSHOT_HASH_BYTES;
	if (bytes > PRAAS_SNAPSHOT_MANIFEST_MAX)
		return -EMSGSIZE;
	data = calloc(1, (size_t)bytes);
	if (!data)
		return -ENOMEM;
	encode_head(s, bytes, data);
	to = data + HEAD_BYTES;
	for (uint32_t i = 0; i < s->chunks_count; i++, to += CHUNK_BYTES) {
		memcpy(to, s->chunks[i].hash, PRAAS_SNAPSHOT_HASH_BYTES);
		praas_put_le(to + 16, s->chunks[i].nonce, 8);
		praas_put_le(to + 24, s->chunks[i].bytes, 8);
	}
	for (uint32_t i = 0; i < s->functions_count; i++, to += FUNCTION_BYTES) {
		to[0] = (uint8_t)strlen(s->functions[i]);
		memcpy(to + 1, s->functions[i], to[0]);
	}
	for (uint64_t i = 0; i < s->records_count; i++)
		to = encode_record(&s->records[i], to);
	praas_snapshot_hash(data, bytes - PRAAS_SNAPSHOT_HASH_BYTES, to);
	*ret_data = data;
	*ret_bytes = bytes;
	return 0;
}

/* The next bytes of the manifest; NULL when there are not so many. */
static const uint8_t *take(struct cursor *c, uint64_t bytes)
{
	const uint8_t *at = c->at;

	if (bytes > c->left)
		return NULL;
	c->at += bytes;
	c->left -= bytes;
	return at;
}

static int decode_functions(struct cursor *c, struct praas_snapshot *s)
{
	for (uint32_t i = 0; i < s->functions_count; i++) {
		const uint8_t *at = take(c, FUNCTION_BYTES);

		if (!at || at[0] == 0 || at[0] > PRAAS_NAME_MAX ||
		    memchr(at + 1, '\0', at[0]))
			return -EPROTO;
		memcpy(s->functions[i], at + 1, at[0]);
		s->functions[i][at[0]] = '\0';
	}
	return 0;
}

/* The place of a value must be one. */
static bool place_ok(const struct praas_snapshot *s,
		     const struct praas_snapshot_record *r)
{
	uint64_t bytes = r->record.bytes;

	if (r->chunk == PRAAS_SNAPSHOT_INLINE)
		return bytes <= PRAAS_SNAPSHOT_INLINE_MAX && r->offset == 0;
	return r->chunk < s->chunks_count && r->offset % PRAAS_SNAPSHOT_ALIGN == 0 &&
	       bytes <= s->chunks[r->chunk].bytes &&
	       r->offset <= s->chunks[r->chunk].bytes - bytes;
}

/* Places of messages have an epoch; only a message itself has a key and a value. */
static bool mail_ok(const struct praas_export_record *e)
{
	if (e->kind < PRAAS_EXPORT_QUEUE || e->kind > PRAAS_EXPORT_OUTBOX)
		return true;
	if (e->kind != PRAAS_EXPORT_OUTBOX && (e->key_bytes > 0 || e->bytes > 0))
		return false;
	return e->kind == PRAAS_EXPORT_QUEUE || (e->id > 0 && e->id <= UINT32_MAX);
}

/* Who is joined to an input has nothing but a name; only what waits has a time; functions are known. */
static bool waiting_ok(const struct praas_snapshot *s,
		       const struct praas_export_record *e)
{
	bool timeout = e->kind == PRAAS_EXPORT_TIMEOUT;

	if (e->kind == PRAAS_EXPORT_STAGE)
		return praas_export_stage_sound(e);
	if (e->kind == PRAAS_EXPORT_JOINED)
		return e->id != 0 && e->key_bytes == 0 && e->bytes == 0 &&
		       e->deadline_ns == 0;
	if (!timeout && e->kind != PRAAS_EXPORT_TRIGGER)
		return e->deadline_ns == 0;
	return e->function < s->functions_count &&
	       (!timeout || (e->bytes == 0 && e->deadline_ns != 0));
}

static bool log_ok(const struct praas_export_record *e)
{
	return e->kind != PRAAS_EXPORT_LOG ||
	       (e->id != 0 && e->key_bytes == 0 && e->bytes == 0);
}

static int decode_record(struct cursor *c, const struct praas_snapshot *s,
			 struct praas_snapshot_record *r)
{
	struct praas_export_record *e = &r->record;
	const uint8_t *at = take(c, RECORD_BYTES);
	uint64_t inside;

	if (!at || at[0] < PRAAS_EXPORT_STATE || at[0] > PRAAS_EXPORT_LAST)
		return -EPROTO;
	e->kind = (enum praas_export_kind)at[0];
	e->key_bytes = at[1];
	e->function = (uint16_t)praas_get_le(at + 2, 2);
	e->status = (int32_t)(uint32_t)praas_get_le(at + 4, 4);
	r->chunk = (uint32_t)praas_get_le(at + 8, 4);
	e->source = praas_get_le(at + 16, 8);
	e->sequence = praas_get_le(at + 24, 8);
	e->id = praas_get_le(at + 32, 8);
	e->version = praas_get_le(at + 40, 8);
	e->modified_ns = praas_get_le(at + 48, 8);
	r->offset = praas_get_le(at + 56, 8);
	e->bytes = praas_get_le(at + 64, 8);
	e->deadline_ns = praas_get_le(at + 72, 8);
	memcpy(r->hash, at + 80, PRAAS_SNAPSHOT_HASH_BYTES);
	if (!place_ok(s, r) || !mail_ok(e) || !waiting_ok(s, e) || !log_ok(e) ||
	    praas_get_le(at + 12, 4) != 0 || c->version < version_for(e))
		return -EPROTO;
	inside = r->chunk == PRAAS_SNAPSHOT_INLINE ? e->bytes : 0;
	at = take(c, praas_align_up(RECORD_BYTES + e->key_bytes + inside, 8) -
			     RECORD_BYTES);
	if (!at || memchr(at, '\0', e->key_bytes))
		return -EPROTO;
	e->key = (const char *)at;
	e->data = inside > 0 ? at + e->key_bytes : NULL;
	return 0;
}

static int decode_records(struct cursor *c, struct praas_snapshot *s)
{
	uint64_t sum = 0;
	bool open =
		false; /* the record before says something of an input that follows */

	for (uint64_t i = 0; i < s->records_count; i++) {
		const struct praas_export_record *e = &s->records[i].record;
		int rc = decode_record(c, s, &s->records[i]);

		if (rc != 0)
			return rc;
		if (!praas_snapshot_follows(open, e->kind))
			return -EPROTO;
		open = praas_snapshot_opens(e->kind);
		if (s->records[i].record.bytes > PRAAS_SNAPSHOT_VALUE_MAX - sum)
			return -EPROTO;
		sum += s->records[i].record.bytes;
	}
	return !open && sum == s->value_bytes && c->left == PRAAS_SNAPSHOT_HASH_BYTES
		       ? 0
		       : -EPROTO;
}

int praas_snapshot_decode(const uint8_t *data, uint64_t bytes,
			  struct praas_snapshot *ret_snapshot)
{
	struct praas_snapshot s = { 0 };
	struct praas_refs refs;
	uint64_t before;
	struct cursor c;
	int rc = praas_refs_decode(data, bytes, &refs);

	if (rc != 0)
		return rc;
	s.chunks = refs.chunks;
	s.chunks_count = refs.chunks_count;
	s.functions_count = refs.functions_count;
	s.records_count = refs.records_count;
	s.value_bytes = refs.value_bytes;
	s.created_ns = refs.created_ns;
	s.text = malloc((size_t)bytes);
	s.functions = calloc((size_t)s.functions_count + 1, sizeof(*s.functions));
	s.records_room = s.records_count + 1;
	s.records = calloc((size_t)s.records_room, sizeof(*s.records));
	if (!s.text || !s.functions || !s.records) {
		rc = -ENOMEM;
		goto err_release;
	}
	memcpy(s.text, data, (size_t)bytes);
	before = HEAD_BYTES + (uint64_t)s.chunks_count * CHUNK_BYTES;
	c = (struct cursor){ .at = s.text + before,
			     .left = bytes - before,
			     .version = (uint32_t)praas_get_le(data + 8, 4) };
	rc = decode_functions(&c, &s);
	if (rc == 0)
		rc = decode_records(&c, &s);
	if (rc != 0)
		goto err_release;
	*ret_snapshot = s;
	return 0;

err_release:
	praas_snapshot_release(&s);
	return rc;
}
