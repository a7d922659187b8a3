/* SPDX-License-Identifier: Apache-2.0
 *
 * The function API over the process directly: inputs, result, calls of other functions.
 * Nothing here waits: what is not there yet is -EAGAIN.
 */
#include <errno.h>
#include <string.h>

#include "dataplane/inline_data.h"
#include "dataplane/inline_private.h"

/* Views that hold something say so in their token: what, and which. */
#define TOKEN_CALL (1ull << 62)
#define FORWARD_SHARED_MAX 1024u /* what is copied next to its header when it is sent */

static int ctx_input(struct praas_ctx *base, uint32_t index, struct praas_msg *ret_msg)
{
	const struct praas_inline_ctx *ctx = praas_inline_of(base);
	const struct praas_buf *in;

	if (praas_unlikely(index >= ctx->inv->inputs_count))
		return -ENOENT;
	in = praas_invocation_input(ctx->inv, index);
	*ret_msg = (struct praas_msg){ .source = ctx->inv->source };
	if (praas_unlikely(ctx->inv->inputs_more != NULL))
		ret_msg->source = in->head.source;
	if (praas_likely(in != NULL)) {
		ret_msg->view.data = in->data;
		ret_msg->view.bytes = in->head.bytes;
	}
	return 0;
}

/* ---- result ---- */

int praas_inline_alloc(struct praas_inline_ctx *ctx, uint64_t bytes,
		       struct praas_buf **ret_buf)
{
	const struct praas_process *p = ctx->process;
	struct praas_invocation *inv = ctx->inv;
	int rc;

	if (praas_unlikely(bytes > p->config.bytes_max))
		return -EMSGSIZE;
	rc = inv->caller.alloc(inv->caller.user, bytes, ret_buf);
	/* The caller is slow to give its results back: ours may cost a copy, but waits for it. */
	if (praas_unlikely(rc == -ENOBUFS))
		rc = p->config.memory->alloc(p->config.memory->user, bytes, ret_buf);
	if (praas_unlikely(rc != 0))
		return rc == -EMSGSIZE ? rc : -ENOSPC;
	(*ret_buf)->head.bytes = bytes;
	return 0;
}

/* The whole input as it is, in memory that the caller can be sent: it becomes the result when the
 * entry has returned, without a copy. A longer one in memory that it shares would hold up what
 * else is received there. */
static bool may_forward(const struct praas_inline_ctx *ctx,
			const struct praas_view *view)
{
	const struct praas_buf *in = ctx->inv->inputs[0];

	return ctx->inv->inputs_more == NULL && in != NULL && view->bytes != 0 &&
	       view->data == in->data && view->bytes == in->head.bytes &&
	       (in->capacity >= view->bytes || view->bytes <= FORWARD_SHARED_MAX);
}

static int ctx_output(struct praas_ctx *base, size_t bytes, void **ret_data)
{
	struct praas_inline_ctx *ctx = praas_inline_of(base);
	struct praas_buf *buf = NULL;
	int rc;

	if (praas_unlikely(ctx->output != NULL) && ctx->output->capacity >= bytes) {
		ctx->output->head.bytes = bytes;
		*ret_data = ctx->output->data;
		return 0;
	}
	rc = praas_inline_alloc(ctx, bytes, &buf);
	if (praas_unlikely(rc != 0))
		return rc;
	praas_buf_release(ctx->output);
	ctx->output = buf;
	ctx->forward = false;
	*ret_data = buf->data;
	return 0;
}

/* The result is to be changed: it needs memory of its own. */
static PRAAS_COLD int copy_forwarded(struct praas_inline_ctx *ctx)
{
	const struct praas_buf *in = ctx->inv->inputs[0];
	void *data;
	int rc = ctx_output(&ctx->base, in->head.bytes, &data);

	if (rc == 0)
		memcpy(data, in->data, in->head.bytes);
	return rc;
}

