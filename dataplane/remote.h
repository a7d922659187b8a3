/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls of functions in other processes of the application. A call is an INVOKE as a client sends it, in the
 * name of this process, on a connection that is made when there is one to send; a process that rests is woken.
 * The id of a call stays the same however often it is sent: until an epoch of the other process is lost it runs once.
 *
 *   QUEUED ──connected──▶ SENT ──RESULT──▶ done()
 *     ▲  ▲                 │ refused before it ran (DRAINING, MOVED)
 *     │  └─────────────────┤ the connection broke: sent again to who knows its id, the same epoch or one
 *     │                    │ that follows after a swap
 *     │                    └ its epoch was lost: UNKNOWN
 *     └ way asked for, connecting
 *
 * Data thread only; memory is taken at new(), and once for each process that is called.
 */
#ifndef PRAAS_DATAPLANE_REMOTE_H
#define PRAAS_DATAPLANE_REMOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/outbox.h"
#include "dataplane/process_fn.h"

#define PRAAS_REMOTE_CALLS_MAX 1024u /* under way at once; more: -ENOBUFS */
#define PRAAS_REMOTE_PEERS_MAX 4096u /* processes that are called in an epoch */
/* Marks the numbers of attempts in questions for ways: those of the outbox do not have it. */
#define PRAAS_REMOTE_ATTEMPT 0x80000000u
/* Marks ids of calls as the executors know them. */
#define PRAAS_REMOTE_ID (UINT64_C(1) << 62)

struct praas_remote;

/* Of a call that has to outlive the epoch that makes it: its id on the wire, and the epoch of the other process that it was
 * sent to. */
struct praas_remote_kept {
	uint64_t wire_id; /* 0: it gets one */
	uint32_t epoch;   /* 0: it was not sent */
};

/* wanted: as of praas_outbox_new(). 0; -ENOMEM. */
int praas_remote_new(uint64_t *wanted, struct praas_remote **ret_r);
/* NULL is allowed. Dropped. */
void praas_remote_free(struct praas_remote *r);
/* All calls end, and nobody is told: before the memory of their inputs goes. Disconnected. NULL is allowed. */
void praas_remote_drop(struct praas_remote *r);
void praas_remote_configure(struct praas_remote *r,
			    const struct praas_outbox_host *host);
void praas_remote_identify(struct praas_remote *r, uint32_t epoch);
/* Ends all connections: before their ports end. Nothing is sent any more. */
void praas_remote_disconnect(struct praas_remote *r);

/**
 * As praas_process_fn_invoke() for another process: function is its name. call->input is given on success. 0: caller.done()
 * is called exactly once, never before this returns, with NULL for the invocation; -ENOBUFS; -EMSGSIZE; -EINVAL.
 * kept: NULL, or of a call that is made again by each epoch until it ends. Such a one is not told INTERRUPTED: it
 * is made again.
 */
int praas_remote_invoke(struct praas_remote *r, const struct praas_fn_call *call,
			const char *function, const struct praas_remote_kept *kept,
			uint64_t *ret_id);
/* How a later epoch makes it again. The call has not ended. */
struct praas_remote_kept praas_remote_keep(const struct praas_remote *r, uint64_t id);
/* Whether one of those that are kept was sent since this was asked last. */
bool praas_remote_kept_sent(struct praas_remote *r);
/* Held, none of those is sent. */
void praas_remote_hold(struct praas_remote *r, bool hold);
/* Ask that it end early. 0; -ENOENT. */
int praas_remote_cancel(struct praas_remote *r, uint64_t id);
/* Whether the call has not ended. */
bool praas_remote_pending(const struct praas_remote *r, uint64_t id);

/* When the call was made, CLOCK_REALTIME; 0: it has ended. */
uint64_t praas_remote_began_ns(const struct praas_remote *r, uint64_t id);
struct praas_probe;
/* Asks the other process whether what was called there waits for who asks (dataplane/circle.h). Lost when it cannot
 * be sent now. */
void praas_remote_probe(struct praas_remote *r, uint64_t id,
			const struct praas_probe *probe);

/* The answer to a question with PRAAS_REMOTE_ATTEMPT; copied. */
void praas_remote_way(struct praas_remote *r, const struct praas_way *way);
unsigned praas_remote_poll(struct praas_remote *r);
/* When there is something to do even if nothing happens, CLOCK_MONOTONIC; 0: never. */
uint64_t praas_remote_due_ns(const struct praas_remote *r);
/* Calls that have not ended. */
uint32_t praas_remote_count(const struct praas_remote *r);

#endif
