/* SPDX-License-Identifier: Apache-2.0 */
#include "control/tenants/tenants.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "control/json.h"
#include "control/names.h"
#include "control/table.h"
#include "internal/base.h"

#define PAGE 256u
#define ERROR_TEXT 256u
#define SECOND_NS 1000000000ull

const struct praas_quota_row praas_quota_rows[PRAAS_QUOTAS] = {
	[PRAAS_QUOTA_APPS] = { "apps", "quota_apps",
			       "delete applications, or ask for a higher limit", 100,
			       PRAAS_LIMIT_APPS, 403 },
	[PRAAS_QUOTA_PROCESSES] = { "processes", "quota_processes",
				    "delete processes, or ask for a higher limit", 1000,
				    1000ull * PRAAS_LIMIT_PROCESSES, 403 },
	[PRAAS_QUOTA_MEMORY] = { "memory_bytes", "quota_memory",
				 "swap processes out, or ask for a higher limit",
				 16ull << 30, PRAAS_LIMIT_MEMORY_BYTES, 403 },
	[PRAAS_QUOTA_STATE] = { "state_bytes", "quota_state",
				"delete state or processes, or ask for a higher limit",
				64ull << 30, 1ull << 60, 403 },
	[PRAAS_QUOTA_CALLS] = { "calls", "quota_calls",
				"wait for requests that are under way", 256,
				PRAAS_LIMIT_QUEUE, 429 },
	[PRAAS_QUOTA_RATE] = { "requests_per_s", "quota_rate", "send fewer requests",
			       1000, 1000000, 429 },
};

struct entry {
	struct praas_tenant tenant;
	uint64_t version;           /* of its record; 0: not stored */
	uint64_t bucket, bucket_ns; /* requests that may come now, in ns of its rate */
	bool leaving;               /* is being deleted */
	UT_hash_handle hh;
};

struct praas_tenants {
	struct praas_records *records;
	pthread_mutex_t change_lock; /* of whoever stores a change; taken first */
	pthread_mutex_t lock;        /* of entries */
	struct entry *entries;       /* by name */
};

/* ---- as stored ---------------------------------------------------------------------- */

static int encode(const struct praas_tenant *t, struct praas_item *ret_item)
{
	json_t *limits = json_object(), *body;
	size_t n = 0;

	*ret_item = (struct praas_item){ 0 };
	memcpy(ret_item->id, t->name, sizeof(t->name));
	for (int q = 0; q < PRAAS_QUOTAS; q++)
		(void)json_object_set_new(limits, praas_quota_rows[q].name,
					  json_integer((json_int_t)t->limits[q]));
	body = json_pack("{s:o}", "limits", limits);
	if (body)
		n = json_dumpb(body, ret_item->body, sizeof(ret_item->body) - 1,
			       JSON_COMPACT);
	json_decref(body);
	return n > 0 && n < sizeof(ret_item->body) ? 0 : -EIO;
}

static int decode_limits(const json_t *limits, uint64_t ret_limits[PRAAS_QUOTAS])
{
	struct praas_json_error error;

	if (json_object_size(limits) > PRAAS_QUOTAS)
		return -EPROTO;
	for (int q = 0; q < PRAAS_QUOTAS; q++)
		if (!praas_json_number(limits, praas_quota_rows[q].name, 0,
				       praas_quota_rows[q].most, &ret_limits[q],
				       &error))
			return -EPROTO;
	return 0;
}

int praas_tenant_decode(const struct praas_item *item, struct praas_tenant *ret_tenant)
{
	static const char *const known[] = { "limits", NULL };
	struct praas_json_error error;
	struct praas_tenant t = { 0 };
	json_t *body;
	int rc = -EPROTO;

	if (!praas_name_valid(item->id))
		return -EPROTO;
	memcpy(t.name, item->id, sizeof(t.name));
	for (int q = 0; q < PRAAS_QUOTAS; q++)
		t.limits[q] = praas_quota_rows[q].normal;
	body = praas_json_parse(item->body, strlen(item->body), &error);
	if (body && praas_json_known(body, known, &error) &&
	    json_is_object(json_object_get(body, "limits")))
		rc = decode_limits(json_object_get(body, "limits"), t.limits);
	json_decref(body);
	if (rc == 0)
		*ret_tenant = t;
	return rc;
}

/* ---- the table ---------------------------------------------------------------------- */

