/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/shm_direct.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal/base.h"

/* The worker's end of the direct path. The client is as hostile as any: each word of its
 * memory is loaded once and checked here. */

#define RETURNS_PER_CALL 4u
#define DRAIN_MAX 64u

int praas_direct_open(struct praas_direct *d, const struct praas_direct_attach *attach,
		      const int fds[PRAAS_DIRECT_FDS])
{
	const struct praas_channel_geometry *cg = &attach->client_geometry;
	const struct praas_channel_geometry *rg = &attach->reply_geometry;
	uint64_t client_bytes, reply_bytes;
	int rc;

	*d = (struct praas_direct){ .attach = *attach, .wake_fd = -1 };
	if (praas_channel_geometry_check(cg) != 0 ||
	    praas_channel_geometry_check(rg) != 0 || attach->block >= cg->blocks)
		return -EPROTO;
	client_bytes = praas_align_up(praas_channel_segment_bytes(cg), 4096);
	reply_bytes = praas_align_up(praas_channel_segment_bytes(rg), 4096);
	rc = praas_segment_attach(fds[0], client_bytes, attach->client_segment, false,
				  &d->client);
	if (rc != 0)
		return rc;
	rc = praas_segment_attach(fds[1], reply_bytes, attach->reply_segment, true,
				  &d->reply);
	if (rc != 0)
		goto err_client;
	rc = praas_channel_init(&d->channel, &d->reply, rg, 0, &d->client, cg,
				attach->block, fds[2]);
	if (rc != 0)
		goto err_reply;
	rc = praas_pool_new(&d->reply, praas_channel_pool_offset(rg), rg->pool_bytes,
			    &d->pool);
	if (rc != 0)
		goto err_reply;
	praas_segment_populate(&d->reply);
	praas_segment_populate(&d->client);
	praas_segment_close_fd(&d->client);
	praas_segment_close_fd(&d->reply);
	d->wake_fd = fds[2];
	d->client_from = praas_channel_pool_offset(cg);
	d->client_to = d->client_from + cg->pool_bytes;
	d->counters = (void *)(d->reply.base + PRAAS_DIRECT_COUNTERS_OFFSET);
	return 0;
err_reply:
	d->reply.fd = -1; /* still the caller's */
	praas_segment_release(&d->reply);
err_client:
	d->client.fd = -1;
	praas_segment_release(&d->client);
	return rc == -EINVAL ? -EPROTO : rc;
}

void praas_direct_close(struct praas_direct *d)
{
	if (!d->reply.base)
		return;
	praas_pool_free(d->pool);
	praas_segment_release(&d->reply);
	praas_segment_release(&d->client);
	(void)close(d->wake_fd);
	*d = (struct praas_direct){ .wake_fd = -1 };
}

void praas_direct_drain(const struct praas_direct *d)
{
	uint64_t wakes;

	for (unsigned i = 0; i < DRAIN_MAX; i++)
		if (recv(d->wake_fd, &wakes, sizeof(wakes), MSG_DONTWAIT) <= 0)
			return;
}

/* Reply buffers that the client gives back. */
static int take_returns(struct praas_direct *d, unsigned max)
{
	for (unsigned i = 0; i < max; i++) {
		uint64_t ref;
		int rc = praas_channel_take_return(&d->channel, &ref);

		if (rc != 0)
			return rc == -EAGAIN ? 0 : rc;
		if (ref >> 48 != d->reply.id ||
		    praas_pool_give_back(d->pool, ref & ((1ull << 48) - 1), 0) != 0)
			return -EPROTO;
	}
	return 0;
}

int praas_direct_alloc(struct praas_direct *d, uint64_t bytes, uint64_t *ret_offset,
		       void **ret_data)
{
	uint64_t offset;
	int rc = praas_pool_alloc(d->pool, bytes, &offset);

	if (praas_unlikely(rc == -ENOBUFS)) {
		(void)take_returns(
			d, UINT32_MAX); /* a violation is told by the next take */
		rc = praas_pool_alloc(d->pool, bytes, &offset);
	}
	if (praas_unlikely(rc != 0))
		return rc;
	*ret_offset = offset;
	*ret_data = d->reply.base + offset;
	return 0;
}

void praas_direct_drop(struct praas_direct *d, uint64_t offset)
{
	praas_pool_unref(d->pool, offset);
}

static void count(_Atomic uint64_t *shared, uint64_t *ours, uint64_t n)
{
	*ours += n;
	/* Statistics, one writer: no order needed. */
	atomic_store_explicit(shared, *ours, memory_order_relaxed);
}

static int push_result(struct praas_direct *d, const struct praas_frame *f,
		       uint32_t segment, uint64_t offset)
{
	struct praas_desc desc;

	praas_frame_to_desc(f, (uint16_t)segment, offset, &desc);
	return praas_channel_push(&d->channel, &desc);
}

