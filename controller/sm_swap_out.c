/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/sm_swap_out.h"

#include <errno.h>

/* Actions are appended here; the array has room for PRAAS_SWAP_ACTIONS_MAX. */
struct out {
	struct praas_swap_action *actions;
	unsigned count;
};

static void act(struct out *o, enum praas_swap_action_kind kind)
{
	o->actions[o->count++] = (struct praas_swap_action){ .kind = kind };
}

static void answer(struct out *o, uint64_t id, int rc)
{
	o->actions[o->count++] = (struct praas_swap_action){ .kind = PRAAS_SWAP_ANSWER,
							     .rc = rc,
							     .id = id };
}

static void put(const struct praas_swap *s, struct out *o)
{
	o->actions[o->count++] =
		(struct praas_swap_action){ .kind = PRAAS_SWAP_PUT, .final = s->final };
}

static void leave(struct praas_swap *s, struct out *o, int rc)
{
	if (s->next_final)
		answer(o, s->next_id, rc);
	s->phase = PRAAS_SWAP_OVER;
	o->actions[o->count++] =
		(struct praas_swap_action){ .kind = PRAAS_SWAP_EXIT, .rc = rc };
}

static void begin_swap(struct praas_swap *s, struct out *o, uint64_t id, bool moving)
{
	*s = (struct praas_swap){
		.phase = PRAAS_SWAP_DRAINING, .final = true, .moving = moving, .id = id
	};
	act(o, PRAAS_SWAP_CLOSE_GATE);
	act(o, PRAAS_SWAP_WAIT_QUIET);
}

static void begin_checkpoint(struct praas_swap *s, struct out *o, uint64_t id)
{
	*s = (struct praas_swap){ .phase = PRAAS_SWAP_CUTTING, .id = id };
	act(o, PRAAS_SWAP_CUT);
}

/* Back to serving, with an answer; a swap-out that has waited begins. */
static void serve(struct praas_swap *s, struct out *o, int rc)
{
	bool next = s->next_final, moving = s->next_moving, was_final = s->final;
	uint64_t next_id = s->next_id;

	answer(o, s->id, rc);
	*s = (struct praas_swap){ .phase = PRAAS_SWAP_SERVING };
	if (next)
		begin_swap(s, o, next_id, moving);
	else if (was_final)
		act(o, PRAAS_SWAP_OPEN_GATE);
}

static void on_ask(struct praas_swap *s, struct out *o,
		   const struct praas_swap_event *e)
{
	bool moving = e->kind == PRAAS_SWAP_ASK_MOVE;
	bool final = e->kind == PRAAS_SWAP_ASK_SWAP || moving;

	if (s->phase == PRAAS_SWAP_SERVING && final) {
		begin_swap(s, o, e->id, moving);
	} else if (s->phase == PRAAS_SWAP_SERVING) {
		begin_checkpoint(s, o, e->id);
	} else if (s->phase != PRAAS_SWAP_OVER && final && !s->final &&
		   !s->next_final) {
		s->next_final = true; /* after the checkpoint, or after ACT */
		s->next_moving = moving;
		s->next_id = e->id;
	} else {
		answer(o, e->id, s->phase == PRAAS_SWAP_OVER ? -ESHUTDOWN : -EBUSY);
	}
}

static void on_cancel(struct praas_swap *s, struct out *o)
{
	if (s->next_final) {
		s->next_final = false;
		answer(o, s->next_id, -ECANCELED);
	}
	if (!s->final || s->unknown)
		return;
	switch (s->phase) {
	case PRAAS_SWAP_DRAINING:
		serve(s, o, -ECANCELED);
		break;
	case PRAAS_SWAP_INTERRUPTING: /* wait for what is under way, then turn back */
	case PRAAS_SWAP_CUTTING:
	case PRAAS_SWAP_WRITING:
		s->cancelled = true;
		break;
	case PRAAS_SWAP_HANDING:
		act(o, PRAAS_SWAP_HAND_OFF);
		break;
	case PRAAS_SWAP_STARTING:
	case PRAAS_SWAP_SERVING:
	case PRAAS_SWAP_COMMITTING: /* the entry is on its way: too late */
	case PRAAS_SWAP_OVER:
		break;
	}
}

