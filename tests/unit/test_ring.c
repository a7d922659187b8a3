/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* The ring of one thread: order, full, empty, batches and what a hostile peer can
 * write. */

#define SLOTS 8u
#define START_ODD 0x100000003ull /* neither a multiple of the slots nor in 32 bits */

struct fixture {
	struct praas_ring_slot slot[SLOTS]; /* the producer's segment */
	struct praas_ring_tail tail;        /* the consumer's */
	struct praas_ring_tx tx;
	struct praas_ring_rx rx;
};

/* A ring that has carried start messages before. */
static void start_at(struct fixture *f, uint64_t start)
{
	memset(f, 0, sizeof(*f));
	praas_ring_tx_init(&f->tx, f->slot, &f->tail, SLOTS);
	praas_ring_rx_init(&f->rx, f->slot, &f->tail, SLOTS);
	for (uint64_t n = start; n-- > 0 && start - n <= SLOTS;)
		atomic_store(&f->slot[n % SLOTS].seq, n + 1);
	atomic_store(&f->tail.read, start);
	f->tx.head = f->tx.seen = start;
	f->rx.next = f->rx.published = start;
}

static const uint64_t starts[] = { 0, 1, SLOTS - 1, SLOTS, SLOTS + 3, START_ODD };
#define STARTS (sizeof(starts) / sizeof(starts[0]))

static struct praas_desc desc(uint64_t n)
{
	struct praas_desc d;

	for (unsigned i = 0; i < PRAAS_DESC_WORDS; i++)
		d.word[i] = n * 31 + i;
	return d;
}

static void assert_pops(struct fixture *f, uint64_t n)
{
	struct praas_desc want = desc(n), got;

	assert_int_equal(praas_ring_pop(&f->rx, &got), 0);
	assert_memory_equal(&got, &want, sizeof(want));
}

static void assert_pushes(struct fixture *f, uint64_t n)
{
	struct praas_desc d = desc(n);

	assert_int_equal(praas_ring_push(&f->tx, &d), 0);
}

/* Zeroed memory is an empty ring, and so is one that was drained, wherever its indices
 * are. */
static void test_ring_empty_says_again(void **state)
{
	static struct fixture f; /* aligned to cache lines */
	struct praas_desc d = desc(7);

	(void)state;
	for (size_t s = 0; s < STARTS; s++) {
		start_at(&f, starts[s]);
		assert_false(praas_ring_ready(&f.rx));
		assert_int_equal(praas_ring_pop(&f.rx, &d), -EAGAIN);
		assert_int_equal(d.word[0], desc(7).word[0]); /* untouched */
		assert_pushes(&f, 1);
		assert_true(praas_ring_ready(&f.rx));
		assert_pops(&f, 1);
		assert_false(praas_ring_ready(&f.rx));
		assert_int_equal(praas_ring_pop(&f.rx, &d), -EAGAIN);
	}
}

/* A full ring refuses the push, keeps order, and accepts again once drained. */
static void test_ring_full_then_fifo(void **state)
{
	static struct fixture f; /* aligned to cache lines */
	struct praas_desc d = desc(99);

	(void)state;
	for (size_t s = 0; s < STARTS; s++) {
		start_at(&f, starts[s]);
		for (uint64_t i = 0; i < SLOTS; i++) {
			assert_int_equal(praas_ring_tx_room(&f.tx), SLOTS - i);
			assert_pushes(&f, i);
		}
		assert_int_equal(praas_ring_push(&f.tx, &d), -EAGAIN);
		assert_int_equal(praas_ring_push(&f.tx, &d), -EAGAIN);
		for (uint64_t i = 0; i < SLOTS; i++)
			assert_pops(&f, i);
		assert_int_equal(praas_ring_pop(&f.rx, &d), -EAGAIN);
		assert_pushes(&f, 5);
		assert_pops(&f, 5);
	}
}

/* The producer gets slots back in steps of a quarter, and at once when the consumer
 * says so. */
static void test_ring_gives_slots_back_in_steps(void **state)
{
	static struct fixture f; /* aligned to cache lines */
	struct praas_desc d = desc(0);

	(void)state;
	start_at(&f, START_ODD);
	for (uint64_t i = 0; i < SLOTS; i++)
		assert_pushes(&f, i);
	assert_pops(&f, 0);
	assert_int_equal(praas_ring_push(&f.tx, &d), -EAGAIN);
	assert_pops(&f, 1); /* the second of a quarter of 8 */
	assert_pushes(&f, 8);
	assert_pushes(&f, 9);
	assert_int_equal(praas_ring_push(&f.tx, &d), -EAGAIN);
	assert_pops(&f, 2);
	praas_ring_rx_publish(&f.rx);
	assert_pushes(&f, 10);
	for (uint64_t i = 3; i <= 10; i++)
		assert_pops(&f, i);
}

