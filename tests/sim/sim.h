/* SPDX-License-Identifier: Apache-2.0
 *
 * The deterministic simulator (docs/protocols.md, "Simulator"): one virtual clock, one seeded source of
 * randomness, one queue of events. What decides is production code: the machines of activation,
 * swap-out, slot log, catching up and lease in each controller, sender and dedup at both ends of
 * messages, ownership and backup queue behind the control services. What is simulated is the world
 * around them: network, object store, processes that crash and pause.
 *
 * Process FRONT forwards each message that it gets to process BACK; clients send to both.
 */
#ifndef PRAAS_TESTS_SIM_H
#define PRAAS_TESTS_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/life/ownership.h"
#include "control/life/queue.h"
#include "controller/sm_activate.h"
#include "controller/sm_catch_up.h"
#include "controller/sm_lease.h"
#include "controller/sm_move.h"
#include "controller/sm_swap_out.h"
#include "controller/store/slot_cursor.h"
#include "dataplane/dedup.h"
#include "dataplane/sender.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)

#define PROCESSES 2u
#define FRONT 0u
#define BACK 1u
#define CONTROLS 2u
#define CLIENTS 3u
#define INSTANCES 40u
#define NODES (CONTROLS + CLIENTS + INSTANCES)
#define EVENTS_MAX 4096u    /* at once */
#define EVENTS_SEED 100000u /* in all */
#define EFFECTS_MAX 160u
#define MESSAGES_MAX 256u
#define FORWARD 1000u /* content of what FRONT forwards: FORWARD + content */
#define EPOCHS_MAX 128u
#define BATCH 4u
#define WINDOW 4u
#define PUTS_MAX 64u
#define CONNS_MAX 512u
#define PLAN_MAX 40u
#define IDS_MAX 1024u
#define FAULTS_END (10 * SECOND)  /* nothing goes wrong from here on */
#define FINALS_AT (16 * SECOND)   /* messages that must get through */
#define SWAP_ALL_AT (23 * SECOND) /* then all is swapped out */
#define END_AT (30 * SECOND)

struct sim;

/* ---- the plan of a seed: what is asked for, and what goes wrong ---- */

enum plan_kind {
	PLAN_WANT = 0, /* somebody invokes the process */
	PLAN_SWAP,
	PLAN_CHECKPOINT,
	PLAN_CANCEL,
	PLAN_MOVE,
	PLAN_DELETE,
	PLAN_CRASH, /* its controller */
	PLAN_PAUSE, /* its controller, beyond the lease; odd amount: its clock stands still, too */
	PLAN_CRASH_CONTROL,
	PLAN_PAUSE_CONTROL,
	PLAN_CRASH_CLIENT,
	PLAN_BREAK, /* all connections */
	/* windows: from then on, for a while, so many percent */
	PLAN_LOSS,
	PLAN_DELAY, /* of the network, up to 5 s */
	PLAN_DUPLICATE,
	PLAN_STORE_LOST, /* done, and the response is lost */
	PLAN_STORE_ERROR,
	PLAN_STORE_SLOW,
	PLAN_STORE_FULL, /* chunks cannot be written */
	PLAN_MAIL_FULL,  /* messages are refused for a moment */
	PLAN_KINDS
};
extern const char *const plan_names[PLAN_KINDS];

struct plan_entry {
	uint64_t at, length;
	uint8_t kind; /* enum plan_kind */
	uint8_t target;
	uint8_t amount;
	bool off; /* left out by the shrinker */
};

struct plan {
	struct plan_entry entries[PLAN_MAX];
	unsigned count;
};

/* ---- events ---- */

