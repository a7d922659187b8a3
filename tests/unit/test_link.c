/* SPDX-License-Identifier: Apache-2.0
 *
 * The link of the control service: lines with and without a raw part, in both directions, over a real
 * socket; peers that break the format, stop half-way or do not read.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/limits.h"
#include "control/node/link_private.h"
#include "internal/base.h"

#define MESSAGES 8

struct fixture {
	struct praas_link *link;
	char dir[64], path[96];
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t conn; /* of the last message */
	uint32_t messages, closed;
	char types[MESSAGES][16];
	struct praas_link_raw raws[MESSAGES];
};

static void on_message(void *user, uint64_t conn, pid_t peer, json_t *message,
		       struct praas_link_raw *raw)
{
	struct fixture *f = user;

	(void)peer;
	(void)pthread_mutex_lock(&f->lock);
	f->conn = conn;
	(void)snprintf(f->types[f->messages], sizeof(f->types[0]), "%s",
		       json_string_value(json_object_get(message, "t")));
	f->raws[f->messages++] = *raw;
	raw->data = NULL;
	(void)pthread_cond_broadcast(&f->changed);
	(void)pthread_mutex_unlock(&f->lock);
}

static void on_closed(void *user, uint64_t conn)
{
	struct fixture *f = user;

	(void)conn;
	(void)pthread_mutex_lock(&f->lock);
	f->closed++;
	(void)pthread_cond_broadcast(&f->changed);
	(void)pthread_mutex_unlock(&f->lock);
}

static void on_ended(void *user, uint64_t tag)
{
	(void)user;
	(void)tag;
}

static uint64_t on_tick(void *user, uint64_t now_ns)
{
	(void)user;
	(void)now_ns;
	return 0;
}

static const struct praas_link_events events = { on_message, on_closed, on_ended,
						 on_tick };

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	(void)pthread_mutex_init(&f->lock, NULL);
	(void)pthread_cond_init(&f->changed, NULL);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/praas-link-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	(void)snprintf(f->path, sizeof(f->path), "%s/s", f->dir);
	if (praas_link_new(f->path, &events, f, &f->link) || praas_link_start(f->link))
		return -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	praas_link_stop(f->link);
	praas_link_free(f->link);
	for (uint32_t i = 0; i < f->messages; i++)
		free(f->raws[i].data);
	(void)rmdir(f->dir);
	(void)pthread_cond_destroy(&f->changed);
	(void)pthread_mutex_destroy(&f->lock);
	free(f);
	return 0;
}

static int connect_to(const struct fixture *f)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", f->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void send_all(int fd, const void *data, size_t bytes)
{
	const char *at = data;

	while (bytes > 0) {
		ssize_t n = send(fd, at, bytes, MSG_NOSIGNAL);

		assert_true(n > 0);
		at += n;
		bytes -= (size_t)n;
	}
}

static void say(int fd, const char *line)
{
	send_all(fd, line, strlen(line));
}

static void receive_all(int fd, void *to, size_t bytes)
{
	char *at = to;

	while (bytes > 0) {
		ssize_t n = recv(fd, at, bytes, 0);

		assert_true(n > 0);
		at += n;
		bytes -= (size_t)n;
	}
}

static void await(struct fixture *f, const uint32_t *count, uint32_t wanted)
{
	(void)pthread_mutex_lock(&f->lock);
	while (*count < wanted)
		(void)pthread_cond_wait(&f->changed, &f->lock);
	(void)pthread_mutex_unlock(&f->lock);
}

static uint8_t *pattern(size_t bytes)
{
	uint8_t *data = malloc(bytes);

	for (size_t i = 0; data && i < bytes; i++)
		data[i] = (uint8_t)(i * 31 + i / 251);
	assert_non_null(data);
	return data;
}

/* A raw part of the largest size, with bytes in it that look like lines, comes whole; what is behind
 * it is a line again. Only an append has one. */
