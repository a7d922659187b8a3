/* SPDX-License-Identifier: Apache-2.0
 *
 * State against a naive map; readers of the published index while it changes; and an index
 * full of nonsense.
 */
#include <pthread.h>
#include <sched.h>

#include "unit/state_fixture.h"

#include "dataplane/key_hash.h"
#include "dataplane/state_index.h"

#define KEYS 200u

static void key_name(uint32_t i, char key[64])
{
	/* Lengths across all classes of cells. */
	static const char pad[] = "-padding-padding-padding-padding";

	(void)snprintf(key, 64, "k%u%.*s", i, (int)(i % 32), pad);
}

/* All of what is stored, from the index and by list, equals the map. */
static void compare_all(struct fixture *f, const struct praas_state_reader *r,
			const uint64_t *map, const uint64_t *versions)
{
	static struct praas_state_info infos[KEYS + 10];
	uint8_t *records = malloc(PRAAS_LIST_BYTES_MAX);
	uint64_t bytes;
	uint64_t listed;
	uint32_t count;
	uint32_t live = 0;
	uint64_t at = 0;

	for (uint32_t i = 0; i < KEYS; i++) {
		struct praas_state_found found;
		char key[64];
		int rc;

		key_name(i, key);
		rc = praas_state_reader_get(r, key, (uint32_t)strlen(key), &found);
		assert_int_equal(rc, map[i] ? 0 : -ENOENT);
		if (rc != 0)
			continue;
		live++;
		assert_int_equal(found.version, versions[i]);
		assert_int_equal(found.bytes, 8);
		assert_memory_equal(f->segment.base + found.offset, &map[i], 8);
	}
	assert_int_equal(
		praas_state_reader_list(r, "k", NULL, infos, KEYS + 10, &count), 0);
	assert_int_equal(count, live);
	assert_int_equal(praas_process_fn_state_list(f->p, "k", 1, NULL, 0, records,
						     PRAAS_LIST_BYTES_MAX, &bytes,
						     &listed),
			 0);
	assert_int_equal(listed, live);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t words[4];

		memcpy(words, records + at, sizeof(words));
		assert_int_equal(words[0], infos[i].version);
		assert_int_equal((uint8_t)words[3], strlen(infos[i].key));
		assert_memory_equal(records + at + 32, infos[i].key, (uint8_t)words[3]);
		at += 32 + praas_align_up((uint8_t)words[3], 8);
		if (i)
			assert_true(strcmp(infos[i - 1].key, infos[i].key) < 0);
	}
	assert_int_equal(at, bytes);
	free(records);
}

/* Random commits of one to eight writes: the published index, the lists and a map agree. */
static void test_state_matches_model(void **state)
{
	struct fixture *f = *state;
	struct praas_state_reader r;
	static uint64_t map[KEYS];
	static uint64_t versions[KEYS];
	unsigned seed = 42;

	memset(map, 0, sizeof(map));
	assert_int_equal(praas_state_reader_init(&r, &f->segment,
						 praas_process_state_index_offset(f->p),
						 NULL),
			 0);
	for (uint64_t n = 1; n < 4000; n++) {
		struct praas_state_write w[8];
		uint32_t count = 1 + (uint32_t)rand_r(&seed) % 8;
		bool used[KEYS] = { false };
		uint32_t which[8];
		uint64_t version;

		for (uint32_t j = 0; j < count; j++) {
			char key[64];

			do
				which[j] = (uint32_t)rand_r(&seed) % KEYS;
			while (used[which[j]]);
			used[which[j]] = true;
			key_name(which[j], key);
			w[j] = map[which[j]] && rand_r(&seed) % 2
				       ? erase_of(key)
				       : put_of(f, key, &n, 8);
			if (!w[j].erase)
				w[j].expect =
					map[which[j]] ? versions[which[j]] + 1 : 1;
		}
		version = commit(f, w, count, 0);
		for (uint32_t j = 0; j < count; j++) {
			map[which[j]] = w[j].erase ? 0 : n;
			versions[which[j]] = version;
		}
		if (n % 100 == 0)
			compare_all(f, &r, map, versions);
	}
}

