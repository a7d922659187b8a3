/* SPDX-License-Identifier: Apache-2.0
 *
 * libmicrohttpd's threads take requests in and send answers; what may wait happens in jobs while
 * the connection is suspended. The first call of a request's handler only makes the request: an
 * answer queued there would end the connection (libmicrohttpd 0.9.75), and keep-alive with it.
 */
#include "control/rest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <microhttpd.h>

#include "control/json.h"
#include "control/names.h"
#include "control/request.h"
#include "internal/base.h"

#define TIMEOUT_S 60u             /* of an idle or stalled connection */
#define MEMORY_BYTES (32u * 1024) /* of a connection: request line and headers */
#define THREADS_MAX 4u
#define DRAIN_TRIES 600 /* of 10 ms, for the last answers to be queued */

struct praas_rest {
	struct praas_service *service;
	struct MHD_Daemon *daemon;
	int listen_fd;
	char url[128];
};

const char *praas_request_header(const struct praas_request *rq, const char *name)
{
	return MHD_lookup_connection_value(rq->connection, MHD_HEADER_KIND, name);
}

const char *praas_request_query(const struct praas_request *rq, const char *name)
{
	return MHD_lookup_connection_value(rq->connection, MHD_GET_ARGUMENT_KIND, name);
}

void praas_request_finish(struct praas_request *rq)
{
	atomic_fetch_add_explicit(&rq->service->requests, 1, memory_order_relaxed);
	if (rq->status >= 500)
		atomic_fetch_add_explicit(&rq->service->failures, 1,
					  memory_order_relaxed);
	json_decref(rq->json);
	rq->json = NULL;
	rq->answered = true;
	/* suspended is written before the job is submitted; resuming makes all of the answer
	 * visible to libmicrohttpd's thread (it takes the daemon's lock). */
	if (rq->suspended)
		MHD_resume_connection(rq->connection);
}

/* ---- head of a request -------------------------------------------------------------- */

static bool authorised(const struct praas_request *rq)
{
	static const char scheme[] = "Bearer ";
	const char *value = praas_request_header(rq, MHD_HTTP_HEADER_AUTHORIZATION);

	if (!value || strncasecmp(value, scheme, sizeof(scheme) - 1) != 0)
		return false;
	value += sizeof(scheme) - 1;
	return strnlen(value, PRAAS_TOKEN_MAX + 1) <= PRAAS_TOKEN_MAX &&
	       praas_keys_admin(&rq->service->keys, value);
}

