/* SPDX-License-Identifier: Apache-2.0
 *
 * Applications and processes that were read lately, in front of a store. Every change goes through
 * here, and takes what it changes out; a read that was under way meanwhile is not kept. So whoever
 * reads after a change has returned sees it. Only where this service alone writes the store.
 */
#include "control/records/records.h"
#include "control/table.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX 4096u /* of each kind; then all are forgotten */
#define APP_KEY_BYTES (2u * (PRAAS_NAME_MAX + 1))
#define PROCESS_KEY_BYTES (PRAAS_RECORD_ID_BYTES + PRAAS_NAME_MAX + 1)

struct kept_app {
	char key[APP_KEY_BYTES]; /* TENANT/NAME */
	UT_hash_handle hh;
	struct praas_app_record record;
};

struct kept_process {
	uint8_t key[PROCESS_KEY_BYTES]; /* application, name, zeros */
	UT_hash_handle hh;
	struct praas_process_record record;
};

struct cache {
	struct praas_records base;
	struct praas_records *inner;
	pthread_mutex_t lock;
	struct kept_app *apps;
	struct kept_process *processes;
	/* That there were: a read that began before the last is not kept. Processes change all the time, applications
	 * seldom: without Redis what is here of them is all that there is. */
	uint64_t app_changes, process_changes;
};

static struct cache *of(struct praas_records *r)
{
	return (struct cache *)(void *)r;
}

static void app_key(const char *tenant, const char *name, char ret_key[APP_KEY_BYTES])
{
	size_t n = strnlen(tenant, PRAAS_NAME_MAX), m = strnlen(name, PRAAS_NAME_MAX);

	memcpy(ret_key, tenant, n);
	ret_key[n] = '/';
	memcpy(ret_key + n + 1, name, m);
	ret_key[n + 1 + m] = 0;
}

static void process_key(const uint8_t *app, const char *name,
			uint8_t ret_key[PROCESS_KEY_BYTES])
{
	memset(ret_key, 0, PROCESS_KEY_BYTES);
	memcpy(ret_key, app, PRAAS_RECORD_ID_BYTES);
	memcpy(ret_key + PRAAS_RECORD_ID_BYTES, name, strnlen(name, PRAAS_NAME_MAX));
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static void forget_all(struct cache *c)
{
	struct kept_process *p, *next_p;
	struct kept_app *a, *next_a;

	HASH_ITER(hh, c->apps, a, next_a)
	{
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): HASH_DEL() moved the head on */
		HASH_DEL(c->apps, a);
		free(a);
	}
	HASH_ITER(hh, c->processes, p, next_p)
	{
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): HASH_DEL() moved the head on */
		HASH_DEL(c->processes, p);
		free(p);
	}
}

