/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of struct praas_process, for the files of this folder that together are the process:
 * process*.c, invoke.c, stage*.c, give_up.c, reply.c, requests.c, export*.c.
 */
#ifndef PRAAS_DATAPLANE_PROCESS_PRIVATE_H
#define PRAAS_DATAPLANE_PROCESS_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/changes.h"
#include "dataplane/inbox.h"
#include "dataplane/invocations.h"
#include "dataplane/lanes.h"
#include "dataplane/mailbox.h"
#include "dataplane/outbox.h"
#include "dataplane/process.h"
#include "dataplane/process_fn.h"
#include "dataplane/remote.h"
#include "dataplane/state.h"
#include "dataplane/timers.h"
#include "dataplane/trigger.h"

#define PRAAS_RETRY_AFTER_NS 1000000u /* what an OVERLOADED caller is told to wait */
#define PRAAS_STAGES_AWAY_MAX 512u /* pipelines that go on in other processes at once */

/* Which list holds an invocation that does not run. */
enum praas_invocation_queue {
	PRAAS_QUEUE_NONE = 0,
	PRAAS_QUEUE_READY,   /* for the executor */
	PRAAS_QUEUE_LANE,    /* behind another one of a serial function */
	PRAAS_QUEUE_TRIGGER, /* for more inputs */
	PRAAS_QUEUE_JOINED,  /* it gets another one's result */
	PRAAS_QUEUE_HELD,    /* kept, until the gate opens */
	PRAAS_QUEUE_AWAY     /* for the end of its pipeline in another process */
};

/* What a struct praas_fn_wait waits for. */
enum praas_wait_kind {
	PRAAS_WAIT_RECV = 1,
	PRAAS_WAIT_UPDATE,
	PRAAS_WAIT_MEMBERS,
	PRAAS_WAIT_ROOM,
	PRAAS_WAIT_FETCH
};

/* A client that waits in RECV or HOLD, or holds a message. */
struct praas_receiver {
	struct praas_fn_wait wait;
	struct praas_conn *conn; /* NULL: free */
	uint32_t held; /* the message, as the mailbox numbers it; 0: it waits */
	bool holds;    /* HOLD */
	bool parked;   /* the process moves: it does not wait, and is not answered */
	struct praas_process *process;
	struct praas_receiver *next; /* free list */
	uint64_t id;
	uint64_t source, deadline_ns; /* as it asked */
	uint8_t key_bytes;
	char key[PRAAS_KEY_MAX + 1];
};

/* What was asked while the process moves. */
struct praas_parked {
	struct praas_conn *conn; /* NULL: it closed meanwhile, or gave it up */
	struct praas_buf *buf;
};

/* An answer that its connection could not take yet. */
struct praas_pending_reply {
	struct praas_conn *conn; /* NULL: it closed meanwhile */
	struct praas_frame head;
	struct praas_buf *buf; /* NULL: nothing but the head */
};

/* A pipeline that goes on in another process. */
struct praas_stage_call {
	struct praas_invocation *inv; /* NULL: free */
	struct praas_process *process;
	struct praas_stage_call *next, *prev; /* oldest first; or of the free ones */
	/* inv's input, borrowed of the call; NULL: not called, inv has it. */
	const struct praas_buf *input;
	uint64_t id;       /* of the call, as remote.h knows it; 0: not called */
	uint64_t receiver; /* number of the process; 0: not known yet */
	struct praas_remote_kept kept; /* how an epoch before this one called it */
	uint64_t since_ns;
	uint32_t round;                /* that has looked at it */
	uint16_t function;             /* that runs there */
	bool asleep;                   /* from a snapshot, until the gate opens */
	char name[PRAAS_NAME_MAX + 1]; /* of the process */
};

struct praas_stages {
	struct praas_stage_call *calls; /* PRAAS_STAGES_AWAY_MAX */
	struct praas_stage_call *first, *last, *free;
	uint32_t made; /* the others were never used */
	uint32_t count, called, round;
	struct praas_timer timer;          /* when names are looked up again */
	struct praas_stage_call importing; /* a name: of the input that comes next */
};

