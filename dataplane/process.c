/* SPDX-License-Identifier: Apache-2.0
 *
 * The process: dispatch of frames, the gate, the data thread's turn. Runs on one thread.
 */
#include "dataplane/process.h"

#include <errno.h>
#include <string.h>

#include "dataplane/circle.h"
#include "dataplane/process_private.h"
#include "transport/ticket.h"

#define DEFAULT_INVOCATIONS 1024u
#define DEFAULT_REMEMBERED 4096u
#define DEFAULT_MESSAGES 65536u
#define MESSAGES_MAX (1u << 21)
#define MESSAGE_POOL_SHARE                                                             \
	2048u /* bytes of pool for each that is allowed beyond the default */
#define STATE_KEYS 49152u       /* by default: an index of 65536 entries, 4 MiB */
#define STATE_KEYS_MAX 1572864u /* an index of 2^21 entries, 128 MiB */
#define STATE_POOL_SHARE 8u /* the index takes no more than this part of the pool, … */
#define STATE_LARGE_SHARE 32u /* … and a larger one no more than this */
#define DEFAULT_DEDUP_BYTES (1u << 20)
#define OUTBOX_POOL_SHARE                                                              \
	4u /* messages to others take no more than this part of the pool */
#define DEFAULT_RECEIVERS 1024u
#define TRIGGER_AGAIN_NS                                                               \
	10000000u /* a trigger whose time passed while the gate is closed */
#define POLLS_PER_CLOCK                                                                \
	64u /* the activity stamp is that coarse, in turns of the loop */

static uint64_t index_bytes(uint64_t keys)
{
	return keys / 3 * 4 * sizeof(struct praas_state_entry);
}

/* By the size of the pool. The tables are touched only as far as they are used. */
static uint32_t default_keys(uint64_t pool_bytes)
{
	uint32_t keys = STATE_KEYS;

	while (keys > 48 && index_bytes(keys) > pool_bytes / STATE_POOL_SHARE)
		keys /= 2;
	while (keys < STATE_KEYS_MAX &&
	       index_bytes(2ull * keys) <= pool_bytes / STATE_LARGE_SHARE)
		keys *= 2;
	return keys;
}

static uint32_t default_messages(uint64_t pool_bytes)
{
	uint64_t messages =
		praas_min_u64(pool_bytes / MESSAGE_POOL_SHARE, MESSAGES_MAX);

	return (uint32_t)praas_max_u64(messages, DEFAULT_MESSAGES);
}

static void set_defaults(struct praas_process_config *c)
{
	struct praas_pool_stats pool;

	praas_pool_stats(c->pool, &pool);
	c->invocations_max =
		c->invocations_max ? c->invocations_max : DEFAULT_INVOCATIONS;
	c->dedup_entries = c->dedup_entries ? c->dedup_entries : DEFAULT_REMEMBERED;
	c->messages_max =
		c->messages_max ? c->messages_max : default_messages(pool.bytes_total);
	c->mailbox_bytes_max =
		c->mailbox_bytes_max ? c->mailbox_bytes_max : pool.bytes_total / 2;
	if (c->state_keys_max == 0)
		c->state_keys_max = default_keys(pool.bytes_total);
	c->state_bytes_max = c->state_bytes_max ? c->state_bytes_max : pool.bytes_total;
	c->dedup_bytes_max =
		c->dedup_bytes_max ? c->dedup_bytes_max : DEFAULT_DEDUP_BYTES;
	c->receivers_max = c->receivers_max ? c->receivers_max : DEFAULT_RECEIVERS;
}

static int init_functions(struct praas_process *p)
{
	const struct praas_process_config *c = &p->config;
	uint32_t pending = 64;

	while (pending < c->invocations_max + c->receivers_max)
		pending *= 2;
	p->pending_max = pending;
	p->pending = calloc(pending, sizeof(*p->pending));
	p->plain = calloc(c->functions_count ? c->functions_count : 1, 1);
	p->sums = aligned_alloc(64, (c->functions_count + 1ull) * sizeof(*p->sums));
	if (!p->pending || !p->plain || !p->sums)
		return -ENOMEM;
	memset(p->sums, 0, (c->functions_count + 1ull) * sizeof(*p->sums));
	for (uint32_t i = 0; i < c->functions_count; i++)
		p->plain[i] = praas_function_plain(&c->functions[i]);
	return 0;
}

