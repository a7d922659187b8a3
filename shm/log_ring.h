/* SPDX-License-Identifier: Apache-2.0
 *
 * Log ring: lines of text that a worker writes into a segment of its own and the
 * controller reads. The writer never waits: a line that does not fit is dropped and
 * counted. The reader believes nothing: every word is loaded once and checked, and the
 * text is made printable.
 *
 * The ring is words of 8 bytes. A record is two words of head and then its text; it may
 * wrap anywhere. The read position lies in a segment of the reader's
 * (docs/shm-layout.md).
 */
#ifndef PRAAS_SHM_LOG_RING_H
#define PRAAS_SHM_LOG_RING_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/ring.h"
#include "shm/segment.h"

#define PRAAS_LOG_TEXT_MAX 1024u /* bytes of a line; longer ones are cut */
#define PRAAS_LOG_RING_BYTES_MIN 4096u

enum praas_log_level {
	PRAAS_LOG_DEBUG = 0,
	PRAAS_LOG_INFO,
	PRAAS_LOG_WARNING,
	PRAAS_LOG_ERROR,
	PRAAS_LOG_LEVEL_MAX = PRAAS_LOG_ERROR
};

/* In shared memory, first in the writer's segment; written by it alone. */
struct praas_log_ring_shared {
	alignas(64) _Atomic uint64_t written; /* words ever written */
	_Atomic uint64_t dropped;             /* lines that did not fit */
	uint64_t pad[6];
	_Atomic uint64_t word[];
};

_Static_assert(sizeof(struct praas_log_ring_shared) == 64, "shared layout");

/* The writer's private side. */
struct praas_log_tx {
	struct praas_log_ring_shared *shared; /* ours */
	const struct praas_ring_tail *tail;   /* the reader's */
	uint64_t words;                       /* of the ring, a power of two */
	uint64_t head;                        /* words ever written */
	uint64_t seen;    /* the reader's tail when we last looked */
	uint64_t dropped; /* lines */
};

/* The reader's private side. */
struct praas_log_rx {
	const struct praas_log_ring_shared *shared; /* the writer's, read-only */
	struct praas_ring_tail *tail;               /* ours */
	uint64_t words;
	uint64_t next;    /* words ever read */
	uint64_t dropped; /* what the writer said when we last looked; only grows */
};

/* What a line is about, for who looks for it among others. */
struct praas_log_about {
	uint16_t function; /* its number + 1; 0: none */
	uint8_t trace[16]; /* W3C trace id; zeros: none */
};

/* A line that was read. */
struct praas_log_line {
	enum praas_log_level level;
	struct praas_log_about about;      /* the writer's claim */
	uint32_t bytes;                    /* of text */
	uint64_t time_ns;                  /* CLOCK_REALTIME; the writer's claim */
	char text[PRAAS_LOG_TEXT_MAX + 1]; /* NUL-terminated, no control characters */
};

/* Both sides agree on bytes, the size of the writer's segment; the ring is the largest
 * power of two that fits. 0; -EINVAL bytes below the minimum or above the segment. */
int praas_log_tx_init(struct praas_log_tx *tx, const struct praas_segment *segment,
		      uint64_t bytes, const struct praas_ring_tail *tail);
int praas_log_rx_init(struct praas_log_rx *rx, const struct praas_segment *segment,
		      uint64_t bytes, struct praas_ring_tail *tail);

/* Write a line; text need not be terminated; about NULL: nothing is known. No system call
 * but the clock's. One thread. 0; -EAGAIN no room, dropped and counted; -EPROTO the reader's position is
 * impossible. */
int praas_log_write(struct praas_log_tx *tx, enum praas_log_level level,
		    const struct praas_log_about *about, const char *text,
		    size_t bytes);

/* Take the oldest line. 0; -EAGAIN none; -EPROTO what is there cannot be, and nobody
 * should read this ring any more. rx->dropped is brought up to date. */
int praas_log_read(struct praas_log_rx *rx, struct praas_log_line *ret_line);

#endif
