/* SPDX-License-Identifier: Apache-2.0
 * What only verbs can be asked, on a machine with an RDMA device (tests/rdma/vm): what a call costs
 * (verbs_cost.c), queue pairs in error, peers that die in the middle of a transfer, strangers that send without
 * being allowed to, memory that may not be registered. A stranger or a peer that dies is a process of
 * its own: a device that was opened before a fork is not the child's. */
#include "rig.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "transport/tcp_addr.h"
#include "verbs_cost.h"

#define CANARIES 64u
#define CANARY_BYTES 65536u
/* Large, in pieces, and kept by the heap when given back. */
#define KEPT_BYTES (4u << 20)

/* ---- another process ---- */

/* This program again: role and number say what it does at the address of the rig. */
static pid_t start_other(const char *role, unsigned number)
{
	pid_t pid = fork();
	char text[16];

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	(void)alarm(60); /* never left behind */
	(void)snprintf(text, sizeof(text), "%u", number);
	(void)execl("/proc/self/exe", "conformance_verbs", role, verbs_rig.addr, text,
		    (char *)NULL);
	_exit(127);
}

static void kill_other(pid_t pid)
{
	(void)kill(pid, SIGKILL); /* or it has ended */
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* ---- canaries: memory that was given back must not change any more ---- */

static struct praas_buf *canary[CANARIES];
static unsigned canaries;

static void canaries_set(struct praas_heap *heap, unsigned count, uint64_t large)
{
	const struct praas_memory *m = praas_heap_memory(heap);

	canaries = count;
	for (unsigned i = 0; i < canaries; i++) {
		uint64_t bytes = i % 2 ? CANARY_BYTES : large;

		assert_int_equal(m->alloc(m->user, bytes, &canary[i]), 0);
		memset(canary[i]->data, 0x5a, bytes);
		canary[i]->head.bytes = bytes;
	}
}

static void canaries_check(void)
{
	for (unsigned i = 0; i < canaries; i++) {
		for (uint64_t k = 0; k < canary[i]->head.bytes; k++)
			if (canary[i]->data[k] != 0x5a)
				fail_msg("byte %llu of %u was written to",
					 (unsigned long long)k, i);
		praas_buf_release(canary[i]);
	}
}

/* A new client is served as if nothing had been. */
static void goes_on(void)
{
	struct side side = { .rig = &verbs_rig };

	verbs_rig.server.next_id = 0;
	verbs_rig.server.keep = false;
	rig_connect(&verbs_rig, &side);
	verbs_rig.server.echo = true;
	rig_invoke_wait(&verbs_rig, side.conn, 1, 100000);
	rig_until(&verbs_rig, &side.frames, 1);
	rig_invoke_wait(&verbs_rig, side.conn, 2, 64);
	rig_until(&verbs_rig, &side.frames, 2);
	side.conn->ops->close(side.conn, false);
	rig_run_ms(&verbs_rig, 20);
}

/* ---- queue pairs in error ---- */

static void break_qp(bool bulk)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };
	struct praas_verbs_conn *conn = praas_verbs_conn_of(verbs_rig.client.conn);
	struct rdma_cm_id *id = bulk ? conn->bulk_id : conn->id;

	assert_non_null(id);
	assert_int_equal(ibv_modify_qp(id->qp, &attr, IBV_QP_STATE), 0);
}

static void breaks(bool bulk, uint64_t bytes)
{
	unsigned accepted = 0;

	rig_start(&verbs_rig, &verbs_scheme, NULL);
	rig_connect(&verbs_rig, &verbs_rig.client);
	rig_invoke_wait(&verbs_rig, verbs_rig.client.conn, ++accepted, 100000);
	rig_until(&verbs_rig, &verbs_rig.server.frames, 1);
	while (accepted < 20 &&
	       rig_invoke(verbs_rig.client.conn, accepted + 1, bytes) == 0)
		accepted++;
	rig_turn(&verbs_rig);
	break_qp(bulk);
	rig_until(&verbs_rig, &verbs_rig.client.closed, 1);
	assert_true(verbs_rig.client.closed_rc < 0);
	assert_int_equal(verbs_rig.client.sent + verbs_rig.client.sent_bad, accepted);
	rig_until(&verbs_rig, &verbs_rig.server.closed, 1);
	assert_true(verbs_rig.server.closed_rc < 0);
	goes_on();
	rig_stop(&verbs_rig);
}

