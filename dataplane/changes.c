/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/changes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"
#include "internal/bytes.h"

/*
 * A change, little-endian (docs/journal.md):
 *    0 kind u8       1 bytes of the key u8    2 bytes of the function's name u8    3 gone u8
 *    4 status u32    8 source u64    16 sequence u64    24 id u64    32 version u64
 *   40 time of change u64    48 deadline u64    56 bytes of the value u64    64 zero 16
 * then key, name, value, and zeros up to a multiple of 8.
 */

#define ROOM_MIN (64u << 10)

static uint8_t *grow(struct praas_changes *c, uint64_t bytes)
{
	uint64_t room = praas_max_u64(c->room, ROOM_MIN);
	uint8_t *data;

	while (room - c->bytes < bytes)
		room *= 2;
	if (room != c->room) {
		data = realloc(c->data, (size_t)room);
		if (!data) {
			c->lost = true;
			return NULL;
		}
		c->data = data;
		c->room = room;
	}
	data = c->data + c->bytes;
	c->bytes += bytes;
	return data;
}

static void add(struct praas_changes *c, const struct praas_export_record *r, bool gone)
{
	bool named = !gone && (r->kind == PRAAS_EXPORT_TRIGGER ||
			       r->kind == PRAAS_EXPORT_TIMEOUT);
	const char *name = named ? c->functions[r->function].name : "";
	uint64_t name_bytes = strlen(name), value = gone ? 0 : r->bytes;
	uint64_t texts = r->key_bytes + name_bytes;
	uint64_t bytes = praas_align_up(PRAAS_CHANGE_BYTES + texts + value, 8);
	uint8_t *d = grow(c, bytes);

	if (!d)
		return;
	memset(d, 0, PRAAS_CHANGE_BYTES);
	praas_put_le(d, r->kind, 1);
	praas_put_le(d + 1, r->key_bytes, 1);
	praas_put_le(d + 2, name_bytes, 1);
	praas_put_le(d + 3, gone, 1);
	praas_put_le(d + 4, (uint32_t)r->status, 4);
	praas_put_le(d + 8, r->source, 8);
	praas_put_le(d + 16, r->sequence, 8);
	praas_put_le(d + 24, r->id, 8);
	praas_put_le(d + 32, r->version, 8);
	praas_put_le(d + 40, r->modified_ns, 8);
	praas_put_le(d + 48, r->deadline_ns, 8);
	praas_put_le(d + 56, value, 8);
	if (r->key_bytes)
		memcpy(d + PRAAS_CHANGE_BYTES, r->key, r->key_bytes);
	/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): its length stands in front */
	memcpy(d + PRAAS_CHANGE_BYTES + r->key_bytes, name, name_bytes);
	if (value)
		memcpy(d + PRAAS_CHANGE_BYTES + texts, r->data, (size_t)value);
	memset(d + PRAAS_CHANGE_BYTES + texts + value, 0,
	       bytes - PRAAS_CHANGE_BYTES - texts - value);
}

int praas_changes_add(void *changes, const struct praas_export_record *record)
{
	add(changes, record, false);
	return 0;
}

void praas_changes_gone(struct praas_changes *c,
			const struct praas_export_record *record)
{
	add(c, record, true);
}

void praas_changes_clear(struct praas_changes *c)
{
	c->bytes = 0;
	c->lost = false;
	if (praas_likely(c->room <= PRAAS_CHANGES_KEEP))
		return;
	free(c->data);
	c->data = NULL;
	c->room = 0;
}

void praas_changes_release(struct praas_changes *c)
{
	free(c->data);
	*c = (struct praas_changes){ 0 };
}

