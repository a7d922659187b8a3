/* SPDX-License-Identifier: Apache-2.0
 *
 * Two ends of a sealed connection over a transport in memory that the input owns: frames of all sizes are sent, polls
 * and closes come when they like, there is no room and no memory for a while, and what is under way is changed, lost,
 * doubled and made up. Whatever comes: what is handed up is what was sent, in order, each end is told once,
 * and all memory comes back. One kind of step is an end that has the keys and lies: only then may other
 * frames come out.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"
#include "transport/memory.h"
#include "transport/sealed_port.h"

#define LARGE_MAX (PRAAS_SEALED_RECORD_MAX + 5000u)
#define QUEUE 64u

struct end {
	struct praas_port inner;      /* of the transport in memory */
	struct praas_conn conn;       /* its one connection */
	struct praas_send_queue in;   /* under way to it */
	struct praas_send_queue left; /* sent; not told */
	const struct praas_conn_events *accept_events;
	void *accept_user;
	struct praas_port *port; /* the sealed one */
	struct praas_conn *outer;
	uint64_t sent_id, seen_id;
	unsigned queued; /* in in */
	unsigned opened, closed, given, told;
	uint8_t full, poor; /* so often there is no room; no memory */
	bool open, gone;
	bool live; /* the handshake is over */
};

static struct praas_heap *heap;
static struct praas_memory memory; /* the heap's, but for times of need */
static uint8_t need;
static struct end ends[2]; /* client, server */
static bool lied;
static const uint8_t *input;
static size_t left;
static struct praas_ticket_secret secret;

static void require(bool ok)
{
	if (!ok)
		abort();
}

static uint8_t next(void)
{
	if (left == 0)
		return 0;
	left--;
	return *input++;
}

static struct end *peer_of(const struct end *e)
{
	return e == &ends[0] ? &ends[1] : &ends[0];
}

static int take(void *user, uint64_t bytes, struct praas_buf **ret_buf)
{
	if (need > 0) {
		need--;
		return -ENOBUFS;
	}
	return praas_heap_memory(user)->alloc(user, bytes, ret_buf);
}

/* ---- the transport in memory -------------------------------------------------------------------- */

static const struct praas_transport_ops pipe_ops;

static struct end *end_of_port(struct praas_port *port)
{
	return port == &ends[0].inner ? &ends[0] : &ends[1];
}

static int pipe_open(const struct praas_port_config *config,
		     struct praas_port **ret_port)
{
	struct end *e = config->listen ? &ends[1] : &ends[0];

	e->accept_events = config->accept_events;
	e->accept_user = config->accept_user;
	e->inner.ops = &pipe_ops;
	*ret_port = &e->inner;
	return 0;
}

static int pipe_address(const struct praas_port *port, char ret_addr[PRAAS_ADDR_MAX])
{
	(void)port;
	memcpy(ret_addr, "pipe://x", 9);
	return 0;
}

static void begin(struct end *e, const struct praas_conn_events *events, void *user)
{
	e->conn = (struct praas_conn){ .ops = &pipe_ops,
				       .port = &e->inner,
				       .bytes_max = 4096 };
	praas_conn_set_events(&e->conn, events, user);
	e->open = true;
}

static int pipe_connect(struct praas_port *port, const char *addr,
			const struct praas_conn_events *events, void *user,
			struct praas_conn **ret_conn)
{
	struct end *e = end_of_port(port), *peer = peer_of(e);

	require(strcmp(addr, "pipe://x") == 0);
	begin(e, events, user);
	begin(peer, peer->accept_events, peer->accept_user);
	*ret_conn = &e->conn;
	return 0;
}

static int pipe_alloc(struct praas_conn *conn, uint64_t bytes,
		      struct praas_buf **ret_buf)
{
	struct end *e = end_of_port(conn->port);

	if (e->poor > 0) {
		e->poor--;
		return -ENOBUFS;
	}
	return praas_heap_memory(heap)->alloc(heap, bytes, ret_buf);
}

/* What goes over it is a copy: the sender's memory is its own again when it is told. */
static void carry(struct end *to, const struct praas_buf *buf)
{
	struct praas_buf *copy;

	if (!to->open)
		return;
	require(praas_heap_memory(heap)->alloc(heap, buf->head.bytes, &copy) == 0);
	copy->head = buf->head;
	if (buf->head.bytes > 0)
		memcpy(copy->data, buf->data, buf->head.bytes);
	praas_send_push(&to->in, copy, 0);
	to->queued++;
}

