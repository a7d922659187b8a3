/* SPDX-License-Identifier: Apache-2.0
 *
 * Triggers: inputs in, invocations out (paper, table 3). Pure: no clock, no I/O, no memory after
 * init. *Standard*: each input runs at once (the process does not even ask here).
 * *Multi-source*: N inputs with the same key run together. *Batch*: N inputs with any key. With a
 * timeout, what has come by then runs as it is; without one, inputs wait for as long as it takes.
 *
 * Each input is an invocation that waits (so it can be cancelled, has a deadline, is remembered
 * under its id); when they fire, the first one *leads*: it runs with all inputs, and the others
 * are joined to it and get its result; so do those that were joined to them in a stage before.
 */
#ifndef PRAAS_DATAPLANE_TRIGGER_H
#define PRAAS_DATAPLANE_TRIGGER_H

#include <stdint.h>

#include "dataplane/executor.h"
#include "dataplane/invocation.h"

/* Inputs of one function that wait for more. */
struct praas_accumulator {
	struct praas_timer timer; /* when it fires with what it has */
	struct praas_invocation *first, *last;
	uint64_t key_hash;
	uint32_t next; /* of the hash chain or free list, index + 1 */
	uint32_t count;
	uint16_t function;
	uint8_t key_bytes; /* 0: any key */
	char key[PRAAS_KEY_MAX];
};

/* The inputs of an invocation that runs with several. */
struct praas_join {
	struct praas_join *next; /* free list */
	struct praas_buf *inputs[PRAAS_INPUTS_MAX];
};

struct praas_triggers {
	const struct praas_function *functions;
	struct praas_accumulator *accumulators;
	struct praas_join *joins, *free_joins;
	uint32_t *buckets;
	uint32_t mask, count, free;
	uint32_t joins_made; /* of count; the others were never used */
	uint32_t waiting;    /* inputs that wait for more */
};

/* 0; -ENOMEM; -EINVAL a function's count is not in 1 … PRAAS_INPUTS_MAX. */
int praas_triggers_init(struct praas_triggers *t,
			const struct praas_function *functions,
			uint32_t functions_count, uint32_t invocations_max);
void praas_triggers_release(struct praas_triggers *t);

/**
 * inv (inputs_count 1, its buffer's key) is an input of a function whose trigger is not
 * standard. *ret_fired: the leader to run now, or NULL: inv waits (inv->trigger says where).
 * *ret_armed: an accumulator whose timer is to be armed (deadline_ns is set), or NULL; with a leader: disarmed.
 * The leader's deadline is the last one of all from then on (0: one has none): it runs for all of them.
 */
void praas_triggers_put(struct praas_triggers *t, struct praas_invocation *inv,
			uint64_t key_hash, uint64_t now_ns,
			struct praas_invocation **ret_fired,
			struct praas_accumulator **ret_armed);
/* The time of an accumulator has come: returns the leader. */
struct praas_invocation *praas_triggers_expire(struct praas_triggers *t,
					       struct praas_accumulator *a);
/* A waiting input gives up. Returns the accumulator when it is empty now (its timer is to be
 * disarmed before anything else is asked here), else NULL. */
struct praas_accumulator *praas_triggers_remove(struct praas_triggers *t,
						struct praas_invocation *inv);
/* The leader has ended: its inputs are released. */
void praas_triggers_done(struct praas_triggers *t, struct praas_invocation *leader);
/* What waits under that key; NULL. */
struct praas_accumulator *praas_triggers_find(struct praas_triggers *t,
					      uint16_t function, uint64_t key_hash,
					      const char *key, uint8_t key_bytes);

/* Non-zero ends the walk. */
struct praas_triggers_visitor {
	/* Every input, in the order of arrival within its accumulator. */
	int (*input)(void *user, const struct praas_invocation *inv);
	/* Behind them: the accumulator. */
	int (*end)(void *user, const struct praas_accumulator *a);
	void *user;
};
int praas_triggers_each(const struct praas_triggers *t,
			const struct praas_triggers_visitor *v);

#endif