/* timing: NULL, known when this is compiled: an answer without it has no test of it. */
static inline __attribute__((always_inline)) int answer(
	struct praas_direct *d, const struct praas_direct_reply *reply,
	const struct praas_frame_timing *timing)
{
	struct praas_frame f = { .kind = PRAAS_FRAME_RESULT,
				 .status = reply->status,
				 .id = reply->id,
				 .bytes = reply->bytes,
				 .aux = reply->run_ns };
	uint32_t segment = reply->segment;
	uint64_t offset = reply->offset;

	if (timing)
		praas_frame_timing_put(&f, timing);
	if (offset == PRAAS_DIRECT_NO_BUFFER) {
		offset = 0;
		f.bytes = 0;
	} else if (segment == 0) {
		segment = d->reply.id;
		praas_pool_lend(d->pool, offset, 0);
	}
	/* Before the push: who sees the answer finds it counted. */
	count(&d->counters->calls, &d->calls, 1);
	if (reply->status != 0)
		count(&d->counters->failures, &d->failures, 1);
	count(&d->counters->bytes_out, &d->bytes_out, f.bytes);
	count(&d->counters->run_ns, &d->run_ns, f.aux);
	/* take() has seen to it that there is room; full now is the client's forgery. */
	return push_result(d, &f, segment, offset) == 0 ? 0 : -EPROTO;
}

int praas_direct_reply(struct praas_direct *d, const struct praas_direct_reply *reply)
{
	return answer(d, reply, NULL);
}

PRAAS_COLD int praas_direct_reply_timed(struct praas_direct *d,
					const struct praas_direct_reply *reply,
					const struct praas_frame_timing *timing)
{
	return answer(d, reply, timing);
}

/* True when the client took the call back before we published that we have it. */
static bool withdrawn(struct praas_direct *d, const struct praas_ring_slot *slot,
		      uint64_t word)
{
	/* direct.R0, pairs with direct.A0: our position is visible before we look at the mark;
	 * the client's membarrier between its two is what makes one of us see the other. */
	praas_ring_rx_publish(&d->channel.rx);
	if (praas_unlikely(praas_doorbell_fences))
		praas_doorbell_fence();
	else /* the compiler keeps the order; the client's fence makes the processor do */
		atomic_signal_fence(memory_order_seq_cst);
	word |= atomic_load_explicit(&slot->word[0], memory_order_relaxed);
	return praas_unlikely((word & PRAAS_DIRECT_MARK) != 0);
}

static int answer_withdrawn(struct praas_direct *d, uint64_t id)
{
	struct praas_frame f = { .kind = PRAAS_FRAME_RESULT,
				 .status = PRAAS_CANCELLED,
				 .id = id,
				 .aux = PRAAS_DIRECT_WITHDRAWN };

	count(&d->counters->withdrawn, &d->withdrawn, 1);
	return push_result(d, &f, 0, 0) == 0 ? 0 : -EPROTO;
}

/* Fills call from a checked descriptor. */
static int take_payload(struct praas_direct *d, uint32_t segment, uint64_t offset,
			struct praas_direct_call *call)
{
	uint64_t meta = praas_frame_meta_bytes(&call->head);
	const uint8_t *key;

	call->data = NULL;
	call->key[0] = '\0';
	if (call->head.bytes == 0 && meta == 0)
		return 0;
	if (segment != d->client.id || call->head.bytes > d->attach.bytes_max ||
	    offset % PRAAS_FRAME_ALIGN != 0 || offset < d->client_from ||
	    offset > d->client_to || offset - d->client_from < meta ||
	    call->head.bytes > d->client_to - offset)
		return -EPROTO;
	call->data = call->head.bytes != 0 ? d->client.base + offset : NULL;
	if (meta == 0)
		return 0;
	key = d->client.base + offset - meta;
	if (call->head.flags & PRAAS_FRAME_TRACE) {
		memcpy(call->trace, key, PRAAS_TRACE_BYTES);
		key += PRAAS_TRACE_BYTES;
	}
	memcpy(call->key, key, call->head.key_bytes);
	call->key[call->head.key_bytes] = '\0';
	return memchr(call->key, '\0', call->head.key_bytes) ? -EPROTO : 0;
}

/* Room for the answer to what we are about to take. */
static int answer_room(struct praas_direct *d)
{
	if (praas_likely(praas_ring_tx_room(&d->channel.tx) != 0))
		return 0;
	return praas_ring_tx_refresh(&d->channel.tx);
}

int praas_direct_take(struct praas_direct *d, struct praas_direct_call *ret_call)
{
	struct praas_ring_rx *rx = &d->channel.rx;

	/* Bounded by the ring: a client cannot keep us here with withdrawn calls. */
	for (uint64_t i = 0; i <= rx->mask; i++) {
		const struct praas_ring_slot *slot = &rx->slot[rx->next & rx->mask];
		struct praas_desc desc;
		uint16_t segment;
		uint64_t offset;
		int rc;

		if (!praas_ring_ready(rx))
			return take_returns(d, 1) != 0 ? -EPROTO : -EAGAIN;
		rc = answer_room(d);
		if (rc != 0)
			return rc;
		rc = praas_ring_pop(rx, &desc);
		if (rc != 0)
			return rc;
		if (praas_unlikely(withdrawn(d, slot, desc.word[0]))) {
			if (answer_withdrawn(d, desc.word[2]) != 0)
				return -EPROTO;
			continue;
		}
		if (praas_frame_from_desc(&desc, &ret_call->head, &segment, &offset) !=
			    0 ||
		    ret_call->head.kind != PRAAS_FRAME_INVOKE ||
		    (ret_call->head.flags & PRAAS_FRAME_ONE_WAY))
			return -EPROTO;
		rc = take_payload(d, segment, offset, ret_call);
		if (rc != 0 || take_returns(d, RETURNS_PER_CALL) != 0)
			return -EPROTO;
		ret_call->head.source = d->attach.source;
		count(&d->counters->bytes_in, &d->bytes_in, ret_call->head.bytes);
		return 0;
	}
	return -EAGAIN;
}
