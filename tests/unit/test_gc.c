/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/store/check.h"
#include "controller/store/gc.h"
#include "controller/store/named.h"
#include "controller/store/whole.h"
#include "internal/bytes.h"

/*
 * Histories of a process in a store, made by chance: uploads that are committed, given up, or take too long,
 * checkpoints, names, rollbacks, and a collector beside them, on a clock of the test's.
 */

#define GRACE 100u
#define UPLOAD (GRACE / PRAAS_GC_UPLOADS)
#if defined(__SANITIZE_ADDRESS__) ||                                                   \
	defined(__SANITIZE_THREAD__) /* many times slower */
#define HISTORIES 15u
#else
#define HISTORIES 60u
#endif
#define STEPS 120u

struct world {
	struct praas_store *store;
	struct praas_slot_id id;
	struct praas_slot_log log; /* the writer's */
	struct praas_slot_entry entry;
	struct praas_gc_look look;
	uint64_t now, seed, chunks, names;
	uint64_t upload, begun; /* number of the chunk on its way; 0: none */
	uint64_t last;          /* chunk of the last snapshot; 0: none */
	bool patient;           /* the writer gives up what takes too long */
};

static uint64_t chance(struct world *w, uint64_t below)
{
	w->seed = w->seed * 6364136223846793005u + 1442695040888963407u;
	return (w->seed >> 33) % below;
}

static void chunk_key(uint64_t number, char ret_key[PRAAS_STORE_KEY_MAX + 1])
{
	struct praas_snapshot_chunk chunk = { .nonce = number, .bytes = 4 };

	praas_snapshot_chunk_key(&chunk, ret_key);
}

static void upload(struct praas_store *store, uint64_t number)
{
	char key[PRAAS_STORE_KEY_MAX + 1];

	chunk_key(number, key);
	assert_int_equal(praas_store_put_bytes(store, key, "data", 4), 0);
}

/* A manifest of two chunks: of a new value, and of one that stays from the snapshot before (0: none). */
static size_t manifest(const uint64_t chunks[2], uint8_t m[512])
{
	const uint64_t record = PRAAS_SNAPSHOT_RECORD_BYTES;
	uint64_t count = chunks[1] ? 2 : 1, at, bytes;

	bytes = PRAAS_SNAPSHOT_HEAD_BYTES + count * PRAAS_SNAPSHOT_CHUNK_ENTRY_BYTES +
		count * record + PRAAS_SNAPSHOT_HASH_BYTES;
	memset(m, 0, 512);
	praas_put_le(m, PRAAS_SNAPSHOT_MAGIC, 8);
	praas_put_le(m + 8, 1, 4);
	praas_put_le(m + 16, bytes, 8);
	praas_put_le(m + 24, count, 4);
	praas_put_le(m + 32, count, 8);
	praas_put_le(m + 40, 4 * count, 8);
	at = PRAAS_SNAPSHOT_HEAD_BYTES;
	for (uint64_t i = 0; i < count; i++) {
		praas_put_le(m + at + 16, chunks[i], 8);
		praas_put_le(m + at + 24, 4, 8);
		at += PRAAS_SNAPSHOT_CHUNK_ENTRY_BYTES;
	}
	for (uint64_t i = 0; i < count; i++, at += record) {
		m[at] = 1;
		praas_put_le(m + at + 8, i, 4);
		praas_put_le(m + at + 64, 4, 8);
		praas_snapshot_hash("data", 4, m + at + 80);
	}
	praas_snapshot_hash(m, at, m + at);
	return (size_t)bytes;
}

