/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/snapshot.h"

static const struct praas_function functions[] = { { .name = "a" }, { .name = "b" } };

struct fixture {
	struct praas_store *store;
	struct praas_snapshot s, back, next;
	struct praas_slot_entry entry;
	struct praas_snapshot_result result;
	uint8_t *data;
	uint64_t at; /* records seen by check() */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(praas_store_memory_open(&f->store), 0);
	f->entry.kind = PRAAS_SLOT_SNAP;
	f->data = malloc(1u << 20);
	assert_non_null(f->data);
	for (uint32_t i = 0; i < 1u << 20; i++)
		f->data[i] = (uint8_t)(i * 7 + (i >> 9));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	praas_snapshot_release(&f->s);
	praas_snapshot_release(&f->back);
	praas_snapshot_release(&f->next);
	praas_store_free(f->store);
	free(f->data);
	free(f);
	return 0;
}

/* Record number i of a made-up process; all kinds and sizes around the border of what is inside. */
static struct praas_export_record made_up(const struct fixture *f, uint64_t i,
					  char key[32])
{
	static const uint64_t sizes[] = {
		0, 1, 255, 256, 257, 4096, 4097, 70000, 300000
	};
	struct praas_export_record r = {
		.kind = (enum praas_export_kind)(1 + i % 4),
		.key = key,
		.function = (uint16_t)(i % 4 == 3 ? i / 4 % 2 : 0),
		.status = -(int32_t)i,
		.source = i << 40,
		.sequence = i,
		.id = ~i,
		.version = i + 1,
		.modified_ns = i * 1000,
		.data = f->data + i % 64,
		.bytes = sizes[i % 9],
	};

	r.key_bytes = (uint8_t)snprintf(key, 32, "key-%" PRIu64, i);
	return r;
}

static void collect(struct fixture *f, struct praas_snapshot *s, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		char key[32];
		struct praas_export_record r = made_up(f, i, key);

		assert_int_equal(praas_snapshot_add(s, &r), 0);
	}
}

static int check(void *user, const struct praas_export_record *got)
{
	struct fixture *f = user;
	char key[32];
	struct praas_export_record want = made_up(f, f->at++, key);

	assert_int_equal(got->kind, want.kind);
	assert_int_equal(got->key_bytes, want.key_bytes);
	assert_memory_equal(got->key, want.key, want.key_bytes);
	assert_int_equal(got->function, want.function);
	assert_int_equal(got->status, want.status);
	assert_int_equal(got->source, want.source);
	assert_int_equal(got->sequence, want.sequence);
	assert_int_equal(got->id, want.id);
	assert_int_equal(got->version, want.version);
	assert_int_equal(got->modified_ns, want.modified_ns);
	assert_int_equal(got->bytes, want.bytes);
	if (want.bytes > 0)
		assert_memory_equal(got->data, want.data, want.bytes);
	return 0;
}

static int write_it(struct fixture *f, struct praas_snapshot *s,
		    const struct praas_snapshot *base)
{
	return praas_snapshot_write(f->store, s, functions, 2, base, &f->entry,
				    &f->result);
}

static void round_trip(struct fixture *f, uint64_t count)
{
	collect(f, &f->s, count);
	assert_int_equal(write_it(f, &f->s, NULL), 0);
	assert_int_equal(praas_snapshot_open(f->store, &f->entry, &f->back), 0);
	assert_int_equal(f->back.records_count, count);
	f->at = 0;
	assert_int_equal(
		praas_snapshot_load(f->store, &f->back, functions, 2, check, f), 0);
	assert_int_equal(f->at, count);
}

/* A store for small objects gets small ones: none holds more than it asks for and one value. */
static void test_snapshot_small_chunks(void **state)
{
	struct fixture *f = *state;

	f->store->chunk_bytes = 100000;
	round_trip(f, 100);
	assert_in_range(f->back.chunks_count, 11, 60);
	for (uint32_t i = 0; i < f->back.chunks_count; i++)
		assert_in_range(f->back.chunks[i].bytes, 1, 100000 + 300000 + 64);
}

/* What goes in comes out: a manifest inside the entry, and one of its own. */
static void test_snapshot_round_trip(void **state)
{
	struct fixture *f = *state;

	round_trip(f, 100);
	assert_string_equal(f->back.object, "");
}

static void test_snapshot_large_manifest_is_an_object(void **state)
{
	struct fixture *f = *state;

	round_trip(f, 1000);
	assert_string_not_equal(f->back.object, "");
	assert_int_equal(f->entry.body_bytes, PRAAS_SNAPSHOT_REF_BYTES);
}

