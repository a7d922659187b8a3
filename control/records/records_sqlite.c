/* SPDX-License-Identifier: Apache-2.0
 *
 * Records in one SQLite file: write-ahead log, synchronous=FULL, so what a call has returned is
 * on the disk (docs/rationale.md has the measured costs). Two connections: readers never
 * wait for a commit. Statements are prepared once.
 */
#include "control/records/records_sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "control/names.h"
#include "control/say.h"
#include "internal/base.h"

#define BUSY_MS 5000
#define ERROR_TEXT 256u
#define LOG_BYTES                                                                      \
	(1050u * 4120u) /* what it grows to before SQLite begins anew: 1000 pages */
#define LOG_PIECE 65536u
#define LOG_SPARE_BYTES                                                                \
	(256ull << 20) /* with less left on the disk, it grows as it must */

struct praas_sqlite *praas_sqlite_of(struct praas_records *r)
{
	return (struct praas_sqlite *)(void *)r;
}

int praas_sqlite_failed(sqlite3 *db, const char *what)
{
	praas_say(PRAAS_SAY_ERROR, "records: %s: %s", what, sqlite3_errmsg(db));
	return -EIO;
}

sqlite3_stmt *praas_sqlite_begin(struct praas_sqlite *s,
				 enum praas_sqlite_statement which)
{
	(void)pthread_mutex_lock(which < PRAAS_SQL_FIRST_READING ? &s->write_lock
								 : &s->read_lock);
	return s->statements[which];
}

void praas_sqlite_end(struct praas_sqlite *s, enum praas_sqlite_statement which)
{
	(void)sqlite3_reset(
		s->statements[which]); /* its error was reported by the step */
	(void)sqlite3_clear_bindings(s->statements[which]);
	(void)pthread_mutex_unlock(which < PRAAS_SQL_FIRST_READING ? &s->write_lock
								   : &s->read_lock);
}

/* The rows of a table that match the bound statement, up to one. 0 and the count; -EIO. */
static int count_rows(struct praas_sqlite *s, enum praas_sqlite_statement which,
		      const uint8_t *app, uint64_t *ret_count)
{
	sqlite3_stmt *st = praas_sqlite_begin(s, which);
	int rc = 0;

	if (app)
		(void)sqlite3_bind_blob(st, 1, app, PRAAS_RECORD_ID_BYTES,
					SQLITE_STATIC);
	if (sqlite3_step(st) == SQLITE_ROW)
		*ret_count = (uint64_t)sqlite3_column_int64(st, 0);
	else
		rc = praas_sqlite_failed(s->reader, "count");
	praas_sqlite_end(s, which);
	return rc;
}

int praas_sqlite_change(struct praas_sqlite *s, sqlite3_stmt *st, int none)
{
	switch (sqlite3_step(st)) {
	case SQLITE_DONE:
		return sqlite3_changes(s->writer) == 0 ? none : 0;
	case SQLITE_CONSTRAINT:
		switch (sqlite3_extended_errcode(s->writer)) {
		case SQLITE_CONSTRAINT_FOREIGNKEY:
			return -EXDEV; /* told apart by the caller */
		default:
			return -EEXIST;
		}
	case SQLITE_FULL:
		(void)praas_sqlite_failed(s->writer, "change");
		return -EIO;
	default:
		return praas_sqlite_failed(s->writer, "change");
	}
}

int praas_sqlite_commit(struct praas_sqlite *s, int rc)
{
	if (rc == 0 && praas_sqlite_exec(s->writer, "COMMIT"))
		rc = praas_sqlite_failed(s->writer, "commit");
	if (rc)
		(void)praas_sqlite_exec(s->writer, "ROLLBACK"); /* if it is open */
	return rc;
}

static int app_put(struct praas_records *r, struct praas_app_record *app)
{
	enum praas_sqlite_statement which =
		app->version ? PRAAS_SQL_APP_UPDATE : PRAAS_SQL_APP_INSERT;
	struct praas_sqlite *s = praas_sqlite_of(r);
	sqlite3_stmt *st;
	uint64_t count = 0;
	int rc;

	if (!app->version) {
		rc = count_rows(s, PRAAS_SQL_APP_COUNT, NULL, &count);
		if (rc)
			return rc;
		if (count >= PRAAS_LIMIT_APPS)
			return -ENOSPC;
	}
	st = praas_sqlite_begin(s, which);
	praas_sqlite_bind_app(st, app);
	rc = praas_sqlite_change(s, st, -ESTALE);
	if (rc == 0)
		app->version++;
	praas_sqlite_end(s, which);
	return rc;
}

