/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables, and how those of an older program become ours. A file says in user_version which
 * migrations it has had; each runs once, in one transaction with its number, so a crash leaves the
 * version before or the one after. A released migration is never changed: add another.
 */
#include "control/records/records_sqlite.h"
#include "control/say.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ERROR_TEXT 256u
#define APPLICATION_ID 0x50726141 /* "PraA": these are records of ours */

/* Migration i makes version i + 1 of version i. A table without row ids has its key's columns first:
 * the checks of SQLite 3.40 find faults in others that are not there. */
static const char *const migrations[] = {
	/* 1: applications and processes */
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
	" UNIQUE (app, name));",
	/* 2: applications belong to tenants; items; how large a swapped state is */
	"CREATE TABLE apps_2 (tenant TEXT NOT NULL, name TEXT NOT NULL,"
	" version INTEGER NOT NULL, created_ns INTEGER NOT NULL,"
	" memory_bytes INTEGER NOT NULL, bytes_max INTEGER NOT NULL,"
	" vcpu_milli INTEGER NOT NULL, concurrency INTEGER NOT NULL,"
	" isolation_inline INTEGER NOT NULL, allow_weak_sandbox INTEGER NOT NULL,"
	" wait INTEGER NOT NULL, id BLOB NOT NULL UNIQUE, code TEXT NOT NULL,"
	" PRIMARY KEY (tenant, name)) WITHOUT ROWID;"
	"INSERT INTO apps_2 SELECT 'default', name, version, created_ns, memory_bytes,"
	" bytes_max, vcpu_milli, concurrency, isolation_inline, allow_weak_sandbox,"
	" wait, id, code FROM apps;"
	"DROP TABLE apps;"
	"ALTER TABLE apps_2 RENAME TO apps;"
	"ALTER TABLE processes ADD COLUMN state_bytes INTEGER NOT NULL DEFAULT 0;"
	"CREATE TABLE items (kind INTEGER NOT NULL, id TEXT NOT NULL,"
	" version INTEGER NOT NULL, body TEXT NOT NULL,"
	" PRIMARY KEY (kind, id)) WITHOUT ROWID;",
	/* 3: what came of requests with an Idempotency-Key */
	"CREATE TABLE memos (id BLOB NOT NULL UNIQUE, made_ns INTEGER NOT NULL,"
	" status INTEGER NOT NULL, request BLOB NOT NULL, run BLOB NOT NULL,"
	" tenant TEXT NOT NULL, answer BLOB NOT NULL);"
	"CREATE INDEX memos_made ON memos (made_ns);",
	/* 4: what processes used, and how much of it is in rows */
	"ALTER TABLE processes ADD COLUMN used_ns INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE processes ADD COLUMN counted_cpu INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE processes ADD COLUMN counted_wall INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE processes ADD COLUMN counted_calls INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE processes ADD COLUMN counted_in INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE processes ADD COLUMN counted_out INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE processes ADD COLUMN counted_resident REAL NOT NULL DEFAULT 0;"
	"UPDATE processes SET used_ns = changed_ns;"
	"CREATE TABLE usage (number INTEGER NOT NULL, from_ns INTEGER NOT NULL,"
	" to_ns INTEGER NOT NULL, folded INTEGER NOT NULL, tenant TEXT NOT NULL,"
	" app TEXT NOT NULL, name TEXT NOT NULL, cpu_ns INTEGER NOT NULL,"
	" wall_ns INTEGER NOT NULL, calls INTEGER NOT NULL,"
	" bytes_in INTEGER NOT NULL, bytes_out INTEGER NOT NULL,"
	" resident REAL NOT NULL, stored REAL NOT NULL);"
	"CREATE INDEX usage_ends ON usage (to_ns);"
	"CREATE INDEX usage_fine ON usage (to_ns) WHERE folded = 0;",
	/* 5: how large named snapshots are */
	"ALTER TABLE processes ADD COLUMN named_bytes INTEGER NOT NULL DEFAULT 0;",
	/* 6: code has revisions */
	"ALTER TABLE apps ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE apps ADD COLUMN deployed_ns INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE apps ADD COLUMN digest BLOB NOT NULL DEFAULT"
	" x'0000000000000000000000000000000000000000000000000000000000000000';"
	"ALTER TABLE processes ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;",
	/* 7: backup queues, and how far they have come */
	"CREATE TABLE queues (process INTEGER PRIMARY KEY REFERENCES"
	" processes(number) ON DELETE CASCADE, tail INTEGER NOT NULL,"
	" trimmed INTEGER NOT NULL, messages INTEGER NOT NULL,"
	" bytes INTEGER NOT NULL);"
	"CREATE TABLE queued (process INTEGER NOT NULL REFERENCES"
	" processes(number) ON DELETE CASCADE, position INTEGER NOT NULL,"
	" source INTEGER NOT NULL, epoch INTEGER NOT NULL, number INTEGER NOT NULL,"
	" key_bytes INTEGER NOT NULL, trace BLOB, data BLOB NOT NULL,"
	" UNIQUE (process, position));"
	"CREATE INDEX queued_places ON queued (process, source, epoch, number);",
	/* 8: several nodes */
	"ALTER TABLE processes ADD COLUMN node TEXT NOT NULL DEFAULT '';",
	/* 9: checkpoints from time to time */
	"ALTER TABLE apps ADD COLUMN checkpoint_ms INTEGER NOT NULL DEFAULT 0;",
	/* 10: state beyond memory */
	"ALTER TABLE apps ADD COLUMN state_bytes INTEGER NOT NULL DEFAULT 0;",
};
#define VERSION ((int)(sizeof(migrations) / sizeof(migrations[0])))

