/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/dgram_port.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "transport/mac.h"

/*
 * A connection's life. Upcalls are made from poll() alone, so what happens elsewhere is noted in
 * the connection, which is put into the active list.
 *
 * Whoever ends a connection stays for a while: to repeat that it is over until the peer has heard it,
 * or to acknowledge the peer's last packet again when the first acknowledgement was lost.
 */

#define OPEN_NS UINT64_C(5000000000) /* for an answer */
#define RETRY_NS UINT64_C(20000000)  /* until OPEN is sent again; doubled each time */
#define RETRY_MAX_NS UINT64_C(1000000000)
#define ASK_AGAIN 3u /* unanswered time-outs */
#define ENDING_NS UINT64_C(1000000000)

struct praas_dgram_conn *praas_dgram_slot_take(struct praas_dgram_port *port)
{
	struct praas_dgram_conn *conn = port->free_slots;
	uint64_t random;
	uint32_t index;

	if (conn == NULL || getrandom(&random, sizeof(random), 0) != sizeof(random))
		return NULL;
	port->free_slots = conn->free_next;
	port->used++;
	index = conn->index;
	memset(conn, 0, sizeof(*conn));
	conn->index = index;
	conn->end_rc = PRAAS_DGRAM_GOING;
	conn->base.ops = port->base.ops;
	conn->base.port = &port->base;
	conn->base.bytes_max = port->config.handshake_bytes_max;
	/* Nobody can guess it; its lower bits find the slot. */
	conn->open.client = (random | UINT64_C(1) << 63) << 16 | index;
	conn->open.server = conn->open.client;
	if (conn->open.client == 0)
		conn->open.client = UINT64_C(1) << 16;
	return conn;
}

int praas_dgram_begin(struct praas_dgram_conn *conn)
{
	struct praas_dgram_port *port = praas_dgram_port_of(conn);
	struct praas_arq_config config = {
		.memory = port->config.memory,
		.segment_bytes = conn->open.segment_bytes,
		.stall_ns = port->config.stall_timeout_ns,
	};
	int rc = praas_arq_new(&config, port->now_ns, &conn->arq);

	if (rc != 0)
		return rc;
	return praas_dgram_keys(&conn->open, conn->accepted, &conn->seal_out,
				&conn->seal_in);
}

static void add_stats(struct praas_arq_stats *sum, const struct praas_arq_stats *s)
{
	sum->packets_out += s->packets_out;
	sum->packets_in += s->packets_in;
	sum->segments_out += s->segments_out;
	sum->segments_again += s->segments_again;
	sum->segments_twice += s->segments_twice;
	sum->losses += s->losses;
	sum->spurious += s->spurious;
	sum->probes += s->probes;
	sum->congestions += s->congestions;
	sum->no_memory += s->no_memory;
}

const struct praas_arq_stats *praas_dgram_conn_stats(const struct praas_conn *base)
{
	const struct praas_dgram_conn *conn =
		(const struct praas_dgram_conn *)(const void *)base;

	return conn->arq ? praas_arq_stats(conn->arq) : NULL;
}

void praas_dgram_destroy(struct praas_dgram_conn *conn)
{
	struct praas_dgram_port *port = praas_dgram_port_of(conn);

	if (conn->accepted && !conn->authenticated)
		port->unauthenticated--;
	conn->accepted = false;
	if (conn->arq)
		add_stats(&port->stats.arq, praas_arq_stats(conn->arq));
	praas_arq_free(conn->arq);
	praas_seal_free(conn->seal_out);
	praas_seal_free(conn->seal_in);
	praas_mac_wipe(&conn->open, sizeof(conn->open));
	conn->arq = NULL;
	conn->seal_out = NULL;
	conn->seal_in = NULL;
	conn->due_ns = UINT64_MAX;
	if (conn->base.active) { /* its place in the list is still needed */
		conn->state = PRAAS_DGRAM_ENDING;
		return;
	}
	conn->state = PRAAS_DGRAM_FREE;
	conn->free_next = port->free_slots;
	port->free_slots = conn;
	port->used--;
}