enum event_kind {
	EV_PLAN = 0,
	EV_CLIENT_SEND, /* a client's next message */
	EV_FINALS,
	EV_SWAP_ALL, /* and again, until the end */
	EV_TIMER,    /* of an outbox */
	/* the control service: requests, what it does by itself */
	EV_APPEND,
	EV_QUEUE_READ,
	EV_SERVE,
	EV_RENEW,
	EV_KEPT,      /* a controller goes on: move number a did not come about */
	EV_COMMITTED, /* a controller tells of a SNAP or REL */
	EV_EXITED,    /* a controller has gone */
	EV_TICK,
	EV_CONTROL_LOG, /* the slot log is read for an operation */
	EV_CONTROL_UP,  /* restart */
	/* answers to them, to a sender or a controller */
	EV_APPENDED,
	EV_QUEUE_PART,
	EV_SERVED,
	EV_RENEWED,
	/* a controller */
	EV_SPAWN,
	EV_LOG_OPEN,
	EV_LOAD,
	EV_ASK, /* swap-out, checkpoint or cancel */
	EV_STOP,
	EV_QUIET,
	EV_DRAIN_OVER,
	EV_CUT,
	EV_WRITTEN,
	EV_PUT_AGAIN,
	EV_CATCH_UP_AGAIN,
	EV_RENEW_DUE,
	/* a move: at the source … */
	EV_MOVE_SENT,
	EV_MOVE_TAKEN,
	EV_MOVE_LOST,
	EV_KEEP_AGAIN,
	/* … and at the destination */
	EV_TAKE_STATE,
	EV_TAKE_LOG,
	EV_TAKE_LOADED,
	EV_TAKE_AGAIN,
	EV_TAKE_LATE,
	/* connections */
	EV_CONNECT,
	EV_CONNECTED,
	EV_FRAME,
	EV_ACK,
	EV_CLOSED,
	/* the object store */
	EV_PUT,      /* takes effect */
	EV_PUT_DONE, /* response */
	EV_LOOK,
	EV_KINDS
};

struct item {
	struct praas_seq seq;
	uint32_t content;
};

struct event {
	uint64_t at, order;
	uint16_t kind, node;
	uint16_t from; /* node that is answered */
	uint16_t process;
	uint32_t generation; /* of the node: for no later one; 0: as it is now */
	uint32_t from_generation;
	uint32_t attempt, epoch;
	int32_t rc;
	uint64_t a, b;
	struct praas_seq after;
	uint32_t items_count;
	struct item items[BATCH];
};

/* ---- what there is ---- */

struct node {
	bool alive;
	uint32_t generation;
	uint64_t paused_until;
	uint64_t lag; /* its clock has stood still for so long */
};

/* The sending side of somebody to one process. */
struct outbox {
	struct praas_sender sender;
	struct praas_sender_slot slots[WINDOW];
	uint64_t source, timer_at;
	uint16_t node, dest;
	uint32_t conn; /* + 1 */
};

struct client {
	struct outbox to[PROCESSES];
	uint32_t epoch;
	unsigned left[PROCESSES]; /* messages to send yet */
};

/* What a process has done: its state. */
struct effect {
	uint64_t source;
	struct praas_seq seq;
	uint32_t content;
	uint32_t pad;
};

struct state {
	uint32_t effects_count;
	uint32_t forwarded; /* so many effects have been looked at for forwarding */
	struct effect effects[EFFECTS_MAX];
};

/* What follows the head in the body of a snapshot's entry: effects, dedup table, outbox. */
struct body_head {
	uint32_t effects_count, forwarded;
	uint32_t sources_count, outbox_count;
	uint64_t queue_cut;
	struct praas_seq last, durable; /* of the outbox */
};

/* What an entry on its way into the log is for. */
enum writing { WRITING_COMMIT = 0, WRITING_ACT, WRITING_KEEP, WRITING_TAKE };

struct instance {
	uint16_t process, node;
	uint32_t epoch;
	bool gate_open, admitted, over;
	bool served;    /* it was open */
	bool cut_final; /* what it does from here on is in no snapshot */
	struct praas_activate activate;
	struct praas_swap swap;
	struct praas_catch_up catch_up;
	struct praas_lease lease;
	struct praas_slot_log log;
	struct praas_slot_write write;
	struct praas_slot_entry *entry, *found;
	enum writing writing;
	struct praas_move move; /* as a source: the last one */
	struct praas_take take; /* as a destination */
	uint32_t move_number;   /* of the last move that it was asked for */
	uint32_t move_to;
	bool move_over;                /* it did not come about */
	uint32_t put_attempt, request; /* what is waited for */
	uint64_t cut;                  /* of the queue, of the commit under way */
	bool has_dedup;
	struct praas_seq last, durable; /* of the outbox, as the snapshot has it */
	unsigned restored_count;
	struct item restored[WINDOW];
	struct praas_dedup dedup;
	struct outbox outbox; /* FRONT's, to BACK */
	struct state state;
};

struct conn {
	bool used, broken;
	uint16_t sender_node, dest;
	uint16_t instance_node;
	uint32_t attempt, generation; /* of the sender */
	uint64_t there_at,
		back_at; /* of the last in each direction: they stay in order */
};