/* As the rules of a manifest's records have it (docs/snapshot-format.md). */
static bool is_sound(const struct praas_change *c)
{
	const struct praas_export_record *r = &c->record;
	bool input = r->kind == PRAAS_EXPORT_TRIGGER || r->kind == PRAAS_EXPORT_TIMEOUT;
	bool keyed = r->kind == PRAAS_EXPORT_STATE || r->kind == PRAAS_EXPORT_MESSAGE ||
		     r->kind == PRAAS_EXPORT_OUTBOX || r->kind == PRAAS_EXPORT_STAGE ||
		     input;

	if (r->kind < PRAAS_EXPORT_STATE || r->kind > PRAAS_EXPORT_LAST ||
	    r->kind == PRAAS_EXPORT_LOG)
		return false;
	if (memchr(r->key, '\0', r->key_bytes) ||
	    memchr(c->function, '\0', c->function_bytes))
		return false;
	if (c->gone)
		return r->bytes == 0 && c->function_bytes == 0;
	if (input != (c->function_bytes != 0) || c->function_bytes > PRAAS_NAME_MAX)
		return false;
	if ((!keyed && r->key_bytes != 0) || (!input && r->deadline_ns != 0))
		return false;
	if (r->kind >= PRAAS_EXPORT_ACCEPTED && r->kind <= PRAAS_EXPORT_OUTBOX &&
	    (r->id == 0 || r->id > UINT32_MAX))
		return false;
	switch (r->kind) {
	case PRAAS_EXPORT_QUEUE:
	case PRAAS_EXPORT_ACCEPTED:
	case PRAAS_EXPORT_SENT:
		return r->bytes == 0;
	case PRAAS_EXPORT_JOINED:
		return r->bytes == 0 && r->id != 0;
	case PRAAS_EXPORT_TIMEOUT:
		return r->bytes == 0 && r->deadline_ns != 0;
	case PRAAS_EXPORT_STAGE:
		return praas_export_stage_sound(r);
	case PRAAS_EXPORT_STATE:
	case PRAAS_EXPORT_MESSAGE:
	case PRAAS_EXPORT_DEDUP:
	case PRAAS_EXPORT_TRIGGER:
	case PRAAS_EXPORT_OUTBOX:
	case PRAAS_EXPORT_LOG:
		break;
	}
	return true;
}

int praas_changes_next(const uint8_t **at, uint64_t *left, struct praas_change *ret)
{
	const uint8_t *d = *at;
	struct praas_change c = { 0 };
	uint64_t texts, bytes;

	if (*left == 0)
		return -ENODATA;
	if (*left < PRAAS_CHANGE_BYTES || d[3] > 1 || praas_get_le(d + 64, 8) != 0 ||
	    praas_get_le(d + 72, 8) != 0)
		return -EPROTO;
	c.gone = d[3] != 0;
	c.function_bytes = d[2];
	c.record = (struct praas_export_record){
		.kind = (enum praas_export_kind)d[0],
		.key = (const char *)d + PRAAS_CHANGE_BYTES,
		.key_bytes = d[1],
		.status = (int32_t)(uint32_t)praas_get_le(d + 4, 4),
		.source = praas_get_le(d + 8, 8),
		.sequence = praas_get_le(d + 16, 8),
		.id = praas_get_le(d + 24, 8),
		.version = praas_get_le(d + 32, 8),
		.modified_ns = praas_get_le(d + 40, 8),
		.deadline_ns = praas_get_le(d + 48, 8),
		.bytes = praas_get_le(d + 56, 8),
	};
	texts = (uint64_t)c.record.key_bytes + c.function_bytes;
	if (c.record.bytes > *left || texts + PRAAS_CHANGE_BYTES > *left)
		return -EPROTO;
	bytes = praas_align_up(PRAAS_CHANGE_BYTES + texts + c.record.bytes, 8);
	if (bytes > *left)
		return -EPROTO;
	for (uint64_t i = PRAAS_CHANGE_BYTES + texts + c.record.bytes; i < bytes; i++)
		if (d[i] != 0)
			return -EPROTO;
	c.function = c.record.key + c.record.key_bytes;
	c.record.data = c.record.bytes ? d + PRAAS_CHANGE_BYTES + texts : NULL;
	if (!is_sound(&c))
		return -EPROTO;
	*at += bytes;
	*left -= bytes;
	*ret = c;
	return 0;
}