static void test_verbs_queue_pair_in_error(void **state)
{
	(void)state;
	breaks(false, 64);
	breaks(false, 1u << 20);
	breaks(true, 1u << 20);
}

/* ---- a peer that dies ---- */

static void send_for_ever(const char *addr, uint64_t bytes)
{
	rig_start(&verbs_rig, &verbs_scheme, NULL);
	(void)snprintf(verbs_rig.addr, sizeof(verbs_rig.addr), "%s", addr);
	rig_connect_begin(&verbs_rig, &verbs_rig.client, NULL);
	while (verbs_rig.client.closed == 0) {
		if (verbs_rig.client.opened > 0)
			(void)rig_invoke(verbs_rig.client.conn,
					 verbs_rig.client.next_id, bytes);
		(void)verbs_rig.ops->poll(verbs_rig.client_port, 64);
		sched_yield();
	}
}

/* Killed while its payloads are under way: the connection ends, what was to be filled is given back
 * and not written to later, others are served. */
static void test_verbs_peer_killed_in_transfer(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		pid_t other;

		rig_start(&verbs_rig, &verbs_scheme, NULL);
		verbs_rig.server.keep = true;
		other = start_other("sends", LARGE);
		rig_until(&verbs_rig, &verbs_rig.server.frames, 1 + round);
		for (unsigned i = 0; i < 50 * round; i++)
			rig_turn(&verbs_rig);
		kill_other(other);
		rig_until(&verbs_rig, &verbs_rig.server.closed, 1);
		assert_true(verbs_rig.server.closed_rc < 0);
		canaries_set(verbs_rig.server_heap, CANARIES, LARGE / 16);
		rig_run_ms(&verbs_rig, 200);
		canaries_check();
		goes_on();
		rig_stop(&verbs_rig);
	}
}

/* Ended by this side, while the peer lives and goes on sending: what was to be filled is given back, and taken
 * again at once. Of a size that the heap keeps, so that the canaries are in the very places. */
static void test_verbs_ends_in_transfer(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		const struct praas_verbs_conn *conn;
		uint64_t end_ns;
		pid_t other;

		rig_start(&verbs_rig, &verbs_scheme, NULL);
		verbs_rig.server.keep = true;
		other = start_other("sends", KEPT_BYTES);
		rig_until(&verbs_rig, &verbs_rig.server.frames, 1 + round);
		conn = praas_verbs_conn_of(verbs_rig.server.conn);
		end_ns = praas_now_ns() + UINT64_C(10000000000);
		while (conn->pieces_in_flight == 0 && praas_now_ns() < end_ns)
			rig_turn(&verbs_rig);
		assert_true(conn->pieces_in_flight > 0);
		verbs_rig.server.conn->ops->close(verbs_rig.server.conn, false);
		canaries_set(verbs_rig.server_heap, 8, KEPT_BYTES);
		rig_run_ms(&verbs_rig, 300);
		canaries_check();
		kill_other(other);
		goes_on();
		rig_stop(&verbs_rig);
	}
}

/* A peer that lives and does not look for long is asked, ever more seldom; its device answers for it, and it
 * is served as before. */
static void test_verbs_peer_that_does_not_look_is_kept(void **state)
{
	struct rig_config config = { .stall_timeout_ns = UINT64_C(1000000000) };
	struct praas_verbs_stats before, after;
	uint64_t end_ns;

	(void)state;
	rig_start(&verbs_rig, &verbs_scheme, &config);
	verbs_rig.server.echo = true;
	rig_connect(&verbs_rig, &verbs_rig.client);
	rig_invoke_wait(&verbs_rig, verbs_rig.client.conn, 1, 64);
	rig_until(&verbs_rig, &verbs_rig.client.frames, 1);
	before = verbs_stats(verbs_rig.server_port);
	end_ns = praas_now_ns() + UINT64_C(5000000000);
	while (praas_now_ns() < end_ns) {
		(void)verbs_rig.ops->poll(verbs_rig.server_port, 64);
		sched_yield();
	}
	after = verbs_stats(verbs_rig.server_port);
	assert_in_range(after.tells - before.tells, 1, 4); /* after 0.5, 1.5, 3.5 s */
	assert_int_equal(verbs_rig.server.closed, 0);
	rig_invoke_wait(&verbs_rig, verbs_rig.client.conn, 2, 100000);
	rig_until(&verbs_rig, &verbs_rig.client.frames, 2);
	assert_int_equal(verbs_rig.client.closed + verbs_rig.server.closed, 0);
	rig_stop(&verbs_rig);
}

