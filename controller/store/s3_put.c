/* SPDX-License-Identifier: Apache-2.0
 *
 * An object of any size: one request when it is small, else parts side by side, each read into a
 * buffer, hashed and sent while the next one is filled. What fails is taken back.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/store/s3_private.h"
#include "internal/base.h"

#define MIB (1024ull * 1024ull)
#define PART_BYTES (5 * MIB) /* the least that S3 allows */
#define PARTS_MAX 10000u
#define DEPTH                                                                          \
	4u /* buffers: what a controller needs for a swap-out beside its process */
#define COMPLETE_PATIENCE 6u
#define NUMBER_TEXT 8u
#define PART_TEXT (PRAAS_S3_ETAG_MAX + 64u) /* of a part in the list of them */

struct slot {
	struct praas_s3_request request;
	uint8_t *data;
	char number[NUMBER_TEXT];
	unsigned part; /* from 0 */
	bool busy;
};

struct upload {
	struct praas_s3_store *s;
	const struct praas_store_source *source;
	const char *object;
	char id[PRAAS_S3_TOKEN_MAX + 1];
	uint64_t part_bytes;
	unsigned parts, next;
	char (*etags)[PRAAS_S3_ETAG_MAX + 1];
	struct slot slots[DEPTH];
};

static void ask(struct praas_s3_request *r, const char *name, const char *value)
{
	r->query[r->query_count++] = (struct praas_sigv4_pair){ name, value };
}

static int create(struct upload *u)
{
	struct praas_s3_request r = { .method = "POST", .object = u->object };
	int rc;

	ask(&r, "uploads", "");
	rc = praas_s3_do(u->s->client, &r);
	if (rc == 0)
		rc = praas_s3_xml_upload(r.text ? r.text : "", r.text_bytes, u->id);
	praas_s3_request_release(&r);
	return rc;
}

/* What was sent takes room until then. If it fails, the bucket's rule for what is incomplete remains. */
static void abort_upload(struct upload *u)
{
	struct praas_s3_request r = { .method = "DELETE", .object = u->object };

	ask(&r, "uploadId", u->id);
	(void)praas_s3_do(u->s->client, &r);
	praas_s3_request_release(&r);
}

static int start_part(struct upload *u, struct slot *slot)
{
	uint64_t at = u->next * u->part_bytes;
	size_t bytes = (size_t)praas_min_u64(u->part_bytes, u->source->bytes - at);
	int rc;

	if (!slot->data)
		slot->data = malloc((size_t)u->part_bytes);
	if (!slot->data)
		return -ENOMEM;
	rc = u->source->fill(u->source->user, slot->data, bytes);
	if (rc != 0)
		return rc;
	slot->part = u->next++;
	slot->busy = true;
	slot->request = (struct praas_s3_request){ .method = "PUT",
						   .object = u->object,
						   .body = slot->data,
						   .body_bytes = bytes };
	(void)snprintf(slot->number, sizeof(slot->number), "%u", slot->part + 1);
	ask(&slot->request, "partNumber", slot->number);
	ask(&slot->request, "uploadId", u->id);
	praas_s3_start(u->s->client, &slot->request);
	return 0;
}

/* It goes into a document of ours. */
static bool is_plain(const char *etag)
{
	return etag[0] != '\0' &&
	       etag[strspn(etag, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				 "0123456789\"-_.+/=")] == '\0';
}

static int end_part(struct upload *u, struct praas_s3_request *r)
{
	struct slot *slot = u->slots;

	while (&slot->request != r)
		slot++;
	slot->busy = false;
	praas_s3_request_release(r);
	if (r->rc != 0)
		return r->rc;
	memcpy(u->etags[slot->part], r->etag, sizeof(r->etag));
	return is_plain(r->etag) ? 0 : -EPROTO;
}

static int send_parts(struct upload *u)
{
	struct praas_s3_request *r;
	int rc = 0;

	do {
		for (unsigned i = 0; rc == 0 && i < DEPTH && u->next < u->parts; i++) {
			if (!u->slots[i].busy)
				rc = start_part(u, &u->slots[i]);
		}
		r = rc == 0 ? praas_s3_wait(u->s->client) : NULL;
		if (r)
			rc = end_part(u, r);
	} while (rc == 0 && r);
	if (rc != 0)
		praas_s3_cancel(u->s->client);
	return rc;
}

