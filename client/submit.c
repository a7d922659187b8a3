/* SPDX-License-Identifier: Apache-2.0 */
#include "client/connection.h"

#include <errno.h>
#include <string.h>

#include "internal/base.h"

/* Sending: invocations and other frames, over whatever transport. */

int praas_call_check(struct praas_connection *conn, const struct praas_call *call)
{
	if (praas_unlikely(!conn->link))
		return praas_fail_with(-ENOTCONN, "the connection has ended: %s",
				       strerror(-conn->closed_rc));
	if (praas_unlikely(call->function >= conn->functions_count))
		return praas_fail_with(-EINVAL, "there is no function number %u",
				       call->function);
	if (praas_unlikely(call->bytes > conn->bytes_max))
		return praas_fail_with(
			-EMSGSIZE, "a payload of %zu bytes, at most %llu", call->bytes,
			(unsigned long long)conn->bytes_max);
	if (praas_unlikely(call->key && strlen(call->key) > PRAAS_KEY_MAX))
		return praas_fail_with(-EINVAL, "the key is longer than %u bytes",
				       PRAAS_KEY_MAX);
	if (praas_unlikely(
		    (call->flags & ~(PRAAS_CALL_ONE_WAY | PRAAS_CALL_MORE |
				     PRAAS_CALL_TIMING | PRAAS_CALL_TRACE_FLAGS)) != 0))
		return praas_fail_with(-EINVAL, "unknown flags");
	return 0;
}

static PRAAS_COLD void head_special(const struct praas_call *call,
				    struct praas_frame *head)
{
	if (call->flags & PRAAS_CALL_ONE_WAY)
		head->flags |= PRAAS_FRAME_ONE_WAY;
	if (call->flags & PRAAS_CALL_TIMING) {
		head->flags |= PRAAS_FRAME_TIMING;
		head->aux = praas_now_ns(); /* for a worker on the same host */
	}
}

void praas_call_head(const struct praas_call *call, struct praas_frame *ret_head)
{
	ret_head->kind = PRAAS_FRAME_INVOKE;
	ret_head->function = (uint16_t)call->function;
	ret_head->bytes = call->bytes;
	if (praas_unlikely(call->flags & (PRAAS_CALL_ONE_WAY | PRAAS_CALL_TIMING)))
		head_special(call, ret_head);
	if (praas_unlikely(call->trace != NULL))
		ret_head->flags |= PRAAS_FRAME_TRACE;
	if (praas_unlikely(call->key != NULL))
		ret_head->key_bytes = (uint8_t)strlen(call->key);
	if (praas_unlikely(call->timeout_ns != 0))
		ret_head->deadline_ns = praas_now_ns() + call->timeout_ns;
}

#define HELD_MAX 32u              /* calls that wait for more before they leave */
#define PATIENCE_NS 5000000000ull /* for memory and room that the peer must give */

/* ---- payload ----------------------------------------------------------------------------- */

static struct praas_registered *find_registered(struct praas_connection *conn,
						const void *data)
{
	for (struct praas_registered *r = conn->registered; r; r = r->next)
		if (r->buf->data == data)
			return r;
	return NULL;
}

/* Lets the peer get on; false: it had PATIENCE_NS for it. */
static bool patient(struct praas_connection *conn, uint64_t *until_ns)
{
	if (*until_ns == 0)
		*until_ns = praas_now_ns() + PATIENCE_NS;
	else if (praas_now_ns() >= *until_ns)
		return false;
	if (praas_turn(conn) == 0)
		praas_idle(conn, *until_ns);
	return true;
}

/* A buffer with the caller's payload in it: theirs when it is registered, else a copy. */
static int payload(struct praas_connection *conn, const void *data, size_t bytes,
		   struct praas_buf **ret_buf)
{
	struct praas_registered *r;
	uint64_t ref, until = 0;
	int rc;

