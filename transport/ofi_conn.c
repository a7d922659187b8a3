/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/ofi_port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "transport/handshake.h"

/*
 * A connection's life. The fabric knows endpoints and no connections, so who may be heard is a matter
 * of *connection ids*: each side chooses one for each connection, with 48 random bits, and tells it
 * to its peer alone; a packet that names none of ours is dropped.
 *
 * Upcalls are made from poll() alone, so what happens elsewhere is noted in the connection, which
 * is put into the active list.
 */

/* ---- peers -------------------------------------------------------------------------------- */

static int peer_get(struct praas_ofi_port *port, const uint8_t *name, uint32_t bytes,
		    struct praas_ofi_peer **ret_peer)
{
	struct praas_ofi_peer *free_one = NULL;

	for (uint32_t i = 0; i < port->slots; i++) {
		struct praas_ofi_peer *peer = &port->peer[i];

		if (peer->refs == 0) {
			free_one = free_one ? free_one : peer;
		} else if (peer->bytes == bytes &&
			   memcmp(peer->name, name, bytes) == 0) {
			peer->refs++;
			*ret_peer = peer;
			return 0;
		}
	}
	praas_check(free_one != NULL); /* as many as connections */
	if (fi_av_insert(port->fabric.av, name, 1, &free_one->addr, 0, NULL) != 1)
		return -EHOSTUNREACH;
	memcpy(free_one->name, name, bytes);
	free_one->bytes = bytes;
	free_one->refs = 1;
	*ret_peer = free_one;
	return 0;
}

static void peer_put(struct praas_ofi_port *port, struct praas_ofi_peer *peer)
{
	if (peer == NULL || --peer->refs > 0)
		return;
	if (port->fabric.av != NULL)
		(void)fi_av_remove(port->fabric.av, &peer->addr, 1,
				   0); /* a leak in the provider at most */
}

/* ---- slots -------------------------------------------------------------------------------- */

static int work_make(struct praas_ofi_conn *conn)
{
	struct praas_ofi_port *port = praas_ofi_port_of(conn);
	struct praas_ofi_work *work = calloc(1, sizeof(*work));

	if (work == NULL)
		return -ENOMEM;
	if (port->fabric.local) {
		int rc = praas_ofi_register(&port->fabric, work->scratch,
					    sizeof(work->scratch), FI_SEND, &work->mr);
		if (rc != 0) {
			free(work);
			return rc;
		}
	}
	conn->work = work;
	return 0;
}

static void work_reset(struct praas_ofi_conn *conn)
{
	struct praas_ofi_work *work = conn->work;

	for (unsigned i = 0; i < PRAAS_OFI_SENDS; i++) {
		work->send[i] = (struct praas_ofi_send){
			.op = { .kind = PRAAS_OFI_OP_SEND },
			.conn = conn,
			.scratch = work->scratch[i],
			.next = conn->sends_free,
		};
		conn->sends_free = &work->send[i];
	}
	for (unsigned i = 0; i < PRAAS_OFI_FRAMES; i++) {
		work->frame[i] = (struct praas_ofi_frame){ .next = conn->frames_free };
		conn->frames_free = &work->frame[i];
	}
}

static int slot_take(struct praas_ofi_port *port, bool refusal, const uint8_t *name,
		     uint32_t bytes, struct praas_ofi_conn **ret_conn)
{
	struct praas_ofi_conn *conn = port->free_conns;
	struct praas_ofi_work *work;
	uint32_t index;
	uint64_t id;
	int rc = 0;

	if (conn == NULL || (!refusal && port->used >= port->config.conns_max))
		return -ENOBUFS;
	if (getrandom(&id, sizeof(id), 0) != sizeof(id))
		return -EIO;
	index = conn->index;
	work = conn->work;
	port->free_conns = conn->free_next;
	memset(conn, 0, sizeof(*conn));
	conn->index = index;
	conn->work = work;
	conn->id = (id & ~UINT64_C(0xffff)) | UINT64_C(1) << 63 | index;
	conn->end_rc = PRAAS_OFI_GOING;
	conn->rx_next = 1;
	conn->base.ops = port->base.ops;
	conn->base.port = &port->base;
	conn->base.bytes_max = port->config.handshake_bytes_max;
	if (work == NULL)
		rc = work_make(conn);
	if (rc == 0)
		rc = peer_get(port, name, bytes, &conn->peer);
	if (rc != 0) {
		conn->free_next = port->free_conns;
		port->free_conns = conn;
		return rc;
	}
	work_reset(conn);
	port->used++;
	*ret_conn = conn;
	return 0;
}

