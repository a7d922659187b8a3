/* SPDX-License-Identifier: Apache-2.0
 *
 * Direct clients of workers, as the controller sees them: it does not see their calls, but it lets
 * them come and go, and ends what hangs.
 *
 * A worker writes what direct call it runs into its line (struct praas_worker_line). That is its
 * claim: one that lies keeps its own call from being watched, and nothing else.
 */
#include <errno.h>
#include <string.h>

#include "dataplane/worker_private.h"

#define CANCEL_KEPT_NS                                                                 \
	20000000u /* a cancel that was faster than its call waits so long for it */
#define CANCEL_LOOK_NS 1000000u

static uint64_t bit(uint32_t client)
{
	return UINT64_C(1) << client;
}

bool wx_direct_running(const struct wx_worker *w, struct wx_direct_run *ret_run)
{
	const struct praas_worker_line *line = w->line;
	uint64_t call;

	if (!line)
		return false;
	/* run.A1, pairs with run.R1: its id and deadline are there, or newer ones. */
	call = atomic_load_explicit(&line->direct_call, memory_order_acquire);
	if (praas_likely(call == 0))
		return false;
	/* run.A0, pairs with run.R0: were they newer, the number would be gone below. */
	ret_run->id = atomic_load_explicit(&line->direct_id, memory_order_acquire);
	ret_run->deadline_ns =
		atomic_load_explicit(&line->direct_deadline_ns, memory_order_acquire);
	ret_run->number = call >> 8;
	ret_run->client = (uint32_t)(call & 0xff) - 1;
	return ret_run->client < PRAAS_WORKER_CLIENTS_MAX &&
	       (w->clients & bit(ret_run->client)) &&
	       atomic_load_explicit(&line->direct_call, memory_order_relaxed) == call;
}

void wx_direct_committed(struct wx_worker *w)
{
	struct wx_direct_run run;

	if (w->depth == 0 && wx_direct_running(w, &run))
		w->direct_committed = run.number;
	else if (!w->inv)
		w->direct_committed = UINT64_MAX;
}

/* Whether what a dead worker left unanswered may be the call that committed: not if it says that it
 * ran a later one. */
static bool committed(const struct wx_worker *w)
{
	struct wx_direct_run run;

	return w->direct_committed != 0 &&
	       !(wx_direct_running(w, &run) && run.number > w->direct_committed);
}

/* ---- cancel, deadline ---- */

/* praas_cancelled() says so, and what it waits for ends. */
static void give_up(struct wx_worker *w, const struct wx_direct_run *run)
{
	if (atomic_load_explicit(&w->order->direct_cancel, memory_order_relaxed) >=
	    run->number)
		return;
	atomic_store_explicit(&w->order->direct_cancel, run->number,
			      memory_order_relaxed);
	if (w->waiting && w->wait_direct)
		wx_wait_give_up(w);
	else
		wx_socket_ring(w); /* it may sleep, waiting for a function */
}

static bool alive(const struct wx_worker *w)
{
	return w->state == WX_IDLE || w->state == WX_BUSY;
}

static bool cancel_now(struct wx *ex, uint64_t source, uint64_t id)
{
	struct wx_direct_run run;

	for (uint32_t i = 0; i < ex->config.workers; i++) {
		struct wx_worker *w = &ex->workers[i];

		if (!alive(w) || w->clients == 0 || !wx_direct_running(w, &run) ||
		    run.id != id || w->sources[run.client] != source)
			continue;
		give_up(w, &run);
		return true;
	}
	return false;
}

void wx_direct_cancel(struct praas_executor *base, uint64_t source, uint64_t id)
{
	struct wx *ex = wx_of(base);
	struct wx_cancel *c;

	if (!ex->direct || cancel_now(ex, source, id))
		return;
	/* Taken, but not begun: it will be seen soon, or has ended. */
	if (ex->cancels_count == WX_CANCELS_MAX) {
		memmove(ex->cancels, ex->cancels + 1,
			sizeof(*c) * (WX_CANCELS_MAX - 1));
		ex->cancels_count--;
	}
	c = &ex->cancels[ex->cancels_count++];
	*c = (struct wx_cancel){ .source = source,
				 .id = id,
				 .until_ns = praas_now_ns() + CANCEL_KEPT_NS };
}

static void retry_cancels(struct wx *ex, uint64_t now)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < ex->cancels_count; i++) {
		const struct wx_cancel c = ex->cancels[i];

		if (now < c.until_ns && !cancel_now(ex, c.source, c.id))
			ex->cancels[kept++] = c;
	}
	ex->cancels_count = kept;
}

/* Clients that it does not let go. What it runs for somebody else may take as long as it does. */
static void watch_detaching(struct wx_worker *w, const struct wx_direct_run *run,
			    uint64_t now)
{
	bool others = run ? !(w->gone & bit(run->client)) : w->state == WX_BUSY;

	if (w->detaching == 0)
		return;
	if (run && !others)
		give_up(w, run);
	if (others)
		w->detach_ns = now;
	if (now - w->detach_ns < w->ex->config.detach_timeout_ns)
		return;
	w->ex->stats.hangs++;
	wx_kill(w, PRAAS_CRASHED,
		"the worker did not let go of a client and was ended");
}

void wx_direct_watch(struct wx_worker *w, uint64_t now)
{
	struct wx *ex = w->ex;
	struct wx_direct_run run;
	bool running;

	if (praas_unlikely(ex->cancels_count != 0))
		retry_cancels(ex, now);
	if (w->clients == 0 || !alive(w))
		return;
	running = wx_direct_running(w, &run);
	watch_detaching(w, running ? &run : NULL, now);
	if (!running || !alive(w) || run.deadline_ns == 0 || now < run.deadline_ns)
		return;
	give_up(w, &run);
	if (now - run.deadline_ns < ex->config.deadline_grace_ns)
		return;
	ex->stats.hangs++;
	wx_kill(w, PRAAS_DEADLINE,
		"the deadline of a direct call passed; the function did not return and "
		"its "
		"worker was ended");
}

