/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes of real code that call one another; who runs, who waits, what connects them, and what becomes of them is
 * the test's.
 */
#ifndef PRAAS_TESTS_PEERS_FIXTURE_H
#define PRAAS_TESTS_PEERS_FIXTURE_H

#include "unit/process_fixture.h"

#include "dataplane/circle.h"
#include "dataplane/members.h"
#include "internal/base.h"
#include "transport/session.h"

#define NODES 3u
#define OUT_MAX 64u

/* An executor whose invocations wait as the test says. */
struct waiter {
	struct manual m;
	struct {
		const struct praas_invocation *inv;
		struct praas_executor_wait wait;
	} waits[8];
	unsigned count;
	unsigned ended; /* waits that were told that they are in a circle */
	uint64_t ended_call;
	char text[PRAAS_ERROR_TEXT_MAX];
};

struct node {
	struct fixture f;
	struct waiter *ex;
	struct fake_conn *client;
	uint64_t asked, attempt; /* for the way to whom; 0: it does not ask */
	uint64_t ids;            /* of the client's calls */
	int32_t status;          /* of the last call of a function that ended */
	unsigned done;
	uint32_t epoch, lost_epoch;
	bool gone; /* deleted */
};

struct link {
	struct praas_conn conn;
	const struct praas_conn_events *events;
	void *user;
	void (*welcome)(void *user, const struct praas_welcome *welcome);
	struct fake_conn *far;
	bool connecting;
	struct praas_buf *out[OUT_MAX];
	unsigned first, last;
	unsigned probes; /* that went by it */
	bool deaf;       /* what comes back is lost */
};

static struct world {
	struct node node[NODES];
	struct link link[NODES][NODES];
	bool old; /* the processes do not know PROBE */
} * w;

static inline uint64_t pid_of(unsigned i)
{
	return i + 1;
}

/* ---- the executor ---- */

static inline bool on_waits(struct praas_executor *base,
			    const struct praas_invocation *inv,
			    struct praas_executor_wait *ret_wait)
{
	const struct waiter *ex = (const struct waiter *)(const void *)base;

	for (unsigned i = 0; i < ex->count; i++) {
		if (ex->waits[i].inv != inv)
			continue;
		*ret_wait = ex->waits[i].wait;
		return true;
	}
	return false;
}

static inline void on_wait_ends(struct praas_executor *base,
				const struct praas_executor_wait *wait,
				const char *text)
{
	struct waiter *ex = (struct waiter *)(void *)base;

	ex->ended++;
	ex->ended_call = wait->call;
	(void)snprintf(ex->text, sizeof(ex->text), "%s", text);
}

static const struct praas_executor_ops waiter_ops = { .name = "waiter",
						      .start = manual_start,
						      .capacity = manual_capacity,
						      .cancel = manual_cancel,
						      .waits = on_waits,
						      .wait_ends = on_wait_ends,
						      .poll = manual_poll,
						      .arm = manual_arm,
						      .stop = manual_stop,
						      .free = manual_free };

/* ---- what connects them ---- */

static inline int link_alloc(struct praas_conn *conn, uint64_t bytes,
			     struct praas_buf **ret_buf)
{
	(void)conn;
	return fixture_alloc(&w->node[0].f, bytes, ret_buf);
}

static inline int link_send(struct praas_conn *conn, struct praas_buf *buf)
{
	struct link *l = (struct link *)(void *)conn;

	assert_true(l->last - l->first < OUT_MAX);
	l->probes += buf->head.kind == PRAAS_FRAME_PROBE;
	l->out[l->last++ % OUT_MAX] = buf;
	return 0;
}

static inline void link_end(struct link *l)
{
	while (l->first != l->last)
		praas_buf_release(l->out[l->first++ % OUT_MAX]);
	if (l->far)
		fake_conn_free(l->far);
	l->far = NULL;
	l->connecting = false;
}

static inline void link_close(struct praas_conn *conn, bool after_flush)
{
	(void)after_flush;
	link_end((struct link *)(void *)conn);
}

static const struct praas_transport_ops link_ops = {
	.scheme = "link", .alloc = link_alloc, .send = link_send, .close = link_close
};

static inline int on_ask(void *user, const struct praas_outbox_question *q)
{
	struct node *n = user;

	if (n->asked)
		return -EAGAIN;
	n->asked = q->receiver;
	n->attempt = q->attempt;
	return 0;
}

