/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "internal/base.h"
#include "transport/ofi.h"
#include "transport/tcp.h"

#define PATIENCE_NS UINT64_C(60000000000)

static const char functions[2][PRAAS_NAME_MAX + 1] = { "noop", "echo" };

/* Eight bytes a step, so that large payloads do not take long. */
static void pattern(uint64_t id, uint8_t *data, uint64_t bytes)
{
	uint64_t x = id * 0x9e3779b97f4a7c15u;

	for (uint64_t i = 0; i < bytes; i += 8) {
		uint64_t n = praas_min_u64(8, bytes - i);

		memcpy(data + i, &x, n);
		x += 0x9e3779b97f4a7c15u;
	}
}

bool rig_pattern_is(const struct praas_buf *buf)
{
	uint64_t x = buf->head.id * 0x9e3779b97f4a7c15u;

	for (uint64_t i = 0; i < buf->head.bytes; i += 8) {
		if (memcmp(buf->data + i, &x, praas_min_u64(8, buf->head.bytes - i)) !=
		    0)
			return false;
		x += 0x9e3779b97f4a7c15u;
	}
	return true;
}

static void echo(struct side *side, struct praas_conn *conn,
		 const struct praas_buf *buf)
{
	struct praas_buf *out;

	if (conn->ops->alloc(conn, buf->head.bytes, &out) != 0) {
		side->refused_echoes++;
		return;
	}
	out->head = buf->head;
	out->head.kind = PRAAS_FRAME_RESULT;
	memcpy(out->trace, buf->trace, sizeof(out->trace));
	memcpy(out->key, buf->key, sizeof(out->key));
	if (buf->head.bytes > 0)
		memcpy(out->data, buf->data, buf->head.bytes);
	if (praas_conn_send_or_release(conn, out) != 0)
		side->refused_echoes++;
}

static void on_opened(void *user, struct praas_conn *conn)
{
	struct side *side = user;

	side->opened++;
	side->conn = conn;
}

static void on_frame(void *user, struct praas_conn *conn, struct praas_buf *buf)
{
	struct side *side = user;

	if (buf->head.kind == PRAAS_FRAME_EVENT ||
	    buf->head.kind == PRAAS_FRAME_CLOSE) {
		side->events += buf->head.kind == PRAAS_FRAME_EVENT;
		side->closes += buf->head.kind == PRAAS_FRAME_CLOSE;
		side->last_aux = buf->head.aux;
		praas_buf_release(buf);
		return;
	}
	side->frames++;
	side->bytes += buf->head.bytes;
	side->order_errors += buf->head.id != ++side->next_id;
	assert_int_equal((uintptr_t)buf->data % 64, 0);
	if (side->echo)
		echo(side, conn, buf);
	if (side->holds < side->hold) {
		side->held[side->holds++] = buf;
	} else if (side->keep) {
		side_drop_kept(side);
		side->kept = buf;
	} else {
		praas_buf_release(buf);
	}
	if (side->close_at_frame)
		conn->ops->close(conn, false);
	else if (side->frames == side->flush_at_frame)
		conn->ops->close(conn, true);
}

static void on_sent(void *user, struct praas_conn *conn, struct praas_buf *buf, int rc)
{
	struct side *side = user;

	(void)conn;
	if (buf->head.kind < PRAAS_FRAME_INVOKE ||
	    buf->head.kind == PRAAS_FRAME_EVENT || buf->head.kind == PRAAS_FRAME_CLOSE)
		return; /* the session's */
	if (rc == 0)
		side->sent++;
	else
		side->sent_bad++;
}

static void on_closed(void *user, struct praas_conn *conn, int rc)
{
	struct side *side = user;

	side->closed++;
	side->closed_rc = rc;
	if (side->conn == conn)
		side->conn = NULL;
}

const struct praas_conn_events rig_side_events = {
	.opened = on_opened,
	.frame = on_frame,
	.sent = on_sent,
	.closed = on_closed,
};

