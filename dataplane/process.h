/* SPDX-License-Identifier: Apache-2.0
 *
 * One cloud process's data plane: dispatch, mailbox, triggers, invocations, state. Owned by one
 * thread, the data thread; nothing here locks, sleeps or allocates after praas_process_new().
 * The life cycle (swap, checkpoint) is the controller's; it stops the gate here, exports, imports.
 */
#ifndef PRAAS_DATAPLANE_PROCESS_H
#define PRAAS_DATAPLANE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/executor.h"
#include "dataplane/function_counts.h"
#include "dataplane/members.h"
#include "dataplane/outbox.h"
#include "shm/pool.h"
#include "transport/transport.h"

struct praas_changes;

struct praas_process_config {
	praas_pid_t pid;
	uint32_t epoch;
	const struct praas_function *functions; /* borrowed until free */
	uint32_t functions_count;
	uint32_t invocations_max;   /* running and queued; more: OVERLOADED. 0: 1024 */
	uint32_t dedup_entries;     /* finished ids remembered. 0: 4096 */
	uint32_t messages_max;      /* in the mailbox. 0: 65536 */
	uint64_t mailbox_bytes_max; /* 0: half the pool */
	uint32_t
		state_keys_max; /* 0: as many as an index of an eighth of the pool has, up to
				     * 49152; the index takes 64 to 128 bytes of pool a key */
	uint64_t state_bytes_max;
	uint64_t bytes_max;                       /* payload and result limit */
	struct praas_pool *pool;                  /* of the pool segment; borrowed */
	const struct praas_segment *pool_segment; /* borrowed */
	const struct praas_memory
		*memory; /* gives buffers of that pool (and bigger ones) */
	struct praas_executor *executor; /* given */
	uint64_t dedup_bytes_max;        /* results kept for retries. 0: 1 MiB */
	uint32_t receivers_max;          /* clients' RECV that wait. 0: 1024 */
};

int praas_process_new(const struct praas_process_config *config,
		      struct praas_process **ret_p);
void praas_process_free(struct praas_process *p);

/* Events for authenticated connections; user is the process. */
const struct praas_conn_events *praas_process_conn_events(void);

/* Executor, deadlines, queues, waiting receivers. Ports are polled by the data thread's loop. */
unsigned praas_process_poll(struct praas_process *p, unsigned budget);
/* As ops->announce. */
void praas_process_announce(struct praas_process *p);
/* As ops->arm; also says when the next deadline is (0: none). */
int praas_process_arm(struct praas_process *p, int *ret_fd, uint64_t *ret_wake_ns);

/* A process that was built before it was known which: who it is, before its gate opens. */
void praas_process_identify(struct praas_process *p, praas_pid_t pid, uint32_t epoch);

/* The gate: closed, new invocations, messages and writes get PRAAS_DRAINING, and all that wait for
 * messages or leases are told -ESHUTDOWN (clients: PRAAS_DRAINING). It is closed at first. */
void praas_process_gate(struct praas_process *p, bool open);
/* The gate is closed because the process moves: what clients that follow it ask (praas_conn.peer_follows) is kept until
 * the gate opens, and done then, or until the process has moved, and dropped. There is room for 4,096 requests and a
 * quarter of the pool; others are refused. */
void praas_process_park(struct praas_process *p);
/* Nothing runs and nothing is queued but what is in the snapshot: inputs that wait for their trigger, pipelines that go
 * on in other processes. */
bool praas_process_quiet(const struct praas_process *p);
/* What is queued to run ends PRAAS_INTERRUPTED; the gate is closed, the executor was stopped. */
void praas_process_interrupt(struct praas_process *p);

struct praas_overflow_host;
struct praas_place;
/* State beyond memory (overflow.h): before anything is imported. 0; -ENOMEM. */
int praas_process_overflow_set(struct praas_process *p,
			       const struct praas_overflow_host *host);
/* Where what is imported from now on lies (praas_export_record.place). */
void praas_process_overflow_from(struct praas_process *p,
				 const struct praas_place *places);
/* From now on objects have no more memory than that, and with former values that readers may still see no more than
 * all_max. Before the gate opens. */
