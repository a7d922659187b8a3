/* SPDX-License-Identifier: Apache-2.0
 *
 * Backup queues in SQLite: a row for each message, and one for each queue that says how far it has
 * come. Each change is one transaction; what it has returned is on the disk.
 */
#include "control/records/records_sqlite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"

#define DATA_FIRST (16u * 1024)

static void done(sqlite3_stmt *st)
{
	(void)sqlite3_reset(st); /* its error was reported by the step */
	(void)sqlite3_clear_bindings(st);
}

/* The queue as the transaction sees it. 0; -ENOENT no such process, or (alive) it is being deleted. */
static int within(struct praas_sqlite *s, uint64_t process, bool alive,
		  struct praas_queue_state *ret_state)
{
	sqlite3_stmt *st = s->statements[PRAAS_SQL_QUEUE_WITHIN];
	int rc = -ENOENT;

	praas_sqlite_bind_number(st, 1, process);
	switch (sqlite3_step(st)) {
	case SQLITE_ROW:
		if (!alive || sqlite3_column_int(st, 0) != PRAAS_LIFE_DELETING)
			rc = praas_sqlite_read_queue_state(st, 1, ret_state);
		break;
	case SQLITE_DONE:
		break;
	default:
		rc = praas_sqlite_failed(s->writer, "queue");
	}
	done(st);
	return rc;
}

/* A transaction for a change of a queue begins, with the writing connection for oneself. */
static int begin(struct praas_sqlite *s, uint64_t process, bool alive,
		 struct praas_queue_state *ret_state)
{
	(void)praas_sqlite_begin(s, PRAAS_SQL_QUEUE_WITHIN);
	if (praas_sqlite_exec(s->writer, "BEGIN IMMEDIATE"))
		return praas_sqlite_failed(s->writer, "change");
	return within(s, process, alive, ret_state);
}

static int end(struct praas_sqlite *s, int rc)
{
	rc = praas_sqlite_commit(s, rc);
	praas_sqlite_end(s, PRAAS_SQL_QUEUE_WITHIN);
	return rc;
}

static int set_state(struct praas_sqlite *s, uint64_t process,
		     const struct praas_queue_state *state)
{
	sqlite3_stmt *st = s->statements[PRAAS_SQL_QUEUE_SET];
	int rc;

	praas_sqlite_bind_number(st, 1, process);
	praas_sqlite_bind_number(st, 2, state->tail);
	praas_sqlite_bind_number(st, 3, state->trimmed);
	praas_sqlite_bind_number(st, 4, state->messages);
	praas_sqlite_bind_number(st, 5, state->bytes);
	rc = praas_sqlite_change(s, st, 0);
	done(st);
	return rc;
}

/* The last number of a source's epoch that is there; 0 none. */
static int last_number(struct praas_sqlite *s, uint64_t process,
		       const struct praas_queued *m, uint64_t *ret_number)
{
	sqlite3_stmt *st = s->statements[PRAAS_SQL_QUEUE_LAST];
	int rc = 0;

	praas_sqlite_bind_number(st, 1, process);
	praas_sqlite_bind_number(st, 2, m->source);
	praas_sqlite_bind_number(st, 3, m->epoch);
	if (sqlite3_step(st) == SQLITE_ROW)
		*ret_number = (uint64_t)sqlite3_column_int64(st, 0); /* NULL is 0 */
	else
		rc = praas_sqlite_failed(s->writer, "queue");
	done(st);
	return rc;
}

static int insert(struct praas_sqlite *s, uint64_t process,
		  const struct praas_queued *m, uint64_t position)
{
	sqlite3_stmt *st = s->statements[PRAAS_SQL_QUEUE_INSERT];
	int rc;

	praas_sqlite_bind_number(st, 1, process);
	praas_sqlite_bind_number(st, 2, position);
	praas_sqlite_bind_number(st, 3, m->source);
	praas_sqlite_bind_number(st, 4, m->epoch);
	praas_sqlite_bind_number(st, 5, m->number);
	praas_sqlite_bind_number(st, 6, m->key_bytes);
	if (m->traced)
		(void)sqlite3_bind_blob(st, 7, m->trace, sizeof(m->trace),
					SQLITE_STATIC);
	if (m->key_bytes + m->bytes > 0)
		(void)sqlite3_bind_blob(st, 8, m->data, (int)(m->key_bytes + m->bytes),
					SQLITE_STATIC);
	else
		(void)sqlite3_bind_zeroblob(st, 8, 0);
	rc = praas_sqlite_change(s, st, 0);
	done(st);
	return rc;
}

