/* SPDX-License-Identifier: Apache-2.0
 *
 * Records in one SQLite file: write-ahead log, synchronous=FULL, so what a call has returned is
 * on the disk (docs/rationale.md has the measured costs). Two connections: readers never
 * wait for a commit. Statements are prepared once.
 */
#include "control/records.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <sqlite3.h>

#include "control/names.h"
#include "internal/base.h"

#define SCHEMA_VERSION 1
#define BUSY_MS 5000
#define ERROR_TEXT 256u

#define APP_COLUMNS                                                                    \
	"version, created_ns, memory_bytes, bytes_max, vcpu_milli, concurrency, "      \
	"isolation_inline, allow_weak_sandbox, wait, id, name, code"
#define PROCESS_COLUMNS                                                                \
	"version, number, created_ns, changed_ns, os_start, slot, os_pid, "            \
	"generation, "                                                                 \
	"epoch, lost_epoch, state, app, controller, join_hash, name, endpoints"

static const char schema[] =
	"CREATE TABLE apps (version INTEGER NOT NULL, created_ns INTEGER NOT NULL,"
	" memory_bytes INTEGER NOT NULL, bytes_max INTEGER NOT NULL,"
	" vcpu_milli INTEGER NOT NULL, concurrency INTEGER NOT NULL,"
	" isolation_inline INTEGER NOT NULL, allow_weak_sandbox INTEGER NOT NULL,"
	" wait INTEGER NOT NULL, id BLOB NOT NULL UNIQUE, name TEXT PRIMARY KEY,"
	" code TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE processes (version INTEGER NOT NULL,"
	" number INTEGER PRIMARY KEY AUTOINCREMENT, created_ns INTEGER NOT NULL,"
	" changed_ns INTEGER NOT NULL, os_start INTEGER NOT NULL, slot INTEGER NOT "
	"NULL,"
	" os_pid INTEGER NOT NULL, generation INTEGER NOT NULL, epoch INTEGER NOT NULL,"
	" lost_epoch INTEGER NOT NULL, state INTEGER NOT NULL,"
	" app BLOB NOT NULL REFERENCES apps(id), controller BLOB NOT NULL,"
	" join_hash BLOB NOT NULL, name TEXT NOT NULL, endpoints TEXT NOT NULL,"
	" UNIQUE (app, name));"
	"PRAGMA user_version = 1;";

enum statement {
	APP_INSERT,
	APP_UPDATE,
	APP_DELETE,
	PROCESS_INSERT,
	PROCESS_UPDATE,
	PROCESS_DELETE,
	APP_COUNT, /* from here on: on the reading connection */
	APP_GET,
	APP_LIST,
	PROCESS_COUNT,
	PROCESS_GET,
	PROCESS_BY_NUMBER,
	PROCESS_LIST,
	PROCESS_LIST_ALL,
	STATEMENTS
};
#define FIRST_READING APP_COUNT

static const char *const texts[STATEMENTS] = {
	[APP_INSERT] = "INSERT INTO apps (" APP_COLUMNS
		       ") VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)",
	[APP_UPDATE] =
		"UPDATE apps SET version=?1, created_ns=?2, memory_bytes=?3,"
		" bytes_max=?4, vcpu_milli=?5, concurrency=?6, isolation_inline=?7,"
		" allow_weak_sandbox=?8, wait=?9, name=?11, code=?12"
		" WHERE id=?10 AND version=?1-1",
	[APP_DELETE] = "DELETE FROM apps WHERE id=?1",
	[PROCESS_INSERT] =
		"INSERT INTO processes (" PROCESS_COLUMNS
		") VALUES (?1,NULLIF(?2,0),?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,"
		"?14,?15,?16)",
	[PROCESS_UPDATE] =
		"UPDATE processes SET version=?1, created_ns=?3, changed_ns=?4,"
		" os_start=?5, slot=?6, os_pid=?7, generation=?8, epoch=?9,"
		" lost_epoch=?10, state=?11, app=?12, controller=?13,"
		" join_hash=?14, name=?15, endpoints=?16"
		" WHERE number=?2 AND version=?1-1",
	[PROCESS_DELETE] = "DELETE FROM processes WHERE number=?1",
	[APP_COUNT] = "SELECT count(*) FROM apps",
	[APP_GET] = "SELECT " APP_COLUMNS " FROM apps WHERE name=?1",
	[APP_LIST] = "SELECT " APP_COLUMNS
		     " FROM apps WHERE ?1 IS NULL OR name>?1 ORDER BY name LIMIT ?2",
	[PROCESS_COUNT] = "SELECT count(*) FROM processes WHERE app=?1",
	[PROCESS_GET] =
		"SELECT " PROCESS_COLUMNS " FROM processes WHERE app=?1 AND name=?2",
	[PROCESS_BY_NUMBER] =
		"SELECT " PROCESS_COLUMNS " FROM processes WHERE number=?1",
	[PROCESS_LIST] = "SELECT " PROCESS_COLUMNS " FROM processes WHERE app=?3 AND"
			 " (?1 IS NULL OR name>?1) ORDER BY name LIMIT ?2",
	[PROCESS_LIST_ALL] = "SELECT " PROCESS_COLUMNS
			     " FROM processes WHERE number>?1 ORDER BY number LIMIT ?2",
};

