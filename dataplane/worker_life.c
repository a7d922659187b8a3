/* SPDX-License-Identifier: Apache-2.0
 *
 * Lives and deaths of workers: start, READY, why one is killed, what its end means for the call it
 * ran, and when the next life begins.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dataplane/worker_private.h"

#define MINUTE_NS 60000000000u
#define SECOND_NS 1000000000u
#define BACK_OFF_NS 10000000u /* after the first death in a minute; doubles */
#define EXIT_FAILED 1         /* of praas-worker: the reason is on the socket */
#define EXIT_PROTOCOL 3

/* ---- start ---- */

static int send_functions(struct wx_worker *w)
{
	const struct praas_worker_executor_config *c = &w->ex->config;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < c->functions_count; i++) {
		const struct praas_function *f = &c->functions[i];
		struct praas_worker_function msg = { .number = i,
						     .plain = praas_function_plain(f) };

		memcpy(msg.name, f->name, sizeof(msg.name));
		memcpy(msg.symbol, f->symbol, sizeof(msg.symbol));
		memcpy(msg.library, f->library, sizeof(msg.library));
		rc = wx_socket_send(w, PRAAS_WORKER_MSG_FUNCTION, &msg, sizeof(msg),
				    NULL, 0);
	}
	return rc ? rc : wx_socket_send(w, PRAAS_WORKER_MSG_GO, NULL, 0, NULL, 0);
}

static int send_start(struct wx_worker *w, int pool_fd, int control_fd, int wake_fd)
{
	struct wx *ex = w->ex;
	const struct praas_worker_executor_config *c = &ex->config;
	const struct praas_worker_start start = {
		.version = 1,
		.worker = w->index,
		.wait_mode = (uint32_t)c->wait_mode,
		.bytes_max = c->bytes_max,
		.pool_bytes = c->pool_segment->bytes,
		.control = ex->control_geometry,
		.arena = ex->arena_geometry,
		.log_bytes = WX_LOG_BYTES,
		.functions_count = c->functions_count,
		.workers_count = c->workers,
		.state_index_offset =
			praas_process_state_index_offset(ex->base.process),
		.arena_segment = w->arena->segment.id
	};
	const int fds[5] = { pool_fd, control_fd, w->arena->segment.fd, w->log.fd,
			     wake_fd };

	return wx_socket_send(w, PRAAS_WORKER_MSG_START, &start, sizeof(start), fds, 5);
}

/* The arenas of the others, and what is left of dead ones: state lies there. */
static int send_regions(struct wx_worker *w)
{
	struct wx *ex = w->ex;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < WX_REGIONS_MAX; i++) {
		struct wx_region *r = &ex->regions[i];

		if (r->segment.base && (r->arena || r->held))
			rc = wx_show(w, r->segment.id);
	}
	for (uint32_t i = 0; i < ex->config.workers; i++)
		if (ex->workers[i].socket >= 0 && &ex->workers[i] != w &&
		    wx_show(&ex->workers[i], w->arena->segment.id) == 0)
			wx_socket_ring(&ex->workers[i]);
	return rc;
}

/* Before the first call or client of a worker, which make it visible. */
void wx_identify(struct wx_worker *w)
{
	if (!w->order)
		return; /* it is told when it starts */
	atomic_store_explicit(&w->order->pid, w->ex->config.pid, memory_order_relaxed);
	atomic_store_explicit(&w->order->epoch, w->ex->config.epoch,
			      memory_order_relaxed);
}

/* Each life has segments of its own: no word of a former one is met again. */
static int join(struct wx_worker *w, int wake_fd)
{
	struct wx *ex = w->ex;
	int rc =
		praas_channel_init(&w->channel, &w->control, &ex->control_geometry, 0,
				   &w->arena->segment, &ex->arena_geometry, 0, wake_fd);

	if (rc == 0)
		rc = praas_log_rx_init(
			&w->log_rx, &w->log, WX_LOG_BYTES,
			praas_channel_log_tail(&w->control, &ex->control_geometry, 0));
	w->order = (void *)(w->control.base + PRAAS_WORKER_LINE_OFFSET);
	wx_identify(w);
	w->call = (void *)(w->control.base +
			   praas_channel_pool_offset(&ex->control_geometry));
	w->doorbell =
		(struct praas_doorbell){ .shared = praas_channel_doorbell(&w->control),
					 .event_fd = wake_fd };
	w->line = (void *)(w->arena->segment.base + PRAAS_WORKER_LINE_OFFSET);
	wx_counts_begin(w);
	return rc;
}

