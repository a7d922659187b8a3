/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread that asks the active service, for all requests that are passed on. Each has a connection of its own, used
 * once: on one that is used again a request that got lost would be sent a second time by libcurl.
 */
#include "control/rest/pass_private.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include <utlist.h>

#include "control/names.h"
#include "control/rest/http_threads.h"
#include "control/rest/request.h"

#define LOOK_MS 200 /* whether another one is active now, while anything is under way */
#define REST_MS 60000

/* Why a pass ended, besides what libcurl says. */
#define OVER_STOPPING CURLE_ABORTED_BY_CALLBACK

bool praas_pass_work(struct praas_pass *pass)
{
	struct praas_passes *s = pass->passes;
	bool stopping, add;

	(void)pthread_mutex_lock(&s->lock);
	stopping = s->stopping;
	add = !stopping && !pass->queued;
	if (add) {
		pass->queued = true;
		praas_pass_hold(pass);
		LL_PREPEND2(s->work, pass, work_next);
	}
	(void)pthread_mutex_unlock(&s->lock);
	if (add)
		(void)curl_multi_wakeup(s->multi);
	return !stopping;
}

/* ---- the answer's head -------------------------------------------------------------- */

static bool is_ours_to_say(const char *name)
{
	static const char *const names[] = {
		"Connection", "Content-Length",    "Date",
		"Keep-Alive", "Transfer-Encoding", "X-Content-Type-Options",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcasecmp(name, names[i]))
			return true;
	return false;
}

/* "Name: value", without its end of line. */
static void take_line(struct praas_pass *pass, const char *text, size_t bytes)
{
	char *name = strndup(text, bytes), *value = name ? strchr(name, ':') : NULL;
	uint64_t length;

	if (!value) {
		free(name);
		return;
	}
	*value++ = 0;
	value += strspn(value, " \t");
	if (!strcasecmp(name, "Content-Length") &&
	    praas_number_parse(value, INT64_MAX, &length) == 0)
		pass->length = (int64_t)length;
	if (is_ours_to_say(name) || pass->lines_count == PRAAS_PASS_LINES) {
		free(name);
		return;
	}
	pass->lines[pass->lines_count++] = (struct praas_pass_line){ name, value };
}

/* All of the head is there: the request is answered with it. */
static void on_headed(struct praas_pass *pass)
{
	struct praas_request *rq;
	long status = 0;

	(void)curl_easy_getinfo(pass->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200)
		return; /* another one follows */
	pass->headed = true;
	pass->status = (int)status;
	(void)pthread_mutex_lock(&pass->lock);
	rq = pass->rq;
	pass->rq = NULL;
	(void)pthread_mutex_unlock(&pass->lock);
	rq->status = (int)status;
	rq->passed = true;
	praas_request_finish(rq);
}

static size_t on_header(char *text, size_t one, size_t bytes, void *user)
{
	struct praas_pass *pass = user;
	size_t n = bytes;

	(void)one; /* it is 1 */
	while (n > 0 && (text[n - 1] == '\r' || text[n - 1] == '\n'))
		n--;
	if (pass->headed)
		return bytes; /* behind the body: nobody wants it */
	if (n == 0)
		on_headed(pass);
	else
		take_line(pass, text, n);
	return bytes;
}

/* ---- its body ----------------------------------------------------------------------- */

/* Lock held; there is room. */
static void keep(struct praas_pass *pass, const char *data, size_t bytes)
{
	if (pass->at + pass->have + bytes > PRAAS_PASS_HELD) {
		memmove(pass->data, pass->data + pass->at, pass->have);
		pass->at = 0;
	}
	memcpy(pass->data + pass->at + pass->have, data, bytes);
	pass->have += bytes;
}

static size_t on_data(char *data, size_t one, size_t bytes, void *user)
{
	struct praas_pass *pass = user;
	size_t taken = bytes;
	bool wake = false;

	(void)one;
	(void)pthread_mutex_lock(&pass->lock);
	if (!pass->data)
		pass->data = malloc(PRAAS_PASS_HELD);
	if (pass->dropped || !pass->data) {
		taken = 0; /* that ends it */
	} else if (pass->have + bytes > PRAAS_PASS_HELD) {
		pass->paused = true;
		taken = CURL_WRITEFUNC_PAUSE;
	} else {
		keep(pass, data, bytes);
		wake = pass->asleep;
		pass->asleep = false;
	}
	(void)pthread_mutex_unlock(&pass->lock);
	if (wake)
		praas_http_resume(pass->http_thread, pass->connection);
	return taken;
}

/* ---- its end ------------------------------------------------------------------------ */

static void answer_failure(struct praas_request *rq, CURLcode code)
{
	if (code == CURLE_OUT_OF_MEMORY) {
		praas_reply_no_memory(rq);
	} else if (code == OVER_STOPPING) {
		praas_reply_header(rq, "Retry-After", "1");
		praas_reply_error(rq, 503, "shutting_down",
				  "ask another one; whether it was done is not known",
				  "the control service is stopping");
	} else if (code == CURLE_COULDNT_CONNECT) {
		praas_reply_header(rq, "Retry-After", "1");
		praas_reply_error(rq, 503, "no_active", "try again in a moment",
				  "no control service is active");
	} else {
		praas_reply_error(
			rq, 502, "active_lost",
			"whether it was done is not known: ask again with the "
			"same Idempotency-Key",
			"the active control service did not answer: %s",
			curl_easy_strerror(code));
	}
}