static int commit(struct praas_slot_log *log, struct praas_slot_entry *entry,
		  uint64_t chunk, uint64_t kept, uint8_t kind)
{
	const uint64_t chunks[2] = { chunk, kept };
	uint8_t m[512];

	memset(entry->nonce, 0, sizeof(entry->nonce));
	entry->epoch = log->epoch_max ? log->epoch_max : 1;
	if (log->last_kind == PRAAS_SLOT_REL || log->last_kind == PRAAS_SLOT_BACK)
		entry->epoch++;
	entry->kind = kind;
	entry->body_bytes = (uint32_t)manifest(chunks, m);
	memcpy(entry->body, m, entry->body_bytes);
	return praas_slot_log_put(log, entry);
}

static void world_open(struct world *w, uint64_t seed)
{
	*w = (struct world){ .seed = seed,
			     .id = { .pid = 3, .generation = 1 },
			     .patient = true };
	assert_int_equal(praas_store_memory_open(&w->store), 0);
	assert_int_equal(praas_slot_log_open(w->store, &w->id, &w->log), 0);
}

static void world_close(struct world *w)
{
	praas_gc_look_release(&w->look);
	praas_store_free(w->store);
}

static void count_damage(void *user, enum praas_check_kind kind, const char *key,
			 const char *why)
{
	(void)key;
	(void)why;
	*(unsigned *)user += kind != PRAAS_CHECK_ORPHAN;
}

/* Objects that a kept snapshot needs and that are not there, or not as they were. */
static unsigned damage(struct world *w, struct praas_check_report *ret_report)
{
	unsigned count = 0;
	int rc = praas_check_store(w->store, count_damage, &count, ret_report);

	assert_true(rc == 0 || rc == -ENOENT);
	return count;
}

static void begin_upload(struct world *w)
{
	if (w->upload == 0) {
		w->upload = ++w->chunks;
		w->begun = w->now;
		upload(w->store, w->upload);
	}
}

/* As a controller does: what took too long is not committed. */
static void end_upload(struct world *w)
{
	bool late = w->now - w->begun > UPLOAD;
	uint64_t kept = chance(w, 2) ? w->last : 0;
	uint8_t kind = chance(w, 4) ? PRAAS_SLOT_SNAP : PRAAS_SLOT_REL;

	if (w->upload == 0)
		return;
	if (!late || !w->patient) {
		assert_int_equal(commit(&w->log, &w->entry, w->upload, kept, kind), 0);
		w->last = w->upload;
	}
	w->upload = 0;
}

static void give_name(struct world *w)
{
	struct praas_named named;
	struct praas_slot_log log;
	char name[32];

	(void)snprintf(name, sizeof(name), "n%llu", (unsigned long long)w->names++);
	assert_int_equal(praas_slot_log_open(w->store, &w->id, &log), 0);
	if (log.snapshot_slot != PRAAS_SLOT_NONE)
		assert_int_equal(praas_named_give(&log, name, 1, &named), 0);
}

static void take_name(struct world *w)
{
	struct praas_slot_log log;
	char name[32];
	int rc;

	if (w->names == 0)
		return;
	(void)snprintf(name, sizeof(name), "n%llu",
		       (unsigned long long)chance(w, w->names));
	assert_int_equal(praas_slot_log_open(w->store, &w->id, &log), 0);
	rc = praas_named_take(&log, name);
	assert_true(rc == 0 || rc == -ENOENT);
}

/* To a name that is there. What the next snapshot keeps is not this one's, to be simple. */
static void roll_back(struct world *w)
{
	struct praas_named named;
	uint32_t epoch = w->log.epoch_max;
	char name[32];

	if (w->names == 0 || w->upload != 0)
		return;
	(void)snprintf(name, sizeof(name), "n%llu",
		       (unsigned long long)chance(w, w->names));
	if (praas_named_get(&w->log, name, &named) != 0)
		return;
	assert_int_equal(praas_named_entry(&w->log, &named, &w->entry), 0);
	memset(w->entry.nonce, 0, sizeof(w->entry.nonce));
	w->entry.kind = PRAAS_SLOT_BACK;
	w->entry.epoch = epoch + 1;
	assert_int_equal(praas_slot_log_put(&w->log, &w->entry), 0);
	w->last = 0;
}

