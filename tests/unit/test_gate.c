/* SPDX-License-Identifier: Apache-2.0
 *
 * The output gate: nothing leaves before the record it waits for is durable, each connection has its frames in their
 * order, and what ends with a connection is let go of.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>

#include "controller/gate.h"

struct end {
	struct praas_conn base;
	uint64_t went[64]; /* ids */
	unsigned count, room, told, watched;
	bool closed;
};

static unsigned made;

static void buf_release(struct praas_buf *buf)
{
	made--;
	free(buf);
}

static int end_send(struct praas_conn *conn, struct praas_buf *buf)
{
	struct end *e = (struct end *)(void *)conn;

	if (e->room == 0)
		return -EAGAIN;
	e->room--;
	e->went[e->count++] = buf->head.id;
	praas_buf_release(buf);
	return 0;
}

static void end_close(struct praas_conn *conn, bool after_flush)
{
	struct end *e = (struct end *)(void *)conn;

	(void)after_flush;
	e->closed = true;
	praas_conn_end(conn);
}

static void on_sent(void *user, struct praas_conn *conn, struct praas_buf *buf, int rc)
{
	(void)conn;
	(void)buf;
	assert_int_equal(rc, -ECANCELED);
	((struct end *)user)->told++;
}

static void on_watched(void *watcher)
{
	((struct end *)watcher)->watched++;
}

static int send_head(struct praas_conn *conn, const struct praas_frame *head)
{
	(void)conn;
	(void)head;
	fail_msg("a frame went past the gate");
	return 0;
}

static const struct praas_transport_ops ops = {
	.scheme = "end", .send = end_send, .send_head = send_head, .close = end_close
};
static const struct praas_conn_events events = { .sent = on_sent };

static void open_end(struct praas_gate *gate, struct end *e)
{
	*e = (struct end){ .base = { .ops = &ops, .events = &events, .user = e },
			   .room = 64 };
	e->base.ended = on_watched;
	e->base.watcher = e;
	assert_int_equal(praas_gate_add(gate, &e->base), 0);
	assert_null(e->base.ops->send_head);
}

static int say(struct end *e, uint8_t kind, uint64_t id, uint64_t bytes)
{
	struct praas_buf *buf = calloc(1, sizeof(*buf));
	int rc;

	assert_non_null(buf);
	made++;
	buf->head = (struct praas_frame){ .kind = kind, .id = id, .bytes = bytes };
	buf->release = buf_release;
	rc = e->base.ops->send(&e->base, buf);
	if (rc != 0)
		praas_buf_release(buf);
	return rc;
}

static void went(const struct end *e, unsigned count, ...)
{
	va_list list;

	assert_int_equal(e->count, count);
	va_start(list, count);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(e->went[i], va_arg(list, int));
	va_end(list);
}

/* A turn's frames wait for its record, those of a turn that changed nothing for the last one. */
static void test_gate_waits(void **state)
{
	struct praas_gate gate = { .all = true };
	struct end a, b;

	(void)state;
	open_end(&gate, &a);
	open_end(&gate, &b);
	assert_int_equal(say(&a, PRAAS_FRAME_RESULT, 1, 0), 0);
	assert_int_equal(say(&b, PRAAS_FRAME_REPLY, 2, 0), 0);
	assert_true(gate.fresh);
	assert_int_equal(praas_gate_turn(&gate, 1, 0), 0);
	assert_false(gate.fresh);
	assert_int_equal(praas_gate_first(&gate), 1);
	assert_int_equal(say(&a, PRAAS_FRAME_RESULT, 3, 0), 0);
	assert_int_equal(praas_gate_turn(&gate, 2, 1), 2);
	went(&a, 1, 1);
	went(&b, 1, 2);
	assert_int_equal(say(&b, PRAAS_FRAME_EVENT, 4, 0), 0);
	assert_int_equal(praas_gate_turn(&gate, 2, 1), 0);
	assert_int_equal(praas_gate_turn(&gate, 2, 2), 2);
	went(&a, 2, 1, 3);
	went(&b, 2, 2, 4);
	/* Nothing to wait for: it goes with its turn. */
	assert_int_equal(say(&a, PRAAS_FRAME_RESULT, 5, 0), 0);
	went(&a, 2, 1, 3);
	assert_int_equal(praas_gate_turn(&gate, 2, 2), 1);
	went(&a, 3, 1, 3, 5);
	assert_int_equal(gate.frames, 0);
	assert_int_equal(praas_gate_first(&gate), UINT64_MAX);
	a.base.ops->close(&a.base, false);
	b.base.ops->close(&b.base, false);
	assert_null(gate.conns);
	assert_int_equal(made, 0);
}

