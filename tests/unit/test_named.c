/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/store/named.h"
#include "internal/bytes.h"

/* Snapshots of one chunk each, in a log whose sweeps are made by hand. */
struct fixture {
	struct praas_store *store;
	struct praas_slot_id id;
	struct praas_slot_log log;
	struct praas_slot_entry entry;
	struct praas_named_set set;
};

static void chunk_key(uint64_t number, char ret_key[PRAAS_STORE_KEY_MAX + 1])
{
	struct praas_snapshot_chunk chunk = { .nonce = number, .bytes = 4 };

	praas_snapshot_chunk_key(&chunk, ret_key);
}

static bool has(struct fixture *f, const char *key)
{
	uint64_t bytes;

	return f->store->ops->stat(f->store, key, &bytes) == 0;
}

static bool has_chunk(struct fixture *f, uint64_t number)
{
	char key[PRAAS_STORE_KEY_MAX + 1];

	chunk_key(number, key);
	return has(f, key);
}

/* A snapshot that refers to a chunk of that number, with its manifest inside or in an object. */
static void commit(struct fixture *f, uint64_t number, bool apart)
{
	const uint64_t bytes = PRAAS_SNAPSHOT_HEAD_BYTES +
			       PRAAS_SNAPSHOT_CHUNK_ENTRY_BYTES +
			       PRAAS_SNAPSHOT_HASH_BYTES;
	char key[PRAAS_STORE_KEY_MAX + 1];
	uint8_t m[256] = { 0 };

	chunk_key(number, key);
	assert_int_equal(praas_store_put_bytes(f->store, key, "data", 4), 0);
	praas_put_le(m, PRAAS_SNAPSHOT_MAGIC, 8);
	praas_put_le(m + 8, PRAAS_SNAPSHOT_VERSION, 4);
	praas_put_le(m + 16, bytes, 8);
	praas_put_le(m + 24, 1, 4);
	praas_put_le(m + 40, 10 + number, 8);
	praas_put_le(m + 80, number, 8);
	praas_put_le(m + 88, 4, 8);
	praas_snapshot_hash(m, bytes - PRAAS_SNAPSHOT_HASH_BYTES,
			    m + bytes - PRAAS_SNAPSHOT_HASH_BYTES);
	memset(&f->entry, 0, sizeof(f->entry));
	f->entry.epoch = 1;
	f->entry.kind = PRAAS_SLOT_SNAP;
	f->entry.body_bytes = (uint32_t)bytes;
	memcpy(f->entry.body, m, (size_t)bytes);
	if (apart) {
		(void)snprintf(key, sizeof(key), "manifest/%016llx",
			       (unsigned long long)number);
		assert_int_equal(praas_store_put_bytes(f->store, key, m, (size_t)bytes),
				 0);
		praas_put_le(f->entry.body, PRAAS_SNAPSHOT_REF_MAGIC, 8);
		praas_put_le(f->entry.body + 8, number, 8);
		praas_put_le(f->entry.body + 16, bytes, 8);
		praas_put_le(f->entry.body + 24, 0, 8);
		memcpy(f->entry.body + 32, m + bytes - PRAAS_SNAPSHOT_HASH_BYTES, 16);
		f->entry.body_bytes = PRAAS_SNAPSHOT_REF_BYTES;
	}
	assert_int_equal(praas_slot_log_put(&f->log, &f->entry), 0);
}

/* As a controller does it. */
static int sweep(struct fixture *f)
{
	const struct praas_refs *keep[PRAAS_NAMED_MAX + 2];
	struct praas_refs last[2] = { 0 };
	unsigned count = 0;
	int rc = praas_named_set_read(&f->set, &f->log);
	uint64_t slots[2] = { f->log.snapshot_slot, f->log.previous_slot };

	for (unsigned i = 0; i < 2; i++) {
		if (slots[i] == PRAAS_SLOT_NONE)
			continue;
		assert_int_equal(praas_slot_log_read(&f->log, slots[i], &f->entry), 0);
		assert_int_equal(praas_refs_open(f->store, &f->entry, &last[i]), 0);
		keep[count++] = &last[i];
	}
	for (unsigned i = 0; i < f->set.count; i++)
		keep[count++] = &f->set.all[i].refs;
	if (rc == 0)
		rc = praas_refs_sweep(f->store, keep, count, NULL, NULL);
	praas_refs_release(&last[0]);
	praas_refs_release(&last[1]);
	return rc;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	if (!f || praas_store_memory_open(&f->store) != 0)
		return -1;
	f->id = (struct praas_slot_id){ .pid = 7, .generation = 2 };
	return praas_slot_log_open(f->store, &f->id, &f->log);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	praas_named_set_release(&f->set);
	praas_store_free(f->store);
	free(f);
	return 0;
}

