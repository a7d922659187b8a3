/* SPDX-License-Identifier: Apache-2.0
 *
 * usage: praas-perf-dpdk [--rounds N] [--size BYTES]
 *
 * A frame there and back between the two devices that PRAAS_DPDK names (10.77.0.1, 10.77.0.2), a thread
 * and a core each, in turns: bare packets of the device (the floor), and an INVOKE that is answered
 * by a RESULT with the same payload over the datagram transport, sealed and only authenticated.
 * tests/dpdk/run BUILD perf DEVICE makes the devices.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "perf/bench.h"
#include "perf/clock.h"
#include "transport/dgram.h"
#include "transport/dpdk_eal.h"
#include "transport/memory.h"
#include "transport/session.h"

#define WARM_UP 2000u
#define MTU_BYTES 1400u /* of the bare packets' payload at most */

static atomic_bool stop;

static int open_device(const char *text, struct praas_netdev **ret_dev)
{
	char error[256] = "";
	struct praas_inet_ip ip;
	uint8_t prefix;
	bool clear;
	int rc = praas_inet_ip_parse(text, &ip, &prefix);

	if (rc == 0)
		rc = praas_dpdk_netdev_open(&ip, ret_dev, &clear, error, sizeof(error));
	if (rc != 0)
		(void)fprintf(stderr, "%s: %s\n", text, error);
	return rc;
}

/* ---- Bare packets ---- */

/* Takes what has come; true when there was a packet. */
static bool swallow(struct praas_netdev *dev)
{
	struct praas_netdev_frame f[PRAAS_NETDEV_BURST];
	unsigned count = dev->ops->receive(dev, f);

	if (count == 0)
		return false;
	dev->ops->recycle(dev, f, count);
	return true;
}

static void say(struct praas_netdev *dev, const struct praas_netdev *to, uint64_t bytes)
{
	uint32_t heads = praas_inet_udp_bytes(false);
	struct praas_inet_to peer = { .ip = to->self.ip, .from_port = 7, .to_port = 7 };
	uint8_t *frame = dev->ops->room(dev);

	if (frame == NULL)
		return;
	memcpy(peer.mac, to->self.mac, sizeof(peer.mac));
	memset(frame + heads, 'x', bytes);
	praas_inet_udp_build(&dev->self, &peer, frame, (uint32_t)bytes);
	dev->ops->submit(dev, heads + (uint32_t)bytes);
	dev->ops->flush(dev);
}

struct bare {
	struct praas_netdev *server, *client;
	uint64_t bytes;
};

static void *bare_echo(void *arg)
{
	const struct bare *b = arg;

	praas_bench_pin(praas_options.cpu_server);
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		if (swallow(b->server))
			say(b->server, b->client, b->bytes);
	}
	return NULL;
}

/* One there and back. False: lost. */
static bool bare_turn(const struct bare *b)
{
	uint64_t end = praas_now_ns() + UINT64_C(100000000);

	say(b->client, b->server, b->bytes);
	while (!swallow(b->client)) {
		if (praas_now_ns() > end)
			return false;
	}
	return true;
}

static int bare_round(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct bare b = { .bytes = c->size < MTU_BYTES ? c->size : MTU_BYTES };
	pthread_t thread;
	int rc = open_device("10.77.0.1", &b.server);

	if (rc == 0)
		rc = open_device("10.77.0.2", &b.client);
	if (rc != 0)
		return rc;
	atomic_store(&stop, false);
	if (pthread_create(&thread, NULL, bare_echo, &b) != 0)
		return -EAGAIN;
	for (uint64_t i = 0; i < n + WARM_UP; i++) {
		uint64_t begin = praas_perf_ticks();

		if (bare_turn(&b) && i >= WARM_UP)
			praas_hist_add(
				h, praas_perf_ticks_to_ns(praas_perf_ticks() - begin));
	}
	atomic_store(&stop, true);
	(void)pthread_join(thread, NULL); /* it was started */
	b.client->ops->close(b.client);
	b.server->ops->close(b.server);
	return 0;
}

