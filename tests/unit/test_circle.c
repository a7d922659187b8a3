/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes of real code whose functions wait for one another; who runs, who waits, and what connects them is the test's.
 */
#include "unit/peers_fixture.h"

#include "dataplane/probe.h"

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
	assert_int_equal(w->node[0].f.p->queued + w->node[0].f.p->stats.bytes_in, 0);
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

/* The function that began last there has ended, and its pipeline goes on. */
static void goes_on(unsigned i)
{
	struct manual *m = &w->node[i].ex->m;
	struct praas_invocation *inv = latest(i);

	m->count--;
	praas_process_complete(w->node[i].f.p, inv, 0, NULL, 0);
	settle();
}

/* Through a pipeline that goes on in another process: nobody waits for it in an executor, so the others are told. */
static void test_circle_pipeline(void **state)
{
	struct praas_invocation *b;

	(void)state;
	know(0);
	(void)begin(0, AWAY_SERIAL, "");
	goes_on(0);
	b = latest(1);
	waits(1, b, call(1, b, 0, AWAY_SERIAL, ""));
	assert_int_equal(w->node[0].ex->m.count, 1); /* its lane is free */
	ask(1, b);
	assert_int_equal(told(), 0); /* it runs */
	goes_on(0);
	ask(1, b);
	assert_int_equal(w->node[1].ex->ended, 1);
	assert_string_equal(w->node[1].ex->text,
			    "it would wait for itself: away_serial (pid 1) -> serial "
			    "(pid 2) -> away_serial (pid 1)");
	assert_int_equal(praas_process_fn_cancel(w->node[1].f.p, pid_of(1),
						 w->node[1].ex->ended_call),
			 0);
	settle();
	assert_int_equal(w->node[1].status, PRAAS_CANCELLED);
	assert_int_equal(w->node[1].f.p->queued, 0);
	assert_int_equal(w->node[0].f.p->stages.count, 1);
}

/* Who waits for one in its own process that goes on elsewhere asks; told is who called last. */
static void test_circle_pipeline_within(void **state)
{
	struct praas_invocation *a, *b;

	(void)state;
	know(0);
	a = begin(0, SERIAL, "");
	waits(0, a, call(0, a, 0, AWAY, ""));
	goes_on(0);
	b = latest(1);
	waits(1, b, call(1, b, 0, SERIAL, ""));
	ask(0, a);
	assert_int_equal(told(), 0);
	ask(1, b);
	assert_int_equal(w->node[1].ex->ended, 1);
	assert_string_equal(w->node[1].ex->text,
			    "it would wait for itself: serial (pid 1) -> away "
			    "(pid 1) -> plain (pid 2) -> serial (pid 1)");
}

/* Nobody waits but who began it all, for pipelines that come back to its own lane. */
static void test_circle_pipeline_alone(void **state)
{
	struct praas_invocation *c;

	(void)state;
	know(1);
	know(2);
	c = begin(2, SERIAL, "");
	waits(2, c, call(2, c, 2, AWAY_FIRST, ""));
	ask(2, c);
	assert_int_equal(told(), 0); /* that runs still */
	goes_on(2);
	ask(2, c);
	assert_int_equal(told(), 0); /* so does the next */
	goes_on(1);
	assert_int_equal(w->node[2].ex->m.count, 1);
	ask(2, c);
	assert_int_equal(w->node[2].ex->ended, 1);
	assert_int_equal(w->node[2].ex->ended_call, w->node[2].ex->waits[0].wait.call);
	assert_string_equal(w->node[2].ex->text,
			    "it would wait for itself: away_first (pid 3) -> "
			    "away_second (pid 2) -> serial (pid 3) -> away_first "
			    "(pid 3)");
	assert_int_equal(praas_process_fn_cancel(w->node[2].f.p, pid_of(2),
						 w->node[2].ex->ended_call),
			 0);
	settle();
	assert_int_equal(w->node[2].status, PRAAS_CANCELLED);
	assert_int_equal(w->node[2].f.p->queued, 0);
	assert_int_equal(w->node[1].f.p->queued, 0);
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
		T(back),           T(per_key),  T(none),
		T(long_way),       T(crossed),  T(outside),
		T(old_peer),       T(pipeline), T(pipeline_within),
		T(pipeline_alone), T(hostile),
	};
#undef T
	return cmocka_run_group_tests(tests, NULL, NULL);
}
