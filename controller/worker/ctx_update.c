/* SPDX-License-Identifier: Apache-2.0
 *
 * Exclusive updates in place. The controller grants a lease; the object is updated where it lies
 * when that is our arena, else it moves there: once, and then it stays.
 */
#include <errno.h>
#include <string.h>

#include "controller/worker/worker.h"

static struct update *free_slot(struct ctx *ctx)
{
	for (uint32_t i = 0; i < UPDATES_MAX; i++)
		if (ctx->updates[i].token == 0)
			return &ctx->updates[i];
	return NULL;
}

static void updating(struct worker *w, uint64_t offset_plus_one)
{
	atomic_store_explicit(&w->end.line->updating, offset_plus_one,
			      memory_order_relaxed);
}

/* Where the function may write. */
static int place(struct ctx *ctx, struct update *u,
		 const struct praas_worker_frame *grant, void **ret_data)
{
	struct worker *w = ctx->worker;
	const uint8_t *data = NULL;
	int rc;

	u->moved = (struct praas_worker_buffer){ 0 };
	u->bytes = grant->head.bytes;
	if (u->bytes == 0) {
		*ret_data = NULL;
		return 0;
	}
	if (grant->segment != 0 &&
	    praas_worker_end_view(&w->end, grant->segment, grant->offset, u->bytes,
				  &data) != 0)
		worker_fatal(w, "an object to update lies nowhere");
	if (grant->segment == w->end.start.arena_segment) {
		updating(w, grant->offset + 1);
		*ret_data = w->end.arena.base + grant->offset;
		return 0;
	}
	rc = praas_worker_end_alloc(&w->end, u->bytes, &u->moved);
	if (rc != 0)
		return rc;
	if (data)
		memcpy(u->moved.data, data, u->bytes);
	else
		memset(u->moved.data, 0, u->bytes);
	w->copies += data ? 1 : 0;
	*ret_data = u->moved.data;
	return 0;
}

static int end_update(struct ctx *ctx, struct update *u)
{
	struct praas_frame f = { .kind = PRAAS_WORKER_UPDATE_COMMIT,
				 .key_bytes = u->key_bytes,
				 .flags = PRAAS_FRAME_ONE_WAY };

	/* In order with whatever follows: no answer is needed to know that it counts. */
	f.bytes = u->moved.segment ? u->bytes : 0;
	if (praas_worker_end_push(&ctx->worker->end, &f, u->key, u->moved.segment,
				  u->moved.offset) != 0)
		worker_fatal(ctx->worker, "cannot end an update");
	updating(ctx->worker, 0);
	ctx->updates_count -= u->token != 0;
	u->token = 0;
	return 0;
}

int ctx_update_begin(struct praas_ctx *head, const char *key, size_t bytes,
		     int64_t timeout_ns, struct praas_update *ret_update)
{
	struct ctx *ctx = ctx_of(head);
	struct praas_frame f = { .kind = PRAAS_WORKER_UPDATE_BEGIN,
				 .key_bytes = ctx_key_bytes(key),
				 .aux = bytes };
	struct update *u = free_slot(ctx);
	struct praas_worker_frame reply;
	void *data = NULL;
	int rc;

	if (f.key_bytes == 0)
		return -EINVAL;
	if (bytes > ctx->worker->end.start.bytes_max)
		return -EMSGSIZE;
	if (!u)
		return -ENOSPC;
	f.deadline_ns = wait_until(timeout_ns);
	rc = ctx_request(ctx, &f, key, 0, 0, &reply);
	if (rc != 0)
		return rc == -EAGAIN ? -EBUSY : rc;
	u->key_bytes = f.key_bytes;
	memcpy(u->key, key, f.key_bytes);
	u->key[f.key_bytes] = '\0';
	rc = place(ctx, u, &reply, &data);
	if (rc != 0) {
		(void)end_update(ctx, u); /* unchanged, but the lease has to go back */
		return rc;
	}
	u->token = ++ctx->worker->tokens;
	ctx->updates_count++;
	*ret_update = (struct praas_update){ .data = data,
					     .bytes = u->bytes,
					     .version = reply.head.aux,
					     .token = u->token };
	return 0;
}

int ctx_update_commit(struct praas_ctx *head, struct praas_update *update)
{
	struct ctx *ctx = ctx_of(head);

	if (update->token == 0)
		return -EINVAL;
	for (uint32_t i = 0; i < UPDATES_MAX; i++) {
		if (ctx->updates[i].token != update->token)
			continue;
		*update = (struct praas_update){ 0 };
		return end_update(ctx, &ctx->updates[i]);
	}
	return -EINVAL;
}

void ctx_updates_drop(struct ctx *ctx)
{
	for (uint32_t i = 0; i < UPDATES_MAX; i++)
		if (ctx->updates[i].token != 0)
			(void)end_update(ctx, &ctx->updates[i]);
}
