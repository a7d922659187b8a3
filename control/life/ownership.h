/* SPDX-License-Identifier: Apache-2.0
 *
 * Who owns a process, and where messages to it go: the transitions of its record, each to be made
 * in one transaction of the store that holds record and backup queue (docs/protocols.md). Pure: they
 * change the record or say why not, and know no store and no clock.
 *
 *   SWAPPED, LOST, KILLED ──activate──▶ ACTIVATING(e) ──serve, tail seen──▶ ACTIVE(e)
 *        ▲        ▲                        │ ended                     serve ▲  │ drain
 *        │        └────────────────────────┴── ended: as the log says ──┐    │  ▼
 *        └──────────────────────── release: REL(e) is in the log ───── DRAINING(e)
 *
 *   ACTIVE(e) ──move──▶ MIGRATING(e→e') ──ACT(e') is in the log: moved, or serve(e')──▶ ACTIVATING(e')
 *                          └── kept: KEEP(e) is in the log, or e says that nobody can take it ──▶ DRAINING(e)
 *
 *   any ──delete──▶ DELETING ──TOMB is in the log, owner gone──▶ no record
 *
 * The slot log decides what is true; a record follows it, and may be late.
 */
#ifndef PRAAS_CONTROL_OWNERSHIP_H
#define PRAAS_CONTROL_OWNERSHIP_H

#include <stdbool.h>
#include <stdint.h>

#include "control/records/records.h"

/* From then on appends are refused for a moment, so that an activation catches up. */
#define PRAAS_OWNER_ROUNDS 8u

struct praas_owner {
	uint8_t state;  /* enum praas_life_state */
	bool behind;    /* it serves, but messages are queued until it has caught up */
	uint8_t rest;   /* of a resting state: what a failed activation goes back to */
	uint32_t epoch; /* of the owner, or the last one; 0 none yet */
	uint32_t
		to; /* the last that a destination of a move was given; 0: none, or it is not known any more */
	uint32_t rounds;   /* of catching up, of this activation */
	uint64_t lease_ns; /* the owner may serve until then, by our clock; 0: none */
};

/* What the slot log says. */
struct praas_owner_log {
	uint32_t epoch; /* highest; 0: empty */
	bool released;  /* its last entry is a REL or a BACK */
	bool tomb;
};

enum praas_owner_path {
	PRAAS_OWNER_QUEUED = 1, /* append it to the queue, in the same transaction */
	PRAAS_OWNER_MOVED,      /* the process serves as owner->epoch: send it there */
	PRAAS_OWNER_BUSY,       /* an activation catches up: again in a moment */
	PRAAS_OWNER_GONE        /* it is deleted */
};

/* Where a message goes. */
enum praas_owner_path praas_owner_append(const struct praas_owner *o);

/* The epoch of the next owner: above all that were ever given out or wrote. */
uint32_t praas_owner_next_epoch(const struct praas_owner *o,
				const struct praas_owner_log *log);

/* A resting process gets an owner. 0 and *ret_epoch; -EBUSY it has one; -ENOENT deleted. */
int praas_owner_activate(struct praas_owner *o, const struct praas_owner_log *log,
			 uint64_t lease_ns, uint32_t *ret_epoch);

/* Epoch e has applied the queue up to seen; tail is its last message. 0: it is active (said again
 * when it was); -EAGAIN read on; -EBUSY it moves: praas_owner_kept() comes first; -ESTALE its time is over. */
int praas_owner_serve(struct praas_owner *o, uint32_t epoch, uint64_t seen,
		      uint64_t tail, uint64_t lease_ns);

/* The same of one that cannot take more of its queue before it is served: its mailbox is full. 0: it is active, and messages
 * to it are queued until praas_owner_serve(); -ESTALE. */
int praas_owner_open(struct praas_owner *o, uint32_t epoch, uint64_t seen,
		     uint64_t tail, uint64_t lease_ns);

/* 0; -ESTALE another owns it, or none does. */
int praas_owner_renew(struct praas_owner *o, uint32_t epoch, uint64_t lease_ns);

/* The owner is asked to swap out; from here on messages are queued. 0; -EBUSY not active. */
int praas_owner_drain(struct praas_owner *o);

/* The owner is asked to hand over to epoch o->to, a new one; from here on messages are queued. 0; -EBUSY not
 * active, or behind. */
int praas_owner_move(struct praas_owner *o);
/* ACT(epoch) is in the log: the record follows. 0; -ESTALE it is not the destination of a move. */
int praas_owner_moved(struct praas_owner *o, uint32_t epoch, uint64_t lease_ns);
/* The move was called off: epoch is what it was, and catches up. 0; -ESTALE. */
int praas_owner_kept(struct praas_owner *o, uint32_t epoch);

/* REL(e) is in the log. 0; -ESTALE: known already, or of an earlier owner. */
int praas_owner_release(struct praas_owner *o, uint32_t epoch);

/* The owner of epoch e has gone (seen to end), or its lease is over; log: read after that. Of one that moves: it
 * is the destination's, when ACT(e') is in; else it is lost, and a destination that comes later too. 0; -EBUSY
 * it was renewed meanwhile; -ESTALE. */
int praas_owner_ended(struct praas_owner *o, uint32_t epoch,
		      const struct praas_owner_log *log, bool gone, uint64_t now_ns);

/* 0, also when it is on its way. */
int praas_owner_delete(struct praas_owner *o);

/* The record may go: the tombstone is in the log and nobody serves any more. gone: the owner was
 * seen to end; else its lease has to be over. 0; -EBUSY. */
int praas_owner_erase(const struct praas_owner *o, const struct praas_owner_log *log,
		      bool gone, uint64_t now_ns);

/* A resting process, for which an activation is due as soon as there is demand. */
bool praas_owner_resting(const struct praas_owner *o);

#endif
