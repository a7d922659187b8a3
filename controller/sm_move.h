/* SPDX-License-Identifier: Apache-2.0
 *
 * A process moves from the controller of epoch e to that of epoch e' (docs/protocols.md, "Moving"). Pure: events
 * in, actions out, no clock. Slot n of its log, the source's next one, decides alone: ACT(e') there, by the
 * destination, is the commit; KEEP(e), by the source, calls the move off. Who does not get slot n has lost: a
 * destination ends, a source is fenced.
 *
 *   source:      all is still (sm_swap_out.h) → sent → the destination has taken it → exit
 *                                                 └─ or not: KEEP(e) → serve on
 *   destination: all has come, slot n is free → loaded, every value checked → ACT(e') in slot n → serve
 *
 * As long as its last part has not been sent nobody can take the process, and the source goes on without KEEP.
 */
#ifndef PRAAS_CONTROLLER_SM_MOVE_H
#define PRAAS_CONTROLLER_SM_MOVE_H

#include <stdbool.h>
#include <stdint.h>

/* ---- the source ---- */

enum praas_move_event_kind {
	PRAAS_MOVE_START = 1, /* epoch: e' */
	PRAAS_MOVE_SENT,      /* rc: 0, or the last part has not left */
	PRAAS_MOVE_TAKEN,     /* the destination says that its ACT is in */
	PRAAS_MOVE_LOST, /* rc: it has gone, cannot, was waited for long enough, or is not wanted any more */
	PRAAS_MOVE_KEEP_DONE /* rc: 0; -ESTALE, then epoch: of the entry that is there; other: not, or not
			      * known */
};

struct praas_move_event {
	enum praas_move_event_kind kind;
	int rc;
	uint32_t epoch;
};

enum praas_move_action_kind {
	PRAAS_MOVE_SEND = 1, /* everything → SENT */
	PRAAS_MOVE_KEEP, /* KEEP at the cursor, the same entry in every try → KEEP_DONE */
	PRAAS_MOVE_DONE /* rc: 0 it lives in e'; -ESTALE another epoch goes on; other: it is ours, and why */
};

struct praas_move_action {
	enum praas_move_action_kind kind;
	int rc;
};

enum praas_move_phase {
	PRAAS_MOVE_NONE = 0,
	PRAAS_MOVE_SENDING,
	PRAAS_MOVE_DECIDING, /* the destination may put its ACT at any time */
	PRAAS_MOVE_KEEPING,
	PRAAS_MOVE_OVER
};

struct praas_move {
	enum praas_move_phase phase;
	uint32_t to;
	int rc; /* why it is called off; 0: it is not */
};

/* Zeroed memory is the beginning, of each move. true: there is an action. */
bool praas_move_step(struct praas_move *m, const struct praas_move_event *event,
		     struct praas_move_action *ret_action);

/* ---- the destination ---- */

enum praas_take_event_kind {
	PRAAS_TAKE_START = 1, /* epoch: e' */
	PRAAS_TAKE_STATE,     /* rc; slot: n, epoch: e. All of it has come, whole */
	PRAAS_TAKE_LOG_READ, /* rc, epoch: highest in the log, tomb, slot: its next one */
	PRAAS_TAKE_LOADED,   /* rc */
	PRAAS_TAKE_ACT_PUT   /* rc: 0, -ESTALE lost, -EIO not known, other: not done */
};

struct praas_take_event {
	enum praas_take_event_kind kind;
	int rc;
	uint32_t epoch;
	uint64_t slot;
	bool tomb;
};

enum praas_take_action_kind {
	PRAAS_TAKE_READ_LOG = 1, /* → LOG_READ */
	PRAAS_TAKE_LOAD,         /* → LOADED */
	PRAAS_TAKE_PUT_ACT, /* at the cursor only, the same entry in every try → ACT_PUT */
	PRAAS_TAKE_SERVE, /* it is ours: open the gate, tell the source, commits are allowed */
	PRAAS_TAKE_FAIL /* rc: -ESTALE lost, other; it ends, nothing follows */
};

struct praas_take_action {
	enum praas_take_action_kind kind;
	int rc;
	bool again; /* PUT_ACT: the try before may have succeeded */
};

enum praas_take_phase {
	PRAAS_TAKE_NONE = 0,
	PRAAS_TAKE_WAITING, /* for the state */
	PRAAS_TAKE_READING,
	PRAAS_TAKE_LOADING,
	PRAAS_TAKE_PUTTING,
	PRAAS_TAKE_TAKEN,
	PRAAS_TAKE_FAILED
};

struct praas_take {
	enum praas_take_phase phase;
	uint32_t epoch; /* e' */
	uint32_t from;  /* e */
	uint64_t slot;  /* n */
};

/* As praas_move_step(). */
bool praas_take_step(struct praas_take *t, const struct praas_take_event *event,
		     struct praas_take_action *ret_action);

#endif
