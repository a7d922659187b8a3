/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/worker_executor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "dataplane/worker_private.h"

/* The table of the executor; rings and results. How a call goes out: worker_dispatch.c. */

#define ARENA_BYTES (8ull << 20)
#define RING_SLOTS 256u
#define AHEAD_SHORT_NS 20000u
#define GRACE_NS 50000000u
#define START_TIMEOUT_NS 10000000000u
#define DETACH_TIMEOUT_NS 5000000000u
#define BUDGET 64u
#define TIMER_POLLS 64u /* polls between two looks at the clock */
#define KEY_OTHER 1000u /* in the epoll set: not a worker's wake socket */

static unsigned ops_capacity(const struct praas_executor *base)
{
	const struct wx *ex = wx_of_const(base);

	return ex->idle == 0 && ex->degraded && !ex->stopping ? 1 : ex->idle;
}

static void ops_cancel(struct praas_executor *base, struct praas_invocation *inv)
{
	struct wx *ex = wx_of(base);

	if (wx_ahead_cancel(ex, inv))
		return;
	for (uint32_t i = 0; i < ex->config.workers; i++) {
		struct wx_worker *w = &ex->workers[i];

		if (!wx_cancel_mark(w, inv) || w->inv != inv)
			continue; /* what is below looks when the top has ended */
		if (w->waiting && !w->wait_direct)
			wx_wait_give_up(w);
		else
			wx_socket_ring(w); /* it may sleep, waiting for a function */
	}
}

/* ---- its result comes back ---- */

static int32_t status_checked(int32_t status)
{
	return status >= 0 || (status <= PRAAS_CRASHED && status >= PRAAS_INTERNAL)
		       ? status
		       : PRAAS_INTERNAL;
}

/* A piece of its own input: the buffer that we have anyway. */
static int result_is_input(struct wx_worker *w, const struct praas_frame *f,
			   uint32_t segment, uint64_t offset,
			   struct praas_buf **ret_buf)
{
	struct praas_buf *in = w->inv->inputs_more ? NULL : w->inv->inputs[0];

	if (!in || in->segment != segment || f->bytes > in->head.bytes ||
	    offset < in->offset || offset - in->offset > in->head.bytes - f->bytes)
		return -EPROTO;
	w->inv->inputs[0] = NULL;
	in->data += offset - in->offset;
	in->offset = offset;
	in->head.bytes = f->bytes;
	*ret_buf = in;
	return 0;
}

static int on_result(struct wx_worker *w, const struct praas_frame *f, uint32_t segment,
		     uint64_t offset)
{
	int32_t status = status_checked(f->status);
	struct praas_buf *result = NULL;
	int rc = 0;

	if (w->state != WX_BUSY || f->id != w->inv->id)
		return -EPROTO;
	if (f->bytes > w->ex->config.bytes_max)
		return -EPROTO;
	if (f->bytes != 0)
		rc = wx_region_named(w, segment, offset, f->bytes)
			     ? wx_buf(w, segment, offset, f->bytes, &result)
			     : result_is_input(w, f, segment, offset, &result);
	if (rc == -EPROTO)
		return rc;
	if (rc != 0)
		status = PRAAS_NO_MEMORY;
	if (praas_unlikely(w->commit_rc < 0 && status == 0)) {
		praas_buf_release(result);
		status = praas_status_of(w->commit_rc);
		result = wx_text(w->ex,
				 "the writes of the function could not be committed");
	}
	/* It was not asked for by the caller: all are, when the executor stops. */
	if (praas_unlikely(status == PRAAS_CANCELLED && w->ex->stopping &&
			   !w->inv->cancelled))
		status = PRAAS_INTERRUPTED;
	wx_ahead_learn(w->ex, w->inv->function, f->aux);
	wx_complete(w, status, result, f->aux);
	return 0;
}

/* Where the message that was just popped has its key. */
static const uint8_t *key_slot(const struct wx_worker *w)
{
	uint64_t slots = 2 * (w->channel.rx.mask + 1);
	uint64_t slot = (w->channel.rx.next - 1) & (slots - 1);

	return w->arena->segment.base +
	       praas_channel_pool_offset(&w->ex->arena_geometry) +
	       slot * PRAAS_WORKER_KEY_STRIDE;
}

void wx_take_trace(const struct wx_worker *w, uint8_t ret_trace[PRAAS_TRACE_BYTES])
{
	memcpy(ret_trace, key_slot(w) + PRAAS_WORKER_KEY_TRACE, PRAAS_TRACE_BYTES);
}

