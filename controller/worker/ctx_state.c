/* SPDX-License-Identifier: Apache-2.0
 *
 * State from a function: reads from the published index without a message, writes kept here until
 * the invocation commits.
 */
#include <errno.h>
#include <string.h>

#include "controller/worker/worker.h"

#define RECORD_HEAD 32u /* of a list record: docs/dataplane.md */
#define LOADS_MAX 64u   /* of one object that goes again before it is read */

static struct write *find_write(struct ctx *ctx, const char *key, uint8_t key_bytes)
{
	for (uint32_t i = ctx->writes_count; i > 0; i--) {
		struct write *w = &ctx->writes[i - 1];

		if (w->key_bytes == key_bytes && memcmp(w->key, key, key_bytes) == 0)
			return w;
	}
	return NULL;
}

/* Of what was swapped out: have it brought into memory. */
static PRAAS_COLD int load(struct ctx *ctx, const char *key, uint8_t key_bytes,
			   struct praas_state_found *ret_found)
{
	struct praas_frame f = { .kind = PRAAS_WORKER_STATE_LOAD,
				 .key_bytes = key_bytes };
	struct praas_worker_frame reply;
	int rc = ctx_request(ctx, &f, key, 0, 0, &reply);

	return rc == 0 ? praas_state_reader_get(&ctx->worker->reader, key, key_bytes,
						ret_found)
		       : rc;
}

/* What is committed. */
static int read_committed(struct ctx *ctx, const char *key, uint8_t key_bytes,
			  struct praas_view *ret_view, uint64_t *ret_version)
{
	struct praas_state_found found;
	const uint8_t *data = NULL;
	int rc = praas_state_reader_get(&ctx->worker->reader, key, key_bytes, &found);

	for (unsigned i = 0; rc == 0 && i < LOADS_MAX &&
			     praas_unlikely((found.flags & PRAAS_STATE_LATE) != 0);
	     i++)
		rc = load(ctx, key, key_bytes, &found);
	if (rc == -EPROTO)
		worker_fatal(ctx->worker, "the state index makes no sense");
	if (rc != 0)
		return rc;
	if (found.flags & (PRAAS_STATE_TORN | PRAAS_STATE_LATE))
		return -EIO;
	if (found.bytes != 0 &&
	    praas_worker_end_view(&ctx->worker->end, found.segment, found.offset,
				  found.bytes, &data) != 0)
		worker_fatal(ctx->worker, "a state object lies nowhere");
	*ret_view = (struct praas_view){ .data = data, .bytes = found.bytes };
	*ret_version = worker_lease_version(ctx->worker, key, key_bytes, found.version);
	return 0;
}

int ctx_state_get(struct praas_ctx *head, const char *key, uint32_t flags,
		  struct praas_view *ret_view, uint64_t *ret_version)
{
	struct ctx *ctx = ctx_of(head);
	uint8_t key_bytes = ctx_key_bytes(key);
	struct praas_view view = { 0 };
	struct praas_worker_buffer copy;
	struct write *mine;
	uint64_t version = 0;
	int rc = 0;

	if (key_bytes == 0 || (flags & ~PRAAS_COPY))
		return -EINVAL;
	mine = ctx->writes_count ? find_write(ctx, key, key_bytes) : NULL;
	if (mine && mine->erase)
		return -ENOENT;
	if (mine)
		view = (struct praas_view){ .data = mine->value.data,
					    .bytes = mine->bytes };
	else
		rc = read_committed(ctx, key, key_bytes, &view, &version);
	if (rc == 0 && (flags & PRAAS_COPY) && view.bytes) {
		rc = ctx_buffer(ctx, view.bytes, &copy);
		if (rc == 0) {
			memcpy(copy.data, view.data, view.bytes);
			view.data = copy.data;
		}
	}
	if (rc != 0)
		return rc;
	*ret_view = view;
	if (ret_version)
		*ret_version = version;
	return 0;
}