static void on_welcome(void *user, const struct praas_welcome *welcome)
{
	struct side *side = user;

	side->welcome = *welcome;
	if (welcome->functions_count > 1)
		memcpy(side->function, welcome->functions[1], sizeof(side->function));
}

void side_drop_kept(struct side *side)
{
	praas_buf_release(side->kept);
	side->kept = NULL;
}

void side_drop_held(struct side *side)
{
	side->hold = 0;
	while (side->holds > 0)
		praas_buf_release(side->held[--side->holds]);
}

struct praas_ticket rig_ticket(void)
{
	uint64_t now_s = (uint64_t)time(NULL);
	struct praas_ticket t = { .pid = 5,
				  .epoch = 3,
				  .source = RIG_SOURCE,
				  .rights = PRAAS_RIGHT_INVOKE | PRAAS_RIGHT_SEND,
				  .not_before_s = now_s,
				  .expires_s = now_s + 300 };

	memset(t.tenant, 1, sizeof(t.tenant));
	memset(t.app, 2, sizeof(t.app));
	memset(t.controller, 3, sizeof(t.controller));
	return t;
}

void rig_address(const char *text, const char *folder, char ret_addr[PRAAS_ADDR_MAX])
{
	const char *mark = strchr(text, '%');

	if (strncmp(text, "ofi:", 4) == 0)
		folder = strrchr(folder, '/') + 1; /* it is always a path */
	if (mark)
		(void)snprintf(ret_addr, PRAAS_ADDR_MAX, "%.*s%s%s", (int)(mark - text),
			       text, folder, mark + 1);
	else
		(void)snprintf(ret_addr, PRAAS_ADDR_MAX, "%s", text);
}

static void on_members(void *user)
{
	struct side *server = user;

	server->rig->members_asked++;
}

static void start_session(struct rig *rig, const struct rig_config *config)
{
	struct praas_session_server_config s = {
		.expect = { .pid = 5, .epoch = 3 },
		.welcome = { .pid = 5,
			     .epoch = 3,
			     .bytes_max = config->bytes_max ? config->bytes_max
							    : RIG_BYTES_MAX,
			     .inflight_max = 64,
			     .functions_count = 2,
			     .functions = functions },
		.handshake_timeout_ns = config->handshake_timeout_ns,
		.events = &rig_side_events,
		.user = &rig->server,
		.members = on_members,
	};

	memset(s.expect.tenant, 1, PRAAS_ID_BYTES);
	memset(s.expect.app, 2, PRAAS_ID_BYTES);
	memset(s.expect.controller, 3, PRAAS_ID_BYTES);
	memset(rig->controller_key, 0x42, PRAAS_KEY_BYTES);
	memcpy(s.controller_key, rig->controller_key, PRAAS_KEY_BYTES);
	assert_int_equal(praas_session_server_new(&s, &rig->session), 0);
}

