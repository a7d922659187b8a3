/* SPDX-License-Identifier: Apache-2.0
 *
 * A real praas-controller for tests, without a control service: the test writes the configuration,
 * answers the control link, and issues tickets itself. Header only; everything asserts.
 */
#ifndef PRAAS_TESTS_LIB_CONTROLLER_H
#define PRAAS_TESTS_LIB_CONTROLLER_H

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "transport/ticket.h"

struct controller_options {
	const char *program;   /* praas-controller */
	const char *worker;    /* praas-worker; NULL: beside it */
	const char *code;      /* folder with praas.json */
	const char *isolation; /* NULL: "inline" */
	const char *store;     /* URL; NULL: a folder in dir */
	uint32_t epoch;        /* 0: 1 */
	uint64_t memory_bytes; /* 0: 64 MiB */
	uint32_t concurrency;  /* 0: 1 */
	uint64_t bytes_max;    /* 0: its default */
	const char *listen;    /* one more address; NULL: none */
	const char *wait;      /* NULL: its default */
	uint64_t drain_ms;     /* 0: its default */
	bool prepared;         /* made ready before it is told which process it is */
};

struct controller {
	char dir[64]; /* of this test; kept over several lives */
	pid_t pid;
	int listen_fd, link_fd;
	json_t *join;
	uint32_t epoch;
	char line[65536];
	size_t filled;
	uint64_t requests;
	const char *log; /* path of its stderr */
	char log_path[96];
};

extern char **environ;

static const uint8_t controller_key[PRAAS_KEY_BYTES] = { 0x44, 0x44, 0x44, 0x44 };

static inline void controller_hex(const uint8_t *data, size_t bytes, char *ret_text)
{
	for (size_t i = 0; i < bytes; i++)
		(void)snprintf(ret_text + 2 * i, 3, "%02x", data[i]);
}

/* A folder and the listening end of the link. */
static inline void controller_init(struct controller *c)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	*c = (struct controller){ .link_fd = -1, .pid = -1 };
	(void)strcpy(c->dir, "/tmp/praas-test-XXXXXX");
	assert_non_null(mkdtemp(c->dir));
	(void)snprintf(c->log_path, sizeof(c->log_path), "%s/log", c->dir);
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/link.sock", c->dir);
	c->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(c->listen_fd >= 0);
	assert_int_equal(bind(c->listen_fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(c->listen_fd, 4), 0);
}

static inline json_t *controller_config(const struct controller *c,
					const struct controller_options *o)
{
	char store[96], link[96], shm[96], key[2 * PRAAS_KEY_BYTES + 1];
	json_t *config;

	controller_hex(controller_key, sizeof(controller_key), key);
	(void)snprintf(store, sizeof(store), "file://%s/store", c->dir);
	(void)snprintf(link, sizeof(link), "unix://%s/link.sock", c->dir);
	(void)snprintf(shm, sizeof(shm), "shm://%s/shm.sock", c->dir);
	config = json_pack(
		"{ss ss ss ss ss si si si ss ss ss ss ss s[sss] ss sI si sb sb}",
		"tenant", "11111111111111111111111111111111", "app_id",
		"22222222222222222222222222222222", "controller_id",
		"33333333333333333333333333333333", "app", "test", "process", "p",
		"pid", 7, "generation", 1, "epoch", (int)c->epoch, "controller_key",
		key, "join_token",
		"5555555555555555555555555555555555555555555555555555555555555555",
		"link", link, "store", o->store ? o->store : store, "code", o->code,
		"listen", "tcp://127.0.0.1:0", shm, "tls://127.0.0.1:0", "isolation",
		o->isolation ? o->isolation : "inline", "memory_bytes",
		(json_int_t)(o->memory_bytes ? o->memory_bytes : 64 << 20),
		"concurrency", (int)(o->concurrency ? o->concurrency : 1),
		"allow_weak_sandbox", 1, "fresh", 0);
	assert_non_null(config);
	if (o->listen)
		assert_int_equal(
			json_array_append_new(json_object_get(config, "listen"),
					      json_string(o->listen)),
			0);
	if (o->worker)
		assert_int_equal(
			json_object_set_new(config, "worker", json_string(o->worker)),
			0);
	if (o->bytes_max)
		assert_int_equal(
			json_object_set_new(config, "bytes_max",
					    json_integer((json_int_t)o->bytes_max)),
			0);
	if (o->wait)
		assert_int_equal(
			json_object_set_new(config, "wait", json_string(o->wait)), 0);
	if (o->drain_ms)
		assert_int_equal(
			json_object_set_new(config, "drain_ms",
					    json_integer((json_int_t)o->drain_ms)),
			0);
	return config;
}

