/* SPDX-License-Identifier: Apache-2.0
 *
 * What an answer of an S3 server, or its absence, means: a pure function, so that its table can be
 * read and tested.
 */
#ifndef PRAAS_CONTROLLER_STORE_S3_VERDICT_H
#define PRAAS_CONTROLLER_STORE_S3_VERDICT_H

#include <stdbool.h>

enum praas_s3_what {
	PRAAS_S3_DONE,   /* rc is the result */
	PRAAS_S3_AGAIN,  /* after a back-off; rc when there is no time left */
	PRAAS_S3_SLOWER, /* the server asks for less */
	PRAAS_S3_KEYS,   /* with other credentials, once */
};

struct praas_s3_verdict {
	enum praas_s3_what what;
	int rc;
	bool applied; /* it may have had its effect */
};

/* transport: a CURLcode. status, code: of the answer, if there was one ("": no code). */
struct praas_s3_verdict praas_s3_judge(int transport, long status, const char *code);

#endif
