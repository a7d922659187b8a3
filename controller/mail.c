/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/mail.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/json.h"
#include "internal/base.h"
#include "internal/text.h"

/* ---- questions ---- */

struct praas_mail_ask *praas_mail_ask_new(const struct praas_outbox_question *question)
{
	struct praas_mail_ask *ask;
	uint64_t bytes = 0, at = 0;

	for (uint32_t i = 0; i < question->count; i++)
		bytes += question->items[i].key_bytes + question->items[i].bytes;
	ask = malloc(sizeof(*ask) + bytes);
	if (!ask)
		return NULL;
	ask->question = *question;
	ask->raw_bytes = bytes;
	for (uint32_t i = 0; i < question->count; i++) {
		struct praas_outbox_item *item = &ask->question.items[i];

		memcpy(ask->raw + at, item->key, item->key_bytes);
		item->key = (const char *)ask->raw + at;
		at += item->key_bytes;
		if (item->bytes != 0)
			memcpy(ask->raw + at, item->data, item->bytes);
		item->data = ask->raw + at;
		at += item->bytes;
		if (item->trace) {
			memcpy(ask->traces[i], item->trace, PRAAS_TRACE_BYTES);
			item->trace = ask->traces[i];
		}
	}
	return ask;
}

static json_t *describe(const struct praas_outbox_item *item)
{
	json_t *object = json_pack(
		"{sI sI sI sI}", "epoch", (json_int_t)item->seq.epoch, "number",
		(json_int_t)item->seq.number, "key_bytes", (json_int_t)item->key_bytes,
		"bytes", (json_int_t)item->bytes);
	char trace[2 * PRAAS_TRACE_BYTES + 1];

	if (!object || !item->trace)
		return object;
	praas_hex_encode(item->trace, PRAAS_TRACE_BYTES, trace);
	if (json_object_set_new(object, "trace", json_string(trace)) != 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

json_t *praas_mail_ask_line(const struct praas_mail_ask *ask, uint64_t id)
{
	const struct praas_outbox_question *q = &ask->question;
	json_t *list = json_array();
	json_t *line;

	for (uint32_t i = 0; list && i < q->count; i++) {
		if (json_array_append_new(list, describe(&q->items[i])) != 0) {
			json_decref(list);
			list = NULL;
		}
	}
	if (!list)
		return NULL;
	line = json_pack("{ss sI sI sI so}", "t", "append", "id", (json_int_t)id, "to",
			 (json_int_t)q->receiver, "bytes", (json_int_t)ask->raw_bytes,
			 "messages", list); /* takes list, also when it fails */
	if (line && q->count == 0 &&
	    json_object_set_new(line, "wake", json_true()) != 0) {
		json_decref(line);
		return NULL;
	}
	return line;
}

/* ---- the queue ---- */

/* Message number i: what the line says of it. *at: where its key begins. */
static int parse_one(const json_t *item, uint64_t bytes, uint64_t *at,
		     struct praas_mail_batch *b, uint32_t i)
{
	char error[PRAAS_JSON_ERROR_MAX] = "";
	struct praas_json_reader r = praas_json_reader(item, "messages", error);
	struct praas_queued *m = &b->messages[i];
	uint64_t key_bytes;

	m->position = praas_json_number(&r, "position", 1, PRAAS_MAIL_POSITION_MAX);
	m->source = praas_json_number(&r, "source", 0, INT64_MAX);
	m->seq.epoch = (uint32_t)praas_json_number(&r, "epoch", 1, UINT32_MAX);
	m->seq.number = praas_json_number(&r, "number", 1, INT64_MAX);
	key_bytes = praas_json_number(&r, "key_bytes", 0, PRAAS_KEY_MAX);
	m->bytes = praas_json_number(&r, "bytes", 0, PRAAS_OUTBOX_APPEND_BYTES);
	if (json_object_get(item, "trace")) {
		praas_json_hex(&r, "trace", b->traces[i], PRAAS_TRACE_BYTES);
		m->trace = b->traces[i];
	}
	if (praas_json_failed(&r) || key_bytes > bytes - *at ||
	    m->bytes > bytes - *at - key_bytes)
		return -EPROTO;
	m->key_bytes = (uint8_t)key_bytes;
	m->key = (const char *)b->raw + *at;
	m->data = b->raw + *at + key_bytes;
	*at += key_bytes + m->bytes;
	return 0;
}

int praas_mail_batch_parse(const json_t *line, const uint8_t *raw, uint64_t bytes,
			   struct praas_mail_batch **ret_batch)
{
	const json_t *list = json_object_get(line, "messages");
	size_t count = json_array_size(list);
	struct praas_mail_batch *b;
	uint64_t at = 0;
	int rc = 0;

	if (!json_is_array(list) || count > PRAAS_OUTBOX_APPEND_MAX)
		return -EPROTO;
	b = calloc(1, sizeof(*b) + bytes);
	if (!b)
		return -ENOMEM;
	if (bytes != 0)
		memcpy(b->raw, raw, bytes);
	b->count = (uint32_t)count;
	b->more = json_is_true(json_object_get(line, "more"));
	for (uint32_t i = 0; rc == 0 && i < count; i++)
		rc = parse_one(json_array_get(list, i), bytes, &at, b, i);
	if (rc != 0 || at != bytes) {
		free(b);
		return -EPROTO;
	}
	*ret_batch = b;
	return 0;
}

/* ---- ways ---- */

static int parse_endpoints(const json_t *line, struct praas_way *way)
{
	const json_t *list = json_object_get(line, "endpoints");

	if (!json_is_array(list))
		return -EPROTO;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);
		const char *text = json_string_value(item);

		if (!text || json_string_length(item) >= PRAAS_ADDR_MAX)
			return -EPROTO;
		if (way->endpoints_count < PRAAS_WAY_ENDPOINTS_MAX)
			memcpy(way->endpoints[way->endpoints_count++], text,
			       json_string_length(item) + 1);
	}
	return 0;
}

int praas_mail_way_parse(const json_t *line, struct praas_way *ret_way)
{
	const char *word = json_string_value(json_object_get(line, "rc"));
	char error[PRAAS_JSON_ERROR_MAX] = "";
	struct praas_json_reader r = praas_json_reader(line, "way", error);
	uint32_t epoch;

	*ret_way = (struct praas_way){ .kind = PRAAS_WAY_BUSY };
	if (!word)
		return -EPROTO;
	if (strcmp(word, "GONE") == 0) {
		ret_way->kind = PRAAS_WAY_GONE;
		return 0;
	}
	if (strcmp(word, "QUEUED") != 0 && strcmp(word, "MOVED") != 0)
		return 0; /* BUSY, FULL: later */
	epoch = (uint32_t)praas_json_number(&r, "epoch", 0, UINT32_MAX);
	if (strcmp(word, "QUEUED") == 0) {
		ret_way->kind = PRAAS_WAY_QUEUED;
		ret_way->seq.epoch = epoch;
		ret_way->seq.number = praas_json_number(&r, "number", 0, INT64_MAX);
		return praas_json_failed(&r) ? -EPROTO : 0;
	}
	ret_way->kind = PRAAS_WAY_MOVED;
	ret_way->epoch = epoch;
	ret_way->lost_epoch =
		(uint32_t)praas_json_number(&r, "lost_epoch", 0, UINT32_MAX);
	praas_json_hex(&r, "ticket", ret_way->secret.ticket, PRAAS_TICKET_BYTES);
	praas_json_hex(&r, "session_key", ret_way->secret.session_key, PRAAS_KEY_BYTES);
	return praas_json_failed(&r) ? -EPROTO : parse_endpoints(line, ret_way);
}
