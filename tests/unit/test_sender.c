/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "dataplane/sender.h"

#define WINDOW 8u

struct fixture {
	struct praas_sender s;
	struct praas_sender_slot slots[WINDOW];
	struct praas_sender_action a; /* the last */
};

static void begin(struct fixture *f, uint32_t epoch)
{
	struct praas_sender_config config = { .slots = f->slots,
					      .window = WINDOW,
					      .batch = 4,
					      .epoch = epoch,
					      .backoff_min_ns = 10,
					      .backoff_max_ns = 40,
					      .silence_ns = 1000 };

	*f = (struct fixture){ 0 };
	config.slots = f->slots;
	assert_int_equal(praas_sender_init(&f->s, &config), 0);
}

static void push(struct fixture *f, uint64_t token, uint64_t deadline_ns)
{
	struct praas_seq seq;

	assert_int_equal(praas_sender_push(&f->s, token, deadline_ns, &seq), 0);
	assert_int_equal(seq.number, f->s.last.number);
}

static enum praas_sender_action_kind poll(struct fixture *f, uint64_t now_ns)
{
	praas_sender_poll(&f->s, now_ns, &f->a);
	return f->a.kind;
}

static void expect_done(struct fixture *f, uint64_t now_ns, uint64_t token, int rc,
			uint8_t level)
{
	assert_int_equal(poll(f, now_ns), PRAAS_SENDER_DONE);
	assert_int_equal(f->a.token, token);
	assert_int_equal(f->a.rc, rc);
	assert_int_equal(f->a.level, level);
}

static void expect_send(struct fixture *f, uint64_t now_ns, uint64_t token,
			uint64_t after)
{
	assert_int_equal(poll(f, now_ns), PRAAS_SENDER_SEND);
	assert_int_equal(f->a.token, token);
	assert_int_equal(f->a.after.number, after);
}

/* To a serving process: ask, connect, all of the window is sent in order. */
static void go_direct(struct fixture *f, uint64_t now_ns, uint32_t epoch)
{
	assert_int_equal(poll(f, now_ns), PRAAS_SENDER_APPEND);
	praas_sender_moved(&f->s, f->a.attempt, epoch, now_ns);
	assert_int_equal(poll(f, now_ns), PRAAS_SENDER_CONNECT);
	assert_int_equal(f->a.epoch, epoch);
	praas_sender_connected(&f->s, f->a.attempt, now_ns);
}

/* A bad configuration is refused; a full window says so. */
static void test_sender_limits(void **state)
{
	struct praas_sender_config config;
	struct praas_seq seq;
	struct fixture f;

	(void)state;
	begin(&f, 1);
	config = f.s.config;
	config.window = 3;
	assert_int_equal(praas_sender_init(&f.s, &config), -EINVAL);
	config.window = 2 * PRAAS_SENDER_WINDOW_MAX;
	assert_int_equal(praas_sender_init(&f.s, &config), -EINVAL);
	begin(&f, 0 + 1);
	for (unsigned i = 0; i < WINDOW; i++)
		push(&f, i, 0);
	assert_int_equal(praas_sender_push(&f.s, 99, 0, &seq), -EAGAIN);
}

/* The plain story, and a refusal in the middle: all that is not acknowledged goes again. */
static void test_sender_refusal_moves_the_window_in_order(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 1);
	for (uint64_t i = 1; i <= 4; i++)
		push(&f, i, 0);
	go_direct(&f, 1, 7);
	expect_send(&f, 1, 1, 0);
	expect_send(&f, 1, 2, 1);
	expect_send(&f, 1, 3, 2);
	praas_sender_acked(&f.s, f.a.attempt, (struct praas_seq){ 1, 1, 0 }, 2);
	expect_done(&f, 2, 1, 0, PRAAS_SENDER_MEMORY);
	assert_int_equal(f.a.epoch, 7);
	praas_sender_lost(&f.s, f.a.attempt, 2); /* no: of no attempt */
	expect_send(&f, 2, 4, 3);
	praas_sender_lost(&f.s, f.a.attempt, 3);
	assert_int_equal(poll(&f, 3), PRAAS_SENDER_CLOSE);
	assert_int_equal(poll(&f, 3), PRAAS_SENDER_NONE);
	assert_int_equal(praas_sender_due_ns(&f.s), 13);
	go_direct(&f, 13, 8);
	/* The first was acknowledged from memory: it may be lost, and is not waited for. */
	expect_send(&f, 13, 2, 0);
	expect_send(&f, 13, 3, 2);
	expect_send(&f, 13, 4, 3);
	praas_sender_acked(&f.s, f.a.attempt, (struct praas_seq){ 4, 1, 0 }, 14);
	for (uint64_t i = 2; i <= 4; i++)
		expect_done(&f, 14, i, 0, PRAAS_SENDER_MEMORY);
	assert_int_equal(poll(&f, 14), PRAAS_SENDER_NONE);
	assert_int_equal(praas_sender_due_ns(&f.s), 0);
}

