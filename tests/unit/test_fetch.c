/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread that reads values from the store: what it reads, what it says of damage and of a store that fails, its end.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controller/fetch.h"
#include "dataplane/overflow.h"

#define VALUES 40u
#define BYTES 5000u

struct fixture {
	struct praas_store *store;
	struct praas_snapshot written;
	struct praas_slot_entry entry;
	struct praas_fetcher *fetcher;
	_Atomic uint32_t told;
	_Atomic int fault;
	uint8_t *content;
	uint8_t *data[PRAAS_FETCHES_MAX];
};

static void on_done(void *user)
{
	struct fixture *f = user;

	(void)atomic_fetch_add(&f->told, 1);
}

static int on_store(void *user, const char *op, const char *key, int done)
{
	struct fixture *f = user;

	(void)key;
	return strcmp(op, "get") == 0 && !done ? atomic_load(&f->fault) : 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct praas_snapshot_result result;
	char key[16];

	assert_non_null(f);
	assert_int_equal(praas_store_memory_open(&f->store), 0);
	f->content = malloc(VALUES + BYTES);
	assert_non_null(f->content);
	for (uint32_t i = 0; i < VALUES + BYTES; i++)
		f->content[i] = (uint8_t)(i * 7 + (i >> 8));
	for (uint32_t i = 0; i < VALUES; i++) {
		struct praas_export_record r = { .kind = PRAAS_EXPORT_STATE,
						 .key = key,
						 .version = i + 1,
						 .data = f->content + i,
						 .bytes = BYTES };

		r.key_bytes = (uint8_t)snprintf(key, sizeof(key), "k%u", i);
		assert_int_equal(praas_snapshot_add(&f->written, &r), 0);
	}
	assert_int_equal(praas_snapshot_write(f->store, &f->written, NULL, 0, NULL,
					      &f->entry, &result),
			 0);
	for (uint32_t i = 0; i < PRAAS_FETCHES_MAX; i++) {
		f->data[i] = malloc(BYTES);
		assert_non_null(f->data[i]);
	}
	praas_store_memory_faults(f->store, on_store, f);
	assert_int_equal(praas_fetcher_new(f->store, on_done, f, &f->fetcher), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	praas_fetcher_free(f->fetcher);
	praas_snapshot_release(&f->written);
	praas_store_free(f->store);
	for (uint32_t i = 0; i < PRAAS_FETCHES_MAX; i++)
		free(f->data[i]);
	free(f->content);
	free(f);
	return 0;
}

static void want(struct fixture *f, uint32_t number, uint32_t value)
{
	const struct praas_snapshot_record *r = &f->written.records[value];
	struct praas_fetch_order order = { .chunk = f->written.chunks[r->chunk],
					   .offset = r->offset,
					   .bytes = BYTES,
					   .data = f->data[number] };

	memcpy(order.hash, r->hash, sizeof(order.hash));
	praas_fetcher_want(f->fetcher, number, &order);
}

/* Each is read once, whole, and told once. */
static void test_fetch_reads_all(void **state)
{
	struct fixture *f = *state;
	uint64_t seen = 0;
	uint32_t number;
	int rc;

	for (uint32_t i = 0; i < VALUES; i++)
		want(f, i, VALUES - 1 - i);
	for (uint32_t taken = 0; taken < VALUES;) {
		if (!praas_fetcher_take(f->fetcher, &number, &rc)) {
			(void)sched_yield();
			continue;
		}
		taken++;
		assert_int_equal(rc, 0);
		assert_int_equal(seen >> number & 1, 0);
		seen |= 1ull << number;
		assert_memory_equal(f->data[number], f->content + VALUES - 1 - number,
				    BYTES);
	}
	assert_false(praas_fetcher_ready(f->fetcher));
	while (atomic_load(&f->told) < VALUES)
		(void)sched_yield();
}

/* One is waited for, whatever else is under way; the others are taken as ever. */
static void test_fetch_await(void **state)
{
	struct fixture *f = *state;
	uint32_t number;
	int rc;

	for (uint32_t i = 0; i < 8; i++)
		want(f, i, i);
	assert_int_equal(praas_fetcher_await(f->fetcher, 7), 0);
	assert_memory_equal(f->data[7], f->content + 7, BYTES);
	for (uint32_t taken = 0; taken < 7;) {
		if (!praas_fetcher_take(f->fetcher, &number, &rc)) {
			(void)sched_yield();
			continue;
		}
		assert_int_not_equal(number, 7);
		taken++;
	}
	want(f, 7, 3);
	assert_int_equal(praas_fetcher_await(f->fetcher, 7), 0);
	assert_memory_equal(f->data[7], f->content + 3, BYTES);
}

static int first_key(void *user, const char *key)
{
	(void)snprintf(user, PRAAS_STORE_KEY_MAX + 1, "%s", key);
	return 1;
}

/* A store that fails is told apart from damage, with its reason; afterwards the same is read. */
static void test_fetch_failures(void **state)
{
	struct fixture *f = *state;
	char key[PRAAS_STORE_KEY_MAX + 1];

	atomic_store(&f->fault, -EACCES);
	want(f, 0, 5);
	assert_int_equal(praas_fetcher_await(f->fetcher, 0), -EREMOTEIO);
	assert_string_not_equal(praas_fetcher_why(f->fetcher), "");
	atomic_store(&f->fault, 0);
	want(f, 0, 5);
	assert_int_equal(praas_fetcher_await(f->fetcher, 0), 0);
	praas_fetcher_free(f->fetcher);
	f->fetcher = NULL;
	assert_int_equal(f->store->ops->list(f->store, "chunk/", NULL, first_key, key),
			 1);
	assert_int_equal(praas_store_memory_corrupt(f->store, key,
						    f->written.records[5].offset + 100),
			 0);
	assert_int_equal(praas_fetcher_new(f->store, on_done, f, &f->fetcher), 0);
	want(f, 0, 5);
	assert_int_equal(praas_fetcher_await(f->fetcher, 0), -EIO);
	want(f, 0, 6);
	assert_int_equal(praas_fetcher_await(f->fetcher, 0), 0);
}

/* Ends with work left: nothing is written any more. */
static void test_fetch_ends_early(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 0; i < VALUES; i++)
		want(f, i, i);
	praas_fetcher_free(f->fetcher);
	f->fetcher = NULL;
	for (uint32_t i = 0; i < PRAAS_FETCHES_MAX; i++)
		memset(f->data[i], 0, BYTES);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_fetch_reads_all),
		TEST(test_fetch_await),
		TEST(test_fetch_failures),
		TEST(test_fetch_ends_early),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
