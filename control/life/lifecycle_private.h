/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the life cycle share: operations (lifecycle.c), activation
 * (lifecycle_start.c), what controllers say and their ends (lifecycle_link.c), restart, deletion and
 * shutdown (lifecycle_end.c), what is in the store (lifecycle_store.c, lifecycle_snapshots.c). One lock for all; held for memory work only, never for a commit, a
 * spawn or an upcall.
 */
#ifndef PRAAS_CONTROL_LIFECYCLE_PRIVATE_H
#define PRAAS_CONTROL_LIFECYCLE_PRIVATE_H

#include <pthread.h>

#include <utlist.h>

#include "control/life/account.h"
#include "control/life/lifecycle.h"
#include "control/life/lifecycle_mail.h"
#include "control/life/ownership.h"
#include "control/node/link.h"
#include "control/table.h"
#include "controller/store/slot_log.h"

#define PRAAS_LIFE_PATH_BYTES 4200
#define PRAAS_LIFE_RETRIES 3u /* activations that meet a higher epoch in the slot log */
#define PRAAS_LIFE_KILL_NS 2000000000ull /* for an orderly end of one that is killed */
#define PRAAS_LIFE_PREPARE_NS                                                          \
	20000000ull /* of calm before controllers are made ready */
#define PRAAS_LIFE_LEAVE_NS 5000000000ull /* for the end of one that has swapped out */

struct praas_life_waits {
	struct praas_life_wait *head;
};

/* A process that somebody asked for since we started. */
struct praas_life_process {
	uint64_t number;
	UT_hash_handle hh;      /* in life->processes */
	UT_hash_handle hh_conn; /* in life->by_conn, while conn is set */
	struct praas_life *life;
	struct praas_process_record record; /* what is to be stored next */
	struct praas_app_record app; /* what it runs with, or will be started with */
	struct praas_app_record
		*app_next;   /* a newer one, from the next start on; NULL none */
	uint8_t node;        /* it counts at, while placed: an index */
	uint8_t node_wanted; /* for its next start: an index and 1; 0: one is chosen */
	uint8_t node_moves; /* it counts there too, for its taker: an index and 1; 0: it does not */
	bool placed;
	uint32_t node_vcpu; /* as it counts there */
	uint64_t node_memory;
	struct praas_instance instance;
	/* The controller of the epoch before: its release is committed, it only has to end. */
	struct praas_instance leaving;
	uint64_t leaving_due_ns; /* when it is ended by force; 0 there is none */
	/* MIGRATING: the controller that is to go on with it. */
	struct praas_instance taker;
	uint64_t
		move_id; /* of the request to the source; 0: it was not asked, or has answered */
	struct praas_job move_job;
	uint64_t conn;         /* on the link; 0 none */
	uint64_t pending_conn; /* joined while its start was still being recorded */
	pid_t pending_peer;
	char pending_endpoints[PRAAS_ENDPOINTS_BYTES];
	uint64_t pending_seen;
	struct praas_life_mail mail;
	uint8_t token
		[PRAAS_KEY_BYTES]; /* join token until the configuration is written */
	struct praas_life_waits serving, swapped, checkpointed, ended;
	struct praas_life_waits back;    /* until it is rolled back */
	struct praas_life_waits moved;   /* until another controller serves it */
	struct praas_life_waits settled; /* finished; told when the record is stored */
	uint64_t begun_ns;               /* of the activation under way */
	uint64_t phase_deadline_ns;      /* of what is under way; 0 none */
	uint64_t swap_id, check_id;      /* of the requests that were sent; 0 none */
	uint64_t check_ns;               /* when the last checkpoint was asked for */
	uint64_t
		kept_ns; /* what was done until then is in a snapshot, or it began to serve */
	struct praas_outcome
		failure;     /* last words of a controller that could not start */
	uint32_t epoch_seen; /* highest in the slot log, as far as told */
	uint32_t retries;
	uint32_t
		move_to; /* of the taker; also of the last one; 0: not known (any more) */
	uint8_t rest_state;  /* to fall back to when an activation fails */
	uint64_t active_ns;  /* it began to serve, or was asked for something of ours */
	uint64_t metrics_ns; /* when metrics were told */
	uint64_t settled_ns; /* it began to serve, or a move of it began or ended */
	uint64_t
		move_again_ns; /* that failed, or found no place: when it is tried again */
	/* Circles, in this epoch; UINT64_MAX: the next word of it says how many a service before us was told of. */
	uint64_t circles_told;
	uint8_t move_tries; /* that failed, one after the other */
	uint8_t move_failed; /* the node that the last of them was to: an index and 1; 0: none */
	uint64_t idle_ms; /* then: for how long there must have been none; at least 1 */
	uint64_t window_ns,
		window_calls; /* since when few calls are counted, and its counter then; 0 not yet */
	bool has_instance, has_taker;
	bool charged;   /* its memory counts for its tenant */
	bool doomed;    /* its stored record says DELETING */
	bool recovered; /* was under way before a restart; its controller may come back */
	bool joined;    /* it serves, as far as we know */
	bool starting;     /* a job commits and spawns */
	bool fresh;        /* never served: fails without a trace */
	bool told_swapped; /* its swap-out is committed */
	bool want_swap;    /* as soon as it is active */
	bool want_kill;
	bool saving, dirty; /* a job writes the record; it changed meanwhile */
	bool timed;         /* in life->timed */
	bool metrics_told;
	bool idle_swap;    /* the swap-out under way is for want of work */
	bool erase_failed; /* whoever comes tries it again */
	bool held;         /* one of the jobs that hold it works on its snapshots */
	bool backing;      /* it rests, and is not woken: a job rolls it back */
	bool stuck;        /* its drained node cannot be rid of it by a move */
	uint32_t calls;
	uint32_t holds; /* jobs that work on its snapshots, or wait to */
	struct praas_life_view metrics;
	struct praas_account account;
	struct praas_functions_told *functions_told; /* in this epoch */
	uint64_t row_ns; /* when the last row of usage was stored; CLOCK_MONOTONIC */
	struct praas_job start_job, save_job, erase_job;
	struct praas_job back_job;
	struct praas_life_process *prev, *next; /* in life->timed */
	struct praas_life_process *unborn_next; /* in life->unborn */
};

