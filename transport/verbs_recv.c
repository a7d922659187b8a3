/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/verbs_port.h"

#include <errno.h>
#include <string.h>

/*
 * From completions to upcalls. A message stays in its slot, in the order of arrival, until it is
 * handed up; the slot is posted again when the frame is released, at once when it was an offer or no
 * frame. When the layer above keeps many, frames are copied out, so that slots never run out.
 *
 * What the peer says is data of a stranger: numbers are checked against what we know. A message
 * itself cannot change any more: nobody but the device writes there, and it has finished.
 */

/* More are copied out: beside the peer's reserve three are to be posted. */
static uint32_t kept_max(const struct praas_verbs_conn *conn)
{
	return (uint32_t)praas_min_u64(conn->slots / 2,
				       conn->slots - PRAAS_VERBS_RESERVE - 3);
}

static uint8_t *message_of(const struct praas_verbs_conn *conn, uint32_t slot)
{
	return conn->rx_memory->data + slot * PRAAS_VERBS_SLOT_BYTES +
	       PRAAS_VERBS_SLOT_SKIP;
}

/* A list of receives for one queue pair, given to the device together. */
struct receives {
	struct ibv_recv_wr wr[PRAAS_VERBS_BATCH];
	struct ibv_sge sge[PRAAS_VERBS_BATCH];
	uint32_t count;
};

static void add(struct receives *list, uint64_t id, const struct ibv_sge *sge)
{
	uint32_t n = list->count++;

	list->sge[n] = *sge;
	list->wr[n] = (struct ibv_recv_wr){ .wr_id = id,
					    .sg_list = &list->sge[n],
					    .num_sge = 1 };
	if (n > 0)
		list->wr[n - 1].next = &list->wr[n];
}

static int post(struct praas_verbs_conn *conn, struct ibv_qp *qp, struct receives *list)
{
	struct praas_verbs_stats *stats = &praas_verbs_port_of(conn)->stats;
	struct ibv_recv_wr *bad;
	int rc;

	if (list->count == 0)
		return 0;
	stats->receives += list->count;
	stats->receive_posts++;
	rc = ibv_post_recv(qp, list->wr, &bad);
	return rc < 0 ? rc : -rc;
}

int praas_verbs_slots_post(struct praas_verbs_conn *conn)
{
	struct receives list PRAAS_UNINITIALIZED;
	int rc;

	list.count = 0;
	for (uint32_t i = 0; i < conn->free_slots; i++) {
		uint8_t slot = conn->free_slot[i];
		struct ibv_sge sge = { .addr = (uintptr_t)message_of(conn, slot),
				       .length = PRAAS_VERBS_MESSAGE_MAX,
				       .lkey = conn->rx_lkey };

		add(&list, praas_verbs_wr(conn, PRAAS_VERBS_OP_RECV, slot), &sge);
	}
	rc = post(conn, conn->id->qp, &list);
	if (rc == 0)
		conn->posted += list.count;
	conn->free_slots = 0;
	return rc;
}

/* A slot is free again: posted with others, by the next flush. */
static void post_again(struct praas_verbs_conn *conn, uint32_t slot)
{
	if (conn->id && !conn->disconnected)
		conn->free_slot[conn->free_slots++] = (uint8_t)slot;
}

void praas_verbs_slot_release(struct praas_buf *buf)
{
	struct praas_verbs_slot *slot = (struct praas_verbs_slot *)(void *)buf;
	struct praas_verbs_conn *conn = slot->conn;

	slot->out = false;
	conn->slots_out--;
	if (praas_unlikely(conn->state == PRAAS_VERBS_DEAD)) {
		praas_verbs_reap(conn);
		return;
	}
	post_again(conn, (uint32_t)(slot - conn->slot));
	/* The peer may be waiting for this one. */
	praas_conn_activate(&conn->base);
}

/* ---- completions ---- */

static int take_words(struct praas_verbs_conn *conn, const uint8_t *message,
		      uint32_t bytes, struct praas_verbs_words *w)
{
	int rc = praas_verbs_words_decode(message, bytes, w);

	if (praas_unlikely(rc != 0))
		return rc;
	/* It cannot have posted more than it has, nor fewer than it said. */
	if (praas_unlikely(w->slots - conn->sent > conn->peer.slots ||
			   w->slots - conn->peer_posted > conn->peer.slots ||
			   w->pieces - conn->pieces_out > PRAAS_VERBS_SLOTS_MAX ||
			   w->pieces - conn->peer_pieces > PRAAS_VERBS_SLOTS_MAX))
		return -EPROTO;
	conn->peer_posted = w->slots;
	conn->peer_pieces = w->pieces;
	return 0;
}