/* A process without anything can be swapped, too. */
static void test_snapshot_empty(void **state)
{
	round_trip(*state, 0);
}

static int list_first(void *user, const char *key)
{
	(void)snprintf(user, PRAAS_STORE_KEY_MAX + 1, "%s", key);
	return 1;
}

static int ignore(void *user, const struct praas_export_record *r)
{
	(void)user;
	(void)r;
	return 0;
}

static int load(struct fixture *f)
{
	return praas_snapshot_load(f->store, &f->back, functions, 2, ignore, NULL);
}

/* A changed byte of a value, a missing chunk, a changed manifest: found. */
static void test_snapshot_damage_is_found(void **state)
{
	struct fixture *f = *state;
	char key[PRAAS_STORE_KEY_MAX + 1];

	round_trip(f, 1000);
	assert_int_equal(f->store->ops->list(f->store, "chunk/", NULL, list_first, key),
			 1);
	assert_int_equal(praas_store_memory_corrupt(f->store, key, 500), 0);
	assert_int_equal(load(f), -EPROTO);
	assert_int_equal(praas_store_memory_corrupt(f->store, key, 500), 0);
	assert_int_equal(load(f), 0);
	assert_int_equal(f->store->ops->delete (f->store, key), 0);
	assert_int_equal(load(f), -ENOENT);
	assert_int_equal(praas_store_put_bytes(f->store, key, f->data, 100), 0);
	assert_int_equal(load(f), -EPROTO);
	praas_snapshot_release(&f->back);
	assert_int_equal(praas_store_memory_corrupt(f->store, f->s.object, 70), 0);
	assert_int_equal(praas_snapshot_open(f->store, &f->entry, &f->back), -EPROTO);
	assert_int_equal(f->store->ops->delete (f->store, f->s.object), 0);
	assert_int_equal(praas_snapshot_open(f->store, &f->entry, &f->back), -ENOENT);
	f->entry.kind = PRAAS_SLOT_ACT;
	assert_int_equal(praas_snapshot_open(f->store, &f->entry, &f->back), -EPROTO);
}

/* Unchanged objects are not written again; changed and new ones are; garbage goes. */
static void test_snapshot_unchanged_values_stay(void **state)
{
	struct fixture *f = *state;
	const struct praas_refs *kept[1];
	struct praas_refs refs;
	struct praas_export_record r;
	uint64_t first;
	char key[32];

	collect(f, &f->s, 200);
	assert_int_equal(write_it(f, &f->s, NULL), 0);
	first = f->result.bytes_written;
	assert_int_equal(f->result.bytes_reused, 0);
	collect(f, &f->next, 200);
	r = made_up(f, 8, key); /* one new object */
	r.kind = PRAAS_EXPORT_STATE;
	r.key = "new";
	r.key_bytes = 3;
	assert_int_equal(praas_snapshot_add(&f->next, &r), 0);
	f->next.records[4].record.version++; /* one changed */
	assert_int_equal(write_it(f, &f->next, &f->s), 0);
	assert_true(f->result.bytes_reused > 0);
	assert_true(f->result.bytes_written < first);
	assert_int_equal(praas_snapshot_open(f->store, &f->entry, &f->back), 0);
	assert_int_equal(load(f), 0);
	refs = praas_snapshot_refs(&f->next);
	kept[0] = &refs;
	assert_int_equal(praas_refs_sweep(f->store, kept, 1, NULL, NULL), 0);
	assert_int_equal(load(f), 0);
	assert_int_equal(praas_refs_sweep(f->store, NULL, 0, NULL, NULL), 0);
	assert_int_equal(load(f), -ENOENT);
}

/* A chunk of which less than half is alive is not kept alive by that. */
static void test_snapshot_sparse_chunk_is_rewritten(void **state)
{
	struct fixture *f = *state;
	char key[32];

	collect(f, &f->s, 200);
	assert_int_equal(write_it(f, &f->s, NULL), 0);
	for (uint64_t i = 0; i < 40; i++) {
		struct praas_export_record r = made_up(f, i, key);

		assert_int_equal(praas_snapshot_add(&f->next, &r), 0);
	}
	assert_int_equal(write_it(f, &f->next, &f->s), 0);
	assert_int_equal(f->result.bytes_reused, 0);
}

