/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "control/life/ownership.h"
#include "control/life/queue.h"

/* ---- ownership ---- */

static const struct praas_owner_log empty;

static struct praas_owner resting(void)
{
	return (struct praas_owner){ .state = PRAAS_LIFE_SWAPPED,
				     .rest = PRAAS_LIFE_SWAPPED };
}

static struct praas_owner active(uint32_t epoch)
{
	struct praas_owner o = resting();

	o.state = PRAAS_LIFE_ACTIVE;
	o.epoch = epoch;
	o.lease_ns = 100;
	return o;
}

/* One whose mailbox is full serves, and messages are queued until it has caught up. */
static void test_owner_open(void **state)
{
	struct praas_owner o = resting();
	uint32_t epoch = 0;

	(void)state;
	assert_int_equal(praas_owner_open(&o, 0, 1, 2, 60), -ESTALE);
	assert_int_equal(praas_owner_activate(&o, &empty, 50, &epoch), 0);
	assert_int_equal(praas_owner_open(&o, 2, 1, 2, 60), -ESTALE);
	for (unsigned i = 0; i < PRAAS_OWNER_ROUNDS; i++)
		assert_int_equal(praas_owner_serve(&o, 1, 1, 2, 60), -EAGAIN);
	assert_int_equal(praas_owner_append(&o), PRAAS_OWNER_BUSY);
	assert_int_equal(praas_owner_open(&o, 1, 1, 2, 60), 0);
	assert_int_equal(o.state, PRAAS_LIFE_ACTIVE);
	assert_int_equal(praas_owner_append(&o), PRAAS_OWNER_QUEUED);
	assert_int_equal(praas_owner_serve(&o, 1, 2, 3, 60), -EAGAIN);
	assert_int_equal(praas_owner_open(&o, 1, 2, 3, 60), 0); /* once more */
	assert_int_equal(praas_owner_serve(&o, 1, 3, 3, 60), 0);
	assert_int_equal(praas_owner_append(&o), PRAAS_OWNER_MOVED);
	assert_int_equal(praas_owner_open(&o, 1, 2, 3, 60),
			 0); /* late: it has caught up */
	assert_int_equal(praas_owner_append(&o), PRAAS_OWNER_MOVED);
	/* A drain in between is one as any other. */
	assert_int_equal(praas_owner_drain(&o), 0);
	assert_int_equal(praas_owner_open(&o, 1, 3, 4, 60), 0);
	assert_int_equal(praas_owner_drain(&o), 0);
	assert_int_equal(praas_owner_append(&o), PRAAS_OWNER_QUEUED);
	assert_int_equal(praas_owner_serve(&o, 1, 4, 4, 60), 0);
	assert_int_equal(praas_owner_append(&o), PRAAS_OWNER_MOVED);
}

static struct praas_owner moving(void)
{
	struct praas_owner o = active(4);

	assert_int_equal(praas_owner_move(&o), 0);
	return o;
}

/* A move that comes about: messages are queued until the destination has caught up. */
static void test_owner_move(void **state)
{
	struct praas_owner o = active(4);

	(void)state;
	o.behind = true;
	assert_int_equal(praas_owner_move(&o), -EBUSY);
	o = moving();
	assert_int_equal(o.state, PRAAS_LIFE_MIGRATING);
	assert_int_equal(o.to, 5);
	assert_int_equal(praas_owner_append(&o), PRAAS_OWNER_QUEUED);
	assert_int_equal(praas_owner_move(&o), -EBUSY);
	assert_int_equal(praas_owner_drain(&o), -EBUSY);
	assert_int_equal(praas_owner_renew(&o, 4, 70), 0);
	assert_int_equal(praas_owner_serve(&o, 4, 1, 1, 70), -EBUSY); /* late */
	assert_int_equal(praas_owner_open(&o, 4, 1, 1, 70), -EBUSY);
	assert_int_equal(praas_owner_moved(&o, 6, 80), -ESTALE);
	assert_int_equal(praas_owner_serve(&o, 5, 1, 2, 80), -EAGAIN);
	assert_int_equal(o.state, PRAAS_LIFE_ACTIVATING);
	assert_int_equal(o.epoch, 5);
	assert_int_equal(praas_owner_renew(&o, 4, 90), -ESTALE);
	assert_int_equal(praas_owner_kept(&o, 4), -ESTALE);
	assert_int_equal(praas_owner_append(&o), PRAAS_OWNER_QUEUED);
	assert_int_equal(praas_owner_serve(&o, 5, 2, 2, 80), 0);
	assert_int_equal(praas_owner_append(&o), PRAAS_OWNER_MOVED);
	assert_int_equal(praas_owner_move(&o), 0);
	assert_int_equal(o.to, 6);
	/* After a restart: it is not known which epoch the other has. */
	o.to = 0;
	assert_int_equal(praas_owner_moved(&o, 5, 80), -ESTALE);
	assert_int_equal(praas_owner_moved(&o, 9, 80), 0);
	assert_int_equal(o.epoch, 9);
}

