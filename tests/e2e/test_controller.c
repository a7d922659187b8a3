/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <praas/client.h>

#include "tests/lib/controller.h"

/*
 * A real controller, real functions, real clients. Arguments: praas-controller, praas-worker, the
 * folder of the examples, inline or worker, and `prepared` for controllers that are made ready before
 * they are told which process they are.
 */

static struct controller_options base;
static char counter_code[256], hello_code[256];

struct fixture {
	struct controller c;
	struct controller_options o;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->o = base;
	f->o.code = counter_code;
	controller_init(&f->c);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	controller_release(&f->c);
	free(f);
	return 0;
}

static praas_connection *connect_to(const struct fixture *f, const char *transport)
{
	char *ticket = controller_ticket(&f->c, transport);
	praas_connection *conn = NULL;
	int rc = praas_connect_ticket(ticket, NULL, &conn);

	if (rc != 0)
		fail_msg("connect: %d %s", rc, praas_error());
	free(ticket);
	return conn;
}

/* counter/add with a key: returns the new value. */
static long add(praas_connection *conn, const char *key, const char *amount)
{
	struct praas_call call = { .data = amount,
				   .bytes = strlen(amount),
				   .key = key };
	struct praas_result result;
	char text[32] = "";
	int rc;

	assert_int_equal(praas_function_lookup(conn, "add", &call.function), 0);
	rc = praas_call(conn, &call, &result);
	if (rc != 0 || result.status != 0)
		fail_msg("add: %d, status %d %s", rc, rc == 0 ? result.status : 0,
			 rc == 0 ? (const char *)result.view.data : praas_error());
	assert_true(result.view.bytes < sizeof(text));
	memcpy(text, result.view.data, result.view.bytes);
	praas_result_release(conn, &result);
	return atol(text);
}

static long add_over(const struct fixture *f, const char *transport, const char *key,
		     const char *amount)
{
	praas_connection *conn = connect_to(f, transport);
	long value = add(conn, key, amount);

	praas_close(conn);
	return value;
}

/* State and mailbox are back in the next epoch, over either transport. */
static void test_controller_swap_by_signal_keeps_state_and_mail(void **state)
{
	struct fixture *f = *state;
	praas_connection *conn;
	praas_pid_t source = 0;
	void *data = NULL;
	size_t bytes = 0;

	controller_start(&f->c, &f->o);
	conn = connect_to(f, "tcp");
	assert_int_equal(add(conn, "apples", "3"), 3);
	assert_int_equal(praas_msg_send(conn, "letter", "hello", 5), 0);
	assert_int_equal(praas_msg_send(conn, "letter", "again", 5), 0);
	praas_close(conn);
	assert_int_equal(add_over(f, "shm", "apples", "4"), 7);
	assert_int_equal(controller_stop(&f->c, SIGTERM), 0);
	f->o.epoch = 2;
	controller_start(&f->c, &f->o);
	assert_int_equal(add_over(f, "shm", "apples", "1"), 8);
	conn = connect_to(f, "tcp");
	assert_int_equal(praas_msg_recv(conn, "letter", 0, &data, &bytes, &source), 0);
	assert_int_equal(bytes, 5);
	assert_memory_equal(data, "hello", 5);
	free(data);
	assert_int_equal(praas_msg_recv(conn, "letter", 0, &data, &bytes, &source), 0);
	assert_memory_equal(data, "again", 5);
	free(data);
	praas_close(conn);
	assert_int_equal(controller_stop(&f->c, SIGTERM), 0);
}

/* Killed: what the last checkpoint had is there, what came after is not. */
static void test_controller_crash_leaves_the_last_snapshot(void **state)
{
	struct fixture *f = *state;

	controller_start(&f->c, &f->o);
	assert_int_equal(add_over(f, "tcp", "apples", "3"), 3);
	controller_expect(&f->c, "checkpoint", NULL);
	assert_int_equal(add_over(f, "tcp", "apples", "3"), 6);
	assert_int_equal(controller_stop(&f->c, SIGKILL), -SIGKILL);
	f->o.epoch = 2;
	controller_start(&f->c, &f->o);
	assert_int_equal(add_over(f, "tcp", "apples", "1"), 4);
}

