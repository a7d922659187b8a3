/* SPDX-License-Identifier: Apache-2.0
 *
 * What a function may ask that needs no message: input, output, buffers, log, cancellation.
 */
#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "controller/worker/worker.h"

/* ---- buffers ---- */

int ctx_buffer(struct ctx *ctx, uint64_t bytes, struct praas_worker_buffer *ret_buffer)
{
	struct worker *w = ctx->worker;
	int rc;

	if (w->owned_count == OWNED_MAX)
		return -ENOSPC;
	rc = praas_worker_end_alloc(&w->end, bytes, ret_buffer);
	if (rc == 0)
		w->owned[w->owned_count++] = *ret_buffer;
	return rc;
}

bool ctx_take(struct ctx *ctx, const void *data, uint64_t bytes,
	      struct praas_worker_buffer *ret_buffer)
{
	struct worker *w = ctx->worker;

	/* From the end: what was made last is what is asked for. */
	for (uint32_t i = w->owned_count; i > ctx->owned_from; i--) {
		struct praas_worker_buffer *b = &w->owned[i - 1];

		if (b->data != data || bytes > b->capacity)
			continue;
		*ret_buffer = *b;
		*b = w->owned[--w->owned_count];
		return true;
	}
	return false;
}

int ctx_take_or_copy(struct ctx *ctx, const void *data, uint64_t bytes, uint32_t flags,
		     struct praas_worker_buffer *ret_buffer)
{
	int rc;

	if (bytes == 0) {
		*ret_buffer = (struct praas_worker_buffer){ 0 };
		return 0;
	}
	if (!(flags & PRAAS_COPY) && ctx_take(ctx, data, bytes, ret_buffer))
		return 0;
	rc = praas_worker_end_alloc(&ctx->worker->end, bytes, ret_buffer);
	if (rc != 0)
		return rc;
	memcpy(ret_buffer->data, data, bytes);
	ctx->worker->copies++;
	return 0;
}

void ctx_drop_owned(struct ctx *ctx)
{
	struct worker *w = ctx->worker;

	while (w->owned_count > ctx->owned_from)
		praas_worker_end_drop(&w->end, &w->owned[--w->owned_count]);
}

static int ops_buffer(struct praas_ctx *head, size_t bytes, void **ret_data)
{
	struct praas_worker_buffer b;
	int rc = ctx_buffer(ctx_of(head), bytes, &b);

	if (rc == 0)
		*ret_data = b.data;
	return rc;
}

uint8_t ctx_key_bytes(const char *key)
{
	size_t n = key ? strnlen(key, PRAAS_KEY_MAX + 1) : 0;

	return n <= PRAAS_KEY_MAX ? (uint8_t)n : 0;
}

/* ---- input ---- */

static int ops_input(struct praas_ctx *head, uint32_t index, struct praas_msg *ret_msg)
{
	struct ctx *ctx = ctx_of(head);
	const struct praas_worker_input *in =
		ctx->inputs ? ctx->inputs + index : &ctx->input;
	const uint8_t *data = ctx->data;

	if (index >= head->info.inputs)
		return -ENOENT;
	if (ctx->inputs && in->bytes != 0 &&
	    praas_worker_end_view(&ctx->worker->end, in->segment, in->offset, in->bytes,
				  &data) != 0)
		worker_fatal(ctx->worker, "an input lies nowhere");
	*ret_msg = (struct praas_msg){ .view = { .data = in->bytes ? data : NULL,
						 .bytes = in->bytes },
				       .source = in->source,
				       .sequence = in->sequence };
	return 0;
}

/* ---- output ---- */

void ctx_output_drop(struct ctx *ctx)
{
	struct output *out = &ctx->out;

	if (out->direct)
		praas_direct_drop(ctx->direct, out->buffer.offset);
	else if (out->buffer.segment != 0)
		praas_worker_end_drop(&ctx->worker->end, &out->buffer);
	*out = (struct output){ 0 };
}

/* Room for the result: where its reader can see it. */
static int output_alloc(struct ctx *ctx, uint64_t bytes, struct output *ret_out)
{
	struct output out = { .bytes = bytes };
	void *data = NULL;
	int rc = 0;

	if (bytes > ctx->worker->end.start.bytes_max)
		return -EMSGSIZE;
	if (bytes == 0) {
		*ret_out = out;
		return 0;
	}
	if (ctx->direct) {
		rc = praas_direct_alloc(ctx->direct, bytes, &out.buffer.offset, &data);
		out.direct = rc == 0;
		out.buffer.data = data;
		out.buffer.capacity = praas_align_up(bytes, 64);
		/* A segment of its own, which the client is shown with the result. */
		if (rc != 0)
			rc = praas_worker_end_alloc_big(&ctx->worker->end, bytes,
							&out.buffer);
	} else {
		rc = praas_worker_end_alloc(&ctx->worker->end, bytes, &out.buffer);
		out.segment = out.buffer.segment;
	}
	out.offset = out.buffer.offset;
	if (rc == 0)
		*ret_out = out;
	return rc == -ENOBUFS ? -ENOSPC : rc;
}