/* One that does not: the number is never given again, and the process catches up. */
static void test_owner_move_called_off(void **state)
{
	struct praas_owner o = moving();

	(void)state;
	assert_int_equal(praas_owner_kept(&o, 5), -ESTALE);
	assert_int_equal(praas_owner_kept(&o, 4), 0);
	assert_int_equal(o.state, PRAAS_LIFE_DRAINING);
	assert_int_equal(praas_owner_kept(&o, 4), -ESTALE);
	assert_int_equal(praas_owner_serve(&o, 5, 3, 3, 60), -ESTALE);
	assert_int_equal(praas_owner_serve(&o, 4, 3, 3, 60), 0);
	assert_int_equal(praas_owner_move(&o), 0);
	assert_int_equal(o.to, 6);
	assert_int_equal(praas_owner_delete(&o), 0);
	assert_int_equal(praas_owner_moved(&o, 6, 60), -ESTALE);
}

/* The source has gone: the log says who has it. */
static void test_owner_move_ends(void **state)
{
	const struct praas_owner_log undecided = { .epoch = 4 }, taken = { .epoch = 5 },
				     swapped = { .epoch = 4, .released = true };
	struct praas_owner o = moving();
	uint32_t epoch;

	(void)state;
	assert_int_equal(praas_owner_ended(&o, 4, &taken, false, 50), -EBUSY);
	assert_int_equal(praas_owner_ended(&o, 5, &taken, true, 50), -ESTALE);
	assert_int_equal(praas_owner_ended(&o, 4, &taken, true, 50), 0);
	assert_int_equal(o.state, PRAAS_LIFE_ACTIVATING);
	assert_int_equal(o.epoch, 5);
	assert_int_equal(praas_owner_ended(&o, 5, &taken, true, 50), 0);
	assert_int_equal(o.state, PRAAS_LIFE_LOST); /* it had all of it, in memory */
	o = moving();
	assert_int_equal(praas_owner_ended(&o, 4, &undecided, true, 50), 0);
	assert_int_equal(o.state, PRAAS_LIFE_LOST);
	assert_int_equal(praas_owner_activate(&o, &undecided, 60, &epoch), 0);
	assert_int_equal(epoch, 6); /* 5 may still write */
	o = moving();
	assert_int_equal(praas_owner_ended(&o, 4, &swapped, true, 50), 0);
	assert_int_equal(o.state, PRAAS_LIFE_SWAPPED);
}

/* The story of an epoch, and where messages go meanwhile. */
static void test_owner_story(void **state)
{
	struct praas_owner o = resting();
	uint32_t epoch = 0;

	(void)state;
	assert_int_equal(praas_owner_append(&o), PRAAS_OWNER_QUEUED);
	assert_int_equal(praas_owner_activate(&o, &empty, 50, &epoch), 0);
	assert_int_equal(epoch, 1);
	assert_int_equal(praas_owner_append(&o), PRAAS_OWNER_QUEUED);
	assert_int_equal(praas_owner_activate(&o, &empty, 50, &epoch), -EBUSY);
	assert_int_equal(praas_owner_serve(&o, 1, 0, 2, 60), -EAGAIN);
	assert_int_equal(praas_owner_serve(&o, 2, 2, 2, 60), -ESTALE);
	assert_int_equal(praas_owner_serve(&o, 1, 2, 2, 60), 0);
	assert_int_equal(praas_owner_serve(&o, 1, 2, 2, 60), 0); /* asked twice */
	assert_int_equal(praas_owner_append(&o), PRAAS_OWNER_MOVED);
	assert_int_equal(praas_owner_renew(&o, 1, 70), 0);
	assert_int_equal(praas_owner_renew(&o, 2, 70), -ESTALE);
	assert_int_equal(praas_owner_drain(&o), 0);
	assert_int_equal(praas_owner_drain(&o), -EBUSY);
	assert_int_equal(praas_owner_append(&o), PRAAS_OWNER_QUEUED);
	/* Called off: only with the queue read. */
	assert_int_equal(praas_owner_serve(&o, 1, 2, 3, 80), -EAGAIN);
	assert_int_equal(praas_owner_serve(&o, 1, 3, 3, 80), 0);
	assert_int_equal(praas_owner_drain(&o), 0);
	assert_int_equal(praas_owner_release(&o, 2), -ESTALE);
	assert_int_equal(praas_owner_release(&o, 1), 0);
	assert_int_equal(o.state, PRAAS_LIFE_SWAPPED);
	assert_int_equal(praas_owner_release(&o, 1), -ESTALE);
	assert_int_equal(praas_owner_serve(&o, 1, 3, 3, 80), -ESTALE);
	assert_int_equal(praas_owner_renew(&o, 1, 90), -ESTALE);
}

