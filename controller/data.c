/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/data.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/data_private.h"
#include "controller/snapshot_late.h"
#include "internal/base.h"
#include "shm/log_ring.h"
#include "transport/shm.h"

/*
 * The loop: ports, process, orders; and when all of them have had nothing for long enough, sleep.
 */

#define HOT_TURNS 128u      /* empty ones until a port is as cold as the others */
#define HOT_EAGER 16u       /* the first of these, without a pause between */
#define HOT_LOOKS 64u       /* at one that was busy, before a turn: about 0.2 us */
#define HOT_ALONE_NS 10000u /* the others wait so long for it while they have work */
#define HOT_ALONE_NS_MAX 40000u      /* and no longer while they have none */
#define EXPECT_NS_MAX 16000u         /* about a round trip over TCP */
#define EXPECT_NS_MIN 400u           /* a little more than one over shared memory */
#define EXPECT_MISSES 4u             /* in a row: callers do not come at once */
#define EXPECT_PROBE 64u             /* misses, of which one waits as long as can be */
#define BESIDE_DIRECT_NS 100000u     /* twice a wake-up */
#define BUDGET 64u                   /* units of work of one part in one turn */
#define TURNS_PER_TICK 256u          /* how often a busy loop looks at the clock */
#define TICK_NS 10000000u            /* how often sessions are looked after */
#define SLEEP_MAX_NS 1000000000      /* with connections: their tickets expire */
#define MAIL_PATIENCE_NS 2000000000u /* of a swap-out, for messages to others */
#define CUT_WAIT_NS 2000000000u      /* for updates in place to end */
#define CUT_LOOK_NS 100000u          /* whether they have */
#define GATE_LOOK_NS 1000000 /* whether a connection has room for what may leave */

/* ---- orders ---- */

static uint64_t words_of(const struct praas_data *d)
{
	return (uint64_t)(uintptr_t)strdup(d->text); /* NULL: no words */
}

static uint64_t code_of(int rc)
{
	return (uint64_t)(int64_t)rc;
}

static int import_record(void *user, const struct praas_export_record *record)
{
	return praas_process_import(user, record);
}

static void on_load(struct praas_data *d, const struct praas_data_load *load)
{
	const struct praas_manifest *m = d->config.manifest;
	int rc = 0;

	if (d->loaded) {
		/* Another snapshot slipped in before our ACT: begin again. */
		praas_data_unbuild(d);
		rc = praas_data_build(d);
		if (rc == 0)
			rc = praas_data_identify(d);
		if (rc == 0)
			praas_process_log_set(d->process, praas_data_on_log, d);
	}
	d->loaded = true;
	if (rc == 0 && d->config.config->state_bytes > 0)
		rc = praas_data_overflow_load(d, load);
	else if (rc == 0 && !load->whole)
		rc = praas_snapshot_late_new(load->store, load->snapshot, &d->late);
	if (rc == 0) {
		struct praas_snapshot s = *load->snapshot;

		s.late = d->late;
		s.places = d->places;
		rc = praas_snapshot_load(load->store, &s, m->functions, m->count,
					 import_record, d->process);
	}
	if (rc == 0)
		praas_data_log_begin(d, load->redo);
	praas_data_report(d, PRAAS_REPORT_LOADED, code_of(rc),
			  (uint64_t)(uintptr_t)d->late);
}

static void on_identity(struct praas_data *d)
{
	int rc = praas_data_identify(d);

	/* Beside the reading of its log. Nobody has a ticket before it has joined, and the gate is closed. */
	if (rc == 0 && d->config.config->fresh)
		(void)praas_data_open_ports(d); /* told when it is to serve */
	if (rc != 0)
		praas_data_report(d, PRAAS_REPORT_BUILT, code_of(rc), words_of(d));
}

/* moves: that is why it closes. */
static void gate(struct praas_data *d, bool open, bool moves)
{
	if (moves)
		praas_process_park(d->process);
	else
		praas_process_gate(d->process, open);
	praas_data_direct_open(d, open);
	if (!open && d->sessions)
		praas_session_server_draining(d->sessions, moves);
}