/* A large state: written, found again whole, and not written again when it did not change. */
static void test_controller_large_state_is_swapped(void **state)
{
	struct fixture *f = *state;
	enum { BYTES = 5000000 };
	uint8_t *value = malloc(BYTES), *back = NULL;
	uint64_t version = 0;
	praas_connection *conn;
	size_t bytes = 0;

	assert_non_null(value);
	for (size_t i = 0; i < BYTES; i++)
		value[i] = (uint8_t)(i * 31 + (i >> 12));
	controller_start(&f->c, &f->o);
	conn = connect_to(f, "tcp");
	assert_int_equal(praas_state_write(conn, "big", value, BYTES), 0);
	praas_close(conn);
	controller_expect(&f->c, "checkpoint", NULL);
	assert_int_equal(add_over(f, "tcp", "n", "1"), 1);
	assert_int_equal(controller_stop(&f->c, SIGTERM), 0);
	assert_true(controller_logged(&f->c, "5000000 reused"));
	f->o.epoch = 2;
	controller_start(&f->c, &f->o);
	conn = connect_to(f, "tcp");
	assert_int_equal(
		praas_state_read(conn, "big", (void **)&back, &bytes, &version), 0);
	assert_int_equal(bytes, BYTES);
	assert_memory_equal(back, value, BYTES);
	praas_close(conn);
	free(back);
	free(value);
}

/* A second controller of the same epoch does not serve. */
static void test_controller_same_epoch_is_fenced(void **state)
{
	struct fixture *f = *state;
	json_t *failed;

	controller_start(&f->c, &f->o);
	assert_int_equal(controller_stop(&f->c, SIGTERM), 0);
	controller_launch(&f->c, &f->o);
	controller_accept(&f->c);
	failed = controller_await(&f->c, "failed");
	assert_non_null(failed);
	assert_string_equal(json_string_value(json_object_get(failed, "code")),
			    "FENCED");
	assert_int_equal(json_integer_value(json_object_get(failed, "epoch")), 1);
	json_decref(failed);
	assert_int_equal(controller_wait(&f->c), 3);
}

/* An older epoch that comes back to commit is fenced, says so, and writes nothing. */
static void test_controller_old_epoch_cannot_commit(void **state)
{
	struct fixture *f = *state, *g = NULL;
	char store[96];

	controller_start(&f->c, &f->o);
	assert_int_equal(add_over(f, "tcp", "n", "5"), 5);
	assert_int_equal(setup((void **)&g), 0);
	(void)snprintf(store, sizeof(store), "file://%s/store", f->c.dir);
	g->o.store = store;
	g->o.epoch = 2;
	controller_start(&g->c, &g->o);
	assert_int_equal(add_over(g, "tcp", "n", "1"),
			 1); /* nothing was committed before */
	controller_expect(&f->c, "checkpoint", "FENCED");
	assert_int_equal(controller_wait(&f->c), 3);
	assert_int_equal(controller_stop(&g->c, SIGTERM), 0);
	assert_int_equal(teardown((void **)&g), 0);
}

static void spoil(const struct fixture *f, const char *folder)
{
	char command[256];

	(void)snprintf(command, sizeof(command),
		       "f=$(ls %s/store/%s/* | tail -1); printf '\\377\\377\\377\\377' "
		       "| dd of=$f "
		       "bs=1 seek=200 conv=notrunc status=none",
		       f->c.dir, folder);
	assert_int_equal(system(command), 0);
}

static void expect_snapshot_refused(struct fixture *f)
{
	json_t *failed;

	f->o.epoch = 2;
	controller_launch(&f->c, &f->o);
	controller_accept(&f->c);
	failed = controller_await(&f->c, "failed");
	assert_non_null(failed);
	assert_string_equal(json_string_value(json_object_get(failed, "code")),
			    "SNAPSHOT");
	json_decref(failed);
	assert_int_equal(controller_wait(&f->c), 4);
	assert_true(controller_logged(&f->c, "damaged"));
}

static void live_once(struct fixture *f)
{
	uint8_t value[1000];
	praas_connection *conn;

	memset(value, 7, sizeof(value));
	controller_start(&f->c, &f->o);
	conn = connect_to(f, "tcp");
	assert_int_equal(praas_state_write(conn, "value", value, sizeof(value)), 0);
	praas_close(conn);
	assert_int_equal(controller_stop(&f->c, SIGTERM), 0);
}