struct praas_process {
	/* Looked at in every call. */
	struct praas_executor *executor;
	uint8_t *plain;                   /* by function: praas_function_plain() */
	struct praas_function_sums *sums; /* by function */
	uint32_t functions_count;
	uint32_t epoch;
	bool open;        /* the gate */
	bool moved;       /* lives elsewhere */
	bool parking;     /* it moves: clients that follow are not refused */
	bool pumping;     /* praas_invoke_pump() is on the stack */
	bool routed;      /* there is a way to other processes */
	bool interrupted; /* what is ready ends so, until the gate opens */
	bool overflows;   /* with state beyond memory: slowed is there */
	uint64_t running;
	struct praas_invocation *ready_first, *ready_last;
	uint64_t
		away; /* 1: outbox, remote, replies that wait, or who waits for state, want their turn */
	uint64_t queued;   /* in any list */
	uint64_t activity; /* counts events, to see whether something happened */
	struct praas_process_stats stats;
	struct praas_invocations invocations;
	struct praas_timers timers;
	struct praas_state state;
	struct praas_mailbox mailbox;

	/* Not. */
	struct praas_process_config config;
	struct praas_lanes lanes;
	struct praas_triggers triggers;
	struct praas_stages stages;
	struct praas_invocation *held_first, *held_last; /* oldest first */
	struct praas_invocation
		*importing; /* who is joined to the input that comes next */
	struct praas_pending_reply *pending;
	uint32_t held;
	uint32_t pending_max; /* a power of two */
	uint64_t pending_head, pending_tail;
	uint64_t activity_seen;
	struct praas_members *members; /* NULL: nobody has asked, or not here yet */
	struct praas_fn_wait *members_waits; /* for another list */
	int (*members_ask)(void *user);
	void *members_user;
	struct praas_fn_wait *room_first, *room_last; /* for room in the outbox */
	uint32_t polls;
	bool members_asked;
	bool room_given; /* who waited longest sends */
	struct praas_inbox inbox;
	struct praas_outbox *outbox;
	struct praas_remote *remote;
	struct praas_receiver *receivers, *receivers_free;
	uint32_t receivers_made; /* of receivers_max; the others were never used */
	struct praas_state_write
		client_write;        /* of the STATE_PUT or DELETE under way */
	struct praas_parked *parked; /* in the order in which they came */
	uint64_t parked_bytes, parked_bytes_max;
	uint32_t parked_count;
	struct praas_slowed *slowed;   /* with state beyond memory only */
	struct praas_changes *changes; /* NULL: nobody wants them */
	praas_log_fn log;              /* NULL: dropped */
	void *log_user;
};

/* ---- reply.c ---- */

/* Answer a request: head's kind, status, id and aux are set; buf is given, may be NULL. It is sent
 * now or, when the connection cannot take it, kept for later. */
void praas_reply_send(struct praas_process *p, struct praas_conn *conn,
		      const struct praas_frame *head, struct praas_buf *buf);
/* The same with bytes to be copied; -ENOBUFS, -EMSGSIZE: nothing was sent. */
int praas_reply_copy(struct praas_process *p, struct praas_conn *conn,
		     const struct praas_frame *head, const void *data, uint64_t bytes,
		     const uint8_t *trace);
/* Refuse the request in buf, which is released: RESULT for INVOKE, else REPLY. */
void praas_reply_refuse(struct praas_process *p, struct praas_conn *conn,
			struct praas_buf *buf, int32_t status, uint64_t aux);
unsigned praas_reply_flush(struct praas_process *p);
void praas_reply_forget_conn(struct praas_process *p, const struct praas_conn *conn);

/* ---- process.c ---- */

/* Nothing is sent to conn any more. */
void praas_process_forget_conn(struct praas_process *p, const struct praas_conn *conn);
/* We end it: close() makes no upcall, so closed() is told first. */
void praas_process_drop_conn(struct praas_conn *conn, int rc);

/* ---- park.c ---- */

int praas_park_init(struct praas_process *p);
/* buf is given if it has room; false: it has not. */
bool praas_park(struct praas_process *p, struct praas_conn *conn,
		struct praas_buf *buf);
/* Ends the request of that id; false: it is not there. */
bool praas_park_cancel(struct praas_process *p, struct praas_conn *conn, uint64_t id);
void praas_park_forget_conn(struct praas_process *p, const struct praas_conn *conn);
/* All are done now, or dropped. */
void praas_park_end(struct praas_process *p, bool serve);
void praas_park_release(struct praas_process *p);

/* ---- process_overflow.c: state beyond memory ---- */

