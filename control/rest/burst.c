/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rest/burst.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <microhttpd.h>

#include "control/rest/peers.h"
#include "control/rest/request.h"
#include "internal/base.h"

#define CALLS_MAX 64u        /* then it is waited for before others begin */
#define GATHER_NS 200000u    /* others may join the first for so long */
#define WAIT_NS 200000u      /* for the first of its calls, by the thread of HTTP */
#define EACH_NS 50000u       /* more for each */
#define LOOK_MIN_NS 100000   /* a job looks at those that are not the first so often */
#define LOOK_MAX_NS 20000000 /* and less and less often */

struct praas_burst {
	struct praas_burst *next; /* of its thread */
	struct praas_service *service;
	praas_connection *conn;
	struct praas_process_record process;
	struct praas_request *head, **tail; /* under way, in their order */
	uint32_t calls;                     /* so many */
	uint32_t shown; /* of them, those that libmicrohttpd will show to us again */
	bool waited;    /* once, by the thread of HTTP: nothing is added any more */
	uint32_t seen;  /* calls, when it was looked at last */
	uint64_t opened_ns;
	bool good, quick;
	struct praas_job job;
};

/* Those of this thread that were not waited for. */
static _Thread_local struct praas_burst *open_bursts;
static _Thread_local struct praas_audit_lines audit_lines;

static void leave_open(struct praas_burst *b)
{
	struct praas_burst **at = &open_bursts;

	while (*at && *at != b)
		at = &(*at)->next;
	if (*at)
		*at = b->next;
}

static void end(struct praas_burst *b)
{
	praas_data_return(b->service->data, &b->process, b->conn, b->good, b->quick);
	free(b);
}

static void append(struct praas_request **head, struct praas_request ***tail,
		   struct praas_request *rq)
{
	rq->burst_next = NULL;
	if (!*head)
		*tail = head;
	**tail = rq;
	*tail = &rq->burst_next;
}

/* Takes those that have ended from the list, to ret_ended; waits until until_ns (0: it does not wait)
 * for each in turn. */
static struct praas_request *take_ended(struct praas_burst *b, uint64_t until_ns,
					uint32_t *ret_count)
{
	struct praas_request *rq = b->head, *next, *ended = NULL, **ended_tail = &ended;

	b->head = NULL;
	b->calls = 0;
	*ret_count = 0;
	for (; rq; rq = next) {
		uint64_t now = until_ns ? praas_now_ns() : 0;
		int64_t left = until_ns > now ? (int64_t)(until_ns - now) : 0;
		struct praas_result result = { 0 };
		int rc = praas_wait_call(b->conn, rq->call, left, &result);

		next = rq->burst_next;
		if (rc == -EAGAIN) {
			until_ns = 0;
			append(&b->head, &b->tail, rq);
			b->calls++;
			continue;
		}
		rq->result.rc = rc;
		if (rc == 0)
			praas_call_take(rq, b->conn, &result);
		b->good = b->good && praas_result_good(&rq->result);
		b->quick = b->quick && rq->result.quick;
		append(&ended, &ended_tail, rq);
		(*ret_count)++;
	}
	return ended;
}

/* Its end, or its next try, is a job's: its connection is suspended, or gone. */
static void run_called(struct praas_job *job)
{
	struct praas_request *rq =
		(struct praas_request *)(void *)((char *)job -
						 offsetof(struct praas_request, job));

	praas_request_called(rq, true);
}

static void call_again(struct praas_request *rq)
{
	rq->job.run = run_called;
	praas_jobs_submit_must(rq->service->jobs, &rq->job);
}

/* By a job: waits for the first, and looks at the others now and then. */
static void run_late(struct praas_job *job)
{
	struct praas_burst *b =
		(struct praas_burst *)(void *)((char *)job -
					       offsetof(struct praas_burst, job));
	struct praas_life *life = b->service->life;
	uint64_t began = praas_now_ns();

	b->quick = false; /* the next ones go the long way */
	while (b->head) {
		uint64_t now = praas_now_ns(), look = (now - began) / 8;
		struct praas_request *rq, *next;
		uint32_t count;

		look = look < LOOK_MIN_NS ? LOOK_MIN_NS : look;
		rq = take_ended(b, now + praas_min_u64(look, LOOK_MAX_NS), &count);
		praas_life_call_end(life, b->process.number, count);
		for (; rq; rq = next) {
			next = rq->burst_next;
			rq->burst = NULL;
			rq->result.quick = false;
			if (praas_result_good(&rq->result))
				rq->answer(rq);
			else
				call_again(rq);
		}
	}
	end(b);
}