struct sqlite {
	struct praas_records base;
	sqlite3 *writer, *reader;
	pthread_mutex_t write_lock, read_lock;
	sqlite3_stmt *statements[STATEMENTS];
};

static struct sqlite *of(struct praas_records *r)
{
	return (struct sqlite *)(void *)r;
}

static int failed(sqlite3 *db, const char *what)
{
	(void)fprintf(stderr, "praas-control: records: %s: %s\n", what,
		      sqlite3_errmsg(db));
	return -EIO;
}

static sqlite3_stmt *begin(struct sqlite *s, enum statement which)
{
	(void)pthread_mutex_lock(which < FIRST_READING ? &s->write_lock
						       : &s->read_lock);
	return s->statements[which];
}

static void end(struct sqlite *s, enum statement which)
{
	(void)sqlite3_reset(
		s->statements[which]); /* its error was reported by the step */
	(void)sqlite3_clear_bindings(s->statements[which]);
	(void)pthread_mutex_unlock(which < FIRST_READING ? &s->write_lock
							 : &s->read_lock);
}

static void bind_text(sqlite3_stmt *st, int at, const char *text)
{
	(void)sqlite3_bind_text(st, at, text, -1, SQLITE_STATIC); /* NULL binds NULL */
}

static void bind_number(sqlite3_stmt *st, int at, uint64_t number)
{
	(void)sqlite3_bind_int64(st, at, (sqlite3_int64)number);
}

static uint64_t number_at(sqlite3_stmt *st, int at)
{
	return (uint64_t)sqlite3_column_int64(st, at);
}

/* What does not fit is cut; the schema's writers never store such a thing. */
static void text_at(sqlite3_stmt *st, int at, char *ret_text, size_t bytes_max)
{
	const unsigned char *text = sqlite3_column_text(st, at);

	(void)snprintf(ret_text, bytes_max, "%s", text ? (const char *)text : "");
}

static void blob_at(sqlite3_stmt *st, int at, uint8_t *ret_data, size_t bytes)
{
	const void *data = sqlite3_column_blob(st, at);

	memset(ret_data, 0, bytes);
	if (data && (size_t)sqlite3_column_bytes(st, at) == bytes)
		memcpy(ret_data, data, bytes);
}

static void bind_app(sqlite3_stmt *st, const struct praas_app_record *app)
{
	bind_number(st, 1, app->version + 1);
	bind_number(st, 2, app->created_ns);
	bind_number(st, 3, app->memory_bytes);
	bind_number(st, 4, app->bytes_max);
	bind_number(st, 5, app->vcpu_milli);
	bind_number(st, 6, app->concurrency);
	bind_number(st, 7, app->isolation_inline);
	bind_number(st, 8, app->allow_weak_sandbox);
	bind_number(st, 9, app->wait);
	(void)sqlite3_bind_blob(st, 10, app->id, sizeof(app->id), SQLITE_STATIC);
	bind_text(st, 11, app->name);
	bind_text(st, 12, app->code);
}

