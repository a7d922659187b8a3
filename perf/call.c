/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls of functions as contenders: one after the other, pipelined, measured inside.
 */
#include "perf/call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/clock.h"
#include "perf/target.h"

struct caller {
	praas_connection *conn;
	uint32_t function;
	void *buf;
	void *source; /* of the payload, when it is written anew for each call */
	uint64_t size;
};

int praas_perf_call_open(const struct praas_perf_call *call,
			 praas_connection **ret_conn, uint32_t *ret_function)
{
	struct praas_target *t;
	praas_connection *conn;
	enum praas_target_kind kind = PRAAS_TARGET_PLAIN;
	int rc;

	if (strcmp(call->transport, "tls") == 0)
		kind = PRAAS_TARGET_TLS;
	if (strncmp(call->transport, "ofi", 3) == 0)
		kind = PRAAS_TARGET_OFI;
	if (strcmp(call->process, "verbs") == 0)
		kind = PRAAS_TARGET_VERBS;
	rc = praas_target_start(kind, &t);

	if (rc == 0)
		rc = praas_target_process(t, call->app, call->process);
	if (rc == 0)
		rc = praas_target_connect(t, call->app, call->process, call->transport,
					  call->direct, &conn);
	if (rc != 0)
		return rc;
	if (call->apart)
		praas_bench_pin_threads(
			praas_target_os_pid(t, call->app, call->process),
			praas_options.cpu_client);
	rc = praas_function_lookup(conn, call->function, ret_function);
	if (rc != 0)
		praas_close(conn);
	else
		*ret_conn = conn;
	return rc;
}

static int setup(struct praas_contender *c)
{
	struct caller *k = calloc(1, sizeof *k);
	int rc;

	if (!k)
		return -ENOMEM;
	c->data = k;
	k->size = c->size;
	rc = praas_perf_call_open(c->arg, &k->conn, &k->function);
	if (rc == 0)
		rc = praas_buffer_alloc(k->conn, c->size ? c->size : 1, &k->buf);
	if (rc == 0)
		memset(k->buf, 1, c->size);
	if (rc == 0 && ((const struct praas_perf_call *)c->arg)->fill) {
		k->source = calloc(1, c->size ? c->size : 1);
		rc = k->source ? 0 : -ENOMEM;
	}
	return rc;
}

static void teardown(struct praas_contender *c)
{
	struct caller *k = c->data;

	if (!k)
		return;
	if (k->conn && k->buf)
		praas_buffer_free(k->conn, k->buf);
	praas_close(k->conn);
	free(k->source);
	free(k);
	c->data = NULL;
}

static int failed(const struct praas_result *r)
{
	(void)fprintf(stderr, "praas-perf: call failed: %s%s%.*s\n",
		      praas_status_text(r->status), r->view.bytes ? ": " : "",
		      (int)r->view.bytes,
		      r->view.bytes ? (const char *)r->view.data : "");
	return -EIO;
}

static int round_calls(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	struct caller *k = c->data;
	struct praas_call call = { .function = k->function,
				   .data = k->buf,
				   .bytes = k->size };
	struct praas_result r;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t t0 = praas_perf_ticks();
		int rc;

		if (k->source)
			memcpy(k->buf, k->source, k->size);
		else /* the payload changes every time */
			*(_Atomic uint8_t *)k->buf = (uint8_t)i;
		rc = praas_call(k->conn, &call, &r);
		if (rc != 0)
			return rc;
		if (r.status != 0)
			return failed(&r);
		praas_result_release(k->conn, &r);
		praas_hist_add(h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0));
	}
	return 0;
}

void praas_perf_call_contender(struct praas_contender *c, const char *bench,
			       const char *variant, const struct praas_perf_call *call,
			       uint64_t size, uint64_t n)
{
	*c = (struct praas_contender){ .bench = bench,
				       .variant = variant,
				       .role = PRAAS_ROLE_OURS,
				       .waits = "adaptive",
				       .size = size,
				       .n = n,
				       .arg = call,
				       .setup = setup,
				       .round = round_calls,
				       .teardown = teardown };
}