/* Those that fit. 0, and how many. */
static int insert_all(struct praas_sqlite *s, uint64_t process,
		      const struct praas_queued *messages, uint32_t count,
		      struct praas_queue_state *state, uint32_t *ret_taken)
{
	uint64_t last = 0;
	int rc = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct praas_queued *m = &messages[i];
		uint64_t bytes = (uint64_t)m->key_bytes + m->bytes;

		if (i == 0 || m->epoch != messages[i - 1].epoch)
			rc = last_number(s, process, m, &last);
		if (rc)
			return rc;
		*ret_taken = i;
		if (m->number > last) {
			if (state->messages >= PRAAS_LIMIT_QUEUED_MESSAGES ||
			    state->bytes + bytes > PRAAS_LIMIT_QUEUED_BYTES)
				return i == 0 ? -ENOSPC : 0;
			rc = insert(s, process, m, ++state->tail);
			state->messages++;
			state->bytes += bytes;
			last = m->number;
		}
	}
	*ret_taken = count;
	return rc;
}

static int append(struct praas_records *r, uint64_t process,
		  const struct praas_queued *messages, uint32_t count,
		  uint32_t *ret_taken, uint64_t *ret_tail)
{
	struct praas_sqlite *s = praas_sqlite_of(r);
	struct praas_queue_state state = { 0 }, before;
	int rc = begin(s, process, true, &state);

	*ret_taken = 0;
	before = state;
	if (rc == 0)
		rc = insert_all(s, process, messages, count, &state, ret_taken);
	if (rc == 0 && state.tail != before.tail)
		rc = set_state(s, process, &state);
	rc = end(s, rc);
	*ret_tail = state.tail;
	return rc;
}

/* One more, behind the others; data is grown to hold it. */
static int take_row(sqlite3_stmt *st, struct praas_queued *m, uint8_t **data,
		    uint32_t *bytes, uint32_t *room)
{
	int rc = praas_sqlite_read_queued(st, m);
	uint32_t more = rc ? 0 : m->key_bytes + m->bytes;
	uint32_t wanted = *room ? *room : DATA_FIRST;
	uint8_t *grown;

	if (rc)
		return rc;
	while (wanted < *bytes + more)
		wanted *= 2;
	grown = wanted > *room ? realloc(*data, wanted) : *data;
	if (!grown)
		return -ENOMEM;
	*data = grown;
	*room = wanted;
	if (more > 0)
		memcpy(grown + *bytes, m->data, more);
	*bytes += more;
	return 0;
}

/* Rows after a position, up to the limits. *ret_whole: it ended where they end. */
static int take_rows(struct praas_sqlite *s, uint64_t process, uint64_t after,
		     struct praas_queued *ret_messages, uint32_t *ret_count,
		     uint8_t **ret_data, uint32_t *ret_bytes)
{
	sqlite3_stmt *st = praas_sqlite_begin(s, PRAAS_SQL_QUEUE_READ);
	uint32_t n = 0, room = 0;
	int step = SQLITE_DONE, rc = 0;

	praas_sqlite_bind_number(st, 1, process);
	praas_sqlite_bind_number(st, 2, after);
	praas_sqlite_bind_number(st, 3, PRAAS_LIMIT_MAIL_BATCH);
	while (rc == 0 && n < PRAAS_LIMIT_MAIL_BATCH &&
	       (step = sqlite3_step(st)) == SQLITE_ROW) {
		if (n > 0 && *ret_bytes + (uint32_t)sqlite3_column_bytes(st, 6) >
				     PRAAS_LIMIT_MESSAGE_BYTES)
			break;
		rc = take_row(st, &ret_messages[n], ret_data, ret_bytes, &room);
		n += rc == 0;
	}
	if (step != SQLITE_ROW && step != SQLITE_DONE)
		rc = praas_sqlite_failed(s->reader, "queue");
	praas_sqlite_end(s, PRAAS_SQL_QUEUE_READ);
	*ret_count = n;
	return rc;
}

static int state(struct praas_records *r, uint64_t process,
		 struct praas_queue_state *ret_state)
{
	struct praas_sqlite *s = praas_sqlite_of(r);
	sqlite3_stmt *st = praas_sqlite_begin(s, PRAAS_SQL_QUEUE_STATE);
	int rc = 0;

	*ret_state = (struct praas_queue_state){ 0 };
	praas_sqlite_bind_number(st, 1, process);
	switch (sqlite3_step(st)) {
	case SQLITE_ROW:
		rc = praas_sqlite_read_queue_state(st, 0, ret_state);
		break;
	case SQLITE_DONE:
		break;
	default:
		rc = praas_sqlite_failed(s->reader, "queue");
	}
	praas_sqlite_end(s, PRAAS_SQL_QUEUE_STATE);
	return rc;
}