/* What was to end did not. */
static void serve_on(struct praas_data *d)
{
	d->quiet_wanted = false;
	praas_outbox_hold(praas_process_outbox(d->process), false);
	praas_process_stages_hold(d->process, false);
	d->executor->ops->stop(d->executor, 0); /* if it was: it goes on */
	gate(d, true, false);
}

static void try_listen(struct praas_data *d)
{
	int rc = praas_data_listen(d);

	d->listen_wanted = rc == 0;
	if (rc != 0)
		praas_data_report(d, PRAAS_REPORT_LISTENING, code_of(rc > 0 ? 0 : rc),
				  rc > 0 ? 0 : words_of(d));
}

static void try_serve(struct praas_data *d)
{
	int rc = praas_data_listen(d);

	d->serve_wanted = rc == 0;
	if (rc == 0)
		return;
	if (rc > 0 && praas_data_overflow_serve(d) != 0)
		rc = -ENOSPC;
	if (rc > 0) {
		praas_outbox_begin(praas_process_outbox(d->process), d->clean);
		gate(d, true, false);
	}
	praas_data_publish(d);
	praas_data_report(d, PRAAS_REPORT_SERVING, code_of(rc > 0 ? 0 : rc),
			  rc > 0 ? praas_process_queue_cut(d->process) : words_of(d));
}

/* While an object is updated in place a cut would show half of the update: it waits for the end. */
static void try_cut(struct praas_data *d)
{
	struct praas_cut *cut = NULL;
	int rc;

	(void)praas_data_log_turn(d); /* the log has all that the cut will have */
	rc = praas_cut_take(d->process, praas_pool_memory_pool(d->memory),
			    praas_pool_memory_segment(d->memory), d->cut_final, &cut);
	if (rc == 0)
		praas_data_log_mark(d, cut);
	if (rc == -EBUSY && praas_now_ns() < d->cut_until_ns)
		return;
	if (rc == 0 && d->cut_final) { /* what is sent from here on is not in it */
		praas_outbox_hold(praas_process_outbox(d->process), true);
		praas_process_stages_hold(d->process, true);
	}
	praas_data_publish(d); /* what is told when it is written, is of now */
	praas_data_publish_functions(d);
	d->cut_until_ns = 0;
	praas_data_report(d, PRAAS_REPORT_CUT, code_of(rc), (uint64_t)(uintptr_t)cut);
}

static void want_quiet(struct praas_data *d)
{
	d->quiet_wanted = true;
	d->quiet_until_ns = praas_now_ns() + MAIL_PATIENCE_NS;
}

static void want_cut(struct praas_data *d, bool final)
{
	d->cut_final = final;
	d->cut_until_ns = praas_now_ns() + CUT_WAIT_NS;
}

static void on_interrupt(struct praas_data *d)
{
	d->executor->ops->stop(d->executor, praas_now_ns());
	praas_process_interrupt(d->process);
}

static void on_stop(struct praas_data *d, bool moved)
{
	if (moved)
		praas_process_moved(d->process, true);
	d->stop = true;
}

static void on_order(struct praas_data *d, const struct praas_exchange_msg *msg)
{
	void *pointer = (void *)(uintptr_t)msg->a;

	switch ((enum praas_exchange_order)msg->kind) {
	case PRAAS_ORDER_IDENTITY:
		on_identity(d);
		break;
	case PRAAS_ORDER_LOAD:
		on_load(d, pointer);
		break;
	case PRAAS_ORDER_LISTEN:
		d->listen_wanted = true;
		break;
	case PRAAS_ORDER_SERVE:
		d->serve_wanted = true;
		d->clean = msg->a != 0;
		praas_data_log_begin(d, (struct praas_redo *)(uintptr_t)msg->b);
		break;
	case PRAAS_ORDER_GATE_OPEN:
		serve_on(d);
		break;
	case PRAAS_ORDER_GATE_CLOSE:
		gate(d, false, msg->a != 0);
		break;
	case PRAAS_ORDER_WAIT_QUIET:
		want_quiet(d);
		break;
	case PRAAS_ORDER_INTERRUPT:
		on_interrupt(d);
		break;
	case PRAAS_ORDER_CUT:
		want_cut(d, msg->a != 0);
		break;
	case PRAAS_ORDER_CUT_DROP:
		praas_cut_drop(pointer);
		break;
	case PRAAS_ORDER_FUNCTIONS:
		praas_data_publish_functions(d);
		break;
	case PRAAS_ORDER_MEMBERS:
	case PRAAS_ORDER_WAY:
	case PRAAS_ORDER_QUEUE:
		praas_data_mail_order(d, (enum praas_exchange_order)msg->kind, pointer);
		break;
	case PRAAS_ORDER_KEPT:
		praas_data_log_kept(d, msg->a);
		break;
	case PRAAS_ORDER_PLACES:
		praas_data_overflow_places(d, pointer, msg->b);
		break;
	case PRAAS_ORDER_MOVED:
		praas_data_moved(d, pointer);
		break;
	case PRAAS_ORDER_STOP:
		on_stop(d, msg->a != 0);
		break;
	}
}

