/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/tcp_port.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

/*
 * io_uring of a TCP port. Set up at open, so that a kernel that cannot is known then, but enabled
 * by the first poll, because a ring with DEFER_TASKRUN belongs to the thread that enables it. A port
 * that only connects is a client's, whose threads may hand their connection on: its ring belongs to
 * nobody. It loses nothing by it, as what is read while it polls is read without io_uring. The kernel
 * tells by a flag in shared memory when it has work that needs us to enter it, so a turn with
 * nothing to do costs two loads and no system call.
 *
 * user_data: connection index << 8 | operation. A connection's slot is not used again while
 * operations of it are outstanding, so an index is never stale.
 */

#define SQ_ENTRIES 256u
#define CQ_ENTRIES 4096u
#define GROUP 0u

/* liburing maps and unmaps with system calls of its own, unseen by ThreadSanitizer: a ring that lies where
 * another thread's has lain would be memory of both to it. The kernel orders the one before the other. */
static void ring_mapped(bool now)
{
#ifdef __SANITIZE_THREAD__
	static char rings;

	if (now)
		__tsan_acquire(&rings);
	else
		__tsan_release(&rings);
#else
	(void)now;
#endif
}

static void ring_exit(struct praas_tcp_port *port)
{
	ring_mapped(false);
	io_uring_queue_exit(&port->ring);
}

static int setup(struct praas_tcp_port *port)
{
	static const unsigned flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			IORING_SETUP_TASKRUN_FLAG,                     /* Linux 6.1 */
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, /* 5.19 */
		0,
	};
	int rc = -EINVAL;

	for (unsigned i = port->config.listen ? 0 : 2; i < 3 && rc == -EINVAL; i++) {
		struct io_uring_params p = {
			.flags = flags[i] | IORING_SETUP_R_DISABLED |
				 IORING_SETUP_CQSIZE,
			.cq_entries = CQ_ENTRIES,
		};

		rc = io_uring_queue_init_params(SQ_ENTRIES, &port->ring, &p);
		ring_mapped(true);
		port->task_flag =
			rc == 0 && (flags[i] & IORING_SETUP_TASKRUN_FLAG) != 0;
		port->pinned = rc == 0 && (flags[i] & IORING_SETUP_SINGLE_ISSUER) != 0;
		if (rc == 0 && (p.features & IORING_FEAT_NODROP) == 0) {
			ring_exit(port);
			rc = -EOPNOTSUPP;
		}
	}
	return rc == -ENOSYS || rc == -EINVAL ? -EOPNOTSUPP : rc;
}

static uint32_t power_of_two(uint32_t n)
{
	uint32_t p = 1;

	while (p < n)
		p <<= 1;
	return p;
}

/* Failing is no error: then connections are polled for readiness. */
static void setup_provided(struct praas_tcp_port *port)
{
	uint32_t entries = power_of_two(port->chunks.count);
	size_t bytes = praas_align_up(entries * sizeof(struct io_uring_buf), 4096);
	struct io_uring_buf_reg reg = { .ring_entries = entries, .bgid = GROUP };

	port->provided = aligned_alloc(4096, bytes);
	port->provided_chunk = calloc(entries, sizeof(struct praas_tcp_chunk *));
	if (port->provided == NULL || port->provided_chunk == NULL)
		return;
	memset(port->provided, 0, bytes);
	reg.ring_addr = (uint64_t)(uintptr_t)port->provided;
	if (io_uring_register_buf_ring(&port->ring, &reg, 0) != 0)
		return;
	port->provided_entries = entries;
	port->multishot = true;
}

int praas_tcp_ring_init(struct praas_tcp_port *port)
{
	int rc = setup(port);

	if (rc != 0)
		return rc;
	port->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (port->event_fd < 0) {
		rc = -errno;
		ring_exit(port);
		return rc;
	}
	if (port->tls == NULL)
		setup_provided(port);
	return 0;
}

/* The ring's own descriptor would do by the manual, but with DEFER_TASKRUN Linux 6.18 does not wake
 * its poll(2) when work comes. The flag is in shared memory: while awake the kernel tells nothing. */