static int ops_output(struct praas_ctx *head, size_t bytes, void **ret_data)
{
	struct ctx *ctx = ctx_of(head);
	struct output out;
	int rc = output_alloc(ctx, bytes, &out);

	if (rc != 0)
		return rc;
	ctx_output_drop(ctx);
	ctx->out = out;
	*ret_data = out.buffer.data;
	return 0;
}

static int ops_output_resize(struct praas_ctx *head, size_t bytes, void **ret_data)
{
	struct ctx *ctx = ctx_of(head);
	struct output out;
	int rc;

	if (bytes <= ctx->out.buffer.capacity) {
		ctx->out.bytes = bytes;
		*ret_data = ctx->out.buffer.data;
		return 0;
	}
	rc = output_alloc(ctx, bytes, &out);
	if (rc != 0)
		return rc;
	if (ctx->out.bytes && ctx->out.buffer.data && bytes) {
		memcpy(out.buffer.data, ctx->out.buffer.data,
		       praas_min_u64(ctx->out.bytes, bytes));
		ctx->worker->copies++;
	}
	ctx_output_drop(ctx);
	ctx->out = out;
	*ret_data = out.buffer.data;
	return 0;
}

static int ops_output_view(struct praas_ctx *head, const struct praas_view *view)
{
	struct ctx *ctx = ctx_of(head);
	const uint8_t *data = view->data;
	void *copy;
	int rc;

	/* The input of a call by the controller: it has it, and sends it back as it is. */
	if (ctx->given && !ctx->inputs && view->bytes != 0 && data >= ctx->data &&
	    data + view->bytes <= ctx->data + ctx->input.bytes) {
		ctx_output_drop(ctx);
		/* Without capacity: nobody writes to it, but it can be copied to grow. */
		memcpy(&ctx->out.buffer.data, &data, sizeof(data));
		ctx->out.bytes = view->bytes;
		ctx->out.segment = ctx->input.segment;
		ctx->out.offset = ctx->input.offset + (uint64_t)(data - ctx->data);
		return 0;
	}
	rc = ops_output(head, view->bytes, &copy);
	if (rc == 0 && view->bytes) {
		memcpy(copy, data, view->bytes);
		ctx->worker->copies++;
	}
	return rc;
}

static void ops_fail_text(struct praas_ctx *head, const char *text)
{
	struct ctx *ctx = ctx_of(head);
	size_t n = strnlen(text, sizeof(ctx->text) - 1);

	memcpy(ctx->text, text, n);
	ctx->text[n] = '\0';
}

/* ---- the rest ---- */

static void ops_release(struct praas_ctx *head, struct praas_view *view)
{
	struct worker *w = ctx_of(head)->worker;
	uint32_t segment = (uint32_t)(view->token >> 48);
	struct praas_worker_buffer b;

	if (view->token == 0)
		return; /* nothing to give back before the end */
	/* In the arena: a buffer of this invocation, as the result of a function that ran in place
	 * is; or a message that we sent ourselves, and were lent back. */
	if (segment == w->end.start.arena_segment &&
	    ctx_take(ctx_of(head), view->data, view->bytes, &b))
		praas_worker_end_drop(&w->end, &b);
	else
		worker_return(w, view->token);
	*view = (struct praas_view){ 0 };
}

bool ctx_cancelled(struct praas_ctx *head)
{
	struct ctx *ctx = ctx_of(head);
	const struct praas_worker_order *order = ctx->worker->end.order;
	uint64_t deadline = head->info.deadline_ns;

	if (ctx->dispatch != 0 &&
	    atomic_load_explicit(ctx->level == 0
					 ? &order->cancel
					 : &order->nested_cancel[ctx->level - 1],
				 memory_order_relaxed) >= ctx->dispatch)
		return true;
	if (ctx->direct_number == 0)
		return false;
	/* The controller comes to know a deadline of a direct call late. */
	return atomic_load_explicit(&ctx->worker->end.order->direct_cancel,
				    memory_order_relaxed) >= ctx->direct_number ||
	       (deadline != 0 && praas_now_ns() >= deadline);
}

/* The number + 1 of the function that runs; 0: it is none of the table's. */
static uint16_t function_number(const struct worker *w, const char *name)
{
	for (uint32_t i = 0; i < w->end.start.functions_count; i++)
		if (name == w->end.functions[i].name) /* the very same string */
			return (uint16_t)(i + 1);
	return 0;
}

