/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "controller/store/redis.h"

/*
 * What all stores share: names, addresses, objects that fit in memory.
 */

static int name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

int praas_store_path_check(const char *path, size_t max)
{
	size_t bytes = 0;
	char before = '/';

	for (; path[bytes] != '\0'; bytes++) {
		char c = path[bytes];

		if (bytes >= max)
			return -EINVAL;
		if (before == '/' && (c == '/' || c == '.'))
			return -EINVAL;
		if (c != '/' && !name_char(c))
			return -EINVAL;
		before = c;
	}
	return bytes > 0 && before != '/' ? 0 : -EINVAL;
}

int praas_store_key_check(const char *key)
{
	return praas_store_path_check(key, PRAAS_STORE_KEY_MAX);
}

int praas_store_open_with(const char *url, const struct praas_s3_credentials *keys,
			  struct praas_store **ret_store)
{
	static const char file[] = "file://", s3[] = "s3://";

	if (strlen(url) > PRAAS_STORE_URL_MAX)
		return -EINVAL;
	if (strncmp(url, file, sizeof(file) - 1) == 0)
		return praas_store_file_open(url + sizeof(file) - 1, ret_store);
	if (strncmp(url, s3, sizeof(s3) - 1) == 0)
		return praas_store_s3_open(url, keys, ret_store);
	if (praas_redis_store_is(url))
		return praas_store_redis_open(url, ret_store);
	if (strcmp(url, "memory:") == 0)
		return praas_store_memory_open(ret_store);
	return -EINVAL;
}

int praas_store_open(const char *url, struct praas_store **ret_store)
{
	return praas_store_open_with(url, NULL, ret_store);
}

int praas_store_url_below(const char *url, const char *parts, char *ret_url,
			  size_t room)
{
	size_t bytes = strcspn(url, "?");
	const char *query = url + bytes;
	int n;

	if (praas_redis_store_is(url))
		return praas_redis_store_below(url, parts, ret_url, room);
	while (bytes > 0 && url[bytes - 1] == '/')
		bytes--;
	n = snprintf(ret_url, room, "%.*s/%s%s", (int)bytes, url, parts, query);
	return n > 0 && (size_t)n < room ? 0 : -ENAMETOOLONG;
}

/* The second one must be refused, and the first one's bytes be there. */
static int probe_key(struct praas_store *store, const char *key)
{
	char data[8] = "";
	size_t got = 0;
	int rc = store->ops->put_if_absent(store, key, "first", 5);

	if (rc != 0)
		return rc;
	rc = store->ops->put_if_absent(store, key, "other", 5);
	if (rc == -EEXIST)
		rc = store->ops->get(store, key, 0, data, sizeof(data), &got);
	else if (rc == 0)
		rc = -EOPNOTSUPP;
	if (rc == 0 && (got != 5 || memcmp(data, "first", 5) != 0))
		rc = -EOPNOTSUPP;
	if (rc == -EOPNOTSUPP)
		(void)snprintf(store->why, sizeof(store->why),
			       "it writes over an object that was to be created if "
			       "absent: not fit for slot logs");
	return rc;
}

int praas_store_probe(struct praas_store *store)
{
	uint64_t nonce[2];
	char key[64];
	int rc, gone;

	if (getrandom(nonce, sizeof(nonce), 0) != (ssize_t)sizeof(nonce))
		return -EIO;
	(void)snprintf(key, sizeof(key), "probe/%016" PRIx64 "%016" PRIx64, nonce[0],
		       nonce[1]); /* fits */
	rc = probe_key(store, key);
	gone = store->ops->delete (store, key);
	return rc != 0 ? rc : gone;
}

void praas_store_free(struct praas_store *store)
{
	if (store)
		store->ops->free(store);
}

int praas_store_get_all(struct praas_store *store, const char *key, size_t bytes_max,
			uint8_t **ret_data, size_t *ret_bytes)
{
	uint64_t bytes;
	size_t got = 0;
	uint8_t *data;
	int rc = store->ops->stat(store, key, &bytes);

	if (rc != 0)
		return rc;
	if (bytes > bytes_max)
		return -EMSGSIZE;
	data = malloc(bytes > 0 ? (size_t)bytes : 1);
	if (!data)
		return -ENOMEM;
	rc = store->ops->get(store, key, 0, data, (size_t)bytes, &got);
	if (rc == 0 && got != bytes)
		rc = -EIO;
	if (rc != 0) {
		free(data);
		return rc;
	}
	*ret_data = data;
	*ret_bytes = got;
	return 0;
}

/* A source that reads memory. */
struct bytes_source {
	const char *key;
	const uint8_t *data;
};

static int bytes_fill(void *user, uint8_t *data, size_t bytes)
{
	struct bytes_source *from = user;

	memcpy(data, from->data, bytes);
	from->data += bytes;
	return 0;
}

static int bytes_name(void *user, char ret_key[PRAAS_STORE_KEY_MAX + 1])
{
	struct bytes_source *from = user;
	int rc = praas_store_key_check(from->key);

	if (rc == 0)
		memcpy(ret_key, from->key, strlen(from->key) + 1);
	return rc;
}

int praas_store_put_bytes(struct praas_store *store, const char *key, const void *data,
			  size_t bytes)
{
	struct bytes_source from = { .key = key, .data = data };
	struct praas_store_source source = {
		.bytes = bytes, .fill = bytes_fill, .name = bytes_name, .user = &from
	};

	return store->ops->put(store, &source);
}

/* A source that reads another store. */
struct copy_source {
	struct praas_store *from;
	const char *key;
	uint64_t at;
};

static int copy_fill(void *user, uint8_t *data, size_t bytes)
{
	struct copy_source *c = user;
	size_t got = 0;
	int rc = c->from->ops->get(c->from, c->key, c->at, data, bytes, &got);

	c->at += got;
	return rc == 0 && got != bytes ? -EIO : rc;
}

static int copy_name(void *user, char ret_key[PRAAS_STORE_KEY_MAX + 1])
{
	const struct copy_source *c = user;

	memcpy(ret_key, c->key, strlen(c->key) + 1);
	return 0;
}

int praas_store_share(struct praas_store *store, struct praas_store *from,
		      const char *key)
{
	struct copy_source c = { .from = from, .key = key };
	struct praas_store_source source = { .fill = copy_fill,
					     .name = copy_name,
					     .user = &c };
	int rc = praas_store_key_check(key);

	if (rc == 0 && store->ops == from->ops && store->ops->share) {
		rc = store->ops->share(store, from, key);
		if (rc != -EXDEV)
			return rc;
		rc = 0;
	}
	if (rc == 0)
		rc = from->ops->stat(from, key, &source.bytes);
	return rc == 0 ? store->ops->put(store, &source) : rc;
}

const char *praas_store_folder(const char *url)
{
	static const char scheme[] = "file://";

	return strncmp(url, scheme, strlen(scheme)) == 0 ? url + strlen(scheme) : NULL;
}
