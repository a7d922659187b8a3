/* SPDX-License-Identifier: Apache-2.0
 *
 * Control services: two that share one store of records and queues, each request one transaction
 * there. What they begin by themselves (an activation, the end of an owner, a delete) reads the slot log
 * first, so the two race, and either can crash in between: the next look goes on.
 */
#include <errno.h>
#include <string.h>

#include "tests/sim/sim.h"

#define TICK (400 * MS)

/* Answers go back the way the request came. */
static void reply(struct sim *s, const struct event *e, struct event *answer)
{
	answer->node = e->from;
	answer->process = e->process;
	answer->attempt = e->attempt;
	answer->generation = e->from_generation;
	sim_send(s, answer);
}

static uint64_t lease_end(const struct sim *s)
{
	return s->now + PRAAS_LEASE_NS;
}

/* ---- transactions ---- */

static void on_append(struct sim *s, const struct event *e)
{
	struct process *p = &s->processes[e->process];
	enum praas_owner_path path =
		p->erased ? PRAAS_OWNER_GONE : praas_owner_append(&p->owner);
	struct event answer = { .kind = EV_APPENDED, .rc = (int32_t)path };
	int rc = 0;

	answer.epoch = p->owner.epoch;
	for (uint32_t i = 0; path == PRAAS_OWNER_QUEUED && i < e->items_count; i++) {
		rc = praas_queue_append(&p->queue, e->a, e->items[i].seq,
					&e->items[i].content, sizeof(uint32_t));
		if (rc != 0)
			break;
		answer.after = e->items[i].seq;
		check_queued(s, e->process);
		s->queued++;
	}
	if (path == PRAAS_OWNER_QUEUED && praas_seq_none(answer.after))
		answer.rc = PRAAS_OWNER_BUSY; /* it is full */
	s->moved += path == PRAAS_OWNER_MOVED;
	reply(s, e, &answer);
}

static void on_queue_read(struct sim *s, const struct event *e)
{
	struct process *p = &s->processes[e->process];
	struct event answer = { .kind = EV_QUEUE_PART, .a = e->a };
	const struct praas_queue_message *m;
	uint32_t content;
	int rc = p->erased ? -ESTALE : 0;

	while (rc == 0 && answer.items_count < BATCH) {
		rc = praas_queue_next(&p->queue, answer.a, &m);
		if (rc != 0)
			break;
		memcpy(&content, m->data, sizeof(content));
		answer.a = m->position;
		answer.items[answer.items_count++] =
			(struct item){ .seq = m->seq,
				       .content = (uint32_t)m->source << 16 | content };
	}
	answer.b = rc == 0; /* there may be more */
	answer.rc = rc == -EAGAIN ? 0 : rc;
	reply(s, e, &answer);
}

/* What an owner asks is overtaken by nothing that it asks later: its link is one connection, and what was said over one
 * that it has given up is not heard (control/life/lifecycle_link.c). */
static bool overtaken(struct process *p, const struct event *e)
{
	if (e->epoch == p->asked_epoch && e->attempt <= p->asked)
		return true;
	if (e->epoch >= p->asked_epoch) {
		p->asked_epoch = e->epoch;
		p->asked = e->attempt;
	}
	return false;
}

static void on_serve(struct sim *s, const struct event *e)
{
	struct process *p = &s->processes[e->process];
	struct event answer = { .kind = EV_SERVED, .rc = -ESTALE };

	if (overtaken(p, e) &&
	    e->b) { /* a late "served" does no harm, and tries the rules for it */
		answer.rc = -EBUSY; /* for who waits for it: he asks again */
		reply(s, e, &answer);
		return;
	}
	if (!p->erased && e->after.number > 0 && e->after.number == p->move_number)
		(void)praas_owner_kept(&p->owner, e->epoch); /* or it is known */
	if (!p->erased)
		answer.rc = (e->b ? praas_owner_open : praas_owner_serve)(
			&p->owner, e->epoch, e->a, p->queue.tail, lease_end(s));
	sim_trace(s, "process %u: serve %u up to %llu of %llu: %d", e->process,
		  e->epoch, (unsigned long long)e->a, (unsigned long long)p->queue.tail,
		  answer.rc);
	reply(s, e, &answer);
}

static void on_renew(struct sim *s, const struct event *e)
{
	struct process *p = &s->processes[e->process];
	struct event answer = { .kind = EV_RENEWED, .rc = -ESTALE };

	if (!p->erased)
		answer.rc = praas_owner_renew(&p->owner, e->epoch, lease_end(s));
	reply(s, e, &answer);
}

