/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rest/pass_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <microhttpd.h>

#include "control/rest/http_threads.h"
#include "control/rest/peers.h"
#include "control/rest/request.h"
#include "internal/base.h"

#define BLOCK_BYTES (16u * 1024)

/* ---- its life ----------------------------------------------------------------------- */

void praas_pass_hold(struct praas_pass *pass)
{
	(void)pthread_mutex_lock(&pass->lock);
	pass->holders++;
	(void)pthread_mutex_unlock(&pass->lock);
}

void praas_pass_release(struct praas_pass *pass)
{
	unsigned left;

	(void)pthread_mutex_lock(&pass->lock);
	left = --pass->holders;
	(void)pthread_mutex_unlock(&pass->lock);
	if (left > 0)
		return;
	for (unsigned i = 0; i < pass->lines_count; i++)
		free(pass->lines[i].name);
	curl_slist_free_all(pass->headers);
	if (pass->easy)
		curl_easy_cleanup(pass->easy);
	(void)pthread_mutex_destroy(&pass->lock);
	free(pass->data);
	free(pass->body);
	free(pass->target);
	free(pass);
}

void praas_pass_prepare(struct praas_request *rq, const char *target)
{
	struct praas_pass *pass = calloc(1, sizeof(*pass));

	if (!pass)
		return;
	(void)pthread_mutex_init(&pass->lock, NULL);
	pass->holders = 1;
	pass->passes = rq->service->passes;
	pass->length = -1;
	pass->target = strdup(target);
	pass->easy = curl_easy_init();
	if (!pass->target || !pass->easy) {
		praas_pass_release(pass);
		return;
	}
	rq->pass = pass;
}

void praas_pass_drop(struct praas_pass *pass)
{
	if (!pass)
		return;
	(void)pthread_mutex_lock(&pass->lock);
	pass->dropped = true;
	(void)pthread_mutex_unlock(&pass->lock);
	(void)praas_pass_work(pass); /* the thread lets go of it; else it has */
	praas_pass_release(pass);
}

/* ---- what is asked ------------------------------------------------------------------ */

/* What is of one connection alone, or said anew. */
static bool stays_here(const char *name)
{
	static const char *const names[] = {
		"Connection",        "Content-Length", "Expect",  "Keep-Alive",    "TE",
		"Transfer-Encoding", "Trailer",        "Upgrade", PRAAS_PASS_FROM,
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcasecmp(name, names[i]))
			return true;
	return false;
}

struct heads {
	struct curl_slist *list;
	bool accept, type, agent, failed;
};

static void add_line(struct heads *h, const char *text)
{
	struct curl_slist *more = curl_slist_append(h->list, text);

	h->failed = h->failed || !more;
	h->list = more ? more : h->list;
}

static enum MHD_Result on_head(void *user, enum MHD_ValueKind kind, const char *name,
			       const char *value)
{
	struct heads *h = user;
	char *line;

	(void)kind;
	if (stays_here(name))
		return MHD_YES;
	/* The latter is libcurl's word for a header with nothing behind its colon. */
	if ((value && *value ? asprintf(&line, "%s: %s", name, value)
			     : asprintf(&line, "%s;", name)) < 0) {
		h->failed = true;
		return MHD_NO;
	}
	add_line(h, line);
	free(line);
	h->accept = h->accept || !strcasecmp(name, "Accept");
	h->type = h->type || !strcasecmp(name, "Content-Type");
	h->agent = h->agent || !strcasecmp(name, "User-Agent");
	return MHD_YES;
}

/* Those of the client, and no others that libcurl would add by itself. */
static int take_heads(struct praas_pass *pass, const struct praas_request *rq)
{
	struct heads h = { NULL };
	char from[PRAAS_PEER_FROM_BYTES + 16];

	(void)MHD_get_connection_values(rq->connection, MHD_HEADER_KIND, on_head, &h);
	(void)snprintf(from, sizeof(from), PRAAS_PASS_FROM ": %s",
		       praas_request_from(rq));
	add_line(&h, from);
	add_line(&h, "Expect:");
	if (!h.accept)
		add_line(&h, "Accept:");
	if (!h.type)
		add_line(&h, "Content-Type:");
	if (!h.agent)
		add_line(&h, "User-Agent:");
	pass->headers = h.list;
	return h.failed ? -ENOMEM : 0;
}

static int set_method(struct praas_pass *pass, const struct praas_request *rq)
{
	const char *method = rq->method;
	CURLcode rc = CURLE_OK;

	if (pass->body_bytes > 0 || !strcmp(method, MHD_HTTP_METHOD_POST) ||
	    !strcmp(method, MHD_HTTP_METHOD_PUT)) {
		rc = curl_easy_setopt(pass->easy, CURLOPT_POSTFIELDSIZE_LARGE,
				      (curl_off_t)pass->body_bytes);
		if (rc == CURLE_OK) /* not copied */
			rc = curl_easy_setopt(pass->easy, CURLOPT_POSTFIELDS,
					      pass->body ? pass->body : "");
	} else if (!strcmp(method, MHD_HTTP_METHOD_HEAD)) {
		return curl_easy_setopt(pass->easy, CURLOPT_NOBODY, 1L) ? -ENOMEM : 0;
	}
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(pass->easy, CURLOPT_CUSTOMREQUEST, method);
	return rc == CURLE_OK ? 0 : -ENOMEM;
}

