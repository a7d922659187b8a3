/* SPDX-License-Identifier: Apache-2.0
 *
 * Statements, and what a row says. The file may have been damaged, or written to by somebody: a row
 * is believed only when every column of it is what this program would have written.
 */
#include "control/records/records_sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/names.h"
#include "control/say.h"

#define APP_COLUMNS                                                                    \
	"version, created_ns, memory_bytes, bytes_max, vcpu_milli, concurrency, "      \
	"isolation_inline, allow_weak_sandbox, wait, id, name, code, tenant"
#define PROCESS_COLUMNS                                                                \
	"version, number, created_ns, changed_ns, os_start, slot, os_pid, "            \
	"generation, epoch, lost_epoch, state, app, controller, join_hash, name, "     \
	"endpoints, state_bytes"

const char *const praas_sqlite_texts[PRAAS_SQL_STATEMENTS] = {
	[PRAAS_SQL_APP_INSERT] =
		"INSERT INTO apps (" APP_COLUMNS
		") VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)",
	[PRAAS_SQL_APP_UPDATE] =
		"UPDATE apps SET version=?1, created_ns=?2, memory_bytes=?3,"
		" bytes_max=?4, vcpu_milli=?5, concurrency=?6, isolation_inline=?7,"
		" allow_weak_sandbox=?8, wait=?9, name=?11, code=?12"
		" WHERE id=?10 AND version=?1-1 AND tenant=?13",
	[PRAAS_SQL_APP_DELETE] = "DELETE FROM apps WHERE id=?1",
	[PRAAS_SQL_PROCESS_INSERT] =
		"INSERT INTO processes (" PROCESS_COLUMNS
		") VALUES (?1,NULLIF(?2,0),?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,"
		"?14,?15,?16,?17)",
	[PRAAS_SQL_PROCESS_UPDATE] =
		"UPDATE processes SET version=?1, created_ns=?3, changed_ns=?4,"
		" os_start=?5, slot=?6, os_pid=?7, generation=?8, epoch=?9,"
		" lost_epoch=?10, state=?11, app=?12, controller=?13,"
		" join_hash=?14, name=?15, endpoints=?16, state_bytes=?17"
		" WHERE number=?2 AND version=?1-1",
	[PRAAS_SQL_PROCESS_DELETE] = "DELETE FROM processes WHERE number=?1",
	[PRAAS_SQL_ITEM_INSERT] =
		"INSERT INTO items (version, kind, id, body) VALUES (?1,?2,?3,?4)",
	[PRAAS_SQL_ITEM_UPDATE] =
		"UPDATE items SET version=?1, body=?4 WHERE kind=?2 AND id=?3"
		" AND version=?1-1",
	[PRAAS_SQL_ITEM_DELETE] = "DELETE FROM items WHERE kind=?1 AND id=?2",
	[PRAAS_SQL_MEMO_INSERT] =
		"INSERT INTO memos (made_ns, status, answer, id, request, run, tenant)"
		" VALUES (?1,?2,?3,?4,?5,?6,?7)",
	[PRAAS_SQL_MEMO_UPDATE] =
		"UPDATE memos SET made_ns=?1, status=?2, answer=?3, request=?5, run=?6"
		" WHERE id=?4 AND tenant=?7 AND run=?8",
	[PRAAS_SQL_MEMO_DELETE] = "DELETE FROM memos WHERE id=?1",
	[PRAAS_SQL_MEMO_EXPIRE] = "DELETE FROM memos WHERE made_ns<?1",
	[PRAAS_SQL_APP_COUNT] = "SELECT count(*) FROM apps",
	[PRAAS_SQL_APP_GET] =
		"SELECT " APP_COLUMNS " FROM apps WHERE tenant=?1 AND name=?2",
	[PRAAS_SQL_APP_LIST] =
		"SELECT " APP_COLUMNS " FROM apps WHERE (?3 IS NULL OR tenant=?3) AND"
		" (tenant, name)>(?1, ?2) ORDER BY tenant, name LIMIT ?4",
	[PRAAS_SQL_PROCESS_COUNT] = "SELECT count(*) FROM processes WHERE app=?1",
	[PRAAS_SQL_PROCESS_GET] =
		"SELECT " PROCESS_COLUMNS " FROM processes WHERE app=?1 AND name=?2",
	[PRAAS_SQL_PROCESS_BY_NUMBER] =
		"SELECT " PROCESS_COLUMNS " FROM processes WHERE number=?1",
	[PRAAS_SQL_PROCESS_LIST] =
		"SELECT " PROCESS_COLUMNS " FROM processes WHERE app=?3 AND"
		" (?1 IS NULL OR name>?1) ORDER BY name LIMIT ?2",
	[PRAAS_SQL_PROCESS_LIST_ALL] =
		"SELECT " PROCESS_COLUMNS
		" FROM processes WHERE number>?1 ORDER BY number LIMIT ?2",
	[PRAAS_SQL_ITEM_LIST] = "SELECT version, id, body FROM items WHERE kind=?1 AND"
				" id>?2 ORDER BY id LIMIT ?3",
	[PRAAS_SQL_MEMO_GET] =
		"SELECT made_ns, status, answer, id, request, run, tenant FROM memos"
		" WHERE id=?1",
	[PRAAS_SQL_MEMO_SUMS] = "SELECT tenant, sum(512+length(answer)) FROM memos"
				" GROUP BY tenant LIMIT ?1",
};