/* wait waits for a fetch no longer. */
void praas_process_fetch_leave(struct praas_process *p, struct praas_fn_wait *wait);
/* As praas_process_fn_update_begin() for an object that is out. */
int praas_process_fetch_update(struct praas_process *p, uint32_t holder,
			       const char *key, uint32_t key_bytes, uint64_t bytes,
			       struct praas_fn_wait *wait);
/* o is not here: waits until it is. Errors as praas_process_fn_state_bring(). */
int praas_process_fetch_now(struct praas_process *p, struct praas_object *o);
/* Looks after those that wait for memory. Returns work done. */
unsigned praas_process_fetch_poll(struct praas_process *p);
/* Its part of praas_process_stats(). */
void praas_process_overflow_stats(const struct praas_process *p,
				  struct praas_process_stats *ret_stats);
void praas_process_fetch_release(struct praas_process *p);

/* ---- slow.c: clients that wait for an object or for a checkpoint; with state beyond memory only ---- */

int praas_slow_init(struct praas_process *p);
/* A STATE_GET whose object is not here. True: it waits, or is refused, and buf is gone. */
bool praas_slow_get(struct praas_process *p, struct praas_conn *conn,
		    struct praas_buf *buf);
/* A request that may write, while too much has changed. True: it waits, and buf is kept. */
bool praas_slow_write(struct praas_process *p, struct praas_conn *conn,
		      struct praas_buf *buf);
/* Ends the INVOKE of that id; false: it is not there. */
bool praas_slow_cancel(struct praas_process *p, struct praas_conn *conn, uint64_t id);
void praas_slow_forget_conn(struct praas_process *p, const struct praas_conn *conn);
/* Does what may go on; all: whatever waits for a checkpoint. Returns work done. */
unsigned praas_slow_poll(struct praas_process *p, bool all);
/* When it has something to do without being told; 0: never. */
uint64_t praas_slow_due_ns(const struct praas_process *p);
void praas_slow_release(struct praas_process *p);

/* ---- requests.c ---- */

/* The answer to a STATE_GET whose object is in memory; buf is given. */
void praas_requests_state_get(struct praas_process *p, struct praas_conn *conn,
			      struct praas_buf *buf);
/* Refuses a request with rc's status; buf is given. */
void praas_requests_refuse(struct praas_process *p, struct praas_conn *conn,
			   struct praas_buf *buf, int rc);

/* ---- process_value.c ---- */

/* A second reference to what buf holds; -ENOENT it does not lie in the pool. */
int praas_process_value_ref(struct praas_process *p, const struct praas_buf *buf,
			    struct praas_value *ret_value);
/* data is the beginning of a buffer of the pool, and the caller's reference to it is taken.
 * -ENOENT: it is not. */
int praas_process_value_adopt(struct praas_process *p, const uint8_t *data,
			      uint64_t bytes, struct praas_value *ret_value);
/* Undoes what import made of data: an adopted buffer is the caller's again. */
void praas_process_value_disown(struct praas_process *p, const void *data,
				struct praas_value *value);

/* ---- process_messages.c ---- */

/* A message by source. value is given on success, trace (or NULL) is copied. Errors as
 * praas_process_fn_send(). */
int praas_process_message_put(struct praas_process *p, uint64_t source, const char *key,
			      uint32_t key_bytes, struct praas_value *value,
			      const uint8_t *trace, uint64_t *ret_sequence);
/* False: no process has that number. */
bool praas_process_may_exist(const struct praas_process *p, uint64_t pid);
/* wait stands in its queue: give it its timer. 0; -ENOBUFS. */
int praas_process_wait_arm(struct praas_process *p, struct praas_fn_wait *wait,
			   uint32_t kind);
/* wait is out of its queue: disarm it and tell. */
void praas_process_wait_over(struct praas_fn_wait *wait, int rc);
/* Its time has passed. */
void praas_process_wait_due(struct praas_process *p, struct praas_fn_wait *wait);
/* All that wait are told so. */
void praas_process_waits_end(struct praas_process *p, int rc);

/* ---- process_room.c ---- */

/* Somebody waits for room to that process, and is before who sends now. */
bool praas_process_room_taken(const struct praas_process *p, uint64_t destination);
int praas_process_room_wait(struct praas_process *p, uint64_t destination,
			    uint64_t bytes, struct praas_fn_wait *wait);
void praas_process_room_remove(struct praas_process *p, struct praas_fn_wait *wait);
/* There may be room now: those who wait for it send. Returns work done. */
unsigned praas_process_room_poll(struct praas_process *p);

/* ---- process_members.c ---- */