static unsigned poll_orders(struct praas_data *d)
{
	struct praas_exchange_msg msg;
	unsigned done = 0;

	while (!d->stop && praas_exchange_take_order(d->config.exchange, &msg) == 0) {
		on_order(d, &msg);
		done++;
	}
	return done;
}

/* ---- the loop ---- */

/* A worker's answer has left. Who got it may ask again within a round trip, and a yield would
 * give the core to the worker, which has nothing to do: two switches of the core before we see
 * the request. So we look for it without one, for as long as experience says that it helps. */
static void expect(struct praas_data *d)
{
	d->expecting = d->waiter.mode != PRAAS_WAIT_MODE_BLOCK;
	d->expecting_ns = 0;
	d->hot_turns = d->hot ? HOT_TURNS : 0;
}

/* It came. */
static void expect_met(struct praas_data *d)
{
	d->expecting = false;
	d->expect_misses = 0;
	if (d->expecting_ns != 0)
		d->expect_ns = praas_min_u64(
			praas_max_u64(2 * (praas_now_ns() - d->expecting_ns),
				      EXPECT_NS_MIN),
			EXPECT_NS_MAX);
}

/* Nothing came yet; true: look again at once. */
static bool expects(struct praas_data *d)
{
	uint64_t now = praas_now_ns();

	if (d->expecting_ns == 0)
		d->expecting_ns = now;
	d->hot_turns = d->hot ? HOT_TURNS : 0;
	if (now - d->expecting_ns < d->expect_ns)
		return true;
	d->expecting = false;
	if (++d->expect_misses % EXPECT_PROBE == 0)
		d->expect_ns = EXPECT_NS_MAX;
	else if (d->expect_misses >= EXPECT_MISSES)
		d->expect_ns = EXPECT_NS_MIN;
	return false;
}

unsigned praas_data_poll_parts(struct praas_data *d)
{
	const struct praas_port *hot = d->hot;
	uint64_t asked = d->executor->asked;
	unsigned done = 0, answered;

	d->others_worked = false;
	for (unsigned i = 0; i < d->ports_count; i++) {
		unsigned n = d->ports[i]->ops->poll(d->ports[i], BUDGET);

		if (n > 0) {
			d->others_worked |= d->ports[i] != hot;
			d->hot = d->ports[i];
			d->hot_turns = HOT_TURNS;
		}
		done += n;
	}
	if (praas_unlikely(d->expecting) && done > 0)
		expect_met(d);
	answered = praas_process_poll(d->process, BUDGET);
	if (answered == 0 || !praas_process_quiet(d->process))
		return done + answered;
	expect(d);
	if (d->executor->asked != asked) {
		/* A function that was called past us: it may ask again at once. */
		d->expecting = false;
		d->others_worked = true;
		d->hot_turns = 0;
	}
	return done + answered;
}

/* Who was just answered may ask again within a round trip of the cache line. */
static void await(const struct praas_port *port)
{
	if (!port->ops->ready)
		return;
	for (unsigned i = 0; i < HOT_LOOKS && !port->ops->ready(port); i++)
		;
}

/* The port that had work last is looked at alone for a while: a caller's next request is found in
 * half the time. Not while the process has something under way of its own. */