void praas_tcp_ring_sleep(struct praas_tcp_port *port)
{
	port->event_armed = true;
	(void)io_uring_cq_eventfd_toggle(&port->ring, true); /* it exists: no error */
	/* Acquire and release order no store before a later load: either the kernel sees the flag
	 * when it adds work, or praas_tcp_ring_ready() sees that work. */
	atomic_thread_fence(memory_order_seq_cst);
}

bool praas_tcp_ring_is_owner(const struct praas_tcp_port *port)
{
	return !port->pinned || port->owner == gettid();
}

void praas_tcp_ring_awake(struct praas_tcp_port *port)
{
	uint64_t count;

	port->event_armed = false;
	(void)io_uring_cq_eventfd_toggle(&port->ring, false); /* it exists: no error */
	if (read(port->event_fd, &count, sizeof(count)) < 0)
		return; /* nothing was told */
}

void praas_tcp_ring_release(struct praas_tcp_port *port)
{
	ring_exit(port);
	(void)close(port->event_fd); /* an eventfd */
	for (uint32_t i = 0; i < port->provided_entries; i++) {
		if (port->provided_chunk[i])
			praas_tcp_chunk_unref(&port->chunks, port->provided_chunk[i]);
	}
	free(port->provided);
	free(port->provided_chunk);
	port->provided_entries = 0;
}

int praas_tcp_ring_start(struct praas_tcp_port *port)
{
	/* liburing 2.3 does not export its wrapper. */
	long rc = syscall(__NR_io_uring_register, port->ring.ring_fd,
			  IORING_REGISTER_ENABLE_RINGS, NULL, 0);

	if (rc < 0)
		return -errno;
	/* Only saves time; the number that it gives is good in this thread alone. */
	if (port->pinned)
		(void)io_uring_register_ring_fd(&port->ring);
	rc = io_uring_register_eventfd(&port->ring, port->event_fd);
	if (rc != 0)
		return (int)rc;
	praas_tcp_ring_awake(port);
	port->owner = gettid();
	port->started = true;
	return 0;
}

static struct io_uring_sqe *get_sqe(struct praas_tcp_port *port, uint32_t index,
				    enum praas_tcp_op op)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&port->ring);

	if (sqe == NULL && port->started) {
		(void)io_uring_submit(
			&port->ring); /* makes room, or the caller tries again */
		sqe = io_uring_get_sqe(&port->ring);
	}
	if (sqe)
		sqe->user_data = (uint64_t)index << 8 | op;
	return sqe;
}

void praas_tcp_ring_provide(struct praas_tcp_port *port)
{
	int mask = io_uring_buf_ring_mask(port->provided_entries), added = 0;

	if (!port->multishot)
		return;
	/* Half stays for connections that are read directly. */
	while (port->provided_count < port->chunks.count / 2) {
		struct praas_tcp_chunk *chunk = praas_tcp_chunk_take(&port->chunks);

		if (chunk == NULL)
			break;
		port->provided_chunk[chunk->index] = chunk;
		io_uring_buf_ring_add(port->provided, chunk->data,
				      PRAAS_TCP_CHUNK_BYTES, chunk->index, mask, added);
		added++;
		port->provided_count++;
	}
	if (added > 0)
		io_uring_buf_ring_advance(port->provided, added);
}

bool praas_tcp_ring_accept(struct praas_tcp_port *port)
{
	struct io_uring_sqe *sqe = get_sqe(port, 0, PRAAS_TCP_OP_ACCEPT);

	if (sqe == NULL)
		return false;
	if (port->task_flag) /* both came with 5.19 */
		io_uring_prep_multishot_accept(sqe, port->listen_fd, NULL, NULL,
					       SOCK_NONBLOCK | SOCK_CLOEXEC);
	else
		io_uring_prep_accept(sqe, port->listen_fd, NULL, NULL,
				     SOCK_NONBLOCK | SOCK_CLOEXEC);
	sqe->user_data = PRAAS_TCP_OP_ACCEPT;
	port->accept_armed = true;
	return true;
}

