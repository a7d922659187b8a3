/* SPDX-License-Identifier: Apache-2.0
 *
 * What libcurl takes to put bytes into a bucket and to get them back, by itself: parts side by side over
 * connections that stay, signed by curl. No multipart upload is begun or ended, the hashes of the parts are
 * made before, and nothing is looked at: less than any store can do.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <curl/curl.h>

#include "controller/store/s3_credentials.h"
#include "controller/store/s3_url.h"
#include "controller/store/sigv4.h"
#include "internal/base.h"
#include "perf/bench.h"
#include "perf/clock.h"
#include "perf/floor_peer.h"

#define SIDE_BY_SIDE 8u
#define PART_MIN (1u << 20)
#define PART_MAX (8u << 20)
#define PARTS 64u /* of 400 MiB */
#define MULTI_WAIT_MS 1000

struct part {
	CURL *easy;
	struct curl_slist *headers; /* the hash of the body */
	uint64_t at;
	size_t bytes, got;
	struct floor *of;
};

struct floor {
	CURLM *multi;
	struct praas_s3_url url;
	char user[PRAAS_S3_SECRET_MAX + PRAAS_S3_KEY_ID_MAX + 2];
	char sign[PRAAS_S3_REGION_MAX + 16];
	uint8_t *data;
	uint64_t size;
	struct part parts[PARTS];
	unsigned count;
};

static size_t on_data(char *data, size_t size, size_t count, void *user)
{
	struct part *p = user;
	size_t n = (size_t)praas_min_u64(size * count, p->bytes - p->got);

	memcpy(p->of->data + p->at + p->got, data, n);
	p->got += n;
	return n;
}

static size_t on_wanted(char *data, size_t size, size_t count, void *user)
{
	struct part *p = user;
	size_t n = (size_t)praas_min_u64(size * count, p->bytes - p->got);

	memcpy(data, p->of->data + p->at + p->got, n);
	p->got += n;
	return n;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): curl's type */
static size_t on_answer(char *data, size_t size, size_t count, void *user)
{
	(void)data;
	(void)user;
	return size * count;
}

/* Servers want the hash of the body with each request; curl makes none of a GET. */
static int add_hash(struct part *p, size_t bytes)
{
	char hash[PRAAS_SIGV4_HASH_TEXT], line[PRAAS_SIGV4_HASH_TEXT + 32];
	int rc = praas_sigv4_hash(p->of->data + p->at, bytes, hash);

	if (rc != 0)
		return rc;
	curl_slist_free_all(p->headers);
	(void)snprintf(line, sizeof line, "x-amz-content-sha256: %s", hash);
	p->headers = curl_slist_append(NULL, line);
	(void)curl_easy_setopt(p->easy, CURLOPT_HTTPHEADER, p->headers);
	return p->headers ? 0 : -ENOMEM;
}

static int make_part(struct floor *f, struct part *p, bool write)
{
	CURL *e = curl_easy_init();
	char text[1024];

	p->easy = e;
	p->of = f;
	if (!e)
		return -ENOMEM;
	(void)snprintf(text, sizeof text, "%s://%s/%s/%s/floor/%llu",
		       f->url.tls ? "https" : "http", f->url.host, f->url.bucket,
		       f->url.prefix, (unsigned long long)p->at);
	(void)curl_easy_setopt(e, CURLOPT_URL, text);
	(void)curl_easy_setopt(e, CURLOPT_PRIVATE, p);
	(void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT,
			       1L); /* a store that is full */
	(void)curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, 30L);
	(void)curl_easy_setopt(e, CURLOPT_EXPECT_100_TIMEOUT_MS, 1L);
	(void)curl_easy_setopt(e, CURLOPT_FAILONERROR, 1L);
	(void)curl_easy_setopt(e, CURLOPT_USERPWD, f->user);
	(void)curl_easy_setopt(e, CURLOPT_AWS_SIGV4, f->sign);
	(void)curl_easy_setopt(e, CURLOPT_BUFFERSIZE, 512L * 1024L);
	(void)curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, 512L * 1024L);
	if (f->url.ca[0] != '\0')
		(void)curl_easy_setopt(e, CURLOPT_CAINFO, f->url.ca);
	(void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, write ? on_answer : on_data);
	(void)curl_easy_setopt(e, CURLOPT_WRITEDATA, p);
	if (!write)
		return add_hash(p, 0);
	(void)curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
	(void)curl_easy_setopt(e, CURLOPT_READFUNCTION, on_wanted);
	(void)curl_easy_setopt(e, CURLOPT_READDATA, p);
	(void)curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)p->bytes);
	return add_hash(p, p->bytes);
}

