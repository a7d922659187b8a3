/* SPDX-License-Identifier: Apache-2.0
 *
 * The members of the application. The controller asks for their list when somebody here does first.
 */
#include <errno.h>
#include <string.h>

#include "controller/worker/worker.h"

#define FIRST_NS 2000000000 /* for the list to come */
#define AGAIN_MAX 16        /* it changes while it is read */

int ctx_members_wait(struct praas_ctx *head, uint64_t version, int64_t timeout_ns,
		     uint64_t *ret_version)
{
	struct ctx *ctx = ctx_of(head);
	struct praas_frame f = { .kind = PRAAS_WORKER_MEMBERS_WAIT,
				 .aux = version,
				 .deadline_ns = wait_until(timeout_ns) };
	struct praas_worker_frame reply;
	int rc;

	f.status = worker_asker(ctx);
	while ((rc = ctx_request(ctx, &f, NULL, 0, 0, &reply)) == -EINTR)
		worker_help(ctx->worker, ctx);
	*ret_version = rc == 0 ? reply.head.aux : version;
	return rc;
}

/* One question; the first of all waits for the list. */
static int ask(struct ctx *ctx, struct praas_frame *f, const char *key,
	       struct praas_worker_frame *ret_reply)
{
	const struct praas_frame asked = *f;
	uint64_t version;
	int rc = ctx_request(ctx, f, key, 0, 0, ret_reply);

	if (rc != -EAGAIN)
		return rc;
	rc = ctx_members_wait(&ctx->head, 0, FIRST_NS, &version);
	if (rc != 0)
		return rc;
	*f = asked;
	return ctx_request(ctx, f, key, 0, 0, ret_reply);
}

int ctx_member(struct praas_ctx *head, const char *name, praas_pid_t *ret_pid)
{
	struct praas_frame f = { .kind = PRAAS_WORKER_MEMBER,
				 .key_bytes = ctx_key_bytes(name) };
	struct praas_worker_frame reply;
	int rc;

	if (f.key_bytes == 0)
		return -ENOENT;
	rc = ask(ctx_of(head), &f, name, &reply);
	if (rc == 0)
		*ret_pid = reply.head.aux;
	return rc;
}

/* Those after what is there already, if the list is of that version (0: of any). */
static int read_some(struct ctx *ctx, struct praas_member_info *infos,
		     uint32_t infos_max, uint32_t *have, uint32_t *ret_count,
		     uint64_t *version)
{
	struct praas_frame f = { .kind = PRAAS_WORKER_MEMBERS,
				 .aux = *have ? infos[*have - 1].pid : 0,
				 .deadline_ns = *version };
	struct praas_worker_frame reply;
	const uint8_t *data = NULL;
	uint64_t n;
	int rc = ask(ctx, &f, NULL, &reply);

	if (rc != 0)
		return rc;
	if (reply.head.bytes != 0 &&
	    praas_worker_end_view(&ctx->worker->end, reply.segment, reply.offset,
				  reply.head.bytes, &data) != 0)
		worker_fatal(ctx->worker, "members lie nowhere");
	n = praas_min_u64(reply.head.bytes / sizeof(*infos), infos_max - *have);
	if (n != 0)
		memcpy(infos + *have, data, n * sizeof(*infos));
	if (data)
		praas_worker_end_return(&ctx->worker->end, reply.segment, reply.offset);
	*have += (uint32_t)n;
	*ret_count = (uint32_t)reply.head.deadline_ns;
	*version = reply.head.aux;
	return n == 0 && *have < praas_min_u64(infos_max, *ret_count) ? -EIO : 0;
}

int ctx_members(struct praas_ctx *head, struct praas_member_info *ret_infos,
		uint32_t infos_max, uint32_t *ret_count, uint64_t *ret_version)
{
	uint32_t have = 0, count = 0, again = 0;
	uint64_t version = 0;
	int rc;

	do {
		rc = read_some(ctx_of(head), ret_infos, infos_max, &have, &count,
			       &version);
		if (rc == -ESTALE && again++ < AGAIN_MAX) { /* from the beginning */
			have = 0;
			version = 0;
			rc = 0;
			count = UINT32_MAX;
		}
	} while (rc == 0 && have < praas_min_u64(infos_max, count));
	if (rc != 0)
		return rc == -ESTALE ? -EAGAIN : rc;
	*ret_count = count;
	*ret_version = version;
	return 0;
}
