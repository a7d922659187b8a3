/* SPDX-License-Identifier: Apache-2.0
 *
 * A process with an executor in the test's hands, and one client's connection to it.
 */
#ifndef PRAAS_TESTS_PROCESS_FIXTURE_H
#define PRAAS_TESTS_PROCESS_FIXTURE_H

#include "unit/dataplane_fixture.h"

#include "dataplane/process_private.h"

struct manual {
	struct praas_executor base;
	struct praas_invocation *running[64];
	unsigned count, capacity, cancels;
};

static inline struct manual *of(struct praas_executor *ex)
{
	return (struct manual *)(void *)ex;
}
static int manual_start(struct praas_executor *ex, struct praas_invocation *inv)
{
	if (of(ex)->count >= of(ex)->capacity)
		return -EAGAIN;
	of(ex)->running[of(ex)->count++] = inv;
	return 0;
}
static unsigned manual_capacity(const struct praas_executor *ex)
{
	const struct manual *m = (const struct manual *)(const void *)ex;

	return m->capacity - m->count;
}
static void manual_cancel(struct praas_executor *ex, struct praas_invocation *inv)
{
	assert_true(inv->cancelled);
	of(ex)->cancels++;
}
static unsigned manual_poll(struct praas_executor *ex, unsigned budget)
{
	(void)ex;
	(void)budget;
	return 0;
}
static int manual_arm(struct praas_executor *ex, int *ret_fd)
{
	(void)ex;
	*ret_fd = -1;
	return 0;
}
static void manual_stop(struct praas_executor *ex, uint64_t deadline_ns)
{
	(void)ex;
	(void)deadline_ns;
}
static void manual_free(struct praas_executor *ex)
{
	free(ex);
}
static const struct praas_executor_ops manual_ops = { .name = "manual",
						      .start = manual_start,
						      .capacity = manual_capacity,
						      .cancel = manual_cancel,
						      .poll = manual_poll,
						      .arm = manual_arm,
						      .stop = manual_stop,
						      .free = manual_free };

/* The oldest running one ends so. */
static inline void end_one(struct fixture *f, struct manual *m, int32_t status,
			   const char *text)
{
	struct praas_invocation *inv = m->running[0];
	struct praas_buf *result = NULL;

	assert_true(m->count > 0);
	memmove(m->running, m->running + 1, sizeof(m->running) - sizeof(m->running[0]));
	m->count--;
	if (text) {
		assert_int_equal(
			inv->caller.alloc(inv->caller.user, strlen(text), &result), 0);
		memcpy(result->data, text, strlen(text));
		result->head.bytes = strlen(text);
	}
	praas_process_complete(f->p, inv, status, result, 1234);
}

static struct praas_function functions[] = {
	{ .name = "plain" },
	{ .name = "serial", .concurrency = PRAAS_SERIAL },
	{ .name = "per_key", .concurrency = PRAAS_SERIAL_PER_KEY },
	{ .name = "joined", .trigger = PRAAS_TRIGGER_MULTI_SOURCE, .trigger_count = 2 },
	{ .name = "first", .then = 1 }, /* goes on to plain, … */
	{ .name = "map", .then = 4 },   /* … to joined, … */
	{ .name = "pack",
	  .trigger = PRAAS_TRIGGER_BATCH,
	  .trigger_count = 2,
	  .trigger_timeout_ns = 400000000,
	  .then = 4 }, /* … to joined, … */
	{ .name = "queue", .concurrency = PRAAS_SERIAL, .then = 2 }, /* … to serial */
	/* Those that go on in another process: to plain, … */
	{ .name = "away", .then = 1, .then_process = "b" },
	/* … to serial, … */
	{ .name = "away_serial",
	  .concurrency = PRAAS_SERIAL,
	  .then = 2,
	  .then_process = "b" },
	/* … of two inputs to joined, … */
	{ .name = "away_pack",
	  .trigger = PRAAS_TRIGGER_BATCH,
	  .trigger_count = 2,
	  .then = 4,
	  .then_process = "b" },
	/* … and on from there to c. */
	{ .name = "away_first", .then = 13, .then_process = "b" },
	{ .name = "away_second", .then = 2, .then_process = "c" },
};
enum {
	PLAIN,
	SERIAL,
	PER_KEY,
	JOINED,
	FIRST,
	MAP,
	PACK,
	QUEUE,
	AWAY,
	AWAY_SERIAL,
	AWAY_PACK,
	AWAY_FIRST,
	AWAY_SECOND,
	FUNCTIONS
};

struct table {
	struct fixture f;
	struct manual *m;
	struct fake_conn *c;
};

static inline void start(struct table *t, struct praas_process_config *changes)
{
	struct praas_process_config config;

	t->m = calloc(1, sizeof(*t->m));
	t->m->base.ops = &manual_ops;
	t->m->capacity = 2;
	fixture_init(&t->f, 8 << 20);
	config = fixture_config(&t->f, functions, FUNCTIONS);
	config.executor = &t->m->base;
	config.invocations_max = changes->invocations_max;
	config.dedup_entries = changes->dedup_entries;
	config.receivers_max = changes->receivers_max;
	fixture_start(&t->f, &config);
	t->c = fake_conn_new(&t->f, 1);
}

static inline int setup(void **state)
{
	struct table *t = calloc(1, sizeof(*t));
	struct praas_process_config changes = { .invocations_max = 8,
						.dedup_entries = 16,
						.receivers_max = 4 };

	start(t, &changes);
	*state = t;
	return 0;
}

static inline int teardown(void **state)
{
	struct table *t = *state;

	fake_conn_free(t->c);
	fixture_release(&t->f);
	free(t);
	return 0;
}

static inline void frame(struct fake_conn *c, uint8_t kind, uint64_t id,
			 const char *key, const char *text, uint64_t aux)
{
	struct praas_frame head = { .kind = kind, .id = id, .aux = aux };

	fake_frame(c, &head, key, text, text ? strlen(text) : 0);
}

static inline void invoke(struct fake_conn *c, uint16_t function, uint64_t id,
			  const char *key, uint64_t deadline_ns)
{
	struct praas_frame head = { .kind = PRAAS_FRAME_INVOKE,
				    .function = function,
				    .id = id,
				    .deadline_ns = deadline_ns };

	fake_frame(c, &head, key, "in", 2);
}

/* The next answer; returns its aux. */
static inline uint64_t expect(struct fake_conn *c, uint64_t id, int32_t status,
			      const char *text)
{
	struct praas_buf *buf = fake_take(c);
	uint64_t aux = buf->head.aux;

	assert_int_equal(buf->head.id, id);
	assert_int_equal(buf->head.status, status);
	assert_int_equal(buf->head.bytes, text ? strlen(text) : 0);
	if (text)
		assert_memory_equal(buf->data, text, strlen(text));
	praas_buf_release(buf);
	return aux;
}

#endif
