/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/sm_move.h"

#include <errno.h>

/* ---- the source ---- */

static bool done(struct praas_move *m, int rc, struct praas_move_action *ret)
{
	m->phase = PRAAS_MOVE_OVER;
	*ret = (struct praas_move_action){ .kind = PRAAS_MOVE_DONE, .rc = rc };
	return true;
}

static bool keep(struct praas_move *m, struct praas_move_action *ret)
{
	m->phase = PRAAS_MOVE_KEEPING;
	*ret = (struct praas_move_action){ .kind = PRAAS_MOVE_KEEP };
	return true;
}

static bool on_lost(struct praas_move *m, int rc, struct praas_move_action *ret)
{
	if (m->phase != PRAAS_MOVE_SENDING && m->phase != PRAAS_MOVE_DECIDING)
		return false;
	m->rc = rc;
	/* The last part may be on its way: SENT tells whether it is. */
	return m->phase == PRAAS_MOVE_DECIDING && keep(m, ret);
}

static bool on_keep_done(struct praas_move *m, const struct praas_move_event *e,
			 struct praas_move_action *ret)
{
	if (e->rc == 0)
		return done(m, m->rc, ret);
	if (e->rc == -ESTALE)
		return done(m, e->epoch == m->to ? 0 : -ESTALE, ret);
	return keep(
		m,
		ret); /* the destination may have the slot: there is no way back without it */
}

bool praas_move_step(struct praas_move *m, const struct praas_move_event *e,
		     struct praas_move_action *ret_action)
{
	switch (e->kind) {
	case PRAAS_MOVE_START:
		if (m->phase != PRAAS_MOVE_NONE)
			return false;
		*m = (struct praas_move){ .phase = PRAAS_MOVE_SENDING, .to = e->epoch };
		*ret_action = (struct praas_move_action){ .kind = PRAAS_MOVE_SEND };
		return true;
	case PRAAS_MOVE_SENT:
		if (m->phase != PRAAS_MOVE_SENDING)
			return false;
		if (e->rc != 0)
			return done(m, e->rc, ret_action);
		m->phase = PRAAS_MOVE_DECIDING;
		return m->rc != 0 && keep(m, ret_action);
	case PRAAS_MOVE_TAKEN:
		if (m->phase != PRAAS_MOVE_DECIDING && m->phase != PRAAS_MOVE_KEEPING)
			return false;
		return done(m, 0, ret_action);
	case PRAAS_MOVE_LOST:
		return on_lost(m, e->rc, ret_action);
	case PRAAS_MOVE_KEEP_DONE:
		return m->phase == PRAAS_MOVE_KEEPING && on_keep_done(m, e, ret_action);
	}
	return false;
}

/* ---- the destination ---- */

static bool act(struct praas_take *t, enum praas_take_phase phase,
		enum praas_take_action_kind kind, struct praas_take_action *ret)
{
	t->phase = phase;
	*ret = (struct praas_take_action){ .kind = kind };
	return true;
}

static bool fail(struct praas_take *t, int rc, struct praas_take_action *ret)
{
	t->phase = PRAAS_TAKE_FAILED;
	*ret = (struct praas_take_action){ .kind = PRAAS_TAKE_FAIL, .rc = rc };
	return true;
}

static bool on_log_read(struct praas_take *t, const struct praas_take_event *e,
			struct praas_take_action *ret)
{
	if (e->rc != 0)
		return fail(t, e->rc, ret);
	/* Slot n is taken, or the source is not the last one. */
	if (e->tomb || e->slot != t->slot || e->epoch != t->from)
		return fail(t, -ESTALE, ret);
	return act(t, PRAAS_TAKE_LOADING, PRAAS_TAKE_LOAD, ret);
}

static bool on_act_put(struct praas_take *t, int rc, struct praas_take_action *ret)
{
	if (rc == 0)
		return act(t, PRAAS_TAKE_TAKEN, PRAAS_TAKE_SERVE, ret);
	if (rc != -EIO && rc != -ETIMEDOUT)
		return fail(t, rc, ret);
	(void)act(t, PRAAS_TAKE_PUTTING, PRAAS_TAKE_PUT_ACT, ret);
	ret->again = true;
	return true;
}

bool praas_take_step(struct praas_take *t, const struct praas_take_event *e,
		     struct praas_take_action *ret_action)
{
	switch (e->kind) {
	case PRAAS_TAKE_START:
		if (t->phase == PRAAS_TAKE_NONE)
			*t = (struct praas_take){ .phase = PRAAS_TAKE_WAITING,
						  .epoch = e->epoch };
		return false;
	case PRAAS_TAKE_STATE:
		if (t->phase != PRAAS_TAKE_WAITING)
			return false;
		if (e->rc != 0)
			return fail(t, e->rc, ret_action);
		if (e->epoch == 0 || e->epoch >= t->epoch)
			return fail(t, -EPROTO, ret_action);
		t->slot = e->slot;
		t->from = e->epoch;
		return act(t, PRAAS_TAKE_READING, PRAAS_TAKE_READ_LOG, ret_action);
	case PRAAS_TAKE_LOG_READ:
		return t->phase == PRAAS_TAKE_READING && on_log_read(t, e, ret_action);
	case PRAAS_TAKE_LOADED:
		if (t->phase != PRAAS_TAKE_LOADING)
			return false;
		if (e->rc != 0)
			return fail(t, e->rc, ret_action);
		return act(t, PRAAS_TAKE_PUTTING, PRAAS_TAKE_PUT_ACT, ret_action);
	case PRAAS_TAKE_ACT_PUT:
		return t->phase == PRAAS_TAKE_PUTTING &&
		       on_act_put(t, e->rc, ret_action);
	}
	return false;
}
