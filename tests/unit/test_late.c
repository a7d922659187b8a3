/* SPDX-License-Identifier: Apache-2.0
 *
 * State that is read after the process has begun to serve: on demand, in the background, both at
 * once; damaged; replaced, deleted and swapped out before it has come.
 */
#include "unit/dataplane_fixture.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include "controller/snapshot_late.h"
#include "dataplane/executor.h"

#define OBJECTS 20u
#define OBJECT_BYTES 300000u /* together above PRAAS_SNAPSHOT_LATE_BYTES */

struct late_fixture {
	struct fixture f;
	struct praas_store *store;
	struct praas_snapshot written, opened, next;
	struct praas_slot_entry entry;
	struct praas_snapshot_late *late;
	uint8_t *data;
};

static void start_process(struct late_fixture *l)
{
	static const struct praas_function none[1];
	struct praas_process_config c;

	fixture_init(&l->f, 32 << 20);
	c = fixture_config(&l->f, none, 0);
	assert_int_equal(praas_executor_inline_new(none, 0, &c.executor), 0);
	fixture_start(&l->f, &c);
	praas_process_gate(l->f.p, false);
}

static const uint8_t *content(const struct late_fixture *l, unsigned i)
{
	return l->data + (size_t)i * 64;
}

static int key_of(unsigned i, char key[16])
{
	return snprintf(key, 16, "k%u", i);
}

static int setup(void **state)
{
	struct late_fixture *l = calloc(1, sizeof(*l));
	struct praas_snapshot_result result;
	char key[16];

	assert_non_null(l);
	assert_int_equal(praas_store_memory_open(&l->store), 0);
	l->data = malloc(OBJECT_BYTES + OBJECTS * 64);
	assert_non_null(l->data);
	for (uint32_t i = 0; i < OBJECT_BYTES + OBJECTS * 64; i++)
		l->data[i] = (uint8_t)(i * 13 + (i >> 7));
	for (unsigned i = 0; i < OBJECTS; i++) {
		struct praas_export_record r = { .kind = PRAAS_EXPORT_STATE,
						 .key = key,
						 .key_bytes = (uint8_t)key_of(i, key),
						 .version = i + 1,
						 .data = content(l, i),
						 .bytes = OBJECT_BYTES };

		assert_int_equal(praas_snapshot_add(&l->written, &r), 0);
	}
	l->entry.kind = PRAAS_SLOT_SNAP;
	assert_int_equal(praas_snapshot_write(l->store, &l->written, NULL, 0, NULL,
					      &l->entry, &result),
			 0);
	assert_int_equal(praas_snapshot_open(l->store, &l->entry, &l->opened), 0);
	start_process(l);
	*state = l;
	return 0;
}

static int import(void *user, const struct praas_export_record *record)
{
	return praas_process_import(user, record);
}

static void load(struct late_fixture *l)
{
	struct praas_snapshot s = l->opened;

	assert_int_equal(praas_snapshot_late_new(l->store, &s, &l->late), 0);
	assert_non_null(l->late);
	s.late = l->late;
	assert_int_equal(praas_snapshot_load(l->store, &s, NULL, 0, import, l->f.p), 0);
	praas_process_gate(l->f.p, true);
}

static int teardown(void **state)
{
	struct late_fixture *l = *state;

	fixture_release(&l->f);
	praas_snapshot_late_free(l->late);
	praas_snapshot_release(&l->written);
	praas_snapshot_release(&l->opened);
	praas_snapshot_release(&l->next);
	praas_store_free(l->store);
	free(l->data);
	free(l);
	return 0;
}

static int get(struct late_fixture *l, unsigned i)
{
	const struct praas_value *value;
	uint64_t version;
	char key[16];
	int bytes = key_of(i, key);
	int rc = praas_process_fn_state_get(l->f.p, key, (uint32_t)bytes, &value,
					    &version);

	if (rc == 0) {
		assert_int_equal(version, i + 1);
		assert_int_equal(value->bytes, OBJECT_BYTES);
		assert_memory_equal(value->data, content(l, i), OBJECT_BYTES);
	}
	return rc;
}

/* Every object is what it was, whether asked for or loaded in the background. */
static void test_late_values_come_back(void **state)
{
	struct late_fixture *l = *state;

	load(l);
	assert_int_equal(l->store->bytes_read, 0);
	assert_int_equal(get(l, 7), 0);
	assert_int_equal(l->store->bytes_read, OBJECT_BYTES);
	assert_int_equal(get(l, 7), 0);
	assert_int_equal(l->store->bytes_read, OBJECT_BYTES);
	while (praas_snapshot_late_step(l->late, l->store, 1) == 0)
		continue;
	assert_int_equal(l->store->bytes_read, (uint64_t)OBJECTS * OBJECT_BYTES);
	for (unsigned i = 0; i < OBJECTS; i++)
		assert_int_equal(get(l, i), 0);
	assert_int_equal(l->store->bytes_read, (uint64_t)OBJECTS * OBJECT_BYTES);
	assert_int_equal(praas_snapshot_late_failed(l->late), 0);
}

static int first_key(void *user, const char *key)
{
	(void)snprintf(user, PRAAS_STORE_KEY_MAX + 1, "%s", key);
	return 1;
}