/* ---- Ours ---- */

static const struct praas_transport_ops ops = {
	.scheme = "dpdk",
	.address = praas_dgram_address,
	.connect = praas_dgram_connect,
	.alloc = praas_dgram_alloc,
	.send = praas_dgram_send,
	.poll = praas_dgram_poll,
	.arm = praas_dgram_arm,
	.close = praas_dgram_close,
	.free = praas_dgram_free,
};

struct ours {
	struct praas_port *server, *client;
	struct praas_session_server *session;
	struct praas_heap *server_heap, *client_heap;
	struct praas_conn *conn;
	uint64_t answers;
	int closed;
};

static void on_opened(void *user, struct praas_conn *conn)
{
	((struct ours *)user)->conn = conn;
}

static void on_server_opened(void *user, struct praas_conn *conn)
{
	(void)user;
	(void)conn;
}

static void on_call(void *user, struct praas_conn *conn, struct praas_buf *buf)
{
	struct praas_buf *out;

	(void)user;
	if (ops.alloc(conn, buf->head.bytes, &out) == 0) {
		out->head = buf->head;
		out->head.kind = PRAAS_FRAME_RESULT;
		memcpy(out->data, buf->data, buf->head.bytes);
		(void)praas_conn_send_or_release(conn, out); /* seen as a time-out */
	}
	praas_buf_release(buf);
}

static void on_answer(void *user, struct praas_conn *conn, struct praas_buf *buf)
{
	(void)conn;
	((struct ours *)user)->answers++;
	praas_buf_release(buf);
}

static void on_sent(void *user, struct praas_conn *conn, struct praas_buf *buf, int rc)
{
	(void)user;
	(void)conn;
	(void)buf;
	(void)rc;
}

static void on_closed(void *user, struct praas_conn *conn, int rc)
{
	(void)conn;
	((struct ours *)user)->closed = rc != 0 ? rc : -ECONNRESET;
}

static void on_server_closed(void *user, struct praas_conn *conn, int rc)
{
	(void)user;
	(void)conn;
	(void)rc;
}

static const struct praas_conn_events server_events = { on_server_opened, on_call,
							on_sent, on_server_closed };
static const struct praas_conn_events client_events = { on_opened, on_answer, on_sent,
							on_closed };

static void *serve(void *arg)
{
	const struct ours *o = arg;

	praas_bench_pin(praas_options.cpu_server);
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		(void)ops.poll(o->server, 64);
	return NULL;
}

static int open_port(const char *ip, const struct praas_port_config *port, bool clear,
		     struct praas_port **ret_port)
{
	struct praas_dgram_config c = { .port = *port, .ops = &ops, .clear = clear };
	int rc = open_device(ip, &c.dev);

	return rc != 0 ? rc : praas_dgram_open(&c, ret_port);
}

static int open_ports(struct ours *o, bool clear)
{
	struct praas_session_server_config s = {
		.controller_key = { 1 },
		.expect = { .pid = 5, .epoch = 1 },
		.welcome = { .pid = 5, .epoch = 1, .bytes_max = 1u << 24 },
		.events = &server_events,
		.user = o,
	};
	struct praas_port_config p = { .listen = "dpdk://10.77.0.1:7000",
				       .accept_events = praas_session_server_events(),
				       .accept_key = praas_session_server_key };
	int rc = praas_session_server_new(&s, &o->session);

	if (rc == 0)
		rc = praas_heap_new(NULL, &o->server_heap);
	if (rc == 0)
		rc = praas_heap_new(NULL, &o->client_heap);
	if (rc != 0)
		return rc;
	p.accept_user = o->session;
	p.memory = praas_heap_memory(o->server_heap);
	rc = open_port("10.77.0.1", &p, clear, &o->server);
	p.listen = NULL;
	p.memory = praas_heap_memory(o->client_heap);
	return rc != 0 ? rc : open_port("10.77.0.2", &p, clear, &o->client);
}

