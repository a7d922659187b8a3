/* SPDX-License-Identifier: Apache-2.0
 *
 * Senders: the shell around the production sender, for clients and for FRONT; their connections.
 */
#include <errno.h>
#include <string.h>

#include "tests/sim/sim.h"

int outbox_init(struct outbox *o, unsigned node, unsigned dest, uint64_t source,
		uint32_t epoch)
{
	struct praas_sender_config config = { .slots = o->slots,
					      .window = WINDOW,
					      .batch = BATCH,
					      .epoch = epoch,
					      .backoff_min_ns = 5 * MS,
					      .backoff_max_ns = 200 * MS,
					      .silence_ns = SECOND };

	o->node = (uint16_t)node;
	o->dest = (uint16_t)dest;
	o->source = source;
	o->timer_at = 0;
	o->conn = 0;
	return praas_sender_init(&o->sender, &config);
}

/* ---- what the sender wants ---- */

static void append(struct sim *s, const struct outbox *o,
		   const struct praas_sender_action *a)
{
	struct event e = { .kind = EV_APPEND,
			   .node = o->node,
			   .process = o->dest,
			   .attempt = a->attempt,
			   .a = o->source };

	e.items_count = a->count;
	for (uint32_t i = 0; i < a->count; i++) {
		const struct praas_sender_slot *slot = praas_sender_at(&o->sender, i);

		e.items[i] = (struct item){ .seq = slot->seq,
					    .content = (uint32_t)slot->token };
	}
	sim_call(s, &e);
}

static void connect_to(struct sim *s, struct outbox *o,
		       const struct praas_sender_action *a)
{
	const struct instance *x = instance_find(s, o->dest, a->epoch);
	struct event e = { .kind = EV_CONNECT };
	struct conn *c;

	if (!x || s->conns_count == CONNS_MAX) {
		if (x)
			sim_violation(s, "too many connections: no progress");
		return; /* silence */
	}
	c = &s->conns[s->conns_count];
	*c = (struct conn){ .used = true,
			    .sender_node = o->node,
			    .dest = o->dest,
			    .instance_node = x->node,
			    .generation = s->nodes[o->node].generation,
			    .attempt = a->attempt };
	o->conn = ++s->conns_count;
	e.node = x->node;
	e.b = o->conn - 1;
	sim_send(s, &e);
}

/* Connections keep the order; when something is lost, they break. */
static void send_frame(struct sim *s, const struct outbox *o,
		       const struct praas_sender_action *a)
{
	struct conn *c = &s->conns[o->conn - 1];
	struct event e = { .kind = EV_FRAME,
			   .node = c->instance_node,
			   .epoch = a->epoch,
			   .a = o->source,
			   .b = o->conn - 1,
			   .after = a->after,
			   .items_count = 1 };
	uint64_t at = s->now + sim_delay(s);

	e.items[0] = (struct item){ .seq = a->seq, .content = (uint32_t)a->token };
	if (sim_fault(s, PLAN_LOSS))
		c->broken = true;
	if (at > c->there_at)
		c->there_at = at;
	sim_later(s, c->there_at - s->now, &e);
	if (sim_fault(s, PLAN_DUPLICATE))
		sim_later(s, c->there_at - s->now + sim_below(s, 3000) * MS, &e);
}

static void do_action(struct sim *s, struct outbox *o,
		      const struct praas_sender_action *a)
{
	switch (a->kind) {
	case PRAAS_SENDER_NONE:
		break;
	case PRAAS_SENDER_DONE:
		check_done(s, o, a);
		break;
	case PRAAS_SENDER_APPEND:
		append(s, o, a);
		break;
	case PRAAS_SENDER_CONNECT:
		connect_to(s, o, a);
		break;
	case PRAAS_SENDER_SEND:
		send_frame(s, o, a);
		break;
	case PRAAS_SENDER_CLOSE:
		break;
	}
}

void outbox_pump(struct sim *s, struct outbox *o)
{
	struct praas_sender_action a;
	uint64_t due;

	do {
		praas_sender_poll(&o->sender, s->now, &a);
		do_action(s, o, &a);
	} while (a.kind != PRAAS_SENDER_NONE && !s->failed);
	due = praas_sender_due_ns(&o->sender);
	if (due == 0 || due == o->timer_at)
		return;
	o->timer_at = due;
	sim_later(s, due > s->now ? due - s->now : 0,
		  &(struct event){ .kind = EV_TIMER,
				   .node = o->node,
				   .process = o->dest,
				   .a = due });
}

/* ---- what comes back ---- */

static struct outbox *outbox_of(struct sim *s, const struct event *e)
{
	if (e->node < CONTROLS + CLIENTS)
		return &s->clients[e->node - CONTROLS].to[e->process];
	return &instance_of(s, e->node)->outbox;
}

