/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions that start functions. The last one started is kept back: when its caller then waits for
 * it, it runs in place, at the cost of a call. When anything else comes first it goes to the
 * controller, which finds another worker, so that several started ones run side by side.
 */
#include <errno.h>
#include <string.h>

#include "controller/worker/worker.h"

static struct call *call_find(struct worker *w, uint64_t id)
{
	for (uint64_t used = w->calls_used; used != 0; used &= used - 1) {
		struct call *call = &w->calls[__builtin_ctzll(used)];

		if (call->id == id)
			return call;
	}
	return NULL;
}

static void call_free(struct worker *w, const struct call *call)
{
	w->calls_used &= ~(UINT64_C(1) << (call - w->calls));
}

static int function_find(const struct worker *w, const char *name, uint32_t *ret_number)
{
	for (uint32_t i = 0; i < w->end.start.functions_count; i++) {
		if (strcmp(w->end.functions[i].name, name) != 0)
			continue;
		*ret_number = i;
		return 0;
	}
	return -ENOENT;
}

/* Plain, and not too deep. */
static bool runs_in_place(const struct ctx *ctx, uint32_t function)
{
	return ctx->worker->end.functions[function].plain &&
	       ctx->depth < PRAAS_WORKER_IN_PLACE_MAX;
}

static void call_push(struct ctx *ctx, struct call *call, bool one_way)
{
	struct praas_frame f = { .kind = PRAAS_FRAME_INVOKE,
				 .flags = one_way ? PRAAS_FRAME_ONE_WAY : 0,
				 .key_bytes = call->key_bytes,
				 .function = (uint16_t)call->function,
				 .id = call->id,
				 .deadline_ns = ctx->head.info.deadline_ns,
				 .bytes = call->bytes,
				 .aux = call->destination };

	if (praas_unlikely(praas_span_traced(&ctx->head.info))) {
		f.flags |= PRAAS_FRAME_TRACE;
		praas_span_hand_on(&ctx->head.info,
				   praas_worker_end_trace(&ctx->worker->end));
	}
	if (praas_worker_end_push(&ctx->worker->end, &f, call->key, call->input.segment,
				  call->input.offset) != 0)
		worker_fatal(ctx->worker, "cannot start a function");
	call->input = (struct praas_worker_buffer){ 0 };
	call->state = CALL_SENT;
}

void ctx_flush_deferred(struct ctx *ctx, bool one_way)
{
	struct call *call = ctx->worker->deferred;

	if (!call)
		return;
	ctx->worker->deferred = NULL;
	call_push(ctx, call, one_way);
}

int ctx_invoke(struct praas_ctx *head, praas_pid_t destination, const char *function,
	       const char *key, const void *data, size_t bytes, uint64_t *ret_call)
{
	struct ctx *ctx = ctx_of(head);
	struct worker *w = ctx->worker;
	struct call *call;
	uint32_t number;
	int rc;

	if (!function || (bytes != 0 && !data) ||
	    (key && strnlen(key, PRAAS_KEY_MAX + 1) > PRAAS_KEY_MAX))
		return -EINVAL;
	if (destination == head->info.pid)
		destination = PRAAS_SELF;
	rc = function_find(w, function, &number);
	if (rc != 0)
		return rc;
	ctx_flush_deferred(ctx, false);
	if (w->calls_used == UINT64_MAX)
		return -ENOBUFS;
	call = &w->calls[__builtin_ctzll(~w->calls_used)];
	rc = ctx_take_or_copy(ctx, data, bytes, PRAAS_SHARE, &call->input);
	if (rc != 0)
		return rc;
	w->calls_used |= UINT64_C(1) << (call - w->calls);
	call->id = ++w->end.requests;
	call->function = number;
	call->destination = destination;
	call->depth = ctx->depth;
	call->data = call->input.data;
	call->bytes = bytes;
	call->result = (struct praas_view){ 0 };
	call->key_bytes = ctx_key_bytes(key);
	memcpy(call->key, key ? key : "", call->key_bytes);
	call->key[call->key_bytes] = '\0';
	if (destination == PRAAS_SELF && runs_in_place(ctx, number)) {
		call->state = CALL_DEFERRED;
		w->deferred = call;
	} else {
		call_push(ctx, call, false);
	}
	*ret_call = call->id;
	return 0;
}

/* The input of one that ran in place is not needed any more. */
static void run_in_place(struct ctx *ctx, struct call *call)
{
	struct worker *w = ctx->worker;

	w->deferred = NULL;
	worker_run_nested(w, ctx, call);
	if (call->input.segment != 0)
		praas_worker_end_drop(&w->end, &call->input);
	call->input = (struct praas_worker_buffer){ 0 };
}

