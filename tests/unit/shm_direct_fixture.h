/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRAAS_TESTS_UNIT_SHM_DIRECT_FIXTURE_H
#define PRAAS_TESTS_UNIT_SHM_DIRECT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "client/connection.h"
#include "praas/client.h"
#include "tests/unit/client_server.h"

/* The direct path: libpraas on one end, the worker's half of transport/shm_direct.h on the other,
 * a server thread for the controller's. */

#define CALLS_MAX 4096u

struct worker {
	struct praas_direct direct;
	pthread_t thread;
	_Atomic bool stop;
	_Atomic bool idle; /* takes nothing */
	_Atomic bool
		hold; /* takes, but does not answer: as if it died in the function */
	_Atomic uint32_t taken;
	_Atomic uint32_t lazy; /* sleeps now and then, of so many turns; 0 never */
	_Atomic uint32_t big_segment; /* answer from it when not 0 */
	_Atomic int lie; /* enum lie: what it answers instead of a result */
	_Atomic int error;
};

enum lie { LIE_NONE, LIE_KIND, LIE_PLACE, LIE_WITHDRAWN, LIE_ASLEEP };

struct fixture {
	struct server server;
	praas_connection *conn;
	struct worker worker;
	uint32_t granted; /* its number */
	_Atomic uint32_t
		runs[CALLS_MAX]; /* how often call number n was run, by anybody */
};

static struct fixture *current;

static inline void count_run(const void *data, uint64_t bytes)
{
	uint32_t n;

	if (bytes < sizeof(n) || !current)
		return;
	memcpy(&n, data, sizeof(n));
	if (n < CALLS_MAX)
		atomic_fetch_add(&current->runs[n], 1);
}

static inline void ran_by_controller(void *user, const struct praas_frame *head)
{
	struct fixture *f = user;

	count_run(atomic_load(&f->server.seen), head->bytes);
}

static inline void lie(struct worker *w, const struct praas_direct_call *call)
{
	int what = atomic_load(&w->lie);
	struct praas_frame f = { .kind = what == LIE_KIND || what == LIE_ASLEEP
						 ? PRAAS_FRAME_REPLY
						 : PRAAS_FRAME_RESULT,
				 .id = call->head.id,
				 .bytes = what == LIE_PLACE ? 64 : 0,
				 .aux = what == LIE_WITHDRAWN ? PRAAS_DIRECT_WITHDRAWN
							      : 500 };
	struct praas_desc d;

	while (what == LIE_ASLEEP && !atomic_load(&w->stop) &&
	       atomic_load(&w->direct.channel.bell.shared->sleeping) == 0)
		(void)sched_yield();
	praas_frame_to_desc(&f, (uint16_t)w->direct.reply.id,
			    what == LIE_PLACE ? UINT64_C(1) << 40 : 0, &d);
	praas_check(praas_channel_push(&w->direct.channel, &d) == 0);
}

static inline void answer(struct worker *w, const struct praas_direct_call *call)
{
	struct praas_direct_reply reply = { .id = call->head.id,
					    .offset = PRAAS_DIRECT_NO_BUFFER,
					    .run_ns = 500 };
	uint32_t big = atomic_load(&w->big_segment);
	void *out;

	if (atomic_load(&w->lie) != LIE_NONE) {
		lie(w, call);
		return;
	}
	if (big != 0) {
		reply.segment = big;
		reply.offset = 64;
		reply.bytes = 1000;
	} else if (call->head.bytes != 0) {
		praas_check(praas_direct_alloc(&w->direct, call->head.bytes,
					       &reply.offset, &out) == 0);
		memcpy(out, call->data, call->head.bytes);
		reply.bytes = call->head.bytes;
	}
	if (strcmp(call->key, "fail") == 0)
		reply.status = 9;
	count_run(call->data, call->head.bytes);
	praas_check(praas_direct_reply(&w->direct, &reply) == 0);
}