static inline int on_connect(void *user, const char *address,
			     const struct praas_ticket_secret *secret,
			     const struct praas_conn_events *events,
			     void (*welcome)(void *user,
					     const struct praas_welcome *welcome),
			     void *events_user, struct praas_conn **ret_conn)
{
	const struct node *n = user;
	struct link *l = &w->link[n - w->node][address[0] - '0'];

	(void)secret;
	assert_null(l->far);
	l->conn = (struct praas_conn){ .ops = &link_ops };
	l->events = events;
	l->user = events_user;
	l->welcome = welcome;
	l->connecting = true;
	*ret_conn = &l->conn;
	return 0;
}

static inline void link_open(unsigned from, unsigned to)
{
	struct link *l = &w->link[from][to];
	char names[FUNCTIONS][PRAAS_NAME_MAX + 1];
	const struct praas_welcome welcome = {
		.functions_count = FUNCTIONS,
		.functions = (const char(*)[PRAAS_NAME_MAX + 1]) names,
		.probes = !w->old
	};

	for (unsigned i = 0; i < FUNCTIONS; i++)
		strcpy(names[i], functions[i].name);
	l->connecting = false;
	l->far = fake_conn_new(&w->node[to].f, 0);
	l->far->base.peer_source = pid_of(from);
	l->welcome(l->user, &welcome);
	l->events->opened(l->user, &l->conn);
}

static inline void link_turn(unsigned from, unsigned to)
{
	struct link *l = &w->link[from][to];

	if (l->connecting)
		link_open(from, to);
	if (l->far && l->first != l->last) {
		struct praas_buf *buf = l->out[l->first++ % OUT_MAX];

		fake_frame_traced(
			l->far, &buf->head, buf->head.key_bytes ? buf->key : NULL,
			buf->data, buf->head.bytes,
			buf->head.flags & PRAAS_FRAME_TRACE ? buf->trace : NULL);
		praas_buf_release(buf);
	}
	while (l->far && fake_has(l->far)) {
		struct praas_buf *buf = fake_take(l->far);

		if (l->deaf)
			praas_buf_release(buf);
		else
			l->events->frame(l->user, &l->conn, buf);
	}
}

static inline void way_turn(struct node *n)
{
	const struct node *to;
	struct praas_way way = { .kind = PRAAS_WAY_MOVED,
				 .receiver = n->asked,
				 .attempt = (uint32_t)n->attempt,
				 .endpoints_count = 1 };

	if (!n->asked)
		return;
	n->asked = 0;
	to = &w->node[way.receiver - 1];
	if (to->gone)
		way.kind = PRAAS_WAY_GONE;
	way.epoch = to->epoch;
	way.lost_epoch = to->lost_epoch;
	way.endpoints[0][0] = (char)('0' + way.receiver - 1);
	praas_process_way(n->f.p, &way);
}

/* Until all that is under way has come. */
static inline void settle(void)
{
	for (unsigned turn = 0; turn < 60; turn++) {
		for (unsigned i = 0; i < NODES; i++) {
			(void)praas_process_poll(w->node[i].f.p, 64);
			way_turn(&w->node[i]);
			for (unsigned k = 0; k < NODES; k++)
				link_turn(i, k);
		}
	}
}

static const struct praas_outbox_host no_host = { .ask = on_ask,
						  .connect = on_connect };

/* A process without anything, whose gate is closed. */
static inline void node_new(unsigned i, uint32_t epoch)
{
	struct node *n = &w->node[i];
	struct praas_outbox_host host = no_host;
	struct praas_process_config config;

	n->epoch = epoch;
	n->asked = 0;
	n->ex = calloc(1, sizeof(*n->ex));
	n->ex->m.base.ops = &waiter_ops;
	n->ex->m.capacity = 16;
	fixture_init(&n->f, 8 << 20);
	config = fixture_config(&n->f, functions, FUNCTIONS);
	config.executor = &n->ex->m.base;
	config.pid = pid_of(i);
	assert_int_equal(praas_process_new(&config, &n->f.p), 0);
	praas_process_identify(n->f.p, pid_of(i), epoch);
	host.user = n;
	praas_process_outbox_host_set(n->f.p, &host);
}

static inline void node_open(unsigned i)
{
	struct node *n = &w->node[i];

	praas_process_gate(n->f.p, true);
	n->client = fake_conn_new(&n->f, 1);
}