/* An epoch is above all that the record or the log have seen. */
static void test_owner_epochs_grow(void **state)
{
	struct praas_owner_log log = { .epoch = 8 };
	struct praas_owner o = resting();
	uint32_t epoch;

	(void)state;
	o.epoch = 5;
	assert_int_equal(praas_owner_activate(&o, &log, 50, &epoch), 0);
	assert_int_equal(epoch, 9);
	o.state = PRAAS_LIFE_LOST;
	log.epoch = 3;
	assert_int_equal(praas_owner_activate(&o, &log, 50, &epoch), 0);
	assert_int_equal(epoch, 10);
}

/* How an epoch ended is what the log says; an activation that failed leaves what was. */
static void test_owner_ended(void **state)
{
	struct praas_owner_log released = { .epoch = 4, .released = true };
	struct praas_owner_log open = { .epoch = 4 };
	struct praas_owner o = active(4);
	uint32_t epoch;

	(void)state;
	assert_int_equal(praas_owner_ended(&o, 4, &open, false, 99), -EBUSY);
	assert_int_equal(praas_owner_ended(&o, 3, &open, true, 200), -ESTALE);
	assert_int_equal(praas_owner_ended(&o, 4, &open, false, 100), 0);
	assert_int_equal(o.state, PRAAS_LIFE_LOST);
	assert_int_equal(praas_owner_ended(&o, 4, &open, true, 100), -ESTALE);
	o = active(4);
	assert_int_equal(praas_owner_ended(&o, 4, &released, true, 0), 0);
	assert_int_equal(o.state, PRAAS_LIFE_SWAPPED);
	o = resting();
	o.state = PRAAS_LIFE_KILLED;
	assert_int_equal(praas_owner_activate(&o, &open, 50, &epoch), 0);
	assert_int_equal(praas_owner_ended(&o, epoch, &open, true, 0), 0);
	assert_int_equal(o.state, PRAAS_LIFE_KILLED);
}

/* An activation that cannot catch up stops the appends, and they begin again with the next. */
static void test_owner_busy_while_catching_up(void **state)
{
	struct praas_owner o = resting();
	uint32_t epoch;

	(void)state;
	assert_int_equal(praas_owner_activate(&o, &empty, 50, &epoch), 0);
	for (uint64_t i = 0; i < PRAAS_OWNER_ROUNDS; i++) {
		assert_int_equal(praas_owner_append(&o), PRAAS_OWNER_QUEUED);
		assert_int_equal(praas_owner_serve(&o, epoch, i, i + 1, 60), -EAGAIN);
	}
	assert_int_equal(praas_owner_append(&o), PRAAS_OWNER_BUSY);
	assert_int_equal(praas_owner_ended(&o, epoch, &empty, true, 0), 0);
	assert_int_equal(praas_owner_append(&o), PRAAS_OWNER_QUEUED);
}

/* Deletion is final: nobody becomes owner, nothing is queued, and the record stays until the
 * tombstone is in and nobody serves. */
