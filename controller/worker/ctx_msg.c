/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages: always the controller's business, one question and one answer each.
 */
#include <errno.h>
#include <string.h>

#include "controller/worker/worker.h"

int ctx_send(struct praas_ctx *head, praas_pid_t destination, const char *key,
	     const void *data, size_t bytes, uint32_t flags)
{
	struct ctx *ctx = ctx_of(head);
	struct praas_frame f = { .kind = PRAAS_FRAME_SEND,
				 .key_bytes = ctx_key_bytes(key),
				 .bytes = bytes,
				 .aux = destination };
	struct praas_worker_frame reply;
	struct praas_worker_buffer b;
	int rc;

	if (f.key_bytes == 0 || (bytes != 0 && !data) ||
	    (flags & ~(PRAAS_COPY | PRAAS_NOWAIT)))
		return -EINVAL;
	f.status = worker_asker(ctx);
	f.deadline_ns = flags & PRAAS_NOWAIT ? 1 : head->info.deadline_ns;
	rc = ctx_take_or_copy(ctx, data, bytes, flags, &b);
	if (rc != 0)
		return rc;
	if (praas_unlikely(praas_span_traced(&head->info))) {
		ctx_flush_deferred(ctx, false); /* it has a slot of its own */
		f.flags = PRAAS_FRAME_TRACE;
		praas_span_hand_on(&head->info,
				   praas_worker_end_trace(&ctx->worker->end));
	}
	return ctx_request(ctx, &f, key, b.segment, b.offset, &reply);
}

/* A message that the controller names. Its token gives it back early. */
static void take_message(struct ctx *ctx, const struct praas_worker_frame *reply,
			 struct praas_msg *ret_msg)
{
	const uint8_t *data = NULL;
	uint64_t token = 0;

	if (reply->head.bytes != 0) {
		if (praas_worker_end_view(&ctx->worker->end, reply->segment,
					  reply->offset, reply->head.bytes, &data) != 0)
			worker_fatal(ctx->worker, "a message lies nowhere");
		token = (uint64_t)reply->segment << 48 | reply->offset;
		worker_borrowed(ctx->worker, token);
	}
	*ret_msg = (struct praas_msg){
		.view = { .data = data, .bytes = reply->head.bytes, .token = token },
		.source = reply->head.aux,
		.sequence = reply->head.deadline_ns
	};
	ctx->traced_sequence = 0;
	if (praas_unlikely(reply->head.flags & PRAAS_FRAME_TRACE)) {
		ctx->traced_sequence = ret_msg->sequence;
		memcpy(ctx->trace, ctx->worker->end.order->message_trace,
		       sizeof(ctx->trace));
	}
}

int ctx_msg_trace(struct praas_ctx *head, const struct praas_msg *msg,
		  struct praas_trace_context *ret_trace)
{
	const struct ctx *ctx = ctx_of(head);

	return praas_span_told(ctx->trace, ctx->traced_sequence, msg, ret_trace);
}

static int receive(struct ctx *ctx, struct praas_frame *f, const char *key,
		   uint32_t flags, struct praas_msg *ret_msg)
{
	struct praas_worker_frame reply;
	struct praas_worker_buffer copy;
	struct praas_msg msg;
	int rc;

	f->key_bytes = ctx_key_bytes(key);
	if (f->key_bytes == 0 || (flags & ~PRAAS_COPY))
		return -EINVAL;
	f->status = worker_asker(ctx);
	while ((rc = ctx_request(ctx, f, key, 0, 0, &reply)) == -EINTR)
		worker_help(ctx->worker, ctx);
	if (rc != 0)
		return rc;
	take_message(ctx, &reply, &msg);
	if ((flags & PRAAS_COPY) && msg.view.bytes)
		rc = ctx_buffer(ctx, msg.view.bytes, &copy);
	if (rc == 0 && (flags & PRAAS_COPY) && msg.view.bytes) {
		memcpy(copy.data, msg.view.data, msg.view.bytes);
		worker_return(ctx->worker, msg.view.token);
		msg.view = (struct praas_view){ .data = copy.data,
						.bytes = msg.view.bytes,
						.token = (uint64_t)copy.segment << 48 |
							 copy.offset };
	}
	*ret_msg = msg; /* without memory for a copy it is this or lost */
	if (praas_unlikely(ctx->traced_sequence != 0) && f->kind == PRAAS_FRAME_RECV)
		praas_span_take_over(&ctx->head.info, ctx->trace);
	return rc;
}

int ctx_recv(struct praas_ctx *head, praas_pid_t source, const char *key,
	     int64_t timeout_ns, uint32_t flags, struct praas_msg *ret_msg)
{
	struct praas_frame f = { .kind = PRAAS_FRAME_RECV,
				 .aux = source,
				 .deadline_ns = wait_until(timeout_ns) };

	return receive(ctx_of(head), &f, key, flags, ret_msg);
}

int ctx_peek(struct praas_ctx *head, praas_pid_t source, const char *key,
	     struct praas_msg *ret_msg)
{
	struct praas_frame f = { .kind = PRAAS_FRAME_PEEK, .aux = source };

	return receive(ctx_of(head), &f, key, PRAAS_SHARE, ret_msg);
}