	if (bytes != 0 && conn->shm && praas_shm_find(conn->shm, data, &ref) == 0) {
		*ret_buf = praas_shm_adopt(conn->shm, ref, (uint8_t *)(uintptr_t)data);
		return *ret_buf ? 0 : -ENOBUFS;
	}
	r = bytes != 0 && !conn->shm ? find_registered(conn, data) : NULL;
	if (r && !r->under_way) {
		r->under_way = true;
		*ret_buf = &r->shadow;
		return 0;
	}
	/* A big segment is made by the peer, other memory comes back with results: look again. */
	for (;;) {
		rc = conn->ops->alloc(conn->link, bytes, ret_buf);
		if (praas_likely(rc != -ENOBUFS))
			break;
		if ((conn->under_way < 2 && !(conn->shm && conn->shm->want_pending)) ||
		    !patient(conn, &until))
			break;
		if (!conn->link)
			return -ENOTCONN;
	}
	if (rc != 0)
		return rc;
	if (bytes != 0) {
		memcpy((*ret_buf)->data, data, bytes);
		conn->stats.copies++;
	}
	return 0;
}

static void meta(struct praas_buf *buf, const char *key, const uint8_t *trace)
{
	if (trace)
		memcpy(buf->trace, trace, sizeof(buf->trace));
	memcpy(buf->key, key ? key : "", buf->head.key_bytes);
	buf->key[buf->head.key_bytes] = '\0';
}

void praas_trace_block(const struct praas_call *call,
		       uint8_t ret_block[PRAAS_TRACE_BYTES])
{
	size_t given = call->flags & PRAAS_CALL_TRACE_FLAGS
			       ? sizeof(struct praas_trace_context)
			       : offsetof(struct praas_trace_context, flags);

	memset(ret_block, 0, PRAAS_TRACE_BYTES);
	memcpy(ret_block, call->trace, given);
}

/* Sends; waits a little when the queue is full. */
static int push(struct praas_connection *conn, struct praas_buf *buf)
{
	uint64_t until = 0;
	int rc = -ENOTCONN;

	while (conn->link) {
		buf->head.epoch =
			conn->epoch; /* another one when it has moved meanwhile */
		rc = conn->ops->send(conn->link, buf);
		if (praas_likely(rc != -EAGAIN) || !patient(conn, &until))
			break;
	}
	if (praas_unlikely(rc != 0))
		praas_buf_release(buf);
	else
		conn->unsent++;
	return rc == -EAGAIN ? -ENOBUFS : rc;
}

/* Nobody waits for an answer that would carry it along: see that it leaves. */
static void flush(struct praas_connection *conn)
{
	while (conn->unsent != 0 && conn->link && !conn->shm)
		if (praas_turn(conn) == 0)
			praas_idle(conn, 0);
}

int praas_frame_send(struct praas_connection *conn, const struct praas_frame *head,
		     const char *key, const void *data, const uint8_t *trace)
{
	struct praas_buf *buf;
	int rc = payload(conn, data, head->bytes, &buf);

	if (rc != 0)
		return rc;
	buf->head = *head;
	meta(buf, key, trace);
	conn->stats.bytes_out += head->bytes;
	return push(conn, buf);
}

int praas_kept_send(struct praas_connection *conn, struct praas_entry *e)
{
	struct praas_kept *k = e->kept;
	const uint8_t *trace =
		e->head.flags & PRAAS_FRAME_TRACE ? k->shadow.trace : NULL;
	int rc;

	if (k->buf && !k->under_way) { /* as it lies */
		k->shadow.head = e->head;
		k->under_way = true;
		return push(conn, &k->shadow);
	}
	rc = praas_frame_send(conn, &e->head, k->shadow.key, k->shadow.data, trace);
	if (rc == 0 && conn->shm && e->kept == k)
		praas_kept_drop(e); /* until it is answered its memory is lent */
	return rc;
}

/* e: NULL, nobody waits for it. */
static int send_invoke(struct praas_connection *conn, const struct praas_call *call,
		       const struct praas_frame *head, struct praas_entry *e)
{
	struct praas_buf *buf;
	int rc = payload(conn, call->data, call->bytes, &buf);

	if (praas_unlikely(rc != 0))
		return praas_fail_with(rc, "no buffer for %zu bytes", call->bytes);
	buf->head = *head;
	if (head->key_bytes != 0 || call->trace)
		meta(buf, call->key, NULL);
	if (call->trace)
		praas_trace_block(call, buf->trace);
	if (e && !conn->shm && conn->follows)
		buf = praas_keep(conn, e, buf);
	rc = push(conn, buf);
	if (praas_unlikely(rc != 0))
		return praas_fail_with(rc, "cannot send: %s", strerror(-rc));
	if (e)
		e->order = ++conn->order;
	conn->stats.calls++;
	conn->stats.bytes_out += call->bytes;
	return 0;
}

