/* SPDX-License-Identifier: Apache-2.0
 *
 * The account of a process, in a time of the test's own. Nothing is counted twice, and what is lost is
 * no more than what a controller had not told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/life/account.h"

#define SECOND 1000000000ull
#define START (1000000ull * SECOND)
#define MINUTE (60u * SECOND)

/* A process as it is, what is on the disk, and what the control service remembers of it. */
struct world {
	uint64_t now;
	struct praas_usage real;  /* what it did use */
	struct praas_usage epoch; /* of that, in this epoch */
	struct praas_usage lost;  /* known to be: what a controller took with it */
	struct praas_usage heard; /* of the epoch, told to the service as it is now */
	struct praas_usage rows;  /* on the disk */
	struct praas_process_record disk, record;
	struct praas_account account;
	uint64_t row_ends;
};

static struct world begin(void)
{
	struct world w = { .now = START,
			   .record = { .created_ns = START,
				       .used_ns = START,
				       .state = PRAAS_LIFE_ACTIVE,
				       .slot = -1,
				       .epoch = 1 } };

	w.disk = w.record;
	w.row_ends = START;
	praas_account_open(&w.account, &w.record);
	return w;
}

static void set_state(struct world *w, uint8_t state)
{
	praas_account_rest(&w->account, &w->record, w->now);
	w->record.state = state;
}

/* The commit of its record. */
static void store(struct world *w)
{
	struct praas_usage_row row;

	praas_account_rest(&w->account, &w->record, w->now);
	row = praas_account_take(&w->account, &w->record, w->now);
	assert_true(row.from_ns == w->row_ends); /* without gap and overlap */
	assert_true(row.to_ns > row.from_ns);
	w->row_ends = row.to_ns;
	praas_usage_add(&w->rows, &row.used);
	w->disk = w->record;
}

static void pass(struct world *w, uint64_t ns)
{
	struct praas_usage more = { 0 };

	more.stored = praas_account_stored(w->record.state, w->record.slot,
					   w->record.state_bytes, ns);
	praas_usage_add(&w->real, &more);
	w->now += ns;
}

static void work(struct world *w, uint64_t n)
{
	struct praas_usage more = { 11 * n, n * SECOND, n, 3 * n, 5 * n, 7.0, 0 };

	praas_usage_add(&w->real, &more);
	praas_usage_add(&w->epoch, &more);
	w->now += n * SECOND;
}

static void tell(struct world *w)
{
	struct praas_usage more;

	praas_account_told(&w->account, &w->epoch, &more);
	w->heard = w->epoch;
}

/* The controller is gone; what it had not told is lost. */
static void end_epoch(struct world *w, uint8_t state)
{
	struct praas_usage tail = praas_usage_since(&w->epoch, &w->heard);

	praas_usage_add(&w->lost, &tail);
	set_state(w, state);
}

static void begin_epoch(struct world *w)
{
	w->record.epoch++;
	w->record.counted = (struct praas_usage){ 0 };
	praas_account_epoch(&w->account);
	set_state(w, PRAAS_LIFE_ACTIVE);
	w->epoch = w->heard = (struct praas_usage){ 0 };
}

/* The control service is killed and comes again: it knows what is on the disk. */
static void crash_service(struct world *w)
{
	w->record = w->disk;
	praas_account_open(&w->account, &w->record);
}

static void assert_near(double a, double b)
{
	assert_true(a - b < 1e-3 && b - a < 1e-3);
}

static void assert_same(const struct praas_usage *a, const struct praas_usage *b)
{
	assert_int_equal(a->cpu_ns, b->cpu_ns);
	assert_int_equal(a->wall_ns, b->wall_ns);
	assert_int_equal(a->calls, b->calls);
	assert_int_equal(a->bytes_in, b->bytes_in);
	assert_int_equal(a->bytes_out, b->bytes_out);
	assert_near(a->resident, b->resident);
	assert_near(a->stored, b->stored);
}

/* What can be asked now: rows and what is in none. */
static struct praas_usage known(const struct world *w)
{
	struct praas_usage_row live =
		praas_account_live(&w->account, &w->record, w->now);
	struct praas_usage sum = w->rows;

	praas_usage_add(&sum, &live.used);
	return sum;
}

static void assert_all_known(const struct world *w)
{
	struct praas_usage sum = known(w);

	praas_usage_add(&sum, &w->lost);
	assert_same(&sum, &w->real);
}

/* What was told is known at once, whether it is in a row or not, and is so only once. */
static void test_account_counts_once(void **state)
{
	struct world w = begin();

	(void)state;
	for (int i = 0; i < 5; i++) {
		work(&w, 3);
		tell(&w);
		tell(&w); /* the same counters again */
		assert_all_known(&w);
		if (i % 2)
			store(&w);
		assert_all_known(&w);
	}
}

/* State in the store counts from the swap-out to the activation, with what is stored in between and
 * without; a process that never had a snapshot holds nothing there. */
static void test_account_of_a_swapped_process(void **state)
{
	struct world w = begin();

	(void)state;
	w.record.state_bytes = 1000;
	work(&w, 1);
	tell(&w);
	w.record.slot = 4;
	end_epoch(&w, PRAAS_LIFE_SWAPPED);
	store(&w);
	pass(&w, 10 * SECOND);
	assert_near(known(&w).stored, 10000);
	store(&w);
	assert_near(w.rows.stored, 10000);
	pass(&w, 5 * SECOND);
	begin_epoch(&w);
	pass(&w, 100 * SECOND);
	store(&w);
	assert_near(w.rows.stored, 15000);
	assert_all_known(&w);
	assert_near(praas_account_stored(PRAAS_LIFE_LOST, -1, 1000, SECOND), 0);
}

