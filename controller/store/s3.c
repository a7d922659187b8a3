/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects in a bucket of an S3 server, below a prefix. What is large goes and comes in parts:
 * s3_put.c, s3_get.c. Nothing is kept between calls but connections.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "controller/store/s3_private.h"

#define COPY_MAX (5ull << 30) /* larger ones a server does not copy in one request */
#define COPY_PATIENCE 6u
#define PAGES_MAX 100000u /* of a listing, of 1000 names */

int praas_s3_object(const struct praas_s3_store *s, const char *key,
		    char ret_object[PRAAS_S3_KEY_MAX + 1])
{
	int rc = praas_store_key_check(key);

	if (rc == 0)
		(void)snprintf(ret_object, PRAAS_S3_KEY_MAX + 1, "%s%s%s",
			       s->url.prefix, s->url.prefix[0] != '\0' ? "/" : "",
			       key); /* fits */
	return rc;
}

int praas_s3_result(struct praas_s3_store *s, int rc)
{
	s->base.why[0] = '\0';
	if (rc == 0 || rc == -ENOENT || rc == -EEXIST)
		return rc;
	(void)snprintf(s->base.why, sizeof(s->base.why), "%s",
		       praas_s3_why(s->client)); /* as long as theirs */
	return rc == -ENOSPC || rc == -EACCES || rc == -ENOMEM ? rc : -EIO;
}

/* ---- create if absent ---- */

static int make_writer(char ret_text[PRAAS_S3_WRITER_TEXT])
{
	uint64_t n[2];

	if (getrandom(n, sizeof(n), 0) != (ssize_t)sizeof(n))
		return -EIO;
	(void)snprintf(ret_text, PRAAS_S3_WRITER_TEXT, "%016llx%016llx",
		       (unsigned long long)n[0], (unsigned long long)n[1]);
	return 0;
}

/* There is an object: is it ours? An answer may have been lost before: by us, by whoever stands in between, or by
 * libcurl, which sends again by itself what it sent over a kept connection that turned out to be closed. */
static int whose(struct praas_s3_store *s, const char *object, const char *writer)
{
	struct praas_s3_request head = { .method = "HEAD", .object = object };
	int rc = praas_s3_do(s->client, &head);

	praas_s3_request_release(&head);
	if (rc == 0)
		return strcmp(head.written_by, writer) == 0 ? 0 : -EEXIST;
	return rc == -ENOENT ? -EIO : rc; /* it was, and is gone again */
}

static int s3_put_if_absent(struct praas_store *store, const char *key,
			    const void *data, size_t bytes)
{
	struct praas_s3_store *s = praas_s3_store_of(store);
	char object[PRAAS_S3_KEY_MAX + 1], writer[PRAAS_S3_WRITER_TEXT];
	struct praas_s3_request put = { .method = "PUT",
					.object = object,
					.if_absent = true,
					.writer = writer,
					.body = data,
					.body_bytes = bytes };
	int rc = praas_s3_object(s, key, object);

	if (rc == 0)
		rc = make_writer(writer);
	if (rc != 0)
		return rc;
	rc = praas_s3_do(s->client, &put);
	praas_s3_request_release(&put);
	if (rc == -EEXIST)
		rc = whose(s, object, writer);
	if (rc == 0)
		store->bytes_written += bytes;
	return praas_s3_result(s, rc == -ENOENT ? -EIO : rc);
}

/* ---- the rest ---- */

static int s3_stat(struct praas_store *store, const char *key, uint64_t *ret_bytes)
{
	struct praas_s3_store *s = praas_s3_store_of(store);
	char object[PRAAS_S3_KEY_MAX + 1];
	struct praas_s3_request head = { .method = "HEAD", .object = object };
	uint8_t byte = 0;
	size_t got;
	int rc = praas_s3_object(s, key, object);

	if (rc != 0)
		return rc;
	rc = praas_s3_do(s->client, &head);
	praas_s3_request_release(&head);
	if (rc == 0)
		*ret_bytes = head.total;
	/* Its answers have no words: is it the object, or the bucket, that is not there? */
	if (rc == -ENOENT)
		return praas_s3_get(store, key, 0, &byte, 1, &got) == -ENOENT ? -ENOENT
									      : -EIO;
	return praas_s3_result(s, rc);
}

