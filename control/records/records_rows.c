/* SPDX-License-Identifier: Apache-2.0
 *
 * What is bound to statements, and what a row says. The file may have been damaged, or written to by somebody: a row
 * is believed only when every column of it is what this program would have written.
 */
#include "control/records/records_sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/names.h"
#include "control/say.h"

#define HELD_MAX 1e30 /* byte seconds */

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
	praas_sqlite_bind_number(st, 14, app->revision);
	praas_sqlite_bind_number(st, 15, app->deployed_ns);
	bind_blob(st, 16, app->digest, sizeof(app->digest));
	praas_sqlite_bind_number(st, 17, app->checkpoint_ms);
	praas_sqlite_bind_number(st, 18, app->state_bytes);
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
	praas_sqlite_bind_number(st, 18, p->used_ns);
	praas_sqlite_bind_number(st, 19, p->counted.cpu_ns);
	praas_sqlite_bind_number(st, 20, p->counted.wall_ns);
	praas_sqlite_bind_number(st, 21, p->counted.calls);
	praas_sqlite_bind_number(st, 22, p->counted.bytes_in);
	praas_sqlite_bind_number(st, 23, p->counted.bytes_out);
	(void)sqlite3_bind_double(st, 24, p->counted.resident);
	praas_sqlite_bind_number(st, 25, p->named_bytes);
	praas_sqlite_bind_number(st, 26, p->revision);
	praas_sqlite_bind_text(st, 27, p->node);
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

static double held_at(struct row *row, int at)
{
	double value = sqlite3_column_double(row->st, at);

	check(row, at,
	      sqlite3_column_type(row->st, at) == SQLITE_FLOAT && value >= 0 &&
		      value <= HELD_MAX);
	return value;
}

static double total_held_at(struct row *row, int at)
{
	double value = sqlite3_column_double(row->st, at);

	check(row, at, sqlite3_column_type(row->st, at) == SQLITE_FLOAT && value >= 0);
	return value < HELD_MAX ? value : HELD_MAX;
}

