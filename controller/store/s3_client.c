/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/s3_client.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "controller/store/s3_attempt.h"
#include "controller/store/s3_verdict.h"
#include "internal/base.h"

/*
 * A request waits (due_ns), is under way in one attempt, or in two when the first takes far longer
 * than others did (only where asking twice changes nothing), and is done with the first good answer
 * or when its time is over.
 */

#define ATTEMPTS (2 * PRAAS_S3_RUNNING_MAX)
#define MS 1000000ull
#define SECOND (1000 * MS)
#define BACKOFF_NS (25 * MS)
#define SLOWER_NS (200 * MS)
#define BACKOFF_MAX_NS (2 * SECOND)
#define SMALL_BYTES (64u * 1024u)
#define HEDGE_MIN_NS (250 * MS)
#define HEDGE_FIRST_NS (2 * SECOND) /* nothing is known yet */
#define HEDGE_FACTOR 4u
#define POLL_MAX_NS (100 * MS)

struct praas_s3_client {
	struct praas_s3_url url;
	struct praas_s3_credentials credentials;
	bool given; /* the credentials were, and are fresh */
	CURLM *multi;
	struct praas_s3_attempt attempts[ATTEMPTS];
	struct praas_s3_request *requests; /* all that are started */
	uint64_t usual_ns[2];              /* of small, of large ones; 0: not known */
	struct praas_s3_stats stats;
	char why[PRAAS_S3_WHY_BYTES];
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static pthread_mutex_t totals_lock = PTHREAD_MUTEX_INITIALIZER;
static struct praas_s3_stats
	totals; /* of clients that are no more; under totals_lock */

static void init_curl(void)
{
	(void)curl_global_init(CURL_GLOBAL_DEFAULT); /* else no handle can be made */
}

int praas_s3_client_new(const struct praas_s3_url *url,
			const struct praas_s3_credentials *given,
			struct praas_s3_client **ret_client)
{
	struct praas_s3_client *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	(void)pthread_once(&once, init_curl);
	c->url = *url;
	c->given = given != NULL;
	if (given)
		c->credentials = *given;
	c->multi = curl_multi_init();
	if (!c->multi) {
		free(c);
		return -ENOMEM;
	}
	(void)curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)ATTEMPTS);
	*ret_client = c;
	return 0;
}

static void account(const struct praas_s3_stats *s)
{
	(void)pthread_mutex_lock(&totals_lock);
	totals.requests += s->requests;
	totals.retries += s->retries;
	totals.hedges += s->hedges;
	totals.failures += s->failures;
	totals.bytes_sent += s->bytes_sent;
	totals.bytes_received += s->bytes_received;
	(void)pthread_mutex_unlock(&totals_lock);
}

void praas_s3_totals(struct praas_s3_stats *ret_totals)
{
	(void)pthread_mutex_lock(&totals_lock);
	*ret_totals = totals;
	(void)pthread_mutex_unlock(&totals_lock);
}

void praas_s3_client_free(struct praas_s3_client *c)
{
	if (!c)
		return;
	praas_s3_cancel(c);
	account(&c->stats);
	for (size_t i = 0; i < ATTEMPTS; i++)
		curl_easy_cleanup(c->attempts[i].easy);
	(void)curl_multi_cleanup(c->multi); /* no handle is in it */
	praas_s3_credentials_wipe(&c->credentials);
	free(c);
}

const struct praas_s3_stats *praas_s3_stats(const struct praas_s3_client *c)
{
	return &c->stats;
}

const char *praas_s3_why(const struct praas_s3_client *c)
{
	return c->why;
}

void praas_s3_request_release(struct praas_s3_request *r)
{
	free(r->text);
	r->text = NULL;
	r->text_bytes = 0;
}

/* ---- ends ---- */