static void on_message(struct praas_verbs_conn *conn, uint32_t index, uint32_t bytes)
{
	struct praas_verbs_slot *slot = &conn->slot[index];
	struct praas_verbs_words w;
	int rc = take_words(conn, message_of(conn, index), bytes, &w);

	conn->received++;
	if (praas_unlikely(rc != 0)) {
		praas_verbs_port_of(conn)->base.protocol_errors++;
		praas_verbs_fail(conn, rc);
		return;
	}
	if (w.kind == PRAAS_VERBS_TELL) {
		conn->told_of++;
		post_again(conn, index);
		return;
	}
	if (w.kind == PRAAS_VERBS_OFFER && !conn->accepted)
		praas_verbs_bulk_connect(conn);
	slot->kind = w.kind;
	slot->bytes = bytes;
	slot->begun = false;
	conn->order[conn->order_tail++ % PRAAS_VERBS_SLOTS] = (uint8_t)index;
	/* The last step of the handshake may be late; it is known by this. */
	if (praas_unlikely(conn->state == PRAAS_VERBS_CONNECTING && conn->accepted))
		conn->opened_due = true;
}

static void on_piece(struct praas_verbs_conn *conn, uint32_t index, uint32_t bytes)
{
	struct praas_verbs_slot *slot = &conn->slot[index];
	uint64_t at = slot->pieces_done * PRAAS_VERBS_PIECE_BYTES;

	conn->pieces_in_flight--;
	if (!slot->bulk || bytes != praas_min_u64(slot->bulk->head.bytes - at,
						  PRAAS_VERBS_PIECE_BYTES)) {
		praas_verbs_port_of(conn)->base.protocol_errors++;
		praas_verbs_fail(conn, -EPROTO);
		return;
	}
	slot->pieces_done++;
}

/* Why a work request did not succeed. */
static int errno_of(enum ibv_wc_status status)
{
	switch ((int)status) {
	case IBV_WC_RETRY_EXC_ERR:
	case IBV_WC_RNR_RETRY_EXC_ERR:
	case IBV_WC_RESP_TIMEOUT_ERR:
		return -ETIMEDOUT;
	case IBV_WC_LOC_LEN_ERR:
	case IBV_WC_REM_INV_REQ_ERR:
		return -EPROTO;
	case IBV_WC_WR_FLUSH_ERR:
	case IBV_WC_REM_OP_ERR:
	case IBV_WC_REM_ABORT_ERR:
		return -ECONNRESET;
	default:
		return -EIO;
	}
}

/* After the peer has gone its last messages may still be here: those are handed up first. */
static PRAAS_COLD void on_error(struct praas_verbs_conn *conn, enum praas_verbs_op op,
				const struct ibv_wc *wc)
{
	if (op == PRAAS_VERBS_OP_RECV)
		conn->received++;
	else if (op == PRAAS_VERBS_OP_PIECE_IN)
		conn->pieces_in_flight--;
	if (wc->status == IBV_WC_WR_FLUSH_ERR) {
		conn->disconnected = true;
		praas_conn_activate(&conn->base);
		return;
	}
	praas_verbs_fail(conn, errno_of(wc->status));
}

void praas_verbs_on_completion(struct praas_verbs_port *port, const struct ibv_wc *wc)
{
	struct praas_verbs_conn *conn = port->by_index[wc->wr_id >> 48];
	enum praas_verbs_op op = (enum praas_verbs_op)(wc->wr_id >> 24 & 0xff);
	uint32_t argument = (uint32_t)wc->wr_id & 0xffffff;

	if (praas_unlikely(!conn || conn->generation != (uint16_t)(wc->wr_id >> 32)))
		return; /* of one that is no more */
	conn->progress++;
	praas_conn_activate(&conn->base);
	if (praas_unlikely(wc->status != IBV_WC_SUCCESS)) {
		on_error(conn, op, wc);
		return;
	}
	switch (op) {
	case PRAAS_VERBS_OP_RECV:
		on_message(conn, argument, wc->byte_len);
		break;
	case PRAAS_VERBS_OP_SEND:
		praas_verbs_on_sent(conn, argument);
		break;
	case PRAAS_VERBS_OP_PIECE_IN:
		on_piece(conn, argument, wc->byte_len);
		break;
	case PRAAS_VERBS_OP_PIECE_OUT:
		praas_verbs_on_piece_sent(conn, argument);
		break;
	case PRAAS_VERBS_OP_QUESTION:
		conn->asking = false;
		break;
	}
}

