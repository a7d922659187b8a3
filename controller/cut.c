/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/cut.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/inbox.h"

/* Room for one more in a growing array of 8-byte things. */
static int grow(void **array, uint64_t count, uint64_t *room)
{
	uint64_t more = *room ? *room * 2 : 1024;
	void *moved;

	if (count < *room)
		return 0;
	moved = realloc(*array, (size_t)more * 8);
	if (!moved)
		return -ENOMEM;
	*array = moved;
	*room = more;
	return 0;
}

/* Keeps the memory of a value that lies in the pool. -ENOENT: it lies elsewhere. */
static int hold(struct praas_cut *c, const struct praas_export_record *r)
{
	const uint8_t *data = r->data, *base = c->segment->base;
	void *array = c->held;
	uint64_t start;
	int rc;

	if (data < base || data >= base + c->segment->bytes ||
	    praas_pool_find(c->pool, (uint64_t)(data - base), &start) != 0)
		return -ENOENT;
	rc = grow(&array, c->held_count, &c->held_room);
	c->held = array;
	if (rc != 0)
		return rc;
	praas_pool_ref(c->pool, start);
	c->held[c->held_count++] = start;
	return 0;
}

static int copy(struct praas_cut *c, struct praas_export_record *r)
{
	void *array = c->copies;
	uint8_t *data;
	int rc = grow(&array, c->copies_count, &c->copies_room);

	c->copies = array;
	if (rc != 0)
		return rc;
	data = malloc((size_t)r->bytes);
	if (!data)
		return -ENOMEM;
	memcpy(data, r->data, (size_t)r->bytes);
	c->copies[c->copies_count++] = data;
	c->copied_bytes += r->bytes;
	r->data = data;
	return 0;
}

static int add(void *user, const struct praas_export_record *record)
{
	struct praas_cut *c = user;
	struct praas_export_record r = *record;
	int rc = 0;

	if (r.bytes > 0 && r.data) {
		rc = c->final ? hold(c, &r) : -ENOENT;
		if (rc == -ENOENT)
			rc = copy(c, &r);
	}
	return rc == 0 ? praas_snapshot_add(&c->snapshot, &r) : rc;
}

int praas_cut_take(struct praas_process *p, struct praas_pool *pool,
		   const struct praas_segment *segment, bool final,
		   struct praas_cut **ret_cut)
{
	struct praas_cut *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return -ENOMEM;
	c->pool = pool;
	c->segment = segment;
	c->final = final;
	c->queue_cut = praas_process_queue_cut(p);
	rc = praas_process_export(p, add, c);
	if (rc != 0) {
		praas_cut_drop(c);
		return rc;
	}
	*ret_cut = c;
	return 0;
}

void praas_cut_drop(struct praas_cut *cut)
{
	if (!cut)
		return;
	for (uint64_t i = 0; i < cut->held_count; i++)
		praas_pool_unref(cut->pool, cut->held[i]);
	for (uint64_t i = 0; i < cut->copies_count; i++)
		free(cut->copies[i]);
	praas_snapshot_release(&cut->snapshot);
	free(cut->held);
	free(cut->copies);
	free(cut);
}