static void test_link_raw_in(void **state)
{
	uint8_t *data = pattern(PRAAS_LIMIT_RAW_BYTES);
	struct fixture *f = *state;
	int fd = connect_to(f);
	char line[64];

	memcpy(data + 100, "\n{\"t\":\"x\"}\n", 11);
	(void)snprintf(line, sizeof(line), "{\"t\":\"append\",\"bytes\":%u}\n",
		       PRAAS_LIMIT_RAW_BYTES);
	say(fd, "{\"t\":\"swapped\",\"bytes\":77}\n");
	say(fd, line);
	send_all(fd, data, PRAAS_LIMIT_RAW_BYTES);
	say(fd, "{\"t\":\"append\",\"bytes\":0}\n{\"t\":\"append\"}\n");
	await(f, &f->messages, 4);
	assert_string_equal(f->types[0], "swapped");
	assert_int_equal(f->raws[0].bytes, 0);
	assert_int_equal(f->raws[1].bytes, PRAAS_LIMIT_RAW_BYTES);
	assert_memory_equal(f->raws[1].data, data, PRAAS_LIMIT_RAW_BYTES);
	assert_string_equal(f->types[3], "append");
	assert_int_equal(f->raws[2].bytes + f->raws[3].bytes, 0);
	(void)close(fd);
	free(data);
}

/* A raw part that is too large, or no number, ends the connection before a byte of it is read; one that
 * stops half-way is no message. */
static void test_link_raw_in_refused(void **state)
{
	static const char *const bad[] = {
		"{\"t\":\"append\",\"bytes\":1114113}\n",
		"{\"t\":\"append\",\"bytes\":-1}\n",
		"{\"t\":\"append\",\"bytes\":\"9\"}\n",
		"{\"t\":\"append\",\"bytes\":1.5}\n",
		"{\"t\":\"append\",\"bytes\":5,\"bytes\":5}\nabcde",
		"{\"t\":\"append\",\"bytes\":5}\nabcdefgh\n",
		"[1]\n",
	};
	struct fixture *f = *state;
	uint32_t closed = 0;
	char byte;
	int fd;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fd = connect_to(f);
		say(fd, bad[i]);
		assert_true(recv(fd, &byte, 1, 0) <= 0);
		(void)close(fd);
		await(f, &f->closed, ++closed);
	}
	assert_int_equal(f->messages, 1); /* what follows too many bytes is no line */
	fd = connect_to(f);
	say(fd, "{\"t\":\"append\",\"bytes\":9}\nabc");
	(void)close(fd);
	await(f, &f->closed, ++closed);
	assert_int_equal(f->messages, 1);
}

/* Raw parts that are under way on all connections are bounded: what is more is read, told as lost, and
 * what follows is understood. */
static void test_link_raw_in_without_room(void **state)
{
	size_t under_way = PRAAS_LIMIT_RAWS_BYTES - 4;
	static const char text[] = "{\"t\":\"append\",\"bytes\":5}\nabcde"
				   "{\"t\":\"append\",\"bytes\":4}\nwxyz";
	struct praas_link_raw raw;
	struct praas_link_in in;
	json_t *message;
	size_t room;
	void *to;

	(void)state;
	assert_int_equal(praas_link_in_init(&in, &under_way), 0);
	praas_link_in_room(&in, &to, &room);
	assert_true(room >= sizeof(text));
	memcpy(to, text, sizeof(text) - 1);
	praas_link_in_took(&in, sizeof(text) - 1);
	assert_int_equal(praas_link_in_next(&in, &message, &raw), 1);
	json_decref(message);
	assert_null(raw.data);
	assert_int_equal(raw.bytes, 5);
	assert_int_equal(praas_link_in_next(&in, &message, &raw), 1);
	json_decref(message);
	assert_memory_equal(raw.data, "wxyz", 4);
	free(raw.data);
	assert_int_equal(praas_link_in_next(&in, &message, &raw), 0);
	praas_link_in_release(&in);
	assert_int_equal(under_way, PRAAS_LIMIT_RAWS_BYTES - 4);
}

