/* SPDX-License-Identifier: Apache-2.0
 * What a call over verbs costs: posts and completions, system calls, copies and registrations. */
#include "verbs_cost.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/perf_event.h>

#include "transport/sealed_port.h"

#define BURST 16u

/* librdmacm allocates an event for each question, and a sanitizer does not use freed memory again soon: it
 * asks the kernel for more. */
#ifdef __SANITIZE_ADDRESS__
#define SANITIZER 8u
#else
#define SANITIZER 0u
#endif

const struct scheme verbs_scheme = { .name = "verbs",
				     .listen = "verbs://10.99.0.1:0",
				     .nowhere = "verbs://10.99.0.1:1" };
struct rig verbs_rig;

struct praas_verbs_stats verbs_stats(const struct praas_port *port)
{
	struct praas_verbs_stats s;

	praas_verbs_port_stats(port, &s);
	return s;
}

/* One request and one answer: one work request and one arrival on each side, and nothing beside; no
 * payload is copied beside `copied` a call, and no memory registered. below: the port of the device. */
static void one_post_a_message(const struct scheme *scheme, uint64_t copied,
			       const struct praas_port *(*below)(void))
{
	enum { CALLS = 320 };
	struct praas_verbs_stats a, b;
	uint64_t copies;

	rig_start(&verbs_rig, scheme, NULL);
	verbs_rig.server.echo = true;
	rig_connect(&verbs_rig, &verbs_rig.client);
	for (unsigned i = 1; i <= 640; i++) {
		assert_int_equal(rig_invoke(verbs_rig.client.conn, i, 64), 0);
		rig_until(&verbs_rig, &verbs_rig.client.frames, i);
	}
	a = verbs_stats(below());
	copies = verbs_rig.client_port->copies + verbs_rig.server_port->copies;
	for (unsigned i = 641; i <= 640 + CALLS; i++) {
		assert_int_equal(rig_invoke(verbs_rig.client.conn, i, 64), 0);
		rig_until(&verbs_rig, &verbs_rig.client.frames, i);
	}
	b = verbs_stats(below());
	assert_int_equal(b.sends - a.sends, CALLS);
	assert_int_equal(b.posts - a.posts, CALLS);
	assert_int_equal(b.receives - a.receives, CALLS);
	assert_int_equal(b.receive_posts - a.receive_posts,
			 CALLS / (PRAAS_VERBS_SLOTS / PRAAS_VERBS_REPOST_PART));
	/* One of sixteen sends says that it is done. */
	assert_int_equal(b.completions - a.completions, CALLS + CALLS / 16);
	assert_int_equal(b.tells, a.tells);
	assert_int_equal(b.bulk, a.bulk);
	assert_int_equal(b.registrations, a.registrations);
	assert_int_equal(verbs_rig.client_port->copies + verbs_rig.server_port->copies,
			 copies + CALLS * copied);
	rig_stop(&verbs_rig);
}

static const struct praas_port *own_port(void)
{
	return verbs_rig.client_port;
}

void test_verbs_one_post_a_message(void **state)
{
	(void)state;
	one_post_a_message(&verbs_scheme, 0, own_port);
}

static const struct praas_port *sealed_port(void)
{
	return ((const struct praas_sealed_port *)(const void *)verbs_rig.client_port)
		->inner;
}

/* Sealed, the same; that each side encrypts to another place counts as a copy. */
void test_verbs_sealed_is_one_post_too(void **state)
{
	(void)state;
	one_post_a_message(scheme_find("sealed.verbs"), 2, sealed_port);
}

/* Counts the system calls of this thread; -1: this kernel cannot. */
static int count_system_calls(void)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_TRACEPOINT,
					.size = sizeof(attr) };
	unsigned long long id;
	FILE *f;

	(void)mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL); /* it is */
	f = fopen("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id", "re");
	if (f == NULL)
		return -1;
	if (fscanf(f, "%llu", &id) == 1)
		attr.config = id;
	(void)fclose(f); /* was read */
	return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1,
			    PERF_FLAG_FD_CLOEXEC);
}

static uint64_t counted(int counter)
{
	uint64_t value = 0;

	assert_int_equal(read(counter, &value, sizeof(value)), sizeof(value));
	return value;
}

