/* SPDX-License-Identifier: Apache-2.0
 *
 * The inline executor: functions of trusted code, called on the data thread, run to completion.
 * A call costs what is in start(): a context from a stack, the entry, and the reply.
 */
#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "dataplane/inline_private.h"

static struct praas_inline *of(struct praas_executor *ex)
{
	return (struct praas_inline *)(void *)ex;
}

#define SPECIAL (PRAAS_FRAME_TRACE | PRAAS_FRAME_TIMING)
#define INLINED inline __attribute__((always_inline))

/* Facts that the function may ask for. Names and key are borrowed: they outlive the call. */
static INLINED void set_info(struct praas_inline_ctx *ctx,
			     const struct praas_invocation *inv,
			     const struct praas_buf *in, bool special)
{
	struct praas_call_info *info = &ctx->base.info;

	info->id = inv->id;
	info->source = inv->source;
	info->deadline_ns = inv->deadline_ns;
	info->inputs = inv->inputs_count;
	info->function = ctx->ex->functions[inv->function].name;
	info->key = in ? in->key : "";
	if (special && (in->head.flags & PRAAS_FRAME_TRACE)) {
		memcpy(info->trace_id, in->trace, sizeof(info->trace_id));
		memcpy(info->span_id, in->trace + sizeof(info->trace_id),
		       sizeof(info->span_id));
		info->trace_flags =
			in->trace[sizeof(info->trace_id) + sizeof(info->span_id)];
	} else {
		memset(info->trace_id, 0, sizeof(info->trace_id));
		memset(info->span_id, 0, sizeof(info->span_id));
		info->trace_flags = 0;
	}
}

/* The text of an error becomes the payload, with its zero; without one, or without memory for
 * it, the status has to do. */
static PRAAS_COLD void text_to_output(struct praas_inline_ctx *ctx)
{
	uint64_t bytes;

	praas_buf_release(ctx->output);
	ctx->output = NULL;
	ctx->forward = false;
	if (!ctx->has_text)
		return;
	bytes = strlen(ctx->text) + 1;
	if (praas_inline_alloc(ctx, bytes, &ctx->output) != 0)
		return;
	memcpy(ctx->output->data, ctx->text, bytes);
	ctx->output->head.bytes = bytes;
}

/* An entry returns 0 or its own positive code; a negative errno that it passed on is made one. */
static int32_t status_of_entry(int rc)
{
	if (rc >= 0)
		return rc;
	return rc == INT32_MIN ? INT32_MAX : -rc;
}

/* special, known when this is compiled: the input has a flag of SPECIAL. */
static INLINED int run(struct praas_executor *base, struct praas_invocation *inv,
		       const struct praas_buf *in, bool special)
{
	struct praas_inline *ex = of(base);
	struct praas_inline_ctx *ctx;
	struct praas_buf *result;
	uint64_t began = 0, ran = 0;
	int32_t status;

	if (praas_unlikely(ex->depth == PRAAS_INLINE_DEPTH))
		return -EAGAIN;
	ctx = &ex->ctxs[ex->depth++];
	ctx->process = base->process;
	ctx->inv = inv;
	ctx->output = NULL;
	ctx->forward = false;
	ctx->has_text = false;
	ctx->traced_sequence = 0;
	set_info(ctx, inv, in, special);
	ctx->base.info.pid = base->process->config.pid;
	ctx->base.info.epoch = base->process->epoch;
	if (special)
		began = praas_now_ns();
	status = status_of_entry(ex->entries[inv->function](&ctx->base));
	if (special)
		ran = praas_now_ns();
	status = praas_inline_ctx_end(ctx, status);
	if (special && (inv->flags & PRAAS_FRAME_TIMING)) {
		inv->arrived_ns = began - inv->arrived_ns;
		inv->state_ns = praas_now_ns() - ran;
		inv->measured = true;
	}
	if (praas_unlikely(status != 0))
		text_to_output(ctx);
	result = ctx->output;
	if (ctx->forward) {
		result = inv->inputs[0];
		inv->inputs[0] = NULL;
	}
	ex->depth--;
	praas_process_complete(base->process, inv, status, result, ran - began);
	return 0;
}

static PRAAS_COLD int start_special(struct praas_executor *base,
				    struct praas_invocation *inv,
				    const struct praas_buf *in)
{
	return run(base, inv, in, true);
}

static int start(struct praas_executor *base, struct praas_invocation *inv)
{
	const struct praas_buf *in = praas_invocation_input(inv, 0);

	if (praas_unlikely(in && (in->head.flags & SPECIAL)))
		return start_special(base, inv, in);
	return run(base, inv, in, false);
}

