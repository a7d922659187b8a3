/* SPDX-License-Identifier: Apache-2.0
 *
 * An invocation through REST: the long door to the same data plane.
 */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/names.h"
#include "control/rest/burst.h"
#include "control/rest/request.h"
#include "internal/base.h"

#define DEADLINE_MS 30000u
#define QUICK_BYTES (64u * 1024) /* a payload that is copied in no time */
#define QUICK_RUN_NS 50000u      /* a function that takes no longer is quick */

struct status_row {
	int status; /* enum praas_status */
	int http;
	const char *code;
	const char *hint;
};

static const struct status_row rows[] = {
	{ PRAAS_CRASHED, 502, "crashed", "the function died; its writes are undone" },
	{ PRAAS_DEADLINE, 504, "deadline", "allow more time with Praas-Deadline-Ms" },
	{ PRAAS_CANCELLED, 409, "cancelled", "try again" },
	{ PRAAS_OVERLOADED, 503, "overloaded", "try again later" },
	{ PRAAS_NO_FUNCTION, 404, "no_function", "praas.json names the functions" },
	{ PRAAS_TOO_LARGE, 413, "too_large",
	  "the application's bytes_max is the limit" },
	{ PRAAS_NO_MEMORY, 507, "no_memory", "give the application more memory" },
	{ PRAAS_DRAINING, 503, "draining", "try again" },
	{ PRAAS_MOVED, 503, "moved", "try again" },
	{ PRAAS_DENIED, 403, "denied", "the credential does not allow it" },
	{ PRAAS_UNKNOWN, 502, "unknown", "it may or may not have run" },
	{ PRAAS_INTERRUPTED, 503, "interrupted", "its writes are undone: try again" },
	{ PRAAS_DUPLICATE, 409, "duplicate", "the same id ran already" },
	{ PRAAS_INVALID, 400, "invalid", "see docs/rest.md" },
	{ PRAAS_CONFLICT, 409, "conflict", "another version is there" },
	{ PRAAS_NOT_FOUND, 404, "not_found", "no such key or message" },
	{ 0, 500, "internal", "see the controller's log" },
};

/* The call that a request is, for a connection. trace has the room of its context. */
static int make_call(struct praas_request *rq, praas_connection *conn,
		     struct praas_trace_context *context, struct praas_call *ret_call)
{
	uint64_t now = praas_now_ns();

	praas_trace_context(praas_request_trace(rq), context);
	*ret_call = (struct praas_call){ .data = rq->body,
					 .bytes = rq->body_bytes,
					 .key = rq->key[0] ? rq->key : NULL,
					 .trace = (const uint8_t *)context,
					 .flags = PRAAS_CALL_TRACE_FLAGS,
					 .id = rq->resent,
					 .timing = &rq->result.timing };
	if (rq->timing)
		ret_call->flags |= PRAAS_CALL_TIMING;
	if (now >= rq->deadline_ns)
		return -ETIME;
	ret_call->timeout_ns = rq->deadline_ns - now;
	return praas_function_lookup(conn, rq->match.fn, &ret_call->function);
}

/* Where the body was, when there is room: what malloc() has to ask the kernel for is cleared page by page, a sixth
 * of the time of an invocation with 1 MiB. */
static int take_data(struct praas_request *rq, const struct praas_view *view)
{
	struct praas_call_result *r = &rq->result;

	if (view->bytes == 0)
		return 0;
	r->lent = view->bytes <= rq->body_room;
	r->data = r->lent ? rq->body : malloc(view->bytes);
	if (!r->data)
		return -ENOMEM;
	if (r->lent)
		rq->body_bytes = 0;
	memcpy(r->data, view->data, view->bytes);
	r->bytes = view->bytes;
	return 0;
}

void praas_call_take(struct praas_request *rq, praas_connection *conn,
		     struct praas_result *result)
{
	struct praas_call_result *r = &rq->result;

