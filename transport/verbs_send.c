/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/verbs_port.h"

#include <errno.h>
#include <string.h>

/*
 * The send queue. A message leaves at once when the peer has a slot for it. Its words, header and
 * meta block are put into a place of ours; a small payload is copied next to them or goes into the
 * work request itself, a larger one is gathered from where it lies, and one that fits no slot is
 * offered. A payload in memory that the device does not know is copied into memory that it does.
 */

static const struct praas_memory *memory_of(const struct praas_verbs_conn *conn)
{
	return praas_verbs_port_of(conn)->config.memory;
}

/* The peer's slots that we may use. */
static uint32_t credits(const struct praas_verbs_conn *conn)
{
	return conn->peer_posted - conn->sent;
}

static uint64_t head_bytes(const struct praas_frame *f)
{
	return PRAAS_VERBS_WORDS_BYTES + PRAAS_FRAME_BYTES + praas_frame_meta_bytes(f);
}

static bool fits(const struct praas_verbs_conn *conn, const struct praas_frame *f)
{
	return f->bytes <= PRAAS_VERBS_MESSAGE_MAX &&
	       head_bytes(f) + f->bytes <=
		       praas_min_u64(PRAAS_VERBS_MESSAGE_MAX, conn->peer.slot_bytes);
}

/* Work requests that the queue pair has; a question over iWARP is one of its own. */
static uint32_t under_way(const struct praas_verbs_conn *conn)
{
	return conn->tx_head - conn->tx_tail + (conn->asking && conn->device->local);
}

static uint8_t *place_of(const struct praas_verbs_conn *conn)
{
	return conn->tx_memory->data +
	       conn->tx_head % conn->sends * PRAAS_VERBS_TX_BYTES;
}

static void put_words(struct praas_verbs_conn *conn, enum praas_verbs_kind kind,
		      uint8_t *to)
{
	struct praas_verbs_words w = { .kind = (uint8_t)kind,
				       .slots = conn->posted,
				       .pieces = conn->pieces_in };

	praas_verbs_words_encode(&w, to);
	conn->told = conn->posted;
	conn->told_of = 0;
	conn->pieces_told = conn->pieces_in;
}

/* What was gathered is given to the device: one doorbell. A list is told of by its last: all before it
 * are done then. */
static void ring(struct praas_verbs_conn *conn)
{
	struct praas_verbs_port *port = praas_verbs_port_of(conn);
	struct praas_verbs_batch *b = &port->batch;
	struct ibv_send_wr *bad;
	int rc;

	if (b->count == 0)
		return;
	b->wr[b->count - 1].next = NULL;
	if (b->signal)
		b->wr[b->count - 1].send_flags |= IBV_SEND_SIGNALED;
	port->stats.sends += b->count;
	port->stats.posts++;
	rc = ibv_post_send(b->qp, b->wr, &bad);
	b->count = 0;
	b->signal = false;
	if (praas_unlikely(rc != 0))
		praas_verbs_fail(conn, rc < 0 ? rc : -rc);
}

/* One work request more of conn for qp, of one or two pieces of memory. */
static struct ibv_send_wr *add(struct praas_verbs_conn *conn, struct ibv_qp *qp,
			       uint64_t id, const struct ibv_sge *sge, int count)
{
	struct praas_verbs_batch *b = &praas_verbs_port_of(conn)->batch;
	struct ibv_send_wr *wr;

	if (b->count == PRAAS_VERBS_BATCH || b->qp != qp)
		ring(conn);
	b->qp = qp;
	wr = &b->wr[b->count];
	b->sge[b->count][0] = sge[0];
	if (count > 1)
		b->sge[b->count][1] = sge[1];
	*wr = (struct ibv_send_wr){ .wr_id = id,
				    .next = wr + 1, /* or none: ring() */
				    .sg_list = b->sge[b->count],
				    .num_sge = count,
				    .opcode = IBV_WR_SEND };
	b->count++;
	return wr;
}

