/* SPDX-License-Identifier: Apache-2.0
 *
 * What RDMA verbs themselves take: a bare reliable queue pair between two processes, ping and pong of
 * one message, by SEND, by WRITE with immediate data, and by WRITE into memory that the other side
 * looks at. Both sides poll. The other side is one forked process for all of them, begun before this
 * program has used a device: a device opened before a fork is not the child's.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <arpa/inet.h>
#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include "internal/base.h"
#include "perf/bench.h"
#include "perf/clock.h"
#include "perf/floor_peer.h"
#include "perf/verbs.h"

#define BYTES_MAX (1u << 20)
#define DEPTH 16u     /* receives posted */
#define SIGNAL 8u     /* one send in so many says when it is done */
#define MODE_SHIFT 56 /* of a round's number: what to do */
#define SIZE_SHIFT 32

enum mode { MODE_SEND, MODE_WRITE_IMM, MODE_WRITE };

struct shared {
	struct {
		_Atomic uint64_t addr; /* 0: not there yet */
		uint32_t rkey;
	} side[2];
	_Atomic uint32_t port; /* of the listener; 0: not there yet */
};

struct side {
	unsigned index;
	struct rdma_cm_id *id;
	struct ibv_mr *mr;
	uint8_t *memory; /* received into; sent from behind that */
	uint32_t inline_max;
	uint64_t sends;
};

static struct {
	struct praas_floor_peer peer;
	struct shared *shared;
	struct side side; /* ours; in the child its own */
	int rc;           /* 1: not tried */
} floor_verbs = { .rc = 1 };

static int post_receive(struct side *s)
{
	struct ibv_sge sge = { .addr = (uintptr_t)s->memory,
			       .length = BYTES_MAX,
			       .lkey = s->mr->lkey };
	struct ibv_recv_wr wr = { .sg_list = &sge, .num_sge = 1 }, *bad;

	return ibv_post_recv(s->id->qp, &wr, &bad) == 0 ? 0 : -EIO;
}

static int prepare(struct side *s)
{
	struct ibv_qp_init_attr attr = { .qp_type = IBV_QPT_RC };
	int rc = 0;

	attr.cap.max_send_wr = 4 * SIGNAL;
	attr.cap.max_recv_wr = DEPTH;
	attr.cap.max_send_sge = 1;
	attr.cap.max_recv_sge = 1;
	attr.cap.max_inline_data = 512;
	while (rdma_create_qp(s->id, NULL, &attr) != 0) {
		if (attr.cap.max_inline_data == 0)
			return -errno;
		attr.cap.max_inline_data /= 2;
	}
	s->inline_max = attr.cap.max_inline_data;
	s->memory = aligned_alloc(4096, 2 * BYTES_MAX);
	if (!s->memory)
		return -ENOMEM;
	memset(s->memory, 0, 2 * BYTES_MAX);
	s->mr = ibv_reg_mr(s->id->pd, s->memory, 2 * BYTES_MAX,
			   IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
	if (!s->mr)
		return -errno;
	for (unsigned i = 0; rc == 0 && i < DEPTH; i++)
		rc = post_receive(s);
	floor_verbs.shared->side[s->index].rkey = s->mr->rkey;
	atomic_store(&floor_verbs.shared->side[s->index].addr, (uintptr_t)s->memory);
	return rc;
}

static int reap(struct ibv_cq *cq, struct ibv_wc *wc)
{
	int n = ibv_poll_cq(cq, 1, wc);

	return n < 0 ? -EIO : n > 0 && wc->status != IBV_WC_SUCCESS ? -EIO : n;
}

static int say(struct side *s, enum mode mode, uint64_t size)
{
	struct shared *shared = floor_verbs.shared;
	struct ibv_sge sge = { .addr = (uintptr_t)(s->memory + BYTES_MAX),
			       .length = (uint32_t)size,
			       .lkey = s->mr->lkey };
	struct ibv_send_wr wr = { .sg_list = &sge, .num_sge = 1 }, *bad;
	struct ibv_wc wc;
	int n = 0;

	wr.opcode = mode == MODE_SEND        ? IBV_WR_SEND
		    : mode == MODE_WRITE_IMM ? IBV_WR_RDMA_WRITE_WITH_IMM
					     : IBV_WR_RDMA_WRITE;
	if (mode != MODE_SEND) {
		wr.wr.rdma.remote_addr = atomic_load(&shared->side[!s->index].addr);
		wr.wr.rdma.rkey = shared->side[!s->index].rkey;
	}
	wr.send_flags = size <= s->inline_max ? IBV_SEND_INLINE : 0;
	if (++s->sends % SIGNAL == 0)
		wr.send_flags |= IBV_SEND_SIGNALED;
	if (ibv_post_send(s->id->qp, &wr, &bad) != 0)
		return -EIO;
	while (n == 0 && s->sends % SIGNAL == 0)
		n = reap(s->id->send_cq, &wc);
	return n < 0 ? n : 0;
}

static int hear(struct side *s)
{
	struct ibv_wc wc;
	int n;

	do
		n = reap(s->id->recv_cq, &wc);
	while (n == 0);
	return n < 0 ? n : post_receive(s);
}

/* The last byte of what is written changes with each message. */
static void see(const struct side *s, uint64_t size, uint8_t mark)
{
	const uint8_t *last = s->memory + size - 1;

	while (__atomic_load_n(last, __ATOMIC_ACQUIRE) != mark)
		praas_pause();
}

static int exchange(struct side *s, enum mode mode, uint64_t size, uint64_t i,
		    bool first)
{
	uint8_t mark = (uint8_t)(i % 250 + 1);
	int rc = 0;

	s->memory[BYTES_MAX + size - 1] = mark;
	if (first)
		rc = say(s, mode, size);
	if (rc == 0 && mode == MODE_WRITE)
		see(s, size, mark);
	else if (rc == 0)
		rc = hear(s);
	if (rc == 0 && !first)
		rc = say(s, mode, size);
	return rc;
}

/* ---- the two processes ---- */

static struct sockaddr_in address(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = port };

	(void)inet_pton(AF_INET, praas_perf_verbs_host(), &a.sin_addr); /* else 0 */
	return a;
}

