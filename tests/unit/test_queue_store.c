/* SPDX-License-Identifier: Apache-2.0
 *
 * Backup queues as stores keep them, on each store: against the queue that the simulator runs, with
 * generated sequences of operations; limits; the end of a process; another start of the service.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>

#include "control/life/queue.h"
#include "internal/base.h"
#include "tests/unit/records_fixture.h"

#define SEQUENCES 8
#define STEPS 80
#define SOURCES 3u
#define DATA_MAX 40u
#define WRITERS 4u
#define WRITES 30u

/* ---- generated sequences ------------------------------------------------------------ */

struct world {
	struct fixture *f;
	uint64_t seed, process;
	struct praas_queue model;
	struct praas_seq next[SOURCES]; /* of each sender */
};

static uint64_t below(struct world *w, uint64_t n)
{
	w->seed = w->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (w->seed >> 33) % n;
}

static const struct praas_queue_ops *ops(const struct fixture *f)
{
	return f->r->queue;
}

static uint64_t make_process(struct fixture *f, const char *name,
			     enum praas_life_state state)
{
	struct praas_app_record a = app_named("a");
	struct praas_process_record p = process_named(&a, name);
	int rc = f->r->ops->app_put(f->r, &a);

	assert_true(rc == 0 || rc == -EEXIST);
	p.state = (uint8_t)state;
	assert_int_equal(f->r->ops->process_put(f->r, &p), 0);
	return p.number;
}

static bool model_has(const struct praas_queue *q, const struct praas_queued *m)
{
	const struct praas_queue_message *at;
	uint64_t position = q->trimmed;

	while (praas_queue_next(q, position, &at) == 0) {
		if (at->source == m->source && at->seq.epoch == m->epoch &&
		    at->seq.number >= m->number)
			return true;
		position = at->position;
	}
	return false;
}

static void do_append(struct world *w)
{
	uint32_t count = 1 + (uint32_t)below(w, 5), taken = 0;
	unsigned source = (unsigned)below(w, SOURCES);
	struct praas_queued m[5] = { 0 };
	uint8_t data[5][DATA_MAX];
	uint64_t tail = 0;

	if (below(w, 6) == 0) /* its last answers were lost */
		w->next[source].number -= praas_min_u64(w->next[source].number, 3);
	if (below(w, 9) == 0)
		w->next[source] =
			(struct praas_seq){ .epoch = w->next[source].epoch + 1 };
	for (uint32_t i = 0; i < count; i++) {
		uint32_t bytes = (uint32_t)below(w, DATA_MAX);

		for (uint32_t k = 0; k < bytes; k++)
			data[i][k] = (uint8_t)below(w, 256);
		w->next[source].number += 1 + below(w, 2);
		m[i] = (struct praas_queued){ .source = source + 1,
					      .epoch = w->next[source].epoch,
					      .number = w->next[source].number,
					      .key_bytes = (uint8_t)below(w, bytes + 1),
					      .data = data[i] };
		m[i].bytes = bytes - m[i].key_bytes;
		m[i].traced = below(w, 2);
		memset(m[i].trace, m[i].traced ? (int)i : 0, sizeof(m[i].trace));
	}
	assert_int_equal(
		ops(w->f)->append(w->f->r, w->process, m, count, &taken, &tail), 0);
	assert_int_equal(taken, count);
	for (uint32_t i = 0; i < count; i++) {
		struct praas_seq seq = { .epoch = m[i].epoch, .number = m[i].number };

		if (!model_has(&w->model, &m[i]))
			assert_int_equal(praas_queue_append(
						 &w->model, m[i].source, seq, m[i].data,
						 m[i].key_bytes + m[i].bytes),
					 0);
	}
	assert_int_equal(tail, w->model.tail);
}

static void do_read(struct world *w)
{
	uint64_t after = below(w, w->model.tail + 2), count = 0;
	struct praas_queued m[PRAAS_LIMIT_MAIL_BATCH];
	const struct praas_queue_message *at;
	uint32_t n = 0, bytes = 0;
	uint8_t *data = NULL;
	bool more = false;
	int rc = ops(w->f)->read(w->f->r, w->process, after, m, &n, &data, &bytes,
				 &more);
	int wanted = praas_queue_next(&w->model, after, &at);

	if (after == 0)
		wanted = praas_queue_next(&w->model, w->model.trimmed, &at);
	if (wanted == -ESTALE) {
		assert_int_equal(rc, -ESTALE);
		return;
	}
	assert_int_equal(rc, 0);
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(wanted, 0);
		assert_int_equal(m[i].position, at->position);
		assert_int_equal(m[i].source, at->source);
		assert_int_equal(m[i].epoch, at->seq.epoch);
		assert_int_equal(m[i].number, at->seq.number);
		assert_int_equal(m[i].key_bytes + m[i].bytes, at->bytes);
		if (at->bytes)
			assert_memory_equal(m[i].data, at->data, at->bytes);
		for (unsigned k = 0; k < sizeof(m[i].trace); k++)
			assert_true(m[i].traced ? m[i].trace[k] == m[i].trace[0]
						: m[i].trace[k] == 0);
		count += at->bytes;
		wanted = praas_queue_next(&w->model, at->position, &at);
	}
	assert_int_equal(bytes, count);
	assert_int_equal(more, wanted == 0);
	assert_true(n == PRAAS_LIMIT_MAIL_BATCH || wanted == -EAGAIN);
	free(data);
}

