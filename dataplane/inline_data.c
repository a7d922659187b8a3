/* SPDX-License-Identifier: Apache-2.0
 *
 * State and messages of inline functions: not offered by this process yet.
 */
#include "dataplane/inline_data.h"

#include <errno.h>

int praas_inline_state_get(struct praas_ctx *base, const char *key, uint32_t flags,
			   struct praas_view *ret_view, uint64_t *ret_version)
{
	(void)base;
	(void)key;
	(void)flags;
	(void)ret_view;
	(void)ret_version;
	return -EOPNOTSUPP;
}

int praas_inline_buffer(struct praas_ctx *base, size_t bytes, void **ret_data)
{
	(void)base;
	(void)bytes;
	(void)ret_data;
	return -EOPNOTSUPP;
}

int praas_inline_state_put(struct praas_ctx *base, const char *key, const void *data,
			   size_t bytes, uint32_t flags)
{
	(void)base;
	(void)key;
	(void)data;
	(void)bytes;
	(void)flags;
	return -EOPNOTSUPP;
}

int praas_inline_state_delete(struct praas_ctx *base, const char *key)
{
	(void)base;
	(void)key;
	return -EOPNOTSUPP;
}

int praas_inline_state_cas(struct praas_ctx *base, const char *key, uint64_t version,
			   const void *data, size_t bytes)
{
	(void)base;
	(void)key;
	(void)version;
	(void)data;
	(void)bytes;
	return -EOPNOTSUPP;
}

int praas_inline_state_list(struct praas_ctx *base, const char *prefix, const char *after,
			    struct praas_state_info *ret_infos, uint32_t infos_max,
			    uint32_t *ret_count)
{
	(void)base;
	(void)prefix;
	(void)after;
	(void)ret_infos;
	(void)infos_max;
	(void)ret_count;
	return -EOPNOTSUPP;
}

int praas_inline_state_commit(struct praas_ctx *base)
{
	(void)base;
	return -EOPNOTSUPP;
}

int praas_inline_update_begin(struct praas_ctx *base, const char *key, size_t bytes,
			      int64_t timeout_ns, struct praas_update *ret_update)
{
	(void)base;
	(void)key;
	(void)bytes;
	(void)timeout_ns;
	(void)ret_update;
	return -EOPNOTSUPP;
}

int praas_inline_update_commit(struct praas_ctx *base, struct praas_update *update)
{
	(void)base;
	(void)update;
	return -EOPNOTSUPP;
}

int praas_inline_send(struct praas_ctx *base, praas_pid_t destination, const char *key,
		      const void *data, size_t bytes, uint32_t flags)
{
	(void)base;
	(void)destination;
	(void)key;
	(void)data;
	(void)bytes;
	(void)flags;
	return -EOPNOTSUPP;
}

int praas_inline_recv(struct praas_ctx *base, praas_pid_t source, const char *key,
		      int64_t timeout_ns, uint32_t flags, struct praas_msg *ret_msg)
{
	(void)base;
	(void)source;
	(void)key;
	(void)timeout_ns;
	(void)flags;
	(void)ret_msg;
	return -EOPNOTSUPP;
}

int praas_inline_peek(struct praas_ctx *base, praas_pid_t source, const char *key,
		      struct praas_msg *ret_msg)
{
	(void)base;
	(void)source;
	(void)key;
	(void)ret_msg;
	return -EOPNOTSUPP;
}

void praas_inline_message_release(struct praas_inline_ctx *ctx, uint64_t token)
{
	(void)ctx;
	(void)token;
}

void praas_inline_data_end(struct praas_inline_ctx *ctx)
{
	(void)ctx;
}
