/* SPDX-License-Identifier: Apache-2.0
 *
 * The limits of the control service, all in one place (docs/rest.md repeats them for users).
 */
#ifndef PRAAS_CONTROL_LIMITS_H
#define PRAAS_CONTROL_LIMITS_H

#include <stdint.h> /* the type that large limits are compared with */

#define PRAAS_LIMIT_APPS 10000u                /* applications in one store */
#define PRAAS_LIMIT_PROCESSES 100000u          /* processes of one application */
#define PRAAS_LIMIT_PAGE 1000u                 /* entries of one listing */
#define PRAAS_LIMIT_JSON_BYTES (64u * 1024)    /* a JSON body */
#define PRAAS_LIMIT_JSON_DEPTH 8u              /* nesting of a JSON body */
#define PRAAS_LIMIT_BODY_BYTES (64u << 20)     /* a raw payload through REST */
#define PRAAS_LIMIT_BODIES_BYTES (512u << 20)  /* all bodies held at once */
#define PRAAS_LIMIT_PATH_BYTES 1024u           /* a request's path, decoded */
#define PRAAS_LIMIT_URI_BYTES 8192u            /* the target, with its query */
#define PRAAS_LIMIT_HEADERS 64u                /* lines of a request's head */
#define PRAAS_LIMIT_CONNECTIONS 16384u         /* of HTTP */
#define PRAAS_LIMIT_CONNECTIONS_PER_PEER 1024u /* from one address, off loopback */
#define PRAAS_LIMIT_PASSES                                                             \
	1024u                   /* requests that one who stands by passes on, at once */
#define PRAAS_LIMIT_JOBS 256u   /* threads that may wait for something */
#define PRAAS_LIMIT_QUEUE 4096u /* requests that wait for such a thread */
#define PRAAS_LIMIT_CALLS_PER_PROCESS 64u /* REST invocations in one process at once */
#define PRAAS_LIMIT_TENANTS 1000u
#define PRAAS_LIMIT_TOKEN_TTL_S                                                        \
	(3650u * 86400u)                    /* lifetime that a key may be asked for */
#define PRAAS_LIMIT_TOKENS 10000u           /* keys of all tenants */
#define PRAAS_LIMIT_TOKENS_PER_TENANT 1000u /* keys of one */
#define PRAAS_LIMIT_MEMO_BYTES (64u * 1024) /* of an answer that is kept for a key */
#define PRAAS_LIMIT_MEMOS_BYTES (256ull << 20) /* kept for one tenant */
#define PRAAS_LIMIT_MEMO_KEY_BYTES 255u        /* Idempotency-Key */
#define PRAAS_LIMIT_MEMO_S 86400u              /* how long it is kept */
#define PRAAS_LIMIT_USAGE_FINE_DAYS 2u /* rows of usage; older ones: one a day */
#define PRAAS_LIMIT_USAGE_DAYS 3650u   /* as long as usage may be kept */
#define PRAAS_LIMIT_USAGE_S 3600u      /* between two rows of a process with calls */
#define PRAAS_LIMIT_EVENTS 4096u       /* kept for who resumes to watch */
#define PRAAS_LIMIT_WATCHERS 256u      /* at once */
#define PRAAS_LIMIT_ROSTER 8192u       /* members that functions are told of */
#define PRAAS_LIMIT_ROSTER_GONE 4096u  /* that left, and are told of one by one */
#define PRAAS_LIMIT_ROSTER_LINE 400u   /* members in one line on the link */
#define PRAAS_LIMIT_LINKS 16384u       /* controllers connected */
#define PRAAS_LIMIT_LINE_BYTES (64u * 1024)  /* a line on the link */
#define PRAAS_LIMIT_RAW_BYTES (1088u * 1024) /* what follows one: 1 MiB and keys */
#define PRAAS_LIMIT_RAWS_BYTES (64u << 20)   /* the same, being received on all links */
#define PRAAS_LIMIT_MESSAGE_BYTES                                                      \
	(1u << 20)                 /* a message between processes, through the queue */
#define PRAAS_LIMIT_MAIL_BATCH 64u /* such messages in one request */
#define PRAAS_LIMIT_MAIL_WAITING 64u         /* such requests of a process that wait */
#define PRAAS_LIMIT_MAIL_BYTES (64u << 20)   /* of their messages, of all processes */
#define PRAAS_LIMIT_QUEUED_MESSAGES 65536u   /* in the backup queue of a process */
#define PRAAS_LIMIT_QUEUED_BYTES (64u << 20) /* the same, keys and payloads */
#define PRAAS_LIMIT_TICKET_TTL_S 86400u  /* lifetime that a ticket may be asked for */
#define PRAAS_LIMIT_DEADLINE_MS 3600000u /* Praas-Deadline-Ms */
#define PRAAS_LIMIT_CODE_BYTES 1024u     /* path of an application's code */
#define PRAAS_LIMIT_CODE_FILES 1024u     /* files and folders in a revision of it */
#define PRAAS_LIMIT_CODE_DEPTH 8         /* of folders in it */
#define PRAAS_LIMIT_CODE_ALL_BYTES (1u << 30) /* of all its files */
#define PRAAS_LIMIT_CHECKPOINT_MIN_MS 100u    /* T of "durability": "checkpoint:T" */
#define PRAAS_LIMIT_CHECKPOINT_MS 86400000u
#define PRAAS_LIMIT_COLLECT_MIN_S 10u /* that what nobody needs stays in stores */
#define PRAAS_LIMIT_COLLECT_S 31536000u
#define PRAAS_LIMIT_DRAIN_MOVES 32u               /* off drained nodes, at once */
#define PRAAS_LIMIT_DEPLOYS 16u                   /* under way at once */
#define PRAAS_LIMIT_MANIFEST_BYTES (1024u * 1024) /* its praas.json */
#define PRAAS_LIMIT_ENDPOINTS 8u                  /* of one process */
#define PRAAS_LIMIT_ENDPOINT_BYTES 256u           /* one of them */
#define PRAAS_LIMIT_CONCURRENCY 32u               /* workers of a process */
#define PRAAS_LIMIT_MEMORY_PER_WORKER (16u << 20) /* that it has at least for each */
#define PRAAS_LIMIT_VCPU_MILLI 1024000u           /* of a process */
#define PRAAS_LIMIT_TASKS_PER_WORKER 64u          /* threads and processes */
#define PRAAS_LIMIT_MEMORY_BYTES (16ull << 40)
#define PRAAS_LIMIT_MEMORY_MIN_BYTES (16ull << 20)
/* Memory of a process with state beyond it: at least this, and this for each address that --data-listen adds. */
#define PRAAS_LIMIT_STATE_MEMORY_BYTES (16ull << 20)
#define PRAAS_LIMIT_STATE_ADDRESS_BYTES (8ull << 20)
#define PRAAS_LIMIT_STATE_BYTES (16ull << 40) /* of state beyond memory */

/* In a list of addresses: what the node has devices for. */
#define PRAAS_DATA_LISTEN_AUTO "auto"
#define PRAAS_DATA_LISTEN_AUTOS 2u /* addresses that it counts as */

#endif