/* ---- to a statement ----------------------------------------------------------------- */

void praas_sqlite_bind_text(sqlite3_stmt *st, int at, const char *text)
{
	(void)sqlite3_bind_text(st, at, text, -1, SQLITE_STATIC); /* NULL binds NULL */
}

void praas_sqlite_bind_number(sqlite3_stmt *st, int at, uint64_t number)
{
	(void)sqlite3_bind_int64(st, at, (sqlite3_int64)number);
}

static void bind_blob(sqlite3_stmt *st, int at, const uint8_t *data, size_t bytes)
{
	(void)sqlite3_bind_blob(st, at, data, (int)bytes, SQLITE_STATIC);
}

void praas_sqlite_bind_app(sqlite3_stmt *st, const struct praas_app_record *app)
{
	const uint64_t numbers[] = {
		app->version + 1,      app->created_ns,         app->memory_bytes,
		app->bytes_max,        app->vcpu_milli,         app->concurrency,
		app->isolation_inline, app->allow_weak_sandbox, app->wait
	};

	for (int i = 0; i < 9; i++)
		praas_sqlite_bind_number(st, i + 1, numbers[i]);
	bind_blob(st, 10, app->id, sizeof(app->id));
	praas_sqlite_bind_text(st, 11, app->name);
	praas_sqlite_bind_text(st, 12, app->code);
	praas_sqlite_bind_text(st, 13, app->tenant);
}

void praas_sqlite_bind_process(sqlite3_stmt *st, const struct praas_process_record *p)
{
	praas_sqlite_bind_number(st, 1, p->version + 1);
	praas_sqlite_bind_number(st, 2, p->number);
	praas_sqlite_bind_number(st, 3, p->created_ns);
	praas_sqlite_bind_number(st, 4, p->changed_ns);
	praas_sqlite_bind_number(st, 5, p->os_start);
	(void)sqlite3_bind_int64(st, 6, p->slot);
	(void)sqlite3_bind_int64(st, 7, p->os_pid);
	praas_sqlite_bind_number(st, 8, p->generation);
	praas_sqlite_bind_number(st, 9, p->epoch);
	praas_sqlite_bind_number(st, 10, p->lost_epoch);
	praas_sqlite_bind_number(st, 11, p->state);
	bind_blob(st, 12, p->app, sizeof(p->app));
	bind_blob(st, 13, p->controller, sizeof(p->controller));
	bind_blob(st, 14, p->join_hash, sizeof(p->join_hash));
	praas_sqlite_bind_text(st, 15, p->name);
	praas_sqlite_bind_text(st, 16, p->endpoints);
	praas_sqlite_bind_number(st, 17, p->state_bytes);
}

void praas_sqlite_bind_item(sqlite3_stmt *st, enum praas_item_kind kind,
			    const struct praas_item *item)
{
	praas_sqlite_bind_number(st, 1, item->version + 1);
	praas_sqlite_bind_number(st, 2, kind);
	praas_sqlite_bind_text(st, 3, item->id);
	praas_sqlite_bind_text(st, 4, item->body);
}

