/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/s3_attempt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "internal/base.h"

#define CONNECT_MS 3000L
#define BUFFER_BYTES (512L * 1024L)
#define HEADER_BYTES (PRAAS_S3_SESSION_MAX + 64u)
#define AFTER_S_MAX 60u

/* ---- what comes ---- */

/* The value of a header line of that name; NULL: it is another. */
static const char *value_of(const char *line, size_t bytes, const char *name,
			    size_t *ret_bytes)
{
	size_t skip = strlen(name);

	if (bytes <= skip || line[skip] != ':' || strncasecmp(line, name, skip) != 0)
		return NULL;
	skip++;
	while (skip < bytes && (line[skip] == ' ' || line[skip] == '\t'))
		skip++;
	while (bytes > skip && strchr("\r\n \t", line[bytes - 1]))
		bytes--;
	*ret_bytes = bytes - skip;
	return line + skip;
}

/* A number that ends before one of `ends`. */
static bool number(const char *text, size_t bytes, uint64_t *ret_number)
{
	uint64_t n = 0;

	if (bytes == 0 || bytes > 18)
		return false;
	for (size_t i = 0; i < bytes; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(text[i] - '0');
	}
	*ret_number = n;
	return true;
}

/* "bytes FIRST-LAST/TOTAL", or "bytes" and a star for the range. */
static void take_range(struct praas_s3_attempt *a, const char *text, size_t bytes)
{
	const char *slash = memchr(text, '/', bytes), *dash = memchr(text, '-', bytes);

	if (bytes < 7 || strncasecmp(text, "bytes ", 6) != 0 || !slash)
		return;
	a->has_total = number(slash + 1, bytes - (size_t)(slash + 1 - text), &a->total);
	a->has_range = a->has_total && dash && dash < slash &&
		       number(text + 6, (size_t)(dash - text - 6), &a->range_first);
}

static size_t on_header(char *line, size_t size, size_t count, void *user)
{
	struct praas_s3_attempt *a = user;
	size_t bytes = size * count, n;
	const char *value;
	uint64_t number_read;

	value = value_of(line, bytes, "etag", &n);
	if (value && n < sizeof(a->etag))
		(void)snprintf(a->etag, sizeof(a->etag), "%.*s", (int)n, value);
	value = value_of(line, bytes, "x-amz-meta-praas-writer", &n);
	if (value && n < sizeof(a->written_by))
		(void)snprintf(a->written_by, sizeof(a->written_by), "%.*s", (int)n,
			       value);
	value = value_of(line, bytes, "content-range", &n);
	if (value)
		take_range(a, value, n);
	value = value_of(line, bytes, "content-length", &n);
	if (value && !a->has_range && number(value, n, &number_read)) {
		a->total = number_read;
		a->has_total = true;
	}
	value = value_of(line, bytes, "retry-after", &n);
	if (value && number(value, n, &number_read))
		a->after_s = (uint32_t)praas_min_u64(number_read, AFTER_S_MAX);
	return bytes;
}

/* To where the object was asked to go. */
static size_t take_data(struct praas_s3_attempt *a, const char *data, size_t bytes)
{
	struct praas_s3_request *r = a->request;
	size_t n = (size_t)praas_min_u64(bytes, r->room - a->got);

	if (n > 0)
		memcpy(r->data + a->got, data, n);
	a->got += n;
	a->enough = a->enough || n < bytes;
	return n; /* less: ends it here */
}

static size_t on_data(char *data, size_t size, size_t count, void *user)
{
	struct praas_s3_attempt *a = user;
	size_t bytes = size * count;
	long status = 0;

	(void)curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &status);
	if (a->request->data && (status == 206 || status == 200))
		return take_data(a, data, bytes);
	if (bytes > PRAAS_S3_XML_MAX - a->text_bytes)
		return 0;
	if (a->text_bytes + bytes > a->text_room) {
		size_t room = (size_t)praas_max_u64(
			a->text_bytes + bytes, praas_max_u64(4096, 2 * a->text_room));
		char *more = realloc(a->text, room);

		if (!more)
			return 0;
		a->text = more;
		a->text_room = room;
	}
	memcpy(a->text + a->text_bytes, data, bytes);
	a->text_bytes += bytes;
	return bytes;
}