struct put {
	bool used, applied;
	uint16_t process;
	uint64_t slot;
	uint32_t bytes;
	int32_t rc;
	uint8_t data[PRAAS_SLOT_HEADER_BYTES + 12288];
};

enum operation { OP_NONE = 0, OP_ACTIVATE, OP_ENDED, OP_DELETE, OP_MOVE };

struct control {
	enum operation op[PROCESSES];
	uint32_t op_epoch[PROCESSES];
	bool op_gone[PROCESSES]; /* the owner was seen to end */
	uint32_t op_attempt[PROCESSES];
	/* Of a delete. */
	struct praas_slot_log log[PROCESSES];
	struct praas_slot_write write[PROCESSES];
	struct praas_slot_entry *entry[PROCESSES], *found;
};

/* What the checker knows of a message. */
enum outcome { OUT_PENDING = 0, OUT_MEMORY, OUT_DURABLE, OUT_FAILED };

struct message {
	uint64_t pushed_at, deadline;
	uint8_t dest, outcome, final;
	uint8_t client;
	uint32_t client_epoch;
	uint32_t acked_epoch;
	int rc;
};

struct process {
	struct praas_store *store;
	struct praas_owner owner;
	struct praas_queue queue;
	uint32_t move_number;        /* of the last move */
	uint32_t asked_epoch, asked; /* the newest request of its owner to be served */
	bool erased, wanted;
	uint64_t erased_at;
	/* of the checker */
	struct state committed;
	uint32_t log_epoch;
	uint8_t log_kind, last_state;
	bool tomb;
	bool released[EPOCHS_MAX]; /* by epoch: it ended with a REL */
	uint32_t moved_to
		[EPOCHS_MAX]; /* by epoch: the one that took over all it had; 0 none */
	bool unclean;         /* an epoch that is in the log ended without */
	bool forward_durable
		[MESSAGES_MAX]; /* acknowledged to FRONT, by content: queued, … */
	uint32_t forward_epoch[MESSAGES_MAX]; /* … in memory of this epoch */
};

struct sim {
	uint64_t seed, random, now, order, hash;
	uint64_t events_run;
	struct plan plan;
	struct node nodes[NODES];
	struct control controls[CONTROLS];
	struct client clients[CLIENTS];
	struct process processes[PROCESSES];
	struct instance instances[INSTANCES];
	unsigned instances_count;
	struct conn conns[CONNS_MAX];
	unsigned conns_count;
	struct put puts[PUTS_MAX];
	struct message messages[MESSAGES_MAX];
	unsigned messages_count;
	struct {
		uint64_t source;
		struct praas_seq seq;
		uint32_t content, used;
	} ids[IDS_MAX];
	struct {
		uint64_t until;
		unsigned percent;
	} windows[PLAN_KINDS];
	struct event *heap;
	unsigned heap_count;
	bool verbose, failed;
	char why[256];
	/* what the campaign adds up, so that it shows that something happens */
	uint64_t commits, fenced, lost, released, queued, direct, moved, refused,
		deleted, gaps, resumed, migrated, kept;
};

