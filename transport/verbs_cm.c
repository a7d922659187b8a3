/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/verbs_port.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "transport/handshake.h"
#include "transport/tcp_addr.h"

/*
 * The connection manager. Its events are copied and acknowledged before they are acted on: an id
 * cannot be destroyed while one of its events is out.
 */

#define BACKLOG 128
#define RESOLVE_MS 2000
#define RETRIES 7 /* the most that can be said; of missing receives: for ever */

int praas_verbs_listen(struct praas_verbs_port *port, const char *text)
{
	union praas_tcp_addr addr;
	socklen_t bytes;
	int rc = praas_tcp_addr_parse("verbs", text, &addr, &bytes);

	if (rc != 0)
		return rc;
	if (rdma_create_id(port->cm, &port->listener, NULL, RDMA_PS_TCP) != 0)
		return -errno;
	if (rdma_bind_addr(port->listener, &addr.any) != 0 ||
	    rdma_listen(port->listener, BACKLOG) != 0) {
		rc = -errno;
		(void)rdma_destroy_id(port->listener); /* was never used */
		port->listener = NULL;
	}
	return rc;
}

static struct praas_verbs_greeting greeting_of(const struct praas_verbs_conn *conn,
					       bool bulk)
{
	struct praas_verbs_greeting g = { .bulk = bulk,
					  .slots = conn->slots,
					  .slot_bytes = PRAAS_VERBS_MESSAGE_MAX,
					  .piece_bytes = PRAAS_VERBS_PIECE_BYTES };

	memcpy(g.token, conn->token, sizeof(g.token));
	return g;
}

/* wire is borrowed by the parameters. */
static struct rdma_conn_param param_of(const struct praas_verbs_conn *conn, bool bulk,
				       uint8_t wire[PRAAS_VERBS_GREETING_BYTES])
{
	struct praas_verbs_greeting g = greeting_of(conn, bulk);

	praas_verbs_greeting_encode(&g, wire);
	return (struct rdma_conn_param){ .private_data = wire,
					 .private_data_len = PRAAS_VERBS_GREETING_BYTES,
					 .responder_resources = 1,
					 .initiator_depth = 1,
					 .retry_count = RETRIES,
					 .rnr_retry_count = RETRIES };
}

/* ---- connecting ---- */

static int resolve(struct praas_verbs_conn *conn, struct rdma_cm_id **id)
{
	struct praas_verbs_port *port = praas_verbs_port_of(conn);

	if (rdma_create_id(port->cm, id, conn, RDMA_PS_TCP) != 0)
		return -errno;
	if (rdma_resolve_addr(*id, NULL, (struct sockaddr *)&conn->to, RESOLVE_MS) == 0)
		return 0;
	return -errno;
}

int praas_verbs_connect(struct praas_port *base, const char *addr,
			const struct praas_conn_events *events, void *user,
			struct praas_conn **ret_conn)
{
	struct praas_verbs_port *port = (struct praas_verbs_port *)(void *)base;
	union praas_tcp_addr to;
	struct praas_verbs_conn *conn;
	socklen_t bytes;
	int rc = praas_tcp_addr_parse("verbs", addr, &to, &bytes);

	if (rc != 0)
		return rc;
	rc = praas_verbs_conn_new(port, &conn);
	if (rc != 0)
		return rc;
	memcpy(&conn->to, &to, sizeof(to));
	praas_conn_set_events(&conn->base, events, user);
	rc = resolve(conn, &conn->id);
	if (rc != 0)
		praas_verbs_fail(conn, rc);
	*ret_conn = &conn->base;
	return 0;
}

void praas_verbs_bulk_connect(struct praas_verbs_conn *conn)
{
	int rc;

	if (conn->bulk_id)
		return;
	praas_verbs_pending(conn, 1);
	rc = resolve(conn, &conn->bulk_id);
	if (rc != 0)
		praas_verbs_fail(conn, rc);
}