void rig_start(struct rig *rig, const struct scheme *scheme,
	       const struct rig_config *config)
{
	static const struct rig_config ordinary;
	struct praas_heap_config heap = { .bytes_max =
						  config ? config->server_memory : 0 };
	struct praas_port_config p = { 0 };
	char listen[PRAAS_ADDR_MAX];
	const char *tmp = getenv("TMPDIR");

	if (config == NULL)
		config = &ordinary;
	memset(rig, 0, sizeof(*rig));
	rig->scheme = scheme;
	rig->ops = scheme->ops ? scheme->ops : praas_transport_find(scheme->listen);
	if (scheme->prepare)
		scheme->prepare();
	assert_non_null(rig->ops);
	(void)snprintf(rig->folder, sizeof(rig->folder), "%s/praas-test-XXXXXX",
		       tmp && strlen(tmp) < 40 ? tmp : "/tmp");
	assert_non_null(mkdtemp(rig->folder));
	rig->server.rig = rig;
	rig->client.rig = rig;
	start_session(rig, config);
	assert_int_equal(praas_heap_new(&heap, &rig->server_heap), 0);
	assert_int_equal(praas_heap_new(NULL, &rig->client_heap), 0);
	rig_address(scheme->listen, rig->folder, listen);
	p.memory = praas_heap_memory(rig->server_heap);
	p.listen = listen;
	p.accept_events = praas_session_server_events();
	p.accept_user = rig->session;
	p.accept_key = praas_session_server_key;
	p.stall_timeout_ns = config->stall_timeout_ns;
	p.send_queue_max = config->send_queue_max;
	p.conns_max = config->conns_max;
	p.unauthenticated_max = config->unauthenticated_max;
	assert_int_equal(rig->ops->open(&p, &rig->server_port), 0);
	assert_int_equal(rig->ops->address(rig->server_port, rig->addr), 0);
	p.listen = NULL;
	p.memory = praas_heap_memory(rig->client_heap);
	p.conns_max = 128;
	assert_int_equal(rig->ops->open(&p, &rig->client_port), 0);
	if (strcmp(rig->ops->scheme, "tcp") == 0 && !scheme->multishot) {
		praas_tcp_port_set_multishot(rig->server_port, false);
		praas_tcp_port_set_multishot(rig->client_port, false);
	}
#ifdef PRAAS_HAVE_OFI
	if (scheme->packets_only) {
		praas_ofi_port_set_packets_only(rig->server_port);
		praas_ofi_port_set_packets_only(rig->client_port);
	}
	if (scheme->registers) {
		praas_ofi_port_set_registers(rig->server_port);
		praas_ofi_port_set_registers(rig->client_port);
	}
#endif
}

void rig_stop(struct rig *rig)
{
	char path[PRAAS_ADDR_MAX * 2];
	struct dirent *entry;
	DIR *dir;

	side_drop_kept(&rig->server);
	side_drop_kept(&rig->client);
	side_drop_held(&rig->server);
	side_drop_held(&rig->client);
	rig->ops->free(rig->client_port);
	rig->ops->free(rig->server_port);
	praas_session_server_free(rig->session);
	/* Checks that every buffer has come back. */
	praas_heap_free(rig->client_heap);
	praas_heap_free(rig->server_heap);
	dir = opendir(rig->folder);
	while (dir && (entry = readdir(dir)) != NULL) {
		(void)snprintf(path, sizeof(path), "%s/%.60s", rig->folder,
			       entry->d_name);
		(void)unlink(path); /* "." and ".." stay */
	}
	if (dir)
		(void)closedir(dir);
	assert_int_equal(rmdir(rig->folder), 0);
}

void rig_secret(const struct rig *rig, const struct praas_ticket *ticket,
		struct praas_ticket_secret *ret_secret)
{
	struct praas_ticket t = ticket ? *ticket : rig_ticket();

	assert_int_equal(praas_ticket_issue(rig->controller_key, &t, ret_secret->ticket,
					    ret_secret->session_key),
			 0);
}

void rig_connect_bare(struct rig *rig, struct side *side,
		      struct praas_ticket_secret *ret_secret)
{
	struct praas_conn *conn;

	rig_secret(rig, NULL, ret_secret);
	assert_int_equal(rig->ops->connect(rig->client_port, rig->addr,
					   &rig_side_events, side, &conn),
			 0);
	conn->secret = ret_secret;
}

void rig_connect_begin(struct rig *rig, struct side *side,
		       const struct praas_ticket *ticket)
{
	struct praas_session_client_config c = { .events = &rig_side_events,
						 .user = side,
						 .welcome = on_welcome,
						 .members = rig->members };
	struct praas_ticket t = ticket ? *ticket : rig_ticket();
	struct praas_conn *conn;

	side->rig = rig;
	assert_int_equal(
		praas_ticket_issue(rig->controller_key, &t, c.ticket, c.session_key),
		0);
	assert_int_equal(praas_session_connect(rig->client_port, rig->addr, &c, &conn),
			 0);
}