/* A sum that is a whole number, or as near to it as such a number is. */
static uint64_t total_at(struct row *row, int at)
{
	double value = sqlite3_column_double(row->st, at);

	check(row, at, sqlite3_column_type(row->st, at) == SQLITE_FLOAT && value >= 0);
	return value >= 0 && value < (double)PRAAS_USAGE_MAX ? (uint64_t)value
							     : PRAAS_USAGE_MAX;
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

/* "": none yet. */
static void node_at(struct row *row, int at, char ret_text[PRAAS_NAME_MAX + 1])
{
	text_at(row, at, ret_text, PRAAS_NAME_MAX + 1);
	check(row, at, !ret_text[0] || praas_name_valid(ret_text));
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
		  "records: %s%s%s is damaged: column %s; restore a "
		  "back-up (docs/operations.md)",
		  what, name ? " " : "",
		  name == NULL             ? ""
		  : praas_name_valid(name) ? name
					   : "without a name",
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
	ret_app->revision = (uint32_t)number_at(&row, 13, 0, UINT32_MAX);
	ret_app->deployed_ns = number_at(&row, 14, 0, INT64_MAX);
	blob_at(&row, 15, ret_app->digest, sizeof(ret_app->digest));
	ret_app->checkpoint_ms = (uint32_t)number_at(&row, 16, 0, UINT32_MAX);
	if (praas_checkpoint_every(ret_app->checkpoint_ms) != 0) /* else it is a name */
		(void)number_at(&row, 16, 0, PRAAS_LIMIT_CHECKPOINT_MS);
	ret_app->state_bytes = number_at(&row, 17, 0, PRAAS_LIMIT_STATE_BYTES);
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
		(uint8_t)number_at(&row, 10, PRAAS_LIFE_SWAPPED, PRAAS_LIFE_MIGRATING);
	blob_at(&row, 11, ret_p->app, sizeof(ret_p->app));
	blob_at(&row, 12, ret_p->controller, sizeof(ret_p->controller));
	blob_at(&row, 13, ret_p->join_hash, sizeof(ret_p->join_hash));
	name_at(&row, 14, ret_p->name);
	text_at(&row, 15, ret_p->endpoints, sizeof(ret_p->endpoints));
	ret_p->state_bytes = number_at(&row, 16, 0, INT64_MAX);
	ret_p->used_ns = number_at(&row, 17, 0, INT64_MAX);
	ret_p->counted.cpu_ns = number_at(&row, 18, 0, PRAAS_USAGE_MAX);
	ret_p->counted.wall_ns = number_at(&row, 19, 0, PRAAS_USAGE_MAX);
	ret_p->counted.calls = number_at(&row, 20, 0, PRAAS_USAGE_MAX);
	ret_p->counted.bytes_in = number_at(&row, 21, 0, PRAAS_USAGE_MAX);
	ret_p->counted.bytes_out = number_at(&row, 22, 0, PRAAS_USAGE_MAX);
	ret_p->counted.resident = held_at(&row, 23);
	ret_p->named_bytes = number_at(&row, 24, 0, INT64_MAX);
	ret_p->revision = (uint32_t)number_at(&row, 25, 0, UINT32_MAX);
	node_at(&row, 26, ret_p->node);
	return verdict(&row, "process", ret_p->name);
}

int praas_sqlite_read_usage(sqlite3_stmt *st, struct praas_usage_sum *ret_sum)
{
	struct row row = { st, -1 };

	memset(ret_sum, 0, sizeof(*ret_sum));
	ret_sum->number = number_at(&row, 0, 1, INT64_MAX);
	name_at(&row, 1, ret_sum->tenant);
	name_at(&row, 2, ret_sum->app);
	name_at(&row, 3, ret_sum->name);
	ret_sum->used.cpu_ns = total_at(&row, 4);
	ret_sum->used.wall_ns = total_at(&row, 5);
	ret_sum->used.calls = total_at(&row, 6);
	ret_sum->used.bytes_in = total_at(&row, 7);
	ret_sum->used.bytes_out = total_at(&row, 8);
	ret_sum->used.resident = total_held_at(&row, 9);
	ret_sum->used.stored = total_held_at(&row, 10);
	(void)number_at(&row, 11, 0, 0);
	ret_sum->state = (uint8_t)number_at(&row, 12, 0, PRAAS_LIFE_MIGRATING);
	ret_sum->slot = signed_at(&row, 13, -1, INT64_MAX);
	ret_sum->state_bytes = number_at(&row, 14, 0, INT64_MAX);
	ret_sum->used_ns = number_at(&row, 15, 0, INT64_MAX);
	return verdict(&row, "usage of process", ret_sum->name);
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

int praas_sqlite_read_queued(sqlite3_stmt *st, struct praas_queued *ret_message)
{
	struct praas_queued *m = ret_message;
	struct row row = { st, -1 };
	uint32_t bytes = (uint32_t)sqlite3_column_bytes(st, 6);

	memset(m, 0, sizeof(*m));
	m->position = number_at(&row, 0, 1, INT64_MAX);
	m->source = number_at(&row, 1, 1, INT64_MAX);
	m->epoch = (uint32_t)number_at(&row, 2, 1, UINT32_MAX);
	m->number = number_at(&row, 3, 1, INT64_MAX);
	m->key_bytes = (uint8_t)number_at(&row, 4, 0, PRAAS_KEY_MAX);
	m->traced = sqlite3_column_type(st, 5) != SQLITE_NULL;
	if (m->traced)
		blob_at(&row, 5, m->trace, sizeof(m->trace));
	check(&row, 6,
	      sqlite3_column_type(st, 6) == SQLITE_BLOB && bytes >= m->key_bytes &&
		      bytes - m->key_bytes <= PRAAS_LIMIT_MESSAGE_BYTES);
	m->bytes = bytes - m->key_bytes;
	m->data = sqlite3_column_blob(st, 6);
	return verdict(&row, "a queued message", NULL);
}

int praas_sqlite_read_queue_state(sqlite3_stmt *st, int at,
				  struct praas_queue_state *ret_state)
{
	struct row row = { st, -1 };

	memset(ret_state, 0, sizeof(*ret_state));
	if (sqlite3_column_type(st, at) == SQLITE_NULL)
		return 0; /* nothing was ever queued */
	ret_state->tail = number_at(&row, at, 0, INT64_MAX);
	ret_state->trimmed = number_at(&row, at + 1, 0, ret_state->tail);
	ret_state->messages = number_at(&row, at + 2, 0, PRAAS_LIMIT_QUEUED_MESSAGES);
	ret_state->bytes = number_at(&row, at + 3, 0, PRAAS_LIMIT_QUEUED_BYTES);
	check(&row, at, ret_state->tail - ret_state->trimmed == ret_state->messages);
	return verdict(&row, "a backup queue", NULL);
}