/* The route is there, and with it the device. */
static int on_route(struct praas_verbs_conn *conn, struct rdma_cm_id *id)
{
	uint8_t wire[PRAAS_VERBS_GREETING_BYTES];
	bool bulk = id == conn->bulk_id;
	struct rdma_conn_param param = param_of(conn, bulk, wire);
	int rc = bulk ? praas_verbs_qp_new(conn, id, true)
		      : praas_verbs_conn_prepare(conn, id);

	if (rc != 0)
		return rc;
	return rdma_connect(id, &param) == 0 ? 0 : -errno;
}

static void open_bulk(struct praas_verbs_conn *conn)
{
	if (conn->bulk_open)
		return;
	conn->bulk_open = true;
	praas_verbs_pending(conn, -1);
	praas_conn_activate(&conn->base);
}

/* Accepted by both sides. */
static int on_established(struct praas_verbs_conn *conn, struct rdma_cm_id *id,
			  const struct rdma_conn_param *param)
{
	if (id == conn->bulk_id) {
		open_bulk(conn);
		return 0;
	}
	if (!conn->accepted) {
		if (praas_verbs_greeting_decode(param->private_data,
						param->private_data_len,
						&conn->peer) != 0)
			return -EPROTO;
		conn->peer_posted = conn->peer.slots;
		memcpy(conn->token, conn->peer.token, sizeof(conn->token));
	}
	conn->opened_due = true;
	praas_conn_activate(&conn->base);
	return 0;
}

/* ---- accepting ---- */

static PRAAS_COLD void refuse(struct rdma_cm_id *id, enum praas_close_reason why)
{
	struct praas_verbs_greeting g = { .slots = PRAAS_VERBS_SLOTS,
					  .slot_bytes = PRAAS_VERBS_MESSAGE_MAX,
					  .piece_bytes = PRAAS_VERBS_PIECE_BYTES,
					  .refused = why };
	uint8_t wire[PRAAS_VERBS_GREETING_BYTES];

	praas_verbs_greeting_encode(&g, wire);
	(void)rdma_reject(id, wire, sizeof(wire)); /* or it times out */
	(void)rdma_destroy_id(id);                 /* of no use any more */
}

static int accept_first(struct praas_verbs_port *port, struct rdma_cm_id *id,
			const struct praas_verbs_greeting *g)
{
	uint8_t wire[PRAAS_VERBS_GREETING_BYTES];
	struct praas_verbs_conn *conn;
	struct rdma_conn_param param;
	int rc;

	if (port->unauthenticated >= port->config.unauthenticated_max)
		return -ENOBUFS;
	rc = praas_verbs_conn_new(port, &conn);
	if (rc != 0)
		return rc;
	conn->accepted = true;
	port->unauthenticated++;
	conn->peer = *g;
	conn->peer_posted = g->slots;
	praas_conn_set_events(&conn->base, port->config.accept_events,
			      port->config.accept_user);
	rc = getrandom(conn->token, sizeof(conn->token), 0) == sizeof(conn->token)
		     ? praas_verbs_conn_prepare(conn, id)
		     : -EIO;
	if (rc == 0) {
		param = param_of(conn, false, wire);
		rc = rdma_accept(id, &param) == 0 ? 0 : -errno;
	}
	if (rc == 0) {
		id->context = conn;
		conn->id = id;
		return 0;
	}
	if (id->qp)
		rdma_destroy_qp(id);
	praas_verbs_destroy(conn);
	return rc;
}

/* The second queue pair of a connection that has proved itself. */
static int accept_bulk(struct praas_verbs_port *port, struct rdma_cm_id *id,
		       const struct praas_verbs_greeting *g)
{
	uint8_t wire[PRAAS_VERBS_GREETING_BYTES];
	struct praas_verbs_conn *conn = port->conns;
	struct rdma_conn_param param;
	int rc;

	while (conn && (!conn->authenticated || conn->state != PRAAS_VERBS_OPEN ||
			conn->bulk_id || conn->id->verbs != id->verbs ||
			memcmp(conn->token, g->token, sizeof(g->token)) != 0))
		conn = conn->next;
	if (!conn)
		return -EACCES;
	rc = praas_verbs_qp_new(conn, id, true);
	if (rc != 0)
		return rc;
	param = param_of(conn, true, wire);
	if (rdma_accept(id, &param) != 0) {
		rc = -errno;
		rdma_destroy_qp(id);
		return rc;
	}
	id->context = conn;
	conn->bulk_id = id;
	praas_verbs_pending(conn, 1);
	return 0;
}

