/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/node/launcher.h"
#include "tests/lib/skip.h"

#define THREADS 4
#define EACH 8
#define MANY 500

struct fixture {
	struct praas_launcher *launcher;
	char log[64];
};

static int setup(void **state)
{
	static struct fixture f;
	int fd;

	(void)snprintf(f.log, sizeof f.log, "/tmp/praas-launcher-XXXXXX");
	fd = mkstemp(f.log);
	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(praas_launcher_start(NULL, &f.launcher), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	praas_launcher_stop(f->launcher);
	return unlink(f->log);
}

/* Runs a script of the shell with these descriptors, to its end. */
static int run(struct fixture *f, const char *script, int fd, int fd2)
{
	const char *argv[] = { "/bin/sh", "-c", script, NULL };
	struct praas_launch what = { .argv = argv,
				     .log = f->log,
				     .fds = { fd, fd2 },
				     .fds_count = fd2 < 0 ? 1 : 2 };
	pid_t pid = 0;
	int status, rc = praas_launcher_launch(f->launcher, &what, &pid);

	if (rc)
		return rc;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* What the children have said. */
static void log_is(struct fixture *f, const char *text)
{
	char have[512];
	FILE *file = fopen(f->log, "re");

	assert_non_null(file);
	have[fread(have, 1, sizeof have - 1, file)] = 0;
	assert_int_equal(fclose(file), 0);
	assert_string_equal(have, text);
}

/* A child has nothing, the log twice and what it is given, in order; nothing else. */
static void test_launcher_child_has_what_it_is_given(void **state)
{
	struct fixture *f = *state;
	int first[2], second[2], other = open("/dev/zero", O_RDONLY); /* not CLOEXEC */

	assert_true(other >= 0);
	assert_int_equal(pipe2(first, O_CLOEXEC), 0);
	assert_int_equal(pipe2(second, O_CLOEXEC), 0);
	assert_int_equal(write(first[1], "one\n", 4), 4);
	assert_int_equal(write(second[1], "two\n", 4), 4);
	assert_int_equal(run(f,
			     "for n in 0 1 2 3 4 5 6 7 8 9 10 11 12; do "
			     "[ -e /proc/$$/fd/$n ] && printf '%s ' $n; done; echo; "
			     "head -n 1 <&4; head -n 1 <&3 >&2; head -c 1 | wc -c",
			     first[0], second[0]),
			 0);
	log_is(f, "0 1 2 3 4 \ntwo\none\n0\n");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(close(first[i]), 0);
		assert_int_equal(close(second[i]), 0);
	}
	assert_int_equal(close(other), 0);
}

/* No signal is blocked or ignored in a child, and its group is its own. */
static void test_launcher_child_signals(void **state)
{
	/* (32 and 33 are the C library's, which leaves them as they are) */
	static const char script[] =
		"for m in Blk Ign; do "
		"w=$(grep ^Sig$m: /proc/self/status | cut -f 2); "
		"echo $m $((0x$w & 0x7fffffff)); done; "
		"[ $(cut -d' ' -f5 /proc/$$/stat) = $$ ] && echo own";
	struct fixture *f = *state;
	sigset_t set, before;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, &before), 0);
	assert_true(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
	assert_int_equal(run(f, script, 0, -1), 0);
	log_is(f, "Blk 0\nIgn 0\nown\n");
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
	assert_true(signal(SIGUSR1, SIG_DFL) != SIG_ERR);
}

/* Descriptors in the table of a thread. */
static unsigned count_fds(const char *thread)
{
	char path[300];
	struct dirent *e;
	unsigned n = 0;
	DIR *dir;

	(void)snprintf(path, sizeof path, "/proc/self/task/%s/fd", thread);
	dir = opendir(path);
	assert_non_null(dir);
	while ((e = readdir(dir)))
		n += e->d_name[0] != '.';
	assert_int_equal(closedir(dir), 0);
	return n;
}

/* The smallest table of all threads. */
static unsigned least_fds(void)
{
	DIR *dir = opendir("/proc/self/task");
	unsigned least = UINT32_MAX;
	struct dirent *e;

	assert_non_null(dir);
	while ((e = readdir(dir))) {
		unsigned n = e->d_name[0] == '.' ? least : count_fds(e->d_name);

		least = n < least ? n : least;
	}
	assert_int_equal(closedir(dir), 0);
	return least;
}

