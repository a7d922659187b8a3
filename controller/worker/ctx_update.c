/* SPDX-License-Identifier: Apache-2.0
 *
 * Exclusive updates in place. The controller grants a lease; the object is updated where it lies
 * when that is our arena, else it moves there: once, and then it stays. The lease stays too: until
 * the controller ends it the next updates are counted in a word of ours, and nobody is asked.
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

static struct lease *find(struct worker *w, const char *key, uint8_t key_bytes)
{
	for (uint32_t i = 0; i < PRAAS_WORKER_LEASES; i++) {
		struct lease *l = &w->leases[i];

		if ((l->held || l->active) && l->key_bytes == key_bytes &&
		    memcmp(l->key, key, key_bytes) == 0)
			return l;
	}
	return NULL;
}

/* A place for another one; NULL: all are in updates. */
static struct lease *place_for(struct worker *w)
{
	for (uint32_t i = 0; i < PRAAS_WORKER_LEASES; i++)
		if (!w->leases[i].held && !w->leases[i].active)
			return &w->leases[i];
	for (uint32_t i = 0; i < PRAAS_WORKER_LEASES; i++) {
		struct lease *l = &w->leases[w->leases_next++ % PRAAS_WORKER_LEASES];

		if (!l->active)
			return l;
	}
	return NULL;
}

uint64_t worker_lease_version(const struct worker *w, const char *key,
			      uint8_t key_bytes, uint64_t version)
{
	for (uint32_t i = 0; i < PRAAS_WORKER_LEASES; i++) {
		const struct lease *l = &w->leases[i];

		if (l->held && l->key_bytes == key_bytes &&
		    memcmp(l->key, key, key_bytes) == 0)
			return praas_max_u64(version, l->version);
	}
	return version;
}

/* ---- our word, and the controller's ---- */

static void tell(struct worker *w, const struct lease *l)
{
	/* lease.R0, pairs with lease.A0: what we wrote before is visible with the number. */
	atomic_store_explicit(&w->end.line->lease[l - w->leases],
			      l->count << 1 | (l->active ? 1 : 0),
			      memory_order_release);
}

/* The controller has ended it. After tell(): its membarrier between its mark and its look at our
 * word makes one of us see the other. */
static bool ended(struct worker *w, const struct lease *l)
{
	if (praas_unlikely(praas_doorbell_fences))
		praas_doorbell_fence();
	else /* the compiler keeps the order; the controller's fence makes the processor do */
		atomic_signal_fence(memory_order_seq_cst);
	return praas_unlikely(
		atomic_load_explicit(&w->end.order->lease_ended[l - w->leases],
				     memory_order_relaxed) >= l->number);
}

/* keep 0: the lease is over for us, too. */
static void say(struct ctx *ctx, const struct lease *l, uint64_t keep)
{
	const struct praas_frame f = { .kind = PRAAS_WORKER_UPDATE_COMMIT,
				       .key_bytes = l->key_bytes,
				       .flags = PRAAS_FRAME_ONE_WAY,
				       .aux = keep };

	/* In order with whatever follows: no answer is needed to know that it counts. */
	if (praas_worker_end_push(&ctx->worker->end, &f, l->key, 0, 0) != 0)
		worker_fatal(ctx->worker, "cannot end an update");
}

/* Update again without asking. False: the lease is gone. */
static bool resume(struct ctx *ctx, struct lease *l)
{
	l->active = true;
	tell(ctx->worker, l);
	if (!ended(ctx->worker, l))
		return true;
	l->active = l->held = false;
	tell(ctx->worker, l);
	/* The controller may have seen us update: then it waits for this, and others with it. */
	say(ctx, l, 0);
	return false;
}

/* ---- updates ---- */