/* One conflict, and nothing of the commit is there. */
static void test_state_commit_is_all_or_none(void **state)
{
	struct fixture *f = *state;
	struct praas_state_write w[3] = { put_of(f, "a", "1", 1),
					  put_of(f, "b", "1", 1) };
	const struct praas_value *value;
	uint64_t version;

	commit(f, w, 2, 0);
	w[0] = put_of(f, "a", "2", 1);
	w[1] = put_of(f, "new", "2", 1);
	w[2] = put_of(f, "b", "2", 1);
	w[2].expect = 5;
	assert_int_equal(commit(f, w, 3, -ESTALE), 1);
	assert_int_equal(praas_process_fn_state_get(f->p, "new", 3, &value, &version),
			 -ENOENT);
	assert_int_equal(praas_process_fn_state_get(f->p, "a", 1, &value, &version), 0);
	assert_int_equal(version, 1);
	w[0] = put_of(f, "a", "3", 1);
	w[1] = erase_of("none");
	commit(f, w, 2, -ENOENT);
	w[0] = put_of(f, "a", "3", 1);
	w[1] = erase_of("a");
	commit(f, w, 2, 0);
	assert_int_equal(praas_process_fn_state_get(f->p, "a", 1, &value, &version),
			 -ENOENT);
}

/* Limits of keys and bytes are told apart and leave things as they were. */
static void test_state_limits(void **state)
{
	struct fixture *f = *state;
	struct praas_process_stats stats;
	static char large[600000];
	struct praas_state_write w;
	char key[64];

	w = put_of(f, "large", large, sizeof(large));
	commit(f, &w, 1, 0);
	w = put_of(f, "large2", large, sizeof(large));
	commit(f, &w, 1, -ENOSPC);
	w = put_of(f, "large", "x", 1);
	commit(f, &w, 1, 0);
	for (uint32_t i = 0; i < 1023; i++) {
		key_name(i, key);
		w = put_of(f, key, "v", 1);
		commit(f, &w, 1, 0);
	}
	w = put_of(f, "one-more", "v", 1);
	commit(f, &w, 1, -ENOBUFS);
	w = erase_of("large");
	commit(f, &w, 1, 0);
	w = put_of(f, "one-more", "v", 1);
	commit(f, &w, 1, 0);
	praas_process_stats(f->p, &stats);
	assert_int_equal(stats.state_keys, 1024);
	assert_int_equal(stats.state_bytes, 1024 * 256);
}

/* ---- readers ---- */

struct reading {
	struct praas_state_reader reader;
	struct praas_state_reader_line line;
	_Atomic bool stop;
	uint64_t reads, pairs;
	const char *failure;
};

/* "x" and "y" are always committed together with the same content; "z" comes and goes. */
static void *read_loop(void *user)
{
	struct reading *t = user;
	const struct praas_state_reader *r = &t->reader;

	while (!atomic_load_explicit(&t->stop, memory_order_relaxed) && !t->failure) {
		struct praas_state_found x;
		struct praas_state_found y;
		struct praas_state_found z;
		const uint64_t *data;

		praas_state_reader_enter(r);
		if (praas_state_reader_get(r, "y", 1, &y) != 0 ||
		    praas_state_reader_get(r, "x", 1, &x) != 0) {
			t->failure = "x or y is not there";
		} else {
			data = (const uint64_t *)(const void *)(r->pool->base +
								y.offset);
			/* What was found stays as it was until we leave. */
			for (int i = 0; i < 4; i++) {
				if (data[0] != y.version || data[1] != y.version)
					t->failure = "value changed under a reader";
				if (i == 2)
					(void)sched_yield();
			}
			if (x.version < y.version)
				t->failure = "half of a commit";
		}
		if (praas_state_reader_get(r, "z", 1, &z) == -EPROTO)
			t->failure = "index broken";
		praas_state_reader_leave(r);
		t->reads++;
	}
	return NULL;
}

static void commit_pair(struct fixture *f, uint64_t n)
{
	uint64_t content[2] = { n, n };
	struct praas_state_write w[2] = { put_of(f, "x", content, sizeof(content)),
					  put_of(f, "y", content, sizeof(content)) };

	assert_int_equal(commit(f, w, 2, 0), n);
}

/* Readers see whole commits, and values that stay while they look. */
static void test_state_concurrent_readers(void **state)
{
	struct fixture *f = *state;
	struct reading *t = aligned_alloc(64, 2 * sizeof(*t) + 128);
	pthread_t threads[2];
	uint64_t version = 1;
	uint64_t end;

	memset(t, 0, 2 * sizeof(*t));
	commit_pair(f, version);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(
			praas_state_reader_init(&t[i].reader, &f->segment,
						praas_process_state_index_offset(f->p),
						&t[i].line),
			0);
		praas_process_reader_set(f->p, i, &t[i].line);
		assert_int_equal(pthread_create(&threads[i], NULL, read_loop, &t[i]),
				 0);
	}
	end = praas_now_ns() + 700000000u;
	while (praas_now_ns() < end) {
		struct praas_state_write w;
		char key[64];

		commit_pair(f, ++version);
		key_name((uint32_t)version % 50, key);
		w = put_of(f, key, &version, 8);
		version = commit(f, &w, 1, 0);
		w = put_of(f, "z", &version, 8);
		version = commit(f, &w, 1, 0);
		w = erase_of(key);
		version = commit(f, &w, 1, 0);
		w = erase_of("z");
		version = commit(f, &w, 1, 0);
		(void)praas_process_poll(f->p, 16);
		/* A reader that lost its core in the middle keeps much from being freed. */
		while (f->p->state.retired_tail - f->p->state.retired_head > 1000) {
			(void)sched_yield();
			praas_state_reclaim(&f->p->state, true);
		}
	}
	for (uint32_t i = 0; i < 2; i++) {
		atomic_store(&t[i].stop, true);
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_null(t[i].failure);
		assert_true(t[i].reads > 0);
		praas_process_reader_set(f->p, i, NULL);
	}
	free(t);
}

