/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of processes as the control service drives it (docs/lifecycle.md):
 *
 *              create, swap-in, invoke                    swap-out
 *   SWAPPED ───────────────▶ ACTIVATING ──join──▶ ACTIVE ────────▶ DRAINING ──▶ SWAPPED
 *   LOST, KILLED ─────────────▲   │ fails: back      │ crash: LOST      │ fails: ACTIVE
 *                                 └───────────── kill: KILLED; delete: DELETING, gone
 *
 * Each process does one thing at a time: whoever asks for what is under way waits for the same
 * end, so a thousand invocations of a swapped process start one controller. The epoch of an
 * activation is one more than any given out before, and is on the disk before the join of its
 * controller is believed; the slot log in the store decides who may write.
 */
#ifndef PRAAS_CONTROL_LIFECYCLE_H
#define PRAAS_CONTROL_LIFECYCLE_H

#include <stdbool.h>
#include <stdint.h>

#include "control/jobs.h"
#include "control/life/balance.h"
#include "control/life/events.h"
#include "control/life/functions.h"
#include "control/life/idle.h"
#include "control/life/place_node.h"
#include "control/node/nodes.h"
#include "control/records/records.h"
#include "control/tenants/keys.h"
#include "control/tenants/tenants.h"
#include "controller/store/named.h"

struct praas_lease;
struct praas_life;
struct praas_seal_keys;

struct praas_life_config {
	struct praas_records *records; /* all borrowed until free */
	struct praas_keys *keys;
	struct praas_tenants *tenants;
	struct praas_events *events;       /* that are told; NULL: to nobody */
	const struct praas_nodes *nodes;   /* at least one, with their back ends open */
	enum praas_place_policy placement; /* of processes on them */
	struct praas_jobs *jobs;
	/* Others wait for the records: what has its time is put off while they may have them, and their place on the
	 * link is taken from one who only stands still. NULL: nobody does. */
	const struct praas_lease *lease;
	const char *link_path; /* where controllers connect; copied, as all below */
	const char *run_dir;   /* for their sockets */
	const char *code_dir;  /* for revisions of code */
	const char *store_url; /* "file:///DIR"; a folder per process below it */
	const char *
		data_listen; /* more addresses, parted by commas; NULL: none. On nodes of the service's network */
	const char *worker;   /* program; may be NULL */
	uint64_t activate_ns; /* longest wait for a join */
	struct praas_idle_policy idle;
	/* Of a drained node: how long its processes may finish what they do before they are moved nevertheless, and
	 * how many move at once. */
	uint64_t drain_ns;
	uint32_t drain_moves;
	/* Processes that serve are moved so that the whole is better (control/life/balance.h). */
	uint64_t balance_ns;   /* between two looks; 0: never */
	uint64_t balance_stay; /* ns that a process stays where it has come to */
	uint32_t balance_gap;  /* percent */
	uint64_t rejoin_ns;    /* the same after a restart of ours */
	uint64_t usage_ns;     /* between rows of usage of a process with calls */
	uint64_t usage_days;   /* that they are kept */
	uint64_t upload_s;     /* that a snapshot may take; 0: any time */
	const struct praas_seal_keys *seal_keys; /* borrowed; NULL: none */
};

/* How an operation ended. */
struct praas_outcome {
	int rc;        /* 0 or negative errno */
	char code[24]; /* "start_failed", …; as REST tells it */
	char text[256];
};

/* Somebody who waits for an operation; the caller's memory until done(), which is called once,
 * from any thread, perhaps before the operation returned, and must not wait. */
struct praas_life_wait {
	void (*done)(struct praas_life_wait *wait);
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0: the operation's own limit */
	struct praas_outcome outcome;
	struct praas_process_record record; /* as it was then */
	struct praas_life_wait *next;       /* private */
	const char *snapshot;               /* private */
};

#define PRAAS_LIFE_EXIT_BYTES 200u

