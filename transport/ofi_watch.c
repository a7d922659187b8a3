/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/ofi_port.h"

#include <errno.h>

/*
 * What takes too long. The fabric tells nobody that a peer is gone, so who hears nothing for half
 * the stall timeout asks (PING), and gives up when the provider cannot even send that, or after
 * long silence. Who accepted is patient: a client makes progress only when its thread calls us.
 */

#define CONNECT_NS UINT64_C(5000000000)
#define LINGER_NS UINT64_C(1000000000)
#define LOOK_MAX_NS UINT64_C(250000000)
#define BLOCKED_NS UINT64_C(1000000)
#define PROGRESS_BYTES 65536u /* within the stall timeout, or it has stalled */
#define SILENCE 2u            /* stall timeouts of it end a connection that we made, */
#define SILENCE_ACCEPTED 60u  /* … or accepted */
#define NEVER UINT64_MAX

/* Has value not grown by step for timeout_ns? */
static bool stuck(struct praas_ofi_mark *mark, uint64_t value, uint64_t step,
		  uint64_t now_ns, uint64_t timeout_ns)
{
	if (mark->since_ns == 0 || value - mark->value >= step) {
		mark->value = value;
		mark->since_ns = now_ns;
	}
	return now_ns - mark->since_ns >= timeout_ns;
}

/* A frame has begun and its end has not come. Waiting for memory of ours is not the peer's fault. */
static bool receiving(const struct praas_ofi_conn *conn)
{
	return !conn->starved && (conn->big != NULL || conn->window_used > 0);
}

static bool sending(const struct praas_ofi_conn *conn)
{
	return conn->unsent.first != NULL || conn->offers != NULL;
}

static bool stalled(struct praas_ofi_conn *conn, uint64_t now_ns, uint64_t timeout_ns)
{
	uint64_t in = conn->received + conn->fetched + conn->frames * PROGRESS_BYTES;
	uint64_t out = conn->acked * PRAAS_OFI_PACKET_BYTES + conn->read;

	if (!receiving(conn))
		conn->in.since_ns = 0;
	if (!sending(conn))
		conn->out.since_ns = 0;
	return stuck(&conn->in, in, PROGRESS_BYTES, now_ns, timeout_ns) ||
	       stuck(&conn->out, out, PROGRESS_BYTES, now_ns, timeout_ns);
}

/* Is the peer still there? */
static bool silent(struct praas_ofi_conn *conn, uint64_t now_ns, uint64_t timeout_ns)
{
	uint64_t limit_ns = timeout_ns * (conn->accepted ? SILENCE_ACCEPTED : SILENCE);
	uint64_t quiet_ns;
	bool over = stuck(&conn->life, conn->heard, 1, now_ns, limit_ns);

	quiet_ns = now_ns - conn->life.since_ns;
	/* The provider has not taken the PING. */
	if (over || ((conn->wants & PRAAS_OFI_WANT_PING) != 0 &&
		     quiet_ns >= timeout_ns + timeout_ns / 2))
		return true;
	if (quiet_ns >= timeout_ns / 2 && now_ns - conn->pinged_ns >= timeout_ns / 2) {
		conn->pinged_ns = now_ns;
		conn->wants |= PRAAS_OFI_WANT_PING;
		praas_conn_activate(&conn->base);
	}
	return false;
}

static void look_open(struct praas_ofi_conn *conn, uint64_t now_ns, uint64_t timeout_ns)
{
	if (stalled(conn, now_ns, timeout_ns) || silent(conn, now_ns, timeout_ns)) {
		praas_ofi_fail(conn, -ETIMEDOUT);
		conn->overdue = true;
	}
	/* The peer sees that its memory is being read. */
	if (conn->fetched != conn->fetched_told) {
		conn->fetched_told = conn->fetched;
		conn->wants |= PRAAS_OFI_WANT_ACK;
		praas_conn_activate(&conn->base);
	}
}

static void look(struct praas_ofi_conn *conn, uint64_t now_ns, uint64_t timeout_ns)
{
	uint64_t age_ns = now_ns - conn->since_ns;

	switch ((enum praas_ofi_state)conn->state) {
	case PRAAS_OFI_CONNECTING:
		if (!conn->opened_due &&
		    age_ns >= praas_min_u64(timeout_ns, CONNECT_NS))
			praas_ofi_fail(conn, (conn->wants & PRAAS_OFI_WANT_CONNECT)
						     ? -ECONNREFUSED
						     : -ETIMEDOUT);
		break;
	case PRAAS_OFI_OPEN:
		if (!conn->opened_due)
			look_open(conn, now_ns, timeout_ns);
		break;
	case PRAAS_OFI_FLUSHING:
		if (stalled(conn, now_ns, timeout_ns))
			praas_ofi_fail(conn, -ETIMEDOUT);
		break;
	case PRAAS_OFI_LINGERING:
		if (age_ns >= praas_min_u64(timeout_ns, LINGER_NS))
			praas_ofi_fail(conn, -ETIMEDOUT);
		break;
	case PRAAS_OFI_DEAD:
		if (age_ns >= praas_min_u64(timeout_ns, CONNECT_NS))
			conn->awaits_accept = false;
		if (age_ns >= timeout_ns)
			conn->wants = 0; /* the provider does not reach it */
		break;
	case PRAAS_OFI_FREE:
		break;
	}
}

void praas_ofi_watch(struct praas_ofi_port *port)
{
	uint64_t timeout_ns = port->config.stall_timeout_ns;

	if (port->now_ns - port->looked_ns < praas_min_u64(timeout_ns / 8, LOOK_MAX_NS))
		return;
	port->looked_ns = port->now_ns;
	for (uint32_t i = 0; i < port->slots; i++)
		look(&port->conn[i], port->now_ns, timeout_ns);
}

uint64_t praas_ofi_due_ns(const struct praas_ofi_port *port)
{
	uint64_t due_ns = NEVER;

	if (port->base.active_first != NULL || port->unposted != NULL)
		return BLOCKED_NS; /* the provider, or memory, is asked again */
	if (port->used > 0)
		due_ns = praas_max_u64(
			1,
			praas_min_u64(port->config.stall_timeout_ns / 8, LOOK_MAX_NS));
	return due_ns;
}