static void read_app(sqlite3_stmt *st, struct praas_app_record *ret_app)
{
	memset(ret_app, 0, sizeof(*ret_app));
	ret_app->version = number_at(st, 0);
	ret_app->created_ns = number_at(st, 1);
	ret_app->memory_bytes = number_at(st, 2);
	ret_app->bytes_max = number_at(st, 3);
	ret_app->vcpu_milli = (uint32_t)number_at(st, 4);
	ret_app->concurrency = (uint32_t)number_at(st, 5);
	ret_app->isolation_inline = number_at(st, 6) != 0;
	ret_app->allow_weak_sandbox = number_at(st, 7) != 0;
	ret_app->wait = (uint8_t)number_at(st, 8);
	blob_at(st, 9, ret_app->id, sizeof(ret_app->id));
	text_at(st, 10, ret_app->name, sizeof(ret_app->name));
	text_at(st, 11, ret_app->code, sizeof(ret_app->code));
}

static void bind_process(sqlite3_stmt *st, const struct praas_process_record *p)
{
	bind_number(st, 1, p->version + 1);
	bind_number(st, 2, p->number);
	bind_number(st, 3, p->created_ns);
	bind_number(st, 4, p->changed_ns);
	bind_number(st, 5, p->os_start);
	(void)sqlite3_bind_int64(st, 6, p->slot);
	(void)sqlite3_bind_int64(st, 7, p->os_pid);
	bind_number(st, 8, p->generation);
	bind_number(st, 9, p->epoch);
	bind_number(st, 10, p->lost_epoch);
	bind_number(st, 11, p->state);
	(void)sqlite3_bind_blob(st, 12, p->app, sizeof(p->app), SQLITE_STATIC);
	(void)sqlite3_bind_blob(st, 13, p->controller, sizeof(p->controller),
				SQLITE_STATIC);
	(void)sqlite3_bind_blob(st, 14, p->join_hash, sizeof(p->join_hash),
				SQLITE_STATIC);
	bind_text(st, 15, p->name);
	bind_text(st, 16, p->endpoints);
}

static void read_process(sqlite3_stmt *st, struct praas_process_record *ret_p)
{
	memset(ret_p, 0, sizeof(*ret_p));
	ret_p->version = number_at(st, 0);
	ret_p->number = number_at(st, 1);
	ret_p->created_ns = number_at(st, 2);
	ret_p->changed_ns = number_at(st, 3);
	ret_p->os_start = number_at(st, 4);
	ret_p->slot = sqlite3_column_int64(st, 5);
	ret_p->os_pid = sqlite3_column_int(st, 6);
	ret_p->generation = (uint32_t)number_at(st, 7);
	ret_p->epoch = (uint32_t)number_at(st, 8);
	ret_p->lost_epoch = (uint32_t)number_at(st, 9);
	ret_p->state = (uint8_t)number_at(st, 10);
	blob_at(st, 11, ret_p->app, sizeof(ret_p->app));
	blob_at(st, 12, ret_p->controller, sizeof(ret_p->controller));
	blob_at(st, 13, ret_p->join_hash, sizeof(ret_p->join_hash));
	text_at(st, 14, ret_p->name, sizeof(ret_p->name));
	text_at(st, 15, ret_p->endpoints, sizeof(ret_p->endpoints));
}

/* The rows of a table that match the bound statement, up to one. 0 and the count; -EIO. */
static int count_rows(struct sqlite *s, enum statement which, const uint8_t *app,
		      uint64_t *ret_count)
{
	sqlite3_stmt *st = begin(s, which);
	int rc = 0;

	if (app)
		(void)sqlite3_bind_blob(st, 1, app, PRAAS_RECORD_ID_BYTES,
					SQLITE_STATIC);
	if (sqlite3_step(st) == SQLITE_ROW)
		*ret_count = number_at(st, 0);
	else
		rc = failed(s->reader, "count");
	end(s, which);
	return rc;
}

/* Runs a bound changing statement. SQLITE_DONE with no row changed is `none`. */
static int change(struct sqlite *s, sqlite3_stmt *st, int none)
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
		(void)failed(s->writer, "change");
		return -EIO;
	default:
		return failed(s->writer, "change");
	}
}

static int app_put(struct praas_records *r, struct praas_app_record *app)
{
	enum statement which = app->version ? APP_UPDATE : APP_INSERT;
	struct sqlite *s = of(r);
	sqlite3_stmt *st;
	uint64_t count = 0;
	int rc;

	if (!app->version) {
		rc = count_rows(s, APP_COUNT, NULL, &count);
		if (rc)
			return rc;
		if (count >= PRAAS_LIMIT_APPS)
			return -ENOSPC;
	}
	st = begin(s, which);
	bind_app(st, app);
	rc = change(s, st, -ESTALE);
	if (rc == 0)
		app->version++;
	end(s, which);
	return rc;
}

