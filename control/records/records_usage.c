/* SPDX-License-Identifier: Apache-2.0
 *
 * Usage in SQLite. What is read goes over a connection of its own: a sum of many rows keeps nobody
 * from his record.
 */
#include "control/records/records_sqlite.h"

#include <errno.h>

#include "internal/base.h"

static void bind_row(sqlite3_stmt *st, const struct praas_process_record *process,
		     const struct praas_app_record *app,
		     const struct praas_usage_row *row)
{
	const uint64_t numbers[] = { row->used.cpu_ns, row->used.wall_ns,
				     row->used.calls, row->used.bytes_in,
				     row->used.bytes_out };

	praas_sqlite_bind_number(st, 1, process->number);
	praas_sqlite_bind_number(st, 2, row->from_ns);
	praas_sqlite_bind_number(st, 3, row->to_ns);
	praas_sqlite_bind_text(st, 4, app->tenant);
	praas_sqlite_bind_text(st, 5, app->name);
	praas_sqlite_bind_text(st, 6, process->name);
	for (int i = 0; i < 5; i++)
		praas_sqlite_bind_number(
			st, 7 + i, praas_min_u64(numbers[i], PRAAS_USAGE_ROW_MAX));
	(void)sqlite3_bind_double(st, 12, row->used.resident);
	(void)sqlite3_bind_double(st, 13, row->used.stored);
}

/* One more statement of a change. */
static int step_also(struct praas_sqlite *s, sqlite3_stmt *st)
{
	int rc = praas_sqlite_change(s, st, 0);

	(void)sqlite3_reset(st); /* its error was reported by the step */
	(void)sqlite3_clear_bindings(st);
	return rc;
}

static int put(struct praas_records *r, struct praas_process_record *process,
	       const struct praas_app_record *app, const struct praas_usage_row *row)
{
	struct praas_sqlite *s = praas_sqlite_of(r);
	sqlite3_stmt *st = praas_sqlite_begin(s, PRAAS_SQL_PROCESS_UPDATE);
	int rc = praas_sqlite_exec(s->writer, "BEGIN IMMEDIATE");

	if (rc) {
		(void)praas_sqlite_failed(s->writer, "change");
	} else {
		praas_sqlite_bind_process(st, process);
		rc = praas_sqlite_change(s, st, -ESTALE);
		(void)sqlite3_reset(st); /* nothing may run when it is committed */
		if (rc == 0) {
			bind_row(s->statements[PRAAS_SQL_USAGE_INSERT], process, app,
				 row);
			rc = step_also(s, s->statements[PRAAS_SQL_USAGE_INSERT]);
		}
		rc = praas_sqlite_commit(s, rc);
	}
	if (rc == 0)
		process->version++;
	praas_sqlite_end(s, PRAAS_SQL_PROCESS_UPDATE);
	return rc;
}

static int freeze(struct praas_records *r)
{
	struct praas_sqlite *s = praas_sqlite_of(r);
	sqlite3_stmt *st = s->statements[PRAAS_SQL_USAGE_NOW];

	(void)pthread_mutex_lock(&s->usage_lock);
	/* Its first read is what a transaction sees from then on. */
	if (praas_sqlite_exec(s->usage, "BEGIN") == 0 &&
	    sqlite3_step(st) == SQLITE_ROW) {
		(void)sqlite3_reset(st);
		return 0;
	}
	(void)praas_sqlite_failed(s->usage, "usage");
	(void)sqlite3_reset(st);
	(void)praas_sqlite_exec(s->usage, "ROLLBACK"); /* if it is open */
	(void)pthread_mutex_unlock(&s->usage_lock);
	return -EIO;
}

static void thaw(struct praas_records *r)
{
	struct praas_sqlite *s = praas_sqlite_of(r);

	(void)praas_sqlite_exec(s->usage, "COMMIT"); /* nothing was changed */
	(void)pthread_mutex_unlock(&s->usage_lock);
}

