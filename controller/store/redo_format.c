/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/redo_format.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "controller/store/refs.h"
#include "internal/bytes.h"

/*
 * Head of a file, 128 bytes, little-endian:
 *    0 magic u64          8 version u32        12 epoch u32       16 pid u64
 *   24 generation u64    32 first u64          40 salt u64        48 tenant 16
 *   64 note u32         68 zero 44         112 XXH3-128 of the bytes before
 * Head of a record, 64 bytes:
 *    0 XXH3-128 of the rest, what it holds and the zeros behind that
 *   16 magic u32         20 bytes u32          24 sequence u64    32 synced u64
 *   40 salt u64          48 generation u64     56 epoch u32       60 kind u16     62 zero u16
 * then what it holds, and zeros up to a multiple of 8.
 */

#define FILE_MAGIC 0x3144455253415250ull /* "PRASRED1" */
#define VERSION 1u
#define RECORD_MAGIC 0x43525250u /* "PRRC" */
#define SCAN_TIMES                                                                     \
	4u /* a file is hashed no more often than this to find out whether it is torn */

void praas_redo_head_encode(const struct praas_redo_head *head,
			    uint8_t ret_data[PRAAS_REDO_FILE_HEAD_BYTES])
{
	uint8_t *d = ret_data;

	memset(d, 0, PRAAS_REDO_FILE_HEAD_BYTES);
	praas_put_le(d, FILE_MAGIC, 8);
	praas_put_le(d + 8, VERSION, 4);
	praas_put_le(d + 12, head->epoch, 4);
	praas_put_le(d + 16, head->id.pid, 8);
	praas_put_le(d + 24, head->id.generation, 8);
	praas_put_le(d + 32, head->first, 8);
	praas_put_le(d + 40, head->salt, 8);
	memcpy(d + 48, head->id.tenant, 16);
	praas_put_le(d + 64, head->note, 4);
	praas_snapshot_hash(d, 112, d + 112);
}

int praas_redo_head_decode(const struct praas_slot_id *id, uint32_t epoch,
			   uint64_t first, const uint8_t *data, size_t bytes,
			   struct praas_redo_head *ret_head)
{
	struct praas_redo_head head = { .id = *id, .epoch = epoch, .first = first };
	uint8_t same[PRAAS_REDO_FILE_HEAD_BYTES];

	if (bytes < PRAAS_REDO_FILE_HEAD_BYTES || first == 0 || epoch == 0)
		return -EPROTO;
	/* All but these is known. */
	head.salt = praas_get_le(data + 40, 8);
	head.note = (uint32_t)praas_get_le(data + 64, 4);
	praas_redo_head_encode(&head, same);
	if (memcmp(same, data, sizeof(same)) != 0)
		return -EPROTO;
	*ret_head = head;
	return 0;
}

void praas_redo_place(const struct praas_redo_record *record, uint8_t *ret_data)
{
	uint8_t *d = ret_data;

	memset(d, 0, PRAAS_REDO_HEAD_BYTES);
	praas_put_le(d + 16, RECORD_MAGIC, 4);
	praas_put_le(d + 20, record->bytes, 4);
	praas_put_le(d + 24, record->sequence, 8);
	praas_put_le(d + 60, record->kind, 2);
	if (record->bytes > 0)
		memcpy(d + PRAAS_REDO_HEAD_BYTES, record->data, record->bytes);
	memset(d + PRAAS_REDO_HEAD_BYTES + record->bytes, 0,
	       praas_redo_room(record->bytes) - PRAAS_REDO_HEAD_BYTES - record->bytes);
}

size_t praas_redo_close_record(const struct praas_redo_head *head, uint64_t synced,
			       uint8_t *data)
{
	size_t room = praas_redo_room((uint32_t)praas_get_le(data + 20, 4));

	praas_put_le(data + 32, synced, 8);
	praas_put_le(data + 40, head->salt, 8);
	praas_put_le(data + 48, head->id.generation, 8);
	praas_put_le(data + 56, head->epoch, 4);
	praas_snapshot_hash(data + 16, room - 16, data);
	return room;
}

/* A head that may be one of a record of this file; what it takes. 0: it is none. */
static size_t plausible(const struct praas_redo_head *head, const uint8_t *d,
			size_t bytes)
{
	uint64_t holds;

	if (bytes < PRAAS_REDO_HEAD_BYTES || praas_get_le(d + 16, 4) != RECORD_MAGIC ||
	    praas_get_le(d + 40, 8) != head->salt ||
	    praas_get_le(d + 48, 8) != head->id.generation ||
	    praas_get_le(d + 56, 4) != head->epoch || praas_get_le(d + 60, 2) == 0 ||
	    praas_get_le(d + 62, 2) != 0)
		return 0;
	holds = praas_get_le(d + 20, 4);
	if (holds > PRAAS_REDO_RECORD_MAX || praas_redo_room((uint32_t)holds) > bytes)
		return 0;
	return praas_redo_room((uint32_t)holds);
}

/* The record at d, whatever its number. room: of plausible(). */
static bool decode(const uint8_t *d, size_t room, struct praas_redo_record *ret_record)
{
	uint8_t sum[PRAAS_SNAPSHOT_HASH_BYTES];
	struct praas_redo_record r = {
		.sequence = praas_get_le(d + 24, 8),
		.synced = praas_get_le(d + 32, 8),
		.epoch = (uint32_t)praas_get_le(d + 56, 4),
		.kind = (uint16_t)praas_get_le(d + 60, 2),
		.data = d + PRAAS_REDO_HEAD_BYTES,
		.bytes = (uint32_t)praas_get_le(d + 20, 4),
	};

	praas_snapshot_hash(d + 16, room - 16, sum);
	if (memcmp(sum, d, sizeof(sum)) != 0)
		return false;
	for (size_t i = PRAAS_REDO_HEAD_BYTES + r.bytes; i < room; i++)
		if (d[i] != 0)
			return false;
	*ret_record = r;
	return r.synced < r.sequence;
}

/* Whether something from there on says that record `next` was durable, or that cannot be found out with
 * reasonable work. */
static bool promised(const struct praas_redo_head *head, const uint8_t *data,
		     size_t bytes, uint64_t next)
{
	struct praas_redo_record r;
	uint64_t hashed = 0;
	size_t room;

	for (size_t at = 0; at + PRAAS_REDO_HEAD_BYTES <= bytes; at += 8) {
		room = plausible(head, data + at, bytes - at);
		if (room == 0)
			continue;
		hashed += room;
		if (hashed > SCAN_TIMES * (uint64_t)bytes)
			return true;
		if (decode(data + at, room, &r) && r.synced >= next)
			return true;
	}
	return false;
}

int praas_redo_walk(const struct praas_redo_head *head, const uint8_t *data,
		    size_t bytes, uint64_t last, praas_redo_fn fn, void *user,
		    uint64_t *ret_next)
{
	size_t at = PRAAS_REDO_FILE_HEAD_BYTES, room;
	struct praas_redo_record r;
	uint64_t next = head->first;
	int rc;

	for (; last == 0 || next <= last; next++) {
		*ret_next = next;
		room = at < bytes ? plausible(head, data + at, bytes - at) : 0;
		if (room == 0 || !decode(data + at, room, &r))
			break;
		if (r.sequence != next)
			return -EPROTO;
		rc = fn(user, &r);
		if (rc != 0)
			return rc;
		at += room;
	}
	*ret_next = next;
	if (last != 0)
		return next > last ? 0 : -EPROTO;
	return at < bytes && promised(head, data + at, bytes - at, next) ? -EPROTO : 0;
}