/* Any mixture of pushes and pops over many laps is a queue. */
static void test_ring_many_laps_keep_order(void **state)
{
	static struct fixture f; /* aligned to cache lines */
	uint64_t in = 0, out = 0;
	uint32_t random = 12345;

	(void)state;
	start_at(&f, START_ODD);
	for (unsigned turn = 0; turn < 20000; turn++) {
		random = random * 1664525u + 1013904223u;
		if (random >> 31) {
			struct praas_desc d = desc(in);
			int rc = praas_ring_push(&f.tx, &d);

			/* Full may be said early by what is read but not published. */
			assert_true(rc == 0 ||
				    (rc == -EAGAIN && in - out > SLOTS - SLOTS / 4));
			in += rc == 0;
		} else if (in > out) {
			assert_pops(&f, out++);
		}
	}
	assert_true(in > 1000);
}

/* Batches do what fits, and say why when nothing does. */
static void test_ring_batches_do_what_fits(void **state)
{
	static struct fixture f; /* aligned to cache lines */
	struct praas_desc in[SLOTS + 3], out[SLOTS + 3];
	unsigned done;

	(void)state;
	for (size_t s = 0; s < STARTS; s++) {
		start_at(&f, starts[s]);
		for (unsigned i = 0; i < SLOTS + 3; i++)
			in[i] = desc(i);
		assert_int_equal(praas_ring_pop_batch(&f.rx, out, 4, &done), -EAGAIN);
		assert_int_equal(done, 0);
		assert_int_equal(praas_ring_push_batch(&f.tx, in, 3, &done), 0);
		assert_int_equal(done, 3);
		assert_int_equal(praas_ring_push_batch(&f.tx, in + 3, SLOTS, &done), 0);
		assert_int_equal(done, SLOTS - 3);
		assert_int_equal(praas_ring_push_batch(&f.tx, in, 1, &done), -EAGAIN);
		assert_int_equal(done, 0);
		assert_int_equal(praas_ring_pop_batch(&f.rx, out, SLOTS + 3, &done), 0);
		assert_int_equal(done, SLOTS);
		assert_memory_equal(in, out, SLOTS * sizeof(in[0]));
		assert_int_equal(praas_ring_push_batch(&f.tx, in, SLOTS, &done), 0);
		assert_int_equal(done, SLOTS);
	}
}

/* A batch of none is done. */
static void test_ring_empty_batch_is_done(void **state)
{
	static struct fixture f; /* aligned to cache lines */
	struct praas_desc d = desc(0);
	unsigned done = 9;

	(void)state;
	start_at(&f, 0);
	assert_int_equal(praas_ring_push_batch(&f.tx, &d, 0, &done), 0);
	assert_int_equal(done, 0);
	done = 9;
	assert_int_equal(praas_ring_pop_batch(&f.rx, &d, 0, &done), 0);
	assert_int_equal(done, 0);
}

/* Every sequence number but the two that can be is the producer's mistake, and changes
 * nothing. */
static void test_ring_hostile_sequence_is_refused(void **state)
{
	static struct fixture f; /* aligned to cache lines */
	struct praas_desc d = desc(7);

	(void)state;
	for (size_t s = 0; s < STARTS; s++) {
		uint64_t next = starts[s];
		uint64_t lap = next >= SLOTS ? next - SLOTS + 1
					     : 0; /* what empty looks like */
		const uint64_t wrong[] = {
			next,    next + 2,   next + SLOTS + 1,       lap - 1,
			lap + 1, UINT64_MAX, (next + 1) | 1ull << 63
		};

		start_at(&f, next);
		for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
			if (wrong[i] == lap || wrong[i] == next + 1)
				continue;
			atomic_store(&f.slot[next % SLOTS].seq, wrong[i]);
			assert_int_equal(praas_ring_pop(&f.rx, &d), -EPROTO);
			assert_int_equal(praas_ring_pop(&f.rx, &d), -EPROTO);
			assert_int_equal(f.rx.next, next);
			assert_int_equal(atomic_load(&f.tail.read), next);
			assert_int_equal(d.word[0], desc(7).word[0]);
		}
		atomic_store(&f.slot[next % SLOTS].seq, lap);
		assert_int_equal(praas_ring_pop(&f.rx, &d), -EAGAIN);
	}
}

