/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/shm_conn.h"

#include <errno.h>
#include <string.h>

#include "internal/base.h"

/* Frames in rings, both directions. What comes from the peer is copied word by word into a
 * descriptor, checked there, and believed only then; keys and traces are copied before they are
 * looked at, payloads are passed on where they lie. */

#define KIND(k) (UINT64_C(1) << (k))
/* What may travel in a ring. */
static const uint64_t ring_kinds =
	KIND(PRAAS_FRAME_INVOKE) | KIND(PRAAS_FRAME_RESULT) | KIND(PRAAS_FRAME_CANCEL) |
	KIND(PRAAS_FRAME_PROBE) | KIND(PRAAS_FRAME_SEND) | KIND(PRAAS_FRAME_RECV) |
	KIND(PRAAS_FRAME_PEEK) | KIND(PRAAS_FRAME_LIST) | KIND(PRAAS_FRAME_REPLY) |
	KIND(PRAAS_FRAME_HOLD) | KIND(PRAAS_FRAME_TAKEN) | KIND(PRAAS_FRAME_MAIL) |
	KIND(PRAAS_FRAME_STATE_GET) | KIND(PRAAS_FRAME_STATE_PUT) |
	KIND(PRAAS_FRAME_STATE_DELETE) | KIND(PRAAS_FRAME_STATE_LIST) |
	KIND(PRAAS_FRAME_EVENT) | KIND(PRAAS_FRAME_PING) | KIND(PRAAS_FRAME_PONG) |
	KIND(PRAAS_FRAME_CLOSE) | KIND(PRAAS_SHM_FRAME_LOOK);

/* ---- loans: payloads of invocations, ours again when the result is there -------------------- */

static uint32_t loan_home(uint64_t id)
{
	return (uint32_t)((id * 0x9e3779b97f4a7c15ull) >> 52) & (PRAAS_SHM_LOANS - 1);
}

/* At most half full (the caller sees to it), so a free place is near. */
static void loan_put(struct praas_shm_conn *c, uint64_t id, uint64_t ref)
{
	uint32_t at = loan_home(id);

	while (c->loans[at].id != 0)
		at = (at + 1) & (PRAAS_SHM_LOANS - 1);
	c->loans[at] = (struct praas_shm_loan){ .id = id, .ref = ref };
	c->loans_count++;
}

/* Closes the hole at `at`: what follows moves up unless it is nearer to its home already. */
static void loan_close_hole(struct praas_shm_conn *c, uint32_t at)
{
	uint32_t next = at;

	for (uint32_t i = 0; i < PRAAS_SHM_LOANS; i++) {
		uint32_t home;

		next = (next + 1) & (PRAAS_SHM_LOANS - 1);
		if (c->loans[next].id == 0)
			break;
		home = loan_home(c->loans[next].id);
		if (((next - home) & (PRAAS_SHM_LOANS - 1)) >=
		    ((next - at) & (PRAAS_SHM_LOANS - 1))) {
			c->loans[at] = c->loans[next];
			at = next;
		}
	}
	c->loans[at].id = 0;
}

int praas_shm_loan_find(const struct praas_shm_conn *c, uint64_t id, uint64_t *ret_ref)
{
	for (uint32_t at = loan_home(id); c->loans[at].id != 0;
	     at = (at + 1) & (PRAAS_SHM_LOANS - 1)) {
		if (c->loans[at].id != id)
			continue;
		*ret_ref = c->loans[at].ref;
		return 0;
	}
	return -ENOENT;
}

static void loan_end(struct praas_shm_conn *c, uint64_t id)
{
	uint32_t at = loan_home(id);

	while (c->loans[at].id != 0) {
		if (c->loans[at].id == id) {
			uint64_t ref = c->loans[at].ref;

			loan_close_hole(c, at);
			c->loans_count--;
			praas_shm_memory_free(c, ref);
			return;
		}
		at = (at + 1) & (PRAAS_SHM_LOANS - 1);
	}
}

/* ---- receiving -------------------------------------------------------------------------- */

int praas_shm_locate(struct praas_shm_conn *c, uint32_t segment, uint64_t offset,
		     uint64_t meta, uint64_t bytes, uint8_t **ret_data)
{
	uint8_t *base = c->peer.base;
	uint64_t from = c->peer_from, to = c->peer_to;

	if (praas_unlikely(segment != c->peer.id)) {
		struct praas_shm_big *big = praas_shm_big_find(c, segment);

		if (!big || big->state != PRAAS_SHM_BIG_READ || !big->segment.base)
			return -EPROTO;
		base = big->segment.base;
		from = 0;
		to = big->segment.bytes;
	}
	if (offset % PRAAS_FRAME_ALIGN != 0 || offset < from || offset > to ||
	    offset - from < meta || bytes > to - offset)
		return -EPROTO;
	*ret_data = base + offset;
	return 0;
}

