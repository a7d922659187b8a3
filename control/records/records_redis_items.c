/* SPDX-License-Identifier: Apache-2.0
 *
 * Items in Redis.
 */
#include "control/records/records_redis.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static int put(struct praas_records *r, enum praas_item_kind kind,
	       struct praas_item *item)
{
	char text[PRAAS_ITEM_BODY_BYTES + 32];
	struct praas_redis_call call;
	int rc;

	(void)snprintf(text, sizeof(text), "%" PRIu64 " %s", item->version + 1,
		       item->body);
	praas_redis_begin(&call, PRAAS_REDIS_ITEMS, PRAAS_REDIS_CHANGES, "put");
	praas_redis_add_number(&call, kind);
	praas_redis_add_number(&call, item->version);
	praas_redis_add_text(&call, item->id);
	praas_redis_add_text(&call, text);
	rc = praas_redis_do(praas_redis_store_of(r)->redis, &call);
	if (rc == 0)
		item->version++;
	return rc;
}

static int list(struct praas_records *r, enum praas_item_kind kind, const char *after,
		uint32_t max, struct praas_item *ret_items, uint32_t *ret_count)
{
	char from[PRAAS_NAME_MAX + 8];
	struct praas_redis_call call;
	redisReply *reply;
	uint32_t n = 0;
	int rc;

	(void)snprintf(from, sizeof(from), "%s%.*s", after && *after ? "(" : "-",
		       (int)PRAAS_NAME_MAX, after ? after : "");
	praas_redis_begin(&call, PRAAS_REDIS_ITEMS, PRAAS_REDIS_READS, "list");
	praas_redis_add_number(&call, kind);
	praas_redis_add_text(&call, from);
	praas_redis_add_number(&call, max);
	rc = praas_redis_run(praas_redis_store_of(r)->redis, &call, &reply);
	for (; rc == 0 && n < max && 2 * n + 2 < reply->elements; n++)
		rc = praas_redis_read_item(praas_redis_text(reply, 2 * n + 1),
					   praas_redis_text(reply, 2 * n + 2),
					   &ret_items[n]);
	if (rc == 0)
		*ret_count = n;
	if (reply)
		freeReplyObject(reply);
	return rc;
}

static int take_out(struct praas_records *r, enum praas_item_kind kind, const char *id)
{
	struct praas_redis_call call;

	praas_redis_begin(&call, PRAAS_REDIS_ITEMS, PRAAS_REDIS_FREES, "delete");
	praas_redis_add_number(&call, kind);
	praas_redis_add_text(&call, id);
	return praas_redis_do(praas_redis_store_of(r)->redis, &call);
}

const struct praas_items_ops praas_redis_items = {
	.put = put,
	.list = list,
	.take_out = take_out,
};
