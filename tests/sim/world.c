/* SPDX-License-Identifier: Apache-2.0
 *
 * The clock, the events, the nodes, the network.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

uint64_t sim_random(struct sim *s)
{
	uint64_t z = s->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t sim_below(struct sim *s, uint64_t below)
{
	return below ? sim_random(s) % below : 0;
}

bool sim_chance(struct sim *s, unsigned percent)
{
	return percent > 0 && sim_below(s, 100) < percent;
}

bool sim_fault(struct sim *s, enum plan_kind kind)
{
	return s->now < s->windows[kind].until &&
	       sim_chance(s, s->windows[kind].percent);
}

void sim_violation(struct sim *s, const char *format, ...)
{
	va_list args;

	if (s->failed)
		return;
	s->failed = true;
	va_start(args, format);
	(void)vsnprintf(s->why, sizeof(s->why), format, args);
	va_end(args);
	sim_trace(s, "VIOLATION: %s", s->why);
}

void sim_trace(const struct sim *s, const char *format, ...)
{
	va_list args;

	if (!s->verbose)
		return;
	(void)printf("%9.3f ms ", (double)s->now / 1e6);
	va_start(args, format);
	(void)vprintf(format, args);
	va_end(args);
	(void)printf("\n");
}

/* ---- events: a binary heap by time, then by the order in which they were made ---- */

