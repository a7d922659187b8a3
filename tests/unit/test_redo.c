/* SPDX-License-Identifier: Apache-2.0
 *
 * The redo log in a real folder: what was promised is there, once and in order, whoever dies, is fenced, or has
 * no room.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/redo_fixture.h"

static void test_back(void **state)
{
	struct fixture *f = *state;
	uint64_t numbers = 0;

	assert_int_equal(open_epoch(f, 1), 0);
	for (unsigned round = 0; round < 6; round++) {
		for (unsigned i = 0; i < round * 40; i++)
			append_ok(f, numbers++);
		if (round & 1)
			sync_ok(f); /* else close() sees to it */
		reopen(f);
		assert_int_equal(f->count, numbers);
		for (uint64_t i = 0; i < numbers; i++)
			assert_int_equal(f->seen[i], i);
		assert_int_equal(praas_redo_last(f->redo), numbers);
	}
}

struct told {
	unsigned times;
	uint32_t epoch, note, answer;
};

static uint32_t note(void *user, uint32_t epoch, uint32_t said)
{
	struct told *t = user;

	t->times++;
	t->epoch = epoch;
	t->note = said;
	return t->answer;
}

/* Epoch 1, of which it is told what it says. */
static void open_noted(struct fixture *f, struct told *told, uint32_t file_bytes)
{
	f->config.note = note;
	f->config.note_user = told;
	f->config.file_bytes = file_bytes;
	assert_int_equal(open_epoch(f, 1), 0);
}

/* What an epoch says of itself stands in each of its files, and the next one is told, once. */
static void test_note(void **state)
{
	struct fixture *f = *state;
	struct told told = { .answer = 7 };

	open_noted(f, &told, 300);
	assert_true(told.times == 1 && told.epoch == 0 && told.note == 0);
	for (uint64_t i = 0; i < 12; i++) {
		append_ok(f, i);
		sync_ok(f);
	}
	assert_true(files(f, 0, NULL) > 2);
	told.answer = 9;
	reopen(f); /* epoch 2 */
	assert_true(told.times == 2 && told.epoch == 1 && told.note == 7);
	told.answer = 0;
	reopen(f); /* it has done nothing */
	assert_true(told.times == 3 && told.epoch == 2 && told.note == 9);
	reopen(f);
	assert_true(told.times == 4 && told.epoch == 3 && told.note == 0);
}

/* A process that was moved goes on in the log, while the last snapshot in the store is of before it. */
static void test_moved(void **state)
{
	struct fixture *f = *state;
	struct told told = { .answer = 7 };

	open_noted(f, &told, 300);
	for (uint64_t i = 0; i < 14; i++) {
		append_ok(f, i);
		sync_ok(f);
	}
	/* 12 were handed over; what came behind them counts for nothing, in a file of its own or not. */
	f->config.from = 12;
	f->config.moved = true;
	reopen(f);
	assert_int_equal(f->count, 0);
	assert_true(told.times == 2 && told.epoch == 1 && told.note == 7);
	for (uint64_t i = 100; i < 103; i++)
		append_ok(f, i);
	sync_ok(f);
	/* It had no snapshot of its own: the last one has 5. */
	f->config.from = 5;
	f->config.moved = false;
	f->config.whole = true;
	reopen(f);
	assert_true(f->first == 6 && f->count == 10);
	assert_true(f->seen[0] == 5 && f->seen[6] == 11 && f->seen[7] == 100 &&
		    f->seen[9] == 102);
	/* Of what was handed over a record is missing. */
	f->config.from = 99;
	f->config.moved = true;
	praas_redo_close(f->redo);
	f->redo = NULL;
	assert_int_equal(open_epoch(f, f->config.epoch + 1), -EPROTO);
}

/* Of an epoch that has written nothing, or all of whose files were trimmed. */
static void test_moved_at_once(void **state)
{
	struct fixture *f = *state;
	struct told told = { .answer = 7 };

	open_noted(f, &told, 0);
	f->config.moved = true;
	reopen(f);
	assert_true(told.epoch == 1 && told.note == 7);
	append_ok(f, 0);
	sync_ok(f);
	praas_redo_trim(f->redo, 1);
	append_ok(f, 1);
	sync_ok(f);
	praas_redo_trim(f->redo, 2);
	append_ok(f, 2);
	sync_ok(f);
	f->config.from =
		2; /* behind which there is a file, and one record that does not count */
	reopen(f);
	assert_true(told.epoch == 2 && told.note == 7);
	append_ok(f, 10);
	sync_ok(f);
	f->config.moved = false;
	reopen(f);
	assert_true(f->first == 3 && f->count == 1 && f->seen[0] == 10);
}

