/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the inline executor: executor_inline.c, inline_ctx.c, inline_data.c.
 */
#ifndef PRAAS_DATAPLANE_INLINE_PRIVATE_H
#define PRAAS_DATAPLANE_INLINE_PRIVATE_H

#include <praas/function.h>

#include "dataplane/executor.h"
#include "dataplane/process_fn.h"
#include "dataplane/process_private.h"
#include "dataplane/span.h"

#define PRAAS_INLINE_DEPTH 32u   /* functions that call functions in place */
#define PRAAS_INLINE_CALLS 1024u /* started by functions and not yet waited for */

/* A function that a function started. */
struct praas_inline_call {
	struct praas_inline_call *next; /* of its context, or free */
	struct praas_inline *ex;
	struct praas_buf *result;
	uint64_t inv_id;     /* of its invocation */
	uint32_t generation; /* increases with each use */
	int32_t status;
	bool done;
	bool abandoned; /* its context has ended: free it when it is done */
};

#define PRAAS_INLINE_BUFFERS 256u /* from praas_buffer(), not given away yet */
#define PRAAS_INLINE_HELD 1024u   /* messages not released yet */
#define PRAAS_INLINE_UPDATES 64u  /* under way */

/* An update in place that a function has begun. */
struct praas_inline_update {
	uint8_t *data;
	struct praas_value
		moved; /* a new home for the object; none: it is updated where it is */
	uint8_t key_bytes;
	char key[PRAAS_KEY_MAX];
};

/* The context of one running function. What begins an invocation stands first. */
struct praas_inline_ctx {
	struct praas_ctx base;
	struct praas_inline *ex;
	struct praas_process *process;
	struct praas_invocation *inv;
	struct praas_buf *output;
	struct praas_inline_call *calls;
	bool forward; /* the result is the input as it is; output is NULL */
	bool has_text;
	bool dirty;   /* something below is in use */
	bool holding; /* replaced objects stay until the entry returns */
	uint32_t writes_count, buffers_count, held_count, updates_count;
	uint64_t
		traced_sequence; /* of the message received last, if that has a trace; 0 */
	/* Touched as they are used. */
	struct praas_state_write *writes; /* PRAAS_WRITES_MAX */
	char text[PRAAS_ERROR_TEXT_MAX];
	struct praas_inline_update updates[PRAAS_INLINE_UPDATES];
	struct praas_value buffers[PRAAS_INLINE_BUFFERS];
	struct praas_value held[PRAAS_INLINE_HELD];
	uint8_t trace[PRAAS_TRACE_BYTES]; /* of the message with traced_sequence */
};

struct praas_inline {
	struct praas_executor base;
	int (**entries)(struct praas_ctx *ctx);
	const struct praas_function *functions;
	uint32_t depth;
	uint32_t functions_count;
	struct praas_inline_ctx *ctxs;    /* PRAAS_INLINE_DEPTH */
	struct praas_state_write *writes; /* of all contexts */
	struct praas_inline_call *calls, *free_calls;
	void **libraries;
};

static inline struct praas_inline_ctx *praas_inline_of(struct praas_ctx *ctx)
{
	return (struct praas_inline_ctx *)(void *)ctx;
}

extern const struct praas_function_ops praas_inline_ops;

/* A buffer for the result of inv. 0; -EMSGSIZE; -ENOSPC. */
int praas_inline_alloc(struct praas_inline_ctx *ctx, uint64_t bytes,
		       struct praas_buf **ret_buf);
/* The entry has returned with status: what the context holds beyond its result goes back.
 * Returns the status that the invocation has now. */
int32_t praas_inline_ctx_end(struct praas_inline_ctx *ctx, int32_t status);
void praas_inline_call_done(void *user, struct praas_invocation *inv, int32_t status,
			    struct praas_buf *result, uint64_t run_ns);

#endif
