/* SPDX-License-Identifier: Apache-2.0
 *
 * The data thread's part of a journal (docs/journal.md): what a turn has changed becomes records of the log, and
 * what it has said waits for them. While the log cannot be written a snapshot stands in for it.
 */
#include <errno.h>
#include <stdlib.h>

#include "controller/data_private.h"
#include "controller/redo_turn.h"
#include "internal/base.h"

#define BEHIND_NS                                                                      \
	100000000u /* how long the disk is waited for before it is looked again */

#define LONG_BYTES                                                                     \
	(64u                                                                           \
	 << 20) /* of the log: then a snapshot is wanted, from which it begins anew */

/* One data thread in a program: the process's events have no room for another user. */
static struct praas_data *the_data;
static const struct praas_conn_events *inner;
static struct praas_conn_events outer;

int praas_data_log_opened(void *user, struct praas_conn *conn)
{
	struct praas_data *d = user;

	return d->log.redo ? praas_gate_add(&d->log.gate, conn) : 0;
}

static void on_opened(void *user, struct praas_conn *conn)
{
	int rc = praas_data_log_opened(the_data, conn);

	inner->opened(user, conn);
	if (rc == 0)
		return;
	/* Without a gate what it is told would be promised too early. */
	conn->events->closed(conn->user, conn, rc);
	conn->ops->close(conn, false);
}

const struct praas_conn_events *praas_data_log_events(
	struct praas_data *d, const struct praas_conn_events *events)
{
	if (d->config.config->durability == PRAAS_DURABILITY_SWAP)
		return events;
	the_data = d;
	inner = events;
	outer = *events;
	outer.opened = on_opened;
	return &outer;
}

void praas_data_log_begin(struct praas_data *d, struct praas_redo *redo)
{
	enum praas_durability durability = d->config.config->durability;
	struct praas_data_log *l = &d->log;

	/* A log that an earlier epoch has left was read, and that is all. NULL: of what is moved comes later. */
	if (!redo || durability == PRAAS_DURABILITY_SWAP)
		return;
	l->redo = redo;
	l->last = l->kept = praas_redo_last(redo);
	l->gate.all = durability == PRAAS_DURABILITY_GATE;
	praas_process_changes_set(d->process, &l->changes);
}

void praas_data_log_end(struct praas_data *d)
{
	if (d->log.redo && d->process) /* what ends with it is nobody's change */
		praas_process_changes_set(d->process, NULL);
	praas_changes_release(&d->log.changes);
	d->log = (struct praas_data_log){ 0 };
}

static void want_snapshot(struct praas_data *d, int rc)
{
	if (d->log.told)
		return;
	d->log.told = true;
	praas_data_report(d, PRAAS_REPORT_LOG_FAILED, (uint64_t)(int64_t)rc, 0);
}

static void fail(struct praas_data *d, int rc)
{
	d->log.failed = true;
	d->log.told = false;
	want_snapshot(d, rc);
}

/* One record after the other until all of the turn is in the log. */
static int append(struct praas_data_log *l)
{
	const struct praas_changes *c = &l->changes;
	uint64_t at = 0;
	int rc;

	while (at < c->bytes) {
		uint32_t bytes =
			(uint32_t)praas_min_u64(c->bytes - at, PRAAS_REDO_RECORD_MAX);

		rc = praas_redo_append(
			l->redo, praas_redo_turn_kind(at == 0, at + bytes == c->bytes),
			c->data + at, bytes, &l->last);
		if (rc == 0)
			at += bytes;
		else if (rc != -EAGAIN)
			return rc;
		else /* the disk is behind: so are all who wait for it */
			(void)praas_redo_wait(l->redo, praas_redo_last(l->redo),
					      BEHIND_NS); /* tried again */
	}
	return 0;
}

/* The changes of the turn. */
static void write_down(struct praas_data *d)
{
	struct praas_data_log *l = &d->log;
	int rc = 0;

	if (!l->failed)
		rc = l->changes.lost                          ? -ENOMEM
		     : l->changes.bytes > PRAAS_REDO_TURN_MAX ? -E2BIG
							      : append(l);
	if (rc != 0)
		fail(d, rc);
	/* No record has that number: a snapshot will have what it stands for. */
	if (l->failed)
		l->last++;
	l->bytes += l->changes.bytes;
	if (l->bytes > LONG_BYTES)
		want_snapshot(d, 0);
	praas_changes_clear(&l->changes);
}

/* All up to there is where a crash does not reach it. */
static uint64_t durable_of(const struct praas_data_log *l, int *ret_failed)
{
	uint64_t durable = praas_redo_durable(l->redo, ret_failed);

	/* Once it has failed its numbers are others than ours. */
	return l->failed ? l->kept : praas_max_u64(durable, l->kept);
}

unsigned praas_data_log_turn(struct praas_data *d)
{
	struct praas_data_log *l = &d->log;
	uint64_t durable;
	int rc = 0;

	if (!l->redo)
		return 0;
	praas_process_changes_end(d->process);
	if (l->changes.bytes > 0 || l->changes.lost)
		write_down(d);
	if (l->gate.frames == 0 && !l->asked)
		return 0;
	l->asked = false;
	durable = durable_of(l, &rc);
	if (rc != 0 && !l->failed)
		fail(d, rc);
	if (l->failed && l->kept < l->last)
		want_snapshot(d, 0);
	return praas_gate_turn(&l->gate, l->last, durable);
}

void praas_data_log_mark(const struct praas_data *d, struct praas_cut *cut)
{
	if (!d->log.redo)
		return;
	cut->log = praas_redo_last(d->log.redo);
	cut->covers = d->log.last;
}

bool praas_data_log_behind(struct praas_data *d)
{
	struct praas_data_log *l = &d->log;
	int failed = 0;

	if (!l->redo || !l->gate.all)
		return false;
	l->asked = l->changes.bytes > 0 || durable_of(l, &failed) < l->last;
	return l->asked;
}

bool praas_data_log_idle(const struct praas_data *d)
{
	const struct praas_data_log *l = &d->log;
	int failed = 0;

	if (!l->redo)
		return true;
	if (l->changes.bytes > 0 || l->gate.fresh)
		return false;
	return l->gate.frames == 0 ||
	       praas_gate_first(&l->gate) > durable_of(l, &failed);
}

void praas_data_log_kept(struct praas_data *d, uint64_t number)
{
	struct praas_data_log *l = &d->log;

	l->kept = praas_max_u64(l->kept, number);
	l->bytes = 0;
	l->told = false;
}