static void check_state(struct world *w)
{
	struct praas_queue_state s;

	assert_int_equal(ops(w->f)->state(w->f->r, w->process, &s), 0);
	assert_int_equal(s.tail, w->model.tail);
	assert_int_equal(s.trimmed, w->model.trimmed);
	assert_int_equal(s.messages, w->model.count);
	assert_int_equal(s.bytes, w->model.bytes);
}

static void do_step(struct world *w)
{
	uint64_t position, tail;

	switch (below(w, 10)) {
	case 0:
		position = below(w, w->model.tail + 3);
		assert_int_equal(ops(w->f)->trim(w->f->r, w->process, position), 0);
		praas_queue_trim(&w->model, position);
		break;
	case 1:
		position = below(w, 3) ? below(w, w->model.tail + 2)
				       : w->model.tail + below(w, 100);
		assert_int_equal(ops(w->f)->lift(w->f->r, w->process, position, &tail),
				 0);
		praas_queue_lift(&w->model, position);
		assert_int_equal(tail, w->model.tail);
		break;
	case 2:
		if (below(w, 4) == 0) {
			assert_int_equal(ops(w->f)->drop(w->f->r, w->process), 0);
			praas_queue_trim(&w->model, w->model.tail);
		} else if (strcmp(w->f->url, "memory:") != 0) {
			w->f->r->ops->close(w->f->r);
			assert_int_equal(open_store(w->f), 0);
		}
		break;
	case 3:
	case 4:
	case 5:
		do_read(w);
		break;
	default:
		do_append(w);
	}
	check_state(w);
}

static void test_queue_store_as_the_model(void **state)
{
	struct fixture *f = *state;

	for (uint64_t seed = 1; seed <= SEQUENCES; seed++) {
		struct world w = { .f = f, .seed = seed };
		char name[16];

		(void)snprintf(name, sizeof(name), "p%d", (int)seed);
		w.process = make_process(f, name, PRAAS_LIFE_SWAPPED);
		for (unsigned i = 0; i < SOURCES; i++)
			w.next[i].epoch = 1;
		assert_int_equal(praas_queue_init(&w.model, PRAAS_LIMIT_QUEUED_MESSAGES,
						  PRAAS_LIMIT_QUEUED_BYTES),
				 0);
		for (int i = 0; i < STEPS; i++)
			do_step(&w);
		praas_queue_release(&w.model);
	}
}

/* ---- limits ------------------------------------------------------------------------- */

static int put_one(struct fixture *f, uint64_t process, uint64_t number,
		   const uint8_t *data, uint32_t bytes, uint64_t *ret_tail)
{
	struct praas_queued m = {
		.source = 7, .epoch = 1, .number = number, .bytes = bytes, .data = data
	};
	uint32_t taken;

	return ops(f)->append(f->r, process, &m, 1, &taken, ret_tail);
}

/* Bytes: what fits, to the byte; one answer has as many as a message may have, or one message; what was
 * trimmed makes room, and positions go on. */