/* Small files: the log goes over from one to the next, and loses what a snapshot has. */
static void test_trim(void **state)
{
	struct fixture *f = *state;
	struct praas_redo_stats stats;
	unsigned before;

	f->config.file_bytes = 2000;
	assert_int_equal(open_epoch(f, 1), 0);
	for (uint64_t i = 0; i < 60; i++) {
		append_ok(f, i);
		if (i % 3 == 0)
			sync_ok(f);
	}
	sync_ok(f);
	before = files(f, 0, NULL);
	assert_true(before > 3);
	praas_redo_trim(f->redo, 30);
	append_ok(f, 60);
	sync_ok(f); /* a trim is before that */
	assert_true(files(f, 0, NULL) < before);
	/* What is not in the snapshot is there. */
	f->config.from = 30;
	f->config.whole = true;
	reopen(f);
	assert_int_equal(f->count, 31);
	assert_int_equal(f->first, 31);
	assert_int_equal(f->seen[0], 30);
	/* All is in it: one file is left, with nothing in it. */
	praas_redo_trim(f->redo, 61);
	append_ok(f, 61);
	sync_ok(f);
	praas_redo_trim(f->redo, 62);
	append_ok(f, 62);
	sync_ok(f);
	assert_true(files(f, 0, NULL) <= 2);
	praas_redo_stats(f->redo, &stats);
	assert_int_equal(stats.files, files(f, 0, NULL));
	assert_int_equal(stats.records, 2);
	/* A snapshot from before what is left: it must not be taken for all. */
	praas_redo_close(f->redo);
	f->redo = NULL;
	f->config.from = 30;
	assert_int_equal(open_epoch(f, 3), -EPROTO);
	f->config.from = 62;
	assert_int_equal(open_epoch(f, 3), 0);
	assert_int_equal(f->count, 1);
	assert_int_equal(f->seen[0], 62);
}

/* Epoch after epoch ends before it has a snapshot, and leaves a file: they are opened all the same. With more than
 * there may be nothing can be appended until a snapshot has what is in them. */
static void test_crash_after_crash(void **state)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	struct fixture *f = *state;
	struct praas_redo_stats stats;
	uint64_t sequence, records = 0;

	assert_int_equal(open_epoch(f, 1), 0);
	for (unsigned i = 0; i < PRAAS_REDO_FILES_MAX + 20; i++) {
		int rc = append(f->redo, i, 20, &sequence);

		praas_redo_stats(f->redo, &stats);
		assert_int_equal(rc, stats.files > PRAAS_REDO_FILES_MAX ? -ENOBUFS : 0);
		records += rc == 0;
		reopen(f);
		assert_int_equal(f->count, records);
	}
	assert_int_equal(records, PRAAS_REDO_FILES_MAX);
	assert_int_equal(append(f->redo, 0, 20, &sequence), -ENOBUFS);
	praas_redo_trim(f->redo, records);
	do {
		(void)nanosleep(&moment, NULL);
		praas_redo_stats(f->redo, &stats);
	} while (stats.files > 1);
	assert_int_equal(append(f->redo, 7, 20, &sequence), 0);
	f->config.from = records;
	f->config.whole = true;
	reopen(f);
	assert_int_equal(f->count, 1);
	assert_int_equal(f->seen[0], 7);
}

/* A snapshot may have in it what never came to the disk. */
static void test_snapshot_ahead(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(open_epoch(f, 1), 0);
	append_ok(f, 0);
	praas_redo_close(f->redo);
	f->redo = NULL;
	f->config.from = 5;
	f->config.whole = true;
	assert_int_equal(open_epoch(f, 2), 0);
	assert_int_equal(f->count, 0);
	assert_int_equal(praas_redo_last(f->redo), 5);
	append_ok(f, 77);
	reopen(f);
	assert_int_equal(f->count, 1);
	assert_int_equal(f->first, 6);
}