/* ---- frames ---- */

/* Copies what lies beside the payload. 0; -EPROTO; -EMSGSIZE. */
static int decode(struct praas_verbs_conn *conn, const struct praas_verbs_slot *slot,
		  struct praas_buf *buf, uint64_t *ret_at)
{
	const uint8_t *message = message_of(conn, (uint32_t)(slot - conn->slot));

	return praas_verbs_frame_decode(
		message, slot->bytes, slot->kind == PRAAS_VERBS_OFFER,
		conn->base.bytes_max, &buf->head, buf->trace, buf->key, ret_at);
}

/* An offer is looked at: the buffer for its payload. 0; -ENOBUFS; errno. */
static int begin_bulk(struct praas_verbs_conn *conn, struct praas_verbs_slot *slot)
{
	const struct praas_memory *m = praas_verbs_port_of(conn)->config.memory;
	uint64_t at;
	int rc = decode(conn, slot, &slot->buf, &at);

	if (rc == 0)
		rc = m->alloc(m->user, slot->buf.head.bytes, &slot->bulk);
	if (rc != 0)
		return rc;
	slot->bulk->head = slot->buf.head;
	memcpy(slot->bulk->trace, slot->buf.trace, sizeof(slot->bulk->trace));
	memcpy(slot->bulk->key, slot->buf.key, sizeof(slot->bulk->key));
	slot->pieces = (slot->buf.head.bytes + PRAAS_VERBS_PIECE_BYTES - 1) /
		       PRAAS_VERBS_PIECE_BYTES;
	slot->pieces_posted = 0;
	slot->pieces_done = 0;
	rc = praas_verbs_lkey(conn->device, slot->bulk, &slot->bulk_lkey);
	if (rc != 0) {
		praas_buf_release(slot->bulk);
		slot->bulk = NULL;
	}
	slot->begun = rc == 0;
	return rc;
}

static void add_piece(struct praas_verbs_conn *conn, struct praas_verbs_slot *slot,
		      struct receives *list)
{
	uint64_t at = slot->pieces_posted * PRAAS_VERBS_PIECE_BYTES;
	struct ibv_sge sge = { .addr = (uintptr_t)(slot->bulk->data + at),
			       .length = (uint32_t)praas_min_u64(
				       slot->bulk->head.bytes - at,
				       PRAAS_VERBS_PIECE_BYTES),
			       .lkey = slot->bulk_lkey };

	add(list,
	    praas_verbs_wr(conn, PRAAS_VERBS_OP_PIECE_IN,
			   (uint32_t)(slot - conn->slot)),
	    &sge);
	slot->pieces_posted++;
	conn->pieces_in++;
	conn->pieces_in_flight++;
}

/* Pieces of what was offered, as many as may be posted. 0; -ENOBUFS; errno. */
static int add_offered(struct praas_verbs_conn *conn, struct receives *list)
{
	for (uint32_t i = conn->order_head; i != conn->order_tail; i++) {
		struct praas_verbs_slot *slot =
			&conn->slot[conn->order[i % PRAAS_VERBS_SLOTS]];
		int rc = 0;

		if (slot->kind != PRAAS_VERBS_OFFER)
			continue;
		if (!slot->begun)
			rc = begin_bulk(conn, slot);
		if (rc != 0)
			return rc;
		while (slot->pieces_posted < slot->pieces &&
		       conn->pieces_in_flight < PRAAS_VERBS_PIECES)
			add_piece(conn, slot, list);
		if (slot->pieces_posted < slot->pieces)
			return 0;
	}
	return 0;
}

void praas_verbs_grant(struct praas_verbs_conn *conn)
{
	struct receives list PRAAS_UNINITIALIZED;
	int rc, posted;

	if (!conn->bulk_open)
		return;
	list.count = 0;
	rc = add_offered(conn, &list);
	posted = post(conn, conn->bulk_id->qp, &list);
	if (rc == -ENOBUFS)
		conn->starved = true; /* again with the next turn */
	else if (rc != 0)
		praas_verbs_fail(conn, rc);
	if (posted != 0)
		praas_verbs_fail(conn, posted);
}

/* The wire does not say these as the layer above wants them. */
static int complete(struct praas_verbs_conn *conn, struct praas_buf *buf)
{
	struct praas_port *port = conn->base.port;

	if (buf->head.sequence != conn->sequence + 1)
		return -EPROTO;
	conn->sequence++;
	buf->head.source = conn->base.peer_source;
	praas_frame_arrives(&buf->head);
	port->frames_in++;
	port->bytes_in += buf->head.bytes;
	return 0;
}