static int read_after(struct praas_records *r, uint64_t process, uint64_t after,
		      struct praas_queued *ret_messages, uint32_t *ret_count,
		      uint8_t **ret_data, uint32_t *ret_bytes, bool *ret_more)
{
	struct praas_queue_state now;
	uint8_t *data = NULL;
	uint32_t at = 0;
	int rc;

	*ret_bytes = 0;
	rc = take_rows(praas_sqlite_of(r), process, after, ret_messages, ret_count,
		       &data, ret_bytes);
	/* Looked at afterwards: what was gone when the rows were read is gone now. */
	if (rc == 0)
		rc = state(r, process, &now);
	if (rc == 0 && after != 0 && after < now.trimmed)
		rc = -ESTALE;
	if (rc) {
		free(data);
		return rc;
	}
	for (uint32_t i = 0; i < *ret_count; i++) {
		ret_messages[i].data = data + at;
		at += ret_messages[i].key_bytes + ret_messages[i].bytes;
	}
	*ret_more = now.tail > (*ret_count ? ret_messages[*ret_count - 1].position
					   : praas_max_u64(after, now.trimmed));
	*ret_data = data;
	return 0;
}

/* What there is up to a position. */
static int count_up_to(struct praas_sqlite *s, uint64_t process, uint64_t position,
		       uint64_t *ret_messages, uint64_t *ret_bytes)
{
	sqlite3_stmt *st = s->statements[PRAAS_SQL_QUEUE_UP_TO];
	int rc = 0;

	praas_sqlite_bind_number(st, 1, process);
	praas_sqlite_bind_number(st, 2, position);
	if (sqlite3_step(st) == SQLITE_ROW) {
		*ret_messages = (uint64_t)sqlite3_column_int64(st, 0);
		*ret_bytes = (uint64_t)sqlite3_column_int64(st, 1);
	} else {
		rc = praas_sqlite_failed(s->writer, "queue");
	}
	done(st);
	return rc;
}

/* Within a transaction. */
static int trim_to(struct praas_sqlite *s, uint64_t process, uint64_t position,
		   struct praas_queue_state *state)
{
	sqlite3_stmt *st = s->statements[PRAAS_SQL_QUEUE_TRIM];
	uint64_t messages = 0, bytes = 0;
	int rc = count_up_to(s, process, position, &messages, &bytes);

	if (rc)
		return rc;
	if (messages > state->messages || bytes > state->bytes)
		return -EPROTO; /* the rows and their sums do not fit */
	praas_sqlite_bind_number(st, 1, process);
	praas_sqlite_bind_number(st, 2, position);
	rc = praas_sqlite_change(s, st, 0);
	done(st);
	state->trimmed = position;
	state->messages -= messages;
	state->bytes -= bytes;
	return rc ? rc : set_state(s, process, state);
}

static int trim(struct praas_records *r, uint64_t process, uint64_t position)
{
	struct praas_sqlite *s = praas_sqlite_of(r);
	struct praas_queue_state state = { 0 };
	int rc = begin(s, process, false, &state);

	position = praas_min_u64(position, state.tail);
	if (rc == 0 && position > state.trimmed)
		rc = trim_to(s, process, position, &state);
	rc = end(s, rc);
	return rc == -ENOENT ? 0 : rc; /* with the process all is gone */
}

static int lift(struct praas_records *r, uint64_t process, uint64_t position,
		uint64_t *ret_tail)
{
	struct praas_sqlite *s = praas_sqlite_of(r);
	struct praas_queue_state state = { 0 };
	int rc = begin(s, process, false, &state);
	sqlite3_stmt *st = s->statements[PRAAS_SQL_QUEUE_LIFT];
	uint64_t by = position - state.trimmed;

	if (rc == 0 && position > state.tail) {
		/* The new ones are above all old ones: none is taken while they change. */
		praas_sqlite_bind_number(st, 1, process);
		praas_sqlite_bind_number(st, 2, by);
		rc = praas_sqlite_change(s, st, 0);
		done(st);
		state.tail += by;
		state.trimmed = position;
		if (rc == 0)
			rc = set_state(s, process, &state);
	}
	*ret_tail = state.tail;
	return end(s, rc);
}

static int drop(struct praas_records *r, uint64_t process)
{
	return trim(r, process, UINT64_MAX);
}

const struct praas_queue_ops praas_sqlite_queue = {
	.append = append,
	.read = read_after,
	.state = state,
	.trim = trim,
	.lift = lift,
	.drop = drop,
};