/* What is known beyond the record. */
struct praas_life_view {
	struct praas_process_record record;
	bool connected; /* its controller is on the link */
	bool metrics;   /* what follows was told */
	uint64_t invocations, running, queued, dormant, mailbox_depth, state_keys,
		state_bytes, idle_ns, cpu_ns;
	/* Of state beyond memory: in the store only; how often it came back, went there, could not be had. */
	uint64_t state_out_keys, state_out_bytes, state_fetches, state_evictions,
		state_fetch_failures;
	uint32_t calls;    /* under way through REST */
	bool idle;         /* ACTIVE, without work for some time */
	uint64_t quiet_ns; /* how long */
	char last_exit
		[PRAAS_LIFE_EXIT_BYTES]; /* how its last controller ended; "" not known */
};

int praas_life_new(const struct praas_life_config *config,
		   struct praas_life **ret_life);
/* Reads what was before, then lets controllers (those that survived too) connect. */
int praas_life_start(struct praas_life *life);
/* Swaps all out, until deadline_ns; ends the rest. Nothing runs afterwards. */
void praas_life_stop(struct praas_life *life, uint64_t deadline_ns);
/* In place of it, of a service that could not begin, or has another behind it: what runs goes on, and waits for that. */
void praas_life_leave(struct praas_life *life);
void praas_life_free(struct praas_life *life);

/* Whether its processes can keep a journal: their stores are folders, and nothing in them is sealed. */
bool praas_life_journals(const struct praas_life *life);
/* How much memory a process needs at least to hold state beyond it: its addresses take some. */
uint64_t praas_life_state_memory(const struct praas_life *life);

/* All below: from a job; may block for a commit and a spawn. */

/* A new process (name NULL: one is made up) is created and activated, an existing one
 * activated. node: where, if it does not serve; NULL: one is chosen. ret_created says which. */
void praas_life_create(struct praas_life *life, const struct praas_app_record *app,
		       const char *name, const char *node, struct praas_life_wait *wait,
		       bool *ret_created);
/* Until it serves. */
void praas_life_activate(struct praas_life *life, const struct praas_app_record *app,
			 const char *name, struct praas_life_wait *wait);
/* Until it is swapped; at once if it is. */
void praas_life_swap_out(struct praas_life *life, const struct praas_app_record *app,
			 const char *name, struct praas_life_wait *wait);
void praas_life_checkpoint(struct praas_life *life, const struct praas_app_record *app,
			   const char *name, struct praas_life_wait *wait);
/* Until another controller, of the next epoch, goes on with all that it is; it serves all the time, but for a moment. node: where;
 * NULL: that is chosen. One that rests has nothing that could move: it is activated wherever there is room. */
void praas_life_move(struct praas_life *life, const struct praas_app_record *app,
		     const char *name, const char *node, struct praas_life_wait *wait);
/* Until all that it did before is in its last snapshot, or is known to be lost. */
void praas_life_saved(struct praas_life *life, const struct praas_app_record *app,
		      const char *name, struct praas_life_wait *wait);
void praas_life_kill(struct praas_life *life, const struct praas_app_record *app,
		     const char *name, struct praas_life_wait *wait);
void praas_life_delete(struct praas_life *life, const struct praas_app_record *app,
		       const char *name, struct praas_life_wait *wait);

/* ---- named snapshots (controller/store/named.h). All: 0, or a negative errno and why. ---- */

/* Name its last snapshot. */
int praas_life_snapshot_give(struct praas_life *life,
			     const struct praas_app_record *app, const char *name,
			     const char *snapshot, struct praas_named *ret_named,
			     struct praas_outcome *ret_why);
int praas_life_snapshot_take(struct praas_life *life,
			     const struct praas_app_record *app, const char *name,
			     const char *snapshot, struct praas_outcome *ret_why);
/* Those after the name `after` ("": all), at most max; or the one of that name. A damaged one has the slot
 * PRAAS_SLOT_NONE. */