static void on_request(struct praas_verbs_port *port, struct rdma_cm_id *id,
		       const struct rdma_conn_param *param)
{
	struct praas_verbs_greeting g;
	int rc = praas_verbs_greeting_decode(param->private_data,
					     param->private_data_len, &g);

	if (rc != 0)
		port->base.protocol_errors++;
	else if (g.bulk)
		rc = accept_bulk(port, id, &g);
	else
		rc = accept_first(port, id, &g);
	if (rc != 0)
		refuse(id,
		       rc == -ENOBUFS ? PRAAS_CLOSE_LIMIT : praas_close_reason_of(rc));
}

/* ---- events ---- */

static int refusal_of(int status, const struct rdma_conn_param *param)
{
	struct praas_verbs_greeting g;

	(void)status; /* a number of each kind of network */
	if (param->private_data_len > 0 &&
	    praas_verbs_greeting_decode(param->private_data, param->private_data_len,
					&g) == 0 &&
	    g.refused != 0)
		return praas_close_errno(g.refused);
	return -ECONNREFUSED;
}

/* event is a copy; param's private data too. */
static int on_event(struct praas_verbs_conn *conn, const struct rdma_cm_event *event)
{
	switch (event->event) {
	case RDMA_CM_EVENT_ADDR_RESOLVED:
		return rdma_resolve_route(event->id, RESOLVE_MS) == 0 ? 0 : -errno;
	case RDMA_CM_EVENT_ROUTE_RESOLVED:
		return on_route(conn, event->id);
	case RDMA_CM_EVENT_ESTABLISHED:
		return on_established(conn, event->id, &event->param.conn);
	case RDMA_CM_EVENT_REJECTED:
		return refusal_of(event->status, &event->param.conn);
	case RDMA_CM_EVENT_CONNECT_ERROR:
	case RDMA_CM_EVENT_UNREACHABLE:
		return event->status == -ECONNREFUSED ? -ECONNREFUSED : -EHOSTUNREACH;
	case RDMA_CM_EVENT_ADDR_ERROR:
	case RDMA_CM_EVENT_ROUTE_ERROR:
		return event->status == -ENODEV ? -ENODEV : -EHOSTUNREACH;
	case RDMA_CM_EVENT_DISCONNECTED:
		conn->disconnected = true;
		if (event->id->qp) /* what it still has comes back in error */
			(void)rdma_disconnect(event->id); /* or is so already */
		praas_conn_activate(&conn->base);
		return 0;
	case RDMA_CM_EVENT_DEVICE_REMOVAL:
		return -ENODEV;
	case RDMA_CM_EVENT_CONNECT_REQUEST:
	case RDMA_CM_EVENT_CONNECT_RESPONSE:
	case RDMA_CM_EVENT_MULTICAST_JOIN:
	case RDMA_CM_EVENT_MULTICAST_ERROR:
	case RDMA_CM_EVENT_ADDR_CHANGE:
	case RDMA_CM_EVENT_TIMEWAIT_EXIT:
	default:
		return 0;
	}
}

void praas_verbs_cm_poll(struct praas_verbs_port *port)
{
	struct rdma_cm_event *event;

	while (rdma_get_cm_event(port->cm, &event) == 0) {
		uint8_t data[PRAAS_VERBS_GREETING_BYTES];
		struct rdma_cm_event copy = *event;
		struct rdma_conn_param *param = &copy.param.conn;
		struct praas_verbs_conn *conn = copy.id->context;
		int rc = 0;

		param->private_data_len = (uint8_t)praas_min_u64(
			sizeof(data),
			param->private_data ? param->private_data_len : 0);
		memcpy(data, param->private_data ? param->private_data : "",
		       param->private_data_len);
		param->private_data = data;
		(void)rdma_ack_cm_event(event); /* it is ours */
		if (copy.event == RDMA_CM_EVENT_CONNECT_REQUEST)
			on_request(port, copy.id, param);
		else if (conn && conn->state != PRAAS_VERBS_DEAD)
			rc = on_event(conn, &copy);
		if (rc != 0)
			praas_verbs_fail(conn, rc);
	}
}
