/* SPDX-License-Identifier: Apache-2.0 */
#include "client/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"

/* Registered buffers: memory that a transport sends from without a copy. */

/* For a big segment, which the peer makes and clears: 5 s, and 10 s a GiB on a loaded machine. */
#define ALLOC_TIMEOUT_NS(bytes) (5000000000ull + (uint64_t)(bytes)*10)

static void registered_free(struct praas_registered *r)
{
	praas_buf_release(r->buf);
	free(r);
}

/* It may be sent again, and stays the caller's. */
static void release_shadow(struct praas_buf *buf)
{
	struct praas_registered *r = (struct praas_registered *)(void *)buf;

	r->under_way = false;
	if (r->freed)
		registered_free(r);
}

bool praas_is_registered(const struct praas_buf *buf)
{
	return buf->release == release_shadow;
}

/* A result may be there before a device says that it has sent the call. */
static void registered_drop(struct praas_registered *r)
{
	if (r->under_way)
		r->freed = true;
	else
		registered_free(r);
}

void praas_registered_free_all(struct praas_connection *conn)
{
	while (conn->registered) {
		struct praas_registered *r = conn->registered;

		conn->registered = r->next;
		registered_drop(r);
	}
}

static int alloc_heap(struct praas_connection *conn, size_t bytes, void **ret_data)
{
	struct praas_registered *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return -ENOBUFS;
	rc = conn->ops->alloc(conn->link, bytes, &r->buf);
	if (rc != 0) {
		free(r);
		return rc;
	}
	/* Of the same owner, and the same region of a device: sent from where it lies. */
	r->shadow = *r->buf;
	r->shadow.release = release_shadow;
	r->next = conn->registered;
	conn->registered = r;
	*ret_data = r->buf->data;
	return 0;
}

static int alloc_shm(struct praas_connection *conn, size_t bytes, void **ret_data)
{
	uint64_t until = 0, capacity, ref;
	uint8_t *data;
	int rc;

	for (;;) {
		rc = praas_shm_memory_alloc(conn->shm, bytes, &ref, &data, &capacity);
		/* Only a big segment may come yet: the peer was asked for it. */
		if (rc != -ENOBUFS || !conn->shm->want_pending)
			break;
		if (until == 0)
			until = praas_now_ns() + ALLOC_TIMEOUT_NS(bytes);
		else if (praas_now_ns() > until)
			return -ENOBUFS;
		if (praas_turn(conn) == 0)
			praas_idle(conn, until);
		if (!conn->link)
			return -ENOTCONN;
	}
	if (rc != 0)
		return rc;
	if (praas_shm_ref_segment(ref) != conn->shm->mine.id)
		praas_shm_big_find(conn->shm, praas_shm_ref_segment(ref))->kept = true;
	conn->buffers++;
	*ret_data = data;
	return 0;
}

int praas_buffer_alloc(praas_connection *conn, size_t bytes, void **ret_data)
{
	int rc;

	if (!conn->link)
		return praas_fail_with(-ENOTCONN, "the connection has ended");
	if (bytes > conn->bytes_max)
		return praas_fail_with(-EMSGSIZE, "a buffer of %zu bytes, at most %llu",
				       bytes, (unsigned long long)conn->bytes_max);
	rc = conn->shm ? alloc_shm(conn, bytes, ret_data)
		       : alloc_heap(conn, bytes, ret_data);
	if (rc != 0)
		return praas_fail_with(rc, "no buffer of %zu bytes: %s", bytes,
				       strerror(-rc));
	return 0;
}

void praas_buffer_free(praas_connection *conn, void *data)
{
	uint64_t ref;

	if (!data || (conn->left && praas_left_buffer_free(conn, data)))
		return;
	if (conn->shm) {
		conn->buffers--;
		praas_check(praas_shm_find(conn->shm, data, &ref) == 0);
		if (praas_shm_ref_segment(ref) != conn->shm->mine.id)
			praas_shm_big_find(conn->shm, praas_shm_ref_segment(ref))
				->kept = false;
		praas_shm_memory_free(conn->shm, ref);
		return;
	}
	for (struct praas_registered **at = &conn->registered; *at; at = &(*at)->next) {
		struct praas_registered *r = *at;

		if (r->buf->data != data)
			continue;
		*at = r->next;
		registered_drop(r);
		return;
	}
}
