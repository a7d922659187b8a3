/* SPDX-License-Identifier: Apache-2.0
 *
 * A range of an object, in parts that come side by side, each to its place.
 */
#include <errno.h>
#include <string.h>

#include "controller/store/s3_private.h"
#include "internal/base.h"

#define PART_MIN                                                                       \
	(1024u * 1024u) /* below it the time of a request counts more than bytes */
#define PART_MAX (8u * 1024u * 1024u)

struct reading {
	struct praas_s3_store *s;
	const char *object;
	uint8_t *data;
	uint64_t offset;
	size_t bytes, part; /* of each but the last */
	size_t next;        /* the first byte that is not asked for */
	size_t end;         /* the first byte that is not there, as far as is known */
	struct praas_s3_request requests[PRAAS_S3_RUNNING_MAX];
};

static void ask(struct reading *g, struct praas_s3_request *r)
{
	size_t n = (size_t)praas_min_u64(g->part, g->bytes - g->next);

	*r = (struct praas_s3_request){ .method = "GET",
					.object = g->object,
					.data = g->data + g->next,
					.room = n,
					.first = g->offset + g->next };
	g->next += n;
	praas_s3_start(g->s->client, r);
}

/* A part that is shorter than was asked for ends the object: the answer was checked against its size. */
static void took(struct reading *g, const struct praas_s3_request *r)
{
	size_t at = (size_t)(r->data - g->data);

	if (r->got < r->room)
		g->end = (size_t)praas_min_u64(g->end, at + r->got);
	g->s->base.bytes_read += r->got;
}

static int run(struct reading *g)
{
	struct praas_s3_request *r;
	int rc = 0;

	for (size_t i = 0; i < PRAAS_S3_RUNNING_MAX && g->next < g->bytes; i++)
		ask(g, &g->requests[i]);
	while ((r = praas_s3_wait(g->s->client)) != NULL) {
		praas_s3_request_release(r);
		if (r->rc != 0) {
			rc = r->rc;
			praas_s3_cancel(g->s->client);
			break;
		}
		took(g, r);
		if (g->next < g->bytes && g->next < g->end)
			ask(g, r);
	}
	return rc;
}

int praas_s3_get(struct praas_store *store, const char *key, uint64_t offset,
		 void *data, size_t bytes, size_t *ret_bytes)
{
	struct praas_s3_store *s = praas_s3_store_of(store);
	char object[PRAAS_S3_KEY_MAX + 1];
	uint8_t byte = 0;
	struct reading g = { .s = s,
			     .object = object,
			     .data = bytes > 0 ? data : &byte,
			     .offset = offset,
			     .bytes = bytes > 0 ? bytes : 1, /* to see it is there */
			     .end = SIZE_MAX };
	int rc = praas_s3_object(s, key, object);

	if (rc != 0)
		return rc;
	g.part = g.bytes / PRAAS_S3_RUNNING_MAX + 1;
	g.part = (size_t)praas_max_u64(PART_MIN, praas_min_u64(PART_MAX, g.part));
	if (offset > INT64_MAX - g.bytes) { /* behind every object */
		g.offset = 0;
		g.bytes = 1;
		g.data = &byte;
		bytes = 0;
	}
	rc = run(&g);
	if (rc == 0)
		*ret_bytes = (size_t)praas_min_u64(bytes, g.end);
	return praas_s3_result(s, rc == -EEXIST ? -EIO : rc);
}
