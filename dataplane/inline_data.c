/* SPDX-License-Identifier: Apache-2.0
 *
 * State and messages of inline functions. Writes are collected and committed when the entry
 * has returned 0. What a function was lent stays until then: replaced objects are held back
 * from the first read on.
 */
#include "dataplane/inline_data.h"

#include <errno.h>
#include <string.h>

#include "dataplane/inline_private.h"

/* Token of a message: its place + 1. (Calls have a bit of their own, inline_ctx.c.) */

static uint32_t key_length(const char *key)
{
	return (uint32_t)strnlen(key, PRAAS_KEY_MAX + 1);
}

static bool bad_key(uint32_t key_bytes)
{
	return key_bytes == 0 || key_bytes > PRAAS_KEY_MAX;
}

/* ---- memory to build in ---- */

int praas_inline_buffer(struct praas_ctx *base, size_t bytes, void **ret_data)
{
	struct praas_inline_ctx *ctx = praas_inline_of(base);
	struct praas_value value;
	uint8_t *data;
	int rc;

	if (bytes > ctx->process->config.bytes_max)
		return -EMSGSIZE;
	if (ctx->buffers_count == PRAAS_INLINE_BUFFERS)
		return -ENOSPC;
	rc = praas_process_value_new(ctx->process, bytes, &value, &data);
	if (rc != 0)
		return rc;
	ctx->dirty = true;
	ctx->buffers[ctx->buffers_count++] = value;
	*ret_data = data;
	return 0;
}

/* data as a value: the buffer that it is the beginning of, or a copy (with PRAAS_COPY always).
 * 0; -EINVAL more than the buffer has, or other flags; -EMSGSIZE; -ENOSPC. */
static int take_value(struct praas_inline_ctx *ctx, const void *data, size_t bytes,
		      uint32_t flags, struct praas_value *ret_value)
{
	uint8_t *copy;
	int rc;

	if (flags & ~PRAAS_COPY)
		return -EINVAL;
	if (bytes > ctx->process->config.bytes_max)
		return -EMSGSIZE;
	for (uint32_t i = ctx->buffers_count; i-- > 0;) {
		if ((flags & PRAAS_COPY) || ctx->buffers[i].data != data)
			continue;
		if (bytes > ctx->buffers[i].charge)
			return -EINVAL;
		*ret_value = ctx->buffers[i];
		ret_value->bytes = bytes;
		ctx->buffers[i] = ctx->buffers[--ctx->buffers_count];
		return 0;
	}
	*ret_value = (struct praas_value){ 0 };
	if (bytes == 0)
		return 0;
	rc = praas_process_value_new(ctx->process, bytes, ret_value, &copy);
	if (rc == 0)
		memcpy(copy, data, bytes);
	return rc;
}

/* ---- state ---- */

/* This invocation's own write of key, or NULL. */
static struct praas_state_write *own_write(const struct praas_inline_ctx *ctx,
					   const char *key, uint32_t key_bytes)
{
	for (uint32_t i = ctx->writes_count; i-- > 0;) {
		struct praas_state_write *w = &ctx->writes[i];

		if (w->key_bytes == key_bytes && memcmp(w->key, key, key_bytes) == 0)
			return w;
	}
	return NULL;
}

static void hold(struct praas_inline_ctx *ctx)
{
	if (ctx->holding)
		return;
	ctx->holding = true;
	ctx->dirty = true;
	praas_process_hold(ctx->process);
}

/* A view of value, or of a copy of it that lives as long as the context. */
static int give_view(struct praas_inline_ctx *ctx, const struct praas_value *value,
		     uint32_t flags, struct praas_view *ret_view)
{
	void *copy;
	int rc;

	*ret_view = (struct praas_view){ .data = value->data, .bytes = value->bytes };
	if (!(flags & PRAAS_COPY) || value->bytes == 0)
		return 0;
	rc = praas_inline_buffer(&ctx->base, value->bytes, &copy);
	if (rc != 0)
		return rc;
	memcpy(copy, value->data, value->bytes);
	ret_view->data = copy;
	return 0;
}

int praas_inline_state_get(struct praas_ctx *base, const char *key, uint32_t flags,
			   struct praas_view *ret_view, uint64_t *ret_version)
{
	struct praas_inline_ctx *ctx = praas_inline_of(base);
	uint32_t key_bytes = key_length(key);
	const struct praas_state_write *own;
	const struct praas_value *value;
	uint64_t version = 0;
	int rc;

	if (bad_key(key_bytes) || (flags & ~PRAAS_COPY))
		return -EINVAL;
	own = ctx->writes_count ? own_write(ctx, key, key_bytes) : NULL;
	if (own && own->erase)
		return -ENOENT;
	if (own) {
		value = &own->value;
	} else {
		rc = praas_process_fn_state_get(ctx->process, key, key_bytes, &value,
						&version);
		if (rc != 0)
			return rc;
		hold(ctx);
	}
	rc = give_view(ctx, value, flags, ret_view);
	if (rc == 0 && ret_version)
		*ret_version = version;
	return rc;
}

