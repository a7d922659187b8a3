/* SPDX-License-Identifier: Apache-2.0
 * Of the suite of all transports: how connections end (docs/transports.md, "Ends"). */
#include "suite.h"

/* Closed with frames queued: sent() once for each, nothing afterwards. */
void test_transport_close_during_send(void **state)
{
	unsigned accepted = 0;

	(void)state;
	rig_start(&rig, scheme, NULL);
	rig_connect(&rig, &rig.client);
	rig.server_paused = true;
	while (accepted < 5000 && rig_invoke(rig.client.conn, accepted + 1, 4096) == 0)
		accepted++;
	assert_true(accepted > 0);
	rig.client.conn->ops->close(rig.client.conn, false);
	assert_int_equal(rig.client.sent + rig.client.sent_bad, accepted);
	rig.server_paused = false;
	rig_until(&rig, &rig.server.closed, 1);
	rig_run_ms(&rig, 5);
	assert_int_equal(rig.client.sent + rig.client.sent_bad, accepted);
	assert_int_equal(rig.client.closed, 0);
	rig_stop(&rig);
}

/* Closed in order: what was queued arrives, then the end. */
void test_transport_close_after_flush(void **state)
{
	unsigned accepted = 0;

	(void)state;
	rig_start(&rig, scheme, NULL);
	rig_connect(&rig, &rig.client);
	while (accepted < 60 && rig_invoke(rig.client.conn, accepted + 1, 16384) == 0)
		accepted++;
	assert_true(accepted > 8);
	rig.client.conn->ops->close(rig.client.conn, true);
	rig_until(&rig, &rig.server.closed, 1);
	assert_int_equal(rig.server.frames, accepted);
	assert_int_equal(rig.server.order_errors, 0);
	assert_int_equal(rig.server.closed_rc, 0);
	assert_int_equal(rig.client.sent + rig.client.sent_bad, accepted);
	rig_stop(&rig);
}

/* Requests of so many bytes as the transport takes at once, at most 60. */
static unsigned ask_many(void)
{
	unsigned asked = 0;

	while (asked < 60 && rig_invoke(rig.client.conn, asked + 1, 16384) == 0)
		asked++;
	assert_true(asked > 8);
	return asked;
}

/* The connection that came after one that ended serves. */
static void assert_serves_again(void)
{
	unsigned before = rig.client.frames;

	rig.server.next_id = 0;
	rig_connect(&rig, &rig.client);
	assert_int_equal(rig_invoke(rig.client.conn, 1, 64), 0);
	rig_until(&rig, &rig.client.frames, before + 1);
}

/* There is no half of a connection: who closes with requests under way gets none of the answers.
 * The peer gets all of the requests, may answer each, is told once what became of each answer,
 * and then that the end was in order. */
void test_transport_half_close(void **state)
{
	unsigned asked;

	(void)state;
	rig_start(&rig, scheme, NULL);
	rig_connect(&rig, &rig.client);
	rig.server.echo = true;
	rig.server_paused = true;
	asked = ask_many();
	rig.client.conn->ops->close(rig.client.conn, true);
	rig_run_ms(&rig, 5);
	rig.server_paused = false;
	rig_until(&rig, &rig.server.closed, 1);
	assert_int_equal(rig.server.frames, asked);
	assert_int_equal(rig.server.order_errors, 0);
	assert_int_equal(rig.server.closed_rc, 0);
	assert_int_equal(rig.server.sent + rig.server.sent_bad +
				 rig.server.refused_echoes,
			 asked);
	assert_int_equal(rig.client.sent + rig.client.sent_bad, asked);
	assert_int_equal(rig.client.frames + rig.client.closed, 0);
	assert_serves_again();
	rig_stop(&rig);
}

/* Who answers and then ends, though more requests come in than it will ever read: its answers
 * come before its end, all of them. */
void test_transport_answers_before_the_end(void **state)
{
	unsigned asked;

	(void)state;
	rig_start(&rig, scheme, NULL);
	rig_connect(&rig, &rig.client);
	rig.server.echo = true;
	rig.server.flush_at_frame = 8;
	rig.server_paused = true;
	asked = ask_many();
	rig.server_paused = false;
	rig_until(&rig, &rig.client.closed, 1);
	assert_int_equal(rig.server.frames, 8);
	assert_int_equal(rig.server.refused_echoes, 0);
	assert_int_equal(rig.server.sent, 8);
	assert_int_equal(rig.server.closed, 0);
	assert_int_equal(rig.client.frames, 8);
	assert_int_equal(rig.client.order_errors, 0);
	assert_int_equal(rig.client.closed_rc, 0);
	assert_int_equal(rig.client.sent + rig.client.sent_bad, asked);
	rig.server.flush_at_frame = 0;
	assert_serves_again();
	rig_stop(&rig);
}

/* The server closes, in an upcall too; the client sees it and connects again. */
void test_transport_reconnects(void **state)
{
	(void)state;
	rig_start(&rig, scheme, NULL);
	for (unsigned i = 1; i <= 20; i++) {
		rig_connect(&rig, &rig.client);
		rig.server.close_at_frame = i % 2;
		assert_int_equal(rig_invoke(rig.client.conn, 1, 64), 0);
		rig_until(&rig, &rig.server.frames, i);
		if (i % 2 == 0)
			rig.server.conn->ops->close(rig.server.conn, true);
		rig_until(&rig, &rig.client.closed, i);
		assert_int_equal(rig.server.closed, 0);
	}
	rig_stop(&rig);
}