/* ---- strangers ---- */

enum flaw { FLAW_GREETING, FLAW_TOKEN, FLAW_CREDITS, FLAW_KIND, FLAW_FLOOD };

static enum flaw flaw;

static void greet(struct rdma_conn_param *param, uint8_t *wire)
{
	struct praas_verbs_greeting g = { .bulk = flaw == FLAW_TOKEN,
					  .slots = 32,
					  .slot_bytes = 8144,
					  .piece_bytes = 1u << 20 };

	praas_verbs_greeting_encode(&g, wire);
	wire[0] ^= flaw == FLAW_GREETING;
	*param = (struct rdma_conn_param){ .private_data = wire,
					   .private_data_len =
						   PRAAS_VERBS_GREETING_BYTES,
					   .retry_count = 1,
					   .rnr_retry_count = 7 };
}

/* A bare queue pair that says what it likes. */
static void stranger(const char *addr)
{
	struct ibv_qp_init_attr attr = { .qp_type = IBV_QPT_RC };
	uint8_t wire[PRAAS_VERBS_GREETING_BYTES];
	struct praas_verbs_words w = { .kind = PRAAS_VERBS_TELL, .slots = 32 };
	static uint8_t memory[4096] __attribute__((aligned(4096)));
	struct rdma_conn_param param;
	union praas_tcp_addr to;
	struct rdma_cm_id *id;
	struct ibv_sge sge;
	struct ibv_send_wr wr = { .sg_list = &sge,
				  .num_sge = 1,
				  .opcode = IBV_WR_SEND,
				  .send_flags = IBV_SEND_SIGNALED },
			   *bad;
	struct ibv_mr *mr;
	socklen_t bytes;

	attr.cap.max_send_wr = 256;
	attr.cap.max_recv_wr = 4;
	attr.cap.max_send_sge = 1;
	attr.cap.max_recv_sge = 1;
	if (praas_tcp_addr_parse("verbs", addr, &to, &bytes) != 0 ||
	    rdma_create_id(NULL, &id, NULL, RDMA_PS_TCP) != 0 ||
	    rdma_resolve_addr(id, NULL, &to.any, 2000) != 0 ||
	    rdma_resolve_route(id, 2000) != 0 || rdma_create_qp(id, NULL, &attr) != 0)
		_exit(3);
	mr = ibv_reg_mr(id->pd, memory, sizeof(memory), 0);
	greet(&param, wire);
	if (!mr || rdma_connect(id, &param) != 0)
		_exit(4);
	if (flaw == FLAW_CREDITS)
		w.slots = 1000000;
	praas_verbs_words_encode(&w, memory);
	if (flaw == FLAW_KIND)
		memory[0] = 99;
	sge = (struct ibv_sge){ .addr = (uintptr_t)memory,
				.length = PRAAS_VERBS_WORDS_BYTES,
				.lkey = mr->lkey };
	if (flaw == FLAW_FLOOD)
		(void)usleep(200000); /* the other side has stopped taking */
	for (unsigned i = 0; i < (flaw == FLAW_FLOOD ? 200u : 1u); i++)
		if (ibv_post_send(id->qp, &wr, &bad) != 0)
			break;
	(void)pause(); /* until it is killed */
}

static void strange(enum flaw which, bool accepted)
{
	pid_t other;

	rig_start(&verbs_rig, &verbs_scheme, NULL);
	other = start_other("stranger", which);
	if (accepted) {
		uint64_t end_ns = praas_now_ns() + UINT64_C(20000000000);

		while (verbs_rig.server_port->protocol_errors == 0 &&
		       praas_now_ns() < end_ns)
			rig_turn(&verbs_rig);
		assert_true(verbs_rig.server_port->protocol_errors > 0);
	} else {
		rig_run_ms(&verbs_rig, 1500);
	}
	assert_int_equal(verbs_rig.server.opened, 0);
	goes_on();
	kill_other(other);
	rig_stop(&verbs_rig);
}