/* A damaged chunk, a damaged entry: a clear error, and no process with half its state. */
static void test_controller_damaged_chunk_is_refused(void **state)
{
	struct fixture *f = *state;

	live_once(f);
	spoil(f, "chunk");
	expect_snapshot_refused(f);
}

static void test_controller_damaged_entry_is_refused(void **state)
{
	struct fixture *f = *state;

	live_once(f);
	spoil(f, "log");
	expect_snapshot_refused(f);
}

#define LATE_OBJECTS 8u
#define LATE_BYTES 1000000u

static void write_late(struct fixture *f, uint8_t *value)
{
	praas_connection *conn;
	char key[8];

	controller_start(&f->c, &f->o);
	conn = connect_to(f, "tcp");
	for (unsigned i = 0; i < LATE_OBJECTS; i++) {
		memset(value, (int)i + 1, LATE_BYTES);
		(void)snprintf(key, sizeof(key), "k%u", i);
		assert_int_equal(praas_state_write(conn, key, value, LATE_BYTES), 0);
	}
	praas_close(conn);
	assert_int_equal(controller_stop(&f->c, SIGTERM), 0);
}

static void expect_late(praas_connection *conn, unsigned i, uint8_t *value)
{
	uint64_t version;
	size_t bytes;
	void *back;
	char key[8];

	memset(value, (int)i + 1, LATE_BYTES);
	(void)snprintf(key, sizeof(key), "k%u", i);
	assert_int_equal(praas_state_read(conn, key, &back, &bytes, &version), 0);
	assert_int_equal(bytes, LATE_BYTES);
	assert_memory_equal(back, value, LATE_BYTES);
	free(back);
}

/* Large state comes when it is wanted: a swap-out, a kill and a checkpoint meanwhile lose nothing. */
static void test_controller_large_state_comes_later(void **state)
{
	struct fixture *f = *state;
	uint8_t *value = malloc(LATE_BYTES);
	praas_connection *conn;

	assert_non_null(value);
	write_late(f, value);
	f->o.epoch = 2;
	controller_start(&f->c, &f->o);
	assert_int_equal(controller_stop(&f->c, SIGTERM), 0); /* at once */
	assert_true(controller_logged(&f->c, "8000000 reused"));
	f->o.epoch = 3;
	controller_start(&f->c, &f->o);
	conn = connect_to(f, "tcp");
	expect_late(conn, 5, value);
	praas_close(conn);
	(void)controller_stop(&f->c, SIGKILL);
	f->o.epoch = 4;
	controller_start(&f->c, &f->o);
	controller_expect(&f->c, "checkpoint", NULL);
	conn = connect_to(f, "tcp");
	for (unsigned i = 0; i < LATE_OBJECTS; i++)
		expect_late(conn, i, value);
	praas_close(conn);
	assert_int_equal(controller_stop(&f->c, SIGTERM), 0);
	free(value);
}

/* One damaged object of many: an error for who asks for it, and for nobody else. */
static void test_controller_damaged_object_is_alone(void **state)
{
	struct fixture *f = *state;
	uint8_t *value = malloc(LATE_BYTES);
	praas_connection *conn;
	uint64_t version;
	size_t bytes;
	void *back;

	assert_non_null(value);
	write_late(f, value);
	spoil(f, "chunk");
	f->o.epoch = 2;
	controller_start(&f->c, &f->o);
	conn = connect_to(f, "tcp");
	assert_int_not_equal(praas_state_read(conn, "k0", &back, &bytes, &version), 0);
	for (unsigned i = 1; i < LATE_OBJECTS; i++)
		expect_late(conn, i, value);
	assert_int_equal(praas_state_write(conn, "k0", value, LATE_BYTES), 0);
	expect_late(conn, LATE_OBJECTS - 1, value);
	praas_close(conn);
	assert_int_equal(controller_stop(&f->c, SIGTERM), 0);
	free(value);
}