/* A journal holds acknowledgements; results go at once, nothing else overtakes. */
static void test_gate_of_a_journal(void **state)
{
	struct praas_gate gate = { .all = false };
	struct end a;

	(void)state;
	open_end(&gate, &a);
	assert_int_equal(say(&a, PRAAS_FRAME_EVENT, 1, 0), 0);
	assert_int_equal(say(&a, PRAAS_FRAME_REPLY, 2, 0), 0);
	assert_int_equal(say(&a, PRAAS_FRAME_RESULT, 3, 0), 0);
	assert_int_equal(say(&a, PRAAS_FRAME_EVENT, 4, 0), 0);
	went(&a, 2, 1, 3);
	assert_int_equal(praas_gate_turn(&gate, 1, 0), 0);
	assert_int_equal(praas_gate_turn(&gate, 1, 1), 2);
	went(&a, 4, 1, 3, 2, 4);
	a.base.ops->close(&a.base, false);
	assert_int_equal(made, 0);
}

/* A connection without room keeps its place, and is tried again. */
static void test_gate_back_pressure(void **state)
{
	struct praas_gate gate = { .all = true };
	struct end a;

	(void)state;
	open_end(&gate, &a);
	a.room = 1;
	for (uint64_t i = 1; i <= 3; i++)
		assert_int_equal(say(&a, PRAAS_FRAME_RESULT, i, 0), 0);
	assert_int_equal(praas_gate_turn(&gate, 7, 7), 1);
	assert_int_equal(gate.due, 1);
	assert_int_equal(praas_gate_first(&gate), UINT64_MAX);
	assert_int_equal(say(&a, PRAAS_FRAME_RESULT, 4, 0), 0);
	a.room = 2;
	assert_int_equal(praas_gate_turn(&gate, 8, 7), 2);
	assert_int_equal(gate.due, 0);
	a.room = 2;
	assert_int_equal(praas_gate_turn(&gate, 8, 8), 1);
	went(&a, 4, 1, 2, 3, 4);
	/* More than it may hold is the sender's again. */
	assert_int_equal(say(&a, PRAAS_FRAME_RESULT, 5, PRAAS_GATE_BYTES_MAX + 1), 0);
	assert_int_equal(say(&a, PRAAS_FRAME_RESULT, 6, 0), -EAGAIN);
	a.base.ops->close(&a.base, false);
	assert_int_equal(made, 0);
}

/* It is closed by us: who sent is told. It ends by itself: nobody is. Whoever watched it hears of both. */
static void test_gate_end(void **state)
{
	struct praas_gate gate = { .all = true };
	struct end a, b, c;

	(void)state;
	open_end(&gate, &a);
	open_end(&gate, &b);
	open_end(&gate, &c);
	for (uint64_t i = 1; i <= 2; i++) {
		assert_int_equal(say(&a, PRAAS_FRAME_RESULT, i, 0), 0);
		assert_int_equal(say(&b, PRAAS_FRAME_RESULT, i, 0), 0);
		assert_int_equal(say(&c, PRAAS_FRAME_RESULT, i, 0), 0);
	}
	b.base.ops->close(&b.base, true);
	assert_true(b.closed);
	assert_int_equal(b.told, 2);
	assert_int_equal(b.watched, 1);
	assert_int_equal(gate.frames, 4);
	praas_conn_end(&a.base);
	assert_int_equal(a.told, 0);
	assert_int_equal(a.watched, 1);
	assert_int_equal(praas_gate_turn(&gate, 1, 1), 2);
	went(&c, 2, 1, 2);
	c.base.ops->close(&c.base, false);
	assert_int_equal(c.watched, 1);
	assert_null(gate.conns);
	assert_int_equal(made, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gate_waits),
		cmocka_unit_test(test_gate_of_a_journal),
		cmocka_unit_test(test_gate_back_pressure),
		cmocka_unit_test(test_gate_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