/* A batch ends before the impossible; what came before it counts. */
static void test_ring_hostile_sequence_ends_a_batch(void **state)
{
	static struct fixture f; /* aligned to cache lines */
	struct praas_desc out[SLOTS];
	unsigned done;

	(void)state;
	start_at(&f, 3);
	assert_pushes(&f, 0);
	assert_pushes(&f, 1);
	atomic_store(&f.slot[5].seq, 1000);
	assert_int_equal(praas_ring_pop_batch(&f.rx, out, SLOTS, &done), 0);
	assert_int_equal(done, 2);
	assert_int_equal(praas_ring_pop_batch(&f.rx, out, SLOTS, &done), -EPROTO);
	assert_int_equal(done, 0);
}

/* A read position that goes back, or past what was pushed, frees no slot. */
static void test_ring_hostile_tail_is_refused(void **state)
{
	static struct fixture f; /* aligned to cache lines */
	struct praas_desc d = desc(1);
	unsigned done;

	(void)state;
	for (size_t s = 0; s < STARTS; s++) {
		uint64_t start = starts[s];
		const uint64_t wrong[] = { start + SLOTS + 1, UINT64_MAX, start - 1,
					   1ull << 63 };

		start_at(&f, start);
		for (uint64_t i = 0; i < SLOTS; i++)
			assert_pushes(&f, i);
		for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
			atomic_store(&f.tail.read, wrong[i]);
			assert_int_equal(praas_ring_push(&f.tx, &d), -EPROTO);
			assert_int_equal(praas_ring_push(&f.tx, &d), -EPROTO);
			assert_int_equal(praas_ring_push_batch(&f.tx, &d, 1, &done),
					 -EPROTO);
			assert_int_equal(done, 0);
			assert_int_equal(f.tx.head, start + SLOTS);
		}
		atomic_store(&f.tail.read, start); /* nothing was lost by it */
		assert_int_equal(praas_ring_push(&f.tx, &d), -EAGAIN);
		for (uint64_t i = 0; i < SLOTS; i++)
			assert_pops(&f, i);
	}
}

/* A batch that has to look finds the mistake, though some of it would fit. */
static void test_ring_hostile_tail_stops_a_batch(void **state)
{
	static struct fixture f;
	struct praas_desc d[SLOTS] = { 0 };
	unsigned done;

	(void)state;
	start_at(&f, 0);
	assert_pushes(&f, 0);
	atomic_store(&f.tail.read, 2); /* of one */
	assert_int_equal(praas_ring_push_batch(&f.tx, d, SLOTS, &done), -EPROTO);
	assert_int_equal(done, 0);
	assert_int_equal(f.tx.head, 1);
}

/* Having accepted one position, the producer does not accept a smaller one. */
static void test_ring_hostile_tail_cannot_go_back(void **state)
{
	static struct fixture f; /* aligned to cache lines */
	struct praas_desc d = desc(1);

	(void)state;
	start_at(&f, 0);
	for (uint64_t i = 0; i < SLOTS; i++)
		assert_pushes(&f, i);
	atomic_store(&f.tail.read, 2);
	assert_pushes(&f, 8);
	assert_pushes(&f, 9);
	atomic_store(&f.tail.read, 1);
	assert_int_equal(praas_ring_push(&f.tx, &d), -EPROTO);
	assert_int_equal(f.tx.seen, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ring_empty_says_again),
		cmocka_unit_test(test_ring_full_then_fifo),
		cmocka_unit_test(test_ring_gives_slots_back_in_steps),
		cmocka_unit_test(test_ring_many_laps_keep_order),
		cmocka_unit_test(test_ring_batches_do_what_fits),
		cmocka_unit_test(test_ring_empty_batch_is_done),
		cmocka_unit_test(test_ring_hostile_sequence_is_refused),
		cmocka_unit_test(test_ring_hostile_sequence_ends_a_batch),
		cmocka_unit_test(test_ring_hostile_tail_is_refused),
		cmocka_unit_test(test_ring_hostile_tail_stops_a_batch),
		cmocka_unit_test(test_ring_hostile_tail_cannot_go_back),
	};

	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
