/* SPDX-License-Identifier: Apache-2.0
 *
 * A new object: in one command when it is small, else in pieces that become an object at once, when all are there.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/store/redis_private.h"
#include "internal/base.h"

#define PIECE PRAAS_REDIS_STORE_PIECE

static int name_of(const struct praas_store_source *source,
		   char ret_key[PRAAS_STORE_KEY_MAX + 1])
{
	int rc = source->name(source->user, ret_key);

	return rc ? rc : praas_store_key_check(ret_key);
}

static int put_whole(struct praas_store_redis *s,
		     const struct praas_store_source *source, uint8_t *data)
{
	char key[PRAAS_STORE_KEY_MAX + 1];
	const struct praas_redis_change create = { .op = "create",
						   .key = key,
						   .script = &s->changes,
						   .data = data,
						   .bytes = (size_t)source->bytes };
	int rc = source->bytes > 0
			 ? source->fill(source->user, data, (size_t)source->bytes)
			 : 0;

	if (rc == 0)
		rc = name_of(source, key);
	return rc ? rc : praas_redis_store_change(s, &create);
}

static int send_pieces(struct praas_store_redis *s,
		       const struct praas_store_source *source, uint8_t *data)
{
	struct praas_redis_change piece = { .op = "piece",
					    .script = &s->changes,
					    .data = data };
	int rc = 0;

	for (uint64_t at = 0; rc == 0 && at < source->bytes; at += piece.bytes) {
		piece.number = at;
		piece.bytes = (size_t)praas_min_u64(PIECE, source->bytes - at);
		rc = source->fill(source->user, data, piece.bytes);
		if (rc == 0)
			rc = praas_redis_store_change(s, &piece);
	}
	return rc;
}

static int put_pieces(struct praas_store_redis *s,
		      const struct praas_store_source *source, uint8_t *data)
{
	char key[PRAAS_STORE_KEY_MAX + 1], why[PRAAS_STORE_WHY_BYTES];
	const struct praas_redis_change commit = { .op = "commit",
						   .key = key,
						   .script = &s->changes,
						   .number = source->bytes };
	const struct praas_redis_change abandon = { .op = "abandon",
						    .script = &s->frees };
	int rc = send_pieces(s, source, data);

	if (rc == 0)
		rc = name_of(source, key);
	if (rc == 0)
		rc = praas_redis_store_change(s, &commit);
	if (rc == 0 || rc == -EEXIST)
		return rc;
	memcpy(why, s->base.why, sizeof(why)); /* that counts, not what follows */
	if (s->lane.link)
		(void)praas_redis_store_change(s,
					       &abandon); /* else it ends by itself */
	memcpy(s->base.why, why, sizeof(why));
	return rc;
}

static int put_any(struct praas_store_redis *s, const struct praas_store_source *source)
{
	uint8_t *data;
	int rc;

	s->base.why[0] = '\0';
	if (source->bytes > PRAAS_REDIS_OBJECT_MAX) {
		char text[160];

		(void)snprintf(text, sizeof(text),
			       "an object of %" PRIu64 " MiB; it takes 64 at most: "
			       "keep snapshots in a folder or a bucket",
			       (source->bytes + (1u << 20) - 1) >> 20);
		return praas_redis_store_fails(s, -EMSGSIZE, text);
	}
	data = malloc((size_t)praas_min_u64(source->bytes + 1, PIECE));
	if (!data)
		return -ENOMEM;
	rc = source->bytes > PIECE ? put_pieces(s, source, data)
				   : put_whole(s, source, data);
	free(data);
	if (rc == 0)
		s->base.bytes_written += source->bytes;
	return rc;
}

int praas_redis_put(struct praas_store *store, const struct praas_store_source *source)
{
	int rc = put_any(praas_store_redis_of(store), source);

	return rc == -EEXIST ? 0 : rc; /* names are of contents */
}

/* Bytes of the caller's as a source. */
struct bytes {
	const char *key;
	const uint8_t *data;
};

static int bytes_fill(void *user, uint8_t *data, size_t bytes)
{
	struct bytes *b = user;

	memcpy(data, b->data, bytes);
	b->data += bytes;
	return 0;
}

static int bytes_name(void *user, char ret_key[PRAAS_STORE_KEY_MAX + 1])
{
	const struct bytes *b = user;

	memcpy(ret_key, b->key, strlen(b->key) + 1); /* was checked */
	return 0;
}

int praas_redis_put_if_absent(struct praas_store *store, const char *key,
			      const void *data, size_t bytes)
{
	struct bytes b = { .key = key, .data = data };
	const struct praas_store_source source = {
		.bytes = bytes, .fill = bytes_fill, .name = bytes_name, .user = &b
	};
	int rc = praas_store_key_check(key);

	return rc ? rc : put_any(praas_store_redis_of(store), &source);
}