static int pipe_send(struct praas_conn *conn, struct praas_buf *buf)
{
	struct end *e = end_of_port(conn->port), *peer = peer_of(e);

	if (!e->open || e->gone)
		return -ENOTCONN;
	if (e->full > 0 || peer->queued >= QUEUE) {
		if (e->full > 0)
			e->full--;
		return -EAGAIN;
	}
	carry(peer, buf);
	praas_send_push(&e->left, buf, 0);
	return 0;
}

static void tell_left(struct end *e, bool quiet)
{
	praas_send_tell_left(&e->conn, &quiet, &e->left);
}

static void drop_in(struct end *e)
{
	while (e->in.first)
		praas_buf_release(praas_send_pop(&e->in));
	e->queued = 0;
}

static void over(struct end *e, int rc)
{
	if (!e->open)
		return;
	e->open = false;
	tell_left(e, false);
	e->conn.events->closed(e->conn.user, &e->conn, rc);
	drop_in(e);
}

static void pipe_close(struct praas_conn *conn, bool after_flush)
{
	struct end *e = end_of_port(conn->port);

	if (!e->open)
		return;
	e->open = false;
	tell_left(e, false);
	drop_in(e);
	peer_of(e)->gone = true; /* told when it has seen what came before */
	(void)after_flush;
}

static unsigned pipe_poll(struct praas_port *port, unsigned budget)
{
	struct end *e = end_of_port(port);
	unsigned done = 0;

	tell_left(e, !e->open);
	while (e->open && e->in.first && done++ < budget) {
		struct praas_buf *buf = praas_send_pop(&e->in);

		e->queued--;
		if (buf->head.bytes > e->conn.bytes_max) {
			praas_buf_release(buf);
			over(e, -EMSGSIZE);
			break;
		}
		e->conn.events->frame(e->conn.user, &e->conn, buf);
	}
	if (e->open && e->gone && !e->in.first)
		over(e, 0);
	return done;
}

static int pipe_arm(struct praas_port *port, int *ret_fd)
{
	(void)port;
	*ret_fd = -1;
	return 0;
}

static void pipe_free(struct praas_port *port)
{
	struct end *e = end_of_port(port);

	tell_left(e, true);
	drop_in(e);
}

static const struct praas_transport_ops pipe_ops = { .scheme = "pipe",
						     .open = pipe_open,
						     .address = pipe_address,
						     .connect = pipe_connect,
						     .alloc = pipe_alloc,
						     .send = pipe_send,
						     .poll = pipe_poll,
						     .arm = pipe_arm,
						     .close = pipe_close,
						     .free = pipe_free };
extern const struct praas_transport_ops sealed_pipe_ops;
PRAAS_SEALED_TRANSPORT(sealed_pipe_ops, "pipe+sealed", pipe_ops);

/* ---- the layer above ----------------------------------------------------------------------------- */

static int say(struct end *e, uint8_t kind, uint64_t bytes, uint64_t id, uint8_t key)
{
	struct praas_buf *buf;
	int rc;

	if (!e->outer || sealed_pipe_ops.alloc(e->outer, bytes, &buf) != 0)
		return -ENOBUFS;
	buf->head = (struct praas_frame){
		.kind = kind, .id = id, .bytes = bytes, .key_bytes = key
	};
	memset(buf->key, 'k', key);
	buf->key[key] = '\0';
	memset(buf->data, (int)(id & 0xff), bytes);
	rc = sealed_pipe_ops.send(e->outer, buf);
	if (rc != 0)
		praas_buf_release(buf);
	return rc;
}

static void on_opened(void *user, struct praas_conn *conn)
{
	struct end *e = user;

	e->outer = conn;
	require(++e->opened == 1);
	conn->bytes_max = 4096;
	if (e == &ends[0])
		(void)say(e, PRAAS_FRAME_HELLO, PRAAS_HELLO_BYTES, 1, 0);
}

static void check(const struct end *e, const struct praas_buf *buf)
{
	uint64_t sum = 0;

	require((uintptr_t)buf->data % 64 == 0);
	for (uint64_t i = 0; i < buf->head.bytes; i++)
		sum += buf->data[i];
	if (lied)
		return;
	require(buf->head.id == e->seen_id);
	require(sum == buf->head.bytes * (buf->head.id & 0xff));
	for (unsigned i = 0; i < buf->head.key_bytes; i++)
		require(buf->key[i] == 'k');
}

