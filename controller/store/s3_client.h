/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests to one bucket, several at a time, over connections that stay: signed, repeated with
 * back-off until their deadline, and asked a second time beside the first when they take far longer
 * than others did. One thread; nothing happens but inside of a call.
 */
#ifndef PRAAS_CONTROLLER_STORE_S3_CLIENT_H
#define PRAAS_CONTROLLER_STORE_S3_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/store/s3_credentials.h"
#include "controller/store/s3_url.h"
#include "controller/store/s3_xml.h"
#include "controller/store/sigv4.h"

#define PRAAS_S3_QUERY_MAX 6u
#define PRAAS_S3_ETAG_MAX 127u
#define PRAAS_S3_WRITER_TEXT 33u /* 128 bits in hex, and the NUL */
#define PRAAS_S3_RUNNING_MAX 8u  /* requests under way at once */
#define PRAAS_S3_WHY_BYTES 240u

struct praas_s3_client;
struct praas_s3_attempt;

/* Zero it, fill in the first part, start it. Memory of the caller, until it is done. */
struct praas_s3_request {
	const char *method; /* "GET", "HEAD", "PUT", "POST", "DELETE" */
	const char *object; /* its name in the bucket; "": the bucket itself */
	struct praas_sigv4_pair query[PRAAS_S3_QUERY_MAX];
	unsigned query_count;
	bool if_absent; /* only if there is none: else -EEXIST */
	const char *
		writer; /* kept with the object; NULL: none. With it, nothing is asked twice at once */
	const char *copy_from; /* "/BUCKET/OBJECT" that is to be copied; NULL */
	const void *body;
	size_t body_bytes;
	uint8_t *
		data; /* of a GET: room bytes of the object from first on; NULL: text */
	size_t room;
	uint64_t first;
	unsigned patience; /* times the address's timeout; 0: 1 */

	/* When it is done. */
	int rc; /* 0; -ENOENT, -EEXIST, -EACCES, -ENOSPC, -ENOMEM, -EOPNOTSUPP, -EIO; -ECANCELED */
	bool uncertain; /* an attempt may have had its effect before the last one */
	long status;
	char code[PRAAS_S3_CODE_MAX + 1];
	char etag[PRAAS_S3_ETAG_MAX + 1];
	char written_by
		[PRAAS_S3_WRITER_TEXT]; /* of the object that is there; "": not known */
	uint64_t total;                 /* bytes of the object */
	size_t got;                     /* bytes in data */
	char *text;                     /* what else was answered; NULL: nothing */
	size_t text_bytes;

	/* Of the client. */
	struct praas_s3_request *next;
	struct praas_s3_attempt *attempts[2];
	char hash[PRAAS_SIGV4_HASH_TEXT];
	uint64_t started_ns, due_ns, deadline_ns;
	unsigned tries;
	bool rekeyed, hedged, done;
};

struct praas_s3_stats {
	uint64_t requests, retries, hedges, failures, bytes_sent, bytes_received;
};

/* given: credentials of whoever started us; NULL: praas_s3_credentials_find(). Both are copied.
 * 0; -ENOMEM. */
int praas_s3_client_new(const struct praas_s3_url *url,
			const struct praas_s3_credentials *given,
			struct praas_s3_client **ret_client);
/* NULL is allowed. What is under way is given up. */
void praas_s3_client_free(struct praas_s3_client *client);

void praas_s3_start(struct praas_s3_client *client, struct praas_s3_request *request);
/* The next one that is done; NULL: none is under way. */
struct praas_s3_request *praas_s3_wait(struct praas_s3_client *client);
/* Start and wait; nothing else is under way. Returns its rc. */
int praas_s3_do(struct praas_s3_client *client, struct praas_s3_request *request);
/* Gives up all that is under way; it is not known what of it was done. */
void praas_s3_cancel(struct praas_s3_client *client);
/* Frees what the answer has. */
void praas_s3_request_release(struct praas_s3_request *request);

const struct praas_s3_stats *praas_s3_stats(const struct praas_s3_client *client);
/* Of all clients of this process that were freed. Any thread. */
void praas_s3_totals(struct praas_s3_stats *ret_totals);
/* Why the last request that failed did, in words. */
const char *praas_s3_why(const struct praas_s3_client *client);

#endif