/* Lock held. */
/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static struct entry *find(struct praas_tenants *tenants, const char *name)
{
	struct entry *e;

	HASH_FIND_STR(tenants->entries, name, e);
	return e;
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static int add(struct praas_tenants *tenants, const struct praas_tenant *tenant,
	       uint64_t version)
{
	struct entry *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->tenant = *tenant;
	e->version = version;
	e->bucket = tenant->limits[PRAAS_QUOTA_RATE] * SECOND_NS;
	HASH_ADD_STR(tenants->entries, tenant.name, e);
	if (PRAAS_TABLE_HAS(hh, e))
		return 0;
	free(e);
	return -ENOMEM;
}

static int load(struct praas_tenants *tenants, char *ret_text)
{
	const struct praas_items_ops *items = tenants->records->items;
	struct praas_item *page = calloc(PAGE, sizeof(*page));
	char after[PRAAS_NAME_MAX + 1] = "";
	struct praas_tenant tenant;
	uint32_t n = PAGE;
	int rc = page ? 0 : -ENOMEM;

	while (rc == 0 && n == PAGE) {
		rc = items->list(tenants->records, PRAAS_ITEM_TENANT, after, PAGE, page,
				 &n);
		for (uint32_t i = 0; rc == 0 && i < n; i++) {
			rc = praas_tenant_decode(&page[i], &tenant);
			if (rc)
				(void)snprintf(ret_text, ERROR_TEXT,
					       "the record of tenant %s is damaged; "
					       "restore a back-up",
					       page[i].id);
			else
				rc = add(tenants, &tenant, page[i].version);
		}
		if (rc == 0 && n > 0)
			memcpy(after, page[n - 1].id, sizeof(after));
	}
	free(page);
	return rc;
}

static int add_default(struct praas_tenants *tenants)
{
	struct praas_tenant t = { .name = PRAAS_TENANT_DEFAULT };

	if (find(tenants, t.name))
		return 0;
	for (int q = 0; q < PRAAS_QUOTAS; q++)
		t.limits[q] = praas_quota_rows[q].most;
	return add(tenants, &t, 0);
}

/* What the processes of one application use. */
static int count_app(struct praas_tenants *tenants, const struct praas_app_record *app,
		     struct praas_process_record *page)
{
	struct praas_records *records = tenants->records;
	struct entry *e = find(tenants, app->tenant);
	char after[PRAAS_NAME_MAX + 1] = "";
	uint32_t n = PAGE;
	int rc = e ? 0 : -ENOENT;

	if (rc == 0)
		e->tenant.used[PRAAS_QUOTA_APPS]++;
	while (rc == 0 && n == PAGE) {
		rc = records->ops->process_list(records, app->id, after, PAGE, page,
						&n);
		for (uint32_t i = 0; rc == 0 && i < n; i++) {
			e->tenant.used[PRAAS_QUOTA_PROCESSES]++;
			e->tenant.used[PRAAS_QUOTA_STATE] +=
				page[i].state_bytes + page[i].named_bytes;
		}
		if (rc == 0 && n > 0)
			memcpy(after, page[n - 1].name, sizeof(after));
	}
	return rc;
}

static int count_all(struct praas_tenants *tenants, char *ret_text)
{
	struct praas_process_record *page = calloc(PAGE, sizeof(*page));
	struct praas_app_record *apps = calloc(PAGE, sizeof(*apps));
	struct praas_records *records = tenants->records;
	char after[2 * PRAAS_NAME_MAX + 2] = "";
	uint32_t n = PAGE;
	int rc = page && apps ? 0 : -ENOMEM;

	while (rc == 0 && n == PAGE) {
		rc = records->ops->app_list(records, NULL, *after ? after : NULL, PAGE,
					    apps, &n);
		for (uint32_t i = 0; rc == 0 && i < n; i++) {
			rc = count_app(tenants, &apps[i], page);
			if (rc == -ENOENT)
				(void)snprintf(ret_text, ERROR_TEXT,
					       "application %s is of tenant %s, of "
					       "which there is no record",
					       apps[i].name, apps[i].tenant);
		}
		if (rc == 0 && n > 0)
			(void)snprintf(after, sizeof(after), "%s/%s",
				       apps[n - 1].tenant, apps[n - 1].name);
	}
	free(page);
	free(apps);
	return rc;
}

int praas_tenants_open(struct praas_records *records,
		       struct praas_tenants **ret_tenants, char *ret_text)
{
	struct praas_tenants *tenants = calloc(1, sizeof(*tenants));
	int rc;

	ret_text[0] = 0;
	if (!tenants)
		return -ENOMEM;
	tenants->records = records;
	(void)pthread_mutex_init(&tenants->change_lock, NULL);
	(void)pthread_mutex_init(&tenants->lock, NULL);
	rc = load(tenants, ret_text);
	if (rc == 0)
		rc = add_default(tenants);
	if (rc == 0)
		rc = count_all(tenants, ret_text);
	if (rc) {
		if (!*ret_text)
			(void)snprintf(ret_text, ERROR_TEXT,
				       "tenants cannot be read: %s", strerror(-rc));
		praas_tenants_close(tenants);
		return rc;
	}
	*ret_tenants = tenants;
	return 0;
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
void praas_tenants_close(struct praas_tenants *tenants)
{
	struct entry *e, *next;

	if (!tenants)
		return;
	HASH_ITER(hh, tenants->entries, e, next)
	{
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): HASH_DEL() moved the head on */
		HASH_DEL(tenants->entries, e);
		free(e);
	}
	(void)pthread_mutex_destroy(&tenants->lock);
	(void)pthread_mutex_destroy(&tenants->change_lock);
	free(tenants);
}

/* change_lock held: the entry and its version stay. */
static int put_stored(struct praas_tenants *tenants, struct entry *old,
		      const struct praas_tenant *tenant)
{
	struct praas_item item;
	int rc = encode(tenant, &item);

	item.version = old ? old->version : 0;
	if (rc == 0)
		rc = tenants->records->items->put(tenants->records, PRAAS_ITEM_TENANT,
						  &item);
	if (rc)
		return rc;
	(void)pthread_mutex_lock(&tenants->lock);
	if (old) {
		old->version = item.version;
		memcpy(old->tenant.limits, tenant->limits, sizeof(old->tenant.limits));
	} else {
		rc = add(tenants, tenant, item.version);
	}
	(void)pthread_mutex_unlock(&tenants->lock);
	if (rc) /* else it would be there after a restart */
		(void)tenants->records->items->take_out(
			tenants->records, PRAAS_ITEM_TENANT, tenant->name);
	return rc;
}

int praas_tenants_put(struct praas_tenants *tenants, const struct praas_tenant *tenant,
		      bool create)
{
	struct entry *old;
	int rc = 0;

	(void)pthread_mutex_lock(&tenants->change_lock);
	(void)pthread_mutex_lock(&tenants->lock);
	old = find(tenants, tenant->name);
	if (create && old)
		rc = -EEXIST;
	else if (!create && !old)
		rc = -ENOENT;
	else if (create && HASH_COUNT(tenants->entries) >= PRAAS_LIMIT_TENANTS)
		rc = -ENOSPC;
	(void)pthread_mutex_unlock(&tenants->lock);
	if (rc == 0)
		rc = put_stored(tenants, old, tenant);
	(void)pthread_mutex_unlock(&tenants->change_lock);
	return rc;
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static void end_delete(struct praas_tenants *tenants, struct entry *e, int rc)
{
	(void)pthread_mutex_lock(&tenants->lock);
	e->leaving = false;
	if (rc == 0) {
		HASH_DEL(tenants->entries, e);
		free(e);
	}
	(void)pthread_mutex_unlock(&tenants->lock);
}

int praas_tenants_delete(struct praas_tenants *tenants, const char *name)
{
	struct entry *e;
	int rc = 0;

	if (!strcmp(name, PRAAS_TENANT_DEFAULT))
		return -EPERM;
	(void)pthread_mutex_lock(&tenants->change_lock);
	(void)pthread_mutex_lock(&tenants->lock);
	e = find(tenants, name);
	if (!e)
		rc = -ENOENT;
	else if (e->tenant.used[PRAAS_QUOTA_APPS] > 0)
		rc = -ENOTEMPTY;
	else
		e->leaving = true;
	(void)pthread_mutex_unlock(&tenants->lock);
	if (rc == 0) {
		rc = tenants->records->items->take_out(tenants->records,
						       PRAAS_ITEM_TENANT, name);
		end_delete(tenants, e, rc);
	}
	(void)pthread_mutex_unlock(&tenants->change_lock);
	return rc;
}

int praas_tenants_get(struct praas_tenants *tenants, const char *name,
		      struct praas_tenant *ret_tenant)
{
	const struct entry *e;

	(void)pthread_mutex_lock(&tenants->lock);
	e = find(tenants, name);
	if (e)
		*ret_tenant = e->tenant;
	(void)pthread_mutex_unlock(&tenants->lock);
	return e ? 0 : -ENOENT;
}

static int by_name(const void *a, const void *b)
{
	const struct praas_tenant *x = a, *y = b;

	return strcmp(x->name, y->name);
}

int praas_tenants_list(struct praas_tenants *tenants, const char *after, uint32_t max,
		       struct praas_tenant *ret_tenants, uint32_t *ret_count)
{
	const struct entry *e, *next;
	struct praas_tenant *all;
	uint32_t n = 0;

	(void)pthread_mutex_lock(&tenants->lock);
	all = calloc(HASH_COUNT(tenants->entries) + 1u, sizeof(*all));
	HASH_ITER(hh, tenants->entries, e, next)
	{
		if (all && strcmp(e->tenant.name, after) > 0)
			all[n++] = e->tenant;
	}
	(void)pthread_mutex_unlock(&tenants->lock);
	if (!all)
		return -ENOMEM;
	qsort(all, n, sizeof(*all), by_name);
	n = n < max ? n : max;
	memcpy(ret_tenants, all, n * sizeof(*all));
	free(all);
	*ret_count = n;
	return 0;
}

/* ---- usage -------------------------------------------------------------------------- */

int praas_tenants_take(struct praas_tenants *tenants, const char *name,
		       enum praas_quota quota, uint64_t amount)
{
	struct entry *e;
	int rc = 0;

	(void)pthread_mutex_lock(&tenants->lock);
	e = find(tenants, name);
	if (!e || e->leaving)
		rc = -ENOENT;
	else if (amount > e->tenant.limits[quota] ||
		 e->tenant.used[quota] > e->tenant.limits[quota] - amount)
		rc = -EDQUOT;
	else
		e->tenant.used[quota] += amount;
	(void)pthread_mutex_unlock(&tenants->lock);
	return rc;
}

void praas_tenants_count(struct praas_tenants *tenants, const char *name,
			 enum praas_quota quota, uint64_t before, uint64_t after)
{
	struct entry *e;

	(void)pthread_mutex_lock(&tenants->lock);
	e = find(tenants, name);
	/* A call may have begun with a tenant of that name that was deleted since. */
	if (e && quota == PRAAS_QUOTA_CALLS)
		before = praas_min_u64(before, e->tenant.used[quota]);
	if (e) {
		praas_check(e->tenant.used[quota] >= before);
		e->tenant.used[quota] += after - before;
	}
	(void)pthread_mutex_unlock(&tenants->lock);
}

void praas_tenants_give(struct praas_tenants *tenants, const char *name,
			enum praas_quota quota, uint64_t amount)
{
	praas_tenants_count(tenants, name, quota, amount, 0);
}

int praas_tenants_check(struct praas_tenants *tenants, const char *name,
			enum praas_quota quota)
{
	const struct entry *e;
	int rc;

	(void)pthread_mutex_lock(&tenants->lock);
	e = find(tenants, name);
	rc = e && e->tenant.used[quota] < e->tenant.limits[quota] ? 0 : -EDQUOT;
	(void)pthread_mutex_unlock(&tenants->lock);
	return rc;
}

/* A bucket that fills at the rate and holds a second of it, in units of 1 / 10^9 request. */
int praas_tenants_rate(struct praas_tenants *tenants, const char *name, uint64_t now_ns)
{
	struct entry *e;
	int rc = -EDQUOT;

	(void)pthread_mutex_lock(&tenants->lock);
	e = find(tenants, name);
	if (e) {
		uint64_t rate = e->tenant.limits[PRAAS_QUOTA_RATE];
		uint64_t passed = praas_min_u64(now_ns - e->bucket_ns, SECOND_NS);

		e->bucket = praas_min_u64(e->bucket + passed * rate, rate * SECOND_NS);
		e->bucket_ns = now_ns;
		if (e->bucket >= SECOND_NS) {
			e->bucket -= SECOND_NS;
			rc = 0;
		}
	}
	(void)pthread_mutex_unlock(&tenants->lock);
	return rc;
}