int praas_life_snapshot_list(struct praas_life *life,
			     const struct praas_app_record *app, const char *name,
			     const char *after, unsigned max,
			     struct praas_named *ret_named, unsigned *ret_count,
			     struct praas_outcome *ret_why);
int praas_life_snapshot_get(struct praas_life *life, const struct praas_app_record *app,
			    const char *name, const char *snapshot,
			    struct praas_named *ret_named,
			    struct praas_outcome *ret_why);

/* Swaps it out if need be, then puts a named snapshot in place of its last one; told when it rests again.
 * snapshot stays until then. */
void praas_life_rollback(struct praas_life *life, const struct praas_app_record *app,
			 const char *name, const char *snapshot,
			 struct praas_life_wait *wait);

/* A new process (new_name NULL: one is made up), which rests with what a named snapshot of this one has, or
 * its last (snapshot NULL). From a job. */
int praas_life_fork(struct praas_life *life, const struct praas_app_record *app,
		    const char *name, const char *snapshot, const char *new_name,
		    struct praas_process_record *ret_record,
		    struct praas_outcome *ret_why);

/* A process for an invocation that names none (control/life/place.h), activated; a new one if needed. */
void praas_life_place(struct praas_life *life, const struct praas_app_record *app,
		      struct praas_life_wait *wait);

/* Where the code of an application is, as its record says. */
#define PRAAS_LIFE_CODE_BYTES 4300
void praas_life_code(const struct praas_life *life, const struct praas_app_record *app,
		     char ret_folder[PRAAS_LIFE_CODE_BYTES]);
/* One deployment of an application at a time. 0; -EBUSY; -EAGAIN too many others. */
int praas_life_deploy_begin(struct praas_life *life,
			    const struct praas_app_record *app);
void praas_life_deploy_end(struct praas_life *life, const struct praas_app_record *app);
/* A revision that nothing was started with yet. */
uint32_t praas_life_revision(struct praas_life *life,
			     const struct praas_app_record *app);
/* A process (0: all of app's that are known) is to be started as app says from its next start on, even
 * if it is an older one. 0; -ENOMEM: some are not. */
int praas_life_use(struct praas_life *life, uint64_t number,
		   const struct praas_app_record *app);
/* Those that serve, or will soon, with another revision. *ret_names is malloc'd. 0; -ENOMEM. */
struct praas_life_name {
	char name[PRAAS_NAME_MAX + 1];
	uint64_t number;
};
int praas_life_outdated(struct praas_life *life, const struct praas_app_record *app,
			struct praas_life_name **ret_names, uint32_t *ret_count);
/* Removes revisions of app's code that are not its own, not the one before, and not in use. */
void praas_life_code_tidy(struct praas_life *life, const struct praas_app_record *app);
/* Removes all of it: the application is deleted. */
void praas_life_code_remove(const struct praas_life *life,
			    const struct praas_app_record *app);

/* One more, one less call of REST in a process. -EAGAIN too many are. */
int praas_life_call_begin(struct praas_life *life, uint64_t number);
/* The same in a process that serves now, as it is then: process says its number. -ENOENT it does not;
 * -EAGAIN. Never waits. */
int praas_life_call_quick(struct praas_life *life,
			  struct praas_process_record *process);
void praas_life_call_end(struct praas_life *life, uint64_t number, uint32_t count);

enum praas_usage_by { PRAAS_BY_PROCESS, PRAAS_BY_APP, PRAAS_BY_TENANT };

struct praas_usage_query {
	uint64_t since_ns, until_ns; /* CLOCK_REALTIME; until at most now */
	enum praas_usage_by by;
	const char *tenant, *app, *process; /* NULL: all */
	/* "TENANT", "TENANT/APP" or "TENANT/APP/NUMBER", as a line before says; NULL: from the
	 * beginning. */
	const char *after;
	uint32_t max;
};

