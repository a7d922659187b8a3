/* SPDX-License-Identifier: Apache-2.0
 *
 * What a file of the redo log holds (docs/journal.md): a head, records, and zeros that were written in
 * advance. Pure; a file is untrusted input.
 *
 * A record says up to which one all were known to be durable when it was written. So what a crash has torn
 * can be told from what was damaged later: nobody was promised anything of a record that is torn, and none
 * behind it says that it was durable.
 */
#ifndef PRAAS_CONTROLLER_STORE_REDO_FORMAT_H
#define PRAAS_CONTROLLER_STORE_REDO_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "controller/store/slot_log.h"

#define PRAAS_REDO_FILE_HEAD_BYTES 128u
#define PRAAS_REDO_HEAD_BYTES 64u
#define PRAAS_REDO_RECORD_MAX (16u << 20) /* of what a record holds */

/* Whose file it is. */
struct praas_redo_head {
	struct praas_slot_id id;
	uint32_t epoch;
	uint32_t note;  /* the user's, for who reads it */
	uint64_t first; /* number of its first record; not 0 */
	uint64_t
		salt; /* random, of this file: what is in a record cannot pass for one */
};

struct praas_redo_record {
	uint64_t sequence;
	uint64_t synced; /* so many were durable when this one was written */
	uint32_t epoch;  /* whose it is; not of place() */
	uint16_t kind;   /* not 0; the rest is the user's */
	const uint8_t *data;
	uint32_t bytes;
};

typedef int (*praas_redo_fn)(void *user, const struct praas_redo_record *record);

void praas_redo_head_encode(const struct praas_redo_head *head,
			    uint8_t ret_data[PRAAS_REDO_FILE_HEAD_BYTES]);
/* 0; -EPROTO not a file of this process, damaged, or not of this epoch and first record. */
int praas_redo_head_decode(const struct praas_slot_id *id, uint32_t epoch,
			   uint64_t first, const uint8_t *data, size_t bytes,
			   struct praas_redo_head *ret_head);

/* Bytes that a record with so much in it takes. */
static inline size_t praas_redo_room(uint32_t bytes)
{
	return PRAAS_REDO_HEAD_BYTES + (((size_t)bytes + 7) & ~(size_t)7);
}

/* A record but for what is known only when it is written. ret_data: praas_redo_room(record->bytes). */
void praas_redo_place(const struct praas_redo_record *record, uint8_t *ret_data);
/* That: its file, what is durable, and the checksum. Returns the bytes of the record. */
size_t praas_redo_close_record(const struct praas_redo_head *head, uint64_t synced,
			       uint8_t *data);

/**
 * The records of a file, with its head. last: its last one is known, and must be there; 0: it is the last
 * file of the log, which ends where a crash has torn it. *ret_next: number of the first record that is not there.
 * 0; -EPROTO damaged: *ret_next says which; or what fn says, which ends the walk.
 */
int praas_redo_walk(const struct praas_redo_head *head, const uint8_t *data,
		    size_t bytes, uint64_t last, praas_redo_fn fn, void *user,
		    uint64_t *ret_next);

#endif