/* The largest answer fits behind lines that are unsent, and comes whole to who reads late; a peer that
 * does not read at all is told apart, and what it had is not cut off in the middle. */
static void test_link_raw_out(void **state)
{
	static const char line[] = "{\"t\":\"queue\"}\n";
	uint8_t *data = pattern(PRAAS_LIMIT_RAW_BYTES),
		*got = malloc(PRAAS_LIMIT_RAW_BYTES);
	json_t *message = json_pack("{s:s}", "t", "queue");
	struct fixture *f = *state;
	uint32_t sent = 0, whole = 0;
	char head[sizeof(line)];
	int fd = connect_to(f);

	assert_non_null(got);
	say(fd, "{\"t\":\"hello\"}\n");
	await(f, &f->messages, 1);
	assert_int_equal(praas_link_send_raw(f->link, f->conn, message, data, 0), 0);
	while (praas_link_send_raw(f->link, f->conn, message, data,
				   PRAAS_LIMIT_RAW_BYTES) == 0)
		assert_true(++sent < 64);
	assert_true(sent >= 1);
	receive_all(fd, head, sizeof(line) - 1);
	assert_memory_equal(head, line, sizeof(line) - 1);
	for (; whole < sent; whole++) {
		receive_all(fd, head, sizeof(line) - 1);
		assert_memory_equal(head, line, sizeof(line) - 1);
		receive_all(fd, got, PRAAS_LIMIT_RAW_BYTES);
		assert_memory_equal(got, data, PRAAS_LIMIT_RAW_BYTES);
	}
	assert_int_equal(praas_link_send(f->link, f->conn, message), 0);
	receive_all(fd, head, sizeof(line) - 1); /* the refused one left nothing */
	assert_memory_equal(head, line, sizeof(line) - 1);
	assert_int_equal(praas_link_send(f->link, f->conn + 1, message), -ENOTCONN);
	json_decref(message);
	(void)close(fd);
	free(data);
	free(got);
}

/* Who takes the name of a link that only stands still has those who connect from then on; the one before takes nothing
 * along when it ends. */
static void test_link_replaced(void **state)
{
	struct fixture *f = *state, other = { .messages = 0 };
	int before = connect_to(f), after;

	(void)pthread_mutex_init(&other.lock, NULL);
	(void)pthread_cond_init(&other.changed, NULL);
	assert_int_equal(praas_link_new(f->path, &events, &other, &other.link),
			 -EADDRINUSE);
	assert_int_equal(praas_link_replace(f->path, &events, &other, &other.link), 0);
	assert_int_equal(praas_link_start(other.link), 0);
	after = connect_to(f);
	say(after, "{\"t\":\"x\"}\n");
	await(&other, &other.messages, 1);
	assert_int_equal(f->messages, 0);
	praas_link_stop(f->link);
	praas_link_free(f->link);
	assert_int_equal(access(f->path, F_OK), 0);
	(void)close(before);
	(void)close(after);
	praas_link_stop(other.link);
	praas_link_free(other.link);
	assert_int_equal(access(f->path, F_OK), -1);
	assert_int_equal(praas_link_new(f->path, &events, f, &f->link), 0);
	for (uint32_t i = 0; i < other.messages; i++)
		free(other.raws[i].data);
	(void)pthread_cond_destroy(&other.changed);
	(void)pthread_mutex_destroy(&other.lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_link_raw_in, setup, teardown),
		cmocka_unit_test_setup_teardown(test_link_raw_in_refused, setup,
						teardown),
		cmocka_unit_test(test_link_raw_in_without_room),
		cmocka_unit_test_setup_teardown(test_link_raw_out, setup, teardown),
		cmocka_unit_test_setup_teardown(test_link_replaced, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
