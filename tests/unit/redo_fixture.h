/* SPDX-License-Identifier: Apache-2.0
 *
 * A redo log in a folder of its own: records that hold their number, faults, and what a replay brought back.
 */
#ifndef PRAAS_TESTS_UNIT_REDO_FIXTURE_H
#define PRAAS_TESTS_UNIT_REDO_FIXTURE_H

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "controller/store/redo.h"

#define SECOND 1000000000ull
#define PATIENCE (60 * SECOND)
#define SEEN_MAX (1u << 20)

struct fixture {
	char folder[64];
	struct praas_redo_config config;
	struct praas_redo *redo;
	/* Of the last replay. */
	uint64_t *seen; /* what each record held */
	uint64_t count, first;
	/* Of fault(). */
	enum praas_redo_step fail_step;
	unsigned fail_at; /* the how many-th */
	int fail_rc;
	unsigned sync_ns;
	pthread_mutex_t blocked; /* held: syncs wait */
};

static inline int replay(void *user, const struct praas_redo_record *r)
{
	struct fixture *f = user;

	assert_true(f->count < SEEN_MAX);
	assert_true(r->bytes >= 8);
	if (f->count == 0)
		f->first = r->sequence;
	assert_int_equal(r->sequence, f->first + f->count);
	assert_int_equal(r->kind, 1 + r->bytes % 7);
	memcpy(&f->seen[f->count++], r->data, 8);
	for (uint32_t i = 8; i < r->bytes; i++)
		assert_int_equal(r->data[i], (uint8_t)i);
	return 0;
}

static inline int fault(void *user, enum praas_redo_step step)
{
	struct fixture *f = user;

	if (step == PRAAS_REDO_STEP_SYNC) {
		struct timespec time = { .tv_nsec = f->sync_ns };

		if (f->sync_ns)
			(void)nanosleep(&time, NULL);
		(void)pthread_mutex_lock(&f->blocked);
		(void)pthread_mutex_unlock(&f->blocked);
	}
	if (step == f->fail_step && f->fail_at > 0 && --f->fail_at == 0)
		return f->fail_rc;
	return 0;
}

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	(void)snprintf(f->folder, sizeof(f->folder), "/tmp/praas-test-redo-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	f->seen = calloc(SEEN_MAX, sizeof(*f->seen));
	assert_non_null(f->seen);
	(void)pthread_mutex_init(&f->blocked, NULL);
	f->config = (struct praas_redo_config){ .folder = f->folder,
						.id = { .pid = 4, .generation = 2 },
						.epoch = 1,
						.replay = replay,
						.replay_user = f,
						.fault = fault,
						.fault_user = f };
	*state = f;
	return 0;
}

/* Files of the log; NULL, or the name of the n-th in order of names. */
static inline unsigned files(const struct fixture *f, unsigned n, char ret_path[256])
{
	char path[96], names[128][64];
	struct dirent *entry;
	unsigned count = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "%s/redo", f->folder);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] != 'f')
			continue;
		assert_true(count < 128);
		(void)snprintf(names[count++], sizeof(names[0]), "%.60s",
			       entry->d_name);
	}
	(void)closedir(dir);
	qsort(names, count, sizeof(names[0]),
	      (int (*)(const void *, const void *))strcmp);
	if (ret_path) {
		assert_true(n < count);
		(void)snprintf(ret_path, 256, "%s/%s", path, names[n]);
	}
	return count;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;
	char path[96], file[400];
	struct dirent *entry;
	DIR *dir;

	praas_redo_close(f->redo);
	(void)snprintf(path, sizeof(path), "%s/redo", f->folder);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)) != NULL) {
		(void)snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		(void)unlink(file); /* not the folders */
	}
	if (dir)
		(void)closedir(dir);
	(void)rmdir(path);
	assert_int_equal(rmdir(f->folder), 0);
	(void)pthread_mutex_destroy(&f->blocked);
	free(f->seen);
	free(f);
	return 0;
}

/* A record with that number in it. */
static inline int append(struct praas_redo *redo, uint64_t number, uint32_t bytes,
			 uint64_t *ret_sequence)
{
	uint8_t data[4096];

	assert_true(bytes >= 8 && bytes <= sizeof(data));
	for (uint32_t i = 8; i < bytes; i++)
		data[i] = (uint8_t)i;
	memcpy(data, &number, 8);
	return praas_redo_append(redo, (uint16_t)(1 + bytes % 7), data, bytes,
				 ret_sequence);
}

static inline void append_ok(struct fixture *f, uint64_t number)
{
	uint64_t sequence;

	assert_int_equal(
		append(f->redo, number, 8 + (uint32_t)(number % 300), &sequence), 0);
}

static inline void sync_ok(struct fixture *f)
{
	assert_int_equal(praas_redo_wait(f->redo, praas_redo_last(f->redo), PATIENCE),
			 0);
}

static inline int open_epoch(struct fixture *f, uint32_t epoch)
{
	f->count = 0;
	f->config.epoch = epoch;
	return praas_redo_open(&f->config, &f->redo, NULL);
}

static inline void reopen(struct fixture *f)
{
	praas_redo_close(f->redo);
	f->redo = NULL;
	assert_int_equal(open_epoch(f, f->config.epoch + 1), 0);
}

#endif