struct praas_life_members;

struct praas_life {
	struct praas_life_config config; /* strings: the copies below */
	char link_path[PRAAS_LIFE_PATH_BYTES], run_dir[PRAAS_LIFE_PATH_BYTES];
	struct praas_life_node nodes[PRAAS_NODES_MAX];
	char data_listen[1024]; /* "": none */
	char code_dir[PRAAS_LIFE_PATH_BYTES];
	char store_url[PRAAS_LIFE_PATH_BYTES], worker[PRAAS_LIFE_PATH_BYTES];
	struct praas_link *link;
	struct praas_life_members *members; /* with a lock of its own */
	pthread_mutex_t
		place_lock; /* choosing a process and creating one are one step */
	/* While a record and a row of usage become one commit, and their account says so. Before
	 * lock. */
	pthread_mutex_t usage_lock;
	pthread_mutex_t
		drain_lock; /* while a node is drained or resumed, in records and memory. Before lock */
	pthread_mutex_t lock;   /* of all below */
	pthread_cond_t changed; /* entries, saving, instances */
	struct praas_life_process *processes;
	struct praas_life_process *by_conn;
	uint32_t unindexed; /* processes with a connection that are not in by_conn */
	struct praas_life_process *timed; /* those with a deadline */
	struct praas_life_process
		*unborn;      /* those whose record is still to be stored */
	uint64_t idle_due_ns; /* when idle processes are looked for */
	uint64_t drain_due_ns, balance_due_ns; /* the same, those to be moved */
	uint64_t
		check_due_ns; /* the same, those that are due for a checkpoint; 0 never */
	uint64_t prepare_due_ns; /* when controllers are made ready again; 0 never */
	bool preparing, tidying;
	struct praas_job prepare_job;
	uint64_t
		backend_due_ns; /* when the back end removes what was left; 0: nothing is */
	uint64_t tidy_due_ns; /* when old rows of usage are folded */
	struct praas_job tidy_job;
	struct praas_usage used;           /* of all, since the start */
	struct praas_functions *functions; /* the same, of each function */
	uint64_t due_ns;                   /* when the link thread will look; 0 never */
	uint64_t request_last;
	uint64_t mail_bytes; /* of messages that wait to be stored */
	uint32_t instances;  /* controllers that run */
	uint32_t background; /* jobs of ours that are queued or run */
	/* Applications that are being deployed. */
	uint8_t deploys[PRAAS_LIMIT_DEPLOYS][PRAAS_RECORD_ID_BYTES];
	uint32_t deploys_count;
	bool stopping;
	struct praas_life_stats stats;
};