void praas_sqlite_bind_memo(sqlite3_stmt *st, const struct praas_memo *memo)
{
	praas_sqlite_bind_number(st, 1, memo->made_ns);
	praas_sqlite_bind_number(st, 2, memo->status);
	bind_blob(st, 3, memo->answer_bytes ? memo->answer : (const void *)"",
		  memo->answer_bytes); /* NULL would bind NULL */
	bind_blob(st, 4, memo->id, sizeof(memo->id));
	bind_blob(st, 5, memo->request, sizeof(memo->request));
	bind_blob(st, 6, memo->run, sizeof(memo->run));
	praas_sqlite_bind_text(st, 7, memo->tenant);
}

/* ---- from a row --------------------------------------------------------------------- */

/* The first column that is not what it should be; -1 none yet. */
struct row {
	sqlite3_stmt *st;
	int fault;
};

static void check(struct row *row, int at, bool good)
{
	if (!good && row->fault < 0)
		row->fault = at;
}

static uint64_t number_at(struct row *row, int at, uint64_t min, uint64_t max)
{
	sqlite3_int64 n = sqlite3_column_int64(row->st, at);

	check(row, at,
	      sqlite3_column_type(row->st, at) == SQLITE_INTEGER && n >= 0 &&
		      (uint64_t)n >= min && (uint64_t)n <= max);
	return (uint64_t)n;
}

static int64_t signed_at(struct row *row, int at, int64_t min, int64_t max)
{
	sqlite3_int64 n = sqlite3_column_int64(row->st, at);

	check(row, at,
	      sqlite3_column_type(row->st, at) == SQLITE_INTEGER && n >= min &&
		      n <= max);
	return n;
}

static void text_at(struct row *row, int at, char *ret_text, size_t bytes_max)
{
	const char *text = (const char *)sqlite3_column_text(row->st, at);
	size_t bytes = (size_t)sqlite3_column_bytes(row->st, at);

	ret_text[0] = 0;
	if (sqlite3_column_type(row->st, at) != SQLITE_TEXT || !text ||
	    bytes >= bytes_max || strlen(text) != bytes)
		check(row, at, false);
	else
		memcpy(ret_text, text, bytes + 1);
}

static void name_at(struct row *row, int at, char ret_text[PRAAS_NAME_MAX + 1])
{
	text_at(row, at, ret_text, PRAAS_NAME_MAX + 1);
	check(row, at, praas_name_valid(ret_text));
}

static void blob_at(struct row *row, int at, uint8_t *ret_data, size_t bytes)
{
	const void *data = sqlite3_column_blob(row->st, at);

	if (sqlite3_column_type(row->st, at) != SQLITE_BLOB || !data ||
	    (size_t)sqlite3_column_bytes(row->st, at) != bytes)
		check(row, at, false);
	else
		memcpy(ret_data, data, bytes);
}

static int verdict(const struct row *row, const char *what, const char *name)
{
	if (row->fault < 0)
		return 0;
	praas_say(PRAAS_SAY_ERROR,
		  "records: %s %s is damaged: column %s; restore a "
		  "back-up (docs/operations.md)",
		  what, praas_name_valid(name) ? name : "without a name",
		  sqlite3_column_name(row->st, row->fault));
	return -EPROTO;
}

int praas_sqlite_read_app(sqlite3_stmt *st, struct praas_app_record *ret_app)
{
	struct row row = { st, -1 };

	memset(ret_app, 0, sizeof(*ret_app));
	ret_app->version = number_at(&row, 0, 1, INT64_MAX);
	ret_app->created_ns = number_at(&row, 1, 0, INT64_MAX);
	ret_app->memory_bytes = number_at(&row, 2, 1, PRAAS_LIMIT_MEMORY_BYTES);
	ret_app->bytes_max = number_at(&row, 3, 0, PRAAS_LIMIT_MEMORY_BYTES);
	ret_app->vcpu_milli = (uint32_t)number_at(&row, 4, 0, PRAAS_LIMIT_VCPU_MILLI);
	ret_app->concurrency = (uint32_t)number_at(&row, 5, 0, PRAAS_LIMIT_CONCURRENCY);
	ret_app->isolation_inline = number_at(&row, 6, 0, 1) != 0;
	ret_app->allow_weak_sandbox = number_at(&row, 7, 0, 1) != 0;
	ret_app->wait = (uint8_t)number_at(&row, 8, 0, 2);
	blob_at(&row, 9, ret_app->id, sizeof(ret_app->id));
	name_at(&row, 10, ret_app->name);
	text_at(&row, 11, ret_app->code, sizeof(ret_app->code));
	name_at(&row, 12, ret_app->tenant);
	return verdict(&row, "application", ret_app->name);
}