static int write_state(struct praas_inline_ctx *ctx, const char *key, const void *data,
		       size_t bytes, uint32_t flags, uint64_t expect)
{
	uint32_t key_bytes = key_length(key);
	struct praas_state_write *w;
	struct praas_value value;
	int rc;

	if (bad_key(key_bytes))
		return -EINVAL;
	w = own_write(ctx, key, key_bytes);
	if (!w && ctx->writes_count == PRAAS_WRITES_MAX)
		return -ENOSPC;
	rc = take_value(ctx, data, bytes, flags, &value);
	if (rc != 0)
		return rc;
	ctx->dirty = true;
	if (w) {
		/* What a view of the former value shows must stay until the entry returns. */
		hold(ctx);
		praas_state_retire_now(&ctx->process->state, &w->value);
	} else {
		w = &ctx->writes[ctx->writes_count++];
		w->expect = 0;
		w->key_bytes = (uint8_t)key_bytes;
		memcpy(w->key, key, key_bytes);
	}
	w->value = value;
	w->erase = false;
	w->expect = expect ? expect : w->expect;
	return 0;
}

int praas_inline_state_put(struct praas_ctx *base, const char *key, const void *data,
			   size_t bytes, uint32_t flags)
{
	return write_state(praas_inline_of(base), key, data, bytes, flags, 0);
}

int praas_inline_state_cas(struct praas_ctx *base, const char *key, uint64_t version,
			   const void *data, size_t bytes)
{
	return write_state(praas_inline_of(base), key, data, bytes, PRAAS_SHARE,
			   version + 1);
}

int praas_inline_state_delete(struct praas_ctx *base, const char *key)
{
	struct praas_inline_ctx *ctx = praas_inline_of(base);
	uint32_t key_bytes = key_length(key);
	const struct praas_object *o;
	struct praas_state_write *w;

	if (bad_key(key_bytes))
		return -EINVAL;
	o = praas_state_find(&ctx->process->state, key, key_bytes);
	w = own_write(ctx, key, key_bytes);
	if (w ? w->erase : !o || o->version == 0)
		return -ENOENT;
	ctx->dirty = true;
	if (w) {
		hold(ctx);
		praas_state_retire_now(&ctx->process->state, &w->value);
	}
	if (w && (!o || o->version == 0)) {
		/* It was never there: nothing is left to do at the commit. */
		*w = ctx->writes[--ctx->writes_count];
		return 0;
	}
	if (!w) {
		if (ctx->writes_count == PRAAS_WRITES_MAX)
			return -ENOSPC;
		w = &ctx->writes[ctx->writes_count++];
		w->expect = 0;
		w->key_bytes = (uint8_t)key_bytes;
		memcpy(w->key, key, key_bytes);
	}
	w->value = (struct praas_value){ 0 };
	w->erase = true;
	return 0;
}

int praas_inline_state_list(struct praas_ctx *base, const char *prefix,
			    const char *after, struct praas_state_info *ret_infos,
			    uint32_t infos_max, uint32_t *ret_count)
{
	const struct praas_state *s = &praas_inline_of(base)->process->state;
	uint32_t prefix_bytes = prefix ? key_length(prefix) : 0;
	uint32_t after_bytes = after ? key_length(after) : 0;
	bool skip = after_bytes && strcmp(after, prefix ? prefix : "") >= 0;
	const struct praas_object *o = praas_state_order_after(
		s, skip ? after : prefix, skip ? after_bytes : prefix_bytes, !skip);
	uint32_t n = 0;

	for (; o && n < infos_max; o = praas_state_order_after(s, praas_state_key(s, o),
							       o->key_bytes, false)) {
		const char *key = praas_state_key(s, o);

		if (o->key_bytes < prefix_bytes ||
		    (prefix_bytes && memcmp(key, prefix, prefix_bytes) != 0))
			break;
		if (o->version == 0)
			continue;
		memcpy(ret_infos[n].key, key, o->key_bytes);
		ret_infos[n].key[o->key_bytes] = '\0';
		ret_infos[n].bytes = o->value.bytes;
		ret_infos[n].version = o->version;
		ret_infos[n].modified_ns = o->modified_ns;
		n++;
	}
	*ret_count = n;
	return 0;
}

static void drop_writes(struct praas_inline_ctx *ctx)
{
	for (uint32_t i = 0; i < ctx->writes_count; i++)
		praas_value_release(&ctx->writes[i].value);
	ctx->writes_count = 0;
}