/* What is in the backup queue has to come before what is sent directly later; an answer to an
 * earlier append, or about messages that have timed out meanwhile, does no harm. */
static void test_sender_queue_then_direct(void **state)
{
	struct fixture f;
	uint32_t attempt;

	(void)state;
	begin(&f, 1);
	push(&f, 1, 500);
	push(&f, 2, 0);
	assert_int_equal(poll(&f, 1), PRAAS_SENDER_APPEND);
	assert_int_equal(f.a.count, 2);
	attempt = f.a.attempt;
	push(&f, 3, 0);
	expect_done(&f, 500, 1, -ETIMEDOUT, 0); /* it may be there */
	praas_sender_queued(&f.s, attempt + 1, (struct praas_seq){ 2, 1, 0 }, 501);
	assert_int_equal(poll(&f, 501), PRAAS_SENDER_NONE);
	/* Only the first was taken, and nobody waits for it any more. */
	praas_sender_queued(&f.s, attempt, (struct praas_seq){ 1, 1, 0 }, 501);
	go_direct(&f, 501, 3);
	expect_send(&f, 501, 2, 1);
	praas_sender_lost(&f.s, f.a.attempt, 502);
	assert_int_equal(poll(&f, 512), PRAAS_SENDER_CLOSE);
	assert_int_equal(poll(&f, 512), PRAAS_SENDER_APPEND);
	praas_sender_queued(&f.s, f.a.attempt, (struct praas_seq){ 2, 1, 0 }, 513);
	expect_done(&f, 513, 2, 0, PRAAS_SENDER_DURABLE);
	go_direct(&f, 513, 4);
	expect_send(&f, 513, 3, 2);
}

/* Silence ends every kind of path, each time after a longer pause up to the limit. */
static void test_sender_silence_and_back_off(void **state)
{
	static const uint64_t pauses[] = { 10, 20, 40, 40 };
	struct fixture f;
	uint64_t now = 5;

	(void)state;
	begin(&f, 1);
	push(&f, 1, 0);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(poll(&f, now), PRAAS_SENDER_APPEND);
		assert_int_equal(praas_sender_due_ns(&f.s), now + 1000);
		assert_int_equal(poll(&f, now + 999), PRAAS_SENDER_NONE);
		assert_int_equal(poll(&f, now + 1000), PRAAS_SENDER_NONE);
		now += 1000 + pauses[i];
		assert_int_equal(poll(&f, now - 1), PRAAS_SENDER_NONE);
	}
	assert_int_equal(poll(&f, now), PRAAS_SENDER_APPEND);
	praas_sender_moved(&f.s, f.a.attempt, 2, now);
	assert_int_equal(poll(&f, now), PRAAS_SENDER_CONNECT);
	now += 1000;
	assert_int_equal(poll(&f, now), PRAAS_SENDER_CLOSE);
	now += 40;
	go_direct(&f, now, 2);
	expect_send(&f, now, 1, 0);
	assert_int_equal(poll(&f, now + 1000), PRAAS_SENDER_CLOSE);
	assert_int_equal(poll(&f, now + 1040), PRAAS_SENDER_APPEND);
}

/* Deadlines: before it was ever sent, and after; the others go on in order. */
static void test_sender_deadlines(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 1);
	push(&f, 1, 0);
	push(&f, 2, 100);
	push(&f, 3, 0);
	go_direct(&f, 1, 5);
	expect_send(&f, 1, 1, 0);
	assert_int_equal(f.a.attempt, f.s.attempt);
	expect_send(&f, 1, 2, 1);
	expect_done(&f, 100, 2, -ETIMEDOUT, 0);
	expect_send(&f, 100, 3, 1);
	praas_sender_acked(&f.s, f.a.attempt, (struct praas_seq){ 3, 1, 0 }, 101);
	expect_done(&f, 101, 1, 0, PRAAS_SENDER_MEMORY);
	expect_done(&f, 101, 3, 0, PRAAS_SENDER_MEMORY);
	praas_sender_lost(&f.s, f.s.attempt, 102);
	push(&f, 4, 103);
	assert_int_equal(poll(&f, 102), PRAAS_SENDER_CLOSE);
	expect_done(&f, 103, 4, -ECANCELED, 0);
}