int praas_sqlite_read_process(sqlite3_stmt *st, struct praas_process_record *ret_p)
{
	struct row row = { st, -1 };

	memset(ret_p, 0, sizeof(*ret_p));
	ret_p->version = number_at(&row, 0, 1, INT64_MAX);
	ret_p->number = number_at(&row, 1, 1, INT64_MAX);
	ret_p->created_ns = number_at(&row, 2, 0, INT64_MAX);
	ret_p->changed_ns = number_at(&row, 3, 0, INT64_MAX);
	ret_p->os_start = number_at(&row, 4, 0, INT64_MAX);
	ret_p->slot = signed_at(&row, 5, -1, INT64_MAX);
	ret_p->os_pid = (int32_t)signed_at(&row, 6, 0, INT32_MAX);
	ret_p->generation = (uint32_t)number_at(&row, 7, 0, UINT32_MAX);
	ret_p->epoch = (uint32_t)number_at(&row, 8, 0, UINT32_MAX);
	ret_p->lost_epoch = (uint32_t)number_at(&row, 9, 0, UINT32_MAX);
	ret_p->state =
		(uint8_t)number_at(&row, 10, PRAAS_LIFE_SWAPPED, PRAAS_LIFE_DELETING);
	blob_at(&row, 11, ret_p->app, sizeof(ret_p->app));
	blob_at(&row, 12, ret_p->controller, sizeof(ret_p->controller));
	blob_at(&row, 13, ret_p->join_hash, sizeof(ret_p->join_hash));
	name_at(&row, 14, ret_p->name);
	text_at(&row, 15, ret_p->endpoints, sizeof(ret_p->endpoints));
	ret_p->state_bytes = number_at(&row, 16, 0, INT64_MAX);
	return verdict(&row, "process", ret_p->name);
}

int praas_sqlite_read_item(sqlite3_stmt *st, struct praas_item *ret_item)
{
	struct row row = { st, -1 };

	memset(ret_item, 0, sizeof(*ret_item));
	ret_item->version = number_at(&row, 0, 1, INT64_MAX);
	name_at(&row, 1, ret_item->id);
	text_at(&row, 2, ret_item->body, sizeof(ret_item->body));
	return verdict(&row, "item", ret_item->id);
}

int praas_sqlite_read_memo(sqlite3_stmt *st, struct praas_memo *ret_memo)
{
	struct row row = { st, -1 };

	memset(ret_memo, 0, sizeof(*ret_memo));
	ret_memo->made_ns = number_at(&row, 0, 0, INT64_MAX);
	ret_memo->status = (uint32_t)number_at(&row, 1, 0, 599);
	ret_memo->answer = (void *)(uintptr_t)sqlite3_column_blob(st, 2);
	ret_memo->answer_bytes = (uint32_t)sqlite3_column_bytes(st, 2);
	check(&row, 2,
	      sqlite3_column_type(st, 2) == SQLITE_BLOB &&
		      ret_memo->answer_bytes <= PRAAS_LIMIT_MEMO_BYTES);
	blob_at(&row, 3, ret_memo->id, sizeof(ret_memo->id));
	blob_at(&row, 4, ret_memo->request, sizeof(ret_memo->request));
	blob_at(&row, 5, ret_memo->run, sizeof(ret_memo->run));
	name_at(&row, 6, ret_memo->tenant);
	return verdict(&row, "memo", ret_memo->tenant);
}

int praas_sqlite_read_memo_sum(sqlite3_stmt *st, struct praas_memo_sum *ret_sum)
{
	struct row row = { st, -1 };

	name_at(&row, 0, ret_sum->tenant);
	ret_sum->bytes = number_at(&row, 1, 0, INT64_MAX);
	return verdict(&row, "memos", ret_sum->tenant);
}