int praas_inline_state_commit(struct praas_ctx *base)
{
	struct praas_inline_ctx *ctx = praas_inline_of(base);
	uint64_t version;
	int rc;

	if (ctx->writes_count == 0)
		return 0;
	rc = praas_process_fn_commit(ctx->process, ctx->writes, ctx->writes_count,
				     &version);
	if (rc != 0)
		drop_writes(ctx);
	ctx->writes_count = 0;
	return rc == -ENOBUFS ? -ENOSPC : rc;
}

/* ---- updates in place ---- */

/* The object as memory that we may write: itself, or a new home for it. */
static int writable(struct praas_inline_ctx *ctx, const struct praas_update_grant *g,
		    struct praas_value *ret_moved, uint8_t **ret_data)
{
	const struct praas_segment *pool = ctx->process->config.pool_segment;
	int rc;

	*ret_moved = (struct praas_value){ 0 };
	if (g->version != 0 && (g->segment == pool->id || g->bytes == 0)) {
		*ret_data = pool->base + g->offset;
		return 0;
	}
	rc = praas_process_value_new(ctx->process, g->bytes, ret_moved, ret_data);
	if (rc != 0)
		return rc;
	if (g->version != 0)
		memcpy(*ret_data, g->data, g->bytes);
	else
		memset(*ret_data, 0, g->bytes);
	return 0;
}

int praas_inline_update_begin(struct praas_ctx *base, const char *key, size_t bytes,
			      int64_t timeout_ns, struct praas_update *ret_update)
{
	struct praas_inline_ctx *ctx = praas_inline_of(base);
	uint32_t key_bytes = key_length(key);
	struct praas_fn_wait wait = { .deadline_ns = 0 };
	struct praas_inline_update *u = &ctx->updates[ctx->updates_count];
	uint64_t version;
	uint8_t *data;
	bool kept;
	int rc;

	(void)timeout_ns; /* whoever holds it runs below us on this stack, or in a worker */
	if (ctx->updates_count == PRAAS_INLINE_UPDATES)
		return -ENOSPC;
	rc = praas_process_fn_update_begin(ctx->process, PRAAS_HOLDER_PROCESS, key,
					   key_bytes, bytes, &wait);
	if (rc != 0)
		return rc == -EAGAIN ? -EBUSY : rc == -ENOBUFS ? -ENOSPC : rc;
	rc = writable(ctx, &wait.grant, &u->moved, &data);
	if (rc != 0) {
		/* Ends the lease; of an object that is there, as it was. */
		(void)praas_process_fn_update_commit(ctx->process, PRAAS_HOLDER_PROCESS,
						     key, key_bytes, NULL, false, &kept,
						     &version);
		return rc;
	}
	ctx->dirty = true;
	ctx->updates_count++;
	u->data = data;
	u->key_bytes = (uint8_t)key_bytes;
	memcpy(u->key, key, key_bytes);
	*ret_update = (struct praas_update){ .data = data,
					     .bytes = wait.grant.bytes,
					     .version = wait.grant.version,
					     .token = (uint64_t)(uintptr_t)data };
	return 0;
}

static int end_update(struct praas_inline_ctx *ctx, struct praas_inline_update *u)
{
	uint64_t version;
	bool kept;
	bool moved = u->moved.release != NULL;
	int rc = praas_process_fn_update_commit(
		ctx->process, PRAAS_HOLDER_PROCESS, u->key, u->key_bytes,
		moved ? &u->moved : NULL, false, &kept, &version);

	if (rc != 0) {
		praas_value_release(&u->moved);
		/* A new home did not fit: the object stays what it was, and is free again. */
		(void)praas_process_fn_update_commit(ctx->process, PRAAS_HOLDER_PROCESS,
						     u->key, u->key_bytes, NULL, false,
						     &kept, &version);
	}
	return rc;
}

int praas_inline_update_commit(struct praas_ctx *base, struct praas_update *update)
{
	struct praas_inline_ctx *ctx = praas_inline_of(base);

	for (uint32_t i = 0; i < ctx->updates_count; i++) {
		struct praas_inline_update *u = &ctx->updates[i];
		int rc;

		if ((uint64_t)(uintptr_t)u->data != update->token)
			continue;
		rc = end_update(ctx, u);
		*u = ctx->updates[--ctx->updates_count];
		*update = (struct praas_update){ 0 };
		return rc;
	}
	return -EINVAL;
}

/* ---- messages ---- */

