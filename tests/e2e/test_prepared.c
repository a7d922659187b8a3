/* SPDX-License-Identifier: Apache-2.0
 *
 * Controllers that are made ready for an application before they are told which process they are.
 * Arguments as of test_controller.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>

#include <praas/client.h>

#include "tests/lib/controller.h"

static struct controller_options base;
static char counter_code[256];

struct fixture {
	struct controller c;
	struct controller_options o;
	char code[96]; /* a copy of the example, the test's own */
	char *config, *shape;
};

/* Writes a copy: another file each time. */
static void copy_file(const char *from_dir, const char *to_dir, const char *name)
{
	char from[512], to[512], buffer[65536];
	int in, out;
	ssize_t n;

	(void)snprintf(from, sizeof(from), "%s/%s", from_dir, name);
	(void)snprintf(to, sizeof(to), "%s/%s", to_dir, name);
	in = open(from, O_RDONLY | O_CLOEXEC);
	(void)unlink(to);
	out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	assert_true(in >= 0 && out >= 0);
	while ((n = read(in, buffer, sizeof(buffer))) > 0)
		assert_int_equal(write(out, buffer, (size_t)n), n);
	(void)close(in);
	(void)close(out);
}

static void copy_code(const char *from, const char *to)
{
	const struct dirent *e;
	DIR *dir = opendir(from);

	assert_non_null(dir);
	while ((e = readdir(dir)))
		if (strstr(e->d_name, ".so") || strstr(e->d_name, ".json"))
			copy_file(from, to, e->d_name);
	(void)closedir(dir);
}

static void make_config(struct fixture *f)
{
	json_t *config;

	f->c.epoch = 1;
	config = controller_config(&f->c, &f->o);
	f->config = json_dumps(config, JSON_COMPACT);
	assert_non_null(f->config);
	f->shape = controller_shape(f->config);
	json_decref(config);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->o = base;
	controller_init(&f->c);
	(void)chmod(f->c.dir, 0755);
	(void)snprintf(f->code, sizeof(f->code), "%s/code", f->c.dir);
	assert_int_equal(mkdir(f->code, 0755), 0);
	copy_code(counter_code, f->code);
	f->o.code = f->code;
	make_config(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	controller_release(&f->c);
	free(f->config);
	free(f->shape);
	free(f);
	return 0;
}

/* It was told twice what to be ready for, or began again with the whole configuration. */
static bool began_again(const struct fixture *f)
{
	char path[64], text[256] = "";
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)f->c.pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	assert_true(n > 0);
	for (ssize_t i = 0; i < n; i++)
		text[i] = text[i] ? text[i] : ' ';
	return strstr(text, "--prepare-fd") == NULL;
}

static void await_join(struct fixture *f)
{
	controller_accept(&f->c);
	json_decref(f->c.join);
	f->c.join = controller_await(&f->c, "join");
	assert_non_null(f->c.join);
	assert_int_equal(send(f->c.link_fd, "{\"t\":\"ok\"}\n", 11, 0), 11);
}

/* counter/add; what it says is the new value. */
static long add(const struct fixture *f, const char *amount)
{
	char *ticket = controller_ticket(&f->c, "tcp");
	struct praas_call call = { .data = amount, .bytes = strlen(amount) };
	struct praas_result result;
	praas_connection *conn;
	char text[32] = "";

	assert_int_equal(praas_connect_ticket(ticket, NULL, &conn), 0);
	free(ticket);
	assert_int_equal(praas_function_lookup(conn, "add", &call.function), 0);
	assert_int_equal(praas_call(conn, &call, &result), 0);
	assert_int_equal(result.status, 0);
	assert_true(result.view.bytes < sizeof(text));
	memcpy(text, result.view.data, result.view.bytes);
	praas_result_release(conn, &result);
	praas_close(conn);
	return atol(text);
}

/* Whether it has come so far that a signal does not just end it: SIGTERM is blocked, for a descriptor. */
static bool takes_signals(const struct fixture *f)
{
	char path[40], line[200];
	unsigned long long blocked = 0;
	FILE *status;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)f->c.pid);
	status = fopen(path, "re");
	assert_non_null(status);
	while (fgets(line, sizeof(line), status))
		if (strncmp(line, "SigBlk:", 7) == 0)
			blocked = strtoull(line + 7, NULL, 16);
	(void)fclose(status); /* read-only */
	return blocked >> (SIGTERM - 1) & 1;
}

/* Until it sleeps, ready. */
static void let_it_settle(const struct fixture *f)
{
	struct timespec t = { .tv_nsec = 300000000 };

	for (unsigned i = 0; i < 20000 && !takes_signals(f); i++)
		(void)usleep(1000); /* or less */
	(void)nanosleep(&t, NULL);
}