static unsigned poll_some(struct praas_data *d)
{
	unsigned done;
	uint64_t now;

	if (d->hot_turns == 0 || !praas_process_quiet(d->process)) {
		done = praas_data_poll_parts(d);
		if (!praas_process_quiet(d->process))
			d->hot_turns = 0; /* who is needed may need this core */
		return done;
	}
	await(d->hot);
	done = d->hot->ops->poll(d->hot, BUDGET);
	d->hot_turns = done > 0 ? HOT_TURNS : d->hot_turns - 1;
	if (praas_unlikely(d->expecting) && done > 0)
		expect_met(d);
	/* Behind the answers: their readers are busy with them meanwhile. */
	now = praas_now_ns();
	if (now - d->all_ns < d->alone_ns)
		return done;
	d->all_ns = now;
	done += praas_data_poll_parts(d);
	d->alone_ns = d->others_worked
			      ? HOT_ALONE_NS
			      : praas_min_u64(2 * d->alone_ns, HOT_ALONE_NS_MAX);
	return done;
}

/* What is looked at now and then only. */
static void tick(struct praas_data *d)
{
	uint64_t now = praas_now_ns();

	if (now - d->tick_ns < TICK_NS)
		return;
	d->tick_ns = now;
	if (d->sessions)
		praas_session_server_tick(d->sessions, now);
	if (d->direct_wanted)
		praas_data_direct_poll(d);
	praas_data_publish(d);
}

/* How long it may sleep at most; -1: for ever. */
static int64_t longest_wait(const struct praas_data *d)
{
	if (d->cut_until_ns != 0)
		return CUT_LOOK_NS;
	if (d->log.gate.due > 0)
		return GATE_LOOK_NS;
	if ((d->direct_wanted && d->direct_open) || d->quiet_wanted)
		return TICK_NS;
	if (d->sessions && praas_session_server_due_ns(d->sessions) != UINT64_MAX)
		return SLEEP_MAX_NS;
	return -1;
}

/* Arms everybody; true: nobody has work, and fds are what to wait for. */
static bool arm_all(struct praas_data *d, int *fds, unsigned *ret_count,
		    int64_t *ret_wait_ns)
{
	uint64_t wake_ns = 0, now;
	unsigned count = 0;
	bool idle = true;
	int fd = -1;

	for (unsigned i = 0; i < d->ports_count; i++) {
		fd = -1;
		if (d->ports[i]->ops->arm(d->ports[i], &fd) != 0)
			idle = false;
		if (fd >= 0)
			fds[count++] = fd;
	}
	fd = -1;
	if (praas_process_arm(d->process, &fd, &wake_ns) != 0)
		idle = false;
	if (fd >= 0)
		fds[count++] = fd;
	if (praas_ring_ready(&d->config.exchange->orders_rx))
		idle = false;
	if (!praas_data_log_idle(d))
		idle = false;
	if (d->fetcher && praas_fetcher_ready(d->fetcher))
		idle = false;
	*ret_wait_ns = longest_wait(d);
	if (wake_ns != 0) {
		now = praas_now_ns();
		wake_ns = wake_ns > now ? wake_ns - now : 0;
		if (*ret_wait_ns < 0 || wake_ns < (uint64_t)*ret_wait_ns)
			*ret_wait_ns = (int64_t)wake_ns;
	}
	*ret_count = count;
	return idle;
}

static PRAAS_COLD void sleep_until_work(struct praas_data *d)
{
	struct praas_doorbell *bell = &d->config.exchange->data_doorbell;
	int fds[PRAAS_CONFIG_LISTEN_MAX + 1];
	unsigned count = 0;
	int64_t wait_ns = -1;

	d->hot_turns = 0;
	praas_data_publish(d);
	praas_doorbell_announce(bell);
	for (unsigned i = 0; i < d->ports_count; i++)
		if (d->ports[i]->ops->announce)
			d->ports[i]->ops->announce(d->ports[i]);
	praas_process_announce(d->process);
	/* Once for all of them: it takes tens of microseconds, and others lose them too. */
	praas_doorbell_fence_producers();
	if (arm_all(d, fds, &count, &wait_ns))
		(void)praas_doorbell_sleep(bell, fds, count,
					   wait_ns); /* whatever woke us: look again */
	praas_doorbell_awake(bell);
	d->tick_ns = 0;
	tick(d);
}