/* A look for what has come, and a call under way, enter the kernel for nothing but the posts, for which a
 * device of the kernel's own needs it; once in 256 looks the connection manager is asked. Where looking
 * takes seconds (an emulated machine, a sanitizer) a quiet connection asks its peer meanwhile: a post. */
void test_verbs_polls_without_system_calls(void **state)
{
	enum { LOOKS = 100000, CALLS = 320, MANAGER = 256 };
	struct praas_verbs_stats a, b, server_a, server_b;
	unsigned looks = 0;
	uint64_t before, after, posts;
	int counter;

	(void)state;
	counter = count_system_calls();
	if (counter < 0)
		skip();
	rig_start(&verbs_rig, &verbs_scheme, NULL);
	verbs_rig.server.echo = true;
	rig_connect(&verbs_rig, &verbs_rig.client);
	for (unsigned i = 1; i <= 640; i++) {
		assert_int_equal(rig_invoke(verbs_rig.client.conn, i, 64), 0);
		rig_until(&verbs_rig, &verbs_rig.client.frames, i);
	}
	a = verbs_stats(verbs_rig.client_port);
	before = counted(counter);
	for (unsigned i = 0; i < LOOKS; i++)
		(void)verbs_rig.ops->poll(verbs_rig.client_port, 64);
	after = counted(counter);
	posts = verbs_stats(verbs_rig.client_port).posts - a.posts;
	assert_in_range(after - before, 1, LOOKS / MANAGER + 2 + posts + SANITIZER);

	a = verbs_stats(verbs_rig.client_port);
	server_a = verbs_stats(verbs_rig.server_port);
	before = counted(counter);
	for (unsigned i = 641; i <= 640 + CALLS; i++) {
		assert_int_equal(rig_invoke(verbs_rig.client.conn, i, 64), 0);
		for (; verbs_rig.client.frames < i; looks++) {
			(void)verbs_rig.ops->poll(verbs_rig.server_port, 64);
			(void)verbs_rig.ops->poll(verbs_rig.client_port, 64);
		}
	}
	after = counted(counter);
	b = verbs_stats(verbs_rig.client_port);
	server_b = verbs_stats(verbs_rig.server_port);
	posts = b.posts - a.posts + server_b.posts - server_a.posts;
	assert_int_equal(posts, 2 * CALLS);
	(void)printf("%llu system calls, %llu posts, %u looks\n",
		     (unsigned long long)(after - before), (unsigned long long)posts,
		     looks);
	assert_in_range(after - before, 1,
			posts + 2 * (looks / MANAGER + 1) + 1 + SANITIZER);
	rig_stop(&verbs_rig);
	(void)close(counter); /* only counted */
}

/* What is to be sent between two polls, and all that one poll answers, is one post each; as many as there
 * are credits for. Who sends so for the first time does not know it yet. */
void test_verbs_queued_messages_are_one_post(void **state)
{
	struct praas_verbs_stats a, b, server_a, server_b;
	unsigned sent = 0;

	(void)state;
	rig_start(&verbs_rig, &verbs_scheme, NULL);
	verbs_rig.server.echo = true;
	rig_connect(&verbs_rig, &verbs_rig.client);
	for (unsigned round = 0; round < 4; round++) {
		verbs_rig.server_paused = true;
		a = verbs_stats(verbs_rig.client_port);
		server_a = verbs_stats(verbs_rig.server_port);
		for (unsigned i = 0; i < BURST; i++)
			assert_int_equal(rig_invoke(verbs_rig.client.conn, ++sent, 64),
					 0);
		rig_run_ms(&verbs_rig, 100); /* the device has carried them */
		b = verbs_stats(verbs_rig.client_port);
		verbs_rig.server_paused = false;
		rig_until(&verbs_rig, &verbs_rig.client.frames, sent);
		server_b = verbs_stats(verbs_rig.server_port);
		assert_int_equal(b.sends - a.sends, BURST);
		assert_int_equal(b.posts - a.posts, round == 0 ? 2 : 1);
		assert_int_equal(server_b.sends - server_a.sends, BURST);
		assert_int_equal(server_b.posts - server_a.posts, 1);
		assert_true(server_b.receive_posts - server_a.receive_posts <=
			    BURST / (PRAAS_VERBS_SLOTS / PRAAS_VERBS_REPOST_PART) + 1);
	}
	rig_stop(&verbs_rig);
}

