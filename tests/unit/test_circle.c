/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes of real code whose functions wait for one another; who runs, who waits, and what connects them is the test's.
 */
#include "unit/process_fixture.h"

#include "dataplane/circle.h"
#include "dataplane/probe.h"
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
};

static struct world {
	struct node node[NODES];
	struct link link[NODES][NODES];
	bool old; /* the processes do not know PROBE */
} * w;

static uint64_t pid_of(unsigned i)
{
	return i + 1;
}

/* ---- the executor ---- */

static bool on_waits(struct praas_executor *base, const struct praas_invocation *inv,
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

static void on_wait_ends(struct praas_executor *base,
			 const struct praas_executor_wait *wait, const char *text)
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

static int link_alloc(struct praas_conn *conn, uint64_t bytes,
		      struct praas_buf **ret_buf)
{
	(void)conn;
	return fixture_alloc(&w->node[0].f, bytes, ret_buf);
}

static int link_send(struct praas_conn *conn, struct praas_buf *buf)
{
	struct link *l = (struct link *)(void *)conn;

	assert_true(l->last - l->first < OUT_MAX);
	l->probes += buf->head.kind == PRAAS_FRAME_PROBE;
	l->out[l->last++ % OUT_MAX] = buf;
	return 0;
}

static void link_end(struct link *l)
{
	while (l->first != l->last)
		praas_buf_release(l->out[l->first++ % OUT_MAX]);
	if (l->far)
		fake_conn_free(l->far);
	l->far = NULL;
	l->connecting = false;
}

static void link_close(struct praas_conn *conn, bool after_flush)
{
	(void)after_flush;
	link_end((struct link *)(void *)conn);
}

static const struct praas_transport_ops link_ops = {
	.scheme = "link", .alloc = link_alloc, .send = link_send, .close = link_close
};

static int on_ask(void *user, const struct praas_outbox_question *q)
{
	struct node *n = user;

	if (n->asked)
		return -EAGAIN;
	n->asked = q->receiver;
	n->attempt = q->attempt;
	return 0;
}

static int on_connect(void *user, const char *address,
		      const struct praas_ticket_secret *secret,
		      const struct praas_conn_events *events,
		      void (*welcome)(void *user, const struct praas_welcome *welcome),
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

static void link_open(unsigned from, unsigned to)
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

static void link_turn(unsigned from, unsigned to)
{
	struct link *l = &w->link[from][to];

	if (l->connecting)
		link_open(from, to);
	if (l->far && l->first != l->last) {
		struct praas_buf *buf = l->out[l->first++ % OUT_MAX];

		fake_frame(l->far, &buf->head, buf->head.key_bytes ? buf->key : NULL,
			   buf->data, buf->head.bytes);
		praas_buf_release(buf);
	}
	while (l->far && fake_has(l->far))
		l->events->frame(l->user, &l->conn, fake_take(l->far));
}

static void way_turn(struct node *n)
{
	struct praas_way way = { .kind = PRAAS_WAY_MOVED,
				 .receiver = n->asked,
				 .attempt = (uint32_t)n->attempt,
				 .epoch = FIXTURE_EPOCH,
				 .endpoints_count = 1 };

	if (!n->asked)
		return;
	n->asked = 0;
	way.endpoints[0][0] = (char)('0' + way.receiver - 1);
	praas_process_way(n->f.p, &way);
}

/* Until all that is under way has come. */
static void settle(void)
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

static int setup_world(void **state)
{
	(void)state;
	w = calloc(1, sizeof(*w));
	for (unsigned i = 0; i < NODES; i++) {
		struct node *n = &w->node[i];
		struct praas_outbox_host host = no_host;
		struct praas_process_config config;

		n->ex = calloc(1, sizeof(*n->ex));
		n->ex->m.base.ops = &waiter_ops;
		n->ex->m.capacity = 16;
		fixture_init(&n->f, 8 << 20);
		config = fixture_config(&n->f, functions, FUNCTIONS);
		config.executor = &n->ex->m.base;
		config.pid = pid_of(i);
		assert_int_equal(praas_process_new(&config, &n->f.p), 0);
		praas_process_identify(n->f.p, pid_of(i), FIXTURE_EPOCH);
		host.user = n;
		praas_process_outbox_host_set(n->f.p, &host);
		praas_process_gate(n->f.p, true);
		n->client = fake_conn_new(&n->f, 1);
	}
	return 0;
}

static int teardown_world(void **state)
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

/* ---- who runs and who waits ---- */

/* The one that began last there. */
static struct praas_invocation *latest(unsigned i)
{
	const struct manual *m = &w->node[i].ex->m;

	assert_true(m->count > 0);
	return m->running[m->count - 1];
}

static struct praas_invocation *begin(unsigned i, uint16_t function, const char *key)
{
	struct node *n = &w->node[i];
	const struct praas_frame head = { .kind = PRAAS_FRAME_INVOKE,
					  .id = ++n->ids,
					  .function = function };

	fake_frame(n->client, &head, key, NULL, 0);
	return latest(i);
}

static void on_done(void *user, struct praas_invocation *inv, int32_t status,
		    struct praas_buf *result, uint64_t run_ns)
{
	struct node *n = user;

	(void)inv;
	(void)run_ns;
	n->status = status;
	n->done++;
	praas_buf_release(result);
}

static int on_alloc(void *user, uint64_t bytes, struct praas_buf **ret_buf)
{
	return fixture_alloc(&((struct node *)user)->f, bytes, ret_buf);
}

/* inv of node i calls that function of another one, and waits for it. */
static uint64_t call(unsigned i, struct praas_invocation *inv, unsigned to,
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

static void waits(unsigned i, const struct praas_invocation *inv, uint64_t id)
{
	struct waiter *ex = w->node[i].ex;

	ex->waits[ex->count].inv = inv;
	ex->waits[ex->count].wait = (struct praas_executor_wait){
		.call = id, .nonce = 1000 * pid_of(i) + ex->count, .top = inv
	};
	ex->count++;
}

static void ask(unsigned i, const struct praas_invocation *inv)
{
	struct praas_executor_wait wait;

	assert_true(on_waits(&w->node[i].ex->m.base, inv, &wait));
	praas_circle_ask(w->node[i].f.p, inv, &wait);
	settle();
}

static unsigned told(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NODES; i++)
		n += w->node[i].ex->ended;
	return n;
}

/* a of the first calls b of the second, which calls a. */
static void back(uint16_t function, const char *key, struct praas_invocation **ret_a,
		 struct praas_invocation **ret_b)
{
	uint64_t id;

	*ret_a = begin(0, function, key);
	id = call(0, *ret_a, 1, function, key);
	waits(0, *ret_a, id);
	*ret_b = latest(1);
	id = call(1, *ret_b, 0, function, key);
	waits(1, *ret_b, id);
}

/* Who called last is told, by name, whoever asks first; the other one is not. */
static void test_circle_back(void **state)
{
	struct praas_invocation *a, *b;

	(void)state;
	back(SERIAL, "", &a, &b);
	assert_int_equal(w->node[0].ex->m.count, 1); /* the second one is queued */
	ask(0, a);
	assert_int_equal(told(), 0);
	ask(1, b);
	assert_int_equal(told(), 1);
	assert_int_equal(w->node[1].ex->ended, 1);
	assert_int_equal(w->node[1].ex->ended_call, w->node[1].ex->waits[0].wait.call);
	assert_string_equal(w->node[1].ex->text,
			    "it would wait for itself: serial (pid 1) -> serial "
			    "(pid 2) -> serial (pid 1)");
	/* As its executor does then: what it called is withdrawn, and never runs. */
	assert_int_equal(praas_process_fn_cancel(w->node[1].f.p, pid_of(1),
						 w->node[1].ex->ended_call),
			 0);
	settle();
	assert_int_equal(w->node[1].status, PRAAS_CANCELLED);
	assert_int_equal(w->node[0].f.p->queued, 0);
	assert_int_equal(w->node[0].ex->m.count, 1);
}

/* A key of its own is a lane of its own. */
static void test_circle_per_key(void **state)
{
	struct praas_invocation *a, *b;
	uint64_t id;

	(void)state;
	back(PER_KEY, "k", &a, &b);
	ask(1, b);
	assert_int_equal(told(), 1);
	w->node[1].ex->count = 0;
	id = call(1, b, 0, PER_KEY, "other");
	assert_int_equal(w->node[0].ex->m.count, 2); /* it runs */
	waits(1, b, id);
	ask(1, b);
	assert_int_equal(told(), 1);
}

/* Who works, or waits for anything else, ends the way. */
static void test_circle_none(void **state)
{
	struct praas_invocation *a, *b;

	(void)state;
	back(SERIAL, "", &a, &b);
	w->node[0].ex->count = 0; /* the first one has not come to wait yet */
	ask(1, b);
	assert_int_equal(told(), 0);
	assert_int_equal(w->link[1][0].probes, 1);
	assert_int_equal(w->link[0][1].probes, 0);
	waits(0, a, w->node[1].ex->waits[0].wait.call + 1); /* for nothing */
	ask(1, b);
	assert_int_equal(told(), 0);
}

/* Through a third process, by functions that are not serial, and within one. */
static void test_circle_long_way(void **state)
{
	struct praas_invocation *a, *b, *c, *inner;
	uint64_t id;

	(void)state;
	a = begin(0, SERIAL, "");
	id = call(0, a, 0, PLAIN, ""); /* in its own process */
	waits(0, a, id);
	inner = latest(0);
	waits(0, inner, call(0, inner, 1, PLAIN, ""));
	b = latest(1);
	waits(1, b, call(1, b, 2, QUEUE, ""));
	c = latest(2);
	waits(2, c, call(2, c, 0, SERIAL, ""));
	ask(0, inner);
	ask(1, b);
	assert_int_equal(told(), 0);
	ask(2, c);
	assert_int_equal(w->node[2].ex->ended, 1);
	assert_string_equal(w->node[2].ex->text,
			    "it would wait for itself: serial (pid 1) -> plain "
			    "(pid 1) -> plain (pid 2) -> queue (pid 3) -> serial "
			    "(pid 1)");
}

/* Two callers that know nothing of each other. */
static void test_circle_crossed(void **state)
{
	struct praas_invocation *a, *b;

	(void)state;
	a = begin(0, SERIAL, "");
	b = begin(1, SERIAL, "");
	waits(1, b, call(1, b, 0, SERIAL, ""));
	waits(0, a, call(0, a, 1, SERIAL, ""));
	ask(1, b);
	assert_int_equal(told(), 0);
	ask(0, a);
	assert_int_equal(w->node[0].ex->ended, 1);
	assert_string_equal(w->node[0].ex->text,
			    "it would wait for itself: serial (pid 2) -> serial "
			    "(pid 1) -> serial (pid 2)");
}

/* Who waits for one that is in a circle is not in it. */
static void test_circle_outside(void **state)
{
	struct praas_invocation *a, *b, *c;

	(void)state;
	back(SERIAL, "", &a, &b);
	c = begin(2, PLAIN, "");
	waits(2, c, call(2, c, 0, SERIAL, ""));
	ask(2, c); /* goes round until the way is full */
	assert_int_equal(told(), 0);
	assert_in_range(w->link[0][1].probes + w->link[1][0].probes, 30, 32);
}

/* A connection to one who does not know the frame is spared it. */
static void test_circle_old_peer(void **state)
{
	struct praas_invocation *a, *b;

	(void)state;
	w->old = true;
	back(SERIAL, "", &a, &b);
	ask(1, b);
	assert_int_equal(told(), 0);
	assert_int_equal(w->link[1][0].probes, 0);
}

/* ---- hostile ---- */

static struct praas_probe probe_of(unsigned i, unsigned which)
{
	const struct waiter *ex = w->node[i].ex;
	struct praas_probe probe = { .pid = pid_of(i),
				     .call = ex->waits[which].wait.call,
				     .nonce = ex->waits[which].wait.nonce,
				     .latest_ns = praas_remote_began_ns(
					     w->node[i].f.p->remote,
					     ex->waits[which].wait.call) };

	assert_int_equal(praas_probe_add(&probe, pid_of(i), "serial"), 0);
	return probe;
}

/* As a peer of node 0 with that identity says it, of the call that node 1 waits for. */
static bool says(uint64_t source, uint32_t epoch, uint64_t id,
		 const struct praas_probe *probe, uint64_t bytes)
{
	const struct praas_frame head = { .kind = PRAAS_FRAME_PROBE,
					  .epoch = epoch,
					  .id = id };
	struct fake_conn *c = fake_conn_new(&w->node[0].f, 0);
	uint8_t wire[PRAAS_PROBE_BYTES_MAX + 8] = { 0 };
	bool closed;

	c->base.peer_source = source;
	praas_probe_encode(probe, wire);
	fake_frame(c, &head, NULL, wire, bytes ? bytes : praas_probe_bytes(probe));
	closed = c->closed;
	fake_conn_free(c);
	settle();
	return !closed;
}

/* A client asks nothing; what a process makes up leads nowhere. */
static void test_circle_hostile(void **state)
{
	struct praas_invocation *a, *b;
	struct praas_probe probe;
	unsigned before;
	uint64_t id = 0;

	(void)state;
	back(SERIAL, "", &a, &b);
	for (const struct praas_memo *m = w->node[0].f.p->invocations.memos; id == 0;
	     m++)
		if (m->source == pid_of(1))
			id = m->id;
	probe = probe_of(1, 0);
	assert_false(says(PRAAS_CLIENT | 7, FIXTURE_EPOCH, id, &probe, 0));
	assert_false(says(pid_of(1), FIXTURE_EPOCH, id, &probe, 8));
	assert_false(says(pid_of(1), FIXTURE_EPOCH, id, &probe,
			  praas_probe_bytes(&probe) + 8));
	assert_int_equal(w->link[0][1].probes, 0);
	/* Of another identity, epoch, or call: nobody's. */
	assert_true(says(pid_of(2), FIXTURE_EPOCH, id, &probe, 0));
	assert_true(says(pid_of(1), FIXTURE_EPOCH + 1, id, &probe, 0));
	assert_true(says(pid_of(1), FIXTURE_EPOCH, id + 1, &probe, 0));
	assert_int_equal(w->link[0][1].probes, 0);
	probe.nonce++; /* comes back, and is not believed */
	assert_true(says(pid_of(1), FIXTURE_EPOCH, id, &probe, 0));
	assert_int_equal(w->link[0][1].probes, 1);
	assert_int_equal(told(), 0);
	probe = probe_of(1, 0);
	before = w->link[0][1].probes;
	while (probe.count < PRAAS_CIRCLE_MAX)
		assert_int_equal(praas_probe_add(&probe, 9, "x"), 0);
	assert_true(says(pid_of(1), FIXTURE_EPOCH, id, &probe, 0)); /* no room */
	assert_int_equal(w->link[0][1].probes, before);
	probe = probe_of(1, 0);
	assert_true(says(pid_of(1), FIXTURE_EPOCH, id, &probe, 0)); /* the truth */
	assert_int_equal(told(), 1);
}

int main(void)
{
#define T(name)                                                                        \
	cmocka_unit_test_setup_teardown(test_circle_##name, setup_world, teardown_world)
	const struct CMUnitTest tests[] = {
		T(back),    T(per_key), T(none),     T(long_way),
		T(crossed), T(outside), T(old_peer), T(hostile),
	};
#undef T
	return cmocka_run_group_tests(tests, NULL, NULL);
}