void praas_process_overflow_limit(struct praas_process *p, uint64_t bytes_max,
				  uint64_t all_max);
/* A snapshot is committed; as praas_overflow_places(). */
void praas_process_places(struct praas_process *p, const struct praas_place *places,
			  uint64_t count);
/* What came of a fetch: 0; -EIO it is not what was written, or gone; -EREMOTEIO the store does not give it. */
void praas_process_fetched(struct praas_process *p, uint32_t number, int rc);

/* Where the process is: our own, or gone elsewhere (requests are refused with PRAAS_MOVED). */
void praas_process_moved(struct praas_process *p, bool moved);
/* There are answers that their connections could not take yet; who does not take them is closed. */
bool praas_process_unsent(const struct praas_process *p);
void praas_process_drop_unsent(struct praas_process *p);
/* The processes of the application; malloc'd, and given. */
void praas_process_members_give(struct praas_process *p, struct praas_members *list);
/* Asks for them, as a function that wants them does. */
void praas_process_members_want(struct praas_process *p);
/* How they are asked for, when a function does first. 0: they will be given; else it is tried again. */
void praas_process_members_host_set(struct praas_process *p, int (*ask)(void *user),
				    void *user);

/* How messages to other processes find their way. Before the process serves. */
void praas_process_outbox_host_set(struct praas_process *p,
				   const struct praas_outbox_host *host);
struct praas_outbox *praas_process_outbox(struct praas_process *p);
/* The answer to a question of the outbox or of a call to another process; copied. */
void praas_process_way(struct praas_process *p, const struct praas_way *way);
/* Messages and calls to other processes that are under way. */
uint64_t praas_process_away(const struct praas_process *p);
/* Held, no stage of a pipeline is sent to another process: from the final cut of a swap-out on. */
void praas_process_stages_hold(struct praas_process *p, bool hold);
/* Ends the connections to other processes: before the ports end. Nothing is sent any more. */
void praas_process_disconnect(struct praas_process *p);

/* What a function said with praas_log(). */
struct praas_function_log {
	const char *function; /* its name; NULL: not known */
	const char *text;     /* at most PRAAS_LOG_TEXT_MAX bytes */
	const uint8_t *trace; /* 16 bytes of W3C trace id; NULL: none */
	int level;            /* of syslog(3) */
};

/* Where that goes; all of it is borrowed. Must not block. */
typedef void (*praas_log_fn)(void *user, const struct praas_function_log *line);
void praas_process_log_set(struct praas_process *p, praas_log_fn log, void *user);

/* While held, no value that export gave out is freed, whatever is written meanwhile: so a snapshot
 * can be written while the process serves. Objects under in-place update do change. Nests. */
void praas_process_hold(struct praas_process *p);
void praas_process_unhold(struct praas_process *p);

/* Called by executors, exactly once per started invocation. result is given (may be NULL);
 * the writes of the invocation have been committed (or dropped) by then. */
void praas_process_complete(struct praas_process *p, struct praas_invocation *inv,
			    int32_t status, struct praas_buf *result, uint64_t run_ns);

/* Instead of that: it did not begin after all, and is to be started again. */
void praas_process_requeue(struct praas_process *p, struct praas_invocation *inv);
/* As requeue(), for one that was given up: it ends with that status, and may be tried again. */
void praas_process_unstarted(struct praas_process *p, struct praas_invocation *inv,
			     int32_t status);

struct praas_process_stats {
	uint64_t invocations, failures, overloaded, deadlines, duplicates;
	uint64_t messages_in, messages_out, mailbox_depth, mailbox_bytes;
	uint64_t state_keys, state_bytes, state_version;
	uint64_t state_out_keys, state_out_bytes; /* of these, in the store only */
	uint64_t state_fetches, state_evictions;  /* that came back, that went there */
	uint64_t state_fetch_failures;
	uint64_t running, queued;
	uint64_t
		dormant; /* of the queued: inputs that wait for others, for as long as it takes, and
			   * whose callers wait for nothing. A process may rest with them */
	uint64_t last_activity_ns;
	uint64_t bytes_in, bytes_out; /* payloads from and to clients */
	uint64_t circles; /* of waiting functions that were found, one told of each */
};
void praas_process_stats(const struct praas_process *p,
			 struct praas_process_stats *ret_stats);