static void on_appended(struct sim *s, struct praas_sender *sender,
			const struct event *e)
{
	switch ((enum praas_owner_path)e->rc) {
	case PRAAS_OWNER_QUEUED:
		praas_sender_queued(sender, e->attempt, e->after, s->now);
		break;
	case PRAAS_OWNER_MOVED:
		praas_sender_moved(sender, e->attempt, e->epoch, s->now);
		break;
	case PRAAS_OWNER_BUSY:
		praas_sender_lost(sender, e->attempt, s->now);
		break;
	case PRAAS_OWNER_GONE:
		praas_sender_gone(sender, e->attempt);
		break;
	}
}

void outbox_event(struct sim *s, struct event *e)
{
	struct outbox *o = outbox_of(s, e);
	struct praas_sender *sender = &o->sender;

	if (e->node >= CONTROLS + CLIENTS &&
	    (instance_of(s, e->node)->over || o->node != e->node))
		return;
	switch (e->kind) {
	case EV_TIMER:
		if (e->a == o->timer_at)
			o->timer_at = 0;
		break;
	case EV_APPENDED:
		on_appended(s, sender, e);
		break;
	case EV_CONNECTED:
		praas_sender_connected(sender, e->attempt, s->now);
		break;
	case EV_ACK:
		praas_sender_acked(sender, e->attempt, e->after, s->now);
		break;
	case EV_CLOSED:
		praas_sender_lost(sender, e->attempt, s->now);
		break;
	default:
		break;
	}
	outbox_pump(s, o);
	if (e->node >= CONTROLS + CLIENTS)
		outbox_forward(s, instance_of(s, e->node));
}

void outbox_break(struct sim *s, unsigned process)
{
	for (unsigned i = 0; i < s->conns_count; i++) {
		struct conn *c = &s->conns[i];

		if (c->dest != process || c->broken)
			continue;
		c->broken = true;
		if (sim_chance(s, 70)) /* else silence */
			sim_later(s, sim_delay(s),
				  &(struct event){ .kind = EV_CLOSED,
						   .node = c->sender_node,
						   .process = c->dest,
						   .generation = c->generation,
						   .attempt = c->attempt });
	}
}

/* ---- FRONT forwards: the function of the process ---- */

void outbox_forward(struct sim *s, struct instance *x)
{
	struct state *st = &x->state;
	struct praas_seq seq;

	if (x->process != FRONT || x->outbox.node != x->node || x->over)
		return;
	while (st->forwarded < st->effects_count) {
		uint32_t content = st->effects[st->forwarded].content;

		if (praas_sender_push(&x->outbox.sender, FORWARD + content, 0, &seq) ==
		    -EAGAIN)
			break;
		st->forwarded++;
	}
	outbox_pump(s, &x->outbox);
}

/* ---- clients ---- */

void client_begin(struct sim *s, unsigned client, uint32_t epoch)
{
	struct client *c = &s->clients[client];
	unsigned node = CONTROLS + client;

	s->nodes[node] = (struct node){ .alive = true, .generation = epoch };
	c->epoch = epoch;
	for (unsigned i = 0; i < PROCESSES; i++)
		if (outbox_init(&c->to[i], node, i, 10 + client, epoch) != 0)
			sim_violation(s, "a sender cannot begin");
}

/* Where the process is, or was: whoever knows a route need not ask. */
static void hint(struct sim *s, struct outbox *o)
{
	const struct instance *x = &s->instances[sim_below(s, s->instances_count)];

	if (s->instances_count > 0 && x->process == o->dest)
		praas_sender_route(&o->sender, x->epoch, s->now);
}

void client_send(struct sim *s, unsigned client, unsigned dest, bool final)
{
	struct outbox *o = &s->clients[client].to[dest];
	unsigned i = s->messages_count;
	struct message *m = &s->messages[i];
	struct praas_seq seq;

	if (i == MESSAGES_MAX) {
		sim_violation(s, "too many messages");
		return;
	}
	*m = (struct message){ .pushed_at = s->now,
			       .deadline = s->now + (final ? 6 : 4) * SECOND,
			       .dest = (uint8_t)dest,
			       .final = final,
			       .client = (uint8_t)client,
			       .client_epoch = s->clients[client].epoch };
	if (praas_sender_push(&o->sender, i, m->deadline, &seq) == 0) {
		s->messages_count++;
		if (sim_chance(s, 30))
			hint(s, o);
		outbox_pump(s, o);
	} else if (final && !s->processes[dest].erased) {
		sim_violation(s, "client %u cannot send at the end", client);
	}
}

void client_event(struct sim *s, struct event *e)
{
	unsigned client = e->node - CONTROLS;

	client_send(s, client, (unsigned)e->a, false);
}