/* What has come, without waiting. */
static void look(struct worker *w)
{
	struct praas_worker_frame frame;
	int rc;

	do {
		rc = praas_worker_end_pop(&w->end, &frame);
		if (rc == 0)
			rc = praas_worker_end_park(&w->end, &frame);
	} while (rc == 0);
	if (rc != -EAGAIN || w->end.stopped)
		worker_fatal(w, "an answer to nothing");
}

/* Why it can never be, for the caller of who returns -EDEADLK. */
static int explain(struct ctx *ctx, int rc, const struct praas_worker_frame *reply)
{
	struct worker *w = ctx->worker;
	const uint8_t *data = NULL;
	uint64_t bytes = reply->head.bytes;
	size_t n = bytes < sizeof(ctx->text) ? (size_t)bytes : sizeof(ctx->text) - 1;

	if (rc != -EDEADLK || bytes == 0)
		return rc;
	if (praas_worker_end_view(&w->end, reply->segment, reply->offset, bytes,
				  &data) != 0)
		worker_fatal(w, "a reason lies nowhere");
	memcpy(ctx->text, data, n);
	ctx->text[n] = '\0';
	praas_worker_end_return(&w->end, reply->segment, reply->offset);
	return rc;
}

/* Until the outcome is here. The controller knows that we wait, and what for: it may have us run it. */
static int await(struct ctx *ctx, const struct call *call, int64_t timeout_ns)
{
	struct worker *w = ctx->worker;
	uint64_t until = wait_until(timeout_ns);
	uint64_t deadline = ctx->head.info.deadline_ns;
	struct praas_frame f = { .kind = PRAAS_WORKER_WAIT,
				 .status = worker_asker(ctx),
				 .aux = call->id,
				 .deadline_ns = until };
	struct praas_worker_frame reply;

	if (timeout_ns < 0)
		f.status |= PRAAS_WORKER_IN_ENDLESS;
	if (deadline != 0)
		f.deadline_ns = praas_min_u64(until, deadline);
	look(w);
	while (call->state != CALL_DONE) {
		int rc;

		if (ctx_cancelled(&ctx->head))
			return -ECANCELED;
		if (until == 1)
			return -EAGAIN;
		rc = ctx_request(ctx, &f, NULL, 0, 0, &reply);
		if (rc == -EINTR)
			worker_help(w, ctx);
		else if (rc == -EAGAIN && f.deadline_ns != until)
			return -ETIMEDOUT;
		else if (rc != 0)
			return explain(ctx, rc, &reply);
		else if (call->state != CALL_DONE)
			worker_fatal(w, "the end of nothing");
	}
	return 0;
}

int ctx_wait(struct praas_ctx *head, uint64_t id, int64_t timeout_ns, int *ret_status,
	     struct praas_view *ret_result)
{
	struct ctx *ctx = ctx_of(head);
	struct call *call = call_find(ctx->worker, id);
	int rc = 0;

	if (!call || call->depth != ctx->depth)
		return -EINVAL;
	if (call->state == CALL_DEFERRED && timeout_ns < 0)
		run_in_place(ctx, call);
	ctx_flush_deferred(ctx, false);
	if (call->state != CALL_DONE)
		rc = await(ctx, call, timeout_ns);
	if (rc == -EDEADLK)
		call_free(ctx->worker, call); /* it is withdrawn */
	if (rc != 0)
		return rc;
	if (ret_status)
		*ret_status = call->status;
	if (ret_result)
		*ret_result = call->result;
	call_free(ctx->worker, call);
	return 0;
}

void worker_on_result(struct praas_worker_end *end,
		      const struct praas_worker_frame *frame)
{
	struct worker *w = (struct worker *)(void *)end; /* its first member */
	struct call *call = call_find(w, frame->head.id);
	const uint8_t *data = NULL;

	if (frame->head.bytes != 0 &&
	    praas_worker_end_view(end, frame->segment, frame->offset, frame->head.bytes,
				  &data) != 0)
		worker_fatal(w, "a result lies nowhere");
	if (!call || call->state != CALL_SENT) {
		/* Of an invocation that has ended meanwhile. */
		if (data)
			praas_worker_end_return(end, frame->segment, frame->offset);
		return;
	}
	call->status = frame->head.status;
	call->result = (struct praas_view){ .data = data, .bytes = frame->head.bytes };
	if (data) {
		call->result.token = (uint64_t)frame->segment << 48 | frame->offset;
		worker_borrowed(w, call->result.token);
	}
	call->state = CALL_DONE;
}

void ctx_calls_drop(struct ctx *ctx)
{
	struct worker *w = ctx->worker;

	if (w->deferred && w->deferred->depth == ctx->depth)
		ctx_flush_deferred(ctx, true);
	for (uint64_t used = w->calls_used; used != 0; used &= used - 1) {
		struct call *call = &w->calls[__builtin_ctzll(used)];

		if (call->depth ==
		    ctx->depth) /* its outcome, if it comes, is given back */
			call_free(w, call);
	}
}
