/* SPDX-License-Identifier: Apache-2.0
 *
 * Deadlines: one binary heap of timers that lie inside what they time. Fixed capacity,
 * removal in O(log n) through the position that each timer knows.
 */
#ifndef PRAAS_DATAPLANE_TIMERS_H
#define PRAAS_DATAPLANE_TIMERS_H

#include <stdbool.h>
#include <stdint.h>

enum praas_timer_kind {
	PRAAS_TIMER_INVOCATION = 1,
	PRAAS_TIMER_WAIT,
	PRAAS_TIMER_TRIGGER,
	PRAAS_TIMER_STAGES
};

struct praas_timer {
	uint64_t deadline_ns;
	uint32_t position; /* in the heap + 1; 0: not armed */
	uint32_t kind;     /* enum praas_timer_kind */
};

struct praas_timers {
	struct praas_timer **heap;
	uint32_t count, capacity;
};

/* 0; -ENOMEM. */
int praas_timers_init(struct praas_timers *t, uint32_t capacity);
void praas_timers_release(struct praas_timers *t);

/* Arm a timer that is not armed. 0; -ENOBUFS. */
int praas_timers_put(struct praas_timers *t, struct praas_timer *timer);
/* Disarm; an unarmed one is allowed. */
void praas_timers_remove(struct praas_timers *t, struct praas_timer *timer);
/* The earliest timer at or before now, disarmed; NULL: none is due. */
struct praas_timer *praas_timers_take(struct praas_timers *t, uint64_t now_ns);

/* When the earliest is due; 0: none. */
static inline uint64_t praas_timers_next(const struct praas_timers *t)
{
	return t->count ? t->heap[0]->deadline_ns : 0;
}

#endif
