/* SPDX-License-Identifier: Apache-2.0
 *
 * Backup queues in memory.
 */
#include "control/records/records_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"

struct praas_memory_queue {
	struct praas_memory_queue *next;
	uint64_t number;
	struct praas_queue_state state;
	struct praas_queued
		*messages; /* state.messages of them, each with data of its own */
	uint32_t room;
};

static void free_first(struct praas_memory_queue *q, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		q->state.bytes -= q->messages[i].key_bytes + q->messages[i].bytes;
		free((void *)(uintptr_t)q->messages[i].data);
	}
	q->state.messages -= count;
	memmove(q->messages, q->messages + count,
		q->state.messages * sizeof(*q->messages));
}

void praas_memory_queue_free(struct praas_memory_queue **queues, uint64_t number)
{
	struct praas_memory_queue **at = queues, *q;

	while ((q = *at)) {
		if (number != 0 && q->number != number) {
			at = &q->next;
			continue;
		}
		*at = q->next;
		if (q->messages)
			free_first(q, q->state.messages);
		free(q->messages);
		free(q);
	}
}

static struct praas_memory_queue *find(struct praas_memory_queue *q, uint64_t number)
{
	while (q && q->number != number)
		q = q->next;
	return q;
}

/* What an operation is about; not all of it of each. */
struct call {
	uint64_t process, position;
	const struct praas_queued *messages;
	struct praas_queued *ret_messages;
	uint32_t count, taken;
	uint8_t *data;
	uint32_t bytes;
	struct praas_queue_state state;
};

/* The queue of a process that there is, made if need be. */
static struct praas_memory_queue *get(struct praas_memory_queue **queues,
				      uint64_t number)
{
	struct praas_memory_queue *q = find(*queues, number);

	if (q)
		return q;
	q = calloc(1, sizeof(*q));
	if (!q)
		return NULL;
	q->number = number;
	q->next = *queues;
	*queues = q;
	return q;
}

/* The last of a source's epoch has the highest number of them. */
static bool has(const struct praas_memory_queue *q, const struct praas_queued *m)
{
	for (uint64_t i = q->state.messages; i-- > 0;)
		if (q->messages[i].source == m->source &&
		    q->messages[i].epoch == m->epoch)
			return q->messages[i].number >= m->number;
	return false;
}

static int add(struct praas_memory_queue *q, const struct praas_queued *m)
{
	uint32_t bytes = m->key_bytes + m->bytes;
	uint8_t *data;

	if (q->state.messages >= PRAAS_LIMIT_QUEUED_MESSAGES ||
	    q->state.bytes + bytes > PRAAS_LIMIT_QUEUED_BYTES)
		return -ENOSPC;
	if (praas_memory_grow((void **)&q->messages, (uint32_t)q->state.messages,
			      &q->room, sizeof(*q->messages)))
		return -EIO;
	data = malloc(bytes ? bytes : 1);
	if (!data)
		return -EIO;
	if (bytes > 0)
		memcpy(data, m->data, bytes);
	q->messages[q->state.messages] = *m;
	q->messages[q->state.messages].data = data;
	q->messages[q->state.messages++].position = ++q->state.tail;
	q->state.bytes += bytes;
	return 0;
}

static int append_locked(void *user, struct praas_memory_queue **queues,
			 const struct praas_process_record *process)
{
	struct call *c = user;
	struct praas_memory_queue *q;
	int rc = 0;

	if (!process || process->state == PRAAS_LIFE_DELETING)
		return -ENOENT;
	q = get(queues, c->process);
	if (!q)
		return -EIO;
	while (c->taken < c->count) {
		if (!has(q, &c->messages[c->taken]))
			rc = add(q, &c->messages[c->taken]);
		if (rc)
			break;
		c->taken++;
	}
	c->state = q->state;
	return c->taken > 0 ? 0 : rc;
}

static int append(struct praas_records *r, uint64_t process,
		  const struct praas_queued *messages, uint32_t count,
		  uint32_t *ret_taken, uint64_t *ret_tail)
{
	struct call c = { .process = process, .messages = messages, .count = count };
	int rc = praas_memory_queues(r, process, append_locked, &c);

	*ret_taken = c.taken;
	*ret_tail = c.state.tail;
	return rc;
}

