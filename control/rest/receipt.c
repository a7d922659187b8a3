/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rest/receipt.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "control/rest/request.h"
#include "internal/base.h"

#define SETTLE_NS 500000000  /* others wait so long for a client who is slow */
#define DOUBT_NS 1000000000u /* his host, who sends no more, confirms within that */
#define LOOK_NS 1000000

enum delivery { DELIVERED, LOST, IN_DOUBT };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static struct praas_request *all;

void praas_receipt_open(struct praas_request *rq, praas_connection *conn,
			const struct praas_msg_held *held)
{
	rq->receipt.conn = conn;
	rq->receipt.held = *held;
	(void)pthread_mutex_lock(&lock);
	rq->receipt.next = all;
	all = rq;
	(void)pthread_mutex_unlock(&lock);
}

static void end(struct praas_request *rq, bool good)
{
	const struct praas_process_record *process = &rq->wait.record;
	praas_connection *conn = rq->receipt.conn;
	struct praas_request **at = &all;

	rq->receipt.conn = NULL;
	praas_data_return(rq->service->data, process, conn, good, false);
	if (rq->receipt.counts)
		praas_life_call_end(rq->service->life, process->number, 1);
	(void)pthread_mutex_lock(&lock);
	while (*at != rq)
		at = &(*at)->receipt.next;
	*at = rq->receipt.next;
	(void)pthread_cond_broadcast(&ended);
	(void)pthread_mutex_unlock(&lock);
}

void praas_receipt_take(struct praas_request *rq)
{
	/* What fails is received again. */
	end(rq, praas_msg_taken(rq->receipt.conn, &rq->receipt.held) == 0);
}

void praas_receipt_drop(struct praas_request *rq)
{
	end(rq, false);
}

/* ---- whether he has it -------------------------------------------------------------- */

/* The kernel has the whole answer. While the client's end stands, he is given it. When he has ended it, he
 * has it if his host confirms, and has not if his host refuses it. */
static enum delivery look_at_host(int fd)
{
	struct tcp_info info = { .tcpi_state = TCP_CLOSE };
	socklen_t bytes = sizeof(info);
	int left = 0;

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) ||
	    ioctl(fd, SIOCOUTQ, &left))
		return LOST;
	switch (info.tcpi_state) {
	case TCP_CLOSE_WAIT:
		return left > 0 ? IN_DOUBT : DELIVERED;
	case TCP_LAST_ACK:
	case TCP_CLOSING:
		return left > 1 ? IN_DOUBT : DELIVERED; /* our own end counts as one */
	case TCP_CLOSE:
		return left > 1 ? LOST : DELIVERED;
	default:
		return DELIVERED;
	}
}

/* One who stands by has read it, and ended his connection; or has ended with it unread. What becomes of it behind him
 * is not seen. */
static enum delivery look_at_replica(int fd)
{
	int left = 0;
	char byte;

	if (ioctl(fd, SIOCOUTQ, &left))
		return LOST;
	if (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == ECONNRESET)
		return LOST;
	return left > 0 ? IN_DOUBT : DELIVERED;
}

static enum delivery look(int fd)
{
	int domain = AF_INET;
	socklen_t bytes = sizeof(domain);

	(void)getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes);
	return domain == AF_UNIX ? look_at_replica(fd) : look_at_host(fd);
}

static enum delivery wait_for_host(int fd)
{
	const struct timespec pause = { .tv_nsec = LOOK_NS };
	uint64_t until = praas_now_ns() + DOUBT_NS;
	enum delivery d;

	while ((d = look(fd)) == IN_DOUBT && praas_now_ns() < until)
		(void)nanosleep(&pause, NULL);
	return d;
}

static void run_end(struct praas_job *job)
{
	struct praas_request *rq =
		(struct praas_request *)(void *)((char *)job -
						 offsetof(struct praas_request, job));
	enum delivery d = DELIVERED;

	if (rq->receipt.fd >= 0) {
		d = wait_for_host(rq->receipt.fd);
		(void)close(rq->receipt.fd); /* only looked at */
	}
	if (d == DELIVERED)
		praas_receipt_take(rq);
	else
		praas_receipt_drop(rq);
	praas_request_free(rq);
}

void praas_receipt_sent(struct praas_request *rq, int fd)
{
	enum delivery d = look(fd);

	rq->receipt.fd = -1;
	if (d == IN_DOUBT)
		rq->receipt.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (d == LOST || (d == IN_DOUBT && rq->receipt.fd < 0)) {
		praas_receipt_drop(rq);
		praas_request_free(rq);
		return;
	}
	rq->job.run = run_end;
	praas_jobs_submit_must(rq->service->jobs, &rq->job);
}

/* ---- others ------------------------------------------------------------------------- */

static bool same_process(const struct praas_request *a, const struct praas_request *b)
{
	return strcmp(a->match.pid, b->match.pid) == 0 &&
	       strcmp(a->match.app, b->match.app) == 0 &&
	       strcmp(a->caller.tenant, b->caller.tenant) == 0;
}

/* Lock held. */
static bool open_for(const struct praas_request *rq)
{
	const struct praas_request *at = all;

	while (at && !same_process(at, rq))
		at = at->receipt.next;
	return at != NULL;
}

void praas_receipts_settle(const struct praas_request *rq)
{
	struct timespec until;
	int rc = 0;

	(void)clock_gettime(CLOCK_REALTIME, &until); /* cannot fail */
	until.tv_nsec += SETTLE_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	(void)pthread_mutex_lock(&lock);
	while (rc == 0 && open_for(rq))
		rc = pthread_cond_timedwait(&ended, &lock, &until);
	(void)pthread_mutex_unlock(&lock);
}
