/* SPDX-License-Identifier: Apache-2.0
 *
 * libmicrohttpd's threads take requests in and send answers; what may wait happens in jobs while
 * the connection is suspended. The first call of a request's handler only makes the request: an
 * answer queued there would end the connection (libmicrohttpd 0.9.75), and keep-alive with it.
 */
#include "control/rest/rest_private.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include <microhttpd.h>

#include "control/json.h"
#include "control/names.h"
#include "control/rest/burst.h"
#include "control/rest/http_head.h"
#include "control/rest/pass.h"
#include "control/rest/peers.h"
#include "control/rest/request.h"
#include "control/rest/rest_stream.h"
#include "control/rest/spare.h"
#include "internal/base.h"

#define BODY_BYTES 1024u         /* to begin with: malloc() has it at hand */
#define DRAIN_BYTES (64u * 1024) /* of a refused body, then the connection ends */

const char *praas_request_header(const struct praas_request *rq, const char *name)
{
	return MHD_lookup_connection_value(rq->connection, MHD_HEADER_KIND, name);
}

const char *praas_request_query(const struct praas_request *rq, const char *name)
{
	return MHD_lookup_connection_value(rq->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *praas_request_from(const struct praas_request *rq)
{
	const char *from;

	if (rq->orphan)
		return rq->from;
	if (!rq->inner)
		return praas_peer_from(rq->peer);
	from = praas_request_header(rq, PRAAS_PASS_FROM);
	return from ? from : "";
}

static void audit(struct praas_request *rq)
{
	if (rq->match.route && rq->match.route->quick)
		return; /* a read, and in a hurry */
	praas_request_audit(rq, praas_request_from(rq));
}

static enum praas_request_kind kind_of(const struct praas_route *route)
{
	if (route->handle == praas_route_invoke)
		return PRAAS_REQUEST_INVOKE;
	return route->effect == PRAAS_READS ? PRAAS_REQUEST_READ : PRAAS_REQUEST_CHANGE;
}

void praas_request_free(struct praas_request *rq)
{
	struct praas_service *service = rq->service;
	bool counted = rq->counted;

	atomic_fetch_sub_explicit(&service->bodies_bytes, rq->charged_bytes,
				  memory_order_relaxed);
	if (rq->receipt.conn)
		praas_receipt_drop(rq);
	praas_request_leave(rq);
	json_decref(rq->json);
	free(rq->body);
	free(rq->ticket);
	if (!rq->reply_lent)
		free(rq->reply);
	praas_stream_drop(rq->stream);
	praas_pass_drop(rq->pass);
	praas_spare_give(rq);
	/* In the one order that begin_work() speaks of; last: what was done for it is done. */
	if (counted)
		atomic_fetch_sub_explicit(&service->requests_open, 1,
					  memory_order_seq_cst);
}

void praas_request_finish(struct praas_request *rq)
{
	const struct praas_route *route = rq->match.route;

	/* What is kept for a key can be asked for again. */
	if (rq->remembers && praas_request_remember(rq) && rq->receipt.conn)
		praas_receipt_take(rq);
	praas_request_leave(rq);
	audit(rq);
	atomic_fetch_add_explicit(&rq->service->requests, 1, memory_order_relaxed);
	if (rq->status >= 500)
		atomic_fetch_add_explicit(&rq->service->failures, 1,
					  memory_order_relaxed);
	if (route)
		praas_histogram_add(&rq->service->durations[kind_of(route)],
				    praas_now_ns() - rq->began_ns);
	rq->answered = true;
	/* suspended is written before the job is submitted; resuming makes all of the answer
	 * visible to libmicrohttpd's thread (it takes the daemon's lock). */
	if (rq->orphan)
		praas_request_free(rq);
	else if (rq->suspended)
		praas_http_resume(rq->thread, rq->connection);
}

/* ---- body --------------------------------------------------------------------------- */

static bool charge(struct praas_request *rq, size_t bytes)
{
	_Atomic uint64_t *held = &rq->service->bodies_bytes;
	uint64_t now =
		atomic_fetch_add_explicit(held, bytes, memory_order_relaxed) + bytes;

	if (now > PRAAS_LIMIT_BODIES_BYTES) {
		atomic_fetch_sub_explicit(held, bytes, memory_order_relaxed);
		return false;
	}
	rq->charged_bytes += bytes;
	return true;
}

static void take_body(struct praas_request *rq, const char *data, size_t bytes)
{
	size_t wanted = rq->body_bytes + bytes,
	       room = rq->body_room ? rq->body_room : BODY_BYTES;
	char *more;

	if (rq->answered)
		return; /* refused already: the rest is read and forgotten */
	praas_peer_bytes(rq->peer, wanted);
	if (wanted > praas_request_body_max(rq)) {
		praas_request_too_large(rq);
		return;
	}
	while (room < wanted + 1)
		room *= 2;
	if (room > rq->body_room) {
		more = charge(rq, room - rq->body_room) ? realloc(rq->body, room)
							: NULL;
		if (!more) {
			praas_reply_header(rq, MHD_HTTP_HEADER_RETRY_AFTER, "1");
			praas_reply_error(rq, 503, "overloaded", "try again later",
					  "too many bodies are being received");
			return;
		}
		rq->body = more;
		rq->body_room = room;
	}
	memcpy(rq->body + rq->body_bytes, data, bytes);
	rq->body_bytes += bytes;
	rq->body[rq->body_bytes] = 0;
}

/* ---- work --------------------------------------------------------------------------- */

static void run_handler(struct praas_job *job)
{
	struct praas_request *rq =
		(struct praas_request *)(void *)((char *)job -
						 offsetof(struct praas_request, job));
	struct praas_json_error error;

	if (praas_request_recall(rq))
		return;
	if (rq->match.route->body == PRAAS_BODY_JSON) {
		rq->json = rq->body_bytes
				   ? praas_json_parse(rq->body, rq->body_bytes, &error)
				   : json_object();
		if (!rq->json && (!rq->body_bytes || error.no_memory)) {
			praas_reply_no_memory(rq);
			return;
		}
		if (!rq->json) {
			praas_reply_error(rq, 400, "invalid_json",
					  "the body is one JSON object, or empty", "%s",
					  error.text);
			return;
		}
	}
	rq->match.route->handle(rq);
}

/* False: it was answered at once. */
static bool begin_work(struct praas_request *rq)
{
	praas_json_begin();
	rq->counted = true;
	/* Counted before the flag is read, set before the count is read: a request that is not seen
	 * by praas_rest_free() sees the flag, in the one order of all four. */
	atomic_fetch_add_explicit(&rq->service->requests_open, 1, memory_order_seq_cst);
	if (atomic_load_explicit(&rq->service->stopping, memory_order_seq_cst)) {
		praas_reply_header(rq, MHD_HTTP_HEADER_RETRY_AFTER, "1");
		praas_reply_error(rq, 503, "shutting_down",
				  "try again when the service is back",
				  "the control service is stopping");
		return false;
	}
	praas_peer_phase(rq->peer, PRAAS_PEER_WORK, 0);
	if (rq->pass) {
		rq->suspended = true;
		MHD_suspend_connection(rq->connection);
		praas_pass_begin(rq);
		return true;
	}
	if (!praas_request_owned(rq))
		return false;
	rq->job.run = run_handler;
	if (!praas_request_admit(rq))
		return false;
	if (rq->match.route->quick) {
		run_handler(&rq->job);
		praas_check(rq->answered);
		return false;
	}
	if (rq->match.route->at_once && rq->match.route->at_once(rq) == PRAAS_BEGUN)
		return true;
	rq->suspended = true;
	MHD_suspend_connection(rq->connection);
	if (praas_jobs_submit(rq->service->jobs, &rq->job)) {
		praas_reply_header(rq, MHD_HTTP_HEADER_RETRY_AFTER, "1");
		praas_reply_error(rq, 503, "overloaded", "try again later",
				  "too many requests are waiting");
	}
	return true;
}

static enum MHD_Result send_reply(struct praas_request *rq)
{
	struct MHD_Response *response;
	enum MHD_Result queued;

	if (rq->stream)
		response = praas_stream_response(rq->stream);
	else if (rq->passed)
		response = praas_pass_response(rq->pass);
	else
		response = MHD_create_response_from_buffer(
			rq->reply_bytes, rq->reply,
			rq->reply_lent ? MHD_RESPMEM_PERSISTENT
				       : MHD_RESPMEM_MUST_FREE);
	rq->stream = NULL; /* the response's */
	if (rq->passed)
		rq->pass = NULL; /* the response's */
	if (!response)
		return MHD_NO;
	rq->reply = NULL; /* the response's */
	if (rq->content_type)
		(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
					      rq->content_type);
	(void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	for (unsigned i = 0; i < rq->headers_count; i++)
		(void)MHD_add_response_header(response, rq->headers[i].name,
					      rq->headers[i].value);
	if (rq->ticket)
		(void)MHD_add_response_header(response, "Praas-Ticket", rq->ticket);
	if (rq->last)
		(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION,
					      "close");
	praas_peer_phase(rq->peer, PRAAS_PEER_ANSWER, rq->reply_bytes);
	queued = MHD_queue_response(rq->connection, (unsigned)rq->status, response);
	MHD_destroy_response(response);
	return queued;
}

/* The request line is there: the request begins. Its target is whole here, for the last time. */
void *praas_rest_on_target(void *user, const char *target,
			   struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *peer =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	const struct praas_rest_door *door = user;
	struct praas_request *rq = praas_spare_take();

	if (!rq)
		return NULL;
	rq->service = door->service;
	rq->inner = door->inner;
	rq->connection = connection;
	rq->began_ns = praas_now_ns();
	rq->peer = peer ? peer->socket_context : NULL;
	rq->target_bytes = target ? strlen(target) : 0;
	rq->target_legal = target && praas_head_target_legal(target);
	rq->alone = praas_service_stands_by(rq->service);
	if (rq->alone && rq->target_legal && !rq->inner)
		praas_pass_prepare(rq, target);
	return rq;
}

static enum MHD_Result begin_request(struct praas_request *rq, const char *url,
				     const char *method, const char *version)
{
	struct praas_head head = { rq->connection,   method,           url,
				   version,          rq->target_bytes, rq->target_legal,
				   rq->inner ? 1 : 0 };

	rq->begun = true;
	if (praas_request_check(rq, &head))
		return send_reply(rq);
	praas_peer_phase(rq->peer, PRAAS_PEER_BODY, 0);
	return MHD_YES;
}

/* There was no memory for the request itself. */
static enum MHD_Result refuse_unborn(struct MHD_Connection *connection)
{
	struct praas_request rq = { .connection = connection,
				    .status = MHD_HTTP_SERVICE_UNAVAILABLE,
				    .content_type = "application/json",
				    .reply = (void *)(uintptr_t)praas_reply_short,
				    .reply_bytes = strlen(praas_reply_short),
				    .reply_lent = true,
				    .last = true };

	return send_reply(&rq);
}

enum MHD_Result praas_rest_on_request(void *user, struct MHD_Connection *connection,
				      const char *url, const char *method,
				      const char *version, const char *data,
				      size_t *data_bytes, void **con_cls)
{
	struct praas_request *rq = *con_cls;

	(void)user;
	if (!rq)
		return refuse_unborn(connection);
	rq->thread = praas_http_thread_works();
	if (!rq->begun)
		return begin_request(rq, url, method, version);
	if (*data_bytes > 0) {
		rq->forgotten_bytes += rq->answered ? *data_bytes : 0;
		if (rq->forgotten_bytes > DRAIN_BYTES)
			return MHD_NO; /* it goes on and on */
		take_body(rq, data, *data_bytes);
		*data_bytes = 0;
		return MHD_YES;
	}
	if (!rq->answered && !rq->counted && begin_work(rq))
		return MHD_YES; /* the answer wakes the connection, or it is shown again */
	if (!rq->answered && !praas_burst_look(rq))
		return MHD_YES;
	return rq->answered ? send_reply(rq) : MHD_YES;
}

static int socket_of(struct MHD_Connection *connection)
{
	return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)
		->connect_fd;
}

void praas_rest_on_completed(void *user, struct MHD_Connection *connection,
			     void **con_cls, enum MHD_RequestTerminationCode code)
{
	struct praas_request *rq = *con_cls;

	(void)user;
	*con_cls = NULL;
	if (!rq)
		return;
	praas_peer_phase(rq->peer, PRAAS_PEER_HEAD, 0);
	if (rq->counted && !rq->answered)
		praas_burst_orphan(rq); /* what a job has is not ended by its client */
	else if (rq->receipt.conn && rq->status == MHD_HTTP_OK &&
		 code == MHD_REQUEST_TERMINATED_COMPLETED_OK)
		praas_receipt_sent(rq, socket_of(connection));
	else
		praas_request_free(rq);
}

static void address_text(const struct sockaddr *addr,
			 char ret_text[PRAAS_PEER_FROM_BYTES])
{
	if (!addr ||
	    getnameinfo(addr,
			addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
						    : sizeof(struct sockaddr_in),
			ret_text, PRAAS_PEER_FROM_BYTES, NULL, 0, NI_NUMERICHOST))
		ret_text[0] = 0;
}

static void address_of(struct MHD_Connection *connection,
		       char ret_text[PRAAS_PEER_FROM_BYTES])
{
	const union MHD_ConnectionInfo *peer =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

	address_text(peer ? peer->client_addr : NULL, ret_text);
}

/* Before a connection is made: libmicrohttpd's own limit for an address counts in each daemon apart. */
enum MHD_Result praas_rest_may_come(void *user, const struct sockaddr *addr,
				    socklen_t bytes)
{
	const struct praas_rest_door *door = user;
	char from[PRAAS_PEER_FROM_BYTES];

	(void)bytes;
	if (door->inner)
		return MHD_YES; /* they were counted where they came in */
	address_text(addr, from);
	return praas_peers_room(door->service->peers, from) ? MHD_YES : MHD_NO;
}

void praas_rest_on_connection(void *user, struct MHD_Connection *connection,
			      void **context, enum MHD_ConnectionNotificationCode code)
{
	const struct praas_rest_door *door = user;

	if (door->inner)
		return; /* whose client is slow is seen where it came in */
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		int fd = socket_of(connection);
		char from[PRAAS_PEER_FROM_BYTES];

		address_of(connection, from);
		*context = praas_peer_add(door->service->peers, fd, from);
	} else {
		praas_peer_drop(door->service->peers, *context);
	}
}
