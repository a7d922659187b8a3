/* SPDX-License-Identifier: Apache-2.0
 * What only a fabric can be asked: a peer that is a bare endpoint and does everything wrong, and
 * one that is killed. Argument: the provider. */
#include "ofi_raw.h"

#include <errno.h>
#include <glob.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "internal/base.h"
#include "tests/lib/skip.h"
#include "transport/handshake.h"
#include "transport/ofi.h"

#define STALL_NS UINT64_C(200000000)

static char listen_at[PRAAS_ADDR_MAX];
static struct scheme scheme;
static struct rig rig;

static void start_patient(uint64_t bytes_max, uint64_t stall_ns)
{
	struct rig_config config = { .stall_timeout_ns = stall_ns,
				     .bytes_max = bytes_max,
				     .unauthenticated_max = 4 };

	rig_start(&rig, &scheme, &config);
	rig.patience_ns = UINT64_C(20000000000);
	raw_open(&rig);
}

static void start(uint64_t bytes_max)
{
	start_patient(bytes_max, STALL_NS);
}

static void stop(void)
{
	raw_close();
	rig_stop(&rig);
}

static uint64_t used(void)
{
	struct praas_heap_stats stats;

	praas_heap_stats(rig.server_heap, &stats);
	return stats.bytes_used;
}

/* The server has ended the connection for this reason, and an ordinary client is served. */
static void ends_with(int rc)
{
	uint64_t errors = rig.server_port->protocol_errors;
	unsigned frames;

	rig_until(&rig, &rig.server.closed, 1);
	assert_int_equal(rig.server.closed_rc, rc);
	assert_true(rc != -EPROTO || errors > 0 ||
		    rig.server_port->protocol_errors > 0);
	rig.server.next_id = 0;
	rig.server.frames = 0;
	frames = rig.client.frames;
	rig_connect(&rig, &rig.client);
	rig.server.echo = true;
	rig_invoke_wait(&rig, rig.client.conn, 1, 1000);
	rig_until(&rig, &rig.client.frames, frames + 1);
}

static const uint8_t payload[8192];

static struct praas_frame good_frame(void)
{
	return (struct praas_frame){ .kind = PRAAS_FRAME_INVOKE, .id = 1, .bytes = 8 };
}

/* Bytes that are no packet, of connections that are none: dropped, and others are served. */
static void test_ofi_garbage_is_dropped(void **state)
{
	static uint8_t wire[PRAAS_OFI_PACKET_BYTES];
	struct praas_ofi_packet p;

	(void)state;
	start(0);
	memset(wire, 0xa5, sizeof(wire));
	for (size_t bytes = 1; bytes < 300; bytes += 13)
		raw_send(wire, bytes);
	raw_send(wire, sizeof(wire));
	assert_true(rig.server_port->protocol_errors > 0);
	raw_handshake();
	p = raw_packet_of(PRAAS_OFI_RESET); /* another connection's */
	for (unsigned i = 0; i < 64; i++) {
		p.to = raw.peer_id ^ (UINT64_C(1) << i);
		raw_packet(&p, NULL, 0);
	}
	assert_int_equal(rig.server.closed, 0);
	rig_connect(&rig, &rig.client);
	assert_int_equal(rig.server.closed, 0);
	stop();
}

/* One byte of a packet's header changed: nothing, or the end of that connection. */
static void test_ofi_every_header_byte_mutated(void **state)
{
	(void)state;
	start(4096);
	for (unsigned i = 0; i < 2 * PRAAS_FRAME_BYTES; i++) {
		uint8_t wire[PRAAS_FRAME_BYTES + 8] = { 0 };
		struct praas_ofi_packet p;
		struct praas_buf buf = { .head = good_frame() };

		raw_handshake();
		p = raw_packet_of(i < PRAAS_FRAME_BYTES ? PRAAS_OFI_FRAME
							: PRAAS_OFI_FIN);
		if (i < PRAAS_FRAME_BYTES)
			(void)praas_ofi_frame_encode(&buf, &p, wire);
		else
			(void)praas_ofi_packet_encode(&p, wire);
		wire[i % PRAAS_FRAME_BYTES] ^= 0xa4;
		raw_send(wire,
			 i < PRAAS_FRAME_BYTES ? sizeof(wire) : PRAAS_FRAME_BYTES);
		p = raw_packet_of(PRAAS_OFI_RESET);
		raw_packet(&p, NULL, 0);
	}
	rig_run_ms(&rig, 20);
	assert_int_equal(rig.server.closed, rig.server.opened);
	assert_true(rig.server_port->protocol_errors > 20);
	rig_connect(&rig, &rig.client);
	stop();
}

