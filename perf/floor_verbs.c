/* SPDX-License-Identifier: Apache-2.0
 *
 * What RDMA verbs themselves take: a bare reliable queue pair between two processes, ping and pong of
 * one message, by SEND, by WRITE with immediate data, and by WRITE into memory that the other side
 * looks at; and SENDs of which several are under way, echoed, each turn's in one list. Both sides poll.
 * The other side is one forked process for all of them, begun before this program has used a device: a
 * device opened before a fork is not the child's.
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
#define WINDOW_MAX 64u          /* messages under way */
#define DEPTH (WINDOW_MAX + 16) /* receives posted */
#define SENDS 256u              /* work requests that are not done yet */
#define SIGNAL 8u               /* one send in so many says when it is done */
#define TAKE 32                 /* completions at once */
/* A message may take: devices can lose one, or their process. */
#define ANSWER_NS UINT64_C(10000000000)
#define CLOCK_LOOKS 16384u
#define MODE_SHIFT 56 /* of a round's number: what to do */
#define SIZE_SHIFT 32

enum mode { MODE_SEND, MODE_WRITE_IMM, MODE_WRITE, MODE_STREAM };

struct shared {
	struct {
		_Atomic uint64_t addr; /* 0: not there yet */
		uint32_t rkey;
	} side[2];
	_Atomic uint32_t port; /* of the listener; 0: not there yet */
	atomic_bool failed;    /* one side has, and says nothing any more */
};

