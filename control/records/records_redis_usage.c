/* SPDX-License-Identifier: Apache-2.0
 *
 * Usage in Redis. A report is of one moment: of the processes all at once (a line each), of the rows those that
 * were there then, some at a time. Redis keeps no old state for who reads long, so rows are folded and
 * deleted by this service alone, and not while a report is made.
 */
#include "control/records/records_redis.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/names.h"
#include "control/table.h"
#include "internal/base.h"

#define PLACE_BYTES 72u /* of a row: 20 digits, and its id */
#define ROW_DIGITS 20u

static int put(struct praas_records *r, struct praas_process_record *process,
	       const struct praas_app_record *app, const struct praas_usage_row *row)
{
	char text[PRAAS_REDIS_ROW_BYTES], hex[PRAAS_REDIS_HEX_ID],
		usage[PRAAS_REDIS_ROW_BYTES];
	struct praas_redis_call call;
	int rc;

	praas_redis_write_usage(usage, process, app, row);
	praas_redis_begin(&call, PRAAS_REDIS_PROCESSES, PRAAS_REDIS_CHANGES, "used");
	praas_redis_add_process(&call, process, hex, text);
	praas_redis_add_wide(&call, row->to_ns);
	praas_redis_add_text(&call, usage);
	rc = praas_redis_do(praas_redis_store_of(r)->redis, &call);
	if (rc == 0)
		process->version++;
	return rc;
}

static int freeze(struct praas_records *r)
{
	struct praas_redis_store *s = praas_redis_store_of(r);
	struct praas_redis_call call;
	int rc;

	(void)pthread_mutex_lock(&s->usage_lock);
	praas_redis_begin(&call, PRAAS_REDIS_PROCESSES, PRAAS_REDIS_READS, "census");
	rc = praas_redis_run(s->redis, &call, &s->census);
	if (rc == 0 && (praas_redis_number(praas_redis_text(s->census, 1), INT64_MAX,
					   &s->last_row) ||
			!praas_redis_text(s->census, 2)))
		rc = -EPROTO;
	if (rc) {
		if (s->census)
			freeReplyObject(s->census);
		s->census = NULL;
		(void)pthread_mutex_unlock(&s->usage_lock);
	}
	return rc;
}

static void thaw(struct praas_records *r)
{
	struct praas_redis_store *s = praas_redis_store_of(r);

	freeReplyObject(s->census);
	s->census = NULL;
	(void)pthread_mutex_unlock(&s->usage_lock);
}

/* ---- sums --------------------------------------------------------------------------- */

struct found {
	struct praas_usage_sum sum;
	UT_hash_handle hh; /* by number */
};

struct report {
	const struct praas_usage_filter *filter;
	struct found *all;
};

static int order_of(const struct praas_usage_sum *sum, const char *tenant,
		    const char *app, uint64_t number)
{
	int order = strcmp(sum->tenant, tenant);

	if (order == 0)
		order = strcmp(sum->app, app);
	return order ? order : sum->number < number ? -1 : sum->number > number;
}

static bool wanted(const struct praas_usage_filter *f, const struct praas_usage_sum *s)
{
	return (!f->tenant || !strcmp(f->tenant, s->tenant)) &&
	       (!f->app || !strcmp(f->app, s->app)) &&
	       (!f->name || !strcmp(f->name, s->name)) &&
	       order_of(s, f->after_tenant, f->after_app, f->after_number) > 0;
}

/* The sum that is like one, or a new one. NULL: no memory. */
/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static struct found *sum_for(struct report *report, const struct praas_usage_sum *like)
{
	struct found *found;

	HASH_FIND(hh, report->all, &like->number, sizeof(like->number), found);
	if (found)
		return found;
	found = calloc(1, sizeof(*found));
	if (!found)
		return NULL;
	found->sum = *like;
	HASH_ADD(hh, report->all, sum.number, sizeof(like->number), found);
	if (PRAAS_TABLE_HAS(hh, found))
		return found;
	free(found);
	return NULL;
}

