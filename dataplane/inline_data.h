/* SPDX-License-Identifier: Apache-2.0
 *
 * State and messages of the function API, for inline functions. Contracts: praas/function.h.
 */
#ifndef PRAAS_DATAPLANE_INLINE_DATA_H
#define PRAAS_DATAPLANE_INLINE_DATA_H

#include <praas/function.h>

struct praas_inline_ctx;

int praas_inline_state_get(struct praas_ctx *base, const char *key, uint32_t flags,
			   struct praas_view *ret_view, uint64_t *ret_version);
int praas_inline_buffer(struct praas_ctx *base, size_t bytes, void **ret_data);
int praas_inline_state_put(struct praas_ctx *base, const char *key, const void *data,
			   size_t bytes, uint32_t flags);
int praas_inline_state_delete(struct praas_ctx *base, const char *key);
int praas_inline_state_cas(struct praas_ctx *base, const char *key, uint64_t version,
			   const void *data, size_t bytes);
int praas_inline_state_list(struct praas_ctx *base, const char *prefix,
			    const char *after, struct praas_state_info *ret_infos,
			    uint32_t infos_max, uint32_t *ret_count);
int praas_inline_state_commit(struct praas_ctx *base);
int praas_inline_update_begin(struct praas_ctx *base, const char *key, size_t bytes,
			      int64_t timeout_ns, struct praas_update *ret_update);
int praas_inline_update_commit(struct praas_ctx *base, struct praas_update *update);
int praas_inline_send(struct praas_ctx *base, praas_pid_t destination, const char *key,
		      const void *data, size_t bytes, uint32_t flags);
int praas_inline_recv(struct praas_ctx *base, praas_pid_t source, const char *key,
		      int64_t timeout_ns, uint32_t flags, struct praas_msg *ret_msg);
int praas_inline_peek(struct praas_ctx *base, praas_pid_t source, const char *key,
		      struct praas_msg *ret_msg);
/* A received message's memory goes back early. */
void praas_inline_message_release(struct praas_inline_ctx *ctx, uint64_t token);
/* The entry has returned: open updates end, writes are committed (status 0) or dropped, and what
 * the context holds goes back. Returns the status that the invocation has now. */
int32_t praas_inline_data_end(struct praas_inline_ctx *ctx, int32_t status);

#endif