/* The answer to a swap-out that was given up may be faster than the gate. */
static void await_open(praas_connection *conn)
{
	int status = PRAAS_DRAINING;
	uint8_t out[32];
	size_t bytes;

	for (unsigned i = 0; i < 20000 && status == PRAAS_DRAINING; i++) {
		(void)praas_invoke_simple(conn, "get", "", 0, out, sizeof(out), &bytes,
					  &status);
		(void)usleep(1000);
	}
	assert_int_not_equal(status, PRAAS_DRAINING);
}

/* No room for the snapshot: the error says so, and the process goes on serving. */
static void test_controller_full_store_keeps_serving(void **state)
{
	struct fixture *f = *state;
	struct rlimit limit = { 600000, 600000 };
	uint8_t *value = calloc(1, 1000000);
	praas_connection *conn;

	assert_non_null(value);
	controller_start(&f->c, &f->o);
	assert_int_equal(prlimit(f->c.pid, RLIMIT_FSIZE, &limit, NULL), 0);
	conn = connect_to(f, "tcp");
	assert_int_equal(praas_state_write(conn, "big", value, 1000000), 0);
	controller_expect(&f->c, "checkpoint", "STORE_FULL");
	controller_expect(&f->c, "swap-out", "STORE_FULL");
	await_open(conn);
	assert_int_equal(add(conn, "n", "1"), 1);
	praas_close(conn);
	free(value);
	assert_true(controller_logged(&f->c, "No space left on device"));
}

/* All that it could turn to is gone, data folder and control service: a signal ends it, with the reason and
 * not as if all were well, and not for ever later. With a control service it serves on. */
