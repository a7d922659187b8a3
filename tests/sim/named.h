/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator of named snapshots, rollback and fork (docs/protocols.md, "Named snapshots"): controllers, one
 * epoch after the other and sometimes two at once, and a control service that gives and takes names, puts
 * snapshots back and forks, share one object store. Each runs production code as it is (named.c, named_set.c,
 * refs.c, slot_log.c, snapshot*.c, control/life/back.c) as a coroutine that stands still before every
 * operation of the store: which one goes on, which operation fails, loses its answer or is the last before a
 * crash, the seed says.
 */
#ifndef PRAAS_TESTS_SIM_NAMED_H
#define PRAAS_TESTS_SIM_NAMED_H

#include <stdbool.h>
#include <stdint.h>
#include <ucontext.h>

#include "control/life/back.h"
#include "controller/snapshot.h"
#include "controller/store/named.h"

#define KEYS 5u
#define SLOTS_MAX 256u
#define NAMES 4u
#define FORKS 3u
#define ACTORS 6u
#define STEPS_MAX 60000u

enum fault {
	FAULT_ERROR = 1, /* an operation fails before it is done, … */
	FAULT_LOST = 2,  /* … or after */
	FAULT_FULL = 4,
	FAULT_CRASH = 8,    /* of a controller */
	FAULT_CONTROL = 16, /* of the control service */
	FAULT_ZOMBIE = 32,  /* a controller is taken for gone, and goes on */
	FAULT_ALL = 63
};
#define FAULT_KINDS 6u

/* What a process has: the value of each key, 0: none; and letters in its mailbox. */
struct content {
	uint32_t values[KEYS];
	uint32_t letters;
};

enum job { JOB_CONTROLLER, JOB_GIVE, JOB_TAKE, JOB_BACK, JOB_FORK };

struct world;

struct actor {
	ucontext_t context;
	uint8_t *stack;
	void *fiber; /* what ThreadSanitizer knows it by; NULL: there is none */
	struct world *world;
	enum job job;
	bool alive, dead; /* dead: what it does has no effect any more */
	uint32_t epoch;
	struct content pending; /* of the entry that it is about to put */
	unsigned landed;        /* entries of its own that are in the log */
	uint64_t base;          /* last snapshot when its ACT landed */
	unsigned name;
	bool last; /* a fork of the last snapshot */
};

/* What the checker knows of an entry of the log. */
struct landed {
	uint32_t epoch;
	uint8_t kind;
	struct content content;
	struct praas_refs refs;
};

struct name {
	bool acked; /* the service has said so, and nobody asked to take it since */
	bool there; /* its object is in the store */
	uint64_t slot;
};

/* A store of one process, its operations cut into steps; and the truth about it. */
struct sim_store {
	struct praas_store base;
	struct praas_store *inner;
	struct world *world;
	struct praas_slot_id id;
	struct landed slots[SLOTS_MAX];
	uint64_t count;
	uint64_t last, previous; /* snapshots; PRAAS_SLOT_NONE */
};

struct world {
	uint64_t random, hash, seed;
	unsigned faults;  /* that there are */
	unsigned trouble; /* per mille of writes that fail */
	bool faulty;      /* … now */
	bool verbose, failed, swap_wanted;
	bool back_wanted; /* it is to rest for a rollback */
	bool tidy;        /* who serves sweeps, and no more */
	char why[256];
	ucontext_t main;
	void *main_fiber;
	struct actor actors[ACTORS];
	struct actor *current;
	unsigned steps, budget; /* so many until others are asked */
	struct sim_store process;
	struct name names[NAMES];
	struct sim_store forks[FORKS];
	struct content fork_content[FORKS];
	unsigned forks_count;
	uint32_t epoch; /* the record's */
	bool resting;
	uint32_t values; /* given so far */
	/* what the campaign adds up */
	uint64_t commits, gives, takes, backs, forked, refused, swept, fenced, crashes;
};

/* ---- named.c ---- */
/* From the beginning to the end of what it does. */
void actor_run(struct world *w, struct actor *a);

/* ---- named_world.c ---- */
/* Stacks; one world in a program. */
bool world_begin(struct world *w);
void world_end(struct world *w);
/* One seed, with those faults, from the beginning to the end. False: a violation, in why. */
bool world_run(struct world *w, uint64_t seed, unsigned faults);

/* ---- named_store.c ---- */
bool sim_store_open(struct world *w, struct sim_store *s, uint64_t pid);
void sim_store_close(struct sim_store *s);
/* What a snapshot has. 0; or why it cannot be read. back: as after a rollback. */
int sim_store_content(struct praas_store *store, const struct praas_slot_id *id,
		      uint64_t slot, struct content *ret_content);
/* The end: every object is needed by somebody. */
void sim_store_check_garbage(struct world *w, struct sim_store *s);
/* Of its keys that are there, by the object. */
void name_text(unsigned name, char ret_text[8]);
int add_records(struct praas_snapshot *snapshot, const struct content *c,
		uint8_t values[KEYS][1024]);

uint64_t world_random(struct world *w);
uint64_t world_below(struct world *w, uint64_t below);
void world_mix(struct world *w, uint64_t x);
void world_violation(struct world *w, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void world_trace(const struct world *w, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The current actor stands still until it is its turn. */
void world_yield(struct world *w);

#endif