/* Adds the message at place_of(): sge[0] is of it, sge[1] of a payload elsewhere. */
static void post(struct praas_verbs_conn *conn, const struct ibv_sge *sge, int count,
		 const struct praas_verbs_tx *tx)
{
	struct praas_verbs_batch *b = &praas_verbs_port_of(conn)->batch;
	uint32_t bytes = sge[0].length + (count > 1 ? sge[1].length : 0);
	struct ibv_send_wr *wr =
		add(conn, conn->id->qp,
		    praas_verbs_wr(conn, PRAAS_VERBS_OP_SEND, conn->tx_head & 0xffffff),
		    sge, count);

	if (bytes <= conn->inline_max)
		wr->send_flags |= IBV_SEND_INLINE;
	/* Of 47 in a row (15, and a batch), and of all places there are, one at least is told of: they
	 * never run out for good. */
	if (tx->buf || tx->copy || conn->bye_sent || conn->ask ||
	    conn->tx_head % PRAAS_VERBS_SIGNALS == PRAAS_VERBS_SIGNALS - 1)
		b->signal = true;
	conn->tx[conn->tx_head++ % PRAAS_VERBS_SENDS] = *tx;
	conn->sent++;
}

/* A message without a frame. */
static void post_words(struct praas_verbs_conn *conn, enum praas_verbs_kind kind)
{
	struct praas_verbs_tx none = { 0 };
	struct ibv_sge sge = { .addr = (uintptr_t)place_of(conn),
			       .length = PRAAS_VERBS_WORDS_BYTES,
			       .lkey = conn->tx_lkey };

	put_words(conn, kind, place_of(conn));
	post(conn, &sge, 1, &none);
}

static uint32_t put_head(struct praas_verbs_conn *conn, enum praas_verbs_kind kind,
			 const struct praas_buf *buf)
{
	uint8_t *to = place_of(conn);

	put_words(conn, kind, to);
	to += PRAAS_VERBS_WORDS_BYTES;
	praas_frame_encode(&buf->head, to);
	if ((buf->head.flags & PRAAS_FRAME_TRACE) != 0 || buf->head.key_bytes != 0)
		(void)praas_frame_meta_encode(&buf->head, buf->trace, buf->key,
					      to + PRAAS_FRAME_BYTES);
	return (uint32_t)head_bytes(&buf->head);
}

/* Where the device finds buf's payload: there, or in a copy. 0; -ENOBUFS; errno. */
static int locate(struct praas_verbs_conn *conn, struct praas_buf *buf,
		  struct praas_buf **ret_copy, uint32_t *ret_lkey)
{
	const struct praas_memory *m = memory_of(conn);
	int rc = praas_verbs_lkey(conn->device, buf, ret_lkey);

	*ret_copy = NULL;
	if (praas_likely(rc == 0))
		return 0;
	/* Unknown to everybody, or more than the device may be told of: into memory that it knows. */
	rc = m->alloc(m->user, buf->head.bytes, ret_copy);
	if (rc != 0)
		return rc;
	rc = praas_verbs_lkey(conn->device, *ret_copy, ret_lkey);
	if (rc != 0) {
		praas_buf_release(*ret_copy);
		return rc == -ENOENT ? -EIO : rc;
	}
	memcpy((*ret_copy)->data, buf->data, buf->head.bytes);
	conn->base.port->copies++;
	return 0;
}

static void to_sent(struct praas_verbs_conn *conn, struct praas_buf *buf)
{
	praas_send_push(&conn->left, buf, 0);
	praas_conn_activate(&conn->base);
}

/* A frame that fits a slot. 0; -ENOBUFS; errno. */
static int post_frame(struct praas_verbs_conn *conn, struct praas_buf *buf)
{
	uint64_t bytes = buf->head.bytes, head = head_bytes(&buf->head);
	struct praas_verbs_tx tx = { 0 };
	struct ibv_sge sge[2] = { { .addr = (uintptr_t)place_of(conn),
				    .lkey = conn->tx_lkey },
				  { .addr = (uintptr_t)buf->data } };
	int count = 1, rc = 0;

	if (head + bytes > PRAAS_VERBS_TX_BYTES) {
		rc = locate(conn, buf, &tx.copy, &sge[1].lkey);
		if (rc != 0)
			return rc;
		if (tx.copy)
			sge[1].addr = (uintptr_t)tx.copy->data;
		tx.buf = buf;
		count = 2;
	}
	sge[0].length = put_head(conn, PRAAS_VERBS_FRAME, buf);
	sge[1].length = (uint32_t)bytes;
	if (count == 1 && bytes > 0 && head + bytes <= conn->inline_max) {
		count = 2; /* gathered into the work request */
	} else if (count == 1 && bytes > 0) {
		memcpy(place_of(conn) + head, buf->data, bytes);
		sge[0].length += (uint32_t)bytes;
	}
	post(conn, sge, count, &tx);
	if (!tx.buf)
		to_sent(conn, buf);
	return 0;
}

