/* SPDX-License-Identifier: Apache-2.0
 *
 * The redo log under load: many writers share a sync; a fence, an error of the disk or kill -9 comes at any moment, and
 * whatever was promised is there afterwards, once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/redo_fixture.h"

#define WRITERS 64u
#define FEW 4u
#define EACH 50u
#define KILLS 30u

struct writer {
	struct fixture *f;
	struct praas_redo *redo;
	pthread_t thread;
	uint64_t number; /* the next */
	uint64_t each;   /* so many */
	uint64_t promised;
	int rc;
};

/* One after the other, each waited for. */
static void *write_all(void *user)
{
	struct writer *w = user;
	uint64_t sequence;

	for (uint64_t i = 0; i < w->each && w->rc == 0; i++) {
		w->rc = append(w->redo, w->number + i, 8 + (uint32_t)(i % 300),
			       &sequence);
		if (w->rc == 0)
			w->rc = praas_redo_wait(w->redo, sequence, PATIENCE);
		if (w->rc == 0)
			w->promised++;
	}
	return NULL;
}

static void start(struct writer *w, struct fixture *f, unsigned count, uint64_t each,
		  uint64_t number)
{
	for (unsigned i = 0; i < count; i++) {
		w[i] = (struct writer){
			.f = f, .redo = f->redo, .number = number, .each = each
		};
		number += each;
		assert_int_equal(pthread_create(&w[i].thread, NULL, write_all, &w[i]),
				 0);
	}
}

static void join(struct writer *w, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(pthread_join(w[i].thread, NULL), 0);
}

/* All that the writer was promised came back once, in its order; and no more than one that it was not. */
static void check_writer(const struct fixture *f, const struct writer *w)
{
	uint64_t there = 0;

	for (uint64_t i = 0; i < f->count; i++)
		if (f->seen[i] >= w->number && f->seen[i] < w->number + w->each) {
			assert_int_equal(f->seen[i], w->number + there);
			there++;
		}
	assert_in_range(there, w->promised, w->promised + 1);
}

/* 64 writers that wait for each record share syncs. */
static void test_group_commit(void **state)
{
	struct fixture *f = *state;
	struct writer w[WRITERS];
	struct praas_redo_stats stats;

	assert_int_equal(open_epoch(f, 1), 0);
	f->sync_ns = 3000000;
	start(w, f, WRITERS, EACH, 0);
	join(w, WRITERS);
	f->sync_ns = 0;
	praas_redo_stats(f->redo, &stats);
	assert_int_equal(stats.records, WRITERS * EACH);
	/* Each writer has one on its way at a time, so it takes EACH syncs at least. */
	assert_in_range(stats.syncs, EACH, WRITERS * EACH / 4);
	reopen(f);
	assert_int_equal(f->count, WRITERS * EACH);
	for (unsigned i = 0; i < WRITERS; i++) {
		assert_int_equal(w[i].rc, 0);
		assert_int_equal(w[i].promised, EACH);
		check_writer(f, &w[i]);
	}
}

/* Who appends does not wait for the disk, and is refused when too much does. */
static void test_slow_disk(void **state)
{
	static uint8_t big[1u << 20];
	struct fixture *f = *state;
	uint64_t sequence = 0, taken = 0;
	int rc = 0, failed;

	assert_int_equal(open_epoch(f, 1), 0);
	f->config.replay = NULL;
	(void)pthread_mutex_lock(&f->blocked);
	while (rc == 0 && taken < 100) {
		rc = praas_redo_append(f->redo, 1, big, sizeof(big), &sequence);
		taken += rc == 0;
	}
	assert_int_equal(rc, -EAGAIN);
	/* What is on its way, and what waits. */
	assert_in_range(taken, PRAAS_REDO_PENDING_MAX / sizeof(big) - 1,
			2 * PRAAS_REDO_PENDING_MAX / sizeof(big));
	assert_int_equal(praas_redo_durable(f->redo, &failed), 0);
	assert_int_equal(failed, 0);
	assert_int_equal(praas_redo_wait(f->redo, sequence, 1000000), -ETIMEDOUT);
	(void)pthread_mutex_unlock(&f->blocked);
	assert_int_equal(praas_redo_wait(f->redo, sequence, PATIENCE), 0);
	assert_int_equal(praas_redo_append(f->redo, 1, big, sizeof(big), &sequence), 0);
	assert_int_equal(praas_redo_append(f->redo, 1, big, PRAAS_REDO_RECORD_MAX + 1,
					   &sequence),
			 -EMSGSIZE);
	assert_int_equal(sequence, taken + 1);
}

/* The disk fails in each step, early and late: the reason is told, and what was promised is there. */
static void test_errors(void **state)
{
	static const int errors[] = { -ENOSPC, -EIO };
	struct fixture *f = *state;
	struct writer w[FEW];
	uint64_t number = 0, before = 0;
	int failed, rc;

	f->config.file_bytes = 5000;
	assert_int_equal(open_epoch(f, 1), 0);
	for (unsigned round = 0; round < 24; round++) {
		f->fail_step = (enum praas_redo_step)(1 + round % 3);
		f->fail_rc = errors[round / 3 % 2];
		f->fail_at = 1 + round * 2;
		start(w, f, FEW, 400, number);
		join(w, FEW);
		(void)praas_redo_durable(f->redo, &failed);
		assert_int_equal(failed, f->fail_rc);
		for (unsigned i = 0; i < FEW; i++)
			assert_int_equal(w[i].rc, f->fail_rc);
		/* It does not come back by itself; a new epoch does. */
		assert_int_equal(append(f->redo, 1, 8, &(uint64_t){ 0 }), failed);
		reopen(f);
		assert_true(f->count >= before);
		before = f->count;
		for (unsigned i = 0; i < FEW; i++)
			check_writer(f, &w[i]);
		number += 400u * FEW;
	}
	/* Opening fails clean: the next try finds all. */
	for (unsigned step = 1; step <= 3; step++) {
		praas_redo_close(f->redo);
		f->redo = NULL;
		f->fail_step = (enum praas_redo_step)step;
		f->fail_at = 1;
		rc = open_epoch(f, f->config.epoch + 1);
		assert_int_equal(rc, f->fail_rc);
		assert_int_equal(open_epoch(f, f->config.epoch), 0);
		assert_int_equal(f->count, before);
	}
}