static int init_tables(struct praas_process *p)
{
	const struct praas_process_config *c = &p->config;
	int rc = init_functions(p);

	if (rc == 0)
		rc = praas_invocations_init(&p->invocations, c->invocations_max,
					    c->dedup_entries, c->dedup_bytes_max);
	/* Invocations, an accumulator each, receivers of clients and functions, one for stages. */
	if (rc == 0)
		rc = praas_timers_init(&p->timers,
				       3 * c->invocations_max + c->receivers_max + 64);
	if (rc == 0)
		rc = praas_lanes_init(&p->lanes, c->invocations_max);
	if (rc == 0)
		rc = praas_triggers_init(&p->triggers, c->functions, c->functions_count,
					 c->invocations_max);
	if (rc == 0)
		rc = praas_state_init(&p->state, c->pool, c->pool_segment,
				      c->state_keys_max, c->state_bytes_max);
	if (rc == 0)
		rc = praas_mailbox_init(&p->mailbox, c->messages_max,
					c->mailbox_bytes_max,
					c->invocations_max + c->receivers_max);
	if (rc == 0)
		rc = praas_inbox_init(&p->inbox);
	if (rc == 0)
		rc = praas_outbox_new(&p->away, &p->outbox);
	if (rc == 0)
		rc = praas_remote_new(&p->away, &p->remote);
	if (rc == 0)
		rc = praas_stage_calls_init(p);
	if (rc == 0)
		rc = praas_requests_init(p);
	return rc;
}

int praas_process_new(const struct praas_process_config *config,
		      struct praas_process **ret_p)
{
	struct praas_process *p;
	int rc;

	if (!config->pool || !config->pool_segment || !config->memory ||
	    !config->executor || config->functions_count > UINT16_MAX)
		return -EINVAL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->config = *config;
	set_defaults(&p->config);
	p->functions_count = config->functions_count;
	p->epoch = config->epoch;
	rc = init_tables(p);
	if (rc != 0) {
		p->executor = NULL; /* stays the caller's */
		praas_process_free(p);
		return rc;
	}
	p->executor = config->executor;
	p->executor->process = p;
	*ret_p = p;
	return 0;
}

void praas_process_identify(struct praas_process *p, praas_pid_t pid, uint32_t epoch)
{
	p->config.pid = pid;
	p->config.epoch = epoch;
	p->epoch = epoch;
	praas_outbox_identify(p->outbox, epoch);
	praas_remote_identify(p->remote, epoch);
}

void praas_process_free(struct praas_process *p)
{
	if (!p)
		return;
	praas_remote_drop(p->remote);
	if (p->executor)
		p->executor->ops->free(p->executor);
	if (p->invocations.slots)
		praas_invoke_drop_all(p);
	for (; p->pending_head != p->pending_tail; p->pending_head++)
		praas_buf_release(
			p->pending[p->pending_head & (p->pending_max - 1)].buf);
	praas_park_release(p);
	praas_slow_release(p);
	praas_process_fetch_release(p);
	praas_remote_free(p->remote);
	praas_outbox_free(p->outbox);
	praas_inbox_release(&p->inbox);
	praas_mailbox_release(&p->mailbox);
	praas_invocations_release(&p->invocations);
	praas_state_release(&p->state);
	praas_triggers_release(&p->triggers);
	praas_stage_calls_release(p);
	praas_lanes_release(&p->lanes);
	praas_timers_release(&p->timers);
	free(p->receivers);
	free(p->pending);
	free(p->plain);
	free(p->sums);
	free(p->members);
	free(p);
}

/* ---- frames ---- */

/* The right that each kind of request needs; 0: none. */
static const uint8_t rights[PRAAS_FRAME_KIND_MAX + 1] = {
	[PRAAS_FRAME_INVOKE] = PRAAS_RIGHT_INVOKE,
	[PRAAS_FRAME_SEND] = PRAAS_RIGHT_SEND,
	[PRAAS_FRAME_MAIL] = PRAAS_RIGHT_SEND,
	[PRAAS_FRAME_PROBE] = PRAAS_RIGHT_INVOKE,
	[PRAAS_FRAME_RECV] = PRAAS_RIGHT_RECV,
	[PRAAS_FRAME_PEEK] = PRAAS_RIGHT_RECV,
	[PRAAS_FRAME_LIST] = PRAAS_RIGHT_RECV,
	[PRAAS_FRAME_HOLD] = PRAAS_RIGHT_RECV,
	[PRAAS_FRAME_TAKEN] = PRAAS_RIGHT_RECV,
	[PRAAS_FRAME_STATE_GET] = PRAAS_RIGHT_STATE_READ,
	[PRAAS_FRAME_STATE_LIST] = PRAAS_RIGHT_STATE_READ,
	[PRAAS_FRAME_STATE_PUT] = PRAAS_RIGHT_STATE_WRITE,
	[PRAAS_FRAME_STATE_DELETE] = PRAAS_RIGHT_STATE_WRITE,
};

