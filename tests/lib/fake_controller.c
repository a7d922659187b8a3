/* SPDX-License-Identifier: Apache-2.0
 *
 * A controller that only speaks docs/control-link.md, well or badly: the process's name says how.
 *
 *   refuse…   leaves with code 2          fail…    says why, leaves with code 5
 *   hang…     never joins                 die…     is gone while joining
 *   token…    joins with a wrong token    babble…  sends what is not JSON
 *   fenced…   leaves with code 3 unless its epoch is above 4
 *   stuck…    swaps out never             full…    cannot swap out, says so
 *   linger…   ends 1 s after its swap-out
 *   silent…   commits its release in the slot log and is killed before it can tell
 *   slow…     swaps out for ever, until that is called off
 *   stays…    does not move, says so      gone…    is to take a process over, and ends
 *   puppet…   says what a test says, and tells it what it hears: each connection to CODE/NAME-EPOCH.sock
 *             gets the configuration in a line, then is a connection of the link. It ends when that does
 *   others    serve until told otherwise; their snapshots are of nothing
 *
 * A pid file next to its log is not needed: every start adds a line to CODE/starts.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <jansson.h>

#include "controller/store/refs.h"

static json_t *config;
static volatile sig_atomic_t terminated;

static const char *text(const char *name)
{
	const char *value = json_string_value(json_object_get(config, name));

	return value ? value : "";
}

static json_int_t number(const char *name)
{
	return json_integer_value(json_object_get(config, name));
}

static int acts(const char *how)
{
	return strncmp(text("process"), how, strlen(how)) == 0;
}

static void on_term(int signal_number)
{
	(void)signal_number;
	terminated = 1;
}

static void note_start(void)
{
	char path[2048], line[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/starts", text("code"));
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	(void)snprintf(line, sizeof(line), "%s %lld %d\n", text("process"),
		       number("epoch"), (int)getpid());
	(void)!write(fd, line, strlen(line));
	(void)close(fd);
}

static int connect_link(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s",
		       text("link") + strlen("unix://"));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static void say(int fd, json_t *message)
{
	char *line = json_dumps(message, JSON_COMPACT);

	if (line && send(fd, line, strlen(line), MSG_NOSIGNAL) > 0)
		(void)send(fd, "\n", 1, MSG_NOSIGNAL);
	free(line);
	json_decref(message);
}

static struct praas_store *open_log(struct praas_slot_log *ret_log)
{
	struct praas_slot_id id = { .pid = (uint64_t)number("pid"),
				    .generation = (uint64_t)number("generation") };
	struct praas_store *store;

	for (unsigned i = 0; i < sizeof(id.tenant); i++) {
		char byte[3] = { text("tenant")[2 * i], text("tenant")[2 * i + 1] };

		id.tenant[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
	if (praas_store_open(text("store"), &store) != 0 ||
	    praas_slot_log_open(store, &id, ret_log) != 0)
		abort();
	return store;
}

/* A manifest of nothing. */
static void make_body(struct praas_slot_entry *entry)
{
	uint8_t *body = entry->body;

	memcpy(body, "PRASMAN1\1", 9);
	body[16] = PRAAS_SNAPSHOT_HEAD_BYTES + PRAAS_SNAPSHOT_HASH_BYTES;
	praas_snapshot_hash(body, PRAAS_SNAPSHOT_HEAD_BYTES,
			    body + PRAAS_SNAPSHOT_HEAD_BYTES);
	entry->body_bytes = PRAAS_SNAPSHOT_HEAD_BYTES + PRAAS_SNAPSHOT_HASH_BYTES;
}

/* Whoever says that something is committed has it in the store. Returns its slot. */
static json_int_t commit(enum praas_slot_kind kind)
{
	struct praas_slot_entry *entry = calloc(1, sizeof(*entry));
	struct praas_slot_log log;
	struct praas_store *store = open_log(&log);
	json_int_t slot;

	if (!entry)
		abort();
	entry->epoch = (uint32_t)number("epoch");
	entry->kind = (uint8_t)kind;
	if (kind != PRAAS_SLOT_ACT)
		make_body(entry);
	(void)praas_slot_log_put(&log, entry); /* it may be late */
	slot = (json_int_t)entry->slot;
	praas_store_free(store);
	free(entry);
	return slot;
}

static void metrics(int fd)
{
	say(fd, json_pack("{s:s,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i}", "t", "metrics",
			  "seq", 1, "invocations", 3, "running", 0, "queued", 0,
			  "mailbox_depth", 0, "state_keys", 2, "state_bytes", 10,
			  "idle_ns", 5, "cpu_ns", 7));
}