/* What of a configuration follows from the application; new text. */
static inline char *controller_shape(const char *text)
{
	static const char *const members[] = {
		"app_id",    "code", "isolation", "memory_bytes",      "concurrency",
		"bytes_max", "wait", "worker",    "allow_weak_sandbox"
	};
	json_t *config = json_loads(text, 0, NULL), *shape = json_object();
	char *out;

	for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++) {
		json_t *value = json_object_get(config, members[i]);

		if (value)
			assert_int_equal(json_object_set(shape, members[i], value), 0);
	}
	assert_int_equal(json_object_set_new(shape, "prepare", json_true()), 0);
	out = json_dumps(shape, JSON_COMPACT);
	assert_non_null(out);
	json_decref(shape);
	json_decref(config);
	return out;
}

/* A pipe with text in it; to_write: its other end, still open. */
static inline int controller_pipe(const char *text, int *to_write)
{
	int fds[2], fd;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	/* Out of the way of the numbers that the child gets. */
	fd = fcntl(fds[0], F_DUPFD_CLOEXEC, 20);
	assert_true(fd >= 0);
	(void)close(fds[0]);
	if (text)
		assert_int_equal(write(fds[1], text, strlen(text)),
				 (ssize_t)strlen(text));
	if (to_write)
		*to_write = fds[1];
	else
		(void)close(fds[1]);
	return fd;
}

/* Starts one that is made ready for shape. Returns where its configuration is to be written. */
static inline int controller_prepare(struct controller *c,
				     const struct controller_options *o,
				     const char *shape)
{
	char *argv[] = {
		(char *)(uintptr_t)o->program, (char *)(uintptr_t) "--config-fd",
		(char *)(uintptr_t) "9",       (char *)(uintptr_t) "--prepare-fd",
		(char *)(uintptr_t) "10",      NULL
	};
	posix_spawn_file_actions_t actions;
	int config_fd = -1, fd = controller_pipe(NULL, &config_fd);
	int shape_fd = controller_pipe(shape, NULL);

	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, fd, 9), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, shape_fd, 10), 0);
	assert_int_equal(posix_spawn_file_actions_addopen(&actions, 2, c->log_path,
							  O_WRONLY | O_CREAT | O_APPEND,
							  0600),
			 0);
	assert_int_equal(
		posix_spawn(&c->pid, o->program, &actions, NULL, argv, environ), 0);
	assert_int_equal(posix_spawn_file_actions_destroy(&actions), 0);
	(void)close(fd);
	(void)close(shape_fd);
	return config_fd;
}

/* One that could not be made ready may have ended before it is told who it is: its exit code tells. */
static inline void controller_identify(int config_fd, const char *text)
{
	void (*before)(int) = signal(SIGPIPE, SIG_IGN);
	ssize_t n = write(config_fd, text, strlen(text));

	assert_true(n == (ssize_t)strlen(text) || (n < 0 && errno == EPIPE));
	(void)signal(SIGPIPE, before);
	(void)close(config_fd);
}

/* Starts it; text is its whole configuration. */
static inline void controller_spawn(struct controller *c,
				    const struct controller_options *o,
				    const char *text)
{
	char *argv[] = { (char *)(uintptr_t)o->program,
			 (char *)(uintptr_t) "--config-fd", (char *)(uintptr_t) "9",
			 NULL };
	posix_spawn_file_actions_t actions;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], text, strlen(text)), (ssize_t)strlen(text));
	(void)close(fds[1]);
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, fds[0], 9), 0);
	assert_int_equal(posix_spawn_file_actions_addopen(&actions, 2, c->log_path,
							  O_WRONLY | O_CREAT | O_APPEND,
							  0600),
			 0);
	assert_int_equal(
		posix_spawn(&c->pid, o->program, &actions, NULL, argv, environ), 0);
	assert_int_equal(posix_spawn_file_actions_destroy(&actions), 0);
	(void)close(fds[0]);
}

/* The next line of the link, or NULL when it ended or nothing came for 10 s. New reference. */
static inline json_t *controller_read(struct controller *c)
{
	for (;;) {
		struct pollfd p = { .fd = c->link_fd, .events = POLLIN };
		char *end = memchr(c->line, '\n', c->filled);
		ssize_t n;

		if (end) {
			size_t bytes = (size_t)(end - c->line) + 1;
			json_t *message = json_loadb(c->line, bytes, 0, NULL);

			c->filled -= bytes;
			memmove(c->line, c->line + bytes, c->filled);
			return message;
		}
		if (poll(&p, 1, 10000) != 1)
			return NULL;
		n = recv(c->link_fd, c->line + c->filled, sizeof(c->line) - c->filled,
			 0);
		if (n <= 0)
			return NULL;
		c->filled += (size_t)n;
	}
}

/* The next line of that type; others are skipped. NULL as above. */
static inline json_t *controller_await(struct controller *c, const char *type)
{
	for (;;) {
		json_t *message = controller_read(c);

		if (!message)
			return NULL;
		if (strcmp(json_string_value(json_object_get(message, "t")), type) == 0)
			return message;
		json_decref(message);
	}
}

static inline void controller_accept(struct controller *c)
{
	struct pollfd p = { .fd = c->listen_fd, .events = POLLIN };

	if (c->link_fd >= 0)
		(void)close(c->link_fd);
	c->filled = 0;
	assert_int_equal(poll(&p, 1, 10000), 1);
	c->link_fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(c->link_fd >= 0);
}