/* A place for a write of key: the one there is, or a new one. What it held goes. */
static int write_slot(struct ctx *ctx, const char *key, uint8_t key_bytes,
		      uint64_t expect, struct write **ret_write)
{
	struct write *w = find_write(ctx, key, key_bytes);

	if (!w) {
		if (ctx->writes_count == WRITES_MAX)
			return -ENOSPC;
		w = &ctx->writes[ctx->writes_count++];
		w->key_bytes = key_bytes;
		memcpy(w->key, key, key_bytes);
		w->key[key_bytes] = '\0';
		w->expect = expect;
	} else {
		/* The first expectation is about what is committed; it stays. */
		if (w->expect == 0)
			w->expect = expect;
		if (w->value.segment != 0)
			praas_worker_end_drop(&ctx->worker->end, &w->value);
	}
	w->value = (struct praas_worker_buffer){ 0 };
	w->bytes = 0;
	w->erase = false;
	*ret_write = w;
	return 0;
}

static int put(struct ctx *ctx, const char *key, uint64_t expect, const void *data,
	       size_t bytes, uint32_t flags)
{
	uint8_t key_bytes = ctx_key_bytes(key);
	struct praas_worker_buffer value;
	struct write *w;
	int rc;

	if (key_bytes == 0 || (bytes != 0 && !data) || (flags & ~PRAAS_COPY))
		return -EINVAL;
	rc = ctx_take_or_copy(ctx, data, bytes, flags, &value);
	if (rc != 0)
		return rc;
	rc = write_slot(ctx, key, key_bytes, expect, &w);
	if (rc != 0) {
		if (value.segment != 0)
			praas_worker_end_drop(&ctx->worker->end, &value);
		return rc;
	}
	w->value = value;
	w->bytes = bytes;
	return 0;
}

int ctx_state_put(struct praas_ctx *head, const char *key, const void *data,
		  size_t bytes, uint32_t flags)
{
	return put(ctx_of(head), key, 0, data, bytes, flags);
}

int ctx_state_cas(struct praas_ctx *head, const char *key, uint64_t version,
		  const void *data, size_t bytes)
{
	return put(ctx_of(head), key, version + 1, data, bytes, PRAAS_SHARE);
}

static void forget_write(struct ctx *ctx, struct write *w)
{
	if (w->value.segment != 0)
		praas_worker_end_drop(&ctx->worker->end, &w->value);
	*w = ctx->writes[--ctx->writes_count];
}

int ctx_state_delete(struct praas_ctx *head, const char *key)
{
	struct ctx *ctx = ctx_of(head);
	uint8_t key_bytes = ctx_key_bytes(key);
	struct praas_state_found found;
	struct write *w;
	int rc;

	if (key_bytes == 0)
		return -EINVAL;
	w = ctx->writes_count ? find_write(ctx, key, key_bytes) : NULL;
	if (w && w->erase)
		return -ENOENT;
	/* Its value is not needed, and may lie in the store only, or be torn. */
	rc = praas_state_reader_get(&ctx->worker->reader, key, key_bytes, &found);
	if (rc == -EPROTO)
		worker_fatal(ctx->worker, "the state index makes no sense");
	if (rc == -ENOENT && w) { /* of ours alone: nothing is left to commit */
		forget_write(ctx, w);
		return 0;
	}
	if (rc == 0)
		rc = write_slot(ctx, key, key_bytes, 0, &w);
	if (rc == 0)
		w->erase = true;
	return rc;
}

/* ---- commit ---- */

void ctx_writes_drop(struct ctx *ctx)
{
	for (uint32_t i = 0; i < ctx->writes_count; i++)
		if (ctx->writes[i].value.segment != 0)
			praas_worker_end_drop(&ctx->worker->end, &ctx->writes[i].value);
	ctx->writes_count = 0;
}

static void fill_records(const struct ctx *ctx, struct praas_commit_record *records)
{
	for (uint32_t i = 0; i < ctx->writes_count; i++) {
		const struct write *w = &ctx->writes[i];
		struct praas_commit_record *r = &records[i];

		*r = (struct praas_commit_record){ .offset = w->erase ? ~(uint64_t)0
								      : w->value.offset,
						   .bytes = w->bytes,
						   .expect = w->expect,
						   .segment = w->value.segment,
						   .key_bytes = w->key_bytes };
		memcpy(r->key, w->key, sizeof(r->key));
		/* Lent with the commit; the controller returns them when they are not taken. */
		if (w->value.segment == ctx->worker->end.start.arena_segment)
			praas_pool_lend(ctx->worker->end.pool, w->value.offset, 0);
	}
}

