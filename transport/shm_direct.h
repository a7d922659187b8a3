/* SPDX-License-Identifier: Apache-2.0
 *
 * The direct path: a channel between a client's segment and a worker, past the controller
 * (docs/architecture.md, "Three paths"; docs/shm-layout.md, "Client"). This header has what both
 * ends share and the worker's end; the client's end is in transport/shm_conn.h.
 *
 * Withdrawing. A client may take back a call that the worker has not taken: it sets
 * PRAAS_DIRECT_MARK in the slot's word 0, fences every process with membarrier, and looks at
 * the worker's read position. The worker publishes its position after each pop, before it looks
 * at the mark. One of the two sees the other:
 *   position not past the slot  the worker will see the mark: the call is the client's again
 *   position past the slot      the worker may or may not see the mark, and its answer tells
 * A worker that sees the mark does not run the call; it always answers RESULT with status
 * PRAAS_CANCELLED and aux PRAAS_DIRECT_WITHDRAWN, which the client ignores for a call that
 * it has sent the other way by then.
 *
 * Waking. Each pair has a SOCK_SEQPACKET socket pair: a producer writes 8 bytes when the other
 * side's doorbell word is set. Not an eventfd: its file flags would be shared, so that a hostile
 * peer could make our write wait, or eat what is meant for others.
 */
#ifndef PRAAS_TRANSPORT_SHM_DIRECT_H
#define PRAAS_TRANSPORT_SHM_DIRECT_H

#include <stdbool.h>
#include <stdint.h>

#include "praas/types.h"
#include "shm/channel.h"
#include "shm/pool.h"
#include "transport/frame.h"

#define PRAAS_DIRECT_FDS 3u            /* client segment, reply segment, wake socket */
#define PRAAS_DIRECT_MARK (1ull << 24) /* in word 0 of a slot: withdrawn */
#define PRAAS_DIRECT_WITHDRAWN                                                         \
	(~(uint64_t)0) /* aux of a RESULT: seen withdrawn, not run */
#define PRAAS_DIRECT_NO_BUFFER (~(uint64_t)0) /* offset of a reply without payload */

/* What a worker must know of a direct client. The same members in the same order as
 * struct praas_worker_attach of dataplane/worker_proto.h. */
struct praas_direct_attach {
	uint32_t client; /* number of the direct client, 0 … 63, chosen by who grants */
	uint32_t
		block; /* this worker's block in the client's segment: 1 + worker index */
	uint64_t source; /* identity to stamp on its calls */
	uint64_t bytes_max;
	struct praas_channel_geometry client_geometry;
	struct praas_channel_geometry
		reply_geometry; /* of the segment that we write for it */
	uint32_t client_segment, reply_segment; /* ids */
};

/* In the header page of the reply segment at PRAAS_DIRECT_COUNTERS_OFFSET; written by the
 * worker, read by the controller for accounting. */
struct praas_direct_counters {
	_Atomic uint64_t calls;     /* taken and answered */
	_Atomic uint64_t failures;  /* of these, status not 0 */
	_Atomic uint64_t withdrawn; /* seen withdrawn, not run */
	_Atomic uint64_t copies;    /* payloads that the worker had to copy */
	_Atomic uint64_t bytes_in;
	_Atomic uint64_t bytes_out;
	_Atomic uint64_t run_ns; /* in functions */
	_Atomic uint64_t pad;
};
#define PRAAS_DIRECT_COUNTERS_OFFSET 128u

_Static_assert(sizeof(struct praas_direct_counters) == 64, "one cache line");
_Static_assert(PRAAS_DIRECT_COUNTERS_OFFSET + sizeof(struct praas_direct_counters) <=
		       sizeof(struct praas_channel_header),
	       "in the header page");

/* ---- the worker's end ----------------------------------------------------------------- */

/* One direct client, as its worker sees it. Private memory of the worker; members are read by
 * the inline functions below only. */
