/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/timers.h"

#include <errno.h>
#include <stdlib.h>

int praas_timers_init(struct praas_timers *t, uint32_t capacity)
{
	*t = (struct praas_timers){ .capacity = capacity };
	t->heap = calloc(capacity, sizeof(struct praas_timer *));
	return t->heap ? 0 : -ENOMEM;
}

void praas_timers_release(struct praas_timers *t)
{
	free(t->heap);
	*t = (struct praas_timers){ 0 };
}

static void place(struct praas_timers *t, uint32_t i, struct praas_timer *timer)
{
	t->heap[i] = timer;
	timer->position = i + 1;
}

/* Moves the timer at i up to where its parent is not later. */
static void sift_up(struct praas_timers *t, uint32_t i)
{
	struct praas_timer *timer = t->heap[i];

	while (i > 0) {
		uint32_t parent = (i - 1) / 2;

		if (t->heap[parent]->deadline_ns <= timer->deadline_ns)
			break;
		place(t, i, t->heap[parent]);
		i = parent;
	}
	place(t, i, timer);
}

/* Moves the timer at i down to where no child is earlier. */
static void sift_down(struct praas_timers *t, uint32_t i)
{
	struct praas_timer *timer = t->heap[i];

	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= t->count)
			break;
		if (child + 1 < t->count &&
		    t->heap[child + 1]->deadline_ns < t->heap[child]->deadline_ns)
			child++;
		if (t->heap[child]->deadline_ns >= timer->deadline_ns)
			break;
		place(t, i, t->heap[child]);
		i = child;
	}
	place(t, i, timer);
}

int praas_timers_put(struct praas_timers *t, struct praas_timer *timer)
{
	if (t->count == t->capacity)
		return -ENOBUFS;
	t->heap[t->count++] = timer;
	sift_up(t, t->count - 1);
	return 0;
}

void praas_timers_remove(struct praas_timers *t, struct praas_timer *timer)
{
	uint32_t i = timer->position - 1;
	struct praas_timer *last;

	if (timer->position == 0)
		return;
	timer->position = 0;
	last = t->heap[--t->count];
	if (last == timer)
		return;
	place(t, i, last);
	sift_up(t, i);
	sift_down(t, last->position - 1);
}

struct praas_timer *praas_timers_take(struct praas_timers *t, uint64_t now_ns)
{
	struct praas_timer *first = t->count ? t->heap[0] : NULL;

	if (!first || first->deadline_ns > now_ns)
		return NULL;
	praas_timers_remove(t, first);
	return first;
}
