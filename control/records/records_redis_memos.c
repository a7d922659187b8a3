/* SPDX-License-Identifier: Apache-2.0
 *
 * Memos in Redis.
 */
#include "control/records/records_redis.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/names.h"

#define PLACE_BYTES (20u + PRAAS_REDIS_HEX_HASH + 8u)

static void add_id(struct praas_redis_call *call, const uint8_t *id,
		   char hex[PRAAS_REDIS_HEX_HASH])
{
	praas_hex_encode(id, PRAAS_RECORD_HASH_BYTES, hex);
	praas_redis_add_text(call, hex);
}

static int change(struct praas_records *r, const char *op,
		  const struct praas_memo *memo, const uint8_t *run)
{
	char id[PRAAS_REDIS_HEX_HASH], hex[PRAAS_REDIS_HEX_ID],
		text[PRAAS_REDIS_ROW_BYTES];
	struct praas_redis_call call;

	praas_redis_write_memo(text, memo);
	praas_redis_begin(&call, PRAAS_REDIS_MEMOS, PRAAS_REDIS_CHANGES, op);
	add_id(&call, memo->id, id);
	praas_redis_add_text(&call, text);
	praas_redis_add_bytes(&call, memo->answer, memo->answer_bytes);
	if (run) {
		praas_hex_encode(run, PRAAS_RECORD_ID_BYTES, hex);
		praas_redis_add_text(&call, hex);
	}
	return praas_redis_do(praas_redis_store_of(r)->redis, &call);
}

static int put(struct praas_records *r, const struct praas_memo *memo)
{
	return change(r, "put", memo, NULL);
}

static int set(struct praas_records *r, const struct praas_memo *memo,
	       const uint8_t *run)
{
	return change(r, "set", memo, run);
}

static int read_found(const redisReply *reply, struct praas_memo *ret_memo)
{
	const redisReply *text = praas_redis_text(reply, 1),
			 *answer = praas_redis_text(reply, 2);
	int rc = text ? praas_redis_read_memo(text, ret_memo) : -ENOENT;

	if (rc)
		return rc;
	if (!answer || answer->len != ret_memo->answer_bytes)
		return -EPROTO;
	if (answer->len == 0)
		return 0;
	ret_memo->answer = malloc(answer->len);
	if (!ret_memo->answer)
		return -ENOMEM;
	memcpy(ret_memo->answer, answer->str, answer->len);
	return 0;
}

static int get(struct praas_records *r, const uint8_t *id, struct praas_memo *ret_memo)
{
	char hex[PRAAS_REDIS_HEX_HASH];
	struct praas_redis_call call;
	redisReply *reply;
	int rc;

	praas_redis_begin(&call, PRAAS_REDIS_MEMOS, PRAAS_REDIS_READS, "get");
	add_id(&call, id, hex);
	rc = praas_redis_run(praas_redis_store_of(r)->redis, &call, &reply);
	if (rc == 0)
		rc = read_found(reply, ret_memo);
	if (reply)
		freeReplyObject(reply);
	return rc;
}

static int take_out(struct praas_records *r, const uint8_t *id)
{
	char hex[PRAAS_REDIS_HEX_HASH];
	struct praas_redis_call call;

	praas_redis_begin(&call, PRAAS_REDIS_MEMOS, PRAAS_REDIS_FREES, "delete");
	add_id(&call, id, hex);
	return praas_redis_do(praas_redis_store_of(r)->redis, &call);
}

static int expire(struct praas_records *r, uint64_t before_ns, uint32_t *ret_count)
{
	return praas_redis_do_all(praas_redis_store_of(r), PRAAS_REDIS_MEMOS, "expire",
				  before_ns, ret_count);
}

/* One more, where it counts. */
static void add_sum(const struct praas_memo *memo, const uint8_t *run, uint32_t max,
		    struct praas_memo_sum *sums, uint32_t *count)
{
	uint32_t i = 0;

	if (memo->status == 0 && !memcmp(memo->run, run, sizeof(memo->run)))
		return;
	while (i < *count && strcmp(sums[i].tenant, memo->tenant) != 0)
		i++;
	if (i == max)
		return;
	if (i == *count) {
		++*count;
		sums[i].bytes = 0;
		memcpy(sums[i].tenant, memo->tenant, sizeof(sums[i].tenant));
	}
	sums[i].bytes += PRAAS_MEMO_BYTES + memo->answer_bytes;
}

/* Some of them, behind a place, which becomes that of the last. */
static int sum_some(struct praas_records *r, const uint8_t *run, uint32_t max,
		    struct praas_memo_sum *sums, uint32_t *count,
		    char from[PLACE_BYTES], bool *ret_more)
{
	struct praas_redis_call call;
	const redisReply *last;
	redisReply *reply;
	int rc;

	praas_redis_begin(&call, PRAAS_REDIS_MEMOS, PRAAS_REDIS_READS, "heads");
	praas_redis_add_text(&call, from);
	praas_redis_add_number(&call, PRAAS_REDIS_SOME);
	rc = praas_redis_run(praas_redis_store_of(r)->redis, &call, &reply);
	for (size_t i = 2; rc == 0 && i < reply->elements; i++) {
		struct praas_memo memo;

		rc = praas_redis_read_memo(praas_redis_text(reply, i), &memo);
		if (rc == 0)
			add_sum(&memo, run, max, sums, count);
	}
	last = rc ? NULL : praas_redis_text(reply, 1);
	*ret_more = last && last->len > 0;
	if (*ret_more)
		(void)snprintf(from, PLACE_BYTES, "(%.*s", (int)PLACE_BYTES - 2,
			       last->str);
	if (reply)
		freeReplyObject(reply);
	return rc;
}

static int sums(struct praas_records *r, const uint8_t *run, uint32_t max,
		struct praas_memo_sum *ret_sums, uint32_t *ret_count)
{
	char from[PLACE_BYTES] = "-";
	bool more = true;
	int rc = 0;

	*ret_count = 0;
	while (rc == 0 && more)
		rc = sum_some(r, run, max, ret_sums, ret_count, from, &more);
	return rc;
}

const struct praas_memos_ops praas_redis_memos = {
	.put = put,
	.get = get,
	.set = set,
	.take_out = take_out,
	.expire = expire,
	.sums = sums,
};
