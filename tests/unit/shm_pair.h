/* SPDX-License-Identifier: Apache-2.0
 *
 * A server port and a client port of the shm transport in one thread, for tests: the
 * handshake is HELLO and WELCOME without proofs.
 */
#ifndef PRAAS_TESTS_SHM_PAIR_H
#define PRAAS_TESTS_SHM_PAIR_H

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal/base.h"
#include "transport/shm.h"
#include "transport/shm_conn.h"
#include "transport/transport.h"

#define QUEUE 512u

struct side {
	struct praas_port *port;
	struct praas_conn *conn;
	bool server;
	unsigned opened, frames, sent, closed;
	int closed_rc;
	bool welcomed;
	bool keep; /* frames are queued, else released */
	struct praas_buf *queue[QUEUE];
	unsigned queued;
};

struct pair {
	char dir[64];
	char addr[96];
	uint64_t bytes_max;
	struct side s, c;
};

static inline void side_send(struct side *s, uint8_t kind)
{
	struct praas_buf *buf = NULL;

	praas_check(s->conn->ops->alloc(s->conn, 0, &buf) == 0);
	buf->head.kind = kind;
	praas_check(s->conn->ops->send(s->conn, buf) == 0);
}

static inline void side_opened(void *user, struct praas_conn *conn)
{
	struct side *s = user;

	s->opened++;
	s->conn = conn;
	if (!s->server)
		side_send(s, PRAAS_FRAME_HELLO);
}

static inline void side_frame(void *user, struct praas_conn *conn,
			      struct praas_buf *buf)
{
	struct side *s = user;

	(void)conn;
	if (buf->head.kind == PRAAS_FRAME_HELLO) {
		praas_buf_release(buf);
		side_send(s, PRAAS_FRAME_WELCOME);
		s->welcomed = true;
		return;
	}
	if (buf->head.kind == PRAAS_FRAME_WELCOME) {
		praas_buf_release(buf);
		s->welcomed = true;
		return;
	}
	s->frames++;
	if (s->keep && s->queued < QUEUE)
		s->queue[s->queued++] = buf;
	else
		praas_buf_release(buf);
}

static inline void side_sent(void *user, struct praas_conn *conn, struct praas_buf *buf,
			     int rc)
{
	struct side *s = user;

	(void)conn;
	(void)buf;
	(void)rc;
	s->sent++;
}

static inline void side_closed(void *user, struct praas_conn *conn, int rc)
{
	struct side *s = user;

	(void)conn;
	s->closed++;
	s->closed_rc = rc;
	s->conn = NULL;
}

static const struct praas_conn_events side_events = { .opened = side_opened,
						      .frame = side_frame,
						      .sent = side_sent,
						      .closed = side_closed };

static inline void pair_turn(struct pair *p)
{
	(void)p->s.port->ops->poll(p->s.port, 64);
	(void)p->c.port->ops->poll(p->c.port, 64);
	(void)sched_yield();
}

/* Polls both sides until the condition holds or too long. */
#define PAIR_UNTIL(p, cond)                                                            \
	do {                                                                           \
		for (unsigned pair_i = 0; pair_i < 200000 && !(cond); pair_i++)        \
			pair_turn(p);                                                  \
		assert_true(cond);                                                     \
	} while (0)

static inline void pair_ports(struct pair *p, const struct praas_shm_config *config)
{
	const char *tmp = getenv("TMPDIR");
	struct praas_port_config pc = { .accept_events = &side_events,
					.accept_user = &p->s };
	struct praas_port_config cc = { .listen = NULL };

	*p = (struct pair){ .bytes_max = 64u << 20 };
	p->s.server = true;
	(void)snprintf(p->dir, sizeof(p->dir), "%.40s/praas.XXXXXX",
		       tmp ? tmp : "/tmp");
	praas_check(mkdtemp(p->dir) != NULL);
	(void)snprintf(p->addr, sizeof(p->addr), "shm://%s/s", p->dir);
	pc.listen = p->addr;
	praas_check(praas_shm_transport_ops.open(&pc, &p->s.port) == 0);
	if (config)
		praas_check(praas_shm_configure(p->s.port, config) == 0);
	praas_check(praas_shm_transport_ops.open(&cc, &p->c.port) == 0);
}

static inline void pair_connect(struct pair *p)
{
	struct praas_conn *conn;

	praas_check(p->c.port->ops->connect(p->c.port, p->addr, &side_events, &p->c,
					    &conn) == 0);
	for (unsigned i = 0; i < 100000 && !(p->c.welcomed && p->s.welcomed); i++)
		pair_turn(p);
	praas_check(p->c.welcomed);
	p->c.conn->bytes_max = p->bytes_max;
	p->s.conn->bytes_max = p->bytes_max;
}

static inline void side_release(struct side *s)
{
	for (unsigned i = 0; i < s->queued; i++)
		praas_buf_release(s->queue[i]);
	s->queued = 0;
}

static inline void pair_free(struct pair *p)
{
	side_release(&p->s);
	side_release(&p->c);
	praas_shm_transport_ops.free(p->c.port);
	praas_shm_transport_ops.free(p->s.port);
	(void)rmdir(p->dir);
}

/* Allocates and sends; 0 or what send said (the buffer is released then). */
static inline int side_post(struct side *s, uint8_t kind, uint64_t id, const char *key,
			    uint64_t bytes, uint8_t fill)
{
	struct praas_buf *buf;
	int rc = s->conn->ops->alloc(s->conn, bytes, &buf);

	if (rc != 0)
		return rc;
	buf->head.kind = kind;
	buf->head.id = id;
	if (bytes != 0)
		memset(buf->data, fill, bytes);
	if (key) {
		buf->head.key_bytes = (uint8_t)strlen(key);
		memcpy(buf->key, key, strlen(key) + 1);
	}
	rc = s->conn->ops->send(s->conn, buf);
	if (rc != 0)
		praas_buf_release(buf);
	return rc;
}

#endif