static void test_verbs_strangers(void **state)
{
	(void)state;
	strange(FLAW_GREETING, true);
	strange(FLAW_TOKEN, false);
	strange(FLAW_CREDITS, true);
	strange(FLAW_KIND, true);
}

/* More messages than there are slots, credits or not: the device holds them off or ends the
 * connection; the others do not notice. */
/* One that floods and has been answered, but not yet refused; it may be refused before we look. */
static pid_t start_flood(void)
{
	const struct praas_verbs_port *port =
		(struct praas_verbs_port *)(void *)verbs_rig.server_port;

	for (unsigned tries = 0; tries < 10; tries++) {
		uint64_t until = praas_now_ns() + 5000000000u;
		pid_t other = start_other("stranger", FLAW_FLOOD);

		while (port->pending == 0 && praas_now_ns() < until)
			rig_turn(&verbs_rig);
		if (port->pending > 0)
			return other;
		kill_other(other);
	}
	fail_msg("no stranger was ever pending");
	return -1;
}

static void test_verbs_receive_queue_exhausted(void **state)
{
	pid_t other;

	(void)state;
	rig_start(&verbs_rig, &verbs_scheme, NULL);
	other = start_flood();
	/* It has been answered; nothing that it sends is taken for a while. */
	verbs_rig.server_paused = true;
	rig_run_ms(&verbs_rig, 1000);
	verbs_rig.server_paused = false;
	goes_on();
	kill_other(other);
	rig_run_ms(&verbs_rig, 50);
	rig_stop(&verbs_rig);
}

/* ---- memory that may not be registered ---- */

/* Only where the device counts for root as well: soft-iWARP does. */
static void test_verbs_registration_limit(void **state)
{
	struct rlimit old, tight = { .rlim_cur = 1u << 20, .rlim_max = RLIM_INFINITY };

	(void)state;
	rig_start(&verbs_rig, &verbs_scheme, NULL);
	verbs_rig.server.keep = true;
	rig_connect(&verbs_rig, &verbs_rig.client);
	if (strncmp(ibv_get_device_name(praas_verbs_conn_of(verbs_rig.client.conn)
						->device->context->device),
		    "siw", 3) != 0) {
		rig_stop(&verbs_rig);
		skip();
	}
	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &old), 0);
	tight.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &tight), 0);
	assert_int_equal(rig_invoke(verbs_rig.client.conn, 1, LARGE), 0);
	rig_until(&verbs_rig, &verbs_rig.client.closed, 1);
	assert_int_equal(verbs_rig.client.closed_rc, -ENOMEM);
	assert_int_equal(verbs_rig.client.sent_bad, 1);
	rig_until(&verbs_rig, &verbs_rig.server.closed, 1);
	assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &old), 0);
	goes_on();
	rig_stop(&verbs_rig);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verbs_peer_killed_in_transfer),
		cmocka_unit_test(test_verbs_ends_in_transfer),
		cmocka_unit_test(test_verbs_peer_that_does_not_look_is_kept),
		cmocka_unit_test(test_verbs_strangers),
		cmocka_unit_test(test_verbs_receive_queue_exhausted),
		cmocka_unit_test(test_verbs_one_post_a_message),
		cmocka_unit_test(test_verbs_sealed_is_one_post_too),
		cmocka_unit_test(test_verbs_polls_without_system_calls),
		cmocka_unit_test(test_verbs_queued_messages_are_one_post),
		cmocka_unit_test(test_verbs_large_is_not_copied),
		cmocka_unit_test(test_verbs_many_connections_take_less_memory),
		cmocka_unit_test(test_verbs_queues_at_every_place),
		cmocka_unit_test(test_verbs_copies_what_nobody_vouches_for),
		cmocka_unit_test(test_verbs_queue_pair_in_error),
		cmocka_unit_test(test_verbs_registration_limit),
	};
	const char *missing;

	if (argc > 3) {
		flaw = (enum flaw)atoi(argv[3]);
		if (strcmp(argv[1], "sends") == 0)
			send_for_ever(argv[2], (uint64_t)atoi(argv[3]));
		else
			stranger(argv[2]);
		return 0;
	}
	if (argc == 2)
		cmocka_set_test_filter(argv[1]);
	missing = scheme_missing(&verbs_scheme);
	if (missing != NULL) {
		(void)printf("SKIPPED: %s\n", missing);
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
