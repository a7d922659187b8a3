/* SPDX-License-Identifier: Apache-2.0
 *
 * Memos in SQLite.
 */
#include "control/records/records_sqlite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int change(struct praas_records *r, enum praas_sqlite_statement which,
		  const struct praas_memo *memo, const uint8_t *run, int none)
{
	struct praas_sqlite *s = praas_sqlite_of(r);
	sqlite3_stmt *st = praas_sqlite_begin(s, which);
	int rc;

	praas_sqlite_bind_memo(st, memo);
	if (run)
		(void)sqlite3_bind_blob(st, 8, run, PRAAS_RECORD_ID_BYTES,
					SQLITE_STATIC);
	rc = praas_sqlite_change(s, st, none);
	praas_sqlite_end(s, which);
	return rc;
}

static int put(struct praas_records *r, const struct praas_memo *memo)
{
	return change(r, PRAAS_SQL_MEMO_INSERT, memo, NULL, -EEXIST);
}

static int set(struct praas_records *r, const struct praas_memo *memo,
	       const uint8_t *run)
{
	return change(r, PRAAS_SQL_MEMO_UPDATE, memo, run, -ESTALE);
}

static int read_found(sqlite3_stmt *st, struct praas_memo *ret_memo)
{
	int rc = praas_sqlite_read_memo(st, ret_memo);
	const void *answer = ret_memo->answer;

	ret_memo->answer = NULL;
	if (rc || ret_memo->answer_bytes == 0)
		return rc;
	ret_memo->answer = malloc(ret_memo->answer_bytes);
	if (!ret_memo->answer)
		return -ENOMEM;
	memcpy(ret_memo->answer, answer, ret_memo->answer_bytes);
	return 0;
}

static int get(struct praas_records *r, const uint8_t *id, struct praas_memo *ret_memo)
{
	struct praas_sqlite *s = praas_sqlite_of(r);
	sqlite3_stmt *st = praas_sqlite_begin(s, PRAAS_SQL_MEMO_GET);
	int rc;

	(void)sqlite3_bind_blob(st, 1, id, PRAAS_RECORD_HASH_BYTES, SQLITE_STATIC);
	switch (sqlite3_step(st)) {
	case SQLITE_ROW:
		rc = read_found(st, ret_memo);
		break;
	case SQLITE_DONE:
		rc = -ENOENT;
		break;
	default:
		rc = praas_sqlite_failed(s->reader, "memo");
	}
	praas_sqlite_end(s, PRAAS_SQL_MEMO_GET);
	return rc;
}

static int take_out(struct praas_records *r, const uint8_t *id)
{
	struct praas_sqlite *s = praas_sqlite_of(r);
	sqlite3_stmt *st = praas_sqlite_begin(s, PRAAS_SQL_MEMO_DELETE);
	int rc;

	(void)sqlite3_bind_blob(st, 1, id, PRAAS_RECORD_HASH_BYTES, SQLITE_STATIC);
	rc = praas_sqlite_change(s, st, -ENOENT);
	praas_sqlite_end(s, PRAAS_SQL_MEMO_DELETE);
	return rc;
}

static int expire(struct praas_records *r, uint64_t before_ns, uint32_t *ret_count)
{
	struct praas_sqlite *s = praas_sqlite_of(r);
	sqlite3_stmt *st = praas_sqlite_begin(s, PRAAS_SQL_MEMO_EXPIRE);
	int rc;

	praas_sqlite_bind_number(st, 1, before_ns);
	rc = praas_sqlite_change(s, st, -ENOENT);
	*ret_count = rc == 0 ? (uint32_t)sqlite3_changes(s->writer) : 0;
	praas_sqlite_end(s, PRAAS_SQL_MEMO_EXPIRE);
	return rc == -ENOENT ? 0 : rc;
}

static int sums(struct praas_records *r, const uint8_t *run, uint32_t max,
		struct praas_memo_sum *ret_sums, uint32_t *ret_count)
{
	struct praas_sqlite *s = praas_sqlite_of(r);
	sqlite3_stmt *st = praas_sqlite_begin(s, PRAAS_SQL_MEMO_SUMS);
	uint32_t n = 0;
	int step, rc = 0;

	praas_sqlite_bind_number(st, 1, max);
	(void)sqlite3_bind_blob(st, 2, run, PRAAS_RECORD_ID_BYTES, SQLITE_STATIC);
	while (rc == 0 && n < max && (step = sqlite3_step(st)) != SQLITE_DONE)
		rc = step == SQLITE_ROW ? praas_sqlite_read_memo_sum(st, &ret_sums[n++])
					: praas_sqlite_failed(s->reader, "memos");
	praas_sqlite_end(s, PRAAS_SQL_MEMO_SUMS);
	if (rc == 0)
		*ret_count = n;
	return rc;
}

const struct praas_memos_ops praas_sqlite_memos = {
	.put = put,
	.get = get,
	.set = set,
	.take_out = take_out,
	.expire = expire,
	.sums = sums,
};