/* Of each function, by number. The data thread's. */
struct praas_function_sums *praas_process_sums(const struct praas_process *p);

/* From now on what changes of the process is written down there (changes.h); borrowed. Leases are not kept
 * then: each update in place is told. Before the gate opens, after import. NULL: no more. */
void praas_process_changes_set(struct praas_process *p, struct praas_changes *changes);
/* Before they are taken: adds what is told whole. */
void praas_process_changes_end(struct praas_process *p);

/* Export for a snapshot: every state object, unread message, dedup entry, in the order given.
 * Values are borrowed for the call. A non-zero return ends the walk and is returned. */
enum praas_export_kind {
	PRAAS_EXPORT_STATE = 1, /* key, version, modified_ns, value */
	PRAAS_EXPORT_MESSAGE, /* key, source, sequence, value; trace: status, id, version, modified_ns */
	PRAAS_EXPORT_DEDUP, /* source, id, status, value (result) */
	PRAAS_EXPORT_TRIGGER, /* function, key, source, id, deadline_ns, value: an input that waits for
				 * others, or goes on; trace: as above, with sequence for id */
	/* Of messages with other processes. */
	PRAAS_EXPORT_QUEUE, /* id: the queue cut, all up to it has its effect in here */
	PRAAS_EXPORT_ACCEPTED, /* source: a sender; id, sequence: epoch and number, highest */
	PRAAS_EXPORT_SENT, /* source: a receiver; id, sequence: last place given out;
				* status, version: epoch and number of the last one queued */
	PRAAS_EXPORT_OUTBOX, /* source: a receiver; id, sequence: place; key, value: a message
			      * that it has not acknowledged, without its trace */
	/* Of triggers, again. */
	PRAAS_EXPORT_JOINED, /* source, id: of who gets the result of the input that comes next */
	PRAAS_EXPORT_TIMEOUT, /* function, key (of a batch: none), deadline_ns: when what waits there runs
			       * as it is */
	/* Of the controller alone: never exported or imported. */
	PRAAS_EXPORT_LOG, /* id: number of the last record of its log that is in here */
	/* Of pipelines. */
	PRAAS_EXPORT_STAGE /* key: name of a process, which the input that comes next goes on in; source, id: its
			    * number, and the call's; 0: not called yet; sequence: its epoch that was
			    * sent the call; 0: none */
};
#define PRAAS_EXPORT_LAST PRAAS_EXPORT_STAGE
struct praas_export_record {
	enum praas_export_kind kind;
	const char *key;
	uint8_t key_bytes;
	uint16_t function;
	int32_t status;
	uint64_t source, sequence, id, version, modified_ns;
	uint64_t
		deadline_ns; /* CLOCK_REALTIME: time goes on while a process rests; 0: none */
	const void *data; /* out, of state that has not been loaded: NULL */
	uint64_t bytes;
	struct praas_late
		*late; /* in, of state: the value comes by this, not by data */
	uint32_t
		place; /* in, of state: it stays in the store, there; + 1; 0: it does not */
};
/* Of a STAGE: it has a name and nothing else to be kept; a number and an id, or neither; an epoch with these alone. */
static inline bool praas_export_stage_sound(const struct praas_export_record *r)
{
	return r->key_bytes != 0 && r->key_bytes <= PRAAS_NAME_MAX && r->bytes == 0 &&
	       r->deadline_ns == 0 && (r->source == 0) == (r->id == 0) &&
	       r->sequence <= UINT32_MAX && (r->sequence == 0 || r->id != 0);
}
typedef int (*praas_export_fn)(void *user, const struct praas_export_record *record);
/* -EBUSY: an object is being updated in place, and would be torn: nothing was exported; to be tried
 * again soon. Else 0, or what fn says. */
int praas_process_export(struct praas_process *p, praas_export_fn fn, void *user);
/* The reverse, before the gate opens. Data is copied into the pool, or (data in the pool segment:
 * by its offset) taken over. 0; -ENOSPC; -EINVAL; -EEXIST. */
int praas_process_import(struct praas_process *p,
			 const struct praas_export_record *record);

#endif