static int app_get(struct praas_records *r, const char *tenant, const char *name,
		   struct praas_app_record *ret_app)
{
	struct praas_sqlite *s = praas_sqlite_of(r);
	sqlite3_stmt *st = praas_sqlite_begin(s, PRAAS_SQL_APP_GET);
	int rc = 0;

	praas_sqlite_bind_text(st, 1, tenant);
	praas_sqlite_bind_text(st, 2, name);
	switch (sqlite3_step(st)) {
	case SQLITE_ROW:
		rc = praas_sqlite_read_app(st, ret_app);
		break;
	case SQLITE_DONE:
		rc = -ENOENT;
		break;
	default:
		rc = praas_sqlite_failed(s->reader, "application");
	}
	praas_sqlite_end(s, PRAAS_SQL_APP_GET);
	return rc;
}

/* What to begin after, as tenant and name. 0; -EINVAL. */
static int list_from(const char *tenant, const char *after,
		     char ret_tenant[PRAAS_NAME_MAX + 1],
		     char ret_name[PRAAS_NAME_MAX + 1])
{
	const char *slash = tenant || !after ? NULL : strchr(after, '/');
	size_t bytes = slash ? (size_t)(slash - after) : 0;

	if (!tenant && after && (!slash || bytes > PRAAS_NAME_MAX))
		return -EINVAL;
	if (slash)
		(void)snprintf(ret_tenant, PRAAS_NAME_MAX + 1, "%.*s", (int)bytes,
			       after);
	else
		(void)snprintf(ret_tenant, PRAAS_NAME_MAX + 1, "%s",
			       tenant ? tenant : "");
	after = slash ? slash + 1 : after;
	(void)snprintf(ret_name, PRAAS_NAME_MAX + 1, "%s", after ? after : "");
	return 0;
}

static int app_list(struct praas_records *r, const char *tenant, const char *after,
		    uint32_t max, struct praas_app_record *ret_apps,
		    uint32_t *ret_count)
{
	char from_tenant[PRAAS_NAME_MAX + 1], from_name[PRAAS_NAME_MAX + 1];
	struct praas_sqlite *s = praas_sqlite_of(r);
	sqlite3_stmt *st;
	uint32_t n = 0;
	int step, rc = list_from(tenant, after, from_tenant, from_name);

	if (rc)
		return rc;
	st = praas_sqlite_begin(s, PRAAS_SQL_APP_LIST);
	praas_sqlite_bind_text(st, 1, from_tenant);
	praas_sqlite_bind_text(st, 2, from_name);
	praas_sqlite_bind_text(st, 3, tenant);
	praas_sqlite_bind_number(st, 4, max);
	while (rc == 0 && n < max && (step = sqlite3_step(st)) != SQLITE_DONE)
		rc = step == SQLITE_ROW
			     ? praas_sqlite_read_app(st, &ret_apps[n++])
			     : praas_sqlite_failed(s->reader, "applications");
	praas_sqlite_end(s, PRAAS_SQL_APP_LIST);
	if (rc == 0)
		*ret_count = n;
	return rc;
}

static int app_delete(struct praas_records *r, const uint8_t *id)
{
	struct praas_sqlite *s = praas_sqlite_of(r);
	sqlite3_stmt *st = praas_sqlite_begin(s, PRAAS_SQL_APP_DELETE);
	int rc;

	(void)sqlite3_bind_blob(st, 1, id, PRAAS_RECORD_ID_BYTES, SQLITE_STATIC);
	rc = praas_sqlite_change(s, st, -ENOENT);
	praas_sqlite_end(s, PRAAS_SQL_APP_DELETE);
	return rc == -EXDEV ? -ENOTEMPTY : rc;
}

static uint64_t process_number(struct praas_records *r)
{
	return praas_sqlite_number(praas_sqlite_of(r));
}