/* A reader that stays inside keeps what it found; the rest goes when it leaves. */
static void test_state_reader_holds_memory(void **state)
{
	struct fixture *f = *state;
	struct praas_state_reader_line *line = aligned_alloc(64, sizeof(*line));
	struct praas_state_reader r;
	struct praas_state_found found;
	struct praas_pool_stats before;
	struct praas_pool_stats stats;
	struct praas_state_write w = put_of(f, "k", "old", 3);

	memset(line, 0, sizeof(*line));
	assert_int_equal(praas_state_reader_init(&r, &f->segment,
						 praas_process_state_index_offset(f->p),
						 line),
			 0);
	praas_process_reader_set(f->p, 0, line);
	commit(f, &w, 1, 0);
	praas_pool_stats(f->pool, &before);
	praas_state_reader_enter(&r);
	assert_int_equal(praas_state_reader_get(&r, "k", 1, &found), 0);
	for (int i = 0; i < 300; i++) {
		w = put_of(f, "k", "new", 3);
		commit(f, &w, 1, 0);
		(void)praas_process_poll(f->p, 16);
	}
	assert_memory_equal(f->segment.base + found.offset, "old", 3);
	praas_state_reader_leave(&r);
	praas_state_reclaim(&f->p->state, true);
	praas_pool_stats(f->pool, &stats);
	assert_int_equal(stats.bytes_used, before.bytes_used);
	praas_process_reader_set(f->p, 0, NULL);
	free(line);
}

/* Whatever is in the index: a read ends and stays inside the segment. */
static void test_state_hostile_index(void **state)
{
	struct praas_segment segment;
	struct praas_state_header *h;
	struct praas_state_reader r;
	struct praas_state_info infos[4];
	unsigned seed = 7;

	(void)state;
	assert_int_equal(praas_segment_create("hostile", 1 << 16, 1, 0, &segment), 0);
	h = (struct praas_state_header *)(void *)segment.base;
	for (int round = 0; round < 300; round++) {
		uint64_t *words = (uint64_t *)(void *)segment.base;
		uint32_t count;

		for (uint32_t i = 0; i < (1u << 16) / 8; i++) {
			words[i] =
				(uint64_t)rand_r(&seed) << 32 ^ (uint64_t)rand_r(&seed);
			if (rand_r(&seed) % 4 == 0)
				words[i] &= 0xffff;
			/* Sequences that hold still, as a rule, or it would only be waited for. */
			if (i % 8 == 0 && round % 64)
				words[i] &= ~1ull;
		}
		h->magic = PRAAS_STATE_MAGIC;
		h->slots = 1ull << (rand_r(&seed) % 12);
		h->entries = 64ull * ((uint64_t)rand_r(&seed) % 1100);
		h->sequence = round % 100 ? 2 : 1;
		if (praas_state_reader_init(&r, &segment, 0, NULL) != 0)
			continue;
		for (uint32_t i = 0; i <= r.mask; i += 3)
			words[h->entries / 8 + i * 8 + 1] =
				praas_key_hash("k", 1, r.seed);
		(void)praas_state_reader_get(&r, "k", 1,
					     &(struct praas_state_found){ 0 });
		(void)praas_state_reader_list(&r, "", NULL, infos, 4, &count);
	}
	h->slots = 3;
	assert_int_equal(praas_state_reader_init(&r, &segment, 0, NULL), -EPROTO);
	h->slots = 1ull << 60;
	assert_int_equal(praas_state_reader_init(&r, &segment, 0, NULL), -EPROTO);
	assert_int_equal(praas_state_reader_init(&r, &segment, 1 << 16, NULL), -EPROTO);
	praas_segment_release(&segment);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(test_state_##name, setup, teardown)
		T(matches_model),      T(commit_is_all_or_none), T(limits),
		T(concurrent_readers), T(reader_holds_memory),   T(hostile_index),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
