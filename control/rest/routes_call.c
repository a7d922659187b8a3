/* SPDX-License-Identifier: Apache-2.0
 *
 * What invocations, state and messages through REST have in common: wake the process, get a
 * connection to it, do the work, and once more if it went away before.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/rest/request.h"
#include "internal/base.h"

#define TRIES_MAX 12u /* with back-off 1 … 50 ms: a process that is going down */
#define BACKOFF_MAX_NS 50000000u

static void connected_step(struct praas_request *rq);

/* The work was not done, and may be done by the process's next epoch. */
static bool again(const struct praas_request *rq, bool leased)
{
	int rc = rq->result.rc;

	if (rq->result.status == PRAAS_DRAINING || rq->result.status == PRAAS_MOVED)
		return true;
	if (rc == -ESTALE || rc == -ESHUTDOWN || rc == -ECONNREFUSED)
		return true;
	/* Its controller ended between the record and our handshake. */
	if (!leased && (rc == -ECONNRESET || rc == -EPIPE || rc == -ENOENT))
		return true;
	return rc == -ENOTCONN && (!leased || !rq->once);
}

static void back_off(uint32_t tries)
{
	struct timespec pause = { .tv_nsec = 1000000 };

	if (tries < 6)
		pause.tv_nsec <<= tries;
	else
		pause.tv_nsec = BACKOFF_MAX_NS;
	(void)nanosleep(&pause, NULL); /* a job's thread; the state changes within ms */
}

static void clear_result(struct praas_call_result *result)
{
	if (!result->lent)
		free(result->data);
	json_decref(result->json);
	memset(result, 0, sizeof(*result));
}

/* Short of memory for a message, the connection holds one that nobody knows of: the message is there for others
 * when that connection has ended. */
bool praas_result_good(const struct praas_call_result *result)
{
	return result->rc != -ENOMEM && result->rc != -ENOTCONN &&
	       result->rc != -EPROTO && result->status != PRAAS_UNKNOWN &&
	       result->status != PRAAS_DRAINING && result->status != PRAAS_MOVED;
}

/* Does the work. Returns whether a connection was had. */
static bool do_work(struct praas_request *rq,
		    const struct praas_process_record *process)
{
	struct praas_data *data = rq->service->data;
	praas_connection *conn;

	rq->result.rc =
		praas_data_lease(data, &rq->app, process,
				 rq->once || rq->tries > 0 || rq->resent, &conn);
	if (rq->result.rc)
		return false;
	rq->work(rq, conn, &rq->result);
	if (!rq->receipt.conn) /* else it stays on that connection */
		praas_data_return(data, process, conn, praas_result_good(&rq->result),
				  rq->result.quick);
	return true;
}

/* The connection broke while the call was under way, or before, unseen. The process, which lives on, knows by
 * the id whether it ran: over a new connection it answers with what came of it, or runs it now. */
static void send_again(struct praas_request *rq)
{
	struct praas_process_record process = rq->wait.record;
	struct praas_life *life = rq->service->life;
	int rc = praas_life_call_begin(life, process.number);
	bool leased = false;

	if (rc == -EAGAIN)
		return;
	rq->resent = rq->result.again;
	clear_result(&rq->result);
	leased = do_work(rq, &process);
	if (rc == 0)
		praas_life_call_end(life, process.number, 1);
	if (leased && rq->result.rc == 0 && praas_result_good(&rq->result) &&
	    rq->result.status != PRAAS_DUPLICATE)
		return;
	clear_result(&rq->result); /* it has gone, or knows no more than that it ran */
	rq->result.status = PRAAS_UNKNOWN;
}

void praas_request_called(struct praas_request *rq, bool leased)
{
	char name[PRAAS_NAME_MAX + 1];

	if (rq->result.again && praas_now_ns() < rq->deadline_ns) {
		send_again(rq);
		rq->answer(rq);
		return;
	}
	if (!again(rq, leased) || rq->tries >= TRIES_MAX ||
	    praas_now_ns() >= rq->deadline_ns) {
		rq->answer(rq);
		return;
	}
	clear_result(&rq->result);
	back_off(rq->tries++);
	memcpy(name, rq->wait.record.name, sizeof(name)); /* the wait is made anew */
	praas_life_activate(rq->service->life, &rq->app, name,
			    praas_request_await(rq, connected_step, rq->deadline_ns));
}

static void connected_step(struct praas_request *rq)
{
	struct praas_process_record process = rq->wait.record;
	bool leased;
	int rc;

	if (rq->wait.outcome.rc) {
		if (rq->wait.outcome.rc == -ETIMEDOUT)
			strcpy(rq->wait.outcome.code, "deadline");
		praas_reply_outcome(rq, &rq->wait.outcome);
		return;
	}
	rc = praas_life_call_begin(rq->service->life, process.number);
	if (rc == -EAGAIN) {
		praas_reply_errno(rq, rc,
				  "too many calls through REST in this process");
		return;
	}
	leased = do_work(rq, &process);
	if (rc == 0 && !rq->receipt.conn)
		praas_life_call_end(rq->service->life, process.number, 1);
	rq->receipt.counts = rc == 0;
	praas_request_called(rq, leased);
}

void praas_request_call(struct praas_request *rq, const char *pid,
			void (*work)(struct praas_request *rq, praas_connection *conn,
				     struct praas_call_result *ret_result),
			void (*answer)(struct praas_request *rq))
{
	struct praas_life_wait *wait =
		praas_request_await(rq, connected_step, rq->deadline_ns);

	rq->work = work;
	rq->answer = answer;
	if (pid)
		praas_life_activate(rq->service->life, &rq->app, pid, wait);
	else
		praas_life_place(rq->service->life, &rq->app, wait);
}