static int post_offer(struct praas_verbs_conn *conn, struct praas_buf *buf)
{
	struct praas_verbs_offer *o =
		&conn->offer[conn->offer_head % PRAAS_VERBS_OFFERS];
	struct praas_verbs_tx none = { 0 };
	struct ibv_sge sge = { .addr = (uintptr_t)place_of(conn),
			       .lkey = conn->tx_lkey };
	int rc;

	*o = (struct praas_verbs_offer){ .buf = buf, .bytes = buf->head.bytes };
	rc = locate(conn, buf, &o->copy, &o->lkey);
	if (rc != 0)
		return rc;
	o->data = o->copy ? o->copy->data : buf->data;
	conn->offer_head++;
	praas_verbs_port_of(conn)->stats.bulk++;
	if (!conn->accepted)
		praas_verbs_bulk_connect(conn);
	sge.length = put_head(conn, PRAAS_VERBS_OFFER, buf);
	post(conn, &sge, 1, &none);
	return 0;
}

/* What is queued, as far as there are credits, places and memory. */
static void flush_queue(struct praas_verbs_conn *conn)
{
	struct praas_port *port = conn->base.port;

	while (conn->unsent.first && credits(conn) > PRAAS_VERBS_RESERVE &&
	       under_way(conn) < conn->sends) {
		struct praas_buf *buf = conn->unsent.first, *next = buf->next;
		bool fit = fits(conn, &buf->head);
		int rc;

		if (!fit && conn->offer_head - conn->offer_tail == PRAAS_VERBS_OFFERS)
			return;
		port->frames_out++;
		port->bytes_out += buf->head.bytes;
		conn->unsent.bytes -= praas_frame_wire_bytes(&buf->head);
		rc = fit ? post_frame(conn, buf) : post_offer(conn, buf);
		if (rc != 0) {
			port->frames_out--;
			port->bytes_out -= buf->head.bytes;
			conn->unsent.bytes += praas_frame_wire_bytes(&buf->head);
			if (rc == -ENOBUFS)
				conn->starved = true; /* again with the next turn */
			else
				praas_verbs_fail(conn, rc);
			return;
		}
		conn->unsent.first = next;
		if (!next)
			conn->unsent.last = NULL;
	}
}

static void post_piece(struct praas_verbs_conn *conn, struct praas_verbs_offer *o)
{
	uint64_t at = o->posted * conn->peer.piece_bytes;
	struct ibv_sge sge = { .addr = (uintptr_t)(o->data + at),
			       .length = (uint32_t)praas_min_u64(
				       o->bytes - at, conn->peer.piece_bytes),
			       .lkey = o->lkey };
	struct ibv_send_wr *wr = add(conn, conn->bulk_id->qp,
				     praas_verbs_wr(conn, PRAAS_VERBS_OP_PIECE_OUT,
						    conn->offer_post & 0xffffff),
				     &sge, 1);

	wr->send_flags = IBV_SEND_SIGNALED;
	o->posted++;
	conn->pieces_out++;
	conn->pieces_out_flight++;
}

static void flush_pieces(struct praas_verbs_conn *conn)
{
	while (conn->offer_post != conn->offer_head && conn->bulk_open &&
	       conn->peer_pieces != conn->pieces_out &&
	       conn->pieces_out_flight < PRAAS_VERBS_PIECES) {
		struct praas_verbs_offer *o =
			&conn->offer[conn->offer_post % PRAAS_VERBS_OFFERS];

		post_piece(conn, o);
		if (o->posted * conn->peer.piece_bytes >= o->bytes)
			conn->offer_post++;
	}
}

/* The peer would have to wait for what it does not know. Telling of slots that told us something is
 * put off, or two sides would tell each other for ever. */