/* The handshake without its proofs: those are fuzz_handshake's. */
static void on_frame(void *user, struct praas_conn *conn, struct praas_buf *buf)
{
	static const uint8_t answer[2][2] = {
		{ PRAAS_FRAME_CHALLENGE, PRAAS_FRAME_PROOF },
		{ PRAAS_FRAME_HELLO, PRAAS_FRAME_CHALLENGE }
	};
	struct end *e = user;
	unsigned server = e == &ends[1];
	uint8_t kind = buf->head.kind;

	if (kind >= PRAAS_FRAME_INVOKE) {
		e->seen_id++;
		require(lied || e->live);
		check(e, buf);
	}
	praas_buf_release(buf);
	if (kind == answer[server][0]) {
		(void)say(e, answer[server][1],
			  server ? PRAAS_CHALLENGE_BYTES : PRAAS_PROOF_BYTES, 1, 0);
	} else if (kind == PRAAS_FRAME_PROOF && server && !e->live) {
		e->live = true;
		conn->bytes_max = UINT64_C(1) << 22;
		(void)say(e, PRAAS_FRAME_WELCOME, 100, 1, 0);
	} else if (kind == PRAAS_FRAME_WELCOME && !server) {
		e->live = true;
		conn->bytes_max = UINT64_C(1) << 22;
	}
}

static void on_sent(void *user, struct praas_conn *conn, struct praas_buf *buf, int rc)
{
	struct end *e = user;

	(void)conn;
	(void)rc;
	require(buf->head.kind == PRAAS_FRAME_SEND);
	require(++e->told <= e->given);
}

static void on_closed(void *user, struct praas_conn *conn, int rc)
{
	struct end *e = user;

	(void)conn;
	require(rc <= 0);
	require(++e->closed == 1);
	e->outer = NULL;
}

static const struct praas_conn_events events = { on_opened, on_frame, on_sent,
						 on_closed };

static int key_of(void *user, const uint8_t *ticket, uint8_t *ret_key)
{
	(void)user;
	(void)ticket;
	memset(ret_key, 7, PRAAS_KEY_BYTES);
	return 0;
}

static void on_accepted(void *user, struct praas_conn *conn)
{
	praas_conn_set_events(conn, &events, &ends[1]);
	on_opened(&ends[1], conn);
	(void)user;
}

static const struct praas_conn_events accept_events = { on_accepted, on_frame, on_sent,
							on_closed };

/* ---- steps ---------------------------------------------------------------------------------------- */

static void poll_one(struct end *e)
{
	unsigned budget = 1 + next() % 8;

	for (unsigned i = next() % 4 + 1; i > 0; i--)
		(void)sealed_pipe_ops.poll(e->port, budget);
}

static void send_one(struct end *e)
{
	static const uint32_t sizes[] = { 0,
					  1,
					  64,
					  1000,
					  70000,
					  PRAAS_SEALED_RECORD_MAX - 80,
					  PRAAS_SEALED_RECORD_MAX - 79,
					  LARGE_MAX };
	uint64_t bytes = sizes[next() % 8];

	if (!e->live || !e->outer)
		return;
	if (say(e, PRAAS_FRAME_SEND, bytes, e->sent_id + 1, next() % 200) == 0) {
		e->sent_id++;
		e->given++;
	}
}

static void harm(struct end *e)
{
	struct praas_buf *first = e->in.first;
	uint8_t how = next();

	if (!first)
		return;
	switch (how % 5) {
	case 0:
		if (first->head.bytes > 0)
			first->data[(uint64_t)next() * first->head.bytes / 256] ^= 1;
		else
			first->head.aux++;
		break;
	case 1:
		praas_buf_release(praas_send_pop(&e->in));
		e->queued--;
		break;
	case 2:
		carry(e, first);
		break;
	case 3:
		first->head.aux ^= 1u << next() % 12;
		break;
	case 4:
		first->head.bytes -= praas_min_u64(first->head.bytes, 1 + next());
		break;
	}
	/* A HELLO that is changed is for the handshake to refuse, and we have none. */
	lied |= first->head.kind < PRAAS_FRAME_PROOF;
}