static void collect(struct world *w, uint64_t grace)
{
	struct praas_gc_result result;
	struct praas_slot_log log;
	int rc;

	assert_int_equal(praas_slot_log_open(w->store, &w->id, &log), 0);
	if (w->look.names == NULL)
		rc = praas_gc_look(&log, w->now, &w->look);
	else
		rc = praas_gc_collect(&log, w->now, grace, &w->look, &result);
	assert_true(rc == 0 || rc == -EAGAIN);
}

static void step(struct world *w, uint64_t grace)
{
	switch (chance(w, 8)) {
	case 0:
	case 1:
		begin_upload(w);
		break;
	case 2:
	case 3:
		end_upload(w);
		break;
	case 4:
		if (w->names < PRAAS_NAMED_MAX / 2)
			give_name(w);
		break;
	case 5:
		take_name(w);
		break;
	case 6:
		roll_back(w);
		break;
	default:
		collect(w, grace);
		break;
	}
	w->now += chance(w, GRACE / 3);
}

/* How many of the histories end with a snapshot that is not whole. */
static unsigned run_histories(bool patient, uint64_t grace)
{
	unsigned broken = 0;

	for (unsigned i = 0; i < HISTORIES; i++) {
		struct praas_check_report report;
		unsigned before = broken;
		struct world w;

		world_open(&w, i + 1);
		w.patient = patient;
		for (unsigned k = 0; k < STEPS && broken == before; k++) {
			step(&w, grace);
			broken += damage(&w, &report) > 0;
		}
		world_close(&w);
	}
	return broken;
}

/* Whatever happens, what is kept stays whole. */
static void test_gc_histories_keep_what_is_needed(void **state)
{
	(void)state;
	assert_int_equal(run_histories(true, GRACE), 0);
}

/* Without a grace, or with writers that commit whenever they are done, it is not so: the test above can fail. */
static void test_gc_without_grace_or_age_limit_breaks(void **state)
{
	(void)state;
	assert_true(run_histories(true, 0) > HISTORIES / 20);
	assert_true(run_histories(false, GRACE / 10) > HISTORIES / 20);
}

/* When all is quiet, two looks later nothing is left that nobody needs, and the log begins where it must. */
static void test_gc_quiet_store_has_no_leftovers(void **state)
{
	(void)state;
	for (unsigned i = 0; i < HISTORIES; i++) {
		struct praas_check_report report;
		struct praas_slot_log log;
		uint64_t floor = 0;
		struct world w;

		world_open(&w, 7000 + i);
		for (unsigned k = 0; k < STEPS; k++)
			step(&w, GRACE);
		for (unsigned k = 0; k < 3; k++) {
			w.now += GRACE;
			collect(&w, GRACE);
		}
		assert_int_equal(damage(&w, &report), 0);
		assert_int_equal(report.orphans, 0);
		assert_int_equal(praas_slot_log_open(w.store, &w.id, &log), 0);
		assert_int_equal(praas_gc_log_floor(&log, &floor), 0);
		assert_int_equal(report.entries, log.cursor - floor);
		world_close(&w);
	}
}

/* Too early nothing goes, and the first look stays what it was. */
static void test_gc_too_early_is_told(void **state)
{
	struct praas_gc_result result;
	struct world w;

	(void)state;
	world_open(&w, 1);
	upload(w.store, 99);
	assert_int_equal(commit(&w.log, &w.entry, 0, 0, PRAAS_SLOT_SNAP), 0);
	assert_int_equal(praas_gc_look(&w.log, 5, &w.look), 0);
	assert_int_equal(w.look.count, 1);
	assert_int_equal(
		praas_gc_collect(&w.log, 5 + GRACE - 1, GRACE, &w.look, &result),
		-EAGAIN);
	assert_int_equal(result.objects, 0);
	upload(w.store, 100); /* only the second look sees it */
	assert_int_equal(praas_gc_collect(&w.log, 5 + GRACE, GRACE, &w.look, &result),
			 0);
	assert_int_equal(result.objects, 1);
	assert_int_equal(w.look.count, 1);
	world_close(&w);
}

