/* SPDX-License-Identifier: Apache-2.0
 *
 * What the controller and a worker say to each other: the descriptors in the rings between them
 * and the messages on the worker's control socket (docs/shm-layout.md, section "Worker").
 *
 * Segments of a process, as a worker sees them (id → what, writer):
 *   1           pool     received payloads, state index         controller
 *   2           control  the controller's blocks, one a worker  controller
 *   16 + w      arena    worker w's blocks and buffers          worker w
 *   0x1000 + n  client and big-payload segments                 as announced
 * Worker w maps 1, 2 and every arena read-only but its own.
 *
 * Ring descriptors are frames (transport/frame.h) whose kind is one of enum praas_frame_kind
 * or, for the calls that only a worker makes, of the enum below.
 */
#ifndef PRAAS_DATAPLANE_WORKER_PROTO_H
#define PRAAS_DATAPLANE_WORKER_PROTO_H

#include <stdint.h>

#include "praas/types.h"
#include "shm/channel.h"

#define PRAAS_SEGMENT_POOL 1u
#define PRAAS_SEGMENT_CONTROL 2u
#define PRAAS_SEGMENT_ARENA 16u /* + worker index */
#define PRAAS_SEGMENT_DYNAMIC 0x1000u
#define PRAAS_WORKERS_MAX 32u

/* Worker → controller unless said otherwise. Each that wants an answer gets a
 * PRAAS_FRAME_REPLY with the same id, status 0 or an enum praas_status, aux and payload by kind.
 * Kinds shared with the wire keep their numbers: INVOKE (both ways: run this; start that for me),
 * RESULT (both ways), SEND (aux = destination), RECV (aux = source), PEEK, LIST, CANCEL. */
enum praas_worker_kind {
	/* payload: array of struct praas_commit_record in the arena; aux = count. Reply when
	 * committed; aux = new version. ONE_WAY never. */
	PRAAS_WORKER_COMMIT = 40,
	PRAAS_WORKER_UPDATE_BEGIN = 41, /* key; aux = bytes wanted; deadline. Reply: where it is */
	PRAAS_WORKER_UPDATE_COMMIT = 42, /* key */
	PRAAS_WORKER_MEMBER = 43,       /* key = name. Reply aux = pid */
	PRAAS_WORKER_SEGMENT = 44,      /* wants a big buffer of aux bytes; comes by the socket */
	PRAAS_WORKER_READY = 45         /* library loaded, sandbox closed, rings polled */
};

/* One write of a commit; in the worker's arena, read once and copied before it is checked. */
struct praas_commit_record {
	uint64_t offset;  /* of the value in the worker's arena; ~0: delete */
	uint64_t bytes;   /* of the value */
	uint64_t expect;  /* version + 1 that must be there; 0: any */
	uint32_t segment; /* in which the value lies: the arena, or a dynamic segment of its own */
	uint8_t key_bytes;
	uint8_t pad[3];
	char key[PRAAS_KEY_MAX + 1];
};

_Static_assert(sizeof(struct praas_commit_record) == 288, "shared layout");

/* Messages on the control socket (SOCK_SEQPACKET, created by the controller, inherited as
 * PRAAS_WORKER_SOCKET_FD). Descriptors travel as SCM_RIGHTS in the order named. */
#define PRAAS_WORKER_SOCKET_FD 3

enum praas_worker_msg_kind {
	PRAAS_WORKER_MSG_START = 1,   /* c→w: struct praas_worker_start; fds: pool (ro), control
				       * (ro), own arena (rw), eventfds: controller's, own;
				       * log ring segment (rw) */
	PRAAS_WORKER_MSG_FUNCTION,    /* c→w: struct praas_worker_function, one per function */
	PRAAS_WORKER_MSG_GO,          /* c→w: all said; load, close the sandbox, answer READY */
	PRAAS_WORKER_MSG_SEGMENT,     /* c→w: struct praas_worker_segment; fd */
	PRAAS_WORKER_MSG_UNMAP,       /* c→w: struct praas_worker_segment (id only) */
	PRAAS_WORKER_MSG_ATTACH,      /* c→w: struct praas_worker_attach: a direct client; fds:
				       * client segment (ro), reply segment (rw), client's eventfd */
	PRAAS_WORKER_MSG_DETACH,      /* c→w: struct praas_worker_attach (client only): revoked */
	PRAAS_WORKER_MSG_DETACHED,    /* w→c: nothing of that client is touched any more */
	PRAAS_WORKER_MSG_FAILED,      /* w→c: text: could not start */
	PRAAS_WORKER_MSG_STOP         /* c→w: leave when idle */
};

struct praas_worker_msg {
	uint32_t kind; /* enum praas_worker_msg_kind */
	uint32_t bytes; /* of what follows */
};

struct praas_worker_start {
	uint32_t version; /* of this protocol: 1 */
	uint32_t worker;  /* index, from 0 */
	uint64_t pid;
	uint32_t epoch;
	uint32_t wait_mode;  /* enum praas_wait_mode */
	uint64_t bytes_max;  /* payload and result limit */
	uint64_t pool_bytes; /* of segment 1 */
	struct praas_channel_geometry control; /* of segment 2 */
	struct praas_channel_geometry arena;   /* of the own arena: block 0 is the controller's */
	uint64_t log_bytes;
	uint32_t functions_count;
	uint32_t workers_count;
	uint64_t state_index_offset; /* of the published state index in segment 1 */
};

struct praas_worker_function {
	uint32_t number;
	char name[PRAAS_NAME_MAX + 1];
	char symbol[PRAAS_NAME_MAX + 1];
	char library[256]; /* path inside the sandbox */
};

struct praas_worker_segment {
	uint32_t id;
	uint32_t writable;
	uint64_t bytes;
};

struct praas_worker_attach {
	uint32_t client;                      /* number of the direct client, 0 … 63 */
	uint32_t block;                       /* this worker's block in the client's segment */
	uint64_t source;                      /* identity to stamp on its calls */
	uint64_t bytes_max;
	struct praas_channel_geometry client_geometry;
	struct praas_channel_geometry reply_geometry; /* of the segment that we write for it */
	uint32_t client_segment, reply_segment; /* ids */
};

#endif