static bool should_tell(const struct praas_verbs_conn *conn)
{
	uint32_t unknown = conn->posted - conn->told;
	uint32_t left = conn->told - conn->received;

	if (conn->pieces_in != conn->pieces_told || unknown >= conn->slots / 2)
		return true;
	return left <= PRAAS_VERBS_RESERVE &&
	       (unknown > conn->told_of || unknown >= PRAAS_VERBS_RESERVE / 2);
}

/* Free slots, before the peer is told of them. */
static void flush_slots(struct praas_verbs_conn *conn)
{
	uint32_t part = conn->slots / PRAAS_VERBS_REPOST_PART;
	int rc;

	if (conn->free_slots < part &&
	    conn->posted - conn->received >= conn->slots - part)
		return;
	rc = praas_verbs_slots_post(conn);
	if (praas_unlikely(rc != 0))
		praas_verbs_fail(conn, rc);
}

/* Where a SEND that is done says nothing of the peer: a READ of nothing, which its device must answer. No memory
 * is open to it, and none is needed. Not before the peer has said something: over iWARP who
 * accepts must not send first (RFC 5044, section 7). */
static void flush_question(struct praas_verbs_conn *conn)
{
	struct ibv_sge none = { .addr = (uintptr_t)place_of(conn),
				.lkey = conn->tx_lkey };
	struct ibv_send_wr *wr;

	if (!conn->ask || !conn->device->local)
		return;
	conn->ask = false;
	if (conn->asking || conn->received == 0 || under_way(conn) >= conn->sends)
		return;
	wr = add(conn, conn->id->qp, praas_verbs_wr(conn, PRAAS_VERBS_OP_QUESTION, 0),
		 &none, 1);
	wr->opcode = IBV_WR_RDMA_READ;
	wr->send_flags = IBV_SEND_SIGNALED;
	conn->asking = true;
	praas_verbs_port_of(conn)->stats.tells++;
}

/* A message without a frame, when there is reason for one. */
static void flush_words(struct praas_verbs_conn *conn)
{
	if (under_way(conn) >= conn->sends || credits(conn) == 0)
		return;
	/* Questions leave a quarter of the slots of who does not look. */
	conn->ask &= credits(conn) > conn->peer.slots / 4;
	if (conn->state == PRAAS_VERBS_FLUSHING && !conn->bye_sent &&
	    praas_verbs_sent_all(conn) && credits(conn) > PRAAS_VERBS_RESERVE) {
		conn->bye_sent = true;
		post_words(conn, PRAAS_VERBS_BYE);
	} else if (should_tell(conn) || conn->ask) {
		praas_verbs_port_of(conn)->stats.tells++;
		post_words(conn, PRAAS_VERBS_TELL);
		conn->asking |= conn->ask;
	}
	conn->ask = false;
}

void praas_verbs_flush(struct praas_verbs_conn *conn)
{
	if (!conn->id || !conn->id->qp || conn->disconnected ||
	    conn->state == PRAAS_VERBS_CONNECTING || conn->state == PRAAS_VERBS_DEAD)
		return;
	flush_slots(conn);
	flush_queue(conn);
	flush_question(conn);
	flush_words(conn);
	flush_pieces(conn);
	ring(conn);
}

/* ---- upwards ---- */

int praas_verbs_alloc(struct praas_conn *base, uint64_t bytes,
		      struct praas_buf **ret_buf)
{
	const struct praas_memory *m = memory_of(praas_verbs_conn_of(base));
	int rc = m->alloc(m->user, bytes, ret_buf);

	if (rc == 0)
		memset(&(*ret_buf)->head, 0, sizeof((*ret_buf)->head));
	return rc;
}

/* A lone frame does. One of several between two polls waits for the others, so that they are one post;
 * whether there will be several is guessed from the last time. Within a turn all wait for its end. */
static bool goes_at_once(struct praas_verbs_conn *conn)
{
	uint64_t turn = praas_verbs_port_of(conn)->turn;

	if (conn->running)
		return false;
	if (conn->sent_turn != turn) {
		conn->burst = conn->turn_sends > 1;
		conn->turn_sends = 0;
		conn->sent_turn = turn;
	}
	conn->turn_sends++;
	return conn->turn_sends == 1 && !conn->burst;
}

