/* SPDX-License-Identifier: Apache-2.0
 *
 * Who has to catch up with his backup queue, before he counts as active and messages go to him
 * directly (docs/protocols.md): after a join, and after a swap-out that was called off. All with the
 * lock held.
 */
#include "control/life/lifecycle_private.h"

#include "control/json.h"
#include "control/records/queued.h"
#include "internal/base.h"

bool praas_life_position(const json_t *message, const char *name,
			 uint64_t *ret_position)
{
	const json_t *value = json_object_get(message, name);
	json_int_t n = json_integer_value(value);

	*ret_position = 0;
	if (!value)
		return true;
	if (!json_is_integer(value) || n < 0 ||
	    n > (json_int_t)PRAAS_QUEUE_POSITION_MAX)
		return false;
	*ret_position = (uint64_t)n;
	return true;
}

bool praas_life_caught_up(struct praas_life_process *p, uint64_t seen)
{
	struct praas_life_mail *m = &p->mail;
	struct praas_owner owner = praas_life_owner(p);
	uint64_t tail = m->tail;
	int rc;

	m->seen = praas_max_u64(seen, m->trimmed); /* 0: from what is there */
	if (m->seen > tail)
		praas_life_mail_lift(p, m->seen);
	if (m->appending > 0)
		tail = UINT64_MAX; /* nobody has seen that */
	if (owner.state == PRAAS_LIFE_ACTIVE)
		owner.state =
			PRAAS_LIFE_DRAINING; /* it has joined again: is it still? */
	rc = praas_owner_serve(&owner, owner.epoch, m->seen, tail, 0);
	m->rounds = owner.rounds;
	m->behind = rc != 0;
	return rc == 0;
}

void praas_life_drain_over(struct praas_life_process *p)
{
	const struct praas_life_mail *m = &p->mail;

	p->idle_swap = false;
	if (m->appending == 0 && m->seen == m->tail && !m->behind) {
		praas_life_set_state(p, PRAAS_LIFE_ACTIVE);
		return;
	}
	p->mail.behind = true;
	praas_life_ask(p, json_pack("{s:s}", "t", "more"));
}

/* It may be served. */
static void active(struct praas_life_process *p, struct praas_life_waits *done)
{
	struct praas_outcome ok = { 0 };

	p->phase_deadline_ns = 0;
	p->active_ns = praas_now_ns();
	praas_life_set_state(p, PRAAS_LIFE_ACTIVE);
	praas_life_finish(p, &p->serving, &ok, done);
	praas_life_finish(p, &p->moved, &ok, done);
	if (p->want_swap || p->life->stopping)
		praas_life_begin_swap(p, false);
}

void praas_life_more_time(struct praas_life_process *p)
{
	if (p->record.state != PRAAS_LIFE_ACTIVATING || !p->mail.behind)
		return;
	p->phase_deadline_ns = praas_now_ns() + p->life->config.activate_ns;
	praas_life_arm(p);
}

/* It has caught up, or cannot before it is served. */
static void serve(struct praas_life_process *p, struct praas_life_waits *done,
		  bool *ret_save)
{
	struct praas_owner owner = praas_life_owner(p);

	if (p->mail.behind) /* its mailbox is full */
		(void)praas_owner_open(&owner, owner.epoch, 0, 1, 0);
	p->mail.rounds = owner.rounds;
	if (p->record.state == PRAAS_LIFE_ACTIVE)
		return;
	active(p, done);
	*ret_save = true;
}

bool praas_life_on_serve(struct praas_life_process *p, uint64_t conn,
			 const json_t *message, struct praas_life_waits *done,
			 bool *ret_save)
{
	uint64_t id = praas_json_number_or(message, "id", 0), seen;
	bool draining = p->record.state == PRAAS_LIFE_DRAINING && p->swap_id;
	bool full = json_is_true(json_object_get(message, "full"));

	if (!praas_life_position(message, "seen", &seen))
		return false;
	if (p->record.state == PRAAS_LIFE_DELETING) {
		praas_life_mail_answer(p, conn, "served", id, "STALE");
	} else if (draining) { /* its gate is closed: it does not read on */
		praas_life_mail_answer(p, conn, "served", id, "BUSY");
	} else if (p->record.state == PRAAS_LIFE_ACTIVE && !p->mail.behind) {
		praas_life_mail_answer(p, conn, "served", id, "OK");
	} else if (!praas_life_caught_up(p, seen) && !full) {
		praas_life_more_time(p);
		praas_life_mail_answer(p, conn, "served", id, "MORE");
	} else {
		praas_life_mail_answer(p, conn, "served", id, "OK");
		serve(p, done, ret_save);
	}
	return true;
}

void praas_life_on_cut(struct praas_life_process *p, const json_t *message)
{
	uint64_t cut;

	if (!praas_life_position(message, "cut", &cut))
		return; /* the snapshot is committed whatever it says of the queue */
	cut = praas_min_u64(cut, p->mail.tail);
	if (cut <= p->mail.trimmed || cut <= p->mail.cut)
		return;
	p->mail.cut = cut;
	praas_life_mail_trim(p);
}

void praas_life_mail_forget(struct praas_life_process *p)
{
	p->mail.behind = false;
	p->mail.rounds = 0;
	p->mail.seen = 0;
}

bool praas_life_can_swap(const struct praas_life_process *p)
{
	return p->joined && !p->want_kill &&
	       (p->record.state == PRAAS_LIFE_ACTIVE ||
		(p->record.state == PRAAS_LIFE_DRAINING && !p->swap_id));
}
