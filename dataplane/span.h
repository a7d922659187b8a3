/* SPDX-License-Identifier: Apache-2.0
 *
 * W3C Trace Context of an invocation: what it was asked with, and what it hands on. Trace and parent
 * span stand in struct praas_call_info; the invocation's own span is not kept but made of its parent's
 * and its id, so that an invocation without a trace pays nothing, and a retry has the same.
 *
 * A *block* is PRAAS_TRACE_BYTES as in frames (docs/wire-format.md): trace id 16, parent span 8,
 * flags 1, zeros.
 */
#ifndef PRAAS_DATAPLANE_SPAN_H
#define PRAAS_DATAPLANE_SPAN_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "internal/base.h"
#include "praas/function.h"
#include "transport/frame.h"

/* It has a trace. */
static inline bool praas_span_traced(const struct praas_call_info *info)
{
	uint64_t id[2];

	memcpy(id, info->trace_id, sizeof(id));
	return (id[0] | id[1]) != 0;
}

/* The block for what a traced invocation sends and calls: its trace, its own span as the parent. */
PRAAS_COLD void praas_span_hand_on(const struct praas_call_info *info,
				   uint8_t ret_block[PRAAS_TRACE_BYTES]);

/* An invocation that has no trace takes over that of a message that it receives. */
PRAAS_COLD void praas_span_take_over(struct praas_call_info *info,
				     const uint8_t block[PRAAS_TRACE_BYTES]);

/* What a function is told of a message's trace, of which the one with that sequence is kept (0: none). 0; -ENOENT. */
static inline int praas_span_told(const uint8_t block[PRAAS_TRACE_BYTES],
				  uint64_t sequence, const struct praas_msg *msg,
				  struct praas_trace_context *ret_trace)
{
	_Static_assert(sizeof(*ret_trace) == 25, "without padding, as in a block");
	if (sequence == 0 || msg->sequence != sequence)
		return -ENOENT;
	memcpy(ret_trace, block, sizeof(*ret_trace));
	return 0;
}

#endif
