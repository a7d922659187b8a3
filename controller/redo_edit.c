/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/redo_edit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "controller/store/refs.h"
#include "dataplane/changes.h"
#include "internal/base.h"
#include "internal/bytes.h"

/*
 * A table leads from what tells a record from others of its kind to its place in the snapshot. What is gone
 * leaves a hole (kind 0), which is closed at the end; what waits for triggers is told as a whole each time, and is
 * kept apart until then.
 */

#define HOLE ((enum praas_export_kind)0)
#define NONE (~UINT64_C(0))
#define COMPACT_MIN (UINT64_C(1) << 18)
#define DEDUP_MAX (UINT64_C(1) << 16) /* more than any process remembers */

struct praas_redo_edit {
	struct praas_snapshot *s;
	uint64_t turns;
	uint64_t compact_at; /* so many records: holes are closed before one more */
	uint64_t *slots;     /* record + 1; 0: free. NONE: was one */
	uint64_t mask, used;
	struct praas_snapshot inputs; /* records only: what waits for triggers */
};

static bool is_input(enum praas_export_kind kind)
{
	return kind == PRAAS_EXPORT_TRIGGER || kind == PRAAS_EXPORT_JOINED ||
	       kind == PRAAS_EXPORT_TIMEOUT || kind == PRAAS_EXPORT_STAGE;
}

static bool is_agreed(enum praas_export_kind kind)
{
	return kind == PRAAS_EXPORT_QUEUE || kind == PRAAS_EXPORT_ACCEPTED ||
	       kind == PRAAS_EXPORT_SENT;
}

/* ---- which record ---- */

/* What tells it from others of its kind; the rest is 0. */
static struct praas_export_record identity(const struct praas_export_record *r)
{
	struct praas_export_record i = { .kind = r->kind };

	switch (r->kind) {
	case PRAAS_EXPORT_STATE:
		i.key = r->key;
		i.key_bytes = r->key_bytes;
		break;
	case PRAAS_EXPORT_MESSAGE:
		i.sequence = r->sequence;
		break;
	case PRAAS_EXPORT_DEDUP:
	case PRAAS_EXPORT_ACCEPTED:
		i.source = r->source;
		i.id = r->id;
		break;
	case PRAAS_EXPORT_SENT:
		i.source = r->source;
		break;
	case PRAAS_EXPORT_OUTBOX:
		i.source = r->source;
		i.id = r->id;
		i.sequence = r->sequence;
		break;
	case PRAAS_EXPORT_QUEUE:
	case PRAAS_EXPORT_LOG:
	case PRAAS_EXPORT_TRIGGER:
	case PRAAS_EXPORT_JOINED:
	case PRAAS_EXPORT_TIMEOUT:
	case PRAAS_EXPORT_STAGE:
		break;
	}
	return i;
}

static bool same(const struct praas_export_record *a,
		 const struct praas_export_record *b)
{
	return a->kind == b->kind && a->source == b->source && a->id == b->id &&
	       a->sequence == b->sequence && a->key_bytes == b->key_bytes &&
	       (a->key_bytes == 0 || memcmp(a->key, b->key, a->key_bytes) == 0);
}

static uint64_t hash_of(const struct praas_export_record *i)
{
	uint8_t data[4 * 8 + PRAAS_KEY_MAX], sum[PRAAS_SNAPSHOT_HASH_BYTES];

	praas_put_le(data, i->kind, 8);
	praas_put_le(data + 8, i->source, 8);
	praas_put_le(data + 16, i->id, 8);
	praas_put_le(data + 24, i->sequence, 8);
	if (i->key_bytes)
		memcpy(data + 32, i->key, i->key_bytes);
	praas_snapshot_hash(data, 32u + i->key_bytes, sum);
	return praas_get_le(sum, 8);
}

/* Its slot, or the one where it would be put. */
static uint64_t *find(const struct praas_redo_edit *e,
		      const struct praas_export_record *record)
{
	struct praas_export_record wanted = identity(record);
	uint64_t *hole = NULL;

	for (uint64_t h = hash_of(&wanted);; h++) {
		uint64_t *slot = &e->slots[h & e->mask];
		struct praas_export_record there;

		if (*slot == 0)
			return hole ? hole : slot;
		if (*slot == NONE) {
			hole = hole ? hole : slot;
			continue;
		}
		there = identity(&e->s->records[*slot - 1].record);
		if (same(&there, &wanted))
			return slot;
	}
}

static bool is_there(const uint64_t *slot)
{
	return *slot != 0 && *slot != NONE;
}

