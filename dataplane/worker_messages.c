/* SPDX-License-Identifier: Apache-2.0
 *
 * What functions in workers ask about messages, but for waiting for one, and about the members of the application.
 */
#include <errno.h>
#include <string.h>

#include "dataplane/worker_private.h"

#define ROOM_NS 30000000000u /* for who has no deadline */

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

/* ---- sending ---- */

/* 0; an error, also -EAGAIN: the value stays ours. */
static int send_now(struct wx_worker *w, uint64_t *ret_sequence)
{
	struct wx_send *s = &w->send;

	return praas_process_fn_send(w->ex->base.process, s->destination, s->key,
				     s->key_bytes, &s->value,
				     s->traced ? s->trace : NULL, ret_sequence);
}

static void send_over(struct wx_worker *w, int rc, uint64_t sequence)
{
	if (rc != 0)
		praas_value_release(&w->send.value);
	wx_reply(w, w->wait_id, rc, sequence);
}

/* 0: it waits, or is answered. */
static void send_wait(struct wx_worker *w)
{
	int rc = praas_process_fn_room_wait(w->ex->base.process, w->send.destination,
					    &w->send.value, &w->wait);

	w->waiting = rc == -EINPROGRESS;
	if (w->waiting)
		wx_ahead_withdraw(w); /* others may run them meanwhile */
	else
		send_over(w, rc == -EAGAIN ? -ETIMEDOUT : rc, 0);
}

void wx_on_room(struct wx_worker *w, int rc)
{
	uint64_t sequence = 0;

	if (rc == 0) {
		rc = send_now(w, &sequence);
		if (rc == -EAGAIN) { /* less than it takes */
			send_wait(w);
			return;
		}
	} else if (rc == -EAGAIN) {
		rc = -ETIMEDOUT;
	}
	send_over(w, rc, sequence);
}

int wx_on_send(struct wx_worker *w, const struct praas_frame *f, uint32_t segment,
	       uint64_t offset, const char *key)
{
	struct wx_send *s = &w->send;
	uint64_t sequence = 0;
	int rc = wx_asks(w, f);

	if (rc == 0)
		rc = wx_value(w, segment, offset, f->bytes, &s->value);
	if (rc == -EPROTO)
		return rc;
	s->destination = f->aux;
	s->key_bytes = f->key_bytes;
	memcpy(s->key, key, f->key_bytes + 1u);
	s->traced = (f->flags & PRAAS_FRAME_TRACE) != 0;
	if (praas_unlikely(s->traced))
		wx_take_trace(w, s->trace);
	if (rc != 0) {
		wx_reply(w, f->id, rc, 0);
		return 0;
	}
	w->wait_id = f->id;
	rc = send_now(w, &sequence);
	if (praas_likely(rc != -EAGAIN) || f->deadline_ns == 1) {
		send_over(w, rc, sequence);
		return 0;
	}
	if (wx_given_up(w, f)) {
		praas_value_release(&s->value);
		return 0;
	}
	wx_wait_begin(w, f);
	w->wait.deadline_ns = praas_now_ns() + ROOM_NS;
	if (f->deadline_ns != 0)
		w->wait.deadline_ns = f->deadline_ns;
	send_wait(w);
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
