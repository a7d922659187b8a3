/* SPDX-License-Identifier: Apache-2.0 */
#include "client/connection.h"

#include <errno.h>

#include "internal/base.h"

/* Where the time of a call went, for who asks. While it is under way the caller's struct has our
 * notes: call_ns when it was begun, client_ns when it had left. */

int praas_submit_timed(struct praas_connection *conn, const struct praas_call *call,
		       uint64_t *ret_call)
{
	struct praas_entry *e;
	uint64_t begun = praas_now_ns();
	int rc;

	if (!call->timing)
		return praas_fail_with(-EINVAL, "nowhere to put the timing");
	if (call->flags & PRAAS_CALL_ONE_WAY)
		return praas_fail_with(-EINVAL,
				       "a call without a result has no timing");
	rc = praas_submit_entry(conn, call, &e);
	if (rc != 0)
		return rc;
	e->extra |= PRAAS_ENTRY_TIMED;
	e->timing = call->timing;
	*e->timing =
		(struct praas_timing){ .call_ns = begun, .client_ns = praas_now_ns() };
	if (ret_call)
		*ret_call = e->head.id;
	if (!conn->shm)
		(void)praas_turn(conn);
	return 0;
}

/* What is told by the other side may be a lie, or of another clock: the parts never come to more
 * than the whole. */
void praas_timing_end(struct praas_entry *e, const struct praas_frame *result)
{
	struct praas_frame_timing told = { 0 };
	struct praas_timing *t = e->timing;
	uint64_t now = praas_now_ns();
	uint64_t call = now - t->call_ns, away = now - t->client_ns, rest = call;

	if (result)
		told = praas_frame_timing_get(result);
	t->call_ns = call;
	t->run_ns = praas_min_u64(told.run_ns, rest);
	rest -= t->run_ns;
	t->state_ns = praas_min_u64(told.state_ns, rest);
	rest -= t->state_ns;
	t->queue_ns = praas_min_u64(told.queue_ns, rest);
	rest -= t->queue_ns;
	/* A worker counts its queue from before the call had quite left. */
	t->wire_ns = away - praas_min_u64(away, call - rest);
	t->client_ns = rest - t->wire_ns;
	e->extra &= (uint8_t)~PRAAS_ENTRY_TIMED;
}

void praas_entry_extra(struct praas_connection *conn, struct praas_entry *e,
		       const struct praas_frame *result)
{
	if (e->extra & PRAAS_ENTRY_TEMPORARY)
		praas_shm_memory_free(conn->shm, e->ref);
	e->extra &= (uint8_t)~PRAAS_ENTRY_TEMPORARY;
	if (e->extra & PRAAS_ENTRY_TIMED)
		praas_timing_end(e, result);
}