/* ---- lifecycle.c; no lock ---- */

/* The entry of a process, with the lock held on success. -ENOENT; -ESHUTDOWN; -EIO; -ENOMEM; -EBUSY. */
int praas_life_acquire(struct praas_life *life, const struct praas_app_record *app,
		       const char *name, struct praas_life_process **ret_p);
struct praas_outcome praas_life_acquire_failed(int rc);
struct praas_outcome praas_life_create_failed(int rc);
void praas_life_made_up_name(char ret_name[PRAAS_NAME_MAX + 1]);

/* ---- lifecycle_common.c; all with the lock held ---- */

/* Moves all of waits to *done with this outcome and the record as it is now. */
void praas_life_finish(struct praas_life_process *p, struct praas_life_waits *waits,
		       const struct praas_outcome *outcome,
		       struct praas_life_waits *done);
/* Without the lock: tells those who waited. */
void praas_life_tell(struct praas_life_waits *done);
struct praas_outcome praas_outcome_of(int rc, const char *code, const char *text);
void praas_life_add_wait(struct praas_life_process *p, struct praas_life_waits *waits,
			 struct praas_life_wait *wait);
struct praas_life_process *praas_life_find(struct praas_life *life, uint64_t number);
uint64_t praas_life_realtime_ns(void);
/* Sends again what a controller was asked for and has not answered. */
void praas_life_send_pending(struct praas_life_process *p);
/* Something to do with `id` for its controller, if it is connected. */
void praas_life_request(struct praas_life_process *p, const char *what, uint64_t id);
/* The same with any message, which is taken; NULL: there was no memory for it. */
void praas_life_ask(struct praas_life_process *p, json_t *message);
/* p serves, now or later; wait is in done or will be. */
void praas_life_want_serving(struct praas_life_process *p, struct praas_life_wait *wait,
			     struct praas_life_waits *done);
/* Sees to it that the link thread looks at p's deadlines. */
void praas_life_arm(struct praas_life_process *p);
void praas_life_set_state(struct praas_life_process *p, enum praas_life_state state);
/* The part of it that ownership.h decides about. */
struct praas_owner praas_life_owner(const struct praas_life_process *p);
bool praas_life_resting(uint8_t state);
/* The record goes to the store soon. */
void praas_life_save(struct praas_life_process *p);
void praas_life_background(struct praas_life *life, struct praas_job *job);
/* Controllers are made ready soon, but not while what was just started answers its first call. */
void praas_life_prepare_soon(struct praas_life *life);
/* From the tick: now, if it is due. */
void praas_life_prepare_due(struct praas_life *life, uint64_t now_ns);
/* Asks a serving controller to swap out (idle: if it has no work); p becomes DRAINING. */
void praas_life_begin_swap(struct praas_life_process *p, bool idle);
void praas_life_begin_kill(struct praas_life_process *p);
struct praas_life_process *praas_life_entry(struct praas_life *life,
					    const struct praas_process_record *record,
					    const struct praas_app_record *app);
/* Ties p to a connection (0: to none). */
void praas_life_bind(struct praas_life_process *p, uint64_t conn);
struct praas_life_process *praas_life_find_conn(struct praas_life *life, uint64_t conn);
/* Frees an entry that nobody waits for and nothing refers to. */
void praas_life_forget(struct praas_life_process *p);