/* That key, copied before anybody looks at it. */
static int take_key(const struct wx_worker *w, const struct praas_frame *f,
		    char *ret_key)
{
	ret_key[0] = '\0';
	if (f->key_bytes == 0)
		return 0;
	memcpy(ret_key, key_slot(w), f->key_bytes);
	ret_key[f->key_bytes] = '\0';
	return strlen(ret_key) == f->key_bytes ? 0 : -EPROTO;
}

static int on_desc(struct wx_worker *w, const struct praas_desc *d)
{
	char key[PRAAS_KEY_MAX + 1];
	struct praas_frame f;
	uint16_t segment = 0;
	uint64_t offset = 0;
	int rc = praas_frame_from_desc(d, &f, &segment, &offset);

	if (rc != 0)
		return rc;
	if (f.kind == PRAAS_FRAME_RESULT)
		return on_result(w, &f, segment, offset);
	if (f.kind == PRAAS_WORKER_READY)
		return wx_on_ready(w, &f, segment, offset);
	if (w->state == WX_STARTING)
		return -EPROTO;
	rc = take_key(w, &f, key);
	return rc ? rc : wx_on_call(w, &f, segment, offset, key);
}

int wx_poll_worker(struct wx_worker *w, unsigned budget, unsigned *ret_done)
{
	struct praas_desc d;
	unsigned done = 0;
	int rc = 0;

	while (done < budget) {
		rc = praas_ring_pop(&w->channel.rx, &d);
		if (rc != 0)
			break;
		rc = on_desc(w, &d);
		done++;
		/* Ended meanwhile: by what it said, or by what that led to. */
		if (rc != 0 || w->state == WX_DYING || w->state == WX_ABSENT)
			break;
	}
	*ret_done = done;
	return rc == -EAGAIN ? 0 : rc;
}

static void disarm(struct wx *ex)
{
	struct epoll_event ev[8];
	uint64_t eaten[8];
	int n;

	for (uint32_t i = 0; i < ex->config.workers; i++)
		if (ex->workers[i].control.base)
			praas_doorbell_awake(&ex->workers[i].doorbell);
	ex->armed = ex->announced = false;
	n = epoll_wait(ex->epoll_fd, ev, 8, 0);
	for (int i = 0; i < n; i++) {
		int fd = ev[i].data.u32 < PRAAS_WORKERS_MAX
				 ? ex->workers[ev[i].data.u32].wake_fd
				 : (int)(ev[i].data.u32 - KEY_OTHER);

		/* Never waits; what more there is wakes us once for nothing. */
		if (ev[i].data.u32 < PRAAS_WORKERS_MAX)
			(void)recv(fd, eaten, sizeof(eaten), MSG_DONTWAIT);
		else
			(void)!read(fd, eaten, sizeof(eaten[0]));
	}
}

static unsigned ops_poll(struct praas_executor *base, unsigned budget)
{
	struct wx *ex = wx_of(base);
	unsigned total = 0;
	bool waiting = false;

	if (praas_unlikely(!ex->begun))
		wx_begin(ex);
	if (ex->armed)
		disarm(ex);
	for (uint32_t i = 0; i < ex->config.workers && total < budget; i++) {
		struct wx_worker *w = &ex->workers[i];
		unsigned done = 0;

		if (w->state == WX_ABSENT || w->state == WX_DYING)
			continue;
		if (wx_poll_worker(w, ex->config.budget, &done) != 0)
			wx_violation(w);
		total += done;
		if (praas_unlikely(w->arena && w->arena->pending_count))
			wx_region_flush(w->arena);
		if (done && w->state != WX_DYING && w->state != WX_ABSENT &&
		    wx_take_returns(w) != 0)
			wx_violation(w);
		waiting |= w->waiting;
	}
	if (praas_unlikely(waiting))
		total += wx_help(ex);
	if (praas_unlikely(++ex->polls % TIMER_POLLS == 0)) {
		total += wx_deaths(ex);
		wx_timers(ex);
	}
	return total;
}

static bool anything_ready(struct wx *ex)
{
	for (uint32_t i = 0; i < ex->config.workers; i++) {
		struct wx_worker *w = &ex->workers[i];

		if (w->state == WX_ABSENT || w->state == WX_DYING)
			continue;
		if (praas_ring_ready(&w->channel.rx))
			return true;
		praas_ring_rx_publish(&w->channel.rx);
	}
	return false;
}

/* With all that can start a worker, whose doorbell would not be announced, before it. */
static void ops_announce(struct praas_executor *base)
{
	struct wx *ex = wx_of(base);

	if (!ex->begun)
		return;
	ex->died = ex->died || wx_deaths(ex) != 0;
	if (ex->died)
		return;
	ex->announced = true;
	wx_timers(ex);
	for (uint32_t i = 0; i < ex->config.workers; i++)
		if (ex->workers[i].arena && ex->workers[i].state != WX_DYING &&
		    wx_take_returns(&ex->workers[i]) != 0)
			wx_violation(&ex->workers[i]);
	for (uint32_t i = 0; i < ex->config.workers; i++)
		if (ex->workers[i].control.base)
			praas_doorbell_announce(&ex->workers[i].doorbell);
	ex->armed = true;
}

