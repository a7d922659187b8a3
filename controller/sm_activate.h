/* SPDX-License-Identifier: Apache-2.0
 *
 * Activation of an epoch (docs/protocols.md): read the slot log, put ACT(e) while the last snapshot
 * is loaded, load again when another snapshot slipped in before ACT, serve. Pure: events in, actions out;
 * whoever drives it does what they say and reports.
 *
 * With a backup queue, serving begins by catching up with it (sm_catch_up.h). The gate is open meanwhile, so
 * that who finds the process recorded as active finds it open: what comes directly names its predecessor,
 * and is refused while that waits in the queue.
 *
 * A process that has never lived serves at once; its ACT is put meanwhile, and nothing is committed before it
 * is in.
 */
#ifndef PRAAS_CONTROLLER_SM_ACTIVATE_H
#define PRAAS_CONTROLLER_SM_ACTIVATE_H

#include <stdbool.h>
#include <stdint.h>

enum praas_activate_event_kind {
	PRAAS_ACTIVATE_START = 1, /* epoch */
	PRAAS_ACTIVATE_LOG_READ,  /* rc, epoch, tomb, slot */
	PRAAS_ACTIVATE_ACT_PUT, /* rc, slot: of the last snapshot before our ACT, act_slot */
	PRAAS_ACTIVATE_LOADED /* rc, released, whole */
};

struct praas_activate_event {
	enum praas_activate_event_kind kind;
	int rc;         /* of the action that it reports */
	uint32_t epoch; /* START: ours; LOG_READ: the highest in the log, 0 none */
	bool tomb;
	bool released; /* LOADED: a REL, the last act of its epoch */
	bool whole; /* LOADED: all that anybody has seen of the epoch before ours, which a log says */
	bool act_first; /* START: what is loaded is not known before our ACT is in (a log is read then). There is a
			 * LOAD in any case */
	uint64_t slot;  /* of the last snapshot; PRAAS_SLOT_NONE */
	uint64_t act_slot;
};

enum praas_activate_action_kind {
	PRAAS_ACTIVATE_READ_LOG = 1, /* → LOG_READ */
	PRAAS_ACTIVATE_PUT_ACT,      /* → ACT_PUT */
	PRAAS_ACTIVATE_LOAD, /* slot (act_first: or none) → LOADED; forget what an earlier LOAD brought */
	PRAAS_ACTIVATE_SERVE,   /* open the gate; at most once */
	PRAAS_ACTIVATE_SETTLED, /* ACT is in and all is loaded: commits are allowed */
	PRAAS_ACTIVATE_FAIL /* rc: -ESTALE fenced, -EIDRM deleted, -EBADMSG snapshot, other;
				      * nothing follows */
};

struct praas_activate_action {
	enum praas_activate_action_kind kind;
	bool clean; /* SERVE: nobody has seen anything that is not in what was loaded */
	uint64_t slot;
	int rc;
};

#define PRAAS_ACTIVATE_ACTIONS_MAX 3u

struct praas_activate {
	uint32_t epoch;
	uint8_t phase; /* private */
	bool act_first, act_put, loading, loaded, serving;
	uint64_t loaded_slot; /* of the snapshot that is, or is being, loaded */
	uint64_t wanted_slot;
	uint64_t act_slot;
	bool released; /* what is loaded is a REL */
	bool whole;
};

/* Returns the number of actions. An event that cannot be (a report of what was not asked for) is
 * ignored. Zeroed memory is the beginning. */
unsigned praas_activate_step(struct praas_activate *a,
			     const struct praas_activate_event *event,
			     struct praas_activate_action ret_actions[]);

#endif