/* Triggers follow their function by its name; one that is gone is an error. */
static void test_snapshot_functions_by_name(void **state)
{
	static const struct praas_function turned[] = { { .name = "b" },
							{ .name = "x" } };
	struct fixture *f = *state;
	struct praas_export_record r = { .kind = PRAAS_EXPORT_TRIGGER,
					 .key = "",
					 .function = 1 };

	assert_int_equal(praas_snapshot_add(&f->s, &r), 0);
	assert_int_equal(write_it(f, &f->s, NULL), 0);
	assert_int_equal(praas_snapshot_open(f->store, &f->entry, &f->back), 0);
	assert_int_equal(
		praas_snapshot_load(f->store, &f->back, turned, 2, ignore, NULL), 0);
	assert_int_equal(
		praas_snapshot_load(f->store, &f->back, turned + 1, 1, ignore, NULL),
		-ENOENT);
}

/* Of messages with other processes: written and read. */
static const struct praas_export_record mails[] = {
	{ .kind = PRAAS_EXPORT_QUEUE, .id = 123, .key = "" },
	{ .kind = PRAAS_EXPORT_ACCEPTED,
	  .source = 11,
	  .id = 4,
	  .sequence = 9,
	  .key = "" },
	{ .kind = PRAAS_EXPORT_ACCEPTED,
	  .source = 11,
	  .id = 3,
	  .sequence = 9,
	  .key = "" },
	{ .kind = PRAAS_EXPORT_SENT,
	  .source = 77,
	  .id = 5,
	  .sequence = 3,
	  .status = 5,
	  .version = 1,
	  .key = "" },
	{ .kind = PRAAS_EXPORT_OUTBOX,
	  .source = 77,
	  .id = 5,
	  .sequence = 2,
	  .key = "key",
	  .key_bytes = 3,
	  .data = "two",
	  .bytes = 3 },
	{ .kind = PRAAS_EXPORT_OUTBOX,
	  .source = 77,
	  .id = 5,
	  .sequence = 3,
	  .key = "key",
	  .key_bytes = 3 },
};

static int mail_check(void *user, const struct praas_export_record *r)
{
	const struct praas_export_record *m = &mails[(*(unsigned *)user)++];

	assert_int_equal(r->kind, m->kind);
	assert_int_equal(r->source, m->source);
	assert_int_equal(r->id, m->id);
	assert_int_equal(r->sequence, m->sequence);
	assert_int_equal(r->status, m->status);
	assert_int_equal(r->version, m->version);
	assert_int_equal(r->key_bytes, m->key_bytes);
	assert_int_equal(r->bytes, m->bytes);
	if (m->bytes)
		assert_memory_equal(r->data, m->data, m->bytes);
	return 0;
}

static void test_snapshot_mail(void **state)
{
	struct fixture *f = *state;
	unsigned n = 0;

	for (unsigned i = 0; i < sizeof(mails) / sizeof(*mails); i++)
		assert_int_equal(praas_snapshot_add(&f->s, &mails[i]), 0);
	assert_int_equal(write_it(f, &f->s, NULL), 0);
	assert_int_equal(praas_snapshot_open(f->store, &f->entry, &f->back), 0);
	assert_int_equal(
		praas_snapshot_load(f->store, &f->back, NULL, 0, mail_check, &n), 0);
	assert_int_equal(n, sizeof(mails) / sizeof(*mails));
}

/* What waits for a trigger: written and read, in the version that knows it; what is not of it stays in the
 * first one. */
static const struct praas_export_record waiting[] = {
	{ .kind = PRAAS_EXPORT_TRIGGER,
	  .key = "k",
	  .key_bytes = 1,
	  .function = 1,
	  .source = PRAAS_CLIENT | 4,
	  .id = 5,
	  .data = "in",
	  .bytes = 2 },
	{ .kind = PRAAS_EXPORT_JOINED, .key = "", .source = PRAAS_CLIENT | 4, .id = 6 },
	{ .kind = PRAAS_EXPORT_TRIGGER,
	  .key = "k",
	  .key_bytes = 1,
	  .function = 1,
	  .source = 4711,
	  .id = 5,
	  .deadline_ns = 1234567890,
	  .data = "more",
	  .bytes = 4 },
	{ .kind = PRAAS_EXPORT_TIMEOUT,
	  .key = "k",
	  .key_bytes = 1,
	  .function = 1,
	  .deadline_ns = 1234567891 },
};