/* A name that cannot be read, or a manifest, stops it: what they need is not known. */
static void test_gc_damage_stops_it(void **state)
{
	struct praas_named named;
	struct world w;

	(void)state;
	world_open(&w, 1);
	upload(w.store, 1);
	upload(w.store, 2);
	assert_int_equal(commit(&w.log, &w.entry, 1, 0, PRAAS_SLOT_SNAP), 0);
	assert_int_equal(praas_named_give(&w.log, "a", 1, &named), 0);
	assert_int_equal(praas_store_memory_corrupt(w.store, "named/n.a", 50), 0);
	assert_int_equal(praas_gc_look(&w.log, 5, &w.look), -EPROTO);
	assert_null(w.look.names);
	world_close(&w);
}

/* Of a process that is deleted nothing is needed, and the caller is told so after the grace. */
static void test_gc_deleted_process_goes_as_a_whole(void **state)
{
	struct praas_gc_result result;
	struct world w;

	(void)state;
	world_open(&w, 1);
	upload(w.store, 1);
	assert_int_equal(commit(&w.log, &w.entry, 1, 0, PRAAS_SLOT_SNAP), 0);
	memset(&w.entry, 0, offsetof(struct praas_slot_entry, body));
	w.entry.kind = PRAAS_SLOT_TOMB;
	w.entry.epoch = 2;
	assert_int_equal(praas_slot_log_put(&w.log, &w.entry), 0);
	assert_int_equal(praas_gc_look(&w.log, 5, &w.look), 0);
	assert_true(w.look.tomb);
	assert_int_equal(praas_gc_collect(&w.log, 5 + GRACE, GRACE, &w.look, &result),
			 0);
	assert_true(result.deleted);
	world_close(&w);
}

/* Whoever slept while his slot was taken and collected is fenced when he wakes: in writing and in looking. */
static void test_gc_sleeper_finds_its_slot_gone(void **state)
{
	struct praas_slot_entry *entry = calloc(1, sizeof(*entry));
	struct praas_slot_log sleeper, reader;
	struct world w;

	(void)state;
	assert_non_null(entry);
	world_open(&w, 1);
	assert_int_equal(commit(&w.log, &w.entry, 0, 0, PRAAS_SLOT_SNAP), 0);
	assert_int_equal(commit(&w.log, &w.entry, 0, 0, PRAAS_SLOT_SNAP), 0);
	sleeper = w.log;
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(commit(&w.log, &w.entry, 0, 0, PRAAS_SLOT_REL), 0);
	collect(&w, GRACE);
	w.now += GRACE;
	collect(&w, GRACE);
	sleeper.seen_ns = w.log.seen_ns - 2 * PRAAS_SLOT_TRUST_NS;
	reader = sleeper;
	assert_int_equal(praas_slot_log_refresh(&reader), -ESTALE);
	assert_true(reader.fenced);
	entry->kind = PRAAS_SLOT_SNAP;
	entry->epoch = 1;
	assert_int_equal(praas_slot_log_put(&sleeper, entry), -ESTALE);
	assert_int_equal(praas_slot_log_put(&sleeper, entry), -ESTALE);
	assert_int_equal(praas_slot_log_open(w.store, &w.id, &reader), 0);
	assert_int_equal(reader.cursor,
			 w.log.cursor); /* and nobody takes it for the end */
	free(entry);
	world_close(&w);
}

/* What an owner writes long after it last looked is its own, and in the log. */
static void test_gc_slow_owner_goes_on(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, 1);
	for (unsigned i = 0; i < 8; i++) {
		w.log.seen_ns -= 2 * PRAAS_SLOT_TRUST_NS;
		upload(w.store, i + 1);
		assert_int_equal(commit(&w.log, &w.entry, i + 1, 0, PRAAS_SLOT_SNAP),
				 0);
		w.now += GRACE;
		collect(&w, GRACE);
		w.now += GRACE;
		collect(&w, GRACE);
	}
	world_close(&w);
}