static int give(struct fixture *f, const char *name, struct praas_named *ret_named)
{
	struct praas_slot_log log;

	assert_int_equal(praas_slot_log_open(f->store, &f->id, &log), 0);
	return praas_named_give(&log, name, 5, ret_named);
}

static int take(struct fixture *f, const char *name)
{
	struct praas_slot_log log;

	assert_int_equal(praas_slot_log_open(f->store, &f->id, &log), 0);
	return praas_named_take(&log, name);
}

/* What has a name stays, whatever is saved afterwards; with its name all goes that nothing else needs. */
static void test_named_keeps_its_snapshot(void **state)
{
	struct fixture *f = *state;
	struct praas_named n, found;

	assert_int_equal(give(f, "early", &n), -ENODATA);
	commit(f, 1, true);
	assert_int_equal(give(f, "a", &n), 0);
	assert_int_equal(n.slot, 0);
	assert_int_equal(n.bytes, 11);
	assert_int_equal(give(f, "a", &n), -EEXIST);
	assert_int_equal(give(f, "b", &n), 0); /* a second one of the same */
	for (uint64_t i = 2; i <= 6; i++) {
		commit(f, i, i % 2 == 0);
		assert_int_equal(sweep(f), 0);
	}
	assert_true(has_chunk(f, 1) && has(f, "manifest/0000000000000001"));
	assert_false(has_chunk(f, 2) || has_chunk(f, 3) || has_chunk(f, 4));
	assert_true(has_chunk(f, 5) && has_chunk(f, 6));
	assert_int_equal(praas_named_get(&f->log, "a", &found), 0);
	assert_int_equal(found.slot, 0);
	assert_int_equal(praas_named_entry(&f->log, &found, &f->entry), 0);
	assert_int_equal(take(f, "a"), 0);
	assert_int_equal(take(f, "a"), -ENOENT);
	assert_true(has_chunk(f, 1)); /* b needs it */
	assert_int_equal(take(f, "b"), 0);
	assert_false(has_chunk(f, 1) || has(f, "manifest/0000000000000001"));
	assert_int_equal(give(f, "last", &n), 0);
	assert_int_equal(take(f, "last"), 0);
	assert_true(has_chunk(f, 6) && has(f, "manifest/0000000000000006"));
}