static uint64_t patient_until(const struct rig *rig)
{
	return praas_now_ns() + (rig->patience_ns ? rig->patience_ns : PATIENCE_NS);
}

void rig_connect(struct rig *rig, struct side *side)
{
	unsigned server = rig->server.opened, opened = side->opened;
	unsigned closed = side->closed;

	rig_connect_begin(rig, side, NULL);
	for (uint64_t end_ns = patient_until(rig); side->opened == opened;) {
		rig_turn(rig);
		if (side->closed > closed)
			fail_msg("%s: closed instead of opened: %d", rig->scheme->name,
				 side->closed_rc);
		if (praas_now_ns() > end_ns)
			fail_msg("%s: not opened in time", rig->scheme->name);
	}
	rig_until(rig, &rig->server.opened, server + 1);
}

void rig_turn(struct rig *rig)
{
	(void)rig->ops->poll(rig->client_port, 64);
	if (!rig->server_paused)
		(void)rig->ops->poll(rig->server_port,
				     rig->server_budget ? rig->server_budget : 64);
}

void rig_until(struct rig *rig, const unsigned *counter, unsigned value)
{
	uint64_t end_ns = patient_until(rig);
	unsigned turns = 0;

	while (*counter < value) {
		rig_turn(rig);
		if (++turns % 64 == 0) {
			if (praas_now_ns() > end_ns)
				fail_msg("%s: waited in vain for %u, is %u; closed "
					 "client %u (%d), server %u (%d)",
					 rig->scheme->name, value, *counter,
					 rig->client.closed, rig->client.closed_rc,
					 rig->server.closed, rig->server.closed_rc);
			sched_yield();
		}
	}
}

void rig_run_ms(struct rig *rig, unsigned ms)
{
	uint64_t end_ns = praas_now_ns() + ms * UINT64_C(1000000);

	while (praas_now_ns() < end_ns) {
		rig_turn(rig);
		sched_yield();
	}
}

int rig_invoke(struct praas_conn *conn, uint64_t id, uint64_t bytes)
{
	const struct side *side = conn->user;
	struct praas_buf *buf;
	int rc = conn->ops->alloc(conn, bytes, &buf);

	if (rc != 0)
		return rc;
	/* The memory of an INVOKE may stay with its frame until the RESULT is there. */
	buf->head = (struct praas_frame){ .kind = side->rig->server.echo
							  ? PRAAS_FRAME_INVOKE
							  : PRAAS_FRAME_SEND,
					  .id = id,
					  .bytes = bytes };
	if (bytes > 0)
		pattern(id, buf->data, bytes);
	rc = conn->ops->send(conn, buf);
	if (rc != 0)
		praas_buf_release(buf);
	return rc;
}

void rig_invoke_wait(struct rig *rig, struct praas_conn *conn, uint64_t id,
		     uint64_t bytes)
{
	uint64_t end_ns = patient_until(rig);
	int rc;

	for (;;) {
		rc = rig_invoke(conn, id, bytes);
		if (rc == 0)
			return;
		if (rc != -EAGAIN && rc != -ENOBUFS)
			fail_msg("%s: not sent: %s; closed client %d, server %d",
				 rig->scheme->name, strerror(-rc),
				 rig->client.closed_rc, rig->server.closed_rc);
		if (praas_now_ns() > end_ns)
			fail_msg("%s: no room to send in", rig->scheme->name);
		rig_turn(rig);
		sched_yield();
	}
}

void rig_poll_or_sleep(struct rig *rig, struct praas_port *port)
{
	struct pollfd p = { .events = POLLIN };

	for (unsigned i = 0; i < 20; i++) {
		if (rig->ops->poll(port, 64) > 0)
			return;
	}
	if (rig->ops->arm(port, &p.fd) == 0)
		(void)poll(&p, 1, 20); /* what it says is found by the next poll */
}
