/* SPDX-License-Identifier: Apache-2.0
 *
 * What the controller and a worker say to each other: the descriptors in the rings between them
 * and the messages on the worker's control socket (docs/shm-layout.md, section "Worker").
 *
 * Segments of a process, as a worker sees them (id → what, writer):
 *   1           pool     received payloads, state index         controller
 *   2           control  the controller's block for this worker controller
 *   16 … 0xfff       arenas (block for the controller, buffers) and   the worker it was made for
 *                    big buffers of workers; a worker that starts again gets a new id
 *   0x1000 … 0xffff  clients and big payloads                         as announced
 * Worker w maps 1, 2 and every arena read-only but its own.
 *
 * Ring descriptors are frames (transport/frame.h) whose kind is one of enum praas_frame_kind
 * or, for the calls that only a worker makes, of the enum below.
 */
#ifndef PRAAS_DATAPLANE_WORKER_PROTO_H
#define PRAAS_DATAPLANE_WORKER_PROTO_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#include "dataplane/function_counts.h"
#include "dataplane/state_index.h"
#include "internal/base.h"
#include "praas/types.h"
#include "shm/channel.h"

#define PRAAS_SEGMENT_POOL 1u
#define PRAAS_SEGMENT_CONTROL 2u
#define PRAAS_SEGMENT_ARENA 16u /* the first of them */
#define PRAAS_SEGMENT_DYNAMIC 0x1000u
#define PRAAS_WORKERS_MAX 32u

/* Worker → controller unless said otherwise. Each that wants an answer gets a
 * PRAAS_FRAME_REPLY with the same id, status 0 or a negative errno as dataplane/process_fn.h has them,
 * aux and payload by kind.
 * Kinds shared with the wire keep their numbers:
 *   INVOKE  c→w: run this. id, function, deadline; aux = source; status = number of inputs, and the
 *           level << 16: how many invocations of ours lie below it on the worker's stack. 1 input:
 *           the payload; more: in the level's struct praas_worker_call. key_bytes and flags TRACE, TIMING:
 *           key, trace and time of arrival are there too. w→c: start that for me; aux = destination, payload; RESULT is the answer.
 *   RESULT  both ways; aux = run time in ns.
 *   SEND    aux = destination; deadline (1: without waiting for room); status as WAIT.  RECV, PEEK: aux = source, deadline (1: do not wait). The reply
 *           has aux = source and, as its deadline_ns, the message's sequence; flag TRACE: its trace is in
 *           the order. RECV: status as WAIT.
 * RECV, WAIT and MEMBERS_WAIT may be answered with -EINTR: an INVOKE comes, or came before. It is run in place, on
 * top of who asks; then the question is asked again.
 *   STATE_LIST  as on the wire (single objects are read from the index, without a message).
 * A payload or key of a request is copied or taken over when it is popped.
 * A payload in the worker's arena that a request or result names is lent to the controller, which
 * gives it back by the return ring. Payloads that the controller names to the worker are lent until
 * the invocation ends, or until the worker returns segment << 48 | offset. */
enum praas_worker_kind {
	/* payload: array of struct praas_commit_record in the arena; aux = count. Reply when
	 * committed; aux = new version. ONE_WAY: no reply, its verdict overrides the RESULT
	 * that follows. */
	PRAAS_WORKER_COMMIT = 40,
	/* key; aux = bytes wanted; deadline (1: do not wait); status = place for the lease, which ends
	 * what the worker had by it before. Reply: where it is, aux = version, and as its deadline_ns
	 * the lease's number, which is the version that the first commit makes. An object that lies
	 * elsewhere (segment 0: just created) is copied by the worker. */
	PRAAS_WORKER_UPDATE_BEGIN = 41,
	/* key; aux = 1: keep the lease; payload: the new home when it moved. Reply aux = version << 1 |
	 * lease kept. With a kept lease the worker updates again, and counts that in its line, without a
	 * message; until the order says that the lease has ended: then it says so by one with aux 0. */
	PRAAS_WORKER_UPDATE_COMMIT = 42,
	PRAAS_WORKER_MEMBER =
		43, /* key = name. Reply aux = pid; -EAGAIN the list is not here yet */
	/* aux = bytes: wants a big buffer, a segment of its own that it may write. It comes by the
	 * socket, before the reply, whose aux is its id. Lent and given back as offset 0 of it. */
	PRAAS_WORKER_SEGMENT = 44,
	PRAAS_WORKER_READY =
		45, /* library loaded, sandbox closed, rings polled; payload: the
					 * active layers of the sandbox, words parted by blanks */
	PRAAS_WORKER_DETACHED =
		46,               /* aux = client: nothing of it is touched any more */
	PRAAS_WORKER_SOCKET = 47, /* c→w: a message waits on the socket */
	/* aux = a big segment of ours, status = number of a direct client: show it to that client, for
	 * one result. Reply when the client has been told; the segment goes when it is done with it. */
	PRAAS_WORKER_SHARE = 48,
	/* aux = id of an INVOKE of ours; deadline; status = depth of who asks, | IN_DIRECT, | IN_ENDLESS. Reply: 0 its
	 * RESULT came before; -EAGAIN the deadline passed; -EDEADLK it cannot end, for the reason in the payload
	 * (a text with its zero; perhaps none), and is withdrawn. */
	PRAAS_WORKER_WAIT = 49,
	PRAAS_WORKER_STATE_LOAD =
		50, /* key: its entry is LATE. Reply when it is not, or cannot be had */
	/* id of an INVOKE, aux = its number: it was withdrawn and does not run. A worker publishes
	 * the number in its line, then looks at the order's word; the controller writes the word,
	 * fences, then looks at the line (docs/memory-order.md). */
	PRAAS_WORKER_SKIPPED = 51,
	/* id of an INVOKE with TIMING, right before its RESULT: aux = how long it had waited before it
	 * began, and as its deadline_ns how long its commit took. */
	PRAAS_WORKER_TIMING = 52,
	/* aux = the number of a member; deadline_ns = a version, or 0. Reply: those after it, struct
	 * praas_member_info each, as many as go into one; aux = the version of the list, and as its deadline_ns
	 * how many it has. -ESTALE it is of another version. */
	PRAAS_WORKER_MEMBERS = 53,
	/* aux = a version; deadline; status as WAIT. Reply when the list is of another: aux = its version. Also
	 * -EINTR. */
	PRAAS_WORKER_MEMBERS_WAIT = 54
};