void praas_process_members_wait_remove(struct praas_process *p,
				       struct praas_fn_wait *wait);

/* ---- requests.c ---- */

int praas_requests_init(struct praas_process *p);
/* True: it was one of them, and buf is gone. */
bool praas_requests_frame(struct praas_process *p, struct praas_conn *conn,
			  struct praas_buf *buf);
/* Ends the RECV of that id; false: there is none. */
bool praas_requests_cancel(struct praas_process *p, const struct praas_conn *conn,
			   uint64_t id);
void praas_requests_forget_conn(struct praas_process *p, const struct praas_conn *conn);
/* Those that waited when the process began to move wait again, or are forgotten. */
void praas_requests_unpark(struct praas_process *p, bool serve);

/* ---- invoke.c ---- */

void praas_invoke_frame(struct praas_process *p, struct praas_conn *conn,
			struct praas_buf *buf);
/* inv is filled in; runs, queues or holds it. It may have ended when this returns. */
void praas_invoke_submit(struct praas_process *p, struct praas_invocation *inv);
/* Start what is ready, as far as the executor takes it. */
void praas_invoke_pump(struct praas_process *p);
/* Ends one that has not run and is in no list any more: its id may be used again. */
void praas_invoke_end_unstarted(struct praas_process *p, struct praas_invocation *inv,
				int32_t status);
void praas_invoke_ready_remove(struct praas_process *p, struct praas_invocation *inv);
void praas_invoke_leave_lane(struct praas_process *p, struct praas_invocation *inv);
/* Straight to the executor when nobody is before it. */
void praas_invoke_go(struct praas_process *p, struct praas_invocation *inv);
void praas_invoke_ready_append(struct praas_process *p, struct praas_invocation *inv);
/* Its deadline. */
void praas_invoke_arm(struct praas_process *p, struct praas_invocation *inv);
/* A small result goes beside the memo, so that the answer can leave before the books are closed.
 * False: too large, it must be remembered while we have it. */
bool praas_invoke_keep_small(struct praas_process *p,
			     const struct praas_invocation *inv,
			     const struct praas_buf *result);
/* The id is finished. Its result was kept before (keep_small()), or is too large for that and
 * still there. */
void praas_invoke_remember(struct praas_process *p, struct praas_invocation *inv,
			   int32_t status, const struct praas_buf *result,
			   uint64_t run_ns);
/* Its slot goes back; the caller has its answer. */
void praas_invoke_release(struct praas_process *p, struct praas_invocation *inv);
/* Results go to nobody. */
void praas_invoke_caller_none(struct praas_process *p, struct praas_invocation *inv);
/* Results go to conn. */
void praas_invoke_caller_conn(struct praas_invocation *inv, struct praas_conn *conn);

/* One of its inputs has come. */
static inline void praas_invoke_count_input(struct praas_process *p,
					    const struct praas_invocation *inv)
{
	if (inv->inputs[0])
		p->sums[inv->function].bytes_in += inv->inputs[0]->head.bytes;
}
/* It has come to its end, or will not begin. */
static inline void praas_invoke_count_end(struct praas_process *p,
					  const struct praas_invocation *inv,
					  int32_t status,
					  const struct praas_buf *result,
					  uint64_t run_ns)
{
	struct praas_function_sums *s = &p->sums[inv->function];

	s->calls++;
	s->run_ns += run_ns;
	if (result)
		s->bytes_out += result->head.bytes;
	if (praas_likely(status == 0))
		return;
	s->errors++;
	p->stats.failures++;
}

/* ---- process_changes.c, export.c: what has changed; while p->changes is set ---- */

/* The message that came last, which is kept. */
PRAAS_COLD void praas_process_changed_mail(struct praas_process *p);
PRAAS_COLD void praas_process_changed_memo(struct praas_process *p,
					   const struct praas_memo *memo);
PRAAS_COLD void praas_process_changed_accepted(struct praas_process *p, uint64_t source,
					       struct praas_seq seq);
PRAAS_COLD void praas_process_changed_cut(struct praas_process *p);
/* What waits for triggers, or is kept: all of it is told at the end of the turn. */
static inline void praas_process_changed_inputs(struct praas_process *p)
{
	if (praas_unlikely(p->changes != NULL))
		p->changes->inputs = true;
}
/* Records of a snapshot, for them. */
void praas_process_export_mail(struct praas_process *p, struct praas_mail *mail,
			       const char *key, uint32_t key_bytes,
			       struct praas_changes *changes);
