/* SPDX-License-Identifier: Apache-2.0 */
#include "control/life/mail_words.h"

#include <errno.h>

#include "control/json.h"
#include "control/names.h"
#include "internal/base.h"
#include "praas/types.h"

static bool number_of(const json_t *object, const char *name, uint64_t min,
		      uint64_t max, uint64_t *ret_number)
{
	*ret_number = praas_json_number_or(object, name, UINT64_MAX);
	return *ret_number >= min && *ret_number <= max;
}

/* A message of which at most left bytes are there. Without its source and data. */
static bool read_one(const json_t *value, uint32_t epoch_max, uint64_t left,
		     struct praas_queued *ret_message)
{
	const json_t *trace = json_object_get(value, "trace");
	uint64_t epoch, number, key_bytes, bytes;

	if (!number_of(value, "epoch", 1, epoch_max, &epoch) ||
	    !number_of(value, "number", 1, INT64_MAX, &number) ||
	    !number_of(value, "key_bytes", 0, PRAAS_KEY_MAX, &key_bytes) ||
	    !number_of(value, "bytes", 0, PRAAS_LIMIT_MESSAGE_BYTES, &bytes) ||
	    key_bytes + bytes > left)
		return false;
	*ret_message = (struct praas_queued){ .number = number,
					      .epoch = (uint32_t)epoch,
					      .bytes = (uint32_t)bytes,
					      .key_bytes = (uint8_t)key_bytes,
					      .traced = trace != NULL };
	return !trace || (json_is_string(trace) &&
			  praas_hex_decode(json_string_value(trace), ret_message->trace,
					   sizeof(ret_message->trace)) == 0);
}

int praas_mail_read(const json_t *append, uint64_t source, uint32_t epoch,
		    const uint8_t *data, uint32_t bytes,
		    struct praas_queued ret_messages[PRAAS_LIMIT_MAIL_BATCH],
		    uint32_t *ret_count)
{
	const json_t *list = json_object_get(append, "messages");
	size_t count = json_array_size(list);
	uint32_t at = 0;

	if ((list && !json_is_array(list)) || count > PRAAS_LIMIT_MAIL_BATCH)
		return -EPROTO;
	for (size_t i = 0; i < count; i++) {
		struct praas_queued *m = &ret_messages[i];

		if (!read_one(json_array_get(list, i), epoch, bytes - at, m))
			return -EPROTO;
		if (i > 0 && (m->epoch < m[-1].epoch ||
			      (m->epoch == m[-1].epoch && m->number <= m[-1].number)))
			return -EPROTO;
		m->source = source;
		m->data = data ? data + at : NULL;
		at += m->key_bytes + m->bytes;
	}
	*ret_count = (uint32_t)count;
	return at == bytes ? 0 : -EPROTO;
}

json_t *praas_mail_describe(const struct praas_queued *message)
{
	const struct praas_queued *m = message;
	char trace[2 * PRAAS_QUEUE_TRACE_BYTES + 1];
	json_t *value = json_pack(
		"{s:I,s:I,s:I,s:I,s:I,s:I}", "position", (json_int_t)m->position,
		"source", (json_int_t)m->source, "epoch", (json_int_t)m->epoch,
		"number", (json_int_t)m->number, "key_bytes", (json_int_t)m->key_bytes,
		"bytes", (json_int_t)m->bytes);

	if (!m->traced)
		return value;
	praas_hex_encode(m->trace, sizeof(m->trace), trace);
	if (json_object_set_new(value, "trace", json_string(trace))) {
		json_decref(value);
		return NULL;
	}
	return value;
}
