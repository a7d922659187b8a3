/* SPDX-License-Identifier: Apache-2.0
 *
 * What a controller may send: taken in whole and in pieces (of the first byte's size) the same messages
 * come out, and the same mistake. A raw part for which there is no room is told as lost. Messages of an
 * append are within what came and in order, and described as they were. What is told of functions becomes
 * rows that only grow.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "control/life/functions.h"
#include "control/life/mail_words.h"
#include "control/limits.h"
#include "control/node/link_private.h"
#include "internal/base.h"

struct outcome {
	uint64_t hash, raw_bytes;
	uint32_t messages;
	int rc;
};

static void note(struct outcome *o, const void *data, size_t bytes)
{
	const uint8_t *at = data;

	for (size_t i = 0; i < bytes; i++)
		o->hash = (o->hash ^ at[i]) * 0x100000001b3ull;
}

/* What is said of a message is what was read. */
static void check_description(const struct praas_queued *m)
{
	json_t *value = praas_mail_describe(m), *again;
	struct praas_queued back[PRAAS_LIMIT_MAIL_BATCH];
	uint32_t count = 0;

	praas_check(value);
	again = json_pack("{s:[O]}", "messages", value);
	praas_check(praas_mail_read(again, m->source, m->epoch, m->data,
				    m->key_bytes + m->bytes, back, &count) == 0);
	praas_check(count == 1 && back[0].number == m->number &&
		    back[0].epoch == m->epoch && back[0].traced == m->traced &&
		    memcmp(back[0].trace, m->trace, sizeof(m->trace)) == 0);
	json_decref(again);
	json_decref(value);
}

static void check_messages(const json_t *message, const struct praas_link_raw *raw)
{
	struct praas_queued m[PRAAS_LIMIT_MAIL_BATCH];
	uint32_t count = 0;
	uint64_t bytes = 0;

	if (praas_mail_read(message, 7, 3, raw->data, raw->bytes, m, &count))
		return;
	praas_check(count <= PRAAS_LIMIT_MAIL_BATCH);
	for (uint32_t i = 0; i < count; i++) {
		praas_check(m[i].source == 7 && m[i].epoch >= 1 && m[i].epoch <= 3);
		praas_check(m[i].bytes <= PRAAS_LIMIT_MESSAGE_BYTES);
		praas_check(!raw->data || m[i].data == raw->data + bytes);
		check_description(&m[i]);
		bytes += m[i].key_bytes + m[i].bytes;
	}
	praas_check(bytes == raw->bytes);
}

/* Calls of all rows. */
static uint64_t calls_of(const struct praas_functions *f)
{
	struct praas_function_row *rows;
	uint64_t calls = 0;
	uint32_t count;

	praas_check(praas_functions_rows(f, &rows, &count) == 0);
	praas_check(count <= PRAAS_FUNCTIONS_ROWS_MAX + 1);
	for (uint32_t i = 0; i < count; i++) {
		praas_check(rows[i].sums.calls < UINT64_MAX / 2);
		calls += rows[i].sums.calls / PRAAS_FUNCTIONS_ROWS_MAX / 4;
	}
	free(rows);
	return calls;
}

static void check_functions(const json_t *message)
{
	static struct praas_functions *f;
	static struct praas_functions_told *told;
	static unsigned taken;
	uint64_t before;

	if (!json_object_get(message, "rows"))
		return;
	if (!f)
		f = praas_functions_new();
	praas_check(f);
	if (++taken % 64 == 0)
		praas_functions_epoch(&told);
	before = calls_of(f);
	praas_functions_told(f, "t", "a", &told, message);
	praas_check(calls_of(f) >= before);
	if (taken % 1024 != 0)
		return;
	praas_functions_epoch(&told);
	praas_functions_free(f);
	f = NULL;
}

static void take(struct outcome *o, json_t *message, struct praas_link_raw *raw,
		 bool room)
{
	char *text = json_dumps(message, JSON_COMPACT | JSON_SORT_KEYS);

	praas_check(json_is_object(message) && text);
	praas_check(raw->bytes <= PRAAS_LIMIT_RAW_BYTES);
	praas_check(raw->bytes == 0 || (raw->data != NULL) == room);
	check_messages(message, raw);
	check_functions(message);
	note(o, text, strlen(text));
	if (raw->data)
		note(o, raw->data, raw->bytes);
	o->raw_bytes += raw->bytes;
	o->messages++;
	free(raw->data);
	json_decref(message);
	free(text);
}

static struct outcome feed(const uint8_t *data, size_t bytes, size_t piece, bool room)
{
	size_t under_way = room ? 0 : PRAAS_LIMIT_RAWS_BYTES, before = under_way;
	struct outcome o = { .rc = 0 };
	struct praas_link_raw raw;
	struct praas_link_in in;
	json_t *message;

	praas_check(praas_link_in_init(&in, &under_way) == 0);
	while (bytes > 0 && o.rc == 0) {
		size_t n;
		void *to;

		praas_link_in_room(&in, &to, &n);
		praas_check(n > 0);
		n = praas_min_u64(praas_min_u64(n, piece), bytes);
		memcpy(to, data, n);
		praas_link_in_took(&in, n);
		data += n;
		bytes -= n;
		while ((o.rc = praas_link_in_next(&in, &message, &raw)) == 1)
			take(&o, message, &raw, room);
	}
	praas_link_in_release(&in);
	praas_check(under_way == before);
	return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct outcome whole, pieces, lost;

	if (bytes == 0)
		return 0;
	whole = feed(data + 1, bytes - 1, SIZE_MAX, true);
	pieces = feed(data + 1, bytes - 1, 1 + data[0] % 64u, true);
	lost = feed(data + 1, bytes - 1, 1 + data[0] % 7u, false);
	praas_check(whole.rc == pieces.rc && whole.messages == pieces.messages &&
		    whole.hash == pieces.hash);
	praas_check(whole.rc == lost.rc && whole.messages == lost.messages &&
		    whole.raw_bytes == lost.raw_bytes);
	return 0;
}