static int on_progress(void *user, curl_off_t in_total, curl_off_t in,
		       curl_off_t out_total, curl_off_t out)
{
	struct praas_s3_attempt *a = user;

	(void)in_total;
	(void)out_total;
	if (in + out != a->moved) {
		a->moved = in + out;
		a->moved_ns = praas_now_ns();
	}
	return 0;
}

CURLcode praas_s3_attempt_check(const struct praas_s3_attempt *a, CURLcode code,
				long status)
{
	const struct praas_s3_request *r = a->request;
	uint64_t wanted;

	if (!r->data || (status != 200 && status != 206))
		return code;
	if (status == 200 && r->first > 0) /* it does not know ranges */
		return CURLE_RANGE_ERROR;
	if (!a->has_total ||
	    (status == 206 &&
	     (!a->has_range || a->range_first != r->first || a->total <= r->first)))
		return code == CURLE_OK ? CURLE_WEIRD_SERVER_REPLY : code;
	wanted = praas_min_u64(r->room, a->total - r->first);
	if (code == CURLE_WRITE_ERROR && a->enough && status == 200)
		code = CURLE_OK; /* the rest was not asked for */
	return code == CURLE_OK && a->got != wanted ? CURLE_PARTIAL_FILE : code;
}

/* ---- what goes ---- */

static int add_header(struct praas_s3_attempt *a, const char *name, const char *value)
{
	char line[HEADER_BYTES];
	struct curl_slist *more;
	int n = snprintf(line, sizeof(line), "%s:%s%s", name, *value ? " " : "", value);

	if (n < 0 || n >= (int)sizeof(line))
		return -EMSGSIZE;
	more = curl_slist_append(a->headers, line);
	explicit_bzero(line, (size_t)n); /* may be a session token */
	if (!more)
		return -ENOMEM;
	a->headers = more;
	return 0;
}

/* What is signed, and then sent: the host is curl's own header. */
struct lines {
	struct praas_sigv4_pair pair[PRAAS_SIGV4_PAIRS_MAX];
	size_t count;
	char host[PRAAS_S3_HOST_MAX + PRAAS_S3_BUCKET_MAX + 2];
	char path[PRAAS_S3_KEY_MAX + PRAAS_S3_BUCKET_MAX + 3];
	char range[64], date[PRAAS_SIGV4_DATE_TEXT];
};

static void line(struct lines *l, const char *name, const char *value)
{
	l->pair[l->count++] = (struct praas_sigv4_pair){ name, value };
}

static int collect(struct lines *l, const struct praas_s3_request *r,
		   const struct praas_s3_url *url, const struct praas_s3_credentials *c)
{
	int rc = praas_sigv4_date(time(NULL), l->date);

	(void)snprintf(l->host, sizeof(l->host), "%s%s%s",
		       url->virtual_host ? url->bucket : "",
		       url->virtual_host ? "." : "", url->host); /* fits */
	if (snprintf(l->path, sizeof(l->path), "%s%s/%s", url->virtual_host ? "" : "/",
		     url->virtual_host ? "" : url->bucket,
		     r->object) >= (int)sizeof(l->path))
		return -EMSGSIZE;
	line(l, "host", l->host);
	line(l, "x-amz-content-sha256", r->hash);
	line(l, "x-amz-date", l->date);
	if (c->session[0] != '\0')
		line(l, "x-amz-security-token", c->session);
	if (r->if_absent)
		line(l, "if-none-match", "*");
	if (r->writer)
		line(l, "x-amz-meta-praas-writer", r->writer);
	if (r->copy_from)
		line(l, "x-amz-copy-source", r->copy_from);
	if (r->data) {
		(void)snprintf(l->range, sizeof(l->range), "bytes=%llu-%llu",
			       (unsigned long long)r->first,
			       (unsigned long long)(r->first + r->room - 1));
		line(l, "range", l->range);
	}
	return rc;
}