static int ops_arm(struct praas_executor *base, int *ret_fd)
{
	struct wx *ex = wx_of(base);
	struct itimerspec at = { 0 };
	uint64_t next;

	if (!ex->announced) {
		ops_announce(base);
		if (ex->announced)
			praas_doorbell_fence_producers();
	}
	if (!ex->announced) {
		ex->died = false;
		return -EAGAIN;
	}
	ex->announced = false;
	if (anything_ready(ex) || wx_help(ex) != 0) {
		disarm(ex);
		return -EAGAIN;
	}
	next = wx_next_timer(ex);
	at.it_value.tv_sec = (time_t)(next / 1000000000u);
	at.it_value.tv_nsec = (long)(next % 1000000000u);
	(void)timerfd_settime(ex->timer_fd, TFD_TIMER_ABSTIME, &at,
			      NULL); /* valid arguments */
	/* Deaths and timers are looked at once in so many polls: now is such a poll. */
	ex->polls = TIMER_POLLS - 1;
	*ret_fd = ex->epoll_fd;
	return 0;
}

static void cancel_all(struct wx_worker *w)
{
	wx_ahead_withdraw(w);
	for (uint32_t i = 0; i < w->depth; i++)
		(void)wx_cancel_mark(w, w->below[i].inv);
	if (w->inv)
		ops_cancel(&w->ex->base, w->inv);
}

/* After a stop that led to nothing: who was ended starts again. */
static PRAAS_COLD void go_on(struct wx *ex)
{
	if (!ex->stopping)
		return;
	ex->stopping = false;
	for (uint32_t i = 0; i < ex->config.workers; i++)
		if (ex->workers[i].state == WX_ABSENT)
			ex->workers[i].deadline_ns = praas_now_ns();
	wx_timers(ex);
}

static void ops_stop(struct praas_executor *base, uint64_t deadline_ns)
{
	struct wx *ex = wx_of(base);

	if (deadline_ns == 0) {
		go_on(ex);
		return;
	}
	if (!ex->stopping)
		for (uint32_t i = 0; i < ex->config.workers; i++)
			cancel_all(&ex->workers[i]);
	ex->stopping = true;
	ex->stop_ns = deadline_ns;
	wx_timers(ex);
}

/* ---- life of the executor ---- */

void wx_free_rest(struct wx *ex)
{
	for (uint32_t i = 0; i < WX_REGIONS_MAX; i++)
		if (ex->regions[i].segment.base)
			return;
	free(ex->handles);
	free(ex->writes);
	free(ex->run_ns);
	free(ex->counted);
	free(ex);
}

static void ops_free(struct praas_executor *base)
{
	struct wx *ex = wx_of(base);

	for (uint32_t i = 0; i < ex->config.workers; i++) {
		struct wx_worker *w = &ex->workers[i];

		if (w->state != WX_ABSENT && w->state != WX_DYING)
			ex->config.host->kill(ex->config.host_user, i);
		if (w->socket >= 0)
			(void)close(w->socket);
		if (w->wake_fd >= 0)
			(void)close(w->wake_fd);
		w->socket = w->wake_fd = -1;
		praas_segment_release(&w->log);
		praas_segment_release(&w->control);
	}
	for (uint32_t i = 0; i < WX_FOREIGN_MAX; i++)
		if (ex->foreign[i].id)
			(void)close(ex->foreign[i].fd);
	if (ex->epoll_fd >= 0)
		(void)close(ex->epoll_fd);
	if (ex->event_fd >= 0)
		(void)close(ex->event_fd);
	if (ex->timer_fd >= 0)
		(void)close(ex->timer_fd);
	/* State and messages may lie in arenas still; the process lets them go after us. */
	for (uint32_t i = 0; i < WX_REGIONS_MAX; i++)
		if (ex->regions[i].segment.base)
			wx_region_close(&ex->regions[i]);
	ex->freed = true;
	wx_free_rest(ex);
}

static const struct praas_executor_ops worker_ops = {
	.name = "worker",
	.start = wx_start,
	.capacity = ops_capacity,
	.cancel = ops_cancel,
	.cancel_direct = wx_direct_cancel,
	.waits = wx_waits,
	.wait_ends = wx_wait_ends,
	.poll = ops_poll,
	.announce = ops_announce,
	.arm = ops_arm,
	.stop = ops_stop,
	.free = ops_free,
};

