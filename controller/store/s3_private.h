/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the S3 store share.
 */
#ifndef PRAAS_CONTROLLER_STORE_S3_PRIVATE_H
#define PRAAS_CONTROLLER_STORE_S3_PRIVATE_H

#include "controller/store/s3_client.h"
#include "controller/store/store.h"

struct praas_s3_store {
	struct praas_store base;
	struct praas_s3_client *client;
	struct praas_s3_url url;
};

static inline struct praas_s3_store *praas_s3_store_of(struct praas_store *s)
{
	return (struct praas_s3_store *)(void *)s;
}

/* The object of a key. 0; -EINVAL. */
int praas_s3_object(const struct praas_s3_store *s, const char *key,
		    char ret_object[PRAAS_S3_KEY_MAX + 1]);

/* rc of a request as the store's own vocabulary has it; base.why is set when it failed. */
int praas_s3_result(struct praas_s3_store *s, int rc);

/* Names of the folders below prefix, which is "" or ends in '/': each once, in order. As praas_store_ops.list. */
int praas_s3_folders(struct praas_store *store, const char *prefix,
		     praas_store_list_fn fn, void *user);

/* praas_store_ops.put and .get */
int praas_s3_put(struct praas_store *store, const struct praas_store_source *source);
int praas_s3_get(struct praas_store *store, const char *key, uint64_t offset,
		 void *data, size_t bytes, size_t *ret_bytes);

#endif
