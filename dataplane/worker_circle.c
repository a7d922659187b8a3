/* SPDX-License-Identifier: Apache-2.0
 *
 * Workers whose functions wait for one another in a circle: within the process, which is seen from here, and through
 * others, which are asked (dataplane/circle.h).
 */
#include <errno.h>

#include "dataplane/circle.h"
#include "dataplane/probe.h"
#include "dataplane/worker_private.h"

static bool on_stack(const struct wx_worker *w, const struct praas_invocation *inv)
{
	bool found = w->inv == inv;

	for (uint32_t i = 0; !found && i < w->depth; i++)
		found = w->below[i].inv == inv;
	return found;
}

static struct wx_worker *runner(struct wx *ex, const struct praas_invocation *inv)
{
	for (uint32_t i = 0; i < ex->config.workers; i++)
		if (ex->workers[i].state == WX_BUSY && on_stack(&ex->workers[i], inv))
			return &ex->workers[i];
	return NULL;
}

static bool waits_endlessly(const struct wx_worker *w)
{
	return w->waiting && w->wait_kind == PRAAS_WORKER_WAIT && w->wait_endless;
}

/* ---- within the process ---- */

/* The step from w to whom it waits for. NULL: that one is not here, or goes on. */
static struct wx_worker *step(const struct wx_worker *w,
			      struct praas_invocation **ret_inv)
{
	struct wx *ex = w->ex;

	if (!waits_endlessly(w) ||
	    praas_process_fn_needs(ex->base.process, w->wait_call->inv_id, ret_inv) !=
		    -EBUSY)
		return NULL;
	return runner(ex, *ret_inv);
}

static void add(const struct wx *ex, struct praas_probe *way,
		const struct praas_invocation *inv)
{
	if (inv) /* one more than there is room for is cut in the text as well */
		(void)praas_probe_add(way, ex->config.pid,
				      ex->config.functions[inv->function].name);
}

static PRAAS_COLD void say(struct wx_worker *first, char text[PRAAS_ERROR_TEXT_MAX])
{
	struct praas_probe way = { 0 };
	struct wx *ex = first->ex;
	struct wx_worker *w = first;
	struct praas_invocation *inv;

	add(ex, &way, first->inv);
	for (uint32_t i = 0; i <= ex->config.workers; i++) {
		w = step(w, &inv);
		if (!w)
			break;
		add(ex, &way, inv);
		if (w->inv != inv) /* it lies below */
			add(ex, &way, w->inv);
		if (w == first)
			break;
	}
	praas_probe_text(&way, text, PRAAS_ERROR_TEXT_MAX);
}

/* Each worker waits for one call, each call for one holder: the way from w has no branches. It is
 * a circle when it comes back to w. */
bool wx_in_circle(struct wx_worker *first, char ret_text[PRAAS_ERROR_TEXT_MAX])
{
	struct praas_invocation *inv;
	struct wx_worker *w = first;

	for (uint32_t i = 0; i <= first->ex->config.workers; i++) {
		w = step(w, &inv);
		if (!w)
			return false;
		if (w == first) {
			say(first, ret_text);
			return true;
		}
	}
	return false;
}

/* ---- through other processes ---- */

static struct praas_executor_wait wait_of(const struct wx_worker *w)
{
	return (struct praas_executor_wait){ .call = w->wait_call->inv_id,
					     .nonce = w->wait_nonce,
					     .top = w->inv };
}

bool wx_waits(struct praas_executor *base, const struct praas_invocation *inv,
	      struct praas_executor_wait *ret_wait)
{
	const struct wx_worker *w = runner(wx_of(base), inv);

	if (!w || !waits_endlessly(w))
		return false;
	*ret_wait = wait_of(w);
	return true;
}

void wx_wait_ends(struct praas_executor *base, const struct praas_executor_wait *wait,
		  const char *text)
{
	struct wx *ex = wx_of(base);

	for (uint32_t i = 0; i < ex->config.workers; i++) {
		struct wx_worker *w = &ex->workers[i];

		if (!wx_wait_away(w) || w->wait_call->inv_id != wait->call)
			continue;
		wx_wait_withdraw(w, text);
		return;
	}
}

void wx_wait_ask(struct wx_worker *w, uint64_t now)
{
	struct praas_executor_wait wait;

	if (w->ask_ns == 0) {
		w->ask_step_ns = PRAAS_CIRCLE_FIRST_NS;
		w->ask_ns = now + w->ask_step_ns;
		return;
	}
	if (now < w->ask_ns)
		return;
	w->ask_step_ns = praas_min_u64(2 * w->ask_step_ns, PRAAS_CIRCLE_LAST_NS);
	w->ask_ns = now + w->ask_step_ns;
	if (!w->inv)
		return; /* nobody but its client waits for a direct call */
	if (w->wait_nonce == 0)
		w->wait_nonce = praas_circle_nonce();
	wait = wait_of(w);
	praas_circle_ask(w->ex->base.process, w->inv, &wait);
}
