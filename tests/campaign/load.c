/* SPDX-License-Identifier: Apache-2.0
 *
 * Clients under which things die: each a thread with a connection of its own, one request after the other. What
 * was asked and what came of it is written as lines that tests/campaign/campaign.py judges.
 *
 * usage: load CONTROL_URL TOKEN APP/PROCESS/TRANSPORT[/MS]…   until a byte or the end comes on standard input
 * MS: pause between requests, 5. TRANSPORT: direct (shm past the controller), auto, tcp, shm, …; - in place of one: it is another program's. Lines, times in ns of CLOCK_MONOTONIC:
 *   call CLIENT ID TRY BEGUN ENDED RC STATUS EPOCH       ids of a client are 1, 2, 3 …
 *   open CLIENT BEGUN ENDED RC                           a connection; lost CLIENT EPOCH: it was told so
 *   send|recv|put|get CLIENT NUMBER BEGUN ENDED RC       number sent, received, written, read
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <praas/client.h>

#define CALL_NS 2000000000ull
#define CLIENTS_MAX 32
#define PAUSE_MS 5

struct client {
	pthread_t thread;
	unsigned index;
	const char *url, *token;
	char app[64], process[64], transport[16];
	struct praas_control *control;
	praas_connection *conn;
	uint32_t append;
	unsigned pause_ms;
	uint64_t number; /* of messages and values */
};

static _Atomic bool over;

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void pause_ns(long ns)
{
	struct timespec pause = { .tv_nsec = ns };

	(void)nanosleep(&pause, NULL);
}

static bool is_over(void)
{
	return atomic_load_explicit(&over, memory_order_relaxed);
}

static void take_events(struct client *c)
{
	struct praas_event event;

	while (c->conn && praas_event_poll(c->conn, &event) == 0)
		if (event.kind == PRAAS_EVENT_EPOCH_LOST)
			(void)printf("lost %u %u\n", c->index, event.epoch);
}

static void drop(struct client *c)
{
	praas_close(c->conn);
	c->conn = NULL;
}

/* Connects, until it does or all is over. */
static bool connected(struct client *c)
{
	struct praas_connect_config config = {
		.transport = strcmp(c->transport, "direct") == 0 ? "shm" : c->transport,
		.wait = PRAAS_WAIT_BLOCK,
		.no_direct = strcmp(c->transport, "direct") != 0,
	};

	while (!c->conn && !is_over()) {
		uint64_t begun = now_ns();
		int rc = praas_connect(c->control, c->app, c->process, &config,
				       &c->conn);

		if (rc == 0)
			rc = praas_function_lookup(c->conn, "append", &c->append);
		(void)printf("open %u %" PRIu64 " %" PRIu64 " %d\n", c->index, begun,
			     now_ns(), rc);
		if (rc != 0) {
			drop(c);
			pause_ns(5000000);
		}
	}
	take_events(c);
	return c->conn != NULL;
}

static bool may_try_again(int status)
{
	return status == PRAAS_UNKNOWN || status == PRAAS_DRAINING ||
	       status == PRAAS_MOVED || status == PRAAS_OVERLOADED ||
	       status == PRAAS_INTERRUPTED || status == PRAAS_DEADLINE;
}

/* One try. True: it need not be tried again, because it is known what came of it. */
static bool try_call(struct client *c, uint64_t id, unsigned try)
{
	char key[16];
	struct praas_call call = { .function = c->append,
				   .data = &id,
				   .bytes = sizeof(id),
				   .key = key,
				   .timeout_ns = CALL_NS,
				   .id = id };
	uint64_t epoch = 0, begun = now_ns();
	struct praas_result result = { 0 };
	int rc;

	(void)snprintf(key, sizeof(key), "log/%u", c->index);
	rc = praas_call(c->conn, &call, &result);
	if (rc == 0 && result.status == 0 && result.view.bytes == sizeof(epoch))
		memcpy(&epoch, result.view.data, sizeof(epoch));
	(void)printf("call %u %" PRIu64 " %u %" PRIu64 " %" PRIu64 " %d %d %" PRIu64
		     "\n",
		     c->index, id, try, begun, now_ns(), rc, result.status, epoch);
	if (rc == 0 && result.status == PRAAS_UNKNOWN)
		(void)fprintf(stderr, "client %u, call %" PRIu64 ": %s\n", c->index, id,
			      (const char *)result.view.data);
	if (rc == 0)
		praas_result_release(c->conn, &result);
	take_events(c);
	if (rc != 0 || result.status == PRAAS_UNKNOWN ||
	    result.status == PRAAS_DRAINING || result.status == PRAAS_MOVED)
		drop(c);
	/* Past the controller nobody remembers ids: not to be repeated when it may have run. */
	if (strcmp(c->transport, "direct") == 0 &&
	    (rc != 0 || result.status == PRAAS_UNKNOWN ||
	     result.status == PRAAS_DEADLINE))
		return true;
	/* A process remembers that a call met its deadline, and says so for ever: it is not asked a third time. */
	if (rc == 0 && result.status == PRAAS_DEADLINE && try > 0)
		return true;
	return rc == 0 && !may_try_again(result.status);
}