/* Copied by the server: no byte comes here. */
static int s3_share(struct praas_store *store, struct praas_store *from,
		    const char *key)
{
	struct praas_s3_store *s = praas_s3_store_of(store);
	const struct praas_s3_store *f = praas_s3_store_of(from);
	char object[PRAAS_S3_KEY_MAX + 1], there[PRAAS_S3_KEY_MAX + 1];
	char source[PRAAS_S3_KEY_MAX + PRAAS_S3_BUCKET_MAX + 3];
	struct praas_s3_request put = { .method = "PUT",
					.object = object,
					.copy_from = source,
					.patience = COPY_PATIENCE };
	uint64_t bytes = 0;
	int rc = praas_s3_object(s, key, object);

	if (rc == 0)
		rc = praas_s3_object(f, key, there);
	if (rc != 0)
		return rc;
	if (strcmp(s->url.host, f->url.host) != 0)
		return -EXDEV;
	rc = s3_stat(from, key, &bytes);
	if (rc != 0 || bytes > COPY_MAX)
		return rc != 0 ? rc : -EXDEV;
	(void)snprintf(source, sizeof(source), "/%s/%s", f->url.bucket, there);
	rc = praas_s3_do(s->client, &put);
	praas_s3_request_release(&put);
	return praas_s3_result(s, rc);
}

struct listing {
	const struct praas_s3_store *s;
	const char *prefix, *after;
	praas_store_list_fn fn;
	void *user;
	bool folders; /* not what is in it, but what is below it */
	char last[PRAAS_STORE_KEY_MAX + 1];
};

/* Only what was asked for, each once, in order: whatever the server says. */
static int list_one(void *user, const char *object)
{
	struct listing *l = user;
	size_t skip = strlen(l->s->url.prefix), prefix_bytes = strlen(l->prefix);
	const char *key = object + skip + (skip > 0 ? 1 : 0);

	if (strlen(object) <= skip + 1 ||
	    strncmp(object, l->s->url.prefix, skip) != 0 ||
	    (skip > 0 && object[skip] != '/'))
		return -EPROTO;
	if (strncmp(key, l->prefix, prefix_bytes) != 0)
		return -EPROTO;
	if (strchr(key + prefix_bytes, '/') || praas_store_key_check(key) != 0)
		return 0; /* not ours */
	if ((l->after && strcmp(key, l->after) <= 0))
		return 0;
	if (l->last[0] != '\0' && strcmp(key, l->last) <= 0)
		return -EPROTO;
	memcpy(l->last, key, strlen(key) + 1);
	return l->fn(l->user, key);
}

static void ask(struct praas_s3_request *r, const char *name, const char *value)
{
	r->query[r->query_count++] = (struct praas_sigv4_pair){ name, value };
}

/* "PREFIX/FOLDER/" without what was asked for, and without its end. */
static int list_folder(void *user, const char *object)
{
	struct listing *l = user;
	char name[PRAAS_STORE_KEY_MAX + 1];
	size_t skip = strlen(l->s->url.prefix), bytes;

	skip += (skip > 0) + strlen(l->prefix);
	bytes = strlen(object);
	if (bytes < skip + 2 || bytes - skip - 1 > PRAAS_STORE_KEY_MAX ||
	    object[bytes - 1] != '/')
		return -EPROTO;
	(void)snprintf(name, sizeof(name), "%.*s", (int)(bytes - skip - 1),
		       object + skip); /* fits */
	if (praas_store_key_check(name) != 0)
		return 0; /* not ours */
	if (l->last[0] != '\0' && strcmp(name, l->last) <= 0)
		return -EPROTO;
	memcpy(l->last, name, sizeof(name));
	return l->fn(l->user, name);
}

