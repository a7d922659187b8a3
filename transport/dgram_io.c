/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/dgram_port.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

/*
 * Packets in and out. A packet is opened where the device has put it, and what it carries is copied
 * from there to where it will be read: only then is it known to be genuine, so that nobody on the
 * wire can write into a frame. On the way out the frame is copied into the device's memory and
 * sealed there.
 */

#define HALF_NS UINT64_C(3000000000)     /* for the first sealed packet */
#define HALF_OLD_NS UINT64_C(1000000000) /* after it a new one may take the place */
#define EMIT_MAX 64u                     /* packets of one connection in one turn */

static uint32_t room_bytes(const struct praas_dgram_port *port)
{
	return port->dev->mtu + PRAAS_INET_ETHER_BYTES -
	       praas_inet_udp_bytes(port->dev->self.ip.v6);
}

bool praas_dgram_say(struct praas_dgram_port *port, const struct praas_inet_to *to,
		     const uint8_t *data, uint32_t bytes)
{
	uint32_t heads = praas_inet_udp_bytes(port->dev->self.ip.v6);
	uint8_t *frame = port->dev->ops->room(port->dev);
	struct praas_inet_to whole = *to;

	if (frame == NULL)
		return false;
	whole.sum = true;
	memcpy(frame + heads, data, bytes);
	praas_inet_udp_build(&port->dev->self, &whole, frame, bytes);
	port->dev->ops->submit(port->dev, heads + bytes);
	return true;
}

void praas_dgram_ask(struct praas_dgram_conn *conn)
{
	struct praas_netdev *dev = praas_dgram_port_of(conn)->dev;
	uint8_t *frame = dev->ops->room(dev);

	if (frame)
		dev->ops->submit(dev,
				 praas_inet_ask_build(&dev->self, &conn->hop, frame));
}

/* Seals what was put behind the headers. 0; -EIO. */
static int finish_packet(struct praas_dgram_conn *conn, uint8_t *data, uint64_t number,
			 uint32_t bytes)
{
	struct praas_dgram_head head = {
		.kind = PRAAS_DGRAM_DATA,
		.connection = conn->accepted ? conn->open.client : conn->open.server,
		.number = number,
	};
	struct praas_seal_packet packet = {
		.number = number,
		.head = data,
		.head_bytes = PRAAS_DGRAM_HEAD_BYTES,
		.data = data + PRAAS_DGRAM_HEAD_BYTES,
		.bytes = bytes,
		.tag = data + PRAAS_DGRAM_HEAD_BYTES + bytes,
	};

	praas_dgram_head_encode(&head, data);
	return praas_seal_close(conn->seal_out, &packet);
}

void praas_dgram_emit(struct praas_dgram_conn *conn)
{
	struct praas_dgram_port *port = praas_dgram_port_of(conn);
	struct praas_netdev *dev = port->dev;
	uint32_t heads = praas_inet_udp_bytes(dev->self.ip.v6);
	uint32_t room =
		room_bytes(port) - PRAAS_DGRAM_HEAD_BYTES - PRAAS_SEAL_TAG_BYTES;

	for (unsigned i = 0; i < EMIT_MAX; i++) {
		uint8_t *frame = dev->ops->room(dev), *data;
		uint64_t number;
		uint32_t bytes;

		if (praas_unlikely(frame == NULL))
			break;
		data = frame + heads;
		bytes = praas_arq_emit(conn->arq, port->now_ns,
				       data + PRAAS_DGRAM_HEAD_BYTES, room, &number);
		if (bytes == 0)
			return;
		if (praas_unlikely(finish_packet(conn, data, number, bytes) != 0)) {
			conn->end_rc = -EIO;
			break;
		}
		bytes += PRAAS_DGRAM_HEAD_BYTES + PRAAS_SEAL_TAG_BYTES;
		praas_inet_udp_build(&dev->self, &conn->to, frame, bytes);
		dev->ops->submit(dev, heads + bytes);
	}
	praas_conn_activate(&conn->base); /* goes on in the next turn */
}

/* ---- What comes ---- */

/* Whom a packet answers. */
static struct praas_inet_to back_to(const struct praas_inet_packet *p)
{
	struct praas_inet_to to = { .ip = p->from_ip,
				    .from_port = p->to_port,
				    .to_port = p->from_port };

	memcpy(to.mac, p->from_mac, PRAAS_INET_MAC_BYTES);
	return to;
}

