/* SPDX-License-Identifier: Apache-2.0
 *
 * A process with an executor, and connections that nobody is at the other end of: frames are
 * given to the process by hand, and what it sends is kept in a list.
 */
#ifndef PRAAS_TESTS_DATAPLANE_FIXTURE_H
#define PRAAS_TESTS_DATAPLANE_FIXTURE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/process.h"
#include "dataplane/process_fn.h"
#include "shm/doorbell.h"
#include "shm/segment.h"
#include "transport/ticket.h"

#define FIXTURE_SENT_MAX 4096u
#define FIXTURE_PID 77u
#define FIXTURE_EPOCH 3u

struct fixture {
	struct praas_segment segment;
	struct praas_pool *pool;
	struct praas_memory memory;
	struct praas_process *p;
	uint64_t bufs; /* handles out */
};

struct fake_conn {
	struct praas_conn base;
	struct praas_port port;
	struct fixture *f;
	struct praas_buf *sent[FIXTURE_SENT_MAX];
	uint32_t sent_count, taken;
	int send_rc;  /* what send() answers, 0: takes it */
	int alloc_rc; /* what alloc() answers, 0: gives */
	bool closed;
};

static void fixture_buf_release(struct praas_buf *buf)
{
	struct fixture *f = buf->owner;

	if (buf->segment)
		praas_pool_unref(f->pool, buf->cookie);
	else
		free(buf->data);
	f->bufs--;
	free(buf);
}

static int fixture_alloc(void *user, uint64_t bytes, struct praas_buf **ret_buf)
{
	struct fixture *f = user;
	struct praas_buf *buf = calloc(1, sizeof(*buf));
	uint64_t offset;
	int rc = praas_pool_alloc(f->pool, bytes, &offset);

	if (rc != 0) {
		free(buf);
		return rc;
	}
	buf->data = f->segment.base + offset;
	buf->capacity = praas_pool_capacity(f->pool, offset);
	buf->segment = f->segment.id;
	buf->offset = offset;
	buf->cookie = offset;
	buf->owner = f;
	buf->release = fixture_buf_release;
	buf->head.bytes = bytes;
	f->bufs++;
	*ret_buf = buf;
	return 0;
}

static int fake_alloc(struct praas_conn *base, uint64_t bytes,
		      struct praas_buf **ret_buf)
{
	struct fake_conn *conn = (struct fake_conn *)base;

	return conn->alloc_rc ? conn->alloc_rc : fixture_alloc(conn->f, bytes, ret_buf);
}

static int fake_send(struct praas_conn *base, struct praas_buf *buf)
{
	struct fake_conn *conn = (struct fake_conn *)base;

	assert_false(conn->closed);
	if (conn->send_rc)
		return conn->send_rc;
	assert_true(conn->sent_count < FIXTURE_SENT_MAX);
	conn->sent[conn->sent_count++] = buf;
	return 0;
}

static void fake_close(struct praas_conn *base, bool after_flush)
{
	(void)after_flush;
	((struct fake_conn *)base)->closed = true;
}

static const struct praas_transport_ops fake_ops = {
	.scheme = "fake", .alloc = fake_alloc, .send = fake_send, .close = fake_close
};

static inline struct fake_conn *fake_conn_new(struct fixture *f, uint64_t source)
{
	struct fake_conn *conn = calloc(1, sizeof(*conn));

	conn->base.ops = &fake_ops;
	conn->base.port = &conn->port;
	conn->base.bytes_max = 1 << 20;
	conn->base.peer_source = PRAAS_CLIENT | source;
	conn->base.peer_rights = PRAAS_RIGHT_ALL;
	conn->f = f;
	praas_conn_set_events(&conn->base, praas_process_conn_events(), f->p);
	conn->base.events->opened(f->p, &conn->base);
	return conn;
}

/* The oldest frame that was sent to conn and not yet taken; fails when there is none. */
static inline struct praas_buf *fake_take(struct fake_conn *conn)
{
	assert_true(conn->taken < conn->sent_count);
	return conn->sent[conn->taken++];
}

static inline bool fake_has(const struct fake_conn *conn)
{
	return conn->taken < conn->sent_count;
}

static inline void fake_conn_free(struct fake_conn *conn)
{
	if (!conn->closed)
		conn->base.events->closed(conn->f->p, &conn->base, 0);
	while (conn->taken < conn->sent_count)
		praas_buf_release(conn->sent[conn->taken++]);
	free(conn);
}

/* Gives the process a frame as if it came by conn; trace: of PRAAS_TRACE_BYTES, NULL: none. */
static inline void fake_frame_traced(struct fake_conn *conn,
				     const struct praas_frame *head, const char *key,
				     const void *data, uint64_t bytes,
				     const uint8_t *trace)
{
	struct praas_buf *buf = NULL;

	assert_int_equal(fixture_alloc(conn->f, bytes, &buf), 0);
	buf->head = *head;
	buf->head.bytes = bytes;
	if (key) {
		buf->head.key_bytes = (uint8_t)strlen(key);
		strcpy(buf->key, key);
	}
	if (bytes)
		memcpy(buf->data, data, bytes);
	if (trace) {
		buf->head.flags |= PRAAS_FRAME_TRACE;
		memcpy(buf->trace, trace, PRAAS_TRACE_BYTES);
	}
	conn->base.events->frame(conn->f->p, &conn->base, buf);
}

static inline void fake_frame(struct fake_conn *conn, const struct praas_frame *head,
			      const char *key, const void *data, uint64_t bytes)
{
	fake_frame_traced(conn, head, key, data, bytes, NULL);
}

static inline void fixture_init(struct fixture *f, uint64_t pool_bytes)
{
	*f = (struct fixture){ 0 };
	assert_int_equal(praas_doorbell_setup(), 0);
	assert_int_equal(
		praas_segment_create("test-pool", pool_bytes, 1, 0, &f->segment), 0);
	assert_int_equal(praas_pool_new(&f->segment, 0, pool_bytes, &f->pool), 0);
	f->memory = (struct praas_memory){ .alloc = fixture_alloc, .user = f };
}

/* The usual config; the caller changes it and gives it to fixture_start(). */
static inline struct praas_process_config fixture_config(
	struct fixture *f, const struct praas_function *functions, uint32_t count)
{
	return (struct praas_process_config){ .pid = FIXTURE_PID,
					      .epoch = FIXTURE_EPOCH,
					      .functions = functions,
					      .functions_count = count,
					      .bytes_max = 1 << 20,
					      .pool = f->pool,
					      .pool_segment = &f->segment,
					      .memory = &f->memory };
}

static inline void fixture_start(struct fixture *f,
				 const struct praas_process_config *config)
{
	assert_int_equal(praas_process_new(config, &f->p), 0);
	praas_process_gate(f->p, true);
}

/* Everything goes; nothing may be left. */
static inline void fixture_release(struct fixture *f)
{
	struct praas_pool_stats stats;

	praas_process_free(f->p);
	assert_int_equal(f->bufs, 0);
	praas_pool_stats(f->pool, &stats);
	assert_int_equal(stats.bytes_used, 0);
	assert_int_equal(stats.violations, 0);
	praas_pool_free(f->pool);
	praas_segment_release(&f->segment);
}

#endif
