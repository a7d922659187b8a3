/* SPDX-License-Identifier: Apache-2.0
 *
 * Records in memory: forgets all at the end of the program. For tests and throw-away services;
 * also the reference for what the table promises.
 */
#include "control/records/records_memory.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "control/names.h"
#include "internal/base.h"

struct stored_item {
	enum praas_item_kind kind;
	struct praas_item item;
};

/* Sorted arrays: applications by tenant and name, processes by number, items by kind and id. */
struct memory {
	struct praas_records base;
	pthread_mutex_t lock;
	struct praas_app_record *apps;
	struct praas_process_record *processes;
	struct stored_item *items;
	uint32_t apps_count, processes_count, items_count;
	uint32_t apps_room, processes_room, items_room;
	uint64_t number_last;
	struct praas_memory_memos memos;
	struct praas_memory_usage usage;
	struct praas_memory_queue *queues;
};

static struct memory *of(struct praas_records *r)
{
	return (struct memory *)(void *)r;
}

struct praas_memory_memos *praas_memory_memos_of(struct praas_records *r)
{
	return &of(r)->memos;
}

struct praas_memory_usage *praas_memory_usage_of(struct praas_records *r)
{
	return &of(r)->usage;
}

/* Room for one more item. 0; -ENOMEM. */
int praas_memory_grow(void **items, uint32_t count, uint32_t *room, size_t item_bytes)
{
	uint32_t wanted = *room ? *room * 2 : 16;
	void *more;

	if (count < *room)
		return 0;
	more = reallocarray(*items, wanted, item_bytes);
	if (!more)
		return -ENOMEM;
	*items = more;
	*room = wanted;
	return 0;
}

static bool same_id(const uint8_t *a, const uint8_t *b)
{
	return memcmp(a, b, PRAAS_RECORD_ID_BYTES) == 0;
}

static int order_of(const struct praas_app_record *app, const char *tenant,
		    const char *name)
{
	int order = strcmp(app->tenant, tenant);

	return order ? order : strcmp(app->name, name);
}

/* Where tenant's application of that name is, or would be. */
static uint32_t app_position(const struct memory *m, const char *tenant,
			     const char *name)
{
	uint32_t i = 0;

	while (i < m->apps_count && order_of(&m->apps[i], tenant, name) < 0)
		i++;
	return i;
}

static struct praas_app_record *app_by_id(const struct memory *m, const uint8_t *id)
{
	for (uint32_t i = 0; i < m->apps_count; i++)
		if (same_id(m->apps[i].id, id))
			return &m->apps[i];
	return NULL;
}

static struct praas_process_record *process_by_name(const struct memory *m,
						    const uint8_t *app,
						    const char *name)
{
	for (uint32_t i = 0; i < m->processes_count; i++)
		if (same_id(m->processes[i].app, app) &&
		    !strcmp(m->processes[i].name, name))
			return &m->processes[i];
	return NULL;
}

static struct praas_process_record *process_by_number(const struct memory *m,
						      uint64_t number)
{
	for (uint32_t i = 0; i < m->processes_count; i++)
		if (m->processes[i].number == number)
			return &m->processes[i];
	return NULL;
}

static int app_create(struct memory *m, struct praas_app_record *app)
{
	uint32_t at = app_position(m, app->tenant, app->name);

	if (at < m->apps_count && !order_of(&m->apps[at], app->tenant, app->name))
		return -EEXIST;
	if (m->apps_count >= PRAAS_LIMIT_APPS)
		return -ENOSPC;
	if (praas_memory_grow((void **)&m->apps, m->apps_count, &m->apps_room,
			      sizeof(*app)))
		return -EIO;
	memmove(&m->apps[at + 1], &m->apps[at], (m->apps_count - at) * sizeof(*app));
	m->apps_count++;
	app->version = 1;
	m->apps[at] = *app;
	return 0;
}