static PRAAS_COLD void refuse(struct praas_dgram_port *port,
			      const struct praas_inet_packet *p,
			      const struct praas_dgram_open *open,
			      enum praas_dgram_reason reason)
{
	struct praas_inet_to to = back_to(p);
	uint8_t data[PRAAS_DGRAM_REFUSE_BYTES];

	port->stats.refused++;
	praas_dgram_refuse_encode(open, reason, data);
	(void)praas_dgram_say(port, &to, data, sizeof(data)); /* it asks again */
}

static struct praas_dgram_conn *by_number(struct praas_dgram_port *port,
					  uint64_t number)
{
	uint64_t index = number & 0xffff;
	struct praas_dgram_conn *conn = &port->conn[index];
	uint64_t ours;

	if (index >= port->slots || conn->state == PRAAS_DGRAM_FREE)
		return NULL;
	ours = conn->accepted ? conn->open.server : conn->open.client;
	return ours == number ? conn : NULL;
}

static bool is_from(const struct praas_dgram_conn *conn,
		    const struct praas_inet_packet *p)
{
	return conn->to.to_port == p->from_port &&
	       praas_inet_ip_equal(&conn->to.ip, &p->from_ip);
}

/* The connection that this OPEN has opened before; NULL. */
static struct praas_dgram_conn *find_opened(struct praas_dgram_port *port,
					    const struct praas_dgram_open *open)
{
	for (uint32_t i = 0; i < port->slots; i++) {
		struct praas_dgram_conn *conn = &port->conn[i];

		if (conn->state != PRAAS_DGRAM_FREE && conn->accepted &&
		    memcmp(conn->open.client_nonce, open->client_nonce,
			   PRAAS_DGRAM_NONCE_BYTES) == 0)
			return conn;
	}
	return NULL;
}

/* One half open for long, or over, gives its place to a new one. */
static void make_place(struct praas_dgram_port *port)
{
	for (uint32_t i = 0; i < port->slots; i++) {
		struct praas_dgram_conn *conn = &port->conn[i];

		if (conn->state == PRAAS_DGRAM_ENDING ||
		    (conn->state == PRAAS_DGRAM_HALF &&
		     conn->deadline_ns - HALF_NS + HALF_OLD_NS < port->now_ns)) {
			praas_dgram_destroy(conn);
			if (conn->state == PRAAS_DGRAM_FREE)
				return;
		}
	}
}

static void say_accept(struct praas_dgram_conn *conn)
{
	uint8_t data[PRAAS_DGRAM_ACCEPT_BYTES];

	if (praas_dgram_accept_encode(&conn->open, data) == 0)
		(void)praas_dgram_say(praas_dgram_port_of(conn), &conn->to, data,
				      sizeof(data)); /* it asks again */
}

static void accept_open(struct praas_dgram_port *port,
			const struct praas_inet_packet *p,
			struct praas_dgram_open *open)
{
	const struct praas_inet_ip *hop;
	struct praas_dgram_conn *conn = NULL;

	if (port->unauthenticated >= port->config.unauthenticated_max ||
	    port->free_slots == NULL)
		make_place(port);
	if (port->unauthenticated < port->config.unauthenticated_max)
		conn = praas_dgram_slot_take(port);
	if (conn == NULL) {
		refuse(port, p, open, PRAAS_DGRAM_LIMIT);
		return;
	}
	open->server = conn->open.server;
	conn->open = *open;
	conn->accepted = true;
	conn->state = PRAAS_DGRAM_HALF;
	port->unauthenticated++;
	conn->deadline_ns = port->now_ns + HALF_NS;
	conn->to = back_to(p);
	conn->mac_known = true;
	hop = praas_inet_next_hop(&port->dev->self, &p->from_ip);
	if (hop)
		conn->hop = *hop;
	conn->open.segment_bytes =
		(uint32_t)praas_min_u64(open->segment_bytes, port->segment_bytes);
	if (!port->clear)
		conn->open.flags = 0;
	praas_conn_set_events(&conn->base, port->config.accept_events,
			      port->config.accept_user);
	if (getrandom(conn->open.server_nonce, PRAAS_DGRAM_NONCE_BYTES, 0) !=
		    PRAAS_DGRAM_NONCE_BYTES ||
	    praas_dgram_begin(conn) != 0) {
		praas_dgram_destroy(conn);
		refuse(port, p, open, PRAAS_DGRAM_LIMIT);
		return;
	}
	say_accept(conn);
	praas_conn_activate(&conn->base);
}