static void test_queue_store_bytes(void **state)
{
	struct fixture *f = *state;
	uint64_t process = make_process(f, "p", PRAAS_LIFE_ACTIVATING), tail = 0;
	uint32_t many = PRAAS_LIMIT_QUEUED_BYTES / PRAAS_LIMIT_MESSAGE_BYTES, n, bytes;
	uint8_t *big = calloc(1, PRAAS_LIMIT_MESSAGE_BYTES), *data = NULL;
	struct praas_queued m[PRAAS_LIMIT_MAIL_BATCH];
	bool more = false;

	assert_non_null(big);
	memset(big, 'x', 9);
	for (uint32_t i = 1; i <= many; i++)
		assert_int_equal(put_one(f, process, i, big,
					 PRAAS_LIMIT_MESSAGE_BYTES - (i == many),
					 &tail),
				 0);
	assert_int_equal(put_one(f, process, many + 1, big, 2, &tail), -ENOSPC);
	assert_int_equal(put_one(f, process, many + 1, big, 1, &tail), 0);
	assert_int_equal(put_one(f, process, many + 2, big, 1, &tail), -ENOSPC);
	assert_int_equal(put_one(f, process, many, big, 5, &tail), 0); /* it is there */
	assert_int_equal(tail, many + 1);
	assert_int_equal(ops(f)->read(f->r, process, 0, m, &n, &data, &bytes, &more),
			 0);
	assert_int_equal(n, 1);
	assert_true(more);
	assert_memory_equal(m[0].data, big, PRAAS_LIMIT_MESSAGE_BYTES);
	free(data);
	assert_int_equal(
		ops(f)->read(f->r, process, many - 1, m, &n, &data, &bytes, &more), 0);
	assert_int_equal(n, 2); /* a byte less, and one */
	assert_int_equal(bytes, PRAAS_LIMIT_MESSAGE_BYTES);
	assert_false(more);
	free(data);
	assert_int_equal(ops(f)->trim(f->r, process, 1), 0);
	assert_int_equal(put_one(f, process, many + 2, big, 3, &tail), 0);
	assert_int_equal(tail, many + 2);
	free(big);
}

/* Messages: of a batch that does not fit whole, what does is taken. */
static void test_queue_store_messages(void **state)
{
	struct fixture *f = *state;
	uint64_t process = make_process(f, "p", PRAAS_LIFE_DRAINING), tail = 0, i = 1;
	struct praas_queued m[PRAAS_LIMIT_MAIL_BATCH];
	uint32_t taken = 0, count;

	do {
		count = i == 1 ? PRAAS_LIMIT_MAIL_BATCH - 5 : PRAAS_LIMIT_MAIL_BATCH;
		for (uint32_t k = 0; k < count; k++)
			m[k] = (struct praas_queued){ .source = 1,
						      .epoch = 2,
						      .number = i++,
						      .data = (const uint8_t *)"" };
		assert_int_equal(ops(f)->append(f->r, process, m, count, &taken, &tail),
				 0);
	} while (taken == count);
	assert_int_equal(taken, 5);
	assert_int_equal(tail, PRAAS_LIMIT_QUEUED_MESSAGES);
	assert_int_equal(ops(f)->append(f->r, process, m + 5, 1, &taken, &tail),
			 -ENOSPC);
}

/* ---- processes ---------------------------------------------------------------------- */

/* There is no queue of a process that is not there, or on its way out; with the process it goes, and with
 * the queue of nobody else. */
static void test_queue_store_of_processes(void **state)
{
	struct fixture *f = *state;
	uint64_t p = make_process(f, "p", PRAAS_LIFE_LOST), q, gone, tail = 0;
	struct praas_queue_state s;

	q = make_process(f, "q", PRAAS_LIFE_KILLED);
	gone = make_process(f, "gone", PRAAS_LIFE_DELETING);
	assert_int_equal(put_one(f, gone, 1, (const uint8_t *)"x", 1, &tail), -ENOENT);
	assert_int_equal(put_one(f, 99, 1, (const uint8_t *)"x", 1, &tail), -ENOENT);
	assert_int_equal(ops(f)->trim(f->r, 99, 1), 0);
	assert_int_equal(ops(f)->lift(f->r, 99, 1, &tail), -ENOENT);
	for (uint64_t i = 1; i <= 3; i++) {
		assert_int_equal(put_one(f, p, i, (const uint8_t *)"x", 1, &tail), 0);
		assert_int_equal(put_one(f, q, i, (const uint8_t *)"x", 1, &tail), 0);
	}
	assert_int_equal(tail, 3);
	assert_int_equal(f->r->ops->process_delete(f->r, p), 0);
	assert_int_equal(put_one(f, p, 4, (const uint8_t *)"x", 1, &tail), -ENOENT);
	assert_int_equal(ops(f)->state(f->r, p, &s), 0);
	assert_int_equal(s.tail, 0);
	assert_int_equal(ops(f)->state(f->r, q, &s), 0);
	assert_int_equal(s.messages, 3);
}

/* No position is given twice, whoever forgot what: trimmed whole, and started anew. */
static void test_queue_store_positions_go_on(void **state)
{
	struct fixture *f = *state;
	uint64_t p = make_process(f, "p", PRAAS_LIFE_SWAPPED), tail = 0;

	for (uint64_t i = 1; i <= 3; i++) {
		assert_int_equal(put_one(f, p, i, (const uint8_t *)"x", 1, &tail), 0);
		assert_int_equal(tail, i);
		assert_int_equal(ops(f)->trim(f->r, p, tail), 0);
		f->r->ops->close(f->r);
		assert_int_equal(open_store(f), 0);
	}
}

