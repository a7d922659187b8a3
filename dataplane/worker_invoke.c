/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions that functions in workers start: an invocation like any other, whose caller is a slot of
 * the worker that asked.
 */
#include <errno.h>
#include <string.h>

#include "dataplane/worker_private.h"

static void push_outcome(struct wx_worker *w, const struct wx_call *call,
			 int32_t status, struct praas_buf *result, uint64_t run_ns)
{
	struct praas_frame f = { .kind = PRAAS_FRAME_RESULT,
				 .id = call->id,
				 .status = status,
				 .aux = run_ns };
	uint32_t segment = 0;
	uint64_t offset = 0;

	if (result && result->head.bytes != 0 &&
	    (wx_readable(w, &result) != 0 || wx_loan_add(w, NULL, result) != 0)) {
		praas_buf_release(result);
		result = NULL;
		f.status = status ? status : PRAAS_NO_MEMORY;
	}
	if (result && result->head.bytes != 0) {
		f.bytes = result->head.bytes;
		segment = result->segment;
		offset = result->offset;
		w->loans[w->loans_count - 1].depth = call->depth;
	} else {
		praas_buf_release(result);
	}
	wx_push(w, &f, segment, offset);
}

static void on_call_done(void *user, struct praas_invocation *inv, int32_t status,
			 struct praas_buf *result, uint64_t run_ns)
{
	struct wx_call *call = user;
	struct wx_worker *w = call->worker;

	(void)inv; /* it is known by its slot */
	call->used = false;
	/* Who asked has ended, or died. */
	if (call->life != w->life || (w->state != WX_BUSY && w->state != WX_IDLE)) {
		praas_buf_release(result);
		return;
	}
	push_outcome(w, call, status, result, run_ns);
	wx_wait_over(w, call);
}

static void on_forgotten_done(void *user, struct praas_invocation *inv, int32_t status,
			      struct praas_buf *result, uint64_t run_ns)
{
	(void)user;
	(void)inv;
	(void)status;
	(void)run_ns;
	praas_buf_release(result);
}

static int alloc_result(void *user, uint64_t bytes, struct praas_buf **ret_buf)
{
	const struct wx *ex = user;

	return ex->config.memory->alloc(ex->config.memory->user, bytes, ret_buf);
}

static int alloc_for_call(void *user, uint64_t bytes, struct praas_buf **ret_buf)
{
	return alloc_result(((struct wx_call *)user)->worker->ex, bytes, ret_buf);
}

static struct wx_call *call_slot(struct wx_worker *w)
{
	for (uint32_t i = 0; i < WX_CALLS_MAX; i++)
		if (!w->calls[i].used)
			return &w->calls[i];
	return NULL;
}

/* The input as the process wants it: with its key. */
static int call_input(struct wx_worker *w, const struct praas_frame *f,
		      uint32_t segment, uint64_t offset, const char *key,
		      struct praas_buf **ret_buf)
{
	int rc = wx_buf(w, segment, offset, f->bytes, ret_buf);

	if (rc != 0 || !*ret_buf)
		return rc;
	(*ret_buf)->head.kind = PRAAS_FRAME_INVOKE;
	(*ret_buf)->head.function = f->function;
	(*ret_buf)->head.key_bytes = f->key_bytes;
	memcpy((*ret_buf)->key, key, f->key_bytes + 1u);
	return 0;
}

int wx_on_invoke(struct wx_worker *w, const struct praas_frame *f, uint32_t segment,
		 uint64_t offset, const char *key)
{
	struct wx *ex = w->ex;
	bool one_way = (f->flags & PRAAS_FRAME_ONE_WAY) != 0;
	struct wx_call *slot = one_way ? NULL : call_slot(w);
	struct praas_fn_call call = { .destination = f->aux,
				      .source = ex->config.pid,
				      .deadline_ns = f->deadline_ns,
				      .function = f->function,
				      .key = key,
				      .key_bytes = f->key_bytes,
				      .parent = w->inv };
	uint8_t trace[PRAAS_TRACE_BYTES];
	uint64_t id;
	int rc = call_input(w, f, segment, offset, key, &call.input);

	if (rc == -EPROTO)
		return rc;
	if (praas_unlikely(f->flags & PRAAS_FRAME_TRACE)) {
		wx_take_trace(w, trace);
		call.trace = trace;
	}
	if (one_way) {
		call.caller = (struct praas_invocation_caller){
			.done = on_forgotten_done, .alloc = alloc_result, .user = ex
		};
	} else if (slot) {
		*slot = (struct wx_call){ .worker = w,
					  .id = f->id,
					  .life = w->life,
					  .used = true,
					  .depth = w->depth };
		call.caller = (struct praas_invocation_caller){ .done = on_call_done,
								.alloc = alloc_for_call,
								.user = slot };
	} else if (rc == 0) {
		rc = -ENOBUFS;
		praas_buf_release(call.input);
	}
	if (rc == 0) {
		rc = praas_process_fn_invoke(ex->base.process, &call, &id);
		if (rc != 0)
			praas_buf_release(call.input);
	}
	if (rc == 0 && slot)
		slot->inv_id = id;
	if (rc == 0)
		return 0;
	if (slot)
		slot->used = false;
	if (!one_way)
		push_outcome(w, &(struct wx_call){ .id = f->id }, praas_status_of(rc),
			     NULL, 0);
	return 0;
}
