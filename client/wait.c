/* SPDX-License-Identifier: Apache-2.0 */
#include "client/connection.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "internal/base.h"

/* Turns, waiting, and what the caller gets: poll, wait, the blocking call. */

#define TURN_BUDGET 64u
/* Without membarrier a ring is looked at now and then. So is a ring of io_uring: with deferred task
 * work its descriptor does not always become readable. And so is a call that was taken back and has
 * found no room: nobody rings when there is some. */
#define UNSURE_SLEEP_NS 1000000

unsigned praas_turn(struct praas_connection *conn)
{
	unsigned done = 0;

	conn->held = 0;
	conn->turns_deep++;
	if (praas_likely(conn->link != NULL))
		done = conn->ops->poll(conn->port, TURN_BUDGET);
	conn->turns_deep--;
	if (praas_unlikely(conn->move != NULL) && !conn->following &&
	    conn->turns_deep == 0)
		return done + praas_follow(conn);
	if (conn->shm) {
		done += praas_direct_poll(conn);
		done += praas_routes_tend(conn);
	}
	if (done != 0)
		praas_waiter_busy(&conn->waiter);
	return done;
}

static void sleep_on(struct praas_connection *conn, uint64_t until_ns)
{
	struct pollfd fd = { .events = POLLIN };
	int64_t left = -1;
	struct timespec ts;

	if (conn->ops->arm(conn->port, &fd.fd) != 0)
		return; /* there is work */
	/* Our doorbell word is set and everybody is fenced: a last look at the workers' rings. */
	if (conn->shm && praas_direct_ready_any(conn))
		return;
	if (until_ns != 0) {
		uint64_t now = praas_now_ns();

		left = until_ns > now ? (int64_t)(until_ns - now) : 0;
	}
	if ((!conn->shm || praas_doorbell_fences || conn->reroutes != 0) &&
	    (left < 0 || left > UNSURE_SLEEP_NS))
		left = UNSURE_SLEEP_NS;
	ts = (struct timespec){ .tv_sec = left / 1000000000,
				.tv_nsec = left % 1000000000 };
	conn->stats.sleeps++;
	/* A signal, a time-out, an event: the caller looks again in any case. */
	(void)ppoll(&fd, 1, left < 0 ? NULL : &ts, NULL);
}

void praas_idle(struct praas_connection *conn, uint64_t until_ns)
{
	struct praas_waiter *w = &conn->waiter;
	enum praas_wait_step step = praas_waiter_idle(w);
	bool late = step == PRAAS_WAIT_SLEEP ||
		    (w->idle_since_ns != 0 &&
		     w->last_ns - w->idle_since_ns > PRAAS_WITHDRAW_NS);

	if (praas_unlikely(late && conn->direct_pending != 0 && !conn->withdrawn)) {
		(void)praas_direct_withdraw(conn);
		return; /* what came back is sent by the next turn */
	}
	if (praas_unlikely(step == PRAAS_WAIT_SLEEP && conn->link))
		sleep_on(conn, until_ns);
}

int praas_entry_wait(struct praas_connection *conn, struct praas_entry *e,
		     uint64_t until_ns)
{
	while (e->state != PRAAS_ENTRY_DONE) {
		if (praas_turn(conn) != 0)
			continue;
		if (praas_unlikely(!conn->link)) /* on_closed() has ended it */
			continue;
		if (until_ns != 0 && conn->waiter.idle >= conn->waiter.pauses &&
		    praas_now_ns() >= until_ns)
			return -EAGAIN;
		praas_idle(conn, until_ns);
	}
	return 0;
}

static void take(struct praas_connection *conn, struct praas_entry *e,
		 struct praas_result *ret_result)
{
	*ret_result = e->result;
	praas_entry_undone(conn, e);
	praas_entry_free(conn, e);
}

/* Waits; past the deadline and a grace for the peer's own word the outcome is DEADLINE. */
static void wait_deadline(struct praas_connection *conn, struct praas_entry *e,
			  struct praas_result *ret_result)
{
	uint64_t until = e->head.deadline_ns != 0
				 ? e->head.deadline_ns + PRAAS_DEADLINE_GRACE_NS
				 : 0;