static enum MHD_Result count_length(void *user, enum MHD_ValueKind kind,
				    const char *key, const char *value)
{
	unsigned *count = user;

	(void)kind;
	(void)value;
	*count += strcasecmp(key, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0;
	return MHD_YES;
}

/* A body whose length two parties could read differently (request smuggling). */
static bool length_ambiguous(const struct praas_request *rq)
{
	unsigned lengths = 0;

	(void)MHD_get_connection_values(rq->connection, MHD_HEADER_KIND, count_length,
					&lengths);
	return lengths > 1 ||
	       (lengths == 1 &&
		praas_request_header(rq, MHD_HTTP_HEADER_TRANSFER_ENCODING));
}

static size_t body_max(const struct praas_request *rq)
{
	return praas_route_body_max(rq->match.route);
}

static void refuse_too_large(struct praas_request *rq)
{
	praas_reply_error(rq, 413, "too_large", "larger payloads go by the data plane",
			  "a body may have %zu bytes here", body_max(rq));
}

static void refuse_method(struct praas_request *rq)
{
	char allowed[64] = "";
	size_t n = 0;

	for (unsigned i = 0; i < PRAAS_METHODS; i++) {
		if (!(rq->match.allowed & 1u << i))
			continue;
		(void)snprintf(allowed + n, sizeof(allowed) - n, "%s%s", n ? ", " : "",
			       praas_method_text((enum praas_method)i));
		n = strlen(allowed);
	}
	praas_reply_header(rq, MHD_HTTP_HEADER_ALLOW, allowed);
	praas_reply_error(rq, 405, "method_not_allowed", allowed,
			  "this path has another method");
}

/* Everything that can be said before the body. */
static void check_head(struct praas_request *rq, const char *method_text,
		       const char *path)
{
	enum praas_method method = PRAAS_METHODS;
	const char *length = praas_request_header(rq, MHD_HTTP_HEADER_CONTENT_LENGTH);
	uint64_t bytes = 0;
	int rc;

	if (praas_method_parse(method_text, &method))
		method = PRAAS_METHODS; /* fits no route */
	rc = praas_route_match(praas_routes, method, path, &rq->match);
	if (length_ambiguous(rq))
		praas_reply_error(rq, 400, "invalid", "send one Content-Length",
				  "the length of the body is ambiguous");
	else if ((rc || rq->match.route->scope != PRAAS_SCOPE_OPEN) &&
		 !authorised(rq)) {
		praas_reply_header(rq, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
		praas_reply_error(
			rq, 401, "unauthorized",
			"send Authorization: Bearer TOKEN (admin.token in the data "
			"folder)",
			"the token is missing or wrong");
	} else if (rc == -ENOENT)
		praas_reply_error(rq, 404, "no_route", "see docs/rest.md",
				  "there is nothing under this path");
	else if (rc == -EOPNOTSUPP)
		refuse_method(rq);
	else if (rc)
		praas_reply_error(
			rq, 400, "invalid_name",
			"names are [A-Za-z0-9._-]{1,64}, keys have 1 to 255 bytes",
			"a name in the path is not one");
	else if (length && (praas_number_parse(length, UINT64_MAX, &bytes) ||
			    bytes > body_max(rq)))
		refuse_too_large(rq);
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
	       room = rq->body_room ? rq->body_room : 4096;
	char *more;

	if (rq->answered)
		return; /* refused already: the rest is read and forgotten */
	if (wanted > body_max(rq)) {
		refuse_too_large(rq);
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

	if (rq->match.route->body != PRAAS_BODY_RAW) {
		rq->json = rq->body_bytes
				   ? praas_json_parse(rq->body, rq->body_bytes, &error)
				   : json_object();
		if (!rq->json) {
			praas_reply_error(rq, 400, "invalid_json",
					  "the body is one JSON object, or empty", "%s",
					  rq->body_bytes ? error.text
							 : "out of memory");
			return;
		}
	}
	rq->match.route->handle(rq);
}

/* False: it was refused at once. */
static bool begin_work(struct praas_request *rq)
{
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
	rq->job.run = run_handler;
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

	response = MHD_create_response_from_buffer(rq->reply_bytes, rq->reply,
						   MHD_RESPMEM_MUST_FREE);
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
	queued = MHD_queue_response(rq->connection, (unsigned)rq->status, response);
	MHD_destroy_response(response);
	return queued;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection,
				  const char *url, const char *method,
				  const char *version, const char *data,
				  size_t *data_bytes, void **con_cls)
{
	struct praas_request *rq = *con_cls;

	(void)version;
	if (!rq) {
		rq = calloc(1, sizeof(*rq));
		if (!rq)
			return MHD_NO;
		rq->service = user;
		rq->connection = connection;
		*con_cls = rq;
		check_head(rq, method, url);
		/* A body that will not be read: say so now, and end the connection. */
		if (rq->answered && rq->status == 413)
			return send_reply(rq);
		return MHD_YES;
	}
	if (*data_bytes > 0) {
		take_body(rq, data, *data_bytes);
		*data_bytes = 0;
		return MHD_YES;
	}
	if (!rq->answered && !rq->counted && begin_work(rq))
		return MHD_YES; /* the answer wakes the connection */
	return rq->answered ? send_reply(rq) : MHD_YES;
}

static void on_completed(void *user, struct MHD_Connection *connection, void **con_cls,
			 enum MHD_RequestTerminationCode code)
{
	struct praas_request *rq = *con_cls;

	(void)user;
	(void)connection;
	(void)code;
	if (!rq)
		return;
	if (rq->counted)
		atomic_fetch_sub_explicit(&rq->service->requests_open, 1,
					  memory_order_relaxed);
	atomic_fetch_sub_explicit(&rq->service->bodies_bytes, rq->charged_bytes,
				  memory_order_relaxed);
	json_decref(rq->json);
	free(rq->body);
	free(rq->reply);
	free(rq);
	*con_cls = NULL;
}

/* Names and keys are decoded by the router, after the path was split. */
static size_t keep_escapes(void *user, struct MHD_Connection *connection, char *text)
{
	(void)user;
	(void)connection;
	return strlen(text);
}

/* ---- start and stop ----------------------------------------------------------------- */

/* "HOST:PORT" or "[HOST]:PORT" with a numeric host. 0; -EINVAL. */
static int parse_listen(const char *text, struct sockaddr_storage *ret_addr,
			socklen_t *ret_bytes)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC,
				  .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
	struct addrinfo *found;
	const char *colon = strrchr(text, ':');
	uint64_t port;
	char host[64];
	size_t n;

	if (!colon || praas_number_parse(colon + 1, 65535, &port))
		return -EINVAL;
	n = (size_t)(colon - text);
	if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
	}
	if (n == 0 || n >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, n);
	host[n] = 0;
	if (getaddrinfo(host, colon + 1, &hints, &found))
		return -EINVAL;
	memcpy(ret_addr, found->ai_addr, found->ai_addrlen);
	*ret_bytes = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

static bool is_loopback(const struct sockaddr_storage *addr)
{
	if (addr->ss_family == AF_INET) {
		const struct sockaddr_in *four =
			(const struct sockaddr_in *)(const void *)addr;

		return ntohl(four->sin_addr.s_addr) >> 24 == 127;
	}
	if (addr->ss_family == AF_INET6) {
		const struct sockaddr_in6 *six =
			(const struct sockaddr_in6 *)(const void *)addr;

		return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
	}
	return false;
}

static int open_listener(const struct sockaddr_storage *addr, socklen_t bytes)
{
	int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, rc = 0;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)(const void *)addr, bytes) ||
	    listen(fd, SOMAXCONN))
		rc = -errno;
	if (rc) {
		(void)close(fd);
		return rc;
	}
	return fd;
}