int ctx_commit(struct ctx *ctx, bool one_way)
{
	struct praas_frame f = { .kind = PRAAS_WORKER_COMMIT,
				 .aux = ctx->writes_count };
	struct praas_worker_frame reply;
	struct praas_worker_buffer b;
	int rc;

	if (ctx->writes_count == 0)
		return 0;
	f.bytes = ctx->writes_count * sizeof(struct praas_commit_record);
	rc = praas_worker_end_alloc(&ctx->worker->end, f.bytes, &b);
	if (rc != 0)
		return rc;
	fill_records(ctx, (void *)b.data);
	ctx->writes_count = 0; /* all given away, whatever becomes of them */
	if (!one_way)
		return ctx_request(ctx, &f, NULL, b.segment, b.offset, &reply);
	f.flags = PRAAS_FRAME_ONE_WAY;
	if (praas_worker_end_push(&ctx->worker->end, &f, NULL, b.segment, b.offset) !=
	    0)
		worker_fatal(ctx->worker, "cannot commit");
	ctx->worker->commits++;
	return 0;
}

int ctx_state_commit(struct praas_ctx *head)
{
	return ctx_commit(ctx_of(head), false);
}

/* ---- list ---- */

static uint64_t word_at(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v)); /* little-endian, as every machine that we run on */
	return v;
}

/* Records of one answer, up to infos_max. Returns how many. */
static uint32_t parse_records(const uint8_t *data, uint64_t bytes,
			      struct praas_state_info *ret_infos, uint32_t infos_max)
{
	uint32_t count = 0;

	while (count < infos_max && bytes >= RECORD_HEAD) {
		struct praas_state_info *info = &ret_infos[count];
		uint8_t n = data[24];
		uint64_t whole = RECORD_HEAD + praas_align_up(n, 8);

		if (whole > bytes)
			break;
		*info = (struct praas_state_info){ .version = word_at(data),
						   .modified_ns = word_at(data + 8),
						   .bytes = word_at(data + 16) };
		memcpy(info->key, data + RECORD_HEAD, n);
		data += whole;
		bytes -= whole;
		count++;
	}
	return count;
}

int ctx_state_list(struct praas_ctx *head, const char *prefix, const char *after,
		   struct praas_state_info *ret_infos, uint32_t infos_max,
		   uint32_t *ret_count)
{
	struct ctx *ctx = ctx_of(head);
	struct praas_frame f = { .kind = PRAAS_FRAME_STATE_LIST,
				 .key_bytes = ctx_key_bytes(prefix) };
	uint32_t count = 0;

	if ((prefix && strnlen(prefix, PRAAS_KEY_MAX + 1) > PRAAS_KEY_MAX) ||
	    (after && strnlen(after, PRAAS_KEY_MAX + 1) > PRAAS_KEY_MAX))
		return -EINVAL;
	while (count < infos_max) {
		struct praas_worker_buffer b = { 0 };
		struct praas_worker_frame reply;
		const uint8_t *data = NULL;
		uint32_t more;
		int rc;

		f.bytes = after ? strlen(after) : 0;
		rc = ctx_take_or_copy(ctx, after, f.bytes, PRAAS_SHARE, &b);
		if (rc == 0)
			rc = ctx_request(ctx, &f, prefix, b.segment, b.offset, &reply);
		if (rc != 0)
			return rc;
		if (reply.head.bytes == 0)
			break;
		if (praas_worker_end_view(&ctx->worker->end, reply.segment,
					  reply.offset, reply.head.bytes, &data) != 0)
			worker_fatal(ctx->worker, "a list lies nowhere");
		more = parse_records(data, reply.head.bytes, ret_infos + count,
				     infos_max - count);
		praas_worker_end_return(&ctx->worker->end, reply.segment, reply.offset);
		if (more == 0)
			break;
		count += more;
		after = ret_infos[count - 1].key;
	}
	*ret_count = count;
	return 0;
}
