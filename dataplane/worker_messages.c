/* SPDX-License-Identifier: Apache-2.0
 *
 * What functions in workers ask about messages, but for waiting for one, and about the members of the application.
 */
#include <errno.h>
#include <string.h>

#include "dataplane/worker_private.h"

int wx_on_peek(struct wx_worker *w, const struct praas_frame *f, const char *key)
{
	struct praas_process *p = w->ex->base.process;
	struct praas_message message, copy = { 0 };
	uint8_t *room;
	int rc = praas_process_fn_peek(p, f->aux, key, f->key_bytes, &message);

	/* It is not ours, and may go with the next message: the worker gets a copy. */
	if (rc == 0) {
		copy = message;
		copy.value = (struct praas_value){ 0 };
	}
	if (rc == 0 && message.value.bytes != 0) {
		const uint8_t *data = message.value.data;
		uint64_t bytes = message.value.bytes;

		rc = praas_process_value_new(p, bytes, &copy.value, &room);
		if (rc == 0)
			memcpy(room, data, bytes);
	}
	if (rc != 0)
		wx_reply(w, f->id, rc, 0);
	else
		wx_reply_message(w, f->id, &copy);
	return 0;
}

int wx_on_send(struct wx_worker *w, const struct praas_frame *f, uint32_t segment,
	       uint64_t offset, const char *key)
{
	bool traced = (f->flags & PRAAS_FRAME_TRACE) != 0;
	uint8_t trace[PRAAS_TRACE_BYTES];
	struct praas_value value;
	uint64_t sequence = 0;
	int rc = wx_value(w, segment, offset, f->bytes, &value);

	if (rc == -EPROTO)
		return rc;
	if (praas_unlikely(traced))
		wx_take_trace(w, trace);
	if (rc == 0) {
		rc = praas_process_fn_send(w->ex->base.process, f->aux, key,
					   f->key_bytes, &value, traced ? trace : NULL,
					   &sequence);
		if (rc != 0)
			praas_value_release(&value);
	}
	wx_reply(w, f->id, rc, sequence);
	return 0;
}

/* ---- members ---- */

void wx_on_member(struct wx_worker *w, const struct praas_frame *f, const char *key)
{
	uint64_t pid = 0;
	int rc = praas_process_fn_member(w->ex->base.process, key, f->key_bytes, &pid);

	wx_reply(w, f->id, rc, pid);
}

void wx_on_members(struct wx_worker *w, const struct praas_frame *f)
{
	struct praas_process *p = w->ex->base.process;
	struct praas_frame answer = { .kind = PRAAS_FRAME_REPLY, .id = f->id };
	struct praas_value value = { 0 };
	const struct praas_members *list;
	uint64_t bytes = 0;
	uint32_t first;
	uint8_t *room;
	int rc = praas_process_fn_members(p, f->aux, &list, &first);

	if (rc == 0 && f->deadline_ns != 0 && f->deadline_ns != list->version)
		rc = -ESTALE;
	if (rc == 0) {
		bytes = sizeof(list->items[0]) *
			praas_min_u64(list->count - first,
				      PRAAS_LIST_BYTES_MAX / sizeof(list->items[0]));
		answer.aux = list->version;
		answer.deadline_ns = list->count;
	}
	if (rc == 0 && bytes != 0)
		rc = praas_process_value_new(p, bytes, &value, &room);
	if (rc != 0) {
		wx_reply(w, f->id, rc, 0);
		return;
	}
	if (bytes != 0)
		memcpy(room, &list->items[first], bytes);
	wx_reply_value(w, &answer, &value);
}

int wx_on_members_wait(struct wx_worker *w, const struct praas_frame *f)
{
	int rc = wx_asks(w, f);

	if (rc != 0)
		return rc;
	if (wx_given_up(w, f))
		return 0;
	wx_wait_begin(w, f);
	wx_wait_begun(w, praas_process_fn_members_wait(w->ex->base.process, f->aux,
						       &w->wait));
	if (w->waiting)
		wx_wait_began(w);
	return 0;
}