static void look_quiet(struct praas_data *d)
{
	if (!praas_process_quiet(d->process) || !praas_data_direct_quiet(d))
		return;
	/* While we rest nobody would send them. */
	if (praas_process_away(d->process) != 0 && praas_now_ns() < d->quiet_until_ns)
		return;
	d->quiet_wanted = false;
	praas_data_report(d, PRAAS_REPORT_QUIET, 0, 0);
}

/* While a worker has something of ours the core is given away at once: it may be the one that
 * the worker needs, and a yield that nobody takes costs less than the hand-over. */
static enum praas_wait_step wait_step(struct praas_data *d)
{
	struct praas_waiter *w = &d->waiter;

	if (!praas_process_quiet(d->process)) {
		w->crowded_ns = UINT64_MAX;
		return praas_waiter_idle_slow(w);
	}
	/* A worker whose direct calls go on is held up by each look of ours on its core: no more of
	 * them than cost as much as waking up again. */
	if (w->idle >= w->pauses)
		w->crowded_ns =
			praas_data_direct_goes_on(d) ? BESIDE_DIRECT_NS : UINT64_MAX;
	return praas_waiter_idle(w);
}

static void serve(struct praas_data *d)
{
	uint32_t turns = 0;

	while (!d->stop) {
		unsigned done = poll_some(d);

		if (praas_unlikely(praas_ring_ready(&d->config.exchange->orders_rx)))
			done += poll_orders(d);
		if (praas_unlikely(d->listen_wanted))
			try_listen(d);
		if (praas_unlikely(d->serve_wanted))
			try_serve(d);
		if (praas_unlikely(d->quiet_wanted))
			look_quiet(d);
		if (praas_unlikely(d->cut_until_ns != 0))
			try_cut(d);
		if (praas_unlikely(d->fetcher != NULL))
			done += praas_data_overflow_turn(d);
		if (praas_unlikely(d->log.redo != NULL))
			done += praas_data_log_turn(d);
		if (praas_unlikely(++turns % TURNS_PER_TICK == 0))
			tick(d);
		if (done > 0)
			praas_waiter_busy(&d->waiter);
		else if ((d->hot_turns > HOT_TURNS - HOT_EAGER &&
			  d->waiter.pauses > HOT_EAGER) ||
			 (d->expecting && expects(d)))
			continue; /* without a pause: it is due any moment */
		else if (wait_step(d) == PRAAS_WAIT_SLEEP)
			sleep_until_work(d);
	}
}

static void *run(void *user)
{
	struct praas_data *d = user;
	int rc = praas_data_build(d);
	struct praas_exchange_msg msg;

	praas_data_report(d, PRAAS_REPORT_BUILT, code_of(rc),
			  rc == 0 ? 0 : words_of(d));
	if (rc == 0) {
		praas_process_log_set(d->process, praas_data_on_log, d);
		serve(d);
		praas_data_flush(d);
	}
	/* Without a process the only order that is understood is the last one. */
	while (!d->stop) {
		if (praas_exchange_take_order(d->config.exchange, &msg) == 0)
			d->stop = msg.kind == PRAAS_ORDER_STOP;
		else
			(void)praas_doorbell_sleep(
				&d->config.exchange->data_doorbell, NULL, 0,
				TICK_NS); /* looks again in any case */
	}
	praas_data_unbuild(d);
	praas_shm_spare_free(d->spare);
	return NULL;
}

int praas_data_start(const struct praas_data_config *config,
		     struct praas_data **ret_data)
{
	struct praas_data *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return -ENOMEM;
	d->config = *config;
	d->expect_ns = EXPECT_NS_MAX;
	d->alone_ns = HOT_ALONE_NS;
	praas_waiter_init(&d->waiter, config->config->wait);
	rc = pthread_create(&d->thread, NULL, run, d);
	if (rc != 0) {
		free(d);
		return -rc;
	}
	*ret_data = d;
	return 0;
}

void praas_data_free(struct praas_data *d)
{
	if (!d)
		return;
	(void)pthread_join(d->thread, NULL); /* ours, joined once */
	free(d);
}

const char *praas_data_endpoint(const struct praas_data *d, unsigned i)
{
	return i < d->ports_count ? d->endpoints[i] : NULL;
}

const char *praas_data_layers(const struct praas_data *d)
{
	return d->layers;
}