static void join(int fd)
{
	const char *wrong = "00000000000000000000000000000000"
			    "00000000000000000000000000000000";

	(void)commit(PRAAS_SLOT_ACT); /* nothing happens when it joins again */
	say(fd,
	    json_pack("{s:s,s:s,s:I,s:I,s:s,s:[s,s],s:i,s:s,s:[s],s:s}", "t", "join",
		      "token", acts("token") ? wrong : text("join_token"), "pid",
		      number("pid"), "epoch", number("epoch"), "controller",
		      text("controller_id"), "endpoints", "shm:///nowhere/fake.sock",
		      "tcp://127.0.0.1:9", "os_pid", (int)getpid(), "executor",
		      "worker", "sandbox", "none", "state", "ACTIVE"));
	metrics(fd);
}

static void swapped(int fd)
{
	metrics(fd);
	say(fd, json_pack("{s:s,s:I,s:I,s:i}", "t", "swapped", "epoch", number("epoch"),
			  "slot", commit(PRAAS_SLOT_REL), "bytes", 0));
	if (acts("linger"))
		(void)sleep(1);
	exit(0);
}

static void released(void)
{
	(void)commit(PRAAS_SLOT_REL);
	(void)raise(SIGKILL);
}

static void answer(int fd, json_int_t id, int ok)
{
	if (ok)
		say(fd, json_pack("{s:s,s:I,s:b,s:I}", "t", "done", "id", id, "ok", 1,
				  "slot", commit(PRAAS_SLOT_SNAP)));
	else
		say(fd, json_pack("{s:s,s:I,s:b,s:s,s:s}", "t", "done", "id", id, "ok",
				  0, "code", "ENOSPC", "message", "the store is full"));
}

static int meet(const char *at, int serve)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), other = -1;

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", at);
	for (int i = 0; !serve && i < 500; i++) {
		if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
			return fd;
		(void)poll(NULL, 0, 10);
	}
	if (serve && bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 &&
	    listen(fd, 1) == 0 &&
	    poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 1000) == 1)
		other = accept(fd, NULL, NULL);
	(void)close(fd);
	(void)unlink(at);
	return other;
}

/* All that there is to hand over is the token. */
static void hand_over(int fd, json_int_t id, json_t *message)
{
	int to = meet(json_string_value(json_object_get(message, "at")), 1);
	char taken = 0;

	if (to < 0 || send(to, text("join_token"), 64, MSG_NOSIGNAL) != 64 ||
	    recv(to, &taken, 1, 0) != 1) {
		(void)commit(PRAAS_SLOT_KEEP);
		answer(fd, id, 0);
		return;
	}
	metrics(fd);
	say(fd, json_pack("{s:s,s:O,s:i,s:i}", "t", "moved", "epoch",
			  json_object_get(message, "epoch"), "pause_ns", 5000000,
			  "bytes", 0));
	say(fd,
	    json_pack("{s:s,s:I,s:b,s:i}", "t", "done", "id", id, "ok", 1, "slot", 0));
	exit(0);
}

static void take_over(void)
{
	json_t *move = json_object_get(config, "move");
	char token[65] = "";
	int from;

	if (acts("gone"))
		exit(5);
	from = meet(json_string_value(json_object_get(move, "at")), 0);
	if (from < 0 || recv(from, token, 64, MSG_WAITALL) != 64)
		exit(5);
	(void)json_object_set_new(config, "join_token", json_string(token));
	(void)commit(PRAAS_SLOT_ACT);
	(void)send(from, "1", 1, MSG_NOSIGNAL);
	(void)recv(from, token, 1, 0); /* until it has ended */
	(void)close(from);
}

static void obey(int fd, const char *line)
{
	static json_int_t asked; /* number of a swap-out that is under way */
	json_t *message = json_loads(line, 0, NULL);
	const char *type = json_string_value(json_object_get(message, "t"));
	json_int_t id = json_integer_value(json_object_get(message, "id"));

	if (!type)
		return;
	if (!strcmp(type, "refused"))
		exit(1);
	if (!strcmp(type, "swap-out") && acts("silent"))
		released();
	if (!strcmp(type, "swap-out") && acts("slow"))
		asked = id;
	else if (!strcmp(type, "cancel-swap-out") && asked) {
		say(fd,
		    json_pack("{s:s,s:I,s:b,s:s,s:s}", "t", "done", "id", asked, "ok",
			      0, "code", "CANCELLED", "message", "called off"));
		asked = 0;
	} else if (!strcmp(type, "swap-out") && acts("full"))
		answer(fd, id, 0);
	else if (!strcmp(type, "swap-out") && !acts("stuck"))
		swapped(fd);
	else if (!strcmp(type, "move") && acts("stays"))
		answer(fd, id, 0);
	else if (!strcmp(type, "move"))
		hand_over(fd, id, message);
	else if (!strcmp(type, "checkpoint"))
		answer(fd, id, !acts("full"));
	else if (!strcmp(type, "kill"))
		exit(0);
	json_decref(message);
}

