/* SPDX-License-Identifier: Apache-2.0
 *
 * The functions that the benchmarks call. Those that measure inside the function take a
 * struct praas_loop as input and return one uint32_t of nanoseconds per operation.
 */
#include <praas/function.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "perf/functions/loop.h"

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail for this clock */
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

PRAAS_FUNCTION int noop(struct praas_ctx *ctx)
{
	(void)ctx;
	return 0;
}

PRAAS_FUNCTION int echo(struct praas_ctx *ctx)
{
	struct praas_msg in;
	int rc = praas_input(ctx, 0, &in);

	return rc ? -rc : -praas_output_view(ctx, &in.view);
}

/* One operation of a loop; ctx of the call, i from 0. */
typedef int (*loop_fn)(struct praas_ctx *ctx, const struct praas_loop *loop,
		       uint32_t i);

static int run_loop(struct praas_ctx *ctx, loop_fn op)
{
	struct praas_loop loop;
	struct praas_msg in;
	uint32_t *samples;
	void *out;

	if (praas_input(ctx, 0, &in) != 0 || in.view.bytes != sizeof loop)
		return praas_fail(ctx, 1, "the input is not a struct praas_loop");
	memcpy(&loop, in.view.data, sizeof loop);
	if (loop.batch == 0)
		return praas_fail(ctx, 1, "a batch of no calls");
	if (praas_output(ctx, (size_t)loop.n * sizeof *samples, &out) != 0)
		return praas_fail(ctx, 2, "no memory for the samples");
	samples = out;
	for (uint32_t i = 0; i < loop.n; i++) {
		uint64_t t0 = now_ns();
		int rc = 0;

		for (uint32_t k = 0; k < loop.batch && rc == 0; k++)
			rc = op(ctx, &loop, i * loop.batch + k);
		samples[i] = (uint32_t)((now_ns() - t0) / loop.batch);
		if (rc != 0)
			return praas_fail(ctx, 100 - rc, strerror(-rc));
	}
	return 0;
}

static int op_get(struct praas_ctx *ctx, const struct praas_loop *loop, uint32_t i)
{
	struct praas_view v;

	(void)i;
	return praas_state_get(ctx, loop->key, &v, NULL);
}

static int op_put(struct praas_ctx *ctx, const struct praas_loop *loop, uint32_t i)
{
	static uint8_t value[4096];
	int rc;

	memcpy(value, &i, sizeof i);
	rc = praas_state_put(ctx, loop->key, value,
			     loop->bytes < sizeof value ? loop->bytes : sizeof value);
	return rc ? rc : praas_state_commit(ctx);
}

static int op_update(struct praas_ctx *ctx, const struct praas_loop *loop, uint32_t i)
{
	struct praas_update u;
	int rc = praas_state_update_begin(ctx, loop->key, loop->bytes, -1, &u);

	if (rc != 0)
		return rc;
	memcpy(u.data, &i, sizeof i);
	return praas_state_update_commit(ctx, &u);
}

/* A message to that process under the key to, and one from that source under the key back. */
static int exchange(struct praas_ctx *ctx, const struct praas_loop *loop, uint32_t i,
		    praas_pid_t process, const char *to, praas_pid_t source,
		    const char *back)
{
	struct praas_msg m;
	void *data;
	int rc = praas_buffer(ctx, loop->bytes, &data);

	if (rc != 0)
		return rc;
	if (loop->bytes >= sizeof i)
		memcpy(data, &i, sizeof i);
	rc = praas_send(ctx, process, to, data, loop->bytes);
	if (rc == 0)
		rc = praas_recv(ctx, source, back, -1, &m);
	if (rc == 0)
		praas_release(ctx, &m.view);
	return rc;
}

static int op_message(struct praas_ctx *ctx, const struct praas_loop *loop, uint32_t i)
{
	return exchange(ctx, loop, i, PRAAS_SELF, loop->key, PRAAS_ANY, loop->key);
}

static praas_pid_t other; /* the process that the loops below speak to */

static int op_ping(struct praas_ctx *ctx, const struct praas_loop *loop, uint32_t i)
{
	return exchange(ctx, loop, i, other, "ping", other, "pong");
}

static int op_remote(struct praas_ctx *ctx, const struct praas_loop *loop, uint32_t i)
{
	static const uint8_t payload[64];
	struct praas_view result;
	int status = 0;
	int rc = praas_invoke(ctx, other, "noop", payload,
			      loop->bytes < sizeof payload ? loop->bytes
							   : sizeof payload,
			      &status, &result);

	(void)i;
	if (rc == 0)
		praas_release(ctx, &result);
	return rc ? rc : status;
}

static int op_chain(struct praas_ctx *ctx, const struct praas_loop *loop, uint32_t i)
{
	static const uint8_t payload[64];
	struct praas_view result;
	int status = 0;
	int rc = praas_invoke(ctx, PRAAS_SELF, loop->key, payload, sizeof payload,
			      &status, &result);

	(void)i;
	if (rc == 0)
		praas_release(ctx, &result);
	return rc ? rc : status;
}

PRAAS_FUNCTION int loop_get(struct praas_ctx *ctx)
{
	return run_loop(ctx, op_get);
}

PRAAS_FUNCTION int loop_put(struct praas_ctx *ctx)
{
	return run_loop(ctx, op_put);
}

PRAAS_FUNCTION int loop_update(struct praas_ctx *ctx)
{
	return run_loop(ctx, op_update);
}