/* Its end will be told with this tag, of which praas_life_tag_number() is the number. */
int praas_life_watch(struct praas_life *life, const struct praas_instance *instance);
uint64_t praas_life_tag(const struct praas_instance *instance);
uint64_t praas_life_tag_number(uint64_t tag);
/* Some controller of p has not ended. */
/* Of a controller, in run_dir: number and epoch. */
#define PRAAS_LIFE_SOCKET "%llu-%u.sock"
/* Ends one by force; its end is told later. */
void praas_life_end(const struct praas_instance *instance);
/* Where the two controllers of a move meet: run_dir, number and epoch of the destination. */
#define PRAAS_LIFE_MEETING "%s/%llu-%u.move"
/* Ends an instance that has ended, with its socket, which a killed controller leaves. */
void praas_life_reap(struct praas_life *life, struct praas_instance *instance,
		     struct praas_exit *ret_exit);
bool praas_life_runs(const struct praas_life_process *p);

/* ---- lifecycle_nodes.c; lock held ---- */

/* p is to be started next on that node. 0; -ENOENT no such node; -EEXIST it is on another now; and why. */
int praas_life_node_want(struct praas_life_process *p, const char *node,
			 struct praas_outcome *ret_why);
/* The node of p's start: the one that was wanted, else the policy's choice. What its application asks for
 * counts there from now on, until praas_life_node_leave(), and its record says the node. Nothing
 * happens when it has one. 0; -ENOSPC no room; -EBUSY drained; and why. */
int praas_life_node_take(struct praas_life_process *p, struct praas_outcome *ret_why);
/* The same of one that was started by a service before, where its record says. */
void praas_life_node_running(struct praas_life_process *p);
void praas_life_node_leave(struct praas_life_process *p);
/* Where p starts or runs; also without the lock while it does. */
const struct praas_node *praas_life_node(const struct praas_life_process *p);
struct praas_backend *praas_life_backend(const struct praas_life_process *p);
/* It is to move there, and counts there too from now on; or not, when it is there. 0; -ENOENT no such node; -ENOSPC;
 * -EBUSY; and why. */
int praas_life_node_move(struct praas_life_process *p, const char *node,
			 struct praas_outcome *ret_why);
/* It has; or it stays where it is. */
void praas_life_node_moved(struct praas_life_process *p);
void praas_life_node_stays(struct praas_life_process *p);
/* Its controller says where it runs; "": it does not say. */
void praas_life_node_told(struct praas_life_process *p, const char *node);
/* Where its taker starts or runs; also without the lock while it does. */
const struct praas_node *praas_life_node_of_taker(const struct praas_life_process *p);
/* What is there of a node, as control/life/place_node.h has it. */
void praas_life_node_describe(const struct praas_life *life, uint32_t index,
			      struct praas_place_node *ret_node);
/* Where p would be started if it were not where it is; where its last move failed only if there is no other.
 * 0; -ENOSPC; -EBUSY; and why. */
int praas_life_node_elsewhere(struct praas_life_process *p, uint32_t *ret_node,
			      struct praas_outcome *ret_why);
/* When the service begins, no lock: which nodes are drained. 0; as the records say. */
int praas_life_nodes_load(struct praas_life *life);

/* ---- lifecycle_quota.c ---- */

/* A new process of app: it, and its memory, count for the tenant. 0; -EDQUOT and why. No lock. */
int praas_life_take_new(struct praas_life *life, const struct praas_app_record *app,
			struct praas_outcome *ret_why);
/* One that rests from the beginning: only itself counts. As praas_life_take_new(). */
int praas_life_take_process(struct praas_life *life, const struct praas_app_record *app,
			    struct praas_outcome *ret_why);
/* It did not come to be. */
void praas_life_give_new(struct praas_life *life, const struct praas_app_record *app);
/* Its memory counts from now on, unless it does already. false: there is not as much left. */
bool praas_life_charge(struct praas_life_process *p, struct praas_outcome *ret_why);
/* The same for one that runs, whatever is left. */
void praas_life_charge_running(struct praas_life_process *p);
void praas_life_discharge(struct praas_life_process *p);
void praas_life_count_state(struct praas_life_process *p, uint64_t bytes);
/* What its named snapshots have. */
void praas_life_count_named(struct praas_life_process *p, uint64_t bytes);
/* Nothing of it is left. */
void praas_life_give_erased(struct praas_life_process *p);