int praas_dgram_connect(struct praas_port *base, const char *addr,
			const struct praas_conn_events *events, void *user,
			struct praas_conn **ret_conn)
{
	struct praas_dgram_port *port = (struct praas_dgram_port *)(void *)base;
	const struct praas_inet_ip *hop;
	struct praas_dgram_conn *conn;
	struct praas_inet_to to = { .from_port = port->number };
	int rc = praas_dgram_addr_parse(base->ops->scheme, addr, &to.ip, &to.to_port);

	if (rc != 0)
		return rc;
	hop = praas_inet_next_hop(&port->dev->self, &to.ip);
	if (hop == NULL)
		return -ENETUNREACH;
	conn = praas_dgram_slot_take(port);
	if (conn == NULL)
		return -ENOBUFS;
	conn->state = PRAAS_DGRAM_OPENING;
	conn->to = to;
	conn->hop = *hop;
	praas_conn_set_events(&conn->base, events, user);
	praas_conn_activate(&conn->base);
	*ret_conn = &conn->base;
	return 0;
}

/* ---- What the layer above hears ---- */

/* The handshake's frames are nobody's but the session's. */
static void tell(struct praas_dgram_conn *conn, struct praas_buf *buf, int rc)
{
	if (conn->state != PRAAS_DGRAM_FLUSHING && buf->head.kind > PRAAS_FRAME_WELCOME)
		conn->base.events->sent(conn->base.user, &conn->base, buf, rc);
}

static void tell_done(struct praas_dgram_conn *conn)
{
	struct praas_buf *buf;

	while ((buf = praas_arq_done(conn->arq)) != NULL) {
		praas_dgram_port_of(conn)->base.frames_out++;
		praas_dgram_port_of(conn)->base.bytes_out += buf->head.bytes;
		tell(conn, buf, 0);
		praas_buf_release(buf);
	}
}

/* All that is queued fails. */
static void tell_queue(struct praas_dgram_conn *conn, int rc)
{
	struct praas_buf *buf;

	if (conn->arq == NULL)
		return;
	tell_done(conn);
	while ((buf = praas_arq_drop(conn->arq)) != NULL) {
		tell(conn, buf, rc);
		praas_buf_release(buf);
	}
}

static bool is_alive(const struct praas_dgram_conn *conn)
{
	return conn->state == PRAAS_DGRAM_OPENED || conn->state == PRAAS_DGRAM_OPENING;
}

/* Over, for the layer above; the peer is told unless it was it that said so. */
static void begin_ending(struct praas_dgram_conn *conn, bool tell_peer)
{
	if (conn->arq == NULL) {
		praas_dgram_destroy(conn);
		return;
	}
	if (tell_peer)
		praas_arq_reset(conn->arq);
	conn->deadline_ns = praas_now_ns() + ENDING_NS;
	praas_conn_activate(&conn->base);
}

void praas_dgram_end(struct praas_dgram_conn *conn, int rc)
{
	if (!is_alive(conn))
		return;
	/* Sends fail from here on, and a close() in a handler does nothing. */
	conn->state = PRAAS_DGRAM_ENDING;
	tell_queue(conn, rc == 0 ? -ENOTCONN : rc);
	conn->base.events->closed(conn->base.user, &conn->base, rc);
	praas_conn_end(&conn->base);
	begin_ending(conn, rc != 0);
}

void praas_dgram_close(struct praas_conn *base, bool after_flush)
{
	struct praas_dgram_conn *conn = praas_dgram_conn_of(base);
	bool connected = conn->state == PRAAS_DGRAM_OPENED && !conn->opened_due;

	if (!is_alive(conn))
		return;
	conn->state = PRAAS_DGRAM_ENDING; /* handlers below cannot send */
	if (after_flush && connected && conn->end_rc == PRAAS_DGRAM_GOING) {
		const struct praas_buf *buf = praas_arq_waiting(conn->arq), *next;

		tell_done(conn);
		for (; buf != NULL; buf = next) {
			next = buf->next;
			tell(conn, (struct praas_buf *)(uintptr_t)buf, 0);
		}
		conn->state = PRAAS_DGRAM_FLUSHING;
		praas_conn_end(base);
		praas_arq_finish(conn->arq, praas_now_ns());
		praas_conn_activate(&conn->base);
		return;
	}
	tell_queue(conn, -ECANCELED);
	praas_conn_end(base);
	begin_ending(conn, true);
}