/* The next page. token: where; empty afterwards: it was the last one. */
static int list_page(struct praas_s3_store *s, struct listing *l, const char *prefix,
		     const char *after, char token[PRAAS_S3_TOKEN_MAX + 1])
{
	struct praas_s3_request r = { .method = "GET", .object = "" };
	int rc;

	ask(&r, "list-type", "2");
	ask(&r, "delimiter", "/");
	ask(&r, "prefix", prefix);
	if (token[0] != '\0')
		ask(&r, "continuation-token", token);
	else if (after[0] != '\0')
		ask(&r, "start-after", after);
	rc = praas_s3_do(s->client, &r);
	rc = praas_s3_result(s, rc == -ENOENT ? -EACCES : rc); /* no such bucket */
	if (rc == 0) {
		const char *text = r.text ? r.text : "";

		rc = l->folders ? praas_s3_xml_folders(text, r.text_bytes, list_folder,
						       l, token)
				: praas_s3_xml_list(text, r.text_bytes, list_one, l,
						    token);
		if (rc == -EPROTO) {
			(void)snprintf(s->base.why, sizeof(s->base.why),
				       "S3 GET %s: the listing is no such document",
				       s->url.bucket); /* fits */
			rc = -EIO;
		}
	}
	praas_s3_request_release(&r);
	return rc;
}

static int list_all(struct praas_s3_store *s, struct listing *l)
{
	const char *prefix = l->prefix, *after = l->after;
	char token[PRAAS_S3_TOKEN_MAX + 1] = "";
	char full[2 * PRAAS_S3_KEY_MAX], from[PRAAS_S3_KEY_MAX + 1] = "";
	int rc = 0, n = snprintf(full, sizeof(full), "%s%s%s", s->url.prefix,
				 s->url.prefix[0] != '\0' ? "/" : "", prefix);

	if (n < 0 || n > (int)PRAAS_S3_KEY_MAX)
		return -EINVAL;
	if (after && after[0] != '\0')
		rc = praas_s3_object(s, after, from);
	for (unsigned i = 0; rc == 0 && i < PAGES_MAX; i++) {
		rc = list_page(s, l, full, from, token);
		if (rc == 0 && token[0] == '\0')
			return 0;
	}
	return rc != 0 ? rc : -EIO;
}

static int s3_list(struct praas_store *store, const char *prefix, const char *after,
		   praas_store_list_fn fn, void *user)
{
	struct praas_s3_store *s = praas_s3_store_of(store);
	struct listing l = {
		.s = s, .prefix = prefix, .after = after, .fn = fn, .user = user
	};

	return list_all(s, &l);
}

int praas_s3_folders(struct praas_store *store, const char *prefix,
		     praas_store_list_fn fn, void *user)
{
	struct praas_s3_store *s = praas_s3_store_of(store);
	struct listing l = {
		.s = s, .prefix = prefix, .fn = fn, .user = user, .folders = true
	};

	return list_all(s, &l);
}

static int s3_delete(struct praas_store *store, const char *key)
{
	struct praas_s3_store *s = praas_s3_store_of(store);
	char object[PRAAS_S3_KEY_MAX + 1];
	struct praas_s3_request r = { .method = "DELETE", .object = object };
	int rc = praas_s3_object(s, key, object);

	if (rc != 0)
		return rc;
	rc = praas_s3_do(s->client, &r);
	praas_s3_request_release(&r);
	return praas_s3_result(s, rc == -ENOENT ? 0 : rc);
}

static void s3_free(struct praas_store *store)
{
	struct praas_s3_store *s = praas_s3_store_of(store);

	praas_s3_client_free(s->client);
	free(s);
}

static const struct praas_store_ops s3_ops = {
	.scheme = "s3",
	.put_if_absent = s3_put_if_absent,
	.put = praas_s3_put,
	.get = praas_s3_get,
	.share = s3_share,
	.stat = s3_stat,
	.list = s3_list,
	.delete = s3_delete,
	.free = s3_free,
};

int praas_store_s3_open(const char *url, const struct praas_s3_credentials *keys,
			struct praas_store **ret_store)
{
	struct praas_s3_store *s = calloc(1, sizeof(*s));
	const char *why;
	int rc;

	if (!s)
		return -ENOMEM;
	s->base.ops = &s3_ops;
	rc = praas_s3_url_parse(url, &s->url, &why);
	if (rc == 0)
		rc = praas_s3_client_new(&s->url, keys, &s->client);
	if (rc != 0) {
		free(s);
		return rc;
	}
	*ret_store = &s->base;
	return 0;
}