void praas_process_forget_conn(struct praas_process *p, const struct praas_conn *conn)
{
	praas_invoke_forget_conn(p, conn);
	praas_requests_forget_conn(p, conn);
	praas_park_forget_conn(p, conn);
	praas_slow_forget_conn(p, conn);
	praas_reply_forget_conn(p, conn);
}

static PRAAS_COLD void on_ping(struct praas_process *p, struct praas_conn *conn,
			       struct praas_buf *buf)
{
	struct praas_frame head = { .kind = PRAAS_FRAME_PONG, .id = buf->head.id };

	praas_buf_release(buf);
	praas_reply_send(p, conn, &head, NULL);
}

void praas_process_drop_conn(struct praas_conn *conn, int rc)
{
	/* Not only we have been told of it: who stands before us forgets it too. */
	conn->events->closed(conn->user, conn, rc);
	conn->ops->close(conn, false);
}

/* A kind that a client may not send here: it does not speak our protocol. */
static PRAAS_COLD void on_nonsense(struct praas_conn *conn, struct praas_buf *buf)
{
	conn->port->protocol_errors++;
	praas_buf_release(buf);
	praas_process_drop_conn(conn, -EPROTO);
}

/* False: it may not be asked, or waits for a checkpoint; buf is gone. missing: rights that it lacks. */
static PRAAS_COLD bool admits(struct praas_process *p, struct praas_conn *conn,
			      struct praas_buf *buf, uint8_t missing)
{
	if (missing == 0)
		return !praas_slow_write(p, conn, buf);
	praas_reply_refuse(p, conn, buf, PRAAS_DENIED, 0);
	return false;
}

static void on_frame(void *user, struct praas_conn *conn, struct praas_buf *buf)
{
	struct praas_process *p = user;
	uint8_t kind = buf->head.kind & PRAAS_FRAME_KIND_MAX;
	uint8_t missing = (uint8_t)(rights[kind] & ~conn->peer_rights);

	/* One look for both. */
	if (praas_unlikely((missing | p->overflows) != 0) &&
	    !admits(p, conn, buf, missing))
		return;
	p->stats.bytes_in += buf->head.bytes;
	switch (kind) {
	case PRAAS_FRAME_INVOKE:
		praas_invoke_frame(p, conn, buf);
		break;
	case PRAAS_FRAME_CANCEL:
		praas_invoke_cancel_frame(p, conn, buf);
		break;
	case PRAAS_FRAME_MAIL:
		praas_inbox_frame(p, conn, buf);
		break;
	case PRAAS_FRAME_PROBE:
		praas_circle_frame(p, conn, buf);
		break;
	case PRAAS_FRAME_PING:
		on_ping(p, conn, buf);
		break;
	case PRAAS_FRAME_CLOSE:
		praas_buf_release(buf); /* closed() follows */
		break;
	default:
		if (!praas_requests_frame(p, conn, buf))
			on_nonsense(conn, buf);
		break;
	}
}

static void on_opened(void *user, struct praas_conn *conn)
{
	struct praas_process *p = user;

	(void)conn;
	p->activity++;
}

static void on_sent(void *user, struct praas_conn *conn, struct praas_buf *buf, int rc)
{
	(void)user;
	(void)conn;
	(void)buf;
	(void)rc; /* a reply that its reader did not take: closed() follows */
}

static void on_closed(void *user, struct praas_conn *conn, int rc)
{
	(void)rc;
	praas_process_forget_conn(user, conn);
}

static const struct praas_conn_events conn_events = {
	.opened = on_opened,
	.frame = on_frame,
	.sent = on_sent,
	.closed = on_closed,
};

const struct praas_conn_events *praas_process_conn_events(void)
{
	return &conn_events;
}

/* ---- the turn ---- */

