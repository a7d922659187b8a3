/* SPDX-License-Identifier: Apache-2.0
 *
 * Records in Redis. Each call is one script, so it happens whole or not at all (redis/ has the scripts and
 * the connections; docs/protocols.md what is promised of what).
 */
#include "control/records/records_redis.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/names.h"
#include "internal/base.h"

#define BLOCK 256u
#define BOUND_BYTES (2u * (PRAAS_NAME_MAX + 1) + 8u)

struct praas_redis_store *praas_redis_store_of(struct praas_records *r)
{
	return (struct praas_redis_store *)(void *)r;
}

static struct praas_redis *redis_of(struct praas_records *r)
{
	return praas_redis_store_of(r)->redis;
}

/* "TENANT\0NAME", behind what a bound begins with. */
static size_t pair(char *ret_pair, const char *head, const char *tenant,
		   const char *name)
{
	return (size_t)snprintf(ret_pair, BOUND_BYTES, "%s%.*s%c%.*s", head,
				(int)PRAAS_NAME_MAX, tenant, 0, (int)PRAAS_NAME_MAX,
				name);
}

static int app_put(struct praas_records *r, struct praas_app_record *app)
{
	char text[PRAAS_REDIS_ROW_BYTES], id[PRAAS_REDIS_HEX_ID], key[BOUND_BYTES];
	struct praas_redis_call call;
	int rc;

	praas_hex_encode(app->id, sizeof(app->id), id);
	praas_redis_write_app(text, app);
	praas_redis_begin(&call, PRAAS_REDIS_APPS, PRAAS_REDIS_CHANGES, "put");
	praas_redis_add_number(&call, app->version);
	praas_redis_add_bytes(&call, key, pair(key, "", app->tenant, app->name));
	praas_redis_add_text(&call, id);
	praas_redis_add_text(&call, text);
	praas_redis_add_number(&call, PRAAS_LIMIT_APPS);
	rc = praas_redis_do(redis_of(r), &call);
	if (rc == 0)
		app->version++;
	return rc;
}

static int app_get(struct praas_records *r, const char *tenant, const char *name,
		   struct praas_app_record *ret_app)
{
	struct praas_redis_call call;
	char key[BOUND_BYTES];
	redisReply *reply;
	int rc;

	praas_redis_begin(&call, PRAAS_REDIS_APPS, PRAAS_REDIS_READS, "get");
	praas_redis_add_bytes(&call, key, pair(key, "", tenant, name));
	rc = praas_redis_run(redis_of(r), &call, &reply);
	if (rc == 0)
		rc = praas_redis_text(reply, 1)
			     ? praas_redis_read_app(praas_redis_text(reply, 1), ret_app)
			     : -ENOENT;
	if (reply)
		freeReplyObject(reply);
	return rc;
}

/* Between what a list of applications lies. -EINVAL `after` is no pair. */
static int add_bounds(struct praas_redis_call *call, const char *tenant,
		      const char *after, char from[BOUND_BYTES], char to[BOUND_BYTES])
{
	const char *slash = tenant || !after ? NULL : strchr(after, '/');
	char of[PRAAS_NAME_MAX + 1];

	if (!tenant && after && (!slash || slash - after > PRAAS_NAME_MAX))
		return -EINVAL;
	if (tenant) {
		praas_redis_add_bytes(
			call, from,
			pair(from, after ? "(" : "[", tenant, after ? after : ""));
		/* Behind the last of that tenant: the separator and more. */
		praas_redis_add_bytes(call, to,
				      (size_t)snprintf(to, BOUND_BYTES, "(%.*s\1",
						       (int)PRAAS_NAME_MAX, tenant));
		return 0;
	}
	if (slash) {
		(void)snprintf(of, sizeof(of), "%.*s", (int)(slash - after), after);
		praas_redis_add_bytes(call, from, pair(from, "(", of, slash + 1));
	} else {
		praas_redis_add_text(call, "-");
	}
	praas_redis_add_text(call, "+");
	return 0;
}

/* Elements of a reply behind the first: as many as there may be, each read by one function. */
#define READ_ALL(reply, max, read, ret_all, ret_count)                                 \
	do {                                                                           \
		uint32_t n_ = 0;                                                       \
                                                                                       \
		for (; rc == 0 && n_ < (max) && n_ + 1 < (reply)->elements; n_++)      \
			rc = read(praas_redis_text(reply, n_ + 1), &(ret_all)[n_]);    \
		if (rc == 0)                                                           \
			*(ret_count) = n_;                                             \
	} while (0)