/* At most half full, holes included. */
static int make_table(struct praas_redo_edit *e)
{
	uint64_t slots = 1024;

	while (slots < 4 * (e->s->records_count + 1))
		slots *= 2;
	free(e->slots);
	e->slots = calloc((size_t)slots, sizeof(*e->slots));
	if (!e->slots)
		return -ENOMEM;
	e->mask = slots - 1;
	e->used = 0;
	for (uint64_t i = 0; i < e->s->records_count; i++) {
		uint64_t *slot;

		if (e->s->records[i].record.kind == HOLE)
			continue;
		slot = find(e, &e->s->records[i].record);
		e->used += *slot == 0;
		*slot = i + 1; /* of two that are the same the last one */
	}
	return 0;
}

/* ---- changes ---- */

/* The snapshot owns what it points to. old: NULL, or what it was; its room is used again, so that a value that is
 * written again and again takes no more. */
static int keep_value(struct praas_snapshot *s, const struct praas_snapshot_record *old,
		      struct praas_export_record *r)
{
	uint8_t *copy = NULL;

	if (r->bytes == 0)
		return 0;
	if (old && old->chunk == PRAAS_SNAPSHOT_INLINE && old->record.bytes >= r->bytes)
		copy = (uint8_t *)(uintptr_t)old->record.data; /* the snapshot's */
	if (!copy)
		copy = praas_snapshot_room(s, r->bytes);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, r->data, (size_t)r->bytes);
	r->data = copy;
	return 0;
}

static void close_holes(struct praas_snapshot *s)
{
	uint64_t kept = 0;

	for (uint64_t i = 0; i < s->records_count; i++)
		if (s->records[i].record.kind != HOLE)
			s->records[kept++] = s->records[i];
	s->records_count = kept;
}

/* Of remembered results the last ones count. */
static void drop_old_results(struct praas_snapshot *s)
{
	uint64_t count = 0;

	for (uint64_t i = s->records ? s->records_count : 0; i-- > 0;) {
		struct praas_snapshot_record *r = &s->records[i];

		if (r->record.kind != PRAAS_EXPORT_DEDUP || ++count <= DEDUP_MAX)
			continue;
		s->value_bytes -= r->record.bytes;
		r->record.kind = HOLE;
	}
}

static int compact(struct praas_redo_edit *e)
{
	drop_old_results(e->s);
	close_holes(e->s);
	e->compact_at = praas_max_u64(2 * e->s->records_count, COMPACT_MIN);
	e->compact_at = praas_min_u64(e->compact_at, PRAAS_SNAPSHOT_RECORDS_MAX);
	return make_table(e);
}

static int put_new(struct praas_redo_edit *e, struct praas_export_record *r)
{
	uint64_t *slot;
	int rc = 0;

	if (e->s->records_count >= e->compact_at)
		rc = compact(e);
	if (rc == 0)
		rc = keep_value(e->s, NULL, r);
	if (rc == 0)
		rc = praas_snapshot_add(e->s, r);
	if (rc != 0)
		return rc;
	slot = find(e, r);
	e->used += *slot == 0;
	*slot = e->s->records_count;
	return e->used > e->mask / 2 ? make_table(e) : 0;
}

static void drop(struct praas_redo_edit *e, const struct praas_export_record *r)
{
	uint64_t *slot = find(e, r);
	struct praas_snapshot_record *old;

	if (!is_there(slot))
		return; /* it was given and taken by turns that count for nothing, or has come and gone in one */
	old = &e->s->records[*slot - 1];
	e->s->value_bytes -= old->record.bytes;
	old->record.kind = HOLE;
	*slot = NONE;
}

/* One that is there may stay where it is: its key is the snapshot's already. Not so a remembered result, since the oldest
 * ones are forgotten first; and where a key is no part of what is looked for it may be another one. */
static bool stays(const struct praas_snapshot_record *old,
		  const struct praas_export_record *r)
{
	return r->kind != PRAAS_EXPORT_DEDUP && old->record.key_bytes == r->key_bytes &&
	       (r->key_bytes == 0 ||
		memcmp(old->record.key, r->key, r->key_bytes) == 0);
}

static int put(struct praas_redo_edit *e, struct praas_export_record *r)
{
	uint64_t *slot = find(e, r);
	struct praas_snapshot_record *old =
		is_there(slot) ? &e->s->records[*slot - 1] : NULL;
	int rc;

	if (old && !stays(old, r)) {
		drop(e, r);
		old = NULL;
	}
	if (!old)
		return put_new(e, r);
	rc = keep_value(e->s, old, r);
	if (rc != 0)
		return rc;
	e->s->value_bytes += r->bytes - old->record.bytes;
	r->key = old->record.key;
	*old = (struct praas_snapshot_record){ .record = *r,
					       .chunk = PRAAS_SNAPSHOT_INLINE };
	return 0;
}