/* ---- pipelined ---- */

#define WINDOW_MAX 256u

static int setup_pipeline(struct praas_contender *c)
{
	const struct praas_perf_call *call = c->arg;
	uint64_t size = c->size;
	int rc;

	/* One buffer a call under way: they are read while we write the next. */
	c->size = size * call->inflight;
	rc = setup(c);
	c->size = size;
	if (c->data)
		((struct caller *)c->data)->size = size;
	return rc;
}

static int round_pipeline(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	const struct praas_perf_call *p = c->arg;
	struct caller *k = c->data;
	struct praas_result r[32];
	uint64_t sent = 0, got = 0, id, t0 = praas_perf_ticks();

	while (got < n) {
		int done;

		while (sent < n && sent - got < p->inflight) {
			bool last = sent + 1 == n || sent + 1 - got == p->inflight;
			struct praas_call call = { .function = k->function,
						   .flags = last ? 0 : PRAAS_CALL_MORE,
						   .data = k->buf,
						   .bytes = k->size };
			int rc = praas_submit(k->conn, &call, &id);

			if (rc == -ENOBUFS || rc == -EAGAIN)
				break;
			if (rc != 0)
				return rc;
			sent++;
		}
		done = praas_poll(k->conn, r, 32);
		if (done < 0)
			return done;
		for (int i = 0; i < done; i++) {
			if (r[i].status != 0)
				return failed(&r[i]);
			praas_result_release(k->conn, &r[i]);
		}
		got += (uint64_t)done;
	}
	/* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): a round has calls */
	praas_hist_add(h, praas_perf_ticks_to_ns(praas_perf_ticks() - t0) * 1000u / n);
	return 0;
}

void praas_perf_pipeline_contender(struct praas_contender *c, const char *bench,
				   const char *variant,
				   const struct praas_perf_call *call, uint64_t size,
				   uint64_t n)
{
	*c = (struct praas_contender){ .bench = bench,
				       .variant = variant,
				       .role = PRAAS_ROLE_OURS,
				       .waits = "adaptive",
				       .size = size,
				       .n = n,
				       .scale = 0.001,
				       .arg = call,
				       .setup = setup_pipeline,
				       .round = round_pipeline,
				       .teardown = teardown };
}

/* ---- measured inside the function ---- */

static int round_loop(struct praas_contender *c, uint64_t n, struct praas_hist *h)
{
	const struct praas_perf_call *p = c->arg;
	struct caller *k = c->data;
	struct praas_loop loop = p->loop;
	struct praas_call call = { .function = k->function,
				   .data = &loop,
				   .bytes = sizeof loop };
	struct praas_result r;
	int rc;

	loop.n = (uint32_t)n;
	loop.bytes = c->size;
	rc = praas_call(k->conn, &call, &r);
	if (rc != 0)
		return rc;
	if (r.status != 0)
		return failed(&r);
	for (size_t i = 0; i < r.view.bytes / sizeof(uint32_t); i++)
		praas_hist_add(h, ((const uint32_t *)r.view.data)[i]);
	praas_result_release(k->conn, &r);
	return 0;
}

void praas_perf_loop_contender(struct praas_contender *c, const char *bench,
			       const char *variant, const struct praas_perf_call *call,
			       uint64_t size, uint64_t n)
{
	*c = (struct praas_contender){ .bench = bench,
				       .variant = variant,
				       .role = PRAAS_ROLE_OURS,
				       .waits = "adaptive",
				       .size = size,
				       .n = n,
				       .arg = call,
				       .setup = setup,
				       .round = round_loop,
				       .teardown = teardown };
}

int praas_perf_call_once(praas_connection *conn, const char *function, const void *data,
			 size_t bytes)
{
	struct praas_call call = { .data = data, .bytes = bytes };
	struct praas_result r;
	int rc = praas_function_lookup(conn, function, &call.function);

	if (rc == 0)
		rc = praas_call(conn, &call, &r);
	if (rc != 0)
		return rc;
	rc = r.status ? failed(&r) : 0;
	praas_result_release(conn, &r);
	return rc;
}
