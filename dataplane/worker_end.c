/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/worker_end.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "internal/base.h"

/* Rings, buffers and waiting of a worker. What the socket brings is in worker_end_socket.c. */

#define LOAN 0u          /* the controller, in the pool's loans */
#define RETURNS_MAX 256u /* taken in one go */

const struct praas_segment *praas_worker_end_segment(struct praas_worker_end *end,
						     uint32_t segment)
{
	if (segment == end->start.arena_segment)
		return &end->arena;
	if (segment == PRAAS_SEGMENT_POOL)
		return &end->pool_segment;
	for (uint32_t i = 0; i < end->others_count; i++)
		if (end->others[i].base && end->others[i].id == segment)
			return &end->others[i];
	return NULL;
}

int praas_worker_end_view(struct praas_worker_end *end, uint32_t segment,
			  uint64_t offset, uint64_t bytes, const uint8_t **ret_data)
{
	const struct praas_segment *s = praas_worker_end_segment(end, segment);

	/* A segment is announced on the socket before anything names it. */
	if (praas_unlikely(!s) && praas_worker_end_socket(end) == 0)
		s = praas_worker_end_segment(end, segment);
	if (!s || !praas_segment_holds(s, offset, bytes))
		return -EPROTO;
	*ret_data = s->base + offset;
	return 0;
}

/* ---- buffers ---- */

int praas_worker_end_alloc_big(struct praas_worker_end *end, uint64_t bytes,
			       struct praas_worker_buffer *ret_buffer)
{
	struct praas_frame f = { .kind = PRAAS_WORKER_SEGMENT, .aux = bytes };
	const struct praas_segment *s;
	struct praas_worker_frame reply;
	int rc = praas_worker_end_request(end, &f, NULL, 0, 0, &reply);

	if (rc != 0)
		return rc;
	if (reply.head.status != 0)
		return -ENOSPC;
	if (praas_worker_end_socket(end) != 0)
		return -EPROTO;
	s = praas_worker_end_segment(end, (uint32_t)reply.head.aux);
	if (!s || !s->writable || s->bytes < bytes)
		return -EPROTO;
	*ret_buffer = (struct praas_worker_buffer){ .data = s->base,
						    .capacity = s->bytes,
						    .segment = s->id };
	return 0;
}

int praas_worker_end_alloc(struct praas_worker_end *end, uint64_t bytes,
			   struct praas_worker_buffer *ret_buffer)
{
	uint64_t offset = 0;
	int rc;

	if (bytes > end->start.bytes_max)
		return -EMSGSIZE;
	rc = praas_pool_alloc(end->pool, bytes, &offset);
	if (praas_unlikely(rc != 0)) {
		praas_worker_end_returns(end);
		rc = praas_pool_alloc(end->pool, bytes, &offset);
	}
	if (praas_unlikely(rc != 0))
		return praas_worker_end_alloc_big(end, bytes, ret_buffer);
	*ret_buffer =
		(struct praas_worker_buffer){ .data = end->arena.base + offset,
					      .offset = offset,
					      .capacity = praas_pool_capacity(end->pool,
									      offset),
					      .segment = end->start.arena_segment };
	return 0;
}

void praas_worker_end_drop(struct praas_worker_end *end,
			   const struct praas_worker_buffer *b)
{
	if (b->segment == end->start.arena_segment)
		praas_pool_unref(end->pool, b->offset);
	else if (b->segment != 0)
		praas_worker_end_return(end, b->segment,
					0); /* the controller unmaps it */
}

void praas_worker_end_returns(struct praas_worker_end *end)
{
	uint64_t offset;

	for (unsigned i = 0; i < RETURNS_MAX; i++) {
		if (praas_channel_take_return(&end->channel, &offset) != 0)
			break;
		/* A big segment's end comes by the socket; its return says nothing new. */
		if (offset >> 48 == 0)
			(void)praas_pool_give_back(end->pool, offset,
						   LOAN); /* counted there */
	}
}