static int app_get(struct praas_records *r, const char *name,
		   struct praas_app_record *ret_app)
{
	struct sqlite *s = of(r);
	sqlite3_stmt *st = begin(s, APP_GET);
	int rc = 0;

	bind_text(st, 1, name);
	switch (sqlite3_step(st)) {
	case SQLITE_ROW:
		read_app(st, ret_app);
		break;
	case SQLITE_DONE:
		rc = -ENOENT;
		break;
	default:
		rc = failed(s->reader, "application");
	}
	end(s, APP_GET);
	return rc;
}

static int app_list(struct praas_records *r, const char *after, uint32_t max,
		    struct praas_app_record *ret_apps, uint32_t *ret_count)
{
	struct sqlite *s = of(r);
	sqlite3_stmt *st = begin(s, APP_LIST);
	uint32_t n = 0;
	int step;

	bind_text(st, 1, after);
	bind_number(st, 2, max);
	while ((step = sqlite3_step(st)) == SQLITE_ROW && n < max)
		read_app(st, &ret_apps[n++]);
	if (step != SQLITE_DONE && step != SQLITE_ROW)
		step = failed(s->reader, "applications");
	end(s, APP_LIST);
	if (step < 0)
		return step;
	*ret_count = n;
	return 0;
}

static int app_delete(struct praas_records *r, const uint8_t *id)
{
	struct sqlite *s = of(r);
	sqlite3_stmt *st = begin(s, APP_DELETE);
	int rc;

	(void)sqlite3_bind_blob(st, 1, id, PRAAS_RECORD_ID_BYTES, SQLITE_STATIC);
	rc = change(s, st, -ENOENT);
	end(s, APP_DELETE);
	return rc == -EXDEV ? -ENOTEMPTY : rc;
}

static int process_put(struct praas_records *r, struct praas_process_record *p)
{
	enum statement which = p->version ? PROCESS_UPDATE : PROCESS_INSERT;
	struct sqlite *s = of(r);
	sqlite3_stmt *st;
	uint64_t count = 0;
	int rc;

	if (!p->version) {
		rc = count_rows(s, PROCESS_COUNT, p->app, &count);
		if (rc)
			return rc;
		if (count >= PRAAS_LIMIT_PROCESSES)
			return -ENOSPC;
	}
	st = begin(s, which);
	bind_process(st, p);
	rc = change(s, st, -ESTALE);
	if (rc == 0 && !p->version)
		p->number = (uint64_t)sqlite3_last_insert_rowid(s->writer);
	if (rc == 0)
		p->version++;
	end(s, which);
	return rc == -EXDEV ? -ENOENT : rc;
}

static int process_get(struct praas_records *r, const uint8_t *app, const char *name,
		       struct praas_process_record *ret_process)
{
	enum statement which = name ? PROCESS_GET : PROCESS_BY_NUMBER;
	struct sqlite *s = of(r);
	sqlite3_stmt *st = begin(s, which);
	int rc = 0;

	if (name) {
		(void)sqlite3_bind_blob(st, 1, app, PRAAS_RECORD_ID_BYTES,
					SQLITE_STATIC);
		bind_text(st, 2, name);
	} else {
		bind_number(st, 1, ret_process->number);
	}
	switch (sqlite3_step(st)) {
	case SQLITE_ROW:
		read_process(st, ret_process);
		break;
	case SQLITE_DONE:
		rc = -ENOENT;
		break;
	default:
		rc = failed(s->reader, "process");
	}
	end(s, which);
	return rc;
}

static int process_list(struct praas_records *r, const uint8_t *app, const char *after,
			uint32_t max, struct praas_process_record *ret_processes,
			uint32_t *ret_count)
{
	enum statement which = app ? PROCESS_LIST : PROCESS_LIST_ALL;
	struct sqlite *s = of(r);
	sqlite3_stmt *st;
	uint64_t number = 0;
	uint32_t n = 0;
	int step;

	if (!app && after && praas_number_parse(after, INT64_MAX, &number))
		return -EINVAL;
	st = begin(s, which);
	if (app) {
		bind_text(st, 1, after);
		(void)sqlite3_bind_blob(st, 3, app, PRAAS_RECORD_ID_BYTES,
					SQLITE_STATIC);
	} else {
		bind_number(st, 1, number);
	}
	bind_number(st, 2, max);
	while ((step = sqlite3_step(st)) == SQLITE_ROW && n < max)
		read_process(st, &ret_processes[n++]);
	if (step != SQLITE_DONE && step != SQLITE_ROW)
		step = failed(s->reader, "processes");
	end(s, which);
	if (step < 0)
		return step;
	*ret_count = n;
	return 0;
}