static void end_attempt(struct praas_s3_client *c, struct praas_s3_attempt *a)
{
	struct praas_s3_request *r = a->request;

	(void)curl_multi_remove_handle(c->multi, a->easy); /* it is in */
	for (size_t i = 0; i < 2; i++) {
		if (r->attempts[i] == a)
			r->attempts[i] = NULL;
	}
	praas_s3_attempt_reset(a);
}

static void finish(struct praas_s3_client *c, struct praas_s3_request *r, int rc)
{
	for (size_t i = 0; i < 2; i++) {
		if (r->attempts[i])
			end_attempt(c, r->attempts[i]);
	}
	r->rc = rc;
	r->done = true;
	if (rc != 0 && rc != -ENOENT && rc != -EEXIST && rc != -ECANCELED)
		c->stats.failures++;
}

static void explain(struct praas_s3_client *c, const struct praas_s3_request *r,
		    const char *what)
{
	(void)snprintf(c->why, sizeof(c->why), "S3 %.8s %.63s/%.80s: %.64s", r->method,
		       c->url.bucket, r->object, what);
}

/* What an attempt has is the request's: the answer, also of an error. */
static void keep_answer(struct praas_s3_request *r, struct praas_s3_attempt *a,
			long status, const char *code)
{
	r->status = status;
	r->total = a->total;
	r->got = a->got;
	(void)snprintf(r->code, sizeof(r->code), "%s", code);
	memcpy(r->etag, a->etag, sizeof(r->etag));
	memcpy(r->written_by, a->written_by, sizeof(r->written_by));
	praas_s3_request_release(r);
	r->text = a->text;
	r->text_bytes = a->text_bytes;
	a->text = NULL;
}

/* ---- beginnings ---- */

static bool is_large(const struct praas_s3_request *r)
{
	return r->body_bytes > SMALL_BYTES || r->room > SMALL_BYTES;
}

/* Asked twice at once it does the same as asked once. */
static bool repeatable(const struct praas_s3_request *r)
{
	return !r->writer && strcmp(r->method, "POST") != 0;
}

static int keys(struct praas_s3_client *c)
{
	const char *why;
	int rc;

	if (c->given && praas_s3_credentials_fresh(&c->credentials))
		return 0;
	rc = praas_s3_credentials_find(&c->credentials, &why);
	if (rc != 0 && c->given)
		return 0; /* those we have may still be taken */
	if (rc != 0)
		(void)snprintf(c->why, sizeof(c->why), "%s", why);
	else
		c->given = false;
	return rc;
}

static struct praas_s3_attempt *free_attempt(struct praas_s3_client *c)
{
	for (size_t i = 0; i < ATTEMPTS; i++) {
		if (!c->attempts[i].request)
			return &c->attempts[i];
	}
	return NULL;
}

/* One more attempt, if there is room for it. */
static void begin(struct praas_s3_client *c, struct praas_s3_request *r)
{
	struct praas_s3_attempt *a = free_attempt(c);
	size_t place = r->attempts[0] ? 1 : 0;
	int rc;

	if (!a)
		return;
	rc = keys(c);
	if (rc != 0) {
		finish(c, r, rc == -ENOMEM || rc == -EIO ? rc : -EACCES);
		return;
	}
	rc = praas_s3_attempt_prepare(a, r, &c->url, &c->credentials);
	if (rc == 0 && curl_multi_add_handle(c->multi, a->easy) != CURLM_OK) {
		praas_s3_attempt_reset(a);
		rc = -ENOMEM;
	}
	if (rc != 0) {
		explain(c, r,
			strerror(
				-rc)); // NOLINT(concurrency-mt-unsafe): glibc's is safe
		finish(c, r, rc == -ENOMEM ? rc : -EIO);
		return;
	}
	r->attempts[place] = a;
	r->tries++;
	c->stats.requests++;
	c->stats.retries += r->tries > 1 && place == 0;
	c->stats.bytes_sent += r->body_bytes;
}