static int each(struct praas_records *r, const struct praas_usage_filter *filter,
		int (*fn)(void *user, const struct praas_usage_sum *sum), void *user)
{
	struct praas_sqlite *s = praas_sqlite_of(r);
	sqlite3_stmt *st = s->statements[PRAAS_SQL_USAGE_EACH];
	struct praas_usage_sum sum;
	int step = SQLITE_ROW, rc = 0;

	praas_sqlite_bind_number(st, 1, filter->since_ns);
	praas_sqlite_bind_number(st, 2, filter->until_ns);
	praas_sqlite_bind_text(st, 3, filter->tenant);
	praas_sqlite_bind_text(st, 4, filter->app);
	praas_sqlite_bind_text(st, 5, filter->name);
	praas_sqlite_bind_text(st, 6, filter->after_tenant);
	praas_sqlite_bind_text(st, 7, filter->after_app);
	praas_sqlite_bind_number(st, 8, filter->after_number);
	while (rc == 0 && (step = sqlite3_step(st)) == SQLITE_ROW) {
		rc = praas_sqlite_read_usage(st, &sum);
		if (rc == 0)
			rc = fn(user, &sum);
	}
	if (rc == 0 && step != SQLITE_DONE)
		rc = praas_sqlite_failed(s->usage, "usage");
	(void)sqlite3_reset(st);
	(void)sqlite3_clear_bindings(st);
	return rc;
}

/* The oldest row that is not folded. 0; -ENOENT; -EIO. */
static int oldest(struct praas_sqlite *s, uint64_t *ret_to_ns)
{
	sqlite3_stmt *st = praas_sqlite_begin(s, PRAAS_SQL_USAGE_OLDEST);
	int rc = 0;

	if (sqlite3_step(st) != SQLITE_ROW)
		rc = praas_sqlite_failed(s->reader, "usage");
	else if (sqlite3_column_type(st, 0) == SQLITE_NULL)
		rc = -ENOENT;
	else
		*ret_to_ns = (uint64_t)sqlite3_column_int64(st, 0);
	praas_sqlite_end(s, PRAAS_SQL_USAGE_OLDEST);
	return rc;
}

static int fold(struct praas_records *r, uint64_t before_ns, uint32_t *ret_rows)
{
	static const enum praas_sqlite_statement which[] = { PRAAS_SQL_USAGE_FOLD,
							     PRAAS_SQL_USAGE_FOLDED };
	struct praas_sqlite *s = praas_sqlite_of(r);
	uint64_t day = 0;
	int rc = oldest(s, &day);

	*ret_rows = 0;
	day = day / PRAAS_USAGE_DAY_NS * PRAAS_USAGE_DAY_NS;
	if (rc == -ENOENT || day + PRAAS_USAGE_DAY_NS > before_ns)
		return 0;
	if (rc)
		return rc;
	(void)praas_sqlite_begin(s, PRAAS_SQL_USAGE_FOLD);
	rc = praas_sqlite_exec(s->writer, "BEGIN IMMEDIATE");
	for (int i = 0; i < 2 && rc == 0; i++) {
		sqlite3_stmt *st = s->statements[which[i]];

		praas_sqlite_bind_number(st, 1, day);
		praas_sqlite_bind_number(st, 2, day + PRAAS_USAGE_DAY_NS);
		praas_sqlite_bind_number(st, 3, PRAAS_USAGE_FOLD_PROCESSES);
		rc = step_also(s, st);
		*ret_rows = (uint32_t)sqlite3_changes(s->writer);
	}
	rc = praas_sqlite_commit(s, rc);
	praas_sqlite_end(s, PRAAS_SQL_USAGE_FOLD);
	return rc;
}

static int expire(struct praas_records *r, uint64_t before_ns, uint32_t *ret_rows)
{
	struct praas_sqlite *s = praas_sqlite_of(r);
	sqlite3_stmt *st = praas_sqlite_begin(s, PRAAS_SQL_USAGE_EXPIRE);
	int rc;

	praas_sqlite_bind_number(st, 1, before_ns);
	rc = praas_sqlite_change(s, st, 0);
	*ret_rows = rc == 0 ? (uint32_t)sqlite3_changes(s->writer) : 0;
	praas_sqlite_end(s, PRAAS_SQL_USAGE_EXPIRE);
	return rc;
}

const struct praas_usage_ops praas_sqlite_usage = {
	.put = put,
	.freeze = freeze,
	.each = each,
	.thaw = thaw,
	.fold = fold,
	.expire = expire,
};