static void ops_log(struct praas_ctx *head, int level, const char *text)
{
	struct worker *w = ctx_of(head)->worker;
	struct praas_log_about about = { .function = function_number(
						 w, head->info.function) };
	enum praas_log_level l = PRAAS_LOG_DEBUG;

	if (level <= LOG_ERR)
		l = PRAAS_LOG_ERROR;
	else if (level == LOG_WARNING)
		l = PRAAS_LOG_WARNING;
	else if (level <= LOG_INFO)
		l = PRAAS_LOG_INFO;
	/* Full: dropped, and counted there. */
	memcpy(about.trace, head->info.trace_id, sizeof(about.trace));
	(void)praas_log_write(&w->end.log_tx, l, &about, text,
			      strnlen(text, PRAAS_LOG_TEXT_MAX));
	atomic_store_explicit(&w->end.line->log_dropped, w->end.log_tx.dropped,
			      memory_order_relaxed);
}

int ctx_request(struct ctx *ctx, struct praas_frame *f, const char *key,
		uint32_t segment, uint64_t offset, struct praas_worker_frame *ret_reply)
{
	int rc;

	ctx_flush_deferred(ctx, false);
	rc = praas_worker_end_request(&ctx->worker->end, f, key, segment, offset,
				      ret_reply);
	if (rc != 0)
		worker_fatal(ctx->worker, "the controller does not answer");
	return ret_reply->head.status;
}

const struct praas_function_ops worker_function_ops = {
	.abi = PRAAS_FUNCTION_ABI,
	.size = sizeof(struct praas_function_ops),
	.input = ops_input,
	.output = ops_output,
	.output_resize = ops_output_resize,
	.output_view = ops_output_view,
	.fail_text = ops_fail_text,
	.state_get = ctx_state_get,
	.buffer = ops_buffer,
	.state_put = ctx_state_put,
	.state_delete = ctx_state_delete,
	.state_cas = ctx_state_cas,
	.state_list = ctx_state_list,
	.state_commit = ctx_state_commit,
	.update_begin = ctx_update_begin,
	.update_commit = ctx_update_commit,
	.send = ctx_send,
	.recv = ctx_recv,
	.peek = ctx_peek,
	.release = ops_release,
	.invoke = ctx_invoke,
	.wait = ctx_wait,
	.cancelled = ctx_cancelled,
	.member = ctx_member,
	.log = ops_log,
	.msg_trace = ctx_msg_trace,
	.members = ctx_members,
	.members_wait = ctx_members_wait,
};

void worker_borrowed(struct worker *w, uint64_t token)
{
	if (w->end.in_direct >= 0 && w->borrowed_count < BORROWED_MAX)
		w->borrowed[w->borrowed_count++] = token;
}

void worker_return(struct worker *w, uint64_t token)
{
	for (uint32_t i = w->borrowed_count; i > 0; i--) {
		if (w->borrowed[i - 1] != token)
			continue;
		w->borrowed[i - 1] = w->borrowed[--w->borrowed_count];
		break;
	}
	praas_worker_end_return(&w->end, (uint32_t)(token >> 48),
				token & ((1ull << 48) - 1));
}

int ctx_output_share(struct ctx *ctx)
{
	struct praas_frame f = { .kind = PRAAS_WORKER_SHARE,
				 .status = (int32_t)ctx->direct->attach.client,
				 .aux = ctx->out.buffer.segment };
	struct praas_worker_frame reply;

	return ctx_request(ctx, &f, NULL, 0, 0, &reply);
}

void ctx_output_keep(struct ctx *ctx, struct call *call)
{
	struct worker *w = ctx->worker;

	call->result = (struct praas_view){ 0 };
	if (call->status != 0) {
		if (ctx->out.buffer.segment != 0)
			praas_worker_end_drop(&w->end, &ctx->out.buffer);
		ctx->out = (struct output){ .bytes = strlen(ctx->text) };
		if (ctx->out.bytes == 0 ||
		    praas_worker_end_alloc(&w->end, ++ctx->out.bytes,
					   &ctx->out.buffer) != 0)
			return;
		memcpy(ctx->out.buffer.data, ctx->text, ctx->out.bytes);
	}
	/* The result is the caller's to read until it ends. */
	if (ctx->out.buffer.segment != 0 && w->owned_count < OWNED_MAX) {
		w->owned[w->owned_count++] = ctx->out.buffer;
		call->result = (struct praas_view){
			.data = ctx->out.bytes ? ctx->out.buffer.data : NULL,
			.bytes = ctx->out.bytes,
			.token = (uint64_t)ctx->out.buffer.segment << 48 |
				 ctx->out.buffer.offset
		};
	}
}
