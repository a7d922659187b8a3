/* SPDX-License-Identifier: Apache-2.0
 *
 * Usage in memory.
 */
#include "control/records/records_memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"

static void most(uint64_t *number)
{
	*number = praas_min_u64(*number, PRAAS_USAGE_ROW_MAX);
}

static void cut(struct praas_usage *used)
{
	most(&used->cpu_ns);
	most(&used->wall_ns);
	most(&used->calls);
	most(&used->bytes_in);
	most(&used->bytes_out);
}

static int put(struct praas_records *r, struct praas_process_record *process,
	       const struct praas_app_record *app, const struct praas_usage_row *row)
{
	struct praas_memory_usage *u = praas_memory_usage_of(r);
	struct praas_memory_row *to;
	int rc = -EIO;

	(void)pthread_mutex_lock(&u->frozen);
	if (praas_memory_grow((void **)&u->rows, u->count, &u->room, sizeof(*to)) == 0)
		rc = r->ops->process_put(r, process);
	if (rc == 0) {
		to = &u->rows[u->count++];
		*to = (struct praas_memory_row){ .number = process->number,
						 .row = *row };
		cut(&to->row.used);
		(void)snprintf(to->tenant, sizeof(to->tenant), "%s", app->tenant);
		(void)snprintf(to->app, sizeof(to->app), "%s", app->name);
		(void)snprintf(to->name, sizeof(to->name), "%s", process->name);
	}
	(void)pthread_mutex_unlock(&u->frozen);
	return rc;
}

static int freeze(struct praas_records *r)
{
	(void)pthread_mutex_lock(&praas_memory_usage_of(r)->frozen);
	return 0;
}

static void thaw(struct praas_records *r)
{
	(void)pthread_mutex_unlock(&praas_memory_usage_of(r)->frozen);
}

/* What is found, before it is put in order. */
struct found {
	const struct praas_usage_filter *filter;
	struct praas_usage_sum *sums;
	uint32_t count, room;
};

static int order_of(const struct praas_usage_sum *sum, const char *tenant,
		    const char *app, uint64_t number)
{
	int order = strcmp(sum->tenant, tenant);

	if (order == 0)
		order = strcmp(sum->app, app);
	if (order == 0)
		order = sum->number < number ? -1 : sum->number > number;
	return order;
}

static bool wanted(const struct praas_usage_filter *f, const struct praas_usage_sum *s)
{
	return (!f->tenant || !strcmp(f->tenant, s->tenant)) &&
	       (!f->app || !strcmp(f->app, s->app)) &&
	       (!f->name || !strcmp(f->name, s->name)) &&
	       order_of(s, f->after_tenant, f->after_app, f->after_number) > 0;
}

/* The sum that is like one, or a new one. NULL: no memory, or not wanted. */
static struct praas_usage_sum *sum_for(struct found *found,
				       const struct praas_usage_sum *like, int *ret_rc)
{
	*ret_rc = 0;
	if (!wanted(found->filter, like))
		return NULL;
	for (uint32_t i = 0; i < found->count; i++)
		if (!order_of(&found->sums[i], like->tenant, like->app, like->number))
			return &found->sums[i];
	if (praas_memory_grow((void **)&found->sums, found->count, &found->room,
			      sizeof(*found->sums))) {
		*ret_rc = -EIO;
		return NULL;
	}
	found->sums[found->count] = *like;
	return &found->sums[found->count++];
}

static int add_row(struct found *found, const struct praas_memory_row *row)
{
	struct praas_usage_sum like = { .number = row->number, .slot = -1 }, *sum;
	struct praas_usage part;
	int rc;

	if (row->row.to_ns <= found->filter->since_ns ||
	    row->row.from_ns >= found->filter->until_ns)
		return 0;
	memcpy(like.tenant, row->tenant, sizeof(like.tenant));
	memcpy(like.app, row->app, sizeof(like.app));
	memcpy(like.name, row->name, sizeof(like.name));
	sum = sum_for(found, &like, &rc);
	if (!sum)
		return rc;
	part = praas_usage_share(&row->row, found->filter->since_ns,
				 found->filter->until_ns);
	praas_usage_add(&sum->used, &part);
	return 0;
}