static unsigned capacity(const struct praas_executor *base)
{
	const struct praas_inline *ex = (const struct praas_inline *)(const void *)base;

	return PRAAS_INLINE_DEPTH - ex->depth;
}

static void cancel(struct praas_executor *base, struct praas_invocation *inv)
{
	(void)base;
	(void)inv; /* inv->cancelled is what the function looks at */
}

static unsigned poll(struct praas_executor *base, unsigned budget)
{
	(void)base;
	(void)budget;
	return 0; /* whatever was started has ended */
}

static int arm(struct praas_executor *base, int *ret_fd)
{
	(void)base;
	*ret_fd = -1;
	return 0;
}

static void stop(struct praas_executor *base, uint64_t deadline_ns)
{
	(void)base;
	(void)deadline_ns; /* nothing runs between two calls */
}

static void free_inline(struct praas_executor *base)
{
	struct praas_inline *ex = of(base);

	if (ex->calls)
		for (uint32_t i = 0; i < PRAAS_INLINE_CALLS; i++)
			praas_buf_release(ex->calls[i].result);
	if (ex->libraries)
		for (uint32_t i = 0; i < ex->functions_count; i++)
			if (ex->libraries[i])
				(void)dlclose(
					ex->libraries[i]); /* nothing to do about it */
	free(ex->libraries);
	free(ex->entries);
	free(ex->ctxs);
	free(ex->calls);
	free(ex->writes);
	free(ex);
}

static const struct praas_executor_ops inline_ops = {
	.name = "inline",
	.start = start,
	.capacity = capacity,
	.cancel = cancel,
	.poll = poll,
	.arm = arm,
	.stop = stop,
	.free = free_inline,
};

static int load(struct praas_inline *ex, uint32_t i)
{
	const struct praas_function *f = &ex->functions[i];
	void *symbol;

	ex->libraries[i] = dlopen(f->library, RTLD_NOW | RTLD_LOCAL);
	if (!ex->libraries[i]) {
		(void)fprintf(stderr, "%s: %s\n", f->name, dlerror());
		return -ENOENT;
	}
	symbol = dlsym(ex->libraries[i], f->symbol);
	if (!symbol) {
		(void)fprintf(stderr, "%s: %s\n", f->name, dlerror());
		return -ENOENT;
	}
	/* POSIX lets a data pointer of dlsym() become a function pointer; C wants it copied. */
	memcpy(&ex->entries[i], &symbol, sizeof(symbol));
	return 0;
}

static int init_memory(struct praas_inline *ex)
{
	uint32_t n = ex->functions_count ? ex->functions_count : 1;

	ex->libraries = calloc(n, sizeof(*ex->libraries));
	ex->entries = calloc(n, sizeof(*ex->entries));
	ex->ctxs = calloc(PRAAS_INLINE_DEPTH, sizeof(*ex->ctxs));
	ex->calls = calloc(PRAAS_INLINE_CALLS, sizeof(*ex->calls));
	ex->writes = calloc(PRAAS_INLINE_DEPTH * PRAAS_WRITES_MAX, sizeof(*ex->writes));
	if (!ex->libraries || !ex->entries || !ex->ctxs || !ex->calls || !ex->writes)
		return -ENOMEM;
	for (uint32_t i = 0; i < PRAAS_INLINE_DEPTH; i++) {
		ex->ctxs[i].base.ops = &praas_inline_ops;
		ex->ctxs[i].ex = ex;
		ex->ctxs[i].writes = &ex->writes[i * PRAAS_WRITES_MAX];
	}
	for (uint32_t i = 0; i < PRAAS_INLINE_CALLS; i++) {
		ex->calls[i].ex = ex;
		ex->calls[i].next = ex->free_calls;
		ex->free_calls = &ex->calls[i];
	}
	return 0;
}

int praas_executor_inline_new(const struct praas_function *functions, uint32_t count,
			      struct praas_executor **ret_ex)
{
	struct praas_inline *ex = calloc(1, sizeof(*ex));
	int rc;

	if (!ex)
		return -ENOMEM;
	ex->base.ops = &inline_ops;
	ex->functions = functions;
	ex->functions_count = count;
	rc = init_memory(ex);
	for (uint32_t i = 0; rc == 0 && i < count; i++)
		rc = load(ex, i);
	if (rc != 0) {
		free_inline(&ex->base);
		return rc;
	}
	*ret_ex = &ex->base;
	return 0;
}