/* Copies of as many of the messages from the first on as one answer has. 0; -ENOMEM. */
static int copy(struct call *c, const struct praas_queued *first, uint64_t count)
{
	uint64_t bytes = 0;

	for (; c->taken < count && c->taken < PRAAS_LIMIT_MAIL_BATCH; c->taken++) {
		const struct praas_queued *m = &first[c->taken];

		bytes += m->key_bytes + m->bytes;
		if (c->taken > 0 && bytes > PRAAS_LIMIT_MESSAGE_BYTES)
			break;
		c->bytes = (uint32_t)bytes;
	}
	c->data = malloc(c->bytes ? c->bytes : 1);
	if (!c->data)
		return -ENOMEM;
	bytes = 0;
	for (uint32_t i = 0; i < c->taken; i++) {
		c->ret_messages[i] = first[i];
		c->ret_messages[i].data = memcpy(c->data + bytes, first[i].data,
						 first[i].key_bytes + first[i].bytes);
		bytes += first[i].key_bytes + first[i].bytes;
	}
	return 0;
}

static int read_locked(void *user, struct praas_memory_queue **queues,
		       const struct praas_process_record *process)
{
	struct call *c = user;
	const struct praas_memory_queue *q = find(*queues, c->process);
	uint64_t skip;

	(void)process;
	if (!q)
		return 0;
	c->state = q->state;
	if (c->position != 0 && c->position < q->state.trimmed)
		return -ESTALE;
	skip = praas_max_u64(c->position, q->state.trimmed) - q->state.trimmed;
	if (skip >= q->state.messages)
		return 0;
	return copy(c, q->messages + skip, q->state.messages - skip);
}

static int read_after(struct praas_records *r, uint64_t process, uint64_t after,
		      struct praas_queued *ret_messages, uint32_t *ret_count,
		      uint8_t **ret_data, uint32_t *ret_bytes, bool *ret_more)
{
	struct call c = { .process = process,
			  .position = after,
			  .ret_messages = ret_messages };
	int rc = praas_memory_queues(r, process, read_locked, &c);

	if (rc)
		return rc;
	*ret_count = c.taken;
	*ret_data = c.data;
	*ret_bytes = c.bytes;
	*ret_more = c.taken > 0 && ret_messages[c.taken - 1].position < c.state.tail;
	return 0;
}

static int state_locked(void *user, struct praas_memory_queue **queues,
			const struct praas_process_record *process)
{
	struct call *c = user;
	const struct praas_memory_queue *q = find(*queues, c->process);

	(void)process;
	if (q)
		c->state = q->state;
	return 0;
}

static int state(struct praas_records *r, uint64_t process,
		 struct praas_queue_state *ret_state)
{
	struct call c = { .process = process };
	int rc = praas_memory_queues(r, process, state_locked, &c);

	*ret_state = c.state;
	return rc;
}

static int trim_locked(void *user, struct praas_memory_queue **queues,
		       const struct praas_process_record *process)
{
	struct call *c = user;
	struct praas_memory_queue *q = find(*queues, c->process);
	uint64_t position = q ? praas_min_u64(c->position, q->state.tail) : 0;

	(void)process;
	if (q && position > q->state.trimmed) {
		free_first(q, position - q->state.trimmed);
		q->state.trimmed = position;
	}
	return 0;
}

static int trim(struct praas_records *r, uint64_t process, uint64_t position)
{
	struct call c = { .process = process, .position = position };

	return praas_memory_queues(r, process, trim_locked, &c);
}

static int lift_locked(void *user, struct praas_memory_queue **queues,
		       const struct praas_process_record *process)
{
	struct call *c = user;
	struct praas_memory_queue *q = process ? get(queues, c->process) : NULL;

	if (!process)
		return -ENOENT;
	if (!q)
		return -EIO;
	if (c->position > q->state.tail) {
		uint64_t by = c->position - q->state.trimmed;

		for (uint64_t i = 0; i < q->state.messages; i++)
			q->messages[i].position += by;
		q->state.tail += by;
		q->state.trimmed = c->position;
	}
	c->state = q->state;
	return 0;
}

static int lift(struct praas_records *r, uint64_t process, uint64_t position,
		uint64_t *ret_tail)
{
	struct call c = { .process = process, .position = position };
	int rc = praas_memory_queues(r, process, lift_locked, &c);

	*ret_tail = c.state.tail;
	return rc;
}

static int drop(struct praas_records *r, uint64_t process)
{
	return trim(r, process, UINT64_MAX);
}

const struct praas_queue_ops praas_memory_queue_ops = {
	.append = append,
	.read = read_after,
	.state = state,
	.trim = trim,
	.lift = lift,
	.drop = drop,
};
