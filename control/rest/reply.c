/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers, and the errors that all routes share.
 */
#include "control/rest/request.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/json.h"
#include "control/names.h"

#define MESSAGE_BYTES 512

static const char type_json[] = "application/json";

void praas_reply_header(struct praas_request *rq, const char *name, const char *value)
{
	char *to;
	size_t i;

	if (rq->headers_count == PRAAS_REPLY_HEADERS)
		return;
	rq->headers[rq->headers_count].name = name;
	to = rq->headers[rq->headers_count++].value;
	/* A name or a number; whatever else it may be, it stays one line. */
	for (i = 0; value[i] && i + 1 < sizeof(rq->headers[0].value); i++)
		to[i] = value[i];
	to[i] = 0;
	for (i = 0; to[i]; i++)
		if ((unsigned char)to[i] < 0x20 || to[i] == 0x7f)
			to[i] = '?';
}

void praas_reply_header_copy(struct praas_request *rq, const char *name,
			     const char *value)
{
	static const char *const names[] = { "Praas-Pid",     "Praas-Status",
					     "Praas-Version", "Praas-Source",
					     "Praas-Timing",  "Praas-Traceparent",
					     "Retry-After" };

	for (size_t i = 0; value && i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i]))
			praas_reply_header(rq, names[i], value);
}

void praas_reply_stored_json(struct praas_request *rq, int status, void *data,
			     size_t bytes)
{
	rq->status = status;
	rq->content_type = type_json;
	rq->reply = data;
	rq->reply_bytes = bytes;
	praas_request_finish(rq);
}

const char praas_reply_short[] =
	"{\"error\":{\"code\":\"overloaded\",\"message\":\"out of memory\",\"hint\":"
	"\"what was asked for may be done: look before you try again\"}}";

void praas_reply_no_memory(struct praas_request *rq)
{
	(void)snprintf(rq->code, sizeof(rq->code), "overloaded");
	praas_reply_header(rq, "Retry-After", "1");
	rq->status = 503;
	rq->content_type = type_json;
	rq->reply = (void *)(uintptr_t)praas_reply_short; /* only read */
	rq->reply_bytes = sizeof(praas_reply_short) - 1;
	rq->reply_lent = true;
	praas_request_finish(rq);
}

void praas_reply_json(struct praas_request *rq, int status, json_t *value)
{
	char *text = value ? praas_json_dump(value) : NULL;

	json_decref(value);
	if (!text) {
		praas_reply_no_memory(rq);
		return;
	}
	rq->status = status;
	rq->content_type = type_json;
	rq->reply = text;
	rq->reply_bytes = strlen(text);
	praas_request_finish(rq);
}

void praas_reply_bytes(struct praas_request *rq, int status, const char *content_type,
		       void *data, size_t bytes)
{
	rq->status = status;
	rq->content_type = content_type;
	rq->reply = data;
	rq->reply_bytes = bytes;
	praas_request_finish(rq);
}

void praas_reply_stream(struct praas_request *rq, struct praas_stream *stream)
{
	rq->status = 200;
	rq->content_type = "text/event-stream";
	rq->stream = stream;
	praas_request_finish(rq);
}

void praas_reply_raw(struct praas_request *rq, int status, void *data, size_t bytes)
{
	praas_reply_bytes(rq, status, "application/octet-stream", data, bytes);
}

void praas_reply_text(struct praas_request *rq, const char *content_type, char *text)
{
	if (!text)
		praas_reply_no_memory(rq);
	else
		praas_reply_bytes(rq, 200, content_type, text, strlen(text));
}

void praas_reply_empty(struct praas_request *rq, int status)
{
	rq->status = status;
	rq->content_type = NULL;
	praas_request_finish(rq);
}

/* Text that is valid UTF-8 for certain: what a function or controller said may be anything. */
static json_t *safe_text(const char *text)
{
	json_t *value = json_string(text);
	char clean[MESSAGE_BYTES];
	size_t i = 0;

	if (value)
		return value;
	for (; text[i] && i + 1 < sizeof(clean); i++)
		clean[i] = (char)((unsigned char)text[i] < 0x80 ? text[i] : '?');
	clean[i] = 0;
	return json_string(clean);
}

void praas_reply_error(struct praas_request *rq, int status, const char *code,
		       const char *hint, const char *format, ...)
{
	char message[MESSAGE_BYTES];
	va_list args;

	(void)snprintf(rq->code, sizeof(rq->code), "%s", code);
	va_start(args, format);
	(void)vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	praas_reply_json(rq, status,
			 json_pack("{s:{s:s,s:o,s:s}}", "error", "code", code,
				   "message", safe_text(message), "hint", hint));
}

struct error_row {
	const char *code; /* of an outcome */
	int status;
	const char *hint;
};

