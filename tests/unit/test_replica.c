/* SPDX-License-Identifier: Apache-2.0
 *
 * Services with one data folder, as they see each other: who lives, who has ended, and of whom nobody here can know. The
 * others are processes of their own: a lock is not in the way of the process that has it.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/replica.h"

#define FOLDER "00112233445566778899aabbccddeeff"
#define ELSEWHERE "10112233445566778899aabbccddeeff"

struct fixture {
	char dir[64];
	struct praas_replica mine;
};

/* Another one: its place comes back; it ends with the signal, without a word. */
static pid_t fork_other(const struct fixture *f, char ret_place[PRAAS_REPLICA_PLACE])
{
	int pipes[2];
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct praas_replica r = { .fd = -1 };

		if (praas_replica_open(f->dir, FOLDER, &r) ||
		    write(pipes[1], r.place, sizeof(r.place)) !=
			    (ssize_t)sizeof(r.place))
			_exit(1);
		for (;;)
			(void)pause();
	}
	assert_int_equal(read(pipes[0], ret_place, PRAAS_REPLICA_PLACE),
			 PRAAS_REPLICA_PLACE);
	(void)close(pipes[0]);
	(void)close(pipes[1]);
	return pid;
}

static void kill_other(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static int ended(const struct fixture *f, const char *place)
{
	char owner[PRAAS_REPLICA_PLACE + 8];

	(void)snprintf(owner, sizeof(owner), "%s:ab", place);
	return praas_replica_ended(&f->mine, owner);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/praas-replica-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(praas_replica_open(f->dir, FOLDER, &f->mine), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	praas_replica_close(&f->mine);
	praas_replica_close(&f->mine); /* once is enough */
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

/* One lives, also while it stands still, until it is killed; then it is known of its place, and of the folder. */
static void test_replica_killed(void **state)
{
	struct fixture *f = *state;
	char place[PRAAS_REPLICA_PLACE];
	pid_t pid = fork_other(f, place);

	assert_memory_equal(place, FOLDER, 16);
	assert_int_equal(ended(f, place), 0);
	assert_true(praas_replica_others(&f->mine));
	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(ended(f, place), 0);
	assert_true(praas_replica_others(&f->mine));
	kill_other(pid);
	assert_int_equal(ended(f, place), 1);
	assert_false(praas_replica_others(&f->mine));
	assert_int_equal(ended(f, place), 1); /* its file went with that look */
}

/* To be asked of ourselves does not end us for the others. */
static void test_replica_itself(void **state)
{
	struct fixture *f = *state;
	pid_t pid;
	int status;

	assert_int_equal(ended(f, f->mine.place), 0);
	assert_false(praas_replica_others(&f->mine));
	pid = fork();
	if (pid == 0) {
		struct praas_replica r = { .fd = -1 };

		_exit(praas_replica_open(f->dir, FOLDER, &r) == 0 &&
				      praas_replica_others(&r)
			      ? 0
			      : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_false(praas_replica_others(&f->mine));
}

/* Who had the folder alone has ended, or we would not be here; of another folder or machine nobody knows. */
static void test_replica_of_others(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ended(f, FOLDER), 1);
	assert_int_equal(ended(f, ELSEWHERE), -EXDEV);
	assert_int_equal(ended(f, "0011"), -EXDEV);
	assert_int_equal(ended(f, ""), -EXDEV);
	assert_int_equal(
		praas_replica_ended(&f->mine, "0011223344556677../../../../etc/:x"),
		-EXDEV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_replica_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replica_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replica_of_others, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
