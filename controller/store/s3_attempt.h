/* SPDX-License-Identifier: Apache-2.0
 *
 * One HTTP request and its answer: private to the client.
 */
#ifndef PRAAS_CONTROLLER_STORE_S3_ATTEMPT_H
#define PRAAS_CONTROLLER_STORE_S3_ATTEMPT_H

#include <curl/curl.h>

#include "controller/store/s3_client.h"

struct praas_s3_attempt {
	CURL *easy; /* stays, with its settings, from one to the next */
	struct praas_s3_request *request; /* NULL: free */
	struct curl_slist *headers;
	struct praas_sigv4_signed signed_as;
	char url[PRAAS_SIGV4_TARGET_BYTES + PRAAS_S3_HOST_MAX + PRAAS_S3_BUCKET_MAX +
		 16];
	char error[CURL_ERROR_SIZE];
	uint64_t started_ns, moved_ns; /* bytes went either way */
	curl_off_t moved;
	/* The answer. */
	char etag[PRAAS_S3_ETAG_MAX + 1];
	char written_by[PRAAS_S3_WRITER_TEXT];
	uint64_t total, range_first;
	uint32_t after_s; /* Retry-After */
	bool has_total, has_range, enough;
	size_t got;
	char *text;
	size_t text_bytes, text_room;
};

/* Everything but starting it. 0; -ENOMEM; -EINVAL, -EMSGSIZE cannot be signed. */
int praas_s3_attempt_prepare(struct praas_s3_attempt *a,
			     struct praas_s3_request *request,
			     const struct praas_s3_url *url,
			     const struct praas_s3_credentials *credentials);

/* After its end: whether the answer is whole, and what was asked for. CURLE_OK or what else it is. */
CURLcode praas_s3_attempt_check(const struct praas_s3_attempt *a, CURLcode code,
				long status);

/* Free for the next. */
void praas_s3_attempt_reset(struct praas_s3_attempt *a);

#endif