static void on_trigger_due(struct praas_process *p, struct praas_timer *timer)
{
	/* What fired behind a closed gate could run after its input was put into a snapshot, and
	 * then once more. */
	if (!p->open) {
		timer->deadline_ns = praas_now_ns() + TRIGGER_AGAIN_NS;
		praas_check(praas_timers_put(&p->timers, timer) == 0);
		return;
	}
	praas_stage_due(
		p,
		(struct praas_accumulator *)(void *)((char *)timer -
						     offsetof(struct praas_accumulator,
							      timer)));
}

static void on_timer(struct praas_process *p, struct praas_timer *timer)
{
	if (timer->kind == PRAAS_TIMER_INVOCATION) {
		p->stats.deadlines++;
		praas_invoke_give_up(
			p,
			(struct praas_invocation
				 *)(void *)((char *)timer -
					    offsetof(struct praas_invocation, timer)),
			PRAAS_DEADLINE);
	} else if (timer->kind == PRAAS_TIMER_TRIGGER) {
		on_trigger_due(p, timer);
	} else if (timer->kind == PRAAS_TIMER_STAGES) {
		praas_stage_calls_look(p);
	} else {
		praas_process_wait_due(
			p,
			(struct praas_fn_wait *)(void *)((char *)timer -
							 offsetof(struct praas_fn_wait,
								  timer)));
	}
}

static unsigned poll_timers(struct praas_process *p, unsigned budget)
{
	uint64_t now = praas_now_ns();
	unsigned done = 0;

	while (done < budget) {
		struct praas_timer *timer = praas_timers_take(&p->timers, now);

		if (!timer)
			break;
		on_timer(p, timer);
		done++;
	}
	return done;
}

static void stamp_activity(struct praas_process *p)
{
	if (p->activity == p->activity_seen)
		return;
	p->activity_seen = p->activity;
	p->stats.last_activity_ns = praas_now_ns();
}

/* What waits for the executor; messages and calls to other processes; replies; state. */
__attribute__((noinline)) static unsigned poll_queues(struct praas_process *p)
{
	unsigned done = 0;

	if (p->ready_first)
		praas_invoke_pump(p);
	if (praas_likely(!p->away))
		return 0;
	done = praas_outbox_poll(p->outbox) + praas_remote_poll(p->remote);
	if (praas_unlikely(praas_remote_kept_sent(p->remote)))
		praas_process_changed_inputs(p); /* to which epoch */
	if (praas_unlikely(p->room_first != NULL))
		done += praas_process_room_poll(p);
	if (praas_unlikely(p->pending_head != p->pending_tail))
		done += praas_reply_flush(p);
	if (praas_unlikely(p->overflows))
		done += praas_process_fetch_poll(p) + praas_slow_poll(p, false);
	p->away = praas_outbox_due_ns(p->outbox) != 0 ||
		  praas_remote_due_ns(p->remote) != 0 ||
		  p->pending_head != p->pending_tail || p->overflows;
	return done;
}

unsigned praas_process_poll(struct praas_process *p, unsigned budget)
{
	unsigned done = p->executor->ops->poll(p->executor, budget);

	if (praas_unlikely(p->timers.count != 0))
		done += poll_timers(p, budget);
	/* One look for all of these. */
	if (praas_unlikely(((uintptr_t)p->ready_first | p->away) != 0))
		done += poll_queues(p);
	if (praas_unlikely(p->state.retired_head != p->state.retired_tail))
		praas_state_reclaim(&p->state, false);
	if (praas_unlikely(++p->polls % POLLS_PER_CLOCK == 0)) {
		stamp_activity(p);
		praas_lease_sync_all(&p->state);
	}
	return done;
}

void praas_process_announce(struct praas_process *p)
{
	if (p->executor->ops->announce)
		p->executor->ops->announce(p->executor);
}

/* due_ns 0: never. */
static void wake_at(uint64_t *wake_ns, uint64_t due_ns)
{
	if (due_ns != 0 && (*wake_ns == 0 || due_ns < *wake_ns))
		*wake_ns = due_ns;
}

int praas_process_arm(struct praas_process *p, int *ret_fd, uint64_t *ret_wake_ns)
{
	stamp_activity(p);
	praas_lease_sync_all(&p->state);
	praas_state_reclaim(&p->state, true);
	*ret_wake_ns = praas_timers_next(&p->timers);
	wake_at(ret_wake_ns, praas_outbox_due_ns(p->outbox));
	wake_at(ret_wake_ns, praas_remote_due_ns(p->remote));
	wake_at(ret_wake_ns, praas_slow_due_ns(p));
	/* An answer that could not be sent is tried again soon; nothing tells when. */
	if (p->pending_head != p->pending_tail)
		wake_at(ret_wake_ns, praas_now_ns() + PRAAS_RETRY_AFTER_NS);
	return p->executor->ops->arm(p->executor, ret_fd);
}