/* A large payload is sent from where it lies into the buffer that is handed up. */
void test_verbs_large_is_not_copied(void **state)
{
	uint64_t copies;

	(void)state;
	rig_start(&verbs_rig, &verbs_scheme, NULL);
	rig_connect(&verbs_rig, &verbs_rig.client);
	verbs_rig.server.keep = true;
	copies = verbs_rig.client_port->copies + verbs_rig.server_port->copies;
	rig_invoke_wait(&verbs_rig, verbs_rig.client.conn, 1, LARGE);
	rig_until(&verbs_rig, &verbs_rig.server.frames, 1);
	assert_true(rig_pattern_is(verbs_rig.server.kept));
	assert_true(verbs_rig.server.kept->capacity >= LARGE);
	rig_until(&verbs_rig, &verbs_rig.client.sent, 1);
	assert_int_equal(verbs_rig.client_port->copies + verbs_rig.server_port->copies,
			 copies);
	assert_int_equal(verbs_stats(verbs_rig.client_port).bulk, 1);
	rig_stop(&verbs_rig);
}

/* ---- many connections ---- */

static uint64_t used(const struct praas_heap *heap)
{
	struct praas_heap_stats stats;

	praas_heap_stats(heap, &stats);
	return stats.bytes_used;
}

/* What came on the last connection stays with the layer above, which changes nothing for what comes. */
static void holds(struct side *side)
{
	uint64_t copies = verbs_rig.server_port->copies;

	verbs_rig.server.next_id = 0;
	verbs_rig.server.frames = 0;
	verbs_rig.server.hold = 20;
	for (unsigned i = 1; i <= 20; i++)
		rig_invoke_wait(&verbs_rig, side->conn, i, 4000);
	rig_until(&verbs_rig, &verbs_rig.server.frames, 20);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(verbs_rig.server.held[i]->head.id, i + 1);
		assert_true(rig_pattern_is(verbs_rig.server.held[i]));
	}
	assert_int_equal(verbs_rig.server_port->copies - copies, 19);
	assert_int_equal(verbs_rig.server.order_errors, 0);
	side_drop_held(&verbs_rig.server);
}

/* Those above the first 64 have a quarter of the memory, and carry the same. */
void test_verbs_many_connections_take_less_memory(void **state)
{
	enum { MORE = 8, COUNT = PRAAS_VERBS_CONNS_RICH + MORE, CALLS = 40 };
	const uint64_t rich = PRAAS_VERBS_SLOTS * PRAAS_VERBS_SLOT_BYTES +
			      PRAAS_VERBS_SENDS * PRAAS_VERBS_TX_BYTES;
	static struct side sides[COUNT];
	uint64_t before;

	(void)state;
	memset(sides, 0, sizeof(sides));
	rig_start(&verbs_rig, &verbs_scheme, NULL);
	before = used(verbs_rig.server_heap);
	for (unsigned i = 0; i < PRAAS_VERBS_CONNS_RICH; i++)
		rig_connect(&verbs_rig, &sides[i]);
	assert_in_range(used(verbs_rig.server_heap) - before,
			PRAAS_VERBS_CONNS_RICH * rich,
			PRAAS_VERBS_CONNS_RICH * (rich + 4096));
	before = used(verbs_rig.server_heap);
	for (unsigned i = PRAAS_VERBS_CONNS_RICH; i < COUNT; i++)
		rig_connect(&verbs_rig, &sides[i]);
	assert_in_range(used(verbs_rig.server_heap) - before, MORE * rich / 4,
			MORE * (rich / 4 + 4096));
	holds(&sides[COUNT - 1]);
	verbs_rig.server.echo = true;
	for (unsigned n = 1; n <= CALLS; n++)
		for (unsigned i = COUNT - MORE - 1; i < COUNT; i++)
			rig_invoke_wait(&verbs_rig, sides[i].conn, n, n * 200);
	for (unsigned i = COUNT - MORE - 1; i < COUNT; i++) {
		rig_until(&verbs_rig, &sides[i].frames, CALLS);
		assert_int_equal(sides[i].order_errors, 0);
		assert_int_equal(sides[i].closed, 0);
	}
	rig_stop(&verbs_rig);
}