static int exec(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;
}

/* The first column of what a PRAGMA answers. 0; -EIO. */
static int ask_number(sqlite3 *db, const char *sql, int *ret_number)
{
	sqlite3_stmt *st;
	int rc = -EIO;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
		return -EIO;
	if (sqlite3_step(st) == SQLITE_ROW) {
		*ret_number = sqlite3_column_int(st, 0);
		rc = 0;
	}
	(void)sqlite3_finalize(st);
	return rc;
}

/* The first thing that is wrong with the pages of the file. 0; -EIO. */
static int check_pages(sqlite3 *db, char *ret_text)
{
	const char *words = "it cannot be checked";
	sqlite3_stmt *st = NULL;
	int rc = -EIO;

	if (sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &st, NULL) ==
		    SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW)
		words = (const char *)sqlite3_column_text(st, 0);
	else
		words = sqlite3_errmsg(db);
	if (words && !strcmp(words, "ok"))
		rc = 0;
	else
		(void)snprintf(ret_text, ERROR_TEXT,
			       "the file is damaged (%.120s); restore a back-up "
			       "(docs/operations.md)",
			       words ? words : "no words");
	(void)sqlite3_finalize(st);
	return rc;
}

/* References are checked as a whole before the commit: a table that others refer to may be
 * made anew. */
static int migrate_one(sqlite3 *db, int from)
{
	char sql[160];
	int broken = 0;

	(void)snprintf(sql, sizeof(sql),
		       "PRAGMA user_version = %d; PRAGMA application_id = %d; COMMIT;",
		       from + 1, APPLICATION_ID);
	if (exec(db, "BEGIN IMMEDIATE") == 0 && exec(db, migrations[from]) == 0 &&
	    ask_number(db, "SELECT count(*) FROM pragma_foreign_key_check", &broken) ==
		    0 &&
	    broken == 0 && exec(db, sql) == 0)
		return 0;
	return -EIO;
}

int praas_sqlite_migrate(sqlite3 *db, char *ret_text)
{
	int version = 0, tables = 0, rc;

	if (ask_number(db, "PRAGMA user_version", &version) ||
	    ask_number(db, "SELECT count(*) FROM sqlite_master", &tables))
		return -EIO;
	if (version > VERSION) {
		(void)snprintf(ret_text, ERROR_TEXT,
			       "they have format %d, this program knows up to %d; run "
			       "the newer program, or restore a back-up of its time",
			       version, VERSION);
		return -EPROTO;
	}
	if (version < 0 || (version == 0) != (tables == 0)) {
		(void)snprintf(ret_text, ERROR_TEXT,
			       "the file holds something else than records");
		return -EPROTO;
	}
	rc = 0;
	for (int v = version; rc == 0 && v < VERSION; v++) {
		rc = migrate_one(db, v);
		if (rc == 0 && version > 0)
			praas_say(PRAAS_SAY_ERROR, "records: format %d became %d", v,
				  v + 1);
		if (rc) {
			(void)snprintf(ret_text, ERROR_TEXT,
				       "format %d cannot become %d (%.120s); nothing "
				       "was changed",
				       v, v + 1, sqlite3_errmsg(db));
			(void)exec(db, "ROLLBACK"); /* when one is open */
		}
	}
	return rc ? rc : check_pages(db, ret_text);
}

int praas_records_sqlite_copy(const char *file, const char *copy, char *ret_text)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *st = NULL;
	int rc = -EIO;

	/* One statement reads as of one moment; a writer goes on meanwhile (write-ahead log). */
	if (sqlite3_open_v2(file, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
	    sqlite3_prepare_v2(db, "VACUUM INTO ?1", -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_bind_text(st, 1, copy, -1, SQLITE_STATIC) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_DONE)
		rc = 0;
	else
		(void)snprintf(ret_text, ERROR_TEXT, "%.120s: %.100s", file,
			       db ? sqlite3_errmsg(db) : "out of memory");
	(void)sqlite3_finalize(st);
	(void)sqlite3_close(db);
	return rc;
}
