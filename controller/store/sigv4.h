/* SPDX-License-Identifier: Apache-2.0
 *
 * AWS Signature Version 4 as S3 wants it (the path is encoded once and not normalised). Pure: time,
 * key and request in, request target and Authorization header out. What goes over the wire is what
 * was signed, since both are made here.
 */
#ifndef PRAAS_CONTROLLER_STORE_SIGV4_H
#define PRAAS_CONTROLLER_STORE_SIGV4_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define PRAAS_SIGV4_HASH_TEXT 65u /* hex digits of a SHA-256, and the NUL */
#define PRAAS_SIGV4_DATE_TEXT 17u /* "20130524T000000Z", and the NUL */
#define PRAAS_SIGV4_TARGET_BYTES 8192u
#define PRAAS_SIGV4_AUTH_BYTES 1024u
#define PRAAS_SIGV4_PAIRS_MAX 16u
/* Of a body that is not hashed: only for requests whose transport protects it. */
#define PRAAS_SIGV4_UNSIGNED "UNSIGNED-PAYLOAD"

/* A header, or a parameter of the query, as it is meant: nothing is encoded yet. */
struct praas_sigv4_pair {
	const char *name, *value;
};

struct praas_sigv4_request {
	const char *method;
	const char *path; /* begins with '/' */
	const struct praas_sigv4_pair *query;
	size_t query_count;
	/* To be signed, host among them. Names of [a-z0-9-], each once. */
	const struct praas_sigv4_pair *headers;
	size_t headers_count;
	const char *payload_hash; /* praas_sigv4_hash(), or PRAAS_SIGV4_UNSIGNED */
};

struct praas_sigv4_scope {
	const char *key_id, *secret, *region, *service;
	const char *date; /* praas_sigv4_date() */
};

struct praas_sigv4_signed {
	char target[PRAAS_SIGV4_TARGET_BYTES]; /* path and query, encoded */
	char authorization[PRAAS_SIGV4_AUTH_BYTES];
};

/* Hex of the SHA-256. 0; -ENOMEM. */
int praas_sigv4_hash(const void *data, size_t bytes,
		     char ret_text[PRAAS_SIGV4_HASH_TEXT]);

/* 0; -EINVAL no year of four digits. */
int praas_sigv4_date(time_t now, char ret_text[PRAAS_SIGV4_DATE_TEXT]);

/* 0; -EMSGSIZE a part is too long, or too many; -EINVAL path, date or a header's name; -ENOMEM. */
int praas_sigv4_sign(const struct praas_sigv4_request *request,
		     const struct praas_sigv4_scope *scope,
		     struct praas_sigv4_signed *ret_signed);

#endif
