/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers of processes. One is given before the record is stored, and used at once; it must not be given again, not
 * even when we are killed in between. So numbers are taken from the file by the block, durably, and those of a
 * block that were not given are put back at an orderly end.
 */
#include <errno.h>
#include <stdio.h>

#include "control/records/records_sqlite.h"

#define BLOCK 256u

/* Nobody else is to change it: then nothing is stored. */
static int store(struct praas_sqlite *s, uint64_t last)
{
	sqlite3_stmt *st = praas_sqlite_begin(s, PRAAS_SQL_NUMBERS_KEEP);
	int rc;

	praas_sqlite_bind_number(st, 1, last);
	praas_sqlite_bind_number(st, 2, s->number_end);
	rc = praas_sqlite_change(s, st, -EIO);
	praas_sqlite_end(s, PRAAS_SQL_NUMBERS_KEEP);
	return rc;
}

int praas_sqlite_numbers_open(struct praas_sqlite *s)
{
	sqlite3_stmt *st;
	int rc = praas_sqlite_exec(
		s->writer, "INSERT INTO sqlite_sequence (name, seq) SELECT 'processes',"
			   " 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence"
			   " WHERE name='processes')");

	if (rc)
		return rc;
	st = praas_sqlite_begin(s, PRAAS_SQL_NUMBERS_LAST);
	if (sqlite3_step(st) == SQLITE_ROW && sqlite3_column_int64(st, 0) >= 0)
		s->number_last = (uint64_t)sqlite3_column_int64(st, 0);
	else
		rc = -EIO;
	s->number_end = s->number_last;
	praas_sqlite_end(s, PRAAS_SQL_NUMBERS_LAST);
	return rc;
}

uint64_t praas_sqlite_number(struct praas_sqlite *s)
{
	uint64_t number = 0;

	(void)pthread_mutex_lock(&s->number_lock);
	if (s->number_last == s->number_end && store(s, s->number_end + BLOCK) == 0)
		s->number_end += BLOCK;
	if (s->number_last < s->number_end)
		number = ++s->number_last;
	(void)pthread_mutex_unlock(&s->number_lock);
	return number;
}

void praas_sqlite_numbers_close(struct praas_sqlite *s)
{
	if (s->number_last < s->number_end)
		(void)store(s, s->number_last); /* else there is a gap */
}