/* Where the function may write. */
static int place(struct ctx *ctx, struct update *u,
		 const struct praas_worker_frame *grant)
{
	struct worker *w = ctx->worker;
	struct lease *l = u->lease;
	const uint8_t *data = NULL;
	int rc;

	l->bytes = grant->head.bytes;
	l->data = NULL;
	if (l->bytes == 0)
		return 0;
	if (grant->segment != 0 &&
	    praas_worker_end_view(&w->end, grant->segment, grant->offset, l->bytes,
				  &data) != 0)
		worker_fatal(w, "an object to update lies nowhere");
	if (grant->segment == w->end.start.arena_segment) {
		l->data = w->end.arena.base + grant->offset;
		return 0;
	}
	rc = praas_worker_end_alloc(&w->end, l->bytes, &u->moved);
	if (rc != 0)
		return rc;
	l->data = u->moved.data;
	if (data)
		memcpy(l->data, data, l->bytes);
	else
		memset(l->data, 0, l->bytes);
	w->copies += data ? 1 : 0;
	return 0;
}

/* The first one after a grant: the controller learns that it is over, and where the object is. */
static int first_commit(struct ctx *ctx, struct update *u)
{
	struct lease *l = u->lease;
	struct praas_frame f = { .kind = PRAAS_WORKER_UPDATE_COMMIT,
				 .key_bytes = l->key_bytes,
				 .bytes = l->bytes,
				 .aux = 1 };
	struct praas_worker_frame reply;
	int rc = 0;

	l->version = l->number;
	if (u->moved.segment == 0) {
		l->held = true;
		say(ctx, l, 1);
		return 0;
	}
	rc = ctx_request(ctx, &f, l->key, u->moved.segment, u->moved.offset, &reply);
	l->held = rc == 0 && (reply.head.aux & 1) != 0;
	return rc;
}

static int end_update(struct ctx *ctx, struct update *u)
{
	struct lease *l = u->lease;

	ctx->updates_count -= u->token != 0;
	u->token = 0;
	l->active = false;
	if (!l->held) {
		tell(ctx->worker, l);
		return first_commit(ctx, u);
	}
	l->count++;
	l->version++;
	tell(ctx->worker, l);
	if (ended(ctx->worker, l)) {
		l->held = false;
		say(ctx, l, 0);
	}
	return 0;
}

/* Ask the controller. */
static int acquire(struct ctx *ctx, struct update *u, struct praas_frame *f,
		   const char *key)
{
	struct worker *w = ctx->worker;
	struct lease *l = place_for(w);
	struct praas_worker_frame reply;
	int rc;

	if (!l)
		return -ENOSPC;
	f->status = (int32_t)(l - w->leases);
	l->held = false;
	rc = ctx_request(ctx, f, key, 0, 0, &reply);
	if (rc != 0)
		return rc == -EAGAIN ? -EBUSY : rc;
	l->key_bytes = f->key_bytes;
	memcpy(l->key, key, f->key_bytes);
	l->key[f->key_bytes] = '\0';
	l->number = reply.head.deadline_ns;
	l->version = reply.head.aux;
	u->lease = l;
	l->active = true; /* while we make room: what asks for that finds it taken */
	rc = place(ctx, u, &reply);
	if (rc != 0) {
		l->active = false;
		say(ctx, l, 0); /* unchanged, but the lease has to go back */
		return rc;
	}
	tell(w, l);
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
	struct lease *l;
	int rc = 0;

	if (f.key_bytes == 0)
		return -EINVAL;
	if (bytes > ctx->worker->end.start.bytes_max)
		return -EMSGSIZE;
	if (!u)
		return -ENOSPC;
	l = find(ctx->worker, key, f.key_bytes);
	if (l && l->active)
		return -EBUSY; /* by ourselves: it would wait for ever */
	if (l && bytes != 0 && l->bytes != bytes)
		l->held = false; /* the controller says whether that is an error */
	u->moved = (struct praas_worker_buffer){ 0 };
	u->lease = l;
	if (!l || !l->held || !resume(ctx, l)) {
		f.deadline_ns = wait_until(timeout_ns);
		rc = acquire(ctx, u, &f, key);
	}
	if (rc != 0)
		return rc;
	u->token = ++ctx->worker->tokens;
	ctx->updates_count++;
	*ret_update = (struct praas_update){ .data = u->lease->data,
					     .bytes = u->lease->bytes,
					     .version = u->lease->version,
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