static int set_config(struct wx *ex, const struct praas_worker_executor_config *config)
{
	struct praas_worker_executor_config *c = &ex->config;

	*c = *config;
	c->arena_bytes =
		praas_align_up(c->arena_bytes ? c->arena_bytes : ARENA_BYTES, 4096);
	c->ring_slots = c->ring_slots ? c->ring_slots : RING_SLOTS;
	c->bytes_max = c->bytes_max ? c->bytes_max : c->arena_bytes / 2;
	c->big_bytes_max = c->big_bytes_max ? c->big_bytes_max : 8 * c->bytes_max;
	c->deadline_grace_ns = c->deadline_grace_ns ? c->deadline_grace_ns : GRACE_NS;
	c->start_timeout_ns =
		c->start_timeout_ns ? c->start_timeout_ns : START_TIMEOUT_NS;
	c->detach_timeout_ns =
		c->detach_timeout_ns ? c->detach_timeout_ns : DETACH_TIMEOUT_NS;
	c->ahead_short_ns = c->ahead_short_ns ? c->ahead_short_ns : AHEAD_SHORT_NS;
	c->budget = c->budget ? c->budget : BUDGET;
	if (c->workers == 0 || c->workers > PRAAS_WORKERS_MAX || !c->host ||
	    !c->memory || !c->pool_segment || c->pool_segment->bytes == 0)
		return -EINVAL;
	ex->control_geometry = (struct praas_channel_geometry){
		.blocks = 1,
		.ring_slots = c->ring_slots,
		.pool_bytes = PRAAS_WORKER_LEVELS_MAX * PRAAS_WORKER_CALL_BYTES
	};
	ex->arena_geometry = (struct praas_channel_geometry){
		.blocks = 1,
		.ring_slots = c->ring_slots,
		.pool_bytes = c->arena_bytes + praas_worker_keys_bytes(c->ring_slots) +
			      praas_worker_counts_bytes(c->functions_count)
	};
	if (praas_channel_geometry_check(&ex->control_geometry) != 0 ||
	    praas_channel_geometry_check(&ex->arena_geometry) != 0)
		return -EINVAL;
	return 0;
}

static int open_fds(struct wx *ex)
{
	ex->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	ex->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ex->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (ex->epoll_fd < 0 || ex->event_fd < 0 || ex->timer_fd < 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
		int fd = i ? ex->timer_fd : ex->event_fd;
		struct epoll_event ev = { .events = EPOLLIN,
					  .data.u32 = KEY_OTHER + (uint32_t)fd };

		if (epoll_ctl(ex->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
			return -errno;
	}
	return 0;
}

static int open_memory(struct wx *ex)
{
	ex->handles = calloc(WX_HANDLES, sizeof(*ex->handles));
	ex->writes = calloc(PRAAS_WRITES_MAX, sizeof(*ex->writes));
	ex->run_ns = malloc((ex->config.functions_count + 1) * sizeof(*ex->run_ns));
	ex->counted =
		calloc((size_t)ex->config.workers * ex->config.functions_count + 1,
		       sizeof(*ex->counted));
	if (!ex->handles || !ex->writes || !ex->run_ns || !ex->counted)
		return -ENOMEM;
	memset(ex->run_ns, 0xff,
	       (ex->config.functions_count + 1) * sizeof(*ex->run_ns));
	for (uint32_t i = 0; i < WX_HANDLES; i++) {
		ex->handles[i].next = ex->free_handles;
		ex->free_handles = &ex->handles[i];
	}
	return 0;
}

static void init_worker(struct wx *ex, uint32_t i)
{
	ex->workers[i].ex = ex;
	ex->workers[i].index = i;
	ex->workers[i].counted = ex->counted + (size_t)i * ex->config.functions_count;
}

int praas_worker_executor_new(const struct praas_worker_executor_config *config,
			      struct praas_executor **ret_ex)
{
	struct wx *ex = calloc(1, sizeof(*ex));
	int rc;

	if (!ex)
		return -ENOMEM;
	ex->base.ops = &worker_ops;
	ex->epoll_fd = ex->event_fd = ex->timer_fd = -1;
	ex->next_id = PRAAS_SEGMENT_ARENA;
	for (uint32_t i = 0; i < PRAAS_WORKERS_MAX; i++)
		ex->workers[i].socket = ex->workers[i].wake_fd = -1;
	rc = set_config(ex, config);
	if (rc == 0)
		rc = open_fds(ex);
	if (rc == 0)
		rc = open_memory(ex);
	if (rc != 0) {
		ex->config.workers = 0;
		ops_free(&ex->base);
		return rc;
	}
	for (uint32_t i = 0; i < ex->config.workers; i++)
		init_worker(ex, i);
	*ret_ex = &ex->base;
	return 0;
}
