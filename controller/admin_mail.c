/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "controller/admin_private.h"
#include "controller/journal.h"
#include "internal/base.h"

/*
 * Between the data thread and the control service: questions for the way to other processes, and what waits in
 * our own backup queue (sm_catch_up.h).
 */

#define SILENCE_NS 2000000000u /* without an answer it is asked again */
#define BACKOFF_MIN_NS 20000000u
#define BACKOFF_MAX_NS 1000000000u

/* ---- ways ---- */

/* What nobody takes is missed by the sender, which asks again. */
static void give_way(struct praas_admin *a, const struct praas_way *way)
{
	struct praas_way *copy = malloc(sizeof(*copy));

	if (!copy)
		return;
	*copy = *way;
	if (praas_exchange_order(a->exchange, PRAAS_ORDER_WAY,
				 (uint64_t)(uintptr_t)copy, 0) != 0) {
		explicit_bzero(copy, sizeof(*copy));
		free(copy);
	}
}

static void busy(struct praas_admin *a, uint64_t receiver, uint32_t attempt)
{
	const struct praas_way way = { .kind = PRAAS_WAY_BUSY,
				       .receiver = receiver,
				       .attempt = attempt };

	give_way(a, &way);
}

static struct praas_admin_ask *find_ask(struct praas_admin *a, uint64_t id)
{
	for (uint32_t i = 0; i < PRAAS_ADMIN_ASKS; i++)
		if (a->asks[i].id == id)
			return &a->asks[i];
	return NULL;
}

void praas_admin_mail_ask(struct praas_admin *a, struct praas_mail_ask *ask)
{
	const struct praas_outbox_question *q = &ask->question;
	struct praas_admin_ask *slot = find_ask(a, 0);
	uint64_t id = ++a->mail_id;

	if (slot && praas_link_send_raw(a->link, praas_mail_ask_line(ask, id), ask->raw,
					ask->raw_bytes) == 0)
		*slot = (struct praas_admin_ask){ .id = id,
						  .receiver = q->receiver,
						  .attempt = q->attempt };
	else
		busy(a, q->receiver, q->attempt);
	free(ask);
}

static void on_way(struct praas_admin *a, uint64_t id, const json_t *message)
{
	struct praas_admin_ask *slot = id ? find_ask(a, id) : NULL;
	struct praas_way way;

	if (!slot)
		return;
	if (praas_mail_way_parse(message, &way) != 0) {
		praas_journal(PRAAS_LOG_WARNING,
			      "the control service tells a way that cannot be");
		way.kind = PRAAS_WAY_BUSY;
	}
	way.receiver = slot->receiver;
	way.attempt = slot->attempt;
	slot->id = 0;
	give_way(a, &way);
	explicit_bzero(&way, sizeof(way));
}

/* ---- the queue ---- */

/* Reads on, asks to be recorded, or ends. */
static void catch_do(struct praas_admin *a, const struct praas_catch_up_action *action)
{
	bool read = action->kind == PRAAS_CATCH_UP_READ;
	uint64_t id = ++a->mail_id;
	json_t *message = json_pack("{ss sI sI}", "t", read ? "queue-read" : "serve",
				    "id", (json_int_t)id, read ? "after" : "seen",
				    (json_int_t)action->position);

	if (message && action->kind == PRAAS_CATCH_UP_OPEN)
		(void)json_object_set_new(message, "full", json_true());

	a->catch_id = id;
	a->catch_due_ns = praas_now_ns() + SILENCE_NS;
	/* Not sent: asked again when it is due, or forgotten with the link. */
	(void)praas_link_send(a->link, message);
}

static void catch_event(struct praas_admin *a, const struct praas_catch_up_event *event)
{
	struct praas_catch_up_action action = praas_catch_up_step(&a->catch_up, event);

	a->catch_id = 0;
	a->catch_due_ns = 0;
	if (action.kind == PRAAS_CATCH_UP_END && action.rc != 0)
		praas_admin_end(a, PRAAS_EXIT_FENCED, "FENCED",
				"the control service knows another owner");
	else if (action.kind == PRAAS_CATCH_UP_END)
		praas_journal(PRAAS_LOG_INFO, "backup queue applied up to %" PRIu64,
			      a->catch_up.position);
	if (action.kind != PRAAS_CATCH_UP_READ &&
	    action.kind != PRAAS_CATCH_UP_COMMIT && action.kind != PRAAS_CATCH_UP_OPEN)
		return;
	a->catch_last = action;
	if (!action.again) {
		a->catch_backoff_ns = 0;
		catch_do(a, &action);
		return;
	}
	a->catch_backoff_ns = praas_min_u64(
		praas_max_u64(2 * a->catch_backoff_ns, BACKOFF_MIN_NS), BACKOFF_MAX_NS);
	a->catch_due_ns = praas_now_ns() + a->catch_backoff_ns;
}

