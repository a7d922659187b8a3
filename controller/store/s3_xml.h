/* SPDX-License-Identifier: Apache-2.0
 *
 * What an S3 server answers in XML, read by expat. The server is not trusted: no entities, bounded
 * depth and text, and only what was asked for is taken.
 */
#ifndef PRAAS_CONTROLLER_STORE_S3_XML_H
#define PRAAS_CONTROLLER_STORE_S3_XML_H

#include <stdbool.h>
#include <stddef.h>

#define PRAAS_S3_KEY_MAX 1024u
#define PRAAS_S3_TOKEN_MAX 2048u /* of a continuation, or of a multipart upload */
#define PRAAS_S3_CODE_MAX 63u
#define PRAAS_S3_XML_MAX (4u * 1024u * 1024u)

/* A page of ListObjectsV2, with each name. Non-zero ends the reading and is returned. */
typedef int (*praas_s3_key_fn)(void *user, const char *key);

/* ret_token: where to go on, "": it was the last page. 0; -EPROTO no such document; -ENOMEM; or what
 * fn returned. */
int praas_s3_xml_list(const char *data, size_t bytes, praas_s3_key_fn fn, void *user,
		      char ret_token[PRAAS_S3_TOKEN_MAX + 1]);
/* The same of folders: what ends at the first '/' behind the prefix, with it. */
int praas_s3_xml_folders(const char *data, size_t bytes, praas_s3_key_fn fn, void *user,
			 char ret_token[PRAAS_S3_TOKEN_MAX + 1]);

/* The id of a new multipart upload. 0; -EPROTO; -ENOMEM. */
int praas_s3_xml_upload(const char *data, size_t bytes,
			char ret_id[PRAAS_S3_TOKEN_MAX + 1]);

/* The code of an error, of [A-Za-z0-9.]; "": the document is none. */
void praas_s3_xml_error(const char *data, size_t bytes,
			char ret_code[PRAAS_S3_CODE_MAX + 1]);

#endif
