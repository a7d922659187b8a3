/* SPDX-License-Identifier: Apache-2.0
 *
 * The backup queue of a process as a store keeps it: messages that came while nobody served, in the
 * order of their arrival (docs/protocols.md). control/life/queue.h is the same in memory, for the
 * simulator; both are tried against each other.
 *
 * Whether a message goes there at all is not decided here (control/life/lifecycle_mail.c). A queue is
 * gone with the record of its process, in one transaction.
 */
#ifndef PRAAS_CONTROL_QUEUED_H
#define PRAAS_CONTROL_QUEUED_H

#include <stdbool.h>
#include <stdint.h>

#define PRAAS_QUEUE_POSITION_MAX (1ull << 53)
#define PRAAS_QUEUE_TRACE_BYTES 32u

struct praas_records;

struct praas_queued {
	uint64_t
		position; /* from 1, without a gap; never given twice; set by the store */
	uint64_t source; /* pid of the sender */
	uint64_t number; /* of its place, within the sender's epoch */
	uint32_t epoch;
	uint32_t bytes; /* of the payload, at most PRAAS_LIMIT_MESSAGE_BYTES */
	uint8_t key_bytes;
	bool traced; /* it has a trace */
	uint8_t trace[PRAAS_QUEUE_TRACE_BYTES];
	const uint8_t *data; /* the key, and behind it the payload */
};

struct praas_queue_state {
	uint64_t tail;     /* position of the last one ever; 0 none */
	uint64_t trimmed;  /* all up to here are gone */
	uint64_t messages; /* that are there: tail - trimmed */
	uint64_t bytes;    /* of their keys and payloads */
};

/* Errors besides those named: as of struct praas_records_ops. */
struct praas_queue_ops {
	/**
	 * Puts messages of one source behind all that process has, in one transaction: as many as there
	 * is room for, from the first on; *ret_taken says how many. One whose place is not above the last
	 * of its source and epoch that is still there counts as taken and is not stored again: its answer
	 * was lost. *ret_tail: of the queue afterwards.
	 * 0; -ENOSPC there is no room for the first; -ENOENT no such process, or it is being deleted.
	 */
	int (*append)(struct praas_records *r, uint64_t process,
		      const struct praas_queued *messages, uint32_t count,
		      uint32_t *ret_taken, uint64_t *ret_tail);
	/**
	 * What comes after a position (0: after what is gone), at most PRAAS_LIMIT_MAIL_BATCH messages and
	 * PRAAS_LIMIT_MESSAGE_BYTES, but one if there is any. Their data lies in *ret_data one behind the
	 * other, malloc'd, of *ret_bytes. *ret_more: it is not all.
	 * 0; -ESTALE what came after it is gone in part; -ENOMEM.
	 */
	int (*read)(struct praas_records *r, uint64_t process, uint64_t after,
		    struct praas_queued *ret_messages, uint32_t *ret_count,
		    uint8_t **ret_data, uint32_t *ret_bytes, bool *ret_more);
	/* Zeros where nothing was ever queued. */
	int (*state)(struct praas_records *r, uint64_t process,
		     struct praas_queue_state *ret_state);
	/* All up to position go: only up to the queue cut of a committed snapshot. */
	int (*trim)(struct praas_records *r, uint64_t process, uint64_t position);
	/* The process has seen positions up to this one, which records of a while ago do not know: what
	 * is there gets new ones above it. Nothing when it is not above the tail. *ret_tail: afterwards.
	 * -ENOENT no such process. */
	int (*lift)(struct praas_records *r, uint64_t process, uint64_t position,
		    uint64_t *ret_tail);
	/* All goes; positions go on. */
	int (*drop)(struct praas_records *r, uint64_t process);
};

#endif