/* ---- applications ------------------------------------------------------------------- */

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static int app_put(struct praas_records *r, struct praas_app_record *app)
{
	struct cache *c = of(r);
	int rc = c->inner->ops->app_put(c->inner, app);
	char key[APP_KEY_BYTES];
	struct kept_app *a;

	app_key(app->tenant, app->name, key);
	(void)pthread_mutex_lock(&c->lock);
	c->app_changes++;
	HASH_FIND_STR(c->apps, key, a);
	if (a)
		HASH_DEL(c->apps, a);
	(void)pthread_mutex_unlock(&c->lock);
	free(a);
	return rc;
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static void keep_app(struct cache *c, const char *key,
		     const struct praas_app_record *record, uint64_t changes)
{
	struct kept_app *a, *fresh = calloc(1, sizeof(*fresh));

	if (!fresh)
		return;
	memcpy(fresh->key, key, APP_KEY_BYTES);
	fresh->record = *record;
	(void)pthread_mutex_lock(&c->lock);
	HASH_FIND_STR(c->apps, key, a);
	if (!a && c->app_changes == changes) {
		if (HASH_COUNT(c->apps) >= ENTRIES_MAX)
			forget_all(c);
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): HASH_DEL() moved the head on */
		HASH_ADD_STR(c->apps, key, fresh);
		fresh = PRAAS_TABLE_HAS(hh, fresh) ? NULL : fresh;
	}
	(void)pthread_mutex_unlock(&c->lock);
	free(fresh);
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static int app_get(struct praas_records *r, const char *tenant, const char *name,
		   struct praas_app_record *ret_app)
{
	struct cache *c = of(r);
	char key[APP_KEY_BYTES] = { 0 };
	uint64_t changes;
	struct kept_app *a;
	int rc;

	app_key(tenant, name, key);
	(void)pthread_mutex_lock(&c->lock);
	HASH_FIND_STR(c->apps, key, a);
	if (a)
		*ret_app = a->record;
	changes = c->app_changes;
	(void)pthread_mutex_unlock(&c->lock);
	if (a)
		return 0;
	rc = c->inner->ops->app_get(c->inner, tenant, name, ret_app);
	if (rc == 0)
		keep_app(c, key, ret_app, changes);
	return rc;
}

static int app_list(struct praas_records *r, const char *tenant, const char *after,
		    uint32_t max, struct praas_app_record *ret_apps,
		    uint32_t *ret_count)
{
	struct praas_records *inner = of(r)->inner;

	return inner->ops->app_list(inner, tenant, after, max, ret_apps, ret_count);
}

static int app_delete(struct praas_records *r, const uint8_t *id)
{
	struct cache *c = of(r);
	int rc = c->inner->ops->app_delete(c->inner, id);

	(void)pthread_mutex_lock(&c->lock);
	c->app_changes++;
	c->process_changes++;
	forget_all(c); /* rare */
	(void)pthread_mutex_unlock(&c->lock);
	return rc;
}

/* ---- processes ---------------------------------------------------------------------- */

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static void forget_process(struct cache *c, const struct praas_process_record *process)
{
	uint8_t key[PROCESS_KEY_BYTES];
	struct kept_process *p;

	process_key(process->app, process->name, key);
	(void)pthread_mutex_lock(&c->lock);
	c->process_changes++;
	HASH_FIND(hh, c->processes, key, sizeof(key), p);
	if (p)
		HASH_DEL(c->processes, p);
	(void)pthread_mutex_unlock(&c->lock);
	free(p);
}

static uint64_t process_number(struct praas_records *r)
{
	struct praas_records *inner = of(r)->inner;

	return inner->ops->process_number(inner);
}

static int process_put(struct praas_records *r, struct praas_process_record *process)
{
	struct cache *c = of(r);
	int rc = c->inner->ops->process_put(c->inner, process);

	forget_process(c, process);
	return rc;
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static void keep_process(struct cache *c, const uint8_t *key,
			 const struct praas_process_record *record, uint64_t changes)
{
	struct kept_process *p, *fresh = calloc(1, sizeof(*fresh));

	if (!fresh)
		return;
	memcpy(fresh->key, key, PROCESS_KEY_BYTES);
	fresh->record = *record;
	(void)pthread_mutex_lock(&c->lock);
	HASH_FIND(hh, c->processes, key, PROCESS_KEY_BYTES, p);
	if (!p && c->process_changes == changes) {
		if (HASH_COUNT(c->processes) >= ENTRIES_MAX)
			forget_all(c);
		HASH_ADD(hh, c->processes, key, PROCESS_KEY_BYTES, fresh);
		fresh = PRAAS_TABLE_HAS(hh, fresh) ? NULL : fresh;
	}
	(void)pthread_mutex_unlock(&c->lock);
	free(fresh);
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static int process_get(struct praas_records *r, const uint8_t *app, const char *name,
		       struct praas_process_record *ret_process)
{
	struct cache *c = of(r);
	uint8_t key[PROCESS_KEY_BYTES];
	struct kept_process *p;
	uint64_t changes;
	int rc;

	if (!name)
		return c->inner->ops->process_get(c->inner, app, name, ret_process);
	process_key(app, name, key);
	(void)pthread_mutex_lock(&c->lock);
	HASH_FIND(hh, c->processes, key, sizeof(key), p);
	if (p)
		*ret_process = p->record;
	changes = c->process_changes;
	(void)pthread_mutex_unlock(&c->lock);
	if (p)
		return 0;
	rc = c->inner->ops->process_get(c->inner, app, name, ret_process);
	if (rc == 0)
		keep_process(c, key, ret_process, changes);
	return rc;
}

static int process_list(struct praas_records *r, const uint8_t *app, const char *after,
			uint32_t max, struct praas_process_record *ret_processes,
			uint32_t *ret_count)
{
	struct praas_records *inner = of(r)->inner;

	return inner->ops->process_list(inner, app, after, max, ret_processes,
					ret_count);
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static int process_delete(struct praas_records *r, uint64_t number)
{
	struct cache *c = of(r);
	int rc = c->inner->ops->process_delete(c->inner, number);
	struct kept_process *p, *next;

	(void)pthread_mutex_lock(&c->lock);
	c->process_changes++;
	HASH_ITER(hh, c->processes, p, next)
	{
		if (p->record.number != number)
			continue;
		HASH_DEL(c->processes, p);
		free(p);
		break;
	}
	(void)pthread_mutex_unlock(&c->lock);
	return rc;
}

static bool durable(struct praas_records *r)
{
	return of(r)->inner->ops->durable(of(r)->inner);
}

/* ---- the rest, straight through ------------------------------------------------------ */

static int item_put(struct praas_records *r, enum praas_item_kind kind,
		    struct praas_item *item)
{
	return of(r)->inner->items->put(of(r)->inner, kind, item);
}

static int item_list(struct praas_records *r, enum praas_item_kind kind,
		     const char *after, uint32_t max, struct praas_item *ret_items,
		     uint32_t *ret_count)
{
	return of(r)->inner->items->list(of(r)->inner, kind, after, max, ret_items,
					 ret_count);
}

static int item_take_out(struct praas_records *r, enum praas_item_kind kind,
			 const char *id)
{
	return of(r)->inner->items->take_out(of(r)->inner, kind, id);
}

static int memo_put(struct praas_records *r, const struct praas_memo *memo)
{
	return of(r)->inner->memos->put(of(r)->inner, memo);
}

static int memo_get(struct praas_records *r, const uint8_t *id,
		    struct praas_memo *ret_memo)
{
	return of(r)->inner->memos->get(of(r)->inner, id, ret_memo);
}

static int memo_set(struct praas_records *r, const struct praas_memo *memo,
		    const uint8_t *run)
{
	return of(r)->inner->memos->set(of(r)->inner, memo, run);
}

static int memo_take_out(struct praas_records *r, const uint8_t *id)
{
	return of(r)->inner->memos->take_out(of(r)->inner, id);
}

static int memo_expire(struct praas_records *r, uint64_t before_ns, uint32_t *ret_count)
{
	return of(r)->inner->memos->expire(of(r)->inner, before_ns, ret_count);
}

static int memo_sums(struct praas_records *r, const uint8_t *run, uint32_t max,
		     struct praas_memo_sum *ret_sums, uint32_t *ret_count)
{
	return of(r)->inner->memos->sums(of(r)->inner, run, max, ret_sums, ret_count);
}

static int usage_put(struct praas_records *r, struct praas_process_record *process,
		     const struct praas_app_record *app,
		     const struct praas_usage_row *row)
{
	struct cache *c = of(r);
	int rc = c->inner->usage->put(c->inner, process, app, row);

	forget_process(c, process);
	return rc;
}

static int usage_freeze(struct praas_records *r)
{
	return of(r)->inner->usage->freeze(of(r)->inner);
}

static int usage_each(struct praas_records *r, const struct praas_usage_filter *filter,
		      int (*fn)(void *user, const struct praas_usage_sum *sum),
		      void *user)
{
	return of(r)->inner->usage->each(of(r)->inner, filter, fn, user);
}

static void usage_thaw(struct praas_records *r)
{
	of(r)->inner->usage->thaw(of(r)->inner);
}

static int usage_fold(struct praas_records *r, uint64_t before_ns, uint32_t *ret_rows)
{
	return of(r)->inner->usage->fold(of(r)->inner, before_ns, ret_rows);
}

static int usage_expire(struct praas_records *r, uint64_t before_ns, uint32_t *ret_rows)
{
	return of(r)->inner->usage->expire(of(r)->inner, before_ns, ret_rows);
}

static int queue_append(struct praas_records *r, uint64_t process,
			const struct praas_queued *messages, uint32_t count,
			uint32_t *ret_taken, uint64_t *ret_tail)
{
	return of(r)->inner->queue->append(of(r)->inner, process, messages, count,
					   ret_taken, ret_tail);
}

static int queue_read(struct praas_records *r, uint64_t process, uint64_t after,
		      struct praas_queued *ret_messages, uint32_t *ret_count,
		      uint8_t **ret_data, uint32_t *ret_bytes, bool *ret_more)
{
	return of(r)->inner->queue->read(of(r)->inner, process, after, ret_messages,
					 ret_count, ret_data, ret_bytes, ret_more);
}

static int queue_state(struct praas_records *r, uint64_t process,
		       struct praas_queue_state *ret_state)
{
	return of(r)->inner->queue->state(of(r)->inner, process, ret_state);
}

static int queue_trim(struct praas_records *r, uint64_t process, uint64_t position)
{
	return of(r)->inner->queue->trim(of(r)->inner, process, position);
}

static int queue_lift(struct praas_records *r, uint64_t process, uint64_t position,
		      uint64_t *ret_tail)
{
	return of(r)->inner->queue->lift(of(r)->inner, process, position, ret_tail);
}

static int queue_drop(struct praas_records *r, uint64_t process)
{
	return of(r)->inner->queue->drop(of(r)->inner, process);
}

static void close_cache(struct praas_records *r)
{
	struct cache *c = of(r);

	c->inner->ops->close(c->inner);
	forget_all(c);
	(void)pthread_mutex_destroy(&c->lock);
	free(c);
}

static const struct praas_records_ops cache_ops = {
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
	.close = close_cache,
};

static const struct praas_items_ops cache_items = {
	.put = item_put,
	.list = item_list,
	.take_out = item_take_out,
};

static const struct praas_memos_ops cache_memos = {
	.put = memo_put,
	.get = memo_get,
	.set = memo_set,
	.take_out = memo_take_out,
	.expire = memo_expire,
	.sums = memo_sums,
};

static const struct praas_usage_ops cache_usage = {
	.put = usage_put,
	.freeze = usage_freeze,
	.each = usage_each,
	.thaw = usage_thaw,
	.fold = usage_fold,
	.expire = usage_expire,
};

static const struct praas_queue_ops cache_queue = {
	.append = queue_append,
	.read = queue_read,
	.state = queue_state,
	.trim = queue_trim,
	.lift = queue_lift,
	.drop = queue_drop,
};

int praas_records_cached(struct praas_records *inner,
			 struct praas_records **ret_records)
{
	struct cache *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->base.ops = &cache_ops;
	c->base.items = &cache_items;
	c->base.memos = &cache_memos;
	c->base.usage = &cache_usage;
	c->base.queue = &cache_queue;
	c->inner = inner;
	(void)pthread_mutex_init(&c->lock, NULL);
	*ret_records = &c->base;
	return 0;
}