struct side {
	unsigned index;
	struct rdma_cm_id *id;
	struct ibv_pd *pd;
	struct ibv_cq *send_cq, *recv_cq;
	struct ibv_mr *mr;
	uint8_t *memory; /* received into; sent from behind that */
	uint32_t inline_max;
	uint64_t sends, done; /* posted; known to be done */
	uint64_t exchanges;   /* ever: both sides count the same */
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

/* The largest inline payload is what the device grants. Completion queues are ours: librdmacm's own do not
 * outlive a refusal. */
static int make_queues(struct side *s, struct ibv_qp_init_attr *attr)
{
	s->pd = ibv_alloc_pd(s->id->verbs);
	if (!s->pd)
		return -errno;
	s->send_cq = ibv_create_cq(s->id->verbs, SENDS, NULL, NULL, 0);
	s->recv_cq = ibv_create_cq(s->id->verbs, DEPTH, NULL, NULL, 0);
	if (!s->send_cq || !s->recv_cq)
		return -errno;
	attr->send_cq = s->send_cq;
	attr->recv_cq = s->recv_cq;
	for (uint32_t bytes = 512;; bytes /= 2) {
		struct ibv_qp_init_attr asked = *attr;

		asked.cap.max_inline_data = bytes;
		if (rdma_create_qp(s->id, s->pd, &asked) == 0) {
			s->inline_max = asked.cap.max_inline_data;
			return 0;
		}
		if (bytes == 0)
			return -errno;
	}
}

static int prepare(struct side *s)
{
	struct ibv_qp_init_attr attr = { .qp_type = IBV_QPT_RC };
	int rc;

	attr.cap.max_send_wr = SENDS;
	attr.cap.max_recv_wr = DEPTH;
	attr.cap.max_send_sge = 1;
	attr.cap.max_recv_sge = 1;
	rc = make_queues(s, &attr);
	if (rc != 0)
		return rc;
	s->memory = aligned_alloc(4096, 2 * BYTES_MAX);
	if (!s->memory)
		return -ENOMEM;
	memset(s->memory, 0, 2 * BYTES_MAX);
	s->mr = ibv_reg_mr(s->pd, s->memory, 2 * BYTES_MAX,
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

/* Looks at the clock now and then. */
struct patience {
	uint64_t end_ns;
	uint32_t looks;
};

/* Whether to look again: the other side has not failed, nor been silent for too long. */
static bool goes_on(struct patience *p)
{
	if (++p->looks % CLOCK_LOOKS == 0) {
		if (p->end_ns == 0)
			p->end_ns = praas_now_ns() + ANSWER_NS;
		else if (praas_now_ns() > p->end_ns)
			return false;
	}
	return !atomic_load_explicit(&floor_verbs.shared->failed, memory_order_relaxed);
}

/* Room for count more sends; one look at what is done while there is enough. */
static int make_room(struct side *s, unsigned count)
{
	struct patience p = { 0 };
	struct ibv_wc wc;
	int n;

	do {
		if (s->sends - s->done < 2 * (uint64_t)SIGNAL)
			return 0;
		n = reap(s->send_cq, &wc);
		if (n < 0)
			return n;
		s->done += n > 0 ? SIGNAL : 0;
		if (s->sends - s->done + count <= SENDS)
			return 0;
	} while (goes_on(&p));
	return -ETIMEDOUT;
}

/* As many messages as count, at most WINDOW_MAX, in one list. */
static int say(struct side *s, enum mode mode, uint64_t size, unsigned count)
{
	struct shared *shared = floor_verbs.shared;
	struct ibv_sge sge = { .addr = (uintptr_t)(s->memory + BYTES_MAX),
			       .length = (uint32_t)size,
			       .lkey = s->mr->lkey };
	struct ibv_send_wr list[WINDOW_MAX], *bad;
	int rc = make_room(s, count);

	for (unsigned i = 0; i < count; i++) {
		struct ibv_send_wr *wr = &list[i];

		*wr = (struct ibv_send_wr){ .next = i + 1 < count ? wr + 1 : NULL,
					    .sg_list = &sge,
					    .num_sge = 1 };
		wr->opcode = mode == MODE_WRITE_IMM ? IBV_WR_RDMA_WRITE_WITH_IMM
			     : mode == MODE_WRITE   ? IBV_WR_RDMA_WRITE
						    : IBV_WR_SEND;
		if (mode == MODE_WRITE_IMM || mode == MODE_WRITE) {
			wr->wr.rdma.remote_addr =
				atomic_load(&shared->side[!s->index].addr);
			wr->wr.rdma.rkey = shared->side[!s->index].rkey;
		}
		wr->send_flags = size <= s->inline_max ? IBV_SEND_INLINE : 0;
		if (++s->sends % SIGNAL == 0)
			wr->send_flags |= IBV_SEND_SIGNALED;
	}
	return rc ? rc : ibv_post_send(s->id->qp, list, &bad) == 0 ? 0 : -EIO;
}

/* Not marked before its turn: until the other side has answered, or begins again, the device may not have read what
 * was said before, and takes it from the same place. */
static int say_marked(struct side *s, enum mode mode, uint64_t size, uint8_t mark)
{
	s->memory[BYTES_MAX + size - 1] = mark;
	return say(s, mode, size, 1);
}

static int hear(struct side *s)
{
	struct patience p = { 0 };
	struct ibv_wc wc;
	int n;

	do
		n = reap(s->recv_cq, &wc);
	while (n == 0 && goes_on(&p));
	return n < 0 ? n : n == 0 ? -ETIMEDOUT : post_receive(s);
}

/* The last byte of what is written changes with each message. */
static int see(const struct side *s, uint64_t size, uint8_t mark)
{
	const uint8_t *last = s->memory + size - 1;
	struct patience p = { 0 };

	while (__atomic_load_n(last, __ATOMIC_ACQUIRE) != mark) {
		if (!goes_on(&p))
			return -ETIMEDOUT;
		praas_pause();
	}
	return 0;
}

static int exchange(struct side *s, enum mode mode, uint64_t size, bool first)
{
	uint8_t mark = (uint8_t)(s->exchanges++ % 250 + 1);
	int rc = 0;

	if (first)
		rc = say_marked(s, mode, size, mark);
	if (rc == 0 && mode == MODE_WRITE)
		rc = see(s, size, mark);
	else if (rc == 0)
		rc = hear(s);
	if (rc == 0 && !first)
		rc = say_marked(s, mode, size, mark);
	return rc;
}

/* Takes what has come, and posts as many receives. How many; negative errno. */
static int hear_some(struct side *s)
{
	struct ibv_wc wc[TAKE];
	int n = ibv_poll_cq(s->recv_cq, TAKE, wc), rc = 0;

	for (int i = 0; rc == 0 && i < n; i++)
		rc = wc[i].status == IBV_WC_SUCCESS ? post_receive(s) : -EIO;
	return n < 0 ? -EIO : rc ? rc : n;
}

/* n messages there and back, window of them under way; or the other side of it: all that comes. */
static int stream(struct side *s, uint64_t size, uint64_t n, uint64_t window)
{
	uint64_t sent = 0, got = 0;
	struct patience p = { 0 };

	while ((got < n || sent < n) && goes_on(&p)) {
		uint64_t may = praas_min_u64(n, got + window) - sent;
		int came, rc = 0;

		if (may > 0)
			rc = say(s, MODE_SEND, size, (unsigned)may);
		if (rc != 0)
			return rc;
		sent += may;
		came = hear_some(s);
		if (came < 0)
			return came;
		got += (uint64_t)came;
		if (came > 0)
			p = (struct patience){ 0 };
	}
	return got < n || sent < n ? -ETIMEDOUT : 0;
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
	struct rdma_conn_param param = { .responder_resources = 1,
					 .initiator_depth = 1,
					 .rnr_retry_count = 7 };
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
	struct rdma_conn_param param = { .responder_resources = 1,
					 .initiator_depth = 1,
					 .retry_count = 7,
					 .rnr_retry_count = 7 };
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
	int rc = 0;

	if (count == 0) {
		if (accept_peer(s) != 0)
			_Exit(1);
		return;
	}
	if (mode == MODE_STREAM)
		rc = stream(s, size, count, 0);
	for (uint64_t i = 0; rc == 0 && mode != MODE_STREAM && i < count; i++)
		rc = exchange(s, mode, size, false);
	if (rc != 0)
		atomic_store(&floor_verbs.shared->failed, true);
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

const char *praas_floor_verbs_device(void)
{
	return floor_verbs.rc == 0
		       ? ibv_get_device_name(floor_verbs.side.id->verbs->device)
		       : NULL;
}

static enum mode mode_of(const struct praas_contender *c)
{
	return strcmp(c->variant, "verbs-write") == 0       ? MODE_WRITE
	       : strcmp(c->variant, "verbs-write-imm") == 0 ? MODE_WRITE_IMM
	       : c->arg                                     ? MODE_STREAM
							    : MODE_SEND;
}

static int setup(struct praas_contender *c)
{
	/* There is no immediate data over iWARP. */
	if (floor_verbs.rc == 0 && mode_of(c) == MODE_WRITE_IMM &&
	    floor_verbs.side.id->verbs->device->transport_type == IBV_TRANSPORT_IWARP)
		return -EOPNOTSUPP;
	return floor_verbs.rc;
}

/* After a failure nothing more can be measured with this pair. */
static int ended(int rc)
{
	if (rc == 0)
		return 0;
	atomic_store(&floor_verbs.shared->failed, true);
	floor_verbs.rc = rc;
	return rc;
}

static int tell_other(const struct praas_contender *c, uint64_t n)
{
	return praas_floor_peer_go(&floor_verbs.peer,
				   (uint64_t)mode_of(c) << MODE_SHIFT |
					   c->size << SIZE_SHIFT | n);
}

static int round_trips(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	enum mode mode = mode_of(c);
	int rc = tell_other(c, n);

	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		uint64_t t0 = praas_perf_ticks();

		rc = exchange(&floor_verbs.side, mode, c->size, true);
		praas_hist_add(h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0));
	}
	return ended(rc);
}

static int round_stream(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	uint64_t t0 = praas_perf_ticks();
	int rc = tell_other(c, n);

	if (rc == 0)
		rc = stream(&floor_verbs.side, c->size, n, (uintptr_t)c->arg);
	if (rc == 0)
		praas_hist_add(h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0) *
					  1000u / n);
	return ended(rc);
}

void praas_floor_verbs(struct praas_contender *c, const char *bench,
		       const char *variant, uint64_t size, uint64_t n)
{
	*c = (struct praas_contender){ .bench = bench,
				       .variant = variant,
				       .role = PRAAS_ROLE_FLOOR,
				       .waits = "spin",
				       .size = size,
				       .n = n,
				       .setup = setup,
				       .round = round_trips };
}

void praas_floor_verbs_stream(struct praas_contender *c, const char *bench,
			      const char *variant, uint64_t size, unsigned inflight,
			      uint64_t n)
{
	praas_floor_verbs(c, bench, variant, size, n);
	c->arg = (const void *)(uintptr_t)inflight;
	c->scale = 0.001;
	c->round = round_stream;
}