static int process_put(struct praas_records *r, struct praas_process_record *p)
{
	enum praas_sqlite_statement which =
		p->version ? PRAAS_SQL_PROCESS_UPDATE : PRAAS_SQL_PROCESS_INSERT;
	struct praas_sqlite *s = praas_sqlite_of(r);
	uint64_t count = 0, given = p->number;
	sqlite3_stmt *st;
	int rc;

	if (!p->version) {
		rc = count_rows(s, PRAAS_SQL_PROCESS_COUNT, p->app, &count);
		if (rc)
			return rc;
		if (count >= PRAAS_LIMIT_PROCESSES)
			return -ENOSPC;
		p->number = given ? given : process_number(r);
		if (p->number == 0)
			return -EIO;
	}
	st = praas_sqlite_begin(s, which);
	praas_sqlite_bind_process(st, p);
	rc = praas_sqlite_change(s, st, -ESTALE);
	if (rc == 0)
		p->version++;
	else
		p->number = given;
	praas_sqlite_end(s, which);
	return rc == -EXDEV ? -ENOENT : rc;
}

static int process_get(struct praas_records *r, const uint8_t *app, const char *name,
		       struct praas_process_record *ret_process)
{
	enum praas_sqlite_statement which =
		name ? PRAAS_SQL_PROCESS_GET : PRAAS_SQL_PROCESS_BY_NUMBER;
	struct praas_sqlite *s = praas_sqlite_of(r);
	sqlite3_stmt *st = praas_sqlite_begin(s, which);
	int rc = 0;

	if (name) {
		(void)sqlite3_bind_blob(st, 1, app, PRAAS_RECORD_ID_BYTES,
					SQLITE_STATIC);
		praas_sqlite_bind_text(st, 2, name);
	} else {
		praas_sqlite_bind_number(st, 1, ret_process->number);
	}
	switch (sqlite3_step(st)) {
	case SQLITE_ROW:
		rc = praas_sqlite_read_process(st, ret_process);
		break;
	case SQLITE_DONE:
		rc = -ENOENT;
		break;
	default:
		rc = praas_sqlite_failed(s->reader, "process");
	}
	praas_sqlite_end(s, which);
	return rc;
}

static int process_list(struct praas_records *r, const uint8_t *app, const char *after,
			uint32_t max, struct praas_process_record *ret_processes,
			uint32_t *ret_count)
{
	enum praas_sqlite_statement which =
		app ? PRAAS_SQL_PROCESS_LIST : PRAAS_SQL_PROCESS_LIST_ALL;
	struct praas_sqlite *s = praas_sqlite_of(r);
	sqlite3_stmt *st;
	uint64_t number = 0;
	uint32_t n = 0;
	int step, rc = 0;

	if (!app && after && praas_number_parse(after, INT64_MAX, &number))
		return -EINVAL;
	st = praas_sqlite_begin(s, which);
	if (app) {
		praas_sqlite_bind_text(st, 1, after);
		(void)sqlite3_bind_blob(st, 3, app, PRAAS_RECORD_ID_BYTES,
					SQLITE_STATIC);
	} else {
		praas_sqlite_bind_number(st, 1, number);
	}
	praas_sqlite_bind_number(st, 2, max);
	while (rc == 0 && n < max && (step = sqlite3_step(st)) != SQLITE_DONE)
		rc = step == SQLITE_ROW
			     ? praas_sqlite_read_process(st, &ret_processes[n++])
			     : praas_sqlite_failed(s->reader, "processes");
	praas_sqlite_end(s, which);
	if (rc == 0)
		*ret_count = n;
	return rc;
}

static int process_delete(struct praas_records *r, uint64_t number)
{
	struct praas_sqlite *s = praas_sqlite_of(r);
	sqlite3_stmt *st = praas_sqlite_begin(s, PRAAS_SQL_PROCESS_DELETE);
	int rc;

	praas_sqlite_bind_number(st, 1, number);
	rc = praas_sqlite_change(s, st, -ENOENT);
	praas_sqlite_end(s, PRAAS_SQL_PROCESS_DELETE);
	return rc;
}

/* PRAGMA synchronous=FULL */
static bool durable(struct praas_records *r)
{
	(void)r;
	return true;
}

static void close_sqlite(struct praas_records *r)
{
	struct praas_sqlite *s = praas_sqlite_of(r);

	praas_sqlite_numbers_close(s);
	for (int i = 0; i < PRAAS_SQL_STATEMENTS; i++)
		(void)sqlite3_finalize(s->statements[i]); /* NULL is allowed */
	(void)sqlite3_close(s->usage);
	(void)sqlite3_close(s->reader);
	(void)sqlite3_close(s->writer);
	(void)pthread_mutex_destroy(&s->write_lock);
	(void)pthread_mutex_destroy(&s->read_lock);
	(void)pthread_mutex_destroy(&s->usage_lock);
	(void)pthread_mutex_destroy(&s->number_lock);
	free(s);
}