/* ---- beside an uploader, on a real store ---- */

#define RACE_NS                                                                        \
	400000000ull /* the grace, in real time: half of it is for a commit on a busy machine */
#define RACE_FOR_NS 4000000000ull

struct race {
	char url[128];
	struct praas_slot_id id;
	_Atomic bool over;
	unsigned collected;
};

static void *collect_always(void *user)
{
	struct praas_gc_result result;
	struct praas_gc_look look = { 0 };
	struct race *r = user;
	struct praas_store *store;

	if (praas_store_open(r->url, &store) != 0)
		return NULL;
	while (!atomic_load(&r->over)) {
		struct praas_slot_log log;
		uint64_t now = praas_gc_now_ns();

		if (praas_slot_log_open(store, &r->id, &log) != 0)
			continue;
		if (look.names == NULL)
			(void)praas_gc_look(&log, now, &look);
		else if (praas_gc_collect(&log, now, RACE_NS, &look, &result) == 0)
			r->collected += (unsigned)(result.objects + result.entries);
	}
	praas_gc_look_release(&look);
	praas_store_free(store);
	return NULL;
}

/* Two collectors beside a writer: every snapshot that was committed in time is whole when it is. */
static void test_gc_race_with_an_uploader(void **state)
{
	struct race r[2] = { { .id = { .pid = 3, .generation = 1 } } };
	char folder[] = "/tmp/praas-gc-XXXXXX";
	struct praas_check_report report;
	unsigned broken = 0, committed = 0;
	struct world w = { .id = r[0].id };
	uint64_t start;
	pthread_t threads[2];

	(void)state;
	assert_non_null(mkdtemp(folder));
	(void)snprintf(r[0].url, sizeof(r[0].url), "file://%s", folder);
	r[1] = r[0];
	assert_int_equal(praas_store_open(r[0].url, &w.store), 0);
	assert_int_equal(praas_slot_log_open(w.store, &w.id, &w.log), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, collect_always, &r[i]), 0);
	start = praas_gc_now_ns();
	for (uint64_t i = 1; praas_gc_now_ns() - start < RACE_FOR_NS; i++) {
		uint64_t begun = praas_gc_now_ns();

		upload(w.store, i);
		if (i % 7 == 0)
			continue; /* given up */
		if (praas_gc_now_ns() - begun > RACE_NS / PRAAS_GC_UPLOADS)
			continue;
		assert_int_equal(commit(&w.log, &w.entry, i, w.last, PRAAS_SLOT_SNAP),
				 0);
		w.last = i;
		committed++;
		broken += damage(&w, &report) > 0;
	}
	for (unsigned i = 0; i < 2; i++) {
		atomic_store(&r[i].over, true);
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	}
	assert_int_equal(broken, 0);
	assert_true(committed > 10);
	assert_true(r[0].collected + r[1].collected > 0);
	assert_int_equal(damage(&w, &report), 0);
	praas_store_free(w.store);
	assert_int_equal(praas_store_remove(r[0].url), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gc_histories_keep_what_is_needed),
		cmocka_unit_test(test_gc_without_grace_or_age_limit_breaks),
		cmocka_unit_test(test_gc_quiet_store_has_no_leftovers),
		cmocka_unit_test(test_gc_too_early_is_told),
		cmocka_unit_test(test_gc_damage_stops_it),
		cmocka_unit_test(test_gc_deleted_process_goes_as_a_whole),
		cmocka_unit_test(test_gc_sleeper_finds_its_slot_gone),
		cmocka_unit_test(test_gc_slow_owner_goes_on),
		cmocka_unit_test(test_gc_race_with_an_uploader),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