static void on_open(struct praas_dgram_port *port, const struct praas_inet_packet *p,
		    const uint8_t *data)
{
	struct praas_dgram_conn *conn;
	struct praas_dgram_open open;
	int rc;

	if (praas_dgram_open_decode(data, p->bytes, &open) != 0)
		return;
	if (!port->listens || p->to_port != port->number) {
		refuse(port, p, &open, PRAAS_DGRAM_NOBODY);
		return;
	}
	rc = port->config.accept_key(port->config.accept_user, open.ticket,
				     open.session_key);
	if (rc == 0)
		rc = praas_dgram_open_check(&open, data);
	if (rc != 0) {
		port->stats.forged++;
		refuse(port, p, &open, PRAAS_DGRAM_TICKET);
		return;
	}
	conn = find_opened(port, &open);
	if (conn == NULL) {
		accept_open(port, p, &open);
	} else if (conn->state == PRAAS_DGRAM_HALF) {
		conn->to = back_to(p); /* the first was lost, or spoiled */
		say_accept(conn);
	}
}

static void on_accept(struct praas_dgram_conn *conn, const struct praas_inet_packet *p,
		      const uint8_t *data)
{
	int rc;

	if (conn->state != PRAAS_DGRAM_OPENING || !conn->begun)
		return; /* once more, or too late */
	rc = praas_dgram_accept_decode(data, p->bytes, &conn->open);
	if (rc == -EACCES) {
		praas_dgram_port_of(conn)->stats.forged++;
		return;
	}
	if (rc == 0)
		rc = praas_dgram_begin(conn);
	if (rc != 0) {
		conn->end_rc = rc;
	} else {
		memcpy(conn->to.mac, p->from_mac, PRAAS_INET_MAC_BYTES);
		conn->state = PRAAS_DGRAM_OPENED;
		conn->opened_due = true;
		praas_arq_ping(conn->arq); /* tells the server that we have heard it */
	}
	praas_conn_activate(&conn->base);
}

static void on_refuse(struct praas_dgram_conn *conn, const struct praas_inet_packet *p,
		      const uint8_t *data)
{
	int rc;

	if (conn->state != PRAAS_DGRAM_OPENING || !conn->begun)
		return;
	rc = praas_dgram_refuse_decode(data, p->bytes, &conn->open);
	if (rc == -EPROTO)
		return;
	conn->end_rc = rc;
	praas_conn_activate(&conn->base);
}

static void on_data(struct praas_dgram_conn *conn, const struct praas_inet_packet *p,
		    uint8_t *data, uint64_t number)
{
	struct praas_dgram_port *port = praas_dgram_port_of(conn);
	struct praas_seal_packet packet = {
		.number = number,
		.head = data,
		.head_bytes = PRAAS_DGRAM_HEAD_BYTES,
		.bytes = p->bytes - PRAAS_DGRAM_HEAD_BYTES - PRAAS_SEAL_TAG_BYTES,
	};
	struct praas_arq_packet in = { .number = number, .bytes = packet.bytes };
	int rc;

	if (conn->arq == NULL)
		return;
	packet.data = data + PRAAS_DGRAM_HEAD_BYTES;
	packet.tag = packet.data + packet.bytes;
	in.data = packet.data;
	if (!praas_arq_is_fresh(conn->arq, number)) {
		port->stats.replayed++;
		return;
	}
	if (praas_seal_open(conn->seal_in, &packet) != 0) {
		port->stats.forged++;
		return;
	}
	praas_arq_limit(conn->arq, conn->base.bytes_max);
	rc = praas_arq_input(conn->arq, &in, port->now_ns);
	if (conn->state == PRAAS_DGRAM_HALF) {
		conn->state = PRAAS_DGRAM_OPENED;
		conn->opened_due = true;
	}
	if (praas_unlikely(rc != 0 && rc != -ENOBUFS &&
			   conn->end_rc == PRAAS_DGRAM_GOING)) {
		port->base.protocol_errors++;
		conn->end_rc = rc;
	}
	praas_conn_activate(&conn->base);
}