	r->status = result->status;
	r->again = result->status == PRAAS_UNKNOWN && result->retry_ns > 0
			   ? result->call
			   : 0;
	r->quick = result->run_ns > 0 && result->run_ns < QUICK_RUN_NS;
	if (result->status)
		(void)snprintf(
			r->text, sizeof(r->text), "%.*s",
			(int)praas_min_u64(result->view.bytes, PRAAS_ERROR_TEXT_MAX),
			result->view.data ? (const char *)result->view.data : "");
	else
		r->rc = take_data(rq, &result->view);
	praas_result_release(conn, result);
}

static void work(struct praas_request *rq, praas_connection *conn,
		 struct praas_call_result *ret_result)
{
	struct praas_result result = { 0 };
	struct praas_trace_context context;
	struct praas_call call;

	ret_result->rc = make_call(rq, conn, &context, &call);
	if (ret_result->rc == -ENOENT || ret_result->rc == -ETIME) {
		ret_result->status =
			ret_result->rc == -ENOENT ? PRAAS_NO_FUNCTION : PRAAS_DEADLINE;
		ret_result->rc = 0;
		return;
	}
	if (ret_result->rc == 0)
		ret_result->rc = praas_call(conn, &call, &result);
	if (ret_result->rc == 0)
		praas_call_take(rq, conn, &result);
}

static void tell_timing(struct praas_request *rq, const struct praas_timing *t)
{
	char text[192];

	(void)snprintf(text, sizeof(text),
		       "call=%" PRIu64 ", client=%" PRIu64 ", wire=%" PRIu64
		       ", queue=%" PRIu64 ", run=%" PRIu64 ", state=%" PRIu64,
		       t->call_ns, t->client_ns, t->wire_ns, t->queue_ns, t->run_ns,
		       t->state_ns);
	praas_reply_header(rq, "Praas-Timing", text);
}

static void answer(struct praas_request *rq)
{
	const struct status_row *row = rows;
	struct praas_call_result *r = &rq->result;
	char traceparent[PRAAS_TRACEPARENT_BYTES];
	char status[16];

	praas_trace_text(praas_request_trace(rq), traceparent);
	praas_reply_header(rq, "traceparent", traceparent);
	praas_reply_header(rq, "Praas-Pid", rq->wait.record.name);
	if (r->rc) {
		praas_reply_errno(rq, r->rc, "the process could not be called");
		return;
	}
	if (r->status)
		(void)snprintf(status, sizeof(status), "%d", r->status);
	praas_reply_header(rq, "Praas-Status", r->status ? status : "0");
	if (rq->timing && r->timing.call_ns != 0) /* it was called */
		tell_timing(rq, &r->timing);
	/* The process serves, and it ran: how to reach it without us. Without memory for that the
	 * answer is worth more. */
	if (rq->ticket_wanted && r->status >= 0)
		(void)praas_request_add_ticket(rq);
	if (r->status == 0) {
		rq->reply_lent = r->lent;
		praas_reply_raw(rq, 200, r->data, r->bytes);
		return;
	}
	if (r->status > 0) {
		praas_reply_error(rq, 422, "function_error",
				  "the function returned the code in Praas-Status",
				  "%s", r->text);
		return;
	}
	while (row->status && row->status != r->status)
		row++;
	if (row->http == 503)
		praas_reply_header(rq, "Retry-After", "1");
	praas_reply_error(rq, row->http, row->code, row->hint, "%s",
			  r->text[0] ? r->text : praas_status_text(r->status));
}

/* A key in a header is percent-encoded, as it is in a path. */
static bool take_key(struct praas_request *rq)
{
	const char *text = praas_request_header(rq, "Praas-Key");

	if (!text)
		return true;
	return praas_percent_decode(text, strlen(text), rq->key, sizeof(rq->key)) == 0;
}

static bool take_deadline(const struct praas_request *rq, uint64_t *ret_ms)
{
	return praas_request_number(praas_request_header(rq, "Praas-Deadline-Ms"),
				    PRAAS_LIMIT_DEADLINE_MS, DEADLINE_MS,
				    ret_ms) == 0 &&
	       *ret_ms > 0;
}