/* A service that ends at any time and comes again counts what controllers tell once: they tell all of
 * their epoch. */
static void test_account_service_crashes(void **state)
{
	struct world w = begin();

	(void)state;
	work(&w, 2);
	tell(&w);
	store(&w);
	work(&w, 3);
	tell(&w);
	crash_service(&w); /* forgets what was told and not stored */
	assert_int_equal(known(&w).calls, 2);
	work(&w, 1);
	tell(&w);
	assert_all_known(&w);
	crash_service(&w);
	crash_service(&w);
	tell(&w);
	store(&w);
	assert_int_equal(w.rows.calls, 6);
	assert_all_known(&w);
}

/* A controller that ends without a word takes with it what it had not told, and no more. */
static void test_account_controller_crashes(void **state)
{
	struct world w = begin();

	(void)state;
	work(&w, 2);
	tell(&w);
	work(&w, 1);
	end_epoch(&w, PRAAS_LIFE_LOST);
	assert_int_equal(w.lost.calls, 1);
	store(&w);
	begin_epoch(&w);
	store(&w);
	work(&w, 4);
	tell(&w);
	assert_int_equal(known(&w).calls, 6);
	assert_all_known(&w);
}

/* A row that could not be stored is stored with the next. */
static void test_account_row_comes_back(void **state)
{
	struct world w = begin();
	struct praas_process_record copy;
	struct praas_usage_row row;

	(void)state;
	work(&w, 2);
	tell(&w);
	copy = w.record;
	row = praas_account_take(&w.account, &copy, w.now);
	assert_int_equal(row.used.calls, 2);
	work(&w, 1);
	tell(&w);
	praas_account_back(&w.account, &row);
	assert_all_known(&w);
	store(&w);
	assert_int_equal(w.rows.calls, 3);
}

/* A clock that is set back, and counters that go back, change nothing that was counted. */
static void test_account_things_that_go_back(void **state)
{
	struct praas_usage less = { 1, 1, 1, 1, 1, 0.5, 0 }, more;
	struct world w = begin();

	(void)state;
	work(&w, 9);
	tell(&w);
	praas_account_told(&w.account, &less, &more);
	assert_true(praas_usage_none(&more));
	w.now -= 20 * SECOND;
	store(&w);
	assert_int_equal(w.rows.calls, 9);
	store(&w);
	w.record.slot = 1;
	w.record.state_bytes = 10;
	w.now += 30 * SECOND;
	end_epoch(&w, PRAAS_LIFE_SWAPPED);
	w.now -= 5 * SECOND;
	store(&w);
	assert_near(w.rows.stored, 0);
	w.now += 6 * SECOND;
	store(&w);
	assert_near(w.rows.stored, 10);
}

/* When a row is due: with calls soon, without them rarely. */
static void test_account_due(void **state)
{
	struct world w = begin();

	(void)state;
	assert_false(praas_account_due(&w.account, 5 * MINUTE, 5 * MINUTE));
	assert_true(praas_account_due(&w.account, 60 * MINUTE, 5 * MINUTE));
	work(&w, 1);
	tell(&w);
	assert_false(praas_account_due(&w.account, 5 * MINUTE - 1, 5 * MINUTE));
	assert_true(praas_account_due(&w.account, 5 * MINUTE, 5 * MINUTE));
}

/* Whatever happens, in whatever order. */
static void test_account_any_order(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 2000; seed++) {
		struct world w = begin();
		unsigned random = seed;

		w.record.state_bytes = w.disk.state_bytes = 100;
		for (int i = 0; i < 60; i++) {
			bool active = w.record.state == PRAAS_LIFE_ACTIVE;

			switch (rand_r(&random) % 6) {
			case 0:
				if (active)
					work(&w, 1 + (unsigned)rand_r(&random) % 5);
				else
					pass(&w, SECOND);
				break;
			case 1:
				if (active)
					tell(&w);
				break;
			case 2:
				store(&w);
				break;
			case 3:
				if (!active)
					break;
				tell(&w);
				w.record.slot = i;
				end_epoch(&w, PRAAS_LIFE_SWAPPED);
				store(&w);
				break;
			case 4:
				if (active) {
					end_epoch(&w, PRAAS_LIFE_LOST);
					store(&w);
				} else {
					begin_epoch(&w);
					store(&w);
				}
				break;
			default:
				crash_service(&w);
				if (active)
					tell(&w); /* it joins again */
			}
			if (w.record.state != PRAAS_LIFE_ACTIVE ||
			    !memcmp(&w.heard, &w.epoch, sizeof(w.heard)))
				assert_all_known(&w);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_account_counts_once),
		cmocka_unit_test(test_account_of_a_swapped_process),
		cmocka_unit_test(test_account_service_crashes),
		cmocka_unit_test(test_account_controller_crashes),
		cmocka_unit_test(test_account_row_comes_back),
		cmocka_unit_test(test_account_things_that_go_back),
		cmocka_unit_test(test_account_due),
		cmocka_unit_test(test_account_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