static void wrong_number(uint32_t number, uint32_t ack)
{
	uint8_t wire[PRAAS_FRAME_BYTES + 8] = { 0 };
	struct praas_buf buf = { .head = good_frame() };
	struct praas_ofi_packet p;

	start(0);
	raw_handshake();
	p = raw_packet_of(PRAAS_OFI_FRAME);
	p.number += number;
	p.ack += ack;
	(void)praas_ofi_frame_encode(&buf, &p, wire);
	raw_send(wire, sizeof(wire));
	ends_with(-EPROTO);
	stop();
}

static void test_ofi_numbers_out_of_the_window(void **state)
{
	(void)state;
	wrong_number(PRAAS_OFI_WINDOW, 0);
	wrong_number(UINT32_MAX, 0);
}

static void test_ofi_acknowledges_what_was_not_sent(void **state)
{
	(void)state;
	wrong_number(0, 1);
	wrong_number(0, UINT32_MAX / 2);
}

/* The same number twice, while the first waits for one before it. */
static void test_ofi_number_twice(void **state)
{
	uint8_t wire[PRAAS_FRAME_BYTES + 8] = { 0 };
	struct praas_buf buf = { .head = good_frame() };
	struct praas_ofi_packet p;

	(void)state;
	start(0);
	raw_handshake();
	p = raw_packet_of(PRAAS_OFI_FRAME);
	p.number++;
	(void)praas_ofi_frame_encode(&buf, &p, wire);
	raw_send(wire, sizeof(wire));
	rig_run_ms(&rig, 5);
	assert_int_equal(rig.server.frames, 0);
	raw_send(wire, sizeof(wire));
	ends_with(-EPROTO);
	stop();
}

/* Packets that come in another order than they were numbered in. */
static void test_ofi_order_is_restored(void **state)
{
	static const uint8_t order[] = { 3, 1, 2, 0, 6, 5, 4 };

	(void)state;
	start(0);
	raw_handshake();
	for (unsigned i = 0; i < sizeof(order); i++) {
		uint8_t wire[PRAAS_FRAME_BYTES + 8] = { 0 };
		struct praas_buf buf = { .head = good_frame() };
		struct praas_ofi_packet p = raw_packet_of(PRAAS_OFI_FRAME);

		p.number += order[i];
		buf.head.id = order[i] + 1u;
		(void)praas_ofi_frame_encode(&buf, &p, wire);
		raw_send(wire, sizeof(wire));
	}
	rig_until(&rig, &rig.server.frames, sizeof(order));
	assert_int_equal(rig.server.order_errors, 0);
	stop();
}

/* An offer of memory that is not there, or is not offered. */
static void offer(uint64_t bytes, int rc)
{
	struct praas_frame head = good_frame();
	uint8_t body[PRAAS_FRAME_BYTES];
	struct praas_ofi_packet p;
	uint64_t before;

	start(4u << 20);
	if (!raw.fabric.rma) {
		stop();
		return;
	}
	raw_handshake();
	before = used();
	head.bytes = bytes;
	praas_frame_encode(&head, body);
	p = raw_packet_of(PRAAS_OFI_OFFER);
	p.addr = 0x1000;
	p.key = 0xbadbadbad;
	raw_packet(&p, body, sizeof(body));
	rig_until(&rig, &rig.server.closed, 1);
	if (rc != 0)
		assert_int_equal(rig.server.closed_rc, rc);
	assert_int_not_equal(rig.server.closed_rc, 0);
	assert_int_equal(rig.server.frames, 0);
	if (rc != 0)
		assert_int_equal(used(), before);
	stop();
}