int praas_entry_send(struct praas_connection *conn, const struct praas_call *call,
		     struct praas_entry *e)
{
	struct praas_shm_route *r;

	praas_call_head(call, &e->head);
	r = praas_route_choose(conn, call->function);
	if (r) {
		int rc = praas_direct_send(conn, r, call, e);

		if (rc != -EAGAIN)
			return rc;
	}
	return send_invoke(conn, call, &e->head, e);
}

/* Over a socket a call leaves before praas_submit() returns, since nobody knows when the caller
 * comes back: a turn, two system calls. Who says that more follow pays once for HELD_MAX. */
static bool may_wait(struct praas_connection *conn, const struct praas_call *call)
{
	return (call->flags & PRAAS_CALL_MORE) && ++conn->held < HELD_MAX;
}

int praas_submit_entry(struct praas_connection *conn, const struct praas_call *call,
		       struct praas_entry **ret_entry)
{
	struct praas_entry *e = praas_entry_new(conn, call->id);
	int rc;

	if (praas_unlikely(!e)) {
		if (call->id != 0 && praas_entry_find(conn, call->id))
			return praas_fail_with(-EINVAL, "that id is under way already");
		return praas_fail_with(-ENOBUFS, "%u invocations are under way",
				       conn->mask + 1);
	}
	rc = praas_entry_send(conn, call, e);
	if (praas_unlikely(rc != 0)) {
		praas_entry_free(conn, e);
		return rc;
	}
	*ret_entry = e;
	return 0;
}

static int submit_one_way(struct praas_connection *conn, const struct praas_call *call,
			  uint64_t *ret_call)
{
	struct praas_frame head = { .id = call->id };
	int rc;

	if (head.id == 0)
		head.id = praas_id_next(conn);
	praas_call_head(call, &head);
	rc = send_invoke(conn, call, &head, NULL);
	if (rc == 0)
		flush(conn);
	if (rc == 0 && ret_call)
		*ret_call = head.id;
	return rc;
}

int praas_submit(praas_connection *conn, const struct praas_call *call,
		 uint64_t *ret_call)
{
	struct praas_entry *e;
	int rc = praas_call_check(conn, call);

	if (praas_unlikely(rc != 0))
		return rc;
	if (praas_unlikely(call->flags & (PRAAS_CALL_ONE_WAY | PRAAS_CALL_TIMING)))
		return call->flags & PRAAS_CALL_TIMING
			       ? praas_submit_timed(conn, call, ret_call)
			       : submit_one_way(conn, call, ret_call);
	rc = praas_submit_entry(conn, call, &e);
	if (praas_unlikely(rc != 0))
		return rc;
	if (ret_call)
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): set when rc is 0 */
		*ret_call = e->head.id;
	if (!conn->shm && !may_wait(conn, call))
		(void)praas_turn(conn); /* it goes while the caller does other things */
	return 0;
}

int praas_cancel(praas_connection *conn, uint64_t call)
{
	struct praas_entry *e = praas_entry_find(conn, call);
	struct praas_frame head = { .kind = PRAAS_FRAME_CANCEL, .id = call };

	if (!e || e->request)
		return praas_fail_with(-ENOENT, "no such invocation is under way");
	if (e->state != PRAAS_ENTRY_PENDING && e->state != PRAAS_ENTRY_REROUTE)
		return 0; /* it has its outcome */
	if (!conn->link)
		return praas_fail_with(-ENOTCONN, "the connection has ended");
	e->cancelled = true;
	if (e->state == PRAAS_ENTRY_REROUTE || e->via != PRAAS_VIA_CONTROLLER) {
		(void)praas_direct_withdraw(conn); /* ends it when no worker has it */
		if (e->state != PRAAS_ENTRY_PENDING || e->head.id != call)
			return 0;
	}
	return praas_frame_send(conn, &head, NULL, NULL, NULL);
}