/* There is no such upload any more, or no answer: was it ended, and the answer lost? */
static int is_whole(struct upload *u)
{
	struct praas_s3_request head = { .method = "HEAD", .object = u->object };
	int rc = praas_s3_do(u->s->client, &head);

	praas_s3_request_release(&head);
	return rc == 0 && head.total == u->source->bytes ? 0 : -EIO;
}

static int complete(struct upload *u)
{
	static const char head[] = "<CompleteMultipartUpload>",
			  tail[] = "</CompleteMultipartUpload>";
	size_t room = u->parts * PART_TEXT + sizeof(head) + sizeof(tail), n;
	struct praas_s3_request r = { .method = "POST",
				      .object = u->object,
				      .if_absent = true,
				      .patience = COMPLETE_PATIENCE };
	char *text = malloc(room);
	int rc;

	if (!text)
		return -ENOMEM;
	n = (size_t)snprintf(text, room, "%s", head); /* fits, as all of it */
	for (unsigned i = 0; i < u->parts; i++)
		n += (size_t)snprintf(
			text + n, room - n,
			"<Part><PartNumber>%u</PartNumber><ETag>%s</ETag></Part>",
			i + 1, u->etags[i]);
	n += (size_t)snprintf(text + n, room - n, "%s", tail);
	r.body = text;
	r.body_bytes = n;
	ask(&r, "uploadId", u->id);
	rc = praas_s3_do(u->s->client, &r);
	praas_s3_request_release(&r);
	free(text);
	if (rc == -ENOENT || (rc == -EIO && r.uncertain))
		rc = is_whole(u);
	return rc;
}

static int put_parts(struct praas_s3_store *s, const char *object,
		     const struct praas_store_source *source)
{
	struct upload *u = calloc(1, sizeof(*u));
	int rc;

	if (!u)
		return -ENOMEM;
	*u = (struct upload){ .s = s, .source = source, .object = object };
	u->part_bytes = praas_max_u64(
		PART_BYTES, praas_align_up(source->bytes / PARTS_MAX + 1, MIB));
	u->parts = (unsigned)((source->bytes + u->part_bytes - 1) / u->part_bytes);
	u->etags = calloc(u->parts, sizeof(*u->etags));
	rc = u->etags ? create(u) : -ENOMEM;
	if (rc == 0) {
		rc = send_parts(u);
		if (rc == 0)
			rc = complete(u);
		if (rc != 0)
			abort_upload(u);
	}
	for (unsigned i = 0; i < DEPTH; i++)
		free(u->slots[i].data);
	free(u->etags);
	free(u);
	return rc;
}

static int put_whole(struct praas_s3_store *s, const char *object,
		     const struct praas_store_source *source)
{
	struct praas_s3_request r = { .method = "PUT",
				      .object = object,
				      .if_absent = true,
				      .body_bytes = (size_t)source->bytes };
	uint8_t *data = malloc(r.body_bytes > 0 ? r.body_bytes : 1);
	int rc;

	if (!data)
		return -ENOMEM;
	r.body = data;
	rc = r.body_bytes > 0 ? source->fill(source->user, data, r.body_bytes) : 0;
	if (rc == 0)
		rc = praas_s3_do(s->client, &r);
	praas_s3_request_release(&r);
	free(data);
	return rc;
}

/* A failing source's own word for it; else the store's. */
struct watched {
	const struct praas_store_source *source;
	int rc;
};

static int watched_fill(void *user, uint8_t *data, size_t bytes)
{
	struct watched *w = user;

	w->rc = w->source->fill(w->source->user, data, bytes);
	return w->rc;
}

int praas_s3_put(struct praas_store *store, const struct praas_store_source *source)
{
	struct praas_s3_store *s = praas_s3_store_of(store);
	char key[PRAAS_STORE_KEY_MAX + 1], object[PRAAS_S3_KEY_MAX + 1];
	struct watched w = { .source = source };
	struct praas_store_source filled = { .bytes = source->bytes,
					     .fill = watched_fill,
					     .user = &w };
	int rc = source->name(source->user, key); /* where parts go is said first */

	if (rc == 0)
		rc = praas_s3_object(s, key, object);
	if (rc != 0)
		return rc;
	rc = source->bytes > PART_BYTES ? put_parts(s, object, &filled)
					: put_whole(s, object, &filled);
	if (w.rc != 0)
		return w.rc;
	if (rc == 0)
		store->bytes_written += source->bytes;
	if (rc == -EEXIST) /* names are of contents */
		rc = 0;
	return praas_s3_result(s, rc == -ENOENT ? -EIO : rc);
}
