/* SPDX-License-Identifier: Apache-2.0
 *
 * A process with the executor under test, its functions, and one client's connection to it.
 */
#ifndef PRAAS_TESTS_EXECUTOR_TABLE_H
#define PRAAS_TESTS_EXECUTOR_TABLE_H

#include "conformance/executor/suite.h"

#include <sched.h>

#define PATIENCE_NS 10000000000ull

enum { GATHER = 14, MAP = 19 }; /* places in the list */

static struct praas_function functions[] = {
	{ .name = "noop", .symbol = "noop" },
	{ .name = "echo", .symbol = "echo" },
	{ .name = "echo_view", .symbol = "echo_view" },
	{ .name = "view_then", .symbol = "view_then" },
	{ .name = "fail", .symbol = "fail" },
	{ .name = "negative", .symbol = "negative" },
	{ .name = "resize", .symbol = "resize" },
	{ .name = "too_large", .symbol = "too_large" },
	{ .name = "info", .symbol = "info" },
	{ .name = "call", .symbol = "call" },
	{ .name = "deep", .symbol = "deep" },
	{ .name = "forks", .symbol = "forks" },
	{ .name = "input_bounds", .symbol = "input_bounds" },
	{ .name = "script", .symbol = "script" },
	{ .name = "gather",
	  .symbol = "gather",
	  .trigger = PRAAS_TRIGGER_MULTI_SOURCE,
	  .trigger_count = 3 },
	{ .name = "serial", .symbol = "script", .concurrency = PRAAS_SERIAL },
	{ .name = "per_key", .symbol = "script", .concurrency = PRAAS_SERIAL_PER_KEY },
	{ .name = "batch",
	  .symbol = "gather",
	  .trigger = PRAAS_TRIGGER_BATCH,
	  .trigger_count = 3,
	  .trigger_timeout_ns = 20000000 },
	{ .name = "senders",
	  .symbol = "senders",
	  .trigger = PRAAS_TRIGGER_BATCH,
	  .trigger_count = 2 },
	{ .name = "map", .symbol = "echo_view", .then = GATHER + 1 },
	{ .name = "twice", .symbol = "echo", .then = MAP + 1 },
	{ .name = "broken", .symbol = "fail", .then = MAP + 1 },
};
#define FUNCTIONS (sizeof(functions) / sizeof(functions[0]))

static const struct executor_case *under_test;

struct table {
	struct fixture f;
	struct fake_conn *c;
	uint64_t id;
};

static int setup(void **state)
{
	struct table *t = calloc(1, sizeof(*t));
	struct praas_process_config config;
	struct praas_member_info members[2] = {
		{ .pid = 4711,
		  .state = PRAAS_MEMBER_SWAPPED,
		  .epoch = 3,
		  .name = "other" },
		{ .pid = 12, .state = PRAAS_MEMBER_ACTIVE, .epoch = 1, .name = "first" }
	};
	struct praas_members *list;
	int rc;

	fixture_init(&t->f, 16 << 20);
	for (size_t i = 0; i < FUNCTIONS; i++)
		strcpy(functions[i].library, PRAAS_TEST_FUNCTIONS);
	config = fixture_config(&t->f, functions, FUNCTIONS);
	config.state_keys_max = 1024;
	config.state_bytes_max = 1 << 20;
	config.mailbox_bytes_max = 1 << 20;
	config.messages_max = 100;
	rc = under_test->make(&t->f, functions, FUNCTIONS, &config);
	if (rc == 77)
		exit(77);
	assert_int_equal(rc, 0);
	fixture_start(&t->f, &config);
	assert_int_equal(praas_members_apply(NULL, members, 2, 7, &list), 0);
	praas_process_members_give(t->f.p, list);
	if (under_test->started)
		under_test->started(&t->f);
	t->c = fake_conn_new(&t->f, 1);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct table *t = *state;

	fake_conn_free(t->c);
	fixture_release(&t->f);
	free(t);
	return 0;
}

static uint16_t number(const char *name)
{
	for (uint16_t i = 0; i < FUNCTIONS; i++)
		if (strcmp(functions[i].name, name) == 0)
			return i;
	fail_msg("no function %s", name);
	return 0;
}

static uint64_t submit(struct table *t, const char *function, const char *key,
		       const void *data, uint64_t bytes)
{
	struct praas_frame head = { .kind = PRAAS_FRAME_INVOKE,
				    .function = number(function),
				    .id = ++t->id,
				    .epoch = FIXTURE_EPOCH };

	fake_frame(t->c, &head, key, data, bytes);
	return head.id;
}

static void turn(struct table *t)
{
	(void)praas_process_poll(t->f.p, 64);
	if (under_test->turn)
		under_test->turn(&t->f);
}

/* The next answer; turns go to the process until it is there. */
static struct praas_buf *answer(struct table *t)
{
	uint64_t end = praas_now_ns() + PATIENCE_NS;

	while (!fake_has(t->c) && praas_now_ns() < end) {
		turn(t);
		(void)sched_yield();
	}
	return fake_take(t->c);
}

static void expect(struct table *t, uint64_t id, int32_t status, const void *data,
		   uint64_t bytes)
{
	struct praas_buf *buf = answer(t);

	assert_int_equal(buf->head.kind, PRAAS_FRAME_RESULT);
	assert_int_equal(buf->head.id, id);
	assert_int_equal(buf->head.status, status);
	assert_int_equal(buf->head.bytes, bytes);
	if (bytes)
		assert_memory_equal(buf->data, data, bytes);
	praas_buf_release(buf);
}

/* Runs a script; its output must be this. */
static void run(struct table *t, const char *script, const char *output)
{
	uint64_t id = submit(t, "script", NULL, script, strlen(script));
	struct praas_buf *buf = answer(t);

	assert_int_equal(buf->head.id, id);
	assert_int_equal(buf->head.status, 0);
	if (buf->head.bytes != strlen(output) ||
	    memcmp(buf->data, output, strlen(output)) != 0)
		fail_msg("script:\n%s\nshould say:\n%s\nsaid:\n%.*s", script, output,
			 (int)buf->head.bytes, (const char *)buf->data);
	praas_buf_release(buf);
}

static void run_status(struct table *t, const char *script, int32_t status)
{
	uint64_t id = submit(t, "script", NULL, script, strlen(script));
	struct praas_buf *buf = answer(t);

	assert_int_equal(buf->head.id, id);
	assert_int_equal(buf->head.status, status);
	praas_buf_release(buf);
}

#endif