void praas_worker_end_return(struct praas_worker_end *end, uint32_t segment,
			     uint64_t offset)
{
	/* Full: it goes back when the invocation ends. */
	(void)praas_channel_return(&end->channel, (uint64_t)segment << 48 | offset);
}

/* ---- rings ---- */

static void lend(struct praas_worker_end *end, const struct praas_frame *f,
		 uint32_t segment, uint64_t offset)
{
	uint64_t start;

	if (f->bytes == 0 || segment != end->start.arena_segment)
		return;
	/* Not a buffer of its own: a piece of one that is lent already (part of a commit). */
	if (praas_pool_find(end->pool, offset, &start) == 0 && start == offset &&
	    !praas_pool_lent(end->pool, offset, LOAN))
		praas_pool_lend(end->pool, offset, LOAN);
}

/* The place for the key of the next frame. */
static uint8_t *key_slot(struct praas_worker_end *end)
{
	uint64_t slot = end->channel.tx.head & (2 * end->channel.tx.mask + 1);

	return end->keys + slot * PRAAS_WORKER_KEY_STRIDE;
}

uint8_t *praas_worker_end_trace(struct praas_worker_end *end)
{
	return key_slot(end) + PRAAS_WORKER_KEY_TRACE;
}

int praas_worker_end_push(struct praas_worker_end *end, const struct praas_frame *f,
			  const char *key, uint32_t segment, uint64_t offset)
{
	struct praas_waiter waiter;
	struct praas_desc d;
	int rc;

	if (key && f->key_bytes)
		memcpy(key_slot(end), key, f->key_bytes);
	lend(end, f, segment, offset);
	praas_frame_to_desc(f, (uint16_t)segment, offset, &d);
	rc = praas_channel_push(&end->channel, &d);
	if (praas_likely(rc != -EAGAIN))
		return rc;
	/* The controller is behind: rare, and it says so by not reading. */
	praas_waiter_init(&waiter, PRAAS_WAIT_MODE_SPIN);
	while (rc == -EAGAIN && !end->stopped) {
		(void)praas_waiter_idle(&waiter); /* never sleeps in this mode */
		rc = praas_channel_push(&end->channel, &d);
	}
	return rc == -EAGAIN ? -ESHUTDOWN : rc;
}

int praas_worker_end_pop(struct praas_worker_end *end,
			 struct praas_worker_frame *ret_frame)
{
	struct praas_desc d;

	for (;;) {
		int rc = praas_ring_pop(&end->channel.rx, &d);

		if (rc == 0)
			rc = praas_frame_from_desc(&d, &ret_frame->head,
						   &ret_frame->segment,
						   &ret_frame->offset);
		if (rc != 0)
			return rc;
		if (praas_likely(ret_frame->head.kind == PRAAS_FRAME_INVOKE ||
				 ret_frame->head.kind == PRAAS_FRAME_REPLY))
			return 0;
		if (ret_frame->head.kind == PRAAS_WORKER_SOCKET)
			rc = praas_worker_end_socket(end);
		else if (ret_frame->head.kind == PRAAS_FRAME_RESULT && end->result)
			end->result(end, ret_frame);
		else
			rc = -EPROTO;
		if (rc != 0)
			return rc;
	}
}

int praas_worker_end_park(struct praas_worker_end *end,
			  const struct praas_worker_frame *frame)
{
	uint32_t at = (end->parked_first + end->parked_count) % PRAAS_WORKER_PARKED_MAX;

	if (frame->head.kind != PRAAS_FRAME_INVOKE ||
	    end->parked_count == PRAAS_WORKER_PARKED_MAX)
		return -EPROTO;
	end->parked[at] = *frame;
	end->parked_count++;
	return 0;
}