static void note(const struct client *c, const char *what, uint64_t number,
		 uint64_t begun, int rc)
{
	(void)printf("%s %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %d\n", what, c->index,
		     number, begun, now_ns(), rc);
}

static uint64_t number_of(void *data, size_t bytes)
{
	uint64_t number = 0;

	if (data && bytes == sizeof(number))
		memcpy(&number, data, sizeof(number));
	free(data);
	return number;
}

/* A message to oneself and a value, and both back. */
static void message_and_state(struct client *c)
{
	uint64_t number = ++c->number, begun = now_ns();
	praas_pid_t source;
	size_t bytes = 0;
	char key[16];
	void *data = NULL;
	int rc;

	(void)snprintf(key, sizeof(key), "m/%u", c->index);
	rc = praas_msg_send(c->conn, key, &number, sizeof(number));
	note(c, "send", number, begun, rc);
	begun = now_ns();
	if (rc == 0)
		rc = praas_msg_recv(c->conn, key, (int64_t)CALL_NS, &data, &bytes,
				    &source);
	note(c, "recv", rc == 0 ? number_of(data, bytes) : 0, begun, rc);
	begun = now_ns();
	if (rc == 0)
		rc = praas_state_write(c->conn, key, &number, sizeof(number));
	note(c, "put", number, begun, rc);
	begun = now_ns();
	if (rc == 0)
		rc = praas_state_read(c->conn, key, &data, &bytes, NULL);
	note(c, "get", rc == 0 ? number_of(data, bytes) : 0, begun, rc);
	if (rc != 0 && rc != -EAGAIN)
		drop(c);
}

static void *client_body(void *user)
{
	struct client *c = user;

	for (uint64_t id = 1; !is_over(); id++) {
		bool done = false;

		for (unsigned try = 0; !done && connected(c); try++) {
			done = try_call(c, id, try);
			if (!done)
				pause_ns(2000000);
		}
		if (id % 8 == 0 && connected(c))
			message_and_state(c);
		pause_ns(1000000l * c->pause_ms);
	}
	drop(c);
	praas_control_close(c->control);
	return NULL;
}

static bool parse(const char *text, struct client *c)
{
	c->pause_ms = PAUSE_MS;
	return sscanf(text, "%63[^/]/%63[^/]/%15[^/]/%3u", c->app, c->process,
		      c->transport, &c->pause_ms) >= 3;
}

int main(int argc, char **argv)
{
	static struct client clients[CLIENTS_MAX];
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	unsigned count = 0;

	if (argc < 4 || argc > 3 + CLIENTS_MAX)
		return 2;
	(void)setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	for (int i = 3; i < argc; i++) {
		struct client *c = &clients[count];

		if (strcmp(argv[i], "-") == 0)
			continue;
		count++;
		c->index = (unsigned)i - 3;
		if (!parse(argv[i], c) ||
		    praas_control_open(argv[1], argv[2], &c->control) != 0 ||
		    pthread_create(&c->thread, NULL, client_body, c) != 0)
			return 2;
	}
	(void)poll(&in, 1, -1);
	atomic_store_explicit(&over, true, memory_order_relaxed);
	for (unsigned i = 0; i < count; i++)
		(void)pthread_join(clients[i].thread, NULL);
	return fflush(stdout) == 0 ? 0 : 1;
}
