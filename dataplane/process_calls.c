/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls of functions by functions.
 */
#include <errno.h>
#include <string.h>

#include "dataplane/process_private.h"

#define CALL_ID PRAAS_CALL_HERE

int32_t praas_status_of(int rc)
{
	switch (rc) {
	case 0:
		return PRAAS_OK;
	case -ESTALE:
		return PRAAS_CONFLICT;
	case -ENOENT:
	case -EAGAIN:
		return PRAAS_NOT_FOUND;
	case -ENOSPC:
	case -ENOMEM:
		return PRAAS_NO_MEMORY;
	case -ENOBUFS:
	case -EBUSY:
	case -EREMOTEIO:
		return PRAAS_OVERLOADED;
	case -EMSGSIZE:
		return PRAAS_TOO_LARGE;
	case -ESHUTDOWN:
		return PRAAS_DRAINING;
	case -ECANCELED:
		return PRAAS_CANCELLED;
	case -ETIMEDOUT:
		return PRAAS_DEADLINE;
	case -EIO:
		return PRAAS_CRASHED;
	case -EINVAL:
	case -EPROTO:
		return PRAAS_INVALID;
	default:
		return PRAAS_INTERNAL;
	}
}

int praas_process_function(const struct praas_process *p, const char *name,
			   uint32_t *ret_number)
{
	for (uint32_t i = 0; i < p->functions_count; i++) {
		if (strcmp(p->config.functions[i].name, name) != 0)
			continue;
		*ret_number = i;
		return 0;
	}
	return -ENOENT;
}

/* The input needs a buffer of its own when it has a key or a trace: that is where they are read
 * from. */
static int make_input(struct praas_process *p, const struct praas_fn_call *call,
		      struct praas_buf **ret_input)
{
	struct praas_buf *in = call->input;

	if (!in && call->key_bytes == 0 && !call->trace && p->plain[call->function]) {
		*ret_input = NULL;
		return 0;
	}
	if (!in) {
		if (p->config.memory->alloc(p->config.memory->user, 0, &in) != 0)
			return -ENOBUFS;
		in->head.bytes = 0;
	}
	in->head.flags = call->trace ? PRAAS_FRAME_TRACE : 0;
	if (praas_unlikely(call->trace != NULL)) {
		memcpy(in->trace, call->trace, PRAAS_TRACE_USED);
		memset(in->trace + PRAAS_TRACE_USED, 0, PRAAS_TRACE_RESERVED);
	}
	in->head.key_bytes = (uint8_t)call->key_bytes;
	if (call->key_bytes)
		memcpy(in->key, call->key, call->key_bytes);
	in->key[call->key_bytes] = '\0';
	*ret_input = in;
	return 0;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	if (a == 0)
		return b;
	return b == 0 || a < b ? a : b;
}

/* In another process. */
static int invoke_away(struct praas_process *p, const struct praas_fn_call *call,
		       uint64_t *ret_id)
{
	struct praas_fn_call away = *call;

	if (!praas_process_may_exist(p, call->destination))
		return -ENOENT;
	away.deadline_ns = earlier(call->deadline_ns,
				   call->parent ? call->parent->deadline_ns : 0);
	p->activity++;
	return praas_remote_invoke(p->remote, &away,
				   p->config.functions[call->function].name, NULL,
				   ret_id);
}

int praas_process_fn_invoke(struct praas_process *p, const struct praas_fn_call *call,
			    uint64_t *ret_id)
{
	struct praas_invocation *inv;
	struct praas_buf *input;
	int rc;

	if (call->function >= p->functions_count)
		return -ENOENT;
	if (call->key_bytes > PRAAS_KEY_MAX)
		return -EINVAL;
	if (call->input && call->input->head.bytes > p->config.bytes_max)
		return -EMSGSIZE;
	if (!p->open && !call->parent)
		return -ESHUTDOWN;
	if (call->destination != PRAAS_SELF && call->destination != p->config.pid)
		return invoke_away(p, call, ret_id);
	inv = praas_invocations_alloc(&p->invocations);
	if (!inv)
		return -ENOBUFS;
	rc = make_input(p, call, &input);
	if (rc != 0) {
		praas_invocations_free(&p->invocations, inv);
		return rc;
	}
	inv->id = CALL_ID | (uint64_t)(inv->generation & 0x7fffffffu) << 32 | inv->slot;
	inv->source = call->source;
	inv->deadline_ns = earlier(call->deadline_ns,
				   call->parent ? call->parent->deadline_ns : 0);
	inv->function = (uint16_t)call->function;
	inv->inputs_count = 1;
	inv->inputs[0] = input;
	inv->caller = call->caller;
	*ret_id = inv->id;
	praas_invoke_count_input(p, inv);
	praas_invoke_submit(p, inv);
	return 0;
}

int praas_process_fn_cancel(struct praas_process *p, uint64_t source, uint64_t id)
{
	uint32_t slot = (uint32_t)id;
	struct praas_invocation *inv;

	if (!(id & CALL_ID))
		return praas_remote_cancel(p->remote, id);
	if (slot >= p->invocations.slots_count)
		return -ENOENT;
	inv = &p->invocations.slots[slot];
	if (inv->state == PRAAS_INVOCATION_FREE || inv->id != id ||
	    inv->source != source)
		return -ENOENT;
	praas_invoke_give_up(p, inv, PRAAS_CANCELLED);
	return 0;
}

int praas_process_fn_needs(const struct praas_process *p, uint64_t id,
			   struct praas_invocation **ret_inv)
{
	uint32_t slot = (uint32_t)id;
	struct praas_invocation *inv;

	if (!(id & CALL_ID)) /* nothing that runs here helps it */
		return praas_remote_pending(p->remote, id) ? -EAGAIN : -ENOENT;
	if (slot >= p->invocations.slots_count)
		return -ENOENT;
	inv = &p->invocations.slots[slot];
	if (inv->id != id || inv->state == PRAAS_INVOCATION_FREE)
		return -ENOENT;
	if (inv->queue == PRAAS_QUEUE_LANE)
		inv = praas_lanes_holder(&p->lanes, inv);
	if (inv->state == PRAAS_INVOCATION_DONE)
		return -ENOENT;
	if (inv->state == PRAAS_INVOCATION_QUEUED && inv->queue != PRAAS_QUEUE_READY)
		return -EAGAIN;
	*ret_inv = inv;
	return inv->state == PRAAS_INVOCATION_RUNNING ? -EBUSY : 0;
}

uint64_t praas_process_fn_away(const struct praas_process *p, uint64_t id)
{
	uint32_t slot = (uint32_t)id;
	const struct praas_invocation *inv;

	if (!(id & CALL_ID))
		return id;
	if (slot >= p->invocations.slots_count)
		return 0;
	inv = &p->invocations.slots[slot];
	if (inv->id != id || inv->state != PRAAS_INVOCATION_QUEUED)
		return 0;
	return praas_stage_call_of(inv);
}

struct praas_invocation *praas_process_first_queued(const struct praas_process *p)
{
	return p->ready_first;
}

void praas_process_fn_log(const struct praas_process *p,
			  const struct praas_function_log *line)
{
	if (p->log)
		p->log(p->log_user, line);
}

void praas_process_log_set(struct praas_process *p, praas_log_fn log, void *user)
{
	p->log = log;
	p->log_user = user;
}
