/* SPDX-License-Identifier: Apache-2.0
 *
 * A move: the shells around its two machines. What the source hands over is the body of the snapshot that it would
 * have written; the connection between the two is the network, so it may be lost, late, or come twice.
 */
#include <errno.h>
#include <string.h>

#include "tests/sim/sim.h"

#define PATIENCE SECOND            /* of a source for the destination's word */
#define PATIENCE_TAKE (4 * SECOND) /* of a destination for the state */

static void move(struct sim *s, struct instance *x, struct praas_move_event e);
static void take(struct sim *s, struct instance *x, struct praas_take_event e);

/* ---- the source ---- */

void move_ask(struct sim *s, struct instance *x, uint32_t number, uint32_t to)
{
	struct event kept = instance_request(x, EV_KEPT);

	if (number < x->move_number)
		return;
	if (number == x->move_number) { /* asked again: its answer may be lost */
		kept.a = number;
		if (x->move_over)
			sim_call(s, &kept);
		return;
	}
	x->move_number = number;
	x->move_to = to;
	x->move_over = false;
	life_swap(s, x,
		  (struct praas_swap_event){ .kind = PRAAS_SWAP_ASK_MOVE,
					     .id = 1000 + number });
}

void move_answered(struct sim *s, struct instance *x, int rc)
{
	struct event e = instance_request(x, EV_KEPT);

	if (rc == 0 || rc == -ESTALE)
		return; /* it ends */
	s->kept++;
	x->move_over = true;
	e.a = x->move_number;
	sim_call(s, &e);
}

static struct instance *destination(struct sim *s, const struct instance *x)
{
	struct instance *d = instance_find(s, x->process, x->move_to);

	return d && d->take.phase != PRAAS_TAKE_NONE && !d->over ? d : NULL;
}

static void send_state(struct sim *s, struct instance *x)
{
	struct instance *d = destination(s, x);
	struct event e = { .kind = EV_TAKE_STATE,
			   .epoch = x->epoch,
			   .a = x->log.cursor };
	bool broken = sim_fault(s, PLAN_STORE_FULL); /* before its end */

	e.attempt = x->move_number;
	if (d && !broken) {
		*d->found = *x->entry;
		e.node = d->node;
		sim_send(s, &e);
	}
	e = instance_request(x, EV_MOVE_LOST);
	e.attempt = x->move_number;
	sim_later(s, PATIENCE, &e);
	e.kind = EV_MOVE_SENT;
	e.rc = broken ? -EPIPE : 0;
	sim_later(s, MS + sim_below(s, 50) * MS, &e);
}

static void begin_keep(struct sim *s, struct instance *x, bool again)
{
	if (again) {
		instance_self(s, x, 50 * MS + sim_below(s, 500) * MS, EV_KEEP_AGAIN);
		return;
	}
	x->entry->epoch = x->epoch;
	x->entry->kind = PRAAS_SLOT_KEEP;
	x->entry->body_bytes = 0;
	objects_nonce(s, x->entry);
	life_write(s, x, WRITING_KEEP);
}

static void move(struct sim *s, struct instance *x, struct praas_move_event e)
{
	bool again = x->move.phase == PRAAS_MOVE_KEEPING;
	struct praas_move_action a;

	if (!praas_move_step(&x->move, &e, &a))
		return;
	switch (a.kind) {
	case PRAAS_MOVE_SEND:
		send_state(s, x);
		break;
	case PRAAS_MOVE_KEEP:
		begin_keep(s, x, again);
		break;
	case PRAAS_MOVE_DONE:
		sim_trace(s, "process %u: controller %u: move %u ends in %d",
			  x->process, x->epoch, x->move_number, a.rc);
		life_swap(s, x,
			  (struct praas_swap_event){ .kind = PRAAS_SWAP_HANDED,
						     .rc = a.rc });
		break;
	}
}

void move_hand_over(struct sim *s, struct instance *x)
{
	x->move = (struct praas_move){ .phase = PRAAS_MOVE_NONE };
	move(s, x,
	     (struct praas_move_event){ .kind = PRAAS_MOVE_START,
					.epoch = x->move_to });
}

void move_hand_off(struct sim *s, struct instance *x)
{
	move(s, x,
	     (struct praas_move_event){ .kind = PRAAS_MOVE_LOST, .rc = -ECANCELED });
}

/* ---- the destination ---- */

void take_begin(struct sim *s, struct instance *x)
{
	take(s, x,
	     (struct praas_take_event){ .kind = PRAAS_TAKE_START, .epoch = x->epoch });
	instance_self(s, x, PATIENCE_TAKE, EV_TAKE_LATE);
}

