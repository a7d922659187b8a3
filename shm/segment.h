/* SPDX-License-Identifier: Apache-2.0
 *
 * A segment: one sealed memfd, mapped between guard pages. The controller creates every
 * segment, also those that a client or a worker writes; a segment has exactly one
 * writer, all others get a descriptor that can only be mapped read-only
 * (docs/shm-layout.md).
 */
#ifndef PRAAS_SHM_SEGMENT_H
#define PRAAS_SHM_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct praas_segment {
	uint8_t *base;  /* NULL: not mapped */
	uint64_t bytes; /* multiple of the page size; what the creator said, never read
			   from shm */
	uint32_t id;    /* number within the process; 0 is never used */
	int fd;         /* -1 when closed after mapping */
	bool writable;
	bool huge; /* on 2 MiB pages */
};

/* Flags of praas_segment_create(). */
/* Fault all pages in now. */
#define PRAAS_SEGMENT_POPULATE 0x1u
#define PRAAS_SEGMENT_HUGE 0x2u /* 2 MiB pages when there are any, else small ones */
#define PRAAS_SEGMENT_OWN                                                              \
	0x4u /* only we write: not even root maps it writable later                    \
	      */
/* Pages come when they are first touched: for a large segment of one's own that is filled
 * bit by bit. A machine that has promised more memory than it has may then end us. */
#define PRAAS_SEGMENT_LAZY 0x8u
/* With POPULATE: whole 2 MiB on one page each where the kernel can (Linux 6.1). For that it waits for a thread
 * of its own on every processor, which beside busy ones has been seen to take seconds: only where nobody waits. */
#define PRAAS_SEGMENT_JOIN 0x10u

#define PRAAS_SEGMENT_HUGE_BYTES (2ull << 20) /* HUGE works for multiples of it */

/**
 * Create, allocate in full, seal (shrink, grow, seal) and map a segment. Zeroed.
 * name shows in /proc/PID/maps only; bytes is a multiple of 4096. Without OWN the
 * descriptor itself can be mapped writable by whom it is sent to: the segment's one
 * writer. Returns 0; -EINVAL bytes; -ENOMEM, -ENOSPC, -EMFILE as the kernel says (more
 * than the machine has available: -ENOMEM before it tries). Cold: populated, 0.6 ms per
 * MiB, joined 0.2 ms.
 */
int praas_segment_create(const char *name, uint64_t bytes, uint32_t id, unsigned flags,
			 struct praas_segment *ret_segment);

/* How large to make a segment for one payload of bytes, with HUGE: whole 4096 bytes, or, from 16 MiB on and
 * if that is no more than room, whole 2 MiB when as many such pages are reserved and free. Cold. */
uint64_t praas_segment_payload_bytes(uint64_t bytes, uint64_t room);

/**
 * Map a segment received from its creator; fd is kept on success. Checks that it is a
 * memfd of exactly that size, allocated in full, sealed against shrinking. Returns 0;
 * -EPROTO (also: writable wanted of a read-only descriptor); -ENOMEM.
 */
int praas_segment_attach(int fd, uint64_t bytes, uint32_t id, bool writable,
			 struct praas_segment *ret_segment);

/* Fill in the page tables of an attached segment now, so that no call pays for it: 5 us for 2 MiB on
 * one page, else 60 us per MiB. */
void praas_segment_populate(const struct praas_segment *segment);

/* Make a part of it zero. Pages that nobody has written yet are left untouched, so that
 * an area of a lazy segment costs no memory (as long as the descriptor is open). */
void praas_segment_zero(const struct praas_segment *segment, uint64_t offset,
			uint64_t bytes);

/* A new descriptor of the same segment that cannot be mapped writable; the caller
 * closes it. Needs /proc. 0; -EMFILE, … as open(2) says. */
int praas_segment_read_only_fd(const struct praas_segment *segment, int *ret_fd);

/* Close the descriptor but keep the mapping (sent to all who need it). */
void praas_segment_close_fd(struct praas_segment *segment);

/* Unmap and close; a zeroed one is allowed. */
void praas_segment_release(struct praas_segment *segment);

/* True when [offset, offset + bytes) lies inside; 64-bit safe. Then base + offset may
 * be used. */
static inline bool praas_segment_holds(const struct praas_segment *segment,
				       uint64_t offset, uint64_t bytes)
{
	return bytes <= segment->bytes && offset <= segment->bytes - bytes;
}

#endif
