/* SPDX-License-Identifier: Apache-2.0 */
#include "client/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal/base.h"
#include "internal/bytes.h"

/* Messages and state of the process, asked for by a client: one frame out, one REPLY back. The
 * records of lists are those of docs/dataplane.md. */

#define RECORD_HEAD 32u
#define FOREVER_NS (1ull << 62)

static int status_errno(int status)
{
	switch ((enum praas_status)status) {
	case PRAAS_OK:
		return 0;
	case PRAAS_NOT_FOUND:
		return -ENOENT;
	case PRAAS_DENIED:
		return -EACCES;
	case PRAAS_TOO_LARGE:
		return -EMSGSIZE;
	case PRAAS_NO_MEMORY:
		return -ENOSPC;
	case PRAAS_OVERLOADED:
		return -ENOBUFS;
	case PRAAS_DRAINING:
		return -ESHUTDOWN;
	case PRAAS_MOVED:
		return -ESTALE;
	case PRAAS_CANCELLED:
		return -ECANCELED;
	case PRAAS_DEADLINE:
		return -ETIMEDOUT;
	case PRAAS_CONFLICT:
		return -ESTALE;
	case PRAAS_UNKNOWN:
		return -ENOTCONN;
	case PRAAS_INVALID:
		return -EINVAL;
	case PRAAS_CRASHED:
	case PRAAS_NO_FUNCTION:
	case PRAAS_INTERRUPTED:
	case PRAAS_DUPLICATE:
	case PRAAS_INTERNAL:
		break;
	}
	return -EIO;
}

struct request {
	uint8_t kind;
	const char *key;
	const void *data;
	const uint8_t *trace; /* a block as of a frame; NULL: none */
	size_t bytes;
	uint64_t aux, deadline_ns;
	uint64_t id; /* that it got */
	bool key_optional;
};

static int check(const struct praas_connection *conn, const struct request *r)
{
	size_t key_bytes = r->key ? strlen(r->key) : 0;

	if (!conn->link)
		return praas_fail_with(-ENOTCONN, "the connection has ended");
	if ((key_bytes == 0 && !r->key_optional) || key_bytes > PRAAS_KEY_MAX)
		return praas_fail_with(-EINVAL, "a key has 1 to %u bytes",
				       PRAAS_KEY_MAX);
	if (r->bytes > conn->bytes_max)
		return praas_fail_with(-EMSGSIZE, "%zu bytes, at most %llu", r->bytes,
				       (unsigned long long)conn->bytes_max);
	return 0;
}

/* Sends, waits, and leaves the reply in ret_result (to be released) and ret_aux. 0: there is one. */
static int ask_once(struct praas_connection *conn, struct request *r,
		    struct praas_result *ret_result, uint64_t *ret_aux)
{
	size_t key_bytes = r->key ? strlen(r->key) : 0;
	struct praas_entry *e;
	int rc = check(conn, r);

	if (rc != 0)
		return rc;
	e = praas_entry_new(conn, 0);
	if (!e)
		return praas_fail_with(-ENOBUFS, "%u requests are under way",
				       conn->mask + 1);
	e->request = true;
	r->id = e->head.id;
	e->head.kind = r->kind;
	e->head.flags = r->trace ? PRAAS_FRAME_TRACE : 0;
	e->head.key_bytes = (uint8_t)key_bytes;
	e->head.bytes = r->bytes;
	e->head.aux = r->aux;
	e->head.deadline_ns = r->deadline_ns;
	rc = praas_frame_send(conn, &e->head, r->key, r->data, r->trace);
	if (rc != 0) {
		praas_entry_free(conn, e);
		return praas_fail_with(rc, "cannot send: %s", strerror(-rc));
	}
	e->order = ++conn->order;
	rc = praas_entry_wait(conn, e, 0);
	praas_check(rc == 0); /* without a limit it ends in some way */
	*ret_result = e->result;
	*ret_aux = e->aux;
	praas_entry_undone(conn, e);
	praas_entry_free(conn, e);
	return 0;
}

/* What a process that moves has not answered it has not done: it is asked again, where it goes on. */
static int ask(struct praas_connection *conn, struct request *r,
	       struct praas_result *ret_result, uint64_t *ret_aux)
{
	uint32_t moves;
	int rc;