void praas_pass_begin(struct praas_request *rq)
{
	struct praas_pass *pass = rq->pass;
	uint32_t open;
	int rc;

	pass->rq = rq;
	pass->connection = rq->connection;
	pass->http_thread = rq->thread;
	pass->peer = rq->peer;
	/* It may be on its way when the request has been answered already. */
	pass->body = rq->body;
	pass->body_bytes = rq->body_bytes;
	rq->body = NULL;
	rc = take_heads(pass, rq);
	if (rc == 0)
		rc = set_method(pass, rq);
	(void)pthread_mutex_lock(&pass->passes->lock);
	open = pass->passes->stats.open;
	if (rc == 0 && open < PRAAS_LIMIT_PASSES) {
		pass->passes->stats.open++;
		pass->passes->stats.begun++;
	}
	(void)pthread_mutex_unlock(&pass->passes->lock);
	if (rc) {
		praas_reply_no_memory(rq);
	} else if (open >= PRAAS_LIMIT_PASSES) {
		praas_reply_header(rq, MHD_HTTP_HEADER_RETRY_AFTER, "1");
		praas_reply_error(rq, 503, "limit_passes",
				  "try again later, or ask the active service",
				  "%u requests are being passed on",
				  PRAAS_LIMIT_PASSES);
	} else if (!praas_pass_work(pass)) {
		(void)pthread_mutex_lock(&pass->passes->lock);
		pass->passes->stats.open--;
		(void)pthread_mutex_unlock(&pass->passes->lock);
		praas_reply_header(rq, MHD_HTTP_HEADER_RETRY_AFTER, "1");
		praas_reply_error(rq, 503, "shutting_down", "ask another one",
				  "the control service is stopping");
	}
}

/* ---- what is answered --------------------------------------------------------------- */

/* Of the held part, as much as there is room for. Lock held. */
static size_t take_held(struct praas_pass *pass, char *to, size_t bytes_max)
{
	size_t n = praas_min_u64(pass->have, bytes_max);

	memcpy(to, pass->data + pass->at, n);
	pass->at += n;
	pass->have -= n;
	if (pass->have == 0)
		pass->at = 0;
	return n;
}

static ssize_t on_read(void *user, uint64_t at, char *buffer, size_t bytes_max)
{
	struct praas_pass *pass = user;
	ssize_t n = 0;
	bool more = false;

	(void)at;
	(void)pthread_mutex_lock(&pass->lock);
	if (pass->have > 0)
		n = (ssize_t)take_held(pass, buffer, bytes_max);
	if (pass->paused && pass->have < PRAAS_PASS_HELD / 2) {
		pass->paused = false;
		more = true;
	}
	if (n == 0 && pass->ended) {
		n = pass->failed ? MHD_CONTENT_READER_END_WITH_ERROR
				 : MHD_CONTENT_READER_END_OF_STREAM;
	} else if (n == 0) {
		praas_peer_phase(pass->peer, PRAAS_PEER_WORK, 0);
		MHD_suspend_connection(pass->connection);
		pass->asleep = true;
	}
	(void)pthread_mutex_unlock(&pass->lock);
	if (n > 0)
		praas_peer_phase(pass->peer, PRAAS_PEER_ANSWER, (uint64_t)n);
	if (more)
		(void)praas_pass_work(pass);
	return n;
}

static void on_free(void *user)
{
	praas_pass_drop(user);
}

struct MHD_Response *praas_pass_response(struct praas_pass *pass)
{
	uint64_t bytes = pass->length < 0 ? MHD_SIZE_UNKNOWN : (uint64_t)pass->length;
	struct MHD_Response *response;

	if (pass->status == MHD_HTTP_NO_CONTENT ||
	    pass->status == MHD_HTTP_NOT_MODIFIED)
		bytes = 0;
	response = MHD_create_response_from_callback(bytes, BLOCK_BYTES, on_read, pass,
						     on_free);
	if (!response) {
		praas_pass_drop(pass);
		return NULL;
	}
	for (unsigned i = 0; i < pass->lines_count; i++)
		(void)MHD_add_response_header(response, pass->lines[i].name,
					      pass->lines[i].value);
	return response;
}

/* ---- all of them -------------------------------------------------------------------- */

int praas_passes_new(const char *path, struct praas_passes **ret_passes)
{
	struct praas_passes *s;
	int rc;

	if (strlen(path) >= sizeof(s->path))
		return -ENAMETOOLONG;
	if (curl_global_init(CURL_GLOBAL_DEFAULT))
		return -ENOMEM;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	(void)snprintf(s->path, sizeof(s->path), "%s", path);
	(void)pthread_mutex_init(&s->lock, NULL);
	s->multi = curl_multi_init();
	rc = s->multi ? -pthread_create(&s->thread, NULL, praas_passes_thread, s)
		      : -ENOMEM;
	s->running = rc == 0;
	if (rc) {
		praas_passes_free(s);
		return rc;
	}
	*ret_passes = s;
	return 0;
}

void praas_passes_stop(struct praas_passes *passes)
{
	if (!passes || !passes->running)
		return;
	(void)pthread_mutex_lock(&passes->lock);
	passes->stopping = true;
	(void)pthread_mutex_unlock(&passes->lock);
	(void)curl_multi_wakeup(passes->multi);
	(void)pthread_join(passes->thread, NULL);
	passes->running = false;
}

void praas_passes_free(struct praas_passes *passes)
{
	if (!passes)
		return;
	praas_check(!passes->running);
	if (passes->multi)
		(void)curl_multi_cleanup(passes->multi);
	(void)pthread_mutex_destroy(&passes->lock);
	free(passes);
}

bool praas_passes_reach(const struct praas_passes *passes)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool there;

	if (fd < 0)
		return false;
	memcpy(addr.sun_path, passes->path, sizeof(addr.sun_path));
	there = connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0;
	(void)close(fd);
	return there;
}

void praas_passes_stats(struct praas_passes *passes,
			struct praas_passes_stats *ret_stats)
{
	(void)pthread_mutex_lock(&passes->lock);
	*ret_stats = passes->stats;
	(void)pthread_mutex_unlock(&passes->lock);
}