/* Told late which process it is, it serves, and knows its own number. */
static void test_prepared_serves_what_it_is_told(void **state)
{
	struct fixture *f = *state;
	int fd = controller_prepare(&f->c, &f->o, f->shape);

	let_it_settle(f);
	controller_identify(fd, f->config);
	await_join(f);
	assert_false(began_again(f));
	assert_int_equal(json_integer_value(json_object_get(f->c.join, "pid")), 7);
	assert_int_equal(add(f, "4"), 4);
	controller_expect(&f->c, "swap-out", NULL);
	assert_int_equal(controller_wait(&f->c), 0);
}

/* A library that was replaced after it was loaded: the new one serves. */
static void test_prepared_with_old_code_begins_again(void **state)
{
	struct fixture *f = *state;
	int fd = controller_prepare(&f->c, &f->o, f->shape);

	let_it_settle(f);
	copy_code(counter_code, f->code);
	controller_identify(fd, f->config);
	await_join(f);
	assert_true(began_again(f));
	assert_int_equal(add(f, "4"), 4);
}

/* Made ready for other limits: made anew with the right ones. */
static void test_prepared_for_something_else_begins_again(void **state)
{
	struct fixture *f = *state;
	int fd;

	free(f->shape);
	f->o.concurrency = 3;
	f->o.memory_bytes = 128 << 20;
	free(f->config);
	make_config(f);
	fd = controller_prepare(&f->c, &f->o, f->shape);
	free(f->config);
	free(f->shape);
	f->o = base;
	f->o.code = f->code;
	make_config(f);
	controller_identify(fd, f->config);
	await_join(f);
	assert_true(began_again(f));
	assert_int_equal(add(f, "1"), 1);
}

/* Nobody needs it: it leaves, and has said nothing to anybody. */
static void test_prepared_and_not_needed_leaves(void **state)
{
	struct fixture *f = *state;
	int fd = controller_prepare(&f->c, &f->o, f->shape);
	struct pollfd link = { .fd = f->c.listen_fd, .events = POLLIN };

	let_it_settle(f);
	assert_int_equal(poll(&link, 1, 0), 0);
	(void)close(fd);
	assert_int_equal(controller_wait(&f->c), 0);
}

/* SIGTERM while it waits. */
static void test_prepared_is_told_to_end(void **state)
{
	struct fixture *f = *state;
	int fd = controller_prepare(&f->c, &f->o, f->shape);

	let_it_settle(f);
	assert_int_equal(controller_stop(&f->c, SIGTERM), 0);
	(void)close(fd);
}

/* It may have left before. */
static void tell(int fd, const char *text)
{
	(void)!write(fd, text, strlen(text));
	(void)close(fd);
}

/* What it is told is checked as any configuration; so is what it is to be ready for. */
static void test_prepared_refuses_nonsense(void **state)
{
	static const struct {
		const char *shape, *config, *says;
	} cases[] = {
		{ NULL, "{}", "tenant: is missing" },
		{ NULL, "[", "configuration" },
		{ "{}", NULL, "tenant: is missing" },
		{ "{\"prepare\":true}", NULL, "app_id: is missing" },
		{ "{\"prepare\":true,\"pid\":1}", NULL, "app_id: is missing" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int fd = controller_prepare(&f->c, &f->o,
					    cases[i].shape ? cases[i].shape : f->shape);

		tell(fd, cases[i].config ? cases[i].config : f->config);
		assert_int_equal(controller_wait(&f->c), 2);
		assert_true(controller_logged(&f->c, cases[i].says));
	}
	/* A shape where a process is wanted. */
	tell(controller_prepare(&f->c, &f->o, f->shape), f->shape);
	assert_int_equal(controller_wait(&f->c), 2);
	assert_true(controller_logged(&f->c, "names no process"));
	/* The whole one where only a shape is wanted. */
	tell(controller_prepare(&f->c, &f->o, f->config), f->config);
	assert_int_equal(controller_wait(&f->c), 2);
	assert_true(controller_logged(&f->c, "of the other kind"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_prepared_serves_what_it_is_told),
		TEST(test_prepared_with_old_code_begins_again),
		TEST(test_prepared_for_something_else_begins_again),
		TEST(test_prepared_and_not_needed_leaves),
		TEST(test_prepared_is_told_to_end),
		TEST(test_prepared_refuses_nonsense),
	};

	if (argc != 5)
		return 2;
	(void)signal(SIGPIPE, SIG_IGN);
	base = (struct controller_options){ .program = argv[1],
					    .worker = argv[2],
					    .isolation = argv[4],
					    .concurrency = 2 };
	(void)snprintf(counter_code, sizeof(counter_code), "%s/counter", argv[3]);
	return cmocka_run_group_tests_name(argv[4], tests, NULL, NULL);
}