int praas_worker_end_next(struct praas_worker_end *end,
			  struct praas_worker_frame *ret_frame)
{
	if (praas_likely(end->parked_count == 0))
		return praas_worker_end_pop(end, ret_frame);
	*ret_frame = end->parked[end->parked_first];
	end->parked_first = (end->parked_first + 1) % PRAAS_WORKER_PARKED_MAX;
	end->parked_count--;
	return 0;
}

int praas_worker_end_request(struct praas_worker_end *end, struct praas_frame *f,
			     const char *key, uint32_t segment, uint64_t offset,
			     struct praas_worker_frame *ret_reply)
{
	struct praas_waiter waiter;
	int rc;

	f->id = ++end->requests;
	rc = praas_worker_end_push(end, f, key, segment, offset);
	if (rc != 0)
		return rc;
	praas_waiter_init(&waiter, (enum praas_wait_mode)end->start.wait_mode);
	while (!end->stopped) {
		rc = praas_worker_end_pop(end, ret_reply);
		if (rc == 0 && ret_reply->head.kind == PRAAS_FRAME_REPLY)
			return ret_reply->head.id == f->id ? 0 : -EPROTO;
		if (rc == 0)
			rc = praas_worker_end_park(end, ret_reply);
		if (rc == 0)
			continue;
		if (rc != -EAGAIN)
			return rc;
		praas_worker_end_idle(end, &waiter, false);
	}
	return -ESHUTDOWN;
}

/* ---- waiting ---- */

/* Announce ourselves on every doorbell that a peer looks at; the clients' wake descriptors are
 * what the sleep watches. */
static unsigned announce(struct praas_worker_end *end, bool direct, bool awake,
			 int *ret_fds)
{
	unsigned count = 0;

	ret_fds[count++] = PRAAS_WORKER_SOCKET_FD;
	for (uint32_t i = 0; direct && i < end->direct_count; i++) {
		struct praas_doorbell bell;

		if (!end->direct[i] || count > PRAAS_DOORBELL_FDS_MAX - 1)
			continue;
		bell.shared = praas_direct_doorbell(end->direct[i]);
		bell.event_fd = end->direct[i]->wake_fd;
		if (awake)
			praas_doorbell_awake(&bell);
		else
			praas_doorbell_announce(&bell);
		ret_fds[count++] = bell.event_fd;
	}
	return count;
}

static bool ready(const struct praas_worker_end *end, bool direct)
{
	if (praas_ring_ready(&end->channel.rx) || (direct && end->parked_count != 0))
		return true;
	for (uint32_t i = 0; direct && i < end->direct_count; i++)
		if (end->direct[i] && praas_direct_ready(end->direct[i]))
			return true;
	return false;
}

static void sleep_now(struct praas_worker_end *end, bool direct)
{
	int fds[PRAAS_DOORBELL_FDS_MAX + 1];
	unsigned count = announce(end, direct, false, fds);

	/* The peers may be waiting for room or buffers: tell how far we are. */
	praas_ring_rx_publish(&end->channel.rx);
	praas_worker_end_returns(end);
	praas_doorbell_prepare(&end->doorbell);
	if (!ready(end, direct)) {
		(void)praas_doorbell_sleep(&end->doorbell, fds, count,
					   -1); /* look again */
		atomic_fetch_add_explicit(&end->line->sleeps, 1, memory_order_relaxed);
	}
	praas_doorbell_awake(&end->doorbell);
	(void)announce(end, direct, true, fds);
	for (uint32_t i = 0; direct && i < end->direct_count; i++)
		if (end->direct[i])
			praas_direct_drain(end->direct[i]);
	/* Also how we notice that the controller is gone. */
	if (praas_worker_end_socket(end) != 0)
		end->stopped = true;
}

void praas_worker_end_idle(struct praas_worker_end *end, struct praas_waiter *waiter,
			   bool direct)
{
	if (praas_waiter_idle(waiter) == PRAAS_WAIT_SLEEP)
		sleep_now(end, direct);
}