static void test_owner_delete(void **state)
{
	struct praas_owner_log tomb = { .epoch = 5, .tomb = true };
	struct praas_owner o = active(4);
	uint32_t epoch;

	(void)state;
	assert_int_equal(praas_owner_erase(&o, &tomb, true, 500), -EBUSY);
	assert_int_equal(praas_owner_delete(&o), 0);
	assert_int_equal(praas_owner_delete(&o), 0);
	assert_int_equal(praas_owner_append(&o), PRAAS_OWNER_GONE);
	assert_int_equal(praas_owner_serve(&o, 4, 0, 0, 60), -ESTALE);
	assert_int_equal(praas_owner_renew(&o, 4, 600), -ESTALE);
	assert_int_equal(praas_owner_release(&o, 4), -ESTALE);
	assert_int_equal(praas_owner_drain(&o), -EBUSY);
	assert_int_equal(praas_owner_activate(&o, &tomb, 50, &epoch), -ENOENT);
	assert_int_equal(praas_owner_erase(&o, &empty, true, 500), -EBUSY);
	assert_int_equal(praas_owner_erase(&o, &tomb, false, 99), -EBUSY);
	assert_int_equal(praas_owner_erase(&o, &tomb, true, 99), 0);
	assert_int_equal(praas_owner_erase(&o, &tomb, false, 100), 0);
}

/* ---- the backup queue ---- */

static struct praas_seq at(uint64_t number)
{
	return (struct praas_seq){ .epoch = 1, .number = number };
}

static void append(struct praas_queue *q, uint64_t number, const char *text)
{
	assert_int_equal(
		praas_queue_append(q, 7, at(number), text, (uint32_t)strlen(text)), 0);
}

/* Order, positions that are never given twice, and trimming; in a ring that grows and wraps. */
static void test_queue_order_and_trim(void **state)
{
	const struct praas_queue_message *m;
	struct praas_queue q;
	uint64_t trimmed = 0;

	(void)state;
	assert_int_equal(praas_queue_init(&q, 1000, 1 << 20), 0);
	assert_int_equal(praas_queue_next(&q, 0, &m), -EAGAIN);
	for (uint64_t i = 1; i <= 500; i++) {
		append(&q, i, i % 3 ? "text" : "");
		if (i % 7 == 0) {
			trimmed = i - 5;
			praas_queue_trim(&q, trimmed);
		}
		assert_int_equal(q.tail, i);
		assert_int_equal(praas_queue_next(&q, trimmed, &m), 0);
		assert_int_equal(m->position, trimmed + 1);
		assert_int_equal(m->seq.number, trimmed + 1);
		assert_int_equal(m->source, 7);
		assert_int_equal(m->bytes, (trimmed + 1) % 3 ? 4 : 0);
		assert_int_equal(praas_queue_next(&q, i, &m), -EAGAIN);
		if (trimmed > 0)
			assert_int_equal(praas_queue_next(&q, trimmed - 1, &m),
					 -ESTALE);
	}
	praas_queue_trim(&q, 1); /* long gone */
	assert_int_equal(q.trimmed, trimmed);
	praas_queue_trim(&q, q.tail);
	assert_int_equal(q.count, 0);
	assert_int_equal(q.bytes, 0);
	append(&q, 501, "x");
	assert_int_equal(q.tail, 501);
	praas_queue_release(&q);
}

/* Both limits have their number, and refuse before anything is changed. */
static void test_queue_limits(void **state)
{
	struct praas_queue q;

	(void)state;
	assert_int_equal(praas_queue_init(&q, 0, 1), -EINVAL);
	assert_int_equal(praas_queue_init(&q, 3, 10), 0);
	append(&q, 1, "12345");
	assert_int_equal(praas_queue_append(&q, 7, at(2), "123456", 6), -ENOSPC);
	append(&q, 2, "12345");
	append(&q, 3, "");
	assert_int_equal(praas_queue_append(&q, 7, at(4), "", 0), -ENOSPC);
	assert_int_equal(q.tail, 3);
	praas_queue_trim(&q, 1);
	append(&q, 4, "12345");
	praas_queue_release(&q);
	praas_queue_release(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_owner_story),
		cmocka_unit_test(test_owner_open),
		cmocka_unit_test(test_owner_epochs_grow),
		cmocka_unit_test(test_owner_move),
		cmocka_unit_test(test_owner_move_called_off),
		cmocka_unit_test(test_owner_move_ends),
		cmocka_unit_test(test_owner_ended),
		cmocka_unit_test(test_owner_busy_while_catching_up),
		cmocka_unit_test(test_owner_delete),
		cmocka_unit_test(test_queue_order_and_trim),
		cmocka_unit_test(test_queue_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