static void release_received(struct praas_buf *buf)
{
	struct praas_shm_conn *c = buf->owner;
	uint32_t segment = buf->segment;

	if (segment != 0 && segment != c->peer.id) {
		struct praas_shm_big *big = praas_shm_big_find(c, segment);

		praas_check(big != NULL);
		praas_shm_big_unuse(c, big);
	}
	if (buf->cookie != PRAAS_SHM_NO_REF && c->state == PRAAS_SHM_OPEN) {
		int rc = praas_shm_give_back(&c->channel, &c->backlog, buf->cookie);

		if (praas_unlikely(rc != 0))
			praas_shm_conn_fail(c, rc);
	}
	praas_shm_handle_put(buf);
}

static int copy_meta(struct praas_buf *buf, const uint8_t *meta)
{
	if (buf->head.flags & PRAAS_FRAME_TRACE) {
		memcpy(buf->trace, meta, PRAAS_TRACE_BYTES);
		meta += PRAAS_TRACE_BYTES;
	}
	memcpy(buf->key, meta, buf->head.key_bytes);
	buf->key[buf->head.key_bytes] = '\0';
	return memchr(buf->key, '\0', buf->head.key_bytes) ? -EPROTO : 0;
}

/* Finds the payload, so far only named, and makes buf hold it. */
static int take_payload(struct praas_shm_conn *c, struct praas_buf *buf,
			uint32_t segment, uint64_t offset)
{
	uint64_t meta = praas_frame_meta_bytes(&buf->head);
	uint8_t *data;
	int rc;

	if (buf->head.bytes > c->base.bytes_max)
		return -EPROTO;
	rc = praas_shm_locate(c, segment, offset, meta, buf->head.bytes, &data);
	if (rc != 0)
		return rc;
	if (meta != 0 && copy_meta(buf, data - meta) != 0)
		return -EPROTO;
	buf->data = data;
	buf->segment = segment;
	buf->offset = offset;
	if (praas_unlikely(segment != c->peer.id))
		praas_shm_big_find(c, segment)->users++;
	/* The payload of an invocation goes back with its result, without a word. */
	if (buf->head.kind != PRAAS_FRAME_INVOKE ||
	    (buf->head.flags & PRAAS_FRAME_ONE_WAY))
		buf->cookie = praas_shm_ref(segment, offset);
	return 0;
}

static int deliver(struct praas_shm_conn *c, const struct praas_desc *d)
{
	struct praas_buf *buf = praas_shm_handle_get(c);
	uint16_t segment;
	uint64_t offset;

	if (praas_unlikely(!buf))
		return -ENOMEM;
	buf->release = release_received;
	buf->cookie = PRAAS_SHM_NO_REF;
	buf->segment = 0;
	buf->offset = 0;
	buf->data = NULL;
	buf->capacity = 0;
	buf->key[0] = '\0';
	if (praas_unlikely(praas_frame_from_desc(d, &buf->head, &segment, &offset) !=
				   0 ||
			   (ring_kinds >> buf->head.kind & 1) == 0))
		goto err_put;
	if (praas_unlikely(buf->head.kind == PRAAS_SHM_FRAME_LOOK)) {
		praas_shm_handle_put(buf);
		/* Now: the next frame may lie in a segment that the socket brings. */
		(void)praas_shm_socket_poll(c);
		return 0;
	}
	if (buf->head.bytes != 0 || buf->head.key_bytes != 0 ||
	    (buf->head.flags & PRAAS_FRAME_TRACE)) {
		if (take_payload(c, buf, segment, offset) != 0)
			goto err_put;
	}
	if (!c->server && buf->head.kind == PRAAS_FRAME_RESULT)
		loan_end(c, buf->head.id);
	buf->head.epoch = c->epoch;
	buf->head.sequence = ++c->received;
	c->port->base.frames_in++;
	c->port->base.bytes_in += buf->head.bytes;
	c->base.events->frame(c->base.user, &c->base, buf);
	return 0;
err_put:
	praas_shm_handle_put(buf);
	return -EPROTO;
}

int praas_shm_conn_deliver(struct praas_shm_conn *c, const struct praas_desc *d)
{
	int rc = deliver(c, d);

	if (praas_unlikely(rc != 0))
		praas_shm_conn_fail(c, rc);
	return rc;
}