void praas_process_memo_record(struct praas_process *p, const struct praas_memo *memo,
			       struct praas_export_record *ret_record);
void praas_process_export_inputs(struct praas_process *p,
				 struct praas_changes *changes);

/* ---- stage.c ---- */

/* Through its function's trigger and lane to the executor. */
void praas_stage_enter(struct praas_process *p, struct praas_invocation *inv);
/* The time of an accumulator has come. */
void praas_stage_due(struct praas_process *p, struct praas_accumulator *a);
/* A running, special one has ended in that. True: it is over, and those who were joined to it are;
 * status and result may be others now. False: it goes on, or is kept; result is gone. */
bool praas_stage_ended(struct praas_process *p, struct praas_invocation *inv,
		       int32_t *status, struct praas_buf **result, uint64_t run_ns);
/* From a snapshot, with its input and who is joined to it. */
void praas_stage_import(struct praas_process *p, struct praas_invocation *inv);
/* The gate has opened: what is kept goes on. */
void praas_stage_resume(struct praas_process *p);
/* Out of the list of those that are kept. */
void praas_stage_unhold(struct praas_process *p, struct praas_invocation *inv);
/* It goes on with that function, with its input, which the one before has made. */
void praas_stage_next(struct praas_process *p, struct praas_invocation *inv,
		      uint16_t function);
/* One that is in no list and does not run has ended so, and those who are joined to it; result is given. */
void praas_stage_over(struct praas_process *p, struct praas_invocation *inv,
		      int32_t status, struct praas_buf *result, uint64_t run_ns);

/* ---- stage_away.c ---- */

int praas_stage_calls_init(struct praas_process *p);
void praas_stage_calls_release(struct praas_process *p);
/* It goes on with that function in the process of that name: perhaps this one. It may have ended when this returns. */
void praas_stage_leave(struct praas_process *p, struct praas_invocation *inv,
		       uint16_t function, const char *process);
/* Of one that waits so: its caller gives up, or its deadline has passed. */
void praas_stage_call_give_up(struct praas_process *p, struct praas_invocation *inv,
			      int32_t status);
/* The call that it waits for; 0: it does not, or is not called yet. */
static inline uint64_t praas_stage_call_of(const struct praas_invocation *inv)
{
	return inv->queue == PRAAS_QUEUE_AWAY
		       ? ((const struct praas_stage_call *)inv->trigger)->id
		       : 0;
}
/* There is another list of processes. */
void praas_stage_calls_look(struct praas_process *p);
/* The gate has opened: what came from a snapshot goes on. */
void praas_stage_calls_resume(struct praas_process *p);
/* Where it goes on and how it was called: the record before its input. */
void praas_stage_call_record(const struct praas_process *p,
			     const struct praas_stage_call *c,
			     struct praas_export_record *ret_record);
/* Of the input that comes next. 0; -EINVAL; -EEXIST; -ENOSPC. */
int praas_stage_call_import(struct praas_process *p,
			    const struct praas_export_record *record);
/* That input; there was a record before it. */
void praas_stage_call_import_input(struct praas_process *p,
				   struct praas_invocation *inv);

/* ---- give_up.c ---- */

/* The caller gives up (PRAAS_CANCELLED), or the deadline passed (PRAAS_DEADLINE). */
void praas_invoke_give_up(struct praas_process *p, struct praas_invocation *inv,
			  int32_t status);
void praas_invoke_cancel_frame(struct praas_process *p, struct praas_conn *conn,
			       struct praas_buf *buf);
/* The id in buf, whose memo this is, was seen before: it never runs a second time. */
void praas_invoke_retry(struct praas_process *p, struct praas_conn *conn,
			struct praas_buf *buf, const struct praas_memo *memo);
void praas_invoke_forget_conn(struct praas_process *p, const struct praas_conn *conn);
/* Ends everything without a word; at the end of the process. */
void praas_invoke_drop_all(struct praas_process *p);

/* Status with which requests are refused now; 0: they are not. */
static inline int32_t praas_route_check(const struct praas_process *p, uint32_t epoch)
{
	if (praas_unlikely(!p->open))
		return p->moved ? PRAAS_MOVED : PRAAS_DRAINING;
	/* Ring descriptors carry no epoch (0): their channel is of this one. */
	if (praas_unlikely(epoch != p->epoch && epoch != 0))
		return PRAAS_MOVED;
	return 0;
}

#endif
