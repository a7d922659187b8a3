/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/circle.h"

#include <errno.h>
#include <sys/random.h>

#include "dataplane/probe.h"
#include "dataplane/process_private.h"

static int add(const struct praas_process *p, struct praas_probe *probe,
	       const struct praas_invocation *inv)
{
	return praas_probe_add(probe, p->config.pid,
			       p->config.functions[inv->function].name);
}

/* What is waited for, and all that this waits for here. 0: ret_wait, the last of them, waits for *ret_call in another
 * process, or for one here that does (then ret_wait->call is another one); or none of them waits in the executor, and
 * ret_wait->call is 0. -ENOENT: one goes on by itself, or waits for what can come from anywhere; -E2BIG. */
static int follow(struct praas_process *p, struct praas_invocation *inv,
		  struct praas_probe *probe, struct praas_executor_wait *ret_wait,
		  uint64_t *ret_call)
{
	struct praas_executor *ex = p->executor;

	*ret_wait = (struct praas_executor_wait){ 0 };
	if (inv->state == PRAAS_INVOCATION_QUEUED && inv->queue == PRAAS_QUEUE_LANE)
		inv = praas_lanes_holder(&p->lanes, inv);
	/* A circle within the process, which its executor sees, has no end here. */
	for (uint32_t i = 0; i < PRAAS_CIRCLE_MAX; i++) {
		int rc;

		*ret_call = praas_stage_call_of(inv);
		if (*ret_call != 0)
			return add(p, probe, inv);
		if (inv->state != PRAAS_INVOCATION_RUNNING ||
		    !ex->ops->waits(ex, inv, ret_wait))
			return -ENOENT;
		rc = add(p, probe, inv);
		if (rc == 0 && ret_wait->top && ret_wait->top != inv)
			rc = add(p, probe, ret_wait->top);
		*ret_call = ret_wait->call;
		if (rc != 0 || !(ret_wait->call & PRAAS_CALL_HERE))
			return rc;
		if (praas_process_fn_away(p, ret_wait->call) != 0)
			inv = &p->invocations.slots[(uint32_t)ret_wait->call];
		else if (praas_process_fn_needs(p, ret_wait->call, &inv) != -EBUSY)
			return -ENOENT;
	}
	return -E2BIG;
}

uint64_t praas_circle_nonce(void)
{
	uint64_t nonce;

	return getrandom(&nonce, sizeof(nonce), GRND_NONBLOCK) == sizeof(nonce) ? nonce
										: 0;
}

void praas_circle_ask(struct praas_process *p, const struct praas_invocation *inv,
		      const struct praas_executor_wait *wait)
{
	uint64_t call = praas_process_fn_away(p, wait->call);
	struct praas_probe probe = { .pid = p->config.pid,
				     .call = wait->call,
				     .nonce = wait->nonce,
				     .latest_ns =
					     praas_remote_began_ns(p->remote, call) };

	if (wait->nonce == 0 || call == 0 || add(p, &probe, inv) != 0)
		return;
	/* It waits for one here that goes on there. */
	if (call != wait->call &&
	    add(p, &probe, &p->invocations.slots[(uint32_t)wait->call]) != 0)
		return;
	praas_remote_probe(p->remote, call, &probe);
}

void praas_circle_found(struct praas_process *p)
{
	p->stats.circles++;
}

/* Of the invocation that a peer waits for. */
static void pass_on(struct praas_process *p, struct praas_invocation *inv,
		    struct praas_probe *probe)
{
	struct praas_executor_wait wait;
	char text[PRAAS_ERROR_TEXT_MAX];
	uint64_t call, began_ns;

	if (!p->executor->ops->waits || follow(p, inv, probe, &wait, &call) != 0)
		return;
	/* A pipeline that goes on elsewhere asks nobody: it is not told either. */
	began_ns = wait.call ? praas_remote_began_ns(p->remote, call) : 0;
	if (probe->pid != p->config.pid || probe->call != wait.call) {
		probe->latest_ns = praas_max_u64(probe->latest_ns, began_ns);
		praas_remote_probe(p->remote, call, probe);
		return;
	}
	/* All others of the circle ask, too: one of them is told. A wait that has not asked has no number yet. */
	if (wait.nonce == 0 || probe->nonce != wait.nonce ||
	    probe->latest_ns > began_ns)
		return;
	probe->count -=
		call != wait.call; /* what it waits for here stands in front, too */
	praas_circle_found(p);
	praas_probe_text(probe, text, sizeof(text));
	p->executor->ops->wait_ends(p->executor, &wait, text);
}

void praas_circle_frame(struct praas_process *p, struct praas_conn *conn,
			struct praas_buf *buf)
{
	const struct praas_memo *memo = praas_invocations_find(
		&p->invocations, conn->peer_source, buf->head.id);
	int32_t status = praas_route_check(p, buf->head.epoch);
	struct praas_probe probe;
	bool nonsense = (conn->peer_source & PRAAS_CLIENT) != 0 ||
			praas_probe_decode(buf->data, buf->head.bytes, &probe) != 0;

	p->stats.bytes_in -= buf->head.bytes; /* it is nobody's payload */
	praas_buf_release(buf);
	if (nonsense) { /* of a client: it is nobody that another one could wait for */
		conn->port->protocol_errors++;
		praas_process_drop_conn(conn, -EPROTO);
		return;
	}
	if (status == 0 && memo && memo->slot != 0)
		pass_on(p, &p->invocations.slots[memo->slot - 1], &probe);
}