/* Buffers of ours that the peer gives back. */
static int take_returns(struct praas_shm_conn *c)
{
	for (unsigned i = 0; i < PRAAS_SHM_BURST; i++) {
		struct praas_shm_big *big;
		uint64_t ref, offset;
		int rc = praas_channel_take_return(&c->channel, &ref);

		if (rc != 0)
			return rc == -EAGAIN ? 0 : rc;
		offset = praas_shm_ref_offset(ref);
		if (praas_likely(praas_shm_ref_segment(ref) == c->mine.id)) {
			if (offset < PRAAS_SHM_HEADROOM ||
			    praas_pool_give_back(c->pool, offset - PRAAS_SHM_HEADROOM,
						 0) != 0)
				return -EPROTO;
			continue;
		}
		big = praas_shm_big_find(c, praas_shm_ref_segment(ref));
		if (!big || big->state != PRAAS_SHM_BIG_LENT)
			return -EPROTO;
		praas_shm_big_free(c, big);
	}
	return 0;
}

unsigned praas_shm_conn_poll(struct praas_shm_conn *c, unsigned budget)
{
	unsigned done = 0;
	int rc = 0;

	while (done < budget && c->bufs_out < c->bufs_max) {
		struct praas_desc d;

		rc = praas_ring_pop(&c->channel.rx, &d);
		if (rc != 0)
			break;
		done++;
		if (praas_unlikely(praas_shm_conn_deliver(c, &d) != 0) ||
		    c->state != PRAAS_SHM_OPEN || c->failing)
			return done;
	}
	if (praas_unlikely(rc == -EPROTO))
		praas_shm_conn_fail(c, rc);
	else if (praas_unlikely(c->eof && rc == -EAGAIN))
		praas_shm_conn_fail(c, c->error);
	if (done != 0)
		c->active = true;
	rc = take_returns(c);
	if (praas_likely(rc == 0) && praas_unlikely(c->backlog.count != 0))
		rc = praas_shm_backlog_flush(&c->channel, &c->backlog);
	if (praas_unlikely(rc != 0))
		praas_shm_conn_fail(c, rc);
	return done;
}

/* ---- sending ---------------------------------------------------------------------------- */

void praas_shm_flush_sent(struct praas_shm_conn *c, int rc)
{
	while (c->sent_head) {
		struct praas_buf *buf = c->sent_head;

		c->sent_head = buf->next;
		buf->next = NULL;
		c->base.events->sent(c->base.user, &c->base, buf, rc);
		praas_buf_release(buf);
	}
}

static void queue_sent(struct praas_shm_conn *c, struct praas_buf *buf)
{
	buf->next = NULL;
	if (c->sent_head)
		c->sent_tail->next = buf;
	else
		c->sent_head = buf;
	c->sent_tail = buf;
}

static void write_meta(const struct praas_buf *buf, uint8_t *data)
{
	uint8_t *meta = data - praas_frame_meta_bytes(&buf->head);

	if (buf->head.flags & PRAAS_FRAME_TRACE) {
		memcpy(meta, buf->trace, PRAAS_TRACE_BYTES);
		meta += PRAAS_TRACE_BYTES;
	}
	memcpy(meta, buf->key, buf->head.key_bytes);
}

static int room(struct praas_shm_conn *c)
{
	if (praas_unlikely(c->loans_count >= PRAAS_SHM_LOANS / 2))
		return -EAGAIN;
	if (praas_likely(praas_ring_tx_room(&c->channel.tx) != 0))
		return 0;
	return praas_ring_tx_refresh(&c->channel.tx);
}

/* The same; a peer whose position is impossible is of no use. */
static int room_or_fail(struct praas_shm_conn *c)
{
	int rc = room(c);

	if (praas_likely(rc != -EPROTO))
		return rc;
	praas_shm_conn_fail(c, rc);
	return -ENOTCONN;
}

/* Memory of ours with the payload and its meta block in it. A foreign buffer is copied. */
static int prepare(struct praas_shm_conn *c, struct praas_buf *buf, uint64_t *ret_ref)
{
	uint64_t ref = buf->cookie, capacity = buf->capacity;
	bool ours = praas_shm_is_ours(c, buf);
	uint8_t *data = buf->data;
	int rc;

	if (ours && buf->head.bytes > capacity)
		return -EINVAL;
	ours = ours &&
	       ref != PRAAS_SHM_NO_REF; /* made for no payload: a key needs memory */
	if (!ours) {
		rc = praas_shm_memory_alloc(c, buf->head.bytes, &ref, &data, &capacity);
		if (rc != 0)
			return rc == -ENOBUFS ? -EAGAIN : rc;
		if (buf->head.bytes != 0) {
			memcpy(data, buf->data, buf->head.bytes);
			c->port->base.copies++;
		}
	}
	write_meta(buf, data);
	if (praas_unlikely(praas_shm_ref_segment(ref) != c->mine.id)) {
		struct praas_shm_big *big =
			praas_shm_big_find(c, praas_shm_ref_segment(ref));

		praas_check(big != NULL);
		rc = praas_shm_big_announce(c, big);
		if (rc == 0)
			rc = room(c); /* the announcement took a slot too */
		if (rc != 0 && !ours)
			praas_shm_memory_free(c, ref);
		if (rc != 0)
			return rc;
	}
	*ret_ref = ref;
	return 0;
}

