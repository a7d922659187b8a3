/* SPDX-License-Identifier: Apache-2.0
 *
 * Swap-out and checkpoint (docs/protocols.md). Pure: events in, actions out, no clock.
 *
 *   swap-out:   gate closed → running functions end, or are interrupted after T_drain → cut →
 *               chunks written → REL(e) in the slot log: the commit → exit
 *   checkpoint: cut while serving → chunks written → SNAP(e) → serve on
 *   move:       as a swap-out up to the cut, which is then handed over (sm_move.h) → exit, or serve on
 *
 * Before the commit a drain can be called off, and a failed write calls it off by itself: the gate
 * opens again and nothing was lost. Once the entry may be in the log (its put failed without telling)
 * there is no way back: it is put again until the outcome is known.
 */
#ifndef PRAAS_CONTROLLER_SM_SWAP_OUT_H
#define PRAAS_CONTROLLER_SM_SWAP_OUT_H

#include <stdbool.h>
#include <stdint.h>

enum praas_swap_event_kind {
	PRAAS_SWAP_SETTLED = 1, /* ACT is in: commits are allowed */
	PRAAS_SWAP_ASK_SWAP,    /* id: of the request, 0 for a signal */
	PRAAS_SWAP_ASK_CHECKPOINT,
	PRAAS_SWAP_ASK_MOVE,
	PRAAS_SWAP_ASK_CANCEL, /* new demand: go on serving if that is still possible */
	PRAAS_SWAP_QUIET,      /* nothing runs, nothing is queued */
	PRAAS_SWAP_TIMEOUT,    /* T_drain is over */
	PRAAS_SWAP_CUT_DONE,   /* rc */
	PRAAS_SWAP_WRITTEN,    /* rc */
	PRAAS_SWAP_PUT_DONE, /* rc: 0, -ESTALE fenced, -EIO not known, other: not done */
	PRAAS_SWAP_HANDED /* rc: 0 it lives elsewhere, -ESTALE fenced, other: it is ours still */
};

struct praas_swap_event {
	enum praas_swap_event_kind kind;
	int rc;
	uint64_t id; /* of a request */
};

enum praas_swap_action_kind {
	PRAAS_SWAP_CLOSE_GATE = 1, /* and stop catching up with the backup queue */
	PRAAS_SWAP_OPEN_GATE,      /* and catch up with what was queued meanwhile */
	PRAAS_SWAP_WAIT_QUIET,     /* → QUIET; or TIMEOUT after T_drain */
	PRAAS_SWAP_INTERRUPT,      /* end what runs → QUIET */
	PRAAS_SWAP_CUT, /* collect what is to be written → CUT_DONE; when the gate is
				* closed, nothing is sent from here on until it opens */
	PRAAS_SWAP_WRITE, /* chunks and manifest → WRITTEN */
	PRAAS_SWAP_PUT, /* REL (final) or SNAP, the same entry in every try → PUT_DONE */
	PRAAS_SWAP_HAND_OVER, /* give the cut to the destination → HANDED */
	PRAAS_SWAP_HAND_OFF,  /* let that fail, if it is not too late */
	PRAAS_SWAP_DROP,      /* forget the cut */
	PRAAS_SWAP_ANSWER,    /* id, rc: the outcome of a request */
	PRAAS_SWAP_EXIT, /* rc 0: committed, or moved; -ESTALE: fenced, another epoch goes on */
};

struct praas_swap_action {
	enum praas_swap_action_kind kind;
	bool final; /* PUT: REL */
	int rc;
	uint64_t id;
};

#define PRAAS_SWAP_ACTIONS_MAX 4u

enum praas_swap_phase {
	PRAAS_SWAP_STARTING = 0, /* ACT not in yet; one request is kept */
	PRAAS_SWAP_SERVING,
	PRAAS_SWAP_DRAINING,     /* gate closed, functions run */
	PRAAS_SWAP_INTERRUPTING, /* T_drain is over */
	PRAAS_SWAP_CUTTING,
	PRAAS_SWAP_WRITING,
	PRAAS_SWAP_COMMITTING,
	PRAAS_SWAP_HANDING,
	PRAAS_SWAP_OVER
};

struct praas_swap {
	enum praas_swap_phase phase;
	bool final;      /* what is under way is a swap-out, or a move */
	bool moving;     /* it is a move */
	bool cancelled;  /* and it was called off meanwhile */
	bool unknown;    /* the entry may be in the log */
	uint64_t id;     /* of the request under way */
	bool next_final; /* a swap-out waits for the checkpoint under way, or for ACT */
	bool next_moving; /* or a move does */
	uint64_t next_id;
};

/* Returns the number of actions. Requests that cannot be taken now are answered -EBUSY. Zeroed
 * memory is the beginning. */
unsigned praas_swap_step(struct praas_swap *s, const struct praas_swap_event *event,
			 struct praas_swap_action ret_actions[]);

#endif