static bool before(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void heap_push(struct sim *s, const struct event *e)
{
	unsigned i = s->heap_count;

	if (i == EVENTS_MAX) {
		sim_violation(s, "more than %u events at once", EVENTS_MAX);
		return;
	}
	s->heap_count++;
	while (i > 0 && before(e, &s->heap[(i - 1) / 2])) {
		s->heap[i] = s->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	s->heap[i] = *e;
}

static void heap_pop(struct sim *s, struct event *ret_event)
{
	const struct event *last = &s->heap[--s->heap_count];
	unsigned i = 0, child;

	*ret_event = s->heap[0];
	while ((child = 2 * i + 1) < s->heap_count) {
		if (child + 1 < s->heap_count &&
		    before(&s->heap[child + 1], &s->heap[child]))
			child++;
		if (!before(&s->heap[child], last))
			break;
		s->heap[i] = s->heap[child];
		i = child;
	}
	s->heap[i] = *last;
}

void sim_later(struct sim *s, uint64_t delay, const struct event *e)
{
	struct event copy = *e;

	copy.at = s->now + delay;
	copy.order = s->order++;
	if (copy.generation == 0)
		copy.generation = s->nodes[copy.node].generation;
	heap_push(s, &copy);
}

uint64_t sim_delay(struct sim *s)
{
	if (sim_fault(s, PLAN_DELAY))
		return MS + sim_below(s, 5000) * MS;
	return MS / 10 + sim_below(s, 100) * MS / 10;
}

void sim_send(struct sim *s, struct event *e)
{
	if (sim_fault(s, PLAN_LOSS))
		return;
	sim_later(s, sim_delay(s), e);
	if (sim_fault(s, PLAN_DUPLICATE))
		sim_later(s, sim_delay(s) + sim_below(s, 3000) * MS, e);
}

void sim_call(struct sim *s, struct event *e)
{
	e->from = e->node;
	e->from_generation = s->nodes[e->node].generation;
	e->node = (uint16_t)sim_below(s, CONTROLS);
	sim_send(s, e);
}

/* ---- nodes ---- */

uint64_t sim_clock(const struct sim *s, unsigned node)
{
	return s->now - s->nodes[node].lag;
}

void sim_stop_node(struct sim *s, unsigned node)
{
	s->nodes[node].alive = false;
	s->nodes[node].generation++;
}

static void dispatch(struct sim *s, struct event *e)
{
	if (e->kind == EV_PLAN || e->kind == EV_FINALS || e->kind == EV_SWAP_ALL) {
		plan_event(s, e);
		return;
	}
	if (e->kind >= EV_PUT && e->kind != EV_PUT_DONE) {
		objects_event(s, e); /* the store outlives who asked */
		return;
	}
	if (e->kind == EV_CONTROL_UP) {
		s->nodes[e->node].alive = true;
		sim_later(s, 0, &(struct event){ .kind = EV_TICK, .node = e->node });
		return;
	}
	if (!s->nodes[e->node].alive ||
	    (e->generation != s->nodes[e->node].generation &&
	     e->generation != UINT32_MAX))
		return;
	if (s->nodes[e->node].paused_until > s->now) {
		e->at = s->nodes[e->node].paused_until;
		heap_push(s, e); /* its order stays */
		return;
	}
	if (e->node < CONTROLS)
		control_event(s, e);
	else if (e->kind == EV_CLIENT_SEND)
		client_event(s, e);
	else if (e->kind == EV_TIMER || e->kind == EV_APPENDED ||
		 e->kind == EV_CONNECTED || e->kind == EV_ACK || e->kind == EV_CLOSED)
		outbox_event(s, e);
	else if (e->node >= CONTROLS + CLIENTS)
		instance_event(s, e);
}

static void mix(struct sim *s, uint64_t x)
{
	s->hash = (s->hash ^ x) * UINT64_C(0x100000001b3);
	s->hash ^= s->hash >> 29;
}

/* ---- a seed ---- */

static void begin(struct sim *s, uint64_t seed)
{
	s->seed = seed;
	s->random = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
	s->now = s->order = 0;
	s->hash = UINT64_C(0xcbf29ce484222325);
	s->heap_count = 0;
	s->failed = false;
	s->why[0] = '\0';
	memset(s->nodes, 0, sizeof(s->nodes));
	memset(s->clients, 0, sizeof(s->clients));
	memset(s->conns, 0, sizeof(s->conns));
	memset(s->windows, 0, sizeof(s->windows));
	memset(s->ids, 0, sizeof(s->ids));
	s->instances_count = s->conns_count = s->messages_count = 0;
	for (unsigned i = 0; i < PUTS_MAX; i++)
		s->puts[i].used = false;
	for (unsigned i = 0; i < CONTROLS; i++) {
		s->nodes[i] = (struct node){ .alive = true, .generation = 1 };
		memset(s->controls[i].op, 0, sizeof(s->controls[i].op));
		memset(s->controls[i].op_attempt, 0, sizeof(s->controls[i].op_attempt));
		sim_later(s, sim_below(s, 400) * MS,
			  &(struct event){ .kind = EV_TICK, .node = (uint16_t)i });
	}
}

static bool begin_process(struct sim *s, unsigned i)
{
	struct process *p = &s->processes[i];

	memset(p, 0, sizeof(*p));
	p->owner.state = p->owner.rest = p->last_state = PRAAS_LIFE_SWAPPED;
	return praas_store_memory_open(&p->store) == 0 &&
	       praas_queue_init(&p->queue, 24, 1 << 20) == 0;
}

static void end(struct sim *s)
{
	for (unsigned i = 0; i < s->instances_count; i++)
		if (s->instances[i].has_dedup)
			praas_dedup_release(&s->instances[i].dedup);
	for (unsigned i = 0; i < PROCESSES; i++) {
		praas_queue_release(&s->processes[i].queue);
		praas_store_free(s->processes[i].store);
	}
}

bool sim_run(struct sim *s, uint64_t seed)
{
	unsigned events = 0;
	struct event e;

	begin(s, seed);
	for (unsigned i = 0; i < PROCESSES; i++)
		if (!begin_process(s, i))
			abort();
	for (unsigned i = 0; i < CLIENTS; i++)
		client_begin(s, i, 1);
	plan_begin(s);
	while (s->heap_count > 0 && !s->failed && s->heap[0].at <= END_AT) {
		heap_pop(s, &e);
		s->now = e.at;
		s->events_run++;
		if (++events == EVENTS_SEED)
			sim_violation(s, "%u events and no end", events);
		mix(s, e.at);
		mix(s, (uint64_t)e.kind << 32 | (uint64_t)e.node << 16 | e.attempt);
		mix(s, e.a ^ (uint64_t)(uint32_t)e.rc);
		dispatch(s, &e);
		for (unsigned i = 0; i < PROCESSES; i++)
			check_owner(s, i);
	}
	if (!s->failed)
		check_end(s);
	end(s);
	return !s->failed;
}

struct sim *sim_new(void)
{
	struct sim *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->heap = calloc(EVENTS_MAX, sizeof(*s->heap));
	for (unsigned i = 0; i < INSTANCES; i++) {
		s->instances[i].entry = calloc(1, sizeof(struct praas_slot_entry));
		s->instances[i].found = calloc(1, sizeof(struct praas_slot_entry));
	}
	for (unsigned i = 0; i < CONTROLS; i++) {
		s->controls[i].found = calloc(1, sizeof(struct praas_slot_entry));
		for (unsigned p = 0; p < PROCESSES; p++)
			s->controls[i].entry[p] =
				calloc(1, sizeof(struct praas_slot_entry));
	}
	return s;
}

void sim_free(struct sim *s)
{
	for (unsigned i = 0; i < INSTANCES; i++) {
		free(s->instances[i].entry);
		free(s->instances[i].found);
	}
	for (unsigned i = 0; i < CONTROLS; i++) {
		free(s->controls[i].found);
		for (unsigned p = 0; p < PROCESSES; p++)
			free(s->controls[i].entry[p]);
	}
	free(s->heap);
	free(s);
}
