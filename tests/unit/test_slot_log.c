/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "controller/store/slot_log.h"

static const struct praas_slot_id id = { .tenant = { 1, 2, 3 },
					 .pid = 7,
					 .generation = 2 };

struct fixture {
	struct praas_store *store;
	struct praas_slot_entry entry, other;
	int fail_before, fail_after; /* so many operations "put_if_absent" fail yet */
	bool full;                   /* then the store is */
};

static int fault(void *user, const char *op, const char *key, int done)
{
	struct fixture *f = user;

	(void)key;
	if (strcmp(op, "put_if_absent") != 0)
		return 0;
	if (!done && f->fail_before > 0) {
		f->fail_before--;
		return -EIO;
	}
	if (!done && f->full && f->fail_after == 0)
		return -ENOSPC;
	if (done && f->fail_after > 0) {
		f->fail_after--;
		return -EIO;
	}
	return 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(praas_store_memory_open(&f->store), 0);
	praas_store_memory_faults(f->store, fault, f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	praas_store_free(f->store);
	free(f);
	return 0;
}

static struct praas_slot_log open_log(struct fixture *f)
{
	struct praas_slot_log log;

	assert_int_equal(praas_slot_log_open(f->store, &id, &log), 0);
	return log;
}

static int put_here(struct praas_slot_log *log, struct praas_slot_entry *e)
{
	memset(e, 0, sizeof(*e));
	e->epoch = 2;
	e->kind = PRAAS_SLOT_ACT;
	return praas_slot_log_put_here(log, e);
}

static int put(struct praas_slot_log *log, uint32_t epoch, enum praas_slot_kind kind)
{
	struct praas_slot_entry *e = calloc(1, sizeof(*e));
	int rc;

	assert_non_null(e);
	e->epoch = epoch;
	e->kind = (uint8_t)kind;
	e->body_bytes = 3;
	memcpy(e->body, "abc", 3);
	rc = praas_slot_log_put(log, e);
	free(e);
	return rc;
}

/* What is encoded decodes to the same; any changed bit is found. */
static void test_slot_log_every_flipped_bit_is_found(void **state)
{
	struct fixture *f = *state;
	uint8_t data[PRAAS_SLOT_HEADER_BYTES + 16];
	size_t bytes;

	f->entry = (struct praas_slot_entry){ .slot = 9,
					      .epoch = 4,
					      .kind = PRAAS_SLOT_SNAP,
					      .nonce = { 5 },
					      .body_bytes = 5 };
	memcpy(f->entry.body, "hello", 5);
	bytes = praas_slot_encode(&id, &f->entry, data);
	assert_int_equal(praas_slot_decode(&id, 9, data, bytes, &f->other), 0);
	assert_int_equal(f->other.epoch, 4);
	assert_int_equal(f->other.kind, PRAAS_SLOT_SNAP);
	assert_memory_equal(f->other.body, "hello", 5);
	assert_int_equal(praas_slot_decode(&id, 8, data, bytes, &f->other), -EPROTO);
	for (size_t bit = 0; bit < bytes * 8; bit++) {
		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(praas_slot_decode(&id, 9, data, bytes, &f->other),
				 -EPROTO);
		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t n = 0; n < bytes; n++)
		assert_int_equal(praas_slot_decode(&id, 9, data, n, &f->other),
				 -EPROTO);
}

/* An entry of another process's log is refused. */
static void test_slot_log_foreign_entry_is_refused(void **state)
{
	struct fixture *f = *state;
	struct praas_slot_id foreign = id;
	uint8_t data[PRAAS_SLOT_HEADER_BYTES];
	size_t bytes;

	f->entry = (struct praas_slot_entry){ .epoch = 1, .kind = PRAAS_SLOT_ACT };
	bytes = praas_slot_encode(&id, &f->entry, data);
	foreign.pid++;
	assert_int_equal(praas_slot_decode(&foreign, 0, data, bytes, &f->other),
			 -EPROTO);
	foreign = id;
	foreign.generation++;
	assert_int_equal(praas_slot_decode(&foreign, 0, data, bytes, &f->other),
			 -EPROTO);
	foreign = id;
	foreign.tenant[15] ^= 1;
	assert_int_equal(praas_slot_decode(&foreign, 0, data, bytes, &f->other),
			 -EPROTO);
}

/* Epochs follow one another; a reader learns the last two snapshots. */
static void test_slot_log_two_lives(void **state)
{
	struct fixture *f = *state;
	struct praas_slot_log a = open_log(f), b, c;

	assert_int_equal(a.cursor, 0);
	assert_int_equal(put(&a, 1, PRAAS_SLOT_ACT), 0);
	assert_int_equal(put(&a, 1, PRAAS_SLOT_SNAP), 0);
	assert_int_equal(put(&a, 1, PRAAS_SLOT_REL), 0);
	b = open_log(f);
	assert_int_equal(b.cursor, 3);
	assert_int_equal(b.epoch_max, 1);
	assert_int_equal(b.snapshot_slot, 2);
	assert_int_equal(b.previous_slot, 1);
	assert_int_equal(b.last_kind, PRAAS_SLOT_REL);
	assert_int_equal(put(&b, 2, PRAAS_SLOT_ACT), 0);
	assert_int_equal(put(&b, 2, PRAAS_SLOT_REL), 0);
	c = open_log(f);
	assert_int_equal(c.epoch_max, 2);
	assert_int_equal(c.snapshot_slot, 4);
	assert_int_equal(c.previous_slot, 2);
}

/* A paused old epoch that comes back is fenced, for good. */
static void test_slot_log_old_epoch_is_fenced(void **state)
{
	struct fixture *f = *state;
	struct praas_slot_log a = open_log(f), b;

	assert_int_equal(put(&a, 1, PRAAS_SLOT_ACT), 0);
	b = open_log(f);
	assert_int_equal(put(&b, 2, PRAAS_SLOT_ACT), 0);
	assert_int_equal(put(&a, 1, PRAAS_SLOT_SNAP), -ESTALE);
	assert_true(a.fenced);
	assert_int_equal(put(&a, 1, PRAAS_SLOT_SNAP), -ESTALE);
	assert_int_equal(put(&b, 2, PRAAS_SLOT_SNAP), 0);
}

/* What is meant for one slot goes into that, whatever else is lost on the way, or nowhere. */
static void test_slot_log_here_or_nowhere(void **state)
{
	struct fixture *f = *state;
	struct praas_slot_log a = open_log(f), b, c;

	assert_int_equal(put(&a, 1, PRAAS_SLOT_ACT), 0);
	b = c = open_log(f);
	f->fail_after = 1; /* done, and the answer is lost */
	assert_int_equal(put_here(&b, &f->entry), 0);
	assert_int_equal(f->entry.slot, 1);
	assert_int_equal(put_here(&c, &f->other), -ESTALE);
	assert_true(c.fenced);
	assert_int_equal(put(&a, 1, PRAAS_SLOT_KEEP), -ESTALE);
}

/* An older epoch's late entry, which any other writer passes, is in the way, too. */
static void test_slot_log_here_does_not_pass(void **state)
{
	struct fixture *f = *state;
	struct praas_slot_log a = open_log(f), b;

	assert_int_equal(put(&a, 1, PRAAS_SLOT_ACT), 0);
	b = open_log(f);
	assert_int_equal(put(&a, 1, PRAAS_SLOT_KEEP), 0);
	assert_int_equal(put_here(&b, &f->other), -ESTALE);
	b = open_log(f);
	assert_int_equal(b.cursor, 2);
	assert_int_equal(b.epoch_max, 1);
	assert_int_equal(b.last_kind, PRAAS_SLOT_KEEP);
}

/* Two controllers with one epoch: the second is fenced though its epoch is not older. */
static void test_slot_log_same_epoch_twice_is_fenced(void **state)
{
	struct fixture *f = *state;
	struct praas_slot_log a = open_log(f), b = open_log(f), c;

	assert_int_equal(put(&a, 1, PRAAS_SLOT_ACT), 0);
	assert_int_equal(put(&b, 1, PRAAS_SLOT_ACT), -ESTALE);
	c = open_log(f);
	assert_int_equal(put(&c, 1, PRAAS_SLOT_ACT), -ESTALE);
}

/* An older epoch's last snapshot that slips in before our ACT is passed and seen. */
static void test_slot_log_late_snapshot_is_seen(void **state)
{
	struct fixture *f = *state;
	struct praas_slot_log a = open_log(f), b;

	assert_int_equal(put(&a, 1, PRAAS_SLOT_ACT), 0);
	b = open_log(f);
	assert_int_equal(put(&a, 1, PRAAS_SLOT_SNAP), 0);
	assert_int_equal(b.snapshot_slot, PRAAS_SLOT_NONE);
	assert_int_equal(put(&b, 2, PRAAS_SLOT_ACT), 0);
	assert_int_equal(b.snapshot_slot, 1);
	assert_int_equal(b.cursor, 3);
}

/* Response lost: the writer finds its own nonce and knows that it has succeeded. */
static void test_slot_log_lost_response_is_success(void **state)
{
	struct fixture *f = *state;
	struct praas_slot_log a = open_log(f);

	f->fail_after = 1;
	assert_int_equal(put(&a, 1, PRAAS_SLOT_ACT), 0);
	f->fail_before = 3;
	assert_int_equal(put(&a, 1, PRAAS_SLOT_SNAP), 0);
	assert_int_equal(a.cursor, 2);
}

/* A store that is down for longer: unknown, and the same entry may be tried again. */
static void test_slot_log_unknown_outcome_can_be_retried(void **state)
{
	struct fixture *f = *state;
	struct praas_slot_log a = open_log(f), b;

	f->fail_after = 1;
	f->fail_before = (int)PRAAS_SLOT_TRIES - 1;
	f->entry = (struct praas_slot_entry){ .epoch = 1, .kind = PRAAS_SLOT_ACT };
	f->fail_before = (int)PRAAS_SLOT_TRIES;
	assert_int_equal(praas_slot_log_put(&a, &f->entry), -EIO);
	assert_int_equal(praas_slot_log_put(&a, &f->entry), 0);
	assert_int_equal(f->entry.slot, 0);
	b = open_log(f);
	assert_int_equal(b.cursor, 1);
}

/* Nothing follows a tombstone, of whatever epoch. */
/* An older snapshot in place of the last one: found by who opens the log and by who goes on reading it, and
 * fences whoever is of an epoch before. */
static void test_slot_log_back(void **state)
{
	struct fixture *f = *state;
	struct praas_slot_log zombie, log, seen;

	log = open_log(f);
	assert_int_equal(put(&log, 1, PRAAS_SLOT_ACT), 0);
	zombie = log;
	assert_int_equal(put(&log, 1, PRAAS_SLOT_REL), 0);
	seen = log;
	log = open_log(f);
	assert_int_equal(put(&log, 2, PRAAS_SLOT_BACK), 0);
	log = open_log(f);
	assert_int_equal(praas_slot_log_refresh(&seen), 0);
	assert_int_equal(log.snapshot_slot, 2);
	assert_int_equal(log.previous_slot, 1);
	assert_int_equal(log.epoch_max, 2);
	assert_int_equal(log.last_kind, PRAAS_SLOT_BACK);
	assert_int_equal(seen.snapshot_slot, 2);
	assert_int_equal(seen.previous_slot, 1);
	assert_int_equal(put(&zombie, 1, PRAAS_SLOT_SNAP), -ESTALE);
	assert_true(zombie.fenced);
	assert_int_equal(put(&log, 2, PRAAS_SLOT_ACT), -ESTALE);
	assert_int_equal(put(&log, 3, PRAAS_SLOT_ACT), 0);
}

static void test_slot_log_tombstone_ends_it(void **state)
{
	struct fixture *f = *state;
	struct praas_slot_log a = open_log(f), b = open_log(f), c;

	assert_int_equal(put(&a, 1, PRAAS_SLOT_ACT), 0);
	assert_int_equal(put(&b, 1, PRAAS_SLOT_TOMB), -ESTALE); /* of no later epoch */
	b = open_log(f);
	assert_int_equal(put(&b, 2, PRAAS_SLOT_TOMB), 0);
	assert_int_equal(put(&a, 9, PRAAS_SLOT_SNAP), -ESTALE);
	c = open_log(f);
	assert_true(c.tomb);
	assert_int_equal(put(&c, 3, PRAAS_SLOT_ACT), -ESTALE);
}

/* A damaged entry stops whoever reads it: nothing is guessed. */
static void test_slot_log_damaged_entry_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct praas_slot_log a = open_log(f), b;

	assert_int_equal(put(&a, 1, PRAAS_SLOT_ACT), 0);
	assert_int_equal(put(&a, 1, PRAAS_SLOT_SNAP), 0);
	assert_int_equal(
		praas_store_memory_corrupt(f->store, "log/00000000000000000001", 130),
		0);
	assert_int_equal(praas_slot_log_open(f->store, &id, &b), -EPROTO);
	assert_int_equal(b.cursor, 1);
}

