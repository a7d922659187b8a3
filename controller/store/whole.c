/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/whole.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/store/redis.h"
#include "controller/store/s3_credentials.h"
#include "controller/store/s3_url.h"
#include "controller/store/store.h"

#define TREE_DESCRIPTORS 16
#define BATCH 128u
#define BELOW_BYTES 80u /* "/APPLICATION/NUMBER-GENERATION" */

/* All that is ever in one (docs/snapshot-format.md). The log last: as long as it is there, so is its end. */
static const char *const folders[] = { "chunk/", "manifest/", "named/", "probe/",
				       "log/" };

static const char s3_scheme[] = "s3://";

static int is_one(void *user, const char *key)
{
	(void)key;
	*(bool *)user = true;
	return -ECANCELED; /* one is enough */
}

int praas_store_exists(const char *url, bool *ret_exists)
{
	const char *folder = praas_store_folder(url);
	struct praas_store *store;
	bool found = false;
	int rc;

	if (folder) {
		*ret_exists = access(folder, F_OK) == 0;
		return 0;
	}
	rc = praas_store_open(url, &store);
	if (rc != 0)
		return rc;
	/* Logs first: a store without one was never used, or is on its way out. */
	for (size_t i = sizeof(folders) / sizeof(*folders); rc == 0 && i-- > 0;)
		rc = store->ops->list(store, folders[i], NULL, is_one, &found);
	praas_store_free(store);
	if (rc == -ECANCELED && found)
		rc = 0;
	if (rc == 0)
		*ret_exists = found;
	return rc;
}

static int remove_one(const char *path, const struct stat *st, int kind,
		      struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path) && errno != ENOENT ? -errno : 0;
}

struct batch {
	unsigned count;
	char key[BATCH][PRAAS_STORE_KEY_MAX + 1];
};

static int collect(void *user, const char *key)
{
	struct batch *b = user;

	memcpy(b->key[b->count++], key, strlen(key) + 1);
	return b->count == BATCH ? -ECANCELED : 0;
}

/* Until there is none: those that were removed are not listed again. */
static int empty(struct praas_store *store, const char *folder, struct batch *b)
{
	int rc;

	do {
		b->count = 0;
		rc = store->ops->list(store, folder, NULL, collect, b);
		if (rc == -ECANCELED && b->count == BATCH)
			rc = 0;
		for (unsigned i = 0; rc == 0 && i < b->count; i++)
			rc = store->ops->delete (store, b->key[i]);
	} while (rc == 0 && b->count == BATCH);
	return rc;
}

int praas_store_remove(const char *url)
{
	const char *folder = praas_store_folder(url);
	struct praas_store *store;
	struct batch *b;
	int rc;

	if (folder) {
		if (access(folder, F_OK) != 0)
			return 0;
		return nftw(folder, remove_one, TREE_DESCRIPTORS, FTW_DEPTH | FTW_PHYS)
			       ? -EIO
			       : 0;
	}
	rc = praas_store_open(url, &store);
	if (rc != 0)
		return rc;
	b = malloc(sizeof(*b));
	if (!b)
		rc = -ENOMEM;
	for (size_t i = 0; rc == 0 && i < sizeof(folders) / sizeof(*folders); i++)
		rc = empty(store, folders[i], b);
	free(b);
	praas_store_free(store);
	return rc;
}

int praas_store_url_check(const char *url, const char **ret_why)
{
	struct praas_s3_url s3;

	*ret_why = "its address has more than 944 characters";
	if (strlen(url) + BELOW_BYTES > PRAAS_STORE_URL_MAX)
		return -EINVAL;
	if (strncmp(url, s3_scheme, sizeof(s3_scheme) - 1) == 0) {
		int rc = praas_s3_url_parse(url, &s3, ret_why);

		if (rc == 0 && strlen(s3.prefix) + BELOW_BYTES > PRAAS_S3_PREFIX_MAX) {
			*ret_why = "the prefix has more than 320 characters";
			rc = -EINVAL;
		}
		return rc;
	}
	if (praas_redis_store_is(url))
		return praas_redis_store_check(url, ret_why);
	*ret_why = "it is neither file:///FOLDER nor s3://BUCKET nor redis://HOST";
	return praas_store_folder(url) && praas_store_folder(url)[0] == '/' ? 0
									    : -EINVAL;
}

int praas_store_take_keys(const char *url, const char **ret_why)
{
	struct praas_s3_credentials keys;
	int rc;

	if (strncmp(url, s3_scheme, sizeof(s3_scheme) - 1) != 0)
		return 0;
	rc = praas_s3_credentials_find(&keys, ret_why);
	praas_s3_credentials_wipe(&keys);
	(void)unsetenv("AWS_ACCESS_KEY_ID");
	(void)unsetenv("AWS_SECRET_ACCESS_KEY");
	(void)unsetenv("AWS_SESSION_TOKEN");
	return rc;
}