static void test_ofi_offers_what_may_not_be_read(void **state)
{
	(void)state;
	offer(100000, 0);
}

static void test_ofi_offers_too_much(void **state)
{
	(void)state;
	offer((4u << 20) + 1, -EMSGSIZE);
	offer(UINT64_MAX, -EMSGSIZE);
}

/* A large frame that is begun and not ended; all of its memory comes back. */
static void test_ofi_parts_stop(void **state)
{
	uint8_t body[PRAAS_FRAME_BYTES + 100] = { 0 };
	struct praas_frame head = good_frame();
	struct praas_ofi_packet p;
	uint64_t before;

	(void)state;
	start(0);
	raw_handshake();
	before = used();
	head.bytes = 1u << 20;
	praas_frame_encode(&head, body);
	p = raw_packet_of(PRAAS_OFI_BEGIN);
	raw_packet(&p, body, sizeof(body));
	rig_run_ms(&rig, 20);
	assert_true(used() >= before + (1u << 20));
	rig_until(&rig, &rig.server.closed, 1);
	assert_int_equal(rig.server.closed_rc, -ETIMEDOUT);
	assert_int_equal(used(), before);
	stop();
}

/* Parts that are too many, or of nothing, or have something between. */
static void bad_part(uint8_t type, uint64_t bytes, size_t part)
{
	uint8_t body[PRAAS_FRAME_BYTES + 100] = { 0 };
	struct praas_frame head = good_frame();
	struct praas_ofi_packet p;

	start(0);
	raw_handshake();
	head.bytes = bytes;
	praas_frame_encode(&head, body);
	if (bytes > 0) {
		p = raw_packet_of(PRAAS_OFI_BEGIN);
		raw_packet(&p, body, sizeof(body));
	}
	if (type == PRAAS_OFI_FRAME) {
		head.bytes = 8;
		raw_frame(&head, payload);
	} else {
		p = raw_packet_of(type);
		raw_packet(&p, payload, part);
	}
	ends_with(-EPROTO);
	assert_int_equal(rig.server.frames, 1); /* the ordinary client's */
	stop();
}

static void test_ofi_bad_parts(void **state)
{
	(void)state;
	bad_part(PRAAS_OFI_MORE, 200, 101);
	bad_part(PRAAS_OFI_MORE, 0, 10);
	bad_part(PRAAS_OFI_FRAME, 200, 0);
	bad_part(PRAAS_OFI_BEGIN, 200, 200);
}

/* More than may be without handshake: refused, with the reason; names that are none: nothing. */
static void test_ofi_connects_without_end(void **state)
{
	static const uint8_t zeros[PRAAS_OFI_NAME_MAX + 1];
	struct praas_ofi_packet p;
	(void)state;
	start(0);
	p = raw_packet_of(PRAAS_OFI_CONNECT);
	p.to = 0;
	raw_packet(&p, zeros, sizeof(zeros));
	raw_packet(&p, zeros, 3);
	raw_packet(&p, zeros, raw.fabric.name_bytes);
	assert_true(rig.server_port->protocol_errors >= 3);
	for (unsigned i = 0; i < 4; i++)
		raw_connect();
	raw.peer_id = 0;
	p = raw_packet_of(PRAAS_OFI_CONNECT);
	for (unsigned i = 0; i < 20; i++) {
		raw_packet(&p, raw.fabric.name, raw.fabric.name_bytes);
		raw_until(PRAAS_OFI_REFUSE);
		assert_int_equal(praas_get_u32(raw.last + 4), PRAAS_CLOSE_LIMIT);
	}
	assert_int_equal(rig.server.opened, 0);
	praas_session_server_tick(rig.session, praas_now_ns() + UINT64_C(6000000000));
	rig_run_ms(&rig, 500); /* until they have lingered */
	rig_connect(&rig, &rig.client);
	stop();
}