struct praas_direct {
	struct praas_channel channel;
	struct praas_segment client;     /* read-only */
	struct praas_segment reply;      /* ours */
	struct praas_pool *pool;         /* over the buffer area of reply */
	uint64_t client_from, client_to; /* the client's buffer area */
	struct praas_direct_attach attach;
	struct praas_direct_counters *counters; /* shared; we write */
	uint64_t calls, failures, withdrawn, copies, bytes_in, bytes_out, run_ns;
	int wake_fd; /* readable when the client woke us; add it to what a sleep waits for */
};

/* A call taken from a client. data lies in the client's memory and may change while it is read:
 * what is interpreted is copied first. Key and trace are copies. */
struct praas_direct_call {
	struct praas_frame
		head; /* INVOKE; source stamped; deadline_ns absolute (monotonic) */
	const uint8_t *data;              /* head.bytes long; NULL when 0 */
	uint8_t trace[PRAAS_TRACE_BYTES]; /* valid when head.flags has TRACE */
	char key[PRAAS_KEY_MAX + 1];
};

/**
 * Map and join. fds as PRAAS_WORKER_MSG_ATTACH brought them, in the order of PRAAS_DIRECT_FDS;
 * given on success. Returns 0; -EPROTO geometry or segments that do not fit; -ENOMEM.
 */
int praas_direct_open(struct praas_direct *d, const struct praas_direct_attach *attach,
		      const int fds[PRAAS_DIRECT_FDS]);
/* Unmap and close; after it nothing of the client is touched. A zeroed one is allowed. */
void praas_direct_close(struct praas_direct *d);

/* One load: something may be there. For polling loops and for the last look before a sleep. */
static inline bool praas_direct_ready(const struct praas_direct *d)
{
	return praas_ring_ready(&d->channel.rx);
}

/**
 * Take the next call. Withdrawn ones are answered here and skipped. Never takes a call for
 * whose answer there is no room. Returns 0; -EAGAIN none; -EPROTO the client broke the
 * protocol: detach it, and tell the controller.
 */
int praas_direct_take(struct praas_direct *d, struct praas_direct_call *ret_call);

/* A reply buffer in the reply segment. 0; -ENOBUFS none now; -EMSGSIZE larger than the area can
 * give: use a big segment that the controller has shared (praas_shm_share()). */
int praas_direct_alloc(struct praas_direct *d, uint64_t bytes, uint64_t *ret_offset,
		       void **ret_data);
/* Give an unsent reply buffer back. */
void praas_direct_drop(struct praas_direct *d, uint64_t offset);

/* What praas_direct_reply() sends. */
struct praas_direct_reply {
	uint64_t id;
	int32_t status;
	uint32_t segment; /* 0: the reply segment; else a shared big one */
	uint64_t
		offset; /* from praas_direct_alloc(); PRAAS_DIRECT_NO_BUFFER: no payload */
	uint64_t bytes;
	uint64_t run_ns;
};

/**
 * Answer a taken call, exactly once; the buffer is given. Returns 0; -EPROTO as above (the
 * buffer is gone too). Wakes the client when it sleeps.
 */
int praas_direct_reply(struct praas_direct *d, const struct praas_direct_reply *reply);

/* The same to a call with TIMING: its run_ns counts, reply->run_ns does not. */
int praas_direct_reply_timed(struct praas_direct *d,
			     const struct praas_direct_reply *reply,
			     const struct praas_frame_timing *timing);

/* The doorbell word that this client looks at before it wakes us: a worker that goes to sleep
 * sets those of all its clients, then calls praas_doorbell_prepare() on any one doorbell, then
 * looks at praas_direct_ready() of all once more. */
static inline struct praas_doorbell_shared *praas_direct_doorbell(
	struct praas_direct *d)
{
	return praas_channel_doorbell(&d->reply);
}

/* Eat the wakes that came through wake_fd. Never blocks. */
void praas_direct_drain(const struct praas_direct *d);

#endif