/* A frame in clear, or a record of whatever content, sealed as the peer of e would. */
static void lie(struct end *e)
{
	struct praas_sealed_conn *from =
		peer_of(e)->outer ? praas_sealed_conn_of(peer_of(e)->outer) : NULL;
	uint64_t bytes = next();
	uint8_t type = next() % 8, clear = next(), frame = next();
	struct praas_buf *buf;

	if (!e->open)
		return;
	require(praas_heap_memory(heap)->alloc(heap, bytes + 400, &buf) == 0);
	memset(buf->data, 0, bytes + 400);
	for (uint64_t i = 0; i < bytes; i++)
		buf->data[i] = next();
	if (frame % 4 != 0) {
		struct praas_frame f = {
			.kind = frame % 64,
			.flags = next() % 8,
			.key_bytes = next() % 8,
			.sequence = from ? from->base.sends + next() % 2 : 1,
			.bytes = next() % 3 ? next() : (uint64_t)next() << 14
		};

		praas_frame_encode(&f, buf->data);
		if (next() % 4 != 0)
			bytes = PRAAS_FRAME_BYTES + praas_frame_meta_bytes(&f) +
				(type == PRAAS_SEALED_LARGE ? 0 : f.bytes % 256);
		memset(buf->data + PRAAS_FRAME_BYTES, next() % 2 ? 'k' : 0, 8);
	}
	bytes = praas_min_u64(bytes, 380);
	lied = true;
	buf->head = (struct praas_frame){ .kind = PRAAS_FRAME_SEALED,
					  .aux = type,
					  .bytes = bytes + PRAAS_SEAL_TAG_BYTES };
	if (clear % 8 == 0) {
		buf->head.kind = clear / 8;
	} else if (from && from->seal_out) {
		struct praas_seal_packet packet = { .number = from->number_out++,
						    .head = &type,
						    .head_bytes = 1,
						    .data = buf->data,
						    .bytes = (uint32_t)bytes,
						    .tag = buf->data + bytes };

		(void)praas_seal_close(from->seal_out, &packet);
	}
	praas_send_push(&e->in, buf, 0);
	e->queued++;
}

static void step(void)
{
	uint8_t what = next();
	struct end *e = &ends[what >> 7];

	switch (what % 16) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 4:
	case 5:
		poll_one(e);
		break;
	case 6:
	case 7:
	case 8:
		send_one(e);
		break;
	case 9:
		harm(e);
		break;
	case 10:
		lie(e);
		break;
	case 11:
		e->full = next() % 8;
		e->poor = next() % 4;
		break;
	case 12:
		need = next() % 8;
		break;
	case 13:
		if (e->outer && next() % 4 == 0) {
			sealed_pipe_ops.close(e->outer, next() % 2);
			e->outer = NULL;
			e->closed++;
		}
		break;
	case 14:
		if (next() % 4 == 0)
			over(e, next() % 2 ? 0 : -ECONNRESET);
		break;
	case 15:
		praas_sealed_check_stalls((struct praas_sealed_port *)(void *)e->port,
					  next() * UINT64_C(1000000000));
		break;
	}
}

static void start(void)
{
	struct praas_port_config config = { .memory = &memory };
	struct praas_conn *conn;
	char addr[PRAAS_ADDR_MAX];

	memset(ends, 0, sizeof(ends));
	memset(secret.session_key, 7, sizeof(secret.session_key));
	lied = false;
	need = 0;
	require(praas_heap_new(NULL, &heap) == 0);
	memory = (struct praas_memory){ .alloc = take, .user = heap };
	require(sealed_pipe_ops.open(&config, &ends[0].port) == 0);
	config.listen = "pipe+sealed://x";
	require(sealed_pipe_ops.open(&config, &ends[1].port) == -EINVAL);
	config.accept_events = &accept_events;
	config.accept_key = key_of;
	config.listen = "pipe://x";
	require(sealed_pipe_ops.open(&config, &ends[1].port) == -EINVAL);
	config.listen = "pipe+sealed://x";
	require(sealed_pipe_ops.open(&config, &ends[1].port) == 0);
	require(sealed_pipe_ops.address(ends[1].port, addr) == 0);
	require(strcmp(addr, "pipe+sealed://x") == 0);
	require(sealed_pipe_ops.connect(ends[0].port, addr, &events, &ends[0], &conn) ==
		0);
	conn->secret = &secret;
	ends[1].conn.events->opened(ends[1].conn.user, &ends[1].conn);
	ends[0].conn.events->opened(ends[0].conn.user, &ends[0].conn);
	conn->secret = NULL;
}

static void stop(void)
{
	struct praas_sealed_stats stats;
	int fd;

	for (unsigned i = 0; i < 2; i++) {
		(void)sealed_pipe_ops.arm(ends[i].port, &fd);
		praas_sealed_port_stats(ends[i].port, &stats);
		sealed_pipe_ops.free(ends[i].port);
		require(ends[i].told == ends[i].given);
	}
	praas_heap_free(heap); /* checks that all is back */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	input = data;
	left = bytes;
	start();
	if (next() % 8 != 0) /* mostly a handshake that nobody disturbs */
		for (unsigned i = 0; i < 6; i++)
			(void)sealed_pipe_ops.poll(ends[i % 2 ? 0 : 1].port, 8);
	for (unsigned i = 0; left > 0 && i < 200; i++)
		step();
	stop();
	return 0;
}