static void put_act(struct sim *s, struct instance *x, bool again)
{
	if (again) {
		instance_self(s, x, 50 * MS + sim_below(s, 500) * MS, EV_TAKE_AGAIN);
		return;
	}
	x->entry->epoch = x->epoch;
	x->entry->kind = PRAAS_SLOT_ACT;
	x->entry->body_bytes = 0;
	objects_nonce(s, x->entry);
	life_write(s, x, WRITING_TAKE);
}

static void serve(struct sim *s, struct instance *x)
{
	struct instance *source = instance_find(s, x->process, x->take.from);
	struct event taken = { .kind = EV_MOVE_TAKEN, .epoch = x->epoch };

	s->migrated++;
	check_taken(s, x);
	instance_self(s, x, 0, EV_RENEW_DUE);
	life_serve(s, x, true);
	instance_catch_up(s, x, x->catch_up.position);
	life_swap(s, x, (struct praas_swap_event){ .kind = PRAAS_SWAP_SETTLED });
	taken.node = source->node;
	if (!source->over)
		sim_send(s, &taken);
}

static void take(struct sim *s, struct instance *x, struct praas_take_event e)
{
	struct praas_take_action a;

	if (!praas_take_step(&x->take, &e, &a))
		return;
	switch (a.kind) {
	case PRAAS_TAKE_READ_LOG:
		instance_self(s, x, MS + sim_below(s, 30) * MS, EV_TAKE_LOG);
		break;
	case PRAAS_TAKE_LOAD:
		instance_self(s, x, MS + sim_below(s, 100) * MS, EV_TAKE_LOADED);
		break;
	case PRAAS_TAKE_PUT_ACT:
		put_act(s, x, a.again);
		break;
	case PRAAS_TAKE_SERVE:
		serve(s, x);
		break;
	case PRAAS_TAKE_FAIL:
		instance_exit(s, x, false);
		break;
	}
}

/* ---- what happens to either ---- */

void move_written(struct sim *s, struct instance *x, int rc)
{
	if (x->writing == WRITING_TAKE)
		take(s, x,
		     (struct praas_take_event){ .kind = PRAAS_TAKE_ACT_PUT, .rc = rc });
	else
		move(s, x,
		     (struct praas_move_event){ .kind = PRAAS_MOVE_KEEP_DONE,
						.rc = rc,
						.epoch = x->found->epoch });
}

static void read_log(struct sim *s, struct instance *x)
{
	int rc = objects_open(s, x->process, &x->log);

	take(s, x,
	     (struct praas_take_event){ .kind = PRAAS_TAKE_LOG_READ,
					.rc = rc,
					.epoch = x->log.epoch_max,
					.tomb = x->log.tomb,
					.slot = x->log.cursor });
}

static void on_state(struct sim *s, struct instance *x, const struct event *e)
{
	/* It came over a connection with somebody who knew the secret: of its last part nothing is missing. */
	if (x->has_dedup)
		take(s, x,
		     (struct praas_take_event){ .kind = PRAAS_TAKE_STATE,
						.slot = e->a,
						.epoch = e->epoch });
}

void move_event(struct sim *s, struct instance *x, const struct event *e)
{
	if ((e->kind == EV_MOVE_SENT || e->kind == EV_MOVE_LOST) &&
	    e->attempt != x->move_number)
		return; /* of the move before */
	switch (e->kind) {
	case EV_MOVE_SENT:
		move(s, x,
		     (struct praas_move_event){ .kind = PRAAS_MOVE_SENT, .rc = e->rc });
		break;
	case EV_MOVE_TAKEN:
		if (e->epoch == x->move.to)
			move(s, x,
			     (struct praas_move_event){ .kind = PRAAS_MOVE_TAKEN });
		break;
	case EV_MOVE_LOST:
		move(s, x,
		     (struct praas_move_event){ .kind = PRAAS_MOVE_LOST,
						.rc = -ETIMEDOUT });
		break;
	case EV_KEEP_AGAIN:
		life_write(s, x, WRITING_KEEP);
		break;
	case EV_TAKE_STATE:
		on_state(s, x, e);
		break;
	case EV_TAKE_LOG:
		read_log(s, x);
		break;
	case EV_TAKE_LOADED:
		take(s, x,
		     (struct praas_take_event){ .kind = PRAAS_TAKE_LOADED,
						.rc = life_restore(x, x->found) });
		break;
	case EV_TAKE_AGAIN:
		life_write(s, x, WRITING_TAKE);
		break;
	case EV_TAKE_LATE:
		take(s, x,
		     (struct praas_take_event){ .kind = PRAAS_TAKE_STATE,
						.rc = -ETIMEDOUT });
		break;
	default:
		break;
	}
}