/* What a start copies does not depend on what the process has open, before or after the thread began. */
static void test_launcher_table_stays_small(void **state)
{
	struct praas_launcher *late;
	struct fixture *f = *state;
	static int fds[MANY];

	for (int i = 0; i < MANY; i++)
		assert_true((fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0);
	assert_int_equal(run(f, "echo 1", fds[MANY - 1], fds[0]), 0);
	assert_in_range(least_fds(), 1, 4); /* 0 to 2, and what it sleeps on */
	praas_launcher_stop(f->launcher);
	assert_int_equal(praas_launcher_start(NULL, &late), 0);
	f->launcher = late;
	assert_int_equal(run(f, "echo 2", fds[0], fds[MANY - 1]), 0);
	assert_in_range(least_fds(), 1, 4);
	log_is(f, "1\n2\n");
	for (int i = 0; i < MANY; i++)
		assert_int_equal(close(fds[i]), 0);
}

/* What cannot be started leaves nothing open, and the next one can be. */
static void test_launcher_no_program_leaves_nothing(void **state)
{
	const char *argv[] = { "/no/such/program", NULL };
	struct fixture *f = *state;
	struct praas_launch what = { .argv = argv, .log = f->log, .fds_count = 1 };
	pid_t pid = 0;

	assert_int_equal(praas_launcher_launch(f->launcher, &what, &pid), -ENOENT);
	argv[0] = "/bin/true";
	what.log = "/no/such/folder/log";
	assert_int_equal(praas_launcher_launch(f->launcher, &what, &pid), -ENOENT);
	what.log = f->log;
	what.fds[0] = 1000000; /* none of ours */
	assert_int_equal(praas_launcher_launch(f->launcher, &what, &pid), -EBADF);
	assert_in_range(least_fds(), 1, 4);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
	assert_int_equal(errno, ECHILD);
	assert_int_equal(run(f, "exit 7", 0, -1), 7);
}

/* Where no further descriptor is allowed an order fails, and works when one is again. */
static void test_launcher_out_of_descriptors(void **state)
{
	struct fixture *f = *state;
	struct rlimit all, few;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
	few = all;
	few.rlim_cur = 5; /* the thread has 0 to 3: room for one of two */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_int_equal(run(f, "exit 1", 0, 1), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
	assert_int_equal(run(f, "exit 3", 0, 1), 3);
	assert_in_range(least_fds(), 1, 4);
}

struct crowd {
	struct fixture *f;
	pthread_t thread;
	int number;
};

static void *start_some(void *arg)
{
	struct crowd *c = arg;
	intptr_t wrong = 0;

	for (int i = 0; i < EACH; i++) {
		char number = (char)c->number;
		int fds[2];

		if (pipe2(fds, O_CLOEXEC) || write(fds[1], &number, 1) != 1)
			return (void *)(intptr_t)1000;
		(void)close(fds[1]);
		wrong += run(c->f, "exit $(od -An -tu1 <&3)", fds[0], -1) != c->number;
		(void)close(fds[0]);
	}
	return (void *)wrong; /* (asserts are for the thread of the tests) */
}

/* Who starts programs at the same time gets his own, with his descriptors. */
static void test_launcher_many_at_once_each_gets_its_own(void **state)
{
	struct crowd crowd[THREADS];
	void *wrong;

	for (int i = 0; i < THREADS; i++) {
		crowd[i] = (struct crowd){ .f = *state, .number = 10 + i };
		assert_int_equal(
			pthread_create(&crowd[i].thread, NULL, start_some, &crowd[i]),
			0);
	}
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(crowd[i].thread, &wrong), 0);
		assert_null(wrong);
	}
}

/* A process in a network namespace of its own, until it is killed; -1: there are none for us. */
static pid_t make_netns(void)
{
	int ready[2], status;
	char byte = 0;
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		byte = unshare(CLONE_NEWNET) == 0;
		if (write(ready[1], &byte, 1) != 1 || !byte)
			_exit(1);
		for (;;)
			(void)pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(close(ready[0]), 0);
	assert_int_equal(close(ready[1]), 0);
	if (byte)
		return pid;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return -1;
}

/* What is started begins in the namespace; whoever started the launcher stays where he was. */
static void test_launcher_netns(void **state)
{
	struct fixture *f = *state;
	struct praas_launcher *there;
	char file[64], name[64] = "", own[64] = "", wanted[128];
	int status, fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pid_t pid = make_netns();

	if (pid < 0)
		skip_because("a network namespace needs CAP_SYS_ADMIN");
	(void)snprintf(file, sizeof(file), "/proc/%d/ns/net", pid);
	assert_true(readlink(file, name, sizeof(name) - 1) > 0);
	assert_int_equal(praas_launcher_start(file, &there), 0);
	assert_int_equal(run(f, "readlink /proc/self/ns/net", fd, -1), 0);
	praas_launcher_stop(f->launcher);
	f->launcher = there;
	assert_int_equal(run(f, "readlink /proc/self/ns/net", fd, -1), 0);
	assert_true(readlink("/proc/self/ns/net", own, sizeof(own) - 1) > 0);
	(void)snprintf(wanted, sizeof(wanted), "%s\n%s\n", own, name);
	assert_string_not_equal(own, name);
	log_is(f, wanted);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(close(fd), 0);
}

/* What is no namespace is told at the start. */
static void test_launcher_no_netns(void **state)
{
	struct praas_launcher *none = NULL;

	(void)state;
	assert_int_equal(praas_launcher_start("/no/such/netns", &none), -ENOENT);
	assert_int_equal(praas_launcher_start("/dev/null", &none), -EINVAL);
	assert_null(none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_launcher_child_has_what_it_is_given, setup, teardown),
		cmocka_unit_test_setup_teardown(test_launcher_netns, setup, teardown),
		cmocka_unit_test(test_launcher_no_netns),
		cmocka_unit_test_setup_teardown(test_launcher_child_signals, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_launcher_table_stays_small, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_launcher_no_program_leaves_nothing,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_launcher_out_of_descriptors, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			test_launcher_many_at_once_each_gets_its_own, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
