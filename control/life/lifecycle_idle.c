/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes that nobody needs are swapped out (control/life/idle.h decides which); who needs one while it
 * drains gets it back, if its release is not committed yet. All with the lock held.
 */
#include "control/life/lifecycle_private.h"

#include "internal/base.h"

#define LOOK_MIN_NS 100000000ull
#define LOOK_MAX_NS 5000000000ull

enum praas_idle praas_life_idle(const struct praas_life_process *p, uint64_t now_ns,
				uint64_t *ret_quiet_ns)
{
	const struct praas_life_view *m = &p->metrics;
	struct praas_idle_input in = {
		.serving = p->record.state == PRAAS_LIFE_ACTIVE && p->joined &&
			   !p->want_kill && !p->want_swap && p->check_id == 0,
		.now_ns = now_ns,
		.since_ns = p->active_ns,
		.told_ns = p->metrics_told ? p->metrics_ns : 0,
		.idle_ns = m->idle_ns,
		.running = m->running,
		/* What waits without anybody waiting for it sleeps as well in the store. */
		.queued = m->queued - praas_min_u64(m->dormant, m->queued),
		.calls = p->calls,
		.waiting = p->serving.head != NULL,
	};

	return praas_idle_decide(&p->life->config.idle, &in, ret_quiet_ns);
}

uint64_t praas_life_idle_look(struct praas_life *life, uint64_t now_ns)
{
	uint64_t every = life->config.idle.swap_ns / 4;
	struct praas_life_process *p, *next;

	if (life->config.idle.swap_ns == 0 || life->stopping)
		return 0;
	if (life->idle_due_ns > now_ns)
		return life->idle_due_ns;
	HASH_ITER(hh, life->processes, p, next)
	{
		uint64_t quiet;

		if (praas_life_idle(p, now_ns, &quiet) != PRAAS_IDLE_SWAP)
			continue;
		praas_life_begin_swap(p, true);
	}
	every = praas_min_u64(praas_max_u64(every, LOOK_MIN_NS), LOOK_MAX_NS);
	life->idle_due_ns = now_ns + every;
	return life->idle_due_ns;
}

void praas_life_needed(struct praas_life_process *p)
{
	if (p->record.state != PRAAS_LIFE_DRAINING || !p->idle_swap ||
	    p->swapped.head || p->back.head)
		return; /* somebody wants it swapped out: first that, then a new epoch */
	p->idle_swap = false;
	praas_life_request(p, "cancel-swap-out", p->swap_id);
}