void praas_admin_mail_more(struct praas_admin *a)
{
	const struct praas_catch_up_event start = { .kind = PRAAS_CATCH_UP_START,
						    .position = a->catch_up.position };

	if (a->catch_up.phase == PRAAS_CATCH_UP_IDLE && !a->swap.final)
		catch_event(a, &start);
}

void praas_admin_mail_stop(struct praas_admin *a)
{
	const struct praas_catch_up_event stop = { .kind = PRAAS_CATCH_UP_STOP };

	catch_event(a, &stop);
}

void praas_admin_mail_due(struct praas_admin *a)
{
	catch_do(a, &a->catch_last);
}

void praas_admin_mail_renew(struct praas_admin *a)
{
	praas_admin_mail_stop(a);
	for (uint32_t i = 0; i < PRAAS_ADMIN_ASKS; i++) {
		if (a->asks[i].id == 0)
			continue;
		busy(a, a->asks[i].receiver, a->asks[i].attempt);
		a->asks[i].id = 0;
	}
}

void praas_admin_mail_applied(struct praas_admin *a, int rc, uint64_t position)
{
	struct praas_catch_up_event done = { .kind = PRAAS_CATCH_UP_READ_DONE,
					     .rc = rc,
					     .position = position,
					     .more = a->catch_more };

	/* Applied by a process whose gate has closed since: it counts all the same. */
	if (a->catch_up.phase != PRAAS_CATCH_UP_READING) {
		a->catch_up.position = praas_max_u64(a->catch_up.position, position);
		return;
	}
	if (rc != 0 && position > a->catch_up.position) {
		done.rc = 0;
		done.more = true;
	} else if (rc == -ENOSPC) {
		done.rc =
			-ENOBUFS; /* of bytes, not of places: functions make room in either case */
	}
	catch_event(a, &done);
}

static void on_queue(struct praas_admin *a, const json_t *message, const uint8_t *raw,
		     uint64_t raw_bytes)
{
	struct praas_catch_up_event failed = { .kind = PRAAS_CATCH_UP_READ_DONE,
					       .rc = -EBUSY };
	const char *word = json_string_value(json_object_get(message, "rc"));
	struct praas_mail_batch *batch = NULL;

	if (word && strcmp(word, "STALE") == 0)
		failed.rc = -ESTALE;
	if (!word && praas_mail_batch_parse(message, raw, raw_bytes, &batch) != 0)
		praas_journal(PRAAS_LOG_WARNING,
			      "the control service tells a queue that cannot be");
	if (batch) {
		a->catch_more = batch->more;
		a->catch_due_ns = 0; /* the data thread always answers */
		if (praas_exchange_order(a->exchange, PRAAS_ORDER_QUEUE,
					 (uint64_t)(uintptr_t)batch, 0) == 0)
			return;
		free(batch);
	}
	catch_event(a, &failed);
}

static void on_served(struct praas_admin *a, const json_t *message)
{
	struct praas_catch_up_event done = { .kind = PRAAS_CATCH_UP_COMMITTED,
					     .rc = -EBUSY };
	const char *word = json_string_value(json_object_get(message, "rc"));

	if (word && strcmp(word, "OK") == 0)
		done.rc = 0;
	else if (word && strcmp(word, "MORE") == 0)
		done.rc = -EAGAIN;
	else if (word && strcmp(word, "STALE") == 0)
		done.rc = -ESTALE;
	catch_event(a, &done);
}

bool praas_admin_mail_message(struct praas_admin *a, const char *type,
			      const json_t *message, const uint8_t *raw,
			      uint64_t raw_bytes)
{
	json_int_t value = json_integer_value(json_object_get(message, "id"));
	uint64_t id = value > 0 ? (uint64_t)value : 0;
	bool ours = id != 0 && id == a->catch_id;

	if (strcmp(type, "way") == 0)
		on_way(a, id, message);
	else if (strcmp(type, "queue") == 0 && ours)
		on_queue(a, message, raw, raw_bytes);
	else if (strcmp(type, "served") == 0 && ours)
		on_served(a, message);
	else if (strcmp(type, "more") == 0)
		praas_admin_mail_more(a);
	else
		return strcmp(type, "queue") == 0 || strcmp(type, "served") == 0;
	return true;
}