/* The number by which the snapshot names a function. */
static int function_number(struct praas_snapshot *s, const struct praas_change *c,
			   uint16_t *ret_number)
{
	char(*more)[PRAAS_NAME_MAX + 1];
	uint32_t i = 0;

	for (; i < s->functions_count; i++)
		if (strlen(s->functions[i]) == c->function_bytes &&
		    memcmp(s->functions[i], c->function, c->function_bytes) == 0)
			break;
	*ret_number = (uint16_t)i;
	if (i < s->functions_count)
		return 0;
	if (i >= UINT16_MAX)
		return -E2BIG;
	more = realloc(s->functions, (i + 1u) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	s->functions = more;
	memset(more[i], 0, sizeof(more[i]));
	memcpy(more[i], c->function, c->function_bytes);
	s->functions_count++;
	return 0;
}

static int put_input(struct praas_redo_edit *e, const struct praas_change *c)
{
	struct praas_export_record r = c->record;
	int rc = 0;

	if (c->gone) {
		praas_snapshot_release(&e->inputs);
		return 0;
	}
	if (c->function_bytes > 0)
		rc = function_number(e->s, c, &r.function);
	if (rc == 0)
		rc = keep_value(&e->inputs, NULL, &r);
	return rc == 0 ? praas_snapshot_add(&e->inputs, &r) : rc;
}

int praas_redo_edit_turn(struct praas_redo_edit *e, bool agreed, const uint8_t *data,
			 uint64_t bytes)
{
	struct praas_change c;
	int rc;

	while ((rc = praas_changes_next(&data, &bytes, &c)) == 0) {
		if (agreed && !is_agreed(c.record.kind))
			continue;
		if (is_input(c.record.kind))
			rc = put_input(e, &c);
		else if (c.gone)
			drop(e, &c.record);
		else
			rc = put(e, &c.record);
		if (rc != 0)
			return rc;
	}
	e->turns++;
	return rc == -ENODATA ? 0 : rc;
}

uint64_t praas_redo_edit_turns(const struct praas_redo_edit *e)
{
	return e->turns;
}

/* ---- the beginning and the end ---- */

/* Records of inputs go over to e->inputs; their keys and values stay the snapshot's, which lives longer. */
static int part_inputs(struct praas_redo_edit *e)
{
	struct praas_snapshot *s = e->s;
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < s->records_count; i++) {
		struct praas_snapshot_record *r = &s->records[i];

		if (!is_input(r->record.kind))
			continue;
		rc = praas_snapshot_add(&e->inputs, &r->record);
		if (rc != 0)
			break;
		e->inputs.records[e->inputs.records_count - 1] = *r;
		s->value_bytes -= r->record.bytes;
		r->record.kind = HOLE;
	}
	return rc;
}

int praas_redo_edit_begin(struct praas_snapshot *snapshot,
			  struct praas_redo_edit **ret_edit)
{
	struct praas_redo_edit *e = calloc(1, sizeof(*e));
	int rc;

	if (!e)
		return -ENOMEM;
	e->s = snapshot;
	e->compact_at = COMPACT_MIN;
	rc = part_inputs(e);
	if (rc == 0)
		rc = make_table(e);
	if (rc == 0) {
		*ret_edit = e;
		return 0;
	}
	praas_snapshot_release(&e->inputs);
	free(e->slots);
	free(e);
	return rc;
}

int praas_redo_edit_end(struct praas_redo_edit *e)
{
	bool open = false; /* it says something of an input that follows */
	int rc = 0;

	if (!e)
		return 0;
	close_holes(e->s);
	for (uint64_t i = 0; rc == 0 && i < e->inputs.records_count; i++) {
		const struct praas_snapshot_record *r = &e->inputs.records[i];

		if (!praas_snapshot_follows(open, r->record.kind))
			rc = -EPROTO;
		open = praas_snapshot_opens(r->record.kind);
		if (rc == 0)
			rc = praas_snapshot_add(e->s, &r->record);
		if (rc == 0) { /* it may lie in a chunk */
			struct praas_snapshot_record *to =
				&e->s->records[e->s->records_count - 1];
			const char *key = to->record.key;

			*to = *r;
			to->record.key = key;
		}
	}
	if (rc == 0 && open)
		rc = -EPROTO;
	praas_snapshot_adopt(e->s, &e->inputs); /* what the values lie in */
	free(e->slots);
	free(e);
	return rc;
}