void praas_s3_start(struct praas_s3_client *c, struct praas_s3_request *r)
{
	struct praas_s3_request **end = &c->requests;
	unsigned times = r->patience > 0 ? r->patience : 1;

	r->started_ns = praas_now_ns();
	r->due_ns = r->started_ns;
	r->deadline_ns = r->started_ns + times * c->url.timeout_s * SECOND;
	r->next = NULL;
	r->done = false;
	while (*end)
		end = &(*end)->next;
	*end = r;
	if (praas_sigv4_hash(r->body, r->body_bytes, r->hash) != 0)
		finish(c, r, -ENOMEM);
}

/* ---- what came ---- */

static void learn(struct praas_s3_client *c, const struct praas_s3_request *r,
		  uint64_t took_ns)
{
	uint64_t *usual = &c->usual_ns[is_large(r) ? 1 : 0];

	*usual = *usual == 0 ? took_ns : *usual - *usual / 8 + took_ns / 8;
}

/* Exponential, with half of it by chance: those who were refused together come apart. */
static uint64_t back_off(const struct praas_s3_request *r, bool slower,
			 uint32_t after_s)
{
	unsigned doubled = r->tries < 8 ? r->tries - 1 : 7;
	uint64_t wait = (slower ? SLOWER_NS : BACKOFF_NS) << doubled, chance = 0;

	wait = praas_min_u64(wait, BACKOFF_MAX_NS);
	if (getrandom(&chance, sizeof(chance), 0) != (ssize_t)sizeof(chance))
		chance = praas_now_ns();
	wait = wait / 2 + chance % (wait / 2);
	return praas_max_u64(wait, after_s * SECOND);
}

static void try_again(struct praas_s3_client *c, struct praas_s3_request *r,
		      const struct praas_s3_verdict *v, uint32_t after_s)
{
	uint64_t now = praas_now_ns();

	if (r->attempts[0] || r->attempts[1])
		return; /* the other one is under way */
	r->due_ns = now + back_off(r, v->what == PRAAS_S3_SLOWER, after_s);
	if (r->due_ns >= r->deadline_ns)
		finish(c, r, v->rc);
}

/* An attempt is over. */
static void on_end(struct praas_s3_client *c, struct praas_s3_attempt *a, CURLcode code)
{
	struct praas_s3_request *r = a->request;
	char what[CURL_ERROR_SIZE + 64], error[PRAAS_S3_CODE_MAX + 1] = "";
	uint64_t took_ns = praas_now_ns() - a->started_ns;
	uint32_t after_s = a->after_s;
	struct praas_s3_verdict v;
	long status = 0;

	(void)curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &status);
	code = praas_s3_attempt_check(a, code, status);
	c->stats.bytes_received += a->got + a->text_bytes;
	/* Also of a 200: the end of a multipart upload may fail after its status was sent. */
	if (code == CURLE_OK && a->text_bytes > 0)
		praas_s3_xml_error(a->text, a->text_bytes, error);
	if (code == CURLE_OK && status < 300 && error[0] != '\0')
		status = 500;
	v = praas_s3_judge((int)code, status, error);
	if (v.what == PRAAS_S3_KEYS && r->rekeyed)
		v.what = PRAAS_S3_DONE;
	if (v.rc != 0) {
		if (code != CURLE_OK)
			(void)snprintf(what, sizeof(what), "%s",
				       a->error[0] != '\0' ? a->error
							   : curl_easy_strerror(code));
		else
			(void)snprintf(what, sizeof(what), "%ld %s", status, error);
		explain(c, r, what);
	}
	if (v.what == PRAAS_S3_DONE)
		keep_answer(r, a, status, error);
	else
		r->uncertain = r->uncertain || v.applied;
	end_attempt(c, a);
	if (v.what == PRAAS_S3_DONE) {
		if (v.rc == 0)
			learn(c, r, took_ns);
		finish(c, r, v.rc);
		return;
	}
	if (v.what == PRAAS_S3_KEYS) {
		praas_s3_credentials_forget();
		c->given = false;
		r->rekeyed = true;
	}
	try_again(c, r, &v, after_s);
}