	do {
		moves = conn->moves;
		rc = ask_once(conn, r, ret_result, ret_aux);
		if (rc != 0)
			return rc;
		if (moves == conn->moves || ret_result->status != PRAAS_MOVED)
			break;
		praas_result_release(conn, ret_result);
	} while (true);
	rc = status_errno(ret_result->status);
	if (rc != 0) {
		(void)praas_fail_with(rc, "%s",
				      ret_result->view.bytes
					      ? (const char *)ret_result->view.data
					      : praas_status_text(ret_result->status));
		praas_result_release(conn, ret_result);
	}
	return rc;
}

/* The reply's payload as memory of the caller's, a NUL behind it. */
static int keep(struct praas_connection *conn, struct praas_result *result,
		void **ret_data, size_t *ret_bytes)
{
	char *copy = malloc(result->view.bytes + 1);

	if (!copy) {
		praas_result_release(conn, result);
		return praas_fail_with(-ENOMEM, "no memory for %zu bytes",
				       result->view.bytes);
	}
	if (result->view.bytes != 0)
		memcpy(copy, result->view.data, result->view.bytes);
	copy[result->view.bytes] = '\0';
	*ret_data = copy;
	*ret_bytes = result->view.bytes;
	praas_result_release(conn, result);
	return 0;
}

/* A request whose answer is yes or no. */
static int order(struct praas_connection *conn, uint8_t kind, const char *key,
		 const void *data, size_t bytes, const uint8_t *trace)
{
	struct request r = {
		.kind = kind, .key = key, .data = data, .bytes = bytes, .trace = trace
	};
	struct praas_result result = { .status = 0 };
	uint64_t aux;
	int rc = ask(conn, &r, &result, &aux);

	if (rc == 0)
		praas_result_release(conn, &result);
	return rc;
}

int praas_msg_send(praas_connection *conn, const char *key, const void *data,
		   size_t bytes)
{
	return order(conn, PRAAS_FRAME_SEND, key, data, bytes, NULL);
}

int praas_msg_send_traced(praas_connection *conn, const char *key, const void *data,
			  size_t bytes, const uint8_t *trace)
{
	struct praas_trace_context context = { .flags = 0 };

	if (!trace)
		return praas_msg_send(conn, key, data, bytes);
	memcpy(context.trace_id, trace, sizeof(context.trace_id));
	memcpy(context.span_id, trace + sizeof(context.trace_id),
	       sizeof(context.span_id));
	return praas_msg_send_context(conn, key, data, bytes, &context);
}

int praas_msg_send_context(praas_connection *conn, const char *key, const void *data,
			   size_t bytes, const struct praas_trace_context *trace)
{
	uint8_t block[PRAAS_TRACE_BYTES] = { 0 };

	if (trace)
		memcpy(block, trace, sizeof(*trace));
	return order(conn, PRAAS_FRAME_SEND, key, data, bytes, trace ? block : NULL);
}

/* The trace in the reply's frame, which is the result's until that is released. */
static void take_trace(const struct praas_result *result,
		       struct praas_trace_context *ret_trace)
{
	uint64_t token = result->view.token;
	const struct praas_buf *buf =
		(const void *)(uintptr_t)(token & ~(uint64_t)PRAAS_TOKEN_MASK);

	memset(ret_trace, 0, sizeof(*ret_trace));
	if ((token & PRAAS_TOKEN_MASK) == PRAAS_TOKEN_BUF &&
	    (buf->head.flags & PRAAS_FRAME_TRACE))
		memcpy(ret_trace, buf->trace, sizeof(*ret_trace));
}

int praas_msg_recv(praas_connection *conn, const char *key, int64_t timeout_ns,
		   void **ret_data, size_t *ret_bytes, praas_pid_t *ret_source)
{
	struct praas_trace_context trace;

	return praas_msg_recv_context(conn, key, timeout_ns, ret_data, ret_bytes,
				      ret_source, &trace);
}

int praas_msg_recv_traced(praas_connection *conn, const char *key, int64_t timeout_ns,
			  void **ret_data, size_t *ret_bytes,
			  struct praas_msg_origin *ret_origin)
{
	struct praas_trace_context trace;
	struct praas_msg_origin origin;
	int rc = praas_msg_recv_context(conn, key, timeout_ns, ret_data, ret_bytes,
					&origin.source, &trace);

	if (rc != 0)
		return rc;
	memcpy(origin.trace, trace.trace_id, sizeof(trace.trace_id));
	memcpy(origin.trace + sizeof(trace.trace_id), trace.span_id,
	       sizeof(trace.span_id));
	*ret_origin = origin;
	return 0;
}

