/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints of processes that serve: one at a time, all that ask meanwhile share it; and those that nobody asks for
 * (control/life/checkpoint.h decides when). All with the lock held.
 */
#include "control/life/lifecycle_private.h"

#include <errno.h>

#include "control/json.h"
#include "control/life/checkpoint.h"
#include "control/say.h"
#include "internal/base.h"

void praas_life_begin_check(struct praas_life_process *p)
{
	if (p->check_id != 0)
		return;
	p->check_id = ++p->life->request_last;
	p->check_ns = praas_now_ns();
	praas_life_request(p, "checkpoint", p->check_id);
}

void praas_life_on_checked(struct praas_life_process *p, bool ok, const json_t *message,
			   struct praas_life_waits *done)
{
	const char *why = praas_json_text_or(message, "message", "no reason was told");
	struct praas_outcome outcome = { 0 };

	p->check_id = 0;
	if (ok) {
		p->record.slot = (int64_t)praas_json_number_or(message, "slot", 0);
		praas_life_on_cut(p, message);
		p->life->stats.checkpoints++;
		p->kept_ns = p->check_ns;
		praas_life_save(p);
	} else {
		outcome = praas_outcome_of(-EIO, "checkpoint_failed", why);
		if (!p->checkpointed.head) /* nobody else is told */
			praas_say(PRAAS_SAY_WARNING,
				  "process %llu has no new checkpoint: %.200s",
				  (unsigned long long)p->number, why);
	}
	praas_life_finish(p, &p->checkpointed, &outcome, done);
}

void praas_life_check_from(struct praas_life_process *p, uint64_t now_ns)
{
	uint32_t every_ms = praas_checkpoint_every(p->app.checkpoint_ms);
	uint64_t due = now_ns + every_ms * 1000000ull;

	p->kept_ns = now_ns;
	if (every_ms == 0 ||
	    (p->life->check_due_ns != 0 && p->life->check_due_ns <= due))
		return;
	p->life->check_due_ns = due;
	praas_link_wake(p->life->link);
}

static bool look_at(struct praas_life_process *p, uint64_t now_ns,
		    uint64_t *ret_next_ns)
{
	struct praas_checkpoint_input in = {
		.joined = p->joined,
		.ready = p->record.state == PRAAS_LIFE_ACTIVE && !p->want_kill &&
			 !p->want_swap,
		.running = p->metrics.running > 0,
		.now_ns = now_ns,
		.kept_ns = p->kept_ns,
		.told_ns = p->metrics_told ? p->metrics_ns : 0,
		.idle_ns = p->metrics.idle_ns,
		.every_ms = praas_checkpoint_every(p->app.checkpoint_ms),
	};

	return praas_checkpoint_due(&in, ret_next_ns);
}

uint64_t praas_life_check_look(struct praas_life *life, uint64_t now_ns)
{
	struct praas_life_process *p, *next;
	uint64_t at;

	if (life->check_due_ns == 0 || life->check_due_ns > now_ns || life->stopping)
		return life->stopping ? 0 : life->check_due_ns;
	life->check_due_ns = 0;
	HASH_ITER(hh, life->processes, p, next)
	{
		if (look_at(p, now_ns, &at))
			praas_life_begin_check(p);
		if (at != 0 && (life->check_due_ns == 0 || at < life->check_due_ns))
			life->check_due_ns = at;
	}
	return life->check_due_ns;
}
