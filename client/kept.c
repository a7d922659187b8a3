/* SPDX-License-Identifier: Apache-2.0 */
#include "client/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"

/* Invocations as they left, until they are answered: where the transport gives the memory of a payload back as soon as
 * it is sent, and of all when the process moves. They are sent again where it goes on. */

static struct praas_kept *kept_new(struct praas_connection *conn)
{
	struct praas_kept *k = conn->kept_free;

	if (k)
		conn->kept_free = k->next;
	else
		k = malloc(sizeof(*k));
	if (!k)
		return NULL;
	k->conn = conn;
	k->buf = NULL;
	k->copy = NULL;
	k->under_way = k->over = false;
	k->next = NULL;
	return k;
}

static void finish(struct praas_kept *k)
{
	praas_buf_release(k->buf);
	free(k->copy);
	k->next = k->conn->kept_free;
	k->conn->kept_free = k;
}

/* The transport has done with it. */
static void release_kept(struct praas_buf *buf)
{
	struct praas_kept *k = (struct praas_kept *)(void *)buf;

	k->under_way = false;
	if (k->over)
		finish(k);
}

struct praas_buf *praas_keep(struct praas_connection *conn, struct praas_entry *e,
			     struct praas_buf *buf)
{
	struct praas_kept *k = kept_new(conn);

	if (!k)
		return buf; /* then it cannot go along */
	k->shadow = *buf;
	e->kept = k;
	if (praas_is_registered(buf))
		return buf; /* its memory stays as it is until it is answered */
	k->buf = buf;
	k->shadow.release = release_kept;
	k->under_way = true;
	return &k->shadow;
}

int praas_keep_copy(struct praas_connection *conn, struct praas_entry *e,
		    const uint8_t *data)
{
	uint64_t meta = praas_frame_meta_bytes(&e->head);
	struct praas_kept *k = kept_new(conn);

	if (!k)
		return -ENOMEM;
	k->shadow.head = e->head;
	k->shadow.key[e->head.key_bytes] = '\0';
	e->kept = k;
	if (!data)
		return 0; /* neither payload nor meta block */
	k->copy = malloc(e->head.bytes + 1);
	if (!k->copy)
		return -ENOMEM;
	memcpy(k->copy, data, e->head.bytes);
	k->shadow.data = k->copy;
	data -= meta;
	if (e->head.flags & PRAAS_FRAME_TRACE) {
		memcpy(k->shadow.trace, data, PRAAS_TRACE_BYTES);
		data += PRAAS_TRACE_BYTES;
	}
	memcpy(k->shadow.key, data, e->head.key_bytes);
	return 0;
}

void praas_kept_drop(struct praas_entry *e)
{
	struct praas_kept *k = e->kept;

	e->kept = NULL;
	if (k->under_way)
		k->over = true;
	else
		finish(k);
}

void praas_kept_free_all(struct praas_connection *conn)
{
	while (conn->kept_free) {
		struct praas_kept *k = conn->kept_free;

		conn->kept_free = k->next;
		free(k);
	}
}