/* RECV or HOLD. */
static int receive(praas_connection *conn, uint8_t kind, const char *key,
		   int64_t timeout_ns, void **ret_data, size_t *ret_bytes,
		   struct praas_msg_held *ret_held)
{
	struct request r = { .kind = kind, .key = key, .aux = PRAAS_ANY };
	struct praas_result result = { .status = 0 };
	struct praas_msg_held held;
	int rc;

	if (timeout_ns < 0)
		r.deadline_ns = FOREVER_NS;
	else if (timeout_ns > 0)
		r.deadline_ns = praas_now_ns() + (uint64_t)timeout_ns;
	rc = ask(conn, &r, &result, &held.source);
	if (rc == -ENOENT || rc == -ETIMEDOUT)
		return -EAGAIN;
	if (rc != 0)
		return rc;
	held.id = r.id;
	take_trace(&result, &held.trace);
	rc = keep(conn, &result, ret_data, ret_bytes);
	if (rc == 0)
		*ret_held = held;
	return rc;
}

int praas_msg_recv_context(praas_connection *conn, const char *key, int64_t timeout_ns,
			   void **ret_data, size_t *ret_bytes, praas_pid_t *ret_source,
			   struct praas_trace_context *ret_trace)
{
	struct praas_msg_held held;
	int rc = receive(conn, PRAAS_FRAME_RECV, key, timeout_ns, ret_data, ret_bytes,
			 &held);

	if (rc == 0 && ret_source)
		*ret_source = held.source;
	if (rc == 0)
		*ret_trace = held.trace;
	return rc;
}

int praas_msg_hold(praas_connection *conn, const char *key, int64_t timeout_ns,
		   void **ret_data, size_t *ret_bytes, struct praas_msg_held *ret_held)
{
	return receive(conn, PRAAS_FRAME_HOLD, key, timeout_ns, ret_data, ret_bytes,
		       ret_held);
}

int praas_msg_taken(praas_connection *conn, const struct praas_msg_held *held)
{
	struct request r = { .kind = PRAAS_FRAME_TAKEN,
			     .aux = held->id,
			     .key_optional = true };
	struct praas_result result = { .status = 0 };
	uint64_t aux;
	int rc = ask(conn, &r, &result, &aux);

	if (rc == 0)
		praas_result_release(conn, &result);
	return rc;
}

int praas_state_read(praas_connection *conn, const char *key, void **ret_data,
		     size_t *ret_bytes, uint64_t *ret_version)
{
	struct request r = { .kind = PRAAS_FRAME_STATE_GET, .key = key };
	struct praas_result result = { .status = 0 };
	uint64_t version = 0;
	int rc = ask(conn, &r, &result, &version);

	if (rc == 0)
		rc = keep(conn, &result, ret_data, ret_bytes);
	if (rc == 0 && ret_version)
		*ret_version = version;
	return rc;
}

int praas_state_write(praas_connection *conn, const char *key, const void *data,
		      size_t bytes)
{
	return order(conn, PRAAS_FRAME_STATE_PUT, key, data, bytes, NULL);
}

int praas_state_remove(praas_connection *conn, const char *key)
{
	return order(conn, PRAAS_FRAME_STATE_DELETE, key, NULL, 0, NULL);
}

/* What records of messages and of state have in common (docs/dataplane.md). */
struct record {
	uint64_t word[3];
	const uint8_t *key;
	uint8_t key_bytes;
};

/* The next record: how many bytes it has, or 0: it makes no sense. */
static size_t decode_record(const uint8_t *p, size_t bytes, struct record *ret_record)
{
	size_t size;

	if (bytes < RECORD_HEAD)
		return 0;
	for (unsigned i = 0; i < 3; i++)
		ret_record->word[i] = praas_get_u64(p + 8 * i);
	ret_record->key_bytes = p[24];
	ret_record->key = p + RECORD_HEAD;
	size = RECORD_HEAD + praas_align_up(p[24], 8);
	return size <= bytes ? size : 0;
}

static void take_state(void *infos, uint32_t at, const struct record *r)
{
	struct praas_state_info *info = (struct praas_state_info *)infos + at;

	info->version = r->word[0];
	info->modified_ns = r->word[1];
	info->bytes = r->word[2];
	memcpy(info->key, r->key, r->key_bytes);
	info->key[r->key_bytes] = '\0';
}