/* ---- lifecycle_code.c; lock held ---- */

/* p is to be started with app from now on, if that is newer than what it would be. 0; -ENOMEM. */
int praas_life_renew(struct praas_life_process *p, const struct praas_app_record *app);
/* p is about to be started: with the newest. */
void praas_life_take_next(struct praas_life_process *p);
/* When the service begins, of all applications: removes what deployments and deletions that were cut off left. */
void praas_life_code_recover(struct praas_life *life,
			     const struct praas_app_record *apps, uint32_t count);

/* ---- lifecycle_usage.c ---- */

/* Stores record, of p, and what p used since the last time. No lock. As process_put(). */
int praas_life_put(struct praas_life_process *p, struct praas_process_record *record);
/* Its controller told what it used in its epoch. Lock held. */
void praas_life_used(struct praas_life_process *p, const json_t *message);
/* From the tick: now, if it is due. When to look again; 0 when it is over. */
uint64_t praas_life_tidy_due(struct praas_life *life, uint64_t now_ns);

/* ---- lifecycle_members.c ---- */

int praas_life_members_new(struct praas_life *life); /* 0; -ENOMEM */
void praas_life_members_free(struct praas_life *life);
/* As praas_events_listen() tells. */
void praas_life_members_changed(void *user, const struct praas_process_record *record,
				const char *state);
/* A controller wants to be told. false: no controller says that. Lock held. */
bool praas_life_on_members(struct praas_life_process *p, uint64_t conn,
			   const json_t *message);
void praas_life_members_left(struct praas_life *life, uint64_t conn);
/* From the tick: tells what is new. When to look again; 0 never. Lock held. */
uint64_t praas_life_members_due(struct praas_life *life, uint64_t now_ns);

/* ---- lifecycle_drain.c; lock held ---- */

/* From the tick: moves away who is on drained nodes. When to look again; 0 never. */
uint64_t praas_life_drain_look(struct praas_life *life, uint64_t now_ns);
/* p's move, of whosoever, has ended: there is room for the next; why: it stays; NULL it has moved. */
void praas_life_drain_moved(struct praas_life_process *p, const char *why);
/* Its move has ended, but it has not said that it goes on: it is in nobody's way. */
void praas_life_drain_silent(struct praas_life_process *p);
/* The node is drained, or not any more: what was found out about its processes is forgotten. */
void praas_life_drain_anew(struct praas_life *life, uint32_t node);
/* Of a drained node, in a view. */
void praas_life_drain_count(struct praas_life *life, uint32_t node,
			    struct praas_life_node_view *view);
/* Nobody moves p, or will soon: that is left to who swaps out. */
bool praas_life_drain_left(const struct praas_life_process *p);

/* ---- lifecycle_balance.c; lock held ---- */

/* From the tick: moves one process, if that is worth it. When to look again; 0 never. */
uint64_t praas_life_balance_look(struct praas_life *life, uint64_t now_ns);

/* ---- lifecycle_move.c; lock held ---- */

/* p goes to that node (NULL: to another controller where it is). 0: p->moved is told what becomes of it; -EBUSY not
 * now; -ENOENT, -ENOSPC as praas_life_node_move(); and why. */
int praas_life_begin_move(struct praas_life_process *p, const char *node,
			  struct praas_outcome *ret_why);
/* Why it cannot move now; NULL: it can. */
const char *praas_life_not_now(const struct praas_life_process *p);
/* A move of it is under way; not one whose destination has ended, and whose source has not answered to that. */
bool praas_life_moves(const struct praas_life_process *p);

