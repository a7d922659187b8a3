/* SPDX-License-Identifier: Apache-2.0
 *
 * State and messages of a process through REST. A swapped process is woken.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/rest/page.h"
#include "control/rest/request.h"
#include "internal/base.h"

#define DEADLINE_NS (30 * 1000000000ull)
#define WAIT_MS_MAX 20000u /* of a receive */

/* The application, and when it must be done. false: answered. */
static bool begin(struct praas_request *rq)
{
	if (!praas_request_app(rq))
		return false;
	rq->deadline_ns = praas_now_ns() + DEADLINE_NS;
	return true;
}

static void answer_empty(struct praas_request *rq)
{
	if (rq->result.rc)
		praas_reply_errno(rq, rq->result.rc, "the process refused");
	else
		praas_reply_empty(rq, 204);
}

/* ---- state -------------------------------------------------------------------------- */

static void get_work(struct praas_request *rq, praas_connection *conn,
		     struct praas_call_result *ret_result)
{
	ret_result->rc = praas_state_read(conn, rq->match.key, &ret_result->data,
					  &ret_result->bytes, &ret_result->version);
}

static void get_answer(struct praas_request *rq)
{
	struct praas_call_result *r = &rq->result;
	char version[24];

	if (r->rc == -ENOENT) {
		praas_reply_error(rq, 404, "not_found", "GET …/state lists the keys",
				  "no such key");
		return;
	}
	if (r->rc) {
		praas_reply_errno(rq, r->rc, "state");
		return;
	}
	(void)snprintf(version, sizeof(version), "%llu",
		       (unsigned long long)r->version);
	praas_reply_header(rq, "Praas-Version", version);
	praas_reply_raw(rq, 200, r->data, r->bytes);
}

void praas_route_state_get(struct praas_request *rq)
{
	if (begin(rq))
		praas_request_call(rq, rq->match.pid, get_work, get_answer);
}

static void put_work(struct praas_request *rq, praas_connection *conn,
		     struct praas_call_result *ret_result)
{
	ret_result->rc =
		praas_state_write(conn, rq->match.key, rq->body, rq->body_bytes);
}

void praas_route_state_put(struct praas_request *rq)
{
	if (begin(rq))
		praas_request_call(rq, rq->match.pid, put_work, answer_empty);
}

static void delete_work(struct praas_request *rq, praas_connection *conn,
			struct praas_call_result *ret_result)
{
	ret_result->rc = praas_state_remove(conn, rq->match.key);
}

void praas_route_state_delete(struct praas_request *rq)
{
	if (begin(rq))
		praas_request_call(rq, rq->match.pid, delete_work, answer_empty);
}

/* A key may hold any bytes; those that are not UTF-8 are shown percent-encoded. */
static json_t *key_text(const char *key)
{
	json_t *text = json_string(key);
	char encoded[3 * PRAAS_KEY_MAX + 1];
	size_t n = 0;

	if (text)
		return text;
	for (const char *c = key; *c; c++) {
		if ((unsigned char)*c >= 0x80 || *c == '%')
			n += (size_t)snprintf(encoded + n, sizeof(encoded) - n,
					      "%%%02X", (unsigned char)*c);
		else
			encoded[n++] = *c;
	}
	encoded[n] = 0;
	return json_string(encoded);
}

static void list_work(struct praas_request *rq, praas_connection *conn,
		      struct praas_call_result *ret_result)
{
	char prefix[PRAAS_KEY_MAX + 1] = "", after[PRAAS_KEY_MAX + 1] = "";
	int rc = praas_request_query_text(rq, "prefix", prefix, sizeof(prefix));
	uint32_t count = 0, limit = PRAAS_LIMIT_PAGE;
	struct praas_state_info *infos;

	(void)praas_page_limit(rq, &limit); /* was checked before */
	infos = calloc(limit + 1, sizeof(*infos));

	if (rc == 0 || rc == -ENOENT)
		rc = praas_request_query_text(rq, "after", after, sizeof(after));
	if (rc == 0 || rc == -ENOENT)
		rc = infos ? praas_state_enumerate(conn, prefix, after, infos,
						   limit + 1, &count)
			   : -ENOMEM;
	ret_result->status = count > limit; /* there is more */
	if (count > limit)
		count = limit;
	ret_result->json = rc ? NULL : json_array();
	if (rc == 0 && !ret_result->json)
		rc = -ENOMEM;
	for (uint32_t i = 0; rc == 0 && i < count; i++)
		if (json_array_append_new(
			    ret_result->json,
			    json_pack("{s:o,s:I,s:I,s:I}", "key",
				      key_text(infos[i].key), "bytes",
				      (json_int_t)infos[i].bytes, "version",
				      (json_int_t)infos[i].version, "modified_ns",
				      (json_int_t)infos[i].modified_ns)))
			rc = -ENOMEM;
	ret_result->rc = rc;
	free(infos);
}