static int make_segments(struct wx_worker *w)
{
	struct wx *ex = w->ex;
	int rc = wx_region_new(ex, w->index,
			       praas_channel_segment_bytes(&ex->arena_geometry), true,
			       &w->arena);

	if (rc != 0)
		return rc;
	praas_channel_format(&w->arena->segment, &ex->arena_geometry,
			     PRAAS_SEGMENT_ARENA);
	rc = praas_segment_create(
		"praas-control", praas_channel_segment_bytes(&ex->control_geometry),
		PRAAS_SEGMENT_CONTROL, PRAAS_SEGMENT_OWN, &w->control);
	if (rc != 0)
		return rc;
	praas_channel_format(&w->control, &ex->control_geometry, PRAAS_SEGMENT_CONTROL);
	return praas_segment_create("praas-log", WX_LOG_BYTES, PRAAS_SEGMENT_CONTROL, 0,
				    &w->log);
}

static int prepare(struct wx_worker *w, int *ret_child)
{
	struct wx *ex = w->ex;
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = w->index };
	int socks[2] = { -1, -1 }, wakes[2] = { -1, -1 }, pool_fd = -1, control_fd = -1;
	int rc = make_segments(w);

	if (rc == 0 &&
	    (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) != 0 ||
	     socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
			wakes) != 0 ||
	     epoll_ctl(ex->epoll_fd, EPOLL_CTL_ADD, wakes[0], &ev) != 0))
		rc = -errno;
	w->socket = socks[0];
	w->wake_fd = wakes[0];
	if (rc == 0)
		rc = join(w, w->wake_fd);
	if (rc == 0)
		rc = praas_segment_read_only_fd(ex->config.pool_segment, &pool_fd);
	if (rc == 0)
		rc = praas_segment_read_only_fd(&w->control, &control_fd);
	if (rc == 0)
		rc = send_start(w, pool_fd, control_fd, wakes[1]);
	if (rc == 0)
		rc = send_regions(w);
	if (rc == 0)
		rc = send_functions(w);
	if (pool_fd >= 0)
		(void)close(pool_fd); /* sent */
	if (control_fd >= 0)
		(void)close(control_fd);
	if (wakes[1] >= 0)
		(void)close(wakes[1]);
	if (rc != 0 && socks[1] >= 0)
		(void)close(socks[1]);
	*ret_child = rc == 0 ? socks[1] : -1;
	return rc;
}

/* What a life leaves: descriptors, and the arena with what still lies in it. */
static void clean(struct wx_worker *w)
{
	if (w->socket >= 0)
		(void)close(w->socket);
	if (w->wake_fd >= 0)
		(void)close(w->wake_fd); /* leaves the epoll set */
	w->socket = w->wake_fd = -1;
	praas_segment_release(&w->log);
	praas_segment_release(&w->control);
	for (uint32_t i = 0; i < WX_REGIONS_MAX; i++) {
		struct wx_region *r = &w->ex->regions[i];

		if (!r->segment.base)
			continue;
		r->shown &= ~(1u << w->index);
		if (r->worker == w->index && !r->closed)
			wx_region_close(r);
	}
	for (uint32_t i = 0; i < WX_FOREIGN_MAX; i++)
		w->ex->foreign[i].shown &= ~(1u << w->index);
	w->arena = NULL;
	w->line = NULL;
	w->order = NULL;
	w->call = NULL;
	w->segments = 0;
}

static uint32_t recent_crashes(const struct wx *ex, uint64_t now)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < WX_CRASHES; i++)
		n += ex->crash_ns[i] != 0 && now - ex->crash_ns[i] < MINUTE_NS;
	return n;
}

static void start(struct wx_worker *w)
{
	struct wx *ex = w->ex;
	uint64_t now = praas_now_ns(), at = now;
	uint32_t crashes = recent_crashes(ex, now);
	int child = -1, rc;

	if (ex->degraded)
		at += SECOND_NS;
	else if (crashes != 0)
		at += (uint64_t)BACK_OFF_NS << (crashes - 1);
	w->life++;
	w->inv = NULL;
	w->depth = w->level = 0;
	w->dispatches = w->commits = 0;
	w->end_status = 0;
	w->end_text = NULL;
	w->commit_rc = 0;
	w->direct_committed = 0;
	w->state = WX_STARTING;
	w->deadline_ns = at + ex->config.start_timeout_ns;
	rc = prepare(w, &child);
	if (rc == 0)
		rc = ex->config.host->spawn(ex->config.host_user, w->index, at, child);
	if (rc == 0) {
		ex->stats.started++;
		return;
	}
	if (child >= 0)
		(void)close(child);
	clean(w);
	w->state = WX_ABSENT;
	w->deadline_ns = now + SECOND_NS; /* tried again then */
	(void)snprintf(ex->failure, sizeof(ex->failure), "worker %" PRIu32 ": %s",
		       w->index, strerror(-rc));
}