/* The peer has it from now on. */
static void part_with(struct praas_shm_conn *c, const struct praas_frame *f,
		      uint64_t ref)
{
	bool loan = !c->server && f->kind == PRAAS_FRAME_INVOKE &&
		    !(f->flags & PRAAS_FRAME_ONE_WAY);

	if (praas_unlikely(praas_shm_ref_segment(ref) != c->mine.id))
		praas_shm_big_find(c, praas_shm_ref_segment(ref))->state =
			loan ? PRAAS_SHM_BIG_LOANED : PRAAS_SHM_BIG_LENT;
	else if (!loan)
		praas_pool_lend(c->pool, praas_shm_ref_offset(ref) - PRAAS_SHM_HEADROOM,
				0);
	if (loan)
		loan_put(c, f->id, ref);
}

static int send_handshake(struct praas_shm_conn *c, struct praas_buf *buf)
{
	int rc;

	if (c->state != PRAAS_SHM_HANDSHAKE)
		return -ENOTCONN;
	buf->head.sequence = c->base.sends + 1;
	if (c->server && buf->head.kind == PRAAS_FRAME_WELCOME)
		return praas_shm_switch(c, buf);
	rc = praas_shm_socket_send(c, buf, NULL, NULL);
	/* Who refuses a client closes at once; why is still to be read, and the end comes then. */
	return rc == -ECONNRESET && !c->server ? 0 : rc;
}

/* Puts a frame into the ring of an open connection. */
static int send_ring(struct praas_shm_conn *c, struct praas_buf *buf)
{
	uint64_t ref = 0;
	struct praas_frame f = buf->head;
	struct praas_desc d;
	int rc = room_or_fail(c);

	if (f.bytes > c->base.bytes_max)
		return -EMSGSIZE;
	if (praas_unlikely(rc != 0))
		return rc;
	if (f.bytes != 0 || f.key_bytes != 0 || (f.flags & PRAAS_FRAME_TRACE)) {
		rc = prepare(c, buf, &ref);
		if (praas_unlikely(rc != 0))
			return rc;
		part_with(c, &f, ref);
		if (praas_shm_is_ours(c, buf))
			buf->cookie =
				PRAAS_SHM_NO_REF; /* the handle alone comes back */
	}
	praas_frame_to_desc(&f, (uint16_t)praas_shm_ref_segment(ref),
			    praas_shm_ref_offset(ref), &d);
	rc = praas_channel_push(&c->channel, &d);
	praas_check(rc == 0); /* room() has seen to it */
	return 0;
}

int praas_shm_send(struct praas_conn *conn, struct praas_buf *buf)
{
	struct praas_shm_conn *c = praas_shm_conn_of(conn);
	int rc;

	if (praas_unlikely(c->state == PRAAS_SHM_ENDED || c->eof || c->failing))
		return -ENOTCONN;
	if (praas_likely(c->state == PRAAS_SHM_OPEN))
		rc = send_ring(c, buf);
	else
		rc = send_handshake(c, buf);
	if (praas_unlikely(rc != 0))
		return rc;
	buf->head.sequence = ++c->base.sends;
	c->active = true;
	c->port->base.frames_out++;
	c->port->base.bytes_out += buf->head.bytes;
	queue_sent(c, buf);
	return 0;
}

int praas_shm_send_head(struct praas_conn *conn, const struct praas_frame *head)
{
	struct praas_shm_conn *c = praas_shm_conn_of(conn);
	struct praas_desc d;
	int rc;

	if (praas_unlikely(c->state != PRAAS_SHM_OPEN || c->eof || c->failing))
		return -ENOTCONN;
	rc = room_or_fail(c);
	if (praas_unlikely(rc != 0))
		return rc;
	praas_frame_to_desc(head, 0, 0, &d);
	rc = praas_channel_push(&c->channel, &d);
	praas_check(rc == 0); /* room() has seen to it */
	c->base.sends++;
	c->active = true;
	c->port->base.frames_out++;
	return 0;
}