static void list_answer(struct praas_request *rq)
{
	struct praas_call_result *r = &rq->result;
	json_t *reply;

	if (r->rc) {
		json_decref(r->json);
		r->json = NULL;
		praas_reply_errno(rq, r->rc, "state");
		return;
	}
	reply = json_pack("{s:o,s:b}", "state", r->json, "more", r->status);
	r->json = NULL;
	praas_reply_json(rq, 200, reply);
}

void praas_route_state_list(struct praas_request *rq)
{
	uint32_t limit;

	if (praas_page_limit(rq, &limit))
		praas_reply_error(rq, 400, "invalid_query", "leave it away for all",
				  "limit is a whole number from 1 to %u",
				  PRAAS_LIMIT_PAGE);
	else if (begin(rq))
		praas_request_call(rq, rq->match.pid, list_work, list_answer);
}

/* ---- messages ----------------------------------------------------------------------- */

static void send_work(struct praas_request *rq, praas_connection *conn,
		      struct praas_call_result *ret_result)
{
	struct praas_trace_context context;

	praas_trace_context(praas_request_trace(rq), &context);
	ret_result->rc = praas_msg_send_context(conn, rq->match.key, rq->body,
						rq->body_bytes, &context);
}

void praas_route_message_send(struct praas_request *rq)
{
	rq->once = true;
	if (begin(rq))
		praas_request_call(rq, rq->match.pid, send_work, answer_empty);
}

static void receive_work(struct praas_request *rq, praas_connection *conn,
			 struct praas_call_result *ret_result)
{
	uint64_t now = praas_now_ns(), ms = 0, wait_ns;
	struct praas_msg_held held;

	/* Was checked before. */
	(void)praas_request_number(praas_request_query(rq, "wait_ms"), WAIT_MS_MAX, 0,
				   &ms);
	wait_ns = ms * 1000000u;
	if (now >= rq->deadline_ns) /* it was tried before */
		wait_ns = 0;
	else
		wait_ns = praas_min_u64(wait_ns, rq->deadline_ns - now);
	ret_result->rc = praas_msg_hold(conn, rq->match.key, (int64_t)wait_ns,
					&ret_result->data, &ret_result->bytes, &held);
	if (ret_result->rc)
		return;
	ret_result->source = held.source;
	ret_result->trace = held.trace;
	praas_receipt_open(rq, conn, &held);
}

static void receive_answer(struct praas_request *rq)
{
	static const struct praas_trace_context none;
	struct praas_call_result *r = &rq->result;
	char traceparent[PRAAS_TRACEPARENT_BYTES];
	struct praas_trace trace = { .flags = 0 };
	char source[24];

	if (r->rc == -EAGAIN) {
		praas_reply_error(rq, 404, "no_message", "wait longer with ?wait_ms=",
				  "no message of that key is waiting");
		return;
	}
	if (r->rc) {
		praas_reply_errno(rq, r->rc, "message");
		return;
	}
	(void)snprintf(source, sizeof(source), "%llu", (unsigned long long)r->source);
	praas_reply_header(rq, "Praas-Source", source);
	if (memcmp(&r->trace, &none, sizeof(none)) != 0) {
		memcpy(trace.id, r->trace.trace_id, sizeof(trace.id));
		memcpy(trace.span, r->trace.span_id, sizeof(trace.span));
		trace.flags = r->trace.flags;
		praas_trace_text(&trace, traceparent);
		praas_reply_header(rq, "Praas-Traceparent", traceparent);
	}
	praas_reply_raw(rq, 200, r->data, r->bytes);
}

void praas_route_message_receive(struct praas_request *rq)
{
	uint64_t ms;

	if (praas_request_number(praas_request_query(rq, "wait_ms"), WAIT_MS_MAX, 0,
				 &ms)) {
		praas_reply_error(rq, 400, "invalid", "milliseconds",
				  "wait_ms is a whole number from 0 to %u",
				  WAIT_MS_MAX);
		return;
	}
	if (begin(rq)) /* one that is held on a connection which broke is there again */
		praas_request_call(rq, rq->match.pid, receive_work, receive_answer);
}