static int ctx_output_resize(struct praas_ctx *base, size_t bytes, void **ret_data)
{
	struct praas_inline_ctx *ctx = praas_inline_of(base);
	struct praas_buf *buf = NULL, *old;
	int rc = ctx->forward ? copy_forwarded(ctx) : 0;

	if (rc != 0)
		return rc;
	old = ctx->output;
	if (!old ||
	    (bytes > ctx->process->config.bytes_max && bytes > old->head.bytes) ||
	    bytes <= old->capacity) {
		if (old && bytes > ctx->process->config.bytes_max)
			return -EMSGSIZE;
		return ctx_output(base, bytes, ret_data);
	}
	rc = praas_inline_alloc(ctx, bytes, &buf);
	if (rc != 0)
		return rc;
	if (old->head.bytes)
		memcpy(buf->data, old->data, old->head.bytes);
	praas_buf_release(old);
	ctx->output = buf;
	*ret_data = buf->data;
	return 0;
}

static int ctx_output_view(struct praas_ctx *base, const struct praas_view *view)
{
	struct praas_inline_ctx *ctx = praas_inline_of(base);
	struct praas_buf *buf = NULL;
	int rc;

	if (view->bytes && !view->data)
		return -EINVAL;
	if (praas_likely(may_forward(ctx, view))) {
		praas_buf_release(ctx->output);
		ctx->output = NULL;
		ctx->forward = true;
		return 0;
	}
	/* The view may be the present result: that one goes last. */
	rc = praas_inline_alloc(ctx, view->bytes, &buf);
	if (rc != 0)
		return rc;
	if (view->bytes)
		memcpy(buf->data, view->data, view->bytes);
	praas_buf_release(ctx->output);
	ctx->output = buf;
	ctx->forward = false;
	return 0;
}

static void ctx_fail_text(struct praas_ctx *base, const char *text)
{
	struct praas_inline_ctx *ctx = praas_inline_of(base);
	size_t n = strnlen(text, PRAAS_ERROR_TEXT_MAX - 1);

	memcpy(ctx->text, text, n);
	ctx->text[n] = '\0';
	ctx->has_text = true;
}

/* ---- calls ---- */

void praas_inline_call_done(void *user, struct praas_invocation *inv, int32_t status,
			    struct praas_buf *result, uint64_t run_ns)
{
	struct praas_inline_call *call = user;

	(void)inv;
	(void)run_ns;
	if (call->abandoned) {
		praas_buf_release(result);
		call->next = call->ex->free_calls;
		call->ex->free_calls = call;
		return;
	}
	call->status = status;
	call->result = result;
	call->done = true;
}

static int call_alloc(void *user, uint64_t bytes, struct praas_buf **ret_buf)
{
	const struct praas_inline_call *call = user;
	const struct praas_memory *memory = call->ex->base.process->config.memory;

	return memory->alloc(memory->user, bytes, ret_buf);
}

static struct praas_inline_call *call_new(struct praas_inline_ctx *ctx)
{
	struct praas_inline_call *call = ctx->ex->free_calls;

	if (!call)
		return NULL;
	ctx->ex->free_calls = call->next;
	call->next = ctx->calls;
	ctx->calls = call;
	call->generation++;
	call->result = NULL;
	call->done = false;
	call->abandoned = false;
	return call;
}

/* Out of the context's list and back to the free ones. */
static void call_free(struct praas_inline_ctx *ctx, struct praas_inline_call *call)
{
	struct praas_inline_call **at = &ctx->calls;

	while (*at != call)
		at = &(*at)->next;
	*at = call->next;
	praas_buf_release(call->result);
	call->result = NULL;
	call->next = ctx->ex->free_calls;
	ctx->ex->free_calls = call;
}

static uint64_t call_number(const struct praas_inline_call *call)
{
	return (uint64_t)call->generation << 16 | (uint64_t)(call - call->ex->calls);
}

/* The context's own call of that number, or NULL. */
static struct praas_inline_call *call_find(const struct praas_inline_ctx *ctx,
					   uint64_t number)
{
	struct praas_inline_call *call = ctx->calls;

	while (call && call_number(call) != number)
		call = call->next;
	return call;
}