void praas_ofi_reap(struct praas_ofi_port *port)
{
	struct praas_ofi_conn *conn = port->dead, *next;

	port->dead = NULL;
	for (; conn != NULL; conn = next) {
		next = conn->free_next;
		if (conn->wants != 0 || conn->ops > 0 || conn->base.active ||
		    conn->awaits_accept) {
			conn->free_next = port->dead;
			port->dead = conn;
			continue;
		}
		praas_ofi_conn_drop(conn);
		conn->state = PRAAS_OFI_FREE;
		conn->free_next = port->free_conns;
		port->free_conns = conn;
		port->used--;
	}
}

void praas_ofi_conn_drop(struct praas_ofi_conn *conn)
{
	praas_ofi_frames_drop(conn);
	for (unsigned i = 0; i < PRAAS_OFI_FETCHES; i++) {
		conn->work->fetch[i].busy = 0;
		praas_ofi_fetch_drop(&conn->work->fetch[i]);
	}
	peer_put(praas_ofi_port_of(conn), conn->peer);
	conn->peer = NULL;
}

/* ---- the beginning ------------------------------------------------------------------------ */

int praas_ofi_connect(struct praas_port *base, const char *addr,
		      const struct praas_conn_events *events, void *user,
		      struct praas_conn **ret_conn)
{
	struct praas_ofi_port *port = (struct praas_ofi_port *)(void *)base;
	uint8_t name[PRAAS_OFI_NAME_MAX];
	struct praas_ofi_conn *conn;
	struct praas_ofi_addr to;
	uint32_t bytes;
	int rc = praas_ofi_addr_parse(addr, &to);

	if (rc == 0 && !port->opened)
		rc = praas_ofi_port_start(port, &to, false);
	if (rc == 0)
		rc = praas_ofi_fabric_resolve(&port->fabric, &to, name, &bytes);
	if (rc == 0)
		rc = slot_take(port, false, name, bytes, &conn);
	if (rc != 0)
		return rc;
	conn->state = PRAAS_OFI_CONNECTING;
	conn->wants = PRAAS_OFI_WANT_CONNECT;
	conn->since_ns = praas_now_ns();
	praas_conn_set_events(&conn->base, events, user);
	praas_conn_activate(&conn->base);
	*ret_conn = &conn->base;
	return 0;
}

/* Too many, or nobody listens here: the peer is told, if it can be. */
static PRAAS_COLD void refuse(struct praas_ofi_port *port,
			      const struct praas_ofi_packet *packet, uint32_t reason)
{
	struct praas_ofi_conn *conn;

	if (slot_take(port, true, packet->body, packet->body_bytes, &conn) != 0)
		return; /* it will time out there */
	conn->peer_id = packet->from;
	conn->reason = reason;
	conn->peer_gone = true;
	conn->quiet = true;
	praas_ofi_destroy(conn);
	conn->wants = PRAAS_OFI_WANT_REFUSE;
	praas_conn_activate(&conn->base);
}

void praas_ofi_on_connect(struct praas_ofi_port *port,
			  const struct praas_ofi_packet *packet)
{
	struct praas_ofi_conn *conn = NULL;

	if (port->stopping)
		return;
	if (!praas_ofi_name_fits(&port->fabric, packet->body, packet->body_bytes)) {
		port->base.protocol_errors++;
		return;
	}
	if (!port->listening) {
		refuse(port, packet, PRAAS_CLOSE_NONE);
		return;
	}
	if (port->unauthenticated >= port->config.unauthenticated_max ||
	    slot_take(port, false, packet->body, packet->body_bytes, &conn) != 0) {
		refuse(port, packet, PRAAS_CLOSE_LIMIT);
		return;
	}
	conn->state = PRAAS_OFI_OPEN;
	conn->peer_id = packet->from;
	conn->wants = PRAAS_OFI_WANT_ACCEPT;
	conn->accepted = true;
	conn->opened_due = true;
	port->unauthenticated++;
	praas_conn_set_events(&conn->base, port->config.accept_events,
			      port->config.accept_user);
	praas_conn_activate(&conn->base);
}

