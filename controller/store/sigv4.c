/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/sigv4.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "internal/text.h"

/*
 * Canonical request → its hash in the string to sign → HMAC with a key that is derived from the
 * secret, the day, the region and the service.
 */

#define ALGORITHM "AWS4-HMAC-SHA256"
#define HASH_BYTES 32u
#define SCOPE_BYTES 160u
#define CANONICAL_BYTES (3u * PRAAS_SIGV4_TARGET_BYTES)

/* Text that grows up to its room; overflow is noted and asked for once, at the end. */
struct text {
	char *at;
	size_t bytes, room;
	bool full;
};

static void add_bytes(struct text *t, const char *data, size_t bytes)
{
	if (bytes >= t->room - t->bytes) {
		t->full = true;
		return;
	}
	memcpy(t->at + t->bytes, data, bytes);
	t->bytes += bytes;
	t->at[t->bytes] = '\0';
}

static void add(struct text *t, const char *data)
{
	add_bytes(t, data, strlen(data));
}

static bool unreserved(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

static void add_encoded(struct text *t, const char *data, bool keep_slash)
{
	static const char digits[] = "0123456789ABCDEF";

	for (; *data != '\0'; data++) {
		unsigned char c = (unsigned char)*data;
		char code[] = { '%', digits[c >> 4], digits[c & 15] };

		if (unreserved(c) || (keep_slash && c == '/'))
			add_bytes(t, data, 1);
		else
			add_bytes(t, code, sizeof(code));
	}
}

int praas_sigv4_hash(const void *data, size_t bytes,
		     char ret_text[PRAAS_SIGV4_HASH_TEXT])
{
	uint8_t hash[EVP_MAX_MD_SIZE];

	if (EVP_Digest(bytes > 0 ? data : "", bytes, hash, NULL, EVP_sha256(), NULL) !=
	    1)
		return -ENOMEM;
	praas_hex_encode(hash, HASH_BYTES, ret_text);
	return 0;
}

int praas_sigv4_date(time_t now, char ret_text[PRAAS_SIGV4_DATE_TEXT])
{
	struct tm tm;

	if (!gmtime_r(&now, &tm) ||
	    strftime(ret_text, PRAAS_SIGV4_DATE_TEXT, "%Y%m%dT%H%M%SZ", &tm) !=
		    PRAAS_SIGV4_DATE_TEXT - 1)
		return -EINVAL;
	return 0;
}

/* ---- query ---- */

struct encoded {
	char *name, *value; /* within one buffer */
};

static int by_name_and_value(const void *a, const void *b)
{
	const struct encoded *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order != 0 ? order : strcmp(x->value, y->value);
}

/* Sorted as encoded: so the order is that of what is sent. */
static int add_query(struct text *t, const struct praas_sigv4_request *r)
{
	struct encoded pairs[PRAAS_SIGV4_PAIRS_MAX] = { { NULL, NULL } };
	struct text all = { .at = malloc(PRAAS_SIGV4_TARGET_BYTES),
			    .room = PRAAS_SIGV4_TARGET_BYTES };

	if (!all.at)
		return -ENOMEM;
	for (size_t i = 0; i < r->query_count; i++) {
		pairs[i].name = all.at + all.bytes;
		add_encoded(&all, r->query[i].name, false);
		add_bytes(&all, "", 1); /* with the NUL behind it: the parts stand */
		pairs[i].value = all.at + all.bytes;
		add_encoded(&all, r->query[i].value, false);
		add_bytes(&all, "", 1);
	}
	t->full = t->full || all.full;
	if (!t->full)
		qsort(pairs, r->query_count, sizeof(*pairs), by_name_and_value);
	for (size_t i = 0; !t->full && i < r->query_count; i++) {
		add(t, i > 0 ? "&" : "");
		add(t, pairs[i].name);
		add(t, "=");
		add(t, pairs[i].value);
	}
	free(all.at);
	return 0;
}

/* ---- headers ---- */

static int by_name(const void *a, const void *b)
{
	const struct praas_sigv4_pair *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Without spaces at its ends, and one where there are several. */
static void add_trimmed(struct text *t, const char *value)
{
	bool first = true;

	while (*value != '\0') {
		size_t bytes = 0;

		while (is_space(*value))
			value++;
		while (value[bytes] != '\0' && !is_space(value[bytes]))
			bytes++;
		if (bytes == 0)
			return;
		add(t, first ? "" : " ");
		add_bytes(t, value, bytes);
		value += bytes;
		first = false;
	}
}

static int check_names(const struct praas_sigv4_pair *sorted, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *name = sorted[i].name;

		if (*name == '\0' ||
		    name[strspn(name, "abcdefghijklmnopqrstuvwxyz"
				      "0123456789-")] != '\0' ||
		    (i > 0 && strcmp(name, sorted[i - 1].name) == 0))
			return -EINVAL;
	}
	return 0;
}

static void add_names(struct text *t, const struct praas_sigv4_pair *sorted,
		      size_t count)
{
	for (size_t i = 0; i < count; i++) {
		add(t, i > 0 ? ";" : "");
		add(t, sorted[i].name);
	}
}

/* ---- signature ---- */

static bool mac(const void *key, size_t key_bytes, const char *text,
		uint8_t ret[HASH_BYTES])
{
	unsigned bytes = 0;

	return HMAC(EVP_sha256(), key, (int)key_bytes, (const unsigned char *)text,
		    strlen(text), ret, &bytes) != NULL;
}

/* In place, from the secret to the signature of text. */
static int sign_text(const struct praas_sigv4_scope *s, const char *text,
		     uint8_t ret[HASH_BYTES])
{
	char secret[512], day[9];
	int n = snprintf(secret, sizeof(secret), "AWS4%s", s->secret);
	int rc = n > 0 && n < (int)sizeof(secret) ? 0 : -EMSGSIZE;

	(void)snprintf(day, sizeof(day), "%.8s", s->date);
	if (rc == 0 && !(mac(secret, (size_t)n, day, ret) &&
			 mac(ret, HASH_BYTES, s->region, ret) &&
			 mac(ret, HASH_BYTES, s->service, ret) &&
			 mac(ret, HASH_BYTES, "aws4_request", ret) &&
			 mac(ret, HASH_BYTES, text, ret)))
		rc = -ENOMEM;
	OPENSSL_cleanse(secret, sizeof(secret));
	return rc;
}

/* The canonical request's hash. target: path, then (from query on) the query. */
static int hash_request(const struct praas_sigv4_request *r,
			const struct praas_sigv4_pair *sorted,
			const struct text *target, size_t path_bytes,
			char ret_hash[PRAAS_SIGV4_HASH_TEXT])
{
	struct text t = { .at = malloc(CANONICAL_BYTES), .room = CANONICAL_BYTES };
	int rc;

	if (!t.at)
		return -ENOMEM;
	add(&t, r->method);
	add(&t, "\n");
	add_bytes(&t, target->at, path_bytes);
	add(&t, "\n");
	if (path_bytes < target->bytes)
		add(&t, target->at + path_bytes + 1); /* behind the '?' */
	add(&t, "\n");
	for (size_t i = 0; i < r->headers_count; i++) {
		add(&t, sorted[i].name);
		add(&t, ":");
		add_trimmed(&t, sorted[i].value);
		add(&t, "\n");
	}
	add(&t, "\n");
	add_names(&t, sorted, r->headers_count);
	add(&t, "\n");
	add(&t, r->payload_hash);
	rc = t.full ? -EMSGSIZE : praas_sigv4_hash(t.at, t.bytes, ret_hash);
	OPENSSL_cleanse(t.at, t.bytes); /* a session token is in it */
	free(t.at);
	return rc;
}

static int authorize(const struct praas_sigv4_scope *scope, const char *hash,
		     const struct praas_sigv4_pair *sorted, size_t count,
		     struct praas_sigv4_signed *ret)
{
	char where[SCOPE_BYTES], text[SCOPE_BYTES + 128], hex[2 * HASH_BYTES + 1];
	struct text t = { .at = ret->authorization,
			  .room = sizeof(ret->authorization) };
	uint8_t signature[HASH_BYTES];
	int n = snprintf(where, sizeof(where), "%.8s/%s/%s/aws4_request", scope->date,
			 scope->region, scope->service);
	int rc;

	if (n < 0 || n >= (int)sizeof(where))
		return -EMSGSIZE;
	(void)snprintf(text, sizeof(text), ALGORITHM "\n%s\n%s\n%s", scope->date, where,
		       hash); /* fits */
	rc = sign_text(scope, text, signature);
	if (rc != 0)
		return rc;
	praas_hex_encode(signature, sizeof(signature), hex);
	add(&t, ALGORITHM " Credential=");
	add(&t, scope->key_id);
	add(&t, "/");
	add(&t, where);
	add(&t, ", SignedHeaders=");
	add_names(&t, sorted, count);
	add(&t, ", Signature=");
	add(&t, hex);
	return t.full ? -EMSGSIZE : 0;
}

int praas_sigv4_sign(const struct praas_sigv4_request *r,
		     const struct praas_sigv4_scope *scope,
		     struct praas_sigv4_signed *ret_signed)
{
	struct praas_sigv4_pair sorted[PRAAS_SIGV4_PAIRS_MAX] = { { NULL, NULL } };
	struct text target = { .at = ret_signed->target,
			       .room = sizeof(ret_signed->target) };
	char hash[PRAAS_SIGV4_HASH_TEXT];
	size_t path_bytes;
	int rc;

	if (r->headers_count > PRAAS_SIGV4_PAIRS_MAX ||
	    r->query_count > PRAAS_SIGV4_PAIRS_MAX)
		return -EMSGSIZE;
	if (r->path[0] != '/' || strlen(scope->date) != PRAAS_SIGV4_DATE_TEXT - 1)
		return -EINVAL;
	for (size_t i = 0; i < r->headers_count; i++)
		sorted[i] = r->headers[i];
	qsort(sorted, r->headers_count, sizeof(*sorted), by_name);
	rc = check_names(sorted, r->headers_count);
	if (rc != 0)
		return rc;
	add_encoded(&target, r->path, true);
	path_bytes = target.bytes;
	if (r->query_count > 0) {
		add(&target, "?");
		rc = add_query(&target, r);
	}
	if (rc == 0 && target.full)
		rc = -EMSGSIZE;
	if (rc == 0)
		rc = hash_request(r, sorted, &target, path_bytes, hash);
	return rc == 0 ? authorize(scope, hash, sorted, r->headers_count, ret_signed)
		       : rc;
}