static void describe_url(struct praas_rest *rest)
{
	struct sockaddr_storage addr = { 0 };
	socklen_t bytes = sizeof(addr);
	char host[64] = "", port[8] = "";

	if (getsockname(rest->listen_fd, (struct sockaddr *)&addr, &bytes) == 0)
		(void)getnameinfo((struct sockaddr *)&addr, bytes, host, sizeof(host),
				  port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
	(void)snprintf(rest->url, sizeof(rest->url),
		       addr.ss_family == AF_INET6 ? "http://[%s]:%s" : "http://%s:%s",
		       host, port);
}

static unsigned default_threads(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	return cores < 1 ? 1 : (unsigned)praas_min_u64((uint64_t)cores, THREADS_MAX);
}

int praas_rest_start(const struct praas_rest_config *config,
		     struct praas_rest **ret_rest)
{
	struct sockaddr_storage addr = { 0 };
	struct praas_rest *rest;
	socklen_t bytes;
	int rc = parse_listen(config->listen, &addr, &bytes);

	if (rc)
		return rc;
	if (!config->insecure && !is_loopback(&addr))
		return -EACCES;
	rest = calloc(1, sizeof(*rest));
	if (!rest)
		return -ENOMEM;
	rest->service = config->service;
	rest->listen_fd = open_listener(&addr, bytes);
	if (rest->listen_fd < 0) {
		rc = rest->listen_fd;
		free(rest);
		return rc;
	}
	describe_url(rest);
	rest->daemon = MHD_start_daemon(
		MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
		on_request, config->service, MHD_OPTION_LISTEN_SOCKET, rest->listen_fd,
		MHD_OPTION_THREAD_POOL_SIZE,
		config->threads ? config->threads : default_threads(),
		MHD_OPTION_CONNECTION_LIMIT, PRAAS_LIMIT_CONNECTIONS,
		MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_BYTES,
		MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_UNESCAPE_CALLBACK,
		keep_escapes, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
		MHD_OPTION_END);
	if (!rest->daemon) {
		(void)close(rest->listen_fd);
		free(rest);
		return -EIO;
	}
	*ret_rest = rest;
	return 0;
}

const char *praas_rest_url(const struct praas_rest *rest)
{
	return rest->url;
}

/* Not MHD_quiesce_daemon(): it takes the listener out of the epoll sets of threads that do the same
 * when they see its flag, and aborts when it comes second (libmicrohttpd 0.9.75). */
void praas_rest_refuse(struct praas_rest *rest)
{
	/* In the one order that begin_work() speaks of. */
	atomic_store_explicit(&rest->service->stopping, true, memory_order_seq_cst);
}

static uint64_t requests_open(const struct praas_rest *rest)
{
	/* In the one order that begin_work() speaks of. */
	return atomic_load_explicit(&rest->service->requests_open,
				    memory_order_seq_cst);
}

void praas_rest_free(struct praas_rest *rest)
{
	if (!rest)
		return;
	/* A suspended connection must not be left when the daemon stops. All requests have
	 * deadlines, and what they wait for was told that it is over. */
	for (int i = 0; i < DRAIN_TRIES && requests_open(rest) > 0; i++) {
		struct timespec pause = { .tv_nsec = 10000000 };

		(void)nanosleep(&pause, NULL);
	}
	if (requests_open(rest) > 0)
		_exit(0); /* calls that hang in a dead data plane; all else is done */
	MHD_stop_daemon(rest->daemon);
	free(rest);
}