static inline void *work(void *user)
{
	struct worker *w = user;
	uint32_t turns = 0;

	while (!atomic_load(&w->stop)) {
		uint32_t lazy = atomic_load(&w->lazy);
		struct praas_direct_call call;
		int rc;

		if (lazy != 0 && ++turns % lazy == 0)
			(void)usleep(turns % 3 == 0 ? 300 : 50);
		rc = atomic_load(&w->idle) ? -EAGAIN
					   : praas_direct_take(&w->direct, &call);
		if (rc == 0) {
			atomic_fetch_add(&w->taken, 1);
			if (atomic_load(&w->hold))
				atomic_store(&w->idle, true);
			else
				answer(w, &call);
			continue;
		}
		if (rc != -EAGAIN) {
			atomic_store(&w->error, rc);
			break;
		}
		(void)sched_yield();
	}
	return NULL;
}

static inline void worker_start(struct fixture *f, uint32_t number, bool idle)
{
	struct worker *w = &f->worker;
	int rc;

	*w = (struct worker){ .idle = idle };
	f->granted = number;
	do /* until the server has heard that the place is free again */
		rc = server_order(&f->server, SERVER_GRANT, number);
	while (rc == -EAGAIN);
	assert_int_equal(rc, 0);
	assert_int_equal(f->server.granted.attach.client, 5);
	assert_int_equal(f->server.granted.attach.source, PRAAS_CLIENT | 99);
	assert_int_equal(praas_direct_open(&w->direct, &f->server.granted.attach,
					   f->server.granted.fds),
			 0);
	assert_int_equal(pthread_create(&w->thread, NULL, work, w), 0);
}

static inline void worker_stop(struct fixture *f)
{
	if (!f->worker.direct.reply.base)
		return;
	atomic_store(&f->worker.stop, true);
	(void)pthread_join(f->worker.thread, NULL);
	praas_direct_close(&f->worker.direct);
}

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct praas_connect_config config = { .transport = "shm",
					       .timeout_ns = 60000000000u };

	server_start(&f->server, 64u << 20);
	f->server.ran = ran_by_controller;
	f->server.ran_user = f;
	current = f;
	assert_int_equal(praas_connect_ticket(f->server.ticket_json, &config, &f->conn),
			 0);
	while (!atomic_load(&f->server.last))
		(void)sched_yield();
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	praas_close(f->conn);
	worker_stop(f);
	server_stop(&f->server);
	current = NULL;
	free(f);
	return 0;
}

/* Polls until the library has seen what the server told it. */
static inline void until_routes(struct fixture *f, uint32_t changes)
{
	while (f->conn->shm->routes_changed < changes) {
		(void)praas_turn(f->conn);
		(void)sched_yield();
	}
}

static inline void call_echo(struct fixture *f, uint32_t n)
{
	struct praas_call call = { .function = FN_DIRECT,
				   .data = &n,
				   .bytes = sizeof(n) };
	struct praas_result result;

	assert_int_equal(praas_call(f->conn, &call, &result), 0);
	assert_int_equal(result.status, 0);
	assert_int_equal(result.view.bytes, sizeof(n));
	assert_memory_equal(result.view.data, &n, sizeof(n));
	praas_result_release(f->conn, &result);
}

/* Calls until the worker has answered one more, and nothing is under way: on a busy machine calls
 * are withdrawn while the worker waits for its turn, and go the other way. */
static inline void until_direct(struct fixture *f)
{
	struct praas_shm_direct_counts counts;
	uint64_t before;

	assert_int_equal(praas_shm_direct_counts(f->server.last, f->granted, &counts),
			 0);
	before = counts.calls;
	do {
		call_echo(f, CALLS_MAX);
		(void)praas_turn(f->conn);
		(void)sched_yield();
		assert_int_equal(
			praas_shm_direct_counts(f->server.last, f->granted, &counts),
			0);
	} while (counts.calls == before || f->conn->direct_pending != 0 ||
		 f->conn->shm->route[f->granted]->outstanding != 0);
}

#endif