static int app_list(struct praas_records *r, const char *tenant, const char *after,
		    uint32_t max, struct praas_app_record *ret_apps,
		    uint32_t *ret_count)
{
	char from[BOUND_BYTES], to[BOUND_BYTES];
	struct praas_redis_call call;
	redisReply *reply = NULL;
	int rc;

	praas_redis_begin(&call, PRAAS_REDIS_APPS, PRAAS_REDIS_READS, "list");
	rc = add_bounds(&call, tenant, after, from, to);
	if (rc)
		return rc;
	praas_redis_add_number(&call, max);
	rc = praas_redis_run(redis_of(r), &call, &reply);
	if (rc == 0)
		READ_ALL(reply, max, praas_redis_read_app, ret_apps, ret_count);
	if (reply)
		freeReplyObject(reply);
	return rc;
}

static int app_delete(struct praas_records *r, const uint8_t *id)
{
	struct praas_redis_call call;
	char hex[PRAAS_REDIS_HEX_ID];

	praas_hex_encode(id, PRAAS_RECORD_ID_BYTES, hex);
	praas_redis_begin(&call, PRAAS_REDIS_APPS, PRAAS_REDIS_FREES, "delete");
	praas_redis_add_text(&call, hex);
	return praas_redis_do(redis_of(r), &call);
}

/* ---- processes ---------------------------------------------------------------------- */

/* As with SQLite: by the block, so that most need not wait for Redis. */
static uint64_t process_number(struct praas_records *r)
{
	struct praas_redis_store *s = praas_redis_store_of(r);
	struct praas_redis_call call;
	redisReply *reply = NULL;
	uint64_t number = 0;

	(void)pthread_mutex_lock(&s->number_lock);
	if (s->number_last == s->number_end) {
		praas_redis_begin(&call, PRAAS_REDIS_PROCESSES, PRAAS_REDIS_CHANGES,
				  "numbers");
		praas_redis_add_number(&call, BLOCK);
		if (praas_redis_run(s->redis, &call, &reply) == 0 &&
		    praas_redis_word(reply, 1, &number) == 0 && number >= BLOCK &&
		    number <= PRAAS_REDIS_NUMBER_MAX) {
			s->number_end = number;
			s->number_last = number - BLOCK;
		}
		if (reply)
			freeReplyObject(reply);
	}
	number = s->number_last < s->number_end ? ++s->number_last : 0;
	(void)pthread_mutex_unlock(&s->number_lock);
	return number;
}

/* Those that nobody got. */
static void give_numbers_back(struct praas_redis_store *s)
{
	struct praas_redis_call call;

	if (s->number_last == s->number_end)
		return;
	praas_redis_begin(&call, PRAAS_REDIS_PROCESSES, PRAAS_REDIS_FREES, "give_back");
	praas_redis_add_number(&call, s->number_end);
	praas_redis_add_number(&call, s->number_last);
	(void)praas_redis_do(s->redis, &call); /* else there is a gap */
}

void praas_redis_add_process(struct praas_redis_call *call,
			     const struct praas_process_record *p,
			     char app[PRAAS_REDIS_HEX_ID],
			     char text[PRAAS_REDIS_ROW_BYTES])
{
	praas_hex_encode(p->app, sizeof(p->app), app);
	praas_redis_write_process(text, p);
	praas_redis_add_number(call, p->version);
	praas_redis_add_number(call, p->number);
	praas_redis_add_text(call, app);
	praas_redis_add_text(call, p->name);
	praas_redis_add_text(call, text);
	praas_redis_add_number(call, PRAAS_LIMIT_PROCESSES);
}

static int process_put(struct praas_records *r, struct praas_process_record *p)
{
	char text[PRAAS_REDIS_ROW_BYTES], app[PRAAS_REDIS_HEX_ID];
	struct praas_redis_call call;
	uint64_t given = p->number;
	int rc;

	if (p->version == 0 && p->number == 0)
		p->number = process_number(r);
	if (p->number == 0 || p->number > PRAAS_REDIS_NUMBER_MAX) {
		p->number = given;
		return given ? -EINVAL : -EIO;
	}
	praas_redis_begin(&call, PRAAS_REDIS_PROCESSES, PRAAS_REDIS_CHANGES, "put");
	praas_redis_add_process(&call, p, app, text);
	rc = praas_redis_do(redis_of(r), &call);
	if (rc == 0)
		p->version++;
	else
		p->number = given;
	return rc;
}

static int process_get(struct praas_records *r, const uint8_t *app, const char *name,
		       struct praas_process_record *ret_process)
{
	char hex[PRAAS_REDIS_HEX_ID];
	struct praas_redis_call call;
	redisReply *reply;
	int rc;