/* Sums that do not fit their rows, or columns of another kind, are told as damage. */
static void test_queue_store_damaged(void **state)
{
	static const char *const bad[] = {
		"UPDATE queues SET trimmed=trimmed+1",
		"UPDATE queues SET messages=-1, trimmed=tail+1",
		"UPDATE queues SET tail='x'",
		"UPDATE queued SET key_bytes=200",
		"UPDATE queued SET trace=x'00'",
		"UPDATE queued SET data='text'",
		"UPDATE queued SET epoch=0",
	};
	struct fixture *f = *state;
	uint64_t p = make_process(f, "p", PRAAS_LIFE_SWAPPED), tail = 0;
	struct praas_queued m[PRAAS_LIMIT_MAIL_BATCH];
	uint32_t n, bytes;
	uint8_t *data;
	bool more;

	assert_int_equal(put_one(f, p, 1, (const uint8_t *)"x", 1, &tail), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		change_file(f, "CREATE TABLE a AS SELECT * FROM queues");
		change_file(f, "CREATE TABLE b AS SELECT * FROM queued");
		change_file(f, bad[i]);
		assert_int_equal(ops(f)->read(f->r, p, 0, m, &n, &data, &bytes, &more),
				 -EPROTO);
		change_file(f, "DELETE FROM queues; DELETE FROM queued");
		change_file(f, "INSERT INTO queues SELECT * FROM a; DROP TABLE a");
		change_file(f, "INSERT INTO queued SELECT * FROM b; DROP TABLE b");
		assert_int_equal(ops(f)->read(f->r, p, 0, m, &n, &data, &bytes, &more),
				 0);
		free(data);
	}
	change_file(f, "UPDATE queues SET bytes=0");
	assert_int_equal(ops(f)->trim(f->r, p, 1), -EPROTO);
}

/* ---- side by side ------------------------------------------------------------------- */

struct writer {
	pthread_t thread;
	struct fixture *f;
	uint64_t process, source;
};

static void *write_some(void *arg)
{
	struct writer *w = arg;
	uint32_t taken;
	uint64_t tail;

	for (uint64_t i = 1; i <= WRITES; i++) {
		struct praas_queued m = { .source = w->source,
					  .epoch = 1,
					  .number = i,
					  .data = (const uint8_t *)"" };

		if (w->f->r->queue->append(w->f->r, w->process, &m, 1, &taken, &tail) ||
		    taken != 1)
			w->f->over = true;
	}
	return NULL;
}

/* Writers of several sources and a reader that trims: each source in its order, positions without a gap. */
static void test_queue_store_writers(void **state)
{
	struct fixture *f = *state;
	uint64_t process = make_process(f, "p", PRAAS_LIFE_SWAPPED), seen = 0;
	uint64_t last[WRITERS] = { 0 };
	struct praas_queued m[PRAAS_LIMIT_MAIL_BATCH];
	struct writer writers[WRITERS];

	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] =
			(struct writer){ .f = f, .process = process, .source = i + 1 };
		assert_int_equal(pthread_create(&writers[i].thread, NULL, write_some,
						&writers[i]),
				 0);
	}
	while (seen < (uint64_t)WRITERS * WRITES && !f->over) {
		uint32_t n = 0, bytes;
		uint8_t *data;
		bool more;

		assert_int_equal(
			ops(f)->read(f->r, process, seen, m, &n, &data, &bytes, &more),
			0);
		free(data);
		for (uint32_t i = 0; i < n; i++) {
			assert_int_equal(m[i].position, ++seen);
			assert_int_equal(m[i].number, ++last[m[i].source - 1]);
		}
		if (n > 0)
			assert_int_equal(ops(f)->trim(f->r, process, seen), 0);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		(void)pthread_join(writers[i].thread, NULL);
	assert_false(f->over);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALL(test_queue_store_as_the_model),
		ALL(test_queue_store_bytes),
		SQLITE(test_queue_store_messages),
		cmocka_unit_test_setup_teardown(test_queue_store_messages, setup_memory,
						teardown),
		ALL(test_queue_store_of_processes),
		SQLITE(test_queue_store_positions_go_on),
		REDIS(test_queue_store_messages),
		REDIS(test_queue_store_positions_go_on),
		SQLITE(test_queue_store_damaged),
		ALL(test_queue_store_writers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