void wx_begin(struct wx *ex)
{
	ex->begun = true;
	for (uint32_t i = 0; i < ex->config.workers; i++)
		start(&ex->workers[i]);
}

int wx_on_ready(struct wx_worker *w, const struct praas_frame *f, uint32_t segment,
		uint64_t offset)
{
	struct wx *ex = w->ex;
	struct wx_region *r = wx_region_named(w, segment, offset, f->bytes);

	if (w->state != WX_STARTING || !r || f->bytes >= sizeof(ex->layers))
		return -EPROTO;
	memcpy(ex->layers, r->segment.base + offset, f->bytes);
	ex->layers[f->bytes] = '\0';
	for (char *c = ex->layers; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	r->held++;
	wx_region_release(r, offset);
	w->state = WX_IDLE;
	w->deadline_ns = 0;
	ex->idle++;
	ex->failure[0] = '\0';
	praas_process_reader_set(ex->base.process, w->index, &w->line->reader);
	return 0;
}

/* ---- end ---- */

void wx_complete(struct wx_worker *w, int32_t status, struct praas_buf *result,
		 uint64_t run_ns)
{
	struct wx *ex = w->ex;
	struct praas_invocation *inv = w->inv;

	w->commit_rc = 0;
	wx_calls_end(w);
	wx_frame_pop(w);
	wx_ahead_next(w);
	if (w->state == WX_BUSY && !w->inv) {
		w->state = WX_IDLE;
		ex->idle++;
	}
	ex->last = w->index;
	praas_process_complete(ex->base.process, inv, status, result, run_ns);
}

/* A call that waits in the worker behind a direct one has not begun: another worker runs it. Its word
 * must make sense for that, in both places. */
static bool requeue(struct wx_worker *w)
{
	struct praas_invocation *inv = w->inv;
	struct wx_direct_run run;
	uint64_t taken = atomic_load_explicit(&w->line->taken, memory_order_relaxed);

	if (!inv || w->depth != 0 || w->commit_rc != 0 || w->ex->stopping ||
	    inv->cancelled || inv->answered || taken >= w->number ||
	    !wx_direct_running(w, &run))
		return false;
	w->inv = NULL;
	praas_process_requeue(w->ex->base.process, inv);
	return true;
}

void wx_kill(struct wx_worker *w, int32_t status, const char *text)
{
	struct wx *ex = w->ex;

	if (w->state == WX_ABSENT || w->state == WX_DYING)
		return;
	wx_ahead_withdraw(w);
	if (w->state == WX_IDLE)
		ex->idle--;
	w->state = WX_DYING;
	w->deadline_ns = 0;
	w->end_status = status;
	w->end_text = text;
	ex->config.host->kill(ex->config.host_user, w->index);
	/* It is not listened to any more, so its call can end now. */
	if (!requeue(w))
		wx_end_stack(w, status, text);
	wx_calls_end(w);
}

void wx_violation(struct wx_worker *w)
{
	if (w->state == WX_DYING || w->state == WX_ABSENT)
		return;
	w->ex->stats.violations++;
	wx_kill(w, PRAAS_CRASHED, "the worker broke the protocol and was ended");
}

/* "worker 0 was killed by SIGSEGV (Segmentation fault) in function f" */
static void describe(const struct wx_worker *w, const struct praas_worker_death *d,
		     char *ret_text, size_t bytes)
{
	const struct wx *ex = w->ex;
	const char *in = w->inv ? " in function " : "";
	const char *name = w->inv ? ex->config.functions[w->inv->function].name : "";
	int sig = 0;

	if (d->start_errno == 0 && WIFSIGNALED(d->wait_status))
		sig = WTERMSIG(d->wait_status);
	/* praas-worker says so: the first process of a namespace cannot die of it. */
	else if (d->start_errno == 0 && WEXITSTATUS(d->wait_status) == 128 + SIGABRT)
		sig = SIGABRT;
	if (d->start_errno != 0)
		(void)snprintf(ret_text, bytes,
			       "worker %" PRIu32 " could not be started: %s", w->index,
			       strerror(d->start_errno));
	else if (d->out_of_memory)
		(void)snprintf(ret_text, bytes,
			       "worker %" PRIu32 " ran out of its memory limit%s%s",
			       w->index, in, name);
	else if (sig == SIGSYS)
		(void)snprintf(ret_text, bytes,
			       "worker %" PRIu32 " made a system call that the sandbox "
			       "forbids (SIGSYS)%s%s",
			       w->index, in, name);
	else if (sig != 0)
		(void)snprintf(ret_text, bytes,
			       "worker %" PRIu32 " was killed by SIG%s (%s)%s%s",
			       w->index, sigabbrev_np(sig), sigdescr_np(sig), in, name);
	else
		(void)snprintf(ret_text, bytes,
			       "worker %" PRIu32 " exited with code %d%s%s", w->index,
			       WEXITSTATUS(d->wait_status), in, name);
}

/* Why a worker that did not get READY gave up, if it said so. */
static void read_failure(struct wx_worker *w)
{
	struct {
		struct praas_worker_msg head;
		char text[PRAAS_ERROR_TEXT_MAX];
	} msg;
	ssize_t n;

	if (w->socket < 0)
		return;
	n = recv(w->socket, &msg, sizeof(msg), MSG_DONTWAIT);
	if (n <= (ssize_t)sizeof(msg.head) || msg.head.kind != PRAAS_WORKER_MSG_FAILED)
		return;
	n -= (ssize_t)sizeof(msg.head);
	if (n >= (ssize_t)sizeof(msg.text))
		n = sizeof(msg.text) - 1;
	for (ssize_t i = 0; i < n; i++)
		if ((unsigned char)msg.text[i] < ' ')
			msg.text[i] = ' ';
	msg.text[n] = '\0';
	(void)snprintf(w->ex->failure, sizeof(w->ex->failure), "%s", msg.text);
}

static void count_death(struct wx *ex, const struct wx_worker *w,
			const struct praas_worker_death *d, enum wx_state was)
{
	uint64_t now = praas_now_ns();

	ex->stats.deaths++;
	ex->stats.ooms += d->out_of_memory;
	/* Ended because the process was to be swapped out: nobody's fault. */
	if (was == WX_DYING && w->end_status == PRAAS_INTERRUPTED)
		return;
	if (was != WX_DYING && was != WX_STARTING && !d->out_of_memory)
		ex->stats.crashes++;
	ex->crash_ns[ex->crash_next++ % WX_CRASHES] = now;
	ex->degraded = recent_crashes(ex, now) == WX_CRASHES;
}

/* What the process must know of an arena that nobody writes any more. */
static void tell_process(struct wx_worker *w)
{
	struct praas_process *p = w->ex->base.process;

	praas_process_reader_set(p, w->index, NULL);
	praas_process_holder_died(p, w->index, ~(uint64_t)0); /* its words say it */
	/* No room in the pool: then the arena stays as long as something lies in it. */
	(void)praas_process_evacuate(p, w->arena->segment.id);
}

static void on_death(struct wx_worker *w, const struct praas_worker_death *d)
{
	struct wx *ex = w->ex;
	enum wx_state was = w->state;
	unsigned done;

	if (was == WX_ABSENT)
		return;
	/* What it had said before counts. (Not when we had enough of it.) */
	if (was == WX_BUSY || was == WX_IDLE)
		(void)wx_poll_worker(w, ex->control_geometry.ring_slots, &done);
	wx_ahead_lost(w);
	describe(w, d, ex->last_death, sizeof(ex->last_death));
	if (was == WX_STARTING) {
		(void)snprintf(ex->failure, sizeof(ex->failure), "%s", ex->last_death);
		read_failure(w);
	}
	if (w->state == WX_IDLE)
		ex->idle--;
	w->state = WX_DYING;
	count_death(ex, w, d, was);
	if (!requeue(w))
		wx_end_stack(w, d->out_of_memory ? PRAAS_NO_MEMORY : PRAAS_CRASHED,
			     ex->last_death);
	wx_calls_end(w);
	wx_counts_last(w);
	w->calls_before += atomic_load_explicit(&w->line->calls, memory_order_relaxed);
	w->direct_before +=
		atomic_load_explicit(&w->line->direct_calls, memory_order_relaxed);
	w->failures_before +=
		atomic_load_explicit(&w->line->direct_failures, memory_order_relaxed);
	w->in_before += atomic_load_explicit(&w->line->direct_in, memory_order_relaxed);
	w->out_before +=
		atomic_load_explicit(&w->line->direct_out, memory_order_relaxed);
	w->nested_before +=
		atomic_load_explicit(&w->line->nested_calls, memory_order_relaxed);
	w->busy_before += atomic_load_explicit(&w->line->busy_ns, memory_order_relaxed);
	wx_read_log(w);
	tell_process(w);
	if (w->end_status == 0)
		w->end_status = d->out_of_memory ? PRAAS_NO_MEMORY : PRAAS_CRASHED;
	wx_drop_clients(w, w->end_status);
	clean(w);
	w->state = WX_ABSENT;
	if (!ex->stopping)
		start(w);
}

unsigned wx_deaths(struct wx *ex)
{
	struct praas_worker_death death;
	unsigned done = 0;

	while (done < PRAAS_WORKERS_MAX &&
	       ex->config.host->next_death(ex->config.host_user, &death) == 0) {
		if (death.worker < ex->config.workers)
			on_death(&ex->workers[death.worker], &death);
		done++;
	}
	return done;
}

/* ---- time ---- */

static void on_timer(struct wx_worker *w, uint64_t now)
{
	struct wx *ex = w->ex;

	if (w->state == WX_ABSENT && !ex->stopping) {
		w->deadline_ns = 0;
		start(w);
	} else if (w->state == WX_STARTING) {
		(void)snprintf(ex->failure, sizeof(ex->failure),
			       "worker %" PRIu32 " did not become ready in time",
			       w->index);
		wx_kill(w, PRAAS_INTERNAL, "not ready in time");
	} else if (w->state == WX_BUSY) {
		uint64_t kill_ns = w->deadline_ns + ex->config.deadline_grace_ns;
		struct wx_direct_run run;

		/* First it is asked: praas_cancelled() says so. */
		(void)wx_cancel_mark(w, w->inv);
		if (now < kill_ns)
			return;
		/* It has not begun: a direct call is before it, and it will not run after that. */
		if (w->depth == 0 && wx_direct_running(w, &run)) {
			w->deadline_ns = now;
			return;
		}
		ex->stats.hangs++;
		wx_kill(w, PRAAS_DEADLINE,
			"the deadline passed; the function did not return and its "
			"worker "
			"was ended");
	}
}

void wx_timers(struct wx *ex)
{
	uint64_t now = praas_now_ns();

	for (uint32_t i = 0; i < ex->config.workers; i++)
		if (ex->workers[i].line)
			wx_read_log(&ex->workers[i]);
	for (uint32_t i = 0; i < ex->config.workers; i++)
		if (ex->workers[i].deadline_ns != 0 &&
		    now >= ex->workers[i].deadline_ns)
			on_timer(&ex->workers[i], now);
	for (uint32_t i = 0; i < ex->config.workers; i++)
		wx_direct_watch(&ex->workers[i], now);
	for (uint32_t i = 0; i < ex->config.workers; i++)
		wx_ahead_watch(&ex->workers[i], now);
	wx_wait_timers(ex, now);
	if (ex->degraded && recent_crashes(ex, now) < WX_CRASHES)
		ex->degraded = false;
	if (!ex->stopping || now < ex->stop_ns)
		return;
	for (uint32_t i = 0; i < ex->config.workers; i++)
		wx_kill(&ex->workers[i], PRAAS_INTERRUPTED,
			"interrupted: the process is being swapped out");
}

uint64_t wx_next_timer(const struct wx *ex)
{
	uint64_t next = UINT64_MAX, now = praas_now_ns();

	for (uint32_t i = 0; i < ex->config.workers; i++) {
		const struct wx_worker *w = &ex->workers[i];
		uint64_t at = w->deadline_ns;

		next = praas_min_u64(next, wx_direct_next(w, now));
		next = praas_min_u64(next, wx_ahead_due(w));
		next = praas_min_u64(next, wx_wait_due(w));
		if (at == 0)
			continue;
		if (w->state == WX_BUSY && at <= now)
			at += ex->config.deadline_grace_ns;
		next = praas_min_u64(next, at);
	}
	for (uint32_t i = 0; ex->stopping && i < ex->config.workers; i++)
		if (ex->workers[i].state != WX_ABSENT &&
		    ex->workers[i].state != WX_DYING)
			next = praas_min_u64(next, ex->stop_ns);
	return next == UINT64_MAX ? 0 : next;
}
