/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/inbox.h"

#include <errno.h>
#include <string.h>

#include "dataplane/process_private.h"

int praas_inbox_init(struct praas_inbox *in)
{
	*in = (struct praas_inbox){ 0 };
	return praas_dedup_init(&in->dedup, PRAAS_INBOX_SOURCES_MAX);
}

void praas_inbox_release(struct praas_inbox *in)
{
	praas_dedup_release(&in->dedup);
}

static void answer(struct praas_process *p, struct praas_conn *conn,
		   struct praas_seq seq, int32_t status)
{
	const struct praas_frame head = { .kind = PRAAS_FRAME_REPLY,
					  .id = seq.number,
					  .aux = seq.epoch,
					  .status = status };

	if (status != 0)
		p->inbox.refused++;
	praas_reply_send(p, conn, &head, NULL);
}

/* Into the mailbox; value is given on success. Errors as praas_process_message_put(). */
static int put(struct praas_process *p, uint64_t source, struct praas_seq seq,
	       const char *key, uint32_t key_bytes, struct praas_value *value,
	       const uint8_t *trace)
{
	int rc;

	if (!praas_dedup_admits(&p->inbox.dedup, source))
		return -ENOBUFS;
	rc = praas_process_message_put(p, source, key, key_bytes, value, trace, NULL);
	if (rc != 0)
		return rc;
	rc = praas_dedup_accept(&p->inbox.dedup, source, seq);
	praas_check(rc == 0); /* asked for above */
	if (praas_unlikely(p->changes != NULL))
		praas_process_changed_accepted(p, source, seq);
	p->inbox.accepted++;
	return 0;
}

/* NEW: the payload of buf, which is gone. */
static int take(struct praas_process *p, uint64_t source, struct praas_seq seq,
		struct praas_buf *buf)
{
	bool traced = (buf->head.flags & PRAAS_FRAME_TRACE) != 0;
	uint32_t key_bytes = buf->head.key_bytes;
	uint8_t trace[PRAAS_TRACE_BYTES];
	char key[PRAAS_KEY_MAX + 1];
	struct praas_value value;
	int rc;

	memcpy(key, buf->key, key_bytes + 1u);
	if (praas_unlikely(traced))
		memcpy(trace, buf->trace, sizeof(trace));
	rc = praas_process_value_from_buf(p, buf, &value);
	if (rc != 0) {
		praas_buf_release(buf);
		return rc;
	}
	rc = put(p, source, seq, key, key_bytes, &value, traced ? trace : NULL);
	if (rc != 0)
		praas_value_release(&value);
	return rc;
}

void praas_inbox_frame(struct praas_process *p, struct praas_conn *conn,
		       struct praas_buf *buf)
{
	int32_t status = praas_route_check(p, buf->head.epoch);
	uint64_t source = conn->peer_source;
	struct praas_seq seq, after;

	/* A client has no epochs: its messages come as SEND. */
	if (praas_frame_place_get(&buf->head, &seq, &after) != 0 ||
	    (source & PRAAS_CLIENT)) {
		conn->port->protocol_errors++;
		praas_buf_release(buf);
		praas_process_drop_conn(conn, -EPROTO);
		return;
	}
	if (status != 0) {
		praas_buf_release(buf);
		answer(p, conn, seq, status);
		return;
	}
	switch (praas_dedup_judge(&p->inbox.dedup, source, seq, after)) {
	case PRAAS_DEDUP_NEW:
		answer(p, conn, seq, praas_status_of(take(p, source, seq, buf)));
		return;
	case PRAAS_DEDUP_SEEN:
		p->inbox.seen++;
		break;
	case PRAAS_DEDUP_GAP:
		status = PRAAS_CONFLICT;
		break;
	case PRAAS_DEDUP_STALE:
		status = PRAAS_MOVED;
		break;
	}
	praas_buf_release(buf);
	answer(p, conn, seq, status);
}

static int apply_one(struct praas_process *p, const struct praas_queued *m)
{
	struct praas_value value = { 0 };
	uint8_t *data;
	int rc = 0;

	if (praas_dedup_judge_queued(&p->inbox.dedup, m->source, m->seq) !=
	    PRAAS_DEDUP_NEW) {
		p->inbox.seen++;
		return 0;
	}
	if (m->bytes != 0)
		rc = praas_process_value_new(p, m->bytes, &value, &data);
	if (rc != 0)
		return rc;
	if (m->bytes != 0)
		memcpy(data, m->data, m->bytes);
	rc = put(p, m->source, m->seq, m->key, m->key_bytes, &value, m->trace);
	if (rc != 0)
		praas_value_release(&value);
	/* What no process could take is not what holds up all others: its sender could not have sent it. */
	return rc == -EINVAL || rc == -EMSGSIZE ? 0 : rc;
}

int praas_process_queue_apply(struct praas_process *p,
			      const struct praas_queued *messages, uint32_t count,
			      uint64_t *ret_position)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < count; i++) {
		if (messages[i].position <= p->inbox.cut)
			continue;
		if (p->inbox.cut != 0 && messages[i].position != p->inbox.cut + 1)
			rc = -EINVAL;
		if (rc == 0)
			rc = apply_one(p, &messages[i]);
		if (rc == 0)
			p->inbox.cut = messages[i].position;
	}
	if (praas_unlikely(p->changes != NULL))
		praas_process_changed_cut(p);
	*ret_position = p->inbox.cut;
	return rc;
}

uint64_t praas_process_queue_cut(const struct praas_process *p)
{
	return p->inbox.cut;
}
