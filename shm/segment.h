/* SPDX-License-Identifier: Apache-2.0
 *
 * A segment: one sealed memfd, mapped between guard pages. The controller creates every
 * segment, also those that a client or a worker writes; a segment has exactly one writer,
 * all others get a descriptor that can only be mapped read-only (docs/shm-layout.md).
 */
#ifndef PRAAS_SHM_SEGMENT_H
#define PRAAS_SHM_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct praas_segment {
	uint8_t *base;  /* NULL: not mapped */
	uint64_t bytes; /* multiple of the page size; what the creator said, never read from shm */
	uint32_t id;    /* number within the process; 0 is never used */
	int fd;         /* -1 when closed after mapping */
	bool writable;
	bool huge;      /* on 2 MiB pages */
};

/* Flags of praas_segment_create(). */
#define PRAAS_SEGMENT_POPULATE 0x1u /* fault all pages in now */
#define PRAAS_SEGMENT_HUGE 0x2u     /* 2 MiB pages when there are any, else small ones */

/**
 * Create, allocate in full, seal (shrink, grow, seal) and map a segment. Zeroed.
 * name shows in /proc/PID/maps only. Returns 0; -ENOMEM, -ENOSPC, -EMFILE as the kernel says.
 * Cold: about 1 ms per MiB populated.
 */
int praas_segment_create(const char *name, uint64_t bytes, uint32_t id, unsigned flags,
			 struct praas_segment *ret_segment);

/**
 * Map a segment received from its creator; fd is kept on success. Checks that it is a memfd of
 * exactly that size, sealed against shrinking. Returns 0; -EPROTO; -ENOMEM.
 */
int praas_segment_attach(int fd, uint64_t bytes, uint32_t id, bool writable,
			 struct praas_segment *ret_segment);

/* A new descriptor of the same segment that cannot be mapped writable. */
int praas_segment_read_only_fd(const struct praas_segment *segment, int *ret_fd);

/* Close the descriptor but keep the mapping (sent to all who need it). */
void praas_segment_close_fd(struct praas_segment *segment);

/* Unmap and close; a zeroed one is allowed. */
void praas_segment_release(struct praas_segment *segment);

/* True when [offset, offset + bytes) lies inside; 64-bit safe. Then base + offset may be used. */
static inline bool praas_segment_holds(const struct praas_segment *segment, uint64_t offset,
				       uint64_t bytes)
{
	return bytes <= segment->bytes && offset <= segment->bytes - bytes;
}

#endif