struct praas_usage_line {
	char tenant[PRAAS_NAME_MAX + 1];
	char app[PRAAS_NAME_MAX + 1],
		process[PRAAS_NAME_MAX + 1]; /* as far as by says */
	uint64_t number;
	struct praas_usage used;
};
#define PRAAS_USAGE_AFTER_BYTES (2u * PRAAS_NAME_MAX + 24u)

/* What was used, rows and what is in none yet; in the order of names and numbers. From a job. 0;
 * -EINVAL after; -EIO; -ENOMEM. */
int praas_life_usage(struct praas_life *life, const struct praas_usage_query *query,
		     struct praas_usage_line *ret_lines, uint32_t *ret_count);
/* What to go on after. */
void praas_usage_after(enum praas_usage_by by, const struct praas_usage_line *line,
		       char ret_after[PRAAS_USAGE_AFTER_BYTES]);

/* ---- nodes. Any thread. ---- */

#define PRAAS_LIFE_WHY_BYTES 200u

/* What processes have taken of one. */
struct praas_life_node {
	uint64_t memory_bytes, vcpu_milli;
	uint32_t processes;
	bool drained; /* gets no new ones; those that serve are moved, or swapped out when they have no work */
	bool swap_out;     /* drained: they are not moved */
	uint64_t drain_ns; /* since when, or since the service began; CLOCK_MONOTONIC */
	uint64_t moved;    /* that left since then by a move */
	uint64_t version;  /* of what the records have of it; 0 nothing */
	char why[PRAAS_LIFE_WHY_BYTES]; /* the last that could not be moved stayed; "" none */
};

struct praas_life_node_view {
	const struct praas_node *node;
	struct praas_life_node use;
	struct praas_backend_stats starts;
	/* Of its processes, while it is drained. */
	uint32_t moving;
	uint32_t busy; /* work, and have time for that */
	uint32_t
		stuck; /* cannot be moved: they are swapped out as soon as they have no work */
};

/* 0; -ENOENT there are not so many. */
int praas_life_node_view(struct praas_life *life, uint32_t index,
			 struct praas_life_node_view *ret_view);
/* Nothing new there; who is there goes elsewhere, or (swap_out) to the store. Also after a restart. Asked again, it is as
 * it is. From a job: one commit. 0; -ENOENT; -EBUSY there is no other node that takes processes (never with
 * swap_out); as the records say. */
int praas_life_node_drain(struct praas_life *life, const char *name, bool swap_out);
/* It is used again; moves that are under way are finished. The same, but -EBUSY. */
int praas_life_node_resume(struct praas_life *life, const char *name);

/* Any thread. What is known of a process, whose record was read; that alone when nothing is. */
void praas_life_view(struct praas_life *life, const struct praas_process_record *record,
		     struct praas_life_view *ret_view);

struct praas_life_stats {
	uint64_t activations, activation_failures, swaps, lost, kills, checkpoints,
		refused_joins, snapshots, rollbacks, forks, moves, move_failures;
	uint64_t drain_moves, balance_moves; /* that were begun for that */
	uint64_t
		circles; /* of waiting functions, as controllers told since the start */
	/* How long processes that moved stood still. */
	uint64_t move_pause_sum_ns, move_pause_max_ns;
	struct praas_usage used; /* as controllers told since the start */
	uint32_t states[PRAAS_LIFE_MIGRATING + 1];
	/* From the beginning of an activation to its join, by what the start found ready. */
	struct {
		uint64_t count, sum_ns, max_ns;
	} start[PRAAS_STARTS];
};
void praas_life_stats(struct praas_life *life, struct praas_life_stats *ret_stats);
/* What functions did (functions.h): a copy, to be freed. 0; -ENOMEM. */
int praas_life_functions(struct praas_life *life, struct praas_function_row **ret_rows,
			 uint32_t *ret_count);

#endif