static int process_delete(struct praas_records *r, uint64_t number)
{
	struct sqlite *s = of(r);
	sqlite3_stmt *st = begin(s, PROCESS_DELETE);
	int rc;

	bind_number(st, 1, number);
	rc = change(s, st, -ENOENT);
	end(s, PROCESS_DELETE);
	return rc;
}

static void close_sqlite(struct praas_records *r)
{
	struct sqlite *s = of(r);

	for (int i = 0; i < STATEMENTS; i++)
		(void)sqlite3_finalize(s->statements[i]); /* NULL is allowed */
	(void)sqlite3_close(s->reader);
	(void)sqlite3_close(s->writer);
	(void)pthread_mutex_destroy(&s->write_lock);
	(void)pthread_mutex_destroy(&s->read_lock);
	free(s);
}

/* -1: cannot be read. */
static int user_version(sqlite3 *db)
{
	sqlite3_stmt *st;
	int version = -1;

	if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &st, NULL) != SQLITE_OK)
		return -1;
	if (sqlite3_step(st) == SQLITE_ROW)
		version = sqlite3_column_int(st, 0);
	(void)sqlite3_finalize(st);
	return version;
}

static int exec(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;
}

/* Creates the tables in a new file; refuses a file of another version. */
static int prepare_schema(sqlite3 *db, char *ret_text)
{
	int version = user_version(db);

	if (version == 0) {
		if (exec(db, "BEGIN IMMEDIATE") || exec(db, schema) ||
		    exec(db, "COMMIT"))
			return -EIO;
		return 0;
	}
	if (version != SCHEMA_VERSION && version > 0) {
		(void)snprintf(
			ret_text, ERROR_TEXT,
			"the records have schema version %d, this program knows %d",
			version, SCHEMA_VERSION);
		return -EPROTO;
	}
	return version < 0 ? -EIO : 0;
}

static int open_both(struct sqlite *s, const char *file, char *ret_text)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
	int rc;

	if (sqlite3_open_v2(file, &s->writer, flags | SQLITE_OPEN_CREATE, NULL))
		return -EIO;
	(void)sqlite3_busy_timeout(s->writer, BUSY_MS);
	if (exec(s->writer, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
			    "PRAGMA foreign_keys=ON;"))
		return -EIO;
	rc = prepare_schema(s->writer, ret_text);
	if (rc)
		return rc;
	(void)chmod(file, 0600); /* WAL and shm files inherit it */
	if (sqlite3_open_v2(file, &s->reader, flags, NULL))
		return -EIO;
	(void)sqlite3_busy_timeout(s->reader, BUSY_MS);
	for (int i = 0; i < STATEMENTS; i++)
		if (sqlite3_prepare_v3(i < FIRST_READING ? s->writer : s->reader,
				       texts[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &s->statements[i], NULL))
			return -EIO;
	return 0;
}

static const struct praas_records_ops sqlite_ops = {
	.app_put = app_put,
	.app_get = app_get,
	.app_list = app_list,
	.app_delete = app_delete,
	.process_put = process_put,
	.process_get = process_get,
	.process_list = process_list,
	.process_delete = process_delete,
	.close = close_sqlite,
};

int praas_records_sqlite_open(const char *file, struct praas_records **ret_records,
			      char *ret_text)
{
	struct sqlite *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	(void)pthread_mutex_init(&s->write_lock, NULL);
	(void)pthread_mutex_init(&s->read_lock, NULL);
	ret_text[0] = 0;
	rc = open_both(s, file, ret_text);
	if (rc) {
		if (!ret_text[0])
			(void)snprintf(
				ret_text, ERROR_TEXT, "%.120s: %.100s", file,
				sqlite3_errmsg(s->reader ? s->reader : s->writer));
		close_sqlite(&s->base);
		return rc;
	}
	s->base.ops = &sqlite_ops;
	*ret_records = &s->base;
	return 0;
}