static int app_put(struct praas_records *r, struct praas_app_record *app)
{
	struct memory *m = of(r);
	struct praas_app_record *old;
	int rc = 0;

	(void)pthread_mutex_lock(&m->lock);
	if (app->version == 0) {
		rc = app_create(m, app);
	} else {
		old = app_by_id(m, app->id);
		if (!old || old->version != app->version)
			rc = -ESTALE;
		else {
			app->version++;
			*old = *app;
		}
	}
	(void)pthread_mutex_unlock(&m->lock);
	return rc;
}

static int app_get(struct praas_records *r, const char *tenant, const char *name,
		   struct praas_app_record *ret_app)
{
	struct memory *m = of(r);
	uint32_t at;
	int rc = -ENOENT;

	(void)pthread_mutex_lock(&m->lock);
	at = app_position(m, tenant, name);
	if (at < m->apps_count && !order_of(&m->apps[at], tenant, name)) {
		*ret_app = m->apps[at];
		rc = 0;
	}
	(void)pthread_mutex_unlock(&m->lock);
	return rc;
}

static int app_list(struct praas_records *r, const char *tenant, const char *after,
		    uint32_t max, struct praas_app_record *ret_apps,
		    uint32_t *ret_count)
{
	const char *slash = tenant || !after ? NULL : strchr(after, '/');
	char from[PRAAS_NAME_MAX + 1] = "";
	struct memory *m = of(r);
	uint32_t n = 0;

	if (!tenant && after && (!slash || slash - after > PRAAS_NAME_MAX))
		return -EINVAL;
	if (slash)
		memcpy(from, after, (size_t)(slash - after));
	(void)pthread_mutex_lock(&m->lock);
	for (uint32_t i = 0; i < m->apps_count && n < max; i++) {
		const struct praas_app_record *app = &m->apps[i];

		if (tenant && strcmp(app->tenant, tenant) != 0)
			continue;
		if (!after || order_of(app, tenant ? tenant : from,
				       slash ? slash + 1 : after) > 0)
			ret_apps[n++] = *app;
	}
	(void)pthread_mutex_unlock(&m->lock);
	*ret_count = n;
	return 0;
}

static int app_delete(struct praas_records *r, const uint8_t *id)
{
	struct memory *m = of(r);
	struct praas_app_record *app;
	int rc = 0;

	(void)pthread_mutex_lock(&m->lock);
	app = app_by_id(m, id);
	for (uint32_t i = 0; i < m->processes_count && rc == 0; i++)
		if (same_id(m->processes[i].app, id))
			rc = -ENOTEMPTY;
	if (!app)
		rc = -ENOENT;
	if (rc == 0) {
		uint32_t at = (uint32_t)(app - m->apps);

		m->apps_count--;
		memmove(app, app + 1, (m->apps_count - at) * sizeof(*app));
	}
	(void)pthread_mutex_unlock(&m->lock);
	return rc;
}

int praas_memory_each(struct praas_records *r,
		      int (*fn)(void *user, const struct praas_process_record *process,
				const struct praas_app_record *app),
		      void *user)
{
	struct memory *m = of(r);
	int rc = 0;

	(void)pthread_mutex_lock(&m->lock);
	for (uint32_t i = 0; i < m->processes_count && rc == 0; i++)
		rc = fn(user, &m->processes[i], app_by_id(m, m->processes[i].app));
	(void)pthread_mutex_unlock(&m->lock);
	return rc;
}

int praas_memory_queues(struct praas_records *r, uint64_t number,
			int (*fn)(void *user, struct praas_memory_queue **queues,
				  const struct praas_process_record *process),
			void *user)
{
	struct memory *m = of(r);
	int rc;

	(void)pthread_mutex_lock(&m->lock);
	rc = fn(user, &m->queues, process_by_number(m, number));
	(void)pthread_mutex_unlock(&m->lock);
	return rc;
}

static int process_create(struct memory *m, struct praas_process_record *p)
{
	uint32_t of_app = 0;

	if (!app_by_id(m, p->app))
		return -ENOENT;
	if (process_by_name(m, p->app, p->name))
		return -EEXIST;
	for (uint32_t i = 0; i < m->processes_count; i++)
		of_app += same_id(m->processes[i].app, p->app);
	if (of_app >= PRAAS_LIMIT_PROCESSES)
		return -ENOSPC;
	if (praas_memory_grow((void **)&m->processes, m->processes_count,
			      &m->processes_room, sizeof(*p)))
		return -EIO;
	if (p->number == 0)
		p->number = ++m->number_last;
	m->number_last = praas_max_u64(m->number_last, p->number);
	p->version = 1;
	m->processes[m->processes_count++] = *p;
	return 0;
}