/* Where the kernel would place a queue is of no matter: siw's library takes one place for none. */
void test_verbs_queues_at_every_place(void **state)
{
	enum { QUEUES = 300 };
	struct ibv_cq *cq[QUEUES];
	struct ibv_context *context;

	(void)state;
	rig_start(&verbs_rig, &verbs_scheme, NULL);
	rig_connect(&verbs_rig, &verbs_rig.client);
	context = praas_verbs_conn_of(verbs_rig.client.conn)->device->context;
	for (unsigned i = 0; i < QUEUES; i++) {
		cq[i] = ibv_create_cq(context, 1, NULL, NULL, 0);
		assert_non_null(cq[i]);
	}
	for (unsigned i = 0; i < QUEUES; i++)
		assert_int_equal(ibv_destroy_cq(cq[i]), 0);
	rig_stop(&verbs_rig);
}

/* ---- whose memory is copied ---- */

static void on_released(struct praas_buf *buf)
{
	buf->data = NULL;
}

/* Sends what buf's handle names, and waits until it is there and given back; payloads copied by it. */
static uint64_t carries(struct praas_buf *buf, uint8_t *data, uint64_t bytes)
{
	uint64_t before = verbs_rig.client_port->copies;

	buf->head = (struct praas_frame){ .kind = PRAAS_FRAME_SEND,
					  .id = verbs_rig.server.next_id + 1,
					  .bytes = bytes };
	buf->data = data;
	buf->release = on_released;
	memset(data, (int)buf->head.id, bytes);
	assert_int_equal(verbs_rig.client.conn->ops->send(verbs_rig.client.conn, buf),
			 0);
	rig_until(&verbs_rig, &verbs_rig.server.frames,
		  (unsigned)verbs_rig.server.next_id + 1);
	assert_int_equal(verbs_rig.server.kept->head.bytes, bytes);
	assert_memory_equal(verbs_rig.server.kept->data, data, bytes);
	side_drop_kept(&verbs_rig.server);
	for (unsigned i = 0; i < 1000 && buf->data; i++)
		rig_run_ms(&verbs_rig, 5);
	assert_null(buf->data);
	return verbs_rig.client_port->copies - before;
}

/* Memory that its owner lends, and a handle of one's own for memory of the port's: sent from where it
 * lies, known to the device until it goes. Any other memory costs one copy. */
void test_verbs_copies_what_nobody_vouches_for(void **state)
{
	static const uint64_t sizes[] = { 4096, 3u << 20 };
	struct praas_verbs_stats a;
	struct praas_lent lent = { .region = { .bytes = 4u << 20 } };
	struct praas_buf handle = { 0 }, *own;

	(void)state;
	lent.region.base = aligned_alloc(4096, lent.region.bytes);
	assert_non_null(lent.region.base);
	rig_start(&verbs_rig, &verbs_scheme, NULL);
	rig_connect(&verbs_rig, &verbs_rig.client);
	verbs_rig.server.keep = true;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(carries(&handle, lent.region.base, sizes[i]), 1);
		handle.lent = &lent;
		a = verbs_stats(verbs_rig.client_port);
		assert_int_equal(carries(&handle, lent.region.base, sizes[i]), 0);
		assert_int_equal(carries(&handle, lent.region.base + 8192, sizes[i]),
				 0);
		assert_int_equal(verbs_stats(verbs_rig.client_port).registrations,
				 a.registrations + 1);
		praas_region_going(lent.watches, &lent.region);
		assert_null(lent.watches);
		handle = (struct praas_buf){ 0 };
		assert_int_equal(verbs_rig.client.conn->ops->alloc(
					 verbs_rig.client.conn, sizes[i], &own),
				 0);
		handle = *own;
		assert_int_equal(carries(&handle, own->data, sizes[i]), 0);
		praas_buf_release(own);
		handle = (struct praas_buf){ 0 };
	}
	rig_stop(&verbs_rig);
	free(lent.region.base);
}
