/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the keys of an S3 store come from, the first that there is:
 *
 *   environment  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *   file         AWS_SHARED_CREDENTIALS_FILE or ~/.aws/credentials, section AWS_PROFILE or "default"
 *   task         AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or …_FULL_URI, with AWS_CONTAINER_AUTHORIZATION_TOKEN
 *                or …_TOKEN_FILE
 *   instance     169.254.169.254 (AWS_EC2_METADATA_SERVICE_ENDPOINT), by session token alone (version 2);
 *                not with AWS_EC2_METADATA_DISABLED=true
 *
 * What was found is kept for the process, and looked for again five minutes before it expires.
 */
#ifndef PRAAS_CONTROLLER_STORE_S3_CREDENTIALS_H
#define PRAAS_CONTROLLER_STORE_S3_CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PRAAS_S3_KEY_ID_MAX 128u
#define PRAAS_S3_SECRET_MAX 256u
#define PRAAS_S3_SESSION_MAX 4096u

struct praas_s3_credentials {
	char key_id[PRAAS_S3_KEY_ID_MAX + 1];
	char secret[PRAAS_S3_SECRET_MAX + 1];
	char session[PRAAS_S3_SESSION_MAX + 1]; /* token; "": none */
	int64_t expires_s;                      /* CLOCK_REALTIME; 0: never */
};

/* Any thread; may ask a metadata endpoint and wait for it, 4 s at most. 0; -ENOENT there are none;
 * -EACCES a file that everybody can read; -EPROTO a source that cannot be understood; -EIO;
 * *ret_why (static) says which. */
int praas_s3_credentials_find(struct praas_s3_credentials *ret_found,
			      const char **ret_why);

/* A server says that they have expired: the next find looks anew. */
void praas_s3_credentials_forget(void);

/* They can be used for five more minutes. */
bool praas_s3_credentials_fresh(const struct praas_s3_credentials *c);

/* What a server may get in a header: printable, not empty. */
bool praas_s3_credentials_valid(const struct praas_s3_credentials *c);

void praas_s3_credentials_wipe(struct praas_s3_credentials *c);

/* ---- the parts, for tests ---- */

/* Of a credentials file, one section. 0; -ENOENT; -EPROTO. */
int praas_s3_credentials_file(const char *text, const char *section,
			      struct praas_s3_credentials *ret_found);

/* What a metadata endpoint answers. 0; -EPROTO. */
int praas_s3_credentials_json(const char *data, size_t bytes,
			      struct praas_s3_credentials *ret_found);

/* From a metadata endpoint, task or instance. As find. */
int praas_s3_metadata(struct praas_s3_credentials *ret_found, const char **ret_why);

#endif