/* What has ended meanwhile; how many that are. */
static int collect(struct floor *f, unsigned *live)
{
	CURLMsg *m;
	int left, rc = 0;

	while ((m = curl_multi_info_read(f->multi, &left)) != NULL) {
		if (m->msg != CURLMSG_DONE)
			continue;
		if (m->data.result != CURLE_OK) {
			(void)fprintf(stderr, "praas-perf: curl: %s\n",
				      curl_easy_strerror(m->data.result));
			rc = -EIO;
		}
		(void)curl_multi_remove_handle(f->multi, m->easy_handle);
		--*live;
	}
	return rc;
}

/* Starts the next parts and waits for all. */
static int run(struct floor *f)
{
	unsigned next = 0, live = 0;
	int rc = 0, left;

	while (rc == 0 && (next < f->count || live > 0)) {
		for (; next < f->count && live < SIDE_BY_SIDE; next++, live++) {
			f->parts[next].got = 0;
			(void)curl_multi_add_handle(f->multi, f->parts[next].easy);
		}
		(void)curl_multi_perform(f->multi, &left);
		rc = collect(f, &live);
		if (live > 0)
			(void)curl_multi_poll(f->multi, NULL, 0, MULTI_WAIT_MS, NULL);
	}
	for (unsigned i = 0; rc == 0 && i < f->count; i++)
		rc = f->parts[i].got == f->parts[i].bytes ? 0 : -EIO;
	return rc;
}

static int make_parts(struct praas_contender *c, struct floor *f)
{
	uint64_t part = praas_max_u64(PART_MIN,
				      praas_min_u64(PART_MAX, c->size / SIDE_BY_SIDE));
	int rc = 0;

	for (uint64_t at = 0; rc == 0 && at < c->size && f->count < PARTS; at += part) {
		struct part *p = &f->parts[f->count++];

		p->at = at;
		p->bytes = (size_t)praas_min_u64(part, c->size - at);
		rc = make_part(f, p, true);
	}
	if (rc == 0)
		rc = run(f); /* what is read later is there, too */
	for (unsigned i = 0; rc == 0 && c->arg && i < f->count; i++) {
		curl_easy_cleanup(f->parts[i].easy);
		rc = make_part(f, &f->parts[i], false);
	}
	return rc;
}

static int setup(struct praas_contender *c)
{
	struct floor *f = calloc(1, sizeof *f);
	struct praas_s3_credentials keys;
	const char *why = "";
	int rc;

	if (!f)
		return -ENOMEM;
	c->data = f;
	f->size = c->size;
	rc = praas_s3_url_parse(praas_options.s3, &f->url, &why);
	if (rc == 0)
		rc = praas_s3_credentials_find(&keys, &why);
	if (rc != 0 || f->url.virtual_host || keys.session[0] != '\0') {
		(void)fprintf(stderr, "praas-perf: curl: %s (path style, no session)\n",
			      why);
		return rc ? rc : -EOPNOTSUPP;
	}
	(void)snprintf(f->user, sizeof f->user, "%s:%s", keys.key_id, keys.secret);
	(void)snprintf(f->sign, sizeof f->sign, "aws:amz:%s:s3", f->url.region);
	f->data = praas_floor_shared(c->size);
	f->multi = curl_multi_init();
	if (!f->data || !f->multi)
		return -ENOMEM;
	for (uint64_t i = 0; i < c->size; i += 8)
		memcpy(f->data + i, &(uint64_t){ i * 0x9e3779b97f4a7c15u }, 8);
	return make_parts(c, f);
}

static void teardown(struct praas_contender *c)
{
	struct floor *f = c->data;

	for (unsigned i = 0; f && i < f->count; i++) {
		if (f->multi && f->parts[i].easy)
			(void)curl_multi_remove_handle(f->multi, f->parts[i].easy);
		curl_easy_cleanup(f->parts[i].easy);
		curl_slist_free_all(f->parts[i].headers);
	}
	if (f && f->multi)
		(void)curl_multi_cleanup(f->multi);
	if (f && f->data)
		(void)munmap(f->data, c->size);
	free(f);
	c->data = NULL;
}

static int round_curl(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct floor *f = c->data;
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		uint64_t t0 = praas_perf_ticks();

		rc = run(f);
		praas_hist_add(h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0));
	}
	return rc;
}

void praas_floor_curl(struct praas_contender *c, const char *bench, uint64_t size,
		      bool write)
{
	static const char reading;

	*c = (struct praas_contender){ .bench = bench,
				       .variant = write ? "curl-put" : "curl-get",
				       .role = PRAAS_ROLE_FLOOR,
				       .waits = "block",
				       .size = size,
				       .n = 1,
				       .arg = write ? NULL : &reading,
				       .setup = setup,
				       .round = round_curl,
				       .teardown = teardown };
}