PRAAS_FUNCTION int loop_message(struct praas_ctx *ctx)
{
	return run_loop(ctx, op_message);
}

/* The input's key is a member's name. */
static int run_loop_with(struct praas_ctx *ctx, loop_fn op)
{
	struct praas_loop loop;
	struct praas_msg in;
	int rc;

	if (praas_input(ctx, 0, &in) != 0 || in.view.bytes != sizeof loop)
		return praas_fail(ctx, 1, "the input is not a struct praas_loop");
	memcpy(&loop, in.view.data, sizeof loop);
	loop.key[sizeof loop.key - 1] = '\0';
	rc = praas_member(ctx, loop.key, &other);
	return rc ? praas_fail(ctx, 100 - rc, strerror(-rc)) : run_loop(ctx, op);
}

PRAAS_FUNCTION int loop_ping(struct praas_ctx *ctx)
{
	return run_loop_with(ctx, op_ping);
}

PRAAS_FUNCTION int loop_remote(struct praas_ctx *ctx)
{
	return run_loop_with(ctx, op_remote);
}

/* The other side of loop_ping: so many messages are answered, with what they bring. */
PRAAS_FUNCTION int pong(struct praas_ctx *ctx)
{
	struct praas_loop loop;
	struct praas_msg in;

	if (praas_input(ctx, 0, &in) != 0 || in.view.bytes != sizeof loop)
		return praas_fail(ctx, 1, "the input is not a struct praas_loop");
	memcpy(&loop, in.view.data, sizeof loop);
	for (uint32_t i = 0; i < loop.n; i++) {
		struct praas_msg m;
		int rc = praas_recv(ctx, PRAAS_ANY, "ping", -1, &m);

		if (rc == 0) {
			rc = praas_send(ctx, m.source, "pong", m.view.data,
					m.view.bytes);
			praas_release(ctx, &m.view);
		}
		if (rc != 0)
			return praas_fail(ctx, 100 - rc, strerror(-rc));
	}
	return 0;
}

PRAAS_FUNCTION int loop_chain(struct praas_ctx *ctx)
{
	return run_loop(ctx, op_chain);
}

/* Apart, so that the compiler knows that nothing else changes meanwhile. */
static void add_vector(int64_t *restrict to, const int64_t *restrict from, size_t count)
{
	for (size_t i = 0; i < count; i++)
		to[i] += from[i];
}

/* Adds the input, a vector of int64_t, to the vector kept as state "sum". */
PRAAS_FUNCTION int reduce(struct praas_ctx *ctx)
{
	struct praas_update u;
	struct praas_msg in;
	int rc = praas_input(ctx, 0, &in);

	if (rc == 0)
		rc = praas_state_update_begin(ctx, "sum", in.view.bytes, -1, &u);
	if (rc != 0)
		return praas_fail(ctx, 100 - rc, strerror(-rc));
	add_vector(u.data, in.view.data, in.view.bytes / sizeof(int64_t));
	return -praas_state_update_commit(ctx, &u);
}

/* Writes n objects of bytes bytes, keys KEY-0 …: state for swaps and growth. batch is a
 * seed: another one, other contents. */
PRAAS_FUNCTION int fill(struct praas_ctx *ctx)
{
	struct praas_loop loop;
	struct praas_msg in;

	if (praas_input(ctx, 0, &in) != 0 || in.view.bytes != sizeof loop)
		return praas_fail(ctx, 1, "the input is not a struct praas_loop");
	memcpy(&loop, in.view.data, sizeof loop);
	for (uint32_t i = 0; i < loop.n; i++) {
		char key[80];
		void *data;
		int rc = praas_buffer(ctx, loop.bytes, &data);

		if (rc != 0)
			return praas_fail(ctx, 100 - rc, strerror(-rc));
		for (uint64_t at = 0; at + 8 <= loop.bytes; at += 8) {
			uint64_t x = (at + i + 1 + loop.batch * 7919ull) *
				     0x9e3779b97f4a7c15u;

			memcpy((uint8_t *)data + at, &x, 8);
		}
		(void)snprintf(key, sizeof key, "%s-%u", loop.key, i);
		rc = praas_state_put(ctx, key, data, loop.bytes);
		if (rc == 0 && i % 64 == 63)
			rc = praas_state_commit(ctx);
		if (rc != 0)
			return praas_fail(ctx, 100 - rc, strerror(-rc));
	}
	return 0;
}

/* Sends n messages of bytes bytes to this process, keys KEY-0 …, and leaves them
 * unread. */
PRAAS_FUNCTION int fill_mail(struct praas_ctx *ctx)
{
	static const uint8_t zero[1024];
	struct praas_loop loop;
	struct praas_msg in;

	if (praas_input(ctx, 0, &in) != 0 || in.view.bytes != sizeof loop)
		return praas_fail(ctx, 1, "the input is not a struct praas_loop");
	memcpy(&loop, in.view.data, sizeof loop);
	for (uint32_t i = 0; i < loop.n; i++) {
		char key[80];
		int rc;

		(void)snprintf(key, sizeof key, "%s-%u", loop.key, loop.batch + i);
		rc = praas_send(ctx, PRAAS_SELF, key, zero,
				loop.bytes < sizeof zero ? loop.bytes : sizeof zero);
		if (rc != 0)
			return praas_fail(ctx, 100 - rc, strerror(-rc));
	}
	return 0;
}