uint64_t wx_direct_next(const struct wx_worker *w, uint64_t now)
{
	const struct praas_worker_executor_config *c = &w->ex->config;
	uint64_t next = UINT64_MAX;
	struct wx_direct_run run;

	if (w->ex->cancels_count != 0)
		next = now + CANCEL_LOOK_NS;
	if (w->clients == 0 || !alive(w))
		return next;
	if (w->detaching != 0)
		next = praas_min_u64(next,
				     praas_max_u64(w->detach_ns + c->detach_timeout_ns,
						   now + CANCEL_LOOK_NS));
	if (!wx_direct_running(w, &run) || run.deadline_ns == 0)
		return next;
	return praas_min_u64(next, run.deadline_ns > now
					   ? run.deadline_ns
					   : run.deadline_ns + c->deadline_grace_ns);
}

/* ---- coming and going ---- */

void praas_worker_executor_direct_set(struct praas_executor *base,
				      const struct praas_worker_direct_ops *ops,
				      void *user)
{
	struct wx *ex = wx_of(base);

	ex->direct = ops;
	ex->direct_user = user;
}

int praas_worker_executor_attach(struct praas_executor *base, uint32_t worker,
				 const struct praas_direct_attach *attach,
				 const int fds[PRAAS_DIRECT_FDS])
{
	struct wx *ex = wx_of(base);
	struct wx_worker *w = &ex->workers[worker];
	int rc;

	if (worker >= ex->config.workers || attach->client >= PRAAS_WORKER_CLIENTS_MAX)
		return -EINVAL;
	if (!alive(w))
		return -EAGAIN;
	if (w->clients & bit(attach->client))
		return -EBUSY;
	rc = wx_socket_send(w, PRAAS_WORKER_MSG_ATTACH, attach, sizeof(*attach), fds,
			    PRAAS_DIRECT_FDS);
	if (rc != 0)
		return -EAGAIN;
	w->clients |= bit(attach->client);
	w->sources[attach->client] = attach->source;
	wx_socket_ring(w);
	return 0;
}

int praas_worker_executor_detach(struct praas_executor *base, uint32_t worker,
				 uint32_t client, bool gone)
{
	struct wx *ex = wx_of(base);
	const struct praas_worker_detach detach = { .client = client };
	struct wx_direct_run run;
	struct wx_worker *w;

	if (worker >= ex->config.workers || client >= PRAAS_WORKER_CLIENTS_MAX)
		return -ENOENT;
	w = &ex->workers[worker];
	if (!(w->clients & bit(client)))
		return -ENOENT;
	if (gone)
		w->gone |= bit(client);
	if (w->detaching & bit(client))
		return 0;
	if (w->detaching == 0)
		w->detach_ns = praas_now_ns();
	w->detaching |= bit(client);
	/* It does not read: it is of no use to anybody. */
	if (wx_socket_send(w, PRAAS_WORKER_MSG_DETACH, &detach, sizeof(detach), NULL,
			   0) != 0) {
		wx_violation(w);
		return 0;
	}
	wx_socket_ring(w);
	if (gone && alive(w) && wx_direct_running(w, &run) && run.client == client)
		give_up(w, &run);
	return 0;
}

static void let_go(struct wx_worker *w, uint32_t client, int32_t status)
{
	w->clients &= ~bit(client);
	w->detaching &= ~bit(client);
	w->gone &= ~bit(client);
	if (w->ex->direct)
		w->ex->direct->detached(w->ex->direct_user, w->index, client, status);
}

int wx_on_detached(struct wx_worker *w, const struct praas_frame *f)
{
	if (f->aux >= PRAAS_WORKER_CLIENTS_MAX)
		return -EPROTO;
	/* Perhaps it let go by itself, because that client broke the protocol. */
	if (w->clients & bit((uint32_t)f->aux))
		let_go(w, (uint32_t)f->aux, PRAAS_OK);
	return 0;
}

void wx_drop_clients(struct wx_worker *w, int32_t status)
{
	uint64_t clients = w->clients;

	status = wx_outcome(status, committed(w));
	for (uint32_t i = 0; clients != 0; i++, clients >>= 1)
		if (clients & 1)
			let_go(w, i, status);
}

/* ---- results that the reply area cannot hold ---- */

int wx_on_share(struct wx_worker *w, const struct praas_frame *f)
{
	struct wx *ex = w->ex;
	struct wx_region *r =
		f->aux <= UINT16_MAX ? wx_region_find(ex, (uint32_t)f->aux) : NULL;
	int rc = -ENOTCONN;

	if (!r || r->worker != w->index || r->arena || f->status < 0 ||
	    f->status >= (int32_t)PRAAS_WORKER_CLIENTS_MAX)
		return -EPROTO;
	r->held++;
	if (ex->direct && (w->clients & bit((uint32_t)f->status)))
		rc = ex->direct->share(ex->direct_user, (uint32_t)f->status,
				       &r->segment);
	if (rc != 0)
		r->held--; /* the worker gives it back as one that it did not use */
	wx_reply(w, f->id, rc != 0 ? -ENOSPC : 0, 0);
	return 0;
}

void praas_worker_executor_unshare(struct praas_executor *base, uint32_t segment)
{
	struct wx_region *r = wx_region_find(wx_of(base), segment);

	if (r && !r->arena && r->held != 0)
		wx_region_release(r, 0);
}