/* ---- the end ------------------------------------------------------------------------------ */

/* The first reason is the one that counts. */
PRAAS_COLD void praas_ofi_fail(struct praas_ofi_conn *conn, int rc)
{
	if (conn->end_rc != PRAAS_OFI_GOING || conn->state == PRAAS_OFI_DEAD)
		return;
	if (rc == -EPROTO || rc == -EMSGSIZE)
		conn->base.port->protocol_errors++;
	conn->end_rc = rc;
	praas_conn_activate(&conn->base);
}

/*
 * Memory that was offered may still be read. The offers are withdrawn, and the RESET that follows
 * leaves after whatever the provider has begun to send of them: when it has completed, their memory
 * is nobody's. So a RESET is sent for their sake even to a peer that has ended the connection.
 */
void praas_ofi_destroy(struct praas_ofi_conn *conn)
{
	struct praas_ofi_port *port = praas_ofi_port_of(conn);
	bool connecting = conn->state == PRAAS_OFI_CONNECTING ||
			  (!conn->accepted && conn->peer_id == 0);

	conn->quiet = true;
	conn->state = PRAAS_OFI_DEAD;
	conn->since_ns = praas_now_ns();
	praas_ofi_tell_sent(conn);
	praas_ofi_tell_queue(conn, -ECANCELED);
	praas_ofi_stop_receiving(conn);
	if (conn->accepted && !conn->authenticated)
		port->unauthenticated--;
	conn->awaits_accept = connecting && !conn->peer_gone &&
			      (conn->wants & PRAAS_OFI_WANT_CONNECT) == 0;
	conn->wants &= conn->peer_gone ? PRAAS_OFI_WANT_ACK : 0;
	if ((!connecting && !conn->peer_gone) || conn->offers != NULL)
		conn->wants |= PRAAS_OFI_WANT_RESET;
	praas_ofi_offers_withdraw(conn);
	if (conn->wants != 0)
		praas_conn_activate(&conn->base);
	conn->free_next = port->dead;
	port->dead = conn;
}

void praas_ofi_end(struct praas_ofi_conn *conn, int rc)
{
	bool connecting = conn->state == PRAAS_OFI_CONNECTING;

	praas_ofi_tell_sent(conn);
	if (conn->state != PRAAS_OFI_OPEN && conn->state != PRAAS_OFI_CONNECTING)
		return; /* a handler has closed it */
	/* Sends fail from here on, and a close() in a handler does nothing. */
	conn->state = PRAAS_OFI_FLUSHING;
	praas_ofi_tell_queue(conn, rc == 0 ? -ENOTCONN : rc);
	conn->base.events->closed(conn->base.user, &conn->base, rc);
	praas_conn_end(&conn->base);
	if (connecting)
		conn->state = PRAAS_OFI_CONNECTING;
	praas_ofi_destroy(conn);
}

void praas_ofi_close(struct praas_conn *base, bool after_flush)
{
	struct praas_ofi_conn *conn = praas_ofi_conn_of(base);
	bool connected = conn->state == PRAAS_OFI_OPEN && !conn->opened_due;
	bool connecting = conn->state == PRAAS_OFI_CONNECTING;

	if (conn->state != PRAAS_OFI_OPEN && !connecting)
		return;
	conn->state = PRAAS_OFI_FLUSHING; /* handlers below cannot send */
	praas_ofi_tell_sent(conn);
	if (after_flush && connected && conn->end_rc == PRAAS_OFI_GOING) {
		praas_ofi_tell_queue(conn, 0);
		conn->quiet = true;
		praas_ofi_stop_receiving(conn);
		praas_conn_activate(&conn->base);
		praas_conn_end(base);
		return;
	}
	praas_ofi_tell_queue(conn, -ECANCELED);
	praas_conn_end(base);
	if (connecting)
		conn->state = PRAAS_OFI_CONNECTING;
	praas_ofi_destroy(conn);
}