static void flip(const char *path, long offset)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, offset), 1);
	byte ^= 4;
	assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
	assert_int_equal(close(fd), 0);
}

static void test_damaged(void **state)
{
	struct fixture *f = *state;
	uint64_t damaged = 0;
	char path[256];

	assert_int_equal(open_epoch(f, 1), 0);
	for (uint64_t i = 0; i < 10; i++) {
		append_ok(f, i);
		sync_ok(f);
	}
	reopen(f);
	append_ok(f, 10);
	reopen(f);
	assert_int_equal(f->count, 11);
	praas_redo_close(f->redo);
	f->redo = NULL;
	/* A byte of a record that was promised. */
	(void)files(f, 0, path);
	flip(path, PRAAS_REDO_FILE_HEAD_BYTES + 3 * 80 + 20);
	f->count = 0;
	f->config.epoch = 4;
	assert_int_equal(praas_redo_open(&f->config, &f->redo, &damaged), -EPROTO);
	assert_in_range(damaged, 3, 4);
	/* It is not used, and nothing was changed by it. */
	flip(path, PRAAS_REDO_FILE_HEAD_BYTES + 3 * 80 + 20);
	assert_int_equal(open_epoch(f, 4), 0);
	assert_int_equal(f->count, 11);
	praas_redo_close(f->redo);
	f->redo = NULL;
	/* The head; of another process; a whole file gone. */
	flip(path, 50);
	assert_int_equal(open_epoch(f, 5), -EPROTO);
	flip(path, 50);
	f->config.id.pid++;
	assert_int_equal(open_epoch(f, 5), -EPROTO);
	f->config.id.pid--;
	assert_int_equal(truncate(path, PRAAS_REDO_FILE_HEAD_BYTES + 100), 0);
	assert_int_equal(open_epoch(f, 5), -EPROTO);
	assert_int_equal(unlink(path), 0);
	f->count = 0;
	assert_int_equal(praas_redo_open(&f->config, &f->redo, &damaged), -EPROTO);
	assert_int_equal(damaged, 1);
	/* All gone, and the snapshot says that there is something. */
	while (files(f, 0, NULL) > 0) {
		(void)files(f, 0, path);
		assert_int_equal(unlink(path), 0);
	}
	f->config.from = 3;
	f->config.whole = true;
	assert_int_equal(open_epoch(f, 5), -EPROTO);
	f->config.whole = false;
	assert_int_equal(open_epoch(f, 5), 0);
	assert_int_equal(praas_redo_last(f->redo), 3);
}

/* An old controller that goes on: nothing that it writes counts, and it is told. */
static void test_fenced(void **state)
{
	struct fixture *f = *state;
	struct praas_redo *old;
	uint64_t sequence;
	int failed = 0;

	assert_int_equal(open_epoch(f, 2), 0);
	append_ok(f, 0);
	append_ok(f, 1);
	sync_ok(f);
	old = f->redo;
	assert_int_equal(open_epoch(f, 3), 0);
	assert_int_equal(f->count, 2);
	append_ok(f, 2);
	sync_ok(f);
	assert_int_equal(append(old, 99, 8, &sequence), 0);
	assert_int_equal(praas_redo_wait(old, sequence, PATIENCE), -ESTALE);
	assert_int_equal(append(old, 99, 8, &sequence), -ESTALE);
	assert_int_equal(praas_redo_durable(old, &failed), 2);
	assert_int_equal(failed, -ESTALE);
	praas_redo_close(old);
	reopen(f);
	assert_int_equal(f->count, 3);
	assert_int_equal(f->seen[2], 2);
	/* One that comes late, and one that comes twice. */
	f->config.epoch = 3;
	assert_int_equal(praas_redo_open(&f->config, &old, NULL), -ESTALE);
	f->config.epoch = 4;
	assert_int_equal(praas_redo_open(&f->config, &old, NULL), -EEXIST);
	append_ok(f, 3);
	sync_ok(f);
	reopen(f);
	assert_int_equal(f->count, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_note, setup, teardown),
		cmocka_unit_test_setup_teardown(test_moved, setup, teardown),
		cmocka_unit_test_setup_teardown(test_moved_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_trim, setup, teardown),
		cmocka_unit_test_setup_teardown(test_crash_after_crash, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_snapshot_ahead, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fenced, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
