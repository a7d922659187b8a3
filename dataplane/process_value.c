/* SPDX-License-Identifier: Apache-2.0
 *
 * Values of the pool. A received buffer that has pool memory of its own is kept by a reference to
 * that memory, so that its handle goes back to the transport; one that lies elsewhere (a client's
 * segment, private memory, a receive chunk that it shares), or wastes more than it uses, is copied.
 */
#include <errno.h>
#include <string.h>

#include "dataplane/process_private.h"

#define WASTE_MAX 4u /* a buffer may be so many times larger than what is in it */

static void release_pool(struct praas_value *value)
{
	const struct praas_process *p = value->owner;

	praas_pool_unref(p->config.pool, value->cookie);
}

static void release_buf(struct praas_value *value)
{
	praas_buf_release(value->owner);
}

/* A value of a pool buffer that begins at offset; the reference is given. */
static struct praas_value of_pool(struct praas_process *p, uint64_t offset,
				  uint64_t bytes)
{
	return (struct praas_value){ .data = p->config.pool_segment->base + offset,
				     .bytes = bytes,
				     .offset = offset,
				     .segment = p->config.pool_segment->id,
				     .charge = praas_pool_capacity(p->config.pool,
								   offset),
				     .release = release_pool,
				     .owner = p,
				     .cookie = offset };
}

int praas_process_value_new(struct praas_process *p, uint64_t bytes,
			    struct praas_value *ret_value, uint8_t **ret_data)
{
	struct praas_buf *buf = NULL;
	uint64_t offset;
	int rc = praas_pool_alloc(p->config.pool, bytes, &offset);

	if (praas_likely(rc == 0)) {
		*ret_value = of_pool(p, offset, bytes);
		*ret_data = p->config.pool_segment->base + offset;
		return 0;
	}
	if (rc == -ENOBUFS) {
		/* What readers have left by now may be enough. */
		praas_state_reclaim(&p->state, true);
		if (praas_pool_alloc(p->config.pool, bytes, &offset) != 0)
			return -ENOSPC;
		*ret_value = of_pool(p, offset, bytes);
		*ret_data = p->config.pool_segment->base + offset;
		return 0;
	}
	if (rc != -EMSGSIZE)
		return -ENOSPC;
	/* Larger than the pool has: a segment of its own. */
	rc = p->config.memory->alloc(p->config.memory->user, bytes, &buf);
	if (rc != 0)
		return rc == -EMSGSIZE ? rc : -ENOSPC;
	*ret_value = (struct praas_value){ .data = buf->data,
					   .bytes = bytes,
					   .offset = buf->offset,
					   .segment = buf->segment,
					   .charge = buf->capacity,
					   .release = release_buf,
					   .owner = buf };
	*ret_data = buf->data;
	return 0;
}

int praas_process_value_ref(struct praas_process *p, const struct praas_buf *buf,
			    struct praas_value *ret_value)
{
	uint64_t start;

	/* Memory that is not the buffer's own is received into again when the buffer goes. */
	if (buf->segment == 0 || buf->segment != p->config.pool_segment->id ||
	    !buf->data || buf->capacity < buf->head.bytes)
		return -ENOENT;
	if (praas_pool_find(p->config.pool, buf->offset, &start) != 0)
		return -ENOENT;
	praas_pool_ref(p->config.pool, start);
	*ret_value = of_pool(p, start, buf->head.bytes);
	ret_value->data = buf->data;
	ret_value->offset = buf->offset;
	return 0;
}

int praas_process_value_from_buf(struct praas_process *p, struct praas_buf *buf,
				 struct praas_value *ret_value)
{
	uint64_t bytes = buf->head.bytes;
	uint8_t *data;
	int rc;

	if (bytes == 0) {
		*ret_value = (struct praas_value){ 0 };
		praas_buf_release(buf);
		return 0;
	}
	if (praas_process_value_ref(p, buf, ret_value) == 0) {
		if (ret_value->charge <=
		    WASTE_MAX * praas_max_u64(bytes, PRAAS_POOL_CLASS_MIN)) {
			praas_buf_release(buf);
			return 0;
		}
		praas_value_release(ret_value);
	}
	rc = praas_process_value_new(p, bytes, ret_value, &data);
	if (rc != 0)
		return rc;
	memcpy(data, buf->data, bytes);
	praas_buf_release(buf);
	return 0;
}

int praas_process_value_adopt(struct praas_process *p, const uint8_t *data,
			      uint64_t bytes, struct praas_value *ret_value)
{
	const struct praas_segment *segment = p->config.pool_segment;
	uint64_t offset = (uint64_t)((uintptr_t)data - (uintptr_t)segment->base);
	uint64_t start;

	if ((uintptr_t)data < (uintptr_t)segment->base ||
	    !praas_segment_holds(segment, offset, bytes))
		return -ENOENT;
	if (praas_pool_find(p->config.pool, offset, &start) != 0 || start != offset ||
	    praas_pool_capacity(p->config.pool, start) < bytes)
		return -ENOENT;
	*ret_value = of_pool(p, start, bytes);
	return 0;
}

void praas_process_value_disown(struct praas_process *p, const void *data,
				struct praas_value *value)
{
	(void)p;
	if (value->data == data)
		*value = (struct praas_value){ 0 };
	praas_value_release(value);
}