static int add_process(void *user, const struct praas_process_record *process,
		       const struct praas_app_record *app)
{
	struct praas_usage_sum like = { .number = process->number, .slot = -1 }, *sum;
	struct found *found = user;
	int rc;

	if (process->created_ns >= found->filter->until_ns)
		return 0;
	memcpy(like.tenant, app->tenant, sizeof(like.tenant));
	memcpy(like.app, app->name, sizeof(like.app));
	memcpy(like.name, process->name, sizeof(like.name));
	sum = sum_for(found, &like, &rc);
	if (!sum)
		return rc;
	sum->state = process->state;
	sum->slot = process->slot;
	sum->state_bytes = process->state_bytes;
	sum->used_ns = process->used_ns;
	return 0;
}

static int in_order(const void *a, const void *b)
{
	const struct praas_usage_sum *y = b;

	return order_of(a, y->tenant, y->app, y->number);
}

static int each(struct praas_records *r, const struct praas_usage_filter *filter,
		int (*fn)(void *user, const struct praas_usage_sum *sum), void *user)
{
	const struct praas_memory_usage *u = praas_memory_usage_of(r);
	struct found found = { .filter = filter };
	int rc = praas_memory_each(r, add_process, &found);

	for (uint32_t i = 0; i < u->count && rc == 0; i++)
		rc = add_row(&found, &u->rows[i]);
	if (found.count > 1)
		qsort(found.sums, found.count, sizeof(*found.sums), in_order);
	for (uint32_t i = 0; i < found.count && rc == 0; i++)
		rc = fn(user, &found.sums[i]);
	free(found.sums);
	return rc;
}

static uint64_t day_of(uint64_t ns)
{
	return ns / PRAAS_USAGE_DAY_NS;
}

/* The first folded row of that process and day, or this one becomes it. */
static bool fold_one(struct praas_memory_usage *u, uint32_t at)
{
	struct praas_memory_row *row = &u->rows[at];

	for (uint32_t i = 0; i < at; i++) {
		struct praas_memory_row *to = &u->rows[i];

		if (!to->folded || to->number != row->number ||
		    day_of(to->row.to_ns) != day_of(row->row.to_ns))
			continue;
		praas_usage_add(&to->row.used, &row->row.used);
		cut(&to->row.used);
		to->row.from_ns = praas_min_u64(to->row.from_ns, row->row.from_ns);
		to->row.to_ns = praas_max_u64(to->row.to_ns, row->row.to_ns);
		return true;
	}
	row->folded = true;
	return false;
}

static int fold(struct praas_records *r, uint64_t before_ns, uint32_t *ret_rows)
{
	struct praas_memory_usage *u = praas_memory_usage_of(r);
	uint32_t kept = 0;

	*ret_rows = 0;
	(void)pthread_mutex_lock(&u->frozen);
	for (uint32_t i = 0; i < u->count; i++) {
		bool gone = false;

		u->rows[kept] = u->rows[i];
		if (!u->rows[kept].folded &&
		    day_of(u->rows[kept].row.to_ns) < day_of(before_ns)) {
			gone = fold_one(u, kept);
			++*ret_rows;
		}
		kept += !gone;
	}
	u->count = kept;
	(void)pthread_mutex_unlock(&u->frozen);
	return 0;
}

static int expire(struct praas_records *r, uint64_t before_ns, uint32_t *ret_rows)
{
	struct praas_memory_usage *u = praas_memory_usage_of(r);
	uint32_t kept = 0;

	(void)pthread_mutex_lock(&u->frozen);
	for (uint32_t i = 0; i < u->count; i++)
		if (u->rows[i].row.to_ns >= before_ns)
			u->rows[kept++] = u->rows[i];
	*ret_rows = u->count - kept;
	u->count = kept;
	(void)pthread_mutex_unlock(&u->frozen);
	return 0;
}

const struct praas_usage_ops praas_memory_usage_ops = {
	.put = put,
	.freeze = freeze,
	.each = each,
	.thaw = thaw,
	.fold = fold,
	.expire = expire,
};