/* NOLINTNEXTLINE(readability-function-size): the branches are utlist's macros */
static void take_out(struct praas_passes *s, struct praas_pass *pass, bool failed)
{
	(void)curl_multi_remove_handle(s->multi, pass->easy);
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): it is in the list */
	DL_DELETE(s->all, pass);
	(void)pthread_mutex_lock(&s->lock);
	s->stats.open--;
	s->stats.failed += failed;
	(void)pthread_mutex_unlock(&s->lock);
}

static void end(struct praas_passes *s, struct praas_pass *pass, CURLcode code)
{
	struct praas_request *rq;
	bool wake;

	take_out(s, pass, code != CURLE_OK);
	(void)pthread_mutex_lock(&pass->lock);
	rq = pass->rq;
	pass->rq = NULL;
	pass->ended = true;
	pass->failed = code != CURLE_OK;
	wake = pass->asleep;
	pass->asleep = false;
	(void)pthread_mutex_unlock(&pass->lock);
	if (rq)
		answer_failure(rq, code == CURLE_OK ? CURLE_GOT_NOTHING : code);
	else if (wake)
		praas_http_resume(pass->http_thread, pass->connection);
	praas_pass_release(pass);
}

/* ---- the thread --------------------------------------------------------------------- */

static ino_t inode_of(const struct praas_passes *s)
{
	struct stat st;

	return stat(s->path, &st) == 0 ? st.st_ino : 0;
}

static CURLcode set_up(const struct praas_passes *s, struct praas_pass *pass)
{
	const struct {
		CURLoption option;
		long value;
	} numbers[] = {
		{ CURLOPT_NOSIGNAL, 1 },
		{ CURLOPT_FRESH_CONNECT, 1 },
		{ CURLOPT_FORBID_REUSE, 1 },
		{ CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1 },
		{ CURLOPT_BUFFERSIZE, PRAAS_PASS_PIECE },
	};
	CURL *easy = pass->easy;
	CURLcode rc = CURLE_OK;

	for (size_t i = 0; rc == CURLE_OK && i < sizeof(numbers) / sizeof(numbers[0]);
	     i++)
		rc = curl_easy_setopt(easy, numbers[i].option, numbers[i].value);
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(easy, CURLOPT_URL, "http://praas/");
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(easy, CURLOPT_REQUEST_TARGET, pass->target);
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(easy, CURLOPT_PROXY, "");
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, s->path);
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(easy, CURLOPT_HTTPHEADER, pass->headers);
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(easy, CURLOPT_HEADERDATA, pass);
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(easy, CURLOPT_WRITEDATA, pass);
	return rc == CURLE_OK ? curl_easy_setopt(easy, CURLOPT_PRIVATE, pass) : rc;
}

static void begin(struct praas_passes *s, struct praas_pass *pass)
{
	CURLcode rc;

	praas_pass_hold(pass);
	DL_APPEND(s->all, pass);
	pass->inode = inode_of(s);
	rc = set_up(s, pass);
	if (rc != CURLE_OK || curl_multi_add_handle(s->multi, pass->easy))
		end(s, pass, CURLE_OUT_OF_MEMORY);
}

static bool under_way(const struct praas_pass *pass)
{
	return pass->prev != NULL; /* utlist's first has its last there */
}

static void look_at(struct praas_passes *s, struct praas_pass *pass)
{
	bool dropped, fresh, ended;

	(void)pthread_mutex_lock(&pass->lock);
	dropped = pass->dropped;
	ended = pass->ended;
	(void)pthread_mutex_unlock(&pass->lock);
	fresh = !under_way(pass) && !ended;
	if (fresh && !dropped)
		begin(s, pass);
	else if (!ended && dropped && !fresh)
		end(s, pass, CURLE_WRITE_ERROR);
	else if (!ended && !dropped) /* on_data() may be called in it */
		(void)curl_easy_pause(pass->easy, CURLPAUSE_CONT);
}

/* Returns whether it is over. */
static bool do_work(struct praas_passes *s)
{
	struct praas_pass *work, *next;
	bool stopping;

	(void)pthread_mutex_lock(&s->lock);
	work = s->work;
	s->work = NULL;
	stopping = s->stopping;
	(void)pthread_mutex_unlock(&s->lock);
	for (; work; work = next) {
		(void)pthread_mutex_lock(&s->lock);
		next = work->work_next;
		work->queued = false;
		(void)pthread_mutex_unlock(&s->lock);
		look_at(s, work);
		praas_pass_release(work);
	}
	return stopping;
}

/* Answers that are there, and those of who is active no more. */
static void see_ends(struct praas_passes *s)
{
	struct praas_pass *pass = NULL, *next = NULL;
	ino_t now = s->all ? inode_of(s) : 0;
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(s->multi, &left)) != NULL) {
		char *user = NULL;
		CURLcode code = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &user);
		end(s, (struct praas_pass *)(void *)user, code);
	}
	DL_FOREACH_SAFE(s->all, pass, next)
	{
		if (now != 0 && pass->inode != now)
			end(s, pass, CURLE_RECV_ERROR);
	}
}

void *praas_passes_thread(void *passes)
{
	struct praas_passes *s = passes;
	struct praas_pass *pass = NULL, *next = NULL;
	int running;

	while (!do_work(s)) {
		(void)curl_multi_perform(s->multi, &running);
		see_ends(s);
		(void)curl_multi_poll(s->multi, NULL, 0, s->all ? LOOK_MS : REST_MS,
				      NULL);
	}
	DL_FOREACH_SAFE(s->all, pass, next)
	{
		end(s, pass, OVER_STOPPING);
	}
	return NULL;
}