/* Until the link breaks. */
static void serve(int fd)
{
	static char in[65536];
	size_t have = 0;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		char *end;
		ssize_t n;

		if (terminated)
			swapped(fd);
		if (poll(&p, 1, 100) <= 0)
			continue;
		n = recv(fd, in + have, sizeof(in) - have - 1, 0);
		if (n <= 0)
			return;
		have += (size_t)n;
		in[have] = 0;
		while ((end = strchr(in, '\n'))) {
			*end = 0;
			obey(fd, in);
			have -= (size_t)(end + 1 - in);
			memmove(in, end + 1, have + 1);
		}
	}
}

static void misbehave(int fd)
{
	if (acts("refuse"))
		exit(2);
	if (acts("fenced") && number("epoch") <= 4)
		exit(3);
	if (acts("hang"))
		(void)pause();
	if (acts("die")) {
		(void)send(fd, "{\"t\":\"jo", 8, MSG_NOSIGNAL);
		abort();
	}
	if (acts("babble"))
		(void)send(fd, "this is not JSON\n", 17, MSG_NOSIGNAL);
	if (acts("fail")) {
		say(fd, json_pack("{s:s,s:s,s:s,s:s}", "t", "failed", "token",
				  text("join_token"), "code", "LIBRARY", "message",
				  "libnothing.so: not found"));
		exit(5);
	}
}

/* What one has to say goes to the other. 0: it has ended. */
static int pass(int from, int to)
{
	static char data[65536];
	ssize_t n = recv(from, data, sizeof(data), 0), sent = 0;

	while (n > 0 && sent < n) {
		ssize_t more = send(to, data + sent, (size_t)(n - sent), MSG_NOSIGNAL);

		if (more <= 0)
			return 0;
		sent += more;
	}
	return n > 0;
}

static void pump(int test)
{
	struct pollfd p[2] = { { .fd = connect_link(), .events = POLLIN },
			       { .fd = test, .events = POLLIN } };

	say(test, json_incref(config));
	while (p[0].fd >= 0 && !terminated) {
		if (poll(p, 2, -1) <= 0)
			continue;
		if ((p[0].revents && !pass(p[0].fd, test)) ||
		    (p[1].revents && !pass(test, p[0].fd)))
			break;
	}
	(void)close(p[0].fd);
	(void)close(test);
}

static int be_puppet(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)commit(PRAAS_SLOT_ACT); /* there is something in its store */
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s-%lld.sock",
		       text("code"), text("process"), number("epoch"));
	(void)unlink(addr.sun_path); /* of one of its name that was deleted */
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 8))
		return 5;
	while (!terminated) {
		int test = accept(fd, NULL, NULL);

		if (test >= 0)
			pump(test);
	}
	return 0;
}

int main(int argc, char **argv)
{
	int fd;

	if ((argc != 3 && argc != 5) || strcmp(argv[1], "--config-fd") != 0)
		return 2;
	if (argc == 5) { /* nothing to make ready, but that it is understood */
		json_t *shape =
			json_loadfd(atoi(argv[4]), JSON_REJECT_DUPLICATES, NULL);

		if (!json_is_true(json_object_get(shape, "prepare")))
			return 2;
		json_decref(shape);
	}
	config = json_loadfd(atoi(argv[2]), JSON_REJECT_DUPLICATES, NULL);
	if (!config)
		return 2;
	(void)sigaction(SIGTERM, &(struct sigaction){ .sa_handler = on_term }, NULL);
	note_start();
	if (acts("puppet"))
		return be_puppet();
	if (json_object_get(config, "move"))
		take_over();
	for (;;) {
		fd = connect_link();
		if (fd >= 0) {
			misbehave(fd);
			join(fd);
			serve(fd);
			(void)close(fd);
		}
		(void)poll(NULL, 0, 50); /* back-off */
		if (terminated)
			return 0;
	}
}