static uint64_t process_number(struct praas_records *r)
{
	struct memory *m = of(r);
	uint64_t number;

	(void)pthread_mutex_lock(&m->lock);
	number = ++m->number_last;
	(void)pthread_mutex_unlock(&m->lock);
	return number;
}

static int process_put(struct praas_records *r, struct praas_process_record *p)
{
	struct memory *m = of(r);
	struct praas_process_record *old;
	int rc = 0;

	(void)pthread_mutex_lock(&m->lock);
	if (p->version == 0) {
		rc = process_create(m, p);
	} else {
		old = process_by_number(m, p->number);
		if (!old || old->version != p->version)
			rc = -ESTALE;
		else {
			p->version++;
			*old = *p;
		}
	}
	(void)pthread_mutex_unlock(&m->lock);
	return rc;
}

static int process_get(struct praas_records *r, const uint8_t *app, const char *name,
		       struct praas_process_record *ret_process)
{
	struct memory *m = of(r);
	const struct praas_process_record *p;

	(void)pthread_mutex_lock(&m->lock);
	p = name ? process_by_name(m, app, name)
		 : process_by_number(m, ret_process->number);
	if (p)
		*ret_process = *p;
	(void)pthread_mutex_unlock(&m->lock);
	return p ? 0 : -ENOENT;
}

