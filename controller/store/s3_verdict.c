/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/s3_verdict.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include <curl/curl.h>

/* Codes that say more than their status, in the error's body. */
static const struct row {
	const char *code;
	struct praas_s3_verdict verdict;
} codes[] = {
	/* Damaged or cut on the way: the server did nothing. */
	{ "BadDigest", { PRAAS_S3_AGAIN, -EIO, false } },
	{ "IncompleteBody", { PRAAS_S3_AGAIN, -EIO, false } },
	{ "RequestTimeout", { PRAAS_S3_AGAIN, -EIO, false } },
	{ "XAmzContentSHA256Mismatch", { PRAAS_S3_AGAIN, -EIO, false } },
	/* Session tokens are for some hours. */
	{ "ExpiredToken", { PRAAS_S3_KEYS, -EACCES, false } },
	{ "ExpiredTokenException", { PRAAS_S3_KEYS, -EACCES, false } },
	{ "TokenRefreshRequired", { PRAAS_S3_KEYS, -EACCES, false } },
	/* Without its bucket nothing is known of an object. */
	{ "NoSuchBucket", { PRAAS_S3_DONE, -EACCES, false } },
	{ "QuotaExceeded", { PRAAS_S3_DONE, -ENOSPC, false } },
	{ "SlowDown", { PRAAS_S3_SLOWER, -EIO, true } },
	{ "InternalError", { PRAAS_S3_AGAIN, -EIO, true } },
};

static struct praas_s3_verdict of_status(long status)
{
	switch (status) {
	case 403:
	case 401:
		return (struct praas_s3_verdict){ PRAAS_S3_DONE, -EACCES, false };
	case 404:
		return (struct praas_s3_verdict){ PRAAS_S3_DONE, -ENOENT, false };
	case 412: /* it is there */
		return (struct praas_s3_verdict){ PRAAS_S3_DONE, -EEXIST, false };
	case 416: /* begins behind the end */
		return (struct praas_s3_verdict){ PRAAS_S3_DONE, 0, true };
	case 409: /* somebody else is at it */
		return (struct praas_s3_verdict){ PRAAS_S3_AGAIN, -EIO, false };
	case 408:
		return (struct praas_s3_verdict){ PRAAS_S3_AGAIN, -EIO, true };
	case 429:
	case 503:
		return (struct praas_s3_verdict){ PRAAS_S3_SLOWER, -EIO, true };
	case 507:
		return (struct praas_s3_verdict){ PRAAS_S3_DONE, -ENOSPC, false };
	case 501: /* will not help to ask again */
		return (struct praas_s3_verdict){ PRAAS_S3_DONE, -EOPNOTSUPP, false };
	default:
		break;
	}
	if (status >= 200 && status < 300)
		return (struct praas_s3_verdict){ PRAAS_S3_DONE, 0, true };
	if (status >= 500)
		return (struct praas_s3_verdict){ PRAAS_S3_AGAIN, -EIO, true };
	return (struct praas_s3_verdict){ PRAAS_S3_DONE, -EIO, false };
}

static struct praas_s3_verdict of_transport(int transport)
{
	switch (transport) {
	case CURLE_OUT_OF_MEMORY:
		return (struct praas_s3_verdict){ PRAAS_S3_DONE, -ENOMEM, true };
	case CURLE_PEER_FAILED_VERIFICATION: /* never: who is it? */
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
		return (struct praas_s3_verdict){ PRAAS_S3_DONE, -EACCES, false };
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
	case CURLE_SSL_CONNECT_ERROR: /* nothing was sent */
		return (struct praas_s3_verdict){ PRAAS_S3_AGAIN, -EIO, false };
	default:
		return (struct praas_s3_verdict){ PRAAS_S3_AGAIN, -EIO, true };
	}
}

struct praas_s3_verdict praas_s3_judge(int transport, long status, const char *code)
{
	if (transport != CURLE_OK)
		return of_transport(transport);
	for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
		if (strcmp(codes[i].code, code) == 0)
			return codes[i].verdict;
	}
	return of_status(status);
}
