/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/shm_conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal/base.h"
#include "shm/pages.h"

/* The socket of a connection: handshake frames, the switch to rings, control messages. All of
 * it is off the path of calls. */

#define SEGMENT_KIND_CLIENT 3u /* in the header page, for people */
#define SEGMENT_KIND_REPLY 4u

/* ---- sending ---------------------------------------------------------------------------- */

int praas_shm_socket_send(struct praas_shm_conn *c, const struct praas_buf *buf,
			  const struct praas_shm_msg *msg, const int *fds)
{
	uint8_t head[PRAAS_FRAME_BYTES];
	uint8_t meta[PRAAS_SHM_HEADROOM] = { 0 };
	uint64_t meta_bytes = praas_frame_meta_bytes(&buf->head);
	bool trace = (buf->head.flags & PRAAS_FRAME_TRACE) != 0;
	struct iovec iov[4];
	unsigned n = 0;

	if (buf->head.bytes > PRAAS_SHM_WELCOME_MAX / 2)
		return -EMSGSIZE;
	praas_frame_encode(&buf->head, head);
	if (trace)
		memcpy(meta, buf->trace, PRAAS_TRACE_BYTES);
	memcpy(meta + (trace ? PRAAS_TRACE_BYTES : 0), buf->key, buf->head.key_bytes);
	if (msg)
		iov[n++] = (struct iovec){ (void *)(uintptr_t)msg, sizeof(*msg) };
	iov[n++] = (struct iovec){ head, sizeof(head) };
	if (meta_bytes != 0)
		iov[n++] = (struct iovec){ meta, meta_bytes };
	if (buf->head.bytes != 0)
		iov[n++] = (struct iovec){ buf->data, buf->head.bytes };
	return praas_shm_sock_send(c->source.fd, iov, n, fds, fds ? 2 : 0);
}

int praas_shm_tell(struct praas_shm_conn *c, const struct praas_shm_msg *msg,
		   const int *fds, unsigned fds_count)
{
	struct praas_shm_msg copy = *msg;
	struct iovec iov = { &copy, sizeof(copy) };
	struct praas_frame look = { .kind = PRAAS_SHM_FRAME_LOOK };
	struct praas_desc d;
	int rc;

	copy.magic = PRAAS_SHM_MSG_MAGIC;
	rc = praas_shm_sock_send(c->source.fd, &iov, 1, fds, fds_count);
	if (rc != 0 || c->state != PRAAS_SHM_OPEN)
		return rc;
	praas_frame_to_desc(&look, 0, 0, &d);
	(void)praas_channel_push(&c->channel,
				 &d); /* full: it is awake and looks in time */
	return 0;
}

void praas_shm_refuse(int fd, enum praas_close_reason reason)
{
	struct praas_frame f = { .kind = PRAAS_FRAME_CLOSE,
				 .status = praas_close_status(reason),
				 .sequence = 1,
				 .aux = reason };
	uint8_t wire[PRAAS_FRAME_BYTES];
	struct iovec iov = { wire, sizeof(wire) };

	praas_frame_encode(&f, wire);
	(void)praas_shm_sock_send(fd, &iov, 1, NULL, 0); /* a courtesy */
	(void)close(fd);
}

/* ---- the switch, server ------------------------------------------------------------------- */

static uint64_t page_up(uint64_t bytes)
{
	return praas_align_up(bytes, 4096);
}

/* Books of a connection that has its segments. */
static int open_books(struct praas_shm_conn *c, int wake_fd)
{
	uint64_t slots = c->my_geometry.ring_slots;
	uint64_t capacity =
		c->peer_geometry.pool_bytes / PRAAS_POOL_CLASS_MIN + 4 * slots;
	int rc = praas_channel_init(&c->channel, &c->mine, &c->my_geometry, 0, &c->peer,
				    &c->peer_geometry, 0, wake_fd);

	if (rc != 0)
		return rc;
	c->my_from = praas_channel_pool_offset(&c->my_geometry) + PRAAS_SHM_HEADROOM;
	c->peer_from = praas_channel_pool_offset(&c->peer_geometry);
	c->peer_to = c->peer_from + c->peer_geometry.pool_bytes;
	c->bufs_max = (uint32_t)praas_min_u64(capacity, UINT32_MAX / 2);
	rc = praas_pool_new(&c->mine, praas_channel_pool_offset(&c->my_geometry),
			    c->my_geometry.pool_bytes, &c->pool);
	if (rc != 0)
		return rc;
	rc = praas_shm_backlog_init(&c->backlog, c->bufs_max + PRAAS_SHM_BIG_MAX);
	if (rc != 0)
		return rc;
	if (!c->server) {
		c->loans = praas_pages_new(PRAAS_SHM_LOANS * sizeof(*c->loans));
		if (!c->loans)
			return -ENOMEM;
	}
	return 0;
}