/* A peer that says nothing any more is asked, and ended. */
static void test_ofi_silence(void **state)
{
	(void)state;
	start(0);
	raw_handshake();
	raw_until(PRAAS_OFI_PING);
	raw_until(PRAAS_OFI_PING);
	assert_int_equal(rig.server.closed, 0);
	rig_until(&rig, &rig.server.closed, 1);
	assert_int_equal(rig.server.closed_rc, -ETIMEDOUT);
	stop();
}

/* ---- a client that is killed -------------------------------------------------------------- */

static void *client_main(const char *addr)
{
	struct praas_heap *heap;
	struct praas_port_config config = { .conns_max = 1 };

	/* A program of its own: nothing of the rig's port is touched. */
	assert_int_equal(praas_heap_new(NULL, &heap), 0);
	config.memory = praas_heap_memory(heap);
	assert_int_equal(rig.ops->open(&config, &rig.client_port), 0);
	(void)snprintf(rig.addr, sizeof(rig.addr), "%s", addr);
	rig_connect_begin(&rig, &rig.client, NULL);
	rig.server_paused = true;
	rig_until(&rig, &rig.client.opened, 1);
	for (uint64_t id = 1;; id++)
		rig_invoke_wait(&rig, rig.client.conn, id, id % 3 ? 1u << 20 : 3000);
	return NULL;
}

