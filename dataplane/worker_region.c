/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory between the controller and its workers: who writes what, who has mapped it, and how
 * buffers go back. Nothing that a worker names is used before it is found to be its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/worker_private.h"
#include "shm/pages.h"

#define WORKER_SEGMENTS_MAX                                                            \
	160u /* a worker maps so many at most (worker_end.h has room for more) */
#define ID_MAX 0xfffu

/* ---- sockets ---- */

int wx_socket_send(struct wx_worker *w, uint32_t kind, const void *body, uint32_t bytes,
		   const int *fds, unsigned fds_count)
{
	struct praas_worker_msg head = { .kind = kind, .bytes = bytes };
	union {
		struct cmsghdr head;
		uint8_t space[CMSG_SPACE(sizeof(int) * 8)];
	} control = { .space = { 0 } };
	struct iovec iov[2] = { { .iov_base = &head, .iov_len = sizeof(head) },
				{ .iov_base = (void *)(uintptr_t)body,
				  .iov_len = bytes } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = bytes ? 2 : 1 };

	praas_check(fds_count <= 8);
	if (fds_count != 0) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * fds_count);
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(int) * fds_count);
		memcpy(CMSG_DATA(&control.head), fds, sizeof(int) * fds_count);
	}
	return sendmsg(w->socket, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

void wx_socket_ring(struct wx_worker *w)
{
	const struct praas_frame f = { .kind = PRAAS_WORKER_SOCKET };

	if (w->state == WX_IDLE || w->state == WX_BUSY)
		wx_push(w, &f, 0, 0);
}

/* ---- regions ---- */

static uint32_t free_id(struct wx *ex)
{
	for (uint32_t i = PRAAS_SEGMENT_ARENA; i <= ID_MAX; i++) {
		uint32_t id = ex->next_id;

		ex->next_id = id == ID_MAX ? PRAAS_SEGMENT_ARENA : id + 1;
		if (!wx_region_find(ex, id))
			return id;
	}
	return 0;
}

int wx_region_new(struct wx *ex, uint32_t worker, uint64_t bytes, bool arena,
		  struct wx_region **ret_region)
{
	struct wx_region *r = NULL;
	uint64_t area;
	int rc;

	for (uint32_t i = 0; i < WX_REGIONS_MAX && !r; i++)
		if (!ex->regions[i].segment.base)
			r = &ex->regions[i];
	if (!r)
		return -ENOBUFS;
	*r = (struct wx_region){
		.ex = ex, .worker = worker, .arena = arena, .read_fd = -1
	};
	rc = praas_segment_create(arena ? "praas-arena" : "praas-big", bytes,
				  free_id(ex), arena ? 0 : PRAAS_SEGMENT_HUGE,
				  &r->segment);
	if (rc != 0)
		return rc;
	r->lent.region = (struct praas_region){ .base = r->segment.base,
						.bytes = r->segment.bytes };
	rc = praas_segment_read_only_fd(&r->segment, &r->read_fd);
	if (rc == 0 && arena) {
		area = ex->arena_geometry.pool_bytes;
		r->data_from = praas_channel_pool_offset(&ex->arena_geometry) +
			       praas_worker_keys_bytes(ex->arena_geometry.ring_slots) +
			       praas_worker_counts_bytes(ex->config.functions_count);
		r->pending_max = (uint32_t)(area / PRAAS_POOL_CLASS_MIN);
		r->pending =
			praas_pages_new((size_t)r->pending_max * sizeof(*r->pending));
		rc = r->pending ? 0 : -ENOMEM;
	}
	if (rc != 0) {
		wx_region_free(r);
		return rc;
	}
	*ret_region = r;
	return 0;
}

void wx_region_free(struct wx_region *r)
{
	const struct praas_worker_segment gone = { .id = r->segment.id };

	for (uint32_t i = 0; i < r->ex->config.workers; i++) {
		struct wx_worker *w = &r->ex->workers[i];

		if (!(r->shown & 1u << i) || w->socket < 0)
			continue;
		/* Lost: it keeps a mapping that nobody names any more. */
		(void)wx_socket_send(w, PRAAS_WORKER_MSG_UNMAP, &gone, sizeof(gone),
				     NULL, 0);
		if (w->segments)
			w->segments--;
		wx_socket_ring(w);
	}
	if (r->read_fd >= 0)
		(void)close(r->read_fd);
	praas_pages_free(r->pending);
	praas_region_going(r->lent.watches, &r->lent.region);
	praas_segment_release(&r->segment);
	*r = (struct wx_region){ 0 };
}

void wx_region_close(struct wx_region *r)
{
	r->closed = true;
	if (r->held == 0)
		wx_region_free(r);
}

struct wx_region *wx_region_find(struct wx *ex, uint32_t id)
{
	for (uint32_t i = 0; i < WX_REGIONS_MAX; i++)
		if (ex->regions[i].segment.base && ex->regions[i].segment.id == id)
			return &ex->regions[i];
	return NULL;
}

struct wx_region *wx_region_named(struct wx_worker *w, uint32_t segment,
				  uint64_t offset, uint64_t bytes)
{
	struct wx_region *r = w->arena;

	if (praas_unlikely(segment != r->segment.id)) {
		r = wx_region_find(w->ex, segment);
		if (!r || r->worker != w->index || r->arena || offset != 0)
			return NULL;
	}
	if (offset < r->data_from || (offset & 63u) != 0 ||
	    !praas_segment_holds(&r->segment, offset, bytes))
		return NULL;
	return r;
}

void wx_region_flush(struct wx_region *r)
{
	struct wx_worker *w = &r->ex->workers[r->worker];

	while (r->pending_count != 0 &&
	       praas_channel_return(&w->channel, r->pending[r->pending_count - 1]) == 0)
		r->pending_count--;
}

void wx_region_release(struct wx_region *r, uint64_t offset)
{
	r->held--;
	/* A big buffer is for one use. */
	if (praas_unlikely(!r->arena || r->closed)) {
		struct wx *ex = r->ex;

		if (r->held == 0)
			wx_region_free(r);
		if (ex->freed)
			wx_free_rest(ex);
		return;
	}
	/* More than there can be buffers: it named some twice, and loses them. */
	if (praas_channel_return(&r->ex->workers[r->worker].channel, offset) != 0 &&
	    r->pending_count < r->pending_max)
		r->pending[r->pending_count++] = offset;
}

/* ---- showing ---- */

static int show(struct wx_worker *w, uint32_t id, uint64_t bytes, int fd,
		uint32_t *shown)
{
	const struct praas_worker_segment seg = { .id = id, .bytes = bytes };
	int rc;

	if (*shown & 1u << w->index)
		return 0;
	if (w->segments == WORKER_SEGMENTS_MAX)
		return -EPERM;
	rc = wx_socket_send(w, PRAAS_WORKER_MSG_SEGMENT, &seg, sizeof(seg), &fd, 1);
	if (rc != 0)
		return -EPERM;
	*shown |= 1u << w->index;
	w->segments++;
	return 0;
}

int wx_show(struct wx_worker *w, uint32_t segment)
{
	struct wx *ex = w->ex;
	struct wx_region *r;

	if (praas_likely(segment == PRAAS_SEGMENT_POOL))
		return 0;
	if (segment == 0)
		return -EPERM;
	r = segment <= ID_MAX ? wx_region_find(ex, segment) : NULL;
	if (r)
		return r->worker == w->index && !r->closed
			       ? 0
			       : show(w, segment, r->segment.bytes, r->read_fd,
				      &r->shown);
	for (uint32_t i = 0; i < WX_FOREIGN_MAX; i++)
		if (ex->foreign[i].id == segment)
			return show(w, segment, ex->foreign[i].bytes, ex->foreign[i].fd,
				    &ex->foreign[i].shown);
	return -EPERM;
}

/* What is published in the index must be seen by all. */
static int show_all(struct wx *ex, uint32_t segment)
{
	for (uint32_t i = 0; i < ex->config.workers; i++)
		if (ex->workers[i].socket >= 0 &&
		    wx_show(&ex->workers[i], segment) != 0)
			return -EPERM;
	return 0;
}

/* ---- values and buffers ---- */

static void value_release(struct praas_value *value)
{
	wx_region_release(value->owner, value->cookie);
}

static int value_copy(struct wx *ex, const uint8_t *data, uint64_t bytes,
		      struct praas_value *ret_value)
{
	uint8_t *room;
	int rc = praas_process_value_new(ex->base.process, bytes, ret_value, &room);

	if (rc == 0) {
		memcpy(room, data, bytes);
		ex->stats.copies++;
	}
	return rc;
}

int wx_value_here(struct wx_worker *w, struct wx_region *r, uint64_t offset,
		  uint64_t bytes, struct praas_value *ret_value)
{
	r->held++;
	if (!r->arena && show_all(w->ex, r->segment.id) != 0) {
		/* What not everybody can map has to be copied. */
		int rc = value_copy(w->ex, r->segment.base + offset, bytes, ret_value);

		wx_region_release(r, offset);
		return rc;
	}
	*ret_value = (struct praas_value){ .data = r->segment.base + offset,
					   .bytes = bytes,
					   .offset = offset,
					   .segment = r->segment.id,
					   .charge = praas_align_up(bytes, 256),
					   .release = value_release,
					   .owner = r,
					   .cookie = offset };
	return 0;
}

int wx_value(struct wx_worker *w, uint32_t segment, uint64_t offset, uint64_t bytes,
	     struct praas_value *ret_value)
{
	struct wx_region *r;

	if (bytes == 0) {
		*ret_value = (struct praas_value){ 0 };
		return 0;
	}
	r = wx_region_named(w, segment, offset, bytes);
	if (!r)
		return -EPROTO;
	if (bytes <= WX_COPY_MAX &&
	    value_copy(w->ex, r->segment.base + offset, bytes, ret_value) == 0) {
		r->held++;
		wx_region_release(r, offset);
		return 0;
	}
	return wx_value_here(w, r, offset, bytes, ret_value);
}

static void buf_release(struct praas_buf *buf)
{
	struct wx_region *r = buf->owner;
	struct wx *ex = r->ex;

	buf->next = ex->free_handles;
	ex->free_handles = buf;
	wx_region_release(r, buf->cookie);
}

int wx_buf(struct wx_worker *w, uint32_t segment, uint64_t offset, uint64_t bytes,
	   struct praas_buf **ret_buf)
{
	struct wx *ex = w->ex;
	struct wx_region *r;
	struct praas_buf *buf = ex->free_handles;
	int rc = 0;

	if (bytes == 0) {
		*ret_buf = NULL;
		return 0;
	}
	r = wx_region_named(w, segment, offset, bytes);
	if (!r || bytes > ex->config.bytes_max)
		return -EPROTO;
	r->held++;
	if (praas_unlikely(!buf)) {
		rc = ex->config.memory->alloc(ex->config.memory->user, bytes, ret_buf);
		if (rc == 0) {
			memcpy((*ret_buf)->data, r->segment.base + offset, bytes);
			(*ret_buf)->head.bytes = bytes;
			ex->stats.copies++;
		}
		wx_region_release(r, offset);
		return rc == 0 ? 0 : -ENOBUFS;
	}
	ex->free_handles = buf->next;
	buf->head = (struct praas_frame){ .bytes = bytes };
	buf->data = r->segment.base + offset;
	buf->capacity = bytes;
	buf->segment = segment;
	buf->offset = offset;
	buf->lent = &r->lent;
	buf->key[0] = '\0';
	buf->release = buf_release;
	buf->owner = r;
	buf->cookie = offset;
	buf->next = NULL;
	*ret_buf = buf;
	return 0;
}

struct praas_buf *wx_text(struct wx *ex, const char *text)
{
	uint64_t bytes = strlen(text) + 1;
	struct praas_buf *buf;

	if (ex->config.memory->alloc(ex->config.memory->user, bytes, &buf) != 0)
		return NULL;
	memcpy(buf->data, text, bytes);
	buf->head.bytes = bytes;
	return buf;
}

int wx_readable(struct wx_worker *w, struct praas_buf **buf)
{
	struct praas_buf *from = *buf, *to;
	struct wx *ex = w->ex;

	if (!from || from->head.bytes == 0 || wx_show(w, from->segment) == 0)
		return 0;
	if (ex->config.memory->alloc(ex->config.memory->user, from->head.bytes, &to) !=
	    0)
		return -ENOBUFS;
	memcpy(to->data, from->data, from->head.bytes);
	to->head = from->head;
	memcpy(to->trace, from->trace, sizeof(to->trace));
	memcpy(to->key, from->key, sizeof(to->key));
	ex->stats.copies++;
	praas_buf_release(from);
	*buf = to;
	return wx_show(w, to->segment) == 0 ? 0 : -ENOBUFS;
}