/* Too large a body is refused before anything is written. */
static void test_slot_log_body_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct praas_slot_log a = open_log(f);

	f->entry = (struct praas_slot_entry){ .epoch = 1,
					      .kind = PRAAS_SLOT_SNAP,
					      .body_bytes = PRAAS_SLOT_BODY_MAX + 1 };
	assert_int_equal(praas_slot_log_put(&a, &f->entry), -EMSGSIZE);
	f->entry.body_bytes = PRAAS_SLOT_BODY_MAX;
	assert_int_equal(praas_slot_log_put(&a, &f->entry), 0);
	assert_int_equal(praas_slot_log_read(&a, 0, &f->other), 0);
	assert_int_equal(f->other.body_bytes, PRAAS_SLOT_BODY_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Refused at once it is not there; after an answer that was lost nobody can say so. */
static void test_slot_log_refused_after_a_lost_response_is_unknown(void **state)
{
	struct fixture *f = *state;
	struct praas_slot_log log = open_log(f);

	f->full = true;
	assert_int_equal(put(&log, 1, PRAAS_SLOT_ACT), -ENOSPC);
	assert_int_equal(open_log(f).last_kind, 0);
	f->fail_after = 1;
	assert_int_equal(put(&log, 1, PRAAS_SLOT_ACT), -EIO);
	assert_int_equal(open_log(f).last_kind, PRAAS_SLOT_ACT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_slot_log_every_flipped_bit_is_found),
		TEST(test_slot_log_foreign_entry_is_refused),
		TEST(test_slot_log_two_lives),
		TEST(test_slot_log_old_epoch_is_fenced),
		TEST(test_slot_log_same_epoch_twice_is_fenced),
		TEST(test_slot_log_here_or_nowhere),
		TEST(test_slot_log_here_does_not_pass),
		TEST(test_slot_log_late_snapshot_is_seen),
		TEST(test_slot_log_lost_response_is_success),
		TEST(test_slot_log_unknown_outcome_can_be_retried),
		TEST(test_slot_log_refused_after_a_lost_response_is_unknown),
		TEST(test_slot_log_back),
		TEST(test_slot_log_tombstone_ends_it),
		TEST(test_slot_log_damaged_entry_is_an_error),
		TEST(test_slot_log_body_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