static int ctx_invoke(struct praas_ctx *base, praas_pid_t destination,
		      const char *function, const char *key, const void *data,
		      size_t bytes, uint64_t *ret_call)
{
	struct praas_inline_ctx *ctx = praas_inline_of(base);
	struct praas_process *p = ctx->process;
	struct praas_fn_call c = { .destination = destination,
				   .source = p->config.pid,
				   .key = key ? key : "",
				   .parent = ctx->inv };
	uint8_t trace[PRAAS_TRACE_BYTES];
	struct praas_inline_call *call;
	uint64_t id = 0;
	int rc;

	c.key_bytes = (uint32_t)strnlen(c.key, PRAAS_KEY_MAX + 1);
	if (praas_process_function(p, function, &c.function) != 0)
		return -ENOENT;
	if (bytes > p->config.bytes_max)
		return -EMSGSIZE;
	if (bytes) {
		if (p->config.memory->alloc(p->config.memory->user, bytes, &c.input) !=
		    0)
			return -ENOBUFS;
		memcpy(c.input->data, data, bytes);
		c.input->head.bytes = bytes;
	}
	call = call_new(ctx);
	if (!call) {
		praas_buf_release(c.input);
		return -ENOBUFS;
	}
	c.caller = (struct praas_invocation_caller){ .done = praas_inline_call_done,
						     .alloc = call_alloc,
						     .user = call };
	if (praas_unlikely(praas_span_traced(&base->info))) {
		praas_span_hand_on(&base->info, trace);
		c.trace = trace;
	}
	*ret_call = call_number(call);
	rc = praas_process_fn_invoke(p, &c, &id);
	call->inv_id = id;
	if (rc != 0) {
		praas_buf_release(c.input);
		call_free(ctx, call);
	}
	return rc;
}

static int ctx_wait(struct praas_ctx *base, uint64_t number, int64_t timeout_ns,
		    int *ret_status, struct praas_view *ret_result)
{
	struct praas_inline_ctx *ctx = praas_inline_of(base);
	struct praas_inline_call *call = call_find(ctx, number);

	struct praas_invocation *inv;

	if (!call)
		return -EINVAL;
	/* It is queued behind others: it runs now, out of its turn. */
	if (praas_unlikely(!call->done) &&
	    praas_process_fn_needs(ctx->process, call->inv_id, &inv) == 0)
		(void)praas_process_start_queued(ctx->process, inv);
	if (praas_unlikely(!call->done)) {
		if (timeout_ns >= 0)
			return -EAGAIN;
		/* Nothing else runs while we wait. */
		(void)praas_process_fn_cancel(ctx->process, ctx->process->config.pid,
					      call->inv_id);
		if (call->done)
			call_free(ctx, call);
		return -EDEADLK;
	}
	*ret_status = call->status;
	*ret_result = (struct praas_view){ .token = TOKEN_CALL | number };
	if (call->result) {
		ret_result->data = call->result->data;
		ret_result->bytes = call->result->head.bytes;
	}
	return 0;
}

static void ctx_release(struct praas_ctx *base, struct praas_view *view)
{
	struct praas_inline_ctx *ctx = praas_inline_of(base);
	struct praas_inline_call *call;

	if (view->token & TOKEN_CALL) {
		call = call_find(ctx, view->token & ~TOKEN_CALL);
		if (call && call->done)
			call_free(ctx, call);
	} else if (view->token) {
		praas_inline_message_release(ctx, view->token);
	}
	*view = (struct praas_view){ 0 };
}

static PRAAS_COLD void end_calls(struct praas_inline_ctx *ctx)
{
	while (ctx->calls) {
		struct praas_inline_call *call = ctx->calls;

		if (call->done) {
			call_free(ctx, call);
			continue;
		}
		call->abandoned = true;
		ctx->calls = call->next;
	}
}