bool praas_tcp_ring_timer(struct praas_tcp_port *port, uint64_t ns)
{
	struct io_uring_sqe *sqe = get_sqe(port, 0, PRAAS_TCP_OP_TIMER);

	if (sqe == NULL)
		return false;
	port->timer.tv_sec = (long long)(ns / 1000000000u);
	port->timer.tv_nsec = (long long)(ns % 1000000000u);
	io_uring_prep_timeout(sqe, &port->timer, 0, 0);
	sqe->user_data = PRAAS_TCP_OP_TIMER;
	port->timer_armed = true;
	return true;
}

bool praas_tcp_ring_recv(struct praas_tcp_conn *conn)
{
	struct io_uring_sqe *sqe =
		get_sqe(praas_tcp_port_of(conn), conn->index, PRAAS_TCP_OP_RECV);

	if (sqe == NULL)
		return false;
	io_uring_prep_recv_multishot(sqe, conn->fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = GROUP;
	sqe->user_data = (uint64_t)conn->index << 8 | PRAAS_TCP_OP_RECV;
	conn->recv_armed = true;
	conn->ops++;
	return true;
}

bool praas_tcp_ring_poll(struct praas_tcp_conn *conn, enum praas_tcp_op op)
{
	bool in = op == PRAAS_TCP_OP_POLL_IN;
	struct io_uring_sqe *sqe = get_sqe(praas_tcp_port_of(conn), conn->index, op);

	if (sqe == NULL)
		return false;
	io_uring_prep_poll_add(sqe, conn->fd, in ? POLLIN | POLLRDHUP : POLLOUT);
	sqe->user_data = (uint64_t)conn->index << 8 | op;
	if (in)
		conn->poll_in_armed = true;
	else
		conn->poll_out_armed = true;
	conn->ops++;
	return true;
}

bool praas_tcp_ring_cancel(struct praas_tcp_conn *conn, enum praas_tcp_op op)
{
	struct io_uring_sqe *sqe =
		get_sqe(praas_tcp_port_of(conn), conn->index, PRAAS_TCP_OP_CANCEL);

	if (sqe == NULL)
		return false;
	io_uring_prep_cancel64(sqe, (uint64_t)conn->index << 8 | op, 0);
	sqe->user_data = (uint64_t)conn->index << 8 | PRAAS_TCP_OP_CANCEL;
	conn->ops++;
	return true;
}

void praas_tcp_ring_cancel_all(struct praas_tcp_conn *conn)
{
	struct praas_tcp_port *port = praas_tcp_port_of(conn);

	if (conn->ops == 0)
		return;
	/* Each by its name: cancelling by descriptor came later than what we need. What finds no
	 * place in the ring ends with the socket's shutdown instead. */
	if (conn->recv_armed && !conn->recv_cancelling)
		conn->recv_cancelling = praas_tcp_ring_cancel(conn, PRAAS_TCP_OP_RECV);
	if (conn->poll_in_armed)
		(void)praas_tcp_ring_cancel(conn, PRAAS_TCP_OP_POLL_IN);
	if (conn->poll_out_armed)
		(void)praas_tcp_ring_cancel(conn, PRAAS_TCP_OP_POLL_OUT);
	praas_tcp_ring_submit(port);
}

/* A chunk that the kernel has filled leaves the provided ring. */
static struct praas_tcp_chunk *take_provided(struct praas_tcp_port *port,
					     uint32_t flags)
{
	uint32_t id = flags >> IORING_CQE_BUFFER_SHIFT;
	struct praas_tcp_chunk *chunk;

	if ((flags & IORING_CQE_F_BUFFER) == 0)
		return NULL;
	praas_check(id < port->provided_entries);
	chunk = port->provided_chunk[id];
	praas_check(chunk != NULL);
	port->provided_chunk[id] = NULL;
	port->provided_count--;
	port->chunks.freed = true; /* room to provide another */
	return chunk;
}

static void on_recv(struct praas_tcp_conn *conn, int res, uint32_t flags)
{
	struct praas_tcp_port *port = praas_tcp_port_of(conn);
	struct praas_tcp_chunk *chunk = take_provided(port, flags);

	if (chunk && (res <= 0 || conn->state != PRAAS_TCP_OPEN)) {
		praas_tcp_chunk_unref(&port->chunks, chunk);
		chunk = NULL;
	}
	if (chunk)
		praas_tcp_on_bytes(conn, chunk, (uint32_t)res);
	if ((flags & IORING_CQE_F_MORE) == 0) {
		conn->ops--;
		conn->recv_armed = false;
		conn->recv_cancelling = false;
		praas_tcp_on_recv_end(conn, res);
	}
}

static void on_poll(struct praas_tcp_conn *conn, enum praas_tcp_op op, int res)
{
	conn->ops--;
	if (op == PRAAS_TCP_OP_POLL_IN)
		conn->poll_in_armed = false;
	else
		conn->poll_out_armed = false;
	if (res < 0) {
		/* Cancelled by us, or with the thread that had asked, which has ended. */
		if (conn->state == PRAAS_TCP_OPEN ||
		    conn->state == PRAAS_TCP_CONNECTING)
			praas_conn_activate(&conn->base);
		return;
	}
	if (conn->state == PRAAS_TCP_CONNECTING)
		praas_tcp_on_connected(conn);
	else if (conn->state == PRAAS_TCP_OPEN && op == PRAAS_TCP_OP_POLL_IN &&
		 !conn->opened_due)
		praas_tcp_make_hot(conn);
	if (conn->state != PRAAS_TCP_DEAD)
		praas_conn_activate(&conn->base);
}

static void on_cqe(struct praas_tcp_port *port, const struct io_uring_cqe *cqe)
{
	enum praas_tcp_op op = (enum praas_tcp_op)(cqe->user_data & 0xff);
	struct praas_tcp_conn *conn = &port->conn[cqe->user_data >> 8];

	switch (op) {
	case PRAAS_TCP_OP_ACCEPT:
		if ((cqe->flags & IORING_CQE_F_MORE) == 0)
			port->accept_armed = false;
		praas_tcp_on_accept(port, cqe->res);
		break;
	case PRAAS_TCP_OP_TIMER:
		port->timer_armed = false;
		break;
	case PRAAS_TCP_OP_RECV:
		on_recv(conn, cqe->res, cqe->flags);
		break;
	case PRAAS_TCP_OP_POLL_IN:
	case PRAAS_TCP_OP_POLL_OUT:
		on_poll(conn, op, cqe->res);
		break;
	case PRAAS_TCP_OP_CANCEL:
		conn->ops--;
		break;
	}
}

bool praas_tcp_ring_ready(const struct praas_tcp_port *port)
{
	/* The kernel's flag: work is waiting for us to enter. */
	unsigned flags = __atomic_load_n(port->ring.sq.kflags, __ATOMIC_RELAXED);

	return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0 ||
	       io_uring_cq_ready(&port->ring) > 0;
}

void praas_tcp_ring_submit(struct praas_tcp_port *port)
{
	if (port->started && io_uring_sq_ready(&port->ring) > 0)
		(void)io_uring_submit(&port->ring); /* what is not taken stays queued */
}

void praas_tcp_ring_turn(struct praas_tcp_port *port)
{
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;

	if (io_uring_sq_ready(&port->ring) > 0)
		(void)io_uring_submit_and_get_events(&port->ring); /* as above */
	else if (praas_tcp_ring_ready(port))
		(void)io_uring_get_events(&port->ring); /* found again next turn */
	else
		return;
	io_uring_for_each_cqe(&port->ring, head, cqe)
	{
		on_cqe(port, cqe);
		count++;
	}
	io_uring_cq_advance(&port->ring, count);
}

void praas_tcp_port_set_multishot(struct praas_port *port, bool on)
{
	struct praas_tcp_port *p = (struct praas_tcp_port *)(void *)port;

	p->multishot = on && p->provided_entries > 0;
}