/* ---- world.c ---- */
struct sim *sim_new(void);
void sim_free(struct sim *s);
/* Runs one seed with s->plan, from the beginning to the end of time. False: a violation, in why. */
bool sim_run(struct sim *s, uint64_t seed);
uint64_t sim_random(struct sim *s);
/* 0 … below - 1 */
uint64_t sim_below(struct sim *s, uint64_t below);
bool sim_chance(struct sim *s, unsigned percent);
/* It goes wrong now, by a window of the plan. */
bool sim_fault(struct sim *s, enum plan_kind kind);
void sim_violation(struct sim *s, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void sim_trace(const struct sim *s, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* At s->now + delay, to the node as it is now. */
void sim_later(struct sim *s, uint64_t delay, const struct event *e);
/* Over the network: may be lost, late, twice. */
void sim_send(struct sim *s, struct event *e);
uint64_t sim_delay(struct sim *s);
/* To one of the control services. */
void sim_call(struct sim *s, struct event *e);
/* Time as a node sees it. */
uint64_t sim_clock(const struct sim *s, unsigned node);
void sim_stop_node(struct sim *s, unsigned node);

/* ---- plan.c ---- */
void plan_make(struct plan *p, uint64_t seed);
void plan_print(const struct plan *p);
void plan_begin(struct sim *s);
void plan_event(struct sim *s, const struct event *e);
/* Leaves out all that the violation of this seed does not need; returns what is left. */
unsigned plan_shrink(struct sim *s, uint64_t seed);

/* ---- objects.c: the object store ---- */
void objects_put(struct sim *s, unsigned node, unsigned process, uint32_t attempt,
		 const struct praas_slot_log *log,
		 const struct praas_slot_entry *entry);
void objects_look(struct sim *s, unsigned node, unsigned process, uint32_t attempt);
void objects_event(struct sim *s, struct event *e);
int objects_open(struct sim *s, unsigned process, struct praas_slot_log *ret_log);
int objects_read(struct sim *s, const struct praas_slot_log *log, uint64_t slot,
		 struct praas_slot_entry *ret_entry);
struct praas_slot_id objects_id(unsigned process);
void objects_nonce(struct sim *s, struct praas_slot_entry *entry);

/* ---- control.c ---- */
void control_event(struct sim *s, struct event *e);
void control_ask(struct sim *s, unsigned process, enum praas_swap_event_kind what);
void control_delete(struct sim *s, unsigned process);
void control_move(struct sim *s, unsigned process);
void control_step(struct sim *s, unsigned control, unsigned process,
		  struct praas_slot_step step);

/* ---- instance.c: a controller, what it accepts; instance_life.c: its activation and swaps ---- */
struct instance *instance_of(struct sim *s, unsigned node);
struct instance *instance_find(struct sim *s, unsigned process, uint32_t epoch);
struct instance *instance_spawn(struct sim *s, unsigned process, uint32_t epoch);
void instance_event(struct sim *s, struct event *e);
void instance_exit(struct sim *s, struct instance *x, bool clean);
/* An event of its own, later. */
void instance_self(struct sim *s, const struct instance *x, uint64_t delay,
		   enum event_kind kind);
struct event instance_request(const struct instance *x, enum event_kind kind);
/* Catches up from where it is. */
void instance_catch_up(struct sim *s, struct instance *x, uint64_t position);
void instance_stop_catching_up(struct sim *s, struct instance *x);
void life_activate(struct sim *s, struct instance *x, struct praas_activate_event e);
void life_event(struct sim *s, struct instance *x, const struct event *e);
void life_admitted(struct sim *s, struct instance *x, int rc);
void life_swap(struct sim *s, struct instance *x, struct praas_swap_event e);
/* x->entry into the log, for that. */
void life_write(struct sim *s, struct instance *x, enum writing what);
int life_restore(struct instance *x, const struct praas_slot_entry *e);
void life_serve(struct sim *s, struct instance *x, bool clean);

/* ---- instance_move.c: a controller that hands its process over, and one that takes it ---- */
/* The control service asks for a move. */
void move_ask(struct sim *s, struct instance *x, uint32_t number, uint32_t to);
void move_hand_over(struct sim *s, struct instance *x);
void move_hand_off(struct sim *s, struct instance *x);
/* It ends in rc, by the swap machine. */
void move_answered(struct sim *s, struct instance *x, int rc);
void move_written(struct sim *s, struct instance *x, int rc);
void move_event(struct sim *s, struct instance *x, const struct event *e);
void take_begin(struct sim *s, struct instance *x);

/* ---- outbox.c: senders, clients, connections ---- */
int outbox_init(struct outbox *o, unsigned node, unsigned dest, uint64_t source,
		uint32_t epoch);
void outbox_pump(struct sim *s, struct outbox *o);
void outbox_event(struct sim *s, struct event *e);
void outbox_break(struct sim *s, unsigned process);
void client_begin(struct sim *s, unsigned client, uint32_t epoch);
void client_event(struct sim *s, struct event *e);
void client_send(struct sim *s, unsigned client, unsigned dest, bool final);
void outbox_forward(struct sim *s, struct instance *x);

/* ---- check.c ---- */
void check_done(struct sim *s, const struct outbox *o,
		const struct praas_sender_action *a);
void check_accept(struct sim *s, const struct instance *x, uint64_t source,
		  const struct item *item, bool queued);
void check_queued(struct sim *s, unsigned process);
void check_fenced(struct sim *s, unsigned process, uint32_t epoch);
/* A source serves on; a destination serves. */
void check_kept(struct sim *s, const struct instance *x);
void check_taken(struct sim *s, const struct instance *x);
void check_landed(struct sim *s, unsigned process,
		  const struct praas_slot_entry *entry);
void check_owner(struct sim *s, unsigned process);
void check_end(struct sim *s);

/* ---- check_life.c ---- */
bool check_life(unsigned from, unsigned to);

#endif
