/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions that wait until a message to another process fits into the outbox: one that is slow to take
 * messages slows who sends to it, and nobody else.
 */
#include <errno.h>

#include "dataplane/process_private.h"
#include "internal/base.h"

bool praas_process_room_taken(const struct praas_process *p, uint64_t destination)
{
	const struct praas_fn_wait *wait = p->room_given ? NULL : p->room_first;

	while (wait && wait->order != destination)
		wait = wait->next;
	return wait != NULL;
}

void praas_process_room_remove(struct praas_process *p, struct praas_fn_wait *wait)
{
	*(wait->prev ? &wait->prev->next : &p->room_first) = wait->next;
	*(wait->next ? &wait->next->prev : &p->room_last) = wait->prev;
	wait->queue = 0;
}

int praas_process_room_wait(struct praas_process *p, uint64_t destination,
			    uint64_t bytes, struct praas_fn_wait *wait)
{
	int rc;

	wait->queue = 0;
	wait->timer.position = 0;
	if (wait->deadline_ns <= praas_now_ns())
		return -EAGAIN;
	rc = praas_process_wait_arm(p, wait, PRAAS_WAIT_ROOM);
	if (rc != 0)
		return rc;
	wait->order = destination;
	wait->bytes = bytes;
	wait->queue = 1;
	wait->next = NULL;
	wait->prev = p->room_last;
	*(p->room_last ? &p->room_last->next : &p->room_first) = wait;
	p->room_last = wait;
	return -EINPROGRESS;
}

unsigned praas_process_room_poll(struct praas_process *p)
{
	struct praas_fn_wait *wait, *next, *last = p->room_last;
	unsigned done = 0;

	for (wait = p->room_first; wait; wait = next) {
		next = wait == last ? NULL : wait->next;
		if (!praas_outbox_has_room(p->outbox, wait->order, wait->bytes))
			continue;
		praas_process_room_remove(p, wait);
		p->room_given = true;
		praas_process_wait_over(wait, 0);
		p->room_given = false;
		done++;
	}
	return done;
}
