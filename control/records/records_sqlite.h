/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to the files of the SQLite store: the connections, the statements, the rows.
 */
#ifndef PRAAS_CONTROL_RECORDS_SQLITE_H
#define PRAAS_CONTROL_RECORDS_SQLITE_H

#include <pthread.h>

#include <sqlite3.h>

#include "control/records/records.h"

enum praas_sqlite_statement {
	PRAAS_SQL_APP_INSERT,
	PRAAS_SQL_APP_UPDATE,
	PRAAS_SQL_APP_DELETE,
	PRAAS_SQL_PROCESS_INSERT,
	PRAAS_SQL_PROCESS_UPDATE,
	PRAAS_SQL_PROCESS_DELETE,
	PRAAS_SQL_ITEM_INSERT,
	PRAAS_SQL_ITEM_UPDATE,
	PRAAS_SQL_ITEM_DELETE,
	PRAAS_SQL_MEMO_INSERT,
	PRAAS_SQL_MEMO_UPDATE,
	PRAAS_SQL_MEMO_DELETE,
	PRAAS_SQL_MEMO_EXPIRE,
	PRAAS_SQL_USAGE_INSERT,
	PRAAS_SQL_USAGE_FOLD,
	PRAAS_SQL_USAGE_FOLDED,
	PRAAS_SQL_USAGE_EXPIRE,
	PRAAS_SQL_NUMBERS_KEEP,
	PRAAS_SQL_QUEUE_WITHIN,
	PRAAS_SQL_QUEUE_LAST,
	PRAAS_SQL_QUEUE_INSERT,
	PRAAS_SQL_QUEUE_SET,
	PRAAS_SQL_QUEUE_UP_TO,
	PRAAS_SQL_QUEUE_TRIM,
	PRAAS_SQL_QUEUE_LIFT,
	PRAAS_SQL_APP_COUNT, /* from here on: on the reading connection */
	PRAAS_SQL_APP_GET,
	PRAAS_SQL_APP_LIST,
	PRAAS_SQL_NUMBERS_LAST,
	PRAAS_SQL_PROCESS_COUNT,
	PRAAS_SQL_PROCESS_GET,
	PRAAS_SQL_PROCESS_BY_NUMBER,
	PRAAS_SQL_PROCESS_LIST,
	PRAAS_SQL_PROCESS_LIST_ALL,
	PRAAS_SQL_ITEM_LIST,
	PRAAS_SQL_MEMO_GET,
	PRAAS_SQL_MEMO_SUMS,
	PRAAS_SQL_USAGE_OLDEST,
	PRAAS_SQL_QUEUE_STATE,
	PRAAS_SQL_QUEUE_READ,
	PRAAS_SQL_USAGE_NOW, /* from here on: on the connection for usage */
	PRAAS_SQL_USAGE_EACH,
	PRAAS_SQL_STATEMENTS
};
#define PRAAS_SQL_FIRST_READING PRAAS_SQL_APP_COUNT
#define PRAAS_SQL_FIRST_USAGE PRAAS_SQL_USAGE_NOW

struct praas_sqlite {
	struct praas_records base;
	sqlite3 *writer, *reader, *usage; /* the last: sums may take long */
	pthread_mutex_t write_lock, read_lock;
	pthread_mutex_t usage_lock;  /* from freeze to thaw */
	pthread_mutex_t number_lock; /* of what follows; before write_lock */
	uint64_t number_last;        /* of processes, given to one */
	uint64_t number_end;         /* so far they are ours to give */
	sqlite3_stmt *statements[PRAAS_SQL_STATEMENTS];
};

struct praas_sqlite *praas_sqlite_of(struct praas_records *r);

/* ---- records_sqlite.c --------------------------------------------------------------- */

/* Logs SQLite's words; -EIO. */
int praas_sqlite_failed(sqlite3 *db, const char *what);
/* A statement for oneself, until end. */
sqlite3_stmt *praas_sqlite_begin(struct praas_sqlite *s,
				 enum praas_sqlite_statement which);