static int waiting_check(void *user, const struct praas_export_record *r)
{
	const struct praas_export_record *w = &waiting[(*(unsigned *)user)++];

	assert_int_equal(r->kind, w->kind);
	assert_int_equal(r->function, w->function);
	assert_int_equal(r->source, w->source);
	assert_int_equal(r->id, w->id);
	assert_int_equal(r->deadline_ns, w->deadline_ns);
	assert_int_equal(r->key_bytes, w->key_bytes);
	assert_int_equal(r->bytes, w->bytes);
	return 0;
}

static void test_snapshot_waiting(void **state)
{
	struct fixture *f = *state;
	unsigned n = 0;

	assert_int_equal(praas_snapshot_add(&f->s, &waiting[0]), 0);
	assert_int_equal(write_it(f, &f->s, NULL), 0);
	assert_int_equal(f->entry.body[8], 1); /* the version */
	praas_snapshot_release(&f->s);
	for (unsigned i = 0; i < sizeof(waiting) / sizeof(*waiting); i++)
		assert_int_equal(praas_snapshot_add(&f->s, &waiting[i]), 0);
	assert_int_equal(write_it(f, &f->s, NULL), 0);
	assert_int_equal(f->entry.body[8], 2);
	assert_int_equal(praas_snapshot_open(f->store, &f->entry, &f->back), 0);
	assert_int_equal(praas_snapshot_load(f->store, &f->back, functions, 2,
					     waiting_check, &n),
			 0);
	assert_int_equal(n, sizeof(waiting) / sizeof(*waiting));
	/* They are the process's own: a rollback keeps them. */
	praas_snapshot_keep_own(&f->back);
	assert_int_equal(f->back.records_count, n);
}

/* A rollback: its own from one snapshot, what others rely on from a later one, which has more of that. */
static void test_snapshot_rolled_back(void **state)
{
	enum { LATER = 1000 };
	struct fixture *f = *state;
	struct praas_snapshot later = { 0 };
	struct praas_export_record r = { .kind = PRAAS_EXPORT_SENT,
					 .key = "",
					 .id = 1 };

	assert_int_equal(praas_snapshot_add(&f->s, &waiting[0]), 0);
	assert_int_equal(praas_snapshot_add(&f->s, &r), 0);
	assert_int_equal(write_it(f, &f->s, NULL), 0);
	assert_int_equal(praas_snapshot_add(&later, &waiting[0]), 0);
	for (r.source = 1; r.source <= LATER; r.source++)
		assert_int_equal(praas_snapshot_add(&later, &r), 0);
	assert_int_equal(praas_snapshot_open(f->store, &f->entry, &f->back), 0);
	praas_snapshot_keep_own(&f->back);
	assert_int_equal(praas_snapshot_keep_agreed(&f->back, &later), 0);
	assert_int_equal(f->back.records_count, 1 + LATER);
	assert_in_range(f->back.records_count, 1, f->back.records_room);
	assert_int_equal(f->back.records[0].record.kind, PRAAS_EXPORT_TRIGGER);
	for (uint64_t i = 1; i <= LATER; i++) {
		assert_int_equal(f->back.records[i].record.kind, PRAAS_EXPORT_SENT);
		assert_int_equal(f->back.records[i].record.source, i);
	}
	praas_snapshot_release(&later);
}

/* New records in a manifest of the first version, and a version that nobody knows. */
static void test_snapshot_versions(void **state)
{
	static const uint8_t versions[] = { 0, 1, 5, 255 };
	struct fixture *f = *state;
	struct praas_snapshot back;
	uint8_t *data;
	uint64_t bytes;

	for (unsigned i = 0; i < sizeof(waiting) / sizeof(*waiting); i++)
		assert_int_equal(praas_snapshot_add(&f->s, &waiting[i]), 0);
	assert_int_equal(write_it(f, &f->s, NULL), 0);
	data = f->entry.body;
	bytes = f->entry.body_bytes;
	for (unsigned i = 0; i < sizeof(versions); i++) {
		data[8] = versions[i];
		praas_snapshot_hash(data, bytes - PRAAS_SNAPSHOT_HASH_BYTES,
				    data + bytes - PRAAS_SNAPSHOT_HASH_BYTES);
		assert_int_equal(praas_snapshot_decode(data, bytes, &back), -EPROTO);
	}
}

