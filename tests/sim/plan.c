/* SPDX-License-Identifier: Apache-2.0
 *
 * What happens in a seed: requests of users and faults, made from the seed; and the shrinker.
 */
#include <stdio.h>

#include "tests/sim/sim.h"

const char *const plan_names[PLAN_KINDS] = {
	[PLAN_WANT] = "wake",
	[PLAN_SWAP] = "swap-out",
	[PLAN_CHECKPOINT] = "checkpoint",
	[PLAN_CANCEL] = "cancel-swap-out",
	[PLAN_MOVE] = "move",
	[PLAN_DELETE] = "delete",
	[PLAN_CRASH] = "crash-controller",
	[PLAN_PAUSE] = "pause-controller",
	[PLAN_CRASH_CONTROL] = "crash-control",
	[PLAN_PAUSE_CONTROL] = "pause-control",
	[PLAN_CRASH_CLIENT] = "crash-client",
	[PLAN_BREAK] = "break-connections",
	[PLAN_LOSS] = "network-loss",
	[PLAN_DELAY] = "network-delay",
	[PLAN_DUPLICATE] = "network-duplicate",
	[PLAN_STORE_LOST] = "store-reply-lost",
	[PLAN_STORE_ERROR] = "store-error",
	[PLAN_STORE_SLOW] = "store-slow",
	[PLAN_STORE_FULL] = "store-full",
	[PLAN_MAIL_FULL] = "mailbox-full",
};

static uint64_t next(uint64_t *random, uint64_t below)
{
	uint64_t x = *random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*random = x;
	return (x >> 11) % below;
}

static struct plan_entry make(uint64_t *random, unsigned kind)
{
	struct plan_entry e = { .kind = (uint8_t)kind };

	e.at = next(random, FAULTS_END / MS - 1000) * MS;
	e.target = (uint8_t)next(random, 6);
	e.amount = (uint8_t)(5 + next(random, 75));
	e.length = (500 + next(random, 6000)) * MS;
	if (e.at + e.length > FAULTS_END)
		e.length = FAULTS_END - e.at;
	return e;
}

void plan_make(struct plan *p, uint64_t seed)
{
	uint64_t random =
		seed * UINT64_C(0x9e3779b97f4a7c15) ^ UINT64_C(88172645463325252);
	unsigned requests, faults;

	if (random == 0)
		random = 1;
	(void)next(&random, 2);
	requests = 4 + (unsigned)next(&random, 9);
	faults = (unsigned)next(&random, 11);
	p->count = 0;
	for (unsigned i = 0; i < requests; i++) {
		static const uint8_t kinds[] = { PLAN_MOVE,       PLAN_SWAP,
						 PLAN_SWAP,       PLAN_SWAP,
						 PLAN_WANT,       PLAN_CANCEL,
						 PLAN_CHECKPOINT, PLAN_MOVE };

		p->entries[p->count++] = make(&random, kinds[next(&random, 8)]);
		/* A call-off has something to call off. */
		if (p->entries[i].kind == PLAN_CANCEL && i > 0 &&
		    (p->entries[i - 1].kind == PLAN_SWAP ||
		     p->entries[i - 1].kind == PLAN_MOVE)) {
			p->entries[i].target = p->entries[i - 1].target;
			p->entries[i].at =
				p->entries[i - 1].at + (next(&random, 300) + 1) * MS;
		}
	}
	for (unsigned i = 0; i < faults; i++)
		p->entries[p->count++] = make(
			&random,
			PLAN_CRASH + (unsigned)next(&random, PLAN_KINDS - PLAN_CRASH));
	if (next(&random, 8) == 0)
		p->entries[p->count++] = make(&random, PLAN_DELETE);
}

void plan_print(const struct plan *p)
{
	for (unsigned i = 0; i < p->count; i++) {
		const struct plan_entry *e = &p->entries[i];

		if (!e->off)
			(void)printf("  %6llu ms  %-18s target %u, %u %%, %llu ms\n",
				     (unsigned long long)(e->at / MS),
				     plan_names[e->kind], e->target, e->amount,
				     (unsigned long long)(e->length / MS));
	}
}

void plan_begin(struct sim *s)
{
	for (unsigned i = 0; i < s->plan.count; i++)
		if (!s->plan.entries[i].off)
			sim_later(s, s->plan.entries[i].at,
				  &(struct event){ .kind = EV_PLAN, .a = i });
	for (unsigned c = 0; c < CLIENTS; c++)
		for (unsigned p = 0; p < PROCESSES; p++)
			for (unsigned i = 0; i < 5; i++)
				sim_later(s, sim_below(s, FAULTS_END / MS) * MS,
					  &(struct event){
						  .kind = EV_CLIENT_SEND,
						  .node = (uint16_t)(CONTROLS + c),
						  .generation = UINT32_MAX,
						  .a = p });
	sim_later(s, FINALS_AT, &(struct event){ .kind = EV_FINALS });
	sim_later(s, SWAP_ALL_AT, &(struct event){ .kind = EV_SWAP_ALL });
}