static void on_committed(struct sim *s, const struct event *e)
{
	struct process *p = &s->processes[e->process];

	if (p->erased)
		return;
	praas_queue_trim(&p->queue, e->a);
	if (e->b && praas_owner_release(&p->owner, e->epoch) == 0)
		s->released++;
}

static void on_kept(struct sim *s, const struct event *e)
{
	struct process *p = &s->processes[e->process];

	if (!p->erased && e->a == p->move_number)
		(void)praas_owner_kept(&p->owner, e->epoch); /* or it is known */
}

/* ---- what it does by itself ---- */

/* The slot log is read for it, a moment later. */
static void begin_op(struct sim *s, unsigned control, unsigned process,
		     enum operation op, uint32_t epoch, bool gone)
{
	struct control *c = &s->controls[control];

	if (c->op[process] != OP_NONE)
		return;
	c->op[process] = op;
	c->op_epoch[process] = epoch;
	c->op_gone[process] = gone;
	sim_later(s, MS + sim_below(s, 60) * MS,
		  &(struct event){ .kind = EV_CONTROL_LOG,
				   .node = (uint16_t)control,
				   .process = (uint16_t)process,
				   .attempt = ++c->op_attempt[process] });
}

static struct praas_owner_log facts(const struct praas_slot_log *log)
{
	return (struct praas_owner_log){ .epoch = log->epoch_max,
					 .released = log->last_kind == PRAAS_SLOT_REL,
					 .tomb = log->tomb };
}

static void stop_owner(struct sim *s, unsigned process)
{
	const struct instance *x =
		instance_find(s, process, s->processes[process].owner.epoch);
	struct event e = { .kind = EV_STOP };

	if (!x)
		return;
	e.node = x->node;
	sim_send(s, &e);
}

static void try_erase(struct sim *s, unsigned process, const struct praas_slot_log *log)
{
	struct process *p = &s->processes[process];
	const struct instance *x = instance_find(s, process, p->owner.epoch);
	struct praas_owner_log l = facts(log);

	if (p->erased || praas_owner_erase(&p->owner, &l, !x || x->over, s->now) != 0)
		return;
	sim_trace(s, "process %u: erased", process);
	praas_queue_trim(&p->queue, p->queue.tail);
	p->erased = true;
	p->erased_at = s->now;
	s->deleted++;
}

void control_step(struct sim *s, unsigned control, unsigned process,
		  struct praas_slot_step step)
{
	struct control *c = &s->controls[control];

	switch (step.kind) {
	case PRAAS_SLOT_STEP_PUT:
		objects_put(s, control, process, ++c->op_attempt[process],
			    &c->log[process], c->entry[process]);
		break;
	case PRAAS_SLOT_STEP_LOOK:
		objects_look(s, control, process, ++c->op_attempt[process]);
		break;
	case PRAAS_SLOT_STEP_DONE:
		c->op[process] = OP_NONE; /* the next look sees the tombstone */
		break;
	}
}

static void put_tomb(struct sim *s, unsigned control, unsigned process)
{
	struct control *c = &s->controls[control];
	struct praas_slot_log *log = &c->log[process];
	struct praas_slot_entry *e = c->entry[process];
	struct praas_owner_log l = facts(log);

	try_erase(s, process, log);
	if (s->processes[process].erased || log->tomb) {
		c->op[process] = OP_NONE;
		return;
	}
	e->epoch = praas_owner_next_epoch(&s->processes[process].owner, &l);
	e->kind = PRAAS_SLOT_TOMB;
	e->body_bytes = 0;
	objects_nonce(s, e);
	control_step(s, control, process,
		     praas_slot_write_begin(&c->write[process], log, e));
}

static void on_log(struct sim *s, const struct event *e)
{
	struct control *c = &s->controls[e->node];
	struct process *p = &s->processes[e->process];
	struct praas_slot_log *log = &c->log[e->process];
	enum operation op = c->op[e->process];
	struct praas_owner_log l;
	uint32_t epoch;

	if (e->attempt != c->op_attempt[e->process])
		return;
	if (objects_open(s, e->process, log) != 0 || p->erased) {
		c->op[e->process] = OP_NONE; /* the next look tries again */
		return;
	}
	l = facts(log);
	if (op == OP_DELETE) {
		put_tomb(s, e->node, e->process);
		return;
	}
	c->op[e->process] = OP_NONE;
	if (op == OP_ENDED) {
		if (praas_owner_ended(&p->owner, c->op_epoch[e->process], &l,
				      c->op_gone[e->process], s->now) == 0)
			s->lost += p->owner.state == PRAAS_LIFE_LOST;
	} else if (op == OP_MOVE) {
		(void)praas_owner_moved(&p->owner, l.epoch,
					lease_end(s)); /* or it is not decided */
	} else if (praas_owner_activate(&p->owner, &l, lease_end(s), &epoch) == 0) {
		sim_trace(s, "process %u: epoch %u", e->process, epoch);
		p->wanted = false;
		instance_spawn(s, e->process, epoch);
	}
}