static int make_segment(struct praas_shm_conn *c, const char *name,
			const struct praas_channel_geometry *g, uint32_t kind,
			unsigned flags, struct praas_segment *ret_segment)
{
	uint64_t bytes = page_up(praas_channel_segment_bytes(g));
	uint32_t id;
	int rc = praas_shm_segment_id(c->port, &id);

	if (rc == 0 && !praas_shm_spare_take(c->port, kind == SEGMENT_KIND_CLIENT,
					     bytes, id, ret_segment))
		rc = praas_segment_create(name, bytes, id,
					  flags | PRAAS_SEGMENT_POPULATE, ret_segment);
	if (rc != 0)
		return rc;
	praas_channel_format(ret_segment, g, kind);
	praas_shm_segment_known(c->port, ret_segment, true);
	return 0;
}

static int make_segments(struct praas_shm_conn *c)
{
	int rc;

	praas_shm_geometry(&c->port->shm, &c->peer_geometry, &c->my_geometry);
	rc = make_segment(c, "praas client", &c->peer_geometry, SEGMENT_KIND_CLIENT, 0,
			  &c->peer);
	if (rc != 0)
		return rc;
	return make_segment(c, "praas reply", &c->my_geometry, SEGMENT_KIND_REPLY,
			    PRAAS_SEGMENT_OWN, &c->mine);
}

int praas_shm_switch(struct praas_shm_conn *c, struct praas_buf *welcome)
{
	struct praas_shm_msg msg;
	int fds[2] = { -1, -1 };
	int rc = make_segments(c);

	if (rc != 0)
		return rc; /* what was made goes with the connection */
	rc = open_books(c, c->source.fd);
	if (rc != 0)
		return rc;
	rc = praas_segment_read_only_fd(&c->mine, &fds[1]);
	if (rc != 0)
		return rc;
	fds[0] = c->peer.fd;
	msg = (struct praas_shm_msg){ .magic = PRAAS_SHM_MSG_MAGIC,
				      .kind = PRAAS_SHM_SWITCH,
				      .client = c->peer_geometry,
				      .reply = c->my_geometry,
				      .client_segment = c->peer.id,
				      .reply_segment = c->mine.id };
	rc = praas_shm_socket_send(c, welcome, &msg, fds);
	(void)close(fds[1]);
	if (rc != 0)
		return rc;
	praas_segment_close_fd(&c->mine);
	c->epoch = welcome->head.epoch;
	c->state = PRAAS_SHM_OPEN;
	c->port->handshaking--;
	praas_shm_segment_told(c->port, &c->peer, true);
	return 0;
}

/* ---- the switch, client -------------------------------------------------------------------- */

static int take_segment(const struct praas_channel_geometry *g, uint32_t id, int *fd,
			bool writable, struct praas_segment *ret_segment)
{
	int rc;

	if (praas_channel_geometry_check(g) != 0 || id == 0 || id >= PRAAS_SHM_SEGMENTS)
		return -EPROTO;
	rc = praas_segment_attach(*fd, page_up(praas_channel_segment_bytes(g)), id,
				  writable, ret_segment);
	if (rc != 0)
		return rc;
	*fd = -1;
	praas_segment_populate(ret_segment);
	praas_segment_close_fd(ret_segment);
	return 0;
}

static int on_switch(struct praas_shm_conn *c, const struct praas_shm_msg *msg,
		     struct praas_shm_datagram *d)
{
	int rc;

	if (c->server || c->state != PRAAS_SHM_HANDSHAKE || d->fds_count != 2)
		return -EPROTO;
	c->my_geometry = msg->client;
	c->peer_geometry = msg->reply;
	rc = take_segment(&msg->client, msg->client_segment, &d->fds[0], true,
			  &c->mine);
	if (rc != 0)
		return rc;
	rc = take_segment(&msg->reply, msg->reply_segment, &d->fds[1], false, &c->peer);
	if (rc != 0)
		return rc;
	rc = open_books(c, c->source.fd);
	if (rc != 0)
		return rc == -EINVAL ? -EPROTO : rc;
	c->state = PRAAS_SHM_OPEN;
	c->port->handshaking--;
	return 0;
}

/* ---- receiving ---------------------------------------------------------------------------- */

