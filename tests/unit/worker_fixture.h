/* SPDX-License-Identifier: Apache-2.0
 *
 * A process whose functions run in real workers; spawner and process share the test's thread.
 */
#ifndef PRAAS_TESTS_WORKER_FIXTURE_H
#define PRAAS_TESTS_WORKER_FIXTURE_H

#include <sched.h>
#include <stdio.h>

#include "unit/dataplane_fixture.h"

#include "controller/spawn.h"
#include "dataplane/worker_executor.h"

struct worker_fixture {
	struct fixture f;
	struct praas_spawner *spawner;
	struct praas_executor *ex;
	struct fake_conn *conn;
	struct praas_function functions[40];
	uint32_t count;
	uint64_t ids;
	char logged[256];
	uint8_t logged_trace; /* its first byte */
};

static inline void wf_on_log(void *user, const struct praas_function_log *line)
{
	struct worker_fixture *w = user;

	(void)snprintf(w->logged, sizeof(w->logged), "%s/%d/%s",
		       line->function ? line->function : "", line->level, line->text);
	w->logged_trace = line->trace ? line->trace[0] : 0;
}

static inline void wf_turn(struct worker_fixture *w)
{
	(void)praas_process_poll(w->f.p, 256);
	praas_spawner_poll(w->spawner);
	(void)sched_yield();
}

static inline bool wf_ready_for(struct worker_fixture *w, char *text)
{
	uint64_t end = praas_now_ns() + 20000000000u;

	while (praas_now_ns() < end) {
		int rc = praas_worker_executor_ready(w->ex, text);

		if (rc != 0)
			return rc == 1;
		wf_turn(w);
	}
	return false;
}

struct wf_options {
	const char *library;
	const char *const *names;
	uint32_t count;
	uint32_t workers;
	uint64_t memory_bytes, arena_bytes, bytes_max, pool_bytes, big_bytes_max,
		ahead_short_ns;
	uint32_t concurrency;
	bool allow_weak;
};

/* Begins; false and why when the workers do not get ready. */
static inline bool wf_init(struct worker_fixture *w, const struct wf_options *o,
			   char *text)
{
	struct praas_spawner_config spawn = { .program = PRAAS_TEST_WORKER,
					      .code = PRAAS_TEST_CODE,
					      .memory_bytes = o->memory_bytes,
					      .allow_weak = o->allow_weak };
	struct praas_worker_executor_config config = {
		.pid = FIXTURE_PID,
		.epoch = FIXTURE_EPOCH,
		.workers = o->workers ? o->workers : 1,
		.arena_bytes = o->arena_bytes,
		.bytes_max = o->bytes_max,
		.big_bytes_max = o->big_bytes_max,
		.ahead_short_ns = o->ahead_short_ns,
		.host = praas_spawner_host()
	};
	struct praas_process_config process;

	memset(w, 0, sizeof(*w));
	fixture_init(&w->f, o->pool_bytes ? o->pool_bytes : 64u << 20);
	for (uint32_t i = 0; i < o->count; i++) {
		struct praas_function *f = &w->functions[w->count++];

		(void)snprintf(f->name, sizeof(f->name), "%s", o->names[i]);
		(void)snprintf(f->symbol, sizeof(f->symbol), "%s", o->names[i]);
		(void)snprintf(f->library, sizeof(f->library), "%s", o->library);
		f->concurrency = o->concurrency;
	}
	assert_int_equal(praas_spawner_new(&spawn, &w->spawner), 0);
	config.functions = w->functions;
	config.functions_count = w->count;
	config.pool_segment = &w->f.segment;
	config.memory = &w->f.memory;
	config.host_user = w->spawner;
	assert_int_equal(praas_worker_executor_new(&config, &w->ex), 0);
	praas_spawner_event_fd_set(w->spawner, praas_worker_executor_event_fd(w->ex));
	process = fixture_config(&w->f, w->functions, w->count);
	process.executor = w->ex;
	process.state_keys_max = 1024;
	process.state_bytes_max = 16 << 20;
	process.mailbox_bytes_max = 4 << 20;
	process.messages_max = 1024;
	if (o->bytes_max)
		process.bytes_max = o->bytes_max;
	fixture_start(&w->f, &process);
	praas_process_log_set(w->f.p, wf_on_log, w);
	w->conn = fake_conn_new(&w->f, 5);
	w->conn->base.bytes_max = process.bytes_max;
	return wf_ready_for(w, text);
}

static inline void wf_release(struct worker_fixture *w)
{
	fake_conn_free(w->conn);
	fixture_release(&w->f);
	praas_spawner_free(w->spawner);
}

static inline uint16_t wf_function(const struct worker_fixture *w, const char *name)
{
	for (uint16_t i = 0; i < w->count; i++)
		if (strcmp(w->functions[i].name, name) == 0)
			return i;
	fail_msg("no function %s", name);
	return 0;
}

/* Asks; the answer comes to w->conn. */
static inline uint64_t wf_submit(struct worker_fixture *w, const char *name,
				 const void *data, uint64_t bytes, uint64_t timeout_ns)
{
	const struct praas_frame head = {
		.kind = PRAAS_FRAME_INVOKE,
		.function = wf_function(w, name),
		.id = ++w->ids,
		.deadline_ns = timeout_ns ? praas_now_ns() + timeout_ns : 0
	};

	fake_frame(w->conn, &head, "", data, bytes);
	return w->ids;
}

/* The next answer, within 10 s. */
static inline struct praas_buf *wf_answer(struct worker_fixture *w)
{
	uint64_t end = praas_now_ns() + 10000000000u;

	while (!fake_has(w->conn) && praas_now_ns() < end)
		wf_turn(w);
	return fake_take(w->conn);
}

static inline struct praas_buf *wf_call(struct worker_fixture *w, const char *name,
					const void *data, uint64_t bytes)
{
	(void)wf_submit(w, name, data, bytes, 0);
	return wf_answer(w);
}

/* The number that a function gives; fails on any other status than 0. */
static inline uint64_t wf_number(struct worker_fixture *w, const char *name)
{
	struct praas_buf *buf = wf_call(w, name, NULL, 0);
	uint64_t n = 0;

	if (buf->head.status != 0)
		fail_msg("%s: status %d: %s", name, buf->head.status,
			 buf->head.bytes ? (const char *)buf->data : "");
	assert_int_equal(buf->head.bytes, sizeof(n));
	memcpy(&n, buf->data, sizeof(n));
	praas_buf_release(buf);
	return n;
}

static inline void wf_expect(struct worker_fixture *w, const char *name, int32_t status,
			     const char *text_part)
{
	struct praas_buf *buf = wf_call(w, name, NULL, 0);

	if (buf->head.status != status)
		fail_msg("%s: status %d: %s", name, buf->head.status,
			 buf->head.bytes ? (const char *)buf->data : "");
	if (text_part &&
	    (!buf->head.bytes || !strstr((const char *)buf->data, text_part)))
		fail_msg("%s: \"%s\" lacks \"%s\"", name,
			 buf->head.bytes ? (const char *)buf->data : "", text_part);
	praas_buf_release(buf);
}

static inline void wf_wait_ready(struct worker_fixture *w)
{
	char text[PRAAS_ERROR_TEXT_MAX] = "";
	uint64_t end = praas_now_ns() + 10000000000u;

	while (praas_worker_executor_ready(w->ex, text) != 1 && praas_now_ns() < end)
		wf_turn(w);
	assert_int_equal(praas_worker_executor_ready(w->ex, text), 1);
}

#endif