	if (praas_entry_wait(conn, e, until) == 0) {
		take(conn, e, ret_result);
		return;
	}
	(void)praas_cancel(conn, e->head.id); /* if it is lost, so is the invocation */
	if (e->state == PRAAS_ENTRY_DONE) {
		take(conn, e, ret_result);
		ret_result->status = PRAAS_DEADLINE;
		return;
	}
	*ret_result =
		(struct praas_result){ .call = e->head.id, .status = PRAAS_DEADLINE };
	praas_result_text(conn, ret_result);
	if (e->extra & PRAAS_ENTRY_TIMED) /* the caller's memory goes */
		praas_timing_end(e, NULL);
	if (e->state == PRAAS_ENTRY_REROUTE) { /* nobody has it */
		praas_entry_end(conn, e, PRAAS_DEADLINE);
		praas_result_release(conn, &e->result);
		praas_entry_undone(conn, e);
		praas_entry_free(conn, e);
		return;
	}
	e->state = PRAAS_ENTRY_ABANDONED;
}

int praas_call(praas_connection *conn, const struct praas_call *call,
	       struct praas_result *ret_result)
{
	struct praas_entry *e;
	uint64_t id;
	int rc;

	if (praas_likely(conn->shm && conn->under_way == 0 && conn->link &&
			 !call->key && !call->trace && call->timeout_ns == 0 &&
			 (call->flags & ~PRAAS_CALL_MORE) == 0 && call->id == 0 &&
			 call->function < conn->functions_count &&
			 call->bytes <= conn->bytes_max)) {
		rc = praas_fast_call(conn, call, ret_result);
		if (praas_likely(rc != -EAGAIN))
			return rc;
	}
	rc = praas_submit(conn, call, &id);
	if (rc != 0)
		return rc;
	if (call->flags & PRAAS_CALL_ONE_WAY) {
		*ret_result = (struct praas_result){ .call = id };
		return 0;
	}
	e = praas_entry_find(conn, id);
	praas_check(e != NULL);
	wait_deadline(conn, e, ret_result);
	return 0;
}

int praas_poll(praas_connection *conn, struct praas_result *ret_results,
	       uint32_t results_max)
{
	uint32_t count = 0;
	uint32_t at;

	(void)praas_turn(conn);
	at = conn->done_head;
	while (at != PRAAS_ENTRY_NONE && count < results_max && count < INT32_MAX) {
		struct praas_entry *e = &conn->entries[at];

		at = e->next;
		if (!e->request)
			take(conn, e, &ret_results[count++]);
	}
	if (count == 0 && !conn->link && conn->done_head == PRAAS_ENTRY_NONE)
		return praas_fail_with(-ENOTCONN, "the connection has ended: %s",
				       strerror(-conn->closed_rc));
	return (int)count;
}

int praas_wait_call(praas_connection *conn, uint64_t call, int64_t timeout_ns,
		    struct praas_result *ret_result)
{
	struct praas_entry *e = praas_entry_find(conn, call);
	uint64_t until = 0;

	if (!e || e->request || e->state == PRAAS_ENTRY_ABANDONED)
		return praas_fail_with(-EINVAL, "no such invocation is under way");
	if (timeout_ns == 0) {
		(void)praas_turn(conn);
		if (e->state != PRAAS_ENTRY_DONE)
			return -EAGAIN;
	} else if (timeout_ns > 0) {
		until = praas_now_ns() + (uint64_t)timeout_ns;
	}
	/* The deadline of the invocation ends it, even when the peer does not say so. */
	if (e->head.deadline_ns != 0 &&
	    (until == 0 || until > e->head.deadline_ns + PRAAS_DEADLINE_GRACE_NS)) {
		wait_deadline(conn, e, ret_result);
		return 0;
	}
	if (praas_entry_wait(conn, e, until) != 0)
		return -EAGAIN;
	take(conn, e, ret_result);
	return 0;
}