/* A frame where it lies, or a copy. 0; -ENOBUFS; errno. */
static int take_frame(struct praas_verbs_conn *conn, struct praas_verbs_slot *slot,
		      struct praas_buf **ret_buf)
{
	const struct praas_memory *m = praas_verbs_port_of(conn)->config.memory;
	uint32_t index = (uint32_t)(slot - conn->slot);
	struct praas_buf *buf = &slot->buf, *copy;
	uint64_t at;
	int rc = decode(conn, slot, buf, &at);

	if (rc != 0)
		return rc;
	buf->data = message_of(conn, index) + at;
	buf->capacity = 0; /* received memory is not written to */
	buf->segment = conn->rx_memory->segment;
	buf->offset =
		conn->rx_memory->offset + (uint64_t)(buf->data - conn->rx_memory->data);
	if (praas_likely(conn->slots_out < kept_max(conn))) {
		slot->out = true;
		conn->slots_out++;
		*ret_buf = buf;
		return 0;
	}
	rc = m->alloc(m->user, buf->head.bytes, &copy);
	if (rc != 0)
		return rc;
	copy->head = buf->head;
	memcpy(copy->trace, buf->trace, sizeof(copy->trace));
	memcpy(copy->key, buf->key, sizeof(copy->key));
	if (buf->head.bytes > 0)
		memcpy(copy->data, buf->data, buf->head.bytes);
	conn->base.port->copies += buf->head.bytes > 0;
	post_again(conn, index);
	*ret_buf = copy;
	return 0;
}

/* The first message of those that came. 0: *ret_buf is a frame, or NULL: it was the last; -EAGAIN
 * it is not all there; -ENOBUFS; errno. */
static int take_first(struct praas_verbs_conn *conn, struct praas_buf **ret_buf)
{
	uint32_t index = conn->order[conn->order_head % PRAAS_VERBS_SLOTS];
	struct praas_verbs_slot *slot = &conn->slot[index];
	int rc = 0;

	if (slot->kind == PRAAS_VERBS_BYE) {
		*ret_buf = NULL;
		return 0;
	}
	if (slot->kind == PRAAS_VERBS_FRAME) {
		rc = take_frame(conn, slot, ret_buf);
	} else if (!slot->begun || slot->pieces_done < slot->pieces) {
		return -EAGAIN;
	} else {
		*ret_buf = slot->bulk;
		slot->bulk = NULL;
		post_again(conn, index);
	}
	if (rc == 0)
		conn->order_head++;
	return rc;
}

unsigned praas_verbs_hand_up(struct praas_verbs_conn *conn, unsigned budget)
{
	unsigned done = 0;

	while (done < budget && conn->order_head != conn->order_tail) {
		struct praas_buf *buf;
		int rc = take_first(conn, &buf);

		if (rc == -EAGAIN)
			break;
		if (rc == -ENOBUFS) {
			conn->starved = true;
			break;
		}
		if (rc == 0 && !buf) {
			praas_verbs_end(conn, 0);
			return done + 1;
		}
		if (rc == 0) {
			rc = complete(conn, buf);
			if (rc != 0)
				praas_buf_release(buf);
		}
		if (rc != 0) {
			conn->base.port->protocol_errors++;
			praas_verbs_fail(conn, rc);
			break;
		}
		done++;
		conn->base.events->frame(conn->base.user, &conn->base, buf);
		if (conn->state != PRAAS_VERBS_OPEN)
			return done;
	}
	if (done == budget && conn->order_head != conn->order_tail)
		praas_conn_activate(&conn->base);
	return done;
}

void praas_verbs_discard(struct praas_verbs_conn *conn)
{
	for (; conn->order_head != conn->order_tail; conn->order_head++) {
		uint32_t index = conn->order[conn->order_head % PRAAS_VERBS_SLOTS];

		if (conn->slot[index].kind == PRAAS_VERBS_FRAME)
			post_again(conn, index);
		conn->peer_bye |= conn->slot[index].kind == PRAAS_VERBS_BYE;
	}
}

void praas_verbs_recv_drop(struct praas_verbs_conn *conn)
{
	for (uint32_t i = 0; i < PRAAS_VERBS_SLOTS; i++) {
		praas_buf_release(conn->slot[i].bulk);
		conn->slot[i].bulk = NULL;
	}
	conn->order_head = conn->order_tail;
	conn->pieces_in_flight = 0;
}
