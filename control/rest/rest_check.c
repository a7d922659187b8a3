/* SPDX-License-Identifier: Apache-2.0
 *
 * What can be said of a request before its body: is its head sound, is there such a route, may the
 * caller use it, and can a body of that length be taken.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <microhttpd.h>

#include "control/names.h"
#include "control/rest/http_head.h"
#include "control/rest/pass.h"
#include "control/rest/request.h"
#include "internal/base.h"

#define DRAIN_BYTES                                                                    \
	(64u * 1024) /* of a refused body: worth reading to keep the connection */

size_t praas_request_body_max(const struct praas_request *rq)
{
	/* What there is room for anywhere: the active service knows better. */
	return rq->pass ? PRAAS_LIMIT_BODY_BYTES
			: praas_route_body_max(rq->match.route);
}

void praas_request_too_large(struct praas_request *rq)
{
	praas_reply_error(rq, 413, "too_large", "larger payloads go by the data plane",
			  "a body may have %zu bytes here", praas_request_body_max(rq));
}

bool praas_request_owned(struct praas_request *rq)
{
	if (rq->match.route->own ||
	    praas_lease_holds(rq->service->lease, praas_now_ns()))
		return true;
	praas_reply_header(rq, MHD_HTTP_HEADER_RETRY_AFTER, "1");
	praas_reply_error(rq, 503, "no_active", "try again in a moment",
			  "it is in doubt whether this control service is the active "
			  "one: Redis has not confirmed it lately");
	return false;
}

/* "GET, POST" of the methods that the path has, with those that follow from them. */
static void list_allowed(uint32_t allowed, char ret_text[64])
{
	size_t n = 0;

	ret_text[0] = 0;
	for (unsigned i = 0; i < PRAAS_METHODS; i++) {
		if (!(allowed & 1u << i))
			continue;
		(void)snprintf(ret_text + n, 64 - n, "%s%s", n ? ", " : "",
			       praas_method_text((enum praas_method)i));
		n = strlen(ret_text);
	}
	(void)snprintf(ret_text + n, 64 - n, "%s%s", n ? ", " : "",
		       allowed & PRAAS_HEAD_ALLOWED ? "HEAD, OPTIONS" : "OPTIONS");
}

static void answer_other_method(struct praas_request *rq, const char *method)
{
	char allowed[64];

	list_allowed(rq->match.allowed, allowed);
	praas_reply_header(rq, MHD_HTTP_HEADER_ALLOW, allowed);
	if (!strcmp(method, MHD_HTTP_METHOD_OPTIONS))
		praas_reply_empty(rq, 204);
	else
		praas_reply_error(rq, 405, "method_not_allowed", allowed,
				  "this path has another method");
}

/* The path of a target: it may come with scheme and authority. */
static const char *path_of(const char *url)
{
	const char *path = NULL;

	if (!strncasecmp(url, "http://", 7))
		path = strchr(url + 7, '/');
	else if (!strncasecmp(url, "https://", 8))
		path = strchr(url + 8, '/');
	return path ? path : url;
}

static int find_route(struct praas_request *rq, const char *method_text,
		      const char *url)
{
	enum praas_method method = PRAAS_METHODS; /* fits no route */
	bool head = !strcmp(method_text, MHD_HTTP_METHOD_HEAD);
	int rc;

	if (!strcmp(method_text, MHD_HTTP_METHOD_OPTIONS) && !strcmp(url, "*"))
		return -EOPNOTSUPP;
	if (head)
		method = PRAAS_GET; /* libmicrohttpd leaves the body away */
	else
		(void)praas_method_parse(method_text, &method);
	rc = praas_route_match(praas_routes, method, path_of(url), &rq->match);
	if (rc == 0 && head && rq->match.route->effect != PRAAS_READS)
		return praas_route_match(praas_routes, PRAAS_METHODS, path_of(url),
					 &rq->match);
	return rc;
}

static void check_length(struct praas_request *rq)
{
	const char *length = praas_request_header(rq, MHD_HTTP_HEADER_CONTENT_LENGTH);
	uint64_t bytes = 0;

	if (length && (praas_number_parse(length, UINT64_MAX, &bytes) ||
		       bytes > praas_request_body_max(rq)))
		praas_request_too_large(rq);
}

/* Of one who stands by: it answers for itself; all else, right or wrong, is for the active one. */
static bool check_pass(struct praas_request *rq, const struct praas_head *head)
{
	int rc = find_route(rq, head->method, head->url);

	if (rc == 0 && rq->match.route->own) {
		praas_pass_drop(rq->pass);
		rq->pass = NULL;
		return false;
	}
	memset(&rq->match, 0, sizeof(rq->match));
	rq->method = head->method;
	if (rq->pass)
		check_length(rq);
	else
		praas_reply_no_memory(rq);
	return true;
}

/* Everything that can be said of a sound head before the body. */
static void check_route(struct praas_request *rq, const char *method, const char *url)
{
	int rc = find_route(rq, method, url);

	if (!praas_request_authorise(rq))
		return; /* answered */
	if (rc == -ENOENT) {
		praas_reply_error(rq, 404, "no_route", "see docs/rest.md",
				  "there is nothing under this path");
	} else if (rc == -EOPNOTSUPP) {
		answer_other_method(rq, method);
	} else if (rc) {
		praas_reply_error(
			rq, 400, "invalid_name",
			"names are [A-Za-z0-9._-]{1,64}, keys have 1 to 255 bytes",
			"a name in the path is not one");
	} else if (!praas_head_query_good(rq->connection, rq->match.route)) {
		praas_reply_error(rq, 400, "invalid_query",
				  rq->match.route->query ? rq->match.route->query
							 : "none is known here",
				  "a query parameter is not known here, came twice, or "
				  "has no value");
	} else {
		check_length(rq);
	}
}

/* Refused, and what follows is not worth reading, or its end is in doubt: answered at once, which
 * ends the connection. A short body is read and forgotten, and the connection goes on. */
static bool not_worth_reading(const struct praas_request *rq)
{
	const char *length = praas_request_header(rq, MHD_HTTP_HEADER_CONTENT_LENGTH);
	uint64_t bytes = 0;

	if (praas_request_header(rq, MHD_HTTP_HEADER_TRANSFER_ENCODING) ||
	    praas_request_header(rq, MHD_HTTP_HEADER_EXPECT))
		return true;
	return length &&
	       (praas_number_parse(length, UINT64_MAX, &bytes) || bytes > DRAIN_BYTES);
}

bool praas_request_check(struct praas_request *rq, const struct praas_head *head)
{
	struct praas_head_fault fault;

	/* Where a chunked body ends is read more leniently than it should be; nothing follows. */
	rq->last = praas_request_header(rq, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL;
	if (!praas_head_good(head, &fault)) {
		rq->last = true;
		praas_reply_error(rq, fault.status, fault.code, fault.hint, "%s",
				  fault.message);
		return true;
	}
	if (!rq->alone || !check_pass(rq, head))
		check_route(rq, head->method, head->url);
	return rq->answered && not_worth_reading(rq);
}