static void collect(struct praas_s3_client *c)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(c->multi, &left)) != NULL) {
		struct praas_s3_attempt *a = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE,
					(char **)&a);
		if (a && a->request)
			on_end(c, a, message->data.result);
	}
}

/* ---- time ---- */

static uint64_t hedge_ns(const struct praas_s3_client *c,
			 const struct praas_s3_request *r)
{
	uint64_t usual = c->usual_ns[is_large(r) ? 1 : 0];

	return usual == 0 ? HEDGE_FIRST_NS
			  : praas_max_u64(HEDGE_MIN_NS, HEDGE_FACTOR * usual);
}

/* When something is to be done for it next, at the latest. Half of its time without a byte: the
 * attempt is given up. */
static uint64_t look_at(struct praas_s3_client *c, struct praas_s3_request *r,
			uint64_t now)
{
	static const struct praas_s3_verdict silent = { PRAAS_S3_AGAIN, -EIO, true };
	uint64_t patience = (r->deadline_ns - r->started_ns) / 2;
	struct praas_s3_attempt *a = r->attempts[0];
	uint64_t hedge = a ? a->started_ns + hedge_ns(c, r) : UINT64_MAX;

	if (now >= r->deadline_ns) {
		r->uncertain = r->uncertain || r->attempts[0] || r->attempts[1];
		if (r->attempts[0] || r->attempts[1])
			explain(c, r, "no answer in time");
		finish(c, r, -EIO);
		return now;
	}
	for (size_t i = 0; i < 2; i++) {
		if (r->attempts[i] && now - r->attempts[i]->moved_ns > patience) {
			explain(c, r, "no answer in time");
			r->uncertain = true;
			end_attempt(c, r->attempts[i]);
			try_again(c, r, &silent, 0);
			return now;
		}
	}
	if (!r->attempts[0] && !r->attempts[1]) {
		if (now >= r->due_ns)
			begin(c, r);
		return praas_min_u64(r->due_ns, r->deadline_ns);
	}
	if (!repeatable(r) || r->hedged || !a)
		return r->deadline_ns;
	if (now >= hedge) {
		r->hedged = true;
		c->stats.hedges++;
		begin(c, r);
	}
	return praas_min_u64(hedge, r->deadline_ns);
}

static struct praas_s3_request *take_done(struct praas_s3_client *c)
{
	for (struct praas_s3_request **at = &c->requests; *at; at = &(*at)->next) {
		struct praas_s3_request *r = *at;

		if (r->done) {
			*at = r->next;
			r->next = NULL;
			return r;
		}
	}
	return NULL;
}

struct praas_s3_request *praas_s3_wait(struct praas_s3_client *c)
{
	while (c->requests) {
		uint64_t now = praas_now_ns(), next = now + POLL_MAX_NS;
		struct praas_s3_request *r;
		int running;

		for (r = c->requests; r; r = r->next) {
			if (!r->done)
				next = praas_min_u64(next, look_at(c, r, now));
		}
		(void)curl_multi_perform(c->multi, &running); /* told by each handle */
		collect(c);
		r = take_done(c);
		if (r)
			return r;
		now = praas_now_ns();
		(void)curl_multi_poll(c->multi, NULL, 0,
				      next > now ? (int)((next - now) / MS) + 1 : 0,
				      NULL); /* early or late: it is asked again */
	}
	return NULL;
}

int praas_s3_do(struct praas_s3_client *c, struct praas_s3_request *r)
{
	praas_check(!c->requests);
	praas_s3_start(c, r);
	(void)praas_s3_wait(c); /* the only one */
	return r->rc;
}

void praas_s3_cancel(struct praas_s3_client *c)
{
	while (c->requests) {
		struct praas_s3_request *r = c->requests;

		c->requests = r->next;
		if (!r->done) {
			r->uncertain = true;
			finish(c, r, -ECANCELED);
		}
	}
}