int praas_sqlite_exec(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;
}

static sqlite3 *connection_of(const struct praas_sqlite *s, int statement)
{
	if (statement < PRAAS_SQL_FIRST_READING)
		return s->writer;
	return statement < PRAAS_SQL_FIRST_USAGE ? s->reader : s->usage;
}

static bool has_room(const char *file)
{
	struct statvfs fs;

	return statvfs(file, &fs) == 0 &&
	       (uint64_t)fs.f_bavail * fs.f_frsize >= LOG_SPARE_BYTES;
}

/* Zeros up to where the log will grow: a commit that only writes over what there is need not wait for the file
 * system to note a new length. SQLite takes zeros for the log's end. Failing costs time, nothing else. */
static void fill_log(sqlite3 *db, const char *file)
{
	static const uint8_t zeros[LOG_PIECE];
	sqlite3_file *log = NULL;
	sqlite3_int64 at = 0;

	/* Nobody else adds to it meanwhile. */
	if (!has_room(file) || praas_sqlite_exec(db, "BEGIN IMMEDIATE"))
		return;
	if (sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) ==
		    SQLITE_OK &&
	    log && log->pMethods && log->pMethods->xFileSize(log, &at) == SQLITE_OK) {
		while (at < (sqlite3_int64)LOG_BYTES &&
		       log->pMethods->xWrite(log, zeros, LOG_PIECE, at) == SQLITE_OK)
			at += LOG_PIECE;
		(void)log->pMethods->xSync(
			log, SQLITE_SYNC_NORMAL); /* the next commit does */
	}
	(void)praas_sqlite_exec(db, "ROLLBACK"); /* of nothing */
}

static int open_all(struct praas_sqlite *s, const char *file, char *ret_text)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
	int rc;

	if (sqlite3_open_v2(file, &s->writer, flags | SQLITE_OPEN_CREATE, NULL))
		return -EIO;
	(void)sqlite3_busy_timeout(s->writer, BUSY_MS);
	if (praas_sqlite_exec(s->writer,
			      "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"))
		return -EIO;
	rc = praas_sqlite_migrate(s->writer, ret_text);
	if (rc)
		return rc;
	if (praas_sqlite_exec(s->writer, "PRAGMA foreign_keys=ON;"))
		return -EIO;
	fill_log(s->writer, file);
	(void)chmod(file, 0600); /* WAL and shm files inherit it */
	if (sqlite3_open_v2(file, &s->reader, flags, NULL) ||
	    sqlite3_open_v2(file, &s->usage, flags, NULL))
		return -EIO;
	(void)sqlite3_busy_timeout(s->reader, BUSY_MS);
	(void)sqlite3_busy_timeout(s->usage, BUSY_MS);
	for (int i = 0; i < PRAAS_SQL_STATEMENTS; i++)
		if (sqlite3_prepare_v3(connection_of(s, i), praas_sqlite_texts[i], -1,
				       SQLITE_PREPARE_PERSISTENT, &s->statements[i],
				       NULL))
			return -EIO;
	return praas_sqlite_numbers_open(s);
}

static const struct praas_records_ops sqlite_ops = {
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
	.close = close_sqlite,
};

int praas_records_sqlite_open(const char *file, struct praas_records **ret_records,
			      char *ret_text)
{
	struct praas_sqlite *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	(void)pthread_mutex_init(&s->write_lock, NULL);
	(void)pthread_mutex_init(&s->read_lock, NULL);
	(void)pthread_mutex_init(&s->usage_lock, NULL);
	(void)pthread_mutex_init(&s->number_lock, NULL);
	ret_text[0] = 0;
	rc = open_all(s, file, ret_text);
	if (rc) {
		if (!ret_text[0])
			(void)snprintf(
				ret_text, ERROR_TEXT, "%.120s: %.100s", file,
				sqlite3_errmsg(s->reader ? s->reader : s->writer));
		close_sqlite(&s->base);
		return rc;
	}
	s->base.ops = &sqlite_ops;
	s->base.items = &praas_sqlite_items;
	s->base.memos = &praas_sqlite_memos;
	s->base.usage = &praas_sqlite_usage;
	s->base.queue = &praas_sqlite_queue;
	*ret_records = &s->base;
	return 0;
}