/* Starts it and does not wait for its join. */
static inline void controller_launch(struct controller *c,
				     const struct controller_options *o)
{
	json_t *config;
	char *text;

	c->epoch = o->epoch ? o->epoch : 1;
	config = controller_config(c, o);
	text = json_dumps(config, JSON_COMPACT);
	assert_non_null(text);
	if (o->prepared) {
		char *shape = controller_shape(text);

		controller_identify(controller_prepare(c, o, shape), text);
		free(shape);
	} else {
		controller_spawn(c, o, text);
	}
	json_decref(config);
	free(text);
}

/* Starts it and waits until it serves. */
static inline void controller_start(struct controller *c,
				    const struct controller_options *o)
{
	controller_launch(c, o);
	controller_accept(c);
	json_decref(c->join);
	c->join = controller_await(c, "join");
	assert_non_null(c->join);
	assert_int_equal(send(c->link_fd, "{\"t\":\"ok\"}\n", 11, 0), 11);
}

/* Its exit code, or -signal. */
static inline int controller_wait(struct controller *c)
{
	int status = 0;

	assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
	c->pid = -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static inline int controller_stop(struct controller *c, int signal_number)
{
	assert_int_equal(kill(c->pid, signal_number), 0);
	return controller_wait(c);
}

/* Sends {"t": type, "id": n} and returns the answer. New reference; NULL: none came. */
static inline json_t *controller_request(struct controller *c, const char *type)
{
	char text[96];
	int bytes = snprintf(text, sizeof(text), "{\"t\":\"%s\",\"id\":%llu}\n", type,
			     (unsigned long long)++c->requests);

	assert_int_equal(send(c->link_fd, text, (size_t)bytes, MSG_NOSIGNAL), bytes);
	return controller_await(c, "done");
}

/* Everything that the request must answer: ok, or not with that code. */
static inline void controller_expect(struct controller *c, const char *type,
				     const char *code)
{
	json_t *done = controller_request(c, type);

	assert_non_null(done);
	if (code)
		assert_string_equal(json_string_value(json_object_get(done, "code")),
				    code);
	else
		assert_true(json_is_true(json_object_get(done, "ok")));
	json_decref(done);
}

/* What praas_connect_ticket() takes; malloc'd. transport: "tcp" or "shm", NULL: both. */
static inline char *controller_ticket(const struct controller *c, const char *transport)
{
	static uint64_t source;
	struct praas_ticket t = { .pid = 7,
				  .epoch = c->epoch,
				  .source = (UINT64_C(1) << 63) | ++source,
				  .rights = PRAAS_RIGHT_ALL,
				  .not_before_s = (uint64_t)time(NULL),
				  .expires_s = (uint64_t)time(NULL) + 300 };
	uint8_t wire[PRAAS_TICKET_BYTES], key[PRAAS_KEY_BYTES];
	char wire_hex[2 * PRAAS_TICKET_BYTES + 1], key_hex[2 * PRAAS_KEY_BYTES + 1];
	json_t *endpoints = json_array(), *all = json_object_get(c->join, "endpoints"),
	       *ticket;
	char *text;

	memset(t.tenant, 0x11, sizeof(t.tenant));
	memset(t.app, 0x22, sizeof(t.app));
	memset(t.controller, 0x33, sizeof(t.controller));
	assert_int_equal(praas_ticket_issue(controller_key, &t, wire, key), 0);
	controller_hex(wire, sizeof(wire), wire_hex);
	controller_hex(key, sizeof(key), key_hex);
	for (size_t i = 0; i < json_array_size(all); i++) {
		const char *address = json_string_value(json_array_get(all, i));

		if (!transport || strncmp(address, transport, 3) == 0)
			assert_int_equal(
				json_array_append_new(endpoints, json_string(address)),
				0);
	}
	ticket = json_pack("{ss ss si si so ss ss sI}", "app", "test", "pid", "p",
			   "number", 7, "epoch", (int)c->epoch, "endpoints", endpoints,
			   "ticket", wire_hex, "session_key", key_hex, "expires_s",
			   (json_int_t)t.expires_s);
	assert_non_null(ticket);
	text = json_dumps(ticket, JSON_COMPACT);
	json_decref(ticket);
	return text;
}

/* True when its log has a line with that text. */
static inline bool controller_logged(const struct controller *c, const char *text)
{
	char line[8192];
	bool found = false;
	FILE *f = fopen(c->log_path, "r");

	assert_non_null(f);
	while (!found && fgets(line, sizeof(line), f))
		found = strstr(line, text) != NULL;
	(void)fclose(f);
	return found;
}

static inline void controller_release(struct controller *c)
{
	char command[96];

	if (c->pid > 0)
		(void)controller_stop(c, SIGKILL);
	if (c->link_fd >= 0)
		(void)close(c->link_fd);
	(void)close(c->listen_fd);
	json_decref(c->join);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", c->dir);
	assert_int_equal(system(command), 0);
}

#endif