/* Its connections break, and it is no more. */
static inline void node_end(unsigned i)
{
	struct node *n = &w->node[i];

	praas_process_disconnect(n->f.p);
	for (unsigned k = 0; k < NODES; k++) {
		struct link *in = &w->link[k][i];
		bool there = in->far || in->connecting;

		link_end(&w->link[i][k]);
		link_end(in);
		if (k != i && there)
			in->events->closed(in->user, &in->conn, -ECONNRESET);
	}
	fake_conn_free(n->client);
	fixture_release(&n->f);
}

static inline int setup_world(void **state)
{
	(void)state;
	w = calloc(1, sizeof(*w));
	for (unsigned i = 0; i < NODES; i++) {
		node_new(i, FIXTURE_EPOCH);
		node_open(i);
	}
	return 0;
}

static inline int teardown_world(void **state)
{
	(void)state;
	for (unsigned i = 0; i < NODES; i++)
		praas_process_disconnect(w->node[i].f.p);
	for (unsigned i = 0; i < NODES * NODES; i++)
		link_end(&w->link[i / NODES][i % NODES]);
	for (unsigned i = NODES; i-- > 0;) {
		fake_conn_free(w->node[i].client);
		fixture_release(&w->node[i].f);
	}
	free(w);
	return 0;
}

/* Of all that are there, by the names a, b, c. */
static inline void know(unsigned i)
{
	struct praas_member_info infos[NODES] = { 0 };
	struct praas_members *list;
	uint32_t count = 0;

	for (unsigned k = 0; k < NODES; k++) {
		if (w->node[k].gone)
			continue;
		infos[count].pid = pid_of(k);
		infos[count].state = PRAAS_MEMBER_ACTIVE;
		infos[count++].name[0] = (char)('a' + k);
	}
	assert_int_equal(praas_members_apply(NULL, infos, count, 1, &list), 0);
	praas_process_members_give(w->node[i].f.p, list);
}

/* ---- who runs and who waits ---- */

/* The one that began last there. */
static inline struct praas_invocation *latest(unsigned i)
{
	const struct manual *m = &w->node[i].ex->m;

	assert_true(m->count > 0);
	return m->running[m->count - 1];
}

static inline struct praas_invocation *begin(unsigned i, uint16_t function,
					     const char *key)
{
	struct node *n = &w->node[i];
	const struct praas_frame head = { .kind = PRAAS_FRAME_INVOKE,
					  .id = ++n->ids,
					  .function = function };

	fake_frame(n->client, &head, key, NULL, 0);
	return latest(i);
}

static inline void on_done(void *user, struct praas_invocation *inv, int32_t status,
			   struct praas_buf *result, uint64_t run_ns)
{
	struct node *n = user;

	(void)inv;
	(void)run_ns;
	n->status = status;
	n->done++;
	praas_buf_release(result);
}

static inline int on_alloc(void *user, uint64_t bytes, struct praas_buf **ret_buf)
{
	return fixture_alloc(&((struct node *)user)->f, bytes, ret_buf);
}

/* inv of node i calls that function of another one, and waits for it. */
static inline uint64_t call(unsigned i, struct praas_invocation *inv, unsigned to,
			    uint32_t function, const char *key)
{
	struct node *n = &w->node[i];
	const struct praas_fn_call c = {
		.destination = pid_of(to),
		.source = pid_of(i),
		.function = function,
		.key = key,
		.key_bytes = (uint32_t)strlen(key),
		.parent = inv,
		.caller = { .done = on_done, .alloc = on_alloc, .user = n }
	};
	uint64_t id;

	assert_int_equal(praas_process_fn_invoke(n->f.p, &c, &id), 0);
	settle();
	return id;
}

static inline void waits(unsigned i, const struct praas_invocation *inv, uint64_t id)
{
	struct waiter *ex = w->node[i].ex;

	ex->waits[ex->count].inv = inv;
	ex->waits[ex->count].wait = (struct praas_executor_wait){
		.call = id, .nonce = 1000 * pid_of(i) + ex->count, .top = inv
	};
	ex->count++;
}

static inline void ask(unsigned i, const struct praas_invocation *inv)
{
	struct praas_executor_wait wait;

	assert_true(on_waits(&w->node[i].ex->m.base, inv, &wait));
	praas_circle_ask(w->node[i].f.p, inv, &wait);
	settle();
}

static inline unsigned told(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NODES; i++)
		n += (unsigned)w->node[i].f.p->stats.circles;
	return n;
}

#endif