static void take_message(void *infos, uint32_t at, const struct record *r)
{
	struct praas_msg_info *info = (struct praas_msg_info *)infos + at;

	info->sequence = r->word[0];
	info->source = r->word[1];
	info->bytes = r->word[2];
	memcpy(info->key, r->key, r->key_bytes);
	info->key[r->key_bytes] = '\0';
}

/* A list that is asked for in parts. */
struct list {
	struct request ask;
	void (*take)(void *infos, uint32_t at, const struct record *r);
	void *infos;
	uint32_t max, count;
	struct record last; /* key: in the reply that is gone */
};

/* One reply's records. 0; -EPROTO. *ret_new: how many they were. */
static int take_part(struct list *l, const struct praas_view *view, uint32_t *ret_new)
{
	const uint8_t *p = view->data;
	size_t left = view->bytes;
	uint32_t before = l->count;

	while (left != 0 && l->count < l->max) {
		size_t size = decode_record(p, left, &l->last);

		if (size == 0)
			return praas_fail_with(-EPROTO, "a list that makes no sense");
		l->take(l->infos, l->count++, &l->last);
		p += size;
		left -= size;
	}
	*ret_new = l->count - before;
	return 0;
}

static int next_part(struct praas_connection *conn, struct list *l, uint32_t *ret_new)
{
	struct praas_result result = { .status = 0 };
	uint64_t records = 0;
	int rc = ask(conn, &l->ask, &result, &records);

	if (rc != 0)
		return rc;
	rc = take_part(l, &result.view, ret_new);
	praas_result_release(conn, &result);
	return rc;
}

int praas_state_enumerate(praas_connection *conn, const char *prefix, const char *after,
			  struct praas_state_info *ret_infos, uint32_t infos_max,
			  uint32_t *ret_count)
{
	struct list l = { .ask = { .kind = PRAAS_FRAME_STATE_LIST,
				   .key = prefix,
				   .data = after,
				   .bytes = after ? strlen(after) : 0,
				   .key_optional = true },
			  .take = take_state,
			  .infos = ret_infos,
			  .max = infos_max };
	uint32_t more = 1;

	/* A reply holds a part of the list; ask on from its last key. */
	while (l.count < l.max && more != 0) {
		int rc = next_part(conn, &l, &more);

		if (rc != 0)
			return rc;
		if (more != 0) {
			l.ask.data = ret_infos[l.count - 1].key;
			l.ask.bytes = l.last.key_bytes;
		}
	}
	*ret_count = l.count;
	return 0;
}

int praas_msg_enumerate(praas_connection *conn, const char *prefix, uint64_t after,
			struct praas_msg_info *ret_infos, uint32_t infos_max,
			uint32_t *ret_count)
{
	struct list l = { .ask = { .kind = PRAAS_FRAME_LIST,
				   .key = prefix,
				   .aux = after,
				   .key_optional = true },
			  .take = take_message,
			  .infos = ret_infos,
			  .max = infos_max };
	uint32_t more = 1;

	while (l.count < l.max && more != 0) {
		int rc = next_part(conn, &l, &more);

		if (rc != 0)
			return rc;
		if (more != 0)
			l.ask.aux = ret_infos[l.count - 1].sequence;
	}
	*ret_count = l.count;
	return 0;
}

int praas_invoke_simple(praas_connection *conn, const char *function, const void *data,
			size_t bytes, void *ret_data, size_t bytes_max,
			size_t *ret_bytes, int *ret_status)
{
	struct praas_call call = { .data = data, .bytes = bytes };
	struct praas_result result = { .status = 0 };
	size_t fits;
	int rc = praas_function_lookup(conn, function, &call.function);

	if (rc != 0)
		return rc;
	rc = praas_call(conn, &call, &result);
	if (rc != 0)
		return rc;
	if (result.status != 0 && result.view.bytes != 0)
		(void)praas_fail_with(0, "%s", (const char *)result.view.data);
	fits = result.view.bytes < bytes_max ? result.view.bytes : bytes_max;
	if (fits != 0)
		memcpy(ret_data, result.view.data, fits);
	if (ret_bytes)
		*ret_bytes = result.view.bytes;
	if (ret_status)
		*ret_status = result.status;
	if (result.view.bytes > bytes_max)
		rc = praas_fail_with(-EMSGSIZE,
				     "a result of %zu bytes for a buffer of %zu",
				     result.view.bytes, bytes_max);
	praas_result_release(conn, &result);
	return rc;
}