	praas_redis_begin(&call, PRAAS_REDIS_PROCESSES, PRAAS_REDIS_READS,
			  name ? "find" : "get");
	if (name) {
		praas_hex_encode(app, PRAAS_RECORD_ID_BYTES, hex);
		praas_redis_add_text(&call, hex);
		praas_redis_add_text(&call, name);
	} else {
		praas_redis_add_number(&call, ret_process->number);
	}
	rc = praas_redis_run(redis_of(r), &call, &reply);
	if (rc == 0)
		rc = praas_redis_text(reply, 1)
			     ? praas_redis_read_process(praas_redis_text(reply, 1),
							ret_process)
			     : -ENOENT;
	if (reply)
		freeReplyObject(reply);
	return rc;
}

static int process_list(struct praas_records *r, const uint8_t *app, const char *after,
			uint32_t max, struct praas_process_record *ret_processes,
			uint32_t *ret_count)
{
	char from[PRAAS_NAME_MAX + 8], hex[PRAAS_REDIS_HEX_ID];
	struct praas_redis_call call;
	redisReply *reply = NULL;
	uint64_t number = 0;
	int rc;

	if (!app && after && praas_number_parse(after, INT64_MAX, &number))
		return -EINVAL;
	praas_redis_begin(&call, PRAAS_REDIS_PROCESSES, PRAAS_REDIS_READS,
			  app ? "list_of" : "list");
	if (app) {
		praas_hex_encode(app, PRAAS_RECORD_ID_BYTES, hex);
		praas_redis_add_text(&call, hex);
		(void)snprintf(from, sizeof(from), "[%.*s%s", (int)PRAAS_NAME_MAX,
			       after ? after : "", after ? "\1" : "");
	} else {
		(void)snprintf(from, sizeof(from), "(%llu", (unsigned long long)number);
	}
	praas_redis_add_text(&call, from);
	praas_redis_add_number(&call, max);
	rc = praas_redis_run(redis_of(r), &call, &reply);
	if (rc == 0)
		READ_ALL(reply, max, praas_redis_read_process, ret_processes,
			 ret_count);
	if (reply)
		freeReplyObject(reply);
	return rc;
}

static int process_delete(struct praas_records *r, uint64_t number)
{
	struct praas_redis_call call;

	praas_redis_begin(&call, PRAAS_REDIS_PROCESSES, PRAAS_REDIS_FREES, "delete");
	praas_redis_add_number(&call, number);
	return praas_redis_do(redis_of(r), &call);
}

/* ---- its life ----------------------------------------------------------------------- */

int praas_redis_do_all(struct praas_redis_store *s, enum praas_redis_concept concept,
		       const char *op, uint64_t before_ns, uint32_t *ret_count)
{
	uint64_t some = PRAAS_REDIS_SOME;
	int rc = 0;

	*ret_count = 0;
	while (rc == 0 && some == PRAAS_REDIS_SOME) {
		struct praas_redis_call call;
		redisReply *reply;

		praas_redis_begin(&call, concept, PRAAS_REDIS_FREES, op);
		praas_redis_add_wide(&call, before_ns);
		praas_redis_add_number(&call, PRAAS_REDIS_SOME);
		rc = praas_redis_run(s->redis, &call, &reply);
		if (rc == 0)
			rc = praas_redis_word(reply, 1, &some);
		if (rc == 0)
			*ret_count += (uint32_t)some;
		if (reply)
			freeReplyObject(reply);
	}
	return rc;
}

static bool durable(struct praas_records *r)
{
	return praas_redis_durable(redis_of(r));
}

static void close_redis(struct praas_records *r)
{
	struct praas_redis_store *s = praas_redis_store_of(r);

	give_numbers_back(s);
	praas_redis_close(s->redis);
	(void)pthread_mutex_destroy(&s->number_lock);
	(void)pthread_mutex_destroy(&s->usage_lock);
	free(s);
}

static const struct praas_records_ops redis_ops = {
	.app_put = app_put,
	.app_get = app_get,
	.app_list = app_list,
	.app_delete = app_delete,
	.process_number = process_number,
	.process_put = process_put,
	.process_get = process_get,
	.process_list = process_list,
	.process_delete = process_delete,
	.durable = durable,
	.close = close_redis,
};

int praas_records_redis_open(const char *url, const char *place,
			     struct praas_lease *lease,
			     struct praas_records **ret_records, char *ret_text)
{
	struct praas_redis_store *s = calloc(1, sizeof(*s));
	int rc = s ? praas_redis_open(url, place, lease, &s->redis, ret_text) : -ENOMEM;

	if (rc) {
		free(s);
		return rc;
	}
	(void)pthread_mutex_init(&s->number_lock, NULL);
	(void)pthread_mutex_init(&s->usage_lock, NULL);
	s->base.ops = &redis_ops;
	s->base.items = &praas_redis_items;
	s->base.memos = &praas_redis_memos;
	s->base.usage = &praas_redis_usage;
	s->base.queue = &praas_redis_queue;
	*ret_records = &s->base;
	return 0;
}