/* Also when it was asked before, and that is lost. */
static void ask_move(struct sim *s, unsigned process)
{
	const struct process *p = &s->processes[process];
	const struct instance *x = instance_find(s, process, p->owner.epoch);
	struct event e = { .kind = EV_ASK,
			   .a = PRAAS_SWAP_ASK_MOVE,
			   .epoch = p->owner.to,
			   .b = p->move_number };

	if (!x)
		return;
	e.node = x->node;
	sim_send(s, &e);
}

static void look_at(struct sim *s, unsigned control, unsigned process)
{
	struct process *p = &s->processes[process];
	struct praas_owner *o = &p->owner;

	if (p->erased)
		return;
	if (o->state == PRAAS_LIFE_DELETING) {
		stop_owner(s, process);
		begin_op(s, control, process, OP_DELETE, 0, false);
	} else if (praas_owner_resting(o)) {
		if (p->queue.count > 0 || p->wanted)
			begin_op(s, control, process, OP_ACTIVATE, 0, false);
	} else if (s->now > o->lease_ns) {
		begin_op(s, control, process, OP_ENDED, o->epoch, false);
	} else if (o->state == PRAAS_LIFE_DRAINING) {
		control_ask(s, process, PRAAS_SWAP_ASK_SWAP); /* it may be lost */
	} else if (o->state == PRAAS_LIFE_MIGRATING) {
		ask_move(s, process);
		begin_op(s, control, process, OP_MOVE, 0, false);
	}
}

static void on_tick(struct sim *s, const struct event *e)
{
	for (unsigned i = 0; i < PROCESSES; i++)
		look_at(s, e->node, i);
	sim_later(s, TICK, &(struct event){ .kind = EV_TICK, .node = e->node });
}

/* ---- what users ask for ---- */

void control_ask(struct sim *s, unsigned process, enum praas_swap_event_kind what)
{
	struct process *p = &s->processes[process];
	const struct instance *x;
	struct event e = { .kind = EV_ASK, .a = what };

	if (p->erased)
		return;
	x = instance_find(s, process, p->owner.epoch);
	if (!x)
		return;
	if (what == PRAAS_SWAP_ASK_SWAP)
		(void)praas_owner_drain(&p->owner); /* or it is draining */
	e.node = x->node;
	sim_send(s, &e);
}

void control_move(struct sim *s, unsigned process)
{
	struct process *p = &s->processes[process];
	struct instance *x;

	if (p->erased || praas_owner_move(&p->owner) != 0)
		return;
	p->move_number++;
	x = instance_spawn(s, process, p->owner.to);
	if (x)
		take_begin(s, x);
	ask_move(s, process);
}

void control_delete(struct sim *s, unsigned process)
{
	if (!s->processes[process].erased)
		(void)praas_owner_delete(
			&s->processes[process].owner); /* cannot fail */
}

void control_event(struct sim *s, struct event *e)
{
	struct control *c = &s->controls[e->node];
	struct process *p = &s->processes[e->process];

	switch (e->kind) {
	case EV_APPEND:
		on_append(s, e);
		break;
	case EV_QUEUE_READ:
		on_queue_read(s, e);
		break;
	case EV_SERVE:
		on_serve(s, e);
		break;
	case EV_RENEW:
		on_renew(s, e);
		break;
	case EV_KEPT:
		on_kept(s, e);
		break;
	case EV_COMMITTED:
		on_committed(s, e);
		break;
	case EV_EXITED:
		if (!p->erased && p->owner.epoch == e->epoch)
			begin_op(s, e->node, e->process, OP_ENDED, e->epoch, true);
		break;
	case EV_TICK:
		on_tick(s, e);
		break;
	case EV_CONTROL_LOG:
		on_log(s, e);
		break;
	case EV_PUT_DONE:
		if (e->attempt == c->op_attempt[e->process]) {
			c->op_attempt[e->process]++;
			control_step(s, e->node, e->process,
				     praas_slot_write_put_done(&c->write[e->process],
							       e->rc));
		}
		break;
	case EV_LOOK:
		if (e->attempt == c->op_attempt[e->process]) {
			int rc = objects_read(s, &c->log[e->process],
					      c->log[e->process].cursor, c->found);

			control_step(s, e->node, e->process,
				     praas_slot_write_looked(&c->write[e->process], rc,
							     c->found));
		}
		break;
	default:
		break;
	}
}