int praas_verbs_send(struct praas_conn *base, struct praas_buf *buf)
{
	struct praas_verbs_conn *conn = praas_verbs_conn_of(base);
	struct praas_verbs_port *port = praas_verbs_port_of(conn);
	uint64_t bytes = praas_frame_wire_bytes(&buf->head);

	if (praas_unlikely(conn->state != PRAAS_VERBS_OPEN || conn->disconnected ||
			   conn->end_rc != PRAAS_VERBS_GOING))
		return -ENOTCONN;
	if (praas_unlikely(praas_send_full(conn->unsent.first != NULL,
					   conn->unsent.bytes, bytes,
					   port->config.send_queue_max)))
		return -EAGAIN;
	praas_frame_leaves(&buf->head, ++base->sends);
	if (buf->head.kind == PRAAS_FRAME_WELCOME && conn->accepted &&
	    !conn->authenticated) {
		conn->authenticated = true;
		port->unauthenticated--;
	}
	praas_send_push(&conn->unsent, buf, bytes);
	if (goes_at_once(conn))
		praas_verbs_flush(conn);
	else
		praas_conn_activate(&conn->base);
	return 0;
}

void praas_verbs_on_sent(struct praas_verbs_conn *conn, uint32_t position)
{
	conn->asking &= conn->device->local;
	while ((conn->tx_tail & 0xffffff) != ((position + 1) & 0xffffff)) {
		struct praas_verbs_tx *tx =
			&conn->tx[conn->tx_tail++ % PRAAS_VERBS_SENDS];

		praas_buf_release(tx->copy);
		if (tx->buf)
			to_sent(conn, tx->buf);
		*tx = (struct praas_verbs_tx){ 0 };
	}
}

void praas_verbs_on_piece_sent(struct praas_verbs_conn *conn, uint32_t number)
{
	struct praas_verbs_offer *o = &conn->offer[number % PRAAS_VERBS_OFFERS];

	conn->pieces_out_flight--;
	o->done++;
	if (o->done * conn->peer.piece_bytes < o->bytes)
		return;
	praas_buf_release(o->copy);
	to_sent(conn, o->buf);
	*o = (struct praas_verbs_offer){ 0 };
	conn->offer_tail++;
}

bool praas_verbs_sent_all(const struct praas_verbs_conn *conn)
{
	if (conn->unsent.first || conn->offer_head != conn->offer_tail)
		return false;
	for (uint32_t i = conn->tx_tail; i != conn->tx_head; i++)
		if (conn->tx[i % PRAAS_VERBS_SENDS].buf)
			return false;
	return true;
}

static void tell(struct praas_verbs_conn *conn, struct praas_buf *buf, int rc)
{
	if (buf)
		praas_send_tell(&conn->base, conn->quiet, buf, rc);
}

void praas_verbs_tell_sent(struct praas_verbs_conn *conn)
{
	praas_send_tell_left(&conn->base, &conn->quiet, &conn->left);
}

void praas_verbs_tell_all(struct praas_verbs_conn *conn, int rc)
{
	for (uint32_t i = conn->tx_tail; i != conn->tx_head; i++)
		tell(conn, conn->tx[i % PRAAS_VERBS_SENDS].buf, rc);
	for (uint32_t i = conn->offer_tail; i != conn->offer_head; i++)
		tell(conn, conn->offer[i % PRAAS_VERBS_OFFERS].buf, rc);
	for (struct praas_buf *buf = conn->unsent.first; buf; buf = buf->next)
		tell(conn, buf, rc);
	conn->quiet = true;
}

void praas_verbs_send_drop(struct praas_verbs_conn *conn)
{
	for (; conn->tx_tail != conn->tx_head; conn->tx_tail++) {
		struct praas_verbs_tx *tx =
			&conn->tx[conn->tx_tail % PRAAS_VERBS_SENDS];

		praas_buf_release(tx->copy);
		praas_buf_release(tx->buf);
	}
	for (; conn->offer_tail != conn->offer_head; conn->offer_tail++) {
		struct praas_verbs_offer *o =
			&conn->offer[conn->offer_tail % PRAAS_VERBS_OFFERS];

		praas_buf_release(o->copy);
		praas_buf_release(o->buf);
	}
	while (conn->unsent.first)
		praas_buf_release(praas_send_pop(&conn->unsent));
}