/* ---- One turn ---- */

/* What the wire does not say as the layer above wants it. */
static void complete(struct praas_dgram_conn *conn, struct praas_buf *buf)
{
	struct praas_port *port = conn->base.port;

	buf->head.source = conn->base.peer_source;
	praas_frame_arrives(&buf->head);
	port->frames_in++;
	port->bytes_in += buf->head.bytes;
	port->copies++;
}

static unsigned hand_up(struct praas_dgram_conn *conn, unsigned budget)
{
	unsigned done = 0;

	while (done < budget) {
		struct praas_buf *buf = praas_arq_take(conn->arq);

		if (buf == NULL)
			return done;
		done++;
		complete(conn, buf);
		conn->base.events->frame(conn->base.user, &conn->base, buf);
		if (praas_unlikely(conn->state != PRAAS_DGRAM_OPENED))
			return done;
	}
	praas_conn_activate(&conn->base); /* there may be more */
	return done;
}

/* The ticket to show, once. */
static int begin_opening(struct praas_dgram_conn *conn)
{
	struct praas_dgram_port *port = praas_dgram_port_of(conn);
	const struct praas_ticket_secret *secret = conn->base.secret;

	if (secret) { /* else whoever listens refuses it */
		memcpy(conn->open.ticket, secret->ticket, PRAAS_TICKET_BYTES);
		memcpy(conn->open.session_key, secret->session_key, PRAAS_KEY_BYTES);
	}
	if (getrandom(conn->open.client_nonce, PRAAS_DGRAM_NONCE_BYTES, 0) !=
	    PRAAS_DGRAM_NONCE_BYTES)
		return -EIO;
	conn->open.segment_bytes = port->segment_bytes;
	conn->open.flags = port->clear ? PRAAS_DGRAM_CLEAR : 0;
	conn->deadline_ns =
		port->now_ns + praas_min_u64(OPEN_NS, port->config.stall_timeout_ns);
	conn->begun = true;
	return 0;
}

/* OPEN, or the question where to send it, when it is time. */
static int run_opening(struct praas_dgram_conn *conn)
{
	struct praas_dgram_port *port = praas_dgram_port_of(conn);
	uint8_t data[PRAAS_DGRAM_OPEN_BYTES];
	int rc = conn->begun ? 0 : begin_opening(conn);

	if (rc != 0)
		return rc;
	if (port->now_ns >= conn->deadline_ns)
		return conn->mac_known ? -ETIMEDOUT : -EHOSTUNREACH;
	if (port->now_ns < conn->retry_ns)
		return 0;
	if (conn->mac_known) {
		rc = praas_dgram_open_encode(&conn->open, data);
		if (rc == 0)
			(void)praas_dgram_say(port, &conn->to, data,
					      sizeof(data)); /* again later */
	}
	/* What was learnt may have been spoiled on its way: nothing there has a checksum. */
	if (!conn->mac_known || conn->tries >= ASK_AGAIN)
		praas_dgram_ask(conn);
	conn->retry_ns =
		port->now_ns + praas_min_u64(RETRY_NS << conn->tries, RETRY_MAX_NS);
	conn->tries += conn->tries < 10;
	return rc;
}

/* Time passes. No answer for long: the peer's link address may be another by now. */
static int tick(struct praas_dgram_conn *conn)
{
	int rc = praas_arq_tick(conn->arq, praas_dgram_port_of(conn)->now_ns);
	unsigned unanswered = praas_arq_unanswered(conn->arq);

	if (praas_unlikely(unanswered >= ASK_AGAIN && unanswered != conn->tries))
		praas_dgram_ask(conn);
	conn->tries = unanswered;
	return rc;
}

