/* SPDX-License-Identifier: Apache-2.0
 * Several ports share a device: each has a thread of its own, which polls or sleeps; what comes for one is read
 * by whichever looks first, and reaches it. Ports come and go meanwhile. A number is one port's.
 * tests/dpdk/run BUILD shared makes the devices, each for RIGS ports. */
#include "tests/conformance/transport/rig.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "transport/dgram.h"

#define RIGS 3u
#define ROUNDS 3u
#define CALLS 300u

static const struct scheme dpdk4 = { .name = "dpdk4",
				     .listen = "dpdk://10.77.0.1:0",
				     .nowhere = "dpdk://10.77.0.1:1",
				     .paced = true };

struct pair {
	struct rig rig;
	pthread_t client, server;
	atomic_bool stop;
};

static void *serve(void *arg)
{
	struct pair *p = arg;

	while (!atomic_load_explicit(&p->stop, memory_order_relaxed))
		rig_poll_or_sleep(&p->rig, p->rig.server_port);
	return NULL;
}

static void one_round(struct pair *p)
{
	struct rig *rig = &p->rig;

	rig_start(rig, &dpdk4, NULL);
	rig->server.echo = true;
	atomic_store(&p->stop, false);
	assert_int_equal(pthread_create(&p->server, NULL, serve, p), 0);
	rig_connect_begin(rig, &rig->client, NULL);
	while (rig->client.opened == 0 && rig->client.closed == 0)
		rig_poll_or_sleep(rig, rig->client_port);
	if (rig->client.opened != 1)
		(void)printf("FAILED: not connected: %s\n",
			     strerror(-rig->client.closed_rc));
	assert_int_equal(rig->client.opened, 1);
	for (unsigned i = 1; i <= CALLS; i++) {
		while (rig_invoke(rig->client.conn, i, i % 10 ? 64 : 70000) != 0)
			rig_poll_or_sleep(rig, rig->client_port);
		while (rig->client.frames < i && rig->client.closed == 0)
			rig_poll_or_sleep(rig, rig->client_port);
	}
	assert_int_equal(rig->client.frames, CALLS);
	atomic_store(&p->stop, true);
	assert_int_equal(pthread_join(p->server, NULL), 0);
	assert_int_equal(rig->client.order_errors + rig->server.order_errors, 0);
	rig_stop(rig);
}

static void *call(void *arg)
{
	for (unsigned i = 0; i < ROUNDS; i++)
		one_round(arg);
	return NULL;
}

static void test_shared_each_gets_its_own(void **state)
{
	static struct pair pair[RIGS];

	(void)state;
	for (unsigned i = 0; i < RIGS; i++)
		assert_int_equal(pthread_create(&pair[i].client, NULL, call, &pair[i]),
				 0);
	for (unsigned i = 0; i < RIGS; i++)
		assert_int_equal(pthread_join(pair[i].client, NULL), 0);
}

static int listen_at(struct rig *rig, const char *addr, struct praas_port **ret_port)
{
	struct praas_port_config c = { .listen = addr,
				       .memory = praas_heap_memory(rig->server_heap),
				       .accept_events = praas_session_server_events(),
				       .accept_user = rig->session,
				       .accept_key = praas_session_server_key };

	return rig->ops->open(&c, ret_port);
}

/* A second port at a number that is taken; more ports than may share the device. */
static void test_shared_limits(void **state)
{
	struct praas_port *port[RIGS], *more;
	static struct rig rig;

	(void)state;
	rig_start(&rig, &dpdk4, NULL);
	assert_int_equal(listen_at(&rig, rig.addr, &more), -EADDRINUSE);
	rig_connect(&rig, &rig.client);
	rig_invoke_wait(&rig, rig.client.conn, 1, 64);
	rig_until(&rig, &rig.server.frames, 1);
	for (unsigned i = 1; i < RIGS; i++)
		assert_int_equal(listen_at(&rig, "dpdk://10.77.0.1:0", &port[i]), 0);
	if (listen_at(&rig, "dpdk://10.77.0.1:0", &more) == 0) { /* the ring has more */
		rig.ops->free(more);
	} else {
		assert_int_equal(listen_at(&rig, "dpdk://10.77.0.1:0", &more),
				 -EADDRINUSE);
		assert_string_equal(rig.ops->why(),
				    "PRAAS_DPDK has no device that is free");
	}
	for (unsigned i = 1; i < RIGS; i++)
		rig.ops->free(port[i]);
	rig_stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shared_each_gets_its_own),
		cmocka_unit_test(test_shared_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
