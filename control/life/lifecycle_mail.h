/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to the life cycle: messages between processes as far as they pass the control service. What
 * controllers ask for is worked off by jobs (lifecycle_mail.c); who has to catch up with his queue before
 * he counts as active, and what of it may go, is decided under the lock (lifecycle_behind.c).
 *
 * The decision about a message (control/life/ownership.h) and the one about serving are made under the
 * lock of the life cycle; the commit of what was decided as queued comes after it. So a message counts as
 * there from the decision on: until its commit is done nobody has seen the end of the queue.
 */
#ifndef PRAAS_CONTROL_LIFECYCLE_MAIL_H
#define PRAAS_CONTROL_LIFECYCLE_MAIL_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "control/jobs.h"
#include "control/node/link.h"
#include "control/records/queued.h"

struct praas_life_process;
struct praas_life_waits;
struct praas_mail_request;

struct praas_life_mail {
	/* Of its queue. */
	uint64_t tail,
		trimmed;    /* as the store has them: every change goes through us */
	uint64_t seen;      /* all up to here is applied, as its controller told last */
	uint64_t cut;       /* all up to here may go */
	uint32_t appending; /* changes that were decided and are not committed */
	uint32_t rounds;    /* of catching up */
	/* It has joined, and messages to it are queued until it has caught up. It is active then; or is it already, because
	 * its mailbox is full: it is to be served before it can take more. */
	bool behind;
	bool trimming; /* a request to trim waits */
	/* What its controller asked for, one after the other in that order. */
	struct praas_mail_request *first, *last;
	uint32_t waiting;
	bool working;
	struct praas_job job;
};

/* ---- lifecycle_mail.c ---- */

/* From the link thread, lock held. false: it is not what a controller says, and the connection is to end. */
bool praas_life_on_append(struct praas_life_process *p, uint64_t conn,
			  const json_t *message, struct praas_link_raw *raw);
bool praas_life_on_read(struct praas_life_process *p, uint64_t conn,
			const json_t *message);
/* Lock held: p's queue goes up to p->mail.cut; positions up to seen are taken. Without memory nothing happens. */
void praas_life_mail_trim(struct praas_life_process *p);
void praas_life_mail_lift(struct praas_life_process *p, uint64_t seen);
/* Lock held: jobs refer to it. */
bool praas_life_mail_busy(const struct praas_life_process *p);
/* From a job, no lock: how far the queue is. 0; as the store says. */
int praas_life_mail_load(struct praas_life_process *p);
/* The same, with what the store says; lock held. */
void praas_life_mail_known(struct praas_life_process *p,
			   const struct praas_queue_state *state);
/* Any thread, with the lock or without. text: "BUSY", … */
void praas_life_mail_answer(struct praas_life_process *p, uint64_t conn,
			    const char *type, uint64_t id, const char *text);

/* ---- lifecycle_behind.c; lock held ---- */

/* What join, serve, done and swapped say of a position. false: it cannot be. */
bool praas_life_position(const json_t *message, const char *name,
			 uint64_t *ret_position);
/* p has applied its queue up to seen. Whether that is all, so that it may be active. */
bool praas_life_caught_up(struct praas_life_process *p, uint64_t seen);
/* A swap-out has failed: p is active, or has to catch up first. */
void praas_life_drain_over(struct praas_life_process *p);
/* `serve`. *ret_save: p has become active. false: as praas_life_on_append(). */
bool praas_life_on_serve(struct praas_life_process *p, uint64_t conn,
			 const json_t *message, struct praas_life_waits *done,
			 bool *ret_save);
/* A snapshot was committed that has its queue up to a cut. */
void praas_life_on_cut(struct praas_life_process *p, const json_t *message);
/* Its controller is no more, or another epoch begins. */
void praas_life_mail_forget(struct praas_life_process *p);
/* One that catches up is given more time for it. */
void praas_life_more_time(struct praas_life_process *p);
/* It can be asked to swap out now. */
bool praas_life_can_swap(const struct praas_life_process *p);

#endif