/* Controllers that take over from one that writes on. */
static void test_fence(void **state)
{
	struct fixture *f = *state;
	struct writer w[FEW];
	struct praas_redo *old;
	uint64_t number = 0;

	f->config.file_bytes = 5000;
	assert_int_equal(open_epoch(f, 1), 0);
	for (uint32_t epoch = 2; epoch < 24; epoch++) {
		struct timespec time = { .tv_nsec = (long)(epoch % 10) * 300000 };

		start(w, f, FEW, 100000, number);
		(void)nanosleep(&time, NULL);
		old = f->redo;
		assert_int_equal(open_epoch(f, epoch), 0);
		join(w, FEW);
		for (unsigned i = 0; i < FEW; i++) {
			assert_int_equal(w[i].rc, -ESTALE);
			check_writer(f, &w[i]);
		}
		praas_redo_close(old);
		number += 100000u * FEW;
	}
}

/* ---- kill -9 ---- */

struct told {
	unsigned writer;
	uint64_t number;
};

struct child {
	struct praas_redo *redo;
	unsigned writer;
	uint64_t number;
	int fd;
};

static void *child_writer(void *user)
{
	struct child *c = user;
	struct told told = { .writer = c->writer };
	uint64_t sequence;

	for (;; c->number++) {
		told.number = c->number;
		if (append(c->redo, c->number, 8 + (uint32_t)(c->number % 300),
			   &sequence) != 0 ||
		    praas_redo_wait(c->redo, sequence, PATIENCE) != 0)
			_exit(3);
		if (write(c->fd, &told, sizeof(told)) != (ssize_t)sizeof(told))
			_exit(4);
	}
	return NULL;
}

/* Opens the log in the next epoch, and writes until it is killed. next: of each writer, from what came back. */
static void child(struct fixture *f, int fd, const uint64_t next[FEW])
{
	struct child c[FEW];
	pthread_t thread;

	if (open_epoch(f, f->config.epoch + 1) != 0)
		_exit(2);
	for (unsigned i = 0; i < FEW; i++) {
		c[i] = (struct child){ f->redo, i, next[i], fd };
		if (pthread_create(&thread, NULL, child_writer, &c[i]) != 0)
			_exit(5);
	}
	for (;;)
		(void)pause();
}

/* What came back of each writer, behind what a snapshot has. */
static void check_killed(const struct fixture *f, const uint64_t base[FEW],
			 const uint64_t promised[FEW], uint64_t ret_next[FEW])
{
	for (unsigned i = 0; i < FEW; i++) {
		uint64_t there = base[i];

		for (uint64_t k = 0; k < f->count; k++)
			if (f->seen[k] >> 32 == i) {
				assert_int_equal(f->seen[k], there);
				there++;
			}
		assert_in_range(there, promised[i], promised[i] + 1);
		ret_next[i] = there;
	}
}

/* What a killed child was promised. Each writer's numbers are its own: writer << 32 and up. */
static void kill_round(struct fixture *f, unsigned round, uint64_t base[FEW],
		       uint64_t next[FEW])
{
	struct timespec time = { .tv_nsec = 3000000 +
					    (long)(round * 7919 % 40) * 1000000 };
	uint64_t promised[FEW];
	struct told told;
	int fds[2], status;
	pid_t pid;

	memcpy(promised, next, sizeof(promised));
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)close(fds[0]);
		child(f, fds[1], next);
	}
	(void)close(fds[1]);
	/* It may take long to begin. */
	assert_int_equal(read(fds[0], &told, sizeof(told)), sizeof(told));
	(void)nanosleep(&time, NULL);
	assert_int_equal(kill(pid, SIGKILL), 0);
	do {
		assert_true(told.writer < FEW);
		assert_int_equal(told.number, promised[told.writer]);
		promised[told.writer]++;
	} while (read(fds[0], &told, sizeof(told)) == (ssize_t)sizeof(told));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	(void)close(fds[0]);
	/* The child was one epoch, this is the next one. */
	f->config.epoch++;
	assert_int_equal(open_epoch(f, f->config.epoch + 1), 0);
	check_killed(f, base, promised, next);
	/* A snapshot now and then: the log is trimmed. */
	if (round % 4 == 3) {
		f->config.from = praas_redo_last(f->redo);
		f->config.whole = true;
		praas_redo_trim(f->redo, f->config.from);
		memcpy(base, next, FEW * sizeof(base[0]));
	}
	praas_redo_close(f->redo);
	f->redo = NULL;
}

static void test_killed(void **state)
{
	struct fixture *f = *state;
	uint64_t base[FEW], next[FEW];

	f->config.file_bytes = 200000;
	f->config.epoch = 0;
	for (unsigned i = 0; i < FEW; i++)
		base[i] = next[i] = (uint64_t)i << 32;
	for (unsigned round = 0; round < KILLS; round++)
		kill_round(f, round, base, next);
	for (unsigned i = 0; i < FEW; i++)
		assert_true((next[i] & 0xffffffff) >= 1);
	assert_true(files(f, 0, NULL) < KILLS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_group_commit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fence, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