static void on_datagram(struct praas_dgram_port *port,
			const struct praas_inet_packet *p, uint8_t *frame)
{
	uint8_t *data = frame + p->at;
	struct praas_dgram_conn *conn;
	struct praas_dgram_head head;

	if (praas_dgram_head_decode(data, p->bytes, &head) != 0)
		return;
	/* Spoiled on its way is no reason to refuse anybody. */
	if (head.kind != PRAAS_DGRAM_DATA && !praas_inet_udp_is_whole(frame, p))
		return;
	if (head.kind == PRAAS_DGRAM_OPEN) {
		on_open(port, p, data);
		return;
	}
	conn = by_number(port, head.connection);
	if (conn == NULL || p->to_port != port->number || !is_from(conn, p)) {
		port->stats.unknown++;
		return;
	}
	if (head.kind == PRAAS_DGRAM_ACCEPT)
		on_accept(conn, p, data);
	else if (head.kind == PRAAS_DGRAM_REFUSE)
		on_refuse(conn, p, data);
	else if (p->bytes >= PRAAS_DGRAM_HEAD_BYTES + PRAAS_SEAL_TAG_BYTES)
		on_data(conn, p, data, head.number);
}

static void on_told(struct praas_dgram_port *port, const struct praas_inet_packet *p)
{
	for (uint32_t i = 0; i < port->slots; i++) {
		struct praas_dgram_conn *conn = &port->conn[i];

		if (conn->state == PRAAS_DGRAM_FREE ||
		    !praas_inet_ip_equal(&conn->hop, &p->from_ip))
			continue;
		memcpy(conn->to.mac, p->from_mac, PRAAS_INET_MAC_BYTES);
		if (conn->mac_known)
			continue;
		conn->mac_known = true;
		conn->retry_ns = 0;
		conn->tries = 0;
		praas_conn_activate(&conn->base);
	}
}

static void on_asked(struct praas_dgram_port *port, const struct praas_inet_packet *p)
{
	uint8_t *frame = port->dev->ops->room(port->dev);

	if (frame)
		port->dev->ops->submit(
			port->dev, praas_inet_answer_build(&port->dev->self, p, frame));
}

unsigned praas_dgram_receive(struct praas_dgram_port *port)
{
	struct praas_netdev_frame frames[PRAAS_NETDEV_BURST] PRAAS_UNINITIALIZED;
	unsigned count = port->dev->ops->receive(port->dev, frames);

	if (count > 0)
		port->now_ns = praas_now_ns();
	for (unsigned i = 0; i < count; i++) {
		struct praas_inet_packet p;

		praas_inet_parse(&port->dev->self, frames[i].data, frames[i].bytes, &p);
		if (praas_likely(p.kind == PRAAS_INET_UDP))
			on_datagram(port, &p, frames[i].data);
		else if (p.kind == PRAAS_INET_ASKS)
			on_asked(port, &p);
		else if (p.kind == PRAAS_INET_TELLS)
			on_told(port, &p);
	}
	if (count > 0)
		port->dev->ops->recycle(port->dev, frames, count);
	return count;
}

/* ---- What goes ---- */

int praas_dgram_alloc(struct praas_conn *conn, uint64_t bytes,
		      struct praas_buf **ret_buf)
{
	const struct praas_memory *memory =
		praas_dgram_port_of(praas_dgram_conn_of(conn))->config.memory;
	int rc = memory->alloc(memory->user, bytes, ret_buf);

	if (rc == 0)
		memset(&(*ret_buf)->head, 0, sizeof((*ret_buf)->head));
	return rc;
}

int praas_dgram_send(struct praas_conn *base, struct praas_buf *buf)
{
	struct praas_dgram_conn *conn = praas_dgram_conn_of(base);
	struct praas_dgram_port *port = praas_dgram_port_of(conn);
	uint64_t queued;

	if (praas_unlikely(conn->state != PRAAS_DGRAM_OPENED ||
			   conn->end_rc != PRAAS_DGRAM_GOING))
		return -ENOTCONN;
	/* As many segments as their index can count. */
	if (praas_unlikely(buf->head.bytes >
			   (uint64_t)UINT32_MAX * PRAAS_ARQ_SEGMENT_MIN))
		return -EMSGSIZE;
	queued = praas_arq_queued(conn->arq);
	if (praas_unlikely(praas_send_full(queued > 0, queued, buf->head.bytes,
					   port->config.send_queue_max)))
		return -EAGAIN;
	praas_frame_leaves(&buf->head, ++base->sends);
	if (buf->head.kind == PRAAS_FRAME_WELCOME && conn->accepted &&
	    !conn->authenticated) {
		conn->authenticated = true;
		port->unauthenticated--;
	}
	praas_arq_push(conn->arq, buf, praas_now_ns());
	praas_conn_activate(&conn->base);
	return 0;
}
