/* SPDX-License-Identifier: Apache-2.0 */
#include "client/connection.h"

#include <errno.h>
#include <string.h>

#include "internal/base.h"

/* The blocking call when nothing else is under way, over shared memory: a descriptor out, a
 * descriptor in, no table, no allocation, no system call. Whatever is out of the ordinary becomes
 * an entry of the table and goes on there (P1 of docs/performance.md; perf/micro). */

/* The call has left, with its payload at ref; from now on it is an entry like all others. */
static struct praas_entry *make_entry(struct praas_connection *conn,
				      const struct praas_call *call, uint64_t id,
				      uint64_t ref, struct praas_shm_route *r,
				      uint64_t position)
{
	struct praas_entry *e = praas_entry_new(conn, id);

	praas_check(e != NULL); /* nothing is under way: all entries are free */
	praas_call_head(call, &e->head);
	e->order = ++conn->order;
	if (ref != 0)
		e->ref = ref; /* it may have to be sent again */
	if (r) {
		e->via = (int32_t)r->worker;
		e->position = position;
		r->outstanding++;
		conn->direct_pending++;
		conn->withdrawn = false;
	}
	return e;
}

static PRAAS_COLD int finish_slowly(struct praas_connection *conn,
				    struct praas_entry *e,
				    struct praas_result *ret_result)
{
	int rc = praas_entry_wait(conn, e, 0);

	praas_check(rc == 0); /* without a limit it ends in some way */
	*ret_result = e->result;
	praas_entry_undone(conn, e);
	praas_entry_free(conn, e);
	return 0;
}

/* The one result expected, as it should be: fills ret_result. False: not that. */
static bool take_result(struct praas_connection *conn, struct praas_shm_route *r,
			uint64_t id, const struct praas_desc *d,
			struct praas_result *ret_result)
{
	struct praas_shm_conn *shm = conn->shm;
	uint64_t bytes = d->word[4], offset = d->word[3];
	uint32_t segment = (uint32_t)(d->word[0] >> 48);
	uint64_t from = r ? r->reply_from : shm->peer_from;
	uint64_t to = r ? r->reply_to : shm->peer_to;

	/* Kind RESULT without flags or key, status 0, our id. */
	if (praas_unlikely((d->word[0] & 0xffffffffffffull) != PRAAS_FRAME_RESULT ||
			   d->word[1] != 0 || d->word[2] != id))
		return false;
	*ret_result = (struct praas_result){ .call = id, .run_ns = d->word[6] };
	if (bytes == 0)
		return d->word[6] != PRAAS_DIRECT_WITHDRAWN;
	if (praas_unlikely(segment != (r ? r->reply.id : shm->peer.id) ||
			   offset % PRAAS_FRAME_ALIGN != 0 || offset < from ||
			   offset > to || bytes > to - offset ||
			   bytes > conn->bytes_max))
		return false;
	if (r) {
		r->views++;
		ret_result->view =
			(struct praas_view){ .data = r->reply.base + offset,
					     .bytes = bytes,
					     .token = (uint64_t)r->worker << 48 |
						      offset | PRAAS_TOKEN_DIRECT };
	} else {
		conn->refs++;
		ret_result->view =
			(struct praas_view){ .data = shm->peer.base + offset,
					     .bytes = bytes,
					     .token = praas_shm_ref(segment, offset) |
						      PRAAS_TOKEN_REF };
	}
	conn->stats.bytes_in += bytes;
	return true;
}

/* Where the payload lies: registered memory, or a copy in ours. 0; -EAGAIN. */
static int place(struct praas_connection *conn, const struct praas_call *call,
		 uint64_t *ret_ref)
{
	uint64_t ref = 0;

	if (call->bytes == 0)
		goto done;
	if (praas_shm_find(conn->shm, call->data, &ref) == 0) {
		if (praas_shm_ref_segment(ref) != conn->shm->mine.id)
			return -EAGAIN;
		goto done;
	}
	if (call->bytes > PRAAS_SCRATCH_BYTES)
		return -EAGAIN;
	memcpy(conn->scratch, call->data, call->bytes);
	conn->stats.copies++;
	ref = conn->scratch_ref;
done:
	*ret_ref = ref;
	return 0;
}

/* Looks until something is there; false: not soon. Each look is followed by a pause: a core with loads
 * of a line under way sees the line's change later than one that has rested (docs/performance.md). */
static bool spin(const struct praas_ring_rx *rx, uint32_t pauses)
{
	for (uint32_t i = pauses + pauses / 2; i > 0; i--) {
		if (praas_ring_ready(rx))
			return true;
		praas_pause();
	}
	return false;
}

int praas_fast_call(struct praas_connection *conn, const struct praas_call *call,
		    struct praas_result *ret_result)
{
	struct praas_shm_conn *shm = conn->shm;
	struct praas_shm_route *r;
	struct praas_channel *ch;
	struct praas_entry *e;
	struct praas_desc d;
	uint64_t id, position, ref;

	/* Events, revokes and the like are for the table's way. */
	if (praas_unlikely(praas_ring_ready(&shm->channel.rx) ||
			   place(conn, call, &ref) != 0))
		return -EAGAIN;
	r = praas_route_choose(conn, call->function);
	ch = r ? &r->channel : &shm->channel;
	if (praas_unlikely(r && r->outstanding != 0))
		return -EAGAIN;
	id = praas_id_next(conn);
	d.word[0] = PRAAS_FRAME_INVOKE | (uint64_t)call->function << 32 |
		    (uint64_t)praas_shm_ref_segment(ref) << 48;
	d.word[1] = 0;
	d.word[2] = id;
	d.word[3] = praas_shm_ref_offset(ref);
	d.word[4] = call->bytes;
	d.word[5] = 0;
	d.word[6] = 0;
	position = ch->tx.head;
	if (praas_unlikely(praas_channel_push(ch, &d) != 0))
		return -EAGAIN;
	conn->stats.calls++;
	conn->stats.direct += r != NULL;
	conn->stats.bytes_out += call->bytes;
	if (praas_likely(spin(&ch->rx, conn->waiter.pauses) &&
			 praas_ring_pop(&ch->rx, &d) == 0)) {
		if (praas_likely(take_result(conn, r, id, &d, ret_result))) {
			struct praas_function_info *f =
				&conn->functions[call->function];

			conn->waiter.hits++; /* it was worth the pauses */
			if (praas_unlikely(f->run_ns ==
					   0)) /* it came while we looked */
				f->run_ns = PRAAS_SHORT_RUN_NS / 2;
			return 0;
		}
		e = make_entry(conn, call, id, ref, r, position);
		if (!r)
			(void)praas_shm_conn_deliver(
				shm, &d); /* a failure ends all entries */
		else if (praas_direct_result(conn, r, &d) != 0)
			praas_direct_lied(conn, r);
		return finish_slowly(conn, e, ret_result);
	}
	e = make_entry(conn, call, id, ref, r, position);
	return finish_slowly(conn, e, ret_result);
}