int32_t praas_inline_ctx_end(struct praas_inline_ctx *ctx, int32_t status)
{
	if (praas_unlikely(ctx->calls != NULL))
		end_calls(ctx);
	return praas_unlikely(ctx->dirty) ? praas_inline_data_end(ctx, status) : status;
}

/* ---- the rest ---- */

static bool ctx_cancelled(struct praas_ctx *base)
{
	const struct praas_inline_ctx *ctx = praas_inline_of(base);

	return ctx->inv->cancelled ||
	       (ctx->inv->deadline_ns && ctx->inv->deadline_ns <= praas_now_ns());
}

static int ctx_member(struct praas_ctx *base, const char *name, praas_pid_t *ret_pid)
{
	const struct praas_inline_ctx *ctx = praas_inline_of(base);

	return praas_process_fn_member(ctx->process, name,
				       (uint32_t)strnlen(name, PRAAS_NAME_MAX + 1),
				       ret_pid);
}

static int ctx_members(struct praas_ctx *base, struct praas_member_info *ret_infos,
		       uint32_t infos_max, uint32_t *ret_count, uint64_t *ret_version)
{
	const struct praas_inline_ctx *ctx = praas_inline_of(base);
	const struct praas_members *list;
	uint32_t first, n;
	int rc = praas_process_fn_members(ctx->process, 0, &list, &first);

	if (rc != 0)
		return rc;
	n = infos_max < list->count ? infos_max : list->count;
	if (n != 0)
		memcpy(ret_infos, list->items, n * sizeof(*ret_infos));
	*ret_count = list->count;
	*ret_version = list->version;
	return 0;
}

static int ctx_members_wait(struct praas_ctx *base, uint64_t version,
			    int64_t timeout_ns, uint64_t *ret_version)
{
	const struct praas_inline_ctx *ctx = praas_inline_of(base);
	struct praas_fn_wait wait = { .deadline_ns = 0 };
	int rc = praas_process_fn_members_wait(ctx->process, version, &wait);

	(void)timeout_ns; /* an inline function never waits */
	*ret_version = praas_process_members_version(ctx->process);
	return rc;
}

static void ctx_log(struct praas_ctx *base, int level, const char *text)
{
	const struct praas_inline_ctx *ctx = praas_inline_of(base);

	const struct praas_call_info *info = &ctx->base.info;
	const struct praas_function_log line = { .function = info->function,
						 .text = text,
						 .level = level,
						 .trace = praas_span_traced(info)
								  ? info->trace_id
								  : NULL };

	praas_process_fn_log(ctx->process, &line);
}

static int ctx_msg_trace(struct praas_ctx *base, const struct praas_msg *msg,
			 struct praas_trace_context *ret_trace)
{
	const struct praas_inline_ctx *ctx = praas_inline_of(base);

	return praas_span_told(ctx->trace, ctx->traced_sequence, msg, ret_trace);
}

const struct praas_function_ops praas_inline_ops = {
	.abi = PRAAS_FUNCTION_ABI,
	.size = sizeof(struct praas_function_ops),
	.input = ctx_input,
	.output = ctx_output,
	.output_resize = ctx_output_resize,
	.output_view = ctx_output_view,
	.fail_text = ctx_fail_text,
	.state_get = praas_inline_state_get,
	.buffer = praas_inline_buffer,
	.state_put = praas_inline_state_put,
	.state_delete = praas_inline_state_delete,
	.state_cas = praas_inline_state_cas,
	.state_list = praas_inline_state_list,
	.state_commit = praas_inline_state_commit,
	.update_begin = praas_inline_update_begin,
	.update_commit = praas_inline_update_commit,
	.send = praas_inline_send,
	.recv = praas_inline_recv,
	.peek = praas_inline_peek,
	.release = ctx_release,
	.invoke = ctx_invoke,
	.wait = ctx_wait,
	.cancelled = ctx_cancelled,
	.member = ctx_member,
	.log = ctx_log,
	.msg_trace = ctx_msg_trace,
	.members = ctx_members,
	.members_wait = ctx_members_wait,
};