/* When libmicrohttpd will show none of those that are left, the rest is a job's. */
static void leave_to_job(struct praas_burst *b)
{
	if (b->shown > 0 || !b->head)
		return;
	leave_open(b);
	b->waited = true;
	b->job.run = run_late;
	praas_jobs_submit_must(b->service->jobs, &b->job);
}

/* Of the thread of HTTP, for the first time. */
static void wait_all(struct praas_burst *b)
{
	struct praas_life *life = b->service->life;
	uint64_t until = praas_now_ns() + WAIT_NS + b->calls * (uint64_t)EACH_NS;
	struct praas_request *rq, *next;
	uint32_t count;

	leave_open(b);
	b->waited = true;
	rq = take_ended(b, until, &count);
	praas_life_call_end(life, b->process.number, count);
	for (; rq; rq = next) {
		next = rq->burst_next;
		rq->burst = NULL;
		b->shown -= !rq->orphan;
		if (praas_result_good(&rq->result)) {
			rq->audit_lines = &audit_lines;
			rq->answer(rq); /* an orphan is gone */
		} else if (rq->orphan) {
			call_again(rq);
		}
	}
	praas_audit_flush(b->service->audit, &audit_lines);
	if (!b->head)
		end(b);
	else
		leave_to_job(b);
}

struct praas_burst *praas_burst_open(struct praas_request *rq)
{
	const struct praas_process_record *process = &rq->wait.record;
	struct praas_burst *b = open_bursts;
	praas_connection *conn;

	while (b && (b->process.number != process->number ||
		     b->process.epoch != process->epoch))
		b = b->next;
	if (b && b->calls < CALLS_MAX)
		return b;
	if (b)
		wait_all(b);
	conn = praas_data_quick(rq->service->data, process);
	if (!conn)
		return NULL;
	b = calloc(1, sizeof(*b));
	if (!b) {
		praas_data_return(rq->service->data, process, conn, true, true);
		return NULL;
	}
	b->service = rq->service;
	b->conn = conn;
	b->process = *process;
	b->opened_ns = praas_now_ns();
	b->good = b->quick = true;
	b->next = open_bursts;
	open_bursts = b;
	return b;
}

praas_connection *praas_burst_connection(const struct praas_burst *burst)
{
	return burst->conn;
}

void praas_burst_add(struct praas_burst *burst, struct praas_request *rq)
{
	rq->burst = burst;
	append(&burst->head, &burst->tail, rq);
	burst->calls++;
	burst->shown++;
}

void praas_burst_refuse(struct praas_burst *burst, bool good)
{
	burst->good = burst->good && good;
	if (burst->head)
		return;
	leave_open(burst);
	end(burst);
}

/* While more come with each look at the sockets, it is not waited for: the core is given away once for all
 * of them. Asked for the first that is shown; the others follow it. */
static bool gathers(struct praas_burst *b, const struct praas_request *rq)
{
	const struct praas_request *first = b->head;
	uint32_t seen = b->seen;

	while (first->orphan)
		first = first->burst_next;
	if (first != rq)
		return true;
	b->seen = b->calls;
	/* Who is alone after another look at the sockets does not wait for a second one. */
	return b->calls != seen && b->calls > 1 &&
	       praas_now_ns() - b->opened_ns < GATHER_NS;
}

bool praas_burst_look(struct praas_request *rq)
{
	if (rq->burst && !rq->burst->waited) {
		if (gathers(rq->burst, rq))
			return false;
		wait_all(rq->burst);
	}
	if (rq->answered)
		return true;
	/* Before a job has it: resuming is the job's. */
	rq->suspended = true;
	MHD_suspend_connection(rq->connection);
	if (rq->burst) {
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): one that has ended has no requests */
		rq->burst->shown--;
		leave_to_job(rq->burst);
	} else {
		call_again(rq);
	}
	return false;
}

void praas_burst_orphan(struct praas_request *rq)
{
	(void)snprintf(rq->from, sizeof(rq->from), "%s", praas_request_from(rq));
	rq->orphan = true;
	rq->connection = NULL;
	rq->peer = NULL;
	if (rq->burst) {
		rq->burst->shown--;
		leave_to_job(rq->burst);
	} else {
		call_again(rq);
	}
}