/* A deleted receiver ends all, at once and for ever. */
static void test_sender_gone(void **state)
{
	struct praas_seq seq;
	struct fixture f;

	(void)state;
	begin(&f, 1);
	push(&f, 1, 0);
	push(&f, 2, 0);
	assert_int_equal(poll(&f, 1), PRAAS_SENDER_APPEND);
	praas_sender_gone(&f.s, f.a.attempt);
	expect_done(&f, 1, 1, -ENOENT, 0);
	expect_done(&f, 1, 2, -ENOENT, 0);
	assert_int_equal(poll(&f, 1), PRAAS_SENDER_NONE);
	assert_int_equal(praas_sender_push(&f.s, 3, 0, &seq), -ENOENT);
	praas_sender_lost(&f.s, f.s.attempt, 2);
	assert_int_equal(poll(&f, 5000), PRAAS_SENDER_NONE);
}

/* A route is a hint: tried first, asked when it is wrong; the receiver itself may tell of a move,
 * but not back to an epoch that is over. */
static void test_sender_routes_and_moves(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 1);
	push(&f, 1, 0);
	praas_sender_route(&f.s, 3, 1);
	assert_int_equal(poll(&f, 1), PRAAS_SENDER_CONNECT);
	praas_sender_lost(&f.s, f.a.attempt, 2);
	praas_sender_route(&f.s, 3, 3); /* no: it backs off */
	assert_int_equal(poll(&f, 3), PRAAS_SENDER_CLOSE);
	go_direct(&f, 12, 4);
	expect_send(&f, 12, 1, 0);
	praas_sender_moved(&f.s, f.a.attempt, 5, 13);
	assert_int_equal(poll(&f, 13), PRAAS_SENDER_CLOSE);
	assert_int_equal(poll(&f, 13), PRAAS_SENDER_CONNECT);
	assert_int_equal(f.a.epoch, 5);
	praas_sender_connected(&f.s, f.a.attempt, 13);
	expect_send(&f, 13, 1, 0);
	praas_sender_moved(&f.s, f.a.attempt, 4, 14);
	assert_int_equal(f.s.path, PRAAS_SENDER_WAITING);
}

/* From the final cut of a swap-out on nothing is sent or told; when it fails, all goes on. */
static void test_sender_held(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 1);
	push(&f, 1, 50);
	praas_sender_hold(&f.s, true);
	assert_int_equal(poll(&f, 100), PRAAS_SENDER_NONE);
	assert_int_equal(praas_sender_due_ns(&f.s), 0);
	praas_sender_hold(&f.s, false);
	expect_done(&f, 100, 1, -ECANCELED, 0);
}

/* The outbox of a snapshot: after a clean end the places stay; else all get new ones. */
static void test_sender_restore(void **state)
{
	struct praas_seq last = { 9, 2, 0 }, durable = { 6, 2, 0 };
	struct fixture f;

	(void)state;
	begin(&f, 3);
	praas_sender_restore(&f.s, last, durable, true);
	assert_int_equal(
		praas_sender_restore_message(&f.s, (struct praas_seq){ 10, 2, 0 }, 1),
		-EINVAL);
	assert_int_equal(
		praas_sender_restore_message(&f.s, (struct praas_seq){ 8, 2, 0 }, 1),
		0);
	assert_int_equal(
		praas_sender_restore_message(&f.s, (struct praas_seq){ 8, 2, 0 }, 1),
		-EINVAL);
	push(&f, 2, 0);
	go_direct(&f, 1, 5);
	expect_send(&f, 1, 1, 6);
	assert_int_equal(f.a.seq.epoch, 2);
	expect_send(&f, 1, 2, 8);
	assert_int_equal(f.a.seq.number, 10);

	begin(&f, 3);
	praas_sender_restore(&f.s, last, durable, false);
	assert_int_equal(
		praas_sender_restore_message(&f.s, (struct praas_seq){ 8, 2, 0 }, 1),
		0);
	push(&f, 2, 0);
	go_direct(&f, 1, 5);
	expect_send(&f, 1, 1, 6);
	assert_int_equal(f.a.seq.epoch, 3);
	assert_int_equal(f.a.seq.number, 1);
	assert_int_equal(f.a.after.epoch, 2);
	expect_send(&f, 1, 2, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sender_limits),
		cmocka_unit_test(test_sender_refusal_moves_the_window_in_order),
		cmocka_unit_test(test_sender_queue_then_direct),
		cmocka_unit_test(test_sender_silence_and_back_off),
		cmocka_unit_test(test_sender_deadlines),
		cmocka_unit_test(test_sender_gone),
		cmocka_unit_test(test_sender_routes_and_moves),
		cmocka_unit_test(test_sender_held),
		cmocka_unit_test(test_sender_restore),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