int praas_inline_send(struct praas_ctx *base, praas_pid_t destination, const char *key,
		      const void *data, size_t bytes, uint32_t flags)
{
	struct praas_inline_ctx *ctx = praas_inline_of(base);
	uint32_t held = ctx->buffers_count;
	uint8_t trace[PRAAS_TRACE_BYTES];
	bool traced = praas_span_traced(&base->info);
	struct praas_value value;
	int rc = take_value(ctx, data, bytes, flags & ~PRAAS_NOWAIT, &value);

	if (rc != 0)
		return rc;
	if (praas_unlikely(traced))
		praas_span_hand_on(&base->info, trace);
	rc = praas_process_fn_send(ctx->process, destination, key, key_length(key),
				   &value, traced ? trace : NULL, NULL);
	if (rc == 0)
		return 0;
	/* A buffer stays the function's; a copy was for nothing. */
	if (ctx->buffers_count < held)
		ctx->buffers[ctx->buffers_count++] = value;
	else
		praas_value_release(&value);
	if (rc == -EAGAIN) /* nothing else runs while it would wait for room */
		return flags & PRAAS_NOWAIT ? -EAGAIN : -ENOBUFS;
	return rc == -ENOSPC ? -ENOBUFS : rc;
}

/* Keeps a message's memory for the function. */
static void hold_message(struct praas_inline_ctx *ctx, const struct praas_message *m,
			 struct praas_msg *ret_msg)
{
	ctx->dirty = true;
	ctx->held[ctx->held_count++] = m->value;
	ctx->traced_sequence = m->traced ? m->sequence : 0;
	if (praas_unlikely(m->traced))
		memcpy(ctx->trace, m->trace, sizeof(ctx->trace));
	*ret_msg = (struct praas_msg){ .view = { .data = m->value.data,
						 .bytes = m->value.bytes,
						 .token = ctx->held_count },
				       .source = m->source,
				       .sequence = m->sequence };
}

int praas_inline_recv(struct praas_ctx *base, praas_pid_t source, const char *key,
		      int64_t timeout_ns, uint32_t flags, struct praas_msg *ret_msg)
{
	struct praas_inline_ctx *ctx = praas_inline_of(base);
	struct praas_fn_wait wait = { .deadline_ns = 0 };
	struct praas_value copy = { 0 };
	uint8_t *data;
	int rc;

	(void)timeout_ns; /* an inline function never waits */
	if (flags & ~PRAAS_COPY)
		return -EINVAL;
	if (ctx->held_count == PRAAS_INLINE_HELD)
		return -ENOSPC;
	rc = praas_process_fn_recv(ctx->process, source, key, key_length(key), &wait);
	if (rc != 0)
		return rc;
	if ((flags & PRAAS_COPY) && wait.message.value.bytes)
		rc = praas_process_value_new(ctx->process, wait.message.value.bytes,
					     &copy, &data);
	if (rc == 0 && (flags & PRAAS_COPY) && wait.message.value.bytes) {
		memcpy(data, wait.message.value.data, wait.message.value.bytes);
		praas_value_release(&wait.message.value);
		wait.message.value = copy;
	}
	hold_message(ctx, &wait.message, ret_msg); /* by reference without memory */
	if (praas_unlikely(wait.message.traced))
		praas_span_take_over(&base->info, ctx->trace);
	return rc;
}

int praas_inline_peek(struct praas_ctx *base, praas_pid_t source, const char *key,
		      struct praas_msg *ret_msg)
{
	struct praas_inline_ctx *ctx = praas_inline_of(base);
	struct praas_message m;
	struct praas_value copy = { 0 };
	uint8_t *data;
	int rc = praas_process_fn_peek(ctx->process, source, key, key_length(key), &m);

	if (rc != 0)
		return rc;
	if (ctx->held_count == PRAAS_INLINE_HELD)
		return -ENOSPC;
	/* Another function may take the message while this one looks at it. */
	if (m.value.bytes) {
		rc = praas_process_value_new(ctx->process, m.value.bytes, &copy, &data);
		if (rc != 0)
			return rc;
		memcpy(data, m.value.data, m.value.bytes);
	}
	m.value = copy;
	hold_message(ctx, &m, ret_msg);
	return 0;
}

void praas_inline_message_release(struct praas_inline_ctx *ctx, uint64_t token)
{
	if (token > ctx->held_count)
		return;
	praas_value_release(&ctx->held[token - 1]);
	while (ctx->held_count && !ctx->held[ctx->held_count - 1].release)
		ctx->held_count--;
}

int32_t praas_inline_data_end(struct praas_inline_ctx *ctx, int32_t status)
{
	int rc = 0;

	while (ctx->updates_count)
		(void)end_update(ctx, &ctx->updates[--ctx->updates_count]);
	if (status == 0)
		rc = praas_inline_state_commit(&ctx->base);
	drop_writes(ctx);
	while (ctx->buffers_count)
		praas_value_release(&ctx->buffers[--ctx->buffers_count]);
	while (ctx->held_count)
		praas_value_release(&ctx->held[--ctx->held_count]);
	if (ctx->holding)
		praas_process_unhold(ctx->process);
	ctx->holding = false;
	ctx->dirty = false;
	return rc ? praas_status_of(rc) : status;
}
