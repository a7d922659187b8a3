/* SPDX-License-Identifier: Apache-2.0 */
#include "control/life/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_MIN 16u

int praas_queue_init(struct praas_queue *q, uint32_t messages_max, uint64_t bytes_max)
{
	if (messages_max == 0 || messages_max > UINT32_MAX / 2)
		return -EINVAL;
	*q = (struct praas_queue){ .messages_max = messages_max,
				   .bytes_max = bytes_max };
	return 0;
}

void praas_queue_release(struct praas_queue *q)
{
	praas_queue_trim(q, q->tail);
	free(q->messages);
	*q = (struct praas_queue){ 0 };
}

static struct praas_queue_message *at(const struct praas_queue *q, uint32_t index)
{
	return &q->messages[(q->first + index) & (q->room - 1)];
}

static int grow(struct praas_queue *q)
{
	uint32_t room = q->room ? q->room * 2 : ROOM_MIN;
	struct praas_queue_message *more;

	if (q->count < q->room)
		return 0;
	more = calloc(room, sizeof(*more));
	if (!more)
		return -ENOMEM;
	for (uint32_t i = 0; i < q->count; i++)
		more[i] = *at(q, i);
	free(q->messages);
	q->messages = more;
	q->room = room;
	q->first = 0;
	return 0;
}

int praas_queue_append(struct praas_queue *q, uint64_t source, struct praas_seq seq,
		       const void *data, uint32_t bytes)
{
	uint8_t *copy = NULL;
	int rc;

	if (q->count >= q->messages_max || bytes > q->bytes_max - q->bytes)
		return -ENOSPC;
	rc = grow(q);
	if (rc)
		return rc;
	if (bytes > 0) {
		copy = malloc(bytes);
		if (!copy)
			return -ENOMEM;
		memcpy(copy, data, bytes);
	}
	*at(q, q->count++) = (struct praas_queue_message){ .position = ++q->tail,
							   .source = source,
							   .seq = seq,
							   .data = copy,
							   .bytes = bytes };
	q->bytes += bytes;
	return 0;
}

int praas_queue_next(const struct praas_queue *q, uint64_t position,
		     const struct praas_queue_message **ret_message)
{
	if (position < q->trimmed)
		return -ESTALE;
	if (position >= q->tail)
		return -EAGAIN;
	*ret_message = at(q, (uint32_t)(position - q->trimmed));
	return 0;
}

void praas_queue_lift(struct praas_queue *q, uint64_t position)
{
	uint64_t by = position - q->trimmed;

	if (position <= q->tail)
		return;
	for (uint32_t i = 0; i < q->count; i++)
		at(q, i)->position += by;
	q->tail += by;
	q->trimmed = position;
}

void praas_queue_trim(struct praas_queue *q, uint64_t position)
{
	while (q->count > 0 && at(q, 0)->position <= position) {
		struct praas_queue_message *m = at(q, 0);

		q->trimmed = m->position;
		q->bytes -= m->bytes;
		free(m->data);
		q->first++;
		q->count--;
	}
}