static const struct error_row outcome_rows[] = {
	{ "not_found", 404, "GET the list to see what there is" },
	{ "shutting_down", 503, "try again when the service is back" },
	{ "busy", 409, "try again" },
	{ "store_failed", 500,
	  "see the log of the control service; is its disk full?" },
	{ "limit_processes", 409, "delete processes that are not needed" },
	{ "limit_snapshots", 409, "delete snapshots that are not needed" },
	{ "exists", 409, "choose another name, or delete what has it" },
	{ "no_snapshot", 409, "POST …/checkpoint, or swap it out" },
	{ "snapshot_damaged", 500, "take another snapshot; restore the store" },
	{ "quota_processes", 403, "delete processes, or ask for a higher limit" },
	{ "quota_memory", 403, "swap processes out, or ask for a higher limit" },
	{ "no_node", 404, "GET /v1/nodes lists them" },
	{ "elsewhere", 409, "swap it out first, or leave the node out" },
	{ "node_drained", 409, "choose another node: GET /v1/nodes" },
	{ "no_room", 503, "swap processes out, or add nodes; GET /v1/nodes" },
	{ "start_failed", 502,
	  "see the controller's log in the data folder; check the "
	  "application's code and praas.json" },
	{ "timeout", 504, "try again; the operation may still end" },
	{ "deadline", 504, "allow more time with Praas-Deadline-Ms" },
	{ "not_active", 409, "wake it first: POST …/swap-in" },
	{ "lost", 409,
	  "what followed the last snapshot is lost; the next call wakes it" },
	{ "killed", 409, "the next call wakes it with its last snapshot" },
	{ "overloaded", 503, "try again later, or add processes" },
	{ "swap_failed", 500, "the process goes on serving; is the store full?" },
	{ "checkpoint_failed", 500, "the process goes on serving; is the store full?" },
	{ "move_failed", 500, "the process goes on serving where it is; see its log" },
	{ NULL, 500, "see the log of the control service" },
};

void praas_reply_outcome(struct praas_request *rq, const struct praas_outcome *outcome)
{
	const struct error_row *row = outcome_rows;
	struct praas_outcome copy = *outcome; /* it lies in the request */

	while (row->code && strcmp(row->code, copy.code) != 0)
		row++;
	if (row->status == 503)
		praas_reply_header(rq, "Retry-After", "1");
	praas_reply_error(rq, row->status, copy.code[0] ? copy.code : "internal",
			  row->hint, "%s", copy.text);
}

struct errno_row {
	int rc, status;
	const char *code, *hint;
};

static const struct errno_row errno_rows[] = {
	{ -ENOENT, 404, "not_found", "GET the list to see what there is" },
	{ -EACCES, 403, "denied", "the credential does not allow it" },
	{ -EINVAL, 400, "invalid", "see docs/rest.md" },
	{ -EMSGSIZE, 413, "too_large", "the process's bytes_max is the limit" },
	{ -ENOSPC, 507, "no_memory",
	  "delete state, or give the application more memory" },
	{ -ENOMEM, 503, "overloaded", "try again later" }, /* the service's own */
	{ -EMFILE, 503, "overloaded", "try again later" },
	{ -ENFILE, 503, "overloaded", "try again later" },
	{ -ENOBUFS, 503, "overloaded", "try again later" },
	{ -EAGAIN, 503, "overloaded", "try again later" },
	{ -ETIMEDOUT, 504, "deadline", "allow more time" },
	{ -ENOTCONN, 502, "unreachable",
	  "try again: the process may have been swapped out" },
	{ -ECONNRESET, 502, "unreachable",
	  "try again: the process may have been swapped out" },
	{ -EPIPE, 502, "unreachable",
	  "try again: the process may have been swapped out" },
	{ -ECONNREFUSED, 502, "unreachable",
	  "try again: the process may have been swapped "
	  "out" },
	{ -ESTALE, 503, "moved", "try again" },
	{ -ESHUTDOWN, 503, "draining", "try again" },
	{ 0, 500, "internal", "see the log of the control service" },
};

void praas_reply_errno(struct praas_request *rq, int rc, const char *what)
{
	const struct errno_row *row = errno_rows;

	while (row->rc && row->rc != rc)
		row++;
	if (row->status == 503)
		praas_reply_header(rq, "Retry-After", "1");
	praas_reply_error(rq, row->status, row->code, row->hint, "%s: %s", what,
			  strerror(-rc));
}

void praas_reply_unstored(struct praas_request *rq, int rc, const char *what)
{
	if (rc == -EIO || rc == -ENOSPC)
		praas_reply_error(
			rq, 500, "store_failed",
			"see the log of the control service; is its disk full?", "%s",
			what);
	else
		praas_reply_errno(rq, rc, what);
}

int praas_request_number(const char *text, uint64_t max, uint64_t otherwise,
			 uint64_t *ret_number)
{
	if (!text) {
		*ret_number = otherwise;
		return 0;
	}
	return praas_number_parse(text, max, ret_number) ? -EINVAL : 0;
}

int praas_request_query_text(const struct praas_request *rq, const char *name,
			     char *ret_text, size_t bytes_max)
{
	const char *text = praas_request_query(rq, name);

	if (!text)
		return -ENOENT;
	return praas_percent_decode(text, strlen(text), ret_text, bytes_max);
}

bool praas_request_app(struct praas_request *rq)
{
	struct praas_records *records = rq->service->records;
	int rc = records->ops->app_get(records, rq->caller.tenant, rq->match.app,
				       &rq->app);

	if (rc == 0)
		return true;
	if (rc == -ENOENT)
		praas_reply_no_app(rq);
	else
		praas_reply_errno(rq, rc, "the records cannot be read");
	return false;
}

static void run_step(struct praas_job *job)
{
	struct praas_request *rq =
		(struct praas_request *)(void *)((char *)job -
						 offsetof(struct praas_request, job));

	rq->step(rq);
}

static void on_waited(struct praas_life_wait *wait)
{
	struct praas_request *rq =
		(struct praas_request *)(void *)((char *)wait -
						 offsetof(struct praas_request, wait));

	rq->job.run = run_step;
	praas_jobs_submit_must(rq->service->jobs, &rq->job);
}

struct praas_life_wait *praas_request_await(struct praas_request *rq,
					    void (*step)(struct praas_request *rq),
					    uint64_t deadline_ns)
{
	rq->step = step;
	rq->wait = (struct praas_life_wait){ .done = on_waited,
					     .deadline_ns = deadline_ns };
	return &rq->wait;
}