/* Killed in the midst of a large payload: told, all memory is back, others go on. */
static void test_ofi_killed_client(void **state)
{
	uint64_t before;
	int status;

	(void)state;
	start_patient(0, 5 * STALL_NS); /* a busy machine is no dead client */
	before = used();
	rig.server.echo = true;
	for (unsigned i = 1; i <= 3; i++) {
		char addr[PRAAS_ADDR_MAX];
		pid_t child;

		(void)snprintf(addr, sizeof(addr), "%s", rig.addr);
		child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			(void)execl("/proc/self/exe", "conformance_ofi", "client", addr,
				    (char *)NULL);
			_exit(127);
		}
		rig_until(&rig, &rig.server.opened, i);
		rig.server.frames = 0;
		rig.server.next_id = 0;
		rig_until(&rig, &rig.server.frames, 20);
		assert_int_equal(kill(child, SIGKILL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		rig_until(&rig, &rig.server.closed, i);
		assert_int_not_equal(rig.server.closed_rc, 0);
	}
	rig_run_ms(&rig, 1500);
	assert_int_equal(used(), before);
	rig_connect(&rig, &rig.client);
	stop();
}

static void on_released(struct praas_buf *buf)
{
	buf->data = NULL;
}

/* Sends from data, which lies wherever, and waits until it is there and given back. */
static void carry(struct praas_buf *buf, uint8_t *data, uint64_t bytes)
{
	buf->head = (struct praas_frame){ .kind = PRAAS_FRAME_SEND,
					  .id = rig.server.next_id + 1,
					  .bytes = bytes };
	buf->data = data;
	buf->release = on_released;
	assert_int_equal(rig.client.conn->ops->send(rig.client.conn, buf), 0);
	rig_until(&rig, &rig.server.frames, (unsigned)rig.server.next_id + 1);
	assert_memory_equal(rig.server.kept->data, data, bytes);
	side_drop_kept(&rig.server);
	for (unsigned i = 0; i < 1000 && buf->data; i++)
		rig_run_ms(&rig, 5);
	assert_null(buf->data);
}

/* Where a provider wants to be told of all memory, that of the port and what is lent is told once and for
 * all; other memory with each frame. None of it is copied above 1 KiB. */
static void test_ofi_memory_is_registered_once(void **state)
{
	struct praas_lent lent = { .region = { .bytes = 1u << 20 } };
	struct praas_buf handle = { 0 }, *own;
	uint64_t copies, known;

	(void)state;
	lent.region.base = aligned_alloc(4096, lent.region.bytes);
	assert_non_null(lent.region.base);
	memset(lent.region.base, 7, lent.region.bytes);
	scheme.registers = true;
	start(0);
	rig_connect(&rig, &rig.client);
	rig.server.keep = true;
	assert_int_equal(rig.client.conn->ops->alloc(rig.client.conn, 40000, &own), 0);
	memset(own->data, 9, 40000);
	copies = rig.client_port->copies;
	known = praas_ofi_port_registrations(rig.client_port);
	for (unsigned i = 0; i < 10; i++) {
		handle = *own;
		carry(&handle, own->data, 40000); /* in parts */
		handle = (struct praas_buf){ .lent = &lent };
		carry(&handle, lent.region.base + 64 * i, 8000);
	}
	assert_int_equal(praas_ofi_port_registrations(rig.client_port), known + 2);
	handle = (struct praas_buf){ .lent = NULL };
	for (unsigned i = 0; i < 3; i++)
		carry(&handle, lent.region.base, 8000);
	assert_int_equal(praas_ofi_port_registrations(rig.client_port), known + 5);
	assert_int_equal(rig.client_port->copies, copies);
	praas_region_going(lent.watches, &lent.region);
	assert_null(lent.watches);
	praas_buf_release(own);
	stop();
	scheme.registers = false;
	free(lent.region.base);
}

/* libfabric's libraries take signals when they are loaded; they are given back. */
static bool signals_are_ours(void)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGSEGV, SIGBUS, SIGABRT };
	struct sigaction before[5], after;
	bool same = true;

	for (size_t i = 0; i < 5; i++)
		(void)sigaction(numbers[i], NULL, &before[i]); /* valid numbers */
	start(0);
	stop();
	for (size_t i = 0; i < 5; i++) {
		(void)sigaction(numbers[i], NULL, &after); /* as above */
		same &= after.sa_sigaction == before[i].sa_sigaction;
	}
	return same;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ofi_garbage_is_dropped),
		cmocka_unit_test(test_ofi_every_header_byte_mutated),
		cmocka_unit_test(test_ofi_numbers_out_of_the_window),
		cmocka_unit_test(test_ofi_acknowledges_what_was_not_sent),
		cmocka_unit_test(test_ofi_number_twice),
		cmocka_unit_test(test_ofi_order_is_restored),
		cmocka_unit_test(test_ofi_offers_what_may_not_be_read),
		cmocka_unit_test(test_ofi_offers_too_much),
		cmocka_unit_test(test_ofi_parts_stop),
		cmocka_unit_test(test_ofi_bad_parts),
		cmocka_unit_test(test_ofi_connects_without_end),
		cmocka_unit_test(test_ofi_silence),
		cmocka_unit_test(test_ofi_killed_client),
		cmocka_unit_test(test_ofi_memory_is_registered_once),
	};
	glob_t found = { 0 };

	if (argc < 2)
		return 2;
	if (argc > 2 && strcmp(argv[1], "client") == 0) {
		rig.scheme = &scheme;
		scheme.name = "client";
		rig.ops = praas_transport_find("ofi");
		memset(rig.controller_key, 0x42, PRAAS_KEY_BYTES);
		(void)client_main(argv[2]);
	}
	(void)snprintf(listen_at, sizeof(listen_at), "ofi://%s@127.0.0.1:0", argv[1]);
	scheme = (struct scheme){ .name = argv[1],
				  .listen = listen_at,
				  .nowhere = "ofi://127.0.0.1:1" };
	if (glob("/usr/lib/*/libfabric.so.1", 0, NULL, &found) != 0)
		return skip_all("libfabric is not installed");
	globfree(&found);
	/* Before anything has loaded it, and not under cmocka, which takes some itself. */
	if (!signals_are_ours()) {
		(void)fprintf(stderr, "libfabric keeps the program's signals\n");
		return 1;
	}
	return cmocka_run_group_tests_name(argv[1], tests, NULL, NULL);
}
