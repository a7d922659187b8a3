/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/say.h"

#define BYTES_MAX 4096u
#define LINES 250u
#define THREADS 4u

static void *say_lines(void *arg)
{
	for (unsigned i = 0; i < LINES; i++)
		praas_say(PRAAS_SAY_INFO, "line %u of %u", i, *(unsigned *)arg);
	return NULL;
}

/* In a process of its own: what stderr is is changed for good. */
static int say_all(const char *path)
{
	unsigned numbers[THREADS];
	pthread_t threads[THREADS];
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		int rc = praas_say_file(path, BYTES_MAX);

		for (unsigned i = 0; rc == 0 && i < THREADS; i++) {
			numbers[i] = i;
			rc = pthread_create(&threads[i], NULL, say_lines, &numbers[i]);
		}
		for (unsigned i = 0; rc == 0 && i < THREADS; i++)
			rc = pthread_join(threads[i], NULL);
		(void)dprintf(STDERR_FILENO, "by somebody else\n");
		_exit(rc == 0 ? 0 : 1);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

/* Whole lines in a file; removes it. */
static unsigned take(const char *path, bool *ret_other)
{
	unsigned lines = 0, i, of;
	char text[200];
	FILE *f = fopen(path, "re");

	assert_non_null(f);
	while (fgets(text, sizeof(text), f)) {
		*ret_other |= strcmp(text, "by somebody else\n") == 0;
		lines += sscanf(text, "praas-control: line %u of %u\n", &i, &of) == 2;
		assert_non_null(strchr(text, '\n'));
	}
	(void)fclose(f);
	assert_int_equal(unlink(path), 0);
	return lines;
}

/* Files have the size given and not much more, there are four at most, of lines of several threads none is torn or
 * lost of those that are kept, and what others write to stderr is in the newest. */
static void test_say_turns_its_file(void **state)
{
	char dir[] = "/tmp/praas-say-XXXXXX", path[64], old[80];
	bool other = false, ignored = false;
	unsigned lines;
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/control.log", dir);
	assert_int_equal(say_all(path), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_in_range(st.st_size, 1, BYTES_MAX + 64);
	lines = take(path, &other);
	assert_true(other);
	for (unsigned i = 1; i <= 3; i++) {
		(void)snprintf(old, sizeof(old), "%s.%u", path, i);
		assert_int_equal(stat(old, &st), 0);
		assert_in_range(st.st_size, BYTES_MAX, BYTES_MAX + 64);
		lines += take(old, &ignored);
	}
	assert_in_range(lines, 3 * BYTES_MAX / 32, THREADS * LINES);
	assert_int_equal(rmdir(dir), 0); /* no fifth one */
	assert_int_equal(say_all(path), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_say_turns_its_file),
	};

	return cmocka_run_group_tests_name("say", tests, NULL, NULL);
}