static int by_name(const void *a, const void *b)
{
	const struct praas_process_record *const *x = a;
	const struct praas_process_record *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* The processes of one application in the order of their names. */
static uint32_t list_of_app(const struct memory *m, const uint8_t *app,
			    const char *after, uint32_t max,
			    struct praas_process_record *ret_processes)
{
	const struct praas_process_record **found;
	uint32_t n = 0;

	found = calloc(m->processes_count ? m->processes_count : 1, sizeof(*found));
	if (!found)
		return 0;
	for (uint32_t i = 0; i < m->processes_count; i++)
		if (same_id(m->processes[i].app, app) &&
		    (!after || strcmp(m->processes[i].name, after) > 0))
			found[n++] = &m->processes[i];
	qsort(found, n, sizeof(struct praas_process_record *), by_name);
	if (n > max)
		n = max;
	for (uint32_t i = 0; i < n; i++)
		ret_processes[i] = *found[i];
	free(found);
	return n;
}

static int process_list(struct praas_records *r, const uint8_t *app, const char *after,
			uint32_t max, struct praas_process_record *ret_processes,
			uint32_t *ret_count)
{
	struct memory *m = of(r);
	uint64_t number = 0;
	uint32_t n = 0;

	if (!app && after && praas_number_parse(after, UINT64_MAX, &number))
		return -EINVAL;
	(void)pthread_mutex_lock(&m->lock);
	if (app)
		n = list_of_app(m, app, after, max, ret_processes);
	for (uint32_t i = 0; !app && i < m->processes_count && n < max; i++)
		if (m->processes[i].number > number)
			ret_processes[n++] = m->processes[i];
	(void)pthread_mutex_unlock(&m->lock);
	*ret_count = n;
	return 0;
}

static int process_delete(struct praas_records *r, uint64_t number)
{
	struct memory *m = of(r);
	struct praas_process_record *p;

	(void)pthread_mutex_lock(&m->lock);
	p = process_by_number(m, number);
	if (p) {
		uint32_t at = (uint32_t)(p - m->processes);

		m->processes_count--;
		memmove(p, p + 1, (m->processes_count - at) * sizeof(*p));
		praas_memory_queue_free(&m->queues, number);
	}
	(void)pthread_mutex_unlock(&m->lock);
	return p ? 0 : -ENOENT;
}

/* ---- items -------------------------------------------------------------------------- */

static int item_order(const struct stored_item *s, enum praas_item_kind kind,
		      const char *id)
{
	return s->kind != kind ? (s->kind < kind ? -1 : 1) : strcmp(s->item.id, id);
}

static uint32_t item_position(const struct memory *m, enum praas_item_kind kind,
			      const char *id)
{
	uint32_t i = 0;

	while (i < m->items_count && item_order(&m->items[i], kind, id) < 0)
		i++;
	return i;
}

static int put_locked(struct memory *m, enum praas_item_kind kind,
		      struct praas_item *item)
{
	uint32_t at = item_position(m, kind, item->id);
	bool there = at < m->items_count && !item_order(&m->items[at], kind, item->id);

	if (item->version == 0 && there)
		return -EEXIST;
	if (item->version > 0 && (!there || m->items[at].item.version != item->version))
		return -ESTALE;
	if (!there) {
		if (praas_memory_grow((void **)&m->items, m->items_count,
				      &m->items_room, sizeof(*m->items)))
			return -EIO;
		memmove(&m->items[at + 1], &m->items[at],
			(m->items_count - at) * sizeof(*m->items));
		m->items_count++;
	}
	item->version++;
	m->items[at] = (struct stored_item){ kind, *item };
	return 0;
}

static int item_put(struct praas_records *r, enum praas_item_kind kind,
		    struct praas_item *item)
{
	struct memory *m = of(r);
	int rc;

	(void)pthread_mutex_lock(&m->lock);
	rc = put_locked(m, kind, item);
	(void)pthread_mutex_unlock(&m->lock);
	return rc;
}

static int item_list(struct praas_records *r, enum praas_item_kind kind,
		     const char *after, uint32_t max, struct praas_item *ret_items,
		     uint32_t *ret_count)
{
	struct memory *m = of(r);
	uint32_t n = 0;

	(void)pthread_mutex_lock(&m->lock);
	for (uint32_t i = 0; i < m->items_count && n < max; i++)
		if (m->items[i].kind == kind &&
		    (!after || strcmp(m->items[i].item.id, after) > 0))
			ret_items[n++] = m->items[i].item;
	(void)pthread_mutex_unlock(&m->lock);
	*ret_count = n;
	return 0;
}

static int item_take_out(struct praas_records *r, enum praas_item_kind kind,
			 const char *id)
{
	struct memory *m = of(r);
	int rc = -ENOENT;
	uint32_t at;

	(void)pthread_mutex_lock(&m->lock);
	at = item_position(m, kind, id);
	if (at < m->items_count && !item_order(&m->items[at], kind, id)) {
		m->items_count--;
		memmove(&m->items[at], &m->items[at + 1],
			(m->items_count - at) * sizeof(*m->items));
		rc = 0;
	}
	(void)pthread_mutex_unlock(&m->lock);
	return rc;
}

static bool durable(struct praas_records *r)
{
	(void)r;
	return false;
}

static const struct praas_items_ops memory_items = {
	.put = item_put,
	.list = item_list,
	.take_out = item_take_out,
};

static void close_memory(struct praas_records *r)
{
	struct memory *m = of(r);

	(void)pthread_mutex_destroy(&m->lock);
	free(m->apps);
	free(m->processes);
	free(m->items);
	praas_memory_memos_free(&m->memos);
	(void)pthread_mutex_destroy(&m->usage.frozen);
	free(m->usage.rows);
	praas_memory_queue_free(&m->queues, 0);
	free(m);
}

static const struct praas_records_ops memory_ops = {
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
	.close = close_memory,
};

int praas_records_memory_open(struct praas_records **ret_records)
{
	struct memory *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->base.ops = &memory_ops;
	m->base.items = &memory_items;
	m->base.memos = &praas_memory_memos_ops;
	m->base.usage = &praas_memory_usage_ops;
	m->base.queue = &praas_memory_queue_ops;
	(void)pthread_mutex_init(&m->usage.frozen, NULL);
	(void)pthread_mutex_init(&m->memos.lock, NULL);
	(void)pthread_mutex_init(&m->lock, NULL);
	*ret_records = &m->base;
	return 0;
}
