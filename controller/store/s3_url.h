/* SPDX-License-Identifier: Apache-2.0
 *
 * The address of an S3 store:
 *
 *   s3://BUCKET[/PREFIX][?NAME=VALUE[&NAME=VALUE]…]
 *
 *   endpoint   http(s)://HOST[:PORT]; without it that of AWS for the region
 *   region     without it AWS_REGION, AWS_DEFAULT_REGION, us-east-1
 *   style      path | virtual: where the bucket's name goes; path with an endpoint, else virtual
 *   ca         file of certificates to trust instead of the system's
 *   timeout    seconds that a request may take with all its repetitions, 1 … 300 (10)
 *   cleartext  yes: http:// also off loopback
 *
 * Values are percent-decoded. No credentials are in it: addresses are shown to people.
 */
#ifndef PRAAS_CONTROLLER_STORE_S3_URL_H
#define PRAAS_CONTROLLER_STORE_S3_URL_H

#include <stdbool.h>
#include <stdint.h>

#define PRAAS_S3_BUCKET_MAX 63u
#define PRAAS_S3_PREFIX_MAX                                                            \
	400u /* with 200 of the name and what lies between below S3's 1024 */
#define PRAAS_S3_HOST_MAX 255u
#define PRAAS_S3_REGION_MAX 40u
#define PRAAS_S3_FILE_MAX 255u
#define PRAAS_S3_TIMEOUT_S 10u

struct praas_s3_url {
	char bucket[PRAAS_S3_BUCKET_MAX + 1];
	char prefix[PRAAS_S3_PREFIX_MAX + 1]; /* "" or names joined by '/' */
	char host[PRAAS_S3_HOST_MAX + 1];     /* of the endpoint, with its port */
	char region[PRAAS_S3_REGION_MAX + 1];
	char ca[PRAAS_S3_FILE_MAX + 1]; /* "": the system's */
	bool tls, virtual_host;
	uint32_t timeout_s;
};

/* 0; -EINVAL, and *ret_why (static) says what is wrong. */
int praas_s3_url_parse(const char *text, struct praas_s3_url *ret_url,
		       const char **ret_why);

#endif