static int connect_ours(struct ours *o)
{
	struct praas_session_client_config c = { .events = &client_events, .user = o };
	const uint8_t key[PRAAS_KEY_BYTES] = { 1 };
	uint64_t now_s = (uint64_t)time(NULL);
	struct praas_ticket t = { .pid = 5,
				  .epoch = 1,
				  .source = PRAAS_CLIENT | 1,
				  .rights = PRAAS_RIGHT_ALL,
				  .not_before_s = now_s,
				  .expires_s = now_s + 600 };
	struct praas_conn *conn;
	int rc = praas_ticket_issue(key, &t, c.ticket, c.session_key);

	if (rc == 0)
		rc = praas_session_connect(o->client, "dpdk://10.77.0.1:7000", &c,
					   &conn);
	while (rc == 0 && o->conn == NULL && o->closed == 0)
		(void)ops.poll(o->client, 64);
	return rc != 0 ? rc : o->closed;
}

static bool our_turn(struct ours *o, uint64_t id, uint64_t bytes)
{
	uint64_t want = o->answers + 1;
	struct praas_buf *buf;

	if (ops.alloc(o->conn, bytes, &buf) != 0)
		return false;
	buf->head = (struct praas_frame){ .kind = PRAAS_FRAME_INVOKE,
					  .id = id,
					  .bytes = bytes };
	memset(buf->data, 'x', bytes);
	if (praas_conn_send_or_release(o->conn, buf) != 0)
		return false;
	while (o->answers < want && o->closed == 0)
		(void)ops.poll(o->client, 64);
	return o->closed == 0;
}

static int our_round(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct ours o = { 0 };
	pthread_t thread;
	int rc = open_ports(&o, c->arg != NULL);

	if (rc != 0)
		return rc;
	atomic_store(&stop, false);
	if (pthread_create(&thread, NULL, serve, &o) != 0)
		return -EAGAIN;
	rc = connect_ours(&o);
	for (uint64_t i = 0; rc == 0 && i < n + WARM_UP; i++) {
		uint64_t begin = praas_perf_ticks();

		if (!our_turn(&o, i + 1, c->size))
			rc = -ECONNRESET;
		if (i >= WARM_UP)
			praas_hist_add(
				h, praas_perf_ticks_to_ns(praas_perf_ticks() - begin));
	}
	atomic_store(&stop, true);
	(void)pthread_join(thread, NULL); /* it was started */
	ops.free(o.client);
	ops.free(o.server);
	praas_session_server_free(o.session);
	praas_heap_free(o.client_heap);
	praas_heap_free(o.server_heap);
	return rc;
}

int main(int argc, char **argv)
{
	static const bool clear = true;
	struct praas_contender c[3] = {
		{ .variant = "mbuf", .role = PRAAS_ROLE_FLOOR, .round = bare_round },
		{ .variant = "dpdk-frame", .round = our_round },
		{ .variant = "dpdk-frame-clear", .round = our_round, .arg = &clear },
	};
	uint64_t size = 64;

	praas_options.rounds = 8;
	praas_options.cpu_client = 0;
	praas_options.cpu_server = 1;
	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--rounds") == 0)
			praas_options.rounds = (unsigned)strtoul(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--size") == 0)
			size = strtoull(argv[i + 1], NULL, 10);
	}
	praas_perf_clock_init();
	praas_bench_pin(praas_options.cpu_client);
	for (unsigned i = 0; i < 3; i++) {
		c[i].bench = "invoke";
		c[i].waits = "spin";
		c[i].size = size;
		c[i].n = 5000;
	}
	praas_bench_run(c, 3);
	return c[0].failed != 0 || c[1].failed != 0;
}