void praas_sqlite_end(struct praas_sqlite *s, enum praas_sqlite_statement which);
/* Runs a bound changing statement. none: no row was changed; -EEXIST a name is taken; -EXDEV
 * something refers to it, or what it refers to is not there; -EIO. */
int praas_sqlite_change(struct praas_sqlite *s, sqlite3_stmt *st, int none);
int praas_sqlite_exec(sqlite3 *db, const char *sql); /* -EIO */
/* What was begun on the writing connection becomes so, or, when rc is not 0, not at all. */
int praas_sqlite_commit(struct praas_sqlite *s, int rc);

/* ---- records_schema.c --------------------------------------------------------------- */

/* Brings the tables of db to the version that this program knows, or refuses. 0; -EPROTO a newer
 * version, or not records at all; -EIO damaged. ret_text (256 bytes) tells why. */
int praas_sqlite_migrate(sqlite3 *db, char *ret_text);

/* ---- records_texts.c ---------------------------------------------------------------- */

extern const char *const praas_sqlite_texts[PRAAS_SQL_STATEMENTS];

/* ---- records_rows.c ----------------------------------------------------------------- */

void praas_sqlite_bind_text(sqlite3_stmt *st, int at, const char *text);
void praas_sqlite_bind_number(sqlite3_stmt *st, int at, uint64_t number);
void praas_sqlite_bind_app(sqlite3_stmt *st, const struct praas_app_record *app);
void praas_sqlite_bind_process(sqlite3_stmt *st, const struct praas_process_record *p);
void praas_sqlite_bind_item(sqlite3_stmt *st, enum praas_item_kind kind,
			    const struct praas_item *item);
void praas_sqlite_bind_memo(sqlite3_stmt *st, const struct praas_memo *memo);
/* A row is believed only when every column is what we would have written. 0; -EPROTO it is
 * damaged (the log has which column). */
int praas_sqlite_read_app(sqlite3_stmt *st, struct praas_app_record *ret_app);
int praas_sqlite_read_process(sqlite3_stmt *st, struct praas_process_record *ret_p);
int praas_sqlite_read_item(sqlite3_stmt *st, struct praas_item *ret_item);
/* Its answer stays the row's. */
int praas_sqlite_read_memo(sqlite3_stmt *st, struct praas_memo *ret_memo);
int praas_sqlite_read_memo_sum(sqlite3_stmt *st, struct praas_memo_sum *ret_sum);

/* Columns 0 … as PRAAS_SQL_USAGE_EACH has them. */
int praas_sqlite_read_usage(sqlite3_stmt *st, struct praas_usage_sum *ret_sum);

/* Columns 0 … 7 as PRAAS_SQL_QUEUE_READ has them; its data stays the row's. */
int praas_sqlite_read_queued(sqlite3_stmt *st, struct praas_queued *ret_message);
/* Columns from `at` on: tail, trimmed, messages, bytes; NULLs are zeros. */
int praas_sqlite_read_queue_state(sqlite3_stmt *st, int at,
				  struct praas_queue_state *ret_state);

/* ---- records_numbers.c --------------------------------------------------------------- */

int praas_sqlite_numbers_open(struct praas_sqlite *s); /* -EIO */
/* One that no process has or had; 0: the store failed. */
uint64_t praas_sqlite_number(struct praas_sqlite *s);
void praas_sqlite_numbers_close(struct praas_sqlite *s);

/* ---- records_items.c, records_memos.c, records_usage.c, records_queue.c -------------- */

extern const struct praas_items_ops praas_sqlite_items;
extern const struct praas_usage_ops praas_sqlite_usage;
extern const struct praas_memos_ops praas_sqlite_memos;
extern const struct praas_queue_ops praas_sqlite_queue;

#endif