/* Keys that the worker sends lie at the start of its buffer area, one a ring slot and as many
 * again, so that none is overwritten while the controller copies it: the key of message n (from 0)
 * is number n mod (2 * ring_slots). Behind it, with flag TRACE (SEND, INVOKE): the trace. */
#define PRAAS_WORKER_KEY_STRIDE 320u
#define PRAAS_WORKER_KEY_TRACE 256u /* where in its slot the trace is */

static inline uint64_t praas_worker_keys_bytes(uint32_t ring_slots)
{
	return praas_align_up(2u * (uint64_t)ring_slots * PRAAS_WORKER_KEY_STRIDE,
			      4096);
}

/* Behind the keys: struct praas_function_counts for each function, of direct calls and of those that
 * run in place. */
static inline uint64_t praas_worker_counts_bytes(uint32_t functions_count)
{
	return praas_align_up(functions_count * sizeof(struct praas_function_counts),
			      4096);
}

/* What does not fit a descriptor of c→w INVOKE: at the start of the buffer area of the control
 * segment; written while the worker is idle. */
struct praas_worker_input {
	uint64_t offset, bytes;
	uint64_t source, sequence;
	uint32_t segment;
	uint32_t pad;
};
struct praas_worker_call {
	uint8_t trace[32];
	char key[PRAAS_KEY_MAX + 1];
	uint64_t arrived_ns; /* CLOCK_MONOTONIC; with flag TIMING */
	struct praas_worker_input inputs[256];
};
#define PRAAS_WORKER_CALL_BYTES 12288u /* one for each level */

/* Invocations in one another's wait on one worker: of the controller; and all, with those that run in
 * place without its knowledge. Of the latter so many that one of the controller's still fits on top. */
#define PRAAS_WORKER_LEVELS_MAX 9u
#define PRAAS_WORKER_DEPTH_MAX 13u
#define PRAAS_WORKER_IN_PLACE_MAX 8u
#define PRAAS_WORKER_IN_DIRECT 0x100 /* the bottom of the stack is a direct call */
#define PRAAS_WORKER_IN_ENDLESS                                                        \
	0x200 /* of WAIT: its deadline is that of who waits, no other */

_Static_assert(sizeof(struct praas_worker_call) <= PRAAS_WORKER_CALL_BYTES,
	       "three pages");

#define PRAAS_WORKER_LEASES 16u /* to update objects in place, that one worker has */

/* At offset 128 of the control segment: the controller's words for the worker. */
struct praas_worker_order {
	alignas(64) _Atomic uint64_t
		cancel; /* dispatches up to this one are given up */
	uint64_t pad0;
	_Atomic uint64_t direct_cancel; /* direct calls up to this one are given up */
	_Atomic uint64_t
		withdrawn;        /* dispatches up to this one are not begun any more */
	_Atomic uint64_t commits; /* one-way COMMITs that are in the index, ever */
	_Atomic uint64_t pid, epoch; /* constant from before the first call on */
	uint64_t pad[1];
	/* cancel, for those on level 1 … */
	alignas(64) _Atomic uint64_t nested_cancel[PRAAS_WORKER_LEVELS_MAX - 1];
	/* Leases in that place up to this number have ended. */
	alignas(64) _Atomic uint64_t lease_ended[PRAAS_WORKER_LEASES];
	/* Of the message in a REPLY with flag TRACE: written before that is pushed, read when it was
	 * popped; one question is under way at a time. */
	alignas(64) uint8_t message_trace[64];
};
_Static_assert(sizeof(struct praas_worker_order) == 320, "shared layout");

