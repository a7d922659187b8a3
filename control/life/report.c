/* SPDX-License-Identifier: Apache-2.0
 *
 * What processes used in a time: the rows of the records, and what is in no row yet. Both are of one
 * moment: the accounts are copied while no row is on its way, and the records frozen before.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/life/lifecycle_private.h"
#include "control/names.h"

/* Behind every name and number. */
#define LAST_NAME "~"
#define FULL 1 /* of each(): enough lines */

struct live {
	uint64_t number;
	struct praas_usage_row row;
};

struct report {
	const struct praas_usage_query *query;
	uint64_t now_ns;
	struct live *live; /* by number */
	size_t live_count;
	struct praas_usage_line *lines;
	uint32_t count;
};

/* ---- where to go on ------------------------------------------------------------------ */

void praas_usage_after(enum praas_usage_by by, const struct praas_usage_line *line,
		       char ret_after[PRAAS_USAGE_AFTER_BYTES])
{
	if (by == PRAAS_BY_TENANT)
		(void)snprintf(ret_after, PRAAS_USAGE_AFTER_BYTES, "%s", line->tenant);
	else if (by == PRAAS_BY_APP)
		(void)snprintf(ret_after, PRAAS_USAGE_AFTER_BYTES, "%s/%s",
			       line->tenant, line->app);
	else
		(void)snprintf(ret_after, PRAAS_USAGE_AFTER_BYTES, "%s/%s/%llu",
			       line->tenant, line->app,
			       (unsigned long long)line->number);
}

/* Cuts text in place into a line. 0; -EINVAL it is none of by. */
static int parse_after(enum praas_usage_by by, char *text,
		       struct praas_usage_line *ret_line)
{
	static const unsigned parts[] = { 3, 2, 1 };
	char *part[3] = { text, NULL, NULL };
	unsigned n = 1;

	for (char *c = text; *c; c++) {
		if (*c != '/')
			continue;
		if (n == 3)
			return -EINVAL;
		*c = 0;
		part[n++] = c + 1;
	}
	if (n != parts[by] || !praas_name_valid(part[0]) ||
	    (n > 1 && !praas_name_valid(part[1])) ||
	    (n > 2 && praas_number_parse(part[2], INT64_MAX, &ret_line->number)))
		return -EINVAL;
	(void)snprintf(ret_line->tenant, sizeof(ret_line->tenant), "%s", part[0]);
	(void)snprintf(ret_line->app, sizeof(ret_line->app), "%s",
		       n > 1 ? part[1] : LAST_NAME);
	if (n < 3)
		ret_line->number = INT64_MAX;
	return 0;
}

/* ---- accounts ------------------------------------------------------------------------ */

static int by_number(const void *a, const void *b)
{
	const struct live *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

/* What is in no row, of each process that we know. Lock held. 0; -ENOMEM. */
static int copy_accounts(struct praas_life *life, struct report *r)
{
	struct praas_life_process *p, *next;

	r->live = calloc(HASH_COUNT(life->processes) + 1, sizeof(*r->live));
	if (!r->live)
		return -ENOMEM;
	HASH_ITER(hh, life->processes, p, next)
	{
		r->live[r->live_count++] =
			(struct live){ p->number,
				       praas_account_live(&p->account, &p->record,
							  r->now_ns) };
	}
	qsort(r->live, r->live_count, sizeof(*r->live), by_number);
	return 0;
}

static struct praas_usage used_live(const struct report *r,
				    const struct praas_usage_sum *sum)
{
	const struct live key = { .number = sum->number }, *live;
	struct praas_usage_row row = { sum->used_ns, r->now_ns, { 0 } };

	live = bsearch(&key, r->live, r->live_count, sizeof(key), by_number);
	if (live)
		row = live->row;
	else if (r->now_ns > sum->used_ns)
		row.used.stored =
			praas_account_stored(sum->state, sum->slot, sum->state_bytes,
					     r->now_ns - sum->used_ns);
	return praas_usage_share(&row, r->query->since_ns, r->query->until_ns);
}

/* ---- lines --------------------------------------------------------------------------- */

static bool same_line(const struct report *r, const struct praas_usage_line *line,
		      const struct praas_usage_sum *sum)
{
	if (strcmp(line->tenant, sum->tenant) != 0)
		return false;
	if (r->query->by == PRAAS_BY_TENANT)
		return true;
	if (strcmp(line->app, sum->app) != 0)
		return false;
	return r->query->by == PRAAS_BY_APP || line->number == sum->number;
}

static void begin_line(const struct report *r, struct praas_usage_line *line,
		       const struct praas_usage_sum *sum)
{
	*line = (struct praas_usage_line){ .number = 0 };
	memcpy(line->tenant, sum->tenant, sizeof(line->tenant));
	if (r->query->by != PRAAS_BY_TENANT)
		memcpy(line->app, sum->app, sizeof(line->app));
	if (r->query->by == PRAAS_BY_PROCESS) {
		memcpy(line->process, sum->name, sizeof(line->process));
		line->number = sum->number;
	}
}

static int take_sum(void *user, const struct praas_usage_sum *sum)
{
	struct report *r = user;
	struct praas_usage live = used_live(r, sum);

	if (r->count == 0 || !same_line(r, &r->lines[r->count - 1], sum)) {
		if (r->count == r->query->max)
			return FULL;
		begin_line(r, &r->lines[r->count++], sum);
	}
	praas_usage_add(&r->lines[r->count - 1].used, &sum->used);
	praas_usage_add(&r->lines[r->count - 1].used, &live);
	return 0;
}

/* The accounts, and records that are frozen. */
static int freeze(struct praas_life *life, struct report *r)
{
	struct praas_records *records = life->config.records;
	int rc;

	(void)pthread_mutex_lock(&life->usage_lock);
	rc = records->usage->freeze(records);
	if (rc == 0) {
		(void)pthread_mutex_lock(&life->lock);
		r->now_ns = praas_life_realtime_ns();
		rc = copy_accounts(life, r);
		(void)pthread_mutex_unlock(&life->lock);
		if (rc)
			records->usage->thaw(records);
	}
	(void)pthread_mutex_unlock(&life->usage_lock);
	return rc;
}

int praas_life_usage(struct praas_life *life, const struct praas_usage_query *query,
		     struct praas_usage_line *ret_lines, uint32_t *ret_count)
{
	struct praas_records *records = life->config.records;
	struct report r = { .query = query, .lines = ret_lines };
	struct praas_usage_line from = { .number = 0 };
	char after[PRAAS_USAGE_AFTER_BYTES];
	struct praas_usage_filter filter = {
		.since_ns = query->since_ns,
		.until_ns = query->until_ns,
		.tenant = query->tenant,
		.app = query->app,
		.name = query->process,
	};
	int rc;

	if (query->after) {
		if (strlen(query->after) >= sizeof(after))
			return -EINVAL;
		memcpy(after, query->after, strlen(query->after) + 1);
		rc = parse_after(query->by, after, &from);
		if (rc)
			return rc;
	}
	filter.after_tenant = from.tenant;
	filter.after_app = from.app;
	filter.after_number = from.number;
	rc = freeze(life, &r);
	if (rc)
		return rc;
	rc = records->usage->each(records, &filter, take_sum, &r);
	records->usage->thaw(records);
	free(r.live);
	if (rc < 0)
		return rc;
	*ret_count = r.count;
	return 0;
}
