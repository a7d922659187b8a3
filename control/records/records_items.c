/* SPDX-License-Identifier: Apache-2.0
 *
 * Items in SQLite.
 */
#include "control/records/records_sqlite.h"

#include <errno.h>

static int put(struct praas_records *r, enum praas_item_kind kind,
	       struct praas_item *item)
{
	enum praas_sqlite_statement which =
		item->version ? PRAAS_SQL_ITEM_UPDATE : PRAAS_SQL_ITEM_INSERT;
	struct praas_sqlite *s = praas_sqlite_of(r);
	sqlite3_stmt *st = praas_sqlite_begin(s, which);
	int rc;

	praas_sqlite_bind_item(st, kind, item);
	rc = praas_sqlite_change(s, st, -ESTALE);
	if (rc == 0)
		item->version++;
	praas_sqlite_end(s, which);
	return rc;
}

static int list(struct praas_records *r, enum praas_item_kind kind, const char *after,
		uint32_t max, struct praas_item *ret_items, uint32_t *ret_count)
{
	struct praas_sqlite *s = praas_sqlite_of(r);
	sqlite3_stmt *st = praas_sqlite_begin(s, PRAAS_SQL_ITEM_LIST);
	uint32_t n = 0;
	int step, rc = 0;

	praas_sqlite_bind_number(st, 1, kind);
	praas_sqlite_bind_text(st, 2, after ? after : "");
	praas_sqlite_bind_number(st, 3, max);
	while (rc == 0 && n < max && (step = sqlite3_step(st)) != SQLITE_DONE)
		rc = step == SQLITE_ROW ? praas_sqlite_read_item(st, &ret_items[n++])
					: praas_sqlite_failed(s->reader, "items");
	praas_sqlite_end(s, PRAAS_SQL_ITEM_LIST);
	if (rc == 0)
		*ret_count = n;
	return rc;
}

static int take_out(struct praas_records *r, enum praas_item_kind kind, const char *id)
{
	struct praas_sqlite *s = praas_sqlite_of(r);
	sqlite3_stmt *st = praas_sqlite_begin(s, PRAAS_SQL_ITEM_DELETE);
	int rc;

	praas_sqlite_bind_number(st, 1, kind);
	praas_sqlite_bind_text(st, 2, id);
	rc = praas_sqlite_change(s, st, -ENOENT);
	praas_sqlite_end(s, PRAAS_SQL_ITEM_DELETE);
	return rc;
}

const struct praas_items_ops praas_sqlite_items = {
	.put = put,
	.list = list,
	.take_out = take_out,
};