static void on_quiet(struct praas_swap *s, struct out *o)
{
	if (s->cancelled) {
		serve(s, o, -ECANCELED);
		return;
	}
	s->phase = PRAAS_SWAP_CUTTING;
	act(o, PRAAS_SWAP_CUT);
}

/* A step before the commit is done: go on, or turn back. */
static void on_step(struct praas_swap *s, struct out *o, int rc)
{
	if (rc == 0 && s->cancelled)
		rc = -ECANCELED;
	if (rc != 0) {
		act(o, PRAAS_SWAP_DROP);
		serve(s, o, rc);
		return;
	}
	if (s->phase == PRAAS_SWAP_CUTTING && s->moving) {
		s->phase = PRAAS_SWAP_HANDING;
		act(o, PRAAS_SWAP_HAND_OVER);
	} else if (s->phase == PRAAS_SWAP_CUTTING) {
		s->phase = PRAAS_SWAP_WRITING;
		act(o, PRAAS_SWAP_WRITE);
	} else {
		s->phase = PRAAS_SWAP_COMMITTING;
		put(s, o);
	}
}

static void on_put_done(struct praas_swap *s, struct out *o, int rc)
{
	if (rc == -EIO || rc == -ETIMEDOUT) {
		s->unknown = true;
		put(s, o);
	} else if (rc == -ESTALE) {
		answer(o, s->id, rc);
		leave(s, o, rc);
	} else if (rc == 0 && s->final) {
		answer(o, s->id, 0);
		leave(s, o, 0);
	} else if (rc == 0 || !s->unknown) {
		act(o, PRAAS_SWAP_DROP);
		serve(s, o, rc);
	} else {
		/* This try was refused, but an earlier one may have succeeded. */
		put(s, o);
	}
}

/* Who has the process is decided. */
static void on_handed(struct praas_swap *s, struct out *o, int rc)
{
	if (rc == 0 || rc == -ESTALE) {
		answer(o, s->id, rc);
		leave(s, o, rc);
	} else {
		act(o, PRAAS_SWAP_DROP);
		serve(s, o, rc);
	}
}

unsigned praas_swap_step(struct praas_swap *s, const struct praas_swap_event *e,
			 struct praas_swap_action ret_actions[])
{
	struct out o = { .actions = ret_actions };
	bool draining = s->phase == PRAAS_SWAP_DRAINING;

	switch (e->kind) {
	case PRAAS_SWAP_SETTLED:
		if (s->phase != PRAAS_SWAP_STARTING)
			break;
		s->phase = PRAAS_SWAP_SERVING;
		if (s->next_final)
			begin_swap(s, &o, s->next_id, s->next_moving);
		break;
	case PRAAS_SWAP_ASK_MOVE:
	case PRAAS_SWAP_ASK_SWAP:
	case PRAAS_SWAP_ASK_CHECKPOINT:
		on_ask(s, &o, e);
		break;
	case PRAAS_SWAP_ASK_CANCEL:
		on_cancel(s, &o);
		break;
	case PRAAS_SWAP_QUIET:
		if (draining || s->phase == PRAAS_SWAP_INTERRUPTING)
			on_quiet(s, &o);
		break;
	case PRAAS_SWAP_TIMEOUT:
		if (!draining)
			break;
		s->phase = PRAAS_SWAP_INTERRUPTING;
		act(&o, PRAAS_SWAP_INTERRUPT);
		break;
	case PRAAS_SWAP_CUT_DONE:
		if (s->phase == PRAAS_SWAP_CUTTING)
			on_step(s, &o, e->rc);
		break;
	case PRAAS_SWAP_WRITTEN:
		if (s->phase == PRAAS_SWAP_WRITING)
			on_step(s, &o, e->rc);
		break;
	case PRAAS_SWAP_PUT_DONE:
		if (s->phase == PRAAS_SWAP_COMMITTING)
			on_put_done(s, &o, e->rc);
		break;
	case PRAAS_SWAP_HANDED:
		if (s->phase == PRAAS_SWAP_HANDING)
			on_handed(s, &o, e->rc);
		break;
	}
	return o.count;
}