static void test_controller_left_alone_ends_by_signal(void **state)
{
	struct fixture *f = *state;
	char command[96], act[96];
	praas_connection *conn;
	time_t begun;

	f->o.drain_ms = 100;
	controller_start(&f->c, &f->o);
	conn = connect_to(f, "tcp");
	assert_int_equal(add(conn, "n", "1"), 1);
	/* A new process serves before its first entry is written. */
	(void)snprintf(act, sizeof(act), "%s/store/log/%020d", f->c.dir, 0);
	while (access(act, F_OK) != 0)
		(void)usleep(10000);
	(void)snprintf(command, sizeof(command), "rm -r '%s/store'", f->c.dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(kill(f->c.pid, SIGTERM), 0);
	while (!controller_logged(&f->c, "cannot commit to"))
		(void)usleep(10000);
	await_open(conn);
	assert_int_equal(add(conn, "n", "1"), 2);
	praas_close(conn);
	(void)close(f->c.link_fd);
	(void)close(f->c.listen_fd);
	f->c.link_fd = f->c.listen_fd = -1;
	begun = time(NULL);
	assert_int_equal(kill(f->c.pid, SIGTERM), 0);
	assert_int_equal(controller_wait(&f->c), 5);
	assert_in_range(time(NULL) - begun, 2, 60);
	assert_true(controller_logged(&f->c,
				      "what is not in the last snapshot is lost: "
				      "cannot commit to"));
}

/* A store that cannot be written at the start: it does not start. */
static void test_controller_unusable_store_is_refused(void **state)
{
	struct fixture *f = *state;
	json_t *failed;

	f->o.store = "file:///proc/praas-store";
	controller_launch(&f->c, &f->o);
	controller_accept(&f->c);
	failed = controller_await(&f->c, "failed");
	assert_non_null(failed);
	assert_non_null(strstr(json_string_value(json_object_get(failed, "message")),
			       "/proc/praas-store"));
	json_decref(failed);
	assert_int_equal(controller_wait(&f->c), 5);
}

/* The link breaks: it serves on, and joins again. */
static void test_controller_link_is_joined_again(void **state)
{
	struct fixture *f = *state;
	json_t *join;

	controller_start(&f->c, &f->o);
	(void)close(f->c.link_fd);
	f->c.link_fd = -1;
	assert_int_equal(add_over(f, "tcp", "n", "2"), 2);
	controller_accept(&f->c);
	join = controller_await(&f->c, "join");
	assert_non_null(join);
	json_decref(join);
	controller_expect(&f->c, "swap-out", NULL);
	assert_int_equal(controller_wait(&f->c), 0);
}

/* Kill ends it without a snapshot. */
static void test_controller_kill_writes_nothing(void **state)
{
	struct fixture *f = *state;

	controller_start(&f->c, &f->o);
	assert_int_equal(add_over(f, "tcp", "n", "2"), 2);
	controller_expect(&f->c, "kill", NULL);
	assert_int_equal(controller_wait(&f->c), 0);
	f->o.epoch = 2;
	controller_start(&f->c, &f->o);
	assert_int_equal(add_over(f, "tcp", "n", "1"), 1);
}

/* A wrong configuration is refused with its reason, before anything else. */
static void test_controller_config_is_strict(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{ "", "configuration" },
		{ "{}", "tenant: is missing" },
		{ "{\"tenant\":\"xy\"}", "hex" },
		{ "[1]", "object" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		controller_spawn(&f->c, &f->o, cases[i].text);
		assert_int_equal(controller_wait(&f->c), 2);
		assert_true(controller_logged(&f->c, cases[i].says));
	}
	f->o.code = "/nonexistent";
	controller_launch(&f->c, &f->o);
	assert_int_equal(controller_wait(&f->c), 2);
	assert_true(controller_logged(&f->c, "/nonexistent/praas.json"));
}

/* A client on this host calls the workers directly; a drain takes that back, and what was called
 * directly is in the snapshot. */
static void test_controller_direct_path_is_granted_and_revoked(void **state)
{
	struct fixture *f = *state;
	struct praas_conn_stats stats = { 0 };
	praas_connection *conn;
	long value = 0;

	controller_start(&f->c, &f->o);
	conn = connect_to(f, "shm");
	for (unsigned i = 0; i < 20000 && stats.direct == 0; i++) {
		value = add(conn, "n", "1");
		praas_stats(conn, &stats);
		if (strcmp(base.isolation, "inline") == 0 && i == 100)
			break;
	}
	if (strcmp(base.isolation, "worker") == 0)
		assert_true(stats.direct > 0);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(add(conn, "n", "1"), ++value);
	assert_int_equal(controller_stop(&f->c, SIGTERM), 0);
	praas_close(conn);
	f->o.epoch = 2;
	controller_start(&f->c, &f->o);
	assert_int_equal(add_over(f, "shm", "n", "1"), value + 1);
}

/* A ticket of another epoch does not open the door. */
static void test_controller_ticket_of_other_epoch_is_refused(void **state)
{
	struct fixture *f = *state;
	praas_connection *conn = NULL;
	char *ticket;

	controller_start(&f->c, &f->o);
	f->c.epoch = 9;
	ticket = controller_ticket(&f->c, "tcp");
	assert_int_not_equal(praas_connect_ticket(ticket, NULL, &conn), 0);
	free(ticket);
	f->c.epoch = 1;
	assert_int_equal(add_over(f, "tcp", "n", "1"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_controller_swap_by_signal_keeps_state_and_mail),
		TEST(test_controller_crash_leaves_the_last_snapshot),
		TEST(test_controller_large_state_is_swapped),
		TEST(test_controller_same_epoch_is_fenced),
		TEST(test_controller_old_epoch_cannot_commit),
		TEST(test_controller_large_state_comes_later),
		TEST(test_controller_damaged_object_is_alone),
		TEST(test_controller_damaged_chunk_is_refused),
		TEST(test_controller_damaged_entry_is_refused),
		TEST(test_controller_full_store_keeps_serving),
		TEST(test_controller_left_alone_ends_by_signal),
		TEST(test_controller_unusable_store_is_refused),
		TEST(test_controller_link_is_joined_again),
		TEST(test_controller_kill_writes_nothing),
		TEST(test_controller_config_is_strict),
		TEST(test_controller_direct_path_is_granted_and_revoked),
		TEST(test_controller_ticket_of_other_epoch_is_refused),
	};

	if (argc != 5 && (argc != 6 || strcmp(argv[5], "prepared") != 0))
		return 2;
	base = (struct controller_options){ .program = argv[1],
					    .worker = argv[2],
					    .isolation = argv[4],
					    .concurrency = 2,
					    .prepared = argc == 6 };
	(void)snprintf(counter_code, sizeof(counter_code), "%s/counter", argv[3]);
	(void)snprintf(hello_code, sizeof(hello_code), "%s/hello", argv[3]);
	return cmocka_run_group_tests_name(argv[4], tests, NULL, NULL);
}