static int add_row(struct report *report, const redisReply *text)
{
	struct praas_usage_sum whose;
	struct praas_usage_row row;
	struct praas_usage part;
	struct found *found;
	int rc = praas_redis_read_usage(text, &whose, &row);

	if (rc || row.from_ns >= report->filter->until_ns ||
	    !wanted(report->filter, &whose))
		return rc;
	found = sum_for(report, &whose);
	if (!found)
		return -ENOMEM;
	part = praas_usage_share(&row, report->filter->since_ns,
				 report->filter->until_ns);
	praas_usage_add(&found->sum.used, &part);
	return 0;
}

/* Was the row of that place there when the report began? Folded ones were, as rows. */
static bool was_there(const struct praas_redis_store *s, const char *place)
{
	uint64_t row;

	return praas_number_parse(place + ROW_DIGITS, INT64_MAX, &row) != 0 ||
	       row <= s->last_row;
}

/* Rows behind a place, which becomes that of the last. The places of rows that end at one time are in the order of
 * their making, but others may lie between: each row says itself what it is. */
static int add_rows(struct praas_redis_store *s, struct report *report,
		    char from[PLACE_BYTES], bool *ret_more)
{
	struct praas_redis_call call;
	const redisReply *last;
	redisReply *reply;
	int rc;

	praas_redis_begin(&call, PRAAS_REDIS_PROCESSES, PRAAS_REDIS_READS, "rows");
	praas_redis_add_text(&call, from);
	praas_redis_add_number(&call, PRAAS_REDIS_SOME);
	rc = praas_redis_run(s->redis, &call, &reply);
	last = rc ? NULL : praas_redis_text(reply, 1);
	*ret_more = last && last->len > ROW_DIGITS;
	if (*ret_more)
		(void)snprintf(from, PLACE_BYTES, "(%.*s", (int)PLACE_BYTES - 2,
			       last->str);
	for (size_t i = 2; rc == 0 && i + 1 < reply->elements; i += 2) {
		const redisReply *place = praas_redis_text(reply, i);

		if (!place || place->len <= ROW_DIGITS)
			rc = -EPROTO;
		else if (was_there(s, place->str))
			rc = add_row(report, praas_redis_text(reply, i + 1));
	}
	if (reply)
		freeReplyObject(reply);
	return rc;
}

static int add_process(struct report *report, const char *line, size_t bytes)
{
	struct praas_usage_sum sum;
	struct found *found;
	uint64_t created_ns;
	int rc = praas_redis_read_census(line, bytes, &sum, &created_ns);

	if (rc || created_ns >= report->filter->until_ns ||
	    !wanted(report->filter, &sum))
		return rc;
	found = sum_for(report, &sum);
	if (!found)
		return -ENOMEM;
	found->sum.state = sum.state;
	found->sum.slot = sum.slot;
	found->sum.state_bytes = sum.state_bytes;
	found->sum.used_ns = sum.used_ns;
	return 0;
}

static int add_processes(struct praas_redis_store *s, struct report *report)
{
	const redisReply *text = praas_redis_text(s->census, 2);
	const char *line = text->str, *end = text->str + text->len;
	int rc = 0;

	while (rc == 0 && line < end) {
		const char *next = memchr(line, '\n', (size_t)(end - line));

		rc = add_process(report, line, (size_t)((next ? next : end) - line));
		line = next ? next + 1 : end;
	}
	return rc;
}

static int in_order(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return order_of(&x->sum, y->sum.tenant, y->sum.app, y->sum.number);
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static void forget(struct report *report)
{
	struct found *found, *next;

	HASH_ITER(hh, report->all, found, next)
	{
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): HASH_DEL() moved the head on */
		HASH_DEL(report->all, found);
		free(found);
	}
}