/* What a join of that epoch is of: the destination of p's move. */
bool praas_life_is_taker(const struct praas_life_process *p, uint64_t epoch);
/* Its join was checked: p is its. */
void praas_life_taken(struct praas_life_process *p, uint32_t epoch);
/* p stays where it is. */
void praas_life_kept(struct praas_life_process *p, const char *why,
		     struct praas_life_waits *done);
/* The source has joined again and says that it still moves. */
void praas_life_moves_on(struct praas_life_process *p, uint64_t conn,
			 const char *endpoints);
/* What the source answered. false: it is none of that. */
bool praas_life_on_move_answer(struct praas_life_process *p, uint64_t id, bool ok,
			       const json_t *message, struct praas_life_waits *done);
/* "moved". */
void praas_life_on_moved(struct praas_life_process *p, const json_t *message);
/* Its destination, if it has one, is ended. */
void praas_life_end_taker(struct praas_life_process *p);
/* Of one that moves, source or destination has ended. true: the other one may go on. */
bool praas_life_half_ended(struct praas_life_process *p);
/* After a restart of ours; log: as it is now. */
void praas_life_move_recover(struct praas_life_process *p,
			     const struct praas_owner_log *log);

/* ---- lifecycle_checkpoint.c ---- */

/* Asks for one, unless that is under way. */
void praas_life_begin_check(struct praas_life_process *p);
/* Its controller's answer. */
void praas_life_on_checked(struct praas_life_process *p, bool ok, const json_t *message,
			   struct praas_life_waits *done);
/* It serves from now on, with what is kept. */
void praas_life_check_from(struct praas_life_process *p, uint64_t now_ns);
/* From the tick: those that are due are asked for one. When to look again; 0 never. */
uint64_t praas_life_check_look(struct praas_life *life, uint64_t now_ns);

/* ---- lifecycle_idle.c ---- */

enum praas_idle praas_life_idle(const struct praas_life_process *p, uint64_t now_ns,
				uint64_t *ret_quiet_ns);
/* From the tick: swaps out what is idle. When to look again; 0 never. */
uint64_t praas_life_idle_look(struct praas_life *life, uint64_t now_ns);
/* What its controller told counts (control/life/idle.h: the window). */
void praas_life_count_calls(struct praas_life_process *p);
/* A node was drained: look now. */
void praas_life_idle_soon(struct praas_life *life);
/* More was taken of a node: look now if it is short. */
void praas_life_idle_taken(struct praas_life *life, uint32_t node);
/* Somebody wants p to serve: a drain for want of work is called off, if it is not too late. */
void praas_life_needed(struct praas_life_process *p);

/* ---- lifecycle_start.c ---- */

/* p becomes ACTIVATING; a job does the rest. Without the memory for it (of the tenant) those who wait
 * are told so. Lock held. */
void praas_life_begin_activation(struct praas_life_process *p);
/* Identity of the epoch `epoch` in a record, and the token that proves it. */
void praas_life_new_epoch(struct praas_process_record *record, uint32_t epoch,
			  uint8_t ret_token[PRAAS_KEY_BYTES]);
/* From a job, no lock: a new process, fresh, starting and unborn. Its controller is started and its record
 * committed, one beside the other. When that fails, those who wait for p are told, and p and all of it are gone.
 * wait: of who creates it, among these. */
void praas_life_start_new(struct praas_life_process *p,
			  struct praas_process_record *record,
			  const uint8_t token[PRAAS_KEY_BYTES],
			  const struct praas_life_wait *wait, bool *ret_created);
/* The configuration of a controller (docs/control-link.md), without the back end's part; token: its join token. NULL:
 * no memory, or no crypto. No lock. */
json_t *praas_life_config_of(const struct praas_life_process *p,
			     const struct praas_process_record *record,
			     const struct praas_node *node, const uint8_t *token);
/* A join was checked: p serves, or, with its queue applied up to seen, has to catch up first. draining: it says
 * that it swaps out. Lock held. Its record is the caller's to save, when those in done have
 * been told: a commit takes the time that they wait. */
void praas_life_serving(struct praas_life_process *p, uint64_t conn,
			const char *endpoints, uint64_t seen, bool draining,
			struct praas_life_waits *done);
