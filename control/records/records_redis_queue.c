/* SPDX-License-Identifier: Apache-2.0
 *
 * Backup queues in Redis (redis/queue.lua).
 */
#include "control/records/records_redis.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"

_Static_assert(9 + 4 + 2 * PRAAS_LIMIT_MAIL_BATCH <= PRAAS_REDIS_ARGS,
	       "a batch is one command");

static void begin(struct praas_redis_call *call, enum praas_redis_kind kind,
		  const char *op, uint64_t process)
{
	praas_redis_begin(call, PRAAS_REDIS_QUEUE, kind, op);
	praas_redis_add_number(call, process);
}

/* Heads of the messages of a call. NULL: no memory. */
static char *write_heads(const struct praas_queued *messages, uint32_t count)
{
	char *heads = malloc((size_t)(count ? count : 1) * PRAAS_REDIS_ROW_BYTES);

	for (uint32_t i = 0; heads && i < count; i++)
		praas_redis_write_queued(heads + (size_t)i * PRAAS_REDIS_ROW_BYTES,
					 &messages[i]);
	return heads;
}

static int append(struct praas_records *r, uint64_t process,
		  const struct praas_queued *messages, uint32_t count,
		  uint32_t *ret_taken, uint64_t *ret_tail)
{
	char *heads = write_heads(messages, count);
	struct praas_redis_call call;
	redisReply *reply = NULL;
	uint64_t taken = 0, tail = 0;
	int rc = heads ? 0 : -EIO;

	*ret_taken = 0;
	if (count > PRAAS_LIMIT_MAIL_BATCH)
		rc = -EINVAL;
	if (rc == 0) {
		begin(&call, PRAAS_REDIS_CHANGES, "append", process);
		praas_redis_add_number(&call, PRAAS_LIFE_DELETING);
		praas_redis_add_number(&call, PRAAS_LIMIT_QUEUED_MESSAGES);
		praas_redis_add_number(&call, PRAAS_LIMIT_QUEUED_BYTES);
		for (uint32_t i = 0; i < count; i++) {
			praas_redis_add_text(&call,
					     heads + (size_t)i * PRAAS_REDIS_ROW_BYTES);
			praas_redis_add_bytes(&call, messages[i].data,
					      messages[i].key_bytes +
						      (size_t)messages[i].bytes);
		}
		rc = praas_redis_run(praas_redis_store_of(r)->redis, &call, &reply);
	}
	if (reply && (rc == 0 || rc == -ENOSPC) &&
	    (praas_redis_word(reply, 1, &taken) || taken > count ||
	     praas_redis_word(reply, 2, &tail)))
		rc = -EPROTO;
	if (reply)
		freeReplyObject(reply);
	free(heads);
	*ret_taken = (uint32_t)taken;
	*ret_tail = tail;
	return rc;
}

/* Messages of a reply: heads and data after the first four elements. */
static int take_messages(const redisReply *reply, uint64_t position,
			 struct praas_queued *ret_messages, uint32_t *ret_count,
			 uint32_t *ret_bytes)
{
	uint32_t n = 0;
	int rc = 0;

	for (; rc == 0 && n < PRAAS_LIMIT_MAIL_BATCH && 2 * n + 5 < reply->elements;
	     n++) {
		rc = praas_redis_read_queued(praas_redis_text(reply, 2 * n + 4),
					     praas_redis_text(reply, 2 * n + 5),
					     &ret_messages[n]);
		ret_messages[n].position = position + n;
		*ret_bytes += ret_messages[n].key_bytes + ret_messages[n].bytes;
	}
	*ret_count = n;
	return rc;
}

static int copy_data(struct praas_queued *messages, uint32_t count, uint32_t bytes,
		     uint8_t **ret_data)
{
	uint8_t *data = bytes ? malloc(bytes) : NULL;
	uint32_t at = 0;

	if (bytes && !data)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t n = messages[i].key_bytes + messages[i].bytes;

		if (data && n > 0)
			memcpy(data + at, messages[i].data, n);
		messages[i].data = data ? data + at : NULL;
		at += n;
	}
	*ret_data = data;
	return 0;
}

static int read_after(struct praas_records *r, uint64_t process, uint64_t after,
		      struct praas_queued *ret_messages, uint32_t *ret_count,
		      uint8_t **ret_data, uint32_t *ret_bytes, bool *ret_more)
{
	struct praas_redis_call call;
	uint64_t tail = 0, trimmed = 0, position = 0;
	redisReply *reply;
	int rc;

	*ret_count = 0;
	*ret_bytes = 0;
	begin(&call, PRAAS_REDIS_READS, "read", process);
	praas_redis_add_number(&call, after);
	praas_redis_add_number(&call, PRAAS_LIMIT_MAIL_BATCH);
	praas_redis_add_number(&call, PRAAS_LIMIT_MESSAGE_BYTES);
	rc = praas_redis_run(praas_redis_store_of(r)->redis, &call, &reply);
	if (rc == 0 &&
	    (praas_redis_number(praas_redis_text(reply, 1), INT64_MAX, &tail) ||
	     praas_redis_number(praas_redis_text(reply, 2), INT64_MAX, &trimmed) ||
	     praas_redis_number(praas_redis_text(reply, 3), INT64_MAX, &position)))
		rc = -EPROTO;
	if (rc == 0)
		rc = take_messages(reply, position, ret_messages, ret_count, ret_bytes);
	if (rc == 0)
		rc = copy_data(ret_messages, *ret_count, *ret_bytes, ret_data);
	if (rc == 0)
		*ret_more = tail > (*ret_count ? ret_messages[*ret_count - 1].position
					       : praas_max_u64(after, trimmed));
	if (reply)
		freeReplyObject(reply);
	return rc;
}

static int state(struct praas_records *r, uint64_t process,
		 struct praas_queue_state *ret_state)
{
	struct praas_redis_call call;
	redisReply *reply;
	int rc;

	*ret_state = (struct praas_queue_state){ 0 };
	begin(&call, PRAAS_REDIS_READS, "state", process);
	rc = praas_redis_run(praas_redis_store_of(r)->redis, &call, &reply);
	if (rc == 0)
		rc = praas_redis_read_queue_state(reply, ret_state);
	if (reply)
		freeReplyObject(reply);
	return rc;
}

static int trim(struct praas_records *r, uint64_t process, uint64_t position)
{
	struct praas_redis_call call;

	begin(&call, PRAAS_REDIS_FREES, "trim", process);
	praas_redis_add_number(&call, praas_min_u64(position, PRAAS_REDIS_NUMBER_MAX));
	return praas_redis_do(praas_redis_store_of(r)->redis, &call);
}

static int lift(struct praas_records *r, uint64_t process, uint64_t position,
		uint64_t *ret_tail)
{
	struct praas_redis_call call;
	redisReply *reply = NULL;
	int rc;

	*ret_tail = 0;
	if (position > PRAAS_QUEUE_POSITION_MAX)
		return -EINVAL;
	begin(&call, PRAAS_REDIS_CHANGES, "lift", process);
	praas_redis_add_number(&call, position);
	rc = praas_redis_run(praas_redis_store_of(r)->redis, &call, &reply);
	if (rc == 0)
		rc = praas_redis_word(reply, 1, ret_tail);
	if (reply)
		freeReplyObject(reply);
	return rc;
}

static int drop(struct praas_records *r, uint64_t process)
{
	return trim(r, process, UINT64_MAX);
}

const struct praas_queue_ops praas_redis_queue = {
	.append = append,
	.read = read_after,
	.state = state,
	.trim = trim,
	.lift = lift,
	.drop = drop,
};