/* A handshake frame: copied into memory of its own, checked there. */
static int on_frame(struct praas_shm_conn *c, const uint8_t *data, size_t bytes)
{
	uint64_t max =
		c->server ? c->port->config.handshake_bytes_max : PRAAS_SHM_WELCOME_MAX;
	struct praas_frame head;
	struct praas_buf *buf;
	uint64_t meta;
	int rc;

	if (bytes < PRAAS_FRAME_BYTES)
		return -EPROTO;
	rc = praas_frame_decode(data, max, &head);
	if (rc != 0)
		return rc;
	meta = praas_frame_meta_bytes(&head);
	if (bytes != PRAAS_FRAME_BYTES + meta + head.bytes)
		return -EPROTO;
	rc = praas_shm_alloc_heap(c, head.bytes, &buf);
	if (rc != 0)
		return rc;
	buf->head = head;
	buf->head.source = 0;
	data += PRAAS_FRAME_BYTES;
	if (head.flags & PRAAS_FRAME_TRACE)
		memcpy(buf->trace, data, PRAAS_TRACE_BYTES);
	memcpy(buf->key,
	       data + ((head.flags & PRAAS_FRAME_TRACE) ? PRAAS_TRACE_BYTES : 0),
	       head.key_bytes);
	buf->key[head.key_bytes] = '\0';
	memcpy(buf->data, data + meta, head.bytes);
	if (!c->server)
		c->epoch = head.epoch;
	c->received++;
	c->port->base.frames_in++;
	c->port->base.bytes_in += head.bytes;
	c->base.events->frame(c->base.user, &c->base, buf);
	return 0;
}

/* Messages that go from client to server. */
static int on_client_msg(struct praas_shm_conn *c, const struct praas_shm_msg *msg)
{
	switch (msg->kind) {
	case PRAAS_SHM_WANT:
		return praas_shm_on_want(c, msg);
	case PRAAS_SHM_DROP:
		return praas_shm_on_drop(c, msg);
	case PRAAS_SHM_FREED:
		return praas_shm_on_freed(c, msg);
	default:
		return -EPROTO;
	}
}

static int on_server_msg(struct praas_shm_conn *c, const struct praas_shm_msg *msg,
			 struct praas_shm_datagram *d)
{
	switch (msg->kind) {
	case PRAAS_SHM_SEGMENT:
		return praas_shm_on_segment(c, msg, d);
	case PRAAS_SHM_DROP:
		return praas_shm_on_drop(c, msg);
	case PRAAS_SHM_GRANT:
		return praas_shm_on_grant(c, msg, d);
	case PRAAS_SHM_REVOKE:
		return praas_shm_on_revoke(c, msg, false);
	case PRAAS_SHM_GONE:
		return praas_shm_on_revoke(c, msg, true);
	default:
		return -EPROTO;
	}
}

static int on_msg(struct praas_shm_conn *c, struct praas_shm_datagram *d)
{
	const uint8_t *data = d->data;
	struct praas_shm_msg msg;
	int rc;

	memcpy(&msg, data, sizeof(msg));
	if (msg.kind == PRAAS_SHM_SWITCH) {
		rc = on_switch(c, &msg, d);
		return rc ? rc
			  : on_frame(c, data + sizeof(msg), d->bytes - sizeof(msg));
	}
	if (d->bytes != sizeof(msg))
		return -EPROTO;
	if (msg.kind == PRAAS_SHM_BYE) {
		c->bye = true;
		return 0;
	}
	if (c->state != PRAAS_SHM_OPEN)
		return -EPROTO;
	return c->server ? on_client_msg(c, &msg) : on_server_msg(c, &msg, d);
}

static int on_datagram(struct praas_shm_conn *c, struct praas_shm_datagram *d)
{
	uint32_t magic = 0;

	if (c->server && d->fds_count != 0)
		return -EPROTO; /* nothing that a client offers is ever mapped */
	if (d->bytes == sizeof(uint64_t) && c->state == PRAAS_SHM_OPEN)
		return 0; /* a wake */
	if (d->bytes < PRAAS_FRAME_BYTES)
		return -EPROTO;
	memcpy(&magic, d->data, sizeof(magic));
	if (magic == PRAAS_SHM_MSG_MAGIC && d->bytes >= sizeof(struct praas_shm_msg))
		return on_msg(c, d);
	if (c->state != PRAAS_SHM_HANDSHAKE)
		return -EPROTO;
	return on_frame(c, d->data, d->bytes);
}

unsigned praas_shm_socket_poll(struct praas_shm_conn *c)
{
	unsigned done = 0;

	/* Bounded: a client that floods its socket gets no more than its share of a turn. */
	while (done < (c->server ? PRAAS_SHM_BURST : PRAAS_SHM_BURST_CLIENT) &&
	       c->state != PRAAS_SHM_ENDED && !c->failing && !c->eof) {
		struct praas_shm_datagram d = { .data = c->port->datagram,
						.capacity = PRAAS_SHM_WELCOME_MAX };
		int rc = praas_shm_sock_recv(c->source.fd, &d);

		if (rc == -EAGAIN)
			break;
		done++;
		if (rc == 0) {
			rc = on_datagram(c, &d);
			praas_shm_datagram_close_fds(&d);
		}
		if (rc == -ESHUTDOWN) {
			c->eof = true;
			c->error = c->bye ? 0 : -ECONNRESET;
			/* Frames in the ring are still the upper layer's. */
			if (c->state != PRAAS_SHM_OPEN)
				praas_shm_conn_fail(c, c->error);
		} else if (rc != 0) {
			praas_shm_conn_fail(c, rc);
		}
	}
	return done;
}
