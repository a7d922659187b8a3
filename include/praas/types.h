/* SPDX-License-Identifier: Apache-2.0
 *
 * Types and limits shared by the function API and the client API. C11 and C++11.
 */
#ifndef PRAAS_TYPES_H
#define PRAAS_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A cloud process of an application: a number that the control service gave it. */
typedef uint64_t praas_pid_t;

#define PRAAS_SELF ((praas_pid_t)0) /* the process that asks */
#define PRAAS_ANY (~(praas_pid_t)0) /* a message from whomever */
#define PRAAS_CLIENT                                                                   \
	((praas_pid_t)1 << 63) /* bit set in the source of a client's message */

#define PRAAS_KEY_MAX 255u /* bytes of a message, state or invocation key */
#define PRAAS_NAME_MAX 64u /* bytes of a name of an application, process, function */
#define PRAAS_ERROR_TEXT_MAX                                                           \
	512u /* bytes of a function's error text, the zero included */

/* A region lent to the caller. Read-only. Ends as the call that gave it says. */
struct praas_view {
	const void *data; /* 64-byte aligned; may be NULL when bytes is 0 */
	size_t bytes;     /* of the payload */
	uint64_t token;   /* private to the library */
};

/* A received message. */
struct praas_msg {
	struct praas_view view; /* its content */
	praas_pid_t source; /* the sender, stamped by its controller; never PRAAS_ANY */
	uint64_t sequence;  /* position in the receiver's mailbox, increasing */
};

/* W3C Trace Context of a message: of who sent it. */
struct praas_trace_context {
	uint8_t trace_id[16];
	uint8_t span_id[8]; /* of the sender: the parent of what the message causes */
	uint8_t flags;      /* 0x01 sampled */
};

/* What a state object is. */
struct praas_state_info {
	char key[PRAAS_KEY_MAX + 1]; /* NUL-terminated */
	uint64_t bytes;              /* of its value */
	uint64_t version;     /* increases with every commit that changes it; from 1 */
	uint64_t modified_ns; /* CLOCK_REALTIME of that commit */
};

/* What a message that waits in a mailbox is. */
struct praas_msg_info {
	char key[PRAAS_KEY_MAX + 1]; /* NUL-terminated */
	uint64_t
		sequence; /* its place in the mailbox: grows with every message; from 1 */
	praas_pid_t source; /* who sent it; 0: the process itself */
	uint64_t bytes;     /* of its payload */
};

/* Where a member of an application is in its life. */
enum praas_member_state {
	PRAAS_MEMBER_STARTING = 1, /* it is being started */
	PRAAS_MEMBER_ACTIVE,       /* it serves */
	PRAAS_MEMBER_DRAINING,     /* it serves no more: it is being swapped out */
	PRAAS_MEMBER_SWAPPED,      /* it rests, and is woken when it is called */
	PRAAS_MEMBER_LOST, /* the same, but what it did after its last snapshot is gone */
	PRAAS_MEMBER_KILLED /* the same, on request */
};

/* A process of an application. */
struct praas_member_info {
	praas_pid_t pid;
	uint32_t epoch; /* in which it is, or was last */
	uint8_t state;  /* enum praas_member_state */
	uint8_t local;  /* 1: on the host of who asks */
	uint8_t reserved[2];
	char name[PRAAS_NAME_MAX + 1]; /* NUL-terminated */
	uint8_t padding[7];
};

/* Statuses of an invocation, beside 0 (done) and positive codes (the function's own).
 * The numbers are stable and travel in frames; praas_status_text() explains them. */
enum praas_status {
	PRAAS_OK = 0,
	PRAAS_CRASHED = -1001,     /* the worker died in the function */
	PRAAS_DEADLINE = -1002,    /* the deadline passed before the result */
	PRAAS_CANCELLED = -1003,   /* cancelled by its caller */
	PRAAS_OVERLOADED = -1004,  /* the process's queue is full; retry later */
	PRAAS_NO_FUNCTION = -1005, /* no function of that name */
	PRAAS_TOO_LARGE = -1006,   /* payload or result over the configured limit */
	PRAAS_NO_MEMORY = -1007,   /* the process's memory limit is reached */
	PRAAS_DRAINING = -1008,    /* being swapped out; ask the control service */
	PRAAS_MOVED = -1009,       /* lives elsewhere now; ask the control service */
	PRAAS_DENIED = -1010,      /* the credential does not allow it */
	PRAAS_UNKNOWN =
		-1011, /* connection or epoch lost, or the worker when writes were
			* kept; it may or may not have run */
	PRAAS_INTERRUPTED = -1012, /* swapped out while it ran; its writes are undone */
	PRAAS_DUPLICATE = -1013,   /* the same id ran already and its result is gone */
	PRAAS_INVALID = -1014,     /* the request makes no sense (see the text) */
	PRAAS_CONFLICT = -1015,    /* compare-and-swap: another version is there */
	PRAAS_NOT_FOUND = -1016,   /* no such key or message */
	PRAAS_INTERNAL = -1017     /* our mistake; the controller's log has more */
};

#ifdef __cplusplus
}
#endif
#endif