static void pause(struct sim *s, unsigned node, const struct plan_entry *e)
{
	if (s->nodes[node].alive)
		s->nodes[node].paused_until = s->now + e->length;
}

static void crash_control(struct sim *s, unsigned i)
{
	if (!s->nodes[i].alive)
		return;
	sim_stop_node(s, i);
	for (unsigned p = 0; p < PROCESSES; p++)
		s->controls[i].op[p] = OP_NONE;
	sim_later(s, SECOND,
		  &(struct event){ .kind = EV_CONTROL_UP, .node = (uint16_t)i });
}

/* The controller that a fault is for: while it moves, either of them. */
static struct instance *victim(struct sim *s, const struct plan_entry *e,
			       unsigned process)
{
	const struct praas_owner *o = &s->processes[process].owner;
	bool other = o->state == PRAAS_LIFE_MIGRATING && e->amount % 3 == 0;

	return instance_find(s, process, other ? o->to : o->epoch);
}

static void do_fault(struct sim *s, const struct plan_entry *e, unsigned process)
{
	struct instance *x = victim(s, e, process);
	unsigned client = e->target % CLIENTS;

	switch (e->kind) {
	case PLAN_CRASH:
		if (x)
			instance_exit(s, x, false);
		break;
	case PLAN_PAUSE:
		if (!x)
			break;
		pause(s, x->node, e);
		if (e->amount % 2)
			s->nodes[x->node].lag += e->length;
		break;
	case PLAN_CRASH_CONTROL:
		crash_control(s, e->target % CONTROLS);
		break;
	case PLAN_PAUSE_CONTROL:
		pause(s, e->target % CONTROLS, e);
		break;
	case PLAN_CRASH_CLIENT:
		client_begin(s, client, s->clients[client].epoch + 1);
		break;
	case PLAN_BREAK:
		outbox_break(s, process);
		break;
	default:
		s->windows[e->kind].until = s->now + e->length;
		s->windows[e->kind].percent = e->amount;
		break;
	}
}

static void do_entry(struct sim *s, const struct plan_entry *e)
{
	unsigned process = e->target % PROCESSES;

	sim_trace(s, "plan: %s target %u", plan_names[e->kind], e->target);
	switch (e->kind) {
	case PLAN_WANT:
		s->processes[process].wanted = true;
		break;
	case PLAN_SWAP:
		control_ask(s, process, PRAAS_SWAP_ASK_SWAP);
		break;
	case PLAN_CHECKPOINT:
		control_ask(s, process, PRAAS_SWAP_ASK_CHECKPOINT);
		break;
	case PLAN_CANCEL:
		control_ask(s, process, PRAAS_SWAP_ASK_CANCEL);
		break;
	case PLAN_MOVE:
		control_move(s, process);
		break;
	case PLAN_DELETE:
		control_delete(s, process);
		break;
	default:
		do_fault(s, e, process);
		break;
	}
}

void plan_event(struct sim *s, const struct event *e)
{
	if (e->kind == EV_PLAN) {
		do_entry(s, &s->plan.entries[e->a]);
	} else if (e->kind == EV_FINALS) {
		for (unsigned p = 0; p < PROCESSES; p++)
			for (unsigned c = 0; c < CLIENTS; c++)
				client_send(s, c, p, true);
	} else {
		for (unsigned p = 0; p < PROCESSES; p++)
			if (s->processes[p].owner.state == PRAAS_LIFE_ACTIVE)
				control_ask(s, p, PRAAS_SWAP_ASK_SWAP);
		sim_later(s, 500 * MS, &(struct event){ .kind = EV_SWAP_ALL });
	}
}

unsigned plan_shrink(struct sim *s, uint64_t seed)
{
	unsigned left = s->plan.count;

	for (unsigned chunk = s->plan.count; chunk > 0; chunk /= 2)
		for (unsigned i = 0; i < s->plan.count; i += chunk) {
			struct plan before = s->plan;
			unsigned off = 0;

			for (unsigned k = i; k < i + chunk && k < s->plan.count; k++) {
				off += !s->plan.entries[k].off;
				s->plan.entries[k].off = true;
			}
			if (off == 0)
				continue;
			if (sim_run(s, seed))
				s->plan = before; /* it is needed */
			else
				left -= off;
		}
	(void)sim_run(s, seed); /* what is reported is of the plan that is left */
	return left;
}