/* A place without an epoch, a key or a value where there is none, what is joined to nothing. */
static void test_snapshot_bad_records_are_refused(void **state)
{
	static const struct praas_export_record bad[] = {
		{ .kind = PRAAS_EXPORT_ACCEPTED, .key = "" },
		{ .kind = PRAAS_EXPORT_SENT, .key = "", .id = UINT64_C(1) << 32 },
		{ .kind = PRAAS_EXPORT_OUTBOX, .key = "k", .key_bytes = 1 },
		{ .kind = PRAAS_EXPORT_QUEUE, .key = "k", .key_bytes = 1 },
		{ .kind = PRAAS_EXPORT_QUEUE, .key = "", .data = "x", .bytes = 1 },
		{ .kind = PRAAS_EXPORT_LOG, .key = "" },
		{ .kind = PRAAS_EXPORT_LOG, .key = "k", .key_bytes = 1, .id = 1 },
		{ .kind = PRAAS_EXPORT_LOG,
		  .key = "",
		  .id = 1,
		  .data = "x",
		  .bytes = 1 },
		{ .kind = (enum praas_export_kind)(PRAAS_EXPORT_LAST + 1), .key = "" },
		/* Joined to nothing that follows, with what it cannot have, without a name. */
		{ .kind = PRAAS_EXPORT_JOINED, .key = "", .id = 1 },
		{ .kind = PRAAS_EXPORT_JOINED, .key = "" },
		{ .kind = PRAAS_EXPORT_JOINED, .key = "k", .key_bytes = 1, .id = 1 },
		/* A pipeline without an input, a name, a number that its call needs; with what it cannot have. */
		{ .kind = PRAAS_EXPORT_STAGE, .key = "b", .key_bytes = 1 },
		{ .kind = PRAAS_EXPORT_STAGE, .key = "" },
		{ .kind = PRAAS_EXPORT_STAGE, .key = "b", .key_bytes = 1, .id = 1 },
		{ .kind = PRAAS_EXPORT_STAGE,
		  .key = "b",
		  .key_bytes = 1,
		  .sequence = 1 },
		{ .kind = PRAAS_EXPORT_STAGE,
		  .key = "b",
		  .key_bytes = 1,
		  .data = "x",
		  .bytes = 1 },
		{ .kind = PRAAS_EXPORT_TIMEOUT, .key = "" },
		{ .kind = PRAAS_EXPORT_TIMEOUT,
		  .key = "",
		  .function = 2,
		  .deadline_ns = 1 },
		{ .kind = PRAAS_EXPORT_TIMEOUT,
		  .key = "",
		  .deadline_ns = 1,
		  .data = "x",
		  .bytes = 1 },
		{ .kind = PRAAS_EXPORT_MESSAGE,
		  .key = "k",
		  .key_bytes = 1,
		  .deadline_ns = 1 },
	};
	struct fixture *f = *state;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct praas_snapshot s = { 0 };

		assert_int_equal(praas_snapshot_add(&s, &bad[i]), 0);
		assert_int_equal(write_it(f, &s, NULL), 0);
		assert_int_equal(praas_snapshot_open(f->store, &f->entry, &f->back),
				 -EPROTO);
		praas_snapshot_release(&s);
	}
}

/* Every flipped bit of a manifest, and every truncation. */
static void test_snapshot_every_flipped_bit_is_found(void **state)
{
	struct fixture *f = *state;
	uint8_t *data;
	uint64_t bytes;

	collect(f, &f->s, 3);
	assert_int_equal(write_it(f, &f->s, NULL), 0);
	data = f->entry.body;
	bytes = f->entry.body_bytes;
	for (uint64_t bit = 0; bit < bytes * 8; bit++) {
		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(praas_snapshot_decode(data, bytes, &f->back), -EPROTO);
		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (uint64_t n = 0; n < bytes; n++)
		assert_int_equal(praas_snapshot_decode(data, n, &f->back), -EPROTO);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_snapshot_round_trip),
		TEST(test_snapshot_small_chunks),
		TEST(test_snapshot_large_manifest_is_an_object),
		TEST(test_snapshot_empty),
		TEST(test_snapshot_damage_is_found),
		TEST(test_snapshot_unchanged_values_stay),
		TEST(test_snapshot_sparse_chunk_is_rewritten),
		TEST(test_snapshot_functions_by_name),
		TEST(test_snapshot_mail),
		TEST(test_snapshot_waiting),
		TEST(test_snapshot_rolled_back),
		TEST(test_snapshot_versions),
		TEST(test_snapshot_bad_records_are_refused),
		TEST(test_snapshot_every_flipped_bit_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