void praas_process_gate(struct praas_process *p, bool open)
{
	p->open = open && !p->moved;
	if (!p->open) {
		praas_process_waits_end(p, -ESHUTDOWN);
		if (p->slowed) /* they are refused now */
			(void)praas_slow_poll(p, true);
		return;
	}
	p->interrupted = false;
	if (p->held != 0)
		praas_stage_resume(p);
	if (p->stages.count != 0)
		praas_stage_calls_resume(p);
	if (p->parking)
		praas_park_end(p, true);
}

void praas_process_park(struct praas_process *p)
{
	p->parking = true;
	praas_process_gate(p, false);
}

void praas_process_moved(struct praas_process *p, bool moved)
{
	p->moved = moved;
	if (!moved)
		return;
	praas_process_gate(p, false);
	praas_park_end(p, false);
}

bool praas_process_unsent(const struct praas_process *p)
{
	return p->pending_head != p->pending_tail;
}

void praas_process_drop_unsent(struct praas_process *p)
{
	for (uint64_t i = p->pending_head; i != p->pending_tail; i++) {
		struct praas_conn *conn = p->pending[i & (p->pending_max - 1)].conn;

		if (conn) /* which is forgotten by that */
			praas_process_drop_conn(conn, -ETIMEDOUT);
	}
}

bool praas_process_quiet(const struct praas_process *p)
{
	/* Inputs of triggers that have not fired, what is kept, and what goes on in other processes, are in the snapshot. */
	return p->running == 0 &&
	       p->queued == (uint64_t)p->triggers.waiting + p->held + p->stages.count;
}

void praas_process_outbox_host_set(struct praas_process *p,
				   const struct praas_outbox_host *host)
{
	struct praas_pool_stats pool;
	struct praas_outbox_config config = { .host = *host };

	praas_pool_stats(p->config.pool, &pool);
	config.bytes_max = pool.bytes_total / OUTBOX_POOL_SHARE;
	praas_outbox_configure(p->outbox, &config);
	praas_remote_configure(p->remote, host);
	p->routed = true;
}

void praas_process_way(struct praas_process *p, const struct praas_way *way)
{
	if (way->attempt & PRAAS_REMOTE_ATTEMPT)
		praas_remote_way(p->remote, way);
	else
		praas_outbox_way(p->outbox, way);
}

uint64_t praas_process_away(const struct praas_process *p)
{
	/* Pipelines that go on there move along: nobody stands still for them. */
	return praas_outbox_count(p->outbox) + praas_remote_count(p->remote) -
	       (p->parking ? p->stages.called : 0);
}

void praas_process_disconnect(struct praas_process *p)
{
	praas_remote_disconnect(p->remote);
	praas_outbox_disconnect(p->outbox);
}

struct praas_outbox *praas_process_outbox(struct praas_process *p)
{
	return p->outbox;
}

static int count_dormant(void *user, const struct praas_invocation *inv)
{
	const struct praas_accumulator *a = inv->trigger;

	if (a->timer.position == 0 && inv->timer.position == 0 && !inv->join &&
	    (!inv->conn || (inv->flags & PRAAS_FRAME_ONE_WAY)))
		++*(uint64_t *)user;
	return 0;
}

void praas_process_stats(const struct praas_process *p,
			 struct praas_process_stats *ret_stats)
{
	const struct praas_triggers_visitor v = { .input = count_dormant,
						  .user = &ret_stats->dormant };

	*ret_stats = p->stats;
	(void)praas_triggers_each(&p->triggers, &v);
	ret_stats->running = p->running;
	ret_stats->queued = p->queued;
	ret_stats->mailbox_depth = p->mailbox.count;
	ret_stats->mailbox_bytes = p->mailbox.bytes;
	ret_stats->state_keys = p->state.count;
	ret_stats->state_bytes = p->state.bytes;
	ret_stats->state_version = p->state.version;
	praas_process_overflow_stats(p, ret_stats);
}

struct praas_function_sums *praas_process_sums(const struct praas_process *p)
{
	return p->sums;
}