static void test_named_lists_in_pages(void **state)
{
	static const char *const names[] = { ".hidden", "A", "a", "b" };
	struct fixture *f = *state;
	struct praas_named n, page[3];
	unsigned count;

	assert_int_equal(praas_named_list(&f->log, NULL, 3, page, &count), 0);
	assert_int_equal(count, 0);
	commit(f, 1, false);
	for (unsigned i = 4; i-- > 0;)
		assert_int_equal(give(f, names[i], &n), 0);
	assert_int_equal(praas_named_list(&f->log, "", 3, page, &count), 0);
	assert_int_equal(count, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_string_equal(page[i].name, names[i]);
	assert_int_equal(praas_named_list(&f->log, page[2].name, 3, page, &count), 0);
	assert_int_equal(count, 1);
	assert_string_equal(page[0].name, "b");
}

static void test_named_has_a_limit(void **state)
{
	struct fixture *f = *state;
	struct praas_named n;
	char name[16];

	commit(f, 1, false);
	for (unsigned i = 0; i <= PRAAS_NAMED_MAX; i++) {
		(void)snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(give(f, name, &n), i < PRAAS_NAMED_MAX ? 0 : -EMFILE);
	}
	assert_int_equal(sweep(f), 0);
	assert_int_equal(f->set.count, 1); /* they stand for one snapshot */
	assert_int_equal(take(f, "n0"), 0);
	assert_int_equal(give(f, name, &n), 0);
}

/* Between the look at the log and the name's object others save, and sweep. */
struct overtaking {
	struct fixture *f;
	unsigned left; /* so many times */
	uint64_t number;
};

static int overtake(void *user, const char *op, const char *key, int done)
{
	struct overtaking *o = user;

	if (strcmp(op, "put_if_absent") != 0 || strncmp(key, "named/", 6) != 0 ||
	    done || o->left == 0)
		return 0;
	o->left--;
	for (unsigned i = 0; i < 3; i++) {
		commit(o->f, o->number++, false);
		assert_int_equal(sweep(o->f), 0);
	}
	return 0;
}

static void test_named_that_was_overtaken(void **state)
{
	struct fixture *f = *state;
	struct overtaking o = { .f = f, .left = 3, .number = 10 };
	struct praas_named n;

	commit(f, 1, false);
	praas_store_memory_faults(f->store, overtake, &o);
	assert_int_equal(give(f, "a", &n), 0);
	assert_true(n.slot == f->log.snapshot_slot);
	assert_true(has_chunk(f, o.number - 1));
	o.left = 1000;
	assert_int_equal(give(f, "b", &n), -EAGAIN);
	praas_store_memory_faults(f->store, NULL, NULL);
	assert_int_equal(praas_named_get(&f->log, "b", &n), -ENOENT);
}

static int lose_response(void *user, const char *op, const char *key, int done)
{
	unsigned *left = user;

	if (strcmp(op, "put_if_absent") != 0 || strncmp(key, "named/", 6) != 0 ||
	    !done || *left == 0)
		return 0;
	--*left;
	return -EIO;
}

static void test_named_lost_response(void **state)
{
	struct fixture *f = *state;
	struct praas_named n, found;
	unsigned left = 1;

	commit(f, 1, false);
	praas_store_memory_faults(f->store, lose_response, &left);
	assert_int_equal(give(f, "a", &n), 0);
	praas_store_memory_faults(f->store, NULL, NULL);
	assert_int_equal(praas_named_get(&f->log, "a", &found), 0);
	assert_int_equal(found.nonce, n.nonce);
}

/* Every bit counts. While it is damaged nothing is removed, it is listed as damaged, and can go. */
static void test_named_damaged(void **state)
{
	struct fixture *f = *state;
	struct praas_named n, page[2];
	unsigned count;

	commit(f, 1, false);
	assert_int_equal(give(f, "a", &n), 0);
	for (uint64_t i = 0; i < PRAAS_NAMED_BYTES; i++) {
		assert_int_equal(praas_store_memory_corrupt(f->store, "named/n.a", i),
				 0);
		assert_int_equal(praas_named_get(&f->log, "a", &n), -EPROTO);
		assert_int_equal(praas_store_memory_corrupt(f->store, "named/n.a", i),
				 0);
	}
	assert_int_equal(praas_named_get(&f->log, "a", &n), 0);
	assert_int_equal(praas_store_memory_corrupt(f->store, "named/n.a", 40), 0);
	commit(f, 2, false);
	commit(f, 3, false);
	assert_int_equal(sweep(f), -EPROTO);
	assert_true(has_chunk(f, 1));
	assert_int_equal(praas_named_list(&f->log, NULL, 2, page, &count), 0);
	assert_int_equal(count, 1);
	assert_true(page[0].slot == PRAAS_SLOT_NONE);
	assert_int_equal(give(f, "a", &n), -EEXIST);
	assert_int_equal(take(f, "a"), 0);
	assert_int_equal(sweep(f), 0);
	assert_false(has_chunk(f, 1));
}

/* One of another process, or under another name, is none. */
static void test_named_of_another(void **state)
{
	struct fixture *f = *state;
	struct praas_slot_id other = f->id;
	uint8_t data[PRAAS_NAMED_BYTES];
	struct praas_named n;

	commit(f, 1, false);
	assert_int_equal(give(f, "a", &n), 0);
	praas_named_encode(&f->id, &n, data);
	assert_int_equal(praas_named_decode(&f->id, "a", data, sizeof(data), &n), 0);
	assert_int_equal(praas_named_decode(&f->id, "b", data, sizeof(data), &n),
			 -EPROTO);
	assert_int_equal(praas_named_decode(&f->id, "a", data, sizeof(data) - 1, &n),
			 -EPROTO);
	other.pid++;
	assert_int_equal(praas_named_decode(&other, "a", data, sizeof(data), &n),
			 -EPROTO);
	other = f->id;
	other.tenant[3] ^= 1;
	assert_int_equal(praas_named_decode(&other, "a", data, sizeof(data), &n),
			 -EPROTO);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_named_keeps_its_snapshot),
		TEST(test_named_lists_in_pages),
		TEST(test_named_has_a_limit),
		TEST(test_named_that_was_overtaken),
		TEST(test_named_lost_response),
		TEST(test_named_damaged),
		TEST(test_named_of_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