static int accept_peer(struct side *s)
{
	struct sockaddr_in a = address(0);
	struct rdma_conn_param param = { .rnr_retry_count = 7 };
	struct rdma_cm_id *listener;
	int rc;

	if (rdma_create_id(NULL, &listener, NULL, RDMA_PS_TCP) != 0 ||
	    rdma_bind_addr(listener, (struct sockaddr *)&a) != 0 ||
	    rdma_listen(listener, 1) != 0)
		return -errno;
	atomic_store(&floor_verbs.shared->port, rdma_get_src_port(listener));
	if (rdma_get_request(listener, &s->id) != 0)
		return -errno;
	s->index = 1;
	rc = prepare(s);
	return rc == 0 && rdma_accept(s->id, &param) != 0 ? -errno : rc;
}

static int connect_peer(struct side *s)
{
	struct rdma_conn_param param = { .retry_count = 7, .rnr_retry_count = 7 };
	struct timespec pause = { .tv_nsec = 1000000 };
	struct sockaddr_in a;
	uint32_t port = 0;
	int rc;

	for (unsigned i = 0; i < 5000 && port == 0; i++) {
		(void)nanosleep(&pause, NULL); /* looks again */
		port = atomic_load(&floor_verbs.shared->port);
	}
	if (port == 0)
		return -ENODEV;
	a = address((uint16_t)port);
	if (rdma_create_id(NULL, &s->id, NULL, RDMA_PS_TCP) != 0 ||
	    rdma_resolve_addr(s->id, NULL, (struct sockaddr *)&a, 2000) != 0 ||
	    rdma_resolve_route(s->id, 2000) != 0)
		return -errno;
	rc = prepare(s);
	return rc == 0 && rdma_connect(s->id, &param) != 0 ? -errno : rc;
}

static void body(void *data, uint64_t n)
{
	struct side *s = data;
	enum mode mode = (enum mode)(n >> MODE_SHIFT);
	uint64_t size = n >> SIZE_SHIFT & 0xffffff, count = n & 0xffffffff;

	if (count == 0) {
		if (accept_peer(s) != 0)
			_Exit(1);
		return;
	}
	for (uint64_t i = 0; i < count; i++)
		if (exchange(s, mode, size, i, false) != 0)
			_Exit(1);
}

void praas_floor_verbs_begin(void)
{
	int rc = 0;

	if (floor_verbs.rc != 1)
		return;
	floor_verbs.shared = praas_floor_shared(sizeof(*floor_verbs.shared));
	if (!floor_verbs.shared)
		rc = -ENOMEM;
	if (rc == 0)
		rc = praas_floor_peer_start(&floor_verbs.peer, praas_options.cpu_server,
					    body, &floor_verbs.side);
	if (rc == 0)
		rc = praas_floor_peer_go(&floor_verbs.peer, 0);
	if (rc == 0)
		rc = connect_peer(&floor_verbs.side);
	floor_verbs.rc = rc;
}

void praas_floor_verbs_end(void)
{
	praas_floor_peer_stop(&floor_verbs.peer);
}

static int setup(struct praas_contender *c)
{
	(void)c;
	return floor_verbs.rc;
}

static int round_trips(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	enum mode mode = (enum mode)(uintptr_t)c->arg;
	int rc = praas_floor_peer_go(&floor_verbs.peer, (uint64_t)mode << MODE_SHIFT |
								c->size << SIZE_SHIFT |
								n);

	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		uint64_t t0 = praas_perf_ticks();

		rc = exchange(&floor_verbs.side, mode, c->size, i, true);
		praas_hist_add(h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0));
	}
	return rc;
}

static void teardown(struct praas_contender *c)
{
	(void)c;
}

void praas_floor_verbs(struct praas_contender *c, const char *bench,
		       const char *variant, uint64_t size, uint64_t n)
{
	enum mode mode = strcmp(variant, "verbs-send") == 0    ? MODE_SEND
			 : strcmp(variant, "verbs-write") == 0 ? MODE_WRITE
							       : MODE_WRITE_IMM;

	*c = (struct praas_contender){ .bench = bench,
				       .variant = variant,
				       .role = PRAAS_ROLE_FLOOR,
				       .waits = "spin",
				       .size = size,
				       .n = n,
				       .arg = (const void *)(uintptr_t)mode,
				       .setup = setup,
				       .round = round_trips,
				       .teardown = teardown };
}
