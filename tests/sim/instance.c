/* SPDX-License-Identifier: Apache-2.0
 *
 * A controller: what it accepts, catching up with the backup queue, its lease, its end.
 */
#include <errno.h>
#include <string.h>

#include "tests/sim/sim.h"

struct instance *instance_of(struct sim *s, unsigned node)
{
	return &s->instances[node - CONTROLS - CLIENTS];
}

struct instance *instance_find(struct sim *s, unsigned process, uint32_t epoch)
{
	for (unsigned i = 0; i < s->instances_count; i++)
		if (s->instances[i].process == process &&
		    s->instances[i].epoch == epoch)
			return &s->instances[i];
	return NULL;
}

struct event instance_request(const struct instance *x, enum event_kind kind)
{
	return (struct event){ .kind = (uint16_t)kind,
			       .node = x->node,
			       .process = x->process,
			       .epoch = x->epoch };
}

void instance_self(struct sim *s, const struct instance *x, uint64_t delay,
		   enum event_kind kind)
{
	struct event e = instance_request(x, kind);

	sim_later(s, delay, &e);
}

struct instance *instance_spawn(struct sim *s, unsigned process, uint32_t epoch)
{
	unsigned i = s->instances_count;
	struct instance *x = &s->instances[i];
	struct praas_slot_entry *entry = x->entry, *found = x->found;

	if (i == INSTANCES) {
		sim_violation(s, "more than %u controllers: no progress", INSTANCES);
		return NULL;
	}
	s->instances_count++;
	memset(x, 0, offsetof(struct instance, state));
	x->state.effects_count = x->state.forwarded = 0;
	x->entry = entry;
	x->found = found;
	x->process = (uint16_t)process;
	x->epoch = epoch;
	x->node = (uint16_t)(CONTROLS + CLIENTS + i);
	s->nodes[x->node] = (struct node){ .alive = true, .generation = 1 };
	if (!sim_fault(s, PLAN_LOSS)) /* else it never starts */
		instance_self(s, x, 10 * MS + sim_below(s, 50) * MS, EV_SPAWN);
	return x;
}

void instance_exit(struct sim *s, struct instance *x, bool clean)
{
	struct event e = instance_request(x, EV_EXITED);

	if (x->over)
		return;
	sim_trace(s, "process %u: controller %u ends%s", x->process, x->epoch,
		  clean ? "" : " badly");
	x->over = true;
	x->gate_open = false;
	if (sim_chance(s, 50)) /* somebody sees it; else the lease has to end */
		sim_call(s, &e);
	sim_stop_node(s, x->node);
}

/* ---- what it accepts ---- */

static void apply(struct sim *s, struct instance *x, uint64_t source,
		  const struct item *item)
{
	struct state *st = &x->state;

	if (st->effects_count == EFFECTS_MAX ||
	    praas_dedup_accept(&x->dedup, source, item->seq) != 0) {
		sim_violation(s, "no room for effects");
		return;
	}
	st->effects[st->effects_count++] = (struct effect){ .source = source,
							    .seq = item->seq,
							    .content = item->content };
}

/* Answers on a connection stay in order. */
static void answer(struct sim *s, struct conn *c, enum event_kind kind,
		   struct praas_seq seq)
{
	struct event e = { .kind = (uint16_t)kind,
			   .node = c->sender_node,
			   .process = c->dest,
			   .attempt = c->attempt,
			   .generation = c->generation,
			   .after = seq };
	uint64_t at = s->now + sim_delay(s);

	if (at > c->back_at)
		c->back_at = at;
	sim_later(s, c->back_at - s->now, &e);
}

/* Refused: the sender finds another way. */
static void refuse(struct sim *s, struct conn *c)
{
	s->refused++;
	if (!c->broken)
		answer(s, c, EV_CLOSED, (struct praas_seq){ 0 });
}

static void on_frame(struct sim *s, struct instance *x, const struct event *e)
{
	struct conn *c = &s->conns[e->b];
	const struct item *item = &e->items[0];
	enum praas_dedup_verdict v;

	if (c->broken && sim_chance(s, 50))
		return; /* else it was under way when it broke */
	if (!x->gate_open || !praas_lease_valid(&x->lease, sim_clock(s, x->node))) {
		refuse(s, c);
		c->broken = true;
		return;
	}
	v = praas_dedup_judge(&x->dedup, e->a, item->seq, e->after);
	if (v == PRAAS_DEDUP_NEW && sim_fault(s, PLAN_MAIL_FULL)) {
		refuse(s, c); /* what follows on the connection comes, too */
		return;
	}
	if (v == PRAAS_DEDUP_NEW) {
		check_accept(s, x, e->a, item, false);
		apply(s, x, e->a, item);
	}
	s->gaps += v == PRAAS_DEDUP_GAP;
	if (v == PRAAS_DEDUP_NEW || v == PRAAS_DEDUP_SEEN) {
		s->direct++;
		if (!c->broken && !sim_fault(s, PLAN_LOSS))
			answer(s, c, EV_ACK, item->seq);
	} else {
		refuse(s, c);
		c->broken = true;
	}
	outbox_forward(s, x);
}

static void on_connect(struct sim *s, const struct instance *x, const struct event *e)
{
	struct conn *c = &s->conns[e->b];

	if (x->gate_open)
		answer(s, c, EV_CONNECTED, (struct praas_seq){ 0 });
	else
		refuse(s, c);
}

/* ---- catching up ---- */