/* The activation under way has failed; no instance is left. Lock held. */
void praas_life_start_failed(struct praas_life_process *p,
			     const struct praas_outcome *why,
			     struct praas_life_waits *done);

/* ---- lifecycle_back.c; lock held ---- */

/* p has come to rest: those who want it rolled back get that first. false: there are none. */
bool praas_life_begin_back(struct praas_life_process *p);

/* ---- lifecycle_snapshots.c ---- */
struct praas_outcome praas_life_snapshot_why(int rc);
/* From a job, no lock: p stays until it is released, and nobody else works on its snapshots. */
int praas_life_hold(struct praas_life *life, const struct praas_app_record *app,
		    const char *name, struct praas_life_process **ret_p,
		    struct praas_process_record *ret_record);
void praas_life_release(struct praas_life_process *p);

/* ---- lifecycle_clock.c ---- */
uint64_t praas_life_tick(void *user, uint64_t now_ns);

/* ---- lifecycle_join.c; lock held ---- */

/* What came over the connection is nothing: it is ended, with words. */
void praas_life_refuse(struct praas_life *life, uint64_t conn, const char *why);
/* True: the process serves, and is to be saved. */
bool praas_life_on_join(struct praas_life *life, uint64_t conn, pid_t peer,
			json_t *message, struct praas_life_waits *done);

/* ---- lifecycle_link.c ---- */

/* Nothing of its controller is known any more. Lock held. */
void praas_life_forget_controller(struct praas_life_process *p);

/* An activation's controller has gone without serving; one that served has gone. Lock held. */
void praas_life_ended_starting(struct praas_life_process *p, const struct praas_exit *e,
			       struct praas_life_waits *done);
void praas_life_ended_serving(struct praas_life_process *p, const struct praas_exit *e,
			      struct praas_life_waits *done);
extern const struct praas_link_events praas_life_link_events;

/* ---- lifecycle_store.c; no lock ---- */

/* The store of a process, sealed when there are keys: the caller's. 0; or why it cannot be opened. */
int praas_life_open_store(const struct praas_life *life,
			  const struct praas_process_record *record, const char *tenant,
			  struct praas_store **ret_store);
/* Where the slot log and snapshots of a process are. */
void praas_life_store_url(const struct praas_life *life,
			  const struct praas_process_record *record,
			  char ret_url[2 * PRAAS_LIFE_PATH_BYTES]);
/* Records that were restored may give a number again that the store knows: then it gets a
 * generation of which the store has nothing. 0; -EIO the record, if it was stored before, cannot be written. */
int praas_life_new_generation(struct praas_life *life,
			      struct praas_process_record *record);
/* Its record tells of a snapshot, but the store has nothing of it: deleted after the back-up that
 * the records are of, or the store was not restored. */
bool praas_life_store_gone(const struct praas_life_process *p);
/* 0; -ENOENT it was never written; or what the store says. */
int praas_life_read_log(const struct praas_life_process *p,
			struct praas_owner_log *ret_log);
/* Opens both, to be used by one thread. 0; -ENOENT nothing was ever written; or what the store says. */
int praas_life_open_log(const struct praas_life *life,
			const struct praas_process_record *record, const char *tenant,
			struct praas_store **ret_store, struct praas_slot_log *ret_log);
/* Removes all of a process that has no record, and no controller any more. */
void praas_life_drop_store(const struct praas_life *life,
			   const struct praas_process_record *record);
/* Puts the tombstone, removes all. */
int praas_life_erase_store(const struct praas_life_process *p,
			   const struct praas_process_record *record);

/* ---- lifecycle_end.c ---- */

/* DELETING: when no controller is left a job erases it. Lock held. */
void praas_life_begin_erase(struct praas_life_process *p);
int praas_life_recover(struct praas_life *life);
/* No controller of it from before a restart comes back, if one was waited for. Lock held. */
void praas_life_not_back(struct praas_life_process *p);
/* NULL: it is none of them. */
const struct praas_app_record *praas_life_app_of(const struct praas_app_record *apps,
						 uint32_t count, const uint8_t *id);

#endif