static int sign(struct praas_s3_attempt *a, const struct lines *l,
		const struct praas_s3_request *r, const struct praas_s3_url *url,
		const struct praas_s3_credentials *c)
{
	const struct praas_sigv4_request what = { .method = r->method,
						  .path = l->path,
						  .query = r->query,
						  .query_count = r->query_count,
						  .headers = l->pair,
						  .headers_count = l->count,
						  .payload_hash = r->hash };
	const struct praas_sigv4_scope scope = { .key_id = c->key_id,
						 .secret = c->secret,
						 .region = url->region,
						 .service = "s3",
						 .date = l->date };
	int rc = praas_sigv4_sign(&what, &scope, &a->signed_as);

	for (size_t i = 1; rc == 0 && i < l->count; i++)
		rc = add_header(a, l->pair[i].name, l->pair[i].value);
	if (rc == 0)
		rc = add_header(a, "authorization", a->signed_as.authorization);
	/* Without these of curl's own. */
	if (rc == 0)
		rc = add_header(a, "expect", "");
	if (rc == 0)
		rc = add_header(a, "content-type", "");
	(void)snprintf(a->url, sizeof(a->url), "%s://%s%s", url->tls ? "https" : "http",
		       l->host, a->signed_as.target); /* fits */
	return rc;
}

/* What is the same for all requests; the handle keeps it. */
static int open_handle(struct praas_s3_attempt *a, const struct praas_s3_url *url)
{
	CURL *e = curl_easy_init();

	if (!e)
		return -ENOMEM;
	a->easy = e;
	(void)curl_easy_setopt(e, CURLOPT_PRIVATE, a);
	(void)curl_easy_setopt(e, CURLOPT_ERRORBUFFER, a->error);
	(void)curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(e, CURLOPT_HEADERDATA, a);
	(void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_data);
	(void)curl_easy_setopt(e, CURLOPT_WRITEDATA, a);
	(void)curl_easy_setopt(e, CURLOPT_XFERINFOFUNCTION, on_progress);
	(void)curl_easy_setopt(e, CURLOPT_XFERINFODATA, a);
	(void)curl_easy_setopt(e, CURLOPT_NOPROGRESS, 0L);
	(void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
	(void)curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	(void)curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	(void)curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	(void)curl_easy_setopt(e, CURLOPT_BUFFERSIZE, BUFFER_BYTES);
	(void)curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_BYTES);
	(void)curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
	(void)curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
	if (url->ca[0] != '\0')
		(void)curl_easy_setopt(e, CURLOPT_CAINFO, url->ca);
	return 0;
}

static void set_method(CURL *e, const struct praas_s3_request *r)
{
	(void)curl_easy_setopt(e, CURLOPT_HTTPGET, 1L); /* forgets the one before */
	(void)curl_easy_setopt(e, CURLOPT_NOBODY, 0L);
	(void)curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, NULL);
	if (strcmp(r->method, "HEAD") == 0) {
		(void)curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
	} else if (strcmp(r->method, "PUT") == 0 || strcmp(r->method, "POST") == 0) {
		(void)curl_easy_setopt(e, CURLOPT_POSTFIELDS,
				       r->body_bytes > 0 ? r->body : "");
		(void)curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE,
				       (curl_off_t)r->body_bytes);
		(void)curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, r->method);
	} else if (strcmp(r->method, "DELETE") == 0) {
		(void)curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, r->method);
	}
}

int praas_s3_attempt_prepare(struct praas_s3_attempt *a,
			     struct praas_s3_request *request,
			     const struct praas_s3_url *url,
			     const struct praas_s3_credentials *credentials)
{
	struct lines l = { .count = 0 };
	int rc = a->easy ? 0 : open_handle(a, url);

	if (rc == 0)
		rc = collect(&l, request, url, credentials);
	if (rc == 0)
		rc = sign(a, &l, request, url, credentials);
	if (rc != 0) {
		praas_s3_attempt_reset(a);
		return rc;
	}
	a->request = request;
	a->started_ns = praas_now_ns();
	a->moved_ns = a->started_ns;
	a->error[0] = '\0';
	set_method(a->easy, request);
	(void)curl_easy_setopt(a->easy, CURLOPT_URL, a->url);
	(void)curl_easy_setopt(a->easy, CURLOPT_HTTPHEADER, a->headers);
	return 0;
}

void praas_s3_attempt_reset(struct praas_s3_attempt *a)
{
	CURL *easy = a->easy;

	if (easy) /* they point to what goes */
		(void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(a->headers);
	free(a->text);
	*a = (struct praas_s3_attempt){ .easy = easy };
}