/* A header that is 1 or 0, which it is when it is not there. */
static bool take_wish(struct praas_request *rq, const char *name, bool *ret_wanted)
{
	uint64_t wanted;

	if (praas_request_number(praas_request_header(rq, name), 1, 0, &wanted) != 0)
		return false;
	*ret_wanted = wanted != 0;
	return true;
}

static bool take_wishes(struct praas_request *rq)
{
	return take_wish(rq, "Praas-Timing", &rq->timing) &&
	       take_wish(rq, "Praas-Ticket", &rq->ticket_wanted);
}

void praas_route_invoke(struct praas_request *rq)
{
	const char *pid = praas_request_header(rq, "Praas-Pid");
	uint64_t ms = 0;

	if (pid && !praas_name_valid(pid)) {
		praas_reply_error(rq, 400, "invalid_name",
				  "names are [A-Za-z0-9._-]{1,64}",
				  "Praas-Pid is not a name");
		return;
	}
	if (!take_key(rq)) {
		praas_reply_error(rq, 400, "invalid_key",
				  "percent-encode what is special",
				  "Praas-Key has 1 to %u bytes, none of them control "
				  "characters",
				  PRAAS_KEY_MAX);
		return;
	}
	if (!take_deadline(rq, &ms)) {
		praas_reply_error(rq, 400, "invalid", "milliseconds from now",
				  "Praas-Deadline-Ms is a whole number from 1 to %u",
				  PRAAS_LIMIT_DEADLINE_MS);
		return;
	}
	if (!take_wishes(rq)) {
		praas_reply_error(rq, 400, "invalid", "1 asks for it, 0 does not",
				  "Praas-Timing or Praas-Ticket is neither 0 nor 1");
		return;
	}
	if (!praas_request_app(rq))
		return;
	atomic_fetch_add_explicit(&rq->service->invocations, 1, memory_order_relaxed);
	rq->deadline_ns = praas_now_ns() + ms * 1000000u;
	praas_request_call(rq, pid, work, answer);
}

/* ---- at once ------------------------------------------------------------------------ */

/* A process that serves, by its name; it has one call more. */
static bool find_quick(struct praas_request *rq, const char *pid)
{
	struct praas_records *records = rq->service->records;
	struct praas_process_record *process = &rq->wait.record;

	return pid && rq->body_bytes <= QUICK_BYTES &&
	       !praas_request_header(rq, "Idempotency-Key") && praas_name_valid(pid) &&
	       records->ops->app_get(records, rq->caller.tenant, rq->match.app,
				     &rq->app) == 0 &&
	       records->ops->process_get(records, rq->app.id, pid, process) == 0 &&
	       praas_life_call_quick(rq->service->life, process) == 0;
}

/* Submits it together with others; false: nothing was sent. */
static bool submit(struct praas_request *rq)
{
	struct praas_burst *burst = praas_burst_open(rq);
	struct praas_trace_context context;
	struct praas_call call;
	int rc;

	if (!burst)
		return false;
	rc = make_call(rq, praas_burst_connection(burst), &context, &call);
	call.flags |= PRAAS_CALL_MORE;
	if (rc == 0)
		rc = praas_submit(praas_burst_connection(burst), &call, &rq->call);
	if (rc)
		praas_burst_refuse(burst, rc != -ENOTCONN);
	else
		praas_burst_add(burst, rq);
	return rc == 0;
}

enum praas_at_once praas_invoke_at_once(struct praas_request *rq)
{
	uint64_t ms;

	/* Whatever it is, is said on the long way. */
	if (!take_key(rq) || !take_deadline(rq, &ms) || !take_wishes(rq) ||
	    rq->timing || rq->ticket_wanted ||
	    !find_quick(rq, praas_request_header(rq, "Praas-Pid")))
		return PRAAS_NOT_AT_ONCE;
	rq->deadline_ns = praas_now_ns() + ms * 1000000u;
	rq->work = work;
	rq->answer = answer;
	if (!submit(rq)) {
		praas_life_call_end(rq->service->life, rq->wait.record.number, 1);
		return PRAAS_NOT_AT_ONCE;
	}
	atomic_fetch_add_explicit(&rq->service->invocations, 1, memory_order_relaxed);
	return PRAAS_BEGUN;
}