/* A damaged object is an error of its own, never other bytes; putting it anew heals it. */
static void test_late_damage_is_one_objects(void **state)
{
	struct late_fixture *l = *state;
	struct praas_state_write w = { .key_bytes = 2, .key = "k3" };
	char key[PRAAS_STORE_KEY_MAX + 1];
	uint64_t version;

	assert_int_equal(l->store->ops->list(l->store, "chunk/", NULL, first_key, key),
			 1);
	assert_int_equal(praas_store_memory_corrupt(l->store, key, 3 * 300032 + 5000),
			 0);
	load(l);
	assert_int_equal(get(l, 3), -EIO);
	assert_int_equal(get(l, 3), -EIO);
	while (praas_snapshot_late_step(l->late, l->store, 1 << 20) == 0)
		continue;
	for (unsigned i = 0; i < OBJECTS; i++)
		assert_int_equal(get(l, i), i == 3 ? -EIO : 0);
	assert_int_equal(praas_process_fn_commit(l->f.p, &w, 1, &version), 0);
	{
		const struct praas_value *value;

		assert_int_equal(
			praas_process_fn_state_get(l->f.p, "k3", 2, &value, &version),
			0);
		assert_int_equal(value->bytes, 0);
	}
}

/* A chunk that is gone or short is found before anything is served. */
static void test_late_missing_chunk_is_found_at_once(void **state)
{
	struct late_fixture *l = *state;
	char key[PRAAS_STORE_KEY_MAX + 1];

	assert_int_equal(l->store->ops->list(l->store, "chunk/", NULL, first_key, key),
			 1);
	assert_int_equal(l->store->ops->delete (l->store, key), 0);
	assert_int_equal(praas_snapshot_late_new(l->store, &l->opened, &l->late),
			 -ENOENT);
	assert_int_equal(praas_store_put_bytes(l->store, key, l->data, 100), 0);
	assert_int_equal(praas_snapshot_late_new(l->store, &l->opened, &l->late),
			 -EPROTO);
	assert_null(l->late);
}

static int collect(void *user, const struct praas_export_record *record)
{
	return praas_snapshot_add(user, record);
}

/* Swapped out before all has come: nothing is read, nothing written anew, nothing lost. */
static void test_late_swap_out_keeps_the_chunks(void **state)
{
	struct late_fixture *l = *state;
	struct praas_snapshot_result result;
	struct praas_state_write w = { .key_bytes = 2, .key = "k1", .erase = true };
	struct praas_snapshot again = { 0 };
	uint64_t version;

	load(l);
	/* Most of it goes: the rest stays in its chunk all the same, since it is nowhere else. */
	for (unsigned i = 0; i < OBJECTS - 2; i++) {
		w.key_bytes = (uint8_t)key_of(i, w.key);
		assert_int_equal(praas_process_fn_commit(l->f.p, &w, 1, &version), 0);
	}
	assert_int_equal(praas_process_export(l->f.p, collect, &l->next), 0);
	assert_int_equal(l->next.records_count, 2);
	assert_int_equal(praas_snapshot_write(l->store, &l->next, NULL, 0, &l->opened,
					      &l->entry, &result),
			 0);
	assert_int_equal(result.bytes_reused, 2ull * OBJECT_BYTES);
	assert_int_equal(result.bytes_written, 0);
	assert_int_equal(l->store->bytes_read, 0);
	/* Without the snapshot that it came from there is nothing to refer to: no wrong data. */
	assert_int_equal(praas_process_export(l->f.p, collect, &again), 0);
	assert_int_equal(praas_snapshot_write(l->store, &again, NULL, 0, NULL,
					      &l->entry, &result),
			 -EIO);
	praas_snapshot_release(&again);
	assert_int_equal(get(l, OBJECTS - 1), 0);
}

static void *run(void *user)
{
	struct late_fixture *l = user;

	while (praas_snapshot_late_step(l->late, l->store, 1) == 0)
		(void)sched_yield();
	return NULL;
}

/* Two threads want the same objects, and some go meanwhile: each is loaded once or not at all. */
static void test_late_loader_and_reader_meet(void **state)
{
	struct late_fixture *l = *state;
	struct praas_state_write w = { .erase = true };
	pthread_t thread;
	uint64_t version;

	load(l);
	/* The store allows one thread: on demand nothing is read here but what is there. */
	assert_int_equal(pthread_create(&thread, NULL, run, l), 0);
	for (unsigned i = OBJECTS; i-- > OBJECTS / 2;) {
		w.key_bytes = (uint8_t)key_of(i, w.key);
		assert_int_equal(praas_process_fn_commit(l->f.p, &w, 1, &version), 0);
		(void)praas_process_poll(l->f.p, 16);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	for (unsigned i = 0; i < OBJECTS; i++)
		assert_int_equal(get(l, i), i < OBJECTS / 2 ? 0 : -ENOENT);
}

/* Ends while nothing has been loaded: no memory is left. */
static void test_late_end_before_it_comes(void **state)
{
	struct late_fixture *l = *state;

	load(l);
	assert_int_equal(praas_snapshot_late_step(l->late, l->store, 1), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_late_values_come_back),
		TEST(test_late_damage_is_one_objects),
		TEST(test_late_missing_chunk_is_found_at_once),
		TEST(test_late_swap_out_keeps_the_chunks),
		TEST(test_late_loader_and_reader_meet),
		TEST(test_late_end_before_it_comes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