/* NOLINTNEXTLINE(readability-function-size): the branches are uthash's macros */
static void sort(struct report *report)
{
	HASH_SORT(report->all, in_order);
}

static int each(struct praas_records *r, const struct praas_usage_filter *filter,
		int (*fn)(void *user, const struct praas_usage_sum *sum), void *user)
{
	struct praas_redis_store *s = praas_redis_store_of(r);
	struct report report = { .filter = filter };
	char from[PLACE_BYTES];
	bool more = true;
	int rc = add_processes(s, &report);

	/* Behind all that end then: "~" is behind digits and letters. */
	(void)snprintf(from, sizeof(from), "(%020llu~",
		       (unsigned long long)filter->since_ns);
	while (rc == 0 && more)
		rc = add_rows(s, &report, from, &more);
	if (rc == 0)
		sort(&report);
	for (const struct found *f = report.all; f && rc == 0; f = f->hh.next)
		rc = fn(user, &f->sum);
	forget(&report);
	return rc;
}

/* ---- of old ones ---------------------------------------------------------------------- */

/* The end of the oldest row that is not folded. 0; -ENOENT. */
static int oldest(struct praas_redis_store *s, uint64_t *ret_to_ns)
{
	struct praas_redis_call call;
	redisReply *reply;
	int rc;

	praas_redis_begin(&call, PRAAS_REDIS_PROCESSES, PRAAS_REDIS_READS, "oldest");
	rc = praas_redis_run(s->redis, &call, &reply);
	if (rc == 0)
		rc = praas_redis_text(reply, 1)
			     ? praas_redis_number(praas_redis_text(reply, 1), INT64_MAX,
						  ret_to_ns)
			     : -ENOENT;
	if (reply)
		freeReplyObject(reply);
	return rc;
}

static int fold_day(struct praas_redis_store *s, uint64_t day_ns, uint32_t *ret_rows)
{
	struct praas_redis_call call;
	redisReply *reply;
	uint64_t rows = 0;
	int rc;

	praas_redis_begin(&call, PRAAS_REDIS_PROCESSES, PRAAS_REDIS_CHANGES, "fold");
	praas_redis_add_wide(&call, day_ns);
	praas_redis_add_wide(&call, day_ns + PRAAS_USAGE_DAY_NS);
	praas_redis_add_number(&call, PRAAS_REDIS_SOME);
	rc = praas_redis_run(s->redis, &call, &reply);
	if (rc == 0)
		rc = praas_redis_word(reply, 1, &rows);
	if (reply)
		freeReplyObject(reply);
	*ret_rows = (uint32_t)rows;
	return rc;
}

static int fold(struct praas_records *r, uint64_t before_ns, uint32_t *ret_rows)
{
	struct praas_redis_store *s = praas_redis_store_of(r);
	uint64_t day = 0;
	int rc;

	*ret_rows = 0;
	(void)pthread_mutex_lock(&s->usage_lock);
	rc = oldest(s, &day);
	day = day / PRAAS_USAGE_DAY_NS * PRAAS_USAGE_DAY_NS;
	if (rc == 0 && day + PRAAS_USAGE_DAY_NS <= before_ns)
		rc = fold_day(s, day, ret_rows);
	(void)pthread_mutex_unlock(&s->usage_lock);
	return rc == -ENOENT ? 0 : rc;
}

static int expire(struct praas_records *r, uint64_t before_ns, uint32_t *ret_rows)
{
	struct praas_redis_store *s = praas_redis_store_of(r);
	int rc;

	(void)pthread_mutex_lock(&s->usage_lock);
	rc = praas_redis_do_all(s, PRAAS_REDIS_PROCESSES, "expire", before_ns,
				ret_rows);
	(void)pthread_mutex_unlock(&s->usage_lock);
	return rc;
}

const struct praas_usage_ops praas_redis_usage = {
	.put = put,
	.freeze = freeze,
	.each = each,
	.thaw = thaw,
	.fold = fold,
	.expire = expire,
};