static void catch_up(struct sim *s, struct instance *x,
		     const struct praas_catch_up_event *ce)
{
	struct praas_catch_up_action a = praas_catch_up_step(&x->catch_up, ce);
	struct event e = instance_request(
		x, a.kind == PRAAS_CATCH_UP_READ ? EV_QUEUE_READ : EV_SERVE);

	e.b = a.kind == PRAAS_CATCH_UP_OPEN;

	if (a.kind == PRAAS_CATCH_UP_END)
		life_admitted(s, x, a.rc);
	if (a.kind != PRAAS_CATCH_UP_READ && a.kind != PRAAS_CATCH_UP_COMMIT &&
	    a.kind != PRAAS_CATCH_UP_OPEN)
		return;
	e.attempt = ++x->request;
	e.after.number = x->move_over ? x->move_number : 0;
	e.a = a.position;
	sim_call(s, &e);
	e = instance_request(x, EV_CATCH_UP_AGAIN); /* unless there is an answer */
	e.attempt = x->request;
	sim_later(s, 700 * MS, &e);
}

void instance_catch_up(struct sim *s, struct instance *x, uint64_t position)
{
	struct praas_catch_up_event e = { .kind = PRAAS_CATCH_UP_START,
					  .position = position };

	catch_up(s, x, &e);
}

void instance_stop_catching_up(struct sim *s, struct instance *x)
{
	struct praas_catch_up_event e = { .kind = PRAAS_CATCH_UP_STOP };

	catch_up(s, x, &e);
}

static void on_queue_part(struct sim *s, struct instance *x, const struct event *e)
{
	struct praas_catch_up_event ce = { .kind = PRAAS_CATCH_UP_READ_DONE,
					   .rc = e->rc,
					   .position = e->a,
					   .more = e->b };

	if (e->attempt != x->request || x->catch_up.phase != PRAAS_CATCH_UP_READING)
		return;
	x->request++; /* answered */
	for (unsigned i = 0; e->rc == 0 && i < e->items_count; i++) {
		uint64_t source = e->items[i].content >> 16;
		struct item item = { .seq = e->items[i].seq,
				     .content = e->items[i].content & 0xffff };

		if (praas_dedup_judge_queued(&x->dedup, source, item.seq) !=
		    PRAAS_DEDUP_NEW)
			continue;
		if (sim_fault(s, PLAN_MAIL_FULL)) {
			ce.rc = i == 0 ? -ENOBUFS : 0;
			ce.position = e->a - e->items_count + i;
			ce.more = true;
			break;
		}
		check_accept(s, x, source, &item, true);
		apply(s, x, source, &item);
	}
	catch_up(s, x, &ce);
	outbox_forward(s, x);
}

static void on_served(struct sim *s, struct instance *x, const struct event *e)
{
	struct praas_catch_up_event ce = { .kind = PRAAS_CATCH_UP_COMMITTED,
					   .rc = e->rc };

	if (e->attempt != x->request)
		return;
	x->request++;
	catch_up(s, x, &ce);
}

static void on_again(struct sim *s, struct instance *x, const struct event *e)
{
	struct praas_catch_up_event ce = { .rc = -ETIMEDOUT };

	if (e->attempt != x->request)
		return;
	ce.kind = x->catch_up.phase == PRAAS_CATCH_UP_READING
			  ? PRAAS_CATCH_UP_READ_DONE
			  : PRAAS_CATCH_UP_COMMITTED;
	catch_up(s, x, &ce);
}

/* ---- lease ---- */

static void renew(struct sim *s, struct instance *x)
{
	struct event e = instance_request(x, EV_RENEW);

	e.attempt = praas_lease_ask(&x->lease, sim_clock(s, x->node));
	sim_call(s, &e);
	instance_self(s, x, PRAAS_LEASE_NS / 3, EV_RENEW_DUE);
}

static void on_renewed(struct sim *s, struct instance *x, const struct event *e)
{
	if (e->rc == 0)
		praas_lease_granted(&x->lease, e->attempt);
	else if (s->now >= FAULTS_END || sim_chance(s, 50))
		instance_exit(s, x, false); /* else it goes on, as a zombie */
}

void instance_event(struct sim *s, struct event *e)
{
	struct instance *x = instance_of(s, e->node);

	if (x->over)
		return;
	switch (e->kind) {
	case EV_SPAWN:
		if (praas_dedup_init(&x->dedup, 8) != 0)
			sim_violation(s, "no memory");
		x->has_dedup = true;
		if (x->take.phase != PRAAS_TAKE_NONE)
			break; /* the rest comes with its state */
		renew(s, x);
		life_activate(
			s, x,
			(struct praas_activate_event){ .kind = PRAAS_ACTIVATE_START,
						       .epoch = x->epoch });
		break;
	case EV_FRAME:
		on_frame(s, x, e);
		break;
	case EV_CONNECT:
		on_connect(s, x, e);
		break;
	case EV_QUEUE_PART:
		on_queue_part(s, x, e);
		break;
	case EV_SERVED:
		on_served(s, x, e);
		break;
	case EV_CATCH_UP_AGAIN:
		on_again(s, x, e);
		break;
	case EV_RENEW_DUE:
		renew(s, x);
		break;
	case EV_MOVE_SENT:
	case EV_MOVE_TAKEN:
	case EV_MOVE_LOST:
	case EV_KEEP_AGAIN:
	case EV_TAKE_STATE:
	case EV_TAKE_LOG:
	case EV_TAKE_LOADED:
	case EV_TAKE_AGAIN:
	case EV_TAKE_LATE:
		move_event(s, x, e);
		break;
	case EV_RENEWED:
		on_renewed(s, x, e);
		break;
	case EV_STOP:
		instance_exit(s, x, false);
		break;
	default:
		life_event(s, x, e);
		break;
	}
}
