/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers without an end: server-sent events. A connection with nothing to tell is suspended and costs
 * no time; one that does not take what it is told is cut as slow (control/rest/peers.h).
 */
#include "control/rest/rest_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "control/life/events.h"
#include "control/rest/http_threads.h"
#include "control/rest/peers.h"
#include "control/rest/request.h"

#define BLOCK_BYTES 4096u
#define BUFFER_BYTES (64 * 1024)

struct praas_stream {
	struct praas_watcher watcher;
	struct MHD_Connection *connection;
	struct praas_http_thread *thread;
	struct praas_peer *peer;
	struct praas_tokens *tokens;
	struct praas_caller caller;
};

static struct praas_stream *of(struct praas_watcher *w)
{
	return (struct praas_stream *)(void *)w; /* its first member */
}

static void on_sleep(struct praas_watcher *w)
{
	praas_peer_phase(of(w)->peer, PRAAS_PEER_WORK, 0);
	MHD_suspend_connection(of(w)->connection);
}

static void on_wake(struct praas_watcher *w)
{
	praas_http_resume(of(w)->thread, of(w)->connection);
}

/* His key may have been revoked, or have expired, since he began. */
static bool on_allowed(struct praas_watcher *w)
{
	return praas_caller_valid(of(w)->tokens, &of(w)->caller, (uint64_t)time(NULL));
}

static ssize_t on_read(void *user, uint64_t at, char *buffer, size_t bytes_max)
{
	struct praas_stream *s = user;
	int n;

	(void)at;
	if (bytes_max < PRAAS_EVENT_TEXT_BYTES)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	n = praas_watcher_read(&s->watcher, buffer, (uint32_t)bytes_max);
	if (n > 0)
		praas_peer_phase(s->peer, PRAAS_PEER_ANSWER, (uint64_t)n);
	return n < 0 ? MHD_CONTENT_READER_END_OF_STREAM : n;
}

static void on_free(void *user)
{
	struct praas_stream *s = user;

	praas_watcher_end(&s->watcher);
	free(s);
}

struct MHD_Response *praas_stream_response(struct praas_stream *stream)
{
	struct MHD_Response *response = MHD_create_response_from_callback(
		MHD_SIZE_UNKNOWN, BLOCK_BYTES, on_read, stream, on_free);

	if (!response)
		on_free(stream);
	else
		(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL,
					      "no-store");
	return response;
}

void praas_stream_drop(struct praas_stream *stream)
{
	if (stream)
		on_free(stream);
}

/* "" and absent alike: from now on. */
static const char *place_asked(const struct praas_request *rq)
{
	const char *after = praas_request_header(rq, "Last-Event-ID");

	if (!after)
		after = praas_request_query(rq, "after");
	return after && *after ? after : NULL;
}

/* What the kernel keeps for one who does not read is bounded too. */
static void bound_buffer(struct MHD_Connection *connection)
{
	int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)
			 ->connect_fd;
	int bytes = BUFFER_BYTES;

	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

void praas_route_watch(struct praas_request *rq)
{
	struct praas_stream *s;
	int rc;

	if (!praas_request_app(rq))
		return;
	s = calloc(1, sizeof(*s));
	if (!s) {
		praas_reply_errno(rq, -ENOMEM, "watch");
		return;
	}
	s->connection = rq->connection;
	s->thread = rq->thread;
	s->peer = rq->peer;
	s->watcher.sleep = on_sleep;
	s->watcher.wake = on_wake;
	s->watcher.allowed = on_allowed;
	s->tokens = rq->service->tokens;
	s->caller = rq->caller;
	bound_buffer(rq->connection);
	rc = praas_watcher_begin(&s->watcher, rq->service->events, rq->app.id,
				 place_asked(rq));
	if (rc == 0) {
		praas_reply_stream(rq, s);
		return;
	}
	free(s);
	if (rc == -EAGAIN) {
		praas_reply_header(rq, "Retry-After", "1");
		praas_reply_error(rq, 503, "limit_watchers", "try again later",
				  "there are %u who watch", PRAAS_LIMIT_WATCHERS);
	} else if (rc == -EINVAL) {
		praas_reply_error(rq, 400, "invalid",
				  "give the id of an event, or the version of members",
				  "Last-Event-ID is not one");
	} else {
		praas_reply_errno(rq, rc, "the service is stopping");
	}
}