/* At offset 128 of each arena: what its worker tells without a message. */
struct praas_worker_line {
	struct praas_state_reader_line reader; /* dataplane/state_index.h */
	alignas(64) uint64_t pad0;
	_Atomic uint64_t calls;        /* invocations finished */
	_Atomic uint64_t direct_calls; /* of them, by the direct path */
	_Atomic uint64_t nested_calls; /* in place, by another function */
	_Atomic uint64_t busy_ns;      /* in functions */
	_Atomic uint64_t copies;       /* payloads that had to be copied */
	_Atomic uint64_t log_dropped;
	_Atomic uint64_t sleeps;
	/* The direct call that runs: the controller watches its deadline and hears of its cancel. The
	 * first is 0 while none does, and while the others change. */
	alignas(64) _Atomic uint64_t
		direct_call; /* number, from 1, << 8 | client + 1 */
	_Atomic uint64_t direct_id, direct_deadline_ns;
	_Atomic uint64_t direct_failures; /* direct calls whose status was not 0 */
	_Atomic uint64_t
		taken; /* dispatch that was begun last, or skipped; see SKIPPED */
	_Atomic uint64_t direct_in, direct_out; /* bytes of payloads of direct calls */
	_Atomic uint64_t direct_function;       /* of the one that runs */
	/* By each lease: updates that were committed without a message, << 1, | 1 while one is
	 * under way. */
	alignas(64) _Atomic uint64_t lease[PRAAS_WORKER_LEASES];
};
_Static_assert(sizeof(struct praas_worker_line) == 320, "shared layout");
#define PRAAS_WORKER_LINE_OFFSET 128u

/* One write of a commit; in the worker's arena, read once and copied before it is checked. */
struct praas_commit_record {
	uint64_t offset; /* of the value in the worker's arena; ~0: delete */
	uint64_t bytes;  /* of the value */
	uint64_t expect; /* version + 1 that must be there; 0: any */
	uint32_t
		segment; /* in which the value lies: the arena, or a dynamic segment of its own */
	uint8_t key_bytes;
	uint8_t pad[3];
	char key[PRAAS_KEY_MAX + 1];
};

_Static_assert(sizeof(struct praas_commit_record) == 288, "shared layout");

/* Messages on the control socket (SOCK_SEQPACKET, created by the controller, inherited as
 * PRAAS_WORKER_SOCKET_FD). Descriptors travel as SCM_RIGHTS in the order named. */
#define PRAAS_WORKER_SOCKET_FD 3
#define PRAAS_WORKER_WAKE_FD 4 /* where the worker keeps its end of the wake socket */

enum praas_worker_msg_kind {
	PRAAS_WORKER_MSG_START =
		1, /* c→w: struct praas_worker_start; fds: pool (ro), control
				       * (ro), own arena (rw), log ring segment (rw), wake socket.
				       * (Not eventfds: their flags would be shared with a hostile peer.) */
	PRAAS_WORKER_MSG_FUNCTION, /* c→w: struct praas_worker_function, one per function */
	PRAAS_WORKER_MSG_GO, /* c→w: all said; load, close the sandbox, answer READY */
	PRAAS_WORKER_MSG_SEGMENT, /* c→w: struct praas_worker_segment; fd */
	PRAAS_WORKER_MSG_UNMAP,   /* c→w: struct praas_worker_segment (id only) */
	PRAAS_WORKER_MSG_ATTACH, /* c→w: struct praas_direct_attach (transport/shm_direct.h): a
				       * direct client; fds as PRAAS_DIRECT_FDS says */
	PRAAS_WORKER_MSG_DETACH, /* c→w: struct praas_worker_detach: revoked */
	PRAAS_WORKER_MSG_FAILED, /* w→c: text: could not start; it exits */
	PRAAS_WORKER_MSG_STOP    /* c→w: leave when idle */
};

struct praas_worker_msg {
	uint32_t kind;  /* enum praas_worker_msg_kind */
	uint32_t bytes; /* of what follows */
};

struct praas_worker_start {
	uint32_t version;   /* of this protocol: 1 */
	uint32_t worker;    /* index, from 0 */
	uint32_t wait_mode; /* enum praas_wait_mode */
	uint32_t functions_count;
	uint64_t bytes_max;                    /* payload and result limit */
	uint64_t pool_bytes;                   /* of segment 1 */
	struct praas_channel_geometry control; /* of segment 2 */
	struct praas_channel_geometry
		arena; /* of the own arena: block 0 is the controller's */
	uint64_t log_bytes;
	uint64_t state_index_offset; /* of the published state index in segment 1 */
	uint32_t workers_count;
	uint32_t arena_segment; /* id of the own arena */
};

struct praas_worker_function {
	uint32_t number;
	char name[PRAAS_NAME_MAX + 1];
	char symbol[PRAAS_NAME_MAX + 1];
	char library[256]; /* path, the same inside the sandbox */
	char pad[6];
	uint32_t
		plain; /* praas_function_plain(): it may run in place, and for direct clients */
};

struct praas_worker_detach {
	uint32_t client;
	uint32_t pad;
};

struct praas_worker_segment {
	uint32_t id;
	uint32_t writable;
	uint64_t bytes;
};

#endif