static unsigned run_open(struct praas_dgram_conn *conn, unsigned budget)
{
	unsigned done = 0;
	int rc;

	if (conn->opened_due) {
		conn->opened_due = false;
		done++;
		conn->base.events->opened(conn->base.user, &conn->base);
	}
	if (conn->state == PRAAS_DGRAM_OPENED)
		done += hand_up(conn, budget > done ? budget - done : 0);
	if (conn->state == PRAAS_DGRAM_OPENED)
		tell_done(conn);
	if (conn->state != PRAAS_DGRAM_OPENED)
		return done;
	rc = tick(conn);
	if (conn->end_rc != PRAAS_DGRAM_GOING)
		rc = conn->end_rc;
	if (rc == 0) {
		rc = praas_arq_ended(conn->arq);
		if (rc == -EAGAIN) {
			praas_dgram_emit(conn);
			return done;
		}
	}
	praas_dgram_end(conn, rc);
	return done;
}

/* FLUSHING and ENDING: nobody hears what comes. True: it is over. */
static bool run_quiet(struct praas_dgram_conn *conn)
{
	uint64_t now_ns = praas_dgram_port_of(conn)->now_ns;
	bool flushing = conn->state == PRAAS_DGRAM_FLUSHING;
	struct praas_buf *buf;
	int rc;

	if (conn->arq == NULL)
		return true;
	tell_done(conn);
	while ((buf = praas_arq_take(conn->arq)) != NULL)
		praas_buf_release(buf);
	rc = tick(conn);
	praas_dgram_emit(conn);
	if (praas_arq_reset_done(conn->arq))
		return true;
	if (flushing)
		return rc != 0 || conn->end_rc != PRAAS_DGRAM_GOING ||
		       praas_arq_finished(conn->arq);
	return now_ns >= conn->deadline_ns;
}

static void set_due(struct praas_dgram_conn *conn)
{
	struct praas_dgram_port *port = praas_dgram_port_of(conn);

	if (conn->state == PRAAS_DGRAM_FREE ||
	    (conn->state == PRAAS_DGRAM_ENDING && conn->arq == NULL))
		return;
	if (conn->state == PRAAS_DGRAM_OPENING)
		conn->due_ns = praas_min_u64(conn->retry_ns, conn->deadline_ns);
	else if (conn->state == PRAAS_DGRAM_HALF)
		conn->due_ns = conn->deadline_ns;
	else
		conn->due_ns = praas_arq_due_ns(conn->arq);
	if (conn->state == PRAAS_DGRAM_ENDING)
		conn->due_ns = praas_min_u64(conn->due_ns, conn->deadline_ns);
	port->due_ns = praas_min_u64(port->due_ns, conn->due_ns);
}

unsigned praas_dgram_run(struct praas_dgram_conn *conn, unsigned budget)
{
	uint64_t now_ns = praas_dgram_port_of(conn)->now_ns;
	unsigned done = 0;
	int rc;

	switch ((enum praas_dgram_state)conn->state) {
	case PRAAS_DGRAM_OPENING:
		rc = conn->end_rc == PRAAS_DGRAM_GOING ? run_opening(conn)
						       : conn->end_rc;
		if (rc != 0) {
			praas_dgram_end(conn, rc);
			done = 1;
		}
		break;
	case PRAAS_DGRAM_HALF:
		if (now_ns >= conn->deadline_ns)
			praas_dgram_destroy(conn);
		break;
	case PRAAS_DGRAM_OPENED:
		done = run_open(conn, budget);
		break;
	case PRAAS_DGRAM_FLUSHING:
	case PRAAS_DGRAM_ENDING:
		if (run_quiet(conn))
			praas_dgram_destroy(conn);
		break;
	case PRAAS_DGRAM_FREE:
		break;
	}
	set_due(conn);
	return done;
}
